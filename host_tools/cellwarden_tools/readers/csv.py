"""CSV of any tool that has columns for time, identifier and data. The header says which; see COLUMNS.

Time is seconds (a unit in the name counts: _ms, (us), [ns]) or a date and time, UTC where it names no zone. Identifiers
and data are hexadecimal, except in a column called ..._dec and in python-can's own CSV, whose data is base64. Without a
column that says extended, an identifier over 0x7FF is.
"""

import base64
import binascii
import csv
import re
from datetime import UTC, datetime

from ..errors import InputError
from .account import Reject, Skip, identifier
from .source import LINE
from .source import frames as text_frames

# what a column is for: the names it goes by, in small letters, blanks and signs as "_"
COLUMNS = {
    "time": {"timestamp_utc", "timestamp", "timestamps", "time", "t", "time_stamp", "timestampepoch", "datetime",
             "date_time"},
    "id": {"can_id_hex", "can_id", "canid", "id", "id_hex", "arbitration_id", "identifier", "arb_id", "message_id",
           "msg_id", "id_dec", "can_id_dec"},
    "data": {"data_hex", "data", "payload", "payload_hex", "data_bytes", "databytes", "bytes"},
    "channel": {"bus", "channel", "interface", "iface", "port", "buschannel", "bus_channel"},
    "way": {"direction", "dir", "rx_tx", "rxtx"},
    "length": {"dlc", "len", "length", "data_length", "datalength", "size"},
    "extended": {"is_extended", "extended", "is_extended_id", "ide", "ext"},
    "remote": {"is_remote", "remote", "rtr", "is_remote_frame"},
    "error": {"is_error", "error", "is_error_frame"},
}  # fmt: skip
NEEDED = ("time", "id", "data")
UNITS = {"ns": -3, "us": 0, "ms": 3, "s": 6, "sec": 6, "seconds": 6}
PYTHON_CAN = "timestamp,arbitration_id,extended,remote,error,dlc,data"
TRUTH = {"t": True, "true": True, "1": True, "yes": True, "y": True, "x": True,
         "f": False, "false": False, "0": False, "no": False, "n": False, "": False}  # fmt: skip
WAYS = {
    "rx": False,
    "r": False,
    "receive": False,
    "received": False,
    "tx": True,
    "t": True,
    "transmit": True,
    "transmitted": True,
}
LENGTH_OF = (*range(9), 12, 16, 20, 24, 32, 48, 64)  # by CAN FD length code

NUMBER = re.compile(r"(\d{1,15})(?:\.(\d{1,12}))?", re.ASCII)
DATE = re.compile(r"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?(Z|[+-]\d\d:?\d\d)?", re.ASCII)


def looks(line):
    """Whether a line of text is a header that can be understood."""
    return set(NEEDED) <= _columns(line)[1].keys()


def frames(source, account, include_tx=False):
    """Yield (t_us, channel, can_id, data) of a CSV log. Raises InputError for a header that lacks a column needed."""
    header = source.head.decode("latin-1").removeprefix("\xef\xbb\xbf").split("\n")[0].strip()
    delimiter, columns, unit = _columns(header)
    missing = [name for name in NEEDED if name not in columns]
    if missing:
        found = header[:200] if header.isprintable() else "nothing readable"
        names = "; ".join(f"{name}: {', '.join(sorted(COLUMNS[name]))}" for name in missing)
        mend = "name the columns so; a table of signals is replayed with a [table] section in the profile"
        raise InputError(f"{source.path}:1", f"no column for {' and '.join(missing)} in `{found}`", names, mend)
    return text_frames(source, account, _Row(header, delimiter, columns, unit, include_tx).parse)


def _columns(header):
    """(delimiter, {use: column number}, power of ten from the time unit to microseconds) of a header line."""
    delimiter = max(",;\t", key=header.count)
    columns, unit = {}, 6
    for at, cell in enumerate(header[:LINE].split(delimiter)):
        name = re.sub(r"\W+", "_", cell.strip().strip('"').lower()).strip("_")
        stem, _, last = name.rpartition("_")
        if stem in COLUMNS["time"] and last in UNITS and "time" not in columns:
            columns["time"], unit = at, UNITS[last]
        for use, names in COLUMNS.items():
            if name in names and use not in columns:
                columns[use] = at
    return delimiter, columns, unit


