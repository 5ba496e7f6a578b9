"""What stands in the bodies of records: frames, features, snapshots and the small ones (docs/blackbox.md, "Content").

`pack_...` run on the box and take nothing from the heap; unpack.py reads what they write. All
numbers are little-endian. Words are those of the core's state (layout): int32 in (-2^30, 2^30).

An annex is a file of records beside the segments (segment 00000007.cwb, annex 0003001f.cwf: the 31st of boot 3). It
holds what is much and mostly not needed for long: all frames, features each second, a whole snapshot at its beginning.
Its records have the form of all records, their `sequence` counts from 0 in each annex, and the first is of type annex
with the body ANNEX_HEAD. It has no seals: ANNEX records in the chain say what stands in it, from byte 0 on without
gaps: each 30 s, near an alarm at each seal. It goes, whole, when no alarm was near or the room is needed; a DROPPED
record in a sealed block says so before.

Frames. A body goes on with the table of entries of the body before it, unless its number is 0:

    0  clock     4 bytes: the frames' own clock, 30-bit ms, before the first item
    4  number    2 bytes: bodies since the table was empty
    6  items, each beginning with a byte:
       0..239    a frame of this entry: step, then for each 8 bytes of data a mask of those that differ from the entry's
                 last data (0 at first), lowest bit first, and these bytes
       NEW       entry, channel, length, identifier (4 bytes): what the entry stands for from here on
       UNKNOWN   step, count: frames whose identifier the image does not know, which were counted and not kept
       ADVANCE   clock (4 bytes): due scans were run up to here
       GAP       count (4 bytes): frames that could not be kept. What follows is not what the core saw next
       NOTED     number: here the state was what the FEATURES record of this number in the annex says
    step: 1 byte, ms to add to the clock; LONG: the clock follows, 4 bytes

Words. A span (first, end, mode) of words is coded in groups of up to 4 where its mode is PLAIN, else 16: a head of 4
bits, and what it says: 0: all residuals are 0; 1..14: each residual in a Rice code of parameter head - 1; 15: each word
as it is, 32 bits. Bits fill bytes from the top. A residual is the word's change since the body before, or the word
itself in a body that stands alone, less what its mode says: PLAIN nothing, MEAN the mean that stands before all groups
(1 byte with sign; -128: it follows in 4 bytes), n = 1..253 the same of the word n before it in the span. It is reckoned
modulo 2^30, and 0, -1, 1, -2 … become 0, 1, 2, 3 …
"""

import micropython
from micropython import const

# --- small bodies ---------------------------------------------------------------------------------------------------

EVENT = "<6i"  # as the core makes it (layout, EVENT_...)
ACKNOWLEDGEMENT = "<IB32s"  # rule; 1: taken, 0: refused; the tag that was shown
SECURITY = "<I17sB"  # seconds since 1970 (UTC), 0: not known; vehicle; a row of SECURITY_EVENTS; what is known, UTF-8
UPDATE = "<BHHHI32s"  # why it runs (update.slots.WHY); version; counter; SHA-256 of the manifest
UPLOAD = "<I"  # index of the last block that the platform has
HAZARD = "<BBI"  # a row of HAZARDS; 1: begins, 0: is over; value
ANNEX_SUFFIX = ".cwf"
ANNEX_HEAD = "<IIB"  # number of the annex; segment open when it was begun: no older one tells of it; 1: near an alarm
ANNEX = "<III16s"  # number of the annex, first byte, end, the first bytes of the SHA-256 of these bytes
ANNEX_DIGEST_BYTES = 16
DROPPED = "<I"  # number of the annex that is removed next

SECURITY_EVENTS = (
    None,
    "log key made",
    "vehicle image changed",
    "firmware changed",
    "acknowledgement refused",
    "update refused",
    "remote command refused",
    "link refused",
    "clock set back",
    "box opened",
    "attack suspected",
    "remote command taken",
    "image refused",
    "kept state refused",
    "self-test failed",
)
# What befalls the recorder itself, and from BOX_HAZARDS on the rest of the box, in the order of hazards.ROWS.
HAZARDS = (
    None, "storage full", "storage slow", "storage failing",
    "bus not readable", "log failing", "state not kept", "clock set or stalled", "scans late", "output failing",
    "image refused", "core failing",
)  # fmt: skip
BOX_HAZARDS = 4

