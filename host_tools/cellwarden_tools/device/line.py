"""Questions to a box that runs, and its answers (cellwarden.control), over a Unix socket, here or on a gateway behind
OpenSSH, or over a serial port.
"""

import json
import os
import secrets
import select
import socket
import subprocess
import time
from binascii import crc32
from contextlib import suppress
from pathlib import Path

from cellwarden.control_socket import NAME
from cellwarden.operator_key import box_key, tag_of

from ..errors import InputError
from ..serial_port import open_port
from ..ssh import gateway_at, over_ssh

SECONDS, TRIES = 2.0, 5  # for an answer, and how often a question is asked
STOP_S = 1.5  # in which a box that was told to ends
_LONGEST = 1 << 16  # characters of a line
BAUD = 115200
PLACES = (NAME, f"data/{NAME}")  # of the socket: in a folder of data, and in one of slots
# What a gateway runs to reach the socket of its box: standard input and output become it.
RELAY = """
import os, select, socket, sys
box = socket.socket(socket.AF_UNIX)
for place in sys.argv[1:]:
    try:
        box.connect(place)
        break
    except OSError:
        pass
else:
    sys.exit("no box runs there")
while True:
    for ready in select.select((0, box), (), ())[0]:
        data = box.recv(65536) if ready is box else os.read(0, 65536)
        if not data:
            sys.exit()
        while data:
            data = data[os.write(1, data) if ready is box else box.send(data) :]
"""


class Silent(InputError):
    """Nobody answers."""


class SocketWire:
    """A Unix socket. Raises ConnectionRefusedError where no box listens, InputError where it is not ours to use."""

    def __init__(self, path):
        self.name = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(self.name)
        except OSError as error:
            self._socket.close()
            if isinstance(error, ConnectionRefusedError):
                raise
            reason = f"cannot be reached ({os.strerror(error.errno) if error.errno else error})"
            raise InputError(path, reason, "the socket of a box that runs, and the right to it") from None
        self.write, self.close = self._socket.sendall, self._socket.close

    def read(self, seconds):
        """Bytes that come within some seconds, else none. Raises OSError where the box has hung up."""
        if not select.select((self._socket,), (), (), seconds)[0]:
            return b""
        data = self._socket.recv(1 << 16)
        if not data:
            raise OSError("the box has hung up")
        return data


class RelayWire:
    """The socket of a gateway's box by way of a program there. words: that run RELAY and the socket's places there."""

    def __init__(self, name, words):
        self.name = name
        try:
            self._process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
            )
        except OSError as error:
            raise InputError(name, f"cannot run {words[0]} ({error.strerror})", "OpenSSH's client") from None

    def write(self, data):
        self._process.stdin.write(data)

    def read(self, seconds):
        """As SocketWire.read()."""
        if not select.select((self._process.stdout,), (), (), seconds)[0]:
            return b""
        data = os.read(self._process.stdout.fileno(), 1 << 16)
        if not data:
            said = self._process.stderr.read().decode(errors="replace").strip().splitlines()
            raise OSError(said[-1] if said else "the gateway has hung up")
        return data

    def close(self):
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            stream.close()
        self._process.wait()


class SerialWire:
    """A serial port. Raises InputError where it cannot be opened."""

    def __init__(self, port, baud=BAUD):
        self.name, expected = port, "a serial port, or a box's socket"
        self._port = open_port(port, "device", expected, baudrate=baud, timeout=0, write_timeout=SECONDS)
        self.write, self.close = self._port.write, self._port.close

    def read(self, seconds):
        """As SocketWire.read()."""
        self._port.timeout = seconds
        data = self._port.read(1)
        return data + self._port.read(self._port.in_waiting) if data else b""


