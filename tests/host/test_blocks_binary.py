"""BLF and MF4 in blocks: the frames, the order and the account of reading them one by one, on any input whatever."""

import dataclasses
import io
import os
import random
import runpy
import struct
import sys
import zlib
from pathlib import Path

import can
import pytest
from cellwarden_tools.errors import InputError
from cellwarden_tools.readers import EXT, blf, open_log
from hypothesis import example, given, settings
from hypothesis import strategies as st

numpy = pytest.importorskip("numpy")
pytestmark = pytest.mark.numba

FOREIGN = runpy.run_path(str(Path(__file__).with_name("test_readers_foreign.py")))
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
    "FD of 65, sent": classic(flags=1) + fd(data=bytes(65), room=65, flags=1),
    "FD one byte short": fd(data=bytes(12)) + fd(data=b"abc", size=12, room=11),
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


def test_restore_points_are_out_of_the_count_of_a_blf_header_in_blocks_too():
    inner = MANY + ODD["event"] + ODD["restore point"] * 5 + MANY
    assert both_ways(blf_file([container(inner)], 1001))[1]["cut"] is None
    assert both_ways(blf_file([container(inner)], 1002))[1]["cut"] == "the header counts 1002 objects, 1001 were read"


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


def made(path, count):
    with can.Logger(path) as log:
        for message in FOREIGN["messages"](count):
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


# --- MF4


def records(count, width=8, seed=3, fields=(), start=0, channel=1):
    """(stamps in s, a structured array of CAN_DataFrame) of `count` records, one in fifty odd in some way."""
    rng = numpy.random.default_rng(seed)
    kinds = {"BusChannel": "u1", "ID": "<u4", "IDE": "u1", "DLC": "u1", "DataLength": "u1"}
    kinds |= {"DataBytes": f"({width},)u1", "Dir": "u1", **dict(fields)}
    kinds = {name: kind for name, kind in kinds.items() if kind}
    rows = numpy.zeros(count, [(f"CAN_DataFrame.{name}", kind) for name, kind in kinds.items()])

    def put(name, values):
        if name in kinds:
            rows[f"CAN_DataFrame.{name}"] = values

    extended = rng.random(count) < 0.3
    length = rng.integers(0, width + 1, count)
    put("BusChannel", channel)
    put("ID", numpy.where(extended, rng.integers(0, 1 << 29, count), rng.integers(0, 1 << 11, count)))
    put("IDE", extended)
    put("DLC", length)
    put("DataLength", length)
    put("DataBytes", rng.integers(0, 256, (count, width), "u1"))
    put("Dir", rng.random(count) < 0.1)
    put("RTR", rng.random(count) < 0.02)
    odd = rng.random(count) < 0.02
    rows["CAN_DataFrame.ID"][odd] = rng.choice(
        [0x7FF, 0x800, 0x1FFFFFFF, 0x20000000, 0x80000123, 0xFFFFFFFF], odd.sum()
    )
    odd = rng.random(count) < 0.02
    for name in ("DLC", "DataLength"):
        if name in kinds:
            rows[f"CAN_DataFrame.{name}"][odd] = rng.choice([0, 9, 65, 255], odd.sum())
    return start + numpy.arange(count) * 0.001003, rows


def mf4_file(path, groups, compression=2, invalid=None):
    asammdf = pytest.importorskip("asammdf")
    mdf = asammdf.MDF(version="4.10")
    for stamps, rows in groups:
        mark = None if invalid is None else numpy.arange(len(rows)) % invalid == 0
        mdf.append(asammdf.Signal(name="CAN_DataFrame", samples=rows, timestamps=stamps, invalidation_bits=mark))
    mdf.save(path, compression=compression, overwrite=True)
    mdf.close()
    return path.read_bytes()


def by_asammdf(monkeypatch):
    """Let asammdf read every record."""
    from cellwarden_tools.readers.mf4_records import Group

    monkeypatch.setattr(Group, "_layout", lambda self: None)


