"""What is measured in every scan, beside a plain telling: the pack's values, how quiet its current is, and extremes."""

import random

import pytest
from cellwarden.core import layout as L
from cellwarden.core.measure import measure_arrays, measure_pack
from rig import Loaded, Rig, changed

NA = L.NA
SCAN_MS = 100
FLAGS = range(L.BMS_FLAG_9, L.BMS_FLAG_17 + 1)


class MeasureRig(Rig):
    """A Rig of which one scan is no more than what is measured. loaded: on words that are loaded without their sign."""

    def __init__(self, image, loaded=False):
        super().__init__(image, healthy=False)
        self.arrays = self.engine.box[:2]
        if loaded:
            self.arrays = [Loaded(words) for words in self.arrays]

    def feature_of(self, number):
        """(value, where, slot, complete)"""
        return tuple(self.features[column + number] for column in (L.VALUE, L.WHERE, L.SLOT, L.COMPLETE))


# --- the pack ---------------------------------------------------------------------------------------------------------

PACK = {
    L.PACK_VOLTAGE_MV: (NA, 0, 22_200, 59_999, 60_000, 60_001, 355_299),
    L.PACK_CURRENT_MA: (NA, 0, 1, -1, 99, 1999, 2000, 2001, 5000, 5001, -5000, -5001, 7000, 80_000, 80_001, -90_000),
    L.SOC_PERMILLE: (NA, 0, 500), L.INSULATION_OHM: (NA, 0, 1, 1_000_000), L.INSULATION_VALID: (NA, 0, 1),
    L.HVIL_OK: (NA, 0, 1), L.CHARGING: (NA, 0, 1), L.CONTACTORS: (NA, 0, 1), L.VEHICLE_ON: (NA, 0, 1),
    L.BMS_LEVEL: (NA, NA, 0, 1, 2, 3), L.MAX_DISCHARGE_MA: (NA, 0, 4999, 5000, 5009, 80_000, 200_000),
    L.MAX_CHARGE_MA: (NA, 0, 4999, 5000, 80_000, 200_000), **dict.fromkeys(FLAGS, (NA, 0, 0, 1)),
}  # fmt: skip


class PackTold:
    """scan(signals) -> ({feature: (value, where, slot, complete)}, how quiet, ms at rest)."""

    def __init__(self, params):
        self.sent = {slot for slot in range(L.SCALARS) if params[L.P_SENT] >> slot & 1}
        self.most = [params[L.P_MAX_DISCHARGE_MA], params[L.P_MAX_CHARGE_MA]]
        self.quiet, self.rest_ms = [], 0

    def load(self, flow, profile, slot, s):
        if flow is None:
            return NA
        if flow <= 0:
            return 0
        own = s[slot] if slot in self.sent else None
        limits = [limit for limit in (profile or None, own) if limit not in (None, NA)]
        limit = max(min(limits, default=0), 5000)
        if own == NA and not (profile and flow > limit):
            return NA
        return flow * 100 // (limit // 10)

    def bms(self, s):
        level, slot = s[L.BMS_LEVEL], L.BMS_LEVEL
        complete = not (L.BMS_LEVEL in self.sent and level == NA)
        for flag in FLAGS if self.sent & set(FLAGS) else ():
            if s[flag] == 1 and level < 1:
                level, slot = 1, flag
            elif s[flag] == 0 and level == NA and L.BMS_LEVEL not in self.sent:
                level, slot = 0, flag
            complete = complete and not (s[flag] == NA and flag in self.sent)
        return level, 0, slot, int(complete)

    def scan(self, s):
        current = None if s[L.PACK_CURRENT_MA] == NA else s[L.PACK_CURRENT_MA]
        volts = s[L.PACK_VOLTAGE_MV] if s[L.PACK_VOLTAGE_MV] >= 60_000 else 22_200
        valid = L.INSULATION_VALID not in self.sent or s[L.INSULATION_VALID] == 1
        ohm = NA if s[L.INSULATION_OHM] == NA or not valid else s[L.INSULATION_OHM] * 10 // (volts // 100)
        flow = current, None if current is None else -current
        slots = L.MAX_DISCHARGE_MA, L.MAX_CHARGE_MA
        loads = [self.load(*told, s) for told in zip(flow, self.most, slots, strict=True)]
        told = {
            L.F_PACK_VOLTAGE_MV: (s[L.PACK_VOLTAGE_MV], 0, L.PACK_VOLTAGE_MV, 1),
            L.F_DISCHARGE_PERMILLE: (loads[0], 0, L.PACK_CURRENT_MA, 1),
            L.F_CHARGE_PERMILLE: (loads[1], 0, L.PACK_CURRENT_MA, 1),
            L.F_INSULATION_OHM_PER_V: (ohm, 0, L.INSULATION_OHM, 1),
            L.F_SOC_PERMILLE: (s[L.SOC_PERMILLE], 0, L.SOC_PERMILLE, 1),
            L.F_HVIL_OPEN: (NA if s[L.HVIL_OK] == NA else int(not s[L.HVIL_OK]), 0, L.HVIL_OK, 1),
            L.F_BMS_LEVEL: self.bms(s),
            L.F_CHARGING: (s[L.CHARGING], 0, L.ALWAYS, 1), L.F_CONTACTORS: (s[L.CONTACTORS], 0, L.ALWAYS, 1),
            L.F_VEHICLE_ON: (s[L.VEHICLE_ON], 0, L.ALWAYS, 1),
        }  # fmt: skip
        if current is None or abs(current) > 5000:
            self.quiet, self.rest_ms = [], self.rest_ms if current is None else 0
            return told, 0, self.rest_ms
        self.rest_ms = min(self.rest_ms + SCAN_MS, 60_000)
        wide = [*self.quiet, current]
        self.quiet = wide if self.quiet and max(wide) - min(wide) < 2000 else [current]
        return told, 2 if len(self.quiet) > 20 else 1, self.rest_ms


