"""What the simulator's scenarios really say, measured from their frames by cantools."""

import statistics
from collections import defaultdict
from itertools import pairwise

import cantools
import pytest
from cellwarden.core.layout import NOTICE, NOTICE_BUS_OFF, NOTICE_DROPPED
from cellwarden_tools.compiler.profile import load_profile
from cellwarden_tools.simulator import DEMO_PROFILE, scenarios
from cellwarden_tools.simulator.cells import CAPACITY_AH, OCV_AT, OCV_MV, curve
from cellwarden_tools.simulator.run import profile_of, simulate

EXT = 1 << 29
CELLS, PROBES = range(1, 97), range(1, 25)
DATABASE = cantools.database.load_file(DEMO_PROFILE.with_suffix(".dbc"))
MESSAGES = {message.frame_id | EXT * message.is_extended_frame: message for message in DATABASE.messages}
BMS = {"PackStatus", "Status", "Insulation", "Cells", "Temps", "BmsInfo"}
IDS = {message.name: can_id for can_id, message in MESSAGES.items()}


NEEDED = {f"Cell{n}" for n in CELLS} | {f"Probe{n}" for n in PROBES} | {"SOC", "HVIL"}


class Moment(dict):
    """The latest decoded signals. Cells in mV and probes in degC, None where there is no value."""

    t_s = 0.0

    def cells(self):
        told = [self.get(f"Cell{n}") for n in CELLS]
        return [None if volts is None or not 0.5 <= volts < 4.999 else 1000 * volts for volts in told]

    def probes(self):
        told = [self.get(f"Probe{n}") for n in PROBES]
        return [None if degc is None or degc > 200 else degc for degc in told]

    def lower(self, cell):
        """mV of a cell under the middle one."""
        cells = self.cells()
        return statistics.median(mv for mv in cells if mv is not None) - cells[cell - 1]


def moments(name, every_s=1.0, minutes=None):
    """Yield a Moment each `every_s` seconds, always the same object, once every cell has been heard."""
    now, due_us, waiting = Moment(), 0, {}
    for t_us, _, can_id, data in simulate(name, minutes=minutes):
        if can_id not in MESSAGES or MESSAGES[can_id].name not in BMS:
            continue
        # The last frame of each page is enough.
        page = data[0] & 31 if MESSAGES[can_id].name == "Cells" else data[0] & 3 if can_id == IDS["Temps"] else 0
        waiting[can_id, page] = data
        if t_us >= due_us:
            for (sent, _), last in waiting.items():
                now.update(MESSAGES[sent].decode(last, decode_choices=False))
            waiting.clear()
            now.t_s = t_us / 1e6
            if NEEDED <= now.keys():
                yield now
                due_us = max(due_us, t_us - 1) + int(every_s * 1e6)


def frames_of(name, message, minutes=None):
    """(t_s, decoded) of each frame of a message."""
    can_id = IDS[message]
    for t_us, _, sent, data in simulate(name, minutes=minutes):
        if sent == can_id:
            yield t_us / 1e6, MESSAGES[sent].decode(data, decode_choices=False)


# The pack


@pytest.mark.parametrize("chemistry", sorted(OCV_MV))
def test_the_voltage_curve_goes_through_its_points_and_never_falls(chemistry):
    table = curve(chemistry)
    assert [table[x] for x in OCV_AT] == pytest.approx(OCV_MV[chemistry])
    assert all(low <= high for low, high in pairwise(table))


def test_four_ohms_inside_a_cell_draw_the_charge_that_ohms_law_says():
    told = {"before": [], "after": []}
    for now in moments("soft_short_overnight", 10):
        told["before" if now.t_s < 190 else "after"].append(now.lower(77))
    fell_mv = statistics.median(told["after"][3:]) - statistics.median(told["before"])
    lost_permille = 1000 * 3.87 / 4 * 10 / CAPACITY_AH
    table = curve("nmc")
    assert fell_mv == pytest.approx(table[700] - table[700 - round(lost_permille)], rel=0.05)


