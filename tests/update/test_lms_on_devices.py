"""A box checks a signature as CPython does, in the time and memory that it has."""

import io
import struct
import subprocess
from pathlib import Path

import pytest
from cellwarden.update.lms import verify
from cellwarden_tools.engines import cortex_m3 as board
from cellwarden_tools.engines import wasm
from cellwarden_tools.engines.device_files import write_device_files
from cellwarden_tools.engines.micropython import find_micropython
from vectors import RFC_LEAVES, rfc_8554, signed

GUEST = Path(__file__).with_name("lms_guest.py")
MESSAGE = b"m" * 3000
UPDATE = 60_000_000  # instructions: what an update's check may take on a Cortex-M3
TWO_LEVELS_OF_WIDTH_4 = 10_000_000  # what updates use
FREE_BYTES = 2048
TICK = 0.625  # of the board's timer, an instruction of 64 ns (tests/bench/cortex_m3.py)

TIMED = """
import micropython
import uctypes

START = 0x21000000
DATA = START + 4 + int.from_bytes(uctypes.bytearray_at(START, 4), "little")


@micropython.viper
def start():
    t = ptr32(0x40000000)
    t[2] = -1
    t[1] = -1
    t[0] = 1


@micropython.viper
def now() -> int:
    t = ptr32(0x40000004)
    return 0 - t[0]


def timed(work):
    start()
    before = now()
    work()
    return now() - before


data = bytes(uctypes.bytearray_at(DATA + 4, int.from_bytes(uctypes.bytearray_at(DATA, 4), "little")))
"""


@pytest.fixture(scope="module")
def examples():
    return [rfc_8554(1), rfc_8554(2), *(signed(1, 5, width, MESSAGE) for width in (1, 2, 4, 8)), signed(2, 10, 4, b"m")]


@pytest.fixture(scope="module")
def expected(examples):
    told = [
        line for key, message, signature in examples for line in (verify(key, io.BytesIO(signature), (message,)), None)
    ]
    assert told[:4] == [RFC_LEAVES[1], None, RFC_LEAVES[2], None]
    return [str(line) for line in told]


def packed(examples):
    return b"".join(struct.pack("<i", len(part)) + part for example in examples for part in example)


def lines_of(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, **options)
    assert done.returncode == 0, (done.stdout + done.stderr)[-500:]
    return done.stdout.splitlines()


def test_on_the_unix_port_with_a_small_heap(found, tmp_path, examples, expected):
    (micropython,) = found(find_micropython)
    write_device_files(tmp_path)
    (tmp_path / "cases").write_bytes(packed(examples))
    options = {"env": {"MICROPYPATH": str(tmp_path)}}
    assert lines_of([micropython, "-X", "heapsize=192k", GUEST, tmp_path], **options) == expected


def test_on_a_32_bit_micropython(found, tmp_path, examples, expected):
    node, package = found(wasm.find_node, wasm.find_wasm)
    write_device_files(tmp_path, native=False)
    (tmp_path / "runner.py").write_text(GUEST.read_text())
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / "cases").write_bytes(packed(examples))
    runner = Path(wasm.__file__).with_name("wasm_runner.mjs")
    assert lines_of([node, runner, package, tmp_path, str(1 << 20)]) == expected


def on_the_board(found, examples, script):
    found(board.find_qemu, board.find_firmware, board.find_mpy_cross)
    files = board.device_package()
    files["main.mpy"] = board.compile_mpy("main.py", GUEST.read_text() + TIMED + script)
    data = packed(examples)
    return board.run(board.blob(files, struct.pack("<i", len(data)) + data), counted=True)


def test_on_a_board(found, examples, expected):
    assert on_the_board(found, examples, "\ntold(data)\n") == expected


def test_what_a_check_takes_on_a_cortex_m3(found):
    examples = [signed(2, 5, 4, MESSAGE), signed(1, 5, 8, MESSAGE)]
    used, narrow = (float(line) * TICK for line in on_the_board(found, examples, "\ntold(data, timed)\n"))
    print(f"two levels of width 4: {used:,.0f} instructions; one level of width 8: {narrow:,.0f}")
    assert used < TWO_LEVELS_OF_WIDTH_4 < UPDATE
    assert narrow < UPDATE


def test_the_memory_that_a_check_takes_on_a_cortex_m3(found):
    script = f"\nfor free in ({FREE_BYTES}, 500):\n    print(enough(*cases(data)[0], free))\n"
    assert on_the_board(found, [signed(2, 5, 4, MESSAGE)], script) == ["True", "False"]
