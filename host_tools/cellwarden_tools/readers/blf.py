"""Vector's binary log: a header, then objects, most of them packed in zlib containers.

Time is the header's start, taken as UTC, plus the object's stamp, as python-can has it; nanoseconds are rounded. No
specification is public; what is known comes from python-can and Vector_BLF.
"""

import contextlib
import struct
import zlib
from datetime import UTC, datetime

from ..errors import InputError
from .account import Reject, Skip, identifier
from .inflate import decompress
from .source import _feed_zlib, nothing

HEADER = struct.Struct(
    "<4sL8BQQLL16H"
)  # LOGG, size, versions, file size, unpacked size, objects, objects read, start, stop
BASE = struct.Struct("<4sHHLL")  # LOBJ, header size, header version, object size, type
STAMP = struct.Struct("<L4xQ")  # flags, stamp
CLASSIC = struct.Struct("<HBBL8s")  # channel, flags, length code, id, data
FD = struct.Struct("<HBBL4xBBB5x")  # channel, flags, length code, id, bit count, FD flags, bytes valid; data
FD64 = struct.Struct(
    "<BBBxL4xL18xBB4x"
)  # channel, length code, bytes valid, id, flags, direction, offset of more; data

CONTAINER = 10
UNCOUNTED = {115}  # restore points, which Vector's tools leave out of the header's count
ERRORS = {2, 73, 104}  # CAN_ERROR, CAN_ERROR_EXT, CAN_FD_ERROR_64
TEN_US = 1
MOST = 1 << 24  # bytes in one object; real ones hold some 128 kB
SMALL = 1 << 17  # bytes of a container that may be inflated in one go: zlib makes at most 1,032 of one
LITTLE = 1 << 10  # bytes not worth a call


def frames(source, account, include_tx=False):
    """Yield (t_us, channel, can_id, data) of a BLF log. Raises InputError without its header."""
    return _frames(source, account, include_tx)


def columns(source, account, include_tx=False):
    """The same frames as blocks.Block, and the same account."""
    try:
        from .blf_kernel import Rows
    except ImportError:
        from .blocks import from_frames

        yield from from_frames(frames(source, account, include_tx))
        return
    rows = Rows(account, include_tx)
    for frame in _frames(source, account, include_tx, rows.take):
        if block := rows.add(*frame):
            yield block
    if block := rows.block():
        yield block


def _frames(source, account, include_tx, take=None):
    """Yield the frames but those that `take(buffer, at, start_us)` takes before: blf_kernel.Rows.take."""
    head = source.head
    blocks = iter(source)
    next(blocks)
    while len(head) < HEADER.size and (block := next(blocks, b"")):
        head += block
    if not head.startswith(b"LOGG") or len(head) < HEADER.size:
        raise nothing(source, account, "no whole BLF header")
    _, size, *_, file_size, _, count, _ = HEADER.unpack_from(head)[:14]
    if not HEADER.size <= size <= 4096:
        raise InputError(source.path, f"the BLF header claims {size} bytes", "144")
    start_us = _start_us(HEADER.unpack_from(head)[14:22])
    while len(head) < size and (block := next(blocks, b"")):
        head += block

    read = 0

    def outer():
        nonlocal read
        read = len(head)
        yield head[size:]
        for block in blocks:
            read += len(block)
            if read > 2 * MOST and not account.frames and not account.skipped:
                raise nothing(source, account, f"no object in the first {read >> 20} MiB")
            yield block

    counted = 0

    def bulk(buffer, at):
        nonlocal counted
        at, taken = take(buffer, at, start_us)
        counted += taken
        return at

    unpacked = _unpacked(source, account, outer())
    for where, buffer, at, length, kind, whole in _objects(unpacked, source, account, "unpacked byte", take and bulk):
        if not whole:
            account.end(f"the log ends within an object ({where} of its content)")
            break
        account.total += 1
        counted += kind not in UNCOUNTED
        try:
            frame = _frame(buffer, at, length, kind, start_us, include_tx)
        except Skip as reason:
            account.skip(str(reason))
        except (Reject, struct.error) as error:
            reason = str(error) if isinstance(error, Reject) else "object too short for its type"
            account.reject(f"{source.path}:{where}", reason, buffer[at : at + min(length, 40)].hex())
        else:
            account.frames += 1
            yield frame
    if counted and not count:
        account.end("the header was never completed: the recorder did not close the log")
    elif counted < count:
        account.end(f"the header counts {count} objects, {counted} were read")
    elif read < file_size:
        account.end(f"the header says {file_size} bytes, there are {read}")


def _start_us(start):
    year, month, _, day, *clock, ms = start
    try:
        moment = datetime(year, month, day, *clock, tzinfo=UTC)
    except ValueError:
        return 0
    return int(moment.timestamp()) * 1_000_000 + ms * 1000


