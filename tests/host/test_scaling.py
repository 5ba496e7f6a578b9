"""Scaling: within the error it prints, for every raw value, without leaving 30 bits."""

from fractions import Fraction

import pytest
from cellwarden_tools.compiler.scaling import LIMIT, plan, wide
from hypothesis import assume, example, given
from hypothesis import strategies as st


class Small(int):
    """An integer that tells when a calculation leaves 30 bits."""

    def _do(self, value):
        assert -LIMIT <= value < LIMIT, f"{value} is over 30 bits"
        return Small(value)

    def __add__(self, other):
        return self._do(int(self) + other)

    def __sub__(self, other):
        return self._do(int(self) - other)

    def __mul__(self, other):
        return self._do(int(self) * other)

    def __floordiv__(self, other):
        return self._do(int(self) // other)

    def __rshift__(self, other):
        return self._do(int(self) >> other)


# Factors as DBC files have them: up to ten digits, and some that are no decimals.
factors = st.one_of(
    st.builds(Fraction, st.integers(-(10**6), 10**6), st.sampled_from([10**n for n in range(10)])),
    st.builds(Fraction, st.integers(1, 10**4), st.integers(1, 10**4)),
).filter(bool)
offsets = st.builds(Fraction, st.integers(-(10**9), 10**9), st.sampled_from([1, 2, 10, 1000, 390625]))
HALF = Fraction(1, 2)


@given(factor=factors, offset=offsets, bits=st.integers(1, 16), part=st.floats(0, 1))
@example(factor=Fraction(25493, 200000), offset=Fraction(-1631552000, 390625), bits=16, part=1.0)
@example(factor=Fraction(77143, 5000), offset=Fraction(0), bits=16, part=0.5)
def test_a_short_signal_is_scaled_within_the_printed_error(factor, offset, bits, part):
    top = (1 << bits) - 1
    assume(abs(offset) + abs(factor) * top < 10**7)  # wider than any quantity a pack has
    scaling = plan(factor, offset, top)
    assert scaling.error <= HALF + Fraction(1, 100), "a decimal factor costs more than half a unit"
    for raw in {0, 1, top // 2, round(top * part), top - 1, top}:
        if raw >= 0:
            value = eval(scaling.text, {"v": Small(raw)})
            assert abs(value - (factor * raw + offset)) <= scaling.error


@given(factor=factors, offset=offsets, signed=st.booleans(), bits=st.integers(31, 32), low=st.integers(0, 65535))
def test_a_long_signal_is_scaled_within_the_printed_error_where_it_counts(factor, offset, signed, bits, low):
    assume(abs(offset) < 10**6 and Fraction(1, 10**4) < abs(factor) < 10**5)
    try:
        first, last, scaling = wide(factor, offset, 0, 2_000_000, bits, signed)
    except OverflowError:
        assume(False)
    for high in {first, (first + last) // 2, last}:
        value = eval(scaling.text, {"h": Small(high - first), "l": Small(low)})
        assert abs(value - (factor * ((high << 16) + low) + offset)) <= scaling.error


@pytest.mark.parametrize(("factor", "offset"), [(Fraction(10**9), Fraction(0)), (Fraction(1), Fraction(1 << 30))])
def test_what_does_not_fit_30_bits_is_refused(factor, offset):
    with pytest.raises(OverflowError):
        plan(factor, offset, 65535)


def test_a_range_that_is_never_read_is_refused():
    with pytest.raises(OverflowError):
        wide(Fraction(1), Fraction(10**12), 0, 5000, 32, False)
