"""A log in another format: candump text comes back byte for byte, an account stays what it was, none is half done."""

import csv
import gzip
import io
import json
import os
import random
import runpy
import sys
import threading
import tracemalloc
from pathlib import Path

import can
import pytest
from cellwarden.core import layout as L
from cellwarden_tools.errors import InputError
from cellwarden_tools.readers import EXT, open_log
from cellwarden_tools.writers import NO_NOTICE, open_writer
from hypothesis import example, given, settings
from hypothesis import strategies as st

pyarrow = pytest.importorskip("pyarrow")
pytest.importorskip("pyarrow.parquet")
pytest.importorskip("numpy")
from cellwarden_tools import candump_rows, parquet_writer  # noqa: E402
from cellwarden_tools.cli import run  # noqa: E402
from cellwarden_tools.convert import Conversion  # noqa: E402
from cellwarden_tools.readers import parquet as columnar  # noqa: E402

HERE = Path(__file__).parent
HAND = runpy.run_path(str(HERE / "test_readers.py"))
FOREIGN = runpy.run_path(str(HERE / "test_readers_foreign.py"))
COMMAND = runpy.run_path(str(HERE / "test_cli.py"))
GOOD = HAND["GOOD"]
CASES = [
    line for table in ("CANDUMP", "CANDUMP_NOTICES", "CANDUMP_SKIPPED", "CANDUMP_REJECTED") for line, _ in HAND[table]
]


def convert(path, output, **options):
    made = Conversion(path, output, **options)
    made.run()
    return made


def read(path, include_tx=False, blocks=False, **options):
    """(frames, account) of a log; the account as what a user sees of it, in its order."""
    log = open_log(path, include_tx=include_tx, **options)
    frames = [row for block in log.blocks() for row in block.rows()] if blocks else list(log)
    a = log.account
    return frames, (a.total, a.frames, list(a.skipped.items()), list(a.rejected.items()), a.cut)


def table(path):
    """The file's rows as pyarrow alone reads them."""
    return pyarrow.parquet.read_table(path).to_pylist()


def back_and_forth(folder, data, name="drive.log"):
    """The Parquet file of a candump log, held to what is promised of any."""
    source, made, back = folder / name, folder / "drive.parquet", folder / "back.log"
    source.write_bytes(data)
    convert(source, made)
    convert(made, back)
    assert back.read_bytes() == data, "the log did not come back byte for byte"
    for include_tx in (False, True):
        theirs = read(source, include_tx)
        assert read(made, include_tx) == theirs, "the Parquet file does not give the frames and account of its log"
        assert read(made, include_tx, blocks=True) == theirs
    accounts = [open_log(path) for path in (source, made)]
    assert len({(sum(frame[2] >> 30 for frame in log), log.account.notices) for log in accounts}) == 1
    return made


# --- candump text, byte for byte --------------------------------------------------------------------------------------

PLAIN = [
    "(1778450281.117003) can1 7FF#",
    "(1778450281.117003) can1 1ABCDEF0#01AB",
    "(1778450281.117003) can1 1abcdef0#01ab",
    "(166.000000) can0 21A#FE36",
    "(000166.000000) can0 21A#FE36",
    "(0000000166.000000) can0 21A#FE36",
    "(1.000000) can0 21A#FE36 R",
    "(1.000000) can0 21A#FE36 T",
    "(1.000000) can0 001#fe36 T",
    "(1.000000) can0 21A##0FE36",
    "(1.000000) can0 21A##5FE36",
    "(1.000000) can0 21A##FFE36 T",
    "(1.000000) can0 001##afe36 R",
    "(1.000000) can0 21A##0",
    "(1.000000) can0 21A##0" + "5A" * 12,
    "(1.000000) can0 00000123#11",
]
FORMS = [
    *PLAIN,
    "(1778450281.117003) can1 7FF#01ab",
    "(1778450281.117003) can1 1abcdef0#01AB",
    "(1.5) can0 21A#FE36",
    "(1.123456789) can0 21A#FE36",
    "(1.000000) can0 21A#FE36 t",
    "(1.000000) can0 21A##3" + "5a" * 64,
    "(1.000000) can0 21A#1122334455667788_9",
    "(1.000000) can0 21A#R8",
    "(1.000000) can0 20000040#0000000000000000",
    "(2.000000)  can0  21A#11 ",
    "\t",
    "\r",
    "#",
    "x" * 4097,
    "x" * 70_000,
]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("line", CASES + FORMS)
def test_a_candump_line_of_any_kind_comes_back_and_means_the_same(tmp_path, line, end):
    back_and_forth(tmp_path, (GOOD + line + end + GOOD).encode())


@pytest.mark.parametrize("line", CASES + FORMS)
def test_a_last_line_without_its_end_comes_back_and_means_the_same(tmp_path, line):
    back_and_forth(tmp_path, (GOOD + line).encode())


