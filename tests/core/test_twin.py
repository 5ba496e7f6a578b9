"""Sections B to E of the core against the oracle: the same frames, the same features, the same events."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle_twin import NOMINAL_MV, Twin


@pytest.mark.parametrize("nights", [[(10, 40)], [(0.5, 40)], [(2, 9), (2, 30)], [(2, 10), (0.9, 20), (3, 5)]])
def test_a_cell_that_falls_while_parked_is_measured_the_same(slow_twin_vehicle, nights):
    twin = Twin(slow_twin_vehicle)
    twin.run(150, every=10)
    fallen = 0
    for hours, mv in nights:
        twin.sleep(hours)
        fallen += mv
        twin.set([("cells", 3699), (("cell", 4), 3699 - fallen)])
        twin.run(150, every=10)


@pytest.mark.parametrize("fall_mv", [20, 40])
def test_cells_that_are_read_to_20_mv_must_fall_by_two_of_their_steps(slow_twin_vehicle, fall_mv):
    twin = Twin(slow_twin_vehicle)
    for k in range(6):
        twin.set([(("cell", 7), 3700 + 20 * (k % 2))])
        twin.run(20, every=10)
    twin.run(150, every=10)
    twin.sleep(2)
    twin.set([(("cell", 4), 3700 - fall_mv)])
    twin.run(150, every=10)
    told = twin.rig.engine.state[twin.features["self_discharge"]]
    assert (told > 3000) == (fall_mv == 40)


@pytest.mark.parametrize("levels", [[1000, 900, 800, 700, 650, 640], [1000, 900, 950, 800, 700, 600], [9000] * 5])
def test_insulation_that_falls_over_days_is_measured_the_same(slow_twin_vehicle, levels):
    twin = Twin(slow_twin_vehicle)
    for level in levels:
        twin.set([("insulation", level * 4440 // 10)])
        for _ in range(2):
            twin.run(40, every=10)
            twin.sleep(3)


@pytest.mark.parametrize("dips", [[4] * 6, [4, 4, 4, 7, 4, 4], [1, 2, 3, 4, 5, 6]])
def test_short_dips_of_a_cell_are_counted_the_same_over_days(twin_vehicle, dips):
    twin = Twin(twin_vehicle)
    for k, cell in enumerate(dips):
        twin.set([("cells", 3700 - k)])
        twin.run(50, every=10)
        twin.set([(("cell", cell), 3660 - k)])
        twin.run(20, every=10)
        twin.set([("cells", 3700 - k)])
        twin.run(30, every=10)
        twin.sleep(5)


@pytest.mark.parametrize(
    "packs",
    [[42_000, 44_400], [42_000, 46_500, 42_500, 44_400], [42_400, 42_800, 44_400], [46_800, None, 46_800, 46_400]],
)
def test_a_pack_that_leaves_its_cells_for_some_samples_is_measured_the_same(twin_vehicle, packs):
    twin = Twin(twin_vehicle)
    twin.run(450, every=10)
    for mv in packs:
        twin.set([("pack", mv)])
        twin.run(10, every=10)
    twin.run(130, every=10)


@pytest.mark.parametrize("ddegc", [10, 20, 21, 40])
@pytest.mark.parametrize("held", [10, 20, 50])
def test_probes_that_flicker_or_come_in_steps_rise_the_same(twin_vehicle, ddegc, held):
    twin = Twin(twin_vehicle)
    twin.run(60, every=10)
    for k in range(8):
        twin.set([(("probe", 3), 250 + ddegc * (k % 2)), (("probe", 5), 250 + ddegc * k)])
        twin.run(held, every=10)


STALE_S = (0, 12, 29)


@pytest.mark.long(but=["truth0-29", "truth2-12", "truth5-0", "truth6-29"])
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
def test_a_night_stale_repeats_and_what_was_true_read_the_same(twin_vehicle, stale_s, truth):
    twin = Twin(twin_vehicle)
    twin.run(700, every=10)
    twin.sleep(7)
    if stale_s:
        twin.run(10 * stale_s, every=10)
    twin.set(truth)
    twin.run(200, every=10)


@settings(max_examples=6)
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
def test_what_happens_beside_the_values_is_told_the_same(twin_vehicle, happenings):
    twin = Twin(twin_vehicle)
    twin.run(30)
    for what, scans in happenings:
        twin.happen(what)
        twin.run(scans, every=10)


@pytest.mark.parametrize("over", [True, False])
def test_a_latched_alarm_is_released_by_an_acknowledgement_only(twin_vehicle, over):
    twin = Twin(twin_vehicle)
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


@pytest.mark.parametrize("broken", [("probe", 3), "probes"])
def test_a_probe_that_broke_before_a_night_is_no_fire_after_it(twin_vehicle, broken):
    twin = Twin(twin_vehicle)
    twin.run(50)
    twin.set([(broken, 1250)])
    twin.run(50)
    twin.sleep(7)
    twin.set([("pack", NOMINAL_MV - 500)])
    twin.run(50)
    assert twin.rig.level("thermal_runaway") == 0, "a broken probe was called a fire"
    assert twin.rig.level("probe_fault") == 1, "a night has mended a probe"
