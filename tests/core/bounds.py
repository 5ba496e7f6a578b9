"""How far each number of the state goes: the lowest and highest value of every word of layout.py.

A bound is (low, high, and any single values beside them): a value or NA, a code or 0 for none. A word that holds
several numbers has a bound for each of its parts, lowest bits first; the last part has all bits that are left, so a
stray bit above is seen as well. What depends on the vehicle comes from its params and its plan.

    Bounds(compiled).broken(state)    what is outside, as lines for people; [] where nothing is
"""

from dataclasses import dataclass

import numpy as np
from cellwarden.core import layout as L
from cellwarden_tools.compiler.quantities import QUANTITIES

NA = L.NA
COUNTER = (0, L.MASK)  # wraps
BIT = (0, 1)
CELL = QUANTITIES["cell_voltage"].low, QUANTITIES["cell_voltage"].high
PROBE = QUANTITIES["temperature"].low, QUANTITIES["temperature"].high
CURRENT_MA = QUANTITIES["pack_current"].high
PACK_MV = QUANTITIES["pack_voltage"].high
SOC = QUANTITIES["soc"].high
INSULATION_OHM = QUANTITIES["insulation"].high
SLOTS = {
    quantity.slot: (quantity.low, quantity.high, NA) for quantity in QUANTITIES.values() if quantity.slot is not None
}

# The widest that follows from these.
CELL_SPAN = CELL[1] - CELL[0]
REST_DEV, SHORTS_DEV = L.REST_BIAS - 1, L.SHORTS_BIAS - 1  # deviations as they are kept
DRIFT_SUM = 16 * 511  # of a batch of deviations, and the mean of such sums
RESIDUAL = CONTACT = L.DRIFT_BIAS - 1
SUM_AWAY = 500_000 + 1000 // 50
SHORTS = 3 * 7  # transients of a cell: three buckets
PROBE_CODE = (PROBE[0] + L.PROBE_BIAS, PROBE[1] + L.PROBE_BIAS, 0)
HOURS = MOST = -NA - 1  # where what would go on for ever stops
DRAWN = 0x3FFFF
TREND_OHM_PER_V, TREND_READINGS = 2000, 6 * 3601  # one a second for six hours, and one more where an hour begins
HELD_MS, SIGN_MS, OLD_MS = 5000, 30_000, 61_000


@dataclass(frozen=True)
class Field:
    """A number in the words `at` of the state: bits from `shift` on, `width` of them or, where None, all that are left.

    also: single values beside low..high
    """

    name: str
    at: tuple
    low: int
    high: int
    also: tuple = ()
    shift: int = 0
    width: int | None = None

    def read(self, words):
        """The number, out of words of the state (an array of int64)."""
        value = words >> self.shift
        return value if self.width is None else value & (1 << self.width) - 1