class _Row:
    """What the header says about every row."""

    def __init__(self, header, delimiter, columns, unit, include_tx):
        self.header, self.delimiter, self.columns, self.unit, self.include_tx = (
            header,
            delimiter,
            columns,
            unit,
            include_tx,
        )
        self.width = header.rstrip(delimiter).count(delimiter) + 1
        self.base64 = header == PYTHON_CAN
        self.decimal = header.split(delimiter)[columns["id"]].strip().strip('"').lower().endswith("_dec")
        self.second = self.second_us = None
        # The last cell of a line without its end may have lost some too; only data with a length beside it shows that.
        last = next((use for use, at in columns.items() if at == self.width - 1), "")
        self.sure = last not in ("time", "id", "channel", "length") and (last != "data" or "length" in columns)

    def parse(self, line, whole):
        line = line.strip(" \r")
        if not line:
            raise Skip("blank")
        if line.startswith(("#", "//")):
            raise Skip("comment")
        if line.removeprefix("\xef\xbb\xbf") == self.header:
            raise Skip("header")
        cells = next(csv.reader([line], delimiter=self.delimiter)) if '"' in line else line.split(self.delimiter)
        while len(cells) > self.width and not cells[-1]:
            cells.pop()
        if len(cells) != self.width:
            raise Reject(f"{len(cells)} columns where the header has {self.width}")
        cell = {use: cells[at].strip() for use, at in self.columns.items()}
        t_us = self.time(cell["time"])
        can_id = self.identifier(cell["id"], cell.get("extended"))
        way = cell.get("way", "rx").lower()
        if way not in WAYS:
            raise Reject("direction is neither rx nor tx")
        for use, reason in (("error", "error frame"), ("remote", "remote frame")):
            if _truth(cell.get(use, "")):
                raise Skip(reason)
        data = self.data(cell["data"], cell.get("length"))
        if not whole and not self.sure:
            raise Reject("cut off")
        if WAYS[way] and not self.include_tx:
            raise Skip("transmitted")
        return t_us, cell.get("channel", ""), can_id, data

    def time(self, text):
        if match := NUMBER.fullmatch(text):
            digits = (match[2] or "").ljust(self.unit if self.unit > 0 else 0, "0")
            if self.unit < 0:
                return int(match[1]) // 10**-self.unit
            return int(match[1] + digits[: self.unit])
        match = DATE.fullmatch(text)
        if not match:
            raise Reject("time is not a number" if not DATE.match(text) else "time is not a date and time")
        second = match[1] + (match[3] or "")
        if second != self.second:
            try:
                moment = datetime.fromisoformat(second)
            except ValueError:
                raise Reject("time is not a date and time") from None
            self.second, moment = second, moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            self.second_us = round(moment.timestamp()) * 1_000_000
        return self.second_us + int(((match[2] or "") + "000000")[:6])

    def identifier(self, text, extended):
        if text[-1:] in ("x", "h") and text[:2] != "0x":
            extended, text = "1" if text[-1] == "x" else extended, text[:-1]
        try:
            if "_" in text:
                raise ValueError
            number = int(text, 10 if self.decimal else 16)
        except ValueError:
            raise Reject("identifier is not a number" if self.decimal else "identifier is not hexadecimal") from None
        if number < 0:
            raise Reject("identifier is negative")
        return identifier(number, number > 0x7FF if extended is None else _truth(extended))

    def data(self, text, length):
        try:
            data = base64.b64decode(text, validate=True) if self.base64 else bytes.fromhex(text.removeprefix("0x"))
        except (ValueError, binascii.Error):
            digits = re.sub(r"\s", "", text)
            odd = len(digits) % 2 and re.fullmatch("[0-9A-Fa-f]*", digits)
            raise Reject("odd number of hex digits" if odd else "data is not hexadecimal") from None
        if len(data) > 64:
            raise Reject("more than 64 bytes")
        if length is not None:
            if not re.fullmatch(r"\d{1,2}", length, re.ASCII):
                raise Reject("length is not a number")
            size = int(length)
            if len(data) != size and (size >= len(LENGTH_OF) or len(data) != LENGTH_OF[size]):
                raise Reject(f"length says {size} but {len(data)} bytes follow")
        return data


def _truth(text):
    try:
        return TRUTH[text.lower()]
    except KeyError:
        raise Reject("a column that says yes or no says neither") from None
