"""Recorded tables (CSV, Parquet: one row a sample), as the profile's [table] says what is in them.

A row gives one frame of each message that compiler/table.py made for it, all of the row's time. Each value is the text
in the table (Parquet's too, as Arrow writes it), so that both kinds of file are read by one function. What is empty, no
number, a sentinel or out of range is no value: the raw value of all ones.
"""

import contextlib
import csv
import re
import struct
import zoneinfo
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from itertools import islice
from math import floor
from operator import itemgetter

from ..errors import InputError, did_you_mean
from .account import Reject
from .source import nothing, on_disk, pieces

CHANNEL = "table"
FORMATS = ("iso", "s", "ms", "us")  # of the time column; anything with a % is a pattern of strptime's
WIDTHS = {1: 8, 2: 16, 4: 29}  # bytes of a signal: its bits; of 4 bytes the decoder can bear 29
CODES = {1: "B", 2: "H", 4: "I"}
FRAME = 64  # bytes a message takes in a packed row
ROWS = 1 << 10  # in a block
LINE = 1 << 16  # bytes of a line at most
PATIENCE = 1 << 19  # bytes without a single row before a table is given up
MEND = "copy it again"  # where a Parquet file is damaged
KEPT = 1 << 16  # texts remembered for each kind of value
EMPTY = {"", "nan", "nat", "null", "none", "na", "n/a", "-", "--", "\\n"}  # in small letters: no value was written

NUMBER = re.compile(r"[+-]?(\d{1,20}(\.\d{0,40})?|\.\d{1,40})([eE][+-]?\d{1,3})?", re.ASCII)
DATE = re.compile(
    r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})[ T]+(\d{1,2}):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?\s?(Z|[+-]\d\d:?\d\d)?",
    re.ASCII,
)
FRACTION = re.compile(r"-?\d+(/\d+)?", re.ASCII)  # a number as spelling() writes it
MICROSECOND = timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1)


def no_value(size):
    """The raw value of a signal of `size` bytes that has no value: all ones."""
    return (1 << WIDTHS[size]) - 1


def spelling(text):
    """A value in one spelling: a number as a fraction, other text in small letters."""
    text = text.strip()
    return str(Fraction(text)) if NUMBER.fullmatch(text) else text.casefold()


def zone_of(name):
    """The tzinfo of "Asia/Shanghai", "UTC" or "+08:00". Raises ValueError for any other text."""
    if name in ("UTC", "Z"):
        return UTC
    if match := re.fullmatch(r"([+-])(0\d|1[0-4]):?([0-5]\d)", name):
        offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
        return timezone(-offset if match[1] == "-" else offset)
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, OSError):  # OSError: a folder of zones
        raise ValueError("no zone") from None


