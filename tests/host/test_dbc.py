"""A DBC is loaded as it is meant; what is broken in it is named, and never guessed into a value."""

from fractions import Fraction

import pytest
from cellwarden_tools.compiler.dbc import EXTENDED, Signal, load, loads
from cellwarden_tools.errors import InputError
from hypothesis import given, settings
from hypothesis import strategies as st

HEAD = 'VERSION ""\n\nNS_ :\n\tCM_\n\tVAL_\n\nBS_:\n\nBU_: Bms Tool\n\n'
PACK = HEAD + (
    "BO_ 256 Pack: 8 Bms\n"
    ' SG_ Voltage : 0|16@1+ (0.1,0) [0|1000] "V" Tool\n'
    ' SG_ Current : 23|16@0- (0.05,-12.5) [-500|500] "A" Tool\n'
    ' SG_ State : 32|4@1+ (1,0) [0|0] "" Tool\n'
    "\n"
    "BO_ 2566844416 Cells: 8 Bms\n"
    ' SG_ Page M : 0|8@1+ (1,0) [0|3] "" Tool\n'
    ' SG_ Cell1 m0 : 8|16@1+ (1,0) [0|5000] "mV" Tool\n'
    ' SG_ Cell2 m1 : 8|16@1+ (1,0) [0|5000] "mV" Tool\n'
    "\n"
    'CM_ SG_ 256 Voltage "Of the pack,\nBO_ 12 at its terminals.";\n'
    'CM_ BO_ 256 "All of it.";\n'
    'BA_DEF_ BO_ "GenMsgCycleTime" INT 0 10000;\n'
    'BA_DEF_DEF_ "GenMsgCycleTime" 0;\n'
    'BA_ "GenMsgCycleTime" BO_ 256 100;\n'
    'VAL_ 256 State 0 "Off" 1 "On" 15 "Not \\"available\\"" ;\n'
)


def read(text):
    return loads(text.encode() if isinstance(text, str) else text, "pack.dbc")


def said(db, code):
    return [(finding.line, finding.text) for finding in db.findings if finding.code == code]


def refusal(text):
    with pytest.raises(InputError) as caught:
        read(text)
    return str(caught.value)


def line_of(text, part):
    return text[: text.index(part)].count("\n") + 1


def test_a_sound_dbc_gives_every_field_and_no_finding():
    db = read(PACK)
    pack, cells = db.messages
    voltage, current, state = pack.signals
    assert db.findings == [] and db.dropped == {}
    assert (pack.name, pack.can_id, pack.extended, pack.length, pack.fd) == ("Pack", 256, False, 8, False)
    assert (pack.cycle_ms, pack.comment, pack.senders, pack.line) == (100, "All of it.", ["Bms"], 11)
    assert (cells.can_id, cells.extended, cells.cycle_ms) == (2566844416 & 0x1FFFFFFF | EXTENDED, True, None)
    assert (voltage.start, voltage.length, voltage.big_endian, voltage.signed) == (0, 16, False, False)
    assert (voltage.scale, voltage.minimum, voltage.maximum) == (Fraction(1, 10), 0, 1000)
    assert (voltage.unit, voltage.line, voltage.defect, voltage.overlaps) == ("V", 12, None, ())
    assert voltage.comment == "Of the pack,\nBO_ 12 at its terminals."
    assert (current.big_endian, current.signed) == (True, True)
    assert (current.scale, current.offset) == (Fraction(1, 20), Fraction(-25, 2))
    assert (state.minimum, state.maximum, state.choices) == (None, None, {0: "Off", 1: "On", 15: 'Not "available"'})
    assert [signal.mux for signal in cells.signals] == [(), (("Page", {0}),), (("Page", {1}),)]
    assert cells.signals[0].multiplexer and not cells.signals[1].multiplexer


def test_a_signal_is_found_by_its_full_name():
    db = read(PACK)
    assert db.find("Pack.Current") == (db.message("Pack"), db.message("Pack").signals[1])
    assert db.find("Pack.Power") is db.find("Nothing.Here") is db.find("Pack") is db.message("Nothing") is None


