"""Which probes are believed and how steeply they rise, one call at a time, beside a telling that packs nothing."""

import random

import pytest
from cellwarden.core import layout as L
from cellwarden.core.probes import probes, unmask
from rig import Loaded, Rig, changed

NA = L.NA
FLOOR_MV, HOT_DDEGC = 2500, 600
SIGNS = (L.SIGN_FELL, L.SIGN_HOT, L.SIGN_STEEP)


class ProbeRig(Rig):
    """A Rig of which one call is no more than what judges the probes.

    The probes come in three messages, in turn, and only some of those say that they carry probes.
    """

    def __init__(self, image, cells=6, probes_=6, loaded=False, now_ms=0):
        header = {L.P_CELLS: cells, L.P_PROBES: probes_, L.P_CELL_FLOOR_MV: FLOOR_MV, L.P_HOT_DDEGC: HOT_DDEGC}
        whole = changed(image)
        super().__init__(whole, healthy=False)
        self.owners = self.engine.section("owners")
        self.carries = self.engine.section("group_table")[L.P_CARRIES :: L.GROUP_TABLE_SIZE]
        self.memory = self.engine.section("memory")
        params = self.engine.box[1]
        for column, value in header.items():
            params[column] = value
        self.first, self.count = L.SCALARS + cells, probes_
        self.rings = params[L.P_RINGS_AT]
        for n in range(probes_):
            self.owners[self.first + n] = 1 + n % 3
        self.arrays = self.engine.box[:2]
        if loaded:
            self.arrays = [Loaded(words) for words in self.arrays]
        self.marks = self.engine.box[0], params[L.P_MEMORY_AT] + cells
        self.clock[L.RING_MS] = now_ms - 1000 & L.MASK

    def call(self, t_ms, values, due, s, fresh):
        """Judge `values` (None: none). s: {sign: ms}, dead and lowest; fresh: the groups that come. Returns changed."""
        self.clock[L.NOW_MS] = t_ms & L.MASK
        for n, value in enumerate(values):
            self.signals[self.first + n] = NA if value is None else value
        for sign in SIGNS:
            self.clock[L.SIGN_MS + sign] = s.get(sign, 0)
        self.features[L.F_CELLS_DEAD], self.features[L.F_CELL_MIN_MV] = s.get("dead", 0), s.get("lowest", 3700)
        for group in range(len(self.carries)):
            self.groups[group * L.GROUP_SIZE] = L.FRESH if group in fresh else L.STALE
        self.clock[L.PROBES_AGE_MS] = 900
        for column in (L.VALUE, L.WHERE, L.SLOT) if due else ():
            self.features[column + L.F_RISE_MK_PER_S] = 77
        return probes(7, 9, *self.arrays, due)  # what is passed for the two registers is no input

    def told(self):
        state, at = self.marks
        code = lambda word, shift: (word >> shift & 4095) - L.PROBE_BIAS if word >> shift & 4095 else None  # noqa: E731
        told = {"signals": list(self.signals[self.first : self.first + self.count])}
        for n in range(self.count):
            mark, ring = state[at + n], state[self.rings + n]
            told["samples", n] = [code(mark, 0), code(mark, 12), code(ring, 0), code(ring, 12)]
            told["doubted", n] = mark >> L.FAULT & 1
            told["back s", n] = ring >> 24 & 63
            told["seen", n] = mark >> L.SEEN & 3
            told["above", n] = mark >> L.FAULT + 1, ring >> 30
        told["faulty"], told["steep"] = self.clock[L.FAULTY], self.clock[L.STEEP]
        told["rise"] = [self.features[c + L.F_RISE_MK_PER_S] for c in (L.VALUE, L.WHERE, L.SLOT)]
        told["ring"] = self.clock[L.RING], list(self.clock[L.RING_MS : L.RING_MS + 4])
        told["age"], told["newly seen"] = self.clock[L.PROBES_AGE_MS], self.clock[L.PROBES_SEEN]
        told["groups"] = list(self.groups[:: L.GROUP_SIZE])
        return told


