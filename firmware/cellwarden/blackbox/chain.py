"""The chain of sealed blocks over a ring of segments (docs/blackbox.md, "Order"): `put` records, `seal` them.

A segment is a file that one start of the box appends to and that is never changed afterwards. Sealing and storing take
memory and time; they are for between scans.
"""

import hashlib
import struct

from cellwarden.blackbox import form as F
from cellwarden.blackbox import keys as K
from cellwarden.blackbox.folder import FULL

SUFFIX = ".cwb"
END_NAME = "end" + SUFFIX  # the end mark: one record, there from a clean shutdown to the next start's first record
CAPACITY = (
    15 << 20
)  # of a flash of 16 MiB: the rest is the file system's, and a segment's that is begun before one goes
SEGMENT_BYTES = 256 << 10
END_BYTES = F.HEAD_BYTES + struct.calcsize(F.END) + F.CRC_BYTES
GRAIN = 4096  # bytes in which a file system hands out room
BLOCKS_A_SEGMENT = 2  # a block that reaches this part of a segment is sealed, so no segment grows far
RETRY_MS = 1000  # after a failure the storage is left alone for so long
MOST_TAILS = 64  # segments without a seal that are kept: as many starts in a row that did not get as far


def segment_name(number):
    return "%08d%s" % (number, SUFFIX)  # noqa: UP031


def segment_number(name):
    """The number of a segment's file, or None for another file."""
    stem = name[: -len(SUFFIX)]
    return int(stem) if name.endswith(SUFFIX) and len(stem) == 8 and stem.isdigit() else None


def most_segment(segment_bytes):
    """No segment has so many bytes: the last block begins below its end and is sealed where it reaches its own."""
    return segment_bytes + segment_bytes // BLOCKS_A_SEGMENT + F.MOST_BODY + (MOST_TAILS + 8) * 128 + GRAIN


