"""The records of an MF4 log's groups in columns, merged by time, by NumPy.

What is unusual in a record is left to `mf4._frame`: nothing is rejected here.
"""

import functools

import numpy

from .account import EXT, Reject, Skip
from .blocks import NARROW, WIDE, Block, from_frames
from .mf4 import LATEST, _frame, _rows

TABLE = 1 << 16  # channel numbers that are looked up at once

# uint8 (65, 64): what stays of a row of data, by length; the first 8 of it as one number
KEPT = (numpy.arange(WIDE) < numpy.arange(WIDE + 1)[:, None]).astype("u1") * numpy.uint8(0xFF)
KEPT_NARROW = KEPT[:, :NARROW].copy().view("u8")[:, 0]


def merged(groups, account, include_tx):
    """Yield the frames of all groups as blocks.Block, in the order of heapq.merge by time.

    heapq.merge takes the earliest head. Where a group's time runs back, its next head is the earliest at once: so the
    key of a frame is the latest time in its group up to it, and among equals the earlier group comes first. What
    befalls a record between two frames is put into the account when the first of them is given, as there.
    """
    channels = _Channels()
    live = [_Stream(group, channels, account, include_tx) for group in groups]
    live = [stream for stream in live if stream.load()]
    while live:
        bound, last = min((stream.key[-1], at) for at, stream in enumerate(live))
        given = []
        for at, stream in enumerate(live):
            count = stream.key.searchsorted(bound, "right" if at <= last else "left")
            if count:
                given.append(stream.give(count))
        keys, columns, events = zip(*given, strict=True)
        if len(given) == 1:
            columns, events = columns[0], [event for _, event in events[0]]
        else:
            order = numpy.concatenate(keys).argsort(kind="stable")
            place = numpy.empty_like(order)
            place[order] = numpy.arange(len(order))
            columns = tuple(column[order] for column in _joined(columns))
            starts = numpy.cumsum([0, *map(len, keys)])
            late = zip(starts, events, strict=False)
            late = [(place[start + at], event) for start, some in late for at, event in some]
            events = [event for _, event in sorted(late, key=lambda one: one[0])]
        account.frames += len(columns[0])
        for event in events:
            event()
        yield Block(*columns, channels.names)
        stream = live[last]
        if not len(stream.key) and not stream.load():
            live.remove(stream)


def _joined(parts):
    """Columns of several parts, end to end; data as wide as the widest."""
    *others, datas = zip(*parts, strict=True)
    width = max(data.shape[1] for data in datas)
    datas = [_widened(data, width) for data in datas]
    return *map(numpy.concatenate, others), numpy.concatenate(datas)


def _widened(data, width):
    if data.shape[1] == width:
        return data
    wide = numpy.zeros((len(data), width), "u1")
    wide[:, : data.shape[1]] = data
    return wide


class _Channels:
    """The channels' names in the order in which they come."""

    def __init__(self):
        self.names, self._known = [], {}
        self._numbers = numpy.full(TABLE, -1, "i4")

    def index(self, name):
        if name not in self._known:
            self._known[name] = len(self.names)
            self.names.append(name)
        return self._known[name]

    def indices(self, numbers):
        """Of channel numbers below TABLE."""
        found = self._numbers[numbers]
        if len(found) and found.min() < 0:
            for number in dict.fromkeys(numbers[found < 0].tolist()):
                self._numbers[number] = self.index(str(number))
            found = self._numbers[numbers]
        return found


