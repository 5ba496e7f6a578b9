"""What the box says to others: the alarm frames (dbc/cellwarden.dbc), a lamp, lines on a console, a hook for events.

Each has event(record), called for every event (layout, EVENT_...), and update(box, t_ms), called after each scan.
"""

import json

from cellwarden.core import catalogue
from cellwarden.core import layout as L
from cellwarden.crc8 import crc8
from cellwarden.hazards import FIRST, ROWS

ALARM_ID = 0x6F0  # the alarm frame; the one with all rules has the next
NO_RULE = 127
NO_VALUE = -0x800000
MOST_VALUE = 0x7FFFFF


class AlarmFrames:
    """bus: canbus.Bus that may transmit; can_id: of the first of the two frames.

    sent, unsent: frames that went to the bus, and that it had no room for
    """

    def __init__(self, bus, can_id=ALARM_ID):
        self._bus, self._id = bus, can_id
        self._counter = self.sent = self.unsent = 0
        self._where, self._value = [0] * len(catalogue.RULES), [L.NA] * len(catalogue.RULES)

    def event(self, record):
        rule = record[L.EVENT_RULE]
        if rule < FIRST:
            self._where[rule], self._value[rule] = record[L.EVENT_WHERE], record[L.EVENT_VALUE]

    def update(self, box, t_ms):
        engine = box.engine
        state, params = engine.state, engine.params
        level, rule, mask = state[L.LEVEL], NO_RULE, 0
        for n in range(len(catalogue.RULES)):
            now = state[params[L.P_RULES_AT] + n * L.RULE_SIZE + L.LEVEL_NOW]
            if now:
                mask |= 1 << n
                own = params[L.HEADER_SIZE + n * L.RULE_TABLE_SIZE + L.P_OWN]
                if rule == NO_RULE and own and now == level:
                    rule = n
        mask |= box.hazards.mask << len(catalogue.RULES)
        where = value = 0
        if rule != NO_RULE:
            where, value = min(self._where[rule], 1023), self._value[rule]
        value = NO_VALUE if rule == NO_RULE or value == L.NA else max(NO_VALUE + 1, min(MOST_VALUE, value))
        known = 0x80 if state[L.KNOWN] else 0
        self._send(
            0, level << 4 | state[L.MAX_LEVEL] << 6,
            bytes((rule | known, where & 255, where >> 8 | box.hazards.level << 2))
            + bytes((value & 255, value >> 8 & 255, value >> 16 & 255)),
        )  # fmt: skip
        self._send(1, 0, bytes([mask >> 8 * i & 255 for i in range(6)]))
        self._counter = self._counter + 1 & 15

    def _send(self, which, levels, rest):
        body = bytes((self._counter | levels,)) + rest
        if self._bus.send(self._id + which, bytes((crc8(body),)) + body):
            self.sent += 1
        else:
            self.unsent += 1


class Lamp:
    """pin: called with 1 and 0 (machine.Pin). Dark: fine; a blink each 2 s: not yet known; slow, fast, on: level."""

    def __init__(self, pin):
        self._pin, self._lit = pin, None

    def event(self, record):
        pass

    def update(self, box, t_ms):
        state = box.engine.state
        level = max(state[L.LEVEL], box.hazards.level)
        if level == 0:
            lit = not state[L.KNOWN] and t_ms % 2000 < 100
        else:
            lit = level == 3 or t_ms % (1000, 250)[level - 1] < (500, 125)[level - 1]
        if lit != self._lit:
            self._lit = lit
            self._pin(1 if lit else 0)


class Lines:
    """Events, and by report() the status, each as a line of JSON behind a mark. write: called with bytes."""

    def __init__(self, write, mark=b"# "):
        self.write, self._mark = write, mark

    def event(self, record):
        self._line(told(record))

    def update(self, box, t_ms):
        pass

    def report(self, status):
        status["event"] = "status"
        self._line(status)

    def _line(self, value):
        self.write(self._mark + json.dumps(value).encode() + b"\r\n")


class Hook:
    """call: called with each event as told() has it."""

    def __init__(self, call):
        self._call = call

    def event(self, record):
        self._call(told(record))

    def update(self, box, t_ms):
        pass


def told(record):
    """An event as a dict; `value` is the core's integer, None without."""
    rule, before, level = record[L.EVENT_RULE], record[L.EVENT_BEFORE], record[L.EVENT_LEVEL]
    return {
        "t_ms": record[L.EVENT_T_MS],
        "event": "clear" if level == 0 else "raise" if before == 0 else "change",
        "rule": ROWS[rule - FIRST][0] if rule >= FIRST else catalogue.RULES[rule],
        "level": level,
        "before": before,
        "where": record[L.EVENT_WHERE],
        "value": None if record[L.EVENT_VALUE] == L.NA else record[L.EVENT_VALUE],
    }
