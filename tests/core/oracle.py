"""HAZARDS section A and its semantics once more, slowly and in physical units, from the page and not from the core.

`Oracle.scan(now_ms, signals, arrivals)` takes what is valid now and returns the events of that scan. Numbers are floats
in V, A, degC, %, ohm; None is "no valid value". Nothing here is shared with the core but the names of the rules.
"""

from oracle_page import Page
from oracle_time import View
from oracle_verdicts import BAD_HIGH, BAD_LOW, Hazard, Reading, Verdicts


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


class Oracle(Verdicts):
    def __init__(self, cells, probes, scan_s=0.1):
        super().__init__(scan_s)
        self.hazards = page(cells)
        self.cells, self.probes = cells, probes
        self.ever = set()  # cells and probes that were valid once
        # When it is calm is a matter of sections B to E; and so is which probes are not believed: the numbers in
        # `faulty` are given, for here only what follows from it is judged (test_twin.py judges the doubt itself).
        self.faulty = set()
        self.others = Page(cells, probes)
        self.nominal_v = cells * 3.7

    # --- features ---

    def extremes(self, kind, count, signals):
        there = {n: signals[kind, n] for n in range(1, count + 1) if signals[kind, n] is not None}
        self.ever |= {(kind, n) for n in there}
        faulty = self.faulty if kind == "probe" else set()
        valid = {n: value for n, value in there.items() if n not in faulty}
        lost = any((kind, n) in self.ever and n not in valid for n in range(1, count + 1))
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

    def see(self, now_ms, signals, arrivals):
        """The same scan for sections B to E, in their units; every message is fresh here."""
        names = [("cell", n) for n in range(1, self.cells + 1)] + [("probe", n) for n in range(1, self.probes + 1)]
        cells = [None if signals[name] is None else round(1000 * signals[name]) for name in names[: self.cells]]
        probes = [None if signals[name] is None else round(10 * signals[name]) for name in names[self.cells :]]
        units = {"pack": 1000, "current": 1000, "soc": 10, "charging": 1, "contactors": 1}
        scalars = {n: None if signals[n] is None else round(by * signals[n]) for n, by in units.items()}
        count = len(names)
        self.others.scan(
            View(
                now_ms / 1000, cells, probes, list(range(self.cells)), list(range(self.cells, count)), [True] * count,
                [arrivals[name] for name in names], scalars, frozenset(units),
            )
        )  # fmt: skip

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
        self.see(now_ms, signals, arrivals)
        features = self.read(signals)
        calm = self.others.watch.calm
        events = []
        for hazard in self.hazards:
            event = self.judge(hazard, features[hazard.feature], signals, arrivals, calm, now_ms / 1000)
            if event:
                events.append((now_ms, *event))
        return events
