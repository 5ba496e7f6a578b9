"""What happens to a vehicle: seeded stories of signals, sent as frames, on a bus that may be as bad as it likes.

A life is a row of chapters on one core. A chapter begins with signals that make sense together (a drive, a rest,
plateaus of current, or nothing but extremes), lays faults on top of them, sends them, and spoils the frames and their
stamps. Where nothing is spoilt, the slow rules learn; where all is, the decoder meets random bytes.
"""

import numpy as np
from bad_bus import spoil
from cellwarden.core import layout as L
from cellwarden_tools.compiler.quantities import QUANTITIES
from wire import Wire

NA = L.NA
HOUR = 3_600_000
CHAPTER = 16_384  # frames, about
STEPS = 2000  # of a chapter's signals, at most
THEMES = ("wild", "wild", "drift", "wild", "joint", "wild", "nights", "lines")  # of a vehicle's lives in turn
KINDS, ODDS = ("rest", "plateaus", "drive", "extremes", "noise"), (0.35, 0.15, 0.2, 0.2, 0.1)
NIGHT_MS = (HOUR, 7 * HOUR, 7 * HOUR, 11 * HOUR, 30 * HOUR)
RANGES = {q.slot: (q.low, q.high) for q in QUANTITIES.values() if q.slot is not None}
STATES = {
    L.INSULATION_VALID,
    L.VEHICLE_ON,
    L.CHARGING,
    L.CONTACTORS,
    L.HVIL_OK,
    *range(L.BMS_FLAG_9, L.BMS_FLAG_17 + 1),
}
CELL, PROBE = ((q.low, q.high) for q in (QUANTITIES["cell_voltage"], QUANTITIES["temperature"]))
# The signal that a feature reads, where it is one.
READS = {
    L.F_PACK_VOLTAGE_MV: L.PACK_VOLTAGE_MV, L.F_SOC_PERMILLE: L.SOC_PERMILLE, L.F_BMS_LEVEL: L.BMS_LEVEL,
    L.F_CELL_MAX_MV: L.CELL_MAX_MV, L.F_CELL_MIN_MV: L.CELL_MIN_MV, L.F_PROBE_MAX_DDEGC: L.PROBE_MAX_DDEGC,
    L.F_PROBE_MIN_DDEGC: L.PROBE_MIN_DDEGC,
}  # fmt: skip


