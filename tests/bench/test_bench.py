"""What the figures rest on: the logs hold what they should, the rivals do the same work, the page tells it right."""

import sys
from pathlib import Path

import pytest
from cellwarden_tools.readers import EXT, open_log

sys.path.insert(0, str(Path(__file__).parent))
import workload

FRAMES = 5000  # of rounds of 2112


@pytest.fixture(scope="module")
def drive():
    return workload.Drive(minutes=0.1)


@pytest.mark.parametrize("format", ["candump", "savvycan", "asc", "blf", "mf4"])
def test_every_format_holds_the_same_frames(drive, format, tmp_path):
    path = tmp_path / f"log.{workload.FORMATS[format]}"
    assert workload.write(drive, format, path, FRAMES)
    log = open_log(path)
    read = list(log)
    assert not log.account.rejected and len(read) == FRAMES
    start = read[0][0] - drive.frames[0][0] if format == "asc" else 0  # its stamps count from the first frame
    for at, (t_us, _, can_id, data) in enumerate(read):
        rounds, row = divmod(at, len(drive.frames))
        wanted = drive.frames[row]
        assert (can_id, data) == wanted[2:], f"frame {at}"
        assert abs(t_us - start - wanted[0] - rounds * drive.round_s * 1_000_000) <= 1, f"frame {at}"
    assert any(can_id & EXT for _, _, can_id, _ in read)
