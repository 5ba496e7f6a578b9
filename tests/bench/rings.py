"""Frames already in the core's ring, for measuring the core alone.

A ring is RECORDS records as the core reads them (layout, RECORD_…). It is judged again and again, its stamps moved on
by the ring's own length each time, so time goes on as on a bus.
"""

from array import array

from cellwarden.core import layout as L

RECORDS = 16384
CHUNK = 128  # records judged in one call, as the engines do; `fast` takes its own number
FULL_BUS = 4505  # frames a second: 500 kbit/s, 8 bytes, 11 bits


def pack(frames, data_bytes, rate=None):
    """(ring, its length in ms) of frames (t_us, bus, can_id, data); with `rate` stamped at so many a second."""
    stride = L.RECORD_DATA + data_bytes
    ring = bytearray(stride * len(frames))
    start = frames[0][0] // 1000
    for row, (t_us, bus, can_id, data) in enumerate(frames):
        t_ms = t_us // 1000 - start if rate is None else row * 1000 // rate
        at = row * stride
        ring[at : at + 8] = array("i", [t_ms & L.MASK, can_id]).tobytes()
        ring[at + L.RECORD_CHANNEL], ring[at + L.RECORD_LENGTH] = bus, len(data)
        ring[at + L.RECORD_DATA : at + L.RECORD_DATA + len(data)] = data
    last = frames[-1][0] // 1000 - start if rate is None else len(frames) * 1000 // rate
    return bytes(ring), max(1, last)


def demo_rings(image, frames):
    """{name: (what it is, ring, its length in ms)} of the demonstration's drive: frames as workload.Drive has them."""
    known = {can_id for _, _, can_id in image.names["messages"]}
    data_bytes = image.params[L.P_DATA_BYTES]
    rows = [(t_us, 0, can_id, data) for t_us, _, can_id, data in frames]
    ours = [row for row in rows if row[2] in known]
    return {
        "logged": ("as logged, 352 frames/s", *pack(rows[:RECORDS], data_bytes)),
        "full": ("the same on a full bus, 4,505 frames/s", *pack(rows[:RECORDS], data_bytes, FULL_BUS)),
        "used": ("a full bus of nothing but frames in use", *pack(ours[:RECORDS], data_bytes, FULL_BUS)),
    }
