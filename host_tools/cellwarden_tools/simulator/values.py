"""The names of all that a pack says."""

# Every number the pack says but those of its cells and probes, in the profile's canonical units, and the unit that
# names its path in a scenario. The names without one are what a whole vehicle says besides.
SCALARS = {
    "pack_voltage": "mv",
    "pack_current": "ma",
    "soc": "permille",
    "insulation": "ohm",
    "insulation_valid": "state",
    "vehicle_state": "state",
    "charging": "state",
    "contactors": "state",
    "hvil": "state",
    "bms_level": "level",
    "max_discharge_current": "ma",
    "max_charge_current": "ma",
    "cell_voltage_max": "mv",
    "cell_voltage_min": "mv",
    "temperature_max": "ddegc",
    "temperature_min": "ddegc",
    "bms_flag_9": "state",
    "bms_flag_12": "state",
    "bms_flag_13": "state",
    "bms_flag_14": "state",
    "bms_flag_15": "state",
    "bms_flag_17": "state",
    "cell_count": "count",
    "probe_count": "count",
    "speed_kmh": None,
    "torque_nm": None,
    "accelerator_percent": None,
    "brake_percent": None,
    "gear": None,
    "motor_rpm": None,
    "motor_degc": None,
    "inverter_degc": None,
    "charger_v": None,
    "charger_a": None,
    "charger_state": None,
    "capacity_ah": None,
    "one": None,
}
ARRAYS = {"cell_voltage": "mv", "temperature": "ddegc"}
SLOT = {name: slot for slot, name in enumerate(SCALARS)}
# What a fault may bend: the rest follows from these.
BENDABLE = [name for name, unit in SCALARS.items() if unit and not name.endswith(("_max", "_min"))] + list(ARRAYS)
