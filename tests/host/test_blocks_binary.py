"""BLF and MF4 in blocks: the frames, the order and the account of reading them one by one, on any input whatever."""

import dataclasses
import io
import random
import struct
import sys
import zlib

import can
import pytest
from cellwarden_tools.errors import InputError
from cellwarden_tools.readers import EXT, blf, open_log
from hypothesis import example, given, settings
from hypothesis import strategies as st

numpy = pytest.importorskip("numpy")

START_US = 1_778_450_281_117_000
START = (2026, 5, 0, 10, 21, 58, 1, 117)


class Tiny(io.BytesIO):
    """A pipe that gives a few bytes at a time."""

    def __init__(self, data, most):
        super().__init__(data)
        self.most = most

    def read1(self, size):
        return super().read1(min(size, self.most))


def outcome(log, take):
    """(frames, account, error) of a log, its frames by `take(log)`."""
    frames, error = [], None
    try:
        frames.extend(take(log))
    except InputError as refused:
        error = str(refused)
    return frames, {field.name: getattr(log.account, field.name) for field in dataclasses.fields(log.account)}, error


def by_block(log):
    for block in log.blocks():
        assert len(block), "a block without frames"
        kinds = [column.dtype.str for column in block[:5]]
        assert kinds == ["<i8", "<u2", "<i4", "|u1", "|u1"] and block.data.shape[1] in (8, 64)
        tails = numpy.arange(block.data.shape[1]) >= block.length[:, None]
        assert not block.data[tails].any(), "what stands behind the data must be zero"
        yield from block.rows()


def both_ways(data, format="blf", most=None, include_tx=True):
    """The outcome of reading `data` in blocks, which is that of reading it frame by frame."""

    def opened():
        stream = Tiny(data, most) if most else io.BytesIO(data)
        return open_log("-", format=format, stream=stream, include_tx=include_tx)

    one_by_one, in_blocks = outcome(opened(), iter), outcome(opened(), by_block)
    if one_by_one[2]:
        assert in_blocks[2] == one_by_one[2]
        assert in_blocks[1] == one_by_one[1]
    else:
        assert in_blocks == one_by_one
        assert list(map(list, [in_blocks[1]["skipped"], in_blocks[1]["rejected"]])) == list(
            map(list, [one_by_one[1]["skipped"], one_by_one[1]["rejected"]])
        ), "reasons in another order"
    return in_blocks


# --- BLF by hand


def obj(kind, body, stamp=1_500, unit=2, version=1, header=None, pad=None):
    extra = struct.pack("<LHHQ", unit, 0, 0, stamp) + (bytes(8) if version == 2 else b"")
    size = 16 + len(extra) + len(body)
    made = struct.pack("<4sHHLL", b"LOBJ", header or 16 + len(extra), version, size, kind) + extra + body
    return made + b"\0" * (size % 4 if pad is None else pad)


def classic(can_id=0x123, data=b"abcdefgh", size=None, channel=1, flags=0, kind=1, **options):
    size = len(data) if size is None else size
    return obj(kind, struct.pack("<HBBL8s", channel, flags, size, can_id, data) + bytes(8 * (kind == 86)), **options)


def fd(can_id=0x123, data=b"", size=None, channel=1, flags=0, room=64, **options):
    size = len(data) if size is None else size
    body = struct.pack("<HBBLLBBB5x", channel, flags, 9, can_id, 0, 0, 1, size) + data.ljust(room, b"\0")
    return obj(100, body, **options)


def fd64(can_id=0x123, data=b"", size=None, channel=1, flags=0x1000, sent=0, more=0, **options):
    size = len(data) if size is None else size
    body = struct.pack("<BBBBLLL14xLBBL", channel, 9, size, 0, can_id, 0, flags, 0, sent, more, 0) + data
    return obj(101, body, **options)