def _objects(blocks, source, account, unit, bulk=None):
    """Yield (where, buffer, start, length, type, whole) of each object in a stream of bytes.

    `whole` is False for one last object that is cut. Bytes that begin no object are rejected as one record.
    `bulk(buffer, at)` may take objects first: it gives the index behind them.
    """
    buffer, base, lost = b"", 0, False

    def gap(at):
        account.total += 1
        account.reject(
            f"{source.path}:{unit} {base + at}", "no object where one should begin", buffer[at : at + 11].hex()
        )

    for block in blocks:
        buffer += block
        at = 0
        while True:
            if bulk and not lost and len(block) >= LITTLE:
                at = bulk(buffer, at)
            found = buffer.find(b"LOBJ", at, at + 11)  # padding stands between objects
            if found < 0:
                if len(buffer) - at < 11:
                    break
                if not lost:
                    gap(at)
                found, lost = buffer.find(b"LOBJ", at), True
                if found < 0:
                    at = len(buffer) - 3
                    break
            at = found
            if len(buffer) - at < BASE.size:
                break
            _, _, _, length, kind = BASE.unpack_from(buffer, at)
            if not BASE.size <= length <= MOST:
                if not lost:
                    gap(at)
                lost, at = True, at + 4
                continue
            if len(buffer) - at < length:
                break
            lost = False
            yield f"{unit} {base + at}", buffer, at, length, kind, True
            at += length
        buffer, base = buffer[at:], base + at
    at = buffer.find(b"LOBJ")
    if at >= 0 and not lost:
        kind = BASE.unpack_from(buffer, at)[4] if len(buffer) - at >= BASE.size else 0
        yield f"{unit} {base + at}", buffer, at, len(buffer) - at, kind, False
    elif buffer.strip(b"\0") and not lost:
        yield f"{unit} {base}", buffer, 0, len(buffer), 0, False


def _unpacked(source, account, blocks):
    """The objects' bytes out of their containers. An object outside a container passes as it is."""
    for where, buffer, at, length, kind, whole in _objects(blocks, source, account, "byte"):
        if not whole:
            account.end(f"the file ends within an object ({where})")
        if kind != CONTAINER:
            if whole:
                yield buffer[at : at + length]
            continue
        body = buffer[at + BASE.size + 16 : at + length]
        method = buffer[at + BASE.size] if length > BASE.size else 0
        if method == 0:
            yield body
            continue
        if method == 2 and (plain := _inflated(body, buffer[at + 24 : at + 28])):
            yield plain
            continue
        codec = zlib.decompressobj()
        try:
            if method != 2:
                raise zlib.error
            yield from _feed_zlib(codec, body)
            if whole and not codec.eof:
                raise zlib.error
        except zlib.error:
            if whole or method != 2:
                account.total += 1
                account.reject(f"{source.path}:{where}", "damaged container" if method == 2 else "unknown compression")


def _inflated(body, claimed):
    """A container's content in one go, which is faster than in parts; None for one that is large or damaged."""
    if len(body) <= SMALL:
        size = min(int.from_bytes(claimed, "little"), MOST)
        with contextlib.suppress(Exception):  # zlib's or isal's own
            return decompress(body, bufsize=size or 1)
    return None


def _frame(buffer, at, length, kind, start_us, include_tx):
    """The frame in an object. Raises Skip, Reject, or struct.error for an object too short."""
    _, header, version, _, _ = BASE.unpack_from(buffer, at)
    if version not in (1, 2):
        raise Reject("unknown version of an object header")
    body, end = at + header, at + length
    if not 32 <= header <= length:
        raise Reject("object header of impossible size")
    flags, stamp = STAMP.unpack_from(buffer, at + BASE.size)
    t_us = start_us + (stamp * 10 if flags == TEN_US else (stamp + 500) // 1000)

    if kind in (1, 86):
        if end - body < CLASSIC.size:
            raise Reject("object too short for its type")
        channel, flags, size, can_id, data = CLASSIC.unpack_from(buffer, body)
        remote, sent = flags & 0x80, flags & 1
        if size > 15:
            raise Reject("length code over 15")
        data = data[:size]
    elif kind == 100:
        if end - body < FD.size:
            raise Reject("object too short for its type")
        channel, flags, _, can_id, _, _, size = FD.unpack_from(buffer, body)
        remote, sent = flags & 0x80, flags & 1
        data = buffer[body + FD.size : min(body + FD.size + size, end)]
    elif kind == 101:
        if end - body < FD64.size:
            raise Reject("object too short for its type")
        channel, _, size, can_id, flags, sent, more = FD64.unpack_from(buffer, body)
        remote = flags & 0x10
        data = buffer[body + FD64.size : min(body + FD64.size + size, at + more if more else end, end)]
        data = data.ljust(size, b"\0")  # CANoe leaves zeros at the end unwritten
    elif kind in ERRORS:
        raise Skip("error frame")
    else:
        raise Skip("event")
    if remote:
        raise Skip("remote frame")
    if kind >= 100 and (size > 64 or len(data) != size):
        raise Reject(f"length says {size} but {len(data)} bytes follow" if size <= 64 else "more than 64 bytes")
    can_id = identifier(can_id & 0x7FFFFFFF, bool(can_id >> 31))
    if t_us >= 1 << 63:
        raise Reject("time stamp of impossible size")
    if sent and not include_tx:
        raise Skip("transmitted")
    return t_us, str(channel), can_id, data
