"""Frames in columns: what the compiled engine eats, and what a columnar file holds."""

from itertools import islice
from typing import NamedTuple

import numpy

FRAMES = 1 << 13  # in a block made of single frames
NARROW, WIDE = 8, 64  # bytes of data a row: all classic, or some CAN FD


class Block(NamedTuple):
    """Some frames of a log, in its order; a row each.

    t_us:    int64 (n,), on the log's own clock
    channel: uint16 (n,), index into `channels`
    can_id:  int32 (n,), with EXT set for 29 bits
    length:  uint8 (n,), of the data
    data:    uint8 (n, NARROW or WIDE), C order; what stands behind `length` is zero
    channels: list of the channels' names; one list a log, which may grow from block to block
    """

    t_us: numpy.ndarray
    channel: numpy.ndarray
    can_id: numpy.ndarray
    length: numpy.ndarray
    data: numpy.ndarray
    channels: list

    def __len__(self):
        return len(self.t_us)

    def rows(self):
        """The same frames one by one, as (t_us, channel, can_id, data)."""
        width = self.data.shape[1]
        data = self.data.tobytes()
        columns = (self.t_us.tolist(), self.channel.tolist(), self.can_id.tolist(), self.length.tolist())
        for row, (t_us, channel, can_id, length) in enumerate(zip(*columns, strict=True)):
            yield t_us, self.channels[channel], can_id, data[row * width : row * width + length]


def from_frames(frames):
    """Blocks out of single frames: the way of a format whose reader makes no blocks itself."""
    channels, numbers = [], {}
    frames = iter(frames)
    while some := list(islice(frames, FRAMES)):
        times, names, ids, datas = zip(*some, strict=True)
        for name in dict.fromkeys(names):
            if name not in numbers:
                numbers[name] = len(channels)
                channels.append(name)
        lengths = numpy.fromiter(map(len, datas), "u1", len(some))
        width = NARROW if lengths.max() <= NARROW else WIDE
        data = numpy.frombuffer(b"".join([d.ljust(width, b"\0") for d in datas]), "u1")
        yield Block(
            numpy.array(times, "i8"),
            numpy.fromiter(map(numbers.__getitem__, names), "u2", len(some)),
            numpy.array(ids, "i4"),
            lengths,
            data.reshape(-1, width),
            channels,
        )
