"""The Engine: one image, its arrays, and nothing lost in silence."""

import random
from array import array

import pytest
from cellwarden.core import layout as L
from cellwarden.engine import Engine
from rig import changed
from test_checked import check_invariants
from test_time import judged, traffic
from vehicles import DECODERS


def test_an_image_of_another_layout_is_refused(demo):
    with pytest.raises(ValueError, match=f"image format {L.FORMAT + 1}, this core reads {L.FORMAT}"):
        Engine(changed(demo.image, header={L.P_FORMAT: L.FORMAT + 1}))


def test_the_state_is_the_sections_and_begins_unknown(demo):
    engine = Engine(demo.image)
    assert sum(len(engine.section(name)) for name in L.STATE_SECTIONS) == len(engine.state)
    signals, features, clock = map(engine.section, ("signals", "features", "clock"))
    assert signals[L.ALWAYS] == 0
    assert {value for slot, value in enumerate(signals) if slot != L.ALWAYS} == {L.NA}, "a value before any frame"
    columns = [set(features[at : at + L.FEATURES]) for at in (L.VALUE, L.WHERE, L.SLOT, L.COMPLETE)]
    assert columns == [{L.NA}, {0}, {L.ALWAYS}, {1}], "a finding before any frame"
    unknown = {L.QUIET_LOW_MA, L.STEADY_LOW_MA, L.PAIR_MA, L.STEP_MV}
    assert all(value == (L.NA if at in unknown else 0) for at, value in enumerate(clock))
    told = ("signals", "features", "clock")
    assert not any(any(engine.section(name)) for name in L.STATE_SECTIONS if name not in told)
    assert sum(len(engine.section(name)) for name in L.PARAMS_SECTIONS) == len(demo.image.params)
    assert bytes(engine.state) == bytes(Engine(demo.image).state)


def test_an_overrun_of_the_event_ring_is_counted_and_drops_the_newest(demo):
    engine = Engine(demo.image, event_capacity=4)
    engine.advance(0)
    clock, groups, signals = map(engine.section, ("clock", "groups", "signals"))
    sample = engine.section("owners")[L.HVIL_OK] * L.GROUP_SIZE + L.ARRIVALS

    def stand(hvil_ok):
        signals[L.HVIL_OK] = hvil_ok
        for _ in range(35):
            groups[sample] += 1
            engine.advance(clock[L.DUE_MS])

    for i in range(7):
        stand(i % 2)
    assert engine.state[L.EVENTS] == 7
    assert [engine.events[i] for i in (L.E_HEAD, L.E_TAIL, L.E_LOST)] == [4, 0, 3], "alarms were lost in silence"
    record, told = array("i", [0] * L.EVENT_SIZE), []
    while engine.take(record):
        told.append((record[L.EVENT_BEFORE], record[L.EVENT_LEVEL]))
    assert told == [(0, 3), (3, 0), (0, 3), (3, 0)]
    stand(1)
    assert engine.take(record) and (record[L.EVENT_BEFORE], record[L.EVENT_LEVEL]) == (3, 0), "the ring stayed shut"


@pytest.mark.parametrize("block", [1, 3, 64, 500])
def test_draining_a_ring_is_feeding_frame_by_frame(demo, block):
    frames = list(traffic(demo, 3, 500))
    one, many = Engine(demo.image), Engine(demo.image)
    ring = many.ring(block)
    bytes8, int32, _ = ring
    known = 0
    for at in range(0, len(frames), block):
        part = frames[at : at + block]
        for i, (t, can_id, data) in enumerate(part):
            one.frame(t, can_id, data)
            start = i * many.record_bytes
            int32[start // 4], int32[start // 4 + 1] = t, can_id
            bytes8[start + L.RECORD_CHANNEL], bytes8[start + L.RECORD_LENGTH] = 0, len(data)
            bytes8[start + L.RECORD_DATA : start + L.RECORD_DATA + len(data)] = data
        known += many.drain(ring, len(part))
    assert judged(one) == judged(many) and known == one.state[L.FRAMES] == 500


def test_draining_nothing_does_nothing(demo):
    engine = Engine(demo.image)
    before = judged(engine)
    assert engine.drain(engine.ring(4), 0) == 0 and judged(engine) == before


def test_a_frame_longer_than_a_record_is_cut_and_not_written_past_it(demo):
    engine = Engine(demo.image)
    engine.frame(0, 0x7FF, bytes(64))
    assert engine.record_bytes == L.RECORD_DATA + 8 and engine.state[L.IGNORED] == 1


def test_unknown_identifiers_are_counted_apart(demo):
    engine = Engine(demo.image)
    for can_id in (0, 1, 0x7FF, 0x186 | L.EXT, (1 << 30) - 1):
        engine.frame(0, can_id, bytes(8))
    assert (engine.state[L.FRAMES], engine.state[L.IGNORED]) == (0, 5)


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("seed", range(3))
def test_any_bytes_at_any_time_leave_the_state_whole(name, seed, demo, compile_text):
    compiled = demo if name == "demo" else compile_text(*DECODERS[name])
    rng = random.Random(f"{name} {seed}")
    ids = [message.can_id for _, message, _ in compiled.plan.messages]
    engine = Engine(compiled.image)
    clock = engine.section("clock")
    fed = 0
    for _ in range(3000):
        can_id = rng.choice(ids) if rng.random() < 0.9 else rng.randrange(1 << 31)
        t = (
            (clock[L.NOW_MS] - clock[L.OFFSET_MS] + rng.choice((0, 1, 5, 50))) & L.MASK
            if rng.random() < 0.995
            else rng.randrange(1 << 30)
        )
        engine.frame(t, can_id, rng.randbytes(rng.randrange(65)), rng.randrange(3))
        fed += not can_id & L.NOTICE
    check_invariants(compiled.image, engine)
    assert engine.state[L.FRAMES] + engine.state[L.IGNORED] == fed, "a frame is missing in the account"


def test_two_engines_on_one_image_share_nothing(demo):
    one, two = Engine(demo.image), Engine(demo.image)
    params = bytes(demo.image.params)
    for t, can_id, data in traffic(demo, 1, 200):
        one.frame(t, can_id, data)
    assert bytes(two.state) == bytes(Engine(demo.image).state)
    assert bytes(demo.image.params) == params, "a run changed the image"
