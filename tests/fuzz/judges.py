"""Ways to run the core on a stretch of records: (state, records) -> (state, events).

The machine code of this computer takes them all and is watched as it goes; the others take a share and must say the
same.
"""

import tempfile
from collections import Counter

import checked
import numba
import numpy as np
from bounds import Bounds, features
from cellwarden.core import layout as L
from cellwarden.engine import Engine, most_events
from cellwarden_tools.engines.compiled import load_drain
from cellwarden_tools.engines.micropython import MicroPythonEngine
from cellwarden_tools.engines.wasm import Wasm32Engine
from cellwarden_tools.errors import InputError

STRETCH = 4096  # records judged from one snapshot to the next
BLOCK = 64  # after so many the state is looked at, and after each single one where there was an event
TINY = 4  # events in a ring that nobody reads
NO_EVENTS = np.zeros((0, L.EVENT_SIZE), "i4")


class Broken(Exception):
    """Something that must never be, as one line for people.

    engine: in which of JUDGES, None: in the machine code; stretch: (state, records) by which it happened
    """

    def __init__(self, text, engine=None):
        super().__init__(f"{engine}: {text}" if engine else text)
        self.engine, self.stretch = engine, None


class Machine:
    """The core as machine code, over a ring of STRETCH records. drain: another one, that runs in this interpreter."""

    def __init__(self, compiled, record_type, capacity=None, drain=None):
        image = compiled.image
        self.core = Engine(image, capacity or most_events(image.params, BLOCK))
        ring, ring32, views = self.core.ring(STRETCH)
        self.ring = np.frombuffer(ring, record_type)
        box = tuple(np.frombuffer(section, "i4") for section in self.core.box)
        self.state, self.events = box[0], box[2]
        self.drain, self.arguments = drain, (self.core.state, views, ring32, self.core.box)
        if drain is None:
            self.arguments = box[0], tuple(np.frombuffer(v, "u1") for v in views), np.frombuffer(ring32, "i4"), box
            self.drain = _once("drain", compiled, lambda image: load_drain(image, (0, *self.arguments, 0)))
        self.size = record_type.itemsize

    def run(self, first, end):
        """Judge the records first..end of the ring."""
        self.drain(first * self.size, *self.arguments, end - first)

    def take(self):
        """The unread events, [n, EVENT_SIZE]."""
        e = self.events
        tail, head, capacity = int(e[L.E_TAIL]), int(e[L.E_HEAD]), int(e[L.E_CAPACITY])
        if tail == head:
            return NO_EVENTS
        e[L.E_TAIL] = head
        count = (head - tail) & L.MASK
        rows = e[L.E_FIRST :].reshape(-1, L.EVENT_SIZE)
        return rows[(tail + np.arange(count)) % capacity]


_MADE = {}


def _once(what, compiled, make):
    """What is made of a vehicle's image once."""
    key = what, compiled.image.sha256
    if key not in _MADE:
        _MADE[key] = make(compiled.image)
    return _MADE[key]


@numba.njit
def is_outside(state, at, low, high, shift, mask, also):
    """Whether a state breaks a row of Bounds: what Bounds.outside finds, some thirty times as quick."""
    for row in range(len(at)):
        value = np.int64(state[at[row]]) >> shift[row] & mask[row]
        if value < low[row] or value > high[row]:
            for other in also[row]:
                if value == other:
                    break
            else:
                return True
    return False


