"""The simulator's cells beside PyBaMM's: a circuit with the same figures, and models of published cells."""

import os
import random
import statistics
from math import exp

import pytest
from cellwarden_tools.simulator import scenarios
from cellwarden_tools.simulator.cells import (
    ACTIVATION_K,
    CAPACITY_AH,
    CELL_J_PER_K,
    COOLING_W_PER_K,
    OCV_AT,
    OCV_MV,
    R0_MOHM,
    R1_MOHM,
    R2_MOHM,
    TAU1_S,
    TAU2_S,
    cold_factor,
    curve,
)
from cellwarden_tools.simulator.pack import Pack

os.environ["PYBAMM_DISABLE_TELEMETRY"] = "true"  # else it reports what it is used for
pybamm = pytest.importorskip("pybamm", reason="PyBaMM is not installed: make physics, or the extra `physics`")
np = pytest.importorskip("numpy")
interpolate = pytest.importorskip("scipy.interpolate")

CELLS, PROBES = 96, 24
KELVIN = 273.15
# Of four cells with nickel, manganese and cobalt: two tellings of one, and two others.
PUBLISHED = ("OKane2022", "ORegan2022", "Mohtat2020", "Ecker2015")


def arrhenius(degc, power=exp):
    """Resistance at degC over that at 25 degC."""
    return power(ACTIVATION_K * (1 / (degc + KELVIN) - 1 / (25 + KELVIN)))


def pack_of(chemistry="nmc", **told):
    return Pack(CELLS, PROBES, chemistry, scenarios.load("healthy_park") | told, random.Random(1))


def middle_mv(pack):
    return statistics.median(pack.values[pack.cell0 : pack.probe0])


# The same circuit, solved by another


def drive(pack, minutes):
    """(t_s, A, mV of the middle cell, degC inside, degC of the mean probe) at each step, as columns."""
    rows = []
    while pack.t_s < 60 * minutes:
        probes = pack.values[pack.probe0 :]
        rows.append(
            (pack.t_s, pack.current_ma / 1000, middle_mv(pack), pack.heart_ddegc / 10, statistics.mean(probes) / 10)
        )
        pack.step()
    return np.array(rows).T


def thevenin(told, chemistry, t_s, amps, degc):
    """(mV, degC) of one cell at these times under this current: PyBaMM's circuit of three resistances."""
    # The monotone cubic is SciPy's.
    soc = np.linspace(0, 1, 1001)
    volts = interpolate.PchipInterpolator(np.array(OCV_AT) / 1000, np.array(OCV_MV[chemistry]) / 1000)(soc)

    def ohm(mohm):
        return lambda degc, amps, soc: mohm / 1000 * arrhenius(degc, pybamm.exp)

    def farad(tau_s, mohm):
        return lambda degc, amps, soc: 1000 * tau_s / (mohm * arrhenius(degc, pybamm.exp))

    model = pybamm.equivalent_circuit.Thevenin(options={"number of rc elements": 2})
    values = model.default_parameter_values
    values.update(
        {
            "Cell capacity [A.h]": CAPACITY_AH,
            "Nominal cell capacity [A.h]": CAPACITY_AH,
            "Open-circuit voltage [V]": lambda at: pybamm.Interpolant(soc, volts, at),
            "R0 [Ohm]": ohm(R0_MOHM),
            "R1 [Ohm]": ohm(R1_MOHM),
            "C1 [F]": farad(TAU1_S, R1_MOHM),
            "R2 [Ohm]": ohm(R2_MOHM),
            "C2 [F]": farad(TAU2_S, R2_MOHM),
            "Element-1 initial overpotential [V]": 0,
            "Element-2 initial overpotential [V]": 0,
            "Entropic change [V/K]": 0,
            "Cell thermal mass [J/K]": CELL_J_PER_K,
            "Cell-jig heat transfer coefficient [W/K]": COOLING_W_PER_K,
            # What holds the cell is as warm as the coolant.
            "Jig thermal mass [J/K]": 1,
            "Jig-air heat transfer coefficient [W/K]": 1e4,
            "Ambient temperature [K]": KELVIN
            + told["ambient_ddegc"] / 10
            + told["heater_w"] / (CELLS * COOLING_W_PER_K),
            "Initial temperature [K]": KELVIN + degc,
            "Initial SoC": told["soc_permille"] / 1000,
            "Upper voltage cut-off [V]": 5,
            "Lower voltage cut-off [V]": 1,
            "Current function [A]": pybamm.Interpolant(t_s, amps, pybamm.t),
        },
        check_already_exists=False,
    )
    solver = pybamm.IDAKLUSolver(rtol=1e-6, atol=1e-8, options={"dt_max": 10})
    solution = pybamm.Simulation(model, parameter_values=values, solver=solver).solve([0, t_s[-1]], t_interp=t_s)
    return 1000 * solution["Voltage [V]"](t_s), solution["Cell temperature [degC]"](t_s)


