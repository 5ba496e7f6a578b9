"""The catalogue with a vehicle's limits filled in: rows of `params`, and the coverage table for people."""

from dataclasses import dataclass
from fractions import Fraction

from cellwarden.core import catalogue
from cellwarden.core import layout as L

from ..errors import InputError

# unit of a row's limits -> (factor from a profile's physical unit, that unit)
PHYSICAL = {
    "mV": (1000, "V"), "ddegC": (10, "degC"), "dK": (10, "K"), "permille": (10, "%"), "ohm/V": (1, "ohm/V"),
    "state": (1, ""), "level": (1, ""), "count": (1, ""), "mK/s": (1000, "K/s"), "uV/h": (1000, "mV/h"),
    "uohm": (1000, "mohm"), "h": (1, "h"), "s": (1, "s"),
}  # fmt: skip


@dataclass(frozen=True)
class Rule:
    """One row for one vehicle. limits, clear_at: three values in `unit`, None where the rule has no such level."""

    number: int
    name: str
    active: bool
    lacks: tuple[str, ...]  # what keeps it, or a part of it, inactive
    limits: tuple
    clear_at: tuple
    assert_ms: tuple[int, ...]
    clear_ms: int
    unit: str
    flag: int | tuple | None
    latched: bool
    source: str
    row: dict

    @property
    def flags(self):
        """The general alarm flags it sets, all of them."""
        return self.flag if isinstance(self.flag, tuple) else () if self.flag is None else (self.flag,)


def rules_of(profile):
    """Every rule of the catalogue as a Rule. Raises InputError for limits that contradict themselves."""
    cells = profile.vehicle["cells"]
    have = (
        profile.quantities
        | _trusts(profile)
        | {q for q in ("max_discharge_current", "max_charge_current") if _own_limit(profile, q)}
        | {f"{n} cells" for n in range(2, cells + 1)}
        | ({"4 cell voltages"} if cells > 3 and "cell_voltage" in profile.quantities else set())
    )
    over, under, spread = catalogue.CHEMISTRIES[profile.chemistry]
    symbols = {catalogue.CELL_OVER: over, catalogue.CELL_UNDER: under, catalogue.CELL_SPREAD: spread}
    rules = []
    for number, values in enumerate(catalogue.ROWS):
        row = dict(zip(catalogue.COLUMNS, values, strict=True))
        name, above = row["rule"], row["side"] == catalogue.ABOVE
        given = profile.limits.get(name, {})
        limits = row["limits"]
        if limits in symbols:
            limits = symbols[limits]
        elif limits in (catalogue.PACK_OVER, catalogue.PACK_UNDER):
            cell = rules[0 if limits == catalogue.PACK_OVER else 1]
            limits = tuple(None if x is None else x * cells for x in cell.limits)
        limits = _levels(profile, name, row, limits, given)
        assert_ms = _times(profile, name, row["assert_ms"], given)
        clear_ms = _time(profile, name, "clear_s", given["clear_s"]) if "clear_s" in given else row["clear_ms"]
        clear_at = _clear_at(profile, name, row, limits, given)
        _check(profile, name, row, limits, clear_at, above)
        # Of alternatives the first two are enough to tell what is meant.
        lacks = tuple(
            " or ".join(need.split("|")[:2]) for need in row["needs"] if not any(q in have for q in need.split("|"))
        )
        if name == "pack_undervoltage" and lacks == ("contactors",) and "vehicle_state" in have:
            # Without the contactors' own state the vehicle must be on: then they are closed.
            row["gate"], lacks = L.F_VEHICLE_ON, ()
        if name == "overcharge" and lacks == ("charging",):
            row["gate"], lacks = None, ()  # charge that flows in is charging enough
        if given.get("enabled") is False:
            lacks = ("enabled = false in the profile",)
        partly = ()
        if row["calm_levels"] and "pack_current" not in have:
            partly = tuple(f"level {k}: pack_current" for k in row["calm_levels"])
        rules.append(
            Rule(number, name, not lacks, lacks or partly, limits, clear_at, assert_ms, clear_ms, row["unit"],
                 row["flag"], given.get("latched", name in catalogue.LATCHED),
                 row["source"] + (" + profile" if given else ""), row)
        )  # fmt: skip
    return rules


def _trusts(profile):
    """What rules about the messages themselves need: a recorded table has none."""
    if profile.is_table:
        return set()
    trust = profile.trust.values()
    return (
        {"messages"}
        | ({"counter"} if any(t.counter for t in trust) else set())
        | ({"checksum"} if any(t.checksum for t in trust) else set())
    )


def _own_limit(profile, quantity):
    return profile.vehicle.get(
        {"max_discharge_current": "max_discharge_a", "max_charge_current": "max_charge_a"}[quantity]
    )


def _fail(profile, name, what, expected):
    raise InputError(f"{profile.path}: [limits.{name}]", what, expected)


def _numbers(profile, name, key, values, count):
    if not isinstance(values, list) or len(values) != count:
        _fail(profile, name, f"{key} = {values!r}", f"{count} values, one for each level the rule has")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value or abs(value) > 1e7:
            _fail(profile, name, f"{key} = {values!r}", "numbers")
    return values


def _levels(profile, name, row, limits, given):
    if "levels" not in given:
        return limits
    factor, _ = PHYSICAL[row["unit"]]
    present = [k for k in range(3) if limits[k] is not None]
    values = _numbers(profile, name, "levels", given["levels"], len(present))
    out = list(limits)
    for k, value in zip(present, values, strict=True):
        out[k] = round(Fraction(str(value)) * factor)
    return tuple(out)


