"""One layout, one catalogue: every repeated number agrees with its page, and the tables themselves are sound."""

import ast
import re
from decimal import Decimal
from math import floor

import pytest
from cellwarden.core import catalogue
from cellwarden.core import layout as L
from cellwarden_tools.compiler.quantities import QUANTITIES
from cellwarden_tools.compiler.rule_table import rules_of
from checked import CORE, HOT

LAYOUT = {name: value for name, value in vars(L).items() if name.isupper() and isinstance(value, int)}


def constants(path):
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("const("):
            (target,) = node.targets
            yield target.id.lstrip("_"), eval(ast.unparse(node.value.args[0]))


@pytest.mark.parametrize("name", HOT)
def test_every_repeated_constant_is_the_layouts(name):
    told = dict(constants(CORE / f"{name}.py"))
    assert len(told) > 10
    for constant, value in told.items():
        page = LAYOUT.get(constant, value)
        assert value == page, f"{name}.py: _{constant} is {value}, the layout says {page}: it reads another column"


def test_a_constant_that_two_files_have_of_their_own_is_the_same_in_both():
    first = {}
    for name in HOT:
        for constant, value in constants(CORE / f"{name}.py"):
            assert first.setdefault(constant, value) == value, (
                f"{name}.py: _{constant} is {value}, not {first[constant]}"
            )


def test_the_fixed_part_of_the_state_and_of_params_is_where_the_hot_files_look(demo):
    state = L.state_sections(demo.image.params)
    assert list(state) == list(L.STATE_SECTIONS) and list(state)[:3] == ["clock", "features", "signals"]
    assert [state[name][0] for name in ("clock", "features", "signals")] == [0, L.FEATURES_AT, L.SIGNALS_AT]
    params = L.params_sections(demo.image.params, len(demo.image.params))
    assert list(params) == list(L.PARAMS_SECTIONS) and params["rule_table"][0] == L.HEADER_SIZE
    header = demo.image.params
    told = {"memory": L.P_MEMORY_AT, "groups": L.P_GROUPS_AT, "messages": L.P_MESSAGES_AT, "rules": L.P_RULES_AT}
    assert {name: header[column] for name, column in told.items()} == {name: state[name][0] for name in told}
    told = {"group_table": L.P_GROUP_TABLE_AT, "members": L.P_MEMBERS_AT, "owners": L.P_OWNERS_AT}
    assert {name: header[column] for name, column in told.items()} == {name: params[name][0] for name in told}
    # What the core reads as the first column of a row.
    assert L.BUSY == L.P_FEATURE == L.STATUS == L.P_DEADLINE_MS == L.VALUE == 0


def test_an_image_says_which_page_it_was_made_for(demo):
    assert L.FORMAT == 5, "a change of the page needs another number, or an old image is read by it"
    assert demo.image.params[L.P_FORMAT] == 5


def test_a_record_of_the_ring_is_laid_out_as_the_box_writes_it():
    """Two words, two bytes, two of nothing, the data: what is written by hand here stands in C on the box."""
    assert (L.RECORD_T_MS, L.RECORD_ID, L.RECORD_CHANNEL, L.RECORD_LENGTH, L.RECORD_DATA) == (0, 4, 8, 9, 4 + 4 + 2 + 2)
    assert L.RECORD_VIEWS == 1 + 8, "from the length on, and from each byte of a classical frame's data on"
    assert (L.EXT, L.NOTICE) == (1 << 29, -1 << 30), "a bit above the 29 of an identifier, and one above that"


def test_codes_are_the_pages():
    assert (L.NEVER, L.FRESH, L.STALE, L.USED) == (0b00, 0b01, 0b10, 0b11)
    assert (L.ASSERTING, L.RELEASED) == (0b000_111_000, 0b1_000_000_000)
    assert L.SCRATCH_SIZE == 128 + 1
    assert (L.MARKS, L.SHORTS, L.DRIFT, L.BATCH, L.CONTACT, L.RINGS) == tuple(range(6))


