"""Text readers: hand-written lines against the frames they mean, and an account in which no line is lost."""

import io
import os
import random
import threading
import tracemalloc

import can
import pytest
from cellwarden.core import layout as L
from cellwarden_tools.errors import InputError
from cellwarden_tools.readers import EXT, FORMATS, open_log
from hypothesis import example, given, settings
from hypothesis import strategies as st


def read(text, format=None, name="-", **options):
    """(frames, account) of a log given as text or bytes."""
    data = text.encode() if isinstance(text, str) else text
    log = open_log(name, format=format, stream=io.BytesIO(data), **options)
    frames = list(log)
    balanced(log.account)
    return frames, log.account


def balanced(account):
    reasons = sum(account.skipped.values()) + sum(account.rejected.values())
    assert account.frames + reasons == account.total, f"a record was lost or counted twice: {account}"


def reasons(account):
    return dict(account.rejected)


GOOD = "(1.000000) can0 123#11\n"  # a log in which nothing is a frame is refused, so the odd lines get company

CANDUMP = [
    ("(166.000000) vcan0 21A#FE3612FE690507AD", (166_000_000, "vcan0", 0x21A, bytes.fromhex("FE3612FE690507AD"))),
    ("(1778450281.117003) can1 7FF#", (1_778_450_281_117_003, "can1", 0x7FF, b"")),
    ("(0.000001) can0 000007FF#00", (1, "can0", 0x7FF | EXT, b"\0")),
    ("(0.5) can0 1FFFFFFF#abcd", (500_000, "can0", 0x1FFFFFFF | EXT, b"\xab\xcd")),
    ("(1.123456789) can0 1ff#00", (1_123_456, "can0", 0x1FF, b"\0")),
    ("(2.000000) any-name_3 001##1" + "5A" * 64, (2_000_000, "any-name_3", 1, b"\x5a" * 64)),
    ("(2.000000) can0 001##0", (2_000_000, "can0", 1, b"")),
    ("(3.000000) can0 123#11 R", (3_000_000, "can0", 0x123, b"\x11")),
    ("(3.000000) can0 123#1122334455667788_9", (3_000_000, "can0", 0x123, bytes.fromhex("1122334455667788"))),
    ("  (3.000000)  can0  123#11  \r", (3_000_000, "can0", 0x123, b"\x11")),
]

# Error frames by the kernel's linux/can/error.h: 004 the controller (second byte 01: it lost what it received), 040 bus
# off, 100 restarted.
DROPPED, BUS_OFF = L.NOTICE | L.NOTICE_DROPPED, L.NOTICE | L.NOTICE_BUS_OFF
CANDUMP_NOTICES = [
    ("(1.500000) can0 20000004#0001000000000000", (1_500_000, "can0", DROPPED, b"\0")),
    ("(1.500000) can1 20000204#000D000000008F00", (1_500_000, "can1", DROPPED, b"\0")),
    ("(1.500000) can0 20000004#0001", (1_500_000, "can0", DROPPED, b"\0")),
    ("(1.500000) can0 20000040#0000000000000000", (1_500_000, "can0", BUS_OFF, b"\1")),
    ("(1.500000) can0 200000c8#000000F800000000 R", (1_500_000, "can0", BUS_OFF, b"\1")),
    ("(1.500000) can0 20000144#0001000000000000", (1_500_000, "can0", BUS_OFF, b"\1")),
    ("(1.500000) can0 20000100#0000000000000000", (1_500_000, "can0", BUS_OFF, b"\0")),
    ("(1.500000) can0 20000100# T", (1_500_000, "can0", BUS_OFF, b"\0")),
    ("(1.500000) can0 20000104#0041000000000000", (1_500_000, "can0", DROPPED, b"\0")),
]

CANDUMP_SKIPPED = [
    ("(1.000000) can0 123#R", "remote frame"),
    ("(1.000000) can0 123#R8", "remote frame"),
    ("(1.000000) can0 20000004#0002000000000000", "error frame"),  # what we sent was lost, not what we hear
    ("(1.000000) can0 20000004#0008000000000000", "error frame"),
    ("(1.000000) can0 20000004#00", "error frame"),
    ("(1.000000) can0 20000088#0001000000000000", "error frame"),
    ("(1.000000) can0 3FFFFEBB#FFFFFFFFFFFFFFFF", "error frame"),
    ("(1.000000) can0 123#11 T", "transmitted"),
    ("", "blank"),
    ("# made by hand", "comment"),
]

CANDUMP_REJECTED = [
    ("(1.000000) can0 123#112", "odd number of hex digits"),
    ("(1.000000) can0 123#112233445566778899", "more than 8 bytes"),
    ("(1.000000) can0 123##1" + "00" * 65, "more than 64 bytes"),
    ("(1.000000) can0 123##", "CAN FD flags are not one hex digit"),
    ("(nan) can0 123#11", "time is not a number"),
    ("(-1.000000) can0 123#11", "time is not a number"),
    ("(1e3) can0 123#11", "time is not a number"),
    ("(1.000000) can0 800#11", "identifier over 11 bits"),
    ("(1.000000) can0 12345#11", "identifier is not 3 or 8 hex digits"),
    ("(1.000000) can0 12G#11", "identifier is not 3 or 8 hex digits"),
    ("(1.000000) can0 40000000#11", "identifier over 29 bits"),
    ("(1.000000) can0 FFFFFFFF#11", "identifier over 29 bits"),
    ("(1.000000) can0 123#GG", "data is not hexadecimal"),
    ("(1.000000) can0 123", "not a candump line"),
    ("(1.000000) can0", "not a candump line"),
    ("1.000000 can0 123#11", "not a candump line"),
    ("(1.000000) can0 123#11 T R", "not a candump line"),
    ("(1.000000) can0 123#1\u0661", "data is not hexadecimal"),
    ("x" * 5000, "line over 4096 bytes"),
    ("\x00\x01", "not UTF-8/ASCII text"),
]


