"""A vehicle under test: signal values or real frames in, event records out."""

from array import array
from fractions import Fraction
from functools import lru_cache
from types import SimpleNamespace
from typing import NamedTuple

from cellwarden.core import catalogue
from cellwarden.core import layout as L
from cellwarden.core.judge import judge
from cellwarden.engine import Engine
from cellwarden_tools.compiler.decoder import slot_of
from cellwarden_tools.compiler.quantities import LEVEL, NUMBER

SCAN_MS = 100
FIRST_CELL = L.SCALARS

# A healthy parked pack: what every signal reads unless a test says otherwise.
HEALTHY = {
    L.PACK_VOLTAGE_MV: 355200, L.PACK_CURRENT_MA: 0, L.SOC_PERMILLE: 500, L.INSULATION_OHM: 1_000_000,
    L.INSULATION_VALID: 1, L.VEHICLE_ON: 1, L.CHARGING: 0, L.CONTACTORS: 1, L.HVIL_OK: 1, L.BMS_LEVEL: 0,
    L.MAX_DISCHARGE_MA: 200_000, L.MAX_CHARGE_MA: 200_000, **{L.BMS_FLAG_9 + i: 0 for i in range(6)},
}  # fmt: skip
CELL_MV, PROBE_DDEGC = 3700, 250


def healthy_signals(image):
    """HEALTHY, and the counts that this image's vehicle sends."""
    counts = {L.CELL_COUNT: image.params[L.P_VEHICLE_CELLS], L.PROBE_COUNT: image.params[L.P_VEHICLE_PROBES]}
    return HEALTHY | {L.ALWAYS: 0} | counts


class Event(NamedTuple):
    t_ms: int
    rule: str
    before: int
    level: int
    where: int
    value: int


def changed(image, header=None, rule=None, **columns):
    """The image with some of its params replaced: header {column: value}, and columns of one rule's row."""
    params = array("i", image.params)
    for column, value in (header or {}).items():
        params[column] = value
    if rule:
        first, _ = L.params_sections(params, len(params))["rule_table"]
        row = first + catalogue.RULES.index(rule) * L.RULE_TABLE_SIZE
        for column, value in columns.items():
            params[row + getattr(L, column)] = value
    return SimpleNamespace(params=params, drain=image.drain)


class Rig:
    """An Engine whose signals are written directly, one scan at a time."""

    def __init__(self, image, start_ms=0, healthy=True):
        self.engine = Engine(image)
        names = ("clock", "messages", "groups", "signals", "features", "rules")
        self.clock, self.messages, self.groups, self.signals, self.features, self.rules = map(
            self.engine.section, names
        )
        self.cells, self.probes = image.params[L.P_CELLS], image.params[L.P_PROBES]
        self.first_probe = FIRST_CELL + self.cells
        self.engine.advance(start_ms)
        self._record = array("i", [0] * L.EVENT_SIZE)
        self.events = []
        if healthy:
            for slot, value in healthy_signals(image).items():
                self.signals[slot] = value
            self.cells_read(CELL_MV)
            self.probes_read(PROBE_DDEGC)
            self.scan()

    def __getitem__(self, slot):
        return self.signals[slot]

    def __setitem__(self, slot, value):
        self.signals[slot] = value

    def cells_read(self, mv):
        self.signals[FIRST_CELL : self.first_probe] = array("i", [mv] * self.cells)

    def probes_read(self, ddegc):
        self.signals[self.first_probe :] = array("i", [ddegc] * self.probes)

    def cell(self, number):
        return FIRST_CELL + number - 1

    def probe(self, number):
        return self.first_probe + number - 1

    def arrive(self, samples=1):
        """Every group is fresh, as the decoder notes it, by so many samples more than before."""
        for at in range(0, len(self.groups), L.GROUP_SIZE):
            self.groups[at + L.STAMP_MS], self.groups[at + L.STATUS] = self.clock[L.NOW_MS], L.FRESH
            self.groups[at + L.ARRIVALS] += samples

    def scan(self, n=1, samples=1):
        """n scans, each preceded by a sample of every group, or with `samples=0` only kept from growing stale."""
        for _ in range(n):
            self.arrive(samples)
            assert self.engine.advance((self.clock[L.DUE_MS] - self.clock[L.OFFSET_MS]) & L.MASK) == 1
            self.take()

    def take(self):
        while self.engine.take(self._record):
            t, rule, *rest = self._record
            self.events.append(Event(t, catalogue.RULES[rule], *rest))

    def level(self, rule):
        return self.rules[catalogue.RULES.index(rule) * L.RULE_SIZE + L.LEVEL_NOW]

    def busy(self, rule):
        return self.rules[catalogue.RULES.index(rule) * L.RULE_SIZE + L.BUSY]

    def timers(self, rule):
        """Its six, ms: three that assert, three that clear."""
        first = catalogue.RULES.index(rule) * L.RULE_SIZE
        return [*self.rules[first + L.ASSERT_MS :][:3], *self.rules[first + L.CLEAR_MS :][:3]]

    def feature(self, number, column=L.VALUE):
        return self.features[column + number]

    def of(self, rule):
        return [event for event in self.events if event.rule == rule]


