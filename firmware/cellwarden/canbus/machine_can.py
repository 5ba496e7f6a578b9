"""A board's own CAN controller by `machine.CAN` (MicroPython 1.28 and later: STM32, i.MX RT, Alif).

A hard interrupt empties the controller's queue, three frames deep on many, into a queue of our own: at 1 Mbit/s three
frames are there after 162 us, and everything else a box does takes longer.
"""

import machine

from cellwarden import clock
from cellwarden.canbus import ACTIVE, ALL, OFF, PASSIVE, RETRY_MS, WARNING, Bus
from cellwarden.canbus.filters import reduced
from cellwarden.canbus.frames import Queue
from cellwarden.core import layout as L

QUEUE = 256  # frames: 28 ms of a bus at 1 Mbit/s, 57 ms at 500 kbit/s
_OVERRUNS, _LOST = 7, Queue.LOST  # of get_counters()


class MachineCan(Bus):
    """number: of the controller; record_bytes: `Engine.record_bytes`; filters: (id, mask, extended) each, or ALL.

    hard: whether the handler runs in a hard interrupt (else it is scheduled)
    """

    def __init__(self, number, bitrate, record_bytes, channel=0, filters=ALL, transmit=False, hard=True, queue=QUEUE):
        super().__init__(channel, transmit)
        C = machine.CAN
        self._queue = Queue(record_bytes, queue)
        self._message = [0, memoryview(bytearray(8)), 0, 0]
        self._counters = [0] * 8
        self._flagged = self._told = 0  # frames lost: as their messages' flags said, and told
        self._off_ms = None
        self._states = {C.STATE_WARNING: WARNING, C.STATE_PASSIVE: PASSIVE, C.STATE_BUS_OFF: OFF}
        self._rtr, self._ext, self._overrun = C.FLAG_RTR, C.FLAG_EXT_ID, C.RECV_ERR_OVERRUN
        self._can = C(number, bitrate, mode=C.MODE_NORMAL if transmit else C.MODE_SILENT)
        self._can.set_filters(None if filters is ALL else self._hardware(filters, C))
        self._handler = self._received  # a bound method is made once: a hard interrupt takes no memory
        self._can.irq(self._handler, C.IRQ_RX, hard)

    def _hardware(self, filters, C):
        return [(i, m, C.FLAG_EXT_ID if e else 0) for i, m, e in reduced(filters, C.FILTERS_MAX)]

    def _received(self, can):
        """In the interrupt: all that the controller holds."""
        message, queue = self._message, self._queue
        t_ms = clock.now_ms()
        while can.recv(message) is not None:
            if message[3] & self._overrun:
                self._flagged = (self._flagged + 1) & L.MASK
            flags = message[2]
            if not flags & self._rtr:
                can_id = message[0] | L.EXT if flags & self._ext else message[0]
                queue.put(t_ms, can_id, self.channel, message[1], 0, len(message[1]))

    def _read(self, batch, t_ms):
        self._queue.move(batch)
        counters = self._can.get_counters(self._counters)
        lost = self._queue.at[_LOST] + self._flagged  # each only counts on, until 30 bits are full
        if counters[_OVERRUNS] is not None:  # this controller counts them; else the messages' flags tell
            lost = self._queue.at[_LOST] + counters[_OVERRUNS]
        self._lost(batch, batch.ordered(t_ms), lost - self._told if lost > self._told else 0)
        self._told = lost  # fewer than before: restart() began anew
        self._is(self._states.get(self._can.state(), ACTIVE), batch, batch.ordered(t_ms))
        if self.state == OFF and (self._off_ms is None or (t_ms - self._off_ms) & L.MASK >= RETRY_MS):
            self._off_ms = t_ms
            self.errors += 1
            self._can.restart()
        elif self.state != OFF:
            self._off_ms = None

    def _send(self, can_id, data):
        try:
            return self._can.send(can_id & 0x1FFFFFFF, data, self._ext if can_id & L.EXT else 0) is not None
        except OSError:
            return False

    def begin(self):
        self._queue.clear()
        overruns = self._can.get_counters(self._counters)[_OVERRUNS]
        self._told = self._queue.at[_LOST] + (self._flagged if overruns is None else overruns)

    def close(self):
        self._can.deinit()