def _time(profile, name, key, value):
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 86400:
        _fail(profile, name, f"{key} = {value!r}", "seconds from 0 to 86400")
    return round(Fraction(str(value)) * 1000)


def _times(profile, name, preset, given):
    if "assert_s" not in given:
        return preset
    values = given["assert_s"]
    values = values if isinstance(values, list) else [values] * 3
    if len(values) != 3:
        _fail(profile, name, f"assert_s = {values!r}", "seconds, one value or one for each of the three levels")
    return tuple(_time(profile, name, "assert_s", value) for value in values)


def _clear_at(profile, name, row, limits, given):
    """Per level the value from which on it may clear."""
    sign = -1 if row["side"] == catalogue.ABOVE else 1
    if "clear_at" in given:
        factor, _ = PHYSICAL[row["unit"]]
        present = [k for k in range(3) if limits[k] is not None]
        values = _numbers(profile, name, "clear_at", given["clear_at"], len(present))
        out = [None] * 3
        for k, value in zip(present, values, strict=True):
            out[k] = round(Fraction(str(value)) * factor)
        return tuple(out)
    kind, margin = row["clear"]
    rule = {
        catalogue.BY: lambda limit: limit + sign * margin,
        catalogue.PERCENT: lambda limit: limit * margin // 100,
        catalogue.AT: lambda limit: margin,
    }[kind]
    return tuple(None if limit is None else rule(limit) for limit in limits)


def _check(profile, name, row, limits, clear_at, above):
    """Refuse limits out of order and clear limits on the wrong side (HAZARDS, semantics 5)."""
    unit = PHYSICAL[row["unit"]][1]
    present = [x for x in limits if x is not None]
    ordered = sorted(present, reverse=not above)
    strict = row["unit"] != "state"
    if present != ordered or (strict and len(set(present)) != len(present)):
        word = "rising" if above else "falling"
        shown = [_physical(x, row["unit"]) for x in present]
        _fail(profile, name, f"levels {shown} {unit}".rstrip() + " are out of order", f"{word} limits, level 1 first")
    for k in range(3):
        if limits[k] is not None and not (clear_at[k] < limits[k] if above else clear_at[k] > limits[k]):
            at, limit = _physical(clear_at[k], row["unit"]), _physical(limits[k], row["unit"])
            _fail(
                profile, name, f"level {k + 1} clears at {at} {unit} but asserts at {limit} {unit}",
                f"a clear limit {'under' if above else 'over'} the level's own",
            )  # fmt: skip
    low, high = _PLAUSIBLE.get(row["unit"], (-(10**6), 10**6))
    if name == "pack_step":
        low, high = 1000, 500_000
    elif row["limits"] in (catalogue.PACK_OVER, catalogue.PACK_UNDER):
        low, high = low * profile.vehicle["cells"], high * profile.vehicle["cells"]
    for value in present:
        if not low <= value <= high:
            shown = [_physical(x, row["unit"]) for x in (value, low, high)]
            _fail(profile, name, f"a limit of {shown[0]} {unit}", f"one from {shown[1]} to {shown[2]} {unit}")


# What a limit can mean at all, in the row's unit; a cell's range is that of a valid reading.
_PLAUSIBLE = {
    "mV": (0, 4999), "ddegC": (-500, 1500), "dK": (1, 1000), "permille": (0, 5000), "ohm/V": (1, 100_000),
    "mK/s": (10, 100_000), "count": (1, 1000), "uV/h": (10, 10**6), "uohm": (10, 8000), "h": (1, 10_000),
    "s": (1, 3600),
}  # fmt: skip


def _physical(value, unit):
    factor = PHYSICAL[unit][0]
    return value if factor == 1 else round(value / factor, 3)


def physical(value, unit):
    """(value, unit) for people and for JSON, from a canonical integer; None for NA."""
    if value == L.NA:
        return None, PHYSICAL[unit][1]
    return _physical(value, unit), PHYSICAL[unit][1]


def table_row(rule):
    """The rule's row of `params` (layout, "rule table")."""
    row = [0] * L.RULE_TABLE_SIZE
    never = rule.row["side"] * -(L.NA + 1)
    row[L.P_FEATURE] = L.FEATURES_AT + rule.row["feature"]
    row[L.P_SIDE] = rule.row["side"]
    row[L.P_FIRST_LIMIT] = next(x for x in rule.limits if x is not None) if rule.active else never
    row[L.P_LIMIT : L.P_LIMIT + 3] = [never if x is None else x for x in rule.limits]
    row[L.P_CLEAR_AT : L.P_CLEAR_AT + 3] = [L.NA if x is None else x for x in rule.clear_at]
    row[L.P_ASSERT_MS : L.P_ASSERT_MS + 3] = rule.assert_ms
    row[L.P_CLEAR_MS] = rule.clear_ms
    row[L.P_GATE] = 0 if rule.row["gate"] is None else L.FEATURES_AT + rule.row["gate"]
    row[L.P_CALM_LEVELS] = sum(1 << k - 1 for k in rule.row["calm_levels"])
    row[L.P_FLAG] = sum(1 << flag for flag in rule.flags)
    row[L.P_LATCHED] = int(rule.latched)
    row[L.P_SAMPLES] = rule.row["samples"]
    row[L.P_OWN] = int(rule.name != catalogue.BMS)
    row[L.P_NUMBER] = catalogue.RULES.index(rule.name)
    return row
