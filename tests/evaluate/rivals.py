"""The rules of others, written down once more as small oracles over the same samples, with their own thresholds.

Each takes a Samples and gives a level for each sample: 0 nothing, 1 warning, 2 alert. They get what the vehicle's
profile holds valid, so that a sentinel is nobody's alarm; beyond that they are on their own, as their users are.
None of them looks at current, insulation, state of charge against charge, interlocks or counters (Battery-Emulator's
checks of silence and of its own CAN errors say nothing of the battery and are left out).
"""

from typing import NamedTuple

import numpy


class Samples(NamedTuple):
    """What a vehicle said, one row a sample; NaN is no value.

    t_s: (n,) seconds; cells_v: (n, cells); probes_degc: (n, probes); pack_v: (n,); cells: in series
    """

    t_s: numpy.ndarray
    cells_v: numpy.ndarray
    probes_degc: numpy.ndarray
    pack_v: numpy.ndarray
    cells: int


def ovms(samples):
    """OVMS 3: a cell (probe) that is off the mean by its series' sigma and 20 (2 K) or 30 mV (3 K) more.

    A series is complete when every cell has come since the last one. It is judged where it is not torn by a load that
    changed while it was read: no slope over the cells of more than 10 mV from end to end, and its sigma at most 10 mV
    over the running mean of the last five. Its alerts latch until a person resets them; here they end with the
    deviation.
    """
    levels = numpy.zeros(len(samples.t_s), "i1")
    for values, warn, alert, volts in (
        (samples.cells_v, 0.020, 0.030, True),
        (samples.probes_degc, 2.0, 3.0, False),
    ):
        _, wide = values.shape
        if not wide:
            continue
        series, missing = numpy.zeros(wide), numpy.ones(wide, bool)
        place = numpy.arange(wide) - (wide - 1) / 2
        running, count = 0.0, 0
        for row, now in enumerate(values):
            came = ~numpy.isnan(now)
            series[came] = now[came]
            missing &= ~came
            if missing.any():
                continue
            missing[:] = True
            off = series - series.mean()
            sigma = numpy.sqrt((off**2).mean())
            if volts:
                if abs((place * off).sum() / (place**2).sum() * wide) > 0.010:
                    continue
                if count < 5:
                    count += 1
                    running += (sigma - running) / count
                    continue
                if sigma - running > 0.010:
                    continue
                running += (sigma - running) / 5
            worst = numpy.abs(off).max() - sigma
            levels[row] = max(levels[row], 2 if worst >= alert else 1 if worst >= warn else 0)
    return levels


# Per cell of the 98-cell NMC pack of Battery-Emulator's Kona: 411 V and 280 V, 4.25 V, 2.95 V, 150 mV.
PACK_HIGH_V, PACK_LOW_V = 411.0 / 98, 280.0 / 98
CELL_HIGH_V, CELL_LOW_V, CRITICAL_V, DEVIATION_V = 4.250, 2.950, 0.100, 0.150
HOT_DEGC, FROZEN_DEGC, SPREAD_K = 50.0, -25.0, 15.0


def battery_emulator(samples):
    """Battery-Emulator's safety task, once a second: limits of temperature, pack, cells, and the spread of each.

    Level 2 is what it latches: a cell 100 mV beyond its limit, and the spread of the temperatures.
    """
    high, low = _extremes(samples.cells_v)
    hot, cold = _extremes(samples.probes_degc)
    pack = samples.pack_v / samples.cells
    with numpy.errstate(invalid="ignore"):  # no value is no event
        warned = (high >= CELL_HIGH_V) | (low <= CELL_LOW_V) | (high - low > DEVIATION_V)
        warned |= (pack > PACK_HIGH_V) | (pack < PACK_LOW_V) | (hot > HOT_DEGC) | (cold < FROZEN_DEGC)
        latched = (high >= CELL_HIGH_V + CRITICAL_V) | (low <= CELL_LOW_V - CRITICAL_V) | (hot - cold > SPREAD_K)
    return numpy.where(latched, 2, warned).astype("i1")


def _extremes(values):
    """Highest and lowest of each row; NaN where the row has no value."""
    return tuple(pick.reduce(values, axis=1, initial=numpy.nan) for pick in (numpy.fmax, numpy.fmin))


LEAST_CELLS = 10  # with n values none is ever more than (n - 1) / sqrt(n) sigma off: three need ten


def three_sigma(samples):
    """The textbook's: a cell more than three standard deviations off the mean of all."""
    levels = numpy.zeros(len(samples.t_s), "i1")
    for row, now in enumerate(samples.cells_v):
        there = now[~numpy.isnan(now)]
        if len(there) >= LEAST_CELLS:
            off = numpy.abs(there - there.mean())
            levels[row] = off.max() > 3 * numpy.sqrt((off**2).mean()) + 1e-12
    return levels


RIVALS = {"OVMS": ovms, "Battery-Emulator": battery_emulator, "three sigma": three_sigma}
