"""A log in one format made into a log in another: with all it holds, or with a count of what is left out."""

import contextlib
import hashlib
import os
import shutil
import stat
import sys
import tempfile
from collections import Counter
from pathlib import PurePath

import numpy
from cellwarden.core.layout import NOTICE

from . import candump_rows
from .errors import InputError
from .readers import candump, open_log
from .readers import parquet as columnar
from .readers.account import KINDS, Account
from .readers.parquet import Rows
from .readers.source import Source
from .writers import NO_NOTICE, open_writer

BLOCK = 1 << 20
EARLY = "frames from before 1970"


class Conversion:
    """A log and what it is to become; run() makes it, and then it can be read here what became of the records.

    account:  of the log read, with the frames that the tester sent left out
    frames, sent: frames converted, and how many of them are marked as sent
    left_out: {reason: n}, records that the new log cannot hold
    channels: {channel: what it is called in the new log}
    zero_us:  the time that is zero in the new log
    exact:    whether the new log holds every byte of the old one's text: none is left out, and it can be made again
    """

    def __init__(self, path, output, format=None, tick=None):
        self.path, self.output, self.format, self.tick = str(path), output, format, tick or (lambda: None)
        self.account, self.packed = Account(), None
        self.given = None
        self.frames = self.sent = 0
        self.left_out, self.channels, self.zero_us, self.exact = Counter(), {}, 0, False

    def run(self):
        """Write the new log. Raises InputError; then there is none."""
        with _reopened(self.path) as given, open_writer(self.output) as writer:
            self.given = given
            log = given.log(self.format)
            self.format = log.format
            log.close()
            into = {"parquet": self._to_parquet, "candump": self._to_candump}.get(writer.format, self._to_other)
            given.watch()
            into(given, writer)
            given.unchanged()

    @property
    def position(self):
        """Bytes of the log read so far; a log of another format is read twice."""
        return self.given.opened.position if self.given else 0

    def _rows(self, given, digest, told):
        """Yield Rows of the log, whatever its format. Where it holds candump's lines, `digest` gets the plain bytes."""
        if self.format == "candump":
            with contextlib.closing(given.source()) as source:
                self.packed = source.packed
                reading = candump_rows.Reading(source)
                self.account = reading.account
                yield from reading.rows(digest)
        elif self.format == "parquet":
            with contextlib.closing(given.source()) as source:
                yield from columnar.rows(source, self.account, told)
        else:
            yield from self._marked(given)

    def _marked(self, given):
        """Rows of a log read twice, without and with the frames sent: what only the second has is marked as sent.

        Of two frames alike in everything, time included, that may be the wrong one; both readings are still right.
        """
        heard = given.log(self.format)
        count = sum(map(len, heard.blocks()))
        self.account, transmitted = heard.account, heard.account.skipped["transmitted"]
        if not transmitted:
            del self.account.skipped["transmitted"]
            for block in given.log(self.format).blocks():
                yield _plain(block, numpy.zeros(len(block), bool))
            return
        every, heard = given.log(self.format, include_tx=True), iter(given.log(self.format))
        here = next(heard, None)
        for block in every.blocks():
            sent = numpy.ones(len(block), bool)
            for at, frame in enumerate(block.rows()):
                if frame == here:
                    sent[at], here = False, next(heard, None)
            count -= int(len(block) - sent.sum())
            yield _plain(block, sent)
        if here is not None or count or every.account.frames - self.account.frames != transmitted:
            what = "the frames it marks as sent cannot be told from the others, for its groups run back in time"
            raise InputError(self.path, what, mend="sort it by time")

    def _counted(self, rows):
        for some in rows:
            self.frames += len(some.block) - len(some.reason)
            self.sent += int(some.sent.sum())
            self.tick()
            yield some

    def _to_parquet(self, given, writer):
        digest, told = hashlib.sha256(), {}
        for some in self._counted(self._rows(given, digest, told)):
            writer.put(some)
        self.exact = self.format == "candump"
        if not (self.exact or told.get("lines")):
            self._count_others()
        if self.format == "parquet":
            writer.finish(told["source"], self.account, told["lines"], f"{(told['source'] or {}).get('name')}:")
            self.exact = told["lines"]
            return
        source = {"name": PurePath(self.path).name, "format": self.format, "size": given.size}
        if self.exact and not self.packed:
            source["sha256"] = digest.hexdigest()
        else:
            source["sha256"] = given.sha256()
            if self.exact:
                source["plain_sha256"] = digest.hexdigest()
        writer.finish(source, self.account, self.exact, f"{self.path}:")

    def _to_candump(self, given, writer):
        plain, made, told = hashlib.sha256(), hashlib.sha256(), {}
        for some in self._counted(self._rows(given, plain, told)):
            early = some.block.t_us < 0
            if early.any():
                self.left_out[EARLY] += int(early.sum())
                some = _plain(columnar.part(some.block, ~early), some.sent[~early])
            some = self._sayable(some)
            text = candump_rows.render(some, writer.name)
            made.update(text)
            writer.raw(text)
            self._called(some.block, writer)
        self.exact = self.format == "candump" or bool(told.get("lines"))
        if not self.exact:
            if self.left_out.total() == self.frames:
                raise self._all_early()
            self._count_others()
            return
        source = told.get("source") or {}
        wanted = plain.hexdigest() if self.format == "candump" else source.get("plain_sha256") or source["sha256"]
        if made.hexdigest() != wanted:
            raise InputError(
                self.path, f"does not give back the bytes of {source.get('name', self.path)}", "its SHA-256"
            )

    def _sayable(self, rows):
        """The rows without the notices that candump has no error frame for."""
        unsaid = rows.block.can_id & KINDS == NOTICE
        for at in unsaid.nonzero()[0].tolist():
            unsaid[at] = candump.error_frame(int(rows.block.can_id[at]), b"") is None
        if not unsaid.any():
            return rows
        self.left_out[NO_NOTICE] += int(unsaid.sum())
        return _plain(columnar.part(rows.block, ~unsaid), rows.sent[~unsaid])

    def _to_other(self, given, writer):
        fault = None
        for some in self._counted(self._rows(given, hashlib.sha256(), {})):
            frames = some.block.can_id != columnar.NO_ID
            block, sent = columnar.part(some.block, frames), some.sent[frames].tolist()
            for (t_us, channel, can_id, data), tx in zip(block.rows(), sent, strict=True):
                if t_us < 0:
                    self.left_out[EARLY] += 1
                    continue
                try:
                    writer.write(t_us, channel, can_id, data, len(data) > columnar.NARROW, tx)
                except InputError as error:
                    fault = error
                    self.left_out[error.what] += 1
            self._called(some.block, writer)
        if self.left_out.total() == self.frames:
            raise fault or self._all_early()
        self.zero_us = writer.zero_us
        self._count_others()

    def _all_early(self):
        if not self.frames:
            return InputError(self.path, "has no data frame, and nothing else can be converted", "a log with frames")
        return InputError(self.path, "all its frames are stamped before 1970", "stamps that the new format can hold")

    def _count_others(self):
        self.left_out += self.account.skipped + self.account.rejected
        del self.left_out["transmitted"]

    def _called(self, block, writer):
        for at in numpy.unique(block.channel[block.can_id != columnar.NO_ID]):
            name = block.channels[at]
            if name not in self.channels:
                self.channels[name] = writer.name(name)


