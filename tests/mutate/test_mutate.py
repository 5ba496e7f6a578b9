"""Mutation testing can itself fail: it finds what no test notices, and changes nothing where it should not."""

import json
import subprocess
import sys
import types
from pathlib import Path

import mutants
import pytest
from mutate import PACKAGE

CORE = sorted(PACKAGE.glob("*.py"))
HOT = [path for path in CORE if mutants.is_hot(path.read_bytes())]
HEAD = "import micropython\nfrom micropython import const\n\n"

LOOP = (
    HEAD
    + """_LIMIT = const(7)
_SPARE = const(3)

@micropython.viper
def over(values, limit: int) -> int:
    n = 0
    at = 0
    while at < 3:
        if values[at] > limit:
            n += 1
        at += 1
    return n


@micropython.viper
def judge(values) -> int:
    return int(over(values, _LIMIT))
"""
)
TABLE = "LIMITS = (10, 20)\n"
TESTS = """
from pathlib import Path

import toy.table
from toy.hot import judge, over


def test_only_what_is_over_the_limit_counts():
    assert over([6, 5, 7], 5) == 2 and over([9, 9, 9], 9) == 0


def test_the_limit_is_seven():
    assert judge([7, 8, 6]) == 1


def test_the_table_says_what_the_page_says():
    assert toy.table.LIMITS == (10, 20)


def test_the_source_says_what_no_function_uses():
    assert "_SPARE = const(3)" in Path(toy.table.__file__).with_name("hot.py").read_text()
"""


