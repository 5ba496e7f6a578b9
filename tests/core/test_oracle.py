"""The core against the oracle: the same signals, the same events, on sequences made to tell them apart."""

import random

import pytest
from cellwarden.core import catalogue
from cellwarden.core import layout as L
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import Oracle
from rig import HEALTHY, Rig, changed

CELLS = PROBES = 6
SCALARS = {
    "pack": (L.PACK_VOLTAGE_MV, 1000), "current": (L.PACK_CURRENT_MA, 1000), "soc": (L.SOC_PERMILLE, 10),
    "insulation": (L.INSULATION_OHM, 1), "insulation valid": (L.INSULATION_VALID, 1), "charging": (L.CHARGING, 1),
    "contactors": (L.CONTACTORS, 1), "hvil": (L.HVIL_OK, 1), "bms level": (L.BMS_LEVEL, 1),
    "max discharge": (L.MAX_DISCHARGE_MA, 1000), "max charge": (L.MAX_CHARGE_MA, 1000),
    **{("bms flag", n): (L.BMS_FLAG_9 + n, 1) for n in range(6)},
}  # fmt: skip
UNITS = {row[0]: {"mV": 1000, "ddegC": 10, "dK": 10, "permille": 10}.get(row[11], 1) for row in catalogue.ROWS}
SMALL = {
    L.PACK_VOLTAGE_MV: CELLS * 3700, L.INSULATION_OHM: 200_000,
}  # fmt: skip

# Values at which something is decided, and the ones beside them.
NEAR = {
    L.PACK_VOLTAGE_MV: [
        edge + d for edge in (25500, 25680, 26100, 25245, 17400, 16500, 15000, 17748, 60000) for d in (-1, 0, 1)
    ],
    L.PACK_CURRENT_MA: [
        0, 5000, 5001, -5000, 1999, 2000, -999, -1000, 190_000, 209_999, 210_000, 230_000, 260_000, -230_000, -260_001,
    ],
    L.SOC_PERMILLE: [20, 21, 50, 99, 100, 101, 120, 990, 1000, 1001, 1010, 1030, 1050],
    L.INSULATION_OHM: [0, 2220, 2242, 6660, 6700, 11100, 11200, 13319, 13320, 10**8],
    L.INSULATION_VALID: [0, 1], L.CHARGING: [0, 1], L.CONTACTORS: [0, 1], L.HVIL_OK: [0, 1],
    L.BMS_LEVEL: [0, 1, 2, 3], L.MAX_DISCHARGE_MA: [0, 4999, 200_000, 300_000], L.MAX_CHARGE_MA: [0, 5001, 200_000],
    L.BMS_FLAG_9: [0, 1], L.BMS_FLAG_17: [0, 1],
}  # fmt: skip
CELL = [500, 2500, 2501, 2650, 2750, 2900, 3050, 3300, 3699, 3700, 3705, 3740, 3850, 4000, 4200, 4220, 4250, 4280, 4350]
PROBE = [-500, -101, -100, -50, 0, 1, 20, 250, 370, 430, 500, 520, 550, 600, 650]

HOLD = [1, 1, 2, 3, 4, 5, 6, 10, 11, 12, 20, 21, 22, 31, 49, 50, 51, 52, 99, 100, 101, 102, 160, 201]


def wild(rng, slots):
    """A story over all rules: what changes, for how many scans it stands, and whether samples come meanwhile."""
    for _ in range(rng.randrange(8, 24)):
        changes = []
        for _ in range(rng.choice((1, 1, 2, 4))):
            kind = rng.randrange(8)
            if kind < 4:
                slot = rng.choice(slots)
                changes.append((slot, rng.choice((*NEAR[slot], L.NA))))
            elif kind < 6:
                changes.append((L.SCALARS + rng.randrange(CELLS), rng.choice((*CELL, L.NA))))
            elif kind < 7:
                changes.append((L.SCALARS + CELLS + rng.randrange(PROBES), rng.choice((*PROBE, L.NA))))
            else:
                changes.append(
                    ("all cells", rng.choice(CELL)) if rng.random() < 0.5 else ("all probes", rng.choice(PROBE))
                )
        yield changes, rng.choice(HOLD), rng.choice((1, 1, 1, 0))


def apply(rig, change):
    slot, value = change
    if slot == "all cells":
        rig.cells_read(value)
    elif slot == "all probes":
        rig.probes_read(value)
    else:
        rig[slot] = value


def physical(rig):
    """What the oracle is told: the signals in physical units, and how many samples each had."""

    def value(slot, factor):
        return None if rig[slot] == L.NA else rig[slot] / factor

    slots = dict(SCALARS)
    slots |= {("cell", n): (rig.cell(n), 1000) for n in range(1, CELLS + 1)}
    slots |= {("probe", n): (rig.probe(n), 10) for n in range(1, PROBES + 1)}
    owners = rig.engine.section("owners")
    arrivals = {name: rig.groups[owners[slot] * L.GROUP_SIZE + L.ARRIVALS] for name, (slot, _) in slots.items()}
    return {name: value(*told) for name, told in slots.items()}, arrivals


def compare(rig, oracle):
    """Run on a scan in both; the events of each must be those of the other."""
    marks = rig.engine.section("memory")[CELLS : CELLS + PROBES]
    oracle.faulty = {n + 1 for n, mark in enumerate(marks) if mark >> L.FAULT & 1}
    told = oracle.scan(rig.clock[L.NOW_MS], *physical(rig))
    told = [(t, rule, b, n, w, L.NA if v is None else round(v * UNITS[rule])) for t, rule, b, n, w, v in told]
    rules = {hazard.name for hazard in oracle.hazards}
    core = [tuple(event) for event in rig.events if event.rule in rules]
    assert core == told, "the core and the page do not say the same"
    rig.events.clear()


