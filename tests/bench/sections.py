"""The sections of docs/benchmarks.md.

A section is a function of the Bench (bench.py) and the Page: it measures, writes its part of the page, and notes in
`bench.found` what the table at the top needs.
"""

import filecmp
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

import measure
from measure import Program
from page import megabytes, rate, ratio, safe, seconds

BIN = Path(sys.executable).parent
CHECKOUT = Path(__file__).parents[2]
SHORT = 1000  # frames, as workload.py makes them
FORMATS = {  # name: (what it is, how its log calls the demonstration's channel, whether python-can reads it)
    "candump": ("candump text", "can0", True),
    "savvycan": ("SavvyCAN CSV", "0", False),
    "asc": ("Vector ASC", "1", True),
    "blf": ("Vector BLF", "1", True),
    "mf4": ("ASAM MF4", "0", True),
    "parquet": ("our Parquet", "can0", False),
}
ENGINES = {
    "fast": "Numba",
    "python": "this interpreter",
    "micropython": "unix port, 64 bit, viper",
    "micropython32": "WebAssembly under Node, 32 bit, bytecode",
}
CORPUS = (("bolt-bicm-cc0/12_can_log_bms_bus_60s_raw.csv.xz", "bolt"), ("bmw-i3/2014i3_AC_start_PT_CAN.csv.xz", "i3"))


def faults(page, programs):
    """Say which of them could not be measured, and why."""
    if lines := [f"not measured: {program.name} ({safe(program.fault)})" for program in programs if program.fault]:
        page.listing(lines)


def same(program, reference, own_clock=False):
    """Whether two replays ended alike."""
    if program.fault or not program.told:
        return None
    if program.told.get("state_sha256") == reference.told.get("state_sha256"):
        return "same digest"
    keys = ("frames", "known_frames", "scans", "max_level", "level")
    if own_clock and all(program.told.get(key) == reference.told.get(key) for key in keys):
        return "same counts; its clock starts at 0"
    return "**differ**"


def rate_without(program, short):
    """Frames a second beyond the first SHORT, in the time that is more than theirs."""
    start = short.seconds()
    if start is None or program.rate() is None or program.seconds() <= start:
        return None
    return (program.frames - SHORT) / (program.seconds() - start)


# --- end to end -------------------------------------------------------------------------------------------------------


