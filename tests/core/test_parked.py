"""Parked: when a box may sleep, and for how long (HAZARDS E): an hour's watch, then 10 minutes, later an hour."""

import pytest
from cellwarden.core import catalogue
from cellwarden.core import layout as L
from cellwarden.engine import Engine
from conftest import DEMO
from rig import FrameRig, changed

HOUR_MS, TEN_MINUTES_MS = 3_600_000, 600_000
MINUTE_MS = 60_000


class Parked(FrameRig):
    """A vehicle that has been switched off."""

    def __init__(self, compiled, **how):
        super().__init__(compiled, **how)
        self.scan(400)
        self[L.VEHICLE_ON] = 0
        self.scan(1)

    def fall_asleep(self):
        """Its bus falls silent for as long as that takes."""
        for _ in range(300):
            if self.clock[L.MODE] != L.ASLEEP:
                self.scan(1, samples=0)
        assert self.clock[L.MODE] == L.ASLEEP

    def rest(self, ms):
        """So long without a frame."""
        self.engine.advance(self.clock[L.NOW_MS] - self.clock[L.OFFSET_MS] + ms)

    def parked_for(self, ms):
        """On by as much as is missing until it has been parked for so long; it is asleep."""
        self.rest(ms - self.clock[L.PARKED_MS])
        assert self.clock[L.PARKED_MS] == ms

    def wake(self, scans=40):
        """Messages come again, with what has changed since."""
        self[self.cell(1)] = 3699
        self.scan(scans)

    @property
    def may_sleep_ms(self):
        return self.engine.may_sleep_ms()

    def may_sleep_soon_ms(self):
        """The same, asked until the sample at hand has been gone through, which takes a second."""
        for _ in range(13):
            if not self.may_sleep_ms:
                self.scan(1)
        return self.may_sleep_ms


@pytest.fixture
def parked(demo):
    return Parked(demo)


def test_a_vehicle_in_use_is_watched(demo):
    rig = FrameRig(demo)
    assert rig.engine.may_sleep_ms() == 0, "nothing is known of it yet"
    rig.scan(400)
    assert rig.clock[L.MODE] == L.DRIVING and rig.engine.may_sleep_ms() == 0
    rig.clock[L.PARKED_MS] = 2 * HOUR_MS
    rig.scan(1)
    assert rig.engine.may_sleep_ms() == 0
    rig[L.VEHICLE_ON], rig[L.CHARGING] = 0, 1
    rig.scan(1)
    assert rig.clock[L.MODE] == L.CHARGING_MODE and rig.engine.may_sleep_ms() == 0


def test_for_an_hour_after_it_was_switched_off_it_is_watched_and_then_every_ten_minutes_and_every_hour(parked):
    parked.fall_asleep()
    for ms, may in (
        (HOUR_MS - 100, 0), (HOUR_MS, TEN_MINUTES_MS), (2 * HOUR_MS - 100, TEN_MINUTES_MS), (2 * HOUR_MS, HOUR_MS),
        (100 * HOUR_MS, HOUR_MS),
    ):  # fmt: skip
        parked.parked_for(ms)
        assert parked.may_sleep_ms == may, ms


def test_the_profile_may_say_other_times(compile_text):
    text = DEMO.read_text("utf-8") + "[parked]\nwatch_min = 2\nwake_first_min = 3\nwake_min = 4\n"
    rig = Parked(compile_text(text, {"demo_pack.dbc": DEMO.with_suffix(".dbc").read_text("utf-8")}))
    rig.fall_asleep()
    minutes = 60_000
    for ms, may in ((2 * minutes - 100, 0), (2 * minutes, 3 * minutes), (2 * minutes + HOUR_MS, 4 * minutes)):
        rig.parked_for(ms)
        assert rig.may_sleep_ms == may, ms


def test_time_off_counts_and_the_box_goes_on_where_it_was(parked, demo):
    parked.fall_asleep()
    parked.parked_for(HOUR_MS + MINUTE_MS)
    engine = Engine(demo.image)
    engine.restore(parked.engine.snapshot(), elapsed_ms=30 * MINUTE_MS)
    assert engine.state[L.PARKED_MS] == HOUR_MS + 31 * MINUTE_MS and engine.may_sleep_ms() == TEN_MINUTES_MS
    engine.restore(parked.engine.snapshot(), elapsed_ms=59 * MINUTE_MS)
    assert engine.may_sleep_ms() == HOUR_MS


