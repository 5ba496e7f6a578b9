"""The command: exit status, one line for every mistake, JSON lines that hold to their contract, whole files or none."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import cellwarden.engine
import pytest
from cellwarden.core import catalogue
from cellwarden.core import layout as L
from cellwarden_tools.cli import VERBS, app, main, run
from cellwarden_tools.compiler.image import load_image, open_image
from cellwarden_tools.errors import InputError
from cellwarden_tools.files import whole_file

COMMAND = [sys.executable, "-c", "from cellwarden_tools.cli import main; main()"]
# A child's ru_maxrss begins with its parent's; this is its own.
PEAK = "import atexit, sys; atexit.register(lambda: sys.stderr.write(open('/proc/self/status').read())); "
linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc: peak memory is unknown")
DEMO = Path(__file__).parents[2] / "dbc" / "demo_pack.toml"
DBC = """VERSION ""
NS_ :
BS_:
BU_: BMS
BO_ 256 Pack: 6 BMS
 SG_ PackVoltage : 0|16@1+ (0.1,0) [0|1000] "V" BMS
 SG_ PackCurrent : 16|16@1- (0.1,0) [-1000|1000] "A" BMS
 SG_ SOC : 32|8@1+ (0.5,0) [0|100] "%" BMS
 SG_ Interlock : 40|1@1+ (1,0) [0|1] "" BMS
BO_ 257 Cells: 4 BMS
 SG_ Cell1 : 0|16@1+ (0.001,0) [0|5] "V" BMS
 SG_ Cell2 : 16|16@1+ (0.001,0) [0|5] "V" BMS
BA_DEF_ BO_ "GenMsgCycleTime" INT 0 65535;
BA_DEF_DEF_ "GenMsgCycleTime" 100;
"""
PROFILE = """[vehicle]
name = "small"
chemistry = "nmc"
cells = 2
[[bus]]
channel = "can0"
dbc = "small.dbc"
[signals]
pack_voltage = "Pack.PackVoltage"
pack_current = "Pack.PackCurrent"
soc = "Pack.SOC"
hvil = { signal = "Pack.Interlock", ok = [1] }
cell_voltage = "Cells.Cell{n}"
[limits.soc_jump]
enabled = false
"""


def lines(seconds, soc=50, start=1000.0, channel="can0", cells=(3700, 3700)):
    """candump text: both messages every 100 ms."""
    pack = (74).to_bytes(2, "little") + bytes(2) + bytes([soc * 2, 1])
    cell = b"".join(mv.to_bytes(2, "little") for mv in cells)
    out = []
    for k in range(round(seconds * 10)):
        out.append(f"({start + k / 10:.6f}) {channel} 100#{pack.hex().upper()}\n")
        out.append(f"({start + k / 10 + 0.001:.6f}) {channel} 101#{cell.hex().upper()}\n")
    return "".join(out)


# State of charge 50, 8, 4, then 50 %: soc_low rises to level 1, changes to 2, clears.
DISCHARGED = lines(5) + lines(10, 8, 1005) + lines(10, 4, 1015) + lines(20, 50, 1025)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with small.dbc, small.toml, fine.log and low.log, as the current one."""
    (tmp_path / "small.dbc").write_text(DBC)
    (tmp_path / "small.toml").write_text(PROFILE)
    (tmp_path / "fine.log").write_text(lines(3))
    (tmp_path / "low.log").write_text(DISCHARGED)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def say(here, capsys):
    """Run the command in this process: (status, stdout, stderr)."""

    def call(*words):
        capsys.readouterr()
        status = run([str(word) for word in words])
        return status, *capsys.readouterr()

    return call


@pytest.fixture
def refused(say):
    """The one line on stderr of a command that must exit with 2."""

    def call(*words):
        status, out, err = say(*words)
        errors = [line for line in err.splitlines() if "warning:" not in line]
        assert status == 2 and out == "" and len(errors) == 1, (status, out, err)
        return errors[0]

    return call


def objects(text):
    return [json.loads(line) for line in text.splitlines()]


def child(*words, peak=False, **options):
    """A real process of the command; peak: it ends with its /proc/self/status on stderr."""
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    python, flag, code = COMMAND
    return subprocess.Popen([python, flag, PEAK + code if peak else code, *map(str, words)], **options)


# --- replay: the contract of its JSON lines ---------------------------------------------------------------------------


def test_replay_tells_an_alarm_as_it_rises_changes_and_clears(say):
    status, out, err = say("replay", "low.log", "-p", "small.toml", "--json")
    *events, end = objects(out)
    assert (status, err) == (0, "")
    assert [(e["event"], e["rule"], e["level"], e["before"]) for e in events] == [
        ("raise", "soc_low", 1, 0), ("change", "soc_low", 2, 1), ("clear", "soc_low", 0, 2),
    ]  # fmt: skip
    assert [e["t"] for e in events] == pytest.approx([1010, 1020, 1035], abs=0.3), "on the log's own clock"
    assert [e["value"] for e in events] == [8.0, 4.0, 50.0]
    assert all((e["unit"], e["gb_bit"], e["where"]) == ("%", 4, 0) for e in events)
    assert end["event"] == "end" and end["max_level"] == 2 and end["level"] == 0 and end["verdict"] == "fine"


