"""Verdicts: every row of the rule table, with its levels, timers, hysteresis and gate, against its feature.

The semantics are those of the catalogue (HAZARDS, "Semantics, the same for every row"); each numbered comment names its
clause there. A timer reads 0 ms in the first scan that shows its condition and is complete when it reads its time.
The sign of a difference is read from its bit 30, as in measure.py; times P_SIDE it is that of "on the good side".
"""

import micropython
from micropython import const

_NA = const(-0x20000000)
_STEP = const(-0x3FFFFFFF)
_MASK = const(0x3FFFFFFF)
_NOW_MS = const(0)
_OFFSET_MS = const(2)
_EVENTS = const(11)
_LEVEL = const(12)
_MAX_LEVEL = const(13)
_FLAGS = const(15)
_FEATURES_AT = const(145)
_WHERE = const(48)
_SLOT = const(96)
_COMPLETE = const(144)
_F_CALM = const(17)
_SIGNALS_AT = const(337)
_BMS_FLAG_9 = const(16)
_BMS_FLAG_12 = const(17)
_SCALARS = const(25)
_ARRIVALS = const(2)
_GROUP_SIZE = const(3)
_LEVEL_NOW = const(1)
_ASSERT_MS = const(2)
_CLEAR_MS = const(5)
_FIRST_ARRIVAL = const(8)
_FIRST_SLOT = const(11)
_RULE_SIZE = const(14)
_P_SCAN_MS = const(1)
_P_CELLS = const(4)
_P_RULES = const(6)
_P_GROUPS_AT = const(23)
_P_RULES_AT = const(25)
_P_OWNERS_AT = const(28)
_HEADER_SIZE = const(49)
_P_FIRST_LIMIT = const(1)
_P_SIDE = const(2)
_P_LIMIT = const(3)
_P_CLEAR_AT = const(6)
_P_ASSERT_MS = const(9)
_P_CLEAR_MS = const(12)
_P_GATE = const(13)
_P_CALM_LEVELS = const(14)
_P_FLAG = const(15)
_P_LATCHED = const(16)
_P_SAMPLES = const(17)
_P_OWN = const(18)
_P_NUMBER = const(19)
_RULE_TABLE_SIZE = const(20)
_E_HEAD = const(0)
_E_TAIL = const(1)
_E_LOST = const(2)
_E_CAPACITY = const(3)
_E_FIRST = const(4)
_EVENT_SIZE = const(6)


