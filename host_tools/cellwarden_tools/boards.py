"""What a board takes: its files, compiled for its processor, with their sizes.

    python -m cellwarden_tools.boards [--image IMAGE] [-o FOLDER] [BOARD ...]

Each board is a file of firmware/boards. FOLDER/BOARD is what goes onto it: `mpremote cp -r FOLDER/BOARD/. :`.
"""

import argparse
import ast
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cellwarden

from .compiler.image import load_image
from .engines.cortex_m3 import find_mpy_cross
from .errors import InputError

FIRMWARE = Path(cellwarden.__file__).parents[1]
HOST_ONLY = {"cpython.py"}
LINUX_ONLY = {"linux.py", "control_socket.py"}


def names():
    return sorted(path.stem for path in (FIRMWARE / "boards").glob("*.py"))


def facts(name):
    """What a board's file says of itself: {NAME, ARCHITECTURE, DRIVERS, FLASH_BYTES, HEAP_BYTES}; it is not run."""
    path = FIRMWARE / "boards" / f"{name}.py"
    if not path.is_file():
        raise InputError("boards", f"no board `{name}`", ", ".join(names()) or "a checkout with firmware/boards")
    found = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple):
            values = node.value.elts
            for target, value in zip(node.targets[0].elts, values, strict=True):
                found[target.id] = eval(compile(ast.Expression(value), str(path), "eval"), {})
    return found


def files_of(board):
    """(source, name on the board) of all that a board takes, its drivers alone of canbus/."""
    package = FIRMWARE / "cellwarden"
    linux = "socketcan" in board["DRIVERS"]
    for path in sorted(package.rglob("*.py")):
        if path.name in HOST_ONLY or (path.name in LINUX_ONLY and not linux):
            continue
        if path.parent.name == "canbus" and path.stem not in ("__init__", "frames", "filters", *board["DRIVERS"]):
            continue
        yield path, path.relative_to(FIRMWARE)
    if not linux:
        yield FIRMWARE / "main.py", Path("main.py")
        yield FIRMWARE / "boards" / f"{board['NAME']}.py", Path("board.py")


def build(name, folder, image=None):
    """Compile a board's files into a folder; image: an Image whose decoder is compiled, too. Returns {name: bytes}."""
    board, folder = facts(name), Path(folder)
    sizes = {}
    for source, target in files_of(board):
        written = folder / target.with_suffix(".mpy")
        sizes[str(target)] = compile_file(source, written, board["ARCHITECTURE"])
    if "main.py" in sizes:  # a port looks for the source of these two
        (folder / "main.mpy").rename(folder / "box_main.mpy")
        (folder / "main.py").write_text("import box_main\n")
        shutil.copy(FIRMWARE / "boot.py", folder)
        sizes["boot.py"] = (folder / "boot.py").stat().st_size
    if image:
        sizes["decoder.py"] = unpack(image, folder / "image", board["ARCHITECTURE"])
    return sizes


def unpack(image, folder, architecture):
    """An image as a folder, its decoder compiled for a processor (cellwarden.image). Returns the decoder's bytes."""
    import hashlib

    from .compiler.image import _json

    folder.mkdir(parents=True, exist_ok=True)
    for name, data in image.parts.items():
        (folder / name).write_bytes(data)
    (folder / "manifest.json").write_bytes(_json(image.manifest))
    size = compile_file(folder / "decoder.py", folder / "decoder.mpy", architecture)
    digest = hashlib.sha256((folder / "decoder.mpy").read_bytes()).hexdigest()
    (folder / "board.json").write_text(json.dumps({"image": image.sha256, "sha256": digest}))
    return size


def compile_file(source, target, architecture):
    """Bytes of the .mpy. Raises InputError with mpy-cross's own words."""
    target.parent.mkdir(parents=True, exist_ok=True)
    command = [find_mpy_cross(), f"-march={architecture}", "-O3", "-s", source.name, "-o", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        words = (done.stdout + done.stderr).strip().splitlines()
        raise InputError(source, f"is refused for {architecture} ({words[-1] if words else 'no word why'})")
    return target.stat().st_size


def table(image=None, wanted=None, folder=None):
    """Rows (board, architecture, bytes, budget, bytes of the decoder or None), built into folder/board where given."""
    for name in wanted or names():
        board = facts(name)
        with tempfile.TemporaryDirectory() as scratch:
            sizes = build(name, Path(folder) / name if folder else scratch, image)
        decoder = sizes.pop("decoder.py", None)
        yield name, board["ARCHITECTURE"], sum(sizes.values()), board["FLASH_BYTES"], decoder


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