MF4 = {
    "as python-can writes": {"width": 64, "fields": {"EDL": "u1", "BRS": "u1", "ESI": "u1"}},
    "classic": {},
    "4 bytes": {"width": 4},
    "1 byte": {"width": 1},
    "100 bytes": {"width": 100},
    "remote in the data frames": {"fields": {"RTR": "u1"}},
    "no IDE": {"fields": {"IDE": None}},
    "no DataLength": {"fields": {"DataLength": None}},
    "no DataLength, no DLC": {"fields": {"DataLength": None, "DLC": None}},
    "no direction": {"fields": {"Dir": None}},
    "no channel": {"fields": {"BusChannel": None}},
    "direction in words": {"fields": {"Dir": "S2"}},
    "signed": {"fields": {"ID": "<i4", "DataLength": "i1", "BusChannel": "i2"}},
    "big endian": {"fields": {"ID": ">u4"}},
    "identifiers that are no whole numbers": {"fields": {"ID": "f8"}},
    "long numbers": {"fields": {"ID": "<u8", "BusChannel": "<u4", "DataLength": "<u2"}},
}


@pytest.mark.parametrize("options", MF4.values(), ids=MF4)
@pytest.mark.parametrize("compression", [0, 1, 2])
@pytest.mark.parametrize("include_tx", [False, True])
def test_mf4_records_of_any_make_are_in_blocks_what_asammdf_reads(
    tmp_path, monkeypatch, capfd, options, compression, include_tx
):
    monkeypatch.setattr("cellwarden_tools.readers.mf4_records.RECORDS", 500)
    data = mf4_file(tmp_path / "x.mf4", [records(2000, **options)], compression)
    ours = both_ways(data, "mf4", include_tx=include_tx)
    by_asammdf(monkeypatch)
    assert both_ways(data, "mf4", include_tx=include_tx) == ours
    reasons = sum(ours[1]["skipped"].values()) + sum(ours[1]["rejected"].values())
    assert ours[1]["total"] == ours[1]["frames"] + reasons == 2000
    out = capfd.readouterr()
    assert "Traceback" not in out.out + out.err


def test_mf4_frames_in_blocks_are_what_was_put_in(tmp_path):
    stamps, rows = records(50_000)
    frames, account, _ = both_ways(mf4_file(tmp_path / "x.mf4", [(stamps, rows)]), "mf4")
    good, first = [], None
    for stamp, row in zip(stamps.tolist(), rows.tolist(), strict=True):
        channel, can_id, extended, _, length, data, _ = row
        if length <= 8 and can_id & 0x7FFFFFFF < (1 << 29 if extended else 0x800):
            good.append((round(stamp * 1e6), str(channel), can_id & 0x7FFFFFFF | extended << 29, bytes(data[:length])))
    first = frames[0][0] - good[0][0]
    assert [(frame[0] - first, *frame[1:]) for frame in frames] == good and account["cut"] is None


def test_usual_mf4_records_are_taken_in_columns_and_not_one_by_one(tmp_path, monkeypatch):
    stamps, rows = records(50_000)
    rows["CAN_DataFrame.ID"] &= 0x7FF
    rows["CAN_DataFrame.DataLength"] &= 7
    data = mf4_file(tmp_path / "x.mf4", [(stamps, rows)])
    from cellwarden_tools.readers import mf4_blocks, mf4_records

    judged, asked = [], []
    honest, get = mf4_blocks._frame, mf4_records.Group._asked
    monkeypatch.setattr(mf4_blocks, "_frame", lambda *given: judged.append(1) or honest(*given))
    monkeypatch.setattr(mf4_records.Group, "_asked", lambda *given: asked.append(given[2]) or get(*given))
    log = open_log("-", "mf4", stream=io.BytesIO(data), include_tx=True)
    assert sum(map(len, log.blocks())) == 50_000
    assert not judged, "usual records were read one by one"
    assert asked == [64], "asammdf was asked for more than the first records, which prove the layout"


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("compression", [0, 2])
def test_mf4_groups_are_merged_by_time_as_one_by_one(tmp_path, monkeypatch, seed, compression):
    monkeypatch.setattr("cellwarden_tools.readers.mf4_records.RECORDS", 300)
    rng = random.Random(seed)
    groups = []
    for at in range(rng.randrange(2, 6)):
        stamps, rows = records(rng.choice([1, 100, 2000, 4000]), rng.choice([8, 64]), seed + at, channel=at)
        if at % 2:
            stamps = numpy.round(stamps * rng.choice([1, 10, 0.1]), 2)  # many the same
        groups.append((stamps, rows))
    groups.append((numpy.zeros(500), records(500)[1]))
    both_ways(mf4_file(tmp_path / "x.mf4", groups, compression), "mf4", include_tx=bool(seed % 2))


