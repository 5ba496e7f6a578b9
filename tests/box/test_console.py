"""A reader that does not read holds up nothing: not a scan, not a frame."""

import errno
import os
import pty
import select
import subprocess
import sys
import tty

import pytest
from cellwarden.console import Console
from cellwarden_tools import cli
from cellwarden_tools.engines.device_files import write_device_files
from cellwarden_tools.engines.micropython import find_micropython
from cellwarden_tools.errors import InputError

LINE = b"%04d" + b"." * 995 + b"\n"


def opened(kind):
    if kind == "pipe":
        return os.pipe()
    far, near = pty.openpty()
    tty.setraw(near)
    return far, near


def read(far, size, console):
    """The next `size` bytes, or what had come when for ten seconds nothing did."""
    got, empty = b"", 0
    while len(got) < size and empty < 1000:
        if select.select([far], [], [], 0.01)[0]:
            got, empty = got + os.read(far, 1 << 16), 0
        else:
            empty += 1
        console.write(b"")
    return got


@pytest.mark.parametrize("kind", ["pipe", "terminal"])
def test_lines_that_nobody_reads_are_refused_and_those_taken_arrive_whole_and_in_order(kind):
    far, near = opened(kind)
    console = Console(near, lambda data: os.write(near, data))
    taken, refused = b"", 0
    for n in range(300):
        try:
            console.write(LINE % n)
            taken += LINE % n
        except OSError as error:  # a terminal makes room once more when its kernel has moved what it was given
            assert error.errno == errno.EAGAIN
            refused += 1
    assert refused > 100, "as much as the stream and its own room take"
    assert read(far, len(taken), console) == taken
    console.write(b"heard again\n")
    assert read(far, 12, console) == b"heard again\n"
    assert not select.select([far], [], [], 0)[0], "and nothing twice"
    os.close(far)
    os.close(near)


def test_a_reader_that_is_gone_is_told_and_nothing_is_kept_for_it():
    far, near = os.pipe()
    console = Console(near, lambda data: os.write(near, data))
    os.close(far)
    for _ in range(3):
        with pytest.raises(BrokenPipeError):
            console.write(LINE % 1)
    os.close(near)


@pytest.mark.parametrize("interpreter", ["python", "micropython"])
def test_a_box_whose_lines_nobody_reads_reads_its_log_to_the_end(interpreter, demo, tmp_path):
    command, paths = [sys.executable], {}
    if interpreter == "micropython":
        try:
            command = [find_micropython(), "-X", "heapsize=2m"]
        except InputError as error:
            pytest.skip(str(error))
        write_device_files(tmp_path / "device")
        paths = {"MICROPYPATH": str(tmp_path / "device")}
    demo.save(tmp_path / "demo.cwi")
    assert cli.run(["simulate", "demo", "-o", str(tmp_path / "demo.log"), "--minutes", "2"]) == 0
    far, near = os.pipe()
    words = ["-m", "cellwarden.linux", tmp_path / "demo.cwi", "-b", f"replay:{tmp_path / 'demo.log'}", "--report", "0"]
    (tmp_path / "data").mkdir()
    done = subprocess.run(
        [*command, *words, "--data", tmp_path / "data"], stdout=near, stderr=subprocess.PIPE, timeout=300,
        env={**os.environ, **paths},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-500:]
    assert len(os.read(far, 1 << 20)) > 50_000, "more was said than the pipe takes"
    os.close(far)
    os.close(near)
