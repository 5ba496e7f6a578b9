"""Frames, features and snapshots are read as they are written down in content.py, and come back as they were put in."""

import itertools
from array import array

import pytest
from cellwarden.blackbox import content as C
from cellwarden.blackbox import unpack as U
from hypothesis import given, settings
from hypothesis import strategies as st

NA = -0x20000000


class Packer:
    """The packer's memory for frames of up to `most` bytes of data."""

    def __init__(self, most=8, known=(), skip=False, rows=C.ENTRIES):
        self.words = 3 + most // 4
        self.packer = array("i", bytes(4 * C.PACKER)) + array("i", [n for pair in known for n in pair])
        self.packer[C.RECORD_WORDS] = self.words
        self.packer[C.KNOWN_IDS] = len(known)
        self.packer[C.SKIP] = skip
        self.packer[C.ROWS] = rows
        self.table = array("i", bytes(4 * rows * (2 + most // 4)))
        self.hashed = bytearray(256)
        self.number = 0
        self.clock = 0

    def bodies(self, frames, room=300):
        """FRAMES bodies of frames (t_ms, identifier, channel, data)."""
        ring = array("i", bytes(4 * self.words * len(frames)))
        view = memoryview(ring).cast("B")
        for row, (t_ms, name, channel, data) in enumerate(frames):
            at = row * self.words
            ring[at : at + 2] = array("i", [t_ms, name])
            at = at * 4 + 8
            view[at], view[at + 1] = channel, len(data)
            view[at + 4 : at + 4 + len(data)] = data
        i = 0
        while i < len(frames):
            out = bytearray(room)
            out[:4] = self.clock.to_bytes(4, "little")
            out[4:6] = self.number.to_bytes(2, "little")
            self.packer[C.AT], self.packer[C.LIMIT], self.packer[C.CLOCK] = C.FRAMES_HEAD_BYTES, room, self.clock
            then = C.pack_frames(
                i,
                0,
                len(frames),
                ring,
                view,
                self.packer,
                self.table,
                memoryview(self.table).cast("B"),
                self.hashed,
                out,
            )
            assert then > i or self.packer[C.AT] > C.FRAMES_HEAD_BYTES
            assert self.packer[C.AT] <= room
            i = then
            self.clock, self.number = self.packer[C.CLOCK], self.number + 1
            yield bytes(out[: self.packer[C.AT]])


def items(bodies):
    reader = U.FrameItems()
    return [item for body in bodies for item in reader.unpack(body)]


def test_frames_by_hand():
    """Two identifiers, a repeated one with one byte changed, a long step, a clock that runs back, an advance, a gap."""
    body = bytes.fromhex(
        "e8030000 0000"  # 1000 ms, body 0
        "fe 00 00 03 23010000"  # entry 0: channel 0, 3 bytes, 0x123
        "00 05 07 0a0b0c"  # 1005: 0a 0b 0c
        "fe 01 01 09 01000020"  # entry 1: channel 1, 9 bytes, extended 1
        "01 00 81 11 22 01 33"  # 1005: 11 00 00 00 00 00 00 22 33
        "00 fe 02 ee"  # 1259: 0a ee 0c
        "00 ff 00000100 00"  # 65536: the same
        "01 ff 00ff0000 00 00"  # 65280: the same
        "fd 0a 07"  # 65290: seven unknown
        "fc 00000200"  # scans up to 131072
        "fb 05000000"  # five are missing
        "00 01 00"  # 131073
    )
    assert items([body]) == [
        (0, 1005, 0x123, 0, b"\x0a\x0b\x0c"),
        (0, 1005, 0x20000001, 1, b"\x11\0\0\0\0\0\0\x22\x33"),
        (0, 1259, 0x123, 0, b"\x0a\xee\x0c"),
        (0, 65536, 0x123, 0, b"\x0a\xee\x0c"),
        (0, 65280, 0x20000001, 1, b"\x11\0\0\0\0\0\0\x22\x33"),
        (C.UNKNOWN, 65290, 7, 0, b""),
        (C.ADVANCE, 131072, 0, 0, b""),
        (C.GAP, 131072, 5, 0, b""),
        (0, 131073, 0x123, 0, b"\x0a\xee\x0c"),
    ]
    frames = [
        (1005, 0x123, 0, b"\x0a\x0b\x0c"),
        (1005, 0x20000001, 1, b"\x11\0\0\0\0\0\0\x22\x33"),
        (1259, 0x123, 0, b"\x0a\xee\x0c"),
        (65536, 0x123, 0, b"\x0a\xee\x0c"),
        (65280, 0x20000001, 1, b"\x11\0\0\0\0\0\0\x22\x33"),
    ]
    packer = Packer(64)
    packer.clock = 1000
    assert list(packer.bodies(frames)) == [body[:54]]


FRAMES = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 600), st.integers(0, 0x3FFFFFFF)),
        st.one_of(st.integers(0, 200), st.sampled_from([0x20000000 | 77, -0x40000000 | 2, 0x7FF])),
        st.integers(0, 2),
        st.binary(max_size=8),
    ),
    min_size=1,
    max_size=300,
)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(FRAMES, st.integers(90, 400))
def test_frames_come_back_as_they_were(frames, room):
    got = items(Packer().bodies(frames, room))
    assert got == [(0, *frame) for frame in frames]


