"""Verdicts: every row of the rule table, with its levels, timers, hysteresis and gate, against its feature.

The semantics are those of the catalogue (HAZARDS, "Semantics, the same for every row"); each numbered comment names its
clause there. A timer reads 0 ms in the first scan that shows its condition and is complete when it reads its time.
"""

import micropython
from micropython import const

_MASK = const(0x3FFFFFFF)
_NA = const(-0x3FFFFFFF - 1)
_WRAP = const(-0x3FFFFFFF - 1)  # (a + _WRAP + b) & _MASK adds two numbers of 30 bits and never leaves them

_NOW_MS = const(0)
_OFFSET_MS = const(2)
_EVENTS = const(11)
_LEVEL = const(12)
_MAX_LEVEL = const(13)
_FLAGS = const(15)

_ARRIVALS = const(2)
_GROUP_SIZE = const(3)

_VALUE = const(0)
_WHERE = const(1)
_SLOT = const(2)
_COMPLETE = const(3)
_FEATURE_SIZE = const(4)
_F_CALM = const(17)

_BMS_FLAG_9 = const(16)
_BMS_FLAG_12 = const(17)
_SCALARS = const(22)

_LEVEL_NOW = const(0)
_ASSERTED = const(1)
_ASSERTING = const(2)
_CLEARING = const(3)
_ASSERT_MS = const(4)
_CLEAR_MS = const(7)
_FIRST_ARRIVAL = const(10)
_FIRST_SLOT = const(13)
_RULE_SIZE = const(16)

_P_SCAN_MS = const(1)
_P_CELLS = const(4)
_P_RULES = const(6)
_P_ACTIVE = const(0)
_P_FEATURE = const(1)
_P_ABOVE = const(2)
_P_FIRST_LIMIT = const(3)
_P_LIMIT = const(4)
_P_CLEAR_AT = const(7)
_P_ASSERT_MS = const(10)
_P_CLEAR_MS = const(13)
_P_GATE = const(14)
_P_CALM_LEVELS = const(15)
_P_FLAG = const(16)
_P_LATCHED = const(17)
_P_SAMPLES = const(18)
_P_OWN = const(19)
_RULE_TABLE_SIZE = const(20)

_E_HEAD = const(0)
_E_TAIL = const(1)
_E_LOST = const(2)
_E_CAPACITY = const(3)
_E_FIRST = const(4)
_EVENT_SIZE = const(6)


@micropython.viper
def emit(clock, events, rule: int, before: int, level: int, where: int, value: int) -> int:
    """Append one event record; where the ring is full the event is dropped and counted."""
    c = ptr32(clock)
    e = ptr32(events)
    c[_EVENTS] = (c[_EVENTS] + _WRAP + 1) & _MASK
    head = e[_E_HEAD]
    if (head - e[_E_TAIL]) & _MASK >= e[_E_CAPACITY]:
        e[_E_LOST] = (e[_E_LOST] + _WRAP + 1) & _MASK
        return 0
    at = _E_FIRST + head % e[_E_CAPACITY] * _EVENT_SIZE
    e[at] = (c[_NOW_MS] - c[_OFFSET_MS]) & _MASK
    e[at + 1] = rule
    e[at + 2] = before
    e[at + 3] = level
    e[at + 4] = where
    e[at + 5] = value
    e[_E_HEAD] = (head + _WRAP + 1) & _MASK
    return 1


