"""Recorded tables: a row is the frames it says it is, nothing that is no value becomes one, and no row is lost.

Wanted values are written by hand or computed with `decimal`; the reader computes with fractions.
"""

import io
import json
import lzma
import re
import zoneinfo
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal

import pyarrow
import pytest
from cellwarden_tools.cli import run
from cellwarden_tools.compiler.image import compile_profile, load_image
from cellwarden_tools.compiler.profile import load_profile
from cellwarden_tools.decode import ProfileRows
from cellwarden_tools.engines import open_engine
from cellwarden_tools.errors import InputError
from cellwarden_tools.readers import open_log
from cellwarden_tools.replay import OF_PROBES, Replay
from cellwarden_tools.vehicle import Vehicle
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import csv as arrow_csv
from pyarrow import parquet

VEHICLE = """
[vehicle]
name = "two"
chemistry = "nmc"
cells = 2
probes = 2
"""
TABLE = """
[table]
time = "when"
timezone = "UTC"
period_s = 1
pack_voltage = "volts"
pack_current = { column = "amps", sign = -1 }
insulation = { column = "iso", unit = "kohm", invalid = [65535] }
charging = { column = "charge", true = [1, 2], invalid = [255] }
cell_voltage = { column = "V_{n}", invalid = [66.535] }
temperature = { column = "T_{n}", offset = -40, invalid = [255], unfitted = [2] }
"""
HEADER = "when,volts,amps,iso,charge,V_1,V_2,T_1,T_2,T_3\n"
ROW = "2021-05-05 09:10:00,7.3,-12.5,11520,1,3.658,3.642,65,255,64\n"
T_US = 1_620_205_800_000_000  # of that row: `date -u -d '2021-05-05 09:10' +%s`


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a profile into the current folder; returns its path."""
    monkeypatch.chdir(tmp_path)

    def call(text=VEHICLE + TABLE, name="two.toml"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return call


def mapped(lines, cells=2, probes=2):
    """A profile of one or more lines of [table]."""
    vehicle = VEHICLE.replace("cells = 2", f"cells = {cells}").replace("probes = 2", f"probes = {probes}")
    return vehicle + '[table]\ntime = "when"\ntimezone = "UTC"\nperiod_s = 1\n' + lines


def opened(profile, text, name="-", **options):
    """The Log of a table given as text or bytes."""
    data = text.encode() if isinstance(text, str) else text
    return open_log(name, stream=io.BytesIO(data), table=load_profile(profile).table, **options)


def read(profile, text, **options):
    """(frames, account) of a table; they are the same in blocks, and no row is lost."""
    log = opened(profile, text, **options)
    frames = list(log)
    again = opened(profile, text, **options)
    assert [row for block in again.blocks() for row in block.rows()] == frames
    assert again.account == log.account
    account = log.account
    assert account.frames + sum(account.skipped.values()) + sum(account.rejected.values()) == account.total
    return frames, account


def values(profile, text, **options):
    """[{(quantity, number): canonical value}] of each row, as the generated decoder stores them."""
    rows = []
    for t, _, _, quantity, index, value, _ in ProfileRows(opened(profile, text, **options), compile_profile(profile)):
        if not rows or (quantity, index) in rows[-1][1]:
            rows.append((t, {}))
        rows[-1][1][quantity, index] = value
    return [found for _, found in rows]


def one(write, lines, header, text, **vehicle):
    """The values of one row of a table with one column."""
    return list(values(write(mapped(lines, **vehicle)), f"when,{header}\n2021-05-05 09:10:00,{text}\n")[0].values())


def replay(profile, path, engine="python"):
    """(events, end line)."""
    image, log = Vehicle(profile).open(path)
    with open_engine(engine, image) as opened:
        told = Replay(image, log, opened)
        events = list(told)
    return events, told.end


# --- a row is these frames --------------------------------------------------------------------------------------------


def test_a_row_is_one_frame_of_each_message_with_these_bytes(write):
    frames, account = read(write(), HEADER + ROW)
    pack = (
        (7300).to_bytes(4, "little")  # mV
        + (3_000_000 + 12_500).to_bytes(4, "little")  # mA, as table and core differ in sign; counted from -3000 A
        + (11_520_000).to_bytes(4, "little")  # ohm
        + b"\x01"  # charging
    )
    cells = (3658).to_bytes(2, "little") + (3642).to_bytes(2, "little")
    probes = (500 + 250).to_bytes(2, "little") + (500 + 240).to_bytes(2, "little")  # 0.1 degC, counted from -50
    assert frames == [(T_US, "table", 1, pack), (T_US, "table", 2, cells), (T_US, "table", 3, probes)]
    assert (account.frames, dict(account.skipped), account.total, account.unread) == (1, {"header": 1}, 2, {})


def test_a_row_without_values_is_all_ones_and_the_decoder_knows_none(write):
    row = "2021-05-05 09:10:00,,,65535,255,66.535,,255,255,255\n"
    frames, account = read(write(), HEADER + row)
    none4 = (2**29 - 1).to_bytes(4, "little")
    assert [data for *_, data in frames] == [none4 * 3 + b"\xff", b"\xff" * 4, b"\xff" * 4]
    assert account.frames == 1 and not account.unread
    assert set(values(write(), HEADER + row)[0].values()) == {None}


def test_the_decoder_gives_back_what_the_table_says(write):
    assert values(write(), HEADER + ROW) == [
        {
            ("pack_voltage", None): 7300, ("pack_current", None): 12_500, ("insulation", None): 11_520_000,
            ("charging", None): 1, ("cell_voltage", 1): 3658, ("cell_voltage", 2): 3642,
            ("temperature", 1): 250, ("temperature", 3): 240,
        }
    ]  # fmt: skip


@pytest.mark.parametrize("cells", [31, 32, 33, 64, 65, 200])
def test_any_number_of_cells_is_laid_out_in_frames_of_at_most_64_bytes(write, cells):
    profile = write(mapped('cell_voltage = "V_{n}"\n', cells))
    header = "when," + ",".join(f"V_{n}" for n in range(1, cells + 1))
    row = "2021-05-05 09:10:00," + ",".join(f"3.{n:03}" for n in range(1, cells + 1))
    frames, _ = read(profile, f"{header}\n{row}\n")
    assert b"".join(data for *_, data in frames) == b"".join(
        (3000 + n).to_bytes(2, "little") for n in range(1, cells + 1)
    )
    assert all(len(data) <= 64 for *_, data in frames) and len(frames) == -(-cells // 32)
    assert list(values(profile, f"{header}\n{row}\n")[0].values()) == [3000 + n for n in range(1, cells + 1)]


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "mv"),
    [
        ("3.658", 3658), ("3.6580", 3658), (" 3.658 ", 3658), ("+3.658", 3658), ("3658e-3", 3658), ("3.6585", 3659),
        ("3.65849999999999999999", 3658), (".5", 500), ("0.4995", 500), ("0.4994", None), ("4.999", 4999),
        ("4.9994", 4999), ("4.9995", None), ("5.000", None), ("65.535", None), ("-3.658", None), ("0", None),
        ("1e99", None), ("1e-99", None),
    ],
)  # fmt: skip
def test_a_cell_is_its_nearest_millivolt_and_only_what_a_cell_can_have(write, text, mv):
    assert one(write, 'cell_voltage = "V_{n}"\n', "V_1", text, cells=1) == [mv]


@pytest.mark.parametrize("text", ["", " ", "nan", "NaN", "NULL", "None", "NA", "N/A", "-", "--", "\\N"])
def test_what_stands_for_no_value_is_none_and_no_fault(write, text):
    profile = write(mapped('cell_voltage = "V_{n}"\n', 1))
    _, account = read(profile, f"when,V_1\n2021-05-05 09:10:00,{text}\n")
    assert account.unread == {} and account.frames == 1
    assert one(write, 'cell_voltage = "V_{n}"\n', "V_1", text, cells=1) == [None]


@pytest.mark.parametrize(
    "text", ["3,658", "abc", "3.658V", "0x0E4A", "inf", "1e", "1_000", "٣", "3.6 58", "1e9999", "3/4"]
)
def test_a_text_that_is_no_number_is_no_value_and_counted_and_its_row_stays(write, text):
    profile = write(mapped('cell_voltage = "V_{n}"\n'))
    table = f'when,V_1,V_2\n2021-05-05 09:10:00,"{text}",3.7\n2021-05-05 09:10:01,"{text}",{text.replace(",", ".")}x\n'
    frames, account = read(profile, table)
    assert account.unread == {"cell_voltage": 3} and account.frames == 2
    assert [data for *_, data in frames] == [b"\xff\xff" + (3700).to_bytes(2, "little"), b"\xff" * 4]


@pytest.mark.parametrize(
    ("lines", "text", "wanted"),
    [
        ('pack_voltage = "x"', "352.25", 352_250),
        ('pack_voltage = { column = "x", unit = "mV" }', "352250", 352_250),
        ('pack_voltage = { column = "x", scale = 0.1 }', "3522", 352_200),
        ('pack_voltage = { column = "x", scale = 0.1, offset = 10 }', "3522", 362_200),
        ('pack_voltage = { column = "x", max = 400 }', "400.0004", 400_000),
        ('pack_voltage = { column = "x", max = 400 }', "400.0005", None),
        ('pack_voltage = { column = "x", min = 100, invalid = [250] }', "99.9994", None),
        ('pack_voltage = { column = "x", min = 100, invalid = [250] }', "250.0", None),
        ('pack_voltage = { column = "x", min = 100, invalid = ["bad"] }', "bad", None),
        ('pack_current = "x"', "0.75", 750),
        ('pack_current = { column = "x", sign = -1 }', "0.75", -750),
        ('pack_current = { column = "x", scale = 0.1, offset = -1000 }', "10000", 0),
        ('pack_current = "x"', "-3000", -3_000_000),
        ('pack_current = "x"', "-3000.001", None),
        ('pack_current = "x"', "-0.0005", 0),
        ('soc = "x"', "42.3", 423),
        ('soc = { column = "x", scale = 100 }', "0.423", 423),
        ('insulation = { column = "x", unit = "ohm" }', "100000000", 100_000_000),
        ('insulation = { column = "x", unit = "Mohm" }', "100.0000006", None),
        ('max_charge_current = "x"', "120", 120_000),
        ('temperature_max = "x"', "-12.3", -123),
        ('cell_voltage_min = "x"', "3.301", 3301),
    ],
)
def test_unit_scale_offset_sign_and_range_mean_what_the_profile_page_says(write, lines, text, wanted):
    assert one(write, lines + "\n", "x", text) == [wanted]


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ('vehicle_state = { column = "x", on = [1], off = [2] }',
         {"1": 1, "1.0": 1, "2": 0, "3": None, "": None, "on": None}),
        ('charging = { column = "x", true = [1, 2], invalid = [254, 255] }',
         {"1": 1, "2.0": 1, "3": 0, "4": 0, "255": None, "": None, "x": None}),
        ('charging = { column = "x", true = ["Charging", "fast"], invalid = ["error"] }',
         {"charging": 1, " FAST": 1, "parked": 0, "error": None, "": None}),
        ('contactors = { column = "x", true = [true] }', {"true": 1, "True": 1, "false": 0, "": None}),
        ('hvil = { column = "x", ok = [1] }', {"1": 1, "0": 0, "nan": None}),
        ('bms_level = { column = "x", levels = [0, [1, 5], 2, 3] }',
         {"0": 0, "1": 1, "5": 1, "2": 2, "3": 3, "4": None, "": None}),
        ('bms_level = { column = "x", levels = ["none", "low", "high"] }', {"None": None, "low": 1, "HIGH": 2}),
    ],
)  # fmt: skip
def test_states_and_levels_are_told_by_the_values_of_the_profile(write, lines, wanted):
    assert {text: one(write, lines + "\n", "x", text)[0] for text in wanted} == wanted


COLUMNS = {  # name in the table: (quantity, number), canonical units in one of the column's, the range that counts
    "P": (("pack_voltage", None), 1000, 0, 2_000_000),
    "I": (("pack_current", None), 1000, -3_000_000, 3_000_000),
    "S": (("soc", None), 10, 0, 1100),
    "R": (("insulation", None), 1000, 0, 100_000_000),
    "V_1": (("cell_voltage", 1), 1000, 500, 4999),
    "V_2": (("cell_voltage", 2), 1000, 500, 4999),
    "V_3": (("cell_voltage", 3), 1000, 500, 4999),
    "T_1": (("temperature", 1), 10, -500, 2000),
    "T_3": (("temperature", 3), 10, -500, 2000),
}
MANY = mapped(
    'pack_voltage = "P"\npack_current = "I"\nsoc = "S"\ninsulation = { column = "R", unit = "kohm" }\n'
    'cell_voltage = "V_{n}"\ntemperature = { column = "T_{n}", unfitted = [2] }\n', 3, 2,
)  # fmt: skip
TEXTS = st.one_of(
    st.decimals(-5, 420, places=3).map(str), st.decimals(-4000, 200_000, places=5).map(str),
    st.integers(-5000, 10**7).map(str), st.floats(-1e4, 1e4).map(repr), st.sampled_from(["", "nan", "3.65", "25"]),
)  # fmt: skip


def oracle(name, text):
    """The canonical value of a column's text, None for no value: plain decimal arithmetic."""
    _, factor, low, high = COLUMNS[name]
    if text in ("", "nan"):
        return None
    value = int((Decimal(text) * factor + Decimal("0.5")).to_integral_value(ROUND_FLOOR))
    return value if low <= value <= high else None


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.data())
def test_whatever_stands_in_a_table_comes_out_of_the_decoder_unchanged(tmp_path_factory, data):
    profile = tmp_path_factory.mktemp("many") / "many.toml"
    profile.write_text(MANY)
    names = data.draw(st.permutations([*COLUMNS, "odd", "T_2"]))
    rows = data.draw(st.lists(st.lists(TEXTS, min_size=len(names), max_size=len(names)), min_size=1, max_size=5))
    lines = [f"{','.join(row)},2021-05-05 09:10:{at:02}" for at, row in enumerate(rows)]
    found = values(profile, "\n".join([",".join(names) + ",when", *lines, ""]))
    wanted = [
        {COLUMNS[name][0]: oracle(name, text) for name, text in zip(names, row, strict=True) if name in COLUMNS}
        for row in rows
    ]
    assert found == wanted