PART = st.one_of(
    st.sampled_from([(line + "\n").encode() for line in CASES + FORMS]),
    st.builds(
        lambda seconds, us, digits, name, can_id, data, way, end, small: (
            f"({seconds:0{digits}}.{us:06}) {name} "
            + (lambda hex: hex.lower() if small else hex)(f"{can_id}#{data.hex().upper()}")
            + way
            + end
        ).encode(),
        st.integers(0, 10**12 - 1) | st.integers(0, 2000),
        st.integers(0, 999_999),
        st.integers(1, 12),
        st.sampled_from(["can0", "vcan1", "a-very-long-name-for-a-channel-it-is", "x#y"]),
        st.integers(0, 0x7FF).map("{:03X}".format) | st.integers(0, (1 << 29) - 1).map("{:08X}".format),
        st.binary(max_size=9),
        st.sampled_from(["", " R", " T", " X"]),
        st.sampled_from(["\n", "\r\n", " \n", "\n\n"]),
        st.booleans(),
    ),
    st.binary(max_size=40),
    st.binary(max_size=12).map(lambda junk: b"(1.000000) can0 123#" + junk + b"\n"),
)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.lists(PART, max_size=40), st.booleans())
@example([b"(1.000000) can0 123#11 T\n" * 50 + b"(1.000000) can0 123#11 R\n" * 50], True)
@example([b"\0" * 63 + b"\n\n"], True)
def test_a_candump_log_comes_back_byte_for_byte_whatever_is_in_it(tmp_path_factory, parts, compiled):
    folder = tmp_path_factory.mktemp("any")
    with pytest.MonkeyPatch.context() as patch:
        if compiled:  # its code takes over from the first byte, in small pieces
            patch.setattr(candump_rows, "SLOW", 0)
            patch.setattr(candump_rows, "BIT", 64)
            patch.setattr(candump_rows, "RUN", 2)
        patch.setattr(parquet_writer, "GROUP", 16)
        back_and_forth(folder, GOOD.encode() + b"".join(parts))


NOTICES = [
    (1, "can0", HAND["DROPPED"], b"\0"),
    (2, "can1", HAND["BUS_OFF"], b"\1"),
    (3, "can1", HAND["BUS_OFF"], b"\0"),
]
ACK, SLEEP = (4, "can0", L.NOTICE | L.NOTICE_ACK, b"\7"), (5, "can0", L.NOTICE | L.NOTICE_SLEEP, b"\0")


def log_of(path, frames):
    with open_writer(path) as log:
        for frame in frames:
            log.write(*frame)
    return path


def test_notices_keep_in_candump_and_in_parquet_and_the_file_says_that_it_has_some(tmp_path):
    text = log_of(tmp_path / "a.log", NOTICES)
    assert text.read_text() == (
        "(000000.000001) can0 20000004#0001000000000000\n"
        "(000000.000002) can1 20000040#0000000000000000\n"
        "(000000.000003) can1 20000100#0000000000000000\n"
    )
    made = back_and_forth(tmp_path, text.read_bytes() + GOOD.encode())
    rows = table(made)
    assert [(row["t_us"], row["channel"], row["can_id"], row["data"][:1]) for row in rows[:3]] == NOTICES
    assert not any(row["extended"] or row["sent"] or row["reason"] or row["text"] for row in rows)
    versions = [
        json.loads(pyarrow.parquet.read_metadata(path).metadata[columnar.KEY])["version"]
        for path in (made, log_of(tmp_path / "plain.parquet", [(0, "can0", 1, b"")]))
    ]
    assert versions == [2, 1]


def test_a_notice_that_a_format_has_no_record_for_is_left_out_and_told(tmp_path):
    frame = (0, "can0", 1, b"\1")
    source = log_of(tmp_path / "a.parquet", [frame, *NOTICES, ACK, SLEEP])
    assert read(source)[0] == [frame, *NOTICES, ACK, SLEEP]
    for name, kept in {"b.log": NOTICES, "b.parquet": [*NOTICES, ACK, SLEEP]}.items():
        made = convert(source, tmp_path / name)
        assert read(tmp_path / name)[0] == [frame, *kept]
        assert made.left_out == ({NO_NOTICE: 2} if kept is NOTICES else {})
    for suffix in ("csv", "asc", "trc", "blf", "mf4"):
        made = convert(source, tmp_path / f"b.{suffix}")
        assert made.left_out == {NO_NOTICE: 5} and len(read(tmp_path / f"b.{suffix}")[0]) == 1


