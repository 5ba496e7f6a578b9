"""Trust in the data and thermal runaway, rule by rule from what the other features say: the core beside a telling.

The telling keeps times at which something was seen, and asks of each scan how long ago that was; it holds no timer.
"""

import random
from types import SimpleNamespace

import pytest
from cellwarden.core import layout as L
from cellwarden.core.hazards import hazards
from rig import Loaded, Rig, changed

NA = L.NA
SCAN_MS = 100
HOT, FLOOR, INSULATION_FLOOR, MISMATCH, STEP = 600, 2500, 100, 15, 10_000
# Which features are known of the cells, the probes and the pack voltage; the others need only that something comes.
OF_CELLS = (
    L.F_TRANSIENTS, L.F_DRIFT_MV, L.F_SELF_DISCHARGE_UV_PER_H, L.F_CONTACT_UOHM, L.F_CELLS_GONE, L.F_CELLS_ABSENT,
    L.F_SENSE_LINE_MV, L.F_FROZEN_S,
)  # fmt: skip
OF_PROBES = (L.F_RISE_MK_PER_S, L.F_PROBE_FAULTS)
OF_ANYTHING = (
    L.F_INSULATION_H, L.F_SIGNAL_LOST, L.F_COUNTER_WRONG, L.F_CHECKSUM_WRONG, L.F_MALFORMED, L.F_DROPPED, L.F_BUS_OFF,
    L.F_BACKWARD, L.F_COUNT_DIFFERS, L.F_RUNAWAY, L.F_SUSPECTED,
)  # fmt: skip


def quiet_pack():
    """What a healthy pack shows; one name for each thing that this part of the core looks at."""
    return SimpleNamespace(
        on=1, charging=0, fresh=9, lost=0, mode=L.DRIVING, wrong=[0, 0, 0], sums=[0, 0, 0], malformed=0, backward=0,
        dropped=0, bus_off=0, cell_count=6, probe_count=6, absent=0, age_ms=60_000, slept=0, missing=0, dead=0,
        probes_dead=0, cells_lost=0, probes_lost=0, lowest=3700, highest=3700, hottest=250, reference=3700,
        reference_before=3700, steep=0, step=0, insulation=2000, mismatch=0, pack=22_200,
    )  # fmt: skip


