"""HAZARDS sections B to E as one oracle: every feature of a scan, and the rows by which they are judged.

Whole numbers as the vehicle sends them (mV, mA, 0.1 degC, 0.1 %, ohm/V); a feature is in the unit of its row.
"""

from oracle_cells import Contact, Drift, Excursions, SelfDischarge
from oracle_pack import InsulationTrend, PackStep, PackSum, SocJump
from oracle_probes import Probes
from oracle_runaway import Runaway
from oracle_time import Watch
from oracle_trust import CellsAbsent, CellsLost, CountMismatch, Frozen, Recent, SignalLost
from oracle_verdicts import BAD_HIGH, BAD_LOW, Hazard

NMC = {"cell_l3_mv": 2500, "hot_ddegc": 600, "insulation_l3": 100, "step_mv": 10_000, "sum_permille": 15}


def rows():
    """The rows of sections B to E for an NMC pack, in the units of the features."""
    no = None

    def row(name, limits, assert_s, clear, clear_s, samples=1, side=BAD_HIGH, **more):
        assert_s = assert_s if isinstance(assert_s, tuple) else (assert_s,) * 3
        return Hazard(name, name, side, limits, assert_s, clear, clear_s, samples=samples, **more)

    return [
        row("temperature_rise", (300, 600, 1000), (7, 3, 3), (255, 510, 850), 10, samples=2),
        row("soc_jump", (50, 100, no), 0, (30, 80, no), 10, samples=2),
        row("pack_step", (no, no, 10_000), 0.5, (no, no, 5000), 10, samples=2),
        row("pack_sum_mismatch", (15, 25, 40), 10, (10, 20, 35), 10, samples=2, calm_levels=(1,)),
        row("cell_transient", (3, 5, no), 0, (2, 4, no), 10),
        row("cell_drift", (30, 60, no), 0, (20, 50, no), 10),
        row("self_discharge", (3000, 10_000, no), 0, (1500, 5000, no), 10),
        row("contact_resistance", (300, 600, no), 0, (150, 300, no), 10),
        row("insulation_trend", (168, 24, no), 0, (252, 36, no), 60, side=BAD_LOW),
        row("signal_lost", (no, 1, 2), 1, (no, 0, 1), 5),
        row("counter_error", (no, 5, no), 0, (no, 0, no), 5),
        row("checksum_error", (no, 5, no), 0, (no, 0, no), 5),
        row("frame_malformed", (1, 1, no), (0, 10, 0), (0, 0, no), 10),
        row("frames_lost", (1, 1, no), (0, 10, 0), (0, 0, no), 10),
        row("bus_off", (no, 1, no), 0, (no, 0, no), 5),
        row("cells_lost", (no, 1, 2), 1, (no, 0, 1), 10, samples=2),
        row("cells_absent", (no, 1, no), 0, (no, 0, no), 5),
        row("probe_fault", (1, no, no), 1, (0, no, no), 60),
        row("sense_line", (30, no, no), 30, (20, no, no), 10),
        row("frozen", (60, no, no), 0, (30, no, no), 5),
        row("time_backward", (1, no, no), 0, (0, no, no), 10),
        row("mismatch", (no, 1, no), 5, (no, 0, no), 10, samples=2),
        row("thermal_runaway", (no, no, 1), 0, (no, no, 0), 0, latched=True),
        row("thermal_suspected", (no, 1, no), 0, (no, 0, no), 30),
    ]


