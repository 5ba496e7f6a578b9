"""pytest --cw-device DEVICE: acceptance tests on a running box.

`device` is the box; after each test its counters are judged: nothing lost, no error on the bus, no hazard of its own, a
heap that does not grow. A test that makes these itself says so: `@pytest.mark.cw_expects("dropped", "box_late")`.
"""

import pytest

from ..errors import InputError

COUNTERS = ("dropped", "bus_errors", "events_lost")


def pytest_addoption(parser):
    group = parser.getgroup("cellwarden", "hardware in the loop")
    group.addoption(
        "--cw-device", default="micropython", metavar="DEVICE",
        help="the box under test: micropython or python (here, on a pseudo terminal), or a board's serial port",
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


@pytest.fixture
def device(request):
    """The box under test, not yet started: `device.start(image_path)` gives its cellwarden_tools.hil.tester.Tester."""
    from .devices import make_device

    option = request.config.getoption
    try:
        made = make_device(option("--cw-device"), option("--cw-heap"), option("--cw-bus"))
    except InputError as error:
        pytest.skip(str(error))
    expected = {name for mark in request.node.iter_markers("cw_expects") for name in mark.args}
    expected |= set(option("--cw-expects"))
    with made:
        yield made
        if made.tester:
            judge(made.tester, expected)


def judge(tester, expected=()):
    """Raises AssertionError where a box's own counters tell of what must not be."""
    assert tester.statuses, "the box has told no status"
    last = tester.statuses[-1]
    for name in COUNTERS:
        assert last[name] == 0 or name in expected, f"{name}: {last[name]}"
    told = {name: why for name, why in last["box_faults"].items() if name not in expected}
    assert not told, f"hazards of the box: {told}"
    assert not tester.other, f"the box says: {tester.other[:3]}"
    heap = {status["collections"]: status["heap_live_bytes"] for status in tester.statuses if status["collections"]}
    if len(heap) > 1:
        first, *_, end = heap.values()
        assert end <= 1.05 * first, f"the heap grows: {heap}"
