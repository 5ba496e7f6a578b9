"""Time: a grid of scans, made by the frames' stamps alone, that nothing moves back."""

import random

import checked
import pytest
from cellwarden.core import layout as L
from cellwarden.engine import Engine
from hypothesis import given, settings
from hypothesis import strategies as st
from rig import CELL_MV, PROBE_DDEGC, SCAN_MS, FrameRig, Rig, Sender, healthy_signals

LAST = L.MASK


def wanted(compiled):
    """What a healthy vehicle's signals read, by slot."""
    params = compiled.image.params
    values = [L.NA] * L.SCALARS + [CELL_MV] * params[L.P_CELLS] + [PROBE_DDEGC] * params[L.P_PROBES]
    for slot, value in healthy_signals(compiled.image).items():
        values[slot] = value
    return values


def traffic(compiled, seed, n=400, gaps=(0, 1, 3, 10, 40, 99, 100, 101, 250, 700), start_ms=0):
    """n frames (t_ms, id, data) of a vehicle that wanders over its limits."""
    rng = random.Random(seed)
    sender, values = Sender(compiled), wanted(compiled)
    t = start_ms
    for _ in range(n):
        t += rng.choice(gaps)
        if rng.random() < 0.2:
            values[L.SCALARS] = rng.choice((3700, 4300, 4400, 2000, L.NA))
            values[L.HVIL_OK] = rng.choice((0, 1, 1))
            values[L.SOC_PERMILLE] = rng.choice((500, 10, L.NA))
        can_id, data, _ = sender.frame(rng.randrange(len(sender.groups)), values)
        yield t & L.MASK, can_id, data


def judged(engine):
    return engine.state.tobytes(), engine.events.tobytes()


def replay(image, frames, end_ms, extra=()):
    """An engine fed with frames; extra: {frame number: times to call advance with before it}."""
    engine = Engine(image)
    for i, (t, can_id, data) in enumerate(frames):
        for early in extra[i] if i < len(extra) else ():
            engine.advance(early)
        engine.frame(t, can_id, data)
    engine.advance(end_ms)
    return engine


