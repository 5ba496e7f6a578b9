"""`cellwarden lint` names each defect of a DBC once, with its line, its weight and its mend."""

import json

import pytest
from cellwarden_tools.cli import run
from cellwarden_tools.compiler.dbc import loads
from cellwarden_tools.compiler.dbc_lint import RULES, SEVERITIES, check

HEAD = 'VERSION ""\nBS_:\nBU_: Bms\n'
CYCLE = 'BA_DEF_ BO_ "GenMsgCycleTime" INT 0 10000;\nBA_DEF_DEF_ "GenMsgCycleTime" 100;\n'
CLEAN = (
    HEAD + "BO_ 256 Pack: 8 Bms\n"
    ' SG_ Voltage : 0|16@1+ (0.1,0) [0|1000] "V" Bms\n'
    ' SG_ AliveCounter : 16|4@1+ (1,0) [0|15] "" Bms\n' + CYCLE
)


def issues(text, needed=None):
    return [(i.severity, i.code, i.line, i.text) for i in check(loads(text.encode(), "pack.dbc"), needed)]


def with_signal(line):
    return CLEAN.replace("BA_DEF_ ", f" SG_ {line} Bms\nBA_DEF_ ", 1)


def test_a_clean_dbc_has_nothing_to_say():
    assert issues(CLEAN) == []


SIGNALS = [
    ('S : 24|8@1+ (1,0) [9|0] "A"', "error", "range-reversed", "has the range [9|0], its minimum over its maximum"),
    ('S : 24|8@1+ (0,0) [0|9] "A"', "error", "scale-zero", "has a factor of 0: every value reads the same"),
    ('S : 24|8@1+ (1,0) [0|0] "A"', "info", "range-missing", "has the range [0|0]"),
    ('S : 24|8@1+ (1,0) [300|400] "A"', "warning", "range-unreachable",
     "has the range [300|400], but its bits reach 0 to 255"),
    ('S : 24|8@1- (0.5,-10) [-80|60] "A"', "info", "range-wide",
     "has the range [-80|60], but its bits reach -74 to 53.5"),
    ('S : 24|16@1+ (0.1,0) [0|2500] "V"', "warning", "range-implausible", "reaches from 0 to 2500 V, over 2000 V"),
    ('S : 24|16@1+ (1,0) [0|3000000] "mV"', "info", "range-wide",
     "has the range [0|3000000], but its bits reach 0 to 65535"),
    ('S : 24|16@1+ (0.1,-40) [-40|1000] "°C"', "warning", "range-implausible",
     "reaches from -40 to 1000 °C, beyond -100 to 300 degC"),
    ('S : 24|8@1- (1,0) [-128|127] "degC"', "info", "range-raw",
     "states no range but that of its bits, -128 to 127 degC"),
    ('BattVolt : 24|8@1+ (1,0) [0|9] ""', "warning", "unit-missing", "looks like a voltage and has no unit"),
    ('PACK_CURRENT : 24|8@1+ (1,0) [0|9] ""', "warning", "unit-missing", "looks like a current and has no unit"),
    ('HVBatTemp2 : 24|8@1+ (1,0) [0|9] ""', "warning", "unit-missing", "looks like a temperature and has no unit"),
]  # fmt: skip


@pytest.mark.parametrize("line, severity, code, text", SIGNALS, ids=[f"{row[2]}-{row[0][:12]}" for row in SIGNALS])
def test_a_doubtful_signal_is_named(line, severity, code, text):
    name = line.split()[0]
    assert (severity, code, 7, f"`Pack.{name}` {text}") in issues(with_signal(line))


@pytest.mark.parametrize("name", ["VoltageStatus", "TempFault", "CurrentGear", "OverCurrent", "Attempts", "Recurrent"])
def test_a_name_that_only_sounds_like_a_quantity_needs_no_unit(name):
    assert issues(with_signal(f'{name} : 24|8@1+ (1,0) [0|9] ""')) == []


@pytest.mark.parametrize("name", "AliveCounter MsgCntr Bms_RollingCount CRC8 Checksum_2 ESC_BZ LiveCnt".split())
def test_a_counter_or_checksum_is_known_by_its_name(name):
    assert issues(CLEAN.replace("AliveCounter", name)) == []


def test_a_message_without_counter_checksum_and_cycle_time_is_named():
    text = CLEAN.replace("AliveCounter", "Gear").replace(CYCLE, "")
    assert issues(text) == [
        ("warning", "no-cycle-time", 4, "`Pack` has no cycle time: nothing says when it is late"),
        ("warning", "unprotected", 4, "`Pack` has no counter and no checksum: stale or broken frames look good"),
    ]


def test_pages_that_cannot_come_or_are_left_out_are_named():
    pages = "".join(f' SG_ C{page} m{page} : 24|8@1+ (1,0) [0|9] "A" Bms\n' for page in (0, 1, 2, 4, 5, 9))
    text = CLEAN.replace("BA_DEF_ ", ' SG_ Page M : 20|3@1+ (1,0) [0|7] "" Bms\n' + pages + "BA_DEF_ ", 1)
    assert issues(text) == [
        ("warning", "mux-gap", 4, "`Pack` lacks 3, 6, 7, 8 among the pages that `Page` selects"),
        ("error", "mux-id-unreachable", 4, "`Pack` has page 9, but `Page` reaches 7 with 3 bits"),
    ]


