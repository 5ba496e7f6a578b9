"""The project's first test: the same frames give the same events and the same state on every engine as on CPython.

The ports of MicroPython run with the heap locked while they judge, so each of these tests shows too that judging
allocates nothing.
"""

import os
from functools import cache
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from cellwarden.core import layout as L
from cellwarden_tools.compiler.image import compile_profile
from cellwarden_tools.engines import cortex_m3 as board
from cellwarden_tools.readers import open_log
from cellwarden_tools.replay import Replay
from cellwarden_tools.simulator import DEMO_PROFILE
from cellwarden_tools.simulator.run import simulate
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CORPUS = Path(os.environ.get("CELLWARDEN_CORPUS") or Path(__file__).parents[3] / "shared" / "data")
VEHICLES = Path(__file__).parents[2] / "dbc" / "vehicles"
LOGS = [
    ("bolt", "bolt-bicm-cc0/12_can_log_bms_bus_60s_raw.csv.xz"),
    ("i3", "bmw-i3/2014i3_AC_start_PT_CAN.csv.xz"),
    ("i3", "bmw-i3/2019_Circontrol_midpoint.csv.xz"),
    ("kona", "kona/Idle_log_no_diagnostic_function_selected-30sec.asc.xz"),
]
DAY_US = 86_400_000_000
WRAP_US = (1 << 30) * 1000  # the 30-bit clock begins anew
STEPS_US = [0, 1, 999_000, -999_000, -1_000_000, -DAY_US, WRAP_US // 2, WRAP_US, 40 * DAY_US, -40 * DAY_US]
TIMES_US = ((0, 20_000), (0, 1), (0, 3_000_000), (-2_500_000, 0), (-DAY_US, 4 * DAY_US))  # between two hostile frames
TIME_ODDS = (900, 60, 25, 10, 5)
# Those that tell the engines apart; the others differ in frames and not in kind.
SCENARIOS = (
    "healthy_drive", "healthy_charge", "healthy_park", "cell_over", "cell_under", "overcurrent", "hot_probe",
    "insulation_fall",
)  # fmt: skip
MINUTES = {"demo": None, "cell_over": 2.7, "cell_under": 2.7, "overcurrent": 2.5}  # until the faults bite; None: whole

SEEDS = (0, *(pytest.param(seed, marks=pytest.mark.long) for seed in (1, 2)))


@pytest.fixture
def port(every_port):
    return every_port


@cache
def driven(name, minutes, seed=1):
    """The frames of a scenario. The demonstration pack has one bus, number 0."""
    return [(t_us, 0, can_id, data) for t_us, _, can_id, data in simulate(name, DEMO_PROFILE, seed, minutes)]


def hostile(image, seed, count, start_us=0):
    """Random bytes in every length, fills that look like extremes, single wrong bits, foreign identifiers and channels;
    times that stand still, jump days ahead, and go back."""
    rng = Random(seed)
    known = [(bus, can_id) for bus, _, can_id in image.names["messages"]]
    size = image.params[L.P_DATA_BYTES]
    last = {}
    t_us, fill = start_us, 0
    for _ in range(count):
        t_us += rng.randrange(*rng.choices(TIMES_US, TIME_ODDS)[0])
        if rng.random() < 0.01:
            fill = rng.choice((0x00, 0x80, 0xFF, 0x7F, 0x55))
        bus, can_id = rng.choice(known)
        if rng.random() < 0.02:
            can_id ^= rng.choice((1, 0x400, L.EXT))
        if rng.random() < 0.01:
            bus ^= 1
        kind = rng.random()
        if kind < 0.3:
            data = bytearray(last.get((bus, can_id), bytes(size)))
            if data:
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        elif kind < 0.7:
            data = bytes([fill]) * size
        else:
            data = rng.randbytes(size if rng.random() < 0.7 else rng.randrange(size + 1))
        last[bus, can_id] = bytes(data)
        yield t_us, bus, can_id, bytes(data)


def spoiled(frames, seed):
    """A scenario on a bad bus: frames lost, doubled, cut, with wrong bits, silent for seconds."""
    rng = Random(seed)
    silent_until = 0
    for t_us, bus, can_id, data in frames:
        if t_us < silent_until:
            continue
        kind = rng.random()
        if kind < 0.0005:
            silent_until = t_us + rng.randrange(6_000_000)
        elif kind < 0.02:
            continue
        elif kind < 0.03:
            data = data[: rng.randrange(len(data) + 1)]
        elif kind < 0.05:
            at = rng.randrange(len(data))
            data = data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
        elif kind < 0.06:
            yield t_us, bus, can_id, data
        yield t_us, bus, can_id, data


@pytest.fixture(scope="module")
def wanted(cpython):
    """CPython's (events, state), worked out once a stream."""
    known = {}

    def judge(name, image, frames):
        if name not in known:
            known[name] = cpython.judge(image, frames)
        return known[name]

    return judge


@pytest.mark.parametrize("name", [pytest.param("demo", marks=pytest.mark.long), *SCENARIOS])
def test_every_scenario_gives_the_same_events_and_state(port, demo, wanted, name):
    frames = driven(name, MINUTES.get(name, 1.2))
    events, state = port.judge(demo, frames, locked=True)
    assert (events, state) == wanted(name, demo, frames)
    assert bool(events) == (name in MINUTES), "the stream is long enough to say something"


def test_a_run_with_the_heap_unlocked_gives_the_same_too(port, demo, wanted):
    frames = driven("overcurrent", 2.5)
    assert port.judge(demo, frames) == wanted("overcurrent", demo, frames)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.long)])
