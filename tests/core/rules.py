"""The tests that every row of the catalogue inherits: a row's own class is its figures, written out by hand.

A RuleTest puts signals and lets the core measure; a JudgedTest puts what measuring leaves, so that the verdict of a row
whose feature takes hours to come about is tested to the unit and the scan as well. How it is measured is tested beside.

Times count from the scan in which the condition is first there: it is complete when that long has passed.
"""

import pytest
from cellwarden.core import catalogue
from cellwarden.core import layout as L
from rig import SCAN_MS, FrameRig, JudgeRig, Rig, changed

NA = L.NA


class RuleTest:
    """name, limits, assert_ms, clear_at (None where the rule has no such level), clear_ms: the row.

    slot: the signal that carries the feature where it is a scalar; good: a value far from every limit; worst: one past
    all of them that frames can carry; gate: the signal that must be 1; where: what an event names; flag: GB/T bit, or
    several; answers: the clauses that the row is there for, beside its flags (docs/traceability.md).
    """

    name = ""
    limits = ()
    assert_ms = ()
    clear_at = ()
    clear_ms = 0
    above = True
    samples = 2
    own = True  # counts as our own finding
    slot = None
    good = 0
    worst = 0
    gate = None
    gate_open = ()  # values of the gate's signal that close the gate
    where = 0
    flag = None
    believed_scans = 0  # after which at the latest a sensor that was silent is believed again
    answers = ()

    @classmethod
    def flags(cls):
        """The general alarm flags as bits."""
        if cls.flag is None:
            return ()
        return cls.flag if isinstance(cls.flag, tuple) else (cls.flag,)

    @classmethod
    def clauses(cls):
        """All that the row answers, by the names of docs/make_traceability.py."""
        return (*(f"GB/T 32960.3 flag {bit}" for bit in cls.flags()), *cls.answers)

    # --- what a row may say differently ---

    def prepare(self, rig):
        if self.gate is not None:
            rig[self.gate] = 1

    def put(self, rig, value):
        """Make the feature read `value`."""
        rig[self.slot] = value

    def dark(self, rig):
        """Make the feature unknown."""
        rig[self.slot] = NA

    # --- helpers ---

    def rig(self, image, **options):
        rig = (FrameRig if hasattr(image, "plan") else Rig)(image, **options)
        self.prepare(rig)
        self.put(rig, self.good)
        rig.scan(22)  # long enough for a calm scan
        return rig

    def hit(self, k, value):
        limit = self.limits[k]
        return limit is not None and (value >= limit if self.above else value <= limit)

    def due(self, value, ms):
        """The level that must be asserted when `value` has stood for `ms`."""
        return max((k + 1 for k in range(3) if self.hit(k, value) and ms >= self.time(k)), default=0)

    def time(self, k):
        """Of level k + 1: a second sample comes with the second scan at the earliest."""
        return max(self.assert_ms[k], (self.samples - 1) * SCAN_MS)

    @property
    def levels(self):
        return [k for k in range(3) if self.limits[k] is not None]

    @property
    def top(self):
        return self.levels[-1] + 1

    def raised(self, image, k=None, **options):
        """A rig with level k + 1 just asserted, its timers of the lower levels complete."""
        rig = self.rig(image, **options)
        k = self.top - 1 if k is None else k
        self.put(rig, self.limits[k])
        rig.scan(max(self.time(j) for j in range(k + 1) if self.hit(j, self.limits[k])) // SCAN_MS + 1)
        if k + 1 < self.top and self.limits[k] == self.limits[k + 1]:
            return rig  # told apart by time only
        assert rig.level(self.name) == k + 1, f"{self.name} level {k + 1} was not raised: the driver was not warned"
        assert not any(rig.timers(self.name)), "a timer at rest reads 0"
        return rig

    def longest(self):
        return max(self.time(k) for k in self.levels)

    # --- levels and their times ---

    @pytest.mark.proves("boundary")
    def test_each_level_asserts_at_its_limit_and_its_time_and_not_before(self, image):
        step = 1 if self.above else -1
        for value in sorted({self.limits[k] + d * step for k in self.levels for d in (-1, 0, 1)}):
            if not self.possible(value):
                continue
            rig = self.rig(image)
            self.put(rig, value)
            for ms in range(0, self.longest() + 3 * SCAN_MS, SCAN_MS):
                rig.scan()
                due = self.due(value, ms)
                assert rig.level(self.name) == due, (
                    f"{self.name} at {value} for {ms} ms: level {rig.level(self.name)}, {due} is due"
                )

    def possible(self, value):
        return True

    def test_one_good_sample_starts_the_time_anew(self, image):
        needed = min(self.time(k) for k in self.levels)
        rig = self.rig(image)
        for _ in range(2):
            self.put(rig, self.worst)
            rig.scan(needed // SCAN_MS)
            self.put(rig, self.good)
            rig.scan()
            assert rig.busy(self.name) == 0 and not any(rig.timers(self.name)), "a timer at rest reads 0"
        assert not rig.of(self.name), f"{self.name}: two short spells were taken for one long one, a false alarm"
        self.put(rig, self.worst)
        rig.scan(needed // SCAN_MS + 1)
        assert rig.level(self.name), f"{self.name}: an alarm was not raised after an earlier short spell"

    @pytest.mark.proves("recovery")
    def test_each_level_clears_at_its_margin_and_its_time_and_not_before(self, image):
        for k in self.levels:
            rig = self.raised(image, k)
            before = rig.level(self.name)
            self.put(rig, self.clear_at[k])
            held = [j for j in self.levels if j < before and not self.beyond(j, self.clear_at[k])]
            after = max(held, default=-1) + 1
            for ms in range(0, self.clear_ms + 2 * SCAN_MS, SCAN_MS):
                rig.scan()
                due = after if ms >= self.clear_ms else before
                assert rig.level(self.name) == due, f"{self.name}: {ms} ms at {self.clear_at[k]}, level {due} is due"
                assert due or (rig.busy(self.name) == 0 and not any(rig.timers(self.name))), "a timer at rest reads 0"

    def beyond(self, k, value):
        return value <= self.clear_at[k] if self.above else value >= self.clear_at[k]

    @pytest.mark.proves("recovery")
    def test_inside_the_margin_it_stays(self, image):
        step = 1 if self.above else -1
        for k in self.levels:
            short = self.clear_at[k] + step
            rig = self.raised(image, k)
            before = rig.level(self.name)
            self.put(rig, short if self.possible(short) else self.limits[k])
            rig.scan(self.clear_ms // SCAN_MS + 10)
            now = rig.level(self.name)
            assert now >= before, f"{self.name}: level {before} ended inside its margin, an alarm that flickers"

    def test_a_bad_sample_while_clearing_starts_the_clear_time_anew(self, image):
        rig = self.raised(image)
        for _ in range(2):
            self.put(rig, self.good)
            rig.scan(self.clear_ms // SCAN_MS)
            self.put(rig, self.worst)
            rig.scan()
            assert rig.busy(self.name) >> 6 == 0, f"{self.name}: clears while its condition holds"
            assert not any(rig.timers(self.name)), "a timer at rest reads 0"
        assert rig.level(self.name) == self.top, f"{self.name}: two good spells were added up, an alarm ended too soon"

    # --- events and flags ---

    def test_every_raise_change_and_clear_makes_one_event(self, image):
        rig = self.rig(image)
        self.put(rig, self.worst)
        start = rig.clock[L.DUE_MS]
        rig.scan(self.longest() // SCAN_MS + 5)
        bad = rig.feature(self.feature())
        self.put(rig, self.good)
        good_from = rig.clock[L.DUE_MS]
        rig.scan(self.clear_ms // SCAN_MS + 5)
        expected, before = [], 0
        for ms in sorted({self.time(k) for k in self.levels}):
            level = self.due(self.worst, ms)
            if level != before:
                expected.append((start + ms, self.name, before, level, self.where, bad))
                before = level
        value = rig.feature(self.feature())
        events = rig.of(self.name)
        assert [tuple(e) for e in events[:-1]] == expected, f"{self.name}: the record of the alarm is wrong"
        last = events[-1]
        assert (last.t_ms, last.before, last.level, last.value) == (good_from + self.clear_ms, before, 0, value)

    def feature(self):
        return catalogue.ROWS[catalogue.RULES.index(self.name)][1]

    def test_its_general_alarm_flag_is_set_as_long_as_it_is_asserted(self, image):
        rig = self.raised(image)
        flags = sum(1 << bit for bit in self.flags())
        assert rig.clock[L.FLAGS] & flags == flags, f"{self.name}: the platform is not told"
        assert rig.clock[L.FLAGS] == flags_of(rig), "a flag of a rule that is at rest"
        self.put(rig, self.good)
        rig.scan(self.clear_ms // SCAN_MS + 1)
        assert rig.level(self.name) == 0
        assert rig.clock[L.FLAGS] == flags_of(rig), f"{self.name}: the platform is told of an alarm that ended"
        assert rig.clock[L.LEVEL] == max(rig.level(row[0]) for row in catalogue.ROWS if row[0] != catalogue.BMS)
        highest = self.top if self.own else 0
        assert rig.clock[L.MAX_LEVEL] >= highest and (self.own or rig.clock[L.MAX_LEVEL] == 0), (
            f"{self.name}: {'an alarm did not count' if self.own else 'the BMS was counted as our own finding'}"
        )

    def test_frames_and_signals_tell_the_same_story(self, image, compiled):
        told = []
        for rig in (self.rig(image), self.rig(compiled)):
            self.put(rig, self.worst)
            rig.scan(self.longest() // SCAN_MS + 2)
            self.put(rig, self.good)
            rig.scan(self.clear_ms // SCAN_MS + 2)
            told.append(rig.events)
        assert told[0] == told[1]
        assert [e.level for e in rig.of(self.name)][-2:] == [self.top, 0]

    @pytest.mark.proves("clock wrap")
    def test_the_wrap_of_the_clock_changes_nothing(self, image):
        stories = []
        for start in (0, (1 << 30) - 2700 - 124):
            rig = self.rig(image, start_ms=start)
            first = rig.clock[L.NOW_MS]
            self.put(rig, self.worst)
            rig.scan(self.longest() // SCAN_MS + 2)
            self.put(rig, self.good)
            rig.scan(self.clear_ms // SCAN_MS + 5)
            stories.append([((e.t_ms - first) & L.MASK, *e[1:]) for e in rig.events])
        assert rig.clock[L.NOW_MS] < first, "the clock did not wrap"
        assert stories[0] == stories[1], f"{self.name}: judged otherwise on the day the clock wraps"

    # --- data that is missing ---

    @pytest.mark.proves("invalid data")
    def test_missing_data_freezes_clearing_and_never_clears(self, image):
        rig = self.raised(image)
        level = rig.level(self.name)
        half = self.clear_ms // SCAN_MS // 2
        self.put(rig, self.good)
        rig.scan(half)
        self.dark(rig)
        rig.scan(2 * self.clear_ms // SCAN_MS)
        assert rig.level(self.name) == level, f"{self.name}: an alarm ended because the sensor went silent"
        self.put(rig, self.good)
        rig.scan()
        for _ in range(self.believed_scans):
            if rig.feature(self.feature()) != NA:
                break
            rig.scan()
        held = 1
        while rig.level(self.name) and held <= self.clear_ms // SCAN_MS:
            rig.scan()
            held += 1
        due = self.clear_ms // SCAN_MS + 1 - half
        assert held >= due, f"{self.name}: time without data counted as good time"
        assert held == due and not rig.level(self.name), f"{self.name}: good time before the gap was forgotten"

    @pytest.mark.proves("invalid data")
    def test_missing_data_keeps_a_running_time_running(self, image):
        rig = self.rig(image)
        self.put(rig, self.worst)
        rig.scan()
        before = len(rig.of(self.name))
        self.dark(rig)
        for ms in range(SCAN_MS, self.longest() + 3 * SCAN_MS, SCAN_MS):
            rig.scan()
            assert rig.level(self.name) == self.due(self.worst, ms), f"{self.name}: a sensor that dies hides the hazard"
        told = rig.of(self.name)[before:]
        assert bool(told) == (self.longest() > 0)
        assert all(e.value == NA for e in told)
        assert all(e.where == self.where for e in told), "the record names another than the one that died"

    @pytest.mark.proves("invalid data")
    def test_missing_data_starts_nothing(self, image):
        rig = self.rig(image)
        self.dark(rig)
        rig.scan(self.longest() // SCAN_MS + 5)
        assert not rig.of(self.name), f"{self.name}: an alarm out of nothing"

    def test_two_samples_must_show_it_where_the_row_says_so(self, image):
        rig = self.rig(image)
        self.put(rig, self.worst)
        rig.scan()
        rig.scan(3 * self.longest() // SCAN_MS, samples=0)
        if self.samples == 1:
            assert rig.level(self.name) == self.top, f"{self.name}: a hard limit waited for a second sample"
            return
        assert rig.level(self.name) == 0, f"{self.name}: one sample made an alarm"
        rig.scan()
        assert rig.level(self.name) == self.top, f"{self.name}: the second sample was not heard"

    # --- gate and latch ---

    def test_a_closed_gate_keeps_it_silent(self, image):
        for value in self.gate_open:
            rig = self.rig(image)
            rig[self.gate] = value
            self.put(rig, self.worst)
            rig.scan(self.longest() // SCAN_MS + 5)
            assert not rig.of(self.name), f"{self.name}: judged while its gate was {value}"

    def test_an_unknown_gate_keeps_a_running_time_running(self, image):
        if self.gate is None:
            return
        rig = self.rig(image)
        self.put(rig, self.worst)
        rig.scan()
        rig[self.gate] = NA
        rig.scan(self.longest() // SCAN_MS)
        assert rig.level(self.name) == self.top, f"{self.name}: losing the gate's message hid the hazard"

    def test_a_gate_that_closes_ends_a_running_time_and_clears(self, image):
        for silent in (False, True) if self.gate is not None else ():
            rig = self.rig(image)
            self.put(rig, self.worst)
            rig.scan(min(self.time(k) for k in self.levels) // SCAN_MS)
            rig[self.gate] = 0
            if silent:
                self.dark(rig)
            rig.scan(self.longest() // SCAN_MS)
            assert not rig.of(self.name), f"{self.name}: raised after its gate had closed"
        if self.gate is not None:
            rig = self.raised(image)
            rig[self.gate] = NA
            rig.scan(2 * self.clear_ms // SCAN_MS)
            assert rig.level(self.name) == self.top, f"{self.name}: losing the gate's message ended the alarm"
            rig[self.gate] = 0
            rig.scan(self.clear_ms // SCAN_MS)
            assert rig.level(self.name) == self.top
            rig.scan()
            assert rig.level(self.name) == 0, f"{self.name}: stands although its gate is closed"

    def test_a_latched_row_does_not_clear_by_itself(self, image):
        rig = self.raised(changed(image, rule=self.name, P_LATCHED=1))
        self.put(rig, self.good)
        rig.scan(3 * self.clear_ms // SCAN_MS)
        assert rig.level(self.name) == self.top, f"{self.name}: a latched alarm went away without an acknowledgement"

    def acknowledge(self, rig):
        now = rig.clock[L.NOW_MS] - rig.clock[L.OFFSET_MS] & L.MASK
        rig.engine.notice(now, L.NOTICE_ACK, catalogue.RULES.index(self.name))

    def test_what_is_acknowledged_is_over_and_all_its_times_begin_anew(self, image):
        rig = self.raised(image)
        self.put(rig, self.good)
        rig.scan(self.clear_ms // SCAN_MS // 2)
        self.acknowledge(rig)
        rig.scan()
        assert rig.level(self.name) == 0, f"{self.name}: stands although it was acknowledged"
        rig.scan(self.clear_ms // SCAN_MS + 2)
        assert rig.level(self.name) == 0 and rig.of(self.name)[-1].level == 0, f"{self.name}: came back by itself"
        self.put(rig, self.worst)
        for ms in range(0, self.longest() + SCAN_MS, SCAN_MS):
            rig.scan()
            assert rig.level(self.name) == self.due(self.worst, ms), f"{self.name}: {ms} ms after it came again"
        self.put(rig, self.good)
        for ms in range(0, self.clear_ms + SCAN_MS, SCAN_MS):
            rig.scan()
            due = 0 if ms >= self.clear_ms else self.top
            assert rig.level(self.name) == due, f"{self.name}: {ms} ms good, after an earlier clearing was cut short"

    def test_what_is_acknowledged_and_still_so_is_raised_again_in_its_time(self, image):
        rig = self.raised(image)
        self.put(rig, self.worst)
        rig.scan()
        self.acknowledge(rig)
        for ms in range(0, self.longest() + 2 * SCAN_MS, SCAN_MS):
            rig.scan()
            assert rig.level(self.name) == self.due(self.worst, ms), f"{self.name}: {ms} ms after it was acknowledged"

    def test_what_is_acknowledged_while_it_is_not_known_leaves_no_timer_behind(self, image):
        rig = self.raised(image)
        self.dark(rig)
        rig.scan(2)
        if rig.feature(self.feature()) != NA:
            return
        assert rig.busy(self.name) >> 6 == 0, f"{self.name}: clears on what is not known"
        self.put(rig, self.good)
        rig.scan(self.clear_ms // SCAN_MS // 2)
        self.dark(rig)
        rig.scan()
        self.acknowledge(rig)
        rig.scan()
        assert rig.level(self.name) == 0 and rig.busy(self.name) == 0

    def test_an_inactive_row_says_nothing(self, image):
        never = -(L.NA + 1) * catalogue.ROWS[catalogue.RULES.index(self.name)][2]
        rig = self.rig(changed(image, rule=self.name, P_FIRST_LIMIT=never))
        self.put(rig, self.worst)
        rig.scan(self.longest() // SCAN_MS + 5)
        assert not rig.of(self.name)


def flags_of(rig):
    """The general alarm flags of all rules that are asserted, as the catalogue has them."""
    told = 0
    for row in catalogue.ROWS:
        flag = row[catalogue.COLUMNS.index("flag")]
        if rig.level(row[0]) and flag is not None:
            told |= sum(1 << bit for bit in (flag if isinstance(flag, tuple) else (flag,)))
    return told


def rows(kind=RuleTest):
    """The test class of every row."""
    for sub in kind.__subclasses__():
        if sub.name:
            yield sub
        yield from rows(sub)


class JudgedTest(RuleTest):
    """A row whose feature is computed: each scan the judge finds it as `put` left it, come with a sample of its own.

    Here the demonstration pack sends all that the row needs, and no acknowledgement is: an image that says so.
    """

    good = 0
    test_frames_and_signals_tell_the_same_story = None  # it is not in any frame

    @pytest.fixture
    def image(self, demo):
        first = next(limit for limit in self.limits if limit is not None)
        return changed(demo.image, rule=self.name, P_FIRST_LIMIT=first, P_LATCHED=0)

    def rig(self, image, **options):
        rig = JudgeRig(image, self.feature(), self.where, **options)
        self.put(rig, self.good)
        rig.scan(22)
        return rig

    def put(self, rig, value):
        rig.value = value

    def dark(self, rig):
        rig.value = NA


class ElementTest(RuleTest):
    """A row whose feature is an extreme over cells or probes. number: the one that is put."""

    number = 7

    @property
    def where(self):
        return self.number

    def one(self, rig):
        raise NotImplementedError

    def all(self, rig):
        raise NotImplementedError

    def put(self, rig, value):
        self.read(rig)
        rig[self.one(rig)] = value

    def test_the_loss_of_the_very_one_keeps_its_time_running(self, image):
        rig = self.rig(image)
        self.put(rig, self.worst)
        rig.scan()
        rig[self.one(rig)] = NA
        rig.scan(self.longest() // SCAN_MS)
        assert rig.level(self.name) == self.top, f"{self.name}: a cell or probe that dies in a fire hides it"
        last = rig.of(self.name)[-1]
        assert (last.where, last.value) == (self.number, NA), "the record names another than the one that died"

    def test_the_loss_of_another_does_not(self, image):
        rig = self.rig(image)
        self.put(rig, self.worst)
        rig.scan()
        rig[self.one(rig)] = self.usual
        rig[self.one(rig) + 1] = NA
        rig.scan(self.longest() // SCAN_MS)
        assert not rig.of(self.name), f"{self.name}: a lost neighbour was taken for a hazard here"

    def test_it_does_not_clear_while_another_is_missing(self, image):
        rig = self.raised(image)
        self.put(rig, self.good)
        rig[self.one(rig) + 1] = NA
        rig.scan(2 * self.clear_ms // SCAN_MS)
        assert rig.level(self.name) == self.top, f"{self.name}: ended although the sick one may be the one not seen"
        self.put(rig, self.good)
        rig.scan(self.believed_scans + self.clear_ms // SCAN_MS + 1)
        assert rig.level(self.name) == 0

    def test_those_never_seen_do_not_hide_the_others(self, image):
        rig = (FrameRig if hasattr(image, "plan") else Rig)(image, healthy=False)
        for slot, value in ((self.one(rig), self.worst), (self.one(rig) + 1, self.usual), (L.PACK_CURRENT_MA, 0)):
            rig[slot] = value
        self.prepare(rig)
        rig.scan(self.longest() // SCAN_MS + 25)
        assert rig.level(self.name) == self.top, f"{self.name}: blind until every cell and probe had reported"
        assert rig.of(self.name)[-1].where == self.number


class CellTest(ElementTest):
    usual = 3700

    def one(self, rig):
        return rig.cell(self.number)

    def read(self, rig):
        rig.cells_read(self.usual)

    def dark(self, rig):
        rig.cells_read(NA)


class ProbeTest(ElementTest):
    number = 11
    usual = 250
    believed_scans = 620  # a minute like the others

    def one(self, rig):
        return rig.probe(self.number)

    def read(self, rig):
        rig.probes_read(self.usual)

    def dark(self, rig):
        rig.probes_read(NA)
