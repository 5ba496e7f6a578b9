"""Probes that cannot be believed (HAZARDS C), and how fast the others grow hot (HAZARDS B)."""

from statistics import median_low

from oracle_time import STEP_S

JUMP_DK, JUMP_DK_PER_S, FALL_DK, STILL_DK, NEAR_DK, BACK_S = 200, 20, 200, 30, 100, 60
DISTRESS_MK_PER_S = 1000
WINDOW_S = 4


class Probes:
    """scan(view, watch, cells_bad, hot_ddegc) -> None; then faulty (set of indices), rise (mK/s), rise_at, halves.

    cells_bad: a cell is lost, under its L3 limit, or fell by a quarter: what a probe then says is believed.
    """

    def __init__(self, count):
        self.count = count
        self.seen = set()
        self.jumped = {}  # index -> since when it has been back among the others, or None
        self.absent = set()
        self.history = []  # the Samples of the last minute
        self.rise, self.rise_at, self.halves = 0, None, False
        self.highest = None  # the hottest believed probe of the last sample

    @property
    def faulty(self):
        return set(self.jumped) | self.absent

    def believed(self, values):
        return {n: v for n, v in enumerate(values) if v is not None and n not in self.jumped}

    def scan(self, view, watch, cells_bad, hot_ddegc):
        if watch.asleep or watch.waking:
            self.seen, self.history, self.absent = set(), [], set()
            self.rise, self.rise_at, self.halves, self.highest = 0, None, False, None
            self.jumped = {} if watch.asleep else self.jumped
            return
        self.absent = {n for n in view.missing("probe") if n in self.seen}
        self.seen |= {n for n, v in enumerate(view.probes) if v is not None}
        for n in self.absent:
            self.jumped[n] = None  # it has to come back among the others before it is believed again
        if watch.probes:
            self.history = [s for s in self.history if view.t - s.t <= STEP_S] + [watch.probes]
            self.find_jumps(watch.probes, cells_bad)
            self.take_back(watch.probes)
            self.steepest()
        believed = self.believed(view.probes if not self.history else self.history[-1].values)
        self.highest = max(believed.values(), default=None)
        hot = self.highest is not None and self.highest >= hot_ddegc
        if cells_bad or hot or self.rise >= DISTRESS_MK_PER_S:
            freed = set(self.jumped) - self.absent
            self.jumped = {n: t for n, t in self.jumped.items() if n not in freed}
            if freed:
                self.steepest()

    def before(self, n):
        """Probe n's last sample before the newest, at most 60 s old: (t, value) or None."""
        now = self.history[-1]
        for sample in reversed(self.history[:-1]):
            if now.t - sample.t > STEP_S:
                return None
            if sample.values[n] is not None:
                return sample.t, sample.values[n]
        return None

    def find_jumps(self, sample, cells_bad):
        moves = {}
        for n, value in self.believed(sample.values).items():
            was = self.before(n)
            if was:
                moves[n] = (value - was[1], sample.t - was[0])
        jumps = {n for n, (dk, s) in moves.items() if abs(dk) > JUMP_DK + JUMP_DK_PER_S * s or dk < -FALL_DK}
        others_still = all(abs(dk) < STILL_DK for n, (dk, _) in moves.items() if n not in jumps)
        if not jumps or cells_bad or not others_still:
            return
        alone = len(jumps) == 1 and len(moves) > 1
        together = len(jumps) > 1 and len({sample.values[n] for n in jumps}) == 1
        if alone or together:
            self.jumped |= dict.fromkeys(jumps)

    def take_back(self, sample):
        others = list(self.believed(sample.values).values())
        for n in sorted(self.jumped):
            value = sample.values[n]
            if value is None:
                continue
            if not others or abs(value - median_low(others)) > NEAR_DK:
                self.jumped[n] = None
            elif self.jumped[n] is None:
                self.jumped[n] = sample.t
            elif sample.t - self.jumped[n] >= BACK_S:
                del self.jumped[n]

    def steepest(self):
        """The steepest rise of a believed probe over its own shortest window of 4 s or more."""
        self.rise, self.rise_at, self.halves = 0, None, False
        if not self.history:
            return
        now = self.history[-1]
        for n, value in self.believed(now.values).items():
            past = [s for s in self.history if s.values[n] is not None and WINDOW_S <= round(now.t - s.t, 6) <= STEP_S]
            if not past:
                continue
            first = past[-1]
            rise = (value - first.values[n]) * 100 / (now.t - first.t)
            if rise > self.rise:
                self.rise, self.rise_at = rise, n
                self.halves = self.both_halves(n, first, now)

    def both_halves(self, n, first, now):
        """It rose in each half of the window by a quarter of the whole at least, where there is a sample between."""
        between = [s for s in self.history if first.t < s.t < now.t and s.values[n] is not None]
        if not between:
            return True
        middle = min(between, key=lambda s: abs(s.t - (first.t + now.t) / 2))
        whole = now.values[n] - first.values[n]
        return 4 * (middle.values[n] - first.values[n]) >= whole <= 4 * (now.values[n] - middle.values[n])
