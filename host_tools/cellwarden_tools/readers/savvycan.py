"""SavvyCAN / GVRET CSV: `Time Stamp,ID,Extended,[Dir,]Bus,LEN,D1,D2,...`, microseconds and hexadecimal."""

import re

from ..errors import InputError
from .account import EXT, Reject, Skip, identifier
from .source import blocks, nothing, settle

HEADER = re.compile(r"Time Stamp,ID,Extended,(Dir,)?Bus,LEN(,D\d+)*,?\s*", re.ASCII | re.IGNORECASE)
LENGTHS = {*range(9), 12, 16, 20, 24, 32, 48, 64}
# A row as SavvyCAN writes it (columns behind LEN are padded with zeros), or any other line whole.
USUAL = re.compile(
    r"(\d{1,18}),(?:(?:0{5}([0-7][0-9A-F]{2}),false)|(?:([01][0-9A-F]{7}),true)),(?:(Rx|Tx),)?(\d{1,3}),([0-8]),"
    r"((?:[0-9A-F]{2},){0,8})\r?\n|([^\n]*)\n",
    re.ASCII,
)
TRUTH = {"true": True, "false": False, "1": True, "0": False}


def looks(line):
    """Whether a line of text is the header."""
    return bool(HEADER.fullmatch(line))


def frames(source, account, include_tx=False):
    """Yield (t_us, channel, can_id, data) of a SavvyCAN CSV log. Raises InputError without the header."""
    directed = _directed(source, account)

    def parse(line, whole):
        return _parse(line, whole, include_tx, directed)

    usual, unhex, number = USUAL.findall, bytes.fromhex, int
    for first, text, whole in blocks(source, account):
        if not whole:
            frame = settle(parse, text[:-1], first, whole, source, account)
            if frame:
                account.frames += 1
                yield frame
            continue
        other = 0
        lines = usual(text)
        for at, (stamp, std, ext, way, bus, length, data, line) in enumerate(lines, first):
            if stamp and (way != "") == directed and (include_tx or way != "Tx"):
                size = number(length)
                if 3 * size <= len(data):
                    content = unhex(data[: 3 * size].replace(",", ""))
                    yield number(stamp), bus, number(std, 16) if std else number(ext, 16) | EXT, content
                    continue
            if stamp:
                ident, extended = ("00000" + std, "false") if std else (ext, "true")
                line = ",".join((stamp, ident, extended, *([way] if way else []), bus, length, data))
            frame = settle(parse, line, at, True, source, account)
            if frame:
                yield frame
            else:
                other += 1
        account.frames += len(lines) - other


def columns(source, account, include_tx=False):
    """The same frames in Blocks."""
    try:
        from . import kernels
    except ImportError:
        from .blocks import from_frames

        return from_frames(frames(source, account, include_tx))
    directed = _directed(source, account)

    def parse(line, whole):
        return _parse(line, whole, include_tx, directed)

    return kernels.read(kernels.SAVVYCAN, source, account, parse, include_tx, directed)


def _directed(source, account):
    """Whether the header has a column for the direction. Raises InputError without the header."""
    header = source.head.decode("latin-1").removeprefix("\xef\xbb\xbf").split("\n")[0]
    if not looks(header):
        raise nothing(source, account, "no SavvyCAN header (Time Stamp,ID,Extended,[Dir,]Bus,LEN,D1,...)")
    if b"\n" not in source.head:
        raise InputError(source.path, "ends within its first line", "rows behind the header")
    return "dir," in header.lower()


def _parse(line, whole, include_tx, directed):
    """One row with care. Raises Skip or Reject."""
    line = line.strip()
    if not line:
        raise Skip("blank")
    if looks(line.removeprefix("\xef\xbb\xbf")):
        raise Skip("header")
    cells = [cell.strip() for cell in line.split(",")]
    if len(cells) < 5 + directed:
        raise Reject("too few columns")
    stamp, can_id, extended, *rest = cells
    way = rest.pop(0).lower() if directed else "rx"
    bus, length, *data = rest
    if not re.fullmatch(r"\d{1,18}", stamp, re.ASCII):
        raise Reject("time is not a number")
    if not re.fullmatch("[0-9A-Fa-f]{1,8}", can_id):
        raise Reject("identifier is not hexadecimal")
    if extended.lower() not in TRUTH:
        raise Reject("Extended is neither true nor false")
    can_id = identifier(int(can_id, 16), TRUTH[extended.lower()])
    if way not in ("rx", "tx"):
        raise Reject("direction is neither Rx nor Tx")
    if not bus.isalnum():
        raise Reject("no bus")
    if not re.fullmatch(r"\d{1,2}", length, re.ASCII) or int(length) not in LENGTHS:
        raise Reject("length is not one of CAN or CAN FD")
    have = data[: int(length)]
    while have and not have[-1]:
        have.pop()
    if len(have) < int(length):
        raise Reject(f"length says {length} but {len(have)} bytes follow")
    if not all(re.fullmatch("[0-9A-Fa-f]{1,2}", cell) for cell in have):
        raise Reject("data is not hexadecimal")
    if not whole and (not have or (len(have) == len(data) and len(have[-1]) < 2)):
        raise Reject("cut off")
    if way == "tx" and not include_tx:
        raise Skip("transmitted")
    return int(stamp), bus, can_id, bytes(int(cell, 16) for cell in have)
