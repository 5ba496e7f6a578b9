"""Operators and a box that runs: it answers, changes nothing without the key, and is not held up (docs/device.md)."""

import hashlib
import hmac
import os
import random
import re
import struct
import subprocess
from base64 import b64decode
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from cellwarden.blackbox import form as F
from cellwarden.blackbox.chain import Chain
from cellwarden.blackbox.folder import Folder
from cellwarden.blackbox.keys import FileKeys
from cellwarden.blackbox.recorder import Recorder
from cellwarden.control import CONSOLE_BYTES, LONGEST, READ_BYTES, Control, Port
from cellwarden.core import catalogue
from cellwarden.core import layout as L
from cellwarden.image import load_image
from cellwarden.operator_key import OperatorKey
from cellwarden_tools.blackbox.consistent import Consistency
from cellwarden_tools.blackbox.verify import Verification
from cellwarden_tools.compiler.image import compile_profile
from cellwarden_tools.device.line import Running, Silent
from cellwarden_tools.device.pull import pull
from cellwarden_tools.engines import open_engine
from cellwarden_tools.engines.device_files import write_device_files
from cellwarden_tools.engines.micropython import find_micropython
from cellwarden_tools.errors import InputError
from cellwarden_tools.simulator import DEMO_PROFILE
from cellwarden_tools.simulator.run import simulate
from operators import MASTER, NAME, answers, key_of, line, tag_of
from supervised import KEY, Clock, Log, Rig, a_log

VEHICLE = b"LCWDEM0000000001"
HVIL = "hvil_open"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """The demonstration pack whose open interlock is latched."""
    folder = tmp_path_factory.mktemp("latched")
    (folder / "demo_pack.dbc").write_bytes(DEMO_PROFILE.with_name("demo_pack.dbc").read_bytes())
    text = DEMO_PROFILE.read_text(encoding="utf-8") + f"\n[limits.{HVIL}]\nlatched = true\n"
    (folder / "latched.toml").write_text(text, encoding="utf-8")
    return compile_profile(folder / "latched.toml").image


@pytest.fixture(scope="module")
def image(compiled, tmp_path_factory):
    path = tmp_path_factory.mktemp("image") / "latched.cwi"
    compiled.save(path)
    return load_image(str(path))


@pytest.fixture(scope="module")
def drive():
    """Half a minute; the interlock is open from second 2 to second 22."""
    frames = simulate("hvil_opens", DEMO_PROFILE, 1, 1.5)
    return [(t_us - 58_000_000, *rest) for t_us, *rest in frames if t_us >= 58_000_000]


class SetClock(Clock):
    def set_wall_s(self, seconds):
        if seconds < 0:
            raise OverflowError
        self.wall_ms = 1000 * seconds


class Told(Log):
    """A log that remembers what operators did."""

    def __init__(self):
        super().__init__()
        self.security_events, self.acknowledgements = [], []

    def security(self, kind, vehicle, seconds=0, detail=b""):
        self.security_events.append((kind, vehicle, seconds, detail.decode()))

    def acknowledgement(self, rule, taken, tag):
        self.acknowledgements.append((catalogue.RULES[rule], taken, tag))

    def clock(self, seconds, ms, source):
        self.clocks.append((seconds, source))


class Desk:
    """A box under test and an operator's line to it."""

    def __init__(
        self, image, frames, folder, provisioned=True, log=None, recorder=None, clock=None, most=CONSOLE_BYTES
    ):
        self.clock = clock or SetClock()
        self.folder = folder
        self.operator = OperatorKey(Folder(str(folder)))
        if provisioned and not self.operator.key:
            self.operator.provision(NAME, key_of())
        self.log = None if recorder else Told()
        self.rig = Rig(image, frames, self.clock, recorder=recorder or self.log)
        self.box = self.rig.box
        self.to_box, self.said = bytearray(), bytearray()
        self.port = Port(self.readinto, self.said.extend, most)
        self.box.control = Control(image, VEHICLE, [self.port], self.operator, log, "1.2.3", clock=self.clock)
        self.number = 0

    def readinto(self, view):
        count = min(len(view), len(self.to_box))
        view[:count] = self.to_box[:count]
        del self.to_box[:count]
        return count

    def hear(self, data=b""):
        """What the box answers to some bytes: [(number, dict)]; time stands still."""
        self.to_box += data
        self.said.clear()
        while self.box.control.turn(self.box) or self.to_box:
            pass
        return answers(bytes(self.said))

    def ask(self, text):
        self.number += 1
        (number, told), = self.hear(line(f"!{self.number} {text}"))  # fmt: skip
        assert number == str(self.number)
        return told

    def rows(self, verb):
        rows, at = [], 0
        while at is not None:
            told = self.ask(f"{verb} {at}")
            rows += told["rows"]
            at = told["next"]
        return rows

    def do(self, text, key=None, change=lambda tag: tag):
        nonce = self.ask("nonce")["nonce"]
        tag = change(tag_of(key or key_of(), nonce, text))
        return self.ask(f"do {tag.hex()} {text}")

    def level(self, rule=HVIL):
        row = self.box.engine.params[L.P_RULES_AT] + catalogue.RULES.index(rule) * L.RULE_SIZE
        return self.box.engine.state[row + L.LEVEL_NOW]

    def acknowledge(self, **words):
        events = dict((row[0], row[5]) for row in self.rows("alarms"))[HVIL]
        return self.do(f"acknowledge {HVIL} {events}", **words)


