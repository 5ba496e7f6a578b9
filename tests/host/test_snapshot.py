"""A saved state: a restart forgets nothing, and what is not whole and ours is refused in one line."""

import hashlib
import json
import runpy
from pathlib import Path

import pytest
from cellwarden.core import layout as L
from cellwarden_tools.compiler.image import open_image
from cellwarden_tools.errors import InputError
from cellwarden_tools.snapshot import Snapshot, read_snapshot, write_snapshot

COMMAND = runpy.run_path(str(Path(__file__).with_name("test_cli.py")))
here, say, refused = (COMMAND[name] for name in ("here", "say", "refused"))
objects, lines, DISCHARGED = (COMMAND[name] for name in ("objects", "lines", "DISCHARGED"))
LINES = DISCHARGED.splitlines(
    keepends=True
)  # soc_low rises behind line 200, changes to 2 behind 400, clears behind 700
REPLAY = ("-p", "small.toml", "--json")


def replay(say, *words):
    status, out, err = say("replay", *words, *REPLAY)
    assert (status, err) == (0, "")
    *events, end = objects(out)
    return events, end


@pytest.mark.parametrize("cut", [1, 2, 101, 200, 202, 207, 402, 500, 620, 702, len(LINES) - 1])
def test_a_log_cut_in_two_with_a_saved_state_between_gives_the_events_and_the_state_of_the_whole(say, here, cut):
    (here / "one.log").write_text("".join(LINES[:cut]))
    (here / "two.log").write_text("".join(LINES[cut:]))
    events, whole = replay(say, "low.log", "--state-out", "whole.state")
    first, one = replay(say, "one.log", "--state-out", "cut.state")
    second, two = replay(say, "two.log", "--state-in", "cut.state", "--state-out", "end.state")
    assert first + second == events
    assert [(event["event"], event["level"]) for event in events if event["rule"] == "soc_low"] == [
        ("raise", 1), ("change", 2), ("clear", 0),
    ]  # fmt: skip
    assert two["state_sha256"] == whole["state_sha256"] and two["max_level"] == whole["max_level"] == 2
    assert (here / "end.state").read_bytes() == (here / "whole.state").read_bytes()
    for count in ("frames", "known_frames", "scans", "total"):
        assert one[count] + two[count] == whole[count], count


def test_counts_of_what_was_wrong_are_of_this_log_alone(say, here):
    short = lines(1).replace("(1000.500000) can0 100#4A0000006401", "(1000.500000) can0 100#4A", 1)
    (here / "short.log").write_text(short)
    (here / "fine.log").write_text(lines(1, start=1001))
    assert replay(say, "short.log", "--state-out", "a.state")[1]["malformed"] == 1
    assert replay(say, "fine.log", "--state-in", "a.state")[1]["malformed"] == 0


def test_an_alarm_stays_raised_over_a_restart(say, here):
    (here / "one.log").write_text("".join(LINES[:450]))
    (here / "two.log").write_text("".join(LINES[450:460]))
    replay(say, "one.log", "--state-out", "a.state")
    events, end = replay(say, "two.log", "--state-in", "a.state")
    assert not [event for event in events if event["rule"] == "soc_low"] and end["level"] == end["max_level"] == 2
    assert replay(say, "two.log")[1]["level"] == 0, "without the saved state the alarm has to be raised anew"


def test_the_file_says_what_it_is_of_and_the_same_state_gives_the_same_file(say, here):
    _, end = replay(say, "low.log", "--state-out", "a.state")
    replay(say, "low.log", "--state-out", "b.state")
    data = (here / "a.state").read_bytes()
    assert data == (here / "b.state").read_bytes()
    magic, told, rest = data.split(b"\n", 2)
    state, digest = rest[:-32], rest[-32:]
    assert magic == b"cellwarden state 1" and digest == hashlib.sha256(data[:-32]).digest()
    assert json.loads(told) == {
        "image_sha256": end["image_sha256"], "layout": L.FORMAT, "t_us": 1_044_901_000, "vehicle": "small",
    }  # fmt: skip
    assert hashlib.sha256(state).hexdigest() == end["state_sha256"]


@pytest.fixture
def saved(say, here):
    replay(say, "fine.log", "--state-out", "a.state")
    return here / "a.state"


