"""PCAN traces, file versions 1.0 to 2.1. Stamps are the offsets as written; the header's start time is not used."""

import re

from ..errors import InputError
from .account import Reject, Skip, identifier
from .source import frames as text_frames
from .source import seems

# Column letters as in PEAK's `;$COLUMNS`; for versions without that line, what they always hold.
VERSIONS = {
    "1.0": "N,O,I,l,D",
    "1.1": "N,O,d,I,l,D",
    "1.2": "N,O,B,d,I,l,D",
    "1.3": "N,O,B,d,I,R,l,D",
    "2.0": "",
    "2.1": "",
}
LETTERS = {
    "N": r"\d+\)?",
    "O": r"(?P<ms>\d{1,13})(?:\.(?P<fraction>\d{1,6}))?",
    "T": r"(?P<type>[A-Z]{2})",
    "B": r"(?P<bus>\d{1,3}|-)",
    "I": r"(?P<id>[0-9A-Fa-f]{1,8}|-)",
    "d": r"(?P<way>Rx|Tx|Warng|Error)",
    "R": r"\S+",
    "l": r"(?P<length>\d{1,2})",
    "L": r"(?P<code>\d{1,2})",
    "D": r"(?P<data>.*?)",
}
DATA = {"DT", "FD", "FB", "FE", "BI"}
OTHER = {"RR": "remote frame", "ER": "error frame", "ST": "event", "EC": "event", "EV": "event"}
LENGTH_OF = (*range(9), 12, 16, 20, 24, 32, 48, 64)  # by length code
HEX = re.compile(r"(?:[0-9A-Fa-f]{2}(?:\s+|$))*", re.ASCII)


def looks(line):
    """Whether a line of text is a first line of this format."""
    return line.startswith((";$FILEVERSION", ";#####"))


def frames(source, account, include_tx=False):
    """Yield (t_us, channel, can_id, data) of a PCAN trace. Raises InputError for another tool's trace or version."""
    if not source.head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b";"):
        what = f"is no PCAN trace, which begins with `;`; it seems to be {seems(source.head)}"
        expected = f"a trace written by PCAN tools, version {', '.join(VERSIONS)}"
        raise InputError(source.path, what, expected, "export it again as PCAN trace, candump or CSV")
    return text_frames(source, account, _Reader(source.path, include_tx).parse)


class _Reader:
    def __init__(self, path, include_tx):
        self.path, self.include_tx = path, include_tx
        self.version, self.columns = "1.0", ""
        self.match = None

    def header(self, line):
        """Take a `;$NAME=value` line. Those behind the first record count for nothing."""
        name, _, value = line.partition("=")
        if self.match:
            return
        if name == ";$FILEVERSION":
            self.version = value.strip()
            if self.version not in VERSIONS:
                what = f"is a PCAN trace of version {self.version[:20]}"
                raise InputError(self.path, what, f"one of {', '.join(VERSIONS)}")
        elif name == ";$COLUMNS":
            self.columns = value.strip()

    def compile(self):
        columns = VERSIONS[self.version] or self.columns
        letters = columns.split(",")
        needed = {"O", "I", "D", "l" if "l" in letters else "L"}
        if not needed <= set(letters) <= LETTERS.keys() or len(set(letters)) < len(letters) or letters[-1] != "D":
            what = f"columns `{columns[:40]}` of the PCAN trace cannot be read"
            raise InputError(self.path, what, "columns such as N,O,T,I,d,l,D")
        cells = r"\s+".join(LETTERS[letter] for letter in letters[:-1])
        self.match = re.compile(rf"\s*{cells}(?:\s+{LETTERS['D']})?\s*", re.ASCII).fullmatch

    def parse(self, line, whole):
        if line.lstrip().startswith(";"):
            self.header(line.strip())
            raise Skip("header" if line.startswith(";$") else "comment")
        if not line.strip():
            raise Skip("blank")
        if self.match is None:
            self.compile()
        match = self.match(line)
        if not match:
            raise self.odd(line)
        cell = match.groupdict()
        kind, way, data = cell.get("type", "DT"), cell.get("way", "Rx"), cell["data"] or ""
        if kind in OTHER:
            raise Skip(OTHER[kind])
        if kind not in DATA:
            raise Reject("unknown type of message")
        if way in ("Warng", "Error") or cell["id"] == "FFFFFFFF":
            raise Skip("error frame" if way == "Error" else "event")
        if data.startswith("RTR"):
            raise Skip("remote frame")
        can_id = identifier(int(cell["id"], 16), len(cell["id"]) > 4) if cell["id"] != "-" else None
        if can_id is None:
            raise Reject("no identifier")
        length = int(cell.get("length") or cell["code"])
        if "length" not in cell:
            if length > 15:
                raise Reject("length code over 15")
            length = min(length, 8) if kind == "DT" else LENGTH_OF[length]
        if length > 64 or (length > 8 and kind == "DT"):
            raise Reject(f"more than {8 if kind == 'DT' else 64} bytes")
        if not HEX.fullmatch(data):
            raise Reject("data is not hexadecimal")
        data = bytes.fromhex(data)
        if len(data) != length:
            raise Reject(f"length says {length} but {len(data)} bytes follow")
        if not whole and not length:
            raise Reject("cut off")
        if way == "Tx" and not self.include_tx:
            raise Skip("transmitted")
        t_us = int(cell["ms"]) * 1000 + int(((cell["fraction"] or "") + "000")[:3])
        return t_us, cell.get("bus") or "1", can_id, data

    def odd(self, line):
        """The exception for a line that does not fit the columns."""
        cells = line.split()
        if not re.fullmatch(r"\d+\)?", cells[0]):
            return Reject("not a line of a PCAN trace")
        if len(cells) < 2 or not re.fullmatch(r"\d+(\.\d+)?", cells[1]):
            return Reject("time is not a number")
        if self.version[0] == "2" and len(cells) > 2 and cells[2] in OTHER:
            return Skip(OTHER[cells[2]])
        if self.version != "1.0" and {"Warng", "Error"} & set(cells[2:4]):
            return Skip("error frame" if "Error" in cells[2:4] else "event")
        return Reject(f"does not fit the columns {VERSIONS[self.version] or self.columns}")
