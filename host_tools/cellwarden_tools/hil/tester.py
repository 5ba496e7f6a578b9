"""The other side of a box's serial port: an SLCAN adapter that plays frames, and a listener to what the box says."""

import json
import os
import select
import threading
import time

from cellwarden.core.layout import EXT

FULL_FLAGS = 0x08  # data overrun, in answer to F
_CHUNK = 4096


class Tester:
    """file: number of an open port, raw. It answers the box's commands from a thread of its own.

    commands: what the box has told the adapter; statuses, events: the box's lines; frames: (seconds, can_id, data) that
    the box has sent; other: lines that are none of these
    """

    def __init__(self, file):
        self.file = file
        self.commands, self.statuses, self.events, self.frames, self.other = [], [], [], [], []
        self.flags = 0  # to the next question for them
        self.open = threading.Event()  # the box has opened its channel
        self.stamped = False
        self.gone = threading.Event()
        self._changed = threading.Condition()
        self._sending = threading.Lock()
        self._ending, self._end = os.pipe()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def close(self):
        os.close(self._end)
        self._thread.join()
        os.close(self._ending)

    # --- what the box says --------------------------------------------------------------------------------------------

    def _listen(self):
        rest = b""
        while True:
            ready, _, _ = select.select((self.file, self._ending), (), ())
            try:
                data = os.read(self.file, _CHUNK) if self.file in ready else b""
            except OSError:  # a pseudo terminal whose other side is gone
                data = b""
            if not data:
                break
            *lines, rest = (rest + data).replace(b"\n", b"\r").split(b"\r")
            with self._changed:
                for line in lines:
                    self._heard(line)
                self._changed.notify_all()
        self.gone.set()
        with self._changed:
            self._changed.notify_all()

    def _heard(self, line):
        if line.startswith(b"# "):
            try:
                told = json.loads(line[2:])
            except ValueError:
                self.other.append(line)
                return
            (self.statuses if told["event"] == "status" else self.events).append(told)
        elif line[:1] in (b"t", b"T"):
            wide = line[:1] == b"T"
            can_id = int(line[1:9], 16) | EXT if wide else int(line[1:4], 16)
            self.frames.append((time.monotonic(), can_id, bytes.fromhex(line[10 if wide else 5 :].decode())))
            self.write(b"z\r")
        elif line == b"F":
            flags, self.flags = self.flags, 0
            self.write(b"F%02X\r" % flags)
        elif line[:1] in (b"S", b"Z", b"C", b"L", b"O") and len(line) <= 2:
            self.commands.append(line.decode())
            self.stamped = line == b"Z1" or (self.stamped and line != b"Z0")
            self.write(b"\r")
            if line in (b"L", b"O"):
                self.open.set()
        elif line:
            self.other.append(line)

    def wait(self, condition, seconds):
        """Wait until `condition()` holds. False where it did not in time, or the box is gone without."""
        with self._changed:
            return self._changed.wait_for(lambda: condition() or self.gone.is_set(), seconds) and condition()

    # --- what it plays ------------------------------------------------------------------------------------------------

    def write(self, data):
        view = memoryview(data)
        with self._sending:
            while view:
                try:
                    select.select((), (self.file,), ())
                    view = view[os.write(self.file, view) :]
                except OSError:  # the box is gone
                    return

    def play(self, frames, speed=1.0):
        """Send frames (t_us, can_id, data) at their times, `speed` times as fast; None: as fast as they are taken.

        Returns the seconds that it took.
        """
        began, first_us, waiting, late_s = time.monotonic(), None, [], 0.002
        for t_us, can_id, data in frames:
            if first_us is None:
                first_us = t_us
            if speed is not None:
                ahead_s = (t_us - first_us) / 1e6 / speed - (time.monotonic() - began)
                if ahead_s > late_s:
                    self.write(b"".join(waiting))
                    waiting.clear()
                    time.sleep(ahead_s)
            waiting.append(line(t_us, can_id, data, self.stamped))
            if len(waiting) >= 32:
                self.write(b"".join(waiting))
                waiting.clear()
            if self.gone.is_set():
                break
        self.write(b"".join(waiting))
        return time.monotonic() - began


def line(t_us, can_id, data, stamped):
    """A frame as an adapter sends it."""
    head = f"T{can_id & ~EXT:08X}" if can_id & EXT else f"t{can_id:03X}"
    stamp = f"{t_us // 1000 % 60_000:04X}" if stamped else ""
    return f"{head}{len(data)}{data.hex().upper()}{stamp}\r".encode()