def test_sections_follow_each_other_as_counted_by_hand():
    header = {L.P_CELLS: 3, L.P_PROBES: 2, L.P_GROUPS: 5, L.P_MESSAGES: 4, L.P_RULES: 7, L.P_MEMBERS: 11}
    assert L.state_sections(header) == {
        "clock": (0, 145), "features": (145, 337), "signals": (337, 367), "groups": (367, 382),
        "messages": (382, 394), "rules": (394, 492), "memory": (492, 511),
    }  # fmt: skip
    assert L.memory_columns(header) == (492, 497, 500, 503, 506, 509)
    assert L.params_sections(header, 400) == {
        "header": (0, 49), "rule_table": (49, 189), "group_table": (189, 214), "members": (214, 225),
        "owners": (225, 255), "crc": (255, 400),
    }  # fmt: skip


def test_differences_of_values_have_their_sign_in_bit_30():
    assert L.NA == -(1 << 29) and L.WRAP == -(1 << 30) and L.MASK == (1 << 30) - 1
    for quantity in QUANTITIES.values():
        assert L.NA < quantity.low <= quantity.high < -L.NA


def test_columns_of_one_section_are_a_row_without_gaps():
    text = (CORE / "layout.py").read_text("utf-8")
    for size, first in (
        ("CLOCK_SIZE", "NOW_MS"), ("SCALARS", "PACK_VOLTAGE_MV"), ("FEATURES", "F_CELL_MAX_MV"),
        ("HEADER_SIZE", "P_FORMAT"), ("GROUP_SIZE", "STATUS"), ("EVENT_SIZE", "EVENT_T_MS"),
        ("GROUP_TABLE_SIZE", "P_DEADLINE_MS"), ("MESSAGE_SIZE", "LAST_COUNTER"),
    ):  # fmt: skip
        block = text[text.index(f"\n{first} = ") : text.index(f"\n{size} = ")]
        values = [int(n) for n in re.findall(r"^[A-Z_0-9]+ = (\d+)", block, re.M)]
        assert values == list(range(LAYOUT[size])), f"the columns under {first} overlap or leave a gap"
    assert [L.VALUE, L.WHERE, L.SLOT, L.COMPLETE, L.FEATURES_SIZE] == [L.FEATURES * i for i in range(5)]
    rule = [L.BUSY, L.LEVEL_NOW]
    rule += [first + k for first in (L.ASSERT_MS, L.CLEAR_MS, L.FIRST_ARRIVAL, L.FIRST_SLOT) for k in range(3)]
    assert rule == list(range(L.RULE_SIZE))
    row = [L.P_FEATURE, L.P_FIRST_LIMIT, L.P_SIDE]
    row += [first + k for first in (L.P_LIMIT, L.P_CLEAR_AT, L.P_ASSERT_MS) for k in range(3)]
    row += [L.P_CLEAR_MS, L.P_GATE, L.P_CALM_LEVELS, L.P_FLAG, L.P_LATCHED, L.P_SAMPLES, L.P_OWN]
    row += [L.P_NUMBER]
    assert row == list(range(L.RULE_TABLE_SIZE))


def test_the_decoder_writes_where_the_layout_says(demo):
    text = demo.image.parts["decoder.py"].decode()
    state = L.state_sections(demo.image.params)
    stored = [int(n) for n in re.findall(r"s\[(\d+)\] [-+]?=", text)]
    clock = {n for n in stored if n < L.FEATURES_AT}
    columns = {"MALFORMED", "CHECKSUM_ERRORS", "COUNTER_ERRORS", "FRAMES", "IGNORED", "NOW_MS", "DOUBT"}
    assert clock == {LAYOUT[name] for name in columns}
    assert "raw = r[b >> 2]" in text and f"i = r[(b >> 2) + {L.RECORD_ID // 4}]" in text and L.RECORD_T_MS == 0
    groups, last = state["groups"]
    stamps = sorted(n for n in stored if groups <= n < last)
    assert stamps == list(range(groups, last)), "each group has a status, a stamp and arrivals"
    assert set(re.findall(r"s\[(\d+)\] = now", text)) == {
        str(n) for n in (L.NOW_MS, *range(groups + L.STAMP_MS, last, L.GROUP_SIZE))
    }
    first = L.SIGNALS_AT
    slots = {n - first for n in stored if first <= n < state["signals"][1]}
    assert slots == set(range(L.SCALARS + 96 + 24)) - {
        L.CELL_MAX_MV, L.CELL_MIN_MV, L.PROBE_MAX_DDEGC, L.PROBE_MIN_DDEGC, L.ALWAYS,
    }  # fmt: skip
    assert {int(n) for n in re.findall(r"\^ (\d+):\n +s\[\d+\] \+= 1", text)} == {L.WRONG_LIMIT}


