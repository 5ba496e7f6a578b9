"""Any tale reads the same in the core and in the oracle of sections B to E: the same features, the same events.

Hypothesis tells them, the same ones each time; CELLWARDEN_TALES says how many of each kind.
"""

import os

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from oracle_twin import NOMINAL_MV, Twin

TALES = int(os.environ.get("CELLWARDEN_TALES", "3"))


def tell(twin_vehicle, tale, start_ms=0):
    """The tale's steps through both. tale: [(what changes, scans, a message each so many scans, what is silent)]"""
    twin = Twin(twin_vehicle, start_ms)
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


@pytest.mark.timeout(300 + 10 * TALES)
@pytest.mark.parametrize("focus", FOCUS)
def test_any_tale_reads_the_same_in_the_core_and_on_the_page(twin_vehicle, focus):
    @settings(max_examples=TALES, phases=[Phase.generate])  # to shrink one takes minutes
    @given(tales(FOCUS[focus]), st.sampled_from([0, 12_345]))
    def told(tale, start_ms):
        tell(twin_vehicle, tale, start_ms)

    told()
