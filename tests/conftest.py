"""`make test` leaves the long tests out, `make test-long` runs them alone; without a word all run."""

import os

import pytest

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # boxes have it not, and what Python writes must not harm them


def pytest_addoption(parser):
    words = {"choices": ["all", "no", "only"], "default": "all", "help": "the tests that are marked `long`"}
    parser.addoption("--long", **words)


def pytest_collection_modifyitems(config, items):
    wanted = config.getoption("long")
    if wanted == "all":
        return
    _look_for_what_is_named(items)
    left = [item for item in items if is_long(item) == (wanted == "no")]
    items[:] = [item for item in items if is_long(item) == (wanted == "only")]
    config.hook.pytest_deselected(items=left)


def is_long(item):
    mark = item.get_closest_marker("long")
    return mark is not None and _parameters(item) not in mark.kwargs.get("but", ())


def _parameters(item):
    return item.callspec.id if hasattr(item, "callspec") else None


def _look_for_what_is_named(items):
    """A mark that excepts what is not there would leave a test out of `make test` unnoticed."""
    there = {(item.parent.nodeid, item.originalname, _parameters(item)) for item in items}
    for item in items:
        mark = item.get_closest_marker("long")
        for name in mark.kwargs.get("but", ()) if mark else ():
            if (item.parent.nodeid, item.originalname, name) not in there:
                raise pytest.UsageError(f"{item.nodeid}: its mark `long` excepts [{name}], which there is not")
