"""Features: what a scan computes from the valid signals. An invalid value leaves a calculation only counted.

Every number is two's complement on every engine, but a load in viper code on a 64-bit machine is not sign-extended. So
where one may be negative, "a < b" is written  (a - b) >> 30 & 1 , which reads the sign of a difference whatever stands
above it, and a number that is computed with is read as  (v & _MASK) + (v >> 30 & 1) * _WRAP.
"""

import micropython
from micropython import const

_NA = const(-0x20000000)
_WRAP = const(-0x3FFFFFFF - 1)
_MASK = const(0x3FFFFFFF)
_QUIET_MS = const(19)
_QUIET_LOW_MA = const(20)
_QUIET_HIGH_MA = const(21)
_CELLS_SEEN = const(22)
_REST_MS = const(31)
_REST_SET = const(70)
_CELLS_MISSING = const(139)
_FEATURES_AT = const(145)
_WHERE = const(48)
_SLOT = const(96)
_COMPLETE = const(144)
_F_CELL_MAX_MV = const(0)
_F_PACK_VOLTAGE_MV = const(6)
_F_DISCHARGE_PERMILLE = const(7)
_F_INSULATION_OHM_PER_V = const(9)
_F_SOC_PERMILLE = const(10)
_F_OVERCHARGE = const(11)
_F_HVIL_OPEN = const(12)
_F_BMS_LEVEL = const(13)
_F_CHARGING = const(14)
_F_CONTACTORS = const(15)
_F_VEHICLE_ON = const(16)
_F_CELLS_VALID = const(18)
_F_CELLS_ABSENT = const(38)
_F_CELLS_DEAD = const(46)
_SIGNALS_AT = const(337)
_PACK_VOLTAGE_MV = const(0)
_PACK_CURRENT_MA = const(1)
_SOC_PERMILLE = const(2)
_INSULATION_OHM = const(3)
_INSULATION_VALID = const(4)
_VEHICLE_ON = const(5)
_CHARGING = const(6)
_CONTACTORS = const(7)
_HVIL_OK = const(8)
_BMS_LEVEL = const(9)
_MAX_DISCHARGE_MA = const(10)
_CELL_MAX_MV = const(12)
_BMS_FLAG_9 = const(16)
_BMS_FLAG_17 = const(21)
_SCALARS = const(25)
_GROUP_SIZE = const(3)
_SEEN = const(24)
_EVER = const(25)
_P_SCAN_MS = const(1)
_P_CELLS = const(4)
_P_NOMINAL_MV = const(10)
_P_CALM_MA = const(11)
_P_CALM_STEP_MA = const(12)
_P_CALM_MS = const(13)
_P_MAX_DISCHARGE_MA = const(15)
_P_LIMIT_FLOOR_MA = const(17)
_P_SENT = const(18)
_P_OVERCHARGE_MV = const(19)
_P_OVERCHARGE_PERMILLE = const(20)
_P_INFLOW_MA = const(21)
_P_MEMORY_AT = const(22)
_P_GROUPS_AT = const(23)
_P_OWNERS_AT = const(28)

_FAR = const(0x10000000)  # no two values of one kind are so far apart
_CLASS_B_MV = const(60000)  # GB 18384: under 60 V DC a circuit is not class B, and a quotient by it says nothing
_REST_MOST_MS = const(60000)


