"""A credible pack: what its cells, probes and sensors say from one step to the next, awake and asleep.

Cells in series, each with its own charge, capacity, resistance, leak and sensor error; two slow parts of the voltage
under load; one heart of heat against the coolant, and beside it every cell that is warmer than the others, which heats
its neighbours; probes that follow the skin of their cell. Only sums, products and divisions of floats, and no noise but
sums of uniform numbers: the same seed gives the same pack on every machine.
"""

from collections import deque

from ..errors import InputError
from .cells import (
    BOARD_CELLS,
    CAPACITY_AH,
    CELL_J_PER_K,
    COOLING_W_PER_K,
    FLAT_MV_PER_PERMILLE,
    GAS_CELLS,
    GAS_K,
    GAS_S,
    LEAK_PERMILLE_PER_DAY,
    NEIGHBOUR_W_PER_K,
    OCV_MV,
    OVERFULL_MV_PER_PERMILLE,
    R0_MOHM,
    R1_MOHM,
    R2_MOHM,
    TAU1_S,
    TAU2_S,
    Troubled,
    cold_factor,
    curve,
)
from .driver import DRIVERS
from .faults import faults_of
from .scenarios import asleep
from .values import ARRAYS, SCALARS, SLOT

__all__ = ["ARRAYS", "SCALARS", "SLOT", "SLOW_STEP_MS", "STEP_MS", "Pack"]

STEP_MS, SLOW_STEP_MS = 100, 1000
SATURATED_DDEGC, DEAD_DDEGC = 1250, 1900  # a probe reads no higher, and is destroyed
REPORT_S = (0.3, 1.5)  # the contactors are reported open, closed, so long after they move
LINK_S = 0.4  # what the capacitors behind them take to follow
NAP_S, LONG_NAP_S, HOT_NAP_S = 60, 600, 0.5  # steps of time asleep
HOT_K = 20


