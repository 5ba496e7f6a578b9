"""Text logs by compiled code: the usual line becomes a row of columns, every other line goes the careful way.

A kernel reads lines exactly as a tool writes them and nothing else; what it does not know it notes in `odd`, and `read`
settles that line with the reader's own `_parse`. So there is one definition of a format, and the kernels only shorten
its common case. `render` is the way back to candump text. Needs numba, and is imported only where it is used.
"""

import re

import numpy
from cellwarden.core.layout import NOTICE
from numba import njit

from ..errors import InputError
from .account import EXT, KINDS
from .blocks import FRAMES, NARROW, WIDE, Block, from_frames
from .candump import error_frame
from .source import LINE, pieces, settle

PIECE = 1 << 20  # bytes read at a time
ROWS = 1 << 15  # in a block at most
ODD = 1 << 12  # unusual lines noted before they are settled
CHANNELS = 64  # known to the kernels; frames of more come the careful way
NAME = 16  # bytes of a channel's name in the kernels
NAMES = 1 << 16  # channels in a log, which Block counts in uint16

# What `state` holds, int64: place in the text, lines read, rows filled, unusual lines noted, channels in `keys`,
# channels in all, transmitted lines left out (-1 before the first, which is settled so that the account keeps its
# order), whether transmitted lines are left in; for savvycan whether rows have a direction; for asc whether numbers are
# hexadecimal, whether stamps are relative, and what those add up to in ns.
AT, LINES, ROW, ODDS, KEYS, NUMBERS, SENT, INCLUDE_TX, DIRECTED, HEX, RELATIVE, NOW = STATE = range(12)
FAR = 4 * 10**18  # ns; a clock beyond it is left to the careful reader

CANDUMP, SAVVYCAN, ASC = range(3)
LENGTH = numpy.frombuffer(b"Length = ", "u1")  # how the tail of an ASC line begins

DIGIT = numpy.full(256, -1, "i1")  # value of a hexadecimal digit
for _digits in (b"0123456789ABCDEF", b"0123456789abcdef"):
    DIGIT[list(_digits)] = range(16)
# two digits of each byte, and of each number below 100
PAIR = numpy.frombuffer(b"".join(b"%02X" % byte for byte in range(256)), "u1").reshape(256, 2)
PAIR_OF_TEN = numpy.frombuffer(b"".join(b"%02d" % value for value in range(100)), "u1").reshape(100, 2)


def compiled(function):
    """Compiled at its first call and kept beside this file, or nowhere where no folder can be written."""
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:
        return njit(nogil=True)(function)


@compiled
def _channel(high, low, keys, state):
    """The number of the channel whose name's bytes are (high, low); -1 where it has none and cannot get one."""
    known = state[KEYS]
    for at in range(known):
        if keys[at, 1] == low and keys[at, 0] == high:
            return keys[at, 2]
    number = state[NUMBERS]
    if known == CHANNELS or number == NAMES:
        return -1
    keys[known, 0], keys[known, 1], keys[known, 2] = high, low, number
    state[KEYS], state[NUMBERS] = known + 1, number + 1
    return number


@compiled
def _line_end(text, at):
    """The place behind the line feed at or behind `at`."""
    while text[at] != 10:
        at += 1
    return at + 1


@compiled
def _number(text, at, most):
    """(number, the place behind it) of the decimal digits at `at`; with none or over `most` the place is `at`."""
    start, number = at, 0
    while text[at] >= 48 and text[at] <= 57:
        if at - start == most:
            return 0, start
        number = number * 10 + (text[at] - 48)
        at += 1
    return number, at