# --- time -------------------------------------------------------------------------------------------------------------


def stamps(write, times, zone="UTC", form="iso"):
    """Seconds of each row that is read, and the reasons of the others."""
    text = mapped('soc = "soc"\n').replace('timezone = "UTC"', f'timezone = "{zone}"')
    text = text.replace('time = "when"', f'time = {{ column = "when", format = "{form}" }}')
    table = "when,soc\n2001-01-01 00:00:00,50\n" if form == "iso" else "when,soc\n"
    frames, account = read(write(text), table + "".join(f"{time},50\n" for time in times))
    return [t_us / 1e6 for t_us, *_ in frames][form == "iso" :], dict(account.rejected)


@pytest.mark.parametrize(
    ("time", "zone", "iso"),
    [
        ("2021-05-05 09:10:00", "UTC", "2021-05-05T09:10:00+00:00"),
        ("2021-05-05T09:10:00.25", "UTC", "2021-05-05T09:10:00.250+00:00"),
        ("2021/5/5 9:10", "UTC", "2021-05-05T09:10:00+00:00"),
        ("2021-05-05 09:10:00", "+08:00", "2021-05-05T09:10:00+08:00"),
        ("2021-05-05 09:10:00", "-0330", "2021-05-05T09:10:00-03:30"),
        ("2021-05-05 09:10:00", "Asia/Shanghai", "2021-05-05T09:10:00+08:00"),
        ("1988-07-05 09:10:00", "Asia/Shanghai", "1988-07-05T09:10:00+09:00"),  # summer time there, then
        ("2021-07-05 09:10:00", "Europe/Berlin", "2021-07-05T09:10:00+02:00"),
        ("2021-12-05 09:10:00", "Europe/Berlin", "2021-12-05T09:10:00+01:00"),
        ("2021-05-05 09:10:00Z", "Asia/Shanghai", "2021-05-05T09:10:00+00:00"),
        ("2021-05-05 09:10:00+0530", "Asia/Shanghai", "2021-05-05T09:10:00+05:30"),
        ("1969-12-31 23:59:59.5", "UTC", "1969-12-31T23:59:59.500+00:00"),
    ],
)
def test_a_time_is_in_the_zone_it_names_and_else_in_the_profiles(write, time, zone, iso):
    assert stamps(write, [time], zone) == ([datetime.fromisoformat(iso).timestamp()], {})


