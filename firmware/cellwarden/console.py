"""A stream to people and programs that are free not to read it: writing never waits, so that no scan waits for them."""

import errno
import select
import sys

PIECE = 256  # bytes that a stream takes without waiting wherever it says that it can be written
ROOM = 4096  # bytes kept for a reader that is slow


class Console:
    """file: an open file or its number; write: called with bytes, returns how many were written (None: all)."""

    def __init__(self, file, write):
        self._poll = select.poll()
        self._poll.register(file, select.POLLOUT)
        self._write, self._waiting = write, b""

    def write(self, data):
        """Write it now as far as the other side reads, the rest before what comes next.

        Raises OSError where there is no room for the rest: then nothing of `data` is written; and as the stream does.
        """
        self._flush()
        if len(self._waiting) + len(data) > ROOM:
            raise OSError(errno.EAGAIN, "nobody reads it")
        self._waiting += data
        self._flush()

    def _flush(self):
        waiting, at = memoryview(self._waiting), 0
        self._waiting = b""  # what a stream that fails did not take is gone
        while at < len(waiting) and self._poll.poll(0):
            piece = waiting[at : at + PIECE]
            try:
                wrote = self._write(piece)
            except OSError as error:
                if error.errno != errno.EAGAIN:
                    raise
                break
            at += len(piece) if wrote is None else wrote
        self._waiting = bytes(waiting[at:])


_standard = []


def standard_output():
    """The Console of standard output, one for all who write there."""
    if not _standard:
        if sys.implementation.name == "micropython":
            _standard.append(Console(sys.stdout, sys.stdout.buffer.write))
        else:
            import os

            _standard.append(Console(1, lambda data: os.write(1, data)))
    return _standard[0]