@pytest.mark.parametrize(
    ("name", "chemistry"),
    [
        ("healthy_drive", "nmc"),
        ("healthy_drive", "lfp"),
        ("healthy_drive", "lto"),
        ("healthy_drive", "lmo"),
        ("healthy_charge", "nmc"),
        ("fast_charge_heats", "nmc"),
        ("charge_in_frost", "nmc"),
        ("cold_start", "nmc"),
        ("hot_day", "nmc"),
        ("hard_launch_low_soc", "nmc"),
        ("pack_rises_asleep", "nmc"),
    ],
)
def test_the_middle_cell_is_what_pybamm_makes_of_the_same_circuit(name, chemistry):
    told = scenarios.load(name)
    t_s, amps, mv, degc, probes = drive(Pack(CELLS, PROBES, chemistry, told, random.Random(1)), told["minutes"])
    true_mv, true_degc = thevenin(told, chemistry, t_s, amps, degc[0])
    assert abs(mv - true_mv).max() < 3
    assert abs(degc - true_degc).max() < 0.15
    assert abs(probes - true_degc).max() < 1, "the skin follows half a minute later"


def test_resistance_follows_the_temperature_as_arrhenius_law_says():
    for degc in range(-40, 91):
        assert cold_factor(10 * degc) == pytest.approx(arrhenius(degc), rel=0.005), degc


# Published cells


def test_the_open_circuit_voltage_lies_among_those_of_published_cells():
    theirs, symbols = [], pybamm.LithiumIonParameters()
    for name in PUBLISHED:
        solver = pybamm.lithium_ion.ElectrodeSOHSolver(pybamm.ParameterValues(name), symbols)
        theirs.append([solver.get_initial_ocps(permille / 1000) for permille in range(100, 951, 50)])
    table = curve("nmc")
    for permille, cells in zip(range(100, 951, 50), zip(*theirs, strict=True), strict=True):
        mv = [1000 * float(np.squeeze(positive - negative)) for negative, positive in cells]
        assert min(mv) - 20 < table[permille] < max(mv) + 20, permille


class Pulse:
    """Draws a current for a minute, then none, at one temperature."""

    PULSE_S, REST_S = 60, 300

    def __init__(self, pack, rate):
        self.pack, self.amps, self.ddegc = pack, rate * CAPACITY_AH, pack.ambient_ddegc

    def step(self, t_s, dt_s):
        self.pack.current_ma = 1000 * self.amps * (t_s < self.PULSE_S)
        self.pack.heart_ddegc = self.ddegc


# Seconds after the first moment.
UNDER_LOAD, AT_REST = (1, 10, 30, 59), (61, 70, 90, 120, 240)


def ours(degc, rate):
    """mV that the middle cell has lost at each moment, times hours of the rate: what its size has no part in."""
    pack = pack_of(soc_permille=500, ambient_ddegc=10 * degc, warmer_ddegc=0)
    pack.driver = Pulse(pack, rate)
    table, lost = curve("nmc"), {}
    while pack.t_s < AT_REST[-1]:
        pack.step()
        lost[round(pack.t_s, 1)] = (table[round(500 - pack.drawn_permille)] - middle_mv(pack)) / rate
    return {t: lost[t] for t in UNDER_LOAD + AT_REST}


def published(name, degc, rate):
    """The same of a published cell, as the model of Doyle, Fuller and Newman has it."""
    values = pybamm.ParameterValues(name)
    amps = rate * values["Nominal cell capacity [A.h]"]
    values.update(
        {
            "Ambient temperature [K]": KELVIN + degc,
            "Initial temperature [K]": KELVIN + degc,
            "Lower voltage cut-off [V]": 1.5,
            "Current function [A]": pybamm.Interpolant(
                np.array([0, Pulse.PULSE_S, Pulse.PULSE_S + 0.001, AT_REST[-1]]), np.array([amps, amps, 0, 0]), pybamm.t
            ),
        }
    )
    model = pybamm.lithium_ion.DFN({"thermal": "isothermal"})
    simulation = pybamm.Simulation(model, parameter_values=values, solver=pybamm.IDAKLUSolver())
    times = np.array([0, *UNDER_LOAD, *AT_REST])
    solution = simulation.solve([0, AT_REST[-1]], t_interp=times, initial_soc=0.5)
    lost = 1000 * (solution["Bulk open-circuit voltage [V]"](times) - solution["Voltage [V]"](times)) / rate
    return dict(zip(times.tolist(), lost.tolist(), strict=True))


@pytest.mark.parametrize(("degc", "rate"), [(45, 1), (25, 1), (0, 1), (-20, 0.5)])
def test_a_pulse_costs_no_less_and_no_more_than_published_cells_lose(degc, rate):
    mine, theirs = ours(degc, rate), [published(name, degc, rate) for name in PUBLISHED]
    for t, mv in mine.items():
        low, high = min(their[t] for their in theirs), max(their[t] for their in theirs)
        assert 0.95 * low <= mv <= 1.05 * high, t
