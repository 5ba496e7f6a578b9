"""Runs on MicroPython: reads frame records from a stream, feeds the core, prints events and the state.

    micropython runner.py IMAGE_FOLDER [STREAM]

The stream is steps: int32 n and then n records, or -1 and then a time to advance to; n = 0 ends it. Before the first
step may stand -2 and the state to go on from.
Lines printed: `E step t rule before level where value`, steps counted from 0, then `S state-as-hex`. With `--lock` the
heap is locked while a step is judged, so that any allocation ends the run with a MemoryError.
"""

import binascii
import sys
from array import array

import micropython

RECORDS = 128  # as engines/base.py


class _Image:
    """An image unpacked into a folder."""

    def __init__(self, folder):
        with open(folder + "/params.bin", "rb") as file:
            self.params = array("i", file.read())
        sys.path.insert(0, folder)
        from decoder import drain

        self.drain = drain


def run(folder, stream, locked=False):
    """Feed the stream to the image unpacked in `folder`. Raises EOFError where the stream ends before its end mark."""
    from cellwarden.core import layout as L
    from cellwarden.engine import Engine, byte_view, most_events

    image = _Image(folder)
    engine = Engine(image, most_events(image.params, RECORDS))
    record = array("i", bytes(4 * L.EVENT_SIZE))
    head = array("i", [0])
    head_bytes = byte_view(head)
    ring = engine.ring(RECORDS)
    ring_bytes = memoryview(ring[0])
    size = engine.record_bytes
    step = 0
    while True:
        _fill(stream, head_bytes, 4)
        n = head[0]
        if n == 0:
            break
        if n == -2:
            _fill(stream, byte_view(engine.state), 4 * len(engine.state))
            continue
        if n < 0:
            _fill(stream, head_bytes, 4)
        else:
            _fill(stream, ring_bytes, n * size)
        if locked:
            micropython.heap_lock()
        try:
            if n < 0:
                engine.advance(head[0])
            else:
                engine.drain(ring, n)
        finally:  # telling of an exception takes heap
            if locked:
                micropython.heap_unlock()
        while engine.take(record):
            print("E", step, *record)
        if engine.events[L.E_LOST]:
            raise RuntimeError("the event ring overran")
        step += 1
    print("S", binascii.hexlify(bytes(engine.state)).decode())


def _fill(stream, buffer, count):
    done = 0
    view = memoryview(buffer)
    while done < count:
        got = stream.readinto(view[done:count])
        if not got:
            raise EOFError("the frame stream ended early")
        done += got


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--lock"]
    run(words[0], open(words[1], "rb") if len(words) > 1 else sys.stdin.buffer, "--lock" in sys.argv)
