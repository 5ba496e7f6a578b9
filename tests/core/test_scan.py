"""What every scan begins with and what it asks of the rest, column by column: ages, sleep, hours, notices, the grid."""

import random
from array import array

import checked
import pytest
from cellwarden.core import layout as L
from cellwarden.core.scan import advance, expire, notice, scan, sleep, unstamp
from rig import Loaded, Rig, changed

NA, MOST, OLD_MS, HOUR_MS = L.NA, L.HALF - 1, 61_000, 3_600_000


def late_for_ever(now):
    return now + L.HALF & L.MASK


class ScanRig(Rig):
    """A Rig of single calls, on params of its own. come(): every message has come, but nothing that is new."""

    def __init__(self, image, header=None, healthy=False):
        super().__init__(changed(image, header=header), healthy=healthy)
        self.box = self.engine.box
        self.table = self.engine.section("group_table")
        self.members = self.engine.section("members")
        self.memory = self.engine.section("memory")
        self.rows = range(len(self.groups) // L.GROUP_SIZE)

    def of_group(self, row, column):
        return self.table[row * L.GROUP_TABLE_SIZE + column]

    def slots(self, row):
        first = self.of_group(row, L.P_FIRST_MEMBER)
        return list(self.members[first : first + self.of_group(row, L.P_MEMBER_COUNT)])

    def put(self, **columns):
        """Columns of the clock, by their names."""
        for name, value in columns.items():
            self.clock[getattr(L, name)] = value
        return self

    def come(self, status=L.USED):
        for row in self.rows:
            self.groups[row * L.GROUP_SIZE] = status
            self.groups[row * L.GROUP_SIZE + L.STAMP_MS] = self.clock[L.NOW_MS]
        return self

    def go(self):
        """None of them comes any more."""
        for row in self.rows:
            self.groups[row * L.GROUP_SIZE] = L.STALE
        unstamp(*self.box[:2])
        return self

    def read(self, name):
        return self.clock[getattr(L, name)]


# --- what is overdue or no longer trusted -----------------------------------------------------------------------------


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_what_is_overdue_or_not_trusted_is_missing_and_counted(demo, seed, loaded):
    rng = random.Random(seed)
    rig = ScanRig(demo.image)
    now = rng.choice((0, 5000, L.HALF, L.MASK - 3, rng.randrange(L.MASK)))
    few = rng.choice((0.05, 0.5, 0.9))
    doubt, age_ms = rng.choice((0, 1)), rng.choice((0, 9999, 10_000, 10_001))
    rig.put(NOW_MS=now, DOUBT=doubt, AGE_MS=age_ms, PENDING=77, WAITING=77, LOST=77)
    for row in range(len(rig.messages) // L.MESSAGE_SIZE):
        rig.messages[row * L.MESSAGE_SIZE + L.WRONG] = rng.choice((0, 4, 4, 5, 6))
    for slot in range(len(rig.signals)):
        rig.signals[slot] = 1000 + slot
    signals, messages = list(rig.signals), list(rig.messages)
    wanted, pending, come, waiting, lost = [], 0, 0, 0, 0
    for row in rig.rows:
        deadline = rng.choice((100, 500, 3000))
        rig.table[row * L.GROUP_TABLE_SIZE + L.P_DEADLINE_MS] = deadline
        carries = rng.choice((0, 1, 2, rig.of_group(row, L.P_CARRIES)))
        rig.table[row * L.GROUP_TABLE_SIZE + L.P_CARRIES] = carries
        status = rng.choice((L.NEVER, L.FRESH, L.STALE, L.USED))
        stamp = now - deadline - (rng.choice((1, 2, 100)) if rng.random() < few else rng.choice((0, -1, -50, -100)))
        rig.groups[row * L.GROUP_SIZE : row * L.GROUP_SIZE + 2] = array("i", (status, stamp & L.MASK))
        message = rig.of_group(row, L.P_MESSAGE)
        trusted = not doubt or rig.messages[message * L.MESSAGE_SIZE + L.WRONG] < 5
        if now - stamp > deadline or not trusted:
            stamp = late_for_ever(now)
            if status in (L.FRESH, L.USED):
                status = L.STALE
                for slot in rig.slots(row):
                    signals[slot] = NA
            lost += status != L.NEVER
            waiting += status == L.NEVER
            pending |= carries if age_ms < 10_000 else 0
        elif status in (L.STALE, L.USED):
            pending |= carries
        come |= carries if status in (L.FRESH, L.USED) else 0
        wanted += [status, stamp & L.MASK, 0]
    if waiting or lost:
        pending |= 3 & ~come
    arrays = [Loaded(words) for words in rig.box[:2]] if loaded else rig.box[:2]
    assert expire(7, 9, *arrays) == len(rig.rows) - waiting - lost
    assert (rig.read("WAITING"), rig.read("LOST"), rig.read("PENDING")) == (waiting, lost, pending)
    assert rig.read("DOUBT") == 0 and list(rig.groups) == wanted and list(rig.signals) == signals
    assert list(rig.messages) == messages


@pytest.mark.parametrize("now", [0, 1, L.HALF - 1, L.HALF, L.MASK])
def test_a_stamp_of_none_is_late_at_every_time_until_the_next_scan(small, now):
    rig = ScanRig(small.image).put(NOW_MS=now)
    for at in range(len(rig.groups)):
        rig.groups[at] = 5
    assert unstamp(*rig.box[:2]) == 0
    assert list(rig.groups) == [5, late_for_ever(now), 5] * len(rig.rows)


# --- asleep -----------------------------------------------------------------------------------------------------------

ASLEEP = {
    "MODE": L.ASLEEP, "SLEPT": 1, "KNOWN": 0, "AGE_MS": 0, "WAKING_MS": 0, "REST_DUE": 1, "REST_MS": 0,
    "CELLS_AGE_MS": OLD_MS, "PROBES_AGE_MS": OLD_MS, "PAIR_AGE_MS": OLD_MS, "DRIFT_WAIT_MS": 10_000,
    "PHASE": L.PHASE_DONE, "AGREE": 0, "CALM_BEFORE": 0, "STEEP": 0, "RING": 0, "CELLS_SEEN": 0, "PROBES_SEEN": 0,
    "GONE_BEFORE": 0, "GONE_SINCE": 0, "GONE_MS": 0, "STEP_AGE_MS": 0,
}  # fmt: skip


@pytest.mark.parametrize("state", [0, 1, 2, 4, 5, 6])
def test_a_sleep_forgets_what_it_makes_worthless_and_nothing_else(small, state):
    rng = random.Random(state)
    rig = ScanRig(small.image)
    for at in range(L.CLOCK_SIZE):
        rig.clock[at] = 2
    rig.put(STEP_STATE=state, NOW_MS=12_345)
    wanted = list(rig.clock)
    for name, value in {**ASLEEP, "STEP_STATE": state % 4 + 4}.items():
        wanted[getattr(L, name)] = value
    for at in range(len(rig.memory)):
        rig.memory[at] = rng.randrange(1 << 27)
    for at in range(len(rig.groups)):
        rig.groups[at] = 1
    for slot in range(len(rig.signals)):
        rig.signals[slot] = slot
    for at in range(len(rig.messages)):
        rig.messages[at] = 3
    rig.engine.section("owners")[0] = L.ALWAYS  # what stands behind the members is none of them
    memory, signals = list(rig.memory), list(rig.signals)
    others = [list(section) for section in (rig.features, rig.rules, rig.messages)]
    for n in range(12):  # cells, then probes; one that is left out (bit 26) stays so
        memory[n] = memory[n] % (1 << 24) + (1 << 25 if memory[n] & 1 << 24 else 0) + (memory[n] & 1 << 26)
    for row in rig.rows:
        for slot in rig.slots(row):
            signals[slot] = NA
    assert sleep(7, 9, *rig.box[:2]) == 0
    assert list(rig.clock) == wanted
    assert list(rig.memory) == memory, "what a sleep is compared by was lost, or what it made old was kept"
    assert list(rig.groups) == [L.NEVER, late_for_ever(12_345), 1] * len(rig.rows)
    assert list(rig.signals) == signals and signals[L.ALWAYS] == L.ALWAYS
    assert [list(section) for section in (rig.features, rig.rules, rig.messages)] == others


# --- the beginning of a scan ------------------------------------------------------------------------------------------


AGES = "CELLS_AGE", "PROBES_AGE", "PAIR_AGE", "DRIFT_WAIT", "REFERENCE_AGE"


@pytest.mark.parametrize(
    "column, before, after",
    [
        ("CELLS_AGE_MS", 0, 100), ("CELLS_AGE_MS", 60_999, 61_099), ("CELLS_AGE_MS", 61_000, 61_000),
        ("CELLS_AGE_MS", 61_001, 61_001), ("PROBES_AGE_MS", 0, 100), ("PROBES_AGE_MS", 60_999, 61_099),
        ("PROBES_AGE_MS", 61_000, 61_000), ("PROBES_AGE_MS", 61_001, 61_001), ("PAIR_AGE_MS", 0, 0),
        ("PAIR_AGE_MS", 1, 101), ("PAIR_AGE_MS", 60_999, 61_099), ("PAIR_AGE_MS", 61_000, 61_000),
        ("DRIFT_WAIT_MS", 0, 100), ("DRIFT_WAIT_MS", 9999, 10_099), ("DRIFT_WAIT_MS", 10_000, 10_000),
        ("REFERENCE_AGE_MS", 0, 100), ("REFERENCE_AGE_MS", 60_999, 61_099), ("REFERENCE_AGE_MS", 61_000, 61_000),
        ("SILENT_MS", 500, 0), ("ASLEEP_SCANS", 5, 5), ("WAKING_MS", 0, 0), ("WAKING_MS", 1, 101),
        ("WAKING_MS", 29_899, 29_999), ("WAKING_MS", 29_900, 30_000), ("WAKING_MS", 29_901, 0),
    ],
)  # fmt: skip
def test_while_anything_comes_ages_grow_by_the_scan_and_stop_where_they_are_old(small, column, before, after):
    rig = ScanRig(small.image).come().put(**{column: before})
    scan(rig.box)
    assert rig.read(column) == after


@pytest.mark.parametrize(
    "column", ["CELLS_AGE_MS", "PROBES_AGE_MS", "PAIR_AGE_MS", "DRIFT_WAIT_MS", "REFERENCE_AGE_MS"]
)
@pytest.mark.parametrize("mode", [L.PARKED, L.ASLEEP])
def test_while_nothing_comes_no_age_grows(small, column, mode):
    rig = ScanRig(small.image).go().put(**{column: 500}, MODE=mode)
    scan(rig.box)
    assert rig.read(column) == 500


@pytest.mark.parametrize(
    "hours, ms, hours_after, ms_after",
    [
        (3, 0, 3, 100), (3, HOUR_MS - 101, 3, HOUR_MS - 1), (3, HOUR_MS - 100, 4, 0), (3, HOUR_MS - 99, 4, 1),
        (MOST - 1, HOUR_MS - 100, MOST, 0), (MOST, HOUR_MS - 100, MOST, 0),
    ],
)  # fmt: skip
def test_hours_are_counted_and_stop_at_the_most(small, hours, ms, hours_after, ms_after):
    rig = ScanRig(small.image).go().put(HOURS=hours, HOUR_MS=ms, SCANS=L.MASK)
    scan(rig.box)
    assert (rig.read("HOURS"), rig.read("HOUR_MS")) == (hours_after, ms_after)
    assert rig.read("SCANS") == 0


@pytest.mark.parametrize(
    "on, charging, mode",
    [
        (0, 0, L.PARKED), (1, 0, L.DRIVING), (NA, 0, L.UNKNOWN), (0, 1, L.CHARGING_MODE), (1, 1, L.CHARGING_MODE),
        (NA, 1, L.CHARGING_MODE), (0, NA, L.PARKED), (1, NA, L.DRIVING), (NA, NA, L.UNKNOWN), (2, 2, L.UNKNOWN),
    ],
)  # fmt: skip
@pytest.mark.parametrize("before", [L.UNKNOWN, L.DRIVING, L.ASLEEP])
@pytest.mark.parametrize("cells", [0, 6])
def test_what_the_vehicle_does_is_what_it_says(small, on, charging, mode, before, cells):
    rig = ScanRig(small.image, {L.P_CELLS: cells}).come().put(MODE=before, SILENT_MS=700)
    rig[L.VEHICLE_ON], rig[L.CHARGING] = on, charging
    scan(rig.box)
    assert (rig.read("MODE"), rig.read("SILENT_MS")) == (mode, 0)
    assert rig.read("WAKING_MS") == (101 if before == L.ASLEEP and cells else 0)


@pytest.mark.parametrize(
    "mode, sent, before, after",
    [
        (L.PARKED, 1, 0, 100), (L.ASLEEP, 1, 500, 600), (L.ASLEEP, 1, MOST - 101, MOST - 1),
        (L.ASLEEP, 1, MOST - 100, MOST), (L.ASLEEP, 1, MOST - 99, MOST), (L.PARKED, 0, 500, 600),
        (L.DRIVING, 1, 500, 0), (L.CHARGING_MODE, 1, 500, 0), (L.CHARGING_MODE, 0, 500, 0), (L.UNKNOWN, 1, 500, 500),
        (L.UNKNOWN, 0, 500, 0),
    ],
)  # fmt: skip
def test_the_time_parked_is_kept_until_it_says_that_it_is_in_use(small, mode, sent, before, after):
    told = (1 << L.SCALARS) - 1 if sent else (1 << L.SCALARS) - 1 & ~(1 << L.VEHICLE_ON)
    rig = ScanRig(small.image, {L.P_SENT: told}).go().put(MODE=mode, PARKED_MS=before)
    scan(rig.box)
    assert rig.read("PARKED_MS") == after


@pytest.mark.parametrize(
    "mode, silent_ms, scans, after",
    [
        (L.PARKED, 0, 5, (L.PARKED, 100, 5)), (L.DRIVING, 9899, 5, (L.DRIVING, 9999, 5)),
        (L.DRIVING, 9900, 5, (L.ASLEEP, 10_000, 5)), (L.ASLEEP, 0, 5, (L.ASLEEP, 0, 6)),
        (L.ASLEEP, 0, MOST - 1, (L.ASLEEP, 0, MOST)), (L.ASLEEP, 0, MOST, (L.ASLEEP, 0, MOST)),
    ],
)  # fmt: skip
def test_ten_seconds_of_silence_are_sleep_and_its_scans_are_counted(small, mode, silent_ms, scans, after):
    rig = ScanRig(small.image).go().put(MODE=mode, SILENT_MS=silent_ms, ASLEEP_SCANS=scans)
    scan(rig.box)
    assert (rig.read("MODE"), rig.read("SILENT_MS"), rig.read("ASLEEP_SCANS")) == after
    assert rig.read("SLEPT") == (mode != after[0] == L.ASLEEP)


@pytest.mark.parametrize("mode, silent_ms, age_ms, waking_ms, reasons", [
    (L.ASLEEP, 0, 0, 0, 0), (L.ASLEEP, 0, 60_000, 0, 0), (L.PARKED, 0, 0, 0, 2), (L.PARKED, 0, 59_900, 0, 2),
    (L.PARKED, 0, 59_901, 0, 1), (L.PARKED, 0, 60_000, 0, 1), (L.PARKED, 0, 0, 1, 1), (L.PARKED, 9900, 0, 0, 1),
])  # fmt: skip
def test_each_reason_to_scan_again_without_a_frame_is_counted(small, mode, silent_ms, age_ms, waking_ms, reasons):
    rig = ScanRig(small.image).go()
    rig.put(MODE=mode, SILENT_MS=silent_ms, AGE_MS=age_ms, WAKING_MS=waking_ms, SLEPT=1)
    assert scan(rig.box) == reasons
    grown = reasons == 2
    assert rig.read("AGE_MS") == (age_ms + 100 if grown else 0 if silent_ms == 9900 else age_ms)


def test_a_sign_that_is_remembered_is_a_reason_of_its_own(small):
    rig = ScanRig(small.image).go().put(MODE=L.PARKED, AGE_MS=60_000, SLEPT=1, SIGN_MS_6=100)
    assert scan(rig.box) > 1, "it is silent, and the sign is forgotten in half a minute"


def test_every_message_that_comes_is_a_reason_to_scan_again(small):
    rig = ScanRig(small.image, healthy=True)
    rig.scan(100)
    rig.come().put(AGE_MS=60_000, MODE=L.DRIVING)
    assert scan(rig.box) == len(rig.rows)


@pytest.mark.parametrize(
    "missing, age_ms, waking_ms, known",
    [
        (0, 0, 0, 1), (1, 29_799, 0, 0), (1, 29_899, 0, 0), (1, 29_900, 0, 1), (1, 30_000, 0, 1), (0, 0, 1, 0),
        (1, 30_000, 1, 0),
    ],
)  # fmt: skip
def test_the_verdict_is_known_when_all_has_come_or_was_waited_for(small, missing, age_ms, waking_ms, known):
    rig = ScanRig(small.image, healthy=True)
    for n in range(missing):
        rig[rig.cell(1 + n)] = NA
        rig.memory[n] &= ~(1 << L.SEEN)
        rig.clock[L.CELLS_SEEN] -= 1
    rig.come().put(KNOWN=0, AGE_MS=age_ms, WAKING_MS=waking_ms, CELLS_AGE_MS=0, PROBES_AGE_MS=0)
    scan(rig.box)
    assert rig.read("KNOWN") == known


@pytest.mark.parametrize("come, waiting", [(True, True), (False, True), (False, False)])
def test_nothing_is_known_while_a_message_is_awaited_or_none_comes(small, come, waiting):
    rig = ScanRig(small.image, healthy=True).come().put(KNOWN=0, MODE=L.PARKED)
    if not come:
        rig.go()
    if waiting:
        row = L.GROUP_SIZE * rig.rows[-1]
        rig.groups[row], rig.groups[row + L.STAMP_MS] = L.NEVER, late_for_ever(rig.clock[L.NOW_MS])
    scan(rig.box)
    assert rig.read("KNOWN") == 0


# --- samples ----------------------------------------------------------------------------------------------------------


def ready(small, header=None, fresh=L.FRESH, **columns):
    """A pack of which a sample is due, of cells and of probes, where `columns` say nothing else."""
    rig = ScanRig(small.image, header, healthy=True)
    rig.come(fresh).put(CELLS_AGE_MS=900, PROBES_AGE_MS=900, PHASE=L.PHASE_DONE, WAKING_MS=0, FAULTY=0)
    return rig.put(**columns)


@pytest.mark.parametrize("columns, taken", [
    ({}, True), ({"PROBES_AGE_MS": 899}, False), ({"PROBES_AGE_MS": 901}, True), ({"WAKING_MS": 5000}, False),
])  # fmt: skip
def test_a_sample_of_the_probes_is_taken_each_second_but_not_while_waking(small, columns, taken):
    rig = ready(small, **columns)
    scan(rig.box)
    assert (rig.read("PROBES_AGE_MS") == 0) == taken


@pytest.mark.parametrize("columns, taken", [
    ({}, True), ({"CELLS_AGE_MS": 899}, False), ({"CELLS_AGE_MS": 901}, True), ({"WAKING_MS": 5000}, True),
    ({"PHASE": L.PHASE_CELLS}, False), ({"PHASE": L.PHASE_MEDIAN}, False), ({"PROBES_AGE_MS": 900}, False),
])  # fmt: skip
def test_a_sample_of_the_cells_waits_for_the_one_before_and_for_that_of_the_probes(small, columns, taken):
    rig = ready(small, **{"PROBES_AGE_MS": 0} | columns)
    scan(rig.box)
    assert (rig.read("CELLS_AGE_MS") == 0) == taken


@pytest.mark.parametrize("scan_ms, both", [(100, False), (101, True), (200, True)])
def test_slow_scans_take_both_samples_at_once(small, scan_ms, both):
    rig = ready(small, {L.P_SCAN_MS: scan_ms})
    scan(rig.box)
    assert rig.read("PROBES_AGE_MS") == 0 and (rig.read("CELLS_AGE_MS") == 0) == both


@pytest.mark.parametrize("carries, cells, probes", [(0, True, True), (1, False, True), (2, True, False)])
def test_what_has_not_come_again_is_not_sampled(small, carries, cells, probes):
    for what, taken in (("CELLS_AGE_MS", cells), ("PROBES_AGE_MS", probes)):
        rig = ready(small, **{"PROBES_AGE_MS": 0, "CELLS_AGE_MS": 0} | {what: 900})
        for row in rig.rows:
            if rig.of_group(row, L.P_CARRIES) & carries:
                rig.groups[row * L.GROUP_SIZE] = L.USED
        scan(rig.box)
        assert (rig.read(what) == 0) == taken


def test_a_vehicle_without_cells_or_probes_has_no_sample_of_them(small):
    rig = ready(small, {L.P_PROBES: 0})
    scan(rig.box)
    assert (rig.read("PROBES_AGE_MS"), rig.read("CELLS_AGE_MS")) == (1000, 0)
    rig = ready(small, {L.P_CELLS: 0}, PROBES_AGE_MS=0)
    scan(rig.box)
    assert rig.read("CELLS_AGE_MS") == 1000


def test_of_a_silent_vehicle_nothing_is_sampled(small):
    rig = ready(small, CELLS_AGE_MS=2000, PROBES_AGE_MS=2000, MODE=L.PARKED).go()
    scan(rig.box)
    assert (rig.read("CELLS_AGE_MS"), rig.read("PROBES_AGE_MS")) == (2000, 2000)


@pytest.mark.parametrize("quiet_ms, agree, cells, calm", [
    (2000, 1, 6, 1), (2000, 0, 6, 0), (1800, 1, 6, 0), (1900, 1, 6, 1), (2000, 0, 0, 1), (0, 0, 0, 0),
])  # fmt: skip
def test_calm_is_a_quiet_current_and_cells_that_agree(small, quiet_ms, agree, cells, calm):
    rig = ScanRig(small.image, {L.P_CELLS: cells}, healthy=True).come().put(QUIET_MS=quiet_ms, AGREE=agree)
    rig.features[L.F_CALM] = 1 - calm
    scan(rig.box)
    assert rig.feature(L.F_CALM) == calm


def test_a_probe_that_jumps_over_the_limit_is_judged_in_the_scan_that_shows_it(small):
    def read(value, was=380, others=None, number=3, falls=None, **columns):
        rig = ScanRig(small.image, healthy=True)
        rig.probes_read(others or was)
        rig[rig.probe(number)] = was
        if was == NA:  # and it never was
            rig.memory[rig.cells + number - 1] = 0
            rig.clock[L.PROBES_SEEN] -= 1
        rig.put(NOW_MS=1000, PROBES_AGE_MS=1000)
        rig.come(L.FRESH)
        scan(rig.box)
        assert rig.read("PROBES_AGE_MS") == 0 and rig.read("RING") >= 1
        rig.come().put(NOW_MS=1100, **columns)
        rig.clock[L.RING_MS] = 1100
        rig[rig.probe(number)] = value
        if falls is not None:
            rig[rig.probe(5)] = falls
        scan(rig.box)
        assert rig[rig.probe(number)] == value, "what is left out is read again"
        assert rig.read("PROBES_AGE_MS") == 100, "it is no sample"
        return rig.read("FAULTY"), rig.feature(L.F_PROBE_MAX_DDEGC)

    assert read(599) == (0, 599), "under the limit the next sample is early enough"
    assert read(600) == (1, 380) and read(601) == (1, 380)
    assert read(600, was=399) == (1, 399) and read(600, was=400) == (0, 600)
    for number in (1, 2, 6):
        assert read(600, others=590, number=number) == (1, 590), "it is held against what it read itself"
    # What no hot probe asks for waits for the next sample: here another one that falls by 28 degrees.
    assert read(600, was=580, others=380, falls=100) == (0, 600)
    assert read(600, was=NA, others=380, falls=100) == (0, 600)
    assert read(600, RING=0) == (0, 600), "nothing to compare it with"


# --- the grid ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("t_ms, due", [(0, 100), (99, 100), (100, 200), (L.MASK, (L.MASK // 100 + 1) * 100 & L.MASK)])
def test_the_first_time_starts_the_clock(small, t_ms, due):
    rig = ScanRig(small.image).put(STARTED=0, NOW_MS=0, DUE_MS=0)
    assert advance(rig.box, t_ms) == 0
    assert (rig.read("STARTED"), rig.read("NOW_MS"), rig.read("DUE_MS")) == (1, t_ms, due)
    assert list(rig.groups[1 :: L.GROUP_SIZE]) == [late_for_ever(t_ms)] * len(rig.rows)


@pytest.mark.parametrize("back_ms, offset, after", [
    (1, 50, 50), (999, 50, 50), (1000, 50, 1050), (1001, 50, 1051), (L.HALF, 0, L.HALF), (5000, L.MASK, 4999),
])  # fmt: skip
def test_a_step_back_is_counted_and_a_clock_that_was_set_goes_on_from_there(small, back_ms, offset, after):
    rig = ScanRig(small.image).put(NOW_MS=2000, DUE_MS=2100, OFFSET_MS=offset, TIME_BACKWARD=L.MASK)
    assert advance(rig.box, 2000 - back_ms & L.MASK) == 0
    assert (rig.read("OFFSET_MS"), rig.read("TIME_BACKWARD")) == (after, 0)
    assert (rig.read("NOW_MS"), rig.read("DUE_MS")) == (2000, 2100)


@pytest.mark.parametrize("mode", [L.ASLEEP, L.PARKED])
@pytest.mark.parametrize("now", [2000, (1 << 30) - 50_000])
@pytest.mark.parametrize("column, before, after", [
    ("ASLEEP_SCANS", 5, 1005), ("ASLEEP_SCANS", MOST - 1000, MOST), ("ASLEEP_SCANS", MOST - 999, MOST),
    ("ASLEEP_SCANS", MOST - 1001, MOST - 1), ("PARKED_MS", 300, 100_300), ("PARKED_MS", MOST - 100_000, MOST),
    ("PARKED_MS", MOST - 99_999, MOST), ("PARKED_MS", MOST - 100_001, MOST - 1), ("SCANS", L.MASK - 10, 989),
    ("HOUR_MS", HOUR_MS - 100_001, HOUR_MS - 1), ("HOUR_MS", HOUR_MS - 100_000, 0), ("HOUR_MS", HOUR_MS - 7, 99_993),
    ("HOURS", MOST, MOST), ("HOURS", MOST - 1, MOST), ("HOURS", 7, 8),
])  # fmt: skip
def test_scans_that_would_only_count_themselves_are_counted_as_many(small, mode, now, column, before, after):
    """A thousand scans of a vehicle that sleeps; awake and silent it scans each until it sleeps."""
    rig = ScanRig(small.image).go()
    late = 97 if mode == L.PARKED else 0  # then 97 scans are run one by one
    rig.put(MODE=mode, SILENT_MS=300, AGE_MS=60_000, NOW_MS=now, DUE_MS=now + 100 & L.MASK, SLEPT=1)
    rig.put(HOUR_MS=HOUR_MS - 100_000 if column == "HOURS" else 0)
    rig.put(**{column: before})
    if mode == L.PARKED and column == "ASLEEP_SCANS":
        after = min(before + 1000 - late, MOST)
    assert advance(rig.box, now + 100_050 & L.MASK) == 1000
    assert rig.read(column) == after
    assert (rig.read("NOW_MS"), rig.read("DUE_MS")) == (now + 100_050 & L.MASK, now + 100_100 & L.MASK)
    assert list(rig.groups[1 :: L.GROUP_SIZE]) == [late_for_ever(now + 100_000 & L.MASK)] * len(rig.rows)


# --- notices ----------------------------------------------------------------------------------------------------------


def noticed(rig, kind, value=0, channel=0):
    """The columns of the clock that it changes."""
    before = list(rig.clock)
    assert notice(rig.box, kind, value, channel) == 0
    return {at: now for at, (was, now) in enumerate(zip(before, rig.clock, strict=True)) if was != now}


@pytest.mark.parametrize("ignored, less", [(5, 4), (1, 0), (0, L.MASK)])
def test_a_notice_is_no_frame_that_was_ignored(small, ignored, less):
    for kind in (0, L.NOTICE_ACK, 5, 99):
        rig = ScanRig(small.image).put(IGNORED=ignored)
        assert noticed(rig, kind, value=255) == {L.IGNORED: less}, "a notice of no known kind changed something"


@pytest.mark.parametrize("dropped, more", [(0, 1), (L.MASK - 1, L.MASK), (L.MASK, 0)])
def test_frames_lost_are_counted(small, dropped, more):
    rig = ScanRig(small.image).put(DROPPED=dropped)
    assert noticed(rig, L.NOTICE_DROPPED)[L.DROPPED] == more


def test_each_bus_goes_off_and_comes_back_by_itself(small):
    rig = ScanRig(small.image)
    for value, channel, off in ((1, 0, 1), (1, 2, 5), (255, 7, 133), (1, 2, 133), (0, 1, 133), (0, 2, 129), (0, 2, 129),
                                (0, 0, 128), (1, 8, 129), (0, 15, 1)):  # fmt: skip
        noticed(rig, L.NOTICE_BUS_OFF, value, channel)
        assert rig.read("BUS_OFF") == off, (value, channel)


def test_an_acknowledgement_releases_the_rule_that_it_names_and_only_one_that_has_a_level(small):
    count = small.image.params[L.P_RULES]
    for rule, level, busy in ((0, 1, 1), (3, 3, 4), (count - 1, 2, 515), (3, 0, 0), (count, 1, 1), (255, 3, 1)):
        rig = ScanRig(small.image).put(EVENTS=L.MASK)
        row = rule * L.RULE_SIZE
        if rule < count:
            rig.rules[row], rig.rules[row + L.LEVEL_NOW] = busy, level
        else:
            rig.memory[0], rig.memory[1] = 1, 3  # what stands behind the rules is none of them
        wanted, memory = list(rig.rules), list(rig.memory)
        released = rule < count and level
        if released:
            wanted[row] = busy | 512
        assert noticed(rig, L.NOTICE_ACK, rule).get(L.EVENTS) == (0 if released else None)
        assert (list(rig.rules), list(rig.memory)) == (wanted, memory)


def test_a_notice_of_sleep_puts_it_to_sleep_once(small):
    rig = ScanRig(small.image).put(MODE=L.PARKED, KNOWN=1)
    assert noticed(rig, L.NOTICE_SLEEP)[L.MODE] == L.ASLEEP and not rig.read("KNOWN")
    rig.put(PAIR_AGE_MS=5)
    assert list(noticed(rig, L.NOTICE_SLEEP)) == [L.IGNORED], "it sleeps already"


@pytest.mark.parametrize("count", [0, 1, L.MASK])
def test_a_notice_is_counted_within_30_bits(small, count):
    """On the core that watches every integer: nothing leaves the small ones of a 32-bit board."""
    notice_watched = checked.core()["scan"]["notice"]
    for kind, value in ((0, 0), (L.NOTICE_DROPPED, 0), (L.NOTICE_BUS_OFF, 1), (L.NOTICE_BUS_OFF, 0), (L.NOTICE_ACK, 0)):
        rig = ScanRig(small.image).put(IGNORED=count, DROPPED=count, EVENTS=count)
        rig.rules[L.LEVEL_NOW] = 1
        assert notice_watched(rig.box, kind, value, 7) == 0
