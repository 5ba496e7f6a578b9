"""The demonstration pack's DBC and profile: sound for the strictest reader, and at one with each other."""

import tomllib
from fnmatch import fnmatchcase
from pathlib import Path

import cantools
import pytest

DBC = Path(__file__).parents[2] / "dbc" / "demo_pack.dbc"
PROFILE = DBC.with_suffix(".toml")


@pytest.fixture(scope="module")
def database():
    return cantools.database.load_file(DBC, strict=True)


@pytest.fixture(scope="module")
def profile():
    return tomllib.loads(PROFILE.read_text("utf-8"))


def signals(database):
    return {f"{message.name}.{signal.name}": signal for message in database.messages for signal in message.signals}


def bits(signal):
    """Its bits as numbers 8 * byte + bit, counted along its own byte order."""
    if signal.byte_order == "little_endian":
        return set(range(signal.start, signal.start + signal.length))
    first = 8 * (signal.start // 8) + 7 - signal.start % 8
    return {8 * (n // 8) + 7 - n % 8 for n in range(first, first + signal.length)}


def test_signals_that_can_come_together_share_no_bit(database):
    for message in database.messages:
        pages = {page for signal in message.signals for page in signal.multiplexer_ids or ()} or {None}
        for page in pages:
            taken = set()
            for signal in message.signals:
                if signal.multiplexer_ids is None or page in signal.multiplexer_ids:
                    assert not taken & bits(signal), (
                        f"{message.name}.{signal.name} overwrites a neighbour on page {page}"
                    )
                    taken |= bits(signal)
            assert max(taken) < 8 * message.length


def test_every_signal_the_profile_names_is_in_the_dbc(database, profile):
    known = signals(database)
    counts = {"cell_voltage": profile["vehicle"]["cells"], "temperature": profile["vehicle"]["probes"]}
    for quantity, entry in profile["signals"].items():
        pattern = entry if isinstance(entry, str) else entry["signal"]
        for n in range(1, counts.get(quantity, 1) + 1):
            wanted = pattern.replace("{n}", str(n))
            assert sum(fnmatchcase(name, wanted) for name in known) == 1, f"{quantity}: {wanted}"
    for pattern in profile["invalid"]:
        assert any(fnmatchcase(name, pattern) for name in known), pattern
    for message, trust in profile["messages"].items():
        named = [trust.get("counter"), trust.get("checksum", {}).get("signal")]
        assert {f"{message}.{name}" for name in named if name} <= set(known), message


def test_every_raw_value_the_profile_names_fits_its_signal(database, profile):
    known = signals(database)
    for pattern, raws in profile["invalid"].items():
        for name in (name for name in known if fnmatchcase(name, pattern)):
            low = -(1 << known[name].length - 1) if known[name].is_signed else 0
            assert all(low <= raw < low + (1 << known[name].length) for raw in raws), name
    for entry in profile["signals"].values():
        if isinstance(entry, dict):
            raws = [raw for key in ("on", "off", "true", "ok", "levels") for raw in entry.get(key, [])]
            assert all(0 <= raw < 1 << known[entry["signal"]].length for raw in raws), entry["signal"]


def test_every_message_the_profile_needs_has_a_period(database, profile):
    for message in database.messages:
        assert message.cycle_time or profile["messages"][message.name]["period_ms"], message.name


def test_all_cells_and_probes_are_refreshed_within_a_second(database):
    for name in ("Cells", "Temps"):
        message = database.get_message_by_name(name)
        pages = {page for signal in message.signals for page in signal.multiplexer_ids or ()}
        assert len(pages) * message.cycle_time <= 1000


def test_the_bus_is_not_crowded(database):
    a_second = [1000 / (message.cycle_time or 1000) for message in database.messages]
    assert 200 < sum(a_second) < 1000
    assert sum(a_second) * 150 < 250_000, "over half of 500 kbit/s at 150 bits a frame"


def test_the_dbc_exercises_both_byte_orders_a_sign_and_a_29_bit_id(database):
    known = signals(database)
    assert {signal.byte_order for signal in known.values()} == {"little_endian", "big_endian"}
    assert known["PackStatus.Current"].is_signed
    assert any(message.is_extended_frame for message in database.messages)


def test_each_quantity_has_its_unit(database):
    known = signals(database)
    units = {
        "PackStatus.Voltage": "V",
        "PackStatus.Current": "A",
        "PackStatus.SOC": "%",
        "Insulation.Resistance": "kohm",
    }
    units |= {f"Cells.Cell{n}": "V" for n in range(1, 97)} | {f"Temps.Probe{n}": "degC" for n in range(1, 25)}
    assert {name: known[name].unit for name in units} == units
