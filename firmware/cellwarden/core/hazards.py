"""Whether the data can be trusted, and whether a cell is in thermal runaway: what many features say together.

The signs of a runaway are remembered for half a minute, because they do not come at one instant: sensors saturate,
cells vanish, insulation follows seconds later. Numbers are read and compared as in measure.py.
"""

import micropython
from micropython import const

_NA = const(-0x20000000)
_MASK = const(0x3FFFFFFF)
_MALFORMED = const(7)
_CHECKSUM_ERRORS = const(8)
_COUNTER_ERRORS = const(9)
_TIME_BACKWARD = const(10)
_LOST = const(17)
_AGE_MS = const(18)
_MODE = const(25)
_ACTIVE = const(26)
_SLEPT = const(29)
_REFERENCE_MV = const(45)
_REFERENCE_BEFORE_MV = const(46)
_STEEP = const(91)
_MALFORMED_BEFORE = const(117)
_BACKWARD_BEFORE = const(118)
_DROPPED_BEFORE = const(119)
_MALFORMED_MS = const(120)
_BACKWARD_MS = const(121)
_DROPPED_MS = const(122)
_DROPPED = const(123)
_BUS_OFF = const(124)
_ABSENT_LEAST = const(125)
_ABSENT_MS = const(126)
_SIGN_MS = const(127)
_GONE_BEFORE = const(135)
_GONE_SINCE = const(136)
_GONE_MS = const(137)
_WHOLE = const(138)
_CELLS_MISSING = const(139)
_ASLEEP = const(4)
_SIGN_FELL = const(0)
_SIGN_HOT = const(1)
_SIGN_STEEP = const(2)
_SIGN_STEP = const(3)
_SIGN_CELLS = const(4)
_SIGN_INSULATION = const(5)
_SIGN_PROBES = const(6)
_SIGN_FOUR = const(7)
_FEATURES_AT = const(145)
_WHERE = const(48)
_SLOT = const(96)
_COMPLETE = const(144)
_F_CELL_MAX_MV = const(0)
_F_CELL_MIN_MV = const(1)
_F_PROBE_MAX_DDEGC = const(3)
_F_INSULATION_OHM_PER_V = const(9)
_F_CELLS_LOST = const(19)
_F_PROBES_LOST = const(21)
_F_RISE_MK_PER_S = const(22)
_F_PACK_STEP_MV = const(24)
_F_SUM_MISMATCH_PERMILLE = const(25)
_F_TRANSIENTS = const(26)
_F_DRIFT_MV = const(27)
_F_SELF_DISCHARGE_UV_PER_H = const(28)
_F_CONTACT_UOHM = const(29)
_F_SIGNAL_LOST = const(31)
_F_COUNTER_WRONG = const(32)
_F_CHECKSUM_WRONG = const(33)
_F_MALFORMED = const(34)
_F_DROPPED = const(35)
_F_BUS_OFF = const(36)
_F_CELLS_GONE = const(37)
_F_CELLS_ABSENT = const(38)
_F_PROBE_FAULTS = const(39)
_F_SENSE_LINE_MV = const(40)
_F_FROZEN_S = const(41)
_F_BACKWARD = const(42)
_F_COUNT_DIFFERS = const(43)
_F_RUNAWAY = const(44)
_F_SUSPECTED = const(45)
_F_CELLS_DEAD = const(46)
_F_PROBES_DEAD = const(47)
_SIGNALS_AT = const(337)
_PACK_VOLTAGE_MV = const(0)
_VEHICLE_ON = const(5)
_CHARGING = const(6)
_CELL_COUNT = const(22)
_PROBE_COUNT = const(23)
_ALWAYS = const(24)
_WRONG = const(1)
_CHECKSUM_WRONG = const(2)
_MESSAGE_SIZE = const(3)
_P_SCAN_MS = const(1)
_P_MESSAGES = const(2)
_P_CELLS = const(4)
_P_START_MS = const(9)
_P_SENT = const(18)
_P_MESSAGES_AT = const(24)
_P_HOT_DDEGC = const(37)
_P_CELL_FLOOR_MV = const(38)
_P_INSULATION_FLOOR = const(39)
_P_MISMATCH_PERMILLE = const(40)
_P_STEP_MV = const(41)
_P_VEHICLE_CELLS = const(44)
_P_VEHICLE_PROBES = const(45)

