"""Whatever bytes lie in a log: `verify` gives its verdict or one clear line, in bounded memory, never a traceback."""

import json
import os
import struct
import tracemalloc

import disk
import pytest
import second_reader
import story
import tamper
from cellwarden.blackbox import content as C
from cellwarden.blackbox import folder
from cellwarden.blackbox import form as F
from cellwarden.blackbox.keys import FileKeys
from cellwarden_tools.blackbox.verify import KINDS, Verification
from cellwarden_tools.errors import InputError
from cellwarden_tools.key_file import read_key
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

WHOLE = os.environ.get("CELLWARDEN_CUTS") == "whole"  # make cuts
FUZZ = dict(
    derandomize=True, deadline=None, max_examples=5000 if WHOLE else 120,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
NAMES = (
    "00000001.cwb", "00000002.cwb", "00000003.cwb", "00000009.cwb", "99999999.cwb", "end.cwb", "key.a", "key.b",
    "00010001.cwf", "00010002.cwf", "ffffffff.cwf",
)  # fmt: skip
KEYS = [second_reader.chain_key(story.FIRST_KEY, n) for n in range(40)]
WORD = st.sampled_from((0, 1, 2, 3, 7, 20, 5000, 1 << 17, (1 << 31) - 1, 1 << 31, (1 << 32) - 2, (1 << 32) - 1))


def small_log():
    there = disk.Disk()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder, "os", there)
        patch.setattr(folder, "open", there.open, raising=False)
        FileKeys(folder.Folder(there.path)).provision(story.FIRST_KEY)
        story.two_lives(folder.Folder(there.path), 7)
    return {name: bytes(file.data) for name, file in there.names.items()}


LOG = small_log()


@pytest.fixture
def judged(tmp_path):
    """Verify any files; returns the Verification, or None where it said in one line why there is none."""
    log = tmp_path / "log"
    log.mkdir()

    def judge(files):
        for path in log.iterdir():
            path.unlink()
        for name, data in files.items():
            (log / name).write_bytes(data)
        try:
            seen = Verification(log, story.FIRST_KEY)
        except InputError as error:
            assert "\n" not in str(error)
            return None
        for fault in seen.faults:
            assert fault.kind in KINDS and 0 <= fault.offset
            json.dumps(fault._asdict())
        assert seen.intact == (bool(seen.tags) and not any(KINDS[f.kind] == "intact" for f in seen.faults))
        assert seen.complete <= (not any(KINDS[f.kind] == "complete" for f in seen.faults))
        str(seen.vehicle), str(seen.image_sha256), [str(lost) for lost in seen.lost]
        return seen

    return judge


@settings(**FUZZ)
@given(st.dictionaries(st.sampled_from(NAMES), st.binary(max_size=400), min_size=1))
def test_any_bytes(judged, files):
    seen = judged(files)
    assert seen is None or not seen.tags


@st.composite
def edits(draw):
    """The small log after some of what can happen to files; checksums may be made right again."""
    files = dict(LOG)
    for _ in range(draw(st.integers(1, 4))):
        name = draw(st.sampled_from(sorted(files)))
        data = bytearray(files[name])
        at, size = draw(st.integers(0, max(0, len(data) - 1))), draw(st.integers(1, 120))
        what = draw(st.integers(0, 7))
        if what == 0 and data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif what == 1:
            del data[at : at + size]
        elif what == 2:
            data[at:at] = draw(st.binary(max_size=40))
        elif what == 3:
            data[at:at] = data[draw(st.integers(0, at)) :][:size]
        elif what == 4:
            other = draw(st.sampled_from(NAMES))
            files[other], data = bytes(data), bytearray(files.get(other, b""))
        elif what == 5:
            data[at : at + 4] = struct.pack("<I", draw(WORD))
        elif what == 6:
            data[at : at + size] = bytes(min(size, len(data) - at))
        else:
            data = data[:at]
        if draw(st.booleans()):
            data = with_right_sums(data)
        files[name] = bytes(data)
    return files


def with_right_sums(data):
    """Each record that still begins with a mark gets the CRC of what stands in it."""
    data, at = bytearray(data), 0
    while at + 20 <= len(data):
        end = at + 20 + second_reader.u16(data, at + 2)
        if data[at] != 0xCB or end > len(data):
            at += 1
            continue
        data[end - 4 : end] = struct.pack("<I", second_reader.zlib.crc32(data[at : end - 4]))
        at = end
    return data


@settings(**FUZZ)
@given(edits())
def test_a_log_after_anything(judged, files):
    seen = judged(files)
    whole = {name: data for name, data in files.items() if name in LOG}
    if seen is not None and seen.intact and seen.complete:
        same = [name for name in tamper.segment_names(LOG) if files.get(name) == LOG[name]]
        tail = files[tamper.segment_names(LOG)[-1]]
        sealed = tail[: seen.last.end]
        assert len(same) >= len(tamper.segment_names(LOG)) - 1 and whole, "a changed log is believed"
        assert LOG[tamper.segment_names(LOG)[-1]].startswith(sealed)