@pytest.mark.parametrize(
    ("form", "time", "seconds"),
    [
        ("s", "1620205800", 1620205800), ("s", "1620205800.25", 1620205800.25), ("s", "1.6202058e9", 1620205800),
        ("ms", "1620205800250", 1620205800.25), ("us", "1620205800250000", 1620205800.25), ("s", "0", 0),
        ("s", "-1.5", -1.5), ("%Y%m%d%H%M%S", "20210505091000", 1620205800),
        ("%d.%m.%Y %H:%M:%S %z", "05.05.2021 09:10:00 +0100", 1620205800 - 3600),
    ],
)  # fmt: skip
def test_a_time_may_be_a_number_or_written_by_a_pattern(write, form, time, seconds):
    assert stamps(write, [time], form=form) == ([seconds], {})


@pytest.mark.parametrize(
    "time",
    [
        "2021-13-05 09:10:00",
        "2021-05-05 24:00:00",
        "1620205800",
        "2021-05-05",
        "0000-00-00 00:00:00",
        "noon",
        "2021-05-05 09:10:00+19:00",
        "2021-05-05 09:10:00-08:60",
        "",
    ],
)
def test_a_row_without_a_time_is_rejected_with_its_line(write, time):
    reason = "time is not a date and time" if time else "no time"
    text = f"when,soc\n2021-05-05 09:10:00,50\n{time},50\n2021-05-05 09:10:01,50\n"
    frames, account = read(write(mapped('soc = "soc"\n')), text)
    assert len(frames) == 2 and dict(account.rejected) == {reason: 1}
    assert account.rejections == [("-:3", reason, f"{time},50")]


def test_stamps_that_repeat_or_go_back_are_fed_as_they_are(write):
    times = ["2021-05-05 09:10:00", "2021-05-05 09:10:00", "2021-05-05 09:09:58", "2021-05-09 09:10:00"]
    wanted = [datetime.fromisoformat(time + "+00:00").timestamp() for time in times]
    assert stamps(write, times) == (wanted, {})


