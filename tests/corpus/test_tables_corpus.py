"""Recorded tables of production cars: every row is accounted for, every value is that of the file, nothing is stopped.

The values are read once more by Python's csv module and `decimal`.
"""

import csv
import io
import lzma
import os
from datetime import datetime
from decimal import ROUND_FLOOR, Decimal
from pathlib import Path

import numpy
import pytest
from cellwarden.core import catalogue
from cellwarden.core import layout as L
from cellwarden_tools.compiler.decoder import slot_of
from cellwarden_tools.decode import ProfileRows
from cellwarden_tools.engines import open_engine
from cellwarden_tools.readers import open_log
from cellwarden_tools.replay import Replay
from cellwarden_tools.vehicle import Vehicle

DATA = Path(os.environ.get("CELLWARDEN_CORPUS") or Path(__file__).parents[3] / "shared" / "data")
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="no corpus: set CELLWARDEN_CORPUS to its folder")

VEHICLES = Path(__file__).parents[2] / "dbc" / "vehicles"
ROWS = {"car1": 66_666, "car3": 50_000}
FITTED = {"car1": range(1, 25), "car3": (*range(1, 8), *range(16, 24))}
OFFSET = {"car1": 0, "car3": 40}  # of the probes' columns
SCALARS = {  # quantity: (column, factor to the canonical unit, range)
    "pack_voltage": ("BMSBatteryVoltage", 1000, 0, 2_000_000),
    "pack_current": ("BMSBatteryCurrent", 1000, -3_000_000, 3_000_000),
    "soc": ("vehBMSPackSOC", 10, 0, 1100),
}
CAR3 = {"insulation": ("insulationResistance", 1000, 0, 10**8), "bms_level": ("BMSWarningInformation", 1, 0, 3)}


def there(name):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not in this corpus")
    return path


@pytest.fixture(scope="module", params=["car1", "car3"])
def car(request):
    """(name, path of its table, its Vehicle)."""
    path = there(f"baticm-ev-faults/{request.param}_processed.csv.xz")
    return request.param, path, Vehicle(VEHICLES / f"{request.param}.toml")


def replay(vehicle, path, engine):
    image, log = vehicle.open(path)
    with open_engine(engine, image) as opened:
        told = Replay(image, log, opened)
        return list(told), told.end


def part(path, folder, first, rows):
    """A table of some rows of a larger one, as CSV."""
    with lzma.open(path, "rt", newline="") as file:
        lines = file.readlines()
    made = folder / "part.csv"
    made.write_text("".join([lines[0], *lines[first : first + rows]]), newline="")
    return made


def number(text, factor, low, high, offset=0):
    """The canonical integer of a text, None for no value."""
    if not text:
        return None
    value = int(((Decimal(text) - offset) * factor + Decimal("0.5")).to_integral_value(ROUND_FLOOR))
    return value if low <= value <= high else None


def wanted(row, name):
    """{(quantity, number): value} of a row of the csv module's."""
    found = {}
    for quantity, (column, *given) in (SCALARS | (CAR3 if name == "car3" else {})).items():
        found[quantity, None] = number(row[column], *given)
    if name == "car3":
        status = row["BMSChargeStatus"] and float(row["BMSChargeStatus"])
        found["charging", None] = None if status == "" else int(status in (1, 2))
    for n in range(1, 97 if name == "car1" else 88):
        found["cell_voltage", n] = number(row[f"V_{n}"], 1000, 500, 4999)
    for n in FITTED[name]:
        found["temperature", n] = number(row[f"T_{n}"], 10, -500, 2000, OFFSET[name])
    return found


@pytest.fixture(scope="module")
def whole(car):
    """(events, end line) of a whole table."""
    pytest.importorskip("numba")
    _, path, vehicle = car
    return replay(vehicle, path, "fast")


def test_every_row_is_accounted_for(car, whole):
    name, path, _ = car
    _, end = whole
    assert end["rows"] == end["frames"] == end["known_frames"] == ROWS[name]
    assert end["skipped"] == {"header": 1} and end["rejected"] == {} and end["unread"] == {}
    assert end["total"] == ROWS[name] + 1 and end["cut"] is None
    assert end["malformed"] == end["checksum_errors"] == end["counter_errors"] == end["time_backward"] == 0
    assert end["never_received"] == end["lost"] == []
    with lzma.open(path, "rt", newline="") as file:
        times = [datetime.fromisoformat(f"{row['tboxTime']}+08:00") for row in csv.DictReader(file)]
    period_s = {"car1": 1, "car3": 10}[name]
    assert (end["first"], end["last"]) == (times[0].timestamp(), times[-1].timestamp())
    assert end["scans"] == (end["last"] - end["first"] + period_s) * 10


def test_no_limit_would_have_stopped_a_healthy_car(whole):
    """Section A: the limits. The BMS's own alarms, of which car3 has nine of level 3, are not our findings."""
    limits = {row[0] for row in catalogue.ROWS if "HAZARDS A" in row[-1]} - {catalogue.BMS}
    events, _ = whole
    assert len(limits) == 15 and [event for event in events if event["rule"] in limits and event["level"] == 3] == []


