"""Looks for the scan that costs the most instructions: a random climb over what a vehicle sends before it.

    python tests/bench/worst_step.py [--seconds 120] [--seed 1]

The climb begins where the story `everything_at_once` of cortex_m3.py does, every rule asserted, and changes at which
scan which quantity reads what. The best is kept in worst_step.json, which cortex_m3.py counts with its stories.
"""

import argparse
import json
import random
import time
from pathlib import Path

import cortex_m3 as bench
from cellwarden.core import layout as L
from cellwarden_tools.compiler.image import compile_profile

FOUND = Path(__file__).with_name("worst_step.json")
FIRST = -201
SCANS = (-201, -152, -101, -52, -51, -50, -31, -22, -21, -20, -12, -11, -10, -7, -6, -5, -4, -3, -2, -1)
NA = L.NA

# What each target may read: a slot's value, a pattern of the cells or of the probes, or how many groups fall silent.
CHOICES = {
    "pack_voltage": (355_200, 460_000, 200_000, NA),
    "pack_current": (0, -2_000, 60_000, -300_000, 300_000, NA),
    "soc": (500, 10, 1100, NA),
    "insulation": (1_000_000, 20_000, NA),
    "charging": (0, 1, NA),
    "contactors": (0, 1),
    "hvil": (0, 1),
    "bms_level": (0, 1, 2, 3),
    "bms_flags": (0, 1),
    "limits": (200_000, 0, NA),
    "cells": ("flat", "rising", "high", "higher", "low", "lower", "falling", "apart", "one high", "one low"),
    "lost_cells": ("none", "first", "last", "some"),
    "probes": ("flat", "rising", "falling", "apart", "hot", "cold"),
    "lost_probes": ("none", "first", "last"),
    "silent": (0, 1, 2, 4),
}
SLOTS = {
    "pack_voltage": (L.PACK_VOLTAGE_MV,),
    "pack_current": (L.PACK_CURRENT_MA,),
    "soc": (L.SOC_PERMILLE,),
    "insulation": (L.INSULATION_OHM,),
    "charging": (L.CHARGING,),
    "contactors": (L.CONTACTORS,),
    "hvil": (L.HVIL_OK,),
    "bms_level": (L.BMS_LEVEL,),
    "bms_flags": tuple(range(L.BMS_FLAG_9, L.SCALARS)),
    "limits": (L.MAX_DISCHARGE_MA, L.MAX_CHARGE_MA),
}
CELLS = {
    "flat": lambda i, n: 3700,
    "rising": lambda i, n: 4000 + i,
    "high": lambda i, n: 4360 + i,
    "higher": lambda i, n: 4440 + i,
    "low": lambda i, n: 2300 + i,
    "lower": lambda i, n: 2490 - i,
    "falling": lambda i, n: 4100 - i,
    "apart": lambda i, n: 4400 if i < n // 2 else 2400,
    "one high": lambda i, n: 4400 if i == n - 1 else 3700,
    "one low": lambda i, n: 2400 if i == n - 1 else 3700,
}
PROBES = {
    "flat": lambda i, n: 250,
    "rising": lambda i, n: 250 + 10 * (i % 10),
    "falling": lambda i, n: 300 - 10 * (i % 10),
    "apart": lambda i, n: -150 if i % 2 else 700,
    "hot": lambda i, n: 600 + 10 * i,
    "cold": lambda i, n: -150 - 10 * (i % 10),
}

START = {
    -201: {"insulation": 1_000_000},
    -101: {"charging": 0, "soc": 500, "pack_voltage": 355_200, "cells": "rising", "probes": "flat"},
    -51: {"pack_current": 0, "soc": 10},
    -31: {"hvil": 1},
    -11: {"bms_level": 0, "bms_flags": 0, "pack_voltage": 460_000, "cells": "high"},
    -1: {"cells": "higher"},
}


def _lost(what, n):
    return {"none": (), "first": (0,), "last": (n - 1,), "some": tuple(range(0, n, 7))}[what]