def fields(compiled):
    """Every Field of a vehicle's state, in no special order."""
    p = compiled.image.params
    sections = L.state_sections(p)
    cells, probes = p[L.P_CELLS], p[L.P_PROBES]
    out = []

    def whole(name, at, bound):
        out.append(Field(name, tuple(at), *bound[:2], tuple(bound[2:])))

    def packed(name, at, *parts):
        shift = 0
        for part, width, bound in parts:
            out.append(Field(f"{name}: {part}", tuple(at), *bound[:2], tuple(bound[2:]), shift, width))
            shift += width or 0

    for column, bound in clock(p).items():
        whole(_named(column, "NOW_MS", "CLOCK_SIZE"), (column,), bound)
    flags = sum({1 << n for n in (9, 12, 13, 14, 15, 17)} | {1 << n for rule in compiled.rules for n in rule.flags})
    packed("FLAGS", (L.FLAGS,), *((f"flag {n}", 1, (0, flags >> n & 1)) for n in range(24)), ("above", None, (0, 0)))
    for n in range(6):
        packed(f"SOC_REFERENCE {n}", (L.SOC_REFERENCE + n,), ("SOC", 11, (0, SOC)), ("drawn", None, (0, DRAWN)))
    packed("STEP_STATE", (L.STEP_STATE,), ("contactors", 2, (0, 2)), ("across a sleep", None, BIT))

    slots = L.SCALARS + cells + probes
    for feature, (value, where) in features(p).items():
        name = _named(feature, "F_CELL_MAX_MV", "FEATURES")
        at = L.FEATURES_AT + feature
        whole(name, (at + L.VALUE,), (*value, NA))  # what has not been measured yet is NA
        whole(f"{name} WHERE", (at + L.WHERE,), (0, where))
        # Of none, the cells' or probes' first place; it is only read where there is one.
        whole(f"{name} SLOT", (at + L.SLOT,), (0, slots if feature in (L.F_CELLS_DEAD, L.F_PROBES_DEAD) else slots - 1))
        whole(f"{name} COMPLETE", (at + L.COMPLETE,), BIT)

    for slot, bound in SLOTS.items():
        whole(_named(slot, "PACK_VOLTAGE_MV", "SCALARS"), (L.SIGNALS_AT + slot,), bound)
    whole("ALWAYS", (L.SIGNALS_AT + L.ALWAYS,), (0, 0))
    first = L.SIGNALS_AT + L.SCALARS
    whole("cells", range(first, first + cells), (*CELL, NA))
    whole("probes", range(first + cells, first + cells + probes), (*PROBE, NA))

    for column, bound in ((L.STATUS, (L.NEVER, L.USED)), (L.STAMP_MS, COUNTER), (L.ARRIVALS, COUNTER)):
        first, end = sections["groups"]
        whole(_named(column, "STATUS", "GROUP_SIZE"), range(first + column, end, L.GROUP_SIZE), bound)

    first, end = sections["messages"]
    for number, (_, message, trust) in enumerate(compiled.plan.messages):
        modulus = 1 << trust.counter.length if trust.counter else 0
        at = first + number * L.MESSAGE_SIZE
        whole(f"{message.name} LAST_COUNTER", (at + L.LAST_COUNTER,), (modulus + 1 if modulus else 0, 2 * modulus, 0))
        whole(f"{message.name} WRONG", (at + L.WRONG,), (0, L.WRONG_LIMIT if modulus else 0))
        whole(f"{message.name} CHECKSUM_WRONG", (at + L.CHECKSUM_WRONG,), (0, L.WRONG_LIMIT if trust.checksum else 0))

    first, end = sections["rules"]
    table = L.HEADER_SIZE
    for number, rule in enumerate(compiled.rules):
        row = first + number * L.RULE_SIZE
        told = p[table + number * L.RULE_TABLE_SIZE : table + (number + 1) * L.RULE_TABLE_SIZE]
        most = (1 << 3) - 1 if rule.active else 0
        packed(
            f"{rule.name} BUSY", (row + L.BUSY,),
            ("asserted", 3, (0, most)), ("asserting", 3, (0, most)), ("clearing", 3, (0, most)),
            ("released", None, BIT if rule.active else (0, 0)),
        )  # fmt: skip
        whole(f"{rule.name} LEVEL_NOW", (row + L.LEVEL_NOW,), (0, 3 if rule.active else 0))
        for level in range(3):
            assert_ms = told[L.P_ASSERT_MS + level]
            whole(f"{rule.name} ASSERT_MS {level}", (row + L.ASSERT_MS + level,), (0, _up_to(p, assert_ms)))
            whole(f"{rule.name} CLEAR_MS {level}", (row + L.CLEAR_MS + level,), (0, _up_to(p, told[L.P_CLEAR_MS])))
            whole(f"{rule.name} FIRST_ARRIVAL {level}", (row + L.FIRST_ARRIVAL + level,), COUNTER)
            whole(f"{rule.name} FIRST_SLOT {level}", (row + L.FIRST_SLOT + level,), (0, slots - 1))

    marks, shorts, drift, batch, contact, rings = L.memory_columns(p)
    packed(
        "MARKS of a cell", range(marks, marks + cells),
        ("voltage", 13, (*CELL, 0)), ("deviation at rest", 11, (L.REST_BIAS - REST_DEV, L.REST_BIAS + REST_DEV, 0)),
        ("SEEN", 1, BIT), ("EVER", 1, BIT), ("FAULT", None, (0, 0)),
    )  # fmt: skip
    packed(
        "MARKS of a probe", range(marks + cells, shorts),
        ("newest", 12, PROBE_CODE), ("next", 12, PROBE_CODE), ("SEEN", 1, BIT), ("EVER", 1, BIT), ("FAULT", None, BIT),
    )  # fmt: skip
    packed(
        "SHORTS", range(shorts, drift),
        ("reference", 12, (L.SHORTS_BIAS - SHORTS_DEV, L.SHORTS_BIAS + SHORTS_DEV, 0)), ("away, s", 6, (0, 60)),
        ("rose", 1, BIT), ("paired", 1, BIT), ("newest bucket", 3, (0, 7)), ("middle", 3, (0, 7)),
        ("oldest", None, (0, 7)),
    )  # fmt: skip
    packed(
        "DRIFT", range(drift, batch),
        ("residual", 14, (L.DRIFT_BIAS - RESIDUAL, L.DRIFT_BIAS + RESIDUAL, 0)),
        ("baseline", None, (L.DRIFT_BIAS - DRIFT_SUM, L.DRIFT_BIAS + DRIFT_SUM, 0)),
    )  # fmt: skip
    packed(
        "BATCH", range(batch, contact),
        ("sum", 14, (L.DRIFT_BIAS - DRIFT_SUM, L.DRIFT_BIAS + DRIFT_SUM, 0, (1 << 14) - 1)),
        ("settled", None, (L.SHORTS_BIAS - SHORTS_DEV, L.SHORTS_BIAS + SHORTS_DEV, 0)),
    )  # fmt: skip
    packed(
        "CONTACT", range(contact, rings),
        ("resistance", 14, (L.DRIFT_BIAS - CONTACT, L.DRIFT_BIAS + CONTACT, 0)),
        ("learned", None, (L.DRIFT_BIAS - CONTACT, L.DRIFT_BIAS + CONTACT, 0)),
    )  # fmt: skip
    packed(
        "RINGS", range(rings, sections["memory"][1]),
        ("third", 12, PROBE_CODE), ("oldest", 12, PROBE_CODE), ("like the others, s", None, (0, 59)),
    )  # fmt: skip
    return [field for field in out if field.at]


