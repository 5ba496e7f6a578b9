"""Generated decoders: every multiplexer, identifier, bus and checksum kind reaches its own signals and no other's."""

import pytest
from cellwarden.core import layout as L
from cellwarden.engine import Engine
from cellwarden_tools.compiler.checksums import crc8_table
from hypothesis import given, settings
from hypothesis import strategies as st
from rig import get_bits
from vehicles import DECODERS, dbc, message, profile

NA = L.NA


@pytest.fixture
def engine(compile_text):
    def made(name):
        return Engine(compile_text(*DECODERS[name]).image)

    return made


def cells(engine, n):
    return list(engine.section("signals")[L.SCALARS : L.SCALARS + n])


def le(*words):
    return b"".join(word.to_bytes(2, "little") for word in words)


def test_nested_pages_and_ranges_reach_their_own_signals(engine):
    for outer, inner, slots in (
        (0, 9, {1: 3000, 2: 3100}),
        (1, 0, {3: 3000}), (1, 1, {4: 3100}), (1, 2, {4: 3100}), (1, 3, {4: 3100}), (1, 4, {}), (1, 5, {4: 3100}),
        (1, 6, {}), (1, 8, {}), (1, 9, {4: 3100}), (1, 12, {4: 3100}), (1, 13, {}),
        (3, 0, {5: 3000}), (9, 1, {6: 3200}), (4, 0, {}), (255, 255, {}),
    ):  # fmt: skip
        one = engine("extended mux")
        one.frame(0, 256, bytes([outer, inner]) + le(3000, 3100, 3200))
        assert cells(one, 6) == [slots.get(n, NA) for n in range(1, 7)], f"page {outer}.{inner}"
        assert one.state[L.FRAMES] == 1
        fresh = sum(status == L.FRESH for status in one.section("groups")[L.STATUS :: L.GROUP_SIZE])
        assert fresh == bool(slots), "a page without a signal in use refreshed another"


def test_pages_of_other_lengths_ask_for_their_own_bytes(engine):
    one = engine("extended mux")
    one.frame(0, 256, bytes([2, 0, 65]))
    assert one.section("signals")[L.SCALARS + 6] == 250
    one.frame(0, 256, bytes([7, 0, 65]))
    assert one.state[L.MALFORMED] == 1 and one.section("signals")[L.SOC_PERMILLE] == NA
    one.frame(0, 256, bytes([7, 0, 65, 100]))
    assert one.section("signals")[L.SOC_PERMILLE] == 500
    one.frame(0, 256, b"\x01")
    one.frame(0, 256, b"")
    one.frame(0, 256, bytes([1]))
    assert one.state[L.MALFORMED] >= 3


def test_every_page_of_a_long_message_reaches_its_own_cells(engine):
    one = engine("long")
    for page in range(100):
        one.frame(0, 256, bytes([page, 0]) + le(1000 + 3 * page, 1001 + 3 * page, 1002 + 3 * page))
    assert cells(one, 300) == [1000 + n for n in range(300)]
    assert (one.state[L.FRAMES], one.state[L.MALFORMED]) == (100, 0)


def test_an_id_used_on_two_buses_is_two_messages(engine):
    one = engine("two buses")
    one.frame(0, 256, bytes([0xB8, 0x0B, 100]), channel=0)
    assert (cells(one, 2), one.section("signals")[L.SOC_PERMILLE]) == ([3000, NA], NA)
    one.frame(0, 256, bytes([0x0C, 0x1C, 100]), channel=1)
    assert (cells(one, 2), one.section("signals")[L.SOC_PERMILLE]) == ([3000, 3100], 500)
    one.frame(0, 256, bytes([0, 0, 0]), channel=2)
    assert (one.state[L.FRAMES], one.state[L.IGNORED]) == (2, 1), "a frame of a bus nobody watches was decoded"
    assert cells(one, 2) == [3000, 3100]


def test_an_id_of_29_bits_is_not_the_one_of_11_bits(engine):
    one = engine("wide")
    long_id = 2566869221 & 0x1FFFFFFF
    frame = bytearray(48)
    frame[37] = 0xF0
    one.frame(0, long_id & 0x7FF, bytes(frame))
    one.frame(0, long_id, bytes(frame))
    assert (one.state[L.FRAMES], one.state[L.IGNORED]) == (0, 2)
    one.frame(0, long_id | L.EXT, bytes(frame))
    assert one.state[L.FRAMES] == 1


def test_wide_signals_and_their_sentinels(engine):
    one = engine("wide")

    def read(u, i, r):
        data = u.to_bytes(4, "little") + (i & 0xFFFFFFFF).to_bytes(4, "big") + r.to_bytes(4, "little")
        one.frame(0, 3, data)
        return [one.section("signals")[slot] for slot in (L.PACK_VOLTAGE_MV, L.PACK_CURRENT_MA, L.INSULATION_OHM)]

    assert read(355_200, -120_500, 4_000_000) == [355_200, -120_500, 1_000_000]
    assert read(2_000_000, 3_000_000, 400_000_000) == [2_000_000, 3_000_000, 100_000_000]
    assert read(2_000_001, 3_000_001, 400_000_003) == [NA, NA, NA]
    assert read(0xFFFFFFFF, -3_000_001, 0xFFFFFFFF) == [NA, NA, NA]
    assert read(0, -(1 << 31), 100_000) == [0, NA, NA]
    assert read(1, -5, 100_001) == [1, NA, 25_000]
    assert read(1, -4, 2) == [1, -4, 1]