def container(inner, method=2, claimed=None):
    body = zlib.compress(inner, 1) if method == 2 else inner
    made = struct.pack("<4sHHLL", b"LOBJ", 16, 1, 32 + len(body), 10)
    made += struct.pack("<H6xL4x", method, len(inner) if claimed is None else claimed) + body
    return made + b"\0" * (len(body) % 4)


def blf_file(bodies, count=None, size=None, start=START):
    """A BLF file of containers and objects as they are."""
    outer = b"".join(bodies)
    head = struct.pack(
        "<4sL8BQQLL16H", b"LOGG", 144, *bytes(8), size or 144 + len(outer), 0, 0 if count is None else count, 0,
        *start, *start,
    )  # fmt: skip
    return head.ljust(144, b"\0") + outer


GOOD = classic()
MANY = b"".join(
    classic(
        can_id=at % 0x7FF,
        data=bytes([at % 256] * (at % 9)),
        stamp=at * 1_000_499,
        unit=1 + at % 2,
        kind=(1, 86)[at % 2],
    )
    for at in range(500)
)
ODD = {
    "restore point": obj(115, bytes(40)),
    "error frame": obj(73, bytes(32)),
    "event": obj(96, bytes(40)),
    "remote": classic(flags=0x80),
    "sent": classic(flags=1),
    "sent FD": fd(data=b"abc", flags=1),
    "sent FD 64": fd64(data=b"abc", sent=1),
    "remote FD": fd(data=b"abc", flags=0x80),
    "remote FD 64": fd64(data=b"abc", flags=0x1010),
    "sent, identifier too big": classic(can_id=0x800, flags=1),
    "remote, identifier too big": classic(can_id=0x800, flags=0x80),
    "biggest standard identifier": classic(can_id=0x7FF),
    "identifier too big": classic(can_id=0x800),
    "biggest extended identifier": classic(can_id=0x9FFFFFFF),
    "extended identifier too big": classic(can_id=0xA0000000),
    "standard identifier with high bits": classic(can_id=0x40000001),
    "length codes 0": classic(data=b"", size=0),
    "length code 15": classic(size=15),
    "length code 16": classic(size=16),
    "bytes behind the length": classic(data=b"abcdefgh", size=3),
    "highest channel": classic(channel=0xFFFF),
    "short": obj(1, b"\1\0"),
    "shorter than its header": obj(1, b"")[:28] + bytes(4),
    "version 2": classic(version=2),
    "version 3": classic(version=3),
    "version 0": classic(version=0),
    "header too small": classic(header=24),
    "header over the object": classic(header=60),
    "long header": obj(1, bytes(8) + struct.pack("<HBBL8s", 2, 0, 3, 0x123, b"abc"), header=40),
    "other stamp flags": classic(unit=0) + classic(unit=3) + classic(unit=0x10001),
    "late": classic(stamp=1 << 59) + classic(stamp=(1 << 59) - 1),
    "latest": classic(stamp=(1 << 64) - 1),
    "latest in 10 us": classic(stamp=(1 << 64) - 1, unit=1) + classic(stamp=1 << 59, unit=1),
    "half a microsecond": classic(stamp=499) + classic(stamp=500) + classic(stamp=501),
    "FD of 0": fd(),
    "FD of 8": fd(data=b"abcdefgh"),
    "FD of 9": fd(data=b"abcdefghi"),
    "FD of 64": fd(data=bytes(range(64))),
    "FD of 65": fd(data=bytes(65), room=65),
    "FD cut": fd(data=b"abc", size=12, room=8),
    "FD short": obj(100, bytes(19)),
    "FD of 12 with identifier too big": fd(can_id=0x800, data=bytes(12)),
    "FD 64 of 0": fd64(),
    "FD 64 of 12": fd64(can_id=0x80000123, data=b"abcdefghijkl", channel=200),
    "FD 64 without its zeros": fd64(data=b"abcdefgh", size=12),
    "FD 64 without data": fd64(data=b"", size=64),
    "FD 64 of 65": fd64(data=bytes(65)),
    "FD 64 with more behind": fd64(data=b"abcdefghXXXX", size=8, more=80),
    "FD 64 with more within": fd64(data=b"abcdefghXXXX", size=12, more=76),
    "FD 64 with more before": fd64(data=b"abcdefghXXXX", size=12, more=20),
    "FD 64 short": obj(101, bytes(39)),
    "a container in the container": container(GOOD),
    "padding of 7": classic(pad=7),
    "padding of 8": classic(pad=8),
    "padding that is no zeros": GOOD + b"xyz",
    "LO": b"LO" + GOOD,
    "junk": b"JUNKJUNKJUNKJUNK",
    "junk with a length": b"LOBJ" + bytes(28),
    "object of impossible size": struct.pack("<4sHHLL", b"LOBJ", 32, 1, 15, 1) + bytes(32),
    "object of enormous size": struct.pack("<4sHHLL", b"LOBJ", 32, 1, (1 << 24) + 1, 1) + bytes(32),
}  # fmt: skip


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
@pytest.mark.parametrize("include_tx", [False, True])
@pytest.mark.parametrize("method", [0, 2])
def test_an_odd_blf_object_among_usual_ones_has_the_same_fate_in_blocks(odd, include_tx, method):
    inner = MANY + odd + MANY + odd + odd + MANY
    frames, account, error = both_ways(blf_file([container(inner, method)], 1500), include_tx=include_tx)
    assert not error and len(frames) >= 1500 and account["total"] >= 1502
    reasons = sum(account["skipped"].values()) + sum(account["rejected"].values())
    assert account["frames"] + reasons == account["total"] and account["frames"] == len(frames)


