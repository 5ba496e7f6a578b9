"""The emulated Cortex-M3 (QEMU's MPS2-AN385) as a box: firmware with the box frozen into it, a flash, a serial line.

The board's PSRAM is a file here, so that it outlives the machine: a ROM image with the vehicle's, the rings of the line
to the adapter, and 8 MB of flash with littlefs. A power cut is the end of QEMU at once.
"""

import argparse
import json
import mmap
import os
import pty
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import tty
from contextlib import suppress
from pathlib import Path

from .. import boards
from ..compiler.image import load_image
from ..engines.build_cortex_m3 import FIRMWARE_FOLDER, build, build_box
from ..engines.cortex_m3 import FIRMWARE, ROOM, blob, find_qemu
from ..engines.micropython import find_micropython
from ..errors import InputError
from .devices import Device, open_raw
from .tester import Tester

BOARD = "mps2_an385"
FLASHED_HEAP_BYTES = 384 << 10  # of a board whose code is not frozen: it takes heap
HEAP_AT = 0x20000000  # cortex_m3_boot.py has these, too
FLASH_AT, FLASH_BYTES = 8 << 20, 8 << 20  # in the PSRAM
LINE_AT, CONSOLE_AT, RING = 0x7F0000, 0x7E0000, 16384  # boards/mps2_an385.py, cortex_m3_board/mphalport.c
STEP_S = 0.001
PROMPT = b"\r\n>>> "
_NAME = "--cw-device cortex-m3"
_CHECKOUT = Path(__file__).parents[3]


def firmware_folder():
    """Where the firmware is, or is to be built: beside $CELLWARDEN_CORTEX_M3, else build/cortex_m3."""
    told = os.environ.get("CELLWARDEN_CORTEX_M3")
    if told:
        return Path(told).parent
    places = [base / FIRMWARE_FOLDER for base in (Path(), _CHECKOUT)]
    return next((place for place in places if (place / FIRMWARE).is_file()), places[0])


class Machine:
    """QEMU with a PSRAM that stays: on() and off() as often as one likes.

    heap: bytes that its MicroPython has; box: with the box frozen into it, else a bare board
    console: path of the pseudo terminal that is its console, while it is on
    """

    def __init__(self, heap, box):
        folder = firmware_folder()
        self._firmware = build_box(folder) if box else build(folder)
        self._qemu, self._heap = find_qemu(), heap
        self._folder = tempfile.TemporaryDirectory(prefix="cellwarden-m3-")
        self.psram = Path(self._folder.name, "psram")
        with open(self.psram, "wb") as file:
            file.truncate(ROOM)
        self._process = self.console = None

    def on(self):
        memory = f"memory-backend-file,id=psram,size={ROOM},share=on,mem-path={self.psram}"
        command = [
            self._qemu, "-machine", "mps2-an385,memory-backend=psram", "-object", memory,
            "-nodefaults", "-display", "none", "-semihosting", "-kernel", str(self._firmware),
            "-device", f"loader,addr={HEAP_AT:#x},data={self._heap},data-len=4",
        ]  # fmt: skip
        with open(self.psram, "r+b") as file:
            for at in (LINE_AT, CONSOLE_AT):
                file.seek(at)
                file.write(bytes(16))
        far, self._near = pty.openpty()
        tty.setraw(self._near)
        self.console, self._line = os.ttyname(self._near), Line(self.psram, CONSOLE_AT, far)
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip

    def is_on(self):
        return self._process is not None and self._process.poll() is None

    def off(self):
        """The power goes."""
        if self._process:
            self._process.kill()
            self._process.wait()
            time.sleep(2 * STEP_S)  # what it has said is heard
            self._line.close()
            os.close(self._near)
            self._process = self.console = None

    def freeze(self, seconds):
        self._process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self._process.send_signal(signal.SIGCONT)

    def rom(self, files):
        """What it is to find in /rom; files: {path: bytes}."""
        data = blob(files)
        if len(data) > CONSOLE_AT:
            raise InputError(_NAME, f"an image of {len(data)} bytes", f"at most {CONSOLE_AT}")
        with open(self.psram, "r+b") as file:
            file.write(data)

    def files(self, verb, folder):
        """put: make a new flash that holds the files of a folder; get: the files of the flash into a folder."""
        script = Path(__file__).with_name("littlefs_guest.py")
        words = [find_micropython(), script, self.psram, str(FLASH_AT), str(FLASH_BYTES), verb, str(folder)]
        done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise InputError(_NAME, f"its flash cannot be read ({done.stdout[-300:]})")

    def close(self):
        self.off()
        self._folder.cleanup()


class Line:
    """Carries bytes between two rings in the board's memory (canbus/shared_line.py) and an open file."""

    def __init__(self, psram, at, file):
        self._at, self._file = at, file
        os.set_blocking(file, False)
        with open(psram, "r+b") as opened:
            self._memory = mmap.mmap(opened.fileno(), ROOM)
        # Words, for struct would write them byte by byte, and the board see halves of two.
        self._words = memoryview(self._memory)[at : at + 16].cast("I")
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def close(self):
        self._end.set()
        self._thread.join()
        self._words.release()
        self._memory.close()
        os.close(self._file)

    def _carry(self):
        waiting = b""
        while not self._end.is_set():
            waiting = self._give(waiting or self._heard())
            if not self._tell():
                if waiting:
                    time.sleep(STEP_S)
                else:
                    select.select((self._file,), (), (), STEP_S)

    def _heard(self):
        with suppress(OSError):  # nothing now, or nobody
            return os.read(self._file, RING)
        return b""

    def _give(self, data):
        """Put bytes to the board; returns those that it has no room for."""
        put, taken = self._words[0], self._words[1]
        n = min(len(data), (taken - put - 1) % RING)
        at = self._at + 16
        first = min(n, RING - put)
        self._memory[at + put : at + put + first] = data[:first]
        self._memory[at : at + n - first] = data[first:n]
        self._words[0] = (put + n) % RING
        return data[n:]

    def _tell(self):
        """Whether the board has put anything that the other side took."""
        put, taken = self._words[2], self._words[3]
        at = self._at + 16 + RING
        data = self._memory[at + taken : at + RING] + self._memory[at : at + put]
        data = data[: (put - taken) % RING]
        n = self._pass_on(data) if data else 0
        self._words[3] = (taken + n) % RING
        return n

    def _pass_on(self, data):
        """Bytes that the other side took."""
        with suppress(OSError):
            return os.write(self._file, data)
        return 0


