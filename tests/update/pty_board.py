"""A MicroPython on a pseudo-terminal, and a line to it that may be bad."""

import os
import pty
import select
import subprocess
import threading
import tty


class Line:
    """MicroPython's unix port with a terminal as its console; `port` is what pyserial opens.

    spoil: called with the bytes of each way, (data, to_board), returns those that arrive; raises Unplugged
    """

    def __init__(self, micropython, folder, spoil=lambda data, to_board: data):
        self.spoil = spoil
        self._board, console = pty.openpty()
        self._host, self._port = pty.openpty()
        tty.setraw(self._host)
        tty.setraw(self._port)
        self.port = os.ttyname(self._port)
        words = [micropython, "-X", "heapsize=4m"]
        self._process = subprocess.Popen(
            words, stdin=console, stdout=console, stderr=console, cwd=folder, start_new_session=True
        )
        os.close(console)
        self._stop = threading.Event()
        self._relay = threading.Thread(target=self._run)
        self._relay.start()

    def _run(self):
        ways = {self._board: (self._host, False), self._host: (self._board, True)}
        while not self._stop.is_set():
            ready, _, _ = select.select(list(ways), [], [], 0.05)
            for way in ready:
                target, to_board = ways[way]
                try:
                    os.write(target, self.spoil(os.read(way, 4096), to_board))
                except Unplugged:  # the board has no power any more, and the port is gone
                    self._process.kill()
                    os.close(self._host)
                    self._host = None
                    self._stop.set()
                except OSError:
                    self._stop.set()
                if self._stop.is_set():
                    return

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._relay.join()
        self._process.kill()
        self._process.wait()
        for number in (self._board, self._host, self._port):
            if number is not None:
                os.close(number)


class Unplugged(Exception):
    pass