class Chain:
    """One start of the box.

    folder: folder.Folder of the segments; keys: keys.FileKeys; vehicle: its unique id, up to 17 ASCII bytes;
    image_sha256: identity of the vehicle image, 32 bytes; cause: what made the box start, 0..255; capacity:
    bytes of all segments; segment_bytes: a segment ends with the seal that reaches them

    annex_limits: what the identity says of annexes (form.IDENTITY), where the recorder keeps some;
    boot, sequence: of the next record; index: of the open block; commitment: to the first key
    lost_records, lost_blocks: given up since the start because the storage failed; error: how it failed last, an errno

    Raises ValueError where the box has no key, OSError where its storage cannot be read.
    """

    def __init__(self, folder, keys, vehicle, image_sha256, cause=0, capacity=CAPACITY, segment_bytes=SEGMENT_BYTES):
        slot = keys.load()
        self._folder, self._keys = folder, keys
        self.vehicle, self._image, self.commitment = vehicle, image_sha256, slot.commitment
        self._capacity, self._segment_bytes = capacity, segment_bytes
        self.annex_limits = (0, 0, 0, 0)
        self.boot = slot.boot + 1
        self.index = slot.index
        self.sequence = self._first = slot.sequence
        self.before = slot.tag
        self.lost_records = self.lost_blocks = self.error = 0
        self._file, self._touched = None, False
        self._last_kind = None
        self._ended = bool(folder.read(END_NAME).strip(b"\0"))
        self._failed_ms = None  # when the storage failed last
        self._boot_body = struct.pack(F.BOOT, cause)
        self._tails = []
        self._oldest, self._first_index = 1, 0  # of the ring, as stated last
        self._segment = slot.segment
        self._missing_from, self._proof = K.NONE, K.NO_PROOF
        newest = self._look_back()
        if slot.stored:
            self._key, self._after = slot.key, slot.after
        else:
            if slot.index and newest != (slot.index - 1, slot.tag):
                self._is_missing(slot.missing_from, slot.proof, slot.index - 1, slot.key)
            self._split(slot.key)

    def _split(self, key):
        """From here on the block before `index` is as it is; key: C(index)."""
        self._key, self._after = K.derived(K.SEAL_LABEL, key), K.derived(K.NEXT_LABEL, key)

    def _is_missing(self, since, proof, index, key):
        """Block `index` was sealed and is not stored, as were those since `since`; key: C(index + 1)."""
        self._missing_from = index if since == K.NONE else since
        self._proof = K.folded(proof, key)

    # --- what a start finds -------------------------------------------------------------------------------------------

    def _segments(self):
        """Numbers of the segments there are, ascending."""
        found = [segment_number(name) for name in self._folder.names()]
        return [number for number in found if number is not None]

    def _look_back(self):
        """Find what stands behind the newest seals; (index, tag) of the newest block, or None."""
        numbers = self._segments()
        self._segment = max([self._segment] + numbers)
        without = 0
        for number in reversed(numbers):
            tail, seal = self._tail_of(number)
            if seal is None:
                without += 1
                if without > MOST_TAILS:
                    self._folder.remove(segment_name(number))
                    continue
            if tail:
                self._tails.append(tail)
            if seal:
                told = self._identity_of(number)
                if told:
                    self._oldest, self._first_index = told[2], told[3]
                return seal
        return None

    def _identity_of(self, number):
        """The fields of a segment's IDENTITY, or None."""
        with self._folder.open(segment_name(number)) as file:
            record = F.next_record(file)
        return F.unpack(F.IDENTITY, record.body) if record and record.type == F.IDENTITY_TYPE else None

    def _tail_of(self, number):
        """What a TAIL says of a segment, or None; (index, tag) of its last seal, or None."""
        name = segment_name(number)
        size, sealed, last = self._folder.size(name), 0, None
        with self._folder.open(name) as file:
            at = 0
            record = F.next_record(file)
            while record:
                at += len(record.raw)
                seal = F.seal_of(record)
                if seal:
                    sealed, last = at, (seal[0], seal[3])
                record = F.next_record(file)
            if sealed == size:
                return None, last
            digest = hashlib.sha256()
            self._folder.sync(file)  # only the box stopped, maybe: then nothing of it need be durable yet
            file.seek(sealed)
            data = file.read(256)
            while data:
                digest.update(data)
                data = file.read(256)
        return (number, sealed, size, digest.digest()), last

    # --- what it writes -----------------------------------------------------------------------------------------------

    def put(self, kind, t_ms, body):
        """Append a record to the open block. t_ms: since the start; body: bytes-like.

        Returns False where the storage failed: the open block is given up, and the next record begins another segment.
        """
        if self._file is None and self._failed_ms is not None and 0 <= t_ms - self._failed_ms < RETRY_MS:
            self.lost_records += 1
            return False
        try:
            self._unmark_end()
            if self._file is None:
                self._begin(t_ms)
            self._append(kind, t_ms, body)
        except OSError as error:
            self._give_up(t_ms, error)
            self.lost_records += 1
            return False
        if self._size - self._sealed >= self._segment_bytes // BLOCKS_A_SEGMENT:
            return self.seal(t_ms)
        return True

    def seal(self, t_ms):
        """End the open block and make it durable; nothing where it holds no record. Returns False as `put` does."""
        sealed = True
        for sealed in self.sealing(t_ms):  # noqa: B007  (the last one counts)
            pass
        return sealed

    def sealing(self, t_ms):
        """As `seal`, a generator with a pause after each operation of the storage; the last value it yields is the
        result, and there is none where there is nothing to seal. No `put` before it has come to its end.
        """
        if self._file is None or self.sequence == self._first:
            return
        body = struct.pack(F.SEAL, self.index, self._first, self.before)
        head, _ = F.head_and_crc(F.SEAL_TYPE, self.boot, self.sequence, t_ms, body + F.NO_TAG)
        self._mac.update(head)
        self._mac.update(body)
        tag = self._mac.tag()
        body += tag
        _, crc = F.head_and_crc(F.SEAL_TYPE, self.boot, self.sequence, t_ms, body)
        records, shutdown = self.sequence - self._first, self._last_kind == F.SHUTDOWN_TYPE
        self.sequence += 1
        following = self._after
        failed = None
        try:
            self._folder.barrier(self._file)  # a seal that stands whole has all that it seals before it
            yield
            # from here on nobody can seal this block anew
            for _ in self._storing(self.index + 1, 0, following, K.NO_PROOF, tag):
                yield
            for data in (head, body, crc):
                self._folder.append(self._file, data)
            self._folder.sync(self._file)
        except OSError as error:
            failed = error
            self._is_missing(self._missing_from, self._proof, self.index, following)
            self.lost_records += records
            self.lost_blocks += 1
        self._split(following)
        self.before = tag
        self.index += 1
        self._first = self.sequence
        if failed:
            self._give_up(t_ms, failed)
            yield False
            return
        self._size += len(head) + len(body) + len(crc)
        self._sealed = self._size
        self._missing_from, self._proof, self._failed_ms = K.NONE, K.NO_PROOF, None
        yield
        try:
            self._settle()
            yield
            # and from here on nobody can say it was lost
            for _ in self._storing(self.index, 1, self._key, self._after, tag):
                yield
            if shutdown:
                self._mark_end(following)
        except OSError:  # it is stored; that it is will be known with the next
            pass
        self._mac = F.Mac(self._key)
        if shutdown or self._size >= self._segment_bytes:
            self._close()
        yield True

    @property
    def unsealed(self):
        """Records in the open block."""
        return self.sequence - self._first

    @property
    def begins(self):
        """Whether the next record begins another segment."""
        return self._file is None

    @property
    def segments(self):
        """(oldest segment of the ring as stated last, the one that is open or was last)."""
        return self._oldest, self._segment

    @property
    def stands(self):
        """What is sealed: (index of the last block, None where it did not reach the storage; its tag; the segment that
        is open or was last; bytes of it up to its last seal, None where it is closed).
        """
        index = self.index - 1 if self._missing_from == K.NONE and self.index else None
        return index, self.before, self._segment, self._sealed if self._file is not None else None

    def _storing(self, index, stored, key, after, tag):
        return self._keys.storing(
            K.Slot(
                index, self.boot, self.sequence, self._segment, self._missing_from, stored, key, after, tag,
                self._proof, self.commitment,
            )
        )  # fmt: skip

    def _mark_end(self, key):
        """Say that the block just sealed is the last; key: C(index)."""
        body = struct.pack(F.END, self.index, K.derived(K.END_LABEL, key))
        head, crc = F.head_and_crc(F.END_TYPE, self.boot, self.sequence, 0, body)
        self._ended = True
        self._folder.write(END_NAME, head + body + crc)

    def _unmark_end(self):
        """Before anything is written behind an end mark it goes; nobody can make it again."""
        if self._ended:
            self._folder.write(END_NAME, bytes(END_BYTES))
            self._ended = False

    def close(self):
        """Close the file. What is not sealed is lost."""
        self._close()

    def touch(self, t_ms):
        """Write the byte that every record begins with, after a seal: littlefs moves a whole block for the first byte
        behind what was made durable, and so `put` is spared that. It is not made durable, and where any part of what
        was not may be there after a power cut nothing is written.
        """
        if self._folder.atomic and self._file is not None and self.sequence == self._first and not self._touched:
            try:
                self._folder.append(self._file, bytes((F.MARK,)))
                self._size += 1
                self._touched = True
            except OSError as error:
                self._give_up(t_ms, error)

    def _append(self, kind, t_ms, body):
        head, crc = F.head_and_crc(kind, self.boot, self.sequence, t_ms, body)
        self._mac.update(head)
        for data in (head[1:] if self._touched else head, body, crc):
            self._folder.append(self._file, data)
            self._size += len(data)
        self._mac.update(body)
        self._mac.update(crc)
        self._touched = False
        self.sequence += 1
        self._last_kind = kind

    def _begin(self, t_ms):
        """Begin a segment: what it is, what was found behind older seals, what was given up."""
        self._keep()
        self._segment += 1
        self._size = self._sealed = 0
        self._new = True
        self._file = self._folder.create(segment_name(self._segment))
        self._folder.sync_names()
        self._mac = F.Mac(self._key)
        self._append(
            F.IDENTITY_TYPE,
            t_ms,
            struct.pack(
                F.IDENTITY, F.FORM, self._segment, self._oldest, self._first_index, self.index, self.vehicle,
                self._image, self.commitment, self._capacity, self._segment_bytes, *self.annex_limits,
            ),
        )  # fmt: skip
        if self._boot_body:
            self._append(F.BOOT_TYPE, t_ms, self._boot_body)
        for tail in self._tails:
            self._append(F.TAIL_TYPE, t_ms, struct.pack(F.TAIL, *tail))
        if self._missing_from != K.NONE:
            self._append(F.MISSING_TYPE, t_ms, struct.pack(F.MISSING, self._missing_from, self._proof))

    def _keep(self):
        """Find the oldest segment that stays beside the one to come, and the index of its first block.

        What is gone and would have had room stays stated: nobody makes the box say that it went by itself.
        """
        room = self._capacity - self._segment_bytes
        oldest, first_index = self._segment + 1, self.index
        for number in reversed(self._segments()):
            if number < self._oldest:
                break
            room -= -(-self._folder.size(segment_name(number)) // GRAIN) * GRAIN
            if room < 0:
                self._oldest, self._first_index = oldest, first_index
                return
            oldest = number
            told = self._identity_of(number)
            if told:
                first_index = told[4]

    def _settle(self):
        """After a segment's first seal: its statements are made, and what it says goes is removed."""
        if not self._new:
            return
        self._new = False
        self._tails = []
        self._boot_body = None
        for number in self._segments():
            if number >= self._oldest:
                break
            self._folder.remove(segment_name(number))

    def _give_up(self, t_ms, error):
        """Leave the open block unsealed. Its records' numbers are free again where it was never sealed."""
        self.error = error.args[0]
        self.lost_records += self.sequence - self._first
        self.sequence = self._first
        self._failed_ms = t_ms
        try:
            if self._file is not None:
                self._close()
                self._tails.append((self._segment, self._sealed, K.NONE, F.NO_TAG))
                del self._tails[:-MOST_TAILS]
                if not self._sealed:
                    self._folder.remove(segment_name(self._segment))
                    self._tails.pop()
            if error.args[0] == FULL:  # the newest is worth more than the oldest; `verify` will say what is missing
                numbers = self._segments()
                if len(numbers) > 1:
                    self._folder.remove(segment_name(numbers[0]))
        except OSError:  # the next record that is given up tries again
            pass

    def _close(self):
        if self._file is not None:
            file, self._file, self._touched = self._file, None, False
            try:
                file.close()
            except OSError:
                pass
