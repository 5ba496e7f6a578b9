"""The keys of the black box: they move forward one-way with each block, and where they live (docs/blackbox.md).

    C(n + 1) = H("cellwarden next key 1" + C(n))         the chain; the host keeps C(0), the first key
    M(n)     = H("cellwarden seal key 1" + C(n))         seals block n and no other
    P(n)     = H("cellwarden not stored 1" + C(n))       shows that block n - 1 was not known to be stored
    E(n)     = H("cellwarden end 1" + C(n))              shows that the box shut down before block n: its end mark
    K(n)     = H("cellwarden kept state 1" + C(n))       tags the kept state up to block n (cellwarden.keep)

H is SHA-256. While it is not known whether block n - 1 reached the storage the box holds C(n); from then on M(n) and
C(n + 1) only, so that nobody can make P(n) any more and say that block n - 1 was lost, nor E(n) and say that it was the
last.
"""

import hashlib
import os
import struct
from binascii import crc32
from collections import namedtuple

NEXT_LABEL = b"cellwarden next key 1"
SEAL_LABEL = b"cellwarden seal key 1"
NOT_STORED_LABEL = b"cellwarden not stored 1"
END_LABEL = b"cellwarden end 1"
COMMITMENT_LABEL = b"cellwarden first key 1"
KEPT_LABEL = b"cellwarden kept state 1"
NONE = 0xFFFFFFFF
NO_PROOF = bytes(32)
SLOT_MARK = b"CWK1"
SLOT_BYTES = 192
SLOT_NAMES = ("key.a", "key.b")
PAGE_BYTES = 256  # of NOR flash, for a slot
ERASED, ZEROS = b"\xff" * SLOT_BYTES, bytes(SLOT_BYTES)
EIO = 5
_FIELDS = "<4sIIIIII32s32s32s32s32s"

# index: of the block to be sealed next; boot: the last one that sealed; sequence: of the next record; segment: newest
# with a seal; missing_from: index of the first of the newest blocks that were sealed and not stored, or NONE; stored: 1
# where block index - 1 is known to be; key: M(index), or C(index) where it is not; after: C(index + 1), or zeros; tag:
# of block index - 1; proof: that missing_from and all after it were not stored; commitment: to the first key
Slot = namedtuple(
    "Slot",
    ("index", "boot", "sequence", "segment", "missing_from", "stored", "key", "after", "tag", "proof", "commitment"),
)


def derived(label, key):
    """H(label + key): 32 bytes."""
    digest = hashlib.sha256(label)
    digest.update(key)
    return digest.digest()


def folded(proof, key):
    """A proof that one more block was not stored; key: C(n) of the block after it."""
    digest = hashlib.sha256(proof)
    digest.update(derived(NOT_STORED_LABEL, key))
    return digest.digest()


def key_ahead(slot, index, most):
    """C(index) of a Slot's box, or None for one that is gone, or more than `most` blocks ahead."""
    at, key = (slot.index + 1, slot.after) if slot.stored else (slot.index, slot.key)
    if not 0 <= index - at <= most:
        return None
    for _ in range(index - at):
        key = derived(NEXT_LABEL, key)
    return key


def commitment(first_key):
    """What may be shown of a first key: 32 bytes by which it is known again, and nothing of any other key."""
    return derived(COMMITMENT_LABEL, first_key)


def first_slot(first_key):
    """The Slot of a new box. Raises ValueError for a key of another length."""
    if len(first_key) != 32:
        raise ValueError("a key of %d bytes" % len(first_key))  # noqa: UP031
    return Slot(0, 0, 0, 0, NONE, 0, bytes(first_key), bytes(32), bytes(32), NO_PROOF, commitment(first_key))


def newest_of(slots):
    """The newest of some Slots. Raises ValueError where there is none."""
    if not slots:
        raise ValueError("the box has no key")
    return max(slots, key=lambda slot: (slot.index, slot.stored))


def pack_slot(slot):
    """192 bytes."""
    data = struct.pack(_FIELDS, SLOT_MARK, *slot)
    return data + struct.pack("<I", crc32(data))


def has_key(folder):
    """Whether a folder.Folder was given a key, so that there is to be a log in it. Raises OSError."""
    return any([name in SLOT_NAMES for name in folder.names()])


def unpack_slot(data):
    """A Slot, or None for bytes that are none: torn, erased, foreign."""
    if len(data) != SLOT_BYTES or data[:4] != SLOT_MARK:
        return None
    if crc32(data[:-4]) != struct.unpack("<I", data[-4:])[0]:
        return None
    return Slot(*struct.unpack(_FIELDS, data[:-4])[1:])


