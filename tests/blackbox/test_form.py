"""The bytes of the log against bytes written by hand, and a whole log against a second reader."""

import hashlib
import hmac
import io
import json
import struct
import zlib

import disk
import pytest
import second_reader
import story
from cellwarden.blackbox import form as F
from cellwarden.blackbox import keys as K
from cellwarden.blackbox.chain import Chain, segment_name, segment_number

BODY = b"\x01\x02\x03"
# mark, type 8 (event), length 3, boot 2, sequence 0x01020304, t_ms 0xFFFFFFFF, body, CRC-32
BY_HAND = bytes.fromhex("cb 08 0300 02000000 04030201 ffffffff 010203")


def test_a_record_is_as_the_table_says():
    head, crc = F.head_and_crc(F.EVENT_TYPE, 2, 0x01020304, 0xFFFFFFFF, BODY)
    assert head + BODY == BY_HAND
    assert crc == zlib.crc32(BY_HAND).to_bytes(4, "little")
    assert F.head_and_crc(F.EVENT_TYPE, 2, 0x01020304, (1 << 32) + 5, BODY)[0][12:16] == b"\5\0\0\0"


def test_the_checksum_is_the_one_of_the_rocksoft_catalogue():
    assert F.crc32(b"123456789") == 0xCBF43926


def test_a_record_is_read_back():
    whole = BY_HAND + zlib.crc32(BY_HAND).to_bytes(4, "little")
    assert F.next_record(io.BytesIO(whole + b"more")) == (8, 2, 0x01020304, 0xFFFFFFFF, BODY, whole)


@pytest.mark.parametrize("end", range(len(BY_HAND) + 4))
def test_no_part_of_a_record_is_one(end):
    whole = BY_HAND + zlib.crc32(BY_HAND).to_bytes(4, "little")
    assert F.next_record(io.BytesIO(whole[:end])) is None


@pytest.mark.parametrize("at, value", [(0, 0xCA), (1, 0), (1, len(F.TYPES)), (1, 255)])
def test_another_mark_and_a_type_there_is_not_are_no_record(at, value):
    changed = bytearray(BY_HAND)
    changed[at] = value
    changed += zlib.crc32(changed).to_bytes(4, "little")
    assert F.next_record(io.BytesIO(changed)) is None


def test_a_body_is_16384_bytes_at_most():
    for length, there in ((16384, True), (16385, False), (65535, False)):
        whole = struct.pack("<BBHIII", 0xCB, 6, length, 1, 1, 1) + bytes(length)
        whole += zlib.crc32(whole).to_bytes(4, "little")
        assert (F.next_record(io.BytesIO(whole)) is not None) is there


def test_the_types_are_numbered_as_the_table_says():
    assert list(enumerate(F.TYPES))[1:] == [
        (1, "identity"), (2, "boot"), (3, "missing"), (4, "tail"), (5, "clock"), (6, "frames"), (7, "features"),
        (8, "event"), (9, "snapshot"), (10, "lost"), (11, "security"), (12, "update"), (13, "acknowledgement"),
        (14, "upload"), (15, "shutdown"), (16, "seal"), (17, "end"), (18, "annex"), (19, "dropped"), (20, "hazard"),
    ]  # fmt: skip
    for number, name in list(enumerate(F.TYPES))[1:]:
        assert getattr(F, f"{name.upper()}_TYPE") == number


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 63, 64])
def test_the_seal_is_the_hmac_of_the_library(length):
    key = bytes(range(100, 100 + length))
    ours = F.Mac(key)
    for part in (b"", b"one", b"two" * 100):
        ours.update(part)
    assert ours.tag() == hmac.new(key, b"one" + b"two" * 100, "sha256").digest()


def test_the_keys_are_those_of_the_table():
    c0 = bytes(range(32))
    c1 = hashlib.sha256(b"cellwarden next key 1" + c0).digest()
    assert K.derived(K.NEXT_LABEL, c0) == c1
    assert K.derived(K.SEAL_LABEL, c1) == hashlib.sha256(b"cellwarden seal key 1" + c1).digest()
    assert K.commitment(c0) == hashlib.sha256(b"cellwarden first key 1" + c0).digest()
    assert K.derived(K.END_LABEL, c1) == hashlib.sha256(b"cellwarden end 1" + c1).digest()
    p1 = hashlib.sha256(b"cellwarden not stored 1" + c1).digest()
    assert K.folded(bytes(32), c1) == hashlib.sha256(bytes(32) + p1).digest()


def test_no_label_is_the_beginning_of_another():
    labels = [K.NEXT_LABEL, K.SEAL_LABEL, K.NOT_STORED_LABEL, K.END_LABEL, K.COMMITMENT_LABEL]
    assert not [(a, b) for a in labels for b in labels if a is not b and b.startswith(a)]


def test_a_slot_is_as_the_table_says():
    parts = [bytes([n]) * 32 for n in range(5)]
    slot = K.Slot(1, 2, 3, 4, 5, 1, *parts)
    by_hand = b"CWK1" + b"".join(n.to_bytes(4, "little") for n in (1, 2, 3, 4, 5, 1)) + b"".join(parts)
    by_hand += zlib.crc32(by_hand).to_bytes(4, "little")
    assert K.pack_slot(slot) == by_hand and len(by_hand) == K.SLOT_BYTES == 192
    assert K.unpack_slot(by_hand) == slot
    for at in range(len(by_hand)):
        for bit in range(8):
            changed = bytearray(by_hand)
            changed[at] ^= 1 << bit
            assert K.unpack_slot(bytes(changed)) is None, "a slot that was torn is taken for one"
    assert K.unpack_slot(by_hand[:-1]) is K.unpack_slot(b"\xff" * 192) is K.unpack_slot(bytes(192)) is None


