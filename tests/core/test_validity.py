"""Validity: a value counts only in time, whole, in order, with its sum right and inside what can be."""

import pytest
from cellwarden.core import layout as L
from cellwarden.engine import Engine
from rig import FrameRig, Rig, changed, put_bits
from vehicles import DECODERS

NA = L.NA


@pytest.fixture
def rig(demo):
    return FrameRig(demo)


def group(rig, slot):
    return rig.engine.section("owners")[slot]


def lines(rig):
    """Every group as (its slots, its deadline in ms)."""
    table = rig.engine.section("group_table")
    for number in range(len(rig.sender.groups)):
        yield number, rig.sender.slots[number], table[number * L.GROUP_TABLE_SIZE + L.P_DEADLINE_MS]


def frame(rig, slot):
    return rig.sender.frame(group(rig, slot), rig.wanted)


def test_deadlines_follow_the_period_and_the_number_of_pages(rig):
    told = {group(rig, slot): deadline for _, (slot, *_), deadline in lines(rig)}
    # three periods, all pages counted, and half a second at least
    for slot, deadline in (
        (L.PACK_VOLTAGE_MV, 500),
        (L.INSULATION_OHM, 3000),
        (rig.cell(1), 960),
        (rig.probe(1), 1200),
    ):
        assert told[group(rig, slot)] == deadline


def test_each_message_and_each_page_expires_alone(demo):
    """Each falls silent in turn while the others go on: its signals are valid to its deadline and then missing."""
    rig = FrameRig(demo)
    for number, slots, deadline in lines(rig):
        if number > 12 and number % 7:
            continue
        others = [n for n, _, _ in lines(rig) if n != number]
        rig.send(rig.sender.frame(number, rig.wanted), before_ms=0)
        stamp = rig.clock[L.NOW_MS]
        while (rig.clock[L.DUE_MS] - stamp) & L.MASK <= deadline + 200:
            for n in others:
                rig.send(rig.sender.frame(n, rig.wanted))
            due = rig.clock[L.DUE_MS]
            rig.scan(samples=0)
            late = due - stamp > deadline
            assert all((rig[slot] == NA) == late for slot in slots), f"{due - stamp} ms old, deadline {deadline}"
            assert rig.clock[L.LOST] == late
        assert not any(rig[slot] == NA for n in others for slot in rig.sender.slots[n])
        rig.send(rig.sender.frame(number, rig.wanted))
        assert all(rig[slot] == rig.wanted[slot] for slot in slots), "a message that came back stayed missing"
        rig.scan()
        assert rig.clock[L.LOST] == 0


@pytest.mark.parametrize("slot", [L.PACK_VOLTAGE_MV, L.HVIL_OK, L.MAX_CHARGE_MA, L.INSULATION_OHM, "cell", "probe"])
def test_a_short_frame_changes_nothing_and_is_counted(rig, slot):
    slot = {"cell": rig.cell(5), "probe": rig.probe(5)}.get(slot, slot)
    rig.wanted[slot] = {L.HVIL_OK: 0}.get(slot, 0) if slot < L.SCALARS else rig.wanted[slot] + 10
    before = rig[slot]
    needed = 3 if slot == L.INSULATION_OHM else 6 if slot == L.MAX_CHARGE_MA else 8
    for n in range(needed):
        can_id, data, bus = frame(rig, slot)
        rig.send((can_id, data[:n], bus))
        assert rig[slot] == before, f"a frame cut to {n} bytes was believed"
    assert rig.clock[L.MALFORMED] == needed
    rig.send(frame(rig, slot))
    assert rig[slot] == rig.wanted[slot]


