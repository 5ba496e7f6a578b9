"""The supervisor: boots, tests itself, and then goes round its duties: read CAN, scan, log, seal, output, report.

    box = Box(image, buses, ...)      restores what was kept
    box.run()                         until `stop()`; or box.round() by hand

Detection comes first in each round and nothing stops it: every other duty may fail, which makes a hazard of the box's
own (hazards.py). The watchdog is petted only after a scan ran on time and the log took its record, or the log's failure
is being told: a box that kept restarting for want of a log would guard nothing. The core itself may fail, too: then the
box goes on from the state that it kept, and where it fails again at once the watchdog has its way.
"""

import gc
import hashlib
from array import array
from binascii import hexlify

from cellwarden import clock as real_clock
from cellwarden import hazards as H
from cellwarden.blackbox.content import BOX_HAZARDS
from cellwarden.canbus.frames import Frames
from cellwarden.core import layout as L
from cellwarden.engine import Engine, Heard, byte_view

RECORDS = 128  # frames read in a round at most
IDLE_MS = 2  # sleep between rounds on which nothing came
KEEP_MS = 60_000  # the state is kept so often, and at once where an alarm of level 2 or 3 rises
LATE_MS = 200  # a scan that is so late is told: the one after it was due, too
STALL_MS = 1000  # between two rounds: the box itself stood still
WALL_MS = 5000  # the time of day moved by so much more than the box's clock: it was set
WALL_EACH_S = 3600  # the log is told the time of day so often, and where it was set
SYSTEM_CLOCK, OPERATOR_CLOCK = 1, 2  # where that time is from
REPORT_MS = 1000
START_STEPS = 100
SCAN_STEPS = 4  # of the recorder's work, 2 ms each at most, after a scan; one in any other round
ALL_STEPS = 1 << 20  # where the frames wait
START_MS = 1000  # without a first frame for so long the scans begin by the box's clock
ASLEEP_MS = 10_000  # with the box off for longer, or nobody knows how long, the vehicle is seen anew
NAP_MS = 4000  # of a sleep at once: no watchdog of a board waits for less
COARSE_MS = 1500  # of two clocks, where one may count whole seconds
LEAP_MS = 1 << 28  # a clock that leaps by three days is wrong; no sleep takes longer than one
STAY_MS = 60_000  # awake after an operator asked something, or a sleep failed


def core_fault():
    """Why the core must not be believed on this machine; empty where it gives its known answer."""
    from cellwarden import known_answer

    try:
        return "" if known_answer.right() else "the core gives another answer"
    except Exception as error:
        return error


