"""Probes that cannot be believed (HAZARDS C), and how fast the others grow hot (HAZARDS B)."""

from math import ceil

from oracle_time import STEP_S

JUMP_DK, JUMP_DK_PER_S, FALL_DK, STILL_DK, NEAR_DK, BACK_S = 200, 20, 200, 30, 100, 60
WINDOW_S, RING, RUNAWAY_MK_PER_S = 4, 4, 1000
COLDEST_DDEGC, HEATS_DK_PER_S = -300, 3  # what is not colder and not over the maker's limit may be; what else burns
FLICKER_DK = 20  # so much a healthy probe may jump; it counts where both halves of the window rose


class Probes:
    """scan(view, watch, before, now, hot_ddegc); then, of the believed ones:

    faulty (indices of the others); rise (mK/s, None without a window), rise_at; steep: one rises as C.5.3.7 c) says.
    before, now: the cells or the signs remembered say that it burns, when a sample of the probes is judged and when
    any other scan is. Then what a probe says is believed.
    """

    def __init__(self, count):
        self.count = count
        self.seen = set()
        self.doubted = {}  # index -> the time it has been back among the others, s
        self.absent = set()
        self.there = set()  # those that have a value
        self.ring = []  # the last samples, newest last
        self.rise, self.rise_at, self.steep = None, None, False
        self.highest = None  # the hottest one that is believed

    @property
    def faulty(self):
        return self.there & set(self.doubted) | self.absent

    def believed(self, values):
        return {n: v for n, v in enumerate(values) if v is not None and n not in self.doubted}

    def scan(self, view, watch, before, now, hot_ddegc):
        self.there = {n for n, v in enumerate(view.probes) if v is not None}
        if watch.asleep:
            self.seen, self.ring, self.absent = set(), [], set()
            self.steep, self.highest = False, None  # the rise that was read last stands until the next
            return
        self.absent = {n for n in view.missing("probe") if n in self.seen}
        self.seen |= {n for n, v in enumerate(view.probes) if v is not None}
        if watch.probes:  # what is dead in a sample has to come back among the others before it is believed again
            self.doubted |= dict.fromkeys(self.absent, 0)
        if watch.waking:
            self.highest = max(self.believed(view.probes).values(), default=None)
            return
        if self.ring and view.t - self.ring[-1].t > STEP_S:
            self.ring = []
        hot = any(v >= hot_ddegc for v in self.believed(view.probes).values())
        if watch.probes or hot or self.doubted:
            self.judge(view, bool(watch.probes), before if watch.probes or self.doubted else now, hot_ddegc)
        if watch.probes:
            self.steepest(view)
            self.ring = [*self.ring, watch.probes][-RING:]
        self.highest = max(self.believed(view.probes).values(), default=None)

    def judge(self, view, sampled, distress, hot_ddegc):
        last = self.ring[-1] if self.ring else None
        seconds = ceil(round(view.t - last.t, 6)) if last else 0
        values = self.believed(view.probes)
        moves = {n: v - last.values[n] for n, v in values.items() if last and last.values[n] is not None}
        jumps = {n for n, dk in moves.items() if dk > JUMP_DK + JUMP_DK_PER_S * seconds or dk < -FALL_DK}
        moved = any(abs(dk) >= STILL_DK for n, dk in moves.items() if n not in jumps)
        heats = any(dk >= max(STILL_DK, HEATS_DK_PER_S * seconds) for n, dk in moves.items() if n not in jumps)
        others = [v for n, v in values.items() if n not in jumps]
        likely = (min(others) - NEAR_DK, max(others) + NEAR_DK) if others else (COLDEST_DDEGC, hot_ddegc - 1)
        for n in sorted(self.doubted):
            value = view.probes[n]
            if value is None:
                continue
            if distress or heats:
                del self.doubted[n]
            elif not likely[0] <= value <= likely[1]:
                self.doubted[n] = 0
            elif sampled:
                self.doubted[n] += seconds if last else 1
                if self.doubted[n] >= BACK_S:
                    del self.doubted[n]
        if jumps and not distress and not moved and len({values[n] for n in jumps}) == 1:
            self.doubted |= dict.fromkeys(jumps, 0)
        if last and not sampled:  # what one that is still not believed reads counts as its last sample
            last.values = [
                v if n in self.doubted else old for n, (v, old) in enumerate(zip(view.probes, last.values, strict=True))
            ]

    def steepest(self, view):
        """The steepest rise over the shortest window of 4 s or more between samples."""
        self.rise, self.rise_at, self.steep = None, None, False
        back = list(reversed(self.ring))  # newest first
        old = [k for k, s in enumerate(back) if WINDOW_S <= round(view.t - s.t, 6)]
        if not old or view.t - back[old[0]].t > STEP_S:
            return
        k = old[0]
        first, between = back[k], back[k // 2] if k else None
        self.rise = 0
        for n, value in self.believed(view.probes).items():
            if first.values[n] is None:
                continue
            whole = value - first.values[n]
            rise = round(whole * 100 / (view.t - first.t), 6)
            half = whole / 2 if between is None else between.values[n]
            if between is not None and half is not None:
                half -= first.values[n]
            goes_on = half is not None and half * 4 >= whole and (whole - half) * 4 >= whole
            if rise > self.rise and (goes_on or whole > FLICKER_DK):
                self.rise, self.rise_at = rise, n
            if rise >= RUNAWAY_MK_PER_S and goes_on:
                self.steep = True
