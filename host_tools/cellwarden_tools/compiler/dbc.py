"""Load a DBC as vehicles really use it: what is sound is kept, the rest is mended or dropped, nothing in silence.

The file itself is never changed. `Database.cantools` is the same database for cantools, built when first asked for:
importing cantools takes longer than everything else here together.
"""

import bisect
import contextlib
import gc
import hashlib
import re
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property, lru_cache
from itertools import combinations, combinations_with_replacement, product
from pathlib import Path

from ..errors import InputError

EXTENDED = 1 << 29
LARGEST_FILE = 64 << 20
MOST_MUX_IDS = 1 << 16
MOST_PREAMBLE = 1 << 14  # characters before the first statement
LAST_BIT = 1 << 14  # J1939 transport carries 1785 bytes
FLOAT_BITS = {1: 32, 2: 64}  # by SIG_VALTYPE_

FRAME_FORMATS = (  # VFrameFormat as Vector numbers it
    ["StandardCAN", "ExtendedCAN", "reserved", "J1939PG"] + ["reserved"] * 10 + ["StandardCAN_FD", "ExtendedCAN_FD"]
)


@dataclass(frozen=True)
class Finding:
    """Something mended, dropped or suspicious. line: from 1, in the DBC; 1 too for what concerns the whole file."""

    line: int | None
    code: str
    text: str
    message: str | None = None
    signal: str | None = None


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
    """dropped: "Message" or "Message.Signal" -> the Finding that says why it is not here."""

    path: Path
    sha256: str
    messages: list[Message]
    findings: list[Finding]
    dropped: dict[str, Finding]

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

    @cached_property
    def cantools(self):
        """cantools' own Database of what is sound here. Raises InputError where cantools refuses it."""
        import logging

        from cantools.database.can import Database as Cantools

        logger = logging.getLogger("cantools.database.can.database")
        level = logger.level
        logger.setLevel(logging.ERROR)  # it warns of every name and id used twice; those are findings here
        try:
            database = Cantools(strict=False)
            database.add_dbc_string(_as_dbc(self.messages))
        except Exception as error:
            raise InputError(self.path, f"cantools refuses it ({error})") from None
        finally:
            logger.setLevel(level)
        return database


def load(path):
    """The Database of a DBC file. Raises InputError for a file that is no DBC or has an error no mend can reach."""
    path = Path(path)
    try:
        if (size := path.stat().st_size) > LARGEST_FILE:
            raise InputError(path, f"is {size >> 20} MiB long", f"a DBC of at most {LARGEST_FILE >> 20} MiB")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", "a DBC file") from None
    with _collector_paused():
        return loads(data, path)


def loads(data, path="text.dbc"):
    """The Database of the bytes of a DBC; `path` names them in messages. Raises InputError as load() does."""
    reader = _Reader(Path(path), data)
    reader.scan()
    reader.resolve()
    return Database(reader.path, hashlib.sha256(data).hexdigest(), reader.build(), reader.findings, reader.dropped)


