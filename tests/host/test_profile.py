"""A profile: what it maps reaches the image; what is wrong in it is told with its key and the nearest valid name."""

import json
import re
from fractions import Fraction

import pytest
from cellwarden.blackbox.recorder import options
from cellwarden.core import catalogue
from cellwarden.core import layout as L
from cellwarden_tools.compiler.image import compile_profile, load_image
from cellwarden_tools.compiler.profile import load_profile, needed_messages
from cellwarden_tools.errors import InputError

DBC = """VERSION ""
NS_ :
BS_:
BU_: BMS
BO_ 256 PackStatus: 8 BMS
 SG_ PackVoltage : 0|16@1+ (0.1,0) [0|1000] "V" BMS
 SG_ PackCurrent : 16|16@1- (0.1,0) [-1000|1000] "A" BMS
 SG_ Strange : 32|8@1+ (1,0) [0|255] "furlong" BMS
 SG_ Nameless : 40|8@1+ (1,0) [0|255] "" BMS
 SG_ Counter : 48|4@1+ (1,0) [0|15] "" BMS
 SG_ Odd : 52|4@1+ (1,0) [0|15] "" BMS
 SG_ CRC : 56|8@1+ (1,0) [0|255] "" BMS
BO_ 257 Cells: 8 BMS
 SG_ Cell1 : 0|16@1+ (0.001,0) [0|5] "V" BMS
 SG_ Cell2 : 16|16@1+ (0.001,0) [0|5] "V" BMS
 SG_ Cell3 : 32|16@1+ (0.001,0) [0|5] "V" BMS
BO_ 258 Temps: 8 BMS
 SG_ Page M : 0|8@1+ (1,0) [0|1] "" BMS
 SG_ Probe1 m0 : 8|8@1+ (1,-40) [-40|200] "degC" BMS
 SG_ Probe2 m1 : 8|8@1+ (1,-40) [-40|200] "degC" BMS
 SG_ Flat : 16|8@1+ (0,0) [0|0] "degC" BMS
BO_ 259 Status: 8 BMS
 SG_ SOC : 0|8@1+ (0.5,0) [0|100] "%" BMS
 SG_ Alarm : 8|2@1+ (1,0) [0|3] "" BMS
 SG_ State : 10|2@1+ (1,0) [0|3] "" BMS
 SG_ Signed : 16|4@1- (1,0) [-8|7] "" BMS
 SG_ Insulation : 32|16@1+ (1,0) [0|65535] "kohm" BMS
BO_ 260 Wide: 8 BMS
 SG_ Long64 : 0|64@1+ (1,0) [0|0] "V" BMS
BO_ 261 Floats: 8 BMS
 SG_ Float32 : 0|32@1- (1,0) [0|0] "V" BMS
BO_ 262 Short: 2 BMS
 SG_ Overrun : 8|16@1+ (0.1,0) [0|0] "V" BMS
BO_ 263 Shared: 4 BMS
 SG_ Left : 0|16@1+ (0.1,0) [0|1000] "V" BMS
 SG_ Right : 8|16@1+ (0.1,0) [0|1000] "V" BMS
SIG_VALTYPE_ 261 Float32 : 1;
VAL_ 259 SOC 255 "not available" ;
"""
VEHICLE = """
[vehicle]
name = "test"
chemistry = "nmc"
cells = 3
probes = 2
"""
BUS = """
[[bus]]
dbc = "test.dbc"
"""
SIGNALS = """
[signals]
pack_voltage = "PackStatus.PackVoltage"
cell_voltage = "Cells.Cell{n}"
temperature = "Temps.Probe{n}"
"""
PERIODS = "".join(f"\n[messages.{name}]\nperiod_ms = 100\n" for name in ("PackStatus", "Cells", "Temps"))
WHOLE = VEHICLE + BUS + SIGNALS


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a profile beside its DBC; returns its path."""
    monkeypatch.chdir(tmp_path)
    for name in ("CELLWARDEN_CORPUS", "CELLWARDEN_DBC_PATH"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "test.dbc").write_text(DBC)

    def call(text):
        (tmp_path / "test.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
        return "test.toml"

    return call


@pytest.fixture
def error(write):
    """The message for a profile that cannot be compiled."""

    def call(text):
        with pytest.raises(InputError) as caught:
            compile_profile(write(text))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return call


def mapped(line):
    """A profile with one line of [signals]."""
    return VEHICLE + BUS + "[signals]\n" + line


def rule(made, name):
    return next(rule for rule in made.rules if rule.name == name)


def row_of(made, name):
    """The rule's row in the image's params."""
    params = made.image.params
    first, _ = L.params_sections(params, len(params))["rule_table"]
    at = first + catalogue.RULES.index(name) * L.RULE_TABLE_SIZE
    return params[at : at + L.RULE_TABLE_SIZE]


# --- the file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (VEHICLE + "[[bus]\n", r"test\.toml:7:\d+: .+; expected TOML"),
        (VEHICLE + "cells = 4\n", r"test\.toml:7:\d+: Cannot overwrite a value; expected TOML"),
        (b"[vehicle]\nname = \"\xff\"\n",
         r"test\.toml: is not text \(byte 18\); expected a vehicle profile \(TOML in UTF-8\)"),
        ("", r"test\.toml: \[vehicle\]: name = None; expected a name of letters, digits, `-`, `_` or `\.`"),
        (WHOLE + "[limit]\n",
         r"test\.toml: no key `limit`; did you mean `limits`\?; expected blackbox, bus, invalid, limits, messages"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_profile_is_told_with_its_place(text, message, error):
    assert re.match(message, error(text))


def test_a_profile_that_is_missing_is_told(tmp_path):
    with pytest.raises(
        InputError, match=r"none\.toml: cannot be read \(No such file or directory\); expected a vehicle"
    ):
        load_profile(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "test"', 'name = "a b"', "[vehicle]: name = 'a b'; expected a name of letters"),
        ('chemistry = "nmc"', 'chemistry = "nmp"',
         "[vehicle]: chemistry = 'nmp'; did you mean `nmc`?; expected nmc, lfp"),
        ('chemistry = "nmc"', 'chemistry = ["nmc"]', "[vehicle]: chemistry = ['nmc']"),
        ("cells = 3", "", "[vehicle]: cells is missing; expected the number of cells in series"),
        ("cells = 3", "cels = 3",
         "[vehicle]: no key `cels`; did you mean `cells`?; expected capacity_ah, cells, chemistry"),
        ("cells = 3", "cells = 0", "[vehicle]: cells = 0; expected a whole number from 1 to 1000"),
        ("cells = 3", "cells = true", "[vehicle]: cells = True; expected a whole number from 1 to 1000"),
        ("probes = 2", "probes = -1", "[vehicle]: probes = -1; expected a whole number from 0 to 500"),
        ("probes = 2", "nominal_v = nan", "[vehicle]: nominal_v = nan; expected a number from 10 to 5000"),
        ("probes = 2", "capacity_ah = 0.0004", "[vehicle]: capacity_ah = 0.0004; expected a number from 1 to 5000"),
        ("probes = 2", "scan_ms = 1", "[vehicle]: scan_ms = 1; expected a whole number from 10 to 1000"),
    ],
)  # fmt: skip
def test_a_mistake_in_vehicle_is_told_with_what_was_expected(old, new, message, error):
    assert error(WHOLE.replace(old, new)).startswith(f"test.toml: {message}")


@pytest.mark.parametrize(
    ("bus", "message"),
    [
        ("", "test.toml: no [[bus]]; expected a [[bus]] table with a `dbc`"),
        ('[[bus]]\ndbc = "none.dbc"\n',
         "test.toml: [[bus]] dbc: no file `none.dbc`; expected it beside the profile, or in"),
        ("[[bus]]\n", "test.toml: [bus]: dbc = None; expected the name of a DBC file"),
        ('[[bus]]\ndbc = "test.dbc"\nchannel = 0\n', "test.toml: [bus]: channel = 0; expected a text such as"),
        ('[[bus]]\ndbc = "test.dbc"\nchanel = "a"\n', "test.toml: [bus]: no key `chanel`; did you mean `channel`?"),
        ('[[bus]]\ndbc = "test.dbc"\nstrict = "no"\n', "test.toml: [bus]: strict = 'no'; expected true or false"),
        (BUS + BUS, "test.toml: [bus]: channel None stands twice; expected each channel once"),
        (BUS * 9, "test.toml: [bus]: 9 buses; expected at most 8"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_bus_is_told(bus, message, error):
    assert error(VEHICLE + bus + SIGNALS).startswith(message)


def test_bus_as_a_single_value_is_told(error):
    assert error("bus = [1]\n" + VEHICLE + SIGNALS).startswith(
        "test.toml: [bus]: is not a table; expected [bus] with keys"
    )


def test_strict_refuses_overlapping_and_overrunning_signals_with_the_dbcs_line(error):
    message = error(WHOLE.replace('dbc = "test.dbc"', 'dbc = "test.dbc"\nstrict = true'))
    assert re.match(r"test\.dbc:33: `Overrun` .*; expected none, as strict = true in the profile", message)


def test_a_dbc_is_found_in_the_folders_of_the_environment(write, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "test.dbc").rename(tmp_path / "elsewhere" / "test.dbc")
    monkeypatch.setenv("CELLWARDEN_DBC_PATH", f"nowhere:{tmp_path / 'elsewhere'}")
    assert load_profile(write(WHOLE)).cells == 3
    monkeypatch.delenv("CELLWARDEN_DBC_PATH")
    monkeypatch.setenv("CELLWARDEN_CORPUS", str(tmp_path / "elsewhere"))
    assert load_profile(write(WHOLE)).probes == 2


# --- signals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('pack_voltage = "PackStatus.PackVoltge"',
         "[signals.pack_voltage]: no signal `PackStatus.PackVoltge`; did you mean `PackVoltage`?"),
        ('pack_voltage = "PackStats.PackVoltage"',
         "[signals.pack_voltage]: no signal `PackStats.PackVoltage`; did you mean `PackStatus`?"),
        ('pack_volts = "PackStatus.PackVoltage"',
         "[signals]: no key `pack_volts`; did you mean `pack_voltage`?; expected bms_flag_12"),
        ('pack_voltage = "PackVoltage"', "`PackVoltage` is no name of a signal; expected Message.Signal"),
        ('pack_voltage = "PackStatus.Pack*"',
         "[signals.pack_voltage]: `PackStatus.Pack*` fits 2 signals (PackStatus.PackVoltage on every channel, "
         'PackStatus.PackCurrent on every channel); expected one; name the bus with bus = "…"'),
        ('pack_voltage = "Cells.Cell{n}"',
         "[signals.pack_voltage]: `Cells.Cell{n}`; expected one signal; {n} belongs to"),
        ('pack_voltage = ["A.B", "C.D"]', "[signals.pack_voltage]: 2 signals; expected one signal"),
        ("pack_voltage = 1", "[signals.pack_voltage]: is not a table"),
        ("pack_voltage = []", '[signals.pack_voltage]: signal = []; expected "Message.Signal" or a list of them'),
        ("pack_voltage = {}", '[signals.pack_voltage]: no `signal`; expected signal = "Message.Signal"'),
        ('pack_voltage = { signal = "PackStatus.PackVoltage", uint = "V" }',
         "[signals.pack_voltage]: no key `uint`; did you mean `unit`?; expected bus, max, min, sign, signal, unit"),
        ('pack_voltage = { signal = "PackStatus.PackVoltage", unit = "furlong" }',
         "[signals.pack_voltage]: unit 'furlong' of `PackStatus.PackVoltage` is not understood; expected one "
         "of V, volt,"),
        ('pack_voltage = { signal = "PackStatus.PackVoltage", unit = ["V"] }',
         "[signals.pack_voltage]: unit = ['V']; expected one of V, volt"),
        ('pack_voltage = "PackStatus.Strange"',
         "[signals.pack_voltage]: unit 'furlong' of `PackStatus.Strange` is not understood; expected one of V"),
        ('pack_voltage = "PackStatus.Nameless"',
         "[signals.pack_voltage]: `PackStatus.Nameless` has no unit in the DBC; expected one of V"),
        ('pack_current = { signal = "PackStatus.PackCurrent", sign = 2 }',
         "[signals.pack_current]: sign = 2; expected 1 or -1"),
        ('pack_current = { signal = "PackStatus.PackCurrent", sign = -1.0 }',
         "[signals.pack_current]: sign = -1.0; expected 1 or -1"),
        ('pack_voltage = { signal = "PackStatus.PackVoltage", min = 500, max = 100 }',
         "[signals.pack_voltage]: range 500000 to 100000 mV; expected one inside 0 to 2000000"),
        ('pack_voltage = { signal = "PackStatus.PackVoltage", min = nan }',
         "[signals.pack_voltage]: min = nan; expected a number in the signal's unit"),
        ('pack_voltage = { signal = "PackStatus.PackVoltage", max = "big" }',
         "[signals.pack_voltage]: max = 'big'; expected a number in the signal's unit"),
        ('pack_voltage = { signal = "PackStatus.PackVoltage", bus = "can7" }', "[signals.pack_voltage]: bus = 'can7'"),
        ('temperature_max = "Temps.Flat"',
         "[signals.temperature_max]: `Temps.Flat` has a factor of 0; expected a factor that tells values apart"),
        ("", "[signals]: maps nothing; expected at least one of pack_voltage"),
        ('charging = "Status.State"',
         "[signals.charging]: no `true`; expected the raw values that mean it, such as true = [1]"),
        ('charging = { signal = "Status.State", true = [4] }',
         "[signals.charging]: raw value 4 never occurs in `Status.State`; expected raw values from 0 to 3"),
        ('charging = { signal = "Status.State", true = [] }',
         "[signals.charging]: true = []; expected raw values, such as [1]"),
        ('charging = { signal = "Status.State", true = ["on"] }',
         "[signals.charging]: true = ['on']; expected raw values"),
        ('vehicle_state = { signal = "Status.State", on = [1, 2], off = [2] }',
         "[signals.vehicle_state]: raw value 2 means both; expected each raw value once"),
        ('bms_level = { signal = "Status.Alarm", levels = [0] }',
         "[signals.bms_level]: levels = [0]; expected the raw values of levels 0, 1, 2, 3 in order"),
        ('bms_level = { signal = "Status.Alarm", levels = [0, [1, 2], 2] }',
         "[signals.bms_level]: levels = [0, [1, 2], 2]; expected each raw value once"),
        ('bms_level = { signal = "Status.Alarm", levels = [0, 1, 2, 9] }',
         "[signals.bms_level]: raw value 9 never occurs in `Status.Alarm`; expected raw values from 0 to 3"),
        ('cell_voltage = "Cells.Zell{n}"',
         "[signals.cell_voltage]: no signal fits `Cells.Zell{n}`; did you mean `Cell"),
        ('cell_voltage = ["Cells.Cell{n}", "Cells.Cell1"]',
         "[signals.cell_voltage]: mixes patterns with and without {n}; expected one kind"),
        ('cell_voltage = ["Cells.Cell{n}", "Cells.Ce?l{n}"]',
         "[signals.cell_voltage]: two signals for cell 1: Cells.Cell1 and Cells.Cell1; expected one; narrow "
         "the pattern"),
        ('cell_voltage = ["Cells.Cell1", "Cells.Cell3"]',
         "[signals.cell_voltage]: 2 signals for 3 cells, number 3 is missing; expected one for each of 1 to 3; "
         "mend the pattern or [vehicle] cells"),
        ('cell_voltage = ["Cells.Cell*", "PackStatus.PackVoltage"]',
         "[signals.cell_voltage]: 4 signals for 3 cells; expected"),
        ('temperature = "Temps.Probe1"', "[signals.temperature]: 1 signals for 2 probes, number 2 is missing"),
    ],
)  # fmt: skip
def test_a_mistake_in_signals_is_told_with_its_key_and_the_nearest_name(line, message, error):
    told = error(mapped(line + "\n"))
    assert told.startswith("test.toml: ") and message in told


@pytest.mark.parametrize(
    ("signal", "line", "why"),
    [
        ("Wide.Long64", 29, "64 bits"),
        ("Floats.Float32", 31, "float"),
        ("Short.Overrun", 33, "end of its 2-byte message"),
    ],
)
def test_a_signal_that_cannot_be_decoded_safely_is_refused_with_the_dbcs_line(signal, line, why, error):
    told = error(mapped(f'pack_voltage = "{signal}"'))
    assert told.startswith(f"test.dbc:{line}: `{signal}` cannot be decoded safely: ") and why in told
    assert told.endswith(
        "; expected an integer of up to 32 bits inside its message; "
        "mend the DBC or map pack_voltage to another signal in test.toml"
    )


def test_a_signal_that_never_reads_its_quantity_is_refused_with_what_it_reads(error):
    told = error(mapped('cell_voltage_max = { signal = "PackStatus.Strange", unit = "mV" }'))
    assert told == (
        "test.dbc:8: `PackStatus.Strange` cannot be scaled to mV: it reads only 0 to 255 mV; "
        "expected a factor that reaches 500 to 4999 mV; mend the factor, the offset or the unit"
    )


def test_a_used_signal_that_shares_bits_is_warned_of_with_its_line(write):
    made = compile_profile(write(mapped('pack_voltage = "Shared.Left"')))
    assert "test.dbc:35: `Shared.Left` shares bits with `Right`; check which of them is right" in made.warnings


def test_a_pattern_with_numbers_takes_the_vehicles_cells_and_says_what_it_leaves(write):
    made = compile_profile(write(WHOLE.replace("cells = 3", "cells = 2")))
    assert made.profile.cells == 2
    assert any("the DBC has signals up to number 3, the vehicle 2 cells" in text for text in made.warnings)


def test_lists_of_patterns_number_cells_in_their_order(write):
    profile = load_profile(write(mapped('cell_voltage = ["Cells.Cell3", "Cells.Cell1", "Cells.Cell2"]')))
    assert [(b.index, b.signal.name) for b in profile.bindings] == [(1, "Cell3"), (2, "Cell1"), (3, "Cell2")]


def test_one_identifier_with_another_layout_on_each_bus_keeps_both(write, tmp_path, error):
    (tmp_path / "other.dbc").write_text(DBC.replace("PackVoltage : 0|16@1+ (0.1,0)", "PackVoltage : 32|16@1+ (1,0)"))
    buses = '[[bus]]\nchannel = "a"\ndbc = "test.dbc"\n[[bus]]\nchannel = "b"\ndbc = "other.dbc"\n'
    plain = VEHICLE + buses + '[signals]\npack_voltage = "PackStatus.PackVoltage"\n'
    told = error(plain)
    assert "`PackStatus.PackVoltage` fits 2 signals (PackStatus.PackVoltage on a, PackStatus.PackVoltage on b)" in told
    chosen = plain.replace('"PackStatus.PackVoltage"', '{ signal = "PackStatus.PackVoltage", bus = "b" }')
    text = compile_profile(write(chosen)).image.parts["decoder.py"].decode()
    assert "if bus == 1:  # b" in text and "PackStatus.PackVoltage, 1 V" in text
    both = chosen + 'pack_current = { signal = "PackStatus.PackCurrent", bus = "a" }\n'
    text = compile_profile(write(both)).image.parts["decoder.py"].decode()
    assert "if bus == 0:  # a" in text and "elif bus == 1:  # b" in text
    assert (
        needed_messages(write(both)).keys() == {tmp_path / "test.dbc", tmp_path / "other.dbc"}
        or len(needed_messages(write(both))) == 2
    )


def test_units_signs_ranges_and_sentinels_reach_the_binding(write):
    profile = load_profile(
        write(
            VEHICLE
            + BUS
            + """[signals]