def test_the_hour_that_comes_twice_when_clocks_are_set_back_goes_on(write):
    """Through the end of summer time, every ten minutes, told as local time without a zone."""
    zone = zoneinfo.ZoneInfo("Europe/Berlin")
    moments = [datetime(2021, 10, 30, 23, 30, tzinfo=UTC) + timedelta(minutes=10 * k) for k in range(18)]
    local = [moment.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S") for moment in moments]
    assert len(set(local)) < len(local), "no hour comes twice"
    assert stamps(write, local, "Europe/Berlin") == ([moment.timestamp() for moment in moments], {})


def test_a_small_step_back_in_the_hour_that_comes_twice_stays_a_small_step(write):
    times = ["2021-10-31 02:30:10", "2021-10-31 02:30:09", "2021-10-31 02:30:11"]
    first = datetime(2021, 10, 31, 0, 30, 10, tzinfo=UTC).timestamp()
    assert stamps(write, times, "Europe/Berlin") == ([first, first - 1, first + 1], {})


def test_an_hour_that_clocks_leave_out_is_read_as_if_they_had_not_been_set(write):
    told = stamps(write, ["2021-03-28 01:59:59", "2021-03-28 02:00:01"], "Europe/Berlin")
    first = datetime(2021, 3, 28, 0, 59, 59, tzinfo=UTC).timestamp()
    assert told == ([first, first + 2], {})


def test_gaps_that_are_longer_than_the_deadline_are_counted(write):
    times = ["2021-05-05 09:10:00", "2021-05-05 09:10:05", "2021-05-05 09:10:10.001", "2021-05-08 09:10:00"]
    text = "when,soc\n" + "".join(f"{time},50\n" for time in times)
    assert read(write(mapped('soc = "soc"\n')), text)[1].gaps == 2, "at 1 Hz a value is lost after 5 s"


# --- the file ---------------------------------------------------------------------------------------------------------

PLAIN = HEADER + ROW + ROW.replace("09:10:00", "09:10:01").replace("3.658", "")


@pytest.mark.parametrize(
    "data",
    [
        ("\ufeff" + PLAIN).encode(),
        PLAIN.replace("\n", "\r\n").encode(),
        PLAIN.replace(",", ";").encode(),
        PLAIN.replace(",", "\t").encode(),
        PLAIN.replace(",", " , ").encode(),
        ('"' + PLAIN.replace(",", '","').replace("\n", '"\n"').removesuffix('"')).encode(),
        PLAIN.replace("\n", ",\n").encode(),
        PLAIN.replace("3.642", '"3.642"').replace("V_2", '"V_2"').encode(),
        lzma.compress(PLAIN.encode()),
    ],
    ids=["BOM", "CRLF", "semicolons", "tabs", "blanks", "quoted", "trailing commas", "some quoted", "xz"],
)
def test_the_dress_of_a_file_does_not_change_what_it_says(write, data):
    assert read(write(), data)[0] == read(write(), PLAIN)[0]


def test_other_columns_and_other_orders_change_nothing(write):
    turned = "\n".join(",".join(["x", *reversed(line.split(","))]) for line in PLAIN.splitlines()) + "\n"
    assert read(write(), turned)[0] == read(write(), PLAIN)[0]


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "utf-8-sig"])
def test_chinese_names_of_columns_are_read_in_both_usual_encodings(write, encoding):
    profile = write(mapped('pack_voltage = "总电压"\n').replace('"when"', '"数据时间"'))
    text = "数据时间,车辆状态,总电压\n2021-05-05 09:10:00,启动,352.5\n"
    frames, account = read(profile, text.encode(encoding))
    assert [data for *_, data in frames] == [(352_500).to_bytes(4, "little")] and account.frames == 1


def test_names_of_columns_in_latin_1_are_read(write):
    profile = write(mapped('temperature_max = "Temp [°C]"\n'))
    frames, _ = read(profile, "when,Temp [°C]\n2021-05-05 09:10:00,25\n".encode("latin-1"))
    assert [data for *_, data in frames] == [(750).to_bytes(2, "little")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("2021-05-05 09:10:01,1,2", "3 columns where the header has 10"),
        (ROW.strip() + ",9", "11 columns where the header has 10"),
        ('2021-05-05 09:10:01,"1,2,3,4,5,6,7,8,9,10', "a quotation mark without its fellow"),
        ("\x00\x01", "1 columns where the header has 10"),
    ],
)
def test_a_row_of_another_width_is_rejected_and_told_with_its_line(write, line, reason):
    frames, account = read(write(), HEADER + ROW + line + "\n\n" + HEADER + ROW)
    assert len(frames) == 6 and dict(account.rejected) == {reason: 1}
    assert dict(account.skipped) == {"header": 2, "blank": 1} and account.total == 6
    (where, why, _) = account.rejections[0]
    assert (where, why) == ("-:3", reason)


def test_a_last_line_without_its_end_is_no_row_where_its_last_value_could_have_been_longer(write):
    frames, account = read(write(), HEADER + ROW + ROW.strip())
    assert len(frames) == 3 and dict(account.rejected) == {"cut off": 1}
    assert account.cut == "the last line (line 3) is cut off"
    whole = (HEADER + ROW).replace("\n", ",remark\n").strip()
    assert len(read(write(), whole.replace("remark", "x"))[0]) == 3


def test_a_line_over_64_kib_is_rejected(write):
    frames, account = read(write(), HEADER + "x" * 200_000 + "\n" + ROW)
    assert len(frames) == 3 and dict(account.rejected) == {"line over 65536 bytes": 1}