@contextlib.contextmanager
def _collector_paused():
    """Loading makes many objects and no garbage; the collector would walk them again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


# The grammar. Names are taken wider than the standard allows, and made safe afterwards.

_ID = r"\d{1,10}"
_NAME = r'[^\s:;"|,()\[\]@]+'
_NUMBER = r"[-+]?(?:\d{1,40}\.?\d{0,40}|\.\d{1,40})(?:[eE][-+]?0*\d{1,3})?"
_STRING = r'"(?:\\"|[^"])*+"'
_VALUES = rf"(?:\s*[-+]?\d{{1,20}}\s*{_STRING})*+"
_OBJECT = rf"(?:SG_\s+(?P<id>{_ID})\s+(?P<name>{_NAME})\s|BO_\s+(?P<of>{_ID})\s|(?:BU_|EV_)\s+{_NAME}\s)?"
_TO_END = rf'(?:[^;"\n]|{_STRING})*+'

_MESSAGE = (
    ("BO_", r"BO_\s+"),
    ("a message id", rf"(?P<id>{_ID})\s+"),
    ("a message name", rf"(?P<name>{_NAME})\s*"),
    ("`:`", r":\s*"),
    ("a length in bytes", r"(?P<length>\d{1,9})\b"),
    ("a sender", rf"(?:[ \t]*(?!SG_\b)(?P<sender>{_NAME}))?"),
)
_SIGNAL = (
    ("SG_", r"SG_\s+"),
    ("a signal name", rf"(?P<name>{_NAME})"),
    ("`:`", r"(?:\s+(?P<mux>\w+))?\s*:\s*"),
    ("a start bit", r"(?P<start>\d{1,9})\s*"),
    ("`|`", r"\|\s*"),
    ("a length in bits", r"(?P<length>\d{1,9})\s*"),
    ("`@0` or `@1`", r"@\s*(?P<order>[01])\s*"),
    ("`+` or `-`", r"(?P<sign>[+-])\s*"),
    ("`(factor,offset)`", rf"\(\s*(?P<scale>{_NUMBER})\s*,\s*(?P<offset>{_NUMBER})\s*\)\s*"),
    ("`[minimum|maximum]`", r"\[\s*(?P<minimum>[^|\]\n]*?)\s*\|\s*(?P<maximum>[^|\]\n]*?)\s*\]\s*"),
    ("a unit in quotes", r'"(?P<unit>(?:\\"|[^"\n])*+)"'),
    ("receivers", r'(?:(?!\b(?:SG_|BO_)\s)[^\n;"]|(?<=,)\n)*+;?'),
)
_FORMS = {
    "BO_": "".join(piece for _, piece in _MESSAGE),
    "SG_": "".join(piece for _, piece in _SIGNAL),
    "VAL_": rf"VAL_\s+(?:(?P<id>{_ID})\s+)?(?P<name>{_NAME})(?P<values>{_VALUES})\s*;?",
    "SG_MUL_VAL_": rf"SG_MUL_VAL_\s+(?P<id>{_ID})\s+(?P<name>{_NAME})\s+(?P<by>{_NAME})\s+"
    r"(?P<ids>\d{1,10}\s*-\s*\d{1,10}(?:\s*,?\s*\d{1,10}\s*-\s*\d{1,10})*+)\s*;?",
    "SIG_VALTYPE_": rf"SIG_VALTYPE_\s+(?P<id>{_ID})\s+(?P<name>{_NAME})\s*:?\s*(?P<type>[0-3])\b\s*;?",
    "CM_": rf"CM_\s*{_OBJECT}\s*(?P<text>{_STRING})\s*;?",
    "BA_": rf'BA_\s*"(?P<attribute>[^"\n]*)"\s*{_OBJECT}\s*(?P<value>{_NUMBER}|{_STRING})\s*;?',
    "BA_DEF_": rf'BA_DEF_\s*(?:(?:SG_|BO_|EV_|BU_)\s*)?"(?P<attribute>[^"\n]*)"\s*(?P<type>INT|HEX|FLOAT|ENUM|STRING)\b'
    rf"(?P<values>(?:\s*,?\s*(?:{_NUMBER}|{_STRING}))*+)\s*;?",
    "BA_DEF_DEF_": rf'BA_DEF_DEF_\s*"(?P<attribute>[^"\n]*)"\s*(?P<value>{_NUMBER}|{_STRING})\s*;?',
    "BO_TX_BU_": rf"BO_TX_BU_\s+(?P<of>{_ID})\s*:?(?P<names>[^;\"\n]*+);?",
    "SIG_GROUP_": rf"SIG_GROUP_\s+(?P<of>{_ID})\s+{_NAME}\s+\d+\s*:?(?P<names>[^;\"]*+);?",
    "VAL_TABLE_": rf"VAL_TABLE_\s+{_NAME}{_VALUES}\s*;?",
    "VERSION": rf"VERSION\b\s*{_STRING}\s*;?",
    "NS_": r"NS_\b[ \t]*:?[ \t]*(?:\s*\n[ \t]*\w+[ \t]*(?=\n|\Z))*+",
    "BS_": r"BS_\b[^\n]*+",
    "BU_": r"BU_\b\s*:[^\n:;]*+(?:\n\s*(?!(?:[A-Z]+_)+[\s:]|VERSION\b)[^\s:;][^\n:;]*+(?=\n))*+;?",
}
_IGNORED = """EV_ ENVVAR_DATA_ EV_DATA_ BA_REL_ BA_DEF_REL_ BA_DEF_DEF_REL_ BA_SGTYPE_ BA_DEF_SGTYPE_ SGTYPE_
    SGTYPE_VAL_ SIG_TYPE_REF_ SIGTYPE_VALTYPE_ CAT_ CAT_DEF_ FILTER NS_DESC_ BU_SG_REL_ BU_EV_REL_ BU_BO_REL_""".split()
_FORMS |= {keyword: rf"{keyword}\b{_TO_END};?" for keyword in _IGNORED}
_KEYWORDS = frozenset(_FORMS)
_NO_SEMICOLON = {"BO_", "SG_", "VERSION", "NS_", "BS_", "BU_"}
_ESSENTIAL = {  # dropping one of these would change what other signals mean
    "BO_": "BO_ id name: length sender",
    "SG_MUL_VAL_": "SG_MUL_VAL_ id signal multiplexer first-last;",
    "SIG_VALTYPE_": "SIG_VALTYPE_ id signal : 0|1|2;",
}

_SKIP = re.compile(r"(?:[\s;]+|//[^\n]*|/\*.*?\*/)*+", re.DOTALL)
_WORD = re.compile(r"[A-Za-z_]\w*")
_END = re.compile(r"[ \t]*(?:\n|//|/\*)")
_ALONE = re.compile(r"\w+[ \t]*\n")
_MUX = re.compile(r"M|m(\d{1,10})(M?)")
_PAIR = re.compile(rf"([-+]?\d+)\s*({_STRING})")
_SPAN = re.compile(r"(\d+)\s*-\s*(\d+)")
_NUMBER_ONLY = re.compile(_NUMBER)
_SAFE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@lru_cache(None)
def _form(keyword):
    return re.compile(_FORMS[keyword])


@lru_cache(4096)
def _fraction(text):
    """The exact value of a decimal, or None where it is none or beyond 1e300."""
    if not _NUMBER_ONLY.fullmatch(text):
        return None
    value = Fraction(text)
    return value if abs(value) < 10**300 else None


@lru_cache(256)
def _ids(spans):
    return frozenset(value for first, last in spans for value in range(first, last + 1))


@lru_cache(4096)
def _safe(name):
    """`name` as the letters, digits and underscores a DBC name may have."""
    if _SAFE.fullmatch(name) and name not in _KEYWORDS:
        return name
    name = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return f"{name}_" if name in _KEYWORDS else f"_{name}" if name[0].isdigit() else name


def _unquoted(text):
    return text[1:-1].replace('\\"', '"')


def _quoted(text):
    return '"{}"'.format(text.replace('"', '\\"'))


def _decode(data):
    """(text, encoding) of the bytes of a DBC: UTF-8 where valid, else GB 18030 where every high byte has its twin."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace"), "utf-16"
    with contextlib.suppress(UnicodeDecodeError):
        return data.decode("utf-8-sig"), "utf-8"
    runs = re.findall(rb"[\x80-\xff]+", data)
    if all(len(run) % 2 == 0 and min(run) > 0xA0 for run in runs):
        with contextlib.suppress(UnicodeDecodeError):
            return data.decode("gb18030"), "gb18030"
    return data.decode("cp1252", "replace"), "cp1252"


