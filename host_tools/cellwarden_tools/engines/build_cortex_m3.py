"""Build the MicroPython for an emulated Cortex-M3 that `--engine cortex-m3`, the device tests and `make hil` run.

    python -m cellwarden_tools.engines.build_cortex_m3 [FOLDER]

FOLDER is build/cortex_m3 where not given. Nothing is done where a firmware of these files is there already. The
source is that of $MICROPY_DIR, a checkout of MicroPython, or else Debian's source package from the mirror that apt is
set up with; lists and package go into a folder that is removed again. The firmware holds nothing of Cellwarden but
the boot script and what the port lacks (cortex_m3_board/). `build_box()` makes another with a box frozen into it.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from ..errors import InputError
from .cortex_m3 import FIRMWARE, FIRMWARE_FOLDER, find_mpy_cross

SUITES = ("trixie", "sid")  # Debian's, with MicroPython 1.25 or newer: the first with a ROM file system
BOOT = Path(__file__).with_name("cortex_m3_boot.py")
BOX = "box.elf"
HEAP_BYTES = 3 << 20  # of the board's 4 MB, where no box is told to have less
TOOLS = {"make": "make", "arm-none-eabi-gcc": "gcc-arm-none-eabi", "qemu-system-arm": "qemu-system-arm"}
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PORT = Path(__file__).with_name("cortex_m3_board")  # files of ours, instead of the port's or beside them
# (file of ports/qemu, what stands there, what is to stand there)
CHANGES = (
    ("main.c", "int main(", "size_t board_heap_bytes(size_t otherwise);\nvoid board_init(void);\n\nint main("),
    ("main.c", "(char *)gc_heap + MICROPY_HEAP_SIZE", "(char *)gc_heap + board_heap_bytes(MICROPY_HEAP_SIZE)"),
    ("main.c", "    for (;;) {\n        mp_init();\n", """    board_init();
    for (;;) {
        mp_init();
        pyexec_frozen_module("BOOT", false);
        pyexec_file_if_exists("boot.py");
        if (pyexec_mode_kind == PYEXEC_MODE_FRIENDLY_REPL) {
            pyexec_file_if_exists("main.py");
        }
""".replace("BOOT", BOOT.name)),
    ("modmachine.c", "static void mp_machine_reset(void) {\n",
     "void board_reset(void);\n\nstatic void mp_machine_reset(void) {\n    board_reset();\n"),
    ("mpconfigport.h", "#define MP_STATE_PORT MP_STATE_VM\n",
     '#define MP_STATE_PORT MP_STATE_VM\n\n#include "mpconfigboard.h"\n'),
    ("mcu/arm/mps2.ld", "        *(.rodata*)\n", "        *(.rodata*)\n        *(.ARM.exidx*)\n"),
    ("Makefile", "\tmphalport.c \\\n", "\tmphalport.c \\\n\tshared/timeutils/timeutils.c \\\n"),
)  # fmt: skip
_NAME = "build_cortex_m3"


def check_tools():
    """Raises InputError, naming all that is missing."""
    missing = {tool: package for tool, package in TOOLS.items() if not shutil.which(tool)}
    if "arm-none-eabi-gcc" not in missing:
        words = ["arm-none-eabi-gcc", "-E", "-x", "c", "-include", "stdlib.h", os.devnull]
        if subprocess.run(words, capture_output=True).returncode:
            missing["newlib"] = "libnewlib-arm-none-eabi"
    else:
        missing["newlib"] = "libnewlib-arm-none-eabi"
    if missing:
        packages = " ".join(missing.values())
        raise InputError(_NAME, f"missing on this machine: {', '.join(missing)}", "", f"apt-get install {packages}")
    find_mpy_cross()


def _run(what, words, **options):
    """Run a command quietly. Raises InputError with its last line of complaint."""
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, **options)
    if done.returncode:
        said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        wrong = [line for line in said if re.search(r"error|\*\*\*|E:", line)] or said or ["it gave no reason"]
        raise InputError(_NAME, f"{what} failed ({wrong[0]})")
    return done.stdout


def _mirror():
    """The address of the Debian archive that apt is set up with. Raises InputError where there is none."""
    if not shutil.which("apt-get"):
        raise InputError(_NAME, "no apt on this machine", "", "set MICROPY_DIR to a checkout of MicroPython")
    rows = _run("apt-get indextargets", ["apt-get", "indextargets", "--format", "$(REPO_URI) $(ORIGIN)"]).splitlines()
    for row in rows:
        address, _, origin = row.partition(" ")
        if "security" not in address and (origin == "Debian" or address.rstrip("/").endswith("/debian")):
            return address
    raise InputError(_NAME, "apt is not set up with a Debian archive", "", "set MICROPY_DIR to a checkout")


def _fetch(folder):
    """Debian's source of MicroPython, unpacked below `folder`. Raises InputError."""
    mirror = _mirror()
    signed = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
    for place in ("lists/partial", "cache/archives/partial"):
        (folder / place).mkdir(parents=True)
    options = {
        "Dir::Etc::SourceList": folder / "sources.list", "Dir::Etc::SourceParts": os.devnull,
        "Dir::State::Lists": folder / "lists", "Dir::Cache": folder / "cache",
        "Acquire::Retries": 1, "Acquire::http::Timeout": 30, "APT::Sandbox::User": "root",
    }  # fmt: skip
    words = ["apt-get", "-q", *(word for key, value in options.items() for word in ("-o", f"{key}={value}"))]
    fault = None
    for suite in SUITES:
        (folder / "sources.list").write_text(f"deb-src {signed}{mirror} {suite} main\n")
        try:
            _run("apt-get update", [*words, "update"])
            _run("apt-get source", [*words, "source", "--download-only", "micropython"], cwd=folder)
        except InputError as error:
            fault = fault or error
            continue
        (package,) = folder.glob("micropython_*.orig.tar.*")
        with tarfile.open(package) as archive:
            kept = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # since Python 3.11.4
            archive.extractall(folder / "unpacked", **kept)
        (source,) = (folder / "unpacked").iterdir()
        return source
    raise fault


def _copy(checkout, folder):
    """What the build needs of a checkout, copied below `folder`, so that the checkout stays as it is."""
    checkout = Path(checkout)
    if not (checkout / "ports" / "qemu" / "main.c").is_file():
        raise InputError(checkout, "is no checkout of MicroPython", "one with ports/qemu", "unset MICROPY_DIR")
    target = folder / "micropython"
    for part in ("extmod", "lib", "mpy-cross/mpy_cross", "ports/qemu", "py", "shared", "tools"):
        ignore = shutil.ignore_patterns(".git", "build-*", "tests", "docs")
        shutil.copytree(checkout / part, target / part, ignore=ignore)
    return target


def _change(source):
    """Give the port's source what it lacks. Raises InputError where it is not the source that is known."""
    port = source / "ports" / "qemu"
    for name, before, after in CHANGES:
        text = (port / name).read_text(encoding="utf-8")
        if text.count(before) != 1:
            text = f"this MicroPython's ports/qemu/{name} is not as expected"
            raise InputError(_NAME, text, "MicroPython 1.25 to 1.26")
        (port / name).write_text(text.replace(before, after), encoding="utf-8")
    for path in PORT.iterdir():
        shutil.copy(path, port)
    library = source / "lib" / "micropython-lib"
    library.mkdir(exist_ok=True)
    (library / "README.md").touch()  # Debian leaves this library out, and make asks for its presence


def _told(frozen=None):
    """What a firmware is known by: the hash of all that stands in it beside MicroPython. frozen: {name: text}"""
    digest = hashlib.sha256(repr((CHANGES, HEAP_BYTES, frozen)).encode())
    for path in (BOOT, *sorted(PORT.iterdir())):
        digest.update(path.read_bytes())
    return digest.hexdigest() + "\n"


def _source(folder):
    """The changed source tree in a folder, made where it is not there. Raises InputError."""
    source, stamp = folder / "source", folder / "source.sha256"
    if source.is_dir() and stamp.is_file() and stamp.read_text() == _told():
        return source
    stamp.unlink(missing_ok=True)
    shutil.rmtree(source, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="fetching-") as fetched:
        checkout = os.environ.get("MICROPY_DIR")
        shutil.move((_copy(checkout, Path(fetched)) if checkout else _fetch(Path(fetched))), source)
    _change(source)
    stamp.write_text(_told())
    return source


def _make(folder, name, frozen):
    """Build FOLDER/NAME with frozen files, {name: text}. Nothing is done where it is of these files already."""
    firmware, stamp, told = folder / name, folder / f"{name}.sha256", _told(frozen)
    if firmware.is_file() and stamp.is_file() and stamp.read_text() == told:
        return firmware
    check_tools()
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    stamp.unlink(missing_ok=True)
    source, made = _source(folder), folder / f"made-{Path(name).stem}"
    shutil.rmtree(made / "frozen", ignore_errors=True)
    for target, text in frozen.items():
        (made / "frozen" / target).parent.mkdir(parents=True, exist_ok=True)
        (made / "frozen" / target).write_text(text, encoding="utf-8")
    (made / "manifest.py").write_text(f"freeze({str(made / 'frozen')!r}, opt=3)\n")
    settings = {
        "BOARD": "MPS2_AN385", "BUILD": made, "FROZEN_MANIFEST": made / "manifest.py",
        "MICROPY_HEAP_SIZE": HEAP_BYTES, "MICROPY_MPYCROSS_DEPENDENCY": "", "MICROPY_MPYCROSS": find_mpy_cross(),
        "MICROPY_VFS_LFS2": 1, "PYTHON": sys.executable,
    }  # fmt: skip
    words = [f"{key}={value}" for key, value in settings.items()]
    _run("make", ["make", f"-j{os.cpu_count() or 1}", "-C", str(source / "ports" / "qemu"), *words])
    os.replace(made / FIRMWARE, firmware)
    stamp.write_text(told)
    return firmware


def build(folder=FIRMWARE_FOLDER):
    """Build the firmware into `folder`; returns its path. Raises InputError where something is missing or fails."""
    return _make(Path(folder), FIRMWARE, _boot())


def build_box(folder=FIRMWARE_FOLDER):
    """Build a firmware with the board mps2_an385 frozen into it, as build() does: code that takes no heap."""
    from .. import boards

    return _make(Path(folder), BOX, _boot() | boards.sources(boards.facts("mps2_an385")))


def _boot():
    return {BOOT.name: BOOT.read_text(encoding="utf-8")}


def main():
    try:
        print(build(*sys.argv[1:2] or [FIRMWARE_FOLDER]))
    except (InputError, OSError, tarfile.TarError) as error:
        sys.exit(f"{_NAME}: {error}" if _NAME not in str(error) else str(error))


if __name__ == "__main__":
    main()
