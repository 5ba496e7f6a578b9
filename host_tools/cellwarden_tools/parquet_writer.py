"""Write a log in our own columnar form (docs/parquet.md): row groups as they fill, the account at the end."""

import hashlib
import json

import numpy
import pyarrow
import pyarrow.parquet
from cellwarden.core.layout import NOTICE

from . import __version__
from .readers.account import EXT, KINDS
from .readers.blocks import from_frames
from .readers.parquet import KEY, KEY_SUM, NARROW, NO_ID, VERSION, WIDE, Rows, cut, schema

GROUP = 1 << 18  # rows in a row group
TEXT = 1 << 24  # bytes of text that end a row group early, so that memory is bounded
# Measured, see docs/parquet.md.
OPTIONS = {
    "compression": "zstd",
    "compression_level": 6,
    "use_dictionary": ["channel", "can_id", "extended", "length", "sent", "reason", "form"],
    "column_encoding": {"t_us": "DELTA_BINARY_PACKED"},
    "write_page_checksum": True,
    "data_page_version": "1.0",
}


class ParquetLog:
    """A log being written: put() Rows or write() single frames, then finish()."""

    format, zero_us = "parquet", 0

    def __init__(self, file):
        self.finished = False
        self.schema = schema()
        self.out = pyarrow.parquet.ParquetWriter(file, self.schema, **OPTIONS)
        self.pieces, self.waiting, self.text = [], 0, 0
        self.frames, self.singles = 0, []
        self.first = self.last = None
        self.notices = False
        self.backward = 0
        self.groups = []

    def write(self, t_us, channel, can_id, data, fd=False, sent=False):
        """One frame, as other logs are written (writers.open_writer)."""
        self.singles.append((t_us, channel, can_id, data, sent))
        if len(self.singles) >= 8192:
            self._gather()

    @staticmethod
    def name(channel):
        return channel

    def _gather(self):
        if self.singles:
            sent = numpy.array([frame[4] for frame in self.singles])
            for block in from_frames(frame[:4] for frame in self.singles):
                self.put(Rows(block, sent, numpy.zeros(len(block), "u2"), {}, {}))
            self.singles = []

    def put(self, rows):
        """Some records, behind those put before."""
        self._order(rows)
        self.pieces.append(rows)
        before, self.waiting = self.waiting, self.waiting + len(rows.block)
        ends = []  # of row groups, by their rows alone and not by the pieces they come in
        for at in sorted(rows.text):
            self.text += len(rows.text[at])
            if self.text > TEXT:
                ends.append(before + at + 1)
                self.text = 0
        done = 0
        for end in [*ends, before + len(rows.block)]:
            while end - done >= GROUP:
                self._flush(GROUP)
                done += GROUP
            if end in ends and end > done:
                self._flush(end - done)
                done = end

    def _order(self, rows):
        t_us = rows.block.t_us
        if rows.reason:
            t_us = t_us[rows.block.can_id != NO_ID]
        if not len(t_us):
            return
        self.frames += len(t_us)
        if self.first is None:
            self.first = int(t_us[0])
        elif t_us[0] < self.last:
            self.backward += 1
        self.backward += int((t_us[1:] < t_us[:-1]).sum())
        self.last = int(t_us[-1])

    def _flush(self, count):
        """Write the first `count` rows that wait as one row group."""
        taken, left, rest = [], count, []
        for rows in self.pieces:
            n = len(rows.block)
            if left >= n:
                taken.append(rows)
            elif left:
                taken.append(cut(rows, 0, left))
                rest.append(cut(rows, left, n))
            else:
                rest.append(rows)
            left -= min(n, left)
        self.pieces, self.waiting = rest, self.waiting - count
        if not count:
            return
        starts = numpy.cumsum([0] + [len(rows.block) for rows in taken[:-1]]).tolist()
        can_id = numpy.concatenate([rows.block.can_id for rows in taken])
        bus, names = _channels(taken, can_id == NO_ID)
        form = numpy.concatenate([rows.form for rows in taken])
        notices = can_id & KINDS == NOTICE
        self.notices |= bool(notices.any())
        extended = (can_id & EXT != 0) & (can_id != NO_ID)
        can_id = numpy.where(extended, can_id & ~EXT, can_id)
        narrow = numpy.concatenate([rows.block.data[:, :NARROW] for rows in taken])
        reasons = {
            start + at: why for start, rows in zip(starts, taken, strict=True) for at, why in rows.reason.items()
        }
        texts = {start + at: text for start, rows in zip(starts, taken, strict=True) for at, text in rows.text.items()}
        columns = {
            "t_us": pyarrow.array(numpy.concatenate([rows.block.t_us for rows in taken])),
            "channel": pyarrow.DictionaryArray.from_arrays(pyarrow.array(bus), pyarrow.array(names, pyarrow.string())),
            "can_id": pyarrow.array(can_id),
            "extended": pyarrow.array(extended),
            "length": pyarrow.array(numpy.concatenate([rows.block.length for rows in taken])),
            "data": _fixed(narrow),
            "more": self._more(taken, count),
            "sent": pyarrow.array(numpy.concatenate([rows.sent for rows in taken])),
            "reason": _sparse(reasons, count, pyarrow.string()).dictionary_encode(),
            "form": pyarrow.array(form),
            "text": _sparse(texts, count, pyarrow.binary()),
        }
        counts = {
            "rows": count,
            "extended": int(extended.sum()),
            "more": count - columns["more"].null_count,
            "sent": columns["sent"].true_count,
            "reason": len(reasons),
            "form": int(numpy.count_nonzero(form)),
            "text": len(texts),
        }
        self.groups.append({name: n for name, n in counts.items() if n})
        batch = pyarrow.Table.from_arrays([columns[name] for name in self.schema.names], schema=self.schema)
        self.out.write_table(batch, row_group_size=count)

    def _more(self, taken, count):
        """The bytes behind the eighth, null where there are none."""
        width = WIDE - NARROW
        if all(rows.block.data.shape[1] == NARROW for rows in taken):
            return pyarrow.nulls(count, pyarrow.binary(width))
        wide = [
            rows.block.data[:, NARROW:]
            if rows.block.data.shape[1] > NARROW
            else numpy.zeros((len(rows.block), width), "u1")
            for rows in taken
        ]
        long = numpy.concatenate([rows.block.length > NARROW for rows in taken])
        bits = numpy.packbits(long, bitorder="little").tobytes()
        data = numpy.ascontiguousarray(numpy.concatenate(wide))
        buffers = [pyarrow.py_buffer(bits), pyarrow.py_buffer(data)]
        return pyarrow.Array.from_buffers(pyarrow.binary(width), count, buffers, int(count - long.sum()))

    def finish(self, source=None, account=None, lines=False, prefix=""):
        """Write what waits, and what is told of the log.

        source:  {"name", "format", "size", "sha256"} of the log this was made from, with "plain_size" and
                 "plain_sha256" where it was compressed, or None
        account: that of the log without the frames sent; None for a log that is made here
        lines:   every line of the log is in the rows, so that its text can be made again
        prefix:  what stands before the place of each rejection in the account, and is left out
        """
        self._gather()
        self._flush(self.waiting)
        told = {
            "version": VERSION if self.notices else 1,
            "written_by": f"cellwarden {__version__}",
            "source": source,
            "lines": lines,
            "first_us": self.first,
            "last_us": self.last,
            "in_order": not self.backward,
            "steps_back": self.backward,
            "groups": self.groups,
            "account": _account(account, self.frames, prefix),
        }
        told = json.dumps(told, ensure_ascii=False).encode()
        self.out.add_key_value_metadata({KEY: told, KEY_SUM: hashlib.sha256(told).hexdigest()})
        self.close()
        self.finished = True

    def close(self):
        """Let go of the file; unless finish() was called, it is not a whole one."""
        self.out.close()


