"""Storage that is full, slow or failing is a hazard that is told; the newest is kept, and what was lost is counted."""

import itertools
import random
import struct

import pytest
from cellwarden.blackbox import content as C
from cellwarden.blackbox import form as F
from cellwarden.blackbox import unpack as U
from cellwarden.blackbox.folder import FULL, Folder
from cellwarden.core import layout as L
from cellwarden_tools.blackbox.verify import Verification
from cellwarden_tools.compiler.image import compile_profile
from cellwarden_tools.simulator import DEMO_PROFILE
from cellwarden_tools.simulator.run import simulate
from recorded import STRANGE, Box, Replayed, chain_records, verified
from story import FIRST_KEY, VEHICLE

EIO = 5


class BadFolder(Folder):
    """Its storage fails with `error` at each `period`-th operation while `bad`."""

    def __init__(self, path):
        super().__init__(str(path))
        self.bad = self.error = None
        self._operations = itertools.count(1)

    def _operation(self):
        if self.bad and next(self._operations) % self.bad == 0:
            raise OSError(self.error, "as asked")

    def append(self, file, data):
        self._operation()
        super().append(file, data)

    def sync(self, file):
        self._operation()
        super().sync(file)

    def create(self, name):
        self._operation()
        return super().create(name)

    def remove(self, name):
        self._operation()
        super().remove(name)


@pytest.fixture(scope="module")
def demo():
    return compile_profile(DEMO_PROFILE).image


@pytest.fixture(scope="module")
def frames():
    return [(t_us, 0, can_id, data) for t_us, _, can_id, data in simulate("demo", DEMO_PROFILE, 1, 4)]


def told_hazards(found):
    return [struct.unpack(C.HAZARD, r.body)[:2] for r in chain_records(found) if r.type == F.HAZARD_TYPE]


@pytest.mark.parametrize(("error", "hazard"), [(FULL, 1), (EIO, 3)], ids=["full", "failing"])
@pytest.mark.parametrize("period", [1, 7, 50])
def test_a_storage_that_fails_for_a_while(tmp_path, demo, frames, error, hazard, period):
    folder = BadFolder(tmp_path)
    box = Box(tmp_path, demo, folder)
    third = len(frames) // 3
    box.feed(frames[:third])
    folder.bad, folder.error = period, error
    box.feed(frames[third : third * 2])
    assert (hazard, 1) in [what[:2] for what in box.hazards], "the application hears of it at once"
    folder.bad = None
    box.feed(frames[third * 2 :])
    box.keep()
    assert box.shutdown()
    # Where it was full the oldest segment went for the newest, unstated: `verify` then says what is missing.
    found = verified(tmp_path) if error != FULL else Verification(tmp_path, FIRST_KEY)
    assert found.intact
    hazards = told_hazards(found)
    assert hazards[0] == (hazard, 1) and hazards[-1][1] == 0, "and the log says when it began and that it is over"
    assert not box.recorder.hazards
    lost = [struct.unpack(F.LOST, r.body) for r in chain_records(found) if r.type == F.LOST_TYPE]
    assert lost and lost[-1] == (box.recorder.lost_frames, 0, box.recorder.chain.lost_records)
    assert period > 1 or lost[-1][0] > third // 2
    newest = max(found.annexes.proven)
    end_ms = frames[-1][0] // 1000
    assert max(r.t_ms for r in found.annexes.records(newest)) > end_ms - 15_000


def test_a_burst_of_unknown_frames_that_comes_at_once_costs_no_known_frame(tmp_path, demo, frames):
    box = Box(tmp_path, demo)
    box.keep()
    box.ring = box.engine.ring(256)
    own, noise = iter(frames), random.Random("burst")
    burst = [
        (n * 40, *next(own)[1:]) if n % 50 == 0 else (n * 40, 0, STRANGE, noise.randbytes(8)) for n in range(2000)
    ]  # of 80 ms: nothing is stored meanwhile
    box.feed(burst, most=256)
    box.now_ms += 100
    box.work()
    assert not box.recorder.lost_frames and box.shutdown()
    found = verified(tmp_path)
    kept = [
        item for number in found.annexes.proven for items in [U.FrameItems()]
        for record in found.annexes.records(number) if record.type == F.FRAMES_TYPE
        for item in items.unpack(record.body)
    ]  # fmt: skip
    known = [(bus, can_id) for bus, _, can_id in demo.names["messages"]]
    own = [can_id for _, bus, can_id, _ in burst if (bus, can_id) in known]
    assert own and [item[2] for item in kept if (item[3], item[2]) in known] == own
    assert sum(item[2] for item in kept if item[0] == C.UNKNOWN) > 1000


