"""Ways to run source text on a box and hear what it prints: a board's raw REPL on a serial port, a Python at the other
end of a pipe (here, or on a gateway through OpenSSH).
"""

import json
import os
import select
import subprocess
import time
from binascii import b2a_base64
from contextlib import suppress

from ..errors import InputError
from ..serial_port import open_port
from ..ssh import over_ssh

_RAW = b"raw REPL; CTRL-B to exit"
_PASTE, _PASTE_TAKEN = b"\x05A\x01", b"R\x01"
_END = b"\x04"
RESET_S = 1  # a board without machine.reset() says so in less


class Broken(Exception):
    """The conversation with the board went wrong; it may be tried anew."""


class Crashed(Exception):
    """The board ran the text and it raised; `str()` is the traceback's last line."""


class Repl:
    """A board's raw REPL on a port of pyserial.

    seconds: how long the board may be silent before the conversation counts as broken
    Raises InputError where the port cannot be opened.
    """

    piece = 1536  # bytes of a file that are sent at a time

    def __init__(self, port, baud=115200, seconds=5):
        expected = "the serial port of a MicroPython board, or a gateway's folder"
        mend = "make the folder, if it is one"
        self._port = open_port(port, "flash", expected, mend, baudrate=baud, timeout=0.05, write_timeout=seconds)
        self.name, self._seconds = port, seconds
        self._said = b""  # by the board, while it started
        self._runs = False  # the board was started, and is not to be interrupted any more

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with suppress(OSError):
            if not self._runs:
                self._port.write(b"\r\x03\x02")  # back to the REPL for people
        self._port.close()

    def enter(self):
        """Interrupt what runs and begin the raw REPL. Raises Broken."""
        self._write(b"\r\x03\x03")
        self._drain()
        self._write(b"\x01")
        self._until(_RAW, self._seconds)
        self._until(b">")

    def run(self, text):
        """Run source text; returns what it printed, as bytes. Raises Crashed where the text raised, and Broken."""
        data = text.encode()
        self._write(_PASTE)
        if self._take(2) != _PASTE_TAKEN:
            raise Broken("no raw-paste mode")
        window = int.from_bytes(self._take(2), "little")
        if not window:
            raise Broken("a window of no bytes")
        room, at = window, 0
        while at < len(data):
            while room == 0 or self._waiting():
                told = self._take(1)
                if told == b"\x01":
                    room += window
                elif told == _END:
                    self._write(_END)
                    raise Broken("the board wants no more")
                else:
                    raise Broken("an unknown byte between")
            chunk = data[at : at + room]
            self._write(chunk)
            room, at = room - len(chunk), at + len(chunk)
        self._write(_END)
        while (told := self._take(1)) == b"\x01":
            pass
        if told != _END:
            raise Broken("no end of the text")
        printed = self._until(_END)[:-1]
        raised = self._until(_END)[:-1]
        self._until(b">")
        if raised:
            raise Crashed(raised.decode(errors="replace").strip().splitlines()[-1])
        return printed

    def reset(self):
        """Let the board start anew, as after power on; where it has no such reset, as MicroPython's own."""
        with suppress(Broken, OSError):  # a port that goes with the board
            self.enter()
            self._write(b"import machine\nmachine.reset()" + _END)
            end = time.monotonic() + RESET_S
            while time.monotonic() < end:
                self._said += self._port.read(256)
                if self._said.endswith(_END + b">"):  # it answers, so it has no machine.reset()
                    self._said = b""
                    self._write(_END)
                    break
        self._said = self._said.removeprefix(b"OK")  # to the text
        self._runs = True

    def listen(self, seconds):
        """(the first status that the box reports, or None, other lines that it says), of the next seconds."""
        said, rest, end = [], self._said, time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                rest += self._port.read(4096)
            except OSError:  # a USB port that went with the board comes again with it
                time.sleep(0.2)
                with suppress(OSError):
                    self._port.close()
                    self._port.open()
            *lines, rest = rest.replace(b"\r", b"\n").split(b"\n")
            for line in lines:
                told = _status(line)
                if told:
                    return told, said
                if line.strip() and not line.startswith(b"# "):
                    said.append(line.decode(errors="replace").strip())
        return None, said

    def _waiting(self):
        try:
            return self._port.in_waiting
        except OSError as error:
            raise Broken(str(error)) from None

    def _write(self, data):
        try:
            self._port.write(data)
        except OSError as error:
            raise Broken(str(error)) from None

    def _take(self, count):
        data, end = b"", time.monotonic() + self._seconds
        while len(data) < count:
            try:
                got = self._port.read(count - len(data))
            except OSError as error:
                raise Broken(str(error)) from None
            if got:
                data, end = data + got, time.monotonic() + self._seconds
            elif time.monotonic() > end:
                raise Broken("the board is silent")
        return data

    def _until(self, end, seconds=None):
        """What comes up to `end`. seconds: what speaks for longer without it is no REPL"""
        data, began = bytearray(), time.monotonic()
        while not data.endswith(end):
            data += self._take(1)
            if seconds and time.monotonic() - began > seconds:
                raise Broken("what runs on the board goes on")
        return bytes(data)

    def _drain(self):
        """Read until the board has been silent for a moment."""
        try:
            while self._port.read(4096):
                pass
        except OSError as error:
            raise Broken(str(error)) from None


