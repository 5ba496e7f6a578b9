"""When the page takes a sample, what it calls calm, at rest, asleep and waking: whole histories, looked through anew.

Signals are as the vehicle means them, as whole numbers: mV, mA, 0.1 degC, 0.1 %, ohm/V. None is "no valid value".
"""

from dataclasses import dataclass, field
from statistics import median_low

STEP_S = 60  # a step between two samples counts only if they are at most so far apart
REMEMBERED_S = 200  # no rule of a scan looks farther back


@dataclass
class View:
    """What the box knows at one scan.

    t: s; cells, probes: a value or None each, cell 1 first; cell_messages, probe_messages: which message carries each;
    fresh, arrivals: for each message (or page of one); scalars: {name: value or None}; sent: the scalars that the
    vehicle sends; counted: {what: how often so far} of what is counted beside the values.
    """

    t: float
    cells: list
    probes: list
    cell_messages: list
    probe_messages: list
    fresh: list
    arrivals: list
    scalars: dict = field(default_factory=dict)
    sent: frozenset = frozenset()
    counted: dict = field(default_factory=dict)

    def __getitem__(self, name):
        return self.scalars.get(name)

    def missing(self, kind):
        """The cells (probes) that come without a value in a message that is fresh: their indices."""
        values, messages = (self.cells, self.cell_messages) if kind == "cell" else (self.probes, self.probe_messages)
        return [n for n, value in enumerate(values) if value is None and self.fresh[messages[n]]]


@dataclass
class Sample:
    """One sample of the cells or probes: its time and each one's value or None."""

    t: float
    values: list

    @property
    def median(self):
        there = [value for value in self.values if value is not None]
        return median_low(there) if there else None

    def dev(self, n):
        """How far cell n stands over the median; None where it has no value."""
        return None if self.values[n] is None else self.values[n] - self.median


class Sampler:
    """Takes a sample when 1 s has passed since the last (or the start) and every fresh message of it has come again.

    taken: None, or whether the core took one in this scan. The page leaves open in which of the next few scans it is
    taken; so this one then follows the core, and asserts that it might do so, and does not wait for long.
    """

    GATHER_S = 10  # at the start and after a sleep messages that have yet to come are waited for
    PATIENCE = 4  # scans: probes and cells are not sampled in the same one, nor while the last sample is gone through

    def __init__(self, kind, scan_s):
        self.kind, self.scan_s = kind, scan_s
        self.samples = []
        self.since = None  # the last sample, or just before the first scan with a fresh message
        self.arrivals = {}  # of the messages, at the last sample
        self.taken, self.waited, self.patient, self.gathered = None, 0, 0.0, None

    def forget(self, view):
        self.samples, self.since, self.patient = [], view.t - 1, view.t + 1
        self.gathered = self.patient + self.GATHER_S
        self.arrivals = dict(enumerate(view.arrivals))

    def scan(self, view):
        """The sample of this scan, or None."""
        values, carriers = (
            (view.cells, view.cell_messages) if self.kind == "cell" else (view.probes, view.probe_messages)
        )
        fresh = {m for m in carriers if view.fresh[m]}
        if self.since is None and any(view.fresh):
            self.since = view.t - (1 if self.taken is None else self.scan_s)
            self.gathered = view.t + self.GATHER_S
        came = fresh and not any(self.arrivals.get(m, 0) == view.arrivals[m] for m in fresh)
        due = came and round(view.t - self.since, 6) >= 1
        if self.taken is not None:
            awaited = view.t <= (self.patient if fresh == set(carriers) else self.gathered)
            self.waited = self.waited + 1 if due and not self.taken and not awaited else 0
            assert self.waited <= self.PATIENCE, f"{self.kind}s at {view.t} s: the core takes no sample"
            assert due or not self.taken, f"{self.kind}s at {view.t} s: the core samples too early or old values"
            due = self.taken
        if not due:
            return None
        self.since = view.t
        self.arrivals = {m: view.arrivals[m] for m in set(carriers)}
        self.samples = [s for s in self.samples if view.t - s.t <= REMEMBERED_S] + [Sample(view.t, list(values))]
        return self.samples[-1]

    @property
    def step(self):
        """The last two samples, where they are near enough to be compared; else None."""
        if len(self.samples) < 2 or self.samples[-1].t - self.samples[-2].t > STEP_S:
            return None
        return self.samples[-2], self.samples[-1]


