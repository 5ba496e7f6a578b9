"""A log in blocks is the log frame by frame: same frames, same account, whatever the bytes and however they come."""

import io
import os
import random
import runpy
import sys
import threading
import tracemalloc
from pathlib import Path

import pytest
from cellwarden.core import layout as L
from cellwarden_tools import readers
from cellwarden_tools.errors import InputError
from cellwarden_tools.readers import EXT, open_log
from cellwarden_tools.writers import open_writer
from hypothesis import given, settings
from hypothesis import strategies as st

numpy = pytest.importorskip("numpy")
pytest.importorskip("numba")
pytestmark = pytest.mark.numba
from cellwarden_tools.readers.blocks import Block, from_frames  # noqa: E402

HAND = runpy.run_path(str(Path(__file__).with_name("test_readers.py")))
GOOD, SAVVY, SAVVY_DIR, SAVVY_GOOD = (HAND[name] for name in ("GOOD", "SAVVY", "SAVVY_DIR", "SAVVY_GOOD"))
ASC_HEAD, ASC_END, ASC_GOOD = (HAND[name] for name in ("ASC_HEAD", "ASC_END", "ASC_GOOD"))
ASC_DEC = "date x y\nbase dec  timestamps absolute\n"
ASC_RELATIVE = "date x y\nbase hex  timestamps relative\n"


class Pieces(io.BytesIO):
    """A stream that gives at most `most` bytes at a time."""

    def __init__(self, data, most):
        super().__init__(data)
        self.most = most

    def read1(self, size=-1):
        return self.read(min(size, self.most))


def rows(log):
    """The rows of the log's blocks, each block held to what Block promises."""
    found = []
    for block in log.blocks():
        assert len(block) and block.channels is log_channels(log, block)
        assert [column.dtype.str for column in block[:5]] == ["<i8", "<u2", "<i4", "|u1", "|u1"]
        assert block.data.shape in [(len(block), 8), (len(block), 64)] and block.data.flags.c_contiguous
        behind = numpy.arange(block.data.shape[1]) >= block.length[:, None]
        assert not block.data[behind].any(), "bytes behind the length must be zero"
        assert block.length.max() <= block.data.shape[1] and block.channel.max() < len(block.channels)
        found += block.rows()
    return found


def log_channels(log, block):
    if not hasattr(log, "channels_seen"):
        log.channels_seen = block.channels
    return log.channels_seen


def outcome(read, data, format, most, **options):
    """What a reading comes to: (frames, account), or (the error's text, None)."""
    try:
        log = open_log("drive.log", format, stream=Pieces(data, most), **options)
        frames = read(log)
    except InputError as error:
        return str(error), None
    return frames, log.account


def both(data, format=None, most=1 << 30, **options):
    """(frames, account) of the data, read both ways."""
    data = data.encode() if isinstance(data, str) else data
    one, two = (outcome(read, data, format, most, **options) for read in (list, rows))
    if one[1] and two[1]:
        for mine, theirs in zip(one[0], two[0], strict=False):
            assert mine == theirs, "a frame differs between the two ways of reading"
        assert list(one[1].skipped) == list(two[1].skipped) and list(one[1].rejected) == list(two[1].rejected)
    assert one == two
    return one


ANY = {
    kind: [line for name in (kind, f"{kind}_SKIPPED", f"{kind}_REJECTED") for line, _ in HAND[name]]
    + [line for line, _ in HAND.get(f"{kind}_NOTICES", ())]
    for kind in ("CANDUMP", "ASC")
}
TABLE = (
    [("candump", GOOD + line + "\n" + GOOD) for line in ANY["CANDUMP"]]
    + [("savvycan", head + line + "\n") for head, line, _ in HAND["SAVVYCAN"]]
    + [("savvycan", SAVVY + SAVVY_GOOD + line + "\n" + SAVVY_GOOD) for line, _ in HAND["SAVVYCAN_REJECTED"]]
    + [("asc", ASC_HEAD + ASC_GOOD + line + "\n" + ASC_GOOD) for line in ANY["ASC"]]
    + [(None, head + line + "\n" + (head + line + "\n")) for head, line, _ in HAND["CSV"]]
    + [(None, text) for text in HAND["TRC"].values()]
)


