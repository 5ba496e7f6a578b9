"""Counts the instructions of the C twin: the same loop, decoder, scan and verdicts, compiled by GCC for the Cortex-M3.

    python tests/bench/twin.py [--json FILE]

The core of the twin is written from firmware/cellwarden/core by twin_core.py, its decoder from the compiler's plan of
the vehicle, its layout from layout.py. It runs on the same emulated board, on the same frames. Its state and events
must be those of the core, or nothing is counted.
"""

import argparse
import ast
import json
import random
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import cortex_m3 as bench
from cellwarden.core import layout as L
from cellwarden.core.catalogue import RULES
from cellwarden.engine import Engine
from cellwarden_tools.compiler.checksums import KINDS
from cellwarden_tools.compiler.decoder import by_page, crc_tables_at, last_byte, raw_expression, signal_lines, slot_of
from cellwarden_tools.compiler.image import compile_profile
from cellwarden_tools.engines import cortex_m3 as board
from cellwarden_tools.errors import InputError
from cellwarden_tools.simulator import DEMO_PROFILE
from cellwarden_tools.simulator.run import simulate
from twin_core import BINARY, COMPARE, core_c
from worst_step import CHOICES, FIRST, play

SOURCES = Path(__file__).with_name("twin")
GCC = "arm-none-eabi-gcc"
OPTIONS = [
    "-O2",
    "-mcpu=cortex-m3",
    "-mthumb",
    "-std=c11",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-unused-but-set-variable",
    "-Wno-unused-parameter",
    "-fwrapv",
    "-ffreestanding",
    "-nostdlib",
]

# --- layout.h and decoder.c -------------------------------------------------------------------------------------------


def layout_header():
    """Every number of layout.py as a macro."""
    lines = [
        f"#define {name} ({value})" for name, value in vars(L).items() if name.isupper() and isinstance(value, int)
    ]
    return "/* Written from firmware/cellwarden/core/layout.py. */\n\n" + "\n".join(lines) + "\n"


def c_text(node):
    """A Python expression or statement of the decoder as C. `d0[b + n]` becomes `d[n]`, and so does `dn[b]`."""
    match node:
        case ast.Constant() | ast.Name():
            return ast.unparse(node)
        case ast.UnaryOp(op=ast.USub()):
            return f"-{c_text(node.operand)}"
        case ast.UnaryOp(op=ast.Not()):
            return f"!{c_text(node.operand)}"
        case ast.BinOp(op=ast.FloorDiv()):
            return f"floor_div({c_text(node.left)}, {c_text(node.right)})"
        case ast.BinOp():
            return f"({c_text(node.left)} {BINARY[type(node.op)]} {c_text(node.right)})"
        case ast.BoolOp():
            word = " && " if isinstance(node.op, ast.And) else " || "
            return "(" + word.join(map(c_text, node.values)) + ")"
        case ast.Compare():
            sides = [node.left, *node.comparators]
            pairs = zip(sides, node.ops, sides[1:], strict=False)
            return "(" + " && ".join(f"{c_text(a)} {COMPARE[type(op)]} {c_text(b)}" for a, op, b in pairs) + ")"
        case ast.IfExp():
            return f"({c_text(node.test)} ? {c_text(node.body)} : {c_text(node.orelse)})"
        case ast.Subscript(value=ast.Name(id=name), slice=ast.Name(id="b")):
            return f"d[{name[1:]}]"
        case ast.Subscript(slice=ast.BinOp(left=ast.Name(id="b"))):
            return f"d[{node.slice.right.value}]"
        case ast.Subscript():
            return f"{c_text(node.value)}[{c_text(node.slice)}]"
        case ast.Assign():
            return f"{c_text(node.targets[0])} = {c_text(node.value)};"
        case ast.If(orelse=[]):
            return f"if ({c_text(node.test)}) {{ {' '.join(map(c_text, node.body))} }}"
    raise InputError("twin", f"no C for `{ast.unparse(node)}`")


def c_lines(lines):
    """Lines of the decoder as lines of C."""
    return [c_text(statement) for statement in ast.parse("\n".join(lines)).body]


def c_expression(text):
    return c_text(ast.parse(text, mode="eval").body)


def _named(message, name):
    return next(signal for signal in message.signals if signal.name == name)


