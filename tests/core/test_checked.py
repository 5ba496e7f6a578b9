"""No integer of the core leaves 30 bits: not in a scenario, not on random bytes, not on real logs, not at any wrap."""

import os
import random
from pathlib import Path

import checked
import pytest
from cellwarden.core import layout as L
from cellwarden.engine import Engine
from cellwarden_tools.compiler.image import compile_profile
from cellwarden_tools.compiler.quantities import QUANTITIES
from cellwarden_tools.readers import open_log
from cellwarden_tools.simulator import run
from conftest import DEMO
from rig import FrameRig, Rig
from vehicles import DECODERS

CORPUS = Path(os.environ.get("CELLWARDEN_CORPUS") or Path(__file__).parents[3] / "shared" / "data")
VEHICLES = DEMO.parent / "vehicles"
SCENARIOS = (
    "demo", "healthy_drive", "healthy_charge", "healthy_park", "cell_over", "cell_under", "overcurrent", "hot_probe",
    "insulation_fall", "hard_short_burns", "burns_and_blinds", "soc_jumps", "cold_start", "table_fills",
)  # fmt: skip
LOGS = {
    "bolt": ("bolt-bicm-cc0/12_can_log_bms_bus_60s_raw.csv.xz",),
    "i3": ("bmw-i3/2014i3_AC_start_PT_CAN.csv.xz", "bmw-i3/2019_Circontrol_midpoint.csv.xz"),
    "kona": ("kona/Idle_log_no_diagnostic_function_selected-30sec.asc.xz", "kona/Main_Relay_plus_On.asc"),
}
HOSTILE_MS = (
    0,
    1,
    7,
    99,
    100,
    101,
    999,
    5000,
    31_000,
    3_600_000,
    -1,
    -999,
    -1000,
    -100_000,
    L.HALF - 1,
    L.HALF,
    L.HALF + 1,
)


def engines(image):
    """The engine as it is, and one on the watched core."""
    watched, advance = checked.image(image)
    engine = Engine(watched)
    engine.advance = lambda t_ms: advance(engine.box, (t_ms + engine.section("clock")[L.OFFSET_MS]) & L.MASK)
    return Engine(image), engine


def same(plain, watched):
    assert plain.state == watched.state and plain.events == watched.events, "the watched core is another core"


# --- it can fail ------------------------------------------------------------------------------------------------------

POISON = """
def f(a, b):
    {}
    return 0
"""


@pytest.mark.parametrize(
    "line",
    [
        "x = b * b", "x = b + b", "x = -b - b", "x = -a[1]", "x = b << 15", "b *= b", "a[3] += b", "a[0] = a[2]",
        "x = a[2]", "x = 0 if b + b else 1", "x = int(b * b)", "a[0] = (b + b) & 7", "return b + b",
        "x = ~a[3] + ~a[3] + 1",
    ],
)  # fmt: skip
def test_a_value_that_leaves_30_bits_is_caught(line):
    poisoned = checked.functions(POISON.format(line), "poison")["f"]
    with pytest.raises(OverflowError, match="poison:3"):
        poisoned([1, -(1 << 30), 1 << 30, (1 << 30) - 1], (1 << 29) + 1)


def test_a_value_inside_is_not():
    fine = checked.functions(POISON.format("a[0] += b + (1 << 29); a[1] = -a[0]; a[1] -= 1"), "fine")["f"]
    values = [0, 0]
    assert fine(values, (1 << 29) - 1) == 0 and values == [(1 << 30) - 1, -(1 << 30)]


def test_a_core_with_one_sum_unguarded_is_caught(demo):
    modules = checked.core(replace=[("scan", "(due + _WRAP + scan_ms)", "(due + scan_ms)")])
    engine = Engine(demo.image)
    modules["scan"]["advance"](engine.box, L.MASK - 200)
    with pytest.raises(OverflowError, match="scan:"):
        modules["scan"]["advance"](engine.box, 100)


# --- and does not -----------------------------------------------------------------------------------------------------


