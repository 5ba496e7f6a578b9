"""How early, how certain, how silent: the detection figures, and the rivals' on the same data, in docs/evaluation.md.

    PYTHONPATH=tests/bench python tests/evaluate/evaluate.py [--only NAME ...] [--seeds N]

The figures follow from the sources and the corpus alone: fixed seeds, no clock. Exits with 1 when an episode on a
recording, or a false alarm in a scenario, has no explanation in explained.toml, or an explanation none. --only runs
some scenarios or recordings and prints, without writing the page; so does --seeds.
"""

import argparse
import os
import sys
import tomllib
from collections import Counter
from datetime import datetime
from math import exp, factorial
from multiprocessing import Pool
from pathlib import Path
from statistics import median

from cellwarden.core import catalogue
from cellwarden_tools.compiler.profile import load_profile
from cellwarden_tools.files import whole_file
from cellwarden_tools.readers.table import zone_of
from cellwarden_tools.simulator import scenarios
from cellwarden_tools.simulator.run import profile_of, simulate
from episodes import CHAIN_S, awake_s, episodes, episodes_of_levels, per_100_hours
from page import Page
from rivals import RIVALS
from watch import Frames, watch

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
DATA = Path(os.environ.get("CELLWARDEN_CORPUS") or CHECKOUT.parent / "shared" / "data")
SEEDS = 2
OURS = "Cellwarden"
SYSTEMS = (OURS, *RIVALS)

# name, log or table, profile, what it is
RECORDINGS = (
    ("car1", "baticm-ev-faults/car1_processed.csv.xz", "car1", "sedan, 96 cells, 1 Hz, two days"),
    ("car3", "baticm-ev-faults/car3_processed.csv.xz", "car3", "87 cells, every 10 s, four weeks"),
    ("i3 trip", "bmw-i3-trips/TripA13.csv.xz", "i3_trip", "BMW i3, 10 Hz, a drive; pack values"),
    ("i3 AC", "bmw-i3/2014i3_AC_start_PT_CAN.csv.xz", "i3", "BMW i3, CAN, an AC charge begins"),
    ("i3 DC", "bmw-i3/2019_Circontrol_midpoint.csv.xz", "i3", "BMW i3, CAN, DC charging"),
    ("kona idle", "kona/Idle_log_no_diagnostic_function_selected-30sec.asc.xz", "kona", "Hyundai Kona's pack, CAN"),
    ("kona relay", "kona/Main_Relay_plus_On.asc", "kona", "Hyundai Kona's pack, CAN, the main relay forced on"),
    ("bolt", "bolt-bicm-cc0/12_can_log_bms_bus_60s_raw.csv.xz", "bolt", "Chevrolet Bolt's cell module, CAN"),
)  # fmt: skip

SECTION = {row[0]: row[-1].split("HAZARDS ")[1][0] for row in catalogue.ROWS}
SECTIONS = sorted(set(SECTION.values()))
BMS_SAYS = {name for row in catalogue.ROWS if row[0] == catalogue.BMS for name in row[-2][0].split("|")}
FOUND = "ABDE"  # the sections whose episodes count against us; C speaks of the data


# --- scenarios -------------------------------------------------------------------------------------------------------


def run_scenario(job):
    """What one scenario with one seed gives: {"name", "false": our false episodes as (rule, level), "delay" and
    "after": seconds from the evidence, and from the onset, until our last expected level stood, or None; and for each
    system "first": seconds from the onset to its first alarm, or None, "early": whether it alarmed before it,
    "alarmed": whether falsely, or in a rival at all}.
    """
    name, seed = job
    told = scenarios.load(name)
    expects = told["expect"]
    seen = watch(profile_of(told), Frames(simulate(name, seed=seed)))
    found = episodes(seen.events, seen.end["last"])
    delays = [delay(seen.events, expect) for expect in expects]
    late = None in delays or not delays
    false = false_episodes(found, expects, told["may"], onset(told))
    right = [episode.begins_s - onset(told) for episode in found if episode not in false]
    result = {"name": name, "false": [(episode.rule, episode.level) for episode in false], "delay": None, "after": None}
    if not late:
        result["delay"] = max(delays)
        waits = (d + expect["from_s"] - onset(told) for d, expect in zip(delays, expects, strict=True))
        result["after"] = max(waits)
    result["first"] = {OURS: None if late else min(right, default=None)}
    result["early"] = {OURS: any(episode.begins_s < onset(told) for episode in false)}
    result["alarmed"] = {OURS: bool(false)}
    for rival, levels in RIVALS.items():
        by_it = levels(seen.samples)
        result["first"][rival] = first_alarm(seen.samples.t_s, by_it, expects, onset(told)) if expects else None
        result["early"][rival] = bool(by_it[seen.samples.t_s < onset(told)].any())
        result["alarmed"][rival] = bool(by_it.any())
    return result


