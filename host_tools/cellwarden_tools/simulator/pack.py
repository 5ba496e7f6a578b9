"""A simple and credible pack: what its cells, probes and sensors say from one tenth of a second to the next.

Only sums, products and divisions of floats, and no noise but sums of uniform numbers: the same seed gives the same pack
on every machine.
"""

from itertools import pairwise

from ..errors import InputError, did_you_mean
from .driver import DRIVERS
from .scenarios import is_point

STEP_MS = 100
CAPACITY_AH = 150

# Open-circuit voltage in mV at 0, 5, 10, 20 .. 100 % state of charge.
OCV_MV = {
    "nmc": (3000, 3390, 3470, 3560, 3610, 3650, 3700, 3780, 3880, 3980, 4080, 4190),
    "lfp": (2800, 3150, 3200, 3245, 3265, 3280, 3288, 3295, 3315, 3325, 3330, 3390),
    "lto": (1800, 2050, 2120, 2180, 2210, 2240, 2270, 2310, 2360, 2420, 2500, 2690),
    "lmo": (3000, 3500, 3650, 3790, 3850, 3890, 3930, 3970, 4010, 4050, 4100, 4190),
}
_OCV_AT = (0, 50, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000)

R0_MOHM = 0.70  # a new 150 Ah cell with its joint
R1_MOHM, TAU_S = 0.40, 30  # the slow part of its resistance
COLD_PER_K = 0.006  # resistance grows by so much a kelvin under 25 degC
HEAT_J_PER_K = 300_000
COOLING_W_PER_K = 150

# Every number the pack says but those of its cells and probes, in the profile's canonical units, and the unit that
# names its path in a scenario. The names without one are what a whole vehicle says besides.
SCALARS = {
    "pack_voltage": "mv",
    "pack_current": "ma",
    "soc": "permille",
    "insulation": "ohm",
    "insulation_valid": "state",
    "vehicle_state": "state",
    "charging": "state",
    "contactors": "state",
    "hvil": "state",
    "bms_level": "level",
    "max_discharge_current": "ma",
    "max_charge_current": "ma",
    "cell_voltage_max": "mv",
    "cell_voltage_min": "mv",
    "temperature_max": "ddegc",
    "temperature_min": "ddegc",
    "bms_flag_9": "state",
    "bms_flag_12": "state",
    "bms_flag_13": "state",
    "bms_flag_14": "state",
    "bms_flag_15": "state",
    "bms_flag_17": "state",
    "speed_kmh": None,
    "torque_nm": None,
    "accelerator_percent": None,
    "brake_percent": None,
    "gear": None,
    "motor_rpm": None,
    "motor_degc": None,
    "inverter_degc": None,
    "charger_v": None,
    "charger_a": None,
    "charger_state": None,
    "cell_count": None,
    "probe_count": None,
    "capacity_ah": None,
    "one": None,
}
ARRAYS = {"cell_voltage": "mv", "temperature": "ddegc"}
SLOT = {name: slot for slot, name in enumerate(SCALARS)}
# What a fault may bend: the rest follows from these.
_BENDABLE = [name for name, unit in SCALARS.items() if unit and not name.endswith(("_max", "_min"))] + list(ARRAYS)


