"""What the detector remembers, kept over restarts and power cuts: two files in turn, the newest whole one counts.

With a black box each file has a tag under a key that the chain of keys comes to later (blackbox.keys, K), so that
nobody can write one who has not the box's key, and one that is older than some hundred blocks counts no more. A box
without a black box has no key, and there whoever can write the files can write a state.
"""

import hashlib
import struct
from binascii import crc32

from cellwarden.acknowledge import hmac_sha256, same
from cellwarden.blackbox.keys import KEPT_LABEL, derived, key_ahead

NAMES = ("state0", "state1")
# mark, identity of the image, sequence, time of day (s, 0: not known), core's clock (ms), bytes of the state, index of
# the key (0: none). The state follows, SHA-256 of all that, and the tag.
HEAD = "<4s32sIIIII"
HEAD_BYTES = struct.calcsize(HEAD)
MARK = b"CWK2"
SUM = 32
STEP = 128  # blocks: the key is at most two of these ahead
_CHUNK = 256
EIO = 5


class Kept:
    """folder: blackbox.folder.Folder; identity: of the vehicle image; keys: blackbox.keys.FileKeys of its log, or None

    refused: why a file that was whole does not count, or empty
    Raises OSError where the folder cannot be read, ValueError where the box's key is not whole.
    """

    def __init__(self, folder, identity, keys=None):
        self._folder, self._identity, self._keys = folder, identity, keys
        self._sequence, self._next = 0, 0
        self._until, self._key = 0, None
        self.refused = ""
        self._other = False  # a file of another vehicle image is there
        slot = keys.newest() if keys else None
        for n in range(2):
            found = self._read(NAMES[n], slot)
            if found and found[0] > self._sequence:
                self._sequence, self._next = found[0], 1 - n
        if slot and slot.index and not (self._sequence or self._other or self.refused):
            self.refused = "no kept state is there, and the log goes on"

    def load(self, state):
        """Fill `state` (a view of bytes) with the newest; (time of day in s or 0, core's clock in ms), None without.

        Raises ValueError where it has another length, OSError where it cannot be read; `state` may be anything then.
        """
        if not self._sequence:
            return None
        found = self._read(NAMES[1 - self._next], self._keys.newest() if self._keys else None, state)
        if not found:
            raise OSError(EIO)
        return found[1:]

    def _read(self, name, slot, state=None):
        """(sequence, time of day, core's clock) of a file that counts, or None; `state` is filled with what it has."""
        try:
            file = self._folder.open(name)
        except OSError:
            if name in self._folder.names():
                raise
            return None
        with file:
            head = file.read(HEAD_BYTES)
            if len(head) != HEAD_BYTES or head[:4] != MARK:
                return None
            _, identity, sequence, wall_s, t_ms, length, until = struct.unpack(HEAD, head)
            digest = hashlib.sha256(head)
            if state is not None:
                if length != len(state):
                    raise ValueError("a kept state of %d bytes, this image has %d" % (length, len(state)))  # noqa: UP031
                if file.readinto(state) != length:
                    return None
                digest.update(state)
                length = 0
            while length > 0:
                some = file.read(min(length, _CHUNK))
                if not some:
                    return None
                digest.update(some)
                length -= len(some)
            digest = digest.digest()
            end = file.read(2 * SUM)
            if end[:SUM] != digest or file.read(4) != struct.pack("<I", crc32(end)):
                return None  # the power went while it was written
            if slot and not self._is_ours(slot, until, digest, end[SUM:]):
                self.refused = name + " does not have the box's tag"
                return None
            if identity != self._identity:
                self._other = True
                return None
        return sequence, wall_s, t_ms

    def _is_ours(self, slot, until, digest, tag):
        return self._has_key(slot, until) and same(hmac_sha256(self._key, digest), tag)

    def _has_key(self, slot, until):
        """Whether `_key` is the one that index `until` gives."""
        if until != self._until or not self._key:
            ahead = key_ahead(slot, until, 2 * STEP)
            if not ahead:
                return False
            self._until, self._key = until, derived(KEPT_LABEL, ahead)
        return True

    def save(self, wall_s, t_ms, state):
        """Keep a state (a view of bytes). Raises OSError where it cannot be kept; the one before it still is."""
        tag = bytes(SUM)
        if self._keys:
            slot = self._keys.newest()
            if not self._key or self._until < slot.index + STEP:
                self._has_key(slot, (slot.index // STEP + 2) * STEP)
        head = struct.pack(HEAD, MARK, self._identity, self._sequence + 1, wall_s, t_ms, len(state), self._until)
        digest = hashlib.sha256(head)
        digest.update(state)
        digest = digest.digest()
        if self._key:
            tag = hmac_sha256(self._key, digest)
        self._folder.write(NAMES[self._next], head, state, digest, tag, struct.pack("<I", crc32(digest + tag)))
        self._sequence += 1
        self._next = 1 - self._next
