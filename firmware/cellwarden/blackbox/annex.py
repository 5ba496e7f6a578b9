"""Annexes: files of records beside the segments, for what is much and mostly not needed for long (content.py).

What stands in them is as good as what stands in the chain as soon as it is sealed there: `told` gives the statements.
"""

import hashlib
import struct

from cellwarden.blackbox import content as C
from cellwarden.blackbox import form as F
from cellwarden.blackbox.chain import GRAIN

PART_BYTES = 512
HEAD_BYTES = F.HEAD_BYTES + struct.calcsize(C.ANNEX_HEAD) + F.CRC_BYTES


def annex_name(number):
    return "%08x%s" % (number, C.ANNEX_SUFFIX)  # noqa: UP031


def annex_number(name):
    """The number of an annex's file, or None for another file."""
    stem = name[: -len(C.ANNEX_SUFFIX)]
    if not name.endswith(C.ANNEX_SUFFIX) or len(stem) != 8:
        return None
    try:
        return int(stem, 16)
    except ValueError:
        return None


class Annex:
    """One that is being written. All methods raise OSError where the storage fails.

    number: boot (16 bits) and number in it from 1 on (16 bits), so that none is there twice; near: 1 where it is begun
    near an alarm; size: its bytes so far; frames: in it, as the recorder counts them
    """

    def __init__(self, folder, number, boot, segment, near, t_ms):
        self.number, self.near, self.size, self.frames = number, near, 0, 0
        self.end_ms = t_ms
        self._folder, self._boot, self._sequence = folder, boot, 0
        self._told, self._named = 0, False
        self._digest = hashlib.sha256()
        self._file = folder.create(annex_name(number))
        self.put(F.ANNEX_TYPE, t_ms, struct.pack(C.ANNEX_HEAD, number, segment, near))

    def put(self, kind, t_ms, body):
        """Append a record."""
        for _ in self.putting(kind, t_ms, body):
            pass

    def putting(self, kind, t_ms, body):
        """As `put`, a generator with a pause after each few bytes: a flash may have to erase for each of them."""
        head, crc = F.head_and_crc(kind, self._boot, self._sequence, t_ms, body)
        self._sequence += 1
        self.end_ms = t_ms
        self._write(head[:1])  # the first byte behind what was made durable: littlefs moves a whole block for it
        yield
        self._write(head[1:])
        for at in range(0, len(body), PART_BYTES):
            self._write(body[at : at + PART_BYTES])
            yield
        self._write(crc)

    def _write(self, data):
        self._folder.append(self._file, data)
        self._digest.update(data)
        self.size += len(data)

    @property
    def unsealed(self):
        """Bytes that no ANNEX record tells of yet."""
        return self.size - self._told

    def sync(self):
        """Make durable what was written."""
        self._folder.sync(self._file)
        if not self._named:
            self._folder.sync_names()
            self._named = True

    def told(self):
        """The body of an ANNEX record on what was written since the last. To be made durable before it is put."""
        body = struct.pack(C.ANNEX, self.number, self._told, self.size, self._digest.digest()[: C.ANNEX_DIGEST_BYTES])
        self._told = self.size
        self._digest = hashlib.sha256()
        return body

    def close(self):
        self._file.close()


class Shelf:
    """The annexes that are closed, oldest first; those of older boots are found in the folder.

    capacity: bytes of all annexes, the one that is being written included
    """

    def __init__(self, folder, boot, capacity, most_bytes):
        self._folder, self._room = folder, capacity - most_bytes
        self.rows = []  # of each: [number, bytes, segment, near, end_ms, boot]
        self.last = (boot & 0xFFFF) << 16
        for name in folder.names():
            number = annex_number(name)
            if number is None:
                continue
            with folder.open(name) as file:
                record = F.next_record(file)
            told = F.unpack(C.ANNEX_HEAD, record.body) if record and record.type == F.ANNEX_TYPE else None
            segment, near, its_boot = (told[1], told[2], record.boot) if told else (0, 0, 0)
            self.rows.append([number, folder.size(name), segment, near, 0, its_boot])
        for i in range(len(self.rows) - 1, 0, -1):  # what came just before an alarm belongs to it
            before, after = self.rows[i - 1], self.rows[i]
            if after[3] == 1 and before[0] == after[0] - 1 and before[5] == after[5]:
                before[3] = before[3] or 2  # 2: not begun near an alarm, and so not the reason for one more

    def add(self, annex, segment, boot):
        """An annex that was closed."""
        self.rows.append([annex.number, annex.size, segment, annex.near, annex.end_ms, boot])

    def near(self, since_ms, boot):
        """An alarm was raised: what ends after `since_ms` of this boot is kept."""
        for row in self.rows:
            if row[5] == boot and row[4] - since_ms >= 0:
                row[3] = row[3] or 2

    def spare(self, since_ms, boot, oldest_segment):
        """The number of an annex that may go, or None.

        First those of this boot that end before `since_ms` without an alarm near, and those older than the ring; where
        there are too many bytes, the oldest, those without an alarm first.
        """
        total = 0
        for row in self.rows:
            if row[2] < oldest_segment or (row[5] == boot and not row[3] and row[4] - since_ms < 0):
                return row[0]
            total += -(-row[1] // GRAIN) * GRAIN
        if total <= self._room:
            return None
        for row in self.rows:
            if not row[3]:
                return row[0]
        return self.rows[0][0]

    def drop(self, number):
        """Forget an annex, whose going is stated next."""
        self.rows = [row for row in self.rows if row[0] != number]

    def remove(self, number):
        """Remove its file. Raises OSError where the storage fails."""
        self._folder.remove(annex_name(number))