def refusal(profile, text, **options):
    with pytest.raises(InputError) as refused:
        list(opened(profile, text, **options))
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            PLAIN.replace("V_2", "V2"),
            "-:1: no column `V_2`; did you mean `V2`?; expected the columns that [table] names",
        ),
        (PLAIN.replace("V_1", "a").replace("V_2", "b"), "-:1: no column `V_1` (nor 1 others)"),
        (PLAIN.replace("T_2", "V_1"), "-:1: 2 columns are called `V_1`; expected each name once"),
        (HEADER, "-: no row of it can be read (there is none); expected rows as [table] says"),
        (HEADER.strip(), "-: no row of it can be read (there is none)"),
        (HEADER + "1620205800" + ROW[19:], "no row of it can be read (1 time is not a date and time): 1620205800,7.3"),
        (HEADER + "1620205800" + ROW[19:], "; say how `time` is written (format)"),
        (HEADER + ("1620205800" + ROW[19:]) * 20_000, "no row of it can be read ("),
        (HEADER + "1,2\n", "no row of it can be read (1 2 columns where the header has 10): 1,2"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_in_one_line(write, text, said):
    assert said in refusal(write(), text, format="table")


@pytest.mark.parametrize("data", [b"\x00" * 5000, b"\xff" * 100_000, b"\n" * 3_000_000])
def test_what_is_no_table_is_refused_in_one_line(write, data):
    assert refusal(write(), data, format="table").startswith("-")


BYTES = (HEADER + ROW * 3).encode()
CHANGES = st.lists(
    st.tuples(
        st.integers(0, len(BYTES)), st.integers(0, 12),
        st.sampled_from([b"", b",", b";", b"\n", b"\r", b'"', b"\0", b"\xff", b"\xc3", b" ", b"-", b"e9", b"V_1"]),
    ),
    min_size=1, max_size=6,
)  # fmt: skip


@settings(max_examples=300, derandomize=True, deadline=None)
@given(CHANGES)
def test_a_damaged_table_is_read_or_refused_and_every_line_is_accounted_for(tmp_path_factory, changes):
    profile = tmp_path_factory.getbasetemp() / "damaged.toml"
    profile.write_text(VEHICLE + TABLE, encoding="utf-8")
    data = BYTES
    for at, size, new in changes:
        data = data[:at] + new + data[at + size :]
    try:
        frames, account = read(profile, data, format="table")
    except InputError as refused:
        assert "\n" not in str(refused)
        return
    assert len(frames) == 3 * account.frames > 0
    # Only what a cell, a probe and a pack can have comes through.
    for row in values(profile, data, format="table"):
        for (quantity, _), value in row.items():
            low, high = {"cell_voltage": (500, 4999), "temperature": (-500, 2000)}.get(quantity, (-3_000_000, 10**8))
            assert value is None or low <= value <= high


def test_an_empty_file_is_refused(write):
    profile = write()
    with pytest.raises(InputError, match="is empty"):
        opened(profile, b"")


def test_a_column_that_two_quantities_need_serves_both(write):
    lines = 'vehicle_state = { column = "x", on = [1], off = [2] }\ncontactors = { column = "x", true = [1] }\n'
    assert one(write, lines, "x", "1") == [1, 1] and one(write, lines, "x", "3") == [None, 0]


# --- Parquet ----------------------------------------------------------------------------------------------------------


def arrow(text, **options):
    """A CSV text as a pyarrow Table."""
    return arrow_csv.read_csv(io.BytesIO(text.encode()), **options)


def as_parquet(table, path, **options):
    parquet.write_table(table, path, **options)
    return path


def texts_of(path, profile):
    log = open_log(path, table=load_profile(profile).table)
    frames = list(log)
    again = open_log(path, table=load_profile(profile).table)
    assert [row for block in again.blocks() for row in block.rows()] == frames and again.account == log.account
    return frames, log.account


def test_parquet_gives_the_frames_of_the_csv_it_was_made_of(write, tmp_path):
    profile = write()
    made = as_parquet(arrow(PLAIN), tmp_path / "t.parquet", row_group_size=1)
    frames, account = texts_of(made, profile)
    assert frames == read(profile, PLAIN)[0] and account.frames == account.total == 2
    again, _ = read(profile, made.read_bytes())
    assert again == frames, "from a pipe"


@pytest.mark.parametrize(
    "kind",
    [pyarrow.float32(), pyarrow.float64(), pyarrow.string(), pyarrow.large_string(), pyarrow.decimal128(10, 4),
     pyarrow.dictionary(pyarrow.int32(), pyarrow.string())],
    ids=str,
)  # fmt: skip
def test_a_value_is_the_same_in_every_type_of_column(write, tmp_path, kind):
    profile = write(mapped('cell_voltage = "V_{n}"\n'))
    texts = ["3.658", "0.5", None, "4.999"]
    column = pyarrow.array(texts).cast(pyarrow.float64()) if pyarrow.types.is_float32(kind) else pyarrow.array(texts)
    when = [f"2021-05-05 09:10:0{k}" for k in range(4)]
    table = pyarrow.table({"when": when, "V_1": column.cast(kind), "V_2": column.cast(kind)})
    frames, _ = texts_of(as_parquet(table, tmp_path / "t.parquet"), profile)
    wanted = [(raw.to_bytes(2, "little") * 2) for raw in (3658, 500, 65535, 4999)]
    assert [data for *_, data in frames] == wanted


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Shanghai", "+05:30"])
def test_a_column_of_times_is_the_moment_it_holds(write, tmp_path, unit, zone):
    profile = write(mapped('soc = "soc"\n').replace('"UTC"', '"Asia/Shanghai"'))
    moment = datetime(2021, 5, 5, 9, 10, tzinfo=UTC)
    given = moment if zone else moment.replace(tzinfo=None) + timedelta(hours=8)
    table = pyarrow.table({"when": pyarrow.array([given], pyarrow.timestamp(unit, zone)), "soc": [50]})
    frames, _ = texts_of(as_parquet(table, tmp_path / "t.parquet"), profile)
    assert [t_us for t_us, *_ in frames] == [T_US]


def test_rows_of_parquet_that_cannot_be_read_are_counted(write, tmp_path):
    table = pyarrow.table({"when": ["2021-05-05 09:10:00", None, "noon"], "soc": ["50", "50", "x"]})
    frames, account = texts_of(as_parquet(table, tmp_path / "t.parquet"), write(mapped('soc = "soc"\n')))
    assert len(frames) == 1 and account.total == 3
    assert dict(account.rejected) == {"no time": 1, "time is not a date and time": 1}
    assert account.rejections[0][0] == f"{tmp_path / 't.parquet'}: row 2"


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"when": ["x"]}, "no column `soc`; it has when"),
        ({"when": ["2021-05-05 09:10:00"], "soc": [[1]]}, "column `soc` holds list<"),
        ({"when": ["x"], "soc": [1]}, "no row of it can be read (1 time is not a date and time)"),
    ],
)
def test_a_parquet_file_that_cannot_be_read_is_refused_in_one_line(write, tmp_path, table, said):
    profile = write(mapped('soc = "soc"\n'))
    made = as_parquet(pyarrow.table(table), tmp_path / "t.parquet")
    with pytest.raises(InputError) as refused:
        list(open_log(made, table=load_profile(profile).table))
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_a_damaged_parquet_file_is_refused_in_one_line(write, tmp_path):
    profile = write()
    data = as_parquet(arrow(PLAIN), tmp_path / "t.parquet").read_bytes()
    for harmed in (data[: len(data) // 2], data[:200] + b"\xaa" * 300 + data[500:], b"PAR1" + b"x" * 50):
        (tmp_path / "t.parquet").write_bytes(harmed)
        with pytest.raises(InputError, match=r"cut off or damaged|can be read") as refused:
            list(open_log(tmp_path / "t.parquet", table=load_profile(profile).table))
        assert "\n" not in str(refused.value)


# --- the profile ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("", "[table]: maps nothing; expected at least one of pack_voltage,"),
        ('pack_volts = "x"', "[table]: no key `pack_volts`; did you mean `pack_voltage`?"),
        ("soc = 3", "[table.soc]: is not a table"),
        ('soc = { unit = "%" }', "[table.soc]: no `column`"),
        ('soc = ""', "[table.soc]: column = ''; expected the name of a column"),
        ('soc = "a\\nimport os"', "[table.soc]: column = 'a\\nimport os'; expected the name of a column"),
        ('soc = { column = "x", unit = "V" }', "[table.soc]: unit = 'V'; expected one of %, percent,"),
        ('soc = { column = "x", factor = 1 }', "[table.soc]: no key `factor`"),
        ('soc = { column = "x", unfitted = [1] }', "[table.soc]: no key `unfitted`"),
        ('soc = { column = "x", scale = 0 }', "[table.soc]: scale = 0; expected a number that tells values apart"),
        ('soc = { column = "x", scale = "1" }', "[table.soc]: scale = '1'; expected a number"),
        ('soc = { column = "x", offset = nan }', "[table.soc]: offset = nan; expected a number"),
        ('soc = { column = "x", sign = 2 }', "[table.soc]: sign = 2; expected 1 or -1"),
        (
            'soc = { column = "x", min = 50, max = 40 }',
            "[table.soc]: range 500 to 400 permille; expected one inside 0 to",
        ),
        ('soc = { column = "x", invalid = [[1]] }', "[table.soc]: invalid = [[1]]; expected values of the column"),
        ('insulation = "x"', "[table.insulation]: no unit, and ohm and kohm are easily mistaken; expected one of ohm,"),
        ('charging = "x"', "[table.charging]: no `true`; expected the values that mean it"),
        ('charging = { column = "x", true = [] }', "[table.charging]: true = []; expected values of the column"),
        (
            'charging = { column = "x", true = [1, 1.0] }',
            "[table.charging]: value 1 stands twice; expected each value once",
        ),
        ('charging = { column = "x", true = [1], invalid = [1] }', "value 1 stands twice"),
        (
            'bms_level = { column = "x", levels = [0] }',
            "[table.bms_level]: levels = [0]; expected the values of levels",
        ),
        (
            'cell_voltage = "V"',
            "[table.cell_voltage]: column = 'V'; expected a name with {n}, such as V_{n}, or a list",
        ),
        (
            'cell_voltage = ["a", "b", "c"]',
            "[table.cell_voltage]: 3 columns for 2 and 0 unfitted; expected one for each",
        ),
        ('cell_voltage = ["a", "a"]', "[table.cell_voltage]: one column stands twice"),
        ('temperature = { column = "T_{n}", unfitted = [0] }', "[table.temperature]: unfitted = [0]; expected numbers"),
        ('temperature = { column = "T_{n}", unfitted = [9] }', "[table.temperature]: unfitted probe 9, of 2 with 1"),
    ],
)
def test_what_is_wrong_in_a_table_is_told_with_its_key(write, lines, said):
    with pytest.raises(InputError) as refused:
        compile_profile(write(mapped(lines + "\n")))
    assert said in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('time = "when"\n', "", "[table]: no `time`; expected time = "),
        ('"when"', "3", "[table.time]: is not a table"),
        ('"when"', '{ format = "s" }', "[table.time]: column = None; expected the name of a column"),
        (
            '"when"',
            '{ column = "when", format = "is" }',
            "[table.time]: format = 'is'; did you mean `iso`?; expected iso, s,",
        ),
        ('"when"', '{ column = "when", format = "%Q" }', "[table.time]: format = '%Q' ('Q' is a bad directive"),
        ("probes = 2", "probes = 0", "[table.temperature]: [vehicle] has no `probes`; expected the number of probes"),
        ('"UTC"', '"Asia/Shanghia"', "[table]: timezone = 'Asia/Shanghia'; did you mean `Asia/Shanghai`?"),
        ('"UTC"', '"+25:00"', "[table]: timezone = '+25:00'"),
        ('"UTC"', '"Asia"', "[table]: timezone = 'Asia'"),
        ('"UTC"', '"../UTC"', "[table]: timezone = '../UTC'"),
        ('"UTC"', "8", "[table]: timezone = 8"),
        ("period_s = 1", "period_s = 0", "[table]: period_s = 0; expected a number from 0.01 to 86400"),
        ("period_s = 1", "period_s = 10\ndeadline_s = 9", "[table]: deadline_s = 9; expected at least period_s = 10"),
        ("[vehicle]", "[signals]\nsoc = 'A.B'\n[vehicle]", "no [[bus]]; expected a [[bus]] table with a `dbc`"),
    ],
)
def test_what_is_wrong_in_the_clock_of_a_table_is_told_with_its_key(write, old, new, said):
    text = mapped('soc = "soc"\ntemperature = "T_{n}"\n')
    assert old in text
    with pytest.raises(InputError) as refused:
        compile_profile(write(text.replace(old, new, 1)))
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_a_table_without_a_time_zone_is_utc_with_a_warning(write):
    text = mapped('soc = "soc"\n').replace('timezone = "UTC"\n', "")
    assert any(
        "no timezone: times that name none are taken for UTC" in w for w in compile_profile(write(text)).warnings
    )
    numbers = text.replace('"when"', '{ column = "when", format = "s" }')
    assert compile_profile(write(numbers)).warnings == []
    assert values(write(text), "when,soc\n2021-05-05 09:10:00,50\n") == [{("soc", None): 500}]