def onset(told):
    """When the first thing goes wrong in a scenario, s."""
    times = [expect["from_s"] for expect in told["expect"]]
    times += [fault["starts_s"] for fault in told["fault"] if "starts_s" in fault]
    times += [second for fault in told["fault"] for second in fault.get("at_s", ())]
    return min(times, default=0)


def delay(events, expect):
    """Seconds from the onset until the rule stood at its level; None where it came late, elsewhere or never."""
    for event in events:
        here = expect.get("where") in (None, event["where"])
        if event["rule"] == expect["rule"] and event["level"] >= expect["level"] and here:
            after = event["t"] - expect["from_s"]
            if 0 <= after <= expect["within_s"]:
                return after
    return None


def false_episodes(found, expects, may, begins):
    """Those of a rule that is neither expected nor allowed, or of an expected one before anything went wrong."""
    expected = {expect["rule"] for expect in expects}
    return [e for e in found if e.rule not in may and (e.rule not in expected or e.begins_s < begins)]


def first_alarm(t_s, levels, expects, begins):
    """Of a rival: seconds from the onset to its first new alarm while one is due; None where there was none.

    An alarm that stood already when the fault began says nothing new.
    """
    ends = max(expect["from_s"] + expect["within_s"] for expect in expects)
    before = levels[t_s < begins]
    alarmed = t_s[(t_s >= begins) & (t_s <= ends) & (levels > 0)]
    if not len(alarmed) or (len(before) and before[-1]):
        return None
    return float(alarmed[0] - begins)


# --- recordings ------------------------------------------------------------------------------------------------------


def run_recording(job):
    """What one recording gives, as plain values."""
    name, log, profile, _ = job
    profile = CHECKOUT / "dbc" / "vehicles" / f"{profile}.toml"
    seen = watch(profile, DATA / log)
    t_s = seen.samples.t_s
    found = episodes(seen.events, seen.end["last"])
    result = {
        "name": name,
        "samples": len(t_s),
        "awake_s": awake_s(t_s),
        "episodes": found,
        "max": seen.end["max_level"],
    }
    result["zone"] = seen.zone
    result["bms"] = bool(load_profile(profile).quantities & BMS_SAYS)
    result["flagged"] = {OURS: int((seen.level > 0).sum())}
    result["alarms"] = {OURS: sum(SECTION[e.rule] in FOUND and e.rule != catalogue.BMS for e in found)}
    for rival, levels in RIVALS.items():
        told = levels(seen.samples)
        result["flagged"][rival] = int((told > 0).sum())
        result["alarms"][rival] = len(episodes_of_levels(rival, t_s, told))
    return result


def explained(results, runs=(), path=HERE / "explained.toml"):
    """({(recording or scenario, rule, begin): reason}, complaints): every episode with its reason, both ways.

    The BMS's own warnings have one reason for a recording, the false alarms of a rule one for a scenario: their begin
    is "".
    """
    reasons = {}
    told = tomllib.loads(path.read_text("utf-8"))
    for entry in told.get("episode", []):
        for at in entry["at"]:
            reasons[entry["recording"], entry["rule"], at] = entry["because"]
    for entry in told.get("bms", []):
        reasons[entry["recording"], catalogue.BMS, ""] = entry["because"]
    for entry in told.get("scenario", []):
        reasons[entry["scenario"], entry["rule"], ""] = entry["because"]
    there = {
        (result["name"], e.rule, "" if e.rule == catalogue.BMS else stamp(e.begins_s, result["zone"]))
        for result in results
        for e in result["episodes"]
    }
    there |= {(run["name"], rule, "") for run in runs for rule, _ in run["false"]}
    names = {result["name"] for result in [*results, *runs]}
    complaints = [f"not explained: {' '.join(key).strip()}" for key in sorted(there - reasons.keys())]
    complaints += [
        f"explains nothing: {' '.join(key).strip()}" for key in sorted(reasons.keys() - there) if key[0] in names
    ]
    return reasons, complaints


def stamp(t_s, zone):
    """A moment of a log: seconds, or in a table with dates the time that stands in it."""
    if zone is None or t_s < 86400 * 365:
        return f"{t_s:.1f} s"
    return datetime.fromtimestamp(t_s, zone_of(zone)).strftime("%Y-%m-%d %H:%M:%S")


