"""What is wrong or missing in a DBC for watching a battery with it: the checks of `cellwarden lint`."""

import re
from dataclasses import dataclass
from fractions import Fraction

SEVERITIES = ("error", "warning", "info")

# code: severity with no profile at hand, for a message the profile needs, for another message; how to mend it.
RULES = {
    "overlap":            ("error",   "error",   "warning", "give each signal its own bits, or multiplex them"),
    "overrun":            ("error",   "error",   "warning", "correct the start bit, the length, or the message length"),
    "broken-message":     ("error",   "error",   "warning", "rewrite the BO_ line"),
    "broken-signal":      ("error",   "error",   "warning", "rewrite the SG_ line"),
    "missing-message":    ("error",   "error",   "error",   "add the message, or map the quantity to another one"),
    "duplicate-id":       ("error",   "error",   "warning", "give one of the messages another id"),
    "duplicate-message":  ("error",   "error",   "warning", "rename one of the messages"),
    "duplicate-signal":   ("error",   "error",   "warning", "rename one of the signals"),
    "no-multiplexer":     ("error",   "error",   "warning", "mark the multiplexer with M, or name it by SG_MUL_VAL_"),
    "bad-multiplexer":    ("error",   "error",   "warning", "correct the SG_MUL_VAL_ line"),
    "mux-id-unreachable": ("error",   "error",   "warning", "correct the id, or lengthen the multiplexer"),
    "bad-id":             ("error",   "error",   "warning", "correct the id"),
    "bad-length":         ("error",   "error",   "warning", "correct the length"),
    "scale-zero":         ("error",   "error",   "warning", "correct the factor"),
    "float":              ("warning", "error",   "info",    "send an integer of up to 32 bits"),
    "over-32-bits":       ("warning", "error",   "info",    "send an integer of up to 32 bits"),
    "range-reversed":     ("error",   "error",   "warning", "swap minimum and maximum"),
    "range-unreachable":  ("warning", "warning", "info",    "correct the range, the factor or the offset"),
    "range-implausible":  ("warning", "warning", "info",    "correct the range, the factor or the unit"),
    "range-wide":         ("info",    "info",    "info",    "correct the range, the factor or the length"),
    "range-raw":          ("info",    "info",    "info",    "state the physical range"),
    "range-missing":      ("info",    "info",    "info",    "state the physical range"),
    "range":              ("warning", "warning", "info",    "write two numbers"),
    "no-cycle-time":      ("warning", "warning", "info",    "add BA_ \"GenMsgCycleTime\", or period_ms in the profile"),
    "cycle-time":         ("warning", "warning", "info",    "write milliseconds"),
    "unprotected":        ("warning", "warning", "info",    "add a counter and a checksum"),
    "unit-missing":       ("warning", "warning", "info",    "state the unit, or give it in the profile"),
    "choice-unreachable": ("warning", "warning", "info",    "correct the value in VAL_"),
    "mux-gap":            ("warning", "warning", "info",    "describe the missing pages"),
    "extended-flag":      ("warning", "warning", "warning", "add 2147483648 to the id"),
    "mended":             ("warning", "warning", "warning", "rewrite the line"),
    "stray":              ("warning", "warning", "warning", "remove the line, or correct the name in it"),
    "broken-statement":   ("warning", "warning", "warning", "rewrite or remove the line"),
    "unknown-text":       ("warning", "warning", "warning", "remove the line"),
    "semicolon":          ("warning", "warning", "warning", "add `;`"),
    "no-messages":        ("warning", "warning", "warning", "check that this is the right file"),
    "unknown-attribute":  ("info",    "info",    "info",    "declare it by BA_DEF_"),
    "section-missing":    ("info",    "info",    "info",    "add the section, most tools insist on it"),
    "encoding":           ("info",    "info",    "info",    "save the file as UTF-8"),
}  # fmt: skip

_COUNTER = set("counter cnt cntr ctr count alive rolling rc bz seq sequence heartbeat msgcnt livecounter".split())
_CHECKSUM = set("checksum chksum chksm chk crc cs fcs cks".split())
_QUANTITIES = {  # words in a name that promise a unit
    "a voltage": {"voltage", "volt", "volts"},
    "a current": {"current", "curr", "amps"},
    "a temperature": {"temperature", "temp", "temps"},
}
_NO_QUANTITY = re.compile(
    "stat|valid|flag|err|fault|fail|warn|alarm|alert|mode|enabl|req|cmd|cnt|count|num|index|type|level|lvl|gear|page|mux"
    "|sel|over|under|high|low|limit|sensor|ok$"
)
_VOLTS = {"v": 1, "volt": 1, "volts": 1, "mv": Fraction(1, 1000), "kv": 1000}
_CELSIUS = {"c", "celsius", "℃"}
MOST_VOLTS = 2000
COLDEST, HOTTEST = -100, 300  # degC


@dataclass(frozen=True)
class Issue:
    """severity: error, warning or info. line: from 1, in `file`. mend: what to do about it."""

    severity: str
    code: str
    file: str
    line: int
    text: str
    mend: str
    message: str | None = None
    signal: str | None = None


