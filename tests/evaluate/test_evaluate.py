"""Rivals that judge as published, episodes counted as said, reasons for those that remain."""

import evaluate
import numpy
import pytest
from cellwarden.core import catalogue
from cellwarden_tools.simulator import DEMO_PROFILE
from cellwarden_tools.simulator.run import simulate
from episodes import Episode, awake_s, episodes, episodes_of_levels, per_100_hours
from page import Page
from rivals import Samples, battery_emulator, ovms, three_sigma
from watch import Frames, watch

NAN = numpy.nan


def samples(cells=(), probes=(), pack=None, series=0):
    """Samples of rows in mV and degC, one a second."""
    n = max(len(cells), len(probes), len(pack or ()))
    cells = numpy.array(cells, float).reshape(n, -1) / 1000
    probes = numpy.array(probes, float).reshape(n, -1)
    pack = numpy.full(n, NAN) if pack is None else numpy.array(pack, float)
    return Samples(numpy.arange(n, dtype=float), cells, probes, pack, series or cells.shape[1])


# --- OVMS ------------------------------------------------------------------------------------------------------------


def test_ovms_warns_20_mv_and_alerts_30_mv_over_sigma():
    # One cell of 101 that is off by d: mean d/101, sigma = d * sqrt(100) / 101, |off| = 100 d / 101, so it stands
    # 90 d / 101 over its sigma: 20 mV at 22.44 mV, 30 mV at 33.67 mV. It is the middle one: no slope.
    def level(d):
        rows = [[3700] * 50 + [3700 + by] + [3700] * 50 for by in [0] * 5 + [d]]
        return ovms(samples(rows)).tolist()[5]

    assert [level(d) for d in (22.4, 22.5, 33.6, 33.7, -22.4, -22.5, -33.7)] == [0, 1, 1, 2, 0, 1, 2]


def test_ovms_judges_nothing_until_five_series_have_come():
    odd = [3700] * 50 + [3740] + [3700] * 50
    assert ovms(samples([odd] * 7)).tolist() == [0, 0, 0, 0, 0, 2, 2]


def test_ovms_rejects_a_series_whose_cells_slope_by_more_than_10_mv():
    # Cells 3700 + k * i: the fitted slope times the number of cells is 101 k.
    def level(k):
        bump = [0] * 50 + [60] + [0] * 50
        rows = [[3700 + k * i for i in range(101)]] * 5 + [[3700 + k * i + bump[i] for i in range(101)]]
        return ovms(samples(rows)).tolist()[5]

    assert level(0.098) == 2, "9.9 mV from end to end"
    assert level(0.100) == 0, "10.1 mV from end to end: torn by the load"


def test_ovms_rejects_a_series_10_mv_of_sigma_over_the_running_mean():
    # sigma of one cell of 101 off by d is 0.0990 d: 9.9 mV at 100, 10.1 mV at 102.
    def level(d):
        return ovms(samples([[3700] * 101] * 5 + [[3700] * 50 + [3700 + d] + [3700] * 50])).tolist()[5]

    assert level(100) == 2
    assert level(102) == 0, "a cell so far off silences the check by its own sigma"


def test_ovms_takes_a_fifth_of_each_accepted_sigma_into_the_mean():
    row = [3700] * 50 + [3799] + [3700] * 50  # sigma 9.80 mV, accepted; the mean is 1.96, 3.53 mV, ... after it
    far = [3700] * 50 + [3815] + [3700] * 50  # sigma 11.39 mV: over 0 + 10, under 1.96 + 10
    flat = [3700] * 101
    assert ovms(samples([flat] * 5 + [far])).tolist()[5] == 0
    assert ovms(samples([flat] * 5 + [row, far])).tolist()[5:] == [2, 2]


def test_ovms_waits_for_every_cell_and_is_muted_by_a_dead_one():
    odd = [3700] * 50 + [3740] + [3700] * 50
    dead = [NAN, *odd[1:]]
    told = ovms(samples([[3700] * 101] * 5 + [dead, dead, odd])).tolist()
    assert told[5:] == [0, 0, 2], "the missing cell completes the series"
    assert not ovms(samples([[3700] * 101] * 5 + [dead] * 50)).any()


