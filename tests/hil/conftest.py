"""What is played to a box: a drive with a fault on a bus that is full, and what the desk makes of it."""

import hashlib
import random
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from cellwarden.blackbox.folder import Folder
from cellwarden.blackbox.keys import FileKeys
from cellwarden.core import catalogue
from cellwarden.core import layout as L
from cellwarden_tools import cli
from cellwarden_tools.compiler.image import compile_profile
from cellwarden_tools.engines.python import PythonEngine
from cellwarden_tools.simulator import DEMO_PROFILE
from cellwarden_tools.simulator.run import simulate

KEY = bytes(range(32))
QUICK, HOLDS_MS = ("bms_alarm", "hvil_open"), 100  # rules whose evidence has to hold for so long


class Story(NamedTuple):
    """frames: (t_us, can_id, data); events, digest: what the desk says of them."""

    frames: list
    events: list
    digest: str


@pytest.fixture(scope="session")
def image():
    return compile_profile(DEMO_PROFILE).image


@pytest.fixture
def image_file(image, tmp_path):
    path = tmp_path / "demo.cwi"
    image.save(path)
    return path


@pytest.fixture
def data(tmp_path):
    """The box's folder, and in it a log with its key."""
    path = tmp_path / "data"
    (path / "log").mkdir(parents=True)
    FileKeys(Folder(str(path / "log"))).provision(KEY)
    return path


@pytest.fixture
def proven(data, image_file, tmp_path):
    """proven(): whether `cellwarden verify` finds the log whole, and what the box said to follow from its frames."""
    (tmp_path / "key").write_text(KEY.hex())
    words = ["verify", str(data / "log"), "--key", str(tmp_path / "key"), "-p", str(image_file)]
    return lambda: cli.run(words) == 0


@pytest.fixture
def said(capsys):
    """said(text): a figure for people, in the midst of pytest's own lines."""

    def say(text):
        with capsys.disabled():
            print(f"\n    {text}", end=" ")

    return say


@pytest.fixture
def transmitting(tmp_path):
    """The path of the demonstration pack's image, with leave to send the alarm frames, and with quick rules."""
    (tmp_path / "demo_pack.dbc").write_bytes(Path(DEMO_PROFILE).with_name("demo_pack.dbc").read_bytes())
    text = Path(DEMO_PROFILE).read_text(encoding="utf-8") + '[transmit]\nchannel = "can0"\n'
    for rule in QUICK:
        text += f"[limits.{rule}]\nassert_s = {HOLDS_MS / 1000}\nclear_s = 0\n"
    (tmp_path / "demo_pack.toml").write_text(text)
    compile_profile(tmp_path / "demo_pack.toml").image.save(tmp_path / "transmitting.cwi")
    return tmp_path / "transmitting.cwi"


def desk(image, frames):
    """What the desk's engine says: events as the box tells them, and the state's hash."""
    with PythonEngine(image) as engine:
        for t_us, can_id, data in frames:
            engine.feed(t_us, 0, can_id, data)
        digest = hashlib.sha256(engine.finish()).hexdigest()
        events = [
            {
                "t_ms": e.t_ms & L.MASK, "rule": catalogue.RULES[e.rule], "level": e.level, "before": e.before,
                "where": e.where, "value": None if e.value == L.NA else e.value,
            }
            for e in engine.events
        ]  # fmt: skip
    return Story(frames, events, digest)


def drive(scenario="hvil_opens", begin_s=53, end_s=1e9, minutes=None):
    """Frames of a scenario between two of its seconds; stamps begin at 0."""
    begin_us = int(begin_s * 1e6)
    for t_us, _, can_id, data in simulate(scenario, DEMO_PROFILE, 1, minutes or end_s / 60):
        if t_us >= begin_us:
            yield t_us - begin_us, can_id, data


def verdicts(tester):
    """The events that a box has told, as desk() gives them."""
    return [{name: value for name, value in event.items() if name != "event"} for event in tester.events]


@pytest.fixture
def small_disk():
    """small_disk(folder, kib): a file system of that size over the folder, with the files that are there."""
    made = []

    def make(folder, kib):
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)], check=True)
        made.append(folder)
        for name, content in files.items():
            (folder / name).write_bytes(content)

    yield make
    for folder in made:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="session")
def full_bus(image):
    """40,000 frames on a bus of 500 kbit/s that is full: a frame each 250 us, the vehicle's own among all others."""
    known = {can_id for _, _, can_id in image.names["messages"]}
    others = [can_id for can_id in range(0x400, 0x600) if can_id not in known]
    noise = random.Random("full bus")
    own = drive(end_s=64)
    waiting = next(own)
    frames = []
    for n in range(40_000):
        t_us = 250 * n
        if waiting and waiting[0] <= t_us:
            frames.append((t_us, *waiting[1:]))
            waiting = next(own, None)
        else:
            frames.append((t_us, noise.choice(others), noise.randbytes(8)))
    return desk(image, frames)
