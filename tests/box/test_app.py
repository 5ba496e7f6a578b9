"""The supervisor: detection goes on whatever fails, what fails is told, and a restart forgets no latched alarm."""

import hashlib
import hmac
import json
import random
import socket
from array import array

import pytest
import second_reader
from cellwarden import hazards as H
from cellwarden import known_vehicle, linux
from cellwarden.blackbox.content import SECURITY_EVENTS
from cellwarden.blackbox.folder import Folder
from cellwarden.blackbox.keys import FileKeys
from cellwarden.core import catalogue
from cellwarden.core import layout as L
from cellwarden.image import ImageError, load_image
from cellwarden.keep import Kept
from cellwarden_tools import cli
from cellwarden_tools.engines.python import PythonEngine
from cellwarden_tools.simulator import DEMO_PROFILE
from cellwarden_tools.simulator.run import simulate
from supervised import KEY, Clock, Player, Rig, Sink, a_log, rules_told


@pytest.fixture(scope="module")
def drive():
    """Half a minute; the interlock opens after ten seconds."""
    frames = simulate("hvil_opens", DEMO_PROFILE, 1, 1.35)
    return [(t_us - 50_000_000, *rest) for t_us, *rest in frames if t_us >= 50_000_000]


def desk(demo, records):
    """SHA-256 of the state that the desk's engine has after the box's own records."""
    with PythonEngine(demo) as engine:
        engine.feed_records(records)
        return hashlib.sha256(engine.finish()).hexdigest()


def test_the_desk_gets_the_boxs_state_from_the_boxs_records(image, demo, drive):
    rig = Rig(image, drive).play(25)
    last = rig.clock.ms
    assert rig.box.status()["frames"] > 5000 and rig.box.status()["level"] >= 0
    rig.box.engine.advance(last)
    with PythonEngine(demo) as engine:
        engine.feed_records(rig.log.records)
        engine._advance(last & L.MASK)
        assert hashlib.sha256(engine.finish()).hexdigest() == rig.box.status()["state_sha256"]


def test_nothing_that_fails_stops_detection_and_each_makes_its_own_hazard(image, drive):
    healthy = Rig(image, drive).play(25)
    found = [event for event in rules_told(healthy.out.told)]
    assert found, "the story raises an alarm"
    for row, name, part in ((H.LOG, "box_log", "log"), (H.OUTPUT, "box_output", "out")):
        rig = Rig(image, drive)
        rig.play(2)
        getattr(rig, part).fails = OSError(5)
        rig.play(23)
        others = rig.out if part == "log" else rig.log
        assert [e for e in rules_told(others.told) if not e[0].startswith("box")] == found, name
        assert (name, H.ROWS[row][1]) in rules_told(others.told)
        assert rig.box.engine.snapshot() == healthy.box.engine.snapshot()


class Faults:
    """Makes a part fail at random: raise, or give back nonsense. told: how often it did."""

    NONSENSE = (None, -7, 1 << 40, 0.5, "x", b"", (), (1 << 29) + 5)

    def __init__(self, seed):
        self.random, self.done, self.on = random.Random(seed), 0, False

    def spoil(self, part, name):
        whole = getattr(part, name)

        def spoiled(*arguments):
            if not self.on or self.random.random() < 0.7:
                return whole(*arguments)
            self.done += 1
            if self.random.random() < 0.5:
                raise self.random.choice((OSError(5), ValueError("no"), MemoryError(), IndexError(), TypeError()))
            whole(*arguments)
            return self.random.choice(self.NONSENSE)

        setattr(part, name, spoiled)