def test_a_factor_is_as_exact_as_its_text():
    db = read(PACK.replace("(0.1,0)", "(0.000000000000000000123,1E-3)"))
    voltage = db.find("Pack.Voltage")[1]
    assert (voltage.scale, voltage.offset) == (Fraction(123, 10**21), Fraction(1, 1000))


def test_extended_multiplexing_gives_the_chain_from_the_outermost():
    text = HEAD + (
        "BO_ 1 Deep: 8 Bms\n"
        ' SG_ A M : 0|4@1+ (1,0) [0|0] "" Tool\n'
        ' SG_ B m2M : 4|4@1+ (1,0) [0|0] "" Tool\n'
        ' SG_ Leaf m1 : 8|8@1+ (1,0) [0|0] "" Tool\n'
        "SG_MUL_VAL_ 1 B A 2-2;\n"
        "SG_MUL_VAL_ 1 Leaf B 1-3, 7-7;\n"
    )
    leaf = read(text).find("Deep.Leaf")[1]
    assert leaf.mux == (("A", frozenset({2})), ("B", frozenset({1, 2, 3, 7})))
    assert leaf.defect is None


@pytest.mark.parametrize("start, length, big_endian, bits", [
    (4, 6, False, {4, 5, 6, 7, 8, 9}),
    (3, 6, True, {3, 2, 1, 0, 15, 14}),
    (7, 16, True, set(range(16))),
])  # fmt: skip
def test_bits_follow_the_byte_order(start, length, big_endian, bits):
    mask = Signal("S", start, length, big_endian).bits
    assert {bit for bit in range(64) if mask >> bit & 1} == bits


@pytest.mark.parametrize("place, defect", [
    ("56|8@1+", None),
    ("56|14@1+", "runs past the end of its 8-byte message (bit 70 of 64)"),
    ("63|8@0+", None),
    ("63|9@0+", "runs past the end of its 8-byte message (bit 65 of 64)"),
    ("56|2@0+", "runs past the end of its 8-byte message (bit 65 of 64)"),
    ("0|32@1-", None),
    ("0|33@1-", "33 bits long, over 32"),
    ("7|64@0+", "64 bits long, over 32"),
])  # fmt: skip
def test_a_signal_that_cannot_be_decoded_says_why(place, defect):
    text = HEAD + f'BO_ 1 M: 8 Bms\n SG_ S : {place} (1,0) [0|0] "" Tool\n'
    assert read(text).find("M.S")[1].defect == defect


def test_a_float_is_never_read_as_an_integer():
    text = HEAD + 'BO_ 1 M: 8 Bms\n SG_ S : 0|32@1- (1,0) [0|0] "" Tool\nSIG_VALTYPE_ 1 S : 1;\n'
    signal = read(text).find("M.S")[1]
    assert (signal.is_float, signal.defect) == (True, "float")
    signal = read(text.replace(": 1;", ": 2;").replace("|32", "|24")).find("M.S")[1]
    assert (signal.is_float, signal.defect) == (True, "float of 24 bits, declared 64")


def test_a_message_of_no_bytes_overruns_at_once():
    signal = read(HEAD + 'BO_ 1 M: 0 Bms\n SG_ S : 0|1@1+ (1,0) [0|0] "" Tool\n').find("M.S")[1]
    assert signal.defect == "runs past the end of its 0-byte message (bit 1 of 0)"


def test_an_overlap_is_named_on_both_signals_and_kept_from_the_defects():
    text = PACK.replace("SG_ State : 32|4", "SG_ State : 28|4")
    db = read(text)
    current, state = db.find("Pack.Current")[1], db.find("Pack.State")[1]
    assert current.overlaps == ("State",) and state.overlaps == ("Current",)
    assert current.defect is state.defect is None
    assert said(db, "overlap") == [(14, "`Current` and `State` overlap (byte 3 bit 7)")]


@pytest.mark.parametrize("other, overlaps", [
    ("m1 : 8|16@1+", ()),
    ("m0 : 8|16@1+", ("Cell1",)),
    (": 8|16@1+", ("Cell1",)),
])  # fmt: skip
def test_signals_of_different_pages_never_overlap(other, overlaps):
    db = read(PACK.replace("m1 : 8|16@1+", other))
    assert db.find("Cells.Cell2")[1].overlaps == overlaps


