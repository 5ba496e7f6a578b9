"""The simulator: its frames say what its pack says, and its scenarios do what they promise."""

import hashlib
import json
import os
import subprocess
import sys
from collections import defaultdict, deque
from itertools import pairwise
from pathlib import Path

import cantools
import pytest
import typer
from cellwarden_tools.cli.simulate import simulate as verb
from cellwarden_tools.compiler.profile import load_profile
from cellwarden_tools.errors import InputError
from cellwarden_tools.simulator import DEMO_PROFILE, scenarios
from cellwarden_tools.simulator.pack import ARRAYS, SCALARS, SLOT, STEP_MS
from cellwarden_tools.simulator.run import build, simulate
from typer.testing import CliRunner

DBC = Path(__file__).parents[2] / "dbc" / "demo_pack.dbc"
EXT = 1 << 29
HEALTHY = [name for name in scenarios.names() if name.startswith("healthy")]
# Those that lead a value through the limits of section A, at times that the scenario says.
LIMITS = [name for name in scenarios.names() if any("limits_s" in e for e in scenarios.load(name)["expect"])]


@pytest.fixture(scope="module")
def messages():
    """{can_id: cantools message}"""
    database = cantools.database.load_file(DBC)
    return {message.frame_id | EXT * message.is_extended_frame: message for message in database.messages}


def digest(*args):
    told = hashlib.sha256()
    for frame in simulate(*args):
        told.update(repr(frame).encode())
    return told.hexdigest()


def crc8_j1850(data):
    """SAE J1850 bit by bit."""
    value = 0xFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ 0x1D if value & 0x80 else value << 1) & 0xFF
    return value ^ 0xFF


# Determinism


def test_the_same_seed_gives_the_same_bytes():
    assert digest("demo", DEMO_PROFILE, 7, 0.5) == digest("demo", DEMO_PROFILE, 7, 0.5)


def test_another_seed_or_scenario_gives_other_bytes():
    told = {digest(name, DEMO_PROFILE, seed, 0.2) for name in ("demo", "healthy_drive") for seed in (1, 2)}
    assert len(told) == 4