VEHICLES = {
    "sends all": (0, 0, (), False), "has its own limits": (80_000, 90_000, (), False),
    "sends no limits": (80_000, 0, (L.MAX_DISCHARGE_MA, L.MAX_CHARGE_MA, L.INSULATION_VALID), False),
    "has flags only": (0, 4000, (L.BMS_LEVEL, L.BMS_FLAG_13), False), "has a level only": (0, 0, tuple(FLAGS), False),
    "loaded without a sign": (80_000, 0, (L.BMS_LEVEL,), True),
}  # fmt: skip


@pytest.mark.parametrize("vehicle", VEHICLES)
@pytest.mark.parametrize("seed", range(6))
def test_every_value_of_the_pack_is_measured_as_the_page_says(small, vehicle, seed):
    rng = random.Random(f"{vehicle} {seed}")
    discharge_ma, charge_ma, unsent, loaded = VEHICLES[vehicle]
    sent = (1 << L.SCALARS) - 1 & ~sum(1 << slot for slot in unsent)
    header = {L.P_SENT: sent, L.P_MAX_DISCHARGE_MA: discharge_ma, L.P_MAX_CHARGE_MA: charge_ma}
    rig = MeasureRig(changed(small.image, header=header), loaded)
    told = PackTold(rig.engine.box[1])
    s = {slot: NA if slot in unsent else values[-1] for slot, values in PACK.items()}
    for k in range(120):
        names = [L.PACK_CURRENT_MA] if k % 3 else rng.sample(sorted(PACK), 4)
        for slot in names:
            s[slot] = NA if slot in unsent else rng.choice(PACK[slot])
        for _ in range(rng.choice((1, 1, 2, 19, 20, 21, 22))):
            for slot, value in s.items():
                rig.signals[slot] = value
            features, quiet, rest_ms = told.scan(s)
            assert measure_pack(*rig.arrays) == quiet
            wrong = {n: rig.feature_of(n) for n, want in features.items() if rig.feature_of(n) != want}
            assert not wrong, (s, features)
            assert rig.clock[L.REST_MS] == rest_ms and rig.clock[L.QUIET_MS] == max(len(told.quiet[:21]) - 1, 0) * 100


def test_a_flag_that_is_not_sent_is_not_looked_at(small):
    rig = MeasureRig(changed(small.image, header={L.P_SENT: (1 << L.BMS_FLAG_9) - 1 & ~(1 << L.BMS_LEVEL)}))
    rig.signals[L.BMS_FLAG_12] = 1
    measure_pack(*rig.arrays)
    assert rig.feature_of(L.F_BMS_LEVEL) == (NA, 0, L.BMS_LEVEL, 1)


