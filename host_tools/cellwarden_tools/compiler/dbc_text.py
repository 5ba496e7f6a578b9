"""The text of a DBC, mended until cantools takes it.

What statements say together is put right first: ids, references to nothing. If cantools still refuses, it is asked
about each statement alone. What is left out becomes spaces, so that lines keep their numbers. What could change the
meaning of other signals is never left out in silence: it costs them too, or the file.
"""

import math
import re
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache, reduce
from itertools import chain, combinations, pairwise

from ..errors import InputError

FLAG = 1 << 31  # marks a 29-bit id in a DBC
LAST_BIT = 1 << 14  # J1939 transport carries 1785 bytes
MOST_PAGES = 1 << 18  # of a message: cantools makes a codec for each
FLOAT_BITS = {1: 32, 2: 64}  # by SIG_VALTYPE_

_KEYWORDS = """VERSION NS_ NS_DESC_ BS_ BU_ BO_ SG_ VAL_ VAL_TABLE_ CM_ BA_ BA_DEF_ BA_DEF_DEF_ BA_REL_ BA_DEF_REL_
    BA_DEF_DEF_REL_ BA_SGTYPE_ BA_DEF_SGTYPE_ BO_TX_BU_ EV_ ENVVAR_DATA_ EV_DATA_ SG_MUL_VAL_ SIG_GROUP_ SIG_VALTYPE_
    SIG_TYPE_REF_ SGTYPE_ SGTYPE_VAL_ SIGTYPE_VALTYPE_ CAT_ CAT_DEF_ FILTER BU_SG_REL_ BU_EV_REL_ BU_BO_REL_"""
_KEYWORD = rf"(?:{'|'.join(_KEYWORDS.split())})(?!\w)"
_LINE = re.compile(rf"^[ \t]*{_KEYWORD}", re.M)
_NEXT = re.compile(  # strings are stepped over; a list of keywords belongs to NS_
    r'"(?:\\"|[^"])*+"|(?P<comment>//[^\n]*|/\*.*?\*/)'
    rf"|(?:^|(?<=;))[ \t]*(?P<line>NS_(?!\w)[^\n]*(?:\n[ \t]*\w*[ \t]*(?=\n))*+|{_KEYWORD})"
    r"|(?<!\w)(?P<inline>SG_(?=\s+\w+(?:\s+\w+)?\s*:)|BO_(?=\s+\d+\s+\w+\s*:))",
    re.M | re.S,
)
_INTEGER = r"[-+]?\d+"
_MESSAGE = re.compile(rf"BO_\s+(?P<id>{_INTEGER})\s+(?P<name>\w+)\s*:\s*(?P<length>{_INTEGER})")
_SIGNAL = re.compile(
    rf"SG_\s+(?P<name>\w+)(?:\s+(?P<mark>\w+))?\s*:\s*(?P<start>{_INTEGER})\s*\|\s*(?P<length>{_INTEGER})"
    r"\s*@\s*(?P<order>[^\s+-]+)\s*[+-]\s*\(\s*(?P<scale>[-+.\deE]+)\s*,\s*(?P<offset>[-+.\deE]+)\s*\)"
    r"\s*\[\s*(?P<low>[^\s|]+)\s*\|\s*(?P<high>[^\s\]]+)\s*\]"
)
_REFERENCE = re.compile(
    rf'(?:(?:VAL_|SG_MUL_VAL_|SIG_VALTYPE_|(?:CM_|BA_\s*"[^"]*")\s*SG_)\s+(?={_INTEGER}\s+(?P<name>\w+))'
    rf'|(?:SIG_GROUP_|BO_TX_BU_|(?:CM_|BA_\s*"[^"]*")\s*BO_)\s+)(?P<id>{_INTEGER})'
)
_ATTRIBUTE = re.compile(r'BA_(?:DEF_(?:DEF_)?)?\s*(?:(?:SG_|BO_|EV_|BU_)\s*)?"(?P<name>[^"]*)"')
_PAGES = re.compile(r"SG_MUL_VAL_\s+\d+\s+\w+\s+(?P<by>\w+)\s+(?P<ids>\d+-\d+(?:\s*,\s*\d+-\d+)*)\s*;")
_TYPE = re.compile(r"SIG_VALTYPE_\s+\d+\s+\w+\s*:\s*(?P<type>[0-3])\s*;")
_NUMBER = re.compile(r"[-+]?(?:\d{1,40}\.?\d{0,40}|\.\d{1,40})(?:[eE][-+]?0*\d{1,3})?")
_HUGE = re.compile(r"\d\.?[eE]\+?0*[1-9]\d{3}")  # cantools would write out all its digits
_SWALLOWED = re.compile(r"(?<!\w)(?:SG_MUL_VAL_|SIG_VALTYPE_|(?P<object>SG_|BO_))\s+\w")  # by what would be left out
_MARK = re.compile(r"M|m\d{1,10}M?")
_NO_MULTIPLEXER = re.compile(r"SG_\s+\w+(?:\s+m\d+)?\s*:")
_EXPECTED = {  # by keyword: what must be understood, or be refused
    "BO_": "`BO_ id name: length sender`",
    "SG_": '`SG_ name : start|length@0+ (factor,offset) [minimum|maximum] "unit" receivers`',
    "SG_MUL_VAL_": "`SG_MUL_VAL_ id signal multiplexer first-last;`",
    "SIG_VALTYPE_": "`SIG_VALTYPE_ id signal : 0|1|2;`",
}


