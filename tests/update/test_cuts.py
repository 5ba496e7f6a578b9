"""The power goes at any write or erase of an update, a trial or a fall-back: old or new runs, whole, never neither."""

import os
import subprocess
from pathlib import Path

import pytest
from boxes import Maker, small_files
from cellwarden_tools import boards
from cellwarden_tools.compiler.image import compile_profile
from cellwarden_tools.engines.device_files import write_device_files
from cellwarden_tools.engines.micropython import find_micropython
from cellwarden_tools.simulator import DEMO_PROFILE
from cellwarden_tools.update import build

WHOLE = os.environ.get("CELLWARDEN_CUTS") == "whole"  # make cuts
HERE = Path(__file__).parent
NOR = HERE.parent / "blackbox"  # the simulated flash


def told(found, tmp_path, erase_block, blocks=96, every=1, stride=0, files=small_files, architecture=None):
    """{part of the story: (operations, cuts, second cuts, times old ran, times new ran)}."""
    (micropython,) = found(find_micropython)
    maker = Maker(tmp_path)
    for counter in (1, 2, 3):
        maker.image(counter, files(counter), built_for=build.runs(architecture))
    (tmp_path / "key.pub").write_bytes(maker.key)
    device = tmp_path / "device"
    write_device_files(device, native=False)
    numbers = map(str, (erase_block, blocks, every, stride))
    words = [micropython, "-X", "heapsize=64m", HERE / "cuts.py", tmp_path, *numbers]
    paths = f"{device}:{NOR}"
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "MICROPYPATH": paths})
    assert done.returncode == 0, (done.stdout + done.stderr)[-800:]
    print(done.stdout)
    rows = [line.rsplit(" ", 5) for line in done.stdout.splitlines()]
    return {name: tuple(map(int, numbers)) for name, *numbers in rows}


@pytest.mark.long(but=["4096"])
@pytest.mark.parametrize("erase_block", [512, 4096])
def test_the_power_goes_at_any_write_or_erase(found, tmp_path, erase_block):
    rows = told(found, tmp_path, erase_block)
    operations, cuts, _, old, _ = rows["install"]
    assert cuts == old == 2 * operations > 100
    for part in ("start", "confirm"):
        assert rows[part][3] == 0, "what was on trial was given up without cause"
    assert rows["fall back"][3] and rows["fall back"][4]


@pytest.mark.long
def test_two_cuts_in_a_row(found, tmp_path):
    rows = told(found, tmp_path, 512, stride=3 if WHOLE else 150)
    assert rows["install"][2] > 500 and rows["fall back"][2] > 100


@pytest.mark.long
def test_an_update_of_the_demonstration_as_a_whole(found, tmp_path):
    vehicle = compile_profile(DEMO_PROFILE).image
    main = "print('version %d')\n"
    rows = told(
        found,
        tmp_path,
        4096,
        256,
        every=3 if WHOLE else 100,
        files=lambda n: boards.slot_files("linux_gateway", vehicle) | boards.compiled({"main.py": main % n}, "x64"),
        architecture="x64",
    )
    assert rows["install"][0] > 2000
