"""What single cells do against the others: samples of all cells, their median, and what each has done since.

A sample is taken when a second has passed and every message with cells has come again, so 100 ms, 1 Hz and 30 s data
mean the same. A cell's deviation is its voltage minus the sample's median. The analysis of a sample is spread over the
scans that follow (P_SLICE cells each), so that no scan carries it alone.

Numbers are read and compared as in measure.py; how a cell's memories are packed stands in layout.py, "memory".
"""

import micropython
from micropython import const

_NA = const(-0x20000000)
_WRAP = const(-0x3FFFFFFF - 1)
_MASK = const(0x3FFFFFFF)
_ASLEEP_SCANS = const(28)
_WAKING_MS = const(30)
_REST_MS = const(31)
_STEADY_MS = const(32)
_HOURS = const(36)
_CELLS_AGE_MS = const(38)
_PHASE = const(39)
_NEXT_CELL = const(40)
_KIND = const(41)
_SAMPLE_S = const(42)
_AGREE = const(43)
_MEDIAN_MV = const(44)
_REFERENCE_MV = const(45)
_REFERENCE_BEFORE_MV = const(46)
_REFERENCE_AGE_MS = const(47)
_FROZEN_S = const(48)
_FROZEN_LOW_MA = const(49)
_FROZEN_HIGH_MA = const(50)
_BIAS_SUM_MV = const(51)
_BIAS_SAMPLES = const(52)
_BUCKET = const(53)
_ROTATE = const(54)
_CALM_BEFORE = const(55)
_LAST_PACK_MV = const(56)
_LAST_HOT_DDEGC = const(57)
_LAST_COLD_DDEGC = const(58)
_DRIFT_WAIT_MS = const(59)
_DRIFT_SAMPLES = const(60)
_DRIFT_BATCHES = const(61)
_DRIFT_FIT = const(62)
_DRIFT_NORM = const(63)
_PAIR_MA = const(64)
_PAIR_MV = const(65)
_PAIR_AGE_MS = const(66)
_PAIR_STEP_DA = const(67)
_PAIRS = const(68)
_OWN_UOHM = const(69)
_REST_SET = const(70)
_REST_DUE = const(71)
_MOST_SHORTS = const(72)
_MOST_SHORTS_AT = const(73)
_NEXT_SHORTS = const(74)
_MOST_DRIFT = const(75)
_MOST_DRIFT_AT = const(76)
_MOST_CONTACT_UOHM = const(77)
_MOST_CONTACT_AT = const(78)
_MOST_FALL_MV = const(79)
_MOST_FALL_AT = const(80)
_NEXT_FALL_MV = const(81)
_MOST_SENSE_MV = const(82)
_MOST_SENSE_AT = const(83)
_PAIR_PACK_MV = const(140)
_NEXT_CONTACT_UOHM = const(141)
_SUM_AWAY_PERMILLE = const(143)
_LEAST_STEP_MV = const(144)
_PHASE_DONE = const(0)
_PHASE_MEDIAN = const(1)
_PHASE_CELLS = const(2)
_KIND_CALM = const(1)
_KIND_FIRST = const(2)
_KIND_ADD = const(4)
_KIND_END = const(8)
_KIND_PAIR = const(16)
_KIND_SETTLED = const(32)
_KIND_KEEP = const(64)
_KIND_COMPARE = const(128)
_FEATURES_AT = const(145)
_WHERE = const(48)
_SLOT = const(96)
_F_CELL_MAX_MV = const(0)
_F_CELL_MIN_MV = const(1)
_F_PROBE_MAX_DDEGC = const(3)
_F_PROBE_MIN_DDEGC = const(4)
_F_CELLS_VALID = const(18)
_F_SUM_MISMATCH_PERMILLE = const(25)
_F_TRANSIENTS = const(26)
_F_DRIFT_MV = const(27)
_F_SELF_DISCHARGE_UV_PER_H = const(28)
_F_CONTACT_UOHM = const(29)
_F_SENSE_LINE_MV = const(40)
_F_FROZEN_S = const(41)
_SIGNALS_AT = const(337)
_PACK_VOLTAGE_MV = const(0)
_PACK_CURRENT_MA = const(1)
_CONTACTORS = const(7)
_ALWAYS = const(24)
_SCALARS = const(25)
_GROUP_SIZE = const(3)
_USED = const(3)
_SUM_BIAS = const(524288)
_REST_BIAS = const(1024)
_SHORTS_BIAS = const(2048)
_DRIFT_BIAS = const(8192)
_DRIFT_LEARN = const(19)
_BATCH_SAMPLES = const(16)
_PAIR_LEARN = const(32)
_P_SCAN_MS = const(1)
_P_GROUPS = const(3)
_P_CELLS = const(4)
_P_CALM_MAD_MV = const(14)
_P_SENT = const(18)
_P_MEMORY_AT = const(22)
_P_GROUPS_AT = const(23)
_P_GROUP_TABLE_AT = const(26)
_P_SHORTS_AT = const(29)
_P_DRIFT_AT = const(30)
_P_BATCH_AT = const(31)
_P_CONTACT_AT = const(32)
_P_SLICE = const(35)
_P_DRIFT_LOW_MV = const(42)
_P_DRIFT_HIGH_MV = const(43)
_P_CARRIES = const(4)
_GROUP_TABLE_SIZE = const(5)

