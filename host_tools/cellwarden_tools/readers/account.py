"""What became of every record of a log."""

from collections import Counter
from dataclasses import dataclass, field

EXT = 1 << 29  # set in can_id for a 29-bit identifier
KINDS = -0x100  # can_id & KINDS == NOTICE for what is no frame but what the recorder knew of its bus
KEPT = 20  # rejections remembered with their place; the counters know them all
FRAME_LIKE = {"transmitted", "remote frame", "error frame"}


class Skip(Exception):
    """A record understood, but no data frame for the core. The argument is the reason."""


class Reject(Exception):
    """A record not understood. The argument is the reason."""


def identifier(can_id, extended):
    """The number of an identifier with EXT set for an extended one. Raises Reject when it is too big."""
    if can_id >> 29 or (not extended and can_id >> 11):
        raise Reject(f"identifier over {29 if extended else 11} bits")
    return can_id | EXT if extended else can_id


@dataclass(slots=True)
class Account:
    """Once a log has been read to its end: frames + skipped + rejected == total.

    total:      records: lines of a text log, objects of a binary one; counted apart from the other three
    frames:     records delivered, notices among them; of a table a record is a row
    notices:    how many of them are notices
    skipped:    {reason: n}, understood but not data frames for the core
    rejected:   {reason: n}, not understood
    rejections: the first of them, as (where, reason, excerpt)
    cut:        how the log is cut short, as one sentence, or None
    unread:     of a table {quantity: n}, texts in delivered rows that are no numbers, and so no values
    gaps:       of a table, rows that came later after the row before than the age from which values are lost
    """

    total: int = 0
    frames: int = 0
    notices: int = 0
    skipped: Counter = field(default_factory=Counter)
    rejected: Counter = field(default_factory=Counter)
    rejections: list = field(default_factory=list)
    cut: str | None = None
    unread: dict = field(default_factory=dict)
    gaps: int = 0

    def skip(self, reason):
        self.skipped[reason] += 1

    def reject(self, where, reason, excerpt=""):
        self.rejected[reason] += 1
        if len(self.rejections) < KEPT:
            self.rejections.append((where, reason, repr(excerpt[:80])[1:-1]))

    def end(self, reason):
        """The log is cut; the first reason found is the one told."""
        self.cut = self.cut or reason

    @property
    def fruitless(self):
        """True while no frame of any kind has been met."""
        return not self.frames and not FRAME_LIKE & self.skipped.keys()
