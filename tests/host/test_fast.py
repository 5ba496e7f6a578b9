"""`--engine fast`: the same core as machine code, fed by `replay`, and with its cache harmed.

That it gives the same bytes on scenarios, real logs and hostile frames is held in tests/device/test_same_bytes.py.
"""

import builtins
import io
import json
import random
import shutil
import sys

import pytest
from cellwarden_tools import engines
from cellwarden_tools.cli import run
from cellwarden_tools.compiler.image import compile_profile
from cellwarden_tools.engines import compiled, open_engine
from cellwarden_tools.errors import InputError
from cellwarden_tools.readers import open_log
from cellwarden_tools.replay import Replay

pytest.importorskip("numba")
pytestmark = pytest.mark.numba

PROFILE = """
[vehicle]
name = "two"
chemistry = "nmc"
cells = 2
probes = 0
[[bus]]
channel = "can1"
dbc = "two.dbc"
[signals]
cell_voltage = "Cells.C{n}"
soc = "Pack.Soc"
"""
DBC = """VERSION ""

NS_ :

BS_:

BU_: BMS

BO_ 256 Cells: 8 BMS
 SG_ C1 : 0|16@1+ (0.001,0) [0|5] "V" X
 SG_ C2 : 16|16@1+ (0.001,0) [0|5] "V" X

BO_ 257 Pack: 8 BMS
 SG_ Soc : 0|8@1+ (0.5,0) [0|100] "%" X
"""


@pytest.fixture(scope="module")
def profile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    (folder / "two.toml").write_text(PROFILE)
    (folder / "two.dbc").write_text(DBC)
    return folder / "two.toml"


@pytest.fixture(scope="module")
def image(profile):
    return compile_profile(profile).image


def folders(image):
    """Where the machine code of the core and of the image's decoder is kept."""
    return [folder for folder, _ in compiled._parts(image)]


@pytest.fixture(scope="module", autouse=True)
def cache(image, tmp_path_factory):
    """A cache that may be harmed: a copy of what the cache of all tests has of the image."""
    with open_engine("fast", image):
        made = folders(image)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CELLWARDEN_CACHE", str(tmp_path_factory.mktemp("cache")))
        for ours, theirs in zip(folders(image), made, strict=True):
            shutil.copytree(theirs, ours)
        yield compiled.cache_folder()


def candump(seed, lines=3000):
    """A log with everything in it that stops a block: other channels, odd lines, FD frames, clocks that jump."""
    rng = random.Random(seed)
    t_us, out = 10**15, []
    for _ in range(lines):
        t_us += rng.choice((1000, 10_000, 30_000, 2_000_000, -5000, -3_000_000))
        if rng.random() < 0.01:
            t_us += rng.choice((1, -1)) * rng.choice((10**9, 5 * 10**11, 2 * 10**12))
        t_us = max(t_us, 0)
        cells = "".join(rng.choice(("740E", "100E", "FFFF", "8813", "D007")) for _ in range(2)) + "00000000"
        frame = rng.choice((f"100#{cells}", f"100#{cells}", "101#64", "101#", "7FF#11", f"100##0{cells}0000"))
        channel = rng.choice(("can1", "can1", "can1", "can0", "vcan7"))
        line = f"({t_us // 10**6}.{t_us % 10**6:06}) {channel} {frame}"
        out.append(rng.choice(("# a comment", "rubbish", line + " T")) if rng.random() < 0.02 else line)
    return ("\n".join(out) + "\n").encode()


def replay(image, engine, text):
    with open_engine(engine, image) as opened:
        told = Replay(image, open_log("-", format="candump", stream=io.BytesIO(text)), opened)
        events = list(told)
    assert told.end.pop("engine") == engine
    return events, told.end


@pytest.mark.parametrize("seed", range(6))
def test_a_log_in_blocks_gives_the_events_and_the_end_line_of_the_log_frame_by_frame(image, seed):
    wanted = replay(image, "python", candump(seed))
    assert wanted[0], "no alarm rose: the test would prove little"
    assert wanted[1]["time_backward"] and wanted[1]["skipped"]["other channel"] and wanted[1]["rejected"]
    assert replay(image, "fast", candump(seed)) == wanted