@pytest.mark.parametrize("mark, multiplexer, defect", [
    ("M", "", "multiplexed, but nothing says whether by `Page` or `Cell1`"),
    ("m0", "Page : 0|8", "multiplexed, but its message has no multiplexer"),
])  # fmt: skip
def test_a_page_without_its_multiplexer_is_not_decoded(mark, multiplexer, defect):
    text = PACK.replace("Cell1 m0", f"Cell1 {mark}").replace("Page M : 0|8", multiplexer or "Page M : 0|8")
    assert read(text).find("Cells.Cell2")[1].defect == defect


def test_what_a_broken_multiplexer_selects_is_not_decoded():
    db = read(PACK.replace("Page M : 0|8", "Page M : 60|8"))
    assert db.find("Cells.Cell1")[1].defect == "multiplexed by `Page`, which cannot be decoded safely"
    db = read(PACK.replace("Page M : 0|8", "Page M : 60|8").replace("m0 : 8|16", "m0 : 8|99"))
    assert "runs past the end" in db.find("Cells.Cell1")[1].defect, "its own defect comes first"
    db = read(PACK.replace("Page M : 0|8", "Page M : 0|x"))
    assert db.find("Cells.Cell1")[1].defect == "multiplexed, but the broken line 17 may be its multiplexer"


@pytest.mark.parametrize("by", ["Cell1", "Cell2", "Nothing"])
def test_a_multiplexer_that_leads_nowhere_is_not_followed(by):
    text = PACK.replace("Cell2 m1", "Cell2 m1M") + "SG_MUL_VAL_ 2566844416 Cell1 Cell2 0-0;\n"
    text += f"SG_MUL_VAL_ 2566844416 Cell2 {by} 1-1;\n"
    assert "multiplexed by" in read(text).find("Cells.Cell2")[1].defect


def test_a_page_of_its_own_pages_is_not_decoded():
    signal = read(PACK.replace("Page M", "Page m0M")).find("Cells.Page")[1]
    assert signal.defect == "multiplexed, but nothing says whether by `Page`"


@pytest.mark.parametrize("number, can_id", [
    (0x7FF, 0x7FF), (0x800, 0x800 | EXTENDED), (0x1FFFFFFF, 0x1FFFFFFF | EXTENDED), (0x20000000, None),
    (0x80000000, EXTENDED), (0x9FFFFFFF, 0x1FFFFFFF | EXTENDED), (0xA0000000, None),
])  # fmt: skip
def test_an_id_is_11_or_29_bits_or_refused(number, can_id):
    db = read(PACK.replace("BO_ 256 Pack", f"BO_ {number} Pack"))
    assert (db.message("Pack") and db.message("Pack").can_id) == can_id
    assert ("Pack" in db.dropped) == (can_id is None)


def test_a_huge_multiplexer_range_takes_no_memory():
    db = read(PACK + "SG_MUL_VAL_ 2566844416 Cell1 Page 4294967295-0, 0-4294967295;\n")
    assert db.find("Cells.Cell1")[1].defect == "present for too many multiplexer ids"


# What is mended, and where.