@pytest.mark.parametrize("most", [1, 1 << 30])
@pytest.mark.parametrize("include_tx", [False, True])
def test_every_line_of_the_readers_tables_means_the_same_in_blocks(include_tx, most):
    for format, text in TABLE:
        both(text, format, most, include_tx=include_tx)


MOST = 10**18 - 1  # us that a stamp can say
HEX8 = bytes.fromhex("FFEEDDCCBBAA9988")
BY_HAND = [
    ("candump", "", [(line, frame) for line, frame in HAND["CANDUMP"] + HAND["CANDUMP_NOTICES"]]),
    (
        "candump",
        "",
        [
            ("(123456789012.000001) can0 1FFFFFFF#0102", (123456789012_000001, "can0", 0x1FFFFFFF | EXT, b"\1\2")),
            ("(000000.000000) slcan12 000#00\r", (0, "slcan12", 0, b"\0")),
            ("(1.999999) " + "z" * 32 + " 7ff#FfEeDdCcBbAa9988", (1_999_999, "z" * 32, 0x7FF, HEX8)),
            ("(1.0) can0 00000000# R", (1_000_000, "can0", EXT, b"")),
        ],
    ),
    (
        "savvycan",
        SAVVY,
        [
            ("999999999999999999,1FFFFFFF,true,255,3,01,02,03,04,05,06,", (MOST, "255", 0x1FFFFFFF | EXT, b"\1\2\3")),
            ("0,000007FF,false,0,0,", (0, "0", 0x7FF, b"")),
            ("0,000007ff,false,00,1,aB,\r", (0, "00", 0x7FF, b"\xab")),
        ],
    ),
    (
        "savvycan",
        SAVVY_DIR,
        [("5,00000123,false,Rx,1,8,FF,FE,FD,FC,FB,FA,F9,F8,", (5, "1", 0x123, bytes(range(255, 247, -1))))],
    ),
    (
        "asc",
        "base hex timestamps absolute\n",
        [
            ("999999999999.999999999 255 1FFFFFFFx Rx d 1 7F", (MOST, "255", 0x1FFFFFFF | EXT, b"\x7f")),
            ("\t0.5\t1\t7ff\tRx\td\t2\tAb\tcD\t\r", (500_000, "1", 0x7FF, b"\xab\xcd")),
            (" 0.0000019 1 1 Rx d 0 Length = 0 BitCount = 64 ID = 1", (1, "1", 1, b"")),
            *HAND["ASC"],
        ],
    ),
    ("candump", "", [("(1.123456999) can0 001#", (1_123_456, "can0", 1, b""))]),
    ("asc", ASC_DEC, [(" 1.000000 1 2047 Rx d 3 0 007 255", (1_000_000, "1", 2047, b"\0\7\xff"))]),
]  # fmt: skip


@pytest.mark.parametrize(("format", "head", "lines"), BY_HAND)
def test_a_line_means_its_frame_in_blocks_too(format, head, lines):
    text = head + "".join(line + "\n" for line, _ in lines)
    log = open_log("-", format, stream=io.BytesIO(text.encode()))
    assert rows(log) == [frame for _, frame in lines]
    assert log.account.frames == len(lines) and not log.account.rejected


