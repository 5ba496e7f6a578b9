"""What the tests of updates share."""

import pytest
from cellwarden_tools.errors import InputError


@pytest.fixture
def found():
    """Ask for the programs a test needs: found(finder, …) -> their paths, or the test is skipped."""

    def find(*finders):
        try:
            return [finder() for finder in finders]
        except InputError as error:
            pytest.skip(str(error))

    return find


@pytest.fixture(autouse=True)
def own_witness(monkeypatch, tmp_path):
    """What this computer remembers of keys goes into the test's own folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
