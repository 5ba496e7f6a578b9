"""Ways of reading frames, one file each, behind one seam: `Bus`. Each only listens unless it is told to transmit."""

ACTIVE, WARNING, PASSIVE, OFF = 0, 1, 2, 3  # of a controller, by its error counters
RETRY_MS = 1000  # a bus that is off, or gone, is tried again so often
ALL = None  # filters: every frame


class Bus:
    """One CAN bus. A subclass has `_read`, and `_send` where it can transmit.

    channel: number of the [[bus]] in the profile; transmit: False = listen only
    timed: True where the frames' own stamps are the only clock (a recorded log), False where the box's clock is
    waits: True where frames wait until they are read, however long (a recorded log): then nothing need be lost
    done: True where no frame will come any more (the log's end)

    frames, dropped, errors: counted since the start; dropped is what the controller, a queue or the wire lost
    state: ACTIVE .. OFF
    """

    timed = waits = done = False

    def __init__(self, channel=0, transmit=False):
        self.channel, self.transmit = channel, transmit
        self.frames = self.dropped = self.errors = 0
        self.state = ACTIVE

    def recv(self, batch, t_ms):
        """Add what has arrived to a frames.Frames; and notices of frames lost, of the bus off and back.

        t_ms: now, 30-bit ms; a frame without a stamp of its own gets it. What does not fit stays for the next call.
        Takes nothing from the heap while nothing is wrong. Raises OSError where the bus cannot be read at all.
        """
        before = batch.frames
        self._read(batch, t_ms)
        self.frames += batch.frames - before

    def send(self, can_id, data):
        """Send a frame; can_id: with layout.EXT set for 29 bits. False where it could not be sent, now or ever."""
        return self.transmit and self.state != OFF and self._send(can_id, data)

    def begin(self):
        """Called when the box is ready to read: what a queue has taken before is old, and no loss."""

    def wake(self):
        """Called after a sleep: what a queue has taken meanwhile is old, and no loss."""
        self.begin()

    def close(self):
        """Leave the bus."""

    def _lost(self, batch, t_ms, count=1):
        if count > 0:
            self.dropped += count
            batch.dropped(t_ms, self.channel)

    def _is(self, state, batch, t_ms):
        """The controller's state as read now; a notice where it went off or came back."""
        if (state == OFF) != (self.state == OFF):
            batch.bus_off(t_ms, state == OFF, self.channel)
        self.state = state
