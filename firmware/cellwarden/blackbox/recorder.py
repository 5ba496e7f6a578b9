"""The recorder: what the engine is fed goes through it, and what is to be kept goes to the chain and its annexes.

    recorder = Recorder(engine, chain, folder)     allocates, once
    recorder.drain(ring, n)                        instead of the engine's: frames are packed into memory, then judged
    recorder.advance(t_ms), recorder.notice(...)
    recorder.work(t_ms)                            between scans, until False: one operation of the storage each time
    recorder.settle(t_ms)                          before it sleeps
    recorder.shutdown(t_ms)                        before it goes off

`drain`, `advance` and `notice` take nothing from the heap and touch no storage. `t_ms` is the box's own clock, ms since
its start, never less than before; the frames' clock is theirs.
"""

import hashlib
import struct
from array import array

from cellwarden.blackbox import content as C
from cellwarden.blackbox import form as F
from cellwarden.blackbox.annex import Annex, Shelf
from cellwarden.blackbox.chain import CAPACITY, Chain
from cellwarden.blackbox.keys import FileKeys
from cellwarden.core import layout as L
from cellwarden.engine import byte_view

BEFORE_MS, AFTER_MS = 60_000, 120_000  # around each raise
SEAL_MS, SEAL_ALARM_MS = 10_000, 1000
ANNEX_TOLD_MS = 30_000  # frames away from any alarm are stated, and so sealed, each so often
FEATURES_MS, FEATURES_NEAR_MS = 10_000, 1000
SNAPSHOT_MS = 60_000
WHOLE_EACH = 60  # one snapshot of so many stands whole in the chain, of the others the digest; annexes have each whole
ALONE_EACH = 60  # one body of features of so many stands alone
ANNEX_BYTES = 256 << 10
ANNEXES_BYTES = 2 << 20  # of all
SEGMENTS_BYTES = CAPACITY - ANNEXES_BYTES  # a Chain's capacity beside them
BODY_BYTES = 1536  # of frames
BODIES = 2
TABLE_BYTES = 2048  # of the entries: 128 of them, or 28 on CAN FD
SCRATCH_BYTES = 2560
SPARE_BYTES = 32  # behind the packer's limit, for what ends a body
MOST_PENDING = 32  # records that others gave and that wait to be written
SLOW_MS = 5000  # storage on which a seal takes so long is slow
RETRY_MS = 1000
FRAMES = ALL, USED, NONE = "all", "used", "none"  # that are kept
FULL = 28  # ENOSPC


def options(filters, blackbox=None):
    """Options of a Recorder by what the vehicle image says; filters: its filters.json, blackbox: its blackbox.json."""
    found = dict(blackbox or {})
    found["known"] = [
        (channel, name | L.EXT if extended else name)
        for channel in range(len(filters))
        for name, _, extended in filters[channel]
    ]
    return found


def recorder_in(folder, vehicle, image):
    """What makes the Recorder of the log in a folder, given an Engine, for app.Box.

    folder: folder.Folder with a key in it; vehicle: its unique id, up to 17 ASCII bytes; image: image.Image
    """
    known = [(bus, i | L.EXT if extended else i) for bus, ids in enumerate(image.filters) for i, _, extended in ids]

    def make(engine):
        chain = Chain(folder, FileKeys(folder), vehicle, image.identity)
        return Recorder(engine, chain, folder, known, **image.blackbox)

    return make


