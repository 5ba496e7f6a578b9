"""ASAM MDF 4 with bus logging (groups of CAN_DataFrame), through asammdf; blocks of records in bounded memory.

Time is the file's start plus the record's stamp, as python-can has it, rounded to microseconds.
"""

import contextlib
import gc
import heapq
import logging
import sys

from ..errors import InputError
from .account import Reject, Skip, identifier
from .source import nothing, spooled

RECORDS = 1 << 14  # read at a time
FRAME = "CAN_DataFrame"
OTHER = {"CAN_ErrorFrame": "error frame", "CAN_RemoteFrame": "remote frame"}


def frames(source, account, include_tx=False):
    """Yield (t_us, channel, can_id, data) of an MF4 log by time.

    Raises InputError without asammdf and for a file it cannot open.
    """
    if not source.head.startswith((b"MDF ", b"UnFinMF ")):
        raise nothing(source, account, "no MDF file")
    try:
        import asammdf
    except ImportError:
        raise InputError(source.path, "MF4 logs need asammdf", mend="pip install cellwarden[mf4]") from None
    unfinished = source.head.startswith(b"UnFinMF")
    with contextlib.ExitStack() as stack:
        name = source.path
        if not source.plain_file:
            name = stack.enter_context(spooled(source)).name
            if source.cut:
                account.end(source.cut)
        with _quiet():
            fault = None
            try:
                mdf = stack.enter_context(asammdf.MDF(name))
                start_us = round(mdf.header.start_time.timestamp() * 1e6)
                groups = list(_groups(mdf, account))
            except Exception as error:  # whatever a damaged file makes asammdf stumble over
                fault = " ".join(str(error).split())[:80] or type(error).__name__
            if fault:
                gc.collect()  # the half-made object complains in its destructor: here, where nobody listens
        if fault:
            what = f"cannot be opened as MF4 ({fault}): it is cut off, damaged or not MDF 4"
            raise InputError(source.path, what, "a whole MDF 4 file", "copy or finalise it again")
        streams = [_frames(mdf, at, start_us, source, account, include_tx) for at in groups]
        yield from heapq.merge(*streams, key=lambda frame: frame[0])
    if unfinished:
        account.end("the recorder did not finalise the file, so its last frames may be missing")


@contextlib.contextmanager
def _quiet():
    """Keep asammdf's own tracebacks from the user: it prints them, logs them, and fails once more in its destructor."""
    log, hook = logging.getLogger("asammdf"), sys.unraisablehook
    before, log.disabled, sys.unraisablehook = log.disabled, True, lambda unraisable: None
    try:
        with contextlib.redirect_stdout(None):
            yield
    finally:
        log.disabled, sys.unraisablehook = before, hook


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


def _frames(mdf, at, start_us, source, account, include_tx):
    count, number = mdf.groups[at].channel_group.cycles_nr, 0
    for records in _blocks(mdf, at, 0, count):
        for frame in _rows(records, start_us):
            number += 1
            try:
                yield _frame(*frame, include_tx)
                account.frames += 1
            except Skip as reason:
                account.skip(str(reason))
            except Reject as reason:
                account.reject(f"{source.path}:group {at} record {number}", str(reason), str(frame))
    if number < count:
        account.rejected["cut off"] += count - number
        account.end(f"group {at} counts {count} records, {number} could be read")


def _blocks(mdf, at, first, count):
    """Records in blocks until one cannot be read; a block that fails is tried again by halves, down to one record."""
    while count:
        wanted = min(count, RECORDS)
        while True:
            try:
                with _quiet():
                    records = mdf.get(FRAME, group=at, record_offset=first, record_count=wanted, raw=True)
                break
            except Exception:  # the last block of a cut file: some of its records may still be whole
                wanted //= 2
                if not wanted:
                    return
        have = len(records.samples)
        if not have:
            return
        yield records
        first, count = first + have, count - have


def _rows(records, start_us):
    """(t_us, channel, id, extended, length, sent, data) of each record."""
    samples, names = records.samples, records.samples.dtype.names

    def column(name, otherwise):
        name = f"{FRAME}.{name}"
        return samples[name].tolist() if name in names else [otherwise] * len(samples)

    times = (records.timestamps * 1e6).round().astype("int64").tolist()
    data = samples[f"{FRAME}.DataBytes"]
    width = data.shape[1] if data.ndim == 2 else 1
    data = data.tobytes()
    lengths = column("DataLength", None)
    if lengths[0] is None:
        lengths = column("DLC", 0)
    columns = zip(
        times,
        column("BusChannel", ""),
        column("ID", 0),
        column("IDE", None),
        lengths,
        column("Dir", 0),
        column("RTR", 0),
        range(0, width * len(samples), width),
        strict=True,
    )
    for time, channel, can_id, extended, length, way, remote, start in columns:
        row = data[start : start + min(length, width)]
        yield start_us + time, str(channel), can_id, extended, length, way in (1, b"Tx", "Tx"), remote, row


def _frame(t_us, channel, can_id, extended, length, sent, remote, data, include_tx):
    """The frame of one record. Raises Skip or Reject."""
    if remote:
        raise Skip("remote frame")
    number = can_id & 0x7FFFFFFF
    if extended is None:
        extended = can_id >> 31 or number > 0x7FF
    if length > 64 or len(data) != length:
        raise Reject(f"length says {length} but {len(data)} bytes follow")
    can_id = identifier(number, bool(extended))
    if sent and not include_tx:
        raise Skip("transmitted")
    return t_us, channel, can_id, data
