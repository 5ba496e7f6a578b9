"""What of a box's log is proven: intact, and complete (docs/blackbox.md, "What `verify` says")."""

import hashlib
import hmac
import struct
from array import array
from collections import Counter
from functools import partial
from typing import NamedTuple

from cellwarden.blackbox import content as C
from cellwarden.blackbox import form as F
from cellwarden.blackbox import keys as K
from cellwarden.blackbox.chain import GRAIN, most_segment, segment_name

from ..errors import InputError
from .annex import Annexes
from .read import end_mark, opened, pieces, segments, slots

MOST_INDEX = 1 << 26  # no box seals more blocks: one a second for two years
MOST_MISSING = 1 << 16  # in a row
MOST_FAULTS = 1000  # that are listed of a file, so that no log makes this take much memory
STRIDE = 4096  # a key is kept for each so many


class Fault(NamedTuple):
    """file, offset: where it begins; kind: a word of KINDS; reason: for people."""

    file: str
    offset: int
    kind: str
    reason: str


KINDS = {
    "damaged": "intact",  # bytes that are no record
    "altered": "intact",  # records whose seal does not hold
    "unsealed": "intact",  # records or bytes that no seal and no later statement covers
    "order": "intact",  # a block twice, or in another place than its number says
    "broken chain": "intact",  # a block that names another block before it
    "contradiction": "intact",  # a proven statement that the log belies
    "removed": "complete",  # blocks, records or files that are missing and that nothing accounts for
    "truncated": "complete",  # the same, at the end
    "tail unproven": "complete",  # nothing says that the log ends here
}


class Lost(NamedTuple):
    """Blocks that are missing, and the box proves that they never were known to be stored. boot: that says so."""

    first: int
    last: int
    boot: int

    def __str__(self):
        return f"{_blocks(self.first, self.last)}: power or storage failed while being stored (boot {self.boot})"


class Block(NamedTuple):
    """A proven block."""

    segment: int
    at: int
    end: int
    index: int
    boot: int
    first: int  # sequence of its first record, and of its seal
    last: int
    before: bytes
    tag: bytes
    t_ms: int  # of its seal
    shutdown: bool


class Keys:
    """C(n) of a first key (cellwarden.blackbox.keys), quick where n ascends; a key of each STRIDE is kept."""

    def __init__(self, first_key):
        self._kept = [bytes(first_key)]
        self._last = 0, bytes(first_key)

    def key(self, index):
        last, key = self._last
        if not 0 <= index - last <= STRIDE:
            while len(self._kept) <= index // STRIDE:
                self._kept.append(_on(self._kept[-1], STRIDE))
            last, key = index // STRIDE * STRIDE, self._kept[index // STRIDE]
        self._last = index, _on(key, index - last)
        return self._last[1]

    def seal_key(self, index):
        return K.derived(K.SEAL_LABEL, self.key(index))


def _on(key, steps):
    for _ in range(steps):
        key = hashlib.sha256(K.NEXT_LABEL + key).digest()  # K.derived, in half the time: it may be for millions
    return key


