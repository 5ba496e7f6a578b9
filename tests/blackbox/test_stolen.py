"""A log from someone who had the box: splices of two of its lives, and a past made anew with all that a thief holds."""

import struct

import disk
import pytest
import second_reader
import story
import tamper
from cellwarden.blackbox import form as F
from cellwarden.blackbox.chain import segment_name
from cellwarden_tools.blackbox.anchor import Anchor

END_LABEL, NOT_STORED_LABEL = b"cellwarden end 1", b"cellwarden not stored 1"


def logs_of(files):
    """Without the witnesses that a thief would rather not show."""
    return {name: data for name, data in files.items() if name[:-4].isdigit()}


class Thief:
    """files: a whole copy of the box's storage as it is at rest; counts what is tried and detected."""

    def __init__(self, verified, files):
        self.verified, self.files, self.loot = verified, files, tamper.loot(files)
        self.blocks = tamper.blocks(files)
        self.tried = 0

    def tags(self):
        return dict(second_reader.read(self.files, story.FIRST_KEY)[1])

    def slot(self, index=None, tag=None, boot=None, sequence=None):
        """key.a and key.b as a box would hold them that goes on from what the thief made."""
        loot = self.loot
        index = loot.index if index is None else index
        steps = index - loot.index
        after = second_reader.chain_key(loot.after, steps)
        data = b"CWK1" + struct.pack("<6I", index, boot or loot.boot, sequence or loot.sequence, 99, 0xFFFFFFFF, 1)
        data += loot.key_of(index) + after + (tag or loot.tag) + bytes(32) + self.files["key.a"][156:188]
        data += struct.pack("<I", second_reader.zlib.crc32(data))
        return {"key.a": data, "key.b": data}

    def mark(self, index):
        """An end mark before a block that the thief has the C(n) of: n > index of the loot."""
        key = second_reader.chain_key(self.loot.after, index - self.loot.index - 1)
        body = struct.pack("<I", index) + second_reader.sha256(END_LABEL, key)
        return {"end.cwb": tamper.record(17, self.loot.boot, 0, body)}

    def tries(self, segments, what, *witnesses):
        """Whatever is laid beside these segments, the log is not said to be intact and complete."""
        for beside in ({}, self.slot(), *witnesses):
            seen = self.verified({**logs_of(segments), **beside})
            assert seen.faults and not (seen.intact and seen.complete), f"a thief who {what} is believed"
            if beside in witnesses:  # that fit what he made: it is not the end alone that is doubted
                assert {fault.kind for fault in seen.faults} - {"tail unproven"}, f"a thief who {what} is only doubted"
            self.tried += 1

    def reseal(self, piece, parts, index, before):
        """(segments, tag): a block made anew of these records, with the key of block `index`."""
        data, tag = tamper.sealed(parts, self.loot.key_of(index), index, self.loot.boot, before)
        return tamper.replaced(self.files, (piece, data)), tag

    def tell(self, what):
        print(f"\n{self.tried} times {what}: all detected; 0 missed")


@pytest.fixture
def thief(verified, lived):
    return Thief(verified, lived(boots=3, seals=6, capacity=1 << 20, segment_bytes=1000))


def parts_of(thief, piece):
    data = tamper.bytes_of(thief.files, piece)
    return [record[5] for _, record in second_reader.records_of(data)][:-1]


def test_a_block_made_anew_with_the_current_key(thief):
    tags = thief.tags()
    for number, piece in enumerate(thief.blocks):
        parts = parts_of(thief, piece)
        parts[-1] = tamper.record(parts[-1][1], parts[-1][4], struct.unpack_from("<I", parts[-1], 8)[0], b"forged")
        before = tags.get(number - 1, bytes(32))
        for index in (thief.loot.index, thief.loot.index + 1):
            files, _ = thief.reseal(piece, parts, index, before)
            thief.tries(files, f"seals block {number} anew as block {index}")
        # and with its old number, which is not the one that the key is for
        data, _ = tamper.sealed(parts, thief.loot.seal_key, number, 1, before)
        thief.tries(tamper.replaced(thief.files, (piece, data)), f"seals block {number} with the current key")
    thief.tell("a block was made anew")


