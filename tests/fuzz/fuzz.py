"""Fuzzes the detection core: random and hostile frames, every state within its declared bounds, every engine the same.

    python tests/fuzz/fuzz.py [--frames 50000000] [--seed 1] [--vehicle NAME …] [--life N] [--replay FILE]

A life is some hundred thousand frames on one vehicle (stories.py); the same seed and number give the same life. Exit
status 0: nothing was found, and every rule that a vehicle can compute was raised on it; 1: something was; 2: bad use.
What was found is saved in build/fuzz: the state before, and the fewest records that still show it.
"""

import argparse
import os
import sys
import time
import zipfile
from collections import Counter, defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "core"))
sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))

import fleet
import judges
import numpy as np
from cellwarden.core import layout as L
from cellwarden.core.catalogue import RULES
from cellwarden.engine import Engine
from cellwarden_tools.errors import InputError
from cellwarden_tools.simulator import scenarios
from cellwarden_tools.simulator.run import simulate
from judges import JUDGES, STRETCH, Broken, Watch
from stories import THEMES, Life, Vehicle
from wire import Wire

LIFE = 400_000  # frames
SHARE = 100  # one stretch in so many goes through each other engine as well
FOUND = Path(__file__).parents[2] / "build" / "fuzz"
MODES = ("unknown", "driving", "charging", "parked", "asleep")
DRIVEN = {"demo", "gateway", "trusting"}  # vehicles that read the simulator's frames
LONGEST_MIN = 4  # of a simulated story, unless it is one of
LONG = ("self_discharge_overnight", "wakes_to_disaster", "pack_lower_after_sleep")
TWIN_JOBS = 16  # at once: they share the emulated board's memory
BOX_OFF_MS = (0, 0, 100, 60_000, 3_600_000, 1 << 29)


class Report:
    """What was reached and how often it was looked at."""

    def __init__(self):
        self.frames = self.lives = self.stretches = self.looks = self.events = self.restarts = self.lost = 0
        self.raised = defaultdict(Counter)  # vehicle -> rule -> times
        self.modes = defaultdict(Counter)
        self.judged = Counter()  # engine -> stretches
        self.judged_frames = Counter()
        self.seconds = Counter()
        self.without = {}  # engine or (engine, vehicle) -> why it could not run
        self.found = []

    def lacking(self):
        """Lines on rules that a vehicle can compute and that were never raised on it, and on the contrary."""
        for name, raised in self.raised.items():
            active = {rule.name for rule in fleet.compiled(name).rules if rule.active}
            cannot = CANNOT.get(name, set())
            both = ("never raised", active - cannot - set(raised)), ("raised after all", cannot & set(raised))
            for what, rules in both:
                if rules:
                    yield f"{name}: {what}: {', '.join(sorted(rules))}"


# Rules that a vehicle sends the quantities for and yet cannot raise.
CANNOT = {
    # One cell has no others to differ from, one probe neither.
    "one cell": {
        "cell_drift", "cell_spread", "cell_transient", "contact_resistance", "self_discharge", "sense_line",
        "temperature_spread",
    },
    "extended mux": {"temperature_spread"},
    # Without probes thermal runaway is told by four cells lost; of two cells the lower is the median.
    "two buses": {"thermal_runaway"},
    "wide": {"thermal_runaway", "cell_transient", "sense_line"},
    # Whatever its cells' bits say is a voltage.
    "awkward": {"cells_absent", "cells_lost"},
}  # fmt: skip