@pytest.mark.parametrize("vehicle", ["demo", "trusting"])
def test_a_bad_bus_gives_the_same_events_and_state(port, wanted, request, vehicle, seed):
    image = request.getfixturevalue(vehicle)
    frames = list(spoiled(driven("cell_over", 2.7), seed))
    assert port.judge(image, frames, locked=True) == wanted(f"{vehicle} {seed}", image, frames)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("vehicle", ["demo", "trusting", "awkward"])
def test_random_bytes_at_hostile_times_give_the_same_events_and_state(port, wanted, request, vehicle, seed):
    image = request.getfixturevalue(vehicle)
    frames = list(hostile(image, seed, 3000, start_us=(0, WRAP_US - 10_000_000, 1_700_000_000_000_000)[seed]))
    assert port.judge(image, frames, locked=True) == wanted(f"hostile {vehicle} {seed}", image, frames)


def test_every_length_of_every_message_gives_the_same_state(port, cpython, demo, trusting, awkward):
    for image in (demo, trusting, awkward):
        size = image.params[L.P_DATA_BYTES]
        frames = [
            (1000 * n, bus, can_id, bytes([fill]) * length)
            for n, (fill, length, (bus, _, can_id)) in enumerate(
                (fill, length, message)
                for fill in (0x00, 0x7F, 0x80, 0xFF)
                for length in (*range(size + 1), size + 1, 64)
                for message in image.names["messages"]
            )
        ]
        assert port.judge(image, frames, locked=True) == cpython.judge(image, frames)


@pytest.mark.parametrize("step_us", STEPS_US)
def test_a_step_of_the_clock_gives_the_same_events_and_state(port, wanted, demo, step_us):
    drive = driven("overcurrent", 2.5)[:-30_000:2]
    after = drive[-1][0] + step_us
    frames = drive[:2000] + [(after + frame[0], *frame[1:]) for frame in drive[:2000]]
    assert port.judge(demo, frames, locked=True) == wanted(f"step {step_us}", demo, frames)


