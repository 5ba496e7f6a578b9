"""What the box's tests share."""

import sys
from pathlib import Path

import pytest
from cellwarden.engine import Engine
from cellwarden.image import load_image
from cellwarden_tools.compiler.image import compile_profile
from cellwarden_tools.simulator import DEMO_PROFILE

sys.path.insert(0, str(Path(__file__).parent))  # the models of controllers are modules, as on MicroPython


@pytest.fixture(scope="session")
def demo():
    """The demonstration pack."""
    return compile_profile(DEMO_PROFILE).image


@pytest.fixture(scope="session")
def image(demo, tmp_path_factory):
    """The same as a box reads it."""
    path = tmp_path_factory.mktemp("image") / "demo.cwi"
    demo.save(path)
    return load_image(str(path))


@pytest.fixture
def engine(demo):
    return Engine(demo)
