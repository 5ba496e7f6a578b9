"""Features: what a scan computes from the valid signals. An invalid value leaves a calculation only counted."""

import micropython
from micropython import const

_MASK = const(0x3FFFFFFF)
_NA = const(-0x3FFFFFFF - 1)
_HIGH = const(0x10000)  # above every cell voltage in mV

_QUIET_MS = const(19)
_QUIET_LOW_MA = const(20)
_QUIET_HIGH_MA = const(21)

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
_PROBE_MAX_DDEGC = const(14)
_BMS_FLAG_9 = const(16)
_SCALARS = const(22)

_SEEN = const(0)
_PREVIOUS = const(1)
_MEMORY_SIZE = const(2)

_VALUE = const(0)
_WHERE = const(1)
_SLOT = const(2)
_COMPLETE = const(3)
_FEATURE_SIZE = const(4)
_F_CELL_MAX_MV = const(0)
_F_CELL_MIN_MV = const(1)
_F_CELL_SPREAD_MV = const(2)
_F_PROBE_MAX_DDEGC = const(3)
_F_PROBE_MIN_DDEGC = const(4)
_F_PROBE_SPREAD_DDEGC = const(5)
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
_F_CALM = const(17)
_F_CELLS_VALID = const(18)
_F_CELLS_LOST = const(19)
_F_PROBES_VALID = const(20)
_F_PROBES_LOST = const(21)

_P_SCAN_MS = const(1)
_P_CELLS = const(4)
_P_PROBES = const(5)
_P_NOMINAL_MV = const(10)
_P_CALM_MA = const(11)
_P_CALM_STEP_MA = const(12)
_P_CALM_MS = const(13)
_P_CALM_MAD_MV = const(14)
_P_MAX_DISCHARGE_MA = const(15)
_P_LIMIT_FLOOR_MA = const(17)
_P_SENT = const(18)
_P_OVERCHARGE_MV = const(19)
_P_OVERCHARGE_PERMILLE = const(20)
_P_INFLOW_MA = const(21)

_CLASS_B_MV = const(60000)  # GB 18384: under 60 V DC a circuit is not class B, and a quotient by it says nothing
_BINS = const(64)
_MIDDLE = const(32)

# Two's complement on every engine: a ptr32 load in viper code on a 64-bit machine is not sign-extended, so a value that
# may be negative is read as  (v & _MASK) + (v >> 30 & 1) * _NA.


@micropython.viper
def measure_cells(header, signals, memory, features, scratch, quiet: int) -> int:
    """Extremes and spread of the cells (mV). Returns the number of cells that were never valid.

    Where `quiet` is set it also says whether the cells' own steps since the last scan agree: F_CALM becomes 1 when the
    median absolute deviation of the steps is under P_CALM_MAD_MV.
    """
    p = ptr32(header)
    s = ptr32(signals)
    m = ptr32(memory)
    f = ptr32(features)
    bins = ptr32(scratch)
    n = p[_P_CELLS]
    high = 0
    high_at = 0
    low = _HIGH
    low_at = 0
    total = 0
    valid = 0
    lost = 0
    steps = 0
    if quiet:
        for i in range(_BINS):
            bins[i] = 0
    row = 0
    for i in range(n):
        v = s[_SCALARS + i]
        if 0 < v < _HIGH:
            valid += 1
            total += v
            if v > high:
                high = v
                high_at = i
            if v < low:
                low = v
                low_at = i
            if quiet:
                before = m[row + _PREVIOUS]
                if before:
                    step = v - before + _MIDDLE
                    if step < 0:
                        step = 0
                    if step >= _BINS:
                        step = _BINS - 1
                    bins[step] += 1
                    steps += 1
            m[row + _SEEN] = 1
            m[row + _PREVIOUS] = v
        else:
            m[row + _PREVIOUS] = 0
            if m[row + _SEEN]:
                lost += 1
        row += _MEMORY_SIZE

    complete = 0 if lost else 1
    spread_at = low_at
    if valid * high - total > total - valid * low:
        spread_at = high_at
    if valid == 0:
        high = _NA
        low = _NA
    at = _F_CELL_MAX_MV * _FEATURE_SIZE
    f[at + _VALUE] = high
    f[at + _WHERE] = high_at + 1
    f[at + _SLOT] = _SCALARS + high_at
    f[at + _COMPLETE] = complete
    at = _F_CELL_MIN_MV * _FEATURE_SIZE
    f[at + _VALUE] = low
    f[at + _WHERE] = low_at + 1
    f[at + _SLOT] = _SCALARS + low_at
    f[at + _COMPLETE] = complete
    at = _F_CELL_SPREAD_MV * _FEATURE_SIZE
    f[at + _VALUE] = high - low if valid > 1 else _NA
    f[at + _WHERE] = spread_at + 1
    f[at + _SLOT] = _SCALARS + spread_at
    f[at + _COMPLETE] = complete
    f[_F_CELLS_VALID * _FEATURE_SIZE] = valid
    f[_F_CELLS_LOST * _FEATURE_SIZE] = lost

    calm = quiet
    if quiet and n:
        # Lower median of the steps, then the count of steps nearer to it than the limit: the median absolute deviation
        # is under the limit exactly when these are more than half.
        half = (steps + 1) // 2
        median = 0
        count = bins[0]
        while count < half:
            median += 1
            count += bins[median]
        first = median - p[_P_CALM_MAD_MV] + 1
        last = median + p[_P_CALM_MAD_MV] - 1
        if first < 0:
            first = 0
        if last >= _BINS:
            last = _BINS - 1
        count = 0
        for i in range(first, last + 1):
            count += bins[i]
        # A median in the outermost bin is a step too large to be told from others: not calm.
        calm = 1 if count * 2 > steps and 0 < median < _BINS - 1 else 0
    f[_F_CALM * _FEATURE_SIZE] = calm
    return n - valid - lost