def test_ovms_judges_probes_by_2_and_3_kelvin_over_sigma():
    # One probe of 101 off by d stands 90 d / 101 over sigma: 2 K at 2.245, 3 K at 3.367.
    def level(d):
        return ovms(samples(probes=[[25] * 100 + [25 + d]])).tolist()[0]

    assert [level(d) for d in (2.24, 2.25, 3.36, 3.37)] == [0, 1, 1, 2]


# --- Battery-Emulator and three sigma ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "probes", "pack", "level"),
    [
        ([3700, 3849], [25], 400.0, 0),
        ([3700, 3851], [25], 400.0, 1),  # spread over 150 mV
        ([4249, 4249], [25], 400.0, 0),
        ([4250, 4250], [25], 400.0, 1),
        ([4350, 4350], [25], 400.0, 2),  # 100 mV beyond: latched
        ([2951, 2951], [25], 400.0, 0),
        ([2950, 2950], [25], 400.0, 1),
        ([2850, 2850], [25], 400.0, 2),
        ([3700, NAN], [25], 400.0, 0),
        ([NAN, NAN], [NAN], NAN, 0),
        ([3700, 3700], [50.0], 400.0, 0),
        ([3700, 3700], [50.1], 400.0, 1),
        ([3700, 3700], [-25.0], 400.0, 0),
        ([3700, 3700], [-25.1], 400.0, 1),
        ([3700, 3700], [20, 35.0], 400.0, 0),
        ([3700, 3700], [20, 35.1], 400.0, 2),
        ([3700, 3700], [25], 411.0, 0),
        ([3700, 3700], [25], 411.2, 1),
        ([3700, 3700], [25], 280.0, 0),
        ([3700, 3700], [25], 279.8, 1),
    ],
)
def test_battery_emulator_judges_by_its_limits(cells, probes, pack, level):
    assert battery_emulator(samples([cells], [probes], [pack], series=98)).tolist() == [level]


def test_battery_emulator_judges_a_vehicle_without_single_cells_by_its_pack():
    assert battery_emulator(samples(probes=[[20, 22], [20, 22]], pack=[390.0, 420.0], series=98)).tolist() == [0, 1]


def test_three_sigma_needs_eleven_cells_and_flags_the_one():
    # One of n off: it stands sqrt(n - 1) sigma off the mean; more than 3 from n = 11 on.
    for n, level in ((10, 0), (11, 1)):
        assert three_sigma(samples([[3700] * (n - 1) + [3750]])).tolist() == [level]
    assert three_sigma(samples([[3700] * 20])).tolist() == [0], "no spread at all"
    assert three_sigma(samples([[NAN] * 5 + [3700] * 10 + [3750]])).tolist() == [1]


# --- episodes --------------------------------------------------------------------------------------------------------


def event(t, kind, rule="soc_low", level=1, where=0, value=None):
    return {"t": t, "event": kind, "rule": rule, "level": level, "where": where, "value": value, "unit": "%"}


def test_an_episode_lasts_from_raise_to_clear_and_is_as_high_as_it_ever_was():
    told = [
        event(5.0, "raise", level=1, where=3, value=9.5),
        event(7.0, "change", level=3, where=4, value=1.5),
        event(8.0, "change", level=2, where=5, value=3.0),
        event(9.0, "clear", level=0),
    ]
    assert episodes(told, 100) == [Episode("soc_low", 5.0, 9.0, 3, 4, 1.5, "%")]


def test_raised_again_within_a_minute_it_is_the_same_episode():
    told = [event(0, "raise"), event(10, "clear", level=0), event(70, "raise", level=2), event(80, "clear", level=0)]
    assert [(e.begins_s, e.ends_s, e.level) for e in episodes(told, 100)] == [(0, 80, 2)]
    told[2]["t"] = 70.1
    assert [(e.begins_s, e.ends_s, e.level) for e in episodes(told, 100)] == [(0, 10, 1), (70.1, 80, 2)]


def test_rules_do_not_mix_and_what_never_clears_lasts_to_the_end():
    told = [event(0, "raise"), event(1, "raise", rule="hvil_open"), event(2, "clear", rule="hvil_open", level=0)]
    assert [(e.rule, e.begins_s, e.ends_s) for e in episodes(told, 50)] == [("soc_low", 0, 50), ("hvil_open", 1, 2)]


