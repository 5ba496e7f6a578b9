"""What can befall a pack: one TOML file a scenario, read like this.

title        = "One line for people"
section      = "A"                      # of the hazard catalogue; healthy: of none
twin_of      = "cell_overvoltage"       # innocent, but near to that rule's hazard: the rule must stay silent
mode         = "drive"                  # drive | cruise | idle | charge (charge_a) | park
minutes      = 6
chemistry    = "nmc"                    # only where the figures below hold for one
pack         = "demo_pack"              # or demo_gateway: the same vehicle, each value once in 10 s
soc_permille = 700
ambient_ddegc = 220
warmer_ddegc = 20                       # the pack than the air
heater_w     = 0                        # into the pack
leak         = 1                        # times what healthy cells discharge themselves: 1 permille a day
late_ms      = 60                       # a frame comes up to so late; without: as on a bus that is not crowded
speed_kmh    = [[0, 50], [60, 100]]     # drive: from this second on to this speed; without: as the seed has it
then         = [[300, "park"]]          # from this second on another mode
cycle_s      = 86400                    # the modes begin anew so often
starts_s     = 300                      # the log begins then, in the middle of things
cell_lag_s   = 1.0                      # the cells of one round are measured up to so long ago, the first one longest
charger_goes_on = true                  # nobody ends the charge
sensor_behind_contactors = true         # the pack's voltage is measured there

[[cell]]                                # a cell that has always been so
where = 17
soc_permille = -20                      # beside the others; bias_mv of its sensor; times: leak, capacity, resistance

[[sleep]]                               # the bus is silent
starts_s = 600
ends_s   = 4200
stale_s  = 10                           # then the old values so long under new stamps
again_s  = 3600                         # and so again after each so many seconds

[[fault]]                               # kind = "path", unless it says another
quantity = "cell_voltage"               # a canonical quantity of the profile
where    = 41                           # cell or probe, from 1; a list of them; or "13-24"
starts_s = 60                           # healthy until here,
path_mv  = [[90, 4250], [120, 4280]]    # then in straight lines through these; add_mv: added to the healthy value
ends_s   = 150                          # and healthy again from here (without: never)
sensor   = true                         # only what is said of the cell; [90, "none"]: nothing is said

kind = "noise"        quantity, where, sigma_mv: a sensor that is not steady
kind = "line"         where, path_mv: the sampling line between this cell and the next is at another potential
kind = "inner_short"  where, ohm or path_ohm; in pulses with at_s = [seconds] and for_s
kind = "joint"        where, mohm or path_mohm: what the cell's joint has grown by
Of frames, of some messages = ["Cells"] or of all, and of a share of them (1):
kind = "drop"         told = true: and the CAN controller tells that it lost some
kind = "off"          the controller is off the bus, and says so
kind = "short"        bytes: only so many come
kind = "counter"      stands still
kind = "checksum"     is wrong
kind = "freeze"       repeats what it said, under running counters
kind = "clock"        back_s: the logger's clock is set back, messages or not

[[expect]]                              # a rule of the catalogue that must fire
rule      = "cell_overvoltage"
level     = 2                           # the highest, never more
where     = 41
limits_s  = [90, 120]                   # section A: when the fault reaches the limit of level 1, 2, 3
from_s    = 90                          # when the hazard, or its evidence, really begins
within_s  = 60                          # the level must be there so long after
clears    = true                        # before the end

may = ["cell_drift"]                    # rules that may fire besides, for good reasons; no other rule may fire
"""

import tomllib
from importlib.resources import files
from pathlib import Path

from ...errors import InputError, did_you_mean

_NUMBER = (int, float)
_NEEDED = ("title", "mode", "minutes")
# key: (its kind, its default where it has one)
_KEYS = {
    "title": (str, None),
    "mode": (str, None),
    "minutes": (_NUMBER, None),
    "section": (str, ""),
    "twin_of": (str, ""),
    "chemistry": (str, None),
    "pack": (str, "demo_pack"),
    "soc_permille": (_NUMBER, 700),
    "ambient_ddegc": (_NUMBER, 220),
    "warmer_ddegc": (_NUMBER, 20),
    "heater_w": (_NUMBER, 0),
    "leak": (_NUMBER, 1),
    "late_ms": (_NUMBER, 0),
    "charge_a": (_NUMBER, 100),
    "starts_s": (_NUMBER, 0),
    "cycle_s": (_NUMBER, 0),
    "cell_lag_s": (_NUMBER, 0),
    "charger_goes_on": (bool, False),
    "sensor_behind_contactors": (bool, False),
    "speed_kmh": (list, []),
    "then": (list, []),
    "cell": (list, []),
    "sleep": (list, []),
    "fault": (list, []),
    "expect": (list, []),
    "may": (list, []),
}
_CELL = {"where", "soc_permille", "bias_mv", "leak", "capacity", "resistance"}
_SLEEP = {"starts_s", "ends_s", "stale_s", "again_s"}
_MODES = ("drive", "cruise", "idle", "charge", "park")
PACKS = ("demo_pack", "demo_gateway")
SECTIONS = ("healthy", "A", "B", "C", "D", "E")


