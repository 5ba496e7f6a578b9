"""Trust in the data (HAZARDS C), each rule from what came and what did not."""

from oracle_time import STEP_S

START_S, STILL_S, RECENT_S = 30, 30, 5


class CellsLost:
    """scan(view, watch), then value(second_sign) -> 0 none, 1 some, 2 some and a second sign.

    lost: cells without a value now that had one since the start or the first frame after a sleep, in a fresh message.
    newly: how many more they have become within the last `within_s`. before: which had one before the last sleep.
    """

    def __init__(self, within_s=10, before=frozenset()):
        self.within_s, self.before = within_s, before
        self.seen, self.lost, self.newly = set(), set(), 0
        self.counts = []  # (t, how many were lost)

    def scan(self, view, watch):
        if watch.asleep:
            self.__init__(self.within_s, self.seen if self.counts else self.before)
            return
        self.lost = {n for n in view.missing("cell") if n in self.seen}
        self.seen |= {n for n, v in enumerate(view.cells) if v is not None}
        now = len(self.lost)
        self.counts = [(t, n) for t, n in self.counts if round(view.t - t, 6) <= self.within_s] + [(view.t, now)]
        self.newly = now - min(n for _, n in self.counts)

    def value(self, second_sign):
        return (2 if second_sign else 1) if self.lost else 0


class CellsAbsent:
    """scan(view, watch) -> how many cells never had a value, 30 s after the start and since they became fewer."""

    def __init__(self):
        self.seen, self.fewest, self.changed = set(), None, None

    def scan(self, view, watch):
        if watch.asleep:
            self.__init__()
            return 0
        self.seen |= {n for n, v in enumerate(view.cells) if v is not None}
        absent = [n for n in view.missing("cell") if n not in self.seen]
        if self.fewest is None or len(absent) < self.fewest:
            self.fewest, self.changed = len(absent), view.t
        # Counted in scans, the first one among them: what a scan finds came since the one before it.
        waited = round(view.t + watch.scan_s - watch.start, 6) >= START_S
        waited = waited and round(view.t - self.changed, 6) >= STILL_S
        return len(absent) if waited else 0


class SignalLost:
    """scan(view, asleep) -> 0, 1 (some message is silent), 2 (all are), while on or charging as last known.

    Awake again, what has not come since the sleep is awaited, not lost.
    """

    def __init__(self):
        self.known, self.asleep_with = {}, None

    def scan(self, view, asleep):
        if asleep:
            self.asleep_with = view.arrivals
        before = self.asleep_with if self.asleep_with and not asleep else [0] * len(view.arrivals)
        self.known |= {name: view[name] for name in ("on", "charging") if view[name] is not None}
        active = 1 in self.known.values()
        overdue = [not fresh and n > old for fresh, n, old in zip(view.fresh, view.arrivals, before, strict=True)]
        told = {"on", "charging"} & view.sent
        if not any(view.fresh):
            return 2 if told and active and any(overdue) else 0
        return int(any(overdue) and (active or not told))


class Recent:
    """scan(t, count) -> 1 while something was counted within the last 5 s: a malformed frame, a stamp going back."""

    def __init__(self):
        self.last, self.count = None, 0

    def scan(self, t, count):
        if count != self.count:
            self.last, self.count = t, count
        return int(self.last is not None and round(t - self.last, 6) < RECENT_S)


class Leaky:
    """A message's leaky counter, 0..5: one more for each wrong frame, one less for each right one."""

    def __init__(self):
        self.value = 0

    def frame(self, right):
        self.value = max(self.value - 1, 0) if right else min(self.value + 1, 5)


class Frozen:
    """scan(view, watch) -> seconds for which no cell has changed since the current had ranged over 20 A."""

    RANGE_MA = 20_000

    def __init__(self):
        self.last, self.wide_since, self.currents, self.value, self.at = None, None, [], 0, None

    def scan(self, view, watch):
        if watch.cells:
            changed, self.last = watch.cells.values != self.last, watch.cells.values
            late = self.at is None or view.t - self.at > STEP_S
            if changed or late or view["current"] is None:
                self.wide_since, self.currents = None, []
            self.at = view.t
            if view["current"] is not None:
                self.currents.append(view["current"])
            if self.wide_since is None and self.currents and max(self.currents) - min(self.currents) >= self.RANGE_MA:
                self.wide_since = view.t
            self.value = 0 if self.wide_since is None else view.t - self.wide_since
        return self.value


class CountMismatch:
    def __init__(self, cells, probes):
        self.wanted = {"cell_count": cells, "probe_count": probes}

    def scan(self, view):
        said = {name: view[name] for name in self.wanted if view[name] is not None}
        return None if not said else int(any(self.wanted[name] != value for name, value in said.items()))
