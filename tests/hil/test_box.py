"""Acceptance tests of a running box, the same on every device (docs/box.md)."""

import random
import subprocess
import threading
import time
from itertools import pairwise
from pathlib import Path

import cantools
import pytest
from cellwarden.blackbox.folder import Folder
from cellwarden.blackbox.keys import FileKeys
from cellwarden_tools import cli

from .conftest import desk, drive

DBC = Path(__file__).parents[2] / "dbc" / "cellwarden.dbc"
FIRST_VERDICT_S = 3  # after the power comes back


def at_the_end(tester, frames, seconds=60):
    """The status that speaks of so many frames."""
    found = tester.wait(lambda: tester.statuses and tester.statuses[-1]["frames"] >= frames, seconds)
    last = tester.statuses[-1] if tester.statuses else {}
    assert found, f"{last.get('frames')} of {frames} frames arrived; the box says {tester.other[:5]}"
    return last


def needs_stamps(device):
    if not device.serial:
        pytest.skip("only SLCAN carries the tester's own stamps to the box")


def that_pass(device, image, frames):
    """How many of the frames reach the box: all over its port; over a bus those that the image's filters let pass."""
    known = {can_id for _, _, can_id in image.names["messages"]}
    return len(frames) if device.serial else sum(can_id in known for _, can_id, _ in frames)


def told(tester):
    return [{name: value for name, value in event.items() if name != "event"} for event in tester.events]


def test_forty_thousand_frames_at_the_full_rate_none_lost_and_the_desks_verdicts(device, image_file, full_bus, capsys):
    needs_stamps(device)
    tester = device.start(image_file, "--timed")
    seconds = tester.play(full_bus.frames)
    last = at_the_end(tester, len(full_bus.frames))
    with capsys.disabled():
        rate = len(full_bus.frames) / seconds
        print(f"\n{len(full_bus.frames)} frames in {seconds:.2f} s ({rate:.0f}/s), heap {last['heap_bytes']} bytes")
    assert last["frames"] == len(full_bus.frames) and last["dropped"] == 0
    assert told(tester) == full_bus.events
    assert any(event["rule"] == "hvil_open" for event in full_bus.events), "the story has a verdict to compare"
    assert last["state_sha256"] == full_bus.digest
    assert tester.commands[-3:] == ["S6", "Z1", "L"], "it only listens"


@pytest.mark.parametrize("scenario", ["hard_short_burns", "checksum_wrong", "measuring_board_dies"])
def test_a_fault_of_the_catalogue_played_to_the_box_gives_the_desks_verdicts(device, image, image_file, scenario):
    needs_stamps(device)
    story = desk(image, list(drive(scenario, 0, 150)))
    assert story.events
    tester = device.start(image_file, "--timed")
    tester.play(story.frames, speed=None)
    last = at_the_end(tester, len(story.frames))
    assert told(tester) == story.events and last["state_sha256"] == story.digest


@pytest.mark.cw_expects("dropped")
def test_an_overrun_of_the_adapter_is_reported(device, image_file):
    needs_stamps(device)
    tester = device.start(image_file)
    tester.play(drive(end_s=55))
    tester.flags = 0x08
    assert tester.wait(lambda: any(event["rule"] == "frames_lost" for event in tester.events), 10)
    assert tester.wait(lambda: tester.statuses[-1]["dropped"] == 1, 5)


def test_a_cable_pulled_for_ten_seconds_while_driving_is_told_and_mends_itself(device, image_file):
    tester = device.start(image_file)
    frames = list(drive("healthy_drive", 60, 100))
    tester.play(frames[: 6 * 352])
    assert not [e for e in tester.events if e["level"] >= 2], "all is well before"
    time.sleep(10)
    lost = [e for e in tester.events if e["rule"] == "signal_lost"]
    assert lost and max(e["level"] for e in lost) == 3
    tester.play((t_us, *rest) for t_us, *rest in frames[6 * 352 : 20 * 352])
    assert tester.wait(lambda: tester.statuses[-1]["level"] == 0, 10), "the alarm goes when messages come again"
    assert tester.statuses[-1]["known"] == 1


