"""Annexes on the host: what of them the chain proves, and what it says is gone (cellwarden.blackbox.content)."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from cellwarden.blackbox import content as C
from cellwarden.blackbox.annex import annex_name, annex_number

from .read import opened, pieces


class Stated(NamedTuple):
    """What a proven block says of an annex. at: byte of that record in its segment."""

    segment: int
    at: int
    boot: int
    first: int
    end: int
    digest: bytes


class Annex(NamedTuple):
    """first..end of the file are proven."""

    path: Path
    first: int
    end: int


class Annexes:
    """The annexes of a log. paths: {number: path} of those that are there; proven: {number: Annex}; dropped: numbers
    that the box let go, in sealed blocks; unsealed_bytes: of no statement, where the box was still writing
    """

    def __init__(self, log):
        log = Path(log)
        self.alone = not log.is_dir()  # one segment was given: its annexes are elsewhere
        found = {annex_number(path.name): path for path in sorted(log.iterdir())} if not self.alone else {}
        found.pop(None, None)
        self.paths, self.proven, self.dropped, self._stated = found, {}, set(), {}
        self.unsealed_bytes = 0

    def state(self, block, at, fields):
        """An ANNEX record of a proven block."""
        number, first, end, digest = fields
        self._stated.setdefault(number, []).append(Stated(block.segment, at, block.boot, first, end, digest))

    def drop(self, number):
        """A DROPPED record of a proven block."""
        self.dropped.add(number)

    def faults(self, segment_name, holes, last_boot):
        """Yields (file, offset, kind, reason).

        holes: whether proven blocks are missing: statements may be, too; last_boot: of the last proven block
        """
        if self.alone:
            return
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
            # The one that was begun last may not have been told of yet; so may one whose statement went with its block.
            boot = number >> 16
            after = newest.get(boot, boot << 16)
            if (number == after + 1 and boot <= last_boot + 1) or holes:
                self.unsealed_bytes += path.stat().st_size
            else:
                yield path.name, 0, "unsealed", "no sealed block tells of this annex"

    def _compare(self, number, stated, holes):
        path, name = self.paths[number], annex_name(number)
        first = end = stated[0].first
        with opened(path) as data:
            size = len(data)
            for part in stated:
                if part.first != end:
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
                end = part.end
            else:
                if end < size:
                    newer = number + 1 in self._stated  # it was closed, and told of to its end
                    if newer and not holes:
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