class _Reader:
    """One pass over the text into statements, one over what refers to them, one into messages."""

    def __init__(self, path, data):
        self.path, self.findings, self.dropped = path, [], {}
        if not data.strip(b"\0\x1a \t\r\n"):
            raise InputError(path, "is empty", "a DBC")
        text, encoding = _decode(data)
        text = text.replace("\r\n", "\n").replace("\r", "\n").translate({0xA0: " ", 0x0B: " ", 0x0C: " ", 0x3000: " "})
        self.text = text.rstrip("\0\x1a \t\n") + "\n"
        if "\0" in self.text:
            where = data.find(b"\0")
            raise InputError(f"{path}:byte {where}", "is a binary file (a zero byte stands here)", "the text of a DBC")
        self.lines = [match.end() for match in re.finditer("\n", self.text)]
        if encoding in ("gb18030", "cp1252", "utf-16"):
            self.note(1, "encoding", f"is not UTF-8; read as {encoding}")
        self.messages = []  # (Message, the id as written, BO_ match, [(Signal, SG_ match)])
        self.by_id = {}  # the id as written -> [(Message, {short name: Signal})]
        self.gone = set()  # ids, and (id, signal) as written, that were dropped: what refers to them needs no word
        self.refers, self.definitions, self.defaults, self.attributes = [], {}, {}, {}
        self.marks, self.muxed_by = {}, {}  # Signal -> ids of its mark; Signal -> (multiplexer, ids) of its SG_MUL_VAL_

    def line(self, position):
        return bisect.bisect_right(self.lines, position) + 1

    def note(self, line, code, text, message=None, signal=None):
        finding = Finding(line, code, text, message, signal)
        self.findings.append(finding)
        return finding

    def drop(self, line, code, text, message, signal=None):
        finding = self.note(line, code, text, message, signal)
        self.dropped.setdefault(f"{message}.{signal}" if signal else message, finding)

    def fail(self, position, what, expected):
        line = self.line(position)
        column = position - (self.lines[line - 2] if line > 1 else 0) + 1
        raise InputError(f"{self.path}:{line}:{column}", what, expected)

    def missing(self, pieces, position):
        """(where, what) of the first of `pieces` that is not there."""
        for expected, piece in pieces:
            match = re.compile(piece).match(self.text, position)
            if not match:
                return position, expected
            position = match.end()
        return position, "the end of the line"

    def here(self, position):
        """What stands at `position`, for a message."""
        rest = self.text[position : self.text.find("\n", position)].strip()
        return f"`{rest[:24]}`" if rest else "the end of the line"

    # Statements.

    def scan(self):
        text, position, seen = self.text, 0, set()
        current = junk = None  # the open message; where text that is no statement began
        while (position := _SKIP.match(text, position).end()) < len(text):
            word = _WORD.match(text, position)
            keyword = word and word[0]
            if keyword not in _KEYWORDS:
                if junk is None:
                    junk = position
                    text_here = f"{self.here(position)} is no DBC statement; ignored"
                    self.note(self.line(position), "unknown-text", text_here)
                current, position = None, text.find("\n", position)
                if not seen and position - junk > MOST_PREAMBLE:
                    break
                continue
            if _ALONE.match(text, position):  # an entry of NS_, cut off from it by a comment
                position += len(keyword)
                continue
            match = _form(keyword).match(text, position)
            if match and keyword not in _NO_SEMICOLON and match[0][-1] != ";":
                match = match if _END.match(text, position + len(match[0].rstrip())) else None
            if match and keyword == "SG_" and current is None:
                if junk is not None:
                    self.fail(junk, f"{self.here(junk)} is no DBC statement, and signals follow it", "BO_")
                self.fail(position, "a signal outside a message", "BO_ before SG_")
            if match:
                seen.add(keyword)
                current = self.take(keyword, match, position, current)
                junk, position = None, match.end()
            else:
                current = self.broken(keyword, position, current)
                position = text.find("\n", position)
        if not seen - {"FILTER"}:
            position = _SKIP.match(text).end()
            self.fail(position, f"{self.here(position)} is no DBC statement", "VERSION, NS_, BU_, BO_ or the like")
        for keyword in ("BS_", "BU_"):
            if keyword not in seen:
                self.note(1, "section-missing", f"has no {keyword}: section; taken as empty")

    def take(self, keyword, match, position, current):
        """Files one statement; returns the message that SG_ lines after it belong to."""
        line = self.line(position)
        if keyword not in _NO_SEMICOLON and match[0][-1] != ";":
            self.note(line, "semicolon", f"{keyword} does not end in `;`; taken as if it did")
        if keyword == "BO_":
            return self.take_message(match, line)
        if keyword == "SG_":
            current[3].append((match, line))
            return current
        if keyword in ("VAL_", "SG_MUL_VAL_", "SIG_VALTYPE_", "CM_", "BA_", "BO_TX_BU_", "SIG_GROUP_"):
            self.refers.append((keyword, match, line))
        elif keyword == "BA_DEF_":
            self.definitions[match["attribute"]] = match
        elif keyword == "BA_DEF_DEF_":
            self.defaults[match["attribute"]] = match["value"]
        return None

    def take_message(self, match, line):
        number, name = int(match["id"]), _safe(match["name"])
        raw = number & 0x7FFFFFFF
        extended = number >= 1 << 31
        message = Message(name, raw | EXTENDED if extended else raw, extended, int(match["length"]), line=line)
        filed = (message, number, match, [])
        if name != match["name"]:
            self.note(line, "renamed", f"`{match['name']}` is not a name a DBC may use; called `{name}` here", name)
        if name == "VECTOR__INDEPENDENT_SIG_MSG":  # Vector's bin for signals that no message carries
            self.gone.add(number)
        elif number >= 1 << 32 or raw > 0x1FFFFFFF:
            self.gone.add(number)
            self.drop(line, "bad-id", f"{name} has the id {number}, which is over 29 bits; dropped", name)
        elif message.length * 8 > LAST_BIT:
            self.gone.add(number)
            self.drop(line, "bad-length", f"{name} is {message.length} bytes long; dropped", name)
        else:
            if raw > 0x7FF and not extended:
                message.can_id, message.extended = raw | EXTENDED, True
                text = f"{name} has the id {number}, over 11 bits without the 29-bit flag (2^31); taken as 29 bits"
                self.note(line, "extended-flag", text, name)
            self.messages.append(filed)
            self.by_id.setdefault(number, []).append((message, {}))
        return filed

    def broken(self, keyword, position, current):
        line = self.line(position)
        if keyword == "BO_":
            where, expected = self.missing(_MESSAGE, position)
            self.fail(where, f"{self.here(where)} cannot stand here", expected)
        if keyword == "SG_":
            where, expected = self.missing(_SIGNAL, position)
            if current is None:
                self.fail(where, f"{self.here(where)} cannot stand here", expected)
            name = re.compile(rf"SG_\s+({_NAME})").match(self.text, position)
            name = _safe(name[1]) if name else None
            text = f"{self.here(where)} cannot stand here, expected {expected}; the signal is dropped"
            if current[1] not in self.gone and name:
                self.gone.add((current[1], name))
                self.drop(line, "broken-signal", text, current[0].name, name)
            else:
                self.note(line, "broken-signal", text, current[0].name)
            return current
        if keyword in _ESSENTIAL:
            self.fail(position, f"{self.here(position)} cannot be read", f"`{_ESSENTIAL[keyword]}`")
        self.note(line, "broken-statement", f"{self.here(position)} cannot be read; ignored")
        return None

    # What refers to messages and signals.

    def resolve(self):
        for message, number, _, matches in self.messages:
            signals = next(known for found, known in self.by_id[number] if found is message)
            for match, line in matches:
                if signal := self.make_signal(message, number, match, line):
                    message.signals.append(signal)
                    signals.setdefault(signal.name, signal)
        unknown = {}
        for keyword, match, line in self.refers:
            groups = match.groupdict()
            number, name = groups.get("id") or groups.get("of"), groups.get("name")
            if keyword == "BA_" and match["attribute"] not in self.definitions:
                unknown.setdefault(match["attribute"], []).append(line)
            if number is None:
                continue
            number, name = int(number), name and _safe(name)
            known = self.by_id.get(number)
            if number in self.gone:
                continue
            if not known:
                self.note(line, "stray", f"{keyword} speaks of message {number}, which is not here; ignored")
            elif name and not any(name in signals for _, signals in known):
                if (number, name) in self.gone:
                    continue
                message = known[0][0].name
                self.note(line, "stray", f"{keyword} speaks of `{message}.{name}`, which is not here; ignored", message)
            else:
                for message, signals in known:
                    if not name or name in signals:
                        self.refer(keyword, match, line, number, message, signals, signals.get(name))
        for attribute, lines in unknown.items():
            text = f"BA_ `{attribute}` is not declared by BA_DEF_"
            self.note(lines[0], "unknown-attribute", text + (f" ({len(lines)} times)" if len(lines) > 1 else ""))

    def make_signal(self, message, number, match, line):
        """The Signal of a SG_ line, or None where it had to be dropped."""
        written, start, length = match["name"], int(match["start"]), int(match["length"])
        name = _safe(written)
        if name != written:
            text = f"`{written}` is not a name a DBC may use; called `{name}` here"
            self.note(line, "renamed", text, message.name, name)
        scale, offset = _fraction(match["scale"]), _fraction(match["offset"])
        mux = match["mux"] and _MUX.fullmatch(match["mux"])
        why = (
            "is 0 bits long" if not length
            else f"runs to bit {start + length}" if start + length > LAST_BIT
            else "has a factor or offset beyond 1e300" if scale is None or offset is None
            else f"has the multiplexer mark `{match['mux']}`, expected M, m<id> or m<id>M" if match["mux"] and not mux
            else None
        )  # fmt: skip
        if why:
            self.gone.add((number, name))
            self.drop(line, "broken-signal", f"`{name}` {why}; the signal is dropped", message.name, name)
            return None
        low, high = _fraction(match["minimum"]), _fraction(match["maximum"])
        if low is None or high is None:
            text = f"`{name}` has the range `[{match['minimum']}|{match['maximum']}]`, which is no range; ignored"
            self.note(line, "range", text, message.name, name)
        if not low and not high:
            low = high = None
        big_endian, signed = match["order"] == "0", match["sign"] == "-"
        signal = Signal(name, start, length, big_endian, signed, False, scale, offset, low, high)
        signal.unit, signal.line = match["unit"].replace('\\"', '"'), line
        signal.multiplexer = bool(mux) and match["mux"].endswith("M")
        if mux and mux[1]:
            self.marks[signal] = frozenset([int(mux[1])])
        return signal

    def refer(self, keyword, match, line, number, message, signals, signal):
        if keyword == "VAL_" and match["values"]:
            signal.choices = {int(value): _unquoted(text) for value, text in _PAIR.findall(match["values"])}
        elif keyword == "CM_":
            setattr(signal or message, "comment", _unquoted(match["text"]))  # noqa: B010
        elif keyword == "SIG_VALTYPE_" and match["type"] in "12":
            signal.is_float = True
            signal.defect = "float"
            if signal.length != FLOAT_BITS[int(match["type"])]:
                signal.defect = f"float of {signal.length} bits, declared {FLOAT_BITS[int(match['type'])]}"
        elif keyword == "BA_":
            self.attributes[match["attribute"], signal or message] = match["value"]
        elif keyword == "BO_TX_BU_":
            message.senders += [name for name in re.split(r"[\s,]+", match["names"]) if name]
        elif keyword == "SIG_GROUP_":
            for name in match["names"].split():
                if _safe(name) not in signals and (number, _safe(name)) not in self.gone:
                    text = f"SIG_GROUP_ speaks of `{message.name}.{name}`, which is not here"
                    self.note(line, "stray", text, message.name)
        elif keyword == "SG_MUL_VAL_":
            spans = [(int(first), int(last)) for first, last in _SPAN.findall(match["ids"])]
            if sum(last - first + 1 for first, last in spans if last >= first) > MOST_MUX_IDS:
                signal.defect = f"present for more than {MOST_MUX_IDS} multiplexer ids"
                return
            self.muxed_by[signal] = (_safe(match["by"]), _ids(tuple(spans)))

    # Messages.

    def build(self):
        for message, _, match, _ in self.messages:
            senders = dict.fromkeys([match["sender"] or "", *message.senders])
            message.senders = [_safe(name) for name in senders if name and name != "Vector__XXX"]
            self.chain(message)
            self.name(message)
            for signal in message.signals:
                self.judge(message, signal)
            unsafe = {signal.name for signal in message.signals if signal.multiplexer and signal.defect}
            for signal in message.signals:
                if by := next((name for name, _ in signal.mux if name in unsafe), None):
                    signal.defect = signal.defect or f"multiplexed by `{by}`, which cannot be decoded safely"
            self.overlap(message)
            kind = self.frame_format(message)
            message.cycle_ms = self.cycle(message)
            message.fd = kind.endswith("CAN_FD") or (kind != "J1939PG" and 8 < message.length <= 64)
        messages = [message for message, *_ in self.messages]
        self.twins(messages)
        self.findings.sort(key=lambda finding: finding.line)
        return messages

    def chain(self, message):
        """Fills `mux` of every signal: its multiplexers from the outermost to the innermost."""
        named = {signal.name: signal for signal in reversed(message.signals)}
        roots = [signal for signal in message.signals if signal.multiplexer]
        only = roots[0] if len(roots) == 1 else None

        def parent(signal):
            by, ids = self.muxed_by.get(signal, (None, frozenset()))
            if only and signal is not only:  # a mark counts beside SG_MUL_VAL_ where there is just one multiplexer
                return only.name, ids | self.marks.get(signal, frozenset())
            return by, ids

        def unclear(signal, code, text):
            signal.defect = signal.defect or text
            self.note(signal.line, code, f"`{signal.name}` is {text}", message.name, signal.name)

        for signal in message.signals:
            chain, at = [], signal
            while at in self.muxed_by or at in self.marks:
                by, ids = parent(at)
                if by is None:
                    which = " or ".join(f"`{root.name}`" for root in roots)
                    why = f"nothing says whether by {which}" if roots else "its message has no multiplexer"
                    unclear(signal, "no-multiplexer", f"multiplexed, but {why}")
                    break
                if by not in named or any(by == name for name, _ in chain) or not ids:
                    why = "with no id" if not ids else "by itself" if by in named else f"by `{by}`, which is not here"
                    unclear(signal, "bad-multiplexer", f"multiplexed {why}")
                    break
                chain.append((by, ids))
                at = named[by]
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

    def name(self, message):
        """Long names replace the 32 letters a DBC name may have."""
        long = {}
        for signal in message.signals:
            wanted = _unquoted(self.attributes.get(("SystemSignalLongSymbol", signal), '""'))
            if wanted and _safe(wanted) == wanted:
                long[signal.name], signal.name = wanted, wanted
        if long:
            for signal in message.signals:
                signal.mux = tuple((long.get(name, name), ids) for name, ids in signal.mux)
        wanted = _unquoted(self.attributes.get(("SystemMessageLongSymbol", message), '""'))
        if wanted and _safe(wanted) == wanted:
            short, message.name = message.name, wanted
            for key in [key for key in self.dropped if key.partition(".")[0] == short]:
                self.dropped[wanted + key[len(short) :]] = self.dropped[key]

    def attribute(self, name, of):
        """The value of an attribute as text, "" where it has none; an ENUM's number gives its word."""
        value = self.attributes.get((name, of), self.defaults.get(name, '""'))
        if value.startswith('"'):
            return _unquoted(value)
        definition, number = self.definitions.get(name), _fraction(value)
        words = definition and [_unquoted(word) for word in re.findall(_STRING, definition["values"])]
        if definition and definition["type"] == "ENUM" and number is not None and 0 <= number < len(words):
            return words[int(number)]
        return value

    def frame_format(self, message):
        value = self.attribute("VFrameFormat", message)
        return FRAME_FORMATS[int(value)] if value.isascii() and value.isdigit() and int(value) < 16 else value

    def cycle(self, message):
        value = self.attribute("GenMsgCycleTime", message)
        number = _fraction(value) if value else None
        if value and (number is None or number < 0):
            self.note(message.line, "cycle-time", f"has the cycle time `{value}`; taken as none", message.name)
        return int(number) or None if number and 0 < number < 1 << 30 else None

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


