"""A short fuzz in every test run; and that the fuzz would notice: a core with a fault in it does not get through."""

import checked
import fleet
import fuzz
import judges
import pytest
from fuzz import Fuzz, drives
from judges import Broken, Watch
from stories import THEMES, Life, Vehicle


@pytest.mark.numba
def test_a_short_fuzz_of_the_demonstration_pack_finds_nothing():
    judged = {"CPython": 12, "CPython, every integer watched": 12, "MicroPython 64-bit, viper": 12}
    some = Fuzz(7, judged, twin=False, drives=drives({"demo"}, most=1))
    for number, theme in enumerate(THEMES):
        some.life("demo", number, 40_000 if theme == "wild" else 15_000)
    report = some.report
    assert report.frames > 200_000 and report.looks > 1500 and report.restarts
    assert set(report.judged) | set(report.without) == set(judged)
    assert len(report.raised["demo"]) > 15, "these stories do not reach the rules"


def interpreted(name, replace=()):
    """A Fuzz of one vehicle whose watched core runs in this interpreter, with some of its text replaced."""
    some = Fuzz(1, judged={}, twin=False)
    image, _ = checked.image(fleet.compiled(name).image, watch=False, replace=replace)
    some.watches[name] = Watch(Vehicle(fleet.compiled(name)), image.drain)
    return some


@pytest.mark.parametrize("name", ["slow", "extended mux", "sums"])
def test_a_short_fuzz_of_other_vehicles_finds_nothing(name):
    some = interpreted(name)
    some.life(name, 0, 3000)
    assert some.report.frames >= 3000 and some.report.events


FAULTS = {
    "a timer that does not stop": ("scan", "if waited <= _FIRST_MS and q[_MODE] != _ASLEEP:", "if 1:", "AGE_MS"),
    "a number that is not masked": ("pack", "(q[_DRAWN_PERMILLE] - 1) & _DRAWN", "q[_DRAWN_PERMILLE] - 1", "DRAWN"),
    "a level that is not the highest": ("judge", "level = 3 if level & 4 else 2", "level = 2", "LEVEL_NOW"),
    "a timer that is not put back": ("judge", "asserting ^= bit\n                                    q[timer] = 0",
                                     "asserting ^= bit", "at rest"),
    "an event that tells another story": ("judge", "e[into + 2] = before", "e[into + 2] = level", "cannot be"),
    "an event that was forgotten": ("judge", "e[_E_HEAD] = (head + _STEP) & _MASK", "pass", "other levels"),
    "cells counted twice": ("measure", "seen += 1", "seen += 2", "seen"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_core_is_noticed(fault):
    module, old, new, told = FAULTS[fault]
    some = interpreted("slow", [(module, old, new)])
    with pytest.raises(Broken, match=told):
        for number in (0, 1, 3):
            some.life("slow", number, 20_000)


@pytest.fixture(scope="module")
def judged():
    """A Fuzz, and a stretch that it has judged: (state before, records), (state, events)."""
    some = interpreted("slow")
    watch = some.watch("slow")
    rows = next(Life(watch.vehicle, "wild", 3).chapters(1))[:2000]
    start = watch.state.tobytes()
    events = watch.stretch(rows)
    assert len(events)
    return some, (start, rows), (watch.state.tobytes(), events)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("", "", None),
        ("level > top", "level < top", "state other"),
        ("e[into + 4] = where", "e[into + 4] = 99", "events other"),
    ],
)
def test_an_engine_that_differs_is_noticed(judged, old, new, told):
    some, stretch, wanted = judged
    compiled = fleet.compiled("slow")
    other, _ = checked.image(compiled.image, watch=False, replace=[("judge", old, new)])
    said = judges.by_cpython(compiled, *stretch, other)
    if told:
        with pytest.raises(Broken, match=f"CPython: {told}"):
            some.same("CPython", 2000, wanted, said)
    else:
        some.same("CPython", 2000, wanted, said)


def test_what_was_found_is_shrunk_saved_and_broken_once_more(tmp_path):
    faulty = interpreted("slow", [FAULTS["a timer that does not stop"][:3]])
    watch = faulty.watch("slow")
    with pytest.raises(Broken, match="AGE_MS") as found:
        faulty.life("slow", 0)
    lines = fuzz.save(faulty, "slow", 0, found.value, tmp_path)
    saved = tmp_path / "slow-1-0.npz"
    assert saved.name in lines[-1] and "--life 0" in lines[1]
    assert int(lines[-1].split()[0]) < 10, "a minute and a fresh message are all it takes"
    _, start, rows, _ = fuzz.load(saved)
    assert "AGE_MS" in fuzz.breaks(watch, start, rows)
    assert fuzz.breaks(interpreted("slow").watch("slow"), start, rows) == ""


@pytest.mark.parametrize("text", [None, b"", b"PK\3\4 no archive", b"no archive"])
def test_a_file_that_is_none_of_ours_is_refused_in_a_line(tmp_path, capsys, text):
    path = tmp_path / "some.npz"
    if text is not None:
        path.write_bytes(text)
    assert fuzz.replay(path) == 2
    assert capsys.readouterr().err.count("\n") == 1
