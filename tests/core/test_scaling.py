"""The generated line of a signal against exact arithmetic on bits read one by one."""

from decimal import Decimal
from fractions import Fraction
from math import floor

import checked
import integer_check
import pytest
from cellwarden.core import layout as L
from cellwarden_tools.compiler import decoder
from cellwarden_tools.compiler.dbc import Message, Signal
from cellwarden_tools.compiler.profile import Binding
from cellwarden_tools.compiler.quantities import QUANTITIES
from cellwarden_tools.compiler.scaling import plan, wide
from cellwarden_tools.errors import InputError
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from rig import get_bits, put_bits

FRAME = """
import micropython
from micropython import const

NA = const(-0x20000000)

@micropython.viper
def decode(s, views, b: int) -> int:
    d0, d1, d2, d3, d4, d5, d6, d7 = views
    {}
    return 0
"""
UNITS = {"mV": 1000, "mA": 1000, "ddegC": 10, "permille": 10, "ohm": 1, "count": 1}
NUMBERS = [q for q in QUANTITIES.values() if q.kind == "number"]


def bind(quantity, start, length, big_endian, signed, scale, offset, invalid=frozenset()):
    """A Binding of a made-up signal whose physical value is scale * raw + offset."""
    per = UNITS[quantity.unit]
    signal = Signal("X", start, length, big_endian, signed, scale=scale, offset=offset)
    message = Message("M", 1, False, 64, signals=[signal])
    bus = type("Bus", (), {"database": type("File", (), {"path": "made-up.dbc"})})
    return Binding(
        quantity,
        0,
        bus,
        message,
        signal,
        scale * per,
        offset * per,
        quantity.low,
        quantity.high,
        (),
        frozenset(invalid),
    )


def decode(lines):
    """The lines as a function of (bytes, where the frame begins) that returns the signal, every integer watched."""
    source = FRAME.format("\n    ".join(lines))
    assert integer_check.check(source) == []
    function = checked.functions(source, "line")["decode"]

    def run(data, before):
        state = [0] * (L.SIGNALS_AT + 1)
        function(state, [data[i:] for i in range(8)], before)
        return state[L.SIGNALS_AT]

    return run


def exact(binding, raw):
    """(canonical value before rounding, the one expected) of a raw value."""
    value = binding.factor * raw + binding.offset
    rounded = floor(value + Fraction(1, 2))
    wrong = raw in binding.invalid or not binding.low <= rounded <= binding.high
    return value, L.NA if wrong else rounded


def judge(binding, raws, tight=False):
    """Compare the generated line with the exact value for each raw value; the error stays under the one printed."""
    lines, scaling = decoder.signal_lines(binding, 0)
    run = decode(lines)
    before = 3
    for raw in raws:
        data = bytearray(before + 64)
        frame = bytearray(64)
        put_bits(frame, binding.signal, raw)
        data[before:] = frame
        raw = get_bits(frame, binding.signal)
        got = run(data, before)
        value, expected = exact(binding, raw)
        if got == expected:
            continue
        assert not tight, f"{lines}: raw {raw} is {float(value)}, got {got}"
        edges = (abs(value - binding.low), abs(value - binding.high))
        at_edge = min(edges) <= scaling.error + 1
        assert raw not in binding.invalid and (at_edge or L.NA not in (got, expected)), (
            f"{lines}: raw {raw} became {got}"
        )
        assert got == L.NA or abs(got - value) <= scaling.error, (
            f"{lines}: raw {raw}: {got} is off by more than was printed"
        )
    return scaling


def raws_of(binding, more=()):
    """Raw values worth a look: ends, sentinels, the edges of the physical range, and some more."""
    low, high = binding.signal.raw_range
    edges = [(Fraction(x) - binding.offset) / binding.factor for x in (binding.low, binding.high, 0)]
    told = {low, low + 1, high, high - 1, 0, -1, *binding.invalid, *more}
    told |= {floor(edge) + d for edge in edges for d in (-2, -1, 0, 1, 2)}
    if high - low < 600:
        told |= set(range(low, high + 1))
    return sorted(raw for raw in told if low <= raw <= high)


decimals = st.one_of(
    st.sampled_from("1 0.1 0.01 0.001 0.0001 0.5 0.25 0.2 0.05 0.125".split()),
    st.sampled_from("0.0625 0.015625 2 10 -1 -0.1 0.3 1.5 0.0033 0.4 1000".split()),
    st.decimals(min_value="-20", max_value="20", places=5).filter(bool).map(str),
).map(Fraction)
offsets = st.one_of(
    st.sampled_from("0 -40 -1000 -3200 0.5 -0.05 100".split()),
    st.decimals(min_value="-500", max_value="500", places=3).map(str),
).map(Fraction)


@st.composite
def bindings(draw):
    big_endian, length = draw(st.booleans()), draw(st.integers(1, 32))
    first = draw(st.integers(0, 512 - length))
    start = first ^ 7 if big_endian else first
    signed = draw(st.booleans()) and length > 1
    low = -(1 << length - 1) if signed else 0
    invalid = draw(st.lists(st.integers(low, low + (1 << length) - 1), max_size=2))
    quantity = draw(st.sampled_from(NUMBERS))
    return bind(quantity, start, length, big_endian, signed, draw(decimals), draw(offsets), invalid)


@settings(max_examples=700)
@given(bindings(), st.data())
def test_any_signal_is_decoded_as_the_exact_arithmetic_says(binding, data):
    low, high = binding.signal.raw_range
    try:
        decoder.signal_lines(binding, 0)
    except InputError:
        assume(False)
    judge(binding, raws_of(binding, data.draw(st.lists(st.integers(low, high), max_size=8))))


