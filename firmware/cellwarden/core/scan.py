"""Time: scans on the fixed grid, the ageing of what was received, and the order of a scan's work."""

import micropython
from micropython import const

from cellwarden.core.cells import analyse, middle, sample
from cellwarden.core.hazards import hazards
from cellwarden.core.judge import judge
from cellwarden.core.measure import measure_arrays, measure_pack
from cellwarden.core.pack import watch
from cellwarden.core.probes import probes, unmask

_NA = const(-0x20000000)
_WRAP = const(-0x3FFFFFFF - 1)
_MASK = const(0x3FFFFFFF)
_HALF = const(0x20000000)
_NOTICE_DROPPED = const(1)
_NOTICE_BUS_OFF = const(2)
_NOTICE_ACK = const(3)
_NOTICE_SLEEP = const(4)
_NOW_MS = const(0)
_DUE_MS = const(1)
_OFFSET_MS = const(2)
_STARTED = const(3)
_SCANS = const(4)
_IGNORED = const(6)
_TIME_BACKWARD = const(10)
_EVENTS = const(11)
_KNOWN = const(14)
_WAITING = const(16)
_LOST = const(17)
_AGE_MS = const(18)
_CELLS_SEEN = const(22)
_PROBES_SEEN = const(23)
_DOUBT = const(24)
_MODE = const(25)
_SILENT_MS = const(27)
_ASLEEP_SCANS = const(28)
_SLEPT = const(29)
_WAKING_MS = const(30)
_REST_MS = const(31)
_HOUR_MS = const(35)
_HOURS = const(36)
_PENDING = const(37)
_CELLS_AGE_MS = const(38)
_PHASE = const(39)
_AGREE = const(43)
_REFERENCE_AGE_MS = const(47)
_CALM_BEFORE = const(55)
_DRIFT_WAIT_MS = const(59)
_PAIR_AGE_MS = const(66)
_REST_DUE = const(71)
_PROBES_AGE_MS = const(84)
_RING = const(85)
_FAULTY = const(90)
_STEEP = const(91)
_STEP_AGE_MS = const(103)
_STEP_STATE = const(104)
_DROPPED = const(123)
_BUS_OFF = const(124)
_GONE_BEFORE = const(135)
_GONE_SINCE = const(136)
_GONE_MS = const(137)
_PARKED_MS = const(142)
_UNKNOWN = const(0)
_DRIVING = const(1)
_CHARGING_MODE = const(2)
_PARKED = const(3)
_ASLEEP = const(4)
_PHASE_DONE = const(0)
_PHASE_MEDIAN = const(1)
_PHASE_CELLS = const(2)
_FEATURES_AT = const(145)
_WHERE = const(48)
_F_PROBE_MAX_DDEGC = const(3)
_F_CALM = const(17)
_SIGNALS_AT = const(337)
_VEHICLE_ON = const(5)
_CHARGING = const(6)
_STAMP_MS = const(1)
_GROUP_SIZE = const(3)
_NEVER = const(0)
_STALE = const(2)
_WRONG = const(1)
_MESSAGE_SIZE = const(3)
_WRONG_LIMIT = const(5)
_LEVEL_NOW = const(1)
_RULE_SIZE = const(14)
_RELEASED = const(512)
_SEEN = const(24)
_EVER = const(25)
_PROBE_BIAS = const(501)
_P_SCAN_MS = const(1)
_P_GROUPS = const(3)
_P_CELLS = const(4)
_P_PROBES = const(5)
_P_RULES = const(6)
_P_MEMBERS = const(7)
_P_START_MS = const(9)
_P_SENT = const(18)
_P_MEMORY_AT = const(22)
_P_GROUPS_AT = const(23)
_P_MESSAGES_AT = const(24)
_P_RULES_AT = const(25)
_P_GROUP_TABLE_AT = const(26)
_P_MEMBERS_AT = const(27)
_P_SLEEP_MS = const(34)
_P_HOT_DDEGC = const(37)
_P_FIRST_MEMBER = const(1)
_P_MEMBER_COUNT = const(2)
_P_MESSAGE = const(3)
_P_CARRIES = const(4)
_GROUP_TABLE_SIZE = const(5)