@pytest.mark.long
def test_a_slow_leak_moves_a_cell_by_a_millivolt_a_day():
    days = {}
    for now in moments("cell_drifts", 300, 40 * 1440):
        days.setdefault(int(now.t_s // 86400), []).append(now.lower(58))
    means = {day: statistics.mean(told) for day, told in days.items()}
    assert means[4] == pytest.approx(means[0], abs=1), "it has not begun"
    assert (means[39] - means[5]) / 34 == pytest.approx(1, abs=0.15)


def test_a_micro_short_is_a_dip_of_seconds_that_comes_back():
    low = [now.t_s for now in moments("micro_shorts", 0.5, 6) if 30 < now.lower(70) < 60]
    assert len(low) == pytest.approx(5 * 6, abs=6)
    assert all(any(0 <= t - at < 4 for at in (120, 165, 210, 255, 300)) for t in low)


def test_a_grown_joint_costs_what_its_ohms_say():
    drops = [
        now.lower(36) / -now["Current"] for now in moments("joint_loosens") if now.t_s > 620 and now["Current"] < -100
    ]
    assert len(drops) > 50
    assert statistics.median(drops) == pytest.approx(1, abs=0.1), "mV per A is mohm"


def test_a_broken_sampling_line_moves_two_neighbours_by_opposite_amounts():
    told = [(now.lower(40), now.lower(41)) for now in moments("sense_line_breaks") if now.t_s > 95]
    assert all(upper < -30 and abs(upper + lower) < 15 for upper, lower in told)


# The fire


@pytest.mark.parametrize("name", ["hard_short_burns", "burns_while_charging", "hard_short_burns_parked"])
def test_a_hard_short_ends_in_a_fire_that_has_the_signs_of_the_standard_and_that_probes_can_follow(name):
    first, probes, lost, highest, steepest = {}, None, 0, 0, 0
    for now in moments(name):
        cells = now.cells()
        valid = [mv for mv in cells if mv is not None]
        if min(valid) < 0.75 * statistics.median(valid):
            first.setdefault("a", now.t_s)
        before, probes = probes, now.probes()
        if before:
            steps = [b - a for a, b in zip(before, probes, strict=True) if None not in (a, b)]
            steepest = max(steepest, *steps)
        highest = max(highest, max(degc for degc in probes if degc is not None))
        if highest >= 60:
            first.setdefault("b", now.t_s)
        lost = max(lost, cells.count(None))
        last = now["Voltage"]
    assert first["a"] > 60 < first["b"]
    assert 1 <= steepest <= 20
    assert highest == 125, "and the sensor reads no more"
    assert lost >= 12, "the measuring board goes with it"
    assert last < 0.998 * sum(valid) / len(valid) * 96 / 1000, "a cell that burns has no voltage"


def test_a_fire_takes_its_neighbours_one_by_one():
    falls, before = [], None
    for now in moments("hard_short_burns", 10):
        if before and before - now["Voltage"] > 2:
            falls.append(now.t_s)
        before = now["Voltage"]
    assert len(falls) >= 3
    assert min(b - a for a, b in pairwise(falls)) >= 10


# Asleep


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in scenarios.names() if scenarios.load(name)["sleep"]])
def test_a_sleeping_bus_is_silent(name):
    told = scenarios.load(name)
    minutes = min(told["minutes"], 4320)
    sleeps = []
    for sleep in scenarios.asleep(told):
        if sleep[0] >= 60 * minutes:
            break
        sleeps.append(sleep)
    awake = set()
    for t_us, *_ in simulate(name, minutes=minutes):
        inside = next((n for n, (first, end, _) in enumerate(sleeps) if first <= t_us / 1e6 < end), None)
        assert inside is None
        awake.add(sum(end <= t_us / 1e6 for _, end, _ in sleeps))
    assert len(awake) >= len(sleeps)


