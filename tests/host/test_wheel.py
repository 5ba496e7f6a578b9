"""What `pip install` puts on a machine: all that the commands need, without a checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
PACKAGES, DATA = ("firmware/cellwarden/", "host_tools/"), ("firmware/", "dbc/")  # the demonstration is in host_tools


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    """Paths in the wheel that this checkout's committed files make."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(["git", "clone", "-q", CHECKOUT, folder / "source"], check=True)
    words = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, folder / "source"]
    done = subprocess.run(words, capture_output=True, text=True)
    if "No matching distribution found for setuptools" in done.stderr:
        pytest.skip("pip has no index here to get setuptools from")
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        return set(file.namelist())


@pytest.mark.long
def test_the_wheel_has_every_file_of_firmware_and_host_tools(held):
    names = subprocess.run(["git", "-C", CHECKOUT, "ls-files"], capture_output=True, text=True, check=True)
    missing = []
    for name in names.stdout.splitlines():
        for start in PACKAGES:
            if name.startswith(start) and name.removeprefix(start.removesuffix("cellwarden/")) not in held:
                missing.append(name)
        if name.startswith(DATA) and not name.startswith((*PACKAGES, "dbc/demo_")):
            path = name.removeprefix("firmware/")
            if not any(each.endswith(".data/data/share/cellwarden/" + path) for each in held):
                missing.append(name)
    assert not missing
