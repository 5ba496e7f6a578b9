"""Measures Cellwarden beside what else there is, all in one run, and writes docs/benchmarks.md.

    python tests/bench/bench.py [--quick] [--only SECTION ...] [-o FILE] [--folder FOLDER]

Everything runs on one core. What is compared runs in turns, A B A B; medians are compared. Needs the extra `bench`;
what is missing on a machine is said on the page. --quick takes short logs, leaves out the 1 GB one, measures once and
writes its page into FOLDER: it only shows that the bench works. --only measures some sections and prints them.
"""

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import measure
import page as pages
from measure import Program, in_turns
from page import megabytes, rate, safe, seconds, yes
from sections import SECTIONS

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
BIN = Path(sys.executable).parent
BIG = 1_000_000_000
RUNS = 3


class Bench:
    """What all sections share.

    folder: of logs and programs; full: not --quick; index: what prepare.py made; found: figures for the first table
    """

    def __init__(self, folder, full):
        self.folder, self.full = folder, full
        self.runs = RUNS if full else 1
        self.frames = 5_000_000 if full else 300_000
        self.slow_frames = 100_000 if full else 20_000  # for rivals of under 0.3 M frames/s
        self.alone_s = 0.3 if full else 0.1
        self.load = os.getloadavg()[0]
        self.index = None
        self.found = {}
        self.programs = []

    def prepare(self):
        big = BIG if self.full and shutil.disk_usage(self.folder).free > 4 * BIG else 0
        words = [sys.executable, HERE / "prepare.py", self.folder, self.frames, big, 4 if self.full else 1]
        if subprocess.run([str(word) for word in words]).returncode:
            sys.exit("bench: what it measures could not be made")
        self.index = json.loads((self.folder / "index.json").read_text())
        logs = self.index["workload"]
        measure.warm_files(log["path"] for kind in ("logs", "short") for log in logs[kind].values())

    def turns(self, programs, runs=None, warm=None):
        """Run them in turns, after one that does not count."""
        programs = list(programs)
        warm = int(self.full) if warm is None else warm
        print(f"  {len(programs)} programs, {runs or self.runs} times each", flush=True)
        self.programs += programs
        return in_turns(programs, runs or self.runs, warm)

    def replay(self, name, path, engine="fast", vehicle=None, channel="can0", env=None):
        """`cellwarden replay` of one log."""
        words = [BIN / "cellwarden", "replay", path, "-p", vehicle or self.index["demo"]["image"]]
        words += ["--engine", engine, "--json"]
        words += ["--channel", f"{channel}=can0"] if channel != "can0" else []
        return Program(name, words, env=env or {})

    def script(self, name, script, *words, env=None):
        """A script beside this one, run by this Python."""
        return Program(name, [sys.executable, HERE / script, *words], env=env or {})


# --- the page's head --------------------------------------------------------------------------------------------------


def figures(found):
    """Rows of the table at the top: what, what is to be reached, what is, yes or no."""

    def at_most(what, most, value, shown=None):
        return what, f"at most {most:,}", shown or (value and f"{value:,.1f}"), yes(value and value <= most)

    def over(what, least, value, shown=None):
        return what, f"over {rate(least)} frames/s", shown or rate(value), yes(value and value > least)

    frame, twin = found.get("frame") or {}, found.get("twin") or {}
    of_frame = {name: frame.get(f"{name}_32") for name in ("own", "as_sent")}
    worst = found.get("worst step")
    rows = [
        at_most("Cortex-M3, instructions a frame, all in, on a full bus", 600, of_frame["own"],
                of_frame["own"] and f"{of_frame['own']:,.0f} where all frames are in use, "
                                    f"{of_frame['as_sent']:,.0f} as the vehicle sends"),
        at_most("Cortex-M3, instructions of the worst step", 25_000, worst, worst and f"{worst:,}"),
        at_most("instructions against the C twin at -O2", 4, max(twin.values()) if twin else None,
                twin and ", ".join(f"{value:.1f} x {name}" for name, value in twin.items())),
    ]  # fmt: skip
    for what, key, least in (
        ("unix MicroPython, viper, same loop", "core MicroPython viper", 3e6),
        ("core in memory, `fast`, all rules", "core fast", 15e6),
    ):
        values = found.get(key)
        shown = values and f"{rate(values[0])} as logged, {rate(values[2])} on a full bus of frames in use"
        rows.append(over(what, least, values and min(values), shown))

    def end_to_end(what, least, wanted, show, format, divisor=1):
        """Reached by the whole process, or once it has started; the log is long, but start-up is not yet nothing."""
        whole, started = (
            found[key] / divisor if divisor and found.get(key) else None for key in (format, f"{format} started")
        )
        shown = whole and show(whole) + (f"; {show(started)} without start-up" if started else "")
        late = whole and whole <= least and started and started > least
        return what, f"over {wanted}", shown, "without start-up" if late else yes(whole and whole > least)

    can = found.get("python-can candump")
    big, second = found.get("big"), found.get("second start")
    return [
        *rows,
        end_to_end("end to end from candump text", 3e6, "3.00 M frames/s", rate, "candump"),
        end_to_end("the same against python-can + cantools", 30, "30 x", "{:.0f} x".format, "candump", can),
        end_to_end("end to end from Parquet", 8e6, "8.00 M frames/s", rate, "parquet"),
        end_to_end("end to end from BLF", 4e6, "4.00 M frames/s", rate, "blf"),
        end_to_end("end to end from MF4", 3e6, "3.00 M frames/s", rate, "mf4"),
        ("peak memory of 1 GB of candump", "under 400 MB", megabytes(big), yes(big and big < 400e6)),
        ("`fast`, second start", "under 0.5 s", seconds(second), yes(second and second < 0.5)),
    ]  # fmt: skip