class Watch:
    """A machine whose every step is held to the declared bounds."""

    def __init__(self, vehicle, drain=None):
        self.vehicle = vehicle
        self.bounds = Bounds(vehicle.compiled)
        self.machine = Machine(vehicle.compiled, vehicle.wire.type, drain=drain)
        self.tiny = Machine(vehicle.compiled, vehicle.wire.type, TINY, drain)
        rules, told = vehicle.compiled.rules, features(vehicle.params)
        values = [told[rule.row["feature"]][0] for rule in rules]
        self.event_low = np.array([values[n][0] for n in range(len(rules))])
        self.event_high = np.array([values[n][1] for n in range(len(rules))])
        self.event_where = np.array([told[rule.row["feature"]][1] for rule in rules])
        b = self.bounds
        self.rows = b.at, b.low, b.high, b.shift, b.mask, b.also
        self.levels_at = vehicle.params[L.P_RULES_AT] + L.LEVEL_NOW
        self.looks, self.modes = 0, Counter()

    @property
    def state(self):
        return self.machine.state

    def stretch(self, rows):
        """Judge some records, at most STRETCH; returns their events. Raises Broken."""
        machine, state = self.machine, self.machine.state
        machine.ring[: len(rows)] = rows
        events = []
        for first in range(0, len(rows), BLOCK):
            end = min(first + BLOCK, len(rows))
            before = state.copy()
            machine.run(first, end)
            made = machine.take()
            self.looks += 1
            self.modes[state[L.MODE]] += 1
            if len(made) or is_outside(state, *self.rows):
                after = state.copy()
                state[:] = before
                self.one_by_one(first, end, made, after)
                events.append(made)
        self.look("at the end of a stretch")
        return np.concatenate(events) if events else NO_EVENTS

    def one_by_one(self, first, end, made, after):
        """The same records once more, each by itself: the state is looked at after every one."""
        machine, told = self.machine, []
        for number in range(first, end):
            machine.run(number, number + 1)
            self.looks += 1
            if is_outside(machine.state, *self.rows):
                self.look(f"after record {number}")
            told.append(machine.take())
        if not np.array_equal(machine.state, after):
            raise Broken(f"records {first} to {end}, one by one, give another state than at once")
        if not np.array_equal(np.concatenate(told), made):
            raise Broken(f"records {first} to {end}, one by one, give other events than at once")
        self.check_events(made, first)
        self.look(f"after record {end - 1}")

    def look(self, when):
        lines = self.bounds.broken(self.machine.state)
        if lines:
            raise Broken(f"{when}: {'; '.join(lines[:4])}")

    def check_events(self, events, number):
        """Raises Broken where an event cannot be."""
        t, rule, before, level, where, value = events.T
        good = (t >= 0) & (t <= L.MASK) & (rule >= 0) & (rule < len(self.event_low))
        good &= (before >= 0) & (before <= 3) & (level >= 0) & (level <= 3) & (before != level)
        rule = rule.clip(0, len(self.event_low) - 1)
        good &= (where >= 0) & (where <= self.event_where[rule])
        good &= (value == L.NA) | (value >= self.event_low[rule]) & (value <= self.event_high[rule])
        if not good.all():
            raise Broken(
                f"among the records from {number} on one made an event that cannot be: {events[~good][0].tolist()}"
            )

    def overrun(self, start, rows, state, events):
        """The same with a ring of events that nobody reads: the same state, the first events, the others counted."""
        tiny = self.tiny
        tiny.state[:] = np.frombuffer(start, "i4")
        tiny.events[[L.E_HEAD, L.E_TAIL, L.E_LOST]] = 0
        tiny.ring[: len(rows)] = rows
        tiny.run(0, len(rows))
        lost = int(tiny.events[L.E_LOST])
        kept = tiny.take()
        if tiny.state.tobytes() != state:
            raise Broken("an event ring that runs over changes the state")
        if lost != max(len(events) - TINY, 0) or not np.array_equal(kept, events[:TINY]):
            raise Broken(
                f"of {len(events)} events an unread ring of {TINY} keeps {len(kept)} and counts {lost} as lost"
            )
        return lost


def most(compiled, rows):
    """Room for the events of so many records."""
    return most_events(compiled.image.params, min(len(rows), 512))


def _taken(core):
    record, out = core.events[: L.EVENT_SIZE], []
    while core.take(record):
        out.append(list(record))
    return np.array(out, "i4").reshape(-1, L.EVENT_SIZE)


def by_cpython(compiled, start, rows, image=None):
    core = Engine(image or compiled.image, most(compiled, rows))
    core.restore(start)
    events = []
    for first in range(0, len(rows), 512):
        some = rows[first : first + 512]
        ring = core.ring(len(some))
        ring[0][:] = some.tobytes()
        core.drain(ring, len(some))
        events.append(_taken(core))
    return core.snapshot(), np.concatenate(events)


def by_checked(compiled, start, rows):
    """CPython with every integer watched: none leaves [-2^30, 2^30)."""
    image, _ = _once("checked", compiled, checked.image)
    return by_cpython(compiled, start, rows, image)


def _by_engine(engine, **options):
    def judge(compiled, start, rows):
        with engine(compiled.image, **options) as running:
            running.resume(start, 0)
            running.feed_records(rows.tobytes())
            state = running.finish()
            return state, np.array(running.events, "i4").reshape(-1, L.EVENT_SIZE)

    return judge


JUDGES = {
    "CPython": by_cpython,
    "CPython, every integer watched": by_checked,
    "MicroPython 64-bit, viper": _by_engine(MicroPythonEngine, locked=True),
    "MicroPython 64-bit, bytecode": _by_engine(MicroPythonEngine, native=False, locked=True),
    "MicroPython 32-bit": _by_engine(Wasm32Engine, locked=True),
}


def by_twin(compiled, jobs):
    """The C twin on an emulated Cortex-M3: [(state, events)] of [(start, rows)].

    Raises InputError where it cannot be built, Broken where it does not come to its end.
    """
    import twin

    with tempfile.TemporaryDirectory(prefix="cellwarden-") as folder:
        program = twin.Twin(compiled, folder)
        for start, rows in jobs:
            program.job(twin.DRAIN, program.place(start), program.place(rows.tobytes()), len(rows), 1, show=True)
        try:
            shown = [both for _, both in program.run()]
        except InputError as error:
            raise Broken(str(error), "C twin") from None
    return [(state, np.frombuffer(events, "i4").reshape(-1, L.EVENT_SIZE)) for state, events in shown]
