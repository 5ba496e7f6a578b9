"""ASAM MDF 4 with bus logging (groups of CAN_DataFrame), through asammdf; blocks of records in bounded memory.

Time is the file's start plus the record's stamp, as python-can has it, rounded to microseconds.
"""

import contextlib
import gc
import heapq

from ..errors import InputError
from .account import Reject, Skip, identifier
from .source import nothing, on_disk

FRAME = "CAN_DataFrame"
LATEST = 1 << 62  # microseconds: no time
OTHER = {"CAN_ErrorFrame": "error frame", "CAN_RemoteFrame": "remote frame"}


def frames(source, account, include_tx=False):
    """Yield (t_us, channel, can_id, data) of an MF4 log by time.

    Raises InputError without asammdf and for a file it cannot open.
    """
    with _groups_of(source, account) as groups:
        streams = [_frames(group, account, include_tx) for group in groups]
        yield from heapq.merge(*streams, key=lambda frame: frame[0])


def columns(source, account, include_tx=False):
    """The same frames as blocks.Block, and the same account."""
    with _groups_of(source, account) as groups:
        from .mf4_blocks import merged  # numpy is there when asammdf is

        yield from merged(groups, account, include_tx)


@contextlib.contextmanager
def _groups_of(source, account):
    """The groups of data frames in an MF4 log; the records of the others are skipped."""
    if not source.head.startswith((b"MDF ", b"UnFinMF ")):
        raise nothing(source, account, "no MDF file")
    try:
        import asammdf

        from .mf4_records import HELD, READ, Group, quiet
    except ImportError:
        raise InputError(source.path, "MF4 logs need asammdf", mend="pip install cellwarden[mf4]") from None
    unfinished = source.head.startswith(b"UnFinMF")
    with contextlib.ExitStack() as stack:
        name = stack.enter_context(on_disk(source))
        if source.cut:
            account.end(source.cut)
        with quiet():
            fault = None
            try:
                mdf = stack.enter_context(asammdf.MDF(name, process_bus_logging=False))  # it would read all first
                start_us = round(mdf.header.start_time.timestamp() * 1e6)
                numbers = list(_groups(mdf, account))
            except Exception as error:  # whatever a damaged file makes asammdf stumble over
                fault = " ".join(str(error).split())[:80] or type(error).__name__
            if fault:
                gc.collect()  # the half-made object complains in its destructor: here, where nobody listens
        if fault:
            what = f"cannot be opened as MF4 ({fault}): it is cut off, damaged or not MDF 4"
            raise InputError(source.path, what, "a whole MDF 4 file", "copy or finalise it again")
        ahead = min(READ, HELD // max(len(numbers), 1))
        file = None if unfinished else stack.enter_context(open(name, "rb"))
        yield [Group(mdf, at, start_us, ahead, file, source.path, account) for at in numbers]
    if unfinished:
        account.end("the recorder did not finalise the file, so its last frames may be missing")


def _groups(mdf, account):
    """Numbers of the groups that hold data frames; the records of others are skipped."""
    for at, group in enumerate(mdf.groups):
        names = {channel.name for channel in group.channels}
        records = group.channel_group.cycles_nr
        if not names or not records:
            continue
        account.total += records
        if FRAME in names:
            yield at
        else:
            account.skipped[next((reason for name, reason in OTHER.items() if name in names), "event")] += records


def _frames(group, account, include_tx):
    for part in group.parts():
        for number, row in enumerate(_rows(part), part.number):
            try:
                yield _frame(*row, include_tx)
                account.frames += 1
            except Skip as reason:
                account.skip(str(reason))
            except Reject as reason:
                account.reject(group.place(number), str(reason), str(row))


def _rows(part):
    """(t_us, channel, id, extended, length, sent, remote, data, invalid) of each record."""

    def column(name, otherwise):
        return part.fields[name].tolist() if name in part.fields else [otherwise] * len(part)

    width, data = part.data.shape[1], part.data.tobytes()
    columns = zip(
        part.t_us.tolist(),
        column("BusChannel", ""),
        column("ID", None),
        column("IDE", None),
        column("DataLength" if "DataLength" in part.fields else "DLC", 0),
        column("Dir", 0),
        column("RTR", 0),
        [number * width for number in range(len(part))],
        [False] * len(part) if part.invalid is None else part.invalid.tolist(),
        strict=True,
    )
    for t_us, channel, can_id, extended, length, way, remote, start, invalid in columns:
        row = data[start : start + max(min(length, width), 0)] if isinstance(length, int) else b""
        yield t_us, str(channel), can_id, extended, length, way in (1, b"Tx", "Tx"), remote, row, invalid


def _frame(t_us, channel, can_id, extended, length, sent, remote, data, invalid, include_tx):
    """The frame of one record. Raises Skip or Reject."""
    if invalid:
        raise Skip("marked invalid")
    if remote:
        raise Skip("remote frame")
    if not isinstance(can_id, int) or not isinstance(length, int):
        raise Reject("no identifier or no length")
    number = can_id & 0x7FFFFFFF
    if extended is None:
        extended = can_id >> 31 or number > 0x7FF
    if length > 64 or len(data) != length:
        raise Reject(f"length says {length} but {len(data)} bytes follow")
    can_id = identifier(number, bool(extended))
    if t_us == LATEST:
        raise Reject("time stamp of impossible size")
    if sent and not include_tx:
        raise Skip("transmitted")
    return t_us, channel, can_id, data
