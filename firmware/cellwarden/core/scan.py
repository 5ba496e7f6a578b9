"""Time: scans on the fixed grid, the ageing of what was received, and the order of a scan's work."""

import micropython
from micropython import const

from cellwarden.core.judge import judge
from cellwarden.core.measure import agree, measure_arrays, measure_pack

_MASK = const(0x3FFFFFFF)
_HALF = const(0x20000000)
_NA = const(-0x20000000)
_WRAP = const(-0x3FFFFFFF - 1)  # (a + _WRAP + b) & _MASK adds two numbers of 30 bits and never leaves them
_NOW_MS = const(0)
_DUE_MS = const(1)
_OFFSET_MS = const(2)
_STARTED = const(3)
_SCANS = const(4)
_TIME_BACKWARD = const(10)
_KNOWN = const(14)
_WAITING = const(16)
_LOST = const(17)
_AGE_MS = const(18)
_DOUBT = const(24)
_FEATURES_AT = const(25)
_F_CALM = const(17)
_F_CELLS_VALID = const(18)
_SIGNALS_AT = const(113)
_WRONG = const(1)
_MESSAGE_SIZE = const(2)
_WRONG_LIMIT = const(5)
_STAMP_MS = const(1)
_GROUP_SIZE = const(3)
_FRESH = const(1)
_STALE = const(2)
_P_SCAN_MS = const(1)
_P_GROUPS = const(3)
_P_CELLS = const(4)
_P_START_MS = const(9)
_P_CALM_MAD_MV = const(14)
_P_GROUPS_AT = const(23)
_P_MESSAGES_AT = const(24)
_P_GROUP_TABLE_AT = const(26)
_P_MEMBERS_AT = const(27)
_P_FIRST_MEMBER = const(1)
_P_MEMBER_COUNT = const(2)
_P_MESSAGE = const(3)
_GROUP_TABLE_SIZE = const(4)

_BINS = const(64)
_MIDDLE = const(32)
_QUIET = const(2)  # what measure_pack returns when it has been quiet for long enough

_REBASE_MS = const(1000)  # a step back of this much or more is a clock that was set: go on from there


@micropython.viper
def expire(row: int, at: int, state, params) -> int:
    """Turn what is overdue or no longer trusted into NA. Returns the number of groups that are fresh.

    row, at: 0; viper keeps the first two parameters in registers.
    """
    q = ptr32(state)
    p = ptr32(params)
    now = q[_NOW_MS]
    doubt = q[_DOUBT]
    waiting = 0
    lost = 0
    row = p[_P_GROUPS_AT]  # of its columns, STATUS is the first
    at = p[_P_GROUP_TABLE_AT]  # and DEADLINE_MS here
    end = row + p[_P_GROUPS] * _GROUP_SIZE
    while row < end:
        late = (now - q[row + _STAMP_MS]) & _MASK > p[at]
        if late or doubt:
            status = q[row]
            if not status ^ _FRESH:
                if not late:
                    message = p[_P_MESSAGES_AT] + p[at + _P_MESSAGE] * _MESSAGE_SIZE
                    late = q[message + _WRONG] >= _WRONG_LIMIT
                if late:
                    status = _STALE
                    q[row] = _STALE
                    member = p[_P_MEMBERS_AT] + p[at + _P_FIRST_MEMBER]
                    last = member + p[at + _P_MEMBER_COUNT]
                    while member < last:
                        q[_SIGNALS_AT + p[member]] = _NA
                        member += 1
            if status ^ _FRESH:
                # What is not fresh keeps a stamp that is late at every time until the next scan.
                q[row + _STAMP_MS] = (now + _WRAP + _HALF) & _MASK
                if status:
                    lost += 1
                else:
                    waiting += 1
        row += _GROUP_SIZE
        at += _GROUP_TABLE_SIZE
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
def scan(box) -> int:
    """One scan: age, measure, judge. Returns 0 where another without a frame would change nothing but the clock."""
    state, params, events, scratch = box
    q = ptr32(state)
    p = ptr32(params)
    q[_SCANS] = (q[_SCANS] + _WRAP + 1) & _MASK
    busy = int(expire(0, 0, state, params))
    quiet = int(measure_pack(state, params))
    bins = ptr32(scratch)
    if quiet:
        bins[_BINS] = 0
        bins[0] = bins[1] = bins[2] = bins[3] = bins[4] = bins[5] = bins[6] = bins[7] = 0
        bins[8] = bins[9] = bins[10] = bins[11] = bins[12] = bins[13] = bins[14] = bins[15] = 0
        bins[16] = bins[17] = bins[18] = bins[19] = bins[20] = bins[21] = bins[22] = bins[23] = 0
        bins[24] = bins[25] = bins[26] = bins[27] = bins[28] = bins[29] = bins[30] = bins[31] = 0
        bins[32] = bins[33] = bins[34] = bins[35] = bins[36] = bins[37] = bins[38] = bins[39] = 0
        bins[40] = bins[41] = bins[42] = bins[43] = bins[44] = bins[45] = bins[46] = bins[47] = 0
        bins[48] = bins[49] = bins[50] = bins[51] = bins[52] = bins[53] = bins[54] = bins[55] = 0
        bins[56] = bins[57] = bins[58] = bins[59] = bins[60] = bins[61] = bins[62] = bins[63] = 0
    absent = int(measure_arrays(0, 0, state, params, scratch, quiet))
    calm = 0
    if quiet == _QUIET:
        calm = 1
        if p[_P_CELLS]:
            steps = q[_FEATURES_AT + _F_CELLS_VALID] - bins[_BINS]
            # More than half in five neighbouring bins: these steps, the median one among them, differ by 4 mV at most.
            near = bins[_MIDDLE - 2] + bins[_MIDDLE - 1] + bins[_MIDDLE] + bins[_MIDDLE + 1] + bins[_MIDDLE + 2]
            if near * 2 <= steps or p[_P_CALM_MAD_MV] < 5:
                calm = int(agree(0, 0, scratch, steps, p[_P_CALM_MAD_MV]))
    q[_FEATURES_AT + _F_CALM] = calm
    if not q[_KNOWN]:
        waited = q[_AGE_MS] + p[_P_SCAN_MS]
        if q[_WAITING] == 0 and (absent == 0 or waited >= p[_P_START_MS]):
            q[_KNOWN] = 1
        if waited <= p[_P_START_MS]:
            q[_AGE_MS] = waited
            busy += 1
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
            q[_NOW_MS] = (q[_NOW_MS] + _WRAP + skip * scan_ms) & _MASK
            q[_DUE_MS] = (q[_DUE_MS] + _WRAP + skip * scan_ms) & _MASK
            unstamp(box[0], box[1])
    q[_NOW_MS] = t_ms
    return done