_QUIET = const(2)  # what measure_pack returns when it has been quiet for long enough
_HOUR = const(3600000)
_OLD_MS = const(61000)  # samples farther apart are not compared
_SAMPLE_MS = const(1000)
_DRIFT_APART_MS = const(10000)
_WAKING_MOST_MS = const(30000)  # after a sleep, that which reads as before it may for so long be no more than that
_FIRST_MS = const(60000)
_MOST = const(0x1FFFFFFF)
_GATHER_MS = const(10000)
_ACROSS = const(4)
_SCAN_FINE_MS = const(100)  # scans so close share out what a sample asks for
_JUMP_DDEGC = const(200)  # as in probes.py
_SAMPLED = const(4095)
_REBASE_MS = const(1000)  # a step back of this much or more is a clock that was set: go on from there


@micropython.viper
def expire(row: int, at: int, state, params) -> int:
    """Turn what is overdue or no longer trusted into NA. Returns the number of groups that are fresh.

    row, at: 0; viper keeps the first two parameters in registers.
    """
    q = ptr32(state)
    p = ptr32(params)
    now = q[_NOW_MS]
    never = (now + _WRAP + _HALF) & _MASK  # a stamp that is late at every time until the next scan
    waiting = 0
    lost = 0
    pending = 0
    row = p[_P_GROUPS_AT]  # of its columns, STATUS is the first
    at = p[_P_GROUP_TABLE_AT]  # and DEADLINE_MS here
    end = row + p[_P_GROUPS] * _GROUP_SIZE
    if q[_DOUBT]:
        while row < end:
            if q[p[_P_MESSAGES_AT] + p[at + _P_MESSAGE] * _MESSAGE_SIZE + _WRONG] >= _WRONG_LIMIT:
                q[row + _STAMP_MS] = never
            row += _GROUP_SIZE
            at += _GROUP_TABLE_SIZE
        row = p[_P_GROUPS_AT]
        at = p[_P_GROUP_TABLE_AT]
    while row ^ end:
        if (now - q[row + _STAMP_MS]) & _MASK > p[at]:
            # What is not fresh keeps that stamp, so a fresh group is asked one question only.
            q[row + _STAMP_MS] = never
            if q[row] & 1:
                q[row] = _STALE
                member = p[_P_MEMBERS_AT] + p[at + _P_FIRST_MEMBER]
                last = member + p[at + _P_MEMBER_COUNT]
                while member < last:
                    q[_SIGNALS_AT + p[member]] = _NA
                    member += 1
            if q[row]:
                lost += 1
            else:
                waiting += 1
            if q[_AGE_MS] < _GATHER_MS:
                pending |= p[at + _P_CARRIES]  # just awake: a sample waits for all of them
        elif q[row] & 2:
            pending |= p[at + _P_CARRIES]  # nothing new since the last sample
        row += _GROUP_SIZE
        at += _GROUP_TABLE_SIZE
    if waiting + lost:
        # Without a message that comes there is nothing to sample.
        come = 0
        row = p[_P_GROUPS_AT]
        at = p[_P_GROUP_TABLE_AT] + _P_CARRIES
        while row ^ end:
            if q[row] & 1:
                come |= p[at]
            row += _GROUP_SIZE
            at += _GROUP_TABLE_SIZE
        pending |= come ^ 3
    q[_PENDING] = pending
    q[_DOUBT] = 0  # a message without trust is not decoded, so nothing of it grows fresh
    q[_WAITING] = waiting
    q[_LOST] = lost
    return p[_P_GROUPS] - waiting - lost


@micropython.viper
def unstamp(q: ptr32, p: ptr32) -> int:
    """Stamp every group, none of which is fresh, as expire() does with such a one."""
    row = p[_P_GROUPS_AT] + _STAMP_MS
    for _ in range(p[_P_GROUPS]):
        q[row] = (q[_NOW_MS] + _WRAP + _HALF) & _MASK
        row += _GROUP_SIZE
    return 0