# --- frames -----------------------------------------------------------------------------------------------------------

FRAMES_HEAD = "<IH"
FRAMES_HEAD_BYTES = 6
ENTRIES = 128  # most there are at once
NEW, UNKNOWN, ADVANCE, GAP, NOTED = 254, 253, 252, 251, 250
LONG = 255

# --- words ------------------------------------------------------------------------------------------------------------

PLAIN, MEAN = 0, 254
GROUP_BYTES = 96  # a group never takes more, what is left of the byte before it included
ESCAPE = 12  # so many ones, and then all 30 bits
SPAN = 4  # numbers a span: first, end, mode, mean
WHOLE, DIGEST = 0, 1  # kinds of snapshots
SNAPSHOT_HEAD = "<BHHHB"  # WHOLE; words of the state; first of these, end; spans, each as SPAN_FORM; then the groups
SNAPSHOT_DIGEST = "<B32s"  # DIGEST, SHA-256 of the state's bytes
FEATURES_HEAD = "<BB"  # number since the one that stands alone, which is 0 and goes on: spans, each as SPAN_FORM
SPAN_FORM = "<HHB"

_MASK = const(0x3FFFFFFF)
_LOW = const(0x1FFFFFFF)
_GROUP_BYTES = const(96)
_ESCAPE = const(12)
_PLAIN = const(0)
_MEAN = const(254)
_MOST = const(0xFFFFF)


# The packer of frames, an array of int32
AT, LIMIT, CLOCK, HIGHEST, ENTRIES_USED, UNKNOWN_COUNT, UNKNOWN_CLOCK, SKIP, RECORD_WORDS, KNOWN_IDS, ROWS = range(11)
PACKER = 11  # numbers; then KNOWN_IDS times identifier and channel of what the image knows

_AT = const(0)
_LIMIT = const(1)
_CLOCK = const(2)
_HIGHEST = const(3)
_ENTRIES_USED = const(4)
_UNKNOWN_COUNT = const(5)
_UNKNOWN_CLOCK = const(6)
_SKIP = const(7)
_RECORD_WORDS = const(8)
_KNOWN_IDS = const(9)
_ROWS = const(10)
_PACKER = const(11)
_NEW = const(254)
_UNKNOWN = const(253)
_LONG = const(255)
_HALF = const(0x20000000)
_REBASED_MS = const(2000)
_STRANGE = const(0x10000)  # of an entry: the image does not know it
_TOLD = const(0x20000)  # it was told of as NEW
_KEY = const(0xFFFF)


