"""The pack's numbers as frames: laid out by the DBC, mapped by the profile, on time, with counters and checksums.

Works for any profile. Of a message only what the profile maps is filled; what else the demonstration pack sends is in
BESIDES.
"""

import heapq

from ..compiler.checksums import KINDS, crc8_table
from ..compiler.quantities import LEVEL, NUMBER
from .faults import WIRE
from .scenarios import asleep
from .values import SLOT
from .wire import Wire, through

CHANNEL = "can0"  # where the profile accepts every channel
PERIOD_MS = 1000  # where neither the DBC nor the profile says

# Signals that no profile maps, by the pack's own name for their value.
BESIDES = {
    "VcuMotion.Speed": "speed_kmh",
    "VcuMotion.TorqueRequest": "torque_nm",
    "VcuMotion.Accelerator": "accelerator_percent",
    "VcuMotion.Brake": "brake_percent",
    "VcuMotion.Gear": "gear",
    "MotorStatus.MotorSpeed": "motor_rpm",
    "MotorStatus.MotorTorque": "torque_nm",
    "MotorStatus.MotorTemperature": "motor_degc",
    "MotorStatus.InverterTemperature": "inverter_degc",
    "Charger.OutputVoltage": "charger_v",
    "Charger.OutputCurrent": "charger_a",
    "Charger.ChargerState": "charger_state",
    "BmsInfo.CellCount": "cell_count",
    "BmsInfo.ProbeCount": "probe_count",
    "BmsInfo.RatedCapacity": "capacity_ah",
    "BmsInfo.SoftwareMajor": "one",
}
# A message of which the profile says nothing takes signals of these names at their word.
COUNTER, CHECKSUM, CHECKSUM_KIND = "Counter", "CRC", "crc8-j1850"


class Sender:
    """One message: encode(values) is its next frame, the pages of a multiplexed one in turn."""

    def __init__(self, message, bindings, trust, slots):
        self.name, self.can_id, self.length = message.name, message.can_id, message.length
        self.period_us = 1000 * ((trust and trust.period_ms) or message.cycle_ms or PERIOD_MS)
        counter = trust.counter if trust else message.signal(COUNTER)
        checksum = trust.checksum if trust else message.signal(CHECKSUM)
        kind = trust.checksum_kind if trust else CHECKSUM_KIND
        self.count, self.counts = 0, 1 << counter.length if counter else 1
        self.counter_at = _place(counter, self.length) if counter else (0, True)
        self.checksum_byte = checksum.start // 8 if checksum else None
        if checksum:
            polynomial, self.first, self.last = KINDS[kind]
            self.sums = kind == "sum8"
            self.table = crc8_table(polynomial) if polynomial else tuple(range(256))

        fields = [Field(binding.signal, slots(binding), binding) for binding in bindings]
        bound = {field.signal.name for field in fields} | {signal.name for signal in (counter, checksum) if signal}
        for signal in message.signals:
            name = BESIDES.get(f"{message.name}.{signal.name}")
            if name and signal.name not in bound and not signal.defect:
                fields.append(Field(signal, SLOT[name]))
        pages = {tuple((by, min(ids)) for by, ids in field.signal.mux): None for field in fields if field.signal.mux}
        self.pages = [self._page(message, fields, dict(page)) for page in pages or [()]]
        self.page = 0
        self.made, self.made_of = None, None  # what the last frame said, and of which step of the pack

    def _page(self, message, fields, page):
        """(fixed bits from the left, fixed bits from the right, fields) of one page."""
        fixed = [0, 0]
        for name, number in page.items():
            shift, big = _place(message.signal(name), self.length)
            fixed[big] |= number << shift
        here = [field for field in fields if all(page.get(by) in ids for by, ids in field.signal.mux)]
        return *fixed, [(*_place(field.signal, self.length), field) for field in here]

    def encode(self, values, step=None):
        """The next frame's data. values: of the Pack; step: where they are those of a numbered step, its number."""
        if step is None or step != self.made_of or len(self.pages) > 1:
            self.made, self.made_of = self._body(values), step
        little, big = self.made
        shift, motorola = self.counter_at
        if motorola:
            big |= self.count << shift
        else:
            little |= self.count << shift
        self.count = (self.count + 1) % self.counts
        data = little.to_bytes(self.length, "little")
        if big:
            data = (int.from_bytes(data, "big") | big).to_bytes(self.length, "big")
        if self.checksum_byte is None:
            return data
        data = bytearray(data)
        data[self.checksum_byte] = self.checksum(data)
        return bytes(data)

    def _body(self, values):
        """(bits from the left, bits from the right) of the next page, without counter and checksum."""
        little, big, fields = self.pages[self.page]
        self.page = (self.page + 1) % len(self.pages)
        for shift, motorola, field in fields:
            value = values[field.slot]
            if field.raws:
                raw = field.raws[value]
            elif value is None:
                raw = field.none
            else:
                raw = round(value * field.gain + field.shift)
                raw = (field.low if raw < field.low else field.high if raw > field.high else raw) & field.mask
            if motorola:
                big |= raw << shift
            else:
                little |= raw << shift
        return little, big

    def checksum(self, data):
        """Over every byte but the checksum's own."""
        own, value, table = self.checksum_byte, self.first, self.table
        if self.sums:
            return sum(data) - data[own] & 0xFF
        for byte in data[:own]:
            value = table[value ^ byte]
        for byte in data[own + 1 :]:
            value = table[value ^ byte]
        return value ^ self.last


