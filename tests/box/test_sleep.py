"""Parked (HAZARDS E): the box sleeps when the core says so, finds at its wakes what grew, and its log proves it."""

import json
import types

import pytest
from cellwarden.app import NAP_MS, Box
from cellwarden.blackbox.folder import Folder
from cellwarden.canbus import Bus
from cellwarden.core import catalogue
from cellwarden.core import layout as L
from cellwarden.image import load_image
from cellwarden.keep import Kept
from cellwarden_tools import cli
from cellwarden_tools.compiler.image import compile_profile
from cellwarden_tools.simulator import DEMO_PROFILE
from rig import CELL_MV, FIRST_CELL, PROBE_DDEGC, Sender, healthy_signals
from supervised import KEY, Clock, Dog, Log, Sink, a_log, rules_told

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
LISTEN_MS = 10_000  # sleep_s of the profile: so long a silent bus is listened to
OFF_MS = 40_000  # of the story: it is switched off
SPREAD = catalogue.RULES.index("temperature_spread")


@pytest.fixture(scope="module")
def parked(tmp_path_factory):
    """The demonstration pack, watched for a minute only after it was switched off; then as the catalogue says."""
    folder = tmp_path_factory.mktemp("parked")
    (folder / "demo_pack.dbc").write_bytes(DEMO_PROFILE.with_name("demo_pack.dbc").read_bytes())
    (folder / "demo_pack.toml").write_text(DEMO_PROFILE.read_text("utf-8") + "[parked]\nwatch_min = 1\n")
    compiled = compile_profile(folder / "demo_pack.toml")
    compiled.image.save(folder / "demo.cwi")
    return types.SimpleNamespace(
        compiled=compiled, image=load_image(str(folder / "demo.cwi")), path=folder / "demo.cwi"
    )