class Told:
    """The page, without a word of it packed. samples: [(t_ms, values)], newest first, of which `kept` count."""

    def __init__(self, rig, now_ms):
        self.rig, self.n = rig, rig.count
        self.samples = [[None] * rig.count for _ in range(4)]
        self.times, self.kept = [now_ms - 1000, 0, 0, 0], 0
        self.doubted, self.rise, self.steep = {}, [NA, 0, L.ALWAYS], 0
        self.seen, self.newly_seen = [0] * rig.count, 0

    def call(self, t, values, due, s, fresh):
        """(changed, what ProbeRig.told() must say)"""
        age = t - self.times[0]
        kept = self.kept if age <= 60_000 else 0
        seconds = -(-age // 1000)
        last = self.samples[0]
        distress = any(s.get(name) for name in (*SIGNS, "dead"))
        distress = distress or NA != s.get("lowest", 3700) <= FLOOR_MV
        believed = {n: v for n, v in enumerate(values) if v is not None and n not in self.doubted}
        moves = {n: v - last[n] for n, v in believed.items() if kept and last[n] is not None}
        jumps = {n for n, move in moves.items() if move > 200 + 20 * seconds or move < -200}
        moved = any(abs(move) >= 30 for n, move in moves.items() if n not in jumps)
        heats = any(move >= 30 and move >= 3 * seconds for n, move in moves.items() if n not in jumps)
        others = [v for n, v in believed.items() if n not in jumps]
        coldest, hottest = (min(others) - 100, max(others) + 100) if others else (-300, HOT_DDEGC - 1)
        changed_ = False
        for n in sorted(set(self.doubted) & {n for n, v in enumerate(values) if v is not None}):
            if not coldest <= values[n] <= hottest:
                self.doubted[n] = 0
            elif due:
                self.doubted[n] += seconds if kept else 1
            if distress or heats or self.doubted[n] >= 60:
                del self.doubted[n]
                changed_ = True
        if jumps and not moved and not distress and len({values[n] for n in jumps}) == 1:
            self.doubted |= dict.fromkeys(jumps, 0)
            changed_ = True
        believed = {n: v for n, v in enumerate(values) if v is not None and n not in self.doubted}
        if due:
            self.steepest(t, believed, kept)
            for n, value in enumerate(values):
                if value is None and self.seen[n] & 1 and self.rig.owners[self.rig.first + n] in fresh:
                    self.doubted[n] = 0
            self.samples = [list(values), *self.samples[:3]]
            self.times = [t, *self.times[:3]]
            self.kept = min(kept + 1, 4)
        else:
            for n in self.doubted:
                self.samples[0][n] = values[n]
        for n in self.doubted:  # what is left out, be it since before a sleep, was seen all the same
            if values[n] is not None and not self.seen[n] & 1:
                self.seen[n] |= 1
                self.newly_seen += 1
        told = {"signals": [believed.get(n, NA) for n in range(self.n)], "newly seen": self.newly_seen}
        for n in range(self.n):
            told["samples", n] = [sample[n] for sample in self.samples]
            told["doubted", n] = int(n in self.doubted)
            told["back s", n] = self.doubted.get(n, 0)
            told["seen", n] = self.seen[n]
            told["above", n] = 0, 0
        told["faulty"], told["steep"], told["rise"] = len(self.doubted), self.steep, self.rise
        told["ring"] = self.kept, [t & L.MASK for t in self.times]
        told["age"] = 0 if due else 900
        used = {g for g in fresh if due and self.rig.carries[g] & 2}
        told["groups"] = [
            L.USED if g in used else L.FRESH if g in fresh else L.STALE for g in range(len(self.rig.carries))
        ]
        return int(changed_), told

    def steepest(self, t, believed, kept):
        self.rise, self.steep = [NA, 0, L.ALWAYS], 0
        old = [k for k in range(kept) if t - self.times[k] >= 4000]
        if not old or t - self.times[old[0]] > 60_000:
            return
        k = old[0]
        window_ms, most = t - self.times[k], 0
        between = self.samples[k // 2]
        for n, value in sorted(believed.items()):
            then = self.samples[k][n]
            if then is None:
                continue
            whole = value - then
            goes_on = not k
            if k and between[n] is not None:
                half = between[n] - then
                goes_on = 4 * half >= whole and 4 * (whole - half) >= whole
            if whole > most and (goes_on or whole > 20):
                most = whole
                self.rise[1:] = [n + 1, self.rig.first + n]
            if goes_on and whole * 100_000 >= window_ms * 1000:
                self.steep = 1
        self.rise[0] = most * 100_000 // window_ms


GAPS_MS = (1000, 1000, 1000, 1000, 1001, 999, 1999, 2000, 3999, 4000, 4001, 30_000, 59_999, 60_000, 60_001)
STEPS = (0, 0, 0, 1, -1, 5, 9, 10, 11, 20, 21, 29, 30, -29, -30, 40, 41, 100)


def next_values(rng, told, t, values, home):
    """Some of them move by what is near a limit."""
    seconds = -(-(t - told.times[0]) // 1000)
    jump = 200 + 20 * seconds
    values = list(values)
    there = [v for n, v in enumerate(values) if v is not None and n not in told.doubted]
    apart = (max(there) + 100, max(there) + 101, min(there) - 100, min(there) - 101, there[0]) if there else ()
    kind = rng.randrange(6)
    names = rng.sample(range(len(values)), rng.randrange(min(4, len(values)) + 1)) if values else []
    together = rng.choice((NA, None))
    for n in names:
        base = told.samples[0][n]
        base = home if base is None else base
        if n in told.doubted and rng.random() < 0.8:
            value = rng.choice(apart or (HOT_DDEGC - 1, HOT_DDEGC, -300, -301, home))
        elif kind == 0:
            value = base + rng.choice((jump, jump + 1, jump - 1, -200, -201, -199))
        elif kind == 1:
            value = rng.choice((None, base, home))
        else:
            value = base + rng.choice((*STEPS, 3 * seconds, 3 * seconds - 1))
        if kind == 0 and together is None and n != names[0]:
            value = values[names[0]]
        values[n] = None if value is None else max(-500, min(value, 2000))
    return values


VEHICLES = {"cells and probes": (6, 6, 0), "without cells": (0, 6, 0), "one probe": (2, 1, 0), "no probe": (2, 0, 0),
            "loaded without a sign": (6, 5, 1)}  # fmt: skip


@pytest.mark.parametrize("vehicle", VEHICLES)
@pytest.mark.parametrize("seed", range(12))
def test_any_readings_are_judged_as_the_page_says(small, vehicle, seed):
    rng = random.Random(f"{vehicle} {seed}")
    cells, count, loaded = VEHICLES[vehicle]
    t = rng.choice((5000, (1 << 30) - 20_000))
    rig = ProbeRig(small.image, cells, count, loaded, t)
    told = Told(rig, t)
    state, at = rig.marks
    home = rng.choice((250, 0, 0, 10, -390))
    values = [home] * count
    for _ in range(150):
        due = int(rng.random() < 0.75)
        t += rng.choice(GAPS_MS if rng.random() < 0.5 else (1000,)) if due else rng.choice((100, 100, 1000, 60_000))
        values = [home] * count if rng.random() < 0.06 else next_values(rng, told, t, values, home)
        s = {}
        if rng.random() < 0.12:
            s = rng.choice(({"dead": 1}, {"lowest": FLOOR_MV}, {"lowest": FLOOR_MV + 1}, {"lowest": NA},
                            {"lowest": FLOOR_MV - 1}, {"lowest": 0}, *({sign: 1} for sign in SIGNS),
                            dict.fromkeys(rng.sample(("dead", *SIGNS), 2), 1)))  # fmt: skip
        for n in range(count):
            told.seen[n] = rng.choice((0, 1, 1, 2, 3))
            state[at + n] = state[at + n] & ~(3 << L.SEEN) | told.seen[n] << L.SEEN
        fresh = {group for group in range(len(rig.carries)) if rng.random() < 0.7}
        changed_, wanted = told.call(t, values, due, s, fresh)
        assert rig.call(t, values, due, s, fresh) == changed_, (values, due, s)
        said = rig.told()
        assert not {what: said[what] for what in wanted if said[what] != wanted[what]}, (values, due, s, wanted)
        if rng.random() < 0.5:
            assert unmask(7, 9, *rig.arrays) == 0
            read = list(rig.signals[rig.first : rig.first + count])
            assert read == [NA if v is None else v for v in values], "what is left out must come back to be judged"


def left_out(rig, value, others=()):
    """The time at which two probes, all but `others`, have just jumped to `value` together."""
    rig.call(100_000, [250, 250, *others], 1, {}, ())
    rig.call(101_000, [value, value, *others], 1, {}, ())
    assert rig.clock[L.FAULTY] == 2
    return 101_000


@pytest.mark.parametrize("reads, after_s", [(1200, None), (600, None), (599, 60), (0, 60), (-300, 60), (-301, None)])
def test_a_board_that_went_dark_is_not_believed_where_no_vehicle_may_be(small, reads, after_s):
    rig = ProbeRig(small.image, probes_=2)
    t = left_out(rig, 1200)
    for second in range(1, 3600):
        rig.call(t + 1000 * second, [reads, reads], 1, {}, ())
        if not rig.clock[L.FAULTY]:
            break
    assert second == (after_s or 3599)
    rig.call(t + 4_000_000, [reads, reads], 1, {"dead": 1}, ())
    assert not rig.clock[L.FAULTY], "a fire must not be taken for a broken sensor"


@pytest.mark.parametrize(
    "gap_s, step, back", [(1, 30, 1), (1, 29, 0), (1, -30, 0), (10, 30, 1), (11, 32, 0), (11, 33, 1), (60, 179, 0)]
)
def test_another_probe_gives_it_back_its_word_where_it_heats_as_by_a_fire(small, gap_s, step, back):
    rig = ProbeRig(small.image, probes_=3)
    t = left_out(rig, 1200, [250])
    rig.call(t + 1000 * gap_s, [1200, 1200, 250 + step], 1, {}, ())
    assert rig.clock[L.FAULTY] == (0 if back else 2)


@pytest.mark.parametrize("gap_ms", [4000, 2000, 1400, 1000])
@pytest.mark.parametrize(
    "whole, half, goes_on, told",
    [
        (40, 10, True, 40), (40, 9, False, 40), (40, 30, True, 40), (40, 31, False, 40), (20, 5, True, 20),
        (20, 4, False, 0), (21, 4, False, 21), (20, 16, False, 0), (21, 16, False, 21), (39, 20, True, 39),
        (42, 21, True, 42), (44, 11, True, 44), (1, None, False, 0), (20, None, False, 0), (60, None, False, 60),
    ],
)  # fmt: skip
def test_a_rise_goes_on_where_each_half_of_the_window_has_a_quarter_of_it(small, gap_ms, whole, half, goes_on, told):
    rig = ProbeRig(small.image, probes_=1)
    samples = -(-4000 // gap_ms)
    between = (None, 1, 1, 2)[samples - 1]  # the sample in the middle of the window, from its first on
    for n in range(samples):
        value = 250 if n != between else None if half is None else 250 + half
        rig.call(100_000 + n * gap_ms, [value], 1, {}, ())
    rig.call(100_000 + samples * gap_ms, [250 + whole], 1, {}, ())
    if between is None:
        goes_on, told = True, whole
    window_ms = samples * gap_ms
    assert rig.told()["rise"] == [told * 100_000 // window_ms, 1 if told else 0, rig.first if told else L.ALWAYS]
    assert rig.clock[L.STEEP] == (goes_on and 100 * whole >= window_ms)


def test_the_steepest_of_several_is_told_and_of_equals_the_first(small):
    rig = ProbeRig(small.image)
    rig.call(100_000, [250] * 6, 1, {}, ())
    rig.call(104_000, [250, 255, 259, 259, 258, 240], 1, {}, ())
    assert rig.told()["rise"] == [225, 3, rig.first + 2]


def test_what_stands_behind_the_groups_is_none_of_them(small):
    rig = ProbeRig(small.image)
    rig.engine.section("members")[L.P_CARRIES] = 3
    rig.messages[L.LAST_COUNTER] = 5
    rig.call(100_000, [250] * 6, 1, {}, ())
    assert rig.messages[L.LAST_COUNTER] == 5
