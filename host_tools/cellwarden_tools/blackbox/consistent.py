"""Do the recorded verdicts follow from the recorded frames? (docs/blackbox.md, "Consistent")

The frames of each annex are fed to the very core of the image, from the snapshot that the annex begins with. What comes
out must be the events that the chain has for that time, and at its end the state whose digest the box wrote down. Where
no frames were kept nothing can be said, and that is what is said.
"""

import hashlib
import time
from typing import NamedTuple

from cellwarden.blackbox import content as C
from cellwarden.blackbox import form as F
from cellwarden.blackbox import unpack as U
from cellwarden.blackbox.annex import annex_name
from cellwarden.core import layout as L

from ..engines import MANY
from ..errors import InputError
from .contents import annex_entries, chain_entries, fields, state_of, word_names
from .frames import Records, unpackers
from .harmless import harm
from .verify import Fault

LATE_MS = 10_000  # an event is told of in the chain at most so long after it was made, and the more so a loss
CUT_MS = 2000  # before a power cut: what was made then may not have reached the chain
MS = 1 << 32  # the box's clock in a record's head
EVENT_TIME, EVENT_RULE = L.EVENT_T_MS, L.EVENT_RULE


class Told(NamedTuple):
    """Something of the chain. t_ms: of the box, when it was written; file, at: where; what: an event's six numbers, or
    a state's SHA-256; after: (annex, end) of the last ANNEX record before it.
    """

    t_ms: int
    file: str
    at: int
    what: object
    after: tuple


class Stretch(NamedTuple):
    """Time of the box that was replayed, or could not be. why: it could not, else None."""

    boot: int
    first_ms: int
    last_ms: int
    frames: int
    events: int
    why: str | None


class _Boot:
    """What the chain says of one start of the box."""

    def __init__(self, image):
        self.image = image
        self.events, self.states, self.losses = [], [], []
        self.first_ms = self.last_ms = None
        self.shutdown = False


class _Run:
    """Annexes that follow one another, replayed as one."""

    def __init__(self, boot, number, t_ms, state):
        self.boot, self.number, self.first_ms, self.last_ms = boot, number, t_ms, t_ms
        self.events = []
        self.states = [hashlib.sha256(state).digest()]
        self.clock, self.offset = _clocks(state)
        self.frames = 0
        self.whole = True  # so far nothing is missing between its annexes and in them
        self.last_size = 0  # bytes of its last annex, all of them proven