def test_a_state_cut_off_anywhere_or_with_any_wrong_byte_is_refused_in_one_line(here, saved):
    image, _ = open_image(here / "small.toml")
    data = saved.read_bytes()
    whole = read_snapshot(saved, image)
    assert len(whole.state) == len(data) - data.index(b"}\n") - 2 - 32
    for size in [*range(0, 300), *range(300, len(data), 97), len(data) - 1]:
        saved.write_bytes(data[:size])
        with pytest.raises(
            InputError, match=r"a.state: is (no saved state|a saved state that is cut off or damaged); "
        ):
            read_snapshot(saved, image)
    for at in [*range(0, 300), *range(300, len(data), 97), len(data) - 1]:
        saved.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(
            InputError, match=r"a.state: is (no saved state|a saved state that is cut off or damaged); "
        ):
            read_snapshot(saved, image)
    saved.write_bytes(data + b"\0")
    with pytest.raises(InputError, match="cut off or damaged"):
        read_snapshot(saved, image)
    saved.write_bytes(data)
    assert read_snapshot(saved, image) == whole


def sealed(path, text):
    path.write_bytes(text + hashlib.sha256(text).digest())


def test_a_state_of_another_form_layout_or_image_is_refused_in_one_line(here, saved, refused):
    words = ("replay", "fine.log", "-p", "small.toml", "--state-in", "a.state")
    data = saved.read_bytes()[:-32]
    sealed(saved, data.replace(b"state 1\n", b"state 2\n", 1))
    assert refused(*words) == (
        "cellwarden: a.state: is a saved state of form 2; expected form 1; update cellwarden, or save it again"
    )
    sealed(saved, data.replace(b'"layout": %d' % L.FORMAT, b'"layout": 1', 1))
    assert refused(*words) == (
        f"cellwarden: a.state: is a saved state in layout 1; expected layout {L.FORMAT}; save it again with "
        "this version"
    )
    sealed(saved, data)
    (here / "small.toml").write_text((here / "small.toml").read_text() + "[limits.soc_low]\nlevels = [20, 5, 2]\n")
    line = refused(*words)
    assert "a.state: is a saved state of another image (small, " in line and "; expected small, " in line


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.replace(b"{", b"[", 1),
        lambda data: data.replace(b'"t_us"', b'"t"', 1),
        lambda data: data.replace(b'"t_us": 1002901000', b'"t_us": 1002.901', 1),
        lambda data: data[: data.index(b"{")] + b"7" + data[data.index(b"}\n") + 1 :],
        lambda data: data[:-4],
        lambda data: data + bytes(4),
        lambda data: b"cellwarden state 1\n",
    ],
)
def test_a_state_whose_content_cannot_be_is_refused_in_one_line(saved, refused, spoil):
    data = saved.read_bytes()[:-32]
    assert spoil(data) != data
    sealed(saved, spoil(data))
    line = refused("replay", "fine.log", "-p", "small.toml", "--state-in", "a.state")
    assert "a.state: is a saved state that is cut off or damaged; expected a whole file" in line


def test_mistakes_are_one_line(say, here, refused):
    words = ("replay", "fine.log", "-p", "small.toml")
    assert "none.state: cannot be read (No such file" in refused(*words, "--state-in", "none.state")
    assert "fine.log: is no saved state; expected a file that `replay --state-out` wrote" in refused(
        *words, "--state-in", "fine.log"
    )
    for option in ("--state-in", "--state-out"):
        assert f"{option}: with 2 logs; expected one log" in refused(*words, "low.log", option, "a.state")
    status, _, err = say(*words, "--state-out", "no/a.state")
    assert status == 2 and "no/a.state: cannot be written" in err and err.count("\n") == 1
    assert not list(here.glob("*.state*")) and not list(here.glob(".*"))


def test_a_log_that_is_refused_leaves_the_saved_state_as_it_was(here, saved, refused):
    before = saved.read_bytes()
    (here / "other.log").write_text("(1.0) can0 7E8#01\n")
    refused("replay", "other.log", "-p", "small.toml", "--state-in", "a.state", "--state-out", "a.state")
    assert saved.read_bytes() == before


def test_a_snapshot_reads_back_as_it_was_written(here):
    image, _ = open_image(here / "small.toml")
    size = 4 * max(end for _, end in L.state_sections(image.params).values())
    for t_us in (0, -5, 1_778_450_281_117_003):
        snapshot = Snapshot(bytes(n * 7 & 255 for n in range(size)), t_us)
        write_snapshot(here / "x.state", image, snapshot)
        assert read_snapshot(here / "x.state", image) == snapshot
