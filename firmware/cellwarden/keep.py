"""What the detector remembers, kept over restarts and power cuts: two files in turn, the newest whole one counts."""

import hashlib
import struct

NAMES = ("state0", "state1")
HEAD = "<4s32sIIII"  # mark, identity of the image, sequence, time of day (s, 0: not known), core's clock (ms), length
MARK = b"CWK1"
SUM = 32


class Kept:
    """folder: blackbox.folder.Folder; identity: of the vehicle image.

    Raises OSError where the folder cannot be read.
    """

    def __init__(self, folder, identity):
        self._folder, self._identity = folder, identity
        self._sequence, self._next = 0, 0
        self.newest = None
        for n in range(2):
            found = self._read(NAMES[n])
            if found and found[0] > self._sequence:
                self._sequence, self._next, self.newest = found[0], 1 - n, found[1:]

    def load(self):
        """(time of day in s or 0, core's clock in ms, state) of the newest whole file of this image; None without."""
        newest, self.newest = self.newest, None
        return newest

    def _read(self, name):
        data = memoryview(self._folder.read(name))  # of which no piece is copied: a board has little memory
        size = struct.calcsize(HEAD)
        if len(data) < size + SUM or hashlib.sha256(data[:-SUM]).digest() != bytes(data[-SUM:]):
            return None
        mark, identity, sequence, wall_s, t_ms, length = struct.unpack(HEAD, bytes(data[:size]))
        if mark != MARK or identity != self._identity or length != len(data) - size - SUM:
            return None
        return sequence, wall_s, t_ms, data[size:-SUM]

    def save(self, wall_s, t_ms, state):
        """Keep a state (bytes-like). Raises OSError where it cannot be kept; the one before it still is."""
        head = struct.pack(HEAD, MARK, self._identity, self._sequence + 1, wall_s, t_ms, len(state))
        digest = hashlib.sha256(head)
        digest.update(state)
        self._folder.write(NAMES[self._next], head, state, digest.digest())
        self._sequence += 1
        self._next = 1 - self._next
