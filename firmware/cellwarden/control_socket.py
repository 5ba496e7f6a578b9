"""A Unix socket for operators (control.Port), under CPython and under MicroPython's unix port."""

import os
import select
import socket
import struct
import sys

from cellwarden.control import Port

NAME = "control"  # in the box's data folder
MODE = 0o660
ANSWER_BYTES = 4096  # of data
_ON_MICROPYTHON = sys.implementation.name == "micropython"


class Socket(Port):
    """One operator at a time is connected, the one that came last. Never waits: who does not read is hung up on.

    path: of the socket; one that is there is replaced. Raises OSError where it cannot be made.
    """

    def __init__(self, path):
        super().__init__(self._take, self._give, ANSWER_BYTES)
        try:
            os.remove(path)
        except OSError:
            pass
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        if _ON_MICROPYTHON:  # it has no chmod: what its umask leaves
            self._server.bind(struct.pack("H", socket.AF_UNIX) + path.encode() + b"\0")
        else:
            before = os.umask(0o777 & ~MODE)
            try:
                self._server.bind(path)
            finally:
                os.umask(before)
        self._server.listen(1)
        self._server.setblocking(False)
        self._waiting, self._peer, self._come = _poll(self._server), None, None

    def _take(self, view):
        try:
            if self._waiting():
                self._hang_up()
                self._peer = self._server.accept()[0]
                self._peer.setblocking(False)
                self._come = _poll(self._peer)
            if self._peer and self._come():
                read = self._peer.readinto if _ON_MICROPYTHON else self._peer.recv_into
                got = read(view)
                if got:
                    return got
                self._hang_up()
        except OSError:
            self._hang_up()
        return 0

    def _give(self, answer):
        if not self._peer:
            return
        try:
            if self._peer.send(answer) == len(answer):
                return
        except OSError:
            pass
        self._hang_up()

    def _hang_up(self):
        if self._peer:
            self._peer.close()
        self._peer = None
        self.forget()


def _poll(which):
    """A function that says whether something has come; it takes no memory on MicroPython."""
    poll = select.poll()
    poll.register(which, select.POLLIN)
    if _ON_MICROPYTHON:

        def has_come():
            for _ in poll.ipoll(0):
                return True
            return False

        return has_come
    return lambda: bool(poll.poll(0))
