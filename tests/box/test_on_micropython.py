"""The drivers under MicroPython: the same records, and no memory taken while nothing is wrong."""

import os
import pty
import struct
import subprocess
from pathlib import Path

import pytest
from cellwarden_tools.engines.device_files import write_device_files
from cellwarden_tools.engines.micropython import find_micropython
from cellwarden_tools.errors import InputError

HERE = Path(__file__).parent
FRAMES = [(0x100 + n | (1 << 29 if n & 1 else 0), bytes(range(n))) for n in range(9)] * 3


@pytest.fixture(scope="module", params=[False, True], ids=["bytecode", "viper"])
def device(request, tmp_path_factory):
    """(MicroPython, folder with the device package)."""
    try:
        found = find_micropython()
    except InputError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("device")
    write_device_files(folder, request.param)
    return found, folder


def test_every_driver_gives_the_same_records_and_takes_no_memory(device, demo, tmp_path):
    micropython, folder = device
    (tmp_path / "params.bin").write_bytes(demo.parts["params.bin"])
    far, near = pty.openpty()
    command = [micropython, HERE / "on_micropython.py", tmp_path / "params.bin", os.ttyname(near)]
    env = {**os.environ, "MICROPYPATH": f"{folder}:{HERE}"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env) as process:
        said = []
        for line in process.stdout:
            said.append(line.decode())
            if line == b"open\n":
                text = "".join(
                    (f"T{i - (1 << 29):08X}" if i >> 29 else f"t{i:03X}") + f"{len(d)}{d.hex()}\r" for i, d in FRAMES
                )
                os.write(far, b"\r" + text.encode())
    os.close(near)
    os.close(far)
    assert process.returncode == 0, "".join(said)
    found = dict(line.split() for line in said if line != "open\n")
    assert list(found) == ["machine_can", "mcp2515", "slcan"]
    for name, records in found.items():
        got = []
        for record in struct.iter_unpack("=iiBB2x8s", bytes.fromhex(records)):
            got.append((record[1], record[4][: record[3]]))
        assert got == FRAMES, name