class Vehicle(Bus):
    """Sends every message ten times a second while `speaks(t_ms)`, t_ms from its first frame on; probe 5 warms."""

    def __init__(self, compiled, clock, kelvin_per_hour=0, speaks=lambda t_ms: True):
        super().__init__()
        self.sender, self.clock, self.began_ms, self.speaks = Sender(compiled), clock, clock.wall_ms, speaks
        self.kelvin_per_hour = kelvin_per_hour
        self.signals = [L.NA] * (FIRST_CELL + 96 + 24)
        for slot, value in healthy_signals(compiled.image).items():
            self.signals[slot] = value
        self.signals[FIRST_CELL:] = [CELL_MV] * 96 + [PROBE_DDEGC] * 24
        self.sent_ms = -100

    def t_ms(self):
        return self.clock.wall_ms - self.began_ms

    def _read(self, batch, t_ms):
        now = self.t_ms()
        if now - self.sent_ms < 100 or not self.speaks(now):
            return
        self.sent_ms = now
        self.signals[L.VEHICLE_ON] = 1 if now < OFF_MS else 0
        self.signals[FIRST_CELL + 96 + 4] = PROBE_DDEGC + 10 * min(self.kelvin_per_hour * now // HOUR_MS, 150)
        self.signals[FIRST_CELL] = CELL_MV + now // 1000 % 2  # a pack that lives: what comes after a sleep is new
        for can_id, data, _ in self.sender.all(self.signals):
            batch.put(t_ms, can_id, 0, data, 0, len(data))


class Sleeper:
    """A board's sleep. ticks: whether its ticks count meanwhile; sleeps: (when in the story, how long)"""

    def __init__(self, clock, vehicle, ticks=False):
        self.clock, self.vehicle, self.ticks, self.sleeps, self.fails = clock, vehicle, ticks, [], None

    def __call__(self, ms):
        if self.fails:
            raise self.fails
        self.sleeps.append((self.vehicle.t_ms(), ms))
        self.clock.wall_ms += ms
        if self.ticks:
            self.clock.ms += ms


class Rig:
    def __init__(self, parked, recorder=None, kept=None, ticks=False, nap_ms=HOUR_MS, **story):
        self.clock = Clock()
        self.vehicle = Vehicle(parked.compiled, self.clock, **story)
        self.sleeper, self.dog, self.out = Sleeper(self.clock, self.vehicle, ticks), Dog(), Sink()
        self.log = recorder or Log()
        self.box = Box(
            parked.image, [self.vehicle], self.log, kept, (self.out,), None, self.dog, self.clock,
            sleep=self.sleeper, nap_ms=nap_ms,
        )  # fmt: skip
        self.box.begin()

    def until(self, done):
        """Go round until the story's time in ms, or until done(self) is true; at most 100,000 rounds."""
        ms, done = (done, None) if isinstance(done, int) else (None, done)
        for _ in range(100_000):
            if done(self) if done else self.vehicle.t_ms() >= ms:
                return self
            self.clock.pass_time(20)
            self.rounds()
        raise AssertionError("that never came")

    def rounds(self):
        while self.box.round():
            pass

    @property
    def naps(self):
        return self.sleeper.sleeps


def test_a_parked_vehicle_is_watched_and_then_looked_at_every_ten_minutes_and_every_hour(parked):
    """A minute's watch, six sleeps of ten minutes, then an hour each: the sixth hour ends in the fifth of these."""
    rig = Rig(parked).until(6 * HOUR_MS)
    first_ms = rig.naps[0][0]
    assert OFF_MS + MINUTE_MS <= first_ms < OFF_MS + MINUTE_MS + 2000
    for at_ms, ms in rig.naps:
        assert ms == (10 * MINUTE_MS if at_ms - OFF_MS - MINUTE_MS < HOUR_MS else HOUR_MS), at_ms
    assert rig.box.status()["sleeps"] == len(rig.naps) == rig.log.settled == 6 + 5
    assert rig.box.status()["slept_s"] == sum(ms for _, ms in rig.naps) // 1000
    awake_ms = [after[0] - at_ms - ms for (at_ms, ms), after in zip(rig.naps, rig.naps[1:], strict=False)]
    assert max(awake_ms) < 5000, "one true sample is compared, and it sleeps again"
    assert rig.box.status()["box_hazards"] == [] and rig.box.status()["level"] == 0
    assert not rig.out.told, "neither late nor lost: it slept"


class DeepRig(Rig):
    """A board whose memory is gone in its sleep: each time a new box goes on from what was kept."""

    def __init__(self, parked, folder, **story):
        self.parked, self.folder = parked, folder
        super().__init__(parked, **story)
        self.boot()

    def boot(self):
        kept = Kept(self.folder, self.parked.image.identity)
        self.box = Box(self.parked.image, [self.vehicle], None, kept, clock=self.clock, deep=True)
        self.box.begin()

    def rounds(self):
        while self.box.round():
            pass
        if self.box.rest_ms:
            assert not self.box.running
            self.box.finish()
            self.clock.ms, self.clock.skipped_ms = 77, 0  # ticks begin anew
            self.sleeper(self.box.rest_ms)
            self.boot()
            self.rounds()


def test_a_fault_that_grows_while_parked_is_found_at_the_first_wake_behind_each_limit(parked):
    """Probe 5 warms by 8 K an hour: 12 K over the others after 1 h 30 min (level 1), 18 after 2 h 15 min (level 2)."""
    rig = Rig(parked, kelvin_per_hour=8).until(lambda rig: rig.box.status()["level"] == 2)
    began_ms = rig.clock.now_ms() - rig.vehicle.t_ms()
    told = [(event[3], event[0] - began_ms) for event in rig.out.told]
    assert {event[1] for event in rig.out.told} == {SPREAD} and [level for level, _ in told] == [1, 2]
    for (_, found_ms), passed_ms in zip(told, (1.5 * HOUR_MS, 2.25 * HOUR_MS), strict=True):
        wake_ms = min(at_ms + ms for at_ms, ms in rig.naps if at_ms + ms >= passed_ms)
        assert wake_ms + 5000 <= found_ms < wake_ms + 10_000, "5 s it must hold"
    sleeps = len(rig.naps)
    rig.until(rig.vehicle.t_ms() + MINUTE_MS)
    assert len(rig.naps) == sleeps, "with an alarm of level 2 it stays awake"


def test_light_and_deep_sleep_leave_the_same_state(parked, tmp_path):
    def awake(rig):
        return rig.vehicle.t_ms() > 2.1 * HOUR_MS and rig.box.engine.state[L.MODE] == L.PARKED

    light = Rig(parked, kelvin_per_hour=8).until(awake)
    deep = DeepRig(parked, Folder(str(tmp_path)), kelvin_per_hour=8).until(awake)
    assert deep.naps == light.naps and len(light.naps) == 8
    assert light.box.engine.state[L.LEVEL] == 1, "something stands that a sleep must not lose"
    assert deep.box.engine.snapshot() == light.box.engine.snapshot()


@pytest.mark.parametrize("ticks", [True, False])
def test_the_right_time_has_passed_whether_the_ticks_count_in_a_sleep_or_stand_still(parked, ticks):
    rig = Rig(parked, ticks=ticks, nap_ms=NAP_MS).until(3 * HOUR_MS)
    state = rig.box.engine.state
    assert abs(state[L.PARKED_MS] - (rig.vehicle.t_ms() - OFF_MS)) < 1000
    assert rig.box.status()["box_hazards"] == [] and not rig.out.told


def test_asleep_the_watchdog_is_petted_before_each_nap_and_no_nap_is_longer_than_it_waits(parked):
    rig = Rig(parked, nap_ms=NAP_MS).until(lambda rig: rig.box.sleeps)
    assert all(ms <= NAP_MS for _, ms in rig.naps)
    assert sum(ms for _, ms in rig.naps) == 10 * MINUTE_MS
    assert rig.dog.fed == rig.box.status()["pets"] >= len(rig.naps) + 600


def test_a_bus_that_is_silent_is_listened_to_for_the_profiles_time_at_each_wake(parked):
    rig = Rig(parked, speaks=lambda t_ms: t_ms < OFF_MS + 2000).until(4 * HOUR_MS)
    assert len(rig.naps) > 6
    for (at_ms, ms), (then_ms, _) in zip(rig.naps, rig.naps[1:], strict=False):
        assert LISTEN_MS <= then_ms - at_ms - ms < LISTEN_MS + 200


def test_a_vehicle_that_begins_to_speak_ends_the_sleep_within_a_nap(parked):
    speaks_ms = 5 * HOUR_MS + 1_234_000
    rig = Rig(parked, nap_ms=NAP_MS, speaks=lambda t_ms: t_ms < OFF_MS + 2000 or t_ms >= speaks_ms)
    rig.until(lambda rig: rig.box.engine.state[L.MODE] == L.PARKED and rig.vehicle.t_ms() > HOUR_MS)
    assert speaks_ms <= rig.vehicle.t_ms() < speaks_ms + NAP_MS + 1000


def test_a_vehicle_that_speaks_while_parked_does_not_end_every_sleep(parked):
    rig = Rig(parked, nap_ms=NAP_MS).until(2 * HOUR_MS)
    assert rig.box.status()["sleeps"] == 7


def test_an_alarm_that_stands_when_it_falls_asleep_is_kept_and_looked_at_soon(parked, tmp_path):
    """Level 3 behind a bus that fell silent: every ten minutes, for as long as it stands."""
    kept = Kept(Folder(str(tmp_path)), parked.image.identity)
    rig = Rig(parked, kept=kept, kelvin_per_hour=3000, speaks=lambda t_ms: t_ms < 2 * MINUTE_MS).until(3 * HOUR_MS)
    assert rig.box.status()["level"] == 3
    assert {ms for _, ms in rig.naps} == {10 * MINUTE_MS} and len(rig.naps) > 8


def test_a_sleep_that_fails_is_told_and_the_box_watches_on_and_tries_again_a_minute_later(parked):
    rig = Rig(parked)
    rig.sleeper.fails = OSError(1)
    rig.until(OFF_MS + MINUTE_MS + 30_000)
    assert ("box_output", 1) in rules_told(rig.out.told) and rig.naps == []
    assert rig.box.hazards.counts[5] == 1, "one try in half a minute"
    assert rig.box.status()["scans"] > 1200, "and no scan is missing"
    rig.sleeper.fails = None
    rig.until(OFF_MS + 3 * MINUTE_MS)
    assert len(rig.naps) == 1 and OFF_MS + 2 * MINUTE_MS <= rig.naps[0][0] < OFF_MS + 2 * MINUTE_MS + 3000


def test_a_box_that_is_given_no_sleep_watches_all_night(parked):
    rig = Rig(parked)
    rig.box._sleep = None
    rig.until(OFF_MS + 5 * MINUTE_MS)
    assert rig.box.status()["sleeps"] == 0 and rig.box.status()["scans"] > 3300


def test_the_log_of_a_box_that_slept_is_intact_and_its_verdicts_follow_from_its_frames(parked, tmp_path, capsys):
    """The alarm that was found at a wake stands in it, and the desk finds it again from the frames of the log alone."""
    log = a_log(tmp_path / "log", parked.image)
    rig = Rig(parked, recorder=log, kelvin_per_hour=12, nap_ms=NAP_MS).until(lambda rig: rig.box.sleeps == 7)
    rig.until(rig.vehicle.t_ms() + 5000)
    rig.box.finish()
    assert (SPREAD, 1) in [(event[1], event[3]) for event in rig.out.told]
    (tmp_path / "key").write_text(KEY.hex())
    words = ["verify", str(tmp_path / "log"), "--key", str(tmp_path / "key"), "-p", str(parked.path), "--json"]
    assert cli.run(words) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["boots"], told["intact"], told["complete"], told["consistent"]) == (1, True, True, True), told