def many(count=30_000, seed=1):
    """An ordinary candump log, with something odd in one place."""
    rng = random.Random(seed)
    lines = []
    for at in range(count):
        name = f"{rng.randrange(1 << 29):08X}" if rng.random() < 0.2 else f"{rng.randrange(0x800):03X}"
        way = rng.choice(["", "", " T", " R"]) if at > count // 2 else ""
        data = rng.randbytes(rng.choice([8, 8, 8, 3])).hex().upper()
        lines.append(f"({1_700_000_000 + at // 1000}.{at % 1000 * 1000:06}) can{at % 2} {name}#{data}{way}\n")
    lines[count // 3] = "# a word between\n"
    return "".join(lines).encode()


@pytest.mark.long(but=["False-CR LF", "True-usual", "True-small letters"])
@pytest.mark.parametrize("style", ["usual", "small letters", "CR LF"])
@pytest.mark.parametrize("compiled", [False, True])
def test_a_long_log_comes_back_and_gives_the_same_file_with_and_without_compiled_code(
    tmp_path, monkeypatch, compiled, style
):
    if compiled:
        pytest.importorskip("numba")
    data = many()
    if style == "small letters":
        data = data.lower().replace(b" t\n", b" T\n").replace(b" r\n", b" R\n")
    elif style == "CR LF":
        data = data.replace(b"\n", b"\r\n")
    monkeypatch.setattr(parquet_writer, "GROUP", 1 << 13)
    convert_plain = tmp_path / "plain"
    convert_plain.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(candump_rows, "_kernels", lambda: None)
        plain = back_and_forth(convert_plain, data)
    monkeypatch.setattr(candump_rows, "SLOW", 0)
    monkeypatch.setattr(candump_rows, "RUN", 16)
    if not compiled:
        monkeypatch.delattr(sys.modules["cellwarden_tools.readers"], "kernels", raising=False)
        monkeypatch.setitem(sys.modules, "cellwarden_tools.readers.kernels", None)
    slow, lines = [], candump_rows.Reading._lines
    monkeypatch.setattr(
        candump_rows.Reading, "_lines", lambda self, text, *rest: slow.append(len(text)) or lines(self, text, *rest)
    )
    assert back_and_forth(tmp_path, data).read_bytes() == plain.read_bytes()
    assert sum(slow) < len(data) // 10 if compiled else sum(slow) == len(data), "read by the other code"


def test_ordinary_lines_of_candump_and_python_can_need_no_text(tmp_path):
    rows = table(back_and_forth(tmp_path, "".join(line + end for line in PLAIN for end in ("\n", "\r\n")).encode()))
    assert [row["text"] for row in rows] == [None] * len(rows)
    assert sum(row["sent"] for row in rows) == 6 and {row["reason"] for row in rows} == {None}


@pytest.mark.parametrize("pack", ["gz", "xz", "zst"])
def test_a_compressed_log_gives_its_plain_text_back_and_its_cut_is_kept(tmp_path, pack):
    data = many(3000)
    packed = HAND["compress"](pack, data)
    for end in (len(packed), len(packed) * 2 // 3):
        source = tmp_path / f"drive.log.{pack}"
        source.write_bytes(packed[:end])
        try:
            theirs = read(source)
        except InputError:
            continue  # zstd gives nothing before its first block is whole
        convert(source, tmp_path / "drive.parquet")
        assert read(tmp_path / "drive.parquet") == theirs and bool(theirs[1][4]) == (end < len(packed))
        convert(tmp_path / "drive.parquet", tmp_path / f"back.log.{pack}")
        assert data.startswith(b"".join(open_log(tmp_path / f"back.log.{pack}")._source))
        convert(source, tmp_path / "plain.log")
        assert data.startswith((tmp_path / "plain.log").read_bytes())
    assert json.loads(metadata(tmp_path / "drive.parquet")[columnar.KEY])["source"]["name"] == f"drive.log.{pack}"


# --- what stands in the file ------------------------------------------------------------------------------------------


def metadata(path):
    return pyarrow.parquet.ParquetFile(path).metadata.metadata


def test_the_columns_are_those_of_the_page_about_them(tmp_path):
    text = (
        "# by hand\n(1.000002) can0 123#11FF\n(3.000000) can1 18EBFF00#0102030405060708 T\n(2.000000) can0 7FF##1"
        + "AB" * 12
        + "\n(2.500000) can0 123#R\n(2.75) can0 001#\n"
    )
    made = back_and_forth(tmp_path, text.encode())
    columns = ("t_us", "channel", "can_id", "extended", "length", "sent", "reason", "text")
    assert [tuple(row[name] for name in columns) for row in table(made)] == [
        (0, "", -1, False, 0, False, "comment", b"# by hand\n"),
        (1_000_002, "can0", 0x123, False, 2, False, None, None),
        (3_000_000, "can1", 0x18EBFF00, True, 8, True, None, None),
        (2_000_000, "can0", 0x7FF, False, 12, False, None, None),
        (2_000_000, "", -1, False, 0, False, "remote frame", b"(2.500000) can0 123#R\n"),
        (2_750_000, "can0", 1, False, 0, False, None, b"(2.75) can0 001#\n"),
    ]
    rows = table(made)
    assert rows[1]["data"] == b"\x11\xff" + bytes(6) and rows[1]["more"] is None
    assert rows[3]["data"] == b"\xab" * 8 and rows[3]["more"] == b"\xab" * 4 + bytes(52)
    page = (HERE.parents[1] / "docs" / "parquet.md").read_text()
    for field in pyarrow.parquet.read_schema(made):
        assert f"| `{field.name}` |" in page, f"docs/parquet.md does not say what {field.name} is"


def test_the_file_says_where_it_comes_from_and_whether_time_ever_ran_back(tmp_path):
    import hashlib

    data = b"(2.000000) can0 001#\n(1.000000) can0 001#\n(3.000000) can0 001#\n"
    told = json.loads(metadata(back_and_forth(tmp_path, data))[columnar.KEY])
    assert told["source"] == {
        "name": "drive.log", "format": "candump", "size": len(data), "sha256": hashlib.sha256(data).hexdigest()
    }  # fmt: skip
    assert not told["in_order"] and told["steps_back"] == 1 and (told["first_us"], told["last_us"]) == (2e6, 3e6)
    assert str(tmp_path) not in json.dumps(told)
    assert json.loads(metadata(back_and_forth(tmp_path, GOOD.encode()))[columnar.KEY])["in_order"]


def test_row_groups_have_their_first_and_last_time_for_others_to_leave_them_out(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_writer, "GROUP", 100)
    data = "".join(f"({at}.000000) can0 001#\n" for at in range(250)).encode()
    file = pyarrow.parquet.ParquetFile(back_and_forth(tmp_path, data)).metadata
    ranges = [file.row_group(at).column(0).statistics for at in range(3)]
    assert [(some.min, some.max) for some in ranges] == [(0, 99_000_000), (100_000_000, 199_000_000), (2e8, 249e6)]
    found = pyarrow.parquet.read_table(tmp_path / "drive.parquet", filters=[("t_us", ">=", 240_000_000)])
    assert len(found) == 10


def test_pandas_and_python_can_see_the_same_frames(tmp_path):
    pandas = pytest.importorskip("pandas")
    (tmp_path / "drive.log").write_bytes(many(5000))
    convert(tmp_path / "drive.log", tmp_path / "drive.parquet")
    found = pandas.read_parquet(tmp_path / "drive.parquet")
    found = found[found.reason.isna()]
    (tmp_path / "drive.log").write_bytes(many(5000).replace(b"# a word between\n", b""))  # python-can stumbles over it
    theirs = list(can.LogReader(tmp_path / "drive.log"))
    assert len(theirs) == len(found) == 4999
    for m, row in zip(theirs, found.itertuples(), strict=True):
        assert (round(m.timestamp * 1e6), m.channel, m.arbitration_id) == (row.t_us, row.channel, row.can_id)
        assert (m.is_extended_id, bytes(m.data), m.is_rx) == (row.extended, row.data[: row.length], not row.sent)


def test_text_that_is_long_ends_a_row_group_early(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_writer, "TEXT", 10_000)
    made = back_and_forth(tmp_path, (GOOD + ("# " + "x" * 2000 + "\n") * 12 + GOOD).encode())
    assert pyarrow.parquet.ParquetFile(made).num_row_groups == 3


# --- logs of every format ---------------------------------------------------------------------------------------------

SENT_ROWS = (
    HAND["SAVVY_DIR"] + "1,00000001,false,Rx,0,1,AA,\n2,00000002,false,Tx,0,1,BB,\n3,00000003,false,Up,0,1,BB,\n"
)
BOLT = HAND["BOLT"]
TEXTS = {
    "savvycan.csv": SENT_ROWS + "4,00000001,false,Rx,1,12," + "11," * 12 + "\n\n",
    "any.csv": BOLT
    + "1.5,can_fd,rx,0x202,3,15F0F5,f,f,f\nbad\n1.6,,tx,0x202,0,,t,f,f\n1.7,b,rx,0x202,12,"
    + "AB" * 12
    + ",f,f,f\n",
    "a.asc": HAND["ASC_HEAD"]
    + "".join(line + "\n" for line, *_ in HAND["ASC"] + HAND["ASC_SKIPPED"] + HAND["ASC_REJECTED"]),
    **{f"v{version}.trc": text for version, text in HAND["TRC"].items()},
}


def logs(folder):
    """A log of every format but candump, with frames sent by the tester in it."""
    for name, text in TEXTS.items():
        (folder / name).write_text(text)
        yield folder / name
    (folder / "packed.asc.gz").write_bytes(gzip.compress(TEXTS["a.asc"].encode()))
    yield folder / "packed.asc.gz"
    for suffix in FOREIGN["SUFFIXES"]:
        path = FOREIGN["make"](folder / f"made{suffix}")
        yield path
        cut = folder / f"cut{suffix}"
        cut.write_bytes(path.read_bytes()[: path.stat().st_size * 9 // 10])
        yield cut


def test_parquet_gives_the_frames_and_the_account_of_a_log_of_any_format(tmp_path):
    for path in logs(tmp_path):
        try:
            theirs = read(path)
        except InputError:
            assert path.name == "cut.mf4"  # asammdf opens some cut files only
            continue
        made = convert(path, tmp_path / "x.parquet")
        for include_tx in (False, True):
            theirs = read(path, include_tx)
            for blocks in (False, True):
                assert read(tmp_path / "x.parquet", include_tx, blocks) == theirs, path.name
        assert made.frames == len(theirs[0]) and made.sent == made.frames - len(read(path)[0])
        ours, before = open_log(tmp_path / "x.parquet"), open_log(path)
        list(ours), list(before)
        places = [(where.removeprefix(f"{path}:"), *rest) for where, *rest in before.account.rejections]
        assert ours.account.rejections == [(f"{path.name}:{where}", *rest) for where, *rest in places]


def test_what_the_tester_sent_is_marked_in_every_format_that_can_be_log_of(tmp_path):
    source = FOREIGN["make"](tmp_path / "made.blf")
    every, heard = read(source, True)[0], read(source)[0]
    for name in ("x.parquet", "x.log", "x.csv", "x.asc.xz", "x.blf", "x.mf4", "x.trc"):
        made = convert(source, tmp_path / name)
        again, ours = read(tmp_path / name, True)[0], read(tmp_path / name)[0]
        shift = every[0][0] - again[0][0] if ".asc" in name or ".trc" in name else 0
        for got, wanted in ((again, every), (ours, heard)):
            wanted = [frame for frame in wanted if len(frame[3]) <= 8] if ".trc" in name else wanted
            assert [(t_us + shift, *rest) for t_us, _, *rest in got] == [(t, *rest) for t, _, *rest in wanted], name
        lost = sum(len(frame[3]) > 8 for frame in every) if ".trc" in name else 0
        fd = {"CAN FD frames cannot be written to a PCAN trace": lost} if lost else {}
        assert made.left_out == fd | {"error frame": 20, "remote frame": 20} and made.frames == len(every), name


def test_channels_keep_their_name_or_the_new_one_is_told(tmp_path):
    source = tmp_path / "x.csv"
    source.write_text("time,channel,id,data\n1.0,can 0,1,AA\n2.0,,1,AA\n3.0,can7,1,AA\n4.0,12,1,AA\n")
    expected = {
        "log": {"can 0": "can_0", "": "can0", "can7": "can7", "12": "12"},
        "csv": {"can 0": "0", "": "0", "can7": "7", "12": "12"},
        "blf": {"can 0": "1", "": "1", "can7": "8", "12": "12"},
        "mf4": {"can 0": "0", "": "0", "can7": "7", "12": "12"},
        "asc": {"can 0": "1", "": "1", "can7": "8", "12": "12"},
    }
    for suffix, names in expected.items():
        made = convert(source, tmp_path / f"y.{suffix}")
        assert made.channels == names
        assert [frame[1] for frame in read(tmp_path / f"y.{suffix}")[0]] == list(names.values()), suffix


@pytest.mark.parametrize("suffix", ["asc", "trc", "blf", "mf4", "csv", "log"])
@pytest.mark.parametrize("first", [5, 1_700_000_005])
def test_time_that_runs_back_is_kept_or_left_out_and_told_and_never_changed(tmp_path, suffix, first):
    stamps = [first + step for step in (0.25, 1.5, 1.0, -1, 0.2495, 4)]
    text = "".join(f"({t:.6f}) can0 {at:03X}#\n" for at, t in enumerate(stamps))
    (tmp_path / "x.log").write_text(text)
    made = convert(tmp_path / "x.log", tmp_path / f"y.{suffix}")
    frames, account = read(tmp_path / f"y.{suffix}")
    found = [(t_us + made.zero_us, can_id) for t_us, _, can_id, _ in frames]
    kept = [(round(t * 1e6), at) for at, t in enumerate(stamps)]
    if suffix in ("asc", "trc", "blf"):
        kept = [frame for frame in kept if frame[0] >= kept[0][0]]
        assert made.left_out == {f"a frame from before the first cannot be written to .{suffix}": 2}
    assert found == kept
    assert not account[3] and bool(made.zero_us) == (suffix in ("asc", "trc") or (suffix == "blf" and first == 5))


def test_candump_text_of_another_format_can_be_read_by_python_can(tmp_path):
    source = FOREIGN["make"](tmp_path / "made.asc")
    convert(source, tmp_path / "x.parquet")
    convert(tmp_path / "x.parquet", tmp_path / "x.log")
    convert(source, tmp_path / "y.log")
    assert (tmp_path / "x.log").read_bytes() == (tmp_path / "y.log").read_bytes()
    theirs = [(bytes(m.data), m.is_rx) for m in can.LogReader(tmp_path / "x.log")]
    assert [data for data, _ in theirs] == [frame[3] for frame in read(source, True)[0]]
    assert sum(not rx for _, rx in theirs) == len(theirs) - len(read(source)[0])


def test_a_stamp_from_before_1970_is_left_out_of_candump_text_and_kept_in_parquet(tmp_path):
    blf, (obj, _) = FOREIGN["blf"], FOREIGN["BLF"][0]
    late = FOREIGN["obj"](1, obj[32:48], stamp=1_500_000_000)
    for objects, left in (([obj, late], 1), ([obj, obj], None)):
        (tmp_path / "old.blf").write_bytes(blf(objects, start=(1969, 12, 0, 31, 23, 59, 59, 0)))
        convert(tmp_path / "old.blf", tmp_path / "old.parquet")
        assert read(tmp_path / "old.parquet") == read(tmp_path / "old.blf")
        assert read(tmp_path / "old.parquet")[0][0][0] < 0
        for source in ("old.blf", "old.parquet"):
            if left:
                made = convert(tmp_path / source, tmp_path / "old.log")
                assert made.left_out == {"frames from before 1970": left}
                assert (tmp_path / "old.log").read_text() == "(000000.500000) 2 123#616263\n"
            else:
                with pytest.raises(InputError, match="all its frames are stamped before 1970"):
                    convert(tmp_path / source, tmp_path / "old.log")


def test_a_stamp_too_large_for_any_clock_is_one_line(tmp_path):
    (tmp_path / "x.csv").write_text("time,id,data\n1.0,1,AA\n999999999999999.0,1,AA\n")
    with pytest.raises(InputError, match=r"a time stamp of over 2\^63 us"):
        convert(tmp_path / "x.csv", tmp_path / "x.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


def test_frames_are_written_to_parquet_as_to_any_log(tmp_path):
    frames = [(at * 1000, f"can{at % 2}", at % 0x800, bytes(at % 9)) for at in range(20_000)]
    for name in ("a.parquet", "b.parquet"):
        with open_writer(tmp_path / name) as log:
            for frame in frames:
                log.write(*frame)
    assert read(tmp_path / "a.parquet") == (frames, (20_000, 20_000, [], [], None))
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_a_damaged_file_gives_one_line_or_what_it_held(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(parquet_writer, "GROUP", 300)
    made = back_and_forth(tmp_path, many(1000))
    whole, data, path = read(made), made.read_bytes(), tmp_path / "hurt.parquet"
    rng, refused = random.Random(4), 0
    hurts = [data[:end] for end in range(0, len(data), 997)]
    for _ in range(400):
        hurt = bytearray(data)
        hurt[rng.randrange(len(hurt))] ^= 1 << rng.randrange(8)
        hurts.append(bytes(hurt))
    for hurt in hurts:
        path.write_bytes(hurt)
        try:
            assert read(path) == whole, "a damaged file gave something that its log did not hold"
        except InputError as error:
            refused += 1
            assert "\n" not in str(error) and str(path) in str(error)
    assert refused > len(hurts) // 2  # what is not needed for the frames is not read
    out = capfd.readouterr()
    assert "Traceback" not in out.out + out.err


def hand_made(path, told, rows=1):
    """A Parquet file with our columns and `told` as what is told of its log."""
    import hashlib

    schema = columnar.schema()
    values = {"t_us": 1, "channel": "a", "can_id": 1, "extended": False, "length": 1, "data": bytes(8), "sent": False}
    columns = [
        pyarrow.array([values.get(field.name, 0 if field.name == "form" else None)] * rows, field.type)
        for field in schema
    ]
    told = json.dumps(told).encode()
    with pyarrow.parquet.ParquetWriter(path, schema) as file:
        file.write_table(pyarrow.Table.from_arrays(columns, schema=schema))
        file.add_key_value_metadata({columnar.KEY: told, columnar.KEY_SUM: hashlib.sha256(told).hexdigest()})
    return path


def test_a_parquet_file_that_is_not_ours_or_not_of_now_is_refused_in_one_line(tmp_path):
    other = tmp_path / "other.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"a": [1], "b": [2]}), other)
    with pytest.raises(InputError, match=r"a Parquet file of another kind \(its columns: a, b\); expected a log that"):
        read(other)
    newer = hand_made(tmp_path / "newer.parquet", {"version": 3, "written_by": "cellwarden 9.0.0"})
    with pytest.raises(
        InputError, match=r"in version 3 of our Parquet form, by cellwarden 9.0.0; expected version 1 or 2; upd"
    ):
        read(newer)
    with pytest.raises(InputError, match="no frame in it, for it is no Parquet file; it seems to be text"):
        read("-", format="parquet", stream=io.BytesIO(GOOD.encode()))
    fine = {"version": 1, "groups": [{"rows": 2}], "source": None}
    fine["account"] = {"total": 3, "frames": 3, "skipped": {}, "rejected": {}, "cut": None, "rejections": []}
    with pytest.raises(InputError, match="2 frames in the rows where 3 were written"):
        read(hand_made(tmp_path / "less.parquet", fine, 2))
    with pytest.raises(InputError, match="its row groups are not those it was written with"):
        read(hand_made(tmp_path / "more.parquet", fine, 5))


def test_a_parquet_log_comes_from_a_pipe_and_compressed_too(tmp_path):
    made = back_and_forth(tmp_path, many(2000))
    piped = open_log("-", stream=io.BytesIO(made.read_bytes()))
    assert piped.format == "parquet" and list(piped) == read(made)[0]
    (tmp_path / "x.parquet.gz").write_bytes(gzip.compress(made.read_bytes()))
    assert read(tmp_path / "x.parquet.gz") == read(made)
    (tmp_path / "x.parquet.gz").write_bytes(gzip.compress(made.read_bytes())[:-500])
    with pytest.raises(InputError, match=r"cut off or damaged \(the gzip stream ends early"):
        read(tmp_path / "x.parquet.gz")


@pytest.mark.parametrize("package", ["pyarrow", "numpy"])
def test_a_missing_library_is_named_with_how_to_get_it(tmp_path, monkeypatch, capsys, package):
    made = back_and_forth(tmp_path, GOOD.encode())
    for name in [
        name for name in sys.modules if name.startswith(("cellwarden_tools.convert", "cellwarden_tools.parquet_"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    for name in (package, "cellwarden_tools.readers.blocks", "cellwarden_tools.candump_rows"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=r"needs pyarrow.*pip install cellwarden\[parquet\]"):
        list(open_log(made))
    with pytest.raises(InputError, match=r"needs pyarrow.*pip install cellwarden\[parquet\]"), open_writer(made):
        pass
    assert run(["convert", str(made), "-o", str(tmp_path / "x.log")]) == 2
    assert "pip install cellwarden[parquet]" in capsys.readouterr().err


def test_a_pyarrow_too_old_is_told_so(tmp_path, monkeypatch):
    monkeypatch.delattr(pyarrow.parquet.ParquetWriter, "add_key_value_metadata")
    with pytest.raises(InputError, match="needs pyarrow 17 or newer"), open_writer(tmp_path / "x.parquet"):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["x.parquet", "x.log.xz", "x.blf", "x.csv"])
@pytest.mark.parametrize("fault", [KeyboardInterrupt, InputError("x", "y"), OSError(28, "No space left on device")])
def test_a_conversion_that_fails_half_way_leaves_what_was_there(tmp_path, monkeypatch, name, fault):
    (tmp_path / "drive.log").write_bytes(many(3000))
    (tmp_path / name).write_bytes(b"from before")
    lines = candump_rows.Reading._lines

    def failing(self, text, first, whole):
        if first > 1:
            raise fault
        return lines(self, text, first, whole)

    monkeypatch.setattr(candump_rows.Reading, "_lines", failing)
    with pytest.raises((KeyboardInterrupt, InputError)):
        convert(tmp_path / "drive.log", tmp_path / name)
    assert {path.name for path in tmp_path.iterdir()} == {"drive.log", name}
    assert (tmp_path / name).read_bytes() == b"from before"


def test_a_log_that_changes_while_it_is_read_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "drive.log"
    path.write_bytes(many(3000))
    lines = candump_rows.Reading._lines

    def growing(self, *given):
        with open(path, "ab") as file:
            file.write(GOOD.encode())
        return lines(self, *given)

    monkeypatch.setattr(candump_rows.Reading, "_lines", growing)
    with pytest.raises(InputError, match="changed while it was read"):
        convert(path, tmp_path / "x.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["drive.log"]


def test_text_that_would_not_be_that_of_the_log_is_never_log_of(tmp_path, monkeypatch):
    made = back_and_forth(tmp_path, many(100))
    monkeypatch.setattr(candump_rows, "line", lambda *given: "(0.000000) can0 123#\n")
    with pytest.raises(InputError, match=r"does not give back the bytes of drive\.log"):
        convert(made, tmp_path / "x.log")
    assert not (tmp_path / "x.log").exists()


@pytest.mark.long
@pytest.mark.parametrize("suffix", ["log", "csv", "blf"])
def test_many_comments_before_the_first_frame_are_no_frames(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(parquet_writer, "GROUP", 64)
    made = back_and_forth(tmp_path, b"# " + b"x" * 500 + b"\n" + b"# no frame\n" * 20_000 + GOOD.encode())
    for source in (made, tmp_path / "drive.log"):
        done = convert(source, tmp_path / f"y.{suffix}")
        assert done.frames == 1 and [frame[2:] for frame in read(tmp_path / f"y.{suffix}")[0]] == [(0x123, b"\x11")]


def test_a_log_of_remote_frames_alone_keeps_its_text_and_is_nothing_else(tmp_path):
    made = back_and_forth(tmp_path, b"(1.000000) can0 123#R\n")
    for source in (made, tmp_path / "drive.log"):
        with pytest.raises(InputError, match="has no data frame"):
            convert(source, tmp_path / "x.csv")


def test_parquet_made_of_parquet_is_the_same_file(tmp_path):
    made = back_and_forth(tmp_path, many(3000))
    convert(made, tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == made.read_bytes()


def test_frames_sent_that_cannot_be_told_from_the_others_are_refused(tmp_path, monkeypatch):
    (tmp_path / "x.csv").write_text(SENT_ROWS + "4,00000003,false,Rx,0,1,AA,\n")

    class Backward:
        def __init__(self, log):
            self.log, self.account, self.format, self.close = log, log.account, log.format, log.close

        def blocks(self):
            return self.log.blocks()

        def __iter__(self):
            return iter(list(self.log)[::-1])

    monkeypatch.setattr(sys.modules[Conversion.__module__], "open_log", lambda *given: Backward(open_log(*given)))
    with pytest.raises(InputError, match="cannot be told from the others"):
        convert(tmp_path / "x.csv", tmp_path / "x.parquet")


def test_more_channels_than_any_car_has_are_refused_in_one_line(tmp_path):
    text = "".join(f"(1.000000) c{at} 001#\n" for at in range(65_537))
    (tmp_path / "x.log").write_text(text)
    with pytest.raises(InputError, match="has more than 65536 channels"):
        convert(tmp_path / "x.log", tmp_path / "x.parquet")


def test_a_log_without_a_frame_is_refused(tmp_path):
    (tmp_path / "x.log").write_bytes(b"# nothing\n\n")
    with pytest.raises(InputError, match="no frame in it"):
        convert(tmp_path / "x.log", tmp_path / "x.parquet")
    (tmp_path / "x.log").write_bytes(b"nothing\n" * 500_000)
    with pytest.raises(InputError, match="no frame in the first 1 MiB"):
        convert(tmp_path / "x.log", tmp_path / "x.parquet")


# --- memory -----------------------------------------------------------------------------------------------------------


def peak(call):
    tracemalloc.start()
    before = pyarrow.total_allocated_bytes()
    call()
    python = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert pyarrow.total_allocated_bytes() - before < 1 << 20, "Arrow keeps what it was given"
    return python


@pytest.mark.long
def test_memory_does_not_grow_with_the_log(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_writer, "GROUP", 1 << 13)
    monkeypatch.setattr(candump_rows, "CHUNK", 1 << 17)
    peaks = []
    for count in (80_000, 20_000, 80_000):  # the first compiles, and loads what is loaded once
        source, made, back = (tmp_path / f"{count}.{name}" for name in ("log", "parquet", "back.log"))
        source.write_bytes(many(count))
        peaks.append([
            peak(lambda: convert(source, made)),  # noqa: B023
            peak(lambda: convert(made, back)),  # noqa: B023
            peak(lambda: sum(map(len, open_log(made).blocks()))),  # noqa: B023
        ])  # fmt: skip
    for small, large in zip(*peaks[1:], strict=True):
        assert large - small < 1 << 20, f"{small >> 10} KiB for 20,000 lines, {large >> 10} KiB for 80,000"


def test_a_line_without_end_is_not_gathered_in_memory(tmp_path):
    path = tmp_path / "x.log"
    with open(path, "wb") as file:
        file.write(GOOD.encode())
        for _ in range(512):
            file.write(b"x" * (1 << 16))
    assert peak(lambda: convert(path, tmp_path / "x.parquet")) < 40 << 20
    convert(tmp_path / "x.parquet", tmp_path / "back.log")
    assert (tmp_path / "back.log").read_bytes() == path.read_bytes()
    assert read(tmp_path / "x.parquet") == read(path)


# --- the command ------------------------------------------------------------------------------------------------------

here, say, refused = (COMMAND[name] for name in ("here", "say", "refused"))


def test_replay_of_the_parquet_file_says_what_replay_of_the_log_says(say):
    text = COMMAND["DISCHARGED"]
    lines = text.splitlines(keepends=True)
    lines[5:5] = [
        "# a word\n",
        "(1000.100000) can0 100#R\n",
        "(1000.2) can0 101#740E740E\n",
        "(1000.3) can0 100#00 T\n",
    ]
    Path("odd.log").write_text("".join(lines) + "(1050.0")
    assert say("convert", "odd.log", "-o", "odd.parquet")[0] == 0
    for words in ((), ("--include-tx",)):
        one = say("replay", "odd.log", "-p", "small.toml", "--json", *words)
        two = say("replay", "odd.parquet", "-p", "small.toml", "--json", *words)
        assert one == two and one[0] == 0 and one[1]


def test_what_became_of_the_log_is_told_in_a_line_or_as_one_object(say):
    status, out, err = say("convert", "low.log", "-o", "low.parquet")
    assert (status, out, err) == (
        0,
        "",
        "cellwarden: low.parquet: 900 frames of low.log; every byte of its text is kept\n",
    )
    Path("x.csv").write_text("time,dir,bus,id,data\n1.0,rx,a b,1,AA\n2.0,tx,a b,1,AA\nbad\n")
    assert say("convert", "x.csv", "-o", "x.log")[2].splitlines() == [
        "cellwarden: x.log: 2 frames of x.csv, 1 of them sent by the tester; left out: 1 header, "
        "1 1 columns where the header has 5",
        "cellwarden: x.log: channels are called otherwise: `a b` is `a_b`",
    ]
    told = json.loads(say("convert", "x.csv", "-o", "x.log", "--json")[1])
    assert told == {
        "log": "x.csv", "format": "csv", "output": "x.log", "frames": 2, "sent": 1, "total": 4,
        "skipped": {"header": 1, "transmitted": 1}, "rejected": {"1 columns where the header has 5": 1}, "cut": None,
        "left_out": {"header": 1, "1 columns where the header has 5": 1}, "exact": False, "zero": 0.0,
        "channels": {"a b": "a_b"},
    }  # fmt: skip
    assert (
        "low.asc: time counts from the first frame, 1000.000000 s in low.log"
        in say("convert", "low.log", "-o", "low.asc")[2]
    )
    Path("cut.log").write_text(GOOD + "(2.0")
    assert say("convert", "cut.log", "-o", "cut.log.gz")[2].endswith(
        "the log is cut: the last line (line 2) is cut off\n"
    )


def test_standard_input_is_converted_too(here):
    for name, data in (("x.log", Path("low.log").read_bytes()), ("y.log", None)):
        if data is None:
            data = Path("x.parquet").read_bytes()
        process = COMMAND["child"]("convert", "-", "-o", "x.parquet" if name == "x.log" else name)
        out, err = process.communicate(data)
        assert process.returncode == 0 and out == b"" and b"900 frames of -" in err, err
    assert Path("y.log").read_bytes() == Path("low.log").read_bytes()


def test_a_named_pipe_is_converted_too(here):
    os.mkfifo("pipe.log")
    feed = threading.Thread(target=lambda: Path("pipe.log").write_bytes(Path("low.log").read_bytes()))
    feed.start()
    convert("pipe.log", "x.csv")
    feed.join()
    assert [frame[2:] for frame in read("x.csv")[0]] == [frame[2:] for frame in read("low.log")[0]]


def test_mistakes_are_one_line(refused):
    assert (
        refused("convert", "low.log")
        == "cellwarden: convert: no new log is named; add -o FILE, such as -o drive.parquet"
    )
    assert "no log can be written under this suffix" in refused("convert", "low.log", "-o", "x.xls")
    assert "cannot be read (No such file" in refused("convert", "gone.log", "-o", "x.parquet")
    assert "cannot be read (Is a directory" in refused("convert", ".", "--format", "candump", "-o", "x.parquet")
    assert "cannot be written" in refused("convert", "low.log", "-o", "no/x.parquet")
    assert "a log without a suffix" in refused("convert", "low", "-o", "x.parquet")


def test_the_table_of_a_spreadsheet_has_a_row_a_frame(tmp_path):
    (tmp_path / "x.log").write_text("(1.000000) can0 123#11FF\n")
    convert(tmp_path / "x.log", tmp_path / "x.csv")
    (row,) = csv.DictReader((tmp_path / "x.csv").open())
    assert (row["Time Stamp"], row["ID"], row["Bus"], row["D1"], row["D2"]) == ("1000000", "00000123", "0", "11", "FF")
    assert read(tmp_path / "x.csv")[0] == [(1_000_000, "0", 0x123, b"\x11\xff")]


def test_extended_identifiers_keep_their_flag(tmp_path):
    frames = read(back_and_forth(tmp_path, b"(1.000000) can0 00000123#\n(1.000000) can0 123#\n"))[0]
    assert [frame[2] for frame in frames] == [0x123 | EXT, 0x123]
    frames = read(back_and_forth(tmp_path, b"(1.000000) can0 00000123#\n"))[0]
    assert [frame[2] for frame in frames] == [0x123 | EXT]
