"""The layout of `state` and `params`, the two int32 arrays the core works on.

Each array is a row of sections; a section is a table of int32 columns. What stands at the same place for every vehicle
comes first, so that the hot files reach it by a constant index, which viper makes one instruction; where the other
sections begin stands in the header of `params`.

MicroPython inlines a constant only inside the file that declares it, so the hot files repeat the numbers they use as
`_NAME = const(n)`; tests/core/test_layout.py holds each of them against this page.

How far each number goes stands in tests/core/bounds.py.

Units stand in the names. All times are milliseconds on a 30-bit clock (`& MASK`), so differences are wrap-safe. Values
lie in (-2^29, 2^29): the difference of any two of them, NA included, has its sign in bit 30.
"""

FORMAT = 5  # of this page; an image made for another one is refused

NA = -0x20000000  # -2^29: no value
WRAP = -0x3FFFFFFF - 1  # -2^30: (a + WRAP + b) & MASK adds two numbers of 30 bits and never leaves them
STEP = WRAP + 1  # (a + STEP) & MASK is one more than a
MASK = 0x3FFFFFFF  # the clock and every counter have 30 bits: they stay small integers on a 32-bit MicroPython
HALF = 0x20000000  # a difference from here on is a step back
EXT = 0x20000000  # set in an identifier of 29 bits
NOTICE = -0x40000000  # set in the identifier of a record that is no frame: what the box knows, | one of
NOTICE_DROPPED = 1  # the controller or a queue lost frames
NOTICE_BUS_OFF = 2  # data[0]: 1 the bus went off, 0 it is back
NOTICE_ACK = 3  # an authenticated acknowledgement; data[0]: rule
NOTICE_SLEEP = 4  # the box goes to sleep

# One frame record of the ring: time, identifier (| EXT), channel, length, data.
RECORD_T_MS = 0  # int32
RECORD_ID = 4  # int32
RECORD_CHANNEL = 8  # byte: number of the [[bus]] in the profile
RECORD_LENGTH = 9  # byte; the two behind it are 0
RECORD_DATA = 12  # 8 bytes, or 64 where the profile uses a CAN FD message
RECORD_VIEWS = 9  # of the ring as bytes: from the length on, and from each of the first 8 bytes of data on

# --- state ---------------------------------------------------------------------------------------------------------