def test_the_same_seed_gives_the_same_bytes_in_another_process():
    code = (
        "import hashlib\n"
        "from cellwarden_tools.simulator import DEMO_PROFILE\n"
        "from cellwarden_tools.simulator.run import simulate\n"
        "told = hashlib.sha256()\n"
        "for frame in simulate('demo', DEMO_PROFILE, 3, 0.2): told.update(repr(frame).encode())\n"
        "print(told.hexdigest())"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONHASHSEED": "5"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == digest("demo", DEMO_PROFILE, 3, 0.2)


def test_a_shorter_run_is_the_beginning_of_a_longer_one():
    short, long = (list(simulate("demo", DEMO_PROFILE, 1, minutes)) for minutes in (0.1, 0.2))
    assert long[: len(short)] == short


# Frames


def test_every_frame_says_what_the_pack_says_within_half_a_quantum(messages):
    profile = load_profile(DEMO_PROFILE)
    pack, traffic = build(scenarios.load("demo"), profile, 1)
    quantity_of = {f"{b.message.name}.{b.signal.name}": b for b in profile.bindings}
    checked = set()

    def before(t_us):
        while pack.steps * STEP_MS * 1000 <= t_us:
            pack.step()

    to_dbc = {"V": 1e-3, "A": 1e-3, "%": 0.1, "degC": 0.1, "kohm": 1e-3}
    for _, _, can_id, data in traffic.frames(0, 20_000_000, before):
        message = messages[can_id]
        for name, physical in message.decode(data, decode_choices=False).items():
            binding = quantity_of.get(f"{message.name}.{name}")
            if not binding:
                continue
            quantity, signal = binding.quantity.name, message.get_signal_by_name(name)
            first = {"cell_voltage": pack.cell0, "temperature": pack.probe0}
            slot = first[quantity] + binding.index - 1 if quantity in ARRAYS else SLOT[quantity]
            value = pack.values[slot]
            if value is None:
                assert (quantity, physical) == ("insulation", 65535)
            elif SCALARS.get(quantity) in ("state", "level", "count"):
                assert physical == value
            else:
                wanted = value * to_dbc[signal.unit] * (-1 if quantity == "pack_current" else 1)
                assert physical == pytest.approx(wanted, abs=0.5 * signal.scale * (1 + 1e-9)), f"{message.name}.{name}"
            checked.add((quantity, binding.index))
    assert len(checked) == len(profile.bindings), "a mapped signal was never sent"


def test_every_frame_is_what_cantools_would_encode(messages):
    for _, _, can_id, data in simulate("demo", DEMO_PROFILE, 1, 0.2):
        told = messages[can_id].decode(data, decode_choices=False, scaling=False)
        assert messages[can_id].encode(told, scaling=False, strict=False) == data


def test_the_hand_computed_check_value_holds():
    assert crc8_j1850(b"123456789") == 0x4B


def test_every_checksum_is_j1850_over_the_other_bytes(messages):
    seen = set()
    for _, _, can_id, data in simulate("demo", DEMO_PROFILE, 1, 0.2):
        message = messages[can_id]
        crc = next((signal for signal in message.signals if signal.name == "CRC"), None)
        if crc:
            at = crc.start // 8
            assert data[at] == crc8_j1850(data[:at] + data[at + 1 :]), message.name
            seen.add(message.name)
    assert seen == {"VcuMotion", "MotorStatus", "PackStatus", "Status", "Limits", "Temps"}


def test_every_counter_steps_by_one(messages):
    counts = defaultdict(list)
    for _, _, can_id, data in simulate("demo", DEMO_PROFILE, 1, 0.2):
        told = messages[can_id].decode(data, decode_choices=False)
        if "Counter" in told:
            counts[can_id].append(told["Counter"])
    assert len(counts) == 7
    for can_id, told in counts.items():
        assert told == [n % 16 for n in range(len(told))], messages[can_id].name


def test_frames_come_in_time_and_never_two_at_once(messages):
    times, last = defaultdict(list), -1
    for t_us, channel, can_id, _ in simulate("demo", DEMO_PROFILE, 1, 0.5):
        assert t_us > last
        assert channel == "can0"
        last = t_us
        times[can_id].append(t_us)
    assert set(times) == set(messages), "a message of the DBC was never sent"
    for can_id, told in times.items():
        period_us = 1000 * (messages[can_id].cycle_time or 1000)
        steps = [b - a for a, b in pairwise(told)]
        assert len(told) == pytest.approx(30_000_000 / period_us, abs=1.1)
        assert max(abs(step - period_us) for step in steps) < 4000, messages[can_id].name
    jitter = [b - a for a, b in pairwise(times[416])]
    assert len(set(jitter)) > 50, "no bus is so regular"


OTHER_DBC = """VERSION ""
BS_:
BU_: ECU
BO_ 256 One: 8 ECU
 SG_ Volts : 7|16@0+ (0.05,10) [0|1000] "V" ECU
 SG_ Amps : 16|20@1- (0.01,0) [0|0] "A" ECU
 SG_ Level : 39|3@0+ (1,0) [0|7] "" ECU
 SG_ Sum : 56|8@1+ (1,0) [0|255] "" ECU
 SG_ Turn : 55|3@0+ (1,0) [0|7] "" ECU
BO_ 2566844673 Two: 8 ECU
 SG_ Box M : 0|4@1+ (1,0) [0|15] "" ECU
 SG_ Row m2M : 4|4@1+ (1,0) [0|15] "" ECU
 SG_ Z1 m0 : 15|16@0+ (2,100) [0|0] "mV" ECU
 SG_ Z2 m0 : 31|16@0+ (2,100) [0|0] "mV" ECU
 SG_ Z3 m1 : 16|16@1+ (1,0) [0|0] "mV" ECU
 SG_ Z4 m1 : 40|16@1+ (1,0) [0|0] "mV" ECU
SG_MUL_VAL_ 2566844673 Z1 Row 1-1;
SG_MUL_VAL_ 2566844673 Z2 Row 2-2;
SG_MUL_VAL_ 2566844673 Z3 Box 5-5;
SG_MUL_VAL_ 2566844673 Z4 Box 5-5;
SG_MUL_VAL_ 2566844673 Row Box 2-2;
BA_DEF_ BO_ "GenMsgCycleTime" INT 0 65535;
BA_DEF_DEF_ "GenMsgCycleTime" 0;
BA_ "GenMsgCycleTime" BO_ 256 50;
"""
OTHER_PROFILE = """
[vehicle]
name = "other"
chemistry = "lfp"
cells = 4
probes = 1
[[bus]]
channel = "body"
dbc = "other.dbc"
[signals]
pack_voltage = "One.Volts"
pack_current = "One.Amps"
bms_level = { signal = "One.Level", levels = [3, 5, [6, 7]] }
cell_voltage = "Two.Z{n}"
[messages.One]
counter = "Turn"
checksum = { signal = "Sum", kind = "crc8-autosar" }
[messages.Two]
period_ms = 20
"""


def test_any_profile_can_be_simulated(tmp_path):
    (tmp_path / "other.dbc").write_text(OTHER_DBC)
    (tmp_path / "other.toml").write_text(OTHER_PROFILE)
    database = cantools.database.load_file(tmp_path / "other.dbc")
    told, count = {}, 0
    for _, channel, can_id, data in simulate("healthy_park", tmp_path / "other.toml", 1, 0.1):
        assert channel == "body"
        message = database.get_message_by_frame_id(can_id & ~EXT)
        assert message.is_extended_frame == bool(can_id & EXT)
        told |= message.decode(data, decode_choices=False)
        count += 1
    assert count == pytest.approx(6 * (20 + 50), abs=3)
    cells = [told[f"Z{n}"] for n in range(1, 5)]
    assert all(3200 < cell < 3400 for cell in cells)
    assert told["Volts"] == pytest.approx(sum(cells) / 1000, abs=1.5)
    assert told["Level"] == 3
    assert told["Amps"] == 0


# Scenarios, judged by a slow float reading of HAZARDS section A.

ABOVE, BELOW = 1, -1
# rule: (side, limits, seconds to assert, clear limit from the level's limit, seconds to clear)
SECTION_A = {
    "cell_overvoltage": (ABOVE, (4.25, 4.28, 4.35), (1, 1, 1), lambda x: x - 0.03, 5),
    "cell_undervoltage": (BELOW, (2.9, 2.75, 2.5), (1, 1, 0.3), lambda x: x + 0.15, 10),
    "pack_overvoltage": (ABOVE, (408, 410.88, 417.6), (1, 1, 1), lambda x: x * 0.99, 5),
    "pack_undervoltage": (BELOW, (278.4, 264, 240), (1, 1, 1), lambda x: x * 1.02, 10),
    "temperature_high": (ABOVE, (55, 60, 65), (2, 2, 2), lambda x: x - 3, 10),
    "temperature_spread": (ABOVE, (12, 18, 25), (5, 5, 5), lambda x: x - 2, 10),
    "charge_too_cold": (BELOW, (0, -5, -10), (10, 10, 10), lambda x: x + 2, 10),
    "cell_spread": (ABOVE, (0.15, 0.3, 0.5), (5, 5, 5), lambda x: x - 0.03, 10),
    "overcurrent_discharge": (ABOVE, (1.05, 1.15, 1.3), (5, 2, 0.5), lambda x: 0.95, 5),
    "overcurrent_charge": (ABOVE, (1.05, 1.15, 1.3), (5, 2, 0.5), lambda x: 0.95, 5),
    "insulation_low": (BELOW, (500, 300, 100), (5, 5, 1), lambda x: x * 1.2, 20),
    "soc_low": (BELOW, (10, 5, 2), (5, 5, 5), lambda x: x + 2, 10),
    "soc_high": (ABOVE, (101, 103, 105), (5, 5, 5), lambda x: x - 2, 10),
    "overcharge": (ABOVE, (1, 1, 1), (5, 15, 30), lambda x: 0.5, 10),
    "hvil_open": (ABOVE, (9, 9, 1), (0, 0, 0.3), lambda x: 0.5, 3),
    "bms_alarm": (ABOVE, (1, 2, 3), (0.2, 0.2, 0.2), lambda x: x - 0.5, 1),
}


class Oracle:
    """Latest decoded values -> features -> levels. events: (t_s, rule, level, where)."""

    def __init__(self):
        self.cells, self.probes, self.now = {}, {}, {}
        self.events, self.levels = [], dict.fromkeys(SECTION_A, 0)
        self.since, self.good = {}, {}
        self.currents = deque(maxlen=21)

    def decoded(self, told):
        for name, value in told.items():
            if name.startswith("Cell"):
                self.cells[int(name[4:])] = value
            elif name.startswith("Probe"):
                self.probes[int(name[5:])] = value
            elif name != "Resistance" or value != 65535:
                self.now[name] = value

    def features(self):
        """{rule: (value, where)}; a rule that is gated off is not there."""
        now, cells, probes = self.now, self.cells, self.probes
        drawn = -now["Current"]
        high, low = max(cells, key=cells.get), min(cells, key=cells.get)
        hot, cold = max(probes, key=probes.get), min(probes, key=probes.get)
        charging = now["Charge"] > 0
        told = {
            "cell_overvoltage": (cells[high], high),
            "cell_undervoltage": (cells[low], low),
            "pack_overvoltage": (now["Voltage"], 0),
            "temperature_high": (probes[hot], hot),
            "temperature_spread": (probes[hot] - probes[cold], 0),
            "cell_spread": (cells[high] - cells[low], 0),
            "overcurrent_discharge": (drawn / now["MaxDischargeCurrent"], 0),
            "overcurrent_charge": (-drawn / now["MaxChargeCurrent"], 0),
            "soc_low": (now["SOC"], 0),
            "soc_high": (now["SOC"], 0),
            "hvil_open": (1 - now["HVIL"], 0),
            "bms_alarm": (now["Alarm"], 0),
            "overcharge": (charging and drawn < -1 and (cells[high] >= 4.25 or now["SOC"] > 100), 0),
        }
        if now["Contactors"]:
            told["pack_undervoltage"] = (now["Voltage"], 0)
        if charging:
            told["charge_too_cold"] = (probes[cold], cold)
        if "Resistance" in now and now["Valid"]:
            told["insulation_low"] = (1000 * now["Resistance"] / now["Voltage"], 0)
        return told

    def scan(self, t_s):
        if (
            len(self.cells) < 96
            or len(self.probes) < 24
            or not {"HVIL", "Voltage", "MaxChargeCurrent"} <= set(self.now)
        ):
            return
        self.currents.append(self.now["Current"])
        calm = max(map(abs, self.currents)) <= 5 and max(self.currents) - min(self.currents) < 2
        features = self.features()
        for rule, (side, limits, asserts, clear, clear_s) in SECTION_A.items():
            if rule not in features:
                continue
            value, where = features[rule]
            level = self.levels[rule]
            for n, limit in enumerate(limits, 1):
                gated = rule == "cell_spread" and n == 1 and not calm
                if (value - limit) * side >= 0 and not gated:
                    if t_s - self.since.setdefault((rule, n), t_s) >= asserts[n - 1]:
                        level = max(level, n)
                else:
                    self.since.pop((rule, n), None)
            while level and level == self.levels[rule]:
                if (value - clear(limits[level - 1])) * side > 0:
                    self.good.pop((rule, level), None)
                    break
                if t_s - self.good.setdefault((rule, level), t_s) < clear_s:
                    break
                level = self.levels[rule] = level - 1
                self.events.append((t_s, rule, level, where))
            if level > self.levels[rule]:
                self.levels[rule] = level
                self.events.append((t_s, rule, level, where))


SEEDS = (1, pytest.param(2, marks=pytest.mark.long))


@pytest.fixture(scope="module")
def judged(messages):
    """judged(name, seed) -> Oracle after the whole scenario, each run once."""
    done = {}

    def run(name, seed):
        if (name, seed) not in done:
            oracle, scan_s = Oracle(), 0.0
            for t_us, _, can_id, data in simulate(name, DEMO_PROFILE, seed):
                while scan_s * 1e6 <= t_us:
                    oracle.scan(scan_s)
                    scan_s = round(scan_s + 0.1, 1)
                message = messages[can_id]
                if "BMS" in message.senders and message.name != "BmsInfo":
                    oracle.decoded(message.decode(data, decode_choices=False))
            done[name, seed] = oracle
        return done[name, seed]

    return run


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_pack_stays_inside_every_limit(judged, name, seed):
    assert judged(name, seed).events == []


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["demo", *LIMITS])
def test_a_fault_crosses_exactly_the_limits_it_promises_where_and_when(judged, name, seed):
    told, oracle = scenarios.load(name), judged(name, seed)
    highest = defaultdict(int)
    for _, rule, level, _ in oracle.events:
        highest[rule] = max(highest[rule], level)
    assert highest == {expect["rule"]: expect["level"] for expect in told["expect"]}
    assert oracle.events[0][0] >= min(fault["starts_s"] for fault in told["fault"]), "raised before the fault began"
    for expect in told["expect"]:
        rule = expect["rule"]
        raised = {}
        for t_s, which, level, where in oracle.events:
            if which == rule and level:
                raised.setdefault(level, t_s)
                if "where" in expect:
                    assert where == expect["where"]
        asserts = SECTION_A[rule][2]
        for level, limit_s in enumerate(expect.get("limits_s", []), 1):
            # A probe reads in whole degrees: half a degree of a slow rise is some seconds.
            assert -4 < raised[level] - limit_s - asserts[level - 1] < 2, f"{rule} level {level}"
        assert (oracle.levels[rule] == 0) == expect.get("clears", False)