@micropython.viper
def pack_words(i: int, at: int, out, limit: int, state, before, shift: int, spans, count: int) -> int:
    """Code `count` spans into out[at:limit]; returns where they end, or -1 where there is no room.

    i: 0; state, before, spans: arrays of int32; before[n - shift] is word n as it was, shift -1: as if all were 0
    """
    q = ptr32(state)
    b = ptr32(before)
    s = ptr32(spans)
    o = ptr8(out)
    use = 1
    if shift < 0:
        use = 0
    acc = 0
    bits = 0
    row = 0
    while row < count * 4:
        first = s[row]
        end = s[row + 1]
        mode = s[row + 2]
        mean = s[row + 3]
        i = first
        while i < end:
            if at + _GROUP_BYTES > limit:
                return -1
            last = i + 16
            if mode == _PLAIN:
                last = i + 4
            if last > end:
                last = end
            # how large they are
            total = 0
            raw = 0
            j = i
            while j < last:
                v = q[j]
                raw = raw | ((v >> 29 & 7) + 1) & 6
                r = (v - b[(j - shift) * use] * use) & _MASK
                if mode == _MEAN:
                    r = r - mean
                elif mode:
                    if j - mode >= first:
                        r = r - ((q[j - mode] - b[(j - mode - shift) * use] * use) & _MASK)
                z = (r & _LOW) << 1
                if r >> 29 & 1:
                    z = z ^ _MASK
                if z > _MOST:
                    z = _MOST
                total = total + z
                j = j + 1
            k = 0
            head = 0
            if raw:
                head = 15
            elif total:
                while k < 13 and (last - i) << k + 1 <= total:
                    k = k + 1
                head = k + 1
            acc = acc << 4 | head
            bits = bits + 4
            if bits >= 8:
                bits = bits - 8
                o[at] = acc >> bits
                at = at + 1
                acc = acc & (1 << bits) - 1
            if head == 0:
                i = last
            while i < last:
                v = q[i]
                if raw:
                    j = 24
                    while j >= 0:
                        acc = acc << 8 | v >> j & 255
                        o[at] = acc >> bits
                        at = at + 1
                        acc = acc & (1 << bits) - 1
                        j = j - 8
                else:
                    r = (v - b[(i - shift) * use] * use) & _MASK
                    if mode == _MEAN:
                        r = r - mean
                    elif mode:
                        if i - mode >= first:
                            r = r - ((q[i - mode] - b[(i - mode - shift) * use] * use) & _MASK)
                    z = (r & _LOW) << 1
                    if r >> 29 & 1:
                        z = z ^ _MASK
                    j = z >> k
                    if j < _ESCAPE:
                        acc = acc << j + 1 | (1 << j + 1) - 2
                        bits = bits + j + 1
                    else:
                        acc = acc << _ESCAPE | (1 << _ESCAPE) - 1
                        bits = bits + _ESCAPE
                    while bits >= 8:
                        bits = bits - 8
                        o[at] = acc >> bits
                        at = at + 1
                        acc = acc & (1 << bits) - 1
                    if j < _ESCAPE:
                        acc = acc << k | z & (1 << k) - 1
                        bits = bits + k
                    else:
                        acc = acc << 15 | z >> 15
                        bits = bits + 15
                        while bits >= 8:
                            bits = bits - 8
                            o[at] = acc >> bits
                            at = at + 1
                            acc = acc & (1 << bits) - 1
                        acc = acc << 15 | z & 0x7FFF
                        bits = bits + 15
                    while bits >= 8:
                        bits = bits - 8
                        o[at] = acc >> bits
                        at = at + 1
                        acc = acc & (1 << bits) - 1
                i = i + 1
        row = row + 4
    if bits:
        o[at] = acc << 8 - bits
        at = at + 1
    return at