# --- the catalogue ----------------------------------------------------------------------------------------------------

# HAZARDS section A, written out once more: limits (NMC, LFP where it differs) in V, degC, K, %, ohm/V; seconds; margin.
V, T, P, R, S = 1000, 10, 10, 1, 1
HAZARDS = {
    "cell_overvoltage": (V, (4.25, 4.28, 4.35), (3.65, 3.75, 3.85), (1, 1, 1), ("-", 0.030), 5, 5),
    "cell_undervoltage": (V, (2.90, 2.75, 2.50), (2.60, 2.40, 2.00), (1, 1, 0.3), ("+", 0.150), 10, 6),
    "pack_overvoltage": (V, (408.0, 410.88, 417.6), (350.4, 360.0, 369.6), (1, 1, 1), ("x", 0.99), 5, 2),
    "pack_undervoltage": (V, (278.4, 264.0, 240.0), (249.6, 230.4, 192.0), (1, 1, 1), ("x", 1.02), 10, 3),
    "temperature_high": (T, (55, 60, 65), None, (2, 2, 2), ("-", 3), 10, 1),
    "temperature_spread": (T, (12, 18, 25), None, (5, 5, 5), ("-", 2), 10, 0),
    "charge_too_cold": (T, (0, -5, -10), None, (10, 10, 10), ("+", 2), 10, None),
    "cell_spread": (V, (0.150, 0.300, 0.500), (0.200, 0.400, 0.600), (5, 5, 5), ("-", 0.030), 10, 10),
    "overcurrent_discharge": (P, (105, 115, 130), None, (5, 2, 0.5), ("=", 95), 5, None),
    "overcurrent_charge": (P, (105, 115, 130), None, (5, 2, 0.5), ("=", 95), 5, None),
    "insulation_low": (R, (500, 300, 100), None, (5, 5, 1), ("x", 1.2), 20, 11),
    "soc_low": (P, (10, 5, 2), None, (5, 5, 5), ("+", 2), 10, 4),
    "soc_high": (P, (101, 103, 105), None, (5, 5, 5), ("-", 2), 10, 7),
    "overcharge": (S, (1, 1, 1), None, (5, 15, 30), ("=", 0), 10, 18),
    "hvil_open": (S, (None, None, 1), None, (0, 0, 0.3), ("=", 0), 3, 16),
    "bms_alarm": (S, (1, 2, 3), None, (0.2, 0.2, 0.2), ("-", 1), 1, None),
    # B to E: where HAZARDS gives no time or margin, docs/decisions.md does
    "temperature_rise": (1000, (0.3, 0.6, 1.0), None, (7, 3, 3), ("x", 0.85), 10, 1),
    "soc_jump": (P, (5, 10, None), None, (0, 0, 0), ("-", 2), 10, 8),
    "pack_step": (V, (None, None, 10), None, (0, 0, 0.5), ("x", 0.5), 10, 3),
    "pack_sum_mismatch": (P, (1.5, 2.5, 4), None, (10, 10, 10), ("-", 0.5), 10, 9),
    "cell_transient": (S, (3, 5, None), None, (0, 0, 0), ("-", 1), 10, 10),
    "cell_drift": (V, (0.030, 0.060, None), None, (0, 0, 0), ("-", 0.010), 10, 10),
    "self_discharge": (1000, (3, 10, None), None, (0, 0, 0), ("x", 0.5), 10, 10),
    "contact_resistance": (1000, (0.3, 0.6, None), None, (0, 0, 0), ("x", 0.5), 10, 10),
    "insulation_trend": (S, (168, 24, None), None, (0, 0, 0), ("x", 1.5), 60, 11),
    "signal_lost": (S, (None, 1, 2), None, (0, 1, 1), ("-", 1), 5, None),
    "counter_error": (S, (None, 5, None), None, (0, 0, 0), ("=", 0), 5, None),
    "checksum_error": (S, (None, 5, None), None, (0, 0, 0), ("=", 0), 5, None),
    "frame_malformed": (S, (1, 1, None), None, (0, 10, 0), ("=", 0), 10, None),
    "frames_lost": (S, (1, 1, None), None, (0, 10, 0), ("=", 0), 10, None),
    "bus_off": (S, (None, 1, None), None, (0, 0, 0), ("=", 0), 5, None),
    "cells_lost": (S, (None, 1, 2), None, (0, 1, 1), ("-", 1), 10, None),
    "cells_absent": (S, (None, 1, None), None, (0, 0, 0), ("=", 0), 5, None),
    "probe_fault": (S, (1, None, None), None, (1, 0, 0), ("=", 0), 60, None),
    "sense_line": (V, (0.030, None, None), None, (30, 0, 0), ("-", 0.010), 10, None),
    "frozen": (S, (60, None, None), None, (0, 0, 0), ("x", 0.5), 5, None),
    "time_backward": (S, (1, None, None), None, (0, 0, 0), ("=", 0), 10, None),
    "mismatch": (S, (None, 1, None), None, (0, 5, 0), ("=", 0), 10, 9),
    "thermal_runaway": (S, (None, None, 1), None, (0, 0, 0), ("=", 0), 0, (1, 23)),
    "thermal_suspected": (S, (None, 1, None), None, (0, 0, 0), ("=", 0), 30, None),
}
# Two samples: all of section A but the hard cell limits, and of the others those that read a signal as it comes. The
# rest is made of several samples anyway, or D, which waits for nothing.
ONE_SAMPLE = {"cell_overvoltage", "cell_undervoltage"} | set(HAZARDS) - set(list(HAZARDS)[:20]) - {
    "cells_lost",
    "mismatch",
}
CLEAR = {"-": lambda x, m: x - m, "+": lambda x, m: x + m, "x": lambda x, m: x * m, "=": lambda x, m: m}