# clock: one row
NOW_MS = 0
DUE_MS = 1  # the next scan, on the grid k * scan_ms
OFFSET_MS = 2  # this clock minus the frames' own clock, after a large step back
STARTED = 3
SCANS = 4
FRAMES = 5  # frames whose identifier the image knows
IGNORED = 6  # all others
MALFORMED = 7  # too short for a signal in use
CHECKSUM_ERRORS = 8
COUNTER_ERRORS = 9
TIME_BACKWARD = 10
EVENTS = 11  # made since the start, and acknowledgements taken: no two of these have the same challenge
LEVEL = 12  # highest level of our own findings asserted now, 0..3
MAX_LEVEL = 13  # highest level since the start
KNOWN = 14  # 0: not yet known, 1: a first full set of values has been seen
FLAGS = 15  # general alarm flags, GB/T 32960.3 tables 18 / 24
WAITING = 16  # messages (or pages of one) not yet received
LOST = 17  # messages (or pages) that came and are now overdue or not trusted
AGE_MS = 18  # time since the start, saturated
QUIET_MS = 19  # how long the current has been small and steady
QUIET_LOW_MA = 20  # the lowest and the highest current since that began; NA = not small
QUIET_HIGH_MA = 21
CELLS_SEEN = 22  # cells, and probes, that were valid once since the start
PROBES_SEEN = 23
DOUBT = 24  # 1: a message has lost its trust since the last scan
MODE = 25  # what the vehicle does: UNKNOWN, DRIVING, CHARGING, PARKED or ASLEEP
ACTIVE = 26  # bit 0: on, bit 1: charging, as far as last known
SILENT_MS = 27  # how long no message has been fresh, up to P_SLEEP_MS
ASLEEP_SCANS = 28  # scans spent asleep since the cells' reference for self-discharge was taken
SLEPT = 29  # 1: it has slept since the start
WAKING_MS = 30  # 0, or 1 + the time since the first frame after a sleep while only what was known before it has come
REST_MS = 31  # how long the current has been small, up to 60 s; a sleep counts
STEADY_MS = 32  # how long it has been steady, whatever it is, and the lowest and highest since
STEADY_LOW_MA = 33
STEADY_HIGH_MA = 34
HOUR_MS = 35  # part of the present hour
HOURS = 36  # whole hours since the start, asleep or awake
PENDING = 37  # bit 0: cells, bit 1: probes have yet to arrive, all that come, since their last sample
CELLS_AGE_MS = 38  # since the last sample of the cells, up to 60 s and a bit
PHASE = 39  # of the sample's analysis: PHASE_DONE, PHASE_MEDIAN or PHASE_CELLS
NEXT_CELL = 40  # the next one to analyse; while the median is looked for, the span of the cells among which it is, mV
KIND = 41  # what the sample is good for, bits KIND_...
SAMPLE_S = 42  # seconds between it and the one before, up to 60 and a bit
AGREE = 43  # 1: the cells' steps between the last two samples agree
MEDIAN_MV = 44  # of the last sample; while it is looked for, the lowest cell among which it is
REFERENCE_MV = 45  # highest median of this half minute, and of the one before
REFERENCE_BEFORE_MV = 46
REFERENCE_AGE_MS = 47
FROZEN_S = 48  # how long the cells have read the same, and the lowest and highest current since
FROZEN_LOW_MA = 49
FROZEN_HIGH_MA = 50
BIAS_SUM_MV = 51  # pack voltage minus the cells' sum: what was learned, and from how many samples
BIAS_SAMPLES = 52
BUCKET = 53  # 12-hour bucket in which transients are counted now
ROTATE = 54  # bits by which the buckets of this sample move on
CALM_BEFORE = 55  # calm samples before, up to 2
LAST_PACK_MV = 56  # pack voltage, hottest and coldest probe at the last sample
LAST_HOT_DDEGC = 57
LAST_COLD_DDEGC = 58
DRIFT_WAIT_MS = 59  # since the last sample of a batch, up to 10 s
DRIFT_SAMPLES = 60  # in the batch
DRIFT_BATCHES = 61  # learned, up to DRIFT_LEARN
DRIFT_FIT = 62  # sum over the cells of batch x baseline, and of baseline squared, mV2
DRIFT_NORM = 63
PAIR_MA = 64  # current, median and age of the last settled sample; NA = none
PAIR_MV = 65
PAIR_AGE_MS = 66
PAIR_STEP_DA = 67  # between the pair's two currents, 0.1 A
PAIRS = 68  # learned, up to PAIR_LEARN + 1
OWN_UOHM = 69  # the median cell's resistance
REST_SET = 70  # 1: the cells' deviations of a rest are kept
REST_DUE = 71  # 1: a sleep has ended and they have not been compared yet
MOST_SHORTS = 72  # the most transients of one cell; while the median is looked for, its rank among those cells
MOST_SHORTS_AT = 73  # that cell's number
NEXT_SHORTS = 74  # and the most of any other
MOST_DRIFT = 75  # in 1/16 mV
MOST_DRIFT_AT = 76
MOST_CONTACT_UOHM = 77
MOST_CONTACT_AT = 78
MOST_FALL_MV = 79
MOST_FALL_AT = 80
NEXT_FALL_MV = 81
MOST_SENSE_MV = 82
MOST_SENSE_AT = 83
PROBES_AGE_MS = 84  # since the last sample of the probes, up to 60 s and a bit
RING = 85  # samples in the probes' rings, 0..4
RING_MS = 86  # 4 columns: their times, newest first
RING_MS_2 = 87
RING_MS_3 = 88
RING_MS_4 = 89
FAULTY = 90  # probes that are left out
STEEP = 91  # 1: a probe rises as C.5.3.7 c) says
CHARGE_REST = 92  # discharge not yet a permille, 100 mA x ms
DRAWN_PERMILLE = 93  # charge drawn since the start, 18 bits
SOC_REFERENCE = 94  # 6 columns: bits 0-10 SOC, 11-28 the charge drawn then; one every 10 s
SOC_REFERENCE_2 = 95
SOC_REFERENCE_3 = 96
SOC_REFERENCE_4 = 97
SOC_REFERENCE_5 = 98
SOC_REFERENCE_6 = 99
SOC_WAIT_MS = 100  # since the last of them
SOC_NEXT = 101  # which is the next
STEP_MV = 102  # the pack's voltage at rest that steps are seen against; NA = none
STEP_AGE_MS = 103  # since it read about so
STEP_STATE = 104  # the contactors then
STEP_SOC_PERMILLE = 105  # the SOC then
TREND_SUM = 106  # insulation since the last point, ohm/V, and the number of readings
TREND_COUNT = 107
TREND_POINT = 108  # 4 columns, newest first
TREND_POINT_2 = 109
TREND_POINT_3 = 110
TREND_POINT_4 = 111
TREND_HOUR = 112  # 4 columns: HOURS of each point
TREND_HOUR_2 = 113
TREND_HOUR_3 = 114
TREND_HOUR_4 = 115
TREND_POINTS = 116  # 0..4
MALFORMED_BEFORE = 117  # the counters at the last scan, and how long what they show has been shown
BACKWARD_BEFORE = 118
DROPPED_BEFORE = 119
MALFORMED_MS = 120
BACKWARD_MS = 121
DROPPED_MS = 122
DROPPED = 123  # notices of frames lost before they reached us
BUS_OFF = 124  # bit n: bus n is off
ABSENT_LEAST = 125  # cells never valid, and how long they have not grown fewer
ABSENT_MS = 126
SIGN_MS = 127  # 8 columns: how long each sign has been remembered, SIGN_...; 0 = not
SIGN_MS_2 = 128
SIGN_MS_3 = 129
SIGN_MS_4 = 130
SIGN_MS_5 = 131
SIGN_MS_6 = 132
SIGN_MS_7 = 133
SIGN_MS_8 = 134
GONE_BEFORE = 135  # dead cells ten to twenty seconds ago, up to ten seconds ago, and the time since
GONE_SINCE = 136
GONE_MS = 137
WHOLE = 138  # what the features of sections B to D are complete for: bit 0 anything, 1 cells, 2 probes, 3 pack voltage
CELLS_MISSING = 139  # cells without a value in a fresh message that had one before the last sleep
PAIR_PACK_MV = 140  # pack voltage of the last settled sample
NEXT_CONTACT_UOHM = 141  # the most of any other cell than that of MOST_CONTACT_UOHM
PARKED_MS = 142  # how long the vehicle has been parked or asleep, saturated
SUM_AWAY_PERMILLE = 143  # by which the pack was over the cells' sum at the last sample, plus SUM_BIAS
LEAST_STEP_MV = 144  # the least by which few cells have moved: what they are read to; 0 = not yet known
CLOCK_SIZE = 145