@compiled
def _candump_line(text, at, row, columns, keys, state):
    """Fill the row with the line at `at`; gives the place behind it, minus that if it is left out, 0 if not usual."""
    t_us, channel, can_id, length, data = columns
    if text[at] != 40:  # (
        return 0
    at += 1
    start = at
    seconds, at = _number(text, at, 12)
    if at == start or text[at] != 46:  # .
        return 0
    us = 0
    for place in range(at + 1, at + 7):
        digit = text[place] - 48
        if digit < 0 or digit > 9:
            return 0
        us = us * 10 + digit
    at += 7
    for _ in range(3):  # digits below a microsecond, of `candump -N`
        if text[at] >= 48 and text[at] <= 57:
            at += 1
    if text[at] != 41 or text[at + 1] != 32:  # ) and blank
        return 0
    at += 2

    start, high, low = at, 0, 0
    while text[at] > 32 and text[at] < 127:
        if at - start == NAME:
            return 0
        high = high << 8 | low >> 56
        low = low << 8 | text[at]
        at += 1
    if at == start or text[at] != 32:
        return 0
    at += 1

    start, ident = at, 0
    while True:
        digit = DIGIT[text[at]]
        if digit < 0:
            break
        ident = ident << 4 | digit
        at += 1
        if at - start > 8:
            return 0
    if text[at] != 35:  # #
        return 0
    if at - start == 8:
        if ident >= EXT:
            return 0
        ident |= EXT
    elif at - start != 3 or ident > 0x7FF:
        return 0
    at += 1

    size, most = 0, NARROW
    if text[at] == 35:  # CAN FD; a line that is too wide for the columns is left to the careful reader
        if DIGIT[text[at + 1]] < 0:
            return 0
        at += 2
        most = data.shape[1]
    while True:
        digit = DIGIT[text[at]]
        if digit < 0:
            break
        other = DIGIT[text[at + 1]]
        if other < 0 or size == most:
            return 0
        data[row, size] = digit << 4 | other
        size += 1
        at += 2
    mark = 0
    if text[at] == 32:
        mark = text[at + 1]
        if mark != 82 and mark != 84:  # R, T
            return 0
        at += 2
    if text[at] == 13:
        at += 1
    if text[at] != 10:
        return 0
    if mark == 84 and not state[INCLUDE_TX]:
        return -at - 1

    number = _channel(high, low, keys, state)
    if number < 0:
        return 0
    for rest in range(size, data.shape[1]):
        data[row, rest] = 0
    t_us[row] = seconds * 1_000_000 + us
    channel[row] = number
    can_id[row] = ident
    length[row] = size
    return at + 1


@compiled
def _savvycan_line(text, at, row, columns, keys, state):
    """As _candump_line."""
    t_us, channel, can_id, length, data = columns
    start = at
    stamp, at = _number(text, at, 18)
    if at == start or text[at] != 44:  # ,
        return 0
    at += 1

    ident = 0
    for place in range(at, at + 8):
        digit = DIGIT[text[place]]
        if digit < 0:
            return 0
        ident = ident << 4 | digit
    at += 8
    if text[at] != 44:
        return 0
    at += 1
    if text[at] == 102:  # false
        if text[at + 1] != 97 or text[at + 2] != 108 or text[at + 3] != 115 or text[at + 4] != 101 or ident > 0x7FF:
            return 0
        at += 5
    else:  # true
        if text[at] != 116 or text[at + 1] != 114 or text[at + 2] != 117 or text[at + 3] != 101 or ident >= EXT:
            return 0
        ident |= EXT
        at += 4
    if text[at] != 44:
        return 0
    at += 1

    sent = False
    if state[DIRECTED]:
        sent = text[at] == 84
        if (not sent and text[at] != 82) or text[at + 1] != 120 or text[at + 2] != 44:  # Rx, Tx
            return 0
        at += 3
    start, low = at, 0
    while text[at] >= 48 and text[at] <= 57:
        low = low << 8 | text[at]
        at += 1
        if at - start > 3:
            return 0
    if at == start or text[at] != 44:
        return 0
    size = text[at + 1] - 48
    if size < 0 or size > 8 or text[at + 2] != 44:
        return 0
    at += 3

    cells = 0
    while True:
        digit = DIGIT[text[at]]
        if digit < 0:
            break
        other = DIGIT[text[at + 1]]
        if other < 0 or cells == NARROW or text[at + 2] != 44:
            return 0
        data[row, cells] = digit << 4 | other
        cells += 1
        at += 3
    if cells < size:
        return 0
    if text[at] == 13:
        at += 1
    if text[at] != 10:
        return 0
    if sent and not state[INCLUDE_TX]:
        return -at - 1

    number = _channel(0, low, keys, state)
    if number < 0:
        return 0
    for rest in range(size, NARROW):
        data[row, rest] = 0
    t_us[row] = stamp
    channel[row] = number
    can_id[row] = ident
    length[row] = size
    return at + 1


@compiled
def _blanks(text, at):
    """The place behind the blanks and tabs at `at`."""
    while text[at] == 32 or text[at] == 9:
        at += 1
    return at


