"""CAN over a serial port in the LAWICEL text protocol (SLCAN): `t1232AABB` and a carriage return is a frame.

The port has `readinto(memoryview) -> bytes read, 0 or None where there are none` and `write(bytes)`: tty.Tty on Linux,
machine.UART on a board. The box is the side that opens the channel: `S6`, `Z1`, `L`. A line that is damaged was a frame
that is lost; so is one that the adapter's status flags say it had no room for.
"""

from array import array
from binascii import hexlify

import micropython

from cellwarden.canbus import ACTIVE, PASSIVE, WARNING, Bus
from cellwarden.core import layout as L

BITRATES = {10: 0, 20: 1, 50: 2, 100: 3, 125: 4, 250: 5, 500: 6, 800: 7, 1000: 8}  # kbit/s: N of "SN"
ASK_MS = 1000  # between two questions for the status flags
DAY_MS = 60_000  # an adapter's stamps begin anew after so long
FULL, WARNED, OVERRUN, ERROR_PASSIVE, BUS_ERROR = 0x01, 0x04, 0x08, 0x20, 0x80  # status flags
LONGEST = 192  # characters of a line: an operator's, a frame's has 31 at most
OLD = 256  # chunks that a port's queue may hold from before
CHUNKS = 32  # of 256 bytes, read in a round: lines that are no frames never fill the batch
_ASKED = 33  # !
FRAME, REMOTE, STATUS, ANSWER, DAMAGED = 0, 1, 2, 3, 4  # what a line is
_HEX = bytes([c - 48 if 48 <= c < 58 else (c | 32) - 87 if 97 <= c | 32 < 103 else 128 for c in range(256)])


class Slcan(Bus):
    """port: see above; kbit: bit rate, None = the adapter's own; timed: True where the adapter's stamps are the clock.

    ask: whether to ask for the status flags
    Raises ValueError for a bit rate that the protocol does not have.
    """

    def __init__(self, port, channel=0, kbit=500, transmit=False, timed=False, ask=True):
        super().__init__(channel, transmit)
        if kbit is not None and kbit not in BITRATES:
            raise ValueError("SLCAN has no %s kbit/s" % kbit)  # noqa: UP031
        self.timed, self._ask, self._port = timed, ask, port
        self._chunk = bytearray(256)
        self._buffer = bytearray(256 + LONGEST)
        self.control = None  # control.Tap: where the port is the console, lines that begin with ! are an operator's
        self._kept = 0  # bytes in the buffer: of a line whose end has not come, or that there was no room for
        self._found = array("i", (0, 0, 0))  # identifier, length, stamp
        self._data = bytearray(8)
        self._stamp = self._t_ms = self._asked_ms = None
        self._skipping = True  # what stood in the port before it was opened may be half a line
        port.write(b"\r\rC\r")
        if kbit is not None:
            port.write(b"S%d\r" % BITRATES[kbit])
        port.write(b"Z%d\r" % (1 if timed else 0))
        port.write(b"O\r" if transmit else b"L\r")

    def wake(self):
        self._skipping, self._kept = self._skipping or self._kept > 0, 0
        for _ in range(OLD):
            got = self._port.readinto(self._chunk)
            if not got:
                return
            self._skipping = self._chunk[got - 1] not in b"\r\7"

    def close(self):
        self._port.write(b"C\r")

    def _read(self, batch, t_ms):
        if self._ask and (self._asked_ms is None or (t_ms - self._asked_ms) & L.MASK >= ASK_MS):
            self._asked_ms = t_ms
            try:
                self._port.write(b"F\r")
            except OSError:  # an adapter that takes no question may still give frames
                self.errors += 1
        self._lines(batch, t_ms, self._kept)
        for _ in range(CHUNKS):
            got = 0 if batch.full() else self._port.readinto(self._chunk)
            if not got:
                return
            copy(self._buffer, self._kept, self._chunk, 0, got)
            self._lines(batch, t_ms, self._kept + got)

    def _lines(self, batch, t_ms, end):
        """Take the lines among the first `end` bytes of the buffer, as many as there is room for; keep the rest."""
        raw, at = self._buffer, 0
        while at < end and not batch.full():
            stop = int(line_end(raw, at, end))
            if stop == end:
                if end - at > LONGEST:  # no line is so long
                    at = end
                    if not self._skipping:
                        self._skipping = True
                        self._damaged(batch, t_ms)
                break
            if self._skipping:
                self._skipping = False
            elif stop > at:
                self._line(batch, t_ms, at, stop)
            at = stop + 1
        self._kept = end - at
        if self._kept and at:
            copy(raw, 0, raw, at, self._kept)

    def _line(self, batch, t_ms, at, end):
        found = self._found
        kind = int(parse(self._buffer, at, end, _HEX, found, self._data))
        if kind == FRAME:
            if self.timed:
                t_ms = self._time(found[2])
            batch.put(t_ms, found[0], self.channel, self._data, 0, found[1])
        elif kind == STATUS:
            flags = found[0]
            if flags & (FULL | OVERRUN):
                self._lost(batch, t_ms)
            if flags & BUS_ERROR:
                self.errors += 1
            self._is(PASSIVE if flags & ERROR_PASSIVE else WARNING if flags & WARNED else ACTIVE, batch, t_ms)
        elif kind == DAMAGED:
            self._damaged(batch, t_ms)
        elif self.control and self._buffer[at] == _ASKED:
            self.control.give(bytes(self._buffer[at:end]))

    def _damaged(self, batch, t_ms):
        self.errors += 1
        self._lost(batch, self._t_ms if self.timed and self._t_ms is not None else t_ms)

    def _time(self, stamp):
        """An adapter's stamp on a clock that counts on from the first one."""
        if stamp < 0:
            stamp = self._stamp or 0
        if self._t_ms is None:
            self._t_ms = stamp
        else:
            self._t_ms = (self._t_ms + (stamp - self._stamp) % DAY_MS) & L.MASK
        self._stamp = stamp
        return self._t_ms

    def _send(self, can_id, data):
        number, form = (can_id & 0x1FFFFFFF, "T%08X%d") if can_id & L.EXT else (can_id, "t%03X%d")
        text = form % (number, len(data))
        try:
            self._port.write(text.encode() + hexlify(data) + b"\r")
        except OSError:
            self.errors += 1
            return False
        return True


