"""The MCP2515 as its data sheet (DS20001801) tells of it, byte for byte on the SPI wire: a model to test against.

Written from the data sheet's tables and figures, not from the driver. Runs on CPython and on MicroPython.
"""


class Pin:
    """A pin; `irq` handlers are called at a falling edge."""

    IRQ_FALLING = 4

    def __init__(self, changed=None):
        self.level, self.handler, self.changed = 1, None, changed

    def __call__(self, level):
        self.level = level
        if self.changed:
            self.changed(level)

    def value(self):
        return self.level

    def irq(self, handler=None, trigger=0, hard=False):
        self.handler = handler

    def drive(self, level):
        fell = self.level and not level
        self.level = level
        if fell and self.handler:
            self.handler(self)


class Chip:
    """spi: itself (`write`, `write_readinto`); select: the pin of CS; interrupt: the pin of INT.

    on_wire: frames it has sent, as (can_id, extended, data); arrive(): a frame on the bus
    """

    def __init__(self):
        self.registers = bytearray(128)
        self.select, self.interrupt = Pin(self._selected), Pin()
        self.command = None  # bytes of this instruction so far
        self.on_wire = []
        self.before_byte = None  # called before each byte on the wire: a test lets frames arrive there
        self._reset()

    def _reset(self):
        r = self.registers
        for i in range(128):
            r[i] = 0
        r[0x0F], r[0x0E] = 0x87, 0x80  # CANCTRL, CANSTAT: configuration mode

    @property
    def mode(self):
        return self.registers[0x0E] >> 5

    # --- the wire

    def _selected(self, level):
        if level == 0:
            self.command = bytearray()
            return
        done = self.command
        self.command = None
        if done and done[0] in (0x90, 0x92, 0x94, 0x96) and len(done) > 1:  # READ RX BUFFER: its end frees the buffer
            self.registers[0x2C] &= ~(1 if done[0] < 0x94 else 2)
            self._interrupt()
        if done and done[0] & 0xF8 == 0x80:
            self._request_to_send(done[0] & 7)

    def write(self, data):
        for byte in data:
            self._exchange(byte)

    def write_readinto(self, data, into):
        for i in range(len(data)):
            into[i] = self._exchange(data[i])

    def _exchange(self, byte):
        assert self.command is not None, "a byte while CS is high"
        if self.before_byte:
            self.before_byte()
        c, r = self.command, self.registers
        c.append(byte)
        n = len(c) - 1
        first = c[0]
        if n == 0:
            if byte == 0xC0:
                self._reset()
            return 0xFF
        if first == 0x03:
            return 0xFF if n == 1 else r[(c[1] + n - 2) & 127]
        if first == 0x02:
            if n > 1:
                self._store((c[1] + n - 2) & 127, byte, 0xFF)
            return 0xFF
        if first == 0x05:
            if n == 3:
                self._store(c[1], byte, c[2])
            return 0xFF
        if first in (0x90, 0x92, 0x94, 0x96):
            return r[{0x90: 0x61, 0x92: 0x66, 0x94: 0x71, 0x96: 0x76}[first] + n - 1]
        if first & 0xF8 == 0x40:
            at = (0x31, 0x36, 0x41, 0x46, 0x51, 0x56)[first & 7]
            r[at + n - 1] = byte
            return 0xFF
        if first == 0xA0:
            flags = r[0x2C]
            status = flags & 3
            for buffer, at in enumerate((0x30, 0x40, 0x50)):
                status |= (r[at] >> 3 & 1) << 2 + 2 * buffer | (flags >> 2 + buffer & 1) << 3 + 2 * buffer
            return status
        raise AssertionError("instruction 0x%02X" % first)  # noqa: UP031

    def _store(self, at, value, mask):
        r = self.registers
        old = r[at]
        only_configuration = at < 0x0C or 0x10 <= at < 0x1C or 0x20 <= at < 0x2B
        if at in (0x0E, 0x1C, 0x1D) or (only_configuration and self.mode != 4):
            return
        if at == 0x2D:
            mask &= 0xC0  # EFLG: only the two overrun flags can be written
        elif at in (0x60, 0x70):
            assert self.mode == 4 or not mask & 0x60, "RXM changes in configuration mode only"
            mask &= 0x64 if at == 0x60 else 0x60
        r[at] = old & ~mask | value & mask
        if at == 0x0F and mask & 0xE0:
            r[0x0E] = r[0x0E] & 0x1F | r[0x0F] & 0xE0
        self._interrupt()

    def _interrupt(self):
        r = self.registers
        self.interrupt.drive(0 if r[0x2C] & r[0x2B] else 1)

    def _request_to_send(self, buffers):
        r = self.registers
        for n, at in enumerate((0x30, 0x40, 0x50)):
            if not buffers >> n & 1:
                continue
            if self.mode != 0:
                r[at] |= 8  # it waits for normal mode
                continue
            high, low, eid8, eid0, dlc = r[at + 1 : at + 6]
            can_id = high << 3 | low >> 5
            if low & 8:
                can_id = can_id << 18 | (low & 3) << 16 | eid8 << 8 | eid0
            self.on_wire.append((can_id, bool(low & 8), bytes(r[at + 6 : at + 6 + (dlc & 15)])))

    # --- the bus

    def arrive(self, can_id, data, extended=False, remote=False):
        """A frame on the bus: acceptance by RXB0's filters, then RXB1's; figure 4-5 of the data sheet."""
        if self.mode not in (0, 3):
            return
        r = self.registers
        if self._accepted(0, can_id, data, extended):
            if not r[0x2C] & 1:
                self._load(0x60, 1, can_id, data, extended, remote)
            elif r[0x60] & 4:
                if r[0x2C] & 2:
                    r[0x2D] |= 0x80
                else:
                    self._load(0x70, 2, can_id, data, extended, remote)
            else:
                r[0x2D] |= 0x40
        elif self._accepted(1, can_id, data, extended):
            if r[0x2C] & 2:
                r[0x2D] |= 0x80
            else:
                self._load(0x70, 2, can_id, data, extended, remote)
        self._interrupt()

    def _accepted(self, buffer, can_id, data, extended):
        r = self.registers
        if r[(0x60, 0x70)[buffer]] & 0x60 == 0x60:
            return True
        mask = r[(0x20, 0x24)[buffer] : (0x20, 0x24)[buffer] + 4]
        if extended:
            bits = [can_id >> n & 1 for n in range(28, -1, -1)]
        else:  # a standard frame's first two data bytes stand where EID15..EID0 do
            bits = [can_id >> n & 1 for n in range(10, -1, -1)] + [0, 0]
            for i in range(2):
                byte = data[i] if i < len(data) else 0
                bits += [byte >> n & 1 for n in range(7, -1, -1)]
        for at in ((0x00, 0x04), (0x08, 0x10, 0x14, 0x18))[buffer]:
            if bool(r[at + 1] & 8) != extended:
                continue
            wanted, masked = self._bits(r[at : at + 4]), self._bits(mask)
            if not extended:
                masked[11] = masked[12] = 0  # EID17 and EID16 have no data bits
            if all(not m or b == w for b, w, m in zip(bits, wanted, masked)):  # noqa: B905
                return True
        return False

    def _bits(self, four):
        high, low, eid8, eid0 = four
        number = (high << 3 | low >> 5) << 18 | (low & 3) << 16 | eid8 << 8 | eid0
        return [number >> n & 1 for n in range(28, -1, -1)]

    def _load(self, at, flag, can_id, data, extended, remote):
        r = self.registers
        sid = can_id >> 18 if extended else can_id
        r[at + 1] = sid >> 3
        r[at + 2] = (sid & 7) << 5
        if extended:
            r[at + 2] |= 8 | can_id >> 16 & 3
            r[at + 3], r[at + 4] = can_id >> 8 & 255, can_id & 255
        elif remote:
            r[at + 2] |= 0x10
        r[at + 5] = len(data) | (0x40 if remote and extended else 0)
        for i, byte in enumerate(data):
            r[at + 6 + i] = 0 if remote else byte
        r[0x2C] |= flag
