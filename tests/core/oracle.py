"""HAZARDS section A and its semantics once more, slowly and in physical units, from the page and not from the core.

`Oracle.scan(now_ms, signals, arrivals)` takes what is valid now and returns the events of that scan. Numbers are floats
in V, A, degC, %, ohm; None is "no valid value". Nothing here is shared with the core but the names of the rules.
"""

from dataclasses import dataclass, field

BAD_HIGH, BAD_LOW = "over", "under"


@dataclass
class Hazard:
    """One row of the page. limits: by level, None where there is none; clear: what it must come back to, by level."""

    name: str
    feature: str
    side: str
    limits: tuple
    assert_s: tuple
    clear: tuple
    clear_s: float
    gate: str | None = None
    samples: int = 2
    calm_levels: tuple = ()
    latched: bool = False  # only an acknowledgement clears it
    timers: list = field(default_factory=lambda: [Timer() for _ in range(3)])
    level: int = 0


@dataclass
class Timer:
    """One level of one row: since when the condition holds, which signal showed it first and its sample then."""

    since: float | None = None
    by: object = None
    sample: int = 0
    asserted: bool = False
    good_s: float | None = None  # valid time spent beyond the clear margin; None = not clearing


@dataclass
class Reading:
    """A feature now: value or None, the signal that shows it, its number for people, all it needs is there."""

    value: float | None
    by: object = None
    where: int = 0
    complete: bool = True


def page(cells):
    """Section A for an NMC pack of so many cells."""
    over, under = (4.25, 4.28, 4.35), (2.90, 2.75, 2.50)
    pack_over = tuple(round(cells * x, 6) for x in over)
    pack_under = tuple(round(cells * x, 6) for x in under)

    def by(limits, margin):
        return tuple(None if x is None else round(x + margin, 6) for x in limits)

    return [
        Hazard("cell_overvoltage", "highest cell", BAD_HIGH, over, (1, 1, 1), by(over, -0.03), 5, samples=1),
        Hazard("cell_undervoltage", "lowest cell", BAD_LOW, under, (1, 1, 0.3), by(under, 0.15), 10, samples=1),
        # a percentage is cut to the millivolt
        Hazard("pack_overvoltage", "pack voltage", BAD_HIGH, pack_over, (1, 1, 1), cut(pack_over, 99), 5),
        Hazard(
            "pack_undervoltage",
            "pack voltage",
            BAD_LOW,
            pack_under,
            (1, 1, 1),
            cut(pack_under, 102),
            10,
            gate="contactors",
        ),
        Hazard("temperature_high", "hottest", BAD_HIGH, (55, 60, 65), (2, 2, 2), (52, 57, 62), 10),
        Hazard("temperature_spread", "probe spread", BAD_HIGH, (12, 18, 25), (5, 5, 5), (10, 16, 23), 10),
        Hazard("charge_too_cold", "coldest", BAD_LOW, (0, -5, -10), (10, 10, 10), (2, -3, -8), 10, gate="charging"),
        Hazard(
            "cell_spread",
            "cell spread",
            BAD_HIGH,
            (0.15, 0.3, 0.5),
            (5, 5, 5),
            (0.12, 0.27, 0.47),
            10,
            calm_levels=(1,),
        ),
        Hazard("overcurrent_discharge", "discharge", BAD_HIGH, (105, 115, 130), (5, 2, 0.5), (95, 95, 95), 5),
        Hazard("overcurrent_charge", "charge", BAD_HIGH, (105, 115, 130), (5, 2, 0.5), (95, 95, 95), 5),
        Hazard("insulation_low", "insulation", BAD_LOW, (500, 300, 100), (5, 5, 1), (600, 360, 120), 20),
        Hazard("soc_low", "soc", BAD_LOW, (10, 5, 2), (5, 5, 5), (12, 7, 4), 10),
        Hazard("soc_high", "soc", BAD_HIGH, (101, 103, 105), (5, 5, 5), (99, 101, 103), 10),
        Hazard("overcharge", "overcharge", BAD_HIGH, (1, 1, 1), (5, 15, 30), (0, 0, 0), 10, gate="charging"),
        Hazard("hvil_open", "hvil open", BAD_HIGH, (None, None, 1), (0, 0, 0.3), (None, None, 0), 3),
        Hazard("bms_alarm", "bms level", BAD_HIGH, (1, 2, 3), (0.2, 0.2, 0.2), (0, 1, 2), 1),
    ]


def cut(limits, percent):
    return tuple(int(round(x * 1000) * percent / 100) / 1000 for x in limits)


class Verdicts:
    """Levels, timers, margins and gates: the semantics that are the same for every row."""

    def __init__(self, scan_s=0.1):
        self.scan_s = scan_s

    def judge(self, hazard, reading, signals, arrivals, calm, now):
        gate = 1 if hazard.gate is None else signals[hazard.gate]
        value, shown, where = reading.value, reading.value, reading.where
        valid = value is not None and gate is not None
        for k, timer in enumerate(hazard.timers):
            limit = hazard.limits[k]
            if limit is None:
                continue
            over = hazard.side == BAD_HIGH
            bad = valid and gate == 1 and (value >= limit if over else value <= limit)
            bad = bad and (calm or k + 1 not in hazard.calm_levels)
            if timer.asserted:
                back = valid and (gate == 0 or (value <= hazard.clear[k] if over else value >= hazard.clear[k]))
                if back and (reading.complete or gate == 0) and not hazard.latched:
                    timer.good_s = 0 if timer.good_s is None else timer.good_s + self.scan_s
                    if timer.good_s >= hazard.clear_s - 1e-9:
                        hazard.timers[k] = Timer()
                elif valid and not back:
                    timer.good_s = None
                continue
            # The condition runs on while it is seen, and while nobody can say that it ended.
            lost = timer.since is not None and (not valid or signals[timer.by] is None) and gate != 0
            if bad and timer.since is None:
                timer.since, timer.by, timer.sample = now, reading.by, arrivals[reading.by]
            elif not bad and not lost:
                timer.since = None
            if timer.since is not None and now - timer.since >= hazard.assert_s[k] - 1e-9:
                if hazard.samples == 1 or arrivals[timer.by] != timer.sample:
                    timer.asserted, timer.good_s = True, None
                    if not bad:
                        shown, where = None, timer.by[1] if timer.by[0] in ("cell", "probe") else 0
        level = max((k + 1 for k, timer in enumerate(hazard.timers) if timer.asserted), default=0)
        before, hazard.level = hazard.level, level
        return (hazard.name, before, level, where, shown) if level != before else None