@pytest.mark.parametrize(
    ("period", "deadline_ms", "sleep_ms"),
    [("period_s = 1", 5000, 10_000), ("period_s = 10", 30_000, 30_000), ("", 90_000, 90_000),
     ("period_s = 0.1", 5000, 10_000), ("period_s = 10\ndeadline_s = 12.5", 12_500, 30_000)],
)  # fmt: skip
def test_values_are_lost_after_three_periods_and_sleep_begins_no_sooner(write, period, deadline_ms, sleep_ms):
    made = compile_profile(write(mapped('soc = "soc"\n').replace("period_s = 1", period)))
    assert [group.deadline_ms for group in made.plan.groups] == [deadline_ms]
    assert made.profile.sleep_ms == sleep_ms and made.profile.is_table


# --- through the core -------------------------------------------------------------------------------------------------

DRIVE = HEADER + "".join(
    f"2021-05-05 09:{at // 60:02}:{at % 60:02},7.3,-12.5,11520,3,3.658,{4.4 if 60 <= at < 90 else 3.642},"
    f"94,255,{97 if 30 <= at < 150 else 94}\n"
    for at in range(240)
)


def test_an_alarm_names_the_tables_own_number_of_the_cell_and_the_probe(write, tmp_path):
    profile = write()
    (tmp_path / "drive.csv").write_text(DRIVE)
    events, end = replay(profile, tmp_path / "drive.csv")
    raised = {event["rule"]: event for event in events if event["event"] == "raise"}
    assert raised["temperature_high"]["where"] == 3 and raised["temperature_high"]["value"] == 57.0
    assert raised["cell_overvoltage"]["where"] == 2 and raised["cell_overvoltage"]["value"] == 4.4
    start = datetime(2021, 5, 5, 9, 0, tzinfo=UTC).timestamp()
    # 2 s and two samples of 1 Hz, on the grid of scans of 100 ms
    assert 2 <= raised["temperature_high"]["t"] - (start + 30) <= 2.2
    assert end["max_level"] == 3 and end["rows"] == end["frames"] == 240 and end["total"] == 241


