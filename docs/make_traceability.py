"""Writes docs/traceability.md: every rule and every clause, and the tests that hold it, as pytest's markers say.

    python docs/make_traceability.py [--check]

Collects the tests without running them. Exits with 1 where a rule lacks a kind of test, a clause has none, a marker
names what there is not, or (--check) the page is not what the tests say.
"""

import argparse
import contextlib
import io
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import pytest
from cellwarden.core import catalogue
from cellwarden_tools.files import whole_file

CHECKOUT = Path(__file__).parents[1]
PAGE = CHECKOUT / "docs" / "traceability.md"
TESTS = ("tests/core",)
ASPECTS = ("boundary", "recovery", "invalid data", "clock wrap")

# What is asked, in our own words. Where a figure of the text could not be read, it says so: to be confirmed.
CLAUSES = {
    "GB 38031-2025 C.5.3.7 a": "runaway, first sign: a cell falls by more than 25 % of its voltage before",
    "GB 38031-2025 C.5.3.7 b": "runaway, second sign: a probe reaches the maker's maximum operating temperature",
    "GB 38031-2025 C.5.3.7 c": "runaway, third sign: 1 K/s or more for more than 3 s; confirmed is (a or b) with c",
    "GB 38031-2025 thermal event alarm": "C.1: an alarm, at the latest 5 min after runaway (also GB 18384 5.2.2.3)",
    "GB 18384 insulation": "at least 100 ohm/V for a DC circuit of class B (60 to 1500 V), monitored",
    "GB/T 32960.3 flag 0": "temperature difference",
    "GB/T 32960.3 flag 1": "battery high temperature",
    "GB/T 32960.3 flag 2": "over-voltage of the energy storage device",
    "GB/T 32960.3 flag 3": "under-voltage of the energy storage device",
    "GB/T 32960.3 flag 4": "SOC low",
    "GB/T 32960.3 flag 5": "cell over-voltage",
    "GB/T 32960.3 flag 6": "cell under-voltage",
    "GB/T 32960.3 flag 7": "SOC too high",
    "GB/T 32960.3 flag 8": "SOC jump",
    "GB/T 32960.3 flag 9": "mismatched energy storage",
    "GB/T 32960.3 flag 10": "poor consistency of the cells",
    "GB/T 32960.3 flag 11": "insulation",
    "GB/T 32960.3 flag 12": "DC/DC temperature: the vehicle's own finding, passed on",
    "GB/T 32960.3 flag 13": "brake system: passed on",
    "GB/T 32960.3 flag 14": "DC/DC state: passed on",
    "GB/T 32960.3 flag 15": "motor controller temperature: passed on",
    "GB/T 32960.3 flag 16": "high-voltage interlock",
    "GB/T 32960.3 flag 17": "motor temperature: passed on",
    "GB/T 32960.3 flag 18": "over-charge of the energy storage device",
    "GB/T 32960.3 flag 23": "thermal event of the energy storage device (2025 edition, level 4)",
    "GB/T 38661 cell voltage": "diagnosis of cell over- and under-voltage (list to be confirmed)",
    "GB/T 38661 temperature": "diagnosis of over- and under-temperature (list to be confirmed)",
    "GB/T 38661 over-current": "diagnosis of over-current while charging and discharging (list to be confirmed)",
    "GB/T 38661 consistency": "diagnosis of cells that leave the others (list to be confirmed)",
    "GB/T 38661 insulation": "diagnosis of low insulation (list to be confirmed)",
    "GB/T 38661 sensor fault": "diagnosis of sensors and sampling lines (list to be confirmed)",
    "GB/T 38661 communication fault": "diagnosis of the communication (list to be confirmed)",
    "GB/T 39086 overcharge goal": "example goal: a cell at 4.25 V is detected within 3500 ms (FTTI 4000 ms)",
}
# Flags of GB/T 32960.3 that are nobody's here: no battery matter, and no BMS sends them.
NOT_OURS = (
    "19 to 22 (motor, supercapacitor) and 24 to 27 (hydrogen, fuel cell) of the 2025 edition; 28 to 31 are reserved."
)


class Test(NamedTuple):
    """name: path::class::function without parameters; aspects, rules, clauses: of its markers."""

    name: str
    aspects: frozenset
    rules: frozenset
    clauses: frozenset


class _Collector:
    def pytest_collection_finish(self, session):
        self.items = session.items


