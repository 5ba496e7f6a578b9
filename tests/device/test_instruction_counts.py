"""What the core costs on a Cortex-M3, in instructions: counted on the emulated board, so exact and the same every time.

A gate is what a board's time allows, or what the yardstick, the same work in C, allows. tests/bench/cortex_m3.py and
tests/bench/twin.py print the numbers.
"""

import cortex_m3 as bench
import pytest
import twin
from cellwarden_tools.compiler.image import compile_profile
from cellwarden_tools.engines.cortex_m3 import find_firmware, find_mpy_cross, find_qemu
from cellwarden_tools.errors import InputError

FRAME = 600  # on average on a full bus of 500 kbit/s, scans included
# The worst that one call of advance() over one scan takes. Forty rules on 96 cells and 24 probes cost 17,000 in any
# scan, and 12,000 more in the one that samples all cells.
STEP = {
    "driving_quietly": 30_000,
    "parked_and_calm": 30_000,
    "calm_cells_rising": 33_000,
    "every_rule_begins": 30_000,
}
ALARM_STEP = 40_000  # where every rule that can hold at once does, at its third level
CONTRIVED_MOST = 50_000  # where every timer of fifteen rules has been made to end in the same scan, or all falls silent
CONTRIVED = ("everything_falls_silent", "everything_at_once", "found_by_search")
TIMES_C = 4  # a frame on average, against the same in C
DOUBLING = (
    23  # more for a frame when the vehicle has twice the messages; 20 while all of its state lies below index 1023
)


@pytest.fixture(scope="module", autouse=True)
def board():
    try:
        find_qemu(), find_firmware(), find_mpy_cross()
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def counts(board):
    return bench.measure()


@pytest.fixture(scope="module")
def in_c(board):
    try:
        return twin.measure()
    except InputError as error:
        if "on this machine" not in str(error):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def growth(board, tmp_path_factory):
    return bench.growth(tmp_path_factory.mktemp("growth"))


def test_counting_twice_gives_the_same_numbers(counts):
    assert bench.measure() == counts


@pytest.mark.parametrize("mix", ["own", "half_unknown", "as_sent"])
@pytest.mark.parametrize("batch", [32, 1000])
def test_a_frame_of_a_full_bus_costs_600_instructions_at_most(counts, mix, batch):
    assert counts["frame"][f"{mix}_{batch}"] <= FRAME


@pytest.mark.parametrize("story", [s.__name__ for s in bench.SCANS if s.__name__ not in CONTRIVED])
def test_no_single_step_costs_more_than_its_bound(counts, story):
    assert counts["step"][story] <= STEP.get(story, ALARM_STEP)


def test_the_groups_of_rules_add_up_to_the_scan(counts):
    for story, parts in counts["parts"].items():
        *groups, together = parts["mean"].values()
        assert min(groups) > 0, story
        assert sum(groups) == together <= max(STEP.values()), story


@pytest.mark.parametrize("story", CONTRIVED)
def test_no_contrived_step_costs_more_than_it_did(counts, story):
    assert counts["step"][story] <= CONTRIVED_MOST


@pytest.mark.long
@pytest.mark.parametrize("mix", ["own", "half_unknown", "as_sent"])
def test_a_frame_costs_four_times_what_it_costs_in_c_at_most(counts, in_c, mix):
    here, there = counts["frame"][f"{mix}_1000"], in_c["frame"][f"{mix}_1000"]
    assert here <= TIMES_C * there, f"{here / there:.2f} times as many"


@pytest.mark.long
def test_a_twin_that_does_other_work_is_not_counted(in_c, monkeypatch, tmp_path):
    core, mark = twin.core_c(), "(held_ms < clear_ms)"
    assert core.count(mark) == 1
    monkeypatch.setattr(twin, "core_c", lambda: core.replace(mark, "(held_ms < clear_ms + scan_ms)"))
    with pytest.raises(AssertionError, match=r"the twin's (state|events) differ"):
        twin.same_work(compile_profile(bench.CHECKOUT / "dbc" / "demo_pack.toml"), tmp_path)


@pytest.mark.parametrize("story", ["driving_quietly", "parked_and_calm"])
def test_the_worst_scan_grows_with_the_cells_and_no_faster(growth, story):
    cells = growth["cells"]
    slopes = [(cells[2 * n][story] - cells[n][story]) / n for n in (48, 96, 192)]
    assert 0 < slopes[2] <= 1.05 * slopes[1], f"instructions a cell: {slopes}"


@pytest.mark.parametrize("signals", [1, 4])
def test_a_frame_costs_hardly_more_where_the_vehicle_has_more_messages(growth, signals):
    costs = [growth["messages"][f"{messages}x{signals}"] for messages in (8, 24, 60, 150)]
    for few, many, doublings in zip(costs[:-1], costs[1:], (1.585, 1.322, 1.322), strict=True):
        assert many - few <= DOUBLING * doublings, f"instructions a frame: {costs}"