def test_after_waking_old_values_come_under_new_counters_and_then_the_truth():
    wakes, counters, soc = 7320, [], defaultdict(set)
    for t_s, told in frames_of("wakes_stale_and_cooler", "PackStatus"):
        soc["before" if t_s < 120 else "stale" if t_s < wakes + 9.8 else "true" if t_s > wakes + 10.2 else ""].add(
            told["SOC"]
        )
        if wakes <= t_s < wakes + 10:
            counters.append(told["Counter"])
    assert len(soc["stale"]) == 1 and soc["stale"] <= soc["before"]
    assert max(soc["true"]) == pytest.approx(max(soc["stale"]) - 4, abs=0.3)
    assert counters == [n % 16 for n in range(len(counters))]


# On the wire


def test_a_terminal_fills_its_table_step_by_step():
    missing = {round(now.t_s): now.cells().count(None) for now in moments("table_fills", 1.0)}
    assert [missing[t] for t in (2, 4, 6, 9, 11, 14)] == [46, 41, 36, 26, 12, 0]


def test_the_voltage_behind_the_contactors_is_gone_before_they_say_so():
    told = [(t_s, row["Contactors"]) for t_s, row in frames_of("contactors_open", "Status", 1.5)]
    opened = next(t_s for t_s, closed in told if not closed)
    volts = [
        row["Voltage"] for t_s, row in frames_of("contactors_open", "PackStatus", 1.5) if opened - 0.25 < t_s < opened
    ]
    assert 0 < min(volts) < 330


def test_a_controller_off_the_bus_says_so_and_hears_nothing():
    told = [(t_us, can_id, data) for t_us, _, can_id, data in simulate("bus_off") if can_id >> 30]
    assert [(can_id, data) for _, can_id, data in told] == [
        (NOTICE | NOTICE_BUS_OFF, b"\1"),
        (NOTICE | NOTICE_BUS_OFF, b"\0"),
    ]
    assert [t_us / 1e6 for t_us, *_ in told] == pytest.approx([60, 66], abs=0.02)
    assert not [t for t, _, can_id, _ in simulate("bus_off") if 60_000_000 <= t < 66_000_000 and not can_id >> 30]


def test_a_controller_that_overruns_loses_a_third_and_says_so():
    whole, kept, notices = 0, 0, []
    for t_us, _, can_id, _ in simulate("controller_overruns"):
        if can_id == NOTICE | NOTICE_DROPPED:
            notices.append(t_us / 1e6)
        elif 60e6 <= t_us < 90e6:
            kept += 1
        elif 20e6 <= t_us < 50e6:
            whole += 1
    assert kept / whole == pytest.approx(0.7, abs=0.02)
    assert 60 <= notices[0] < notices[-1] < 90 and len(notices) > 200


@pytest.mark.parametrize(
    ("name", "message"),
    [("counter_stands_still", "PackStatus"), ("checksum_wrong", "PackStatus"), ("frames_too_short", "PackStatus")],
)
def test_a_fault_of_frames_is_there_for_its_time_and_only_in_its_message(name, message):
    wrong, counts = defaultdict(list), {}
    for t_us, _, can_id, data in simulate(name):
        told = MESSAGES[can_id]
        if not any(signal.name == "CRC" for signal in told.signals):
            continue
        if len(data) < told.length:
            wrong["short", told.name].append(t_us)
            continue
        row = told.decode(data, decode_choices=False)
        at = told.get_signal_by_name("CRC").start // 8
        value = 0xFF
        for byte in data[:at] + data[at + 1 :]:
            value ^= byte
            for _ in range(8):
                value = (value << 1 ^ 0x1D if value & 0x80 else value << 1) & 0xFF
        if value ^ 0xFF != row["CRC"]:
            wrong["sum", told.name].append(t_us)
        if can_id in counts and row["Counter"] == counts[can_id]:
            wrong["counter", told.name].append(t_us)
        counts[can_id] = row["Counter"]
    kind = {"counter_stands_still": "counter", "checksum_wrong": "sum", "frames_too_short": "short"}[name]
    assert set(wrong) == {(kind, message)}
    times = wrong[kind, message]
    assert len(times) == pytest.approx(200, abs=2)
    assert 60e6 <= times[0] and times[-1] < 80.2e6