@compiled
def _asc_line(text, at, row, columns, keys, state):
    """As _candump_line; a frame with a relative stamp moves state[NOW]."""
    t_us, channel, can_id, length, data = columns
    begin = at
    at = _blanks(text, at)
    start = at
    seconds, at = _number(text, at, 12)
    if at == start or text[at] != 46:  # .
        return 0
    whole = at - start
    at += 1
    start = at
    ns, at = _number(text, at, 9)
    if at == start:
        return 0
    for _ in range(9 - (at - start)):
        ns *= 10
    start, at = at, _blanks(text, at)
    if at == start:
        return 0

    start, low = at, 0
    while text[at] >= 48 and text[at] <= 57:
        low = low << 8 | text[at]
        at += 1
        if at - start > 3:
            return 0
    if at == start:
        return 0
    start, at = at, _blanks(text, at)
    if at == start:
        return 0

    base = 16 if state[HEX] else 10
    start, ident = at, 0
    while True:
        digit = DIGIT[text[at]]
        if digit < 0 or digit >= base:
            break
        ident = ident * base + digit
        at += 1
        if at - start > 9:
            return 0
    if at == start:
        return 0
    if text[at] == 120:  # x
        if ident >= EXT:
            return 0
        ident |= EXT
        at += 1
    elif ident > 0x7FF:
        return 0
    start, at = at, _blanks(text, at)
    if at == start:
        return 0

    sent = text[at] == 84
    if (not sent and text[at] != 82) or text[at + 1] != 120:  # Rx, Tx
        return 0
    start, at = at + 2, _blanks(text, at + 2)
    if at == start or text[at] != 100:  # d
        return 0
    start, at = at + 1, _blanks(text, at + 1)
    size = text[at] - 48
    if at == start or size < 0 or size > 8:
        return 0
    at += 1

    for cell in range(size):
        start, at = at, _blanks(text, at)
        if at == start:
            return 0
        if base == 16:
            digit, other = DIGIT[text[at]], -1
            if digit >= 0:
                other = DIGIT[text[at + 1]]
            if other < 0:
                return 0
            data[row, cell] = digit << 4 | other
            at += 2
        else:
            start = at
            value, at = _number(text, at, 3)
            if at == start or value > 255:
                return 0
            data[row, cell] = value
    start, at = at, _blanks(text, at)
    if at > start and text[at] == 76:
        for place in range(9):
            if text[at + place] != LENGTH[place]:
                return 0
        at = _line_end(text, at) - 1
    elif text[at] == 13:
        at += 1
    if text[at] != 10 or at - begin > LINE:
        return 0
    if sent and not state[INCLUDE_TX]:
        return 0 if state[RELATIVE] else -at - 1

    ns += seconds * 1_000_000_000 if state[RELATIVE] else 0
    if state[RELATIVE] and (whole > 9 or state[NOW] + ns >= FAR):
        return 0
    number = _channel(0, low, keys, state)
    if number < 0:
        return 0
    if state[RELATIVE]:
        state[NOW] += ns
        t_us[row] = state[NOW] // 1000
    else:
        t_us[row] = seconds * 1_000_000 + ns // 1000
    for rest in range(size, NARROW):
        data[row, rest] = 0
    channel[row] = number
    can_id[row] = ident
    length[row] = size
    return at + 1


@compiled
def _scan(format, text, end, columns, odd, keys, state):
    """Read lines from state[AT] to `end`, or to the last that `columns` and `odd` can take.

    It also stops behind a line of an ASC log that may change how the next is read, so that this one is settled first.
    """
    at, line, row, odds, stop = state[AT], 0, state[ROW], 0, False
    while at < end and row < ROWS and odds < ODD and not stop:
        if format == CANDUMP:
            behind = _candump_line(text, at, row, columns, keys, state)
        elif format == SAVVYCAN:
            behind = _savvycan_line(text, at, row, columns, keys, state)
        else:
            behind = _asc_line(text, at, row, columns, keys, state)
        if behind > 0:
            row += 1
        elif behind < 0 and state[SENT] >= 0:
            behind = -behind
            state[SENT] += 1
        else:
            if behind < 0:
                state[SENT] = 0
            behind = _line_end(text, at)
            odd[odds, 0], odd[odds, 1], odd[odds, 2], odd[odds, 3] = at, behind - 1, line, row
            odds += 1
            if format == ASC:
                first = text[_blanks(text, at)]
                stop = state[RELATIVE] != 0 or first < 48 or first > 57
        at = behind
        line += 1
    state[AT], state[LINES], state[ROW], state[ODDS] = at, line, row, odds


