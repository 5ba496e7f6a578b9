"""What the recorder's tests share: a box that lives on a folder, and a reader that replays what it recorded."""

import hashlib
import itertools
import random

from cellwarden.blackbox import content as C
from cellwarden.blackbox import form as F
from cellwarden.blackbox import unpack as U
from cellwarden.blackbox.chain import Chain
from cellwarden.blackbox.folder import Folder
from cellwarden.blackbox.keys import FileKeys
from cellwarden.blackbox.recorder import Recorder
from cellwarden.blackbox.unpack import last_snapshot
from cellwarden.core import layout as L
from cellwarden.engine import Engine
from cellwarden_tools.blackbox.read import opened, pieces
from cellwarden_tools.blackbox.verify import Verification
from story import FIRST_KEY, VEHICLE

STRANGE = 0x7F0  # an identifier that no vehicle here sends


class Box:
    """One start of a box on a folder; told: its events as the application heard them."""

    def __init__(self, path, image, folder=None, restore=False, start_ms=0, capacity=1 << 20, **options):
        self.image = image
        folder = folder or Folder(str(path))
        if not any(name.startswith("key.") for name in folder.names()):
            FileKeys(folder).provision(FIRST_KEY)
        self.engine = Engine(image)
        if restore:
            state = last_snapshot(folder, bytes.fromhex(image.sha256), len(self.engine.state))
            if state:
                self.engine.restore(state)
        chain = Chain(folder, FileKeys(folder), VEHICLE, bytes.fromhex(image.sha256), 0, capacity, 1 << 16)
        self.told, self.hazards, self.frames = [], [], 0
        known = [(bus, can_id) for bus, _, can_id in image.names["messages"]]
        self.recorder = Recorder(
            self.engine, chain, folder, known=known, on_event=lambda event: self.told.append(tuple(event)),
            on_hazard=lambda *what: self.hazards.append(what), **options,
        )  # fmt: skip
        self.ring = self.engine.ring(64)
        self.start_ms = self.now_ms = start_ms  # of the frames' clock when the box started
        self.back_ms = 0
        self.work()

    def keep(self):
        """As after an alarm without an end: no annex is let go that is there or comes."""
        self.recorder._raised()
        self.recorder._until_ms = 1 << 40

    def work(self, most=1000):
        while most and self.recorder.work(self.now_ms - self.start_ms):
            most -= 1

    def feed(self, frames, most=64, step_ms=100):
        """Frames (t_us, bus, can_id, data) in lots of up to `most`; work is done each step_ms."""
        chance, frames = random.Random(5), list(frames)
        at = 0
        while at < len(frames):
            lot = frames[at : at + chance.randint(1, most)]
            t_ms = lot[0][0] // 1000
            lot = list(itertools.takewhile(lambda frame: abs(frame[0] // 1000 - t_ms) < step_ms, lot))  # noqa: B023
            at += len(lot)
            view, r32, _ = self.ring
            size = self.engine.record_bytes
            for row, (t_us, bus, can_id, data) in enumerate(lot):
                r32[row * size // 4] = t_us // 1000 & L.MASK
                r32[row * size // 4 + 1] = can_id
                view[row * size + L.RECORD_CHANNEL], view[row * size + L.RECORD_LENGTH] = bus, len(data)
                view[row * size + L.RECORD_DATA : row * size + L.RECORD_DATA + len(data)] = data
            self.recorder.drain(self.ring, len(lot))
            self.frames += len(lot)
            if t_ms + self.back_ms < self.now_ms - 1000:  # the frames' clock was set back, the box's own was not
                self.back_ms = self.now_ms - t_ms
            if t_ms + self.back_ms >= self.now_ms + step_ms:
                self.now_ms = t_ms + self.back_ms
                self.work()

    def silence(self, ms, step_ms=500):
        end_ms = self.now_ms + ms
        while self.now_ms < end_ms:
            self.now_ms += step_ms
            self.recorder.advance(self.now_ms - self.back_ms)
            self.work()

    def shutdown(self):
        return self.recorder.shutdown(self.now_ms - self.start_ms)


def verified(path):
    found = Verification(path, FIRST_KEY)
    assert found.intact and found.complete, found.faults[:3]
    return found


def chain_records(found):
    """Each record of the segments, in order."""
    for path in found.paths.values():
        with opened(path) as data:
            yield from [piece.record for piece in pieces(data) if piece.record is not None]


class Replayed:
    """What the recorded frames give, annex by annex, in the very core.

    events: of all annexes; states: {(boot, t_ms): state} at each snapshot as recorded; checks: how often a replayed
    state was compared with a recorded one
    """

    def __init__(self, found, image):
        self.events, self.states, self.checks, self.frames = [], {}, 0, 0
        engine, before, event = None, None, [0] * L.EVENT_SIZE
        for number in sorted(found.annexes.proven):
            items, parts = U.FrameItems(), U.SnapshotParts()
            for record in found.annexes.records(number):
                if record.type == F.SNAPSHOT_TYPE:
                    digest = U.digest_of(record.body)
                    state = None if digest else parts.unpack(record.body)
                    if digest:
                        assert hashlib.sha256(engine.snapshot()).digest() == digest
                        self.checks += 1
                        continue
                    assert state
                    self.states[record.boot, record.t_ms] = state
                    if engine is not None and before == number - 1:
                        assert engine.snapshot() == state, f"annex {number:x}"
                        self.checks += 1
                    engine = Engine(image)
                    engine.restore(state)
                elif record.type == F.FRAMES_TYPE:
                    for kind, clock, name, channel, data in items.unpack(record.body):
                        if kind == C.ADVANCE:
                            engine.advance(clock)
                        elif kind == C.NOTED:
                            pass
                        elif kind == C.UNKNOWN:
                            for _ in range(name):
                                engine.frame(clock, STRANGE, b"")
                        elif kind == 0:
                            engine.frame(clock, name, data, channel)
                            self.frames += 1
                        else:
                            raise AssertionError("frames are missing")
                        while engine.take(event):
                            self.events.append(tuple(event))
            before = number
