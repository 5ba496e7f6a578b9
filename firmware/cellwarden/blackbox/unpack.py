"""The bodies of frames, features and snapshots, read again: content.py says what stands in them, and writes them.

next_item(), ring_records() and unpack_words() take numbers and arrays alone: the host compiles this very text for long
logs (cellwarden_tools.blackbox.frames).
"""

import struct
from array import array

from cellwarden.blackbox import form as F
from cellwarden.blackbox.annex import annex_number
from cellwarden.blackbox.chain import segment_number
from cellwarden.blackbox.content import (
    ADVANCE,
    DIGEST,
    ENTRIES,
    ESCAPE,
    EVENT,
    FRAMES_HEAD,
    FRAMES_HEAD_BYTES,
    GAP,
    LONG,
    MEAN,
    NEW,
    NOTED,
    PLAIN,
    SNAPSHOT_HEAD,
    SPAN,
    SPAN_FORM,
    UNKNOWN,
    WHOLE,
)  # fmt: skip
from cellwarden.core.layout import MASK, NOTICE, RECORD_CHANNEL, RECORD_DATA, RECORD_LENGTH

MOST_DATA = 64  # bytes of a frame
MOST_WORDS = 1 << 14  # of any state
FRAME, FULL, BAD = 0, 256, 257  # kinds beside NEW, UNKNOWN, ADVANCE, GAP, NOTED

# What is known between items, an array of int32: of the item read last its KIND, SAID (what it counts, or its number)
# and ENTRY; the frames' CLOCK; of ring_records() LEFT, rows still to make of an UNKNOWN item, and its counts. Then each
# entry's identifier, channel and length, which is -1 where there is none.
KIND, SAID, ENTRY, CLOCK, LEFT, ROWS, FRAMES, STRANGE, STRANGE_ID, HEADS = range(10)
LENGTH = 2

_HALF = 0x20000000


def number_at(i, body):
    """Four bytes of a number with sign."""
    number = 0
    for k in range(3, -1, -1):
        number = number << 8 | body[i + k]
    return number - ((number & 0x80000000) << 1)


def next_item(i, end, body, p, data):
    """Read the item at byte i of a body into p, and a frame's data into `data`; returns the byte behind it.

    -1 where there is none, or it ends early. data: MOST_DATA bytes an entry
    """
    code = body[i]
    p[KIND] = code
    i += 1
    if code == NEW:
        if end - i < 7 or body[i] >= ENTRIES or body[i + 2] > MOST_DATA:
            return -1
        entry = body[i]
        head = HEADS + 3 * entry
        p[head] = number_at(i + 3, body)
        p[head + 1] = body[i + 1]
        p[head + LENGTH] = body[i + 2]
        for k in range(MOST_DATA * entry, MOST_DATA * entry + MOST_DATA):
            data[k] = 0
        return i + 7
    if code == ADVANCE or code == GAP:
        if end - i < 4:
            return -1
        number = number_at(i, body)
        if code == ADVANCE:
            p[CLOCK] = number & MASK
        elif number < 0:
            return -1
        p[SAID] = number
        return i + 4
    if code == NOTED:
        if i == end:
            return -1
        p[SAID] = body[i]
        return i + 1
    head = HEADS + 3 * code
    if i == end or (code != UNKNOWN and (code >= ENTRIES or p[head + LENGTH] < 0)):
        return -1
    step = body[i]
    i += 1
    if step == LONG:
        if end - i < 4:
            return -1
        p[CLOCK] = number_at(i, body) & MASK
        i += 4
    else:
        p[CLOCK] = (p[CLOCK] + step) & MASK
    if code == UNKNOWN:
        if i == end:
            return -1
        p[SAID] = body[i]
        return i + 1
    p[KIND] = FRAME
    p[ENTRY] = code
    at = MOST_DATA * code
    left = p[head + LENGTH]
    while left > 0:
        if i == end:
            return -1
        mask = body[i]
        i += 1
        for k in range(min(left, 8)):
            if mask >> k & 1:
                if i == end:
                    return -1
                data[at + k] = body[i]
                i += 1
        at += 8
        left -= 8
    return i


def ring_records(i, end, body, p, data, out32, out, rows, size):
    """Items from byte i on as records of the core's ring (layout, RECORD_...); returns the byte behind those read.

    out32, out: the same room for `rows` records of `size` bytes, all of it zero; p[ROWS]: how many were made; p[KIND]
    says why it stopped: FULL, GAP, NOTED, BAD; else the body is at its end
    """
    row = 0
    kind = FRAME
    while row < rows:
        if p[LEFT]:
            p[LEFT] -= 1
            p[STRANGE] += 1
            name = p[STRANGE_ID]
            kind = UNKNOWN
        elif i == end:
            break
        else:
            start = i
            i = next_item(i, end, body, p, data)
            kind = BAD if i < 0 else p[KIND]
            if kind == BAD:
                i = start
            if kind == BAD or kind == GAP or kind == NOTED:
                break
            if kind == UNKNOWN:
                p[LEFT] = p[SAID]
            if kind == UNKNOWN or kind == NEW:
                continue
            name = NOTICE if kind == ADVANCE else p[HEADS + 3 * p[ENTRY]]
        at = row * size
        out32[at >> 2] = p[CLOCK]
        out32[(at >> 2) + 1] = name
        if kind == FRAME:
            head = HEADS + 3 * p[ENTRY]
            if name >> 30 == 0:
                p[FRAMES] += 1
            kept = min(p[head + LENGTH], size - RECORD_DATA)
            out[at + RECORD_CHANNEL] = p[head + 1]
            out[at + RECORD_LENGTH] = kept
            for k in range(kept):
                out[at + RECORD_DATA + k] = data[MOST_DATA * p[ENTRY] + k]
        row += 1
    else:
        kind = FULL
    p[ROWS] = row
    p[KIND] = kind
    return i


