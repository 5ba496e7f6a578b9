"""Acceptance tests of a running box, the same on every device (docs/box.md)."""

import random
import socket
import struct
import subprocess
import threading
import time

import pytest
from cellwarden.core.layout import EXT

from .conftest import drive, verdicts

FIRST_VERDICT_S = 3  # after the power comes back
STORIES_HVIL = 60  # second of its story in which the interlock opens


def at_the_end(tester, frames, seconds=60):
    """The status that speaks of so many frames."""
    found = tester.wait(lambda: tester.statuses and tester.statuses[-1]["frames"] >= frames, seconds)
    last = tester.statuses[-1] if tester.statuses else {}
    assert found, f"{last.get('frames')} of {frames} frames arrived; the box says {tester.other[:5]}"
    return last


def that_pass(device, image, frames):
    """How many of the frames reach the box: all over its port; over a bus those that the image's filters let pass."""
    known = {can_id for _, _, can_id in image.names["messages"]}
    return len(frames) if device and device.serial else sum(can_id in known for _, can_id, _ in frames)


@pytest.mark.cw_needs("stamps")
def test_forty_thousand_frames_at_the_full_rate_none_lost_and_the_desks_verdicts(device, image_file, full_bus, said):
    tester = device.start(image_file, "--timed")
    seconds = tester.play(full_bus.frames)
    last = at_the_end(tester, len(full_bus.frames))
    said(f"{len(full_bus.frames)} frames in {seconds:.2f} s, heap {last['heap_bytes']} bytes")
    assert last["frames"] == len(full_bus.frames) and last["dropped"] == 0
    assert verdicts(tester) == full_bus.events
    assert any(event["rule"] == "hvil_open" for event in full_bus.events), "the story has a verdict to compare"
    assert last["state_sha256"] == full_bus.digest
    assert tester.commands[-3:] == ["S6", "Z1", "L"], "it only listens"


@pytest.mark.cw_needs("stamps")
@pytest.mark.cw_expects("dropped")
def test_an_overrun_of_the_adapter_is_reported(device, image_file):
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


@pytest.mark.cw_needs("image", "files")
def test_by_the_boxs_own_clock_its_log_proves_its_verdicts(device, image, image_file, full_bus, data, proven, said):
    """No stamps come with the frames, so only the box knows when they came: what it logged must give what it said."""
    tester = device.start(image_file, "--data", str(data))
    seconds = tester.play(full_bus.frames)
    count = that_pass(device, image, full_bus.frames)
    last = at_the_end(tester, count)
    said(f"40000 frames in {seconds:.2f} s, {count} for the box; latest scan {last['most_late_ms']} ms")
    assert last["frames"] == count
    time.sleep(1)
    device.stop()
    last = tester.statuses[-1]
    assert last["log"]["lost_records"] == last["log"]["lost_events"] == last["log"]["lost_frames"] == 0
    assert [event["rule"] for event in tester.events if event["level"] == 3] == ["hvil_open"]
    assert proven(), "the log does not prove what the box said"


FLOOD = (0x000, 0x7FF, EXT, EXT | 0x1FFFFFFF)  # of highest and lowest priority; the demonstration pack has none of them
FLOODED = 20  # frames of the flood for each of the vehicle's: twice what 500 kbit/s carry


def test_a_flood_of_unknown_identifiers_takes_nothing_from_the_vehicles_frames(device, image, image_file, said):
    frames = []
    for t_us, can_id, data in drive(begin_s=STORIES_HVIL - 6, end_s=STORIES_HVIL + 3):
        frames += [(t_us, FLOOD[n % len(FLOOD)], data[:8]) for n in range(FLOODED)]
        frames.append((t_us, can_id, data))
    tester = device.start(image_file)
    seconds = tester.play(frames)
    count = that_pass(device, image, frames)
    last = at_the_end(tester, count)
    assert last["frames"] == count and last["known_frames"] == that_pass(None, image, frames)
    said(f"{len(frames)} frames in {seconds:.2f} s, {last['known_frames']} of them the vehicle's")
    assert tester.wait(lambda: [e["rule"] for e in tester.events if e["level"] == 3] == ["hvil_open"], 5)