# --- the page --------------------------------------------------------------------------------------------------------


UNITS = ((172_800, 86_400, "d"), (7200, 3600, "h"), (600, 60, "min"), (0, 1, "s"))  # from so many seconds on, in these


def duration(*values):
    """Seconds for people, all in the unit that suits the longest."""
    _, size, unit = next(entry for entry in UNITS if max(values) >= entry[0])
    return " / ".join(f"{value / size:.1f}" for value in values) + f" {unit}"


def share(count, of):
    return f"{count} of {of}" if of else None


def scenario_tables(page, runs, reasons):
    """Adds the tables; returns {system: Counter of faults, found, innocent, alarmed, pairs, told apart}.

    Faults and those found are counted for the battery's and for the data's (section C) apart: "faults C", "found C".
    """
    faults, silent = [], []
    totals = {system: Counter() for system in SYSTEMS}
    by_name = {}
    for run in runs:
        by_name.setdefault(run["name"], []).append(run)
    hazards = {}  # {rule: runs of the faults that must raise it}
    for run in runs:
        told = scenarios.load(run["name"])
        for rule in {expect["rule"] for expect in told["expect"]} if not told["twin_of"] else ():
            hazards.setdefault(rule, []).append(run)
    for name, mine in by_name.items():
        told = scenarios.load(name)
        twin_of, innocent = told["twin_of"], bool(told["twin_of"] or not told["expect"])
        row = [name]
        told_by = ", ".join(f"{expect['rule']} {expect['level']}" for expect in told["expect"]) or None
        if not innocent:
            row.append(told_by)
        row.append(sum(len(run["false"]) for run in mine))
        data = " C" if told["section"] == "C" else ""
        firsts = []
        for system in SYSTEMS:
            total = totals[system]
            hits = [run["first"][system] for run in mine if run["first"][system] is not None]
            alarmed = sum(run["alarmed"][system] for run in mine)
            total["innocent" if innocent else "faults" + data] += len(mine)
            total["alarmed" if innocent else "found" + data] += alarmed if innocent else len(hits)
            if hazards.get(twin_of):
                total["pairs"] += 1
                total["told apart"] += not alarmed and all(run["first"][system] is not None for run in hazards[twin_of])
            if innocent:
                row.append(share(alarmed, len(mine)))
                continue
            early = sum(run["early"][system] for run in mine)
            total["early"] += early
            row.append(share(len(hits), len(mine)) + (f", {early} before" if early else ""))
            if system == OURS:
                for which in ("after", "delay"):
                    times = [run[which] for run in mine if run[which] is not None]
                    row.append(duration(median(times), max(times)) if times else None)
            firsts.append(duration(median(hits)) if hits else None)
        if not innocent:
            row += firsts
        if innocent:
            row.insert(1, twin_of or None)
            row.insert(2, told_by)
        (silent if innocent else faults).append(row)
    page.heading("Faults on request")
    page.say(
        f"The simulator's scenarios, each with {len(runs) // max(1, len(by_name))} seeds. Ours counts as found where "
        "every rule that the scenario expects stood at its level, at the right cell or probe, in time; a rival's where "
        "a new alarm of any kind, anywhere, began while one was due. `before`: runs in which it had alarmed before "
        "anything was wrong, so that the find may be chance. Delay, median / longest: from the physical onset, when "
        "the first thing goes wrong, until the last of the expected levels stood; and from the evidence, when the "
        "value that the last level asks for is first sent (a short of 430 ohm begins long before a millivolt shows). "
        "Where a scenario names no such moment the two are the same: the delay of a runaway from a short is then "
        "mostly the time the cell takes to heat; what the core itself takes is in `wakes_to_disaster`, "
        "`cells_and_probes_vanish` and `burns_and_blinds`. First alarm: of any kind, from the onset, median. False: "
        "our episodes of a rule that the scenario neither expects nor allows, or before anything went wrong."
    )
    rivals = [f">{rival}" for rival in RIVALS]
    firsts = [f">first: {system}" for system in SYSTEMS]
    delays = [">from onset", ">from evidence"]
    page.table(["scenario", "expected", ">false", f">{OURS}", *delays, *rivals, *firsts], faults)
    page.heading("Innocent twins and healthy packs")
    page.say(
        "The nearest harmless neighbour of a rule's hazard: beyond the lesser notice that some deserve (may say), "
        "nothing may be raised. Runs that were not silent: ours by a false alarm, a rival's by any. A hazard is told "
        "from its twin where every run of its faults is found and no run of the twin alarmed."
    )
    page.table(["scenario", "twin of", "may say", ">false", f">{OURS}", *rivals], silent)
    page.heading("Each false alarm of ours", 3)
    false = Counter((run["name"], *said) for run in runs for said in run["false"])
    lines = [
        [name, rule, level, count, reasons.get((name, rule, ""), "**not explained**")]
        for (name, rule, level), count in sorted(false.items())
    ]
    if lines:
        page.table(["scenario", "rule", ">level", ">episodes", "why"], lines)
    else:
        page.say("None.")
    return totals


