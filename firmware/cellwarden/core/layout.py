"""The layout of `state` and `params`, the two int32 arrays the core works on.

Each array is a row of sections; a section is a table of int32 columns. What stands at the same place for every vehicle
comes first, so that the hot files reach it by a constant index, which viper makes one instruction; where the other
sections begin stands in the header of `params`.

MicroPython inlines a constant only inside the file that declares it, so the hot files repeat the numbers they use as
`_NAME = const(n)`; tests/core/test_layout.py holds each of them against this page.

Units stand in the names. All times are milliseconds on a 30-bit clock (`& MASK`), so differences are wrap-safe. Values
lie in (-2^29, 2^29): the difference of any two of them, NA included, has its sign in bit 30.
"""

FORMAT = 2  # of this page; an image made for another one is refused

NA = -0x20000000  # -2^29: no value
WRAP = -0x3FFFFFFF - 1  # -2^30: (a + WRAP + b) & MASK adds two numbers of 30 bits and never leaves them
STEP = WRAP + 1  # (a + STEP) & MASK is one more than a
MASK = 0x3FFFFFFF  # the clock and every counter have 30 bits: they stay small integers on a 32-bit MicroPython
HALF = 0x20000000  # a difference from here on is a step back
EXT = 0x20000000  # set in an identifier of 29 bits

# One frame record of the ring: time, identifier (| EXT), channel, length, data.
RECORD_T_MS = 0  # int32
RECORD_ID = 4  # int32
RECORD_CHANNEL = 8  # byte: number of the [[bus]] in the profile
RECORD_LENGTH = 9  # byte
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
EVENTS = 11  # events made since the start
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
CLOCK_SIZE = 25

# features: columns of FEATURES numbers each
FEATURES_AT = 25
VALUE = 0  # in the feature's unit, or NA
WHERE = 22  # number of the cell or probe from 1; 0 = the pack
SLOT = 44  # the signal it came from
COMPLETE = 66  # 1 where nothing that was valid before is missing from it now
FEATURES_SIZE = 88

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
FEATURES = 22

# signals: scalars in this order, then the cells (mV), then the probes (0.1 degC)
SIGNALS_AT = 113
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
SCALARS = 22

# groups: a row for each set of signals that arrives together, a message or one page of a multiplexed message
STATUS = 0
STAMP_MS = 1
ARRIVALS = 2
GROUP_SIZE = 3
NEVER, FRESH, STALE = 0, 1, 2

# messages: a row a message in use
LAST_COUNTER = 0  # the next counter + its modulus; 0 = none yet
WRONG = 1  # leaky count of wrong counters, 0..5
MESSAGE_SIZE = 2
WRONG_LIMIT = 5  # at this count the message is not trusted

# rules: a row a rule of the catalogue
BUSY = 0  # bits 0-2: levels 1-3 are asserted; 3-5: their assert timers run; 6-8: their clear timers run
LEVEL_NOW = 1
ASSERT_MS = 2  # 3 columns: how long it will have run at the next scan; 0 at rest
CLEAR_MS = 5  # 3 columns, likewise
FIRST_ARRIVAL = 8  # 3 columns: arrivals of the signal when the assert timer started
FIRST_SLOT = 11  # 3 columns: the signal that started it
RULE_SIZE = 14

# memory: one number for each cell and probe that says whether it was valid once since the start, then for each cell its
# value at the last scan of a quiet current, 0 = none

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
HEADER_SIZE = 29

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
GROUP_TABLE_SIZE = 4

# members: for each group in turn the signals (slots) it carries.
# owners: for each signal the group it arrives in, or NA.

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

SCRATCH_SIZE = 65  # bins of the histogram of cell steps, and the cells without a step

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
        elements + cells,
    )
    return _laid_out(STATE_SECTIONS, sizes)


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