MENDS = [
    ('VAL_ 256 Gone 0 "x";', "stray", "VAL_ speaks of `Pack.Gone`, which is not here; ignored"),
    ('VAL_ 99 State 0 "x";', "stray", "VAL_ speaks of message 99, which is not here; ignored"),
    ("VAL_ 256 State 0 x;", "broken-statement", "`VAL_ 256 State 0 x;` cannot be read; ignored"),
    ('VAL_ 256 State 0 "a" b "c";', "broken-statement", '`VAL_ 256 State 0 "a" b "` cannot be read; ignored'),
    ('VAL_ 256 State 0 "Off" 1 "On"', "semicolon", "VAL_ does not end in `;`; taken as if it did"),
    ('CM_ SG_ 256 State "open;', "broken-statement", '`CM_ SG_ 256 State "open;` cannot be read; ignored'),
    ('CM_ SG_ 256 Gone "x";', "stray", "CM_ speaks of `Pack.Gone`, which is not here; ignored"),
    ("SIG_GROUP_ 99 Group 1 : State;", "stray", "SIG_GROUP_ speaks of message 99, which is not here; ignored"),
    ("SIG_VALTYPE_ 256 Gone : 1;", "stray", "SIG_VALTYPE_ speaks of `Pack.Gone`, which is not here; ignored"),
    ('BA_DEF_ BO_ "Own" BOOL False;', "broken-statement", '`BA_DEF_ BO_ "Own" BOOL F` cannot be read; ignored'),
    ('BA_ "Own" BO_ 256 1;', "unknown-attribute", "BA_ `Own` is not declared by BA_DEF_"),
    ("Hello there", "unknown-text", "`Hello there` is no DBC statement; ignored"),
    ("BO_ 300 Far-off: 8 X", "broken-message", "`-off: 8 X` at column 12 cannot stand here; the message is dropped"),
    ("BO_+300 Far: 8 X", "broken-message", "`BO_+300 Far: 8 X` at column 1 cannot be read; the message is dropped"),
    ("BO_ 300 Far: 8", "mended", "`Far` names no sender or receiver; taken as none"),
    ("BO_ 256 Twin: 8 Bms", "duplicate-id", "`Twin` has the id of `Pack` (line 11)"),
    ("BO_ 300 Pack: 8 Bms", "duplicate-message",
     "the message name `Pack` stands at line 11 too; that one is used"),
    ("BO_ 4096 Far: 8 Bms", "extended-flag",
     "Far has the id 4096, over 11 bits without the 29-bit flag (2^31); taken as 29 bits"),
    ("BO_ 4294967295 Far: 8 Bms", "bad-id", "Far has the id 4294967295, which is over 29 bits; dropped"),
]  # fmt: skip


@pytest.mark.parametrize("added, code, text", MENDS, ids=[f"{code}-{added.split()[0]}" for added, code, _ in MENDS])
def test_a_mend_is_said_with_its_line_and_the_rest_stands(added, code, text):
    db = read(PACK + added + "\n")
    assert (PACK.count("\n") + 1, text) in said(db, code)
    assert len(db.find("Pack.Voltage")[0].signals) == 3
    assert db.cantools.get_message_by_name("Cells").length == 8


def test_the_sections_most_tools_insist_on_may_be_missing():
    db = read('VERSION ""\n\nNS_ :\n  NS_DESC_\n\nBO_ 127 Lone: 8 XXX\n\nBO_ 128 Next: 8 XXX\n')
    assert [message.name for message in db.messages] == ["Lone", "Next"]
    missing = [(1, "has no BS_: section; taken as empty"), (1, "has no BU_: section; taken as empty")]
    assert said(db, "section-missing") == missing


def test_vectors_bin_of_unsent_signals_is_left_out_in_silence():
    text = PACK + 'BO_ 3221225472 VECTOR__INDEPENDENT_SIG_MSG: 0 Vector__XXX\n SG_ Old : 0|8@1+ (1,0) [0|0] "" Tool\n'
    db = read(text + 'VAL_ 3221225472 Old 0 "x";\n')
    assert [message.name for message in db.messages] == ["Pack", "Cells"] and db.findings == []


@pytest.mark.parametrize("mark, place, text", [
    ("", '0|16@1* (1,0) [0|9] "V"', '`* (1,0) [0|9] "V" Tool` at column 23 cannot stand here'),
    ("", '0|16@1+ (0,1,0) [0|9] "V"', '`,0) [0|9] "V" Tool` at column 29 cannot stand here'),
    ("", '0|16@1+ (1,0) [0|9] "V', '`"V Tool` at column 37 cannot stand here'),
    ("", '0|0@1+ (1,0) [0|9] "V"', "`Voltage` is 0 bits long"),
    ("", '0|16@1+ (1e999,0) [0|9] "V"', "`Voltage` has a factor or offset beyond 1e300"),
    ("X", '0|16@1+ (1,0) [0|9] "V"', "`Voltage` has the multiplexer mark `X`, expected M, m<id> or m<id>M"),
])  # fmt: skip
def test_a_broken_signal_is_dropped_with_its_reason(mark, place, text):
    db = read(PACK.replace(' : 0|16@1+ (0.1,0) [0|1000] "V"', f" {mark} : {place}") + 'CM_ SG_ 256 Voltage "Gone.";\n')
    assert db.find("Pack.Voltage") is None and db.find("Pack.Current")
    assert db.dropped["Pack.Voltage"].text == f"{text}; the signal is dropped"
    assert db.dropped["Pack.Voltage"].line == 12
    assert said(db, "stray") == [], "what refers to a dropped signal needs no word of its own"