def test_the_clock_wraps_in_the_middle_of_an_alarm_without_a_trace(port, wanted, demo):
    frames = driven("cell_over", 2.7)
    late = WRAP_US // 100_000 * 100_000 - 100_000_000  # a multiple of the scan time: the same grid
    events, _ = wanted("cell_over", demo, frames)
    shifted, _ = port.judge(demo, [(t_us + late, *rest) for t_us, *rest in frames], locked=True)
    assert [event._replace(t_ms=event.t_ms - late // 1000) for event in shifted] == events
    assert shifted[0].t_ms < WRAP_US // 1000 < shifted[-1].t_ms


def test_events_of_a_log_of_years_carry_the_time_of_their_own_frames(port, demo):
    fault = [frame for frame in driven("overcurrent", 2.5) if frame[0] >= 84_000_000]
    starts = [n * 100 * DAY_US for n in range(5)]
    events, _ = port.judge(demo, [(start + t_us, *rest) for start in starts for t_us, *rest in fault], locked=True)
    for start in starts:
        near = [event.level for event in events if fault[0][0] <= event.t_ms * 1000 - start <= fault[-1][0]]
        assert near[-3:] == [2, 3, 0], "an event is told days away from the frames that caused it"
    assert [event.t_ms for event in events] == sorted(event.t_ms for event in events)


_stream = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 20_000), st.integers(-3_000_000, 3_000_000), st.integers(-5 * DAY_US, 15 * DAY_US)),
        st.integers(0, 5),
        st.booleans(),
        st.binary(max_size=64),
    ),
    min_size=1, max_size=40,
)  # fmt: skip


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(stream=_stream)
def test_no_stream_can_be_found_that_viper_and_cpython_judge_differently(unix, cpython, awkward, stream):
    frames, t_us = [], 0
    for step_us, message, known, data in stream:
        t_us += step_us
        bus, _, can_id = awkward.names["messages"][message]
        frames.append((t_us, bus if known else 2, can_id, data))
    assert unix.judge(awkward, frames, locked=True) == cpython.judge(awkward, frames)


def resumed(image, streams, ports):
    """(events, state) of streams judged one after the other, each on a port that goes on from the state before."""
    events, before = [], None
    for frames, (port, options) in zip(streams, ports, strict=True):
        with port.open(image, **options) as engine:
            if before:
                engine.resume(*before)
            for frame in frames:
                engine.feed(*frame)
            before = engine.finish(), frames[-1][0]
            events += engine.events
    return events, before[0]


@pytest.mark.parametrize("share", [0.2, 0.7, 0.77])
def test_a_restart_forgets_nothing_on_any_engine_nor_from_one_to_another(port, cpython, wanted, demo, share):
    frames = driven("overcurrent", 2.5)
    cut = int(len(frames) * share)
    halves = frames[:cut], frames[cut:]
    here, there = (cpython, {}), (port, {"locked": True})
    for ports in ((here, there), (there, here)):
        assert resumed(demo, halves, ports) == wanted("overcurrent", demo, frames)


@pytest.mark.parametrize("seed", SEEDS)
def test_restarts_at_any_frame_of_a_hostile_stream_forget_nothing(port, cpython, wanted, awkward, seed):
    frames = list(hostile(awkward, seed, 3000, start_us=(0, WRAP_US - 10_000_000, 1_700_000_000_000_000)[seed]))
    rng = Random(seed)
    cuts = [0, *sorted(rng.sample(range(1, 3000), 5)), 3000]
    parts = [frames[start:end] for start, end in pairwise(cuts)]
    here, there = (cpython, {}), (port, {"locked": True})
    ports = [rng.choice([here, there]) for _ in parts[1:]] + [there]
    assert resumed(awkward, parts, ports) == wanted(f"hostile awkward {seed}", awkward, frames)


def test_a_stream_that_does_not_fit_the_board_at_once_gives_the_same(monkeypatch, cortex_m3, wanted, demo):
    monkeypatch.setattr(board, "_MOST_BYTES", 300_000)
    frames = driven("overcurrent", 2.5)
    assert cortex_m3.judge(demo, frames, locked=True) == wanted("overcurrent", demo, frames)


@pytest.mark.parametrize(("vehicle", "log"), LOGS, ids=lambda text: text.rpartition("/")[2][:12])
def test_a_real_log_gives_the_same_lines_as_replay_prints_them(port, cpython, vehicle, log):
    if not (CORPUS / log).exists():
        pytest.skip(f"no corpus: set CELLWARDEN_CORPUS to its folder (no {CORPUS.name}/{log})")
    image = compile_profile(VEHICLES / f"{vehicle}.toml").image
    told = []
    for each, options in ((cpython, {}), (port, {"locked": True})):
        with each.open(image, **options) as engine:
            run = Replay(image, open_log(CORPUS / log), engine)
            told.append([*run, run.end | {"engine": ""}])
    assert told[0] == told[1] and told[0][-1]["known_frames"]
