"""What an investigator needs of an alarm: the frames around it, features, events, and the proof (docs/blackbox.md)."""

import hashlib
from typing import NamedTuple

from cellwarden.blackbox import content as C
from cellwarden.blackbox import form as F
from cellwarden.blackbox import unpack as U
from cellwarden.blackbox.annex import annex_name
from cellwarden.core import layout as L

from ..errors import InputError
from ..snapshot import Snapshot, write_snapshot
from .anchor import write_anchor
from .contents import annex_entries, chain_entries, fields, word_names
from .exhibit import new_exhibit
from .export import EVENT_COLUMNS, Clock, DayTime, FrameLog, above_zero, event_row, word_or_none

BEFORE_MS, AFTER_MS = 60_000, 120_000
LEFT_OUT = (
    F.FRAMES_TYPE,
    F.FEATURES_TYPE,
    F.SNAPSHOT_TYPE,
    F.SEAL_TYPE,
)  # of the journal: they have files of their own

README = """What a box recorded around {alarms} of vehicle {vehicle}.

{proof}

manifest.json        each file here with its SHA-256; nothing here depends on when or where it was made
events.csv           every event of the log
journal.jsonl        whatever else the box wrote down, in order: starts, times of day, losses, acknowledgements
incident_N/          what belongs to one alarm, or to several that are near one another:
  frames_K.log       frames as candump text, _K.parquet the same with all that candump has no word for. Stamps are the
                     box's own clock of frames. K counts on where frames are missing in between
  frames_K.state     what the core remembered before the first of them:
                     cellwarden replay frames_K.parquet -p IMAGE --state-in frames_K.state
  features.csv       what the core made of the frames, signals.csv, cells.csv and probes.csv what stood in them
proof/               verdict.json: what `cellwarden verify` says; seals.csv: each seal; files.csv: the SHA-256 of each
                     file of the log; anchor.json: the newest seal, for a later `verify --anchor`

Each table is there as .csv and as .parquet. box_ms is the box's time since its start, utc what it took that for.
"""
PROVEN = "What is in here is proven by the box's seals, but for lines that say otherwise; commitment to its key:\n{}"
UNPROVEN = """NOTHING IN HERE IS PROVEN: no key was given. Anybody could have changed or invented it."""


class Raised(NamedTuple):
    """A level of a rule that was raised. number: from 1 on, over the whole log."""

    number: int
    boot: int
    t_ms: int
    rule: int
    level: int


