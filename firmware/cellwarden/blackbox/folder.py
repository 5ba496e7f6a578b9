"""Files that survive a power cut, on MicroPython's littlefs and on POSIX.

littlefs makes a file's new content appear at once when it is synced. POSIX keeps what was synced, may keep any part of
what was not, and keeps a new name only when its folder was synced too.
"""

import os

FULL = 28  # ENOSPC


class Folder:
    """A folder of small files. All methods raise OSError where the file system fails.

    atomic: whether the file system never shows a part of what was not synced, as littlefs; where that is not known, not
    """

    def __init__(self, path, atomic=False):
        self.path = path
        self.atomic = atomic

    def _of(self, name):
        return self.path + "/" + name

    def names(self):
        """Names in the folder, sorted."""
        return sorted(os.listdir(self.path))

    def size(self, name):
        """Bytes of a file."""
        return os.stat(self._of(name))[6]

    def open(self, name):
        """A binary file to read."""
        return open(self._of(name), "rb")

    def read(self, name):
        """The bytes of a small file; none where there is no such file."""
        try:
            with self.open(name) as file:
                return file.read()
        except OSError:
            if name in self.names():
                raise
            return b""

    def create(self, name):
        """A new, empty file to append to, unbuffered. Its name is durable with `sync_names()`."""
        return _open(self._of(name), "wb")

    def append(self, file, data):
        """Append to a file made by `create()`."""
        if file.write(data) != len(data):
            raise OSError(FULL)

    def sync(self, file):
        """Make durable what was appended."""
        file.flush()
        if hasattr(os, "fsync"):
            os.fsync(file.fileno())

    def barrier(self, file):
        """See to it that what is appended from now on is never there without what was appended before."""
        if not self.atomic:
            self.sync(file)

    def sync_names(self):
        """Make durable which names there are.

        MicroPython's unix port cannot; there it is the file system that makes a name durable with its file's first
        sync, as ext4, f2fs and btrfs do.
        """
        if hasattr(os, "fsync"):
            number = os.open(self.path, os.O_RDONLY)
            try:
                os.fsync(number)
            finally:
                os.close(number)

    def write(self, name, *parts):
        """Give a small file this content, in place, and make it durable; always with as many bytes as before."""
        new = False
        try:
            file = _open(self._of(name), "r+b")
        except OSError:
            if name in self.names():  # ENOENT has another number where the C library is another
                raise
            file, new = _open(self._of(name), "wb"), True
        with file:
            for part in parts:
                self.append(file, part)
            self.sync(file)
        if new:
            self.sync_names()

    def remove(self, name):
        """Remove a file. That it is gone is durable with `sync_names()`."""
        os.remove(self._of(name))


def _open(path, mode):
    if hasattr(os, "fsync"):  # POSIX by way of CPython: no buffer of its own, whose rest would be written at any time
        return open(path, mode, buffering=0)
    return open(path, mode)
