"""Words of features and snapshots by compiled code; held to content.unpack_words, which it only makes quicker."""

import numpy
from cellwarden.blackbox import content as C
from numba import int64

from ..readers.kernels import compiled

_PLAIN, _MEAN, _ESCAPE, _MASK, _HALF = C.PLAIN, C.MEAN, C.ESCAPE, 0x3FFFFFFF, 0x20000000
AT, LEFT, VALUE = range(3)  # of the bits: the next byte, and what is left of those before it
_AT, _LEFT, _VALUE = AT, LEFT, VALUE


@compiled
def _take(data, bits, count):
    """So many bits, or -1 where they end."""
    while bits[_LEFT] < count:
        if bits[_AT] >= len(data):
            return int64(-1)
        bits[_VALUE] = bits[_VALUE] << 8 | int64(data[bits[_AT]])
        bits[_AT] += 1
        bits[_LEFT] += 8
    bits[_LEFT] -= count
    taken = bits[_VALUE] >> bits[_LEFT]
    bits[_VALUE] &= (int64(1) << bits[_LEFT]) - 1
    return taken


@compiled
def _rice(data, bits, k):
    ones = int64(0)
    while ones < _ESCAPE:
        bit = _take(data, bits, 1)
        if bit < 0:
            return bit
        if bit == 0:
            low = _take(data, bits, k)
            return low if low < 0 else ones << k | low
        ones += 1
    return _take(data, bits, 30)


@compiled
def _unpack(data, at, spans, goes_on, before, words, changes):
    """Whether all words were there. before, words: int64 by index; changes: room for them."""
    bits = numpy.zeros(3, numpy.int64)
    bits[_AT] = at
    for row in range(len(spans)):
        first, end, mode, mean = spans[row]
        size = 16 if mode else 4
        for i in range(first, end, size):
            head = _take(data, bits, 4)
            if head < 0:
                return False
            for j in range(i, min(i + size, end)):
                was = before[j] if goes_on else int64(0)
                if head == 15:
                    word = _take(data, bits, 32)
                    if word < 0:
                        return False
                    word -= (word & 0x80000000) << 1
                    changes[j] = (word - was) & _MASK
                else:
                    z = int64(0)
                    if head:
                        z = _rice(data, bits, head - 1)
                        if z < 0:
                            return False
                    change = z >> 1 ^ -(z & 1)
                    if mode == _MEAN:
                        change += mean
                    elif mode != _PLAIN and j - mode >= first:
                        change += changes[j - mode]
                    changes[j] = change & _MASK
                    word = (was + change) & _MASK
                    word -= (word & _HALF) << 1
                words[j] = word
    return True


class Unpacker:
    """In place of content.unpack_words, for one stream: what it gave last it need not take apart again."""

    def __init__(self):
        self._rooms = [numpy.zeros(C.MOST_WORDS, "i8") for _ in range(3)]
        self._last = None

    def __call__(self, data, at, spans, before, words):
        """As content.unpack_words. before: what `words` was at the last call, or None."""
        room, last, changes = self._rooms
        if before is not None and before is not self._last:
            for index, word in before.items():
                last[index] = word
        if not _unpack(
            numpy.frombuffer(data, "u1"), at, numpy.array(spans, "i8").reshape(-1, 4), before is not None, last, room,
            changes,
        ):  # fmt: skip
            self._last = None
            raise ValueError("the words end early")
        if isinstance(words, dict):
            for first, end, _, _ in spans:
                words.update(zip(range(first, end), room[first:end].tolist(), strict=True))
        else:
            for first, end, _, _ in spans:
                numpy.frombuffer(words, "i4")[first:end] = room[first:end]
        self._rooms, self._last = [last, room, changes], words
