"""The power of a gateway goes at any write of an update: of what was not synced anything may be there, or nothing.

CPython makes all durable by `os.sync()`. MicroPython's unix port has none; its `file.flush()` is fsync(2), with which
a file and its name are durable, and nothing else (extmod/vfs_posix_file.c).
"""

import os
import random
import shutil
from pathlib import Path

import pytest
from boxes import Maker, small_files
from cellwarden.update import boot, image, slots

OLD, NEW = 2, 3
TRIES = 40 if os.environ.get("CELLWARDEN_CUTS") == "whole" else 2  # different remains of each cut; make cuts


class Cut(BaseException):
    """The power goes."""


class Disk:
    """A folder whose synced state is known. syncs: `os.sync()` is there, and flushing a file is not fsync."""

    def __init__(self, root, syncs):
        self.root, self.syncs = Path(root), syncs
        self.durable, self.operations, self.cut_at = {}, 0, None  # {path: bytes, None of a folder}

    def step(self):
        self.operations += 1
        if self.operations == self.cut_at:
            raise Cut

    def held(self):
        paths = (path for path in sorted(self.root.rglob("*")))
        return {str(path): None if path.is_dir() else path.read_bytes() for path in paths}

    def put(self, held):
        shutil.rmtree(self.root)
        self.root.mkdir()
        for path, data in held.items():
            if data is None:
                Path(path).mkdir(parents=True, exist_ok=True)
            else:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                Path(path).write_bytes(data)
        self.durable = self.held()

    def fsync(self, path):
        self.durable[path] = Path(path).read_bytes()

    def remains(self, chance):
        """What may be there after a cut, by the system's promises alone."""
        now, found = self.held(), {}
        for path in sorted(now.keys() | self.durable.keys()):
            may = [self.durable[path]] if path in self.durable else ["absent"]
            if path not in now:
                may.append("absent")
            elif now[path] != may[0]:
                data = now[path]
                may += [data] if data is None else [data, b"", data[: chance.randrange(len(data) + 1)]]
                if data:
                    at = chance.randrange(len(data))
                    may.append(data[:at] + bytes(len(data) - at))  # the size is there, the blocks are not
            chosen = chance.choice(may)
            if chosen != "absent":
                found[path] = chosen
        return found

    def open(self, path, mode="r"):
        if "w" not in mode:
            return open(path, mode)
        self.step()
        return File(self, path)

    def __getattr__(self, name):
        """This, too, is the `os` of what runs on it."""
        if name == "sync" and not self.syncs:
            raise AttributeError(name)
        if name not in ("mkdir", "rmdir", "remove", "sync"):
            return getattr(os, name)

        def call(*words):
            self.step()
            if name == "sync":
                self.durable = self.held()
            else:
                getattr(os, name)(*words)

        return call


class File:
    def __init__(self, disk, path):
        self._disk, self._path, self._file = disk, path, open(path, "wb", buffering=0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def write(self, data):
        self._disk.step()
        return self._file.write(data)

    def flush(self):
        if not self._disk.syncs:
            self._disk.step()
            self._disk.fsync(self._path)


class Gateway:
    """A box that runs OLD, confirmed, and has another to fall back to."""

    def __init__(self, folder, syncs, monkeypatch):
        self.maker, self.expected, self.images = Maker(folder), {}, {}
        for counter in (1, OLD, NEW):
            files = small_files(counter)
            self.images[counter] = self.maker.image(counter, files)
            with open(self.images[counter], "rb") as file:
                signed = image.read_signed(file, self.maker.key)
            self.expected[counter] = files | {"manifest": signed.data, "signature": signed.signature}
        (folder / "box").mkdir()
        self.root = str(folder / "box")
        self.disk = Disk(self.root, syncs)
        for module in (boot, slots):
            monkeypatch.setattr(module, "open", self.disk.open, raising=False)
            monkeypatch.setattr(module, "os", self.disk)
        self.install(1)
        self.started()
        self.install(OLD)
        self.started(1, OLD)
        self.confirm()
        self.disk.durable = self.disk.held()

    def install(self, version):
        with open(self.images[version], "rb") as file:
            slots.Slots(self.root, self.maker.box).install(file)

    def confirm(self):
        assert slots.Slots(self.root, self.maker.box).confirm()

    def started(self, *allowed):
        slot = boot.choose(self.root)
        assert slot is not None, "no slot runs"
        folder = Path(self.root, boot.SLOTS[slot])
        held = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        runs = [version for version, files in self.expected.items() if files == held]
        assert runs and (not allowed or runs[0] in allowed), "what runs is neither old nor new"
        return runs[0]

    def goes_on(self):
        """Whatever the cut left: the new one can be brought to run, and an older one not."""
        if self.started(OLD, NEW) == OLD:
            for _ in range(boot.TRIES):
                self.started(OLD, NEW)
            if boot.read_record(self.root).state == boot.STEADY:
                self.install(NEW)
            self.started(NEW)
        if boot.read_record(self.root).state == boot.TRIAL:
            self.confirm()
        assert self.started(NEW) == self.started(NEW)
        with pytest.raises(image.Refused):
            self.install(1)

    def story(self, work):
        """Cut it at each of its operations; returns how many there are."""
        disk, before = self.disk, self.disk.held()
        disk.operations = 0
        work()
        after, count = disk.held(), disk.operations
        for cut_at in range(1, count + 1):
            for chance in range(TRIES):
                disk.put(before)
                disk.operations, disk.cut_at = 0, cut_at
                with pytest.raises(Cut):
                    work()
                disk.cut_at = None
                disk.put(disk.remains(random.Random(f"{cut_at} {chance}")))
                self.goes_on()
        disk.put(after)
        return count


@pytest.mark.parametrize("syncs", [True, False], ids=["cpython", "micropython"])
def test_the_power_of_a_gateway_goes_at_any_operation_of_an_update(tmp_path, monkeypatch, syncs):
    gateway = Gateway(tmp_path, syncs, monkeypatch)
    assert gateway.story(lambda: gateway.install(NEW)) > 30
    assert gateway.story(lambda: gateway.started(NEW)) > 1
    assert gateway.story(gateway.confirm) > 3