def test_a_storage_that_stands_still_is_slow_and_the_known_frames_have_the_room(tmp_path, demo, frames):
    box = Box(tmp_path, demo)
    box.keep()
    strange = [
        f for t_us, bus, can_id, data in frames[:30_000] for f in ((t_us, bus, can_id, data), (t_us, bus, 5, data))
    ]
    box.feed(strange[:8_000])
    now = box.now_ms
    box.work = lambda: None  # nothing is stored for three seconds
    stalled = next(n for n, frame in enumerate(strange) if frame[0] // 1000 > now + 3_000)
    box.feed(strange[8_000:stalled])
    del box.work
    box.feed(strange[stalled:])
    assert [what[:2] for what in box.hazards] == [(2, 1), (2, 0)] and box.recorder.lost_frames
    assert box.shutdown()
    found = verified(tmp_path)
    assert told_hazards(found) == [(2, 1), (2, 0)]
    kinds = [
        (item[0], item[2]) for number in sorted(found.annexes.proven) for items in [U.FrameItems()]
        for record in found.annexes.records(number) if record.type == F.FRAMES_TYPE
        for item in items.unpack(record.body)
    ]  # fmt: skip
    unknown = sum(count for kind, count in kinds if kind == C.UNKNOWN)
    gaps = sum(count for kind, count in kinds if kind == C.GAP)
    assert unknown and gaps == box.recorder.lost_frames
    assert sum(kind == 0 for kind, _ in kinds) + unknown + gaps == len(strange)


def test_frames_may_be_chosen_and_are_still_replayed_to_the_bit(tmp_path, demo, frames):
    mixed = []
    for n, (t_us, bus, can_id, data) in enumerate(frames[:40_000]):
        mixed += [(t_us, bus, can_id, data), (t_us, bus, 5 + n % 3, data)][: 1 + n % 2]
    sizes = {}
    for choice in ("all", "used"):
        path = tmp_path / choice
        path.mkdir()
        box = Box(path, demo, frames=choice)
        box.feed(mixed)
        box.keep()
        assert box.shutdown()
        found = verified(path)
        assert Replayed(found, demo).checks >= 1
        sizes[choice] = sum(p.stat().st_size for p in found.annexes.paths.values())
    assert sizes["used"] < sizes["all"] * 3 // 4


def test_none_of_the_frames_where_none_are_wanted(tmp_path, demo, frames):
    box = Box(tmp_path, demo, frames="none")
    box.feed(frames[:20_000])
    box.keep()
    assert box.shutdown()
    found = verified(tmp_path)
    assert not [r for number in found.annexes.proven for r in found.annexes.records(number) if r.type == F.FRAMES_TYPE]


def test_annexes_have_their_bytes_and_no_more(tmp_path, demo, frames):
    """However many alarms: the oldest annexes go, and the log says so."""
    box = Box(tmp_path, demo, annexes_bytes=200_000, annex_bytes=40_000)
    box.keep()
    most = 0
    for first in range(0, len(frames), 2000):
        box.feed(frames[first : first + 2000])
        most = max(most, sum(p.stat().st_size for p in tmp_path.glob("*.cwf")))
    assert box.shutdown()
    found = verified(tmp_path)
    assert 100_000 < most < 200_000 + 45_000
    assert found.annexes.dropped and not set(found.annexes.dropped) & set(found.annexes.paths)
    assert max(found.annexes.paths) > max(found.annexes.dropped)


def test_what_others_give_is_in_the_log(tmp_path, demo):
    box = Box(tmp_path, demo)
    box.recorder.clock(1_800_000_000, 250, 1)
    box.recorder.security("attack suspected", VEHICLE, 1_800_000_001, b"thirty strange identifiers")
    box.recorder.acknowledgement(7, False, bytes(32))
    box.recorder.uploaded(3)
    assert box.shutdown()
    told = {r.type: r.body for r in chain_records(verified(tmp_path))}
    assert struct.unpack(F.CLOCK, told[F.CLOCK_TYPE]) == (1_800_000_000, 250, 1)
    seconds, vehicle, kind = struct.unpack_from(C.SECURITY, told[F.SECURITY_TYPE])
    assert (seconds, vehicle.rstrip(b"\0"), C.SECURITY_EVENTS[kind]) == (1_800_000_001, VEHICLE, "attack suspected")
    assert told[F.SECURITY_TYPE][struct.calcsize(C.SECURITY) :] == b"thirty strange identifiers"
    assert struct.unpack(C.ACKNOWLEDGEMENT, told[F.ACKNOWLEDGEMENT_TYPE]) == (7, 0, bytes(32))
    assert struct.unpack(C.UPLOAD, told[F.UPLOAD_TYPE]) == (3,)


def test_events_that_nobody_read_in_time_are_counted(tmp_path, demo):
    box = Box(tmp_path, demo)
    box.engine.events[L.E_LOST] = 4
    box.silence(20_000)
    assert box.shutdown()
    lost = [struct.unpack(F.LOST, r.body) for r in chain_records(verified(tmp_path)) if r.type == F.LOST_TYPE]
    assert lost[-1] == (0, 4, 0)