UNKNOWN, DRIVING, CHARGING_MODE, PARKED, ASLEEP = 0, 1, 2, 3, 4
PHASE_DONE, PHASE_MEDIAN, PHASE_CELLS = 0, 1, 2
KIND_CALM = 1
KIND_FIRST = 2  # the first calm one: references begin anew
KIND_ADD = 4  # it joins a drift batch
KIND_END = 8  # a batch is judged
KIND_PAIR = 16  # half of a pair of settled currents
KIND_SETTLED = 32  # the first half of the next
KIND_KEEP = 64  # a rest before a sleep
KIND_COMPARE = 128  # the first rest after it
SIGN_FELL = 0  # C.5.3.7 a)
SIGN_HOT = 1  # b)
SIGN_STEEP = 2  # c)
SIGN_STEP = 3
SIGN_CELLS = 4
SIGN_INSULATION = 5
SIGN_PROBES = 6
SIGN_FOUR = 7  # four cells lost at once

# features: columns of FEATURES numbers each
FEATURES_AT = 145
VALUE = 0  # in the feature's unit, or NA
WHERE = 48  # number of the cell or probe from 1; 0 = the pack
SLOT = 96  # the signal it came from
COMPLETE = 144  # 1 where nothing that was valid before is missing from it now
FEATURES_SIZE = 192