@pytest.fixture
def quiet(image, tmp_path):
    """A box on a silent bus."""
    return Desk(image, [], tmp_path)


@pytest.fixture
def alarmed(image, drive, tmp_path):
    """A box whose interlock is open; the vehicle drives."""
    desk = Desk(image, drive, tmp_path)
    desk.rig.play(4, 20)
    assert desk.level() == 3
    return desk


# --- what goes over the line ------------------------------------------------------------------------------------------


def test_the_line_is_as_the_page_has_it(quiet):
    """The bytes of docs/device.md; the sums are zlib's."""
    assert quiet.hear(b"!7 alarms 0 1800fe24\r") == [("7", {"rows": [], "next": None})]
    assert bytes(quiet.said) == b'!7 {"rows": [], "next": null} 73d1c64a\r\n'


def test_the_page_says_what_is_so(quiet):
    page = (Path(__file__).parents[2] / "docs" / "device.md").read_text(encoding="utf-8")
    asked, told = re.findall(r"^    (!7 .*?[0-9a-f]{8})(?:  .*)?$", page, re.MULTILINE)
    quiet.hear(asked.encode() + b"\r")
    assert bytes(quiet.said) == told.encode() + b"\r\n"
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(code, {})
    assert {f"{LONGEST} characters", f"{READ_BYTES} bytes", f"{CONSOLE_BYTES} at most on a console"} <= {
        found for found in re.findall(r"\d+ (?:characters|bytes|at most on a console)", page)
    }


def test_it_says_who_it_is(quiet, image):
    assert dict(quiet.rows("identity")) == {
        "form": 1, "box": NAME, "generation": 1, "vehicle": VEHICLE.decode(), "image": image.vehicle,
        "image_sha256": image.identity.hex(), "version": "1.2.3", "boot": 1, "time_s": 1_800_000_000,
        "python": dict(quiet.rows("identity"))["python"],
    }  # fmt: skip


def test_what_it_counts_is_its_status(alarmed):
    status = alarmed.box.status()
    rows = alarmed.rows("status")
    assert dict(rows) == status and len(rows) == len(status)


def test_every_answer_of_a_console_is_short(alarmed):
    """Others wait for the console meanwhile: one row more than fits is the most, and a row is short."""
    for verb in ("identity", "status", "alarms"):
        alarmed.rows(verb)
        assert max(map(len, bytes(alarmed.said).split(b"\r\n"))) < 2 * CONSOLE_BYTES


def test_the_alarms_are_those_that_its_events_have_raised(alarmed):
    levels = {}
    for event in alarmed.rig.out.told:
        levels[event[L.EVENT_RULE]] = event[L.EVENT_LEVEL]
    standing = {catalogue.RULES[rule]: level for rule, level in levels.items() if level}
    rows = alarmed.rows("alarms")
    assert {row[0]: row[1] for row in rows} == standing
    assert [row for row in rows if row[0] == HVIL] == [[HVIL, 3, 0, 1, True, alarmed.box.engine.state[L.EVENTS]]]


def test_what_befalls_the_box_itself_is_among_the_alarms(quiet):
    quiet.box.hazards.failed(1, 0, "no room")
    assert quiet.rows("alarms") == [["box_log", 2, 0, 1, False, None]]


@pytest.mark.parametrize(
    "text", ["", "nothing 0", "alarms", "alarms x", "read", "read 00000001.cwb x 1", "hash 00000001.cwb -1",
             "do", "do zz start", "do 00"],
)  # fmt: skip
def test_a_question_that_is_none_gets_an_error_and_nothing_else(quiet, text):
    assert set(quiet.ask(text)) == {"error"}
    assert quiet.ask("alarms 0")["rows"] == []


# --- noise ------------------------------------------------------------------------------------------------------------