class Page:
    """scan(view) -> {rule: feature} of sections B, D, E and of C as far as values tell; None is "no value".

    reference_s: the part of the page's "30-60 s" that the reference of sign (a) uses; with more than 30 the widest
    reading of the page in all things, else the narrowest that is allowed. late: a sample of the probes is judged before
    the cells of its scan are looked at.
    """

    def __init__(
        self, cells, probes, limits=None, reference_s=30, sleep_s=10, scan_s=0.1, middle_mv=(3450, 4250), late=False
    ):
        self.limits = limits or NMC
        self.watch = Watch(sleep_s, scan_s)
        self.probes = Probes(probes)
        self.lost, self.absent, self.frozen = (
            CellsLost(within_s=20 if reference_s > 30 else 10),
            CellsAbsent(),
            Frozen(),
        )
        self.counts, self.signals = CountMismatch(cells, probes), SignalLost()
        self.step, self.soc, self.sum, self.insulation = (
            PackStep(self.limits["step_mv"], 3700 * cells),
            SocJump(),
            PackSum(),
            InsulationTrend(),
        )
        self.recent = {rule: Recent() for rule in ("frame_malformed", "frames_lost", "time_backward")}
        self.excursions, self.drift = Excursions(cells), Drift(cells, middle_mv)
        self.contact, self.discharge = Contact(cells), SelfDischarge(cells)
        self.runaway = Runaway(self.limits, reference_s)
        self.late, self.bad_cells = late, False

    def where(self):
        """{rule: numbers from 1 of the cells or probes that its feature may name}"""
        at = {
            "temperature_rise": self.probes.rise_at, "cell_transient": self.excursions.count_at,
            "cell_drift": self.drift.at, "self_discharge": self.discharge.at,
            "contact_resistance": self.contact.at, "sense_line": self.excursions.line_at,
        }  # fmt: skip
        named = {rule: set() if n is None else {n + 1} for rule, n in at.items()}
        return named | {
            "cells_lost": {n + 1 for n in self.lost.lost}, "probe_fault": {n + 1 for n in self.probes.faulty},
        }  # fmt: skip

    def scan(self, view):
        watch, limits = self.watch, self.limits
        watch.scan(view)
        self.lost.scan(view, watch)
        self.runaway.remember(watch)
        there = [v for v in view.cells if v is not None]
        low = bool(there) and min(there) <= limits["cell_l3_mv"]
        burns = any(self.runaway.on(sign, view.t) for sign in ("a", "b", "c"))
        before, self.bad_cells = self.bad_cells, bool(self.lost.lost) or low
        before = burns or (before if self.late else self.bad_cells)
        self.probes.scan(view, watch, before, burns or self.bad_cells, limits["hot_ddegc"])
        step, mismatch = self.step.scan(view, watch), self.sum.scan(view, watch)
        stepped = step is not None and step >= limits["step_mv"]
        hot = self.probes.highest is not None and self.probes.highest >= limits["hot_ddegc"]
        told = any(self.runaway.on(sign, view.t) for sign in ("b", "step"))
        second = low or hot or stepped or told or (mismatch is not None and mismatch >= limits["sum_permille"])
        lost = self.lost.value(second)
        leak = view["insulation"] is not None and view["insulation"] <= limits["insulation_l3"]
        facts = {"step": stepped, "lost2": lost == 2, "insulation": leak}
        confirmed, suspected = self.runaway.scan(view, watch, self.probes, self.lost, facts)
        for rule in (self.excursions, self.drift, self.contact, self.discharge):
            rule.scan(view, watch)
        return {
            "temperature_rise": self.probes.rise, "soc_jump": self.soc.scan(view, watch), "pack_step": step,
            "pack_sum_mismatch": mismatch, "cell_transient": self.excursions.count, "cell_drift": self.drift.value,
            "self_discharge": self.discharge.value, "contact_resistance": self.contact.value,
            "insulation_trend": self.insulation.scan(view), "cells_lost": lost,
            "cells_absent": self.absent.scan(view, watch), "probe_fault": len(self.probes.faulty),
            "sense_line": self.excursions.line_mv, "frozen": self.frozen.scan(view, watch),
            "mismatch": self.counts.scan(view), "thermal_runaway": confirmed, "thermal_suspected": suspected,
            "signal_lost": self.signals.scan(view, self.watch.asleep), "bus_off": view.counted.get("bus_off", 0),
            **{rule: recent.scan(view.t, view.counted.get(rule, 0)) for rule, recent in self.recent.items()},
        }  # fmt: skip