def unpack_words(i, body, spans, count, goes_on, before, words):
    """Put the words of `count` spans, coded from byte i on, into `words`, by index. True where they are all there.

    spans: as pack_words() takes them, an array of int32; before: the words as they were, where `goes_on` is not 0
    """
    value = left = missing = 0  # bits that are taken from the body and not read yet; those that it did not have
    for row in range(0, SPAN * count, SPAN):
        first, last, mode, mean = spans[row], spans[row + 1], spans[row + 2], spans[row + 3]
        head = group = 0
        for j in range(first, last):
            while left <= 48:  # a head and a word are 46 at most
                value <<= 8
                if i < len(body):
                    value |= body[i]
                    i += 1
                else:
                    missing += 8
                left += 8
            if group == 0:
                group = 4 if mode == PLAIN else 16
                left -= 4
                head = value >> left & 15
            group -= 1
            was = before[j] if goes_on else 0
            if head == 15:
                left -= 32
                word = value >> left & 0xFFFFFFFF
                words[j] = word - ((word & 0x80000000) << 1)
            else:
                z = 0
                if head:
                    ones = 0
                    while ones < ESCAPE and value >> left - 1 & 1:
                        ones += 1
                        left -= 1
                    if ones < ESCAPE:
                        left -= head  # the 0 behind them, and as many bits as the parameter says
                        z = ones << head - 1 | value >> left & (1 << head - 1) - 1
                    else:
                        left -= 30
                        z = value >> left & MASK
                change = z >> 1 ^ -(z & 1)
                if mode == MEAN:
                    change += mean
                elif mode != PLAIN and j - mode >= first:
                    change += words[j - mode] - (before[j - mode] if goes_on else 0)
                word = (was + change) & MASK
                words[j] = word - ((word & _HALF) << 1)
            value &= (1 << left) - 1
            if left < missing:
                return False
    return True


class FrameItems:
    """The items of FRAMES bodies, given in order: they share a table.

    Use one for each annex; where a body is missing what follows cannot be read before a body of number 0.
    """

    def __init__(self):
        self.p = array("i", bytes(4 * (HEADS + 3 * ENTRIES)))
        self.data = bytearray(MOST_DATA * ENTRIES)
        self._next = 0

    def begin(self, body):
        """Look at a body's head; returns where its items begin. Raises ValueError where the body before is missing."""
        clock, self._number = _at(FRAMES_HEAD, body, 0)
        if self._number == 0:
            for head in range(HEADS + LENGTH, len(self.p), 3):
                self.p[head] = -1
        elif self._number != self._next:
            self._next = -1
            raise ValueError("the body before it is missing")
        self._next = -1  # until it was read to its end
        self.p[CLOCK] = clock & MASK
        self.p[LEFT] = 0
        return FRAMES_HEAD_BYTES

    def end(self):
        """A body was read to its end."""
        self._next = self._number + 1 & 0xFFFF

    def unpack(self, body):
        """Yields (kind, clock, identifier, channel, data): FRAME: a frame record, as the core's ring had it; UNKNOWN,
        GAP: `identifier` is the count; ADVANCE: due scans were run up to `clock`; NOTED: `identifier` is the number.

        Raises ValueError for bytes that are none, and where the body before it is missing.
        """
        p, i, end = self.p, self.begin(body), len(body)
        while i < end:
            at = i
            i = next_item(at, end, body, p, self.data)
            if i < 0:
                raise no_item(at)
            kind = p[KIND]
            if kind == FRAME:
                head, at = HEADS + 3 * p[ENTRY], MOST_DATA * p[ENTRY]
                yield FRAME, p[CLOCK], p[head], p[head + 1], bytes(self.data[at : at + p[head + LENGTH]])
            elif kind != NEW:
                yield kind, p[CLOCK], 0 if kind == ADVANCE else p[SAID], 0, b""
        self.end()


def no_item(at):
    return ValueError("no item of frames at byte %d" % at)  # noqa: UP031


def _at(form, body, at):
    """Fields of a body from byte `at` on. Raises ValueError where it ends early."""
    if at + struct.calcsize(form) > len(body):
        raise ValueError("it ends early")
    return struct.unpack_from(form, body, at)