def test_the_log_rewritten_from_a_block_on(thief):
    """All from a block on is sealed anew, each with a key that the thief has: its numbers then leave a gap."""
    tags = thief.tags()
    for start in range(len(thief.blocks)):
        before, index, changes = tags.get(start - 1, bytes(32)), thief.loot.index, []
        for piece in thief.blocks[start:]:
            data, before = tamper.sealed(parts_of(thief, piece), thief.loot.key_of(index), index, 1, before)
            changes.append((piece, data))
            index += 1
        files = tamper.replaced(thief.files, *changes)
        beside = thief.slot(index, before)
        thief.tries(files, f"rewrites all from block {start} on", beside, thief.mark(index), beside | thief.mark(index))
    thief.tell("the log was rewritten from a block on")


def forged_identity(thief, segment, oldest, first_index, index, boot, sequence, capacity=1 << 20):
    image, commitment = story.IMAGE, second_reader.sha256(b"cellwarden first key 1", story.FIRST_KEY)
    body = struct.pack("<HIIII", 1, segment, oldest, first_index, index) + story.VEHICLE.ljust(17, b"\0")
    body += image + commitment + struct.pack("<6I", capacity, 1000, 0, 0, 0, 0)
    return tamper.record(F.IDENTITY_TYPE, boot, sequence, body)


def test_blocks_cut_off_and_said_to_be_lost(thief):
    """The thief ends the log at a block and goes on from there: a MISSING record needs a proof that he cannot make."""
    tags, loot = thief.tags(), thief.loot
    names = tamper.segment_names(thief.files)
    for kept in range(1, len(thief.blocks)):
        gone = thief.blocks[kept:]
        files = {name: data for name, data in logs_of(thief.files).items()}
        for piece in reversed(gone):
            files[piece.name] = files[piece.name][: piece.at]
        files = {name: data for name, data in files.items() if data}
        number, boot, sequence = len(names) + 1, loot.boot + 1, loot.sequence
        proofs = [bytes(32)]
        for key in (loot.seal_key, loot.after, bytes(32)):
            proof = bytes(32)
            for _ in gone:
                proof = second_reader.sha256(proof, second_reader.sha256(NOT_STORED_LABEL, key))
            proofs.append(proof)
        for proof in (None, *proofs):
            for before in (tags[kept - 1], loot.tag):
                parts = [
                    forged_identity(thief, number, 1, 0, loot.index, boot, sequence),
                    tamper.record(F.BOOT_TYPE, boot, sequence + 1, b"\0"),
                ]
                if proof is not None:
                    body = struct.pack("<I", kept) + proof
                    parts.append(tamper.record(F.MISSING_TYPE, boot, sequence + 2, body))
                parts.append(tamper.record(F.SHUTDOWN_TYPE, boot, sequence + len(parts), b""))
                block, tag = tamper.sealed(parts, loot.seal_key, loot.index, boot, before)
                beside = thief.slot(loot.index + 1, tag, boot, sequence + len(parts) + 1)
                made = files | {segment_name(number): block}
                thief.tries(
                    made, f"says that block {kept} and on are lost", beside, beside | thief.mark(loot.index + 1)
                )
                # the last segment again under the name that follows
                renamed = files | {segment_name(len(files) + 1): block}
                thief.tries(renamed, f"says that block {kept} and on are lost", beside)
    thief.tell("blocks were cut off and others put behind")


def test_the_end_cut_off_where_the_box_once_shut_down(thief):
    """At an older clean shutdown only a mark that nobody can make again would prove the end."""
    loot = thief.loot
    for kept in range(1, len(thief.blocks)):
        files = logs_of(thief.files)
        for piece in reversed(thief.blocks[kept:]):
            files[piece.name] = files[piece.name][: piece.at]
        files = {name: data for name, data in files.items() if data}
        marks = [thief.mark(loot.index + 1), {"end.cwb": thief.files["end.cwb"]}]
        for index in (kept, loot.index):
            for key in (loot.seal_key, loot.after, bytes(32)):
                body = struct.pack("<I", index) + second_reader.sha256(END_LABEL, key)
                marks.append({"end.cwb": tamper.record(F.END_TYPE, loot.boot, 0, body)})
        put_back = []
        for key in (loot.seal_key, loot.after):
            slot = bytearray(thief.slot(loot.index, None)["key.a"][:-4])
            slot[4:8] = struct.pack("<I", kept)
            slot[28:60] = key
            slot += struct.pack("<I", second_reader.zlib.crc32(slot))
            put_back.append({"key.a": bytes(slot), "key.b": bytes(slot)})
        thief.tries(files, f"cuts the log off behind block {kept - 1}", *marks, *put_back)
    thief.tell("the end was cut off")