def decoder_c(plan):
    """The decoder of a vehicle with one bus in C: a switch over identifiers."""
    if len(plan.profile.buses) != 1:
        raise InputError("twin", "the twin knows vehicles of one bus only")
    state, crc_at = places(plan)
    out = []
    for index, (_, message, trust) in enumerate(plan.messages):
        groups = [(number, group) for number, group in enumerate(plan.groups) if group.message == index]
        always = [s for s in (trust.counter,) if s]
        always += [b.signal for _, g in groups if not g.pages for b in g.bindings]
        always += [_named(message, name) for _, g in groups for name, _ in g.pages[:1]]
        need = max([last_byte(s) for s in always] + ([message.length] if trust.checksum else []) + [0])
        need = max(need, min(max(last_byte(b.signal) for b in g.bindings) for _, g in groups))
        row = state["messages"][0] + index * L.MESSAGE_SIZE
        out.append(f"        case {message.can_id:#x}: {{ /* {message.name} */")
        out.append(f"            if (n < {need}) {{ count_one(s + MALFORMED); break; }}")
        if trust.checksum:
            out += _checksum(plan, message, trust, crc_at, row)
        if trust.counter:
            out += _counter(trust, row)
        _pages(out, plan, message, groups, 0, need, state["groups"][0])
        out.append("            break;\n        }")
    return _DECODER.replace("@CASES@", "\n".join(out)).replace("@STRIDE@", str(L.RECORD_DATA + plan.data_bytes))


_DECODER = """/* Written by tests/bench/twin.py from the vehicle's plan. */

#include "twin.h"

static inline void count_one(int32_t *place) { *place = (*place + 1) & MASK; }

static inline void arrived(int32_t *group, int32_t now)
{
    group[STAMP_MS] = now;
    group[STATUS] = FRESH;
    group[ARRIVALS] = (group[ARRIVALS] + 1) & MASK;
}

int32_t drain(const Box *x, const uint8_t *ring, int32_t count)
{
    int32_t *s = x->state;
    const int32_t *p = x->params;
    int32_t now = s[NOW_MS], left = (s[DUE_MS] - now) & MASK, offset = s[OFFSET_MS], ignored = 0;
    int32_t last = -1;
    (void)p;
    for (const uint8_t *end = ring + count * @STRIDE@; ring < end; ring += @STRIDE@) {
        int32_t raw = *(const int32_t *)(ring + RECORD_T_MS);
        if (raw != last) {
            int32_t t = (raw + offset) & MASK;
            int32_t ahead = (t - now) & MASK;
            last = raw;
            if (ahead < left) {
                now = t;
                left -= ahead;
            } else {
                s[NOW_MS] = now;
                advance(x, t);
                now = s[NOW_MS];
                left = (s[DUE_MS] - now) & MASK;
                offset = s[OFFSET_MS];
                last = -1;
            }
        }
        const uint8_t *d = ring + RECORD_DATA;
        int32_t n = ring[RECORD_LENGTH], v, h, l, k;
        (void)v, (void)h, (void)l, (void)k;
        int32_t id = *(const int32_t *)(ring + RECORD_ID);
        if (id & NOTICE) {
            s[NOW_MS] = now;
            notice(x, id & 255, d[0], ring[RECORD_CHANNEL]);
            ignored++;
            continue;
        }
        switch (id) {
@CASES@
        default:
            ignored++;
        }
    }
    s[NOW_MS] = now;
    s[FRAMES] = (s[FRAMES] + count - ignored) & MASK;
    s[IGNORED] = (s[IGNORED] + ignored) & MASK;
    return count - ignored;
}
"""


def places(plan):
    """Sections of the vehicle's state, and where its checksum tables begin in params."""
    header = {
        L.P_CELLS: plan.profile.cells, L.P_PROBES: plan.profile.probes, L.P_RULES: len(RULES),
        L.P_GROUPS: len(plan.groups), L.P_MESSAGES: len(plan.messages), L.P_MEMBERS: plan.signals,
    }  # fmt: skip
    return L.state_sections(header), crc_tables_at(L.params_sections(header, 0)["crc"][0])