@micropython.viper
def sleep(row: int, at: int, state, params) -> int:
    """The vehicle falls asleep: forget what a sleep makes worthless, keep what is compared after it.

    row, at: 0; viper keeps the first two parameters in registers.
    """
    q = ptr32(state)
    p = ptr32(params)
    q[_MODE] = _ASLEEP
    q[_SLEPT] = 1
    q[_KNOWN] = 0
    q[_AGE_MS] = 0
    q[_WAKING_MS] = 0
    q[_REST_DUE] = 1
    q[_REST_MS] = 0
    q[_CELLS_AGE_MS] = _OLD_MS
    q[_PROBES_AGE_MS] = _OLD_MS
    q[_PAIR_AGE_MS] = _OLD_MS
    q[_DRIFT_WAIT_MS] = _DRIFT_APART_MS
    q[_PHASE] = _PHASE_DONE
    q[_AGREE] = 0
    q[_CALM_BEFORE] = 0
    q[_STEEP] = 0
    q[_RING] = 0
    q[_CELLS_SEEN] = 0
    q[_PROBES_SEEN] = 0
    q[_GONE_BEFORE] = 0
    q[_GONE_SINCE] = 0
    q[_GONE_MS] = 0
    q[_STEP_AGE_MS] = 0
    q[_STEP_STATE] = q[_STEP_STATE] | _ACROSS
    # What has not come since is awaited, not lost.
    row = p[_P_GROUPS_AT]
    at = row + p[_P_GROUPS] * _GROUP_SIZE
    while row < at:
        q[row] = _NEVER
        row += _GROUP_SIZE
    row = p[_P_MEMBERS_AT]
    at = row + p[_P_MEMBERS]
    while row < at:
        q[_SIGNALS_AT + p[row]] = _NA  # it may be told to sleep while messages still come
        row += 1
    unstamp(state, params)
    row = p[_P_MEMORY_AT]
    at = row + p[_P_CELLS] + p[_P_PROBES]
    while row < at:
        mark = q[row]
        q[row] = (mark & 0x4FFFFFF) | (mark >> _SEEN & 1) << _EVER  # a probe left out stays so
        row += 1
    return 0