_APART_MS = const(60000)  # samples farther apart are not compared
_BINS = const(128)
_WIDE_MV = const(63)  # of a bin of the first counting
_STEP_BINS = const(64)
_MIDDLE = const(32)
_QUIET = const(2)
_MV = const(8191)  # the voltage in a cell's marks
_REFERENCE_KEPT_MS = const(30000)
_FROZEN_MA = const(20000)
_FROZEN_MOST_S = const(3600)
_BIAS_LEARN = const(300)
_BIAS_USE = const(30)
_BIAS_MOST_MV = const(500000)
_AWAY_MV = const(20)  # a cell that moves by more against the median has left its reference
_BACK_MV = const(10)
_FOLLOW_MV = const(4)
_AWAY_S = const(60)
_BUCKET_HOURS = const(12)
_DRIFT_APART_MS = const(10000)
_DRIFT_CLAMP_MV = const(511)
_SPOILT = const(16383)
_RESIDUAL_MOST = const(8191)
_RIDGE_MV2 = const(4)  # for each cell: (2 mV)^2
_REST_MS_ENOUGH = const(60000)
_RESTING_MA = const(1000)
_FALL_MV = const(10)
_PAIR_LEAST_MA = const(20000)
_SETTLED_MS = const(2000)
_CLAMP_UOHM = const(1000)