@pytest.mark.cw_needs("process", "files")
def test_after_a_power_cut_the_box_is_back_within_seconds_with_its_memory(device, image_file, data, said):
    tester = device.start(image_file, "--data", str(data), "--report", "0.2")
    tester.play(drive(end_s=63))
    assert tester.wait(lambda: any(e["rule"] == "hvil_open" and e["level"] == 3 for e in tester.events), 5)
    time.sleep(0.3)
    device.cut()
    began = time.monotonic()
    tester = device.start(image_file, "--data", str(data), "--report", "0.2")
    assert tester.wait(lambda: tester.statuses and tester.statuses[-1]["scans"], 10)
    seconds = time.monotonic() - began
    said(f"the first verdict {seconds:.1f} s after the power came back")
    assert tester.statuses[-1]["restored"] and tester.statuses[-1]["max_level"] == 3
    assert seconds < FIRST_VERDICT_S, f"{seconds:.1f} s"
    tester.play(drive(begin_s=63, end_s=66))
    assert tester.wait(lambda: tester.statuses[-1]["level"] == 3, 5), "the interlock is still open"


@pytest.mark.cw_needs("process", "files")
@pytest.mark.cw_expects("box_late", "box_clock")
def test_power_cuts_at_random_moments_leave_a_log_that_is_whole_and_a_state_that_goes_on(
    device, image_file, data, proven
):
    moments = random.Random("power cuts")
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
    assert proven(), "the log is not whole"


@pytest.mark.cw_needs("process", "files")
@pytest.mark.cw_expects("box_late", "box_clock")
def test_an_alarm_of_a_silent_bus_is_proven_though_the_power_goes_with_it(device, image_file, data, proven):
    frames = list(drive("healthy_drive", 60, 64))
    for seconds in (0.1, 0.6):
        tester = device.start(image_file, "--data", str(data))
        tester.play(frames)
        assert tester.wait(lambda t=tester: any(e["rule"] == "signal_lost" and e["level"] == 3 for e in t.events), 10)
        time.sleep(seconds)
        device.cut()
    device.start(image_file, "--data", str(data), "--report", "0.2")
    assert device.tester.wait(lambda: device.tester.statuses, 10)
    device.stop()
    assert proven(), "an honest box is not believed"


@pytest.mark.cw_needs("image", "process", "files", "last good image")
@pytest.mark.cw_expects("box_image")
def test_a_corrupted_image_is_refused_and_the_last_good_one_goes_on(device, image_file, data):
    device.start(image_file, "--data", str(data), "--report", "0.2")
    assert device.tester.wait(lambda: device.tester.statuses, 10)
    device.cut()
    whole = image_file.read_bytes()
    image_file.write_bytes(whole[:7000] + bytes([whole[7000] ^ 1]) + whole[7001:])
    tester = device.start(image_file, "--data", str(data), "--report", "0.2")
    tester.play(drive(end_s=61.5))
    assert tester.wait(lambda: any(e["rule"] == "hvil_open" for e in tester.events), 5), "it judges all the same"
    assert tester.statuses[-1]["box_hazards"] == ["box_image"]


@pytest.mark.cw_needs("process")
@pytest.mark.cw_expects("box_clock", "box_late")
def test_a_box_that_stood_still_says_so_and_goes_on(device, image_file):
    tester = device.start(image_file)
    frames = list(drive(end_s=STORIES_HVIL + 2))
    tester.play(frames[:1000])
    device.freeze(3)
    tester.play(frames[1000:])
    assert any(e["rule"] == "box_clock" for e in tester.events), "it stood still, and says nothing"
    assert tester.wait(lambda: any(e["rule"] == "hvil_open" and e["level"] == 3 for e in tester.events), 5)


YEARS_S = 10 * 365 * 86_400


