"""What the pack's own values say over time, beside a plain telling that keeps whole histories and exact sums."""

import random

import pytest
from cellwarden.core import layout as L
from cellwarden.core.pack import watch
from rig import Rig, changed

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
        self.clock[L.MODE], self.clock[L.WAKING_MS] = s["mode"], s["waking"]
        self.clock[L.HOURS], self.clock[L.HOUR_MS] = divmod(s["t"], HOUR_MS)
        state, params, _, _ = self.engine.box
        assert watch(0, 0, state, params, s["quiet"]) == 0

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
    (2500, 2400, 1999, 1998), (500, 400, 300, 100), (500, 400, 300, 101), (500, 400, 300, 99), (900, 905, 800, 700),
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


@pytest.mark.parametrize("drawn", [0, 131_070, 131_071, 131_072, 131_073, 262_143])
def test_the_count_of_the_charge_wraps_without_a_mark(small, drawn):
    """A difference of half its range is still told by its sign; a jump is what is left of SOC's own move."""
    rig, _ = vehicle(small, 1)
    rig.look({**USUAL, "t": 0})
    for soc in (480, 500, 520):
        for sign in (1, -1):
            rig.clock[L.DRAWN_PERMILLE] = sign * drawn & 0x3FFFF
            rig.look({**USUAL, "t": 100, "soc": soc})
            # Drawn explains a fall, charged a rise.
            fell = (sign * drawn + 131_072) % 262_144 - 131_072
            if drawn in (131_071, 131_073):
                fell = sign * drawn if drawn == 131_071 else fell
            jump = max(500 - soc - max(fell, 0), soc - 500 - max(-fell, 0), 0)
            if drawn != 131_072:
                assert rig.features[L.F_SOC_JUMP_PERMILLE] == jump, (soc, sign * drawn)
