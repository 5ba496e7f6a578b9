"""Counts the instructions of the detection core on an emulated Cortex-M3, exactly and repeatably.

    python tests/bench/cortex_m3.py [--growth] [--story NAME] [--json FILE]

Measured is the `cellwarden` and `cellwarden_tools` that this Python imports: PYTHONPATH=COPY/firmware:COPY/host_tools
measures another copy. QEMU runs with -icount: an instruction takes
64 ns of virtual time, and the board's timer ticks every 40 ns, so a count is exact to one or two instructions. The cost
of reading the timer is taken off.
"""

import argparse
import inspect
import json
import random
import re
import sys
import time
from array import array
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "core"))

import cellwarden
from cellwarden.core import layout as L
from cellwarden.core import scan as scan_of_core
from cellwarden_tools.compiler.image import compile_profile
from cellwarden_tools.engines import cortex_m3 as board
from cellwarden_tools.errors import InputError
from cellwarden_tools.simulator import DEMO_PROFILE
from cellwarden_tools.simulator.run import simulate
from rig import HEALTHY, FrameRig

CHECKOUT = Path(__file__).parents[2]
TICK_NS = 40
INSTRUCTIONS_A_TICK = TICK_NS / (1 << board.SHIFT)
FRAMES_A_SECOND = 4505  # a 500 kbit/s bus full of 8-byte standard frames
WARM_S, MEASURED_S = 1, 5
GUEST = Path(__file__).with_name("cortex_m3_guest.py")

# What a scan calls, by what it is for. The verdicts of all groups are judge's: a row at rest costs the same in each.
GROUPS = {
    "time, and what is overdue": ("expire",),
    "A: limits": ("measure_pack", "measure_arrays"),
    "B: cells against each other": ("sample", "middle", "analyse"),
    "B and C: probes against each other": ("probes", "unmask"),
    "B: the pack over time": ("watch",),
    "C and D: trust, thermal runaway": ("hazards",),
    "verdicts of all rules": ("judge",),
}
PARTS = tuple(name for names in GROUPS.values() for name in names)


class Guest:
    """One run of QEMU on one image: jobs are collected, then run; `counts` is {name: [(instructions, rest), …]}."""

    def __init__(self, image):
        self.image = image
        self.data = bytearray()
        self.lines = []
        self.text = GUEST.read_text(encoding="utf-8")
        self.counts = {}

    def place(self, data):
        """Put bytes into the board's memory; returns the text of their address."""
        self.data += bytes(-len(self.data) % 8)
        at = len(self.data)
        self.data += data
        return f"DATA + {at}"

    def job(self, call):
        self.lines.append(call)

    def run(self, options=()):
        files = board.device_package() | board.image_files(self.image)
        sizes = {name: len(data) for name, data in files.items() if name.endswith(".mpy")}
        files["main.mpy"] = board.compile_mpy("main.py", self.text + "\n" + "\n".join(self.lines))
        lines = board.run(board.blob(files, bytes(self.data)), counted=True, options=options)
        self.image_bytes = sizes
        raw = {}
        for line in lines:
            word, *rest = line.split() or [""]
            if word != "C":
                raise InputError("the emulated board", "\n".join(lines[-6:]))
            name, ticks, *more = rest
            raw.setdefault(name, []).append((int(ticks), *map(int, more)))
        off = {True: raw["loop"][0][0], False: raw["overhead"][0][0]}
        for name, rows in raw.items():
            if name not in ("loop", "overhead"):
                taken = off[name.startswith("drain")]
                self.counts[name] = [(round((row[0] - taken) * INSTRUCTIONS_A_TICK), *row[1:]) for row in rows]
        known = self.counts["known2000"][0][0] - self.counts["known1000"][0][0]
        assert abs(known - 3000) <= 1, f"1,000 rounds of a loop of three instructions count {known}"
        return self


# --- frames -----------------------------------------------------------------------------------------------------------