def test_replays_end_line_accounts_for_every_line_and_hashes_the_state(say, here):
    (here / "odd.log").write_text(lines(2) + "(1002.0) can0 100#R\nnonsense\n\n" + lines(1, start=1003))
    _, out, _ = say("replay", "odd.log", "-p", "small.toml", "--json")
    (end,) = objects(out)
    assert {"event", "frames", "rejected", "scans", "first", "last", "max_level", "state_sha256"} <= end.keys()
    assert end["frames"] + sum(end["rejected"].values()) + sum(end["skipped"].values()) == end["total"] == 63
    assert end["frames"] == 60 and sum(end["rejected"].values()) == 1 and end["skipped"]["remote frame"] == 1
    assert (end["first"], end["last"]) == (1000.0, 1003.901)
    image, _ = open_image(here / "small.toml")
    engine = cellwarden.engine.Engine(image)
    for line in (lines(2) + lines(1, start=1003)).splitlines():
        t, _, frame = line.split()
        can_id, _, data = frame.partition("#")
        engine.frame(int(float(t[1:-1]) * 1000 + 0.0001), int(can_id, 16), bytes.fromhex(data))
    assert end["state_sha256"] == hashlib.sha256(bytes(engine.state)).hexdigest(), "the digest is not of the state"
    assert end["image_sha256"] == image.sha256


# Error frames by the kernel's linux/can/error.h: frames lost, bus off, restarted; then two that say nothing of these.
LOST, OFF, ON = "20000004#0001000000000000", "20000040#0000000000000000", "20000100#0000000000000000"
OTHER = ("20000004#0008000000000000", "20000080#0000000000000000")


def with_errors(text, *errors, every=7, channel="can0"):
    """The log with one of the error frames in turn behind every so many lines, at the time of the line before."""
    out = []
    for at, line in enumerate(text.splitlines(keepends=True), 1):
        out.append(line)
        if at % every == 0:
            out.append(f"{line.split()[0]} {channel} {errors[at // every % len(errors)]}\n")
    return "".join(out)


@pytest.mark.parametrize("engine", ["python", pytest.param("fast", marks=pytest.mark.numba), "micropython"])
def test_what_the_recorder_knew_of_its_bus_is_told_to_the_core_and_counted_apart_from_frames(say, here, engine):
    pytest.importorskip({"fast": "numba"}.get(engine, "json"))
    text = with_errors(lines(3), LOST, OFF, ON, *OTHER)
    other = f"(1001.000000) can1 {OFF}\n"
    (here / "told.log").write_text(f"(0999.000000) can0 {ON}\n" + text + other)
    status, out, err = say("replay", "told.log", "-p", "small.toml", "--engine", engine, "--json")
    if engine == "micropython" and "no MicroPython" in err:
        pytest.skip(err)
    end = objects(out)[-1]
    assert (status, end["frames"], end["notices"]) == (0, 60, 1 + 5)
    assert end["skipped"] == {"error frame": 3, "other channel": 1} and end["first"] == 999.0
    assert end["frames"] + end["notices"] + sum(end["skipped"].values()) == end["total"] == 1 + 60 + 8 + 1
    image, _ = open_image(here / "small.toml")
    engine = cellwarden.engine.Engine(image)
    for line in ["(0999.000000) can0 " + ON, *text.splitlines()]:
        t, _, frame = line.split()
        can_id, _, data = frame.partition("#")
        known = {LOST: (1, b"\0"), OFF: (2, b"\1"), ON: (2, b"\0")}
        if frame not in OTHER:
            kind, value = known.get(frame, (None, None))
            record = (L.NOTICE | kind, value) if kind else (int(can_id, 16), bytes.fromhex(data))
            engine.frame(int(float(t[1:-1]) * 1000 + 0.0001), *record)
    assert end["state_sha256"] == hashlib.sha256(bytes(engine.state)).hexdigest()


def test_notices_alone_are_no_log_of_a_vehicle(refused, here):
    (here / "off.log").write_text(f"(1.0) can0 {OFF}\n")
    assert "off.log: no frame to replay" in refused("replay", "off.log", "-p", "small.toml")


def test_notices_are_no_signals_and_no_unknown_frames(say, here):
    (here / "told.log").write_text(with_errors(lines(3), LOST, OFF, ON))
    for words in (("--dbc", "small.dbc"), ("-p", "small.toml")):
        plain, told = (say("decode", log, *words)[1] for log in ("fine.log", "told.log"))
        assert plain == told and plain.count("\n") > 60
    assert "told.log: 60 of 60 frames decoded" in say("decode", "told.log", *words)[2]


def test_the_table_for_people_tells_of_notices(say, here):
    (here / "told.log").write_text(with_errors(lines(3), LOST))
    assert "8 notices that frames were lost" in say("replay", "told.log", "-p", "small.toml")[1]


def test_replay_of_several_logs_names_each_and_starts_afresh(say):
    _, out, _ = say("replay", "fine.log", "low.log", "fine.log", "-p", "small.toml", "--json")
    told = objects(out)
    ends = [line for line in told if line["event"] == "end"]
    assert [line["log"] for line in ends] == ["fine.log", "low.log", "fine.log"] and all("log" in x for x in told)
    assert ends[0] == ends[2], "the first log's alarms leaked into the third"


