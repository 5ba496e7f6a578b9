"""Brings an update into the slot that does not run, and lets it be tried: whatever happens, one of the two can run.

slots = Slots("", box)                  on a board; the folder of the slots elsewhere
slots.install(file)                     checked and stored as a whole, or Refused; the next start tries it
slots.scanned_well()                    by the app, once a scan that was as it should be: GOOD_SCANS confirm it
"""

import hashlib
import os
import sys
from binascii import hexlify, unhexlify
from collections import namedtuple

from . import boot, image
from .image import Refused

GOOD_SCANS = 600  # a minute of 100 ms
WHY = (
    "first installed",
    "confirmed by its own good scans",
    "on trial",
    "the slot on trial did not confirm itself",
    "the slot on trial was damaged",
    "the slot that ran before was damaged",
)
_BUFFER = 512

IDENTITY = "box.id"
SOURCE = "py"  # what an image is built for that every Python runs
ARCHITECTURES = (
    None, "x86", "x64", "armv6", "armv6m", "armv7m", "armv7em", "armv7emsp", "armv7emdp", "xtensa", "xtensawin",
    "rv32imc", "rv64imc",
)  # fmt: skip

# What a box is. runs: what its MicroPython takes, "mpy 6.3 armv7emsp" or "py"; key: 60 bytes, the root's public key
Box = namedtuple("Box", ("board", "vehicle", "runs", "key"))


def read_box(root):
    """The Box of the folder `root`, as its file IDENTITY and this Python say. Raises ValueError without a sound one."""
    first, *lines = boot.read(root + "/" + IDENTITY).split(b"\n")
    facts = dict([line.split(b" ", 1) for line in lines if b" " in line])
    if first != b"cellwarden box 1" or len(lines) != 4 or sorted(facts) != [b"board", b"key", b"vehicle"]:
        raise ValueError("no identity")
    mpy = getattr(sys.implementation, "_mpy", 0)
    return Box(facts[b"board"].decode(), facts[b"vehicle"].decode(), what_runs(mpy), unhexlify(facts[b"key"]))


def identity(box):
    """The bytes of the file IDENTITY."""
    lines = ("cellwarden box 1", "board " + box.board, "vehicle " + box.vehicle, "key " + hexlify(box.key).decode(), "")
    return "\n".join(lines).encode()


def what_runs(mpy):
    """What a MicroPython with this `sys.implementation._mpy` takes: "mpy 6.3 armv7emsp", or "py" for source only."""
    architecture = mpy >> 10 & 15
    if not mpy or not 0 < architecture < len(ARCHITECTURES):
        return SOURCE
    return "mpy %d.%d %s" % (mpy & 255, mpy >> 8 & 3, ARCHITECTURES[architecture])  # noqa: UP031


