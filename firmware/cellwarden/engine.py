"""One detector: an image, its arrays, and the calls that feed it. Allocates once, in the constructor."""

from array import array

from cellwarden.core import layout as L
from cellwarden.core.scan import advance

PART_MS = 1 << 28  # a longer step of the clock is taken in parts, or its 30 bits would mistake it
HOUR_MS = 3_600_000
REST_MS = 59_000  # awake; a vehicle that does not come to rest in so long is not waited for
EVENT_CAPACITY = 256  # unread events a box keeps


class Engine:
    """The detection core on one vehicle image.

    image:  has `params` (array of int32, layout.PARAMS_SECTIONS) and `drain` (the generated decoder's loop)
    state:  array of int32, layout.STATE_SECTIONS; `bytes(engine.state)` is the snapshot
    events: array of int32, the event ring (layout, "events"); read it with `take()`
    box:    what the core gets: state, params, events, scratch

    event_capacity: unread events it keeps at least

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
        self.state = array("i", bytes(4 * L.state_sections(params)["memory"][1]))
        self.clear()
        capacity = 1
        while capacity < event_capacity:
            capacity *= 2
        self.events = array("i", bytes(4 * (L.E_FIRST + capacity * L.EVENT_SIZE)))
        self.events[L.E_CAPACITY] = capacity
        self.box = (self.state, params, self.events, array("i", bytes(4 * L.SCRATCH_SIZE)))
        self._record = self.ring(1)

    def clear(self):
        """The state of a detector that has seen nothing yet."""
        for at in range(len(self.state)):
            self.state[at] = 0
        for at in range(*L.state_sections(self.params)["signals"]):
            self.state[at] = L.NA
        self.state[L.SIGNALS_AT + L.ALWAYS] = 0
        for at in range(L.FEATURES_AT, L.FEATURES_AT + L.FEATURES):
            self.state[at + L.VALUE] = L.NA
            self.state[at + L.SLOT] = L.ALWAYS
            self.state[at + L.COMPLETE] = 1
        for at in (L.QUIET_LOW_MA, L.STEADY_LOW_MA, L.PAIR_MA, L.STEP_MV):
            self.state[at] = L.NA

    def section(self, name):
        """A section of the state or of params (layout) as a view: int32, written through."""
        if name in L.STATE_SECTIONS:
            first, end = L.state_sections(self.params)[name]
            return memoryview(self.state)[first:end]
        first, end = L.params_sections(self.params, len(self.params))[name]
        return memoryview(self.params)[first:end]

    def frame(self, t_ms, can_id, data, channel=0):
        """Due scans, then decode one frame.

        t_ms: 30-bit ms; can_id: with layout.EXT set for 29 bits; data: bytes; channel: number of the bus
        """
        r, r32, _ = self._record
        n = min(len(data), self.data_bytes)
        r32[0] = t_ms & L.MASK
        r32[1] = can_id
        r[L.RECORD_CHANNEL] = channel
        r[L.RECORD_LENGTH] = n
        for i in range(n):
            r[L.RECORD_DATA + i] = data[i]
        self.drain(self._record, 1)

    def drain(self, ring, n):
        """Feed the first n records of a ring made by `ring()`. Returns how many of them the image knew."""
        return self._drain(0, self.state, ring[2], ring[1], self.box, n)

    def ring(self, records):
        """A ring of frame records: its bytes, its int32, and the views that the decoder reads; all of one memory."""
        memory = array("i", bytes(self.record_bytes * records))
        ring = memoryview(byte_view(memory))
        return ring, memory, record_views(ring)

    def advance(self, t_ms):
        """A silent bus: run the scans due up to t_ms (30-bit ms). Returns their number."""
        return advance(self.box, ((t_ms & L.MASK) + L.WRAP + self.state[L.OFFSET_MS]) & L.MASK)

    def notice(self, t_ms, kind, value=0, channel=0):
        """What the box knows and no frame says (layout, NOTICE_...): a record of the ring like any frame's."""
        self.frame(t_ms, L.NOTICE | kind, bytes((value,)), channel)

    def may_sleep_ms(self):
        """How long the box may sleep now, ms; 0: it has to watch (HAZARDS E; times from the profile's [parked]).

        It watches while the vehicle is in use and for a time after. Later it sleeps again as soon as the bus is silent,
        or a true sample has been compared with that before the sleep and gives no reason to stay.
        """
        q, p = self.state, self.params
        rested_ms = q[L.PARKED_MS] - p[L.P_WATCH_MS]
        if rested_ms < 0:
            return 0
        if q[L.MODE] != L.ASLEEP:
            compared = not (q[L.REST_DUE] or q[L.PHASE]) or q[L.AGE_MS] >= REST_MS
            if not q[L.KNOWN] or not compared or q[L.LEVEL] >= 2:
                return 0
            for row in range(p[L.P_RULES_AT], p[L.P_MEMORY_AT], L.RULE_SIZE):
                if q[row + L.BUSY] & L.ASSERTING:
                    return 0
        return p[L.P_WAKE_FIRST_MS if rested_ms < HOUR_MS or q[L.LEVEL] >= 2 else L.P_WAKE_MS]

    def snapshot(self):
        """The state as bytes: what `restore()` takes after a restart, on any engine."""
        return bytes(byte_view(self.state))

    def restore(self, snapshot, elapsed_ms=0):
        """Go on from a snapshot of the same image. elapsed_ms: how long the box was off, by its own clock.

        Raises ValueError where the snapshot has another length.
        """
        if len(snapshot) != 4 * len(self.state):
            raise ValueError("snapshot of %d bytes, this image has %d" % (len(snapshot), 4 * len(self.state)))  # noqa: UP031
        byte_view(self.state)[:] = snapshot
        self.rest(elapsed_ms)

    def rest(self, elapsed_ms):
        """So long without a frame, however long."""
        while elapsed_ms > 0:
            self.advance(self.state[L.NOW_MS] - self.state[L.OFFSET_MS] + min(elapsed_ms, PART_MS))
            elapsed_ms -= PART_MS

    def take(self, record):
        """Move the oldest unread event into `record` (layout.EVENT_SIZE int32). Returns False where there is none."""
        e = self.events
        tail = e[L.E_TAIL]
        if tail == e[L.E_HEAD]:
            return False
        at = L.E_FIRST + tail % e[L.E_CAPACITY] * L.EVENT_SIZE
        for i in range(L.EVENT_SIZE):
            record[i] = e[at + i]
        e[L.E_TAIL] = (tail + L.STEP) & L.MASK
        return True


