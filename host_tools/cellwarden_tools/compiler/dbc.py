"""Load a DBC as vehicles really use it: cantools parses, `dbc_text` mends around it, nothing is left out in silence.

The file itself is never changed. What loads but cannot be decoded safely keeps its defect.
"""

import contextlib
import gc
import hashlib
import logging
import re
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from itertools import combinations, combinations_with_replacement, product
from pathlib import Path
from typing import Any

from ..errors import InputError
from .dbc_text import FLAG, FLOAT_BITS, Finding, Reader, fraction

EXTENDED = 1 << 29
LARGEST_FILE = 64 << 20
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(eq=False)
class Signal:
    """start: as the DBC writes it. scale, offset, minimum, maximum: exact; the range is None for `[0|0]`.

    mux:      (multiplexer, ids) from the outermost to the innermost; () when always present
    defect:   why it cannot be decoded safely, or None
    overlaps: names of signals that share bits with it and can be present at the same time
    """

    name: str
    start: int
    length: int
    big_endian: bool = False
    signed: bool = False
    is_float: bool = False
    scale: Fraction = Fraction(1)
    offset: Fraction = Fraction(0)
    minimum: Fraction | None = None
    maximum: Fraction | None = None
    unit: str = ""
    multiplexer: bool = False
    mux: tuple[tuple[str, frozenset[int]], ...] = ()
    choices: dict[int, str] = field(default_factory=dict)
    comment: str | None = None
    line: int | None = None
    defect: str | None = None
    overlaps: tuple[str, ...] = ()

    @property
    def end(self):
        """Bits of the message up to and with its last one, in the order of its own byte order."""
        return (self.start ^ 7 if self.big_endian else self.start) + self.length

    @property
    def bits(self):
        """Its bits as one integer: bit 8 * byte + n is bit n (0 the lowest) of that byte."""
        if not self.big_endian:
            return ((1 << self.length) - 1) << self.start
        first = self.start ^ 7  # counted from the top bit of byte 0: the order of Motorola's sawtooth
        return sum(1 << (bit ^ 7) for bit in range(first, first + self.length))

    @property
    def raw_range(self):
        """(lowest, highest) raw integer its bits can hold."""
        return (-(1 << self.length - 1), (1 << self.length - 1) - 1) if self.signed else (0, (1 << self.length) - 1)


@dataclass(eq=False)
class Message:
    """can_id: 11 bits, or 29 bits | 1 << 29. length: bytes. cycle_ms: None where the DBC gives none or 0.

    fd: declared so by VFrameFormat, or over 8 bytes long and no J1939.
    """

    name: str
    can_id: int
    extended: bool
    length: int
    fd: bool = False
    cycle_ms: int | None = None
    signals: list[Signal] = field(default_factory=list)
    comment: str | None = None
    senders: list[str] = field(default_factory=list)
    line: int | None = None

    def signal(self, name):
        """The first signal called `name`, or None."""
        return next((signal for signal in self.signals if signal.name == name), None)


@dataclass(eq=False)
class Database:
    """dropped: "Message" or "Message.Signal" -> the Finding that says why it is not here.

    cantools: its Database of the mended text, not strict; its signals are sorted by start bit
    """

    path: Path
    sha256: str
    messages: list[Message]
    findings: list[Finding]
    dropped: dict[str, Finding]
    cantools: Any

    def message(self, name):
        """The first message called `name`, or None."""
        return self._by_name.get(name)

    def find(self, name):
        """(Message, Signal) of "Message.Signal", or None."""
        message = self.message(name.partition(".")[0])
        signal = message and message.signal(name.partition(".")[2])
        return (message, signal) if signal else None

    @cached_property
    def _by_name(self):
        return {message.name: message for message in reversed(self.messages)}


def load(path):
    """The Database of a DBC file. Raises InputError for a file that is no DBC or has an error no mend can reach."""
    path = Path(path)
    try:
        if (size := path.stat().st_size) > LARGEST_FILE:
            raise InputError(path, f"is {size >> 20} MiB long", f"a DBC of at most {LARGEST_FILE >> 20} MiB")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", "a DBC file") from None
    return loads(data, path)


def loads(data, path="text.dbc"):
    """The Database of the bytes of a DBC; `path` names them in messages. Raises InputError as load() does."""
    path = Path(path)
    with _quietly():
        reader = Reader(path, data)
        parsed, found = reader.read()
        messages = _Builder(reader).build(found)
    sha256 = hashlib.sha256(data).hexdigest()
    return Database(path, sha256, messages, reader.findings, reader.dropped, parsed)


