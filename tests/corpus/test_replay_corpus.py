"""Real logs of healthy cars through the core: nothing is raised, and every line is accounted for."""

import os
import re
from pathlib import Path

import cantools
import pytest
from cellwarden_tools.cli import run
from cellwarden_tools.compiler.image import compile_profile, open_image
from cellwarden_tools.decode import ProfileRows
from cellwarden_tools.engines import open_engine
from cellwarden_tools.errors import InputError
from cellwarden_tools.readers import open_log
from cellwarden_tools.replay import Replay

DATA = Path(os.environ.get("CELLWARDEN_CORPUS") or Path(__file__).parents[3] / "shared" / "data")
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="no corpus: set CELLWARDEN_CORPUS to its folder")

DBC = Path(__file__).parents[2] / "dbc"
DEMO = DBC / "demo_pack.toml"
BOLT = "bolt-bicm-cc0/12_can_log_bms_bus_60s_raw.csv.xz"
I3 = "bmw-i3/2014i3_AC_start_PT_CAN.csv.xz"
KONA = "kona/Idle_log_no_diagnostic_function_selected-30sec.asc.xz"
KONA_RULES = (
    "pack_overvoltage", "pack_undervoltage", "temperature_high", "temperature_spread", "charge_too_cold", "soc_low",
    "soc_high", "overcharge", "soc_jump", "pack_step", "signal_lost", "frame_malformed", "frames_lost", "bus_off",
    "time_backward", "thermal_runaway", "thermal_suspected",
)  # fmt: skip
I3_RULES = (
    "pack_overvoltage", "soc_low", "soc_high", "overcharge", "soc_jump", "pack_step", "signal_lost", "frame_malformed",
    "frames_lost", "bus_off", "time_backward",
)  # fmt: skip
BOLT_RULES = (
    "cell_overvoltage", "cell_undervoltage", "pack_overvoltage", "temperature_high", "temperature_spread",
    "cell_spread", "overcharge", "temperature_rise", "pack_step", "pack_sum_mismatch", "cell_transient", "cell_drift",
    "self_discharge", "contact_resistance", "signal_lost", "frame_malformed", "frames_lost", "bus_off", "cells_lost",
    "cells_absent", "probe_fault", "sense_line", "frozen", "time_backward", "thermal_runaway", "thermal_suspected",
)  # fmt: skip
HEALTHY = [  # log, vehicle, verdict, the rules that watch it
    (BOLT, "bolt", "not yet known", BOLT_RULES),
    (I3, "i3", "fine", I3_RULES),
    ("bmw-i3/2019_Circontrol_midpoint.csv.xz", "i3", "fine", I3_RULES),
    (KONA, "kona", "fine", KONA_RULES),
    ("kona/Main_Relay_plus_On.asc", "kona", "fine", KONA_RULES),
]
CAPTURES = ["candump.log.xz", "GVRET_Log.csv.xz"]  # of the same drive


def there(name):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not in this corpus")
    return path


@pytest.fixture(autouse=True)
def corpus_is_found(monkeypatch):
    monkeypatch.setenv("CELLWARDEN_CORPUS", str(DATA))


def profile(vehicle):
    return DBC / "vehicles" / f"{vehicle}.toml"


def replay(path, vehicle, **options):
    """(events, end line) of a log."""
    image, _ = open_image(profile(vehicle))
    with open_engine("python", image) as engine:
        told = Replay(image, open_log(path, **options), engine)
        return list(told), told.end


def values(path, vehicle, **options):
    """{quantity: all its values} in a vehicle's canonical units."""
    found = {}
    for _, _, _, quantity, index, value, _ in ProfileRows(open_log(path, **options), compile_profile(profile(vehicle))):
        found.setdefault((quantity, index), []).append(value)
    return found


@pytest.mark.parametrize(("log", "vehicle", "verdict", "active"), HEALTHY)
@pytest.mark.parametrize("include_tx", [False, True], ids=["", "include-tx"])
def test_a_healthy_car_raises_nothing_and_every_line_is_accounted_for(log, vehicle, verdict, active, include_tx):
    events, end = replay(there(log), vehicle, include_tx=include_tx)
    assert events == [], "a healthy car would have been stopped"
    assert end["max_level"] == end["level"] == end["gb_flags"] == 0
    assert end["notices"] == 0
    assert end["frames"] + sum(end["skipped"].values()) + sum(end["rejected"].values()) == end["total"]
    assert tuple(end["active"]) == active
    assert not end["rejected"] and not end["cut"] and end["malformed"] == end["checksum_errors"] == 0
    # The Bolt's module stands alone on a bench: its pack frame is the tester's own, and comes only with --include-tx.
    assert end["verdict"] == ("fine" if include_tx else verdict)
    assert include_tx or end["never_received"] == (["Pack_Stats"] if vehicle == "bolt" else [])


