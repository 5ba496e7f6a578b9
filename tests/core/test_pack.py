"""What the pack's own values say over time, beside a plain telling that keeps whole histories and exact sums."""

import random

import pytest
from cellwarden.core import layout as L
from cellwarden.core.pack import watch
from rig import Loaded, Rig, changed

NA = L.NA
SCAN_MS = 100
NOMINAL_MV, STEP_MV, FLOOR = 22_200, 10_000, 100
HOUR_MS = 3_600_000


class PackRig(Rig):
    """A Rig of which one scan is no more than `watch`, on signals that are written by hand."""

    def look(self, s):
        for slot, value in (
            (L.PACK_CURRENT_MA, s["current"]), (L.SOC_PERMILLE, s["soc"]), (L.PACK_VOLTAGE_MV, s["pack"]),
            (L.CONTACTORS, s["contactors"]), (L.VEHICLE_ON, s["on"]),
        ):  # fmt: skip
            self.signals[slot] = value
        self.features[L.F_INSULATION_OHM_PER_V] = s["insulation"]
        for feature in (L.F_SOC_JUMP_PERMILLE, L.F_PACK_STEP_MV):  # what every scan says anew
            self.features[L.SLOT + feature] = self.features[L.COMPLETE + feature] = 7
        self.clock[L.MODE], self.clock[L.WAKING_MS] = s["mode"], s["waking"]
        self.clock[L.HOURS], self.clock[L.HOUR_MS] = divmod(s["t"], HOUR_MS)
        state, params, _, _ = self.engine.box
        # What is passed for the two registers is no input.
        assert watch(7, 9, state, params, s["quiet"]) == 0

    def told(self):
        c, f = self.clock, self.features
        return {
            "settled": c[L.STEADY_MS], "drawn": c[L.DRAWN_PERMILLE], "rest": c[L.CHARGE_REST],
            "jump": f[L.F_SOC_JUMP_PERMILLE], "step": f[L.F_PACK_STEP_MV], "reference": c[L.STEP_MV],
            "hours": f[L.F_INSULATION_H],
            "slots": [f[L.SLOT + n] for n in (L.F_SOC_JUMP_PERMILLE, L.F_PACK_STEP_MV, L.F_INSULATION_H)],
            "complete": [f[L.COMPLETE + n] for n in (L.F_SOC_JUMP_PERMILLE, L.F_PACK_STEP_MV)],
        }  # fmt: skip