def test_mf4_records_that_the_recorder_marked_invalid_are_skipped_by_name(tmp_path):
    stamps, rows = records(5000)
    data = mf4_file(tmp_path / "x.mf4", [(stamps, rows)], invalid=10)
    frames, account, _ = both_ways(data, "mf4")
    assert account["skipped"]["marked invalid"] == 500 and account["total"] == 5000 and account["cut"] is None
    assert len(frames) > 4000


@pytest.mark.parametrize("stamp", [float("nan"), float("inf"), -1e300, 1e13, 1e12])
def test_an_mf4_record_without_a_possible_time_is_rejected(tmp_path, capfd, stamp):
    stamps, rows = records(5000)
    rows["CAN_DataFrame.ID"] &= 0x7FF
    rows["CAN_DataFrame.DataLength"] &= 7
    data = bytearray(mf4_file(tmp_path / "x.mf4", [(stamps, rows)], 0))
    data = bytes(data).replace(struct.pack("<d", stamps[2345]), struct.pack("<d", stamp))
    frames, account, _ = both_ways(data, "mf4")
    bad = 0 if stamp == 1e12 else 1
    assert len(frames) == 5000 - bad and account["rejected"].total() == bad
    assert not bad or account["rejections"][0][:2] == ("-:group 0 record 2346", "time stamp of impossible size")
    assert not capfd.readouterr().err


def test_python_can_reads_in_its_own_mf4_what_comes_in_blocks(tmp_path):
    pytest.importorskip("asammdf")
    path = tmp_path / "drive.mf4"
    frames, account, _ = both_ways(made(path, 1000), "mf4")
    theirs = [m for m in can.LogReader(path) if not m.is_error_frame and not m.is_remote_frame]
    assert len(theirs) == 1000 and account["cut"] is None
    assert [
        (round(m.timestamp * 1e6), str(m.channel), m.arbitration_id | (EXT if m.is_extended_id else 0), bytes(m.data))
        for m in theirs
    ] == frames


@pytest.mark.long(but=["3-0", "51-2", "99.9-1"])
@pytest.mark.parametrize("compression", [0, 1, 2])
@pytest.mark.parametrize("percent", [*range(3, 100, 12), 99.9])
def test_an_mf4_log_cut_anywhere_gives_the_same_in_blocks(tmp_path, monkeypatch, capfd, compression, percent):
    data = mf4_file(tmp_path / "x.mf4", [records(5000), records(3000, start=0.5)], compression)
    cut = data[: int(len(data) * percent / 100)]
    ours = both_ways(cut, "mf4")
    by_asammdf(monkeypatch)
    assert both_ways(cut, "mf4") == ours
    out = capfd.readouterr()
    assert "Traceback" not in out.out + out.err


