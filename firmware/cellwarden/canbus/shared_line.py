"""The line of an emulated board to its SLCAN adapter: two rings in memory that both sides see, as DMA would fill them.

Words at `address`: bytes put to the board and taken by it, bytes put by the board and taken from it; all counted
modulo SIZE. Then the ring to the board and the one from it.
"""

import micropython
from micropython import const

SIZE = const(16384)


class SharedLine:
    """readinto(view) takes what has arrived and never waits; write(data) waits for room."""

    def __init__(self, address):
        self._address = address

    def any(self):
        """Whether there is anything to read."""
        return bool(_waiting(self._address))

    def readinto(self, view):
        return _take(self._address, view, len(view))

    def write(self, data):
        _give(self._address, data, len(data))
        return len(data)


@micropython.viper
def _waiting(address: int) -> int:
    at = ptr32(address)
    return at[0] ^ at[1]


@micropython.viper
def _take(address: int, view: ptr8, room: int) -> int:
    at = ptr32(address)
    ring = ptr8(address + 16)
    end, taken, n = at[0], at[1], 0
    while n < room and taken != end:
        view[n] = ring[taken]
        taken = (taken + 1) & (SIZE - 1)
        n += 1
    at[1] = taken
    return n


@micropython.viper
def _give(address: int, data: ptr8, count: int):
    at = ptr32(address)
    ring = ptr8(address + 16 + SIZE)
    put, i = at[2], 0
    while i < count:
        after = (put + 1) & (SIZE - 1)
        while after == at[3]:
            pass
        ring[put] = data[i]
        put = after
        i += 1
        at[2] = put