@pytest.mark.parametrize(("level", "status"), [(1, 1), (2, 1), (3, 0)])
def test_fail_on_exits_with_1_where_the_level_was_reached(level, status, say):
    found, _, err = say("replay", "fine.log", "low.log", "-p", "small.toml", "--fail-on", level)
    assert found == status
    assert err == (f"cellwarden: level 2 was reached (--fail-on {level})\n" if status else "")


def test_the_table_for_people_says_what_json_says(say):
    status, out, _ = say("replay", "low.log", "-p", "small.toml")
    text = " ".join(out.split())
    assert status == 0
    for part in (
        "raise soc_low 0 > 1 8 %", "change soc_low 1 > 2 4 %", "clear soc_low 2 > 0 50 %",
        "low.log: 900 frames, 900 of them small's, in 44.9 s", "verdict: fine at the end, level 2 at worst",
        "hvil_open", "insulation_low (lacks insulation)",
    ):  # fmt: skip
        assert part in text


def test_the_table_tells_what_was_left_out_cut_lost_and_wrong(say, here):
    text = lines(3).replace("(1001.000000) can0 100#4A0000006401", "(1001.000000) can0 100#4A", 1)
    late = "".join(f"({1003 + k}.0) can0 101#740E740E\n" for k in range(9)) + "(1001.5) can0 101#740E740E\n(1012.0) can"
    (here / "odd.log").write_text(text + late)
    _, out, _ = say("replay", "odd.log", "-p", "small.toml")
    for part in (
        "not replayed: 1 cut off", "the log is cut: the last line (line 71) is cut off",
        "no longer received at the end", "1 frames too short for their DBC", "1 steps back in time",
        "verdict: level 1",  # frame_malformed
    ):  # fmt: skip
        assert part in " ".join(out.split())


def test_a_cell_that_reads_nothing_keeps_the_verdict_from_fine(say, here):
    (here / "dead.log").write_text(lines(3) + lines(3, start=1003.0, cells=(3700, 0)))
    _, out, _ = say("replay", "dead.log", "-p", "small.toml")
    assert "cells_lost" in out and "verdict: level 2" in out


def test_a_channel_that_the_log_names_otherwise_is_mapped(say, refused, here):
    (here / "other.log").write_text(lines(3, channel="vcan7"))
    line = refused("replay", "other.log", "-p", "small.toml")
    assert line == (
        "cellwarden: other.log: no frame on channel `can0`; the log has `vcan7`; expected the channels of the profile; "
        "say --channel vcan7=can0"
    )
    _, out, _ = say("replay", "other.log", "-p", "small.toml", "--channel", "vcan7=can0", "--json")
    _, fine, _ = say("replay", "fine.log", "-p", "small.toml", "--json")
    assert objects(out) == objects(fine)


def test_frames_of_a_channel_that_nobody_watches_are_counted_apart(say, here):
    (here / "two.log").write_text(lines(3) + lines(1, start=1003, channel="can1"))
    _, out, _ = say("replay", "two.log", "-p", "small.toml", "--json")
    (end,) = objects(out)
    assert end["frames"] == 60 and end["skipped"] == {"other channel": 20} and end["total"] == 80


# --- compile ----------------------------------------------------------------------------------------------------------


def test_the_same_profile_gives_the_same_image_bytes(say, here):
    assert say("compile", "small.toml", "-o", "a.cwi")[0] == say("compile", "small.toml", "-o", "b.cwi")[0] == 0
    assert (here / "a.cwi").read_bytes() == (here / "b.cwi").read_bytes()
    (here / "small.toml").write_text(PROFILE + "[limits.soc_low]\nlevels = [12, 5, 2]\n")
    say("compile", "small.toml", "-o", "c.cwi")
    assert load_image("c.cwi").sha256 != load_image("a.cwi").sha256


def test_an_image_gives_the_verdicts_of_its_profile(say):
    say("compile", "small.toml", "-o", "a.cwi")
    assert say("replay", "low.log", "-p", "a.cwi", "--json") == say("replay", "low.log", "-p", "small.toml", "--json")


def test_the_coverage_table_lists_every_rule_once_with_what_it_lacks(say):
    status, out, _ = say("compile", "small.toml", "-o", "a.cwi", "--json")
    told = objects(out)
    rules = [line for line in told if line["event"] == "rule"]
    assert status == 0 and [line["rule"] for line in rules] == list(catalogue.RULES)
    assert all(line["active"] or line["lacks"] for line in rules), "a rule was dropped in silence"
    signals = {line["signal"]: line["worst_error"] for line in told if line["event"] == "signal"}
    assert signals == {f"{name}": 0 for name in (
        "Pack.PackVoltage", "Pack.PackCurrent", "Pack.SOC", "Pack.Interlock", "Cells.Cell1", "Cells.Cell2",
    )}  # fmt: skip
    end = told[-1]
    assert (end["event"], end["rules"], end["signals"], end["vehicle"]) == ("end", len(rules), 6, "small")
    assert end["active"] == sum(line["active"] for line in rules) and end["sha256"] == load_image("a.cwi").sha256
    table = say("compile", "small.toml", "-o", "a.cwi")[1]
    for rule in catalogue.RULES:
        assert len(re.findall(rf"^ {rule} ", table, re.M)) == 1, rule


