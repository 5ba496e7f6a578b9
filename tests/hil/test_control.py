"""Operators at the console of a box that judges (docs/device.md): it answers, and judges as if nobody had asked."""

import random
import threading
import time
import zlib

import pytest
from cellwarden.blackbox.folder import Folder
from cellwarden.operator_key import OperatorKey, box_key
from cellwarden_tools import cli
from cellwarden_tools.blackbox.verify import Verification
from cellwarden_tools.compiler.image import compile_profile
from cellwarden_tools.device.line import Running
from cellwarden_tools.device.pull import pull
from cellwarden_tools.errors import InputError
from cellwarden_tools.hil.tester import OperatorWire
from cellwarden_tools.simulator import DEMO_PROFILE

from .conftest import KEY, drive, verdicts

MASTER = bytes(range(32, 64))


@pytest.fixture
def operated(data):
    """The box's folder, with an operator's key."""
    OperatorKey(Folder(str(data))).provision("BOX-7", box_key(MASTER, "BOX-7", 1))
    return data


@pytest.fixture
def latched(tmp_path):
    """The path of an image whose open interlock is latched."""
    (tmp_path / "demo_pack.dbc").write_bytes(DEMO_PROFILE.with_name("demo_pack.dbc").read_bytes())
    text = DEMO_PROFILE.read_text(encoding="utf-8") + "\n[limits.hvil_open]\nlatched = true\n"
    (tmp_path / "latched.toml").write_text(text, encoding="utf-8")
    compile_profile(tmp_path / "latched.toml").image.save(tmp_path / "latched.cwi")
    return tmp_path / "latched.cwi"


def while_it_plays(tester, frames, ask):
    """Play frames at their times; `ask()` again and again meanwhile. Returns how often it was asked."""
    over, asked, failed = threading.Event(), [0], []

    def run():
        try:
            while not over.is_set():
                ask()
                asked[0] += 1
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        tester.play(frames)
    finally:
        over.set()
        thread.join()
    assert not failed, failed[0]
    return asked[0]


@pytest.mark.cw_needs("stamps")
def test_questions_on_a_full_bus_lose_no_frame_and_change_no_verdict(device, image_file, full_bus, said):
    tester = device.start(image_file, "--timed")
    box = Running(OperatorWire(tester))
    asked = while_it_plays(tester, full_bus.frames, lambda: [box.rows("identity"), box.rows("alarms")])
    said(f"asked {asked} times for identity and alarms during 40,000 frames")
    assert asked > 3
    assert tester.wait(lambda: tester.statuses[-1]["frames"] >= len(full_bus.frames), 60)
    assert verdicts(tester) == full_bus.events and tester.statuses[-1]["state_sha256"] == full_bus.digest
    levels = {event["rule"]: event["level"] for event in full_bus.events}
    standing = {rule: level for rule, level in levels.items() if level}
    assert {row[0]: row[1] for row in box.rows("alarms")} == standing


def test_lines_that_are_no_questions_are_as_nothing(device, image_file):
    """Of every kind that noise and strangers make, between the frames of a drive."""
    tester = device.start(image_file)
    noise = random.Random("lines")

    def ask():
        good = b"!%x alarms 0" % noise.randrange(1 << 16)
        bad = bytearray(good + b" %08x" % zlib.crc32(good))
        bad[noise.randrange(1, len(bad))] ^= 1 << noise.randrange(5)
        lines = [bytes(bad), good, b"!", b"!" * 150, b"!7 " + b"\xff" * 100, b"!9 do " + b"0" * 64 + b" start 00000000"]
        for line in lines:
            tester.write(b"\r" + line.replace(b"\r", b".") + b"\r")
        time.sleep(0.02)

    assert while_it_plays(tester, list(drive("healthy_drive", 60, 66)), ask) > 10
    assert not tester.answers
    assert tester.wait(lambda: tester.statuses[-1]["known"] == 1 and tester.statuses[-1]["level"] == 0, 10)
    assert dict(Running(OperatorWire(tester)).rows("identity"))["form"] == 1, "and a question is answered"


def test_without_a_key_it_can_be_read_and_not_changed(device, image_file):
    tester = device.start(image_file)
    assert tester.wait(lambda: tester.statuses, 20)
    box = Running(OperatorWire(tester))
    facts = dict(box.rows("identity"))
    if facts["box"] is not None:
        pytest.skip("this box has an operator's key")
    assert dict(box.rows("status")).keys() == tester.statuses[-1].keys() - {"event"}
    with pytest.raises(InputError, match="given no operator's key"):
        box.do(MASTER, ("start",))


@pytest.mark.cw_needs("stamps", "files", "image")
def test_a_latched_alarm_is_acknowledged_and_the_log_still_proves_every_verdict(device, latched, operated, tmp_path):
    tester = device.start(latched, "--data", str(operated))
    box = Running(OperatorWire(tester))
    try:
        box.ask("nonce")
    except InputError as error:
        pytest.skip(str(error))  # a board that makes no random numbers
    tester.play(drive("hvil_opens", 52, 84))  # open from second 60 to 80
    (row,) = [row for row in box.rows("alarms") if row[0] == "hvil_open"]
    assert (row[1], row[4]) == (3, True), "its cause is gone, and it stands"
    with pytest.raises(InputError, match="wrong key"):
        box.do(KEY, ("acknowledge", "hvil_open", row[5]))
    time.sleep(1.1)  # for which it hears no other key
    assert box.do(MASTER, ("acknowledge", "hvil_open", row[5])) == {"done": "acknowledge"}
    assert tester.wait(lambda: (tester.events[-1]["rule"], tester.events[-1]["level"]) == ("hvil_open", 0), 5)
    assert "hvil_open" not in [row[0] for row in box.rows("alarms")]
    device.stop()
    (tmp_path / "key").write_text(KEY.hex())
    assert cli.run(["verify", str(operated / "log"), "--key", str(tmp_path / "key"), "-p", str(latched)]) == 0


@pytest.mark.cw_needs("stamps", "files", "image")
def test_the_log_is_copied_from_a_driving_box_and_is_proven(device, image_file, data, tmp_path, said):
    tester = device.start(image_file, "--data", str(data))
    box = Running(OperatorWire(tester))
    copied = []

    def ask():
        if tester.statuses and (tester.statuses[-1]["log"] or {}).get("blocks", 0) > len(copied):
            copied.append(pull(box, tmp_path / "copy"))

    while_it_plays(tester, list(drive("hvil_opens", 50, 80)), ask)
    copied.append(pull(box, tmp_path / "copy"))
    said(f"{len(copied)} copies, the last of {copied[-1].bytes} bytes, {copied[-1].fetched} of them new")
    found = Verification(tmp_path / "copy", KEY, copied[-1].anchor)
    assert found.intact and found.complete, found.faults