@settings(derandomize=True, deadline=None, max_examples=150)
@given(FRAMES)
def test_of_unknown_frames_the_number_is_kept_and_of_all_others_everything(frames):
    known = [(n, 0) for n in range(100)]
    packer = Packer(8, known, skip=True)
    got = items(packer.bodies(frames))
    left = packer.packer[C.UNKNOWN_COUNT]
    strange = lambda name, channel: name >= 0 and (name, channel) not in known  # noqa: E731
    assert sum(item[2] for item in got if item[0] == C.UNKNOWN) + left == len(frames) - sum(not i[0] for i in got)
    kept = [(0, *f) for f in frames if not strange(f[1], f[2])]
    assert [item for item in got if item[0] == 0 and not strange(item[2], item[3])] == kept
    assert all(strange(name, channel) for kind, _, name, channel, _ in got if kind == 0 and (0, name) in kept)


@pytest.mark.parametrize("rows", [1, 28, C.ENTRIES])
def test_more_identifiers_than_entries(rows):
    frames = [(n, n % 300, 0, bytes([n & 255] * 8)) for n in range(2000)]
    assert items(Packer(rows=rows).bodies(frames)) == [(0, *frame) for frame in frames]


def test_a_body_whose_predecessor_is_missing_is_not_guessed():
    first, second, third = list(Packer().bodies([(n, n, 0, b"12345678") for n in range(40)], 300))[:3]
    reader = U.FrameItems()
    list(reader.unpack(first))
    with pytest.raises(ValueError, match="before it is missing"):
        list(reader.unpack(third))
    with pytest.raises(ValueError, match="before it is missing"):
        list(reader.unpack(second))
    assert len(list(reader.unpack(first))) > 5


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes_are_frames_or_a_value_error(data):
    for read in (U.FrameItems().unpack, U.FeatureWords().unpack, U.SnapshotParts().unpack):
        try:
            for _ in read(b"\0\0\0\0\0\0" + data) or ():
                pass
            read(data)
        except ValueError:
            pass


# --- words ----------------------------------------------------------------------------------------------------------


def packed(state, spans, before=None, shift=0, room=20000):
    """The coded words; spans: [(first, end, mode, mean)]."""
    out = bytearray(room)
    flat = array("i", [n for span in spans for n in span])
    there = before if before is not None else state
    end = C.pack_words(0, 0, out, room, state, there, -1 if before is None else shift, flat, len(spans))
    return end if end < 0 else bytes(out[:end])