def _plain(block, sent):
    return Rows(block, sent, numpy.zeros(len(block), "u2"), {}, {})


@contextlib.contextmanager
def _reopened(path):
    """The log as something that can be read several times; what comes through a pipe is kept in a temporary file."""
    if path != "-" and not stat.S_ISFIFO(_mode(path)):
        yield _Given(path)
        return
    with contextlib.ExitStack() as stack:
        stream = sys.stdin.buffer if path == "-" else stack.enter_context(open(path, "rb"))
        file = stack.enter_context(tempfile.NamedTemporaryFile(prefix="cellwarden-"))
        shutil.copyfileobj(stream, file, BLOCK)
        file.flush()
        yield _Given(path, file.name)


def _mode(path):
    try:
        return os.stat(path).st_mode
    except OSError:
        return 0


class _Given:
    def __init__(self, path, beside=None):
        self.path, self.beside, self.before, self.opened = path, beside, None, None

    def _stream(self):
        return open(self.beside, "rb") if self.beside else None

    def source(self):
        self.opened = Source(self.path, self._stream())
        return self.opened

    def log(self, format, include_tx=False):
        self.opened = open_log(self.path, format, include_tx, self._stream())
        return self.opened

    def sha256(self):
        """Of the log as it was given, compressed or not."""
        with open(self.beside or self.path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def watch(self):
        self.before = self._state()

    @property
    def size(self):
        """In bytes, compressed or not."""
        return self.before[0]

    def unchanged(self):
        """Raises InputError if the log was written to since watch()."""
        if self._state() != self.before:
            raise InputError(self.path, "changed while it was read", "a log that no one writes", "convert it again")

    def _state(self):
        try:
            state = os.stat(self.beside or self.path)
        except OSError as error:
            raise InputError(self.path, f"cannot be read ({error.strerror})", "a log file") from None
        return state.st_size, state.st_mtime_ns