F_CELL_MAX_MV = 0
F_CELL_MIN_MV = 1
F_CELL_SPREAD_MV = 2
F_PROBE_MAX_DDEGC = 3
F_PROBE_MIN_DDEGC = 4
F_PROBE_SPREAD_DDEGC = 5
F_PACK_VOLTAGE_MV = 6
F_DISCHARGE_PERMILLE = 7  # of the limit in force
F_CHARGE_PERMILLE = 8
F_INSULATION_OHM_PER_V = 9
F_SOC_PERMILLE = 10
F_OVERCHARGE = 11  # 0 / 1
F_HVIL_OPEN = 12  # 0 / 1
F_BMS_LEVEL = 13  # 0..3
F_CHARGING = 14  # 0 / 1
F_CONTACTORS = 15  # 0 / 1
F_VEHICLE_ON = 16  # 0 / 1
F_CALM = 17  # 0 / 1
F_CELLS_VALID = 18
F_CELLS_LOST = 19  # valid before, not now
F_PROBES_VALID = 20
F_PROBES_LOST = 21
F_RISE_MK_PER_S = 22  # steepest rise of a probe
F_SOC_JUMP_PERMILLE = 23
F_PACK_STEP_MV = 24
F_SUM_MISMATCH_PERMILLE = 25
F_TRANSIENTS = 26  # of the one cell that has them
F_DRIFT_MV = 27
F_SELF_DISCHARGE_UV_PER_H = 28
F_CONTACT_UOHM = 29
F_INSULATION_H = 30  # hours to its level 3
F_SIGNAL_LOST = 31  # 0..2
F_COUNTER_WRONG = 32  # 0..5
F_CHECKSUM_WRONG = 33  # 0..5
F_MALFORMED = 34  # 0 / 1
F_DROPPED = 35  # 0 / 1
F_BUS_OFF = 36  # 0 / 1
F_CELLS_GONE = 37  # 0..2
F_CELLS_ABSENT = 38
F_PROBE_FAULTS = 39
F_SENSE_LINE_MV = 40
F_FROZEN_S = 41
F_BACKWARD = 42  # 0 / 1
F_COUNT_DIFFERS = 43  # 0 / 1
F_RUNAWAY = 44  # 0 / 1
F_SUSPECTED = 45  # 0 / 1
F_CELLS_DEAD = 46  # lost, though their messages come
F_PROBES_DEAD = 47
FEATURES = 48

# signals: scalars in this order, then the cells (mV), then the probes (0.1 degC)
SIGNALS_AT = 337
PACK_VOLTAGE_MV = 0
PACK_CURRENT_MA = 1  # positive = discharge, as in GB/T 32960
SOC_PERMILLE = 2
INSULATION_OHM = 3
INSULATION_VALID = 4
VEHICLE_ON = 5
CHARGING = 6
CONTACTORS = 7
HVIL_OK = 8
BMS_LEVEL = 9
MAX_DISCHARGE_MA = 10
MAX_CHARGE_MA = 11
CELL_MAX_MV = 12  # for vehicles that send the extremes only
CELL_MIN_MV = 13
PROBE_MAX_DDEGC = 14
PROBE_MIN_DDEGC = 15
BMS_FLAG_9 = 16
BMS_FLAG_12 = 17
BMS_FLAG_13 = 18
BMS_FLAG_14 = 19
BMS_FLAG_15 = 20
BMS_FLAG_17 = 21
CELL_COUNT = 22  # as the vehicle says
PROBE_COUNT = 23
ALWAYS = 24  # no signal: reads 0 and is never missing
SCALARS = 25

# groups: a row for each set of signals that arrives together, a message or one page of a multiplexed message
STATUS = 0
STAMP_MS = 1
ARRIVALS = 2
GROUP_SIZE = 3
NEVER, FRESH, STALE, USED = 0, 1, 2, 3  # bit 0: fresh; USED: nothing new since the last sample

# messages: a row a message in use
LAST_COUNTER = 0  # the next counter + its modulus; 0 = none yet
WRONG = 1  # leaky count of wrong counters, 0..5
CHECKSUM_WRONG = 2  # leaky count of wrong checksums, 0..5
MESSAGE_SIZE = 3
WRONG_LIMIT = 5  # at this count the message is not trusted

# rules: a row a rule of the catalogue
BUSY = 0  # bits 0-2: levels 1-3 are asserted; 3-5: their assert timers run; 6-8: their clear timers run; 9: RELEASED
LEVEL_NOW = 1
ASSERT_MS = 2  # 3 columns: how long it will have run at the next scan; 0 at rest
CLEAR_MS = 5  # 3 columns, likewise
FIRST_ARRIVAL = 8  # 3 columns: arrivals of the signal when the assert timer started
FIRST_SLOT = 11  # 3 columns: the signal that started it
RULE_SIZE = 14
ASSERTING = 56  # these bits: a level's assert timer runs
RELEASED = 512  # an acknowledgement has come: the next scan gives the level up

