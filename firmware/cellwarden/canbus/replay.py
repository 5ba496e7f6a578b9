"""A recorded candump log as a bus: `(1436509052.249713) can0 044#2A366C2BBA`, one frame a line.

Its stamps are the only clock, so it gives the bytes that `cellwarden replay` gives. Error frames that tell of lost
frames and of the bus become the same notices. A line that is no frame is counted in `errors` and told as a lost frame.
"""

from cellwarden.canbus import ACTIVE, ALL, OFF, Bus
from cellwarden.core import layout as L

_ERROR = 0x20000000
_CRTL, _OFF, _RESTARTED, _RX_OVERFLOW = 0x004, 0x040, 0x100, 0x01  # linux/can/error.h


class ReplayBus(Bus):
    """path: of the log; names: {channel in the log: number of the [[bus]]}, or ALL for every channel as bus 0.

    done: True once its end was reached. Raises OSError where the log cannot be opened.
    """

    timed = waits = True

    def __init__(self, path, names=ALL):
        super().__init__()
        self._file, self._names = open(path, "rb"), names

    def _read(self, batch, t_ms):
        while not self.done and not batch.full():
            line = self._file.readline()
            if not line:
                self.done = True
                self.close()
                return
            line = line.strip()
            if not line:
                continue
            try:
                self._line(line, batch)
            except (ValueError, IndexError):
                self.errors += 1
                self._lost(batch, batch.last_ms)

    def _line(self, line, batch):
        words = line.split()
        if words[0][:1] != b"(" or words[0][-1:] != b")":
            raise ValueError("no stamp")
        seconds, _, rest = words[0][1:-1].partition(b".")
        t_ms = (int(seconds) % 1_073_741_824 * 1000 + int((rest + b"000")[:3])) & L.MASK
        channel = 0
        if self._names is not ALL:
            channel = self._names.get(words[1].decode())
            if channel is None:
                return
        number, _, text = words[2].partition(b"#")
        can_id = int(number, 16)
        if text[:1] in (b"R", b"r"):
            return
        data = _bytes(text[2:] if text[:1] == b"#" else text)
        if len(number) == 8:
            if can_id >= _ERROR:
                self._told(can_id, data, batch, t_ms, channel)
                return
            can_id |= L.EXT
        batch.put(t_ms, can_id, channel, data, 0, len(data))

    def _told(self, kind, data, batch, t_ms, channel):
        """An error frame; of several classes the gravest counts."""
        if kind & _OFF:
            self.state = OFF
            batch.bus_off(t_ms, True, channel)
        elif kind & _CRTL and data[1] & _RX_OVERFLOW:
            self._lost(batch, t_ms)
        elif kind & _RESTARTED:
            self.state = ACTIVE
            batch.bus_off(t_ms, False, channel)

    def close(self):
        self._file.close()


def _bytes(text):
    if len(text) % 2 or len(text) > 128:
        raise ValueError("half a byte")
    return bytes([int(text[i : i + 2], 16) for i in range(0, len(text), 2)])
