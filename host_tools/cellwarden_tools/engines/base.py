"""What every engine shares: packing frames into records, and long steps of the clock."""

import struct
from typing import NamedTuple

from cellwarden.core import layout as L

RECORDS = 128  # frames handed over at once, unless an engine wants more
STEP_MS = 1 << 28  # a longer step is taken in parts, or the 30-bit clock would mistake it


class Event(NamedTuple):
    """t_ms: on the frames' own clock; rule: row of the catalogue; before, level: 0..3;
    value: canonical, or layout.NA.
    """

    t_ms: int
    rule: int
    before: int
    level: int
    where: int
    value: int


class Engine:
    """Feeds frames in blocks. A subclass makes `ring` and gives `_drain(n)`, `_advance(t_ms)`, `_resume(state)`,
    `_finish()`.

    Events come from the core on its 30-bit clock. All that is fed between two changes of `_base_ms` lies within STEP_MS
    of it, so an event of that time is unwrapped around it: `_add(values, base_ms)`.
    """

    name = ""

    def __init__(self, image, records=RECORDS):
        self.image = image
        self.records = records
        self.data_bytes = image.params[L.P_DATA_BYTES]
        self.record = struct.Struct(f"=iiBB2x{self.data_bytes}s")
        self.ring = None  # writable buffer of `records` records
        self._count = 0
        self._base_ms = self._last_ms = None
        self.events = []  # filled as frames are judged; the caller empties it

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def resume(self, state, t_us):
        """Go on from a state, before the first frame; state: bytes, t_us: when it was, on the frames' clock."""
        self._base_ms = self._last_ms = t_us // 1000
        self._resume(state)

    def feed(self, t_us, bus, can_id, data):
        """One frame: time in microseconds on the log's clock, bus number, identifier (| layout.EXT), data bytes."""
        t_ms = t_us // 1000
        base = self._base_ms
        if base is None or not -STEP_MS <= t_ms - base <= STEP_MS:
            self._rebase(t_ms)
        self._last_ms = t_ms
        n = len(data)
        self.record.pack_into(
            self.ring, self._count * self.record.size, t_ms & L.MASK, can_id, bus, min(n, self.data_bytes), data
        )
        self._count += 1
        if self._count == self.records:
            self.flush()

    def _rebase(self, t_ms):
        self.flush()
        last = t_ms if self._last_ms is None else self._last_ms
        while abs(t_ms - last) > STEP_MS:
            last += STEP_MS if t_ms > last else -STEP_MS
            self._base_ms = last
            self._advance(last & L.MASK)
        self._base_ms = t_ms

    def wait(self, t_us):
        """Time passes without a frame: what is due up to t_us is judged."""
        t_ms = t_us // 1000
        self._rebase(t_ms)
        self._advance(t_ms & L.MASK)
        self._last_ms = t_ms

    def feed_records(self, records):
        """Frames as the box's own ring has them: bytes of whole records (layout, RECORD_...), stamped by its 30-bit
        clock, on which their events are then told. Not to be mixed with `feed`.
        """
        self.flush()
        self._base_ms = L.HALF  # an event's time is that of the clock itself
        size = self.record.size
        for at in range(0, len(records), size * self.records):
            some = records[at : at + size * self.records]
            self.ring[: len(some)] = some
            self._drain(len(some) // size)

    def flush(self):
        """Judge what was fed so far."""
        if self._count:
            n, self._count = self._count, 0
            self._drain(n)

    def finish(self):
        """Judge the rest; returns the state as bytes (layout, STATE_SECTIONS)."""
        self.flush()
        return self._finish()

    def _hear(self, line, bases):
        """One line of runner.py's, which runs elsewhere: an event, or the state. bases: _base_ms of each step.

        Returns any other line, which is what the interpreter there has to say; else ''.
        """
        kind, _, words = line.strip().partition(" ")
        if kind == "E":
            step, *values = map(int, words.split())
            self._add(values, bases[step])
        elif kind == "S":
            self._state = bytes.fromhex(words)
        else:
            return line.strip()
        return ""

    def _add(self, values, base_ms):
        """Note one event record, its 30-bit time unwrapped around `base_ms`."""
        t, *rest = values
        ahead = ((t - base_ms + L.HALF) & L.MASK) - L.HALF
        self.events.append(Event(base_ms + ahead, *rest))