@micropython.viper
def measure_probes(header, signals, memory, features) -> int:
    """Extremes and spread of the probes (0.1 degC). Returns the number of probes that were never valid."""
    p = ptr32(header)
    s = ptr32(signals)
    m = ptr32(memory)
    f = ptr32(features)
    n = p[_P_PROBES]
    base = _SCALARS + p[_P_CELLS]
    high = _NA
    high_at = 0
    low = _MASK
    low_at = 0
    total = 0
    valid = 0
    lost = 0
    row = p[_P_CELLS] * _MEMORY_SIZE
    for i in range(n):
        v = s[base + i]
        v = (v & _MASK) + (v >> 30 & 1) * _NA
        if v != _NA:
            valid += 1
            total += v
            if v > high:
                high = v
                high_at = i
            if v < low:
                low = v
                low_at = i
            m[row + _SEEN] = 1
        elif m[row + _SEEN]:
            lost += 1
        row += _MEMORY_SIZE

    complete = 0 if lost else 1
    spread = _NA
    spread_at = low_at
    if valid > 1:
        spread = high - low
        if valid * high - total > total - valid * low:
            spread_at = high_at
    if valid == 0:
        low = _NA
    at = _F_PROBE_MAX_DDEGC * _FEATURE_SIZE
    f[at + _VALUE] = high
    f[at + _WHERE] = high_at + 1
    f[at + _SLOT] = base + high_at
    f[at + _COMPLETE] = complete
    at = _F_PROBE_MIN_DDEGC * _FEATURE_SIZE
    f[at + _VALUE] = low
    f[at + _WHERE] = low_at + 1
    f[at + _SLOT] = base + low_at
    f[at + _COMPLETE] = complete
    at = _F_PROBE_SPREAD_DDEGC * _FEATURE_SIZE
    f[at + _VALUE] = spread
    f[at + _WHERE] = spread_at + 1
    f[at + _SLOT] = base + spread_at
    f[at + _COMPLETE] = complete
    f[_F_PROBES_VALID * _FEATURE_SIZE] = valid
    f[_F_PROBES_LOST * _FEATURE_SIZE] = lost
    return n - valid - lost