CHECK = b"123456789"


@pytest.mark.parametrize(
    "kind, check", [("crc8-j1850", 0x4B), ("crc8-autosar", 0xDF), ("crc8", 0xF4), ("xor8", 0x31), ("sum8", 0xDD)]
)
@pytest.mark.parametrize("first", [True, False])
def test_every_checksum_kind_gives_its_published_value(compile_text, kind, check, first):
    byte = 0 if first else 9
    compiled = compile_text(
        profile(
            "sum",
            'soc = "M.Soc"\n',
            cells=1,
            probes=0,
            more=f'[messages."M"]\nchecksum = {{ signal = "X", kind = "{kind}" }}\n',
        ),
        {"a.dbc": dbc(message(1, 10, f'X : {8 * byte}|8@1+ (1,0) [0|0] ""', 'Soc : 16|8@1+ (1,0) [0|0] "%"'))},
    )
    one = Engine(compiled.image)
    for value in range(256):
        one.frame(0, 1, bytes([value]) + CHECK if first else CHECK + bytes([value]))
        assert (one.section("signals")[L.SOC_PERMILLE] != NA) == (value >= check), f"{kind}: sum {value:#x}"
    assert one.state[L.CHECKSUM_ERRORS] == 255


def test_states_and_levels_mean_what_the_profile_says(engine):
    one = engine("sums")

    for raw, hvil in enumerate((0, 1, 1, 0)):
        one.frame(0, 1, bytes([100 ^ raw, 100, raw]))
        assert one.section("signals")[L.HVIL_OK] == hvil
    for raw, level in enumerate((0, 1, 1, 2, NA, NA, NA, 0)):
        body = [raw, 0xA0, 0x0F]
        one.frame(0, 2, bytes([raw, sum(body) & 255, *body[1:]]))
        assert one.section("signals")[L.BMS_LEVEL] == level, f"raw {raw}"


def test_a_counter_of_16_bits_counts_through_its_end(compile_text):
    one = Engine(compile_text(*DECODERS["sums"]).image)
    for k in (65533, 65534, 65535, 0, 1):
        one.frame(0, 6, bytes([65]) + k.to_bytes(2, "little"))
    assert one.state[L.COUNTER_ERRORS] == 0
    one.frame(0, 6, bytes([65]) + (1).to_bytes(2, "little"))
    assert one.state[L.COUNTER_ERRORS] == 1


def test_a_state_without_its_other_value_is_0_and_a_sentinel_is_neither(compile_text):
    one = Engine(compile_text(*DECODERS["sums"]).image)

    def crc(data):
        value = 0
        for byte in data:
            value = crc8_table(0x07)[value ^ byte]
        return value

    for raw, on in ((3, 1), (0, 0), (1, 0), (2, NA)):
        body = bytes([0, 10, raw])
        one.frame(0, 3, body + bytes([crc(body)]))
        assert (one.section("signals")[L.VEHICLE_ON], one.section("signals")[L.PACK_CURRENT_MA]) == (on, 1000)


@settings(max_examples=25)
@given(st.sets(st.integers(0, 0x7FF), min_size=1, max_size=12))
def test_every_identifier_reaches_its_own_message(compile_text, ids):
    """The if-tree over identifiers: each leaf for its number, and for no other."""
    ids = sorted(ids)
    text = dbc(*(message(i, 2, f'C{n + 1} : 0|16@1+ (0.001,0) [0|5] "V"', name=f"M{n}") for n, i in enumerate(ids)))
    compiled = compile_text(profile("ids", 'cell_voltage = "M*.C{n}"\n', cells=len(ids), probes=0), {"a.dbc": text})
    for i in {j + d for j in ids for d in (-1, 0, 1)} | {0, 0x7FF}:
        one = Engine(compiled.image)
        one.frame(0, i & L.MASK, le(3000))
        assert cells(one, len(ids)) == [3000 if i == j else NA for j in ids], f"identifier {i:#x} was taken for another"


@settings(max_examples=30)
@given(st.data())
def test_the_demo_decoder_reads_what_a_slow_reader_reads(demo, data):
    """Random bytes, right sums aside: every signal of the frame as bits and fractions say."""
    groups = [g for g in demo.plan.groups if not demo.plan.messages[g.message][2].checksum]
    group = data.draw(st.sampled_from(groups))
    _, told, _ = demo.plan.messages[group.message]
    frame = bytearray(data.draw(st.binary(min_size=told.length, max_size=told.length)))
    if group.pages:
        frame[0] = min(group.pages[0][1])
    engine = Engine(demo.image)
    engine.frame(0, told.can_id, bytes(frame))
    number = demo.plan.groups.index(group)
    members, table = engine.section("members"), engine.section("group_table")
    first = table[number * L.GROUP_TABLE_SIZE + L.P_FIRST_MEMBER]
    for i, binding in enumerate(group.bindings):
        raw = get_bits(frame, binding.signal)
        if binding.quantity.kind == "number":
            value = round(binding.factor * raw + binding.offset)
            wrong = raw in binding.invalid or not binding.low <= value <= binding.high
            assert engine.section("signals")[members[first + i]] == (NA if wrong else value), binding.signal.name
