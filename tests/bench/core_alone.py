"""The core on frames that are in its ring already: no reading, no packing.

    python core_alone.py ENGINE SECONDS IMAGE RING RING_MS [IMAGE RING RING_MS ...]

ENGINE is python or fast; or blocks, which is fast with columns put into its ring first, as a reader hands them over.
Prints one JSON object: {"parts": {RING: frames and seconds of the passes timed}, "compiled": {IMAGE: seconds}}.
"""

import json
import sys
import time
from array import array

import numpy
from cellwarden.core import layout as L
from cellwarden.engine import record_views
from cellwarden_tools.compiler.image import open_image
from cellwarden_tools.engines import open_engine
from rings import CHUNK


def python_passes(engine, ring):
    """A function that judges the whole ring once, in this interpreter."""
    core, stride = engine.core, engine.record.size
    ring8, ring32 = memoryview(ring), memoryview(ring).cast("i")
    parts = []
    for at in range(0, len(ring), CHUNK * stride):
        end = min(at + CHUNK * stride, len(ring))
        part = ring8[at:end]
        parts.append(((part, ring32[at // 4 : end // 4], record_views(part)), (end - at) // stride))

    def judge():
        for part, count in parts:
            core.drain(part, count)

    return judge


def fast_passes(engine, ring):
    """The same in machine code."""
    stride, chunk = engine.record.size, engine.records
    ring8, ring32 = numpy.frombuffer(ring, "u1"), numpy.frombuffer(ring, "i4")
    parts = []
    for at in range(0, len(ring), chunk * stride):
        end = min(at + chunk * stride, len(ring))
        parts.append((record_views(ring8[at:end]), ring32[at // 4 : end // 4], (end - at) // stride))
    drain, (first, state, _, _, box) = engine._compiled, engine._arguments

    def judge():
        for views, part32, count in parts:
            drain(first, state, views, part32, box, count)

    return judge


def block_passes(engine, ring):
    """The same from columns."""
    stride = engine.record.size
    rows = numpy.frombuffer(ring, "u1").reshape(-1, stride)
    stamps = numpy.frombuffer(ring, "i4")[:: stride // 4]
    bus, length = rows[:, L.RECORD_CHANNEL].astype("i2"), rows[:, L.RECORD_LENGTH].copy()
    can_id = numpy.frombuffer(ring, "i4")[1 :: stride // 4].copy()
    data = rows[:, L.RECORD_DATA :].copy()

    def judge():
        engine.feed_block(stamps.astype("i8") * 1000, bus, can_id, length, data)

    return judge


PASSES = {"python": python_passes, "fast": fast_passes, "blocks": block_passes}


def measure(name, engine, ring, ring_ms, seconds):
    """Judge the ring until that many seconds went into it. Returns what is to be told of it."""
    stamps = numpy.frombuffer(ring, "i4")[:: engine.record.size // 4]
    judge = PASSES[name](engine, ring)
    event = array("i", bytes(4 * L.EVENT_SIZE))
    state = engine.core.state
    scans = state[L.SCANS]
    turns, spent = -1, 0.0  # the first is for warming up
    while turns < 1 or spent < seconds:
        start = time.perf_counter()
        judge()
        stop = time.perf_counter()
        turns += 1
        spent += stop - start if turns else 0
        while engine.core.take(event):
            pass
        engine.events.clear()
        stamps += ring_ms
        stamps &= L.MASK
    assert not engine.core.events[L.E_LOST]
    return {"frames": turns * len(stamps), "seconds": spent, "scans": state[L.SCANS] - scans, "level": state[L.LEVEL]}


def open_core(name, path):
    """(engine, seconds its compilation took, or None where its machine code was there already)."""
    image, _ = open_image(path)
    if name == "python":
        return open_engine(name, image), None
    from cellwarden_tools.engines.compiled import is_compiled

    there = is_compiled(image)
    start = time.perf_counter()
    engine = open_engine("fast", image)
    return engine, None if there else time.perf_counter() - start


def main(name, seconds, *given):
    """Several of IMAGE RING RING_MS, one after the other; rings of one image go on with the same engine."""
    parts, compiled, before = {}, {}, None
    for image_path, ring_path, ring_ms in zip(given[::3], given[1::3], given[2::3], strict=True):
        if image_path != before:
            engine, compiled[image_path] = open_core(name, image_path)
            before = image_path
        with open(ring_path, "rb") as file:
            ring = bytearray(file.read())
        parts[ring_path] = measure(name, engine, ring, int(ring_ms), float(seconds))
    print(json.dumps({"parts": parts, "compiled": compiled}))


if __name__ == "__main__":
    main(*sys.argv[1:])
