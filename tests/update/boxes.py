"""Signed images for the tests of a box, small and large."""

from dataclasses import dataclass
from pathlib import Path

from cellwarden.update.slots import SOURCE, Box
from cellwarden_tools.update import build, signing

BOARD, VEHICLE = "demo-board", "demo-96s"
HEIGHT = 5


@dataclass
class Maker:
    """Makes images in a folder, each with the next leaf of one key."""

    folder: Path

    def __post_init__(self):
        self.root = signing.make_root(self.folder / "root", HEIGHT)
        self.tree = signing.make_tree(self.folder / "tree", self.root, HEIGHT)
        self.key = self.root.root

    @property
    def box(self):
        return Box(BOARD, VEHICLE, SOURCE, self.key)

    def image(self, counter, files, name=None, tree=None, **other):
        """Path of an image with this counter. files: {path: bytes}; other: than usual, of build.manifest_of()."""
        words = {"board": BOARD, "vehicle": VEHICLE, "version": f"0.{counter}.0", "built_for": SOURCE} | other
        path = self.folder / f"{name or counter}.cwu"
        data = build.manifest_of(files, counter=counter, **words)
        build.write_signed(path, data, tree or self.tree, files)
        return path


def small_files(counter):
    """A few kB of files of awkward sizes, some the same from image to image."""
    sizes = {
        "a.py": 0,
        "cellwarden/one.py": 511,
        "cellwarden/deep/er/two.mpy": 512,
        "main.py": 513,
        "vehicle/x.bin": 2600,
    }
    files = {path: bytes((17 * i + counter * size) % 251 for i in range(size)) for path, size in sizes.items()}
    files["same.json"] = b"the same in each" * 40
    files[f"only_in_{counter}.py"] = b"print(%d)\n" % counter
    return files