USUAL = [
    ("cell_voltage", 16, False, "0.001", "0"),
    ("cell_voltage", 13, False, "0.001", "0"),
    ("cell_voltage", 12, False, "0.00125", "0"),
    ("cell_voltage", 8, False, "0.02", "0"),
    ("cell_voltage", 16, False, "0.0001", "0"),
    ("cell_voltage", 16, False, "0.0001", "1"),
    ("cell_voltage", 10, False, "0.005", "0"),
    ("pack_voltage", 16, False, "0.1", "0"),
    ("pack_voltage", 16, False, "0.01", "0"),
    ("pack_voltage", 14, False, "0.0625", "0"),
    ("pack_voltage", 12, False, "0.5", "0"),
    ("pack_voltage", 10, False, "0.25", "100"),
    ("pack_current", 16, True, "0.1", "0"),
    ("pack_current", 16, False, "0.1", "-1000"),
    ("pack_current", 16, True, "-0.1", "0"),
    ("pack_current", 16, False, "0.05", "-1600"),
    ("pack_current", 15, True, "0.01", "0"),
    ("pack_current", 12, True, "1", "0"),
    ("soc", 8, False, "0.5", "0"),
    ("soc", 8, False, "0.4", "0"),
    ("soc", 16, False, "0.01", "0"),
    ("soc", 11, False, "0.1", "0"),
    ("soc", 10, False, "0.0977517", "0"),
    ("temperature", 8, False, "1", "-40"),
    ("temperature", 8, False, "0.5", "-40"),
    ("temperature", 8, True, "1", "0"),
    ("temperature", 16, True, "0.1", "0"),
    ("temperature", 16, True, "0.01", "0"),
    ("temperature", 12, False, "0.0625", "-50"),
    ("insulation", 16, False, "1000", "0"),
    ("insulation", 16, False, "1", "0"),
    ("pack_voltage", 24, False, "0.001", "0"),
    ("pack_current", 24, True, "0.001", "0"),
]


@pytest.mark.parametrize("quantity, length, signed, scale, offset", USUAL)
def test_the_usual_factors_are_exact(quantity, length, signed, scale, offset):
    """Round half up of the exact value, for every raw value where they are few and at every edge where not."""
    binding = bind(QUANTITIES[quantity], 5, length, False, signed, Fraction(scale), Fraction(offset))
    low, high = binding.signal.raw_range
    every = range(low, high + 1, max(1, (high - low) // 3000 | 1))
    scaling = judge(binding, [*raws_of(binding), *every], tight=True)
    assert scaling.error <= Fraction(1, 2), f"{scale} is off by up to {float(scaling.error)}"
    if (binding.factor.denominator, binding.offset.denominator) == (1, 1):
        assert scaling.error == 0


@pytest.mark.parametrize("length", [31, 32])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("scale", ["0.001", "1", "-0.1", "0.000001", "0.0005", "0.3"])
def test_signals_of_31_and_32_bits_stay_in_30(length, signed, scale):
    binding = bind(
        QUANTITIES["pack_current"], 7, length, True, signed, Fraction(scale), Fraction(0), {-7 if signed else 7}
    )
    low, high = binding.signal.raw_range
    near = floor(binding.low / binding.factor), floor(binding.high / binding.factor)
    more = [x + d for x in (*near, low, high, 65535, 65536, -65536, 1 << 30, -(1 << 30)) for d in range(-3, 4)]
    judge(binding, raws_of(binding, [*more, *range(low, high, (high - low) // 500)]))


@settings(max_examples=500)
@given(decimals, offsets, st.integers(1, 1 << 26))
@example(Fraction("0.1"), Fraction("0.05"), 3)
def test_a_plan_is_off_by_no_more_than_it_says(factor, offset, top):
    try:
        scaling = plan(factor, offset, top)
    except OverflowError:
        return
    run = decode(["v = d0[b]", f"s[{L.SIGNALS_AT}] = {scaling.text}"])
    for v in {0, 1, min(2, top), top // 3, top // 2, top - 1, top}:
        off = abs(run([v], 0) - (factor * v + offset))
        assert off <= scaling.error, f"{scaling.text} at {v} is off by {float(off)}, {float(scaling.error)} was printed"


def test_what_cannot_be_is_refused():
    for factor, offset, top in ((Fraction(1 << 20), Fraction(0), 1 << 20), (Fraction(1), Fraction(1 << 30), 1)):
        with pytest.raises(OverflowError):
            plan(factor, offset, top)
    with pytest.raises(OverflowError):
        wide(Fraction(1), Fraction(1 << 40), 0, 1000, 32, False)
    with pytest.raises(OverflowError):
        wide(Fraction(1 << 20), Fraction(0), -(1 << 29), 1 << 29, 32, True)
    for quantity, length, scale, offset in (("cell_voltage", 8, "1", "1000"), ("pack_current", 32, "1", "10000000")):
        with pytest.raises(InputError, match=r"`M\.X`"):
            decoder.signal_lines(
                bind(QUANTITIES[quantity], 0, length, False, False, Fraction(scale), Fraction(offset)), 0
            )


def test_the_tests_own_reader_reads_what_its_writer_wrote():
    for big_endian in (False, True):
        for start in range(64):
            signal = Signal("X", start, 11, big_endian, True)
            for raw in (-1024, -1, 0, 1, 1023):
                frame = bytearray(b"\x55" * 64)
                put_bits(frame, signal, raw)
                assert get_bits(frame, signal) == raw
    assert Decimal("0.1") == Decimal("0.10")