def _status(line):
    """The status in a line of a box, or None where it is another line."""
    with suppress(ValueError, TypeError):
        told = json.loads(line.removeprefix(b"# "))
        return told if told["event"] == "status" else None


# The other end of a Pipe: runs each line, in base64, and ends what it printed as the raw REPL does.
_LOOP = """
import sys
from binascii import a2b_base64
space = {"__name__": "flash"}
while True:
    line = sys.stdin.readline()
    if not line:
        break
    raised = ""
    try:
        exec(a2b_base64(line).decode(), space)
    except Exception as error:
        raised = repr(error)
    print("\\x04" + raised + "\\x04")
"""


class Pipe:
    """A Python as a child of this process, used as a Repl. name: for messages; words: the command, such as python3

    host: user@host that it runs on, by way of OpenSSH's `ssh`, or None: here; seconds: as of Repl
    """

    piece = 1 << 15

    def __init__(self, name, words, host=None, seconds=20):
        self.name, self._seconds, self._process = name, seconds, None
        self._words = [*words, "-c", _LOOP]
        if host:
            self._words = over_ssh(host, self._words)

    def __exit__(self, *_):
        if self._process:
            self._process.kill()
            self._process.communicate()

    def enter(self):
        """Start it, anew where it has ended or is in doubt. Raises InputError where there is no such program."""
        self.__exit__()
        try:
            self._process = subprocess.Popen(
                self._words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
            )
        except OSError as error:
            raise InputError(self.name, f"`{self._words[0]}` cannot be started ({error.strerror})") from None

    def run(self, text):
        """As Repl.run()."""
        try:
            self._process.stdin.write(b2a_base64(text.encode(), newline=False) + b"\n")
        except OSError:
            raise Broken(self._why()) from None
        printed, raised = self._until(_END)[:-1], self._until(_END)[:-1]
        self._until(b"\n")
        if raised:
            raise Crashed(raised.decode(errors="replace"))
        return printed

    def _until(self, end):
        data = bytearray()
        while not data.endswith(end):
            if not select.select([self._process.stdout], [], [], self._seconds)[0]:
                raise Broken("it is silent")
            got = os.read(self._process.stdout.fileno(), 1)
            if not got:
                raise Broken(self._why())
            data += got
        return bytes(data)

    def _why(self):
        said = self._process.communicate()[1].decode(errors="replace").strip().splitlines()
        return said[-1] if said else "the other end has gone"