def by_level(found):
    """How many episodes of level 1 / 2 / 3; None where there is none."""
    levels = Counter(e.level for e in found)
    return " / ".join(str(levels[level]) for level in (1, 2, 3)) if found else None


def most_likely_below(count):
    """The expected number of events above which `count` or fewer would be seen in less than 5 % of all cases."""
    low, high = 0.0, 20.0 + 2 * count
    while high - low > 1e-9:
        middle = (low + high) / 2
        chance = sum(exp(-middle) * middle**k / factorial(k) for k in range(count + 1))
        low, high = (middle, high) if chance > 0.05 else (low, middle)
    return low


def rate(count, seconds):
    """Episodes per 100 hours; None on less than an hour, where it says nothing."""
    return f"{per_100_hours(count, seconds):.1f}" if seconds >= 3600 else None


def recording_tables(page, results, reasons):
    together = sum(result["awake_s"] for result in results)
    page.heading("Recorded vehicles")
    page.say(
        f"An episode lasts from the raise to the clear; raised again within {CHAIN_S} s it is the same one. Time is "
        "that recorded awake; on less than an hour a rate would say nothing. Ours by section of the catalogue, of "
        "level 1 / 2 / 3; beside them what the vehicle's own BMS reported (`bms_alarm`; only car3 has its warnings in "
        "the recording), and how many of ours it shared: our rate leaves those out, and section C, which speaks of "
        "the data."
    )
    rows = []
    kinds = {name: what for name, _, _, what in RECORDINGS}
    for result in results:
        ours = [e for e in result["episodes"] if e.rule != catalogue.BMS]
        theirs = [e for e in result["episodes"] if e.rule == catalogue.BMS]
        sections = [by_level([e for e in ours if SECTION[e.rule] == section]) for section in SECTIONS]
        both = sum(any(e.overlaps(other) for other in theirs) for e in ours)
        alone = sum(SECTION[e.rule] in FOUND and not any(e.overlaps(b) for b in theirs) for e in ours)
        rates = [rate(count, result["awake_s"]) for count in (len(theirs), alone)]
        if not result["bms"]:
            rates[0] = None
        hours = result["awake_s"] / 3600
        awake = f"{hours:.1f} h" if hours >= 1 else duration(result["awake_s"])
        rows.append([result["name"], kinds[result["name"]], awake, *sections, both or None, by_level(theirs), *rates])
    columns = [*(f">section {section}" for section in SECTIONS), ">shared", ">BMS", ">BMS / 100 h", ">ours / 100 h"]
    page.table(["recording", "what", ">awake", *columns], rows)
    count = sum(result["alarms"][OURS] for result in results)
    bound = per_100_hours(most_likely_below(count), together)
    page.say(
        f"Together {together / 3600:.1f} vehicle hours, nearly all of two cars, with {count or 'no'} "
        f"episode{'' if count == 1 else 's'} of our own: at 95 % that excludes rates above {bound:.1f} per 100 h, and "
        "no lower ones. The goal, at most one in 100 hours, is " + ("met here and not proven." if bound > 1 else "met.")
    )
    warned = [result for result in results if any(e.rule == catalogue.BMS for e in result["episodes"])]
    if warned:
        page.heading("What the BMS warned of", 3)
        page.listing(f"{r['name']}: {reasons.get((r['name'], catalogue.BMS, ''), '**not explained**')}" for r in warned)
    page.heading("Each episode that remains", 3)
    lines = []
    for result in results:
        for e in result["episodes"]:
            if e.rule == catalogue.BMS:
                continue
            begins = stamp(e.begins_s, result["zone"])
            value = "-" if e.value is None else f"{e.value:g} {e.unit}".strip()
            reason = reasons.get((result["name"], e.rule, begins), "**not explained**")
            lasts = f"{e.ends_s - e.begins_s:.0f}"
            lines.append([result["name"], begins, lasts, e.rule, e.level, e.where or None, value, reason])
    if lines:
        page.table(["recording", "from", ">lasts s", "rule", ">level", ">where", ">value", "why"], lines)
    else:
        page.say("None.")
    page.heading("The rivals on the recordings")
    page.say("Share of samples (one a second, or the log's own) in alarm, and episodes per 100 hours.")
    rows = []
    for result in results:
        row = [result["name"]]
        for system in SYSTEMS:
            flagged = 100 * result["flagged"][system] / max(1, result["samples"])
            row += [f"{flagged:.2f} %", rate(result["alarms"][system], result["awake_s"])]
        rows.append(row)
    page.table(["recording", *(f">{s} {what}" for s in SYSTEMS for what in ("flagged", "/ 100 h"))], rows)