@pytest.mark.parametrize(("log", "vehicle", "verdict", "active"), HEALTHY)
def test_replay_says_which_rules_watched_a_car_and_what_the_others_lack(log, vehicle, verdict, active, capsys):
    assert run(["replay", str(there(log)), "-p", str(profile(vehicle)), "--fail-on", "1"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert re.search(rf"rules active[^:]*: {', '.join(active)} inactive", out)
    assert "hvil_open (lacks hvil)" in out and "insulation_low (lacks insulation)" in out
    assert f"verdict: {verdict} " in out


def test_the_bolts_poller_frame_and_unfitted_sensors_are_no_measurements():
    found = values(there(BOLT), "bolt", include_tx=True)
    pack = found["pack_voltage", None]
    assert set(pack) == {1625}, "the poller's own frame, which the core may see and must not alarm on"
    probes = {index: seen for (quantity, index), seen in found.items() if quantity == "temperature"}
    assert probes.keys() == set(range(1, 7))
    assert all(value is None or 160 <= value <= 220 for seen in probes.values() for value in seen)
    cells = [value for (quantity, _), seen in found.items() if quantity == "cell_voltage" for value in seen]
    assert len(found) == 96 + 6 + 2 and min(cells) == 3500 and max(cells) == 3543
    assert not any(quantity == "pack_voltage" for quantity, _ in values(there(BOLT), "bolt"))


def test_one_capture_as_csv_and_as_candump_gives_the_same_values_and_state():
    twin = there("normalized/bolt_60s.log.xz")
    assert values(there(BOLT), "bolt", include_tx=True) == values(twin, "bolt")
    ours, theirs = replay(there(BOLT), "bolt", include_tx=True)[1], replay(twin, "bolt")[1]
    assert ours["state_sha256"] == theirs["state_sha256"] and ours["frames"] == theirs["frames"]


@pytest.fixture(scope="module")
def i3_pack():
    return cantools.database.load_file(there("bmw-i3/i3_LIM_dbc1.dbc"), strict=False).get_message_by_name("BMSMsg112")


@pytest.mark.parametrize(
    ("signal", "codes", "quantity"),
    [
        ("Battery_Volts", (65535, 65534), "pack_voltage"),
        ("Battery_Current", (65535, 65534), "pack_current"),
        ("HVBatt_SOC", (4095, 4094), "soc"),
    ],
)
def test_the_i3s_not_available_codes_are_no_values_and_raise_nothing(signal, codes, quantity, i3_pack, tmp_path):
    log = tmp_path / "i3.log"
    with log.open("w") as file:
        frames = [frame for frame in open_log(there(I3)) if frame[2] == i3_pack.frame_id][:3000]
        for number, (t_us, _, can_id, data) in enumerate(frames):
            if number >= 500:
                raws = i3_pack.decode(data, scaling=False, decode_choices=False) | {signal: codes[number % len(codes)]}
                bits = i3_pack.signal_tree and i3_pack.encode(raws, scaling=False, strict=False)
                data = bits + data[len(bits) :]
            file.write(f"({t_us / 1e6:.6f}) can0 {can_id:03X}#{data.hex().upper()}\n")
    seen = values(log, "i3")[quantity, None]
    assert set(seen[500:]) == {None} and None not in seen[:500]
    events, end = replay(log, "i3")
    assert events == [] and end["max_level"] == 0, "an unavailable reading was taken for a measurement"
    assert end["known_frames"] == len(frames)


@pytest.mark.parametrize("vehicle", ["bolt", "i3", "kona"])
@pytest.mark.parametrize("engine", ["python", "micropython"])
def test_a_demo_log_is_no_log_of_a_car(vehicle, engine, tmp_path, capsys):
    log = tmp_path / "drive.log"
    log.write_text("(1.000000) can0 18FF50E5#0102030405060708\n" * 50)
    assert run(["replay", str(log), "-p", str(profile(vehicle)), "--engine", engine]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(
        f"cellwarden: {log}: is a log of another vehicle: none of its 50 frames (such as 0x18FF50E5)"
    )
    assert f"is one that {vehicle} sends; expected identifiers such as 0x" in error
    assert error.endswith("; choose the profile of the vehicle that was logged")


@pytest.mark.parametrize(("log", "vehicle"), [(I3, "bolt"), (KONA, "bolt"), (BOLT, "i3"), (BOLT, "kona")])
def test_a_log_of_another_car_is_told_unless_its_identifiers_are_shared(log, vehicle):
    try:
        _, end = replay(there(log), vehicle)
    except InputError as error:
        assert "is a log of another vehicle" in str(error)
    else:
        assert end["known_frames"] > 0 and end["max_level"] <= 3


@pytest.mark.parametrize("capture", CAPTURES)
def test_a_capture_of_another_car_is_refused_for_the_demonstration_pack(capture, tmp_path, capsys):
    text = (
        DEMO.read_text(encoding="utf-8")
        .replace('channel = "can0"', "")
        .replace("demo_pack.dbc", f"{DBC}/demo_pack.dbc")
    )
    demo = tmp_path / "demo.toml"
    demo.write_text(text, encoding="utf-8")
    log = there(f"savvycan/{capture}")
    assert run(["replay", str(log), "-p", str(demo)]) == 2
    out, error = capsys.readouterr()
    assert (
        error.startswith(f"cellwarden: {log}: is a log of another vehicle: none of its 129")
        and "demo-96s sends" in error
    )
    assert out == "" and error.count("\n") == 1
