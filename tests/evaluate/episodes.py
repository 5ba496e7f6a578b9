"""Alarms counted as people meet them: an episode, not an event."""

from dataclasses import dataclass
from itertools import pairwise

CHAIN_S = 60  # raised again within so long after the end, it is the same episode


@dataclass
class Episode:
    """From the first raise of a rule to its last clear. level: the highest; where, value, unit: as that was raised."""

    rule: str
    begins_s: float
    ends_s: float
    level: int
    where: int = 0
    value: float | None = None
    unit: str = ""

    def overlaps(self, other):
        return self.begins_s <= other.ends_s and other.begins_s <= self.ends_s


def episodes(events, end_s):
    """Episodes, by their beginning, of a replay's events ({"t", "event", "rule", "level", ...}); end_s: of the log."""
    last, found, open_ = {}, [], set()
    for event in events:
        rule, t_s, level = event["rule"], event["t"], event["level"]
        if event["event"] == "clear":
            last[rule].ends_s = t_s
            open_.discard(rule)
            continue
        now = last.get(rule)
        if now is None or (rule not in open_ and t_s - now.ends_s > CHAIN_S):
            now = last[rule] = Episode(rule, t_s, t_s, 0)
            found.append(now)
        open_.add(rule)
        if level > now.level:
            now.level, now.where, now.value, now.unit = level, event["where"], event["value"], event["unit"]
    for rule in open_:
        last[rule].ends_s = end_s
    return found


def episodes_of_levels(rule, t_s, levels):
    """The same of a level for each sample: raised at the first sample that has one, clear at the first without."""
    events, before = [], 0
    for t, level in zip(t_s, levels, strict=True):
        if level != before:
            kind = "clear" if not level else "change" if before else "raise"
            events.append({"t": float(t), "event": kind, "rule": rule, "level": int(level), "where": 0, "value": None,
                           "unit": ""})  # fmt: skip
            before = level
    return episodes(events, float(t_s[-1]) if len(t_s) else 0.0)


def awake_s(t_s):
    """Seconds recorded awake: steps of more than 10 s, and of more than three usual ones, are sleep or a gap."""
    steps = sorted(b - a for a, b in pairwise(t_s) if b > a)
    if not steps:
        return 0.0
    longest = max(10, 3 * steps[len(steps) // 2])
    return float(sum(step for step in steps if step <= longest))


def per_100_hours(count, seconds):
    return count * 360_000 / seconds if seconds else 0.0
