"""A box with its recorder in these tests, fed with frames as a log has them."""

from cellwarden.blackbox.chain import Chain
from cellwarden.blackbox.folder import Folder
from cellwarden.blackbox.keys import FileKeys
from cellwarden.blackbox.recorder import Recorder
from cellwarden.core import layout as L
from cellwarden.engine import Engine

FIRST_KEY = bytes(range(100, 132))
VEHICLE = b"LCWDEM0000000001"
STEP_MS = 20  # the box drains its ring so often


class Box:
    """One start of a box. path: folder of its log, with a key; boot_ms: the box's own clock is 0 at this frame time."""

    def __init__(self, path, image, boot_ms=0, snapshot=None, elapsed_ms=0, cause=0, capacity=15 << 20, **options):
        self.image, self.boot_ms = image, boot_ms
        self.engine = Engine(image)
        if snapshot:
            self.engine.restore(snapshot, elapsed_ms)
        folder = Folder(str(path))
        chain = Chain(folder, FileKeys(folder), VEHICLE, bytes.fromhex(image.sha256), cause, capacity)
        self.events = []  # as the core made them
        self.recorder = Recorder(
            self.engine, chain, folder, on_event=lambda event: self.events.append(tuple(event)), **options
        )
        self.ring = self.engine.ring(256)

    def run(self, frames, advance=False):
        """Feed frames (t_ms, channel number, identifier, data) and let the recorder work between them.

        advance: the box lets scans run when no frame comes, too
        """
        ring, ring32, _ = self.ring
        words = self.engine.record_bytes // 4
        n, due = 0, None
        for t_ms, channel, can_id, data in frames:
            due = t_ms + STEP_MS if due is None else due
            while t_ms >= due or n == 256:
                self._step(n, due, advance)
                n, due = 0, due + STEP_MS if t_ms >= due else due
            at = n * words
            ring32[at], ring32[at + 1] = t_ms & L.MASK, can_id
            at *= 4
            kept = min(len(data), self.engine.data_bytes)
            ring[at + L.RECORD_CHANNEL], ring[at + L.RECORD_LENGTH] = channel, kept
            ring[at + L.RECORD_DATA : at + L.RECORD_DATA + kept] = data[:kept]
            ring[at + L.RECORD_DATA + kept : at + self.engine.record_bytes] = bytes(self.engine.data_bytes - kept)
            n += 1
        if due is not None:
            self._step(n, due, advance)

    def _step(self, n, now_ms, advance):
        self.recorder.drain(self.ring, n)
        if advance:
            self.recorder.advance(now_ms)
        self.work(now_ms)

    def work(self, now_ms):
        while self.recorder.work(now_ms - self.boot_ms):
            pass

    def shutdown(self, now_ms):
        assert self.recorder.shutdown(now_ms - self.boot_ms)


def provision(path):
    """Make the folder of a new box."""
    path.mkdir()
    FileKeys(Folder(str(path))).provision(FIRST_KEY)
    return path


def frames_of(log, image, before_ms=None):
    """The frames of a log as Box.run takes them, those before a time alone."""
    from cellwarden_tools.readers import open_log

    buses = {name: number for number, name in enumerate(image.names["buses"])}
    with open_log(log) as opened:
        for t_us, name, can_id, data in opened:
            if before_ms is not None and t_us // 1000 >= before_ms:
                return
            yield t_us // 1000, buses.get(name, buses.get(None, 0)), can_id, data