def test_episodes_of_levels_are_counted_the_same_way():
    levels = numpy.array([0, 1, 2, 0, 0, 1, 1])
    told = episodes_of_levels("x", numpy.array([0.0, 1, 2, 3, 62, 64, 65]), levels)
    assert [(e.begins_s, e.ends_s, e.level) for e in told] == [(1, 3, 2), (64, 65, 1)]
    assert not episodes_of_levels("x", numpy.array([]), numpy.array([]))


def test_two_episodes_overlap_where_they_share_a_moment():
    one = Episode("a", 10, 20, 1)
    assert [one.overlaps(Episode("b", *at, 1)) for at in ((0, 9), (0, 10), (15, 16), (20, 30), (21, 30))] == [
        False, True, True, True, False,
    ]  # fmt: skip


def test_hours_awake_leave_out_sleep_and_gaps():
    assert awake_s([0, 1, 2, 3, 13, 14]) == 14, "10 s are still awake at 1 Hz"
    assert awake_s([0, 1, 2, 3, 14, 15]) == 4
    assert awake_s([0, 10, 20, 30, 60, 91, 101]) == 70, "three periods of 10 s are, 31 s are not"
    assert awake_s([5, 5, 4, 5]) == 1, "a clock that steps back adds nothing"
    assert awake_s([]) == awake_s([7]) == 0
    assert per_100_hours(3, 150 * 3600) == 2
    assert per_100_hours(3, 0) == 0


# --- the evaluation --------------------------------------------------------------------------------------------------

EXPECT = {"rule": "soc_low", "level": 2, "from_s": 10, "within_s": 20}


def test_a_fault_is_found_at_its_level_in_its_place_and_in_time():
    def found(t, level=2, rule="soc_low", where=0, wanted=None):
        expect = EXPECT | ({} if wanted is None else {"where": wanted})
        return evaluate.delay([event(t, "raise", rule, level, where)], expect)

    assert [found(t) for t in (9.9, 10, 30, 30.1)] == [None, 0, 20, None]
    assert found(12, level=1) is None and found(12, level=3) == 2
    assert found(12, rule="soc_high") is None
    assert found(12, where=7, wanted=7) == 2 and found(12, where=8, wanted=7) is None


def test_an_episode_is_false_where_nothing_expects_it_or_too_early():
    early, timely, other, allowed = (
        Episode("soc_low", 9.9, 40, 1), Episode("soc_low", 10, 40, 2), Episode("hvil_open", 12, 13, 3),
        Episode("cell_drift", 0, 1, 1),
    )  # fmt: skip
    found = [early, timely, other, allowed]
    assert evaluate.false_episodes(found, [EXPECT], ["cell_drift"], 10) == [early, other]
    assert evaluate.false_episodes(found, [EXPECT], ["cell_drift"], 9) == [other], "the fault was under way"


def test_the_onset_is_the_first_thing_that_goes_wrong():
    assert evaluate.onset({"expect": [EXPECT], "fault": [{"starts_s": 20}, {"starts_s": 7}]}) == 7
    assert evaluate.onset({"expect": [EXPECT], "fault": []}) == 10
    assert evaluate.onset({"expect": [EXPECT], "fault": [{"at_s": [4, 8], "for_s": 1}]}) == 4, "the first of its pulses"
    assert evaluate.onset({"expect": [], "fault": []}) == 0


def test_of_a_rival_only_a_new_alarm_while_one_is_due_counts():
    t_s = numpy.arange(50.0)

    def first(*alarms, begins=10):
        levels = numpy.zeros(50)
        for begin, end in alarms:
            levels[begin:end] = 1
        return evaluate.first_alarm(t_s, levels, [EXPECT], begins)

    assert first((10, 12)) == 0 and first((14, 40)) == 4 and first((30, 31)) == 20
    assert first() is None and first((0, 5)) is None and first((31, 40)) is None
    assert first((5, 40)) is None, "it stood before the fault began"
    assert first((5, 8), (20, 21)) == 10
    assert first((5, 8), (20, 21), begins=5) == 0, "the fault was under way"


def recording(*found):
    return {"name": "car", "episodes": list(found), "zone": None}