@micropython.viper
def scan(box) -> int:
    """One scan: age, measure, judge. Returns 0 where another without a frame would change nothing but the clock."""
    state, params, events, scratch = box
    q = ptr32(state)
    p = ptr32(params)
    scan_ms = p[_P_SCAN_MS]
    q[_SCANS] = (q[_SCANS] + _WRAP + 1) & _MASK
    fresh = int(expire(0, 0, state, params))
    busy = fresh

    # The clock of hours, and whether the vehicle sleeps.
    v = q[_HOUR_MS] + scan_ms
    if v >= _HOUR:
        v -= _HOUR
        if q[_HOURS] < _MOST:  # a clock that jumps to and fro makes hours by the hundred
            q[_HOURS] = q[_HOURS] + 1
    q[_HOUR_MS] = v
    if fresh:
        if q[_MODE] == _ASLEEP:
            q[_WAKING_MS] = 1 if p[_P_CELLS] else 0
        v = _UNKNOWN
        if q[_SIGNALS_AT + _CHARGING] == 1:
            v = _CHARGING_MODE
        elif q[_SIGNALS_AT + _VEHICLE_ON] == 1:
            v = _DRIVING
        elif q[_SIGNALS_AT + _VEHICLE_ON] == 0:
            v = _PARKED
        q[_MODE] = v
        q[_SILENT_MS] = 0
        if q[_WAKING_MS]:
            v = q[_WAKING_MS] + scan_ms
            q[_WAKING_MS] = v if v <= _WAKING_MOST_MS else 0
        if q[_CELLS_AGE_MS] < _OLD_MS:
            q[_CELLS_AGE_MS] = q[_CELLS_AGE_MS] + scan_ms
        if q[_PROBES_AGE_MS] < _OLD_MS:
            q[_PROBES_AGE_MS] = q[_PROBES_AGE_MS] + scan_ms
        if q[_PAIR_AGE_MS] and q[_PAIR_AGE_MS] < _OLD_MS:
            q[_PAIR_AGE_MS] = q[_PAIR_AGE_MS] + scan_ms
        if q[_DRIFT_WAIT_MS] < _DRIFT_APART_MS:
            q[_DRIFT_WAIT_MS] = q[_DRIFT_WAIT_MS] + scan_ms
        if q[_REFERENCE_AGE_MS] < _OLD_MS:
            q[_REFERENCE_AGE_MS] = q[_REFERENCE_AGE_MS] + scan_ms
    elif q[_MODE] == _ASLEEP:
        if q[_ASLEEP_SCANS] < _MOST:
            q[_ASLEEP_SCANS] = q[_ASLEEP_SCANS] + 1
    else:
        q[_SILENT_MS] = q[_SILENT_MS] + scan_ms
        busy += 1
        if q[_SILENT_MS] >= p[_P_SLEEP_MS]:
            sleep(0, 0, state, params)
    v = q[_MODE]
    if v >= _PARKED:
        v = q[_PARKED_MS] + scan_ms
        q[_PARKED_MS] = v if v < _MOST else _MOST
    elif v or not p[_P_SENT] >> _VEHICLE_ON & 1:  # else it has yet to say what it does
        q[_PARKED_MS] = 0

    quiet = int(measure_pack(state, params))
    judged = 0
    v = 0
    if q[_PROBES_AGE_MS] >= _SAMPLE_MS and not q[_PENDING] & 2 and p[_P_PROBES] and fresh and not q[_WAKING_MS]:
        v = 1
    sampled = v
    if v or q[_FAULTY]:
        probes(0, 0, state, params, v)
        judged = 1
    absent = int(measure_arrays(0, 0, state, params))
    v = q[_FEATURES_AT + _F_PROBE_MAX_DDEGC]
    if not (v - p[_P_HOT_DDEGC]) >> 30 & 1 and not judged and p[_P_PROBES] and q[_RING]:
        # Hot, and not so at the last sample: it is judged at once.
        was = q[p[_P_MEMORY_AT] + p[_P_CELLS] + q[_FEATURES_AT + _F_PROBE_MAX_DDEGC + _WHERE] - 1] & _SAMPLED
        if was and v - was + _PROBE_BIAS > _JUMP_DDEGC:
            if int(probes(0, 0, state, params, 0)):
                measure_arrays(0, 0, state, params)
    if q[_FAULTY]:
        unmask(0, 0, state, params)
    watch(0, 0, state, params, quiet)
    if sampled and scan_ms <= _SCAN_FINE_MS:
        pass  # one thing at a time: the cells wait for a scan
    elif q[_PHASE] == _PHASE_CELLS:
        analyse(0, 0, state, params)
    elif q[_PHASE] == _PHASE_MEDIAN:
        middle(0, 0, state, params, scratch)
    elif q[_CELLS_AGE_MS] >= _SAMPLE_MS and not q[_PENDING] & 1 and p[_P_CELLS] and fresh:
        sample(0, 0, state, params, scratch, quiet)
    calm = 0
    if quiet == _QUIET and (q[_AGREE] or not p[_P_CELLS]):
        calm = 1
    q[_FEATURES_AT + _F_CALM] = calm
    if q[_WAKING_MS] == 0:
        waited = q[_AGE_MS] + scan_ms
        if not q[_KNOWN] and fresh:
            if q[_WAITING] == 0 and (absent == 0 or waited >= p[_P_START_MS]):
                q[_KNOWN] = 1
        if waited <= _FIRST_MS and q[_MODE] != _ASLEEP:
            q[_AGE_MS] = waited
            busy += 1
    busy += int(hazards(0, 0, state, params, fresh))
    busy += int(judge(0, 0, state, params, events))
    return busy


