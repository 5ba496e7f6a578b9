"""FRAMES bodies back into the records that the core's ring had."""

from functools import lru_cache
from types import FunctionType, SimpleNamespace

from cellwarden.blackbox import unpack as U
from cellwarden.core import layout as L

ROWS = 1 << 12  # ring records made at a time


@lru_cache(None)
def unpackers(fast):
    """What reads bodies: ring_records() and unpack_words() of cellwarden.blackbox.unpack, as they stand there.

    fast: the same text compiled, where Numba is there
    """
    if fast:
        try:
            from ..readers.kernels import compiled
        except ImportError:
            return U
        made = dict(vars(U))
        for name in ("number_at", "next_item", "ring_records", "unpack_words"):  # each after those it calls
            made[name] = compiled(FunctionType(getattr(U, name).__code__, made, name))
        return SimpleNamespace(**made)
    return U


def strange_id(image):
    """An identifier that the image knows on no bus: it stands for all that the box counted and did not keep."""
    known = {can_id for _, _, can_id in image.names["messages"]}
    return next(can_id for can_id in range(0x800) if can_id not in known)


class Records:
    """The bodies of one annex, given in order, as ring records of an image (layout, RECORD_...).

    frames: kept ones so far; unknown: that were counted only; gaps: frames that could not be kept
    """

    def __init__(self, image, fast=False):
        self.gaps = 0
        self._make = unpackers(fast).ring_records
        self._items = U.FrameItems()
        self._items.p[U.STRANGE_ID] = strange_id(image)
        self.record_bytes = L.RECORD_DATA + image.params[L.P_DATA_BYTES]

    @property
    def frames(self):
        return self._items.p[U.FRAMES]

    @property
    def unknown(self):
        return self._items.p[U.STRANGE]

    def unpack(self, body):
        """Yields bytes of whole records; None where a gap is: what follows is not what the core saw next; and a number
        where the state was what the FEATURES record of this number says.

        Raises ValueError as FrameItems does.
        """
        items, size, kind = self._items, self.record_bytes, U.FULL
        i, p, end = items.begin(body), items.p, len(body)
        while kind in (U.FULL, U.GAP, U.NOTED):
            out = bytearray(ROWS * size)
            view = memoryview(out)
            i = self._make(i, end, body, p, items.data, view.cast("i"), out, ROWS, size)
            kind, said = p[U.KIND], p[U.SAID]
            if p[U.ROWS]:
                yield view[: p[U.ROWS] * size]
            if kind == U.BAD:
                raise U.no_item(i)
            if kind == U.GAP:
                self.gaps += said
                yield None
            elif kind == U.NOTED:
                yield said
        items.end()