# memory: columns of one number for each cell, but the first, which is for each cell and then each probe
# marks: of a cell bits 0-12 its voltage in the last sample, 0 = none; 13-23 its deviation at the last rest + REST_BIAS,
# 0 = none. Of a probe bits 0-11 and 12-23 its two newest samples, 0.1 degC + PROBE_BIAS, 0 = none. Of both:
SEEN = 24  # bit: valid once since the start or the last sleep
EVER = 25  # bit: before the last sleep
FAULT = 26  # bit: this probe is left out
SUM_BIAS = 1 << 19
REST_BIAS = 1024
PROBE_BIAS = 501
# shorts: bits 0-11 the reference deviation + SHORTS_BIAS; 12-17 how long the cell has been away from it, s; 18 it rose;
# 19 a neighbour moved opposite; 20-28 transients, 3 bits for each of three buckets, newest first
SHORTS_BIAS = 2048
# drift: bits 0-13 the residual, 14-27 the baseline, 1/16 mV + DRIFT_BIAS each
DRIFT_BIAS = 8192
# batch: bits 0-13 sum of the batch's deviations + DRIFT_BIAS; 14-25 the deviation at the last settled sample
# + SHORTS_BIAS, 0 = none
# contact: bits 0-13 the resistance over the median's, 14-27 the same at the end of learning, uohm + DRIFT_BIAS
# and for each probe, rings: bits 0-11 and 12-23 its two older samples; 24-29 s that it has read like the others
MARKS, SHORTS, DRIFT, BATCH, CONTACT, RINGS = 0, 1, 2, 3, 4, 5
DRIFT_LEARN = 19  # batches
BATCH_SAMPLES = 16
PAIR_LEARN = 32

# --- params --------------------------------------------------------------------------------------------------------

# header: one row
P_FORMAT = 0
P_SCAN_MS = 1
P_MESSAGES = 2
P_GROUPS = 3
P_CELLS = 4
P_PROBES = 5
P_RULES = 6
P_MEMBERS = 7
P_DATA_BYTES = 8  # of a ring record, 8 or 64
P_START_MS = 9  # how long the tables of a starting vehicle may stay unfilled
P_NOMINAL_MV = 10  # pack voltage by which insulation is judged when the pack's own is missing or under class B
P_CALM_MA = 11
P_CALM_STEP_MA = 12
P_CALM_MS = 13
P_CALM_MAD_MV = 14
P_MAX_DISCHARGE_MA = 15  # the profile's own limit; 0 = none
P_MAX_CHARGE_MA = 16
P_LIMIT_FLOOR_MA = 17  # a limit under this is raised to it, or sensor noise at a limit of zero would be an over-current
P_SENT = 18  # bit n: the vehicle sends scalar n
P_OVERCHARGE_MV = 19
P_OVERCHARGE_PERMILLE = 20
P_INFLOW_MA = 21  # charge flows in from this current on
P_MEMORY_AT = 22  # where sections begin in the state
P_GROUPS_AT = 23
P_MESSAGES_AT = 24
P_RULES_AT = 25
P_GROUP_TABLE_AT = 26  # and in params
P_MEMBERS_AT = 27
P_OWNERS_AT = 28
P_SHORTS_AT = 29
P_DRIFT_AT = 30
P_BATCH_AT = 31
P_CONTACT_AT = 32
P_RINGS_AT = 33
P_SLEEP_MS = 34  # silence from which on the vehicle is asleep
P_SLICE = 35  # cells analysed a scan
P_CAPACITY_MAH = 36
P_HOT_DDEGC = 37  # the maker's maximum operating temperature: level 2 of temperature_high
P_CELL_FLOOR_MV = 38  # level 3 of cell_undervoltage
P_INSULATION_FLOOR = 39  # level 3 of insulation_low, ohm/V
P_MISMATCH_PERMILLE = 40  # level 1 of pack_sum_mismatch
P_STEP_MV = 41  # level 3 of pack_step
P_DRIFT_LOW_MV = 42  # between these medians an imbalance shows as one factor
P_DRIFT_HIGH_MV = 43
P_VEHICLE_CELLS = 44  # as the profile says, mapped or not
P_VEHICLE_PROBES = 45
P_WATCH_MS = 46  # for so long after it was parked the box goes on reading at its full rate
P_WAKE_FIRST_MS = 47  # then it sleeps for so long in the first hour,
P_WAKE_MS = 48  # and for so long after it
HEADER_SIZE = 49