@dataclass(frozen=True)
class Finding:
    """Something mended, dropped or suspicious. line: from 1, in the DBC; 1 too for what concerns the whole file."""

    line: int | None
    code: str
    text: str
    message: str | None = None
    signal: str | None = None


@dataclass(eq=False)
class Found:
    """A message as the text has it. number: its id as cantools is given it. signals: [(line, match of SG_)].

    doubt: line of a dropped signal that may be its multiplexer, or None
    """

    line: int
    name: str
    number: int
    signals: list[tuple[int, re.Match]] = field(default_factory=list)
    doubt: int | None = None


@dataclass(eq=False)
class _Statement:
    """keyword: "" for text that is none. text: up to the next one. named: characters of `text` that name it."""

    keyword: str
    line: int
    column: int
    text: str
    named: int

    def blank(self, start=0):
        self.text = self.text[:start] + re.sub(r"[^\n]", " ", self.text[start:])
        self.keyword = self.keyword if start else ""

    def place(self, offset=0):
        """line:column of one of its characters."""
        before = self.text[:offset]
        column = offset - before.rfind("\n") if "\n" in before else self.column + offset
        return f"{self.line + before.count(chr(10))}:{column}"

    def here(self, offset=0):
        """What stands there, for a message."""
        rest = self.text[offset:].partition("\n")[0].strip()
        return f"`{rest[:24]}`" if rest else "the end of the line"


def _split(text, line=1):
    """All of `text` as _Statements; the first is what stands before them."""
    bounds = [("", 0, 0)]
    for match in _NEXT.finditer(text):
        if word := match["line"] or match["inline"]:
            start = match.start("line" if match["line"] else "inline")
            bounds.append(("NS_" if re.match(r"NS_\b", word) else word, start, match.end()))
    statements = []
    for (keyword, start, named), (_, end, _) in pairwise([*bounds, ("", len(text), 0)]):
        column = start - text.rfind("\n", 0, start)
        statements.append(_Statement(keyword, line, column, text[start:end], named - start))
        line += text.count("\n", start, end)
    return statements


