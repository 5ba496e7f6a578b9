"""From a raw value to the canonical integer: exact rational scaling in integers that stay inside [-2^30, 2^30).

`plan` finds the cheapest form that gives round-half-up of the exact value for every raw value: an integer factor, a
multiply and shift, a division, or a multiply and a division; only where none fits is the factor itself approximated,
and the error says so.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import floor, lcm

LIMIT = 1 << 30


@dataclass(frozen=True)
class Scaling:
    """text: expression in `v` (an unsigned raw value, or raw + 2^(n-1) where the signal is signed); error: worst
    abs(canonical - exact) over all raw values, in canonical units."""

    text: str
    error: Fraction


def plan(factor, offset, top, variable="v"):
    """The Scaling of canonical = factor * v + offset for v in 0..top. Raises OverflowError where no form fits."""
    wanted = factor
    p, q = factor.numerator, factor.denominator
    reach = max(abs(floor(offset)), abs(floor(factor * top + offset))) + 2
    if reach >= LIMIT:
        raise OverflowError
    while True:
        form = _form(p, q, offset, top, variable)
        if form:
            break
        if q < 4:
            raise OverflowError
        near = wanted.limit_denominator(q // 2)
        p, q = near.numerator, near.denominator
    approximation = abs(wanted - Fraction(p, q)) * top
    # The exact value lies on a grid of 1 / cells: the worst rounding is the grid point nearest to 1/2.
    cells = lcm(q, offset.denominator)
    error = Fraction(cells // 2, cells)
    return Scaling(form, error + approximation)


def _form(p, q, offset, top, v):
    if q == 1:
        if abs(p) * top >= LIMIT:
            return None
        return _sum(_times(v, p), floor(offset + Fraction(1, 2)))
    # floor(v * p / q + offset + 1/2) is floor((v * p + t) / q): v * p is whole, so what t loses is never reached.
    t = floor((offset + Fraction(1, 2)) * q)
    whole, rest = divmod(t, q)
    if abs(p) * top + q < LIMIT:
        if q & (q - 1) == 0:
            return _sum(f"({_sum(_times(v, p), rest)} >> {q.bit_length() - 1})", whole)
        if p > 0:
            # v * m + c >> s equals the division for every v in 0..top when its excess stays under 1 / q.
            for s in range(30, 0, -1):
                m, c = -(-(p << s) // q), -(-(rest << s) // q)
                if m * top + c < LIMIT:
                    if (Fraction(m, 1 << s) - Fraction(p, q)) * top + Fraction(c, 1 << s) - Fraction(
                        rest, q
                    ) < Fraction(1, q):
                        return _sum(f"({_sum(_times(v, m), c)} >> {s})", whole)
                    break
        return _sum(f"({_sum(_times(v, p), rest)}) // {q}", whole)
    # The factor in two: its whole part needs no division, so the rest keeps a finer one.
    a, b = divmod(p, q)
    if a and (abs(a) + 1) * top + q < LIMIT and b * top + q < LIMIT:
        return _sum(f"{_times(v, a)} + ({_sum(_times(v, b), rest)}) // {q}", whole)
    return None


def wide(factor, offset, low, high, bits, signed):
    """For raw values of 31 or 32 bits, or products that would not fit: the value in two halves of 16 bits.

    low..high: the canonical range that counts. Returns (range of the high half that can matter: first, last,
    Scaling in `h` (high half minus first) and `l` (low half)). Raises OverflowError where even that does not fit.
    """
    size = Fraction(65536) * factor
    half = 1 << (bits - 17)
    floor_h, ceil_h = (-half, half - 1) if signed else (0, 2 * half - 1)
    ends = sorted(((low - offset) / size, (high - offset) / size))
    first = max(floor_h, floor(ends[0]) - 1)
    last = min(ceil_h, floor(ends[1]) + 1)
    if last < first:
        raise OverflowError
    span = last - first
    base = offset + first * size  # canonical value of (first, 0)
    wanted = factor
    p, q = factor.numerator, factor.denominator
    while True:
        a, b = divmod(65536 * p, q)
        t = floor((base + Fraction(1, 2)) * q)
        whole, rest = divmod(t, q)
        fits = span * max(abs(a), 1) + abs(whole) < LIMIT and span * b + 65535 * abs(p) + q < LIMIT
        if fits:
            break
        if q < 2:
            raise OverflowError
        near = wanted.limit_denominator(q // 2)
        p, q = near.numerator, near.denominator
    small = _sum(" + ".join(x for x in (_times("h", b) if b else "", _times("l", p)) if x), rest)
    small = f"({small}) // {q}" if q > 1 else small
    text = _sum(f"{_times('h', a)} + {small}" if a else small, whole)
    approximation = abs(wanted - Fraction(p, q)) * (span + 1) * 65536
    grid = abs(base * q - floor(base * q)) / q
    error = (Fraction(0) if q == 1 else Fraction(1, 2)) + approximation + grid
    return first, last, Scaling(text, error)


def _times(v, k):
    return v if k == 1 else f"{v} * {k}"


def _sum(text, k):
    return text if k == 0 else f"{text} + {k}" if k > 0 else f"{text} - {-k}"