# rule table: a row a rule of the catalogue
P_FEATURE = 0  # index of the feature's value in the state
P_FIRST_LIMIT = 1  # the lowest level's limit; out of reach where the rule is inactive
P_SIDE = 2  # 1: judged against being high, -1: low
P_LIMIT = 3  # 3 columns; out of reach where the rule has no such level
P_CLEAR_AT = 6  # 3 columns
P_ASSERT_MS = 9  # 3 columns
P_CLEAR_MS = 12
P_GATE = 13  # index in the state of the feature that must be 1; 0 = none
P_CALM_LEVELS = 14  # bit n-1: level n asserts in calm scans only
P_FLAG = 15  # the general alarm flag as a mask, 0 = none
P_LATCHED = 16
P_SAMPLES = 17  # distinct samples, 1 or 2, that must have come without a valid one denying the condition
P_OWN = 18  # 1: our own finding, counts in LEVEL and MAX_LEVEL; 0: the BMS's
P_NUMBER = 19  # row of the catalogue
RULE_TABLE_SIZE = 20

# group table: a row a group
P_DEADLINE_MS = 0
P_FIRST_MEMBER = 1  # index into the members
P_MEMBER_COUNT = 2
P_MESSAGE = 3
P_CARRIES = 4  # bit 0: cells, bit 1: probes
GROUP_TABLE_SIZE = 5

# members: for each group in turn the signals (slots) it carries.
# owners: for each signal the group it arrives in, 0 where in none.

# crc: from the next multiple of 256 on, 256 values for each checksum table in use, each plus the place of its table

# --- events: a ring of its own, not part of the state ---------------------------------------------------------------

E_HEAD = 0  # events written
E_TAIL = 1  # events read
E_LOST = 2  # events dropped because nobody read in time
E_CAPACITY = 3  # a power of 2
E_FIRST = 4  # the records begin here
EVENT_T_MS = 0  # on the frames' own clock
EVENT_RULE = 1
EVENT_BEFORE = 2  # level before
EVENT_LEVEL = 3  # level now
EVENT_WHERE = 4
EVENT_VALUE = 5
EVENT_SIZE = 6

SCRATCH_SIZE = 129  # bins of a histogram, and what falls in none

# In this order; the sections up to the signals, and in params up to the rule table, begin at the same place in every
# vehicle.
STATE_SECTIONS = ("clock", "features", "signals", "groups", "messages", "rules", "memory")
PARAMS_SECTIONS = ("header", "rule_table", "group_table", "members", "owners", "crc")


def state_sections(header):
    """{name: (first, end)} of the STATE_SECTIONS, for the image whose params begin with `header`."""
    cells, elements = header[P_CELLS], header[P_CELLS] + header[P_PROBES]
    sizes = (
        CLOCK_SIZE,
        FEATURES_SIZE,
        SCALARS + elements,
        header[P_GROUPS] * GROUP_SIZE,
        header[P_MESSAGES] * MESSAGE_SIZE,
        header[P_RULES] * RULE_SIZE,
        elements + 4 * cells + header[P_PROBES],
    )
    return _laid_out(STATE_SECTIONS, sizes)


def memory_columns(header):
    """(first index in the state) of MARKS, SHORTS, DRIFT, BATCH, CONTACT and RINGS."""
    cells = header[P_CELLS]
    first = state_sections(header)["memory"][0]
    after = first + cells + header[P_PROBES]
    return (first, after, after + cells, after + 2 * cells, after + 3 * cells, after + 4 * cells)


def params_sections(header, total):
    """{name: (first, end)} of the PARAMS_SECTIONS; `total` is the length of params: crc takes what is left."""
    sizes = (
        HEADER_SIZE,
        header[P_RULES] * RULE_TABLE_SIZE,
        header[P_GROUPS] * GROUP_TABLE_SIZE,
        header[P_MEMBERS],
        SCALARS + header[P_CELLS] + header[P_PROBES],
    )
    return _laid_out(PARAMS_SECTIONS, sizes + (total - sum(sizes),))


def _laid_out(names, sizes):
    sections = {}
    first = 0
    for i in range(len(names)):
        sections[names[i]] = (first, first + sizes[i])
        first += sizes[i]
    return sections
