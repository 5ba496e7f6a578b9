"""The box's self-test of its core: right on every machine, and wrong as soon as the core is."""

import importlib.util
import os
import subprocess
from pathlib import Path

import pytest
from cellwarden import known_answer, known_vehicle
from cellwarden.core import catalogue
from cellwarden_tools.engines.device_files import write_device_files
from cellwarden_tools.engines.micropython import find_micropython
from cellwarden_tools.errors import InputError

MAKE = Path(__file__).with_name("known_answer") / "make.py"
RULE = {name: number for number, name in enumerate(catalogue.RULES)}


def test_the_story_ends_as_the_catalogue_says():
    """Each row reckoned by hand: a value of a frame at t is first seen by the scan 100 ms later."""
    digest, events = known_answer.run()
    assert digest == known_vehicle.ANSWER
    over, spread, probe = RULE["cell_overvoltage"], RULE["cell_spread"], RULE["probe_fault"]
    assert events[:3] == [
        (10_900, over, 0, 1, 3, 4400),  # 4.26 V in the frame of 9,800, and a second later
        (11_000, over, 1, 2, 3, 4400),  # 4.28 V in that of 9,900
        (11_400, over, 2, 3, 3, 4400),  # 4.36 V in that of 10,300
    ]
    assert events[3][1:5] == (spread, 0, 1, 3)
    assert [(e[0], e[2], e[3]) for e in events if e[1] == over][3:] == [
        (18_000, 3, 2),  # under 4.32 V in the frame of 12,900: 4.30 V, and five seconds later
        (18_400, 2, 1),  # under 4.25 V: 4.24 V in that of 13,300 (at 4.25 V it is not yet clear of 4.28 V by 30 mV)
        (18_500, 1, 0),
    ]
    assert [e[3] for e in events if e[1] == probe] == [1]


def test_the_file_is_what_its_maker_writes():
    told = importlib.util.spec_from_file_location("make", MAKE)
    make = importlib.util.module_from_spec(told)
    told.loader.exec_module(make)
    assert make.TARGET.read_text() == make.text(known_vehicle.ANSWER)


def test_a_core_that_is_wrong_by_one_is_found(monkeypatch):
    assert known_answer.right()
    params = known_vehicle.params
    changed = type(params)("i", params)
    changed[69] += 1  # a limit
    monkeypatch.setattr(known_vehicle, "params", changed)
    assert not known_answer.right()


@pytest.mark.parametrize("native", [False, True], ids=["bytecode", "viper"])
def test_it_is_right_on_micropython_in_the_heap_of_a_board(tmp_path, native):
    try:
        micropython = find_micropython()
    except InputError as error:
        pytest.skip(str(error))
    write_device_files(tmp_path, native)
    script = "from cellwarden import known_answer\nprint(known_answer.right())\n"
    (tmp_path / "script.py").write_text(script)
    done = subprocess.run(
        [micropython, tmp_path / "script.py"], env=os.environ | {"MICROPYPATH": str(tmp_path)}, capture_output=True
    )
    assert done.stdout == b"True\n", (done.stdout + done.stderr).decode()