class Box:
    """image: image.Image; buses: canbus.Bus each, in the order of the profile's [[bus]]

    recorder: called with an engine.Heard, gives a blackbox.recorder.Recorder of it; or None
    kept: keep.Kept or None; outputs: have event(record) and update(box, t_ms); report: called with the status, a dict
    watchdog: has feed(); updates: update.duty.Updates or None; clock: as the module `clock`
    sleep: called with ms, sleeps for so long or until something comes, or raises OSError; nap_ms: no longer at once
    deep: to sleep is to stop: run() returns, and rest_ms is how long the board may be off; sleep is not called then
    Raises ValueError where some buses have a clock of their own and others not.
    """

    def __init__(
        self, image, buses, recorder=None, kept=None, outputs=(), report=None, watchdog=None, clock=real_clock,
        report_ms=REPORT_MS, sleep=None, nap_ms=NAP_MS, deep=False, updates=None,
    ):  # fmt: skip
        self.image, self.buses, self.kept = image, buses, kept
        self.outputs, self.report, self.watchdog, self._clock = outputs, report, watchdog, clock
        self.engine = Engine(image)
        self.hazards = H.Hazards()
        self.batch = Frames(self.engine, RECORDS)
        self.timed = buses[0].timed
        self._waits = all([bus.waits for bus in buses])
        if any([bus.timed != self.timed for bus in buses]):
            raise ValueError("logs and live buses have no common clock")
        self.event = array("i", bytes(4 * L.EVENT_SIZE))
        self.rounds = self.events = self.events_lost = self.most_late_ms = self.pets = 0
        self.heap_bytes = self.collections = 0
        self.restored = self.running = self.log_given_up = False
        self.control = None  # control.Control: what operators ask
        self.starts_anew = False  # an operator or an update wants it to
        self._log_lost = 0
        self._in_log = False  # the recorder is at work, or was when somebody stopped the box
        self._report_ms, self.updates = report_ms, updates
        self._sleep, self._nap_ms, self._deep = sleep, nap_ms, deep
        self.rest_ms = self.sleeps = self.slept_s = 0
        self._stay_ms = 0  # awake at least
        self._updating = False
        self._now_ms = None
        self._restore()
        now = self.now_ms()
        self.batch.last_ms = self._boot_ms = self._round_ms = self._kept_ms = self._woke_ms = self._reported_ms = now
        self._scans = self.engine.state[L.SCANS]
        self._late = False  # the scan that is due
        self._urgent = not self.restored  # the state is to be kept at once
        self._core_ms = None  # when the core failed last
        self._hopeless = False  # it failed again and again: the watchdog is not petted any more
        self._wall_s = self._time_of_day()
        self._wall_ms = now
        self._wall_told_s = 0
        self._heap_after = 0
        self._up_ms, self._up_at = 0, -1
        self._heard = Heard(self.engine)
        self.recorder, self._make_recorder = None, recorder
        self._begin_log(now)

    # --- boot ---------------------------------------------------------------------------------------------------------

    def _begin_log(self, now):
        if not self._make_recorder:
            return
        try:
            self.recorder = self._make_recorder(self._heard)
        except Exception as error:
            self._give_up_log(now, error)
        self._log(now, START_STEPS)  # its first snapshot, before there are frames

    def _restore(self, now=None):
        """Go on from what was kept: latched alarms stay. The time the box was off is silence, as in a sleep.

        now: on the core's clock, where the box was not off
        """
        engine, state = self.engine, self.engine.state
        try:
            found = self.kept.load(byte_view(state)) if self.kept else None
            if not found:
                return
            wall_s, t_ms = found
            if now is None:
                now_s = self._time_of_day()
                off_ms = 1000 * (now_s - wall_s) if now_s and wall_s and now_s >= wall_s else ASLEEP_MS
            else:
                off_ms = (now - t_ms) & L.MASK
            active = state[L.ACTIVE]
            engine.notice(t_ms, L.NOTICE_SLEEP)
            state[L.ACTIVE] = 0  # the silence is the box's own, whatever the vehicle did
            engine.rest(off_ms)
            if off_ms < ASLEEP_MS:
                state[L.ACTIVE] = active
            if now is None:
                self._leap((state[L.NOW_MS] - state[L.OFFSET_MS]) & L.MASK)
            self.restored = True
        except Exception as error:
            engine.clear()
            self.hazards.failed(H.KEEP, self.now_ms(), error)

    def self_test(self, folder=None, fault=None):
        """The core's known answer, the clock, and the flash (a blackbox.folder.Folder), if any. True: all right.

        fault: what core_fault() said, where it was asked before the box took its memory
        """
        now = self.now_ms()
        fault = core_fault() if fault is None else fault
        if fault:
            self.hazards.failed(H.CORE, now, fault)
        before = self.now_ms()
        self._pause(5)
        if not 2 <= (self.now_ms() - before) & L.MASK <= STALL_MS:
            self.hazards.failed(H.CLOCK, now, "it does not count milliseconds")
        if folder:
            try:
                data = hashlib.sha256(b"%d" % before).digest()
                folder.write("selftest", data)
                if folder.read("selftest") != data:
                    self.hazards.failed(H.KEEP, now, "flash reads what was not written")
            except OSError as error:
                self.hazards.failed(H.KEEP, now, error)
        if self.kept and self.kept.refused:
            self.hazards.failed(H.KEEP, now, self.kept.refused)
            self.secure("kept state refused", self.kept.refused)
        if self.hazards.mask >> H.CORE & 1:
            self.secure("self-test failed", self.hazards.why[H.CORE])
        return not self.hazards.mask

    def image_refused(self, why):
        """The vehicle image that was to run is not right; an older one runs. why: text."""
        self.hazards.failed(H.IMAGE, self.now_ms(), why)
        self.secure("image refused", why)

    # --- rounds -------------------------------------------------------------------------------------------------------

    def now_ms(self):
        """The box's time on the core's clock, 30-bit ms; one that fails or leaps goes on from where it was."""
        before = self._now_ms
        try:
            now = self._clock.now_ms() & L.MASK
            if before is None or (now - before) & L.MASK < LEAP_MS:
                self._now_ms = now
                return now
            self._leap(before)
            error = "it leapt"
        except Exception as failure:
            error = failure
        if before is None:
            before = self._now_ms = 0
        self.hazards.failed(H.CLOCK, before, error)
        return before

    def _leap(self, t_ms):
        """From here on the clock counts from t_ms on."""
        self._clock.skip_ms((t_ms - self._clock.now_ms()) & L.MASK)
        self._now_ms = t_ms

    def _time_of_day(self):
        """Seconds since 1970 (UTC), 0: not known."""
        try:
            return self._clock.wall_s() + 0
        except Exception as error:
            self.hazards.failed(H.CLOCK, self.now_ms(), error)
            return 0

    def _pause(self, ms):
        try:
            self._clock.sleep_ms(ms)
        except Exception as error:
            self.hazards.failed(H.CLOCK, self.now_ms(), error)

    def run(self, idle_ms=IDLE_MS):
        """Go round until `stop()`, Ctrl-C on its console, or the end of the logs it plays. idle_ms: between rounds."""
        self.begin()
        try:
            while self.running:
                if not self.round():
                    if self.timed and all([bus.done for bus in self.buses]):
                        break
                    self.idle(idle_ms)
        except KeyboardInterrupt:
            pass
        self.finish()

    def idle(self, ms=IDLE_MS):
        """Nothing was to be done in this round: an update may be."""
        if self.updates:
            self._updating = True  # it goes round in the middle of it, and does not sleep then
            try:
                self.updates.work()
            except Exception as error:
                self.hazards.failed(H.KEEP, self.now_ms(), error)
            self._updating = False
        self._pause(ms)

    def begin(self):
        """Everything is ready: from here on frames are read."""
        self.running = True
        now = self.now_ms()
        self._each_bus("begin", now)
        self._round_ms = self._boot_ms = self.batch.last_ms = now
        if self.restored and not self.timed:
            self._advance(now)  # what fell due while it started is not late
        if self.updates:
            self.updates.begin(self)

    def stop(self):
        self.running = False

    def round(self):
        """One round of the duties. Returns whether there was anything to do."""
        batch, engine, hazards = self.batch, self.engine, self.hazards
        now = self.now_ms()
        if (now - self._round_ms) & L.MASK >= STALL_MS and not self.timed:
            hazards.failed(H.CLOCK, now, "the box stood still")
        self._round_ms = now
        self._look_at_lateness(now)
        n = self._read(now)
        if n:
            self._drain(n, now)
        if self.timed:
            now = batch.last_ms
        else:
            now = batch.ordered(now)
            self._advance(now)
        self._tell_events(now)
        scans = engine.state[L.SCANS]
        scanned = scans != self._scans
        if scanned:
            self._scans = scans
            self._after_scan(now)
        worked = self._log(now, ALL_STEPS if self._waits else SCAN_STEPS if scanned else 1)
        asked = self._listen(now) if self.control else False
        if asked:
            self._woke_ms, self._stay_ms = now, STAY_MS
        if self.report and (self.now_ms() - self._reported_ms) & L.MASK >= self._report_ms:
            self._report(now)
        self.rounds += 1
        if scanned and (self._sleep or self._deep) and not self.timed and not self._updating:
            rest_ms = self._may_rest_ms(now)
            if rest_ms:
                self._rest(rest_ms, now)
        return n or scanned or worked or asked

    def _read(self, now):
        """What has come on the buses, into the batch; how many records it has."""
        self.batch.n = 0
        for bus in self.buses:
            try:
                bus.recv(self.batch, now)
            except Exception as error:
                self.hazards.failed(H.BUS, now, error)
        return self.batch.n

    def _each_bus(self, what, now):
        """Call this method of each bus, whatever another does."""
        for bus in self.buses:
            try:
                getattr(bus, what)()
            except Exception as error:
                self.hazards.failed(H.BUS, now, error)

    def _drain(self, n, now):
        """The frames of this round through the recorder into the engine; the engine gets them in any case."""
        self._feed(n, now)
        if self._heard.error:
            self._mend(now)

    def _feed(self, n, now):
        heard, ring = self._heard, self.batch.ring
        heard.fed = False
        if self.recorder:
            try:
                self._in_log = True
                self.recorder.drain(ring, n)
                self._in_log = False
            except Exception as error:
                self._give_up_log(now, error)
        if not heard.fed:
            heard.drain(ring, n)

    def _mend(self, now):
        """The core raised an exception, its state may be half written: go on from what was kept, as after a restart."""
        heard, batch = self._heard, self.batch
        now = batch.last_ms if self.timed else now
        self.hazards.failed(H.CORE, now, heard.error)
        heard.error = None
        if self._core_ms is not None and (now - self._core_ms) & L.MASK < H.CLEAR_MS:
            self._hopeless = True
        self._core_ms = now
        self._go_back(now)
        batch.n = 0
        batch.dropped(now, 0)  # what this round read is lost
        self._feed(1, now)
        if heard.error:
            heard.error, self._hopeless = None, True
            self.engine.clear()
        self._scans = self.engine.state[L.SCANS]

    def _listen(self, now):
        """A step for an operator. Returns whether one asked anything."""
        try:
            return self.control.turn(self)
        except Exception as error:
            self.hazards.failed(H.OUTPUT, now, error)
            return False

    def acknowledge(self, rule):
        """Give up a rule's alarm: a record among the frames, so that a replay does the same."""
        now = self.batch.last_ms if self.timed else self.batch.ordered(self.now_ms())
        self.batch.n = 0
        self.batch.acknowledged(now, rule)
        self._drain(1, now)

    def set_clock(self, seconds):
        """An operator sets the time of day (s since 1970, UTC); the log is told. Raises OSError where it cannot be."""
        self._clock.set_wall_s(seconds)
        self._wall_s = self._wall_told_s = seconds
        self._wall_ms = self.batch.last_ms
        if self.recorder:
            self.recorder.clock(seconds, 0, OPERATOR_CLOCK)

    def _go_back(self, now):
        """To the state that was kept, with a log of its own: the frames of the one so far do not give it."""
        self.engine.clear()
        self._restore(now)
        self._renew_log(now)

    def _renew_log(self, now):
        """The recorder cannot go on: its log ends as by a power cut, and another one begins."""
        recorder, self.recorder = self.recorder, None
        if not recorder:
            return
        try:
            recorder.abandon()
        except Exception as error:
            self.hazards.failed(H.LOG, now, error)
        self._begin_log(now)

    def _log(self, now, steps):
        """Some steps of the recorder's work. Returns whether it has more."""
        more = steps > 0
        while more and steps and self.recorder:
            steps -= 1
            try:
                self._in_log = True
                more = self.recorder.work(self.up_ms())
                self._in_log = False
            except Exception as error:
                self._give_up_log(now, error)
        if self.recorder and self.recorder.hazards:
            self.hazards.failed(H.LOG, now, "the storage is full, slow or failing")
        return bool(more and self.recorder)

    def _give_up_log(self, now, error):
        """A recorder that raises is wrong in itself: it is left alone until the next start, and that is told."""
        self.recorder = None
        self.log_given_up = True
        self.hazards.failed(H.LOG, now, error)

    def up_ms(self):
        """Milliseconds since this start; does not wrap. Where frames bring the only clock, since the first of them."""
        state = self.engine.state
        if self.timed and not state[L.STARTED]:
            return 0
        now = state[L.NOW_MS] if self.timed else self.now_ms()
        if self._up_at >= 0:
            self._up_ms += (now - self._up_at) & L.MASK
        self._up_at = now
        return self._up_ms

    def _look_at_lateness(self, now):
        """By how much the next scan is overdue before anything of this round is done."""
        state = self.engine.state
        if self.timed or not state[L.STARTED]:
            return
        late_ms = (now - state[L.DUE_MS] + state[L.OFFSET_MS]) & L.MASK
        self._late = LATE_MS < late_ms < L.HALF
        if late_ms < L.HALF:
            if late_ms > self.most_late_ms:
                self.most_late_ms = late_ms
            if self._late:
                self.hazards.failed(H.LATE, now, "a scan came %d ms late" % late_ms)  # noqa: UP031

    def _advance(self, now):
        """The scans that are due by the box's clock."""
        state = self.engine.state
        self.batch.last_ms = now
        if not state[L.STARTED] and (now - self._boot_ms) & L.MASK < START_MS:
            return
        heard = self._heard
        heard.fed = False
        if self.recorder:
            try:
                self._in_log = True
                self.recorder.advance(now)
                self._in_log = False
            except Exception as error:
                self._give_up_log(now, error)
        if not heard.fed:
            heard.advance(now)
        if heard.error:
            self._mend(now)

    def _tell_events(self, now):
        """To all outputs, then to the log; each gets all of them, whatever another does."""
        engine, event, hazards = self.engine, self.event, self.hazards
        while True:
            own = engine.take(event)
            if not own and not hazards.take(event, now):
                break
            self.events += 1
            if event[L.EVENT_LEVEL] >= 2 or event[L.EVENT_BEFORE] >= 2:
                self._urgent = True
            for output in self.outputs:
                try:
                    output.event(event)
                except Exception as error:
                    hazards.failed(H.OUTPUT, now, error)
            if not self.recorder:
                continue
            if own:
                self._heard.tell(event)
            else:
                row = event[L.EVENT_RULE] - H.FIRST
                try:
                    self.recorder.hazard(BOX_HAZARDS + row, 1 if event[L.EVENT_LEVEL] else 0, event[L.EVENT_VALUE])
                except Exception as error:
                    self._give_up_log(now, error)
        lost = engine.events[L.E_LOST]
        if lost != self.events_lost:
            self.events_lost = lost
            hazards.failed(H.OUTPUT, now, "events were lost")

    def _after_scan(self, now):
        """What is done once a scan: keep, outputs, memory, watchdog."""
        hazards = self.hazards
        self._keep(now)
        for output in self.outputs:
            try:
                output.update(self, now)
            except Exception as error:
                hazards.failed(H.OUTPUT, now, error)
        self._look_at_the_clock(now)
        hazards.pass_time(now)
        if self.log_given_up:
            hazards.mask |= 1 << H.LOG
        self._tidy()
        if self.updates:
            try:
                self.updates.scanned(self)
            except Exception as error:
                hazards.failed(H.KEEP, now, error)
        if not self._late and self._log_took():
            self._pet(now)

    def _pet(self, now):
        if self.watchdog and not self._hopeless:
            self.pets += 1
            try:
                self.watchdog.feed()
            except Exception as error:
                self.hazards.failed(H.OUTPUT, now, error)

    def secure(self, kind, detail):
        """A security event for the log. kind: of content.SECURITY_EVENTS; detail: text, or an exception."""
        if self.recorder:
            try:
                vehicle = self.recorder.chain.vehicle
                self.recorder.security(kind, vehicle, self._time_of_day(), str(detail).encode())
            except Exception as error:
                self._give_up_log(self.batch.last_ms, error)

    def _log_took(self):
        """Whether the log took what it was given, or its failure is being told."""
        if not self.recorder or self.hazards.mask >> H.LOG & 1:
            return True
        try:
            lost = self.recorder.lost_frames + self._heard.events[L.E_LOST] + self.recorder.chain.lost_records
        except Exception as error:
            self._give_up_log(self.batch.last_ms, error)
            return True
        taken = lost == self._log_lost
        self._log_lost = lost
        if not taken:
            self.hazards.failed(H.LOG, self.batch.last_ms, "records are lost")
        return taken

    def _report(self, now):
        self._reported_ms = self.now_ms()
        try:
            self.report(self.status())
        except Exception as error:
            self.hazards.failed(H.OUTPUT, now, error)

    def _keep(self, now):
        if not self.kept or not (self._urgent or (now - self._kept_ms) & L.MASK >= KEEP_MS):
            return
        self._urgent = False
        self._kept_ms = now
        state = self.engine.state
        t_ms = (state[L.NOW_MS] - state[L.OFFSET_MS]) & L.MASK
        try:
            self.kept.save(self._time_of_day(), t_ms, byte_view(state))
        except Exception as error:
            self.hazards.failed(H.KEEP, now, error)

    def _look_at_the_clock(self, now):
        """Whether somebody set the time of day."""
        wall_s = self._time_of_day()
        passed_ms = (now - self._wall_ms) & L.MASK
        if passed_ms < WALL_MS or self.timed:
            return
        told_s = self._wall_told_s
        if self._wall_s and wall_s:
            away_ms = 1000 * (wall_s - self._wall_s) - passed_ms
            if not -WALL_MS < away_ms < WALL_MS:
                self.hazards.failed(H.CLOCK, now, "the time of day was set by %d s" % (away_ms // 1000))  # noqa: UP031
                told_s = 0
        self._wall_s, self._wall_ms = wall_s, now
        if self.recorder and wall_s and not 0 <= wall_s - told_s < WALL_EACH_S:
            self._wall_told_s = wall_s
            try:
                self.recorder.clock(wall_s, 0, SYSTEM_CLOCK)
            except Exception as error:
                self._give_up_log(now, error)

    def _tidy(self):
        """Collect garbage here, after a scan, and only when there is some: elsewhere it would hold up frames."""
        if not hasattr(gc, "mem_alloc"):
            return  # CPython frees as it goes
        used = gc.mem_alloc()
        if used > self.heap_bytes:
            self.heap_bytes = used
        if used - self._heap_after > gc.mem_free() >> 1:
            gc.collect()
            self._heap_after = gc.mem_alloc()
            self.collections += 1

    def finish(self):
        """The last duties before it stops: keep the state, leave the buses."""
        now = self.batch.last_ms
        if self._heard.busy:  # it was stopped in the middle of it
            self._go_back(now)
        elif self._in_log:
            self._renew_log(now)
        self._tell_events(now)
        self._urgent = True
        self._keep(now)
        self._seal_log(now, True)
        if self.report:
            self._report(now)
        self._each_bus("close", now)

    def _seal_log(self, now, last=False):
        """last: and end it."""
        if not self.recorder:
            return
        try:
            if not (self.recorder.shutdown if last else self.recorder.settle)(self.up_ms()):
                self.hazards.failed(H.LOG, now, "the last block could not be sealed")
        except Exception as error:
            self._give_up_log(now, error)

    # --- sleep (HAZARDS E) --------------------------------------------------------------------------------------------

    def _may_rest_ms(self, now):
        """For how long the box sleeps now; 0: it stays. A bus that is silent after a wake-up is listened to first."""
        engine, stay_ms = self.engine, self._stay_ms
        if engine.state[L.MODE] == L.ASLEEP:
            stay_ms = max(stay_ms, engine.params[L.P_SLEEP_MS])
        return engine.may_sleep_ms() if (now - self._woke_ms) & L.MASK >= stay_ms else 0

    def _rest(self, rest_ms, now):
        """Keep the state, seal the log, sleep, and go on at the time that it is then."""
        if self._deep:  # `finish` does the rest, and `_restore` goes on from it
            self.rest_ms = rest_ms
            self.stop()
            return
        silent = self.engine.state[L.MODE] == L.ASLEEP
        self.batch.n = 0
        self.batch.sleeps(now)
        self._drain(1, now)
        self._tell_events(now)
        self._urgent = True
        self._keep(now)
        self._seal_log(now)
        try:
            self._nap(rest_ms, silent)
        finally:  # also where somebody stops the box
            self._wake(now)

    def _wake(self, asleep_ms):
        """The core goes on at the time that it is; what came in between is old."""
        now = self.now_ms()
        self.sleeps += 1
        self.slept_s += ((now - asleep_ms) & L.MASK) // 1000
        self._each_bus("wake", now)
        self._round_ms = self._woke_ms = self.batch.last_ms = now
        self._advance(now)
        self._tell_events(now)

    def _nap(self, rest_ms, silent):
        """Sleep in naps, the watchdog petted between them. silent: the bus is, so what comes on it ends the sleep."""
        self._stay_ms, slept_ms, began_ms = 0, 0, self.now_ms()
        try:
            real_ms = self._clock.real_ms()
            while slept_ms < rest_ms and self.running:
                self._pet(self.now_ms())
                try:
                    self._sleep(min(rest_ms - slept_ms, self._nap_ms))
                finally:
                    slept_ms = (self.now_ms() - began_ms) & L.MASK
                    missing_ms = ((self._clock.real_ms() - real_ms) & L.MASK) - slept_ms
                    if COARSE_MS < missing_ms <= 2 * rest_ms:  # ticks stand still in many a sleep; more was set
                        self._clock.skip_ms(missing_ms)
                        slept_ms += missing_ms
                if silent and self._read(self.now_ms()):
                    return
        except Exception as error:
            self.hazards.failed(H.OUTPUT, self.now_ms(), error)
            self._stay_ms = STAY_MS

    # --- report -------------------------------------------------------------------------------------------------------

    def status(self):
        """What the box knows of itself, in plain numbers; state_sha256 is that of `cellwarden replay`."""
        state, hazards = self.engine.state, self.hazards
        return {
            "t_ms": state[L.NOW_MS],
            "frames": sum([bus.frames for bus in self.buses]),
            "known_frames": state[L.FRAMES],
            "dropped": sum([bus.dropped for bus in self.buses]),
            "bus_errors": sum([bus.errors for bus in self.buses]),
            "bus_states": [bus.state for bus in self.buses],
            "scans": state[L.SCANS],
            "most_late_ms": self.most_late_ms,
            "level": state[L.LEVEL],
            "max_level": state[L.MAX_LEVEL],
            "known": state[L.KNOWN],
            "events": self.events,
            "events_lost": self.events_lost,
            "box_hazards": [H.ROWS[row][0] for row in range(len(H.ROWS)) if hazards.mask >> row & 1],
            "box_faults": {
                H.ROWS[row][0]: [hazards.counts[row], hazards.why[row]]
                for row in range(len(H.ROWS)) if hazards.counts[row]
            },
            "heap_bytes": self.heap_bytes,
            "heap_live_bytes": self._heap_after,
            "collections": self.collections,
            "rounds": self.rounds,
            "pets": self.pets,
            "restored": self.restored,
            "sleeps": self.sleeps,
            "slept_s": self.slept_s,
            "log": self._log_status(),
            "update": self.updates.status() if self.updates else None,
            "state_sha256": hexlify(hashlib.sha256(byte_view(state)).digest()).decode(),
        }  # fmt: skip

    def _log_status(self):
        """None without a log."""
        r = self.recorder
        if not r:
            return None
        return {
            "boot": r.chain.boot, "blocks": r.chain.index, "hazards": sorted(r.hazards), "lost_frames": r.lost_frames,
            "lost_events": self._heard.events[L.E_LOST], "lost_records": r.chain.lost_records,
        }  # fmt: skip