FIELDS = {
    "candump": [
        *(f"({'9' * size}.000001) can0 123#00" for size in range(20)),
        *(f"(1.{'9' * size}) can0 123#00" for size in range(12)),
        *(f"(1.000001) {'n' * size} 123#00" for size in range(40)),
        *(f"(1.000001) can0 {digit * size}#00" for size in range(12) for digit in "017F"),
        *(f"(1.000001) can0 {ident}#00" for ident in ("7FF", "800", "1FFFFFFF", "20000000", "3FFFFFFF", "40000000")),
        *(f"(1.000001) can0 123#{flags}{'5' * size}" for size in range(135) for flags in ("", "#0")),
    ],
    "savvycan": [
        *(f"{'9' * size},00000001,false,0,0," for size in range(22)),
        *(f"1,{digit * size},{ext},0,0," for size in range(12) for digit in "017F" for ext in ("true", "false")),
        *(f"1,{ident},{ext},0,0," for ident in ("000007FF", "00000800", "1FFFFFFF") for ext in ("true", "false")),
        *(f"1,00000001,false,{'1' * size},0," for size in range(6)),
        *(f"1,00000001,false,0,{length},{'A5,' * size}" for length in range(18) for size in range(18)),
    ],
    "asc": [
        *(f" {'9' * size}.000001 1 1 Rx d 0" for size in range(15)),
        *(f" 1.{'9' * size} 1 1 Rx d 0" for size in range(12)),
        *(f" 1.0 {'1' * size} 1 Rx d 0" for size in range(6)),
        *(f" 1.0 1 {digit * size}{ext} Rx d 0" for size in range(13) for digit in "0179F" for ext in ("", "x")),
        *(f" 1.0 1 {ident} Rx d 0" for ident in ("7FF", "800", "1FFFFFFFx", "20000000x", "2047", "2048", "536870912x")),
        *(f" 1.0 1 1 Rx d {length:X}{' 5A' * size}" for length in range(18) for size in range(18)),
        *(f" 1.0 1 1 Rx d 1 {byte:0{size}d}" for byte in (0, 9, 10, 99, 100, 255, 256, 999) for size in range(1, 5)),
    ],
}


@pytest.mark.parametrize(
    ("format", "head"),
    [("candump", ""), ("savvycan", SAVVY), ("asc", ASC_HEAD), ("asc", ASC_DEC), ("asc", ASC_RELATIVE)],
)
def test_a_field_of_any_length_means_the_same_in_blocks(format, head):
    frames, account = both(head + "\n".join(FIELDS[format][::-1]) + "\n", format, 1 << 12)
    assert len(frames) > 40 and account.rejected


@pytest.mark.parametrize("other", ["", "\n", "(0.0) a 123#\n"])
def test_short_lines_that_fill_more_than_a_block_lose_nothing(other):
    short = "(0.000001) a 123#\n"
    text = short * 60_000 + (short + other) * 60_000 + other * 15_000 + short * 60_000
    frames, _ = both(text, "candump")
    assert len(frames) == 180_000 + (75_000 if "a" in other else 0)


FD = "(1.000000) can0 123##1" + "AB" * 64 + "\n"
USUAL = [
    ("candump", "", "(1778450281.117003) can0 18FF12AB#01FE3C5A7788990F"),
    ("candump", "", "(000012.345678) vcan1 7A5#0a1B T\r"),
    ("candump", "", "(9.000001) x 7FF# R"),
    ("candump", "", "(1.000001) longer_than_16_bytes 7FF##1AA"),
    ("candump", "", "(12.345678901) can0 7A5#0A1B"),
    ("candump", FD, "(1.000001) can0 00000A1F##0" + "5a" * 12),
    ("candump", FD, "(1.000001) can0 7FF##f" + "5A" * 64 + " T"),
    ("savvycan", SAVVY, "166064000,0000021A,false,0,8,FE,36,12,FE,69,05,07,AD,"),
    ("savvycan", SAVVY, "16,18FF12AB,true,12,2,FE,36,12,FE,69,05,07,AD,\r"),
    ("savvycan", SAVVY_DIR, "5,0000021A,false,Tx,0,1,1b,"),
    ("savvycan", SAVVY_DIR, "5,1ABCDEF0,true,Rx,0,0,"),
    ("asc", ASC_HEAD, "   0.153600 0  594\tRx   d 8 34 21 34 21 A0 61 04 20 \r"),
    ("asc", ASC_HEAD, "  10.000004 12  18EBFF00x       Tx   d 2 01 0f  Length = 0 BitCount = 4 ID = 418119424x"),
    ("asc", ASC_DEC, " 0.000001 1 418119424x Rx d 3 0 255 77"),
    ("asc", ASC_RELATIVE, "   0.000501900 1 7FF Rx d 1 1c"),
    ("asc", ASC_RELATIVE, "   0.7 1 7FF Tx d 1 1C"),
]