class Oracle(Verdicts):
    def __init__(self, cells, probes, scan_s=0.1):
        super().__init__(scan_s)
        self.hazards = page(cells)
        self.cells, self.probes = cells, probes
        self.ever = set()  # cells and probes that were valid once
        self.quiet = []  # the currents since the vehicle came to rest, one a scan
        self.before = {}  # the cells' voltages at the last scan
        self.nominal_v = cells * 3.7

    # --- features ---

    def extremes(self, kind, count, signals):
        valid = {n: signals[kind, n] for n in range(1, count + 1) if signals[kind, n] is not None}
        lost = any((kind, n) in self.ever and n not in valid for n in range(1, count + 1))
        self.ever |= {(kind, n) for n in valid}
        if not valid:
            return (Reading(None, complete=not lost),) * 3
        high = min(valid, key=lambda n: (-valid[n], n))
        low = min(valid, key=lambda n: (valid[n], n))
        mean = sum(valid.values()) / len(valid)
        far = high if round(valid[high] - mean, 9) > round(mean - valid[low], 9) else low
        spread = round(valid[high] - valid[low], 6) if len(valid) > 1 else None
        return (
            Reading(valid[high], (kind, high), high, not lost),
            Reading(valid[low], (kind, low), low, not lost),
            Reading(spread, (kind, far), far, not lost),
        )

    def calm(self, signals):
        """Semantics 7: small now and for two seconds, changed by less than 2 A, and the cells' steps agree."""
        current = signals["current"]
        if current is None or abs(current) > 5:
            self.quiet = []
        else:
            self.quiet.append(current)
            if max(self.quiet) - min(self.quiet) >= 2:
                self.quiet = [current]
        at_rest = (len(self.quiet) - 1) * self.scan_s >= 2 - 1e-9
        now = {n: signals["cell", n] for n in range(1, self.cells + 1) if signals["cell", n] is not None}
        steps = sorted(round(1000 * (now[n] - self.before[n])) for n in now if n in self.before)
        self.before = now
        if not at_rest or not steps:
            return False
        middle = steps[(len(steps) - 1) // 2]
        mad = sorted(abs(step - middle) for step in steps)[len(steps) // 2]
        return mad < 5 and -32 < middle < 31

    def read(self, s):
        """{feature: Reading} of one scan."""
        highest, lowest, cell_spread = self.extremes("cell", self.cells, s)
        hottest, coldest, probe_spread = self.extremes("probe", self.probes, s)
        current, soc, pack = s["current"], s["soc"], s["pack"]

        def load(flow, limit):
            if flow is None:
                return None
            if flow <= 0:
                return 0.0
            return None if limit is None else int(round(flow * 1000) * 100 / (round(max(limit, 5) * 1000) // 10)) / 10

        insulation = None
        if s["insulation"] is not None and s["insulation valid"]:
            volts = pack if pack is not None and pack >= 60 else self.nominal_v
            insulation = s["insulation"] * 10 // (round(volts * 1000) // 100)
        full = (highest.value is not None and highest.value >= 4.25) or (soc is not None and soc > 100)
        overcharge = None
        if current is not None:
            if current > -1:
                overcharge = 0
            elif full:
                overcharge = 1
            elif highest.value is not None and highest.complete and soc is not None:
                overcharge = 0
        flags = {n: s["bms flag", n] for n in range(6)}
        level, level_by = s["bms level"], "bms level"
        for n, flag in flags.items():
            if flag and (level is None or level < 1):
                level, level_by = 1, ("bms flag", n)
        known = s["bms level"] is not None and None not in flags.values()
        return {
            "highest cell": highest, "lowest cell": lowest, "cell spread": cell_spread,
            "hottest": hottest, "coldest": coldest, "probe spread": probe_spread,
            "pack voltage": Reading(pack, "pack"), "soc": Reading(soc, "soc"),
            "discharge": Reading(load(current, s["max discharge"]), "current"),
            "charge": Reading(load(None if current is None else -current, s["max charge"]), "current"),
            "insulation": Reading(insulation, "insulation"), "overcharge": Reading(overcharge, "current"),
            "hvil open": Reading(None if s["hvil"] is None else 1 - s["hvil"], "hvil"),
            "bms level": Reading(level, level_by, complete=known),
        }  # fmt: skip

    # --- verdicts ---

    def scan(self, now_ms, signals, arrivals):
        """Judge one scan. signals: {name: value or None}; arrivals: {name: samples so far}. Returns its events."""
        features = self.read(signals)
        calm = self.calm(signals)
        events = []
        for hazard in self.hazards:
            event = self.judge(hazard, features[hazard.feature], signals, arrivals, calm, now_ms / 1000)
            if event:
                events.append((now_ms, *event))
        return events