def test_every_bit_of_a_question_that_is_wrong_makes_it_none(quiet):
    """Except the ends of line, which may stand anywhere, and noise before the line."""
    good = line("!7 alarms 0")[1:-1]
    for bit in range(8 * len(good)):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        assert quiet.hear(b"\r" + bad + b"\r") == [], bytes(bad)
    assert quiet.hear(b"\r" + good + b"\r")


@pytest.mark.parametrize("kind", ["a million bytes without an end", "noise", "half lines", "lines too long"])
def test_a_flood_on_the_console_is_harmless_and_takes_a_few_bytes_a_round(image, drive, tmp_path, kind):
    noise = random.Random(kind)
    flood = {
        "a million bytes without an end": lambda: b"!" + b"x" * 1_000_000,
        "noise": lambda: noise.randbytes(300_000),
        "half lines": lambda: b"".join(line("!7 status 0")[: noise.randrange(14)] + b"\n" for _ in range(20_000)),
        "lines too long": lambda: (b"!" + b"7" * LONGEST + b"\r") * 1000,
    }[kind]()
    quiet_box = Desk(image, drive, tmp_path).rig.play(4, 20).box
    desk = Desk(image, drive, tmp_path)
    desk.to_box += flood
    for _ in range(200):
        before = len(desk.to_box)
        desk.clock.pass_time(20)
        desk.box.round()
        assert before - len(desk.to_box) <= READ_BYTES
        while desk.rig.bus.next and desk.rig.bus.next[0] // 1000 + desk.rig.bus.begin_ms <= desk.clock.ms:
            desk.box.round()
    own, other = desk.box.status(), quiet_box.status()
    assert {name: own[name] for name in ("state_sha256", "events", "frames", "box_faults", "most_late_ms")} == {
        name: other[name] for name in ("state_sha256", "events", "frames", "box_faults", "most_late_ms")
    }, "detection goes on as without it"
    assert desk.hear() == []
    assert desk.ask("alarms 0")["rows"], "and the next question is heard"


def test_a_step_that_takes_long_is_followed_by_other_duties(quiet):
    """Whatever is asked, nine tenths of the time are the box's."""
    quiet.port.write = lambda data: (quiet.said.extend(data), quiet.clock.pass_time(7))
    quiet.to_box += 3 * line("!7 alarms 0")
    times = []
    for _ in range(200):
        before = len(quiet.said)
        quiet.box.control.turn(quiet.box)
        if len(quiet.said) > before:
            times.append(quiet.clock.ms)
        quiet.clock.pass_time(1)
    assert len(times) == 3
    assert [after - before for before, after in pairwise(times)] == [70, 71], (
        "63 ms of rest, 7 of work, and once a line in two pieces"
    )


# --- the key ----------------------------------------------------------------------------------------------------------


def test_a_latched_alarm_is_given_up_and_raised_anew_while_its_cause_stands(alarmed):
    assert alarmed.acknowledge() == {"done": "acknowledge"}
    alarmed.rig.play(0.2, 20)
    assert alarmed.level() == 0, "given up"
    alarmed.rig.play(3, 20)
    assert alarmed.level() == 3, "and raised anew"
    assert [row[:2] for row in alarmed.log.acknowledgements] == [(HVIL, True)]
    kind = ("remote command taken", VEHICLE, 1_800_000_004, f"acknowledge {HVIL}")
    assert alarmed.log.security_events == [kind]


def test_a_latched_alarm_without_its_cause_goes_with_the_acknowledgement_only(alarmed):
    alarmed.rig.play(22, 20)
    assert alarmed.level() == 3, "the interlock has been closed for four seconds"
    alarmed.acknowledge()
    alarmed.rig.play(2, 20)
    assert alarmed.level() == 0


def test_an_alarm_is_given_up_only_as_it_was_seen(alarmed):
    events = alarmed.box.engine.state[L.EVENTS]
    told = alarmed.do(f"acknowledge {HVIL} {events - 1 & L.MASK}")
    assert told == {"error": "something has happened since: look at the alarms again"}
    assert alarmed.do(f"acknowledge no_such_rule {events}") == {"error": "no such alarm"}
    assert alarmed.do(f"acknowledge cell_overvoltage {events}") == {"error": "this alarm does not stand"}
    alarmed.rig.play(0.5, 20)
    assert alarmed.level() == 3 and not alarmed.log.acknowledgements


