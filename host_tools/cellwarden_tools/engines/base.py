"""What every engine shares: packing frames into records, and long steps of the clock."""

import struct
from typing import NamedTuple

from cellwarden.core import layout as L

RECORDS = 128  # frames handed over at once
STEP_MS = 1 << 28  # a longer step is taken in parts, or the 30-bit clock would mistake it


def event_capacity(params):
    """Events that RECORDS frames can cause at most: each rule through all its levels and back, after each frame."""
    return RECORDS * params[L.P_RULES] * 6


class Event(NamedTuple):
    """t_ms: on the frames' own clock; rule: row of the catalogue; before, level: 0..3; value: canonical or layout.NA."""

    t_ms: int
    rule: int
    before: int
    level: int
    where: int
    value: int


class Engine:
    """Feeds frames in blocks. A subclass gives `_drain(n)`, `_advance(t_ms)`, `_finish()` and fills `self.ring`."""

    name = ""

    def __init__(self, image):
        self.image = image
        self.data_bytes = image.params[L.P_DATA_BYTES]
        self.record = struct.Struct(f"=iiBB2x{self.data_bytes}s")
        self.ring = None  # writable buffer of RECORDS records
        self._count = 0
        self._last_ms = None
        self.events = []  # filled as frames are judged; the caller empties it

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def feed(self, t_us, bus, can_id, data):
        """One frame: time in microseconds on the log's clock, bus number, identifier (| layout.EXT), data bytes."""
        t_ms = t_us // 1000
        last = self._last_ms
        if last is not None and not -STEP_MS <= t_ms - last <= STEP_MS:
            self._long_step(last, t_ms)
        self._last_ms = t_ms
        n = len(data)
        self.record.pack_into(
            self.ring, self._count * self.record.size, t_ms & L.MASK, can_id, bus, min(n, self.data_bytes), data
        )
        self._count += 1
        if self._count == RECORDS:
            self.flush()

    def _long_step(self, last, t_ms):
        self.flush()
        while abs(t_ms - last) > STEP_MS:
            last += STEP_MS if t_ms > last else -STEP_MS
            self._advance(last & L.MASK)
            self._last_ms = last

    def flush(self):
        """Judge what was fed so far."""
        if self._count:
            n, self._count = self._count, 0
            self._drain(n)

    def finish(self):
        """Judge the rest; returns the state as bytes (layout, STATE_SECTIONS)."""
        self.flush()
        return self._finish()

    def _add(self, values):
        """Note one event record, its 30-bit time unwrapped around the last frame's."""
        t, *rest = values
        ahead = ((t - self._last_ms + L.HALF) & L.MASK) - L.HALF
        self.events.append(Event(self._last_ms + ahead, *rest))
