"""What the pack's own values say over time: SOC against the charge drawn, steps at rest, the insulation's trend.

Numbers are read and compared as in measure.py.
"""

import micropython
from micropython import const

_NA = const(-0x20000000)
_WRAP = const(-0x3FFFFFFF - 1)
_MASK = const(0x3FFFFFFF)
_MODE = const(25)
_WAKING_MS = const(30)
_STEADY_MS = const(32)
_STEADY_LOW_MA = const(33)
_STEADY_HIGH_MA = const(34)
_HOUR_MS = const(35)
_HOURS = const(36)
_CHARGE_REST = const(92)
_DRAWN_PERMILLE = const(93)
_SOC_REFERENCE = const(94)
_SOC_WAIT_MS = const(100)
_SOC_NEXT = const(101)
_STEP_MV = const(102)
_STEP_AGE_MS = const(103)
_STEP_STATE = const(104)
_STEP_SOC_PERMILLE = const(105)
_TREND_SUM = const(106)
_TREND_COUNT = const(107)
_TREND_POINT = const(108)
_TREND_HOUR = const(112)
_TREND_POINTS = const(116)
_ASLEEP = const(4)
_FEATURES_AT = const(145)
_SLOT = const(96)
_COMPLETE = const(144)
_F_INSULATION_OHM_PER_V = const(9)
_F_SOC_JUMP_PERMILLE = const(23)
_F_PACK_STEP_MV = const(24)
_F_INSULATION_H = const(30)
_SIGNALS_AT = const(337)
_PACK_VOLTAGE_MV = const(0)
_PACK_CURRENT_MA = const(1)
_SOC_PERMILLE = const(2)
_INSULATION_OHM = const(3)
_VEHICLE_ON = const(5)
_CONTACTORS = const(7)
_P_SCAN_MS = const(1)
_P_NOMINAL_MV = const(10)
_P_SENT = const(18)
_P_CAPACITY_MAH = const(36)
_P_INSULATION_FLOOR = const(39)
_P_STEP_MV = const(41)

_STEADY_MA = const(4000)  # a current is settled while it stays within this for 2 s
_SETTLED_MS = const(2000)
_SOC_STEP_MS = const(10000)
_SOC_REFERENCES = const(6)
_DRAWN = const(0x3FFFF)  # the charge drawn wraps: only differences count
_STEP_REFRESH_MS = const(30000)
_SWITCHED_MS = const(10000)
_STEP_MOST_MS = const(60000)  # two voltages farther apart say nothing about a step
_SAME_PERMILLE = const(50)
_ACROSS = const(4)  # in STEP_STATE: the reference is from before a sleep
_QUIET = const(2)
_TREND_HOURS = const(6)
_TREND_CAP = const(2000)  # ohm/V; four times level 1: above it insulation only breathes with the weather
_NEVER_H = const(10000)


