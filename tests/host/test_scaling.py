"""Scaling by any decimal factor and offset costs half a unit, and no intermediate leaves 30 bits."""

from fractions import Fraction

from cellwarden_tools.compiler.scaling import LIMIT, plan
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
def test_a_signal_is_scaled_within_half_a_unit(factor, offset, bits, part):
    top = (1 << bits) - 1
    assume(abs(offset) + abs(factor) * top < 10**7)  # wider than any quantity a pack has
    scaling = plan(factor, offset, top)
    assert scaling.error <= HALF + Fraction(1, 100), "a decimal factor costs more than half a unit"
    for raw in {0, 1, top // 2, round(top * part), top - 1, top}:
        if raw >= 0:
            value = eval(scaling.text, {"v": Small(raw)})
            assert abs(value - (factor * raw + offset)) <= scaling.error