class Heard:
    """An engine as the recorder sees it: the same detector, but its events are those that the box has told before.

    So an alarm goes out at once, whatever the storage does. And an exception of the core is no fault of the recorder's:

    fed: whether the engine was given what the recorder was; error: what the core raised, or None
    busy: the core is at work, or was when somebody stopped the box
    """

    take = Engine.take

    def __init__(self, engine):
        self._engine = engine
        self.params, self.state = engine.params, engine.state
        self.record_bytes, self.data_bytes, self.ring = engine.record_bytes, engine.data_bytes, engine.ring
        self.events = array("i", bytes(4 * len(engine.events)))
        self.events[L.E_CAPACITY] = engine.events[L.E_CAPACITY]
        self.fed, self.busy, self.error = False, False, None

    def drain(self, ring, n):
        """As Engine.drain(), but it raises nothing."""
        self.fed = self.busy = True
        done = 0
        try:
            done = self._engine.drain(ring, n)
        except Exception as error:
            self.error = error
        self.busy = False
        return done

    def advance(self, t_ms):
        """As Engine.advance(), but it raises nothing."""
        self.fed = self.busy = True
        done = 0
        try:
            done = self._engine.advance(t_ms)
        except Exception as error:
            self.error = error
        self.busy = False
        return done

    def tell(self, record):
        """An event that was taken from the engine."""
        e = self.events
        head = e[L.E_HEAD]
        if (head - e[L.E_TAIL]) & L.MASK >= e[L.E_CAPACITY]:
            e[L.E_LOST] = (e[L.E_LOST] + L.STEP) & L.MASK
            return
        at = L.E_FIRST + head % e[L.E_CAPACITY] * L.EVENT_SIZE
        for i in range(L.EVENT_SIZE):
            e[at + i] = record[i]
        e[L.E_HEAD] = (head + L.STEP) & L.MASK


def record_views(ring):
    """What a decoder gets of a ring of bytes: it from a record's length on, and from each first byte of data."""
    views = [ring[L.RECORD_DATA + i :] for i in range(L.RECORD_VIEWS - 1)]
    return tuple([ring[L.RECORD_LENGTH :]] + views)


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
