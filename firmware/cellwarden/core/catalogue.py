"""The hazard catalogue: one row is one rule. The only place where a rule is declared.

Limits are in the feature's canonical integer unit (mV, 0.1 degC, permille, ohm/V). A row reads like the page it
comes from: the feature, which side is bad, the limits of levels 1 minor, 2 limit driving, 3 stop, the time each must
hold, how far and how long beyond the limit it clears, the gate, and the general alarm flag of GB/T 32960.3 it sets.
"""

from cellwarden.core import layout as L

ABOVE, BELOW = 1, -1
NO = None  # the rule has no such level

# How the clear limit follows from the level's limit.
BY = "by"  # limit -/+ margin
PERCENT = "percent"  # limit x margin / 100
AT = "at"  # margin itself, for all levels

# Limits that depend on the cell's chemistry (mV): over, under, spread. Each with its source.
# nmc, lfp: HAZARDS section A. lto: foxBMS 2 battery_cell_cfg.h (MOL / RSL / MSL of its LTO-like cell), spread as nmc.
# lmo: as nmc, to be confirmed by the maker (same 4.2 V end of charge).
CHEMISTRIES = {
    "nmc": ((4250, 4280, 4350), (2900, 2750, 2500), (150, 300, 500)),
    "lfp": ((3650, 3750, 3850), (2600, 2400, 2000), (200, 400, 600)),
    "lto": ((2720, 2750, 2800), (1580, 1550, 1500), (150, 300, 500)),
    "lmo": ((4250, 4280, 4350), (2900, 2750, 2500), (150, 300, 500)),
}
# Nominal voltage of a cell (mV), by which insulation is judged while the pack's own voltage is unknown.
NOMINAL_MV = {"nmc": 3700, "lfp": 3200, "lto": 2300, "lmo": 3800}

CELL_OVER = "cell_over"  # these limits come from CHEMISTRIES
CELL_UNDER = "cell_under"
CELL_SPREAD = "cell_spread"
PACK_OVER = "pack_over"  # cells x the cell's limit, after the profile's own cell limits
PACK_UNDER = "pack_under"

# Between these medians (mV) the cells' imbalance shows as one factor, the slope of the curve: outside of them its ends
# bend for each cell alone, and a drift cannot be told from a difference of capacity.
DRIFT_RANGE_MV = {"nmc": (3450, 4250), "lfp": (3200, 3345), "lto": (2100, 2600), "lmo": (3600, 4200)}

