"""Does the core on this very machine do what it must? A small vehicle's story with a known answer.

Cell 3 climbs by 20 mV each 100 ms to 4.4 V and comes back, probe 2 reads 62 degC for three seconds, and twice the
checksum is wrong.
"""

import hashlib
from array import array

from cellwarden import known_vehicle
from cellwarden.core import layout as L
from cellwarden.crc8 import crc8
from cellwarden.engine import Engine, byte_view

STEPS = 300  # of 100 ms


def right():
    """True where the core gives the state it must."""
    return run()[0] == known_vehicle.ANSWER


def run():
    """(SHA-256 of the state, events as (t_ms, rule, before, level, where, value))."""
    engine = Engine(known_vehicle)
    for step in range(STEPS):
        t_ms = 1000 + 100 * step
        up = 0 if step < 60 else step - 60 if step < 95 else 35 if step < 115 else 150 - step if step < 150 else 0
        cell_3 = 3700 + 20 * up
        engine.frame(t_ms, 0x100, bytes((14, 116, 14, 117, cell_3 >> 8, cell_3 & 255, 14, 118)))
        pack = 111 + up * 2 // 10
        probe_2 = 102 if 200 <= step < 230 else 65
        data = bytes((pack & 255, 0, 10, 0, 64, probe_2, step & 15))
        engine.frame(t_ms + 3, L.EXT | 0x18000001, data + bytes((crc8(data) ^ (1 if step in (30, 31) else 0),)))
    events, record = [], array("i", bytes(4 * L.EVENT_SIZE))
    while engine.take(record):
        events.append(tuple(record))
    return hashlib.sha256(bytes(byte_view(engine.state))).digest(), events