def test_the_worst_scaling_error_is_printed(say, here):
    (here / "small.dbc").write_text(DBC.replace("(0.001,0)", "(0.0013,0)", 1))
    out = say("compile", "small.toml", "-o", "a.cwi", "--json")[1]
    errors = {line["signal"]: line["worst_error"] for line in objects(out) if line["event"] == "signal"}
    assert 0 < errors["Cells.Cell1"] <= 0.5 and errors["Cells.Cell2"] == 0
    row = next(line for line in say("compile", "small.toml", "-o", "a.cwi")[1].splitlines() if " cell_voltage " in line)
    assert row.split()[-1] == "0.5"


def test_the_generated_decoder_can_be_read(say):
    status, out, _ = say("compile", "small.toml", "--decoder")
    assert status == 0 and "# pack_voltage, mV: Pack.PackVoltage, 0.1 V\n" in out
    assert say("compile", str(DEMO), "--decoder")[1].count("# cell_voltage ") == 96


@pytest.mark.parametrize("part", ["decoder.py", "params.bin", "names.json", "filters.json"])
def test_an_image_with_a_damaged_part_is_refused(part, say, refused, here):
    say("compile", "small.toml", "-o", "a.cwi")
    with zipfile.ZipFile("a.cwi") as old, zipfile.ZipFile("bad.cwi", "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, data[:-1] + bytes([data[-1] ^ 1]) if name == part else data)
    line = refused("replay", "fine.log", "-p", "bad.cwi")
    assert line == (
        f"cellwarden: bad.cwi: part {part} does not have the hash in the manifest; "
        "expected an unchanged image; compile it again"
    )


def test_an_image_that_is_cut_or_of_another_layout_is_refused(say, refused, here):
    say("compile", "small.toml", "-o", "a.cwi")
    whole = (here / "a.cwi").read_bytes()
    (here / "cut.cwi").write_bytes(whole[:-100])
    assert "cut.cwi: is no vehicle image (" in refused("replay", "fine.log", "-p", "cut.cwi")
    manifest = json.loads(zipfile.ZipFile("a.cwi").read("manifest.json"))
    for text, message in (
        (json.dumps(manifest | {"layout": 99}), "old.cwi: has layout 99; expected layout"),
        ("[]", "old.cwi: is no vehicle image (its manifest is none); expected a file made by `cellwarden compile`"),
        ("{", "old.cwi: is no vehicle image"),
    ):
        with zipfile.ZipFile("a.cwi") as old, zipfile.ZipFile("old.cwi", "w") as new:
            for name in old.namelist():
                new.writestr(name, text if name == "manifest.json" else old.read(name))
        assert message in refused("replay", "fine.log", "-p", "old.cwi")


# --- decode and simulate ----------------------------------------------------------------------------------------------


def test_decode_writes_every_signal_in_each_format_alike(say, here):
    import pyarrow.parquet

    status, out, err = say("decode", "fine.log", "--dbc", "small.dbc")
    header, first, *rest = out.splitlines()
    assert status == 0 and err == "cellwarden: fine.log: 60 of 60 frames decoded, 180 values\n"
    assert header == "t,channel,message,signal,raw,value,unit,label"
    assert first == "1000.0,can0,Pack,PackVoltage,74,7.4,V," and len(rest) == 179
    rows = objects(say("decode", "fine.log", "--dbc", "small.dbc", "--json")[1])
    assert rows[0] == {
        "t": 1000.0, "channel": "can0", "message": "Pack", "signal": "PackVoltage", "raw": 74, "value": 7.4,
        "unit": "V",
    }  # fmt: skip
    for name in ("a.csv", "a.jsonl", "a.parquet"):
        assert say("decode", "fine.log", "--dbc", "small.dbc", "-o", name)[:2] == (0, "")
    assert (here / "a.csv").read_text() == out and objects((here / "a.jsonl").read_text()) == rows
    table = pyarrow.parquet.read_table("a.parquet").to_pylist()
    assert [{k: v for k, v in row.items() if v is not None} for row in table] == rows


def test_decode_with_a_profile_gives_canonical_quantities_and_no_value_for_an_invalid_one(say, here):
    (here / "bad.log").write_text(lines(1) + lines(1, start=1001, cells=(3700, 0)))
    rows = objects(say("decode", "bad.log", "-p", "small.toml", "--json")[1])
    cells = [row for row in rows if row["quantity"] == "cell_voltage" and row["index"] == 2]
    assert [row.get("value") for row in cells] == [3700] * 10 + [None] * 10
    packs = {row["quantity"]: (row["value"], row["unit"]) for row in rows if "index" not in row}
    assert packs == {
        "pack_voltage": (7400, "mV"), "pack_current": (0, "mA"), "soc": (500, "permille"), "hvil": (1, "state"),
    }  # fmt: skip


def test_decode_takes_a_dbc_for_each_channel(say, here):
    (here / "other.dbc").write_text(DBC.replace("PackVoltage", "Other"))
    (here / "two.log").write_text(
        lines(1) + lines(1, start=1003, channel="can1") + lines(1, start=1004, channel="can2")
    )
    out = say("decode", "two.log", "--dbc", "can0=small.dbc", "--dbc", "can1=other.dbc", "--json")[1]
    found = {(row["channel"], row["signal"]) for row in objects(out)}
    assert ("can0", "PackVoltage") in found and ("can1", "Other") in found
    assert not {"can2"} & {channel for channel, _ in found} and ("can0", "Other") not in found


def test_simulate_gives_the_same_log_for_the_same_seed(say, here):
    for name in ("a.log", "b.log"):
        assert say("simulate", "healthy_park", "--minutes", 0.05, "--seed", 3, "-o", name)[0] == 0
    assert (here / "a.log").read_bytes() == (here / "b.log").read_bytes()
    (told,) = objects(say("simulate", "healthy_park", "--minutes", 0.05, "-o", "c.log", "--json")[1])
    assert told["scenario"] == "healthy_park" and told["frames"] == len((here / "c.log").read_text().splitlines())
    status, _, _ = say("replay", "a.log", "-p", DEMO, "--fail-on", 1)
    assert status == 0


# --- bad input: what, where, what was expected, how to mend it --------------------------------------------------------


def test_a_truncated_log_is_replayed_and_said_to_be_cut(say, here):
    (here / "cut.log").write_text(lines(3)[:-7])
    status, out, _ = say("replay", "cut.log", "-p", "small.toml", "--json")
    (end,) = objects(out)
    assert status == 0 and end["cut"] == "the last line (line 60) is cut off" and end["frames"] == 59
    assert (
        "decode" in VERBS
        and "the log is cut: the last line (line 60)" in say("decode", "cut.log", "--dbc", "small.dbc")[2]
    )


def test_an_empty_file_is_said_to_be_empty(refused, here):
    for name in ("empty.log", "empty.csv", "empty.asc", "empty.log.gz"):
        (here / name).write_bytes(b"")
        for words in (("replay", name, "-p", "small.toml"), ("decode", name, "--dbc", "small.dbc")):
            assert refused(*words) == f"cellwarden: {name}: is empty; expected a log with at least one frame"


def test_a_binary_file_is_said_to_be_one(refused, here):
    (here / "binary.log").write_bytes(bytes(range(256)) * 100)
    line = refused("replay", "binary.log", "-p", "small.toml")
    assert "binary.log: no frame in it; it seems to be binary data (first bytes 00 01 02" in line and "candump" in line
    (here / "zip.log").write_bytes(b"PK\3\4" + bytes(500))
    assert "it seems to be a zip archive or a spreadsheet" in refused("decode", "zip.log", "--dbc", "small.dbc")


@linux
@pytest.mark.parametrize("words", [["replay", "-", "-p", "small.toml"], ["decode", "-", "--dbc", "small.dbc"]])
@pytest.mark.parametrize("start", ["", lines(1)])
def test_an_endless_line_is_given_up_or_left_out_and_never_kept(words, start, here):
    process = child(*words, peak=True, text=True)

    def feed():
        try:
            process.stdin.write(start)
            for _ in range(400):
                process.stdin.write("x" * (1 << 16))
            process.stdin.close()
        except BrokenPipeError:
            pass

    feeder = threading.Thread(target=feed)
    feeder.start()
    with process:
        out, err = process.stdout.read(), process.stderr.read()
        feeder.join()
    err, _, status = err.partition("Name:")
    assert "Traceback" not in err and peak_kib(status) < 200 << 10
    if start:
        assert process.returncode == 0 and "line over 4096 bytes" in out + err
    else:
        assert process.returncode == 2 and err.count("\n") == 1 and "it seems to be text that begins 'xxx" in err


def test_a_log_of_another_vehicle_is_told_with_the_identifiers_of_both(refused, here):
    (here / "other.log").write_text("(1.0) can0 7E8#0102\n" * 9)
    assert refused("replay", "other.log", "-p", "small.toml") == (
        "cellwarden: other.log: is a log of another vehicle: none of its 9 frames (such as 0x7E8) is one that small "
        "sends; expected identifiers such as 0x100, 0x101; choose the profile of the vehicle that was logged"
    )
    for words, what in ((("--dbc", "small.dbc"), "small.dbc"), (("-p", "small.toml"), "small")):
        assert refused("decode", "other.log", *words, "-o", "out.csv") == (
            f"cellwarden: other.log: no frame of {what} in it (it has 0x7E8); expected a log of that vehicle; "
            "choose the DBC or profile of what was logged"
        )
        assert not (here / "out.csv").exists()


def test_a_log_without_received_frames_says_what_it_has(refused, here):
    (here / "remote.log").write_text("(1.0) can0 100#R\n" * 4)
    assert refused("replay", "remote.log", "-p", "small.toml") == (
        "cellwarden: remote.log: no frame to replay (4 remote frame); expected received data frames"
    )


def test_a_syntax_error_in_a_dbc_is_told_with_line_and_column(refused, here):
    (here / "small.dbc").write_text(DBC.replace("BO_ 256", "SIG_VALTYPE_ 256 PackVoltage 1;\nBO_ 256", 1))
    for words in (
        ("replay", "fine.log", "-p", "small.toml"), ("compile", "small.toml", "-o", "a.cwi"),
        ("decode", "fine.log", "--dbc", "small.dbc"), ("lint", "small.dbc"),
    ):  # fmt: skip
        assert re.match(r"cellwarden: small\.dbc:5:\d+: .*; expected ", refused(*words)), words
    assert not (here / "a.cwi").exists()


def test_a_broken_line_in_a_dbc_is_told_where_its_signal_is_needed_and_warned_of_elsewhere(refused, say, here):
    (here / "small.dbc").write_text(DBC.replace('(0.1,0) [0|1000] "V"', '(0.1;0) [0|1000] "V"', 1))
    line = refused("replay", "fine.log", "-p", "small.toml")
    assert line.startswith(
        "cellwarden: small.toml: [signals.pack_voltage]: no signal `Pack.PackVoltage` (small.dbc:6: "
    )
    (here / "small.toml").write_text(PROFILE.replace('pack_voltage = "Pack.PackVoltage"', ""))
    status, _, err = say("replay", "fine.log", "-p", "small.toml")
    assert status == 0 and err.startswith("cellwarden: warning: small.dbc:6: ")


def test_contradictory_limits_are_told_with_their_key(refused, here):
    (here / "small.toml").write_text(PROFILE + "[limits.soc_low]\nlevels = [5, 10, 2]\n")
    assert refused("compile", "small.toml", "-o", "a.cwi") == (
        "cellwarden: small.toml: [limits.soc_low]: levels [5.0, 10.0, 2.0] % are out of order; "
        "expected falling limits, level 1 first"
    )


@pytest.mark.parametrize("place", ["missing/out", "fine.log/out", "/proc/out", "folder"])
@pytest.mark.parametrize(
    ("words", "suffix"),
    [
        (("compile", "small.toml", "-o"), ".cwi"),
        (("decode", "fine.log", "--dbc", "small.dbc", "-o"), ".csv"),
        (("simulate", "healthy_park", "--minutes", "0.05", "-o"), ".log"),
    ],
)
def test_an_output_that_cannot_be_written_is_told_and_leaves_nothing(words, suffix, place, refused, here):
    (here / f"folder{suffix}").mkdir()
    before = sorted(here.rglob("*"))
    line = refused(*words, place + suffix)
    assert line.startswith(f"cellwarden: {place}{suffix}: ") and "; expected a" in line
    assert ("is a folder" if place == "folder" else "cannot be written (") in line
    assert sorted(here.rglob("*")) == before


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no /dev/full")
def test_a_full_disk_is_told_in_one_line_and_devices_are_left_as_they_are(refused, say, here):
    assert refused("compile", "small.toml", "-o", "/dev/full") == (
        "cellwarden: /dev/full: cannot be written (No space left on device); "
        "expected room on the disk and the right to write"
    )
    assert say("compile", "small.toml", "-o", "/dev/null")[0] == 0
    assert Path("/dev/full").is_char_device() and Path("/dev/null").is_char_device()
    for words in (("replay", "low.log", "-p", "small.toml"), ("decode", "low.log", "--dbc", "small.dbc"), ("--help",)):
        with open("/dev/full", "wb") as full, child(*words, stdout=full) as process:
            err = process.stderr.read().decode()
        assert process.returncode == 2 and "Traceback" not in err
        assert "standard output: cannot be used (No space left on device)" in err.splitlines()[-1]


def test_an_output_through_a_link_replaces_the_file_and_not_the_link(say, here):
    (here / "link.cwi").symlink_to(here / "real.cwi")
    (here / "real.cwi").write_bytes(b"old")
    assert say("compile", "small.toml", "-o", "link.cwi")[0] == 0
    assert (here / "link.cwi").is_symlink() and load_image(here / "real.cwi")


@pytest.mark.parametrize(
    ("trouble", "seen"),
    [(KeyboardInterrupt(), KeyboardInterrupt), (OSError(28, "No space left on device"), InputError)],
)
def test_a_file_that_fails_half_way_leaves_the_old_one(trouble, seen, here):
    (here / "a.cwi").write_text("old")
    before = sorted(here.iterdir())
    with pytest.raises(seen), whole_file(here / "a.cwi", "w") as file:
        file.write("half of the n")
        raise trouble
    assert sorted(here.iterdir()) == before and (here / "a.cwi").read_text() == "old"


# --- Ctrl-C, closed pipes, standard input -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("simulate", "demo", "-o", "out.log"),
        ("simulate", "demo", "-o", "out.log.xz"),
        ("decode", "-", "--dbc", "small.dbc", "-o", "out.csv"),
        ("decode", "-", "--dbc", "small.dbc", "-o", "out.parquet"),
        ("replay", "-", "-p", "small.toml", "--json"),
    ],
    ids=" ".join,
)
def test_ctrl_c_ends_with_130_one_line_and_no_half_file(words, here):
    before = sorted(here.iterdir())
    with child(*words) as process:
        if "-" in words:
            process.stdin.write(DISCHARGED.encode() * 8)  # far more than a pipe holds: when it is through, it is read
            process.stdin.flush()
        else:
            while not [path for path in here.iterdir() if path.suffix == ".part"]:
                assert process.poll() is None
        process.send_signal(signal.SIGINT)
        err = process.stderr.read().decode()
    assert process.returncode == 130
    assert err == "cellwarden: interrupted; nothing half written is left\n"
    assert sorted(here.iterdir()) == before, "a half file was left behind"


