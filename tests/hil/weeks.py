"""Runs on MicroPython: weeks of a box's life on a clock that jumps, through every wrap of 30-bit ticks.

micropython weeks.py IMAGE LOG WEEKS [sleep]: each day the vehicle drives the candump LOG once and then stands. Prints
a line a week: scans, milliseconds of scans that are missing, latest scan, live heap, hazards, sleeps. `sleep`: the box
sleeps while it may, and its ticks stand still meanwhile.
"""

import gc
import sys

from cellwarden.app import Box
from cellwarden.canbus import Bus
from cellwarden.canbus.frames import Frames
from cellwarden.canbus.replay import ReplayBus
from cellwarden.core import layout as L
from cellwarden.image import load_image

DAY_MS = 86_400_000
STEP_MS, IDLE_MS = 20, 980  # of the clock between two rounds, driving and standing
BEGIN_MS = (1 << 30) - 3_600_000 - 24  # the first wrap comes in the first hour; on the grid of scans


class Clock:
    def __init__(self):
        self.ms = BEGIN_MS
        self.not_counted_ms = 0

    def now_ms(self):
        return (self.ms - self.not_counted_ms) & L.MASK

    def real_ms(self):
        return self.ms & L.MASK

    def skip_ms(self, ms):
        self.not_counted_ms -= ms

    def wall_s(self):
        return 1_800_000_000 + self.ms // 1000

    def sleep_ms(self, ms):
        self.ms += ms

    def stand_still(self, ms):
        self.ms += ms
        self.not_counted_ms += ms


class Drive(Bus):
    """A log played on a live bus: each frame when its time has come."""

    def __init__(self, path, clock):
        super().__init__()
        self._path, self._clock, self._log = path, clock, None
        self._batch = None
        self.over = True

    def start(self):
        self._log, self._from, self.over = ReplayBus(self._path), self._clock.ms, False
        self._batch.n = self._at = 0

    def ready(self, batch):
        self._batch = batch

    def _read(self, batch, t_ms):
        if self.over:
            return
        held = self._batch
        size = held.size >> 2
        while not batch.full():
            if self._at == held.n:
                held.n = self._at = 0
                self._log.recv(held, 0)
                if held.n == 0:
                    self.over = True
                    return
            at = self._at * size
            if held.words[at] + self._from > self._clock.ms:
                return
            first = self._at * held.size
            batch.put(t_ms, held.words[at + 1], 0, held.bytes, first + L.RECORD_DATA, held.bytes[first + 9])
            self._at += 1


def run(image_path, log, weeks, sleeps):
    clock = Clock()
    image = load_image(image_path)
    bus = Drive(log, clock)
    box = Box(image, [bus], clock=clock, sleep=clock.stand_still if sleeps else None)
    bus.ready(Frames(box.engine, 64))
    box.begin()
    state = box.engine.state
    began_ms = None
    for day in range(7 * weeks):
        bus.start()
        end_ms = BEGIN_MS + (day + 1) * DAY_MS
        while clock.ms < end_ms:
            clock.ms += IDLE_MS if bus.over else STEP_MS
            box.round()
            if began_ms is None and state[L.STARTED]:
                began_ms, scans = clock.ms, state[L.SCANS]
        if day % 7 == 6:
            gc.collect()
            missing_ms = clock.ms - began_ms - 100 * (state[L.SCANS] - scans)
            told = (state[L.SCANS], missing_ms, box.most_late_ms, gc.mem_alloc(), box.hazards.mask, box.sleeps)
            print(day // 7 + 1, *told)


run(sys.argv[1], sys.argv[2], int(sys.argv[3]), "sleep" in sys.argv)