pack_voltage = { signal = "PackStatus.PackVoltage", min = 100, max = 500 }
pack_current = { signal = "PackStatus.PackCurrent", sign = -1 }
insulation = "Status.Insulation"
soc = "Status.SOC"
bms_level = { signal = "Status.Alarm", levels = [0, [1, 3], 2] }
contactors = { signal = "Status.Signed", true = [-1] }
[invalid]
"*.Pack*" = [65535, -1]
"""
        )
    )
    found = {b.quantity.name: b for b in profile.bindings}
    voltage, current = found["pack_voltage"], found["pack_current"]
    assert (voltage.factor, voltage.low, voltage.high, voltage.invalid) == (100, 100_000, 500_000, {65535})
    assert (current.factor, current.invalid) == (-100, {-1}), "a sentinel outside the signal's range is no sentinel"
    assert found["insulation"].factor == 1000 and found["soc"].factor == Fraction(5)
    assert found["soc"].invalid == {255}, "the DBC's own `not available`"
    assert found["bms_level"].codes == ({0}, {1, 3}, {2}) and found["contactors"].codes == ({-1},)


# --- [invalid] and [messages] -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('"Temps.Prob*9" = [255]', '[invalid]: "Temps.Prob*9" fits no signal; did you mean `Probe'),
        ('"Temps" = [255]', "`Temps` is no name of a signal; expected Message.Signal"),
        ('"Temps.*" = 255', '[invalid]: "Temps.*" = 255; expected a list of raw values, such as [255]'),
        ('"Temps.*" = ["x"]', "[invalid]: \"Temps.*\" = ['x']; expected a list of raw values"),
    ],
)  # fmt: skip
def test_a_mistake_in_invalid_is_told(line, message, error):
    assert message in error(WHOLE + f"[invalid]\n{line}\n")


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("PackStats", "", "no message `PackStats`; did you mean `PackStatus`?"),
        ("PackStatus", "period = 100",
         "no key `period`; did you mean `period_ms`?; expected checksum, counter, deadline_ms"),
        ("PackStatus", "period_ms = 0", "period_ms = 0; expected a whole number from 1 to 3600000"),
        ("PackStatus", "deadline_ms = 1.5", "deadline_ms = 1.5; expected a whole number from 1 to 86400000"),
        ("PackStatus", 'counter = "Countr"', "no signal `Countr` in `PackStatus`; did you mean `Counter`?"),
        ("PackStatus", "counter = 1", "no signal `1` in `PackStatus`"),
        ("Temps", 'counter = "Probe1"', "`Temps.Probe1` cannot be a counter or checksum: it is multiplexed"),
        ("Wide", 'counter = "Long64"', "`Wide.Long64` cannot be a counter or checksum: "),
        ("PackStatus", 'checksum = "CRC"', "checksum = 'CRC'; expected { signal = \"…\", kind = \"crc8-j1850\" }"),
        ("PackStatus", 'checksum = { signal = "CRC", kind = "crc8-j1580" }',
         "checksum kind 'crc8-j1580'; did you mean `crc8-j1850`?; expected crc8-j1850, crc8-autosar, crc8, xor8, sum8"),
        ("PackStatus", 'checksum = { signal = "CRC", kind = ["xor8"] }', "checksum kind ['xor8']"),
        ("PackStatus", 'checksum = { signal = "Odd", kind = "xor8" }',
         "checksum `Odd` is not a whole byte; expected 8 bits on a byte's border for xor8"),
    ],
)  # fmt: skip
def test_a_mistake_in_messages_is_told(name, line, message, error):
    told = error(WHOLE + f"[messages.{name}]\n{line}\n")
    assert told.startswith(f'test.toml: [messages."{name}"]: ') and message in told


def test_a_message_without_a_period_is_warned_of_with_what_is_assumed(write):
    made = compile_profile(write(WHOLE))
    (warning,) = [text for text in made.warnings if "no period" in text]
    assert warning == (
        "test.toml: no period for Cells, PackStatus, Temps: 5000 ms without a frame are taken for lost; "
        'give [messages."…"] period_ms'
    )
    assert not [text for text in compile_profile(write(WHOLE + PERIODS)).warnings if "no period" in text]


@pytest.mark.parametrize("kind", ["crc8-j1850", "crc8-autosar", "crc8", "xor8", "sum8"])
def test_counter_checksum_and_deadlines_reach_the_image(kind, write):
    trust = '[messages.PackStatus]\ndeadline_ms = 321\ncounter = "Counter"\n'
    trust += f'checksum = {{ signal = "CRC", kind = "{kind}" }}\n'
    made = compile_profile(write(WHOLE + trust))
    text = made.image.parts["decoder.py"].decode()
    assert f"# {kind}\n" in text and "# Counter\n" in text
    assert [group.deadline_ms for group in made.plan.groups] == [321, 5000, 5000, 5000]


def test_a_multiplexed_message_is_overdue_after_three_rounds_of_its_pages(write):
    made = compile_profile(write(WHOLE + "[messages.Temps]\nperiod_ms = 200\n"))
    assert [g.deadline_ms for g in made.plan.groups if g.pages] == [1200, 1200]


# --- [limits] ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("cell_overvolt", "", "[limits]: no key `cell_overvolt`; did you mean `cell_overvoltage`?; expected bms_alarm"),
        ("soc_low", "level = [1]",
         "[limits.soc_low]: no key `level`; did you mean `levels`?; expected assert_s, clear_at"),
        ("cell_overvoltage", "levels = [4.3, 4.2, 4.4]",
         "[limits.cell_overvoltage]: levels [4.3, 4.2, 4.4] V are out of order; expected rising limits, level 1 first"),
        ("cell_undervoltage", "levels = [2.5, 2.7, 2.9]",
         "[limits.cell_undervoltage]: levels [2.5, 2.7, 2.9] V are out of order; expected falling limits, "
         "level 1 first"),
        ("cell_overvoltage", "levels = [4.2, 4.2, 4.3]", "levels [4.2, 4.2, 4.3] V are out of order"),
        ("cell_overvoltage", "levels = [4.2, 4.3]",
         "levels = [4.2, 4.3]; expected 3 values, one for each level the rule has"),
        ("cell_overvoltage", "levels = 4.2", "levels = 4.2; expected 3 values"),
        ("cell_overvoltage", 'levels = [4.2, "x", 4.4]', "levels = [4.2, 'x', 4.4]; expected numbers"),
        ("cell_overvoltage", "levels = [4.2, nan, 4.4]", "expected numbers"),
        ("cell_overvoltage", "levels = [42, 43, 44]", "a limit of 42.0 V; expected one from 0.0 to 4.999 V"),
        ("temperature_high", "levels = [55, 60, 650]", "a limit of 650.0 degC; expected one from -50.0 to 150.0 degC"),
        ("pack_overvoltage", "levels = [12, 13, 400]", "a limit of 400.0 V; expected one from 0.0 to 14.997 V"),
        ("cell_overvoltage", "clear_at = [4.26, 4.2, 4.2]",
         "level 1 clears at 4.26 V but asserts at 4.25 V; expected a clear limit under the level's own"),
        ("cell_undervoltage", "clear_at = [3, 2.7, 2.9]",
         "level 2 clears at 2.7 V but asserts at 2.75 V; expected a clear limit over the level's own"),
        ("cell_overvoltage", "clear_at = [4]", "clear_at = [4]; expected 3 values"),
        ("cell_overvoltage", "assert_s = -1", "assert_s = -1; expected seconds from 0 to 86400"),
        ("cell_overvoltage", "assert_s = [1, 2]",
         "assert_s = [1, 2]; expected seconds, one value or one for each of the three"),
        ("cell_overvoltage", "assert_s = nan", "assert_s = nan; expected seconds from 0 to 86400"),
        ("cell_overvoltage", "clear_s = -5", "clear_s = -5; expected seconds from 0 to 86400"),
        ("cell_overvoltage", "clear_s = true", "clear_s = True; expected seconds from 0 to 86400"),
        ("cell_overvoltage", 'enabled = "no"', "enabled = 'no'; expected true or false"),
    ],
)  # fmt: skip
def test_contradictory_or_impossible_limits_are_told(name, line, message, error):
    told = error(WHOLE + f"[limits.{name}]\n{line}\n")
    assert told.startswith("test.toml: [limits") and message in told


def test_limits_in_physical_units_reach_the_params(write):
    made = compile_profile(
        write(WHOLE + """
