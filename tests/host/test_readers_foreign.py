"""Logs written by python-can and asammdf: read as python-can reads them, cut anywhere without a lie."""

import io
import random
import struct
import zlib

import can
import pytest
from cellwarden_tools.errors import InputError
from cellwarden_tools.readers import EXT, open_log

SUFFIXES = (".asc", ".blf", ".trc", ".mf4")
T0 = 1_778_450_281.117


def messages(count, start=T0, fd=True, other=True):
    rng = random.Random(7)
    for at in range(count):
        extended, long = rng.random() < 0.3, fd and rng.random() < 0.2
        size = rng.choice([0, 8, 12, 24, 64]) if long else rng.randrange(9)
        yield can.Message(
            timestamp=start + at * 0.001003,
            arbitration_id=rng.randrange(1 << 29) if extended else rng.randrange(1 << 11),
            is_extended_id=extended,
            channel=rng.randrange(3),
            data=rng.randbytes(size),
            is_fd=long,
            is_rx=rng.random() < 0.8,
        )
        if other and at % 50 == 49:
            yield can.Message(timestamp=start + at * 0.001003, is_error_frame=True, channel=1)
            yield can.Message(timestamp=start + at * 0.001003, arbitration_id=5, is_remote_frame=True, dlc=4, channel=1)


def make(path, count=1000, **options):
    log = can.Logger(path)
    for message in messages(count, fd=path.suffix != ".trc", **options):
        log(message)
    log.stop()
    return path


def read(path, **options):
    log = open_log(path, include_tx=True, **options)
    frames, account = list(log), log.account
    reasons = sum(account.skipped.values()) + sum(account.rejected.values())
    assert account.frames + reasons == account.total, f"a record was lost or counted twice: {account}"
    return frames, account


def theirs(path):
    """python-can's data frames as ours, time in seconds."""
    for m in can.LogReader(path):
        if not m.is_error_frame and not m.is_remote_frame:
            yield m.timestamp, m.arbitration_id | (EXT if m.is_extended_id else 0), bytes(m.data)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_foreign_log_is_read_as_python_can_reads_it(tmp_path, suffix):
    path = make(tmp_path / f"drive{suffix}")
    frames, account = read(path)
    assert account.cut is None and not account.rejected and account.frames == 1000
    expected = list(theirs(path))
    if suffix in (".asc", ".mf4"):  # python-can takes a zero-length CAN FD data frame in ASC for a remote frame
        expected = [one for one in expected if one[2] or suffix == ".mf4"]
        frames = [frame for frame in frames if frame[3] or suffix == ".mf4"]
    written = [m for m in messages(1000, fd=suffix != ".trc", other=False)]
    offset = 0 if suffix in (".blf", ".mf4") else expected[0][0] - frames[0][0] / 1e6
    if suffix == ".asc":
        expected = [one for one in expected if one[2]]
    assert [one[1:] for one in expected] == [(frame[2], frame[3]) for frame in frames]
    assert all(abs(one[0] - frame[0] / 1e6 - offset) < 2e-6 for one, frame in zip(expected, frames, strict=True))
    if suffix in (".blf", ".mf4"):
        assert [round(m.timestamp * 1e6) for m in written] == [frame[0] for frame in frames]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_error_remote_and_sent_frames_are_skipped_by_name(tmp_path, suffix):
    path = make(tmp_path / f"drive{suffix}")
    log = open_log(path)
    count = sum(1 for _ in log)
    sent = sum(not m.is_rx for m in messages(1000, fd=suffix != ".trc", other=False))
    assert count == 1000 - sent and log.account.skipped["transmitted"] == sent
    if suffix != ".trc":  # python-can writes neither into a TRC
        assert log.account.skipped["error frame"] == 20
        assert log.account.skipped["remote frame"] >= 20


@pytest.mark.long(but=["False-.blf", "True-.asc", "False-.trc"])
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("piped", [False, True])
def test_a_foreign_log_cut_anywhere_is_reported_and_gives_only_frames_it_held(tmp_path, capfd, suffix, piped):
    path = make(tmp_path / f"drive{suffix}", count=20_000 if suffix == ".blf" else 1000)
    data = path.read_bytes()
    whole, _ = read(path)
    delivered = 0
    for percent in (*range(1, 100, 5), 99.9):
        part = data[: int(len(data) * percent / 100)]
        path.write_bytes(part)
        try:
            frames, account = read("-", stream=io.BytesIO(part)) if piped else read(path)
        except InputError as error:
            assert "\n" not in str(error)
            assert suffix == ".mf4" or percent < 30, f"at {percent} % something could have been read: {error}"
            continue
        assert frames == whole[: len(frames)], f"at {percent} %: frames the log never held"
        ends_whole = suffix == ".trc" and part.endswith(b"\n")  # such a cut leaves no trace
        assert account.cut or ends_whole, f"at {percent} % the cut was not reported"
        assert "\n" not in (account.cut or "")
        delivered += len(frames)
    assert delivered > len(whole) * 5 or suffix == ".mf4", "frames before the cut must be delivered"
    out = capfd.readouterr()
    assert "Traceback" not in out.out + out.err and not out.out