# Quantities: all that stand in a row are needed; a|b means either. Of two cells none is the odd one.
#  rule, feature, side,
#      limits L1 L2 L3, assert ms L1 L2 L3, (clear kind, margin), clear ms,
#      gate, flag bit, samples, calm levels, unit of the limits, needs, source
ROWS = (
    ("cell_overvoltage", L.F_CELL_MAX_MV, ABOVE,
        CELL_OVER, (1000, 1000, 1000), (BY, 30), 5000,
        NO, 5, 1, (), "mV", ("cell_voltage|cell_voltage_max",), "HAZARDS A; GB/T 32960.3 flag 5"),
    ("cell_undervoltage", L.F_CELL_MIN_MV, BELOW,
        CELL_UNDER, (1000, 1000, 300), (BY, 150), 10000,
        NO, 6, 1, (), "mV", ("cell_voltage|cell_voltage_min",), "HAZARDS A; GB/T 32960.3 flag 6"),
    ("pack_overvoltage", L.F_PACK_VOLTAGE_MV, ABOVE,
        PACK_OVER, (1000, 1000, 1000), (PERCENT, 99), 5000,
        NO, 2, 2, (), "mV", ("pack_voltage",), "HAZARDS A; GB/T 32960.3 flag 2"),
    ("pack_undervoltage", L.F_PACK_VOLTAGE_MV, BELOW,
        PACK_UNDER, (1000, 1000, 1000), (PERCENT, 102), 10000,
        L.F_CONTACTORS, 3, 2, (), "mV", ("pack_voltage", "contactors"), "HAZARDS A; GB/T 32960.3 flag 3"),
    ("temperature_high", L.F_PROBE_MAX_DDEGC, ABOVE,
        (550, 600, 650), (2000, 2000, 2000), (BY, 30), 10000,
        NO, 1, 2, (), "ddegC", ("temperature|temperature_max",), "HAZARDS A; GB/T 32960.3 flag 1"),
    ("temperature_spread", L.F_PROBE_SPREAD_DDEGC, ABOVE,
        (120, 180, 250), (5000, 5000, 5000), (BY, 20), 10000,
        NO, 0, 2, (), "dK", ("temperature|temperature_max", "temperature|temperature_min"),
        "HAZARDS A; GB/T 32960.3 flag 0"),
    ("charge_too_cold", L.F_PROBE_MIN_DDEGC, BELOW,
        (0, -50, -100), (10000, 10000, 10000), (BY, 20), 10000,
        L.F_CHARGING, NO, 2, (), "ddegC", ("temperature|temperature_min", "charging"), "HAZARDS A"),
    ("cell_spread", L.F_CELL_SPREAD_MV, ABOVE,
        CELL_SPREAD, (5000, 5000, 5000), (BY, 30), 10000,
        NO, 10, 2, (1,), "mV", ("cell_voltage|cell_voltage_max", "cell_voltage|cell_voltage_min", "2 cells"),
        "HAZARDS A and 7; GB/T 32960.3 flag 10"),
    ("overcurrent_discharge", L.F_DISCHARGE_PERMILLE, ABOVE,
        (1050, 1150, 1300), (5000, 2000, 500), (AT, 950), 5000,
        NO, NO, 2, (), "permille", ("pack_current", "max_discharge_current"), "HAZARDS A"),
    ("overcurrent_charge", L.F_CHARGE_PERMILLE, ABOVE,
        (1050, 1150, 1300), (5000, 2000, 500), (AT, 950), 5000,
        NO, NO, 2, (), "permille", ("pack_current", "max_charge_current"), "HAZARDS A"),
    ("insulation_low", L.F_INSULATION_OHM_PER_V, BELOW,
        (500, 300, 100), (5000, 5000, 1000), (PERCENT, 120), 20000,
        NO, 11, 2, (), "ohm/V", ("insulation",), "HAZARDS A; GB 18384 (100 ohm/V DC); GB/T 32960.3 flag 11"),
    ("soc_low", L.F_SOC_PERMILLE, BELOW,
        (100, 50, 20), (5000, 5000, 5000), (BY, 20), 10000,
        NO, 4, 2, (), "permille", ("soc",), "HAZARDS A; GB/T 32960.3 flag 4"),
    ("soc_high", L.F_SOC_PERMILLE, ABOVE,
        (1010, 1030, 1050), (5000, 5000, 5000), (BY, 20), 10000,
        NO, 7, 2, (), "permille", ("soc",), "HAZARDS A; GB/T 32960.3 flag 7"),
    ("overcharge", L.F_OVERCHARGE, ABOVE,
        (1, 1, 1), (5000, 15000, 30000), (AT, 0), 10000,
        L.F_CHARGING, 18, 2, (), "state", ("pack_current", "charging", "cell_voltage|cell_voltage_max|soc"),
        "HAZARDS A; GB/T 32960.3 flag 18"),
    ("hvil_open", L.F_HVIL_OPEN, ABOVE,
        (NO, NO, 1), (0, 0, 300), (AT, 0), 3000,
        NO, 16, 2, (), "state", ("hvil",), "HAZARDS A; GB/T 32960.3 flag 16"),
    ("bms_alarm", L.F_BMS_LEVEL, ABOVE,
        (1, 2, 3), (200, 200, 200), (BY, 1), 1000,
        NO, NO, 2, (), "level",
        ("bms_level|bms_flag_9|bms_flag_12|bms_flag_13|bms_flag_14|bms_flag_15|bms_flag_17",),
        "HAZARDS A; the BMS's own finding, its flags are passed on as sent"),
    # --- B: change and consistency
    ("temperature_rise", L.F_RISE_MK_PER_S, ABOVE,
        (300, 600, 1000), (7000, 3000, 3000), (PERCENT, 85), 10000,
        NO, 1, 2, (), "mK/s", ("temperature",),
        "HAZARDS B; GB 38031-2025 C.5.3.7 c); 2 K of flicker are 0.3 K/s or more for 6.7 s at most (car1)"),
    ("soc_jump", L.F_SOC_JUMP_PERMILLE, ABOVE,
        (50, 100, NO), (0, 0, 0), (BY, 20), 10000,
        NO, 8, 2, (), "permille", ("soc", "pack_current"), "HAZARDS B; never on car1, car3; GB/T 32960.3 flag 8"),
    ("pack_step", L.F_PACK_STEP_MV, ABOVE,
        (NO, NO, 10000), (0, 0, 500), (PERCENT, 50), 10000,
        NO, 3, 2, (), "mV", ("pack_voltage", "pack_current"), "HAZARDS B; never on car1; GB/T 32960.3 flag 3"),
    ("pack_sum_mismatch", L.F_SUM_MISMATCH_PERMILLE, ABOVE,
        (15, 25, 40), (10000, 10000, 10000), (BY, 5), 10000,
        NO, 9, 2, (1,), "permille", ("pack_voltage", "cell_voltage"),
        "HAZARDS B; level 1 in calm scans only: under load pack and cells are of different instants; flag 9"),
    ("cell_transient", L.F_TRANSIENTS, ABOVE,
        (3, 5, NO), (0, 0, 0), (BY, 1), 10000,
        NO, 10, 1, (), "count", ("cell_voltage", "pack_current", "3 cells"),
        "HAZARDS B; arXiv 2506.13394; GB/T 32960.3 flag 10"),
    ("cell_drift", L.F_DRIFT_MV, ABOVE,
        (30, 60, NO), (0, 0, 0), (BY, 10), 10000,
        NO, 10, 1, (), "mV", ("cell_voltage", "pack_current", "3 cells"), "HAZARDS B; GB/T 32960.3 flag 10"),
    ("self_discharge", L.F_SELF_DISCHARGE_UV_PER_H, ABOVE,
        (3000, 10000, NO), (0, 0, 0), (PERCENT, 50), 10000,
        NO, 10, 1, (), "uV/h", ("cell_voltage", "pack_current", "3 cells"),
        "HAZARDS B; 5 ohm across a 150 Ah cell is 0.5 % an hour, 3 mV where 1 % is 6 mV; GB/T 32960.3 flag 10"),
    ("contact_resistance", L.F_CONTACT_UOHM, ABOVE,
        (300, 600, NO), (0, 0, 0), (PERCENT, 50), 10000,
        NO, 10, 1, (), "uohm", ("cell_voltage", "pack_current", "3 cells"),
        "HAZARDS B; 12 W and 24 W in one joint at 200 A; GB/T 32960.3 flag 10"),
    ("insulation_trend", L.F_INSULATION_H, BELOW,
        (168, 24, NO), (0, 0, 0), (PERCENT, 150), 60000,
        NO, 11, 1, (), "h", ("insulation",), "HAZARDS B; GB 18384; GB/T 32960.3 flag 11"),
    # --- C: trust in the data
    ("signal_lost", L.F_SIGNAL_LOST, ABOVE,
        (NO, 1, 2), (0, 1000, 1000), (BY, 1), 5000,
        NO, NO, 1, (), "state", ("messages",), "HAZARDS C; GB/T 38661 communication faults"),
    ("counter_error", L.F_COUNTER_WRONG, ABOVE,
        (NO, 5, NO), (0, 0, 0), (AT, 0), 5000,
        NO, NO, 1, (), "count", ("counter",), "HAZARDS C; opendbc safety.h: +1 wrong, -1 right, at 5"),
    ("checksum_error", L.F_CHECKSUM_WRONG, ABOVE,
        (NO, 5, NO), (0, 0, 0), (AT, 0), 5000,
        NO, NO, 1, (), "count", ("checksum",), "HAZARDS C"),
    ("frame_malformed", L.F_MALFORMED, ABOVE,
        (1, 1, NO), (0, 10000, 0), (AT, 0), 10000,
        NO, NO, 1, (), "state", ("messages",), "HAZARDS C"),
    ("frames_lost", L.F_DROPPED, ABOVE,
        (1, 1, NO), (0, 10000, 0), (AT, 0), 10000,
        NO, NO, 1, (), "state", ("messages",), "HAZARDS C; by notice of the box"),
    ("bus_off", L.F_BUS_OFF, ABOVE,
        (NO, 1, NO), (0, 0, 0), (AT, 0), 5000,
        NO, NO, 1, (), "state", ("messages",), "HAZARDS C; by notice of the box"),
    ("cells_lost", L.F_CELLS_GONE, ABOVE,
        (NO, 1, 2), (0, 1000, 1000), (BY, 1), 10000,
        NO, NO, 2, (), "state", ("cell_voltage",), "HAZARDS C; GB/T 38661 sensor faults"),
    ("cells_absent", L.F_CELLS_ABSENT, ABOVE,
        (NO, 1, NO), (0, 0, 0), (AT, 0), 5000,
        NO, NO, 1, (), "count", ("cell_voltage",), "HAZARDS C; car1 fills its table within 14 s of each start"),
    ("probe_fault", L.F_PROBE_FAULTS, ABOVE,
        (1, NO, NO), (1000, 0, 0), (AT, 0), 60000,
        NO, NO, 1, (), "count", ("temperature",), "HAZARDS C; GB/T 38661 sensor faults"),
    ("sense_line", L.F_SENSE_LINE_MV, ABOVE,
        (30, NO, NO), (30000, 0, 0), (BY, 10), 10000,
        NO, NO, 1, (), "mV", ("cell_voltage", "pack_current", "3 cells"),
        "HAZARDS C; Electronics 2024 13,612; a broken line stays broken, neighbours swing for 20 s on car1"),
    ("frozen", L.F_FROZEN_S, ABOVE,
        (60, NO, NO), (0, 0, 0), (PERCENT, 50), 5000,
        NO, NO, 1, (), "s", ("cell_voltage", "pack_current"), "HAZARDS C; runs of ten equal scans are normal"),
    ("time_backward", L.F_BACKWARD, ABOVE,
        (1, NO, NO), (0, 0, 0), (AT, 0), 10000,
        NO, NO, 1, (), "state", (), "HAZARDS C"),
    ("mismatch", L.F_COUNT_DIFFERS, ABOVE,
        (NO, 1, NO), (0, 5000, 0), (AT, 0), 10000,
        NO, 9, 2, (), "state", ("cell_count|probe_count",), "HAZARDS C; GB/T 32960.3 flag 9"),
    # --- D: thermal runaway
    ("thermal_runaway", L.F_RUNAWAY, ABOVE,
        (NO, NO, 1), (0, 0, 0), (AT, 0), 0,
        NO, (1, 23), 1, (), "state", ("temperature|temperature_max|4 cell voltages",),
        "HAZARDS D; GB 38031-2025 C.5.3.7; GB 18384 5.2.2.3; GB/T 32960.3-2025 flag 23, 2016 flag 1"),
    ("thermal_suspected", L.F_SUSPECTED, ABOVE,
        (NO, 1, NO), (0, 0, 0), (AT, 0), 30000,
        NO, NO, 1, (), "state", ("temperature|temperature_max|cell_voltage|cell_voltage_min",), "HAZARDS D"),
)  # fmt: skip
# Cleared by an authenticated acknowledgement only, and kept over a restart (semantics 3). A profile adds to them.
LATCHED = ("thermal_runaway",)

