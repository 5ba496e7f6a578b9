"""The catalogue's semantics, the same for every row: levels, timers, margins, gates, two samples, latches."""

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


class Verdicts:
    """Levels, timers, margins and gates: the semantics that are the same for every row."""

    def __init__(self, scan_s=0.1):
        self.scan_s = scan_s

    def acknowledge(self, hazard):
        """Every level is as if it had never been; one whose condition still holds comes back in the same scan."""
        hazard.timers = [Timer() for _ in range(3)]

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
                    shown, where = value, reading.where  # the highest level that asserts is told
                    if not bad:
                        shown, where = None, timer.by[1] if timer.by[0] in ("cell", "probe") else 0
        level = max((k + 1 for k, timer in enumerate(hazard.timers) if timer.asserted), default=0)
        before, hazard.level = hazard.level, level
        return (hazard.name, before, level, where, shown) if level != before else None