def end_to_end(bench, page):
    """Every format, and the rivals on the same files, all in the same turns."""
    made = bench.index["workload"]
    logs = {format: log["path"] for format, log in made["logs"].items()}
    slow, folder, limit = bench.slow_frames, bench.folder / "limit", bench.index["limit"]
    ours, short, can = {}, {}, {}
    for format, path in logs.items():
        what, channel, foreign = FORMATS[format]
        ours[format] = bench.replay(what, path, channel=channel)
        short[format] = bench.replay(f"{what}, short", made["short"][format]["path"], channel=channel)
        if foreign:
            can[format] = bench.script(f"python-can + cantools, {what}", "rivals/with_python_can.py", path, slow)
    rivals = {
        "reading": bench.script("python-can alone", "rivals/with_python_can.py", logs["candump"], slow, "--read-only"),
        "opendbc": bench.script("opendbc", "rivals/with_opendbc.py", logs["candump"], slow, folder),
        "asammdf": bench.script("asammdf", "rivals/with_asammdf.py", logs["mf4"], folder),
        "C": Program("C", [limit.get("program", "limit"), logs["candump"]], fault=limit.get("fault", "")),
    }
    bench.turns([*ours.values(), *short.values(), *can.values(), *rivals.values()])
    alone = {format: rate_without(program, short[format]) for format, program in ours.items()}
    for format, program in ours.items():
        bench.found |= {format: program.rate(), f"{format} started": alone[format]}
    theirs = {name: program.rate(inner=True) for name, program in rivals.items()}
    can_rates = {format: program.rate(inner=True) for format, program in can.items()}
    bench.found["python-can candump"] = can_rates["candump"]

    page.heading("End to end, by format")
    page.say(
        f"`cellwarden replay LOG -p IMAGE --engine fast --json` as a process, on {bench.frames:,} frames of the "
        "demonstration pack (20 minutes with a fault, repeated): reading with an account of every record, decoding, "
        f"counters, checksums, ages, all rules. *Without start-up*: the time of the same command on {SHORT:,} frames "
        f"taken off. Beside it python-can's reader of the format with cantools' `Message.decode` on the first {slow:,} "
        "frames, its imports not counted; the ratio is of its rate to ours with start-up."
    )
    page.table(
        (
            "log", ">size", ">frames/s", ">best run", ">without start-up", ">start-up", ">peak memory", "verdicts",
            ">python-can + cantools", ">ratio",
        ),
        [
            (
                program.name, megabytes(made["logs"][format]["bytes"]), rate(program.rate()),
                rate(program.rate(best=True)), rate(alone[format]), seconds(short[format].seconds()),
                megabytes(program.peak_bytes), same(program, ours["candump"], own_clock=format == "asc"),
                rate(can_rates.get(format)), ratio(program.rate(), can_rates.get(format)),
            )
            for format, program in ours.items()
        ],
    )  # fmt: skip
    if "parquet" not in ours:
        page.say("Parquet is not measured: `cellwarden convert` could not write it.")
    faults(page, [*ours.values(), *can.values()])

    page.heading("Beside others")
    page.say(
        "The same files, core and page cache, in the same turns as above. All of them decode the six messages that "
        "the profile uses, every signal in them, and were handed a DBC with nothing else in it. None keeps an "
        "account of what it read, judges or checks anything. Their imports and the loading of the DBC are not "
        "counted; ours are in the first ratio, and are not in the second."
    )
    rows = (
        ("python-can", "candump", can_rates["candump"],
         f"python-can `LogReader` + cantools `Message.decode`, the first {slow:,} frames"),
        ("reading", "candump", theirs["reading"], f"python-can `LogReader` alone, the first {slow:,} frames"),
        ("opendbc", "candump", theirs["opendbc"],
         f"opendbc `CANParser.update` every 10 ms, {slow:,} frames in memory: nothing is read"),
        ("asammdf", "mf4", theirs["asammdf"], "asammdf `MDF.extract_bus_logging` of the MF4 log"),
        ("C", "candump", theirs["C"], "C, -O2: cantools `generate_c_source` and a candump parser (`rivals/limit.c`)"),
    )  # fmt: skip
    page.table(
        ("who", ">frames/s", "we read", ">we are so many times as fast, start-up included", ">without"),
        [
            (what, rate(value), FORMATS[format][0], ratio(ours[format].rate(), value), ratio(alone[format], value))
            for _, format, value, what in rows
        ],
    )
    sums = [(name, rivals[name].told.get("signals")) for name in ("C", "asammdf")]
    page.say(
        "opendbc's parser knows no multiplexing; its DBC has one page of each multiplexed message, so that it "
        "decodes as many signals a frame as the others. The C program is the limit: it does what a decoder must and "
        "nothing else; it prints sums over all values, which the tests hold against cantools'. Signals decoded: "
        + ", ".join(f"{name} {count:,}" for name, count in sums if count)
        + "."
    )
    faults(page, rivals.values())


# --- conversion -------------------------------------------------------------------------------------------------------


def convert(bench, page):
    log = Path(bench.index["workload"]["logs"]["candump"]["path"])
    there, back = bench.folder / "converted.parquet", bench.folder / "converted.log"
    command = [BIN / "cellwarden", "convert"]
    programs = [
        Program("candump text to Parquet", [*command, log, "-o", there, "--json"]),
        Program("Parquet to candump text", [*command, there, "-o", back, "--json"]),
    ]
    bench.turns(programs)
    page.heading("Conversion")
    page.say("`cellwarden convert LOG -o FILE`, start-up included.")
    equal = None
    if not any(program.fault for program in programs):
        equal = "the very bytes" if filecmp.cmp(log, back, shallow=False) else "**other bytes**"
    sizes = [megabytes(path.stat().st_size) if path.exists() else None for path in (there, back)]
    page.table(
        ("", ">frames/s", ">best run", ">becomes", ">peak memory", "comes back as"),
        [
            (p.name, rate(p.rate()), rate(p.rate(best=True)), size, megabytes(p.peak_bytes), what)
            for p, size, what in zip(programs, sizes, (None, equal), strict=True)
        ],
    )
    faults(page, programs)
    for path in (there, back):
        path.unlink(missing_ok=True)


