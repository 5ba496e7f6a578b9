"""The core as machine code of this computer (Numba), fed in blocks."""

import numba
import numpy
from cellwarden.core import layout as L

from .base import STEP_MS
from .compiled import load_drain
from .python import PythonEngine

RECORDS = 2048  # judged in one call


class FastEngine(PythonEngine):
    """The Python engine with `drain` compiled: one memory, so that either could go on where the other stopped."""

    name = "fast"

    def __init__(self, image):
        super().__init__(image, RECORDS)
        box = tuple(numpy.frombuffer(section, "i4") for section in self.core.box)
        ring, ring32, views = self._ring
        views = tuple(numpy.frombuffer(view, "u1") for view in views)
        self._compiled_ring = numpy.frombuffer(ring, "u1"), numpy.frombuffer(ring32, "i4")
        self._arguments = 0, box[0], views, self._compiled_ring[1], box
        self._compiled = load_drain(image, (*self._arguments, 0))

    def _drain(self, n):
        self._compiled(*self._arguments, n)
        self._take()

    def feed_block(self, t_us, bus, can_id, length, data):
        """Frames in columns (readers.blocks.Block), with the number of the bus in place of the channel."""
        self.flush()
        t_ms = t_us // 1000
        at = 0
        while at < len(t_ms):
            base = self._base_ms
            if base is None or not -STEP_MS <= t_ms[at] - base <= STEP_MS:
                self._rebase(int(t_ms[at]))
                base = self._base_ms
            n = min(len(t_ms) - at, RECORDS)
            near = numpy.abs(t_ms[at : at + n] - base) <= STEP_MS
            if not near.all():
                n = int(near.argmin())
            some = slice(at, at + n)
            _pack(t_ms[some], bus[some], can_id[some], length[some], data[some], self.data_bytes, *self._compiled_ring)
            at += n
            self._last_ms = int(t_ms[at - 1])
            self._drain(n)


@numba.njit(cache=True, nogil=True)
def _pack(t_ms, bus, can_id, length, data, data_bytes, ring8, ring32):
    """Frames in columns -> records of the ring (layout, RECORD_…)."""
    width = min(data.shape[1], data_bytes)
    stride = L.RECORD_DATA + data_bytes
    for row in range(len(t_ms)):
        at = row * stride
        ring32[(at + L.RECORD_T_MS) >> 2] = t_ms[row] & L.MASK
        ring32[(at + L.RECORD_ID) >> 2] = can_id[row]
        ring8[at + L.RECORD_CHANNEL] = bus[row]
        ring8[at + L.RECORD_LENGTH] = min(length[row], data_bytes)
        for byte in range(width):
            ring8[at + L.RECORD_DATA + byte] = data[row, byte]
        for byte in range(width, data_bytes):
            ring8[at + L.RECORD_DATA + byte] = 0