def test_the_demonstration_rises_changes_and_clears(judged):
    events = judged("demo", 1).events
    levels = [level for _, rule, level, _ in events if rule == "temperature_spread"]
    assert levels == [1, 2, 3, 2, 1, 0]
    assert len({rule for _, rule, _, _ in events}) >= 5


@pytest.mark.parametrize("name", scenarios.names())
def test_every_scenario_says_what_people_and_tests_need(name):
    told = scenarios.load(name)
    assert told["title"]
    assert told["section"] in scenarios.SECTIONS
    assert told["twin_of"] or (told["section"] == "healthy") == (not told["expect"])
    for expect in told["expect"]:
        assert set(expect) <= {"rule", "level", "where", "limits_s", "from_s", "within_s", "clears"}
        assert len(expect.get("limits_s", [])) in (0, expect["level"])
        assert 0 <= expect["from_s"] < expect["from_s"] + expect["within_s"] <= 60 * told["minutes"]
        assert expect["rule"] != told["twin_of"]
    assert told["twin_of"] not in told["may"]


# What a user gets wrong.


def scenario_file(tmp_path, **changes):
    told = {"title": '"x"', "mode": '"park"', "minutes": "1"} | changes
    path = tmp_path / "mine.toml"
    path.write_text("\n".join(f"{key} = {value}" for key, value in told.items() if value is not None))
    return path