@micropython.viper
def line_end(raw: ptr8, at: int, end: int) -> int:
    """Where the first carriage return or bell stands, or `end`."""
    while at < end:
        if raw[at] == 13 or raw[at] == 7:
            return at
        at += 1
    return end


@micropython.viper
def copy(to: ptr8, at: int, source: ptr8, first: int, count: int):
    """Bytes from front to back, so that within one buffer they may move to its front."""
    i = 0
    while i < count:
        to[at + i] = source[first + i]
        i += 1


@micropython.viper
def parse(raw: ptr8, at: int, end: int, digits: ptr8, found: ptr32, data: ptr8) -> int:
    """One line, without its end: what it is. found: identifier (or flags), length, stamp or -1."""
    kind = int(raw[at])
    at += 1
    if kind == 70:  # F: the answer to a question for the flags
        if end - at != 2:
            return 3 if end == at else 4
        high = int(digits[raw[at]])
        low = int(digits[raw[at + 1]])
        found[0] = (high & 15) << 4 | low & 15
        return 4 if (high | low) & 128 else 2
    lower = kind | 32
    if lower ^ 116 and lower ^ 114:  # neither t nor r
        return 3
    width = 3 if kind == lower else 8
    if end - at < width + 1:
        return 3 if end == at else 4  # `t` alone answers a frame that was sent
    bad = 0
    number = 0
    stop = at + width
    first = int(digits[raw[at]])
    while at < stop:
        digit = int(digits[raw[at]])
        bad |= digit
        number = (number & 0xFFFFFF) << 4 | digit & 15
        at += 1
    if width == 8:
        bad |= 128 if first > 1 else 0
        number |= (first & 1) << 28
        number |= 0x20000000
    elif first > 7:
        bad = 128
    length = int(digits[raw[at]])
    at += 1
    if length > 8 or bad & 128:
        return 4
    found[0] = number
    found[1] = length
    if lower == 114:
        return 1
    rest = end - at - 2 * length
    if rest and rest ^ 4:
        return 4
    i = 0
    while i < length:
        high = int(digits[raw[at]])
        low = int(digits[raw[at + 1]])
        bad |= high | low
        data[i] = (high & 15) << 4 | low & 15
        at += 2
        i += 1
    stamp = -1
    if rest:
        stamp = 0
        while at < end:
            digit = int(digits[raw[at]])
            bad |= digit
            stamp = stamp << 4 | digit & 15
            at += 1
    found[2] = stamp
    return 4 if bad & 128 else 0
