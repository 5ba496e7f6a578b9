"""What a sample of the cells says, what its median is and what each cell has done since, beside a plain telling.

The telling holds each number under a name of its own. What the core packs into words is written and read here bit by
bit, as the page "memory" of the layout says.
"""

import random
from statistics import median_low
from types import SimpleNamespace

import pytest
from cellwarden.core import layout as L
from cellwarden.core.cells import analyse, middle, sample
from rig import Loaded, Rig, changed

NA = L.NA


class CellRig(Rig):
    """A Rig of single calls of what judges the cells."""

    def __init__(self, image, cells=6, header=None, loaded=False):
        super().__init__(changed(image), healthy=False)
        self.params = self.engine.box[1]
        for column, value in {L.P_CELLS: cells, **(header or {})}.items():
            self.params[column] = value
        self.count = cells
        self.box = list(self.engine.box)
        if loaded:
            self.box = [Loaded(self.box[0]), Loaded(self.box[1]), *self.box[2:]]
        state, scratch = self.engine.box[0], self.engine.box[3]
        self.words, self.scratch = state, scratch
        self.carries = self.engine.section("group_table")[L.P_CARRIES :: L.GROUP_TABLE_SIZE]

    def column(self, name, n):
        """Where a memory of cell n stands in the state."""
        return self.params[getattr(L, f"P_{name}_AT")] + n

    def put(self, **columns):
        for name, value in columns.items():
            self.clock[getattr(L, name)] = value

    def read(self, *names):
        return {name: self.clock[getattr(L, name)] for name in names}

    def feature_of(self, number):
        return tuple(self.features[c + number] for c in (L.VALUE, L.WHERE, L.SLOT))


# --- a sample ---------------------------------------------------------------------------------------------------------

SAMPLED = (
    "CELLS_AGE_MS", "LAST_PACK_MV", "LAST_HOT_DDEGC", "LAST_COLD_DDEGC", "WAKING_MS", "LEAST_STEP_MV", "AGREE",
    "FROZEN_S", "FROZEN_LOW_MA", "FROZEN_HIGH_MA", "BIAS_SUM_MV", "BIAS_SAMPLES", "SUM_AWAY_PERMILLE", "CALM_BEFORE",
    "SAMPLE_S", "PHASE", "MEDIAN_MV", "NEXT_CELL", "MOST_SHORTS", "REST_DUE", "REST_SET", "ASLEEP_SCANS", "PAIR_MA",
    "PAIR_STEP_DA", "KIND",
)  # fmt: skip


def clip(value, least, most):
    return max(least, min(most, value))


