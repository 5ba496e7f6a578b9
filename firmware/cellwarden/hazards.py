"""What befalls the box itself: a failing part never stops detection, it raises a hazard of its own.

They make events like the core's (layout, EVENT_...) with a number from FIRST on, go out with the alarm frame and stand
in the log, but not in the state: a replay on the desk knows nothing of them.
"""

from array import array

from cellwarden.core import layout as L

FIRST = 128
# number - FIRST: name, level. No more than 8: the alarm frame has a bit for each.
ROWS = (
    ("box_bus", 2),  # a bus cannot be read
    ("box_log", 2),  # the black box does not keep its records
    ("box_keep", 1),  # the state cannot be kept over a restart
    ("box_clock", 1),  # the time of day was set, or the box stood still
    ("box_late", 2),  # scans come late
    ("box_output", 1),  # an output or the report fails
    ("box_image", 2),  # the vehicle image was refused; the last good one runs
    ("box_core", 3),  # the core does not give its known answer, or raised an exception
)
BUS, LOG, KEEP, CLOCK, LATE, OUTPUT, IMAGE, CORE = range(8)
CLEAR_MS = 10_000  # without another fault
LASTING = 1 << IMAGE | 1 << CORE  # these hold until the next start


class Hazards:
    """mask: bit n set where row n holds; counts: how often each part has failed; why: what it said last."""

    def __init__(self):
        self.mask = 0
        self.counts = array("i", bytes(4 * len(ROWS)))
        self.why = [""] * len(ROWS)
        self._since = array("i", bytes(4 * len(ROWS)))
        self._told = 0  # as `take` has told

    def failed(self, row, t_ms, why=""):
        """A part has failed (again). why: a few words, or the exception."""
        self.mask |= 1 << row
        self._since[row] = t_ms
        self.counts[row] = (self.counts[row] + 1) & L.MASK
        self.why[row] = why if isinstance(why, str) else repr(why)

    def pass_time(self, t_ms):
        """What has not failed for a while is over."""
        held = self.mask & ~LASTING
        row = 0
        while held:
            if held & 1 and (t_ms - self._since[row]) & L.MASK >= CLEAR_MS:
                self.mask &= ~(1 << row)
            held >>= 1
            row += 1

    def take(self, record, t_ms):
        """Put the next change into `record` (layout.EVENT_SIZE int32), as Engine.take does; False: there is none."""
        changed = self.mask ^ self._told
        if not changed:
            return False
        row = 0
        while not changed >> row & 1:
            row += 1
        self._told ^= 1 << row
        holds = self.mask >> row & 1
        record[L.EVENT_T_MS] = t_ms
        record[L.EVENT_RULE] = FIRST + row
        record[L.EVENT_BEFORE] = 0 if holds else ROWS[row][1]
        record[L.EVENT_LEVEL] = ROWS[row][1] if holds else 0
        record[L.EVENT_WHERE] = 0
        record[L.EVENT_VALUE] = self.counts[row]
        return True

    @property
    def level(self):
        """The highest level that holds."""
        return max([0] + [ROWS[row][1] for row in range(len(ROWS)) if self.mask >> row & 1])