@micropython.viper
def mean_change(i: int, total: int, state, before, shift: int, end: int) -> int:
    """Mean of the changes of the words i..end, modulo 2^30, of those below 2^19. total: 0; the rest as above."""
    q = ptr32(state)
    b = ptr32(before)
    use = 1
    if shift < 0:
        use = 0
    count = 0
    while i < end:
        d = (q[i] - b[(i - shift) * use] * use + 0x80000) & _MASK
        if d >> 20 == 0:
            total = total + d
            count = count + 1
        i = i + 1
    if count == 0:
        return 0
    return ((total + (count >> 1)) // count - 0x80000) & _MASK


def put_mean(out, at, mean):
    """A mean of mean_change() before the groups; returns where it ends."""
    mean -= (mean & _HALF) << 1
    if -128 < mean < 128:
        out[at] = mean & 255
        return at + 1
    out[at] = 128
    for i in range(4):
        out[at + 1 + i] = mean >> 8 * i & 255
    return at + 5


@micropython.viper
def pack_frames(i: int, at: int, end: int, ring32, ring, packer, table, table8, hashed, out) -> int:
    """Pack the records i..end of a ring; returns the first that has no room in `out` any more, or `end`.

    at: 0; ring32, ring: of Engine.ring(), its int32 and its bytes; packer: array of int32, PACKER; table, table8: array
    of int32, ROWS (ENTRIES at most) rows of 2 + a record's words of data, and its bytes; hashed: 256 bytes; out: bytes
    """
    r = ptr32(ring32)
    p = ptr32(packer)
    t = ptr32(table)
    t8 = ptr8(table8)
    h = ptr8(hashed)
    o = ptr8(out)
    r8 = ptr8(ring)
    words = p[_RECORD_WORDS]
    stride = words - 1  # a row holds identifier, key and flags, data
    most = (words - 3) * 4  # bytes of data
    limit = p[_LIMIT] - 40 - most - (most >> 3)
    skip = p[_SKIP]
    clock = p[_CLOCK]
    at = p[_AT]
    while i < end:
        if at > limit:
            break
        row = i * words
        now = r[row] & _MASK
        name = r[row + 1]
        key = r[row + 2] & _KEY  # channel, length
        length = key >> 8
        if length > most:
            length = most
            key = key & 255 | most << 8
        # which entry
        x = (name ^ name >> 7 ^ name >> 17 ^ key) & 255
        while h[x]:
            e = (h[x] - 1) * stride
            if t[e] == name:
                if t[e + 1] & _KEY == key:
                    break
            x = x + 1 & 255
        if h[x] == 0:
            if p[_ENTRIES_USED] == p[_ROWS]:  # begin anew: what the entries stand for is told again
                p[_ENTRIES_USED] = 0
                x = 0
                while x < 256:
                    h[x] = 0
                    x = x + 1
                x = (name ^ name >> 7 ^ name >> 17 ^ key) & 255
            e = p[_ENTRIES_USED]
            p[_ENTRIES_USED] = e + 1
            h[x] = e + 1
            e = e * stride
            t[e] = name
            k = _PACKER
            j = k + p[_KNOWN_IDS] * 2
            flags = key | _STRANGE
            if name >> 31 & 1:  # a notice
                flags = key
            while k < j:
                if p[k] == name:
                    if p[k + 1] == key & 255:
                        flags = key
                        k = j
                k = k + 2
            t[e + 1] = flags
            k = 2
            while k < stride:
                t[e + k] = 0
                k = k + 1
        # how far the clock is
        late = (now - p[_HIGHEST]) & _MASK
        if late < _HALF:
            p[_HIGHEST] = now
            late = 0
        elif late < _MASK - _REBASED_MS:
            p[_HIGHEST] = now
        flags = t[e + 1]
        if skip:
            if late == 0:
                if flags & _STRANGE:
                    if p[_UNKNOWN_COUNT] < 255:
                        p[_UNKNOWN_COUNT] = p[_UNKNOWN_COUNT] + 1
                        p[_UNKNOWN_CLOCK] = now
                        i = i + 1
                        continue
        item = h[x] - 1
        j = p[_UNKNOWN_COUNT]
        if j:  # in their place: those that were counted so far
            item = _UNKNOWN
            now = p[_UNKNOWN_CLOCK]
            p[_UNKNOWN_COUNT] = 0
        elif flags & _TOLD == 0:
            t[e + 1] = flags | _TOLD
            o[at] = _NEW
            o[at + 1] = item
            o[at + 2] = key & 255
            o[at + 3] = length
            o[at + 4] = name & 255
            o[at + 5] = name >> 8 & 255
            o[at + 6] = name >> 16 & 255
            o[at + 7] = name >> 24 & 255
            at = at + 8
        o[at] = item
        at = at + 1
        step = (now - clock) & _MASK
        if step < _LONG:
            o[at] = step
            at = at + 1
        else:
            o[at] = _LONG
            o[at + 1] = now & 255
            o[at + 2] = now >> 8 & 255
            o[at + 3] = now >> 16 & 255
            o[at + 4] = now >> 24 & 255
            at = at + 5
        clock = now
        if j:
            o[at] = j
            at = at + 1
            continue  # this frame itself comes next
        k = 0
        row = (row + 3) * 4
        e = (e + 2) * 4
        while k < length:
            last = k + 8
            if last > length:
                last = length
            put = at
            at = at + 1
            mask = 0
            bit = 1
            while k < last:
                v = r8[row + k]
                if v != t8[e + k]:
                    t8[e + k] = v
                    mask = mask | bit
                    o[at] = v
                    at = at + 1
                bit = bit << 1
                k = k + 1
            o[put] = mask
        i = i + 1
    p[_AT] = at
    p[_CLOCK] = clock
    return i
