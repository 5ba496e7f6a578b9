"""Writers: what is written is what is read, and the same frames give the same bytes."""

import random

import can
import pytest
from cellwarden_tools.errors import InputError
from cellwarden_tools.readers import EXT, open_log
from cellwarden_tools.writers import open_writer

T0 = 1_778_450_281_117_003
TEXT = [".log", ".csv", ".log.gz", ".log.xz", ".log.zst", ".csv.gz", ".csv.xz", ".csv.zst"]
FOREIGN = [".asc", ".asc.gz", ".trc", ".trc.xz", ".blf", ".mf4"]


def frames(fd=True):
    rng = random.Random(3)
    for at in range(2000):
        long = fd and rng.random() < 0.2
        can_id = rng.randrange(1 << 29) | EXT if rng.random() < 0.3 else rng.randrange(1 << 11)
        data = rng.randbytes(rng.choice([0, 8, 12, 64]) if long else rng.randrange(9))
        yield T0 + at * 1001, rng.choice("123"), can_id, data, long


def write(path, fd=True):
    with open_writer(path) as log:
        for frame in frames(fd):
            log.write(*frame)
    return path


@pytest.mark.parametrize("suffix", TEXT + FOREIGN)
def test_a_log_reads_back_as_it_was_written(tmp_path, suffix):
    fd = not suffix.startswith(".trc")
    log = open_log(write(tmp_path / f"drive{suffix}", fd))
    shift = T0 if suffix.startswith((".asc", ".trc")) else 0  # these count from their first frame
    assert list(log) == [(t_us - shift, *rest[:3]) for t_us, *rest in frames(fd)]
    assert log.account.cut is None and not log.account.rejected


@pytest.mark.parametrize("suffix", TEXT)
def test_the_same_frames_give_the_same_bytes(tmp_path, suffix):
    one, two = write(tmp_path / f"one{suffix}"), write(tmp_path / f"two{suffix}")
    assert one.read_bytes() == two.read_bytes()


def test_candump_text_is_what_candump_writes(tmp_path):
    path = tmp_path / "x.log"
    with open_writer(path) as log:
        log.write(1_000_001, "can0", 0x7, b"\x01\xab")
        log.write(1_778_450_281_117_000, "vcan1", 0x7 | EXT, b"", fd=False)
        log.write(0, "can0", 0x7FF, b"\xff" * 12, fd=True)
    assert path.read_text() == (
        "(000001.000001) can0 007#01AB\n(1778450281.117000) vcan1 00000007#\n(000000.000000) can0 7FF##0"
        + "FF" * 12
        + "\n"
    )
    assert len(list(can.CanutilsLogReader(path))) == 3


def test_savvycan_text_is_what_savvycan_writes(tmp_path):
    path = tmp_path / "x.csv"
    with open_writer(path) as log:
        log.write(166_064_000, "can1", 0x27A, b"\x30\x31")
        log.write(5, "pack", 0x18EBFF00 | EXT, b"\xfe" * 8)
    assert path.read_text() == (
        "Time Stamp,ID,Extended,Dir,Bus,LEN,D1,D2,D3,D4,D5,D6,D7,D8\n"
        "166064000,0000027A,false,Rx,1,2,30,31,00,00,00,00,00,00,\n"
        "5,18EBFF00,true,Rx,0,8,FE,FE,FE,FE,FE,FE,FE,FE,\n"
    )


@pytest.mark.parametrize("suffix", [".log", ".csv.gz", ".blf", ".mf4", ".trc"])
def test_a_log_that_fails_half_way_leaves_no_file(tmp_path, suffix):
    with pytest.raises(RuntimeError), open_writer(tmp_path / f"x{suffix}") as log:
        log.write(0, "can0", 1, b"")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ((-1, "can0", 1, b""), "a frame that no bus carries .time -1 us"),
        ((0, "can0", 0x800, b""), "identifier 0x800"),
        ((0, "can0", 1 << 30, b""), "identifier 0x40000000"),
        ((0, "can0", 1, bytes(9)), "9 bytes"),
        ((0, "can0", 1, bytes(65), True), "65 bytes"),
        ((0, "can 0", 1, b""), "channel 'can 0' cannot stand in a candump log"),
    ],
)
def test_a_frame_that_cannot_be_is_refused_in_one_line(tmp_path, frame, message):
    with pytest.raises(InputError, match=message), open_writer(tmp_path / "x.log") as log:
        log.write(*frame)


def test_suffixes_and_frames_a_format_cannot_hold_are_refused_in_one_line(tmp_path):
    for name in ("x.txt", "x", "x.blf.gz", "x.gz"):
        with pytest.raises(InputError, match=r"no log can be written under this suffix; expected \.log"):
            with open_writer(tmp_path / name):
                pass
    with pytest.raises(InputError, match="CAN FD frames cannot be written to a PCAN trace"):
        with open_writer(tmp_path / "x.trc") as log:
            log.write(0, "1", 1, bytes(12), fd=True)
    with pytest.raises(InputError, match="cannot be written"):
        with open_writer(tmp_path / "no" / "x.log"):
            pass
