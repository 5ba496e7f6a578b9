"""Runs on MicroPython: the black box on littlefs over a simulated NOR flash whose power goes at any write or erase.

    micropython nor.py OUT ERASE_BLOCK SEALS EVERY STRIDE

Two lives are recorded, operation by operation. From the flash as each EVERY-th operation left it, whole or half done,
the box starts again, lives on and shuts down; where STRIDE is not 0 its power goes once more at every STRIDE-th of
those.
What then stands in the folder is written to OUT for the host to verify: int32 cuts, operation and files; for each file
int32 length of its name, name, int32 length, content. Printed: `S operation index tag` for each block said to be
durable, then `N operations`.
"""

import binascii
import struct
import sys

import story
import vfs
from cellwarden.blackbox.folder import Folder
from cellwarden.blackbox.keys import FileKeys

BLOCKS = 96
ERASED = 0xFF


class Nor:
    """A flash in memory. journal: its operations, (byte, data) of a write and (byte, None) of an erase."""

    def __init__(self, size, image=None, blocks=BLOCKS):
        self.size = size
        self.image = bytearray(b"\xff" * (size * blocks)) if image is None else bytearray(image)
        self.journal = []

    def readblocks(self, block, data, offset=0):
        at = block * self.size + offset
        data[:] = memoryview(self.image)[at : at + len(data)]

    def writeblocks(self, block, data, offset=0):
        self.do(block * self.size + offset, bytes(data))

    def ioctl(self, request, block):
        if request == 4:
            return len(self.image) // self.size
        if request == 5:
            return self.size
        if request == 6:
            self.do(block * self.size, None)
        return 0

    def do(self, at, data, part=2):
        """One operation, or the first half of it."""
        if part == 2:
            self.journal.append((at, data))
        length = (self.size if data is None else len(data)) * part // 2
        for i in range(at, at + length) if data is not None else ():
            if self.image[i] != ERASED:
                raise RuntimeError("byte %d is written twice" % i)  # noqa: UP031
        self.image[at : at + length] = b"\xff" * length if data is None else data[:length]


def mounted(flash):
    vfs.mount(vfs.VfsLfs2(flash, readsize=32, progsize=32, lookahead=32), "/flash")
    return Folder("/flash", atomic=True)


def live(flash, seals, shutdown=False, told=None):
    folder = mounted(flash)
    try:
        if told:
            story.two_lives(folder, seals, told)
        else:
            story.live(story.start(folder), seals, shutdown=shutdown)
        return [(name, folder.read(name)) for name in folder.names()]
    finally:
        vfs.umount("/flash")


def cut_flashes(size, before, journal, stride=1, first=0):
    """(operation, flash) as the power leaves it: after each operation, and in the middle of the next."""
    flash = Nor(size, before)
    for n in range(len(journal)):
        if n >= first and (n - first) % stride == 0:
            yield n, Nor(size, flash.image)
            half = Nor(size, flash.image)
            half.do(*journal[n], part=1)
            yield n, half
        flash.do(*journal[n])


def put(out, cuts, operation, files):
    out.write(struct.pack("<iii", cuts, operation, len(files)))
    for name, data in files:
        out.write(struct.pack("<i", len(name)) + name.encode() + struct.pack("<i", len(data)) + data)


def run(path, size, seals, every, stride):
    flash = Nor(size)
    vfs.VfsLfs2.mkfs(flash, readsize=32, progsize=32, lookahead=32)
    FileKeys(mounted(flash)).provision(story.FIRST_KEY)
    vfs.umount("/flash")
    before = bytes(flash.image)
    flash.journal = journal = []

    def told(index, tag):
        print("S", len(journal), index, binascii.hexlify(tag).decode())

    live(flash, seals, told=told)
    with open(path, "wb") as out:
        for n, cut in cut_flashes(size, before, journal, every):
            if not stride:
                put(out, 1, n, live(cut, 3, shutdown=True))
                continue
            image, second = bytes(cut.image), cut.journal
            live(cut, 2)
            for _, again in cut_flashes(size, image, second, stride, n % stride):
                put(out, 2, n, live(again, 2, shutdown=True))
    print("N", len(journal))


if __name__ == "__main__":
    run(sys.argv[1], *[int(word) for word in sys.argv[2:]])
