"""The demonstration pack, compiled once a session, whole and cut down to six cells and six probes."""

from pathlib import Path

import pytest
from cellwarden_tools.compiler.image import compile_profile
from hypothesis import HealthCheck, settings

settings.register_profile(
    "core", derandomize=True, deadline=None, database=None, print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
settings.load_profile("core")

DEMO = Path(__file__).parents[2] / "dbc" / "demo_pack.toml"


@pytest.fixture(scope="session")
def demo():
    """compiler.image.Compiled of the demonstration pack."""
    return compile_profile(DEMO)


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """The same with six cells and six probes, for sweeps that need no more."""
    path = tmp_path_factory.mktemp("small") / "small.toml"
    text = DEMO.read_text("utf-8").replace("cells     = 96", "cells     = 6").replace("probes    = 24", "probes    = 6")
    path.write_text(text, "utf-8")
    path.with_name("demo_pack.dbc").write_bytes(DEMO.with_suffix(".dbc").read_bytes())
    return compile_profile(path)


@pytest.fixture(scope="session")
def compile_text(tmp_path_factory):
    """compile_text(profile TOML, {file name: DBC text}) -> Compiled."""

    def compiled(profile, dbcs):
        folder = tmp_path_factory.mktemp("vehicle")
        for name, text in dbcs.items():
            (folder / name).write_text(text, "utf-8")
        (folder / "vehicle.toml").write_text(profile, "utf-8")
        return compile_profile(folder / "vehicle.toml")

    return compiled


def pytest_collection_modifyitems(items):
    """Say of each test of a row which rule and which clauses it is of, as docs/make_traceability.py reads it."""
    for item in items:
        cls = getattr(item, "cls", None)
        if hasattr(cls, "clauses"):
            item.add_marker(pytest.mark.rule(cls.name))
            for clause in cls.clauses():
                item.add_marker(pytest.mark.clause(clause))
