"""Microchip's MCP2515 CAN controller over `machine.SPI`, for boards without one of their own (RP2, ESP32).

Register numbers and bits as in its data sheet (DS20001801). It holds two frames, so with its INT pin they are read in
the pin's interrupt; without one they are read once a round, which is enough for a few frames in a second only.
"""

from cellwarden import clock
from cellwarden.canbus import ACTIVE, ALL, OFF, PASSIVE, WARNING, Bus
from cellwarden.canbus.filters import reduced
from cellwarden.canbus.frames import Queue
from cellwarden.core import layout as L

# Instructions (table 12-1)
RESET, READ, WRITE, BIT_MODIFY, READ_STATUS = 0xC0, 0x03, 0x02, 0x05, 0xA0
READ_RX0, READ_RX1 = 0x90, 0x94  # from RXBnSIDH on; its end frees the buffer
LOAD_TX0, SEND_TX0 = 0x40, 0x81
# Registers
CANSTAT, CANCTRL, CNF3, CANINTE, EFLG = 0x0E, 0x0F, 0x28, 0x2B, 0x2D
FILTERS_AT = (0x00, 0x04, 0x08, 0x10, 0x14, 0x18)  # two of buffer 0, four of buffer 1
MASKS_AT = (0x20, 0x24)
RXB0CTRL, RXB1CTRL = 0x60, 0x70
# Bits
NORMAL, LISTEN_ONLY, CONFIGURATION, MODE = 0x00, 0x60, 0x80, 0xE0
RX0IF, RX1IF, TX0REQ = 0x01, 0x02, 0x04  # of READ STATUS; the first two of CANINTE, too
RECEIVE_ANY, BUKT = 0x60, 0x04  # BUKT: a frame for the full buffer 0 goes to buffer 1
TXBO, TXEP, RXEP, EWARN = 0x20, 0x10, 0x08, 0x01  # of EFLG; bits 6 and 7: buffer 0, 1 overran
SRR, IDE, EXIDE, RTR = 0x10, 0x08, 0x08, 0x40
QUEUE = 256
BURST = 32  # frames read at once: on a bus that is faster than this wire the rest of the box must run, too
CHECK_MS = 100  # between two looks at the error flags, where no frame asks for one
WAIT_MS = 20  # for a change of mode


