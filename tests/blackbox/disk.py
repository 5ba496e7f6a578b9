"""A POSIX file system that keeps what was synced and does what it likes with the rest.

It stands in for `os` and `open` of cellwarden.blackbox.folder. Each write, sync, new name and removal is an operation;
the power goes at the one that is asked for, and `after_cut` makes one of the disks that may then be found.
"""

import random

GRAIN = 512  # bytes in which it hands out room
SECTOR = 64  # smaller than any real one, so that small files have several


class PowerCut(BaseException):
    pass


class File:
    """data: as a reader sees it now; durable: as it was synced; dirty: sectors written since"""

    def __init__(self, data=b""):
        self.data, self.durable, self.dirty = bytearray(data), bytes(data), set()


class Disk:
    """files: {name: content} to begin with; cut: the operation at which the power goes, None = never.

    failing: operations that end with EIO; room: bytes that all files may have together, in whole GRAINs.
    """

    O_RDONLY = 0
    path = "/log"

    def __init__(self, files=(), cut=None, failing=(), room=None):
        self.names = {name: File(data) for name, data in dict(files).items()}
        self.durable_names = dict(self.names)
        self.cut, self.operations = cut, 0
        self.failing, self.room = failing, room
        self._opened = {}

    def _operation(self):
        if self.operations == self.cut:
            raise PowerCut
        self.operations += 1
        if self.operations - 1 in self.failing:
            raise OSError(5, "the disk fails")

    def _full(self):
        used = sum(-(-len(file.data) // GRAIN) * GRAIN for file in self.names.values())
        return self.room is not None and used > self.room

    # --- what folder.py calls -----------------------------------------------------------------------------------------

    def open(self, path, mode_or_flags, buffering=-1):
        if mode_or_flags == self.O_RDONLY:
            assert path == self.path
            return -1
        name = self._name(path)
        if mode_or_flags == "wb":
            self._operation()
            self.names[name] = File()
        if name not in self.names:
            raise OSError(2, "no such file", name)
        file = self.names[name]
        return _Reader(self, file) if mode_or_flags == "rb" else _Writer(self, file)

    def close(self, number):
        assert number == -1

    def _name(self, path):
        folder, _, name = path.rpartition("/")
        assert folder == self.path
        return name

    def listdir(self, path):
        assert path == self.path
        return list(self.names)

    def stat(self, path):
        return (0, 0, 0, 0, 0, 0, len(self.names[self._name(path)].data))

    def remove(self, path):
        name = self._name(path)
        if name not in self.names:
            raise OSError(2, "no such file", name)
        self._operation()
        del self.names[name]

    def fsync(self, number):
        if number == -1:
            self._operation()
            self.durable_names = dict(self.names)
            return
        file = self._opened[number]
        dirty, file.dirty = file.dirty, set()
        try:
            self._operation()
        except PowerCut:
            file.dirty = dirty
            raise
        # Where it fails nobody writes these sectors any more, and what is read is what should have been written.
        durable = bytearray(file.durable[: len(file.data)].ljust(len(file.data), b"\0"))
        for sector in dirty:
            here = slice(sector * SECTOR, (sector + 1) * SECTOR)
            durable[here] = file.data[here]
        file.durable = bytes(durable)

    # --- the cut ------------------------------------------------------------------------------------------------------

    def after_cut(self, seed):
        """{name: content} that may be found. seed 0: nothing unsynced is kept; 1: all; else: as chance has it."""
        chance = random.Random(seed)
        kept = lambda: seed == 1 or (seed > 1 and chance.random() < 0.5)  # noqa: E731
        found = {}
        for name in sorted(self.names.keys() | self.durable_names.keys()):
            old, new = self.durable_names.get(name), self.names.get(name)
            file = old if old is new else (new if kept() else old)
            if file is not None:
                found[name] = self._content(file, kept, chance)
        return found

    def _content(self, file, kept, chance):
        size = len(file.data) if kept() else len(file.durable)
        content = bytearray(file.durable[:size].ljust(size, b"\0"))
        for sector in sorted(file.dirty):
            at, end = sector * SECTOR, min((sector + 1) * SECTOR, size)
            if at < end and kept():
                if chance.random() < 0.3:  # torn: what lies behind is as it was
                    end = chance.randrange(at, end)
                content[at:end] = file.data[at:end]
        return bytes(content)


class _Reader:
    def __init__(self, disk, file):
        disk._opened[id(self)] = file
        self._data, self._at = bytes(file.data), 0

    def read(self, count=-1):
        start = self._at
        self._at = len(self._data) if count < 0 else min(start + count, len(self._data))
        return self._data[start : self._at]

    def seek(self, at):
        self._at = at

    def flush(self):
        pass

    def fileno(self):
        return id(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class _Writer:
    def __init__(self, disk, file):
        self._disk, self._file, self._at = disk, file, 0
        disk._opened[id(self)] = file

    def write(self, data):
        data = bytes(data)
        # The power may go in the middle of it: some sectors of an unfinished write may be there.
        before = len(self._file.data)
        self._put(data)
        if self._disk._full():
            del self._file.data[max(before, self._at) :]
            raise OSError(28, "the disk is full")
        self._disk._operation()
        self._at += len(data)
        return len(data)

    def _put(self, data):
        content = self._file.data
        content[self._at : self._at + len(data)] = data
        self._file.dirty |= set(range(self._at // SECTOR, (self._at + len(data) - 1) // SECTOR + 1))

    def flush(self):
        pass

    def fileno(self):
        return id(self)

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass
