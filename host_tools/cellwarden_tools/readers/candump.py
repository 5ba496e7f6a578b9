"""candump text, as `candump -L` and `candump -l` write it: `(166.000000) vcan0 21A#FE36` a line."""

import re

from cellwarden.core.layout import NOTICE, NOTICE_BUS_OFF, NOTICE_DROPPED

from .account import EXT, Reject, Skip
from .source import blocks, micros, settle

ERROR = 1 << 29  # in candump's identifier the bit means an error frame, and those below are its classes
CONTROLLER, BUS_OFF, RESTARTED = 0x004, 0x040, 0x100  # classes, as the kernel numbers them (linux/can/error.h)
RX_OVERFLOW = 0x01  # in the second byte of class CONTROLLER
ERROR_BYTES = 8

# The line as candump has always written it, or any other line whole.
USUAL = re.compile(
    r"\((\d{1,12})\.(\d{6})\) ([!-~]{1,32}) (?:([0-7][0-9A-Fa-f]{2})|([01][0-9A-Fa-f]{7}))"
    r"#([0-9A-Fa-f]{0,16})(?: ([RT]))?\r?\n"
    r"|([^\n]*)\n",
    re.ASCII,
)
LINE = re.compile(r"\s*\(([^()]*)\)\s+([!-~]+)\s+([^#\s]*)#(\S*)(?:\s+([RrTt]))?\s*", re.ASCII)
STAMP = re.compile(r"(\d{1,12})(?:\.(\d{1,9}))?", re.ASCII)
REMOTE = re.compile(r"[Rr][0-9A-Fa-f]?(_[9A-Fa-f])?", re.ASCII)
HEX = re.compile(r"[0-9A-Fa-f]*", re.ASCII)


def looks(line):
    """Whether a line of text is candump's."""
    return bool(LINE.fullmatch(line))


def frames(source, account, include_tx=False):
    """Yield (t_us, channel, can_id, data) of a candump log."""
    usual, unhex, number = USUAL.findall, bytes.fromhex, int

    def parse(line, whole):
        return _parse(line, whole, include_tx)

    for first, text, whole in blocks(source, account):
        if not whole:
            frame = settle(parse, text[:-1], first, whole, source, account)
            if frame:
                account.frames += 1
                yield frame
            continue
        other = 0
        lines = usual(text)
        for at, (seconds, fraction, channel, std, ext, data, way, line) in enumerate(lines, first):
            if seconds and not len(data) & 1 and (include_tx or way != "T"):
                t_us = number(seconds) * 1_000_000 + number(fraction)
                yield t_us, channel, number(std, 16) if std else number(ext, 16) | EXT, unhex(data)
                continue
            if seconds:
                line = f"({seconds}.{fraction}) {channel} {std or ext}#{data}" + (way and " " + way)
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
    return kernels.read(kernels.CANDUMP, source, account, lambda *line: _parse(*line, include_tx), include_tx)


def _parse(line, whole, include_tx):
    """One line with care. Raises Skip or Reject."""
    match = LINE.fullmatch(line)
    if not match:
        if not line.strip():
            raise Skip("blank")
        if line.lstrip().startswith(("#", "//", ";")):
            raise Skip("comment")
        raise Reject("not a candump line")
    stamp, channel, can_id, data, way = match.groups()
    time = STAMP.fullmatch(stamp)
    if not time:
        raise Reject("time is not a number")
    if not HEX.fullmatch(can_id) or len(can_id) not in (3, 8):
        raise Reject("identifier is not 3 or 8 hex digits")
    can_id = int(can_id, 16)
    if len(match[3]) == 3:
        if can_id > 0x7FF:
            raise Reject("identifier over 11 bits")
    elif can_id >= EXT:
        if can_id >= 2 * ERROR:
            raise Reject("identifier over 29 bits")
    else:
        can_id |= EXT
    error = len(match[3]) == 8 and int(match[3], 16) & ERROR

    if REMOTE.fullmatch(data):
        raise Skip("remote frame")
    most = 8
    if data.startswith("#"):
        if not HEX.fullmatch(data[1:2]) or len(data) < 2:
            raise Reject("CAN FD flags are not one hex digit")
        most, data = 64, data[2:]
    elif data[16:17] == "_" and re.fullmatch("_[9A-Fa-f]", data[16:]):
        data = data[:16]  # a length code over 8 still means 8 bytes
    if not HEX.fullmatch(data):
        raise Reject("data is not hexadecimal")
    if len(data) % 2:
        raise Reject("odd number of hex digits")
    if len(data) > 2 * most:
        raise Reject(f"more than {most} bytes")
    told = notice(int(match[3], 16), data) if error else None
    # Without its line end a line may have lost bytes and still look right; a full frame or a direction says it did not.
    if not whole and not way and len(data) < 2 * most:
        raise Reject("cut off")
    if told:
        can_id, data = told
    elif way in ("T", "t") and not include_tx:
        raise Skip("transmitted")
    return micros(time[1], time[2] or "0"), channel, can_id, bytes.fromhex(data)


def notice(error, data):
    """(NOTICE | kind, data) of an error frame's identifier and data in hexadecimal; raises Skip where it says nothing.

    Of one with several classes the gravest is told.
    """
    if error & BUS_OFF:
        return NOTICE | NOTICE_BUS_OFF, "01"
    if error & CONTROLLER and int(data[2:4] or "0", 16) & RX_OVERFLOW:
        return NOTICE | NOTICE_DROPPED, "00"
    if error & RESTARTED:
        return NOTICE | NOTICE_BUS_OFF, "00"
    raise Skip("error frame")


def error_frame(can_id, data):
    """(identifier with ERROR set, data) of the error frame that notice() reads as this; None where there is none."""
    if can_id == NOTICE | NOTICE_DROPPED:
        return ERROR | CONTROLLER, bytes([0, RX_OVERFLOW]).ljust(ERROR_BYTES, b"\0")
    if can_id == NOTICE | NOTICE_BUS_OFF:
        return ERROR | (BUS_OFF if any(data[:1]) else RESTARTED), bytes(ERROR_BYTES)
    return None


def written(can_id, data):
    """(identifier as text, data) as a line has them: of a notice those of its error frame."""
    if can_id >> 30:
        error, data = error_frame(can_id, data)
        return f"{error:08X}", data
    return (f"{can_id - EXT:08X}" if can_id & EXT else f"{can_id:03X}"), data