def test_an_alarm_that_is_not_latched_goes_with_its_cause_only(demo, drive, tmp_path_factory, tmp_path):
    path = tmp_path_factory.mktemp("image") / "demo.cwi"
    demo.save(path)
    desk = Desk(load_image(str(path)), drive, tmp_path)
    desk.rig.play(4, 20)
    assert desk.level() == 3 and HVIL in [row[0] for row in desk.rows("alarms") if not row[4]]
    events = desk.box.engine.state[L.EVENTS]
    assert desk.acknowledge() == {"error": "this alarm is not latched: it goes when its cause does"}
    assert desk.box.engine.state[L.EVENTS] == events and not desk.log.acknowledgements


def test_every_bit_of_a_tag_counts(alarmed):
    events = alarmed.box.engine.state[L.EVENTS]
    for bit in range(256):
        alarmed.clock.pass_time(65_000)

        def flipped(tag, bit=bit):
            return (int.from_bytes(tag, "big") ^ 1 << bit).to_bytes(32, "big")

        assert alarmed.do(f"acknowledge {HVIL} {events}", change=flipped) == {"error": "wrong key"}
    assert alarmed.box.engine.state[L.EVENTS] == events and alarmed.level() == 3
    assert [row[:2] for row in alarmed.log.acknowledgements] == [(HVIL, False)] * 256
    assert {row[0] for row in alarmed.log.security_events} == {"acknowledgement refused"}
    assert len(alarmed.log.security_events) == 256


@pytest.mark.parametrize(
    "change",
    [
        lambda tag: tag[:31], lambda tag: tag + b"\0", lambda tag: b"", lambda tag: bytes(32),
    ],
    ids=["a byte less", "a byte more", "none", "zeros"],
)  # fmt: skip
def test_a_tag_of_another_length_opens_nothing(quiet, change):
    nonce = quiet.ask("nonce")["nonce"]
    told = quiet.ask(f"do {change(tag_of(key_of(), nonce, 'start')).hex()} start")
    assert told == {"error": "wrong key"}


@pytest.mark.parametrize(
    "key",
    [key_of(name="BOX-8"), key_of(generation=2), key_of(master=bytes(32)), MASTER, KEY],
    ids=["of another box", "of the next generation", "of another master", "the master itself", "the black box's"],
)
def test_another_key_opens_nothing(quiet, key):
    assert quiet.do("clock 1800000001", key=key) == {"error": "wrong key"}
    assert quiet.log.clocks == []
    kind = ("remote command refused", VEHICLE, 1_800_000_000, "clock 1800000001")
    assert quiet.log.security_events == [kind]


def test_a_nonce_is_good_once(quiet):
    nonce = quiet.ask("nonce")["nonce"]
    tag = tag_of(key_of(), nonce, "clock 1800000001")
    assert quiet.ask(f"do {tag.hex()} clock 1800000001") == {"done": "clock"}
    assert quiet.ask(f"do {tag.hex()} clock 1800000001") == {"error": "no nonce was asked for, or too long ago"}
    quiet.ask("nonce")
    assert quiet.ask(f"do {tag.hex()} clock 1800000001") == {"error": "wrong key"}, "nor good for the next one"
    assert len(quiet.log.clocks) == 1


def test_nonces_never_come_twice(quiet):
    nonces = [quiet.ask("nonce")["nonce"] for _ in range(1000)]
    assert len(set(nonces)) == 1000 and {len(nonce) for nonce in nonces} == {32}


def test_a_tag_is_good_for_its_command_alone(quiet):
    nonce = quiet.ask("nonce")["nonce"]
    tag = tag_of(key_of(), nonce, "clock 1800000001")
    assert quiet.ask(f"do {tag.hex()} clock 1800000002") == {"error": "wrong key"}


def test_a_nonce_goes_with_its_line_and_its_minute(image, tmp_path):
    desk = Desk(image, [], tmp_path)
    other = Port(lambda view: 0, bytearray().extend)
    desk.box.control.ports.append(other)
    nonce = desk.ask("nonce")["nonce"]
    tag = tag_of(key_of(), nonce, "clock 1800000001")
    asked = iter([line(f"!1 do {tag.hex()} clock 1800000001")])
    heard = bytearray()
    other._readinto = lambda view: 0
    other.write = heard.extend
    data = bytearray(next(asked))

    def readinto(view):
        count = min(len(view), len(data))
        view[:count] = data[:count]
        del data[:count]
        return count

    other._readinto = readinto
    while data or desk.box.control.turn(desk.box):
        desk.box.control.turn(desk.box)
    refused = {"error": "no nonce was asked for, or too long ago"}
    assert answers(bytes(heard)) == [("1", refused)], "another line's nonce"
    desk.clock.pass_time(60_000)
    assert desk.ask(f"do {tag.hex()} clock 1800000001") == refused, "a minute later"
    assert desk.log.clocks == []


