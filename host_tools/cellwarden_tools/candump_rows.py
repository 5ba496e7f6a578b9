"""candump text, record by record and back to the very same bytes.

`form` says how a frame's line departs from the usual `(1778450281.117003) can0 21A#FE36`, which ends in ` T` where the
frame was sent: digits of the seconds, small letters, ` R`, CR, CAN FD flags. What it cannot say is kept as text.
"""

import re

import numpy

from .errors import InputError
from .readers import candump
from .readers.account import EXT, Account
from .readers.blocks import NARROW, WIDE, Block
from .readers.parquet import MORE, NO_ID, Rows, cut, part
from .readers.source import LINE, PATIENCE, nothing, settle

DIGITS = 0x000F  # at least so many digits before the point; 0: six
SMALL = 0x0010  # hexadecimal in small letters
HEARD = 0x0020  # ` R` behind the data
RETURN = 0x0040  # a CR before the line feed
FLAGGED = 0x0080  # `##` and the flags in FLAGS, also where eight bytes need none
FLAGS = 0x0F00
CHUNK = 1 << 20  # bytes taken at a time, once a frame has been seen
BIT = 1 << 14  # bytes taken at a time where not all of a chunk is as usual
SLOW = 1 << 21  # bytes read without compiled code, which takes a while to load
RUN = 1 << 12  # rows rendered at a time, where not all are as usual

LOOK = re.compile(r"\((\d+)\.\d+\) [!-~]+ ([0-9A-Fa-f]+#(?:#([0-9A-Fa-f]))?[0-9A-Fa-f]*)( [RT])?(\r?)\n", re.ASCII)


def line(t_us, channel, can_id, data, sent=False, form=0):
    """The text of a frame, as str with its line end."""
    seconds, us = divmod(t_us, 1_000_000)
    name, data = candump.written(can_id, data)
    flags = f"#{form >> 8:X}" if form & FLAGGED else "#0" if len(data) > NARROW else ""
    body = f"{name}#{flags}{data.hex().upper()}"
    if form:
        if form & SMALL:
            body = body.lower()
        body += " T" if sent else " R" if form & HEARD else ""
        return f"({seconds:0{form & DIGITS or 6}}.{us:06}) {channel} {body}" + ("\r\n" if form & RETURN else "\n")
    return f"({seconds:06}.{us:06}) {channel} {body} T\n" if sent else f"({seconds:06}.{us:06}) {channel} {body}\n"


def form_of(text):
    """The form that would give this line, by its looks; only line() can prove it."""
    match = LOOK.fullmatch(text)
    if not match:
        return 0
    seconds, body, flags, way, back = match.groups()
    form = 0
    if len(seconds) != max(6, len(str(int(seconds)))):
        form = 1 if seconds == str(int(seconds)) else len(seconds)
    if body != body.upper():
        form |= SMALL
    if way == " R":
        form |= HEARD
    if back:
        form |= RETURN
    if flags:
        form |= FLAGGED | int(flags, 16) << 8
    return form & 0xFFFF


def render(rows, channel=str):
    """The bytes of the rows as candump text. `channel(name)` is the name written for a channel."""
    block = Block(*rows.block[:5], [channel(name) for name in rows.block.channels])
    rows = rows._replace(block=block)
    kernels = _kernels() if len(block) >= RUN * 8 else None
    if kernels is None:
        return _render(rows)
    odd = rows.form & (0xFFFF ^ (HEARD | SMALL | RETURN)) != 0
    odd[[*rows.reason, *rows.text]] = True
    if any(re.search("[A-F]", name) for name in block.channels):
        odd |= rows.form & SMALL != 0
    step = RUN if odd.any() or (rows.form & RETURN).any() else len(block)
    made = []
    for first in range(0, len(block), step):
        end = min(first + step, len(block))
        some, back = slice(first, end), rows.form[first:end] & RETURN != 0
        if odd[some].any() or (back.any() and not back.all()):
            made.append(_render(cut(rows, first, end)))
            continue
        text = _fast(kernels, part(block, some), rows.sent[some], rows.form[some])
        made.append(text.replace(b"\n", b"\r\n") if back.any() else text)
    return b"".join(made)


def _fast(kernels, block, sent, form):
    """The text of frames whose form knows no more than HEARD and SMALL, by compiled code; line ends are line feeds."""
    marks = numpy.where(sent, ord("T"), numpy.where(form & HEARD, ord("R"), 0)).astype("u1")
    text = kernels.render(block, marks)
    small = form & SMALL != 0
    if not small.any():
        return text
    text = numpy.frombuffer(bytearray(text), "u1")
    lengths = numpy.diff((text == 10).nonzero()[0], prepend=-1)
    text[numpy.repeat(small, lengths) & (text >= ord("A")) & (text <= ord("F"))] += ord("a") - ord("A")
    return text.tobytes()