SPOILED = {  # what fails: (part of the rig, methods), hazard that must tell of it
    "recorder": ("log", ("drain", "advance", "work", "hazard"), "box_log"),
    "kept": ("kept", ("save",), "box_keep"),
    "output": ("bad", ("event", "update"), "box_output"),
    "watchdog": ("dog", ("feed",), "box_output"),
    "clock": ("clock", ("now_ms",), "box_clock"),
    "time of day": ("clock", ("wall_s",), "box_clock"),
    "bus": ("bus", ("_read",), "box_bus"),
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("what", SPOILED)
def test_a_part_that_fails_at_random_moments_is_told_and_no_scan_is_missing(image, drive, tmp_path, what, seed):
    part, names, hazard = SPOILED[what]
    faults, bad = Faults(f"{what} {seed}"), Sink()
    kept = Kept(Folder(str(tmp_path)), image.identity)
    rig = Rig(image, drive, kept=kept)
    rig.box.outputs, rig.kept, rig.bad = (bad, rig.out), kept, bad
    for name in names:
        faults.spoil(getattr(rig, part), name)
    rig.play(2)
    scans = rig.box.engine.state[L.SCANS]
    faults.on = True
    for _ in range(20):
        rig.box._urgent = True  # the state is kept each second
        rig.play(1)
    faults.on = False
    rig.play(0.2)
    assert faults.done > (0 if what == "recorder" else 2), "a recorder that fails is left alone"
    assert rig.box.engine.state[L.SCANS] - scans >= 200
    told = [event[3] for event in rig.out.told if event[1] >= H.FIRST and H.ROWS[event[1] - H.FIRST][0] == hazard]
    assert told and told[0] > 0, rig.box.status()["box_faults"]
    if what in ("recorder", "kept", "output", "watchdog"):  # these touch no verdict
        healthy = Rig(image, drive).play(22.2)
        assert rig.box.engine.snapshot() == healthy.box.engine.snapshot()


def test_everything_that_fails_at_once_stops_no_scan(image, drive, tmp_path):
    for seed in range(4):
        folder = tmp_path / str(seed)
        folder.mkdir()
        kept, faults = Kept(Folder(str(folder)), image.identity), Faults(seed)
        rig = Rig(image, drive, kept=kept)
        rig.kept = kept
        rig.bad = rig.out
        for part, names, _ in SPOILED.values():
            for name in names:
                faults.spoil(getattr(rig, part), name)
        rig.play(2)
        faults.on, scans = True, rig.box.engine.state[L.SCANS]
        for _ in range(20):
            rig.box._urgent = True
            rig.play(1)
        faults.on = False
        rig.play(0.2)
        assert rig.box.engine.state[L.SCANS] - scans >= 200
        assert {"box_log", "box_keep", "box_output", "box_clock", "box_bus"} <= set(rig.box.status()["box_faults"])


def test_a_box_starts_and_ends_whatever_fails_then(image, drive, tmp_path):
    """Its clock, its log, what it kept and its buses; it scans all the same, and each is told."""

    class LateClock(Clock):
        asked = 0

        def now_ms(self):
            self.asked += 1
            if self.asked < 4:
                raise OSError(5)
            return super().now_ms()

        def sleep_ms(self, ms):
            raise OSError(5)

    def no_log(engine):
        raise OSError(28)

    def fails():
        raise OSError(19)

    kept = Kept(Folder(str(tmp_path)), image.identity)
    Rig(image, drive, kept=kept).play(2).box.finish()
    kept = Kept(Folder(str(tmp_path)), image.identity)
    (tmp_path / "state0").write_bytes(b"gone since it was looked at")
    rig = Rig(image, drive, LateClock(), recorder=no_log, kept=kept)
    rig.bus.begin = rig.bus.close = fails
    rig.box.begin()
    rig.box.idle()
    rig.play(25).box.finish()
    assert ("hvil_open", 3) in rules_told(rig.out.told) and rig.box.status()["scans"] >= 230
    assert not rig.box.restored
    assert {"box_clock", "box_log", "box_keep", "box_bus"} <= {rule for rule, _ in rules_told(rig.out.told)}


class Broken:
    """A core that writes half a state and raises, as often as it is told to."""

    def __init__(self, engine, error=ZeroDivisionError):
        self.engine, self.whole, self.left, self.error = engine, engine._drain, 0, error
        engine._drain = self

    def __call__(self, *arguments):
        if not self.left:
            return self.whole(*arguments)
        self.left -= 1
        state = self.engine.state
        for at in range(0, len(state), 7):
            state[at] = -123_456_789
        raise self.error("a fault of the core's")


def test_a_core_that_raises_goes_on_from_what_was_kept_and_is_told_until_the_next_start(image, drive, tmp_path):
    kept = Kept(Folder(str(tmp_path)), image.identity)
    rig = Rig(image, drive, kept=kept).play(5)
    row, broken = with_runaway(rig.box.engine), Broken(rig.box.engine)
    rig.box._urgent = True
    rig.play(0.2)
    before = rig.box.engine.state[L.SCANS]
    broken.left = 1
    rig.play(19.8)
    state = rig.box.engine.state
    assert state[row + L.LEVEL_NOW] == 3, "the latched alarm stands"
    assert 197 <= state[L.SCANS] - before <= 199 and state[L.DROPPED] == 1
    assert ("box_core", 3) in rules_told(rig.out.told) and "box_core" in rig.box.status()["box_hazards"]
    assert "ZeroDivisionError" in rig.box.status()["box_faults"]["box_core"][1]
    assert ("hvil_open", 3) in rules_told(rig.out.told), "what came after it is found"
    fed = rig.dog.fed
    rig.play(1)
    assert rig.dog.fed == fed + 10, "once is no reason to start anew"


def test_a_core_that_raises_again_and_again_is_left_to_the_watchdog(image, drive, tmp_path):
    rig = Rig(image, drive, kept=Kept(Folder(str(tmp_path)), image.identity)).play(5)
    broken = Broken(rig.box.engine)
    for _ in range(2):
        broken.left = 2
        rig.play(1)
    fed = rig.dog.fed
    rig.play(20)
    assert rig.dog.fed == fed, "the watchdog starts it anew, on a clean heap"
    assert rig.box.engine.state[L.SCANS] > 180 and rig.box.engine.state[L.FRAMES] > 1000, "and until then it watches"


def test_a_core_that_raises_without_anything_kept_begins_anew(image, drive):
    rig = Rig(image, drive).play(5)
    Broken(rig.box.engine).left = 1
    rig.play(20)
    assert ("hvil_open", 3) in rules_told(rig.out.told) and rig.box.engine.state[L.KNOWN]
    assert rig.box.engine.state[L.SCANS] >= 199


def test_the_log_of_a_core_that_raised_is_whole_and_both_halves_follow_from_their_frames(image, demo, drive, tmp_path):
    rig = Rig(image, drive, recorder=a_log(tmp_path / "log", image)).play(5)
    Broken(rig.box.engine).left = 1
    rig.play(20).box.finish()
    demo.save(tmp_path / "demo.cwi")
    (tmp_path / "key").write_text(KEY.hex())
    words = ["verify", str(tmp_path / "log"), "--key", str(tmp_path / "key"), "-p", str(tmp_path / "demo.cwi")]
    assert cli.run(words) == 0


@pytest.mark.parametrize("where", ["core", *range(0, 60, 7)])
def test_a_box_that_is_stopped_at_any_moment_ends_its_log_in_order(image, demo, drive, tmp_path, capsys, where):
    """MicroPython has no handler for signals: SIGINT raises an exception wherever the box is."""
    (tmp_path / "data").mkdir()
    log, kept = a_log(tmp_path / "log", image), Kept(Folder(str(tmp_path / "data")), image.identity)
    rig = Rig(image, drive, recorder=log, kept=kept).play(15)
    assert ("hvil_open", 3) in rules_told(rig.out.told)
    if where == "core":
        Broken(rig.box.engine, KeyboardInterrupt).left = 1
    else:
        folder, left = rig.box.recorder._folder, [where]
        whole = folder.append

        def stopped(*arguments):
            left[0] -= 1
            if left[0] < 0:
                folder.append = whole
                raise KeyboardInterrupt
            whole(*arguments)

        folder.append = stopped
    with pytest.raises(KeyboardInterrupt):
        rig.play(9)
    rig.box.finish()
    demo.save(tmp_path / "demo.cwi")
    (tmp_path / "key").write_text(KEY.hex())
    words = ["--key", str(tmp_path / "key"), "-p", str(tmp_path / "demo.cwi"), "--json"]
    assert cli.run(["verify", str(tmp_path / "log"), *words]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["boots"], told["intact"], told["complete"]) == (2, True, True), told
    again = Rig(image, [], Clock(), kept=Kept(Folder(str(tmp_path / "data")), image.identity))
    assert again.box.engine.state[L.MAX_LEVEL] == 3 and again.box.engine.state[L.FRAMES] > 1000


def test_a_log_that_is_wrong_in_itself_is_left_alone_and_told_until_the_next_start(image, drive):
    rig = Rig(image, drive).play(2)
    rig.log.fails = ValueError("a fault of ours")
    rig.play(1)
    rig.log.fails = None
    rig.play(20)
    assert rig.box.status()["box_hazards"] == ["box_log"] and rig.box.status()["log"] is None
    assert "a fault of ours" in rig.box.status()["box_faults"]["box_log"][1]


def test_a_hazard_of_the_box_is_over_ten_seconds_after_its_last_fault(image, drive):
    rig = Rig(image, drive).play(2)
    rig.out.fails = OSError(28)
    rig.play(1)
    rig.out.fails = None
    rig.play(9)
    assert ("box_output", 0) not in rules_told(rig.out.told) and rig.box.status()["box_hazards"] == ["box_output"]
    rig.play(2)
    assert ("box_output", 0) in rules_told(rig.out.told) and rig.box.status()["box_hazards"] == []
    assert rig.box.status()["box_faults"]["box_output"][1] == "OSError(28)"


def test_a_bus_that_cannot_be_read_is_told_and_scans_go_on(image, drive):
    rig = Rig(image, drive).play(3)
    rig.bus.fails = OSError(19)
    before = rig.box.status()["scans"]
    rig.play(5)
    assert rig.box.status()["scans"] - before == 50
    told = rules_told(rig.out.told)
    assert ("box_bus", 2) in told and "signal_lost" in dict(told)


def test_the_watchdog_is_petted_once_a_scan_and_not_where_the_log_loses_records_in_silence(image, drive):
    rig = Rig(image, drive).play(5)
    assert rig.dog.fed == rig.box.status()["scans"]
    rig.log.lost_frames += 1
    fed = rig.dog.fed
    rig.play(0.1)
    assert rig.dog.fed == fed and rig.box.status()["box_hazards"] == ["box_log"]
    rig.log.lost_frames += 1
    rig.play(0.1)
    assert rig.dog.fed == fed + 1, "the failing log is told; a restart would not mend it"


def test_a_box_that_is_late_is_not_petted_and_says_so(image, drive):
    rig = Rig(image, drive).play(5)
    fed = rig.dog.fed
    rig.clock.pass_time(700)
    rig.box.round()
    assert rig.dog.fed == fed and "box_late" in rig.box.status()["box_hazards"]
    assert 600 <= rig.box.status()["most_late_ms"] <= 700
    rig.play(1)
    assert rig.dog.fed >= fed + 9, "once late is no reason to start anew: a board's watchdog waits for 8 s"
    assert "box_late" in rig.box.status()["box_hazards"], "and is still told"


def test_a_bus_that_never_speaks_is_watched_all_the_same(image):
    rig = Rig(image, []).play(5)
    assert rig.box.status()["scans"] >= 39 and rig.dog.fed == rig.box.status()["scans"]


def test_a_clock_that_is_set_is_told_and_moves_no_scan(image, drive):
    rig = Rig(image, drive).play(7)
    rig.clock.wall_ms += 3_600_000
    scans = rig.box.status()["scans"]
    rig.play(6)
    assert rig.box.status()["scans"] == scans + 60
    assert ("box_clock", 1) in rules_told(rig.out.told)
    assert "3600 s" in rig.box.status()["box_faults"]["box_clock"][1]
    assert len(rig.log.clocks) == 2 and rig.log.clocks[1] - rig.log.clocks[0] > 3600, "the log knows both"


def test_ticks_that_wrap_change_nothing(image, drive):
    plain = Rig(image, drive, Clock(ms=100_000)).play(20).box.status()
    wrapped = Rig(image, drive, Clock(ms=(1 << 30) - 10_000 - 24)).play(20).box.status()  # on the same grid of scans
    for name in ("scans", "frames", "level", "max_level", "events", "box_hazards", "most_late_ms"):
        assert plain[name] == wrapped[name], name


def test_two_buses_read_one_after_the_other_are_no_steps_back_in_time(image, demo, drive):
    class Stamped(Player):
        """Its frames were stamped before the round, as by an interrupt or the kernel."""

        def _read(self, batch, t_ms):
            for n in (7, 3):
                batch.put(batch.ordered(t_ms - n & L.MASK), 0x600, 1, b"12345678", 0, 8)

    rig = Rig(image, drive)
    rig.box.buses.append(Stamped([], rig.clock))
    rig.play(12)
    state = rig.box.engine.state
    assert state[L.TIME_BACKWARD] == 0 and state[L.IGNORED] > 2000 and state[L.FRAMES] > 1000
    assert ("hvil_open", 3) in rules_told(rig.out.told)
    with PythonEngine(demo) as engine:
        engine.feed_records(rig.log.records)
        engine._advance(rig.box.batch.last_ms)
        assert hashlib.sha256(engine.finish()).hexdigest() == rig.box.status()["state_sha256"]


# --- the black box ----------------------------------------------------------------------------------------------------


def test_a_recorded_log_played_as_fast_as_it_can_be_read_is_recorded_whole(demo, tmp_path, capfd):
    data, image, log = tmp_path / "data", tmp_path / "demo.cwi", tmp_path / "drive.log"
    data.mkdir()
    a_log(data / "log", load_image(demo.save(image) or str(image)))
    cli.run(["simulate", "hvil_opens", "-o", str(log)])
    assert linux.run([str(image), "-b", f"replay:{log}", "--data", str(data)], lambda name: None) == 0
    lines = [json.loads(line[2:]) for line in capfd.readouterr().out.splitlines() if line.startswith("# ")]
    assert lines[-1]["box_hazards"] == [] and lines[-1]["frames"] == len(log.read_text().splitlines())
    assert "hvil_open" in [line["rule"] for line in lines if line["event"] == "raise"]
    (tmp_path / "key").write_text(KEY.hex())
    words = ["verify", str(data / "log"), "--key", str(tmp_path / "key"), "-p", str(image), "--json"]
    assert cli.run(words) == 0
    told = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert not [line for line in told if "could not be kept" in json.dumps(line)], told
    last_s = float(log.read_text().splitlines()[-1][1:].split(")")[0])
    first_s = float(log.read_text()[1:].split(")")[0])
    assert told[-1]["replayed_ms"] > 1000 * (last_s - first_s) - 2000, told[-1]


@pytest.mark.parametrize("silent_s", [0, 4])
def test_the_log_of_a_live_box_is_intact_complete_and_follows_from_its_frames(image, demo, drive, tmp_path, silent_s):
    """After a long silence at the start, too: no frame says then when the scans began."""
    rig = Rig(image, drive, recorder=a_log(tmp_path / "log", image))
    rig.bus.begin_ms += 1000 * silent_s
    rig.play(silent_s + 28)
    rig.box.finish()
    told = [event for event in rules_told(rig.out.told)]
    assert ("hvil_open", 3) in told and rig.box.status()["box_hazards"] == []
    demo.save(tmp_path / "demo.cwi")
    (tmp_path / "key").write_text(KEY.hex())
    words = ["verify", str(tmp_path / "log"), "--key", str(tmp_path / "key"), "-p", str(tmp_path / "demo.cwi")]
    assert cli.run(words) == 0


def test_a_start_without_a_frame_leaves_a_log_that_is_intact(image, demo, drive, tmp_path, capsys):
    """Restored, so its scans go on at once, and off again before anything comes."""
    log, folder = a_log(tmp_path / "log", image), tmp_path / "kept"
    folder.mkdir()
    rig = Rig(image, drive, recorder=log, kept=Kept(Folder(str(folder)), image.identity)).play(5)
    rig.box.finish()
    clock = Clock(wall_s=rig.clock.wall_s() + 60)
    Rig(image, [], clock, recorder=log, kept=Kept(Folder(str(folder)), image.identity)).play(0.3).box.finish()
    demo.save(tmp_path / "demo.cwi")
    (tmp_path / "key").write_text(KEY.hex())
    words = ["--key", str(tmp_path / "key"), "-p", str(tmp_path / "demo.cwi"), "--json"]
    cli.run(["verify", str(tmp_path / "log"), *words])
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["boots"], told["intact"], told["complete"], told["faults"]) == (2, True, True, 0)


