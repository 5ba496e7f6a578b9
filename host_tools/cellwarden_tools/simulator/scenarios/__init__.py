"""What can befall a pack: one TOML file a scenario, read like this.

title        = "One line for people"
mode         = "drive"                  # drive | cruise | charge (charge_a) | park
minutes      = 6
chemistry    = "nmc"                    # only where the figures below hold for one
soc_permille = 700
ambient_ddegc = 220
speed_kmh    = [[0, 50], [60, 100]]     # drive: from this second on to this speed; without: as the seed has it

[[fault]]
quantity = "cell_voltage"               # a canonical quantity of the profile
where    = 41                           # cell or probe, from 1
starts_s = 60                           # healthy until here,
path_mv  = [[90, 4250], [120, 4280]]    # then in straight lines through these; add_mv: added to the healthy value
ends_s   = 150                          # and healthy again from here (without: never)

[[expect]]                              # a rule of the catalogue that must fire
rule      = "cell_overvoltage"
level     = 2                           # the highest, never more
where     = 41
limits_s  = [90, 120]                   # when the fault reaches the limit of level 1, 2, 3
clears    = true                        # before the end

may = ["cell_drift"]                    # rules of sections B to D that may fire besides; no other rule may fire
"""

import tomllib
from importlib.resources import files
from pathlib import Path

from ...errors import InputError, did_you_mean

_DEFAULTS = {"soc_permille": 700, "ambient_ddegc": 220, "charge_a": 100}
_DEFAULTS |= {key: [] for key in ("speed_kmh", "fault", "expect", "may")}
_NUMBER = (int, float)
_KEYS = {
    "title": str,
    "mode": str,
    "minutes": _NUMBER,
    "chemistry": str,
    "soc_permille": _NUMBER,
    "ambient_ddegc": _NUMBER,
    "charge_a": _NUMBER,
    "speed_kmh": list,
    "fault": list,
    "expect": list,
    "may": list,
}
_NEEDED = ("title", "mode", "minutes")
_MODES = ("drive", "cruise", "charge", "park")


def is_point(point):
    """Whether it is [second, value]."""
    return isinstance(point, list) and len(point) == 2 and all(type(x) in (int, float) for x in point)


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
    for key, kind in _KEYS.items():
        if key in _NEEDED and key not in told:
            raise InputError(path, f"says no `{key}`", ", ".join(_NEEDED))
        if key in told and (not isinstance(told[key], kind) or isinstance(told[key], bool)):
            raise InputError(path, f"{key} = {told[key]!r}", "a number" if kind is _NUMBER else f"a {kind.__name__}")
    for key in told:
        if key not in _KEYS:
            raise InputError(path, f"no key `{key}`{did_you_mean(key, _KEYS)}", ", ".join(_KEYS))
    if told["mode"] not in _MODES:
        raise InputError(path, f"mode `{told['mode']}`{did_you_mean(told['mode'], _MODES)}", ", ".join(_MODES))
    if not all(isinstance(fault, dict) for fault in told.get("fault", [])):
        raise InputError(path, "`fault` is no table", "[[fault]] with keys under it")
    if not all(is_point(point) for point in told.get("speed_kmh", [])):
        raise InputError(path, f"speed_kmh = {told['speed_kmh']!r}", "[[second, km/h], ...]")
    return _DEFAULTS | told | {"name": path.name.removesuffix(".toml"), "where": str(path)}
