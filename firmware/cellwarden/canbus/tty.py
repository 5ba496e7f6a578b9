"""A serial port of Linux on which nothing waits, under CPython and under MicroPython's unix port."""

import os
import sys

from cellwarden.console import Console, standard_output

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
                source, number, console = sys.stdin.buffer, 0, standard_output()
            else:
                self._file = source = open(path, "r+b")
                number, console = source.fileno(), Console(source, source.write)
            termios.setraw(number)
            settings = termios.tcgetattr(number)
            settings[6][_VMIN] = settings[6][_VTIME] = 0  # a read returns at once with what there is
            termios.tcsetattr(number, termios.TCSANOW, settings)
            self.readinto, self.write = source.readinto, console.write
            return
        import termios
        import tty

        self._in = 0 if path == "-" else os.open(path, os.O_RDWR | os.O_NOCTTY)
        try:
            tty.setraw(self._in)
        except termios.error as error:
            self.close()
            raise OSError(error.args[0], "no terminal") from None
        os.set_blocking(self._in, False)
        number = self._in
        console = standard_output() if path == "-" else Console(number, lambda data: os.write(number, data))
        self.write = console.write

    def readinto(self, view):
        """Bytes read into the view; 0 where there are none now."""
        try:
            return os.readv(self._in, (view,))
        except BlockingIOError:
            return 0

    def close(self):
        if _ON_MICROPYTHON:
            if self._file:
                self._file.close()
        elif self._in:
            os.close(self._in)
