"""What a board takes: the files of a slot, compiled for its processor, with their sizes.

    python -m cellwarden_tools.boards [--image IMAGE] [-o FOLDER] [BOARD ...]

Each board is a file of firmware/boards; a board of your own is the path of such a file. FOLDER/BOARD is what a slot of
it holds, unsigned; `cellwarden update build` makes an update image of the same files.
"""

import argparse
import ast
import hashlib
import importlib.metadata
import json
import sys
from contextlib import suppress
from pathlib import Path

import cellwarden

from .compiler.image import load_image
from .engines.cortex_m3 import compile_mpy
from .engines.device_files import device_text
from .errors import InputError

PACKAGE = Path(cellwarden.__file__).parent
VEHICLE = "vehicle"  # folder of a slot with the vehicle image
LEVEL = 3  # of mpy-cross: no asserts, no line numbers
LINUX_ONLY = {"linux.py", "control_socket.py"}
LINUX_MAIN = b"from cellwarden.linux import main\n\nmain()\n"
_FACTS = ("NAME", "ARCHITECTURE", "DRIVERS", "FLASH_BYTES", "HEAP_BYTES")


def firmware():
    """The folder with main.py and boards/: a checkout's firmware/, or where pip put the data of the wheel."""
    if (PACKAGE.parent / "boards").is_dir():
        return PACKAGE.parent
    with suppress(importlib.metadata.PackageNotFoundError):
        for path in importlib.metadata.files("cellwarden") or ():
            if path.parts[-3:] == ("share", "cellwarden", "main.py"):
                return Path(path.locate()).resolve().parent
    raise InputError("boards", "this installation has no firmware/boards", "a wheel of Cellwarden, or a checkout")


def names():
    return sorted(path.stem for path in (firmware() / "boards").glob("*.py"))


def facts(board):
    """What a board's file, which is not run, says of itself: {name of _FACTS: value}, and "path", where it is.

    board: a name of firmware/boards, or the path of a file of your own that ends with .py
    """
    path = Path(board) if board.endswith(".py") else firmware() / "boards" / f"{board}.py"
    if not path.is_file():
        raise InputError("boards", f"no board `{board}`", ", ".join(names()))
    found = {"path": path}
    try:
        for node in ast.parse(_read(path)).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple):
                for target, value in zip(node.targets[0].elts, node.value.elts, strict=True):
                    found[target.id] = eval(compile(ast.Expression(value), str(path), "eval"), {})
    except (SyntaxError, ValueError, NameError, AttributeError, TypeError) as error:
        raise InputError(path, f"is no board's file ({error})", "a file like those of firmware/boards") from None
    if missing := [name for name in _FACTS if name not in found]:
        raise InputError(path, f"is no board's file: no {missing[0]}", "a file like those of firmware/boards")
    return found


def slot_files(board, vehicle=None):
    """{path: bytes} of all that a slot of a board holds; of canbus/ its own drivers alone.

    board: as facts(); vehicle: the vehicle image, a compiler.image.Image. An ARCHITECTURE of None is source text, for
    any Python. A board that is FROZEN has all code but its own file in its firmware (firmware/manifest.py).
    Raises InputError where something does not compile.
    """
    known = facts(board)
    code = {"board.py": _read(known["path"])} if known.get("FROZEN") else sources(known)
    files = compiled(code, known["ARCHITECTURE"]) | vehicle_files(vehicle, known["ARCHITECTURE"])
    return dict(sorted(files.items()))


def sources(known):
    """{path: text} of a board's code. known: as facts() gives it."""
    architecture, linux = known["ARCHITECTURE"], "socketcan" in known["DRIVERS"]
    files = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        drivers = ("__init__", "frames", "filters", *known["DRIVERS"])
        if (path.name == "cpython.py" and architecture) or (path.name in LINUX_ONLY and not linux):
            continue
        if path.parent.name != "canbus" or path.stem in drivers:
            files[path.relative_to(PACKAGE.parent).as_posix()] = _read(path)
    files["main.py"] = LINUX_MAIN.decode() if linux else _read(firmware() / "main.py")
    if not linux:
        files["board.py"] = _read(known["path"])
    return files


def compiled(files, architecture):
    """{path: text} of Python sources as a slot holds them: {path: bytes}."""
    if architecture is None:
        return {path: device_text(text, native=False).encode() for path, text in files.items()}
    return {
        path.removesuffix(".py") + ".mpy": compile_mpy(Path(path).name, text, architecture, LEVEL)
        for path, text in files.items()
    }


def vehicle_files(image, architecture):
    """{path: bytes} of a vehicle image as a folder, its decoder compiled (cellwarden.image); nothing for None."""
    if image is None:
        return {}
    parts = image.parts | {"manifest.json": image.manifest_bytes}
    if architecture is not None:
        decoder = compile_mpy("decoder.py", image.parts["decoder.py"].decode(), architecture, LEVEL)
        told = {"image": image.sha256, "sha256": hashlib.sha256(decoder).hexdigest()}
        parts |= {"compiled.mpy": decoder, "board.json": (json.dumps(told, indent=1) + "\n").encode()}
    return {f"{VEHICLE}/{name}": data for name, data in parts.items()}


def build(board, folder, image=None):
    """Write a board's slot_files() into a folder; returns {path: bytes of the file}."""
    files = slot_files(board, image)
    for path, data in files.items():
        target = Path(folder, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return {path: len(data) for path, data in files.items()}


def table(image=None, wanted=None, folder=None):
    """Rows (board, architecture, bytes of code, budget, bytes of the decoder or None), also built into folder/board."""
    for name in wanted or names():
        board = facts(name)
        if folder:
            build(name, Path(folder) / board["NAME"], image)
        decoder = vehicle_files(image, board["ARCHITECTURE"]).get(f"{VEHICLE}/compiled.mpy", b"")
        code = sum(map(len, compiled(sources(board), board["ARCHITECTURE"]).values()))
        yield board["NAME"], board["ARCHITECTURE"] or "any", code, board["FLASH_BYTES"], len(decoder) or None


def _read(path):
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, f"cannot be read ({error})", "Python source text in UTF-8") from None


def main(words=None):
    parser = argparse.ArgumentParser(prog="boards", description="What a board takes, and how much of it.")
    parser.add_argument("board", nargs="*")
    parser.add_argument("--image", type=Path, help="an image made by `cellwarden compile`")
    parser.add_argument("-o", "--output", type=Path, help="write the files here, a folder a board")
    told = parser.parse_args(words)
    try:
        image = load_image(told.image) if told.image else None
        print(f"{'board':16}{'processor':12}{'bytes':>9}{'budget':>9}{'decoder':>9}")
        for name, architecture, size, budget, decoder in table(image, told.board, told.output):
            print(f"{name:16}{architecture:12}{size:9}{budget:9}{decoder or '':>9}")
    except InputError as error:
        print(f"boards: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
