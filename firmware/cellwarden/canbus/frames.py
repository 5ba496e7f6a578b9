"""Frame records (layout, RECORD_...) as the buses write them and `Engine.drain` reads them."""

from array import array

import micropython

from cellwarden.core import layout as L
from cellwarden.engine import byte_view

SPARE = 24  # records kept free for notices: three of each of eight buses


class Frames:
    """What one round reads of all buses, in the ring that `engine.drain(batch.ring, batch.n)` takes.

    n: records in it; frames: data frames put so far, over all rounds; last_ms: no stamp is made earlier than it
    """

    def __init__(self, engine, records):
        self.ring = engine.ring(records + SPARE)
        self.bytes, self.words, _ = self.ring
        self.size = engine.record_bytes
        self.capacity = records
        self.n = self.frames = self.last_ms = 0
        self._value = bytearray(8)

    def full(self):
        return self.n >= self.capacity

    def put(self, t_ms, can_id, channel, data, first, length):
        """A data frame: `length` bytes of `data` from `first` on. Not to be called when it is full."""
        put(self.bytes, self.words, self.n, self.size, t_ms, can_id, channel, data, first, length)
        self.n += 1
        self.frames += 1
        self.last_ms = t_ms

    def ordered(self, t_ms):
        """The stamp, or the last one where that is later: of several buses one after the other is read."""
        return self.last_ms if (t_ms - self.last_ms) & L.MASK >= L.HALF else t_ms

    def dropped(self, t_ms, channel):
        self._notice(t_ms, L.NOTICE_DROPPED, 0, channel)

    def bus_off(self, t_ms, off, channel):
        self._notice(t_ms, L.NOTICE_BUS_OFF, 1 if off else 0, channel)

    def sleeps(self, t_ms):
        self._notice(t_ms, L.NOTICE_SLEEP, 0, 0)

    def acknowledged(self, t_ms, rule):
        """An operator gives up this rule's alarm."""
        self._notice(t_ms, L.NOTICE_ACK, rule, 0)

    def _notice(self, t_ms, kind, value, channel):
        self._value[0] = value
        put(self.bytes, self.words, self.n, self.size, t_ms, L.NOTICE | kind, channel, self._value, 0, 1)
        self.n += 1
        self.last_ms = t_ms


class Queue:
    """Records between an interrupt, which puts them, and the box's round, which takes them: each writes one index.

    size: bytes of a record (`Engine.record_bytes`); records: how many fit, less one. What does not fit is counted.
    """

    PUT, TAKEN, LOST, CAPACITY = 0, 1, 2, 3

    def __init__(self, size, records):
        self.words = array("i", bytes(size * records))
        self.bytes = byte_view(self.words)
        self.size = size
        self.at = array("i", (0, 0, 0, records))

    def put(self, t_ms, can_id, channel, data, first, length):
        at = self.at
        n = at[0]
        after = n + 1
        if after == at[3]:
            after = 0
        if after == at[1]:
            at[2] = (at[2] + 1) & L.MASK
            return
        put(self.bytes, self.words, n, self.size, t_ms, can_id, channel, data, first, length)
        at[0] = after

    def clear(self):
        """Forget what is in it."""
        self.at[1] = self.at[0]

    def move(self, batch):
        """Take records into a Frames, oldest first, as far as they fit."""
        at, words, count = self.at, batch.words, self.size >> 2
        while at[1] != at[0] and not batch.full():
            first = batch.n * count
            move(words, first, self.words, at[1] * count, count)
            words[first] = batch.ordered(words[first])
            batch.last_ms = words[first]
            batch.n += 1
            batch.frames += 1
            after = at[1] + 1
            at[1] = 0 if after == at[3] else after


@micropython.viper
def put(
    ring: ptr8, words: ptr32, n: int, size: int, t_ms: int, can_id: int, channel: int, data: ptr8, first: int,
    length: int,
):  # fmt: skip
    """Record n of a ring: `length` bytes of `data` from `first` on, as many as a record holds; zeros behind them."""
    at = n * size
    words[at >> 2] = t_ms
    words[(at >> 2) + 1] = can_id
    words[(at >> 2) + 2] = 0
    room = size - 12
    if length > room:
        length = room
    ring[at + 8] = channel
    ring[at + 9] = length
    at += 12
    i = 0
    while i < length:
        ring[at + i] = data[first + i]
        i += 1
    while i < room:
        ring[at + i] = 0
        i += 1


@micropython.viper
def move(to: ptr32, at: int, source: ptr32, first: int, count: int):
    i = 0
    while i < count:
        to[at + i] = source[first + i]
        i += 1