def _kernels():
    """readers/kernels.py, or None without numba."""
    try:
        from .readers import kernels
    except ImportError:
        return None
    return kernels


def _render(rows):
    block, names = rows.block, rows.block.channels
    width = block.data.shape[1]
    data, made = block.data.tobytes(), []
    columns = (block.t_us, block.channel, block.can_id, block.length, rows.sent, rows.form)
    for at, (t_us, bus, can_id, length, sent, form) in enumerate(zip(*[c.tolist() for c in columns], strict=True)):
        if at in rows.text or at in rows.reason:
            made.append(rows.text.get(at, b"").decode("latin-1"))
            continue
        made.append(line(t_us, names[bus], can_id, data[at * width : at * width + length], sent, form))
    return "".join(made).encode("latin-1")


class _Outcome(Account):
    """An account that remembers the reason it was told last."""

    def skip(self, reason):
        self.last = reason
        super().skip(reason)

    def reject(self, where, reason, excerpt=""):
        self.last = reason
        super().reject(where, reason, excerpt)


class _Odd(Exception):
    """A line is not as usual."""


def _odd(line, whole):
    raise _Odd


class _Text:
    """A source of one block."""

    path, cut = "-", None

    def __init__(self, text):
        self.head = text

    def __iter__(self):
        yield self.head


def _slices(blocks):
    """Each block with the slice of the rows it makes up."""
    at = 0
    for block in blocks:
        yield block, slice(at, at + len(block))
        at += len(block)


