"""Readers against real logs: counts, contents and time by python-can, and one capture in two formats."""

import json
import lzma
import os
from pathlib import Path

import can
import pytest
from cellwarden_tools.errors import InputError
from cellwarden_tools.readers import EXT, open_log

DATA = Path(os.environ.get("CELLWARDEN_CORPUS") or Path(__file__).parents[3] / "shared" / "data")
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="no corpus: set CELLWARDEN_CORPUS to its folder")

BOLT = "bolt-bicm-cc0/12_can_log_bms_bus_60s_raw.csv.xz"
KONA = "kona/Idle_log_no_diagnostic_function_selected-30sec.asc.xz"
GOLDEN = [
    (BOLT, "bolt_60s", "csv"),
    ("normalized/bolt_60s.log.xz", "bolt_60s", "candump"),
    ("bmw-i3/2014i3_AC_start_PT_CAN.csv.xz", "i3_ac_start", "savvycan"),
    ("bmw-i3/2019_Circontrol_midpoint.csv.xz", "i3_dc_mid", "savvycan"),
    (KONA, "kona_idle_asc", "asc"),
]
NO_LOGS = [
    ("savvycan/BusMasterLog.log.xz", "seems to be a BUSMASTER log"),
    ("savvycan/MicrochipLog.log.xz", "seems to be a Microchip CAN Bus Analyzer log"),
    ("savvycan/GenericID_Log.csv.xz", "no column for time in `ID,Data Bytes`"),
    ("savvycan/CarBusAnalyzer.trc", "seems to be a trace of another tool"),
    ("baticm-ev-faults/car1_processed.csv.xz", r"no column for time and id and data.*\[table\]"),
    ("bmw-i3-trips/TripA13.csv.xz", "no column for id and data"),
    ("kona/pcan.dbc", "the suffix `.dbc` says no log format"),
]


def read(name, **options):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not in this corpus")
    log = open_log(path, **options)
    frames, account = list(log), log.account
    assert account.frames + sum(account.skipped.values()) + sum(account.rejected.values()) == account.total
    return frames, account, log.format


@pytest.mark.parametrize(("name", "golden", "format"), GOLDEN)
def test_a_real_log_gives_every_frame_cantools_saw(name, golden, format):
    frames, account, found = read(name, include_tx=True)
    known = json.loads((DATA / "golden" / f"{golden}.json").read_text())
    assert found == format and account.cut is None and not account.rejected
    assert len(frames) == known["frames"]
    assert len({frame[2] for frame in frames}) == known["distinct_ids"]
    with lzma.open(DATA / name) as file:
        assert account.total == file.read().count(b"\n"), "every line is a record"


def test_the_bolt_log_and_its_candump_twin_are_the_same_frames():
    frames, _, _ = read(BOLT, include_tx=True)
    twin, _, _ = read("normalized/bolt_60s.log.xz")
    assert [(frame[0], *frame[2:]) for frame in frames] == [(frame[0], *frame[2:]) for frame in twin]


def test_what_the_tester_sent_in_the_bolt_log_is_left_out_unless_asked_for():
    heard, account, _ = read(BOLT)
    assert account.skipped["transmitted"] == 31_800 - len(heard) > 0
    assert 0x210 not in {frame[2] for frame in heard}, "the poller's own frame would read as a pack at 1.6 V"


def test_one_capture_in_candump_and_in_gvret_is_the_same_12974_frames():
    candump, _, _ = read("savvycan/candump.log.xz")
    gvret, _, _ = read("savvycan/GVRET_Log.csv.xz")
    assert len(candump) == 12_974
    assert [frame[2:] for frame in candump] == [frame[2:] for frame in gvret]
    assert [frame[0] for frame in candump] == [
        frame[0] // 1_000_000 * 1_000_000 for frame in gvret
    ]  # whole seconds there


@pytest.mark.parametrize(
    "name", ["savvycan/candump.log.xz", "normalized/bolt_60s.log.xz", KONA, "kona/Main_Relay_plus_On.asc"]
)
def test_a_real_log_is_read_as_python_can_reads_it(tmp_path, name):
    frames, _, _ = read(name, include_tx=True)
    path = DATA / name
    plain = tmp_path / path.name.removesuffix(".xz")
    plain.write_bytes(lzma.open(path).read() if path.suffix == ".xz" else path.read_bytes())
    theirs = [m for m in can.LogReader(plain) if not m.is_error_frame]
    assert len(theirs) == len(frames)
    for m, (t_us, _, can_id, data) in zip(theirs, frames, strict=True):
        assert round(m.timestamp * 1e6) == t_us
        assert (m.arbitration_id | (EXT if m.is_extended_id else 0), bytes(m.data)) == (can_id, data)


@pytest.mark.parametrize(("name", "count"), [("leaf_uds_2F6913DB", 5588), ("hkmc_uds_17BD1DB7", 2010)])
def test_a_real_mf4_log_is_read_as_python_can_reads_it(capfd, name, count):
    pytest.importorskip("asammdf")
    name = f"css-mf4/{name}.MF4"
    frames, account, _ = read(name, include_tx=True)
    assert len(frames) == count and account.cut.startswith("the recorder did not finalise the file")
    theirs = list(can.LogReader(DATA / name))
    assert [(round(m.timestamp * 1e6), str(m.channel), m.arbitration_id, bytes(m.data)) for m in theirs] == frames


@pytest.mark.parametrize("name", ["leaf_uds_2F6913DB", "hkmc_uds_17BD1DB7"])
def test_a_real_mf4_log_cut_anywhere_gives_the_frames_before_the_cut(tmp_path, capfd, name):
    pytest.importorskip("asammdf")
    whole, _, _ = read(f"css-mf4/{name}.MF4", include_tx=True)
    data = (DATA / "css-mf4" / f"{name}.MF4").read_bytes()
    path = tmp_path / "cut.mf4"
    for percent in range(5, 100, 5):
        path.write_bytes(data[: len(data) * percent // 100])
        log = open_log(path, include_tx=True)
        try:
            frames = list(log)
        except InputError as error:
            assert percent < 20 and "\n" not in str(error)
            continue
        account = log.account
        assert frames == whole[: len(frames)] and account.cut
        assert account.frames + sum(account.rejected.values()) == account.total
        assert len(frames) > len(whole) * (percent - 15) // 100
    out = capfd.readouterr()
    assert "Traceback" not in out.out + out.err


@pytest.mark.parametrize(("name", "message"), NO_LOGS)
def test_a_real_file_of_another_kind_is_refused_in_one_line(name, message):
    with pytest.raises(InputError, match=message) as error:
        read(name)
    assert "\n" not in str(error.value)
