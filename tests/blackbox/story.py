"""What a box does in these tests; runs on MicroPython and on CPython."""

from cellwarden.blackbox import form as F
from cellwarden.blackbox.chain import Chain
from cellwarden.blackbox.keys import FileKeys

FIRST_KEY = bytes(range(100, 132))
VEHICLE = b"LCWDEM0000000001"
IMAGE = bytes(range(32))


def start(folder, cause=0, capacity=14000, segment_bytes=2000):
    """A box that starts on the segments in this folder; small segments, so that the ring comes round."""
    return Chain(folder, FileKeys(folder), VEHICLE, IMAGE, cause, capacity, segment_bytes)


def two_lives(folder, seals, told=None):
    """A short life that ends with a clean shutdown, and one that just ends."""
    live(start(folder), 3, shutdown=True, told=told)
    live(start(folder, 1), seals, told=told)


def live(chain, seals, t_ms=0, shutdown=False, told=None):
    """Blocks of one to three records; the first holds the identity and what the start found.

    told: called with (index, tag) of each block after `seal` has said that it is durable
    """
    for n in range(seals):
        for i in range(n % 3 + 1):
            chain.put((F.FEATURES_TYPE, F.EVENT_TYPE, F.FRAMES_TYPE)[i], t_ms, bytes([n, i]) * (20 + 40 * i))
        if shutdown and n == seals - 1:
            chain.put(F.SHUTDOWN_TYPE, t_ms, b"")
        t_ms += 1000
        index = chain.index
        if chain.seal(t_ms) and told is not None:
            told(index, chain.before)
        if n % 3:
            chain.touch(t_ms)  # as the recorder does it
    chain.close()