def test_storage_that_fails_is_told_and_detection_and_watchdog_go_on(image, drive, tmp_path, monkeypatch):
    rig = Rig(image, drive, recorder=a_log(tmp_path / "log", image)).play(3)

    def full(*_):
        raise OSError(28)

    monkeypatch.setattr(Folder, "append", full)
    fed = rig.dog.fed
    rig.play(24)
    assert ("hvil_open", 3) in rules_told(rig.out.told) and ("box_log", 2) in rules_told(rig.out.told)
    assert rig.dog.fed >= fed + 235
    monkeypatch.undo()
    rig.play(25)
    assert "box_log" not in rig.box.status()["box_hazards"] and ("box_log", 0) in rules_told(rig.out.told)


# --- kept over restarts -----------------------------------------------------------------------------------------------


def with_runaway(engine):
    """A latched alarm, as the core sets it."""
    row = engine.params[L.P_RULES_AT] + catalogue.RULES.index("thermal_runaway") * L.RULE_SIZE
    engine.state[row + L.LEVEL_NOW] = 3
    engine.state[row + L.BUSY] = 0b100
    engine.state[L.LEVEL] = engine.state[L.MAX_LEVEL] = 3
    return row


def test_a_latched_alarm_is_back_after_a_power_cut(image, drive, tmp_path):
    folder = Folder(str(tmp_path))
    rig = Rig(image, drive, kept=Kept(folder, image.identity)).play(5)
    row = with_runaway(rig.box.engine)
    rig.box._urgent = True
    rig.play(0.2)
    clock = Clock(ms=77, wall_s=rig.clock.wall_s() + 3)  # ticks begin anew; nothing was said goodbye to
    again = Rig(image, drive, clock, kept=Kept(folder, image.identity))
    assert again.box.status()["restored"] and again.box.engine.state[row + L.LEVEL_NOW] == 3
    again.play(3)
    assert again.box.engine.state[row + L.LEVEL_NOW] == 3 and again.box.status()["level"] == 3
    assert not [e for e in rules_told(again.out.told) if e[0] in ("time_backward", "box_late", "signal_lost")]