@micropython.viper
def judge(clock, header, groups, signals, features, rules, owners, rule_table, events) -> int:
    """Judge every rule once. Returns the number of timers that moved."""
    c = ptr32(clock)
    g = ptr32(groups)
    s = ptr32(signals)
    f = ptr32(features)
    r = ptr32(rules)
    o = ptr32(owners)
    p = ptr32(rule_table)
    scan_ms = ptr32(header)[_P_SCAN_MS]
    n_cells = ptr32(header)[_P_CELLS]
    calm = f[_F_CALM * _FEATURE_SIZE] == 1
    moved = 0
    top = 0
    flags = 0
    at = 0
    row = 0
    for rule in range(ptr32(header)[_P_RULES]):
        if p[at + _P_ACTIVE]:
            feature = p[at + _P_FEATURE] * _FEATURE_SIZE
            value = f[feature + _VALUE]
            value = (value & _MASK) + (value >> 30 & 1) * _NA
            gate = 1
            if p[at + _P_GATE]:
                gate = f[(p[at + _P_GATE] - 1) * _FEATURE_SIZE]
                if gate != 0 and gate != 1:
                    gate = -1
            known = value != _NA and gate >= 0
            first = p[at + _P_FIRST_LIMIT]
            first = (first & _MASK) + (first >> 30 & 1) * _NA
            above = p[at + _P_ABOVE]
            reached = known and gate == 1 and (value >= first if above else value <= first)
            # A rule at rest whose feature is on the good side of its first limit has nothing to do.
            if reached or r[row + _ASSERTED] or r[row + _ASSERTING]:
                complete = f[feature + _COMPLETE]
                slot = f[feature + _SLOT]
                where = f[feature + _WHERE]
                shown = value
                asserted = r[row + _ASSERTED]
                asserting = r[row + _ASSERTING]
                clearing = r[row + _CLEARING]
                for k in range(3):
                    bit = 1 << k
                    limit = p[at + _P_LIMIT + k]
                    limit = (limit & _MASK) + (limit >> 30 & 1) * _NA
                    if limit == _NA:
                        continue
                    hit = False
                    if reached:
                        hit = value >= limit if above else value <= limit
                        if p[at + _P_CALM_LEVELS] & bit and not calm:
                            hit = False
                    if not asserted & bit:
                        # 1: each level has its own timer; it runs without a break.
                        timer = row + _ASSERT_MS + k
                        needed_ms = p[at + _P_ASSERT_MS + k]
                        if hit and not asserting & bit:
                            asserting |= bit
                            r[timer] = 0
                            r[row + _FIRST_SLOT + k] = slot
                            r[row + _FIRST_ARRIVAL + k] = g[o[slot] * _GROUP_SIZE + _ARRIVALS]
                            moved += 1
                        elif asserting & bit:
                            # 2: invalid data keeps a running assert timer running, and so does the loss of the very
                            # cell or probe that started it. A gate known to be closed ends it.
                            gone = s[r[row + _FIRST_SLOT + k]]
                            gone = (gone & _MASK) + (gone >> 30 & 1) * _NA
                            if hit or (gate != 0 and (not known or gone == _NA)):
                                if r[timer] < needed_ms:
                                    r[timer] += scan_ms
                                    moved += 1
                            else:
                                asserting ^= bit
                        if asserting & bit and r[timer] >= needed_ms:
                            # 6: a second sample, where the rule asks for it; an invalid one does not deny the first.
                            started_by = r[row + _FIRST_SLOT + k]
                            arrived = g[o[started_by] * _GROUP_SIZE + _ARRIVALS] - r[row + _FIRST_ARRIVAL + k]
                            if arrived or p[at + _P_SAMPLES] < 2:
                                asserted |= bit
                                asserting ^= bit
                                clearing &= 7 - bit
                                if not hit:
                                    # What started it is gone: name it, not the best of the others.
                                    shown = _NA
                                    where = started_by - _SCALARS + 1
                                    if where < 1:
                                        where = 0
                                    elif where > n_cells:
                                        where -= n_cells
                    elif known and not p[at + _P_LATCHED]:
                        # 2: clears after its time beyond the margin, on valid and complete data only.
                        margin = p[at + _P_CLEAR_AT + k]
                        margin = (margin & _MASK) + (margin >> 30 & 1) * _NA
                        timer = row + _CLEAR_MS + k
                        if gate == 0 or (value <= margin if above else value >= margin):
                            if complete or gate == 0:
                                if clearing & bit:
                                    r[timer] += scan_ms
                                else:
                                    clearing |= bit
                                    r[timer] = 0
                                moved += 1
                                if r[timer] >= p[at + _P_CLEAR_MS]:
                                    asserted ^= bit
                                    clearing ^= bit
                        else:
                            clearing &= 7 - bit
                r[row + _ASSERTED] = asserted
                r[row + _ASSERTING] = asserting
                r[row + _CLEARING] = clearing
                level = 3 if asserted & 4 else (2 if asserted & 2 else asserted & 1)
                if level != r[row + _LEVEL_NOW]:
                    # 4: every raise, change and clear makes one event.
                    emit(clock, events, rule, r[row + _LEVEL_NOW], level, where, shown)
                    r[row + _LEVEL_NOW] = level
            level = r[row + _LEVEL_NOW]
            if level:
                flags |= p[at + _P_FLAG]
                if level > top and p[at + _P_OWN]:
                    top = level
        at += _RULE_TABLE_SIZE
        row += _RULE_SIZE
    # The BMS's own flags are passed on as they are sent: 9, 12..15, 17.
    if s[_BMS_FLAG_9] == 1:
        flags |= 1 << 9
    for i in range(4):
        if s[_BMS_FLAG_12 + i] == 1:
            flags |= 1 << 12 + i
    if s[_BMS_FLAG_12 + 4] == 1:
        flags |= 1 << 17
    c[_FLAGS] = flags
    c[_LEVEL] = top
    if top > c[_MAX_LEVEL]:
        c[_MAX_LEVEL] = top
    return moved