class Slots:
    """The two slots and the boot record in the folder `root`.

    pause: called between pieces of work of some milliseconds, so that frames are judged meanwhile
    """

    def __init__(self, root, box, pause=lambda: None):
        self.root, self.box, self._pause = root, box, pause
        self.record = _record(root)
        self._good = 0

    def folder(self, slot):
        return self.root + "/" + boot.SLOTS[slot]

    def install(self, source, permit=None, busy=lambda: None, manifest=None):
        """Take an update image from a file, or any object with `read` and `seek`; returns its Manifest.

        permit: a file with one, or None; busy: called, says in a text why the box must not be updated now, or None
        manifest: image.read_signed() of the source, where that was done already
        Raises Refused, and then what runs, and what would run after a start, is as before. What was stored of the
        files is used where the same image comes again.
        """
        try:
            manifest = manifest or image.read_signed(source, self.box.key)
            allowed = image.read_signed(permit, self.box.key, image.Permit) if permit else None
            self.accept(manifest, allowed, busy)
            at = manifest.files_at
            for path, size, digest in manifest.files:
                self._pause()
                if not boot.same_file(self.folder(self.idle) + "/" + path, size, digest):
                    self.put(path, size, digest, source, at)
                at += size
            if image.piece(source, 1, at):
                raise Refused("form", "there is more behind its last file")
            self._not_busy(allowed, busy)
            self.switch(manifest, allowed)
        except (OSError, MemoryError) as error:
            raise Refused("storage", "error %s" % error)  # noqa: B904, UP031
        return manifest

    @property
    def idle(self):
        """The slot that an update goes to."""
        return 1 - self.record.active

    def accept(self, manifest, permit=None, busy=lambda: None):
        """Check an image (and a permit) against this box, and let the idle slot hold nothing else.

        Raises Refused, OSError.
        """
        self._check(manifest, permit, busy)
        folder, own = self.folder(self.idle), (("signature", manifest.signature), ("manifest", manifest.data))
        if all([boot.read(folder + "/" + name) == data for name, data in own]):
            names = [name for name, _ in own] + [path for path, _, _ in manifest.files]
            self._remove(folder, [folder + "/" + name for name in names])
            return
        self._remove(folder)
        os.mkdir(folder)
        for name, data in own:
            with open(folder + "/" + name, "wb") as file:
                file.write(data)
                file.flush()

    def _check(self, manifest, permit, busy):
        record, box, newest = self.record, self.box, permit or manifest
        for signed in (manifest, permit) if permit else (manifest,):
            if signed.board != box.board:
                raise Refused("board", "%s, and this is %s" % (signed.board, box.board))  # noqa: UP031
            if signed.vehicle != box.vehicle:
                raise Refused("vehicle", "%s, and this is %s" % (signed.vehicle, box.vehicle))  # noqa: UP031
        if manifest.runs not in (SOURCE, box.runs):
            raise Refused("runs", "%s, and this box runs %s" % (manifest.runs, box.runs))  # noqa: UP031
        if permit and permit.image != manifest.sha256:
            raise Refused("permit", "it names another image")
        allow = permit.allow if permit else ()
        if record.state == boot.TRIAL:
            raise Refused("trial", "%d starts are left" % record.tries)  # noqa: UP031
        self._not_busy(permit, busy)
        if record.signed != boot.NOTHING:
            known = (record.tree, record.leaf)
            if newest.leaves < known or (newest.leaves == known and newest.sha256 != record.signed):
                raise Refused("leaf", "leaf %d of tree %d" % (newest.leaves[1], newest.leaves[0]))  # noqa: UP031
        if "older" in allow:
            return
        if manifest.counter < record.counter or (
            manifest.counter == record.counter and manifest.sha256 != record.slots[record.active]
        ):
            raise Refused("counter", "%d, and %d has run here" % (manifest.counter, record.counter))  # noqa: UP031
        runs = self.manifest_of(record.active)
        if runs and runs.version < manifest.from_version:
            raise Refused("version", "%d.%d.%d" % manifest.from_version)  # noqa: UP031

    def _not_busy(self, permit, busy):
        why = busy()
        if why and not (permit and "busy" in permit.allow):
            raise Refused("busy", why)

    def put(self, path, size, digest, source, at):
        """Store a file of the idle slot, which begins at byte `at` of the source.

        Raises Refused where its bytes are not those that were signed, and OSError.
        """
        target, found = self.folder(self.idle), hashlib.sha256()
        names = path.split("/")
        for name in names[:-1]:
            target += "/" + name
            if not _is_there(target):
                os.mkdir(target)
        target += "/" + names[-1]
        with open(target, "wb") as file:
            left = size
            while left:
                data = image.piece(source, min(left, _BUFFER), at + size - left)
                if not data:
                    break
                file.write(data)
                found.update(data)
                left -= len(data)
                self._pause()
            file.flush()  # fsync, of MicroPython's unix port
        if left or found.digest() != digest:
            os.remove(target)
            raise Refused("file", path)

    def switch(self, manifest, permit=None):
        """Let the next start try the idle slot, where all of it is there. Raises Refused."""
        record, newest = self.record, permit or manifest
        if hasattr(os, "sync"):
            os.sync()
        if not boot.whole(self.folder(self.idle), manifest.sha256, self._pause):
            raise Refused("storage", "what was stored reads otherwise")
        record.slots[self.idle] = manifest.sha256
        record.tree, record.leaf = newest.leaves
        record.signed = newest.sha256
        if record.slots[record.active] == boot.NOTHING:  # nothing to fall back to
            record.active, record.why, record.counter = self.idle, boot.FIRST, max(manifest.counter, record.counter)
            self._write()
        else:
            record.state, record.tries, record.why = boot.TRIAL, boot.TRIES, boot.SWITCHED
        self._write()

    def will_run(self, manifest):
        """Whether the next start runs this image, and all of it is there."""
        slot = self.idle if self.record.state == boot.TRIAL else self.record.active
        same = self.record.slots[slot] == manifest.sha256
        return same and boot.whole(self.folder(slot), manifest.sha256, self._pause)

    def scanned_well(self):
        """Count a good scan; the last that is needed confirms a slot on trial, and True is returned."""
        if self.record.state != boot.TRIAL:
            return False
        self._good += 1
        return self._good >= GOOD_SCANS and self.confirm()

    def confirm(self):
        """Make the slot on trial the one that runs from now on: True; False where none is on trial. Raises Refused."""
        record = self.record
        if record.state != boot.TRIAL:
            return False
        record.active, record.state, record.why = self.idle, boot.STEADY, boot.CONFIRMED
        record.counter = max(record.counter, self.manifest_of(record.active).counter)
        self._write()
        self._write()  # in both files: where one rots, the other must not speak of a trial
        return True

    def manifest_of(self, slot):
        """The Manifest of the image in a slot, or None where it holds none that may run."""
        data = boot.read(self.folder(slot) + "/manifest")
        if hashlib.sha256(data).digest() != self.record.slots[slot]:
            return None
        return image.Manifest(data, ())

    def _remove(self, path, but=()):
        """Remove a file, or a folder and all in it but some files; what is not there is no error."""
        self._pause()
        if path in but or not _is_there(path):
            return
        if os.stat(path)[0] & 0x4000:
            for name in os.listdir(path):
                self._remove(path + "/" + name, but)
            if not os.listdir(path):
                os.rmdir(path)
        else:
            os.remove(path)

    def _write(self):
        if not self.record.write(self.root):
            self.record = _record(self.root)
            raise Refused("storage", "the boot record")


def _record(root):
    """The boot record, or one of a box that has none yet, whose first image goes to the first slot."""
    record = boot.read_record(root)
    if record is None:
        record = boot.Record()
        record.active = 1
    return record


def _is_there(path):
    try:
        os.stat(path)
    except OSError:
        return False
    return True
