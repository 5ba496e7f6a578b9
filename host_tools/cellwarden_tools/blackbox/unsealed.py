"""A log without its key: everything in it can be read, and nothing of it is proven."""

from .annex import Annexes
from .read import segments


class Unsealed:
    """As much of a verify.Verification as can be said without a key. Raises InputError where there is no log."""

    def __init__(self, log):
        self.log, self.proven, self.tags, self.faults, self.last = log, {}, {}, [], None
        self.paths = segments(log)
        self.annexes = Annexes(log)