@micropython.viper
def judge(row: int, at: int, state, params, events) -> int:
    """Judge every rule once. Returns 1 where a timer moved, else 0.

    row, at: 0; viper keeps the first two parameters in registers.
    """
    q = ptr32(state)
    p = ptr32(params)
    e = ptr32(events)
    scan_ms = p[_P_SCAN_MS]
    moved = 0
    top = 0
    flags = 0
    at = _HEADER_SIZE  # the rule table stands behind the header; of its columns, P_FEATURE is the first
    row = p[_P_RULES_AT]  # of its columns, BUSY is the first
    end = row + p[_P_RULES] * _RULE_SIZE
    while row ^ end:
        if not q[row]:
            # A rule at rest whose feature is on the good side of its first limit has nothing to do.
            if (q[p[at]] - p[at + _P_FIRST_LIMIT]) * p[at + _P_SIDE] >> 30 & 1:
                at += _RULE_TABLE_SIZE
                row += _RULE_SIZE
                continue
        value = q[p[at]]
        side = p[at + _P_SIDE]
        known = (value - _NA) & _MASK
        closed = 0
        gate = p[at + _P_GATE]
        if gate:
            gate = q[gate]
            if gate >> 30 & 1:
                known = 0  # a gate that is not known
            closed = 0 if gate else 1
        if known or q[row]:
            busy = q[row]
            asserted = busy & 7
            asserting = busy >> 3 & 7
            clearing = busy >> 6 & 7
            # 1: the levels whose condition holds, as bits.
            reached = 0
            if known and not closed:
                if not (value - p[at + _P_FIRST_LIMIT]) * side >> 30 & 1:
                    if not (value - p[at + _P_LIMIT]) * side >> 30 & 1:
                        reached = 1
                    if not (value - p[at + _P_LIMIT + 1]) * side >> 30 & 1:
                        reached |= 2
                    if not (value - p[at + _P_LIMIT + 2]) * side >> 30 & 1:
                        reached |= 4
                    if not q[_FEATURES_AT + _F_CALM]:
                        reached &= 7 - p[at + _P_CALM_LEVELS]
            # 2: the asserted levels whose value, where it is known, is beyond the clear margin.
            beyond = 0
            if asserted:
                if not p[at + _P_LATCHED]:
                    beyond = asserted
                    if not closed:
                        if (p[at + _P_CLEAR_AT] - value) * side >> 30 & 1:
                            beyond &= 6
                        if (p[at + _P_CLEAR_AT + 1] - value) * side >> 30 & 1:
                            beyond &= 5
                        if (p[at + _P_CLEAR_AT + 2] - value) * side >> 30 & 1:
                            beyond &= 3

            released = busy >> 9
            if released:
                # 3: given up on an acknowledgement; where the condition still holds it begins anew.
                asserted = 0
                beyond = 0
            pending = (reached | asserting) & (7 - asserted)
            if pending or beyond or clearing or released:
                feature = p[at]
                lost = 0
                # 2: a level clears after its time beyond the margin, on valid and complete data only.
                if known or released:
                    stopped = clearing & (7 - beyond)
                    if stopped:
                        clearing ^= stopped
                        timer = row + _CLEAR_MS
                        while stopped:
                            q[timer] = 0  # where a level stops, no milder one goes on
                            stopped >>= 1
                            timer += 1
                    if beyond:
                        if q[feature + _COMPLETE] or closed:
                            clearing |= beyond
                            clear_ms = p[at + _P_CLEAR_MS]
                            timer = row + _CLEAR_MS
                            bit = 1
                            while beyond:
                                if beyond & bit:
                                    beyond ^= bit
                                    held_ms = q[timer]
                                    if held_ms < clear_ms:
                                        q[timer] = held_ms + scan_ms
                                        moved = 1
                                    else:
                                        asserted ^= bit
                                        clearing ^= bit
                                        q[timer] = 0
                                bit <<= 1
                                timer += 1
                if pending:
                    starting = pending & (7 - asserting)
                    if starting:
                        asserting |= starting
                        slot = q[feature + _SLOT]
                        arrivals = q[p[_P_GROUPS_AT] + p[p[_P_OWNERS_AT] + slot] * _GROUP_SIZE + _ARRIVALS]
                    level_at = at
                    timer = row + _ASSERT_MS  # the other columns of this level stand 3 apart
                    bit = 1
                    while pending:
                        if pending & bit:
                            pending ^= bit
                            # 1: each level has its own timer; it runs without a break.
                            if starting & bit:
                                q[timer + _FIRST_SLOT - _ASSERT_MS] = slot
                                q[timer + _FIRST_ARRIVAL - _ASSERT_MS] = arrivals
                            first_slot = q[timer + _FIRST_SLOT - _ASSERT_MS]
                            if not reached & bit:
                                # 2: invalid data keeps a running assert timer running, and so does the loss of the very
                                # cell or probe that started it. A gate known to be closed ends it.
                                if closed or (known and (q[_SIGNALS_AT + first_slot] - _NA) & _MASK):
                                    asserting ^= bit
                                    q[timer] = 0
                            if asserting & bit:
                                held_ms = q[timer]
                                if held_ms < p[level_at + _P_ASSERT_MS]:
                                    q[timer] = held_ms + scan_ms
                                    moved = 1
                                else:
                                    # 6: a second sample, where the rule asks for it; an invalid one does not deny it.
                                    enough = 1
                                    if p[at + _P_SAMPLES] > 1:
                                        sample = p[_P_GROUPS_AT] + p[p[_P_OWNERS_AT] + first_slot] * _GROUP_SIZE
                                        enough = q[sample + _ARRIVALS] - q[timer + _FIRST_ARRIVAL - _ASSERT_MS]
                                    if enough:
                                        asserted |= bit
                                        asserting ^= bit
                                        q[timer] = 0
                                        lost = 0 if reached & bit else 1
                                        lost_slot = first_slot
                        bit <<= 1
                        timer += 1
                        level_at += 1

                q[row] = clearing << 6 | asserting << 3 | asserted
                level = asserted
                if level:
                    level = 3 if level & 4 else 2 if level & 2 else 1
                before = q[row + _LEVEL_NOW]
                if level ^ before:
                    # 4: every raise, change and clear makes one event; with the ring full it is dropped and counted.
                    q[row + _LEVEL_NOW] = level
                    q[_EVENTS] = (q[_EVENTS] + _STEP) & _MASK
                    head = e[_E_HEAD]
                    if (head - e[_E_TAIL]) & _MASK >= e[_E_CAPACITY]:
                        e[_E_LOST] = (e[_E_LOST] + _STEP) & _MASK
                    else:
                        into = _E_FIRST + (head & e[_E_CAPACITY] - 1) * _EVENT_SIZE
                        where = q[feature + _WHERE]
                        if lost:
                            # What started it is gone: name it, not the best of the others.
                            value = _NA
                            if lost_slot >= _SCALARS:
                                where = lost_slot - _SCALARS + 1
                                if where > p[_P_CELLS]:
                                    where -= p[_P_CELLS]
                        e[into] = (q[_NOW_MS] - q[_OFFSET_MS]) & _MASK
                        e[into + 1] = p[at + _P_NUMBER]
                        e[into + 2] = before
                        e[into + 3] = level
                        e[into + 4] = where
                        e[into + 5] = value
                        e[_E_HEAD] = (head + _STEP) & _MASK
            else:
                level = q[row + _LEVEL_NOW]
            if level:
                flags |= p[at + _P_FLAG]
                if p[at + _P_OWN]:
                    if level > top:
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
