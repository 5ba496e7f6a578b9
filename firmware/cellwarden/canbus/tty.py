"""A serial port of Linux that never blocks a reader, under CPython and under MicroPython's unix port."""

import os
import sys

_ON_MICROPYTHON = sys.implementation.name == "micropython"
_VTIME, _VMIN = 5, 6  # asm-generic/termbits.h


class Tty:
    """path: such as /dev/ttyACM0, a pseudo terminal, or - for standard input and output.

    Raises OSError where it cannot be opened or is no terminal.
    """

    def __init__(self, path):
        self._file = None
        if _ON_MICROPYTHON:
            import termios

            if path == "-":
                self._read, self._write = sys.stdin.buffer, sys.stdout.buffer
                number = 0
            else:
                self._file = self._read = self._write = open(path, "r+b")
                number = self._file.fileno()
            termios.setraw(number)
            settings = termios.tcgetattr(number)
            settings[6][_VMIN] = settings[6][_VTIME] = 0  # a read returns at once with what there is
            termios.tcsetattr(number, termios.TCSANOW, settings)
            self.readinto, self.write = self._read.readinto, self._write.write
            return
        import termios
        import tty

        self._in = self._out = 0
        if path == "-":
            self._out = 1
        else:
            self._in = self._out = os.open(path, os.O_RDWR | os.O_NOCTTY)
        try:
            tty.setraw(self._in)
        except termios.error as error:
            self.close()
            raise OSError(error.args[0], "no terminal") from None
        os.set_blocking(self._in, False)

    def readinto(self, view):
        """Bytes read into the view; 0 where there are none now."""
        try:
            return os.readv(self._in, (view,))
        except BlockingIOError:
            return 0

    def write(self, data):
        """Write all of it. Waits where the other side does not read. Raises OSError where it is gone."""
        import select

        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._out, view) :]
            except BlockingIOError:
                select.select((), (self._out,), ())
        return len(data)

    def close(self):
        if _ON_MICROPYTHON:
            if self._file:
                self._file.close()
        elif self._in:
            os.close(self._in)
