"""A second reader of a whole log, written from the byte table of docs/blackbox.md and from nothing else.

It imports nothing of Cellwarden and shares no line with it. It is strict: what it returns is proven from the first byte
to the last, and a log that is not raises AssertionError.
"""

import hashlib
import hmac
import zlib

IDENTITY, BOOT, MISSING, TAIL, SHUTDOWN, SEAL, END = 1, 2, 3, 4, 15, 16, 17


def u16(data, at):
    return data[at] + data[at + 1] * 256


def u32(data, at):
    return u16(data, at) + u16(data, at + 2) * 65536


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def chain_key(first_key, n):
    """C(n)"""
    for _ in range(n):
        first_key = sha256(b"cellwarden next key 1", first_key)
    return first_key


def record_at(data, at):
    """(type, boot, sequence, t_ms, body, all its bytes)"""
    assert data[at] == 0xCB, f"no record begins at byte {at}"
    length = u16(data, at + 2)
    assert at + 20 + length <= len(data), f"the record at byte {at} is cut"
    whole = data[at : at + 20 + length]
    assert zlib.crc32(whole[:-4]) == u32(whole, 16 + length), f"wrong CRC at byte {at}"
    return whole[1], u32(whole, 4), u32(whole, 8), u32(whole, 12), whole[16:-4], whole


def records_of(data):
    """Every record of a segment or of end.cwb, with where it begins."""
    at = 0
    while at < len(data):
        record = record_at(data, at)
        yield at, record
        at += len(record[5])


def read(files, first_key):
    """[(type, boot, sequence, t_ms, body)] and [(index, tag)] of a log that begins with the box and was shut down."""
    records, seals = [], []
    before, sequence, boot = bytes(32), 0, 0
    names = sorted(name for name in files if name[:-4].isdigit() and name.endswith(".cwb"))
    for number, name in enumerate(names, 1):
        assert name == f"{number:08}.cwb"
        sealed = []
        for at, (kind, its_boot, its_sequence, t_ms, body, whole) in records_of(files[name]):
            assert its_sequence == sequence, f"{name}: record {its_sequence} stands where {sequence} should"
            sequence += 1
            if at == 0:
                assert kind == IDENTITY and u16(body, 0) == 1 and u32(body, 2) == number
                assert u32(body, 6) == 1 and u32(body, 10) == 0, "this reader wants a log from its beginning"
                assert u32(body, 14) == len(seals)
                assert body[67:99] == sha256(b"cellwarden first key 1", first_key)
                assert its_boot in (boot, boot + 1)
                began, boot = its_boot > boot, its_boot
            elif began:
                assert kind == BOOT and len(body) == 1, "a boot says first why it began"
                began = False
            assert its_boot == boot
            records.append((kind, its_boot, its_sequence, t_ms, body))
            if kind != SEAL:
                sealed.append(whole)
                continue
            index, first, tag = u32(body, 0), u32(body, 4), body[40:72]
            assert len(body) == 72 and index == len(seals) and first == sequence - 1 - len(sealed)
            assert body[8:40] == before, f"block {index} hangs on another block"
            key = sha256(b"cellwarden seal key 1", chain_key(first_key, index))
            assert hmac.new(key, b"".join(sealed) + whole[:-36], "sha256").digest() == tag, f"block {index} is forged"
            seals.append((index, tag))
            before, sealed = tag, []
        assert not sealed, f"{name} ends with records that no seal covers"
    assert records[-2][0] == SHUTDOWN
    ((_, (kind, _, _, _, body, _)),) = records_of(files["end.cwb"])
    assert kind == END and u32(body, 0) == len(seals)
    assert body[4:] == sha256(b"cellwarden end 1", chain_key(first_key, len(seals)))
    return records, seals