def test_a_month_asleep_leaves_it_asleep_though_its_clock_has_gone_round(parked):
    parked.fall_asleep()
    for _ in range(30):
        for _ in range(24):
            parked.rest(HOUR_MS)
    assert parked.clock[L.PARKED_MS] == 0x1FFFFFFF and parked.may_sleep_ms == HOUR_MS


def test_just_awake_it_stays_until_a_true_sample_has_been_compared(parked):
    parked.fall_asleep()
    parked.parked_for(3 * HOUR_MS)
    parked.scan(1)  # stale: as before the sleep
    assert parked.may_sleep_ms == 0
    parked.scan(20)
    assert parked.clock[L.WAKING_MS] and parked.may_sleep_ms == 0, "what was known before the sleep was taken for news"
    parked.wake()
    assert parked.may_sleep_soon_ms() == HOUR_MS


def test_one_that_never_comes_to_rest_is_left_after_a_minute(parked):
    parked.fall_asleep()
    parked.parked_for(3 * HOUR_MS)
    parked[L.PACK_CURRENT_MA] = 9000
    parked.wake(300)
    assert parked.may_sleep_soon_ms() == 0
    parked.scan(320)
    assert parked.may_sleep_soon_ms() == HOUR_MS


def test_messages_that_fall_silent_one_after_the_other_leave_nothing_to_be_taken_for_news(parked):
    cells = {n for n, slots in enumerate(parked.sender.slots) if parked.cell(1) in slots or parked.cell(96) in slots}
    for _ in range(60):  # the cells' messages end first, then the pack's
        for number in range(len(parked.sender.groups)):
            if number not in cells:
                parked.send(parked.sender.frame(number, parked.wanted))
        parked.scan(1, samples=0)
    parked.fall_asleep()
    parked.parked_for(3 * HOUR_MS)
    parked.scan(100)
    assert parked.clock[L.WAKING_MS], "what was known before the sleep was taken for news"


def test_an_alarm_keeps_it_awake_and_a_silent_bus_lets_it_look_again_soon(parked):
    parked.fall_asleep()
    parked.parked_for(3 * HOUR_MS)
    parked.probes_read(610)
    parked.wake(60)
    assert parked.level("temperature_high") == 2 and parked.may_sleep_ms == 0
    parked.fall_asleep()
    assert parked.clock[L.LEVEL] == 2 and parked.may_sleep_ms == TEN_MINUTES_MS


def test_a_level_that_is_about_to_be_asserted_keeps_it_awake(parked):
    parked.fall_asleep()
    parked.parked_for(3 * HOUR_MS)
    parked.wake()
    parked[L.INSULATION_OHM] = 150_000  # 422 ohm/V: level 1 after 5 s
    parked.scan(40)
    assert parked.level("insulation_low") == 0 and parked.may_sleep_ms == 0
    parked.scan(12)
    assert parked.level("insulation_low") == 1
    assert parked.may_sleep_soon_ms() == HOUR_MS, "level 1 is told, and no reason to stay"


def test_where_it_does_not_say_whether_it_is_on_the_bus_says_so(demo):
    params = {L.P_SENT: demo.image.params[L.P_SENT] & ~(1 << L.VEHICLE_ON | 1 << L.CHARGING)}
    engine = Engine(changed(demo.image, params))
    clock = engine.section("clock")
    clock[L.PARKED_MS] = HOUR_MS
    engine.advance(0)
    engine.advance(1000)
    assert clock[L.MODE] == L.UNKNOWN and clock[L.PARKED_MS] == 0
    engine.advance(catalogue.SLEEP_MS + HOUR_MS + 1000)
    assert clock[L.MODE] == L.ASLEEP and engine.may_sleep_ms() == TEN_MINUTES_MS


def test_one_that_has_yet_to_say_whether_it_is_on_is_as_parked_as_before(parked):
    parked.fall_asleep()
    parked.parked_for(3 * HOUR_MS)
    for number, slots in enumerate(parked.sender.slots):
        if L.VEHICLE_ON not in slots:
            parked.send(parked.sender.frame(number, parked.wanted))
    parked.scan(1, samples=0)
    assert parked.clock[L.MODE] == L.UNKNOWN and parked.clock[L.PARKED_MS] == 3 * HOUR_MS
