"""The core and every generated decoder are integer-only, and the check that says so can fail."""

import subprocess
import sys
from pathlib import Path

import integer_check
import pytest
from checked import CORE
from vehicles import DECODERS

HEAD = "import micropython\nfrom micropython import const\nfrom cellwarden.core.scan import advance\n"
FORBIDDEN = {
    "a float": "x = 1.5",
    "a str": "x = 'a'",
    "a bytes": "x = b'a'",
    "a NoneType": "x = None",
    "true division": "x = a / 2",
    "a power": "x = a ** 2",
    "a constant outside of 30 bits": "x = 1073741824",
    "a list": "x = [a]",
    "a dict": "x = {a: a}",
    "a set": "x = {a}",
    "a tuple": "x = (a, a)",
    "a comprehension": "x = int([i for i in range(a)])",
    "a generator": "x = int(i for i in range(a))",
    "an f-string": "x = f'{a}'",
    "a lambda": "x = lambda: a",
    "a closure": "def g():\n        return a",
    "a class": "class B:\n        pass",
    "try": "try:\n        a = 1\n    except OverflowError:\n        a = 2",
    "with": "with a:\n        a = 1",
    "raise": "raise a",
    "yield": "yield a",
    "a walrus": "x = (y := a)",
    "a star": "x = int(*a)",
    "a slice": "x = a[1:2]",
    "an import": "import micropython",
    "an assert": "assert a",
    "del": "del a",
    "global": "global z",
    "a keyword argument": "x = advance(a, t_ms=1)",
    "unpacking into more than names": "a[0], b = c",
    "attribute .x": "x = a.x",
    "call of len": "x = len(a)",
    "call of print": "print(a)",
    "call of a.append": "a.append(1)",
}


def hot(body):
    return f"{HEAD}\n@micropython.viper\ndef f(a: int) -> int:\n    {body}\n    return a\n"


@pytest.mark.parametrize("what", FORBIDDEN)
def test_what_is_forbidden_is_found(what):
    assert what in [text for _, text in integer_check.check(hot(FORBIDDEN[what]))]


@pytest.mark.parametrize(
    "source, what",
    [
        ("import time\n", "import of time"),
        ("from math import floor\n", "import of math"),
        ("from . import layout\n", "import of ."),
        (HEAD + "def f(a):\n    return a\n", "function f is not decorated with @micropython.viper"),
        (HEAD + "_X = [1]\n", "a global that is no const()"),
        (HEAD + "_X = const(1 << 30)\n", "a constant outside of 30 bits"),
        (HEAD + "print(1)\n", "Expr outside of functions"),
    ],
)
def test_what_is_forbidden_outside_of_functions_is_found(source, what):
    assert what in [text for _, text in integer_check.check(source)]


def test_what_is_allowed_is_not_found():
    body = '"""Text."""\n    x, y = a\n    x += int(advance(a, -5)) // 2 ^ ~y\n    a[x] = 1 if x and not y else y'
    assert integer_check.check('"""Text."""\n' + hot(body)) == []


@pytest.mark.parametrize("path", sorted(CORE.glob("*.py")), ids=lambda p: p.name)
def test_the_core_is_integer_only(path):
    assert integer_check.check(path.read_text("utf-8"), path.name) == []


@pytest.mark.parametrize("name", DECODERS)
def test_generated_decoders_are_integer_only(name, compile_text, demo):
    compiled = demo if name == "demo" else compile_text(*DECODERS[name])
    findings = integer_check.check(compiled.image.parts["decoder.py"].decode(), name)
    assert findings == [], "a decoder that a board cannot run without allocating"


def test_the_command_names_the_line_and_fails(tmp_path):
    script = Path(integer_check.__file__)
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text(hot("a += 1"))
    bad.write_text(hot("a += 0.5"))

    def run(*args):
        return subprocess.run([sys.executable, script, *args], capture_output=True, text=True)

    assert run(good).returncode == 0 and run(CORE).returncode == 0
    told = run(tmp_path)
    assert told.returncode == 1 and told.stdout == f"{bad}:7: a float in the integer-only core\n"
    assert run(tmp_path / "empty").returncode != 0, "nothing checked must not look like nothing found"