class _Names:
    """The channels of a log: `channels` for Block, `keys` for the kernels."""

    def __init__(self, path):
        self.path, self.channels, self.numbers = path, [], {}
        self.keys = numpy.zeros((CHANNELS, 3), "i8")
        self.known = 0

    def learn(self, known):
        """Take over what a kernel has put into `keys`."""
        for high, low, number in self.keys[self.known : known].tolist():
            name = (high << 64 | low).to_bytes(NAME, "big").lstrip(b"\0").decode("ascii")
            self.numbers[name] = number
            self.channels.append(name)
        self.known = known

    def number(self, name):
        number = self.numbers.get(name)
        if number is None:
            number = self.numbers[name] = len(self.channels)
            if number == NAMES:
                raise InputError(self.path, f"has more than {NAMES} channels", "a log of some buses")
            self.channels.append(name)
            if len(name) <= NAME and name.isascii() and self.known < CHANNELS:
                key = int.from_bytes(name.encode(), "big")
                self.keys[self.known] = key >> 64, key & (1 << 64) - 1, number
                self.known += 1
        return number


def read(format, source, account, parse, include_tx, directed=False, reader=None):
    """Yield the Blocks of a text log, the usual lines by `_scan`, the others by `parse(line, whole)`.

    format:   CANDUMP, SAVVYCAN or ASC
    directed: whether rows of a SavvyCAN log say Rx or Tx
    reader:   of an ASC log, whose base (`hex`) and clock (`relative`, `now_ns`) both ways of reading share
    """
    columns = [numpy.empty(ROWS, kind) for kind in ("i8", "u2", "i4", "u1")]
    columns = (*columns, numpy.empty((ROWS, NARROW), "u1"))
    odd, state, names = numpy.empty((ODD, 4), "i8"), numpy.zeros(len(STATE), "i8"), _Names(source.path)
    state[SENT], state[INCLUDE_TX], state[DIRECTED] = -1, include_tx, directed
    for text, end, whole in pieces(source, account, PIECE):
        view, others = numpy.frombuffer(text, "u1"), []
        state[AT] = 0
        while state[AT] < end:
            if whole:
                state[KEYS], state[NUMBERS] = names.known, len(names.channels)
                if reader:
                    state[HEX], state[RELATIVE], state[NOW] = reader.hex, reader.relative, min(reader.now_ns, FAR)
                _scan(format, view, end, columns, odd, names.keys, state)
                names.learn(int(state[KEYS]))
                if reader and state[NOW] < FAR:
                    reader.now_ns = int(state[NOW])
            else:
                odd[0] = 0, end - 1, 0, 0
                state[AT], state[LINES], state[ODDS] = end, 1, 1
            first, rows = account.total + 1, int(state[ROW])
            account.total += int(state[LINES])
            for start, stop, line, row in odd[: state[ODDS]].tolist():
                frame = settle(parse, text[start:stop].decode("latin-1"), first + line, whole, source, account)
                if frame:
                    others.append((row, frame))
            if state[SENT] > 0:
                account.skipped["transmitted"] += int(state[SENT])
                state[SENT] = 0
            if state[AT] == end or rows == ROWS or len(others) > FRAMES - ODD:
                account.frames += rows + len(others)
                if rows or others:
                    block = _block(columns, rows, others, names)
                    if block.data.shape[1] > columns[-1].shape[1]:  # more of the kind will come
                        columns = (*columns[:-1], numpy.empty((ROWS, WIDE), "u1"))
                    yield block
                state[ROW], others = 0, []


def _block(columns, rows, others, names):
    """A Block of the first rows of `columns`, with the other frames between them: [(row behind it, frame)]."""
    *columns, data = (column[:rows] for column in columns)
    if not (columns[-1] > NARROW).any():
        data = data[:, :NARROW]
    columns = [*columns, data]
    if others:
        places, frames = zip(*others, strict=True)
        (more,) = from_frames(frames)
        numbers = numpy.array([names.number(name) for name in more.channels], "u2")
        more = [more.t_us, numbers[more.channel], *more[2:5]]
        width = max(data.shape[1], more[-1].shape[1])
        for some in (columns, more):
            some[-1] = numpy.pad(some[-1], ((0, 0), (0, width - some[-1].shape[1])))
        columns = [numpy.insert(mine, places, new, axis=0) for mine, new in zip(columns, more, strict=True)]
    else:
        columns = [column.copy() for column in columns]
    return Block(*columns, names.channels)


