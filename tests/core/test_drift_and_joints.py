"""How cells drift and joints grow, the core against the oracle: an hour of samples each, too long for coverage."""

import pytest
from oracle_twin import Twin


@pytest.mark.long(but=["joints1-late2"])
@pytest.mark.parametrize("late", [(), (5, 6, 7, 8, 9, 10, 11, 12), (6, 9)])
@pytest.mark.parametrize("joints", [(4,), (4, 9), (12,)])
def test_a_joint_that_grows_is_measured_the_same_where_cells_come_late(twin_vehicle, joints, late):
    twin = Twin(twin_vehicle)
    twin.run(20, every=10)
    for k in range(72):
        amps = 40 * (k % 2)
        loaded = [3700 - amps // 2 - (amps * 4 // 5 if n in joints and k > 36 else 0) for n in range(1, 13)]
        told = [3680 + amps // 2 if n in late else mv for n, mv in enumerate(loaded, 1)]
        changes = [(("cell", n), mv) for n, mv in enumerate(told, 1)]
        twin.set([*changes, ("pack", sum(loaded)), ("current", amps * 1000)])
        twin.run(40, every=10)
    grown_uohm = twin.rig.engine.state[twin.features["contact_resistance"]]
    assert (grown_uohm >= 300) == (len({*joints} - {*late}) == 1 and len(late) < 6), "one, on steps that the cells took"


@pytest.mark.long(but=["35-1", "0-3"])
@pytest.mark.parametrize("fall, breath", [(0, 1), (35, 1), (-35, 1), (20, 2), (0, 3)])
def test_a_cell_that_leaves_the_others_slowly_is_measured_the_same(slow_twin_vehicle, fall, breath):
    """Imbalances of 0, 6, 12 and 18 mV, which breathe with the slope of the OCV curve, and one cell that falls."""
    twin = Twin(slow_twin_vehicle)

    def imbalance(by, fallen=0):
        return [(("cell", n), 3700 + round(by * 6 * (n % 4 - 1)) - (fallen if n == 7 else 0)) for n in range(1, 13)]

    twin.set(imbalance(1))
    twin.run(3200, every=10)
    for step in range(1, 6):
        twin.set(imbalance(1 + (breath - 1) * step / 5, fall * step // 5))
        twin.run(330, every=10)


@pytest.mark.long(but=["800-500"])
@pytest.mark.parametrize("extra_uohm, own_uohm", [(800, 500), (800, 3000), (-800, 500)])
def test_a_joint_that_grows_is_measured_the_same(twin_vehicle, extra_uohm, own_uohm):
    twin = Twin(twin_vehicle)
    for k in range(70):
        ma = 40_000 * (k % 2)
        extra = extra_uohm if k > 36 else 0
        fall = own_uohm * ma // 10**6
        twin.set([("cells", 3700 - fall), (("cell", 4), 3700 - fall - extra * ma // 10**6), ("current", ma)])
        twin.run(40, every=10)