class Clock:
    """The texts of a time column as microseconds since 1970, or since whenever a table's own numbers count from.

    A time without a zone is in the profile's. Where clocks are set back, an hour comes twice: a time in it is taken for
    the one of the two that lies nearer to the row before, and for the earlier where no row is before.
    """

    def __init__(self, form, zone):
        self.form, self.zone, self.last = form, zone_of(zone), None
        self.unit = {"s": 10**6, "ms": 1000, "us": 1}.get(form)

    def __call__(self, text):
        """Microseconds. Raises Reject for a text that is no time in this form."""
        text = text.strip()
        if text.casefold() in EMPTY:
            raise Reject("no time")
        if self.unit:
            if not NUMBER.fullmatch(text):
                raise Reject("time is not a number")
            t_us = floor(Fraction(text) * self.unit)
        elif self.form == "iso":
            t_us = self.iso(text)
        else:
            try:
                moment = datetime.strptime(text, self.form)
            except ValueError:
                raise Reject(f"time is not written as {self.form}") from None
            t_us = self.absolute(moment.replace(tzinfo=None), moment.tzinfo)
        if abs(t_us) >> 62:
            raise Reject("time is over 2^62 us")
        self.last = t_us
        return t_us

    def iso(self, text):
        match = DATE.fullmatch(text)
        try:
            moment = datetime(*(int(part or 0) for part in match.groups()[:6])) if match else None
            zone = zone_of(match[8]) if match and match[8] else None
        except ValueError:  # no such day or offset
            moment = None
        if moment is None:
            raise Reject("time is not a date and time")
        return self.absolute(moment, zone) + int(((match[7] or "") + "000000")[:6])

    def absolute(self, moment, zone):
        zone = zone or self.zone
        since = (moment - EPOCH) // MICROSECOND
        first, second = (since - zone.utcoffset(moment.replace(fold=fold)) // MICROSECOND for fold in (0, 1))
        # In the hour that is left out when clocks are set forward, `second` is the earlier one, and means nothing.
        if second > first and self.last is not None and abs(second - self.last) < abs(first - self.last):
            return second
        return first


class Values(dict):
    """{text: raw value} of one kind of column, filled as texts come. unread: texts met that are no number."""

    def __init__(self, kind):
        super().__init__()
        self.name, self.none = kind["quantity"], no_value(kind["bytes"])
        self.invalid, self.codes, self.unread = set(kind["invalid"]), None, 0
        if "codes" in kind:
            self.codes, self.other = dict(kind["codes"]), kind["other"]
            self.texts = any(not FRACTION.fullmatch(value) for value in (*self.codes, *self.invalid))
        else:
            self.factor, self.offset = Fraction(kind["factor"]), Fraction(kind["offset"])
            self.low, self.high, self.base = kind["low"], kind["high"], kind["base"]
        self[None] = self.none

    def __missing__(self, text):
        told = text.strip()
        number = NUMBER.fullmatch(told)
        if told.casefold() in EMPTY:
            raw = self.none
        elif self.codes is not None and (number or self.texts or spelling(told) in self.codes):
            raw = self.code(spelling(told))
        elif not number:
            if spelling(told) in self.invalid:
                return self.none
            self.unread += 1
            return self.none
        else:
            raw = self.number(told)
        if len(self) < KEPT:
            self[text] = raw
        return raw

    def code(self, value):
        code = None if value in self.invalid else self.codes.get(value, self.other)
        return self.none if code is None else code

    def number(self, text):
        value = Fraction(text)
        if str(value) in self.invalid:
            return self.none
        value = floor(value * self.factor + self.offset + Fraction(1, 2))
        return value - self.base if self.low <= value <= self.high else self.none


class Layout:
    """What [table] says (compiler/table.py's mapping), ready to read rows with.

    columns: the names needed, the time's first; values: the Values of each other one
    """

    def __init__(self, told):
        self.told = told
        self.kinds = [Values(kind) for kind in told["kinds"]]
        self.columns = [told["time"], *(name for name, _ in told["columns"])]
        self.values = [self.kinds[kind] for _, kind in told["columns"]]
        self.clock = Clock(told["format"], told["timezone"])
        sizes = [told["kinds"][kind]["bytes"] for _, kind in told["columns"]]
        form, self.ids, self.lengths, at = "<", [], [], 0
        for can_id, count in told["messages"]:
            some = sizes[at : at + count]
            at += count
            self.ids.append(can_id)
            self.lengths.append(sum(some))
            form += "".join(CODES[size] for size in some) + f"{FRAME - sum(some)}x"
        self.pack = struct.Struct(form).pack

    def row(self, texts):
        """(t_us, packed messages) of the texts of one row, in the order of `columns`. Raises Reject."""
        t_us = self.clock(texts[0] or "")
        return t_us, self.pack(*[values[text] for values, text in zip(self.values, texts[1:], strict=True)])

    def frames(self, rows):
        """(t_us, channel, can_id, data) of rows as row() gives them."""
        places = [(can_id, FRAME * at, FRAME * at + n) for at, (can_id, n) in
                  enumerate(zip(self.ids, self.lengths, strict=True))]  # fmt: skip
        for t_us, data in rows:
            for can_id, first, end in places:
                yield t_us, CHANNEL, can_id, data[first:end]

    def blocks(self, rows):
        """The same as blocks.Block."""
        import numpy

        from .blocks import Block

        rows, many = iter(rows), len(self.ids)
        ids, lengths = numpy.array(self.ids, "i4"), numpy.array(self.lengths, "u1")
        while some := list(islice(rows, ROWS)):
            times, packed = zip(*some, strict=True)
            data = numpy.frombuffer(b"".join(packed), "u1").reshape(-1, FRAME)
            n = len(some)
            yield Block(numpy.repeat(numpy.array(times, "i8"), many), numpy.zeros(n * many, "u2"),
                        numpy.tile(ids, n), numpy.tile(lengths, n), data, [CHANNEL])  # fmt: skip

    def places(self, path, header):
        """The index of each needed column in a header. Raises InputError for one that is missing or there twice."""
        found = {}
        for at, name in enumerate(header):
            found.setdefault(name, []).append(at)
        missing = [name for name in self.columns if name.strip() not in found]
        if missing:
            more = f" (nor {len(missing) - 1} others)" if len(missing) > 1 else ""
            hint = did_you_mean(missing[0], [name for name in header if name]) or f"; it has {', '.join(header)[:120]}"
            raise InputError(path, f"no column `{missing[0]}`{more}{hint}", "the columns that [table] names")
        for name in self.columns:
            if len(found[name.strip()]) > 1:
                raise InputError(path, f"{len(found[name.strip()])} columns are called `{name}`", "each name once")
        return [found[name.strip()][0] for name in self.columns]

    def count_unread(self, account):
        """Note in the account the texts that were no numbers."""
        account.unread = {values.name: values.unread for values in self.kinds if values.unread}


def frames(source, account, told):
    """Yield (t_us, channel, can_id, data) of a table. Raises InputError for one that has no such columns."""
    layout = Layout(told)
    return layout.frames(_rows(source, account, layout))


def columns(source, account, told):
    """The same in blocks."""
    layout = Layout(told)
    return layout.blocks(_rows(source, account, layout))


def _rows(source, account, layout):
    kind = _parquet_rows if source.head.startswith(b"PAR1") else _csv_rows
    before_us, most_us = None, 1000 * layout.told["deadline_ms"]
    for row in kind(source, account, layout):
        account.frames += 1
        if before_us is not None and row[0] - before_us > most_us:
            account.gaps += 1
        before_us = row[0]
        yield row
    layout.count_unread(account)
    if not account.frames:
        raise _no_row(source, account, layout)


def _no_row(source, account, layout):
    """The InputError for a table of which not one row could be read."""
    reasons = ", ".join(f"{n} {reason}" for reason, n in account.rejected.most_common(3))
    what = f"no row of it can be read ({reasons or 'there is none'})"
    if account.rejections:
        what += f": {account.rejections[0][2]}"
    mend = "say how `time` is written (format)" if "time" in reasons else ""
    return InputError(source.path, f"{what}{'; ' + source.cut if source.cut else ''}", "rows as [table] says", mend)


# --- CSV --------------------------------------------------------------------------------------------------------------


def header_of(head, needed):
    """(names, delimiter, encoding, the line as it stands) of a table's first line: UTF-8, or what spreadsheets write.

    needed: names of columns, most of which are found in the right encoding
    """
    line = head.split(b"\n")[0].rstrip(b"\r").removeprefix(b"\xef\xbb\xbf")
    needed, best = {name.strip() for name in needed}, None
    for encoding in ("utf-8", "gb18030", "cp1252", "latin-1"):
        try:
            text = line.decode(encoding)
        except UnicodeDecodeError:
            continue
        delimiter = max(",;\t|", key=text.count)
        names = [name.strip() for name in _cells(text.rstrip(delimiter), delimiter)]
        found = len(needed.intersection(names))
        if best is None or found > best[0]:
            best = found, (names, delimiter, encoding, text)
        if encoding == "utf-8":
            break
    return best[1]


def _cells(line, delimiter):
    if '"' not in line:
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True))
    except csv.Error:
        raise Reject("a quotation mark without its fellow") from None