def test_a_start_that_takes_a_second_after_a_power_cut_is_no_late_scan(image, drive, tmp_path):
    kept = Kept(Folder(str(tmp_path)), image.identity)
    rig = Rig(image, drive, kept=kept).play(5)
    rig.box._urgent = True
    rig.play(0.2)
    again = Rig(image, drive, Clock(ms=77, wall_s=rig.clock.wall_s() + 3), kept=kept)
    again.clock.pass_time(900)  # tests itself, opens its log
    again.box.begin()
    again.play(3)
    assert again.box.status()["restored"] and again.box.status()["box_faults"] == {}


def test_the_first_state_and_an_alarm_are_kept_at_once_and_the_rest_once_a_minute(image, drive, tmp_path):
    folder = Folder(str(tmp_path))
    rig = Rig(image, drive, kept=Kept(folder, image.identity)).play(2)
    assert folder.names() == ["state0"], "a thief who takes it away is noticed from the first block on"
    rig.box.hazards.failed(H.LOG, rig.clock.ms)
    rig.play(0.2)
    assert folder.names() == ["state0", "state1"]


def loaded(kept, size=8):
    """(time of day, core's clock, state), or None."""
    state = bytearray(size)
    found = kept.load(state)
    return found and (*found, bytes(state))


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "other image"])
def test_a_damaged_file_gives_way_to_the_one_before(tmp_path, damage):
    folder, identity = Folder(str(tmp_path)), bytes(range(32))
    kept = Kept(folder, identity)
    kept.save(100, 1, b"older...")
    kept.save(200, 2, b"newer...")
    path = tmp_path / "state1"
    data = bytearray(path.read_bytes())
    if damage == "cut":
        data = data[:-1]
    elif damage == "bit":
        data[50] ^= 4
    elif damage == "empty":
        data = b""
    path.write_bytes(data)
    if damage == "other image":
        Kept(folder, bytes(32)).save(300, 3, b"other...")  # in place of the older
        assert loaded(Kept(folder, identity)) == (200, 2, b"newer...")
        return
    again = Kept(folder, identity)
    assert loaded(again) == (100, 1, b"older...")
    again.save(300, 3, b"newest..")
    assert loaded(Kept(folder, identity)) == (300, 3, b"newest..")


