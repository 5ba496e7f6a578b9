"""The box's clocks: one that only counts on, and the time of day. Both on MicroPython and on CPython."""

import time

from cellwarden.core.layout import MASK

if hasattr(time, "ticks_ms"):
    _ticks_ms, sleep_ms = time.ticks_ms, time.sleep_ms
else:

    def _ticks_ms():
        return time.monotonic_ns() // 1_000_000

    def sleep_ms(ms):
        time.sleep(ms / 1000)


def now_ms():
    """Milliseconds that never go back, 30 bits."""
    return _ticks_ms() & MASK


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