_HOLD_MS = const(5000)  # how long one wrong frame, lost frame or step back is shown
_SIGN_KEPT_MS = const(30000)
_SIGNS = const(8)
_GONE_MS_ENOUGH = const(10000)
_FOUR = const(4)
_TWO = const(2)
_ABSENT_MS_ENOUGH = const(30000)
_FIRST_MS = const(60000)  # how long after a sleep the scans are the first true ones
_CERTAIN_DDEGC = const(800)


@micropython.viper
def hazards(i: int, v: int, state, params, fresh: int) -> int:
    """Features of sections C and D. fresh: what expire returned. Returns 0 where none of its timers runs.

    i, v: 0; viper keeps the first two parameters in registers.
    """
    q = ptr32(state)
    p = ptr32(params)
    scan_ms = p[_P_SCAN_MS]
    sent = p[_P_SENT]
    busy = 0

    # On or charging, as far as last known: only then is silence a loss.
    v = q[_SIGNALS_AT + _VEHICLE_ON]
    i = q[_SIGNALS_AT + _CHARGING]
    told = sent >> _VEHICLE_ON & 1 | sent >> _CHARGING & 1
    active = q[_ACTIVE]
    if not v >> 30 & 1:
        active = active & 2 | v
    if not i >> 30 & 1:
        active = active & 1 | i << 1
    q[_ACTIVE] = active
    if not told:
        active = fresh
    v = 0
    if active:
        if fresh:
            v = 1 if q[_LOST] else 0
        elif q[_LOST] or q[_MODE] == _ASLEEP:
            v = 2  # it fell silent, not asleep
    q[_FEATURES_AT + _F_SIGNAL_LOST] = v

    # Leaky counters of wrong counters and checksums: the worst message's.
    worst = 0
    worst_sum = 0
    if q[_COUNTER_ERRORS] or q[_CHECKSUM_ERRORS]:
        i = p[_P_MESSAGES_AT]
        end = i + p[_P_MESSAGES] * _MESSAGE_SIZE
        while i < end:
            if q[i + _WRONG] > worst:
                worst = q[i + _WRONG]
            if q[i + _CHECKSUM_WRONG] > worst_sum:
                worst_sum = q[i + _CHECKSUM_WRONG]
            i += _MESSAGE_SIZE
    q[_FEATURES_AT + _F_COUNTER_WRONG] = worst
    q[_FEATURES_AT + _F_CHECKSUM_WRONG] = worst_sum

    # Single wrong things are shown for a while.
    v = q[_MALFORMED_MS]
    if v:
        v += scan_ms
        if v > _HOLD_MS:
            v = 0
    if q[_MALFORMED] ^ q[_MALFORMED_BEFORE]:
        q[_MALFORMED_BEFORE] = q[_MALFORMED]
        v = scan_ms
    q[_MALFORMED_MS] = v
    busy |= v
    q[_FEATURES_AT + _F_MALFORMED] = 1 if v else 0
    v = q[_BACKWARD_MS]
    if v:
        v += scan_ms
        if v > _HOLD_MS:
            v = 0
    if q[_TIME_BACKWARD] ^ q[_BACKWARD_BEFORE]:
        q[_BACKWARD_BEFORE] = q[_TIME_BACKWARD]
        v = scan_ms
    q[_BACKWARD_MS] = v
    busy |= v
    q[_FEATURES_AT + _F_BACKWARD] = 1 if v else 0
    v = q[_DROPPED_MS]
    if v:
        v += scan_ms
        if v > _HOLD_MS:
            v = 0
    if q[_DROPPED] ^ q[_DROPPED_BEFORE]:
        q[_DROPPED_BEFORE] = q[_DROPPED]
        v = scan_ms
    q[_DROPPED_MS] = v
    busy |= v
    q[_FEATURES_AT + _F_DROPPED] = 1 if v else 0
    q[_FEATURES_AT + _F_BUS_OFF] = 1 if q[_BUS_OFF] else 0

    # Counts that the vehicle sends against the profile's.
    v = _NA
    cells = q[_SIGNALS_AT + _CELL_COUNT]
    count = q[_SIGNALS_AT + _PROBE_COUNT]
    if not cells >> 30 & 1:
        v = 1 if cells ^ p[_P_VEHICLE_CELLS] else 0
    if not count >> 30 & 1:
        if v ^ 1:
            v = 1 if count ^ p[_P_VEHICLE_PROBES] else 0
    q[_FEATURES_AT + _F_COUNT_DIFFERS] = v
    q[_FEATURES_AT + _F_COUNT_DIFFERS + _SLOT] = _PROBE_COUNT if cells >> 30 & 1 else _CELL_COUNT

    # Cells never valid since the start or the wake-up: a terminal fills its table over several seconds.
    absent = q[_FEATURES_AT + _F_CELLS_ABSENT]
    v = q[_ABSENT_MS]
    if absent < q[_ABSENT_LEAST] or not q[_ABSENT_LEAST]:
        v = 0
    else:
        v += scan_ms
        if v > _ABSENT_MS_ENOUGH:
            v = _ABSENT_MS_ENOUGH
    q[_ABSENT_LEAST] = absent
    q[_ABSENT_MS] = v
    if v < _ABSENT_MS_ENOUGH or q[_AGE_MS] < p[_P_START_MS]:
        q[_FEATURES_AT + _F_CELLS_ABSENT] = 0

    # Four cells or more that lose their value within ten seconds.
    dead = q[_FEATURES_AT + _F_CELLS_DEAD]
    base = q[_GONE_BEFORE]
    if dead < base:
        base = dead
    since = q[_GONE_SINCE]
    if dead < since:
        since = dead
    gone = dead - base
    v = 0
    if gone:
        # Two starts, ten seconds apart: what goes within ten seconds is never cut in two.
        v = q[_GONE_MS] + scan_ms
        if v > _GONE_MS_ENOUGH:
            base = since
            since = dead
            v = 0
    q[_GONE_BEFORE] = base
    q[_GONE_SINCE] = since
    q[_GONE_MS] = v

    # The signs, each remembered for 30 s.
    i = _SIGN_MS
    while i < _SIGN_MS + _SIGNS:
        v = q[i]
        if v:
            v += scan_ms
            if v > _SIGN_KEPT_MS:
                v = 0
            q[i] = v
            busy |= v
        i += 1
    lowest = q[_FEATURES_AT + _F_CELL_MIN_MV]
    hottest = q[_FEATURES_AT + _F_PROBE_MAX_DDEGC]
    reference = q[_REFERENCE_MV]
    if q[_REFERENCE_BEFORE_MV] > reference:
        reference = q[_REFERENCE_BEFORE_MV]
    if not p[_P_CELLS]:
        reference = q[_FEATURES_AT + _F_CELL_MAX_MV]
    if not lowest >> 30 & 1 and (reference - _NA) & _MASK and lowest * 4 < reference * 3:
        q[_SIGN_MS + _SIGN_FELL] = scan_ms
    if not (hottest - p[_P_HOT_DDEGC]) >> 30 & 1:
        q[_SIGN_MS + _SIGN_HOT] = scan_ms
    if q[_STEEP]:
        q[_SIGN_MS + _SIGN_STEEP] = scan_ms
    step = q[_FEATURES_AT + _F_PACK_STEP_MV]
    if not (step - p[_P_STEP_MV]) >> 30 & 1:
        q[_SIGN_MS + _SIGN_STEP] = scan_ms
    v = q[_FEATURES_AT + _F_INSULATION_OHM_PER_V]
    if not v >> 30 & 1 and v <= p[_P_INSULATION_FLOOR]:
        q[_SIGN_MS + _SIGN_INSULATION] = scan_ms
    if q[_FEATURES_AT + _F_PROBES_DEAD]:
        q[_SIGN_MS + _SIGN_PROBES] = scan_ms
    if gone >= _FOUR:
        q[_SIGN_MS + _SIGN_FOUR] = scan_ms

    # Lost cells, alone or with a second sign that is independent of them.
    v = 0
    if dead:
        v = 1
        i = q[_FEATURES_AT + _F_SUM_MISMATCH_PERMILLE]
        if not (i - p[_P_MISMATCH_PERMILLE]) >> 30 & 1:
            v = 2
        if not lowest >> 30 & 1 and lowest <= p[_P_CELL_FLOOR_MV]:
            v = 2
        if q[_SIGN_MS + _SIGN_HOT] or q[_SIGN_MS + _SIGN_STEP]:
            v = 2
        if v == 2:
            q[_SIGN_MS + _SIGN_CELLS] = scan_ms
    i = _FEATURES_AT + _F_CELLS_GONE
    q[i] = v
    q[i + _WHERE] = q[_FEATURES_AT + _F_CELLS_DEAD + _WHERE] if v else 0
    q[i + _SLOT] = q[_FEATURES_AT + _F_CELLS_DEAD + _SLOT] if v else _ALWAYS
    i = _FEATURES_AT + _F_PROBE_FAULTS
    v = q[_FEATURES_AT + _F_PROBES_DEAD]
    q[i] = v
    q[i + _WHERE] = q[_FEATURES_AT + _F_PROBES_DEAD + _WHERE] if v else 0
    q[i + _SLOT] = q[_FEATURES_AT + _F_PROBES_DEAD + _SLOT] if v else _ALWAYS

    # Runaway. GB 38031-2025 C.5.3.7: (a or b) and c; the other combinations because c is often not observable.
    fell = q[_SIGN_MS + _SIGN_FELL]
    hot = q[_SIGN_MS + _SIGN_HOT]
    steep = q[_SIGN_MS + _SIGN_STEEP]
    stepped = q[_SIGN_MS + _SIGN_STEP]
    v = 0
    if (fell or hot) and steep:
        v = 1
    if fell and (hot or q[_SIGN_MS + _SIGN_FOUR]):
        v = 1
    if hot and stepped:
        v = 1
    if (_CERTAIN_DDEGC - hottest) >> 30 & 1:
        v = 1
    if q[_SIGN_MS + _SIGN_PROBES] and (fell or gone >= _TWO):
        v = 1
    # The first true scans after a sleep: what they show needs no memory.
    if hot and q[_SLEPT] and q[_AGE_MS] < _FIRST_MS:
        if q[_CELLS_MISSING] >= _FOUR or (not lowest >> 30 & 1 and lowest <= p[_P_CELL_FLOOR_MV]):
            v = 1
    i = _FEATURES_AT + _F_RUNAWAY
    q[i] = v
    q[i + _WHERE] = q[_FEATURES_AT + _F_CELL_MIN_MV + _WHERE] if v and fell else 0
    v = 0
    if fell:
        v += 1
    if hot:
        v += 1
    if steep:
        v += 1
    if stepped:
        v += 1
    if q[_SIGN_MS + _SIGN_CELLS]:
        v += 1
    if q[_SIGN_MS + _SIGN_INSULATION]:
        v += 1
    q[_FEATURES_AT + _F_SUSPECTED] = 1 if v > 1 else 0

    # Nothing clears on what is no longer seen (semantics 2).
    v = 0
    if fresh:
        v = 1
        if q[_FEATURES_AT + _F_CELLS_LOST] == dead:
            v = 3
        if q[_FEATURES_AT + _F_PROBES_LOST] == q[_FEATURES_AT + _F_PROBES_DEAD]:
            v += 4
        if not q[_SIGNALS_AT + _PACK_VOLTAGE_MV] >> 30 & 1:
            v += 8
    if v ^ q[_WHOLE]:
        q[_WHOLE] = v
        i = _FEATURES_AT + _F_TRANSIENTS + _COMPLETE
        while i <= _FEATURES_AT + _F_SUSPECTED + _COMPLETE:
            q[i] = v & 1
            i += 1
        v = v >> 1
        q[_FEATURES_AT + _F_TRANSIENTS + _COMPLETE] = v & 1
        q[_FEATURES_AT + _F_DRIFT_MV + _COMPLETE] = v & 1
        q[_FEATURES_AT + _F_SELF_DISCHARGE_UV_PER_H + _COMPLETE] = v & 1
        q[_FEATURES_AT + _F_CONTACT_UOHM + _COMPLETE] = v & 1
        q[_FEATURES_AT + _F_CELLS_GONE + _COMPLETE] = v & 1
        q[_FEATURES_AT + _F_CELLS_ABSENT + _COMPLETE] = v & 1
        q[_FEATURES_AT + _F_SENSE_LINE_MV + _COMPLETE] = v & 1
        q[_FEATURES_AT + _F_FROZEN_S + _COMPLETE] = v & 1
        q[_FEATURES_AT + _F_SUM_MISMATCH_PERMILLE + _COMPLETE] = v & v >> 2 & 1
        q[_FEATURES_AT + _F_RISE_MK_PER_S + _COMPLETE] = v >> 1 & 1
        q[_FEATURES_AT + _F_PROBE_FAULTS + _COMPLETE] = v >> 1 & 1
    return busy
