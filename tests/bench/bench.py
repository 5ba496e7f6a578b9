"""Measures Cellwarden beside what else there is, all in one run, and writes docs/benchmarks.md.

    python tests/bench/bench.py [--quick] [--only SECTION ...] [-o FILE] [--folder FOLDER]

Everything runs on one core. What is compared runs in turns, A B A B; medians are compared. Needs the extras `test` and
`bench`; what is missing on a machine is said on the page. --quick takes short logs and leaves out the 1 GB one: its
figures show that the bench works. --only measures some sections and prints them.
"""

import argparse
import datetime
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import measure
import page as pages
from measure import Program, in_turns
from page import megabytes, rate, ratio, safe, seconds, yes

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
BIN = Path(sys.executable).parent
CELLWARDEN = BIN / "cellwarden"
CHANNEL = {"candump": "can0", "savvycan": "0", "asc": "1", "blf": "1", "mf4": "0", "parquet": "can0"}
FORMATS = {
    "candump": "candump text", "savvycan": "SavvyCAN CSV", "asc": "Vector ASC", "blf": "Vector BLF", "mf4": "ASAM MF4",
    "parquet": "our Parquet",
}  # fmt: skip
BIG = 1_000_000_000
CORPUS = (("bolt-bicm-cc0/12_can_log_bms_bus_60s_raw.csv.xz", "bolt"), ("bmw-i3/2014i3_AC_start_PT_CAN.csv.xz", "i3"))


class Bench:
    """What all sections share. full: not --quick; runs: of each program; index: of prepare.py."""

    def __init__(self, folder, full, core):
        self.folder, self.full, self.core = folder, full, core
        self.runs = 5
        self.frames = 5_000_000 if full else 500_000
        self.slow_frames = 200_000 if full else 50_000  # for readers of under 0.3 M frames/s
        self.alone_s = 0.3 if full else 0.1
        self.index = None
        self.found = {}  # figures for the table at the top
        self.programs = []

    def prepare(self):
        free = shutil.disk_usage(self.folder).free
        big = BIG if self.full and free > 4 * BIG else 0
        done = subprocess.run([sys.executable, HERE / "prepare.py", self.folder, str(self.frames), str(big)])
        if done.returncode:
            sys.exit("bench: what it measures could not be made")
        self.index = json.loads((self.folder / "index.json").read_text())
        logs = self.index["workload"]
        measure.warm_files(log["path"] for kind in ("logs", "short") for log in logs[kind].values())

    def turns(self, programs, runs=None, warm=1):
        programs = [program for program in programs if program]
        for program in programs:
            print(f"  {program.name}", flush=True)
        self.programs += programs
        return in_turns(programs, runs or self.runs, warm)

    def replay(self, name, path, engine="fast", vehicle=None, channel="can0", env=None):
        """`cellwarden replay` of one log."""
        vehicle = vehicle or self.index["demo"]["image"]
        words = [CELLWARDEN, "replay", path, "-p", vehicle, "--engine", engine, "--json"]
        words += ["--channel", f"{channel}=can0"] if channel != "can0" else []
        return Program(name, words, env=env or {})

    def rival(self, name, script, *words):
        return Program(name, [sys.executable, HERE / "rivals" / script, *words])


def faults(page, programs):
    """Say which of them could not be measured, and why."""
    lines = [f"not measured: {program.name} ({safe(program.fault)})" for program in programs if program.fault]
    if lines:
        page.listing(lines)


# --- end to end -------------------------------------------------------------------------------------------------------