def test_the_rules_whose_place_is_a_probe_are_these():
    """Of thermal runaway the place is the cell that fell: its number must not be taken for a probe's."""
    probes = {"temperature_high", "temperature_spread", "charge_too_cold", "temperature_rise", "probe_fault"}
    assert OF_PROBES == probes


@pytest.mark.long(but=["micropython"])
@pytest.mark.parametrize("engine", ["fast", "micropython"])
def test_a_table_gives_the_same_bytes_on_every_engine_and_from_parquet(write, tmp_path, engine):
    pytest.importorskip({"fast": "numba"}.get(engine, "pyarrow"))
    profile = write()
    (tmp_path / "drive.csv").write_text(DRIVE)
    made = as_parquet(arrow(DRIVE), tmp_path / "drive.parquet")
    wanted = replay(profile, tmp_path / "drive.csv")
    assert wanted[0]
    for path in (tmp_path / "drive.csv", made):
        events, end = replay(profile, path, engine)
        assert events == wanted[0]
        assert {**end, "engine": "", "skipped": {}, "total": 0} == {
            **wanted[1],
            "engine": "",
            "skipped": {},
            "total": 0,
        }


def test_a_silence_of_days_costs_nothing_and_what_was_before_is_not_taken_for_fresh(write, tmp_path):
    rows = [ROW, ROW.replace("09:10:00", "09:10:01"), ROW.replace("2021-05-05", "2021-06-05").replace("3.658", "")]
    (tmp_path / "drive.csv").write_text(HEADER + "".join(rows))
    _, end = replay(write(), tmp_path / "drive.csv")
    assert end["scans"] == 31 * 86400 * 10 + 10 and end["gaps"] == 1
    assert end["cells_valid"] == 1, "a value from before the silence counts"
    assert end["last"] - end["first"] == 31 * 86400


@pytest.mark.parametrize("engine", ["python", "fast", "micropython"])
def test_the_last_row_is_judged_too(write, tmp_path, engine):
    pytest.importorskip({"fast": "numba"}.get(engine, "pyarrow"))
    (tmp_path / "fire.csv").write_text(PLAIN + ROW.replace("09:10:00", "09:10:02").replace("3.658", "2.1"))
    events, end = replay(write(), tmp_path / "fire.csv", engine)
    (event,) = [event for event in events if event["rule"] == "cell_undervoltage"]
    assert (event["event"], event["where"], event["value"], event["level"]) == ("raise", 1, 2.1, 3)
    assert 0.3 <= event["t"] - end["last"] < 0.5 and end["max_level"] == 3  # 0.3 s from the first scan that sees it


# --- the command ------------------------------------------------------------------------------------------------------

DBC = """VERSION ""
NS_ :
BS_:
BU_: BMS
BO_ 256 Pack: 8 BMS
 SG_ SOC : 0|8@1+ (0.5,0) [0|100] "%" BMS
BA_DEF_ BO_ "GenMsgCycleTime" INT 0 65535;
BA_DEF_DEF_ "GenMsgCycleTime" 100;
"""
BUS = '[[bus]]\ndbc = "two.dbc"\n[signals]\nsoc = "Pack.SOC"\n'
CANDUMP = "".join(f"({k / 10:.6f}) can0 100#C800000000000000\n" for k in range(50))


@pytest.fixture
def say(write, tmp_path, capsys):
    """Run the command beside two.toml (a table), both.toml (a bus and a table), drive.csv, bus.log and can.csv."""
    write()
    write(VEHICLE + BUS + TABLE, "both.toml")
    write(VEHICLE + BUS, "bus.toml")
    (tmp_path / "two.dbc").write_text(DBC)
    (tmp_path / "drive.csv").write_text(DRIVE)
    (tmp_path / "bus.log").write_text(CANDUMP)
    (tmp_path / "can.csv").write_text("time,id,data\n" + "".join(f"{k / 10},100,C800000000000000\n" for k in range(50)))
    as_parquet(arrow(DRIVE), tmp_path / "drive.parquet")

    def call(*words):
        status = run(list(words))
        return status, *capsys.readouterr()

    return call


def ends(out):
    return [line for line in map(json.loads, out.splitlines()) if line["event"] == "end"]


def test_replay_takes_a_table_and_says_rows(say):
    status, out, err = say("replay", "drive.csv", "-p", "two.toml")
    assert (status, err) == (0, "")
    assert "drive.csv: 240 rows in 239.0 s; 2400 scans (python)" in out and "not replayed: 1 header" in out
    assert "temperature_high" in out and not re.search(r"\d frames", out)


