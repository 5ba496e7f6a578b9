"""Rules of single cells against the median: short dips, sense lines, slow drift, joints, loss of charge when parked."""

from statistics import fmean

from oracle_time import STEP_S, Watch


class Excursions:
    """Every calm sample: how far each cell left its reference. The base of cell_transient and sense_line.

    After scan(view, watch): count (most dips of one cell), count_at; line_mv, line_at (sense line).
    """

    OUT_MV, FOLLOW_MV, BACK_MV, BACK_S, BUCKET_S = 20, 4, 10, 60, 12 * 3600

    def __init__(self, cells):
        self.cells = cells
        self.reference = [None] * cells
        self.out_since = [None] * cells
        self.dips = []  # (t, cell)
        self.count, self.count_at, self.line_mv, self.line_at = 0, None, 0, None
        self.last_calm = None
        self.calm_samples = 0

    def scan(self, view, watch):
        if watch.asleep or watch.waking:
            self.calm_samples, self.reference, self.out_since = 0, [None] * self.cells, [None] * self.cells
            return
        if not watch.cells:
            return
        if not watch.calm:
            self.calm_samples = 0
            return
        if not self.calm_samples or view.t - self.last_calm > STEP_S:
            self.calm_samples = 0
        self.calm_samples, self.last_calm = self.calm_samples + 1, view.t
        if self.calm_samples <= 2:
            self.reference, self.out_since = [None] * self.cells, [None] * self.cells
        dev = [watch.cells.dev(n) for n in range(self.cells)]
        by = [None if d is None or r is None else d - r for d, r in zip(dev, self.reference, strict=True)]
        paired = self.find_line(by)
        for n in range(self.cells):
            if dev[n] is None:  # when it is back it begins anew
                self.reference[n] = self.out_since[n] = None
            else:
                self.follow(n, dev[n], by[n], n in paired, view.t)
        self.tell(view.t)

    def find_line(self, by):
        """Neighbours out by equal and opposite amounts; the strongest pair is the feature."""
        self.line_mv, self.line_at, paired = 0, None, set()
        for n in range(self.cells - 1):
            a, b = by[n], by[n + 1]
            if a is None or b is None or a * b >= 0 or min(abs(a), abs(b)) <= self.OUT_MV:
                continue
            small, large = sorted((abs(a), abs(b)))
            if (large - small) * 4 <= small:
                paired |= {n, n + 1}
                if small > self.line_mv:
                    self.line_mv, self.line_at = small, n
        return paired

    def follow(self, n, dev, by, paired, t):
        if by is None:
            self.reference[n] = dev
        elif abs(by) > self.OUT_MV and self.out_since[n] is None:
            self.out_since[n] = (t, by < 0 and not paired)
        elif self.out_since[n] is not None:
            since, dip = self.out_since[n]
            if abs(by) <= self.BACK_MV:
                if dip and t - since <= self.BACK_S:
                    self.dips.append((t, n))
                self.out_since[n] = None
            elif t - since > self.BACK_S and not paired:
                self.reference[n], self.out_since[n] = dev, None
        else:
            self.reference[n] += max(min(by, self.FOLLOW_MV), -self.FOLLOW_MV)

    def tell(self, t):
        oldest = t // self.BUCKET_S - 2
        counts = [sum(1 for at, n in self.dips if n == k and at // self.BUCKET_S >= oldest) for k in range(self.cells)]
        most = max(counts)
        self.count, self.count_at = 0, None
        if most and sum(1 for c in counts if c * 3 > most) == 1:
            self.count, self.count_at = most, counts.index(most)


def rests(view, watch, after_sleep):
    """Awake: at rest for a minute, and calm. First after a sleep: hardly any current."""
    current = view["current"]
    if after_sleep:
        return current is not None and abs(current) <= 1000
    return watch.rest and watch.calm


class Drift:
    """After scan(view, watch): value (mV that a cell fell against what its baseline explains), at; None before."""

    BATCH, BATCHES, APART_S, GAIN, RIDGE_MV = 16, 19, 10, 4, 2

    def __init__(self, cells, middle_mv=(3450, 4250)):
        self.cells, self.middle_mv = cells, middle_mv
        self.batch = []  # devs of the samples of this batch
        self.learning = []  # mean devs of the first batches
        self.baseline = None
        self.ewma = [0.0] * cells
        self.value, self.at, self.last = None, None, None

    def scan(self, view, watch):
        sample = watch.cells
        if not sample or not rests(view, watch, False) or sample.median is None:
            return
        if not self.middle_mv[0] <= sample.median <= self.middle_mv[1]:
            return
        if len(self.batch) == self.BATCH:
            # The batch is judged with the next rest sample, which is none of the next batch.
            means = [
                None if None in (devs := [row[n] for row in self.batch]) else fmean(devs) for n in range(self.cells)
            ]  # a batch with a hole in it says nothing about this cell
            self.batch = []
            self.take(means)
            return
        if self.last is not None and view.t - self.last < self.APART_S:
            return
        self.last = view.t
        self.batch.append([sample.dev(n) for n in range(self.cells)])

    def take(self, means):
        if self.baseline is None:
            self.learning.append(means)
            if len(self.learning) == self.BATCHES:
                self.baseline = [
                    fmean([row[n] for row in self.learning if row[n] is not None] or [0]) for n in range(self.cells)
                ]
            return
        for n in [n for n in range(self.cells) if means[n] is not None]:
            residual = means[n] - self.breath(means, n) * self.baseline[n]
            self.ewma[n] += (residual - self.ewma[n]) / self.GAIN
        fallen = [-e for e in self.ewma]
        self.value, self.at = max(0, *fallen), fallen.index(max(fallen))

    def breath(self, means, without):
        """By how much the others' imbalance has grown: a ridge fit of their devs to their baselines, towards 1."""
        others = [n for n in range(self.cells) if n != without and means[n] is not None]
        ridge = self.cells * self.RIDGE_MV**2
        b = self.baseline
        breath = 1 + sum(b[n] * (means[n] - b[n]) for n in others) / (sum(b[n] ** 2 for n in others) + ridge)
        return max(0, min(4, breath))


class Contact:
    """After scan(view, watch): value (uohm that one cell's resistance grew over the median's), at; 0 where none.

    A pair counts where the cells took the pack's step, to within half of it: on car1 each cell is read once in 19 s.
    """

    APART_MA, SETTLED_MA, SETTLED_S, PAIRS, GAIN, OWN_GAIN, CLAMP_UOHM = 20_000, 4000, 2, 32, 16, 8, 1000

    def __init__(self, cells):
        self.cells = cells
        self.currents = []  # (t, mA)
        self.half = None  # (t, mA, sample, pack mV)
        self.own = None  # uohm of the median cell
        self.over = [0.0] * cells
        self.baseline = [None] * cells
        self.pairs = 0
        self.value, self.at = 0, None

    def scan(self, view, watch):
        if watch.asleep or watch.waking or view["current"] is None:
            self.currents = []
            return
        self.currents = [(t, i) for t, i in self.currents if round(view.t - t, 6) <= self.SETTLED_S]
        self.currents.append((view.t, view["current"]))
        sample = watch.cells
        if not sample or sample.median is None or round(view.t - self.currents[0][0], 6) < self.SETTLED_S:
            return
        values = [i for _, i in self.currents]
        if max(values) - min(values) >= self.SETTLED_MA:
            return
        before, self.half = self.half, (view.t, view["current"], sample, view["pack"])
        if before is None or view.t - before[0] > STEP_S or abs(view["current"] - before[1]) < self.APART_MA:
            return
        amps = (view["current"] - before[1]) / 1000
        step_mv = sample.median - before[2].median
        if None not in (before[3], view["pack"]):
            pack_mv = view["pack"] - before[3]
            if abs(step_mv * self.cells - pack_mv) * 2 > abs(pack_mv):
                return
        own = max(0, min(10_000, -step_mv * 1000 / amps))
        self.own = own if self.own is None else self.own + (own - self.own) / self.OWN_GAIN
        self.pairs += 1
        for n in range(self.cells):
            a, b = before[2].dev(n), sample.dev(n)
            if a is not None and b is not None:
                # A mean of the pairs while it learns, then a slow filter.
                gain = self.pairs if self.pairs <= self.PAIRS else self.GAIN
                self.over[n] += self.clamp((a - b) * 1000 / amps - self.over[n]) / gain
                if self.pairs == self.PAIRS:
                    self.baseline[n] = self.over[n]
        self.tell()

    def clamp(self, by):
        return max(min(by, self.CLAMP_UOHM), -self.CLAMP_UOHM)

    def tell(self):
        grown = {n: self.over[n] - b for n, b in enumerate(self.baseline) if b is not None}
        most = sorted([0, 0, *grown.values()])[-2:]
        told = most[1] * 2 >= self.own and most[1] >= 2 * most[0]
        self.at = max(grown, key=grown.get) if grown and told else None
        self.value = most[1] if told else 0


class SelfDischarge:
    """After scan(view, watch): value (uV/h that a cell fell against the median while asleep), at; None before.

    The reference is the last rest before the first sleep, so the falls of several sleeps add up until the next drive.
    """

    LEAST_H, LEAST_MV = 1, 10

    def __init__(self, cells):
        self.cells = cells
        self.before = None  # devs of the last rest sample
        self.asleep_s = 0.0
        self.slept = False
        self.last_t = None
        self.sample, self.step_mv = None, 0  # the last one; the least by which a cell has moved, that is its resolution
        self.value, self.at = None, None

    def resolve(self, t, values):
        if self.sample and round(t - self.sample[0], 6) <= STEP_S:
            moves = [abs(a - b) for a, b in zip(self.sample[1], values, strict=True) if None not in (a, b)]
            if (len(moves) - moves.count(0)) * 2 < len(moves):
                self.step_mv = min({mv for mv in [*moves, self.step_mv] if 0 < mv <= 30}, default=0)
        self.sample = t, values

    def scan(self, view, watch):
        if watch.asleep or watch.waking:
            self.sample = None
        elif watch.cells:
            self.resolve(view.t, list(watch.cells.values))
        if watch.asleep:
            self.asleep_s += view.t - self.last_t
            self.slept = True
        self.last_t = view.t
        current = view["current"]
        if current is not None and abs(current) > Watch.QUIET_MA:
            self.before, self.asleep_s = None, 0.0
        if not watch.cells or not rests(view, watch, self.slept) or watch.cells.median is None:
            return
        devs = [watch.cells.dev(n) for n in range(self.cells)]
        if self.slept and self.before and self.asleep_s >= self.LEAST_H * 3600:
            self.evaluate(devs, self.asleep_s / 3600)
        self.slept = False
        if not self.before or not self.asleep_s:
            self.before, self.asleep_s = devs, 0.0

    def evaluate(self, devs, hours):
        pairs = enumerate(zip(self.before, devs, strict=True))
        falls = {n: a - b for n, (a, b) in pairs if a is not None and b is not None}
        self.at = max(falls, key=falls.get, default=None)
        second = max((mv for n, mv in falls.items() if n != self.at), default=0)
        least = max(self.LEAST_MV, 2 * self.step_mv)  # two roundings may move a difference by one step
        # Several that fall together relax from a load.
        alone = falls and falls[self.at] >= least and second * 2 <= falls[self.at]
        self.value = falls[self.at] * 1000 / hours if alone else 0