def test_every_episode_needs_its_reason_and_every_reason_its_episode(tmp_path):
    path = tmp_path / "explained.toml"
    path.write_text('[[episode]]\nrecording = "car"\nrule = "soc_low"\nat = ["5.0 s"]\nbecause = "it was low"\n')
    low, bms = Episode("soc_low", 5.0, 9.0, 1), Episode("bms_alarm", 1.0, 2.0, 3)
    reasons, complaints = evaluate.explained([recording(low)], path=path)
    assert reasons == {("car", "soc_low", "5.0 s"): "it was low"} and complaints == []
    assert evaluate.explained([recording()], path=path)[1] == ["explains nothing: car soc_low 5.0 s"]
    assert evaluate.explained([recording(low, bms, bms)], path=path)[1] == ["not explained: car bms_alarm"]
    with path.open("a") as file:
        file.write('[[bms]]\nrecording = "car"\nbecause = "it was being charged"\n')
    assert evaluate.explained([recording(low, bms, bms)], path=path)[1] == []
    assert evaluate.explained([recording(low)], path=path)[1] == ["explains nothing: car bms_alarm"]
    later = Episode("soc_low", 6.0, 9.0, 1)
    assert evaluate.explained([recording(low, later, bms)], path=path)[1] == ["not explained: car soc_low 6.0 s"]
    assert evaluate.explained([], path=path)[1] == [], "a recording that was not run complains of nothing"


def test_every_false_alarm_of_a_scenario_needs_its_reason_too(tmp_path):
    path = tmp_path / "explained.toml"
    path.write_text('[[scenario]]\nscenario = "twin"\nrule = "soc_low"\nbecause = "it was low"\n')
    silent = {"name": "twin", "false": []}
    alarmed = {"name": "twin", "false": [("soc_low", 1), ("soc_low", 2)]}
    other = {"name": "twin", "false": [("hvil_open", 3)]}
    assert evaluate.explained([], [silent, alarmed], path) == ({("twin", "soc_low", ""): "it was low"}, [])
    assert evaluate.explained([], [silent], path)[1] == ["explains nothing: twin soc_low"]
    assert evaluate.explained([], [alarmed, other], path)[1] == ["not explained: twin hvil_open"]


def test_less_than_an_hour_has_no_rate():
    assert evaluate.rate(1, 3599.9) is None
    assert evaluate.rate(1, 3600) == "100.0" and evaluate.rate(0, 360_000) == "0.0"


def test_the_explanations_in_the_project_name_known_recordings_and_rules():
    names = {name for name, *_ in evaluate.RECORDINGS} | set(evaluate.scenarios.names())
    reasons, _ = evaluate.explained([])
    for name, rule, at in reasons:
        assert name in names and rule in catalogue.RULES
        assert at or rule == catalogue.BMS or name in evaluate.scenarios.names()
    assert all(len(reason) > 20 for reason in reasons.values())


def test_durations_are_told_in_the_unit_of_the_longest():
    assert evaluate.duration(0.5, 599.0) == "0.5 / 599.0 s"
    assert evaluate.duration(60.0, 600.0) == "1.0 / 10.0 min"
    assert evaluate.duration(7200.0) == "2.0 h"
    assert evaluate.duration(86400.0, 172800.0) == "1.0 / 2.0 d"


def test_moments_are_dates_where_the_log_has_them():
    assert evaluate.stamp(12.34, None) == "12.3 s"
    assert evaluate.stamp(12.34, "UTC") == "12.3 s", "a table whose clock starts at 0"
    assert evaluate.stamp(1620205800.0, "UTC") == "2021-05-05 09:10:00"
    assert evaluate.stamp(1620205800.0, "Asia/Shanghai") == "2021-05-05 17:10:00"


def test_every_rule_belongs_to_a_section_of_the_catalogue():
    assert evaluate.SECTION.keys() == set(catalogue.RULES)
    assert set(evaluate.SECTION.values()) <= set("ABCDE")


def test_what_a_few_silent_hours_prove_is_said():
    # Poisson, 95 % upper bounds from tables: none seen 2.996, one 4.744, two 6.296, ten 16.962.
    assert [round(evaluate.most_likely_below(n), 3) for n in (0, 1, 2, 10)] == [2.996, 4.744, 6.296, 16.962]