@pytest.mark.long(but=["0-0", "1-1", "2-2", "3-0", "4-1"])
@pytest.mark.parametrize("compression", [0, 1, 2])
@pytest.mark.parametrize("seed", range(25))
def test_a_damaged_mf4_log_gives_the_same_in_blocks(tmp_path, monkeypatch, capfd, compression, seed):
    data = bytearray(mf4_file(tmp_path / "x.mf4", [records(3000), records(2000, start=0.5)], compression))
    rng = random.Random(seed)
    for _ in range(rng.randrange(1, 20)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    ours = both_ways(bytes(data), "mf4")
    by_asammdf(monkeypatch)
    assert both_ways(bytes(data), "mf4") == ours
    out = capfd.readouterr()
    assert "Traceback" not in out.out + out.err


def test_what_asammdf_cannot_read_in_one_go_is_read_in_smaller_ones(tmp_path, monkeypatch):
    asammdf = pytest.importorskip("asammdf")
    data = mf4_file(tmp_path / "x.mf4", [records(3000)])
    whole = both_ways(data, "mf4")
    by_asammdf(monkeypatch)
    honest, asked = asammdf.MDF.get, []

    def get(self, *given, **options):
        asked.append(options["record_count"])
        if options["record_count"] > 100:
            raise ValueError
        return honest(self, *given, **options)

    monkeypatch.setattr(asammdf.MDF, "get", get)
    assert both_ways(data, "mf4") == whole
    assert len(asked) < 2 * 150, "what failed once must not be tried from the top each time"


class Given:
    """A group whose parts are given."""

    def __init__(self, name, parts):
        self.name, self.list = name, parts

    def parts(self):
        yield from self.list

    def place(self, number):
        return f"{self.name}:{number}"


RECORD = st.tuples(
    st.integers(0, 6),  # time
    st.sampled_from([1, 1, 1, 2, 70_000, -1]),  # channel
    st.sampled_from([5, 5, 5, 0x800, 1 << 31]),  # identifier
    st.sampled_from([0, 0, 1]),  # extended
    st.sampled_from([0, 3, 8, 8, 12, 65, -1]),  # length
    st.sampled_from([0, 0, 1]),  # sent
    st.sampled_from([0, 0, 0, 1]),  # remote
)
PARTS = st.lists(st.lists(RECORD, min_size=1, max_size=5), max_size=4)


@settings(derandomize=True, deadline=None, max_examples=500)
@given(groups=st.lists(PARTS, max_size=4), include_tx=st.booleans(), marks=st.booleans())
def test_records_of_any_order_are_merged_and_accounted_for_as_one_by_one(groups, include_tx, marks):
    import heapq

    from cellwarden_tools.readers import Account, mf4, mf4_blocks
    from cellwarden_tools.readers.mf4_records import Part

    def streams():
        for at, parts in enumerate(groups):
            made, number = [], 0
            for rows in parts:
                times, *columns = (numpy.array(column, "i8") for column in zip(*rows, strict=True))
                fields = dict(zip(("BusChannel", "ID", "IDE", "DataLength", "Dir", "RTR"), columns, strict=True))
                data = (numpy.arange(len(rows) * 12, dtype="u1") + at).reshape(-1, 12)
                made.append(Part(number, times, fields, data, times == 3 if marks else None))
                number += len(rows)
            yield Given(at, made)

    one, other = Account(), Account()
    frames = list(
        heapq.merge(*(mf4._frames(group, one, include_tx) for group in streams()), key=lambda frame: frame[0])
    )
    blocks = list(mf4_blocks.merged(list(streams()), other, include_tx))
    assert [frame for block in blocks for frame in block.rows()] == frames
    assert other == one
    assert list(other.skipped) == list(one.skipped) and list(other.rejected) == list(one.rejected)


# --- recorded logs


CORPUS = Path(os.environ.get("CELLWARDEN_CORPUS") or Path(__file__).parents[3] / "shared" / "data") / "css-mf4"


@pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus: set CELLWARDEN_CORPUS to its folder")
@pytest.mark.parametrize("name", ["leaf_uds_2F6913DB", "hkmc_uds_17BD1DB7"])
@pytest.mark.parametrize("percent", [100, 99, 70, 40, 15])
@pytest.mark.parametrize("include_tx", [False, True])
def test_a_recorded_mf4_log_is_the_same_in_blocks(name, percent, include_tx, capfd):
    pytest.importorskip("asammdf")
    data = (CORPUS / f"{name}.MF4").read_bytes()
    frames, _, error = both_ways(data[: len(data) * percent // 100], "mf4", include_tx=include_tx)
    assert frames or error
    out = capfd.readouterr()
    assert "Traceback" not in out.out + out.err