[limits.cell_overvoltage]
levels = [4.1, 4.15, 4.2]
clear_at = [4.0, 4.05, 4.1]
assert_s = [3, 2, 0.5]
clear_s = 7.5
[limits.temperature_high]
levels = [50, 52.5, 60]
assert_s = 1
""")
    )  # fmt: skip
    row = row_of(made, "cell_overvoltage")
    assert list(row[L.P_LIMIT : L.P_LIMIT + 3]) == [4100, 4150, 4200]
    assert list(row[L.P_CLEAR_AT : L.P_CLEAR_AT + 3]) == [4000, 4050, 4100]
    assert list(row[L.P_ASSERT_MS : L.P_ASSERT_MS + 3]) == [3000, 2000, 500] and row[L.P_CLEAR_MS] == 7500
    row = row_of(made, "temperature_high")
    assert list(row[L.P_LIMIT : L.P_LIMIT + 3]) == [500, 525, 600]
    assert list(row[L.P_CLEAR_AT : L.P_CLEAR_AT + 3]) == [470, 495, 570], "the preset's distance, from the new limits"
    assert list(row[L.P_ASSERT_MS : L.P_ASSERT_MS + 3]) == [1000] * 3
    pack = row_of(made, "pack_overvoltage")
    assert list(pack[L.P_LIMIT : L.P_LIMIT + 3]) == [12300, 12450, 12600], "three of the vehicle's own cells"
    assert made.image.params[L.P_OVERCHARGE_MV] == 4100
    assert rule(made, "cell_overvoltage").source.endswith(" + profile")


def test_a_rule_that_the_profile_turns_off_is_inactive_and_says_why(write):
    made = compile_profile(write(WHOLE + "[limits.cell_overvoltage]\nenabled = false\n"))
    assert rule(made, "cell_overvoltage").lacks == ("enabled = false in the profile",)
    first = {name: row_of(made, f"cell_{name}voltage")[L.P_FIRST_LIMIT] for name in ("over", "under")}
    assert first == {"over": -L.NA - 1, "under": 2900}, "an inactive rule has a first limit that nothing reaches"


def test_a_rule_with_two_values_or_states_accepts_its_own_levels(write):
    text = mapped('hvil = { signal = "Status.State", ok = [1] }\n[limits.hvil_open]\nlevels = [1]\nassert_s = 0.1\n')
    row, never = row_of(compile_profile(write(text)), "hvil_open"), -L.NA - 1
    assert list(row[L.P_LIMIT : L.P_LIMIT + 3]) == [never, never, 1]


@pytest.mark.parametrize(
    ("lines", "name", "active", "lacks"),
    [
        ("", "pack_undervoltage", False, ("contactors",)),
        ('vehicle_state = { signal = "Status.State", on = [1], off = [0] }', "pack_undervoltage", True, ()),
        ("", "overcharge", False, ("pack_current", "charging")),
        ('pack_current = "PackStatus.PackCurrent"', "overcharge", True, ()),
        ("", "cell_spread", True, ("level 1: pack_current",)),
        ('pack_current = "PackStatus.PackCurrent"', "cell_spread", True, ()),
        ("", "hvil_open", False, ("hvil",)),
        ('pack_current = "PackStatus.PackCurrent"', "overcurrent_charge", False, ("max_charge_current",)),
    ],
)
def test_coverage_names_what_a_rule_or_a_part_of_it_lacks(lines, name, active, lacks, write):
    found = rule(compile_profile(write(WHOLE + lines)), name)
    assert (found.active, found.lacks) == (active, lacks)


@pytest.mark.parametrize(("cells", "blind"), [
    (1, {"cell_spread", "cell_transient", "cell_drift", "self_discharge", "contact_resistance", "sense_line"}),
    (2, {"cell_transient", "cell_drift", "self_discharge", "contact_resistance", "sense_line"}),
    (3, set()),
])  # fmt: skip
def test_what_compares_cells_is_inactive_where_there_are_too_few_of_them(cells, blind, write):
    text = (WHOLE + 'pack_current = "PackStatus.PackCurrent"\n').replace("cells = 3", f"cells = {cells}")
    made = compile_profile(write(text))
    comparing = {"cell_spread", "cell_transient", "cell_drift", "self_discharge", "contact_resistance", "sense_line"}
    assert {name for name in comparing if not rule(made, name).active} == blind
    least = {name: (f"{2 if name == 'cell_spread' else 3} cells",) for name in blind}
    assert {name: rule(made, name).lacks for name in blind} == least


@pytest.mark.parametrize(("line", "active"), [
    ('cell_voltage = "Cells.Cell{n}"', False), ('temperature = "Temps.Probe{n}"', True),
])  # fmt: skip
def test_a_runaway_needs_a_probe_or_four_cells_that_can_be_lost(line, active, write):
    found = rule(compile_profile(write(mapped(line))), "thermal_runaway")
    assert (found.active, found.lacks) == ((True, ()) if active else (False, ("temperature or temperature_max",)))


def test_limits_of_the_vehicle_itself_reach_the_params(write):
    vehicle = WHOLE.replace(
        "probes = 2",
        "probes = 2\nmax_charge_a = 50\nmax_discharge_a = 100.5\ncapacity_ah = 40\nnominal_v = 11.1\nscan_ms = 50",
    )
    made = compile_profile(write(vehicle + 'pack_current = "PackStatus.PackCurrent"\n'))
    params = made.image.params
    assert (params[L.P_MAX_CHARGE_MA], params[L.P_MAX_DISCHARGE_MA]) == (50_000, 100_500)
    assert (params[L.P_CALM_MA], params[L.P_NOMINAL_MV], params[L.P_SCAN_MS]) == (2000, 11_100, 50)
    assert rule(made, "overcurrent_charge").active and rule(made, "overcurrent_discharge").active


def test_signals_of_two_messages_with_one_identifier_are_refused(error, tmp_path):
    twin = DBC + 'BO_ 256 PackTwin: 8 BMS\n SG_ TwinSoc : 0|8@1+ (0.5,0) [0|100] "%" BMS\n'
    (tmp_path / "test.dbc").write_text(twin)
    assert error(WHOLE + 'soc = "PackTwin.TwinSoc"\n') == (
        "test.toml: [signals.soc]: `PackTwin` and `PackStatus` have one identifier in test.dbc; expected signals "
        "of one of them; map only the one that this vehicle sends"
    )


def test_a_multiplexer_that_shares_bits_is_warned_of(write, tmp_path):
    paged = DBC + (
        'BO_ 300 Paged: 8 BMS\n SG_ Page M : 0|8@1+ (1,0) [0|255] "" BMS\n'
        ' SG_ Soc m1 : 8|8@1+ (0.5,0) [0|100] "%" BMS\n SG_ Over : 4|8@1+ (1,0) [0|255] "" BMS\n'
    )
    path = write(WHOLE + 'soc = "Paged.Soc"\n')
    (tmp_path / "test.dbc").write_text(paged)
    assert any("`Paged.Page` shares bits with `Over`" in warning for warning in compile_profile(path).warnings)


# --- [blackbox] -------------------------------------------------------------------------------------------------------


def test_what_a_profile_says_of_the_black_box_are_the_recorders_options(write):
    text = '[blackbox]\nframes = "used"\nbefore_s = 30\nafter_s = 300\nannexes_kib = 4096\n'
    image = compile_profile(write(WHOLE + text)).image
    image.save("vehicle.cwi")
    told = json.loads(load_image("vehicle.cwi").parts["blackbox.json"])
    assert told == {"frames": "used", "before_ms": 30_000, "after_ms": 300_000, "annexes_bytes": 4 << 20}
    known = options(json.loads(image.parts["filters.json"]), told)["known"]
    assert known == [(bus, can_id) for bus, _, can_id in image.names["messages"]]
    assert "blackbox.json" not in compile_profile(write(WHOLE)).image.parts


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('frames = "some"', r"\[blackbox\]: frames = 'some'; expected one of \"all\", \"used\", \"none\""),
        ("before_s = 601", r"\[blackbox\]: before_s = 601; expected a whole number from 0 to 600"),
        ("after_s = 0.5", r"\[blackbox\]: after_s = 0\.5; expected a whole number from 0 to 3600"),
        ("annexes_kib = 10", r"\[blackbox\]: annexes_kib = 10; expected a whole number from 1024"),
        ("after = 9", r"\[blackbox\]: no key `after`; did you mean `after_s`\?"),
    ],
)
def test_a_black_box_that_cannot_be_is_refused(line, message, error):
    assert re.search(message, error(WHOLE + "[blackbox]\n" + line + "\n"))