def unpacked(data, at, spans, before):
    flat = array("i", [n for span in spans for n in span])
    words, there = (array("i", [0] * max(span[1] for span in spans)) for _ in range(2))
    for j, word in (before or {}).items():
        there[j] = word
    if not U.unpack_words(at, data, flat, len(spans), before is not None, there, words):
        raise ValueError("early")
    return {j: words[j] for first, end, _, _ in spans for j in range(first, end)}


def test_words_by_hand():
    # PLAIN: [0, -1, 1, 0] are 0 1 2 0 in Rice of parameter 0, head 1: 0001 0 10 110 0
    assert packed(array("i", [0, -1, 1, 0]), [(0, 4, C.PLAIN, 0)]) == bytes([0b00010101, 0b10000000])
    # all zero: head 0 for each four, or for each sixteen
    assert packed(array("i", [0] * 40), [(0, 40, C.PLAIN, 0)]) == bytes(5)
    assert packed(array("i", [0] * 40), [(0, 40, 1, 0)]) == bytes(2)
    # NA does not fit a short code: residual -2^29 is 2^30 - 1: head 14 (parameter 13), twelve ones, thirty ones
    assert packed(array("i", [NA]), [(0, 1, C.PLAIN, 0)]) == bytes([0b11101111] + [255] * 4 + [0b11111100])
    # beyond (-2^29, 2^29) words stand as they are: head 15
    assert packed(array("i", [0x3FFFFFFF]), [(0, 1, C.PLAIN, 0)]) == bytes([0xF3, 0xFF, 0xFF, 0xFF, 0xF0])
    # each less the one before it: 3600, then +1 and -1, head 14 (the mean is over 2^9): 3600 is 7200 = 0 and 13 bits
    assert unpacked(
        bytes([0b11100111, 0b00001000, 0b00000000, 0b00000010, 0b00000000, 0b00000100]), 0, [(0, 3, 1, 0)], None
    ) == {0: 3600, 1: 3601, 2: 3600}
    # less the mean of the changes: 3605 - 3600 - 5 = 0
    assert unpacked(bytes([0]), 0, [(7, 8, C.MEAN, 5)], {7: 3600}) == {7: 3605}


WORD = st.one_of(st.integers(-20, 20), st.integers(-0x3FFFFFFF, 0x3FFFFFFF), st.just(NA))


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.data())
def test_words_come_back_as_they_were(data):
    size = data.draw(st.integers(1, 120))
    state = array("i", data.draw(st.lists(WORD, min_size=size, max_size=size)))
    cuts = sorted({0, size, *data.draw(st.lists(st.integers(0, size), max_size=3))})
    modes = st.sampled_from([C.PLAIN, C.MEAN, 1, 3, 14])
    spans = [(a, b, data.draw(modes), 0) for a, b in itertools.pairwise(cuts)]
    before = data.draw(st.none() | st.lists(WORD, min_size=size, max_size=size))
    was = array("i", before) if before else None
    if before:
        spans = [
            (a, b, mode, C.mean_change(a, 0, state, was, 0, b) if mode == C.MEAN else 0) for a, b, mode, _ in spans
        ]
    coded = packed(state, spans, was)
    assert unpacked(coded, 0, spans, dict(enumerate(before)) if before else None) == dict(enumerate(state))


def test_the_mean_is_that_of_the_words_that_moved_a_little():
    state, was = array("i", [10, 20, 30, NA]), array("i", [7, 14, 27, 5])
    assert C.mean_change(0, 0, state, was, 0, 4) == 4  # (3 + 6 + 3) / 3; a value that was lost does not count
    assert C.mean_change(0, 0, was, state, 0, 3) == 0x40000000 - 4
    assert C.mean_change(3, 0, state, was, 0, 4) == 0


def test_where_there_is_no_room_nothing_is_said_to_be_there():
    assert packed(array("i", [NA, 1 << 28] * 200), [(0, 400, C.PLAIN, 0)], room=600) == -1