class Recorder:
    """One start of the box.

    engine: engine.Engine; chain: chain.Chain; folder: folder.Folder of its segments
    known: (channel, identifier) of the frames that the image knows: where the storage does not keep up they alone are
    kept, the others counted; frames: ALL, USED (only those ever) or NONE; before_ms, after_ms: around each raise
    on_event, on_hazard: called with each event of the core (array of int32, layout EVENT_...), and with (row of
    content.HAZARDS, 1 begins or 0 is over, value)

    It alone reads the engine's events, and passes them on.

    hazards: {row of content.HAZARDS: since when} that stand; lost_frames: that could not be kept since the start

    Raises OSError where the folder cannot be read.
    """

    def __init__(
        self, engine, chain, folder, known=(), frames=ALL, before_ms=BEFORE_MS, after_ms=AFTER_MS,
        annexes_bytes=ANNEXES_BYTES, annex_bytes=ANNEX_BYTES, on_event=None, on_hazard=None,
    ):  # fmt: skip
        self.engine, self.chain = engine, chain
        self.state, self.params = engine.state, engine.params  # acknowledge() takes a Recorder for an Engine
        self._folder, self._frames = folder, frames
        self._before_ms, self._after_ms, self._annex_bytes = before_ms, after_ms, annex_bytes
        self._on_event, self._on_hazard = on_event, on_hazard
        chain.annex_limits = (annexes_bytes, annex_bytes, before_ms, after_ms)
        self.hazards = {}
        self.lost_frames = self.lost_events = 0
        self._told_lost = (0, 0, 0)
        # frames
        words = engine.record_bytes // 4
        self._packer = array("i", bytes(4 * (C.PACKER + 2 * len(known))))
        self._packer[C.RECORD_WORDS], self._packer[C.KNOWN_IDS] = words, len(known)
        self._pick = 1 if known and frames == USED else 0
        self._packer[C.SKIP] = self._pick
        for i, (channel, name) in enumerate(known):
            self._packer[C.PACKER + 2 * i], self._packer[C.PACKER + 2 * i + 1] = name, channel
        self._piece = (BODY_BYTES >> 2) // engine.record_bytes  # frames that surely do not fill half a body
        rows = self._packer[C.ROWS] = min(C.ENTRIES, TABLE_BYTES // (4 * (words - 1)))
        self._table = array("i", bytes(4 * rows * (words - 1)))
        self._table8 = byte_view(self._table)
        self._hashed = bytearray(256)
        self._bodies = [bytearray(BODY_BYTES) for _ in range(BODIES)]
        self._lengths = array("i", [0] * BODIES)  # of a body that is to be written
        self._counts = array("i", [0] * BODIES)  # records in it
        self._filled = self._written = self._filling = 0  # bodies, and the one that is being filled
        self._boundary = -1  # no further body is written before there is another annex
        self._number = 0  # of the body that is being filled
        self._gap = 0  # frames lost before what is packed next
        self._blind = False  # no body is free
        self._advanced_ms = -1  # engine.advance() was called since the last frame
        self._record = engine.ring(1)
        # words
        header = engine.params
        at = L.state_sections(header)
        words = L.FEATURES + at["signals"][1] - L.SIGNALS_AT
        self._scratch = bytearray(max(SCRATCH_BYTES, 6 * words + 2 * C.GROUP_BYTES))  # features like noise have room
        cells, signals_end = L.SIGNALS_AT + L.SCALARS, at["signals"][1]
        probes = cells + header[L.P_CELLS]
        self._first = L.FEATURES_AT
        self._words = _spans(
            (L.FEATURES_AT, L.FEATURES_AT + L.FEATURES, C.PLAIN), (L.SIGNALS_AT, cells, C.PLAIN),
            (cells, probes, C.MEAN), (probes, signals_end, C.MEAN),
        )  # fmt: skip
        memory = L.memory_columns(header) + (at["memory"][1],)
        groups, rules = at["groups"][0], at["rules"][0]
        self._whole = _spans(
            (0, cells, C.PLAIN), (cells, probes, 1), (probes, groups, 1), (groups, rules, L.GROUP_SIZE),
            (rules, memory[0], L.RULE_SIZE), *[(memory[i], memory[i + 1], 1) for i in range(len(memory) - 1)],
        )  # fmt: skip
        self._near_words = _Stream(engine.state, self._first, signals_end)
        self._far_words = _Stream(engine.state, self._first, signals_end)
        # what is due
        self._event = array("i", bytes(4 * L.EVENT_SIZE))
        self._t_ms = 0  # now
        self._until_ms = -1  # the end of the last alarm's time
        self._near_ms = self._far_ms = self._snapshot_ms = 0
        self._came = self._near_came = 0  # frames since the start, and those at the last features each second
        self._sealed_ms = -SEAL_ALARM_MS  # when sealing began last
        self._told_ms = 0  # when the chain told of the annex last
        self._sealed = None  # whether it came to a good end; None: there was nothing
        self._snapshots = 0
        self._annex = self._annex_failed_ms = None
        self._shelf = Shelf(folder, chain.boot, annexes_bytes, annex_bytes)
        self._dropping = []  # stated, and to be removed after the next seal
        self._statements = []  # since the last seal: (kind, body)
        self._again = False  # they have to be made again
        self._writing = None  # a generator: what goes into the annex now
        self._job = None  # a generator: what else is going on
        self._pending = []  # records that others gave: (kind, body)
        self._ending = False
        self._anew = True  # the body that is begun next has an empty table
        self._begin_body()

    # --- while frames are judged: nothing from the heap, no storage ---------------------------------------------------

    def drain(self, ring, n):
        """As Engine.drain(), and the frames are recorded."""
        if n > 0:
            self._pack(ring, n)
        return self.engine.drain(ring, n)

    def advance(self, t_ms):
        """As Engine.advance()."""
        begins = not self.engine.state[L.STARTED]
        self._advanced_ms = t_ms & L.MASK
        done = self.engine.advance(t_ms)
        if begins and self._frames != NONE:  # no frame says when the scans began
            self._tell_advance()
            self._advanced_ms = -1
        return done

    def notice(self, t_ms, kind, value=0, channel=0):
        """As Engine.notice()."""
        r, r32, _ = self._record
        r32[0] = t_ms & L.MASK
        r32[1] = L.NOTICE | kind
        r[L.RECORD_CHANNEL] = channel
        r[L.RECORD_LENGTH] = 1
        r[L.RECORD_DATA] = value
        self.drain(self._record, 1)

    def _pack(self, ring, n):
        if self._frames == NONE:
            return
        self._came = self._came + n & L.MASK
        if self._advanced_ms >= 0:
            # Scans that ran later than the frame that comes now change what it means; else its own stamp says as much.
            if (ring[1][0] - self._advanced_ms) & L.MASK >= L.HALF:
                self._tell_advance()
            self._advanced_ms = -1
        i = 0
        p = self._packer
        while not self._blind:
            filling, before, end = self._filling, i, min(i + self._piece, n)
            i = C.pack_frames(
                i, 0, end, ring[1], ring[0], p, self._table, self._table8, self._hashed, self._bodies[filling]
            )
            self._counts[filling] += i - before
            if i < end:
                self._next_body()
                continue
            if p[C.KNOWN_IDS] and not self._pick:  # while the storage does not keep up the known ones have the room
                p[C.SKIP] = 1 if p[C.AT] > BODY_BYTES >> 1 and self._lengths[(filling + 1) % BODIES] else 0
            if i == n:
                return
        self._gap += n - i
        self.lost_frames += n - i

    def _tell_advance(self):
        if self._packer[C.AT] > self._packer[C.LIMIT]:
            self._next_body()
        if not self._blind:
            self._end_unknown()
            self._mark(C.ADVANCE, self._advanced_ms)
            self._packer[C.CLOCK] = self._packer[C.HIGHEST] = self._advanced_ms

    def _note(self, number):
        """Say among the frames that here the state is what features of this number say."""
        if self._frames == NONE or self._blind:
            return
        if self._advanced_ms >= 0:
            self._tell_advance()
            self._advanced_ms = -1
        if self._packer[C.AT] > self._packer[C.LIMIT]:
            self._next_body()
        if not self._blind:
            self._end_unknown()
            out, at = self._bodies[self._filling], self._packer[C.AT]
            out[at], out[at + 1] = C.NOTED, number
            self._packer[C.AT] = at + 2

    def _mark(self, code, number):
        out, at = self._bodies[self._filling], self._packer[C.AT]
        out[at] = code
        _word(out, at + 1, number)
        self._packer[C.AT] = at + 5

    def _end_unknown(self):
        """Tell of the unknown frames that were counted."""
        p = self._packer
        if p[C.UNKNOWN_COUNT]:
            out, at = self._bodies[self._filling], p[C.AT]
            out[at], out[at + 1] = C.UNKNOWN, C.LONG
            _word(out, at + 2, p[C.UNKNOWN_CLOCK])
            out[at + 6] = p[C.UNKNOWN_COUNT]
            p[C.AT] = at + 7
            p[C.CLOCK] = p[C.UNKNOWN_CLOCK]
            p[C.UNKNOWN_COUNT] = 0

    def _begin_body(self):
        """Begin to fill the body that is free."""
        p = self._packer
        if self._anew:
            self._anew = False
            self._number = 0
            p[C.ENTRIES_USED] = 0
            for i in range(256):
                self._hashed[i] = 0
        out = self._bodies[self._filling]
        _word(out, 0, p[C.CLOCK])
        out[4], out[5] = self._number & 255, self._number >> 8 & 255
        p[C.AT] = C.FRAMES_HEAD_BYTES
        p[C.LIMIT] = BODY_BYTES - SPARE_BYTES
        if self._gap:
            self._mark(C.GAP, self._gap)
            self._gap = 0

    def _next_body(self):
        """The body that is being filled is to be written; go on with one that is free, or be blind."""
        self._end_unknown()
        self._lengths[self._filling] = self._packer[C.AT]
        self._number = self._number + 1 & 0xFFFF
        self._filled = self._filled + 1 & L.MASK
        self._filling = self._filled % BODIES
        if self._lengths[self._filling]:
            self._blind = True
        else:
            self._begin_body()

    # --- between scans ------------------------------------------------------------------------------------------------

    def work(self, t_ms):
        """One operation of the storage, or a few small ones. Returns False where there is nothing to do now."""
        self._t_ms = t_ms
        if self._writing is None and self._written != self._filled and self._written != self._boundary:
            self._writing = self._write_body()
        if self._writing is not None:
            if _is_over(self._writing):
                self._writing = None
            return True
        if self._job is not None:
            if _is_over(self._job):
                self._job = None
            return True
        if self._tell():
            return True
        if t_ms >= self._near_ms and self._annex is not None:
            self._near_ms = _after(self._near_ms, FEATURES_NEAR_MS, t_ms)
            if self._came != self._near_came:  # else nothing came
                self._near_came = self._came
                self._note(self._near_words.number)
                self._writing = self._write(self._annex, F.FEATURES_TYPE, self._features(self._near_words))
                return True
        if t_ms >= self._far_ms:
            self._far_ms = _after(self._far_ms, FEATURES_MS, t_ms)
            if self.chain.begins:
                self._far_words.number = 0
            self._put(F.FEATURES_TYPE, self._features(self._far_words))
            return True
        if t_ms >= self._snapshot_ms or (self._annex is None and self._may_begin()):
            self._job = self._turn(t_ms >= self._snapshot_ms)
        elif self._annex is not None and self._annex.size >= self._annex_bytes:
            self._job = self._turn(False)
        elif self._seal_is_due():
            self._job = self._seal()
        return self._job is not None

    def _seal_is_due(self):
        """After 10 s; near an alarm after 1 s; while one stands what is in the chain after 1 s."""
        since_ms = self._t_ms - self._sealed_ms
        if since_ms < SEAL_ALARM_MS:
            return False
        if self._t_ms < self._until_ms and self._annex is not None and self._annex.unsealed:
            return True
        if since_ms >= SEAL_MS or self._t_ms < self._until_ms:
            return bool(self._packer[C.AT] > C.FRAMES_HEAD_BYTES or self.chain.unsealed)
        return bool(self.engine.state[L.LEVEL] and self.chain.unsealed)

    def clock(self, seconds, ms, source):
        """It is so many seconds since 1970 (UTC) now; source: a number of the board's."""
        self._give(F.CLOCK_TYPE, struct.pack(F.CLOCK, seconds, ms, source))

    def security(self, kind, vehicle, seconds=0, detail=b""):
        """What GB/T 40855 5.2.2.7 wants kept. kind: a word of content.SECURITY_EVENTS; vehicle: its unique id;
        seconds: since 1970 (UTC), 0 where it is not known; detail: up to 64 bytes.
        """
        body = struct.pack(C.SECURITY, seconds, vehicle, C.SECURITY_EVENTS.index(kind)) + detail[:64]
        self._give(F.SECURITY_TYPE, body)

    def update(self, why, version, counter, sha256):
        """What runs from this start on. why: of update.slots.WHY; version: three ints; sha256: of its manifest."""
        self._give(F.UPDATE_TYPE, struct.pack(C.UPDATE, why, *version, counter, sha256))

    def acknowledgement(self, rule, taken, tag):
        """Somebody asked to release a rule's alarm; taken: whether it was; tag: 32 bytes that were shown."""
        self._give(F.ACKNOWLEDGEMENT_TYPE, struct.pack(C.ACKNOWLEDGEMENT, rule, 1 if taken else 0, tag))

    def _give(self, kind, body):
        if len(self._pending) < MOST_PENDING:
            self._pending.append((kind, body))
        else:
            self.chain.lost_records += 1

    def hazard(self, kind, begins, value):
        """Something befell another part of the box. kind: a row of content.HAZARDS; begins: 1, or 0 when it is over."""
        self._give(F.HAZARD_TYPE, struct.pack(C.HAZARD, kind, begins, value))

    def uploaded(self, index):
        """The platform has all blocks up to this one."""
        self._give(F.UPLOAD_TYPE, struct.pack(C.UPLOAD, index))

    def settle(self, t_ms):
        """Seal what there is, whatever time it takes: the box goes to sleep. Returns whether it could be sealed."""
        self._complete(t_ms)
        self._told_ms = t_ms - ANNEX_TOLD_MS  # what stands in the annex, too
        return self._do(t_ms, self._seal()) is not False

    def shutdown(self, t_ms):
        """As settle(), and the recorder is done then."""
        self._complete(t_ms)
        self._snapshots = 0  # whole
        self._ending = True
        sealed = self._do(t_ms, self._turn(True), self._seal())
        self.chain.close()
        return sealed is True

    def abandon(self):
        """Leave it as a power cut does."""
        self.chain.close()
        if self._annex is not None:
            try:
                self._annex.close()
            except OSError:
                pass

    def _complete(self, t_ms):
        """What is going on comes to its end."""
        while self._job is not None or self._writing is not None or self._written != self._filled:
            self.work(t_ms)
        self._t_ms = t_ms
        self._tell()

    def _do(self, t_ms, *jobs):
        """These, to their ends. Returns what became of the last block; None: there was nothing to seal."""
        for job in jobs:
            self._job = job
            while self._job is not None:
                self.work(t_ms)
        return self._sealed

    # --- one thing each -----------------------------------------------------------------------------------------------

    def _put(self, kind, body):
        """Into the chain. Returns False where it failed."""
        if self.chain.put(kind, self._t_ms, body):
            return True
        self._far_words.number = 0
        self._again = True
        self._failed(self.chain.error)
        return False

    def _state(self, kind, body):
        """Into the chain, and into each later block until one is sealed. Returns False where it failed now."""
        self._statements.append((kind, body))
        return self._put(kind, body)

    def _restate(self):
        """After a block was given up, the statements that stood in it. Returns whether all stand in the open one."""
        if self._again:
            self._again = False
            for kind, body in self._statements:
                if not self._put(kind, body):
                    break
        return not self._again

    def _into_annex(self, kind, body):
        if self._annex is None:
            return
        try:
            self._annex.put(kind, self._t_ms, body)
        except OSError as error:
            self._lose_annex(error)

    def _lose_annex(self, error):
        self._failed(error.args[0])
        annex, self._annex = self._annex, None
        self._annex_failed_ms = self._t_ms
        if annex is not None:
            self._shelf.add(annex, self.chain.segments[1], self.chain.boot)
            try:
                annex.close()
            except OSError:
                pass

    def _may_begin(self):
        return self._annex_failed_ms is None or self._t_ms - self._annex_failed_ms >= RETRY_MS

    def _failed(self, error):
        self._hazard(1 if error == FULL else 3, 1, error)

    def _hazard(self, kind, begins, value):
        if (kind in self.hazards) == bool(begins):
            return
        if begins:
            self.hazards[kind] = self._t_ms
        else:
            del self.hazards[kind]
        self.hazard(kind, begins, value)
        if self._on_hazard:
            self._on_hazard(kind, begins, value)

    def _tell(self):
        """Events of the core, and what others gave. Returns whether there was any."""
        engine, event = self.engine, self._event
        found = False
        self._restate()
        while engine.take(event):
            found = True
            if event[L.EVENT_LEVEL] > event[L.EVENT_BEFORE]:
                self._raised()
            self._put(F.EVENT_TYPE, struct.pack(C.EVENT, *event))
            if self._on_event:
                self._on_event(event)
        waiting, self._pending = self._pending, []
        well = True
        for kind, body in waiting:
            found = True
            if not self._put(kind, body):
                well = False
                if kind == F.HAZARD_TYPE:  # it is told as soon as it can be
                    self._give(kind, body)
        return found and well

    def _raised(self):
        self._until_ms = self._t_ms + self._after_ms
        self._shelf.near(self._t_ms - self._before_ms, self.chain.boot)
        if self._annex is not None:
            self._annex.near = self._annex.near or 2

    def _write(self, annex, kind, body):
        """A generator: a record goes into an annex. The annex is lost where that fails."""
        try:
            for _ in annex.putting(kind, self._t_ms, body):
                yield
        except OSError as error:
            self._lose_annex(error)

    def _write_body(self):
        """A generator: the oldest body that is full goes into the annex."""
        at = self._written % BODIES
        annex = self._annex
        if annex is not None:
            annex.frames += self._counts[at]
            for _ in self._write(annex, F.FRAMES_TYPE, memoryview(self._bodies[at])[: self._lengths[at]]):
                yield
        if self._annex is None:
            self.lost_frames += self._counts[at]
        self._lengths[at] = self._counts[at] = 0
        self._written = self._written + 1 & L.MASK
        if self._blind:
            self._hazard(2, 1, 0)
            self._snapshot_ms = min(self._snapshot_ms, self._t_ms + FEATURES_MS)  # from there on it can be replayed
            self._blind = False
            self._begin_body()

    def _flush(self, advance):
        """What is packed so far is to be written. advance: and up to when scans ran."""
        if advance and self._advanced_ms >= 0 and not self._blind:
            self._tell_advance()
            self._advanced_ms = -1
        if self._packer[C.AT] > C.FRAMES_HEAD_BYTES or self._packer[C.UNKNOWN_COUNT]:
            if not self._blind:
                self._next_body()

    def _features(self, stream):
        """The body of a FEATURES record."""
        out, state = self._scratch, self.engine.state
        out[0] = stream.number
        spans, at, shift = self._words, 1, self._first
        if stream.number == 0:
            shift = -1
            at = _put_spans(out, 1, spans)
        for row in range(0, len(spans), C.SPAN):
            if spans[row + 2] == C.MEAN:
                mean = C.mean_change(spans[row], 0, state, stream.words, shift, spans[row + 1])
                spans[row + 3] = mean
                at = C.put_mean(out, at, mean)
        at = C.pack_words(0, at, out, len(out), state, stream.words, shift, spans, len(spans) // C.SPAN)
        stream.keep()
        return memoryview(out)[:at]

    def _pack_snapshot(self):
        """The body of a SNAPSHOT record, or None for a state like noise that no record holds."""
        out, state = self._scratch, self.engine.state
        while True:
            struct.pack_into(C.SNAPSHOT_HEAD, out, 0, C.WHOLE, len(state), 0, len(state), 0)
            at = _put_spans(out, struct.calcsize(C.SNAPSHOT_HEAD) - 1, self._whole)
            at = C.pack_words(0, at, out, len(out), state, state, -1, self._whole, len(self._whole) // C.SPAN)
            if at >= 0:
                return memoryview(out)[:at] if at <= F.MOST_BODY else None
            out = bytearray(6 * len(state) + 2 * C.GROUP_BYTES)  # for this once

    # --- what takes several operations --------------------------------------------------------------------------------

    def _turn(self, snapshot):
        """A snapshot, and an annex that begins with it; snapshot: it is due in the chain, too."""
        ending = self._ending
        silent = self._annex is not None and not self._annex.frames and self._packer[C.AT] <= C.FRAMES_HEAD_BYTES
        silent = silent and not ending  # or nothing sealed would tell of this annex
        self._anew = not silent
        self._flush(True)
        if self._anew and not self._blind:
            self._begin_body()
        self._boundary = self._filled
        body = self._pack_snapshot()
        digest = bytes((C.DIGEST,)) + hashlib.sha256(byte_view(self.engine.state)).digest()
        if snapshot:
            self._snapshot_ms = self._t_ms + SNAPSHOT_MS
        while self._written != self._boundary:
            yield
        if silent:
            self._boundary = -1
            self._into_annex(F.SNAPSHOT_TYPE, digest)
        else:
            for _ in self._tell_annex():
                yield
            annex, self._annex = self._annex, None
            if annex is not None:
                self._shelf.add(annex, self.chain.segments[1], self.chain.boot)
                try:
                    annex.close()
                except OSError as error:
                    self._failed(error.args[0])
                yield
            if not ending:
                self._begin_annex()
                yield
                if self._annex is not None:
                    for _ in self._write(self._annex, F.SNAPSHOT_TYPE, body or digest):
                        yield
            self._boundary = -1
        yield
        if snapshot:
            whole = body is not None and self._snapshots % WHOLE_EACH == 0
            if self._put(F.SNAPSHOT_TYPE, body if whole else digest):
                self._snapshots += 1
        self._spare()

    def _begin_annex(self):
        """Another annex, with all its streams."""
        self._near_words.number = 0
        self._shelf.last += 1
        near = 1 if self._t_ms < self._until_ms else 0
        try:
            self._annex = Annex(
                self._folder, self._shelf.last, self.chain.boot, self.chain.segments[1], near, self._t_ms
            )
            self._annex_failed_ms = None
        except OSError as error:
            self._lose_annex(error)
            try:
                self._shelf.remove(self._shelf.last)
            except OSError:
                pass

    def _tell_annex(self, tell=True):
        """A generator: make durable what stands in the annex; tell: and state it in the chain."""
        if self._annex is None or not self._annex.unsealed:
            return
        told = self._annex.told() if tell else None
        try:
            self._annex.sync()
        except OSError as error:
            self._lose_annex(error)
            return
        yield  # what is written from here on is neither durable nor told
        if tell:
            self._told_ms = self._t_ms
            self._state(F.ANNEX_TYPE, told)
            yield

    def _spare(self):
        """State which annexes go."""
        since_ms = self._t_ms - self._before_ms
        if self._ending and self._t_ms >= self._until_ms:
            since_ms = self._t_ms + 1
        while True:
            number = self._shelf.spare(since_ms, self.chain.boot, self.chain.segments[0])
            if number is None:
                return
            self._shelf.drop(number)
            self._dropping.append(number)
            if not self._state(F.DROPPED_TYPE, struct.pack(C.DROPPED, number)):
                return

    def _seal(self):
        """Everything up to now is written and sealed."""
        began_ms = self._t_ms
        self._sealed_ms = began_ms
        self._flush(began_ms < self._until_ms)  # an alarm that a silence raised follows from the scans alone
        until = self._filled
        while self._written != until:
            yield
        for _ in self._tell_annex(self._t_ms < self._until_ms or self._t_ms - self._told_ms >= ANNEX_TOLD_MS):
            yield
        lost = (self.lost_frames, self.engine.events[L.E_LOST], self.chain.lost_records)
        if lost != self._told_lost and self._put(F.LOST_TYPE, struct.pack(F.LOST, *lost)):
            self._told_lost = lost
        self._sealed = None
        if not self._restate() or (self._ending and not self._put(F.SHUTDOWN_TYPE, b"")):
            return
        for sealed in self.chain.sealing(self._t_ms):
            self._sealed = sealed is not False
            yield
        if self._sealed is None:
            return
        if not self._sealed:
            self._far_words.number = 0
            self._again = True
            self._failed(self.chain.error)
            return
        self.chain.touch(self._t_ms)
        yield
        dropping, self._dropping, self._statements = self._dropping, [], []
        for number in dropping:
            try:
                self._shelf.remove(number)
            except OSError as error:
                self._failed(error.args[0])
            yield
        if self._t_ms - began_ms > SLOW_MS:
            self._hazard(2, 1, self._t_ms - began_ms)
        else:
            for kind in list(self.hazards):
                self._hazard(kind, 0, 0)


class _Stream:
    """Words of a state, each body as the change since the one before. number: of the next, 0: it stands alone."""

    def __init__(self, state, first, end):
        self.number = 0
        self.words = array("i", bytes(4 * (end - first)))
        self._to, self._from = memoryview(self.words), memoryview(state)[first:end]

    def keep(self):
        self._to[:] = self._from
        self.number = (self.number + 1) % ALONE_EACH


def _is_over(steps):
    """Take one step of a generator; whether it was the last."""
    try:
        next(steps)
    except StopIteration:
        return True
    return False


def _spans(*spans):
    """[(first, end, mode)] as pack_words takes them; none is empty."""
    return array("i", [n for span in spans if span[0] < span[1] for n in span + (0,)])


def _put_spans(out, at, spans):
    out[at] = len(spans) // C.SPAN
    at += 1
    for row in range(0, len(spans), C.SPAN):
        struct.pack_into(C.SPAN_FORM, out, at, spans[row], spans[row + 1], spans[row + 2])
        at += 5
    return at


def _word(out, at, number):
    """Four bytes of a number, the lowest first."""
    for i in range(4):
        out[at + i] = number >> 8 * i & 255


def _after(due_ms, step_ms, t_ms):
    """The next time on a grid that is later than now."""
    return due_ms + step_ms if due_ms + step_ms > t_ms else t_ms + step_ms