def check(db, needed=None):
    """All Issues of a Database, by line.

    needed: names of the messages a profile reads, or None without a profile; what concerns them weighs more, what
    concerns the others less.
    """
    found = []

    def say(code, text, line, message=None, signal=None):
        alone, close, far, mend = RULES[code]
        severity = alone if needed is None else close if message in needed else far
        found.append(Issue(severity, code, str(db.path), line, text, mend, message, signal))

    for finding in db.findings:
        say(finding.code, finding.text, finding.line, finding.message, finding.signal)
    if not db.messages:
        say("no-messages", "describes no message", 1)
    for name in sorted(needed or ()):
        if db.message(name) is None:
            why = f" ({db.dropped[name].text})" if name in db.dropped else ""
            say("missing-message", f"`{name}`, which the profile needs, is not here{why}", 1, name)
    for message in db.messages:
        for code, text in _of_message(message):
            say(code, text, message.line, message.name)
        for signal in message.signals:
            for code, text in _of_signal(message, signal):
                say(code, f"`{message.name}.{signal.name}` {text}", signal.line, message.name, signal.name)
    return sorted(found, key=lambda issue: issue.line)


def _of_message(message):
    """(code, text) of each issue of a message as a whole."""
    if not message.signals:
        return
    if message.cycle_ms is None:
        yield "no-cycle-time", f"`{message.name}` has no cycle time: nothing says when it is late"
    words = [_words(signal.name) for signal in message.signals if signal.length <= 32]
    if not any(name & (_COUNTER | _CHECKSUM) for name in words):
        yield "unprotected", f"`{message.name}` has no counter and no checksum: stale or broken frames look good"
    pages = {}
    for signal in message.signals:
        for by, ids in signal.mux:
            pages.setdefault(by, set()).update(ids)
    for by, used in pages.items():
        gap = max(used) - min(used) + 1 - len(used)
        if 0 < gap < len(used):  # sparse ids are no pages
            missing = [page for page in range(min(used), max(used)) if page not in used]
            yield "mux-gap", f"`{message.name}` lacks {_some(missing)} among the pages that `{by}` selects"
        multiplexer = message.signal(by)
        top = multiplexer.raw_range[1]
        if over := sorted(page for page in used if page > top):
            text = f"`{message.name}` has page {_some(over)}, but `{by}` reaches {top} with {multiplexer.length} bits"
            yield "mux-id-unreachable", text


def _of_signal(message, signal):
    """(code, what follows the signal's name) of each issue of a signal."""
    low, high = signal.minimum, signal.maximum
    ends = sorted(raw * signal.scale + signal.offset for raw in signal.raw_range)
    unit = re.sub(r"[°º\s_.]|deg(?:ree)?s?", "", signal.unit.lower())
    if signal.scale == 0:
        yield "scale-zero", "has a factor of 0: every value reads the same"
    elif low is None or high is None:
        yield "range-missing", "has the range [0|0]"
    elif low > high:
        yield "range-reversed", f"has the range [{_text(low)}|{_text(high)}], its minimum over its maximum"
    else:
        reach = f"has the range [{_text(low)}|{_text(high)}], but its bits reach {_text(ends[0])} to {_text(ends[1])}"
        if signal.is_float:
            pass
        elif low > ends[1] or high < ends[0]:
            yield "range-unreachable", reach
        elif low < ends[0] - abs(signal.scale) or high > ends[1] + abs(signal.scale):
            yield "range-wide", reach
        beyond = None
        if unit in _VOLTS and max(abs(low), abs(high)) * _VOLTS[unit] > MOST_VOLTS:
            beyond = f"over {MOST_VOLTS} V"
        if unit in _CELSIUS and (low < COLDEST or high > HOTTEST):
            beyond = f"beyond {COLDEST} to {HOTTEST} degC"
        if beyond and [low, high] == ends:
            yield "range-raw", f"states no range but that of its bits, {_text(low)} to {_text(high)} {signal.unit}"
        elif beyond:
            yield "range-implausible", f"reaches from {_text(low)} to {_text(high)} {signal.unit}, {beyond}"
    if not unit and signal.length >= 6 and not signal.choices and not _NO_QUANTITY.search(signal.name.lower()):
        words = _words(signal.name)
        for quantity, signs in _QUANTITIES.items():
            if words & signs:
                yield "unit-missing", f"looks like {quantity} and has no unit"
    bottom, top = signal.raw_range
    if not signal.is_float and (outside := [value for value in signal.choices if not bottom <= value <= top]):
        text = f"names the value {_some(outside)}, but its raw values run from {bottom} to {top}"
        yield "choice-unreachable", text


def _words(name):
    """{"hv", "bat", "temp", "2"} of HVBatTemp2; a known word inside a longer one counts too."""
    lower = name.lower()
    parts = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+", name)}
    inside = ("counter", "checksum", "chksum", "crc", "voltage", "temperature")
    return parts.union(word for word in inside if word in lower)


def _some(values):
    """The first few of a list as text."""
    return ", ".join(map(str, values[:5])) + (f" and {len(values) - 5} more" if len(values) > 5 else "")


def _text(value):
    """An exact value in at most 10 digits."""
    return str(value.numerator) if value.denominator == 1 and abs(value) < 10**10 else f"{float(value):.10g}"
