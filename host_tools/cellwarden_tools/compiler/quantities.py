"""The canonical quantities a profile can map, their units and the physical range outside of which a value is none."""

import re
from dataclasses import dataclass
from fractions import Fraction

from cellwarden.core import layout as L

NUMBER, STATE, LEVEL = "number", "state", "level"

# What a DBC or a profile may write for a unit -> (canonical unit, factor to it).
_UNITS = {
    "mV": {"V": 1000, "volt": 1000, "volts": 1000, "mV": 1, "uV": Fraction(1, 1000), "µV": Fraction(1, 1000),
           "kV": 10**6},
    "mA": {"A": 1000, "amp": 1000, "amps": 1000, "ampere": 1000, "mA": 1, "kA": 10**6},
    "ddegC": {"degC": 10, "°C": 10, "C": 10, "deg C": 10, "celsius": 10, "grad C": 10, "deg": 10,
              "℃": 10, "�C": 10, "ddegC": 1},
    "permille": {"%": 10, "percent": 10, "pct": 10, "permille": 1, "‰": 1},
    "ohm": {"ohm": 1, "Ω": 1, "ohms": 1, "kohm": 1000, "kΩ": 1000, "kohms": 1000, "kiloohm": 1000,
            "Mohm": 10**6, "MΩ": 10**6},
    "count": {"": 1, "1": 1, "-": 1, "count": 1},
}  # fmt: skip


@dataclass(frozen=True)
class Quantity:
    """slot: where it lives (layout); unit: canonical; low..high: physical range in that unit, outside of it is none."""

    name: str
    slot: int | None
    kind: str
    unit: str
    low: int
    high: int
    states: tuple[str, ...] = ()  # the profile's keys that list raw values, first the one that means 1
    what: str = ""


def _states(name, slot, keys, what):
    return Quantity(name, slot, STATE, "state", 0, 1, keys, what)


# Ranges: 5.000 V and under 0.5 V are what a broken sense line reads, -50 / 200 degC are past what a probe can measure.
_ALL = (
    Quantity("pack_voltage", L.PACK_VOLTAGE_MV, NUMBER, "mV", 0, 2_000_000, what="pack voltage"),
    Quantity(
        "pack_current", L.PACK_CURRENT_MA, NUMBER, "mA", -3_000_000, 3_000_000, what="pack current, + = discharge"
    ),
    Quantity("soc", L.SOC_PERMILLE, NUMBER, "permille", 0, 1100, what="state of charge"),
    Quantity("insulation", L.INSULATION_OHM, NUMBER, "ohm", 0, 100_000_000, what="insulation resistance"),
    _states("insulation_valid", L.INSULATION_VALID, ("true",), "the insulation measurement is valid"),
    _states("vehicle_state", L.VEHICLE_ON, ("on", "off"), "the vehicle is on"),
    _states("charging", L.CHARGING, ("true",), "the vehicle is being charged"),
    _states("contactors", L.CONTACTORS, ("true",), "the main contactors are closed"),
    _states("hvil", L.HVIL_OK, ("ok",), "the high-voltage interlock is closed"),
    Quantity("bms_level", L.BMS_LEVEL, LEVEL, "level", 0, 3, ("levels",), "the BMS's own alarm level"),
    Quantity("max_discharge_current", L.MAX_DISCHARGE_MA, NUMBER, "mA", 0, 5_000_000, what="the BMS's discharge limit"),
    Quantity("max_charge_current", L.MAX_CHARGE_MA, NUMBER, "mA", 0, 5_000_000, what="the BMS's charge limit"),
    Quantity("cell_voltage_max", L.CELL_MAX_MV, NUMBER, "mV", 500, 4999, what="highest cell"),
    Quantity("cell_voltage_min", L.CELL_MIN_MV, NUMBER, "mV", 500, 4999, what="lowest cell"),
    Quantity("temperature_max", L.PROBE_MAX_DDEGC, NUMBER, "ddegC", -500, 2000, what="hottest probe"),
    Quantity("temperature_min", L.PROBE_MIN_DDEGC, NUMBER, "ddegC", -500, 2000, what="coldest probe"),
    *(
        _states(f"bms_flag_{n}", L.BMS_FLAG_9 + i, ("true",), f"the BMS's general alarm flag {n}")
        for i, n in enumerate((9, 12, 13, 14, 15, 17))
    ),
    Quantity("cell_count", L.CELL_COUNT, NUMBER, "count", 0, 1000, what="number of cells, as the vehicle says"),
    Quantity("probe_count", L.PROBE_COUNT, NUMBER, "count", 0, 500, what="number of probes, as the vehicle says"),
    Quantity("cell_voltage", None, NUMBER, "mV", 500, 4999, what="cell voltages"),
    Quantity("temperature", None, NUMBER, "ddegC", -500, 2000, what="probe temperatures"),
)
QUANTITIES = {quantity.name: quantity for quantity in _ALL}
ARRAYS = ("cell_voltage", "temperature")

# What a DBC's value table calls a raw value that is not a measurement.
SENTINEL = re.compile(
    r"\b(sna|n/?a|invalid|undefined|error|fail(ed|ure)?|reserved)\b|not?[ _-]?(valid|available)|unavailable", re.I
)


def unit_factor(canonical, text):
    """How many canonical units one `text` is, as a Fraction, or None where the text is no unit of this quantity."""
    table = _UNITS[canonical]
    if text in table:
        return Fraction(table[text])
    folded = {name.casefold(): factor for name, factor in table.items() if name not in ("mV", "MΩ", "Mohm")}
    factor = folded.get(text.strip().casefold())
    return None if factor is None else Fraction(factor)


def unit_names(canonical):
    """The spellings of a unit that are understood, for messages."""
    return ", ".join(_UNITS[canonical])
