"""The bytes of the black box: records, and the seals that end a block of them (docs/blackbox.md).

All numbers are little-endian and without sign unless said. A record is

    0  MARK      1 byte
    1  type      1 byte, a row of TYPES
    2  length    2 bytes, of the body
    4  boot      4 bytes: starts of the box, from 1
    8  sequence  4 bytes: records of the box, from 0, over all its boots
    12 t_ms      4 bytes: milliseconds since the boot, modulo 2^32
    16 body
       CRC-32    4 bytes, of all before it (the one of zlib and Ethernet)

and a block is the records from one seal to the next, the seal included.
"""

import hashlib
import struct
from binascii import crc32
from collections import namedtuple

MARK = 0xCB
FORM = 1  # of this page
HEAD = "<BBHIII"
HEAD_BYTES = 16
CRC_BYTES = 4
MOST_BODY = 16384  # bytes: a longer body is no record, so damage never makes a reader take much memory
MOST_NUMBER = 0xFFFFFFFF
TAG_BYTES = KEY_BYTES = 32

TYPES = (
    None,
    "identity",  # first of a segment: IDENTITY
    "boot",  # second of a boot's first segment: BOOT
    "missing",  # blocks that were sealed and not stored: MISSING
    "tail",  # what stands unsealed at the end of an older segment: TAIL
    "clock",  # what time it is: CLOCK
    "frames",
    "features",
    "event",
    "snapshot",
    "lost",  # LOST
    "security",  # what GB/T 40855 5.2.2.7 asks for
    "update",
    "acknowledgement",
    "upload",
    "shutdown",  # the last before a seal that the box meant to be its last
    "seal",  # SEAL, then the tag
    "end",  # of the file of the end mark alone: END
    "annex",  # bytes of a file beside the segments, which may go before them (content.py, ANNEX)
    "dropped",  # an annex that goes (content.py, DROPPED)
    "hazard",  # what befalls the recorder itself (content.py, HAZARD)
)
IDENTITY_TYPE, BOOT_TYPE, MISSING_TYPE, TAIL_TYPE, CLOCK_TYPE = 1, 2, 3, 4, 5
FRAMES_TYPE, FEATURES_TYPE, EVENT_TYPE, SNAPSHOT_TYPE, LOST_TYPE = 6, 7, 8, 9, 10
SECURITY_TYPE, UPDATE_TYPE, ACKNOWLEDGEMENT_TYPE, UPLOAD_TYPE = 11, 12, 13, 14
SHUTDOWN_TYPE, SEAL_TYPE, END_TYPE = 15, 16, 17
ANNEX_TYPE, DROPPED_TYPE, HAZARD_TYPE = 18, 19, 20

# form, segment, oldest segment that is kept, index of its first block, index of the block that begins here,
# vehicle id (ASCII, filled with 0), SHA-256 of the vehicle image, commitment to the first key, bytes of the whole ring,
# bytes that end a segment; of annexes: bytes of all, of one, ms that are kept before and after a raise (0 without them)
IDENTITY = "<HIIII17s32s32sIIIIII"
# what made the box start
BOOT = "<B"
# index of the first block before this one that was not stored, proof that neither it nor any after it was
MISSING = "<I32s"
# segment, bytes of it that end with its last seal, bytes of it, SHA-256 of those behind the seal;
# the last two are 0xFFFFFFFF and zeros where the storage failed and nobody knows
TAIL = "<III32s"
# seconds since 1970 (UTC), milliseconds, where it is from
CLOCK = "<IHB"
# counts since the boot of what could not be recorded: frames, events, records
LOST = "<III"
# index of the block, sequence of its first record, tag of the block before
SEAL = "<II32s"
# index of the block that would be next, proof that no start has begun it
END = "<I32s"
NO_TAG = bytes(TAG_BYTES)  # stands before block 0

Record = namedtuple("Record", ("type", "boot", "sequence", "t_ms", "body", "raw"))


def head_and_crc(kind, boot, sequence, t_ms, body):
    """What stands before and behind a body (bytes-like): 16 and 4 bytes."""
    head = struct.pack(HEAD, MARK, kind, len(body), boot, sequence, t_ms & MOST_NUMBER)
    return head, struct.pack("<I", crc32(body, crc32(head)))


def next_record(file):
    """The Record at the position of a binary file, or None where no whole one stands: damage, or the end."""
    head = file.read(HEAD_BYTES)
    if len(head) < HEAD_BYTES or head[0] != MARK:
        return None
    _, kind, length, boot, sequence, t_ms = struct.unpack(HEAD, head)
    if length > MOST_BODY or not 0 < kind < len(TYPES):
        return None
    rest = file.read(length + CRC_BYTES)
    if len(rest) < length + CRC_BYTES:
        return None
    body = rest[:length]
    if crc32(body, crc32(head)) != struct.unpack("<I", rest[length:])[0]:
        return None
    return Record(kind, boot, sequence, t_ms, body, head + rest)


def unpack(form, body):
    """The fields of a body, or None where it is of another length."""
    return struct.unpack(form, body) if len(body) == struct.calcsize(form) else None


def seal_of(record):
    """(index, sequence of the block's first record, tag of the block before, tag) of a seal, or None."""
    size = struct.calcsize(SEAL)
    if record.type != SEAL_TYPE or len(record.body) != size + TAG_BYTES:
        return None
    return struct.unpack(SEAL, record.body[:size]) + (record.body[size:],)


class Mac:
    """HMAC-SHA256 (RFC 2104) of what is given to `update`; key: 32 bytes."""

    def __init__(self, key):
        self._inner, self._outer = (hashlib.sha256(_padded(key, pad)) for pad in (0x36, 0x5C))
        self.update = self._inner.update

    def tag(self):
        """32 bytes. To be asked for once."""
        self._outer.update(self._inner.digest())
        return self._outer.digest()


def _padded(key, pad):
    block = bytearray(64)
    for i in range(64):
        block[i] = pad ^ key[i] if i < len(key) else pad
    return block
