"""What a running box does about updates; detection goes on meanwhile.

It tells the black box which image a start has brought, confirms what is on trial by its own good scans, and takes an
image that lies in its folder or at the one address that it was configured with.
"""

import os
import sys

from cellwarden import hazards as H
from cellwarden.core import layout as L

from . import boot, image, slots
from .image import Refused

INCOMING, PERMIT = "/incoming.cwu", "/incoming.permit"
VEHICLE_ID, CA = "/vehicle.id", "/ca.der"
LOOK_MS = 10_000  # between two looks whether an image has come
ADDRESS_MS = 3_600_000  # between two looks at the address
AGAIN = ("busy", "trial", "source", "storage")  # reasons that may have gone at the next look
REMOTE_UPGRADE = 1  # GB/T 32960.3, terminal control: its number of the command


def wants_a_look(data):
    """Whether a terminal control of GB/T 32960.3 (command 0x82; its data unit) asks for an upgrade.

    Then Updates.look() is called, and that is all: the address, user and password that such a command brings are not
    read, because nothing in that protocol says who sent them.
    """
    return len(data) > 6 and data[6] == REMOTE_UPGRADE  # behind the time


def vehicle_id(root, image):
    """The vehicle's unique id, up to 17 bytes: what `flash` wrote beside the slots, else the image's name.

    root: of the slots, None where there are none
    """
    return (boot.read(root + VEHICLE_ID) if root is not None else b"")[:17] or image.vehicle.encode()[:17]


def running():
    """(folder of the slots, number of the slot) that boot.start() has chosen; None where this does not run from one."""
    root, _, name = sys.path[0].rpartition("/")
    return (root, boot.SLOTS.index(name)) if name in boot.SLOTS else None


def updates(address=""):
    """The Updates of the slots that this runs from, or None where there are none. address: of images, or empty."""
    try:
        return Updates(*running(), address)
    except (TypeError, ValueError):
        return None


class Updates:
    """One for an app.Box. result: what came of the last image that was offered, a line; empty where none was."""

    def __init__(self, root, slot, address=""):
        self.root, self.slot, self.address, self.result = root, slot, address, ""
        self.slots = slots.Slots(root, slots.read_box(root), self._judge)
        self._app, self._version, self._fetching = None, None, False
        self._frames = self._heard_ms = self._looked_ms = self._asked_ms = 0

    @property
    def on_trial(self):
        """Whether this slot has yet to confirm itself, and each start is one of its last."""
        return self.slot == self.slots.idle and self.slots.record.state == boot.TRIAL

    def begin(self, app):
        """Tell the black box what runs, and why. Once a start, and where it is confirmed."""
        self._app, self._frames = app, app.engine.state[L.FRAMES]
        self._heard_ms = self._looked_ms = self._asked_ms = app.now_ms()
        manifest = self.slots.manifest_of(self.slot)
        self._version = "%d.%d.%d" % manifest.version if manifest else None  # noqa: UP031
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

    def look(self):
        """Look at the address soon, where the vehicle is not in use: an operator says that there is something."""
        self._asked_ms = (self._app.now_ms() - ADDRESS_MS) & L.MASK

    def work(self):
        """Between two rounds: take an image that has come. The box stops where the next start is to try it."""
        now = self._app.now_ms()
        if (now - self._looked_ms) & L.MASK < LOOK_MS:
            return
        self._looked_ms = now
        try:
            source = open(self.root + INCOMING, "rb")
        except OSError:
            source = None
        if source:
            with source:
                again = self._take(source)
            if not again:
                for name in (INCOMING, PERMIT):
                    try:
                        os.remove(self.root + name)
                    except OSError:
                        pass
        elif self.address and (now - self._asked_ms) & L.MASK >= ADDRESS_MS and not self.busy():
            self._asked_ms = now
            self._fetch()

    def _fetch(self):
        """Take what stands at the address, where it is another image than those that this box knows."""
        from .fetch import Source

        source = Source(self.address, boot.read(self.root + CA) or None, self._judge)
        self._fetching = True
        try:
            offered = image.read_signed(source, self.slots.box.key)
            if offered.sha256 in self.slots.record.slots:  # it runs, or has run and was given up
                self.result = "nothing new at the address"
                return
            if self._take(source, offered):
                self._asked_ms = (self._asked_ms - ADDRESS_MS + LOOK_MS) & L.MASK
        except Refused as error:
            self.result = str(error)
        finally:
            self._fetching = False
            source.close()

    def _take(self, source, manifest=None):
        """Install an image; returns whether to try it again soon. manifest: as Slots.install() has it"""
        before = self.result
        try:
            permit = open(self.root + PERMIT, "rb")
        except OSError:
            permit = None
        try:
            manifest = self.slots.install(source, permit, self.busy, manifest)
        except Refused as error:
            self.result = str(error)
            if error.reason in AGAIN:
                return True
            if self.result != before:
                self._app.secure("update refused", self.result)
            return False
        finally:
            if permit:
                permit.close()
        self.result = "%d.%d.%d is tried with the next start" % manifest.version  # noqa: UP031
        self._app.starts_anew = True
        self._app.stop()
        return False

    def _judge(self):
        """Called all the while an image is taken. A vehicle that begins to move ends a download; it goes on later."""
        if self._app:
            self._app.round()
            why = self.busy() if self._fetching else None
            if why:
                raise Refused("busy", why)

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
        record = self.slots.record
        return {
            "slot": boot.SLOTS[self.slot],
            "version": self._version,
            "why": slots.WHY[record.why],
            "starts_left": record.tries if record.state == boot.TRIAL else None,
            "result": self.result,
        }
