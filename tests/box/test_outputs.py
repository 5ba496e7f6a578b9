"""What the box says: the alarm frames as another library reads them, the lamp, the profile's word on transmitting."""

from array import array
from itertools import pairwise
from pathlib import Path

import cantools
import pytest
from cellwarden.core import catalogue
from cellwarden.core import layout as L
from cellwarden.hazards import FIRST, ROWS, Hazards
from cellwarden.outputs import AlarmFrames, Lamp, told
from cellwarden_tools.compiler.image import compile_profile
from cellwarden_tools.errors import InputError
from cellwarden_tools.simulator import DEMO_PROFILE

DBC = Path(__file__).parents[2] / "dbc" / "cellwarden.dbc"


class Wire:
    def __init__(self):
        self.frames, self.takes = [], True

    def send(self, can_id, data):
        if self.takes:
            self.frames.append((can_id, bytes(data)))
        return self.takes


class Seen:
    """What an output sees of a box."""

    def __init__(self, engine):
        self.engine, self.hazards = engine, Hazards()

    def rule(self, name, level):
        params = self.engine.params
        row = catalogue.RULES.index(name)
        self.engine.state[params[L.P_RULES_AT] + row * L.RULE_SIZE + L.LEVEL_NOW] = level
        return row


@pytest.fixture
def dbc():
    return cantools.database.load_file(DBC, strict=True)


def crc8_j1850(data):
    """Bit by bit, from the parameters of SAE J1850: polynomial 0x1D, initial and final 0xFF."""
    remainder = 0xFF
    for byte in data:
        remainder ^= byte
        for _ in range(8):
            remainder = (remainder << 1) ^ (0x1D if remainder & 0x80 else 0)
            remainder &= 0xFF
    return remainder ^ 0xFF


def test_the_check_value_of_the_crc():
    assert crc8_j1850(b"123456789") == 0x4B


def sent(engine, dbc, seen, events=(), frames=None):
    wire = Wire()
    alarm = AlarmFrames(wire)
    for event in events:
        alarm.event(array("i", event))
    alarm.update(seen, 0)
    (first, one), (second, other) = wire.frames
    assert (first, second) == (1776, 1777)
    for data in (one, other):
        assert data[0] == crc8_j1850(data[1:])
    return dbc.decode_message(1776, one), dbc.decode_message(1777, other)


def test_a_vehicle_that_is_fine(engine, dbc):
    engine.state[L.KNOWN] = 1
    alarm, rules = sent(engine, dbc, Seen(engine))
    assert (alarm["Level"], alarm["Rule"], alarm["Known"], alarm["BoxLevel"]) == (0, 127, 1, 0)
    assert alarm["Value"] == -(1 << 23) and alarm["Where"] == 0
    assert not any(value for name, value in rules.items() if name not in ("CRC", "Counter"))


def test_the_worst_rule_with_its_place_and_value(engine, dbc):
    seen = Seen(engine)
    engine.state[L.LEVEL], engine.state[L.MAX_LEVEL] = 2, 3
    seen.rule("cell_spread", 1)
    seen.rule("bms_alarm", 2)  # not our own finding
    over = seen.rule("temperature_high", 2)
    alarm, rules = sent(engine, dbc, seen, [(0, over, 0, 2, 24, 612), (0, over + 1, 0, 1, 1, 5)])
    assert alarm["Rule"] == catalogue.RULES.index("temperature_high")
    assert (alarm["Level"], alarm["MaxLevel"], alarm["Known"]) == (2, 3, 0)
    assert (alarm["Where"], alarm["Value"]) == (24, 612)
    held = {name for name, value in rules.items() if value and name not in ("CRC", "Counter")}
    assert held == {"cell_spread", "bms_alarm", "temperature_high"}


@pytest.mark.parametrize("value", [-1, -300, 8388607, -8388607, 9_999_999, -9_999_999, L.NA])
def test_values_are_signed_and_end_at_24_bits(engine, dbc, value):
    seen = Seen(engine)
    engine.state[L.LEVEL] = 3
    row = seen.rule("overcurrent_charge", 3)
    alarm, _ = sent(engine, dbc, seen, [(0, row, 0, 3, 0, value)])
    assert alarm["Value"] == (-(1 << 23) if value == L.NA else max(-8388607, min(8388607, value)))