def agree(before, now):
    """The cells moved together: the median absolute deviation of their steps is under 5 mV, and the steps are small."""
    steps = [b - a for a, b in zip(before.values, now.values, strict=True) if a is not None and b is not None]
    if not steps:
        return False
    middle = median_low(steps)
    mad = sorted(abs(step - middle) for step in steps)[len(steps) // 2]
    return mad < 5 and -32 < middle < 31


class Watch:
    """The clockwork under all rules. After `scan(view)`:

    cells, probes: the Sample of this scan or None; calm, rest, asleep, waking, first_true: bool; mode: 0..4;
    woke: True in the scan in which the true data begins.
    """

    SLEEP_S, WAKING_S, FIRST_TRUE_S, REST_S, QUIET_MA, SPREAD_MA, QUIET_S = 10, 30, 60, 60, 5000, 2000, 2

    def __init__(self, sleep_s=SLEEP_S, scan_s=0.1):
        self.sleep_s, self.scan_s = sleep_s, scan_s
        self.cell_sampler, self.probe_sampler = Sampler("cell", scan_s), Sampler("probe", scan_s)
        self.cells = self.probes = None
        self.quiet = None  # (since, lowest, highest) of the current while it is small and steady
        self.small_since = None  # when it became small
        self.last_fresh = None
        self.asleep = self.waking = self.agree = self.woke = False
        self.woken = self.true_since = self.start = None
        self.cells_before, self.others_before = [], {}  # cells in the last true sample; what else was known by then
        self.awake_s = self.known_s = 0.0  # time with true data; and of it, with a value of any cell
        self.last_t = None

    def scan(self, view):
        self.woke = False
        if self.start is None:
            self.start = self.last_fresh = view.t
        if any(view.fresh):
            self.last_fresh = view.t
            if self.asleep:
                # What a scan finds came since the one before it.
                self.asleep, self.waking, self.woken = False, True, view.t - self.scan_s
        elif round(view.t - self.last_fresh, 6) >= self.sleep_s and not self.asleep:
            self.asleep, self.waking, self.agree, self.true_since = True, False, False, None
            self.small_since = view.t - self.REST_S  # a vehicle asleep draws nothing
            for sampler in (self.cell_sampler, self.probe_sampler):
                sampler.forget(view)
        self.cells = self.probes = None
        if self.waking:
            for sampler in (self.cell_sampler, self.probe_sampler):
                sampler.patient, sampler.gathered = view.t + 1, view.t + Sampler.GATHER_S
            sample = self.cell_sampler.scan(view)
            if round(view.t - self.woken, 6) >= self.WAKING_S or (sample and self.differs(view)):
                self.waking, self.woke, self.cells = False, True, sample
                self.start = self.true_since = view.t
            else:
                self.cell_sampler.samples = []
        if not self.asleep and not self.waking:
            self.cells = self.cells if self.woke else self.cell_sampler.scan(view)
            self.probes = self.probe_sampler.scan(view)
            if self.cells:
                self.cells_before, self.others_before = self.cells.values, self.others_before | self.others(view)
            if self.last_t is not None:
                self.awake_s += view.t - self.last_t
                self.known_s += 0 if view.cells.count(None) == len(view.cells) else view.t - self.last_t
        self.last_t = view.t
        if self.cells:
            step = self.cell_sampler.step
            self.agree = bool(step) and agree(*step)
        self.watch_current(view)
        self.first_true = self.true_since is not None and view.t - self.true_since <= self.FIRST_TRUE_S
        self.mode = self.judge_mode(view)

    @staticmethod
    def others(view):
        """What is compared across a sleep beside the cells, as far as it is there."""
        probes = [v for v in view.probes if v is not None]
        told = {"hottest": max(probes, default=None), "coldest": min(probes, default=None), "pack": view["pack"]}
        return {name: value for name, value in told.items() if value is not None}

    def differs(self, view):
        """What is there now and was there before the sleep reads differently, or no cell can be compared.

        Compared are the cells with the last sample, and whatever was known last of the others.
        """
        before = self.cells_before or [None] * len(view.cells)
        cells = [pair for pair in zip(before, view.cells, strict=True) if None not in pair]
        now = self.others(view)
        return (
            not cells
            or any(old != new for old, new in cells)
            or any(now[name] != old for name, old in self.others_before.items() if name in now)
        )

    def watch_current(self, view):
        current = view["current"]
        if current is None and self.asleep:
            self.quiet = None
        elif current is None or abs(current) > self.QUIET_MA:
            self.quiet = self.small_since = None
        else:
            self.small_since = view.t if self.small_since is None else self.small_since
            since, low, high = self.quiet or (view.t, current, current)
            low, high = min(low, current), max(high, current)
            self.quiet = (since, low, high) if high - low < self.SPREAD_MA else (view.t, current, current)
        self.quiet_for = view.t - self.quiet[0] if self.quiet else None
        self.small_for = None if self.small_since is None else view.t - self.small_since
        self.calm = self.agree and self.quiet_for is not None and round(self.quiet_for, 6) >= self.QUIET_S
        self.rest = self.small_for is not None and round(self.small_for, 6) >= self.REST_S

    def judge_mode(self, view):
        if self.asleep:
            return 4
        if view["charging"] == 1:
            return 2
        if view["on"] == 1:
            return 1
        return 3 if view["on"] == 0 else 0
