"""Conversion of real logs: candump text comes back byte for byte, all others with every frame and the same account."""

import lzma
import os
from pathlib import Path

import pytest
from cellwarden_tools.errors import InputError
from cellwarden_tools.readers import open_log

pytest.importorskip("pyarrow")
pytest.importorskip("numpy")
from cellwarden_tools.convert import Conversion

DATA = Path(os.environ.get("CELLWARDEN_CORPUS") or Path(__file__).parents[3] / "shared" / "data")
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="no corpus: set CELLWARDEN_CORPUS to its folder")
SUFFIXES = (".log", ".csv", ".asc", ".trc", ".blf", ".mf4")


def candidates():
    """Every file of the corpus with a log's suffix, compressed or not."""
    found = [path for path in DATA.rglob("*") if path.name.lower().removesuffix(".xz").endswith(SUFFIXES)]
    return sorted(str(path.relative_to(DATA)) for path in found)


def read(path, include_tx=False):
    log = open_log(path, include_tx=include_tx)
    frames = list(log)
    a = log.account
    return frames, (a.total, a.frames, list(a.skipped.items()), list(a.rejected.items()), a.cut)


def convert(path, output):
    made = Conversion(path, output)
    made.run()
    return made


@pytest.mark.parametrize("name", candidates() or ["no log at all"])
def test_a_real_log_is_all_in_its_parquet_file(tmp_path, name):
    if not (DATA / name).exists():
        pytest.skip(f"{name} is not in this corpus")
    if name.lower().endswith(".mf4"):
        pytest.importorskip("asammdf")
    path, made = DATA / name, tmp_path / "x.parquet"
    try:
        theirs = read(path)
    except InputError:
        with pytest.raises(InputError):
            convert(path, made)
        assert not list(tmp_path.iterdir())
        return
    done = convert(path, made)
    assert read(made) == theirs
    assert read(made, include_tx=True) == read(path, include_tx=True)
    packed = path.name.lower().endswith(".xz")
    assert made.stat().st_size < path.stat().st_size * (1.6 if packed else 0.3) + 16384
    convert(made, tmp_path / "x.log")
    if done.format == "candump":
        text = lzma.open(path).read() if packed else path.read_bytes()
        assert (tmp_path / "x.log").read_bytes() == text
    else:
        again = read(tmp_path / "x.log", include_tx=True)[0]
        assert [(t_us, *rest) for t_us, _, *rest in again] == [(t, *rest) for t, _, *rest in read(path, True)[0]]