def fits(told, head):
    """Whether a table's first bytes have a header with the time's column and another one of [table]."""
    try:
        others = {name.strip() for name, _ in told["columns"]}
        names = set(header_of(head, {told["time"], *others})[0])
    except Reject:
        return False
    return told["time"].strip() in names and not others.isdisjoint(names)


def _csv_rows(source, account, layout):
    """Yield (t_us, packed messages) of each line that can be read. A line is a row, in quotation marks or not."""
    while b"\n" not in source.head and source.more(LINE):
        pass
    try:
        header, delimiter, encoding, title = header_of(source.head, layout.columns)
    except Reject as reason:
        raise InputError(f"{source.path}:1", f"the header has {reason}", "names of columns") from None
    if "\0" in title:
        raise nothing(source, account, "no table in it")
    places = layout.places(f"{source.path}:1", header)
    width, last, pick = len(header), max(places), itemgetter(*places)
    title = title.strip()

    def parse(line, whole):
        cells = _cells(line, delimiter)
        while len(cells) > width and not cells[-1].strip():
            cells.pop()
        if len(cells) != width:
            raise Reject(f"{len(cells)} columns where the header has {width}")
        if not whole and last == width - 1:
            raise Reject("cut off")  # the last value may have lost digits
        return layout.row(pick(cells))

    seen = 0
    for text, end, whole in pieces(source, account, longest=LINE):
        first = account.total + 1
        lines = text[:end].decode(encoding, "replace").split("\n")  # no second byte of a character is a line feed
        lines.pop()
        account.total += len(lines)
        for number, line in enumerate(lines, first):
            line = line.rstrip("\r")
            if not line.strip():
                account.skip("blank")
            elif line.removeprefix("\ufeff").strip() == title:
                account.skip("header")
            else:
                try:
                    row = parse(line, whole)
                except Reject as reason:
                    if not whole:
                        account.end(f"the last line (line {number}) is cut off")
                    account.reject(f"{source.path}:{number}", str(reason) if whole else "cut off", line)
                else:
                    yield row
        seen += end
        if seen > PATIENCE and not account.frames:
            raise _no_row(source, account, layout)