# --- engines ----------------------------------------------------------------------------------------------------------


def engines(bench, page):
    slow = bench.index["slow"]
    log = bench.index["workload"]["heads"][str(slow)]
    programs = bench.turns(bench.replay(name, log, engine=name) for name in ENGINES)
    page.heading("Every engine on one log")
    page.say(
        f"`cellwarden replay --engine NAME`, {slow:,} frames of candump, start-up included. A MicroPython is a "
        "process of its own and shares the core with the reader, which hands it one frame after the other."
    )
    first = programs[0]
    page.table(
        ("engine", "", ">frames/s", ">best run", ">`fast` is so many times as fast", "verdicts"),
        [
            (
                f"`{program.name}`", ENGINES[program.name], rate(program.rate()), rate(program.rate(best=True)),
                ratio(first.rate(), program.rate()), same(program, first),
            )
            for program in programs
        ],
    )  # fmt: skip
    faults(page, programs)


# --- the core alone ---------------------------------------------------------------------------------------------------

ALONE = {
    "fast": "`fast`: `drain()` compiled by Numba",
    "blocks": "`fast`: `feed_block()`, from columns",
    "python": "`python`: `drain()`",
    "MicroPython viper": "MicroPython, 64 bit, viper: `drain()`",
    "MicroPython bytecode": "MicroPython, 64 bit, bytecode: `drain()`",
}


def parts_of(bench, programs):
    """Run them in turns. Returns {(program's name, ring's path): [seconds a frame, of each run]}."""
    programs = list(programs)
    bench.programs += programs
    found = {}
    for turn in range(bench.runs):
        if turn == 0:
            print(f"  {len(programs)} programs, {bench.runs} times each", flush=True)
        for program in programs:
            program.run()
            for path, part in ({} if program.fault else program.told["parts"]).items():
                found.setdefault((program.name, path), []).append(part["seconds"] / part["frames"])
    return found


def core_alone(bench, page):
    demo = bench.index["demo"]
    rings = demo["rings"].values()
    programs = []
    for name in ("fast", "blocks", "python"):
        words = [word for ring in rings for word in (demo["image"], ring["path"], ring["ms"])]
        programs.append(bench.script(name, "core_alone.py", name, bench.alone_s, *words))
    for name in ("viper", "bytecode"):
        path = bench.folder / "vehicles" / name
        for ring in rings:
            words = [BIN / "micropython", "-X", "heapsize=16m", Path(__file__).with_name("on_micropython.py")]
            words += [bench.alone_s, path / "image", ring["path"], ring["ms"]]
            programs.append(Program(f"MicroPython {name}", words, env={"MICROPYPATH": str(path)}))
    found = parts_of(bench, programs)
    page.heading("The core alone")
    page.say(
        "Frames that are in its ring already: 16,384 of them, judged again and again with stamps that move on, all "
        "rules active, timed inside the process (`core_alone.py`, `on_micropython.py`). A scan of the 96 cells and "
        "24 probes is due every 100 ms: after 35 frames as logged, after 450 on a full bus. Of the vehicle's frames "
        "40 % are in use. Frames/s, median and best run."
    )
    rows = []
    for name, what in ALONE.items():
        rates = [[1 / value for value in found.get((name, ring["path"]), ())] for ring in rings]
        rows.append(
            (what, *(f"{rate(statistics.median(some))} ({rate(max(some))})" if some else None for some in rates))
        )
        if all(rates):
            bench.found[f"core {name}"] = [statistics.median(some) for some in rates]
    page.table(("engine", *(f">{ring['what']}" for ring in rings)), rows)
    against = [
        (f"`{first}` is {ratio(bench.found[f'core {first}'][1], bench.found[f'core {second}'][1])} times {second}")
        for first, second in (
            ("fast", "MicroPython viper"), ("fast", "python"), ("MicroPython viper", "MicroPython bytecode"),
        )
        if f"core {first}" in bench.found and f"core {second}" in bench.found
    ]  # fmt: skip
    if against:
        page.say(f"On the full bus {', '.join(against)}.")
    faults(page, programs)