@contextlib.contextmanager
def _quietly():
    """cantools warns of names and ids used twice: findings here. The collector would only walk its many objects."""
    logger, collecting = logging.getLogger("cantools.database.can.database"), gc.isenabled()
    level = logger.level
    logger.setLevel(logging.ERROR)
    gc.disable()
    try:
        yield
    finally:
        logger.setLevel(level)
        if collecting:
            gc.enable()


class _Builder:
    """What cantools made of a DBC as Messages, and what is unsafe about them."""

    def __init__(self, reader):
        self.reader, self.note = reader, reader.note
        self.choices = {}  # (number, signal): cantools gives them to the first of two messages with one id

    def build(self, parsed):
        """[Message] of what Reader.read() gives."""
        messages = [self.message(found, theirs, signals) for found, theirs, signals in parsed]
        self.twins(messages)
        for message in messages:
            unsafe = {signal.name for signal in message.signals if signal.multiplexer and signal.defect}
            for signal in message.signals:
                if by := next((name for name, _ in signal.mux if name in unsafe), None):
                    signal.defect = signal.defect or f"multiplexed by `{by}`, which cannot be decoded safely"
            self.overlap(message)
        self.reader.findings.sort(key=lambda finding: finding.line)
        return messages

    def message(self, found, theirs, signals):
        """A Message. signals: its cantools signals in the order of the file, as those of `found`."""
        extended = bool(found.number & FLAG)
        name = theirs.name if _NAME.fullmatch(theirs.name) else found.name  # cantools gives the long name
        message = Message(name, found.number & ~FLAG | extended * EXTENDED, extended, theirs.length, line=found.line)
        message.comment, message.cycle_ms = theirs.comment, self.cycle(message, theirs.cycle_time)
        message.fd = theirs.is_fd or (theirs.protocol != "j1939" and 8 < message.length <= 64)
        message.senders = [sender for sender in dict.fromkeys(theirs.senders) if sender != "Vector__XXX"]
        rows = [(line, match, other) for (line, match), other in zip(found.signals, signals, strict=True)]
        message.signals = [self.signal(message, found, *row) for row in rows]
        self.multiplex(message, found, rows)
        for signal in message.signals:
            self.judge(message, signal)
        if name != found.name:
            dropped, short = self.reader.dropped, found.name
            dropped |= {name + key[len(short) :]: dropped[key] for key in dropped if key.split(".")[0] == short}
        return message

    def cycle(self, message, value):
        """ms of what cantools gives, None where it gives none, 0 or nonsense."""
        if value is None or value == "":
            return None
        number = fraction(str(value))
        if number is None or number < 0:
            self.note(message.line, "cycle-time", f"has the cycle time `{value}`; taken as none", message.name)
        return int(number) or None if number and 0 < number < 1 << 30 else None

    def signal(self, message, found, line, match, theirs):
        """A Signal. match: of its SG_, whose decimals are exact."""
        key = found.number, match["name"]
        name = theirs.name if _NAME.fullmatch(theirs.name) else match["name"]
        low, high = fraction(match["low"]), fraction(match["high"])
        if low is None or high is None:
            text = f"`{name}` has the range `[{match['low']}|{match['high']}]`, which is no range; ignored"
            self.note(line, "range", text, message.name, name)
        if low is None or high is None or not (low or high):
            low = high = None
        signal = Signal(name, theirs.start, theirs.length, theirs.byte_order == "big_endian", theirs.is_signed)
        signal.scale, signal.offset, signal.minimum, signal.maximum = (
            fraction(match["scale"]), fraction(match["offset"]), low, high,
        )  # fmt: skip
        signal.unit, signal.comment, signal.line = theirs.unit or "", theirs.comment, line
        signal.multiplexer = theirs.is_multiplexer
        choices = {raw: str(text) for raw, text in (theirs.choices or {}).items()}
        signal.choices = self.choices.setdefault(key, choices)
        declared = FLOAT_BITS.get(self.reader.floats.get(key))
        if theirs.conversion.is_float or declared:
            signal.is_float = True
            wrong = (
                f" of {signal.length} bits, declared {declared}" if signal.length != (declared or signal.length) else ""
            )
            signal.defect = f"float{wrong}"
        if key in self.reader.gone:
            signal.defect = "named twice in its message, once in a broken line"
        if key in self.reader.wide:
            signal.defect = "present for too many multiplexer ids"
        return signal

    def multiplex(self, message, found, rows):
        """Fills `mux` of every signal: its multiplexers from the outermost to the innermost."""
        named = {match["name"]: (signal, match, other) for signal, (_, match, other) in
                 reversed(list(zip(message.signals, rows, strict=True)))}  # fmt: skip
        roots = " or ".join(f"`{signal.name}`" for signal in message.signals if signal.multiplexer)

        def fault(match, other, seen):
            """(code, why) one link of a chain leads nowhere, or None."""
            by, paged = other.multiplexer_signal, match["mark"] not in (None, "M")
            said = self.reader.muxed_by.get((found.number, match["name"]), set())
            if paged and found.doubt:
                return "no-multiplexer", f", but the broken line {found.doubt} may be its multiplexer"
            if by is None and (paged or said):
                why = f"nothing says whether by {roots}" if roots else "its message has no multiplexer"
                return "no-multiplexer", f", but {why}"
            if by is None:
                return None
            if said - {by}:
                return "bad-multiplexer", " by " + " and by ".join(f"`{name}`" for name in sorted(said | {by}))
            if by not in named:
                return "bad-multiplexer", f" by `{by}`, which is not here"
            if by in seen:
                return "bad-multiplexer", " by itself"
            if not other.multiplexer_ids:
                return "bad-multiplexer", " with no id"
            if not named[by][0].multiplexer:
                return "bad-multiplexer", f" by `{by}`, which is not marked M"
            return None

        for signal, (_, match, other) in zip(message.signals, rows, strict=True):
            chain, seen = [], {match["name"]}
            while not (wrong := fault(match, other, seen)) and (by := other.multiplexer_signal):
                root, match, ids = named[by][0], named[by][1], other.multiplexer_ids
                chain.append((root.name, frozenset(ids)))
                other = named[by][2]
                seen.add(by)
            if wrong:
                code, why = wrong
                signal.defect = signal.defect or f"multiplexed{why}"
                self.note(signal.line, code, f"`{signal.name}` is multiplexed{why}", message.name, signal.name)
            signal.mux = tuple(reversed(chain))

    def judge(self, message, signal):
        """Sets `defect` for what the integer core cannot decode; worst first."""
        name, size = signal.name, message.length * 8
        if signal.end > size:
            signal.defect = f"runs past the end of its {message.length}-byte message (bit {signal.end} of {size})"
            self.note(signal.line, "overrun", f"`{name}` {signal.defect}", message.name, name)
        elif signal.is_float:
            self.note(signal.line, "float", f"`{name}` is a {signal.defect}", message.name, name)
        elif signal.length > 32:
            signal.defect = signal.defect or f"{signal.length} bits long, over 32"
            self.note(signal.line, "over-32-bits", f"`{name}` is {signal.length} bits long", message.name, name)

    def overlap(self, message):
        """Fills `overlaps`: signals that share bits and can be present at the same time."""
        pages = {}
        for signal in message.signals:
            pages.setdefault(signal.mux, []).append((signal, signal.bits))
        for (mux, page), (other_mux, other_page) in combinations_with_replacement(pages.items(), 2):
            if mux != other_mux and not _together(mux, other_mux):
                continue
            for (a, bits), (b, taken) in combinations(page, 2) if page is other_page else product(page, other_page):
                if shared := (bits & taken).bit_length():
                    a.overlaps += (b.name,)
                    b.overlaps += (a.name,)
                    where = f"byte {(shared - 1) // 8} bit {(shared - 1) % 8}"
                    later = max(a, b, key=lambda signal: signal.line)
                    text = f"`{a.name}` and `{b.name}` overlap ({where})"
                    self.note(later.line, "overlap", text, message.name, later.name)

    def twins(self, messages):
        names, ids = {}, {}
        for message in messages:
            if first := names.setdefault(message.name, message) is not message and names[message.name]:
                text = f"the message name `{message.name}` stands at line {first.line} too; that one is used"
                self.note(message.line, "duplicate-message", text, message.name)
            if first := ids.setdefault(message.can_id, message) is not message and ids[message.can_id]:
                text = f"`{message.name}` has the id of `{first.name}` (line {first.line})"
                self.note(message.line, "duplicate-id", text, message.name)
            signals = {}
            for signal in message.signals:
                if (first := signals.setdefault(signal.name, signal)) is not signal:
                    text = f"`{signal.name}` stands twice in its message (lines {first.line} and {signal.line})"
                    first.defect = signal.defect = f"named twice in its message (lines {first.line} and {signal.line})"
                    self.note(signal.line, "duplicate-signal", text, message.name, signal.name)


def _together(mux, other):
    """Whether signals on two multiplexer chains can be present in one frame."""
    pages = dict(mux)
    return all(pages[by] & ids for by, ids in other if by in pages)
