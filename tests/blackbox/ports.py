"""MicroPython on 64 and on 32 bits, as the black box's tests run a script on them."""

import os
import subprocess
from pathlib import Path

import pytest
from cellwarden_tools.engines import micropython, wasm
from cellwarden_tools.errors import InputError


def unix(folder, heap_bytes):
    program = micropython.find_micropython()
    return [program, "-X", f"heapsize={heap_bytes}", str(folder / "runner.py"), str(folder / "image")]


def wasm32(folder, heap_bytes):
    runner = Path(wasm.__file__).with_name("wasm_runner.mjs")
    return [wasm.find_node(), str(runner), str(wasm.find_wasm()), str(folder), str(heap_bytes)]


def ran(port, folder, heap_bytes):
    """Lines that runner.py of a folder prints on a port; skips the test where the port is not there.

    Raises RuntimeError with its last words where it fails.
    """
    try:
        command = port(folder, heap_bytes)
    except InputError as error:
        pytest.skip(str(error))
    environment = {**os.environ, "MICROPYPATH": str(folder)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise RuntimeError((done.stdout + done.stderr)[-600:])
    return done.stdout.splitlines()