@pytest.fixture
def mutate(tmp_path):
    """mutate(tests, *options) -> (exit status, what it printed, what it complained of), on a package of two files."""
    package = tmp_path / "source" / "toy"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "hot.py").write_text(LOOP)
    (package / "table.py").write_text(TABLE)
    (tmp_path / "source" / "micropython.py").write_text(
        "def viper(f):\n    return f\n\n\ndef const(n):\n    return n\n"
    )

    def run(tests, *options):
        (tmp_path / "test_toy.py").write_text(tests)
        script = Path(__file__).with_name("mutate.py")
        told = [sys.executable, script, "--package", package, "--tests", tmp_path / "test_toy.py", "-n", "1", *options]
        done = subprocess.run(told, capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.mark.long
def test_with_every_test_there_every_fault_is_noticed(mutate):
    status, out, _ = mutate(TESTS, "--json")
    *tried, end = map(json.loads, out.splitlines())
    assert (status, [one for one in tried if one["result"] == "survived"]) == (0, [])
    assert end["mutants"] == end["killed"] == len(tried) > 25 and end["survived"] == 0
    by = {one["after"]: one for one in tried}
    assert by["at += 0"]["result"] == "hung", "a fault that goes round in circles counts as noticed"
    assert by["_LIMIT = const(8)"]["by"].endswith("test_the_limit_is_seven")
    assert by["_SPARE = const(4)"]["by"].endswith("test_the_source_says_what_no_function_uses"), (
        "a reader of the source saw no fault"
    )
    assert by["LIMITS = (10, 21)"]["by"].endswith("test_the_table_says_what_the_page_says")


@pytest.mark.long
def test_a_test_that_is_missing_is_named_by_what_it_would_have_noticed(mutate):
    status, out, _ = mutate(TESTS.replace(" and over([9, 9, 9], 9) == 0", "").replace("(10, 20)", "toy.table.LIMITS"))
    *survivors, end = out.splitlines()
    assert status == 1 and "survived" in end
    assert "toy/hot.py:12: if values[at] > limit: -> if values[at] >= limit:" not in survivors, "the 5 tells it"
    assert {line for line in survivors if "table" in line} == {
        f"toy/table.py:1: LIMITS = (10, 20) -> LIMITS = {told}"
        for told in ("(11, 20)", "(9, 20)", "(10, 21)", "(10, 19)")
    }


def test_one_file_or_line_can_be_tried_alone(mutate):
    status, out, _ = mutate(TESTS, "--only", "hot.py:12")
    assert status == 0 and out.startswith("2 mutants of toy: 2 killed (0 by not ending), 0 survived")
    assert mutate(TESTS, "--only", "hot.py:12-13")[1].startswith("6 mutants of toy: 6 killed")
    for wrong in ("hot.py:1", "hot.py:x", "hot.py:12-x", "hot.py:-5"):
        status, out, told = mutate(TESTS, "--only", wrong)
        assert (status, out) == (2, "") and told.startswith(f"mutate: --only {wrong}: ")
    assert mutate(TESTS, "--only", "cold.py")[2] == (
        "mutate: cold.py: no such file in toy: it has __init__.py, hot.py, table.py\n"
    )


def test_tests_that_fail_by_themselves_are_refused(mutate):
    status, out, told = mutate(TESTS.replace("== 2", "== 3"), "--only", "hot.py")
    assert status == 2 and not out and told.startswith("mutate: ")
    assert told.endswith("test_only_what_is_over_the_limit_counts fails without any fault\n")


# --- what is a fault --------------------------------------------------------------------------------------------------


def functions(code):
    return {const.co_name: const for const in code.co_consts if isinstance(const, types.CodeType)}


def same(one, other):
    return (one.co_code, one.co_names, one.co_varnames, [*map(repr, one.co_consts)]) == (
        other.co_code, other.co_names, other.co_varnames, [*map(repr, other.co_consts)],
    )  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("path", CORE, ids=lambda path: path.name)
def test_every_fault_is_python_and_another_program(path):
    source = path.read_bytes()
    plain = functions(compile(source, path.name, "exec"))
    for mutant in mutants.mutants(path.name, source):
        if mutant.inside and path in HOT:
            (code,) = functions(mutant.function(source, path.name)).values()
            assert not same(code, plain[mutant.inside]), mutant.told(source)
        else:
            assert compile(mutant.applied(source), path.name, "exec") and mutant.applied(source) != source


@pytest.mark.parametrize("path", HOT, ids=lambda path: path.name)
def test_without_a_fault_the_code_is_that_of_the_file(path):
    """One function compiled alone, its own text put back, is what Python makes of it in the whole file."""
    source = path.read_bytes()
    plain, tried = functions(compile(source, path.name, "exec")), set()
    for mutant in mutants.mutants(path.name, source):
        if mutant.inside and mutant.inside not in tried:
            tried.add(mutant.inside)
            text = source[mutant.start : mutant.end].decode()
            unchanged = mutants.Mutant(**vars(mutant) | {"text": text})
            (code,) = functions(unchanged.function(source, path.name)).values()
            assert same(code, plain[mutant.inside])
            told = [line for *_, line in code.co_lines() if line]
            assert max(told) == max(line for *_, line in plain[mutant.inside].co_lines() if line)
    assert tried == set(plain), "a function without a single fault"


def test_the_build_that_notes_what_runs_runs_the_same():
    space = {"_MARK": bytearray(30)}
    source = LOOP[len(HEAD) :].replace("@micropython.viper\n", "").replace("const", "int").encode()
    code, heads = mutants.probed(source, "toy", "_MARK")
    exec(code, space)
    assert space["judge"]([7, 8, 6]) == 1
    lines = [line for line, text in enumerate(source.decode().splitlines(), 1) if text.startswith(" ")]
    assert set(lines) <= set(heads) and all(space["_MARK"][heads[line]] for line in lines)
    space["_MARK"][:] = bytes(30)
    assert space["over"]([7, 7, 7], 7) == 0
    counted = next(line for line in lines if "n += 1" in source.decode().splitlines()[line - 1])
    assert not space["_MARK"][heads[counted]] and space["_MARK"][heads[counted - 1]]


def faults(body, signature="a: int, b: int"):
    constants = "_NA = const(-5)\n_FIRST = const(0)\n\n"
    source = f"{HEAD}{constants}@micropython.viper\ndef f({signature}) -> int:\n    {body}\n".encode()
    told = [mutant.told(source) for mutant in mutants.mutants("toy.py", source) if mutant.inside]
    return sorted(text.split(" -> ")[1] for text in told)


@pytest.mark.parametrize(
    "body, expected",
    [
        ("return a < b", ["return a <= b", "return a >= b"]),
        ("return a == b", ["return a != b"]),
        ("return a + b", ["return ((a) - (b))"]),
        ("return a and b", ["return ((a) or (b))", "return ((a))", "return ((b))"]),
        ("return not a", ["return (a)"]),
        ("return a[7]", ["return a[6]", "return a[8]"]),
        ("return a >> 30 & 1", ["return (((a) - 1) >> 30 & 1)", "return (1 - ((a) >> 30 & 1))"]),
        ("return (a - _NA) & _MASK", ["return (0 if (a - _NA) & _MASK else 1)"]),
        ("a[b] = b\n    return b", ["pass"]),
        ("if a:\n        return b\n    return a", ["if (not (a)):", "pass"]),
        ("while a:\n        continue\n    return a", ["pass", "while (not (a)):"]),
        ("if a > b:\n        b = a\n    return b", ["if a <= b:", "pass"]),
        ("if a > b:\n        a = b\n    return b", ["if a <= b:", "pass"]),
        ("return a if a < b else b", ["return a if a >= b else b"]),
        ("if a > 0:\n        a = 0\n    return a", ["if a <= 0:", "if a > 1:", "a = 1", "a = (-1)", "pass"]),
        ("if a < 0:\n        a = -a\n    return a", ["if a >= 0:", "if a < (-1):", "a = (a)", "pass"]),
        ("return a + _FIRST - _NA", ["return ((a + _FIRST) + (_NA))"]),
        ("return b if a < b else b", ["return b if a <= b else b", "return b if a >= b else b"]),
    ],
)  # fmt: skip
def test_each_form_has_its_faults(body, expected):
    assert faults(body) == sorted(expected)


def test_leaving_out_what_changes_nothing_is_no_fault():
    told = faults("a = (a & _MASK) + (a >> 30 & 1) * _WRAP\n    return a")
    assert told and "pass" not in told


def test_a_truth_becomes_its_opposite_and_nothing_else():
    told = faults("c = 0\n    if b:\n        c = 1\n    return b if c else a")
    assert [text for text in told if text.startswith("c =")] == ["c = 0", "c = 1"]


def test_a_number_for_a_parameter_that_is_overwritten_is_none():
    source = b"import micropython\n\ndef f(a, b):\n    a = b\n    return a\n\n\ndef g(b):\n    return f(0, 5)\n"
    told = {mutant.told(source) for mutant in mutants.mutants("toy.py", source) if mutant.inside == "g"}
    assert told == {"return f(0, 5) -> return f(0, 6)", "return f(0, 5) -> return f(0, 4)"}