def keys_in(folder):
    """The FileKeys of a log's folder.Folder, or None where it was given no key.

    A folder that is there and cannot be read is taken for one with a key: who uses them fails, and can tell.
    """
    try:
        given = has_key(folder)
    except OSError:
        try:
            os.stat(folder.path)
        except OSError:
            return None  # no folder
        given = True
    return FileKeys(folder) if given else None


class FileKeys:
    """The slot in two files of a folder.Folder, each written in place and made durable before the other is touched.

    So one of them is whole at any moment, and when `store` returns no older key stands in either. What the storage
    below the file system keeps of overwritten bytes is not in its power (docs/blackbox.md, "Erasure").
    """

    def __init__(self, folder):
        self._folder = folder

    def provision(self, first_key):
        """Make the slot of a new box. first_key: 32 random bytes; the host keeps them, nobody else.

        Raises ValueError for a key of another length, and where there is a slot already.
        """
        if has_key(self._folder):
            raise ValueError("the box has a key already")
        slot = pack_slot(first_slot(first_key))
        for name in SLOT_NAMES:
            self._folder.write(name, slot)

    def newest(self):
        """The newest Slot; nothing is written. Raises ValueError where no slot is whole."""
        found = [unpack_slot(self._folder.read(name)) for name in SLOT_NAMES]
        return newest_of([slot for slot in found if slot])

    def load(self):
        """The newest Slot; the other file is made equal to it. Raises ValueError where no slot is whole."""
        found = [self._folder.read(name) for name in SLOT_NAMES]
        newest = newest_of([slot for slot in map(unpack_slot, found) if slot])
        data = pack_slot(newest)
        for i in range(len(SLOT_NAMES)):
            if found[i] != data:
                self._folder.write(SLOT_NAMES[i], data)
        return newest

    def store(self, slot):
        """Make this slot the newest: when it returns no older key is left. Raises OSError where that fails."""
        for _ in self.storing(slot):
            pass

    def storing(self, slot):
        """As `store`, a generator with a pause after each operation of the storage."""
        data = pack_slot(slot)
        for name in SLOT_NAMES:
            self._folder.write(name, data)
            yield


class FlashKeys:
    """The slot on raw NOR flash, a partition of its own: what is not the newest is overwritten with zeros, in place.

    flash: a block device with MicroPython's extended interface (readblocks, writeblocks with an offset that does not
    erase, ioctl 4, 5 and 6), such as esp32.Partition; two erase blocks at least. A bit that is 0 stays 0 until its
    block is erased, so a key is gone for good when `store` returns, without an erase each time.
    """

    def __init__(self, flash):
        self._flash = flash
        self._block_bytes = flash.ioctl(5, 0)
        self._in_block = self._block_bytes // PAGE_BYTES
        self._pages = flash.ioctl(4, 0) * self._in_block
        self._page = 0  # of the newest slot

    def _read(self, page):
        data = bytearray(SLOT_BYTES)
        self._flash.readblocks(page // self._in_block, data, page % self._in_block * PAGE_BYTES)
        return bytes(data)

    def _write(self, page, data):
        self._flash.writeblocks(page // self._in_block, data, page % self._in_block * PAGE_BYTES)
        if self._read(page) != data:
            raise OSError(EIO)

    def provision(self, first_key):
        """As FileKeys.provision()."""
        data = pack_slot(first_slot(first_key))
        if any(unpack_slot(self._read(page)) for page in range(self._pages)):
            raise ValueError("the box has a key already")
        for block in range(self._pages // self._in_block):
            self._flash.ioctl(6, block)
        self._page = 0
        self._write(0, data)

    def load(self):
        """The newest Slot; whatever else is not erased is made zeros. Raises ValueError where no slot is whole."""
        slots = {}
        for page in range(self._pages):
            slot = unpack_slot(self._read(page))
            if slot:
                slots[page] = slot
        newest = newest_of(list(slots.values()))
        for page in range(self._pages):
            if slots.get(page) == newest:
                self._page = page
        for page in range(self._pages):
            if page != self._page and self._read(page) not in (ERASED, ZEROS):
                self._write(page, ZEROS)
        return newest

    def store(self, slot):
        """As FileKeys.store()."""
        for _ in self.storing(slot):
            pass

    def storing(self, slot):
        """As FileKeys.storing()."""
        page = self._page
        while True:
            page = (page + 1) % self._pages
            if page == self._page:
                raise OSError(EIO)  # nowhere is it erased
            if page % self._in_block == 0:
                self._flash.ioctl(6, page // self._in_block)
                yield
            if self._read(page) == ERASED:
                break
        self._write(page, pack_slot(slot))
        before, self._page = self._page, page
        yield
        self._write(before, ZEROS)
        yield
