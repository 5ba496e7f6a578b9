"""Signals to frames, many at a time: what a vehicle's BMS would send, as records of the core's ring."""

import numpy as np
from cellwarden.core import layout as L
from cellwarden_tools.compiler.checksums import KINDS, crc8_table
from cellwarden_tools.compiler.decoder import slot_of
from cellwarden_tools.compiler.quantities import NUMBER


def record_type(data_bytes):
    """The ring's record (layout) as a NumPy type."""
    places = {
        "t_ms": ("i4", L.RECORD_T_MS), "can_id": ("i4", L.RECORD_ID), "bus": ("u1", L.RECORD_CHANNEL),
        "length": ("u1", L.RECORD_LENGTH), "data": (("u1", (data_bytes,)), L.RECORD_DATA),
    }  # fmt: skip
    formats, offsets = zip(*places.values(), strict=True)
    return np.dtype(
        {"names": list(places), "formats": formats, "offsets": offsets, "itemsize": L.RECORD_DATA + data_bytes}
    )


def bits(signal):
    """(byte, bit of it, bit of the raw value) of each bit, in the order the DBC counts them."""
    at = signal.start
    for i in range(signal.length):
        yield at // 8, at % 8, signal.length - 1 - i if signal.big_endian else i
        at = (at - 1 if at % 8 else at + 15) if signal.big_endian else at + 1


def put(data, signal, raw):
    """Write raw values (int64, one a row) into a signal of rows of bytes."""
    for byte, bit, of_raw in bits(signal):
        data[:, byte] = data[:, byte] & ~np.uint8(1 << bit) | ((raw >> of_raw & 1) << bit).astype("u1")


class Coder:
    """Canonical values of one signal -> raw values."""

    def __init__(self, binding):
        self.binding = binding
        signal = binding.signal
        self.lowest = -(1 << signal.length - 1) if signal.signed else 0
        self.highest = self.lowest + (1 << signal.length) - 1
        if binding.quantity.kind == NUMBER:
            self.scale = float(binding.offset), float(binding.factor)
            self.none = min(binding.invalid) if binding.invalid else self._outside()
        else:
            codes = binding.codes if len(binding.codes) != 1 else (binding.codes[0], set())
            every = set(range(self.lowest, min(self.highest, self.lowest + 255) + 1))
            rest = every - set().union(*codes) - set(binding.invalid)
            # Of a state the first codes mean 1; of a level each means its number.
            level = binding.quantity.kind != "state"
            self.codes = [sorted(c) or sorted(rest) or [self.lowest] for c in (codes if level else codes[::-1])]
            self.none = min(binding.invalid or (rest if level or len(binding.codes) == 2 else ()) or (self.highest,))

    def _outside(self):
        """A raw value that means none because no such quantity can be, or the highest there is."""
        offset, factor = self.scale
        for raw in (self.highest, self.lowest):
            if not self.binding.low <= offset + factor * raw <= self.binding.high:
                return raw
        return self.highest

    def raw(self, values):
        if self.binding.quantity.kind == NUMBER:
            offset, factor = self.scale
            raw = np.rint((values - offset) / factor).astype("i8").clip(self.lowest, self.highest)
        else:
            table = np.array([codes[0] for codes in self.codes], "i8")
            raw = table[values.clip(0, len(table) - 1)]
        return np.where(values == L.NA, self.none, raw)


class Wire:
    """A compiled vehicle's messages."""

    def __init__(self, compiled):
        plan = compiled.plan
        self.type = record_type(plan.data_bytes)
        self.messages = plan.messages
        self.groups = []
        for group in plan.groups:
            _, message, _ = plan.messages[group.message]
            pages = [(message.signal(name), sorted(ids)) for name, ids in group.pages]
            coders = [(slot_of(b, plan.profile.cells), Coder(b)) for b in group.bindings]
            self.groups.append((group, pages, coders))
        self.deadlines = np.array([group.deadline_ms for group in plan.groups])

    def frames(self, signals, step_ms, periods_ms, rng):
        """Records without counters and checksums, and the message of each, in the order of their times.

        signals: [step, slot]; periods_ms: of each group. Times begin at 0.
        """
        end_ms = len(signals) * step_ms
        records, messages = [], []
        for (group, pages, coders), period in zip(self.groups, periods_ms, strict=True):
            t_ms = np.arange(rng.integers(0, max(period, 1)), end_ms, period)
            rows = np.zeros(len(t_ms), self.type)
            rows["t_ms"] = t_ms
            bus, message, _ = self.messages[group.message]
            rows["can_id"], rows["bus"], rows["length"] = message.can_id, bus.number, message.length
            data = np.zeros((len(t_ms), rows["data"].shape[1]), "u1")
            for signal, ids in pages:
                put(data, signal, np.array(ids, "i8")[rng.integers(0, len(ids), len(t_ms))])
            now = signals[(t_ms // step_ms).astype("i8")]
            for slot, coder in coders:
                put(data, coder.binding.signal, coder.raw(now[:, slot]))
            rows["data"] = data
            records.append(rows)
            messages.append(np.full(len(t_ms), group.message))
        rows, of_message = np.concatenate(records), np.concatenate(messages)
        order = np.argsort(rows["t_ms"], kind="stable")
        return rows[order], of_message[order]

    def count(self, rows, of_message, some=None):
        """Write right counters, beginning anew, and right checksums; some: a mask, of the rows they are written to."""
        for number, (_, message, trust) in enumerate(self.messages):
            mine = of_message == number
            if some is not None:
                mine &= some
            if not (trust.counter or trust.checksum) or not mine.any():
                continue
            data = rows["data"][mine]
            if trust.counter and some is None:
                put(data, trust.counter, np.arange(len(data), dtype="i8"))
            if trust.checksum:
                byte = trust.checksum.start // 8
                data[:, byte] = checksum(trust.checksum_kind, np.delete(data[:, : message.length], byte, 1))
            rows["data"][mine] = data


def checksum(kind, data):
    """Of rows of bytes."""
    polynomial, initial, final = KINDS[kind]
    sums = np.full(len(data), initial, "u1")
    table = np.array(crc8_table(polynomial), "u1") if polynomial is not None else None
    for column in data.T:
        sums = sums ^ column if kind == "xor8" else sums + column if kind == "sum8" else table[sums ^ column]
    return sums ^ np.uint8(final)