class Verification:
    """A log under a first key (32 bytes); anchor: anchor.Anchor or None.

    intact, complete: the verdicts; faults: [Fault], in the log's order; unlisted: how many more;
    lost: [Lost]; tail: its proof, or None;
    annexes: annex.Annexes; tags: {index: tag} of the proven blocks; records: how many are proven; unsealed_records:
    behind the last seals; proven: {segment: [(at, end)]} of its bytes, joined
    Raises InputError where there is no log, and where the key is another box's.
    """

    def __init__(self, log, first_key, anchor=None, tick=None):
        self.log, self.anchor = log, anchor
        self.faults, self.lost, self.tags = [], [], {}
        self._hurt, self._counts, self.unlisted = set(), Counter(), 0
        self.records = self.unsealed_records = 0
        self.first = self.last = self.tail = self.identity = None
        self.boots = set()
        self._ended = set()  # boots that shut down cleanly
        self._tick = tick or (lambda done: None)
        self._keys = Keys(first_key)
        self._commitment = K.commitment(first_key)
        self._foreign = False
        self._ring = (0, 0)  # (bytes of all segments, of one): the largest that the box ever said
        self._gaps = []  # (last missing block, how to say so if it is not said, what): nobody accounts for these
        self._unproven = 0  # blocks since the last proven one that were found altered or without their seal
        self._tails = {}  # segment: (sealed, size, digest) as found here
        self._open_ends = {}  # segment: _Open; of those from the last proven block on
        self._told_tails = []  # (Block, fields) as the box tells
        self.annexes = Annexes(log)
        self.paths = segments(log)
        self.proven = {}
        for number, path in self.paths.items():
            with opened(path) as data:
                self._segment(number, data)
        if self._foreign and not self.tags:
            raise InputError("--key", f"is not the first key of the box that wrote {log}", "the key made with that box")
        self._check_tails()
        self._check_start()
        self._check_end()
        for told in self.annexes.faults(
            segment_name, bool(self._gaps or self.lost), self.last.boot if self.last else 0,
            self.identity[2] if self.identity else 0, self._ended,
        ):  # fmt: skip
            self._list(Fault(*told))
        self.faults.sort(key=lambda fault: fault[:2])
        self.intact = bool(self.tags) and "intact" not in self._hurt
        self.complete = not self._gaps and "complete" not in self._hurt

    @property
    def vehicle(self):
        """The vehicle's id as proven, or None."""
        return self.identity[5].rstrip(b"\0").decode("ascii", "backslashreplace") if self.identity else None

    @property
    def image_sha256(self):
        """Identity of the vehicle image the box judged with last, as hexadecimal digits, or None."""
        return self.identity[6].hex() if self.identity else None

    def _fault(self, number, offset, kind, reason):
        self._list(Fault(segment_name(number), offset, kind, reason))

    def _list(self, fault):
        self._hurt.add(KINDS[fault.kind])
        self._counts[fault.file] += 1
        if self._counts[fault.file] <= MOST_FAULTS:
            self.faults.append(fault)
        else:
            self.unlisted += 1

    # --- one segment after the other ----------------------------------------------------------------------------------

    def _segment(self, number, data):
        open_block = _Open()
        sealed = 0
        waiting = []  # damage since the last seal: it may turn out to be the unsealed end
        for found in pieces(data):
            if found.record is None:
                if len(waiting) < MOST_FAULTS:
                    waiting.append(found)
                continue
            seal = F.seal_of(found.record)
            if not seal:
                open_block.add(found)
                continue
            for damage in waiting:
                self._fault(number, damage.at, "damaged", f"{damage.end - damage.at} bytes that are no record")
            waiting = []
            self._block(number, data, open_block, found, seal)
            open_block = _Open()
            sealed = found.end
            self._tick(found.end)
        if sealed < len(data):
            digest = hashlib.sha256()
            for at in range(sealed, len(data), 1 << 16):
                digest.update(data[at : min(at + (1 << 16), len(data))])
            self._tails[number] = (sealed, len(data), digest.digest())
            self.unsealed_records += len(open_block.at)
            self._open_ends[number] = open_block
        for older in [older for older in self._open_ends if self.last and older < self.last.segment]:
            del self._open_ends[older]

    def _block(self, number, data, open_block, found, seal):
        """Judge the records that end with this seal."""
        index, first, before, tag = seal
        record = found.record
        reason, start = open_block.range_from(first, record.sequence)
        if index > MOST_INDEX:
            reason = f"says to be block {index}: beyond the life of any box"
        if start:
            left = ", ".join(str(n) for n in open_block.sequence[: min(start, 3)])
            self._fault(number, open_block.at[0], "unsealed", f"{start} records before the block begins ({left})")
            self._unproven += 1
        if reason is None:
            mac = hmac.new(self._keys.seal_key(index), digestmod="sha256")
            for at, end in zip(open_block.at[start:], open_block.end[start:], strict=True):
                mac.update(data[at:end])
            mac.update(record.raw[: -F.CRC_BYTES - F.TAG_BYTES])
            if not hmac.compare_digest(mac.digest(), tag):
                reason = f"the seal of block {index} does not hold"
        at = open_block.at[start] if start < len(open_block.at) else found.at
        if reason:
            self._look_for_another_key(data, open_block)
            self._fault(number, at, "altered", reason)
            self._unproven += 1
            return
        kinds = bytes(data[at + 1] for at in open_block.at[start:])
        block = Block(
            number, at, found.end, index, record.boot, first, record.sequence, before, tag, record.t_ms,
            kinds[-1:] == bytes([F.SHUTDOWN_TYPE]),
        )  # fmt: skip
        told = self._statements(block, data, open_block, start, kinds)
        self._judge(block, told)
        if index not in self.tags:
            _join(self.proven.setdefault(number, []), at, found.end)
        self.records += len(kinds) + 1
        self.boots.add(block.boot)
        if block.shutdown:
            self._ended.add(block.boot)
        if self.first is None:
            self.first, self._start = block, (block, told, self._unproven)
        self.last, self._unproven = block, 0
        self.tags[block.index] = block.tag

    def _look_for_another_key(self, data, open_block):
        for at, end in zip(open_block.at, open_block.end, strict=True):
            if data[at + 1] == F.IDENTITY_TYPE:
                told = F.unpack(F.IDENTITY, data[at + F.HEAD_BYTES : end - F.CRC_BYTES])
                self._foreign |= bool(told) and told[7] != self._commitment

    def _statements(self, block, data, open_block, start, kinds):
        """{type: fields} of what the box says of itself in a proven block."""
        told = {}
        forms = {
            F.IDENTITY_TYPE: F.IDENTITY, F.MISSING_TYPE: F.MISSING, F.TAIL_TYPE: F.TAIL,
            F.ANNEX_TYPE: C.ANNEX, F.DROPPED_TYPE: C.DROPPED, F.EVENT_TYPE: C.EVENT,
            F.HAZARD_TYPE: C.HAZARD,
        }  # fmt: skip
        for n, kind in enumerate(kinds):
            if kind not in forms:
                continue
            at, end = open_block.at[start + n], open_block.end[start + n]
            fields = F.unpack(forms[kind], data[at + F.HEAD_BYTES : end - F.CRC_BYTES])
            if fields is None and kind == F.EVENT_TYPE:
                continue
            if fields is None:
                self._fault(block.segment, at, "contradiction", f"a {F.TYPES[kind]} record of another form")
            elif kind == F.TAIL_TYPE:
                self._told_tails.append((block, fields))
            elif kind in (F.ANNEX_TYPE, F.DROPPED_TYPE, F.EVENT_TYPE, F.HAZARD_TYPE):
                self.annexes.tell(kind, block, at, fields, struct.unpack_from("<I", data, at + 12)[0])
            else:
                told[kind] = fields
        return told

    def _judge(self, block, told):
        """Does a proven block stand where it belongs?"""
        identity, before = told.get(F.IDENTITY_TYPE), self.last
        fault = partial(self._fault, block.segment, block.at)
        if identity:
            self.identity = identity
            self._ring = max(self._ring, identity[8:10])
            self.annexes.limit(block.boot, identity[10:])
            if identity[1] != block.segment:
                fault("order", f"block {block.index} begins segment {identity[1]}, not this file's")
            if identity[4] != block.index:
                fault("contradiction", f"block {block.index} says that it is block {identity[4]}")
        if before is None:
            return
        if before.segment != block.segment and not identity:
            fault("order", f"block {block.index} begins no segment")
        if block.index <= before.index:
            again = "is there twice" if block.index == before.index else f"comes after block {before.index}"
            fault("order", f"block {block.index} {again}")
            return
        if block.boot < before.boot:
            fault("contradiction", f"block {block.index} of boot {block.boot} after one of boot {before.boot}")
        if block.index == before.index + 1:
            if block.before != before.tag:
                fault("broken chain", f"block {block.index} was written after another block {before.index}")
            elif block.first != before.last + 1:
                fault("contradiction", f"record {block.first} follows record {before.last}")
            return
        self._missing(before.index + 1, block, told)

    def _missing(self, first, block, told, where="before this one"):
        """Blocks from `first` on are missing before this one: who accounts for them?"""
        last, since = block.index - 1, None
        fault = partial(self._fault, block.segment, block.at)
        if F.MISSING_TYPE in told:
            since, proof = told[F.MISSING_TYPE]
            if not 0 <= last - since < MOST_MISSING or proof != self._proof(since, last):
                fault("contradiction", f"nothing proves that {_blocks(since, last)} could not be stored")
                since = None
        if since is not None:
            self.lost.append(Lost(max(first, since), last, block.boot))
            last = since - 1
        if first <= last:
            told_already = last - first + 1 <= self._unproven
            self._gaps.append((last, None if told_already else fault, f"{_blocks(first, last)} {where} are missing"))

    def _proof(self, first, last):
        """What only a box can show that does not know whether these blocks are stored."""
        proof = K.NO_PROOF
        for index in range(first, last + 1):
            proof = K.folded(proof, self._keys.key(index + 1))
        return proof

    # --- the whole ----------------------------------------------------------------------------------------------------

    def _check_tails(self):
        """What stands behind a segment's last seal must be what a later start found there."""
        oldest = self.identity[2] if self.identity else 0
        told = {}
        for block, fields in self._told_tails:
            told[fields[0]] = (block, fields[1:])
        for number, (block, fields) in told.items():
            here = self._tails.get(number)
            if number not in self.paths:
                if number >= oldest:
                    reason = f"{segment_name(number)}, which boot {block.boot} found, is missing"
                    self._fault(block.segment, block.at, "removed", reason)
            elif here != fields and fields[1] != K.NONE:
                reason = f"boot {block.boot} found other bytes behind the last seal"
                self._fault(number, here[0] if here else fields[0], "altered", reason)
        for number, (sealed, size, _) in self._tails.items():
            if number in told:
                continue
            if number in self._open_ends:
                self._check_open_end(number, self._open_ends[number])
            else:
                self._fault(number, sealed, "unsealed", f"{size - sealed} bytes that no seal covers")

    def _check_open_end(self, number, found):
        """Nothing proves what no start has sealed or stated yet; but it must go on from what is proven."""
        last, end = self.last, self._tails[number][0]
        sequence = -1 if last is None else last.last
        if last and last.segment == number and last.shutdown:
            self._fault(number, end, "unsealed", "bytes behind a clean shutdown")
            return
        for at, its_end, its_sequence in zip(found.at, found.end, found.sequence, strict=True):
            follows = its_sequence == sequence + 1 or (its_sequence > sequence and (at > end or not at))
            if not follows:
                self._fault(number, at, "altered", f"record {its_sequence} cannot stand behind record {sequence}")
                return
            end, sequence = its_end, its_sequence

    def _check_start(self):
        if self.first is None:
            return
        if not self.identity:
            reason = f"block {self.first.index} begins no segment, and nothing says which blocks came before it"
            self._fault(self.first.segment, self.first.at, "removed", reason)
            return
        _, _, oldest, first_index, *_ = self.identity
        if self.first.index > first_index:
            block, told, self._unproven = self._start
            where = f"before this one, from segment {oldest}, the oldest that the box kept,"
            self._missing(first_index, block, told, where)
        self._gaps = [gap for gap in self._gaps if gap[0] >= first_index]  # what the ring let go may be there in part
        for _, fault, what in self._gaps:
            if fault:
                fault("removed", what)
        if first_index:
            self._check_room(oldest, first_index)

    def _check_room(self, oldest, first_index):
        """The ring lets a segment go where it has no room for it. A box that says so may be in other hands by now."""
        capacity, segment_bytes = self._ring
        older = [number for number in sorted(self.paths)[:-1] if number >= oldest]
        held = sum(-(-self.paths[number].stat().st_size // GRAIN) * GRAIN for number in older)
        if held + segment_bytes + most_segment(segment_bytes) <= capacity:
            reason = f"{_blocks(0, first_index - 1)} are gone and {held} bytes are left, of a ring of {capacity}"
            self._fault(min(self.paths), 0, "removed", f"{reason}: nothing had to make room")

    def _check_end(self):
        """How is it proven that the log ends where it does?"""
        last, newest = self.last, max(self.paths)
        if last is None:
            self._fault(newest, 0, "tail unproven", "no block is proven")
            return
        told = self._counts.total()
        mark = end_mark(self.log)
        if mark:
            self.tail = self._by_mark(mark, last, newest)
        for slot in slots(self.log)[:1]:
            self.tail = self._by_slot(slot, last)
        if self.anchor:
            self.tail = self._by_anchor(last) or self.tail
        if self._counts.total() > told:
            self.tail = None
        elif self.tail is None:
            reason = f"nothing says that block {last.index} is the last: no end mark, no key of the box, no anchor"
            self._fault(*self._behind(last), "tail unproven", reason)

    def _behind(self, last):
        """(segment, byte) where the next block would begin."""
        later = [number for number in self.paths if number > last.segment]
        if later and self.paths[last.segment].stat().st_size == last.end:
            return min(later), 0
        return last.segment, last.end

    def _by_mark(self, mark, last, newest):
        """What the box left when it shut down, and its next start erased: nobody can make an older one."""
        index, proof = mark
        fault = partial(self._fault, *self._behind(last))
        if index > MOST_INDEX or proof != K.derived(K.END_LABEL, self._keys.key(index)):
            fault("contradiction", "the end mark beside the log is none of this box's")
        elif index > last.index + 1:
            fault("truncated", f"{_blocks(last.index + 1, index - 1)} are missing: the end mark stands behind them")
        elif index <= last.index or not last.shutdown:
            fault("contradiction", f"the end mark is that of a shutdown before block {index}: one was put back")
        elif last.segment != newest:
            fault("unsealed", "bytes behind a clean shutdown whose mark still stands")
        else:
            return f"a clean shutdown at the end of boot {last.boot}"
        return None

    def _by_slot(self, slot, last):
        """What the box's own key says: nobody can make an older one."""
        fault = partial(self._fault, *self._behind(last))
        if slot.index > MOST_INDEX or (slot.key, slot.after) != self._slot_keys(slot):
            fault("contradiction", "the key slot beside the log holds none of this box's keys")
        elif slot.index > last.index + 1:
            missing = _blocks(last.index + 1, slot.index - 1)
            since = last.index + 1 if slot.missing_from == K.NONE else slot.missing_from
            if slot.stored or since != last.index + 1 or slot.proof != self._proof(since, slot.index - 2):
                fault("truncated", f"{missing} are missing: the box's key stands behind them")
            else:
                fault("tail unproven", f"{missing} may have been lost to a power cut: the box did not start again")
        elif slot.index <= last.index:
            fault("contradiction", f"the box's key is that of block {slot.index}, which the log has: one was put back")
        elif slot.tag != last.tag:
            fault("contradiction", "the box's key slot names another last block")
        else:
            return f"the box's own key, which stands behind block {last.index}"
        return None

    def _slot_keys(self, slot):
        if slot.stored:
            return self._keys.seal_key(slot.index), self._keys.key(slot.index + 1)
        return self._keys.key(slot.index), K.NO_PROOF

    def _by_anchor(self, last):
        anchor, fault = self.anchor, partial(self._fault, *self._behind(last))
        if anchor.index > last.index:
            fault("truncated", f"{_blocks(last.index + 1, anchor.index)} are missing: {anchor.what} saw them")
        elif anchor.index not in self.tags:
            if anchor.index >= self.first.index:
                fault("removed", f"block {anchor.index}, which {anchor.what} saw, is missing")
        elif self.tags[anchor.index] != anchor.tag:
            fault("contradiction", f"block {anchor.index} is another than {anchor.what} saw")
        elif anchor.index == last.index:
            return f"{anchor.what}, which saw block {last.index}"
        return None


class _Open:
    """The records since the last seal: where they stand."""

    def __init__(self):
        self.at, self.end, self.sequence = array("Q"), array("Q"), array("L")

    def add(self, found):
        self.at.append(found.at)
        self.end.append(found.end)
        self.sequence.append(found.record.sequence)

    def range_from(self, first, last):
        """(what is wrong or None, number of the record where the block begins)."""
        try:
            start = len(self.sequence) - 1 - self.sequence[::-1].index(first)
        except ValueError:
            return f"record {first} with which its block began is missing", 0
        for n, sequence in enumerate(self.sequence[start:]):
            if sequence != first + n:
                return f"record {first + n} is missing (record {sequence} stands there)", start
        if first + len(self.sequence) - start != last:
            return f"record {first + len(self.sequence) - start} is missing before the seal", start
        return None, start


def _join(ranges, at, end):
    """Add at..end to [(at, end)], to the last where it follows."""
    if ranges and ranges[-1][1] == at:
        at = ranges.pop()[0]
    ranges.append((at, end))


def _blocks(first, last):
    return f"block {first}" if first == last else f"blocks {first} to {last}"
