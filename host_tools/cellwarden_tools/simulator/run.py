"""From a scenario to frames."""

import random

from ..compiler.profile import load_profile
from ..errors import InputError
from . import scenarios
from .bus import Traffic
from .pack import STEP_MS, Pack

LONGEST_MIN = 60 * 24 * 31


def simulate(scenario, profile_path, seed=1, minutes=None):
    """Iterator of (t_us, channel, can_id, data), t_us from 0 and rising; can_id is 11 bits, or 29 bits | 1 << 29.

    scenario: a name of scenarios.names(), or the path of a scenario's TOML. The same arguments give the same frames.
    Raises InputError, before the first frame.
    """
    told = scenarios.load(scenario)
    pack, traffic = build(told, load_profile(profile_path), seed)
    minutes = told["minutes"] if minutes is None else minutes
    if not 0 < minutes <= LONGEST_MIN:
        raise InputError(told["where"], f"{minutes} minutes", f"more than 0, up to {LONGEST_MIN}")
    end_us = int(minutes * 60_000_000)

    def before(t_us):
        while pack.steps * STEP_MS * 1000 <= t_us:
            pack.step()

    return traffic.frames(0, end_us, before)


def build(scenario, profile, seed):
    """(Pack, Traffic) of a loaded scenario and profile."""
    # Seeding by text is the same on every machine and every release of Python.
    streams = [random.Random(f"{scenario['name']} {seed} {part}") for part in ("pack", "bus")]
    # A vehicle that sends no single probe still has a temperature.
    cells, probes = profile.vehicle["cells"], profile.vehicle["probes"] or 1
    pack = Pack(cells, probes, profile.chemistry, scenario, streams[0])
    return pack, Traffic(profile, pack, streams[1])