@pytest.mark.parametrize(
    ("trouble", "status", "message"),
    [
        (KeyboardInterrupt(), 130, "cellwarden: interrupted; nothing half written is left\n"),
        (MemoryError(), 2, "cellwarden: not enough memory\n"),
        (BrokenPipeError(), 0, ""),
        (SystemExit(1), 0, ""),  # what typer and rich make of a broken pipe
        (OSError(28, "No space left on device", "out.csv"), 2,
         "cellwarden: out.csv: cannot be used (No space left on device); "
         "expected room on the disk and the right to write\n"),
    ],
)  # fmt: skip
def test_trouble_from_outside_ends_in_one_line_and_its_own_status(trouble, status, message, say, monkeypatch):
    def fail(path):
        raise trouble

    monkeypatch.setattr("cellwarden_tools.compiler.image.compile_profile", fail)
    assert say("replay", "low.log", "-p", "small.toml") == (status, "", message)


def test_the_command_opens_what_was_closed_and_exits_with_the_status(here, monkeypatch, capsys):
    for name in ("stdin", "__stdin__"):
        monkeypatch.setattr(sys, name, None)
    monkeypatch.setattr(sys, "argv", ["cellwarden", "replay", "-", "-p", "small.toml"])
    with pytest.raises(SystemExit) as exit:
        main()
    assert exit.value.code == 2
    assert capsys.readouterr().err == "cellwarden: -: is empty; expected a log with at least one frame\n"
    sys.stdin.close()