class JudgeRig(Rig):
    """A Rig of one feature, which the judge finds as `value` says, in calm; the others stay as a healthy pack left
    them.

    feature: its number; cell: the cell whose signal it is said to come from, 0 = the pack voltage's; moved: what the
    judge returned
    """

    def __init__(self, image, feature, cell=0, start_ms=0):
        self.value = self.moved = None
        super().__init__(image, start_ms)
        self.value = 0
        self.number = feature
        self.features[L.SLOT + feature] = self.cell(cell) if cell else L.PACK_VOLTAGE_MV
        self.features[L.WHERE + feature] = cell
        self.features[L.COMPLETE + feature] = 1
        self.features[L.VALUE + L.F_CALM] = 1

    def scan(self, n=1, samples=1):
        if self.value is None:
            super().scan(n, samples)
            return
        state, params, events, _ = self.engine.box
        for _ in range(n):
            self.arrive(samples)
            self.clock[L.NOW_MS] = self.clock[L.DUE_MS]
            self.clock[L.DUE_MS] = self.clock[L.DUE_MS] + SCAN_MS & L.MASK
            self.features[L.VALUE + self.number] = self.value
            self.moved = judge(0, 0, state, params, events)
            self.take()


class Loaded:
    """An array as 64-bit viper loads it: words of 32 bits without a sign."""

    def __init__(self, words):
        self.words = words

    def __getitem__(self, at):
        return self.words[at] & 0xFFFFFFFF

    def __setitem__(self, at, value):
        self.words[at] = (value + (1 << 31) & 0xFFFFFFFF) - (1 << 31)


# --- frames ----------------------------------------------------------------------------------------------------------