@pytest.mark.parametrize("include_tx", [False, True])
@pytest.mark.parametrize(("format", "head", "line"), USUAL)
def test_a_usual_line_with_any_one_byte_changed_lost_doubled_or_inserted_means_the_same_in_blocks(
    format, head, line, include_tx
):
    line = line.encode()
    lines = [line]
    for at in range(len(line) + 1):
        lines.append(line[:at])
        lines.append(line[at:])
        lines.append(line[:at] + line[at + 1 :])
        lines.append(line[:at] + line[at : at + 1] + line[at:])
        lines += [line[:at] + bytes([byte]) + line[at + 1 :] for byte in range(256) if byte != 10]
        lines += [line[:at] + bytes([byte]) + line[at:] for byte in b"09afAFxRT.,#() \t\r=L\0\xff"]
    frames, account = both(head.encode() + b"\n".join(lines) + b"\n", format, 1 << 13, include_tx=include_tx)
    assert account.total == len(lines) + head.count("\n") and account.rejected
    assert len(frames) > 200 or account.skipped["transmitted"] > 200, "the test must not run empty"


LINES = {
    "candump": [text for format, _, text in USUAL if format == "candump"] + ANY["CANDUMP"],
    "savvycan": [text for format, _, text in USUAL if format == "savvycan"]
    + [SAVVY.strip(), *(line for _, line, _ in HAND["SAVVYCAN"]), *(line for line, _ in HAND["SAVVYCAN_REJECTED"])],
    "asc": [text for format, _, text in USUAL if format == "asc"]
    + (ASC_HEAD + ASC_END + ASC_DEC + ASC_RELATIVE).splitlines() * 2
    + ANY["ASC"],
}
HEADS = {"candump": [GOOD, FD], "savvycan": [SAVVY, SAVVY_DIR], "asc": [ASC_HEAD, ASC_DEC, ASC_RELATIVE]}
BYTES = st.one_of(st.sampled_from(list(b"0123456789ABCDEFabcdefxRT#()., \t\r\n\0=")), st.integers(0, 255))
CHANGES = st.lists(st.tuples(st.sampled_from("=+-"), st.integers(0, 1 << 16), BYTES), max_size=12)
LOGS = st.sampled_from(sorted(LINES)).flatmap(
    lambda format: st.tuples(
        st.just(format),
        st.sampled_from(HEADS[format]),
        st.lists(
            st.tuples(st.sampled_from(LINES[format]), st.sampled_from(["\n", "\n", "\n", "\r\n", ""])), max_size=30
        ),
    )
)


@settings(derandomize=True, max_examples=700, deadline=None)
@given(LOGS, CHANGES, st.sampled_from([1, 3, 40, 1000, 1 << 16]), st.booleans())
def test_a_mutated_log_reads_the_same_both_ways(log, changes, most, include_tx):
    format, head, lines = log
    data = bytearray((head + "".join(line + end for line, end in lines)).encode())
    for what, at, byte in changes:
        at = len(data) - 1 - at % len(data) if data else 0
        data[at : at + (what != "+")] = b"" if what == "-" else bytes([byte])
    if data:
        both(bytes(data), format, most, include_tx=include_tx)


def some_log(format, lines, seed, odd):
    """Lines of a format; a share `odd` of them from the tables, with all that is unusual in it."""
    rng, stamp, out = random.Random(seed), 0, []
    for _ in range(lines):
        stamp += rng.randrange(2000)
        if rng.random() < odd:
            out.append(rng.choice(LINES[format]))
            continue
        ext = rng.random() < 0.2
        ident = rng.randrange(1 << 29) if ext else rng.randrange(1 << 11)
        data = rng.randbytes(rng.choice([8, 8, 8, 8, 3, 0]))
        if format == "candump":
            name = rng.choice(["can0", "can1", "vcan0", "a", "slcan0_of_the_car", "exactly_sixteen_"])
            mark = rng.choice(["", "", " R", " T"])
            out.append(
                f"({stamp // 10**6:06}.{stamp % 10**6:06}) {name} {ident:0{8 if ext else 3}X}#{data.hex()}{mark}"
            )
        elif format == "savvycan":
            way = rng.choice(["Rx", "Tx"])
            cells = data.ljust(8, b"\0").hex(",").upper()
            out.append(
                f"{stamp},{ident:08X},{'true' if ext else 'false'},{way},{rng.randrange(3)},{len(data)},{cells},"
            )
        else:
            way = rng.choice(["Rx", "Rx", "Tx"])
            tail = rng.choice(["", "  Length = 230000 BitCount = 119 ID = 1234"])
            cells = data.hex(" ").upper()
            out.append(
                f"{stamp / 1e6:11.6f} {rng.randrange(3)}  {ident:X}{'x' * ext:12} {way}   d {len(data)} {cells}{tail}"
            )
    head = {"candump": "", "savvycan": SAVVY_DIR, "asc": ASC_HEAD}[format]
    return (head + "\n".join(out) + "\n").encode()


