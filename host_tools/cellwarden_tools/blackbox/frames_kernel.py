"""FRAMES bodies into ring records by compiled code; held to content.FrameItems, which it only makes quicker."""

import numpy
from cellwarden.blackbox import content as C
from cellwarden.core import layout as L
from numba import int64

from ..readers.kernels import compiled
from .frames import MOST_DATA, NOTHING, Records

ROWS = 1 << 14  # ring records made at a time
DONE, FULL, AT_GAP, AT_NOTE, BAD = range(5)
# what `state` holds, int64: place in the body, rows filled, the clock, how many of an UNKNOWN item are left, frames and
# unknown ones so far, and what a GAP or NOTED item says
AT, ROW, CLOCK, LEFT, FRAMES, STRANGE, SAID = STATE = range(7)
_NEW, _UNKNOWN, _ADVANCE, _GAP, _NOTED = C.NEW, C.UNKNOWN, C.ADVANCE, C.GAP, C.NOTED
_LONG, _ENTRIES = C.LONG, C.ENTRIES
_MASK, _DATA, _CHANNEL, _LENGTH = L.MASK, L.RECORD_DATA, L.RECORD_CHANNEL, L.RECORD_LENGTH


@compiled
def _number(body, at):
    number = int64(0)
    for i in range(4):
        number = number << 8 | int64(body[at + 3 - i])
    return number


@compiled
def _bare(row, clock, name, out, out32):
    """A record without data."""
    out32[row, 0] = clock & _MASK
    out32[row, 1] = name
    out[row, _CHANNEL:] = 0


@compiled
def _unpack(body, state, heads, known, lengths, data, out, out32, strange):
    """Items from state[AT] on into rows from state[ROW] on; says why it stopped."""
    end, rows = len(body), len(out)
    width = out.shape[1] - _DATA
    at, row, clock = state[AT], state[ROW], state[CLOCK]
    why = DONE
    while True:
        while state[LEFT] and row < rows:
            _bare(row, clock, strange, out, out32)
            row += 1
            state[LEFT] -= 1
            state[STRANGE] += 1
        if at >= end and state[LEFT] == 0:
            break
        if row == rows:
            why = FULL
            break
        code = int64(body[at])
        start = at
        at += 1
        if code == _NEW:
            if at + 7 > end or body[at] >= _ENTRIES or body[at + 2] > MOST_DATA:
                why = BAD
                break
            entry = int64(body[at])
            known[entry] = 1
            heads[entry, 1] = body[at + 1]
            lengths[entry] = body[at + 2]
            name = _number(body, at + 3)
            heads[entry, 0] = name - ((name & 0x80000000) << 1)
            data[entry, :] = 0
            at += 7
        elif code == _ADVANCE or code == _GAP:
            if at + 4 > end:
                why = BAD
                break
            number = _number(body, at)
            at += 4
            if code == _GAP:
                state[SAID] = number
                why = AT_GAP
                break
            clock = number
            _bare(row, clock, NOTHING, out, out32)
            row += 1
        elif code == _NOTED:
            if at >= end:
                why = BAD
                break
            state[SAID] = body[at]
            at += 1
            why = AT_NOTE
            break
        elif code == _UNKNOWN or (code < _ENTRIES and known[code]):
            if at >= end:
                why = BAD
                break
            step = int64(body[at])
            at += 1
            if step == _LONG:
                if at + 4 > end:
                    why = BAD
                    break
                clock = _number(body, at)
                at += 4
            else:
                clock = (clock + step) & _MASK
            if code == _UNKNOWN:
                if at >= end:
                    why = BAD
                    break
                state[LEFT] = int64(body[at])
                at += 1
                continue
            length = int64(lengths[code])
            bad = False
            for first in range(0, length, 8):
                if at >= end:
                    bad = True
                    break
                mask = int64(body[at])
                at += 1
                for i in range(first, min(first + 8, length)):
                    if mask >> (i - first) & 1:
                        if at >= end:
                            bad = True
                            break
                        data[code, i] = body[at]
                        at += 1
                if bad:
                    break
            if bad:
                why = BAD
                break
            _bare(row, clock, heads[code, 0], out, out32)
            out[row, _CHANNEL] = heads[code, 1]
            kept = min(length, width)
            out[row, _LENGTH] = kept
            for i in range(kept):
                out[row, _DATA + i] = data[code, i]
            if heads[code, 0] >> 30 == 0:
                state[FRAMES] += 1
            row += 1
        else:
            why = BAD
            at = start
            break
    state[AT], state[ROW], state[CLOCK] = at, row, clock
    return why


class FastRecords(Records):
    """Records by compiled code."""

    def __init__(self, image):
        super().__init__(image)
        self._out = numpy.zeros((ROWS, self._record.size), "u1")
        self._out32 = self._out.view("i4")
        self._state = numpy.zeros(len(STATE), "i8")
        self._heads = numpy.zeros((C.ENTRIES, 2), "i8")
        self._known = numpy.zeros(C.ENTRIES, "u1")
        self._lengths = numpy.zeros(C.ENTRIES, "u1")
        self._data = numpy.zeros((C.ENTRIES, MOST_DATA), "u1")
        self._next = 0

    def unpack(self, body):
        if len(body) < C.FRAMES_HEAD_BYTES:
            raise ValueError("it ends early")
        state = self._state
        number = body[4] | body[5] << 8
        if number == 0:
            self._known[:] = 0
        elif number != self._next:
            self._next = -1
            raise ValueError("the body before it is missing")
        self._next = -1
        state[:] = 0
        state[AT], state[CLOCK] = C.FRAMES_HEAD_BYTES, int.from_bytes(body[:4], "little")
        data = numpy.frombuffer(body, "u1")
        why = FULL
        while why != DONE:
            state[ROW] = 0
            why = _unpack(
                data, state, self._heads, self._known, self._lengths, self._data, self._out, self._out32, self._strange
            )
            rows = int(state[ROW])
            self.frames += int(state[FRAMES])
            self.unknown += int(state[STRANGE])
            state[FRAMES] = state[STRANGE] = 0
            if rows:
                yield memoryview(self._out[:rows]).cast("B")
            if why == AT_GAP:
                self.gaps += int(state[SAID])
                yield None
            elif why == AT_NOTE:
                yield int(state[SAID])
            elif why == BAD:
                raise ValueError(f"no item of frames at byte {state[AT]}")
        self._next = number + 1 & 0xFFFF