@micropython.viper
def watch(i: int, v: int, state, params, quiet: int) -> int:
    """Features of the pack's values over time. quiet: what measure_pack returned.

    i, v: 0; viper keeps the first two parameters in registers.
    """
    q = ptr32(state)
    p = ptr32(params)
    scan_ms = p[_P_SCAN_MS]
    current = q[_SIGNALS_AT + _PACK_CURRENT_MA]
    current = (current & _MASK) + (current >> 30 & 1) * _WRAP
    soc = q[_SIGNALS_AT + _SOC_PERMILLE]

    # How long the current has been settled, whatever it is; and the charge drawn, in permille of the capacity.
    if current == _NA:
        q[_STEADY_MS] = 0
        q[_STEADY_LOW_MA] = _NA
    else:
        low = q[_STEADY_LOW_MA]
        low = (low & _MASK) + (low >> 30 & 1) * _WRAP
        high = q[_STEADY_HIGH_MA]
        high = (high & _MASK) + (high >> 30 & 1) * _WRAP
        if current < low:
            low = current
        if current > high:
            high = current
        if high - low < _STEADY_MA:  # never where low was not known
            if q[_STEADY_MS] < _SETTLED_MS:
                q[_STEADY_MS] = q[_STEADY_MS] + scan_ms
        else:
            low = current
            high = current
            q[_STEADY_MS] = 0
        q[_STEADY_LOW_MA] = low
        q[_STEADY_HIGH_MA] = high
        v = q[_CHARGE_REST] + current // 100 * scan_ms
        unit = p[_P_CAPACITY_MAH] * 36  # a permille of it in 100 mA x ms
        while v >= unit:
            v -= unit
            q[_DRAWN_PERMILLE] = (q[_DRAWN_PERMILLE] + 1) & _DRAWN
        while v < 0:
            v += unit
            q[_DRAWN_PERMILLE] = (q[_DRAWN_PERMILLE] - 1) & _DRAWN
        q[_CHARGE_REST] = v

    # Has SOC moved by more than the charge drawn explains?
    jump = _NA
    if current == _NA or soc >> 30 & 1:
        q[_SOC_WAIT_MS] = 0
    else:
        drawn = q[_DRAWN_PERMILLE]
        jump = 0
        if not q[_SOC_WAIT_MS]:
            i = 0
            while i < _SOC_REFERENCES:
                q[_SOC_REFERENCE + i] = drawn << 11 | soc
                i += 1
        else:
            i = 0
            while i < _SOC_REFERENCES:
                # The charge explains a change of up to its own size, in its own direction.
                v = q[_SOC_REFERENCE + i]
                moved = soc - (v & 2047)
                if moved:
                    charged = (v >> 11) - drawn
                    if charged > _DRAWN >> 1:
                        charged -= _DRAWN + 1
                    if charged < -(_DRAWN >> 1):
                        charged += _DRAWN + 1
                    v = moved - (charged if charged > 0 else 0)
                    if v > jump:
                        jump = v
                    v = (charged if charged < 0 else 0) - moved
                    if v > jump:
                        jump = v
                i += 1
            if q[_SOC_WAIT_MS] > _SOC_STEP_MS:
                i = q[_SOC_NEXT] + 1
                if i == _SOC_REFERENCES:
                    i = 0
                q[_SOC_NEXT] = i
                q[_SOC_REFERENCE + i] = drawn << 11 | soc
                q[_SOC_WAIT_MS] = 0
        q[_SOC_WAIT_MS] = q[_SOC_WAIT_MS] + scan_ms
    i = _FEATURES_AT + _F_SOC_JUMP_PERMILLE
    q[i] = jump
    q[i + _SLOT] = _SOC_PERMILLE
    q[i + _COMPLETE] = 1

    # A step of the pack's voltage at rest, with the contactors as they were.
    voltage = q[_SIGNALS_AT + _PACK_VOLTAGE_MV]
    switched = q[_SIGNALS_AT + _CONTACTORS]
    if not p[_P_SENT] >> _CONTACTORS & 1:
        switched = q[_SIGNALS_AT + _VEHICLE_ON]
    switched = 2 if switched >> 30 & 1 else switched  # 2: not known
    age_ms = q[_STEP_AGE_MS]
    step = _NA
    reference = q[_STEP_MV]
    if current != _NA and not quiet:
        q[_STEP_MV] = _NA
    elif quiet and not voltage >> 30 & 1:
        step = 0
        renew = 0
        if (q[_STEP_STATE] ^ switched) & 3:
            q[_STEP_MV] = _NA
            q[_STEP_STATE] = switched
            age_ms = 0
        elif reference >> 30 & 1:
            # What hangs on the contactors takes its time to follow them, and behind open ones it is not the pack's.
            if voltage * 2 < p[_P_NOMINAL_MV]:
                age_ms = 0
            elif age_ms >= _SWITCHED_MS and quiet == _QUIET:
                renew = 1
        elif age_ms > _STEP_MOST_MS:
            renew = 1
        else:
            step = voltage - reference
            if q[_STEP_STATE] & _ACROSS:
                if step > 0:
                    step = 0  # resting, a pack may well have recovered
                # It may have been used unseen: only a pack that has as much charge as before has lost voltage.
                v = q[_STEP_SOC_PERMILLE]
                if soc >> 30 & 1 or v >> 30 & 1 or soc - v >= _SAME_PERMILLE or v - soc >= _SAME_PERMILLE:
                    step = 0
            if step < 0:
                step = -step
            if step * 40 < reference:
                step = 0
            if step < p[_P_STEP_MV] and not q[_WAKING_MS]:
                if age_ms >= _STEP_REFRESH_MS or q[_STEP_STATE] & _ACROSS:
                    renew = 1
        if renew:
            q[_STEP_MV] = voltage
            q[_STEP_STATE] = switched
            q[_STEP_SOC_PERMILLE] = soc
            age_ms = 0
    if age_ms <= _STEP_MOST_MS and q[_MODE] != _ASLEEP:
        age_ms += scan_ms
    q[_STEP_AGE_MS] = age_ms
    i = _FEATURES_AT + _F_PACK_STEP_MV
    q[i] = step
    q[i + _SLOT] = _PACK_VOLTAGE_MV
    q[i + _COMPLETE] = 1

    # The insulation's trend: a mean reading every six hours of the clock, each lower than the one before.
    v = q[_FEATURES_AT + _F_INSULATION_OHM_PER_V]
    if not v >> 30 & 1 and q[_HOUR_MS] % 1000 < scan_ms:
        q[_TREND_SUM] = q[_TREND_SUM] + (v if v < _TREND_CAP else _TREND_CAP)
        q[_TREND_COUNT] = q[_TREND_COUNT] + 1
        if q[_HOURS] - q[_TREND_HOUR] >= _TREND_HOURS:
            i = 3
            while i:
                q[_TREND_POINT + i] = q[_TREND_POINT + i - 1]
                q[_TREND_HOUR + i] = q[_TREND_HOUR + i - 1]
                i -= 1
            q[_TREND_POINT] = q[_TREND_SUM] // q[_TREND_COUNT]
            q[_TREND_HOUR] = q[_HOURS]
            q[_TREND_SUM] = 0
            q[_TREND_COUNT] = 0
            if q[_TREND_POINTS] < 4:
                q[_TREND_POINTS] = q[_TREND_POINTS] + 1
            if q[_TREND_POINTS] == 4:
                v = _NEVER_H
                fell = q[_TREND_POINT + 3] - q[_TREND_POINT]
                steadily = q[_TREND_POINT] < q[_TREND_POINT + 1] < q[_TREND_POINT + 2] < q[_TREND_POINT + 3]
                if steadily:
                    v = q[_TREND_HOUR] - q[_TREND_HOUR + 3]
                    if v > _NEVER_H:
                        v = _NEVER_H
                    left = q[_TREND_POINT] - p[_P_INSULATION_FLOOR]
                    if left < 0:
                        left = 0
                    v = left * v // fell
                q[_FEATURES_AT + _F_INSULATION_H] = v
                q[_FEATURES_AT + _F_INSULATION_H + _SLOT] = _INSULATION_OHM
    return 0