def test_a_named_value_outside_the_raw_range_is_named():
    text = CLEAN + 'VAL_ 256 AliveCounter 0 "a" 16 "b" -1 "c";\n'
    expected = "`Pack.AliveCounter` names the value 16, -1, but its raw values run from 0 to 15"
    assert issues(text) == [("warning", "choice-unreachable", 6, expected)]


WEIGHED = [
    ('S : 8|8@1+ (1,0) [0|9] "A"', "overlap", "error", "warning"),
    ('S : 60|8@1+ (1,0) [0|9] "A"', "overrun", "error", "warning"),
    ('S : 24|33@1+ (1,0) [0|9] "A"', "over-32-bits", "warning", "info"),
    ('S : 24|x@1+ (1,0) [0|9] "A"', "broken-signal", "error", "warning"),
]  # fmt: skip


@pytest.mark.parametrize("line, code, alone, other", WEIGHED, ids=[row[1] for row in WEIGHED])
def test_what_the_profile_needs_weighs_more(line, code, alone, other):
    text = with_signal(line)

    def severity(needed):
        return [issue[0] for issue in issues(text, needed) if issue[1] == code]

    assert severity(None) == [alone]
    assert severity({"Pack"}) == ["error"]
    assert severity(set()) == [other]


def test_a_float_the_profile_needs_is_an_error():
    text = with_signal('S : 24|32@1- (1,0) [0|9] "A"') + "SIG_VALTYPE_ 256 S : 1;\n"
    assert [row[0] for row in issues(text)] == ["warning"]
    assert [row[0] for row in issues(text, {"Pack"})] == ["error"]


def test_a_needed_message_that_is_not_here_is_an_error_with_its_reason():
    text = CLEAN + "BO_ 4294967295 Lost: 8 Bms\n"
    assert issues(text, {"Pack", "Lost", "Never"})[:2] == [
        ("error", "missing-message", 1,
         "`Lost`, which the profile needs, is not here (Lost has the id 4294967295, which is over 29 bits; dropped)"),
        ("error", "missing-message", 1, "`Never`, which the profile needs, is not here"),
    ]  # fmt: skip


def test_every_rule_weighs_what_is_needed_no_less_than_what_is_not():
    order = {severity: rank for rank, severity in enumerate(SEVERITIES)}
    for code, (alone, needed, other, mend) in RULES.items():
        assert order[needed] <= order[alone] <= order[other] and mend, code


# The command.


@pytest.fixture
def dbc(tmp_path):
    def write(text):
        path = tmp_path / "pack.dbc"
        path.write_text(text, "utf-8")
        return str(path)

    return write


@pytest.mark.parametrize("text, words, status", [
    (CLEAN, [], 0),
    (CLEAN.replace(CYCLE, ""), [], 0),
    (CLEAN.replace(CYCLE, ""), ["--strict"], 1),
    (with_signal('S : 8|8@1+ (1,0) [0|9] "A"'), [], 1),
    (CLEAN.replace("Pack: 8", "Pack 8"), [], 2),
])  # fmt: skip
def test_the_exit_status_tells_the_verdict(dbc, text, words, status, capsys):
    assert run(["lint", dbc(text), *words]) == status
    assert "Traceback" not in capsys.readouterr().err


def test_people_get_a_table_and_one_line_of_sum(dbc, capsys):
    path = dbc(with_signal('S : 8|8@1+ (1,0) [0|0] "A"'))
    assert run(["lint", path]) == 1
    out, err = capsys.readouterr()
    assert "pack.dbc:7" in out and "`Voltage` and `S` overlap (byte 1 bit 7)" in out
    assert "give each signal its own bits" in out and "has the range [0|0]" in out
    assert err == f"cellwarden: {path}: 1 error, 0 warnings, 1 info\n"


def test_programs_get_one_object_a_line_and_an_end(dbc, capsys):
    path = dbc(with_signal('S : 8|8@1+ (1,0) [0|9] "A"'))
    assert run(["lint", path, "--json"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        {"event": "issue", "severity": "error", "code": "overlap", "file": path, "line": 7,
         "text": "`Voltage` and `S` overlap (byte 1 bit 7)", "mend": RULES["overlap"][3],
         "message": "Pack", "signal": "S"},
        {"event": "end", "errors": 1, "warnings": 0, "infos": 0},
    ]  # fmt: skip


def test_a_profile_weighs_only_the_dbc_it_reads(dbc, tmp_path, capsys):
    path = dbc(with_signal('S : 24|33@1+ (1,0) [0|9] "A"') + "BO_ 257 Other: 8 Bms\n")
    profile = tmp_path / "pack.toml"
    profile.write_text(
        '[vehicle]\nname = "pack"\nchemistry = "nmc"\ncells = 96\nprobes = 24\n[[bus]]\ndbc = "pack.dbc"\n'
        '[signals]\npack_voltage = "Pack.Voltage"\n[messages.Pack]\ncounter = "AliveCounter"\n'
    )
    assert run(["lint", path, "-p", str(profile)]) == 1
    assert "1 error, 0 warnings, 0 infos" in capsys.readouterr().err
    other = tmp_path / "other.dbc"
    other.write_text(CLEAN)
    assert run(["lint", str(other), "-p", str(profile)]) == 2
    assert capsys.readouterr().err == f"cellwarden: {profile}: reads nothing from {other}; expected pack.dbc\n"