@pytest.mark.parametrize(
    "words",
    [
        ("replay", "low.log", "-p", "small.toml"),
        ("decode", "low.log", "--dbc", "small.dbc", "-o", "out.csv"),
        ("simulate", "healthy_park", "--minutes", "0.1", "-o", "out.log"),
    ],
)
def test_a_terminal_shows_progress_on_stderr_and_the_same_result(words, here, capsys, monkeypatch):
    (here / "low.log").write_text(DISCHARGED * 20)
    assert run(words) == 0
    plain = capsys.readouterr()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert run(words) == 0
    shown = capsys.readouterr()
    assert re.sub("\x1b.*?m", "", shown.out) == plain.out and len(shown.err) > len(plain.err)


@pytest.mark.parametrize(
    "words",
    [
        ("decode", "low.log", "--dbc", "small.dbc"),
        ("replay", *["low.log"] * 40, "-p", "small.toml", "--json"),
        ("replay", *["low.log"] * 40, "-p", "small.toml"),
        ("compile", "small.toml", "-o", "a.cwi"),
        ("--help",),
    ],
)
def test_a_reader_that_goes_away_is_no_error(words, here):
    with child(*words) as process:
        process.stdout.close()
        err = process.stderr.read().decode()
    assert process.returncode == 0 and "Traceback" not in err and "Broken" not in err


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_closed_streams_give_no_traceback(closed, here):
    words = "replay - -p small.toml" if closed == "<&-" else "replay low.log -p small.toml"
    told = subprocess.run(
        ["sh", "-c", f'"$0" -c "$1" {words} {closed}', sys.executable, COMMAND[2]], capture_output=True, text=True
    )
    assert "Traceback" not in told.stderr
    assert told.returncode == (2 if closed == "<&-" else 0), told.stderr


