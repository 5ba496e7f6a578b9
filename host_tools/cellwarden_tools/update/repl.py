"""MicroPython's raw REPL over a serial port: run source text on a board and hear what it prints."""

import os
import time

from ..errors import InputError

_RAW = b"raw REPL; CTRL-B to exit"
_PASTE, _PASTE_TAKEN = b"\x05A\x01", b"R\x01"
_END = b"\x04"


class Broken(Exception):
    """The conversation with the board went wrong; it may be tried anew."""


class Crashed(Exception):
    """The board ran the text and it raised; `str()` is the traceback's last line."""


class Repl:
    """A board's raw REPL on a port of pyserial.

    seconds: how long the board may be silent before the conversation counts as broken
    Raises InputError where the port cannot be opened.
    """

    def __init__(self, port, baud=115200, seconds=5):
        try:
            import serial
        except ImportError:
            raise InputError("flash", "no pyserial on this machine", "", "pip install cellwarden[flash]") from None
        try:
            self._port = serial.serial_for_url(port, baudrate=baud, timeout=0.05, write_timeout=seconds)
        except (OSError, ValueError) as error:
            reason = os.strerror(error.errno) if getattr(error, "errno", None) else str(error)
            raise InputError(port, f"cannot be opened ({reason})", "a serial port with a MicroPython board") from None
        self.name, self._failures, self._seconds = port, (serial.SerialException, OSError), seconds

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self._port.write(b"\r\x03\x02")  # back to the REPL for people
        except self._failures:
            pass
        self._port.close()

    def enter(self):
        """Interrupt what runs and begin the raw REPL. Raises Broken."""
        self._write(b"\r\x03\x03")
        self._drain()
        self._write(b"\x01")
        self._until(_RAW)
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
        """Let the board start anew, as after power on."""
        self._write(b"import machine\rmachine.reset()\r" + _END)

    def _waiting(self):
        try:
            return self._port.in_waiting
        except self._failures as error:
            raise Broken(str(error)) from None

    def _write(self, data):
        try:
            self._port.write(data)
        except self._failures as error:
            raise Broken(str(error)) from None

    def _take(self, count):
        data, end = b"", time.monotonic() + self._seconds
        while len(data) < count:
            try:
                got = self._port.read(count - len(data))
            except self._failures as error:
                raise Broken(str(error)) from None
            if got:
                data, end = data + got, time.monotonic() + self._seconds
            elif time.monotonic() > end:
                raise Broken("the board is silent")
        return data

    def _until(self, end):
        data = bytearray()
        while not data.endswith(end):
            data += self._take(1)
        return bytes(data)

    def _drain(self):
        """Read until the board has been silent for a moment."""
        try:
            while self._port.read(4096):
                pass
        except self._failures as error:
            raise Broken(str(error)) from None