def _checksum(plan, message, trust, crc_at, row):
    polynomial, initial, final = KINDS[trust.checksum_kind]
    byte = trust.checksum.start // 8
    base, step = 0, {"xor8": "k ^ d[{}]", "sum8": "(k + d[{}]) & 255"}.get(trust.checksum_kind)
    if polynomial is not None:
        # The numbers of a table have its place added.
        base, step = crc_at + 256 * plan.crc_kinds.index(trust.checksum_kind), "p[k ^ d[{}]]"
    out = [f"            k = {base + initial};"]
    out += [f"            k = {step.format(j)};" for j in range(message.length) if j != byte]
    return [
        *out,
        f"            int32_t *sums = s + {row + L.CHECKSUM_WRONG};",
        f"            if ((k ^ {base + final}) != d[{byte}]) {{",
        "                count_one(s + CHECKSUM_ERRORS);",
        "                if (*sums < WRONG_LIMIT) ++*sums;",
        "                break;",
        "            }",
        "            if (*sums) --*sums;",
    ]


def _counter(trust, row):
    modulo = 1 << trust.counter.length
    return [
        f"            int32_t *trusted = s + {row};",
        f"            k = {c_expression(raw_expression(trust.counter))};",
        f"            if (trusted[LAST_COUNTER] && k != (trusted[LAST_COUNTER] & {modulo - 1})) {{",
        "                count_one(s + COUNTER_ERRORS);",
        "                if (trusted[WRONG] != WRONG_LIMIT) { trusted[WRONG]++; s[DOUBT] = 1; }",
        "            } else if (trusted[WRONG]) {",
        "                trusted[WRONG]--;",
        "            }",
        f"            trusted[LAST_COUNTER] = k + {modulo + 1};",
        "            if (trusted[WRONG] == WRONG_LIMIT) break;",
    ]


def _pages(out, plan, message, groups, depth, have, groups_at):
    tab = "            " + "    " * depth
    for number, group in groups:
        if len(group.pages) == depth:
            need = max(last_byte(binding.signal) for binding in group.bindings)
            out.append(f"{tab}if (n < {need}) {{ count_one(s + MALFORMED); }} else {{" if need > have else f"{tab}{{")
            out.append(f"{tab}    arrived(s + {groups_at + number * L.GROUP_SIZE}, now);")
            for binding in group.bindings:
                lines, _ = signal_lines(binding, slot_of(binding, plan.profile.cells))
                out += [f"{tab}    {line}" for line in c_lines(lines)]
            out.append(f"{tab}}}")
    for name, sets in by_page(groups, depth).items():
        multiplexer = _named(message, name)
        out.append(f"{tab}switch ({c_expression(raw_expression(multiplexer))}) {{ /* {name} */")
        for ids, members in sorted(sets.items(), key=lambda item: sorted(item[0])):
            out.append(tab + " ".join(f"case {number}:" for number in sorted(ids)))
            _pages(out, plan, message, members, depth + 1, max(have, last_byte(multiplexer)), groups_at)
            out.append(f"{tab}    break;")
        out.append(f"{tab}}}")


# --- building and running ---------------------------------------------------------------------------------------------


