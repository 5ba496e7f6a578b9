"""FRAMES bodies back into the records that the core's ring had: one definition (content.FrameItems), and compiled code
for many of them.
"""

import struct

from cellwarden.blackbox import content as C
from cellwarden.core import layout as L

NOTHING = L.NOTICE  # the identifier of a notice of no kind: it only lets the scans run that are due
MOST_DATA = 64


def strange_id(image):
    """An identifier that the image knows on no bus: it stands for all that the box counted and did not keep."""
    known = {can_id for _, _, can_id in image.names["messages"]}
    return next(can_id for can_id in range(0x800) if can_id not in known)


class Records:
    """The bodies of one annex, given in order, as ring records of an image (layout, RECORD_...).

    frames: kept ones so far; unknown: that were counted only; gaps: frames that could not be kept
    """

    def __init__(self, image):
        self.frames = self.unknown = self.gaps = 0
        self._strange = strange_id(image)
        self._data_bytes = image.params[L.P_DATA_BYTES]
        self._record = struct.Struct(f"<iiBBxx{self._data_bytes}s")
        self._items = C.FrameItems()

    def unpack(self, body):
        """Yields bytes of whole records; None where a gap is: what follows is not what the core saw next; and a number
        where the state was what the FEATURES record of this number says.

        Raises ValueError as FrameItems does.
        """
        out = bytearray()
        try:
            for kind, clock, name, channel, data in self._items.unpack(body):
                clock &= L.MASK
                if kind == C.GAP:
                    self.gaps += name
                    if out:
                        yield out
                        out = bytearray()
                    yield None
                elif kind == C.NOTED:
                    if out:
                        yield out
                        out = bytearray()
                    yield name
                elif kind == C.ADVANCE:
                    out += self._record.pack(clock, NOTHING, 0, 0, b"")
                elif kind == C.UNKNOWN:
                    self.unknown += name
                    out += self._record.pack(clock, self._strange, 0, 0, b"") * name
                else:
                    self.frames += name >> 30 == 0
                    kept = data[: self._data_bytes]
                    out += self._record.pack(clock, name, channel, len(kept), kept)
        except ValueError:
            if out:
                yield out
            raise
        if out:
            yield out


def open_words(fast):
    """What unpacks the words of one stream (content.unpack_words); fast: compiled, where Numba is there."""
    if fast:
        try:
            from .words_kernel import Unpacker
        except ImportError:
            return C.unpack_words
        return Unpacker()
    return C.unpack_words


def open_records(image, fast):
    """Records of an image; fast: compiled, where Numba is there."""
    if fast:
        try:
            from .frames_kernel import FastRecords
        except ImportError:
            return Records(image)
        return FastRecords(image)
    return Records(image)
