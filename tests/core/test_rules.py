"""Every row of the catalogue on the demonstration pack (96 NMC cells): its figures, and the tests it inherits."""

import pytest
from cellwarden.core import layout as L
from rig import SCAN_MS, JudgeRig, Rig, changed
from rules import NA, CellTest, ProbeTest, RuleTest


@pytest.fixture(scope="module")
def image(demo):
    return demo.image


@pytest.fixture(scope="module")
def compiled(demo):
    return demo


class TestCellOvervoltage(CellTest):
    name = "cell_overvoltage"
    answers = ("GB/T 38661 cell voltage", "GB/T 39086 overcharge goal")
    limits = (4250, 4280, 4350)
    assert_ms = (1000, 1000, 1000)
    clear_at = (4220, 4250, 4320)
    clear_ms = 5000
    samples = 1
    good, worst = 3700, 4400
    flag = 5


class TestCellUndervoltage(CellTest):
    name = "cell_undervoltage"
    answers = ("GB/T 38661 cell voltage",)
    above = False
    limits = (2900, 2750, 2500)
    assert_ms = (1000, 1000, 300)
    clear_at = (3050, 2900, 2650)
    clear_ms = 10000
    samples = 1
    good, worst = 3700, 2000
    flag = 6


class TestPackOvervoltage(RuleTest):
    name = "pack_overvoltage"
    slot = L.PACK_VOLTAGE_MV
    limits = (408000, 410880, 417600)
    assert_ms = (1000, 1000, 1000)
    clear_at = (403920, 406771, 413424)
    clear_ms = 5000
    good, worst = 355200, 420000
    flag = 2


class TestPackUndervoltage(RuleTest):
    name = "pack_undervoltage"
    slot = L.PACK_VOLTAGE_MV
    above = False
    limits = (278400, 264000, 240000)
    assert_ms = (1000, 1000, 1000)
    clear_at = (283968, 269280, 244800)
    clear_ms = 10000
    good, worst = 355200, 230000
    gate, gate_open = L.CONTACTORS, (0, NA)
    flag = 3


class TestTemperatureHigh(ProbeTest):
    name = "temperature_high"
    answers = ("GB 38031-2025 C.5.3.7 b", "GB/T 38661 temperature")
    limits = (550, 600, 650)
    assert_ms = (2000, 2000, 2000)
    clear_at = (520, 570, 620)
    clear_ms = 10000
    usual = 500  # a step of more than 20 K is no heat
    good, worst = 500, 660
    flag = 1


