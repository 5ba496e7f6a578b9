"""The recorded verdicts must follow from the recorded frames, and where no frames were kept that is said."""

import hashlib
import struct
from functools import partial

import forge
import pytest
import small
from cellwarden.blackbox import content as C
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
    assert seen.other_ms == 60_000 and seen.replayed_ms == pytest.approx(420_000, abs=200)


@pytest.mark.numba
def test_machine_code_says_the_same(log, checked):
    pytest.importorskip("numba")
    one, other = checked(log[0]), checked(log[0], engine="fast")
    told = [{name: value for name, value in vars(seen).items() if name in COUNTS} for seen in (one, other)]
    assert told[0] == told[1] and len(told[0]) == len(COUNTS)


COUNTS = (
    "verdict", "faults", "stretches", "frames", "unknown_frames", "events", "snapshots", "not_checkable", "late",
    "replayed_ms", "other_ms",
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
        reader = C.FrameItems()
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