def put_bits(data, signal, raw):
    """Write `raw` into the signal's bits one by one, in the order the DBC counts them."""
    raw &= (1 << signal.length) - 1
    at = signal.start
    for i in range(signal.length):
        bit = raw >> (signal.length - 1 - i if signal.big_endian else i) & 1
        data[at // 8] = data[at // 8] & ~(1 << at % 8) | bit << at % 8
        at = (at - 1 if at % 8 else at + 15) if signal.big_endian else at + 1


def get_bits(data, signal):
    """The signal's raw value, bit by bit."""
    raw, at = 0, signal.start
    for i in range(signal.length):
        bit = data[at // 8] >> at % 8 & 1
        raw |= bit << (signal.length - 1 - i if signal.big_endian else i)
        at = (at - 1 if at % 8 else at + 15) if signal.big_endian else at + 1
    return raw - (1 << signal.length) if signal.signed and raw >> signal.length - 1 else raw


def crc8_j1850(data):
    """SAE J1850 by its definition: polynomial 0x1D, initial value and final xor 0xFF."""
    crc = 0xFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x1D if crc & 0x80 else crc << 1) & 0xFF
    return crc ^ 0xFF


def raw_of(binding, value):
    """The raw value that a canonical one is sent as; NA becomes the first sentinel."""
    if value == L.NA:
        return min(binding.invalid)
    if binding.quantity.kind == NUMBER:
        raw = (Fraction(value) - binding.offset) / binding.factor
        assert raw.denominator == 1, f"{binding.quantity.name} cannot be sent as {value}"
        return raw.numerator
    if binding.quantity.kind == LEVEL or len(binding.codes) == 2:
        return min(binding.codes[value if binding.quantity.kind == LEVEL else 1 - value])
    return min(binding.codes[0]) if value else min(set(range(4)) - binding.codes[0])


class Sender:
    """Writes a compiled vehicle's frames from canonical values, with counters and checksums right."""

    def __init__(self, compiled):
        plan = compiled.plan
        self.groups, self.messages, self.cells = plan.groups, plan.messages, plan.profile.cells
        self.slots = [[slot_of(b, self.cells) for b in group.bindings] for group in self.groups]
        self.counters = [0] * len(self.messages)
        self._frame = lru_cache(None)(self._make)

    def frame(self, number, signals):
        """(identifier, data, bus) of group `number`, its counter stepped."""
        message = self.groups[number].message
        count = self.counters[message]
        self.counters[message] = (count + 1) % 16
        bus, told, _ = self.messages[message]
        return told.can_id, self._frame(number, count, tuple(signals[slot] for slot in self.slots[number])), bus.number

    def all(self, signals):
        """One frame of every group."""
        return [self.frame(number, signals) for number in range(len(self.groups))]

    def _make(self, number, count, values):
        group = self.groups[number]
        _, message, trust = self.messages[group.message]
        data = bytearray(message.length)
        for name, ids in group.pages:
            put_bits(data, message.signal(name), min(ids))
        for binding, value in zip(group.bindings, values, strict=True):
            put_bits(data, binding.signal, raw_of(binding, value))
        if trust.counter:
            put_bits(data, trust.counter, count)
        if trust.checksum:
            byte = trust.checksum.start // 8
            data[byte] = crc8_j1850(data[:byte] + data[byte + 1 :])
        return bytes(data)


class FrameRig(Rig):
    """A Rig fed by real frames: what a test writes is sent, every group once before each scan."""

    def __init__(self, compiled, start_ms=0, healthy=True):
        self.sender = Sender(compiled)
        self.wanted = None
        super().__init__(compiled.image, start_ms, healthy=False)
        self.wanted = array("i", self.signals)
        if healthy:
            for slot, value in healthy_signals(compiled.image).items():
                self.wanted[slot] = value
            self.cells_read(CELL_MV)
            self.probes_read(PROBE_DDEGC)
            self.scan()

    def __setitem__(self, slot, value):
        self.wanted[slot] = value

    def cells_read(self, mv):
        self.wanted[FIRST_CELL : self.first_probe] = array("i", [mv] * self.cells)

    def probes_read(self, ddegc):
        self.wanted[self.first_probe :] = array("i", [ddegc] * self.probes)

    def scan(self, n=1, samples=1):
        for _ in range(n):
            if samples:
                for frame in self.sender.all(self.wanted):
                    self.send(frame)
            self.engine.advance((self.clock[L.DUE_MS] - self.clock[L.OFFSET_MS]) & L.MASK)
            self.take()

    def send(self, frame, before_ms=SCAN_MS // 2):
        """One frame, stamped `before_ms` before the next scan."""
        can_id, data, bus = frame
        self.engine.frame((self.clock[L.DUE_MS] - self.clock[L.OFFSET_MS] - before_ms) & L.MASK, can_id, data, bus)