def test_a_rest_is_counted_to_a_minute_and_ended_by_a_current_that_is_known(small):
    rig = MeasureRig(small.image)
    for before_ms, current, after_ms, kept in (
        (59_900, 0, 60_000, 1),
        (60_000, 0, 60_000, 1),
        (59_999, 5000, 60_099, 1),
        (60_000, 5001, 0, 0),
        (60_000, NA, 60_000, 1),
        (60_000, -5001, 0, 0),
    ):
        rig.clock[L.REST_MS], rig.clock[L.REST_SET] = before_ms, 1
        rig.signals[L.PACK_CURRENT_MA] = current
        measure_pack(*rig.arrays)
        assert (rig.clock[L.REST_MS], rig.clock[L.REST_SET]) == (after_ms, kept)


# --- cells and probes -------------------------------------------------------------------------------------------------


class ArraysTold:
    """scan(cells, probes, fresh, signals) -> everything that is measured of them. fresh: the groups that come."""

    def __init__(self, rig):
        self.owners = list(rig.engine.section("owners"))
        self.seen, self.ever = set(), set()

    def extremes(self, values, first, side, s):
        there = {n: v for n, v in enumerate(values) if v != NA}
        if not values:
            at = L.CELL_MAX_MV + 2 * side
            both = NA not in (s[at], s[at + 1])
            return [(s[at], 0, at), (s[at + 1], 0, at + 1), (s[at] - s[at + 1] if both else NA, 0, at)]
        if not there:
            return [(NA, 1, first)] * 3
        high = min(there, key=lambda n: (-there[n], n))
        low = min(there, key=lambda n: (there[n], n))
        above = 2 * sum(there.values()) < len(there) * (there[high] + there[low])
        far = high if above else low
        spread = there[high] - there[low] if len(there) > 1 else NA
        told = (there[high], high), (there[low], low), (spread, far)
        return [(value, n + 1, first + n) for value, n in told]

    def scan(self, kinds, fresh, s):
        told, first, never = {}, L.SCALARS, 0
        for side, values in enumerate(kinds):
            here = {n for n, v in enumerate(values, first) if v != NA}
            gone = set(range(first, first + len(values))) - here
            lost = gone & self.seen
            self.seen |= here
            comes = {n for n in gone if self.owners[n] in fresh}
            dead = sorted(comes & lost)
            at = dead[0] if dead else first
            told[L.F_CELLS_DEAD + side] = (len(dead), at - first + 1, at, 1)
            for k, (value, where, slot) in enumerate(self.extremes(values, first, side, s)):
                told[L.F_CELL_MAX_MV + 3 * side + k] = (value, where, slot, int(not lost))
            told["valid", side] = (len(here), len(lost))
            if not side:
                told["absent"] = (len(comes - self.seen), len(comes & self.ever))
            never += len(gone - self.seen)
            first += len(values)
        told[L.F_OVERCHARGE] = (self.overcharge(told, kinds, s), 0, L.PACK_CURRENT_MA, 1)
        return told, never

    @staticmethod
    def overcharge(told, kinds, s):
        current, soc = s[L.PACK_CURRENT_MA], s[L.SOC_PERMILLE]
        top, *_, complete = told[L.F_CELL_MAX_MV]
        if current == NA:
            return NA
        if current > -1000:
            return 0
        if top >= 4250 or soc > 1000:
            return 1
        said = (top != NA or (not kinds[0] and L.CELL_MAX_MV not in s["sent"])) and (
            soc != NA or L.SOC_PERMILLE not in s["sent"]
        )
        return 0 if complete and said else NA


CELL = (NA, 3700, 3700, 3701, 3650, 4249, 4250, 4251, 500, 0)
PROBE = (NA, 250, 250, 251, 0, -1, -500, 2000)


@pytest.mark.parametrize("cells, probes, loaded", [(6, 6, 0), (6, 6, 1), (2, 1, 0), (1, 2, 0), (0, 6, 0), (6, 0, 1),
                                                   (0, 0, 0), (0, 0, 1)])  # fmt: skip
@pytest.mark.parametrize("seed", range(6))
def test_extremes_and_what_is_lost_are_told_as_the_page_says(small, cells, probes, loaded, seed):
    rng = random.Random(f"{cells} {probes} {seed}")
    unsent = rng.choice(((), (L.SOC_PERMILLE,), (L.CELL_MAX_MV,), (L.SOC_PERMILLE, L.CELL_MAX_MV)))
    sent = set(range(L.SCALARS)) - set(unsent)
    header = {L.P_CELLS: cells, L.P_PROBES: probes, L.P_SENT: sum(1 << slot for slot in sent)}
    image = changed(small.image, header=header)
    rig = MeasureRig(changed(small.image), loaded)
    marks, params = rig.engine.section("memory"), rig.arrays[1]
    for column in header:
        params[column] = image.params[column]
    rig.features[L.WHERE + L.F_CELL_MAX_MV] = 0
    told = ArraysTold(rig)
    kinds = [[NA] * cells, [NA] * probes]
    groups = range(len(rig.groups) // L.GROUP_SIZE)
    extremes = dict.fromkeys(range(L.CELL_MAX_MV, L.PROBE_MIN_DDEGC + 1), NA)
    s = {L.PACK_CURRENT_MA: 0, L.SOC_PERMILLE: 500, "sent": sent, **extremes}
    for k in range(150):
        for values, near in zip(kinds, (CELL, PROBE), strict=True):
            for n in rng.sample(range(len(values)), rng.randrange(len(values) + 1)) if k else ():
                values[n] = rng.choice(near)
        if k in (40, 41, 90) or rng.random() < 0.1:  # all there, none there, and one alone
            kinds = [[rng.choice((v, NA))] * len(values) for v, values in zip((3700, 250), kinds, strict=True)]
        nears = {
            L.PACK_CURRENT_MA: (NA, 0, -999, -1000, -1001, 5000), L.SOC_PERMILLE: (NA, 0, 1000, 1001),
            L.CELL_MAX_MV: CELL, L.CELL_MIN_MV: CELL, L.PROBE_MAX_DDEGC: PROBE, L.PROBE_MIN_DDEGC: PROBE,
        }  # fmt: skip
        for slot, near in nears.items():
            s[slot] = rng.choice(near)
            rig.signals[slot] = s[slot]
        if rng.random() < 0.05:  # what a sleep leaves of the marks
            told.ever, told.seen = told.seen, set()
            rig.clock[L.CELLS_SEEN] = rig.clock[L.PROBES_SEEN] = 0
            for i in range(cells + probes):
                marks[i] = (marks[i] >> L.SEEN & 1) << L.EVER
        fresh = {group for group in groups if rng.random() < 0.7}
        for group in groups:
            rig.groups[group * L.GROUP_SIZE] = rng.choice((1, 3) if group in fresh else (0, 2))
        for n, value in enumerate(kinds[0] + kinds[1], L.SCALARS):
            rig.signals[n] = value
        features, never = told.scan(kinds, fresh, s)
        assert measure_arrays(0, 0, *rig.arrays) == never, (k, kinds)
        assert (rig.features[L.F_CELLS_ABSENT], rig.clock[L.CELLS_MISSING]) == features.pop("absent")
        for side in range(2):
            first = L.F_CELLS_VALID + 2 * side
            assert (rig.features[first], rig.features[first + 1]) == features.pop(("valid", side))
        wrong = {n: rig.feature_of(n) for n, want in features.items() if rig.feature_of(n) != want}
        assert not wrong, (kinds, s, features)


@pytest.mark.parametrize("values", [(0, (1 << 28) - 1), ((1 << 28) - 1, 0), ((1 << 29) - 1, -(1 << 28) - 1)])
def test_the_farthest_two_values_are_still_told_apart(small, values):
    rig = MeasureRig(changed(small.image))
    for n, value in enumerate((*values, NA, NA, NA, NA), L.SCALARS):
        rig.signals[n] = value
    measure_arrays(0, 0, *rig.arrays)
    assert [rig.features[L.F_CELL_MAX_MV + k] for k in range(3)] == [
        max(values),
        min(values),
        max(values) - min(values),
    ]