def pack(image, frames):
    """(t_ms, can_id, data) as ring records."""
    size = image.params[L.P_DATA_BYTES]
    out = bytearray()
    for t_ms, can_id, data in frames:
        out += (t_ms & L.MASK).to_bytes(4, "little") + can_id.to_bytes(4, "little") + bytes([0, len(data), 0, 0])
        out += data.ljust(size, b"\0")
    return bytes(out)


def driving(minutes):
    """(can_id, data) of a healthy pack on the road, as it sends them."""
    return [(can_id, data) for _, _, can_id, data in simulate("healthy_drive", DEMO_PROFILE, 1, minutes)]


def mixes(image, frames):
    """{name: [(t_ms, can_id, data)]}: full buses of WARM_S + MEASURED_S seconds."""
    count = FRAMES_A_SECOND * (WARM_S + MEASURED_S)
    ids = {can_id for _, _, can_id in image.names["messages"]}
    known = [frame for frame in frames if frame[0] in ids]
    rng = random.Random(1)
    foreign = [can_id for can_id in range(0x80, 0x7FF, 23) if can_id not in ids]
    half = []
    for frame in known:
        half += [frame, (rng.choice(foreign), rng.randbytes(8))]
    return {
        name: [(n * 1000 // FRAMES_A_SECOND, *frame) for n, frame in enumerate(stream[:count])]
        for name, stream in (("own", known), ("half_unknown", half), ("as_sent", frames))
    }


def frame_jobs(guest, image, frames):
    """Whole buses, and one message at a time."""
    warm = FRAMES_A_SECOND * WARM_S // 32 * 32
    for name, stream in mixes(image, frames).items():
        state = guest.place(state_after(image, stream[:warm]))
        rest = stream[warm:]
        address = guest.place(pack(image, rest))
        for batch in (32, 1000):
            guest.job(f"drains('drain_{name}_{batch}', {state}, {address}, {len(rest)}, {batch})")
    ids = [can_id for _, _, can_id in image.names["messages"]]
    one_by_one(guest, image, {can_id: [f for f in frames if f[0] == can_id] for can_id in [*ids, 0x555]})


def one_by_one(guest, image, streams):
    """One frame of each message: the difference of draining 1 + k and 1, at one time so that no scan comes between."""
    fresh = guest.place(state_after(image, []))
    for can_id, stream in streams.items():
        stream = stream or [(can_id, bytes(8))]
        k = 64
        some = (stream * (k + 1))[: k + 1] if len(stream) <= k else stream[: k + 1]
        address = guest.place(pack(image, [(50, *frame) for frame in some]))
        for records in (1, k + 1):
            guest.job(f"drains('drain_{can_id}_of_{records}', {fresh}, {address}, {records}, {records})")
    guest.job(f"drains('drain_none', {fresh}, {address}, 1, 1)")


def state_after(image, frames, events=256):
    """Bytes of the state after these frames, on CPython; the clock has started at 0."""
    from cellwarden.engine import Engine

    core = Engine(image, events)
    core.advance(0)
    ring = core.ring(max(len(frames), 1))
    ring[0][: core.record_bytes * len(frames)] = pack(image, frames)
    core.drain(ring, len(frames))
    return core.state.tobytes()


# --- states before a scan ---------------------------------------------------------------------------------------------

MOVING = {L.PACK_CURRENT_MA: 60_000}
BAD = {  # every rule that can hold at once, at its third level
    L.PACK_VOLTAGE_MV: 200_000, L.PACK_CURRENT_MA: -300_000, L.SOC_PERMILLE: 1100, L.INSULATION_OHM: 20_000,
    L.VEHICLE_ON: 1, L.CHARGING: 1, L.CONTACTORS: 1, L.HVIL_OK: 0, L.BMS_LEVEL: 3,
    **{L.BMS_FLAG_9 + i: 1 for i in range(6)},
}  # fmt: skip


class Drive(FrameRig):
    """A vehicle driven by real frames that keeps the states it had just before its scans."""

    def __init__(self, compiled):
        self.before = []
        super().__init__(compiled)

    def scan(self, n=1, samples=1, silent=()):
        for _ in range(n):
            if samples:
                for number in range(len(self.sender.groups)):
                    if number not in silent:
                        self.send(self.sender.frame(number, self.wanted))
            self.before.append(self.engine.state.tobytes())
            self.engine.advance((self.clock[L.DUE_MS] - self.clock[L.OFFSET_MS]) & L.MASK)
            self.take()

    def put(self, values):
        for slot, value in values.items():
            self[slot] = value

    def bad_cells(self, over=4400, under=2400):
        half = self.cells // 2
        self.wanted[L.SCALARS : L.SCALARS + self.cells] = array("i", [over] * half + [under] * (self.cells - half))
        probes = [700, -150] * (self.probes // 2)
        self.wanted[L.SCALARS + self.cells :] = array("i", probes + [250] * (self.probes - len(probes)))

    def rising(self, start, step):
        """Each cell higher than the one before: the search for the highest stores at every cell."""
        self.wanted[L.SCALARS : L.SCALARS + self.cells] = array("i", [start + step * i for i in range(self.cells)])


def driving_quietly(drive):
    drive.put(MOVING)
    drive.scan(40)


def parked_and_calm(drive):
    drive.scan(40)


def calm_cells_rising(drive):
    for n in range(40):
        drive.rising(3600 + n % 2, 1)
        drive.scan()


def every_rule_begins(drive):
    drive.put(MOVING)
    drive.scan(5)
    drive.put(BAD)
    drive.bad_cells()
    drive.scan(1)


def every_rule_asserted(drive):
    every_rule_begins(drive)
    drive.scan(320)


def every_rule_starts_to_clear(drive):
    every_rule_asserted(drive)
    drive.put(HEALTHY)
    drive.cells_read(3700)
    drive.probes_read(250)
    drive.scan(1)


def every_rule_clears(drive):
    every_rule_starts_to_clear(drive)
    drive.scan(210)


def everything_falls_silent(drive):
    every_rule_asserted(drive)
    drive.scan(120, samples=0)


def everything_at_once(drive):
    """Fifteen rules change level in the same scan, the cells step up together after two quiet seconds, each higher than
    the one before it: all timers end at scan -1. Only the over-current in the other direction cannot come along."""
    every_rule_asserted(drive)
    first_probe = L.SCALARS + drive.cells
    plan = {
        -201: {L.INSULATION_OHM: 1_000_000},
        -101: {L.CHARGING: 0, L.SOC_PERMILLE: 500, L.PACK_VOLTAGE_MV: 355_200}
        | {L.SCALARS + i: 4000 + i for i in range(drive.cells)}
        | {first_probe + i: 250 for i in range(drive.probes)},
        -51: {L.PACK_CURRENT_MA: 0, L.SOC_PERMILLE: 10},
        -31: {L.HVIL_OK: 1},
        -11: {L.BMS_LEVEL: 0, L.PACK_VOLTAGE_MV: 460_000, **{L.BMS_FLAG_9 + i: 0 for i in range(6)}}
        | {L.SCALARS + i: 4360 + i for i in range(drive.cells)},
        -1: {L.SCALARS + i: 4440 + i for i in range(drive.cells)},
    }
    for scan in range(-201, 0):
        drive.put(plan.get(scan, {}))
        drive.scan()


def found_by_search(drive):
    from worst_step import story

    story(drive)


SCANS = (
    driving_quietly, parked_and_calm, calm_cells_rising, every_rule_begins, every_rule_asserted,
    every_rule_starts_to_clear, every_rule_clears, everything_falls_silent, everything_at_once, found_by_search,
)  # fmt: skip
TAKEN_WHOLE = (
    driving_quietly,
    parked_and_calm,
    calm_cells_rising,
    every_rule_begins,
    every_rule_asserted,
    every_rule_clears,
    everything_falls_silent,
    everything_at_once,
)  # each of their scans may be the worst


def scan_jobs(guest, compiled):
    """The last scan of each story, and every scan of those that change most."""
    for story in SCANS:
        drive = Drive(compiled)
        story(drive)
        guest.job(f"scans('scan_{story.__name__}', {guest.place(drive.before[-1])}, 1)")
        if story in TAKEN_WHOLE:
            states = list(dict.fromkeys(drive.before))
            guest.job(f"steps('step_{story.__name__}', {guest.place(b''.join(states))}, {len(states)})")
        else:
            guest.job(f"steps('step_{story.__name__}', {guest.place(drive.before[-1])}, 1)")


# --- parts ------------------------------------------------------------------------------------------------------------


PART_STORIES = (driving_quietly, parked_and_calm, every_rule_asserted)
PART_SCANS = 36  # three samples of the cells and of the probes


def part_jobs(guest, compiled):
    """What each function costs in a story's last scans: it is called through a viper function that reads the timer."""
    text = ["from cellwarden.core import scan as scan_module", f"spent = array('i', bytes({4 * len(PARTS)}))"]
    for number, name in enumerate(PARTS):
        function = getattr(scan_of_core, name)
        names = ", ".join(f"a{i}" for i in range(len(inspect.signature(function).parameters)))
        text.append(
            f"inner_{name} = scan_module.{name}\n@micropython.viper\ndef timed_{name}({names}) -> int:\n"
            f"    t = ptr32(0x40000004)\n    s = ptr32(spent)\n    before = t[0]\n"
            f"    result = int(inner_{name}({names}))\n    s[{number}] = s[{number}] + before - t[0] - int(NOTHING)\n"
            f"    return result\n"
        )
    text.append(
        "def parts(name, address, count):\n"
        "    for n in range(-1, count):\n"
        "        state_from(address + max(n, 0) * STATE_BYTES)\n"
        "        for i in range(len(spent)):\n"
        "            spent[i] = 0\n"
        "        advance(box, engine.state[L.DUE_MS])\n"
        "        if n >= 0:\n"
        "            print('C', name, 0, *spent)\n"
    )
    states = {}
    for story in PART_STORIES:
        drive = Drive(compiled)
        story(drive)
        place = guest.place(b"".join(drive.before[-PART_SCANS:]))
        states[story.__name__] = place
        guest.job(f"steps('whole_{story.__name__}', {place}, {PART_SCANS})")
    guest.job("\n".join(text))
    guest.job("NOTHING = time_nothing()")
    for name in PARTS:
        guest.job(f"scan_module.{name} = timed_{name}")
    for name, place in states.items():
        guest.job(f"parts('parts_{name}', {place}, {PART_SCANS})")


def parts_of(counts, story):
    """{"mean": {group: instructions a scan}, "most": {function: instructions where it is called}} of a story."""
    rows = [[ticks * INSTRUCTIONS_A_TICK for ticks in row[1:]] for row in counts[f"parts_{story}"]]
    whole = sum(row[0] for row in counts[f"whole_{story}"]) / len(rows)
    by_name = {name: [row[n] for row in rows] for n, name in enumerate(PARTS)}
    mean = {group: round(sum(sum(by_name[name]) for name in names) / len(rows)) for group, names in GROUPS.items()}
    mean["the scan's own"] = round(whole) - sum(mean.values())
    mean["together"] = round(whole)
    return {"mean": mean, "most": {name: round(max(values)) for name, values in by_name.items()}}


# --- growth -----------------------------------------------------------------------------------------------------------


def with_cells(folder, cells):
    """The demonstration pack with another number of cells."""
    source = Path(DEMO_PROFILE)
    profile = source.read_text().replace("cells     = 96", f"cells     = {cells}")
    assert f"cells     = {cells}" in profile
    lines = []
    for line in source.with_name("demo_pack.dbc").read_text().splitlines():
        if re.match(r" SG_ Cell\d", line):
            if line.startswith(" SG_ Cell1 "):
                lines += [
                    f' SG_ Cell{n + 1} m{n // 3} : {16 + n % 3 * 16}|16@1+ (0.001,0) [0|5] "V"  TBOX'
                    for n in range(cells)
                ]
            continue
        lines.append(line.replace("SG_ Page M : 0|5@1+ (1,0) [0|31]", "SG_ Page M : 0|7@1+ (1,0) [0|127]"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "demo_pack.dbc").write_text("\n".join(lines) + "\n")
    (folder / "demo_pack.toml").write_text(profile)
    return compile_profile(folder / "demo_pack.toml")


def with_messages(folder, messages, signals):
    """A vehicle of so many messages of so many cells each."""
    lines = ['VERSION ""', "NS_ :", "BS_:", "BU_: BMS"]
    for m in range(messages):
        lines.append(f"BO_ {0x100 + 7 * m} M{m}: 8 BMS")
        lines += [
            f' SG_ Cell{m * signals + k + 1} : {16 * k}|16@1+ (0.001,0) [0|5] "V" X' for k in range(signals)
        ]  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "many.dbc").write_text("\n".join(lines) + "\n")
    (folder / "many.toml").write_text(
        f'[vehicle]\nname = "many"\nchemistry = "nmc"\ncells = {messages * signals}\ndeadline_ms = 5000\n'
        '[[bus]]\ndbc = "many.dbc"\n[signals]\ncell_voltage = "*.Cell{n}"\n'
    )
    return compile_profile(folder / "many.toml")


def growth(folder):
    """{"cells": {n: {story: its worst scan}}, "messages": {(messages, signals): instructions a frame}}."""
    out = {"cells": {}, "messages": {}}
    for cells in (48, 96, 192, 384):
        compiled = with_cells(folder / f"cells{cells}", cells)
        guest = Guest(compiled.image)
        for story in (driving_quietly, parked_and_calm):
            drive = Drive(compiled)
            story(drive)
            guest.job(f"scans('{story.__name__}', {guest.place(b''.join(drive.before))}, {len(drive.before)})")
        counts = guest.run().counts
        out["cells"][cells] = {
            story.__name__: max(row[0] for row in counts[story.__name__])
            for story in (driving_quietly, parked_and_calm)
        }
    for signals in (1, 4):
        for messages in (8, 24, 60, 150):
            image = with_messages(folder / f"messages{messages}x{signals}", messages, signals).image
            guest = Guest(image)
            ids = [can_id for _, _, can_id in image.names["messages"]]
            data = (3700).to_bytes(2, "little") * 4
            rng = random.Random(2)
            stream = [(50, rng.choice(ids), data) for _ in range(4096)]
            fresh, address = guest.place(state_after(image, [])), guest.place(pack(image, stream))
            guest.job(f"drains('drain_some', {fresh}, {address}, 2048, 2048)")
            guest.job(f"drains('drain_more', {fresh}, {address}, 4096, 4096)")
            counts = guest.run().counts
            out["messages"][f"{messages}x{signals}"] = round(
                (counts["drain_more"][0][0] - counts["drain_some"][0][0]) / 2048, 1
            )
    return out


# --- the table --------------------------------------------------------------------------------------------------------


def measure():
    """Everything about the demonstration vehicle, as one dict."""
    compiled = compile_profile(CHECKOUT / "dbc" / "demo_pack.toml")
    image = compiled.image
    frames = driving(4)
    guest = Guest(image)
    frame_jobs(guest, image, frames)
    scan_jobs(guest, compiled)
    part_jobs(guest, compiled)
    counts = guest.run().counts
    out = {"frame": {}, "message": {}, "scan": {}, "step": {}, "parts": {}}
    for name in ("own", "half_unknown", "as_sent"):
        for batch in (32, 1000):
            instructions, n, events, _ = counts[f"drain_{name}_{batch}"][0]
            out["frame"][f"{name}_{batch}"] = round(instructions / n, 1)
            assert not events, "a healthy drive made events"
    out["call"] = counts["drain_none"][0][0]
    names = {can_id: name for _, name, can_id in image.names["messages"]} | {0x555: "unknown"}
    for can_id, name in names.items():
        one, many = counts[f"drain_{can_id}_of_1"][0][0], counts[f"drain_{can_id}_of_65"][0][0]
        out["message"][name] = round((many - one) / 64, 1)
    for name, rows in counts.items():
        if name.startswith("scan_"):
            out["scan"][name[5:]] = rows[0][0]
        if name.startswith("step_"):
            out["step"][name[5:]] = max(row[0] for row in rows)
    out["parts"] = {story.__name__: parts_of(counts, story.__name__) for story in PART_STORIES}
    out["part_scans"] = PART_SCANS
    out["worst_step"] = max(out["step"].values())
    out["mpy_bytes"] = guest.image_bytes
    return out


def show_story(name):
    """Every scan of a story: instructions of its step, and its events."""
    compiled = compile_profile(CHECKOUT / "dbc" / "demo_pack.toml")
    drive = Drive(compiled)
    {story.__name__: story for story in SCANS}[name](drive)
    guest = Guest(compiled.image)
    guest.job(f"steps('step', {guest.place(b''.join(drive.before))}, {len(drive.before)})")
    for instructions, scan, events in guest.run().counts["step"]:
        print(f"{scan - len(drive.before) + 1:>6}{instructions:>10,}{events:>4} events")


def show(out):
    source = Path(cellwarden.__file__).parent
    inside = source.is_relative_to(CHECKOUT)
    print(f"the core in {source.relative_to(CHECKOUT) if inside else source}")
    print("\ninstructions a frame, all in, scans at 10 Hz included (4,505 frames/s)")
    for name, value in out["frame"].items():
        print(f"  {name:28}{value:>10,.1f}")
    print(f"\ninstructions of one frame, no scan between (the call of drain with one unknown frame: {out['call']:,})")
    for name, value in out["message"].items():
        print(f"  {name:28}{value:>10,.1f}")
    print("\ninstructions of a scan                   scan()   worst step of that story (advance(), the scan in it)")
    for name, value in out["scan"].items():
        print(f"  {name:36}{value:>10,}{out['step'][name]:>10,}")
    print(f"  worst single step{'':29}{out['worst_step']:>10,}")
    for story, parts in out["parts"].items():
        print(f"\na scan on average, {story.replace('_', ' ')}")
        for name, value in parts["mean"].items():
            print(f"  {name:36}{value:>10,}")
        print("  at most: " + ", ".join(f"{name} {value:,}" for name, value in parts["most"].items()))
    if "growth" in out:
        print("\ngrowth: the worst scan")
        for cells, row in out["growth"]["cells"].items():
            print(f"  {cells:>4} cells   " + "   ".join(f"{k} {v:,}" for k, v in row.items()))
        print("growth: a frame (messages x signals)")
        for size, value in out["growth"]["messages"].items():
            print(f"  {size:>8} {value:>8}")
    print(
        "\n.mpy for armv7m, bytes: "
        + ", ".join(f"{k.removeprefix('cellwarden/')} {v}" for k, v in out["mpy_bytes"].items())
    )
    print(f"  together {sum(out['mpy_bytes'].values()):,}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--growth", action="store_true", help="a scan against the cells, a frame against the messages")
    parser.add_argument("--story", metavar="NAME", help="only this story's scans, one by one")
    parser.add_argument("--json", metavar="FILE", help="write the counts to FILE")
    words = parser.parse_args()
    started = time.monotonic()
    try:
        if words.story:
            return show_story(words.story)
        out = measure()
        if words.growth:
            import tempfile

            with tempfile.TemporaryDirectory(prefix="cellwarden-") as folder:
                out["growth"] = growth(Path(folder))
    except InputError as error:
        sys.exit(f"cortex_m3: {error}")
    show(out)
    print(f"took {time.monotonic() - started:.1f} s")
    if words.json:
        Path(words.json).write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
