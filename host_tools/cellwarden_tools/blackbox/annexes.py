"""The annexes beside a log's segments: what of them the chain proves (docs/blackbox.md, "Annexes")."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from cellwarden.blackbox.annex import annex_name, annex_number

from .read import opened

PIECE = 1 << 16  # bytes hashed at a time


class Held(NamedTuple):
    """An annex that is there. proven: [(first byte, end)] that a sealed statement covers and that hold, joined."""

    number: int
    path: Path
    size: int
    proven: list

    def is_proven(self, at, end):
        return any(first <= at and end <= last for first, last in self.proven)


class Annexes:
    """The annexes of a log. `tell` and `drop` take what proven blocks say, in order; `check` then looks at the files.

    held: {number: Held}, ascending; unsealed_bytes: of them that no statement covers
    """

    def __init__(self, log):
        log = Path(log)
        found = {annex_number(path.name): path for path in log.iterdir()} if log.is_dir() else {}
        found.pop(None, None)
        self.paths = dict(sorted(found.items()))
        self.looked = log.is_dir()  # a segment alone has no annexes beside it
        self.held, self.unsealed_bytes = {}, 0
        self._told, self._dropped = {}, set()

    def tell(self, block, fields):
        """An ANNEX record of a proven block."""
        number, *told = fields
        self._told.setdefault(number, []).append((block, *told))

    def drop(self, fields):
        """A DROPPED record of a proven block."""
        self._dropped.add(fields[0])

    def check(self, fault):
        """Compare the files with what was told; fault(file, offset, kind, reason) is called for each that is belied."""
        if not self.looked:
            return
        for number, told in sorted(self._told.items()):
            if number not in self.paths and number not in self._dropped:
                block = told[0][0]
                reason = f"{annex_name(number)}, of which block {block.index} tells, is missing"
                fault(annex_name(number), 0, "removed", reason)
        for number, path in self.paths.items():
            self.held[number] = self._held(number, path, self._told.get(number, ()), fault)

    def _held(self, number, path, told, fault):
        name, proven, behind = annex_name(number), [], None
        with opened(path) as data:
            size = len(data)
            for block, first, end, digest in told:
                if first < (behind or 0) or first >= end:
                    reason = f"block {block.index} tells of bytes {first} to {end}, after those to {behind or 0}"
                    fault(name, first, "contradiction", reason)
                    break
                behind = end  # between two statements may be bytes whose block was lost: nothing proves them
                if end > size:
                    if number not in self._dropped:
                        reason = f"bytes {size} to {end}, which block {block.index} covers, are missing"
                        fault(name, size, "removed", reason)
                    break
                if _digest(data, first, end)[: len(digest)] != digest:
                    fault(name, first, "altered", f"bytes {first} to {end} are not those that block {block.index} covers")
                elif proven and proven[-1][1] == first:
                    proven[-1] = proven[-1][0], end
                else:
                    proven.append((first, end))
        self.unsealed_bytes += max(0, size - (behind or 0))
        return Held(number, path, size, proven)


def _digest(data, first, end):
    digest = hashlib.sha256()
    for at in range(first, end, PIECE):
        digest.update(data[at : min(at + PIECE, end)])
    return digest.digest()