# --- Parquet ----------------------------------------------------------------------------------------------------------


def is_log(path):
    """Whether a Parquet file is a log that `cellwarden convert` wrote."""
    from . import parquet as logs

    try:
        from pyarrow.parquet import read_metadata
    except ImportError:
        return False  # whoever opens it says so
    try:
        return logs.KEY in (read_metadata(path).metadata or {})
    except Exception:  # damaged; whoever opens it says so
        return False


@contextlib.contextmanager
def _opened(source):
    """A pyarrow ParquetFile of a source of Parquet bytes."""
    from . import parquet as logs
    from .parquet import guarded

    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise InputError(source.path, "Parquet needs pyarrow", mend="pip install cellwarden[parquet]") from None
    with contextlib.ExitStack() as stack:
        name = stack.enter_context(on_disk(source))
        if source.cut:
            raise logs.damaged(source.path, source.cut, MEND)
        file = guarded(source.path, lambda: parquet.ParquetFile(name, page_checksum_verification=True), mend=MEND)
        stack.callback(file.close)
        if logs.KEY in (file.metadata.metadata or {}):
            what = "is a log of CAN frames in Parquet"
            raise InputError(source.path, what, "a recorded table", "say --format parquet")
        yield file


def _parquet_rows(source, account, layout):
    """Yield (t_us, packed messages) of each row that can be read."""
    from .parquet import guarded

    with _opened(source) as file:
        schema = guarded(source.path, lambda: file.schema_arrow, mend=MEND)
        places = layout.places(source.path, [name.strip() for name in schema.names])
        names = [schema.names[at] for at in places]
        if _is_time(schema.field(places[0]).type):
            layout.clock = Clock("iso", layout.told["timezone"])
        batches = file.iter_batches(ROWS, columns=list(dict.fromkeys(names)))
        while (batch := guarded(source.path, lambda: next(batches, None), mend=MEND)) is not None:
            texts = {name: _texts(source.path, name, batch.column(name)) for name in dict.fromkeys(names)}
            for row in zip(*[texts[name] for name in names], strict=True):
                account.total += 1
                try:
                    found = layout.row(row)
                except Reject as reason:
                    account.reject(f"{source.path}: row {account.total}", str(reason), str(row[0]))
                    continue
                yield found
            if source.plain_file:
                source.position = source.file_bytes * account.total // file.metadata.num_rows


def _is_time(kind):
    import pyarrow

    return pyarrow.types.is_temporal(kind)


def _texts(path, name, column):
    """A column as texts, None where it has no value."""
    import pyarrow
    from pyarrow import compute

    kind = column.type
    aware = pyarrow.types.is_timestamp(kind) and kind.tz is not None
    try:
        if aware:
            column = (
                compute.cast(column, pyarrow.timestamp("us"))
                if kind.tz == "UTC"
                else compute.cast(compute.cast(column, pyarrow.timestamp("us", "UTC")), pyarrow.timestamp("us"))
            )
        texts = compute.cast(column, pyarrow.string()).to_pylist()
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError, pyarrow.ArrowKeyError):
        raise InputError(path, f"column `{name}` holds {kind}", "numbers, texts or times") from None
    return [text and text + "Z" for text in texts] if aware else texts
