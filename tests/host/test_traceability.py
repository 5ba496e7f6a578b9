"""Each rule and each clause has its tests, and the page about it says so."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from cellwarden.core import catalogue

SCRIPT = Path(__file__).parents[2] / "docs" / "make_traceability.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("make_traceability", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_rule_and_no_clause_lacks_a_test_and_the_page_is_what_the_tests_say():
    done = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr + done.stdout


def told(script, *tests):
    made = [script.Test(f"tests/x.py::{i}", *map(frozenset, sets)) for i, sets in enumerate(tests)]
    return script.complaints(made, rules=("one", "two"), clauses={"law 1": "", "law 2": ""})


ALL = ("boundary", "recovery", "invalid data", "clock wrap")


def test_full_tests_leave_nothing_to_complain_of(script):
    assert told(script, (ALL, {"one"}, {"law 1"}), (ALL, {"two"}, {"law 2"})) == []
    assert told(script, *((kind, {"one", "two"}, {"law 1", "law 2"}) for kind in ({aspect} for aspect in ALL))) == []


@pytest.mark.parametrize("aspect", ALL)
def test_a_rule_without_one_kind_of_test_is_named(script, aspect):
    rest = set(ALL) - {aspect}
    tests = (ALL, {"one"}, {"law 1", "law 2"}), (rest, {"two"}, ()), ({aspect}, (), {"law 1"})
    assert told(script, *tests) == [f"two: no {aspect} test"]


def test_a_clause_without_a_test_and_names_that_are_none_are_named(script):
    tests = ((ALL, {"one", "two"}, {"law 1"}), ({"beauty"}, {"three"}, {"law 3"}))
    assert told(script, *tests) == [
        "law 2: no test", "tests/x.py::1: no rule `three`", "tests/x.py::1: no clause `law 3`",
        "tests/x.py::1: proves no `beauty`",
    ]  # fmt: skip


def test_every_flag_of_the_catalogue_is_a_clause(script):
    for row in catalogue.ROWS:
        flag = row[catalogue.COLUMNS.index("flag")]
        for bit in flag if isinstance(flag, tuple) else () if flag is None else (flag,):
            assert f"GB/T 32960.3 flag {bit}" in script.CLAUSES
