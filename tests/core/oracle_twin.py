"""The core and the oracle of sections B to E side by side on one small vehicle, fed by real frames.

Twelve cells in three messages and six probes in two, so that a sample can be torn; every value is sent exactly.
"""

from collections import deque

from cellwarden.core import catalogue
from cellwarden.core import layout as L
from oracle_page import Page, rows
from oracle_time import View
from oracle_verdicts import Reading, Verdicts
from rig import FIRST_CELL, FrameRig
from vehicles import dbc, message, profile

CELLS, PROBES = 12, 6
SPREAD_MS = 1000  # the core may be so much later than the page
# The cells of a sample are looked at in the scans that follow it.
ANALYSED = ("cell_transient", "cell_drift", "self_discharge", "contact_resistance", "sense_line")
ANALYSED_SCANS = 4

_WORD = '|16@1+ (1,0) [0|5000] "mV"'
_TENTH = '|16@1- (0.1,0) [-50|200] "degC"'
MESSAGES = ("Cells1", "Cells2", "Cells3", "Temps1", "Temps2", "Pack", "Leak", "Status")
DBC = dbc(
    *(
        message(256 + k, 8, *(f"C{4 * k + i + 1} : {16 * i}{_WORD}" for i in range(4)), name=f"Cells{k + 1}")
        for k in range(3)
    ),
    *(
        message(272 + k, 6, *(f"T{3 * k + i + 1} : {16 * i}{_TENTH}" for i in range(3)), name=f"Temps{k + 1}")
        for k in range(2)
    ),
    message(
        288,
        8,
        'Voltage : 0|20@1+ (1,0) [0|1000000] "mV"',
        'Current : 20|24@1- (0.001,0) [-3000|3000] "A"',
        'Soc : 44|16@1+ (0.1,0) [0|100] "%"',
        name="Pack",
    ),
    message(289, 4, 'Ohm : 0|32@1+ (1,0) [0|100000000] "ohm"', name="Leak"),
    message(
        290,
        1,
        *(f'{n} : {2 * i}|2@1+ (1,0) [0|2] ""' for i, n in enumerate(("On", "Charging", "Closed"))),
        name="Status",
    ),
)


def vehicle(scan_ms=100, period_ms=1000):
    """(profile, files) of the vehicle whose every message comes each `period_ms`."""
    text = profile(
        "twin",
        'pack_voltage = "Pack.Voltage"\npack_current = "Pack.Current"\nsoc = "Pack.Soc"\n'
        'insulation = "Leak.Ohm"\ncell_voltage = "Cells*.C{n}"\ntemperature = "Temps*.T{n}"\n'
        'vehicle_state = { signal = "Status.On", on = [1], off = [0] }\n'
        'charging = { signal = "Status.Charging", true = [1] }\n'
        'contactors = { signal = "Status.Closed", true = [1] }\n'
        "[invalid]\n"
        '"Cells*.*" = [65535]\n"Temps*.*" = [32767]\n"Pack.Voltage" = [1048575]\n"Pack.Current" = [8388607]\n'
        '"Pack.Soc" = [65535]\n"Leak.Ohm" = [4294967295]\n"Status.*" = [3]\n'
        + "".join(f'[messages."{name}"]\nperiod_ms = {period_ms}\n' for name in MESSAGES),
        cells=CELLS,
        probes=PROBES,
    )
    return text.replace("[vehicle]", f"[vehicle]\nscan_ms = {scan_ms}"), {"a.dbc": DBC}


SLOTS = {
    "pack": L.PACK_VOLTAGE_MV, "current": L.PACK_CURRENT_MA, "soc": L.SOC_PERMILLE, "insulation": L.INSULATION_OHM,
    "on": L.VEHICLE_ON, "charging": L.CHARGING, "contactors": L.CONTACTORS,
}  # fmt: skip
NOMINAL_MV = CELLS * 3700
OHM_PER_V = NOMINAL_MV // 100 / 10  # the pack is under 60 V: insulation is judged by its nominal voltage
RELATIVE = {"self_discharge": 0.005, "frozen": 0.17}  # the core counts whole minutes asleep, whole seconds of samples
HEALTHY = {
    L.PACK_VOLTAGE_MV: NOMINAL_MV, L.PACK_CURRENT_MA: 0, L.SOC_PERMILLE: 500, L.INSULATION_OHM: 1_000_000,
    L.VEHICLE_ON: 1, L.CHARGING: 0, L.CONTACTORS: 1,
}  # fmt: skip

# How far the core's whole numbers may lie from the oracle's: rounding of a quotient, of a mean, of a filter.
TOLERANCE = {
    "temperature_rise": 1, "soc_jump": 2, "pack_sum_mismatch": 2, "cell_drift": 2, "self_discharge": 2,
    "contact_resistance": 20, "insulation_trend": 2, "frozen": 10, "sense_line": 1,
}  # fmt: skip