def test_a_power_cut_at_any_byte_of_keeping_leaves_a_whole_state(tmp_path):
    """Files are written over in place: what was not yet written still has the bytes of two times before."""
    folder, identity = Folder(str(tmp_path)), bytes(range(32))
    kept = Kept(folder, identity)
    for n in (1, 2):
        kept.save(100 * n, n, bytes([n]) * 40)
    before = (tmp_path / "state0").read_bytes()
    kept.save(300, 3, bytes([3]) * 40)
    after = (tmp_path / "state0").read_bytes()
    for cut in range(len(after) + 1):
        (tmp_path / "state0").write_bytes(after[:cut] + before[cut:])
        found = loaded(Kept(folder, identity), 40)
        assert found == (300, 3, bytes([3]) * 40) if cut == len(after) else found[1:] == (2, bytes([2]) * 40), cut


@pytest.fixture
def keyed(tmp_path):
    """A folder for the state, and the keys of a new box."""
    for name in ("data", "log"):
        (tmp_path / name).mkdir()
    keys = FileKeys(Folder(str(tmp_path / "log")))
    keys.provision(KEY)
    return Folder(str(tmp_path / "data")), keys


def sealed(keys, index):
    """The box has sealed and stored `index` blocks."""
    seal = second_reader.sha256(b"cellwarden seal key 1", second_reader.chain_key(KEY, index))
    after = second_reader.chain_key(KEY, index + 1)
    keys.store(keys.load()._replace(index=index, stored=1, key=seal, after=after))