@pytest.mark.long(but=[f"{seed}-{suffix}" for seed in range(5) for suffix in (".blf", ".mf4")])
@pytest.mark.parametrize("suffix", [".blf", ".mf4"])
@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_binary_log_never_ends_in_a_traceback(tmp_path, capfd, suffix, seed):
    path = make(tmp_path / f"drive{suffix}", count=200)
    data, rng = bytearray(path.read_bytes()), random.Random(seed)
    for _ in range(rng.randrange(1, 20)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    path.write_bytes(data)
    try:
        read(path)
    except InputError as error:
        assert "\n" not in str(error)
    out = capfd.readouterr()
    assert "Traceback" not in out.out + out.err


def blf(objects, count=None, size=None, method=2, start=(2026, 5, 0, 10, 21, 58, 1, 117)):
    """A BLF file by hand: one container of `objects`."""
    inner = b"".join(objects)
    body = zlib.compress(inner) if method == 2 else inner
    outer = struct.pack("<4sHHLL", b"LOBJ", 16, 1, 32 + len(body), 10)
    outer += struct.pack("<H6xL4x", method, len(inner)) + body
    outer += b"\0" * (len(body) % 4)
    head = struct.pack(
        "<4sL8BQQLL16H", b"LOGG", 144, *bytes(8), size or 144 + len(outer), 0,
        len(objects) if count is None else count, 0, *start, *start,
    )  # fmt: skip
    return head.ljust(144, b"\0") + outer


def obj(kind, body, stamp=1_500, flags=2, version=1):
    extra = struct.pack("<LHHQ", flags, 0, 0, stamp) + (bytes(8) if version == 2 else b"")
    size = 16 + len(extra) + len(body)
    made = struct.pack("<4sHHLL", b"LOBJ", 16 + len(extra), version, size, kind) + extra + body
    return made + b"\0" * (size % 4)


START_US = 1_778_450_281_117_000
FD64 = struct.pack("<BBBBLLLLLLLHBBL", 3, 9, 12, 0, 0x123, 0, 0x1000, 0, 0, 0, 0, 0, 0, 0, 0)

BLF = [
    (obj(1, struct.pack("<HBBL8s", 2, 0, 3, 0x123, b"abc")), (START_US + 2, "2", 0x123, b"abc")),
    (obj(86, struct.pack("<HBBL8sLBBH", 1, 0, 8, 0x80000123, b"abcdefgh", 0, 0, 0, 0)),
     (START_US + 2, "1", 0x123 | EXT, b"abcdefgh")),
    (obj(1, struct.pack("<HBBL8s", 2, 0, 3, 0x123, b"abc"), stamp=7, flags=1), (START_US + 70, "2", 0x123, b"abc")),
    (obj(1, struct.pack("<HBBL8s", 2, 0, 3, 0x123, b"abc"), version=2), (START_US + 2, "2", 0x123, b"abc")),
    (obj(100, struct.pack("<HBBLLBBB5x64s", 1, 0, 9, 0x7FF, 0, 0, 1, 12, b"abcdefghijkl")),
     (START_US + 2, "1", 0x7FF, b"abcdefghijkl")),
    (obj(101, FD64 + b"abcdefghijkl"), (START_US + 2, "3", 0x123, b"abcdefghijkl")),
    (obj(101, FD64 + b"abcdefgh"), (START_US + 2, "3", 0x123, b"abcdefgh\0\0\0\0")),
]  # fmt: skip


@pytest.mark.parametrize(("made", "frame"), BLF)
@pytest.mark.parametrize("method", [0, 2])
def test_a_blf_object_means_its_frame_as_python_can_has_it(tmp_path, made, frame, method):
    path = tmp_path / "x.blf"
    path.write_bytes(blf([made, made], method=method))
    frames, account = read(path)
    assert frames == [frame, frame] and account.cut is None
    assert [one[1:] for one in theirs(path)] == [frame[2:]] * 2


GOOD = BLF[0][0]
BLF_OTHER = [
    (obj(73, bytes(32)), "skipped", "error frame"),
    (obj(96, bytes(40)), "skipped", "event"),
    (obj(1, struct.pack("<HBBL8s", 2, 0x80, 3, 0x123, b"")), "skipped", "remote frame"),
    (obj(1, struct.pack("<HBBL8s", 2, 0, 3, 0x800, b"abc")), "rejected", "identifier over 11 bits"),
    (obj(1, struct.pack("<HBBL8s", 2, 0, 3, 0xA0000000, b"abc")), "rejected", "identifier over 29 bits"),
    (obj(1, struct.pack("<HBBL8s", 2, 0, 16, 0x123, b"abc")), "rejected", "length code over 15"),
    (obj(1, b"\1\0"), "rejected", "object too short for its type"),
    (obj(1, bytes(16), version=3), "rejected", "unknown version of an object header"),
    (obj(100, struct.pack("<HBBLLBBB5x64s", 1, 0, 9, 0x7FF, 0, 0, 1, 65, b"")), "rejected", "more than 64 bytes"),
    (b"JUNKJUNKJUNKJUNK", "rejected", "no object where one should begin"),
]


@pytest.mark.parametrize(("made", "fate", "reason"), BLF_OTHER)
def test_a_blf_object_that_is_no_frame_is_accounted_for_and_reading_goes_on(tmp_path, made, fate, reason):
    path = tmp_path / "x.blf"
    path.write_bytes(blf([GOOD, made, GOOD], count=2 if made[:4] == b"JUNK" else 3))
    frames, account = read(path)
    assert len(frames) == 2 and account.total == 3 and getattr(account, fate) == {reason: 1} and account.cut is None


def test_a_blf_header_that_counts_more_than_there_is_means_a_cut(tmp_path):
    path = tmp_path / "x.blf"
    path.write_bytes(blf([GOOD, GOOD], count=5))
    assert read(path)[1].cut == "the header counts 5 objects, 2 were read"
    path.write_bytes(blf([GOOD, GOOD], count=0))
    assert read(path)[1].cut == "the header was never completed: the recorder did not close the log"
    path.write_bytes(blf([GOOD, GOOD], size=10_000))
    assert read(path)[1].cut.startswith("the header says 10000 bytes, there are ")


def test_a_blf_with_a_damaged_container_gives_the_frames_of_the_others(tmp_path):
    one = blf([GOOD, GOOD], count=6)
    container = bytearray(one[144:])
    container[40] ^= 0xFF
    path = tmp_path / "x.blf"
    path.write_bytes(one + bytes(container) + one[144:])
    frames, account = read(path)
    assert len(frames) >= 4 and account.rejected["damaged container"] == 1
    assert account.cut and account.rejections[0][0].startswith(f"{path}:byte ")


def test_an_mf4_log_of_several_groups_is_delivered_by_time(tmp_path):
    asammdf = pytest.importorskip("asammdf")
    import numpy as np
    from asammdf.blocks.v4_constants import BUS_TYPE_CAN, SOURCE_BUS  # noqa: F401

    names = ["BusChannel", "ID", "IDE", "DLC", "DataLength", "DataBytes", "Dir"]
    kinds = ["u1", "<u4", "u1", "u1", "u1", "(8,)u1", "u1"]
    dtype = np.dtype([(f"CAN_DataFrame.{name}", kind) for name, kind in zip(names, kinds, strict=True)])
    mdf = asammdf.MDF(version="4.10")
    for channel in (1, 2):
        rows = np.zeros(3, dtype=dtype)
        rows["CAN_DataFrame.BusChannel"] = channel
        rows["CAN_DataFrame.ID"] = 0x100 * channel
        rows["CAN_DataFrame.DataLength"] = 2
        rows["CAN_DataFrame.Dir"] = [0, 1, 0]
        times = np.array([0.0, 1.0, 2.0]) + channel * 0.25
        mdf.append(asammdf.Signal(name="CAN_DataFrame", samples=rows, timestamps=times))
    path = tmp_path / "x.mf4"
    mdf.save(path)
    mdf.close()
    frames, _ = read(path)
    first = frames[0][0]
    assert [(frame[0] - first, *frame[1:3]) for frame in frames] == [
        (at * 1_000_000 + (channel - 1) * 250_000, str(channel), 0x100 * channel)
        for at in range(3)
        for channel in (1, 2)
    ]
    log = open_log(path)
    assert len(list(log)) == 4 and log.account.skipped == {"transmitted": 2}