@pytest.fixture(scope="module", params=["nmc", "lfp"])
def rules(request, demo):
    told = {"profile": type(demo.profile)(**vars(demo.profile) | {"chemistry": request.param})}
    return request.param, rules_of(told["profile"])


def test_the_catalogue_says_what_hazards_says(rules):
    chemistry, rows = rules
    assert {rule.name for rule in rows} == set(HAZARDS)
    for rule in rows:
        unit, nmc, lfp, assert_s, (sign, margin), clear_s, flag = HAZARDS[rule.name]
        limits = lfp if chemistry == "lfp" and lfp else nmc
        assert rule.limits == tuple(None if x is None else round(x * unit) for x in limits), rule.name
        for limit, at in zip(limits, rule.clear_at, strict=True):
            exact = None if limit is None else CLEAR[sign](Decimal(str(limit)), Decimal(str(margin))) * unit
            assert at == (exact if exact is None else floor(exact)), f"{rule.name} clears at {at}"
        # of any limit that a profile gives it, too
        assert rule.row["clear"][1] == Decimal(str(margin)) * (100 if sign == "x" else unit), rule.name
        assert rule.assert_ms == tuple(round(1000 * s) for s in assert_s), rule.name
        assert (rule.clear_ms, rule.flag) == (1000 * clear_s, flag), rule.name


def test_gates_calm_levels_and_samples_are_those_of_hazards(demo):
    gates = {rule.name: rule.row["gate"] for rule in demo.rules if rule.row["gate"] is not None}
    assert gates == {
        "pack_undervoltage": L.F_CONTACTORS, "charge_too_cold": L.F_CHARGING, "overcharge": L.F_CHARGING,
    }  # fmt: skip
    assert {rule.name: rule.row["calm_levels"] for rule in demo.rules if rule.row["calm_levels"]} == {
        "cell_spread": (1,),
        "pack_sum_mismatch": (1,),
    }
    single = {rule.name for rule in demo.rules if rule.row["samples"] == 1}
    assert single == ONE_SAMPLE
    assert {rule.name for rule in demo.rules if rule.latched} == {"thermal_runaway"}
    assert (catalogue.CALM_MA, catalogue.CALM_STEP_MA, catalogue.CALM_MS, catalogue.CALM_MAD_MV) == (
        5000,
        2000,
        2000,
        5,
    )
    assert catalogue.START_MS == 30000