class HazardRig(Rig):
    """A Rig whose other features are written by hand: `put` what they say, then `judge` one scan."""

    def put(self, s):
        c, f, g = self.clock, self.features, self.signals
        g[L.VEHICLE_ON], g[L.CHARGING], g[L.CELL_COUNT], g[L.PROBE_COUNT] = (
            s.on,
            s.charging,
            s.cell_count,
            s.probe_count,
        )
        g[L.PACK_VOLTAGE_MV] = s.pack
        c[L.LOST], c[L.MODE], c[L.MALFORMED], c[L.TIME_BACKWARD] = s.lost, s.mode, s.malformed, s.backward
        c[L.DROPPED], c[L.BUS_OFF], c[L.AGE_MS], c[L.SLEPT] = s.dropped, s.bus_off, s.age_ms, s.slept
        c[L.CELLS_MISSING], c[L.STEEP] = s.missing, s.steep
        c[L.REFERENCE_MV], c[L.REFERENCE_BEFORE_MV] = s.reference, s.reference_before
        c[L.COUNTER_ERRORS], c[L.CHECKSUM_ERRORS] = sum(s.wrong), sum(s.sums)
        for i, (wrong, sums) in enumerate(zip(s.wrong, s.sums, strict=True)):
            row = (0, 1, len(self.messages) // L.MESSAGE_SIZE - 1)[i] * L.MESSAGE_SIZE  # the last one too
            self.messages[row + L.WRONG], self.messages[row + L.CHECKSUM_WRONG] = wrong, sums
        self.rules[L.LEVEL_NOW], self.rules[L.ASSERT_MS] = 3, 700  # they stand right behind the messages
        f[L.F_CELLS_ABSENT], f[L.F_CELLS_DEAD], f[L.F_PROBES_DEAD] = s.absent, s.dead, s.probes_dead
        f[L.F_CELLS_LOST], f[L.F_PROBES_LOST] = s.cells_lost, s.probes_lost
        f[L.F_CELL_MIN_MV], f[L.F_CELL_MAX_MV], f[L.F_PROBE_MAX_DDEGC] = s.lowest, s.highest, s.hottest
        f[L.F_PACK_STEP_MV], f[L.F_INSULATION_OHM_PER_V], f[L.F_SUM_MISMATCH_PERMILLE] = (
            s.step,
            s.insulation,
            s.mismatch,
        )
        for feature, where in ((L.F_CELLS_DEAD, 4), (L.F_PROBES_DEAD, 5), (L.F_CELL_MIN_MV, 2)):
            f[L.WHERE + feature], f[L.SLOT + feature] = where, 40 + where

    def judge(self, s):
        self.put(s)
        state, params, _, _ = self.engine.box
        return hazards(7, 9, state, params, s.fresh)  # what is passed for the two registers is no input

    def told(self):
        """{what: value} of everything that it says."""
        f = self.features
        read = {name: f[number] for name, number in vars(L).items() if name in TOLD}
        read |= {f"where {n}": f[L.WHERE + n] for n in (L.F_CELLS_GONE, L.F_PROBE_FAULTS, L.F_RUNAWAY)}
        read |= {f"slot {n}": f[L.SLOT + n] for n in (L.F_CELLS_GONE, L.F_PROBE_FAULTS, L.F_COUNT_DIFFERS)}
        read["still"] = self.clock[L.ABSENT_MS]
        read["lost"] = [self.clock[at] for at in (L.GONE_BEFORE, L.GONE_SINCE, L.GONE_MS)]
        complete = (*OF_CELLS, *OF_PROBES, *OF_ANYTHING, L.F_SUM_MISMATCH_PERMILLE)
        return read | {f"complete {n}": f[L.COMPLETE + n] for n in complete}


TOLD = {
    "F_SIGNAL_LOST", "F_COUNTER_WRONG", "F_CHECKSUM_WRONG", "F_MALFORMED", "F_BACKWARD", "F_DROPPED", "F_BUS_OFF",
    "F_COUNT_DIFFERS", "F_CELLS_ABSENT", "F_CELLS_GONE", "F_PROBE_FAULTS", "F_RUNAWAY", "F_SUSPECTED",
}  # fmt: skip


class Told:
    """The page, told by times: scan(t_ms, what is seen) -> {what: value}, and whether a timer runs."""

    def __init__(self, image, sent_on=True, sent_charging=True):
        self.image, self.sent_on, self.sent_charging = image, sent_on, sent_charging
        self.known = {"on": 0, "charging": 0}
        self.counts, self.last = {"malformed": 0, "backward": 0, "dropped": 0}, {}
        self.shown = {}
        self.absent_before, self.still_since = 0, None
        self.starts, self.opened = [0, 0], None

    def recent(self, name, count, t):
        if count != self.counts[name]:
            self.counts[name], self.last[name] = count, t
        return int(name in self.last and t - self.last[name] < 5000)

    def newly_lost(self, dead, t):
        """More than at the older of two starts; each start is as old as the first loss since, ten seconds at most."""
        self.starts = [min(start, dead) for start in self.starts]
        gone = dead - self.starts[0]
        if not gone:
            self.opened = None
        elif self.opened is None:
            self.opened = t
        elif t - self.opened >= 10_000:
            self.starts, self.opened = [self.starts[1], dead], t + SCAN_MS
        return gone

    def scan(self, t, s):
        told = {}
        for name in ("on", "charging"):
            if getattr(s, name) != NA:
                self.known[name] = getattr(s, name)
        active = any(self.known.values()) if self.sent_on or self.sent_charging else s.fresh > 0
        silent = 2 if s.lost or s.mode == L.ASLEEP else 0
        told["F_SIGNAL_LOST"] = (int(s.lost > 0) if s.fresh else silent) if active else 0
        told["F_COUNTER_WRONG"], told["F_CHECKSUM_WRONG"] = max(s.wrong), max(s.sums)
        told["F_MALFORMED"] = self.recent("malformed", s.malformed, t)
        told["F_BACKWARD"] = self.recent("backward", s.backward, t)
        told["F_DROPPED"] = self.recent("dropped", s.dropped, t)
        told["F_BUS_OFF"] = int(s.bus_off > 0)
        pairs = [(n, 6) for n in (s.cell_count, s.probe_count) if n != NA]
        told["F_COUNT_DIFFERS"] = int(any(n != wanted for n, wanted in pairs)) if pairs else NA
        told[f"slot {L.F_COUNT_DIFFERS}"] = L.PROBE_COUNT if s.cell_count == NA else L.CELL_COUNT

        if s.absent < self.absent_before or not self.absent_before or self.still_since is None:
            self.still_since = t
        self.absent_before = s.absent
        waited = t - self.still_since >= 30_000 and s.age_ms >= 30_000
        told["F_CELLS_ABSENT"] = s.absent if waited else 0
        told["still"] = min(t - self.still_since, 30_000)

        gone = self.newly_lost(s.dead, t)
        told["lost"] = [*self.starts, 0 if self.opened is None else t - self.opened + SCAN_MS]
        reference = max(s.reference, s.reference_before) if self.image.params[L.P_CELLS] else s.highest
        signs = {
            "fell": NA not in (s.lowest, reference) and s.lowest < 0.75 * reference,
            "hot": s.hottest != NA and s.hottest >= HOT, "steep": s.steep, "step": s.step != NA and s.step >= STEP,
            "insulation": s.insulation != NA and s.insulation <= INSULATION_FLOOR, "probes": s.probes_dead > 0,
            "four": gone >= 4,
        }  # fmt: skip
        # A sign that is seen now comes of what is fresh, so the next scan runs anyway.
        running = any(t - seen < 30_000 for seen in self.shown.values())
        self.shown |= {name: t for name, seen in signs.items() if seen}

        def on(name):
            return name in self.shown and t - self.shown[name] < 30_000

        low = s.lowest != NA and s.lowest <= FLOOR
        second = (s.mismatch != NA and s.mismatch >= MISMATCH) or low or on("hot") or on("step")
        told["F_CELLS_GONE"] = (2 if second else 1) if s.dead else 0
        if told["F_CELLS_GONE"] == 2:
            self.shown["cells"] = t
        told[f"where {L.F_CELLS_GONE}"], told[f"slot {L.F_CELLS_GONE}"] = (4, 44) if s.dead else (0, L.ALWAYS)
        told["F_PROBE_FAULTS"] = s.probes_dead
        told[f"where {L.F_PROBE_FAULTS}"], told[f"slot {L.F_PROBE_FAULTS}"] = (
            (5, 45) if s.probes_dead else (0, L.ALWAYS)
        )

        first_true = s.slept and s.age_ms < 60_000
        runaway = (
            ((on("fell") or on("hot")) and on("steep"))
            or (on("fell") and on("hot"))
            or (on("fell") and on("four"))
            or (on("hot") and on("step"))
            or (s.hottest != NA and s.hottest > 800)
            or (on("probes") and (on("fell") or gone >= 2))
            or (on("hot") and first_true and (s.missing >= 4 or low))
        )
        told["F_RUNAWAY"] = int(bool(runaway))
        told[f"where {L.F_RUNAWAY}"] = 2 if runaway and on("fell") else 0
        signs = [on(name) for name in ("fell", "hot", "steep", "step", "cells", "insulation")]
        told["F_SUSPECTED"] = int(sum(signs) >= 2)

        cells, probes = s.fresh and s.cells_lost == s.dead, s.fresh and s.probes_lost == s.probes_dead
        told |= {f"complete {n}": int(bool(s.fresh)) for n in OF_ANYTHING}
        told |= {f"complete {n}": int(bool(cells)) for n in OF_CELLS}
        told |= {f"complete {n}": int(bool(probes)) for n in OF_PROBES}
        told[f"complete {L.F_SUM_MISMATCH_PERMILLE}"] = int(bool(cells and s.pack != NA))
        running = running or told["F_MALFORMED"] or told["F_BACKWARD"] or told["F_DROPPED"]
        return told, bool(running)


HOLD = (1, 1, 1, 2, 3, 9, 48, 49, 50, 51, 98, 99, 100, 101, 102, 103, 198, 199, 200, 201, 202, 203, 298, 299, 300, 301)
NEAR = {
    "on": (0, 1, NA), "charging": (0, 1, NA), "fresh": (0, 1, 9), "lost": (0, 0, 1, 2),
    "mode": (L.UNKNOWN, L.DRIVING, L.PARKED, L.ASLEEP), "bus_off": (0, 0, 1, 2, 128),
    "cell_count": (0, 5, 6, 6, 7, NA), "probe_count": (0, 5, 6, 6, 7, NA), "absent": (0, 1, 1, 2, 3),
    "age_ms": (0, 29_900, 30_000, 30_100, 59_900, 60_000), "slept": (0, 1), "missing": (0, 3, 4, 5),
    "dead": (0, 1, 2, 3, 4, 5, 6), "probes_dead": (0, 0, 1, 2), "cells_lost": (0, 1, 2, 3, 4),
    "probes_lost": (0, 1, 2), "lowest": (NA, 0, 3700, 2775, 2774, 2776, 2501, 2500, 2499, 2625, 2624),
    "highest": (NA, 3700, 3500), "hottest": (NA, -100, 250, 599, 600, 601, 800, 801), "reference": (3700, 3500, 0),
    "reference_before": (3700, 3500, 0), "steep": (0, 0, 1), "step": (NA, 0, 9999, 10_000),
    "insulation": (NA, 0, 99, 100, 101, 2000), "mismatch": (NA, 0, 14, 15, 16), "pack": (NA, 22_200, 0),
}  # fmt: skip
QUIET = vars(quiet_pack())


def happen(rng, s):
    """One thing changes: to a value at which something is decided, or back to what a healthy pack shows."""
    name = rng.choice((*NEAR, "wrong", "sums", "malformed", "backward", "dropped", "quiet"))
    if name in ("wrong", "sums"):
        getattr(s, name)[rng.randrange(3)] = rng.choice((0, 0, 1, 4, 5))
    elif name in ("malformed", "backward", "dropped"):
        setattr(s, name, (getattr(s, name) + rng.choice((1, 2))) & L.MASK)
    elif name == "quiet":
        counts = {count: getattr(s, count) for count in ("malformed", "backward", "dropped")}
        vars(s).update(vars(quiet_pack()) | counts)
    else:
        setattr(s, name, rng.choice((*NEAR[name], QUIET[name])))


VEHICLES = {
    "sends all": {}, "says not whether it charges": {"sent_charging": False}, "says not whether it is on":
    {"sent_on": False}, "says neither": {"sent_on": False, "sent_charging": False}, "extremes only": {"cells": 0},
}  # fmt: skip


@pytest.mark.parametrize("vehicle", VEHICLES)
@pytest.mark.parametrize("seed", range(16))
def test_whatever_the_other_features_say_is_judged_as_the_page_says(small, vehicle, seed):
    rng = random.Random(f"{vehicle} {seed}")
    about = dict(VEHICLES[vehicle])
    header = {} if "cells" not in about else {L.P_CELLS: about.pop("cells")}
    sent = small.image.params[L.P_SENT]
    for name, bit in (("sent_on", L.VEHICLE_ON), ("sent_charging", L.CHARGING)):
        sent = sent & ~(1 << bit) | about.get(name, True) << bit
    rig = HazardRig(changed(small.image, header={L.P_SENT: sent}))
    for column, value in header.items():
        rig.engine.box[1][column] = value
    told = Told(SimpleNamespace(params=rig.engine.box[1]), **about)
    if seed % 4 == 3:
        state, params, *rest = rig.engine.box
        rig.engine.box = [Loaded(state), Loaded(params), *rest]
    s = quiet_pack()
    t = 0
    for _ in range(16):
        for _ in range(rng.choice((1, 1, 2, 3, 5))):
            happen(rng, s)
        for _ in range(rng.choice(HOLD)):
            expected, running = told.scan(t, s)
            moved = rig.judge(s)
            assert {name: value for name, value in rig.told().items() if expected[name] != value} == {}, (
                f"at {t} ms, {s}: {expected}"
            )
            assert bool(moved) == running, f"at {t} ms: time in which a timer runs would be passed over"
            t += SCAN_MS


def test_what_is_as_complete_as_before_is_not_written_again(small):
    """Thirty stores are what a scan in which nothing changed must not cost."""
    rig, s = HazardRig(small.image), quiet_pack()
    rig.judge(s)
    rig.features[L.COMPLETE + L.F_RUNAWAY] = 7
    rig.judge(s)
    assert rig.features[L.COMPLETE + L.F_RUNAWAY] == 7
    s.pack = NA
    rig.judge(s)
    assert rig.features[L.COMPLETE + L.F_RUNAWAY] == 1


SIGN = {
    name: L.SIGN_MS + n
    for n, name in enumerate(("fell", "hot", "steep", "step", "cells", "insulation", "probes", "four"))
}


@pytest.mark.parametrize("column, most_ms", [
    (L.MALFORMED_MS, 5000), (L.BACKWARD_MS, 5000), (L.DROPPED_MS, 5000), *((at, 30_000) for at in SIGN.values()),
])  # fmt: skip
def test_what_was_seen_is_kept_for_its_time_and_no_millisecond_longer(small, column, most_ms):
    for past_ms, kept in ((0, most_ms), (1, 0)):
        rig, s = HazardRig(small.image), quiet_pack()
        rig.clock[column] = most_ms - SCAN_MS + past_ms
        assert bool(rig.judge(s)) == bool(kept) and rig.clock[column] == kept


def test_cells_that_stay_absent_are_told_after_thirty_seconds_to_the_millisecond(small):
    for waited_ms, age_ms, told in ((29_900, 30_000, 2), (29_899, 30_000, 0), (29_900, 29_999, 0), (40_000, 30_001, 2)):
        rig, s = HazardRig(small.image), quiet_pack()
        s.absent, s.age_ms = 2, age_ms
        rig.clock[L.ABSENT_LEAST], rig.clock[L.ABSENT_MS] = 2, waited_ms
        rig.judge(s)
        assert rig.features[L.F_CELLS_ABSENT] == told
        assert rig.clock[L.ABSENT_MS] == min(waited_ms + SCAN_MS, 30_000)


def test_cells_lost_are_counted_for_ten_seconds_to_the_millisecond(small):
    for since_ms, left in ((9900, (1, 2, 10_000)), (9901, (2, 3, 0))):
        rig, s = HazardRig(small.image), quiet_pack()
        rig.clock[L.GONE_BEFORE], rig.clock[L.GONE_SINCE], rig.clock[L.GONE_MS] = 1, 2, since_ms
        s.dead = 3
        rig.judge(s)
        assert tuple(rig.clock[at] for at in (L.GONE_BEFORE, L.GONE_SINCE, L.GONE_MS)) == left


@pytest.mark.parametrize("dead, four", [(3, 0), (4, 1), (5, 1)])
def test_four_cells_that_go_at_once_are_a_sign(small, dead, four):
    rig, s = HazardRig(small.image), quiet_pack()
    s.dead = dead
    rig.judge(s)
    assert rig.clock[SIGN["four"]] == four * SCAN_MS


def test_after_a_sleep_the_first_minute_shows_it_to_the_millisecond(small):
    for age_ms, missing, runaway in ((59_999, 4, 1), (60_000, 4, 0), (59_999, 3, 0), (0, 5, 1)):
        rig, s = HazardRig(small.image), quiet_pack()
        s.hottest, s.slept, s.age_ms, s.missing = 600, 1, age_ms, missing
        rig.judge(s)
        assert rig.features[L.F_RUNAWAY] == runaway, (age_ms, missing)
    for hottest, slept, lowest, runaway in (
        (600, 1, 0, 1),
        (599, 1, 2500, 0),
        (600, 0, 2500, 0),
        (600, 1, 2500, 1),
        (600, 1, NA, 0),
    ):
        rig, s = HazardRig(small.image), quiet_pack()
        s.hottest, s.slept, s.age_ms, s.lowest, s.reference, s.reference_before = hottest, slept, 0, lowest, 0, 0
        rig.judge(s)
        assert rig.features[L.F_RUNAWAY] == runaway, (hottest, slept, lowest)


@pytest.mark.parametrize("hottest, runaway", [(799, 0), (800, 0), (801, 1), (NA, 0)])
def test_no_healthy_pack_is_hotter_than_80_degrees(small, hottest, runaway):
    rig, s = HazardRig(small.image), quiet_pack()
    s.hottest = hottest
    rig.judge(s)
    assert rig.features[L.F_RUNAWAY] == runaway


@pytest.mark.parametrize("dead, fell, runaway", [(1, False, 0), (2, False, 1), (0, True, 1), (0, False, 0)])
def test_a_dead_probe_beside_two_cells_that_go_or_one_that_falls_is_a_fire(small, dead, fell, runaway):
    rig, s = HazardRig(small.image), quiet_pack()
    s.probes_dead, s.dead, s.lowest = 1, dead, 2700 if fell else 3700
    rig.judge(s)
    assert rig.features[L.F_RUNAWAY] == runaway


@pytest.mark.parametrize("name", NEAR)
def test_words_that_are_loaded_without_their_sign_say_the_same(small, name):
    for value in NEAR[name]:
        rig, told, s = HazardRig(small.image), Told(small.image), quiet_pack()
        state, params, *rest = rig.engine.box
        rig.engine.box = [Loaded(state), Loaded(params), *rest]
        setattr(s, name, value)
        for t in (0, SCAN_MS):
            expected, _ = told.scan(t, s)
            rig.judge(s)
            assert {n: v for n, v in rig.told().items() if expected[n] != v} == {}, f"{name} = {value}"


def test_on_and_charging_are_remembered_apart(small):
    """What was known last of each, whatever the other says since: only then is silence a loss."""
    for first, then, lost in (
        ({"on": 0, "charging": 1}, {"on": 0, "charging": NA}, 1),
        ({"on": 1, "charging": 0}, {"on": NA, "charging": 0}, 1),
        ({"on": 1, "charging": 1}, {"on": 0, "charging": NA}, 1),
        ({"on": 1, "charging": 1}, {"on": NA, "charging": 0}, 1),
        ({"on": 1, "charging": 1}, {"on": 0, "charging": 0}, 0),
        ({"on": 1, "charging": 0}, {"on": 0, "charging": NA}, 0),
        ({"on": 0, "charging": 1}, {"on": NA, "charging": 0}, 0),
    ):
        rig, s = HazardRig(small.image), quiet_pack()
        for told in (first, then):
            vars(s).update(told, lost=1)
            rig.judge(s)
        assert rig.features[L.F_SIGNAL_LOST] == lost, (first, then)


@pytest.mark.parametrize("vehicle", VEHICLES)
def test_a_vehicle_that_says_nothing_of_itself_is_missed_while_anything_comes(small, vehicle):
    about = VEHICLES[vehicle]
    sent = small.image.params[L.P_SENT]
    for name, bit in (("sent_on", L.VEHICLE_ON), ("sent_charging", L.CHARGING)):
        sent = sent & ~(1 << bit) | about.get(name, True) << bit
    rig, s = HazardRig(changed(small.image, header={L.P_SENT: sent})), quiet_pack()
    s.on = s.charging = 0
    for fresh, lost in ((9, 1), (0, 1), (9, 0)):
        s.fresh, s.lost = fresh, lost
        rig.judge(s)
        assert rig.features[L.F_SIGNAL_LOST] == int(vehicle == "says neither" and fresh > 0 and lost > 0)


@pytest.mark.parametrize("loaded", [False, True])
def test_without_cells_the_highest_is_what_the_lowest_fell_from(small, loaded):
    for reference, highest, lowest, fell in (
        (0, 3700, 2774, 1), (0, 3700, 2775, 0), (3700, 3500, 2700, 0), (3700, 3500, 2624, 1), (3700, NA, 2000, 0),
        (3700, 3700, NA, 0),
    ):  # fmt: skip
        rig, s = HazardRig(changed(small.image)), quiet_pack()
        params = rig.engine.box[1]
        params[L.P_CELLS] = 0
        if loaded:
            rig.engine.box = [Loaded(rig.engine.box[0]), Loaded(params), *rig.engine.box[2:]]
        s.reference = s.reference_before = reference
        s.highest, s.lowest = highest, lowest
        rig.judge(s)
        assert rig.clock[SIGN["fell"]] == fell * SCAN_MS, (reference, highest, lowest)


@pytest.mark.parametrize("cells", [NA, 0, 5, 6, 7])
@pytest.mark.parametrize("probes", [NA, 0, 5, 6, 7])
def test_a_count_that_is_sent_is_held_against_the_profile(small, cells, probes):
    rig, s = HazardRig(small.image), quiet_pack()
    s.cell_count, s.probe_count = cells, probes
    rig.judge(s)
    wrong = {cells, probes} - {NA, 6}
    assert rig.features[L.F_COUNT_DIFFERS] == (1 if wrong else NA if {cells, probes} == {NA} else 0)
    assert rig.features[L.SLOT + L.F_COUNT_DIFFERS] == (L.PROBE_COUNT if cells == NA else L.CELL_COUNT)


SEEN = {
    "fell": {"lowest": 2700}, "hot": {"hottest": 600}, "steep": {"steep": 1}, "step": {"step": STEP},
    "insulation": {"insulation": 100}, "cells": {"dead": 1, "mismatch": 15}, "probes": {"probes_dead": 1},
}  # fmt: skip
PROOF = ({"fell", "steep"}, {"hot", "steep"}, {"fell", "hot"}, {"hot", "step"}, {"probes", "fell"})


@pytest.mark.parametrize("one", SEEN)
@pytest.mark.parametrize("other", SEEN)
def test_which_two_signs_are_proof_and_which_are_suspicion(small, one, other):
    """Seen one after the other, for each is remembered."""
    rig, s = HazardRig(small.image), quiet_pack()
    for sign in (one, other):
        vars(s).update(vars(quiet_pack()) | SEEN[sign])
        rig.judge(s)
    assert rig.features[L.F_RUNAWAY] == int({one, other} in PROOF), f"{one} and {other}"
    assert rig.features[L.F_SUSPECTED] == int(one != other and "probes" not in (one, other)), f"{one} and {other}"