# --- Cortex-M3 --------------------------------------------------------------------------------------------------------

MIXES = {
    "own": "all frames in use",
    "half_unknown": "every other frame of an unknown identifier",
    "as_sent": "as the vehicle sends",
}


def counted(bench, script, *words):
    """(what a script of instruction counts wrote, why it did not)."""
    out = bench.folder / "counts.json"
    out.unlink(missing_ok=True)
    program = bench.script(script, script, "--json", out, *words)
    print(f"  {script}", flush=True)
    program.run()
    if program.fault or not out.exists():
        return None, program.fault or "it wrote nothing"
    return json.loads(out.read_text()), None


def cortex_m3(bench, page):
    page.heading("Cortex-M3")
    core, fault = counted(bench, "cortex_m3.py", *["--growth"] * bench.full)
    if core is None:
        page.say(f"Not measured: {safe(fault)}.")
        return
    both, fault = counted(bench, "twin.py")
    twin = both["twin"] if both else {}
    page.say(
        "Instructions, counted exactly on an emulated board (QEMU, `-icount`): the core in MicroPython, viper for "
        "armv7m, by `cortex_m3.py`; beside it the same functions in C (written by `twin_core.py`, "
        "`arm-none-eabi-gcc -O2`), whose state and events are the core's, by `twin.py`."
    )
    if fault:
        page.say(f"The C twin is not measured: {safe(fault)}.")

    def row(what, key, name):
        here, there = core[key].get(name), twin.get(key, {}).get(name)
        return [what, count(here), count(there), ratio(here, there)]

    columns = [">viper", ">C", ">viper / C"]
    page.table(
        ["a frame, all in, scans at 10 Hz included, on a bus of 4,505 frames/s", ">frames in the ring", *columns],
        [
            [what, batch, *row(what, "frame", f"{name}_{batch}")[1:]]
            for name, what in MIXES.items()
            for batch in (32, 1000)
            if f"{name}_{batch}" in core["frame"]
        ],
    )
    page.table(
        ["one frame, no scan between", *columns], [row(name, "message", name) for name in core["message"]]
    )  # fmt: skip
    page.table(
        ["scan of 96 cells and 24 probes", *columns],
        [row(name.replace("_", " "), "scan", name) for name in core["scan"]],
    )
    page.table(
        ["worst step: a due scan with all it causes", *columns],
        [row(name.replace("_", " "), "step", name) for name in core["step"]],
    )
    stories = core["parts"]
    page.say(
        "What each group of rules costs, by function, in instructions a scan of 100 ms on average over "
        f"{core['part_scans']} scans; the call is counted in. A row of the rule table at rest costs the same in every "
        "group, and the verdicts are one function for all of them."
    )
    page.table(
        ["group of rules", *(f">{story.replace('_', ' ')}" for story in stories)],
        [
            [group, *(count(parts["mean"][group]) for parts in stories.values())]
            for group in next(iter(stories.values()))["mean"]
        ],
    )
    page.say("A sample of the cells or the probes is taken once a second, and its work is shared out over the scans.")
    page.table(
        ["function, where it costs the most", *(f">{story.replace('_', ' ')}" for story in stories)],
        [
            [f"`{name}`", *(count(parts["most"][name]) for parts in stories.values())]
            for name in next(iter(stories.values()))["most"]
        ],
    )
    if grown := core.get("growth"):
        stories = list(dict.fromkeys(story for counts in grown["cells"].values() for story in counts))
        page.table(
            [">cells", *(f">the worst scan, {story.replace('_', ' ')}" for story in stories)],
            [[cells, *(count(counts.get(story)) for story in stories)] for cells, counts in grown["cells"].items()],
        )
        page.table(
            [">messages x signals", ">a frame"], [[size, count(value)] for size, value in grown["messages"].items()]
        )
    bench.found["frame"] = core["frame"]
    bench.found["worst step"] = core.get("worst_step")
    if twin:
        bench.found["twin"] = {
            "a frame": core["frame"]["own_32"] / twin["frame"]["own_32"],
            "the worst step": max(core["step"].values()) / max(twin["step"].values()),
        }


