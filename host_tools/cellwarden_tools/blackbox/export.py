"""What an investigator reads of a log's records: frames as logs, words as rows, times of day."""

from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

from cellwarden.blackbox import content as C
from cellwarden.blackbox import form as F
from cellwarden.core import catalogue
from cellwarden.core import layout as L

from ..compiler.rule_table import physical
from ..readers import EXT
from ..readers.candump import error_frame
from ..writers import open_writer

ROUND = L.MASK + 1  # ms after which the frames' clock begins anew
NO_MORE_THAN_TIME = L.NOTICE  # in Parquet: a notice of no kind lets the scans run that are due
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class DayTime:
    """What time it was at a time of the box, by its CLOCK records: `utc(boot, t_ms)`; None where it did not know."""

    def __init__(self):
        self._told = {}  # boot: [(t_ms, ms since 1970)]

    def add(self, record):
        """A CLOCK record."""
        told = F.unpack(F.CLOCK, record.body)
        if told:
            self._told.setdefault(record.boot, []).append((record.t_ms, told[0] * 1000 + told[1]))

    def utc(self, boot, t_ms):
        """As 2026-11-23T12:30:00.000Z."""
        told = self._told.get(boot)
        if not told:
            return None
        at, since = next((pair for pair in reversed(told) if pair[0] <= t_ms), told[0])
        when = EPOCH + timedelta(milliseconds=since + t_ms - at)
        return when.strftime("%Y-%m-%dT%H:%M:%S.") + f"{when.microsecond // 1000:03}Z"


class Clock:
    """The frames' clock without its round of 30 bits; it may run back. first: where it begins."""

    def __init__(self, first=None):
        self.now = first
        self.lowest = first

    def unwrapped(self, clock):
        clock &= L.MASK
        if self.now is None:
            self.now = self.lowest = clock
            return clock
        ahead = (clock - self.now) & L.MASK
        self.now += ahead if ahead < ROUND // 2 else ahead - ROUND
        self.lowest = min(self.lowest, self.now)
        return self.now


def above_zero(clock):
    """What to add to all of a Clock's times so that none is negative, ms; on 30 bits they stay what they are."""
    return -min(0, clock.lowest // ROUND) * ROUND


class FrameLog:
    """The items of FRAMES bodies (content.FrameItems) as logs: candump, and Parquet where a path is given.

    names: channel names by number; shift_ms: added to all stamps
    frames: written; left_out: {what: how many} that candump cannot hold
    """

    def __init__(self, names, shift_ms, clock, *paths):
        self.names, self.shift_ms, self.clock, self.paths = names, shift_ms, clock, paths
        self.frames = self.not_kept = self.unknown = 0
        self.left_out = {}
        self.first_ms = self.last_ms = None

    def __enter__(self):
        with ExitStack() as stack:
            self.writers = [(path.suffix, stack.enter_context(open_writer(path))) for path in self.paths]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error):
        return self._stack.__exit__(*error)

    def put(self, kind, clock, name, channel, data):
        """One item, but no GAP."""
        t_us = 1000 * (self.clock.unwrapped(clock) + self.shift_ms)
        self.last_ms = t_us // 1000
        self.first_ms = self.last_ms if self.first_ms is None else self.first_ms
        if kind == C.UNKNOWN:
            self.unknown += name
        bus = channel_name(self.names, channel)
        if kind:
            self._to_parquet(t_us, bus, NO_MORE_THAN_TIME, b"")
        elif name >> 30:
            notice = error_frame(name, data)
            if notice is None:
                self._leave_out("notices that candump has no record for")
            self._write(t_us, bus, name, data, (".parquet", ".log") if notice else (".parquet",))
        elif not 0 <= name < 2 * EXT or (name < EXT and name > 0x7FF):
            self._leave_out("frames with an identifier that no bus carries")
        else:
            self.frames += 1
            self._write(t_us, bus, name, data, (".parquet", ".log"))

    def _to_parquet(self, *frame):
        self._write(*frame, (".parquet",))

    def _write(self, t_us, bus, name, data, suffixes):
        for suffix, writer in self.writers:
            if suffix in suffixes:
                writer.write(t_us, bus, name, data, fd=len(data) > 8)

    def _leave_out(self, what):
        self.left_out[what] = self.left_out.get(what, 0) + 1


def channel_name(names, channel):
    """The name of a channel's number; can0 and so on where the image names none."""
    name = names[channel] if channel < len(names) else None
    return name or f"can{channel}"


EVENT_COLUMNS = {
    "boot": int, "box_ms": int, "utc": str, "clock_ms": int, "event": str, "rule": str, "before": int, "level": int,
    "where": int, "value": float, "unit": str, "gb_bit": int, "proven": bool,
}  # fmt: skip


def event_row(record, event, utc, image, proven):
    """A row of EVENT_COLUMNS. event: the six numbers; image: or None, then the value is as the core has it."""
    clock_ms, rule, before, level, where, value = event
    known = 0 <= rule < len(catalogue.RULES)
    name, unit, gb_bit = catalogue.RULES[rule] if known else f"rule {rule}", "", None
    if image and known:
        row = image.names["rules"][rule]
        unit, gb_bit = row["unit"], row["gb_bit"]
        value, unit = physical(value, unit)
    elif value == L.NA:
        value = None
    kind = "clear" if level == 0 else "raise" if before == 0 else "change"
    return [
        record.boot, record.t_ms, utc, clock_ms, kind, name, before, level, where,
        None if value is None else float(value), unit, gb_bit, proven,
    ]  # fmt: skip


def word_or_none(word):
    """A word of the state as people want it: nothing where it is NA."""
    return None if word == L.NA else word