@micropython.viper
def sample(i: int, v: int, state, params, scratch, quiet: int) -> int:
    """Take a sample of the cells, and what it says of all of them. quiet: what measure_pack returned.

    i, v: 0; viper keeps the first two parameters in registers.
    """
    q = ptr32(state)
    p = ptr32(params)
    bins = ptr32(scratch)
    i = 0
    while i <= _STEP_BINS:
        bins[i] = 0
        i += 1
    age_ms = q[_CELLS_AGE_MS]
    q[_CELLS_AGE_MS] = 0
    compare = 1 if age_ms <= _APART_MS else 0
    came = 0  # or went
    total = 0
    i = _SIGNALS_AT + _SCALARS
    end = i + p[_P_CELLS]
    apart = p[_P_MEMORY_AT] - i
    while i ^ end:
        v = q[i]
        mark = q[i + apart]
        q[i + apart] = (mark & ~_MV) + v
        total += v
        v = v + _MIDDLE - (mark & _MV)
        if v >> 6:  # not one of the bins
            if q[i] >> 30 & 1:  # no value
                total -= q[i]
                came |= mark & _MV
                q[i + apart] = mark & ~_MV
                i += 1
                continue
            if mark & _MV:
                v = 0 if v < 0 else _STEP_BINS - 1
            else:
                v = _STEP_BINS  # nothing to compare it with
        bins[v] = bins[v] + 1
        i += 1
    valid = q[_FEATURES_AT + _F_CELLS_VALID]
    came |= bins[_STEP_BINS]
    steps = valid - bins[_STEP_BINS]
    changed = steps - bins[_MIDDLE]
    # Nothing of the same groups is new any more.
    i = p[_P_GROUPS_AT]
    v = p[_P_GROUP_TABLE_AT] + _P_CARRIES
    end = i + p[_P_GROUPS] * _GROUP_SIZE
    while i ^ end:
        if p[v] & 1 and q[i] & 1:
            q[i] = _USED
        i += _GROUP_SIZE
        v += _GROUP_TABLE_SIZE

    pack = q[_SIGNALS_AT + _PACK_VOLTAGE_MV]
    # Against the last that was known: some of it may have fallen silent before the rest.
    differs = 0
    if not pack >> 30 & 1:
        differs = q[_LAST_PACK_MV] ^ pack
        q[_LAST_PACK_MV] = pack
    i = q[_FEATURES_AT + _F_PROBE_MAX_DDEGC]
    v = q[_FEATURES_AT + _F_PROBE_MIN_DDEGC]
    if (i - _NA) & _MASK:
        if (i - q[_LAST_HOT_DDEGC]) & _MASK or (v - q[_LAST_COLD_DDEGC]) & _MASK:
            differs = 1
        q[_LAST_HOT_DDEGC] = i
        q[_LAST_COLD_DDEGC] = v
    if q[_WAKING_MS]:
        if not changed and steps and not differs:
            return 0  # what was known before the sleep: not yet the truth
        q[_WAKING_MS] = 0
        compare = 0

    # Do the steps agree: is the median of their distances from their median under the limit?
    agree = 0
    if compare and steps:
        if changed and changed * 2 < steps:
            v = q[_LEAST_STEP_MV]
            if not v:
                v = _MIDDLE - 1
            i = 1
            while i < v and not bins[_MIDDLE - i] + bins[_MIDDLE + i]:
                i += 1
            if i < _MIDDLE - 1:
                q[_LEAST_STEP_MV] = i
        near = bins[_MIDDLE - 2] + bins[_MIDDLE - 1] + bins[_MIDDLE] + bins[_MIDDLE + 1] + bins[_MIDDLE + 2]
        # More than half in five neighbouring bins: these, the median one among them, differ by 4 mV at most.
        if near * 2 > steps and p[_P_CALM_MAD_MV] >= 5:
            agree = 1
        else:
            half = (steps + 1) >> 1
            i = 0
            v = bins[0]
            while v < half:
                i += 1
                v += bins[i]
            # A median in the outermost bin is a step too large to be told from others.
            if i and i < _STEP_BINS - 1:
                end = i + p[_P_CALM_MAD_MV]
                if end > _STEP_BINS:
                    end = _STEP_BINS
                i += 1 - p[_P_CALM_MAD_MV]
                if i < 0:
                    i = 0
                v = 0
                while i < end:
                    v += bins[i]
                    i += 1
                if v * 2 > steps:
                    agree = 1
    q[_AGREE] = agree

    # The same cells, to the millivolt, although the current has ranged: no new information.
    current = q[_SIGNALS_AT + _PACK_CURRENT_MA]
    current = (current & _MASK) + (current >> 30 & 1) * _WRAP
    seconds = (age_ms + 500) // 1000
    frozen_s = 0
    if changed or came or not compare or not steps or current == _NA:
        q[_FROZEN_S] = 0
        q[_FROZEN_LOW_MA] = current
        q[_FROZEN_HIGH_MA] = current
    else:
        low = q[_FROZEN_LOW_MA]
        low = (low & _MASK) + (low >> 30 & 1) * _WRAP
        high = q[_FROZEN_HIGH_MA]
        high = (high & _MASK) + (high >> 30 & 1) * _WRAP
        ranged = 1 if high - low >= _FROZEN_MA else 0
        if low == _NA:
            low = current
        if current < low:
            low = current
        if current > high:
            high = current
        q[_FROZEN_LOW_MA] = low
        q[_FROZEN_HIGH_MA] = high
        if high - low >= _FROZEN_MA:
            # Counted from when the current had ranged so far: at rest the cells may well stay as they are.
            frozen_s = q[_FROZEN_S] + seconds if ranged else 0
            if frozen_s > _FROZEN_MOST_S:
                frozen_s = _FROZEN_MOST_S
            q[_FROZEN_S] = frozen_s
    q[_FEATURES_AT + _F_FROZEN_S] = frozen_s
    q[_FEATURES_AT + _F_FROZEN_S + _SLOT] = _ALWAYS

    # Pack voltage against the cells' sum, less the difference that this vehicle always has.
    away = _NA
    if valid and not pack >> 30 & 1:
        total += (p[_P_CELLS] - valid) * (total // valid)
        sent = p[_P_SENT] >> _CONTACTORS & 1
        closed = q[_SIGNALS_AT + _CONTACTORS]
        if sent and not closed:
            away = 0  # nothing to compare: what is measured may lie behind the contactors
        elif pack >= 1000 and (sent or pack * 2 >= total):
            away = pack - total
            if away > _BIAS_MOST_MV:
                away = _BIAS_MOST_MV
            if away < -_BIAS_MOST_MV:
                away = -_BIAS_MOST_MV
            bias = q[_BIAS_SUM_MV]
            bias = (bias & _MASK) + (bias >> 30 & 1) * _WRAP
            learned = q[_BIAS_SAMPLES]
            if learned < _BIAS_LEARN and valid == p[_P_CELLS]:
                learned += 1
                bias += away
                q[_BIAS_SAMPLES] = learned
                q[_BIAS_SUM_MV] = bias
            if learned < _BIAS_USE:
                away = _NA
            else:
                bias = bias // learned
                most = pack // 50
                if bias > most:
                    bias = most
                if bias < -most:
                    bias = -most
                away = (away - bias) * 1000 // pack
    # Pack and cells are not read in one instant: a load that moves between them parts them now one way, now the other.
    v = q[_SUM_AWAY_PERMILLE] - _SUM_BIAS
    q[_SUM_AWAY_PERMILLE] = _SUM_BIAS
    if away ^ _NA:
        q[_SUM_AWAY_PERMILLE] = away + _SUM_BIAS
        if (away ^ v) >> 30 & 1:
            away = 0
        if away < 0:
            away = -away
        if v < 0:
            v = -v
        if v < away:
            away = v
    i = _FEATURES_AT + _F_SUM_MISMATCH_PERMILLE
    q[i] = away
    q[i + _SLOT] = _PACK_VOLTAGE_MV

    # What the analysis may use this sample for.
    kind = 0
    if quiet == _QUIET and agree:
        kind = _KIND_CALM
        if q[_CALM_BEFORE] < 2:
            kind |= _KIND_FIRST
            q[_CALM_BEFORE] = q[_CALM_BEFORE] + 1
    else:
        q[_CALM_BEFORE] = 0
    q[_SAMPLE_S] = seconds
    q[_PHASE] = _PHASE_MEDIAN if valid else _PHASE_DONE
    q[_MEDIAN_MV] = q[_FEATURES_AT + _F_CELL_MIN_MV]
    q[_NEXT_CELL] = q[_FEATURES_AT + _F_CELL_MAX_MV] - q[_FEATURES_AT + _F_CELL_MIN_MV] if valid else 0
    q[_MOST_SHORTS] = (valid + 1) >> 1  # of the lower median
    resting = 0
    if kind and q[_REST_MS] >= _REST_MS_ENOUGH:
        resting = 1  # calm, and for a minute already
    if quiet and q[_REST_DUE] and -_RESTING_MA <= current <= _RESTING_MA:
        resting = 1  # just awake, and next to no current
    if valid and resting:
        if q[_REST_DUE]:
            q[_REST_DUE] = 0
            if q[_REST_SET]:
                kind |= _KIND_COMPARE
        if not (q[_REST_SET] and q[_ASLEEP_SCANS]):
            kind |= _KIND_KEEP
            q[_REST_SET] = 1
            q[_ASLEEP_SCANS] = 0
        if q[_DRIFT_SAMPLES] >= _BATCH_SAMPLES:
            kind |= _KIND_END
        elif q[_DRIFT_WAIT_MS] >= _DRIFT_APART_MS:
            kind |= _KIND_ADD
    if valid and q[_STEADY_MS] >= _SETTLED_MS:
        kind |= _KIND_SETTLED
        before = q[_PAIR_MA]
        before = (before & _MASK) + (before >> 30 & 1) * _WRAP
        if q[_PAIR_AGE_MS] <= _APART_MS and q[_PAIR_AGE_MS]:
            v = current - before
            if v >= _PAIR_LEAST_MA or v <= -_PAIR_LEAST_MA:
                kind |= _KIND_PAIR
                q[_PAIR_STEP_DA] = v // 100
        q[_PAIR_MA] = current
    q[_KIND] = kind
    return 0


@micropython.viper
def middle(i: int, v: int, state, params, scratch) -> int:
    """The sample's median, by counting: bins of 1 mV, or of 64 mV and in the next scan of 1 mV within the middle one.

    It begins with the sample's lowest voltage, span and rank of the median: MEDIAN_MV, NEXT_CELL and MOST_SHORTS.
    i, v: 0; viper keeps the first two parameters in registers.
    """
    q = ptr32(state)
    p = ptr32(params)
    bins = ptr32(scratch)
    low = q[_MEDIAN_MV]
    last = q[_NEXT_CELL]
    shift = 0
    if last >= _BINS:
        shift = 6
        last = last >> 6
    i = last
    while not i >> 30 & 1:
        bins[i] = 0
        i -= 1
    i = p[_P_MEMORY_AT]
    end = i + p[_P_CELLS]
    while i ^ end:
        v = (q[i] & _MV) - low >> shift
        if not v >> 7:  # one of the bins
            bins[v] = bins[v] + 1
        i += 1
    half = q[_MOST_SHORTS]
    i = 0
    v = bins[0]
    while v < half and i < last:
        i += 1
        v += bins[i]
    low += i << shift
    q[_MEDIAN_MV] = low
    if shift:
        q[_NEXT_CELL] = _WIDE_MV
        q[_MOST_SHORTS] = half - v + bins[i]
        return 0

    # What a cell had before an event, for C.5.3.7 a): the highest median of this half minute and the one before.
    if q[_REFERENCE_AGE_MS] >= _REFERENCE_KEPT_MS:
        q[_REFERENCE_BEFORE_MV] = q[_REFERENCE_MV]
        q[_REFERENCE_MV] = low
        q[_REFERENCE_AGE_MS] = 0
    if low > q[_REFERENCE_MV]:
        q[_REFERENCE_MV] = low

    kind = q[_KIND]
    if low < p[_P_DRIFT_LOW_MV] or low > p[_P_DRIFT_HIGH_MV]:
        kind &= ~(_KIND_ADD | _KIND_END)
    if kind & _KIND_ADD:
        q[_DRIFT_WAIT_MS] = p[_P_SCAN_MS]
        if not q[_DRIFT_SAMPLES]:
            q[_DRIFT_FIT] = 0
            q[_DRIFT_NORM] = 0
        q[_DRIFT_SAMPLES] = q[_DRIFT_SAMPLES] + 1
    pack = q[_LAST_PACK_MV]
    if kind & _KIND_PAIR and not (pack | q[_PAIR_PACK_MV]) >> 30 & 1:
        # Cells that are read later than the current have not taken the step that the pack took.
        pack -= q[_PAIR_PACK_MV]
        v = (low - q[_PAIR_MV]) * p[_P_CELLS] - pack
        if pack < 0:
            pack = -pack
        if v * 2 > pack or v * 2 < -pack:
            kind &= ~_KIND_PAIR
    if kind & _KIND_PAIR:
        step_da = q[_PAIR_STEP_DA]
        step_da = (step_da & _MASK) + (step_da >> 30 & 1) * _WRAP
        own = (q[_PAIR_MV] - low) * 10000 // step_da
        if own < 0:
            own = 0
        if own > 10000:
            own = 10000
        v = q[_OWN_UOHM]
        q[_OWN_UOHM] = v + ((own - v) >> 3) if q[_PAIRS] else own
        if q[_PAIRS] <= _PAIR_LEARN:
            q[_PAIRS] = q[_PAIRS] + 1
    if kind & _KIND_SETTLED:
        q[_PAIR_MV] = low
        q[_PAIR_PACK_MV] = q[_LAST_PACK_MV]
        q[_PAIR_AGE_MS] = p[_P_SCAN_MS]
    q[_KIND] = kind
    q[_MOST_SHORTS] = 0
    q[_MOST_SHORTS_AT] = 0
    q[_NEXT_SHORTS] = 0
    q[_MOST_DRIFT] = 0
    q[_MOST_DRIFT_AT] = 0
    q[_MOST_CONTACT_UOHM] = 0
    q[_MOST_CONTACT_AT] = 0
    q[_NEXT_CONTACT_UOHM] = 0
    q[_MOST_FALL_MV] = 0
    q[_MOST_FALL_AT] = 0
    q[_NEXT_FALL_MV] = 0
    q[_MOST_SENSE_MV] = 0
    q[_MOST_SENSE_AT] = 0
    v = q[_HOURS] // _BUCKET_HOURS
    i = 3 * (v - q[_BUCKET])
    q[_ROTATE] = i if i < 9 else 9
    q[_BUCKET] = v
    q[_NEXT_CELL] = 0
    q[_PHASE] = _PHASE_CELLS
    return 0


@micropython.viper
def analyse(i: int, v: int, state, params) -> int:
    """The next P_SLICE cells of the sample; after the last one, the features.

    i, v: 0; viper keeps the first two parameters in registers.
    """
    q = ptr32(state)
    p = ptr32(params)
    kind = q[_KIND]
    median = q[_MEDIAN_MV]
    seconds = q[_SAMPLE_S]
    cells = p[_P_CELLS]
    marks = p[_P_MEMORY_AT]
    shorts = p[_P_SHORTS_AT]
    rotate = q[_ROTATE]
    i = q[_NEXT_CELL]
    end = i + p[_P_SLICE]
    if end > cells:
        end = cells
    while i < end:
        mv = q[marks + i] & _MV
        dev = mv - median

        # Away from its reference, and back: a transient, unless a neighbour moved by as much the other way.
        v = q[shorts + i]
        counts = v >> 20
        if rotate:
            counts = counts << rotate & 0x1FF
        away_s = v >> 12 & 63
        rose = v >> 18 & 1
        paired = v >> 19 & 1
        reference = (v & 4095) - _SHORTS_BIAS
        if not kind & _KIND_CALM or not mv:
            away_s = 0
            paired = 0
            if not mv:
                reference = -_SHORTS_BIAS  # unknown: code 0
        elif kind & _KIND_FIRST or reference == -_SHORTS_BIAS:
            reference = dev
            away_s = 0
            paired = 0
        else:
            gap = dev - reference
            if not away_s:
                if gap > _AWAY_MV:
                    away_s = 1
                    rose = 1
                elif gap < -_AWAY_MV:
                    away_s = 1
                    rose = 0
                else:
                    if gap > _FOLLOW_MV:
                        gap = _FOLLOW_MV
                    if gap < -_FOLLOW_MV:
                        gap = -_FOLLOW_MV
                    reference += gap
            else:
                away_s += seconds
            if away_s:
                if -_BACK_MV <= gap <= _BACK_MV:
                    if not rose and not paired and away_s <= _AWAY_S and counts & 7 < 7:
                        counts += 1
                    away_s = 0
                    paired = 0
                elif away_s > _AWAY_S:
                    away_s = _AWAY_S
                    if not paired:
                        reference = dev
                        away_s = 0
        if reference > 2047:
            reference = 2047
        if reference < -2047 and mv:
            reference = -2047
        # Two neighbours by equal and opposite amounts: the line between them.
        if away_s and i and mv and kind & _KIND_CALM:
            other = q[shorts + i - 1]
            if other >> 12 & 63:
                gap = dev - reference
                gap_other = (q[marks + i - 1] & _MV) - median - (other & 4095) + _SHORTS_BIAS
                if not q[marks + i - 1] & _MV:
                    gap_other = 0
                if gap < 0:
                    gap = -gap
                else:
                    gap_other = -gap_other  # less than 0 where both are on one side
                least = gap if gap < gap_other else gap_other
                if (gap + gap_other - least - least) * 4 <= least:
                    paired = 1
                    q[shorts + i - 1] = other | 1 << 19
                    if least > q[_MOST_SENSE_MV]:
                        q[_MOST_SENSE_MV] = least
                        q[_MOST_SENSE_AT] = i
        q[shorts + i] = reference + _SHORTS_BIAS | away_s << 12 | rose << 18 | paired << 19 | counts << 20
        if counts:
            v = (counts & 7) + (counts >> 3 & 7) + (counts >> 6)
            if v > q[_MOST_SHORTS]:
                q[_NEXT_SHORTS] = q[_MOST_SHORTS]
                q[_MOST_SHORTS] = v
                q[_MOST_SHORTS_AT] = i + 1
            elif v > q[_NEXT_SHORTS]:
                q[_NEXT_SHORTS] = v

        if kind & (_KIND_ADD | _KIND_END):
            batch = p[_P_BATCH_AT] + i
            drift = p[_P_DRIFT_AT] + i
            v = q[batch] & 16383
            rest = q[batch] - v
            if not v:
                v = _DRIFT_BIAS
            base = q[drift] >> 14
            if not base:
                base = _DRIFT_BIAS
            base -= _DRIFT_BIAS
            if not mv or v == _SPOILT:
                # A batch with a hole in it says nothing about this cell.
                q[batch] = rest + _SPOILT if kind & _KIND_ADD else rest
            elif kind & _KIND_ADD:
                gap = dev
                if gap > _DRIFT_CLAMP_MV:
                    gap = _DRIFT_CLAMP_MV
                if gap < -_DRIFT_CLAMP_MV:
                    gap = -_DRIFT_CLAMP_MV
                v += gap
                q[batch] = rest + v
                if q[_DRIFT_SAMPLES] == _BATCH_SAMPLES:
                    fit = q[_DRIFT_FIT]
                    fit = (fit & _MASK) + (fit >> 30 & 1) * _WRAP
                    q[_DRIFT_FIT] = fit + (v - _DRIFT_BIAS >> 4) * (base >> 4)
                    q[_DRIFT_NORM] = q[_DRIFT_NORM] + (base >> 4) * (base >> 4)
            else:
                v -= _DRIFT_BIAS
                q[batch] = rest
                residual = (q[drift] & 16383) - _DRIFT_BIAS
                if not q[drift]:
                    residual = 0
                learned = q[_DRIFT_BATCHES]
                if learned < _DRIFT_LEARN:
                    base += (v - base + (learned + 1 >> 1)) // (learned + 1)
                else:
                    # The others' amplitude: an imbalance breathes with the slope of the OCV curve.
                    fit = q[_DRIFT_FIT]
                    fit = (fit & _MASK) + (fit >> 30 & 1) * _WRAP
                    fit = fit - (v >> 4) * (base >> 4) + cells * _RIDGE_MV2
                    norm = q[_DRIFT_NORM] - (base >> 4) * (base >> 4) + cells * _RIDGE_MV2
                    if fit < 0:
                        fit = 0
                    while norm > 32767:
                        norm >>= 1
                        fit >>= 1
                    if fit > norm << 2:
                        fit = norm << 2
                    residual += (v - (base * (fit * 256 // norm) >> 8) - residual) >> 2
                    if residual > _RESIDUAL_MOST:
                        residual = _RESIDUAL_MOST
                    if residual < -_RESIDUAL_MOST:
                        residual = -_RESIDUAL_MOST
                q[drift] = residual + _DRIFT_BIAS | base + _DRIFT_BIAS << 14
        v = q[p[_P_DRIFT_AT] + i]
        if v:
            v = _DRIFT_BIAS - (v & 16383)
            if v > q[_MOST_DRIFT]:
                q[_MOST_DRIFT] = v
                q[_MOST_DRIFT_AT] = i + 1

        if kind & (_KIND_PAIR | _KIND_SETTLED):
            batch = p[_P_BATCH_AT] + i
            before = q[batch] >> 14
            contact = p[_P_CONTACT_AT] + i
            if kind & _KIND_PAIR and before and mv:
                step_da = q[_PAIR_STEP_DA]
                step_da = (step_da & _MASK) + (step_da >> 30 & 1) * _WRAP
                gap = (before - _SHORTS_BIAS - dev) * 10000 // step_da
                v = q[contact]
                base = (v >> 14) - _DRIFT_BIAS
                if v:
                    v = (v & 16383) - _DRIFT_BIAS
                    gap -= v
                    if gap > _CLAMP_UOHM:
                        gap = _CLAMP_UOHM
                    if gap < -_CLAMP_UOHM:
                        gap = -_CLAMP_UOHM
                    # A mean while it is learned, then a slow one: cells and current are never of one instant.
                    v += gap // q[_PAIRS] if q[_PAIRS] <= _PAIR_LEARN else gap + 8 >> 4
                else:
                    v = gap
                if v > 8191:
                    v = 8191
                if v < -8191:
                    v = -8191
                if q[_PAIRS] <= _PAIR_LEARN or not q[contact]:
                    base = v
                q[contact] = v + _DRIFT_BIAS | base + _DRIFT_BIAS << 14
            if kind & _KIND_SETTLED:
                v = dev
                if v > 2047:
                    v = 2047
                if v < -2047:
                    v = -2047
                v += _SHORTS_BIAS
                if not mv:
                    v = 0
                q[batch] = (q[batch] & 16383) | v << 14
        v = q[p[_P_CONTACT_AT] + i]
        if v:
            v = (v & 16383) - (v >> 14)
            if v > q[_MOST_CONTACT_UOHM]:
                q[_NEXT_CONTACT_UOHM] = q[_MOST_CONTACT_UOHM]
                q[_MOST_CONTACT_UOHM] = v
                q[_MOST_CONTACT_AT] = i + 1
            elif v > q[_NEXT_CONTACT_UOHM]:
                q[_NEXT_CONTACT_UOHM] = v

        if kind & (_KIND_KEEP | _KIND_COMPARE) and mv:
            v = q[marks + i] >> 13 & 2047
            if kind & _KIND_KEEP:
                gap = dev
                if gap > 1023:
                    gap = 1023
                if gap < -1023:
                    gap = -1023
                q[marks + i] = q[marks + i] + (gap + _REST_BIAS - v << 13)
            elif v:
                v = v - _REST_BIAS - dev
                if v > q[_MOST_FALL_MV]:
                    q[_NEXT_FALL_MV] = q[_MOST_FALL_MV]
                    q[_MOST_FALL_MV] = v
                    q[_MOST_FALL_AT] = i + 1
                elif v > q[_NEXT_FALL_MV]:
                    q[_NEXT_FALL_MV] = v
        i += 1
    q[_NEXT_CELL] = i
    if i < cells:
        return 0

    q[_PHASE] = _PHASE_DONE
    if kind & _KIND_END:
        q[_DRIFT_SAMPLES] = 0
        if q[_DRIFT_BATCHES] < _DRIFT_LEARN:
            q[_DRIFT_BATCHES] = q[_DRIFT_BATCHES] + 1
    first = _SCALARS - 1
    v = q[_MOST_SHORTS] if q[_NEXT_SHORTS] * 3 <= q[_MOST_SHORTS] else 0
    i = _FEATURES_AT + _F_TRANSIENTS
    q[i] = v
    q[i + _WHERE] = q[_MOST_SHORTS_AT]
    q[i + _SLOT] = first + q[_MOST_SHORTS_AT] if v else _ALWAYS
    i = _FEATURES_AT + _F_DRIFT_MV
    q[i] = q[_MOST_DRIFT] >> 4 if q[_DRIFT_BATCHES] >= _DRIFT_LEARN else _NA
    q[i + _WHERE] = q[_MOST_DRIFT_AT]
    q[i + _SLOT] = first + q[_MOST_DRIFT_AT] if q[_MOST_DRIFT_AT] else _ALWAYS
    v = q[_MOST_CONTACT_UOHM]
    # One joint alone: what many cells show at once is the time between their readings, or the cold.
    if v * 2 < q[_OWN_UOHM] or v < q[_NEXT_CONTACT_UOHM] * 2 or q[_PAIRS] <= _PAIR_LEARN:
        v = 0
    i = _FEATURES_AT + _F_CONTACT_UOHM
    q[i] = v
    q[i + _WHERE] = q[_MOST_CONTACT_AT]
    q[i + _SLOT] = first + q[_MOST_CONTACT_AT] if v else _ALWAYS
    if kind & _KIND_CALM:
        i = _FEATURES_AT + _F_SENSE_LINE_MV
        q[i] = q[_MOST_SENSE_MV]
        q[i + _WHERE] = q[_MOST_SENSE_AT]
        q[i + _SLOT] = first + q[_MOST_SENSE_AT] if q[_MOST_SENSE_AT] else _ALWAYS
    if kind & _KIND_COMPARE:
        minutes = q[_ASLEEP_SCANS] // (60000 // p[_P_SCAN_MS])
        if minutes >= 60:
            v = 0
            # One cell alone: what falls by modules is relaxing. Of two roundings a difference may move by one step.
            least = q[_LEAST_STEP_MV] * 2
            if least < _FALL_MV:
                least = _FALL_MV
            if q[_MOST_FALL_MV] >= least and q[_NEXT_FALL_MV] * 2 <= q[_MOST_FALL_MV]:
                v = q[_MOST_FALL_MV] * 60000 // minutes
            i = _FEATURES_AT + _F_SELF_DISCHARGE_UV_PER_H
            q[i] = v
            q[i + _WHERE] = q[_MOST_FALL_AT]
            q[i + _SLOT] = first + q[_MOST_FALL_AT] if v else _ALWAYS
    return 0