class Vehicle:
    """A compiled vehicle as the stories need it."""

    def __init__(self, compiled):
        self.compiled, self.wire = compiled, Wire(compiled)
        p = compiled.image.params
        self.params, self.cells, self.probes = p, p[L.P_CELLS], p[L.P_PROBES]
        self.first_probe = L.SCALARS + self.cells
        self.ids = np.array([message.can_id for _, message, _ in compiled.plan.messages], "i8")
        self.near = {slot: {low, high, NA, (low + high) // 2} for slot, (low, high) in RANGES.items()}
        self.near_cell, self.near_probe = {*CELL, NA, 3700}, {*PROBE, NA, 250, 800, 801}
        for rule in compiled.rules:
            feature = rule.row["feature"]
            limits = {x + d for x in (*rule.limits, *rule.clear_at) if x is not None for d in (-1, 0, 1)}
            slot = READS.get(feature)
            if slot is not None:
                low, high = RANGES[slot]
                self.near[slot] |= {x for x in limits if low <= x <= high}
            if feature in (L.F_CELL_MAX_MV, L.F_CELL_MIN_MV):
                self.near_cell |= limits
            if feature in (L.F_PROBE_MAX_DDEGC, L.F_PROBE_MIN_DDEGC):
                self.near_probe |= limits
        low, high = p[L.P_DRIFT_LOW_MV], p[L.P_DRIFT_HIGH_MV]
        self.rest_mv = (low + high) // 2
        self.near = {slot: np.array(sorted(values)) for slot, values in self.near.items()}
        self.near_cell, self.near_probe = np.array(sorted(self.near_cell)), np.array(sorted(self.near_probe))


class Life:
    """A row of chapters. theme: wild, or one of the quiet ones in which the rules that learn for hours have time to."""

    def __init__(self, vehicle, theme, seed, drives=()):
        self.vehicle, self.theme, self.rng, self.drives = vehicle, theme, np.random.default_rng(seed), drives
        rng, v = self.rng, vehicle
        self.t_ms = int(rng.choice((0, 1, L.HALF - 5000, L.MASK - 20_000, rng.integers(0, 1 << 30))))
        self.off_mv = np.rint(rng.normal(0, rng.choice((6, 6, 120)), v.cells))
        self.off_ddegc = np.rint(rng.normal(0, 8, v.probes))
        self.joints_uohm = np.zeros(v.cells)
        self.weak = rng.integers(0, max(v.cells, 1))  # the one that the quiet themes are about
        self.mv, self.soc, self.bias_mv = float(v.rest_mv), 550.0, rng.integers(-800, 800)
        self.ohm = (1.6 if theme == "nights" else 5) * v.params[L.P_NOMINAL_MV]  # 1600 or 5000 ohm/V
        self.chapter = self.rested_s = self.length_s = self.slowest_s = 0  # length and slowest group of this chapter

    def chapters(self, frames):
        """Arrays of records, `frames` of them in all or a few more."""
        done = 0
        while done < frames:
            made = self.next_chapter()
            rows = np.zeros(len(made), self.vehicle.wire.type)  # the bytes of no field are 0
            rows[:] = made
            done += len(rows)
            self.chapter += 1
            yield rows

    def next_chapter(self):
        rng, v = self.rng, self.vehicle
        if self.theme == "nights" or (self.theme == "wild" and rng.random() < 0.15):
            self.night()
        if len(self.drives) and self.theme == "wild" and rng.random() < 0.3:
            rows, of_message = self.drive_of_the_simulator()
            return spoil(self, rows, of_message, counted=True)
        share, length = 0.7, CHAPTER
        kind = {"joint": "plateaus", "wild": rng.choice(KINDS, p=ODDS)}.get(self.theme, "rest")
        if self.theme == "wild":
            share = rng.choice((0.1, 0.3, 0.8), p=(0.1, 0.3, 0.6))
        elif self.theme == "nights":
            length = CHAPTER // 2
        periods = v.wire.deadlines * share
        if rng.random() < 0.3 and self.theme == "wild":
            periods = periods * rng.uniform(0.5, 1.5, len(periods))  # some come late
        periods = np.maximum(periods.astype("i8"), 1)
        length_ms = int(min(length / (1 / periods).sum(), 4 * HOUR))
        step_ms = max(length_ms // STEPS, 20)
        self.length_s = length_ms / 1000
        self.slowest_s = max(int(periods.max()) / 1000, 1)
        signals = self.signals(kind, max(length_ms // step_ms, 10), step_ms)
        rows, of_message = v.wire.frames(signals, step_ms, periods, rng)
        return spoil(self, rows, of_message, noise=kind == "noise")

    def learned(self):
        """Whether the rests so far were enough for the cells' baselines: a sample every 10 s or more."""
        self.rested_s += self.length_s
        return self.rested_s > 1.3 * L.DRIFT_LEARN * (L.BATCH_SAMPLES + 1) * max(10, 1.5 * self.slowest_s)

    def night(self):
        """Hours of sleep, in which a cell loses charge and the insulation suffers."""
        slept_ms = int(self.rng.choice(NIGHT_MS))
        self.t_ms += slept_ms
        self.ohm *= 0.85
        if self.vehicle.cells:
            self.off_mv[self.weak] -= min(self.rng.choice((0, 6, 15)) * slept_ms // HOUR, 150)  # mV an hour
            if self.off_mv[self.weak] < -400:
                self.off_mv[self.weak] = 0  # the BMS has balanced it
        if self.ohm < 0.08 * self.vehicle.params[L.P_NOMINAL_MV]:
            self.ohm = 1.6 * self.vehicle.params[L.P_NOMINAL_MV]

    def drive_of_the_simulator(self):
        """Some minutes of a simulated drive with a fault, from anywhere in it."""
        rng = self.rng
        rows = self.drives[rng.integers(0, len(self.drives))]
        first = rng.integers(0, max(len(rows) - CHAPTER, 1))
        rows = rows[first : first + CHAPTER].copy()
        rows["t_ms"] -= rows["t_ms"][0]
        order = np.argsort(self.vehicle.ids)
        found = order[np.searchsorted(self.vehicle.ids[order], rows["can_id"]).clip(0, len(order) - 1)]
        return rows, np.where(self.vehicle.ids[found] == rows["can_id"], found, -1)

    # --- signals ------------------------------------------------------------------------------------------------------

    def signals(self, kind, steps, step_ms):
        """[step, slot] of canonical values, NA included."""
        t_s = np.arange(steps) * step_ms / 1000
        out = self.healthy(kind, t_s, self.current(kind, t_s))
        if kind in ("extremes", "noise"):
            self.extremes(out)
        if self.theme == "wild":
            for _ in range(self.rng.choice((0, 1, 1, 2, 4))):
                harm = self.rng.choice(HARMS)
                harm(self, out, t_s, *np.sort(self.rng.integers(0, steps, 2)))
        elif self.theme == "lines":
            harm = (micro_shorts, broken_line, frozen_cells, pack_steps)[self.chapter % 4]
            harm(self, out, t_s, steps // 3, 2 * steps // 3)
        elif self.vehicle.cells and self.theme == "drift" and self.learned():
            # Faster and faster, until it is farther off than the core remembers.
            self.off_mv[self.weak] = max(self.off_mv[self.weak] - 12 - abs(self.off_mv[self.weak]) // 2, -2500)
        elif self.vehicle.cells and self.theme == "joint" and self.chapter > 2:
            self.joints_uohm[self.weak] += 300
        return out

    def current(self, kind, t_s):
        """mA at each step."""
        rng, steps = self.rng, len(t_s)
        if kind == "rest":
            calm_ma = self.vehicle.params[L.P_CALM_MA]
            return calm_ma * rng.uniform(-0.15, 0.15) + rng.normal(0, 0.02 * calm_ma * rng.integers(0, 2), steps)
        if kind == "plateaus":
            every = max(rng.choice((3, 4, 8)), 2.2 * self.slowest_s)
            levels = np.resize((0, 60_000, -40_000, 30_000, 120_000, 0, -60_000), 1 + int(t_s[-1] / every))
            return levels[(t_s / every).astype("i8")].astype(float)
        return np.cumsum(rng.normal(0, rng.choice((500, 10_000)), steps)).clip(-400_000, 400_000)

    def healthy(self, kind, t_s, current):
        """[step, slot] of a pack in order, but for what the life has made of its cells and its insulation."""
        rng, v, p, steps = self.rng, self.vehicle, self.vehicle.params, len(t_s)
        self.mv = float(np.clip(self.mv + rng.normal(0, 8 if kind == "rest" else 120), 2300, 4330))
        if self.theme != "wild":
            low, high = p[L.P_DRIFT_LOW_MV] + 20, p[L.P_DRIFT_HIGH_MV] - 20
            self.mv = float(np.clip(self.mv, low, high) if low < high else v.rest_mv)
        wander = np.cumsum(rng.normal(0, 0.02 if kind == "rest" else 1, steps))
        ocv = self.mv + wander - wander[0]
        soc = (self.soc - np.cumsum(current) * t_s[1] / 7.2e4).clip(0, 1000)
        self.soc = float(soc[-1]) if 100 < soc[-1] < 900 else 550.0
        out = np.zeros((steps, L.SCALARS + v.cells + v.probes))
        for slot, value in {
            L.PACK_VOLTAGE_MV: 350_000, L.PACK_CURRENT_MA: current, L.SOC_PERMILLE: soc, L.INSULATION_OHM: self.ohm,
            L.INSULATION_VALID: 1, L.VEHICLE_ON: rng.random() < 0.7, L.CHARGING: rng.random() < 0.3, L.CONTACTORS: 1,
            L.HVIL_OK: 1, L.MAX_DISCHARGE_MA: 300_000, L.MAX_CHARGE_MA: 200_000, L.CELL_MAX_MV: ocv,
            L.CELL_MIN_MV: ocv, L.PROBE_MAX_DDEGC: 250, L.PROBE_MIN_DDEGC: 250, L.CELL_COUNT: p[L.P_VEHICLE_CELLS],
            L.PROBE_COUNT: p[L.P_VEHICLE_PROBES],
        }.items():  # fmt: skip
            out[:, slot] = value
        cells, probes = out[:, L.SCALARS : v.first_probe], out[:, v.first_probe :]
        cells[:] = np.rint(ocv[:, None] + self.off_mv - current[:, None] * (800 + self.joints_uohm) / 1e6)
        probes[:] = (
            250 + 3 * np.sin(t_s / 300)[:, None] + self.off_ddegc + rng.integers(-200, 300) * (rng.random() < 0.3)
        )
        if v.cells:
            out[:, L.PACK_VOLTAGE_MV] = cells.sum(1) + self.bias_mv
            out[:, L.CELL_MAX_MV], out[:, L.CELL_MIN_MV] = cells.max(1), cells.min(1)
        return np.rint(out).astype("i8")

    def extremes(self, out):
        """Every signal jumps between the values at which something is decided, at its own pace."""
        rng, v = self.rng, self.vehicle
        steps = len(out)
        for slot in (*RANGES, *range(L.SCALARS, out.shape[1])):
            if rng.random() < 0.3:
                continue
            near = v.near[slot] if slot in RANGES else v.near_cell if slot < v.first_probe else v.near_probe
            changes = rng.random(steps) < rng.choice((0.002, 0.01, 0.1, 1))
            out[:, slot] = rng.choice(near, steps)[np.maximum.accumulate(np.where(changes, np.arange(steps), 0))]


def _cells(life):
    """Some of a life's cells, one at least where there is any."""
    n = life.vehicle.cells
    return L.SCALARS + life.rng.permutation(n)[: life.rng.choice((1, 1, 2, 5, max(n, 1)))]


def _probes(life):
    n = life.vehicle.probes
    return life.vehicle.first_probe + life.rng.permutation(n)[: life.rng.choice((1, 1, 2, max(n, 1)))]


def far_apart(life, out, t_s, a, b):
    """Each cell rests where no pack would, farther from the others than the core remembers."""
    cells = out[:, L.SCALARS : life.vehicle.first_probe]
    cells[:] = (cells + life.rng.integers(-3300, 1300, life.vehicle.cells)).clip(*CELL)


def poor_joints(life, out, t_s, a, b):
    """Cells behind resistances of up to 100 mohm, of either sign."""
    cells = out[:, L.SCALARS : life.vehicle.first_probe]
    drop = out[:, [L.PACK_CURRENT_MA]] * life.rng.integers(-100, 100, life.vehicle.cells) // 1000
    cells[:] = (cells - drop).clip(*CELL)


def lost_cells(life, out, t_s, a, b):
    out[a:b, _cells(life)] = NA


def lost_from_the_start(life, out, t_s, a, b):
    out[:, _cells(life)] = NA


def lost_probes(life, out, t_s, a, b):
    out[a:b, _probes(life)] = NA


def collapsed_cells(life, out, t_s, a, b):
    out[a:b, _cells(life)] = life.rng.choice((500, 900, 1500, 2100, 2450))


def ramp_of_cells(life, out, t_s, a, b):
    """Slowly up or down through the limits."""
    some = _cells(life)
    ramp = np.linspace(0, life.rng.choice((-1200, -800, 500, 800)), b - a)
    out[a:b, some] = (out[a:b, some] + ramp[:, None]).clip(*CELL).astype("i8")


def all_cells_ramp(life, out, t_s, a, b):
    some = slice(L.SCALARS, life.vehicle.first_probe)
    ramp = np.linspace(0, life.rng.choice((-1500, 700)), b - a)
    out[a:b, some] = (out[a:b, some] + ramp[:, None]).clip(*CELL).astype("i8")
    if life.vehicle.cells:
        out[a:b, L.PACK_VOLTAGE_MV] = out[a:b, some].sum(1) + life.bias_mv


def flapping_cell(life, out, t_s, a, b):
    """Between two values, or a value and none, faster or slower than a sample."""
    some = _cells(life)
    beat = (t_s[a:b] / life.rng.choice((0.1, 0.5, 1, 3, 7))).astype("i8") % 2 == 0
    out[a:b, some] = np.where(beat[:, None], out[a:b, some], life.rng.choice((NA, 2000, 4400, 3000)))


def micro_shorts(life, out, t_s, a, b):
    """One cell dips for some samples, again and again."""
    dip_s = min(max(life.rng.choice((3, 8)), 1.5 * life.slowest_s), 50)
    dips = (t_s % (6 * dip_s) < dip_s) & (t_s > 6 * dip_s)
    out[np.ix_(dips, _cells(life)[:1])] -= life.rng.choice((35, 60, 300))


def broken_line(life, out, t_s, a, b):
    """Two neighbours apart by equal and opposite amounts."""
    if life.vehicle.cells > 1:
        cell = L.SCALARS + life.rng.integers(0, life.vehicle.cells - 1)
        out[a:, cell] -= 45
        out[a:, cell + 1] += 45


def frozen_cells(life, out, t_s, a, b):
    out[a:, L.SCALARS : life.vehicle.first_probe] = out[a, L.SCALARS : life.vehicle.first_probe]
    out[a:, L.PACK_CURRENT_MA] += (np.sin(t_s[a:] / 3) * 30_000).astype("i8")


def pack_steps(life, out, t_s, a, b):
    away = life.rng.choice((-20_000, 12_000, 60_000, -200_000))
    out[a:b, L.PACK_VOLTAGE_MV] = (out[a:b, L.PACK_VOLTAGE_MV] + away).clip(0, 2_000_000)


def pack_drifts(life, out, t_s, a, b):
    out[a:, L.PACK_VOLTAGE_MV] = (out[a:, L.PACK_VOLTAGE_MV] * life.rng.choice((1.02, 1.05, 0.93))).astype("i8")


def soc_jumps(life, out, t_s, a, b):
    out[a:b, L.SOC_PERMILLE] = (out[a:b, L.SOC_PERMILLE] + life.rng.choice((-400, -70, 80, 500))).clip(0, 1100)


def heat(life, out, t_s, a, b):
    """Probes rise by 0.2 to 20 K/s, up to where they burn or saturate."""
    some = _probes(life)
    rise = (t_s[a:b] - t_s[a]) * life.rng.choice((2, 4, 8, 12, 30, 200)) if b > a else np.zeros(0)
    out[a:b, some] = (out[a:b, some] + rise[:, None]).clip(-500, life.rng.choice((700, 1200, 2000))).astype("i8")
    out[a:b, L.PROBE_MAX_DDEGC] = (250 + rise).clip(-500, 2000).astype("i8")


def jumping_probes(life, out, t_s, a, b):
    out[a:b, _probes(life)] = life.rng.choice((-500, -400, 600, 850, 2000))


def cold(life, out, t_s, a, b):
    out[a:b, life.vehicle.first_probe :] -= life.rng.choice((300, 400))
    out[a:b, L.PROBE_MIN_DDEGC] = -200
    out[a:b, L.CHARGING] = 1


def burning(life, out, t_s, a, b):
    """A probe heats and cells collapse or vanish, as in a runaway."""
    heat(life, out, t_s, a, len(out))
    (collapsed_cells, lost_cells)[life.rng.integers(0, 2)](life, out, t_s, a, len(out))


def currents(life, out, t_s, a, b):
    out[a:b, L.PACK_CURRENT_MA] = life.rng.choice((-3_000_000, 3_000_000, 330_000, 400_000, -230_000, -300_000, NA))


def leaking(life, out, t_s, a, b):
    out[a:b, L.INSULATION_OHM] = life.rng.choice((0, 1, 90, 250, 450)) * life.vehicle.params[L.P_NOMINAL_MV] // 1000


def over_full(life, out, t_s, a, b):
    out[a:b, L.SOC_PERMILLE] = life.rng.choice((1012, 1035, 1100))
    out[a:b, L.CHARGING] = 1
    out[a:b, L.PACK_CURRENT_MA] = -20_000


def empty(life, out, t_s, a, b):
    out[a:b, L.SOC_PERMILLE] = life.rng.choice((0, 15, 45, 95))


def states_turn(life, out, t_s, a, b):
    for slot in life.rng.choice(sorted(STATES), 3):
        out[a:b, slot] = life.rng.choice((0, 1, NA))


def bms_warns(life, out, t_s, a, b):
    out[a:b, L.BMS_LEVEL] = life.rng.integers(0, 4)


def counts_differ(life, out, t_s, a, b):
    out[a:b, life.rng.choice((L.CELL_COUNT, L.PROBE_COUNT))] = life.rng.choice((0, 5, 300))


# Each changes some signals of a life from step a to b.
HARMS = (
    far_apart, poor_joints, lost_cells, lost_from_the_start, lost_probes, collapsed_cells, ramp_of_cells,
    all_cells_ramp, flapping_cell, micro_shorts, broken_line, frozen_cells, pack_steps, pack_drifts, soc_jumps,
    heat, jumping_probes, cold, burning, currents, leaking, over_full, empty, states_turn, bms_warns,
    counts_differ,
)  # fmt: skip
