"""Vector ASCII logs. Stamps are kept as the file has them (the date line is not used); relative ones are added up."""

import re

from .account import Reject, Skip, identifier
from .source import frames as text_frames

HEAD = re.compile(
    r"(date|base|no\s+internal|internal|begin\s+triggerblock|end\s+triggerblock)\b.*", re.ASCII | re.IGNORECASE
)
BASE = re.compile(r"base\s+(hex|dec)(?:\s+timestamps\s+(absolute|relative))?\b.*", re.ASCII | re.IGNORECASE)
STAMP = re.compile(r"\s*(\d{1,12})\.(\d{1,9})\s+(.*?)\s*", re.ASCII)
NUMBERS = {"hex": r"[0-9A-Fa-f]", "dec": r"[0-9]"}
BYTES = {"hex": r"[0-9A-Fa-f]{2}", "dec": r"\d{1,3}"}
# channel id direction d length data; behind the data Vector's tools add "Length = ... BitCount = ..."
CLASSIC = r"(\d{{1,3}})\s+({n}{{1,10}})(x?)\s+(Rx|Tx|TxRq)\s+d\s+({n}{{1,2}})((?:\s+{b}(?!\S))*)(?:\s+[A-Za-z]+\s*=.*)?"
REMOTE = r"(\d{{1,3}})\s+({n}{{1,10}})(x?)\s+(Rx|Tx|TxRq)\s+r\b.*"
# CANFD channel direction id [name] brs esi length-code length data duration length flags ...
FD = (
    r"CANFD\s+(\d{{1,3}})\s+(Rx|Tx|TxRq)\s+({n}{{1,10}})(x?)\s+(?:(?![01]\s+[01]\s)\S+\s+)?([01])\s+([01])\s+([0-9A-Fa-f]{{1,2}})"
    r"\s+(\d{{1,2}})(?!\S)\s*(.*)"
)
ERROR = re.compile(r"(CANFD\s+\d+\s+(\w+\s+)?|\d+\s+)ErrorFrame\b.*", re.ASCII | re.IGNORECASE)
FRAME = re.compile(
    r"(\d+\s+\S+\s+(Rx|Tx|TxRq)\b|\d+\s+[0-9A-Fa-f]+x?\s+\S+\s+[dr]\s|CANFD\b)", re.ASCII | re.IGNORECASE
)
EVENT = re.compile(r"([A-Za-z/]|\d+\s+(Statistic|OverloadFrame|Status))", re.ASCII | re.IGNORECASE)
END_US = 10**18  # no absolute stamp is longer
LENGTH_OF = (*range(9), 12, 16, 20, 24, 32, 48, 64)  # by length code


def looks(line):
    """Whether a line of text is a first line of this format."""
    return bool(re.match(r"\s*(date\s+\w{3,}\s|base\s+(hex|dec)\b)", line, re.ASCII | re.IGNORECASE))


def frames(source, account, include_tx=False):
    """Yield (t_us, channel, can_id, data) of a Vector ASCII log."""
    reader = _Reader(include_tx)
    yield from text_frames(source, account, reader.parse)
    reader.end(account)


def columns(source, account, include_tx=False):
    """Yield the same frames in Blocks."""
    try:
        from . import kernels
    except ImportError:
        from .blocks import from_frames

        yield from from_frames(frames(source, account, include_tx))
        return
    reader = _Reader(include_tx)
    yield from kernels.read(kernels.ASC, source, account, reader.parse, include_tx, reader=reader)
    reader.end(account)