@pytest.mark.parametrize(("line", "frame"), CANDUMP)
def test_a_candump_line_means_its_frame(line, frame):
    assert read(line + "\n", "candump")[0] == [frame]


@pytest.mark.parametrize(("line", "notice"), CANDUMP_NOTICES)
def test_an_error_frame_that_tells_of_lost_frames_or_of_a_bus_off_comes_as_a_notice(line, notice):
    frames, account = read(GOOD + line + "\n", "candump")
    assert frames[1:] == [notice] and not account.skipped
    assert (account.frames, account.notices) == (2, 1)


def test_an_extended_identifier_with_the_bits_of_a_notice_is_a_frame():
    for ident in (0x004, 0x040, 0x100, 0x1FFFFFFF):
        frames, _ = read(f"(1.000000) can0 {ident:08X}#0001000000000000\n", "candump")
        assert [frame[2] for frame in frames] == [ident | EXT]


@pytest.mark.parametrize(("line", "reason"), CANDUMP_SKIPPED)
def test_a_candump_line_without_data_is_skipped_by_name(line, reason):
    frames, account = read(GOOD + line + "\n", "candump")
    assert len(frames) == 1 and account.skipped == {reason: 1} and not account.rejected


@pytest.mark.parametrize(("line", "reason"), CANDUMP_REJECTED)
def test_a_bad_candump_line_is_rejected_with_its_reason_and_place(line, reason):
    frames, account = read(GOOD + line + "\n" + GOOD, "candump", name="drive.log")
    assert len(frames) == 2, "reading must go on behind a bad line"
    assert reasons(account) == {reason: 1} and account.cut is None
    assert account.rejections[0][:2] == ("drive.log:2", reason)


def test_a_line_that_is_not_utf8_is_told_so():
    _, account = read(GOOD.encode() + b"(1.0) can0 123#\xff\xfe\n", "candump")
    assert reasons(account) == {"not UTF-8/ASCII text": 1}


def test_transmitted_frames_come_when_asked_for():
    text = GOOD + "(2.000000) can0 456#22 T\n"
    assert [frame[2] for frame in read(text)[0]] == [0x123]
    assert [frame[2] for frame in read(text, include_tx=True)[0]] == [0x123, 0x456]


@pytest.mark.parametrize(
    ("last", "frames"),
    [
        ("(2.000000) can0 123#1122", 0),  # may have been longer
        ("(2.000000) can0 123#1122334455667788", 1),  # cannot have been
        ("(2.000000) can0 123#1122 R", 1),
        ("(2.000000) can0 20000040#0000", 0),
        ("(2.000000) can0 20000040#0000000000000000", 1),
        ("(2.000000) can0 123#112", 0),
        ("(2.0", 0),
    ],
)
def test_a_last_line_that_may_be_cut_gives_no_frame_and_is_reported(last, frames):
    got, account = read(GOOD + last)
    assert len(got) == 1 + frames
    if not frames:
        assert reasons(account) == {"cut off": 1} and account.cut == "the last line (line 2) is cut off"
    else:
        assert account.cut is None


