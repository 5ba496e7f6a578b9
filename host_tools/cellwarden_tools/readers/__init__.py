"""Logs of every kind as one stream of frames, with an account of every record.

    log = open_log("drive.log.xz")
    for t_us, channel, can_id, data in log: ...
    log.account

t_us is whole microseconds on the log's own clock. can_id is the 11-bit identifier, or the 29-bit one with bit 29 (EXT)
set. channel is text as the log has it. data is bytes, 0..8, or 0..64 in CAN FD.

An error frame that says that frames were lost, or that the bus went off or came back, comes as a notice: can_id is
NOTICE with the kind (cellwarden.core.layout), data its one byte of value; `can_id >> 30` tells it from a frame.
"""

import importlib
from pathlib import PurePath

from ..errors import InputError, did_you_mean
from .account import EXT, Account
from .source import PACKED, Source, nothing, seems

__all__ = ["EXT", "FORMATS", "Account", "Log", "open_log"]

# name: (suffixes, what it is); each is the module of the same name, imported when a log of its kind is opened
FORMATS = {
    "candump": ((".log",), "candump -L / -l text"),
    "savvycan": ((".csv",), "SavvyCAN / GVRET CSV, told by its header"),
    "csv": ((".csv",), "any CSV with columns for time, id and data, told by its header"),
    "asc": ((".asc",), "Vector ASCII"),
    "trc": ((".trc",), "PCAN trace 1.0 to 2.1"),
    "blf": ((".blf",), "Vector binary"),
    "mf4": ((".mf4",), "ASAM MDF 4 bus logging (needs asammdf)"),
    "parquet": ((".parquet",), "Parquet by `cellwarden convert` (needs pyarrow)"),
    "table": ((), "a recorded table, CSV or Parquet, as the profile's [table] says"),
}
TABLES = ("csv", "savvycan", "parquet")  # formats whose suffix a table can have too
FRAME_BYTES = {"blf": 14, "mf4": 30, "parquet": 10}  # in a file, about; 45 in text


class Log:
    """A log opened for one reading. `account` is complete when the iteration has ended."""

    def __init__(self, path, format, source, option):
        self.path, self.format, self.account = str(path), format, Account()
        # option: include_tx, or of a table what [table] says
        self._source, self._option, self._read = source, option, False

    @property
    def position(self):
        """Bytes of the file read so far."""
        return self._source.position

    @property
    def frames_about(self):
        """How many frames the log may hold by its size, to within some times; None for a pipe."""
        size = self._source.file_bytes
        if size is None:
            return None
        plain = 10 if self._source.packed else 1  # times that a log shrinks
        if self.format == "table":  # in plain Python a scan, every 100 ms, costs as much as ten frames
            row = self._option
            return size * plain // (6 * len(row["columns"])) * (len(row["messages"]) + row["period_ms"] // 10)
        return size * plain // FRAME_BYTES.get(self.format, 45)

    def __iter__(self):
        return self._once(lambda reader, *given: reader.frames(*given))

    def blocks(self):
        """The same frames in columns (blocks.Block), for which numpy is needed: to be read instead of one by one."""
        from .blocks import from_frames

        def read(reader, *given):
            return reader.columns(*given) if hasattr(reader, "columns") else from_frames(reader.frames(*given))

        return self._once(read)

    def _once(self, read):
        if self._read:
            raise ValueError("a log is read once; open it again")
        self._read = True
        return self._all(read)

    def _all(self, read):
        account, source = self.account, self._source
        try:
            reader = importlib.import_module(f".{self.format}", __package__)
            yield from read(reader, source, account, self._option)
            if source.cut:
                account.cut = source.cut
            if account.fruitless:
                raise nothing(source, account)
        except OverflowError:
            what = "holds a time stamp of over 2^63 us, or over 65,536 channels"
            raise InputError(self.path, what, "stamps of this age") from None
        finally:
            self.close()

    def close(self):
        self._source.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


def open_log(path, format=None, include_tx=False, stream=None, table=None):
    """Open a log; the suffix says its format (a .gz, .xz or .zst behind it is seen through), for "-" its first bytes.

    path:       str or Path; "-" is standard input
    format:     a name of FORMATS, over the suffix
    include_tx: deliver frames that the log marks as sent by the tester, too
    stream:     a binary stream, read instead of the path
    table:      what a profile's [table] says (Profile.table), by which a recorded table is told from a log and read
    Raises InputError, here or while reading: nothing to read, a format unknown, or not one frame in it. Bad content
    among good is no error: it is in the account.
    """
    if format is not None and format not in FORMATS:
        mend = f"one of {', '.join(FORMATS)}{did_you_mean(format, FORMATS)}"
        raise InputError(path, f"no log format is called `{format}`", mend)
    if format == "table" and table is None:
        raise InputError(path, "is to be read as a table, but no [table] says how", mend="add [table] to the profile")
    name = None
    if format is None and str(path) != "-":
        name = by_suffix(path)
    source = Source(path, stream)
    try:
        found = by_head(source.head)
        if table and format is None and (name is None or name in TABLES) and _is_table(source, found, table):
            format = "table"
        if format is None and name is None:
            while found is None and source.more():
                found = by_head(source.head)
            if found is None:
                what = f"its format cannot be told; it seems to be {seems(source.head)}"
                raise InputError(path, what, f"one of {', '.join(FORMATS)}", "name the format (--format)")
            name = found
        elif name == "savvycan" and found != "savvycan":
            name = "csv"
    except BaseException:
        source.close()
        raise
    return Log(path, format or name, source, table if format == "table" else include_tx)


def _is_table(source, found, table):
    """Whether a CSV or Parquet file is a recorded table, where [table] says how that would look."""
    from . import table as tables

    if found == "parquet":
        return not (source.plain_file and tables.is_log(source.path))
    while b"\n" not in source.head and source.more(tables.LINE):
        pass
    return tables.fits(table, source.head) or (found is None and str(source.path) != "-")


def by_suffix(path):
    """The first format with the path's suffix. Raises InputError for a suffix unknown."""
    suffixes = [suffix.lower() for suffix in PurePath(path).suffixes]
    if suffixes and suffixes[-1] in PACKED:
        suffixes.pop()
    suffix = suffixes[-1] if suffixes else ""
    for name, (known, _) in FORMATS.items():
        if suffix in known:
            return name
    endings = sorted({known for names, _ in FORMATS.values() for known in names})
    what = f"the suffix `{suffix}` says no log format" if suffix else "a log without a suffix"
    expected = f"{', '.join(endings)}, or one of these with {', '.join(PACKED)}"
    raise InputError(path, what, expected, "rename it or name the format (--format)")


def by_head(head):
    """The format that the first bytes of a log show, or None."""
    from . import asc, candump, csv, savvycan, trc

    if head.startswith(b"LOGG"):
        return "blf"
    if head.startswith((b"MDF ", b"UnFinMF ")):
        return "mf4"
    if head.startswith(b"PAR1"):
        return "parquet"
    lines = head.decode("latin-1").removeprefix("\xef\xbb\xbf").split("\n")
    lines = [line.rstrip("\r") for line in lines[:50]]
    for name, module in (("savvycan", savvycan), ("trc", trc), ("asc", asc), ("csv", csv)):
        if module.looks(lines[0]):
            return name
    return "candump" if any(candump.looks(line) for line in lines) else None