def test_the_beginning_removed_as_if_the_ring_had_come_round(verified, lived):
    """The thief's box says that its ring let the oldest go; it had room for them, or says that it is another ring."""
    whole = lived(boots=12, seals=9, capacity=1 << 17, segment_bytes=4000)
    thief = Thief(verified, whole)
    loot, names = thief.loot, tamper.segment_names(whole)
    first_of = {piece.name: number for number, piece in reversed(list(enumerate(thief.blocks)))}
    for gone in range(1, len(names)):
        files = {name: data for name, data in logs_of(whole).items() if name not in names[:gone]}
        number, oldest = len(names) + 1, int(names[gone][:-4])
        for capacity in (1 << 17, 20000, 4000):
            boot, sequence = loot.boot + 1, loot.sequence
            parts = [
                forged_identity(thief, number, oldest, first_of[names[gone]], loot.index, boot, sequence, capacity),
                tamper.record(F.BOOT_TYPE, boot, sequence + 1, b"\0"),
                tamper.record(F.SHUTDOWN_TYPE, boot, sequence + 2, b""),
            ]
            block, tag = tamper.sealed(parts, loot.seal_key, loot.index, boot, loot.tag)
            made = files | {segment_name(number): block}
            beside = thief.slot(loot.index + 1, tag, boot, sequence + 4)
            thief.tries(made, f"removes the oldest {gone} segments", beside, beside | thief.mark(loot.index + 1))
    thief.tell("the beginning was removed")


def test_what_is_removed_while_the_box_is_off_is_not_made_good_by_its_next_start(verified, lived):
    """Nobody needs a key for that; the box itself goes on."""
    whole = lived(boots=4, capacity=1 << 17)
    names = tamper.segment_names(whole)
    for first in range(len(names)):
        for last in range(first, len(names)):
            left = {name: data for name, data in whole.items() if name not in names[first : last + 1]}
            seen = verified(lived(left, boots=2, capacity=1 << 17))
            told = [fault.kind for fault in seen.faults]
            assert not seen.complete and "removed" in told, f"segments {first} to {last} were removed: {told}"
    print(f"\n{len(names) * (len(names) + 1) // 2} times segments were removed between two starts: 0 missed")


def test_the_ring_that_comes_round_takes_what_was_removed_with_it(verified, lived):
    """A box whose oldest segment was removed is believed again once that would have been overwritten anyway."""
    whole = lived(boots=4)
    del whole[tamper.segment_names(whole)[0]]
    seen = verified(lived(whole, boots=9))
    assert seen.intact and seen.complete


def test_a_splice_of_two_lives_of_the_same_box(verified, lived):
    """The storage was copied, keys and all, and both copies lived on: a log of parts of both is none."""
    ring = {"capacity": 1 << 20, "segment_bytes": 900}
    common = lived(boots=1, **ring)
    a, b = lived(common, boots=2, t_ms=0, **ring), lived(common, boots=2, t_ms=5, **ring)
    assert tamper.segment_names(a) == tamper.segment_names(b)
    spliced = 0
    names = tamper.segment_names(a)
    pieces_a, pieces_b = tamper.blocks(a), tamper.blocks(b)
    assert len(pieces_a) == len(pieces_b)
    made = []
    for at in range(1, len(names)):
        made.append({name: (a if n < at else b)[name] for n, name in enumerate(names)})
    for piece, other in zip(pieces_a, pieces_b, strict=True):
        made.append(tamper.replaced(logs_of(a), (piece, tamper.bytes_of(b, other))))
    for at in range(1, len(pieces_a)):
        changes = [(x, tamper.bytes_of(b, y)) for x, y in zip(pieces_a[at:], pieces_b[at:], strict=True)]
        made.append(tamper.replaced(logs_of(a), *changes))
    for files in made:
        files = logs_of(files)
        whole = files in (logs_of(a), logs_of(b))
        for life in (a, b):
            for beside in ({}, {n: life[n] for n in ("key.a", "key.b")}, {"end.cwb": life["end.cwb"]}):
                seen = verified(files | beside)
                if whole:
                    continue
                assert seen.faults and not (seen.intact and seen.complete), "a splice of two lives is believed"
                spliced += 1
    print(f"\n{spliced} splices of two lives of a box: all detected; 0 missed")
    assert spliced > 100