class _Stream:
    """The frames of one group that are read and not yet given.

    key:     int64 (n,), see merged
    columns: as in Block, (n,) each
    events:  [(index of the frame before, what to call when it is given)]
    """

    def __init__(self, group, channels, account, include_tx):
        self._group, self._channels, self._account, self._include_tx = group, channels, account, include_tx
        self._parts, self._latest = group.parts(), None

    def load(self):
        """Go on to the next part with a frame in it; False at the end."""
        for part in self._parts:
            self.columns, events = self._usual(part) or self._any(part)
            for at, event in events:
                if at < 0:
                    event()
            self.events = [event for event in events if event[0] >= 0]
            if len(self.columns[0]):
                self.key = numpy.maximum.accumulate(self.columns[0])
                if self._latest is not None:
                    numpy.maximum(self.key, self._latest, out=self.key)
                self._latest = self.key[-1]
                return True
        return False

    def give(self, count):
        """(keys, columns, events) of the first `count` frames, which are gone then."""
        given = self.key[:count], tuple(column[:count] for column in self.columns)
        events = [event for event in self.events if event[0] < count]
        self.key, self.columns = self.key[count:], tuple(column[count:] for column in self.columns)
        self.events = [(at - count, event) for at, event in self.events[len(events) :]]
        return *given, events

    def _usual(self, part):
        """(columns, events) of a part, or None where a frame in it is unusual."""
        found = _fields(part)
        if not found:
            return None
        number, can_id, length, sent, usual, data = found
        account, events = self._account, []
        keep = usual if self._include_tx else usual & ~sent
        whole = keep.all()
        if not whole:
            odd = numpy.flatnonzero(~usual)
            for at, row in zip(odd.tolist(), _rows(part.rows(odd)), strict=True):
                event = self._event(part.number + at, row)
                if not event:
                    return None
                events.append((at, event))
            unsent = len(usual) - len(odd) - int(keep.sum())
            if unsent and "transmitted" in account.skipped:
                account.skipped["transmitted"] += unsent
            elif unsent:  # the first one opens the counter in its turn
                first = int((usual & sent).argmax())
                events.append((first, functools.partial(account.skipped.update, transmitted=unsent)))
                events.sort(key=lambda one: one[0])
            before = numpy.cumsum(keep) - 1
            events = [(int(before[at]), event) for at, event in events]
            number, can_id, length, data = number[keep], can_id[keep], length[keep], data[keep]
        t_us = part.t_us if whole else part.t_us[keep]
        channel = self._channels.indices(number).astype("u2")
        return (t_us, channel, can_id.astype("i4"), length.astype("u1"), _kept(data, length)), events

    def _any(self, part):
        """(columns, events) of a part, record by record."""
        frames, events = [], []
        for number, row in enumerate(_rows(part), part.number):
            if event := self._event(number, row):
                events.append((len(frames) - 1, event))
            else:
                frames.append(_frame(*row, self._include_tx))
        columns = []
        for block in from_frames(frames):
            names = numpy.array([self._channels.index(name) for name in block.channels], "u2")
            columns.append((block.t_us, names[block.channel], *block[2:5]))
        return _joined(columns) if columns else ((),), events

    def _event(self, number, row):
        """What to call when the record is passed, or None for a frame."""
        try:
            _frame(*row, self._include_tx)
        except Skip as reason:
            return functools.partial(self._account.skip, str(reason))
        except Reject as reason:
            return functools.partial(self._account.reject, self._group.place(number), str(reason), str(row))
        return None


def _fields(part):
    """(channel number, can_id, length, sent, usual, data) of a part, or None where they are not plain numbers.

    usual: bool (n,), False where `mf4._frame` must say what it is; the others hold for usual records alone
    """
    fields = part.fields
    if "BusChannel" not in fields or "ID" not in fields:
        return None
    if any(column.dtype.kind not in "iu" or column.ndim != 1 for column in fields.values()):
        return None
    channel, can_id, data = fields["BusChannel"].astype("i8"), fields["ID"].astype("i8"), part.data
    none = numpy.zeros(len(part), "i8")
    number = can_id & 0x7FFFFFFF
    extended = fields["IDE"] != 0 if "IDE" in fields else (can_id >> 31 != 0) | (number > 0x7FF)
    length = fields.get("DataLength", fields.get("DLC", none)).astype("i8")
    sent = fields.get("Dir", none) == 1
    usual = (can_id >= 0) & (number < numpy.where(extended, EXT, 0x800)) & (part.t_us != LATEST)
    usual &= (length >= 0) & (length <= min(data.shape[1], WIDE)) & (channel >= 0) & (channel < TABLE)
    for mark in (fields.get("RTR"), part.invalid):
        if mark is not None:
            usual &= mark == 0
    return channel, numpy.where(extended, number | EXT, number), length, sent, usual, data


def _kept(rows, length):
    """Rows of data as a block has them, zero behind their lengths."""
    width = NARROW if not len(length) or length.max() <= NARROW else WIDE
    data = _widened(rows, width) if rows.shape[1] < width else numpy.ascontiguousarray(rows[:, :width])
    if width == NARROW:
        return (data.view("u8")[:, 0] & KEPT_NARROW[length]).view("u1").reshape(-1, NARROW)
    return data & KEPT[length]