def test_a_kept_state_has_a_tag_that_only_the_boxs_key_makes(keyed):
    folder, keys = keyed
    Kept(folder, bytes(32), keys).save(100, 1, b"latched.")
    written = folder.read("state0")
    key = second_reader.sha256(b"cellwarden kept state 1", second_reader.chain_key(KEY, 256))
    digest = hashlib.sha256(written[:64]).digest()
    assert written[64:128] == digest + hmac.new(key, digest, "sha256").digest() and len(written) == 132
    assert loaded(Kept(folder, bytes(32), keys)) == (100, 1, b"latched.")


def test_who_writes_the_files_without_the_key_takes_no_alarm_away(keyed, tmp_path):
    folder, keys = keyed
    Kept(folder, bytes(32), keys).save(100, 1, b"latched.")
    (tmp_path / "forged").mkdir()
    forged = Folder(str(tmp_path / "forged"))
    other = Kept(forged, bytes(32))
    for _ in range(3):  # a box without a key makes files that are whole, and newer
        other.save(200, 2, b"all well")
    folder.write("state1", forged.read("state0"))
    again = Kept(folder, bytes(32), keys)
    assert loaded(again) == (100, 1, b"latched.") and again.refused == "state1 does not have the box's tag"
    folder.write("state0", forged.read("state0"))
    again = Kept(folder, bytes(32), keys)
    assert loaded(again) is None and again.refused


@pytest.mark.parametrize("damage", [None, bytes(132), b"CWK2" + bytes(128)])
def test_who_takes_the_files_away_is_told_of(keyed, damage):
    folder, keys = keyed
    assert not Kept(folder, bytes(32), keys).refused, "a box that was never on"
    for _ in range(2):
        Kept(folder, bytes(32), keys).save(100, 1, b"latched.")
    sealed(keys, 1)
    assert not Kept(folder, bytes(32), keys).refused
    assert not Kept(folder, bytes(31) + b"2", keys).refused, "another vehicle image, as after an update, begins anew"
    for name in ("state0", "state1"):
        if damage is None:
            folder.remove(name)
        else:
            folder.write(name, damage)
    again = Kept(folder, bytes(32), keys)
    assert loaded(again) is None and again.refused == "no kept state is there, and the log goes on"


def test_a_kept_state_is_good_for_the_blocks_of_its_minute_and_an_old_one_cannot_be_brought_back(keyed):
    """Saved each minute, with a block sealed each second at most; the key of block 256 seals the first states."""
    folder, keys = keyed
    Kept(folder, bytes(32), keys).save(100, 1, b"latched.")
    for index in (0, 60, 127, 255):
        sealed(keys, index)
        assert loaded(Kept(folder, bytes(32), keys)) == (100, 1, b"latched."), index
    sealed(keys, 256)
    assert loaded(Kept(folder, bytes(32), keys)) is None, "a thief of today's key cannot make it, nor can he use it"
    kept = Kept(folder, bytes(32), keys)
    kept.save(200, 2, b"later...")
    sealed(keys, 320)
    kept.save(300, 3, b"latest..")
    sealed(keys, 383)
    assert loaded(Kept(folder, bytes(32), keys)) == (300, 3, b"latest..")