class Told:
    """scan(what is read) -> {what: value}: settled currents, charge, jumps of SOC, steps at rest, insulation."""

    DRAWN = 1 << 18

    def __init__(self, params):
        self.unit = params[L.P_CAPACITY_MAH] * 36  # one permille, 100 mA x ms
        self.sends_contactors = params[L.P_SENT] >> L.CONTACTORS & 1
        self.settled = []
        self.charge = 0  # drawn, 100 mA x ms
        self.soc = []  # references: (SOC, charge in whole permille), newest last; and when the newest was taken
        self.soc_at = None
        self.reference = None  # (mV, SOC); what stood switched; since when, not counting time asleep
        self.switched, self.slept, self.age_ms = 0, False, 0
        self.points, self.readings, self.hour, self.hours = [], [], 0, NA

    def steady(self, current):
        if current == NA:
            self.settled = []
            return 0
        wide = [*self.settled, current]
        self.settled = wide if self.settled and max(wide) - min(wide) < 4000 else [current]
        return min((len(self.settled) - 1) * SCAN_MS, 2000)

    def jump(self, t, soc, current):
        if NA in (soc, current):
            self.soc_at = None
            return NA
        drawn = self.charge // self.unit
        if self.soc_at is None:
            self.soc, self.soc_at = [(soc, drawn)] * 6, t
            return 0
        most = 0
        for was, then in self.soc:
            moved, charged = soc - was, then - drawn  # up by what was charged, down by what was drawn
            most = max(most, moved - max(charged, 0), min(charged, 0) - moved)
        if t - self.soc_at > 10_000:
            self.soc, self.soc_at = [*self.soc[1:], (soc, drawn)], t
        return most

    def step(self, s):
        switched = s["contactors"] if self.sends_contactors else s["on"]
        switched = 2 if switched == NA else switched
        if s["current"] != NA and not s["quiet"]:
            self.reference = None
            return NA
        if not s["quiet"] or s["pack"] == NA:
            return NA
        if switched != self.switched:
            self.reference, self.switched, self.slept, self.age_ms = None, switched, False, 0
            return 0
        volts, soc = s["pack"], s["soc"]
        if self.reference is None:
            if volts * 2 < NOMINAL_MV:
                self.age_ms = 0
            elif self.age_ms >= 10_000 and s["quiet"] == 2:
                self.renew(volts, soc)
            return 0
        if self.age_ms > 60_000:
            self.renew(volts, soc)
            return 0
        was, then = self.reference
        step = abs(volts - was)
        if self.slept and (volts >= was or NA in (soc, then) or abs(soc - then) >= 50):
            step = 0
        if step < was / 40:
            step = 0
        if step < STEP_MV and not s["waking"] and (self.age_ms >= 30_000 or self.slept):
            self.renew(volts, soc)
        return step

    def renew(self, volts, soc):
        self.reference, self.slept, self.age_ms = (volts, soc), False, 0

    def trend(self, s):
        if s["insulation"] == NA or s["t"] % 1000 >= SCAN_MS:
            return self.hours
        self.readings.append(min(s["insulation"], 2000))
        hour = s["t"] // HOUR_MS
        if hour - self.hour < 6:
            return self.hours
        self.points, self.hour = [*self.points[-3:], (hour, sum(self.readings) // len(self.readings))], hour
        self.readings = []
        if len(self.points) == 4:
            (first, most), (_, second), (_, third), (last, least) = self.points
            falls = most > second > third > least
            if not falls:
                self.hours = 10_000
            else:
                self.hours = max(least - FLOOR, 0) * min(last - first, 10_000) // (most - least)
        return self.hours

    def scan(self, s):
        if s["current"] != NA:
            self.charge += s["current"] // 100 * SCAN_MS
        told = {
            "settled": self.steady(s["current"]), "drawn": self.charge // self.unit % self.DRAWN,
            "rest": self.charge % self.unit, "jump": self.jump(s["t"], s["soc"], s["current"]), "step": self.step(s),
            "hours": self.trend(s), "complete": [1, 1],
            "slots": [L.SOC_PERMILLE, L.PACK_VOLTAGE_MV, L.ALWAYS if self.hours == NA else L.INSULATION_OHM],
        }  # fmt: skip
        if self.age_ms <= 60_000 and s["mode"] != L.ASLEEP:
            self.age_ms += SCAN_MS
        return told | {"reference": NA if self.reference is None else self.reference[0]}

    def sleep(self):
        """As scan.sleep leaves it: a reference from before is one across a sleep."""
        self.age_ms, self.slept = 0, True


NEAR = {
    "current": (NA, 0, 99, -1, 1999, 2000, 3999, 4000, -2000, -2001, 100_000, -100_000, 720_000, -720_000),
    "soc": (NA, 0, 500, 549, 550, 551, 450, 451, 449, 1000), "quiet": (0, 1, 2, 2, 2),
    "pack": (NA, 11_099, 11_100, 22_200, 22_755, 22_754, 21_645, 21_646, 12_200, 12_201, 32_199, 32_200, 400_000,
             390_000, 390_001),
    "contactors": (NA, 0, 1), "on": (NA, 0, 1), "mode": (L.DRIVING, L.PARKED, L.ASLEEP), "waking": (0, 0, 100),
    "insulation": (NA, 99, 100, 101, 1999, 2000, 2001, 500),
}  # fmt: skip
USUAL = {
    "current": 0, "soc": 500, "quiet": 2, "pack": 22_200, "contactors": 1, "on": 1, "mode": L.DRIVING, "waking": 0,
    "insulation": 1000,
}  # fmt: skip
HOLD = (1, 1, 2, 3, 19, 20, 21, 22, 99, 100, 101, 102, 103, 203, 299, 300, 301, 302, 599, 600, 601, 602, 603)


def compare(rig, told, s):
    expected = told.scan(s)
    rig.look(s)
    assert {name: value for name, value in rig.told().items() if expected[name] != value} == {}, (s, expected)


def vehicle(small, contactors, capacity_mah=20_000):
    sent = small.image.params[L.P_SENT] & ~(1 << L.CONTACTORS) | contactors << L.CONTACTORS
    image = changed(small.image, header={L.P_SENT: sent, L.P_CAPACITY_MAH: capacity_mah})
    rig = PackRig(image, healthy=False)
    return rig, Told(image.params)


@pytest.mark.parametrize("contactors", [1, 0])
@pytest.mark.parametrize("only", ["current soc", "pack quiet contactors on waking soc mode", "pack current", "all"])
@pytest.mark.parametrize("seed", range(8))
def test_whatever_the_pack_reads_is_seen_as_the_page_says(small, contactors, only, seed):
    rng = random.Random(f"{contactors} {only} {seed}")
    rig, told = vehicle(small, contactors, rng.choice((20_000, 300, 100)))
    s = {**USUAL, "t": 0}
    names = list(NEAR) if only == "all" else only.split()
    for _ in range(14):
        for name in rng.sample(names, rng.choice((1, 1, 2))):
            s[name] = rng.choice((*NEAR[name], USUAL[name], USUAL[name]))
        if "quiet" in names and rng.random() < 0.15:
            rig.clock[L.STEP_AGE_MS], rig.clock[L.STEP_STATE] = 0, rig.clock[L.STEP_STATE] | 4
            told.sleep()
        if s["current"] == NA or abs(s["current"]) > 5000:
            s["quiet"] = 0
        for _ in range(rng.choice(HOLD)):
            compare(rig, told, s)
            s["t"] += SCAN_MS


@pytest.mark.parametrize("means", [
    (1500, 1400, 1300, 1200), (1500, 1400, 1400, 1300), (1500, 1500, 1400, 1300), (1500, 1400, 1300, 1300),
    (2500, 2400, 1999, 1998), (2100, 1998, 1995, 1990), (500, 400, 300, 100), (500, 400, 300, 101), (500, 400, 300, 99),
    (900, 905, 800, 700), (300, 200, 100, 0, 0), (1500, 1400, 1300, 1300, 1300), (500, 400, 300, 99, 99),
    (104, 102, 101, 99, 99),
    (1600, 1500, 1500, 1500, 1400, 1300), (1600, 1600, 1600, 1500, 1400, 1300), (300, 200, 100, 0),
    (1500, 1400, 1300, 1200, 1100, 1000, 990, 980, 970, 960, 960), (1200, 1300, 1250, 1240, 1230),
])  # fmt: skip
@pytest.mark.parametrize("hours", [6, 7])
def test_the_trend_of_the_insulation_is_the_pages(small, means, hours):
    """A reading a second, at the start and the end of each hour of the clock, by whole six hours."""
    rig, told = vehicle(small, 1)
    s = {**USUAL, "t": 0}
    for k, mean in enumerate(means):
        for hour in range(hours):
            for at_ms in (0, 100, 500, 900, 999, 1000, 1099, HOUR_MS - 1000, HOUR_MS - 100):
                s["t"] = (k * hours + hour) * HOUR_MS + at_ms
                s["insulation"] = mean + (1 if at_ms == 1000 else 0)
                compare(rig, told, s)


def test_a_trend_over_more_hours_than_can_matter_is_cut(small):
    rig, told = vehicle(small, 1)
    s = {**USUAL, "t": 0}
    for hour, mean in ((0, 500), (6, 400), (4000, 390), (5006, 380), (10_007, 370), (15_005, 360), (15_006, 350)):
        s["t"], s["insulation"] = hour * HOUR_MS, mean
        compare(rig, told, s)


@pytest.mark.parametrize("before", [0, 60_000, 131_072, 200_000, 262_143])
@pytest.mark.parametrize("drawn", [0, 1, 19, 20, 21, 70_000, 131_070, 131_071])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_count_of_the_charge_wraps_without_a_mark(small, before, drawn, sign):
    """What was drawn explains a fall and what was charged a rise, up to half of what can be counted."""
    drawn *= sign
    for soc in (480, 500, 520):
        rig, _ = vehicle(small, 1)
        rig.clock[L.DRAWN_PERMILLE] = before
        rig.look({**USUAL, "t": 0})
        rig.clock[L.DRAWN_PERMILLE] = before + drawn & 0x3FFFF
        rig.look({**USUAL, "t": 100, "soc": soc})
        jump = max(500 - soc - max(drawn, 0), soc - 500 - max(-drawn, 0), 0)
        assert rig.features[L.F_SOC_JUMP_PERMILLE] == jump, soc


def at_rest(small, pack=22_200, **clock):
    """A rig of one scan: the clock's columns as given, then a pack at rest that reads `pack`."""
    rig, _ = vehicle(small, 1)
    s = {**USUAL, "t": 0, "pack": pack}
    rig.look({**s, "pack": 22_200})
    for column, value in clock.items():
        rig.clock[getattr(L, column)] = value
    rig.look({**s, "t": 100})
    return rig


def test_a_voltage_is_kept_and_renewed_in_its_time_to_the_millisecond(small):
    for age_ms, reference in ((9999, NA), (10_000, 22_200), (10_001, 22_200)):
        rig = at_rest(small, STEP_AGE_MS=age_ms)
        assert rig.clock[L.STEP_MV] == reference, "it takes ten seconds after a switch"
    for age_ms, reference in ((29_999, 22_200), (30_000, 22_300), (30_001, 22_300)):
        rig = at_rest(small, 22_300, STEP_MV=22_200, STEP_AGE_MS=age_ms)
        assert rig.clock[L.STEP_MV] == reference, "renewed every half minute"
    for age_ms, step, reference, after_ms in ((59_999, 10_000, 22_200, 60_099), (60_000, 10_000, 22_200, 60_100),
                                              (60_001, 0, 32_200, 100), (60_100, 0, 32_200, 100)):  # fmt: skip
        rig = at_rest(small, 32_200, STEP_MV=22_200, STEP_AGE_MS=age_ms)
        told = rig.features[L.F_PACK_STEP_MV], rig.clock[L.STEP_MV], rig.clock[L.STEP_AGE_MS]
        assert told == (step, reference, after_ms), "a minute is the most"


@pytest.mark.parametrize("pack, step, reference", [
    (32_199, 9999, 22_200), (32_200, 10_000, 22_200), (12_200, 10_000, 22_200), (12_201, 9999, 22_200),
    (22_754, 0, 22_200), (22_755, 555, 22_200), (21_646, 0, 22_200), (21_645, 555, 22_200),
])  # fmt: skip
def test_a_step_is_a_fortieth_of_the_pack_or_more(small, pack, step, reference):
    rig = at_rest(small, pack, STEP_MV=22_200, STEP_AGE_MS=5000)
    assert (rig.features[L.F_PACK_STEP_MV], rig.clock[L.STEP_MV]) == (step, reference)


@pytest.mark.parametrize("pack, soc, then, waking, step, reference", [
    (12_200, 500, 500, 0, 10_000, 22_200), (12_201, 500, 500, 0, 9999, 12_201), (12_201, 500, 500, 100, 9999, 22_200),
    (40_000, 500, 500, 0, 0, 40_000), (12_200, 549, 500, 0, 10_000, 22_200), (12_200, 550, 500, 0, 0, 12_200),
    (12_200, 451, 500, 0, 10_000, 22_200), (12_200, 450, 500, 0, 0, 12_200), (12_200, NA, 500, 0, 0, 12_200),
    (12_200, 500, NA, 0, 0, 12_200), (22_200, 500, 500, 0, 0, 22_200), (12_200, 0, 0, 0, 10_000, 22_200),
    (12_200, 0, 49, 0, 10_000, 22_200), (12_200, 49, 0, 0, 10_000, 22_200),
])  # fmt: skip
@pytest.mark.parametrize("loaded", [False, True])
def test_across_a_sleep_only_a_fall_counts_and_only_with_as_much_charge(small, pack, soc, then, waking, step, reference,
                                                                       loaded):  # fmt: skip
    rig, _ = vehicle(small, 1)
    s = {**USUAL, "t": 0}
    rig.look(s)
    rig.clock[L.STEP_MV], rig.clock[L.STEP_SOC_PERMILLE], rig.clock[L.STEP_STATE] = 22_200, then, 1 | 4
    if loaded:
        rig.engine.box = [Loaded(rig.engine.box[0]), Loaded(rig.engine.box[1]), *rig.engine.box[2:]]
    rig.look({**s, "t": 100, "pack": pack, "soc": soc, "waking": waking})
    assert (rig.features[L.F_PACK_STEP_MV], rig.clock[L.STEP_MV]) == (step, reference)
    if reference == pack:
        assert rig.clock[L.STEP_STATE] == 1 and rig.clock[L.STEP_SOC_PERMILLE] == soc


@pytest.mark.parametrize("waited_ms, slot", [(9999, 0), (10_000, 0), (10_001, 1)])
def test_a_state_of_charge_is_kept_every_ten_seconds_to_the_millisecond(small, waited_ms, slot):
    rig = at_rest(small, SOC_WAIT_MS=waited_ms)
    assert rig.clock[L.SOC_NEXT] == slot and rig.clock[L.SOC_WAIT_MS] == (100 if slot else waited_ms + 100)


@pytest.mark.parametrize("current, settled_ms, after_ms", [
    (3999, 500, 600), (4000, 500, 0), (-3999, 500, 600), (-4000, 500, 0), (0, 1999, 2099), (0, 2000, 2000), (0, 0, 100),
])  # fmt: skip
def test_a_current_is_settled_while_it_stays_within_4_amperes(small, current, settled_ms, after_ms):
    rig, _ = vehicle(small, 1)
    rig.look({**USUAL, "t": 0})
    rig.clock[L.STEADY_MS] = settled_ms
    rig.look({**USUAL, "t": 100, "current": current, "quiet": 0})
    assert rig.clock[L.STEADY_MS] == after_ms


@pytest.mark.parametrize("seed", range(6))
def test_words_that_are_loaded_without_their_sign_say_the_same(small, seed):
    rng = random.Random(seed)
    rig, told = vehicle(small, seed % 2, 300)
    rig.engine.box = [Loaded(rig.engine.box[0]), Loaded(rig.engine.box[1]), *rig.engine.box[2:]]
    s = {**USUAL, "t": 0}
    for _ in range(300):
        s |= {**USUAL, "t": s["t"]}
        for name in rng.sample(list(NEAR), 2):
            s[name] = rng.choice(NEAR[name])
        if s["current"] == NA or abs(s["current"]) > 5000:
            s["quiet"] = 0
        compare(rig, told, s)
        s["t"] += SCAN_MS


@pytest.mark.parametrize("rest, current, drawn, left", [
    (99, -100, -1, 719_999), (100, -100, 0, 0), (99, -200, -1, 719_899), (719_899, 100, 0, 719_999),
    (719_900, 100, 1, 0), (719_901, 100, 1, 1), (0, 720_000, 1, 0), (0, 1_440_000, 2, 0), (0, -720_000, -1, 0),
    (0, -720_100, -2, 719_900), (5, 99, 0, 5), (5, -1, -1, 719_905),
])  # fmt: skip
def test_the_charge_is_counted_in_permille_and_nothing_of_it_is_lost(small, rest, current, drawn, left):
    rig, _ = vehicle(small, 1, 20_000)
    for before in (0, 1000, 0x3FFFF):
        rig.clock[L.CHARGE_REST], rig.clock[L.DRAWN_PERMILLE] = rest, before
        rig.look({**USUAL, "t": 0, "current": current, "quiet": 0})
        assert (rig.clock[L.DRAWN_PERMILLE], rig.clock[L.CHARGE_REST]) == ((before + drawn) % (1 << 18), left)


@pytest.mark.parametrize("contactors, on, switched", [(0, 1, 0), (1, 0, 1), (NA, 1, 2)])
@pytest.mark.parametrize("sent", [1, 0])
def test_what_stood_switched_is_kept_with_the_voltage(small, contactors, on, switched, sent):
    """0, 1, or 2 where it is not known; where the contactors are not sent, the vehicle's own state."""
    rig, _ = vehicle(small, sent)
    rig.clock[L.STEP_STATE] = 4
    if not sent:
        contactors, on = 1, contactors
    rig.look({**USUAL, "t": 0, "contactors": contactors, "on": on})
    assert rig.clock[L.STEP_STATE] & 3 == switched
    assert rig.clock[L.STEP_STATE] & 4 == (0 if switched else 4), "another switch ends what was before the sleep"


def test_a_voltage_of_0_is_a_value_and_a_reference_too(small):
    rig = at_rest(small, 0, STEP_MV=NA, STEP_AGE_MS=20_000)
    assert (rig.features[L.F_PACK_STEP_MV], rig.clock[L.STEP_AGE_MS]) == (0, 100)
    rig = at_rest(small, 22_200, STEP_MV=0, STEP_AGE_MS=5000)
    assert rig.features[L.F_PACK_STEP_MV] == 22_200
    rig = at_rest(small, 0, STEP_MV=22_200, STEP_AGE_MS=5000)
    assert rig.features[L.F_PACK_STEP_MV] == 22_200


def test_each_new_beginning_of_a_voltage_counts_its_time_from_nought(small):
    for clock, pack in (
        ({"STEP_STATE": 0}, 22_200), ({"STEP_MV": NA, "STEP_AGE_MS": 20_000}, 22_200),
        ({"STEP_MV": 22_200, "STEP_AGE_MS": 60_001}, 22_200), ({"STEP_MV": 22_200, "STEP_AGE_MS": 30_000}, 22_200),
        ({"STEP_MV": NA, "STEP_AGE_MS": 9000}, 11_099),
    ):  # fmt: skip
        assert at_rest(small, pack, **({"STEP_AGE_MS": 700} | clock)).clock[L.STEP_AGE_MS] == SCAN_MS, clock
    rig = at_rest(small, 22_200, STEP_MV=NA, STEP_AGE_MS=9000)
    assert rig.clock[L.STEP_AGE_MS] == 9100


@pytest.mark.parametrize(
    "before, pack, step", [(30, 31, 0), (30, 40, 0), (30, 30, 0), (30, 29, 1), (40, 39, 1), (41, 40, 0)]
)
def test_the_least_rise_across_a_sleep_is_none_and_the_least_fall_a_fortieth(small, before, pack, step):
    rig = at_rest(small, pack, STEP_MV=before, STEP_SOC_PERMILLE=500, STEP_STATE=1 | 4, STEP_AGE_MS=1000)
    assert rig.features[L.F_PACK_STEP_MV] == step


def test_a_fall_across_a_sleep_without_the_charge_known_is_none(small):
    rig, _ = vehicle(small, 1)
    rig.look({**USUAL, "t": 0})
    for column, value in ((L.STEP_MV, 30), (L.STEP_SOC_PERMILLE, 500), (L.STEP_STATE, 1 | 4)):
        rig.clock[column] = value
    rig.look({**USUAL, "t": 100, "pack": 29, "soc": NA})
    assert rig.features[L.F_PACK_STEP_MV] == 0


@pytest.mark.parametrize("mode", [L.DRIVING, L.PARKED, L.ASLEEP])
@pytest.mark.parametrize("age_ms, later_ms", [(700, 800), (60_000, 60_100), (60_001, 60_001), (60_100, 60_100)])
def test_the_age_of_a_voltage_stands_still_after_a_minute_and_in_a_sleep(small, mode, age_ms, later_ms):
    rig, _ = vehicle(small, 1)
    rig.clock[L.STEP_AGE_MS] = age_ms
    rig.look({**USUAL, "t": 0, "current": NA, "quiet": 0, "mode": mode})
    assert rig.clock[L.STEP_AGE_MS] == (age_ms if mode == L.ASLEEP else later_ms)
