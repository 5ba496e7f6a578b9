"""Every fault scenario of the catalogue, played to a running box: it says what the desk says.

The frames come at once, under the tester's own stamps. An adapter's stamps begin anew each minute, so through longer
silences a frame that no vehicle knows is sent each half minute, to the box and to the desk. What goes on for longer
than two weeks is left out where CELLWARDEN_SCENARIOS is not `whole`.
"""

import os

import pytest
from cellwarden.core.layout import EXT
from cellwarden_tools.compiler.image import compile_profile
from cellwarden_tools.simulator import scenarios
from cellwarden_tools.simulator.run import profile_of, simulate

from .conftest import desk, verdicts

SILENCE_US = 30_000_000
NOBODYS = EXT | 0x1FFFFFFF
FAULTS = [name for name in scenarios.names() if scenarios.load(name)["expect"]]
LONGEST_MIN = 14 * 24 * 60
WHOLE = os.environ.get("CELLWARDEN_SCENARIOS") == "whole"
ELSEWHERE = {  # an adapter's stamps cannot carry these
    "bus_off": "test_bus_off_and_an_overrun_of_the_controller_are_told_and_the_bus_recovers",
    "controller_overruns": "test_an_overrun_of_the_adapter_is_reported",
    "clock_set_back": "test_a_time_of_day_that_is_set_is_told_and_detection_and_log_go_on",
}


@pytest.fixture(scope="module")
def image_of():
    """image_of(scenario): the image of the vehicle in which it happens."""
    made = {}

    def get(scenario):
        path = profile_of(scenarios.load(scenario))
        if path not in made:
            made[path] = compile_profile(path).image
        return made[path]

    return get


def played(scenario):
    """Its frames (t_us, can_id, data), none more than half a minute after the one before."""
    last_us = 0
    for t_us, _, can_id, data in simulate(scenario):
        while t_us - last_us > SILENCE_US:
            last_us += SILENCE_US
            yield last_us, NOBODYS, b""
        last_us = t_us
        yield t_us, can_id, data


@pytest.mark.cw_needs("stamps", "image")
@pytest.mark.parametrize("scenario", FAULTS)
def test_a_fault_of_the_catalogue_gives_the_desks_verdicts(device, scenario, image_of, tmp_path):
    if scenario in ELSEWHERE:
        pytest.skip(f"no stamps of an adapter carry it: {ELSEWHERE[scenario]}")
    if scenarios.load(scenario)["minutes"] > LONGEST_MIN and not WHOLE:
        pytest.skip("weeks of it take minutes: CELLWARDEN_SCENARIOS=whole")
    image = image_of(scenario)
    image.save(tmp_path / "vehicle.cwi")
    story = desk(image, list(played(scenario)))
    raised = {event["rule"] for event in story.events if event["level"]}
    assert {expect["rule"] for expect in scenarios.load(scenario)["expect"]} <= raised, "the desk finds the fault"
    tester = device.start(tmp_path / "vehicle.cwi", "--timed")
    tester.play(story.frames, speed=None)
    count = len(story.frames)
    assert tester.wait(lambda: tester.statuses and tester.statuses[-1]["frames"] == count, 60), tester.statuses[-1:]
    assert verdicts(tester) == story.events
    assert tester.statuses[-1]["state_sha256"] == story.digest