class Incident:
    """The alarms of a log and what is around them.

    found: verify.Verification, or unsealed.Unsealed; image: that the box judged with, or None
    raised: [Raised] of the log; only: numbers of those wanted, or None for all; before_ms, after_ms: around each
    Raises InputError where the log has none of them.
    """

    def __init__(self, found, image=None, only=None, before_ms=BEFORE_MS, after_ms=AFTER_MS):
        self.found, self.image = found, image
        self.sealed = hasattr(found, "intact")
        self.days, self.raised, self.identities = DayTime(), [], {}
        self._read(found)
        wanted = [one for one in self.raised if only is None or one.number in only]
        if only and len(wanted) < len(set(only)):
            missing = sorted(set(only) - {one.number for one in wanted})[0]
            raise InputError("--alarm", f"the log has no alarm {missing}", f"1 to {len(self.raised)}")
        if not wanted:
            what = "holds no alarm" if not self.sealed or found.tags else "holds no alarm that is proven"
            raise InputError(found.log, what, "the log of a box that raised one", "see `cellwarden verify --salvage`")
        self.windows = _joined(wanted, before_ms, after_ms)
        self._state_bytes = 4 * max(end for _, end in L.state_sections(image.params).values()) if image else None

    def _good(self, entry):
        return entry.record is not None and (entry.proven or not self.sealed)

    def _read(self, found):
        for entry in chain_entries(found):
            if not self._good(entry):
                continue
            record = entry.record
            if record.type == F.CLOCK_TYPE:
                self.days.add(record)
            elif record.type == F.IDENTITY_TYPE:
                self.identities.setdefault(record.boot, fields(entry))
            elif record.type == F.EVENT_TYPE:
                event = F.unpack(C.EVENT, record.body)
                if event and event[L.EVENT_LEVEL] > event[L.EVENT_BEFORE]:
                    number = len(self.raised) + 1
                    self.raised.append(
                        Raised(number, record.boot, record.t_ms, event[L.EVENT_RULE], event[L.EVENT_LEVEL])
                    )

    @property
    def vehicle(self):
        told = next((told for told in reversed(self.identities.values()) if told), None)
        return told["vehicle"] if told else "unknown"

    def write(self, path, verdict, first_key=None):
        """All into a new folder. verdict: what verify's end line says, for proof/verdict.json. Returns the manifest."""
        self._spans = {number: self._span(number) for number in sorted(self.found.annexes.paths)}
        self._far = [
            row
            for row in self._features(chain_entries(self.found), 10_000)
            if any(boot == row[0] and first_ms <= row[1] <= last_ms for boot, first_ms, last_ms, _ in self.windows)
        ]
        with new_exhibit(path) as out:
            self._proof(out, verdict, first_key)
            out.table("events", "every event of the log", EVENT_COLUMNS, self._events())
            out.lines("journal.jsonl", "what else the box wrote down", self._journal())
            told = [self._window(out, n, *window) for n, window in enumerate(self.windows, 1)]
            count = sum(len(window[3]) for window in self.windows)
            commitment = next((told["commitment"] for told in self.identities.values() if told), "unknown")
            out.text(
                "README.txt",
                "what this folder is",
                README.format(
                    alarms=f"{count} alarm{'s' if count > 1 else ''}",
                    vehicle=self.vehicle,
                    proof=PROVEN.format(commitment) if self.sealed else UNPROVEN,
                ),
            )
            out.told = {
                "proven": self.sealed,
                "vehicle": self.vehicle,
                "image_sha256": sorted({told["image_sha256"] for told in self.identities.values() if told}),
                "commitment": commitment,
                "incidents": told,
            }
        return out.told

    # --- the whole log ------------------------------------------------------------------------------------------------

    def _events(self):
        for entry in chain_entries(self.found):
            if entry.record is None or entry.record.type != F.EVENT_TYPE:
                continue
            event = F.unpack(C.EVENT, entry.record.body)
            if event:
                utc = self.days.utc(entry.record.boot, entry.record.t_ms)
                yield event_row(entry.record, event, utc, self.image, entry.proven)

    def _journal(self):
        for entry in chain_entries(self.found):
            record = entry.record
            if record is None or record.type in LEFT_OUT:
                continue
            yield {
                "boot": record.boot, "box_ms": record.t_ms, "utc": self.days.utc(record.boot, record.t_ms),
                "type": F.TYPES[record.type], "proven": entry.proven,
                **(fields(entry) or {"body": record.body.hex()}),
            }  # fmt: skip

    def _proof(self, out, verdict, first_key):
        out.json("proof/verdict.json", "what `cellwarden verify` says of the whole log", verdict)
        columns = {
            "file": str, "offset": int, "index": int, "boot": int, "box_ms": int, "first_sequence": int,
            "sequence": int, "before": str, "tag": str, "proven": bool,
        }  # fmt: skip
        out.table("proof/seals", "each seal of the chain", columns, self._seals())
        paths = [*self.found.paths.values(), *(path for _, path in sorted(self.found.annexes.paths.items()))]
        rows = [(path.name, path.stat().st_size, _sha256(path)) for path in paths]
        out.table("proof/files", "the log's files", {"file": str, "bytes": int, "sha256": str}, rows)
        if self.sealed and self.found.last and first_key:
            write_anchor(out.file("proof/anchor.json", "the newest seal, as an anchor"), first_key, self.found.last)

    def _seals(self):
        for entry in chain_entries(self.found):
            seal = entry.record and F.seal_of(entry.record)
            if seal:
                index, first, before, tag = seal
                record = entry.record
                yield (
                    entry.file, entry.at, index, record.boot, record.t_ms, first, record.sequence, before.hex(),
                    tag.hex(), entry.proven,
                )  # fmt: skip

    # --- one incident -------------------------------------------------------------------------------------------------

    def _window(self, out, n, boot, first_ms, last_ms, raised):
        names = [rule["name"] for rule in self.image.names["rules"]] if self.image else None
        stem = f"incident_{n}"
        pieces = self._pieces(boot, first_ms, last_ms)
        logs = [self._frames(out, f"{stem}/frames_{k}", piece) for k, piece in enumerate(pieces, 1)]
        self._words(out, stem, boot, first_ms, last_ms)
        return {
            "boot": boot, "first_box_ms": first_ms, "last_box_ms": last_ms,
            "utc": self.days.utc(boot, raised[0].t_ms),
            "alarms": [
                {
                    "alarm": one.number, "box_ms": one.t_ms, "level": one.level,
                    "rule": names[one.rule] if names and 0 <= one.rule < len(names) else one.rule,
                }
                for one in raised
            ],
            "frames": logs or "none were kept",
        }  # fmt: skip

    def _pieces(self, boot, first_ms, last_ms):
        """[_Piece] of frames without a gap, each from a snapshot on where there is one."""
        pieces = []
        before = None  # the annex before, where it was read to its end
        for number in sorted(self.found.annexes.paths):
            if number >> 16 != boot & 0xFFFF:
                continue
            span = self._spans[number]
            if span is None or span[0] != boot or span[2] < first_ms or span[1] > last_ms:
                before = None
                continue
            if before != number - 1:
                pieces.append(_Piece(last_ms))
            pieces[-1].parts.append((number, 0))
            before = number if self._look(number, pieces) else None
        return [piece for piece in pieces if piece.items]

    def _span(self, number):
        """(boot, first ms, last ms) of what can be used of an annex, or None."""
        good = [entry.record for entry in self._entries(number)]
        return (good[0].boot, good[0].t_ms, good[-1].t_ms) if good else None

    def _entries(self, number):
        """Its entries from the first on, without a gap."""
        at = 0
        for entry in annex_entries(self.found, number):
            if not self._good(entry) or entry.at != at:
                return
            at = entry.end
            yield entry

    def _look(self, number, pieces):
        """Whether all of an annex was read. Its pieces learn their clocks; behind a gap another one begins."""
        piece, end, part = pieces[-1], 0, 0
        for what, *told in self._stream(number, piece.last_ms):
            if what == "state" and not piece.items:
                words = memoryview(told[0]).cast("i")
                piece.begin(told[0], (words[L.NOW_MS] - words[L.OFFSET_MS]) & L.MASK)
            elif what == "gap":
                part += 1
                piece = _Piece(piece.last_ms)
                piece.parts.append((number, part))
                pieces.append(piece)
            elif what == "item":
                if piece.clock is None:
                    piece.begin(None, told[1] & L.MASK)
                piece.items += 1
                piece.clock.unwrapped(told[1])
            elif what == "end":
                end = told[0]
        return end == self.found.annexes.paths[number].stat().st_size

    def _stream(self, number, last_ms):
        """("state", bytes), ("item", kind, clock, name, channel, data), ("gap",) and ("end", byte) of an annex."""
        items, parts, over = U.FrameItems(), U.SnapshotParts(), False
        for entry in self._entries(number):
            record = entry.record
            try:
                if record.type == F.SNAPSHOT_TYPE and U.digest_of(record.body) is None:
                    state = parts.unpack(record.body)
                    if state and len(state) == (self._state_bytes or len(state)) > 4 * L.OFFSET_MS:
                        yield "state", state
                elif record.type == F.FRAMES_TYPE:
                    if over:
                        return
                    over = record.t_ms > last_ms  # what was written after the window holds frames from within it
                    for item in items.unpack(record.body):
                        if item[0] != C.NOTED:
                            yield ("gap",) if item[0] == C.GAP else ("item", *item)
            except ValueError:
                yield ("gap",)
            yield "end", entry.end

    def _frames(self, out, stem, piece):
        shift = above_zero(piece.clock)
        names = self.image.names["buses"] if self.image else []
        told = {"file": f"{stem}.log", "annexes": [annex_name(number) for number, _ in piece.parts]}
        start = Clock(piece.first)
        paths = [
            out.file(f"{stem}.log", "frames as candump text, stamped by the box's clock"),
            out.file(f"{stem}.parquet", "the same frames, and what candump has no word for"),
        ]
        with FrameLog(names, shift, start, *paths) as log:
            for number, part in piece.parts:
                at = 0
                for what, *item in self._stream(number, piece.last_ms):
                    at += what == "gap"
                    if what == "item" and at == part:
                        log.put(*item)
        if piece.state and self.image:
            path = out.file(f"{stem}.state", "what the core remembered before them")
            write_snapshot(path, self.image, Snapshot(piece.state, 1000 * (piece.first + shift)))
            told["state"] = f"{stem}.state"
        return told | {
            "frames": log.frames,
            "counted_only": log.unknown,
            "first_clock_ms": log.first_ms,
            "last_clock_ms": log.last_ms,
            "candump_lacks": log.left_out,
        }

    def _words(self, out, stem, boot, first_ms, last_ms):
        rows = sorted(self._rows(boot, first_ms, last_ms), key=lambda row: row[:2])
        names = word_names(self.image and self.image.params)
        used = sorted({at for row in rows for at in row[2]})
        ends = L.SIGNALS_AT + L.SCALARS
        cells = ends + (self.image.params[L.P_CELLS] if self.image else 0)
        parts = {
            "features": (L.FEATURES_AT, L.SIGNALS_AT, "what the core made of the frames"),
            "signals": (L.SIGNALS_AT, ends, "what stood in the frames"),
            "cells": (ends, cells, "each cell's voltage, mV"),
            "probes": (cells, 1 << 30, "each probe's temperature, 0.1 degC"),
        }
        if not self.image:
            parts["words"] = ends, 1 << 30, "cells and probes, which without the image have no names"
            del parts["cells"], parts["probes"]
        for part, (first, end, what) in parts.items():
            mine = [at for at in used if first <= at < end]
            columns = {"box_ms": int, "utc": str, "each_ms": int}
            columns |= {names.get(at, f"word_{at}"): int for at in mine}
            told = [
                [t_ms, self.days.utc(boot, t_ms), each, *(word_or_none(words.get(at, L.NA)) for at in mine)]
                for t_ms, each, words in rows
            ]
            if mine:
                out.table(f"{stem}/{part}", what, columns, told)

    def _rows(self, boot, first_ms, last_ms):
        """(box ms, from which stream, its words) of the features in a window."""
        yield from (row[1:] for row in self._far if row[0] == boot and first_ms <= row[1] <= last_ms)
        for number, span in self._spans.items():
            if span and span[0] == boot and span[1] <= last_ms and span[2] >= first_ms:
                for row in self._features(self._entries(number), 1000):
                    if row[0] == boot and first_ms <= row[1] <= last_ms:
                        yield row[1:]

    def _features(self, entries, each):
        """(boot, box ms, from which stream, its words) of all features."""
        words = U.FeatureWords()
        for entry in entries:
            record = entry.record
            if record is None or record.type != F.FEATURES_TYPE or not self._good(entry):
                continue
            try:
                told = words.unpack(record.body)
            except ValueError:
                continue
            yield record.boot, record.t_ms, each, told


class _Piece:
    """Frames without a gap between them. parts: [(annex, gaps in it that stand before)]; state: what the core
    remembered before them, or None; first: the frames' clock then
    """

    def __init__(self, last_ms):
        self.last_ms, self.parts, self.items = last_ms, [], 0
        self.state = self.first = self.clock = None

    def begin(self, state, clock):
        self.state, self.first, self.clock = state, clock, Clock(clock)


def _joined(raised, before_ms, after_ms):
    """[(boot, first ms, last ms, [Raised])]: windows that touch are one."""
    windows = []
    for one in sorted(raised, key=lambda one: (one.boot, one.t_ms)):
        first, last = max(0, one.t_ms - before_ms), one.t_ms + after_ms
        if windows and windows[-1][0] == one.boot and first <= windows[-1][2]:
            boot, began, until, some = windows.pop()
            windows.append((boot, began, max(last, until), [*some, one]))
        else:
            windows.append((one.boot, first, last, [one]))
    return windows


def _sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
