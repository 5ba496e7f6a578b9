"""One log, whoever writes it: CPython and each MicroPython write the same bytes and go on with each other's log."""

import os
import subprocess
from pathlib import Path

import disk
import pytest
import second_reader
import story
from cellwarden.blackbox import form as F
from cellwarden_tools.blackbox.read import opened, pieces
from cellwarden_tools.engines import micropython, wasm
from cellwarden_tools.engines.device_files import write_device_files
from cellwarden_tools.errors import InputError

HERE = Path(__file__).parent
FEW_BYTES = 3000  # of a file at a time, as hexadecimal digits in a line

# runner.py of a port: it lives on in box/, and prints what it reads there and what it leaves there.
SCRIPT = f"""
import binascii
import hashlib
import os
import sys


def run(image, stream=None, locked=False):
    base = image[: -len("/image")]
    sys.path[:] = [base, ".frozen"]
    import story
    from cellwarden.blackbox import form as F
    from cellwarden.blackbox.folder import Folder
    from cellwarden.blackbox.keys import FileKeys

    folder = Folder(base + "/box")
    if not folder.names():
        FileKeys(folder).provision(story.FIRST_KEY)
    for name in folder.names():
        with folder.open(name) as file:
            record = F.next_record(file) if name.endswith(".cwb") else None
            while record:
                digest = binascii.hexlify(hashlib.sha256(record.body).digest()).decode()
                print("R", name, record.type, record.boot, record.sequence, record.t_ms, digest)
                record = F.next_record(file)
    story.two_lives(folder, 8)
    chain = story.start(folder, 7)
    story.live(chain, 3, (1 << 32) - 1500, shutdown=True)
    for name in folder.names():
        data = folder.read(name)
        print("F", name, len(data))
        for at in range(0, len(data), {FEW_BYTES}):
            print("D", name, binascii.hexlify(data[at : at + {FEW_BYTES}]).decode())


if __name__ == "__main__":
    run(sys.argv[1])
"""


def unix():
    program = micropython.find_micropython()
    return lambda folder: [program, "-X", "heapsize=1m", str(folder / "runner.py"), str(folder / "image")]


def wasm32():
    node, package = wasm.find_node(), wasm.find_wasm()
    runner = Path(wasm.__file__).with_name("wasm_runner.mjs")
    return lambda folder: [node, str(runner), str(package), str(folder), "1000000"]


@pytest.fixture(params=[unix, wasm32], ids=["unix 64-bit", "WebAssembly 32-bit"])
def port(request, tmp_path):
    """Let a box live on a port: port({name: bytes}) -> (lines of what it read, {name: bytes} that it left)."""
    try:
        command = request.param()
    except InputError as error:
        pytest.skip(str(error))

    def run(files):
        folder = tmp_path / "device"
        write_device_files(folder, native=False)
        (folder / "runner.py").write_text(SCRIPT)
        (folder / "story.py").write_text((HERE / "story.py").read_text())
        (folder / "box").mkdir()
        for name, data in files.items():
            (folder / "box" / name).write_bytes(data)
        words = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL}
        done = subprocess.run(command(folder), env={**os.environ, "MICROPYPATH": str(folder)}, **words)
        assert done.returncode == 0, (done.stdout + done.stderr)[-600:]
        read, left = [], {}
        for line in done.stdout.splitlines():
            kind, name, *told = line.split()
            if kind == "R":
                read.append((name, *told))
            elif kind == "F":
                left[name] = b""
                size = int(told[0])
            else:
                left[name] += bytes.fromhex(told[0])
                assert len(left[name]) <= size
        return read, left

    return run


def here(on, files):
    """The same on CPython."""
    there = disk.Disk(files)
    story.two_lives(on(there), 8)
    chain = story.start(on(there), 7)
    story.live(chain, 3, (1 << 32) - 1500, shutdown=True)
    return {name: bytes(file.data) for name, file in there.names.items()}


def records_in(path_of):
    """What a port must have read."""
    told = []
    for name in sorted(path_of):
        if name.endswith(".cwb"):
            with opened(path_of[name]) as data:
                for piece in pieces(data):
                    kind, boot, sequence, t_ms, body, _ = piece.record
                    told.append((name, *map(str, (kind, boot, sequence, t_ms)), second_reader.sha256(body).hex()))
    return told


def test_a_port_writes_the_very_bytes_and_the_host_verifies_them(port, on, provisioned, verified):
    _, left = port({})
    assert left == here(on, provisioned)
    seen = verified(left)
    assert seen.intact and seen.complete and not seen.faults and max(seen.boots) == 3


def test_a_port_reads_the_hosts_log_and_goes_on_with_it(port, on, provisioned, verified, tmp_path):
    whole = here(on, provisioned)
    (tmp_path / "whole").mkdir()
    for name, data in whole.items():
        (tmp_path / "whole" / name).write_bytes(data)
    read, left = port(whole)
    assert read == records_in({name: tmp_path / "whole" / name for name in whole})
    assert F.SEAL_TYPE in {int(kind) for _, kind, *_ in read} and len(read) > 20
    seen = verified(left)
    assert seen.intact and seen.complete and not seen.faults and max(seen.boots) == 6
    assert left == here(on, whole)


def test_the_host_goes_on_with_a_ports_log(port, on, verified):
    _, left = port({})
    seen = verified(here(on, left))
    assert seen.intact and seen.complete and not seen.faults and max(seen.boots) == 6