def test_a_terminal_without_a_character_shows_its_number(here):
    told = subprocess.run(
        [*COMMAND, "compile", "small.toml", "-o", "a.cwi"],
        capture_output=True, env=os.environ | {"PYTHONIOENCODING": "ascii"}, text=True,
    )  # fmt: skip
    assert told.returncode == 0 and told.stderr == "" and "Cells.Cell1 \\u2026" in told.stdout


@pytest.mark.parametrize(
    "words", [("replay", "-p", "small.toml", "--json"), ("decode", "--dbc", "small.dbc", "--json")]
)
def test_standard_input_is_read_like_a_file(words, here):
    verb, *options = words
    told = [
        subprocess.run([*COMMAND, verb, name, *options], input=DISCHARGED, capture_output=True, text=True)
        for name in ("-", "low.log")
    ]
    assert told[0].returncode == told[1].returncode == 0
    assert told[0].stdout == told[1].stdout


# --- usage ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("fly", "cellwarden: No such command 'fly'; see `cellwarden --help`"),
        ("replay", "cellwarden replay: Missing argument 'LOG'; see `cellwarden replay --help`"),
        ("replay a.log", "cellwarden replay: Missing option '-p' / '--profile'; see `cellwarden replay --help`"),
        ("replay a.log -p b.toml --zzz", "cellwarden replay: No such option: --zzz; see `cellwarden replay --help`"),
        ("replay fine.log -p small.toml --engine pyton",
         "cellwarden: --engine: no engine `pyton`; did you mean `python`?; "
         "expected auto, fast, python, micropython, micropython32, cortex-m3"),
        ("replay fine.log -p none.toml",
         "cellwarden: none.toml: cannot be read (No such file or directory); expected a vehicle profile or image"),
        ("replay none.log -p small.toml",
         "cellwarden: none.log: cannot be read (No such file or directory); expected a log file"),
        ("replay fine.log -p small.toml --channel can0",
         "cellwarden: --channel: 'can0'; expected LOG=PROFILE with a channel of the profile (can0)"),
        ("replay fine.log -p small.toml --channel x=cam0",
         "cellwarden: --channel: 'x=cam0'; did you mean `can0`?; "
         "expected LOG=PROFILE with a channel of the profile (can0)"),
        ("decode fine.log", "cellwarden: decode: give either --dbc or -p; expected --dbc FILE.dbc or -p PROFILE.toml"),
        ("decode fine.log --dbc small.dbc -p small.toml",
         "cellwarden: decode: give either --dbc or -p; expected --dbc FILE.dbc or -p PROFILE.toml"),
        ("decode fine.log --dbc small.dbc -o out.xls",
         "cellwarden: out.xls: suffix `.xls` is no table; expected .csv, .jsonl or .parquet"),
        ("decode fine.log --dbc none.dbc",
         "cellwarden: none.dbc: cannot be read (No such file or directory); expected a DBC file"),
        ("compile small.toml", "cellwarden: compile: no -o IMAGE; expected the file to write; say -o vehicle.cwi"),
        ("simulate healthy_park", "cellwarden: simulate: no log is named; add -o LOG, such as -o drive.log"),
    ],
)  # fmt: skip
def test_a_mistake_in_usage_is_one_line_and_exit_2(words, line, refused):
    assert refused(*words.split()) == line