class Mcp2515(Bus):
    """spi: machine.SPI of at most 10 MHz, mode 0; select: Pin of CS, an output; record_bytes: `Engine.record_bytes`

    oscillator_hz: of its crystal; interrupt: Pin of INT, an input, or None; filters: (id, mask, extended) each, or ALL
    Raises OSError where no chip answers, ValueError for a bit rate that its crystal cannot give.
    """

    def __init__(
        self, spi, select, bitrate, record_bytes, channel=0, filters=ALL, transmit=False, oscillator_hz=8_000_000,
        interrupt=None, hard=True, queue=QUEUE,
    ):  # fmt: skip
        super().__init__(channel, transmit)
        self._spi, self._select = spi, select
        self._mode = NORMAL if transmit else LISTEN_ONLY
        self._message, self._answer = bytearray(14), bytearray(14)  # instruction and a buffer's 13 bytes
        self._short, self._said = bytearray(3), bytearray(3)
        self._queue, self._told = Queue(record_bytes, queue), 0
        self._checked_ms = None
        timing = bit_timing(oscillator_hz, bitrate)
        select(1)
        self._instruct(bytes((RESET,)))
        clock.sleep_ms(2)  # 128 periods of the oscillator, and its start
        if self._register(CANSTAT) & MODE != CONFIGURATION:
            raise OSError(19, "no MCP2515 answers")
        self._instruct(bytes((WRITE, CNF3)) + timing)
        self._filter(filters)
        self._instruct(bytes((WRITE, CANINTE, RX0IF | RX1IF)))
        self._set_mode(self._mode)
        self._interrupt, self._busy = interrupt, False  # busy: an instruction is on the wire
        if interrupt is not None:
            self._handler = self._edge
            interrupt.irq(self._handler, interrupt.IRQ_FALLING, hard=hard)

    def _set_mode(self, mode):
        self._instruct(bytes((BIT_MODIFY, CANCTRL, MODE, mode)))
        for _ in range(WAIT_MS):
            if self._register(CANSTAT) & MODE == mode:
                return
            clock.sleep_ms(1)
        raise OSError(5, "the MCP2515 does not change its mode")

    def _filter(self, filters):
        if filters is ALL:
            self._instruct(bytes((WRITE, RXB0CTRL, RECEIVE_ANY | BUKT)))
            self._instruct(bytes((WRITE, RXB1CTRL, RECEIVE_ANY)))
            return
        mask, *two = chosen_filters(filters)
        for at in MASKS_AT:
            self._instruct(bytes((WRITE, at)) + mask)
        for n in range(len(FILTERS_AT)):  # both buffers hold the same frames, so that two fit
            self._instruct(bytes((WRITE, FILTERS_AT[n])) + identifier(*two[n & 1]))
        self._instruct(bytes((WRITE, RXB0CTRL, BUKT)))
        self._instruct(bytes((WRITE, RXB1CTRL, 0)))

    # --- the wire: one instruction while CS is low -------------------------------------------------------------------

    def _instruct(self, data):
        self._select(0)
        self._spi.write(data)
        self._select(1)

    def _register(self, address):
        short, said = self._short, self._said
        short[0], short[1] = READ, address
        self._select(0)
        self._spi.write_readinto(short, said)
        self._select(1)
        return said[2]

    def _status(self):
        short, said = self._short, self._said
        short[0] = READ_STATUS
        self._select(0)
        self._spi.write_readinto(short, said)
        self._select(1)
        return said[1]

    # --- reading ------------------------------------------------------------------------------------------------------

    def _edge(self, pin):
        if not self._busy:
            self._received()

    def _received(self):
        """All frames that the chip holds, oldest first; in the pin's interrupt where there is one. Takes no memory.

        Where the loop begins, buffer 0 holds the older frame. Once buffer 0 has been read, a frame that is in buffer 1
        came while it was full, so it is older than a new one in buffer 0.
        """
        t_ms = clock.now_ms()
        one_first = False
        for _ in range(BURST):
            status = self._status()
            if not status & (RX0IF | RX1IF):
                return
            if status & RX1IF and (one_first or not status & RX0IF):
                self._buffer(READ_RX1, t_ms)
                one_first = False
            else:
                self._buffer(READ_RX0, t_ms)
                one_first = True

    def _buffer(self, instruction, t_ms):
        message, got = self._message, self._answer
        message[0] = instruction
        self._select(0)
        self._spi.write_readinto(message, got)
        self._select(1)
        low = got[2]
        can_id = got[1] << 3 | low >> 5
        if low & IDE:
            remote = got[5] & RTR
            can_id = L.EXT | can_id << 18 | (low & 3) << 16 | got[3] << 8 | got[4]
        else:
            remote = low & SRR
        length = got[5] & 15
        if not remote:
            self._queue.put(t_ms, can_id, self.channel, got, 6, 8 if length > 8 else length)

    def _read(self, batch, t_ms):
        self._busy = True
        try:
            if self._interrupt is None:
                self._received()
            before = batch.n
            self._queue.move(batch)
            if batch.n != before or self._checked_ms is None or (t_ms - self._checked_ms) & L.MASK >= CHECK_MS:
                self._checked_ms = t_ms
                self._check(batch, batch.ordered(t_ms))
        finally:
            self._busy = False
        if self._interrupt is not None and not self._interrupt.value():  # what came while the chip was busy
            self._busy = True
            try:
                self._received()
            finally:
                self._busy = False

    def _check(self, batch, t_ms):
        """What was lost, and how the controller is."""
        flags, lost = self._register(EFLG), self._queue.at[Queue.LOST]
        overruns = (flags >> 6 & 1) + (flags >> 7)
        if overruns:
            self._clear_overruns()
        self._lost(batch, t_ms, overruns + ((lost - self._told) & L.MASK))
        self._told = lost
        state = ACTIVE
        if flags & TXBO:
            state = OFF  # it comes back by itself after 128 times 11 recessive bits
        elif flags & (TXEP | RXEP):
            state = PASSIVE
        elif flags & EWARN:
            state = WARNING
        self._is(state, batch, t_ms)

    def _send(self, can_id, data):
        self._busy = True
        try:
            if self._status() & TX0REQ:
                return False  # the last one still waits for the bus
            extended = bool(can_id & L.EXT)
            message = identifier(can_id & 0x1FFFFFFF, extended) + bytes((len(data),)) + bytes(data)
            self._instruct(bytes((LOAD_TX0,)) + message)
            self._instruct(bytes((SEND_TX0,)))
            return True
        finally:
            self._busy = False

    def begin(self):
        self._busy = True
        try:
            self._received()
            self._clear_overruns()
        finally:
            self._busy = False
        self._queue.clear()
        self._told = self._queue.at[Queue.LOST]

    def _clear_overruns(self):
        self._short[0], self._short[1], self._short[2] = WRITE, EFLG, 0  # all its other bits are read only
        self._instruct(self._short)

    def close(self):
        if self._interrupt is not None:
            self._interrupt.irq(None)
        self._set_mode(CONFIGURATION)


def identifier(can_id, extended):
    """SIDH, SIDL, EID8 and EID0 of an identifier."""
    if extended:
        return bytes((can_id >> 21, can_id >> 13 & 0xE0 | EXIDE | can_id >> 16 & 3, can_id >> 8 & 255, can_id & 255))
    return bytes((can_id >> 3, can_id << 5 & 0xE0, 0, 0))


def chosen_filters(filters):
    """(mask, its two filters as (id, extended)) of buffer 0, and so of buffer 1: as identifier() takes them.

    A filter of 11 bits must not have a mask of 29: the rest would be compared with the frame's data.
    """
    kinds = {bool(extended) for _, _, extended in filters}
    if len(kinds) == 2:
        filters = [(i >> 18, m >> 18, True) if e else (i, m, False) for i, m, e in filters]
    left = reduced(filters, 2)
    mask, wide = left[0][1], kinds == {True}
    for _, other, _ in left:
        mask &= other
    ids = [((i & mask) << 18 if extended and not wide else i & mask, extended) for i, _, extended in left]
    return identifier(mask, wide), ids[0], ids[-1]


def bit_timing(oscillator_hz, bitrate):
    """CNF3, CNF2, CNF1 with the sample point near 80 %. Raises ValueError where the crystal cannot give the rate.

    A bit is one quantum, PS0 = 1..8 and PS1 = 1..8 before the sample, PS2 = 2..8 after it; a quantum 2 * BRP periods.
    """
    for prescaler in range(1, 65):
        quanta, rest = divmod(oscillator_hz, 2 * prescaler * bitrate)
        if rest or not 8 <= quanta <= 20:
            continue
        after = max(2, (quanta + 2) // 5)
        first = (quanta - 1 - after) // 2
        second = quanta - 1 - after - first
        if first <= 8 and second <= 8 and after <= 8:
            return bytes((after - 1, 0x80 | second - 1 << 3 | first - 1, prescaler - 1))
    raise ValueError("%d bit/s cannot be had from %d Hz" % (bitrate, oscillator_hz))  # noqa: UP031
