"""pytest --cw-device DEVICE: acceptance tests on a running box.

`device` is the box; after each test its counters are judged: nothing lost, no error on the bus, no hazard of its own,
no restart as by its watchdog, a heap that does not grow. A test that makes these itself says so:
`@pytest.mark.cw_expects("dropped", "box_late")`; one that not every box can be put to says what it needs:
`@pytest.mark.cw_needs("stamps")` (NEEDS).
"""

import pytest

from ..errors import InputError

COUNTERS = ("dropped", "bus_errors", "events_lost")
NEEDS = {  # word: why a box without it is left out
    "stamps": "only SLCAN carries the tester's own stamps to the box",
    "bus": "its frames come over a serial port",
    "image": "it has its own image",
    "process": "its power is not in this test's hands",
    "last good image": "its image is in a ROM, and no last good one beside it; a board in slots has that in the other",
    "files": "its files are not at hand",
    "disk": "no small disk can be put under its log (root can, on this machine)",
    "clock": "this machine's time of day is not set for a test",
}


def pytest_addoption(parser):
    group = parser.getgroup("cellwarden", "hardware in the loop")
    group.addoption(
        "--cw-device", default="micropython", metavar="DEVICE",
        help="the box under test: micropython or python (here), cortex-m3 (emulated), ssh:USER@HOST, or a board's port",
    )  # fmt: skip
    group.addoption(
        "--cw-bus",
        default="serial",
        metavar="BUS",
        help="how frames get to it: serial (SLCAN), or INTERFACE:CHANNEL@BOX (python-can's, and the box's own)",
    )
    group.addoption(
        "--cw-expects", action="append", default=[], metavar="COUNTER",
        help="what this device makes of itself in any test, such as box_late on an emulated machine",
    )  # fmt: skip
    group.addoption("--cw-heap", default="1m", metavar="BYTES", help="heap of a local MicroPython")


def pytest_configure(config):
    config.addinivalue_line("markers", "cw_expects(*counters): this test makes these itself")
    config.addinivalue_line("markers", f"cw_needs(*words): left out where the box has not all of {', '.join(NEEDS)}")


@pytest.fixture
def device(request):
    """The box under test, not yet started: `device.start(image_path)` gives its cellwarden_tools.hil.tester.Tester."""
    from .devices import make_device

    option = request.config.getoption
    try:
        made = make_device(option("--cw-device"), option("--cw-heap"), option("--cw-bus"))
    except InputError as error:
        pytest.skip(str(error))
    for name in marked(request, "cw_needs"):
        if name not in made.has:
            pytest.skip(NEEDS[name])
    expected = marked(request, "cw_expects")
    expected |= set(option("--cw-expects"))
    with made:
        yield made
        if made.tester:
            judge(made.tester, expected)


def marked(request, name):
    """The words of all marks of a test that have this name."""
    return {word for mark in request.node.iter_markers(name) for word in mark.args}


def judge(tester, expected=()):
    """Raises AssertionError where a box's own counters tell of what must not be."""
    assert tester.statuses, "the box has told no status"
    last = tester.statuses[-1]
    for name in COUNTERS:
        assert last[name] == 0 or name in expected, f"{name}: {last[name]}"
    rounds = [status["rounds"] for status in tester.statuses]
    assert rounds == sorted(rounds) or "restart" in expected, f"it started anew: rounds {rounds}"
    told = {name: why for name, why in last["box_faults"].items() if name not in expected}
    assert not told, f"hazards of the box: {told}"
    assert not tester.other, f"the box says: {tester.other[:3]}"
    heap = {status["collections"]: status["heap_live_bytes"] for status in tester.statuses if status["collections"]}
    if len(heap) > 1:
        first, *_, end = heap.values()
        assert end <= 1.05 * first, f"the heap grows: {heap}"
