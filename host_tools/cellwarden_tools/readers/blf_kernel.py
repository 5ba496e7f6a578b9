"""The usual objects of a BLF log, many at a time: compiled by Numba, into the columns of a block.

What is unusual in any way is left where it stands, for `blf._frame` to judge: nothing is rejected here.
"""

import numpy
from numba import njit

from .account import EXT
from .blocks import NARROW, WIDE, Block

FRAMES = 1 << 14  # in a block

SIGNATURE = 0x4A424F4C  # LOBJ
BASE, HEADER = 16, 32  # bytes of an object's header: as every object has it, and with flags and stamp
CLASSIC, FD, FD64 = 16, 20, 40  # bytes behind the header; in CAN FD up to the data
RESTORE_POINT = 115  # out of the header's count
TEN_US = 1
MOST = 1 << 24
LATEST = 1 << 59  # of a stamp: in microseconds it stays an int64

SKIPPED = ("transmitted", "remote frame", "error frame", "event")  # what `usual` counts, in this order
TRANSMITTED, REMOTE, ERROR, EVENT = range(4)


@njit(inline="always")
def _u8(buffer, at):
    return numpy.int64(buffer[at])


@njit(inline="always")
def _u16(buffer, at):
    return _u8(buffer, at) | _u8(buffer, at + 1) << 8


@njit(inline="always")
def _u32(buffer, at):
    return _u16(buffer, at) | _u16(buffer, at + 2) << 16


@njit(cache=True, nogil=True)
def usual(buffer, at, start_us, include_tx, counts, numbers, n, t_us, channel, can_id, length, data):
    """Take objects from `buffer` as long as they are usual and whole and the columns have room for their frames.

    buffer:   uint8 (size,), unpacked objects from index `at` on
    start_us: what the stamps count from
    counts:   int64 (4,), records skipped for the reasons of SKIPPED; the first one of a reason is not usual
    numbers:  int32 (65536,), channel number -> index of its name, or -1
    t_us, channel, can_id, length, data: the columns of a block, filled up to row `n`
    Returns (index behind the last object taken, objects taken, rows filled).
    """
    size, rows, width, taken = len(buffer), len(t_us), data.shape[1], 0
    while at >= 0:
        top, last = at, at + 7
        while top < last and top + BASE <= size and _u32(buffer, top) != SIGNATURE:
            top += 1  # padding stands between objects
        if top + HEADER > size or _u32(buffer, top) != SIGNATURE:
            break
        header, version, kind = _u16(buffer, top + 4), _u16(buffer, top + 6), _u32(buffer, top + 12)
        end, body = top + _u32(buffer, top + 8), top + header
        if end > size or end - top > MOST or not HEADER <= header <= end - top or not 1 <= version <= 2:
            break
        room = end - body
        reason = -1
        if kind == 1 or kind == 86:
            if room < CLASSIC or _u8(buffer, body + 3) > 15:
                break
            number, identifier, flags = _u16(buffer, body), _u32(buffer, body + 4), _u8(buffer, body + 2)
            remote, sent = flags & 0x80, flags & 1
            long, start, there = min(_u8(buffer, body + 3), 8), body + 8, 8
        elif kind == 100:
            if room < FD:
                break
            number, identifier, flags = _u16(buffer, body), _u32(buffer, body + 4), _u8(buffer, body + 2)
            remote, sent = flags & 0x80, flags & 1
            long, start, there = _u8(buffer, body + 14), body + FD, room - FD
            if there < long:
                break
        elif kind == 101:
            if room < FD64:
                break
            number, identifier, more = _u8(buffer, body), _u32(buffer, body + 4), _u8(buffer, body + 35)
            remote, sent = _u8(buffer, body + 12) & 0x10, _u8(buffer, body + 34)
            long, start, there = _u8(buffer, body + 2), body + FD64, room - FD64
            if more:
                there = min(there, top + more - start)
        elif kind == RESTORE_POINT:
            break
        else:
            number = identifier = remote = sent = long = start = there = 0
            reason = ERROR if kind == 2 or kind == 73 or kind == 104 else EVENT
        if remote:
            reason = REMOTE
        if reason < 0:
            extended, identifier = identifier >> 31, identifier & 0x7FFFFFFF
            if long > 64 or identifier >= EXT or (extended == 0 and identifier > 0x7FF):
                break
            if sent and not include_tx:
                reason = TRANSMITTED
        if reason >= 0:
            if counts[reason] == 0:
                break
            counts[reason] += 1
        else:
            flags = _u32(buffer, top + 16)
            stamp = _u32(buffer, top + 24) | _u32(buffer, top + 28) << 32
            if n == rows or long > width or numbers[number] < 0 or not 0 <= stamp < LATEST:
                break
            t_us[n] = start_us + (stamp * 10 if flags == TEN_US else (stamp + 500) // 1000)
            channel[n] = numbers[number]
            can_id[n] = identifier | EXT if extended else identifier
            length[n] = long
            there = min(there, long)
            if width == 8 and there == 8:
                for k in range(8):
                    data[n, k] = buffer[start + k]
            else:
                for k in range(width):
                    data[n, k] = buffer[start + k] if k < there else 0
            n += 1
        taken += 1
        at = end
    return at, taken, n


class Rows:
    """The block being filled: usual objects by `take`, single frames by `add`.

    account: its frames, skipped records and total are kept up to date
    """

    def __init__(self, account, include_tx):
        self._account, self._include_tx = account, include_tx
        self._names, self._known = [], {}
        self._numbers = numpy.full(1 << 16, -1, "i4")
        self._new(NARROW)

    def _new(self, width):
        kinds = ("i8", "u2", "i4", "u1")
        self._columns = (*(numpy.empty(FRAMES, kind) for kind in kinds), numpy.empty((FRAMES, width), "u1"))
        self._width, self._n = width, 0

    def __len__(self):
        return self._n

    def take(self, buffer, at, start_us):
        """Take usual objects out of `buffer` from `at` on -> (index behind them, how many)."""
        account, buffer = self._account, numpy.frombuffer(buffer, "u1")
        counts = numpy.array([account.skipped[reason] for reason in SKIPPED], "i8")
        given = (start_us, self._include_tx, counts, self._numbers, self._n)
        at, taken, n = usual(buffer, at, *given, *self._columns)
        for reason, count in zip(SKIPPED, counts.tolist(), strict=True):
            if count:
                account.skipped[reason] = count
        account.frames += n - self._n
        account.total += taken
        self._n = n
        return at, taken

    def add(self, t_us, channel, can_id, data):
        """Add a frame -> the block that had to make room for it, or None."""
        made = None
        if self._n == FRAMES or len(data) > self._width:
            made = self.block()
            self._new(max(self._width, NARROW if len(data) <= NARROW else WIDE))
        if channel not in self._known:
            self._numbers[int(channel)] = self._known[channel] = len(self._names)
            self._names.append(channel)
        columns = (*self._columns[:-1], self._columns[-1][:, : len(data)])
        values = (t_us, self._known[channel], can_id, len(data), numpy.frombuffer(data, "u1"))
        for column, value in zip(columns, values, strict=True):
            column[self._n] = value
        self._columns[-1][self._n, len(data) :] = 0
        self._n += 1
        return made

    def block(self):
        """The rows filled, as a block, or None."""
        return Block(*(column[: self._n] for column in self._columns), self._names) if self._n else None