def _spans(body, at, count):
    """([(first, end, mode, mean)], where they end)"""
    found = []
    for _ in range(count):
        first, end, mode = _at(SPAN_FORM, body, at)
        if first >= end or end > MOST_WORDS:
            raise ValueError("no span")
        found.append((first, end, mode))
        at += 5
    return found, at


def _with_means(body, at, spans):
    """(the same with the means that stand there, where these end)"""
    found = []
    for span in spans:
        mean = 0
        if span[2] == MEAN:
            mean = _at("<b", body, at)[0]
            at += 1
            if mean == -128:
                mean = _at("<i", body, at)[0]
                at += 4
        found.append(span[:3] + (mean,))
    return found, at


def _flat(spans):
    return array("i", [number for span in spans for number in span])


class FeatureWords:
    """The words of FEATURES bodies, given in order: each is the change since the one before.

    unpack: unpack_words, or the same compiled
    """

    def __init__(self, unpack=unpack_words):
        self._next, self._spans, self._unpack = -1, (), unpack

    def unpack(self, body):
        """{index in the state: word}. Raises ValueError as FrameItems does."""
        try:
            number, at = body[0], 1
            if number == 0:
                self._spans, at = _spans(body, 2, body[1])
                size = max([span[1] for span in self._spans] + [0])
                self._before, self._words = array("i", bytes(4 * size)), array("i", bytes(4 * size))
            elif number != self._next:
                raise ValueError("the body before it is missing")
            self._next = -1
            spans, at = _with_means(body, at, self._spans)
            self._before, self._words = self._words, self._before
            if not self._unpack(at, body, _flat(spans), len(spans), number, self._before, self._words):
                raise ValueError("the words end early")
        except (IndexError, ValueError) as error:
            self._next = -1
            raise ValueError("no features: %s" % error)  # noqa: B904, UP031
        self._next = number + 1
        return {j: self._words[j] for first, end, _ in self._spans for j in range(first, end)}


class SnapshotParts:
    """The WHOLE bodies of SNAPSHOT records, given in order: one snapshot may take several. unpack: as above"""

    def __init__(self, unpack=unpack_words):
        self._size, self._known, self._words, self._unpack = 0, 0, None, unpack

    def unpack(self, body):
        """The state's bytes when they are all there, else None. Raises ValueError for bytes that are none."""
        kind, size, first, end, count = _at(SNAPSHOT_HEAD, body, 0)
        if kind != WHOLE or not first < end <= size <= MOST_WORDS:
            raise ValueError("no part of a snapshot")
        if first == 0:
            self._size, self._known, self._words = size, 0, array("i", bytes(4 * size))
        if size != self._size or first != self._known:
            self._size = 0
            raise ValueError("the part before it is missing")
        spans, at = _spans(body, 8, count)
        spans, at = _with_means(body, at, spans)
        if [span[0] for span in spans] + [end] != [first] + [span[1] for span in spans]:
            self._size = 0
            raise ValueError("a part that is not all there")
        if not self._unpack(at, body, _flat(spans), count, 0, self._words, self._words):
            self._size = 0
            raise ValueError("the words end early")
        self._known = end
        return bytes(self._words) if end == size else None


def unpack_event(body):
    """The numbers of an event as the core made it (layout, EVENT_...). Raises ValueError for bytes that are none."""
    if len(body) != struct.calcsize(EVENT):
        raise ValueError("no event")
    return struct.unpack(EVENT, body)


def digest_of(body):
    """The SHA-256 of the state in a DIGEST body of SNAPSHOT, or None for another."""
    return body[1:] if len(body) == 33 and body[0] == DIGEST else None


def last_snapshot(folder, image_sha256, words):
    """The newest state that a box with this very image kept (bytes of so many words), or None: for Engine.restore().

    It is what the box itself wrote; that nobody changed it since is the host's to prove. Raises OSError where the
    folder cannot be read.
    """
    names = folder.names()
    for name in reversed([name for name in names if segment_number(name) is not None]):
        boot, found, found_ms = 0, None, -1
        for record in _records(folder, name):
            if record.type == F.IDENTITY_TYPE:
                told = F.unpack(F.IDENTITY, record.body)
                boot = record.boot if told and told[6] == image_sha256 else 0
                parts = SnapshotParts()
            elif record.type == F.SNAPSHOT_TYPE and boot:
                state = _state(parts, record, words)
                if state:
                    found, found_ms = state, record.t_ms
        for annex in reversed([name for name in names if annex_number(name) is not None] if boot else []):
            parts = SnapshotParts()
            for record in _records(folder, annex):
                if record.boot != boot or record.type not in (F.ANNEX_TYPE, F.SNAPSHOT_TYPE):
                    break
                if record.type == F.SNAPSHOT_TYPE and record.t_ms > found_ms:
                    state = _state(parts, record, words)
                    if state:
                        return state
        if found:
            return found
    return None


def _records(folder, name):
    with folder.open(name) as file:
        record = F.next_record(file)
        while record:
            yield record
            record = F.next_record(file)


def _state(parts, record, words):
    """The state that a SNAPSHOT record completes, or None."""
    try:
        state = parts.unpack(record.body)
    except ValueError:
        return None
    return state if state and len(state) == 4 * words else None