def test_who_cuts_the_power_can_deny_the_block_being_stored_and_no_other(on, verified, lived):
    """Between a seal and the box's note that it is stored the slot holds C(n). The doubt is shown, block by block."""
    start, denied, refused = lived(boots=1, capacity=1 << 20), 0, 0
    whole = disk.Disk(start)
    story.live(story.start(on(whole), capacity=1 << 20), 5)
    for cut in range(whole.operations):
        there = disk.Disk(start, cut)
        try:
            story.live(story.start(on(there), capacity=1 << 20), 5)
        except disk.PowerCut:
            pass
        files = there.after_cut(0)
        index, boot, sequence, _, _, stored = struct.unpack_from("<6I", files["key.b"], 4)
        blocks = tamper.blocks(files) if not stored and verified(files).unsealed_records == 0 else []
        if stored or files["key.a"] != files["key.b"] or len(blocks) != index:
            continue
        key, before = files["key.a"][28:60], files["key.a"][92:124]  # C(index)
        for kept in range(index - 1, 5, -1):
            left = logs_of(files)
            for piece in reversed(blocks[kept:]):
                left[piece.name] = left[piece.name][: piece.at]
            number = len(left) + 1
            left = {name: data for name, data in left.items() if data}
            proof = second_reader.sha256(bytes(32), second_reader.sha256(NOT_STORED_LABEL, key))
            identity = forged_identity(None, number, 1, 0, index, boot + 1, sequence)
            parts = [
                identity,
                tamper.record(F.BOOT_TYPE, boot + 1, sequence + 1, b"\0"),
                tamper.record(F.MISSING_TYPE, boot + 1, sequence + 2, struct.pack("<I", kept) + proof),
            ]
            seal_key = second_reader.sha256(b"cellwarden seal key 1", key)
            block, tag = tamper.sealed(parts, seal_key, index, boot + 1, before)
            seen = verified(left | {segment_name(number): block}, anchor=Anchor(index, tag, "the anchor"))
            if kept == index - 1:
                assert seen.complete and [(lost.first, lost.last) for lost in seen.lost] == [(kept, kept)]
                denied += 1
            else:
                assert not seen.complete
                refused += 1
    print(
        f"\n{denied} times the block being stored was denied and shown as lost; {refused} times an older one: refused"
    )
    assert denied and refused


def test_the_thief_can_write_the_future(thief):
    """What he forges from now on holds: no check above refuses whatever it is given. An anchor of later tells."""
    loot, tags = thief.loot, thief.tags()
    number = len(tamper.segment_names(thief.files)) + 1
    parts = [
        forged_identity(thief, number, 1, 0, loot.index, loot.boot + 1, loot.sequence),
        tamper.record(F.BOOT_TYPE, loot.boot + 1, loot.sequence + 1, b"\0"),
        tamper.record(F.SHUTDOWN_TYPE, loot.boot + 1, loot.sequence + 2, b""),
    ]
    block, tag = tamper.sealed(parts, loot.seal_key, loot.index, loot.boot + 1, loot.tag)
    files = logs_of(thief.files) | {segment_name(number): block}
    for beside in (thief.mark(loot.index + 1), thief.slot(loot.index + 1, tag)):
        seen = thief.verified(files | beside)
        assert seen.intact and seen.complete and not seen.faults
    seen = thief.verified(files, anchor=Anchor(loot.index, bytes(32), "the anchor"))
    assert [fault.kind for fault in seen.faults] == ["contradiction"]
    assert thief.verified(files, anchor=Anchor(loot.index, tag, "the anchor")).complete
    assert thief.verified(files, anchor=Anchor(3, tags[3], "the anchor")).tail is None


def test_a_copy_that_does_not_move_is_no_theft(on, verified, lived):
    """A box that stops in the middle leaves its slot: it proves the end of what was sealed."""
    there = disk.Disk(lived(boots=1))
    story.live(story.start(on(there)), 3)
    files = {name: bytes(file.data) for name, file in there.names.items()}
    seen = verified(files)
    assert seen.intact and seen.complete and "key" in seen.tail
    assert not verified(logs_of(files) | {"end.cwb": files["end.cwb"]}).complete