class Running:
    """A box that runs. wire: a SocketWire, a SerialWire, or what has their name, read, write and close."""

    def __init__(self, wire):
        self.name, self._wire = wire.name, wire
        self._number, self._heard = secrets.randbelow(1 << 16), bytearray()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._wire.close()

    def ask(self, *words, seconds=SECONDS, tries=TRIES):
        """The box's answer, a dict. Raises Silent where there is none, and InputError with its own words for an error.

        A question that gets no answer is asked again; the box does nothing twice for it.
        """
        told = self.ask_for(*words, seconds=seconds, tries=tries)
        if told is None:
            raise InputError(self.name, f"the box has no {' '.join(map(str, words))}")
        return told

    def ask_for(self, *words, seconds=SECONDS, tries=TRIES):
        """As ask(); None where the box no longer has what was asked for."""
        told = self._ask(words, seconds, tries)
        if told.get("error") == "gone":
            return None
        if "error" in told:
            raise InputError(self.name, f"the box says: {told['error']}")
        return told

    def _ask(self, words, seconds, tries):
        self._number = self._number + 1 & 0xFFFF
        text = " ".join((f"!{self._number:x}", *map(str, words))).encode()
        for _ in range(tries):
            try:
                self._wire.write(b"\r" + text + b" %08x\r" % crc32(text))
                told = self._answer(seconds)
            except OSError as error:
                raise Silent(self.name, f"the line to the box is lost ({error})") from None
            if told is not None:
                return told
        raise Silent(self.name, "no box answers", "one that runs, or a bare board", "see docs/device.md")

    def _answer(self, seconds):
        begin, end = b"!%x {" % self._number, time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._heard += self._wire.read(left)
            *lines, rest = self._heard.replace(b"\n", b"\r").split(b"\r")
            self._heard = rest[-_LONGEST:]
            for line in lines:
                text, _, checksum = line.rpartition(b" ")
                if line.startswith(begin) and checksum == b"%08x" % crc32(text):
                    return json.loads(text[len(begin) - 1 :])
        return None

    def rows(self, verb):
        """All rows of identity, status, alarms, log, files or slots."""
        rows, following = [], 0
        while following is not None:
            told = self.ask(verb, following)
            rows += told["rows"]
            following = told["next"]
        return rows

    def do(self, master, words):
        """Let the box do something: an operator's command. master: bytes, of the key the box was given

        words: of the command, or what makes them of (key, nonce, generation)
        """
        told = self.ask("nonce")
        name, nonce, generation = told["box"], told["nonce"], told["generation"]
        key = box_key(master, name, generation)
        words = words(key, nonce, generation) if callable(words) else words
        tag = tag_of(key, name, nonce, " ".join(map(str, words)))
        return self.ask("do", tag.hex(), *words)


def stop_running(port, master):
    """Stop the box that runs on a serial port, if one does that hears no Ctrl-C. master: of its operator's key, or None

    Raises InputError where it is not stopped.
    """
    box = open_running(port)
    if box is None:
        return
    with box:
        if dict(box.rows("identity"))["box"] is None:
            return
        if master is None:
            mend = "say --operator-key FILE, or `cellwarden device PORT stop`"
            raise InputError(port, "the box runs, and only its operator can stop it", "", mend)
        box.do(master, ("stop",))
    time.sleep(STOP_S)


def open_running(port):
    """The Running box at a socket, in a folder of data or slots (ssh:USER@HOST:/FOLDER: on a gateway), or on a serial
    port. None where there is none.

    A box that runs on a serial port is asked, so it is not stopped for it. Raises InputError for a port that is none.
    """
    path = Path(port)
    if port.startswith("ssh:"):
        host, folder = gateway_at(port)
        words = ["python3", "-c", RELAY, *(f"{folder}/{place}" for place in PLACES)]
        box = Running(RelayWire(port, over_ssh(host, words)))
        box.ask("identity", 0, seconds=20)
        return box
    if path.is_dir():
        for place in PLACES:
            with suppress(ConnectionRefusedError):  # one that a box has left behind
                if (path / place).is_socket():
                    return Running(SocketWire(path / place))
        return None
    if path.is_socket():
        with suppress(ConnectionRefusedError):
            return Running(SocketWire(path))
        return None
    box = Running(SerialWire(port))
    try:
        box.ask("identity", 0, seconds=0.5, tries=3)
    except Silent:
        box.__exit__()
        return None
    return box