def test_a_dropped_message_is_remembered_with_its_reason():
    db = read(PACK.replace("BO_ 256 Pack: 8", "BO_ 256 Pack: 9999"))
    assert db.dropped["Pack"].text == "Pack is 9999 bytes long; dropped"
    assert [message.name for message in db.messages] == ["Cells"]


def test_a_broken_message_takes_its_own_signals_along_and_no_others():
    db = read(PACK.replace("BO_ 2566844416 Cells:", "BO_ 2566844416 Cells"))
    assert [signal.name for signal in db.message("Pack").signals] == ["Voltage", "Current", "State"]
    assert [message.name for message in db.messages] == ["Pack"]
    db = read(PACK.replace("Pack: 8", "Pack 8").replace('"V" Tool', '"V Tool'))
    assert [message.name for message in db.messages] == ["Cells"], "an open string swallows nothing"
    db = read(PACK.replace("BO_ 2566844416 Cells:", "BO_ 2566844416 Cells"))
    finding = db.dropped["Cells"]
    assert (finding.line, finding.text) == (16, "`8 Bms` at column 22 cannot stand here; the message is dropped")


def test_the_loss_of_one_of_two_multiplexers_costs_their_pages():
    text = PACK.replace(" SG_ Cell1", ' SG_ Other M : 24|8@1+ (1,0) [0|0] "" Tool\n SG_ Cell1').replace(
        "M : 0|8", "M : 0|x"
    )
    db = read(text)
    assert db.find("Cells.Other")[1].defect is None
    assert db.find("Cells.Cell1")[1].defect == "multiplexed, but the broken line 17 may be its multiplexer"


def test_what_cantools_misreads_in_silence_is_not_decoded():
    db = read(PACK.replace("0|16@1+", "0|16@7+"))
    assert db.dropped["Pack.Voltage"].text.startswith("`Voltage` has the byte order 7, expected 0 or 1")
    db = read(PACK + "SG_MUL_VAL_ 2566844416 Cell1 Cell2 0-0;\n")
    assert db.find("Cells.Cell1")[1].defect == "multiplexed by `Cell2` and by `Page`"
    db = read(PACK.replace("Cell2 m1", "Cell2") + "SG_MUL_VAL_ 2566844416 Cell2 Page 1-1;\n")
    assert db.find("Cells.Cell2")[1].defect == "multiplexed, but nothing says whether by `Page`"
    twin = 'BO_ 256 Twin: 8 Bms\n SG_ S : 0|32@1+ (1,0) [0|0] "" Tool\n'
    db = read(HEAD + twin + twin.replace("Twin", "Other") + 'SIG_VALTYPE_ 256 S : 1;\nVAL_ 256 S 1 "on";\n')
    assert [message.signals[0].defect for message in db.messages] == ["float", "float"]
    assert [message.signals[0].choices for message in db.messages] == [{1: "on"}, {1: "on"}]


def test_signals_stand_in_the_order_of_the_file_and_cantools_decodes_them_all_the_same():
    text = LONE.replace(" SG_ Voltage", ' SG_ Late : 48|8@1+ (1,0) [0|0] "" Tool\n SG_ Voltage')
    db = read(text)
    assert [signal.name for signal in db.message("Pack").signals] == ["Late", "Voltage", "Current", "State"]
    decoded = db.cantools.decode_message("Pack", bytes([0xA0, 0x0F, 0, 0, 1, 0, 7, 0]))
    assert (decoded["Late"], decoded["Voltage"]) == (7, 400.0)


