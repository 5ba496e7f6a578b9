"""What a box is and runs, as its own files say: identity, boot record, the images in its slots."""

import tempfile
from pathlib import Path

from cellwarden.update import boot, slots
from cellwarden.update.image import Refused

from ..errors import InputError

STATES = {boot.STEADY: "steady", boot.TRIAL: "on trial"}
_FILES = (slots.IDENTITY, *boot.RECORDS, *(f"{slot}/manifest" for slot in boot.SLOTS))


class FolderBox:
    """A gateway's folder, read as Flash reads a board."""

    def __init__(self, folder):
        self._folder = Path(folder)

    def read(self, name):
        return boot.read(str(self._folder / name))

    def has(self, name, size, digest):
        return boot.same_file(str(self._folder / name), size, digest)

    def count(self, folder):
        return boot.count_files(str(self._folder / folder))


def status(box, where):
    """A dict of what the box says. box: a Flash or FolderBox; where: its port or folder, for messages.

    Each slot is {"slot", "version", "counter", "whole"}, version None where it holds nothing that may run; whole: every
    file has, on the box, the SHA-256 of the manifest, and there is no other. Raises InputError where there is no
    Cellwarden on it.
    """
    with tempfile.TemporaryDirectory(prefix="cellwarden-") as folder:
        for name in _FILES:
            path = Path(folder, name)
            path.parent.mkdir(exist_ok=True)
            if data := box.read(name):
                path.write_bytes(data)
        try:
            known = slots.read_box(folder)
        except ValueError:
            raise InputError(where, "no Cellwarden on it", "a box", "put one on with `cellwarden flash`") from None
        held = slots.Slots(folder, known)
        record, found = held.record, []
        for number, name in enumerate(boot.SLOTS):
            try:
                manifest = held.manifest_of(number)
            except Refused:
                manifest = None
            told = {"slot": name, "version": None, "counter": None, "whole": False}
            if manifest:
                whole = all(box.has(f"{name}/{path}", size, digest) for path, size, digest in manifest.files)
                whole = whole and box.count(name) == len(manifest.files) + 2  # the manifest and its signature
                version = ".".join(map(str, manifest.version))
                told |= {"version": version, "counter": manifest.counter, "whole": whole}
            found.append(told)
    tried = record.state == boot.TRIAL
    return {
        "board": known.board, "vehicle": known.vehicle, "key": known.key.hex(), "confirmed": boot.SLOTS[record.active],
        "state": STATES.get(record.state, "unknown"), "starts_left": record.tries if tried else None,
        "why": slots.WHY[record.why] if record.why < len(slots.WHY) else "unknown", "counter": record.counter,
        "tree": record.tree, "leaf": record.leaf, "slots": found,
    }  # fmt: skip