def test_what_was_asleep_when_the_power_went_is_sealed(parked, tmp_path, capsys):
    """The battery is taken out of a sleeping box: its log is proven up to the sleep, frames and all."""
    Rig(parked, recorder=a_log(tmp_path / "log", parked.image)).until(lambda rig: rig.box.sleeps)
    (tmp_path / "key").write_text(KEY.hex())
    words = ["verify", str(tmp_path / "log"), "--key", str(tmp_path / "key"), "-p", str(parked.path), "--json"]
    cli.run(words)
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["faults"] == 0 and told["consistent"], told
    assert told["replayed_ms"] > OFF_MS + MINUTE_MS - 2000, told


@pytest.mark.parametrize("ticks", [True, False])
def test_a_box_that_is_stopped_in_its_sleep_keeps_the_time_that_it_slept(parked, tmp_path, ticks):
    """By SIGINT under MicroPython: 4 of the 10 minutes have passed."""
    folder = Folder(str(tmp_path))
    rig = Rig(parked, kept=Kept(folder, parked.image.identity), ticks=ticks, nap_ms=MINUTE_MS)
    naps = iter(range(4))

    def sleep(ms, whole=rig.sleeper):
        whole(ms)
        if next(naps, None) is None:
            raise KeyboardInterrupt

    rig.box._sleep = sleep
    with pytest.raises(KeyboardInterrupt):
        rig.until(HOUR_MS)
    rig.box.finish()
    slept_ms = 5 * MINUTE_MS
    parked_ms = rig.box.engine.state[L.PARKED_MS]
    assert MINUTE_MS + slept_ms <= parked_ms < MINUTE_MS + slept_ms + 2000
    rig.clock.wall_ms += 20_000
    again = Box(parked.image, [rig.vehicle], None, Kept(folder, parked.image.identity), clock=rig.clock)
    assert again.restored and abs(again.engine.state[L.PARKED_MS] - parked_ms - 20_000) <= 1000


def test_a_box_does_not_sleep_while_it_takes_an_update(parked):
    """It goes round in the middle of it."""

    class Updates:
        on_trial, rounds = False, 0

        def begin(self, app):
            self.app = app

        def scanned(self, app):
            pass

        def status(self):
            return None

        def work(self):
            while rig.vehicle.t_ms() < 5 * MINUTE_MS:
                rig.clock.pass_time(20)
                self.app.round()
                self.rounds += 1

    rig = Rig(parked)
    rig.until(OFF_MS)
    rig.box.updates = Updates()
    rig.box.updates.begin(rig.box)
    rig.box.idle()
    assert rig.box.updates.rounds > 1000 and not rig.naps
    rig.until(6 * MINUTE_MS)
    assert len(rig.naps) == 1