def test_a_name_used_twice_in_a_message_decodes_neither():
    db = read(PACK.replace("SG_ State : 32|4", "SG_ Voltage : 32|4"))
    assert {signal.defect for signal in db.message("Pack").signals if signal.name == "Voltage"} == {
        "named twice in its message (lines 12 and 14)"
    }


def test_numbers_other_tools_write_are_understood():
    text = PACK.replace("(0.1,0) [0|1000]", "(.1,-.5) [-1.#INF|1e3]").replace("Pack: 8 Bms", "Pack :08 Bms")
    db = read(text)
    message, voltage = db.find("Pack.Voltage")
    assert (voltage.scale, voltage.offset) == (Fraction(1, 10), Fraction(-1, 2))
    assert (voltage.minimum, voltage.maximum) == (None, None)
    assert said(db, "range") == [(12, "`Voltage` has the range `[-1.#INF|1e3]`, which is no range; ignored")]
    assert said(db, "mended") == [
        (11, "`Pack` has a number that cantools cannot read; written out"),
        (12, "`Voltage` has a number that cantools cannot read; written out"),
    ]
    assert message.length == 8


def test_long_names_replace_the_short_ones():
    text = PACK + (
        'BA_DEF_ BO_ "SystemMessageLongSymbol" STRING ;\nBA_DEF_ SG_ "SystemSignalLongSymbol" STRING ;\n'
        'BA_ "SystemMessageLongSymbol" BO_ 2566844416 "CellsOfTheWholePack";\n'
        'BA_ "SystemSignalLongSymbol" SG_ 2566844416 Page "PageOfTheCells";\n'
    )
    db = read(text.replace("Cell2 m1 : 8|16", "Cell2 m1 : 8|x"))
    assert db.find("CellsOfTheWholePack.Cell1")[1].mux == (("PageOfTheCells", frozenset({0})),)
    assert "CellsOfTheWholePack.Cell2" in db.dropped


@pytest.mark.parametrize("definition, value, fd", [
    ('ENUM "StandardCAN","StandardCAN_FD"', 1, True),
    ('ENUM "StandardCAN","StandardCAN_FD"', 0, False),
    ("INT 0 15", 14, True),
])  # fmt: skip
def test_the_frame_format_tells_can_fd(definition, value, fd):
    text = PACK + f'BA_DEF_ BO_ "VFrameFormat" {definition};\nBA_ "VFrameFormat" BO_ 256 {value};\n'
    assert read(text).message("Pack").fd is fd


@pytest.mark.parametrize("encode", [
    lambda text: text.encode("utf-8-sig"),
    lambda text: text.encode("utf-16"),
    lambda text: text.encode("cp1252"),
    lambda text: text.encode("gb18030"),
    lambda text: text.replace("\n", "\r\n").replace(" ", "\t").encode("utf-8"),
    lambda text: text.replace("\n", "\r").encode("utf-8") + b"\x1a",
])  # fmt: skip
def test_any_common_encoding_and_line_end_reads_alike(encode):
    voltage = read(encode(PACK.replace('"V"', '"°C"'))).find("Pack.Voltage")[1]
    assert (voltage.unit, voltage.line, voltage.scale) == ("°C", 12, Fraction(1, 10))


def test_chinese_comments_in_gb18030_are_read():
    db = read(PACK.replace("All of it.", "电池组电压").encode("gb18030"))
    assert db.message("Pack").comment == "电池组电压"
    assert said(db, "encoding") == [(1, "is not UTF-8; read as gb18030")]
    db = read(PACK.replace("All of it.", "5 €™").encode("cp1252"))
    assert db.message("Pack").comment == "5 €™"


def test_comments_of_other_languages_are_skipped():
    db = read("/* Ours,\n   BO_ and all. */\n" + PACK.replace("BS_:", "// BO_ 9 No: 8 X\nBS_:"))
    assert len(db.messages) == 2 and db.findings == []


# What cannot be mended.

