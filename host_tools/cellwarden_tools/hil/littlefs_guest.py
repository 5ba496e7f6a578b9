"""Runs on MicroPython's unix port: files between a folder here and a littlefs v2 in a part of a file.

micropython littlefs_guest.py FILE BEGIN BYTES put|get FOLDER
"""

import os
import sys

import vfs

BLOCK_BYTES = 4096


class Device:
    def __init__(self, path, begin, size):
        self._file, self._begin, self._size = open(path, "r+b"), begin, size

    def readblocks(self, number, data, at=0):
        self._file.seek(self._begin + number * BLOCK_BYTES + at)
        self._file.readinto(data)

    def writeblocks(self, number, data, at=0):
        self._file.seek(self._begin + number * BLOCK_BYTES + at)
        self._file.write(data)

    def ioctl(self, what, value):
        if what in (2, 3):
            self._file.flush()
        return {4: self._size // BLOCK_BYTES, 5: BLOCK_BYTES}.get(what, 0)


def copy(source, target):
    """A folder and all below it."""
    try:
        os.mkdir(target)
    except OSError:
        pass
    for name, kind, *_ in os.ilistdir(source):
        if kind == 0x4000:
            copy(source + "/" + name, target + "/" + name)
        else:
            with open(source + "/" + name, "rb") as file, open(target + "/" + name, "wb") as written:
                written.write(file.read())


def run(path, begin, size, verb, folder):
    device = Device(path, int(begin), int(size))
    if verb == "put":
        vfs.VfsLfs2.mkfs(device)
    vfs.mount(vfs.VfsLfs2(device), "/box")
    if verb == "put":
        copy(folder, "/box")
    else:
        copy("/box", folder)
    vfs.umount("/box")


run(*sys.argv[1:])
