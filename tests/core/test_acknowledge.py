"""Acknowledgement: the right tag for this alarm of this vehicle releases it, and nothing else does."""

import hashlib
import hmac

import pytest
from cellwarden.acknowledge import acknowledge, challenge, hmac_sha256, same
from cellwarden.core import catalogue
from cellwarden.core import layout as L
from cellwarden.engine import Engine
from hypothesis import given, settings
from hypothesis import strategies as st
from rig import FrameRig

KEY = bytes(range(32))
IDENTITY = hashlib.sha256(b"an image").digest()
RUNAWAY = catalogue.RULES.index("thermal_runaway")

# RFC 4231 section 4: key, data, what HMAC-SHA-256 begins with (test case 5 is truncated).
RFC_4231 = [
    (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    (b"Jefe", b"what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
    (b"\xaa" * 20, b"\xdd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
    (bytes(range(1, 26)), b"\xcd" * 50, "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
    (b"\x0c" * 20, b"Test With Truncation", "a3b6167473100ee06e0c796c2955552b"),
    (
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    (
        b"\xaa" * 131,
        b"This is a test using a larger than block-size key and a larger than block-size data. The key needs to be "
        b"hashed before being used by the HMAC algorithm.",
        "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
    ),
]


@pytest.mark.parametrize(("key", "data", "tag"), RFC_4231)
def test_the_tag_is_that_of_rfc_4231(key, data, tag):
    assert hmac_sha256(key, data).hex().startswith(tag)


@settings(max_examples=300)
@given(st.binary(min_size=1, max_size=150), st.binary(max_size=300))
def test_the_tag_is_pythons_own_for_any_key_and_message(key, message):
    assert hmac_sha256(key, message) == hmac.digest(key, message, "sha256")


@settings(max_examples=300)
@given(st.binary(max_size=40), st.binary(max_size=40))
def test_tags_are_equal_only_where_every_byte_is(one, other):
    assert same(one, other) == (one == other) and same(one, one)


def test_one_wrong_bit_anywhere_is_seen():
    tag = hmac_sha256(KEY, b"")
    for bit in range(256):
        wrong = bytearray(tag)
        wrong[bit // 8] ^= 1 << bit % 8
        assert not same(tag, wrong) and not same(wrong, tag)


class Alarm:
    """An engine in which thermal runaway is asserted and its evidence is gone."""

    def __init__(self, image, events=7):
        self.engine = Engine(image)
        self.engine.advance(0)
        first, _ = L.state_sections(image.params)["rules"]
        self.row = first + RUNAWAY * L.RULE_SIZE
        state = self.engine.state
        state[self.row + L.BUSY], state[self.row + L.LEVEL_NOW], state[L.LEVEL] = 1 << 2, 3, 3
        state[L.EVENTS] = events

    def level(self, t_ms):
        self.engine.advance(t_ms)
        return self.engine.state[self.row + L.LEVEL_NOW]


@pytest.fixture
def alarm(demo):
    return Alarm(demo.image)


def test_a_latched_alarm_stays_without_an_acknowledgement_and_goes_with_the_right_one(alarm):
    assert alarm.level(1000) == 3 and alarm.level(3_600_000) == 3, "it cleared by itself"
    tag = hmac.digest(KEY, challenge(alarm.engine, RUNAWAY, IDENTITY), "sha256")
    assert acknowledge(alarm.engine, KEY, RUNAWAY, tag, 3_600_100, IDENTITY) is True
    assert alarm.level(3_600_300) == 0


def test_a_wrong_acknowledgement_changes_nothing(alarm):
    engine = alarm.engine
    ask = challenge(engine, RUNAWAY, IDENTITY)
    tag = hmac.digest(KEY, ask, "sha256")
    before = bytes(engine.state)
    other = catalogue.RULES.index("cell_overvoltage")
    for wrong in (
        (KEY[:-1] + b"\0", RUNAWAY, tag, 100, IDENTITY),
        (KEY, other, tag, 100, IDENTITY),
        (KEY, RUNAWAY, tag, 100, hashlib.sha256(b"another image").digest()),
        (KEY, RUNAWAY, tag, 100),
        (KEY, RUNAWAY, tag[:-1], 100, IDENTITY),
        (KEY, RUNAWAY, tag + b"\0", 100, IDENTITY),
        (KEY, RUNAWAY, b"", 100, IDENTITY),
        (KEY, RUNAWAY, bytes(32), 100, IDENTITY),
        (KEY, RUNAWAY, ask, 100, IDENTITY),
        (KEY, RUNAWAY, hashlib.sha256(KEY + ask).digest(), 100, IDENTITY),
    ):
        assert acknowledge(engine, *wrong) is False
        assert bytes(engine.state) == before


def test_an_acknowledgement_releases_no_alarm_that_came_later(demo):
    before, later = Alarm(demo.image, events=7), Alarm(demo.image, events=8)
    tag = hmac.digest(KEY, challenge(before.engine, RUNAWAY), "sha256")
    assert acknowledge(later.engine, KEY, RUNAWAY, tag, 100) is False and later.level(1000) == 3
    assert acknowledge(before.engine, KEY, RUNAWAY, tag, 100) is True and before.level(1000) == 0


def test_a_tag_releases_once_though_nothing_has_happened_since(demo):
    rig = FrameRig(demo, start_ms=590)
    rig.scan(50)
    rig[rig.cell(7)], rig[rig.probe(3)] = 2500, 650
    rig.scan(50)
    assert rig.level("thermal_runaway") == 3
    tag = hmac.digest(KEY, challenge(rig.engine, RUNAWAY), "sha256")
    assert acknowledge(rig.engine, KEY, RUNAWAY, tag, rig.clock[L.NOW_MS]) is True
    rig.scan(3)
    assert rig.level("thermal_runaway") == 3, "the fire still burns"
    assert acknowledge(rig.engine, KEY, RUNAWAY, tag, rig.clock[L.NOW_MS]) is False, "an old tag was played again"


def test_a_challenge_says_for_what_it_is_and_nothing_else_makes_the_same(alarm):
    ask = challenge(alarm.engine, RUNAWAY, IDENTITY)
    assert ask == b"cellwarden acknowledge 1\x20" + IDENTITY + bytes([0, RUNAWAY, 0, 0, 0, 7])
    assert challenge(alarm.engine, RUNAWAY) == b"cellwarden acknowledge 1\0" + bytes([0, RUNAWAY, 0, 0, 0, 7])
    alarm.engine.state[L.EVENTS] = L.MASK
    assert challenge(alarm.engine, RUNAWAY)[-4:] == b"\x3f\xff\xff\xff"
    asks = {
        challenge(alarm.engine, rule, identity) for rule in range(len(catalogue.RULES)) for identity in (b"", IDENTITY)
    }
    assert len(asks) == 2 * len(catalogue.RULES)


def test_wrong_use_is_refused(alarm):
    engine, tag = alarm.engine, bytes(32)
    before = bytes(engine.state)
    for rule in (-1, len(catalogue.RULES), 1 << 16):
        with pytest.raises(ValueError, match=f"no rule {rule}$"):
            acknowledge(engine, KEY, rule, tag, 100)
    for identity in (IDENTITY[:-1], IDENTITY + b"\0", b"\0"):
        with pytest.raises(ValueError, match="an identity of"):
            acknowledge(engine, KEY, RUNAWAY, tag, 100, identity)
    with pytest.raises(ValueError, match="empty key"):
        acknowledge(engine, b"", RUNAWAY, tag, 100)
    assert bytes(engine.state) == before
