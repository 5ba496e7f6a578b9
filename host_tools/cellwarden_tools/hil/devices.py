"""The boxes that hardware-in-the-loop tests run on, each behind a serial port that carries CAN as SLCAN and its lines.

A board runs `main.py` with its bus on the console (boards/); a local box is `cellwarden.linux` with `-b slcan:-`.
"""

import os
import pty
import re
import signal
import subprocess
import sys
import tempfile
import termios
import time
import tty
from contextlib import suppress
from pathlib import Path

import cellwarden

from .. import boards
from ..engines.device_files import write_device_files
from ..engines.micropython import find_micropython
from ..errors import InputError
from .tester import CanTester, Tester

LOCAL = ("micropython", "python")
START_S = 20


def make_device(word, heap="1m", bus="serial"):
    """The box that --cw-device names, on the bus that --cw-bus names. Raises InputError where there is none such."""
    if word == "micropython":
        return Local([find_micropython(), "-X", f"heapsize={heap}"], bus)
    if word == "python":
        return Local([sys.executable], bus)
    if word == "cortex-m3":
        from .cortex_m3 import CortexM3

        return CortexM3()
    if Path(word).exists():
        return Board(word)
    raise InputError("--cw-device", f"no device `{word}`", f"{', '.join(LOCAL)}, cortex-m3, or the path of a serial port")


class Device:
    """start() makes `tester`, the other side of its port; stop() and cut() end the box in order and at once."""

    local = False  # whether options and image can be chosen here
    serial = True  # frames come over its port, all of them; else over a bus, through filters

    def __init__(self):
        self.tester = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.cut()

    def _open(self, file, tester=Tester):
        self._file = file
        self.tester = tester(file)
        if not self.tester.open.wait(START_S):
            said = b"; ".join(self.tester.other).decode(errors="replace")
            self.cut()
            raise InputError(
                "--cw-device", f"the box does not open its bus in {START_S} s ({said or 'it says nothing'})"
            )
        return self.tester

    def cut(self):
        """The power goes."""
        if self.tester:
            self.tester.close()
            self.tester = None
            os.close(self._file)


class Local(Device):
    """A process here. command: the interpreter's words before `-m cellwarden.linux`

    bus: serial, or INTERFACE:CHANNEL@BOX: python-can's, and the SocketCAN interface that the box reads
    """

    local = True

    def __init__(self, command, bus="serial"):
        super().__init__()
        self.serial = bus == "serial"
        if not self.serial:
            found = re.fullmatch(r"(\w+):([\w.]+)@(\w+)", bus)
            if not found:
                raise InputError(
                    "--cw-bus", f"{bus!r}", "serial, or INTERFACE:CHANNEL@BOX, such as socketcan:can0@can1"
                )
            self._interface, self._channel, self.box_channel = found.groups()
        self._folder = tempfile.TemporaryDirectory(prefix="cellwarden-hil-")
        self._process = None
        self._command, self._environment = command, dict(os.environ)
        if "micropython" in Path(command[0]).name:
            try:
                boards.build("linux_gateway", self._folder.name)
            except InputError:  # no mpy-cross, or no checkout: it compiles its sources at each start
                write_device_files(self._folder.name)
            self._environment["MICROPYPATH"] = self._folder.name
        else:
            self._environment["PYTHONPATH"] = str(Path(cellwarden.__file__).parents[1])

    def start(self, image, *words):
        """image: path; words: more of cellwarden-box's. Returns the Tester."""
        far, near = pty.openpty()
        tty.setraw(near)
        bus = ["slcan:-"] if self.serial else [self.box_channel, "--report", "0.5"]
        command = [*self._command, "-m", "cellwarden.linux", str(image), "-b", *bus, *words]
        self._process = subprocess.Popen(
            command, stdin=near, stdout=near, stderr=near, env=self._environment, start_new_session=True
        )
        os.close(near)
        return self._open(far) if self.serial else self._open(far, self._on_a_bus)

    def _on_a_bus(self, file):
        import can

        return CanTester(file, can.Bus(interface=self._interface, channel=self._channel))

    def freeze(self, seconds):
        """The process stands still."""
        self._process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self._process.send_signal(signal.SIGCONT)

    def stop(self, seconds=10):
        """End it in order; its last status is then the last of tester.statuses. Returns its exit status."""
        self._process.terminate() if self._command[0] == sys.executable else self._process.send_signal(signal.SIGINT)
        status = self._process.wait(seconds)
        self.tester.gone.wait(seconds)
        return status

    def cut(self):
        if self._process:
            self._process.kill()
            self._process.wait()
        super().cut()

    def __exit__(self, *_):
        self.cut()
        self._folder.cleanup()


class Board(Device):
    """A board on a serial port that has its image and starts the box by itself (main.py)."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def start(self, image=None, *words):
        """Restart it, and wait for it to open its bus."""
        file = os.open(self.path, os.O_RDWR | os.O_NOCTTY)
        with suppress(termios.error):
            tty.setraw(file)
        os.write(file, b"\r\x03\x03\x04")  # stop what runs; a soft reset starts main.py
        return self._open(file)

    def stop(self, seconds=10):
        os.write(self._file, b"\r\x03")
        return 0