def story(image, tale, start_ms=0):
    rig = Rig(image, start_ms, healthy=False)
    for slot, value in (HEALTHY | SMALL).items():
        rig[slot] = value
    oracle = Oracle(CELLS, PROBES)
    for changes, scans, samples in [([("all cells", 3700), ("all probes", 250)], 25, 1), *tale]:
        for change in changes:
            apply(rig, change)
        for _ in range(scans):
            rig.scan(1, samples)
            compare(rig, oracle)


TALES = {
    "the highest cell dies": [
        ([(L.SCALARS, 4350), (L.SCALARS + 1, 500)], 5, 1), ([(L.SCALARS, L.NA)], 60, 1), ([(L.SCALARS, 3700)], 160, 1),
    ],
    "a flag goes missing": [
        ([(L.BMS_FLAG_17, 1)], 5, 1), ([(L.BMS_FLAG_17, L.NA)], 60, 1), ([(L.BMS_FLAG_17, 0)], 60, 1),
    ],
    "SOC goes missing while it is full": [
        ([(L.CHARGING, 1), (L.PACK_CURRENT_MA, -2000), (L.SOC_PERMILLE, 1001)], 60, 1),
        ([(L.SOC_PERMILLE, L.NA)], 160, 1),
    ],
    "a spread in calm, then in a step of the current": [
        ([("all cells", 3705)], 1, 1), ([(L.SCALARS, 3540)], 60, 1), ([(L.PACK_CURRENT_MA, 2000)], 160, 1),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", TALES)
def test_a_known_trap_is_judged_as_the_page_says(small, name):
    story(small.image, TALES[name])


@pytest.mark.parametrize("seed", range(60))
def test_any_story_is_judged_as_the_page_says(small, seed):
    rng = random.Random(seed)
    # A few quantities at a time, so that each stays with its limits for long enough.
    story(small.image, wild(rng, rng.sample(sorted(NEAR), 3)), rng.choice((0, 12_345)))


# Each rule for itself, over and under its limits and missing, so that levels, timers and margins meet often.
def one_rule(changes_of_it):
    samples = st.sampled_from([1, 1, 1, 1, 0])
    return st.lists(
        st.tuples(st.lists(changes_of_it, min_size=1, max_size=2), st.sampled_from(HOLD), samples),
        min_size=6,
        max_size=14,
    )


def about(slot, values):
    return st.tuples(st.just(slot), st.sampled_from([*values, L.NA]))


def any_of(**values):
    """One of these signals takes one of its values."""
    return st.one_of([about(getattr(L, name), told or NEAR[getattr(L, name)]) for name, told in values.items()])


CELL_1, PROBE_1 = L.SCALARS, L.SCALARS + CELLS
SPREAD = [3549, 3550, 3579, 3580, 3581, 3400, 3200]
FOCUS = {
    "a cell and its neighbour": about(CELL_1, CELL) | about(CELL_1 + 1, CELL),
    "a probe and its neighbour": about(PROBE_1, PROBE) | about(PROBE_1 + 1, PROBE) | any_of(CHARGING=[0, 1]),
    "spread and current": about(CELL_1, SPREAD) | any_of(PACK_CURRENT_MA=[0, 1999, 2000, 5001]),
    "pack voltage and contactors": any_of(PACK_VOLTAGE_MV=None, CONTACTORS=None),
    "currents and limits": any_of(PACK_CURRENT_MA=None, MAX_DISCHARGE_MA=None, MAX_CHARGE_MA=None),
    "overcharge": about(CELL_1, [4249, 4250])
    | any_of(PACK_CURRENT_MA=[-999, -1000, -1000], CHARGING=[0, 1, 1], SOC_PERMILLE=[1000, 1001]),
    "the BMS": any_of(BMS_LEVEL=None, BMS_FLAG_9=None, BMS_FLAG_17=None, HVIL_OK=None),
    "insulation and SOC": any_of(INSULATION_OHM=None, INSULATION_VALID=None, SOC_PERMILLE=None),
}


@settings(max_examples=110)
@given(st.sampled_from(sorted(FOCUS)).flatmap(lambda name: one_rule(FOCUS[name])), st.sampled_from([0, 12_345]))
def test_one_rule_at_its_edges_is_judged_as_the_page_says(small, steps, start_ms):
    story(small.image, steps, start_ms)


def test_the_oracle_can_disagree(small):
    """A core that is off by one millivolt, one scan or one sample is found."""
    tale = [([(L.SCALARS, 4250)], 15, 1), ([(L.SCALARS, 4220)], 60, 1), ([(L.SCALARS + CELLS, 600)], 25, 1)]
    story(small.image, tale)
    for rule, columns in (
        ("cell_overvoltage", {"P_FIRST_LIMIT": 4251}),
        ("cell_overvoltage", {"P_ASSERT_MS": 900}),
        ("cell_overvoltage", {"P_CLEAR_AT": 4219}),
        ("cell_overvoltage", {"P_CLEAR_MS": 5100}),
    ):
        try:
            story(changed(small.image, rule=rule, **columns), tale)
        except AssertionError:
            continue
        raise AssertionError(f"a changed {columns} went unseen")