def test_segments_are_told_by_their_names():
    assert segment_name(42) == "00000042.cwb"
    assert segment_number("00000042.cwb") == 42
    for name in (
        "42.cwb",
        "0000004x.cwb",
        "00000042.cw",
        "end.cwb",
        "key.a",
        "00000042.cwb.bak",
        "",
        ".cwb",
        "+0000042.cwb",
    ):
        assert segment_number(name) is None


def test_a_second_reader_reads_the_whole_log_alike(lived, verified):
    files = lived(capacity=1 << 20)
    records, seals = second_reader.read(files, story.FIRST_KEY)
    seen = verified(files)
    assert seen.intact and seen.complete and not seen.faults and not seen.lost
    assert seen.tags == dict(seals) and seen.records == len(records)
    assert sum(kind == F.BOOT_TYPE for kind, *_ in records) == len(seen.boots) == 3
    bodies = [body for kind, _, _, _, body in records if kind == F.FEATURES_TYPE]
    assert bodies == [bytes([n, 0]) * 20 for n in range(7)] * 3
    print(f"{len(records)} records in {len(seals)} blocks")


def test_the_second_reader_tells_a_forged_log(lived):
    """It proves something only if it refuses what is not so."""
    files = lived(boots=1, capacity=1 << 20)
    name = segment_name(1)
    for at in range(0, len(files[name]), 7):
        changed = bytearray(files[name])
        changed[at] ^= 1
        with pytest.raises(AssertionError):
            second_reader.read(files | {name: bytes(changed)}, story.FIRST_KEY)
    with pytest.raises(AssertionError):
        second_reader.read(files, bytes(32))


def test_the_box_forgets_what_sealed_its_past(on):
    """Neither in the folder nor in the box's memory is a key of a sealed block, nor one that leads to it."""
    there = disk.Disk()
    K.FileKeys(on(there)).provision(story.FIRST_KEY)
    chain = story.start(on(there))
    for n in range(12):
        chain.put(F.EVENT_TYPE, n, b"x" * 50)
        assert chain.seal(n)
        forbidden = set()
        for index in range(chain.index + 1):
            key = second_reader.chain_key(story.FIRST_KEY, index)
            forbidden.add(key)  # C(index) up to that of the open block
            if index < chain.index:
                forbidden.add(second_reader.sha256(b"cellwarden seal key 1", key))
        held = b"".join(bytes(file.data) for file in there.names.values())
        held += b"".join(value for value in vars(chain).values() if isinstance(value, bytes))
        assert len(forbidden) == 2 * chain.index + 1
        assert not [key for key in forbidden if key in held], f"an old key is there after block {chain.index - 1}"


def test_the_ring_says_what_it_let_go(lived, verified):
    files = lived(boots=9)
    assert segment_name(1) not in files
    seen = verified(files)
    assert seen.intact and seen.complete and seen.first.index > 0
    assert seen.identity[3] == seen.first.index and seen.identity[2] == min(seen.paths)
    assert seen.identity[8:] == (14000, 2000, 0, 0, 0, 0)
    assert sum(-(-len(data) // 4096) * 4096 for name, data in files.items() if segment_number(name)) <= 14000 + 4096


def test_a_block_of_half_a_segment_is_sealed_by_itself(on, verified):
    there = disk.Disk()
    K.FileKeys(on(there)).provision(story.FIRST_KEY)
    chain = Chain(on(there), K.FileKeys(on(there)), story.VEHICLE, story.IMAGE, 0, 1 << 20, 8000)
    for n in range(60):
        assert chain.put(F.FRAMES_TYPE, n, bytes(500))
    assert chain.index >= 60 * 500 // 4600
    chain.put(F.SHUTDOWN_TYPE, 60, b"")
    assert chain.seal(60)
    seen = verified({name: bytes(file.data) for name, file in there.names.items()})
    assert seen.intact and seen.complete
    assert all(path.stat().st_size < 12600 for path in seen.paths.values())


def test_a_key_is_made_once(on):
    folder = on(disk.Disk())
    with pytest.raises(ValueError, match="31 bytes"):
        K.FileKeys(folder).provision(bytes(31))
    with pytest.raises(ValueError, match="no key"):
        story.start(folder)
    K.FileKeys(folder).provision(story.FIRST_KEY)
    with pytest.raises(ValueError, match="already"):
        K.FileKeys(folder).provision(story.FIRST_KEY)


def test_an_anchor_is_json_of_its_fields(lived, verified, tmp_path):
    from cellwarden_tools.blackbox.anchor import read_anchor, write_anchor

    seen = verified(lived(boots=1))
    write_anchor(tmp_path / "anchor", story.FIRST_KEY, seen.last)
    told = json.loads((tmp_path / "anchor").read_text())
    assert told == {
        "cellwarden_anchor": 1,
        "box": hashlib.sha256(b"cellwarden first key 1" + story.FIRST_KEY).hexdigest(),
        "index": 6,
        "tag": seen.tags[6].hex(),
    }
    anchor = read_anchor(tmp_path / "anchor", story.FIRST_KEY)
    assert (anchor.index, anchor.tag) == (6, seen.tags[6])