@pytest.mark.parametrize("format", sorted(LINES))
@pytest.mark.parametrize(("odd", "most"), [(0, 1 << 30), (0.001, 1 << 16), (0.5, 1 << 30), (0.5, 777)])
def test_a_log_of_megabytes_reads_the_same_both_ways(tmp_path, format, odd, most):
    data = some_log(format, 40_000 if odd != 0.5 else 15_000, 1, odd)
    for include_tx in (False, True):
        both(data, format, most, include_tx=include_tx)


@pytest.mark.parametrize("format", sorted(LINES))
@pytest.mark.parametrize("pack", ["", "gz", "xz", "zst"])
def test_a_log_in_a_file_plain_or_packed_or_cut_reads_the_same_both_ways(tmp_path, format, pack):
    data = some_log(format, 8_000 if pack else 40_000, 2, 0.01)
    if pack:
        data = HAND["compress"](pack, data)
    path = tmp_path / f"drive.{'csv' if format == 'savvycan' else 'log'}{pack and '.' + pack}"
    for share in (1, 0.9):
        path.write_bytes(data[: int(len(data) * share)])
        one, two = (open_log(path, format) for _ in range(2))
        assert list(one) == rows(two) and one.account == two.account
        assert one.account.frames > 1_000 and bool(one.account.cut) == (share != 1 or format == "asc")


def test_a_log_with_can_fd_reads_the_same_both_ways_and_is_wide_only_where_it_must_be():
    rng = random.Random(7)
    sizes = [(0, 8), (0, 8, 12, 64), (0, 5, 8), (12, 64, 64, 65), (8,)]
    lines = [
        f"(1.{at:06}) can{at % 3} {at % 0x800:03X}##{at % 16:X}{rng.randbytes(rng.choice(sizes[at // 4000])).hex()}"
        for at in range(20_000)
    ]
    data = "\n".join([*lines, ""]).encode()
    for most in (1 << 14, 1 << 30):
        frames, account = both(data, "candump", most)
        assert len(frames) > 18_000 and set(account.rejected) == {"more than 64 bytes"}
    log = open_log("-", "candump", stream=Pieces(data, 1 << 14))
    widths = [block.data.shape[1] for block in log.blocks()]
    turns = [here for here, before in zip(widths, [None, *widths], strict=False) if here != before]
    assert turns == [8, 64, 8, 64, 8]


def test_channels_may_come_at_any_time_and_in_any_number():
    names = [f"can{at}" for at in range(100)] + [
        mark * size for size in (1, 7, 8, 9, 15, 16, 17, 32, 33) for mark in "ab"
    ]
    names += ["b" + "a" * 8, "a" * 8 + "b", "!", "~", "a#b", "#"]
    lines = [f"(1.{at:06}) {name} 123#{at:04X}" for at, name in enumerate(names)]
    random.Random(4).shuffle(lines)
    frames, _ = both("\n".join(lines + lines[::-1]) + "\n", "candump")
    assert len(frames) == 2 * len(names) and {frame[1] for frame in frames} == set(names)
    text = GOOD * 30_000 + "\n".join(lines) + "\n" + GOOD
    frames, _ = both(text, "candump")
    assert len(frames) == 30_001 + len(names)


def test_more_channels_than_a_block_can_count_are_refused_in_one_line():
    text = "".join(f"(1.000000) long_name_of_channel_{at} 123#11\n" for at in range(1 << 16))
    with open_log("-", "candump", stream=io.BytesIO(text.encode())) as log:
        assert sum(len(block) for block in log.blocks()) == 1 << 16
    with pytest.raises(InputError, match="more than 65536 channels") as error:
        rows(open_log("-", "candump", stream=io.BytesIO((text + GOOD).encode())))
    assert "\n" not in str(error.value)


