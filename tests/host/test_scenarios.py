"""Every scenario through the core: each fault found, where and when it is; each innocent twin left in peace."""

import pytest
from cellwarden.core import catalogue
from cellwarden_tools.compiler.image import compile_profile
from cellwarden_tools.engines import open_engine
from cellwarden_tools.readers.account import Account
from cellwarden_tools.replay import Replay
from cellwarden_tools.simulator import scenarios
from cellwarden_tools.simulator.run import profile_of, simulate

RULES = set(catalogue.RULES)
MANY = 1 << 30  # frames: worth machine code, where Numba is there to make it


class Simulated:
    """A scenario's frames in the place of a log."""

    path = "a scenario"

    def __init__(self, name):
        self.name, self.account = name, Account()

    def __iter__(self):
        return iter(simulate(self.name))

    def blocks(self):
        from cellwarden_tools.readers.blocks import from_frames

        return from_frames(self)


@pytest.fixture(scope="module")
def judge():
    """judge(name) -> the events of a scenario, as `replay --json` tells them."""
    images = {}

    def run(name):
        told = scenarios.load(name)
        if told["pack"] not in images:
            images[told["pack"]] = compile_profile(profile_of(told)).image
        image = images[told["pack"]]
        with open_engine("auto", image, MANY) as engine:
            return list(Replay(image, Simulated(name), engine))

    return run


def highest(events):
    """{rule: level}"""
    levels = {}
    for event in events:
        levels[event["rule"]] = max(event["level"], levels.get(event["rule"], 0))
    return levels


SHORT = (
    "demo", "hard_short_burns", "healthy_drive", "micro_shorts", "checksum_wrong",
    "wakes_to_disaster", "hvil_opens",
)  # fmt: skip


@pytest.mark.long(but=SHORT)
@pytest.mark.numba
@pytest.mark.parametrize("name", scenarios.names())
def test_what_must_be_found_is_found_in_time_and_nothing_else_is_said(judge, name):
    told, events = scenarios.load(name), judge(name)
    for expect in told["expect"]:
        raised = [event for event in events if event["rule"] == expect["rule"] and event["level"] >= expect["level"]]
        assert raised, f"{expect['rule']} never came to level {expect['level']}"
        assert expect["from_s"] <= raised[0]["t"] <= expect["from_s"] + expect["within_s"], expect["rule"]
        if "where" in expect:
            assert raised[0]["where"] == expect["where"], expect["rule"]
        if expect.get("clears"):
            assert [event for event in events if event["rule"] == expect["rule"]][-1]["level"] == 0, expect["rule"]
    said = {expect["rule"] for expect in told["expect"]} | set(told["may"])
    assert highest(events).keys() <= said


def test_every_rule_of_the_catalogue_has_a_fault_that_raises_it_and_an_innocent_twin():
    told = [scenarios.load(name) for name in scenarios.names()]
    expected = {expect["rule"] for scenario in told for expect in scenario["expect"]}
    assert expected == RULES
    assert {scenario["twin_of"] for scenario in told} - {""} <= RULES
    assert {rule for scenario in told for rule in scenario["may"]} <= RULES
