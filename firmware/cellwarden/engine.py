"""One detector: an image, its arrays, and the calls that feed it. Allocates once, in the constructor."""

from array import array

from cellwarden.core import layout as L
from cellwarden.core.scan import advance

EVENT_CAPACITY = 256  # unread events a box keeps


class Engine:
    """The detection core on one vehicle image.

    image:  has `params` (array of int32, layout.PARAMS_SECTIONS) and `drain` (the generated decoder's loop)
    state:  array of int32, layout.STATE_SECTIONS; `bytes(engine.state)` is the snapshot
    events: array of int32, the event ring (layout, "events"); read it with `take()`

    Raises ValueError for an image made for another layout.
    """

    def __init__(self, image, event_capacity=EVENT_CAPACITY):
        params = image.params
        if params[L.P_FORMAT] != L.FORMAT:
            raise ValueError("image format %d, this core reads %d" % (params[L.P_FORMAT], L.FORMAT))  # noqa: UP031
        self._drain = image.drain
        self.data_bytes = params[L.P_DATA_BYTES]
        self.record_bytes = L.RECORD_DATA + self.data_bytes
        self.params = params
        sizes = L.state_sizes(params)
        self.state = array("i", bytes(4 * sum(sizes)))
        self.events = array("i", bytes(4 * (L.E_FIRST + event_capacity * L.EVENT_SIZE)))
        self.events[L.E_CAPACITY] = event_capacity
        scratch = array("i", bytes(4 * L.SCRATCH_SIZE))
        views = []
        for memory, parts in ((self.state, sizes), (params, L.params_sizes(params, len(params)))):
            at = 0
            whole = memoryview(memory)
            for size in parts:
                views.append(whole[at : at + size])
                at += size
        views.append(memoryview(self.events))
        views.append(memoryview(scratch))
        self.box = tuple(views)
        signals = self.box[3]
        for i in range(len(signals)):
            signals[i] = L.NA
        self._record32 = array("i", bytes(self.record_bytes))
        self._record8 = byte_view(self._record32)
        self._clock = self.box[0]

    def frame(self, t_ms, can_id, data, channel=0):
        """Due scans, then decode one frame.

        t_ms: 30-bit ms; can_id: with layout.EXT set for 29 bits; data: bytes; channel: number of the bus
        """
        r = self._record8
        n = min(len(data), self.data_bytes)
        self._record32[0] = t_ms & L.MASK
        self._record32[1] = can_id
        r[L.RECORD_CHANNEL] = channel
        r[L.RECORD_LENGTH] = n
        for i in range(n):
            r[L.RECORD_DATA + i] = data[i]
        self._drain(self.box, r, self._record32, 1)

    def drain(self, ring, n):
        """Feed the first n records of a ring made by `ring()`. Returns how many of them the image knew."""
        return self._drain(self.box, ring[0], ring[1], n)

    def ring(self, records):
        """A ring of frame records: its bytes and its int32, two views of one memory."""
        memory = array("i", bytes(self.record_bytes * records))
        return byte_view(memory), memory

    def advance(self, t_ms):
        """A silent bus: run the scans due up to t_ms (30-bit ms). Returns their number."""
        return advance(self.box, ((t_ms & L.MASK) + L.NA + self._clock[L.OFFSET_MS]) & L.MASK)

    def take(self, record):
        """Move the oldest unread event into `record` (layout.EVENT_SIZE int32). Returns False where there is none."""
        e = self.events
        tail = e[L.E_TAIL]
        if tail == e[L.E_HEAD]:
            return False
        at = L.E_FIRST + tail % e[L.E_CAPACITY] * L.EVENT_SIZE
        for i in range(L.EVENT_SIZE):
            record[i] = e[at + i]
        e[L.E_TAIL] = (tail + L.NA + 1) & L.MASK
        return True


def most_events(params, records):
    """Events that so many frame records can cause at most: each rule through all its levels and back, after each."""
    return records * params[L.P_RULES] * 6


def byte_view(ring):
    """The bytes of an array of int32, without a copy."""
    view = memoryview(ring)
    if hasattr(view, "cast"):
        return view.cast("B")
    import uctypes

    return uctypes.bytearray_at(uctypes.addressof(ring), 4 * len(ring))
