"""Annexes on the host: what of them the chain proves, and what it says is gone (cellwarden.blackbox.content)."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from cellwarden.blackbox import content as C
from cellwarden.blackbox import form as F
from cellwarden.blackbox.annex import annex_name, annex_number
from cellwarden.blackbox.chain import GRAIN
from cellwarden.blackbox.recorder import ANNEX_TOLD_MS
from cellwarden.core import layout as L

from .read import opened, pieces

DOUBT_MS = 2000  # between a record and what it tells of


class Stated(NamedTuple):
    """What a proven block says of an annex. at: byte of that record in its segment."""

    segment: int
    at: int
    boot: int
    first: int
    end: int
    digest: bytes
    t_ms: int


class Dropped(NamedTuple):
    """A DROPPED record of a proven block. held: bytes of the annexes that were told of and not dropped before it."""

    segment: int
    at: int
    held: int


class Annex(NamedTuple):
    """first..end of the file are proven."""

    path: Path
    first: int
    end: int


class Annexes:
    """The annexes of a log. paths: {number: path} of those that are there; proven: {number: Annex}; dropped:
    {number: Dropped} that the box let go, in sealed blocks; unsealed_bytes: of no statement, where the box still wrote
    """

    def __init__(self, log):
        log = Path(log)
        self.alone = not log.is_dir()  # one segment was given: its annexes are elsewhere
        found = {annex_number(path.name): path for path in sorted(log.iterdir())} if not self.alone else {}
        found.pop(None, None)
        self.paths, self.proven, self.dropped, self._stated = found, {}, {}, {}
        self._living, self._raises, self._limits = {}, {}, {}
        self._failing = set()  # boots whose storage failed: what they wrote they could not always tell of
        self.unsealed_bytes = 0

    def limit(self, boot, limits):
        """What the first identity of a boot says of annexes: who has the box later says other things later."""
        self._limits.setdefault(boot, limits)

    def tell(self, kind, block, at, fields, t_ms):
        """An ANNEX, DROPPED, EVENT or HAZARD record of a proven block."""
        if kind == F.ANNEX_TYPE:
            number, first, end, digest = fields
            stated = Stated(block.segment, at, block.boot, first, end, digest, t_ms)
            self._stated.setdefault(number, []).append(stated)
            self._living[number] = -(-end // GRAIN) * GRAIN
        elif kind == F.DROPPED_TYPE:
            (number,) = fields
            self.dropped.setdefault(number, Dropped(block.segment, at, sum(self._living.values())))
            self._living.pop(number, None)
        elif kind == F.HAZARD_TYPE:
            self._failing.add(block.boot)
        elif fields[L.EVENT_LEVEL] > fields[L.EVENT_BEFORE]:
            self._raises.setdefault(block.boot, []).append(t_ms)

    def faults(self, segment_name, holes, last_boot, oldest_segment, ended):
        """Yields (file, offset, kind, reason).

        holes: whether proven blocks are missing: statements may be, too; last_boot: of the last proven block;
        oldest_segment: that the ring keeps; ended: boots that shut down cleanly
        """
        if self.alone:
            return
        if not holes:
            yield from self._let_go(segment_name, oldest_segment)
        for number, stated in sorted(self._stated.items()):
            if number in self.dropped:
                continue
            if number not in self.paths:
                last = stated[-1]
                reason = f"{annex_name(number)}, of which this record tells, is missing"
                yield segment_name(last.segment), last.at, "removed", reason
                continue
            yield from self._compare(number, stated, holes)
        newest = {boot: max(n for n in self._stated if n >> 16 == boot) for boot in {n >> 16 for n in self._stated}}
        for number, path in self.paths.items():
            if number in self._stated or number in self.dropped:
                continue
            # What was begun last may not have been told of yet where the boot came to no good end; so may one whose
            # statement went with its block.
            boot = number >> 16
            open_end = boot not in ended and boot <= last_boot + 1 and number > newest.get(boot, boot << 16)
            if open_end or holes or boot in self._failing:
                self.unsealed_bytes += path.stat().st_size
            else:
                yield path.name, 0, "unsealed", "no sealed block tells of this annex"

    def _let_go(self, segment_name, oldest_segment):
        """Annexes that hold an alarm's time go when there is no room. A box that lets them go may be in other hands."""
        for number, (segment, at, held) in self.dropped.items():
            stated = self._stated.get(number)
            if not stated or stated[0].first or stated[0].segment <= oldest_segment:
                continue  # it may have gone because its segments went
            room, one, before_ms, after_ms = self._limits.get(stated[0].boot, (0, 0, 0, 0))
            # As much as the box may have had: annexes that it never told of, and the one that was open, come to it.
            untold = len({*self.dropped, *self.paths} - self._stated.keys())
            held += (untold + 2) * one
            if held <= room - one and self._is_near(stated, before_ms, after_ms):
                reason = f"{annex_name(number)} holds the time of an alarm, and nothing had to make room"
                yield segment_name(segment), at, "removed", f"{reason}: it was let go of {held} bytes at most of {room}"

    def _is_near(self, stated, before_ms, after_ms):
        """Whether the box had to keep an annex. The statements tell its time not to the ms: in doubt it had not."""
        began, end = stated[0].t_ms, stated[-1].t_ms
        for raised in self._raises.get(stated[0].boot, ()):
            if began <= raised <= end:
                return True
            if raised - before_ms <= end - ANNEX_TOLD_MS - DOUBT_MS and began + DOUBT_MS <= raised + after_ms:
                return True
        return False

    def _compare(self, number, stated, holes):
        path, name = self.paths[number], annex_name(number)
        first = end = stated[0].first
        with opened(path) as data:
            size = len(data)
            for part in stated:
                if part.first > end:  # told of twice: a block that the box gave up, and that reached its storage
                    if not holes:
                        yield name, end, "contradiction", f"the box goes on telling of it at byte {part.first}"
                    break
                if part.end > size:
                    where = f"segment {part.segment}"
                    yield name, size, "truncated", f"it has {size} bytes, {where} tells of {part.end}"
                    break
                if not part.first < part.end:
                    yield name, end, "contradiction", "the box tells of no bytes of it"
                    break
                digest = hashlib.sha256(data[part.first : part.end]).digest()[: C.ANNEX_DIGEST_BYTES]
                if digest != part.digest:
                    reason = f"the bytes up to {part.end} are not those that segment {part.segment} tells of"
                    yield name, part.first, "altered", reason
                    break
                end = max(end, part.end)
            else:
                if end < size:
                    newer = number + 1 in self._stated  # it was closed, and told of to its end
                    if newer and not holes and stated[0].boot not in self._failing:
                        yield name, end, "unsealed", f"{size - end} bytes that no sealed block tells of"
                    else:
                        self.unsealed_bytes += size - end
            if stated[0].first and not holes:
                yield name, 0, "unsealed", f"no sealed block tells of the first {stated[0].first} bytes"
        if first < end:
            self.proven[number] = Annex(path, first, end)

    def records(self, number):
        """Each proven form.Record of an annex, in order."""
        annex = self.proven[number]
        with opened(annex.path) as data:
            for found in pieces(data):
                if found.at >= annex.first and found.end <= annex.end and found.record is not None:
                    yield found.record