def test_transmitted_lines_are_counted_in_the_order_they_are_met():
    sent, tail = "(1.000000) can0 123#11 T\n", "\n# made by hand\n"
    for text in (sent * 3 + tail + sent * 3, tail + sent * 6, GOOD + sent + tail + sent * 5):
        _, account = both(text, "candump")
        assert account.skipped == {"transmitted": 6, "blank": 1, "comment": 1}, text


def test_relative_stamps_add_up_over_usual_and_unusual_lines():
    text = ASC_RELATIVE + " 0.1 1 1 Rx d 0\n 0.000001 1 ErrorFrame\n 0.2 Start of x\n"
    text += " 0.0000005 1 2 Rx d 0\n 0.0000005 1 2 Rx d 0\n 0.1 1 2 Tx d 0\n 0.1 1 0002 Rx d 0\n"
    text += "base hex timestamps absolute\n 5.0 1 3 Rx d 0\nbase hex timestamps relative\n 0.1 1 3 Rx d 0\n"
    frames, _ = both(text, "asc")
    assert [frame[0] for frame in frames] == [100_000, 300_001, 300_002, 500_002, 5_000_000, 600_002]


def test_relative_stamps_that_add_up_beyond_all_time_are_rejected():
    year = " 999999999.999999999 1 1 Rx d 0\n" * 6 + " 999999999999.0 1 1 Rx d 0\n 0.5 1 1 Rx d 0\n"
    frames, account = both(ASC_RELATIVE + year, "asc")
    assert [frame[0] for frame in frames] == [at * 10**15 - 1 for at in range(1, 7)]
    assert account.rejected == {"the relative times add up to over 10^12 s": 2}


@pytest.mark.parametrize("format", sorted(LINES))
def test_a_line_as_long_as_allowed_is_read_and_a_longer_one_rejected_however_it_comes(format):
    line = {"candump": GOOD, "savvycan": SAVVY_GOOD, "asc": ASC_GOOD.replace("\n", "  Length = 1\n")}[format].rstrip(
        "\n"
    )
    head = {"candump": GOOD, "savvycan": SAVVY + SAVVY_GOOD, "asc": "base hex timestamps absolute\n" + ASC_GOOD}[format]
    for most in (1, 4096, 5000, 1 << 30):
        for size in (4095, 4096, 4097, 9000):
            for fill in (" ", "x", "\xff", "\r"):
                data = (head + line.ljust(size, fill) + "\n" + line + "\n").encode("latin-1")
                frames, account = both(data, format, most)
                reason = {"line over 4096 bytes": 1}
                assert (account.rejected == reason) == (size > 4096) and frames[-1] == frames[0]


def test_an_account_does_not_depend_on_how_the_bytes_came():
    junk = b"\xff" * 5000 + b"\n" + b"\r" * 5000 + b"\n" + bytes(9000) + b"\n" + b"\xfe" * 4096 + b"\n"
    accounts = [both(GOOD.encode() + junk + junk[:-1], "candump", most)[1] for most in (1, 100, 4096, 4097, 1 << 30)]
    assert all(account == accounts[0] for account in accounts) and accounts[0].total == 9