@micropython.viper
def measure_extremes(signals, features, first: int, slot: int) -> int:
    """For a vehicle that sends only the highest and the lowest: features `first`, +1, +2 from signals `slot`, +1."""
    s = ptr32(signals)
    f = ptr32(features)
    high = s[slot]
    high = (high & _MASK) + (high >> 30 & 1) * _NA
    low = s[slot + 1]
    low = (low & _MASK) + (low >> 30 & 1) * _NA
    at = first * _FEATURE_SIZE
    f[at + _VALUE] = high
    f[at + _SLOT] = slot
    f[at + _COMPLETE] = 1
    at += _FEATURE_SIZE
    f[at + _VALUE] = low
    f[at + _SLOT] = slot + 1
    f[at + _COMPLETE] = 1
    at += _FEATURE_SIZE
    f[at + _VALUE] = high - low if high != _NA and low != _NA else _NA
    f[at + _SLOT] = slot
    f[at + _COMPLETE] = 1
    return 0


@micropython.viper
def measure_pack(header, signals, features) -> int:
    """Everything that is one value for the whole pack. Reads the cells' extremes, so it comes after them."""
    p = ptr32(header)
    s = ptr32(signals)
    f = ptr32(features)
    voltage = s[_PACK_VOLTAGE_MV]
    voltage = (voltage & _MASK) + (voltage >> 30 & 1) * _NA
    current = s[_PACK_CURRENT_MA]
    current = (current & _MASK) + (current >> 30 & 1) * _NA
    soc = s[_SOC_PERMILLE]
    soc = (soc & _MASK) + (soc >> 30 & 1) * _NA
    sent = p[_P_SENT]

    at = _F_PACK_VOLTAGE_MV * _FEATURE_SIZE
    f[at + _VALUE] = voltage
    f[at + _SLOT] = _PACK_VOLTAGE_MV
    f[at + _COMPLETE] = 1

    # The limit in force is the lower of the profile's and the BMS's own. While the BMS's is missing only that is known
    # which holds for every limit it may have: a current over the profile's, or one that flows the other way.
    for side in range(2):
        limit = p[_P_MAX_DISCHARGE_MA + side]
        certain = limit > 0
        missing = False
        if sent >> _MAX_DISCHARGE_MA + side & 1:
            own = s[_MAX_DISCHARGE_MA + side]
            own = (own & _MASK) + (own >> 30 & 1) * _NA
            if own == _NA:
                missing = True
            elif limit == 0 or own < limit:
                limit = own
        if limit < p[_P_LIMIT_FLOOR_MA]:
            limit = p[_P_LIMIT_FLOOR_MA]
        at = (_F_DISCHARGE_PERMILLE + side) * _FEATURE_SIZE
        f[at + _VALUE] = _NA
        if current != _NA:
            flow = current if side == 0 else -current
            if flow <= 0:
                f[at + _VALUE] = 0
            elif not missing or (certain and flow > limit):
                f[at + _VALUE] = flow * 100 // (limit // 10)
        f[at + _SLOT] = _PACK_CURRENT_MA
        f[at + _COMPLETE] = 1

    at = _F_INSULATION_OHM_PER_V * _FEATURE_SIZE
    ohm = s[_INSULATION_OHM]
    ohm = (ohm & _MASK) + (ohm >> 30 & 1) * _NA
    f[at + _VALUE] = _NA
    if ohm != _NA and (sent >> _INSULATION_VALID & 1 == 0 or s[_INSULATION_VALID] == 1):
        by = voltage
        if by < _CLASS_B_MV:
            by = p[_P_NOMINAL_MV]
        f[at + _VALUE] = ohm * 10 // (by // 100)
    f[at + _SLOT] = _INSULATION_OHM
    f[at + _COMPLETE] = 1

    at = _F_SOC_PERMILLE * _FEATURE_SIZE
    f[at + _VALUE] = soc
    f[at + _SLOT] = _SOC_PERMILLE
    f[at + _COMPLETE] = 1

    at = _F_OVERCHARGE * _FEATURE_SIZE
    top = f[_F_CELL_MAX_MV * _FEATURE_SIZE + _VALUE]
    top = (top & _MASK) + (top >> 30 & 1) * _NA
    full = top >= p[_P_OVERCHARGE_MV] or soc > p[_P_OVERCHARGE_PERMILLE]
    f[at + _VALUE] = _NA
    if current != _NA:
        if current > -p[_P_INFLOW_MA]:
            f[at + _VALUE] = 0
        elif full:
            f[at + _VALUE] = 1
        elif f[_F_CELL_MAX_MV * _FEATURE_SIZE + _COMPLETE]:
            # Not full, as far as all that is sent is there to say so.
            cells_said = top != _NA or (p[_P_CELLS] == 0 and sent >> _CELL_MAX_MV & 1 == 0)
            soc_said = soc != _NA or sent >> _SOC_PERMILLE & 1 == 0
            if cells_said and soc_said:
                f[at + _VALUE] = 0
    f[at + _SLOT] = _PACK_CURRENT_MA
    f[at + _COMPLETE] = 1

    at = _F_HVIL_OPEN * _FEATURE_SIZE
    closed = s[_HVIL_OK]
    f[at + _VALUE] = 1 - closed if 0 <= closed <= 1 else _NA
    f[at + _SLOT] = _HVIL_OK
    f[at + _COMPLETE] = 1

    # The BMS's own finding: the level it sends, at least 1 while one of its mapped flags is set.
    at = _F_BMS_LEVEL * _FEATURE_SIZE
    level = s[_BMS_LEVEL]
    level = (level & _MASK) + (level >> 30 & 1) * _NA
    slot = _BMS_LEVEL
    level_sent = sent >> _BMS_LEVEL & 1
    complete = 0 if level_sent and level == _NA else 1
    for i in range(_BMS_FLAG_9, _SCALARS):
        flag = s[i]
        if flag == 1 and level < 1:
            level = 1
            slot = i
        elif flag == 0 and level == _NA and not level_sent:
            level = 0
            slot = i
        if sent >> i & 1 and flag != 0 and flag != 1:
            complete = 0
    f[at + _VALUE] = level
    f[at + _SLOT] = slot
    f[at + _COMPLETE] = complete

    f[_F_CHARGING * _FEATURE_SIZE] = s[_CHARGING]
    f[_F_CONTACTORS * _FEATURE_SIZE] = s[_CONTACTORS]
    f[_F_VEHICLE_ON * _FEATURE_SIZE] = s[_VEHICLE_ON]
    return 0


