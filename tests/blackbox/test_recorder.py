"""What the recorder keeps is what the core saw: its frames, replayed, give its events, its snapshots, its digests."""

import hashlib
import itertools
import random
import struct
from array import array
from pathlib import Path

import pytest
from cellwarden.acknowledge import acknowledge, challenge, hmac_sha256
from cellwarden.blackbox import content as C
from cellwarden.blackbox import form as F
from cellwarden.blackbox import unpack as U
from cellwarden.core import layout as L
from cellwarden_tools.blackbox.verify import Verification
from cellwarden_tools.compiler.image import compile_profile
from cellwarden_tools.simulator import DEMO_PROFILE
from cellwarden_tools.simulator.run import simulate
from recorded import STRANGE, Box, Replayed, chain_records, verified
from story import FIRST_KEY

RULE, BEFORE, LEVEL = L.EVENT_RULE, L.EVENT_BEFORE, L.EVENT_LEVEL


@pytest.fixture(scope="module")
def demo():
    return compile_profile(DEMO_PROFILE).image


@pytest.fixture(scope="module")
def frames():
    """Four minutes on a bad bus; with frames that the vehicle image does not know."""
    return spoiled([(t_us, 0, can_id, data) for t_us, _, can_id, data in simulate("demo", DEMO_PROFILE, 1, 4)])


@pytest.fixture(scope="module")
def calm(tmp_path_factory, demo):
    """(a log with one alarm after six minutes, its frames)"""
    path = tmp_path_factory.mktemp("calm")
    frames = [(t_us, 0, can_id, data) for t_us, _, can_id, data in simulate("demo", DEMO_PROFILE, 1, 9)]
    box = Box(path, demo)
    box.feed(frames)
    assert box.shutdown()
    return path, frames


def spoiled(frames):
    """Strange identifiers, stamps that run back a little and much, a frame that is too short."""
    chance = random.Random(3)
    out, back_us = [], 0
    for n, (t_us, bus, can_id, data) in enumerate(frames):
        if n == len(frames) * 2 // 3:
            back_us = 4_700_000  # the clock was set
        t_us -= back_us
        if chance.random() < 0.3:
            out.append((t_us, 0, STRANGE + chance.randrange(3), bytes([n & 255] * chance.randrange(9))))
        if chance.random() < 0.0005:
            t_us -= chance.randrange(900_000)
        out.append((t_us, bus, can_id, data[:3] if chance.random() < 0.0005 else data))
    return out


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, demo, frames):
    path = tmp_path_factory.mktemp("log")
    box = Box(path, demo)
    box.feed(frames)
    box.recorder.notice(box.now_ms, L.NOTICE_DROPPED)
    assert box.shutdown()
    return path, box


def test_the_frames_replayed_give_the_events_and_the_digests(recorded, demo):
    path, box = recorded
    found = verified(path)
    again = Replayed(found, demo)
    assert again.checks >= 3 and again.frames > 50_000
    told = [U.unpack_event(record.body) for record in chain_records(found) if record.type == F.EVENT_TYPE]
    assert told == box.told and any(event[LEVEL] > event[BEFORE] for event in told)
    assert again.events and [event for event in told if event in set(again.events)] == again.events
    chain = {
        (r.boot, r.t_ms): U.digest_of(r.body) or hashlib.sha256(U.SnapshotParts().unpack(r.body)).digest()
        for r in chain_records(found) if r.type == F.SNAPSHOT_TYPE
    }  # fmt: skip
    for at, state in again.states.items():
        assert chain[at] == hashlib.sha256(state).digest()