class Reading:
    """A candump log being read line by line, for everything that is in it.

    `account` is, at the end, that of the reader with the frames sent left out.
    """

    def __init__(self, source):
        self.source, self.account = source, _Outcome()
        self.channels, self.numbers = [], {}
        self.t_us = 0  # of the frame before

    def rows(self, digest):
        """Yield Rows, one for each line; `digest` is updated with the plain bytes.

        Raises InputError when there is no frame, or none in the first PATIENCE bytes (as source.blocks does).
        """
        account, source = self.account, self.source
        number, rest, seen, within = 1, b"", 0, False
        for data in self._gathered():
            digest.update(data)
            seen += len(data)
            if within:
                end = data.find(b"\n") + 1 or len(data)
                yield self._piece(data[:end], MORE)
                within, number = data[end - 1] != 10, number + (data[end - 1] == 10)
                data = data[end:]
            rest += data
            end = rest.rfind(b"\n") + 1
            if end:
                text, rest = rest[:end], rest[end:]
                lines = text.count(b"\n")
                account.total += lines
                yield from self._usual(text, number, seen)
                number += lines
            if len(rest) > LINE:
                account.total += 1
                account.reject(f"{source.path}:{number}", f"line over {LINE} bytes", rest[:80].decode("latin-1"))
                yield self._piece(rest, account.last)
                rest, within = b"", True
            if seen > PATIENCE and account.fruitless:
                raise nothing(source, account, f"no frame in the first {PATIENCE >> 20} MiB")
        if rest:
            account.total += 1
            yield self._lines(rest.decode("latin-1") + "\n", number, False)
        elif within:
            account.end(f"the last line (line {number}) has no end")
        account.cut = source.cut or account.cut
        if account.fruitless:
            raise nothing(source, account)

    def _gathered(self):
        some, size = [], 0
        for block in self.source:
            some.append(block)
            size += len(block)
            if size >= CHUNK or self.account.fruitless:
                yield b"".join(some)
                some, size = [], 0
        if some:
            yield b"".join(some)

    def _usual(self, text, number, seen):
        """Rows of whole lines, by compiled code where they are all as usual."""
        kernels = _kernels() if seen > SLOW else None
        if kernels is None:
            yield self._lines(text.decode("latin-1"), number, True)
            return
        if made := self._compiled(text, kernels):
            yield from made
            return
        at = 0
        while at < len(text):
            end = text.rfind(b"\n", at, at + BIT) + 1 or text.find(b"\n", at) + 1
            some = text[at:end]
            yield from self._compiled(some, kernels) or [self._lines(some.decode("latin-1"), number, True)]
            at, number = end, number + some.count(b"\n")

    def _compiled(self, text, kernels):
        """Rows of lines that compiled code both reads and gives back, or an empty list."""
        form = 0
        if text.count(b"\r\n") == text.count(b"\n"):
            text, form = text.replace(b"\r\n", b"\n"), RETURN
        bytes_of = numpy.frombuffer(text, "u1")
        ends = (bytes_of == 10).nonzero()[0]
        marks = bytes_of[ends - 1] * (bytes_of[numpy.maximum(ends - 2, 0)] == ord(" "))
        sent, heard = marks == ord("T"), marks == ord("R")
        blocks, forms = [], heard * numpy.uint16(HEARD)
        try:
            for block in kernels.read(kernels.CANDUMP, _Text(text), Account(), _odd, True):
                blocks.append(Block(*block[:5], list(block.channels)))
            back = self._again(kernels, blocks, sent, forms)
            if back != text and len(back) == len(text):
                unlike = numpy.frombuffer(back, "u1") != bytes_of
                forms[numpy.searchsorted(ends, unlike.nonzero()[0])] |= SMALL
                back = self._again(kernels, blocks, sent, forms)
        except (_Odd, InputError):
            return []
        if back != text:
            return []
        forms += numpy.uint16(form)
        transmitted = int(sent.sum())
        self.t_us = int(blocks[-1].t_us[-1])
        self.account.frames += len(ends) - transmitted
        if transmitted:
            self.account.skipped["transmitted"] += transmitted
        return [Rows(block, sent[some], forms[some], {}, {}) for block, some in _slices(blocks)]

    @staticmethod
    def _again(kernels, blocks, sent, forms):
        return b"".join(_fast(kernels, block, sent[some], forms[some]) for block, some in _slices(blocks))

    def _piece(self, text, reason):
        """A row of text that is no whole line."""
        return self._made([(self.t_us, 0, NO_ID, b"", False, 0)], {0: reason}, {0: text})

    def _lines(self, text, first, whole):
        """A row for each line of a text; without `whole`, for one that lacks its line feed, which was added."""
        made, reasons, texts = [], {}, {}
        for at, (raw, found) in enumerate(zip(text[:-1].split("\n"), candump.USUAL.findall(text), strict=True)):
            frame, sent = self._frame(raw, found, first + at, whole)
            if frame is None:
                reasons[at], texts[at] = self.account.last, self._bytes(raw, whole)
                made.append((self.t_us, 0, NO_ID, b"", False, 0))
                continue
            t_us, name, can_id, data = frame
            raw += "\n"
            form = 0
            if not whole:
                texts[at] = self._bytes(raw[:-1], False)
            elif line(*frame, sent) != raw:
                form = form_of(raw)
                if line(*frame, sent, form) != raw:
                    form, texts[at] = 0, raw.encode("latin-1")
            self.t_us = t_us
            made.append((t_us, self._number(name), can_id, data, sent, form))
        return self._made(made, reasons, texts)

    @staticmethod
    def _bytes(raw, whole):
        return (raw + "\n" if whole else raw).encode("latin-1")

    def _frame(self, raw, found, number, whole):
        """(frame or None, sent) of a line, accounted for as the reader does it."""
        seconds, fraction, channel, std, ext, data, way, _ = found
        account = self.account
        if seconds and whole and way != "T" and not len(data) & 1:
            account.frames += 1
            t_us = int(seconds) * 1_000_000 + int(fraction)
            return (t_us, channel, int(std, 16) if std else int(ext, 16) | EXT, bytes.fromhex(data)), False
        frame = settle(lambda *given: candump._parse(*given, False), raw, number, whole, self.source, account)
        if frame:
            account.frames += 1
        elif account.last == "transmitted":
            return candump._parse(raw, whole, True), True
        return frame, False

    def _number(self, name):
        if name not in self.numbers:
            if len(self.channels) > 0xFFFF:
                raise InputError(self.source.path, "has more than 65536 channels", "a log of some buses")
            self.numbers[name] = len(self.channels)
            self.channels.append(name)
        return self.numbers[name]

    def _made(self, made, reasons, texts):
        times, buses, ids, datas, sent, forms = zip(*made, strict=True)
        lengths = numpy.fromiter(map(len, datas), "u1", len(made))
        width = NARROW if lengths.max() <= NARROW else WIDE
        data = numpy.frombuffer(b"".join([d.ljust(width, b"\0") for d in datas]), "u1").reshape(-1, width)
        block = Block(
            numpy.array(times, "i8"), numpy.array(buses, "u2"), numpy.array(ids, "i4"), lengths, data, self.channels
        )
        return Rows(block, numpy.array(sent, bool), numpy.array(forms, "u2"), reasons, texts)