@pytest.mark.parametrize("text", [b"(1.0) can0 100#00\n", b"(1.0) can1 7FF#00\n", b"(1.0) can1 100#R\n"])
def test_a_log_of_another_vehicle_is_refused_in_the_same_words(image, text):
    said = []
    for engine in ("python", "fast"):
        with pytest.raises(InputError) as refused:
            replay(image, engine, text)
        said.append(str(refused.value))
    assert said[0] == said[1]


def test_the_second_start_compiles_nothing(image, cache):
    replay(image, "fast", candump(1, 50))
    assert compiled.is_compiled(image)
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*.nb?")}
    assert before
    with open_engine("fast", image) as engine:
        (stats,) = {engine._compiled.stats.cache_hits.total()}
    assert stats == 1 and before == {path: path.stat().st_mtime_ns for path in cache.rglob("*.nb?")}


def test_another_decoder_is_compiled_anew(image, tmp_path):
    (tmp_path / "two.toml").write_text(PROFILE.replace('"Pack.Soc"', '{ signal = "Pack.Soc", max = 90 }'))
    (tmp_path / "two.dbc").write_text(DBC)
    other = compile_profile(tmp_path / "two.toml").image
    assert not compiled.is_compiled(other)
    (core, decoder), (core_of_other, decoder_of_other) = folders(image), folders(other)
    assert core == core_of_other and decoder != decoder_of_other, "the core is the same for every vehicle"


@pytest.mark.long
@pytest.mark.parametrize(("part", "harm"), [(0, "cut"), (1, "cut"), (1, "folder gone")])
def test_a_damaged_cache_is_made_anew(image, part, harm):
    wanted = replay(image, "fast", candump(2, 500))
    folder = folders(image)[part]
    if harm == "folder gone":
        shutil.rmtree(folder)
    for path in folder.rglob("*.nbc"):
        path.write_bytes(path.read_bytes()[:1000])
    assert replay(image, "fast", candump(2, 500)) == wanted and compiled.is_compiled(image)


@pytest.mark.long
def test_without_a_place_for_a_cache_it_still_runs(image, monkeypatch, tmp_path):
    wanted = replay(image, "fast", candump(3, 500))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CELLWARDEN_CACHE", str(tmp_path / "file" / "cache"))
    assert replay(image, "fast", candump(3, 500)) == wanted


def test_without_numba_it_says_what_to_install(image, monkeypatch):
    monkeypatch.setattr(engines, "_has_numba", lambda: False)
    with pytest.raises(InputError, match=r"needs Numba.*pip install cellwarden\[fast\]"):
        open_engine("fast", image)
    assert open_engine("auto", image, 10**9).name == "python"


def test_auto_takes_plain_python_for_what_is_small(image, monkeypatch):
    replay(image, "fast", candump(1, 50))
    for frames, ready, name in (
        (None, True, "python"), (1000, True, "python"), (engines.MANY, True, "fast"), (engines.MANY, False, "python"),
        (engines.VERY_MANY, False, "fast"),
    ):  # fmt: skip
        monkeypatch.setattr(compiled, "is_compiled", lambda image, ready=ready: ready)
        assert open_engine("auto", image, frames).name == name


def test_a_small_log_is_replayed_without_loading_numba(profile, tmp_path, monkeypatch, capsys):
    (tmp_path / "drive.log").write_bytes(candump(1, 200))
    for name in [name for name in sys.modules if name.partition(".")[0] in ("numba", "llvmlite")]:
        monkeypatch.delitem(sys.modules, name)
    real = builtins.__import__

    def watched(name, *given):
        assert name.partition(".")[0] not in ("numba", "llvmlite"), "a small log waited for Numba"
        return real(name, *given)

    monkeypatch.setattr(builtins, "__import__", watched)
    assert run(["replay", str(tmp_path / "drive.log"), "-p", str(profile), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["engine"] == "python"