@pytest.mark.parametrize("start_ms", [0, 1, 50, 99, 100, 101, 12_345, LAST - 49])
def test_scans_run_on_the_grid(demo, start_ms):
    engine = Engine(demo.image)
    assert engine.advance(start_ms) == 0, "the first stamp only starts the clock"
    assert engine.section("clock")[L.DUE_MS] == (start_ms // SCAN_MS + 1) * SCAN_MS & L.MASK
    before = (engine.section("clock")[L.DUE_MS] - 1) & L.MASK
    assert engine.advance(before) == 0 and engine.advance(before + 1 & L.MASK) == 1
    assert engine.advance(before + 1 & L.MASK) == 0, "a repeated stamp ran a scan twice"
    assert engine.advance(before + 1001 & L.MASK) == 10
    assert engine.state[L.SCANS] == 11 and engine.state[L.TIME_BACKWARD] == 0


def test_a_due_scan_runs_before_the_frame_is_decoded(demo):
    rig = FrameRig(demo)
    rig.wanted[L.HVIL_OK] = 0
    can_id, data, _ = rig.sender.frame(rig.engine.section("owners")[L.HVIL_OK], rig.wanted)
    due = rig.clock[L.DUE_MS]
    rig.engine.frame(due, can_id, data)
    assert rig.clock[L.SCANS] == 2 and rig.feature(L.F_HVIL_OPEN) == 0, (
        "a frame of the next scan was judged in this one"
    )
    assert rig[L.HVIL_OK] == 0
    rig.engine.frame(due + 99, 0x7FF, b"")
    assert rig.feature(L.F_HVIL_OPEN) == 0
    rig.engine.frame(due + 100, 0x7FF, b"")
    assert rig.feature(L.F_HVIL_OPEN) == 1


@settings(max_examples=15)
@given(
    st.integers(0, 1 << 16),
    st.lists(st.lists(st.integers(0, 1000), max_size=3), max_size=150),
    st.sampled_from([0, LAST - 9000]),
)
def test_verdicts_do_not_depend_on_when_the_clock_was_asked(small, seed, parts, start_ms):
    frames = list(traffic(small, seed, 150, start_ms=start_ms))
    end = (frames[-1][0] + 35_000) & L.MASK
    extra, before = [], frames[0][0]
    for i, (t, _, _) in enumerate(frames):
        gap = (t - before) & L.MASK
        told = parts[i] if i < len(parts) and i else []
        extra.append([(before + gap * part // 1000) & L.MASK for part in sorted(told)])
        before = t
    plain, asked = replay(small.image, frames, end), replay(small.image, frames, end, extra)
    assert judged(plain) == judged(asked), "a replay on the desk says something else than the box did"


@pytest.mark.parametrize("back_ms", [1, 99, 100, 999])
def test_a_small_step_back_is_counted_and_moves_nothing(demo, back_ms):
    rig = Rig(demo.image, start_ms=5000)
    rig.engine.advance(7050)
    before = [rig.clock[column] for column in (L.NOW_MS, L.DUE_MS, L.OFFSET_MS, L.SCANS)]
    assert rig.engine.advance(7050 - back_ms) == 0
    rig.engine.frame(7050 - back_ms, 0x7FF, b"")
    assert [rig.clock[column] for column in (L.NOW_MS, L.DUE_MS, L.OFFSET_MS, L.SCANS)] == before
    assert rig.clock[L.TIME_BACKWARD] == 2, "a clock that runs back goes unnoticed"
    rig.engine.advance(7100)
    assert rig.clock[L.NOW_MS] == 7100, "time stood still after a small step back"


@pytest.mark.parametrize("back_ms", [1000, 5000, 3_600_000])
@pytest.mark.parametrize("by_frame", [False, True])
def test_a_large_step_back_goes_on_from_there_on_the_frames_own_clock(demo, back_ms, by_frame):
    rig = Rig(demo.image, start_ms=10_000_000)
    now = rig.clock[L.NOW_MS]
    stepped = now - back_ms
    if by_frame:
        rig.engine.frame(stepped, 0x7FF, b"")
    else:
        rig.engine.advance(stepped)
    assert (rig.clock[L.NOW_MS], rig.clock[L.OFFSET_MS], rig.clock[L.TIME_BACKWARD]) == (now, back_ms, 1)
    rig[L.HVIL_OK] = 0
    rig.scan(4)
    (event,) = rig.of("hvil_open")
    assert event.t_ms == stepped + 400, "the record names a time that the log does not have"
    assert rig.clock[L.NOW_MS] == now + 400, "time moved back"


def test_a_frame_that_steps_back_is_still_decoded_now(demo):
    rig = FrameRig(demo, start_ms=100_000)
    rig.wanted[L.SOC_PERMILLE] = 400
    can_id, data, _ = rig.sender.frame(rig.engine.section("owners")[L.SOC_PERMILLE], rig.wanted)
    now = rig.clock[L.NOW_MS]
    rig.engine.frame(now - 60_000, can_id, data)
    assert rig[L.SOC_PERMILLE] == 400 and rig.clock[L.OFFSET_MS] == 60_000
    assert rig.groups[rig.engine.section("owners")[L.SOC_PERMILLE] * L.GROUP_SIZE + L.STAMP_MS] == now


def test_the_clock_wraps_without_a_mark(demo):
    """The same minutes, once in the middle of the clock and once over its end, on the same grid."""
    stories = []
    for start in (5_000_024, (1 << 30) - 20_000):  # the grid after the wrap lies 24 ms off the hundreds
        frames = list(traffic(demo, 7, 500, start_ms=start))
        engine = replay(demo.image, frames, (frames[-1][0] + 9000) & L.MASK)
        events = list(engine.events)
        for at in range(L.E_FIRST, L.E_FIRST + engine.events[L.E_HEAD] * L.EVENT_SIZE, L.EVENT_SIZE):
            events[at] = (events[at] - start) & L.MASK
        clock = list(engine.section("clock"))
        clock[L.NOW_MS], clock[L.DUE_MS] = ((clock[i] - start) & L.MASK for i in (L.NOW_MS, L.DUE_MS))
        for i in range(L.RING_MS, L.RING_MS + clock[L.RING]):
            clock[i] = (clock[i] - start) & L.MASK
        signals = list(engine.section("signals"))
        stories.append((events, clock, signals, list(engine.section("rules"))))
    assert frames[0][0] > frames[-1][0], "the clock did not wrap"
    if stories[0][1][L.DUE_MS] == stories[1][1][L.DUE_MS]:
        assert stories[0] == stories[1], "the day the clock wraps is judged otherwise"
    assert stories[0][0][L.E_HEAD] == stories[1][0][L.E_HEAD] > 0


def without_skip(image):
    """The image on a core that runs every due scan."""
    return checked.image(image, watch=False, replace=[("scan", "if not int(scan(box)):", "if int(scan(box)) < 0:")])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("start_ms", [0, LAST - 70_000])
def test_skipping_idle_scans_leaves_what_running_them_leaves(small, seed, start_ms):
    slow_image, slow_advance = without_skip(small.image)
    gaps = (1, 10, 100, 450, 900, 3000, 8000, 80_000)
    quick, slow = Engine(small.image), Engine(slow_image)
    slow.advance = lambda t: slow_advance(slow.box, (t + slow.section("clock")[L.OFFSET_MS]) & L.MASK)
    for t, can_id, data in traffic(small, seed, 40, gaps, start_ms):
        for engine in (quick, slow):
            engine.frame(t, can_id, data)
        assert judged(quick) == judged(slow), "a parked car's scans were skipped though they had something to say"
    for rest in (7, 99, 100, 31_000, 200_000):
        end = (t + rest) & L.MASK
        assert quick.advance(end) == slow.advance(end)
        assert judged(quick) == judged(slow)


def test_a_night_asleep_is_counted_as_if_every_scan_had_run(small):
    """Two hours from the last frame on, with a notice in each: the hours, the time asleep and what the notice shows."""
    slow_image, slow_advance = without_skip(small.image)
    quick, slow = Engine(small.image), Engine(slow_image)
    slow.advance = lambda t: slow_advance(slow.box, (t + slow.section("clock")[L.OFFSET_MS]) & L.MASK)
    for t, can_id, data in traffic(small, 5, 40):
        for engine in (quick, slow):
            engine.frame(t, can_id, data)
    for hour, kind in ((1, L.NOTICE_DROPPED), (2, L.NOTICE_BUS_OFF)):
        for engine in (quick, slow):
            engine.notice(t + hour * 3_000_000, kind, 1)
            engine.advance(t + hour * 3_600_000)
        assert judged(quick) == judged(slow), "a night that was skipped is not the night that was"
        assert (quick.state[L.MODE], quick.state[L.HOURS]) == (L.ASLEEP, hour)
    # silent once the last message is stale, 3 s at most, and asleep after ten seconds of that
    assert 7_200_000 - 13_100 <= quick.state[L.ASLEEP_SCANS] * SCAN_MS <= 7_200_000 - 10_000


@pytest.mark.parametrize("kind", [L.NOTICE_DROPPED, L.NOTICE_BUS_OFF, L.NOTICE_ACK, L.NOTICE_SLEEP])
def test_a_notice_among_frames_judged_at_once_is_judged_at_its_own_time(small, kind):
    frames = list(traffic(small, 5, 40))
    frames += [(frames[-1][0] + 7, *frames[-1][1:]), (frames[-1][0] + 7, L.NOTICE | kind, b"\1")]
    single, at_once = Engine(small.image), Engine(small.image)
    ring = at_once.ring(len(frames))
    for i, (t, can_id, data) in enumerate(frames):
        single.frame(t, can_id, data)
        at = i * at_once.record_bytes
        ring[1][at // 4], ring[1][at // 4 + 1] = t, can_id
        ring[0][at + L.RECORD_LENGTH] = len(data)
        ring[0][at + L.RECORD_DATA : at + L.RECORD_DATA + len(data)] = data
    at_once.drain(ring, len(frames))
    assert judged(single) == judged(at_once), "a replay in blocks says something else than the box did"


def test_days_of_silence_are_counted_and_not_run(demo):
    rig = Rig(demo.image, healthy=False)
    assert rig.engine.advance(L.HALF - 1) == (L.HALF - 1) // SCAN_MS
    assert rig.clock[L.SCANS] == (L.HALF - 1) // SCAN_MS and rig.clock[L.NOW_MS] == L.HALF - 1
