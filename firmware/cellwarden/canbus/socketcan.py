"""Linux SocketCAN, under CPython and under MicroPython's unix port.

Frames, and the error frames that tell of lost frames and of a bus that is off (linux/can/raw.h, linux/can/error.h).
CPython gets the kernel's stamps and its count of frames that the socket's queue had no room for, with the next frame
that it takes. MicroPython's sockets give neither: there a frame has the stamp of the round that read it, and a queue
that was found full is told as a loss, for it may have been one.
This socket sends nothing unless told to; that the controller does not acknowledge either is the interface's setting:
`ip link set can0 type can bitrate 500000 listen-only on restart-ms 100`.
"""

import errno
import socket
import struct
import sys

import micropython

from cellwarden.canbus import ACTIVE, ALL, OFF, PASSIVE, RETRY_MS, WARNING, Bus
from cellwarden.core import layout as L

_ON_MICROPYTHON = sys.implementation.name == "micropython"

AF_CAN, CAN_RAW, SOL_CAN_RAW = 29, 1, 101
RAW_FILTER, RAW_ERR_FILTER, RAW_FD_FRAMES = 1, 2, 5
SOL_SOCKET, SO_RCVBUF, SO_TIMESTAMPNS, SO_RXQ_OVFL = 1, 8, 35, 40  # the same on x86-64 and arm64
EFF, RTR, ERR = 0x80000000, 0x40000000, 0x20000000  # flags in a struct can_frame's identifier
ERR_CRTL, ERR_BUSOFF, ERR_RESTARTED = 0x004, 0x040, 0x100
CRTL_RX_OVERFLOW, CRTL_WARNING, CRTL_PASSIVE, CRTL_ACTIVE = 0x01, 0x0C, 0x30, 0x40
MOST_FILTERS = 512  # CAN_RAW_FILTER_MAX
FRAME, FD_FRAME = 16, 72  # bytes of struct can_frame, canfd_frame
QUEUE_BYTES = 1 << 20  # asked of the kernel; net.core.rmem_max bounds what it gives, which is twice that
QUEUED_BYTES = 768  # what the kernel reckons for a classic frame in a queue
_EINTR, _ENETDOWN = 4, 100
_ERROR_FRAME = -2
_BIG = 1 if sys.byteorder == "big" else 0


