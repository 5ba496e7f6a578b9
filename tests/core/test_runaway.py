"""Thermal runaway to the unit: what GB 38031-2025 C.5.3.7 asks, when it is confirmed, and how it is released."""

import pytest
from cellwarden.core import catalogue
from cellwarden.core import layout as L
from rig import Rig

RULE = "thermal_runaway"
A, B, C = (f"GB 38031-2025 C.5.3.7 {sign}" for sign in "abc")
ALARM = "GB 38031-2025 thermal event alarm"
pytestmark = pytest.mark.rule(RULE)


@pytest.fixture
def pack(demo):
    """pack(probes in 0.1 degC) -> the demonstration pack at rest for 40 s: cells at 3.700 V, all probes alike."""

    def at(ddegc):
        rig = Rig(demo.image)
        rig.probes_read(ddegc)
        rig.scan(400)
        assert not rig.level(RULE)
        return rig

    return at


def heat(rig, number, steps):
    """One probe moves by each of `steps` (0.1 K), one a second."""
    for step in steps:
        rig[rig.probe(number)] += step
        rig.scan(10)


@pytest.mark.clause(A)
@pytest.mark.parametrize(("mv", "level"), [(2774, 3), (2775, 0), (2776, 0)])
def test_a_cell_that_fell_by_more_than_a_quarter_confirms_a_hot_probe(pack, mv, level):
    rig = pack(590)
    rig[rig.cell(7)], rig[rig.probe(3)] = mv, 600
    rig.scan(10)
    assert rig.level(RULE) == level, f"3.700 V fell to {mv} mV beside a probe at 60 degC"


@pytest.mark.clause(A)
@pytest.mark.clause(B)
def test_no_sign_alone_confirms(pack):
    for cell, probe in ((2000, 590), (3700, 640)):
        rig = pack(590)
        rig[rig.cell(7)], rig[rig.probe(3)] = cell, probe
        rig.scan(600)
        assert not rig.level(RULE)


@pytest.mark.clause(B)
@pytest.mark.parametrize(("ddegc", "level"), [(599, 0), (600, 3), (601, 3)])
def test_a_probe_at_its_maximum_operating_temperature_confirms_a_fallen_cell(pack, ddegc, level):
    rig = pack(590)
    rig[rig.cell(7)], rig[rig.probe(3)] = 2500, ddegc
    rig.scan(10)
    assert rig.level(RULE) == level


@pytest.mark.clause(C)
@pytest.mark.parametrize(
    ("steps", "level"),
    [
        ([10] * 4, 3),
        ([9] * 8, 0),  # 0.9 K/s for 8 s
        ([10] * 3, 0),  # 1 K/s for 3 s and no more
        ([10] * 3 + [0] * 5, 0),
        ([0, 40, 0, 0, 0, 0], 0),  # 4 K in one step: a flicker, a connector
        ([10, 0, 10, 0, 10, 0, 10, 0], 0),  # a probe of 1 degC resolution that follows 0.5 K/s
    ],
)
def test_a_hot_probe_that_rises_by_1_kelvin_a_second_for_more_than_3_s_confirms(pack, steps, level):
    rig = pack(600)
    heat(rig, 3, steps)
    rig.scan(10)
    assert rig.level(RULE) == level


@pytest.mark.clause(C)
def test_a_cold_probe_that_rises_as_steeply_beside_healthy_cells_does_not_confirm(pack):
    rig = pack(250)
    heat(rig, 3, [10] * 10)
    rig.scan(10)
    assert not rig.level(RULE)


@pytest.mark.clause(A)
@pytest.mark.clause(C)
def test_a_fallen_cell_beside_a_cold_probe_that_rises_steeply_confirms(pack):
    rig = pack(250)
    rig[rig.cell(7)] = 2500
    heat(rig, 3, [10] * 5)
    assert rig.level(RULE) == 3


@pytest.mark.clause(ALARM)
def test_it_is_out_in_the_scan_that_shows_it_with_both_flags(pack):
    rig = pack(590)
    rig[rig.cell(7)], rig[rig.probe(3)] = 2500, 600
    rig.scan()
    (event,) = rig.of(RULE)
    assert (event.before, event.level, event.t_ms) == (0, 3, rig.clock[L.NOW_MS])
    assert rig.clock[L.FLAGS] & (1 << 1 | 1 << 23) == 1 << 1 | 1 << 23


def acknowledge(rig):
    t_ms = (rig.clock[L.DUE_MS] - rig.clock[L.OFFSET_MS] - 50) & L.MASK
    rig.engine.notice(t_ms, L.NOTICE_ACK, catalogue.RULES.index(RULE))
    rig.scan()


@pytest.mark.clause(ALARM)
@pytest.mark.proves("recovery")
def test_it_stands_until_it_is_acknowledged_and_comes_back_while_it_lasts(pack):
    rig = pack(590)
    rig[rig.cell(7)], rig[rig.probe(3)] = 2500, 600
    rig.scan()
    acknowledge(rig)
    assert rig.level(RULE) == 3, "an acknowledgement silenced a fire"
    rig[rig.cell(7)], rig[rig.probe(3)] = 3700, 590
    rig.scan(6000)
    assert rig.level(RULE) == 3, "it went away by itself"
    acknowledge(rig)
    assert rig.level(RULE) == 0
    rig.scan(100)
    assert rig.level(RULE) == 0
    assert rig.of(RULE)[-1].level == 0