def test_blf_frames_in_blocks_are_what_was_put_in():
    frames, account, _ = both_ways(blf_file([container(MANY)], 500))
    assert account["cut"] is None and account["total"] == 500
    for at, frame in enumerate(frames):
        after = at * 1_000_499 * 10 if at % 2 == 0 else (at * 1_000_499 + 500) // 1000
        assert frame == (START_US + after, "1", at % 0x7FF, bytes([at % 256] * (at % 9)))


def test_a_blf_log_goes_through_the_kernel_and_not_object_by_object(monkeypatch):
    judged = []
    honest = blf._frame
    monkeypatch.setattr(blf, "_frame", lambda *given: judged.append(1) or honest(*given))
    log = open_log("-", "blf", stream=io.BytesIO(blf_file([container(MANY * 100)], 50_000)))
    assert sum(map(len, log.blocks())) == 50_000
    assert len(judged) < 10, "the usual objects of a log were read one by one"


def test_without_numba_a_blf_log_still_comes_in_blocks(monkeypatch):
    monkeypatch.setitem(sys.modules, "cellwarden_tools.readers.blf_kernel", None)
    assert len(both_ways(blf_file([container(MANY)], 500))[0]) == 500


def test_channels_of_a_blf_log_keep_their_names_from_block_to_block():
    inner = b"".join(classic(channel=at * 7 % 40_000, kind=86) for at in range(40_000))
    frames, _, _ = both_ways(blf_file([container(inner)], 40_000))
    assert [frame[1] for frame in frames] == [str(at * 7 % 40_000) for at in range(40_000)]


def test_data_of_can_fd_widens_the_blocks_of_a_blf_log_from_there_on():
    inner = MANY * 40 + fd(data=bytes(range(12))) + MANY + fd64(data=bytes(64)) + MANY * 40
    data = blf_file([container(inner)], 40_502)
    assert len(both_ways(data)[0]) == 40_502
    blocks = list(open_log("-", "blf", stream=io.BytesIO(data)).blocks())
    assert [block.data.shape[1] for block in blocks] == [8, 8, 64, 64]


PIECES = st.sampled_from([*ODD.values(), MANY[:2000], GOOD, GOOD * 30, MANY])
METHODS = st.sampled_from([0, 2, 2, 2, None, 1])


