"""Every real text log reads in blocks as it reads frame by frame."""

import os
from pathlib import Path

import pytest
from cellwarden_tools.errors import InputError
from cellwarden_tools.readers import open_log

pytest.importorskip("numba")
DATA = Path(os.environ.get("CELLWARDEN_CORPUS") or Path(__file__).parents[3] / "shared" / "data")
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="no corpus: set CELLWARDEN_CORPUS to its folder")

LOGS = [
    str(path.relative_to(DATA))
    for kind in ("log", "csv", "asc")
    for path in sorted([*DATA.rglob(f"*.{kind}"), *DATA.rglob(f"*.{kind}.*")])
]


def reading(path, include_tx, read):
    """What a reading comes to: (format, frames, account), or the one line that refuses it."""
    try:
        log = open_log(path, include_tx=include_tx)
        return log.format, read(log), log.account
    except InputError as error:
        return str(error)


@pytest.mark.parametrize("include_tx", [False, True])
@pytest.mark.parametrize("name", LOGS)
def test_a_real_log_reads_the_same_in_blocks(name, include_tx):
    one = reading(DATA / name, include_tx, list)
    two = reading(DATA / name, include_tx, lambda log: [row for block in log.blocks() for row in block.rows()])
    assert one == two


def test_the_corpus_holds_each_format_that_is_read_by_compiled_code():
    found = set()
    for name in LOGS:
        try:
            with open_log(DATA / name) as log:
                found.add(log.format)
        except InputError:
            pass
    assert {"candump", "savvycan", "asc"} <= found