def clock(p):
    """{column: bound} of the clock, but the columns that hold several numbers."""
    cells, probes = p[L.P_CELLS], p[L.P_PROBES]
    calm_ma = p[L.P_CALM_MA]
    moved_mv = SHORTS_DEV + CELL_SPAN  # a deviation against one that was kept
    counters = (
        L.NOW_MS, L.DUE_MS, L.OFFSET_MS, L.SCANS, L.FRAMES, L.IGNORED, L.MALFORMED, L.CHECKSUM_ERRORS,
        L.COUNTER_ERRORS, L.TIME_BACKWARD, L.EVENTS, L.RING_MS, L.RING_MS_2, L.RING_MS_3, L.RING_MS_4,
        L.MALFORMED_BEFORE, L.BACKWARD_BEFORE, L.DROPPED_BEFORE, L.DROPPED,
    )  # fmt: skip
    bits = (L.STARTED, L.KNOWN, L.DOUBT, L.SLEPT, L.AGREE, L.REST_SET, L.REST_DUE, L.STEEP)
    numbers = (L.MOST_SHORTS_AT, L.MOST_DRIFT_AT, L.MOST_CONTACT_AT, L.MOST_FALL_AT, L.MOST_SENSE_AT)
    return {
        **dict.fromkeys(counters, COUNTER),
        **dict.fromkeys(bits, BIT),
        **dict.fromkeys(numbers, (0, cells)),
        **dict.fromkeys((L.LEVEL, L.MAX_LEVEL), (0, 3)),
        **dict.fromkeys((L.WAITING, L.LOST), (0, p[L.P_GROUPS])),
        L.AGE_MS: (0, 60_000),
        L.QUIET_MS: (0, p[L.P_CALM_MS]),
        L.QUIET_LOW_MA: (-calm_ma, calm_ma, NA),
        L.QUIET_HIGH_MA: (-calm_ma, calm_ma),
        **dict.fromkeys((L.CELLS_SEEN, L.CELLS_MISSING, L.ABSENT_LEAST, L.GONE_BEFORE, L.GONE_SINCE), (0, cells)),
        **dict.fromkeys((L.PROBES_SEEN, L.FAULTY), (0, probes)),
        L.MODE: (L.UNKNOWN, L.ASLEEP),
        L.ACTIVE: (0, 3),
        L.SILENT_MS: (0, _up_to(p, p[L.P_SLEEP_MS])),
        **dict.fromkeys((L.ASLEEP_SCANS, L.PARKED_MS), (0, MOST)),
        L.WAKING_MS: (0, 30_000 if cells else 0),
        L.REST_MS: (0, _up_to(p, 60_000)),
        L.STEADY_MS: (0, _up_to(p, 2000)),
        L.STEADY_LOW_MA: (-CURRENT_MA, CURRENT_MA, NA),
        L.STEADY_HIGH_MA: (-CURRENT_MA, CURRENT_MA),
        L.HOUR_MS: (0, 3_599_999),
        L.HOURS: (0, HOURS),
        L.PENDING: (0, 3),
        **dict.fromkeys((L.CELLS_AGE_MS, L.REFERENCE_AGE_MS, L.PAIR_AGE_MS, L.PROBES_AGE_MS), (0, _up_to(p, OLD_MS))),
        L.PHASE: (L.PHASE_DONE, L.PHASE_CELLS),
        L.NEXT_CELL: (0, max(cells, CELL_SPAN)),
        L.KIND: (0, 2 * L.KIND_COMPARE - 1),
        L.SAMPLE_S: (0, (_up_to(p, OLD_MS) + 500) // 1000),
        L.MEDIAN_MV: (*CELL, 0, NA),
        **dict.fromkeys((L.REFERENCE_MV, L.REFERENCE_BEFORE_MV, L.PAIR_MV), (*CELL, 0)),
        L.FROZEN_S: (0, 3600),
        **dict.fromkeys((L.FROZEN_LOW_MA, L.FROZEN_HIGH_MA, L.PAIR_MA), (-CURRENT_MA, CURRENT_MA, NA)),
        L.BIAS_SUM_MV: (-300 * 500_000, 300 * 500_000),
        L.BIAS_SAMPLES: (0, 300),
        L.SUM_AWAY_PERMILLE: (L.SUM_BIAS - SUM_AWAY, L.SUM_BIAS + SUM_AWAY, 0),
        L.BUCKET: (0, HOURS // 12),
        L.ROTATE: (0, 9),
        L.CALM_BEFORE: (0, 2),
        L.LEAST_STEP_MV: (0, 30),
        **dict.fromkeys((L.LAST_PACK_MV, L.PAIR_PACK_MV), (0, PACK_MV, NA)),
        **dict.fromkeys((L.LAST_HOT_DDEGC, L.LAST_COLD_DDEGC), (*PROBE, NA)),
        L.DRIFT_WAIT_MS: (0, _up_to(p, 10_000)),
        L.DRIFT_SAMPLES: (0, L.BATCH_SAMPLES),
        L.DRIFT_BATCHES: (0, L.DRIFT_LEARN),
        L.DRIFT_FIT: (-cells * (DRIFT_SUM // 16) ** 2, cells * (DRIFT_SUM // 16) ** 2),
        L.DRIFT_NORM: (0, cells * (DRIFT_SUM // 16) ** 2),
        L.PAIR_STEP_DA: (-2 * CURRENT_MA // 100, 2 * CURRENT_MA // 100),
        L.PAIRS: (0, L.PAIR_LEARN + 1),
        L.OWN_UOHM: (0, 10_000),
        L.MOST_SHORTS: (0, max(SHORTS, (cells + 1) // 2)),
        L.NEXT_SHORTS: (0, SHORTS),
        L.MOST_DRIFT: (0, RESIDUAL),
        **dict.fromkeys((L.MOST_CONTACT_UOHM, L.NEXT_CONTACT_UOHM), (0, 2 * CONTACT)),
        **dict.fromkeys((L.MOST_FALL_MV, L.NEXT_FALL_MV), (0, REST_DEV + CELL_SPAN)),
        L.MOST_SENSE_MV: (0, moved_mv),
        L.RING: (0, 4),
        L.CHARGE_REST: (0, 36 * p[L.P_CAPACITY_MAH] - 1),
        L.DRAWN_PERMILLE: (0, DRAWN),
        L.SOC_WAIT_MS: (0, _past(p, 10_000)),
        L.SOC_NEXT: (0, 5),
        L.STEP_MV: (0, PACK_MV, NA),
        L.STEP_AGE_MS: (0, _past(p, 60_000)),
        L.STEP_SOC_PERMILLE: (0, SOC, NA),
        L.TREND_SUM: (0, TREND_OHM_PER_V * TREND_READINGS),
        L.TREND_COUNT: (0, TREND_READINGS),
        **dict.fromkeys(range(L.TREND_POINT, L.TREND_POINT_4 + 1), (0, TREND_OHM_PER_V)),
        **dict.fromkeys(range(L.TREND_HOUR, L.TREND_HOUR_4 + 1), (0, HOURS)),
        L.TREND_POINTS: (0, 4),
        **dict.fromkeys((L.MALFORMED_MS, L.BACKWARD_MS, L.DROPPED_MS), (0, HELD_MS)),
        L.BUS_OFF: (0, 255),
        L.ABSENT_MS: (0, _up_to(p, 30_000)),
        **dict.fromkeys(range(L.SIGN_MS, L.SIGN_MS_8 + 1), (0, SIGN_MS)),
        L.GONE_MS: (0, 10_000),
        L.WHOLE: (0, 15),
    }


def features(p):
    """{feature: ((low, high) of its value, the highest number of a cell or probe it names)}."""
    cells, probes = p[L.P_CELLS], p[L.P_PROBES]
    spread = CELL_SPAN, PROBE[1] - PROBE[0]
    permille = CURRENT_MA * 100 // (p[L.P_LIMIT_FLOOR_MA] // 10)
    least_v = min(60_000, p[L.P_NOMINAL_MV]) // 100  # tenths of a volt, by which insulation is judged
    pack = {
        L.F_PACK_VOLTAGE_MV: (0, PACK_MV), L.F_DISCHARGE_PERMILLE: (0, permille), L.F_CHARGE_PERMILLE: (0, permille),
        L.F_INSULATION_OHM_PER_V: (0, INSULATION_OHM * 10 // least_v), L.F_SOC_PERMILLE: (0, SOC),
        L.F_OVERCHARGE: BIT, L.F_HVIL_OPEN: BIT, L.F_BMS_LEVEL: (0, 3), L.F_CHARGING: BIT, L.F_CONTACTORS: BIT,
        L.F_VEHICLE_ON: BIT, L.F_CALM: BIT, L.F_CELLS_VALID: (0, cells), L.F_CELLS_LOST: (0, cells),
        L.F_PROBES_VALID: (0, probes), L.F_PROBES_LOST: (0, probes), L.F_SOC_JUMP_PERMILLE: (0, SOC),
        L.F_PACK_STEP_MV: (0, PACK_MV), L.F_SUM_MISMATCH_PERMILLE: (0, SUM_AWAY),
        L.F_INSULATION_H: (0, TREND_OHM_PER_V * 10_000), L.F_SIGNAL_LOST: (0, 2), L.F_COUNTER_WRONG: (0, 5),
        L.F_CHECKSUM_WRONG: (0, 5), L.F_MALFORMED: BIT, L.F_DROPPED: BIT, L.F_BUS_OFF: BIT,
        L.F_CELLS_ABSENT: (0, cells), L.F_FROZEN_S: (0, 3600), L.F_BACKWARD: BIT, L.F_COUNT_DIFFERS: BIT,
        L.F_SUSPECTED: BIT,
    }  # fmt: skip
    of_cells = {
        L.F_CELL_MAX_MV: CELL, L.F_CELL_MIN_MV: CELL,
        # A vehicle that sends its extremes may send the highest under the lowest.
        L.F_CELL_SPREAD_MV: (0 if cells else -spread[0], spread[0]),
        L.F_TRANSIENTS: (0, SHORTS), L.F_DRIFT_MV: (0, RESIDUAL >> 4),
        L.F_SELF_DISCHARGE_UV_PER_H: (0, (REST_DEV + CELL_SPAN) * 1000), L.F_CONTACT_UOHM: (0, 2 * CONTACT),
        L.F_CELLS_GONE: (0, 2), L.F_SENSE_LINE_MV: (0, SHORTS_DEV + CELL_SPAN), L.F_RUNAWAY: BIT,
        L.F_CELLS_DEAD: (0, cells),
    }  # fmt: skip
    of_probes = {
        L.F_PROBE_MAX_DDEGC: PROBE, L.F_PROBE_MIN_DDEGC: PROBE,
        L.F_PROBE_SPREAD_DDEGC: (0 if probes else -spread[1], spread[1]),
        L.F_RISE_MK_PER_S: (0, spread[1] * 100_000 // 4000), L.F_PROBE_FAULTS: (0, probes),
        L.F_PROBES_DEAD: (0, probes),
    }  # fmt: skip
    out = {}
    for told, most in ((pack, 0), (of_cells, cells), (of_probes, probes)):
        for feature, bound in told.items():
            # Of none dead the first is named; nobody reads it.
            out[feature] = bound, max(most, feature in (L.F_CELLS_DEAD, L.F_PROBES_DEAD))
    return out


def _up_to(p, ms):
    """The highest reading of a timer that runs until it has reached `ms`: it moves by whole scans."""
    scan_ms = p[L.P_SCAN_MS]
    return -(-ms // scan_ms) * scan_ms


def _past(p, ms):
    """Likewise of one that runs until it is over `ms`."""
    scan_ms = p[L.P_SCAN_MS]
    return (ms // scan_ms + 1) * scan_ms


def _named(value, first, size):
    """The layout's own name of a column, out of the block of constants from `first` to before `size`."""
    names = list(vars(L))
    block = names[names.index(first) : names.index(size)]
    return next((name for name in block if getattr(L, name) == value), f"{first} + {value}")


class Bounds:
    """The bounds of a vehicle's state, made to be asked often."""

    def __init__(self, compiled):
        self.params = compiled.image.params
        self.fields = fields(compiled)
        rows = [(at, field) for field in self.fields for at in field.at]
        self.rows = rows
        self.at = np.array([at for at, _ in rows], "i4")
        self.low = np.array([field.low for _, field in rows], "i8")
        self.high = np.array([field.high for _, field in rows], "i8")
        self.shift = np.array([field.shift for _, field in rows], "i8")
        self.mask = np.array([-1 if field.width is None else (1 << field.width) - 1 for _, field in rows], "i8")
        most = max(len(field.also) for _, field in rows)
        self.also = np.array([(*field.also, *[field.low] * (most - len(field.also))) for _, field in rows], "i8")

    def outside(self, state):
        """Numbers of the rows that a state (int32) breaks."""
        value = state[self.at].astype("i8") >> self.shift & self.mask
        far = (value < self.low) | (value > self.high)
        if not far.any():
            return ()
        return np.flatnonzero(far & (value[:, None] != self.also).all(1))

    def broken(self, state):
        """What is outside, as lines for people; [] where nothing is. state: of int32, or the bytes of a snapshot."""
        state = np.frombuffer(state, "i4")
        lines = []
        for row in self.outside(state):
            at, field = self.rows[row]
            value = int(field.read(np.int64(state[at])))
            also = "".join(f" or {n}" for n in field.also)
            lines.append(f"word {at}, {field.name}: {value} is not {field.low}..{field.high}{also}")
        return lines + self.contradictions(state)

    def contradictions(self, state):
        """What no single word shows: words that cannot stand beside each other."""
        p, lines = self.params, []
        sections = L.state_sections(p)
        if state[L.STARTED] and not 0 < (int(state[L.DUE_MS]) - int(state[L.NOW_MS])) & L.MASK <= p[L.P_SCAN_MS]:
            lines.append("the next scan is not due within one grid step")
        if state[L.LEVEL] > state[L.MAX_LEVEL]:
            lines.append("LEVEL is over MAX_LEVEL")
        if state[L.WAITING] + state[L.LOST] > p[L.P_GROUPS]:
            lines.append("more groups are missing than there are")
        rules = state[slice(*sections["rules"])].reshape(-1, L.RULE_SIZE)
        busy, level = rules[:, L.BUSY], rules[:, L.LEVEL_NOW]
        asserted, asserting, clearing = busy & 7, busy >> 3 & 7, busy >> 6 & 7
        if (asserted & asserting).any() or (clearing & ~asserted).any():
            lines.append("a level that is asserted is being asserted, or one that is not is being cleared")
        if (level != np.array([0, 1, 2, 2, 3, 3, 3, 3])[asserted]).any():
            lines.append("LEVEL_NOW is not the highest asserted level")
        for first, bits in ((L.ASSERT_MS, asserting), (L.CLEAR_MS, clearing)):
            idle = (bits[:, None] >> np.arange(3) & 1) == 0
            if (rules[:, first : first + 3][idle] != 0).any():
                lines.append("a timer that does not run is not at rest")
        marks = state[p[L.P_MEMORY_AT] :][: p[L.P_CELLS] + p[L.P_PROBES]]
        for name, column, some in (
            ("cells", L.CELLS_SEEN, marks[: p[L.P_CELLS]]),
            ("probes", L.PROBES_SEEN, marks[p[L.P_CELLS] :]),
        ):
            if state[column] != (some >> L.SEEN & 1).sum():
                lines.append(f"{name} seen: {state[column]}, but marked otherwise")
        return lines
