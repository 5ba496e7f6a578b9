"""Weeks of a box's life, on a clock that jumps, on MicroPython: no scan is missing, the heap does not grow."""

import os
import subprocess
from pathlib import Path

import pytest
from cellwarden.hazards import LATE
from cellwarden_tools.engines.device_files import write_device_files
from cellwarden_tools.engines.micropython import find_micropython
from cellwarden_tools.errors import InputError

from .conftest import drive

WEEKS = int(os.environ.get("CELLWARDEN_WEEKS", "2"))  # ticks of 30 bits wrap after 12.4 days


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("sleep", ["awake", "sleep"])
def test_weeks_go_by_and_no_scan_is_missing_and_no_heap_grows(image_file, tmp_path, capsys, sleep):
    try:
        micropython = find_micropython()
    except InputError as error:
        pytest.skip(str(error))
    write_device_files(tmp_path)
    with open(tmp_path / "drive.log", "w", encoding="ascii") as file:
        for t_us, can_id, data in drive("healthy_drive", 60, 66):
            number = f"{can_id - (1 << 29):08X}" if can_id >> 29 else f"{can_id:03X}"
            file.write(f"({t_us / 1e6:.6f}) can0 {number}#{data.hex()}\n")
    script = Path(__file__).with_name("weeks.py")
    command = [micropython, "-X", "heapsize=1m", script, image_file, tmp_path / "drive.log", str(WEEKS), sleep]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"MICROPYPATH": str(tmp_path)})
    assert done.returncode == 0, (done.stdout + done.stderr)[-500:]
    with capsys.disabled():
        print(f"\nweek, scans, ms of scans missing, latest ms, live heap, hazards, sleeps:\n{done.stdout}")
    weeks = [[int(word) for word in line.split()] for line in done.stdout.splitlines()]
    assert len(weeks) == WEEKS
    for week, _, missing_ms, _, heap, hazards, sleeps in weeks:
        assert sleeps > 7 * 22 * week if sleep == "sleep" else not sleeps
        assert -100 <= missing_ms <= 1100
        assert hazards in (0, 1 << LATE), "a clock that jumps makes scans late, and nothing else happens"
        assert heap <= 1.02 * weeks[0][4]
    assert weeks[-1][1] >= WEEKS * 7 * 864_000 - 20