class Adapter(Line):
    """The line to the tester, `file`, who also gets the lines that stand on the board's console; whole lines only."""

    def __init__(self, psram, console):
        here, there = socket.socketpair()
        self.file, self._console, self._shown = there.detach(), console, 0
        super().__init__(psram, LINE_AT, here.detach())

    def _pass_on(self, data):
        end = max(data.rfind(b"\r"), data.rfind(b"\n")) + 1
        return super()._pass_on(data[:end])

    def _tell(self):
        text = bytes(self._console.heard[self._shown :])
        text = text[: text.rfind(b"\n") + 1]
        for line in text.splitlines(keepends=True):
            self._shown += len(line)
            self._pass_on(line if line[:1] in b"#!\r" else b"console: " + line)
        return super()._tell() or len(text)


class Console:
    """What stands on a terminal, and a way to type."""

    def __init__(self, path):
        self._file = open_raw(path)
        self.heard = bytearray()
        self._changed = threading.Condition()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def close(self):
        self._end.set()
        self._thread.join()
        os.close(self._file)

    def _listen(self):
        while not self._end.is_set():
            ready, _, _ = select.select((self._file,), (), (), 0.05)
            try:
                data = os.read(self._file, 4096) if ready else b""
            except OSError:  # the machine is off
                break
            with self._changed:
                self.heard += data
                self._changed.notify_all()

    def type(self, data):
        os.write(self._file, data)

    def shows(self, text, seconds):
        """Whether the text stands there, or does within so many seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: text in self.heard, seconds)


class CortexM3(Device):
    """The emulated board as a box. heap: bytes, the board's budget where not told."""

    def __init__(self, heap=None):
        super().__init__("image", "process", "files", "stamps")
        self._facts = boards.facts(BOARD)
        self.machine = Machine(heap or self._facts["HEAP_BYTES"], box=True)
        self._line = self._console = self._data = None
        self._new = True

    def start(self, image, *words):
        """As Local.start(), of whose words it knows --timed, --report and --data."""
        parser = argparse.ArgumentParser(prog="cortex-m3")
        parser.add_argument("--timed", action="store_true")
        parser.add_argument("--report", type=float, default=1.0)
        parser.add_argument("--data", type=Path)
        told = parser.parse_args(words)
        if self._new or told.data is None or told.data != self._data:
            with tempfile.TemporaryDirectory(prefix="cellwarden-m3-") as scratch:
                if told.data:
                    shutil.copytree(told.data, Path(scratch, "data"))
                self.machine.files("put", scratch)
            self._data, self._new = told.data, False
        options = {"timed": told.timed, "report_ms": int(1000 * told.report)}
        files = {"options.json": json.dumps(options).encode()}
        files |= boards.vehicle_files(load_image(image), self._facts["ARCHITECTURE"])
        self.machine.rom(files)
        self.machine.on()
        self._listen()
        try:
            return self._open(self._line.file)
        except InputError:
            said = self._console.heard.decode(errors="replace").strip()
            raise InputError(_NAME, f"the box does not start ({said[-1000:] or 'it is silent'})") from None

    def _fetch(self):
        with tempfile.TemporaryDirectory(prefix="cellwarden-m3-") as scratch:
            self.machine.files("get", scratch)
            shutil.copytree(Path(scratch, "data"), self._data, dirs_exist_ok=True)

    def bare(self):
        self.machine.close()
        self.machine, self.board = Machine(FLASHED_HEAP_BYTES, box=False), BOARD
        self.machine.rom({"options.json": json.dumps({"timed": True, "report_ms": 500}).encode()})
        self.machine.on()
        return self.machine.console

    def listen(self, port):
        self._listen()
        self._file, self.tester = self._line.file, Tester(self._line.file)
        self.tester.stamped = True
        return self.tester

    def _listen(self):
        self._console = Console(self.machine.console)
        self._line = Adapter(self.machine.psram, self._console)

    def hang_up(self):
        if self._line:
            self._line.close()
            self._line = None
        if self._console:
            self._console.close()
            self._console = None
        super().hang_up()

    def freeze(self, seconds):
        self.machine.freeze(seconds)

    def stop(self, seconds=10):
        """Ctrl-C on its console: it ends in order, and the REPL is there. The data are then in the folder here."""
        self._console.type(b"\x03")
        if not self._console.shows(PROMPT, seconds):
            raise InputError(_NAME, f"does not stop in {seconds} s ({bytes(self._console.heard[-200:])})")
        self.cut()
        return 0

    def cut(self):
        if self.machine.is_on():
            self.machine.off()
            if self._data:
                self._fetch()
        super().cut()

    def __exit__(self, *_):
        self.cut()
        self.machine.close()