def play(drive, genome):
    """Send what the genome says, up to its last scan."""
    held = {"cells": "apart", "lost_cells": "none", "probes": "apart", "lost_probes": "none", "silent": 0}
    groups = len(drive.sender.groups)
    for scan in range(FIRST, 0):
        told = genome.get(scan, {})
        for target, choice in told.items():
            if target in SLOTS:
                drive.put(dict.fromkeys(SLOTS[target], choice))
            else:
                held[target] = choice
        if told:
            for target, count, first in (
                ("cells", drive.cells, L.SCALARS),
                ("probes", drive.probes, L.SCALARS + drive.cells),
            ):
                read = (CELLS if target == "cells" else PROBES)[held[target]]
                lost = _lost(held[f"lost_{target}"], count)
                drive.put({first + i: NA if i in lost else read(i, count) for i in range(count)})
        drive.scan(silent=range(groups - held["silent"], groups) if held["silent"] else ())


def story(drive):
    """The best that the search has found."""
    bench.every_rule_asserted(drive)
    told = json.loads(FOUND.read_text())
    play(drive, {int(scan): changes for scan, changes in told["genome"].items()})


def mutated(genome, rng):
    out = {scan: dict(changes) for scan, changes in genome.items()}
    for _ in range(rng.choice((1, 1, 2, 3))):
        scan = rng.choice(SCANS)
        target = rng.choice(list(CHOICES))
        changes = out.setdefault(scan, {})
        if target in changes and rng.random() < 0.4:
            del changes[target]
        else:
            changes[target] = rng.choice(CHOICES[target])
    return out


class Climb:
    """The state in which every rule is asserted, and what it takes to go on from it again and again."""

    def __init__(self):
        self.compiled = compile_profile(bench.CHECKOUT / "dbc" / "demo_pack.toml")
        drive = bench.Drive(self.compiled)
        bench.every_rule_asserted(drive)
        self.kept = bytes(drive.engine.state), list(drive.wanted), list(drive.sender.counters)
        self.drive = drive

    def states(self, genome):
        """The states before the last two scans."""
        state, wanted, counters = self.kept
        drive = self.drive
        memoryview(drive.engine.state).cast("B")[:] = state
        drive.wanted[:] = type(drive.wanted)("i", wanted)
        drive.sender.counters[:] = counters
        drive.before.clear()
        play(drive, genome)
        return drive.before[-2:]

    def costs(self, genomes):
        guest = bench.Guest(self.compiled.image)
        states = [self.states(genome) for genome in genomes]
        data = guest.place(b"".join(state for pair in states for state in pair))
        guest.job(f"steps('step', {data}, {2 * len(states)})")
        counts = [row[0] for row in guest.run().counts["step"]]
        return [max(counts[2 * n : 2 * n + 2]) for n in range(len(states))]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=1)
    words = parser.parse_args()
    rng = random.Random(words.seed)
    climb = Climb()
    genome = START
    if FOUND.exists():
        genome = {int(scan): changes for scan, changes in json.loads(FOUND.read_text())["genome"].items()}
    (best,) = climb.costs([genome])
    print(f"{best:,} to begin with")
    end = time.monotonic() + words.seconds
    while time.monotonic() < end:
        tries = [mutated(genome, rng) for _ in range(16)]
        cost, number = max((cost, n) for n, cost in enumerate(climb.costs(tries)))
        if cost >= best:
            if cost > best:
                print(f"{cost:,}", flush=True)
            best, genome = cost, tries[number]
    # What does not matter is left out.
    for scan in sorted(genome):
        for target in list(genome[scan]):
            less = {s: {t: c for t, c in told.items() if (s, t) != (scan, target)} for s, told in genome.items()}
            if climb.costs([less]) >= [best]:
                genome = less
    genome = {str(scan): genome[scan] for scan in sorted(genome) if genome[scan]}
    FOUND.write_text(json.dumps({"instructions_then": best, "genome": genome}, indent=1) + "\n")
    print(f"{best:,} at the end: {FOUND.name}")


if __name__ == "__main__":
    main()