class TestTemperatureSpread(ProbeTest):
    name = "temperature_spread"
    answers = ("GB/T 38661 temperature",)
    limits = (120, 180, 250)
    assert_ms = (5000, 5000, 5000)
    clear_at = (100, 160, 230)
    clear_ms = 10000
    good, worst = 0, 260
    flag = 0

    def put(self, rig, value):
        # A step of more than 20 K is no heat: the probe goes two thirds of the way, another the last one.
        super().put(rig, self.usual + value - value // 30 * 10)
        rig[rig.probe(4)] = self.usual - value // 30 * 10

    def test_those_never_seen_do_not_hide_the_others(self, image):
        rig = Rig(image, healthy=False)
        rig[rig.probe(11)] = 510
        rig.scan(60)
        assert not rig.events, "one probe alone has no spread"
        rig[rig.probe(12)] = 250
        rig.scan(51)
        assert [e.rule for e in rig.events] == [self.name]

    def test_it_names_the_probe_that_left_the_others(self, image):
        rig = self.rig(image)
        rig[rig.probe(3)] = 50
        rig.scan(51)
        assert rig.of(self.name)[-1].where == 3, "people look for the fault at the wrong probe"


class TestChargeTooCold(ProbeTest):
    name = "charge_too_cold"
    answers = ("GB/T 38661 temperature",)
    above = False
    limits = (0, -50, -100)
    assert_ms = (10000, 10000, 10000)
    clear_at = (20, -30, -80)
    clear_ms = 10000
    usual = 60  # a step of more than 20 K is no cold
    good, worst = 60, -110
    gate, gate_open = L.CHARGING, (0, NA)


class TestCellSpread(CellTest):
    name = "cell_spread"
    answers = ("GB/T 38661 consistency",)
    limits = (150, 300, 500)
    assert_ms = (5000, 5000, 5000)
    clear_at = (120, 270, 470)
    clear_ms = 10000
    good, worst = 0, 510
    flag = 10

    def put(self, rig, value):
        super().put(rig, self.usual + value)

    def test_those_never_seen_do_not_hide_the_others(self, image):
        rig = Rig(image, healthy=False)
        rig[L.PACK_CURRENT_MA] = 0
        rig[rig.cell(7)] = 4210
        rig.scan(80)
        assert not rig.of(self.name), "one cell alone has no spread"
        rig[rig.cell(8)] = 3700
        rig.scan(52)
        assert rig.level(self.name) == 3

    def test_it_names_the_cell_that_left_the_others(self, image):
        rig = self.rig(image)
        rig[rig.cell(3)] = 3300
        rig.scan(52)
        assert rig.of(self.name)[-1].where == 3, "people look for the fault at the wrong cell"

    @pytest.mark.parametrize(
        "what, first, then",
        [("a current over 5 A", 5001, 5001), ("a current that moves by 2 A", -1000, 1000), ("no current", NA, NA)],
    )
    def test_level_1_waits_for_calm_and_level_2_does_not(self, image, what, first, then):
        for value, level in ((299, 0), (300, 2)):
            rig = self.rig(image)
            self.put(rig, value)
            for i in range(60):
                rig[L.PACK_CURRENT_MA] = then if i // 10 % 2 else first
                rig.scan()
            assert rig.level(self.name) == level, f"{what}: spread {value} mV gave level {rig.level(self.name)}"

    def test_a_scan_that_is_not_calm_starts_level_1_anew(self, image):
        rig = self.rig(image)
        self.put(rig, 200)
        rig.scan(49)
        rig[L.PACK_CURRENT_MA] = 6000
        rig.scan()
        rig[L.PACK_CURRENT_MA] = 0
        rig.scan(21 + 49)
        assert not rig.of(self.name), "a spread under load was taken for one at rest"
        rig.scan(2)
        assert rig.level(self.name) == 1


class TestOvercurrentDischarge(RuleTest):
    name = "overcurrent_discharge"
    answers = ("GB/T 38661 over-current",)
    limits = (1050, 1150, 1300)
    assert_ms = (5000, 2000, 500)
    clear_at = (950, 950, 950)
    clear_ms = 5000
    good, worst = 500, 1400
    sign = 1
    own = L.MAX_DISCHARGE_MA
    profile_limit = L.P_MAX_DISCHARGE_MA

    def put(self, rig, value):
        rig[L.PACK_CURRENT_MA] = self.sign * value * 200  # permille of 200 A

    def dark(self, rig):
        rig[L.PACK_CURRENT_MA] = NA

    def test_a_higher_level_asserts_before_a_lower_one(self, image):
        rig = self.rig(image)
        self.put(rig, self.worst)
        rig.scan(6)
        assert rig.level(self.name) == 3, "thirty percent over the limit waited for the time of five percent"
        assert [e.before for e in rig.of(self.name)] == [0]

    def test_the_lower_of_the_two_limits_is_in_force(self, image):
        for profile, own, permille in (
            (0, 100, 1200),
            (80, 100, 1500),
            (100, 80, 1500),
            (100, 0, 24000),
            (0, 0, 24000),
        ):
            rig = self.rig(changed(image, header={self.profile_limit: profile * 1000}))
            rig[self.own] = own * 1000
            rig[L.PACK_CURRENT_MA] = self.sign * 120_000
            rig.scan()
            assert rig.feature(self.feature()) == permille, (profile, own)

    def test_without_the_bms_limit_only_what_is_certain_is_known(self, image):
        for profile, flow, permille in (
            (0, 900, NA),
            (200, 150, NA),
            (200, 201, 1005),
            (0, -1, 0),
            (0, 0, 0),
            (200, -1, 0),
        ):
            rig = self.rig(changed(image, header={self.profile_limit: profile * 1000}))
            rig[self.own] = NA
            rig[L.PACK_CURRENT_MA] = self.sign * flow * 1000
            rig.scan()
            assert rig.feature(self.feature()) == permille, (profile, flow)

    def test_an_alarm_does_not_end_when_the_bms_limit_goes_missing(self, image):
        rig = self.raised(changed(image, header={self.profile_limit: 900_000}))
        rig[self.own] = NA
        rig.scan(2 * self.clear_ms // SCAN_MS)
        assert rig.level(self.name) == 3, "the limit that was broken went missing, and with it the alarm"

    def test_a_vehicle_that_sends_no_limit_is_judged_by_its_profile(self, image):
        header = {self.profile_limit: 100_000, L.P_SENT: image.params[L.P_SENT] & ~(1 << self.own)}
        rig = self.rig(changed(image, header=header))
        rig[self.own] = NA
        rig[L.PACK_CURRENT_MA] = self.sign * 90_000
        rig.scan()
        assert rig.feature(self.feature()) == 900


class TestOvercurrentCharge(TestOvercurrentDischarge):
    name = "overcurrent_charge"
    sign = -1
    own = L.MAX_CHARGE_MA
    profile_limit = L.P_MAX_CHARGE_MA


class TestInsulationLow(RuleTest):
    name = "insulation_low"
    answers = ("GB 18384 insulation", "GB/T 38661 insulation")
    above = False
    limits = (500, 300, 100)
    assert_ms = (5000, 5000, 1000)
    clear_at = (600, 360, 120)
    clear_ms = 20000
    good, worst = 2500, 50
    flag = 11

    def prepare(self, rig):
        rig[L.PACK_VOLTAGE_MV] = 400_000

    def put(self, rig, value):
        rig[L.INSULATION_OHM] = value * 400

    def dark(self, rig):
        rig[L.INSULATION_OHM] = NA

    def test_a_measurement_in_progress_is_no_value(self, image):
        rig = self.rig(image)
        self.put(rig, self.worst)
        rig[L.INSULATION_VALID] = 0
        rig.scan(60)
        assert not rig.of(self.name)

    @pytest.mark.parametrize("voltage", [NA, 0, 59_999])
    def test_under_class_b_voltage_the_nominal_one_counts(self, image, voltage):
        rig = self.rig(image)
        rig[L.PACK_VOLTAGE_MV] = voltage
        rig[L.INSULATION_OHM] = 355_200
        rig.scan()
        assert rig.feature(L.F_INSULATION_OHM_PER_V) == 1000, "a pack at rest looks better or worse than it is"

    def test_from_class_b_voltage_on_its_own_voltage_counts(self, image):
        rig = self.rig(image)
        rig[L.PACK_VOLTAGE_MV] = 60_000
        rig[L.INSULATION_OHM] = 60_000
        rig.scan()
        assert rig.feature(L.F_INSULATION_OHM_PER_V) == 1000, "a pack of 60 V is judged by a voltage it does not have"


class TestSocLow(RuleTest):
    name = "soc_low"
    slot = L.SOC_PERMILLE
    above = False
    limits = (100, 50, 20)
    assert_ms = (5000, 5000, 5000)
    clear_at = (120, 70, 40)
    clear_ms = 10000
    good, worst = 500, 10
    flag = 4


class TestSocHigh(RuleTest):
    name = "soc_high"
    slot = L.SOC_PERMILLE
    limits = (1010, 1030, 1050)
    assert_ms = (5000, 5000, 5000)
    clear_at = (990, 1010, 1030)
    clear_ms = 10000
    good, worst = 500, 1060
    flag = 7


class TestOvercharge(RuleTest):
    name = "overcharge"
    limits = (1, 1, 1)
    assert_ms = (5000, 15000, 30000)
    clear_at = (0, 0, 0)
    clear_ms = 10000
    good, worst = 0, 1
    gate, gate_open = L.CHARGING, (0, NA)
    flag = 18

    def put(self, rig, value):
        rig[L.PACK_CURRENT_MA] = -2000
        rig[rig.cell(7)] = 4250 if value else 3700

    def dark(self, rig):
        rig[L.PACK_CURRENT_MA] = NA

    def possible(self, value):
        return value in (0, 1)

    @pytest.mark.parametrize(
        "what, current, top, soc, value",
        [
            ("a cell at its limit, charge flowing in", -1000, 4250, 500, 1),
            ("a cell under its limit", -1000, 4249, 500, 0),
            ("no charge flowing in", -999, 4250, 1001, 0),
            ("over 100 %", -1000, 3700, 1001, 1),
            ("at 100 %", -1000, 3700, 1000, 0),
            ("full by the cells, SOC missing", -1000, 4250, NA, 1),
            ("full by SOC, cells missing", -1000, NA, 1001, 1),
            ("not full by the cells, SOC missing", -1000, 3700, NA, NA),
            ("not full by SOC, cells missing", -1000, NA, 1000, NA),
            ("nothing known but the current", -1000, NA, NA, NA),
            ("no current known", NA, 4250, 1001, NA),
        ],
    )
    def test_what_counts_as_full(self, image, what, current, top, soc, value):
        rig = self.rig(image)
        rig[L.PACK_CURRENT_MA], rig[L.SOC_PERMILLE] = current, soc
        rig.cells_read(top)
        rig.scan()
        assert rig.feature(L.F_OVERCHARGE) == value, what

    @pytest.mark.parametrize("lose", ["cell", "soc"])
    def test_the_loss_of_what_was_full_ends_nothing(self, image, lose):
        rig = self.rig(image)
        rig[L.PACK_CURRENT_MA] = -2000
        slot = rig.cell(7) if lose == "cell" else L.SOC_PERMILLE
        rig[slot] = 4300 if lose == "cell" else 1050
        rig.scan(10)
        rig[slot] = NA
        rig.scan(400)
        assert rig.level(self.name) == 3, "the cell that is overcharged died, and with it the alarm"

    def test_cells_not_seen_yet_leave_it_open(self, image):
        rig = Rig(image, healthy=False)
        rig[L.PACK_CURRENT_MA], rig[L.SOC_PERMILLE] = -2000, 500
        rig.scan()
        assert rig.feature(L.F_OVERCHARGE) == NA


class TestHvilOpen(RuleTest):
    name = "hvil_open"
    limits = (None, None, 1)
    assert_ms = (0, 0, 300)
    clear_at = (None, None, 0)
    clear_ms = 3000
    good, worst = 0, 1
    flag = 16

    def put(self, rig, value):
        rig[L.HVIL_OK] = 1 - value

    def dark(self, rig):
        rig[L.HVIL_OK] = NA

    def possible(self, value):
        return value in (0, 1)


class TestBmsAlarm(RuleTest):
    own = False
    name = "bms_alarm"
    slot = L.BMS_LEVEL
    limits = (1, 2, 3)
    assert_ms = (200, 200, 200)
    clear_at = (0, 1, 2)
    clear_ms = 1000
    good, worst = 0, 3

    def possible(self, value):
        return 0 <= value <= 3

    @pytest.mark.parametrize(
        "i, bit",
        [pytest.param(i, bit, marks=pytest.mark.clause(f"GB/T 32960.3 flag {bit}"))
         for i, bit in enumerate((9, 12, 13, 14, 15, 17))],
    )  # fmt: skip
    def test_its_flags_are_passed_on_as_sent_and_are_level_1(self, image, i, bit):
        rig = self.rig(image)
        rig[L.BMS_FLAG_9 + i] = 1
        rig.scan()
        assert rig.clock[L.FLAGS] == 1 << bit
        rig.scan(2)
        assert rig.level(self.name) == 1
        rig[L.BMS_FLAG_9 + i] = 0
        rig.scan()
        assert rig.clock[L.FLAGS] == 0

    @pytest.mark.parametrize("level, flag", [(0, 1), (3, 0), (3, 1)])
    def test_it_does_not_end_when_what_raised_it_goes_missing(self, image, level, flag):
        rig = self.rig(image)
        rig[L.BMS_LEVEL], rig[L.BMS_FLAG_12] = level, flag
        rig.scan(3)
        rig[L.BMS_LEVEL if level else L.BMS_FLAG_12] = NA
        rig.scan(30)
        assert rig.level(self.name) == (level or 1), "the message that said so went missing, and with it the alarm"

    def test_a_bms_that_sends_flags_only_is_heard(self, image):
        sent = image.params[L.P_SENT] & ~(1 << L.BMS_LEVEL)
        rig = self.rig(changed(image, header={L.P_SENT: sent}))
        rig[L.BMS_LEVEL] = NA
        rig.scan()
        assert rig.feature(L.F_BMS_LEVEL) == 0
        rig[L.BMS_FLAG_17] = 1
        rig.scan(3)
        assert rig.level(self.name) == 1
        rig[L.BMS_FLAG_17] = 0
        rig.scan(11)
        assert rig.level(self.name) == 0


def test_the_level_of_the_vehicle_is_its_worst_rule(demo):
    rig = Rig(demo.image)
    rig[L.INSULATION_OHM] = 150_000  # 422 ohm/V
    rig.scan(51)
    assert (rig.clock[L.LEVEL], rig.clock[L.MAX_LEVEL]) == (1, 1)
    rig[L.HVIL_OK] = 0
    rig.scan(4)
    assert (rig.clock[L.LEVEL], rig.clock[L.MAX_LEVEL]) == (3, 3)
    rig[L.HVIL_OK] = 1
    rig.scan(31)
    assert (rig.clock[L.LEVEL], rig.clock[L.MAX_LEVEL]) == (1, 3)


@pytest.mark.parametrize("what, rule, number, worst", [
    ("cell", "cell_undervoltage", 1, 2000), ("cell", "cell_undervoltage", 96, 2000),
    ("probe", "temperature_high", 1, 700), ("probe", "temperature_high", 24, 700),
])  # fmt: skip
def test_the_first_and_the_last_that_die_are_named(demo, what, rule, number, worst):
    rig = Rig(demo.image)
    slot = rig.cell(number) if what == "cell" else rig.probe(number)
    rig[slot] = worst
    rig.scan()
    rig[slot] = NA
    rig.scan(21)
    (*_, event) = rig.of(rule)
    assert (event.level, event.where, event.value) == (3, number, NA), f"people look at another {what}"


def test_the_judge_says_in_which_scans_a_timer_ran(demo):
    """Time in which none does is passed over in one step."""
    rig = JudgeRig(demo.image, L.F_SOC_PERMILLE)
    for value, scans in ((500, 0), (100, 50), (101, 0), (120, 100), (500, 0)):
        rig.value = value
        told = []
        for _ in range(scans + 3):
            rig.scan()
            told.append(rig.moved)
        assert told == [1] * scans + [0] * 3, f"SOC {value} permille"


def test_only_the_level_that_asks_for_calm_waits_for_it(demo):
    for calm, value, level in ((0, 299, 0), (0, 300, 2), (1, 299, 1), (1, 300, 2)):
        rig = JudgeRig(demo.image, L.F_CELL_SPREAD_MV, cell=7)
        rig.features[L.VALUE + L.F_CALM] = calm
        rig.value = value
        rig.scan(51)
        assert rig.level("cell_spread") == level, f"a spread of {value} mV, calm {calm}"


def test_what_its_gate_ends_waits_for_no_lost_probe(demo):
    for gate, level in ((1, 3), (0, 0)):
        rig = JudgeRig(demo.image, L.F_PROBE_MIN_DDEGC, cell=7)
        rig.features[L.VALUE + L.F_CHARGING] = 1
        rig.value = -100
        rig.scan(101)
        assert rig.level("charge_too_cold") == 3
        rig.features[L.COMPLETE + L.F_PROBE_MIN_DDEGC] = 0
        rig.features[L.VALUE + L.F_CHARGING] = gate
        rig.value = 250
        rig.scan(101)
        assert rig.level("charge_too_cold") == level, f"a probe is missing, the gate is {gate}"


@pytest.mark.parametrize("cell", [0, 50])
def test_a_second_sample_is_one_of_the_message_that_carries_it(demo, cell):
    """Every message has come another number of times; of all others more samples come, of its own none."""
    rig = JudgeRig(demo.image, L.F_CELL_SPREAD_MV, cell)
    own = rig.engine.section("owners")[rig.features[L.SLOT + L.F_CELL_SPREAD_MV]]
    for group in range(len(rig.groups) // L.GROUP_SIZE):
        rig.groups[group * L.GROUP_SIZE + L.ARRIVALS] = 1000 * (group + 1)
    rig.value = 300
    for scans, more, level in ((60, 1, 0), (1, 0, 2)):
        for _ in range(scans):
            rig.groups[own * L.GROUP_SIZE + L.ARRIVALS] -= more
            rig.scan()
        assert rig.level("cell_spread") == level, "another message was taken for its second sample"


@pytest.mark.parametrize(
    "feature, rule, worse", [(L.F_SOC_PERMILLE, "soc_low", 100), (L.F_SOC_PERMILLE, "soc_high", 1010)]
)
def test_what_is_missing_makes_nothing_worse(demo, feature, rule, worse):
    rig = JudgeRig(demo.image, feature)
    rig.value = worse
    rig.scan(60)
    assert rig.level(rule) == 1
    rig.value = NA
    rig.scan(60)
    assert rig.level(rule) == 1, "a value that is missing was taken for one past every limit"


def test_each_flag_of_the_bms_is_passed_on_alone(demo):
    flags = dict(zip(range(L.BMS_FLAG_9, L.BMS_FLAG_17 + 1), (9, 12, 13, 14, 15, 17), strict=True))
    rig = JudgeRig(demo.image, L.F_SOC_PERMILLE)
    rig.value = 500
    for slot, bit in flags.items():
        for value in (0, 1, NA):
            rig[slot] = value
            rig.scan()
            assert rig.clock[L.FLAGS] == (1 << bit if value == 1 else 0), f"flag {bit} reads {value}"
        rig[slot] = 0


@pytest.mark.parametrize("number", [1, 5, 6])
@pytest.mark.parametrize("feature, rule, worse", [
    (L.F_CELL_MIN_MV, "cell_undervoltage", 2900), (L.F_PROBE_MAX_DDEGC, "temperature_high", 550),
])  # fmt: skip
def test_one_that_dies_while_its_time_runs_is_named(small, feature, rule, worse, number):
    rig = JudgeRig(small.image, feature, number)
    if feature == L.F_PROBE_MAX_DDEGC:
        rig.features[L.SLOT + feature] = rig.probe(number)
    rig.features[L.WHERE + feature] = 3  # the best of the others
    rig.value = worse
    rig.scan()
    rig.value = rig[rig.features[L.SLOT + feature]] = NA
    rig.scan(21)
    (event,) = rig.of(rule)
    assert (event.level, event.where, event.value) == (1, number, NA)


def test_what_the_bms_finds_is_no_finding_of_ours(demo):
    for feature, value, level in ((L.F_BMS_LEVEL, 3, 0), (L.F_SOC_PERMILLE, 50, 2)):
        rig = JudgeRig(demo.image, feature)
        rig.value = value
        rig.scan(60)
        assert (rig.clock[L.LEVEL], rig.clock[L.MAX_LEVEL]) == (level, level)


def test_a_value_between_limit_and_margin_ends_a_running_clear_time(small):
    rig = JudgeRig(small.image, L.F_SOC_PERMILLE)
    for value, scans, level, clearing in (
        (100, 60, 1, 0),
        (120, 50, 1, 1),
        (119, 1, 1, 0),
        (120, 100, 1, 1),
        (120, 1, 0, 0),
    ):
        rig.value = value
        rig.scan(scans)
        assert (rig.level("soc_low"), rig.busy("soc_low") >> 6) == (level, clearing), (value, scans)
        assert bool(rig.timers("soc_low")[3]) == bool(clearing)