@st.composite
def forged(draw):
    """A log by someone who has the first key: whole records and right seals, and nonsense in them."""
    files, sequence, index, before = {}, 0, 0, bytes(32)
    for number in range(1, draw(st.integers(1, 4)) + 1):
        data = b""
        for _ in range(draw(st.integers(0, 3))):
            boot, parts = draw(st.integers(1, 3)), []
            for kind in draw(st.lists(st.integers(1, len(F.TYPES) - 1).filter(lambda kind: kind != 16), max_size=4)):
                parts.append(tamper.record(kind, boot, sequence, draw(bodies(kind, number, index))))
                sequence += 1
            if parts and draw(st.integers(0, 9)):
                key = second_reader.sha256(b"cellwarden seal key 1", KEYS[index])
                block, tag = tamper.sealed(parts, key, index, boot, before)
                before = draw(st.sampled_from((tag, bytes(32))))
                index += draw(st.sampled_from((1, 1, 1, 0, 2, 5)))
                sequence += 1
                data += block
            else:
                data += b"".join(parts)
        files[f"{number:08}.cwb"] = data
    if draw(st.booleans()):
        files["end.cwb"] = tamper.record(17, 1, 0, draw(bodies(17, 1, index)))
    if draw(st.booleans()):
        fields = [draw(WORD) for _ in range(6)]
        fields[0] = draw(st.sampled_from((index, index + 1, *fields[:1])))
        slot = b"CWK1" + struct.pack("<6I", *fields) + draw(st.sampled_from((bytes(160), KEYS[min(index, 39)] * 5)))
        files["key.a"] = slot + struct.pack("<I", second_reader.zlib.crc32(slot))
    files.update(draw(st.dictionaries(st.sampled_from(NAMES[-3:]), st.binary(max_size=60))))
    return files


@st.composite
def bodies(draw, kind, segment, index):
    """A body that is one of its type in form, at least often."""
    word = lambda *likely: draw(st.sampled_from((*likely, *likely, draw(WORD))))  # noqa: E731
    digest = draw(
        st.sampled_from((bytes(32), KEYS[min(index, 39)], second_reader.sha256(b"cellwarden end 1", KEYS[index])))
    )
    if draw(st.integers(0, 5)) == 0:
        return draw(st.binary(max_size=150))
    if kind == F.IDENTITY_TYPE:
        told = (word(1), word(segment), word(1, segment), word(0, index), word(index))
        vehicle = draw(st.binary(max_size=17)).ljust(17, b"\0")
        body = struct.pack("<HIIII", told[0] & 0xFFFF, *told[1:]) + vehicle + bytes(32)
        return (
            body
            + second_reader.sha256(b"cellwarden first key 1", story.FIRST_KEY)
            + struct.pack("<6I", *(word(0) for _ in range(6)))
        )
    if kind == F.MISSING_TYPE:
        return struct.pack("<I", word(index - 1 if index else 0)) + digest
    if kind == F.TAIL_TYPE:
        return struct.pack("<III", word(segment - 1), word(0), word(0)) + digest
    if kind == F.END_TYPE:
        return struct.pack("<I", word(index)) + digest
    if kind == F.ANNEX_TYPE:
        return struct.pack(C.ANNEX, word(0x10001), word(0), word(20), digest[:16])
    if kind == F.DROPPED_TYPE:
        return struct.pack(C.DROPPED, word(0x10001))
    return draw(st.binary(max_size=30))


@settings(**FUZZ)
@given(forged())
@example({"00000001.cwb": tamper.record(F.SEAL_TYPE, 1, 0, struct.pack("<II", (1 << 32) - 1, 0) + bytes(64))})
def test_a_log_by_someone_with_the_first_key(judged, files):
    judged(files)


@settings(**FUZZ)
@given(st.binary(max_size=200))
@example(b"")
@example(b"\xff" * 64)
@example(b"00" * 32)
def test_any_key_file_and_any_anchor(tmp_path, data):
    from cellwarden_tools.blackbox.anchor import read_anchor

    path = tmp_path / "file"
    path.write_bytes(data)
    for read in (lambda: read_key(path), lambda: read_anchor(path, story.FIRST_KEY)):
        try:
            read()
        except InputError as error:
            assert "\n" not in str(error) and (data.hex() not in str(error) or len(data) < 8)


HOSTILE = {
    "nothing but marks": lambda: b"\xcb" * (1 << 18),
    "the shortest records": lambda: tamper.record(8, 1, 0, b"") * 20_000,
    "seals alone": lambda: tamper.record(16, 1, 0, bytes(72)) * 5_000,
    "every other byte damaged": lambda: (
        (tamper.record(8, 1, 0, b"") + b"\0") * 12_000 + tamper.record(16, 1, 9, bytes(72))
    ),
    "the longest records": lambda: tamper.record(8, 1, 0, bytes(16384)) * 60,
    "heads of long records": lambda: b"\xcb\x08\x00\x40" * 20_000,
}


@pytest.mark.parametrize("what", HOSTILE)
def test_the_memory_is_bounded_by_a_small_part_of_the_log(judged, what):
    """Four times a segment at the very most, and 2 MiB: what an open block's records are remembered by."""
    data = HOSTILE[what]()
    files = {"00000001.cwb": data, "00000002.cwb": data}
    judged({"00000001.cwb": b"x"})
    tracemalloc.start()
    try:
        seen = judged(files)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    print(f"\n{what}: {2 * len(data)} bytes, {peak} at most, {len(seen.faults)} faults")
    assert peak < 4 * len(data) + (2 << 20)