def is_number(value):
    return type(value) in (int, float) and value - value == 0


def is_point(point):
    """Whether it is [second, value]."""
    return isinstance(point, list) and len(point) == 2 and all(map(is_number, point))


def asleep(scenario):
    """Iterator of (starts_s, ends_s, stale_s): when the bus is silent, in order, without an end where it repeats."""
    sleeps = scenario["sleep"]
    if not sleeps:
        return
    again = sleeps[0].get("again_s")
    shift = 0
    while True:
        for sleep in sleeps:
            yield sleep["starts_s"] + shift, sleep["ends_s"] + shift, sleep.get("stale_s", 0)
        if not again:
            return
        shift += again


def names():
    """The names of the scenarios that come with the simulator, sorted."""
    entries = (entry.name for entry in files(__name__).iterdir())
    return sorted(name.removesuffix(".toml") for name in entries if name.endswith(".toml"))


def load(name):
    """A scenario as a dict, defaults filled in, with its `name` and `where` it is written. Raises InputError."""
    if str(name).endswith(".toml"):
        path = Path(name)
    elif name in names():
        path = files(__name__) / f"{name}.toml"
    else:
        raise InputError(name, f"no such scenario{did_you_mean(str(name), names())}", ", ".join(names()))
    try:
        told = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", "a scenario (TOML)") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(path, str(error), "a scenario (TOML)") from None
    _check(told, path)
    told = {key: default for key, (_, default) in _KEYS.items() if default is not None} | told
    plan = [[0, told["mode"]], *told["then"]]
    return told | {"plan": plan, "name": path.name.removesuffix(".toml"), "where": str(path)}


def _check(told, path):
    """Raises InputError where a scenario is not as the page above says."""
    for key in told:
        if key not in _KEYS:
            raise InputError(path, f"no key `{key}`{did_you_mean(key, _KEYS)}", ", ".join(_KEYS))
    for key in _NEEDED:
        if key not in told:
            raise InputError(path, f"says no `{key}`", ", ".join(_NEEDED))
    for key, value in told.items():
        kind = _KEYS[key][0]
        if kind is _NUMBER:
            if not is_number(value):
                raise InputError(path, f"{key} = {value!r}", "a number")
        elif not isinstance(value, kind):
            raise InputError(path, f"{key} = {value!r}", f"a {kind.__name__}")
    for mode in (told["mode"], *(entry[1] for entry in told.get("then", []) if isinstance(entry, list) and entry[1:])):
        if mode not in _MODES:
            raise InputError(path, f"mode `{mode}`{did_you_mean(str(mode), _MODES)}", ", ".join(_MODES))
    if told.get("section", "healthy") not in SECTIONS:
        raise InputError(path, f"section `{told['section']}`", ", ".join(SECTIONS))
    if told.get("pack", PACKS[0]) not in PACKS:
        raise InputError(path, f"no pack `{told['pack']}`{did_you_mean(told['pack'], PACKS)}", ", ".join(PACKS))
    then = [entry[0] if isinstance(entry, list) and len(entry) == 2 else None for entry in told.get("then", [])]
    if not all(is_number(t) and t > 0 for t in then) or then != sorted(then):
        raise InputError(path, f"then = {told['then']}", "[[second, mode], ...], seconds rising")
    for key in ("fault", "cell", "sleep", "expect"):
        if not all(isinstance(entry, dict) for entry in told.get(key, [])):
            raise InputError(path, f"`{key}` is no table", f"[[{key}]] with keys under it")
    for key, known in (("cell", _CELL), ("sleep", _SLEEP)):
        for entry in told.get(key, []):
            for name, value in entry.items():
                if name not in known:
                    near = did_you_mean(name, known)
                    raise InputError(path, f"no key `{name}` in a [[{key}]]{near}", ", ".join(sorted(known)))
                if not is_number(value) or (name in ("capacity", "resistance", *_SLEEP) and value < 0):
                    raise InputError(path, f"{name} = {value!r} in a [[{key}]]", "a number from 0")
    if any(entry.get("capacity") == 0 for entry in told.get("cell", [])):
        raise InputError(path, "a [[cell]] has no capacity", "a number over 0")
    last_s = 0
    sleeps = told.get("sleep", [])
    for sleep in sleeps:
        times = (last_s, sleep.get("starts_s"), sleep.get("ends_s"))
        if None in times or not times[0] <= times[1] < times[2]:
            raise InputError(
                path, f"a [[sleep]] lasts from {times[1]} to {times[2]}", "starts_s, then ends_s, in order"
            )
        last_s = times[2]
    again = sleeps[0].get("again_s") if sleeps else None
    if again is not None and again <= last_s - sleeps[0]["starts_s"]:
        raise InputError(path, f"the sleeps begin again after {again} s", "more than they last")
    if not all(is_point(point) for point in told.get("speed_kmh", [])):
        raise InputError(path, f"speed_kmh = {told['speed_kmh']!r}", "[[second, km/h], ...]")
