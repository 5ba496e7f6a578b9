"""The power goes at any write or erase of a flash under MicroPython's own littlefs: nothing sealed is lost."""

import os
import struct
import subprocess
from pathlib import Path

import pytest
from cellwarden_tools.engines.device_files import write_device_files
from cellwarden_tools.engines.micropython import find_micropython
from cellwarden_tools.errors import InputError

HERE = Path(__file__).parent
WHOLE = os.environ.get("CELLWARDEN_CUTS") == "whole"  # make cuts


def cuts(tmp_path, erase_block, seals, every, stride):
    """({index: (operation, tag)} said to be durable, [(cuts, operation, {name: content})])."""
    try:
        micropython = find_micropython()
    except InputError as error:
        pytest.skip(str(error))
    write_device_files(tmp_path, native=False)
    paths = f"{tmp_path}:{HERE}"
    words = [
        micropython,
        "-X",
        "heapsize=32m",
        HERE / "nor.py",
        tmp_path / "out",
        *map(str, (erase_block, seals, every, stride)),
    ]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "MICROPYPATH": paths})
    assert done.returncode == 0, (done.stdout + done.stderr)[-500:]
    lines = [line.split() for line in done.stdout.splitlines()]
    sealed = {int(index): (int(operation), bytes.fromhex(tag)) for _, operation, index, tag in lines[:-1]}
    assert len(sealed) == seals + 3
    return sealed, found_in((tmp_path / "out").read_bytes())


def found_in(data):
    found, at = [], 0

    def number():
        nonlocal at
        at += 4
        return struct.unpack_from("<i", data, at - 4)[0]

    def string():
        nonlocal at
        length = number()
        at += length
        return data[at - length : at]

    while at < len(data):
        cut, operation, files = number(), number(), number()
        found.append((cut, operation, {string().decode(): string() for _ in range(files)}))
    return found


def holds(sealed, found, verified):
    tags = lost = 0
    for cut, operation, files in found:
        seen = verified(files)
        assert seen.intact and seen.complete, (operation, seen.faults[:3])
        lost_here = sum(gone.last - gone.first + 1 for gone in seen.lost)
        assert lost_here <= cut, (operation, seen.lost)
        for index, (since, tag) in sealed.items():
            if since <= operation and seen.first.index <= index:
                assert seen.tags[index] == tag, f"block {index} was durable and is gone or another"
                tags += 1
        lost += lost_here
    return (
        f"{len(found)} cuts, {tags} times a block that had to be there was, {lost} blocks lost that were being stored"
    )


@pytest.mark.parametrize("erase_block", [512, 4096])
def test_the_power_goes_at_any_write_or_erase(tmp_path, verified, erase_block):
    sealed, found = cuts(tmp_path, erase_block, 45, 1 if WHOLE else 11, 0)
    print(holds(sealed, found, verified))
    assert len(found) > (2000 if WHOLE else 150)


def test_two_cuts_in_a_row(tmp_path, verified):
    sealed, found = cuts(tmp_path, 512, 12, 1 if WHOLE else 13, 9 if WHOLE else 29)
    print(holds(sealed, found, verified))
    assert len(found) > (6000 if WHOLE else 120)
