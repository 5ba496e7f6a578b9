"""Every word of the state has declared bounds, once and without a gap, and what leaves them is told."""

from array import array

import checked
import numpy as np
import pytest
from bounds import DRAWN, HOURS, Bounds, fields
from cellwarden.core import layout as L
from cellwarden.engine import Engine
from rig import Rig
from vehicles import DECODERS


@pytest.fixture(params=DECODERS)
def vehicle(request, demo, compile_text):
    return demo if request.param == "demo" else compile_text(*DECODERS[request.param])


def test_every_bit_of_every_word_belongs_to_exactly_one_number(vehicle):
    words = L.state_sections(vehicle.image.params)["memory"][1]
    covered = np.zeros((words, 32), int)
    for field in fields(vehicle):
        end = 32 if field.width is None else field.shift + field.width
        for at in field.at:
            covered[at, field.shift : end] += 1
    for at in np.flatnonzero((covered != 1).any(1)):
        pytest.fail(f"word {at} has bits without bounds, or with two: {covered[at].tolist()}")


def test_bounds_are_bounds(vehicle):
    for field in fields(vehicle):
        assert -(1 << 30) <= field.low <= field.high < 1 << 30, field.name
        assert field.width is None or field.high < 1 << field.width, f"{field.name} has too few bits"
        assert all(not field.low <= value <= field.high for value in field.also if value), field.name
        assert all(-(1 << 30) <= value << field.shift < 1 << 30 for value in (*field.also, field.low, field.high))


def test_a_fresh_state_is_inside(vehicle):
    assert Bounds(vehicle).broken(bytes(Engine(vehicle.image).state)) == []


def test_any_number_one_beyond_its_bounds_is_told(vehicle):
    bounds = Bounds(vehicle)
    fresh = np.frombuffer(Engine(vehicle.image).snapshot(), "i4")
    told = 0
    for field in bounds.fields:
        for value in (field.low - 1, field.high + 1):
            if value in field.also or (not 0 <= value < 1 << (field.width or 32) and field.shift):
                continue
            if field.width and not 0 <= value < 1 << field.width:
                continue
            for at in {field.at[0], field.at[-1]}:
                state = fresh.copy()
                kept = int(state[at]) & ~((1 << field.width) - 1 << field.shift) if field.width else 0
                if field.width is None:
                    kept = int(state[at]) & (1 << field.shift) - 1
                state[at] = kept | value << field.shift
                assert any(f"{field.name}: {value} is not" in line for line in bounds.broken(state)), field.name
                told += 1
    assert told > len(bounds.fields)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda s, r: s.__setitem__(L.STARTED, 1), "grid step"),
        (lambda s, r: s.__setitem__(L.LEVEL, 1), "MAX_LEVEL"),
        (lambda s, r: s.__setitem__(L.CELLS_SEEN, 1), "cells seen"),
        (lambda s, r: s.__setitem__(L.PROBES_SEEN, 1), "probes seen"),
        (lambda s, r: s.__setitem__(r + L.LEVEL_NOW, 1), "highest asserted"),
        (lambda s, r: s.__setitem__(r + L.ASSERT_MS, 100), "at rest"),
        (lambda s, r: s.__setitem__(r + L.CLEAR_MS, 100), "at rest"),
        (lambda s, r: s.__setitem__(r + L.BUSY, 1 << 6), "cleared"),
        (lambda s, r: s.__setitem__(r + L.BUSY, 1 | 1 << 3), "being asserted"),
    ],
)
def test_numbers_that_contradict_each_other_are_told(demo, change, line):
    state = array("i", Engine(demo.image).state)
    change(state, demo.image.params[L.P_RULES_AT])
    assert any(line in told for told in Bounds(demo).broken(state))


def test_more_groups_missing_than_there_are_is_told(demo):
    state = array("i", Engine(demo.image).state)
    state[L.WAITING] = state[L.LOST] = demo.image.params[L.P_GROUPS]
    assert Bounds(demo).broken(state) == ["more groups are missing than there are"]


# --- numbers that would go on for ever --------------------------------------------------------------------------------


def watched(compiled):
    """A Rig whose every integer is watched."""
    image, advance = checked.image(compiled.image)
    rig = Rig(compiled.image)
    rig.engine.drain = image.drain
    rig.engine.advance = lambda t_ms: advance(rig.engine.box, t_ms + rig.clock[L.OFFSET_MS] & L.MASK)
    return rig


@pytest.mark.parametrize("silent", [False, True])
def test_hours_stop_at_their_bound(demo, silent):
    rig = watched(demo)
    rig.clock[L.HOURS], rig.clock[L.HOUR_MS] = HOURS - 1, 3_599_900
    rig.scan()
    assert (rig.clock[L.HOURS], rig.clock[L.HOUR_MS]) == (HOURS, 0)
    rig.clock[L.HOUR_MS] = 3_599_900
    if silent:
        rig.engine.advance(9 * 3_600_000)  # asleep, and skipped
    else:
        rig.scan()
    assert rig.clock[L.HOURS] == HOURS, "a clock that jumps to and fro for days runs out of small integers"


@pytest.mark.long
@pytest.mark.parametrize(("sign", "before", "after"), [(1, DRAWN, 0), (-1, 0, DRAWN)])
@pytest.mark.parametrize(("permille", "jump"), [(1, 0), (31, 30)])
def test_the_charge_drawn_wraps_and_still_explains_the_soc(demo, sign, before, after, permille, jump):
    rig = watched(demo)
    rig.clock[L.DRAWN_PERMILLE], rig.clock[L.SOC_WAIT_MS] = before, 0  # references begin anew
    rig.clock[L.CHARGE_REST] = 1000
    rig.scan()
    rig[L.PACK_CURRENT_MA] = sign * 2_700_000  # 150 Ah: a permille in 0.2 s
    rig.scan()
    rig[L.SOC_PERMILLE] -= sign * permille
    rig.scan(1 + (sign > 0))
    assert rig.clock[L.DRAWN_PERMILLE] == after and rig.feature(L.F_SOC_JUMP_PERMILLE) == jump


@pytest.mark.parametrize(("hours", "wanted"), [(9_999, 19_998), (10_000, 20_000), (1_000_000, 20_000), (HOURS, 20_000)])
def test_points_of_a_trend_may_lie_years_apart(demo, hours, wanted):
    rig = watched(demo)
    for i, (ohm_per_v, ago) in enumerate(((1400, 6), (1500, 12), (1900, hours))):
        rig.clock[L.TREND_POINT + i], rig.clock[L.TREND_HOUR + i] = ohm_per_v, HOURS - ago
    rig.clock[L.TREND_POINTS], rig.clock[L.TREND_SUM], rig.clock[L.TREND_COUNT] = 4, 0, 0
    rig.clock[L.HOURS], rig.clock[L.HOUR_MS] = HOURS, 900  # the next reading is due in the next scan
    rig[L.INSULATION_OHM] = 461_760  # 1300 ohm/V
    rig.scan()
    # 1200 ohm/V above its level 3, and 600 lost in so many hours
    assert rig.feature(L.F_INSULATION_H) == wanted
