"""A life with updates goes the same on every MicroPython as on CPython, and its check fits a Cortex-M3."""

import hashlib
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from boxes import BOARD, VEHICLE, Maker, small_files
from cellwarden_tools import boards
from cellwarden_tools.compiler.image import compile_profile
from cellwarden_tools.engines import cortex_m3 as board
from cellwarden_tools.engines import wasm
from cellwarden_tools.engines.device_files import write_device_files
from cellwarden_tools.engines.micropython import find_micropython
from cellwarden_tools.simulator import DEMO_PROFILE
from cellwarden_tools.update import build
from test_lms_on_devices import TICK, TIMED, UPDATE
from vectors import signed

GUEST = Path(__file__).with_name("slots_guest.py")


@pytest.fixture
def folder(tmp_path):
    """Images for the guest, in tmp_path / "image"."""
    (tmp_path / "image").mkdir()
    maker = Maker(tmp_path / "image")
    for counter in (1, 2, 3, 4):
        path = maker.image(counter, small_files(counter))
    data = bytearray(path.read_bytes())
    data[-1] ^= 16
    path.write_bytes(data)
    manifest = build.check(maker.folder / "2.cwu", maker.key)
    build.write_signed(maker.folder / "2.permit", build.permit_of(manifest, ["older"]), maker.tree)
    (maker.folder / "key.pub").write_bytes(maker.key)
    return tmp_path


# Written down by hand from docs/update.md: which slot runs after each step (0 = a), and the reason where it is refused.
STORY = [
    ("bare", None),
    ("1.cwu (0, 1, 0)", None), ("then", 0),
    ("2.cwu busy", None), ("then", 0),
    ("2.cwu (0, 2, 0)", None), ("then", 1), ("True", None),
    ("4.cwu file", None), ("then", 1),
    ("3.cwu (0, 3, 0)", None), ("then", 0), ("tried", 0), ("tried", 0), ("given up", 1),
    ("3.cwu (0, 3, 0)", None), ("then", 0), ("True False", None),
    ("2.cwu leaf", None), ("then", 0),
    ("2.cwu (0, 2, 0)", None), ("then", 1), ("True", None),
    ("1.cwu leaf", None), ("then", 1),
]  # fmt: skip


def lines_of(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, **options)
    assert done.returncode == 0, (done.stdout + done.stderr)[-500:]
    return done.stdout.splitlines()


@pytest.fixture
def expected(folder, tmp_path_factory):
    """What CPython tells, held to STORY."""
    copy = tmp_path_factory.mktemp("copy")
    for path in (folder / "image").iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    lines = lines_of([sys.executable, GUEST, copy], env=dict(os.environ))
    for line, (start, slot) in zip(lines, STORY, strict=False):
        assert line.startswith(f"{start} {slot} " if start in ("bare", "then", "tried", "given up") else start), line
    assert len(lines) == len(STORY) + 1 and int(lines[-1]) > 100
    return lines


def test_on_the_unix_port(found, folder, expected):
    (micropython,) = found(find_micropython)
    write_device_files(folder, native=False)
    words = [micropython, "-X", "heapsize=192k", GUEST, folder / "image"]
    assert lines_of(words, env={"MICROPYPATH": str(folder)}) == expected


def test_on_a_32_bit_micropython(found, folder, expected):
    node, package = found(wasm.find_node, wasm.find_wasm)
    write_device_files(folder, native=False)
    (folder / "runner.py").write_text(GUEST.read_text())
    runner = Path(wasm.__file__).with_name("wasm_runner.mjs")
    assert lines_of([node, runner, package, folder, str(1 << 20)]) == expected


def test_the_check_of_the_demonstration_fits_a_cortex_m3(found):
    """Signature, manifest and every byte of every file: what stands between an image and its first start."""
    found(board.find_qemu, board.find_firmware, board.find_mpy_cross)
    files = boards.slot_files("mps2_an385", compile_profile(DEMO_PROFILE).image)
    manifest = build.manifest_of(files, BOARD, VEHICLE, "1.0.0", 1, build.runs("armv7m"))
    key, _, signature = signed(2, 5, 4, manifest)
    rom = board.device_package() | {f"a/{path}": data for path, data in files.items()}
    rom |= {"a/manifest": manifest, "a/signature": signature}
    script = f"""
import io
from cellwarden.update import boot, image, lms

key, manifest, signature = {key!r}, {manifest!r}, {signature!r}
gc.collect()
print(timed(lambda: lms.verify(key, io.BytesIO(signature), (manifest,))))
print(timed(lambda: image.Manifest(manifest, ())))
print(timed(lambda: boot.whole("/rom/a", {hashlib.sha256(manifest).digest()!r})))
print(boot.whole("/rom/a", {hashlib.sha256(manifest).digest()!r}))
"""
    timed = TIMED.replace("data = bytes(", "_ = bytes(")
    rom["main.mpy"] = board.compile_mpy("main.py", "import gc\n" + timed + script)
    *ticks, whole = board.run(board.blob(rom, struct.pack("<i", 0)), counted=True)
    counts = [float(line) * TICK for line in ticks]
    size = sum(map(len, files.values()))
    print(
        f"signature {counts[0]:,.0f}, manifest {counts[1]:,.0f}, {size:,} bytes of files {counts[2]:,.0f} instructions"
    )
    assert whole == "True"
    assert sum(counts) < UPDATE
