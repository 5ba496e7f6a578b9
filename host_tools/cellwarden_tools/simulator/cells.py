"""What the pack's cells are made of: open-circuit voltage, resistance, heat, and what becomes of a cell that fails.

Figures are of a generic 150 Ah cell. Only sums, products and divisions: every machine computes the same.
"""

from itertools import pairwise

CAPACITY_AH = 150
R0_MOHM = 0.70  # with its joint
R1_MOHM, TAU1_S = 0.40, 30  # charge transfer
R2_MOHM, TAU2_S = 0.25, 900  # diffusion: what relaxes for long after a load
ACTIVATION_K = 1925  # 16 kJ/mol over the gas constant: how resistance falls with temperature
CELL_J_PER_K = 3000
COOLING_W_PER_K = 1.6  # of one cell to its coolant
NEIGHBOUR_W_PER_K = 5.0
LEAK_PERMILLE_PER_DAY = 1.0
BOARD_CELLS = 12  # one measuring board
OCV_AT = (0, 50, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000)  # permille

# Open-circuit voltage in mV there.
OCV_MV = {
    "nmc": (3000, 3390, 3470, 3560, 3610, 3650, 3700, 3780, 3880, 3980, 4080, 4190),
    "lfp": (2800, 3150, 3200, 3245, 3265, 3280, 3288, 3295, 3315, 3325, 3330, 3390),
    "lto": (1800, 2050, 2120, 2180, 2210, 2240, 2270, 2310, 2360, 2420, 2500, 2690),
    "lmo": (3000, 3500, 3650, 3790, 3850, 3890, 3930, 3970, 4010, 4050, 4100, 4190),
}

# How fast a cell heats itself: K/s at degC, straight between, and how many kelvin it can heat itself in all.
_SELF_HEATING = ((90, 0.0), (110, 0.02), (130, 0.1), (150, 0.6), (180, 4.0), (210, 20.0))
_HEAT_K = {"nmc": 550, "lmo": 450, "lfp": 220, "lto": 150}
COLLAPSE_DDEGC = 1650  # the separator is gone
COLLAPSE_S = 2.5
# What it blows off flows along the lid: for so long, so much hotter to probes near by, nothing so many cells away.
GAS_S, GAS_K, GAS_CELLS = 60, 150, 24
FLAT_MV_PER_PERMILLE = 30  # under 0 % a cell falls fast
OVERFULL_MV_PER_PERMILLE = 1.5


def _legs(xs, ys):
    return zip(xs, xs[1:], ys, ys[1:], strict=False)


def curve(chemistry):
    """Open-circuit voltage in mV at 0, 1 .. 1000 permille: a monotone cubic through the points, without kinks."""
    xs, ys = OCV_AT, OCV_MV[chemistry]
    steps = [(y2 - y1) / (x2 - x1) for x1, x2, y1, y2 in _legs(xs, ys)]
    # Fritsch and Butland: the harmonic mean of the two slopes at a point never overshoots.
    slopes = [steps[0], *(2 * a * b / (a + b) for a, b in pairwise(steps)), steps[-1]]
    table, k = [], 0
    for x in range(xs[-1] + 1):
        while x > xs[k + 1]:
            k += 1
        h = xs[k + 1] - xs[k]
        t = (x - xs[k]) / h
        u = 1 - t
        table.append(
            ys[k] * (1 + 2 * t) * u * u
            + h * slopes[k] * t * u * u
            + ys[k + 1] * t * t * (3 - 2 * t)
            - h * slopes[k + 1] * t * t * u
        )
    return table


def cold_factor(ddegc):
    """Resistance at this temperature over that at 25 degC, by Arrhenius' law: 1.8 at 0 degC, 3.1 at -20 degC."""
    kelvin = max(ddegc / 10 + 273.15, 200)
    half = ACTIVATION_K * (1 / kelvin - 1 / 298.15) / 2
    # exp(half), which not every machine computes alike.
    root = (12 + 6 * half + half * half) / (12 - 6 * half + half * half)
    return root * root


def self_heating(degc):
    """K/s"""
    low = _SELF_HEATING[0]
    for high in _SELF_HEATING:
        if degc < high[0]:
            if high is _SELF_HEATING[0]:
                return 0.0
            return low[1] + (high[1] - low[1]) * (degc - low[0]) / (high[0] - low[0])
        low = high
    return low[1]


class Troubled:
    """One cell that is not like the others: shorted inside, badly joined, hot, or next to a hot one.

    What it has beyond the pack's mean cell is computed here; the pack adds it. excess_k: warmer than the pack's mean;
    drop_mv: lower at its terminals than the same cell without the trouble; factor: what a burning cell has left.
    """

    def __init__(self, pack, n, rng):
        self.pack, self.n = pack, n
        self.ohm = self.joint_mohm = None
        self.excess_k, self.drop_mv, self.slow_mv, self.factor = 0.0, 0.0, 0.0, 1.0
        self.heat_k = float(_HEAT_K[pack.chemistry])
        self.burning_s = None  # for how long
        self.wire_s, self.board_s = 6 + 8 * rng.random(), 25 + 20 * rng.random()

    def step(self, open_mv, cold, dt_s, flow_k):
        """open_mv: its open-circuit voltage; flow_k: kelvin a second from its neighbours."""
        pack = self.pack
        current_a = pack.current_ma / 1000
        heat_w, drop = 0.0, 0.0
        if self.ohm is not None:
            volts = open_mv * self.factor / 1000
            amps = volts / (self.ohm + (R0_MOHM + R1_MOHM) * cold / 1000)
            self.slow_mv += (amps * R1_MOHM * cold - self.slow_mv) * dt_s / (TAU1_S + dt_s)
            pack.soc_offset[self.n] -= amps * dt_s / (3.6 * CAPACITY_AH)
            heat_w += amps * volts
            drop += amps * R0_MOHM * cold + self.slow_mv
        elif self.slow_mv:
            self.slow_mv *= TAU1_S / (TAU1_S + dt_s)
            drop += self.slow_mv
        if self.joint_mohm:
            drop += current_a * self.joint_mohm
            heat_w += current_a * current_a * self.joint_mohm / 1000
        self.drop_mv = drop
        degc = pack.heart_ddegc / 10 + self.excess_k
        self.excess_k += (heat_w / CELL_J_PER_K + flow_k) * dt_s
        if degc > 90 and self.heat_k > 0:
            rise_k = min(self_heating(degc) * dt_s, self.heat_k)
            self.excess_k += rise_k
            self.heat_k -= rise_k
        if degc * 10 > COLLAPSE_DDEGC and self.burning_s is None:
            self.burning_s = 0.0
        if self.burning_s is not None:
            self.burning_s += dt_s
            self.factor = max(1 - self.burning_s / COLLAPSE_S, 0.0)
