"""An acknowledgement is the same on every MicroPython as on CPython: its challenge, its tag, and what it does."""

import runpy
import subprocess
from pathlib import Path

import pytest
from cellwarden.core import catalogue
from cellwarden_tools.engines import cortex_m3 as board
from cellwarden_tools.engines import wasm
from cellwarden_tools.engines.device_files import write_device_files, write_image_files

VECTORS = runpy.run_path(str(Path(__file__).parents[1] / "core" / "test_acknowledge.py"))["RFC_4231"]
RUNAWAY = catalogue.RULES.index("thermal_runaway")
KEY = bytes(range(32))

SCRIPT = f"""
import binascii
import sys
from array import array

from cellwarden.acknowledge import acknowledge, challenge, hmac_sha256
from cellwarden.core import layout as L
from cellwarden.engine import Engine, byte_view


def told(drain, params):
    for key, message in {[(key, data) for key, data, _ in VECTORS]!r}:
        print(binascii.hexlify(hmac_sha256(key, message)).decode())

    class Image:
        pass

    Image.drain, Image.params = drain, params
    engine = Engine(Image)
    engine.advance(0)
    row = L.state_sections(params)["rules"][0] + {RUNAWAY} * L.RULE_SIZE
    engine.state[row + L.BUSY], engine.state[row + L.LEVEL_NOW], engine.state[L.EVENTS] = 4, 3, 70000
    identity = bytes(range(32, 64))
    ask = challenge(engine, {RUNAWAY}, identity)
    print(binascii.hexlify(ask).decode())
    tag = hmac_sha256({KEY!r}, ask)
    print(binascii.hexlify(tag).decode())
    for n, given in enumerate((bytes(32), tag[:-1], tag, tag)):
        print(acknowledge(engine, {KEY!r}, {RUNAWAY}, given, 1000 * n, identity))
        engine.advance(1000 * n + 300)
        print(engine.state[row + L.LEVEL_NOW], engine.state[L.EVENTS], binascii.hexlify(bytes(engine.state)).decode())
    try:
        hmac_sha256(b"", b"")
    except ValueError as error:
        print(error)


def run(folder, stream=None, locked=False):
    with open(folder + "/params.bin", "rb") as file:
        params = array("i", file.read())
    sys.path.insert(0, folder)
    from decoder import drain

    told(drain, params)
"""


@pytest.fixture(scope="module")
def expected(demo):
    """What CPython prints, which tests/core/test_acknowledge.py holds to its promises."""
    lines = []
    names = {"print": lambda *words: lines.append(" ".join(map(str, words)))}
    exec(SCRIPT, names)
    names["told"](demo.drain, demo.params)
    assert lines[len(VECTORS) + 2 :: 2][:4] == ["False", "False", "True", "False"]
    return lines


def here(tmp_path, image, native):
    write_device_files(tmp_path, native)
    write_image_files(image, tmp_path / "image", native)
    return tmp_path


def lines_of(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, **options)
    assert done.returncode == 0, (done.stdout + done.stderr)[-500:]
    return done.stdout.split("\n")[:-1]


@pytest.mark.parametrize("native", [False, True], ids=["bytecode", "viper"])
def test_on_the_unix_port(micropython, demo, tmp_path, expected, native):
    folder = here(tmp_path, demo, native)
    (folder / "script.py").write_text(SCRIPT + "\nrun(sys.argv[1])\n")
    options = {"env": {"MICROPYPATH": str(folder)}}
    assert lines_of([micropython, "-X", "heapsize=4m", folder / "script.py", folder / "image"], **options) == expected


def test_on_a_32_bit_micropython(wasm32, demo, tmp_path, expected):
    folder = here(tmp_path, demo, native=False)
    (folder / "runner.py").write_text(SCRIPT)
    runner = Path(wasm.__file__).with_name("wasm_runner.mjs")
    assert lines_of([wasm.find_node(), runner, wasm.find_wasm(), folder, str(1 << 22)]) == expected


def test_on_a_board(cortex_m3, demo, expected):
    files = board.device_package() | board.image_files(demo)
    files["main.mpy"] = board.compile_mpy("main.py", SCRIPT + '\nrun("/rom")\n')
    assert board.run(board.blob(files)) == expected