def _account(account, frames, prefix):
    if account is None:
        return {"total": frames, "frames": frames, "skipped": {}, "rejected": {}, "cut": None, "rejections": []}
    return {
        "total": account.total,
        "frames": account.frames,
        "skipped": dict(account.skipped),
        "rejected": dict(account.rejected),
        "cut": account.cut,
        "rejections": [(place.removeprefix(prefix), *rest) for place, *rest in account.rejections],
    }


def _channels(taken, other):
    """(number of each row's channel, int32 (n,); their names in the order of the alphabet). No frame, no channel."""
    numbers = {"": 0}
    bus = []
    for rows in taken:
        mine = [numbers.setdefault(name, len(numbers)) for name in rows.block.channels]
        bus.append(numpy.array(mine or [0], "i4")[rows.block.channel])
    bus = numpy.concatenate(bus)
    bus[other] = 0
    used, bus = numpy.unique(bus, return_inverse=True)
    names = [*numbers]
    names = [names[number] for number in used]
    ranks = {name: rank for rank, name in enumerate(sorted(names))}
    return numpy.array([ranks[name] for name in names], "i4")[bus], sorted(names)


def _fixed(data):
    return pyarrow.Array.from_buffers(pyarrow.binary(data.shape[1]), len(data), [None, pyarrow.py_buffer(data)])


def _sparse(told, count, kind):
    """A column with `told` {row: value}, null elsewhere."""
    if not told:
        return pyarrow.nulls(count, kind)
    return pyarrow.array(map(told.get, range(count)), kind, size=count)
