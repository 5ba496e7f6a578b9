"""Our own columnar form of a log: Parquet, a row a record, in the log's order; docs/parquet.md describes it.

The account of the log it was made from stands in the file, so that reading gives the account the log gave. Any other
Parquet file is refused.
"""

import contextlib
import hashlib
import json
from collections import Counter
from typing import NamedTuple

from cellwarden.core.layout import NOTICE

from ..errors import InputError
from .account import EXT, KINDS
from .source import nothing, on_disk

VERSION = 2  # 1 where there is no notice
KEY, KEY_SUM = b"cellwarden", b"cellwarden_sha256"  # what is told of the log, as JSON, and its checksum
NO_ID = -1  # the identifier in a row that is no frame
MORE = "a line that goes on"  # the reason in a row with more of the text of the row before; not a record
NARROW, WIDE = 8, 64


class Rows(NamedTuple):
    """Some records of a log.

    block:  blocks.Block, a row a record; of one that is no frame the identifier is NO_ID and the time that of the
            frame before it
    sent:   bool (n,), by the tester
    form:   uint16 (n,), how candump's line departs from the usual (candump_rows)
    reason: {row: why it is no frame}
    text:   {row: bytes of the line with its end}, where form cannot say it
    """

    block: object
    sent: object
    form: object
    reason: dict
    text: dict


def schema():
    """The columns, as a pyarrow schema."""
    import pyarrow as arrow

    kinds = {
        "t_us": arrow.int64(),
        "channel": arrow.dictionary(arrow.int32(), arrow.string()),
        "can_id": arrow.int32(),
        "extended": arrow.bool_(),
        "length": arrow.uint8(),
        "data": arrow.binary(NARROW),
        "more": arrow.binary(WIDE - NARROW),
        "sent": arrow.bool_(),
        "reason": arrow.dictionary(arrow.int32(), arrow.string()),
        "form": arrow.uint16(),
        "text": arrow.binary(),
    }
    return arrow.schema([arrow.field(name, kind, name in ("more", "reason", "text")) for name, kind in kinds.items()])


def frames(source, account, include_tx=False):
    """Yield (t_us, channel, can_id, data) of a log that `cellwarden convert` wrote."""
    for block in columns(source, account, include_tx):
        yield from block.rows()


def columns(source, account, include_tx=False):
    """Yield a blocks.Block of each group of rows. Raises InputError for a file damaged or not ours."""
    with opened(source) as (file, told):
        for block, column in _blocks(file, told, source.path):
            account.total += len(block)
            wanted = None
            if (reason := column("reason")) is not None:
                wanted = _truth(reason.is_null())
            if not include_tx and (sent := column("sent")) is not None:
                wanted = ~_truth(sent) if wanted is None else wanted & ~_truth(sent)
            if wanted is not None:
                block = part(block, wanted)
            account.frames += len(block)
            account.notices += _notices(block)
            if len(block):
                yield block
        settle(account, told, source.path, include_tx)


def rows(source, account, told):
    """Yield Rows of each group, frames sent included, and fill the dict `told`: what the file says of its log."""
    import numpy

    with opened(source) as (file, found):
        told.update(found)
        for block, column in _blocks(file, told, source.path):
            n = len(block)
            sent, form = column("sent"), column("form")
            sent = numpy.zeros(n, bool) if sent is None else _truth(sent)
            form = numpy.zeros(n, "u2") if form is None else _numbers(form, "u2")
            some = Rows(block, sent, form, _sparse(column("reason")), _sparse(column("text")))
            account.frames += n - len(some.reason) - int(sent.sum())
            account.notices += _notices(block)
            account.total += n
            yield some
        settle(account, told, source.path, False)


def _notices(block):
    return int((block.can_id & KINDS == NOTICE).sum())


def _sparse(column):
    """{row: value} of what is not null."""
    if column is None:
        return {}
    return dict(zip(_truth(column.is_valid()).nonzero()[0].tolist(), column.drop_null().to_pylist(), strict=True))


def part(block, wanted):
    """Those rows of a Block that a slice or a column of truth values names."""
    return type(block)(*(column[wanted] for column in block[:5]), block.channels)


def cut(rows, first, end):
    """Rows from first to end."""

    def of(told):
        return {at - first: value for at, value in told.items() if first <= at < end}

    some = slice(first, end)
    return Rows(part(rows.block, some), rows.sent[some], rows.form[some], of(rows.reason), of(rows.text))


def settle(account, told, path, include_tx):
    """Make the account that of the log the file was made from. Raises InputError when the rows say otherwise."""
    given = told["account"]
    transmitted = given["skipped"].get("transmitted", 0)
    if account.frames != given["frames"] + transmitted * bool(include_tx):
        what = f"{account.frames} frames in the rows where {given['frames']} were written"
        raise damaged(path, what)
    account.total, account.cut = given["total"], account.cut or given["cut"]
    account.skipped, account.rejected = Counter(given["skipped"]), Counter(given["rejected"])
    if include_tx:
        account.skipped.pop("transmitted", None)
    name = (told["source"] or {}).get("name", path)
    account.rejections = [(f"{name}:{place}", reason, excerpt) for place, reason, excerpt in given["rejections"]]


