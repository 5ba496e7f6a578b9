"""A box under test: a clock that the test moves, a bus on which a drive is on, and parts that fail when told to."""

from array import array

from cellwarden import hazards as H
from cellwarden.app import Box
from cellwarden.blackbox.content import BOX_HAZARDS
from cellwarden.blackbox.folder import Folder
from cellwarden.blackbox.keys import FileKeys
from cellwarden.blackbox.recorder import recorder_in
from cellwarden.canbus import Bus
from cellwarden.core import catalogue
from cellwarden.core import layout as L

KEY = bytes(range(32))


class Clock:
    """A clock that a test moves."""

    def __init__(self, ms=5_000, wall_s=1_800_000_000):
        self.ms, self.wall_ms, self.skipped_ms = ms, wall_s * 1000, 0

    def now_ms(self):
        return self.ms + self.skipped_ms & L.MASK

    def real_ms(self):
        return self.wall_ms & L.MASK

    def skip_ms(self, ms):
        self.skipped_ms += ms

    def wall_s(self):
        return self.wall_ms // 1000

    def sleep_ms(self, ms):
        self.pass_time(ms)

    def pass_time(self, ms):
        self.ms += ms
        self.wall_ms += ms


class Player(Bus):
    """A live bus on which a simulated drive is on: frames come at their time on the clock."""

    def __init__(self, frames, clock):
        super().__init__()
        self.frames_left, self.clock, self.begin_ms, self.quiet = iter(frames), clock, clock.ms, False
        self.next = next(self.frames_left, None)
        self.fails = None

    def _read(self, batch, t_ms):
        if self.fails:
            raise self.fails
        while self.next and self.next[0] // 1000 + self.begin_ms <= self.clock.ms and not batch.full():
            _, _, can_id, data = self.next
            if not self.quiet:
                batch.put(t_ms, can_id, 0, data, 0, len(data))
            self.next = next(self.frames_left, None)


class Log:
    """A recorder that remembers what it took."""

    def __init__(self):
        self.records, self.told, self.fails, self.lost_frames, self.hazards = b"", [], None, 0, {}
        self.clocks, self.settled = [], 0
        self.chain = type("Chain", (), {"lost_records": 0, "boot": 1, "index": 0, "vehicle": b"LCWDEM0000000001"})

    def __call__(self, engine):
        self.engine, self.record = engine, array("i", bytes(4 * L.EVENT_SIZE))
        return self

    def drain(self, ring, n):
        self._may_fail()
        self.records += bytes(ring[0][: n * 20])
        return self.engine.drain(ring, n)

    def advance(self, t_ms):
        return self.engine.advance(t_ms)

    def work(self, t_ms):
        self._may_fail()
        while self.engine.take(self.record):
            self.told.append(tuple(self.record))
        return False

    def hazard(self, kind, begins, value):
        self.told.append((0, H.FIRST + kind - BOX_HAZARDS, 0, begins and H.ROWS[kind - BOX_HAZARDS][1], 0, value))

    def clock(self, seconds, ms, source):
        self.clocks.append(seconds)

    def settle(self, t_ms):
        self._may_fail()
        self.settled += 1
        return True

    def abandon(self):
        self._may_fail()

    def _may_fail(self):
        if self.fails:
            raise self.fails


class Sink:
    """An output."""

    def __init__(self):
        self.told, self.fails = [], None

    def event(self, record):
        self._may_fail()
        self.told.append(tuple(record))

    def update(self, box, t_ms):
        self._may_fail()

    def _may_fail(self):
        if self.fails:
            raise self.fails


class Dog:
    def __init__(self):
        self.fed = 0

    def feed(self):
        self.fed += 1


class Rig:
    def __init__(self, image, frames, clock=None, **parts):
        self.clock = clock or Clock()
        self.bus = Player(frames, self.clock)
        self.log, self.out, self.dog = Log(), Sink(), Dog()
        parts = {"recorder": self.log, "outputs": (self.out,), "watchdog": self.dog} | parts
        self.box = Box(image, [self.bus], clock=self.clock, **parts)

    def play(self, seconds, step_ms=10):
        for _ in range(int(1000 * seconds) // step_ms):
            self.clock.pass_time(step_ms)
            while self.box.round() and self.bus.next and self.bus.next[0] // 1000 + self.bus.begin_ms <= self.clock.ms:
                pass
        return self


def rules_told(told):
    names = [*catalogue.RULES, *[""] * (H.FIRST - len(catalogue.RULES)), *[name for name, _ in H.ROWS]]
    return [(names[event[1]], event[3]) for event in told]


def a_log(path, image):
    path.mkdir()
    folder = Folder(str(path))
    FileKeys(folder).provision(KEY)
    return recorder_in(folder, b"LCWDEM0000000001", image)