@compiled
def _candump_text(columns, marks, names, ends, text):
    """Write a line a row into `text`; gives its length. The name of channel i is names[ends[i] : ends[i + 1]]."""
    t_us, channel, can_id, length, data = columns
    stamp = numpy.zeros(14, numpy.uint8)
    at, second, digits = 0, numpy.int64(-1_000_000), 0  # us at which the second of the frame before began
    for row in range(len(t_us)):
        us = t_us[row] - second
        if us < 0 or us >= 1_000_000:
            seconds = t_us[row] // 1_000_000
            second = seconds * 1_000_000
            us = t_us[row] - second
            digits, bound = 6, 1_000_000
            while digits < 13 and seconds >= bound:
                digits, bound = digits + 1, bound * 10
            for place in range(digits - 1, -1, -1):
                stamp[place] = 48 + seconds % 10
                seconds //= 10
        text[at] = 40  # (
        at += 1
        for place in range(digits):
            text[at + place] = stamp[place]
        at += digits
        text[at] = 46  # .
        for pair, value in enumerate((us // 10_000, us // 100 % 100, us % 100)):
            text[at + 1 + 2 * pair] = PAIR_OF_TEN[value, 0]
            text[at + 2 + 2 * pair] = PAIR_OF_TEN[value, 1]
        text[at + 7], text[at + 8] = 41, 32  # ) and blank
        at += 9
        for place in range(ends[channel[row]], ends[channel[row] + 1]):
            text[at] = names[place]
            at += 1
        text[at] = 32
        ident = can_id[row]
        if ident & EXT:
            ident -= EXT if ident < 2 * EXT else 2 * EXT
            for pair in range(4):
                text[at + 1 + 2 * pair] = PAIR[ident >> 24 - 8 * pair & 255, 0]
                text[at + 2 + 2 * pair] = PAIR[ident >> 24 - 8 * pair & 255, 1]
            at += 9
        else:
            text[at + 1], text[at + 2], text[at + 3] = PAIR[ident >> 8, 1], PAIR[ident & 255, 0], PAIR[ident & 255, 1]
            at += 4
        text[at] = 35  # #
        at += 1
        if length[row] > NARROW:
            text[at], text[at + 1] = 35, 48  # CAN FD with no flag
            at += 2
        for byte in range(length[row]):
            text[at], text[at + 1] = PAIR[data[row, byte], 0], PAIR[data[row, byte], 1]
            at += 2
        if marks[row]:
            text[at], text[at + 1] = 32, marks[row]
            at += 2
        text[at] = 10
        at += 1
    return at


def render(block, marks=None, path="-"):
    """The candump text of a Block, as bytes; what writers.open_writer writes for its frames.

    marks: uint8 (n,), ord("R") or ord("T") behind the line, or 0 for none
    Raises InputError, in the name of `path`, for a frame that candump cannot hold.
    """
    t_us, channel, can_id, length, data, channels = block
    if not len(t_us):
        return b""
    if length.max() > data.shape[1]:
        raise ValueError("a length is over the data's width")
    can_id, length, data, said = _with_error_frames(can_id, length, data)
    used = numpy.zeros(len(channels), bool)
    used[channel] = True
    bad = numpy.array([not re.fullmatch("[!-~]+", name) for name in channels]) & used
    ident = can_id.astype("i8")
    wrong = (ident < 0) | ((ident >= 2 * EXT) & ~said) | ((ident < EXT) & (ident > 0x7FF))
    wrong |= (t_us < 0) | bad[channel]
    if wrong.any():
        from ..writers import _Candump

        row = int(wrong.argmax())
        (frame,) = Block(*[column[row : row + 1] for column in block[:5]], channels).rows()
        _Candump(path, None).write(*frame, fd=len(frame[3]) > NARROW)
    names = [name.encode("ascii", "replace") for name in channels]
    ends = numpy.cumsum([0, *map(len, names)])
    most = 35 + max(map(len, names)) + 2 * int(length.max()) + 5
    text = numpy.empty(len(t_us) * most, "u1")
    marks = numpy.zeros(len(t_us), "u1") if marks is None else marks
    columns = (t_us, channel, can_id, length, data)
    size = _candump_text(columns, marks, numpy.frombuffer(b"".join(names), "u1"), ends, text)
    return text[:size].tobytes()


def _with_error_frames(can_id, length, data):
    """The columns with the error frame of each notice in its place, 2 * EXT set in its identifier; and where."""
    said = numpy.zeros(len(can_id), bool)
    notices = (can_id & KINDS == NOTICE).nonzero()[0].tolist()
    if not notices:
        return can_id, length, data, said
    can_id, length, data = can_id.copy(), length.copy(), data.copy()
    for row in notices:
        frame = error_frame(int(can_id[row]), data[row, : length[row]].tobytes())
        if frame:
            error, content = frame
            can_id[row], length[row], said[row] = 2 * EXT | error, len(content), True
            data[row, : len(content)] = numpy.frombuffer(content, "u1")
    return can_id, length, data, said