@micropython.viper
def measure_pack(q: ptr32, p: ptr32) -> int:
    """Everything that is one value for the whole pack, and how quiet its current is.

    Returns 2 where the current has been small and steady for P_CALM_MS, 1 where it is but not yet for so long, else 0.
    """
    voltage = q[_SIGNALS_AT + _PACK_VOLTAGE_MV]
    current = q[_SIGNALS_AT + _PACK_CURRENT_MA]
    current = (current & _MASK) + (current >> 30 & 1) * _WRAP
    soc = q[_SIGNALS_AT + _SOC_PERMILLE]
    sent = p[_P_SENT]

    q[_FEATURES_AT + _F_PACK_VOLTAGE_MV] = voltage
    q[_FEATURES_AT + _F_PACK_VOLTAGE_MV + _SLOT] = _PACK_VOLTAGE_MV
    q[_FEATURES_AT + _F_PACK_VOLTAGE_MV + _COMPLETE] = 1

    # The limit in force is the lower of the profile's and the BMS's own. While the BMS's is missing only that is known
    # which holds for every limit it may have: a current over the profile's, or one that flows the other way.
    flow = current
    for side in range(2):
        limit = p[_P_MAX_DISCHARGE_MA + side]
        certain = limit
        missing = 0
        if sent >> _MAX_DISCHARGE_MA + side & 1:
            own = q[_SIGNALS_AT + _MAX_DISCHARGE_MA + side]
            if own >> 30 & 1:
                missing = 1
            elif limit == 0:
                limit = own
            elif own < limit:
                limit = own
        if limit < p[_P_LIMIT_FLOOR_MA]:
            limit = p[_P_LIMIT_FLOOR_MA]
        at = _FEATURES_AT + _F_DISCHARGE_PERMILLE + side
        q[at] = _NA
        if current != _NA:
            if flow <= 0:
                q[at] = 0
            elif missing == 0 or (certain and flow > limit):
                q[at] = flow * 100 // (limit // 10)
        q[at + _SLOT] = _PACK_CURRENT_MA
        q[at + _COMPLETE] = 1
        flow = -current

    ohm = q[_SIGNALS_AT + _INSULATION_OHM]
    quotient = _NA
    if not ohm >> 30 & 1 and (sent >> _INSULATION_VALID & 1 == 0 or q[_SIGNALS_AT + _INSULATION_VALID] == 1):
        by = voltage
        if (by - _CLASS_B_MV) >> 30 & 1:  # or not known
            by = p[_P_NOMINAL_MV]
        quotient = ohm * 10 // (by // 100)
    q[_FEATURES_AT + _F_INSULATION_OHM_PER_V] = quotient
    q[_FEATURES_AT + _F_INSULATION_OHM_PER_V + _SLOT] = _INSULATION_OHM
    q[_FEATURES_AT + _F_INSULATION_OHM_PER_V + _COMPLETE] = 1

    q[_FEATURES_AT + _F_SOC_PERMILLE] = soc
    q[_FEATURES_AT + _F_SOC_PERMILLE + _SLOT] = _SOC_PERMILLE
    q[_FEATURES_AT + _F_SOC_PERMILLE + _COMPLETE] = 1

    closed = q[_SIGNALS_AT + _HVIL_OK]
    q[_FEATURES_AT + _F_HVIL_OPEN] = _NA if closed >> 30 & 1 else 1 - closed
    q[_FEATURES_AT + _F_HVIL_OPEN + _SLOT] = _HVIL_OK
    q[_FEATURES_AT + _F_HVIL_OPEN + _COMPLETE] = 1

    # The BMS's own finding: the level it sends, at least 1 while one of its mapped flags is set.
    level = q[_SIGNALS_AT + _BMS_LEVEL]
    slot = _BMS_LEVEL
    level_sent = sent >> _BMS_LEVEL & 1
    if level >> 30 & 1:
        level = _NA
    complete = 0 if level_sent and level == _NA else 1
    if sent >> _BMS_FLAG_9:
        i = _BMS_FLAG_9
        while i <= _BMS_FLAG_17:
            flag = q[_SIGNALS_AT + i]
            if flag == 1:
                if level < 1:
                    level = 1
                    slot = i
            elif flag == 0:
                if level == _NA and not level_sent:
                    level = 0
                    slot = i
            elif sent >> i & 1:
                complete = 0
            i += 1
    q[_FEATURES_AT + _F_BMS_LEVEL] = level
    q[_FEATURES_AT + _F_BMS_LEVEL + _SLOT] = slot
    q[_FEATURES_AT + _F_BMS_LEVEL + _COMPLETE] = complete

    q[_FEATURES_AT + _F_CHARGING] = q[_SIGNALS_AT + _CHARGING]
    q[_FEATURES_AT + _F_CONTACTORS] = q[_SIGNALS_AT + _CONTACTORS]
    q[_FEATURES_AT + _F_VEHICLE_ON] = q[_SIGNALS_AT + _VEHICLE_ON]

    if current == _NA or current > p[_P_CALM_MA] or current < -p[_P_CALM_MA]:
        q[_QUIET_MS] = 0
        q[_QUIET_LOW_MA] = _NA
        if current != _NA:
            q[_REST_MS] = 0
            q[_REST_SET] = 0
        return 0
    if q[_REST_MS] < _REST_MOST_MS:
        q[_REST_MS] = q[_REST_MS] + p[_P_SCAN_MS]
    low = q[_QUIET_LOW_MA]
    low = (low & _MASK) + (low >> 30 & 1) * _WRAP
    high = q[_QUIET_HIGH_MA]
    high = (high & _MASK) + (high >> 30 & 1) * _WRAP
    if current < low:
        low = current
    if current > high:
        high = current
    if high - low >= p[_P_CALM_STEP_MA]:  # as where low was not known
        q[_QUIET_MS] = 0
        q[_QUIET_LOW_MA] = current
        q[_QUIET_HIGH_MA] = current
        return 1
    q[_QUIET_LOW_MA] = low
    q[_QUIET_HIGH_MA] = high
    quiet_ms = q[_QUIET_MS] + p[_P_SCAN_MS]
    if quiet_ms >= p[_P_CALM_MS]:
        q[_QUIET_MS] = p[_P_CALM_MS]
        return 2
    q[_QUIET_MS] = quiet_ms
    return 1