@pytest.mark.long
def test_every_value_of_the_whole_table_is_in_its_frames(car):
    """All rows, taken apart by the plan that the decoder is written from, against NumPy's reading of the columns."""
    name, path, vehicle = car
    _, log = vehicle.open(path)
    made = vehicle.made[True]
    with lzma.open(path, "rt", newline="") as file:
        rows = list(csv.reader(file))
    header, rows = rows[0], numpy.array(rows[1:])
    stored = {}
    data = numpy.vstack([block.data for block in log.blocks()]).reshape(ROWS[name], -1, 64)
    for group in made.plan.groups:
        message = made.plan.messages[group.message][1]
        for binding in group.bindings:
            at = binding.signal.start // 8
            size = -(-binding.signal.length // 8)
            raw = sum(data[:, message.can_id - 1, at + k].astype("i8") << 8 * k for k in range(size))
            none = raw == (1 << binding.signal.length) - 1
            stored[slot_of(binding, made.profile.cells)] = numpy.where(none, L.NA, raw + int(binding.signal.offset))
    columns = {f"V_{n}": (L.SCALARS + n - 1, 1000, 500, 4999, 0) for n in range(1, made.profile.cells + 1)}
    first = L.SCALARS + made.profile.cells
    columns |= {f"T_{n}": (first + k, 10, -500, 2000, OFFSET[name]) for k, n in enumerate(FITTED[name])}
    columns |= {"BMSBatteryVoltage": (L.PACK_VOLTAGE_MV, 1000, 0, 2_000_000, 0)}
    columns |= {"BMSBatteryCurrent": (L.PACK_CURRENT_MA, 1000, -3_000_000, 3_000_000, 0)}
    columns |= {"vehBMSPackSOC": (L.SOC_PERMILLE, 10, 0, 1100, 0)}
    missing = 0
    for column, (slot, factor, low, high, offset) in columns.items():
        value = numpy.rint((rows[:, header.index(column)].astype(float) - offset) * factor).astype("i8")
        value = numpy.where((value < low) | (value > high), L.NA, value)
        assert (stored[slot] == value).all(), column
        missing += int((value == L.NA).sum())
    assert missing == {"car1": 1537, "car3": 0}[name], "the 66.535 V of car1's table while it fills, and no other"
    assert len(stored) == len(columns) + {"car1": 0, "car3": 3}[name]


@pytest.mark.parametrize("first", [1, 2_001])
def test_the_decoders_values_are_those_of_the_file(car, first, tmp_path):
    name, path, vehicle = car
    table = part(path, tmp_path, first, 25)
    _, log = vehicle.open(table)
    rows = []
    for t, _, _, quantity, index, value, _ in ProfileRows(log, vehicle.made[True]):
        if not rows or (quantity, index) in rows[-1][1]:
            rows.append((t, {}))
        rows[-1][1][quantity, index] = value
    with table.open(newline="") as file:
        there = [(row["tboxTime"], wanted(row, name)) for row in csv.DictReader(file)]
    assert [found for _, found in rows] == [found for _, found in there]
    assert [t for t, _ in rows] == [datetime.fromisoformat(f"{time}+08:00").timestamp() for time, _ in there]


def test_a_part_gives_the_same_bytes_on_every_engine_and_from_parquet(car, tmp_path):
    pytest.importorskip("numba")
    arrow = pytest.importorskip("pyarrow.csv")
    from pyarrow import parquet

    name, path, vehicle = car
    # The rows about the first gap: car1's table fills anew behind it.
    first = {"car1": 1650, "car3": 100}[name]
    table = part(path, tmp_path, first, 200)
    parquet.write_table(arrow.read_csv(io.BytesIO(table.read_bytes())), tmp_path / "part.parquet")
    events, end = replay(vehicle, table, "python")
    assert end["rows"] == 200
    for file, engine in (
        (table, "fast"),
        (table, "micropython"),
        (tmp_path / "part.parquet", "python"),
        (tmp_path / "part.parquet", "fast"),
    ):
        found, other = replay(vehicle, file, engine)
        assert found == events and other["state_sha256"] == end["state_sha256"], (file.name, engine)


def test_a_drive_with_pack_values_alone_is_read_with_its_columns_units(tmp_path):
    """The i3's trips: names in Latin-1, semicolons, 10 Hz, times from the start."""
    path = there("bmw-i3-trips/TripA13.csv.xz")
    vehicle = Vehicle(VEHICLES / "i3_trip.toml")
    events, end = replay(vehicle, path, "python")
    assert events == [] and end["rows"] == 7160 and end["total"] == 7161 and end["gaps"] == 0
    assert (end["first"], end["last"]) == (0.0, 715.9) and end["verdict"] == "fine"
    _, log = Vehicle(VEHICLES / "i3_trip.toml").open(path)
    (row,) = [next(iter(log))]
    raw = [int.from_bytes(row[3][at : at + size], "little") for at, size in ((0, 4), (4, 4), (8, 2), (10, 2))]
    assert raw == [391_100, 3_000_000 + 6200, 858, 500 + 220], "391.1 V, -6.2 A there, 85.8 %, 22 degC"


def test_the_formats_of_the_corpus_that_are_no_tables_are_still_logs():
    path = there("bolt-bicm-cc0/12_can_log_bms_bus_60s_raw.csv.xz")
    told = Vehicle(VEHICLES / "car1.toml").table
    with open_log(path, table=told) as log:
        assert log.format == "csv"