def fault(**changes):
    told = {"quantity": '"cell_voltage"', "where": "1", "starts_s": "1", "path_mv": "[[2, 3000]]"} | changes
    return "[{ " + ", ".join(f"{key} = {value}" for key, value in told.items() if value is not None) + " }]"


def test_a_scenario_of_ones_own_can_be_simulated(tmp_path):
    path = scenario_file(tmp_path, fault=fault())
    assert sum(1 for _ in simulate(path, DEMO_PROFILE, 1)) > 10_000


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"title": None}, "says no `title`"),
        ({"mode": '"drift"'}, "did you mean `drive`"),
        ({"minuets": "3"}, "did you mean `minutes`"),
        ({"minutes": "0"}, "more than 0"),
        ({"minutes": "nan"}, "expected a number"),
        ({"minutes": "true"}, "expected a number"),
        ({"soc_permille": '"full"'}, "expected a number"),
        ({"chemistry": '"lfp"'}, "the profile's are nmc"),
        ({"fault": "3"}, "fault = 3"),
        ({"fault": "[3]"}, "[[fault]]"),
        ({"soc_permille": "inf"}, "expected a number"),
        ({"pack": '"demo_gatway"'}, "did you mean `demo_gateway`"),
        ({"section": '"F"'}, "section `F`"),
        ({"then": "[[5]]"}, "[[second, mode], ...]"),
        ({"then": '[[20, "park"], [10, "drive"]]'}, "seconds rising"),
        ({"then": '[[20, "dive"]]'}, "did you mean `drive`"),
        ({"sleep": "[{ starts_s = 5, ends_s = 4 }]"}, "lasts from 5 to 4"),
        ({"sleep": "[{ starts_s = 5, ends_s = 9, stail_s = 1 }]"}, "did you mean `stale_s`"),
        ({"sleep": "[{ starts_s = 5, ends_s = 9, again_s = 4 }]"}, "more than they last"),
        ({"cell": "[{ where = 97 }]"}, "expected 1 to 96"),
        ({"cell": "[{ where = 1, capacity = 0 }]"}, "a number over 0"),
        ({"cell": '[{ where = 1, bias_mv = "x" }]'}, "bias_mv = 'x'"),
        ({"fault": fault(kind='"inner_shrt"')}, "did you mean `inner_short`"),
        ({"fault": fault(where='"90-97"')}, "expected 1 to 96"),
        ({"fault": fault(pathmv="[[2, 3]]")}, "did you mean `path_mv`"),
        ({"fault": fault(starts_s="nan")}, "rising order"),
        ({"fault": '[{ kind = "inner_short", where = 3, starts_s = 1 }]'}, "one of ohm and path_ohm"),
        ({"fault": '[{ kind = "inner_short", where = 3, starts_s = 1, ohm = -1 }]'}, "numbers from 0"),
        ({"fault": '[{ kind = "inner_short", where = 3, at_s = [3, 2], for_s = 1, ohm = 1 }]'}, "rising order"),
        ({"fault": '[{ kind = "joint", where = 3, starts_s = 5, ends_s = 5, mohm = 1 }]'}, "starts_s, then ends_s"),
        ({"fault": '[{ kind = "line", where = 96, starts_s = 1, path_mv = [[2, 3]] }]'}, "expected 1 to 95"),
        ({"fault": '[{ kind = "noise", quantity = "soc", starts_s = 1, sigma_permille = -1 }]'}, "a number from 0"),
        ({"fault": '[{ kind = "drop", messages = ["Cels"], starts_s = 1 }]'}, "no message is called Cels"),
        ({"fault": '[{ kind = "drop", messages = "Cells", starts_s = 1 }]'}, "a list of names"),
        ({"fault": '[{ kind = "clock", starts_s = 1 }]'}, "back_s = None"),
        ({"fault": '[{ kind = "drop", shar = 0.5, starts_s = 1 }]'}, "did you mean `share`"),
        ({"fault": fault(quantity='"cell_voltge"')}, "did you mean `cell_voltage`"),
        ({"fault": fault(where="97")}, "expected 1 to 96"),
        ({"fault": fault(where=None)}, "expected 1 to 96"),
        ({"fault": fault(path_mv=None)}, "path_mv and add_mv"),
        ({"fault": fault(add_mv="[[2, 3]]")}, "path_mv and add_mv"),
        ({"fault": fault(path_mv="[[2]]")}, "[[second, value], ...]"),
        ({"fault": fault(starts_s=None)}, "rising order"),
        ({"fault": fault(ends_s="1")}, "rising order"),
    ],
)
def test_a_wrong_scenario_is_refused_before_the_first_frame(tmp_path, changes, says):
    path = scenario_file(tmp_path, **changes)
    with pytest.raises(InputError) as refused:
        simulate(path, DEMO_PROFILE, 1)
    assert says in str(refused.value)
    assert str(path) in str(refused.value)


