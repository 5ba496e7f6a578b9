"""The tester itself: what it plays and hears is right, and what must not be fails its judgement."""

import os
import pty
import select
import tty
from types import SimpleNamespace

import can
import pytest
from cellwarden_tools import cli
from cellwarden_tools.compiler.image import compile_profile
from cellwarden_tools.errors import InputError
from cellwarden_tools.hil.devices import make_device
from cellwarden_tools.hil.gateway import archive
from cellwarden_tools.hil.plugin import NEEDS, judge
from cellwarden_tools.hil.tester import CanTester, Tester, line
from cellwarden_tools.simulator import DEMO_PROFILE
from cellwarden_tools.simulator.run import simulate
from cellwarden_tools.ssh import over_ssh

pytest_plugins = ["pytester"]

WELL = {
    "dropped": 0, "bus_errors": 0, "events_lost": 0, "box_faults": {}, "collections": 0, "heap_live_bytes": 0,
    "rounds": 0,
}  # fmt: skip


def box_told(*statuses, other=()):
    return SimpleNamespace(statuses=[WELL | status for status in statuses], other=list(other))


def test_a_box_that_is_well_passes():
    judge(box_told({}, {"collections": 1, "heap_live_bytes": 1000}, {"collections": 2, "heap_live_bytes": 1040}))


@pytest.mark.parametrize(
    "heard, complaint",
    [
        (box_told(), "no status"),
        (box_told({}, {"dropped": 1}), "dropped: 1"),
        (box_told({"bus_errors": 2}), "bus_errors: 2"),
        (box_told({"events_lost": 3}), "events_lost: 3"),
        (box_told({"rounds": 900}, {"rounds": 20}), "started anew"),
        (box_told({"box_faults": {"box_late": [1, "why"]}}), "box_late"),
        (box_told({}, other=[b"Traceback"]), "Traceback"),
        (
            box_told({"collections": 1, "heap_live_bytes": 1000}, {"collections": 5, "heap_live_bytes": 1100}),
            "heap grows",
        ),
    ],
)
def test_what_must_not_be_fails(heard, complaint):
    with pytest.raises(AssertionError, match=complaint):
        judge(heard)


def test_what_a_test_makes_itself_does_not_fail_it():
    judge(box_told({"dropped": 1, "box_faults": {"box_late": [1, ""]}}), {"dropped", "box_late"})


def test_frames_are_written_as_the_protocol_has_them():
    assert line(61_234_567, 0x123, b"\xaa\xbb", False) == b"t1232AABB\r"
    assert line(61_234_567, 0x123, b"", True) == b"t123004D2\r"  # 61,234 ms are 1,234 in the next minute
    assert line(0, 1 << 29 | 0x18FF01, b"\1", False) == b"T0018FF01101\r"


def test_it_answers_a_box_and_tells_its_lines_from_its_frames():
    far, near = pty.openpty()
    tty.setraw(near)
    heard = Tester(far)
    try:
        os.write(near, b'\r\rC\rS6\rZ1\rL\r# {"event": "status", "frames": 7}\r\nF\r')
        os.write(near, b'# {"event": "raise", "rule": "x"}\r\nt6F02C0DE\rwhat\r')
        assert heard.wait(lambda: heard.other, 5)
        assert heard.commands == ["C", "S6", "Z1", "L"] and heard.open.is_set() and heard.stamped
        assert [s["frames"] for s in heard.statuses] == [7] and [e["rule"] for e in heard.events] == ["x"]
        assert [(can_id, data) for _, can_id, data in heard.frames] == [(0x6F0, b"\xc0\xde")]
        assert heard.other == [b"what"]
        answers, said = b"\r\r\r\rF00\rz\r", b""
        while len(said) < len(answers) and select.select((near,), (), (), 5)[0]:
            said += os.read(near, 100)
        assert said == answers
    finally:
        os.close(near)
        heard.close()
        os.close(far)


def test_on_a_bus_it_plays_and_hears_through_any_interface_of_python_can():
    """The virtual one, which python-can itself reads at the other end; a wire would bring them to a box."""
    far, near = pty.openpty()
    with can.Bus(interface="virtual", channel="hil") as box:
        heard = CanTester(far, can.Bus(interface="virtual", channel="hil"))
        try:
            heard.play([(0, 0x186, b"\1\2"), (1000, 1 << 29 | 0x18FF01, b"")])
            frames = [box.recv(5) for _ in range(2)]
            assert [(f.arbitration_id, f.is_extended_id, bytes(f.data)) for f in frames] == [
                (0x186, False, b"\1\2"), (0x18FF01, True, b""),
            ]  # fmt: skip
            box.send(can.Message(arbitration_id=0x6F0, is_extended_id=False, data=b"\xc0\xde"))
            assert heard.wait(lambda: heard.frames, 5) or heard.frames
            assert heard.frames[0][1:] == (0x6F0, b"\xc0\xde")
        finally:
            os.close(near)
            heard.close()
            os.close(far)