def count(value):
    return None if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:,.1f}".removesuffix(".0")


# --- growth -----------------------------------------------------------------------------------------------------------


def growth(bench, page):
    page.heading("Growth")
    made = bench.index["workload"]
    heads = {int(frames): path for frames, path in made["heads"].items() if int(frames) > bench.index["slow"]}
    short = bench.replay("short", made["short"]["candump"]["path"])
    programs = [bench.replay(f"{frames:,} frames", path) for frames, path in sorted(heads.items())]
    bench.turns([short, *programs])
    page.say("With the log's length: `cellwarden replay --engine fast` of candump text.")
    rows = []
    for program in programs:
        alone = rate_without(program, short)
        nanoseconds = alone and f"{1e9 / alone:.0f}"
        rows.append((f"{program.frames:,}", seconds(program.seconds()), nanoseconds, megabytes(program.peak_bytes)))
    page.table((">frames", ">time", ">ns a frame, start-up taken off", ">peak memory"), rows)
    faults(page, [short, *programs])

    vehicles = bench.index["growth"]
    words = [w for v in vehicles for ring in v["rings"] for w in (v["image"], ring["path"], ring["ms"])]
    env = {"CELLWARDEN_CACHE": str(bench.folder / "cache")}
    compiling = bench.script("vehicles of growing size, compiling", "core_alone.py", "fast", 0, *words, env=env)
    print("  compiling vehicles of growing size", flush=True)
    compiling.run()
    noted = bench.folder / "compiled.json"  # what is in the cache already is not compiled again
    took = json.loads(noted.read_text()) if noted.exists() else {}
    took |= {path: value for path, value in compiling.told.get("compiled", {}).items() if value}
    noted.write_text(json.dumps(took))
    program = bench.script("vehicles of growing size", "core_alone.py", "fast", bench.alone_s / 3, *words, env=env)
    found = parts_of(bench, [program])
    page.say(
        "With messages and cells: the core alone on `fast`, frames of all messages in an order that cannot be "
        "predicted. Each vehicle is measured on a full bus (4,505 frames/s) and on a tenth of it; the difference is "
        "what a scan costs. The vehicles by messages have one cell in each; those by cells have three a page of one "
        "message."
    )
    for of, title in (("messages", "messages (= cells)"), ("cells", "cells")):
        rows = []
        for vehicle in (vehicle for vehicle in vehicles if vehicle["of"] == of):
            full, tenth = ({**ring, "s": found.get((program.name, ring["path"]))} for ring in vehicle["rings"])
            if not full["s"]:
                continue
            many, few = statistics.median(full["s"]), statistics.median(tenth["s"])
            scan = (few - many) / (10 / tenth["rate"] - 10 / full["rate"])
            frame = many - scan * 10 / full["rate"]
            rows.append(
                (
                    vehicle["count"], f"{many * 1e9:.1f}", f"{frame * 1e9:.1f}", f"{scan * 1e9:,.0f}",
                    seconds(took.get(vehicle["image"])),
                )
            )  # fmt: skip
        page.table((f">{title}", ">ns a frame, all in", ">without scans", ">ns a scan", ">compiled once in"), rows)
    faults(page, [compiling, program])


# --- memory -----------------------------------------------------------------------------------------------------------