class Pack:
    """values: every number the pack says now, in canonical units, None where it has none: the SCALARS in their order,
    then the cells in mV, then the probes in ddegC. The vehicle's own numbers are in the units of their names.

    scenario: as scenarios.load gives it; rng: random.Random.
    Raises InputError where the scenario asks for what the pack lacks.
    """

    def __init__(self, cells, probes, chemistry, scenario, rng):
        where = scenario["where"]
        if chemistry not in OCV_MV:
            raise InputError(where, f"the simulator has no cells of `{chemistry}`", " or ".join(OCV_MV))
        if scenario.get("chemistry", chemistry) != chemistry:
            raise InputError(where, f"is written for {scenario['chemistry']} cells, the profile's are {chemistry}")
        self.cells, self.probes = cells, probes
        self.cell0, self.probe0 = len(SCALARS), len(SCALARS) + cells
        self.values = [0] * (len(SCALARS) + cells + probes)
        self.steps = 0
        self.ocv_mv = _per_permille(OCV_MV[chemistry])
        self.full_mv = OCV_MV[chemistry][-1] - 10

        self.soc_permille = float(scenario["soc_permille"])
        self.soc_offset = [3 * _bell(rng) for _ in range(cells)]
        self.charge_scale = [1 + 0.004 * _bell(rng) for _ in range(cells)]
        self.r_scale = [1 + 0.02 * _bell(rng) for _ in range(cells)]
        self.bias_mv = [0.5 * _bell(rng) for _ in range(cells)]
        self.pack_bias_mv = 400 * _bell(rng)
        self.u1_mv = 0.0
        self.drawn_permille = 0.0
        self.highest_mv = 0.0  # of the healthy cells: the charger knows of no fault

        self.ambient_ddegc = scenario["ambient_ddegc"]
        self.heart_ddegc = float(self.ambient_ddegc + 20)
        self.probe_offset = [4 * _bell(rng) for _ in range(probes)]
        self.probe_lag_s = [40 + 40 * rng.random() for _ in range(probes)]
        self.probe_ddegc = [self.heart_ddegc + offset for offset in self.probe_offset]
        self.insulation_ohm = 2_000_000 + 200_000 * _bell(rng)

        self.noise = [_bell(rng) for _ in range(1024 + cells + probes)]
        self.rng = rng
        self.tell(**_CONSTANT, cell_count=cells, probe_count=probes)
        self.rest = list(self.values)
        self.current_ma = 0.0
        self.driver = DRIVERS[scenario["mode"]](self, scenario, rng)
        self.faults = [Fault(fault, self, where) for fault in scenario["fault"]]
        self.step()

    @property
    def t_s(self):
        """Seconds since the start, at the last step."""
        return (self.steps - 1) * STEP_MS / 1000

    @property
    def pack_v(self):
        return self.values[SLOT["pack_voltage"]] / 1000 or self.cells * self.full_mv / 1000

    def tell(self, **values):
        """Set scalars by name."""
        for name, value in values.items():
            self.values[SLOT[name]] = value

    def step(self):
        """Advance by STEP_MS."""
        dt_s, t_s = STEP_MS / 1000, self.steps * STEP_MS / 1000
        values = self.values
        self.steps += 1
        for fault in self.faults:
            if fault.slot is not None:
                values[fault.slot] = self.rest[fault.slot]
        self.driver.step(t_s, dt_s)
        for fault in self.faults:
            if fault.name == "pack_current":
                self.current_ma = fault.bend(t_s, self.current_ma)
        current_a = self.current_ma / 1000

        self.drawn_permille += current_a * dt_s / (3.6 * CAPACITY_AH)
        self.u1_mv += (current_a * R1_MOHM - self.u1_mv) * dt_s / TAU_S
        cold = 1 + COLD_PER_K * (25 - self.heart_ddegc / 10)
        at = self.rng.randrange(1022)
        noise = self.noise
        self._cells(cold * (current_a * R0_MOHM + self.u1_mv), noise, at)

        loss_w = self.cells * current_a * current_a * (R0_MOHM + R1_MOHM) * cold / 1000
        gone_w = COOLING_W_PER_K * (self.heart_ddegc - self.ambient_ddegc) / 10
        self.heart_ddegc += 10 * (loss_w - gone_w) * dt_s / HEAT_J_PER_K
        at += self.cells
        for n in range(self.probes):
            toward = self.heart_ddegc + self.probe_offset[n]
            self.probe_ddegc[n] += (toward - self.probe_ddegc[n]) * dt_s / self.probe_lag_s[n]
            values[self.probe0 + n] = self.probe_ddegc[n] + 0.3 * noise[at + n]
        at += self.probes

        soc = self.soc_permille - self.drawn_permille
        values[SLOT["soc"]] = min(max(soc, 0), 1000)
        values[SLOT["pack_current"]] = self.current_ma + (100 * noise[at] if values[SLOT["contactors"]] else 0)
        # An insulation monitor needs its first measurement before it can say anything.
        values[SLOT["insulation_valid"]] = int(t_s >= 2)
        values[SLOT["insulation"]] = self.insulation_ohm * (1 + 0.01 * noise[at]) if t_s >= 2 else None
        for fault in self.faults:
            if fault.slot is not None:
                values[fault.slot] = fault.bend(t_s, values[fault.slot])

        cells = values[self.cell0 : self.probe0]
        values[SLOT["pack_voltage"]] = sum(cells) + self.pack_bias_mv + 50 * noise[at + 1]
        for fault in self.faults:
            if fault.name == "pack_voltage":
                values[SLOT["pack_voltage"]] = fault.bend(t_s, values[SLOT["pack_voltage"]])
        probes = values[self.probe0 :]
        values[SLOT["cell_voltage_max"]], values[SLOT["cell_voltage_min"]] = max(cells), min(cells)
        values[SLOT["temperature_max"]], values[SLOT["temperature_min"]] = max(probes), min(probes)

    def _cells(self, drop_mv, noise, at):
        """The cells under load. drop_mv: what the load takes from a mean cell."""
        ocv_mv, values, slot = self.ocv_mv, self.values, self.cell0
        soc, drawn = self.soc_permille, self.drawn_permille
        for offset, charge, r, bias in zip(self.soc_offset, self.charge_scale, self.r_scale, self.bias_mv, strict=True):
            x = soc + offset - drawn * charge
            x = 0 if x < 0 else 999.999 if x > 999.999 else x
            whole = int(x)
            low = ocv_mv[whole]
            values[slot] = low + (ocv_mv[whole + 1] - low) * (x - whole) - drop_mv * r + bias + 0.4 * noise[at]
            slot += 1
            at += 1
        self.highest_mv = max(values[self.cell0 : self.probe0])


