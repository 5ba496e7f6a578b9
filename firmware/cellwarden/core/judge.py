"""Verdicts: every row of the rule table, with its levels, timers, hysteresis and gate, against its feature.

The semantics are those of the catalogue (HAZARDS, "Semantics, the same for every row"); each numbered comment names its
clause there. A timer reads 0 ms in the first scan that shows its condition and is complete when it reads its time.
The sign of a difference is read from its bit 30, as in measure.py; times P_SIDE it is that of "on the good side".
"""

import micropython
from micropython import const

_MASK = const(0x3FFFFFFF)
_NA = const(-0x20000000)
_WRAP = const(-0x3FFFFFFF - 1)  # (a + _WRAP + b) & _MASK adds two numbers of 30 bits and never leaves them

_NOW_MS = const(0)
_OFFSET_MS = const(2)
_EVENTS = const(11)
_LEVEL = const(12)
_MAX_LEVEL = const(13)
_FLAGS = const(15)

_ARRIVALS = const(2)
_GROUP_SIZE = const(3)

_FEATURES_AT = const(25)
_WHERE = const(22)
_SLOT = const(44)
_COMPLETE = const(66)
_F_CALM = const(17)

_SIGNALS_AT = const(113)
_BMS_FLAG_9 = const(16)
_BMS_FLAG_12 = const(17)
_SCALARS = const(22)

_ASSERTED = const(1)
_ASSERTING = const(2)
_CLEARING = const(3)
_ASSERT_MS = const(4)
_CLEAR_MS = const(7)
_FIRST_ARRIVAL = const(10)
_FIRST_SLOT = const(13)
_LEVEL_NOW = const(16)
_RULE_SIZE = const(17)