def memory(bench, page):
    page.heading("Memory of a long log")
    big = bench.index["workload"]["big"]
    if not big:
        page.say("The 1 GB log was left out: `--quick`, or no room on the disk.")
        return
    measure.warm_files([big["path"]])
    programs = [
        bench.replay("an image", big["path"]),
        bench.replay("a profile, compiled first", big["path"], vehicle=bench.index["demo"]["profile"]),
    ]
    bench.turns(programs, runs=1, warm=0)
    page.say(
        f"`cellwarden replay --engine fast` of a candump log of {big['bytes'] / 1e9:.2f} GB, {big['frames']:,} "
        "frames: the peak of resident memory as the system counts it. Above are the peaks of shorter logs."
    )
    page.table(
        ("vehicle from", ">time", ">frames/s", ">peak memory"),
        [(p.name, seconds(p.seconds()), rate(p.rate()), megabytes(p.peak_bytes)) for p in programs],
    )
    if not any(program.fault for program in programs):
        bench.found["big"] = max(program.peak_bytes for program in programs)
    faults(page, programs)


# --- start-up ---------------------------------------------------------------------------------------------------------


def start_up(bench, page):
    small, profile = bench.index["workload"]["short"]["candump"]["path"], bench.index["demo"]["profile"]
    with tempfile.TemporaryDirectory(prefix="cellwarden-") as cache:
        first = bench.replay("first start", small, env={"CELLWARDEN_CACHE": cache})
        print("  first start, nothing compiled", flush=True)
        first.run()
    bench.programs.append(first)
    rows = {
        "`cellwarden --help`": Program("help", [BIN / "cellwarden", "--help"]),
        "`cellwarden replay LOG -p IMAGE`": bench.replay("auto, image", small, engine="auto"),
        "`cellwarden replay LOG -p PROFILE`": bench.replay("auto, profile", small, engine="auto", vehicle=profile),
        "`cellwarden replay LOG -p IMAGE --engine fast`, second start": bench.replay("second start", small),
        "the same with `-p PROFILE`": bench.replay("second start, profile", small, vehicle=profile),
    }
    bench.turns(rows.values())
    bench.found["second start"] = rows["`cellwarden replay LOG -p IMAGE --engine fast`, second start"].seconds()
    rows["`cellwarden replay LOG -p IMAGE --engine fast`, first start of an image: compiling, one run"] = first
    page.heading("Start-up")
    page.say(f"Whole processes; the log has {SHORT:,} frames of candump text.")
    page.table(
        ("command", ">median", ">best run"),
        [(text, seconds(program.seconds()), seconds(program.seconds(best=True))) for text, program in rows.items()],
    )
    faults(page, rows.values())


# --- real logs --------------------------------------------------------------------------------------------------------


def real_logs(bench, page):
    page.heading("Real logs")
    data = Path(os.environ.get("CELLWARDEN_CORPUS") or CHECKOUT.parent / "shared" / "data")
    logs = [(data / name, vehicle) for name, vehicle in CORPUS if (data / name).exists()]
    if not logs:
        page.say("Not measured: the recorded logs are not on this machine (`CELLWARDEN_CORPUS`).")
        return
    names, rows = ("python", "auto", "fast"), []
    for path, vehicle in logs:
        profile = CHECKOUT / "dbc" / "vehicles" / f"{vehicle}.toml"
        rows.append(
            (path, [bench.replay(name, path, name, profile, env={"CELLWARDEN_CORPUS": str(data)}) for name in names])
        )
    bench.turns(program for _, programs in rows for program in programs)
    page.say("`cellwarden replay LOG -p PROFILE --engine NAME`; unpacking and the profile's compilation included.")
    page.table(
        ("log", ">frames", *(f">`{name}`" for name in names), "verdicts"),
        [
            (
                path.name,
                f"{programs[0].frames:,}",
                *(seconds(p.seconds()) for p in programs),
                same(programs[-1], programs[0]),
            )
            for path, programs in rows
        ],
    )
    faults(page, [program for _, programs in rows for program in programs])


SECTIONS = {
    "formats": end_to_end,
    "convert": convert,
    "engines": engines,
    "core": core_alone,
    "cortex": cortex_m3,
    "growth": growth,
    "memory": memory,
    "start": start_up,
    "real": real_logs,
}