def _as_dbc(messages):
    """The text cantools is given: what is sound in `messages`, with its numbers as decimals."""
    lines = ['VERSION ""', "BS_:", "BU_:"]
    tail = [
        'BA_DEF_ BO_ "GenMsgCycleTime" INT 0 0;', 'BA_DEF_DEF_ "GenMsgCycleTime" 0;',
        'BA_DEF_ BO_ "VFrameFormat" ENUM ' + ",".join(f'"{name}"' for name in FRAME_FORMATS) + ";",
        'BA_DEF_DEF_ "VFrameFormat" "StandardCAN";',
    ]  # fmt: skip
    ids = set()
    for message in messages:
        number = message.can_id & ~EXTENDED | message.extended << 31
        lines.append(f"BO_ {number} {message.name}: {message.length} {(message.senders or ['Vector__XXX'])[0]}")
        if number in ids:
            tail_of = []  # cantools keys what follows by the id: it belongs to the first message
        else:
            tail_of = tail
            ids.add(number)
        if message.cycle_ms:
            tail_of.append(f'BA_ "GenMsgCycleTime" BO_ {number} {message.cycle_ms};')
        if message.fd:
            tail_of.append(f'BA_ "VFrameFormat" BO_ {number} {15 if message.extended else 14};')
        names = set()
        for signal in message.signals:
            if signal.name in names or (signal.is_float and signal.length not in (16, 32, 64)):
                continue
            names.add(signal.name)
            mark = f" m{min(signal.mux[-1][1])}{'M' * signal.multiplexer}" if signal.mux else " M" * signal.multiplexer
            low, high = _decimal(signal.minimum or Fraction(0)), _decimal(signal.maximum or Fraction(0))
            lines.append(
                f" SG_ {signal.name}{mark} : {signal.start}|{signal.length}"
                f"@{'10'[signal.big_endian]}{'+-'[signal.signed]} ({_decimal(signal.scale)},{_decimal(signal.offset)})"
                f" [{low}|{high}] {_quoted(signal.unit)} Vector__XXX"
            )
            if signal.mux:
                by, values = signal.mux[-1]
                tail_of.append(f"SG_MUL_VAL_ {number} {signal.name} {by} {_spans(values)};")
            if signal.is_float:
                tail_of.append(f"SIG_VALTYPE_ {number} {signal.name} : {1 if signal.length < 64 else 2};")
            if signal.choices:
                pairs = " ".join(f"{value} {_quoted(text)}" for value, text in signal.choices.items())
                tail_of.append(f"VAL_ {number} {signal.name} {pairs};")
    return "\n".join(lines + tail) + "\n"


def _spans(values):
    """`0-3, 7-7` of {0, 1, 2, 3, 7}."""
    spans = []
    for value in sorted(values):
        if spans and spans[-1][1] == value - 1:
            spans[-1][1] = value
        else:
            spans.append([value, value])
    return ", ".join(f"{first}-{last}" for first, last in spans)


def _decimal(value):
    """A Fraction of a DBC as a decimal: an integer, or the digits that give its float."""
    return str(value.numerator) if value.denominator == 1 else repr(float(value))