@micropython.viper
def quiet_current(clock, header, signals) -> int:
    """1 where the current has been small and steady for P_CALM_MS."""
    c = ptr32(clock)
    p = ptr32(header)
    v = ptr32(signals)[_PACK_CURRENT_MA]
    v = (v & _MASK) + (v >> 30 & 1) * _NA
    if v == _NA or v > p[_P_CALM_MA] or v < -p[_P_CALM_MA]:
        c[_QUIET_MS] = 0
        c[_QUIET_LOW_MA] = _NA
        return 0
    low = c[_QUIET_LOW_MA]
    low = (low & _MASK) + (low >> 30 & 1) * _NA
    high = c[_QUIET_HIGH_MA]
    high = (high & _MASK) + (high >> 30 & 1) * _NA
    known = low != _NA
    if v < low:
        low = v
    if v > high:
        high = v
    if not known or high - low >= p[_P_CALM_STEP_MA]:
        c[_QUIET_MS] = 0
        c[_QUIET_LOW_MA] = v
        c[_QUIET_HIGH_MA] = v
        return 0
    c[_QUIET_LOW_MA] = low
    c[_QUIET_HIGH_MA] = high
    quiet_ms = c[_QUIET_MS] + p[_P_SCAN_MS]
    if quiet_ms >= p[_P_CALM_MS]:
        c[_QUIET_MS] = p[_P_CALM_MS]
        return 1
    c[_QUIET_MS] = quiet_ms
    return 0


@micropython.viper
def measure(clock, header, signals, memory, features, scratch) -> int:
    """All features of one scan. Returns the number of cells and probes that have never been valid."""
    p = ptr32(header)
    quiet = int(quiet_current(clock, header, signals))
    absent = int(measure_cells(header, signals, memory, features, scratch, quiet))
    absent += int(measure_probes(header, signals, memory, features))
    if p[_P_CELLS] == 0:
        measure_extremes(signals, features, _F_CELL_MAX_MV, _CELL_MAX_MV)
    if p[_P_PROBES] == 0:
        measure_extremes(signals, features, _F_PROBE_MAX_DDEGC, _PROBE_MAX_DDEGC)
    measure_pack(header, signals, features)
    return absent