@micropython.viper
def advance(box, t_ms: int) -> int:
    """Bring the clock to `t_ms` (the frames' clock plus OFFSET_MS, 30 bits): first run every scan due up to it.

    A time before the clock's is counted and does not move it. Returns the number of scans run.
    """
    q = ptr32(box[0])
    scan_ms = ptr32(box[1])[_P_SCAN_MS]
    if not q[_STARTED]:
        q[_STARTED] = 1
        q[_NOW_MS] = t_ms
        q[_DUE_MS] = (t_ms // scan_ms * scan_ms + _WRAP + scan_ms) & _MASK
        unstamp(box[0], box[1])
        return 0
    ahead = (t_ms - q[_NOW_MS]) & _MASK
    if ahead >= _HALF:
        q[_TIME_BACKWARD] = (q[_TIME_BACKWARD] + _WRAP + 1) & _MASK
        back = (q[_NOW_MS] - t_ms) & _MASK
        if back >= _REBASE_MS:
            q[_OFFSET_MS] = (q[_OFFSET_MS] + _WRAP + back) & _MASK
        return 0
    done = 0
    left = (q[_DUE_MS] - q[_NOW_MS]) & _MASK
    while left <= ahead:
        due = q[_DUE_MS]
        ahead -= left
        q[_NOW_MS] = due
        q[_DUE_MS] = (due + _WRAP + scan_ms) & _MASK
        left = scan_ms
        done += 1
        if not int(scan(box)):
            # Nothing is fresh and no timer runs: the scans that are still due would only count themselves.
            skip = ahead // scan_ms
            ahead -= skip * scan_ms
            done += skip
            q[_SCANS] = (q[_SCANS] + _WRAP + skip) & _MASK
            if q[_MODE] == _ASLEEP:
                asleep = q[_ASLEEP_SCANS] + skip
                q[_ASLEEP_SCANS] = asleep if asleep < _MOST else _MOST
                parked_ms = q[_PARKED_MS] + skip * scan_ms
                q[_PARKED_MS] = parked_ms if parked_ms < _MOST else _MOST
            hour_ms = q[_HOUR_MS] + skip * scan_ms
            hours = q[_HOURS] + hour_ms // _HOUR
            q[_HOURS] = hours if hours < _MOST else _MOST
            q[_HOUR_MS] = hour_ms % _HOUR
            q[_NOW_MS] = (q[_NOW_MS] + _WRAP + skip * scan_ms) & _MASK
            q[_DUE_MS] = (q[_DUE_MS] + _WRAP + skip * scan_ms) & _MASK
            unstamp(box[0], box[1])
    q[_NOW_MS] = t_ms
    return done


@micropython.viper
def notice(box, kind: int, value: int, channel: int) -> int:
    """What the box knows and no frame says (layout, NOTICE): lost frames, a bus off, an acknowledgement, a sleep.

    value: its first byte of data. It comes as a record of the ring, so that a replay gives the same bytes as the box.
    """
    q = ptr32(box[0])
    p = ptr32(box[1])
    q[_IGNORED] = (q[_IGNORED] + _WRAP + _MASK) & _MASK  # the decoder's loop counts it there, and it is no frame
    if kind == _NOTICE_DROPPED:
        q[_DROPPED] = (q[_DROPPED] + _WRAP + 1) & _MASK
    elif kind == _NOTICE_BUS_OFF:
        bus = 1 << (channel & 7)
        if value:
            q[_BUS_OFF] = q[_BUS_OFF] | bus
        elif q[_BUS_OFF] & bus:
            q[_BUS_OFF] = q[_BUS_OFF] ^ bus
    elif kind == _NOTICE_ACK:
        if value < p[_P_RULES]:
            row = p[_P_RULES_AT] + value * _RULE_SIZE
            if q[row + _LEVEL_NOW]:
                q[row] = q[row] | _RELEASED
                q[_EVENTS] = (q[_EVENTS] + _WRAP + 1) & _MASK
    elif kind == _NOTICE_SLEEP:
        if q[_MODE] ^ _ASLEEP:
            sleep(0, 0, box[0], box[1])
    return 0