COLUMNS = (
    "rule", "feature", "side", "limits", "assert_ms", "clear", "clear_ms",
    "gate", "flag", "samples", "calm_levels", "unit", "needs", "source",
)  # fmt: skip

RULES = tuple(row[0] for row in ROWS)
BMS = "bms_alarm"  # what the BMS says: never counted as our own finding

# What a calm scan is (HAZARDS, semantics 7): abs(I) <= 5 A (or C/20), its change under 2 A, both over the last 2 s,
# and the median absolute deviation of the cells' own steps under 5 mV.
CALM_MA = 5000
CALM_STEP_MA = 2000
CALM_MS = 2000
CALM_MAD_MV = 5

SLEEP_MS = 10000  # silence of every message from which on the vehicle is asleep
# Parked (HAZARDS E), minutes: the watch after HV-off (GB/T 32960.3-2025), then one wake-up in so many of the first hour
# asleep, and later.
PARKED_MIN = {"watch_min": 60, "wake_first_min": 10, "wake_min": 60}
CAPACITY_AH = 20  # where the profile does not say: a small pack, whose SOC moves fast
SLICE_MS = 900  # within which the analysis of a sample of the cells is done

START_MS = 30000  # a starting terminal fills its tables over several seconds (field data, car1)
LIMIT_FLOOR_MA = 5000
INFLOW_MA = 1000
