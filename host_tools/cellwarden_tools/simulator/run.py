"""From a scenario to frames."""

import random

from ..compiler.profile import load_profile
from ..errors import InputError
from . import DEMO_PROFILE, scenarios
from .bus import Traffic
from .pack import SLOW_STEP_MS, STEP_MS, Pack

LONGEST_MIN = 60 * 24 * 100
SLOWEST_MS = 250


def simulate(scenario, profile_path=None, seed=1, minutes=None):
    """Iterator of (t_us, channel, can_id, data) as Traffic.frames gives them; can_id is 11 bits, or 29 bits | 1 << 29.

    scenario: a name of scenarios.names(), or the path of a scenario's TOML. profile_path: None for the vehicle that the
    scenario names. The same arguments give the same frames. Raises InputError, before the first frame.
    """
    told = scenarios.load(scenario)
    pack, traffic = build(told, load_profile(profile_path or profile_of(told)), seed)
    minutes = told["minutes"] if minutes is None else minutes
    if not 0 < minutes <= LONGEST_MIN:
        raise InputError(told["where"], f"{minutes} minutes", f"more than 0, up to {LONGEST_MIN}")
    end_us = int(minutes * 60_000_000)
    step_us = pack.step_ms * 1000

    def before(t_us):
        while pack.steps * step_us <= t_us:
            pack.step()

    return traffic.frames(0, end_us, before)


def profile_of(told):
    """Path of the profile of the vehicle that a scenario names."""
    return DEMO_PROFILE.with_name(f"{told['pack']}.toml")


def build(scenario, profile, seed):
    """(Pack, Traffic) of a loaded scenario and profile."""
    # Seeding by text is the same on every machine and every release of Python.
    streams = [random.Random(f"{scenario['name']} {seed} {part}") for part in ("pack", "bus")]
    # A vehicle that sends no single probe still has a temperature.
    cells, probes = profile.vehicle["cells"], profile.vehicle["probes"] or 1
    # What is seldom sent need not be computed often.
    periods = [trust.period_ms or 0 for trust in profile.trust.values()]
    step_ms = SLOW_STEP_MS if periods and min(periods) >= SLOWEST_MS else STEP_MS
    pack = Pack(cells, probes, profile.chemistry, scenario, streams[0], step_ms)
    return pack, Traffic(profile, pack, scenario, streams[1])
