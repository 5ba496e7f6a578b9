"""Runs on MicroPython: the core on frames that are in its ring already, timed inside the interpreter.

    micropython on_micropython.py SECONDS IMAGE_FOLDER RING RING_MS

Prints one JSON object as core_alone.py does.
"""

import json
import sys
import time
from array import array

CHUNK = 128  # as rings.py


def main(seconds, folder, ring_path, ring_ms):
    from cellwarden.core import layout as L
    from cellwarden.engine import Engine, byte_view, most_events, record_views
    from runner import _Image

    image = _Image(folder)
    engine = Engine(image, most_events(image.params, CHUNK))
    with open(ring_path, "rb") as file:
        ring32 = array("i", file.read())
    ring8 = memoryview(byte_view(ring32))
    view = memoryview(ring32)
    stride = engine.record_bytes // 4
    records = len(ring32) // stride
    parts = []
    for at in range(0, records, CHUNK):
        end = min(at + CHUNK, records)
        part = ring8[at * stride * 4 : end * stride * 4]
        parts.append(((part, view[at * stride : end * stride], record_views(part)), end - at))
    event = array("i", bytes(4 * L.EVENT_SIZE))
    frames = spent = turn = 0
    while spent < seconds * 1000000:
        for part, count in parts:
            start = time.ticks_us()
            engine.drain(part, count)
            took = time.ticks_diff(time.ticks_us(), start)
            if turn:  # the first is for warming up
                spent += took
            while engine.take(event):
                pass
        if turn:
            frames += records
        for row in range(0, records * stride, stride):
            ring32[row] = (ring32[row] + ring_ms) & L.MASK
        turn += 1
    clock = engine.state
    told = {"frames": frames, "seconds": spent / 1000000, "scans": clock[L.SCANS], "level": clock[L.LEVEL]}
    print(json.dumps({"parts": {ring_path: told}}))


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
