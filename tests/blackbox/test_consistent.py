"""The recorded verdicts must follow from the recorded frames, and where no frames were kept that is said."""

import hashlib
import random
import struct
from functools import partial

import forge
import pytest
import small
from cellwarden.blackbox import content as C
from cellwarden.blackbox import unpack as U
from cellwarden.core import layout as L
from cellwarden_tools.blackbox.consistent import Consistency
from cellwarden_tools.blackbox.verify import Verification
from cellwarden_tools.engines import open_engine
from cellwarden_tools.errors import InputError
from recorded import Box
from story import FIRST_KEY

OPEN, EMPTY = (70, 72), (400, 410)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return small.vehicle(tmp_path_factory.mktemp("vehicle"))


@pytest.fixture(scope="module")
def log(tmp_path_factory, image):
    """Eight minutes with two alarms far from one another: (files, what the core made)."""
    path = tmp_path_factory.mktemp("log")
    box = Box(path, image, start_ms=5000)
    box.feed(small.frames(480, 5000, interlock=[OPEN], empty=[EMPTY]))
    assert box.shutdown()
    return {each.name: each.read_bytes() for each in path.iterdir()}, box.told


@pytest.fixture
def checked(tmp_path, image):
    def check(files, image=image, engine="python", seals_hold=True):
        path = tmp_path / "log"
        path.mkdir(exist_ok=True)
        for old in path.iterdir():
            old.unlink()
        for name, data in files.items():
            (path / name).write_bytes(data)
        found = Verification(path, FIRST_KEY)
        if seals_hold is not None:
            assert found.intact is seals_hold and found.complete is seals_hold, found.faults[:3]
        return Consistency(found, image, partial(open_engine, engine))

    return check