def summary(totals, results):
    """The short table: rows of text."""
    hours_s = sum(result["awake_s"] for result in results)
    samples = sum(result["samples"] for result in results)
    rows = []
    for system in SYSTEMS:
        totals[system]["all"] = totals[system]["faults"] + totals[system]["faults C"]
    for what, count, of in (
        ("runs of a fault of the battery in which it was found", "found", "faults"),
        ("runs of a fault of the data (section C) in which it was found", "found C", "faults C"),
        ("runs of any fault with an alarm before anything was wrong", "early", "all"),
        ("innocent runs alarmed", "alarmed", "innocent"),
        ("hazards told from their innocent twin", "told apart", "pairs"),
    ):
        rows.append([what, *(share(totals[system][count], totals[system][of]) for system in SYSTEMS)])
    if results:
        rows += [[f"episodes per 100 h on {hours_s / 3600:.0f} h of recordings"], ["samples in alarm there"]]
        for system in SYSTEMS:
            rows[-2].append(f"{per_100_hours(sum(r['alarms'][system] for r in results), hours_s):.1f}")
            rows[-1].append(f"{100 * sum(r['flagged'][system] for r in results) / max(1, samples):.2f} %")
        highest = max(result["max"] for result in results)
        rows.append(["highest level there", highest, *(None for _ in RIVALS)])
    return rows


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="scenarios or recordings")
    parser.add_argument("--seeds", type=int, default=SEEDS, metavar="N")
    options = parser.parse_args(arguments)
    wanted = set(options.only or ())
    chosen = [name for name in scenarios.names() if not wanted or name in wanted]
    recordings = [entry for entry in RECORDINGS if not wanted or entry[0] in wanted]
    missing = [log for _, log, _, _ in recordings if not (DATA / log).exists()]
    if missing:
        print(f"evaluate: not in the corpus (CELLWARDEN_CORPUS): {', '.join(missing)}", file=sys.stderr)
        return 2
    os.environ.setdefault("CELLWARDEN_CORPUS", str(DATA))
    jobs = [(name, seed) for name in chosen for seed in range(1, options.seeds + 1)]
    with Pool(2) as pool:
        later = pool.map_async(run_recording, recordings, 1)
        runs = []
        for run in pool.imap(run_scenario, jobs):
            runs.append(run)
            if len(runs) % 10 == 0:
                print(f"evaluate: {len(runs)} of {len(jobs)} runs of scenarios", file=sys.stderr)
        results = later.get()
    page = Page()
    reasons, complaints = explained(results, runs)
    totals = scenario_tables(page, runs, reasons)
    if results:
        recording_tables(page, results, reasons)
    first = Page()
    first.heading("Evaluation", 1)
    first.say(
        "Generated by `make evaluate`, not by hand; the same sources and recordings give the same page. The rivals are "
        "small oracles of their public rules with their own thresholds (`tests/evaluate/rivals.py`), on the same "
        "samples. They look at cells, probes and pack voltage alone: insulation, current, SOC, interlocks and what "
        "is wrong with the data itself were never their task, and count here as not found."
    )
    first.say(
        "What this page cannot say: the scenarios are ours, and rules and scenarios were written by the same people; "
        "car1 and car3 were looked at while the rules were made. No recording of a real failure is among them, and "
        "none of a car that nobody here had seen."
    )
    first.heading("In short")
    first.table(["", *(f">{system}" for system in SYSTEMS)], summary(totals, results))
    text = first.text() + "\n" + page.text()
    print(text)
    if not wanted and options.seeds == SEEDS:
        with whole_file(CHECKOUT / "docs" / "evaluation.md", "w") as file:
            file.write(text)
    for complaint in complaints:
        print(f"evaluate: {complaint}", file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
