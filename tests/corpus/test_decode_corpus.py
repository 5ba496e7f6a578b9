"""Decoding against cantools: every frame of the real logs, and random frames for every DBC of the corpus."""

import json
import logging
import lzma
import math
import os
import random
import tarfile
from collections import Counter
from fractions import Fraction
from pathlib import Path

import cantools
import cellwarden.engine
import pytest
from cellwarden.core import layout as L
from cellwarden_tools.compiler import image
from cellwarden_tools.compiler.dbc import load
from cellwarden_tools.compiler.decoder import signal_lines, slot_of
from cellwarden_tools.compiler.profile import Binding, Bus, Profile
from cellwarden_tools.compiler.quantities import NUMBER, Quantity
from cellwarden_tools.decode import DbcRows, message_decoder, physical
from cellwarden_tools.errors import InputError
from cellwarden_tools.readers import open_log

DATA = Path(os.environ.get("CELLWARDEN_CORPUS") or Path(__file__).parents[3] / "shared" / "data")
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="no corpus: set CELLWARDEN_CORPUS to its folder")

BOLT, BOLT_DBC = "bolt-bicm-cc0/12_can_log_bms_bus_60s_raw.csv.xz", "opendbc/gm_global_a_high_voltage_management.dbc"
I3_AC, I3_DC = "bmw-i3/2014i3_AC_start_PT_CAN.csv.xz", "bmw-i3/2019_Circontrol_midpoint.csv.xz"
I3_DBC = "bmw-i3/i3_LIM_dbc1.dbc"
KONA = "kona/Idle_log_no_diagnostic_function_selected-30sec.asc.xz"
KONA_DBC = "kona/pcan.bs-bu-patched.dbc"
# log, DBC, golden file, frames cantools must decode at least
LOGS = [
    (BOLT, BOLT_DBC, "bolt_60s", 11_000),
    (I3_AC, I3_DBC, "i3_ac_start", 7_000),
    (I3_DC, I3_DBC, "i3_dc_mid", 1_700),
    (KONA, KONA_DBC, "kona_idle_asc", 3_000),
    ("kona/Main_Relay_plus_On.asc", KONA_DBC, None, 300),
    ("savvycan/candump.log.xz", "savvycan/ThinkCity.dbc.xz", None, 100),  # another car's, but its identifiers fit
    ("savvycan/GVRET_Log.csv.xz", "formula-student/veh.dbc", None, 100),
]
GROUPS = ["", "can-dbc", "canmatrix-tests", "cantools-tests-files", "dbcppp-dbc"]  # "": the DBC files as they stand
RANDOM_FRAMES = 200
HALF_A_UNIT = 0.5 + 1e-5  # of the last canonical digit, and what factors of ten digits cost


def there(name):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not in this corpus")
    return path


@pytest.fixture(scope="module", autouse=True)
def quiet_cantools():
    logging.disable(logging.WARNING)  # it warns of every identifier used twice
    yield
    logging.disable(logging.NOTSET)


def by_cantools(path):
    """cantools' database, or None where it refuses the file."""
    try:
        return cantools.database.load_file(path, strict=False, encoding="cp1252", database_format="dbc")
    except Exception:
        return None


def decoded(message, data, scaling):
    """{signal: value} by cantools, or None where it raises."""
    try:
        return message.decode(data, decode_choices=False, scaling=scaling, allow_truncated=True)
    except Exception:
        return None


def same(ours, theirs):
    if isinstance(theirs, float):
        return ours == theirs or (math.isnan(ours) and math.isnan(theirs))
    return ours == theirs and isinstance(ours, int)


def near(signal, raw, ours, theirs):
    if isinstance(raw, float) and not math.isfinite(theirs):
        return same(float(ours), float(theirs))
    size = max(abs(float(raw) * float(signal.scale)), abs(float(signal.offset)), 1e-300)
    return abs(ours - theirs) <= 1e-9 * size


def check_frame(decode, message, data):
    """Hold one frame's signals against cantools; returns how many, or None where cantools cannot decode it."""
    raws = decoded(message, data, scaling=False)
    values = raws and decoded(message, data, scaling=True)
    if raws is None or values is None:
        return None
    ours = {signal.name: (signal, raw) for signal, raw in decode(data, len(data))}
    assert ours.keys() == raws.keys(), f"{message.name} {data.hex()}"
    for name, (signal, raw) in ours.items():
        assert same(raw, raws[name]), f"{message.name}.{name} {data.hex()}: raw {raw}, cantools {raws[name]}"
        value = physical(signal, raw)
        assert near(signal, raw, value, values[name]), f"{message.name}.{name} {data.hex()}: {value}, {values[name]}"
    return len(ours)


