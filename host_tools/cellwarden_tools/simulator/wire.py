"""What goes wrong between the pack and the log: the [[fault]] tables of a scenario that are about frames."""

from fnmatch import fnmatchcase

from cellwarden.core.layout import NOTICE, NOTICE_BUS_OFF, NOTICE_DROPPED

from ..errors import InputError, did_you_mean
from .faults import WIRE, number, window

NOTICE_US = 100_000  # a controller tells of what it lost at most so often


class Wire:
    """One fault of frames. names: of all messages that are sent. Raises InputError."""

    def __init__(self, fault, names, where):
        self.kind = fault["kind"]
        needs = WIRE[self.kind]
        known = {"kind", "messages", "share", "starts_s", "ends_s", *needs}
        for key in fault:
            if key not in known:
                near = did_you_mean(key, known)
                raise InputError(where, f"no key `{key}` in this fault{near}", ", ".join(sorted(known)))
        patterns = fault.get("messages", ["*"])
        if not isinstance(patterns, list) or not all(isinstance(name, str) for name in patterns):
            raise InputError(where, f"messages = {patterns!r}", "a list of names")
        self.names = {name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)}
        if not self.names:
            raise InputError(where, f"no message is called {', '.join(patterns)}", ", ".join(sorted(names)))
        starts, ends = window(fault, self.kind, where)
        self.first_us, self.end_us = starts * 1_000_000, ends * 1_000_000
        self.share = number(fault, "share", where) if "share" in fault else 1
        self.tells = bool(fault.get("told"))
        self.bytes = number(fault, "bytes", where) if "bytes" in needs else 0
        self.back_us = int(1_000_000 * number(fault, "back_s", where)) if "back_s" in needs else 0
        self.held = None  # values that are repeated
        self.on = False
        self.told_us = -NOTICE_US

    def over(self, at):
        return at >= self.end_us


def through(wires, at, channel, sender, values, random):
    """Yield what becomes of a sender's next frame at time `at` us on its way: (t_us, channel, can_id, data)."""
    back_us, count, lost = 0, None, False
    spoilt = []
    for wire in wires:
        if not wire.first_us <= at:
            continue
        if wire.over(at):
            if wire.on and wire.kind == "off":
                yield at, channel, NOTICE | NOTICE_BUS_OFF, b"\0"
            wire.on = False
            continue
        if wire.kind == "clock":
            back_us += wire.back_us
        if wire.kind == "freeze" and wire.held is None:
            wire.held = list(values)
        if wire.kind == "off" and not wire.on:
            yield at, channel, NOTICE | NOTICE_BUS_OFF, b"\1"
        wire.on = True
        if sender.name not in wire.names or (wire.share < 1 and random() >= wire.share):
            continue
        if wire.kind == "freeze":
            values = wire.held
        elif wire.kind == "counter":
            count = sender.count
        elif wire.kind in ("drop", "off"):
            lost = True
            if wire.tells and at - wire.told_us >= NOTICE_US:
                wire.told_us = at
                yield at - back_us, channel, NOTICE | NOTICE_DROPPED, b""
        elif wire.kind != "clock":
            spoilt.append(wire)
    data = sender.encode(values)
    if count is not None:
        sender.count = count
    for wire in spoilt:
        if wire.kind == "short":
            data = data[: int(wire.bytes)]
        elif sender.checksum_byte is not None:
            wrong = bytearray(data)
            wrong[sender.checksum_byte] ^= 0x5A
            data = bytes(wrong)
    if not lost:
        yield max(at - back_us, 0), channel, sender.can_id, data