class _Reader:
    def __init__(self, include_tx):
        self.include_tx = include_tx
        self.open = self.relative = False
        self.now_ns = 0
        self.count("hex")

    def count(self, base):
        """Numbers are of this base from here on."""
        self.base, self.hex = (16 if base == "hex" else 10), base == "hex"
        forms = (re.compile(form.format(n=NUMBERS[base], b=BYTES[base]), re.ASCII) for form in (CLASSIC, REMOTE, FD))
        self.classic, self.remote, self.fd = (form.fullmatch for form in forms)

    def end(self, account):
        if self.open:
            account.end("the trigger block has no end: the log stops before its `End TriggerBlock`")

    def parse(self, line, whole):
        match = STAMP.fullmatch(line)
        if not match:
            self.other(line.strip())
        seconds, fraction, rest = match.groups()
        if self.relative:
            self.now_ns += int(seconds) * 1_000_000_000 + int(fraction.ljust(9, "0"))
            t_us = self.now_ns // 1000
            if t_us >= END_US:
                raise Reject("the relative times add up to over 10^12 s")
        else:
            t_us = int(seconds) * 1_000_000 + int((fraction + "000000")[:6])
        match = self.classic(rest)
        if match:
            channel, can_id, extended, way, length, data = match.groups()
            length = int(length, self.base)
            if length > 15:
                raise Reject("length code over 15")
            length = min(length, 8)  # codes over 8 still mean 8 bytes
        else:
            channel, can_id, extended, way, length, data = self.long(rest)
        can_id = identifier(int(can_id, self.base), bool(extended))
        data = self.bytes(data)
        if len(data) != length:
            raise Reject(f"length says {length} but {len(data)} bytes follow")
        if not whole and not (length and self.hex):
            raise Reject("cut off")  # a length or a decimal byte may have lost digits
        if way != "Rx":
            if way == "TxRq":
                raise Skip("transmit request")
            if not self.include_tx:
                raise Skip("transmitted")
        return t_us, channel, can_id, data

    def bytes(self, text):
        if self.hex:
            return bytes.fromhex(text)
        data = [int(byte) for byte in text.split()]
        if any(byte > 255 for byte in data):
            raise Reject("a data byte is over 255")
        return bytes(data)

    def other(self, line):
        """Account for a line without a time stamp: raises Skip or Reject."""
        if not line:
            raise Skip("blank")
        if line.startswith(("//", ";")):
            raise Skip("comment")
        if match := BASE.fullmatch(line):
            self.count(match[1].lower())
            self.relative = (match[2] or "").lower() == "relative"
        if match := HEAD.fullmatch(line):
            word = match[1].lower()
            if word.startswith(("begin", "end")):
                self.open = word.startswith("begin")
            raise Skip("header")
        if re.match(r"-?\d", line):
            raise Reject("time is not a number")
        raise Reject("not a line of a Vector ASCII log")

    def long(self, rest):
        """A CAN FD line as (channel, id, extended, way, length, data); raises Skip or Reject for any other line."""
        if match := self.fd(rest):
            channel, way, can_id, extended, _, _, code, length, tail = match.groups()
            length, code = int(length), int(code, 16)
            if code and not length:
                raise Skip("remote frame")
            if code > 15 or length not in (LENGTH_OF[code], min(code, 8)):
                raise Reject(f"length code {code} does not mean {length} bytes")
            cells = tail.split()
            # duration, length, flags follow the data; flag bit 4 is a remote frame
            if len(cells) < length:
                raise Reject(f"length says {length} but {len(cells)} bytes follow")
            flags = cells[length + 2] if len(cells) > length + 2 else "0"
            if re.fullmatch("[0-9A-Fa-f]{1,8}", flags) and int(flags, 16) & 0x10:
                raise Skip("remote frame")
            data = cells[:length]
            if not all(re.fullmatch(BYTES["hex" if self.hex else "dec"], byte) for byte in data):
                raise Reject("data is not hexadecimal" if self.hex else "data is not decimal")
            return channel, can_id, extended, way, length, " ".join(data)
        if ERROR.fullmatch(rest):
            raise Skip("error frame")
        if self.remote(rest):
            raise Skip("remote frame")
        if FRAME.match(rest):
            raise Reject(self.why(rest))
        if EVENT.match(rest):
            raise Skip("event")
        raise Reject("not a line of a Vector ASCII log")

    def why(self, rest):
        """What is wrong with a line that is meant to be a frame."""
        cells = rest.split()
        if cells[0].upper() == "CANFD":
            return "a CAN FD line that does not parse"
        if not re.fullmatch(rf"{NUMBERS['hex' if self.hex else 'dec']}+x?", cells[1]):
            return f"identifier is not {'hexadecimal' if self.hex else 'decimal'}"
        if len(cells[1]) > 9:
            return "identifier over 29 bits"
        if len(cells) < 5:
            return "too few columns"
        if cells[3] not in "dr":
            return "neither a data nor a remote frame"
        if not re.fullmatch(r"[0-9A-Fa-f]{1,2}", cells[4]):
            return "length is not a number"
        return f"data is not {'hexadecimal' if self.hex else 'decimal'}"