_CONSTANT = {
    "hvil": 1,
    "max_discharge_current": 350_000,
    "max_charge_current": 200_000,
    "motor_degc": 45,
    "inverter_degc": 40,
    "capacity_ah": CAPACITY_AH,
    "one": 1,
}


class Fault:
    """One quantity led away from its healthy value and back.

    The scenario says starts_s, then a path of absolute values or of offsets to add, as [second, value] with straight
    lines between, then ends_s where it is healthy again (without: never). States and levels step instead.
    """

    def __init__(self, fault, pack, where):
        self.name = name = fault.get("quantity")
        if name not in _BENDABLE:
            near = did_you_mean(str(name), _BENDABLE)
            raise InputError(where, f"no fault can bend `{name}`{near}", ", ".join(_BENDABLE))
        unit = ARRAYS.get(name) or SCALARS[name]
        keys = (f"path_{unit}", f"add_{unit}")
        if sum(key in fault for key in keys) != 1:
            raise InputError(where, f"the fault of {name} has no path", f"one of {' and '.join(keys)}")
        self.slot = None if name in ("pack_current", "pack_voltage") else SLOT.get(name)
        if name in ARRAYS:
            n = fault.get("where")
            cell = name == "cell_voltage"
            count, first = (pack.cells, pack.cell0) if cell else (pack.probes, pack.probe0)
            if not isinstance(n, int) or not 1 <= n <= count:
                raise InputError(where, f"the fault of {name} is at {n}", f"1 to {count}")
            self.slot = first + n - 1
        self.adds = keys[1] in fault
        self.whole = unit in ("state", "level")
        path = fault[keys[self.adds]]
        if not isinstance(path, list) or not all(is_point(point) for point in path):
            raise InputError(where, f"the path of {name} is {path!r}", "[[second, value], ...]")
        ends = [fault["ends_s"]] if "ends_s" in fault else []
        seconds = [fault.get("starts_s"), *(point[0] for point in path), *ends]
        if not is_point([seconds[0], seconds[-1]]) or seconds != sorted(seconds):
            raise InputError(where, f"the times of the fault of {name} are {seconds}", "numbers in rising order")
        values = [None, *(point[1] for point in path), None]
        self.points = list(zip(seconds, values, strict=False))

    def bend(self, t_s, healthy):
        """The value at `t_s` where the pack's own would be `healthy`."""
        points = self.points
        if t_s < points[0][0] or healthy is None:
            return healthy
        base = 0 if self.adds else healthy
        t1, v1 = t2, v2 = points[-1]
        for before, after in pairwise(points):
            if t_s < after[0]:
                (t1, v1), (t2, v2) = before, after
                break
        a, b = base if v1 is None else v1, base if v2 is None else v2
        value = a if self.whole else a + (b - a) * (t_s - t1) / (t2 - t1) if t2 > t1 else b
        return healthy + value if self.adds else value


def _per_permille(curve_mv):
    """The curve at 0, 1 .. 1000 permille."""
    table = []
    for x in range(1001):
        k = next(k for k in range(1, len(_OCV_AT)) if x <= _OCV_AT[k])
        low, high = _OCV_AT[k - 1], _OCV_AT[k]
        table.append(curve_mv[k - 1] + (curve_mv[k] - curve_mv[k - 1]) * (x - low) / (high - low))
    return table


def _bell(rng):
    """A number near 0 with standard deviation 1 and none beyond 3.5: a sum of uniform ones, exact on every machine."""
    return (rng.random() + rng.random() + rng.random() + rng.random() - 2) * 1.7320508