class Consistency:
    """The replay of a verify.Verification's log with an image.

    verdict: True where everything that could be replayed gave what is recorded, False where something did not, None
    where nothing could be replayed; faults: [verify.Fault]; stretches: [Stretch]
    frames, events, snapshots, features: that were replayed, that came out as recorded; not_checkable: recorded events
    of which no frames were kept; late: events of the last frames before a power cut, which the box had no time to write
    down; replayed_ms, other_ms: of the box's time; seconds: that all this took
    Raises InputError where the box never judged with this image.
    """

    def __init__(self, found, image, open_engine, tick=None):
        self.found, self.image = found, image
        self.faults, self.stretches = [], []
        self.frames = self.unknown_frames = self.events = self.snapshots = self.not_checkable = self.late = 0
        self.features = 0
        self._tick = tick or (lambda done: None)
        self._taken = {}  # boot: numbers of its events that were met
        self._met = {}  # boot: numbers of its states
        self._words = unpackers(self._frames_about() > MANY).unpack_words
        began = time.perf_counter()
        self.boots = self._read_chain()
        ours = bytes.fromhex(image.sha256)
        known = {boot.image for boot in self.boots.values()}
        if known and ours not in known:
            raise InputError(
                "--profile",
                f"is image {image.sha256[:16]}, and the box that wrote {found.log} judged with "
                + ", ".join(sorted(told.hex()[:16] for told in known if told)),
                "the very image that the box had",
            )
        with open_engine(image, self._frames_about()) as engine:
            self.engine = engine
            self._replay(ours)
        for number, boot in self.boots.items():
            if boot.image == ours:
                self.not_checkable += len(boot.events) - len(self._taken.get(number, ()))
            else:
                self._skip(number, boot.first_ms, boot.last_ms, "judged with another image")
                self.not_checkable += len(boot.events)
        self.stretches.sort(key=lambda stretch: stretch[:3])
        self.replayed_ms = sum((told.last_ms - told.first_ms) % MS for told in self.stretches if told.why is None)
        everything = sum((boot.last_ms - boot.first_ms) % MS for boot in self.boots.values())
        self.other_ms = max(0, everything - self.replayed_ms)
        self.seconds = time.perf_counter() - began
        replayed = any(stretch.why is None for stretch in self.stretches)
        self.verdict = False if self.faults else True if replayed else None

    def _fault(self, file, at, reason):
        self.faults.append(Fault(file, at, "inconsistent", reason))

    def _skip(self, boot, first_ms, last_ms, why, frames=0):
        self.stretches.append(Stretch(boot, first_ms, last_ms, frames, 0, why))

    def _frames_about(self):
        return sum(path.stat().st_size for path in self.found.annexes.paths.values()) // 8

    # --- what is recorded ---------------------------------------------------------------------------------------------

    def _read_chain(self):
        boots, after, image = {}, (0, 0), None
        for entry in chain_entries(self.found):
            record = entry.record
            if not entry.proven:
                continue
            if record.type == F.IDENTITY_TYPE:
                told = F.unpack(F.IDENTITY, record.body)
                image = told[6] if told else image
            boot = boots.get(record.boot)
            if boot is None:
                boot = boots[record.boot] = _Boot(image)
                boot.first_ms = record.t_ms
                after = (0, 0)
            boot.last_ms = record.t_ms
            boot.shutdown = record.type == F.SHUTDOWN_TYPE or (boot.shutdown and record.type == F.SEAL_TYPE)
            if record.type == F.EVENT_TYPE:
                event = F.unpack(C.EVENT, record.body)
                if event is None:
                    self._fault(entry.file, entry.at, "an event of another form")
                else:
                    boot.events.append(Told(record.t_ms, entry.file, entry.at, event, after))
            elif record.type == F.SNAPSHOT_TYPE:
                digest = self._digest_of(entry)
                if digest:
                    boot.states.append(Told(record.t_ms, entry.file, entry.at, digest, after))
            elif record.type == F.ANNEX_TYPE:
                told = fields(entry)
                after = (told["annex"], told["end"]) if told else after
            elif record.type == F.LOST_TYPE or (record.type == F.HAZARD_TYPE and record.body[0] < C.BOX_HAZARDS):
                boot.losses.append(record.t_ms)
        return boots

    def _digest_of(self, entry):
        """The SHA-256 of the state in a SNAPSHOT record of one part, or None."""
        body = entry.record.body
        digest = U.digest_of(body)
        if digest:
            return digest
        try:
            state = U.SnapshotParts(self._words).unpack(body)
        except ValueError as error:
            self._fault(entry.file, entry.at, f"a snapshot that cannot be read: {error}")
            return None
        return hashlib.sha256(state).digest() if state else None

    # --- what follows from the frames ---------------------------------------------------------------------------------

    def _replay(self, ours):
        run = None
        for number in sorted(self.found.annexes.paths):
            run = self._annex(number, run, ours)
            self._tick(number)
        self._end(run)

    def _annex(self, number, run, ours):
        """Replay one annex; the _Run that goes on, or None."""
        name, entries = annex_name(number), list(_begin(annex_entries(self.found, number)))
        head = entries[0] if entries else None
        told = fields(head) if head and head.record.type == F.ANNEX_TYPE else None
        boot = head and head.record.boot
        if told is None or boot not in self.boots:
            self._end(run)
            self._skip(number >> 16, 0, 0, f"nothing of {name} is proven")
            return None
        if told["annex"] != number:
            self._fault(name, 0, f"says that it is annex {told['annex']}")
        if self.boots[boot].image != ours:
            self._end(run)
            return None
        goes_on = run and run.boot == boot and run.number + 1 == number and run.whole
        if not goes_on:
            self._end(run)
            run = None
        if run is None and not any(entry.record.type == F.FRAMES_TYPE for entry in entries):
            self._skip(boot, head.record.t_ms, entries[-1].record.t_ms, "no frames were kept")
            return None
        return self._feed(name, number, head, entries[1:], run)

    def _feed(self, name, number, head, entries, run):
        fast, end = self.engine.name == "fast", head.end
        unpack = unpackers(fast).unpack_words
        parts, records = U.SnapshotParts(unpack), Records(self.image, fast)
        boot, last_ms, why = head.record.boot, head.record.t_ms, None
        words, noted = U.FeatureWords(unpack), []
        for entry in entries:
            record = entry.record
            if record.type == F.SNAPSHOT_TYPE:
                digest = U.digest_of(record.body)
                try:
                    state = None if digest else parts.unpack(record.body)
                except ValueError as error:
                    self._fault(name, entry.at, f"a snapshot that cannot be read: {error}")
                    why = "its snapshot cannot be read"
                    break
                if state is None and digest is None:
                    continue
                if run is None and state:
                    run = self._begin_run(name, entry, boot, number, state)
                    if run is None:
                        return None
                elif run:
                    if not self._meets(run, name, entry, digest, state):
                        if state is None or run.number == number:
                            self._end(run)
                            return None
                        self._end(run)
                        run = self._begin_run(name, entry, boot, number, state)
                        if run is None:
                            return None
                if run:
                    run.number = number
            elif record.type == F.FRAMES_TYPE:
                if run is None:
                    why = "no snapshot stands before its frames"
                    break
                why = self._frames_of(run, records, name, entry, noted)
                if why:
                    break
            elif record.type == F.FEATURES_TYPE:
                try:
                    noted.append((record.body[0], entry.at, words.unpack(record.body)))
                except (ValueError, IndexError) as error:
                    self._fault(name, entry.at, f"features that cannot be read: {error}")
            last_ms, end = record.t_ms, entry.end
        if run is None:
            self._skip(boot, head.record.t_ms, entries[-1].record.t_ms, why or "no snapshot stands in it")
            return None
        run.last_ms, run.frames = last_ms, run.frames + records.frames
        self.frames += records.frames
        self.unknown_frames += records.unknown
        run.last_size = end
        run.whole = why is None and end == self.found.annexes.paths[number].stat().st_size
        if why:
            self._skip(boot, self._end(run), entries[-1].record.t_ms, f"{name}: {why}")
            return None
        return run

    def _begin_run(self, name, entry, boot, number, state):
        wanted = 4 * max(last for _, last in L.state_sections(self.image.params).values())
        if len(state) != wanted:
            self._fault(name, entry.at, f"a snapshot of {len(state)} bytes, the image has {wanted}")
            return None
        wrong = harm(state_of(state), self.image.params)
        if wrong:
            self._fault(name, entry.at, f"a snapshot of a state that cannot be: {wrong}")
            return None
        self.engine.flush()
        self.engine.events.clear()
        self.engine.resume(state, 0)
        return _Run(boot, number, entry.record.t_ms, state)

    def _meets(self, run, name, entry, digest, state):
        """Is the state now the one that is recorded?"""
        now = self._state(run)
        mine = hashlib.sha256(now).digest()
        if mine == (digest or hashlib.sha256(state).digest()):
            self.snapshots += 1
            run.states.append(mine)
            return True
        if self._lost(run.boot, run.last_ms, entry.record.t_ms):
            self._skip(run.boot, run.last_ms, entry.record.t_ms, "the box says that it lost something, and so it did")
            return False
        self._fault(
            name, entry.at, "the state that is recorded here is not the one that the frames give" + _which(now, state)
        )
        return False

    def _state(self, run):
        state = self.engine.finish()
        run.events += self.engine.events
        self.engine.events.clear()
        return state

    def _frames_of(self, run, records, name, entry, noted):
        """Feed a body; why it cannot be gone on from here, or None."""
        try:
            for part in records.unpack(entry.record.body):
                if part is None:
                    return f"{records.gaps} frames could not be kept"
                if isinstance(part, int):
                    self._noted(run, name, entry, part, noted)
                else:
                    self.engine.feed_records(part)
        except ValueError as error:
            self._fault(name, entry.at, f"frames that cannot be read: {error}")
            return "its frames cannot be read"
        except (ArithmeticError, LookupError, AssertionError):  # whatever a state does to the core that it never made
            self._fault(name, entry.at, "the core cannot go on here: the state before is none that it made")
            return "the core cannot go on from its snapshot"
        if self.engine.events:
            run.events += self.engine.events
            self.engine.events.clear()
        return None

    def _noted(self, run, name, entry, number, noted):
        """The features of this number must be those of the state now. noted: [(number, at, words)] that wait."""
        found = next((n for n, (other, _, _) in enumerate(noted) if other == number), None)
        if found is None:
            self._fault(name, entry.at, f"features of number {number} are noted here and are not there")
            return
        _, at, words = noted[found]
        del noted[: found + 1]
        state = state_of(self._state(run))
        differ = [word for word, value in words.items() if word >= len(state) or state[word] != value]
        if differ:
            told = word_names(self.image.params).get(differ[0], f"word {differ[0]}")
            here = state[differ[0]] if differ[0] < len(state) else "nothing"
            reason = f"{len(differ)} features are others than the frames give: {told} is {words[differ[0]]}, not {here}"
            self._fault(name, at, reason)
        else:
            self.features += 1

    def _lost(self, boot, first_ms, last_ms):
        """Whether the box says that it lost something then."""
        if (last_ms - first_ms) % MS >= MS // 2:  # that was before
            return False
        return any(_within(t_ms, first_ms, last_ms + LATE_MS) for t_ms in self.boots[boot].losses)

    # --- both side by side --------------------------------------------------------------------------------------------

    def _end(self, run):
        """A run is over: compare its events and states with the chain's. Returns up to when it went."""
        if run is None:
            return None
        state = self._state(run)
        final = hashlib.sha256(state).digest()
        clock, offset = _clocks(state)
        boot = self.boots[run.boot]
        self._compare_states(run, boot, final)
        made = [tuple(event) for event in run.events]
        self._compare_events(run, boot, made, clock, offset == run.offset)
        until = run.last_ms
        if offset == run.offset:  # records say when they were written; the frames may have waited
            until = min(until, run.first_ms + ((clock - run.clock) & L.MASK))
        self.stretches.append(Stretch(run.boot, run.first_ms, until, run.frames, len(made), None))
        return until

    def _compare_states(self, run, boot, final):
        known = [*run.states, final]
        at, met = 0, self._met.setdefault(run.boot, set())
        for number, told in enumerate(boot.states):
            closing = run.whole and told.after == (run.number, run.last_size)
            if not (closing or _within(told.t_ms, run.first_ms, run.last_ms)):
                continue
            if told.what in known[at:]:
                at = known.index(told.what, at)
                met.add(number)
                self.snapshots += at == len(known) - 1
            elif self._lost(run.boot, run.last_ms, told.t_ms):
                self._skip(run.boot, run.last_ms, told.t_ms, "the box says that it lost something, and so it did")
            else:
                self._fault(told.file, told.at, "this snapshot is of another state than the frames give")

    def _compare_events(self, run, boot, made, clock, steady):
        """The run's events must stand in the chain, these and no other."""
        span = (clock - run.clock) & L.MASK

        def inside(event):
            return steady and 0 < (event[EVENT_TIME] - run.clock) & L.MASK <= span

        def surely(told):
            return _within(told.t_ms, run.first_ms + LATE_MS, run.last_ms)

        near = [
            (number, told)
            for number, told in enumerate(boot.events)
            if _within(told.t_ms, run.first_ms, run.last_ms + LATE_MS)
        ]
        there = [told.what for _, told in near]
        wanted = [number for number, (_, told) in enumerate(near) if inside(told.what) or surely(told)]
        first = _find(there, made, wanted)
        if first is None and self._is_cut(run, boot):
            for cut in range(1, len(made) + 1):  # the box had no time to write the last ones
                if (clock - made[-cut][EVENT_TIME]) & L.MASK > CUT_MS:
                    break
                first = _find(there, made[:-cut], wanted)
                if first is not None:
                    self.late += cut
                    made = made[:-cut]
                    break
        taken = self._taken.setdefault(run.boot, set())
        if first is None:
            self._differ(run, near, wanted, made)
            taken.update(near[number][0] for number in wanted)
            return
        taken.update(number for number, _ in near[first : first + len(made)])
        self.events += len(made)

    def _is_cut(self, run, boot):
        """Whether the run goes to the very end of a boot that was not shut down."""
        return not boot.shutdown and (boot.last_ms - run.last_ms) % MS <= LATE_MS

    def _differ(self, run, near, wanted, made):
        """Say which event is the first that differs."""
        told = [near[number][1] for number in wanted]
        at = next((at for at, (one, ours) in enumerate(zip(told, made, strict=False)) if one.what != ours), None)
        at = min(len(told), len(made)) if at is None else at
        theirs, ours = (told[at] if at < len(told) else None), (made[at] if at < len(made) else None)
        if theirs and theirs.what not in made[at:]:
            reason = f"nothing in the frames gives {self._event(theirs.what)}"
            if ours and ours not in (one.what for one in told[at:]):
                reason = f"the box says {self._event(theirs.what)}, its frames give {self._event(ours)}"
            self._fault(theirs.file, theirs.at, reason)
        elif ours:
            file, place = (told[at - 1].file, told[at - 1].at) if at else (annex_name(run.number), 0)
            self._fault(file, place, f"behind this the frames give {self._event(ours)}, which is not recorded")
        else:  # the same ones, and others between them
            self._fault(near[0][1].file, near[0][1].at, "events stand between these that nothing in the frames gives")

    def _event(self, event):
        rules = self.image.names["rules"]
        rule = rules[event[EVENT_RULE]]["name"] if 0 <= event[EVENT_RULE] < len(rules) else f"rule {event[EVENT_RULE]}"
        value = "no value" if event[L.EVENT_VALUE] == L.NA else event[L.EVENT_VALUE]
        return (
            f"{rule} {event[L.EVENT_BEFORE]} > {event[L.EVENT_LEVEL]} at clock {event[EVENT_TIME]} ms"
            f" (where {event[L.EVENT_WHERE]}, value {value})"
        )


def _begin(entries):
    """Those entries from the first on that are proven, without a gap."""
    at = 0
    for entry in entries:
        if not entry.proven or entry.at != at:
            return
        at = entry.end
        yield entry


def _find(there, made, wanted):
    """Where `made` stands in `there` as a whole and holds all of `wanted` (numbers); None where nowhere."""
    low = wanted[0] if wanted else 0
    for first in range(min(low, len(there)) + 1):
        if first + len(made) > (wanted[-1] if wanted else -1) and there[first : first + len(made)] == made:
            return first
    return None


def _within(t_ms, first_ms, last_ms):
    return (t_ms - first_ms) % MS <= (last_ms - first_ms) % MS


def _clocks(state):
    """(the frames' own clock, by how much the core's is ahead of it), 30-bit ms."""
    words = state_of(state)
    return (words[L.NOW_MS] - words[L.OFFSET_MS]) & L.MASK, words[L.OFFSET_MS]


def _which(now, state):
    """Where two states differ first, for people."""
    if state is None:
        return ""
    mine, theirs = state_of(now), state_of(state)
    differ = [at for at in range(min(len(mine), len(theirs))) if mine[at] != theirs[at]]
    return f" ({len(differ)} words differ, the first is {differ[0]})" if differ else " (another length)"