def test_a_command_whose_answer_was_lost_is_asked_again_and_done_once(quiet):
    nonce = quiet.ask("nonce")["nonce"]
    tag = tag_of(key_of(), nonce, "clock 1800000001")
    asked = line(f"!9 do {tag.hex()} clock 1800000001")
    assert quiet.hear(asked) == quiet.hear(asked) == [("9", {"done": "clock"})]
    assert len(quiet.log.clocks) == 1


def test_after_a_wrong_key_it_hears_no_other_for_a_time_that_doubles(quiet):
    for wait_ms in (1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 64_000):
        assert quiet.do("start", key=bytes(32)) == {"error": "wrong key"}
        quiet.clock.pass_time(wait_ms - 1)
        assert "after a wrong key" in quiet.ask("nonce")["error"]
        assert quiet.ask("alarms 0")["rows"] == [], "reading goes on"
        quiet.clock.pass_time(1)
        assert "nonce" in quiet.ask("nonce")
    assert quiet.do("clock 1800000500") == {"done": "clock"}
    assert quiet.do("start", key=bytes(32)) == {"error": "wrong key"}
    quiet.clock.pass_time(1000)
    assert "nonce" in quiet.ask("nonce"), "a right one begins anew"


def test_a_nonce_from_before_a_wrong_key_waits_too(image, tmp_path):
    desk = Desk(image, [], tmp_path)
    first, second = desk.port, Port(lambda view: 0, bytearray().extend)
    desk.box.control.ports.append(second)
    nonce = desk.ask("nonce")["nonce"]
    second.nonce, second.nonce_ms = "00" * 16, desk.clock.now_ms()
    desk.box.control._wrong_ms, desk.box.control._wait_ms = desk.clock.now_ms(), 1000
    tag = tag_of(key_of(), nonce, "start")
    assert "after a wrong key" in desk.ask(f"do {tag.hex()} start")["error"]
    assert first.nonce == nonce, "and is not used up"


def test_a_box_without_a_key_can_be_read_and_not_changed(image, tmp_path):
    desk = Desk(image, [], tmp_path, provisioned=False)
    assert desk.rows("alarms") == [] and dict(desk.rows("identity"))["box"] is None
    assert desk.ask("nonce")["error"].startswith("the box was given no operator's key")
    tag = hmac.new(bytes(32), b"", "sha256").hexdigest()
    assert "error" in desk.ask(f"do {tag} start")


def test_without_a_log_nothing_is_changed_but_the_box_may_start_anew(quiet):
    quiet.box.recorder = None
    assert quiet.do("clock 1800000001") == {"error": "no log takes the record of it"}
    assert quiet.do("start") == {"done": "start"}


@pytest.mark.parametrize("verb, anew", [("start", True), ("stop", False)])
def test_it_ends_after_it_has_answered(quiet, verb, anew):
    quiet.box.begin()
    assert quiet.do(verb) == {"done": verb}
    assert quiet.box.running
    quiet.rig.play(0.7)
    assert not quiet.box.running and quiet.box.starts_anew is anew
    assert quiet.log.security_events == [("remote command taken", VEHICLE, 1_800_000_000, verb)]


def test_the_clock_is_set_and_told_and_no_fault(alarmed):
    assert alarmed.do("clock 1900000000") == {"done": "clock"}
    assert alarmed.log.clocks[-1] == (1_900_000_000, 2)
    alarmed.rig.play(12, 20)
    assert "box_clock" not in alarmed.box.status()["box_faults"]
    assert dict(alarmed.rows("identity"))["time_s"] == 1_900_000_012
    assert alarmed.do("clock 1800000000") == {"done": "clock"}
    assert ("clock set back", "by 100000012 s") in [(row[0], row[3]) for row in alarmed.log.security_events]


def test_a_clock_that_is_not_the_boxs_to_set_is_said_to_be(quiet):
    assert quiet.do("clock -5") == {"error": "the clock is not the box's to set (on Linux: NTP's)"}


def test_it_is_told_to_look_for_an_update_where_it_has_an_address(quiet):
    refused = {"error": "the box was told no address of updates"}
    assert quiet.do("look") == refused
    looks = []
    quiet.box.updates = SimpleNamespace(address="", look=lambda: looks.append(1))
    assert quiet.do("look") == refused and not looks
    quiet.box.updates.address = "http://127.0.0.1/box.cwu"
    assert quiet.do("look") == {"done": "look"} and looks == [1]
    assert quiet.log.security_events[-1][::3] == ("remote command taken", "look")


# --- another key ------------------------------------------------------------------------------------------------------


