"""The core as machine code of this computer (Numba), fed in blocks."""

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
        self._arguments = 0, box[0], views, numpy.frombuffer(ring32, "i4"), box
        places = {
            "t_ms": ("i4", L.RECORD_T_MS), "can_id": ("i4", L.RECORD_ID), "bus": ("u1", L.RECORD_CHANNEL),
            "length": ("u1", L.RECORD_LENGTH), "data": (("u1", (self.data_bytes,)), L.RECORD_DATA),
        }  # fmt: skip
        names, formats = list(places), [kind for kind, _ in places.values()]
        offsets = [place for _, place in places.values()]
        record = {"names": names, "formats": formats, "offsets": offsets, "itemsize": self.record.size}
        self._records = numpy.frombuffer(ring, record)
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
            some, rows = slice(at, at + n), self._records[:n]
            rows["t_ms"] = t_ms[some] & L.MASK
            rows["can_id"] = can_id[some]
            rows["bus"] = bus[some]
            rows["length"] = numpy.minimum(length[some], self.data_bytes)
            width = min(data.shape[1], self.data_bytes)
            rows["data"][:, :width] = data[some, :width]
            rows["data"][:, width:] = 0
            at += n
            self._last_ms = int(t_ms[at - 1])
            self._drain(n)
