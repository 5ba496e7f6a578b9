"""The box's clocks: one that only counts on, and the time of day. Both on MicroPython and on CPython."""

import time

from cellwarden.core.layout import MASK, WRAP

if hasattr(time, "ticks_ms"):
    _ticks_ms, sleep_ms = time.ticks_ms, time.sleep_ms
else:

    def _ticks_ms():
        return time.monotonic_ns() // 1_000_000

    def sleep_ms(ms):
        time.sleep(ms / 1000)


_shift = WRAP  # in [WRAP, 0): an interrupt reads this clock, and no sum may leave a small integer


def now_ms():
    """Milliseconds that never go back, 30 bits. All of the box reads this one, drivers in their interrupts, too."""
    return (_ticks_ms() + _shift) & MASK


def skip_ms(ms):
    """So many milliseconds passed that were not counted (0 .. 2^30): the box was off, or slept."""
    global _shift
    _shift = ((_shift + ms) & MASK) + WRAP


def real_ms():
    """Milliseconds of a clock that counts on while the box sleeps, 30 bits; it may be set, and then jumps."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000 & MASK
    return time.time_ns() // 1_000_000 & MASK


EPOCH_S = 0 if time.gmtime(0)[0] == 1970 else 946_684_800  # boards count from 2000
SET_S = 1_767_225_600  # 2026-01-01: a clock that says less was never set


def set_wall_s(seconds):
    """Set the time of day, s since 1970 (UTC). Raises OSError where it is not ours to set."""
    if hasattr(time, "clock_settime"):
        time.clock_settime(time.CLOCK_REALTIME, seconds)
        return
    try:
        from machine import RTC
    except ImportError:
        raise OSError(1) from None
    year, month, day, hour, minute, second, weekday, _ = time.gmtime(seconds - EPOCH_S)[:8]
    RTC().datetime((year, month, day, weekday, hour, minute, second, 0))


def wall_s():
    """Seconds since 1970 (UTC); 0 where the clock was never set."""
    seconds = int(time.time()) + EPOCH_S
    return seconds if seconds >= SET_S else 0