LONE = PACK[: PACK.index("BO_ 2566844416")]
REFUSALS = [
    ("", "pack.dbc: is empty; expected a DBC"),
    ("(1.0) can0 123#00\n(1.1) can0 123#01\n",
     "pack.dbc:1:1: `(1.0) can0 123#00` is no DBC statement; expected VERSION, NS_, BU_, BO_ or the like"),
    (b"\x7fELF\x02\0\0\1", "pack.dbc:byte 5: is a binary file (a zero byte stands here); expected the text of a DBC"),
    (LONE.replace("Pack: 8", "Pack 8"),
     "pack.dbc:11:14: `8 Bms` cannot stand here; expected `BO_ id name: length sender`"),
    (LONE.replace("BO_ 256", "BO_ 0x10"),
     "pack.dbc:11:10: `Pack: 8 Bms` cannot stand here; expected `BO_ id name: length sender`"),
    (LONE.replace("Pack: 8", "Pack: x"),
     "pack.dbc:11:15: `x Bms` cannot stand here; expected `BO_ id name: length sender`"),
    (PACK.replace("BO_ 2566844416", "B0_ 2566844416"),
     "pack.dbc:16:1: `B0_ 2566844416 Cells: 8 ` is no DBC statement, and signals follow it; expected BO_"),
    (PACK.replace("BO_ 256 Pack", "B0_ 256 Pack"),
     "pack.dbc:11:1: `B0_ 256 Pack: 8 Bms` is no DBC statement, and signals follow it; expected BO_"),
    (HEAD + "Hello\n" + "BS_:\n" + ' SG_ S : 0|8@1+ (1,0) [0|0] "" X\n',
     "pack.dbc:13:2: a signal outside a message; expected BO_ before SG_"),
    (HEAD + ' SG_ S : 0|8@1+ (1,0) [0|0] "" X\n', "pack.dbc:11:2: a signal outside a message; expected BO_ before SG_"),
    (PACK + "SG_MUL_VAL_ 256 Voltage;\n",
     f"pack.dbc:{PACK.count(chr(10)) + 1}:1: `SG_MUL_VAL_ 256 Voltage;` cannot be read; "
     "expected `SG_MUL_VAL_ id signal multiplexer first-last;`"),
    (PACK + "SG_MUL_VAL_ 2566844416 Cell1 Page 2 15;\n",
     f"pack.dbc:{PACK.count(chr(10)) + 1}:1: `SG_MUL_VAL_ 2566844416 C` cannot be read; "
     "expected `SG_MUL_VAL_ id signal multiplexer first-last;`"),
    (PACK + "SIG_VALTYPE_ 256 State :",
     f"pack.dbc:{PACK.count(chr(10)) + 1}:25: the end of the line cannot stand here; "
     "expected `SIG_VALTYPE_ id signal : 0|1|2;`"),
    (PACK.replace('"Of the pack,', '"Of the pack";\nCM_ SG_ 256 State "open;\nSIG_VALTYPE_ 256 Voltage x;\nCM_ "'),
     "pack.dbc:23:26: `x;` cannot stand here; expected `SIG_VALTYPE_ id signal : 0|1|2;`"),
    (PACK + 'CM_ BO_ 256 "x" SIG_VALTYPE_ 256 State : 1;\n',
     f"pack.dbc:{PACK.count(chr(10)) + 1}:17: `SIG_VALTYPE_ 256 State :` cannot stand here; "
     "expected one statement a line"),
    (PACK.replace('"A" Tool', '"A" Tool BO_ 300 Next 8 X'),
     "pack.dbc:13:58: `BO_ 300 Next 8 X` cannot stand here; expected one statement a line"),
    (PACK.replace('"A" Tool', '"A" Tool SG_ Next 8|8'),
     "pack.dbc:13:58: `SG_ Next 8|8` cannot stand here; expected one statement a line"),
    (PACK + "SIG_VALTYPE_ 256 Voltage : 9;\n",
     f"pack.dbc:{PACK.count(chr(10)) + 1}:1: `SIG_VALTYPE_ 256 Voltage` cannot be read; "
     "expected `SIG_VALTYPE_ id signal : 0|1|2;`"),
]  # fmt: skip