def test_broken_toml_is_named_by_line(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("title = \n")
    with pytest.raises(InputError, match="line 1"):
        simulate(path, DEMO_PROFILE, 1)
    with pytest.raises(InputError, match="cannot be read"):
        simulate(tmp_path / "none.toml", DEMO_PROFILE, 1)


# The verb

app = typer.Typer()
app.command()(verb)


def invoke(*args):
    return CliRunner().invoke(app, [str(arg) for arg in args])


def test_the_list_tells_every_scenario_and_what_it_must_raise():
    shown = invoke("--list")
    assert all(name in shown.stdout for name in scenarios.names())
    told = [json.loads(line) for line in invoke("--list", "--json").stdout.splitlines()]
    assert [entry["name"] for entry in told] == scenarios.names()


def test_an_unknown_scenario_names_the_nearest(tmp_path):
    refused = invoke("cell_ovr", "-o", tmp_path / "x.log").exception
    assert isinstance(refused, InputError)
    assert "did you mean `cell_over`" in str(refused)
    assert isinstance(invoke().exception, InputError)
    assert isinstance(invoke("demo").exception, InputError)


def test_a_written_log_reads_back_frame_by_frame(tmp_path):
    pytest.importorskip("cellwarden_tools.writers")
    from cellwarden_tools.readers import open_log

    path = tmp_path / "drive.log"
    done = invoke("healthy_drive", "-o", path, "--seed", 5, "--minutes", 0.1, "--json")
    assert done.exit_code == 0, done.exception
    told = list(simulate("healthy_drive", DEMO_PROFILE, 5, 0.1))
    assert list(open_log(path)) == told
    assert json.loads(done.stdout)["frames"] == len(told)