def build(plan, folder):
    """Compile the twin of a vehicle; returns the program's path. Raises InputError with the compiler's words."""
    if not shutil.which(GCC):
        raise InputError("twin", f"no {GCC} on this machine", "", "apt-get install gcc-arm-none-eabi")
    folder = Path(folder)
    (folder / "layout.h").write_text(layout_header() + f"#define RECORD_BYTES {L.RECORD_DATA + plan.data_bytes}\n")
    (folder / "core.c").write_text(core_c())
    (folder / "decoder.c").write_text(decoder_c(plan))
    program = folder / "twin.elf"
    files = [SOURCES / "main.c", folder / "core.c", folder / "decoder.c"]
    command = [GCC, *OPTIONS, f"-I{folder}", f"-I{SOURCES}", f"-T{SOURCES / 'link.ld'}", "-o", program, *files, "-lgcc"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()[-1:]
        raise InputError("twin", f"{GCC} failed ({' '.join(said[:1])})")
    return program


NOTHING, DRAIN, SCAN, ADVANCE = range(4)
MOST_EVENTS = 4096  # that main.c has room for


class Twin:
    """The twin of a compiled vehicle: jobs are collected, then run."""

    def __init__(self, compiled, folder):
        self.image = compiled.image
        self.program = build(compiled.plan, folder)
        self.words = L.state_sections(self.image.params)["memory"][1]
        self.data = bytearray()
        self.jobs = []
        self.job(NOTHING)

    def place(self, data):
        """Put bytes behind the head; returns their address."""
        self.data += bytes(-len(self.data) % 8)
        self.data += data
        return board.START + 32 + len(self.data) - len(data)

    def job(self, kind, state=0, records=0, count=0, batch=1, show=False):
        self.jobs.append(struct.pack("<6I", kind, state, records, count, batch, show))

    def run(self):
        """[(instructions, (state, events) or None)] of the jobs, in their order; what is not shown is None."""
        params = self.place(self.image.params.tobytes())
        jobs = self.place(b"".join(self.jobs))
        head = struct.pack("<5I", len(self.image.params), self.words, len(self.jobs), params, jobs).ljust(32, b"\0")
        lines = board.run(head + self.data, counted=True, firmware=self.program)
        rows = []
        for line in lines:
            word, *rest = line.split()
            if word != "C":
                raise InputError("twin", line)
            ticks, state, events = [*rest, "", ""][:3]
            rows.append((int(ticks, 16), (bytes.fromhex(state), bytes.fromhex(events)) if state else None))
        off = rows[0][0]
        return [(round((ticks - off) * bench.INSTRUCTIONS_A_TICK), shown) for ticks, shown in rows[1:]]


def core_after(image, start, frames=()):
    """(state, events) of the core after these frames from a state, or after the next scan where there are none."""
    core = Engine(image, MOST_EVENTS)
    memoryview(core.state).cast("B")[:] = start
    if frames:
        ring = core.ring(len(frames))
        ring[0][:] = bench.pack(image, frames)
        core.drain(ring, len(frames))
    else:
        core.advance((core.state[L.DUE_MS] - core.state[L.OFFSET_MS]) & L.MASK)
    made = core.events[L.E_HEAD]
    assert made < MOST_EVENTS
    return core.state.tobytes(), core.events[L.E_FIRST : L.E_FIRST + made * L.EVENT_SIZE].tobytes()


def compare(shown, wanted, after):
    """Raises AssertionError where (state, events) of the twin are not those of the core."""
    for name, here, there in zip(("state", "events"), wanted, shown, strict=True):
        assert here == there, f"the twin's {name} differs from the core's after {after}"


def same_work(compiled, folder):
    """Raises AssertionError where the twin does not what the core does: on streams with alarms and with errors, and in
    each scan of a vehicle that sends anything."""
    image = compiled.image
    twin = Twin(compiled, folder)
    streams = {}
    for name, minutes in (("cell_over", 2.7), ("overcurrent", 2.5)):
        streams[name] = [(t // 1000, can_id, data) for t, _, can_id, data in simulate(name, DEMO_PROFILE, 1, minutes)]
    streams["cut"] = [
        (t, i, data[: n % 9] if n % 50 == 0 else data) for n, (t, i, data) in enumerate(streams["cell_over"])
    ]
    streams["late"] = [frame for n, frame in enumerate(streams["overcurrent"]) if n // 3000 % 3]
    # The cell, or the current, is gone before the alarm that it has started is asserted.
    streams["unheard_cell"] = [f for f in streams["cell_over"] if f[2][0] & 31 != 13 or not 90_100 < f[0] < 92_000]
    streams["unheard_current"] = [f for f in streams["overcurrent"] if f[1] != 0x186 or not 84_000 < f[0] < 86_000]
    stuck = streams["stuck"] = []  # for a while each message is sent as it was, and at the end
    held = {}
    for n, (t, i, data) in enumerate(streams["overcurrent"][:24_100]):
        if n // 3000 % 3 == 2:
            data = held.setdefault(i, data)
        else:
            held.clear()
        stuck.append((t, i, data))
    start = bench.state_after(image, [])
    address = twin.place(start)
    for stream in streams.values():
        twin.job(DRAIN, address, twin.place(bench.pack(image, stream)), len(stream), 1, show=True)
    before = []
    for seed in range(3):
        drive = bench.Drive(compiled)
        play(drive, anything(random.Random(seed)))
        before += drive.before
    for state in before:
        twin.job(ADVANCE, twin.place(state), show=True)
    rows = twin.run()
    for (name, stream), (_, shown) in zip(streams.items(), rows, strict=False):
        compare(shown, core_after(image, start, stream), f"`{name}`")
    for n, (state, (_, shown)) in enumerate(zip(before, rows[len(streams) :], strict=True)):
        compare(shown, core_after(image, state), f"random scan {n}")


def anything(rng):
    """Now this, now that changes from one scan to the next (worst_step.play)."""
    genome = {FIRST: {"cells": "flat", "probes": "flat"}}
    for scan in range(FIRST + 1, 0):
        names = [name for name in CHOICES if rng.random() < 0.01]
        genome[scan] = {name: rng.choice(CHOICES[name]) for name in names}
    return genome


def measure():
    """What tests/bench/cortex_m3.py counts of the core, of the twin: {"frame", "message", "scan", "step"}."""
    compiled = compile_profile(bench.CHECKOUT / "dbc" / "demo_pack.toml")
    image = compiled.image
    out = {"frame": {}, "message": {}, "scan": {}, "step": {}}
    with tempfile.TemporaryDirectory(prefix="cellwarden-") as folder:
        same_work(compiled, folder)
        twin = Twin(compiled, folder)
        names = []
        frames = bench.driving(4)
        warm = bench.FRAMES_A_SECOND * bench.WARM_S // 32 * 32
        wanted = {}
        for name, stream in bench.mixes(image, frames).items():
            warmed = bench.state_after(image, stream[:warm])
            state = twin.place(warmed)
            rest = stream[warm:]
            address = twin.place(bench.pack(image, rest))
            for batch in (32, 1000):
                whole = len(rest) // batch * batch
                names.append(("frame", f"{name}_{batch}", whole))
                twin.job(DRAIN, state, address, len(rest), batch, show=True)
                wanted[len(names) - 1] = core_after(image, warmed, rest[:whole])
        fresh = twin.place(bench.state_after(image, []))
        for can_id, label in [(i, n) for _, n, i in image.names["messages"]] + [(0x555, "unknown")]:
            stream = [f for f in frames if f[0] == can_id] or [(can_id, bytes(8))]
            stream = (stream * 65)[:65] if len(stream) < 65 else stream[:65]
            address = twin.place(bench.pack(image, [(50, *frame) for frame in stream]))
            for count in (1, 65):
                names.append(("message", label, count))
                twin.job(DRAIN, fresh, address, count, count)
        for story in bench.SCANS:
            drive = bench.Drive(compiled)
            story(drive)
            names.append(("scan", story.__name__, 1))
            twin.job(SCAN, twin.place(drive.before[-1]))
            for n in range(len(drive.before) if story in bench.TAKEN_WHOLE else 1):
                names.append(("step", story.__name__, 1))
                twin.job(ADVANCE, twin.place(drive.before[-1 - n]), show=n == 0)
            wanted[len(names) - (n + 1)] = core_after(image, drive.before[-1])
        rows = twin.run()
    for n, ((key, name, count), (instructions, shown)) in enumerate(zip(names, rows, strict=True)):
        if shown:
            compare(shown, wanted[n], f"{key} {name}")
        if key == "message":
            before = out[key].get(name, 0)
            out[key][name] = instructions if count == 1 else round((instructions - before) / (count - 1), 1)
        elif key == "frame":
            out[key][name] = round(instructions / count, 1)
        else:
            out[key][name] = max(instructions, out[key].get(name, 0))
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE", help="write the counts to FILE")
    words = parser.parse_args()
    try:
        twin, core = measure(), bench.measure()
    except (InputError, AssertionError) as error:
        sys.exit(f"twin: {error}")
    print("instructions                              viper         C   viper / C")
    for key in ("frame", "message", "scan", "step"):
        for name, there in twin[key].items():
            here = core[key][name]
            print(f"  {key + ' ' + name.replace('_', ' '):36}{here:>10,}{there:>10,}{here / there:>12.2f}")
    if words.json:
        Path(words.json).write_text(json.dumps({"core": core, "twin": twin}, indent=1) + "\n")


if __name__ == "__main__":
    main()