@pytest.mark.parametrize("text, message", REFUSALS)
def test_a_refusal_names_the_place_and_what_was_expected(text, message):
    assert refusal(text) == message


def test_a_file_that_cannot_be_read_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"none\.dbc: cannot be read \(No such file or directory\); expected a DBC"):
        load(tmp_path / "none.dbc")
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path)


def test_an_undeclared_cycle_time_counts_all_the_same():
    db = read(PACK.replace('BA_DEF_ BO_ "GenMsgCycleTime" INT 0 10000;\n', ""))
    assert db.message("Pack").cycle_ms == 100
    assert said(db, "unknown-attribute") == [(25, "BA_ `GenMsgCycleTime` is not declared by BA_DEF_")]


def test_the_file_itself_is_never_changed(tmp_path):
    path = tmp_path / "pack.dbc"
    path.write_bytes(PACK.replace("BS_:", "").encode())
    before = path.read_bytes()
    db = load(path)
    assert path.read_bytes() == before and db.path == path and len(db.sha256) == 64


def test_cantools_decodes_what_was_loaded():
    db = read(PACK)
    assert db.cantools.decode_message("Pack", bytes([0xA0, 0x0F, 0xFF, 0xFE, 1, 0, 0, 0])) == {
        "Voltage": 400.0, "Current": -12.6, "State": "On",
    }  # fmt: skip
    frame = db.cantools.encode_message("Cells", {"Page": 1, "Cell2": 3700})
    assert db.cantools.decode_message("Cells", frame) == {"Page": 1, "Cell2": 3700}
    assert db.cantools.get_message_by_name("Pack").cycle_time == 100


TAIL = "SG_MUL_VAL_ 2566844416 Cell1 Page 0-0;\nSIG_VALTYPE_ 256 State : 0;\nBO_TX_BU_ 256 : Bms,Tool;\n"


def test_a_cut_file_never_shows_a_signal_other_than_it_was():
    def layout(signal):
        return signal.start, signal.length, signal.big_endian, signal.signed, signal.scale, signal.offset, signal.mux

    whole = read(PACK + TAIL)
    for cut in range(len(HEAD), len(PACK + TAIL), 5):
        try:
            db = read((PACK + TAIL)[:cut])
        except InputError:
            continue
        for message in db.messages:
            for signal in message.signals:
                assert signal.defect or layout(signal) == layout(whole.find(f"{message.name}.{signal.name}")[1]), cut


edits = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, 4000), st.integers(0, 255)),
        st.tuples(st.just("cut"), st.integers(0, 4000), st.integers(1, 30)),
        st.tuples(st.just("put"), st.integers(0, 4000), st.binary(max_size=6)),
        st.tuples(st.just("type"), st.integers(0, 4000), st.text('0123456789"|@+-()[],:;mM \n_.', max_size=12)),
        st.tuples(st.just("drop line"), st.integers(0, 40), st.just(0)),
        st.tuples(st.just("copy line"), st.integers(0, 40), st.integers(0, 40)),
    ),
    max_size=8,
)


@settings(derandomize=True, max_examples=400, deadline=None)
@given(edits)
def test_no_damage_to_a_dbc_ends_in_anything_but_one_line(changes):
    data = (PACK + TAIL).encode()
    for kind, at, what in changes:
        if kind.endswith("line"):
            lines = data.split(b"\n")
            at %= len(lines)
            lines[at : at + (kind == "drop line")] = [] if kind == "drop line" else [lines[what % len(lines)]]
            data = b"\n".join(lines)
            continue
        at %= len(data) + 1
        new = bytes([what]) if kind == "set" else b"" if kind == "cut" else what.encode() if kind == "type" else what
        gone = {"set": 1, "cut": what}.get(kind, 0)
        data = data[:at] + new + data[at + gone :]
    try:
        db = read(data)
        assert db.cantools is not None
    except InputError as error:
        assert "\n" not in str(error)
        return
    for message in db.messages:
        for signal in message.signals:
            safe = signal.defect is None
            assert not safe or (signal.end <= 8 * message.length and signal.length <= 32 and not signal.is_float)