def rotation(desk, generation=2, master=MASTER, key=None):
    nonce = desk.ask("nonce")["nonce"]
    key = key or key_of()
    cover = hmac.new(key, b"cellwarden operator rotate 1\n" + nonce.encode(), "sha256").digest()
    fresh = key_of(master, generation=generation)
    hidden = bytes(a ^ b for a, b in zip(cover, fresh, strict=True))
    text = f"rotate {generation} {hidden.hex()}"
    assert fresh.hex() not in text
    return desk.ask(f"do {tag_of(key, nonce, text).hex()} {text}")


def test_the_next_key_opens_the_box_and_the_one_before_no_more(image, quiet, tmp_path):
    assert rotation(quiet) == {"done": "rotate"}
    assert quiet.log.security_events[-1][0::3] == ("remote command taken", "rotate 2"), "and no key in the record"
    assert quiet.do("clock 1800000001", key=key_of()) == {"error": "wrong key"}
    quiet.clock.pass_time(1000)
    assert quiet.do("clock 1800000001", key=key_of(generation=2)) == {"done": "clock"}
    again = Desk(image, [], tmp_path)
    assert again.do("clock 1800000001", key=key_of(generation=2)) == {"done": "clock"}, "after a start, too"
    for name in ("operator.a", "operator.b"):
        assert key_of() not in (tmp_path / name).read_bytes(), "the old key is nowhere"


def test_a_generation_that_is_not_the_next_is_refused(quiet):
    for generation in (0, 1, 3, -2):
        assert rotation(quiet, generation) == {"error": "the next key is the 2th"}
    assert quiet.do("clock 1800000001") == {"done": "clock"}


def test_it_may_be_of_another_master(quiet):
    assert rotation(quiet, master=bytes(32)) == {"done": "rotate"}
    assert quiet.do("clock 1800000001", key=key_of(bytes(32), generation=2)) == {"done": "clock"}


def test_the_power_may_go_at_any_byte_while_a_key_is_stored(tmp_path):
    """The old key or the new one counts, never neither; and the next start leaves one of them alone."""
    old, new = key_of(), key_of(generation=2)
    folder = Folder(str(tmp_path))
    OperatorKey(folder).provision(NAME, old)
    before = (tmp_path / "operator.a").read_bytes()
    OperatorKey(folder).store(NAME, 2, new)
    after = (tmp_path / "operator.a").read_bytes()
    assert len(before) == len(after) == 76
    for first in range(77):
        for second in range(77) if first == 76 else (0,):
            (tmp_path / "operator.a").write_bytes(after[:first] + before[first:])
            (tmp_path / "operator.b").write_bytes(after[:second] + before[second:])
            found = OperatorKey(folder)
            assert (found.generation, found.key) in ((1, old), (2, new)), (first, second)
            assert found.generation == 2 or first < 76
            left = {(tmp_path / name).read_bytes() for name in ("operator.a", "operator.b")}
            assert left == {after if found.generation == 2 else before}


@pytest.mark.parametrize("name", ["", "x" * 33, "two words", "tab\t", "ümlaut"])
def test_a_name_that_is_none_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="name"):
        OperatorKey(Folder(str(tmp_path))).provision(name, bytes(32))


def test_a_key_is_given_once(tmp_path):
    OperatorKey(Folder(str(tmp_path))).provision(NAME, bytes(32))
    with pytest.raises(ValueError, match="already"):
        OperatorKey(Folder(str(tmp_path))).provision(NAME, bytes(32))


# --- the log ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def logged(image, drive, tmp_path):
    """A box with a real log and an alarm in it."""
    desk = Desk(image, drive, tmp_path, log=Folder(str(tmp_path / "log")), recorder=a_log(tmp_path / "log", image))
    desk.rig.play(6, 20)
    return desk