def test_a_log_as_the_box_wrote_it_is_consistent(log, checked):
    files, told = log
    seen = checked(files)
    rules = [(event[L.EVENT_BEFORE], event[L.EVENT_LEVEL]) for event in told]
    assert len(told) == 4 and all(before < level for before, level in rules[::2])
    assert seen.verdict is True and not seen.faults
    assert seen.events == len(told) - seen.not_checkable and seen.events >= 2 and seen.snapshots >= 3
    replayed = [stretch for stretch in seen.stretches if stretch.why is None]
    assert sum(stretch.frames for stretch in replayed) == seen.frames > 2000
    # one stretch around each alarm, and between them time of which nothing is kept and nothing is said
    assert [stretch.first_ms // 60_000 for stretch in replayed] == [0, 5]
    assert seen.other_ms == pytest.approx(60_000, abs=200) and seen.replayed_ms == pytest.approx(420_000, abs=200)


@pytest.mark.numba
def test_machine_code_says_the_same(log, checked):
    pytest.importorskip("numba")
    one, other = checked(log[0]), checked(log[0], engine="fast")
    told = [{name: value for name, value in vars(seen).items() if name in COUNTS} for seen in (one, other)]
    assert told[0] == told[1] and len(told[0]) == len(COUNTS)


COUNTS = (
    "verdict", "faults", "stretches", "frames", "unknown_frames", "events", "snapshots", "features", "not_checkable",
    "late", "replayed_ms", "other_ms",
)  # fmt: skip


def test_a_log_sealed_anew_without_a_change_is_still_consistent(log, checked):
    """Else the forgeries below would prove nothing."""
    seen = checked(forge.Forgery(log[0], FIRST_KEY).sealed())
    assert seen.verdict is True and seen.events >= 2


def forged(log, change):
    forgery = forge.Forgery(log[0], FIRST_KEY)
    change(forgery)
    return forgery.sealed()


def raised(forgery, number):
    """The EVENT record of an alarm, and its numbers."""
    event = forgery.all(forge.EVENT)[number]
    return event, list(struct.unpack("<6i", event.body))


@pytest.mark.parametrize("number", [0, 2])
def test_an_alarm_that_was_withheld_is_missed(log, checked, number):
    def withhold(forgery):
        raised(forgery, number)[0].body = None

    seen = checked(forged(log, withhold))
    assert seen.verdict is False and len(seen.faults) == 1
    rule = ("hvil_open", None, "soc_low")[number]
    assert f"the frames give {rule}" in seen.faults[0].reason and "not recorded" in seen.faults[0].reason


@pytest.mark.parametrize("at", range(6))
def test_an_alarm_that_was_changed_is_told(log, checked, at):
    """Its time, rule, level before and after, place, value."""

    def change(forgery):
        event, numbers = raised(forgery, 0)
        numbers[at] += (100, 1, 1, -1, 1, 1)[at]
        event.body = struct.pack("<6i", *numbers)

    seen = checked(forged(log, change))
    assert seen.verdict is False and [fault.kind for fault in seen.faults] == ["inconsistent"]
    assert seen.faults[0].file.endswith(".cwb") and "its frames give hvil_open 0 > 3" in seen.faults[0].reason


@pytest.mark.parametrize("later_ms", [-20_000, 100, 20_000])
def test_an_alarm_that_was_invented_is_told(log, checked, later_ms):
    def invent(forgery):
        event, numbers = raised(forgery, 0)
        records, at = forgery.place(event)
        numbers[L.EVENT_T_MS] += later_ms
        # where an honest box would have written it
        while 0 < at < len(records) - 1 and not records[at].t_ms - event.t_ms >= later_ms:
            at += 1
        while at and records[at - 1].t_ms - event.t_ms > later_ms:
            at -= 1
        while records[at - 1].kind == forge.SEAL:
            at -= 1
        extra = forge.Record(forge.EVENT, event.boot, event.t_ms + later_ms, struct.pack("<6i", *numbers), None)
        records.insert(at, extra)

    seen = checked(forged(log, invent))
    assert seen.verdict is False and seen.faults[0].kind == "inconsistent"


def bodies_of(forgery):
    """FRAMES records of the first annex."""
    first = min(forgery.annexes)
    return [record for record in forgery.annexes[first] if record.kind == forge.FRAMES]


def test_frames_that_were_altered_give_another_state(log, checked):
    """A current that is a little higher raises no alarm; the next snapshot still tells."""

    def alter(forgery):
        record = bodies_of(forgery)[-1]
        record.body = with_another_current(record.body, [one.body for one in bodies_of(forgery)[:-1]])

    seen = checked(forged(log, alter))
    assert seen.verdict is False
    assert any("the state" in fault.reason for fault in seen.faults), seen.faults


def with_another_current(body, before):
    """The body with one bit changed that is in the current of the last status message and in no other frame."""

    def items(last):
        reader = U.FrameItems()
        return [list(reader.unpack(one)) for one in (*before, last)][-1]

    plain = items(body)
    last = max(n for n, item in enumerate(plain) if item[2] == 0x100)
    for at in range(len(body) - 1, 5, -1):
        changed = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        try:
            now = items(changed)
        except ValueError:
            continue
        differ = [n for n, (one, other) in enumerate(zip(plain, now, strict=False)) if one != other]
        if len(now) == len(plain) and differ == [last] and now[last][4][2] != plain[last][4][2]:
            return changed
    raise AssertionError("no such bit")


def test_frames_left_out_are_missed(log, checked):
    def leave_out(forgery):
        last = bodies_of(forgery)[-1]
        last.body = None

    seen = checked(forged(log, leave_out))
    assert seen.verdict is False


@pytest.mark.parametrize("where", ["chain", "annexes"])
def test_a_state_that_was_changed_is_told(log, checked, where):
    def change(forgery):
        records = forgery.all(forge.SNAPSHOT) if where == "chain" else forgery.annexed(forge.SNAPSHOT)
        digests = [record for record in records if record.body[0] == C.DIGEST]
        if digests and where == "chain":
            for record in digests:
                record.body = bytes([C.DIGEST]) + hashlib.sha256(record.body).digest()
        else:
            body = bytearray(records[1].body)
            body[len(body) * 2 // 3] ^= 0x10
            records[1].body = bytes(body)

    seen = checked(forged(log, change))
    assert seen.verdict is False
    assert all("state" in fault.reason or "snapshot" in fault.reason for fault in seen.faults)


def test_features_that_the_frames_do_not_give_are_told(log, checked):
    """A cell that looks 1 mV better than it was, in one row of a curve."""
    tried = 0
    for number in (0, 1, 20, -1):
        forgery = forge.Forgery(log[0], FIRST_KEY)
        name = sorted(forgery.annexes)[1]
        rows = [record for record in forgery.annexes[name] if record.kind == forge.FEATURES]
        reader = U.FeatureWords()
        plain = [reader.unpack(record.body) for record in rows]
        body = rows[number].body
        for at in range(len(body) - 1, 0, -1):
            changed = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
            reader = U.FeatureWords()
            try:
                now = [reader.unpack(changed if record is rows[number] else record.body) for record in rows]
            except ValueError:
                continue
            if now[number] != plain[number]:
                break
        rows[number].body = changed
        seen = checked(forgery.sealed())
        assert seen.verdict is False and any("features are others" in fault.reason for fault in seen.faults)
        assert {fault.file for fault in seen.faults} == {name}
        tried += 1
    assert tried == 4


def test_each_row_of_features_is_held_to_the_frames(log, checked):
    rows = forge.Forgery(log[0], FIRST_KEY).annexed(forge.FEATURES)
    seen = checked(log[0])
    # the last one of an annex may be noted among frames that the next has, or none
    assert len(rows) - len(log[0]) <= seen.features <= len(rows) and seen.features > 350


def test_another_image_is_one_line(log, checked, tmp_path):
    other = small.vehicle(tmp_path, **{'name = "small"': 'name = "other"'})
    with pytest.raises(
        InputError, match=r"is image .*, and the box that wrote .* judged with .*; expected the very image"
    ):
        checked(log[0], image=other)


def test_an_image_that_the_box_only_claims_to_have_had_is_told(log, checked, tmp_path):
    """The same frames under other limits: whoever writes another image's hash into the log is found out."""
    other = small.vehicle(tmp_path, **{"enabled = false": "enabled = false\n[limits.hvil_open]\nenabled = false"})

    def claim(forgery):
        for record in forgery.all(forge.IDENTITY):
            record.body = record.body[:35] + bytes.fromhex(other.sha256) + record.body[67:]

    seen = checked(forged(log, claim), image=other)
    assert seen.verdict is False
    assert any("nothing in the frames gives hvil_open" in fault.reason for fault in seen.faults)


def test_where_no_frames_were_kept_nothing_is_fine(tmp_path, image, checked):
    path = tmp_path / "none"
    path.mkdir()
    box = Box(path, image, frames="none")
    box.feed(small.frames(100, 0, interlock=[(50, 52)]))
    assert box.shutdown() and len(box.told) == 2
    seen = checked({each.name: each.read_bytes() for each in path.iterdir()})
    assert seen.verdict is None and not seen.faults and seen.not_checkable == 2 and seen.events == 0


def test_boots_of_another_image_are_not_checkable(tmp_path, image, checked):
    path = tmp_path / "two"
    path.mkdir()
    other = small.vehicle(tmp_path, **{'name = "small"': 'name = "other"'})
    for number, one in enumerate((other, image)):
        box = Box(path, one, start_ms=200_000 * number)
        box.feed(small.frames(100, 200_000 * number, interlock=[(50, 52)]))
        assert box.shutdown()
    seen = checked({each.name: each.read_bytes() for each in path.iterdir()})
    assert seen.verdict is True and seen.events == 2 and seen.not_checkable == 2
    assert [stretch.why for stretch in seen.stretches if stretch.boot == 1] == ["judged with another image"]


def test_no_word_of_a_forged_state_reaches_beyond_the_core(log, checked, image):
    """Machine code asks no index whether it is one: what a core never makes is refused before it."""
    from cellwarden.engine import Engine
    from cellwarden_tools.blackbox.harmless import harm, indices

    fresh = Engine(image).state
    assert harm(fresh, image.params) is None
    told = 0
    for word, low, high in indices(image.params):
        for value in (low - 1, high + 1, 1 << 29, -(1 << 30)):
            state = fresh[:]
            state[word] = value
            assert f"word {word} is {value}" in harm(state, image.params), word
            told += 1
    print(f"{told} states that could reach beyond are refused")


def test_what_no_core_makes_is_as_the_bounds_of_the_state_say(tmp_path):
    """tests/core/bounds.py says how far an honest state goes: all of that is taken, and for indices no more."""
    from bounds import fields
    from cellwarden_tools.blackbox.harmless import indices
    from cellwarden_tools.compiler.image import compile_profile
    from cellwarden_tools.simulator import DEMO_PROFILE

    compiled = compile_profile(DEMO_PROFILE)
    declared = {at: field for field in fields(compiled) for at in field.at if field.width is None and not field.shift}
    words = list(indices(compiled.image.params))
    for word, low, high in words:
        field = declared[word]
        assert low <= field.low and field.high <= high, f"an honest {field.name} is refused"
        if "WHERE" not in field.name and "LEVEL_NOW" not in field.name and "FIRST_SLOT" not in field.name:
            assert (low, high) == (field.low, field.high) or field.name == "NEXT_CELL", field.name
    assert len(words) > 200


@pytest.mark.long
@pytest.mark.numba
def test_nothing_that_is_sealed_makes_verify_fall_over(log, checked):
    """Bodies of every kind changed by whoever has the key: a verdict and no exception, with machine code as without."""
    pytest.importorskip("numba")
    verdicts = []
    for seed in range(24):
        rng = random.Random(seed)

        def change(forgery, rng=rng):
            some = [
                record
                for records in (*forgery.chain.values(), *forgery.annexes.values())
                for record in records
                if record.kind not in (forge.SEAL, forge.IDENTITY, 15) and (record.kind, len(record.body)) != (18, 28)
            ]
            kinds = sorted({record.kind for record in some})
            for _ in range(rng.randrange(1, 4)):
                kind = rng.choice(kinds)
                record = rng.choice([one for one in some if one.kind == kind])
                body = bytearray(record.body)
                for _ in range(rng.randrange(1, 6)):
                    if body:
                        body[rng.randrange(len(body))] = rng.randrange(256)
                record.body = bytes(body[: rng.choice((len(body), len(body), rng.randrange(len(body) + 1)))])

        files = forged(log, change)
        told = [checked(files, engine=engine, seals_hold=None) for engine in ("python", "fast")]
        assert told[0].verdict == told[1].verdict and len(told[0].faults) == len(told[1].faults), seed
        verdicts.append(told[0].verdict)
    assert verdicts.count(False) > 8
    print(f"of {len(verdicts)} logs with random contents under good seals {verdicts.count(False)} are inconsistent")


# --- frames that were not kept ---------------------------------------------------------------------------------------


def test_frames_that_were_only_counted_are_replayed_as_that(tmp_path, image, checked):
    path = tmp_path / "used"
    path.mkdir()
    box = Box(path, image, frames="used")
    box.feed(small.frames(150, 0, interlock=[(70, 72)]))
    assert box.shutdown()
    seen = checked({each.name: each.read_bytes() for each in path.iterdir()})
    assert seen.verdict is True and seen.events == 2 and seen.unknown_frames > 300 and seen.snapshots >= 2


def test_behind_a_gap_nothing_is_checked_up_to_the_next_snapshot(tmp_path, image, checked):
    """While the storage does not answer more comes than there is room for."""
    path = tmp_path / "gap"
    path.mkdir()
    box = Box(path, image)
    frames = list(small.frames(200, 0, interlock=[(30, 32), (80, 82)]))
    behind = next(n for n, frame in enumerate(frames) if frame[0] >= 90_000_000)
    box.feed(frames[:behind])
    work, box.work = box.work, lambda: None
    box.feed(frames[behind : behind + 1500])
    box.work = work
    box.feed(frames[behind + 1500 :])
    assert box.recorder.lost_frames > 100
    assert box.shutdown()
    seen = checked({each.name: each.read_bytes() for each in path.iterdir()})
    assert not seen.faults and seen.verdict is True
    assert any("could not be kept" in (stretch.why or "") for stretch in seen.stretches)
    assert seen.events == 4 and seen.replayed_ms < 200_000 - 20_000, seen.stretches


def test_a_clock_that_is_set_back_and_a_silent_bus_are_no_contradiction(tmp_path, image, checked):
    """Stamps that jump back a little and much; then nothing comes, and scans run all the same."""
    path = tmp_path / "back"
    path.mkdir()
    rng = random.Random(3)
    box = Box(path, image)
    frames = []
    for t_us, bus, can_id, data in small.frames(130, 20_000, interlock=[(20, 22), (100, 102)]):
        t_us -= 4_700_000 if t_us > 90_000_000 else 0
        frames.append((t_us - rng.randrange(900_000) * (rng.random() < 0.02), bus, can_id, data))
    box.feed(frames)
    box.silence(40_000)
    assert box.shutdown()
    for engine in ("python", "auto"):
        seen = checked({each.name: each.read_bytes() for each in path.iterdir()}, engine=engine)
        assert seen.verdict is True and not seen.faults and seen.late == 0
        assert seen.events + seen.not_checkable == len(box.told) and seen.events >= 5


# --- power cuts -------------------------------------------------------------------------------------------------------


def test_replay_equals_record_over_power_cuts_and_restarts(tmp_path, image, checked):
    """Cut at any moment, half a block or half a seal written, begun anew from what it kept, and cut again."""
    path = tmp_path / "box"
    path.mkdir()
    rng = random.Random(7)
    start_ms, events, snapshots, late = 1000, 0, 0, 0
    for boot in range(8):
        box = Box(path, image, start_ms=start_ms, restore=boot > 0)
        seconds = rng.uniform(20, 130)
        box.feed(small.frames(seconds, start_ms, interlock=[(10 + boot, 12 + boot)]))
        if boot == 7:
            assert box.shutdown()
        else:
            box.work(rng.randrange(4))  # and in the middle of what it was about to write the power goes
        start_ms += round(1000 * seconds) + rng.randrange(100_000)
        seen = checked({each.name: each.read_bytes() for each in path.iterdir()}, seals_hold=None)
        assert not seen.faults, (boot, seen.faults)
        events, snapshots, late = seen.events, seen.snapshots, seen.late
        assert seen.found.intact, seen.found.faults
        assert any(stretch.why is None and stretch.boot == boot + 1 for stretch in seen.stretches)
    assert seen.verdict is True and seen.found.complete and events >= 14 and snapshots >= 4
    print(f"{events} events and {snapshots} states over 7 cuts, {late} events that were cut off")
