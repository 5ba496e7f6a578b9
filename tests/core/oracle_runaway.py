"""Thermal runaway (HAZARDS D): the signs, how long each is remembered, and which of them together are proof."""

from statistics import median_low

REMEMBERED_S = 30
OVER_DDEGC = 800  # no healthy battery is hotter


class Runaway:
    """scan(view, watch, probes, lost, facts) -> (confirmed, suspected), each 0 or 1; a sign counts for 30 s.

    reference_s: how far back the highest median is looked for; the page leaves 30 to 60 s open. Of the widest
    reading, time in which no cell has a value is none: what the cells had before they vanished is still known.
    facts: {"step", "fault", "insulation", "lost2": bool} from the other rules at this scan.
    """

    def __init__(self, limits, reference_s=30):
        self.limits = limits  # {"cell_l3_mv": cell_undervoltage L3, "hot_ddegc": temperature_high L2}
        self.reference_s = reference_s
        self.medians = []  # (time, median) of every sample
        self.shown = {}  # sign -> when it was seen last
        self.newly2 = False

    def clock(self, watch):
        return watch.awake_s if self.reference_s <= 30 else watch.known_s

    def reference(self, now_s):
        self.medians = [(t, m) for t, m in self.medians if now_s - t <= self.reference_s]
        return max((m for _, m in self.medians), default=None)

    def collapsed(self, view, watch):
        """(a): a cell fell by more than 25 % of its voltage before the event."""
        if watch.asleep:
            return False
        there = [v for v in view.cells if v is not None]
        reference = self.reference(self.clock(watch))
        return bool(there) and reference is not None and min(there) * 4 < 3 * reference

    def remember(self, watch):
        """Called before the signs are read: the medians of the samples."""
        if watch.cells and watch.cells.median is not None:
            self.medians.append((self.clock(watch), median_low([v for v in watch.cells.values if v is not None])))

    def on(self, sign, now):
        """Seen within the last 30 s."""
        return sign in self.shown and round(now - self.shown[sign], 6) < REMEMBERED_S

    def scan(self, view, watch, probes, lost, facts):
        if watch.asleep:
            return self.judge(view, watch, probes, lost, False, False)
        now = view.t
        hottest = probes.highest
        hot = hottest is not None and hottest >= self.limits["hot_ddegc"]
        there = [v for v in view.cells if v is not None]
        low = bool(there) and min(there) <= self.limits["cell_l3_mv"]
        signs = {
            "a": self.collapsed(view, watch),
            "b": hot,
            "c": probes.steep,
            "step": facts["step"],
            "lost4": lost.newly >= 4,
            "lost2": facts["lost2"],
            "fault": bool(probes.faulty),
            "insulation": facts["insulation"],
        }
        self.shown |= {name: now for name, on in signs.items() if on}
        self.newly2 = lost.newly >= 2
        return self.judge(view, watch, probes, lost, low, True)

    def judge(self, view, watch, probes, lost, low, awake):
        on = {s: self.on(s, view.t) for s in ("a", "b", "c", "step", "lost4", "lost2", "fault", "insulation")}
        confirmed = (
            ((on["a"] or on["b"]) and on["c"])
            or (on["a"] and on["b"])
            or (on["a"] and on["lost4"])
            or (on["b"] and on["step"])
            or (probes.highest is not None and probes.highest > OVER_DDEGC)
            or (on["fault"] and (on["a"] or (awake and self.newly2)))
        )
        if watch.first_true:
            gone = lost.before & {*view.missing("cell")}
            confirmed = confirmed or (on["b"] and (low or len(gone) >= 4))
        suspected = sum(on[name] for name in ("a", "b", "c", "step", "lost2", "insulation")) >= 2
        return int(confirmed), int(suspected)