def test_by_the_boxs_own_clock_its_log_proves_its_verdicts(device, image, image_file, full_bus, tmp_path, capsys):
    """No stamps come with the frames, so only the box knows when they came: what it logged must give what it said."""
    if not device.local:
        pytest.skip("a board's log is fetched by hand")
    data = tmp_path / "data"
    (data / "log").mkdir(parents=True)
    FileKeys(Folder(str(data / "log"))).provision(bytes(range(32)))
    (tmp_path / "key").write_text(bytes(range(32)).hex())
    tester = device.start(image_file, "--data", str(data))
    seconds = tester.play(full_bus.frames)
    count = that_pass(device, image, full_bus.frames)
    last = at_the_end(tester, count)
    with capsys.disabled():
        print(f"\n40000 frames in {seconds:.2f} s, {count} for the box; latest scan {last['most_late_ms']} ms")
    assert last["frames"] == count
    time.sleep(1)
    device.stop()
    last = tester.statuses[-1]
    assert last["log"]["lost_frames"] == last["log"]["lost_records"] == last["log"]["lost_events"] == 0
    assert [event["rule"] for event in tester.events if event["level"] == 3] == ["hvil_open"]
    words = ["verify", str(data / "log"), "--key", str(tmp_path / "key"), "-p", str(image_file)]
    assert cli.run(words) == 0, "the log does not prove what the box said"


def test_after_a_power_cut_the_box_is_back_within_seconds_with_its_memory(device, image_file, tmp_path):
    if not device.local:
        pytest.skip("a board's power is not in this test's hands")
    data = tmp_path / "data"
    data.mkdir()
    tester = device.start(image_file, "--data", str(data), "--report", "0.2")
    tester.play(drive(end_s=63))
    assert tester.wait(lambda: any(e["rule"] == "hvil_open" and e["level"] == 3 for e in tester.events), 5)
    time.sleep(0.3)
    device.cut()
    began = time.monotonic()
    tester = device.start(image_file, "--data", str(data), "--report", "0.2")
    assert tester.wait(lambda: tester.statuses and tester.statuses[-1]["scans"], 10)
    seconds = time.monotonic() - began
    assert tester.statuses[-1]["restored"] and tester.statuses[-1]["max_level"] == 3
    assert seconds < FIRST_VERDICT_S, f"{seconds:.1f} s"
    tester.play(drive(begin_s=63, end_s=66))
    assert tester.wait(lambda: tester.statuses[-1]["level"] == 3, 5), "the interlock is still open"


@pytest.mark.cw_expects("box_late", "box_clock")
def test_power_cuts_at_random_moments_leave_a_log_that_is_whole_and_a_state_that_goes_on(device, image_file, tmp_path):
    if not device.local:
        pytest.skip("a board's power is not in this test's hands")
    data, moments = tmp_path / "data", random.Random("power cuts")
    (data / "log").mkdir(parents=True)
    FileKeys(Folder(str(data / "log"))).provision(bytes(range(32)))
    (tmp_path / "key").write_text(bytes(range(32)).hex())
    frames = list(drive(begin_s=58, end_s=64))
    for boot in range(1, 7):
        tester = device.start(image_file, "--data", str(data), "--report", "0.2")
        assert tester.wait(lambda tester=tester: tester.statuses, 10)
        assert tester.statuses[-1]["log"]["boot"] == boot and tester.statuses[-1]["restored"] == (boot > 1)
        if boot == 1:
            tester.play(frames)  # until the interlock has opened, which is kept at once
            assert tester.wait(lambda tester=tester: tester.statuses[-1]["max_level"] == 3, 5)
            time.sleep(0.5)
        assert tester.statuses[-1]["max_level"] == 3
        tester.play(frames[: moments.randrange(50, 700)])
        device.cut()
    device.start(image_file, "--data", str(data), "--report", "0.2")
    assert device.tester.wait(lambda: device.tester.statuses, 10)
    device.stop()
    words = ["verify", str(data / "log"), "--key", str(tmp_path / "key"), "-p", str(image_file)]
    assert cli.run(words) == 0, "the log is not whole"


@pytest.mark.cw_expects("box_image")
def test_a_corrupted_image_is_refused_and_the_last_good_one_goes_on(device, image_file, tmp_path):
    if not device.local:
        pytest.skip("a board has its own image")
    data = tmp_path / "data"
    data.mkdir()
    device.start(image_file, "--data", str(data), "--report", "0.2")
    assert device.tester.wait(lambda: device.tester.statuses, 10)
    device.cut()
    whole = image_file.read_bytes()
    image_file.write_bytes(whole[:7000] + bytes([whole[7000] ^ 1]) + whole[7001:])
    tester = device.start(image_file, "--data", str(data), "--report", "0.2")
    tester.play(drive(end_s=61.5))
    assert tester.wait(lambda: any(e["rule"] == "hvil_open" for e in tester.events), 5), "it judges all the same"
    assert tester.statuses[-1]["box_hazards"] == ["box_image"]