@pytest.mark.long(but=["hard_short_burns"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_no_scenario_leaves_30_bits(name, demo):
    # One second in eight is played, and the gaps between.
    frames = [f for f in run.simulate(name, DEMO, minutes=1.5) if f[0] // 1_000_000 % 8 == 0]
    plain, watched = engines(demo.image)
    for t_us, _, can_id, data in frames:
        plain.frame(t_us // 1000, can_id, data)
        watched.frame(t_us // 1000, can_id, data)
    same(plain, watched)
    assert plain.state[L.FRAMES] > 1000


@pytest.mark.parametrize("name", DECODERS)
def test_random_bytes_at_hostile_times_stay_inside(name, demo, compile_text):
    compiled = demo if name == "demo" else compile_text(*DECODERS[name])
    ids = [(message.can_id, bus.number) for bus, message, _ in compiled.plan.messages]
    rng = random.Random(name)
    plain, watched = engines(compiled.image)
    t = rng.randrange(1 << 30)
    for i in range(4000):
        can_id, bus = rng.choice([*ids, (rng.randrange(1 << 30), rng.randrange(256))])
        data = rng.randbytes(rng.choice((0, 1, 3, 7, 8, 8, 8, 12, 48, 64)))
        if i % 7 == 0:
            data = bytes(rng.choice((0, 255)) for _ in data)
        t += rng.choice(HOSTILE_MS) if rng.random() < 0.004 else rng.randrange(30)
        for engine in (plain, watched):
            engine.frame(t & L.MASK, can_id, data, bus)
            if i % 50 == 0:
                engine.advance((t + 130) & L.MASK)
    same(plain, watched)
    check_invariants(compiled.image, plain)


def check_invariants(image, engine):
    """What holds after any input whatever."""
    clock, messages, groups, signals, rules = map(engine.section, ("clock", "messages", "groups", "signals", "rules"))
    assert all(-(1 << 30) <= value < 1 << 30 for value in engine.state)
    assert all(L.NA <= value < -L.NA for name in ("signals", "features") for value in engine.section(name))
    assert (clock[L.DUE_MS] - clock[L.NOW_MS]) & L.MASK <= image.params[L.P_SCAN_MS]
    assert 0 <= clock[L.LEVEL] <= clock[L.MAX_LEVEL] <= 3
    assert all(0 <= wrong <= L.WRONG_LIMIT for wrong in messages[L.WRONG :: L.MESSAGE_SIZE])
    assert set(groups[L.STATUS :: L.GROUP_SIZE]) <= {L.NEVER, L.FRESH, L.STALE, L.USED}
    cells = signals[L.SCALARS : L.SCALARS + image.params[L.P_CELLS]]
    assert all(value == L.NA or 500 <= value <= 4999 for value in cells)
    for row in range(0, len(rules), L.RULE_SIZE):
        busy = rules[row + L.BUSY]
        asserted, asserting, clearing = busy & 7, busy >> 3 & 7, busy >> 6 & 7
        assert not asserted & asserting and not clearing & ~asserted and clearing < 8
        assert rules[row + L.LEVEL_NOW] == asserted.bit_length()


def test_every_counter_of_the_box_wraps_inside(demo):
    plain, watched = engines(demo.image)
    sender = FrameRig(demo).sender
    frames = sender.all(FrameRig(demo).wanted)
    for engine in (plain, watched):
        for column in (
            L.SCANS,
            L.FRAMES,
            L.IGNORED,
            L.MALFORMED,
            L.CHECKSUM_ERRORS,
            L.COUNTER_ERRORS,
            L.TIME_BACKWARD,
            L.EVENTS,
        ):
            engine.section("clock")[column] = L.MASK
        engine.section("groups")[L.ARRIVALS :: L.GROUP_SIZE] = memoryview(
            L.MASK.to_bytes(4, "little") * (len(engine.section("groups")) // 3)
        ).cast("i")
        engine.events[L.E_HEAD] = engine.events[L.E_TAIL] = engine.events[L.E_LOST] = L.MASK
        engine.advance(L.MASK - 50)
        for can_id, data, _ in frames:
            engine.frame(L.MASK - 40, can_id, data)
            engine.frame(L.MASK - 40, can_id, data[:1])
            engine.frame(L.MASK - 40, can_id, data[:-1] + bytes([data[-1] ^ 1]))
            engine.frame(L.MASK - 40, can_id, data)
        engine.frame(L.MASK - 40, 0x7FF, b"")
        engine.advance(L.MASK - 41)
        engine.advance(L.MASK - 5000)
        engine.section("signals")[L.HVIL_OK] = 0
        for ms in range(100, 900, 100):
            engine.frame((ms - 5000) & L.MASK, 0x7FF, b"")
        engine.advance(L.HALF - 10_000)
    same(plain, watched)
    clock = plain.section("clock")
    for column in (L.SCANS, L.FRAMES, L.IGNORED, L.MALFORMED, L.CHECKSUM_ERRORS, L.COUNTER_ERRORS, L.TIME_BACKWARD):
        assert 0 <= clock[column] < L.HALF, f"counter {column} did not wrap"


def test_extreme_signals_stay_inside(demo):
    """Each scalar at both ends of its range and missing, against each other."""
    rng = random.Random(1)
    ranges = [(q.slot, q.low, q.high) for q in QUANTITIES.values() if q.slot is not None]
    plain, watched = (Rig(demo.image), Rig(demo.image))
    advance = checked.image(demo.image)[1]
    watched.engine.advance = lambda t_ms: advance(watched.engine.box, (t_ms + watched.clock[L.OFFSET_MS]) & L.MASK)
    for _ in range(300):
        values = {slot: rng.choice((low, high, L.NA, rng.randint(low, high))) for slot, low, high in ranges}
        cells = [rng.choice((500, 4999, 3700, L.NA)) for _ in range(96)]
        probe = rng.choice((-500, 2000, L.NA))
        for rig in (plain, watched):
            for slot, value in values.items():
                rig[slot] = value
            for i, value in enumerate(cells):
                rig[rig.cell(i + 1)] = value
            rig.probes_read(probe)
            rig.scan()
    same(plain.engine, watched.engine)


@pytest.mark.long
@pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus: set CELLWARDEN_CORPUS to its folder")
@pytest.mark.parametrize("name", LOGS)
def test_real_logs_stay_inside(name):
    profile = VEHICLES / f"{name}.toml"
    if not profile.is_file():
        pytest.skip(f"no profile {profile.name}")
    image = compile_profile(profile).image
    for log in LOGS[name]:
        if not (CORPUS / log).is_file():
            pytest.skip(f"{log} is not in this corpus")
        plain, watched = engines(image)
        for t_us, _, can_id, data in open_log(CORPUS / log):
            plain.frame(t_us // 1000 & L.MASK, can_id, data)
            watched.frame(t_us // 1000 & L.MASK, can_id, data)
        same(plain, watched)
        check_invariants(image, plain)
        assert plain.state[L.FRAMES], f"{log}: nothing was decoded"