class Field:
    """Where a value of the pack comes from and how it becomes raw.

    raw = round(value * gain + shift) kept in low..high, `none` where the pack has no value; raws[value] in a state.
    """

    def __init__(self, signal, slot, binding=None):
        self.signal, self.slot = signal, slot
        self.mask = (1 << signal.length) - 1
        self.raws = None
        kind = binding.quantity.kind if binding else NUMBER
        factor, offset = (binding.factor, binding.offset) if binding else (signal.scale, signal.offset)
        invalid = binding.invalid if binding else frozenset()
        if kind == LEVEL:
            self.raws = [min(codes) & self.mask for codes in binding.codes]
            self.raws += [self.raws[-1]] * (4 - len(self.raws))
        elif kind != NUMBER:
            true = sorted(binding.codes[0])
            false = min(binding.codes[1]) if len(binding.codes) > 1 else _unused(binding.codes[0] | invalid)
            # A state may come in kinds, as charging at a socket and at a station.
            self.raws = [false & self.mask, *(raw & self.mask for raw in (true[0], true[-1]))]
        else:
            self.gain, self.shift = float(1 / factor), float(-offset / factor)
            self.low, self.high = signal.raw_range
            if signal.minimum is not None:
                self.low = max(self.low, -((signal.offset - signal.minimum) // signal.scale))
                self.high = min(self.high, (signal.maximum - signal.offset) // signal.scale)
            self.none = (max(invalid) if invalid else -1) & self.mask


class Traffic:
    """All messages of a profile's buses in time. Raises InputError for a fault of messages that nobody sends."""

    def __init__(self, profile, pack, scenario, rng):
        self.pack, self.scenario, self.rng = pack, scenario, rng
        self.senders = []  # (channel, Sender)
        for bus in profile.buses:
            bound = {}
            for binding in profile.bindings:
                if binding.bus is bus:
                    bound.setdefault(binding.message.name, []).append(binding)
            for message in bus.database.messages:
                bindings = bound.get(message.name, [])
                if bindings or any(f"{message.name}.{signal.name}" in BESIDES for signal in message.signals):
                    trust = profile.trust.get((bus.number, message.name))
                    self.senders.append((bus.channel or CHANNEL, Sender(message, bindings, trust, self._slot)))
        names = {sender.name for _, sender in self.senders}
        told = [fault for fault in scenario["fault"] if fault.get("kind") in WIRE]
        self.wires = [Wire(fault, names, scenario["where"]) for fault in told]

    def _slot(self, binding):
        if not binding.index:
            return SLOT[binding.quantity.name]
        first = self.pack.cell0 if binding.quantity.name == "cell_voltage" else self.pack.probe0
        return first + binding.index - 1

    def frames(self, first_us, end_us, before):
        """Yield (t_us, channel, can_id, data) from first_us to end_us; before(t_us) runs first.

        Times rise, unless the scenario sets the clock back; no frame comes while the bus is asleep. An identifier with
        NOTICE set is no frame: what the controller says of the bus.
        """
        for sleep_s, wake_s, _ in asleep(self.scenario):
            if first_us >= end_us:
                return
            yield from self._awake(first_us, min(int(sleep_s * 1_000_000), end_us), before)
            first_us = int(wake_s * 1_000_000)
        yield from self._awake(first_us, end_us, before)

    def _awake(self, first_us, end_us, before):
        pack, random, wires = self.pack, self.rng.random, self.wires
        values = pack.sent
        late_us = int(1000 * self.scenario["late_ms"])
        silent_us = int(self.scenario["starts_s"] * 1_000_000)
        # A gateway passes on what stood at the beginning of each round of its longest message.
        leader = None
        if values is not pack.values:
            leader = max((sender for _, sender in self.senders), key=lambda sender: len(sender.pages))
        queue = []
        for n, (_, sender) in enumerate(self.senders):
            due = first_us + int(random() * sender.period_us)
            queue.append((due, n, due))
            sender.count = sender.page = 0  # every controller starts afresh
        heapq.heapify(queue)
        before(first_us)
        pack.publish()
        free = first_us
        while queue:
            at, n, due = queue[0]
            if at >= end_us:
                break
            channel, sender = self.senders[n]
            at = free if at < free else at
            # The wire is taken for a frame's own length at 500 kbit/s.
            free = at + 2 * (55 + 9 * sender.length)
            before(at)
            if sender is leader and not sender.page:
                pack.publish()
            if at < silent_us:
                sender.encode(values)
            elif wires:
                yield from through(wires, at, channel, sender, values, random)
            else:
                yield at, channel, sender.can_id, sender.encode(values, pack.steps)
            due += sender.period_us
            late = random() * (late_us or (sender.period_us // 50 if sender.period_us < 50_000 else 1000))
            heapq.heapreplace(queue, (due + int(late), n, due))


def _place(signal, length):
    """(shift, is Motorola) of a signal's lowest bit in the frame as one little-endian or big-endian integer."""
    return (8 * length - signal.end, True) if signal.big_endian else (signal.start, False)


def _unused(taken):
    return next(raw for raw in range(len(taken) + 1) if raw not in taken)