@pytest.mark.parametrize("pack", ["gz", "xz", "zst"])
@pytest.mark.parametrize("piped", [False, True])
def test_a_compressed_log_reads_like_the_plain_one_and_its_cut_is_reported(tmp_path, pack, piped):
    rng = random.Random(1)
    lines = [
        f"({at}.000000) can0 {rng.randrange(0x800):03X}#{rng.randbytes(8).hex().upper()}\n" for at in range(20_000)
    ]
    text = "".join(lines)
    packed = compress(pack, text.encode())
    path = tmp_path / f"drive.log.{pack}"
    path.write_bytes(packed)

    def opened(data):
        path.write_bytes(data)
        return open_log("-", stream=io.BytesIO(data)) if piped else open_log(path)

    whole = list(opened(packed))
    assert whole == read(text)[0] and len(whole) == 20_000
    twice = opened(packed + packed)
    assert list(twice) == whole * 2 and twice.account.cut is None, "streams laid end to end are one log"
    for percent in range(30, 100, 10):  # zstd gives nothing before its first block of 128 kB is whole
        log = opened(packed[: len(packed) * percent // 100])
        assert list(log) == whole[: log.account.frames]
        balanced(log.account)
        assert "ends early" in log.account.cut
        assert log.account.frames > 200 * (percent - 25), "the frames before the cut must be delivered"
    with pytest.raises(InputError, match="ends early"):
        list(opened(packed[:20]))
    hurt = bytearray(packed)
    hurt[len(hurt) // 2] ^= 0xFF
    log = opened(bytes(hurt))
    frames = list(log)
    balanced(log.account)
    assert log.account.cut or frames != whole


def compress(pack, data):
    if pack == "gz":
        import gzip

        return gzip.compress(data)
    if pack == "xz":
        import lzma

        return lzma.compress(data)
    import zstandard

    return zstandard.ZstdCompressor().compress(data)


SAVVY = "Time Stamp,ID,Extended,Bus,LEN,D1,D2,D3,D4,D5,D6,D7,D8\n"
SAVVY_DIR = "Time Stamp,ID,Extended,Dir,Bus,LEN,D1,D2,D3,D4,D5,D6,D7,D8\n"
SAVVY_GOOD = "1,00000001,false,0,1,AA,00,00,00,00,00,00,00,\n"

SAVVYCAN = [
    (
        SAVVY,
        "166064000,0000021A,false,0,8,FE,36,12,FE,69,05,07,AD,",
        (166064000, "0", 0x21A, bytes.fromhex("FE3612FE690507AD")),
    ),
    (SAVVY, "5,0000027A,false,1,2,30,31,0D,8C,00,00,00,00,", (5, "1", 0x27A, b"\x30\x31")),
    (SAVVY, "5,1ABCDEF0,true,2,0,", (5, "2", 0x1ABCDEF0 | EXT, b"")),
    (SAVVY, "5,27a,0,2,2,1,f", (5, "2", 0x27A, b"\x01\x0f")),
    (SAVVY, "5,00000001,false,0,12," + "11," * 12, (5, "0", 1, b"\x11" * 12)),
    (
        SAVVY_DIR,
        "1619977,000002C4,false,Rx,0,8,00,00,FF,00,C8,64,FF,CF,\r",
        (1619977, "0", 0x2C4, bytes.fromhex("0000FF00C864FFCF")),
    ),
]

SAVVYCAN_REJECTED = [
    ("x,00000001,false,0,1,AA,", "time is not a number"),
    ("1.5,00000001,false,0,1,AA,", "time is not a number"),
    ("1,0000000G,false,0,1,AA,", "identifier is not hexadecimal"),
    ("1,00000800,false,0,1,AA,", "identifier over 11 bits"),
    ("1,20000000,true,0,1,AA,", "identifier over 29 bits"),
    ("1,00000001,maybe,0,1,AA,", "Extended is neither true nor false"),
    ("1,00000001,false,0,8,11,22,33,44,55,66,77,", "length says 8 but 7 bytes follow"),
    ("1,00000001,false,0,9,11,22,33,44,55,66,77,88,99,", "length is not one of CAN or CAN FD"),
    ("1,00000001,false,0,2,11,GG,", "data is not hexadecimal"),
    ("1,00000001", "too few columns"),
    ("hello", "too few columns"),
]


@pytest.mark.parametrize(("header", "line", "frame"), SAVVYCAN)
def test_a_savvycan_row_means_its_frame(header, line, frame):
    frames, account = read(header + line + "\n")
    assert frames == [frame] and account.skipped == {"header": 1}


@pytest.mark.parametrize(("line", "reason"), SAVVYCAN_REJECTED)
def test_a_bad_savvycan_row_is_rejected_with_its_reason_and_place(line, reason):
    frames, account = read(SAVVY + SAVVY_GOOD + line + "\n" + SAVVY_GOOD, name="drive.csv")
    assert len(frames) == 2 and reasons(account) == {reason: 1}
    assert account.rejections[0][:2] == ("drive.csv:3", reason)


def test_savvycan_rows_marked_tx_are_the_testers_own():
    text = SAVVY_DIR + "1,00000001,false,Rx,0,1,AA,\n2,00000002,false,Tx,0,1,BB,\n3,00000003,false,Up,0,1,BB,\n"
    frames, account = read(text)
    assert [frame[2] for frame in frames] == [1] and account.skipped["transmitted"] == 1
    assert reasons(account) == {"direction is neither Rx nor Tx": 1}
    assert [frame[2] for frame in read(text, include_tx=True)[0]] == [1, 2]


BOLT = "timestamp_utc,bus,direction,can_id_hex,dlc,data_hex,is_extended,is_fd,is_brs\n"
T0 = 1_778_450_281_000_000  # 2026-05-10 21:58:01 UTC

CSV = [
    (
        BOLT,
        "2026-05-10 21:58:01.117,can_fd,rx,0x202,3,15F0F5,f,f,f",
        (T0 + 117_000, "can_fd", 0x202, bytes.fromhex("15F0F5")),
    ),
    (BOLT, "2026-05-10T21:58:01,a,rx,1,0,,t,f,f", (T0, "a", 1 | EXT, b"")),
    (BOLT, "2026-05-10 23:58:01.5+02:00,a,rx,001,1,00,f,f,f", (T0 + 500_000, "a", 1, b"\0")),
    ("time,id,data\n", "1.5,7FF,11 22", (1_500_000, "", 0x7FF, b"\x11\x22")),
    ("time,id,data\n", "1778450281.117003,800,", (T0 + 117_003, "", 0x800 | EXT, b"")),
    ("Time [ms];Channel;ID;Payload\n", "12.5;2;0x10;0xAABB", (12_500, "2", 0x10, b"\xaa\xbb")),
    ("timestamp_us\tcan_id_dec\tdata\n", "17\t1000\tAA", (17, "", 1000, b"\xaa")),
    ("time_ns,id,data\n", "1999,1,AA", (1, "", 1, b"\xaa")),
    ('"time","id","data"\n', '"1.0","12","00 ff"', (1_000_000, "", 0x12, b"\0\xff")),
    (
        "timestamp,arbitration_id,extended,remote,error,dlc,data\n",
        "1.0,0x100,1,0,0,2,qrs=",
        (1_000_000, "", 0x100 | EXT, b"\xaa\xbb"),
    ),
]

CSV_REJECTED = [
    ("2026-05-10 21:58:01.117,a,rx,0x202,8,15F0F5,f,f,f", "length says 8 but 3 bytes follow"),
    ("2026-05-10 21:58:01.117,a,rx,0x202,1,15F,f,f,f", "odd number of hex digits"),
    ("2026-05-10 21:58:01.117,a,rx,0x202,1,1Z,f,f,f", "data is not hexadecimal"),
    ("2026-13-10 21:58:01.117,a,rx,0x202,1,15,f,f,f", "time is not a date and time"),
    ("nan,a,rx,0x202,1,15,f,f,f", "time is not a number"),
    ("1.0,a,rx,0x800,1,15,f,f,f", "identifier over 11 bits"),
    ("1.0,a,rx,0x20000000,1,15,t,f,f", "identifier over 29 bits"),
    ("1.0,a,up,0x1,1,15,f,f,f", "direction is neither rx nor tx"),
    ("1.0,a,rx,0x1,1,15,f", "7 columns where the header has 9"),
    ("1.0,a,rx,zz,1,15,f,f,f", "identifier is not hexadecimal"),
    ("1.0,a,rx,-1,1,15,f,f,f", "identifier is negative"),
]


@pytest.mark.parametrize(("header", "line", "frame"), CSV)
def test_a_csv_row_means_its_frame_by_the_header(header, line, frame):
    assert read(header + line + "\n")[0] == [frame]


@pytest.mark.parametrize(("line", "reason"), CSV_REJECTED)
def test_a_bad_csv_row_is_rejected_with_its_reason(line, reason):
    good = "1.0,a,rx,0x1,1,15,f,f,f\n"
    frames, account = read(BOLT + good + line + "\n" + good)
    assert len(frames) == 2 and reasons(account) == {reason: 1}


def test_a_csv_header_without_the_needed_columns_is_named_with_what_was_found_and_needed():
    with pytest.raises(InputError, match=r"no column for time in `ID,Data Bytes`; expected time: .*timestamp"):
        read("ID,Data Bytes\n0000021A,FE 36\n", "csv")
    with pytest.raises(InputError, match=r"no column for id and data in `Time;Volt`.*table"):
        read("Time;Volt\n1;2\n", "csv")


ASC_HEAD = (
    "date Thu Nov 9 20:36:33 2023\nbase hex  timestamps absolute\ninternal events logged\n"
    "Begin Triggerblock Thu Nov 9 20:36:33 2023\n"
)
ASC_END = "End TriggerBlock\n"
ASC_GOOD = "   0.100000 1  123             Rx   d 1 AA\n"

ASC = [
    ("   0.153600 0  594\tRx   d 8 34 21 34 21 A0 61 04 20 ", (153_600, "0", 0x594, bytes.fromhex("34213421A0610420"))),
    ("  10.000004 2  18EBFF00x       Rx   d 2 01 02  Length = 0 BitCount = 4 ID = 418119424x",
     (10_000_004, "2", 0x18EBFF00 | EXT, b"\1\2")),
    ("   1.5 1 7FF Rx d 0", (1_500_000, "1", 0x7FF, b"")),
    ("   1.5 1 7FF Rx d F 00 00 00 00 00 00 00 00", (1_500_000, "1", 0x7FF, bytes(8))),
    ("   2.000000 CANFD   3 Rx        123                        1 0 9 12 " + "AB " * 12 + " 0 0 303000 0 0 0 0 0",
     (2_000_000, "3", 0x123, b"\xab" * 12)),
    ("   2.000000 CANFD   3 Rx   1ABCDx  Name_Of_It  0 0 1 1 7F  0 0 1000 0 0 0 0 0",
     (2_000_000, "3", 0x1ABCD | EXT, b"\x7f")),
    ("   2.000000 CANFD   3 Rx   123    0 0 0 0  0 0 1000 0 0 0 0 0", (2_000_000, "3", 0x123, b"")),
]  # fmt: skip

ASC_SKIPPED = [
    ("   0.2 1 123 Tx d 1 AA", "transmitted"),
    ("   0.2 1 123 TxRq d 1 AA", "transmit request"),
    ("   0.2 1 123 Rx r", "remote frame"),
    ("   0.2 1 123 Rx r 8", "remote frame"),
    ("   0.2 CANFD 1 Rx 123 0 0 8 0 0 0 10 0 0 0 0 0", "remote frame"),
    ("   0.2 1 ErrorFrame", "error frame"),
    ("   0.2 CANFD 1 Rx ErrorFrame Not Acknowledge error", "error frame"),
    ("   0.2 Start of measurement", "event"),
    ("   0.2 1 Statistic: D 0 R 0 XD 0 XR 0 E 0 O 0 B 0.00%", "event"),
    ("   0.2 CAN 1 Status:chip status error active", "event"),
    ("// 0.2 1 123 Rx d 1 AA", "comment"),
    ("", "blank"),
]

ASC_REJECTED = [
    ("   0.2 1 123 Rx d 8 11 22 33 44 55 66 77", "length says 8 but 7 bytes follow"),
    ("   0.2 1 123 Rx d 1 11 22", "length says 1 but 2 bytes follow"),
    ("   0.2 1 123 Rx d 2 11 2", "data is not hexadecimal"),
    ("   0.2 1 123 Rx d 2 11 GG", "data is not hexadecimal"),
    ("   0.2 1 800 Rx d 1 11", "identifier over 11 bits"),
    ("   0.2 1 20000000x Rx d 1 11", "identifier over 29 bits"),
    ("   0.2 1 12G Rx d 1 11", "identifier is not hexadecimal"),
    ("   0.2 1 123 Rx", "too few columns"),
    ("   x.2 1 123 Rx d 1 11", "not a line of a Vector ASCII log"),
    ("   -0.2 1 123 Rx d 1 11", "time is not a number"),
    ("   0.2 CANFD 1 Rx 123 1 0 9 8 " + "AB " * 8, None),
    ("   0.2 CANFD 1 Rx 123 1 0 9 16 " + "AB " * 16, "length code 9 does not mean 16 bytes"),
    ("   0.2 CANFD 1 Rx 123 1 0 9 12 AB CD", "length says 12 but 2 bytes follow"),
    ("   0.2 CANFD 1 Rx", "a CAN FD line that does not parse"),
    ("0.2 12", "not a line of a Vector ASCII log"),
    ("garbage", "not a line of a Vector ASCII log"),
]


@pytest.mark.parametrize(("line", "frame"), ASC)
def test_a_vector_ascii_line_means_its_frame(line, frame):
    frames, account = read(ASC_HEAD + line + "\n" + ASC_END)
    assert frames == [frame] and account.skipped == {"header": 5} and account.cut is None


@pytest.mark.parametrize(("line", "reason"), ASC_SKIPPED)
def test_a_vector_ascii_line_without_data_is_skipped_by_name(line, reason):
    frames, account = read(ASC_HEAD + ASC_GOOD + line + "\n" + ASC_END)
    assert len(frames) == 1 and account.skipped == {"header": 5, reason: 1} and not account.rejected


@pytest.mark.parametrize(("line", "reason"), ASC_REJECTED)
def test_a_bad_vector_ascii_line_is_rejected_with_its_reason(line, reason):
    frames, account = read(ASC_HEAD + ASC_GOOD + line + "\n" + ASC_GOOD + ASC_END, name="x.asc")
    if reason is None:  # a classic frame in a CAN FD line: codes over 8 mean 8 bytes
        assert len(frames) == 3
        return
    assert len(frames) == 2 and reasons(account) == {reason: 1}
    assert account.rejections[0][:2] == ("x.asc:6", reason)


def test_vector_ascii_in_decimal_is_read_in_decimal():
    text = "date x y\nbase dec  timestamps absolute\n"
    text += " 0.1 1 1000 Rx d 2 10 255\n 0.1 1 418119424x Rx d 1 0\n 0.2 1 1 Rx d 1 256\n"
    frames, account = read(text, "asc")
    assert frames == [(100_000, "1", 1000, b"\x0a\xff"), (100_000, "1", 418119424 | EXT, b"\0")]
    assert reasons(account) == {"a data byte is over 255": 1}


def test_relative_vector_ascii_stamps_add_up_over_every_line():
    text = "base hex  timestamps relative\n 0.1 1 1 Rx d 0\n 0.000001 1 ErrorFrame\n 0.2 Start of x\n"
    text += " 0.0000005 1 2 Rx d 0\n 0.0000005 1 2 Rx d 0\n"
    assert [frame[0] for frame in read(text, "asc")[0]] == [100_000, 300_001, 300_002]


def test_a_vector_ascii_log_without_its_end_is_cut():
    _, account = read(ASC_HEAD + ASC_GOOD)
    assert account.cut == "the trigger block has no end: the log stops before its `End TriggerBlock`"


TRC = {  # from PEAK's description of the format, chapter by chapter
    "1.0": """;##########################################################################
;   C:\\test.trc
;---+--   ----+----  ----+---  +  -+ -- -- -- -- -- -- --
     1)      1841  0001  8  00 00 00 00 00 00 00 00
     2)      1842  0008  4  00 00 00 FF
     3)      1843  FFFFFFFF  4  00 00 00 04 -- -- -- --  BUSLIGHT
     4)      1844  000000FF  2  01 02
     5)      1845  0300  4  RTR
     6)      1846  0300  4  01 02 03
""",
    "1.1": """;$FILEVERSION=1.1
;$STARTTIME=37704.5364870833
;---+--   ----+----  --+--  ----+---  +  -+ -- -- -- -- -- -- --
     1)      1841.0  Rx     0001  8  00 00 00 00 00 00 00 00
     2)      1842.5  Rx     0008  4  00 00 00 FF
     3)      1843.0  Warng  FFFFFFFF  4  00 00 00 04  BUSLIGHT
     4)      1844.0  Rx     000000FF  2  01 02
     5)      1845.0  Rx     0300  4  RTR
     6)      1845.1  Tx     0300  1  55
     7)      1845.2  Error  0008  4  00 19 08 08
     8)      1846.0  Rx     0300  4  01 02 03
""",
    "1.2": """;$FILEVERSION=1.2
;$STARTTIME=39878.6772258947
     1)      1841.000 1  Rx     0001  8  00 00 00 00 00 00 00 00
     2)      1842.500 1  Rx     0008  4  00 00 00 FF
     3)      1843.000 1  Warng  FFFFFFFF  4  00 00 00 04  BUSLIGHT
     4)      1844.000 1  Rx     000000FF  2  01 02
     5)      1845.000 1  Rx     0300  4  RTR
     6)      1846.000 1  Rx     0300  4  01 02 03
""",
    "1.3": """;$FILEVERSION=1.3
;$STARTTIME=41234.1234
     1)      1841.000 1  Rx        0001 -  8    00 00 00 00 00 00 00 00
     2)      1842.500 1  Rx        0008 -  4    00 00 00 FF
     3)      1843.000 1  Warng FFFFFFFF -  4    00 00 00 04  BUSLIGHT
     4)      1844.000 1  Rx    000000FF -  2    01 02
     5)      1845.000 1  Rx        0300 -  4    RTR
     6)      1846.000 1  Rx        0300 -  4    01 02 03
""",
    "2.0": """;$FILEVERSION=2.0
;$STARTTIME=43008.920986006946
;$COLUMNS=N,O,T,I,d,l,D
      1      1841.000 DT     0001 Rx 8  00 00 00 00 00 00 00 00
      2      1842.500 DT     0008 Rx 4  00 00 00 FF
      3      1843.000 ST          Rx    00 00 00 04
      4      1844.000 DT 000000FF Rx 2  01 02
      5      1845.000 RR     0300 Rx 4
      6      1845.100 DT     0300 Tx 1  55
      7      1845.200 ER          Rx    04 00 02 00 00
      8      1846.000 DT     0300 Rx 4  01 02 03
""",
    "2.1": """;$FILEVERSION=2.1
;$STARTTIME=43008.920986006946
;$COLUMNS=N,O,T,B,I,d,R,L,D
      1      1841.000 DT 1      0001 Rx -  8    00 00 00 00 00 00 00 00
      2      1842.500 DT 1      0008 Rx -  4    00 00 00 FF
      3      1843.000 ST 1      -    Rx -  4    00 00 00 04
      4      1844.000 DT 1  000000FF Rx -  2    01 02
      5      1845.000 RR 1      0300 Rx -  4
      6      1846.000 DT 1      0300 Rx -  4    01 02 03
""",
}


@pytest.mark.parametrize("version", TRC)
def test_a_pcan_trace_of_each_version_means_the_same_frames(version):
    frames, account = read(TRC[version])
    half = 0 if version == "1.0" else 500
    assert frames == [
        (1_841_000, "1", 1, bytes(8)),
        (1_842_000 + half, "1", 8, b"\0\0\0\xff"),
        (1_844_000, "1", 0xFF | EXT, b"\1\2"),
    ]
    assert reasons(account) == {"length says 4 but 3 bytes follow": 1}
    assert account.skipped["remote frame"] == 1 and account.skipped["event"] == 1
    if version in ("1.1", "2.0"):
        assert account.skipped["transmitted"] == 1 and account.skipped["error frame"] == 1


def test_a_pcan_trace_with_can_fd_has_its_lengths_by_code():
    text = ";$FILEVERSION=2.1\n;$STARTTIME=1\n;$COLUMNS=N,O,T,B,I,d,R,L,D\n"
    text += f"1 1.5 FD 2 0001 Rx - 9 {'AB ' * 12}\n2 2.5 FB 2 0001 Rx - 15 {'CD ' * 64}\n"
    text += f"3 3.5 DT 2 0001 Rx - 9 {'EF ' * 8}\n"
    assert read(text)[0] == [(1500, "2", 1, b"\xab" * 12), (2500, "2", 1, b"\xcd" * 64), (3500, "2", 1, b"\xef" * 8)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("@ TEXT @ 2 @ 64 @ 46,016\t1\t0004\n", "no PCAN trace.*another tool"),
        (";$FILEVERSION=7.0\n1 1 1\n", "version 7.0; expected one of 1.0"),
        (";$FILEVERSION=2.0\n;$COLUMNS=N,Z\n 1 1\n", "columns `N,Z` of the PCAN trace"),
        (";$FILEVERSION=2.0\n 1 1\n", "columns `` of the PCAN trace"),
    ],
)
def test_a_trace_that_pcan_did_not_write_is_refused_in_one_line(text, message):
    with pytest.raises(InputError, match=message) as error:
        read(text, "trc")
    assert "\n" not in str(error.value)


REFUSED = [
    ("drive.log", b"", "is empty"),
    ("drive.log", b"\x89PNG\r\n\x1a\n" + bytes(100), "seems to be a picture"),
    ("drive.csv", bytes(range(256)) * 10, "no column for time and id and data"),
    ("drive.asc", random.Random(5).randbytes(5000), "seems to be "),
    ("drive.log", b"***BUSMASTER Ver 2.4.0***\n1 2 3\n", "seems to be a BUSMASTER log"),
    ("drive.log", b"LOGG" + bytes(200), "seems to be a Vector BLF log"),
    (
        "drive.blf",
        b"(1.000000) can0 123#11\n",
        r"no whole BLF header; it seems to be text that begins '\(1.000000\) can0",
    ),
    ("drive.blf", b"LOGG" + bytes(20), "no whole BLF header"),
    ("drive.mf4", b"(1.000000) can0 123#11\n", "no MDF file"),
    ("drive.mf4", b"MDF     4.10    " + bytes(100), "cannot be opened as MF4"),
    (
        "drive.log",
        b"hello\nworld\n",
        r"no frame in it; it seems to be text that begins 'hello' \(records: 2 not a candump line\)",
    ),
    ("drive.log", b"\n\n# nothing\n", "no frame in it"),
    ("drive.log.gz", b"\x1f\x8b\x08\0\0\0", "holds nothing"),
    ("drive.log", bytes(3_000_000), "no frame in the first 1 MiB; it seems to be binary data"),
    ("drive.log", b"nothing\n" * 500_000, "no frame in the first 1 MiB"),
    ("drive.txt", b"(1.000000) can0 123#11\n", r"the suffix `.txt` says no log format; expected \.asc"),
    ("drive", b"(1.000000) can0 123#11\n", "a log without a suffix"),
    ("drive.gz", b"(1.000000) can0 123#11\n", "a log without a suffix"),
]


@pytest.mark.parametrize(("name", "data", "message"), REFUSED)
def test_a_file_that_is_no_log_is_refused_in_one_line(tmp_path, capfd, name, data, message):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(InputError, match=message) as error:
        list(open_log(path))
    assert "\n" not in str(error.value) and str(path) in str(error.value)
    del error
    out = capfd.readouterr()
    assert "Traceback" not in out.out + out.err


def test_a_missing_file_a_folder_and_an_unknown_format_are_one_line_each(tmp_path):
    with pytest.raises(InputError, match=r"cannot be read \(No such file"):
        open_log(tmp_path / "gone.log")
    (tmp_path / "folder.log").mkdir()
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory"):
        open_log(tmp_path / "folder.log")
    with pytest.raises(InputError, match=r"no log format is called `candmp`.*did you mean `candump`"):
        open_log(tmp_path / "x.log", format="candmp")
    with pytest.raises(InputError, match=f"its format cannot be told.*{', '.join(FORMATS)}.*--format"):
        open_log("-", stream=io.BytesIO(b"hello\n"))


@pytest.mark.parametrize("package", ["zstandard", "asammdf"])
def test_a_missing_library_is_named_with_how_to_get_it(tmp_path, monkeypatch, package):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    data = compress("xz", b"")[:0] + (b"\x28\xb5\x2f\xfd123456" if package == "zstandard" else b"UnFinMF 4.11")
    path = tmp_path / ("a.log.zst" if package == "zstandard" else "a.mf4")
    path.write_bytes(data)
    with pytest.raises(InputError, match="pip install"):
        list(open_log(path))


class Slow(io.BytesIO):
    def read1(self, size=-1):
        return self.readline()


def test_standard_input_that_begins_with_comments_is_known_however_slowly_it_comes():
    log = open_log("-", stream=Slow(b"# made by hand\n\n" + GOOD.encode()))
    assert len(list(log)) == 1 and log.account.total == 3


def test_a_log_under_another_formats_suffix_is_told_how_to_read(tmp_path):
    path = tmp_path / "x.log"
    path.write_text(SAVVY + SAVVY_GOOD)
    with pytest.raises(InputError, match=r"seems to be a SavvyCAN CSV log.*read it with --format savvycan"):
        list(open_log(path))
    assert len(list(open_log(path, format="savvycan"))) == 1


def test_standard_input_is_known_by_its_first_lines():
    assert [
        name for name, text in SAMPLES.items() if open_log("-", stream=io.BytesIO(text.encode())).format != name
    ] == []


SAMPLES = {
    "candump": GOOD * 20,
    "savvycan": SAVVY + SAVVY_GOOD * 20,
    "csv": BOLT + "2026-05-10 21:58:01.117,can_fd,rx,0x202,3,15F0F5,f,f,f\n" * 20,
    "asc": ASC_HEAD + ASC_GOOD * 20 + ASC_END,
    "trc": TRC["2.1"],
}


@pytest.mark.parametrize("format", SAMPLES)
def test_a_text_log_cut_anywhere_gives_a_prefix_or_one_line(format):
    text = SAMPLES[format]
    whole, _ = read(text)
    for end in range(len(text)):
        try:
            frames, account = read(text[:end], format)
        except InputError as error:
            assert "\n" not in str(error)
            continue
        assert frames == whole[: len(frames)], f"cut at {end}, a frame came out that the log never held: {frames[-1]}"
        if text[end - 1] != "\n" and text[end] not in "\r\n, " and account.frames:
            assert account.cut or frames == whole[: text[:end].count("\n")] or account.skipped


def test_a_log_with_bytes_of_every_kind_between_its_lines_still_gives_its_frames():
    junk = b"".join(bytes([byte]) * 3 + b"\n" for byte in range(256) if byte not in (10,))
    frames, account = read(GOOD.encode() + junk + GOOD.encode())
    assert len(frames) == 2 and account.total == 257


class Endless(io.RawIOBase):
    """A stream of `block` that never ends, or ends behind `size` bytes."""

    def __init__(self, head, block, size=None):
        self.head, self.block, self.left = head, block, size

    def read(self, size=-1):
        if self.head:
            head, self.head = self.head, b""
            return head
        if self.left is not None:
            if self.left <= 0:
                return b""
            self.left -= len(self.block)
        return self.block


@pytest.mark.parametrize("format", [name for name in FORMATS if name != "table"])
def test_an_endless_stream_without_a_frame_is_given_up_in_little_memory(format):
    heads = {"savvycan": SAVVY.encode(), "csv": BOLT.encode(), "asc": ASC_HEAD.encode(), "trc": b";##\n"}
    heads |= {"blf": b"LOGG" + (144).to_bytes(4, "little") + bytes(136)}
    tracemalloc.start()
    with pytest.raises(InputError, match=r"no frame|no object|no MDF"):
        list(open_log("-", format, stream=Endless(heads.get(format, b""), bytes(1 << 16))))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20, f"{peak >> 20} MiB for nothing"


@pytest.mark.long
def test_a_long_pipe_stays_flat_in_memory_and_a_line_without_end_does_not_grow():
    block = GOOD.encode() * 2000
    bomb = io.BytesIO(compress("zst", block * 100))
    tracemalloc.start()
    assert sum(1 for _ in open_log("-", stream=bomb)) == 200_000
    log = open_log("-", stream=Endless(block, block, len(block) * 50))
    count = sum(1 for _ in log)
    assert count == 2000 * 51
    log = open_log("-", stream=Endless(GOOD.encode(), b"x" * (1 << 16), 1 << 26))
    assert len(list(log)) == 1 and reasons(log.account) == {"line over 4096 bytes": 1}
    assert log.account.cut == "the last line (line 2) has no end"
    balanced(log.account)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 48 << 20  # a kilobyte of zstd may hold 32 MB


def test_frames_of_a_slow_pipe_come_as_they_are_written():
    reader, writer = os.pipe()
    seen = threading.Event()

    def feed():
        with open(writer, "wb", buffering=0) as out:
            out.write(GOOD.encode())
            assert seen.wait(20), "the first frame waited for more of them"
            out.write(GOOD.encode())

    thread = threading.Thread(target=feed)
    thread.start()
    with open(reader, "rb") as stream:
        frames = iter(open_log("-", stream=stream))
        assert next(frames)[2] == 0x123
        seen.set()
        assert len(list(frames)) == 1
    thread.join()


def test_reading_twice_is_a_mistake_not_an_empty_log():
    log = open_log("-", stream=io.BytesIO(GOOD.encode()))
    list(log)
    with pytest.raises(ValueError, match="read once"):
        list(log)


def python_can(line):
    """python-can's reading of one candump line: (seconds, channel, id, data), or None where it finds no data frame."""
    try:
        messages = list(can.CanutilsLogReader(io.StringIO(line + "\n")))
    except Exception:
        return None
    if len(messages) != 1:
        return None
    m = messages[0]
    if m.is_remote_frame or m.is_error_frame:
        return None
    return m.timestamp, str(m.channel), m.arbitration_id | (EXT if m.is_extended_id else 0), bytes(m.data)


MUTATIONS = st.lists(
    st.tuples(st.integers(0, 80), st.sampled_from("0123456789ABCDEFabcdefRT#() .x\r\t_é\0")), max_size=3
)


@settings(derandomize=True, max_examples=400, deadline=None)
@given(st.sampled_from([line for line, _ in CANDUMP + CANDUMP_SKIPPED]), MUTATIONS)
@example("(1.000000) can0 123#112233445566778", [])
def test_a_mutated_candump_line_is_accounted_for_and_read_as_python_can_reads_it(line, mutations):
    for at, mark in mutations:
        line = line[:at] + mark + line[at + 1 :]
    frames, _ = read(GOOD + line + "\n" + GOOD, "candump", include_tx=True)
    for t_us, *rest in frames[1:-1]:
        theirs = python_can(line)
        if theirs and not rest[1] >> 30:  # it takes most error frames for data frames
            assert abs(theirs[0] - t_us / 1e6) < 1.1e-6 and list(theirs[1:]) == rest


def oracle(reader, text):
    """python-can's data frames of a whole log as (channel, id, data), or None where it gives up."""
    try:
        found = list(reader(io.StringIO(text)))
    except Exception:
        return None
    found = [m for m in found if not m.is_error_frame and not m.is_remote_frame]
    return [(m.arbitration_id | (EXT if m.is_extended_id else 0), bytes(m.data)) for m in found]


@settings(derandomize=True, max_examples=400, deadline=None)
@given(st.sampled_from([line for line, _ in ASC + ASC_SKIPPED]), MUTATIONS)
def test_a_mutated_vector_ascii_line_is_read_as_python_can_reads_it(line, mutations):
    for at, mark in mutations:
        line = line[:at] + mark + line[at + 1 :]
    text = ASC_HEAD + ASC_GOOD + line + "\n" + ASC_GOOD
    frames, _ = read(text, "asc", include_tx=True)
    theirs = oracle(can.ASCReader, text)
    if len(frames) == 3 and theirs and len(theirs) == 3:
        assert theirs == [frame[2:] for frame in frames]


@settings(derandomize=True, max_examples=400, deadline=None)
@given(st.sampled_from([version for version in TRC if version != "1.2"]), st.integers(0, 20), MUTATIONS)
def test_a_mutated_pcan_trace_is_read_as_python_can_reads_it(version, row, mutations):
    head = [line for line in TRC[version].splitlines() if line.startswith(";")]
    rows = [line for line in TRC[version].splitlines() if not line.startswith(";")][:-1]
    line = rows[row % len(rows)]
    for at, mark in mutations:
        line = line[:at] + mark + line[at + 1 :]
    text = "\n".join([*head, rows[0], line, rows[0], ""])
    frames, _ = read(text, "trc", include_tx=True)
    theirs = oracle(can.TRCReader, text)
    if len(frames) == 3 and theirs and len(theirs) == 3:
        assert theirs == [frame[2:] for frame in frames]


def test_a_version_line_in_the_middle_of_a_trace_changes_nothing():
    frames, _ = read(TRC["2.1"])
    middle = TRC["2.1"].replace("      4 ", ";$FILEVERSION=9\n      4 ")
    assert read(middle)[0] == frames


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.sampled_from(sorted(SAMPLES)), st.lists(st.tuples(st.integers(0, 3000), st.binary(max_size=4)), max_size=6))
def test_mutated_logs_never_break_the_account(format, mutations):
    data = bytearray(SAMPLES[format].encode())
    for at, mark in mutations:
        data[at : at + len(mark)] = mark
    try:
        read(bytes(data), format)
    except InputError as error:
        assert "\n" not in str(error)