def test_each_rule_and_each_hazard_of_the_box_has_its_own_bit(engine, dbc):
    for name in catalogue.RULES:
        seen = Seen(type(engine)(engine_image(engine)))
        seen.rule(name, 1)
        _, rules = sent(engine, dbc, seen)
        assert [n for n, v in rules.items() if v and n not in ("CRC", "Counter")] == [name]
    for row, (name, level) in enumerate(ROWS):
        seen = Seen(type(engine)(engine_image(engine)))
        seen.hazards.failed(row, 0)
        alarm, rules = sent(engine, dbc, seen)
        assert [n for n, v in rules.items() if v and n not in ("CRC", "Counter")] == [name]
        assert alarm["BoxLevel"] == level


def engine_image(engine):
    return type("Image", (), {"params": engine.params, "drain": None})


def test_the_counter_counts_what_was_tried_so_that_a_gap_shows(engine, dbc):
    wire, seen = Wire(), Seen(engine)
    alarm = AlarmFrames(wire)
    for n in range(20):
        wire.takes = n != 7
        alarm.update(seen, 100 * n)
    counters = [dbc.decode_message(1776, data)["Counter"] for can_id, data in wire.frames if can_id == 1776]
    assert counters == [n % 16 for n in range(20) if n != 7] and (alarm.sent, alarm.unsent) == (38, 2)


def test_the_lamp_tells_levels_apart(engine):
    seen, states = Seen(engine), {}
    for level, known in ((0, 1), (0, 0), (1, 1), (2, 1), (3, 1)):
        engine.state[L.LEVEL], engine.state[L.KNOWN] = level, known
        lit, shown = [0], []
        lamp = Lamp(lambda on, lit=lit: lit.__setitem__(0, on))
        for t_ms in range(0, 2000, 25):
            lamp.update(seen, t_ms)
            shown.append(lit[0])
        states[level, known] = (sum(shown), sum(a != b for a, b in pairwise(shown)))
    assert states == {(0, 1): (0, 0), (0, 0): (4, 1), (1, 1): (40, 3), (2, 1): (40, 15), (3, 1): (80, 0)}


def test_events_are_told_by_name():
    assert told(array("i", (5000, 1, 0, 3, 32, 1995))) == {
        "t_ms": 5000, "event": "raise", "rule": "cell_undervoltage", "level": 3, "before": 0, "where": 32,
        "value": 1995,
    }  # fmt: skip
    assert told(array("i", (5000, FIRST + 1, 2, 0, 0, L.NA)))["rule"] == "box_log"


# --- the profile's word -----------------------------------------------------------------------------------------------


def compiled(tmp_path, text):
    (tmp_path / "demo_pack.dbc").write_bytes(Path(DEMO_PROFILE).with_name("demo_pack.dbc").read_bytes())
    (tmp_path / "demo_pack.toml").write_text(Path(DEMO_PROFILE).read_text() + text)
    return compile_profile(tmp_path / "demo_pack.toml").image


def test_without_the_word_an_image_only_listens(demo, tmp_path):
    assert "transmit" not in demo.manifest
    assert compiled(tmp_path, "").sha256 == demo.sha256


def test_with_the_word_the_image_says_where(tmp_path):
    assert compiled(tmp_path, '[transmit]\nchannel = "can0"\n').manifest["transmit"] == {"bus": 0, "id": 0x6F0}
    found = compiled(tmp_path, '[transmit]\nchannel = "can0"\nid = 0x7A0\n').manifest["transmit"]
    assert found == {"bus": 0, "id": 0x7A0}


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("", r"\[transmit\]: channel = None; expected the channel of a \[\[bus\]\] \(\"can0\"\)"),
        ('channel = "can1"', "channel = 'can1'"),
        ('channel = "can0"\nid = 0x186', "id 0x186 is that of PackStatus"),
        ('channel = "can0"\nid = 0x185', "id 0x186 is that of PackStatus"),
        ('channel = "can0"\nid = 0x7FF', "id = 2047"),
        ('channel = "can0"\npower = 1', "no key `power`"),
    ],
)
def test_a_word_that_makes_no_sense_is_refused(tmp_path, text, complaint):
    with pytest.raises(InputError, match=complaint):
        compiled(tmp_path, f"[transmit]\n{text}\n")