@micropython.viper
def measure_arrays(i: int, v: int, state, params) -> int:
    """Extremes, spread and counts of the cells (mV), then of the probes (0.1 degC), or of what is sent in their place.

    Returns the number that has never been valid since the start or the last sleep. i, v: 0; viper keeps the first two
    parameters in registers.
    """
    q = ptr32(state)
    p = ptr32(params)
    absent = 0
    start = _SIGNALS_AT + _SCALARS
    marks = p[_P_MEMORY_AT]
    for side in range(2):
        n = p[_P_CELLS + side]
        end = start + n
        i = start
        while i < end and (q[i] - _NA) & _MASK == 0:
            i += 1
        span = 0  # highest - lowest
        total = 0
        gone = n
        low = 0
        low_at = i
        high_at = i
        if i < end:
            gone = i - start
            low = q[i]
        while i ^ end:
            v = q[i]
            if (v - low) & _MASK > span:  # higher than the highest, lower than the lowest, or NA
                over = (v - low) & _MASK
                if over < _FAR:
                    span = over
                    high_at = i
                elif (v - _NA) & _MASK:
                    span = (span + low - v) & _MASK
                    low = v
                    low_at = i
                else:
                    gone += 1
                    i += 1
                    continue
            total += v
            i += 1

        lost = 0
        dead = 0
        dead_at = start
        seen = q[_CELLS_SEEN + side]
        if gone or seen < n:
            fresh_absent = 0
            missing = 0
            i = start
            v = marks
            while i ^ end:
                mark = q[v]
                if (q[i] - _NA) & _MASK:
                    if not mark >> _SEEN & 1:
                        q[v] = mark | 1 << _SEEN
                        seen += 1
                else:
                    # In a message that still comes, no value is a finding about the cell or probe.
                    fresh = q[p[_P_GROUPS_AT] + p[p[_P_OWNERS_AT] + i - _SIGNALS_AT] * _GROUP_SIZE] & 1
                    if mark >> _SEEN & 1:
                        lost += 1
                        if fresh:
                            if not dead:
                                dead_at = i
                            dead += 1
                    else:
                        fresh_absent += fresh
                    if mark >> _EVER & 1:
                        missing += fresh
                i += 1
                v += 1
            q[_CELLS_SEEN + side] = seen
            if not side:
                q[_FEATURES_AT + _F_CELLS_ABSENT] = fresh_absent
                q[_CELLS_MISSING] = missing
        elif not side:
            q[_FEATURES_AT + _F_CELLS_ABSENT] = 0
            q[_CELLS_MISSING] = 0
        i = _FEATURES_AT + _F_CELLS_DEAD + side
        q[i] = dead
        q[i + _WHERE] = dead_at - start + 1
        q[i + _SLOT] = dead_at - _SIGNALS_AT

        gone = n - gone
        high = low + span
        spread = span
        # The spread is at the one that is farther from the mean of all.
        spread_at = high_at if (total + total - gone * (high + low)) >> 30 & 1 else low_at
        if gone < 2:
            spread = _NA
            if gone == 0:
                low = _NA
                high = _NA
                low_at = start
                high_at = start
                spread_at = start
        if n == 0:  # a vehicle that sends only the highest and the lowest
            high_at = _SIGNALS_AT + _CELL_MAX_MV + 2 * side
            low_at = high_at + 1
            spread_at = high_at
            high = q[high_at]
            low = q[low_at]
            if (high - _NA) & _MASK and (low - _NA) & _MASK:
                spread = high - low
        i = _FEATURES_AT + _F_CELL_MAX_MV + 3 * side
        q[i] = high
        q[i + 1] = low
        q[i + 2] = spread
        v = 0 if lost else 1
        q[i + _COMPLETE] = v
        q[i + _COMPLETE + 1] = v
        q[i + _COMPLETE + 2] = v
        q[i + _SLOT] = high_at - _SIGNALS_AT
        q[i + _SLOT + 1] = low_at - _SIGNALS_AT
        q[i + _SLOT + 2] = spread_at - _SIGNALS_AT
        if n:
            q[i + _WHERE] = high_at - start + 1
            q[i + _WHERE + 1] = low_at - start + 1
            q[i + _WHERE + 2] = spread_at - start + 1
        i = _FEATURES_AT + _F_CELLS_VALID + 2 * side
        q[i] = gone
        q[i + 1] = lost
        absent += n - seen
        marks += n
        start = end

    # Charge that still flows in when full: the one value of the pack that needs the cells' extremes.
    sent = p[_P_SENT]
    current = q[_SIGNALS_AT + _PACK_CURRENT_MA]
    current = (current & _MASK) + (current >> 30 & 1) * _WRAP
    soc = q[_SIGNALS_AT + _SOC_PERMILLE]
    top = q[_FEATURES_AT + _F_CELL_MAX_MV]
    over = _NA
    if current != _NA:
        if current > -p[_P_INFLOW_MA]:
            over = 0
        elif not (top - p[_P_OVERCHARGE_MV]) >> 30 & 1 or (p[_P_OVERCHARGE_PERMILLE] - soc) >> 30 & 1:
            over = 1
        elif q[_FEATURES_AT + _F_CELL_MAX_MV + _COMPLETE]:
            # Not full, as far as all that is sent is there to say so.
            cells_said = top >> 30 & 1 == 0 or (p[_P_CELLS] == 0 and sent >> _CELL_MAX_MV & 1 == 0)
            soc_said = soc >> 30 & 1 == 0 or sent >> _SOC_PERMILLE & 1 == 0
            if cells_said and soc_said:
                over = 0
    q[_FEATURES_AT + _F_OVERCHARGE] = over
    q[_FEATURES_AT + _F_OVERCHARGE + _SLOT] = _PACK_CURRENT_MA
    q[_FEATURES_AT + _F_OVERCHARGE + _COMPLETE] = 1
    return absent