def test_a_wrong_checksum_changes_nothing_and_is_counted(rig):
    errors = 0
    for slot in (L.PACK_VOLTAGE_MV, L.HVIL_OK, L.MAX_CHARGE_MA, rig.probe(1)):
        before = list(rig.signals)
        can_id, data, bus = frame(rig, slot)
        for bit in range(8 * len(data)):
            bad = bytearray(data)
            bad[bit // 8] ^= 1 << bit % 8
            rig.send((can_id, bytes(bad), bus))
            errors += 1
        assert list(rig.signals) == before, "a flipped bit on the wire was believed"
    assert rig.clock[L.CHECKSUM_ERRORS] == errors and rig.clock[L.COUNTER_ERRORS] == 0


def test_the_leaky_counter_fills_to_five_and_empties_again(rig):
    number = group(rig, rig.cell(1))
    row = rig.sender.groups[number].message * L.MESSAGE_SIZE
    wrong = lambda: rig.messages[row + L.WRONG]  # noqa: E731
    for n in range(1, 8):
        rig.sender.counters[rig.sender.groups[number].message] += 3
        rig.send(rig.sender.frame(number, rig.wanted))
        assert wrong() == min(n, L.WRONG_LIMIT)
        assert rig.clock[L.COUNTER_ERRORS] == n
    assert rig[rig.cell(1)] == rig.wanted[rig.cell(1)], "judged before the scan"
    rig.scan(samples=0)
    assert rig[rig.cell(1)] == NA, "a stuck or skipping gateway is still believed"
    arrivals = rig.groups[number * L.GROUP_SIZE + L.ARRIVALS]
    rig.sender.counters[rig.sender.groups[number].message] += 3
    rig.send(rig.sender.frame(number, rig.wanted))
    assert rig[rig.cell(1)] == NA and rig.groups[number * L.GROUP_SIZE + L.ARRIVALS] == arrivals, (
        "a frame of a message that is not trusted was taken for a sample"
    )
    for n in range(4, -1, -1):
        rig.send(rig.sender.frame(number, rig.wanted))
        assert wrong() == n and rig[rig.cell(1)] == rig.wanted[rig.cell(1)], "one right frame is enough to listen again"
    rig.send(rig.sender.frame(number, rig.wanted))
    assert wrong() == 0


def test_the_state_says_which_messages_are_not_believed_and_doubts_them_once(rig):
    """A message in doubt takes down its own pages and no other's; the doubt ends with the scan that dealt with it."""
    number = group(rig, rig.cell(1))
    message = rig.sender.groups[number].message
    for _ in range(5):
        rig.sender.counters[message] += 3
        rig.send(rig.sender.frame(number, rig.wanted))
    assert rig.clock[L.DOUBT] == 1
    rig.scan(samples=0)
    assert rig.clock[L.DOUBT] == 0, "a message was doubted for ever"
    stale = {n for n in range(len(rig.sender.groups)) if rig.groups[n * L.GROUP_SIZE + L.STATUS] == L.STALE}
    assert stale == {n for n, other in enumerate(rig.sender.groups) if other.message == message}
    assert rig.clock[L.LOST] == len(stale)
    missing = {slot for slots in rig.sender.slots for slot in slots if rig[slot] == NA}
    assert missing == {slot for n in stale for slot in rig.sender.slots[n]}, "another was lost with it"
    rig.scan(samples=0)
    assert rig.clock[L.LOST] == len(stale), "the doubt about one message took another down"


def test_a_frame_that_is_repeated_is_not_believed_for_ever(rig):
    stuck = frame(rig, L.PACK_VOLTAGE_MV)
    for _ in range(8):
        rig.send(stuck)
        rig.scan(samples=0)
    assert rig[L.PACK_VOLTAGE_MV] == NA, "a gateway that repeats its last frame hides a dead BMS"


def test_sentinels_are_no_values(rig):
    for number, slots, _ in lines(rig):
        for slot, binding in zip(slots, rig.sender.groups[number].bindings, strict=True):
            if binding.invalid:
                keep, rig.wanted[slot] = rig.wanted[slot], NA
                rig.send(rig.sender.frame(number, rig.wanted))
                assert rig[slot] == NA, f"{binding.signal.name}: 'not available' was taken for a measurement"
                rig.wanted[slot] = keep
                rig.send(rig.sender.frame(number, rig.wanted))
                assert rig[slot] == keep


@pytest.mark.parametrize("value, kept", [(0, NA), (499, NA), (500, 500), (4999, 4999), (5000, NA), (65534, NA)])
def test_a_cell_outside_of_what_can_be_is_missing(rig, value, kept):
    rig.wanted[rig.cell(4)] = value
    rig.send(frame(rig, rig.cell(4)))
    assert rig[rig.cell(4)] == kept, "a rail of the measuring chip was taken for a voltage"


def test_cells_and_probes_that_went_missing_are_counted(rig):
    for n in range(5):
        assert (rig.feature(L.F_CELLS_VALID), rig.feature(L.F_CELLS_LOST)) == (96 - n, n)
        assert (rig.feature(L.F_PROBES_VALID), rig.feature(L.F_PROBES_LOST)) == (24 - n, n)
        assert rig.feature(L.F_CELL_MAX_MV, L.COMPLETE) == rig.feature(L.F_PROBE_MIN_DDEGC, L.COMPLETE) == (n == 0)
        rig.wanted[rig.cell(10 * n + 1)] = rig.wanted[rig.probe(3 * n + 1)] = NA
        rig.scan()
    rig.cells_read(NA)
    rig.scan()
    assert (rig.feature(L.F_CELLS_VALID), rig.feature(L.F_CELLS_LOST)) == (0, 96)
    assert rig.feature(L.F_CELL_MAX_MV) == rig.feature(L.F_CELL_MIN_MV) == rig.feature(L.F_CELL_SPREAD_MV) == NA


def test_cells_never_seen_are_absent_and_not_lost(demo):
    rig = FrameRig(demo, healthy=False)
    rig.wanted[:] = FrameRig(demo).wanted
    rig.cells_read(NA)
    rig.wanted[rig.cell(1)] = 3700
    rig.scan(3)
    assert (rig.feature(L.F_CELLS_VALID), rig.feature(L.F_CELLS_LOST)) == (1, 0)


# --- before the first full set of values -----------------------------------------------------------------------------


def test_before_the_first_full_set_the_verdict_is_not_yet_known(demo):
    rig = FrameRig(demo, healthy=False)
    groups = len(rig.sender.groups)
    full = FrameRig(demo).wanted
    for number in range(groups):
        assert not rig.clock[L.KNOWN], "fine was said before everything had been heard"
        rig.send(rig.sender.frame(number, full))
        rig.scan(samples=0)
        assert rig.clock[L.WAITING] == groups - number - 1
    # the first messages went stale meanwhile, but each has been heard once
    assert rig.clock[L.KNOWN] == 1


def test_a_table_that_fills_slowly_is_waited_for_thirty_seconds(demo):
    rig = FrameRig(demo, healthy=False)
    full = FrameRig(demo).wanted
    rig.wanted[:] = full
    rig.wanted[rig.cell(96)] = NA
    for scan in range(1, 320):
        rig.scan()
        assert rig.clock[L.KNOWN] == (scan >= 300), f"scan {scan}: one cell of the table has not been filled yet"
    rig.scan(300)
    assert rig.clock[L.AGE_MS] == 60_000, "the age of the start is saturated where nothing asks for more"


def test_the_table_filled_ends_the_wait(demo):
    rig = FrameRig(demo, healthy=False)
    rig.wanted[:] = FrameRig(demo).wanted
    rig.wanted[rig.probe(24)] = NA
    rig.scan(40)
    assert not rig.clock[L.KNOWN]
    rig.wanted[rig.probe(24)] = 250
    rig.scan()
    assert rig.clock[L.KNOWN] == 1 and rig.clock[L.AGE_MS] == 4100


def test_a_message_that_never_comes_keeps_the_verdict_unknown(demo):
    rig = FrameRig(demo, healthy=False)
    full = FrameRig(demo).wanted
    for _ in range(310):
        for number in range(1, len(rig.sender.groups)):
            rig.send(rig.sender.frame(number, full))
        rig.scan(samples=0)
    assert not rig.clock[L.KNOWN] and rig.clock[L.WAITING] == 1
    rig.send(rig.sender.frame(0, full))
    rig.scan(samples=0)
    assert rig.clock[L.KNOWN] == 1


def test_a_flag_that_the_vehicle_does_not_send_is_not_missed(demo):
    for sent, complete in ((True, 0), (False, 1)):
        told = demo.image.params[L.P_SENT] & ~(0 if sent else 1 << L.BMS_FLAG_17)
        rig = Rig(changed(demo.image, header={L.P_SENT: told}))
        rig[L.BMS_FLAG_17] = NA
        rig.scan()
        assert rig.feature(L.F_BMS_LEVEL, L.COMPLETE) == complete


# --- vehicles that send extremes only -----------------------------------------------------------------------------


def test_a_vehicle_that_sends_extremes_only_is_judged_by_them(compile_text):
    compiled = compile_text(*DECODERS["sums"])
    engine = Engine(compiled.image)
    signals, features = engine.section("signals"), engine.section("features")
    engine.advance(0)

    def read(high, low, hot, cold):
        for slot, value in zip(range(L.CELL_MAX_MV, L.PROBE_MIN_DDEGC + 1), (high, low, hot, cold), strict=True):
            signals[slot] = value
        engine.advance(engine.section("clock")[L.DUE_MS])
        return [features[number] for number in range(L.F_CELL_MAX_MV, L.F_PROBE_SPREAD_DDEGC + 1)]

    assert read(3700, 3650, 300, 250) == [3700, 3650, 50, 300, 250, 50]
    assert read(NA, 3650, 300, NA) == [NA, 3650, NA, 300, NA, NA]
    assert read(3700, NA, NA, -50) == [3700, NA, NA, NA, -50, NA]
    assert features[L.F_CALM] == 0
    signals[L.PACK_CURRENT_MA] = 0
    for _ in range(21):
        read(3700, 3650, 300, 250)
    assert features[L.F_CALM] == 1, "without cells the current alone says what is calm"


# --- calm ----------------------------------------------------------------------------------------------------------


def test_calm_is_two_seconds_of_small_and_steady_current(demo):
    rig = FrameRig(demo)
    rig[L.PACK_CURRENT_MA] = 9000
    rig.scan()
    rig[L.PACK_CURRENT_MA] = -5000
    rig.scan(20)
    assert not rig.feature(L.F_CALM)
    rig.scan()
    assert rig.feature(L.F_CALM) == 1
    for low, high in ((-5000, -3100), (-3100, -1300)):
        rig[L.PACK_CURRENT_MA] = low
        rig.scan(30)
        rig[L.PACK_CURRENT_MA] = high
        rig.scan()
    assert not rig.feature(L.F_CALM), "a current that moved by 3.7 A in two scans was called calm"


def test_cells_that_do_not_step_together_are_not_calm(demo):
    def calm_after(steps):
        rig = FrameRig(demo)
        rig.scan(22)
        assert rig.feature(L.F_CALM) == 1
        for number, step in steps.items():
            rig.wanted[rig.cell(number)] += step
        told = []
        for _ in range(25):  # over the next sample and the scans that look at it
            rig.scan()
            told.append(rig.feature(L.F_CALM))
        return min(told)

    assert calm_after({n: 20 for n in range(1, 97)}) == 1, "all cells together is no unrest"
    assert calm_after({n: 40 for n in range(1, 97)}) == 0, "a step too large to be told is not calm"
    assert calm_after({n: -40 for n in range(1, 97)}) == 0
    assert calm_after({n: 5 for n in range(1, 48)}) == 1
    assert calm_after({n: 5 for n in range(1, 49)}) == 0, "half of the cells stepped, the others did not"
    assert calm_after({n: 5 for n in range(1, 50)}) == 1
    assert calm_after({n: 5 * (n % 2) - 5 * (n % 3) for n in range(1, 97)}) == 0, "half of the cells step by themselves"
    assert calm_after({n: 5 * (-1) ** n for n in range(1, 97)}) == 0
    assert calm_after({n: 4 * (n % 2) - 30 for n in range(1, 97)}) == 1, "the fewest bins are left at the edge"
    assert calm_after({n: 30 - 4 * (n % 2) for n in range(1, 97)}) == 1


def test_cells_that_all_just_came_back_have_no_step_yet(demo):
    rig = FrameRig(demo)
    rig.scan(22)
    rig.cells_read(NA)
    rig.scan(25)
    rig.cells_read(3700)
    told = []
    for _ in range(40):
        rig.scan()
        told.append(rig.feature(L.F_CALM))
    assert min(told) == 0, "a step from nothing was called calm"
    assert told[-1] == 1


def test_the_bits_of_a_test_frame_are_the_dbcs(demo):
    """The rig's own encoder against cantools, so that both cannot be wrong the same way."""
    rig = FrameRig(demo)
    database = demo.profile.buses[0].database.cantools
    for number in range(len(rig.sender.groups)):
        can_id, data, _ = rig.sender.frame(number, rig.wanted)
        told = database.decode_message(can_id & ~L.EXT, data, decode_choices=False)
        for binding, slot in zip(rig.sender.groups[number].bindings, rig.sender.slots[number], strict=True):
            value = told[binding.signal.name]
            raw = round((value - float(binding.signal.offset)) / float(binding.signal.scale))
            if binding.quantity.kind == "number":
                assert round(raw * binding.factor + binding.offset) == rig.wanted[slot]
            blank = bytearray(len(data))
            put_bits(blank, binding.signal, raw)
            assert all(a & b == a for a, b in zip(blank, data, strict=True))


def test_what_was_read_before_the_box_fell_asleep_is_not_judged_while_it_sleeps(small):
    rig = FrameRig(small)
    rig[rig.cell(2)] = 4300
    rig.scan(3)
    rig.engine.notice(rig.clock[L.NOW_MS] + 10, L.NOTICE_SLEEP)
    rig.scan(30, samples=0)
    assert rig.clock[L.MODE] == L.ASLEEP
    assert rig.feature(L.F_CELL_MAX_MV) == L.NA and rig.feature(L.F_PACK_VOLTAGE_MV) == L.NA
    assert rig[L.ALWAYS] == 0, "what is never missing went missing"