def test_a_clock_that_is_set_back_goes_on_from_there():
    times = [t_us for t_us, *_ in simulate("clock_set_back")]
    back = [a - b for a, b in pairwise(times) if b < a]
    assert len(back) == 1 and back[0] / 1e6 == pytest.approx(5, abs=0.02)
    assert times[-1] / 1e6 == pytest.approx(115, abs=0.1)


def test_frozen_cells_stay_while_the_current_moves():
    vectors, currents = set(), []
    for now in moments("cells_frozen"):
        if now.t_s > 62:
            vectors.add(tuple(now.cells()))
            currents.append(now["Current"])
    assert len(vectors) == 1
    assert max(currents) - min(currents) > 50


# Innocent twins stay inside the limits of section A, and show what makes them look guilty.


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "looks"),
    [
        ("hard_launch_low_soc", lambda now: min(now.cells()) < 3300),
        ("regen_at_high_soc", lambda now: now["Current"] > 20 and max(now.cells()) > 4100),
        ("cold_start", lambda now: max(now.probes()) < -10 and max(now.cells()) - min(now.cells()) > 50),
        ("hot_day", lambda now: min(now.probes()) > 44),
        ("fast_charge_heats", lambda now: max(now.probes()) > 27),
        ("charge_to_full", lambda now: max(now.cells()) > 4170 and now["Current"] > 3),
        ("torn_samples", lambda now: abs(sum(now.cells()) / 1000 - now["Voltage"]) > 1.5),
        ("heater_warms", lambda now: now.t_s > 300 and min(now.probes()) > 8),
        ("supply_ripples", lambda now: max(now.cells()) - min(now.cells()) > 30),
        ("pack_discharged_overnight", lambda now: statistics.median(now.cells()) < 3840),
        ("one_weak_cell", lambda now: now["Current"] == 0 and 28 < now.lower(17) < 40),
    ],
)
def test_a_twin_looks_guilty_and_stays_inside_every_limit(name, looks):
    seen = False
    for now in moments(name):
        cells, probes = now.cells(), now.probes()
        assert None not in cells and None not in probes
        assert 2900 < min(cells) and max(cells) < 4250
        assert max(cells) - min(cells) < 300
        assert max(probes) < 55 and max(probes) - min(probes) < 12
        assert 10 < now["SOC"] < 101
        seen |= bool(looks(now))
    assert seen


# The slow vehicle


def test_the_gateways_profile_is_the_packs_but_for_its_name_and_its_periods():
    plain, slow = (load_profile(DEMO_PROFILE.with_name(f"{name}.toml")) for name in ("demo_pack", "demo_gateway"))
    shown = [
        (b.quantity, b.index, b.message.name, b.signal.name, b.factor, b.offset, b.codes, b.invalid)
        for b in plain.bindings
    ]
    assert shown == [
        (b.quantity, b.index, b.message.name, b.signal.name, b.factor, b.offset, b.codes, b.invalid)
        for b in slow.bindings
    ]
    assert plain.limits == slow.limits
    assert {k: v for k, v in plain.vehicle.items() if k != "name"} == {
        k: v for k, v in slow.vehicle.items() if k != "name"
    }
    for key, trust in plain.trust.items():
        beside = slow.trust[key]
        assert getattr(trust.counter, "name", None) == getattr(beside.counter, "name", None)
        assert trust.checksum_kind == beside.checksum_kind


@pytest.mark.parametrize("name", ["cell_drifts", "insulation_falls_for_a_week"])
def test_a_story_of_weeks_is_a_small_log(name):
    told = scenarios.load(name)
    assert profile_of(told).name == "demo_gateway.toml"
    assert sum(1 for _ in simulate(name)) < 300_000
