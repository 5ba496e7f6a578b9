"""Frames of an annex become what the core's ring had, by the careful reader and by compiled code alike."""

import random
import struct
from array import array
from types import SimpleNamespace

import pytest
from cellwarden.blackbox import content as C
from cellwarden.core import layout as L
from cellwarden_tools.blackbox.frames import Records, unpackers

pytest.importorskip("numba")


def image(data_bytes=8, ids=(0, 1, 3)):
    params = [0] * L.HEADER_SIZE
    params[L.P_DATA_BYTES] = data_bytes
    return SimpleNamespace(params=params, names={"messages": [[0, "M", can_id] for can_id in ids]})


BY_HAND = bytes.fromhex(
    "e8030000 0000"  # 1000 ms, body 0
    "fe 00 01 03 23010000 00 05 07 0a0b0c"  # 1005: 0x123 on bus 1: 0a 0b 0c
    "fd 02 03"  # 1007: three that were not kept
    "00 01 02 ee"  # 1008: 0a ee 0c
    "fc 00000200"  # scans up to 131072
    "fa 07"  # what the core made of them is noted as number 7
    "fb 05000000"  # five frames could not be kept
    "fe 01 00 01 02000040 01 00 00"  # 131072: a notice without a kind of its own, one byte 0
)


def rows(records, body):
    size = L.RECORD_DATA + records.record_bytes - L.RECORD_DATA
    found = []
    for part in records.unpack(body):
        if part is None or isinstance(part, int):
            found.append(part)
        else:
            found += [bytes(part[at : at + size]) for at in range(0, len(part), size)]
    return found


@pytest.mark.parametrize("fast", [False, True], ids=["careful", "compiled"])
def test_the_records_are_those_by_hand(fast):
    records = Records(image(), fast)
    first = struct.pack("<iiBBxx8s", 1005, 0x123, 1, 3, b"\x0a\x0b\x0c")
    strange = struct.pack("<iiBBxx8s", 1007, 2, 0, 0, b"")
    changed = struct.pack("<iiBBxx8s", 1008, 0x123, 1, 3, b"\x0a\xee\x0c")
    scans = struct.pack("<iiBBxx8s", 131072, -(1 << 30), 0, 0, b"")
    last = struct.pack("<iiBBxx8s", 131072, 0x40000002, 0, 1, b"\0")
    assert rows(records, BY_HAND) == [first, strange, strange, strange, changed, scans, 7, None, last]
    assert (records.frames, records.unknown, records.gaps) == (2, 3, 5)


def bodies(rng, most):
    """Bodies of random items, the second going on from the first; some damaged."""
    entries = {}
    for number in (0, 1):
        body = bytearray(struct.pack("<IH", rng.randrange(1 << 30), number))
        for _ in range(rng.randrange(60)):
            kind = rng.choice((C.NEW, C.UNKNOWN, C.ADVANCE, C.GAP, C.NOTED, 0, 0, 0, 0))
            step = rng.choice((b"\0", b"\1", b"\xfe", b"\xff" + rng.randbytes(4)))
            if kind == C.NEW or not entries:
                entry, length = rng.randrange(C.ENTRIES), rng.randrange(most + 1)
                body += bytes([C.NEW, entry, rng.randrange(4), length]) + rng.randbytes(4)
                entries[entry] = length
            elif kind == C.UNKNOWN:
                body += bytes([kind]) + step + bytes([rng.randrange(256)])
            elif kind == C.NOTED:
                body += bytes([kind, rng.randrange(256)])
            elif kind in (C.ADVANCE, C.GAP):
                body += bytes([kind]) + rng.randbytes(3) + bytes([rng.randrange(140)])
            else:
                entry = rng.choice(list(entries))
                body += bytes([entry]) + step
                for first in range(0, entries[entry], 8):
                    mask = rng.randrange(256) & (1 << min(8, entries[entry] - first)) - 1
                    body += bytes([mask]) + rng.randbytes(mask.bit_count())
        if rng.random() < 0.5:
            body[rng.randrange(6, len(body) + 1) :] = b""
        if rng.random() < 0.5 and len(body) > 6:
            body[rng.randrange(6, len(body))] ^= 1 << rng.randrange(8)
        yield bytes(body)


def told(records, body):
    try:
        return rows(records, body)
    except ValueError:
        return "bad"


@pytest.mark.parametrize("data_bytes", [8, 64])
def test_compiled_code_reads_what_the_careful_reader_reads(data_bytes):
    bad = whole = 0
    for seed in range(2000):
        rng = random.Random(seed)
        careful, quick = Records(image(data_bytes)), Records(image(data_bytes), True)
        for body in bodies(rng, data_bytes if seed % 3 else 64):
            expected = told(careful, body)
            assert told(quick, body) == expected, seed
            bad, whole = bad + (expected == "bad"), whole + (expected != "bad")
            counts = [(r.frames, r.unknown, r.gaps) for r in (careful, quick)]
            assert expected == "bad" or counts[0] == counts[1], seed
    assert bad > 200 and whole > 200
    print(f"{whole} whole bodies and {bad} damaged ones are read alike")


def test_a_body_of_more_records_than_are_made_at_a_time(monkeypatch):
    body = struct.pack("<IH", 7, 0) + bytes([C.UNKNOWN, 1, 255]) * 70 + bytes([C.ADVANCE, 1, 0, 0, 0])
    careful, quick = (rows(Records(image(), fast), body) for fast in (False, True))
    assert careful == quick and len(quick) == 70 * 255 + 1


def test_a_body_before_it_is_missed_by_both():
    for fast in (False, True):
        records = Records(image(), fast)
        second = BY_HAND[:4] + b"\1\0" + BY_HAND[6:]
        with pytest.raises(ValueError, match="missing"):
            rows(records, second)
        rows(records, BY_HAND)
        rows(records, second)
        with pytest.raises(ValueError, match="missing"):
            rows(records, second)


def test_compiled_code_reads_the_words_that_the_careful_reader_reads():
    """Random bits are words, or end early; each stream goes on from what it gave last."""
    whole = early = 0
    for seed in range(1500):
        rng = random.Random(seed)
        spans, at = array("i"), 0
        for _ in range(rng.randrange(1, 5)):
            first = at + rng.randrange(3)
            at = first + rng.randrange(1, 60)
            mode = rng.choice((C.PLAIN, C.MEAN, 1, 3, 14))
            spans.extend((first, at, mode, rng.randrange(-(1 << 30), 1 << 30)))
        words = [[array("i", bytes(4 * at)) for _ in range(2)] for _ in range(2)]
        for goes_on in (0, 1, 1):
            data = bytes(rng.choice((0, 1, 17, rng.randrange(256))) for _ in range(rng.choice((40, 400, 1500))))
            told = []
            for fast in (False, True):
                before, now = words[fast]
                good = unpackers(fast).unpack_words(2, data, spans, len(spans) // 4, goes_on, before, now)
                words[fast] = [now, before]
                told.append(now if good else "early")
            assert told[0] == told[1], seed
            whole, early = whole + (told[0] != "early"), early + (told[0] == "early")
            if told[0] == "early":
                break
    assert whole > 500 and early > 200
    print(f"{whole} bodies are read alike, {early} end early for both")
