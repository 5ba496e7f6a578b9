"""The other side of a box's serial port: an SLCAN adapter that plays frames, and a listener to what the box says."""

import errno
import json
import os
import select
import struct
import threading
import time

from cellwarden.core.layout import EXT

_CHUNK = 4096
SLEEP_S, HEAR_S = 0.002, 0.2


class Tester:
    """file: number of an open port, raw. It answers the box's commands from a thread of its own.

    commands: what the box has told the adapter; statuses, events: the box's lines; frames: (seconds, can_id, data) that
    the box has sent; answers: to operators, lines; other: lines that are none of these
    """

    __test__ = False  # for pytest, which would take it for tests

    def __init__(self, file):
        self.file = file
        self.commands, self.statuses, self.events, self.frames, self.other = [], [], [], [], []
        self.answers = []
        self.flags = 0  # to the next question for them
        self.open = threading.Event()  # the box has opened its channel
        self.stamped = False
        self.gone = threading.Event()
        self._changed = threading.Condition()
        self._sending = threading.Lock()
        self._waiting = []
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
        elif line[:1] == b"!":
            self.answers.append(line)
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
        began, first_us = time.monotonic(), None
        for t_us, can_id, data in frames:
            if first_us is None:
                first_us = t_us
            if speed is not None:
                ahead_s = (t_us - first_us) / 1e6 / speed - (time.monotonic() - began)
                if ahead_s > SLEEP_S:
                    self.flush()
                    time.sleep(ahead_s)
            self.put(t_us, can_id, data)
            if self.gone.is_set():
                break
        self.flush()
        return time.monotonic() - began

    def put(self, t_us, can_id, data):
        """A frame that is to be sent now, or at the next flush()."""
        self._waiting.append(line(t_us, can_id, data, self.stamped))
        if len(self._waiting) >= 32:
            self.flush()

    def flush(self):
        waiting, self._waiting = self._waiting, []
        self.write(b"".join(waiting))


class OperatorWire:
    """An operator at a tester's end of the console, between the frames: what device.line.Running takes."""

    name = "console"

    def __init__(self, tester):
        self._tester, self._read = tester, len(tester.answers)
        self.write = tester.write

    def read(self, seconds):
        answers = self._tester.answers
        if not self._tester.wait(lambda: len(answers) > self._read, seconds):
            return b""
        found = answers[self._read :]
        self._read += len(found)
        return b"".join(line + b"\r\n" for line in found)

    def close(self):
        pass


class CanTester(Tester):
    """The box's frames go over a bus: it reads one interface, `bus` (python-can) is another on the same wire.

    file: number of the port with the box's lines
    """

    def __init__(self, file, bus):
        self._bus = bus
        self._raw = getattr(bus, "socket", None)  # SocketCAN: a frame at full rate has no time for more
        super().__init__(file)
        self._hearing = threading.Thread(target=self._hear, daemon=True)
        self._hearing.start()

    def close(self):
        super().close()
        self._hearing.join()
        self._bus.shutdown()

    def _hear(self):
        while not self.gone.is_set():
            if self._raw and not select.select((self._raw,), (), (), HEAR_S)[0]:
                continue
            message = self._bus.recv(0 if self._raw else HEAR_S)  # it waits by the time of day, which may be set
            if message and not message.is_error_frame:
                can_id = message.arbitration_id | EXT if message.is_extended_id else message.arbitration_id
                self.frames.append((time.monotonic(), can_id, bytes(message.data)))

    def _heard(self, line):
        super()._heard(line)
        if self.statuses:
            self.open.set()

    def put(self, t_us, can_id, data):
        while True:
            try:
                if self._raw:
                    number = (can_id & ~EXT) | 0x80000000 if can_id & EXT else can_id
                    self._raw.send(struct.pack("=IB3x8s", number, len(data), data))
                else:
                    self._bus.send(message_of(can_id, data))
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                time.sleep(SLEEP_S)  # the interface's queue is full

    def flush(self):
        pass


def message_of(can_id, data):
    import can

    return can.Message(arbitration_id=can_id & ~EXT, is_extended_id=bool(can_id & EXT), data=data)


def line(t_us, can_id, data, stamped):
    """A frame as an adapter sends it."""
    head = f"T{can_id & ~EXT:08X}" if can_id & EXT else f"t{can_id:03X}"
    stamp = f"{t_us // 1000 % 60_000:04X}" if stamped else ""
    return f"{head}{len(data)}{data.hex().upper()}{stamp}\r".encode()
