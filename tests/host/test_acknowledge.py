"""`cellwarden acknowledge`: the right tag releases the alarm of a saved state, and nothing else changes it."""

import hashlib
import hmac
import json
import runpy
from pathlib import Path

import pytest
from cellwarden.core import catalogue
from cellwarden.core import layout as L
from cellwarden_tools.compiler.image import open_image
from cellwarden_tools.snapshot import Snapshot, read_snapshot, write_snapshot

COMMAND = runpy.run_path(str(Path(__file__).with_name("test_cli.py")))
here, say, refused = (COMMAND[name] for name in ("here", "say", "refused"))
objects, lines = COMMAND["objects"], COMMAND["lines"]
KEY = hashlib.sha256(b"a key").digest()
RUNAWAY = catalogue.RULES.index("thermal_runaway")
WORDS = ("acknowledge", "a.state", "-p", "small.toml", "--rule", "thermal_runaway", "--key", "key")


@pytest.fixture
def latched(say, here):
    """A folder with a.state, in which thermal runaway is latched though nothing speaks of it any more, and a key."""
    say("replay", "fine.log", "-p", "small.toml", "--state-out", "fine.state")
    (here / "key").write_bytes(KEY)
    image, _ = open_image(here / "small.toml")
    save(here / "a.state", image, events=1)
    return image


def save(path, image, events):
    state = bytearray(read_snapshot(path.with_name("fine.state"), image).state)
    cells = memoryview(state).cast("i")
    row = L.state_sections(image.params)["rules"][0] + RUNAWAY * L.RULE_SIZE
    cells[row + L.BUSY], cells[row + L.LEVEL_NOW], cells[L.EVENTS] = 4, 3, events
    write_snapshot(path, image, Snapshot(bytes(state), 1_002_901_000))


def replay(say, state):
    (Path("more.log")).write_text(lines(2, start=1003))
    _, out, _ = say("replay", "more.log", "-p", "small.toml", "--state-in", state, "--json")
    *events, end = objects(out)
    return [(event["event"], event["rule"]) for event in events], end["level"]


def test_a_latched_alarm_goes_with_its_tag_and_stays_without(say, here, latched):
    assert replay(say, "a.state") == ([], 3), "it cleared by itself"
    status, tag, err = say(*WORDS)
    ask = b"cellwarden acknowledge 1\x20" + bytes.fromhex(latched.sha256) + bytes([0, RUNAWAY, 0, 0, 0, 1])
    assert (status, tag, err) == (0, hmac.digest(KEY, ask, "sha256").hex() + "\n", "")
    status, out, err = say(*WORDS, "--tag", tag.strip(), "-o", "b.state")
    assert (status, out) == (0, "") and "b.state: thermal_runaway is released" in err
    assert replay(say, "b.state") == ([("clear", "thermal_runaway")], 0)
    assert replay(say, "a.state") == ([], 3), "the state that was given is changed"


def test_another_tag_releases_nothing(say, here, latched):
    tag = say(*WORDS)[1].strip()
    save(here / "later.state", latched, events=2)
    (here / "other").write_bytes(hashlib.sha256(b"another key").digest())
    wrong = bytes.fromhex(tag)[:-1] + bytes([bytes.fromhex(tag)[-1] ^ 1])
    for words in (
        (*WORDS, "--tag", wrong.hex()),
        (*WORDS, "--tag", tag[:-2]),
        (*WORDS, "--tag", ""),
        (*WORDS[:-1], "other", "--tag", tag),
        (WORDS[0], "later.state", *WORDS[2:], "--tag", tag),
    ):
        status, out, err = say(*words, "-o", "b.state")
        assert (status, out) == (1, "") and err.count("\n") == 1 and "nothing is released" in err
        assert not (here / "b.state").exists()


def test_what_was_done_is_told_as_one_object(say, here, latched):
    (made,) = objects(say(*WORDS, "--json")[1])
    assert made["rule"] == "thermal_runaway" and made["challenge"].startswith(b"cellwarden acknowledge 1".hex())
    for tag, released in ((made["tag"], True), (made["tag"][2:], False)):
        status, out, _ = say(*WORDS, "--tag", tag, "-o", "b.state", "--json")
        assert (status, json.loads(out)["released"]) == (0 if released else 1, released)


def test_a_key_may_be_bytes_or_digits_and_has_its_length(say, here, latched, refused):
    tag = say(*WORDS)[1]
    for key in (KEY.hex(), KEY.hex().upper() + "\n"):
        (here / "key").write_text(key)
        assert say(*WORDS) == (0, tag, "")
    for key, what in (
        (b"", "key: holds a key of 0 bytes; expected 32 bytes, or 64 hexadecimal digits"),
        (KEY[:31], "key: is no key; expected 32 bytes"),
        (KEY + b"\0", "key: is no key"),
        (KEY[:16].hex().encode(), "key: holds a key of 16 bytes"),
        (KEY.hex().encode() * 2, "key: holds a key of 64 bytes"),
        (b"\xff" * 1000, "key: is no key"),
    ):
        (here / "key").write_bytes(key)
        line = refused(*WORDS)
        assert what in line and KEY[:4].hex() not in line


def test_mistakes_are_one_line(say, here, latched, refused):
    assert "--rule: no rule `thermal_runway`; did you mean `thermal_runaway`?" in refused(
        *[word.replace("thermal_runaway", "thermal_runway") for word in WORDS]
    )
    assert "a.state: no alarm of hvil_open is raised in it" in refused(
        *[word.replace("thermal_runaway", "hvil_open") for word in WORDS]
    )
    assert "fine.state: no alarm of thermal_runaway is raised" in refused(WORDS[0], "fine.state", *WORDS[2:])
    assert "none: cannot be read (No such file" in refused(*WORDS[:-1], "none")
    assert "low.log: is no saved state" in refused(WORDS[0], "low.log", *WORDS[2:])
    assert "--tag: is not hexadecimal" in refused(*WORDS, "--tag", "xyz", "-o", "b.state")
    assert "--tag: stands alone; expected --tag and --output" in refused(*WORDS, "--tag", "00")
    assert "--output: stands alone; expected --tag and --output" in refused(*WORDS, "-o", "b.state")
    assert not (here / "b.state").exists()