@st.composite
def logs(draw):
    """A BLF file of objects good and odd, containers cut anywhere, then damaged."""
    inner = b"".join(draw(st.lists(PIECES, min_size=1, max_size=8)))
    cuts = sorted(draw(st.lists(st.integers(0, len(inner)), max_size=5)))
    bodies = []
    for start, end in zip([0, *cuts], [*cuts, len(inner)], strict=True):
        method = draw(METHODS)
        claimed = draw(st.sampled_from([None, None, None, 0, 1 << 31]))
        bodies.append(inner[start:end] if method is None else container(inner[start:end], method, claimed))
    data = bytearray(blf_file(bodies, draw(st.integers(0, 2000)), draw(st.sampled_from([None, None, 100, 1 << 20]))))
    for kind in draw(st.lists(st.sampled_from(["flip", "cut", "insert", "drop"]), max_size=4)):
        at = draw(st.integers(0, len(data)))
        if kind == "flip" and at < len(data):
            data[at] = draw(st.integers(0, 255))
        elif kind == "cut":
            del data[at:]
        elif kind == "insert":
            data[at:at] = draw(st.sampled_from([b"\0", b"LOBJ", b"junk" * 5, GOOD, container(GOOD)]))
        else:
            del data[at : at + draw(st.integers(1, 40))]
    return bytes(data)


@settings(derandomize=True, deadline=None, max_examples=400)
@given(data=logs(), most=st.sampled_from([None, None, 1000, 100, 7]), include_tx=st.booleans())
@example(data=b"LOGG", most=None, include_tx=False)
def test_any_blf_file_whatever_is_the_same_in_blocks(data, most, include_tx):
    if data:
        both_ways(data, most=most, include_tx=include_tx)


# --- logs of other programs


def messages(count, seed=7):
    rng = random.Random(seed)
    for at in range(count):
        extended, long = rng.random() < 0.3, rng.random() < 0.2
        size = rng.choice([0, 8, 12, 24, 64]) if long else rng.randrange(9)
        yield can.Message(
            timestamp=1_778_450_281.117 + at * 0.001003,
            arbitration_id=rng.randrange(1 << 29) if extended else rng.randrange(1 << 11),
            is_extended_id=extended,
            channel=rng.randrange(3),
            data=rng.randbytes(size),
            is_fd=long,
            is_rx=rng.random() < 0.8,
        )
        if at % 50 == 49:
            yield can.Message(timestamp=1_778_450_281.117 + at * 0.001003, is_error_frame=True, channel=1)
            yield can.Message(
                timestamp=1_778_450_281.117 + at * 0.001003, arbitration_id=5, is_remote_frame=True, dlc=4, channel=1
            )


def made(path, count):
    with can.Logger(path) as log:
        for message in messages(count):
            log(message)
    return path.read_bytes()


def test_python_can_reads_in_its_own_blf_what_comes_in_blocks(tmp_path):
    path = tmp_path / "drive.blf"
    data = made(path, 20_000)
    frames, account, _ = both_ways(data)
    theirs = [m for m in can.LogReader(path) if not m.is_error_frame and not m.is_remote_frame]
    assert len(frames) == len(theirs) == 20_000 and account["cut"] is None
    for m, (t_us, channel, can_id, payload) in zip(theirs, frames, strict=True):
        assert (m.arbitration_id | (EXT if m.is_extended_id else 0), bytes(m.data)) == (can_id, payload)
        assert m.channel + 1 == int(channel) and abs(m.timestamp - t_us / 1e6) < 2e-6


@pytest.mark.parametrize("percent", [*range(1, 100, 7), 99.9])
def test_a_blf_log_cut_anywhere_gives_the_same_in_blocks(tmp_path, percent):
    data = made(tmp_path / "drive.blf", 20_000)
    both_ways(data[: int(len(data) * percent / 100)])


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_blf_log_gives_the_same_in_blocks(tmp_path, seed):
    data, rng = bytearray(made(tmp_path / "drive.blf", 3000)), random.Random(seed)
    for _ in range(rng.randrange(1, 20)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    both_ways(bytes(data))