NEEDY = """
import pytest

@pytest.mark.cw_needs("{need}")
def test_a(device):
    pass

def test_b():
    pass
"""


@pytest.fixture
def on_a_box(pytester, monkeypatch):
    """on_a_box(text of tests): what comes of them on a box here, with the plugin and no other."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(text):
        pytester.makepyfile(text)
        return pytester.runpytest_inprocess("-p", "cellwarden_tools.hil.plugin", "-rs", "--cw-device", "python")

    return run


@pytest.mark.parametrize("need, came", [("stamps", {"passed": 2}), ("bus", {"passed": 1, "skipped": 1})])
def test_what_a_box_cannot_be_put_to_is_left_out_and_the_reason_is_said(on_a_box, need, came):
    result = on_a_box(NEEDY.format(need=need))
    result.assert_outcomes(**came)
    if "skipped" in came:
        result.stdout.fnmatch_lines([f"*{NEEDS[need]}*"])


def test_a_box_that_lost_a_frame_fails_its_test_after_it_passed(on_a_box, pytester):
    compile_profile(DEMO_PROFILE).image.save(pytester.path / "demo.cwi")
    result = on_a_box(
        """
        import pytest

        def lose(device):
            tester = device.start("demo.cwi")
            tester.flags = 0x08  # the adapter had an overrun
            assert tester.wait(lambda: tester.statuses and tester.statuses[-1]["dropped"] == 1, 10)

        def test_loses(device):
            lose(device)

        @pytest.mark.cw_expects("dropped")
        def test_makes_it_lose(device):
            lose(device)
        """
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*AssertionError: dropped: 1*"])


def test_a_command_for_another_machine_keeps_its_words():
    words = over_ssh("box@gateway", ["sh", "-c", "echo $$ > 'a b'"], terminal=True)
    assert words[0] == "ssh" and "-tt" in words and words[-2] == "box@gateway"
    assert words[-1] == """sh -c 'echo $$ > '"'"'a b'"'"''"""


@pytest.mark.parametrize("gateway", ["OpenSSH"], indirect=True)
def test_a_box_behind_ssh_plays_loses_its_power_and_gives_its_log_back(gateway, demo, tmp_path):
    demo.save(tmp_path / "demo.cwi")
    (tmp_path / "data" / "log").mkdir(parents=True)
    assert cli.run(["keys", "seal", str(tmp_path / "first.key"), "--box", str(tmp_path / "data" / "log")]) == 0
    frames = [(t_us, can_id, data) for t_us, _, can_id, data in simulate("hvil_opens", DEMO_PROFILE, 1, 1.1)]
    words = tmp_path / "demo.cwi", "--data", str(tmp_path / "data"), "--report", "0.2"
    with make_device(f"ssh:{gateway}") as device:
        tester = device.start(*words)
        tester.play(frame for frame in frames if 58_000_000 <= frame[0] < 63_000_000)
        assert tester.wait(lambda: any(e["rule"] == "hvil_open" and e["level"] == 3 for e in tester.events), 10)
        assert tester.wait(lambda: tester.statuses[-1]["log"]["blocks"], 10)
        device.cut()
        tester = device.start(*words)
        assert tester.wait(lambda: tester.statuses, 10)
        assert tester.statuses[-1]["restored"] and tester.statuses[-1]["max_level"] == 3
        assert not (tmp_path / "data" / "state.a").exists(), "its files are there, not here"
        assert device.stop() == 0
    checked = ["verify", str(tmp_path / "data" / "log"), "--key", str(tmp_path / "first.key"), "-p", words[0]]
    assert cli.run(list(map(str, checked))) == 0


def test_an_unknown_device_or_bus_is_refused():
    with pytest.raises(InputError, match="no device `toaster`; expected micropython, python, cortex-m3, ssh:USER@HOST"):
        make_device("toaster")
    with pytest.raises(InputError, match="socketcan:can0@can1"):
        make_device("python", bus="can0")


def test_the_first_disk_is_an_archive_as_the_kernel_reads_it():
    """Fields of linux/Documentation/driver-api/early-userspace/buffer-format: 13 of 8 hexadecimal digits."""
    packed = archive([("a/b", 0o100644, b"hello")])
    assert packed[:6] == b"070701"
    fields = [int(packed[6 + 8 * i : 14 + 8 * i], 16) for i in range(13)]
    assert (fields[1], fields[4], fields[6], fields[11]) == (0o100644, 1, 5, 4)
    assert packed[110:114] == b"a/b\0" and packed[116:121] == b"hello"  # each padded to four bytes
    assert packed[124:130] == b"070701" and b"TRAILER!!!\0" in packed and len(packed) % 4 == 0