class Pack:
    """values: every number the pack has now, in canonical units, None where it has none: the SCALARS in their order,
    then the cells in mV, then the probes in ddegC. The vehicle's own numbers are in the units of their names.
    sent: the same as far as it goes out.

    scenario: as scenarios.load gives it; rng: random.Random; step_ms: time between two of its measurements.
    Raises InputError where the scenario asks for what the pack lacks.
    """

    def __init__(self, cells, probes, chemistry, scenario, rng, step_ms=STEP_MS):
        where = scenario["where"]
        if chemistry not in OCV_MV:
            raise InputError(where, f"the simulator has no cells of `{chemistry}`", " or ".join(OCV_MV))
        if scenario.get("chemistry", chemistry) != chemistry:
            raise InputError(where, f"is written for {scenario['chemistry']} cells, the profile's are {chemistry}")
        self.cells, self.probes, self.chemistry, self.step_ms = cells, probes, chemistry, step_ms
        self.cell0, self.probe0 = len(SCALARS), len(SCALARS) + cells
        self.values = [0] * (len(SCALARS) + cells + probes)
        # A gateway passes on what stood at one moment; the buses of the vehicle itself carry what is new.
        self.sent = self.values if step_ms == STEP_MS else list(self.values)
        self.steps = 0
        self.ocv_mv = curve(chemistry)
        self.full_mv = OCV_MV[chemistry][-1] - 10

        self.soc_permille = float(scenario["soc_permille"])
        self.soc_offset = [3 * _bell(rng) for _ in range(cells)]
        self.charge_scale = [1 + 0.004 * _bell(rng) for _ in range(cells)]
        self.r_scale = [1 + 0.02 * _bell(rng) for _ in range(cells)]
        self.bias_mv = [0.5 * _bell(rng) for _ in range(cells)]
        self.pack_bias_mv = 400 * _bell(rng)
        self.u1_mv = self.u2_mv = 0.0
        self.drawn_permille = 0.0
        self.highest_mv = 0.0  # of the healthy cells: the charger knows of no fault

        self.ambient_ddegc = scenario["ambient_ddegc"]
        self.heater_w = scenario["heater_w"]
        self.heart_ddegc = float(self.ambient_ddegc + scenario["warmer_ddegc"])
        self.probe_offset = [4 * _bell(rng) for _ in range(probes)]
        self.probe_lag_s = [25 + 15 * rng.random() for _ in range(probes)]
        self.skin_ddegc = [self.heart_ddegc + offset for offset in self.probe_offset]
        self.probe_ddegc = list(self.skin_ddegc)
        self.probe_dead = [False] * probes
        self.probe_cell = [(2 * n + 1) * cells // (2 * probes) for n in range(probes)]
        self.insulation_ohm = 2_000_000 + 200_000 * _bell(rng)
        self.leaked_ohm = None  # what a burning cell leaves of it

        self.noise = [_bell(rng) for _ in range(1024 + cells + probes)]
        self.leak = [scenario["leak"] * LEAK_PERMILLE_PER_DAY * (1 + 0.02 * _bell(rng)) for _ in range(cells)]
        self.current_bias_ma = 60 * _bell(rng)
        self.rng = rng
        self._odd_cells(scenario["cell"], where)
        self.troubled = {}
        self.dark_boards = set()
        self.past = None
        if scenario["cell_lag_s"]:
            self.past = deque(maxlen=1 + int(1000 * scenario["cell_lag_s"] / step_ms))

        self.tell(**_CONSTANT, cell_count=cells, probe_count=probes)
        self.rest = list(self.values)
        self.current_ma = 0.0
        self.scenario, self.plan, self.mode = scenario, None, None
        self.closed, self.moved_s = None, -10.0
        self.link_mv = None
        self.behind = scenario["sensor_behind_contactors"]
        self.naps = asleep(scenario)
        self.nap = next(self.naps, None)
        self.stale_until_s, self.old = 0.0, None
        self.awake_s = 0.0  # since when
        self.changes, self.bends = faults_of(self, scenario["fault"], where)
        self.scalar_bends = [b for b in self.bends if b.slot < self.cell0 and b.name not in _INNER]
        self.current_bends = [b for b in self.bends if b.name == "pack_current"]
        self.pack_bends = [b for b in self.bends if b.name == "pack_voltage"]
        self.cell_bends = [b for b in self.bends if self.cell0 <= b.slot < self.probe0 and not b.sensor]
        self.tap_bends = [b for b in self.bends if self.cell0 <= b.slot < self.probe0 and b.sensor]
        self.probe_bends = [b for b in self.bends if b.slot >= self.probe0]
        self.step()

    def _odd_cells(self, told, where):
        keys = {"soc_permille": self.soc_offset, "bias_mv": self.bias_mv}
        scales = {"capacity": self.charge_scale, "resistance": self.r_scale}
        for cell in told:
            n = cell.get("where")
            if type(n) is not int or not 1 <= n <= self.cells:
                raise InputError(where, f"a [[cell]] is at {n}", f"1 to {self.cells}")
            for key, value in cell.items():
                if key in keys:
                    keys[key][n - 1] += value
                elif key == "capacity":
                    self.charge_scale[n - 1] /= value
                elif key in scales:
                    scales[key][n - 1] *= value
                elif key == "leak":
                    self.leak[n - 1] *= value

    @property
    def t_s(self):
        """Seconds since the start, at the last step."""
        return (self.steps - 1) * self.step_ms / 1000

    @property
    def pack_v(self):
        return self.values[SLOT["pack_voltage"]] / 1000 or self.cells * self.full_mv / 1000

    def tell(self, **values):
        """Set scalars by name."""
        for name, value in values.items():
            self.values[SLOT[name]] = value

    def trouble(self, n):
        """Troubled of cell n, from 0."""
        if n not in self.troubled:
            self.troubled[n] = Troubled(self, n, self.rng)
        return self.troubled[n]

    def soc_of(self, n):
        """Permille of its charge that cell n, from 0, holds; below 0 it is flat."""
        return self.soc_permille + self.soc_offset[n] - self.drawn_permille * self.charge_scale[n]

    def contactors(self, close, t_s):
        """What a driver wants of them. Returns whether current can flow."""
        if self.closed is None:
            self.closed = close  # as the log finds them
        elif close != self.closed:
            self.closed, self.moved_s = close, t_s
        since = t_s - self.moved_s
        told = close if since >= REPORT_S[close] else not close
        self.tell(contactors=int(told))
        return close and told

    def publish(self):
        """What a gateway passes on from now on."""
        self.sent[:] = self.values

    def step(self):
        """Advance by step_ms, or to the end of a sleep."""
        t_s = self.steps * self.step_ms / 1000
        if self.nap and t_s >= self.nap[0]:
            self._sleep(t_s, *self.nap)
            self.nap = next(self.naps, None)
            t_s = self.steps * self.step_ms / 1000
        dt_s = self.step_ms / 1000
        values = self.values
        self.steps += 1
        for fault in self.changes:
            fault.apply(t_s)
        for bend in self.scalar_bends:
            values[bend.slot] = self.rest[bend.slot]
        self._drive(t_s, dt_s)
        measured_ma = 0
        for bend in self.current_bends:
            measured_ma = bend.bend(t_s, self.current_ma)
            self.current_ma = self.current_ma if measured_ma is None else measured_ma
        current_a = self.current_ma / 1000

        self.drawn_permille += current_a * dt_s / (3.6 * CAPACITY_AH)
        self.u1_mv += (current_a * R1_MOHM - self.u1_mv) * dt_s / TAU1_S
        self.u2_mv += (current_a * R2_MOHM - self.u2_mv) * dt_s / TAU2_S
        cold = cold_factor(self.heart_ddegc)
        at = self.rng.randrange(1022)
        noise = self.noise
        drop_mv = cold * (current_a * R0_MOHM + self.u1_mv + self.u2_mv)
        self._cells(drop_mv, noise, at)
        if not self.steps % 600:
            self._leak(600 * dt_s)
        if self.troubled:
            self._trouble(cold, dt_s)

        loss_w = self.cells * current_a * drop_mv / 1000 + self.heater_w
        gone_w = self.cells * COOLING_W_PER_K * (self.heart_ddegc - self.ambient_ddegc) / 10
        self.heart_ddegc += 10 * (loss_w - gone_w) * dt_s / (self.cells * CELL_J_PER_K)
        at += self.cells
        self._probes(noise, at, dt_s)
        at += self.probes

        values[SLOT["soc"]] = min(max(self.soc_permille - self.drawn_permille, 0), 1100)
        bias_ma = self.current_bias_ma + 100 * noise[at] if values[SLOT["contactors"]] else 0
        values[SLOT["pack_current"]] = None if measured_ma is None else self.current_ma + bias_ma
        # An insulation monitor needs its first measurement before it can say anything.
        measured = t_s - self.awake_s >= 2
        values[SLOT["insulation_valid"]] = int(measured)
        values[SLOT["insulation"]] = (
            (self.leaked_ohm or self.insulation_ohm) * (1 + 0.01 * noise[at]) if measured else None
        )
        for bend in self.scalar_bends:
            values[bend.slot] = bend.bend(t_s, values[bend.slot])
        self._sensors(t_s, dt_s, noise[at + 1])
        if self.old and t_s < self.stale_until_s:
            values[:] = self.old

    def _drive(self, t_s, dt_s):
        """Whoever draws current now."""
        plan = self.scenario["plan"]
        here = t_s % self.scenario["cycle_s"] if self.scenario["cycle_s"] else t_s
        mode = next(mode for start, mode in reversed(plan) if here >= start)
        if mode != self.mode:
            self.values[: self.cell0] = self.rest[: self.cell0]
            self.mode, self.driver = mode, DRIVERS[mode](self, self.scenario, self.rng, t_s)
        cold_k = -self.heart_ddegc / 10
        self.tell(
            max_charge_current=200_000 if cold_k <= -10 else max(200_000 - 6_000 * (10 + cold_k), 10_000),
            max_discharge_current=350_000 if cold_k <= 0 else max(350_000 - 6_000 * cold_k, 150_000),
        )
        self.driver.step(t_s, dt_s)

    def _cells(self, drop_mv, noise, at):
        """The cells under load. drop_mv: what the load takes from a mean cell."""
        ocv_mv, values, slot = self.ocv_mv, self.values, self.cell0
        soc, drawn = self.soc_permille, self.drawn_permille
        for offset, charge, r, bias in zip(self.soc_offset, self.charge_scale, self.r_scale, self.bias_mv, strict=True):
            x = soc + offset - drawn * charge
            if 0 <= x < 1000:
                whole = int(x)
                low = ocv_mv[whole]
                open_mv = low + (ocv_mv[whole + 1] - low) * (x - whole)
            else:
                open_mv = self._beyond(x)
            values[slot] = open_mv - drop_mv * r + bias + 0.4 * noise[at]
            slot += 1
            at += 1
        self.highest_mv = max(values[self.cell0 : self.probe0])

    def _beyond(self, x):
        """Open-circuit voltage of a cell that is flat, or more than full."""
        return (
            max(self.ocv_mv[0] + FLAT_MV_PER_PERMILLE * x, 0)
            if x < 0
            else self.ocv_mv[1000] + OVERFULL_MV_PER_PERMILLE * (x - 1000)
        )

    def _open_mv(self, n):
        x = self.soc_of(n)
        return self.ocv_mv[int(x)] if 0 <= x < 1000 else self._beyond(x)

    def _trouble(self, cold, dt_s):
        """Each troubled cell's own, and the heat between neighbours."""
        values, troubled = self.values, self.troubled
        excess = {n: one.excess_k for n, one in troubled.items()}
        for n, mine in excess.items():
            if mine > 1:
                for beside in (n - 1, n + 1):
                    if 0 <= beside < self.cells:
                        self.trouble(beside)
        for n, one in troubled.items():
            mine = excess.get(n, 0.0)
            flow_w = -COOLING_W_PER_K * mine
            for beside in (n - 1, n + 1):
                if 0 <= beside < self.cells:
                    flow_w += NEIGHBOUR_W_PER_K * (excess.get(beside, 0.0) - mine)
            one.step(self._open_mv(n), cold, dt_s, flow_w / CELL_J_PER_K)
            slot = self.cell0 + n
            values[slot] = max((values[slot] - one.drop_mv) * one.factor, 0)
            if one.burning_s is not None:
                if one.burning_s > one.board_s:
                    self.dark_boards.add(n // BOARD_CELLS)
                if one.burning_s > 10:
                    left_ohm = max(self.insulation_ohm * (40 - one.burning_s) / 30, 15_000)
                    self.leaked_ohm = min(left_ohm, self.leaked_ohm or left_ohm)

    def _probes(self, noise, at, dt_s):
        """What the probes on the cells' skins feel."""
        values, heart, troubled = self.values, self.heart_ddegc, self.troubled
        blowing = [n for n, one in troubled.items() if one.burning_s is not None and one.burning_s < GAS_S]
        for n in range(self.probes):
            toward = heart + self.probe_offset[n]
            if troubled and self.probe_cell[n] in troubled:
                toward += 10 * troubled[self.probe_cell[n]].excess_k
            for cell in blowing:
                toward += 10 * GAS_K * max(1 - abs(cell - self.probe_cell[n]) / GAS_CELLS, 0)
            self.skin_ddegc[n] += (toward - self.skin_ddegc[n]) * dt_s / self.probe_lag_s[n]
            self.probe_ddegc[n] += (self.skin_ddegc[n] - self.probe_ddegc[n]) * dt_s / (5 + dt_s)
            felt = self.probe_ddegc[n] + 0.3 * noise[at + n]
            if felt > SATURATED_DDEGC:
                self.probe_dead[n] |= felt > DEAD_DDEGC
                felt = SATURATED_DDEGC
            values[self.probe0 + n] = None if self.probe_dead[n] else felt

    def _sensors(self, t_s, dt_s, noise):
        """From what is to what the measuring boards say."""
        values, cell0, probe0 = self.values, self.cell0, self.probe0
        for bend in self.cell_bends:
            values[bend.slot] = bend.bend(t_s, values[bend.slot])
        total = sum(values[cell0:probe0])
        if self.behind:
            goal = total if self.closed else 0
            if self.link_mv is None or (self.closed and values[SLOT["contactors"]]):
                self.link_mv = goal
            else:
                self.link_mv += (goal - self.link_mv) * dt_s / (LINK_S + dt_s)
            total = self.link_mv
        values[SLOT["pack_voltage"]] = max(total + self.pack_bias_mv + 50 * noise, 0)
        for bend in self.pack_bends:
            values[SLOT["pack_voltage"]] = bend.bend(t_s, values[SLOT["pack_voltage"]])
        if self.past is not None:
            self.past.append(values[cell0:probe0])
            back = len(self.past) - 1
            values[cell0:probe0] = [self.past[back - n * back // self.cells][n] for n in range(self.cells)]
        for bend in (*self.tap_bends, *self.probe_bends):
            values[bend.slot] = bend.bend(t_s, values[bend.slot])
        for n, one in self.troubled.items():
            if one.burning_s is not None and one.burning_s > one.wire_s:
                values[cell0 + n] = None
        for board in self.dark_boards:
            first, end = board * BOARD_CELLS, min((board + 1) * BOARD_CELLS, self.cells)
            values[cell0 + first : cell0 + end] = [None] * (end - first)
            for n in range(self.probes):
                if first <= self.probe_cell[n] < end:
                    values[probe0 + n] = None
        cells, probes = values[cell0:probe0], values[probe0:]
        if None in cells:
            cells = [cell for cell in cells if cell is not None] or [None]
        if None in probes:
            probes = [probe for probe in probes if probe is not None] or [None]
        values[SLOT["cell_voltage_max"]], values[SLOT["cell_voltage_min"]] = max(cells), min(cells)
        values[SLOT["temperature_max"]], values[SLOT["temperature_min"]] = max(probes), min(probes)

    def _leak(self, seconds):
        """Every cell discharges itself a little, and not all alike."""
        self.soc_offset = [
            offset - leak * seconds / 86400 for offset, leak in zip(self.soc_offset, self.leak, strict=True)
        ]

    def _sleep(self, t_s, _, ends_s, stale_s):
        """Nobody measures; charge and heat go on."""
        self.old = list(self.values) if stale_s else None
        self.current_ma = 0.0
        self._leak(ends_s - t_s)
        while t_s < ends_s:
            hot = any(one.excess_k > HOT_K for one in self.troubled.values())
            nap = HOT_NAP_S if hot else NAP_S if self.troubled or self.changes else LONG_NAP_S
            nap = min(nap, ends_s - t_s)
            for fault in self.changes:
                fault.apply(t_s)
            self.u1_mv *= TAU1_S / (TAU1_S + nap)
            self.u2_mv *= TAU2_S / (TAU2_S + nap)
            if self.troubled:
                self._trouble(cold_factor(self.heart_ddegc), nap)
            k = nap * COOLING_W_PER_K / CELL_J_PER_K
            self.heart_ddegc = (self.heart_ddegc + k * self.ambient_ddegc) / (1 + k)
            t_s += nap
            if hot:
                self._probes(self.noise, 0, nap)
            else:
                self.skin_ddegc = [self.heart_ddegc + offset for offset in self.probe_offset]
                self.probe_ddegc = list(self.skin_ddegc)
        self.steps = int(ends_s * 1000 / self.step_ms)
        self.awake_s, self.stale_until_s = ends_s, ends_s + stale_s


_INNER = ("pack_current", "pack_voltage")  # bent on the way, where others follow from them
_CONSTANT = {
    "hvil": 1,
    "max_discharge_current": 350_000,
    "max_charge_current": 200_000,
    "motor_degc": 45,
    "inverter_degc": 40,
    "capacity_ah": CAPACITY_AH,
    "one": 1,
}


def _bell(rng):
    """A number near 0 with standard deviation 1 and none beyond 3.5: a sum of uniform ones, exact on every machine."""
    return (rng.random() + rng.random() + rng.random() + rng.random() - 2) * 1.7320508
