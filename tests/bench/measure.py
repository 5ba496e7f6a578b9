"""Run programs one after the other on one core, in turns, and keep their times. Only the standard library: a child's
peak memory, as the system counts it, begins with that of the process that starts it."""

import json
import os
import shlex
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Program:
    """One thing to be measured, and what came of it.

    words:   its command; the last line it prints may be a JSON object
    frames:  what it handles, where its output does not say
    shown:   how it is called on the page, where `words` holds folders
    told:    the JSON of its last run
    fault:   why it could not be measured, in one line
    """

    name: str
    words: list
    frames: int = 0
    shown: str = ""
    env: dict = field(default_factory=dict)
    wall: list = field(default_factory=list)
    cpu: list = field(default_factory=list)
    inner: list = field(default_factory=list)  # "seconds" of the JSON: what the program itself calls its work
    peak_bytes: int = 0
    told: dict = field(default_factory=dict)
    fault: str = ""

    def run(self, keep=True):
        """One run. Does nothing once it has failed."""
        if self.fault:
            return
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            start = time.perf_counter()
            try:
                process = subprocess.Popen(
                    [str(word) for word in self.words], stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                    env=os.environ | self.env,
                )  # fmt: skip
            except OSError as error:
                self.fault = f"cannot be started ({error.strerror})"
                return
            _, status, used = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - start
            process.returncode = os.waitstatus_to_exitcode(status)
            self.told = last_object(out)
            if process.returncode:
                err.seek(0)
                lines = err.read().decode(errors="replace").strip().splitlines()
                self.fault = (lines or [f"status {process.returncode}"])[-1][:200]
                return
        self.frames = self.told.get("frames", self.frames)
        if keep:
            self.wall.append(seconds)
            self.cpu.append(used.ru_utime + used.ru_stime)
            self.peak_bytes = max(self.peak_bytes, used.ru_maxrss * 1024)
            if "seconds" in self.told:
                self.inner.append(self.told["seconds"])

    @property
    def command(self):
        return self.shown or shlex.join(Path(str(word)).name for word in self.words)

    def rate(self, inner=False, best=False):
        """Frames a second by the median, or the best, of the runs. None if it failed."""
        times = self.inner if inner else self.wall
        if self.fault or not times:
            return None
        return self.frames / (min(times) if best else statistics.median(times))

    def seconds(self, best=False):
        """Of the whole process. None if it failed."""
        if self.fault or not self.wall:
            return None
        return min(self.wall) if best else statistics.median(self.wall)


def last_object(file):
    """The JSON object in the last line of a file that ends in one, else {}."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 65536))
    lines = file.read().decode(errors="replace").strip().splitlines()
    try:
        told = json.loads(lines[-1])
    except (IndexError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def in_turns(programs, runs, warm=1):
    """Run all of them in turns, A B A B, so that what disturbs the machine disturbs all alike. Returns them."""
    for turn in range(-warm, runs):
        for program in programs:
            program.run(keep=turn >= 0)
    return programs


def pin():
    """Bind this process, and so its children, to one core: the last it may use. Returns its number, or None."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return core


def share(programs):
    """CPU time as a part of the time that passed: well under 1 something else had the core meanwhile."""
    wall = sum(sum(program.wall) for program in programs)
    return sum(sum(program.cpu) for program in programs) / wall if wall else None


def warm_files(paths):
    """Read them once, so that all find them in memory alike."""
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            while file.read(1 << 22):
                pass