class Twin:
    """Both, scan by scan. `set` changes what the vehicle sends, `run` lets scans pass and compares each."""

    def __init__(self, compiled, start_ms=0):
        self.rig = FrameRig(compiled, start_ms, healthy=False)
        self.params = compiled.image.params
        self.owners = list(self.rig.engine.section("owners"))
        # The page leaves open how far between 30 and 60 s sign (a) looks back: the core lies between two oracles.
        self.scan_ms = compiled.image.params[L.P_SCAN_MS]
        self.pages = [Page(CELLS, PROBES, reference_s=s, scan_s=self.scan_ms / 1000, late=True) for s in (30, 60)]
        self.rows = [row for row in rows() if row.name in catalogue.RULES]
        self.verdicts = Verdicts(self.scan_ms / 1000)
        self.first = {row.name: next(limit for limit in row.limits if limit is not None) for row in self.rows}
        self.named = {}  # rule -> which cell or probe the oracle named in the last scans
        self.told = {}  # rule -> the oracle's (least, most) of the last scans
        self.scans = self.dropped = self.bus_off = 0
        self.ramps = {}
        self.slots = self.rig.sender.slots
        self.sent = {}  # slot -> the value that was sent last: the core marks in its own what it does not believe
        self.start_ms = start_ms
        self.last_now = None
        self.t = 0.0
        first, _ = L.params_sections(self.params, len(self.params))["rule_table"]
        self.features = {
            rule: self.params[first + n * L.RULE_TABLE_SIZE + L.P_FEATURE] for n, rule in enumerate(catalogue.RULES)
        }
        for slot, value in HEALTHY.items():
            self.rig[slot] = value
        self.rig.cells_read(3700)
        self.rig.probes_read(250)

    def set(self, changes):
        """changes: (what, value): a cell's or probe's number, "cells", "probes", a scalar; value None = not valid."""
        for what, value in changes:
            value = L.NA if value is None else value
            if what == "cells":
                self.rig.cells_read(value)
            elif what == "probes":
                self.rig.probes_read(value)
            elif what[0] == "ramp":
                self.ramps[what[1]] = value
            else:
                self.rig[self.slot(what)] = value

    def slot(self, what):
        if what in SLOTS:
            return SLOTS[what]
        return self.rig.cell(what[1]) if what[0] == "cell" else self.rig.probe(what[1])

    def group(self, what):
        return self.owners[self.slot(what)]

    def run(self, scans, every=1, silent=()):
        """So many scans; each message comes every `every` scans but those of the signals in `silent`, or "all"."""
        groups = range(len(self.rig.sender.groups))
        sent = [] if "all" in silent else [g for g in groups if g not in {self.group(what) for what in silent}]
        for k in range(scans):
            self.scans += 1
            if self.scans * self.scan_ms % 1000 == 0:
                for number, by in self.ramps.items():
                    at = self.rig.probe(number)
                    if self.rig.wanted[at] != L.NA:
                        self.rig.wanted[at] = max(-500, min(2000, self.rig.wanted[at] + by))
            if k % every == 0:
                for group in sent:
                    self.rig.send(self.rig.sender.frame(group, self.rig.wanted))
                    for slot in self.slots[group]:
                        self.sent[slot] = self.rig.wanted[slot]
            self.rig.scan(samples=0)
            self.compare()
            self.compare_verdicts()

    def happen(self, what):
        """One thing beside the values: "short" frame, "back" in time, "dropped" frames, bus "off" or "on"."""
        rig = self.rig
        t_ms = (rig.clock[L.DUE_MS] - rig.clock[L.OFFSET_MS] - 50) & L.MASK
        can_id, data, bus = rig.sender.frame(self.group("pack"), rig.wanted)
        if what == "short":
            rig.send((can_id, data[:3], bus))
        elif what == "back":
            rig.send((can_id, data, bus), before_ms=40)
            rig.send((can_id, data, bus), before_ms=60)
        elif what[0] == "ack":
            rig.engine.notice(t_ms, L.NOTICE_ACK, catalogue.RULES.index(what[1]))
            self.verdicts.acknowledge(next(row for row in self.rows if row.name == what[1]))
        elif what == "dropped":
            rig.engine.notice(t_ms, L.NOTICE_DROPPED, 1)
            self.dropped += 1
        else:
            rig.engine.notice(t_ms, L.NOTICE_BUS_OFF, int(what == "off"))
            self.bus_off = int(what == "off")

    def sleep(self, hours):
        """A silent bus for so long; the scans of it are left to the core's own short cut."""
        while self.rig.clock[L.MODE] != L.ASLEEP:
            self.run(10, silent=("all",))
        self.run(10, silent=("all",))
        at = self.rig.clock[L.NOW_MS] - self.rig.clock[L.OFFSET_MS] + round(hours * 3_600_000)
        self.rig.engine.advance(at & L.MASK)
        self.rig.take()
        self.compare()
        assert not self.rig.events, f"asleep: {self.rig.events}"

    def name(self, slot):
        """What the oracle calls a signal: a cell and a probe by its number."""
        if slot < FIRST_CELL:
            return ("scalar", slot)
        return (
            ("cell", slot - FIRST_CELL + 1) if slot < self.rig.first_probe else ("probe", slot - FIRST_CELL - CELLS + 1)
        )

    def compare_verdicts(self):
        """The rows judge the core's own features as the page says: the same events in the same scan."""
        rig = self.rig
        state = rig.engine.state
        signals = {self.name(n): None if v == L.NA else v for n, v in enumerate(rig.signals)}
        arrivals = {
            self.name(n): 0 if g == L.NA else rig.groups[g * L.GROUP_SIZE + L.ARRIVALS]
            for n, g in enumerate(self.owners)
        }
        told = []
        for row in self.rows:
            at = self.features[row.name]
            reading = Reading(
                None if state[at] == L.NA else state[at],
                self.name(state[at + L.SLOT]),
                state[at + L.WHERE],
                bool(state[at + L.COMPLETE]),
            )
            event = self.verdicts.judge(row, reading, signals, arrivals, bool(rig.feature(L.F_CALM)), self.t)
            if event:
                rule, before, level, where, value = event
                told.append((rule, before, level, where, L.NA if value is None else value))
        mine = {row.name for row in self.rows}
        core = [tuple(event[1:]) for event in rig.events if event.rule in mine]
        assert core == told, f"at {self.t} s: the core says {core}, the page {told}"
        rig.events.clear()

    def view(self):
        rig = self.rig

        def told(slot):
            value = self.sent.get(slot, L.NA) if fresh[self.owners[slot]] else L.NA
            return None if value == L.NA else value

        rows = range(0, len(rig.groups), L.GROUP_SIZE)
        fresh = [bool(rig.groups[at + L.STATUS] & 1) for at in rows]

        scalars = {name: told(slot) for name, slot in SLOTS.items()}
        if scalars["insulation"] is not None:
            scalars["insulation"] = int(scalars["insulation"] / OHM_PER_V)
        now = rig.clock[L.NOW_MS]
        self.t += 0 if self.last_now is None else ((now - self.last_now) & L.MASK) / 1000
        self.last_now = now
        return View(
            round(self.t, 3),
            [told(FIRST_CELL + n) for n in range(CELLS)],
            [told(rig.first_probe + n) for n in range(PROBES)],
            self.owners[FIRST_CELL : rig.first_probe],
            self.owners[rig.first_probe :],
            fresh,
            [rig.groups[at + L.ARRIVALS] for at in rows],
            scalars,
            frozenset(SLOTS),
            {
                "frame_malformed": rig.clock[L.MALFORMED], "time_backward": rig.clock[L.TIME_BACKWARD],
                "frames_lost": self.dropped, "bus_off": self.bus_off,
            },
        )  # fmt: skip

    def core(self, rule):
        value = self.rig.engine.state[self.features[rule]]
        return None if value == L.NA else value

    def window(self, rule):
        """How many scans back the core's value may come from."""
        return SPREAD_MS // self.scan_ms + 1 + (ANALYSED_SCANS if rule in ANALYSED else 0)

    def compare(self):
        view = self.view()
        clock = self.rig.clock
        for page in self.pages:
            page.watch.cell_sampler.taken = clock[L.CELLS_AGE_MS] == 0
            page.watch.probe_sampler.taken = clock[L.PROBES_AGE_MS] == 0
        least, most = (page.scan(view) for page in self.pages)
        narrow, wide = (page.where() for page in self.pages)
        for rule in narrow:
            numbers = narrow[rule] | wide[rule]
            named = self.named.setdefault(rule, deque(maxlen=self.window(rule)))
            named.append(numbers)
            if rule in self.features and (self.core(rule) or 0) >= self.first[rule]:
                where = self.rig.engine.state[self.features[rule] + L.WHERE]
                allowed = set().union(*named)
                assert where in allowed, f"{rule} at {view.t} s: the core names {where}, the page {allowed}"
        for rule, low in least.items():
            high = most[rule]
            if isinstance(low, tuple):
                low, high = low[0], high[1]
            recent = self.told.setdefault(rule, deque(maxlen=self.window(rule)))
            recent.append(tuple(sorted((low or 0, high or 0))))
            if rule not in self.features:
                continue
            core, by = self.core(rule) or 0, TOLERANCE.get(rule, 0)
            by += core * RELATIVE.get(rule, 0)
            floor, ceiling = min(a for a, _ in recent) - by, max(b for _, b in recent) + by
            assert floor <= core <= ceiling, (
                f"{rule} at {view.t} s: the core says {core}, the page {floor + by:.2f} to {ceiling - by:.2f}"
            )