def head(bench):
    """The page down to the first section."""
    page = pages.Page()
    page.heading("Benchmarks", 1)
    page.say(
        "Generated by `make bench`, not by hand. Everything was measured in one run on one core; what is compared "
        f"ran in turns (A B A B), from files in the page cache. Times and rates are medians of {bench.runs} runs, "
        "start-up included where nothing else is said; ratios are of medians. No time is a gate; the instruction "
        "counts are."
    )
    if not bench.full:
        page.say("**`--quick`: short logs. These figures only show that the bench works.**")
    page.heading("Figures to reach")
    page.table(("what", "reach", "reached", ""), figures(bench.found))
    page.heading("Machine")
    page.listing(machine(bench))
    return page


def machine(bench):
    """Lines that say where, when and with what it was measured."""
    compiler = bench.index["limit"].get("compiler")
    tools = (
        ("C compiler", compiler and pages.first_line(*compiler.split(), "--version")),
        ("QEMU", pages.first_line("qemu-system-arm", "--version")),
        ("GCC for the Cortex-M3", pages.first_line("arm-none-eabi-gcc", "--version")),
        ("Node", pages.first_line("node", "--version")),
    )
    size = pages.memory_bytes()
    lines = [
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC, commit {pages.commit()}",
        f"{pages.processor()}, {os.cpu_count()} cores" + (f", {size / 2**30:.0f} GB" if size else ""),
        ", ".join(pages.versions()),
        "; ".join(f"{name}: {safe(line)}" if line else f"no {name}" for name, line in tools),
    ]
    busy = measure.share(bench.programs)
    if busy is not None:
        quiet = busy > 0.9 and bench.load < 0.5
        lines.append(
            f"what was measured had its core for {busy:.0%} of its time; load of the machine before: {bench.load:.1f}"
            + ("" if quiet else ". **Something else was running: all rates are too low**")
        )
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="short logs: shows that the bench works")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, help="some sections, printed")
    parser.add_argument("-o", "--output", type=Path, help="the page (docs/benchmarks.md; with --quick into FOLDER)")
    parser.add_argument("--folder", type=Path, default=CHECKOUT / "build" / "bench", help="of logs (build/bench)")
    words = parser.parse_args()
    try:
        words.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sys.exit(f"bench: {words.folder}: cannot be made ({error.strerror}); say --folder FOLDER")
    bench = Bench(words.folder.resolve(), not words.quick)
    print("logs, images and programs:", flush=True)
    bench.prepare()
    measure.pin()
    body = pages.Page()
    for name in words.only or SECTIONS:
        print(f"{name}:", flush=True)
        SECTIONS[name](bench, body)
    text = head(bench).text() + "\n" + body.text()
    if words.only and not words.output:
        print(text)
        return
    output = words.output or (words.folder if words.quick else CHECKOUT / "docs") / "benchmarks.md"
    output.write_text(text, encoding="utf-8")
    print(f"written: {output}")


if __name__ == "__main__":
    main()