def test_names_features_and_flags_are_told_apart():
    assert len(set(catalogue.RULES)) == len(catalogue.ROWS)
    features = [value for name, value in LAYOUT.items() if name.startswith("F_")]
    assert sorted(features) == list(range(L.FEATURES))
    for row in catalogue.ROWS:
        row = dict(zip(catalogue.COLUMNS, row, strict=True))
        assert row["feature"] in features and row["side"] in (catalogue.ABOVE, catalogue.BELOW)
        assert row["flag"] in (None, (1, 23)) or 0 <= row["flag"] <= 18
        assert row["samples"] in (1, 2) and row["source"]
        assert row["needs"] or row["rule"] == "time_backward"
        assert all(ms >= 0 for ms in (*row["assert_ms"], row["clear_ms"]))
        longest = max(catalogue.START_MS, row["clear_ms"], *row["assert_ms"])
        assert longest < L.HALF


# The presets once more: over, under, spread, nominal (V), and the medians between which a drift can be told.
CHEMISTRIES = {
    "nmc": ((4.25, 4.28, 4.35), (2.90, 2.75, 2.50), (0.150, 0.300, 0.500), 3.7, (3.450, 4.250)),
    "lfp": ((3.65, 3.75, 3.85), (2.60, 2.40, 2.00), (0.200, 0.400, 0.600), 3.2, (3.200, 3.345)),
    "lto": ((2.72, 2.75, 2.80), (1.58, 1.55, 1.50), (0.150, 0.300, 0.500), 2.3, (2.100, 2.600)),
    "lmo": ((4.25, 4.28, 4.35), (2.90, 2.75, 2.50), (0.150, 0.300, 0.500), 3.8, (3.600, 4.200)),
}


def test_every_preset_and_every_figure_beside_the_rows_is_the_pages():
    presets = {
        name: (*catalogue.CHEMISTRIES[name], catalogue.NOMINAL_MV[name], catalogue.DRIFT_RANGE_MV[name])
        for name in catalogue.CHEMISTRIES
    }

    def mv(told):
        return tuple(map(mv, told)) if isinstance(told, tuple) else round(1000 * told)

    assert presets == {name: mv(told) for name, told in CHEMISTRIES.items()}
    assert (catalogue.ABOVE, catalogue.BELOW) == (1, -1), "a side is multiplied with"
    assert catalogue.SLEEP_MS == 10 * 1000, "ten seconds of silence are sleep"
    assert catalogue.CAPACITY_AH == 20, "where the profile does not say"
    assert catalogue.SLICE_MS == 900, "with the two scans of the median, a sample of 100 ms scans is judged in a second"
    assert catalogue.PARKED_MIN == {"watch_min": 60, "wake_first_min": 10, "wake_min": 60}
    assert catalogue.LIMIT_FLOOR_MA == 5 * 1000 and catalogue.INFLOW_MA == 1000


@pytest.mark.parametrize("chemistry", catalogue.CHEMISTRIES)
def test_the_presets_of_every_chemistry_can_be_true(chemistry):
    over, under, spread = catalogue.CHEMISTRIES[chemistry]
    nominal = catalogue.NOMINAL_MV[chemistry]
    assert list(over) == sorted(set(over)) and list(spread) == sorted(set(spread))
    assert list(under) == sorted(set(under), reverse=True)
    assert 1000 < under[2] and under[0] + 150 < nominal < over[0] - 30 and over[2] < 5000
    assert under[0] + spread[2] < over[0], "a spread that no pack inside its limits could reach"
    assert set(catalogue.NOMINAL_MV) == set(catalogue.CHEMISTRIES)


def test_limits_rise_or_fall_and_clear_lies_behind_them(rules):
    for rule in rules[1]:
        sign = 1 if rule.row["side"] == catalogue.ABOVE else -1
        limits = [sign * x for x in rule.limits if x is not None]
        assert limits == sorted(limits), f"{rule.name}: a milder level has the harder limit"
        for limit, at in zip(rule.limits, rule.clear_at, strict=True):
            assert limit is None or sign * at < sign * limit, f"{rule.name} would flicker"
            assert limit is None or L.NA < limit < -L.NA