def sampled(c, last, values, s, params):
    """The page: what one sample leaves in c, the clock's columns. last: voltages before, 0 = none. (frozen, away)"""
    cells = params[L.P_CELLS]
    there = {n: v for n, v in enumerate(values) if v is not None}
    steps = [clip(v - last[n], -32, 31) for n, v in there.items() if last[n]]
    new = [n for n in there if not last[n]]
    gone = [n for n, v in enumerate(values) if v is None and last[n]]
    age_ms, c.CELLS_AGE_MS = c.CELLS_AGE_MS, 0
    moved = [abs(step) for step in steps if step]
    differs = False
    if s.pack is not None:
        differs, c.LAST_PACK_MV = s.pack != c.LAST_PACK_MV, s.pack
    if s.hot is not None:
        differs |= (s.hot, s.cold) != (c.LAST_HOT_DDEGC, c.LAST_COLD_DDEGC)
        c.LAST_HOT_DDEGC, c.LAST_COLD_DDEGC = s.hot, s.cold
    near = age_ms <= 60_000
    if c.WAKING_MS:
        if steps and not moved and not differs:
            return None
        c.WAKING_MS, near = 0, False
    c.AGREE = 0
    if near and steps:
        if 0 < 2 * len(moved) < len(steps):
            least = min([c.LEAST_STEP_MV or 31, *(step for step in moved if step < 31)])
            c.LEAST_STEP_MV = least if least < 31 else c.LEAST_STEP_MV
        middle_step = median_low(steps)
        off = sorted(abs(step - middle_step) for step in steps)[len(steps) // 2]
        c.AGREE = int(-32 < middle_step < 31 and off < params[L.P_CALM_MAD_MV])
    seconds = (age_ms + 500) // 1000
    frozen = 0
    if moved or new or gone or not near or not steps or s.current == NA:
        c.FROZEN_S, c.FROZEN_LOW_MA, c.FROZEN_HIGH_MA = 0, s.current, s.current
    else:
        ranged = c.FROZEN_HIGH_MA - c.FROZEN_LOW_MA >= 20_000
        low = s.current if c.FROZEN_LOW_MA == NA else c.FROZEN_LOW_MA
        c.FROZEN_LOW_MA, c.FROZEN_HIGH_MA = min(low, s.current), max(c.FROZEN_HIGH_MA, s.current)
        if c.FROZEN_HIGH_MA - c.FROZEN_LOW_MA >= 20_000:
            frozen = c.FROZEN_S = min(c.FROZEN_S + seconds, 3600) if ranged else 0
    away = None
    sends = params[L.P_SENT] >> L.CONTACTORS & 1
    if there and s.pack is not None:
        total = sum(there.values())
        total += (cells - len(there)) * (total // len(there))
        if sends and s.closed == 0:
            away = 0
        elif s.pack >= 1000 and (sends or 2 * s.pack >= total):
            off = clip(s.pack - total, -500_000, 500_000)
            if c.BIAS_SAMPLES < 300 and len(there) == cells:
                c.BIAS_SAMPLES += 1
                c.BIAS_SUM_MV += off
            if c.BIAS_SAMPLES >= 30:
                bias = clip(c.BIAS_SUM_MV // c.BIAS_SAMPLES, -(s.pack // 50), s.pack // 50)
                away = (off - bias) * 1000 // s.pack
    before = c.SUM_AWAY_PERMILLE - (1 << 19)
    c.SUM_AWAY_PERMILLE = (1 << 19) + (away or 0)
    told = NA if away is None else 0 if (away < 0) != (before < 0) else min(abs(away), abs(before))

    c.KIND = 0
    calm = s.quiet == 2 and c.AGREE
    if calm:
        c.KIND = 1 + 2 * (c.CALM_BEFORE < 2)
    c.CALM_BEFORE = min(c.CALM_BEFORE + 1, max(2, c.CALM_BEFORE)) if calm else 0
    c.SAMPLE_S, c.PHASE = seconds, L.PHASE_MEDIAN if there else L.PHASE_DONE
    c.MEDIAN_MV = min(there.values(), default=NA)
    c.NEXT_CELL = max(there.values()) - min(there.values()) if there else 0
    c.MOST_SHORTS = (len(there) + 1) // 2
    awake = s.quiet and c.REST_DUE and abs(s.current) <= 1000
    if there and ((calm and s.rest_ms >= 60_000) or awake):
        asleep = c.ASLEEP_SCANS
        if c.REST_DUE and c.REST_SET:
            c.KIND += 128
        c.REST_DUE = 0
        if not (c.REST_SET and asleep):
            c.KIND += 64
            c.REST_SET, c.ASLEEP_SCANS = 1, 0
        if s.drift_samples >= 16:
            c.KIND += 8
        elif s.drift_wait_ms >= 10_000:
            c.KIND += 4
    if there and s.steady_ms >= 2000:
        c.KIND += 32
        if 0 < s.pair_age_ms <= 60_000 and abs(s.current - c.PAIR_MA) >= 20_000:
            c.KIND += 16
            c.PAIR_STEP_DA = (s.current - c.PAIR_MA) // 100
        c.PAIR_MA = s.current
    return frozen, told


STEPS = {
    "still": (0,), "few steps": (0, 0, 0, 0, 1, 5), "small": (0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5),
    "wide": (0, 4, 9, 30, 31, 32), "lone": (0, 0, 0, 0, 29, -30, 31), "pairs": (0, 0, 0, 4, -4),
    "down": (-30, -31, -32, -33, -28, -27, -100), "up": (28, 29, 30, 31, 32, 100, 27), "any": (-700, 0, 700, 5, -5, 40),
}  # fmt: skip


@pytest.mark.parametrize("cells, contactors, mad, loaded", [(6, 1, 5, 0), (6, 0, 5, 1), (4, 0, 8, 0), (5, 1, 3, 0),
                                                            (6, 1, 1, 0), (1, 1, 5, 0)])  # fmt: skip
@pytest.mark.parametrize("seed", range(10))
def test_a_sample_says_what_the_page_says(small, cells, contactors, mad, loaded, seed):
    rng = random.Random(f"{cells} {contactors} {mad} {seed}")
    sent = (1 << L.SCALARS) - 1 & ~(0 if contactors else 1 << L.CONTACTORS)
    rig = CellRig(small.image, cells, {L.P_SENT: sent, L.P_CALM_MAD_MV: mad}, loaded)
    c = SimpleNamespace(**rig.read(*SAMPLED))
    c.SUM_AWAY_PERMILLE = 1 << 19
    last = [0] * cells
    values = [rng.randrange(3600, 3700) for _ in range(cells)]
    s = SimpleNamespace(pack=cells * 3650, hot=250, cold=240, current=0)
    for _ in range(120):
        rests = [rng.randrange(2048) for _ in range(cells)]
        kind = STEPS[rng.choice(sorted(STEPS))]
        whole = rng.choice((0, 0, 0, 10, -10))
        base = [v or 3650 for v in values] if rng.random() < 0.9 else [3650] * cells
        stay = rng.random() < 0.5  # away, where they are
        values = [
            None if stay and was is None else clip(v + rng.choice(kind) + whole, 500, 4999)
            for was, v in zip(values, base, strict=True)
        ]
        if rng.random() < 0.15:
            for n in range(cells):
                values[n] = rng.choice((values[n], None))
        if rng.random() < 0.03:
            values = [None] * cells
        if last[0] and rng.random() < 0.05:
            values[0] = 0
        s.pack = rng.choice((s.pack, s.pack, None, cells * 3650, cells * 3700, 999, 1000, 0, cells * 1825, cells * 1826,
                             900_000, cells * 3650 - 300, cells * 3650 + 700))  # fmt: skip
        s.hot, s.cold = rng.choice(((s.hot, s.cold),) * 3 + ((250, 240), (250, 241), (251, 240), (None, None), (0, -5)))
        s.closed = rng.choice((1, 1, 1, 0, NA))
        s.current = rng.choice((s.current, 0, 1000, -1000, 1001, -1001, 10_000, -10_000, 9999, 19_999, -40_000, NA))
        s.quiet = rng.choice((2, 2, 2, 1, 0))
        s.rest_ms = rng.choice((0, 59_999, 60_000, 60_000))
        s.drift_samples = rng.choice((0, 15, 16, 16, 17))
        s.drift_wait_ms = rng.choice((0, 9999, 10_000, 10_100))
        s.steady_ms = 0 if s.current == NA else rng.choice((0, 1999, 2000, 2100))
        s.pair_age_ms = rng.choice((0, 1, 100, 59_999, 60_000, 60_001))
        c.CELLS_AGE_MS = rng.choice((1000, 1000, 1000, 1499, 1500, 499, 500, 59_999, 60_000, 60_001))
        c.WAKING_MS = rng.choice((0, 0, 0, 0, 0, 101))
        c.CALM_BEFORE = rng.choice((c.CALM_BEFORE, 0, 1, 2))
        c.REST_DUE, c.REST_SET, c.ASLEEP_SCANS = rng.choice((0, 1)), rng.choice((0, 1)), rng.choice((0, 700))
        c.LEAST_STEP_MV = rng.choice((c.LEAST_STEP_MV, c.LEAST_STEP_MV, 0, 1, 5, 20))
        c.FROZEN_S = rng.choice((c.FROZEN_S, c.FROZEN_S, 3598, 3599, 3600))
        if rng.random() < 0.2:
            c.BIAS_SAMPLES = rng.choice((0, 28, 29, 30, 31, 150, 298, 299, 300))
            c.BIAS_SUM_MV = c.BIAS_SAMPLES * rng.choice((0, 100, -100, 433, -433, 5000)) + rng.choice((0, 1, -1))
        if c.PAIR_MA == NA or rng.random() < 0.2:
            c.PAIR_MA = rng.choice((0, 19_999, 20_000, 20_050, -19_999, -20_000, -20_099))
            c.PAIR_MA += 0 if s.current == NA else s.current
        c.KIND = c.PHASE = c.NEXT_CELL = c.MOST_SHORTS = c.SAMPLE_S = 77
        if rng.random() < 0.05:
            c.FROZEN_LOW_MA = c.FROZEN_HIGH_MA = NA

        for n, v in enumerate(values):
            rig.signals[L.SCALARS + n] = NA if v is None else v
            rig.words[rig.column("MEMORY", n)] = last[n] | rests[n] << 13 | 1 << L.SEEN
        there = [v for v in values if v is not None]
        rig.put(**vars(c), REST_MS=s.rest_ms, DRIFT_SAMPLES=s.drift_samples, DRIFT_WAIT_MS=s.drift_wait_ms)
        rig.put(STEADY_MS=s.steady_ms, PAIR_AGE_MS=s.pair_age_ms)
        rig.signals[L.PACK_VOLTAGE_MV] = NA if s.pack is None else s.pack
        rig.signals[L.PACK_CURRENT_MA], rig.signals[L.CONTACTORS] = s.current, s.closed
        for feature, value in ((L.F_CELLS_VALID, len(there)), (L.F_CELL_MIN_MV, min(there, default=NA)),
                               (L.F_CELL_MAX_MV, max(there, default=NA)),
                               (L.F_PROBE_MAX_DDEGC, NA if s.hot is None else s.hot),
                               (L.F_PROBE_MIN_DDEGC, NA if s.cold is None else s.cold)):  # fmt: skip
            rig.features[feature] = value
        for feature in (L.F_FROZEN_S, L.F_SUM_MISMATCH_PERMILLE):
            rig.features[feature] = rig.features[L.SLOT + feature] = 77
        status = [rng.choice((L.NEVER, L.FRESH, L.STALE, L.USED)) for _ in rig.carries]
        for row, told in enumerate(status):
            rig.groups[row * L.GROUP_SIZE] = told
        for at in range(len(rig.scratch)):
            rig.scratch[at] = 55

        told = sampled(c, last, values, s, rig.params)
        assert sample(7, 9, rig.box[0], rig.box[1], rig.box[3], s.quiet) == 0
        assert set(rig.scratch[65:]) == {55}, "a bin that is none was counted in"
        last = [v or 0 for v in values]
        story = (values, s, c)
        assert [rig.words[rig.column("MEMORY", n)] for n in range(cells)] == [
            last[n] | rests[n] << 13 | 1 << L.SEEN for n in range(cells)
        ]
        used = [L.USED if carry & 1 and was == L.FRESH else was for carry, was in zip(rig.carries, status, strict=True)]
        assert list(rig.groups[:: L.GROUP_SIZE]) == used
        if told is None:
            assert rig.feature(L.F_FROZEN_S) == 77 and rig.read("KIND") == {"KIND": 77}
            c = SimpleNamespace(**rig.read(*SAMPLED))
            continue
        said, wanted = rig.read(*SAMPLED), vars(c)
        assert {n: v for n, v in said.items() if v != wanted[n]} == {}, story
        assert rig.feature_of(L.F_FROZEN_S) == (told[0], 0, L.ALWAYS)
        assert rig.feature_of(L.F_SUM_MISMATCH_PERMILLE) == (told[1], 0, L.PACK_VOLTAGE_MV), story


# --- its median -------------------------------------------------------------------------------------------------------

MIDDLED = (
    "MEDIAN_MV", "REFERENCE_MV", "REFERENCE_BEFORE_MV", "REFERENCE_AGE_MS", "KIND", "DRIFT_WAIT_MS", "DRIFT_FIT",
    "DRIFT_NORM", "DRIFT_SAMPLES", "OWN_UOHM", "PAIRS", "PAIR_MV", "PAIR_PACK_MV", "PAIR_AGE_MS", "BUCKET", "ROTATE",
    "NEXT_CELL", "PHASE", "MOST_SHORTS", "MOST_SHORTS_AT", "NEXT_SHORTS", "MOST_DRIFT", "MOST_DRIFT_AT",
    "MOST_CONTACT_UOHM", "MOST_CONTACT_AT", "NEXT_CONTACT_UOHM", "MOST_FALL_MV", "MOST_FALL_AT", "NEXT_FALL_MV",
    "MOST_SENSE_MV", "MOST_SENSE_AT",
)  # fmt: skip


def middled(c, volts, s, cells):
    """The page: what the median `volts` leaves in the clock's columns."""
    c.MEDIAN_MV = volts
    if c.REFERENCE_AGE_MS >= 30_000:
        c.REFERENCE_BEFORE_MV, c.REFERENCE_MV, c.REFERENCE_AGE_MS = c.REFERENCE_MV, volts, 0
    c.REFERENCE_MV = max(c.REFERENCE_MV, volts)
    kinds = {bit for bit in (1, 2, 4, 8, 16, 32, 64, 128) if c.KIND & bit}
    if not s.drift_low <= volts <= s.drift_high:
        kinds -= {4, 8}
    if 4 in kinds:
        c.DRIFT_WAIT_MS = 100
        if not c.DRIFT_SAMPLES:
            c.DRIFT_FIT = c.DRIFT_NORM = 0
        c.DRIFT_SAMPLES += 1
    if 16 in kinds and s.pack != NA and c.PAIR_PACK_MV != NA:
        step = s.pack - c.PAIR_PACK_MV
        if 2 * abs((volts - c.PAIR_MV) * cells - step) > abs(step):
            kinds -= {16}
    if 16 in kinds:
        own = clip((c.PAIR_MV - volts) * 10_000 // s.step_da, 0, 10_000)
        c.OWN_UOHM = c.OWN_UOHM + (own - c.OWN_UOHM) // 8 if c.PAIRS else own
        c.PAIRS = c.PAIRS + 1 if c.PAIRS <= 32 else c.PAIRS
    if 32 in kinds:
        c.PAIR_MV, c.PAIR_PACK_MV, c.PAIR_AGE_MS = volts, s.pack, 100
    c.KIND = sum(kinds)
    for name in MIDDLED[MIDDLED.index("MOST_SHORTS") :]:
        setattr(c, name, 0)
    bucket = s.hours // 12
    c.ROTATE, c.BUCKET = min(3 * (bucket - c.BUCKET), 9), bucket
    c.NEXT_CELL, c.PHASE = 0, L.PHASE_CELLS


@pytest.mark.parametrize("cells", [1, 2, 5, 6])
@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_the_median_and_what_follows_from_it_are_the_pages(small, cells, loaded, seed):
    rng = random.Random(f"{cells} {seed}")
    s = SimpleNamespace(drift_low=3640, drift_high=3660)
    header = {L.P_DRIFT_LOW_MV: s.drift_low, L.P_DRIFT_HIGH_MV: s.drift_high}
    rig = CellRig(small.image, cells, header, loaded)
    for _ in range(150):
        span = rng.choice((0, 1, 5, 30, 126, 127, 128, 129, 191, 192, 1000, 4499))
        low = rng.randrange(500, 5000 - span)
        if rng.random() < 0.5 and span < 130:
            low = rng.choice((3639, 3640, 3650, 3660, 3661))
        volts = [low, low + span, *(low + rng.randrange(span + 1) for _ in range(cells))][:cells]
        volts = [rng.choice((v, volts[0], 0)) for v in volts]
        there = [v for v in volts if v]
        if not there:
            continue
        rng.shuffle(volts)
        bucket = rng.randrange(50)
        c = SimpleNamespace(**dict.fromkeys(MIDDLED, 5))
        c.MEDIAN_MV, c.NEXT_CELL, c.MOST_SHORTS = min(there), max(there) - min(there), (len(there) + 1) // 2
        median = median_low(there)
        c.PHASE, c.KIND, c.BUCKET = L.PHASE_MEDIAN, rng.randrange(256), bucket
        c.REFERENCE_AGE_MS = rng.choice((0, 29_999, 30_000, 30_100))
        c.REFERENCE_MV = rng.choice((median - 1, median, median + 1, 3700))
        c.DRIFT_SAMPLES, c.DRIFT_FIT, c.DRIFT_NORM = rng.choice((0, 1, 15)), rng.choice((-700, 700)), 900
        c.PAIRS, c.OWN_UOHM = rng.choice((0, 1, 31, 32, 33)), rng.choice((0, 500, 9999))
        c.PAIR_MV = max(0, median + rng.choice((-1000, -20, -1, 0, 1, 20, 39, 40, 41, 1000)))
        s.step_da = rng.choice((200, -200, 201, -333, 4000))
        s.pack = rng.choice((NA, 22_000, 22_000))
        step = (median - c.PAIR_MV) * cells
        steps = (0, step, 2 * step, step // 2, -step, step * 2 // 3, step * 2 // 3 + 1, step * 2 // 3 - 1, 2 * step + 1)
        c.PAIR_PACK_MV = rng.choice((NA, *(22_000 - told for told in steps)))
        s.hours = 12 * (bucket + rng.choice((0, 0, 1, 2, 3, 4, 9))) + rng.choice((0, 11))
        rig.put(**vars(c), HOURS=s.hours, LAST_PACK_MV=s.pack, PAIR_STEP_DA=s.step_da)
        for n, v in enumerate(volts):
            rig.words[rig.column("MEMORY", n)] = v | rng.randrange(2048) << 13 | 1 << L.SEEN
        for at in range(len(rig.scratch)):
            rig.scratch[at] = 3
        wide = c.NEXT_CELL >= 128
        story = volts, s, vars(c).copy()
        for turn in range(1 + wide):
            if turn:
                assert rig.read("PHASE", "KIND") == {"PHASE": L.PHASE_MEDIAN, "KIND": c.KIND}
            assert middle(7, 9, rig.box[0], rig.box[1], rig.box[3]) == 0
        middled(c, median, s, cells)
        said, wanted = rig.read(*MIDDLED), vars(c)
        assert {n: (v, wanted[n]) for n, v in said.items() if v != wanted[n]} == {}, story


# --- each cell --------------------------------------------------------------------------------------------------------

ANALYSED = (
    "DRIFT_SAMPLES", "DRIFT_BATCHES", "DRIFT_FIT", "DRIFT_NORM", "PHASE", "NEXT_CELL", "MOST_SHORTS", "MOST_SHORTS_AT",
    "NEXT_SHORTS", "MOST_DRIFT", "MOST_DRIFT_AT", "MOST_CONTACT_UOHM", "MOST_CONTACT_AT", "NEXT_CONTACT_UOHM",
    "MOST_FALL_MV", "MOST_FALL_AT", "NEXT_FALL_MV", "MOST_SENSE_MV", "MOST_SENSE_AT",
)  # fmt: skip


class Cell(SimpleNamespace):
    """What is remembered of one cell, None where nothing is.

    mv; rest: mV over the median at the last rest; reference, mV; away, s; rose; paired; buckets of transients, newest
    first; base and residual, 1/16 mV; batch: sum of mV, or "spoilt"; settled, mV over the median; contact and learned,
    uohm over the median's
    """

    def words(self):
        """{memory: its word}, as the layout packs them."""
        code = lambda value, bias: 0 if value is None else value + bias  # noqa: E731
        newest, older, oldest = self.buckets
        batch = 16383 if self.batch == "spoilt" else code(self.batch, 8192)
        return {
            "MEMORY": self.mv | code(self.rest, 1024) << 13 | self.flags << 24,
            "SHORTS": code(self.reference, 2048) | self.away << 12 | self.rose << 18 | self.paired << 19
            | newest << 20 | older << 23 | oldest << 26,
            "DRIFT": 0 if self.base is None else self.residual + 8192 | self.base + 8192 << 14,
            "BATCH": batch | code(self.settled, 2048) << 14,
            "CONTACT": 0 if self.contact is None else self.contact + 8192 | self.learned + 8192 << 14,
        }  # fmt: skip


def shorts(cell, dev, s, kinds):
    """A cell that leaves its reference and comes back."""
    known = bool(cell.mv)
    cell.buckets = [0] * min(s.rotate // 3, 3) + cell.buckets
    cell.buckets = cell.buckets[:3]
    if not known or 1 not in kinds:
        cell.away = cell.paired = 0
        # Without calm any will do where there is none: the first calm sample begins anew.
        cell.reference = None if not known else -2047 if cell.reference is None else cell.reference
    elif 2 in kinds or cell.reference is None:
        cell.reference, cell.away, cell.paired = dev, 0, 0
    else:
        gap = dev - cell.reference
        if cell.away:
            cell.away += s.seconds
        elif abs(gap) > 20:
            cell.away, cell.rose = 1, int(gap > 0)
        else:
            gap = clip(gap, -4, 4)
            cell.reference += gap
        if cell.away and abs(gap) <= 10:
            if not (cell.rose or cell.paired or cell.away > 60):
                cell.buckets[0] = min(cell.buckets[0] + 1, 7)
            cell.away = cell.paired = 0
        elif cell.away > 60:
            cell.away = 60
            if not cell.paired:
                cell.reference, cell.away = dev, 0
    if cell.reference is not None:
        cell.reference = clip(cell.reference, -2047, 2047)


def line(c, n, cell, other, s):
    """Two neighbours that moved by about as much, one up and one down: the line between them. Numbers from 0."""
    if not (cell.away and other.away):
        return
    over, other_over = (one.mv - s.median - one.reference for one in (cell, other))
    gaps = abs(over), abs(other_over)
    if (over > 0) != (other_over > 0) and 4 * (max(gaps) - min(gaps)) <= min(gaps):
        cell.paired = other.paired = 1
        if min(gaps) > c.MOST_SENSE_MV:
            c.MOST_SENSE_MV, c.MOST_SENSE_AT = min(gaps), n


def drift(c, cell, dev, s, kinds, cells):
    """A batch of samples at rest, and what it adds to the cell's drift."""
    base, batch = cell.base or 0, cell.batch or 0
    if not cell.mv or batch == "spoilt":
        cell.batch = "spoilt" if 4 in kinds else None
    elif 4 in kinds:
        cell.batch = batch + clip(dev, -511, 511)
        if s.drift_samples == 16:
            c.DRIFT_FIT += cell.batch // 16 * (base // 16)
            c.DRIFT_NORM += (base // 16) ** 2
    else:
        residual = cell.residual if cell.base is not None else 0
        cell.batch = None
        if s.batches < 19:
            base += (batch - base + (s.batches + 1) // 2) // (s.batches + 1)
        else:
            fit = max(0, c.DRIFT_FIT - batch // 16 * (base // 16) + 4 * cells)
            norm = c.DRIFT_NORM - (base // 16) ** 2 + 4 * cells
            while norm >= 1 << 15:
                norm, fit = norm // 2, fit // 2
            factor = min(fit, 4 * norm) * 256 // norm
            residual = clip(residual + (batch - base * factor // 256 - residual) // 4, -8191, 8191)
        cell.base, cell.residual = base, residual


def contact(cell, dev, s, kinds):
    """The fall of the cell over the median's at a step of the current."""
    if 16 in kinds and cell.settled is not None and cell.mv:
        found = (cell.settled - dev) * 10_000 // s.step_da
        learning = s.pairs <= 32
        if cell.contact is None:
            value = found
        else:
            gap = clip(found - cell.contact, -1000, 1000)
            value = cell.contact + (gap // s.pairs if learning else (gap + 8) // 16)
        value = clip(value, -8191, 8191)
        cell.learned = value if learning or cell.contact is None else cell.learned
        cell.contact = value
    if 32 in kinds:
        cell.settled = clip(dev, -2047, 2047) if cell.mv else None


def most(c, name, at, value, where):
    """The most of all, the cell that has it, and the most of any other."""
    names = f"MOST_{name}", f"NEXT_{name}"
    first, second = getattr(c, names[0]), getattr(c, names[1])
    if value > first:
        setattr(c, names[1], first)
        setattr(c, names[0], value)
        setattr(c, f"MOST_{at}_AT", where)
    elif value > second:
        setattr(c, names[1], value)


def analysed(c, cells, first, last, s):
    """The page: what cells `first` to `last` (from 0, without it) leave in c. {feature: what it then says}"""
    kinds = {bit for bit in (1, 2, 4, 8, 16, 32, 64, 128) if s.kind & bit}
    for n in range(first, last):
        cell = cells[n]
        dev = cell.mv - s.median
        shorts(cell, dev, s, kinds)
        if n and cell.mv and 1 in kinds:
            line(c, n, cell, cells[n - 1], s)
        if sum(cell.buckets):
            most(c, "SHORTS", "SHORTS", sum(cell.buckets), n + 1)
        if kinds & {4, 8}:
            drift(c, cell, dev, s, kinds, len(cells))
        if cell.base is not None and -cell.residual > c.MOST_DRIFT:
            c.MOST_DRIFT, c.MOST_DRIFT_AT = -cell.residual, n + 1
        contact(cell, dev, s, kinds)
        if cell.contact is not None:
            most(c, "CONTACT_UOHM", "CONTACT", cell.contact - cell.learned, n + 1)
        if cell.mv and 64 in kinds:
            cell.rest = clip(dev, -1023, 1023)
        elif cell.mv and 128 in kinds and cell.rest is not None:
            most(c, "FALL_MV", "FALL", cell.rest - dev, n + 1)
    c.NEXT_CELL = last
    if last < len(cells):
        return {}
    c.PHASE = L.PHASE_DONE
    if 8 in kinds:
        c.DRIFT_SAMPLES = 0
        c.DRIFT_BATCHES = min(c.DRIFT_BATCHES + 1, 19)
    told = lambda value, at, there: (value, at, L.SCALARS + at - 1 if there else L.ALWAYS)  # noqa: E731
    count = c.MOST_SHORTS if 3 * c.NEXT_SHORTS <= c.MOST_SHORTS else 0
    uohm = c.MOST_CONTACT_UOHM
    alone = 2 * uohm >= s.own and uohm >= 2 * c.NEXT_CONTACT_UOHM and s.pairs > 32
    features = {
        L.F_TRANSIENTS: told(count, c.MOST_SHORTS_AT, count),
        L.F_DRIFT_MV: told(c.MOST_DRIFT // 16 if c.DRIFT_BATCHES == 19 else NA, c.MOST_DRIFT_AT, c.MOST_DRIFT_AT),
        L.F_CONTACT_UOHM: told(uohm if alone else 0, c.MOST_CONTACT_AT, alone and uohm),
    }
    if 1 in kinds:
        features[L.F_SENSE_LINE_MV] = told(c.MOST_SENSE_MV, c.MOST_SENSE_AT, c.MOST_SENSE_AT)
    minutes = s.asleep_scans // 600
    if 128 in kinds and minutes >= 60:
        fell = c.MOST_FALL_MV >= max(10, 2 * s.least) and 2 * c.NEXT_FALL_MV <= c.MOST_FALL_MV
        value = c.MOST_FALL_MV * 60_000 // minutes if fell else 0
        features[L.F_SELF_DISCHARGE_UV_PER_H] = told(value, c.MOST_FALL_AT, value)
    return features


def a_cell(rng, median):
    """Anything that may be remembered of a cell, near its limits."""
    nothing = rng.random() < 0.3
    residual = rng.choice((0, -1, 15, -480, -481, -960, 8191, -8191, rng.randrange(-8191, 8192)))
    base = rng.choice((0, 1, -1, 16, -17, 800, -800, 8000, -8000, rng.randrange(-8000, 8001)))
    joint = rng.choice((0, 1, 300, 600, -600, 8191, -8191, rng.randrange(-2000, 2000)))
    learned = rng.choice((joint, 0, joint - 300, joint - 301, joint - 600, joint - 150, -8191))
    return Cell(
        mv=rng.choice((0, median, *(median + rng.choice((0, 1, 4, 5, 10, 11, 20, 21, 22, 40, 50, 51, 600)) * sign
                                    for sign in (1, -1, 1, -1, 1, -1)), 500, 4999)),
        rest=rng.choice((None, 0, 9, 10, 11, 20, 40, -10, 1023, -1023)), flags=rng.randrange(8),
        reference=None if nothing else rng.choice((0, 0, 1, -1, 20, -20, 2047, -2047, 2040, -2040)),
        away=rng.choice((0, 0, 1, 2, 58, 59, 60)), rose=rng.choice((0, 1)), paired=rng.choice((0, 0, 1)),
        buckets=[rng.choice((0, 0, 0, 1, 6, 7)) for _ in range(3)], base=None if nothing else clip(base, -8191, 8191),
        residual=residual, batch=rng.choice((None, "spoilt", 0, 1, -8191 + 511, 7679, rng.randrange(-7000, 7000))),
        settled=rng.choice((None, 0, 6, -6, 40, 2047, -2047)), contact=None if nothing else joint,
        learned=clip(learned, -8191, 8191),
    )  # fmt: skip


@pytest.mark.parametrize("slice_", [1, 4, 6, 7])
@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_what_each_cell_has_done_is_told_as_the_page_says(small, slice_, loaded, seed):
    rng = random.Random(f"{slice_} {seed}")
    rig = CellRig(small.image, 6, {L.P_SLICE: slice_}, loaded)
    quiet_cell = {"buckets": [0, 0, 0], "away": 0, "paired": 0}
    for _ in range(120):
        s = SimpleNamespace(
            median=rng.choice((3700, 3700, 3000)), seconds=rng.choice((0, 1, 2, 59, 60)),
            rotate=rng.choice((0, 0, 3, 6, 9)), least=rng.choice((0, 1, 5, 6, 20)),
            kind=rng.choice((0, 1, 1, 1, 3, rng.randrange(256))), drift_samples=rng.choice((0, 15, 16)),
            batches=rng.choice((0, 1, 17, 18, 19)), step_da=rng.choice((200, -200, 201, -333, 4000)),
            pairs=rng.choice((1, 2, 31, 32, 33)), own=rng.choice((0, 300, 600, 1199, 1200, 1201)),
            asleep_scans=rng.choice((0, 35_999, 36_000, 36_599, 36_600, 10_000_000)),
        )  # fmt: skip
        if s.kind & 4:
            s.kind &= ~8
        cells = [a_cell(rng, s.median) for _ in range(6)]
        lone = rng.random() < 0.5  # one cell has something, the others next to nothing
        for n, cell in enumerate(cells):
            if lone and n != 3:
                vars(cell).update(quiet_cell, rest=rng.choice((None, None, 4, 5, 6, 10)), mv=s.median, residual=0)
                cell.learned = clip((cell.contact or 0) - rng.choice((0, 149, 150, 151, 300)), -8191, 8191)
        c = SimpleNamespace(**dict.fromkeys(ANALYSED, 0))
        c.DRIFT_SAMPLES, c.DRIFT_BATCHES, c.PHASE = s.drift_samples, s.batches, L.PHASE_CELLS
        # Of all the cells, this one among them, as it is where a batch is judged.
        c.DRIFT_NORM = sum((one.base // 16) ** 2 for one in cells if one.base is not None) if s.kind & 8 else 0
        c.DRIFT_FIT = rng.choice((0, c.DRIFT_NORM, c.DRIFT_NORM // 2, -c.DRIFT_NORM, 5 * c.DRIFT_NORM, 700, 100_000))
        rig.put(**vars(c), KIND=s.kind, MEDIAN_MV=s.median, SAMPLE_S=s.seconds, ROTATE=s.rotate, PAIR_STEP_DA=s.step_da)
        rig.put(PAIRS=s.pairs, OWN_UOHM=s.own, ASLEEP_SCANS=s.asleep_scans, LEAST_STEP_MV=s.least)
        for n, cell in enumerate(cells):
            for name, word in cell.words().items():
                rig.words[rig.column(name, n)] = word
        told = L.F_TRANSIENTS, L.F_DRIFT_MV, L.F_CONTACT_UOHM, L.F_SENSE_LINE_MV, L.F_SELF_DISCHARGE_UV_PER_H
        for number in told:
            for column in (L.VALUE, L.WHERE, L.SLOT):
                rig.features[column + number] = 77
        before = [vars(cell).copy() for cell in cells]
        for first in range(0, 6, slice_):
            last = min(first + slice_, 6)
            wanted = analysed(c, cells, first, last, s)
            assert analyse(7, 9, *rig.box[:2]) == 0
            story = s, before[first:last], first
            said = rig.read(*ANALYSED)
            assert {n: (v, vars(c)[n]) for n, v in said.items() if v != vars(c)[n]} == {}, story
            words = [{name: rig.words[rig.column(name, n)] for name in cell.words()} for n, cell in enumerate(cells)]
            assert words == [cell.words() for cell in cells], story
            features = {number: rig.feature_of(number) for number in told}
            assert features == dict.fromkeys(told, (77, 77, 77)) | wanted, story


@pytest.mark.parametrize("fall, other, least, uv_per_h", [
    (9, 0, 1, 0), (10, 0, 1, 10_000), (10, 5, 5, 10_000), (10, 6, 5, 0), (11, 5, 6, 0), (12, 6, 6, 12_000),
    (12, 7, 6, 0), (40, 20, 20, 40_000), (39, 0, 20, 0),
])  # fmt: skip
def test_one_cell_alone_that_fell_by_ten_millivolts_or_two_steps_discharges_itself(small, fall, other, least, uv_per_h):
    rig = CellRig(small.image, 3, {L.P_SLICE: 3})
    rig.put(KIND=128, MEDIAN_MV=3700, ASLEEP_SCANS=36_000, LEAST_STEP_MV=least, PHASE=L.PHASE_CELLS, NEXT_CELL=0)
    for n, by in enumerate((other, fall, 0)):
        rig.words[rig.column("MEMORY", n)] = 3700 - by | 1024 << 13
    analyse(7, 9, *rig.box[:2])
    assert rig.feature_of(L.F_SELF_DISCHARGE_UV_PER_H) == (uv_per_h, 2, L.SCALARS + 1 if uv_per_h else L.ALWAYS)


@pytest.mark.parametrize("pack, hot, cold, waking", [
    (22_000, 250, 240, 101), (22_001, 250, 240, 0), (22_000, 251, 240, 0), (22_000, 250, 239, 0), (NA, NA, NA, 101),
])  # fmt: skip
def test_what_reads_as_before_the_sleep_is_not_yet_the_truth(small, pack, hot, cold, waking):
    rig = CellRig(small.image, 2)
    rig.put(WAKING_MS=101, LAST_PACK_MV=22_000, LAST_HOT_DDEGC=250, LAST_COLD_DDEGC=240)
    for n in range(2):
        rig.signals[L.SCALARS + n] = rig.words[rig.column("MEMORY", n)] = 3700
    rig.signals[L.PACK_VOLTAGE_MV] = pack
    rig.features[L.F_CELLS_VALID], rig.features[L.F_PROBE_MAX_DDEGC], rig.features[L.F_PROBE_MIN_DDEGC] = 2, hot, cold
    sample(7, 9, rig.box[0], rig.box[1], rig.box[3], 0)
    assert rig.read("WAKING_MS") == {"WAKING_MS": waking}