def test_an_unknown_scenario_is_told_with_the_nearest_one(refused):
    line = refused("simulate", "cell_ovr", "-o", "a.log")
    assert "no such scenario; did you mean `cell_over`?; expected a_frame_lost_now_and_then, " in line
    assert "no scenario is named; expected a_frame_lost_now_and_then" in refused("simulate")


WITHIN = {group.name: [verb.callback.__name__ for verb in group.typer_instance.registered_commands]
          for group in app.registered_groups}  # fmt: skip


@pytest.mark.parametrize("verb", [f"{verb} {inner}".strip() for verb in VERBS for inner in WITHIN.get(verb, [""])])
def test_help_of_every_verb_says_what_it_does_and_explains_every_option(verb, say):
    status, out, _ = say(*verb.split(), "--help")
    out = out.replace("device {PORT} ", "device ", 1)  # the one that stands before its verbs
    assert status == 0 and out.startswith(f"Usage: cellwarden {verb} [OPTIONS]")
    what = out.split("\n\n")[1].strip()
    assert what[0].isupper() and what.rstrip().endswith(".")
    # An option starts a line at column 2; where its explanation does not fit beside it, it stands on the next one.
    entries = re.split(r"^  (?=\S)", out[out.index("Options:") :], flags=re.M)[1:]
    before = out[: out.index("Options:")].partition("Arguments:")[2]  # some verbs have none
    arguments = re.split(r"^  (?=\S)", before, flags=re.M)[1:]
    for entry in entries + arguments:
        assert re.search(r"\S  +[\w.]|\n +[\w.]", entry), f"no word about {entry.split()[0]}"


def test_help_lists_every_verb_and_the_version_is_told(say):
    status, out, _ = say()
    assert status == 0 and all(re.search(rf"^  {verb} ", out, re.M) for verb in VERBS)
    assert say("-h") == (0, out, "") and re.fullmatch(r"cellwarden \d+\.\d+\.\d+\n", say("--version")[1])


# --- memory -----------------------------------------------------------------------------------------------------------

GENERATOR = """
import sys
bodies = "can0 100#4A0000006401", "can0 101#740E740E", "can0 7E8#01", "can0 1FFFFFFF#0102030405060708"
block = "".join("(%.6f) " + body + "\\n" for body in bodies) * 250
for first in range(0, int(sys.argv[1]), 1000):
    sys.stdout.write(block % tuple(1e9 + (first + k) / 40 for k in range(1000)))
"""


def peak_kib(text):
    """The figure that a process with PEAK wrote to stderr."""
    return int(re.search(r"^VmHWM:\s+(\d+) kB", text, re.M)[1])


def measured(frames, *words):
    """Peak memory of the command reading that many frames from a pipe, in KiB."""
    with subprocess.Popen([sys.executable, "-c", GENERATOR, str(frames)], stdout=subprocess.PIPE) as source:
        process = child(*words, stdin=source.stdout, stdout=subprocess.DEVNULL, peak=True)
        source.stdout.close()
        err = process.communicate()[1].decode()
    assert process.returncode == 0, err
    return peak_kib(err)


@pytest.mark.long(but=["decode-csv"])
@linux
@pytest.mark.parametrize(
    ("words", "frames"),
    [
        (("replay", "-", "-p", "small.toml"), 200_000),
        (("decode", "-", "--dbc", "small.dbc"), 50_000),
        (("decode", "-", "--dbc", "small.dbc", "-o", "out.parquet"), 200_000),
    ],
    ids=["replay", "decode-csv", "decode-parquet"],
)
def test_memory_does_not_grow_with_the_log(words, frames, here):
    small, large = measured(frames, *words), measured(4 * frames, *words)
    print(f"{words[0]}: {small >> 10} MiB for {frames} frames, {large >> 10} MiB for {4 * frames}")
    assert large < 200 << 10 and large - small < 8 << 10
