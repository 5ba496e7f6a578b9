"""`machine.CAN` as MicroPython's documentation tells of it, a FIFO three frames deep: a model to test against.

Runs on CPython and on MicroPython.
"""


class CAN:
    MODE_NORMAL, MODE_SILENT = 0, 3
    STATE_STOPPED, STATE_ACTIVE, STATE_WARNING, STATE_PASSIVE, STATE_BUS_OFF = 0, 1, 2, 3, 4
    FLAG_RTR, FLAG_EXT_ID, FLAG_UNORDERED = 1, 2, 4
    RECV_ERR_FULL, RECV_ERR_OVERRUN = 1, 2
    IRQ_RX, IRQ_TX, IRQ_STATE = 1, 2, 4
    FILTERS_MAX = 28
    DEPTH = 3
    counts_overruns = True
    made = None  # the last one

    def __init__(self, number, bitrate, mode=0):
        self.number, self.bitrate, self.mode = number, bitrate, mode
        self.fifo, self.filters, self.sent, self.handler = [], (), [], None
        self.state_now, self.overruns, self.errors, self.restarts = self.STATE_ACTIVE, 0, 0, 0
        self.masked = False  # an interrupt is held back
        CAN.made = self

    def set_filters(self, filters):
        assert filters is None or len(filters) <= self.FILTERS_MAX
        self.filters = filters

    def irq(self, handler=None, trigger=0, hard=False):
        self.handler = handler

    def recv(self, message=None):
        if not self.fifo:
            return None
        can_id, data, flags = self.fifo.pop(0)
        message[0] = can_id
        view = self.views[len(data)] if message is self.owner else None
        if view is None:  # the memoryview is resized to the frame
            self.owner, self.memory = message, message[1]
            self.views = [self.memory[:n] for n in range(9)]
            view = self.views[len(data)]
        for i in range(len(data)):
            self.memory[i] = data[i]
        message[1] = view
        message[2], message[3] = flags, self.errors
        self.errors = 0
        return message

    owner = None

    def send(self, can_id, data, flags=0):
        if self.state_now == self.STATE_BUS_OFF:
            raise OSError(5)
        if self.mode != self.MODE_NORMAL:
            return None
        self.sent.append((can_id, bytes(data), flags))
        return 0

    def state(self):
        return self.state_now

    def get_counters(self, counters):
        counters[7] = self.overruns if self.counts_overruns else None
        counters[6] = len(self.fifo)
        return counters

    def restart(self):
        self.restarts += 1
        self.overruns = 0
        self.state_now = self.STATE_ACTIVE

    def deinit(self):
        self.state_now = self.STATE_STOPPED

    # --- the bus

    def arrive(self, can_id, data, flags=0):
        if self.filters is not None and not any(
            (can_id & mask) == (wanted & mask) and bool(told & 2) == bool(flags & 2)
            for wanted, mask, told in self.filters
        ):
            return
        if self.state_now == self.STATE_BUS_OFF:
            return
        if len(self.fifo) == self.DEPTH:
            self.overruns += 1
            self.errors = self.RECV_ERR_OVERRUN | self.RECV_ERR_FULL
            return
        self.fifo.append((can_id, bytes(data), flags))
        self.fire()

    def fire(self):
        if self.handler and not self.masked:
            self.handler(self)
