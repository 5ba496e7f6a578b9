"""A copy of a box's log while it runs: resumed where it was broken off, each file with the SHA-256 that the box finds.

What is copied is what was sealed when the copy was begun: segments up to the last seal, annexes as far as the chain
tells of them. While that goes on the box seals more and removes files; where it removed one that was wanted, what was
sealed since is copied, too, which says so.
"""

import hashlib
import os
import shutil
from binascii import a2b_base64
from pathlib import Path
from typing import NamedTuple

from cellwarden.blackbox import content as C
from cellwarden.blackbox import form as F
from cellwarden.blackbox.annex import annex_name
from cellwarden.blackbox.chain import END_NAME, segment_number

from ..blackbox.anchor import Anchor
from ..blackbox.read import opened, pieces
from ..errors import InputError

PIECE = 4096  # bytes asked for at a time; the box gives what its line has room for
HASH_S, HASH_BYTES_A_S = 5, 10_000  # the slowest box takes so long, and so many bytes in one more second
AGAIN = 5  # what was sealed since is copied so often, because the box had removed something
PART = ".part"


class _Gone(Exception):
    """The box has no such file, or not so many bytes of it."""


class Pulled(NamedTuple):
    """files, bytes: of the copy; missing: names of annexes that went before they could be copied; fetched: bytes that
    came over the line; anchor: the last block that the box says it sealed, or None; commitment: of its first key.
    """

    files: int
    missing: list
    bytes: int
    fetched: int
    anchor: Anchor | None
    commitment: bytes


def pull(box, folder, say=lambda *_: None):
    """Copy the log of a line.Running into a folder, which is made. say: called with (name, bytes done, in all)

    Raises InputError, and line.Silent where the line is lost: the same again goes on from there.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _Pull(box, folder, say).run()
    except OSError as error:
        name = error.filename or folder
        raise InputError(name, f"cannot be written ({error.strerror})", "a folder that can be written") from None


class _Pull:
    def __init__(self, box, folder, say):
        self._box, self._folder, self._say = box, folder, say
        self._fetched = self._done = self._whole = 0
        self._right = {}  # {name: bytes that are there and are the box's}

    def run(self):
        for _ in range(AGAIN):
            log = dict(self._box.rows("log"))
            files = dict(self._box.rows("files"))
            self._done, self._whole = 0, sum(files.values())
            missing = self._segments(log, files) or self._annexes(files)
            if not missing:
                break
        if not self._right:
            raise InputError(self._box.name, "the box has sealed nothing yet", "", "it does so each 10 s: try again")
        if END_NAME in files:
            self._file(END_NAME, files[END_NAME])
        anchor = None
        if log["index"] is not None:
            anchor = Anchor(log["index"], bytes.fromhex(log["tag"]), "what the box said over this line")
        commitment = bytes.fromhex(log["commitment"])
        return Pulled(len(self._right), missing, sum(self._right.values()), self._fetched, anchor, commitment)

    def _segments(self, log, files):
        """The segments that are gone; of the open one what is sealed is wanted."""
        newest, gone = log["segment"], []
        for name in sorted(files):
            number = segment_number(name)
            if number is None or number > newest:
                continue
            size = log["bytes"] if number == newest and log["bytes"] is not None else files[name]
            if size and not self._is_had(name, size):
                gone.append(name)
        return gone

    def _annexes(self, files):
        """The annexes that are gone, of those that the segments tell of."""
        told, dropped = {}, set()
        for name in (name for name in files if segment_number(name) is not None):
            path = self._folder / name
            for kind, body in _records(path) if path.exists() else ():
                fields = F.unpack({F.ANNEX_TYPE: C.ANNEX, F.DROPPED_TYPE: C.DROPPED}.get(kind, ""), body)
                if fields and kind == F.ANNEX_TYPE:
                    told[fields[0]] = max(told.get(fields[0], 0), fields[2])
                elif fields:
                    dropped.add(fields[0])
        wanted = {annex_name(number): size for number, size in told.items() if number not in dropped}
        return [name for name, size in sorted(wanted.items()) if not self._is_had(name, size)]

    def _is_had(self, name, size):
        try:
            self._file(name, size)
        except _Gone:
            return False
        return True

    def _file(self, name, size):
        """Have the first `size` bytes of a file as the box has them."""
        path, part = self._folder / name, self._folder / (name + PART)
        self._done += size
        if self._right.get(name) == size:
            return
        theirs = self._hash(name, size)
        if path.exists() and _sha256(path) == theirs:
            self._right[name] = size
            return
        if not part.exists() and path.exists():
            shutil.copyfile(path, part)
        for begun in (part.exists(), False):
            with open(part, "ab") as file:
                at = file.tell() if begun and file.tell() <= size else 0
                file.truncate(at)
                while at < size:
                    at += file.write(self._piece(name, at, min(PIECE, size - at)))
                    self._say(name, self._done - size + at, max(self._whole, self._done))
                file.flush()
                os.fsync(file.fileno())
            if _sha256(part) == theirs:
                os.replace(part, path)
                self._right[name] = size
                return
            if not begun:
                break
        raise InputError(self._box.name, f"{name} comes otherwise than the box says it is", "a line without faults")

    def _hash(self, name, size):
        return self._told("hash", name, size, seconds=HASH_S + size / HASH_BYTES_A_S)["sha256"]

    def _piece(self, name, at, count):
        data = a2b_base64(self._told("read", name, at, count)["data"])
        if not data:
            raise _Gone
        self._fetched += len(data)
        return data

    def _told(self, *words, **limits):
        told = self._box.ask_for(*words, **limits)
        if told is None:
            raise _Gone
        return told


def _records(path):
    """(type, body) of each record of a segment."""
    with opened(path) as data:
        for found in pieces(data):
            if found.record:
                yield found.record.type, found.record.body


def _sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