@contextlib.contextmanager
def opened(source):
    """(pyarrow ParquetFile, what it tells of its log) of a source of Parquet bytes."""
    if not source.head.startswith(b"PAR1"):
        raise nothing(source, _nobody(), "no frame in it, for it is no Parquet file")
    try:
        import numpy  # noqa: F401
        import pyarrow.parquet as parquet
    except ImportError:
        raise InputError(source.path, "Parquet needs pyarrow", mend="pip install cellwarden[parquet]") from None
    with contextlib.ExitStack() as stack:
        name = stack.enter_context(on_disk(source))
        if source.cut:
            raise damaged(source.path, source.cut)
        metadata = guarded(source.path, parquet.read_metadata, name)
        told = _told(metadata, source.path)
        file = guarded(source.path, _open, parquet, name, metadata)
        stack.callback(file.close)
        if not guarded(source.path, lambda: file.schema_arrow).equals(schema()):
            raise damaged(source.path, "its columns are not those it was written with")
        yield file, told


def _nobody():
    from .account import Account

    return Account()


def _open(parquet, name, metadata):
    return parquet.ParquetFile(
        name,
        metadata=metadata,
        read_dictionary=["channel", "reason"],
        page_checksum_verification=True,
        pre_buffer=False,
    )


def guarded(path, call, *given, mend="copy it or convert the log again"):
    """`call(*given)`; what pyarrow raises becomes one line."""
    fault = None
    try:
        return call(*given)
    except Exception as error:  # a damaged file makes pyarrow raise errors of many kinds
        fault = " ".join(str(error).split())[:120] or type(error).__name__
    raise damaged(path, fault, mend)


def damaged(path, what, mend="copy it or convert the log again"):
    """The InputError for a Parquet file that is not whole."""
    return InputError(
        path,
        f"is a Parquet file that is cut off or damaged ({what})",
        "a whole file",
        mend,
    )


def _told(metadata, path):
    """What a file of ours says of its log. Raises InputError for any other."""
    told = (metadata.metadata or {}).get(KEY)
    if told is None:
        names = ", ".join(guarded(path, lambda: metadata.schema.names)[:6])
        what = f"is a Parquet file of another kind (its columns: {names})"
        raise InputError(path, what, "a log that `cellwarden convert` wrote")
    if hashlib.sha256(told).hexdigest().encode() != metadata.metadata.get(KEY_SUM):
        raise damaged(path, "its account does not fit its checksum")
    told = json.loads(told)
    if not 1 <= told["version"] <= VERSION:
        what = f"holds a log in version {told['version']} of our Parquet form, by {told['written_by']}"
        raise InputError(path, what, f"version 1 or {VERSION}", "update cellwarden")
    sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    if sizes != [counts["rows"] for counts in told["groups"]]:
        raise damaged(path, "its row groups are not those it was written with")
    return told


def _blocks(file, told, path):
    """(Block, column) of each row group; column(name) reads another column, or is None where nothing is in it.

    Channels are numbered through. A row group's counts say which columns have anything to read.
    """
    import numpy

    from .blocks import Block

    channels, numbers = [], {}
    for group, counts in enumerate(told["groups"]):
        n = counts["rows"]

        def read(names, group=group, n=n):
            table = guarded(path, file.read_row_group, group, names, None, False)
            if len(table) != n:
                raise damaged(path, f"{len(table)} rows where {n} were written in row group {group}")
            return [table[name].combine_chunks() for name in names]

        def column(name, read=read, counts=counts):
            return read([name])[0] if counts.get(name) else None

        some = [name for name in ("extended", "more") if counts.get(name) and counts[name] < n]
        t_us, channel, can_id, length, data, *some = read(["t_us", "channel", "can_id", "length", "data", *some])
        t_us, can_id, length = _numbers(t_us, "i8"), _numbers(can_id, "i4"), _numbers(length, "u1")
        names, bus = channel.dictionary.to_pylist(), channel.indices.to_numpy()
        mine = numpy.zeros(max(len(names), 1), "u2")
        for at in numpy.unique(bus[can_id != NO_ID]) if counts.get("reason") else range(len(names)):
            name = names[at]
            if name not in numbers:
                if len(channels) > 0xFFFF:
                    raise InputError(path, "has more than 65536 channels", "a log of some buses")
                numbers[name] = len(channels)
                channels.append(name)
            mine[at] = numbers[name]
        data = _bytes(data, NARROW)
        if counts.get("extended"):
            can_id = can_id | (EXT if counts["extended"] == n else _truth(some.pop(0)) * numpy.int32(EXT))
        if counts.get("more"):
            more = some.pop(0) if some else column("more")
            data = numpy.hstack([data, _bytes(more.fill_null(bytes(WIDE - NARROW)), WIDE - NARROW)])
        other = (can_id < NO_ID) | (can_id >= 2 * EXT)
        if length.max() > data.shape[1] or (other & (can_id & KINDS != NOTICE)).any():
            raise damaged(path, f"an identifier or a length that no bus carries in row group {group}")
        yield Block(t_us, mine[bus], can_id, length, data, channels), column


def _truth(bits):
    """A column of truth values as a NumPy array."""
    return bits.to_numpy(zero_copy_only=False)


def _numbers(column, kind):
    """A column without nulls as a NumPy array, not copied."""
    import numpy

    return numpy.frombuffer(column.buffers()[1], kind)[column.offset : column.offset + len(column)]


def _bytes(column, width):
    """A column of `width` bytes a row as uint8 (n, width), not copied."""
    return _numbers(column, f"V{width}").view("u1").reshape(-1, width)
