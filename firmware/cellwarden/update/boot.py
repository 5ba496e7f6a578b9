"""Chooses the slot that runs, and none of which a byte is other than what was signed. It is never updated in the field.

A board has this file as /boot.py; the updater in the slots imports its own copy, for the form of the boot record.

    boot.a  boot.b     the boot record, twice: the newer whole one counts, the older is overwritten
    a/  b/             the slots; each holds its files, `manifest` with their SHA-256, and `signature`

A new slot is on trial: it has TRIES starts in which to confirm itself, else the slot before runs again.
"""

import hashlib
import os
import struct
import sys
from binascii import crc32, unhexlify

SLOTS, RECORDS = ("a", "b"), ("boot.a", "boot.b")
NOTHING = bytes(32)  # for the SHA-256 of the manifest of a slot that must not run
STEADY, TRIAL, TRIES = 0, 1, 3
FIRST, CONFIRMED, SWITCHED, NOT_CONFIRMED, DAMAGED, OTHER_DAMAGED = 0, 1, 2, 3, 4, 5  # why: slots.WHY has the words
_MARK, _FORM = b"CWB1", "<4sIBBBBIII32s32s32s"
_NUMBERS = ("sequence", "active", "state", "tries", "why", "counter", "tree", "leaf")


class Record:
    """The boot record.

    active: 0 or 1, the confirmed slot; state: STEADY, or TRIAL where the other slot is tried; tries: starts that the
    other still has; counter: highest of a confirmed image; tree, leaf: of the newest signature that was accepted, and
    signed: SHA-256 of what it signed; slots: SHA-256 of each slot's manifest, or NOTHING
    """

    def __init__(self, data=None):
        values = struct.unpack(_FORM, data[:-4])[1:] if data else (0,) * len(_NUMBERS) + (NOTHING,) * 3
        for i in range(len(_NUMBERS)):
            setattr(self, _NUMBERS[i], values[i])
        self.signed, self.slots = values[-3], list(values[-2:])

    def write(self, root):
        """Make it the newest: True. A power cut leaves it or the one before, and so does a failing flash: False."""
        self.sequence += 1
        data = struct.pack(_FORM, _MARK, *[getattr(self, name) for name in _NUMBERS], self.signed, *self.slots)
        try:
            with open(root + "/" + RECORDS[self.sequence & 1], "wb") as file:
                file.write(data + struct.pack("<I", crc32(data)))
                file.flush()  # fsync, of MicroPython's unix port
            if hasattr(os, "sync"):
                os.sync()
        except OSError:
            return False
        return True


def read(path):
    """The bytes of a small file; none where there is no such file."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def read_record(root):
    """The newest whole Record in the folder `root`, or None."""
    found = []
    for name in RECORDS:
        data = read(root + "/" + name)
        sound = _MARK + struct.pack("<I", crc32(data[:-4]))
        if len(data) == struct.calcsize(_FORM) + 4 and data[:4] + data[-4:] == sound:
            found.append(Record(data))
    return max(found, key=lambda record: record.sequence) if found else None


def listed(manifest):
    """(path, size, SHA-256) of each file that a manifest lists."""
    for line in manifest.split(b"\n"):
        if line.startswith(b"file "):
            _, size, digest, path = line.split(b" ", 3)
            yield path.decode(), int(size), unhexlify(digest)


def same_file(path, size, digest):
    """Whether a file has this size and SHA-256."""
    found, view = hashlib.sha256(), memoryview(bytearray(512))
    try:
        with open(path, "rb") as file:
            while count := file.readinto(view):
                size -= count
                found.update(view[:count])
    except OSError:
        return False
    return size == 0 and found.digest() == digest


def count_files(folder):
    """Files in a folder and those below it."""
    paths = [folder + "/" + name for name in os.listdir(folder)]
    return sum(count_files(path) if os.stat(path)[0] & 0x4000 else 1 for path in paths)


def whole(folder, digest, pause=lambda: None):
    """Whether a slot holds the files of the manifest with this SHA-256, each byte of them, and no other file."""
    try:
        manifest = read(folder + "/manifest")
        if digest == NOTHING or hashlib.sha256(manifest).digest() != digest:
            return False
        count = 2  # the manifest and its signature, which it does not list
        for path, size, wanted in listed(manifest):
            count += 1
            pause()
            if not same_file(folder + "/" + path, size, wanted):
                return False
        return count == count_files(folder)
    except OSError:
        return False


def choose(root):
    """0 or 1, the slot to run, or None where there is none that may. What it decides is in the record before."""
    record = read_record(root) or Record()
    active, other = record.active, 1 - record.active
    if record.state == TRIAL:
        good = whole(root + "/" + SLOTS[other], record.slots[other])
        if good and record.tries:
            record.tries -= 1
            if record.write(root):
                return other
        else:
            record.state, record.why = STEADY, NOT_CONFIRMED if good else DAMAGED
            record.write(root)
    if whole(root + "/" + SLOTS[active], record.slots[active]):
        return active
    if not whole(root + "/" + SLOTS[other], record.slots[other]):
        return None
    record.active, record.state, record.why = other, STEADY, OTHER_DAMAGED
    record.write(root)
    return other


def start(root):
    """Let only the chosen slot, and what is frozen (CPython: installed), be imported from now on."""
    slot = choose(root)
    own = [] if slot is None else [root + "/" + SLOTS[slot]]
    sys.path[:] = own + ([".frozen"] if sys.implementation.name == "micropython" else sys.path[1:])
    return slot


if __name__ == "__main__" and start(os.getcwd().rstrip("/")) is None:  # of an STM32: /flash
    print("cellwarden: no slot is whole; put an image on with `cellwarden flash`")