def test_replays_end_line_of_a_table_has_its_rows_and_adds_up(say, tmp_path):
    (tmp_path / "odd.csv").write_text(DRIVE + ROW.replace("7.3", "x") + "1,2\n")
    status, out, _ = say("replay", "odd.csv", "-p", "two.toml", "--json")
    (end,) = ends(out)
    assert status == 0 and end["rows"] == end["frames"] == end["known_frames"] == 241
    assert end["skipped"] == {"header": 1} and end["rejected"] == {"2 columns where the header has 10": 1}
    assert end["total"] == 243 and end["unread"] == {"pack_voltage": 1} and end["gaps"] == 1
    people = " ".join(say("replay", "odd.csv", "-p", "two.toml")[1].split())
    assert "241 rows with 1 gaps of over 5 s" in people
    assert "texts that are no numbers, taken for no value: 1 of pack_voltage" in people


@pytest.mark.parametrize("file", ["drive.csv", "drive.parquet"])
def test_a_profile_with_a_bus_and_a_table_takes_both_by_what_the_file_is(say, file):
    status, out, err = say("replay", file, "bus.log", "can.csv", "-p", "both.toml", "--json")
    assert (status, err) == (0, "")
    table, log, can = ends(out)
    assert table["rows"] == 240 and "rows" not in log and log["frames"] == can["frames"] == 50
    assert table["state_sha256"] == ends(say("replay", file, "-p", "two.toml", "--json")[1])[0]["state_sha256"]
    assert log["state_sha256"] == ends(say("replay", "bus.log", "-p", "bus.toml", "--json")[1])[0]["state_sha256"]


def test_an_image_is_that_of_the_bus_unless_the_table_is_asked_for(say):
    assert (
        say("compile", "both.toml", "-o", "bus.cwi")[0] == say("compile", "both.toml", "--table", "-o", "t.cwi")[0] == 0
    )
    assert "table" in load_image("t.cwi").names and "table" not in load_image("bus.cwi").names
    direct = ends(say("replay", "drive.csv", "-p", "two.toml", "--json")[1])[0]
    through = ends(say("replay", "drive.csv", "-p", "t.cwi", "--json")[1])[0]
    assert through["state_sha256"] == direct["state_sha256"] and through["rows"] == 240
    status, out, err = say("replay", "bus.log", "-p", "t.cwi")
    assert (status, out) == (2, "")
    assert err == (
        "cellwarden: bus.log: is a log of CAN frames (candump), and t.cwi has only a [table]; "
        "expected a recorded table; add [[bus]] and [signals] to the profile\n"
    )
    status, _, err = say("replay", "drive.csv", "-p", "bus.cwi")
    assert status == 2 and "no column for time and id and data" in err and "[table] section in the profile" in err
    status, _, err = say("compile", "bus.toml", "--table", "-o", "x.cwi")
    assert status == 2 and "bus.toml: no [table]; expected a [table] that says" in err


def test_a_table_in_two_parts_ends_in_the_state_of_the_whole(say, tmp_path):
    lines = DRIVE.splitlines(keepends=True)
    (tmp_path / "a.csv").write_text("".join(lines[:80]))
    (tmp_path / "b.csv").write_text("".join([lines[0], *lines[80:]]))
    whole = say("replay", "drive.csv", "-p", "two.toml", "--json")[1]
    first = say("replay", "a.csv", "-p", "two.toml", "--state-out", "state", "--json")[1]
    second = say("replay", "b.csv", "-p", "two.toml", "--state-in", "state", "--json")[1]
    assert ends(second)[0]["state_sha256"] == ends(whole)[0]["state_sha256"]
    assert first.splitlines()[:-1] + second.splitlines()[:-1] == whole.splitlines()[:-1]
    assert ends(first)[0]["rows"] + ends(second)[0]["rows"] == ends(whole)[0]["rows"]


def test_an_image_of_a_table_is_the_same_bytes_twice(say, tmp_path):
    for name in ("a.cwi", "b.cwi"):
        assert say("compile", "two.toml", "-o", name)[0] == 0
    assert (tmp_path / "a.cwi").read_bytes() == (tmp_path / "b.cwi").read_bytes()


def test_format_table_needs_a_table_in_the_profile(say):
    status, _, err = say("replay", "drive.csv", "-p", "bus.toml", "--format", "table")
    assert (status, err) == (
        2, "cellwarden: drive.csv: is to be read as a table, but no [table] says how; add [table] to the profile\n"
    )  # fmt: skip


def test_a_table_under_another_name_is_read_when_it_is_called_one(say, tmp_path):
    (tmp_path / "drive.txt").write_text(DRIVE)
    assert say("replay", "drive.txt", "-p", "two.toml", "--format", "table")[0] == 0
    status, _, err = say("replay", "drive.txt", "-p", "two.toml")
    assert status == 2 and "the suffix `.txt` says no log format" in err


def test_our_own_parquet_log_is_no_table(say):
    assert say("convert", "bus.log", "-o", "bus.parquet")[0] == 0
    assert ends(say("replay", "bus.parquet", "-p", "both.toml", "--json")[1])[0]["frames"] == 50
    status, _, err = say("replay", "bus.parquet", "-p", "both.toml", "--format", "table")
    assert status == 2 and "is a log of CAN frames in Parquet; expected a recorded table" in err


def test_decode_writes_the_values_of_a_table_with_its_own_numbers(say):
    status, out, err = say("decode", "drive.csv", "-p", "both.toml")
    rows = [line.split(",") for line in out.splitlines()]
    first = {(quantity, index): value for *_, quantity, index, value, _ in rows[1:9]}
    assert status == 0 and err == "cellwarden: drive.csv: 240 rows decoded, 1920 values, 1 header\n"
    assert first["cell_voltage", "1"] == "3658" and first["temperature", "3"] == "540"
    assert ("temperature", "2") not in first
    status, _, err = say("compile", "two.toml", "-o", "t.cwi")
    status, _, err = say("decode", "drive.csv", "-p", "t.cwi")
    assert (status, err) == (2, "cellwarden: t.cwi: is an image; expected the profile it was made of\n")


def test_a_table_whose_rows_are_rarer_than_the_profile_says_is_told(say, tmp_path):
    rows = "".join(ROW.replace("09:10:00", f"09:{at:02}:00") for at in range(10))
    (tmp_path / "rare.csv").write_text(HEADER + rows)
    assert (
        "most rows come too late to be called fresh: see the table's period_s"
        in say("replay", "rare.csv", "-p", "two.toml")[1]
    )
    assert "too late" not in say("replay", "drive.csv", "-p", "two.toml")[1]
