"""Every row whose feature is computed (HAZARDS sections B to E): its figures, and the tests it inherits."""

from rules import JudgedTest


class TestTemperatureRise(JudgedTest):
    name = "temperature_rise"
    limits = (300, 600, 1000)
    assert_ms = (7000, 3000, 3000)
    clear_at = (255, 510, 850)
    clear_ms = 10000
    worst = 1500
    flag = 1
    answers = ("GB 38031-2025 C.5.3.7 c", "GB/T 38661 temperature")


class TestSocJump(JudgedTest):
    name = "soc_jump"
    limits = (50, 100, None)
    assert_ms = (0, 0, 0)
    clear_at = (30, 80, None)
    clear_ms = 10000
    worst = 200
    flag = 8


class TestPackStep(JudgedTest):
    name = "pack_step"
    limits = (None, None, 10000)
    assert_ms = (0, 0, 500)
    clear_at = (None, None, 5000)
    clear_ms = 10000
    worst = 40000
    flag = 3


class TestPackSumMismatch(JudgedTest):
    name = "pack_sum_mismatch"
    limits = (15, 25, 40)
    assert_ms = (10000, 10000, 10000)
    clear_at = (10, 20, 35)
    clear_ms = 10000
    worst = 60
    flag = 9
    answers = ("GB/T 38661 sensor fault",)


class TestCellTransient(JudgedTest):
    name = "cell_transient"
    limits = (3, 5, None)
    assert_ms = (0, 0, 0)
    clear_at = (2, 4, None)
    clear_ms = 10000
    samples = 1
    worst = 7
    where = 7
    flag = 10
    answers = ("GB/T 38661 consistency",)


class TestCellDrift(JudgedTest):
    name = "cell_drift"
    limits = (30, 60, None)
    assert_ms = (0, 0, 0)
    clear_at = (20, 50, None)
    clear_ms = 10000
    samples = 1
    worst = 100
    where = 7
    flag = 10
    answers = ("GB/T 38661 consistency",)


class TestSelfDischarge(JudgedTest):
    name = "self_discharge"
    limits = (3000, 10000, None)
    assert_ms = (0, 0, 0)
    clear_at = (1500, 5000, None)
    clear_ms = 10000
    samples = 1
    worst = 20000
    where = 7
    flag = 10
    answers = ("GB/T 38661 consistency",)


class TestContactResistance(JudgedTest):
    name = "contact_resistance"
    limits = (300, 600, None)
    assert_ms = (0, 0, 0)
    clear_at = (150, 300, None)
    clear_ms = 10000
    samples = 1
    worst = 1000
    where = 7
    flag = 10
    answers = ("GB/T 38661 consistency",)


class TestInsulationTrend(JudgedTest):
    name = "insulation_trend"
    above = False
    limits = (168, 24, None)
    assert_ms = (0, 0, 0)
    clear_at = (252, 36, None)
    clear_ms = 60000
    samples = 1
    good, worst = 1000, 5
    flag = 11
    answers = ("GB 18384 insulation",)


class TestSignalLost(JudgedTest):
    name = "signal_lost"
    limits = (None, 1, 2)
    assert_ms = (0, 1000, 1000)
    clear_at = (None, 0, 1)
    clear_ms = 5000
    samples = 1
    worst = 2
    answers = ("GB/T 38661 communication fault",)


class TestCounterError(JudgedTest):
    name = "counter_error"
    limits = (None, 5, None)
    assert_ms = (0, 0, 0)
    clear_at = (None, 0, None)
    clear_ms = 5000
    samples = 1
    worst = 6
    answers = ("GB/T 38661 communication fault",)


class TestChecksumError(TestCounterError):
    name = "checksum_error"


class TestFrameMalformed(JudgedTest):
    name = "frame_malformed"
    limits = (1, 1, None)
    assert_ms = (0, 10000, 0)
    clear_at = (0, 0, None)
    clear_ms = 10000
    samples = 1
    worst = 1
    answers = ("GB/T 38661 communication fault",)


class TestFramesLost(TestFrameMalformed):
    name = "frames_lost"


class TestBusOff(JudgedTest):
    name = "bus_off"
    limits = (None, 1, None)
    assert_ms = (0, 0, 0)
    clear_at = (None, 0, None)
    clear_ms = 5000
    samples = 1
    worst = 1
    answers = ("GB/T 38661 communication fault",)


class TestCellsLost(JudgedTest):
    name = "cells_lost"
    limits = (None, 1, 2)
    assert_ms = (0, 1000, 1000)
    clear_at = (None, 0, 1)
    clear_ms = 10000
    worst = 2
    where = 7
    answers = ("GB/T 38661 sensor fault",)


class TestCellsAbsent(JudgedTest):
    name = "cells_absent"
    limits = (None, 1, None)
    assert_ms = (0, 0, 0)
    clear_at = (None, 0, None)
    clear_ms = 5000
    samples = 1
    worst = 3
    answers = ("GB/T 38661 sensor fault",)


class TestProbeFault(JudgedTest):
    name = "probe_fault"
    limits = (1, None, None)
    assert_ms = (1000, 0, 0)
    clear_at = (0, None, None)
    clear_ms = 60000
    samples = 1
    worst = 3
    answers = ("GB/T 38661 sensor fault",)


class TestSenseLine(JudgedTest):
    name = "sense_line"
    limits = (30, None, None)
    assert_ms = (30000, 0, 0)
    clear_at = (20, None, None)
    clear_ms = 10000
    samples = 1
    worst = 60
    where = 7
    answers = ("GB/T 38661 sensor fault",)


class TestFrozen(JudgedTest):
    name = "frozen"
    limits = (60, None, None)
    assert_ms = (0, 0, 0)
    clear_at = (30, None, None)
    clear_ms = 5000
    samples = 1
    worst = 90
    answers = ("GB/T 38661 sensor fault",)


class TestTimeBackward(JudgedTest):
    name = "time_backward"
    limits = (1, None, None)
    assert_ms = (0, 0, 0)
    clear_at = (0, None, None)
    clear_ms = 10000
    samples = 1
    worst = 1
    answers = ("GB/T 38661 communication fault",)


class TestMismatch(JudgedTest):
    name = "mismatch"
    limits = (None, 1, None)
    assert_ms = (0, 5000, 0)
    clear_at = (None, 0, None)
    clear_ms = 10000
    worst = 1
    flag = 9


class TestThermalRunaway(JudgedTest):
    name = "thermal_runaway"
    limits = (None, None, 1)
    assert_ms = (0, 0, 0)
    clear_at = (None, None, 0)
    clear_ms = 0
    samples = 1
    worst = 1
    flag = (1, 23)
    answers = (
        "GB 38031-2025 C.5.3.7 a", "GB 38031-2025 C.5.3.7 b", "GB 38031-2025 C.5.3.7 c",
        "GB 38031-2025 thermal event alarm",
    )  # fmt: skip


class TestThermalSuspected(JudgedTest):
    name = "thermal_suspected"
    limits = (None, 1, None)
    assert_ms = (0, 0, 0)
    clear_at = (None, 0, None)
    clear_ms = 30000
    samples = 1
    worst = 1