def test_files_are_read_and_hashed_as_they_are(logged, tmp_path):
    files = dict(logged.rows("files"))
    assert files == {
        path.name: path.stat().st_size for path in (tmp_path / "log").iterdir() if path.suffix in (".cwb", ".cwf")
    }
    for name, size in files.items():
        data = (tmp_path / "log" / name).read_bytes()
        assert b64decode(logged.ask(f"read {name} 100 50")["data"]) == data[100:150]
        assert len(b64decode(logged.ask(f"read {name} 0 100000")["data"])) == CONSOLE_BYTES
        assert logged.ask(f"read {name} {size} 10") == {"data": ""}
        for part in (0, 1, size // 2, size):
            assert logged.ask(f"hash {name} {part}") == {"sha256": hashlib.sha256(data[:part]).hexdigest()}
        assert logged.ask(f"hash {name} {size + 1}") == {"error": "gone"}


@pytest.mark.parametrize(
    "name", ["key.a", "key.b", "operator.a", "../operator.a", "..", "state0", "", "x/00000001.cwb"]
)
def test_no_key_and_no_other_file_is_given_away(logged, name):
    told = {"error": "no file of the log"}
    assert logged.ask(f"read {name} 0 100") in (told, {"error": "no such question"})
    assert logged.ask(f"hash {name} 0") in (told, {"error": "no such question"})
    assert name not in dict(logged.rows("files"))


def test_an_answer_that_takes_longer_goes_to_who_asked_alone(logged):
    name, size = logged.rows("files")[-1]
    assert size > 2048
    logged.to_box += line(f"!77 hash {name} {size}")
    logged.said.clear()
    assert logged.box.control.turn(logged.box)
    logged.port.forget()  # the next one has come
    assert logged.hear() == []
    assert "sha256" in logged.ask(f"hash {name} {size}")


def test_a_file_that_is_not_there_is_said_to_be_gone(logged):
    assert logged.ask("read 00000099.cwb 0 100") == {"error": "gone"}
    assert logged.ask("hash 00000099.cwb 100") == {"error": "gone"}


def test_an_acknowledged_alarms_log_still_proves_its_verdicts(logged, compiled, tmp_path):
    for _ in range(2):
        logged.acknowledge()
        logged.rig.play(3, 20)
    assert logged.level() == 3
    logged.box.finish()
    found = Verification(tmp_path / "log", KEY)
    assert found.intact and found.complete
    replayed = Consistency(found, compiled, partial(open_engine, "python"))
    assert replayed.verdict is True and not replayed.faults and replayed.not_checkable == 0
    told = list(_records(tmp_path / "log"))
    acknowledged = [struct.unpack("<IB32s", record.body)[:2] for record in told if record.type == 13]
    assert acknowledged == [(catalogue.RULES.index(HVIL), 1)] * 2
    words = [record.body[22:].decode() for record in told if record.type == 11]
    assert words == [f"acknowledge {HVIL}"] * 2


def _records(log):
    for path in sorted(log.glob("*.cwb")):
        with open(path, "rb") as file:
            while record := F.next_record(file):
                yield record


class Wire:
    """The line between `cellwarden device` and a box here; breaks after some bytes. The box runs on meanwhile."""

    name = "wire"

    def __init__(self, desk, breaks_after=None, seconds=0.0):
        self.desk, self.left, self.seconds = desk, breaks_after, seconds
        desk.said.clear()
        desk.to_box.clear()
        desk.port.forget()

    def write(self, data):
        self._pass(len(data))
        self.desk.to_box += data

    def read(self, seconds):
        for _ in range(2000):
            if self.seconds:
                self.desk.rig.play(self.seconds, 20)
            else:
                self.desk.box.control.turn(self.desk.box)
            if self.desk.said:
                data = bytes(self.desk.said)
                self.desk.said.clear()
                self._pass(len(data))
                return data
        return b""

    def close(self):
        pass

    def _pass(self, count):
        if self.left is not None:
            self.left -= count
            if self.left < 0:
                raise OSError("unplugged")


def sealed_copy(desk, folder):
    """What a copy has to hold now, found by nothing of the pull: {name: bytes} up to the last seal and statement."""
    return {path.name: path.read_bytes() for path in (desk.folder / "log").iterdir() if path.suffix in (".cwb", ".cwf")}


def test_a_pull_that_is_cut_at_any_byte_goes_on_where_it_was(logged, tmp_path):
    with Running(Wire(logged)) as box:
        whole = pull(box, tmp_path / "whole")
    assert whole.fetched == whole.bytes > 3000
    real = sealed_copy(logged, tmp_path)
    there = {path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()}
    assert there and all(real[name].startswith(data) for name, data in there.items())
    length, cut, cuts = 2 * whole.bytes, 0, 0
    folder = tmp_path / "cut"
    fetched = 0
    for cut in range(0, length, 997):
        try:
            with Running(Wire(logged, cut)) as box:
                fetched = pull(box, folder).fetched
            break
        except Silent:
            cuts += 1
            whole_ones = [path for path in folder.iterdir() if path.suffix != ".part"] if folder.exists() else []
            assert all(path.read_bytes() == there[path.name] for path in whole_ones), "what has its name is whole"
    assert cuts > 5 and fetched < whole.bytes, "it did not begin anew"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == there


def a_small_box(image, frames, tmp_path, before_ms):
    """One whose log has small segments and annexes."""

    def recorder(engine):
        folder = Folder(str(tmp_path / "log"))
        chain = Chain(folder, FileKeys(folder), VEHICLE, image.identity, capacity=64 << 10, segment_bytes=4 << 10)
        return Recorder(
            engine, chain, folder, annexes_bytes=64 << 10, annex_bytes=8 << 10, before_ms=before_ms, after_ms=1000
        )

    (tmp_path / "log").mkdir()
    FileKeys(Folder(str(tmp_path / "log"))).provision(KEY)
    return Desk(image, frames, tmp_path, log=Folder(str(tmp_path / "log")), recorder=recorder, most=1024)


def test_a_copy_made_while_the_box_runs_and_removes_files_is_proven(image, tmp_path):
    """Small segments and annexes, so that the box ends one and removes another many times while it is asked."""
    desk = a_small_box(image, simulate("healthy_drive", DEMO_PROFILE, 1, 3), tmp_path, before_ms=8000)
    desk.rig.play(50, 20)
    before = set(dict(desk.rows("files")))
    with Running(Wire(desk, seconds=0.24)) as box:
        found = pull(box, tmp_path / "copy")
    assert before - set(dict(desk.rows("files"))), "the box has removed files meanwhile"
    assert not found.missing
    verified = Verification(tmp_path / "copy", KEY, found.anchor)
    assert verified.intact and verified.complete, verified.faults
    desk.rig.play(10, 20)
    with Running(Wire(desk, seconds=0.24)) as box:
        again = pull(box, tmp_path / "copy")
    assert again.fetched < again.bytes
    verified = Verification(tmp_path / "copy", KEY, again.anchor)
    assert verified.intact and verified.complete, verified.faults


def test_a_file_that_comes_otherwise_than_the_box_says_is_refused(logged, tmp_path):
    wire = Wire(logged)
    read = logged.box.control._read

    def lies(name, at, count):
        told = read(name, at, count)
        return told if at else {"data": "AAAA" + told["data"][4:]}

    logged.box.control._read = lies
    with Running(wire) as box, pytest.raises(InputError, match="comes otherwise than the box says"):
        pull(box, tmp_path / "copy")
    assert not [path for path in (tmp_path / "copy").iterdir() if path.suffix != ".part"]


def test_a_copy_that_was_changed_here_is_fetched_anew(logged, tmp_path):
    with Running(Wire(logged)) as box:
        pull(box, tmp_path / "copy")
    name = sorted(path.name for path in (tmp_path / "copy").iterdir())[0]
    right = (tmp_path / "copy" / name).read_bytes()
    (tmp_path / "copy" / name).write_bytes(right[:-1] + b"?")
    with Running(Wire(logged)) as box:
        assert pull(box, tmp_path / "copy").fetched == len(right)
    assert (tmp_path / "copy" / name).read_bytes() == right


def test_what_goes_faster_than_it_can_be_copied_is_named_and_the_rest_is_there(image, tmp_path):
    """Annexes of one second without an alarm, over a line on which each answer takes as long."""
    desk = a_small_box(image, simulate("healthy_drive", DEMO_PROFILE, 1, 8), tmp_path, before_ms=1000)
    desk.rig.play(40, 20)
    with Running(Wire(desk, seconds=1.5)) as box:
        found = pull(box, tmp_path / "copy")
    assert found.missing
    verified = Verification(tmp_path / "copy", KEY, found.anchor)
    assert verified.intact and not verified.complete
    assert {fault.reason.split(",")[0] for fault in verified.faults} == set(found.missing)


def test_on_micropython_nothing_that_comes_takes_memory_until_it_is_a_question(tmp_path):
    try:
        micropython = find_micropython()
    except InputError as error:
        pytest.skip(str(error))
    write_device_files(tmp_path)
    noise = random.Random("pipe")
    flood = noise.randbytes(20_000).replace(b"!", b"?") + b"\r!" + b"x" * 20_000 + b"\r"
    flood += b"\r" + b"x!7 alarms 0 1800fe24\r" * 100 + b"!" * (LONGEST + 1) + b"\r"
    command = [micropython, Path(__file__).with_name("control_guest.py"), tmp_path / "socket"]
    asked = flood + line("!8 nonce") + line("!8 nonce")
    done = subprocess.run(
        command, input=asked, capture_output=True, timeout=60, env={**os.environ, "MICROPYPATH": str(tmp_path)}
    )
    assert done.returncode == 0, done.stderr.decode()
    ready, told = done.stdout.decode().splitlines()
    turns, read, answer = told.split(" ", 2)
    assert ready == "ready" and int(turns) > 600 and int(read) >= len(flood) - READ_BYTES
    assert answers(answer.encode() + b"\r\n")[0][0] == "8"