def collect(tests=TESTS):
    """[Test] of every test that names a rule or a clause, its parameters taken together.

    Raises SystemExit where pytest fails.
    """
    collector, said = _Collector(), io.StringIO()
    options = ("--collect-only", "-qq", "-p", "no:cacheprovider")
    with contextlib.redirect_stdout(said):
        status = pytest.main([*options, *(str(CHECKOUT / name) for name in tests)], plugins=[collector])
    if status != pytest.ExitCode.OK:
        raise SystemExit(f"traceability: the tests cannot be collected\n{said.getvalue()}")
    told = defaultdict(lambda: (set(), set(), set()))
    for item in collector.items:
        path = item.path.relative_to(CHECKOUT).as_posix()
        parts = [path, *([item.cls.__name__] if item.cls else []), item.originalname]
        for kind, names in zip(("proves", "rule", "clause"), told["::".join(parts)], strict=True):
            names.update(mark.args[0] for mark in item.iter_markers(kind))
    return [Test(name, *map(frozenset, sets)) for name, sets in sorted(told.items()) if sets[1] or sets[2]]


def complaints(tests, rules=catalogue.RULES, clauses=CLAUSES):
    """What is missing, one line each."""
    told = []
    for rule in rules:
        for aspect in ASPECTS:
            if not any(rule in test.rules and aspect in test.aspects for test in tests):
                told.append(f"{rule}: no {aspect} test")
    for clause in clauses:
        if not any(clause in test.clauses for test in tests):
            told.append(f"{clause}: no test")
    for test in tests:
        told += [f"{test.name}: no rule `{rule}`" for rule in sorted(test.rules - set(rules))]
        told += [f"{test.name}: no clause `{clause}`" for clause in sorted(test.clauses - set(clauses))]
        told += [f"{test.name}: proves no `{aspect}`" for aspect in sorted(test.aspects - set(ASPECTS))]
    return told


def _links(tests):
    """Where they stand: a link for each file, with its classes and single functions, and how many tests."""
    files = defaultdict(lambda: defaultdict(int))
    for test in tests:
        path, first, *_ = test.name.split("::")
        files[path][first] += 1
    told = []
    for path, names in sorted(files.items()):
        shown = ", ".join(f"`{name}`" + (f" {count}" if count > 1 else "") for name, count in sorted(names.items()))
        told.append(f"[{Path(path).name}](../{path}): {shown}")
    return "; ".join(told) or "**none**"


def _table(columns, rows):
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join(lines + ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows])


def page(tests):
    """The page's text."""
    rules, clauses = [], []
    for row in catalogue.ROWS:
        mine = [test for test in tests if row[0] in test.rules]
        answers = sorted({clause for test in mine for clause in test.clauses}, key=list(CLAUSES).index)
        counts = [str(sum(aspect in test.aspects for test in mine)) for aspect in ASPECTS]
        rules.append([f"`{row[0]}`", row[-1], ", ".join(answers) or "-", *counts, _links(mine)])
    for clause, asks in CLAUSES.items():
        mine = [test for test in tests if clause in test.clauses]
        by = sorted({rule for test in mine for rule in test.rules}, key=catalogue.RULES.index)
        clauses.append([clause, asks, ", ".join(f"`{rule}`" for rule in by) or "-", _links(mine)])
    kinds = [
        [aspect, "; ".join(sorted({f"`{test.name.rpartition('::')[2]}`" for test in tests if aspect in test.aspects}))]
        for aspect in ASPECTS
    ]
    return "\n\n".join(
        (
            "# Traceability",
            "Generated by `make traceability`, not by hand, from the markers of the tests; a test fails where it does "
            "not say what they say. Behind each file stand its classes and functions, with the number of tests.",
            "## Rules",
            "Each row of the catalogue inherits the same tests (`tests/core/rules.py`); its own class is its figures, "
            "written out by hand. Beside the four kinds that no row may lack stands everything that names the rule.",
            _table(["rule", "source", "answers", *ASPECTS, "tests"], rules),
            _table(["kind", "tests"], kinds),
            "## Clauses",
            _table(["clause", "asks", "rules", "tests"], clauses),
            f"No rule sets flags {NOT_OURS}",
        )
    ) + "\n"  # fmt: skip


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare the page, do not write it")
    options = parser.parse_args(arguments)
    tests = collect()
    told = complaints(tests)
    if not options.check:
        with whole_file(PAGE, "w") as file:
            file.write(page(tests))
    elif not PAGE.exists() or PAGE.read_text("utf-8") != page(tests):
        told.append("docs/traceability.md is not what the tests say: make traceability")
    for line in told:
        print(f"traceability: {line}", file=sys.stderr)
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