_P_SCAN_MS = const(1)
_P_CELLS = const(4)
_P_RULES = const(6)
_HEADER_SIZE = const(29)
_P_GROUPS_AT = const(23)
_P_RULES_AT = const(25)
_P_OWNERS_AT = const(28)
_P_FIRST_LIMIT = const(1)
_P_SIDE = const(2)
_P_ACTIVE = const(3)
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
def judge(row: int, at: int, state, params, events) -> int:
    """Judge every rule once. Returns the number of timers that moved.

    row, at: 0; viper keeps the first two parameters in registers.
    """
    q = ptr32(state)
    p = ptr32(params)
    scan_ms = p[_P_SCAN_MS]
    moved = 0
    top = 0
    flags = 0
    at = _HEADER_SIZE  # the rule table stands behind the header; of its columns, P_FEATURE is the first
    row = p[_P_RULES_AT]  # of its columns, BUSY is the first
    end = row + p[_P_RULES] * _RULE_SIZE
    while row < end:
        value = q[p[at]]
        if not q[row]:
            # A rule at rest whose feature is on the good side of its first limit has nothing to do.
            if (value - p[at + _P_FIRST_LIMIT]) * p[at + _P_SIDE] >> 30 & 1:
                at += _RULE_TABLE_SIZE
                row += _RULE_SIZE
                continue
        known = (value - _NA) & _MASK
        gate = p[at + _P_GATE]
        if gate:
            gate = q[gate]
            if gate >> 1:
                known = 0  # a gate that is not known
        else:
            gate = 1
        if p[at + _P_ACTIVE] and (known or q[row]):
            side = p[at + _P_SIDE]
            asserted = q[row + _ASSERTED]
            asserting = q[row + _ASSERTING]
            clearing = q[row + _CLEARING]
            # 1: the levels whose condition holds, and those whose value is beyond the clear margin, as bits.
            reached = 0
            beyond = 0
            if known:
                if gate:
                    if asserted < 7:
                        if not (value - p[at + _P_LIMIT]) * side >> 30 & 1:
                            reached = 1
                        if not (value - p[at + _P_LIMIT + 1]) * side >> 30 & 1:
                            reached |= 2
                        if not (value - p[at + _P_LIMIT + 2]) * side >> 30 & 1:
                            reached |= 4
                        if not q[_FEATURES_AT + _F_CALM]:
                            reached &= 7 - p[at + _P_CALM_LEVELS]
                    if asserted:
                        if not (p[at + _P_CLEAR_AT] - value) * side >> 30 & 1:
                            beyond = 1
                        if not (p[at + _P_CLEAR_AT + 1] - value) * side >> 30 & 1:
                            beyond |= 2
                        if not (p[at + _P_CLEAR_AT + 2] - value) * side >> 30 & 1:
                            beyond |= 4
                else:
                    beyond = 7
                if p[at + _P_LATCHED]:
                    beyond = 0
                beyond &= asserted

            pending = (reached | asserting) & (7 - asserted)
            if pending or beyond or (known and clearing):
                feature = p[at]
                where = q[feature + _WHERE]
                shown = value
                starting = pending & (7 - asserting)
                slot = 0
                arrivals = 0
                if starting:
                    slot = q[feature + _SLOT]
                    arrivals = q[p[_P_GROUPS_AT] + p[p[_P_OWNERS_AT] + slot] * _GROUP_SIZE + _ARRIVALS]
                level_at = at
                timer = row + _ASSERT_MS  # the other columns of this level stand 3 apart
                bit = 1
                while pending:
                    if pending & bit:
                        pending ^= bit
                        if starting & bit:
                            # 1: each level has its own timer; it runs without a break.
                            held_ms = 0
                            q[timer + _FIRST_SLOT - _ASSERT_MS] = slot
                            q[timer + _FIRST_ARRIVAL - _ASSERT_MS] = arrivals
                            asserting |= bit
                        else:
                            held_ms = q[timer] + scan_ms
                            if not reached & bit:
                                # 2: invalid data keeps a running assert timer running, and so does the loss of the very
                                # cell or probe that started it. A gate known to be closed ends it.
                                gone = q[_SIGNALS_AT + q[timer + _FIRST_SLOT - _ASSERT_MS]]
                                if not gate or (known and (gone - _NA) & _MASK):
                                    asserting ^= bit
                                    held_ms = -1
                        if held_ms >= p[level_at + _P_ASSERT_MS]:
                            held_ms = p[level_at + _P_ASSERT_MS]
                            # 6: a second sample, where the rule asks for it; an invalid one does not deny the first.
                            arrived = 1
                            first_slot = q[timer + _FIRST_SLOT - _ASSERT_MS]
                            if p[at + _P_SAMPLES] > 1:
                                arrived = q[p[_P_GROUPS_AT] + p[p[_P_OWNERS_AT] + first_slot] * _GROUP_SIZE + _ARRIVALS]
                                arrived -= q[timer + _FIRST_ARRIVAL - _ASSERT_MS]
                            if arrived:
                                asserted |= bit
                                asserting ^= bit
                                clearing &= 7 - bit
                                if not reached & bit:
                                    # What started it is gone: name it, not the best of the others.
                                    shown = _NA
                                    where = first_slot - _SCALARS + 1
                                    if where < 1:
                                        where = 0
                                    elif where > p[_P_CELLS]:
                                        where -= p[_P_CELLS]
                        if held_ms >= 0:
                            if starting & bit or held_ms ^ q[timer]:
                                moved += 1
                            q[timer] = held_ms
                    bit <<= 1
                    timer += 1
                    level_at += 1

                # 2: clears after its time beyond the margin, on valid and complete data only.
                if known and not p[at + _P_LATCHED]:
                    clearing &= beyond
                    if beyond and (q[feature + _COMPLETE] or not gate):
                        bit = 1
                        timer = row + _CLEAR_MS
                        while beyond:
                            if beyond & bit:
                                beyond ^= bit
                                held_ms = 0
                                if clearing & bit:
                                    held_ms = q[timer] + scan_ms
                                clearing |= bit
                                q[timer] = held_ms
                                moved += 1
                                if held_ms >= p[at + _P_CLEAR_MS]:
                                    asserted ^= bit
                                    clearing ^= bit
                            bit <<= 1
                            timer += 1

                q[row] = asserted | asserting
                q[row + _ASSERTED] = asserted
                q[row + _ASSERTING] = asserting
                q[row + _CLEARING] = clearing
                level = asserted
                if level > 2:
                    level = 3 if level & 4 else 2
                before = q[row + _LEVEL_NOW]
                if level ^ before:
                    # 4: every raise, change and clear makes one event; where the ring is full it is dropped and counted.
                    q[row + _LEVEL_NOW] = level
                    q[_EVENTS] = (q[_EVENTS] + _WRAP + 1) & _MASK
                    e = ptr32(events)
                    head = e[_E_HEAD]
                    if (head - e[_E_TAIL]) & _MASK >= e[_E_CAPACITY]:
                        e[_E_LOST] = (e[_E_LOST] + _WRAP + 1) & _MASK
                    else:
                        into = _E_FIRST + head % e[_E_CAPACITY] * _EVENT_SIZE
                        e[into] = (q[_NOW_MS] - q[_OFFSET_MS]) & _MASK
                        e[into + 1] = (at - _HEADER_SIZE) // _RULE_TABLE_SIZE
                        e[into + 2] = before
                        e[into + 3] = level
                        e[into + 4] = where
                        e[into + 5] = shown
                        e[_E_HEAD] = (head + _WRAP + 1) & _MASK
            level = q[row + _LEVEL_NOW]
            if level:
                flags |= p[at + _P_FLAG]
                if level > top and p[at + _P_OWN]:
                    top = level
        at += _RULE_TABLE_SIZE
        row += _RULE_SIZE
    # The BMS's own flags are passed on as they are sent: 9, 12..15, 17.
    if q[_SIGNALS_AT + _BMS_FLAG_9] == 1:
        flags |= 1 << 9
    for i in range(4):
        if q[_SIGNALS_AT + _BMS_FLAG_12 + i] == 1:
            flags |= 1 << 12 + i
    if q[_SIGNALS_AT + _BMS_FLAG_12 + 4] == 1:
        flags |= 1 << 17
    q[_FLAGS] = flags
    q[_LEVEL] = top
    if top > q[_MAX_LEVEL]:
        q[_MAX_LEVEL] = top
    return moved