def _decode(data):
    """(text, encoding) of the bytes of a DBC: UTF-8 where valid, else GB 18030 where every high byte has its twin."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace"), "utf-16"
    twins = all(len(run) % 2 == 0 and min(run) > 0xA0 for run in re.findall(rb"[\x80-\xff]+", data))
    for codec, name in [("utf-8-sig", "utf-8"), ("gb18030", "gb18030")][: 1 + twins]:
        try:
            return data.decode(codec), name
        except UnicodeDecodeError:
            continue
    return data.decode("cp1252", "replace"), "cp1252"


@lru_cache(4096)
def fraction(text):
    """The exact value of a decimal, or None where it is none or beyond 1e300."""
    value = Fraction(text) if _NUMBER.fullmatch(text) else None
    return value if value is not None and abs(value) < 10**300 else None


def _number(text):
    """An id with the flag for 29 bits where it lacks it; -1 for none."""
    number = int(text) if len(text) < 13 else -1
    return number | FLAG if 0x7FF < number <= 0x1FFFFFFF else number


def _parse(text):
    """(cantools' Database, the signals of each of its messages in the order of the file). Raises what cantools does."""
    from cantools.database.can.database import Database
    from cantools.database.utils import sort_signals_by_start_bit

    signals = []

    def sort(of_message):
        signals.append(of_message)
        return sort_signals_by_start_bit(of_message)  # cantools decodes Intel signals wrongly if they are not sorted

    database = Database(strict=False, sort_signals=sort)
    database.add_dbc_string(text + "\nBS_:\n")  # it says nothing of a last statement that is cut off
    return database, signals


def _one_line(error):
    return str(error).partition("\n")[0] or type(error).__name__


def _unsafe(keyword, match):
    """(code, why) of a BO_ or SG_ that cantools would misread, or take memory for each of its bits; or None."""
    if keyword == "BO_":
        number, length = _number(match["id"]), match["length"]
        if not (0 <= number < 1 << 32 and number & ~FLAG <= (0x1FFFFFFF if number & FLAG else 0x7FF)):
            return "bad-id", f"has the id {match['id'][:12]}, which is over 29 bits"
        if len(length) > 6 or not 0 <= int(length) * 8 <= LAST_BIT:
            return "bad-length", f"is {length[:12]} bytes long"
        return None
    start, length, mark = match["start"], match["length"], match["mark"]
    why = None
    if len(start) > 6 or len(length) > 6 or int(start) + int(length) > LAST_BIT:
        why = f"has {length[:12]} bits from bit {start[:12]}"
    elif int(length) < 1 or int(start) < 0:
        why = f"is {length} bits long" if int(length) < 1 else f"starts at bit {start}"
    elif match["order"] not in ("0", "1"):
        why = f"has the byte order {match['order']}, expected 0 or 1"
    elif any(fraction(match[key]) is None for key in ("scale", "offset")):
        why = "has a factor or offset beyond 1e300"
    elif mark and not _MARK.fullmatch(mark):
        why = f"has the multiplexer mark `{mark}`, expected M, m<id> or m<id>M"
    return why and ("broken-signal", why)


def _plain_numbers(text):
    """`.5` as `0.5`, a length of `08` as `8`, outside strings."""
    head, quote, rest = text.partition('"')
    return re.sub(r"(?<![\w.])\.(?=\d)", "0.", re.sub(r"(?<=:)(\s*)0+(?=\d)", r"\1", head)) + quote + rest


def _append(text, end):
    return text.rstrip() + end + text[len(text.rstrip()) :]


_REPAIRS = (  # keywords, what does it, the code of the finding, what is said
    ("BO_ SG_", _plain_numbers, "mended", "has a number that cantools cannot read; written out"),
    ("SG_", lambda text: re.sub(r"\[[^|\]\n]*\|[^|\]\n]*\]", "[0|0]", text, count=1), "range",
     "has the range `{0}`, which is no range; ignored"),
    ("BO_ SG_", lambda text: _append(text, " Vector__XXX"), "mended", "names no sender or receiver; taken as none"),
    ("VAL_ VAL_TABLE_ CM_ BA_ BA_DEF_ BA_DEF_DEF_ SG_MUL_VAL_ SIG_VALTYPE_ BO_TX_BU_ SIG_GROUP_",
     lambda text: _append(text, ";"), "semicolon", "does not end in `;`; taken as if it did"),
)  # fmt: skip


def _refusal(statement, definitions):
    """(offset or None, why) where cantools refuses one statement, as if all that it speaks of were there; or None.

    What sweep() knows to be harmful is kept from cantools.
    """
    keyword, text, prefix = statement.keyword, statement.text, ""
    match = {"BO_": _MESSAGE, "SG_": _SIGNAL, "SG_MUL_VAL_": _PAGES}.get(keyword, _REFERENCE).match(text)
    if keyword == "SG_MUL_VAL_":
        return None if match and not text[match.end() :].strip() else (match and match.end(), "")
    if keyword in ("BO_", "SG_"):
        prefix = "BO_ 0 M: 8 X\n" if keyword == "SG_" else ""
        if match and _unsafe(keyword, match):
            return None
        if keyword == "BO_" and match:
            text = _with_id(text, match, "0")
    elif keyword.startswith("BA_") and _HUGE.search(text):
        return None
    elif keyword != "BA_DEF_":
        prefix = f'BO_ 0 M: 8 X\nSG_ {(match and match["name"]) or "S"} : 0|32@1+ (1,0) [0|0] "" X\n'
        if keyword in ("BA_", "BA_DEF_DEF_") and (attribute := _ATTRIBUTE.match(text)):
            prefix += definitions.get(attribute["name"], "")
        if match:
            text = _with_id(text, match, "0")
    try:
        _parse(prefix + text)
    except KeyError:  # an attribute that nothing declares: sweep() names it
        return None
    except Exception as error:
        offset = getattr(error, "offset", None)
        inside = None if offset is None else min(max(0, offset - len(prefix)), len(text.rstrip()))
        return inside, _one_line(error)
    return (None, "") if keyword in ("BO_", "SG_") and not match else None


def _with_id(text, match, number):
    """`text` with another id in as many characters, or more."""
    first, last = match.span("id")
    return text[:first] + number.ljust(last - first) + text[last:]


class Reader:
    """Reads one DBC. findings, dropped: as in Database. floats: {(number, signal): what SIG_VALTYPE_ says}.

    muxed_by: {(number, signal): the multiplexers SG_MUL_VAL_ names}; wide: (number, signal) of those with too many ids
    """

    def __init__(self, path, data):
        self.path = path
        if not data.strip(b"\0\x1a \t\r\n"):
            raise InputError(path, "is empty", "a DBC")
        text, encoding = _decode(data)
        text = text.replace("\r\n", "\n").replace("\r", "\n").translate({0xA0: " ", 0x0B: " ", 0x0C: " ", 0x3000: " "})
        text = text.rstrip("\0\x1a \t\n") + "\n"
        if "\0" in text:
            where = data.find(b"\0")
            raise InputError(f"{path}:byte {where}", "is a binary file (a zero byte stands here)", "the text of a DBC")
        spaces = lambda match: re.sub(r"[^\n]", " ", match[0]) if match["comment"] else match[0]  # noqa: E731
        self.statements = _split(_NEXT.sub(spaces, text))
        if all(statement.keyword in ("", "FILTER") for statement in self.statements):
            offset = len(text) - len(text.lstrip())
            raise self.error(self.statements[0], offset, "is no DBC statement", "VERSION, NS_, BU_, BO_ or the like")
        self.encoding = [] if encoding == "utf-8" else [Finding(1, "encoding", f"is not UTF-8; read as {encoding}")]
        self.forget()

    def forget(self):
        """Starts the account of what was mended and dropped."""
        self.findings, self.dropped, self.doubts, self.refused = list(self.encoding), {}, {}, None
        self.gone = set()  # numbers, and (number, signal), of what was dropped: what refers to them needs no word

    def read(self):
        """(cantools' Database, [(Found, its Message there, its signals there in the order of the file)])."""
        try:
            return self.attempt()
        except Exception:  # whatever stopped cantools: each statement is looked at now
            self.forget()
        self.mend()
        try:
            return self.attempt()
        except InputError:
            raise
        except Exception as error:
            where = f":{error.line}:{error.column}" if hasattr(error, "column") else ""
            raise InputError(f"{self.path}{where}", f"cantools refuses it ({_one_line(error)})") from None

    def attempt(self):
        text, found, wrong = self.sweep()
        database, signals = _parse(text)
        if wrong or (not found and self.refused):
            raise wrong or self.refused
        ours = [[(int(match["start"]), int(match["length"])) for _, match in one.signals] for one in found]
        if ours != [[(signal.start, signal.length) for signal in of_message] for of_message in signals]:
            raise InputError(self.path, "has statements that run into each other", "one statement a line")
        return database, list(zip(found, database.messages, signals, strict=True))

    def error(self, statement, offset, what, expected):
        return InputError(f"{self.path}:{statement.place(offset)}", f"{statement.here(offset)} {what}", expected)

    def note(self, line, code, text, message=None, signal=None):
        finding = Finding(line, code, text, message, signal)
        self.findings.append(finding)
        return finding

    def drop(self, statement, code, text, of, signal=None):
        """Blanks a BO_ or SG_ and keeps the reason. of: the Found of its message."""
        self.gone.add((of.number, signal) if signal else of.number)
        finding = self.note(statement.line, code, text, of.name, signal)
        self.dropped.setdefault(f"{of.name}.{signal}" if signal else of.name, finding)
        if statement.keyword == "SG_" and not _NO_MULTIPLEXER.match(statement.text):
            self.doubts[of.line] = statement.line
        statement.blank()

    # What statements say together: cantools refuses some of it, and is silent about more.

    def sweep(self):
        """(the text without what refers to nothing or would do harm, [Found], an InputError or None)."""
        statements = [replace(statement) for statement in self.statements]
        found, references, attributes = [], [], {}
        message = None  # whose signals follow; False while those of a dropped one do
        keywords = [statement.keyword for statement in statements]
        for index, statement in enumerate(statements):
            keyword, text, line = statement.keyword, statement.text, statement.line
            if keyword == "SG_":
                match = _SIGNAL.match(text)
                if message and match and (unsafe := _unsafe(keyword, match)):
                    why = f"`{match['name']}` {unsafe[1]}; the signal is dropped"
                    self.drop(statement, unsafe[0], why, message, match["name"])
                elif message and match:
                    message.signals.append((line, match))
                elif message is False:
                    statement.blank()
                continue
            message = None if keyword else message
            if keyword == "NS_" and next(filter(None, keywords[index + 1 :]), "") not in ("BS_", "BU_"):
                statement.blank()  # cantools takes it to end at one of these
            elif keyword == "BO_" and (match := _MESSAGE.match(text)):
                message = self.sweep_message(statement, match)
                found += [message] if message else []
            elif keyword.startswith("BA_") and _HUGE.search(text):
                self.note(line, "broken-statement", f"{statement.here()} cannot be read; ignored")
                statement.blank()
            elif keyword in ("BA_", "BA_DEF_", "BA_DEF_DEF_") and (match := _ATTRIBUTE.match(text)):
                attributes.setdefault((keyword, match["name"]), []).append(statement)
            if match := _REFERENCE.match(statement.text):
                references.append((statement, match))
        for keyword in ("BS_", "BU_"):
            if keyword not in keywords:
                self.note(1, "section-missing", f"has no {keyword}: section; taken as empty")
        tail = self.sweep_attributes(attributes)
        wrong = self.sweep_references(references, found)
        for one in found:
            one.doubt = self.doubts.get(one.line)
        return "".join(statement.text for statement in statements) + tail, found, wrong

    def sweep_message(self, statement, match):
        """The Found of a BO_; None for Vector's bin of signals that no message carries, False for a dropped one."""
        found = Found(statement.line, match["name"], _number(match["id"]))
        if found.name == "VECTOR__INDEPENDENT_SIG_MSG":
            self.gone.add(found.number)
            return None
        if unsafe := _unsafe("BO_", match):
            self.drop(statement, unsafe[0], f"{found.name} {unsafe[1]}; dropped", found)
            return False
        if found.number != int(match["id"]):
            id_here = f"{found.name} has the id {match['id']}"
            text = f"{id_here}, over 11 bits without the 29-bit flag (2^31); taken as 29 bits"
            self.note(found.line, "extended-flag", text, found.name)
            statement.text = _with_id(statement.text, match, str(found.number))
        return found

    def sweep_attributes(self, attributes):
        """Blanks what is not declared. The declarations to add for the attributes that matter here."""
        tail = ""
        for (keyword, name), statements in attributes.items():
            if keyword == "BA_" and ("BA_DEF_", name) not in attributes:
                again = f" ({len(statements)} times)" if len(statements) > 1 else ""
                text = f"BA_ `{name}` is not declared by BA_DEF_{again}"
                self.note(statements[0].line, "unknown-attribute", text)
                if name == "GenMsgCycleTime":
                    tail += 'BA_DEF_ BO_ "GenMsgCycleTime" INT 0 0;\n'
                else:
                    for statement in statements:
                        statement.blank()
        if ("BA_DEF_", "VFrameFormat") in attributes and ("BA_DEF_DEF_", "VFrameFormat") not in attributes:
            tail += 'BA_DEF_DEF_ "VFrameFormat" 0;\n'  # cantools insists on it where it is an INT
        return tail

    def sweep_references(self, references, found):
        """Blanks what refers to nothing or would do harm. An InputError for what must be understood, or None."""
        known, names, pages, wrong = {}, {}, {}, None  # number -> {signal: its lengths}; number -> name of the message
        self.floats, self.muxed_by, self.wide = {}, {}, set()
        for one in found:
            names.setdefault(one.number, one.name)
            for _, match in one.signals:
                known.setdefault(one.number, {}).setdefault(match["name"], set()).add(int(match["length"]))
        for statement, match in references:
            number, name, keyword = _number(match["id"]), match["name"], statement.keyword
            if not keyword:  # blanked since
                continue
            form = {"SG_MUL_VAL_": _PAGES, "SIG_VALTYPE_": _TYPE}.get(keyword, _REFERENCE).match(statement.text)
            if number not in names or (name and name not in known.get(number, ())):
                if number not in self.gone and (number, name) not in self.gone:
                    of = names.get(number)
                    what = f"`{of}.{name}`" if of else f"message {match['id']}"
                    text = f"{keyword} speaks of {what}, which is not here; ignored"
                    self.note(statement.line, "stray", text, of)
                statement.blank()
                continue
            if number != int(match["id"]):
                statement.text = _with_id(statement.text, match, str(number))
            if not form:
                wrong = wrong or self.error(statement, 0, "cannot be read", _EXPECTED[keyword])
                statement.blank()
            elif keyword == "SG_MUL_VAL_":
                spans = [span.split("-") for span in form["ids"].split(",")]
                widths = [max(1, int(last) - int(first) + 1) if len(last) < 13 else MOST_PAGES for first, last in spans]
                self.muxed_by.setdefault((number, name), set()).add(form["by"])
                pages.setdefault(number, {}).setdefault(form["by"], []).append((name, statement, sum(widths)))
            elif keyword == "SIG_VALTYPE_":
                self.floats[number, name] = int(form["type"])
                if int(form["type"]) in FLOAT_BITS and not known[number][name] <= {16, 32, 64}:
                    statement.blank()  # cantools has no such floats
        for number, multiplexers in pages.items():
            if math.prod(max(1, sum(width for *_, width in rows)) for rows in multiplexers.values()) > MOST_PAGES:
                for name, statement, _ in chain.from_iterable(multiplexers.values()):
                    self.wide.add((number, name))
                    statement.blank()
        return wrong

    # What a statement says alone.

    def mend(self):
        """Lets cantools judge each statement alone; repairs or blanks what it refuses."""
        message, loose = None, None  # whose signals follow; the text before them that is no statement
        definitions, index = {}, 0
        while index < len(self.statements):
            statement = self.statements[index]
            keyword, index = statement.keyword, index + 1
            if not keyword and statement.text.strip():
                loose = self.junk(statement, len(statement.text) - len(statement.text.lstrip()))
            if keyword in ("", "NS_"):
                message = message if not keyword else None
                continue
            if keyword == "SG_" and message is None:
                raise loose or InputError(
                    f"{self.path}:{statement.place()}", "a signal outside a message", "BO_ before SG_"
                )
            lost = keyword == "SG_" and message is False
            refusal = None if lost else _refusal(statement, definitions)
            if (lost or refusal) and (inner := _LINE.search(statement.text, statement.named)):
                rest = statement.text[inner.start() :]  # swallowed by an open string
                statement.text = statement.text[: inner.start()]
                rest += "".join(other.text for other in self.statements[index:])
                self.statements[index:] = _split(rest, statement.line + statement.text.count("\n"))
                refusal = None if lost else _refusal(statement, definitions)
            if lost:
                statement.blank()
                continue
            loose = None
            sound = refusal and statement.text[: refusal[0] or 0]
            if sound and not _refusal(replace(statement, text=sound), definitions):
                loose = self.junk(statement, refusal[0])
            elif refusal and not self.repair(statement, definitions, message):
                message = self.broken(statement, refusal, message)
                continue
            if keyword != "SG_":
                message = None
            if keyword == "BO_":
                match = _MESSAGE.match(statement.text)
                message = Found(statement.line, match["name"], _number(match["id"]))
            elif keyword in ("BA_DEF_", "BA_DEF_DEF_") and (match := _ATTRIBUTE.match(statement.text)):
                definitions[match["name"]] = definitions.get(match["name"], "") + statement.text
            message = None if loose else message

    def repair(self, statement, definitions, message):
        """Makes the fewest usual repairs after which cantools takes a statement. Whether there are such."""
        rows = [row for row in _REPAIRS if statement.keyword in row[0].split()]
        rows = [row for row in rows if row[1](statement.text) != statement.text]
        for chosen in chain.from_iterable(combinations(rows, size) for size in range(1, len(rows) + 1)):
            text = reduce(lambda text, row: row[1](text), chosen, statement.text)
            if not _refusal(replace(statement, text=text), definitions):
                bounds = re.search(r"\[[^\]\n]*\]", statement.text)
                name = re.match(r"(?:SG_|BO_\s+\d+)\s+(\w+)|", text)[1]
                of = (message.name, name) if message and statement.keyword == "SG_" else (name,)
                for _, _, code, said in chosen:
                    said = f"`{name}` {said}" if name else f"{statement.keyword} {said}"
                    self.note(statement.line, code, said.format(bounds and bounds[0]), *of)
                statement.text = text
                return True
        return False

    def junk(self, statement, offset):
        """Blanks what is no statement. An InputError to raise if signals follow lines of it, else None."""
        text, line = statement.text, int(statement.place(offset).partition(":")[0])
        if _SWALLOWED.search(text, offset):
            raise self.error(statement, offset, "cannot stand here", "one statement a line")
        self.note(line, "unknown-text", f"{statement.here(offset)} is no DBC statement; ignored")
        start, loose = offset, None
        if statement.keyword:  # the rest of its own line does no harm
            start = text.rfind("\n", 0, offset) + 1 or text.find("\n", offset) + 1 or len(text)
        if rest := text[start:].lstrip():
            loose = self.error(statement, len(text) - len(rest), "is no DBC statement, and signals follow it", "BO_")
        statement.blank(offset)
        return loose

    def broken(self, statement, refusal, message):
        """Drops what cantools refuses; InputError where that would change other signals. The new `message`."""
        keyword, offset = statement.keyword, refusal[0]
        why = "cannot stand here" if offset else f"cannot be read ({refusal[1]})" if refusal[1] else "cannot be read"
        where = statement, offset or 0, why
        column = statement.place(offset or 0).partition(":")[2]
        what = f"{statement.here(offset or 0)} at column {column} {why}"
        if keyword in ("SG_MUL_VAL_", "SIG_VALTYPE_"):
            raise self.error(*where, _EXPECTED[keyword])
        for other in _SWALLOWED.finditer(statement.text, statement.named):
            if not other["object"] or keyword in ("BO_", "SG_"):  # CM_ and the like do speak of objects
                raise self.error(statement, other.start(), "cannot stand here", "one statement a line")
        if keyword == "BO_":
            self.refused = self.refused or self.error(*where, _EXPECTED[keyword])
            words = re.match(r"BO_\s+(\S+)\s+([^\s:]+)|", statement.text)
            number = _number(words[1]) if words[1] and words[1].isdecimal() else -1
            found = Found(statement.line, words[2] or "", number)
            self.drop(statement, "broken-message", f"{what}; the message is dropped", found)
            return False
        if keyword == "SG_":
            name = re.match(r"SG_\s+([^\s:]+)|", statement.text)[1]
            self.drop(statement, "broken-signal", f"{what}; the signal is dropped", message, name or "?")
            return message
        self.note(statement.line, "broken-statement", f"{statement.here()} cannot be read; ignored")
        statement.blank()
        return None