def test_a_state_of_another_box_is_refused_told_and_stands_in_the_log(image, demo, drive, tmp_path, capsys):
    log = a_log(tmp_path / "log", image)
    data = tmp_path / "data"
    data.mkdir()
    rig = Rig(image, drive, recorder=log, kept=Kept(Folder(str(data)), image.identity)).play(1)  # it has no key
    rig.box.finish()
    keys = FileKeys(Folder(str(tmp_path / "log")))
    again = Rig(image, [], Clock(), recorder=log, kept=Kept(Folder(str(data)), image.identity, keys))
    assert not again.box.self_test() and not again.box.restored
    assert "box_keep" in again.box.status()["box_hazards"]
    again.play(3).box.finish()
    assert told_of_security(tmp_path / "log") == ["kept state refused"]


def test_a_refused_image_and_a_self_test_that_failed_stand_in_the_log(image, drive, tmp_path, monkeypatch):
    rig = Rig(image, drive, recorder=a_log(tmp_path / "log", image))
    rig.box.image_refused("demo.cwi: part params.bin does not have its hash")
    monkeypatch.setattr(known_vehicle, "ANSWER", bytes(32))
    assert not rig.box.self_test()
    assert {"box_image", "box_core"} <= set(rig.box.status()["box_hazards"])
    rig.play(3).box.finish()
    assert told_of_security(tmp_path / "log") == ["image refused", "self-test failed"]


def told_of_security(log):
    """The security events in a log of a few small segments."""
    names = [path for path in sorted(log.iterdir()) if path.stem.isdigit() and path.suffix == ".cwb"]
    records = [record for path in names for _, record in second_reader.records_of(path.read_bytes())]
    return [SECURITY_EVENTS[body[21]] for kind, _, _, _, body, _ in records if kind == 11]


def test_a_state_that_cannot_be_kept_is_a_hazard_and_no_more(image, drive, tmp_path):
    kept = Kept(Folder(str(tmp_path)), image.identity)
    rig = Rig(image, drive, kept=kept).play(2)
    kept._folder.path += "/gone"
    rig.box._urgent = True
    rig.play(1)
    assert rig.box.status()["box_hazards"] == ["box_keep"]


# --- the image --------------------------------------------------------------------------------------------------------


def test_the_box_reads_what_the_compiler_wrote(image, demo):
    assert image.identity.hex() == demo.sha256 and image.vehicle == "demo-96s"
    assert image.params == demo.params and image.filters == json.loads(demo.parts["filters.json"])
    assert image.buses == ["can0"] and image.transmit is None


def test_a_folder_of_parts_is_an_image_too(demo, image, tmp_path):
    for name, data in {**demo.parts, "manifest.json": manifest_of(demo, tmp_path)}.items():
        (tmp_path / name).write_bytes(data)
    assert load_image(str(tmp_path)).identity == image.identity


def manifest_of(demo, tmp_path):
    import zipfile

    demo.save(tmp_path / "whole.cwi")
    return zipfile.ZipFile(tmp_path / "whole.cwi").read("manifest.json")


