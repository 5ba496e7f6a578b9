"""What a running box does about updates; detection goes on meanwhile.

It tells the black box which image a start has brought, confirms what is on trial by its own good scans, and takes an
image that lies in its folder.
"""

import os
import sys

from cellwarden import hazards as H
from cellwarden.core import layout as L

from . import boot, slots
from .image import Refused

INCOMING, PERMIT = "/incoming.cwu", "/incoming.permit"
VEHICLE_ID = "/vehicle.id"
LOOK_MS = 10_000  # between two looks whether an image has come
AGAIN = ("busy", "trial", "source", "storage")  # reasons that may have gone at the next look


def vehicle_id(root, image):
    """The vehicle's unique id, up to 17 bytes: what `flash` wrote beside the slots, else the image's name.

    root: of the slots, None where there are none
    """
    return (boot.read(root + VEHICLE_ID) if root is not None else b"")[:17] or image.vehicle.encode()[:17]


def running():
    """(folder of the slots, number of the slot) that boot.start() has chosen; None where this does not run from one."""
    root, _, name = sys.path[0].rpartition("/")
    return (root, boot.SLOTS.index(name)) if name in boot.SLOTS else None


def updates():
    """The Updates of the slots that this runs from, or None where there are none."""
    try:
        return Updates(*running())
    except (TypeError, ValueError):
        return None


class Updates:
    """One for an app.Box. result: what came of the last image that was offered, a line; empty where none was."""

    def __init__(self, root, slot):
        self.root, self.slot, self.result = root, slot, ""
        self.slots = slots.Slots(root, slots.read_box(root), self._judge)
        self._app, self._frames, self._heard_ms, self._looked_ms = None, 0, 0, 0

    @property
    def on_trial(self):
        """Whether this slot has yet to confirm itself, and each start is one of its last."""
        return self.slot == self.slots.idle and self.slots.record.state == boot.TRIAL

    def begin(self, app):
        """Tell the black box what runs, and why. Once a start, and where it is confirmed."""
        self._app, self._looked_ms = app, app.now_ms()
        manifest = self.slots.manifest_of(self.slot)
        if manifest and app.recorder:
            app.recorder.update(self.slots.record.why, manifest.version, manifest.counter, manifest.sha256)

    def scanned(self, app):
        """After each scan: a good one judged frames, and no part of the box fails (the time of day may be set)."""
        frames = app.engine.state[L.FRAMES]
        heard = frames != self._frames
        self._frames = frames
        if heard:
            self._heard_ms = app.now_ms()
            well = not app.hazards.mask & ~(1 << H.CLOCK)
            if well and self.on_trial and self.slots.scanned_well():
                self.begin(app)

    def work(self):
        """Between two rounds: take an image that has come. The box stops where the next start is to try it."""
        now = self._app.now_ms()
        if (now - self._looked_ms) & L.MASK < LOOK_MS:
            return
        self._looked_ms = now
        try:
            source = open(self.root + INCOMING, "rb")
        except OSError:
            return
        with source:
            again = self._take(source)
        if not again:
            for name in (INCOMING, PERMIT):
                try:
                    os.remove(self.root + name)
                except OSError:
                    pass

    def _take(self, source):
        """Install an image; returns whether to try it again later."""
        try:
            permit = open(self.root + PERMIT, "rb")
        except OSError:
            permit = None
        try:
            manifest = self.slots.install(source, permit, self.busy)
        except Refused as error:
            self.result = str(error)
            if error.reason in AGAIN:
                return True
            self._app.secure("update refused", self.result)
            return False
        finally:
            if permit:
                permit.close()
        self.result = "%d.%d.%d is tried with the next start" % manifest.version  # noqa: UP031
        self._app.stop()
        return False

    def _judge(self):
        """Called all the while an image is taken."""
        if self._app:
            self._app.round()

    def busy(self):
        """Why the vehicle must not be updated now, or None."""
        state, silent = self._app.engine.state, (self._app.now_ms() - self._heard_ms) & L.MASK >= LOOK_MS
        if state[L.LEVEL] >= 2:
            return "an alarm of level %d" % state[L.LEVEL]  # noqa: UP031
        if state[L.MODE] in (L.DRIVING, L.CHARGING_MODE):
            return "the vehicle drives or charges"
        if state[L.MODE] == L.UNKNOWN and not silent:
            return "it is not known what the vehicle does"
        return None

    def status(self):
        """What runs and why, for the box's report."""
        record, manifest = self.slots.record, self.slots.manifest_of(self.slot)
        return {
            "slot": boot.SLOTS[self.slot],
            "version": "%d.%d.%d" % manifest.version if manifest else None,  # noqa: UP031
            "why": slots.WHY[record.why],
            "starts_left": record.tries if record.state == boot.TRIAL else None,
            "result": self.result,
        }
