"""The core in this interpreter."""

from array import array

import cellwarden.engine
from cellwarden.core import layout as L

from .base import RECORDS, Engine


class PythonEngine(Engine):
    name = "python"

    def __init__(self, image, records=RECORDS):
        super().__init__(image, records)
        self.core = cellwarden.engine.Engine(image, cellwarden.engine.most_events(image.params, records))
        self._ring = self.core.ring(records)
        self.ring = self._ring[0]
        self._event = array("i", bytes(4 * L.EVENT_SIZE))

    def _drain(self, n):
        self.core.drain(self._ring, n)
        self._take()

    def _advance(self, t_ms):
        self.core.advance(t_ms)
        self._take()

    def _resume(self, state):
        self.core.restore(state)

    def _take(self):
        while self.core.take(self._event):
            self._add(self._event, self._base_ms)
        assert not self.core.events[L.E_LOST], "the event ring overran"

    def _finish(self):
        return self.core.state.tobytes()