@pytest.mark.parametrize("lead", [0, 900_000, 1_000_000, 1_114_000, 1_200_000])
@pytest.mark.parametrize("piped", [False, True])
def test_a_log_without_frames_is_given_up_at_the_same_place(tmp_path, lead, piped):
    junk = b"nothing " * 40 + b"\n"
    data = junk * (lead // len(junk)) + GOOD.encode() + junk * 4000
    if piped:
        both(data, "candump", 65_536)
        return
    path = tmp_path / "drive.log"
    path.write_bytes(data)
    found = []
    for read in (list, rows):
        log = open_log(path)
        try:
            found.append((read(log), log.account))
        except InputError as error:
            found.append((str(error), None))
    assert found[0] == found[1]


PLAIN = {
    "candump": [
        "(1.000001) n 123#",
        "(999999999999.999999) sixteen_letters_ 1FFFFFFF#0123456789ABCDEF R",
        "(1778450281.117003) can0 7ff#01ab\r",
        "(1778450281.117003) can0 123##0AB T",
        "(1778450281.117003999) can0 123#00",
    ],
    "savvycan": [
        "1,00000123,false,Rx,0,0,",
        "999999999999999999,1FFFFFFF,true,Tx,999,8,FF,FF,FF,FF,FF,FF,FF,FF,\r",
        "5,000007FF,false,Rx,1,2,30,31,0D,8C,00,00,00,00,",
    ],
    "asc": [
        "0.1 1 1 Rx d 0",
        "999999999999.999999999 255 1FFFFFFFx Rx d 8 00 11 22 33 44 55 66 77",
        "   0.153600 0  594\tTx   d 8 34 21 34 21 A0 61 04 20 \r",
        "   1.000004 2  18EBFF00x       Rx   d 2 01 02  Length = 0 BitCount = 4 ID = 418119424x",
    ],
}


@pytest.mark.parametrize("format", sorted(PLAIN))
def test_lines_as_tools_write_them_never_go_the_careful_way(monkeypatch, format):
    from cellwarden_tools.readers import kernels

    careful = []

    def settle(parse, line, number, whole, source, account):
        careful.append(line)

    monkeypatch.setattr(kernels, "settle", settle)
    head = {"candump": "", "savvycan": SAVVY_DIR, "asc": "base hex  timestamps absolute\n"}[format]
    text = head + "".join(line + "\n" for line in PLAIN[format]) * 3
    log = open_log("-", format, stream=io.BytesIO(text.encode()), include_tx=True)
    assert len(rows(log)) == 3 * len(PLAIN[format]) and careful == head.splitlines()
    log = open_log("-", format, stream=io.BytesIO(text.encode()))
    sent = [line for line in PLAIN[format] if "T" in line]
    careful.clear()
    rows(log)
    assert careful == [*head.splitlines(), *sent[:1]], "of the transmitted, only the first does"


def test_channels_beyond_those_that_compiled_code_knows_only_cost_time(monkeypatch):
    from cellwarden_tools.readers import kernels

    careful = []
    settle = kernels.settle
    monkeypatch.setattr(kernels, "settle", lambda *given: careful.append(given[1]) or settle(*given))
    lines = [f"(1.000000) can{at} 123#11" for at in range(kernels.CHANNELS + 1)]
    text = "\n".join([*lines, ""]) * 3
    assert len(rows(open_log("-", "candump", stream=io.BytesIO(text.encode())))) == 3 * len(lines)
    assert careful == lines[-1:] * 3


@pytest.mark.parametrize("format", sorted(LINES))
def test_without_numba_the_blocks_are_the_same(monkeypatch, format):
    data = some_log(format, 3000, 3, 0.1)
    fast, account = both(data, format)
    monkeypatch.delattr(readers, "kernels")
    monkeypatch.delitem(sys.modules, "cellwarden_tools.readers.kernels")
    monkeypatch.setitem(sys.modules, "numba", None)
    assert both(data, format) == (fast, account)
    assert "cellwarden_tools.readers.kernels" not in sys.modules


def test_a_kernel_that_cannot_be_kept_on_disk_is_compiled_for_the_run(monkeypatch):
    from cellwarden_tools.readers import kernels

    def njit(cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(kernels, "njit", njit)
    assert kernels.compiled(len) is len


def test_blocks_of_a_slow_pipe_come_as_they_are_written():
    reader, writer = os.pipe()
    seen = threading.Event()

    def feed():
        with open(writer, "wb", buffering=0) as out:
            out.write(GOOD.encode())
            assert seen.wait(60), "the first frame waited for more of them"
            out.write(GOOD.encode())

    thread = threading.Thread(target=feed)
    thread.start()
    with open(reader, "rb") as stream:
        blocks = open_log("-", stream=stream).blocks()
        assert len(next(blocks)) == 1
        seen.set()
        assert sum(map(len, blocks)) == 1
    thread.join()


def test_an_error_while_reading_comes_behind_all_that_was_read():
    class Broken(Pieces):
        def read1(self, size=-1):
            block = super().read1(size)
            if not block:
                raise OSError(5, "Input/output error")
            return block

    blocks = open_log("-", stream=Broken(GOOD.encode() * 1000 + b"(2.0", 100)).blocks()
    count = 0
    with pytest.raises(InputError, match="Input/output error"):
        for block in blocks:
            count += len(block)
    assert count == 1000


@pytest.mark.parametrize("format", sorted(LINES))
def test_blocks_of_a_long_pipe_stay_flat_in_memory(format):
    head = {"candump": "", "savvycan": SAVVY_DIR, "asc": ASC_HEAD}[format].encode()
    data = some_log(format, 8_000, 5, 0.3)[len(head) :]
    for block in (data[: 1 << 18], LINES[format][0].encode() + b"\n", b"\n"):
        size = 1 << 14 if block == b"\n" else 1 << 20
        stream = HAND["Endless"](head + data[:1000] + b"\n", block * (1 + size // 8 // len(block)), size)
        tracemalloc.start()
        count = 0
        log = open_log("-", format, stream=stream)
        for part in log.blocks():
            count += len(part)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count == log.account.frames
        assert peak < 32 << 20, f"{peak >> 20} MiB"


MARKS = {"": 0, " R": ord("R"), " T": ord("T")}


@pytest.mark.parametrize("marked", [False, True])
def test_a_block_is_rendered_as_the_candump_writer_writes_it(tmp_path, marked):
    from cellwarden_tools.readers import kernels

    rng, frames, marks = random.Random(6), [], []
    times = [0, 1, 999_999, 10**6, 10**12 - 1, 10**12, 10**13, 10**18 - 1, 2**63 - 1]
    for at in range(3000):
        can_id = rng.choice([0, 1, 0x7FF, rng.randrange(1 << 11), EXT, EXT * 2 - 1, EXT | rng.randrange(EXT)])
        data = rng.randbytes(rng.choice([0, 1, 7, 8] if at < 1000 else [0, 8, 12, 64]))
        if at % 97 == 0:
            can_id, data = rng.choice([(HAND["DROPPED"], b"\0"), (HAND["BUS_OFF"], b"\0"), (HAND["BUS_OFF"], b"\1")])
        frames.append((rng.choice([*times, rng.randrange(10**16)]), rng.choice(["can0", "!", "~" * 40]), can_id, data))
        marks.append(rng.choice(list(MARKS)) if marked else "")
    path = tmp_path / "drive.log"
    with open_writer(path) as log:
        for t_us, channel, can_id, data in frames:
            log.write(t_us, channel, can_id, data, fd=len(data) > 8)
    lines = path.read_bytes().splitlines()
    lines = b"".join(line + mark.encode() + b"\n" for line, mark in zip(lines, marks, strict=True))
    found, row = b"", 0
    for block in blocks(frames):
        part = numpy.array([MARKS[mark] for mark in marks[row : row + len(block)]], "u1") if marked else None
        found += kernels.render(block, part)
        row += len(block)
    assert found == lines


def blocks(frames):
    for start in range(0, len(frames), 1000):
        yield from from_frames(frames[start : start + 1000])


@pytest.mark.parametrize(
    "frame",
    [
        (-1, "can0", 1, b""),
        (0, "can0", 0x800, b""),
        (0, "can0", -1, b""),
        (0, "can0", 2 * EXT, b""),
        (0, "can0", L.NOTICE | L.NOTICE_ACK, b"\7"),
        (-1, "can0", HAND["DROPPED"], b"\0"),
        (0, "can0", 1 << 30 | 1 << 29, b""),
        (0, "can 0", 1, b""),
        (0, "", 1, b""),
        (0, "\xe9", 1, b""),
    ],
)
def test_a_frame_that_candump_cannot_hold_is_refused_as_the_writer_refuses_it(tmp_path, frame):
    from cellwarden_tools.readers import kernels

    with pytest.raises(InputError) as theirs, open_writer(tmp_path / "x.log") as log:
        log.write(*frame)
    good = (0, "can0", 1, b"")
    for block in blocks([good, frame, good]):
        with pytest.raises(InputError) as ours:
            kernels.render(block, path=tmp_path / "x.log")
        assert str(ours.value) == str(theirs.value)


def test_nothing_is_rendered_as_nothing_and_a_length_without_its_data_is_a_mistake():
    from cellwarden_tools.readers import kernels

    (block,) = blocks([(0, "can0", 1, b"\1")])
    nothing = Block(*[column[:0] for column in block[:5]], block.channels)
    assert kernels.render(nothing) == b""
    with pytest.raises(ValueError, match="width"):
        kernels.render(Block(*block[:3], block.length + 8, *block[4:]))