def test_all_frames_from_60_s_before_to_120_s_after_each_raise_are_there(calm):
    path, frames = calm
    found = verified(path)
    raised = [r.t_ms for r in chain_records(found) if r.type == F.EVENT_TYPE and r.body[12] > r.body[8]]
    kept = []
    for number in sorted(found.annexes.proven):
        items = U.FrameItems()
        for record in found.annexes.records(number):
            if record.type == F.FRAMES_TYPE:
                kept += [item[1:] for item in items.unpack(record.body) if item[0] == 0 and item[2] >= 0]
    sent = [(t_us // 1000, can_id, bus, data) for t_us, bus, can_id, data in frames]
    first, last = max(raised[0] - 60_000, 0), raised[-1] + 120_000
    begin = sent.index(kept[0])
    assert begin > 10_000, "what lies far from any alarm is let go"
    assert sent[begin : begin + len(kept)] == kept, "a frame is missing in between, or another"
    assert kept[0][0] <= first and kept[-1][0] >= min(last, sent[-1][0]) - 5_000


def test_features_come_each_10_s_and_each_second_near_an_alarm(recorded):
    path, _ = recorded
    found = verified(path)
    words, times = U.FeatureWords(), []
    for record in chain_records(found):
        if record.type == F.FEATURES_TYPE:
            assert len(words.unpack(record.body)) == L.FEATURES + L.SCALARS + 96 + 24
            times.append(record.t_ms)
    assert all(9_800 <= b - a <= 10_300 for a, b in itertools.pairwise(times))
    for number in found.annexes.proven:
        words, times = U.FeatureWords(), []
        for record in found.annexes.records(number):
            if record.type == F.FEATURES_TYPE:
                words.unpack(record.body)
                times.append(record.t_ms)
        assert all(800 <= b - a <= 1_300 for a, b in itertools.pairwise(times)) and len(times) > 10


def test_features_are_the_words_of_the_state_when_they_were_taken(tmp_path, demo, frames):
    box, seen = Box(tmp_path, demo), []
    record = box.recorder._features

    def features(stream):
        if stream is box.recorder._far_words:
            seen.append(array("i", box.engine.state))
        return record(stream)

    box.recorder._features = features
    box.feed(frames[:60_000])
    assert box.shutdown()
    words = U.FeatureWords()
    read = [words.unpack(r.body) for r in chain_records(verified(tmp_path)) if r.type == F.FEATURES_TYPE]
    assert len(read) == len(seen) + 1 > 10  # the first was taken when the box started
    for state, told in zip(seen, read[1:], strict=True):
        assert all(state[i] == word for i, word in told.items())


def test_blocks_are_sealed_each_10_s_and_each_second_near_an_alarm(recorded):
    path, _ = recorded
    records = list(chain_records(verified(path)))
    raised = [r.t_ms for r in records if r.type == F.EVENT_TYPE and r.body[12] > r.body[8]]
    near = lambda t_ms: any(0 <= t_ms - at < 119_000 for at in raised)  # noqa: E731
    waiting, most, most_near = None, 0, 0
    for record in records:
        if record.type == F.SEAL_TYPE:
            if waiting is not None:
                late = record.t_ms - waiting
                most, most_near = max(most, late), max(most_near, late if near(waiting) else 0)
            waiting = None
        elif waiting is None:
            waiting = record.t_ms
    assert most <= 10_300 and most_near <= 1_300


@pytest.mark.parametrize("clean", [True, False], ids=["after a shutdown", "after a power cut"])
def test_a_box_that_starts_again_from_its_snapshot_is_replayed_the_same(tmp_path, demo, frames, clean):
    third = len(frames) // 3
    box = Box(tmp_path, demo, restore=True)
    box.feed(frames[:third])
    box.silence(70_000)
    if clean:
        before = box.engine.snapshot()
        assert box.shutdown()
    again = Box(tmp_path, demo, restore=True, start_ms=frames[third][0] // 1000)
    if clean:
        assert again.engine.snapshot() == before
    assert again.engine.state[L.FRAMES] and again.recorder.chain.boot == 2
    again.feed(frames[third:])
    assert again.shutdown()
    found = verified(tmp_path)
    assert found.boots == {1, 2}
    replayed = Replayed(found, demo)
    assert replayed.checks >= 2
    told = again.told[: len(again.told)]
    assert [event for event in box.told + told if event in set(replayed.events)] == replayed.events != []


def test_a_silent_bus_is_recorded_in_a_few_bytes_and_replayed(tmp_path, demo, frames):
    box = Box(tmp_path, demo)
    box.feed(frames[:5_000])
    box.silence(20_000)
    size = sum(f.stat().st_size for f in tmp_path.iterdir())
    box.silence(3_600_000)
    assert sum(f.stat().st_size for f in tmp_path.iterdir()) - size < 240 * 360
    box.keep()
    assert box.shutdown()
    assert Replayed(verified(tmp_path), demo).checks > 50


def test_two_channels_and_can_fd_are_replayed_the_same(tmp_path):
    """What the demonstration pack lacks; more identifiers and lengths than the table has rows."""
    image = compile_profile(Path(__file__).parents[1] / "device" / "awkward.toml").image
    assert image.params[L.P_DATA_BYTES] == 64
    chance = random.Random(8)
    known = [(bus, can_id) for bus, _, can_id in image.names["messages"]]
    strange = [(n % 2, 0x20000000 | 77 * n) for n in range(40)]
    frames = []
    for n in range(20_000):
        bus, can_id = chance.choice(known if chance.random() < 0.7 else strange)
        frames.append((4_000 * n, bus, can_id, chance.randbytes(chance.choice([0, 1, 7, 8, 12, 64, 64]))))
    box = Box(tmp_path, image)
    box.keep()
    box.feed(frames, step_ms=10)
    box.recorder.notice(box.now_ms, L.NOTICE_BUS_OFF, 1, 1)
    assert box.shutdown() and not box.recorder.lost_frames
    replayed = Replayed(verified(tmp_path), image)
    assert replayed.frames == len(frames) + 1 and replayed.checks >= 1
    assert replayed.events == box.told[: len(replayed.events)]


@pytest.mark.parametrize("spoil", [0x1FFFFFFF, 0x3FFFFFFF])
def test_a_state_like_noise_is_recorded_whole(tmp_path, demo, spoil):
    """No state is so; and none stops the recorder."""
    box = Box(tmp_path, demo)
    chance = random.Random(9)
    noise = array("i", [chance.randint(-spoil, spoil) for _ in box.engine.state])
    restore = box.engine.restore
    restore(bytes(noise))
    box.recorder._snapshots = 0
    box.recorder._snapshot_ms = 10_000
    box.now_ms = 10_000
    box.work()
    whole = [U.SnapshotParts().unpack(r.body) for r in chain_now(tmp_path) if r.type == F.SNAPSHOT_TYPE]
    assert whole[-1] == bytes(noise)
    words = U.FeatureWords()
    told = [words.unpack(r.body) for r in chain_now(tmp_path) if r.type == F.FEATURES_TYPE]
    assert all(noise[i] == word for i, word in told[-1].items())


def chain_now(path):
    """The records of a log that is still being written."""
    return list(chain_records(Verification(path, FIRST_KEY)))


def test_an_acknowledgement_goes_through_the_recorder_and_is_replayed(tmp_path):
    """A latched alarm that was released: without the acknowledgement the replay would still have it."""
    image = compile_profile(DEMO_PROFILE).image
    box = Box(tmp_path, image)
    box.keep()
    frames = [(t_us, 0, can_id, data) for t_us, _, can_id, data in simulate("hard_short_burns", DEMO_PROFILE, 1, 1.6)]
    box.feed(frames)
    latched = [event[RULE] for event in box.told if event[LEVEL] == 3]
    ask = challenge(box.engine, latched[0], bytes.fromhex(image.sha256))
    refused, taken = bytes(32), hmac_sha256(b"owner", ask)
    for tag in (refused, taken):
        done = acknowledge(box.recorder, b"owner", latched[0], tag, box.now_ms, bytes.fromhex(image.sha256))
        box.recorder.acknowledgement(latched[0], done, tag)
    box.silence(1_000)
    assert box.shutdown()
    found = verified(tmp_path)
    told = [r.body for r in chain_records(found) if r.type == F.ACKNOWLEDGEMENT_TYPE]
    assert [struct.unpack(C.ACKNOWLEDGEMENT, body) for body in told] == [
        (latched[0], 0, refused),
        (latched[0], 1, taken),
    ]
    assert Replayed(found, image).checks >= 1
    notices = [
        item[2:] for number in sorted(found.annexes.proven) for items in [U.FrameItems()]
        for record in found.annexes.records(number) if record.type == F.FRAMES_TYPE
        for item in items.unpack(record.body) if item[0] == 0 and item[2] < 0
    ]  # fmt: skip
    assert notices == [(L.NOTICE | L.NOTICE_ACK, 0, bytes([latched[0]]))]