def end_to_end(bench, page):
    """Every format, and the rivals on the same files, all in the same turns."""
    logs = bench.index["workload"]
    folder = bench.folder / "limit"
    candump, slow = logs["logs"]["candump"]["path"], bench.slow_frames
    ours, short = {}, {}
    for format in logs["logs"]:
        channel = CHANNEL[format]
        ours[format] = bench.replay(FORMATS[format], logs["logs"][format]["path"], channel=channel)
        short[format] = bench.replay(
            f"{FORMATS[format]}, {1000} frames", logs["short"][format]["path"], channel=channel
        )
    limit = bench.index["limit"]
    c = Program("C", [limit.get("program", "none"), candump], fault=limit.get("fault", ""))
    can = bench.rival("python-can + cantools", "with_python_can.py", candump, slow)
    can_only = bench.rival("python-can, reading only", "with_python_can.py", candump, slow, "--read-only")
    mdf = bench.rival("asammdf", "with_asammdf.py", logs["logs"]["mf4"]["path"], folder)
    parser = bench.rival("opendbc CANParser", "with_opendbc.py", candump, slow // 2, folder)
    rivals = [c, can, can_only, mdf, parser]
    programs = [program for format in ours for program in (ours[format], short[format])]
    bench.turns([*programs, *rivals])

    page.heading("End to end")
    page.say(
        f"`cellwarden replay LOG -p IMAGE --engine fast --json` as a process, on {bench.frames:,} frames of the "
        "demonstration pack (20 minutes with a fault, repeated): reading with an account of every record, decoding, "
        "counters, checksums, ages, all rules. *Without start-up* takes off the time of the same command on 1,000 frames."
    )
    rows = []
    for format, program in ours.items():
        start = short[format].seconds() or 0
        alone = rate_without(program, start)
        rows.append(
            (
                FORMATS[format], megabytes(logs["logs"][format]["bytes"]), rate(program.rate()),
                rate(program.rate(best=True)), rate(alone), seconds(start), megabytes(program.peak_bytes),
                same(program, ours["candump"], format),
            )
        )  # fmt: skip
        bench.found[format] = program.rate()
        bench.found[f"{format} without start-up"] = alone
    page.table(
        ("log", ">size", ">frames/s", ">best run", ">without start-up", ">start-up", ">peak memory", "verdicts"), rows
    )
    if "parquet" not in ours:
        page.say("Parquet is not measured: `cellwarden convert` could not write it.")
    faults(page, ours.values())

    page.heading("Beside others")
    page.say(
        "The same files, core and page cache, in the same turns as above. All of them decode the six messages that the "
        "profile uses, each signal in them, and were handed a DBC with nothing else in it; none keeps an account, judges "
        "or checks anything. Their imports and the loading of the DBC are not counted; ours are counted in the first ratio."
    )
    text, binary = ours["candump"], ours.get("mf4")
    text_alone = bench.found["candump without start-up"]
    rows = []
    for program, what, mate, mate_alone in (
        (can, f"python-can `CanutilsLogReader`, cantools `Message.decode`; the first {slow:,} frames", text, text_alone),
        (can_only, f"python-can `CanutilsLogReader` alone; the first {slow:,} frames", text, text_alone),
        (parser, f"opendbc `CANParser.update` every 10 ms, frames in memory: no reading; {slow // 2:,} frames",
         text, text_alone),
        (mdf, "asammdf `MDF.extract_bus_logging` of the MF4 log", binary, bench.found.get("mf4 without start-up")),
        (c, "C: cantools `generate_c_source` and our candump parser, -O2", text, text_alone),
    ):  # fmt: skip
        theirs = program.rate(inner=True)
        rows.append(
            (
                what, rate(theirs), seconds_a_million(theirs), ratio(mate and mate.rate(), theirs),
                ratio(mate_alone, theirs),
            )
        )  # fmt: skip
        bench.found[program.name] = theirs
    page.table(
        (
            "who",
            ">frames/s",
            ">s a million frames",
            ">Cellwarden is so many times as fast, start-up included",
            ">without",
        ),
        rows,
    )
    page.say(
        "Cellwarden reads candump text in all rows but asammdf's, where it reads the MF4 log. opendbc's parser knows no "
        "multiplexing; it was given one page of each multiplexed message, so that it decodes as many signals a frame as the "
        "others. The C program is the limit: it does what a decoder must and not more, and prints sums over all decoded "
        f"values ({c.told.get('signals', 0):,} signals; asammdf: {mdf.told.get('signals', 0):,}); the tests hold its sums "
        "against cantools'."
    )
    faults(page, rivals)


def rate_without(program, start):
    """Frames a second beyond the first 1,000, in the time that is more than theirs."""
    if program.rate() is None or program.seconds() <= start:
        return None
    return (program.frames - 1000) / (program.seconds() - start)


def same(program, reference, format):
    """Whether two replays ended alike."""
    if program.fault or not program.told:
        return None
    if program.told.get("state_sha256") == reference.told.get("state_sha256"):
        return "same digest"
    keys = ("frames", "known_frames", "scans", "max_level", "level")
    alike = all(program.told.get(key) == reference.told.get(key) for key in keys)
    if format == "asc" and alike:
        return "same counts, its clock starts at 0"
    return "**differ**"


def seconds_a_million(frames_a_second):
    return None if not frames_a_second else f"{1e6 / frames_a_second:.2f}"


# --- engines ----------------------------------------------------------------------------------------------------------


def engines(bench, page):
    head = bench.index["workload"]["heads"][str(bench.index["slow"])]
    names = ("fast", "python", "micropython", "micropython32")
    programs = bench.turns([bench.replay(name, head, engine=name) for name in names])
    page.heading("Every engine on one log")
    page.say(
        f"`cellwarden replay --engine NAME`, {bench.index['slow']:,} frames of candump, start-up included. The MicroPythons "
        "are processes of their own that share the core with the reader."
    )
    first = programs[0]
    what = {
        "fast": "Numba", "python": "this interpreter", "micropython": "unix port, 64 bit, viper",
        "micropython32": "WebAssembly under Node, 32 bit, bytecode",
    }  # fmt: skip
    page.table(
        ("engine", "", ">frames/s", ">best run", ">`fast` is so many times as fast", "verdicts"),
        [
            (
                f"`{p.name}`", what[p.name], rate(p.rate()), rate(p.rate(best=True)), ratio(first.rate(), p.rate()),
                same(p, first, "candump"),
            )
            for p in programs
        ],
    )  # fmt: skip
    faults(page, programs)


# --- the core alone ---------------------------------------------------------------------------------------------------


def core_alone(bench, page):
    demo = bench.index["demo"]
    rings = demo["rings"]

    def here(name, title):
        words = [sys.executable, HERE / "core_alone.py", name, bench.alone_s]
        for ring in rings.values():
            words += [demo["image"], ring["path"], ring["ms"]]
        return Program(title, words)

    def there(folder, ring):
        path = bench.folder / "vehicles" / folder
        words = [BIN / "micropython", "-X", "heapsize=16m", HERE / "on_micropython.py", bench.alone_s]
        words += [path / "image", ring["path"], ring["ms"]]
        return Program(f"MicroPython {folder}", words, env={"MICROPYPATH": str(path)})

    on_host = [here("fast", "fast"), here("blocks", "fast, from columns"), here("python", "python")]
    on_micropython = [there(folder, ring) for folder in ("viper", "bytecode") for ring in rings.values()]
    results = {}
    every = [*on_host, *on_micropython]
    for turn in range(bench.runs):
        for program in every:
            if turn == 0:
                print(f"  {program.name}", flush=True)
            program.run()
            for path, part in program.told.get("parts", {}).items():
                results.setdefault((program.name, path), []).append(part["frames"] / part["seconds"])
    bench.programs += every
    page.heading("The core alone")
    page.say(
        "Frames that are in its ring already, 16,384 of them judged again and again with stamps that move on; timed inside "
        "the process, nothing read or packed (`tests/bench/core_alone.py`, `on_micropython.py`). A scan is due every 100 ms: "
        "one for every 35 frames as logged, one for 450 on a full bus. Frames/s, median (best)."
    )
    rows = []
    titles = {
        "fast": "`fast`: `drain()` compiled by Numba",
        "fast, from columns": "`fast`: `feed_block()`, columns put into the ring first",
        "python": "`python`: `drain()` in this interpreter",
        "MicroPython viper": "MicroPython, 64 bit, viper: `drain()`",
        "MicroPython bytecode": "MicroPython, 64 bit, bytecode: `drain()`",
    }
    paths = [ring["path"] for ring in rings.values()]
    for name, title in titles.items():
        rates = [results.get((name, path)) for path in paths]
        rows.append((title, *(r and f"{rate(statistics.median(r))} ({rate(max(r))})" for r in rates)))
        if all(rates):
            bench.found[f"core {name}"] = [statistics.median(r) for r in rates]
    page.table(("engine", *(">" + ring["what"] for ring in rings.values())), rows)
    fast, viper = bench.found.get("core fast"), bench.found.get("core MicroPython viper")
    others = [bench.found.get(f"core {name}") for name in ("MicroPython viper", "MicroPython bytecode", "python")]
    if fast:
        texts = [
            f"{ratio(fast[1], other[1])} times {name}"
            for name, other in zip(("viper", "bytecode", "plain Python"), others, strict=True)
            if other
        ]
        page.say(f"On the full bus `fast` is {', '.join(texts)}.")
    if viper and others[1]:
        page.say(f"Viper is {ratio(viper[1], others[1][1])} times bytecode.")
    faults(page, every)


# --- growth -----------------------------------------------------------------------------------------------------------


def growth(bench, page):
    page.heading("Growth")
    heads = {int(n): path for n, path in bench.index["workload"]["heads"].items() if int(n) != bench.index["slow"]}
    short = bench.replay("1,000 frames", bench.index["workload"]["short"]["candump"]["path"])
    programs = [bench.replay(f"{n:,} frames", path) for n, path in sorted(heads.items())]
    bench.turns([short, *programs])
    page.say("With the log's length: `cellwarden replay --engine fast` of candump, start-up included and taken off.")
    start = short.seconds() or 0
    rows = []
    for program in programs:
        alone = rate_without(program, start)
        nanoseconds = alone and f"{1e9 / alone:.0f}"
        rows.append((f"{program.frames:,}", seconds(program.seconds()), nanoseconds, megabytes(program.peak_bytes)))
    page.table((">frames", ">time", ">ns a frame without start-up", ">peak memory"), rows)
    faults(page, [short, *programs])

    words = [sys.executable, HERE / "core_alone.py", "fast", bench.alone_s / 3]
    for vehicle in bench.index["growth"]:
        for ring in vehicle["rings"]:
            words += [vehicle["image"], ring["path"], ring["ms"]]
    print("  vehicles of growing size", flush=True)
    results = {}
    program = Program("vehicles of growing size", words)
    program.run(keep=False)  # compiles them, where their machine code is not kept yet
    for _ in range(bench.runs):
        program.run()
        for path, part in program.told.get("parts", {}).items():
            results.setdefault(path, []).append(part["seconds"] / part["frames"])
    bench.programs.append(program)
    rows = {"messages": [], "cells": []}
    for vehicle in bench.index["growth"]:
        full, tenth = vehicle["rings"]
        if full["path"] not in results:
            continue
        a, b = (statistics.median(results[ring["path"]]) for ring in (full, tenth))
        # Both spend the same on a frame; the slow bus has a scan more often.
        scan = (b - a) / (10 / tenth["rate"] - 10 / full["rate"])
        frame = a - scan * 10 / full["rate"]
        rows[vehicle["of"]].append((vehicle["count"], f"{a * 1e9:.1f}", f"{frame * 1e9:.1f}", f"{scan * 1e9:,.0f}"))
    page.say(
        "With messages and cells: the core alone on `fast`, frames of all messages in an unpredictable order. Each vehicle is "
        "measured on a full bus and on a tenth of it; the difference is what a scan costs. The vehicles by messages have one "
        "cell in each; those by cells have three a page of one message."
    )
    page.table(
        (">messages (= cells)", ">ns a frame, full bus", ">of it the frame", ">ns a scan"), rows["messages"]
    )  # fmt: skip
    page.table((">cells", ">ns a frame, full bus", ">of it the frame", ">ns a scan"), rows["cells"])
    faults(page, [program])


# --- memory -----------------------------------------------------------------------------------------------------------


def memory(bench, page):
    page.heading("Memory of a long log")
    big = bench.index["workload"]["big"]
    if not big:
        page.say("The 1 GB log was left out (`--quick`, or the disk has no room for it).")
        return
    program = bench.replay("1 GB of candump", big["path"])
    from_profile = bench.replay("1 GB of candump, profile", big["path"], vehicle=bench.index["demo"]["profile"])
    measure.warm_files([big["path"]])
    bench.turns([program, from_profile], runs=1, warm=0)
    page.say(
        f"`cellwarden replay --engine fast` of a candump log of {big['bytes'] / 1e9:.2f} GB, {big['frames']:,} frames; peak of "
        "resident memory as the system counts it (`wait4`). It holds against the peaks above, of logs of all lengths."
    )
    page.table(
        ("vehicle from", ">time", ">frames/s", ">peak memory"),
        [
            (what, seconds(p.seconds()), rate(p.rate()), megabytes(p.peak_bytes))
            for what, p in (("an image", program), ("a profile, compiled first", from_profile))
        ],
    )
    if not program.fault:
        bench.found["big"] = max(program.peak_bytes, from_profile.peak_bytes)
    faults(page, [program, from_profile])


# --- start-up ---------------------------------------------------------------------------------------------------------


def start_up(bench, page):
    small = bench.index["workload"]["short"]["candump"]["path"]
    profile = bench.index["demo"]["profile"]
    with tempfile.TemporaryDirectory(prefix="cellwarden-") as cache:
        cold = bench.replay("first start, nothing compiled", small, env={"CELLWARDEN_CACHE": cache})
        for _ in range(2):
            print(f"  {cold.name}", flush=True)
            shutil.rmtree(cache)
            cold.run()
        os.makedirs(cache, exist_ok=True)
    bench.programs.append(cold)
    helped = Program("help", [CELLWARDEN, "--help"])
    auto = bench.replay("auto, image", small, engine="auto")
    auto_profile = bench.replay("auto, profile", small, engine="auto", vehicle=profile)
    fast = bench.replay("fast, image", small)
    fast_profile = bench.replay("fast, profile", small, vehicle=profile)
    bench.turns([helped, auto, auto_profile, fast, fast_profile])
    page.heading("Start-up")
    page.say("Whole processes; the log has 1,000 frames.")
    page.table(
        ("command", ">median", ">best"),
        [
            (text, seconds(program.seconds()), seconds(program.seconds(best=True)))
            for text, program in (
                ("`cellwarden --help`", helped),
                ("`cellwarden replay LOG -p IMAGE` (`auto`: plain Python for a small log)", auto),
                ("`cellwarden replay LOG -p PROFILE`", auto_profile),
                ("`cellwarden replay LOG -p IMAGE --engine fast`, first start of an image", cold),
                ("the same, second start: machine code from the cache", fast),
                ("the same with `-p PROFILE`", fast_profile),
            )
        ],
    )
    bench.found["second start"] = fast.seconds()
    faults(page, [helped, cold, auto, auto_profile, fast, fast_profile])


# --- real logs --------------------------------------------------------------------------------------------------------


def real_logs(bench, page):
    data = Path(os.environ.get("CELLWARDEN_CORPUS") or CHECKOUT.parent / "shared" / "data")
    logs = [(data / name, vehicle) for name, vehicle in CORPUS if (data / name).exists()]
    page.heading("Real logs")
    if not logs:
        page.say("Not measured: the recorded logs are not on this machine (`CELLWARDEN_CORPUS`).")
        return
    env = {"CELLWARDEN_CORPUS": str(data)}
    names = ("python", "auto", "fast")
    programs = {}
    for path, vehicle in logs:
        for name in names:
            profile = CHECKOUT / "dbc" / "vehicles" / f"{vehicle}.toml"
            programs[path, name] = bench.replay(f"{path.name} {name}", path, name, profile, env=env)
    bench.turns(programs.values())
    page.say(
        "`cellwarden replay LOG -p PROFILE --engine NAME`, start-up, unpacking and the profile's compilation included."
    )
    page.table(
        ("log", ">frames", *(f">`{name}`" for name in names), "verdicts"),
        [
            (
                path.name, f"{programs[path, 'python'].frames:,}", *(seconds(programs[path, n].seconds()) for n in names),
                same(programs[path, "fast"], programs[path, "python"], "csv"),
            )
            for path, _ in logs
        ],
    )  # fmt: skip
    faults(page, programs.values())


# --- Cortex-M3 --------------------------------------------------------------------------------------------------------


def cortex_m3(bench, page):
    page.heading("Cortex-M3")
    script = HERE / "cortex_m3.py"
    if not script.exists():
        page.say("Not measured: `tests/bench/cortex_m3.py` is not there.")
        return
    out = bench.folder / "cortex_m3.json"
    out.unlink(missing_ok=True)
    words = [sys.executable, script, "--json", out] + (["--growth"] if bench.full else [])
    program = Program("cortex_m3.py", words)
    print(f"  {program.name}", flush=True)
    program.run()
    if program.fault or not out.exists():
        page.say(f"Not measured: {safe(program.fault or 'it wrote nothing')}.")
        return
    told = json.loads(out.read_text())
    page.say(
        "Instructions, counted exactly on the emulated board (QEMU, `-icount`) by `tests/bench/cortex_m3.py`: MicroPython, "
        "viper for armv7m. A frame is all in: from the ring to the verdict, scans at 10 Hz included, on a bus of 4,505 "
        "frames/s; the number behind a name is how many frames lie in the ring at once."
    )
    for name, value in told.items():
        if isinstance(value, dict):
            nested(page, words_of(name), value)
    single = [(words_of(name), number(value)) for name, value in told.items() if isinstance(value, int | float)]
    if single:
        page.table(("", ">instructions"), single)
    bench.found["frame"] = told.get("frame")
    bench.found["worst step"] = told.get("worst_step")
    bench.found["twin"] = next((told[key] for key in ("twin_ratio", "ratio") if key in told), None)


def nested(page, title, values):
    """A table of numbers, or of rows of numbers."""
    rows = {name: value for name, value in values.items() if isinstance(value, dict)}
    if any(isinstance(inner, dict) for row in rows.values() for inner in row.values()):
        for name, row in rows.items():
            nested(page, f"{title}: {words_of(name)}", row)
        return
    flat = [(words_of(name), number(value)) for name, value in values.items() if not isinstance(value, dict | list)]
    if flat:
        page.table((title, ">"), flat)
    if rows:
        columns = list(dict.fromkeys(key for row in rows.values() for key in row))
        page.table(
            (title, *(f">{words_of(column)}" for column in columns)),
            [(words_of(name), *(number(row.get(column)) for column in columns)) for name, row in rows.items()],
        )


def words_of(name):
    return str(name).replace("_", " ")


def number(value):
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else value


# --- the whole --------------------------------------------------------------------------------------------------------

SECTIONS = {
    "end-to-end": end_to_end, "engines": engines, "core": core_alone, "cortex": cortex_m3, "growth": growth,
    "memory": memory, "start": start_up, "real": real_logs,
}  # fmt: skip


def figures(bench):
    """Rows of the table at the top: what, wanted, reached, yes or no."""
    found = bench.found

    def over(what, wanted, value):
        return what, f"over {rate(wanted)}", rate(value), yes(None if value is None else value > wanted)

    frame, worst, twin = (found.get(key) for key in ("frame", "worst step", "twin"))
    own, sent = ((frame or {}).get(key) for key in ("own_32", "as_sent_32"))
    parts = [text for value, text in ((own, "all frames in use"), (sent, "as the vehicle sends")) if value]
    numbers = [f"{value:,.0f}" for value in (own, sent) if value]
    reached = "; ".join(f"{n} ({text})" for n, text in zip(numbers, parts, strict=True)) or None
    most = max((value for value in (own, sent) if value), default=None)
    twin_text = (
        ", ".join(f"{words_of(k)} {v:.1f}" for k, v in twin.items())
        if isinstance(twin, dict)
        else twin and f"{twin:.1f}"
    )
    twin_most = max(twin.values()) if isinstance(twin, dict) and twin else twin
    rows = [
        ("Cortex-M3, a frame all in", "at most 600 instructions", reached, yes(None if most is None else most <= 600)),
        ("Cortex-M3, worst single step", "at most 25,000 instructions", worst and f"{worst:,}",
         yes(None if worst is None else worst <= 25_000)),
        ("ratio to the C twin at -O2", "at most 4", twin_text, yes(None if twin_most is None else twin_most <= 4)),
    ]  # fmt: skip
    for what, key, wanted in (
        ("unix MicroPython, viper, same loop", "core MicroPython viper", 3e6),
        ("core in memory, `fast`, all rules", "core fast", 15e6),
    ):
        values = found.get(key)
        least = min(values) if values else None
        shown = values and f"{rate(least)} as logged, {rate(values[2])} on a full bus of frames in use"
        rows.append((what, f"over {rate(wanted)}", shown, yes(None if least is None else least > wanted)))
    text, can = found.get("candump"), found.get("python-can + cantools")
    times = text / can if text and can else None
    rows += [
        over("candump text, end to end, start-up included", 3e6, text),
        ("the same against python-can + cantools", "over 30 x", times and f"{times:.0f} x",
         yes(None if times is None else times > 30)),
        over("Parquet, end to end, start-up included", 8e6, found.get("parquet")),
        over("BLF, end to end, start-up included", 4e6, found.get("blf")),
        over("MF4, end to end, start-up included", 3e6, found.get("mf4")),
    ]  # fmt: skip
    big = found.get("big")
    rows.append(("1 GB of candump", "under 400 MB", megabytes(big), yes(None if big is None else big < 400e6)))
    second = found.get("second start")
    rows.append(("`fast`, second start", "under 0.5 s", seconds(second), yes(None if second is None else second < 0.5)))
    return rows


def top(bench, page):
    page.heading("Benchmarks", 1)
    page.say(
        "Generated by `make bench`; not edited by hand. Everything was measured in one run on one core, what is compared in "
        "turns (A B A B), files warm in the page cache. Times and rates are medians of "
        f"{bench.runs} runs, ratios are of medians. No time is a gate; instruction counts are."
    )
    if not bench.full:
        page.say("**`--quick`: short logs. These figures only show that the bench works.**")


def machine(bench, page):
    page.heading("Machine")
    busy = measure.share(bench.programs)
    memory_size = pages.memory_bytes()
    tools = [
        ("C compiler", bench.index["limit"].get("compiler") and pages.first_line(
            *bench.index["limit"]["compiler"].split(), "--version")),
        ("QEMU", pages.first_line("qemu-system-arm", "--version")),
        ("Node", pages.first_line("node", "--version")),
    ]  # fmt: skip
    lines = [
        f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC, commit {pages.commit()}",
        f"{pages.processor()}, {os.cpu_count()} cores" + (f", {memory_size / 2**30:.0f} GB" if memory_size else ""),
        ", ".join(pages.versions()),
        ", ".join(f"{name}: {safe(line)}" if line else f"no {name}" for name, line in tools),
    ]
    if busy is not None:
        verdict = (
            "the machine was quiet" if busy > 0.95 else "**other programs took the rest: the figures are too low**"
        )
        lines.append(f"the measured processes had the core for {busy:.0%} of their time: {verdict}")
    page.listing(lines)


def run(bench, names):
    """The sections' part of the page."""
    body = pages.Page()
    for name in names:
        print(f"{name}:", flush=True)
        SECTIONS[name](bench, body)
    return body


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="short logs: shows that the bench works")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, help="some sections, printed")
    parser.add_argument("-o", "--output", type=Path, help="the page (docs/benchmarks.md)")
    parser.add_argument("--folder", type=Path, default=CHECKOUT / "build" / "bench", help="for logs and programs")
    words = parser.parse_args()
    words.folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(words.folder.resolve(), not words.quick, measure.pin())
    bench.prepare()
    body = run(bench, words.only or SECTIONS)
    page = pages.Page()
    top(bench, page)
    page.heading("Figures to reach")
    page.table(("what", "reach", "reached", ""), figures(bench))
    machine(bench, page)
    page.blocks += body.blocks
    if words.only and not words.output:
        print(page.text())
        return
    output = words.output or CHECKOUT / "docs" / "benchmarks.md"
    output.write_text(page.text(), encoding="utf-8")
    print(f"written: {output}")


if __name__ == "__main__":
    main()