def drives(names, most=None, seed=1):
    """{vehicle: the simulator's stories as arrays of records} for vehicles of DRIVEN; most: so many stories only."""
    dtype = Wire(fleet.compiled("demo")).type
    out = []
    for story in sorted(scenarios.names()) if names else ():
        told = scenarios.load(story)
        if told["pack"] != "demo_pack" or (told["minutes"] > LONGEST_MIN and story not in LONG):
            continue
        frames = list(simulate(story, fleet.DEMO, seed))
        rows = np.zeros(len(frames), dtype)
        rows["t_ms"] = np.array([t_us // 1000 for t_us, *_ in frames], "i8") & L.MASK
        rows["can_id"] = [can_id for *_, can_id, _ in frames]
        rows["length"] = [len(data) for *_, data in frames]
        rows["data"] = np.frombuffer(b"".join(data[:8].ljust(8, b"\0") for *_, data in frames), "u1").reshape(-1, 8)
        out.append(rows)
        if len(out) == most:
            break
    return dict.fromkeys(names, out)


class Fuzz:
    """Lives on vehicles. judged: {engine of JUDGES: one stretch in so many}; drives: {vehicle: arrays of records}."""

    def __init__(self, seed, judged=None, twin=True, drives=None):
        self.seed, self.report = seed, Report()
        self.judged = dict.fromkeys(JUDGES, SHARE) if judged is None else judged
        self.drives = drives or {}
        self.twin_jobs = defaultdict(list) if twin else None
        self.watches = {}

    def watch(self, name):
        if name not in self.watches:
            self.watches[name] = Watch(Vehicle(fleet.compiled(name)))
        return self.watches[name]

    def life(self, name, number, frames=LIFE):
        """Live one life. Raises Broken; its `stretch` is the state and the records by which it happened."""
        watch, report = self.watch(name), self.report
        seed = self.seed, self.names_number(name), number
        life = Life(watch.vehicle, THEMES[number % len(THEMES)], seed, self.drives.get(name, ()))
        rng = np.random.default_rng((*seed, 1))
        watch.state[:] = np.frombuffer(Engine(watch.vehicle.compiled.image).snapshot(), "i4")
        watch.machine.take()
        levels = np.zeros(len(RULES), "i4")
        report.lives += 1
        report.raised[name].update(())
        for rows in life.chapters(frames):
            for first in range(0, len(rows), STRETCH):
                some = rows[first : first + STRETCH]
                start = watch.state.tobytes()
                try:
                    events = watch.stretch(some)
                    self.account(name, watch, some, events, levels)
                    self.others(name, watch, start, some, events, rng)
                except Broken as broken:
                    broken.stretch = broken.stretch or (start, some)
                    raise
                if rng.random() < 0.05:
                    self.restart(watch, int(rng.choice(BOX_OFF_MS)), rng)
                    levels[:] = watch.state[watch.levels_at :: 1][: len(RULES) * L.RULE_SIZE : L.RULE_SIZE]

    def names_number(self, name):
        return fleet.NAMES.index(name)

    def account(self, name, watch, rows, events, levels):
        """Note what was reached; the events must lead from the levels before to those that the state has now."""
        report = self.report
        report.frames += len(rows)
        report.stretches += 1
        report.events += len(events)
        report.looks += watch.looks
        watch.looks = 0
        for _, rule, before, level, *_ in events.tolist():
            if levels[rule] != before:
                raise Broken(f"{RULES[rule]} goes from level {before}, but was at {levels[rule]}")
            levels[rule] = level
            if level > before:
                report.raised[name][RULES[rule]] += 1
        now = watch.state[watch.levels_at :][: len(RULES) * L.RULE_SIZE : L.RULE_SIZE]
        if not np.array_equal(levels, now):
            raise Broken(f"the events lead to other levels than the state has: {RULES[(levels != now).argmax()]}")
        for mode, count in watch.modes.items():
            report.modes[name][MODES[mode]] += count
        watch.modes.clear()

    def others(self, name, watch, start, rows, events, rng):
        """A share of the stretches through the other engines."""
        report, compiled = self.report, watch.vehicle.compiled
        state = watch.state.tobytes()
        if rng.random() < 0.05:
            report.lost += watch.overrun(start, rows, state, events)
        chance = rng.random(len(self.judged) + 1)
        for (engine, every), drawn in zip(self.judged.items(), chance[1:], strict=True):
            if drawn * every >= 1 or engine in report.without:
                continue
            before = time.monotonic()
            try:
                told = JUDGES[engine](compiled, start, rows)
            except InputError as error:
                if "stopped before its end" in str(error):
                    raise Broken(str(error), engine) from None
                report.without[engine] = str(error)
                continue
            except OverflowError as error:
                raise Broken(str(error), engine) from None
            report.seconds[engine] += time.monotonic() - before
            self.same(engine, len(rows), (state, events), told)
        if self.twin_jobs is not None and chance[0] * SHARE < 1 and len(events) < 4096:
            jobs = self.twin_jobs[name]
            jobs.append((start, rows, state, events))
            if len(jobs) == TWIN_JOBS:
                self.twins(name)

    def same(self, engine, count, wanted, told):
        """Raises Broken where (state, events) of an engine are not those of the machine code."""
        for what, here, there in zip(("state", "events"), wanted, told, strict=True):
            if what == "state":
                here, there = np.frombuffer(here, "i4"), np.frombuffer(there, "i4")
            if not np.array_equal(here, there):
                raise Broken(f"{what} other than the machine code's, {difference(here, there)}", engine)
        self.report.judged[engine] += 1
        self.report.judged_frames[engine] += count

    def twins(self, name):
        """Run the jobs that were collected for the C twin."""
        jobs = self.twin_jobs.pop(name, [])
        if not jobs or ("C twin", name) in self.report.without:
            return
        before = time.monotonic()
        stretch = jobs[0][:2]
        try:
            told = judges.by_twin(fleet.compiled(name), [(start, rows) for start, rows, *_ in jobs])
            self.report.seconds["C twin"] += time.monotonic() - before
            for (*stretch, state, events), said in zip(jobs, told, strict=True):
                self.same("C twin", len(stretch[1]), (state, events), said)
        except InputError as error:
            self.report.without["C twin", name] = str(error)
        except Broken as broken:
            broken.stretch = stretch
            raise

    def restart(self, watch, off_ms, rng):
        """The box restarts: a fresh core goes on from the snapshot."""
        core = Engine(watch.vehicle.compiled.image)
        core.restore(watch.state.tobytes(), off_ms)
        watch.state[:] = np.frombuffer(core.snapshot(), "i4")
        watch.look(f"after a restart, {off_ms} ms off")
        self.report.restarts += 1


def difference(here, there):
    if here.shape != there.shape:
        return f"{len(there)} and not {len(here)}"
    at = int(np.flatnonzero((here != there).reshape(len(here), -1).any(1))[0])
    return f"number {at}: {there[at].tolist()} and not {here[at].tolist()}"


# --- what was found ---------------------------------------------------------------------------------------------------


def breaks(watch, start, rows, engine=None):
    """What is wrong with these records from this state, as text; '' where nothing is. engine: of JUDGES, or None."""
    watch.state[:] = np.frombuffer(start, "i4")
    watch.machine.take()
    try:
        events = watch.stretch(rows)
        if engine:
            told = JUDGES[engine](watch.vehicle.compiled, start, rows)
            Fuzz(0).same(engine, len(rows), (watch.state.tobytes(), events), told)
    except (Broken, InputError, OverflowError) as broken:
        return str(broken)
    return ""


def shrunk(watch, start, rows, engine, tries):
    """The fewest records found that still break something: halves, quarters … are left out while it stays broken."""
    part = len(rows) // 2
    while part and tries:
        first = 0
        while first < len(rows) and tries:
            less = np.delete(rows, slice(first, first + part))
            tries -= 1
            if len(less) and breaks(watch, start, less, engine):
                rows = less
            else:
                first += part
        part //= 2
    return rows


def save(fuzz, name, number, broken, folder=FOUND):
    """Keep what was found, and tell how to see it again: three lines."""
    start, rows = broken.stretch
    watch = fuzz.watch(name)
    engine = broken.engine if broken.engine in JUDGES else None
    if breaks(watch, start, rows, engine):
        rows = shrunk(watch, start, rows, engine, 40 if engine else 400)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name.replace(' ', '_')}-{fuzz.seed}-{number}.npz"
    np.savez_compressed(path, vehicle=name, start=np.frombuffer(start, "u1"), records=rows.view("u1"), what=str(broken))
    words = f'--seed {fuzz.seed} --vehicle "{name}" --life {number}'
    return [
        f"{name}, life {number}: {broken}",
        f"  again: make fuzz ARGS='{words}'",
        f"  {len(rows)} records of it: make fuzz ARGS='--replay {os.path.relpath(path)}'",
    ]


def load(path):
    """(vehicle, start, records, what was wrong) of a saved file. Raises ValueError for any other."""
    try:
        with np.load(path) as saved:
            name, what = str(saved["vehicle"]), str(saved["what"])
            start, records = saved["start"].tobytes(), saved["records"].tobytes()
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: no file that the fuzz has saved ({error})") from None
    if name not in fleet.NAMES:
        raise ValueError(f"{path}: no vehicle `{name}`")
    return name, start, np.frombuffer(records, Wire(fleet.compiled(name)).type), what


def replay(path):
    """Run what was saved through every engine; prints what is wrong. Returns the exit status."""
    try:
        name, start, rows, what = load(path)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    watch = Watch(Vehicle(fleet.compiled(name)))
    print(f"{name}: {len(rows)} records; then: {what}")
    status = 0
    for engine in (None, *JUDGES):
        said = breaks(watch, start, rows, engine)
        print(f"  {engine or 'machine code'}: {said or 'nothing wrong'}")
        status |= bool(said)
    return status


# --- the command ------------------------------------------------------------------------------------------------------


def tell(report, seconds, complete):
    """Lines for people."""
    yield (
        f"{report.frames:,} frames in {report.lives} lives and {seconds:,.0f} s: {report.events:,} events, the state "
        f"looked at {report.looks:,} times, {report.restarts} restarts, {report.lost:,} events that an unread ring lost"
    )
    for engine, count in report.judged.items():
        frames, took = report.judged_frames[engine], report.seconds[engine]
        yield f"  {engine}: {count:,} stretches, {frames:,} frames, {took:,.0f} s"
    for what, why in report.without.items():
        yield f"  {' of '.join(what) if isinstance(what, tuple) else what}: not run, {why}"
    for name in report.raised:
        modes = ", ".join(mode for mode in MODES if report.modes[name][mode])
        active = sum(rule.active for rule in fleet.compiled(name).rules)
        yield f"  {name}: {len(report.raised[name])} of {active} rules raised; {modes}"
    total = Counter()
    for raised in report.raised.values():
        total.update(raised)
    yield "  raised: " + ", ".join(f"{rule} {total[rule]:,}" for rule in RULES)
    yield from report.lacking() if complete else ()
    yield from report.found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=50_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--vehicle", action="append", choices=fleet.NAMES, metavar="NAME")
    parser.add_argument("--life", type=int, metavar="N", help="live this one life only")
    parser.add_argument("--replay", metavar="FILE", help="run what was found once more")
    words = parser.parse_args()
    if words.replay:
        sys.exit(replay(words.replay))
    names = words.vehicle or fleet.NAMES
    started = time.monotonic()
    fuzz = Fuzz(words.seed, drives=drives(set(names) & DRIVEN))
    report = fuzz.report
    number = 0 if words.life is None else words.life
    while report.frames < words.frames:
        for name in names:
            try:
                fuzz.life(name, number)
            except Broken as broken:
                report.found += save(fuzz, name, number, broken)
                print("\n".join(report.found[-3:]), flush=True)
            if report.frames >= words.frames or len(report.found) > 30:
                break
        print(f"{report.frames:,} frames, {time.monotonic() - started:,.0f} s, {report.events:,} events", flush=True)
        number += 1
        if words.life is not None or len(report.found) > 30:
            break
    for name in names:
        try:
            fuzz.twins(name)
        except Broken as broken:
            report.found += save(fuzz, name, "twin", broken)
    complete = words.life is None and not words.vehicle
    print("\n".join(tell(report, time.monotonic() - started, complete)))
    sys.exit(bool(report.found or (complete and any(report.lacking()))))


if __name__ == "__main__":
    main()