# --- real logs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("log", "dbc", "golden", "least"), LOGS)
def test_every_decodable_frame_of_a_real_log_decodes_as_cantools_does(log, dbc, golden, least, tmp_path):
    path = there(dbc)
    if path.suffix == ".xz":
        path = tmp_path / path.stem
        path.write_bytes(lzma.decompress((DATA / dbc).read_bytes()))
    theirs, ours = {}, {}
    for message, other in pairs(path, by_cantools(path)):
        ours.setdefault(message.can_id, message)
        theirs.setdefault(message.can_id, other)
    decoders, count, signals, undecodable = {}, Counter(), 0, 0
    for _, _, can_id, data in open_log(there(log), include_tx=True):
        message = theirs.get(can_id)
        if message is None:
            continue
        if can_id not in decoders:
            decoders[can_id] = message_decoder(ours[can_id])
        found = check_frame(decoders[can_id], message, data)
        undecodable += found is None
        signals += found or 0
        count[message.name] += found is not None
    print(f"{log}: {count.total()} frames of {len(count)} messages, {signals} values; {undecodable} cantools refuses")
    assert count.total() >= least
    if golden:
        known = json.loads((DATA / "golden" / f"{golden}.json").read_text())
        assert count.total() == known["decoded"] and undecodable == known["decode_errors"]


@pytest.mark.parametrize(("log", "dbc", "golden", "_"), [entry for entry in LOGS if entry[2]])
def test_decode_gives_the_golden_figures_of_every_signal(log, dbc, golden, _):
    known = json.loads((DATA / "golden" / f"{golden}.json").read_text())
    found = {}
    for _, _, message, signal, _, value, _, _ in DbcRows(
        open_log(there(log), include_tx=True), {None: load(there(dbc))}
    ):
        found.setdefault(f"{message}.{signal}", []).append(value)
    # Frames that cantools refuses (a multiplexer value without a page) have signals all the same: there we see more.
    for name, gold in known["signals"].items():
        values = found[name]
        assert len(values) == gold["n"] or (known["decode_errors"] and len(values) > gold["n"]), name
        ours = {"min": min(values), "max": max(values), "first": values[0], "last": values[-1]}
        if len(values) == gold["n"]:
            assert ours == pytest.approx({key: gold[key] for key in ours}, rel=1e-9, abs=1e-9), name
    assert known["decode_errors"] or found.keys() == known["signals"].keys()


# --- every DBC, random frames -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=GROUPS, ids=lambda name: name or "single-files")
def dbcs(request, tmp_path_factory):
    """Paths of the DBC files of one group that cantools loads, with its databases; and how many it refuses."""
    folder = tmp_path_factory.mktemp("dbc")
    if request.param:
        with tarfile.open(there(f"corpora/{request.param}.tar.xz")) as archive:
            archive.extractall(folder, filter="data")
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".dbc")
    else:
        paths = sorted(DATA.rglob("*.dbc"))
        for packed in sorted(DATA.rglob("*.dbc.xz")):
            paths.append(folder / packed.stem)
            paths[-1].write_bytes(lzma.decompress(packed.read_bytes()))
    found = [(path, database) for path in paths if (database := by_cantools(path))]
    print(f"{request.param or 'single files'}: {len(found)} DBC files, {len(paths) - len(found)} cantools refuses")
    assert found
    return found


def pairs(path, database):
    """(our Message, cantools') for all that both know by name and identifier."""
    theirs = {(m.name, m.frame_id | L.EXT * m.is_extended_frame): m for m in database.messages}
    for message in load(path).messages:
        other = theirs.get((message.name, message.can_id))
        names = [signal.name for signal in message.signals]
        if other and sorted(names) == sorted(s.name for s in other.signals) and len(set(names)) == len(names):
            yield message, other


