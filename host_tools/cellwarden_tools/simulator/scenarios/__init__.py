"""What can befall a pack: one TOML file a scenario, read like this.

    title        = "One line for people"
    mode         = "drive"                  # drive | cruise | charge (charge_a) | park
    minutes      = 6
    chemistry    = "nmc"                    # only where the figures below hold for one
    soc_permille = 700
    ambient_ddegc = 220

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

    may = ["cell_drift"]                    # rules of sections B to D that may fire besides; no other rule of the catalogue may
"""

import tomllib
from importlib.resources import files
from pathlib import Path

from ...errors import InputError, did_you_mean

_DEFAULTS = {"fault": [], "expect": [], "may": [], "soc_permille": 700, "ambient_ddegc": 220, "charge_a": 100}
_NEEDED = ("title", "mode", "minutes")
_MODES = ("drive", "cruise", "charge", "park")


def names():
    """The names of the scenarios that come with the simulator, sorted."""
    return sorted(entry.name.removesuffix(".toml") for entry in files(__name__).iterdir() if entry.name.endswith(".toml"))


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
    for key in _NEEDED:
        if key not in told:
            raise InputError(path, f"says no `{key}`", ", ".join(_NEEDED))
    for key in told:
        if key not in (*_DEFAULTS, *_NEEDED, "chemistry"):
            raise InputError(path, f"no key `{key}`{did_you_mean(key, (*_DEFAULTS, *_NEEDED, 'chemistry'))}")
    if told["mode"] not in _MODES:
        raise InputError(path, f"mode `{told['mode']}`{did_you_mean(str(told['mode']), _MODES)}", ", ".join(_MODES))
    return _DEFAULTS | told | {"name": path.name.removesuffix(".toml"), "where": str(path)}
