"""A MicroPython that behaves as a board on a serial port does: boot.py, main.py, a prompt after Ctrl-C, a reset."""

import os
import pty
import select
import signal
import subprocess
import threading
import tty

_PROMPT = 3  # how the program below ends where a board shows its prompt
# What a port does at its start, in the folder that is the root of its files.
_START = f"""
import os, sys
there = os.listdir()
try:
    for name in ("boot.py", "main.py"):
        if name in there:
            with open(name) as file:
                exec(file.read(), {{"__name__": "__main__"}})
except KeyboardInterrupt:
    sys.exit({_PROMPT})
if "main.py" not in there:
    sys.exit({_PROMPT})
"""


class Console:
    """port: a pseudo terminal for pyserial and testers; starts: how often it has started

    command: the interpreter's words; folder: where the board has its files; spoil: called with (data, to_board) of what
    passes, gives what arrives
    """

    def __init__(self, command, folder, spoil=lambda data, to_board: data):
        self._command, self._folder, self._spoil = [str(word) for word in command], folder, spoil
        self._host, self._near = pty.openpty()
        self._board, self._far = pty.openpty()
        for number in (self._host, self._near):
            tty.setraw(number)
        self.port = os.ttyname(self._near)
        self.starts = 0
        self._process, self._at_prompt = None, False
        self._stop = threading.Event()
        self._start(prompt=False)
        os.set_blocking(self._host, False)
        os.set_blocking(self._board, False)
        ways = ((self._host, self._board, True), (self._board, self._host, False))
        self._relays = [threading.Thread(target=self._relay, args=way, daemon=True) for way in ways]
        for relay in self._relays:
            relay.start()

    def _start(self, prompt):
        words = self._command if prompt else [*self._command, "-c", _START]
        self.starts += not prompt
        self._at_prompt = prompt
        if not prompt:
            tty.setraw(self._far)  # the prompt sets its own
        self._process = subprocess.Popen(
            words, stdin=self._far, stdout=self._far, stderr=self._far, cwd=self._folder, start_new_session=True
        )

    def _relay(self, way, target, to_board):
        while not self._stop.is_set():
            if to_board:
                self._look_after()
            if not select.select([way], [], [], 0.02)[0]:
                continue
            try:
                data = self._spoil(os.read(way, 4096), to_board)
                if to_board and b"\x03" in data and not self._at_prompt:
                    self._interrupt()
                    data = b""
                while data and not self._stop.is_set():
                    if select.select([], [target], [], 0.02)[1]:
                        data = data[os.write(target, data) :]
                    elif to_board:
                        self._look_after()
            except OSError:
                return

    def _look_after(self):
        """Start anew what has ended."""
        status = self._process.poll()
        if status is not None:
            self._start(prompt=not self._at_prompt and status == _PROMPT)

    def _interrupt(self):
        """Ctrl-C to a program that runs."""
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            return
        self._start(prompt=True)

    def cut(self):
        """The power goes, for good."""
        self._stop.set()
        for relay in self._relays:
            relay.join()
        self._process.kill()
        self._process.wait()
        for number in (self._host, self._near, self._board, self._far):
            os.close(number)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.cut()