def put(data, signal, raw):
    """Write the raw value of a signal into a bytearray, bit by bit in the DBC's own numbering."""
    bit = signal.start
    order = range(signal.length - 1, -1, -1) if signal.big_endian else range(signal.length)
    for n in order:
        if bit // 8 < len(data):
            data[bit // 8] = data[bit // 8] & ~(1 << bit % 8) | (raw >> n & 1) << bit % 8
        bit = (bit + 15 if bit % 8 == 0 else bit - 1) if signal.big_endian else bit + 1


def frames_of(message, seed):
    """Frames of a message: zeros, ones, random ones, each page of its multiplexers, and short ones."""
    dice = random.Random(f"{message.name} {seed}")
    yield bytes(message.length)
    yield b"\xff" * message.length
    for number in range(RANDOM_FRAMES):
        short = dice.randrange(message.length + 1) if number % 8 == 0 else message.length
        yield dice.randbytes(short)
    chains = sorted({s.mux for s in message.signals if s.mux}, key=lambda c: [(n, sorted(i)) for n, i in c])
    for chain in chains:
        (last, ids), outer = chain[-1], chain[:-1]
        for page in sorted(ids)[:256]:
            for short in (0, dice.randrange(message.length + 1)):
                data = bytearray(dice.randbytes(message.length))
                for name, some in outer:
                    put(data, message.signal(name), min(some))
                put(data, message.signal(last), page)
                yield bytes(data[: short or message.length])


def test_random_frames_decode_as_cantools_does_for_every_dbc(dbcs):
    count = Counter()
    for path, database in dbcs:
        count["DBC"] += 1
        for message, other in pairs(path, database):
            decode = message_decoder(message)
            results = [check_frame(decode, other, data) for data in frames_of(message, path.name)]
            count["frames"] += len(results)
            count["frames cantools refuses"] += results.count(None)
            if results.count(None) == len(results):
                count["messages cantools cannot decode"] += 1
                continue
            count["messages"] += 1
            count["signals"] += len(message.signals)
        count["messages cantools has"] += len(database.messages)
    print(", ".join(f"{n} {what}" for what, n in count.items()))
    assert count["messages"] + count["messages cantools cannot decode"] >= 0.9 * count["messages cantools has"]


# --- the vehicle's own decoder ----------------------------------------------------------------------------------------

RAW = Quantity("cell_voltage", None, NUMBER, "mV", 1 - (1 << 29), (1 << 29) - 1)  # a range only 30 bits bound
CURRENT = Quantity("cell_voltage", None, NUMBER, "mA", -3_000_000, 3_000_000)  # as wide as a pack's current
MARK = 987_654_321  # is in no signal


def bindings_of(path, database, quantity):
    """([(Binding, cantools' message, canonical units in a physical one)], how many do not fit, Bus) of a DBC.

    Every integer signal becomes a cell. RAW stands for the raw value itself; else the physical value is taken in the
    finest of 1000, 100, 10, 1 units.
    """
    ours = load(path)
    bus = Bus(0, None, ours)
    bindings, unfit, seen = [], 0, set()
    for message, other in pairs(path, database):
        if message.can_id in seen or message.length > 64:
            continue
        seen.add(message.can_id)
        for signal in message.signals:
            if signal.defect or signal.is_float or signal.length > 32 or not signal.scale:
                continue
            for per in (1 / signal.scale,) if quantity is RAW else (1000, 100, 10, 1):
                offset = Fraction(0) if quantity is RAW else signal.offset * per
                number = len(bindings) + 1
                scale = signal.scale * per
                made = Binding(quantity, number, bus, message, signal, scale, offset, quantity.low, quantity.high)
                try:
                    signal_lines(made, 0)
                except InputError:
                    continue
                bindings.append((made, other, Fraction(per)))
                break
            else:
                unfit += 1
    return bindings, unfit, bus


def vehicle(path, bindings, bus, monkeypatch):
    """The bindings compiled, and their decoder alone: no scan is ever due, so nothing ages, nothing is judged."""
    profile = Profile(path, "any", "nmc", len(bindings), 0, {"cells": 1, "scan_ms": 1 << 28}, [bus], bindings, {}, {})
    monkeypatch.setattr(image, "load_profile", lambda *_: profile)
    made = image.compile_profile(path)
    return made, cellwarden.engine.Engine(made.image)


@pytest.mark.parametrize(
    "quantity", [pytest.param(RAW, id="raw", marks=pytest.mark.long), pytest.param(CURRENT, id="physical")]
)
def test_the_generated_vehicle_decoder_gives_cantools_values(dbcs, quantity, monkeypatch):
    count, worst = Counter(), Fraction(0)
    for path, database in dbcs:
        found, unfit, bus = bindings_of(path, database, quantity)
        count["unfit"] += unfit
        if not found:
            continue
        made, engine = vehicle(path, [binding for binding, _, _ in found], bus, monkeypatch)
        scalings = dict(made.scalings)
        signals = engine.section("signals")
        by_message = {}
        for binding, other, per in found:
            slot = slot_of(binding, len(found))
            by_message.setdefault(binding.message.can_id, (binding.message, other, []))[2].append((slot, binding, per))
        for message, other, members in by_message.values():
            count["messages"] += 1
            count["signals"] += len(members)
            for data in frames_of(message, path.name):
                raws, values = decoded(other, data, scaling=False), decoded(other, data, scaling=True)
                if raws is None or values is None:
                    continue
                for slot, _, _ in members:
                    signals[slot] = MARK
                engine.frame(0, message.can_id, data)
                for slot, binding, per in members:
                    name, got = binding.signal.name, signals[slot]
                    where = f"{path.name} {message.name}.{name} {data.hex()}"
                    if name not in raws:
                        assert got == MARK, f"{where}: not in this frame, and yet {got}"
                        continue
                    if got == MARK:
                        assert len(data) < message.length, f"{where}: left out"
                        continue
                    true = binding.factor * raws[name] + binding.offset
                    if got == L.NA:
                        assert not quantity.low <= true <= quantity.high, f"{where}: {float(true)} is no value"
                        continue
                    error = abs(got - true)
                    worst = max(worst, error)
                    assert error <= scalings[binding].error, f"{where}: {got} for {float(true)}"
                    if quantity is RAW:
                        assert got == raws[name], where
                    else:
                        assert abs(got - values[name] * float(per)) <= HALF_A_UNIT, where
                    count["values"] += 1
    print(", ".join(f"{n} {what}" for what, n in count.items()), f"worst error {float(worst):.6g}")
    assert count["values"] and worst <= (0 if quantity is RAW else HALF_A_UNIT)