def run(name, first, alarmed, false=(), delay=None, after=None, early=(False,) * 4):
    systems = evaluate.SYSTEMS
    return {
        "name": name,
        "false": false,
        "delay": delay,
        "after": after,
        "early": dict(zip(systems, early, strict=True)),
        "first": dict(zip(systems, first, strict=True)),
        "alarmed": dict(zip(systems, alarmed, strict=True)),
    }


def test_the_totals_count_runs_and_pairs(monkeypatch):
    known = {
        "fault": {"expect": [EXPECT], "twin_of": "", "section": "A"},
        "lost": {"expect": [EXPECT | {"rule": "signal_lost"}], "twin_of": "", "section": "C"},
        "twin": {"expect": [], "twin_of": "soc_low", "section": "A"},
        "lone": {"expect": [], "twin_of": "soc_high", "section": "A"},
        "healthy": {"expect": [], "twin_of": "", "section": "A"},
    }
    monkeypatch.setattr(evaluate.scenarios, "load", known.__getitem__)
    runs = [
        run("fault", (15.0, 3.0, None, 1.0), (False,) * 4, delay=5.0, after=7.0),
        run("fault", (16.0, None, None, 1.0), (False,) * 4, delay=6.0, after=9.0, early=(False, False, False, True)),
        run("twin", (None,) * 4, (False, False, False, True)), run("twin", (None,) * 4, (False, False, False, True)),
        run("lone", (None,) * 4, (False,) * 4),
        run("healthy", (None,) * 4, (True, False, False, True), false=[("soc_low", 1)] * 2),
        run("lost", (1.0, None, None, None), (False,) * 4, delay=1.0, after=1.0),
    ]  # fmt: skip
    page = Page()
    totals = evaluate.scenario_tables(page, runs, {("healthy", "soc_low", ""): "it was low"})
    assert [(totals[s]["found"], totals[s]["faults"]) for s in evaluate.SYSTEMS] == [(2, 2), (1, 2), (0, 2), (2, 2)]
    assert [(totals[s]["alarmed"], totals[s]["innocent"]) for s in evaluate.SYSTEMS] == [(1, 4), (0, 4), (0, 4), (3, 4)]
    assert [(totals[s]["told apart"], totals[s]["pairs"]) for s in evaluate.SYSTEMS] == [(1, 1), (0, 1), (0, 1), (0, 1)]
    assert (
        "| fault | soc_low 2 | 0 | 2 of 2 | 8.0 / 9.0 s | 5.5 / 6.0 s | 1 of 2 | 0 of 2 | 2 of 2, 1 before "
        "| 15.5 s | 3.0 s | - | 1.0 s |"
    ) in page.text()
    assert [(totals[s]["found C"], totals[s]["faults C"]) for s in evaluate.SYSTEMS] == [(1, 1), (0, 1), (0, 1), (0, 1)]
    assert "| healthy | soc_low | 1 | 2 | it was low |" in page.text()
    assert [totals[s]["early"] for s in evaluate.SYSTEMS] == [0, 0, 0, 1]
    assert "| healthy | - | - | 2 | 1 of 1 | 0 of 1 | 0 of 1 | 1 of 1 |" in page.text()


@pytest.mark.numba
def test_samples_are_what_the_vehicle_said_once_a_second_and_events_those_of_a_replay():
    seen = watch(DEMO_PROFILE, Frames(simulate("cell_under", DEMO_PROFILE, 1, 1.75)))
    assert seen.samples.t_s.tolist() == list(range(105))
    assert seen.samples.cells_v.shape == (105, 96) and seen.samples.probes_degc.shape == (105, 24)
    assert seen.samples.cells_v[95, 32] == pytest.approx(2.875, abs=0.04), "2.90 V at 90 s, 2.75 V at 120 s"
    assert numpy.nanmin(seen.samples.cells_v[95]) == seen.samples.cells_v[95, 32]
    assert seen.samples.pack_v[50] == pytest.approx(seen.samples.cells_v[50].sum(), rel=0.01)
    raised = [e for e in seen.events if e["rule"] == "cell_undervoltage"]
    assert [(e["level"], e["where"]) for e in raised] == [(1, 33)]
    assert seen.level[95] >= 1 and not seen.level[:60].any()
    assert seen.end["frames"] == sum(1 for _ in simulate("cell_under", DEMO_PROFILE, 1, 1.75))
