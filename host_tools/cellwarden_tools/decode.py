"""A log's signals: every signal of a DBC, or the quantities of a profile in canonical units.

The bits are taken out by the very text the vehicle's decoder is generated from (`compiler.decoder.raw_expression`).
"""

import struct
from array import array
from collections import Counter

import cellwarden.engine
from cellwarden.core import layout as L

from .compiler.decoder import last_byte, raw_expression, slot_of
from .errors import InputError

DBC_COLUMNS = ("t", "channel", "message", "signal", "raw", "value", "unit", "label")
PROFILE_COLUMNS = ("t", "channel", "message", "quantity", "index", "value", "unit")


def message_decoder(message):
    """A function (d, n) -> [(Signal, raw)] for one message: d the frame's bytes, n how many are its own.

    Signals on other multiplexer pages, or past the end of a short frame, are left out. raw is an int, or a float for a
    float signal.
    """
    lines = ["def decode(d, n):", "    out = []"]
    signals = []
    multiplexers = {}
    for signal in message.signals:
        if any(part[0] not in {s.name for s in message.signals} for part in signal.mux):
            continue
        tests = [f"n >= {last_byte(signal)}"]
        for name, _ in signal.mux:
            if name not in multiplexers:
                multiplexers[name] = f"m{len(multiplexers)}"
                chosen = next(s for s in message.signals if s.name == name)
                text = f"{_raw(chosen)} if n >= {last_byte(chosen)} else None"
                lines.append(f"    {multiplexers[name]} = {text}")
            tests.append(f"{multiplexers[name]} in ids{len(signals)}_{len(tests)}")
        raw = _raw(signal)
        if signal.is_float:
            raw = f"float{signal.length}({raw})"
        elif signal.signed:
            raw = f"(({raw}) ^ {1 << signal.length - 1}) - {1 << signal.length - 1}"
        lines.append(f"    if {' and '.join(tests)}:")
        lines.append(f"        out.append((s[{len(signals)}], {raw}))")
        signals.append(signal)
    lines.append("    return out")
    # Multiplexers are read before the first signal that needs them; Python finds them where they stand.
    space = {"s": signals, "float32": _float32, "float64": _float64, "float16": _float16}
    for number, signal in enumerate(signals):
        for depth, (_, ids) in enumerate(signal.mux, 1):
            space[f"ids{number}_{depth}"] = ids
    exec("\n".join(lines), space)
    return space["decode"]


def _raw(signal):
    return raw_expression(signal, byte_text="d[{}]".format)


def _float16(raw):
    return struct.unpack("<e", raw.to_bytes(2, "little"))[0]


def _float32(raw):
    return struct.unpack("<f", raw.to_bytes(4, "little"))[0]


def _float64(raw):
    return struct.unpack("<d", raw.to_bytes(8, "little"))[0]


def physical(signal, raw):
    """The physical value of a raw one: an int where scale and offset are whole, else the nearest float."""
    if isinstance(raw, float):
        return raw * float(signal.scale) + float(signal.offset)
    value = raw * signal.scale + signal.offset
    return int(value) if value.denominator == 1 and signal.scale.denominator == 1 else float(value)


class DbcRows:
    """Iterate for rows (DBC_COLUMNS) of a log; `databases` is {channel or None: Database}; `known` counts frames."""

    columns = DBC_COLUMNS

    def __init__(self, log, databases):
        self.log, self.databases = log, databases
        self.known = 0
        self.other = Counter()

    def __iter__(self):
        tables = {}
        for channel, database in self.databases.items():
            # The last of two messages with one identifier would hide the first; the first is what the DBC names.
            tables[channel] = {m.can_id: m for m in reversed(database.messages)}
        decoders = {}
        default = tables.get(None)
        for t_us, channel, can_id, data in self.log:
            if can_id >> 30:
                continue
            messages = tables.get(channel, default)
            message = messages.get(can_id) if messages else None
            if message is None:
                if not self.known:
                    _note(self.other, channel, can_id)
                continue
            self.known += 1
            decode = decoders.get((channel, can_id))
            if decode is None:
                decode = decoders[channel, can_id] = message_decoder(message)
            t = t_us / 1e6
            for signal, raw in decode(data, len(data)):
                yield (
                    t,
                    channel,
                    message.name,
                    signal.name,
                    raw,
                    physical(signal, raw),
                    signal.unit,
                    signal.choices.get(raw),
                )


class ProfileRows:
    """Iterate for rows (PROFILE_COLUMNS): canonical integers as the vehicle's decoder stores them, None = invalid."""

    columns = PROFILE_COLUMNS

    def __init__(self, log, compiled):
        self.log, self.compiled = log, compiled
        self.known = 0
        self.other = Counter()

    def __iter__(self):
        plan, profile = self.compiled.plan, self.compiled.profile
        # The decoder alone: with scans this far apart nothing ages and nothing is judged.
        params = array("i", self.compiled.image.params)
        params[L.P_SCAN_MS] = 1 << 28
        engine = cellwarden.engine.Engine(_Parts(params, self.compiled.image.drain))
        groups, signals = engine.section("groups"), engine.section("signals")
        numbers = profile.probe_numbers
        buses = {bus.channel: bus.number for bus in profile.buses}
        by_id = {}
        for number, group in enumerate(plan.groups):
            bus, message, _ = plan.messages[group.message]
            members = [(slot_of(b, profile.cells), b) for b in group.bindings]
            by_id.setdefault((bus.number, message.can_id), []).append((number, message.name, members))
        for t_us, channel, can_id, data in self.log:
            if can_id >> 30:
                continue
            bus = buses.get(channel, buses.get(None))
            here = by_id.get((bus, can_id))
            if here is None:
                if not self.known:
                    _note(self.other, channel, can_id)
                continue
            self.known += 1
            before = [groups[number * L.GROUP_SIZE + L.ARRIVALS] for number, _, _ in here]
            engine.frame(0, can_id, data, bus)
            for (number, name, members), arrivals in zip(here, before, strict=True):
                if groups[number * L.GROUP_SIZE + L.ARRIVALS] == arrivals:
                    continue
                for slot, binding in members:
                    value, index = signals[slot], binding.index
                    if numbers and binding.quantity.name == "temperature":
                        index = numbers[index - 1]
                    yield (
                        t_us / 1e6, channel, name, binding.quantity.name, index or None,
                        None if value == L.NA else value, binding.quantity.unit,
                    )  # fmt: skip


def _note(other, channel, can_id):
    """Count an unknown identifier for the message that may be needed; a log of random ones must not fill the memory."""
    if len(other) < 4096:
        other[channel, can_id] += 1


class _Parts:
    def __init__(self, params, drain):
        self.params, self.drain = params, drain


def nothing_known(rows, path, what):
    """The InputError for a log without one known frame."""
    ids = ", ".join(f"0x{i & ~L.EXT:X}" for (_, i), _ in rows.other.most_common(3))
    return InputError(
        path,
        f"no frame of {what} in it (it has {ids})",
        "a log of that vehicle",
        "choose the DBC or profile of what was logged",
    )