STATUS, LEVEL_BYTE = 0x188, 3  # demo_pack.dbc: Status, whose two lowest bits there are the BMS's own level
HOLDS_MS, ALLOWED_MS = 200, 150  # of bms_alarm; one scan and 50 ms


def crc8_j1850(data):
    remainder = 0xFF
    for byte in data:
        remainder ^= byte
        for _ in range(8):
            remainder = (remainder << 1 ^ (0x1D if remainder & 0x80 else 0)) & 0xFF
    return remainder ^ 0xFF


def test_from_the_evidence_to_the_alarm_frame_on_the_wire(device, transmitting, capsys):
    """The BMS reports level 2 for 0.6 s, again and again; each time the alarm frame must say so in time."""
    if not device.local:
        pytest.skip("a board has its own image")
    began, healthy = [], list(drive("healthy_drive", 60, 92))

    def frames():
        raised = False
        for t_us, can_id, data in healthy:
            if can_id == STATUS and t_us > 4_000_000:
                phase = t_us % 2_300_000
                if phase < 600_000:
                    data = bytearray(data)
                    data[LEVEL_BYTE] = data[LEVEL_BYTE] & 0xFC | 2
                    data[0] = crc8_j1850(data[1:])
                    if not raised:
                        began.append(time.monotonic())
                    raised, data = True, bytes(data)
                else:
                    raised = False
            yield t_us, can_id, data

    tester = device.start(transmitting)
    tester.play(frames())
    dbc = cantools.database.load_file(DBC)
    told = [(t, dbc.decode_message(can_id, data)) for t, can_id, data in tester.frames]
    rules = [(t, now["bms_alarm"]) for t, now in told if "bms_alarm" in now]
    risen = [t for (_, before), (t, now) in pairwise(rules) if now > before]
    assert len(risen) == len(began) >= 10
    late_ms = sorted(1000 * (t - t0) - HOLDS_MS for t, t0 in zip(risen, began, strict=True))
    with capsys.disabled():
        print(f"\nalarm frame after the evidence and its {HOLDS_MS} ms: {', '.join(f'{ms:.0f}' for ms in late_ms)} ms")
    assert late_ms[0] > 0 and late_ms[len(late_ms) // 2] < ALLOWED_MS
    counters = [now["Counter"] for _, now in told if "Level" in now]
    assert all((b - a) % 16 == 1 for a, b in pairwise(counters)), "a heartbeat is missing"


@pytest.mark.cw_expects("bus_errors")
def test_an_interface_that_goes_down_is_told_and_read_again_when_it_is_back(device, image_file):
    if device.serial:
        pytest.skip("the frames come over a serial port")
    tester = device.start(image_file)
    frames = list(drive("healthy_drive", 60, 70))
    tester.play(frames[:1000])
    subprocess.run(["ip", "link", "set", device.box_channel, "down"], check=True)
    assert tester.wait(lambda: any(e["rule"] == "bus_off" and e["level"] == 2 for e in tester.events), 10)
    scans = tester.statuses[-1]["scans"]
    assert tester.wait(lambda: tester.statuses[-1]["scans"] >= scans + 20, 10), "scans go on"
    subprocess.run(["ip", "link", "set", device.box_channel, "up"], check=True)
    before = tester.statuses[-1]["frames"]
    tester.play(frames[1000:])
    assert tester.wait(lambda: tester.statuses[-1]["frames"] > before + 100, 10)
    assert tester.wait(lambda: any(e["rule"] == "bus_off" and e["level"] == 0 for e in tester.events), 20)


@pytest.mark.cw_expects("dropped", "box_clock", "box_late", "box_log")
def test_what_the_kernels_queue_has_no_room_for_is_counted(device, image_file):
    if device.serial:
        pytest.skip("the frames come over a serial port")
    tester = device.start(image_file)
    frames = list(drive("healthy_drive", 60, 70))
    tester.play(frames[:1000])
    own = [frame for frame in frames if frame[1] == 0x186]
    halted = threading.Thread(target=device.freeze, args=(4,))
    halted.start()
    tester.play((own * 40)[:3000], speed=None)
    halted.join()
    tester.play(frames[1000:2000])
    assert tester.wait(lambda: any(e["rule"] == "frames_lost" for e in tester.events), 10)
    assert tester.wait(lambda: tester.statuses[-1]["dropped"] >= 1, 5), "and the box still stands"
