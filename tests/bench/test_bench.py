"""What the figures rest on: the logs hold what they should, the rivals do the same work, the page tells it right."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import cantools
import measure
import numpy
import page as pages
import pytest
import rings
import sections
import vehicle
import with_c
import workload
from cellwarden.core import layout as L
from cellwarden_tools.compiler.image import open_image
from cellwarden_tools.engines import device_files
from cellwarden_tools.engines.micropython import find_micropython
from cellwarden_tools.readers import EXT, open_log
from cellwarden_tools.simulator import DEMO_PROFILE

HERE = Path(__file__).parent
FRAMES = 5000  # of rounds of 2112


@pytest.fixture(scope="module")
def drive():
    return workload.Drive(minutes=0.1)


@pytest.fixture(scope="module")
def log(drive, tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "demo.log"
    workload.write(drive, "candump", path, FRAMES)
    return path


@pytest.fixture(scope="module")
def decoded(log):
    """Frames and signals in use, and the sum of their values, by cantools."""
    database = cantools.database.load_file(vehicle.used()[0])
    names = set(vehicle.used()[1].values())
    signals, total = 0, 0.0
    for _, _, can_id, data in open_log(log):
        message = database.get_message_by_frame_id(can_id & ~EXT)
        if message.name in names:
            values = message.decode(data, decode_choices=False)
            signals += len(values)
            total += sum(values.values())
    return {"frames": FRAMES, "signals": signals, "physical_sum": pytest.approx(total, rel=1e-9)}


def told(*words, env=None):
    words = [str(word) for word in words]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=os.environ | (env or {}))
    return json.loads(done.stdout)


@pytest.mark.parametrize("format", ["candump", "savvycan", "asc", "blf", "mf4", "parquet"])
def test_every_format_holds_the_same_frames(drive, format, tmp_path):
    path = tmp_path / f"log.{workload.FORMATS[format]}"
    if format == "parquet":  # made out of the candump log beside it
        workload.write(drive, "candump", path.with_suffix(".log"), FRAMES)
    assert workload.write(drive, format, path, FRAMES)
    log = open_log(path)
    read = list(log)
    assert not log.account.rejected and len(read) == FRAMES
    start = read[0][0] - drive.frames[0][0] if format == "asc" else 0  # its stamps count from the first frame
    for at, (t_us, _, can_id, data) in enumerate(read):
        rounds, row = divmod(at, len(drive.frames))
        wanted = drive.frames[row]
        assert (can_id, data) == wanted[2:], f"frame {at}"
        assert abs(t_us - start - wanted[0] - rounds * drive.round_s * 1_000_000) <= 1, f"frame {at}"
    assert any(can_id & EXT for _, _, can_id, _ in read)


def test_the_long_log_ends_with_a_whole_line(drive, tmp_path):
    path = tmp_path / "big.log"
    written = workload.write_text(drive, path, 1 << 40, stamp_at=1, stop_bytes=300_000)
    assert path.stat().st_size >= 300_000 and path.read_bytes().count(b"\n") == written
    assert path.read_bytes().endswith(b"\n")


def test_the_c_program_decodes_what_cantools_decodes(log, decoded, tmp_path):
    try:
        program = with_c.build(tmp_path)
    except OSError as error:
        pytest.skip(str(error))
    got = told(program, log)
    assert got | decoded == got and not got["refused"] and not got["backward"]
    assert told(program, log, 1234)["frames"] == 1234


def test_the_c_program_takes_no_broken_line(tmp_path):
    try:
        program = with_c.build(tmp_path)
    except OSError as error:
        pytest.skip(str(error))
    broken = [
        "(1.000000) can0 1A0#001",
        "(1.000000) can0 1A#00",
        "(1.0) can0 1A0#00",
        "",
        "x",
        "(1.000000) can0 1A0#0G",
    ]
    path = tmp_path / "broken.log"
    path.write_text("\n".join([*broken, "(1.000000) can0 1A0#0011223344556677", "(1.000001) can0 12345678#", ""]))
    got = told(program, path)
    assert (got["frames"], got["refused"]) == (2, len(broken))


def test_python_can_decodes_the_same(log, decoded):
    got = told(sys.executable, HERE / "rivals" / "with_python_can.py", log, FRAMES)
    assert got | decoded == got


def test_asammdf_decodes_the_same(drive, decoded, tmp_path):
    workload.write(drive, "mf4", tmp_path / "log.mf4", FRAMES)
    got = told(sys.executable, HERE / "rivals" / "with_asammdf.py", tmp_path / "log.mf4", tmp_path)
    assert (got["frames"], got["signals"]) == (FRAMES, decoded["signals"])


@pytest.mark.skipif(not importlib.util.find_spec("opendbc"), reason="opendbc is not installed (extra `bench`)")
def test_opendbc_gets_every_frame(log, tmp_path):
    got = told(sys.executable, HERE / "rivals" / "with_opendbc.py", log, FRAMES, tmp_path)
    assert got["frames"] == FRAMES and got["updated"] > FRAMES // 4


def test_a_ring_holds_the_frames_and_goes_on_after_its_end(drive):
    image, _ = open_image(DEMO_PROFILE)
    for name, (_, ring, ring_ms) in rings.demo_rings(image, drive.frames).items():
        rows = numpy.frombuffer(ring, "i4").reshape(-1, 5)
        times = rows[:, 0]
        assert (numpy.diff(times) >= 0).all() and times[-1] <= ring_ms <= times[-1] + 20, name
        data = ring[L.RECORD_DATA : L.RECORD_DATA + 8]
        first = next(f for f in drive.frames if name != "used" or f[2] in {i for _, _, i in image.names["messages"]})
        assert rows[0, 1] == first[2] and data == first[3].ljust(8, b"\0"), name


def test_every_engine_runs_the_same_scans_over_a_ring(drive, tmp_path):
    image, _ = open_image(DEMO_PROFILE)
    image.save(tmp_path / "demo.cwi")
    _, ring, ring_ms = rings.demo_rings(image, drive.frames)["logged"]
    (tmp_path / "ring").write_bytes(ring)
    given = (tmp_path / "ring", ring_ms)
    found = {}
    for name in ("python", "fast", "blocks"):
        got = told(sys.executable, HERE / "core_alone.py", name, 0, tmp_path / "demo.cwi", *given)
        found[name] = got["parts"][str(given[0])]
    for name, native in (("bytecode", False), ("viper", True)):
        device_files.write_device_files(tmp_path / name, native)
        device_files.write_image_files(image, tmp_path / name / "image", native)
        words = [find_micropython(), "-X", "heapsize=16m", HERE / "on_micropython.py", 1e-6, tmp_path / name / "image"]
        got = told(*words, *given, env={"MICROPYPATH": str(tmp_path / name)})
        found[name] = got["parts"][str(given[0])]
    # Two rounds each: one for warming up, one timed.
    assert {(part["frames"], part["scans"]) for part in found.values()} == {(len(drive.frames), 2 * ring_ms // 100)}


def test_a_ring_on_a_full_bus_takes_its_time():
    ring, ring_ms = rings.pack([(0, 0, 1, b"")] * 9010, 8, rings.FULL_BUS)
    assert ring_ms == 2000 and len(ring) == 9010 * 20


def test_programs_run_in_turns_and_the_first_turn_does_not_count(tmp_path):
    out = tmp_path / "order"
    write = f"print(open({str(out)!r}, 'a').write('%s') and '')"
    programs = [measure.Program(name, [sys.executable, "-c", write % name]) for name in "AB"]
    measure.in_turns(programs, runs=2)
    assert out.read_text() == "ABABAB"
    assert [len(program.wall) for program in programs] == [2, 2]
    assert all(wall >= cpu > 0 for p in programs for wall, cpu in zip(p.wall, p.cpu, strict=True))


def test_a_program_that_fails_says_so_and_is_not_tried_again(tmp_path):
    failing = measure.Program("x", [sys.executable, "-c", "import sys; sys.exit('no such log')"])
    missing = measure.Program("y", [tmp_path / "absent"])
    measure.in_turns([failing, missing], runs=3)
    assert failing.fault == "no such log" and "No such file" in missing.fault
    assert failing.rate() is None and missing.seconds() is None


def test_the_memory_of_a_program_is_its_own():
    import resource

    hog = bytearray(50_000_000)
    hog[::4096] = b"x" * len(hog[::4096])
    small = measure.Program("x", [sys.executable, "-S", "-c", "pass"])
    big = measure.Program("y", [sys.executable, "-S", "-c", "b = bytearray(b'x' * 300_000_000)"])
    measure.in_turns([small, big], runs=1, warm=0)
    assert big.peak_bytes > 300e6
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert small.peak_bytes <= own < 2**40


def test_rates_come_from_the_median_and_from_the_best_run():
    program = measure.Program("x", [], frames=1000, wall=[4.0, 1.0, 2.0])
    assert (program.rate(), program.rate(best=True)) == (500, 1000)
    short = measure.Program("y", [], frames=1000, wall=[1.0])
    long = measure.Program("z", [], frames=5000, wall=[3.0])
    assert sections.rate_without(long, short) == 2000
    assert sections.rate_without(short, long) is None


def test_verdicts_that_differ_are_shown():
    one, other = measure.Program("x", []), measure.Program("y", [])
    one.told, other.told = {"state_sha256": "a", "frames": 1}, {"state_sha256": "b", "frames": 1}
    assert sections.same(one, one) == "same digest"
    assert sections.same(one, other) == "**differ**"
    assert "same counts" in sections.same(one, other, own_clock=True)
    other.told["frames"] = 2
    assert sections.same(one, other, own_clock=True) == "**differ**"


def test_a_table_is_markdown():
    page = pages.Page()
    page.table(("what", ">much"), [("a|b", 1), (None, "2")])
    assert page.text() == "| what | much |\n|---|---:|\n| a\\|b | 1 |\n| - | 2 |\n"
    with pytest.raises(ValueError):
        page.table(("what",), [(1, 2)])


@pytest.mark.parametrize(
    "value, text",
    [
        (None, None),
        (999, "1.0 k"),
        (12_345, "12 k"),
        (999_999, "1000 k"),
        (3_210_000, "3.21 M"),
        (123_400_000, "123 M"),
    ],
)
def test_rates_read_well(value, text):
    assert pages.rate(value) == text


def test_ratios_read_well():
    assert [pages.ratio(*pair) for pair in ((300, 10), (15, 10), (1, 10), (None, 1), (1, None))] == [
        "**30**", "**1.5**", "**0.10**", None, None,
    ]  # fmt: skip


def test_what_was_not_measured_is_neither_reached_nor_missed():
    import bench

    rows = bench.figures({})
    assert {row[-1] for row in rows} == {"not measured"}
    found = {"candump": 3_100_000, "python-can candump": 100_000, "big": 500e6, "second start": 0.4}
    found |= {"parquet": 5e6, "parquet started": 9e6, "mf4": 2e6, "mf4 started": 2.9e6}
    answers = {what: answer for what, *_, answer in bench.figures(found)}
    assert answers["end to end from candump text"] == "yes"
    assert answers["the same against python-can + cantools"] == "yes"
    assert answers["peak memory of 1 GB of candump"] == "**no**"
    assert answers["end to end from BLF"] == "not measured"
    assert answers["end to end from Parquet"] == "without start-up"
    assert answers["end to end from MF4"] == "**no**"


def test_the_page_names_no_folder_and_no_host(tmp_path):
    text = pages.safe(f"cannot open {tmp_path}/x.log and {pages.CHECKOUT}/docs/a.md")
    assert str(tmp_path) not in text and str(pages.CHECKOUT) not in text
    assert "x.log" in text and "docs/a.md" in text