@pytest.mark.cw_needs("clock", "files")
@pytest.mark.cw_expects("box_clock")
def test_a_time_of_day_that_is_set_is_told_and_detection_and_log_go_on(device, image_file, data, proven):
    tester = device.start(image_file, "--data", str(data))
    right_s = time.time() - time.monotonic()
    playing = threading.Thread(target=tester.play, args=(list(drive(begin_s=10, end_s=STORIES_HVIL + 3)),))
    try:
        playing.start()
        for number, away_s in enumerate((3600, 0, -3600, YEARS_S, 0), 1):
            time.sleep(6)
            time.clock_settime(time.CLOCK_REALTIME, right_s + time.monotonic() + away_s)
            assert tester.wait(lambda n=number: tester.statuses[-1]["box_faults"].get("box_clock", [0])[0] >= n, 15)
        playing.join()
    finally:
        time.clock_settime(time.CLOCK_REALTIME, right_s + time.monotonic())
    assert tester.wait(lambda: any(e["rule"] == "hvil_open" and e["level"] == 3 for e in tester.events), 5)
    own = {e["rule"] for e in tester.events} - {"box_clock"}
    assert own == {"hvil_open"}, "nothing else is seen in a clock that was set"
    device.stop()
    assert proven(), "the log is not whole"


SMALL_KIB = 32  # less than the log's first half minute


@pytest.mark.cw_needs("image", "files", "disk")
@pytest.mark.cw_expects("box_log")
def test_a_full_disk_under_the_log_is_told_and_detection_goes_on(device, image_file, data, small_disk):
    small_disk(data / "log", SMALL_KIB)
    tester = device.start(image_file, "--data", str(data))
    tester.play(drive(begin_s=30, end_s=STORIES_HVIL + 2))
    assert any(e["rule"] == "box_log" for e in tester.events), "the disk is full, and nobody was told"
    last = tester.statuses[-1]
    assert last["box_hazards"] == ["box_log"] and last["pets"] > 250, "it goes on, and the watchdog sees it"
    assert any(e["rule"] == "hvil_open" and e["level"] == 3 for e in tester.events), "it judges all the same"


BUS_OFF, RESTARTED, OVERFLOW = (0x040, 0), (0x100, 0), (0x004, 0x01)  # class, data[1]: linux/can/error.h


def error_frame(interface, kind):
    """An error frame from the box's own interface, as its driver makes them: QEMU's wire cannot be shorted."""
    error, controller = kind
    with socket.socket(socket.AF_CAN, socket.SOCK_RAW, socket.CAN_RAW) as own:
        own.bind((interface,))
        own.send(struct.pack("=IB3x8s", socket.CAN_ERR_FLAG | error, 8, bytes((0, controller))))


@pytest.mark.cw_needs("bus")
@pytest.mark.cw_expects("bus_errors", "dropped")
def test_bus_off_and_an_overrun_of_the_controller_are_told_and_the_bus_recovers(device, image_file):
    tester = device.start(image_file)
    frames = list(drive("healthy_drive", 60, 75))

    def told(rule, level):
        return tester.wait(lambda: any(e["rule"] == rule and e["level"] == level for e in tester.events), 12)

    tester.play(frames[:1000])
    error_frame(device.box_channel, OVERFLOW)
    assert told("frames_lost", 1) and tester.wait(lambda: tester.statuses[-1]["dropped"] == 1, 5)
    error_frame(device.box_channel, BUS_OFF)  # and nothing comes any more, as from a bus that is off
    assert told("bus_off", 2)
    assert tester.wait(lambda: tester.statuses[-1]["bus_states"] == [3], 5)
    error_frame(device.box_channel, RESTARTED)
    tester.play(frames[1000:])
    assert told("bus_off", 0), "it is back"
    assert tester.statuses[-1]["bus_states"] == [0]


@pytest.mark.cw_needs("bus")
@pytest.mark.cw_expects("bus_errors")
def test_an_interface_that_goes_down_is_told_and_read_again_when_it_is_back(device, image_file):
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


@pytest.mark.cw_needs("bus")
@pytest.mark.cw_expects("dropped", "box_clock", "box_late", "box_log")
def test_what_the_kernels_queue_has_no_room_for_is_counted(device, image_file):
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