def test_every_damaged_byte_of_an_image_is_refused(demo, tmp_path):
    """Every part's bytes are under a hash; the few of the container that are not change nothing that is run."""
    demo.save(tmp_path / "whole.cwi")
    whole = (tmp_path / "whole.cwi").read_bytes()
    path, good = tmp_path / "bad.cwi", load_image(str(tmp_path / "whole.cwi"))
    for at in range(0, len(whole), 331):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        try:
            found = load_image(str(path))
        except ImageError as error:
            assert str(error).startswith(str(path)) and "\n" not in str(error)
        else:
            assert found.params == good.params and found.filters == good.filters
            assert found.identity == good.identity or b"manifest" in whole[max(0, at - 2000) : at]
    for size in (0, 1, 29, 30, 500, len(whole) // 2):
        path.write_bytes(whole[:size])
        with pytest.raises(ImageError):
            load_image(str(path))


def test_a_corrupted_image_gives_way_to_the_last_good_one_and_the_box_says_so(demo, tmp_path, capfd):
    log = tmp_path / "a.log"
    log.write_text("".join(f"({t / 10:.6f}) can0 186#0000000000000000\n" for t in range(100)))
    image, data = tmp_path / "demo.cwi", tmp_path / "data"
    data.mkdir()
    demo.save(image)
    words = [str(image), "-b", f"replay:{log}", "--data", str(data)]
    assert linux.run(words, lambda name: None) == 0
    assert (data / "good.cwi").read_bytes() == image.read_bytes()
    image.write_bytes(image.read_bytes()[:5000])
    capfd.readouterr()
    assert linux.run(words, lambda name: None) == 0
    lines = [json.loads(line[2:]) for line in capfd.readouterr().out.splitlines()]
    assert lines[-1]["box_hazards"] == ["box_image"] and "demo.cwi" in lines[-1]["box_faults"]["box_image"][1]
    assert "box_image" in [line["rule"] for line in lines if line["event"] == "raise"]
    (data / "good.cwi").unlink()
    assert linux.run(words, lambda name: None) == 2


def test_a_log_that_cannot_be_read_at_the_start_is_told_and_the_box_runs_without(demo, tmp_path, capfd):
    played, image, data = tmp_path / "a.log", tmp_path / "demo.cwi", tmp_path / "data"
    played.write_text("".join(f"({t / 10:.6f}) can0 186#0000000000000000\n" for t in range(100)))
    data.mkdir()
    demo.save(image)
    told = {}
    for name in ("without a key", "no folder", "unreadable"):
        if name == "without a key":
            (data / "log").mkdir()
        elif name == "no folder":
            (data / "log").rmdir()
        else:
            (data / "log").write_text("no folder")
        assert linux.run([str(image), "-b", f"replay:{played}", "--data", str(data)], lambda name: None) == 0
        told[name] = json.loads(capfd.readouterr().out.splitlines()[-1][2:])["box_hazards"]
    assert told == {"without a key": [], "no folder": [], "unreadable": ["box_log"]}


# --- the service ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words, complaint",
    [
        ([], "an IMAGE and at least one -b BUS"),
        (["a.cwi"], "an IMAGE and at least one -b BUS"),
        (["a.cwi", "-b"], "-b wants a word"),
        (["a.cwi", "-b", "can0", "--report", "x"], "x is no number"),
        (["a.cwi", "-b", "can0", "--sleep"], "--sleep wants a word"),
        (["a.cwi", "b.cwi", "-b", "can0"], "unknown word b.cwi"),
        (["nowhere.cwi", "-b", "can0"], "nowhere.cwi: cannot be read"),
        (["IMAGE", "-b", "can0", "-b", "can1"], "the image has 1 buses, 2 were named"),
        (["IMAGE", "-b", "wlan:x"], "wlan:x is no bus"),
        (["IMAGE", "-b", "slcan:/dev/null@x"], "its bit rate is no number"),
        (["IMAGE", "-b", "replay:nowhere.log"], "cannot start"),
        (["IMAGE", "-b", "slcan:/dev/null"], "cannot start"),
    ],
)
def test_bad_usage_is_one_clear_line_and_status_2(demo, tmp_path, capsys, words, complaint):
    demo.save(tmp_path / "demo.cwi")
    words = [str(tmp_path / "demo.cwi") if word == "IMAGE" else word for word in words]
    assert linux.run(words, lambda name: None) == 2
    assert complaint in capsys.readouterr().err.splitlines()[0]


def test_systemd_is_told_that_the_box_is_ready_alive_and_stopping(demo, tmp_path):
    far = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    far.bind(str(tmp_path / "notify"))
    log = tmp_path / "a.log"
    log.write_text("".join(f"({t / 10:.6f}) can0 186#0000000000000000\n" for t in range(30)))
    demo.save(tmp_path / "demo.cwi")
    words = [str(tmp_path / "demo.cwi"), "-b", f"replay:{log}", "--lines", str(tmp_path / "lines")]
    assert linux.run(words, {"NOTIFY_SOCKET": str(tmp_path / "notify")}.get) == 0
    far.setblocking(False)
    heard = []
    while True:
        try:
            heard.append(far.recv(100))
        except BlockingIOError:
            break
    assert heard[0] == b"READY=1" and heard[-1] == b"STOPPING=1"
    assert len(heard) > 2 and set(heard[1:-1]) == {b"WATCHDOG=1"}


def test_a_program_hears_of_events_and_never_holds_up_the_box(tmp_path):
    program = tmp_path / "hook"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$1" >> {tmp_path}/heard\nsleep 30\n')
    program.chmod(0o755)
    hook = linux.Programs(str(program))
    from cellwarden.outputs import Hook

    out = Hook(hook)
    for _ in range(4):
        out.event(array("i", (1, 0, 0, 3, 5, 4400)))
    with pytest.raises(OSError, match="too many"):
        out.event(array("i", (1, 0, 0, 3, 5, 4400)))
    for process in hook._running:
        process.kill()
        process.wait()


def test_a_command_sleeps_for_whole_seconds_and_one_that_fails_says_so(tmp_path):
    linux.Command(f"echo >{tmp_path}/asked")(3_599_001)
    assert (tmp_path / "asked").read_text() == "3600\n"
    with pytest.raises(OSError, match="ends with"):
        linux.Command("false")(1000)


@pytest.mark.parametrize("signal", ["INT", "TERM"])
@pytest.mark.parametrize("command", ["kill -{} $$; :", "sh -c 'kill -{} $$'; exit $?; :"])
def test_who_stops_the_command_that_sleeps_stops_the_box(command, signal):
    """As systemd does, which signals all processes of a unit: the shell, or what it runs."""
    with pytest.raises(KeyboardInterrupt):
        linux.Command(command.format(signal))(1000)
