"""Time: scans on the fixed grid, the ageing of what was received, and the order of a scan's work."""

import micropython
from micropython import const

from cellwarden.core.judge import judge
from cellwarden.core.measure import measure

_MASK = const(0x3FFFFFFF)
_HALF = const(0x20000000)
_NA = const(-0x3FFFFFFF - 1)
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
_WRONG = const(1)
_MESSAGE_SIZE = const(2)
_WRONG_LIMIT = const(5)
_STAMP_MS = const(0)
_STATUS = const(1)
_GROUP_SIZE = const(3)
_NEVER = const(0)
_FRESH = const(1)
_STALE = const(2)
_P_SCAN_MS = const(1)
_P_GROUPS = const(3)
_P_START_MS = const(9)
_P_DEADLINE_MS = const(0)
_P_FIRST_MEMBER = const(1)
_P_MEMBER_COUNT = const(2)
_P_MESSAGE = const(3)
_GROUP_TABLE_SIZE = const(4)

_REBASE_MS = const(1000)  # a step back of this much or more is a clock that was set: go on from there


@micropython.viper
def expire(clock, messages, groups, signals, header, group_table, members) -> int:
    """Turn what is overdue or no longer trusted into NA. Returns the number of groups that are fresh."""
    now = ptr32(clock)[_NOW_MS]
    wrong = ptr32(messages)
    g = ptr32(groups)
    s = ptr32(signals)
    p = ptr32(group_table)
    m = ptr32(members)
    fresh = 0
    waiting = 0
    lost = 0
    row = 0
    at = 0
    for _ in range(ptr32(header)[_P_GROUPS]):
        status = g[row + _STATUS]
        if status == _FRESH:
            late = (now - g[row + _STAMP_MS]) & _MASK > p[at + _P_DEADLINE_MS]
            if late or wrong[p[at + _P_MESSAGE] * _MESSAGE_SIZE + _WRONG] >= _WRONG_LIMIT:
                g[row + _STATUS] = _STALE
                first = p[at + _P_FIRST_MEMBER]
                for i in range(first, first + p[at + _P_MEMBER_COUNT]):
                    s[m[i]] = _NA
                lost += 1
            else:
                fresh += 1
        elif status == _NEVER:
            waiting += 1
        else:
            lost += 1
        row += _GROUP_SIZE
        at += _GROUP_TABLE_SIZE
    ptr32(clock)[_WAITING] = waiting
    ptr32(clock)[_LOST] = lost
    return fresh


@micropython.viper
def scan(box) -> int:
    """One scan: age, measure, judge. Returns 0 where another without a frame would change nothing but the clock."""
    (
        clock, messages, groups, signals, memory, features, rules,
        header, group_table, members, owners, rule_table, _crc, events, scratch,
    ) = box  # fmt: skip
    c = ptr32(clock)
    p = ptr32(header)
    c[_SCANS] = (c[_SCANS] + _WRAP + 1) & _MASK
    busy = int(expire(clock, messages, groups, signals, header, group_table, members))
    absent = int(measure(clock, header, signals, memory, features, scratch))
    if not c[_KNOWN]:
        waited = c[_AGE_MS] + p[_P_SCAN_MS]
        if c[_WAITING] == 0 and (absent == 0 or waited >= p[_P_START_MS]):
            c[_KNOWN] = 1
        if waited <= p[_P_START_MS]:
            c[_AGE_MS] = waited
            busy += 1
    busy += int(judge(clock, header, groups, signals, features, rules, owners, rule_table, events))
    return busy


@micropython.viper
def advance(box, t_ms: int) -> int:
    """Bring the clock to `t_ms` (the frames' clock plus OFFSET_MS, 30 bits): first run every scan due up to it.

    A time before the clock's is counted and does not move it. Returns the number of scans run.
    """
    clock = box[0]
    c = ptr32(clock)
    scan_ms = ptr32(box[7])[_P_SCAN_MS]
    if not c[_STARTED]:
        c[_STARTED] = 1
        c[_NOW_MS] = t_ms
        c[_DUE_MS] = (t_ms // scan_ms * scan_ms + _WRAP + scan_ms) & _MASK
        return 0
    ahead = (t_ms - c[_NOW_MS]) & _MASK
    if ahead >= _HALF:
        c[_TIME_BACKWARD] = (c[_TIME_BACKWARD] + _WRAP + 1) & _MASK
        back = (c[_NOW_MS] - t_ms) & _MASK
        if back >= _REBASE_MS:
            c[_OFFSET_MS] = (c[_OFFSET_MS] + _WRAP + back) & _MASK
        return 0
    done = 0
    left = (c[_DUE_MS] - c[_NOW_MS]) & _MASK
    while left <= ahead:
        due = c[_DUE_MS]
        ahead -= left
        c[_NOW_MS] = due
        c[_DUE_MS] = (due + _WRAP + scan_ms) & _MASK
        left = scan_ms
        done += 1
        if not int(scan(box)):
            # Nothing is fresh and no timer runs: the scans that are still due would only count themselves.
            skip = ahead // scan_ms
            ahead -= skip * scan_ms
            done += skip
            c[_SCANS] = (c[_SCANS] + _WRAP + skip) & _MASK
            c[_NOW_MS] = (c[_NOW_MS] + _WRAP + skip * scan_ms) & _MASK
            c[_DUE_MS] = (c[_DUE_MS] + _WRAP + skip * scan_ms) & _MASK
    c[_NOW_MS] = t_ms
    return done