class SocketCan(Bus):
    """interface: such as can0; filters: (id, mask, extended) each, or ALL; fd: also CAN FD frames (CPython only).

    Raises OSError where there is no such interface, ValueError where fd cannot be had.
    """

    def __init__(self, interface, channel=0, filters=ALL, transmit=False, fd=False):
        super().__init__(channel, transmit)
        if fd and _ON_MICROPYTHON:
            raise ValueError("CAN FD needs cellwarden-box under CPython")
        self.interface, self._filters, self._fd = interface, filters, fd
        self._socket, self._failed_ms, self._overflows = None, None, 0
        self._buffer = bytearray(FD_FRAME if fd else FRAME)
        self._into = [self._buffer]
        self._queue = queue_frames()
        self._open()

    def _open(self):
        s = socket.socket(AF_CAN, socket.SOCK_RAW, CAN_RAW)
        try:
            if self._filters is not ALL and len(self._filters) <= MOST_FILTERS:
                s.setsockopt(SOL_CAN_RAW, RAW_FILTER, packed_filters(self._filters))
            s.setsockopt(SOL_CAN_RAW, RAW_ERR_FILTER, struct.pack("I", ERR_CRTL | ERR_BUSOFF | ERR_RESTARTED))
            s.setsockopt(SOL_SOCKET, SO_RCVBUF, QUEUE_BYTES)
            if _ON_MICROPYTHON:
                with open("/sys/class/net/" + self.interface + "/ifindex") as file:
                    s.bind(struct.pack("HxxiII", AF_CAN, int(file.read()), 0, 0))
            else:
                if self._fd:
                    s.setsockopt(SOL_CAN_RAW, RAW_FD_FRAMES, 1)
                s.setsockopt(SOL_SOCKET, SO_TIMESTAMPNS, 1)
                s.setsockopt(SOL_SOCKET, SO_RXQ_OVFL, 1)
                s.bind((self.interface,))
            s.setblocking(False)
        except OSError:
            s.close()
            raise
        self._use(s)

    def _use(self, s):
        """Read from this socket, which gives a struct can_frame at a time."""
        self._socket, self._overflows = s, 0
        self._in_a_row = 0  # frames read since the queue was empty (MicroPython)

    def _read(self, batch, t_ms):
        if self._socket is None:
            if self._failed_ms is not None and (t_ms - self._failed_ms) & L.MASK < RETRY_MS:
                return
            self._failed_ms = t_ms
            try:
                self._open()
            except OSError:
                self._is(OFF, batch, t_ms)
                return
        try:
            if _ON_MICROPYTHON:
                self._read_plain(batch, t_ms)
            else:
                self._read_stamped(batch, t_ms)
        except OSError as error:
            if error.errno in (errno.EAGAIN, _EINTR):
                return
            self.errors += 1
            self._is(OFF, batch, t_ms)
            if error.errno != _ENETDOWN:  # the interface is gone: another socket must look for it
                self.close()
                self._failed_ms = t_ms

    def _read_plain(self, batch, t_ms):
        raw, s = self._buffer, self._socket
        while not batch.full():
            if s.readinto(raw) != FRAME:
                self._in_a_row = 0
                return
            self._in_a_row += 1
            if self._in_a_row == self._queue:
                self._lost(batch, t_ms)
            self._frame(batch, t_ms)

    def _read_stamped(self, batch, t_ms):
        import time

        offset_ms = t_ms - time.time_ns() // 1_000_000
        into, s = self._into, self._socket
        while not batch.full():
            count, told, _, _ = s.recvmsg_into(into, 128)
            stamp_ms = t_ms
            for level, kind, data in told:
                if level != SOL_SOCKET:
                    continue
                if kind == SO_TIMESTAMPNS and len(data) >= 16:
                    seconds, ns = struct.unpack_from("qq", data)
                    stamp_ms = seconds * 1000 + ns // 1_000_000 + offset_ms
                    if stamp_ms > t_ms or stamp_ms < t_ms - L.HALF:  # the time of day was set in between
                        stamp_ms = t_ms
                elif kind == SO_RXQ_OVFL:
                    overflows = struct.unpack_from("I", data)[0]
                    self._lost(batch, batch.ordered(stamp_ms & L.MASK), (overflows - self._overflows) & 0xFFFFFFFF)
                    self._overflows = overflows
            if count not in (FRAME, FD_FRAME):
                return
            self._frame(batch, batch.ordered(stamp_ms & L.MASK))

    def _frame(self, batch, t_ms):
        raw = self._buffer
        number = identifier(raw, _BIG)
        if number >= 0:
            batch.put(t_ms, number, self.channel, raw, 8, raw[4])
            if self.state == OFF:
                self._is(ACTIVE, batch, t_ms)
        elif number == _ERROR_FRAME:
            self._told(struct.unpack_from("I", raw)[0], raw[9], batch, t_ms)

    def _told(self, kind, controller, batch, t_ms):
        """An error frame. kind: its classes; controller: what it says of the controller."""
        self.errors += 1
        if kind & ERR_BUSOFF:
            self._is(OFF, batch, t_ms)
            return
        if kind & ERR_CRTL:
            if controller & CRTL_RX_OVERFLOW:
                self._lost(batch, t_ms)
            if controller & CRTL_PASSIVE:
                self._is(PASSIVE, batch, t_ms)
            elif controller & CRTL_WARNING:
                self._is(WARNING, batch, t_ms)
            elif controller & CRTL_ACTIVE:
                self._is(ACTIVE, batch, t_ms)
        if kind & ERR_RESTARTED:
            self._is(ACTIVE, batch, t_ms)

    def _send(self, can_id, data):
        number = (can_id & 0x1FFFFFFF) | EFF if can_id & L.EXT else can_id
        frame = struct.pack("IB3x8s", number, len(data), bytes(data))
        try:
            return self._socket is not None and self._socket.send(frame) == FRAME
        except OSError:
            self.errors += 1
            return False

    def begin(self):
        self.close()
        self._open()

    def close(self):
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def queue_frames():
    """How many frames the socket's queue takes, nearly."""
    with open("/proc/sys/net/core/rmem_max") as file:
        return 2 * min(QUEUE_BYTES, int(file.read())) // QUEUED_BYTES - 8


def packed_filters(filters):
    """struct can_filter each; remote frames do not pass. No filter at all lets nothing through."""
    packed = b""
    for can_id, mask, extended in filters:
        packed += struct.pack("II", can_id | (EFF if extended else 0), mask | EFF | RTR)
    return packed


@micropython.viper
def identifier(raw: ptr8, big: int) -> int:
    """That of a struct can_frame, with layout.EXT set for 29 bits; or less than 0: -1 remote, -2 error frame."""
    top = int(raw[0]) if big else int(raw[3])
    flags = top >> 5
    if flags & 3:
        return -2 if flags & 1 else -1
    number = top & 31
    if big:
        number = number << 24 | int(raw[1]) << 16 | int(raw[2]) << 8 | int(raw[3])
    else:
        number = number << 24 | int(raw[2]) << 16 | int(raw[1]) << 8 | int(raw[0])
    if flags & 4:
        number |= 0x20000000
    return number
