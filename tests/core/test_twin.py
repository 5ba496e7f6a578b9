"""Sections B to E of the core against the oracle: the same frames, the same features, the same events."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle_twin import NOMINAL_MV, Twin
from oracle_twin import vehicle as made


@pytest.fixture(scope="module")
def vehicle(compile_text):
    return compile_text(*made())


@pytest.fixture(scope="module")
def slow(compile_text):
    """A scan each second and a message each ten: hours pass quickly."""
    return compile_text(*made(scan_ms=1000, period_ms=10_000))


def tell(vehicle, tale, start_ms=0):
    """tale: [(changes, scans, every, silent)]"""
    twin = Twin(vehicle, start_ms)
    twin.run(30)
    for changes, scans, every, silent in tale:
        twin.set(changes)
        twin.run(scans, every, silent)
    return twin


def one(kind, numbers, values):
    return st.tuples(st.tuples(st.just(kind), st.sampled_from(numbers)), st.sampled_from([*values, None]))


def scalar(name, values):
    return st.tuples(st.just(name), st.sampled_from([*values, None]))


SOME_CELLS, SOME_PROBES = [1, 2, 5, 6, 7, 8], [1, 2, 4, 6]
CELL = one("cell", SOME_CELLS, [3700, 3690, 2776, 2775, 2774, 2500, 2000, 4300])
DIP = one("cell", [3, 4, 5], [3700, 3680, 3679, 3660, 3655, 3740, 3745, 3720, 3699])
PROBE = one("probe", SOME_PROBES, [250, 260, 449, 451, 270, 281, 590, 600, 800, 801, 1250, 40, -400])
RAMP = st.tuples(
    st.tuples(st.just("ramp"), st.sampled_from(SOME_PROBES)), st.sampled_from([0, 0, 3, 6, 9, 10, 11, 50, -30])
)
ALL_PROBES = st.tuples(st.just("probes"), st.sampled_from([250, 1250, -400, 600, None]))
ALL_CELLS = st.tuples(st.just("cells"), st.sampled_from([3700, 3698, 3500, 2700, None]))
PACK = scalar("pack", [NOMINAL_MV, NOMINAL_MV - 500, NOMINAL_MV - 9999, NOMINAL_MV - 10_000, 30_000, 0])
CURRENT = scalar("current", [0, 0, 4999, 5000, 5001, 1999, -2000, 20_000, 60_000])
SOC = scalar("soc", [500, 510, 449, 450, 451, 400, 0])
LEAK = scalar("insulation", [1_000_000, 4440, 4439, 8000, 0])
FLAGS = scalar("on", [0, 1]) | scalar("charging", [0, 1]) | scalar("contactors", [0, 1, 1])
SCANS = [1, 2, 3, 5, 7, 9, 10, 11, 12, 19, 20, 21, 30, 31, 40, 45, 61]
LONG = [10, 30, 100, 290, 300, 310, 320, 590, 620, 640]
SILENT = [
    (),
    (),
    (),
    (),
    (),
    ("all",),
    (("cell", 1),),
    (("probe", 1),),
    (("cell", 5), ("probe", 4)),
    ("pack",),
    ("on",),
]

FOCUS = {
    "fire": CELL | PROBE | RAMP | RAMP | LEAK | PACK,
    "cells that vanish": CELL | ALL_CELLS | CELL | PACK,
    "probes": PROBE | PROBE | ALL_PROBES | RAMP | one("cell", SOME_CELLS, [3700, 2500]),
    "pack": PACK | CURRENT | FLAGS | SOC,
    "dips": DIP | DIP | scalar("current", [0, 0, 0, 1999, 60_000]),
    "everything": CELL | DIP | PROBE | RAMP | ALL_PROBES | ALL_CELLS | PACK | CURRENT | SOC | LEAK | FLAGS,
}


def tales(changes):
    step = st.tuples(
        st.lists(changes, min_size=1, max_size=3),
        st.one_of(st.sampled_from(SCANS), st.sampled_from(SCANS), st.sampled_from(LONG)),
        st.sampled_from([1, 1, 1, 3, 10, 10, 25]),
        st.sampled_from(SILENT),
    )
    return st.lists(step, min_size=3, max_size=9)


@settings(max_examples=40)
@given(st.sampled_from(sorted(FOCUS)).flatmap(lambda name: tales(FOCUS[name])), st.sampled_from([0, 12_345]))
def test_any_tale_reads_the_same_in_the_core_and_on_the_page(vehicle, tale, start_ms):
    tell(vehicle, tale, start_ms)


@pytest.mark.parametrize("fall, breath", [(0, 1), (35, 1), (-35, 1), (20, 2), (0, 3)])
def test_a_cell_that_leaves_the_others_slowly_is_measured_the_same(slow, fall, breath):
    """Imbalances of 0, 6, 12 and 18 mV, which breathe with the slope of the OCV curve, and one cell that falls."""
    twin = Twin(slow)

    def imbalance(by, fallen=0):
        return [(("cell", n), 3700 + round(by * 6 * (n % 4 - 1)) - (fallen if n == 7 else 0)) for n in range(1, 13)]

    twin.set(imbalance(1))
    twin.run(3200, every=10)
    for step in range(1, 6):
        twin.set(imbalance(1 + (breath - 1) * step / 5, fall * step // 5))
        twin.run(330, every=10)


@pytest.mark.parametrize("extra_uohm, own_uohm", [(0, 500), (800, 500), (800, 3000), (-800, 500)])
def test_a_joint_that_grows_is_measured_the_same(vehicle, extra_uohm, own_uohm):
    twin = Twin(vehicle)
    for k in range(70):
        ma = 40_000 * (k % 2)
        extra = extra_uohm if k > 36 else 0
        fall = own_uohm * ma // 10**6
        twin.set([("cells", 3700 - fall), (("cell", 4), 3700 - fall - extra * ma // 10**6), ("current", ma)])
        twin.run(40, every=10)


@pytest.mark.parametrize("nights", [[(10, 40)], [(0.5, 40)], [(2, 9), (2, 30)], [(2, 10), (0.9, 20), (3, 5)]])
def test_a_cell_that_falls_while_parked_is_measured_the_same(slow, nights):
    twin = Twin(slow)
    twin.run(150, every=10)
    fallen = 0
    for hours, mv in nights:
        twin.sleep(hours)
        fallen += mv
        twin.set([("cells", 3699), (("cell", 4), 3699 - fallen)])
        twin.run(150, every=10)


@pytest.mark.parametrize("levels", [[1000, 900, 800, 700, 650, 640], [1000, 900, 950, 800, 700, 600], [9000] * 5])
def test_insulation_that_falls_over_days_is_measured_the_same(slow, levels):
    twin = Twin(slow)
    for level in levels:
        twin.set([("insulation", level * 4440 // 10)])
        for _ in range(2):
            twin.run(40, every=10)
            twin.sleep(3)


@pytest.mark.parametrize("dips", [[4] * 6, [4, 4, 4, 7, 4, 4], [1, 2, 3, 4, 5, 6]])
def test_short_dips_of_a_cell_are_counted_the_same_over_days(vehicle, dips):
    twin = Twin(vehicle)
    for k, cell in enumerate(dips):
        twin.set([("cells", 3700 - k)])
        twin.run(50, every=10)
        twin.set([(("cell", cell), 3660 - k)])
        twin.run(20, every=10)
        twin.set([("cells", 3700 - k)])
        twin.run(30, every=10)
        twin.sleep(5)


STALE_S = (0, 12, 29)


@pytest.mark.parametrize("stale_s", STALE_S)
@pytest.mark.parametrize(
    "truth",
    [
        [(("cell", 7), 2400), (("probe", 3), 650)],
        [*((("cell", n), None) for n in (5, 6, 7, 8)), (("probe", 3), 650)],
        [*((("cell", n), None) for n in (5, 6, 7)), (("probe", 3), 650)],
        [(("cell", 7), 2700), (("probe", 3), 590)],
        [("pack", 30_000)],
        [(("probe", 3), 900)],
        [("probes", None)],
    ],
)
def test_a_night_stale_repeats_and_what_was_true_read_the_same(vehicle, stale_s, truth):
    twin = Twin(vehicle)
    twin.run(700, every=10)
    twin.sleep(7)
    if stale_s:
        twin.run(10 * stale_s, every=10)
    twin.set(truth)
    twin.run(200, every=10)


@settings(max_examples=15)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["short", "back", "dropped", "off", "on"]),
            st.sampled_from([1, 10, 48, 49, 50, 51, 52, 90, 120, 160]),
        ),
        min_size=2,
        max_size=6,
    )
)
def test_what_happens_beside_the_values_is_told_the_same(vehicle, happenings):
    twin = Twin(vehicle)
    twin.run(30)
    for what, scans in happenings:
        twin.happen(what)
        twin.run(scans, every=10)


@pytest.mark.parametrize("over", [True, False])
def test_a_latched_alarm_is_released_by_an_acknowledgement_only(vehicle, over):
    twin = Twin(vehicle)
    twin.run(100, every=10)
    twin.set([(("cell", 7), 2000), (("ramp", 3), 30)])
    twin.run(140, every=10)
    twin.set([("cells", 3700), (("ramp", 3), -30)])
    twin.run(140, every=10)
    twin.set([(("ramp", 3), 0)])
    twin.run(700, every=10)
    assert twin.rig.level("thermal_runaway") == 3, "a fire was forgotten"
    if not over:
        twin.set([("probes", 650), (("cell", 7), 2000)])
        twin.run(20, every=10)
    twin.happen(("ack", "thermal_runaway"))
    twin.run(20, every=10)
    assert twin.rig.level("thermal_runaway") == (0 if over else 3)
