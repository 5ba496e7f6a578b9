"""The recorder on MicroPython, 64-bit and 32-bit: nothing from the heap while frames are judged, and the same bytes."""

import json
import os
import shutil
import subprocess
from array import array
from pathlib import Path

import pytest
from cellwarden_tools.compiler.image import compile_profile
from cellwarden_tools.engines import micropython, wasm
from cellwarden_tools.engines.device_files import write_device_files, write_image_files
from cellwarden_tools.errors import InputError
from cellwarden_tools.simulator import DEMO_PROFILE
from cellwarden_tools.simulator.run import simulate
from recorded import Replayed, verified

HERE = Path(__file__).parent


def unix():
    program = micropython.find_micropython()
    return lambda folder: [program, "-X", "heapsize=2m", str(folder / "runner.py"), str(folder / "image")]


def wasm32():
    node, package = wasm.find_node(), wasm.find_wasm()
    runner = Path(wasm.__file__).with_name("wasm_runner.mjs")
    return lambda folder: [node, str(runner), str(package), str(folder), "2000000"]


PORTS = {"unix viper": (unix, True), "unix bytecode": (unix, False), "WebAssembly 32-bit": (wasm32, False)}


@pytest.fixture(scope="module")
def demo():
    return compile_profile(DEMO_PROFILE).image


@pytest.fixture(scope="module")
def plan():
    """(records of the core's ring, counts of them): a minute and a half, a cell collapses, silence."""
    return planned("demo")


def planned(scenario):
    records, counts, last_ms = bytearray(), [], None
    for t_us, _, can_id, data in simulate(scenario, DEMO_PROFILE, 1, 1.6):
        t_ms = t_us // 1000
        records += array("i", [t_ms, can_id]).tobytes() + bytes([0, len(data), 0, 0]) + data.ljust(8, b"\0")
        if last_ms is None or t_ms >= last_ms + 50 or counts[-1] == 64:
            counts.append(0)
            last_ms = t_ms
        counts[-1] += 1
    return bytes(records), counts + [-5000] * 4


def live(port, folder, image, plan, box=None, poison=None):
    """A box lives on a port; box: {name: bytes} that it finds. Returns ({name: bytes} that it leaves, its events)."""
    make, native = PORTS[port]
    try:
        command = make()
    except InputError as error:
        pytest.skip(str(error))
    shutil.rmtree(folder, ignore_errors=True)
    write_device_files(folder, native)
    write_image_files(image, folder / "image", native)
    (folder / "box").mkdir()
    for name, data in (box or {}).items():
        (folder / "box" / name).write_bytes(data)
    (folder / "image" / "frames.bin").write_bytes(plan[0])
    (folder / "image" / "plan.bin").write_bytes(array("i", plan[1]).tobytes())
    shutil.copy(HERE / "guest.py", folder / "runner.py")
    shutil.copy(HERE / "story.py", folder)
    if poison:
        path = folder / "cellwarden" / "blackbox" / "recorder.py"
        assert path.read_text().count(poison[0]) == 1
        path.write_text(path.read_text().replace(*poison))
    words = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL}
    done = subprocess.run(command(folder), env={**os.environ, "MICROPYPATH": str(folder)}, **words)
    if done.returncode:
        raise RuntimeError((done.stdout + done.stderr)[-600:])
    left, events, size = {}, [], {}
    for line in done.stdout.splitlines():
        kind, *told = line.split()
        if kind == "E":
            events.append(tuple(map(int, told)))
        elif kind == "L":
            assert told == ["0"], "frames were lost"
        elif kind == "F":
            left[told[0]], size[told[0]] = b"", int(told[1])
        else:
            left[told[0]] += bytes.fromhex(told[1])
    assert {name: len(data) for name, data in left.items()} == size
    return left, events


def looked_at(left, folder, image):
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for name, data in left.items():
        (folder / name).write_bytes(data)
    return Replayed(verified(folder), image)


@pytest.mark.parametrize("port", PORTS)
def test_with_the_heap_locked_it_records_what_the_host_replays(port, tmp_path, demo, plan):
    left, events = live(port, tmp_path / "device", demo, plan)
    replayed = looked_at(left, tmp_path / "log", demo)
    assert replayed.frames == len(plan[0]) // 20 and replayed.checks >= 1
    assert replayed.events == events[: len(replayed.events)] != []


def test_all_ports_write_the_same_bytes(tmp_path, demo, plan):
    logs = [live(port, tmp_path / "device", demo, plan)[0] for port in PORTS]
    assert logs[0] == logs[1] == logs[2]


def test_one_port_goes_on_where_another_was(tmp_path, demo, plan):
    first, _ = live("unix viper", tmp_path / "device", demo, plan)
    second, _ = live("WebAssembly 32-bit", tmp_path / "device", demo, plan, first)
    third, events = live("unix bytecode", tmp_path / "device", demo, plan, second)
    assert max(verified_boots(third, tmp_path)) == 3 and events


def verified_boots(left, tmp_path):
    folder = tmp_path / "whole"
    folder.mkdir()
    for name, data in left.items():
        (folder / name).write_bytes(data)
    return verified(folder).boots


@pytest.mark.parametrize("port", PORTS)
def test_a_recorder_that_makes_a_list_for_a_frame_is_caught(port, tmp_path, demo, plan):
    poison = (
        "        p = self._packer\n        while not self._blind:\n",
        "        p = self._packer\n        waste = [n]\n        while not self._blind:\n",
    )
    with pytest.raises(RuntimeError, match="MemoryError"):
        live(port, tmp_path / "device", demo, plan, poison=poison)


def test_on_a_flash_no_scan_is_late_and_the_writer_is_small(tmp_path, demo):
    """littlefs on a simulated NOR flash of 16 MiB, whose time is simulated, too; an alarm comes."""
    try:
        program = micropython.find_micropython()
    except InputError as error:
        pytest.skip(str(error))
    write_device_files(tmp_path)
    write_image_files(demo, tmp_path / "image")
    (tmp_path / "image" / "frames.bin").write_bytes(planned("hard_short_burns")[0])
    shutil.copy(HERE / "story.py", tmp_path)
    words = [program, "-X", "heapsize=64m", HERE / "guest_figures.py", "flash", tmp_path, "95", "45"]
    environment = {**os.environ, "MICROPYPATH": str(tmp_path)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert told["level"] >= 2 and told["scans"] == 950 and told["erases"] > 50
    assert told["most_late_ms"] <= 2 and told["late_over_2ms"] == 0
    assert told["lost"] == 0 and told["hazards"] == []
    assert 10_000 < told["writer_bytes"] < 16_384
