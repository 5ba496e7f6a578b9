"""What `verify` says of logs nobody touched, of anchors, and of keys and files that are not the box's."""

import json

import disk
import pytest
import second_reader
import story
import tamper
from cellwarden.blackbox import form as F
from cellwarden.blackbox.keys import FileKeys
from cellwarden_tools.blackbox.anchor import Anchor, read_anchor, write_anchor
from cellwarden_tools.blackbox.verify import Verification
from cellwarden_tools.errors import InputError


def kinds(seen):
    return [fault.kind for fault in seen.faults]


def alone(files):
    """The segments, and nothing that proves their end."""
    return {name: data for name, data in files.items() if name[:-4].isdigit()}


def test_the_end_is_proven_by_mark_slot_or_anchor_and_by_nothing_less(lived, verified):
    files = lived(boots=2)
    whole = verified(files)
    assert whole.complete and "key" in whole.tail
    seen = verified(alone(files) | {"end.cwb": files["end.cwb"]})
    assert seen.complete and seen.tail == "a clean shutdown at the end of boot 2"
    seen = verified(alone(files) | {"key.a": files["key.a"]})
    assert seen.complete and "key" in seen.tail
    last = whole.last
    seen = verified(alone(files), anchor=Anchor(last.index, last.tag, "the anchor"))
    assert seen.complete and "the anchor" in seen.tail
    seen = verified(alone(files))  # it ends with a shutdown record; that is no proof
    assert seen.intact and not seen.complete and seen.last.shutdown
    assert kinds(seen) == ["tail unproven"] and seen.tail is None
    assert (seen.faults[0].file, seen.faults[0].offset) == (max(alone(files)), len(files[max(alone(files))]))


def test_an_anchor_of_an_older_block_proves_what_it_saw_and_not_the_end(lived, verified):
    files = lived(boots=2)
    tags = verified(files).tags
    for index, tag in tags.items():
        seen = verified(alone(files), anchor=Anchor(index, tag, "the anchor"))
        assert seen.intact and seen.complete == (index == max(tags))
        seen = verified(files, anchor=Anchor(index, tag, "the anchor"))
        assert seen.intact and seen.complete
        seen = verified(files, anchor=Anchor(index, bytes(32), "the anchor"))
        assert kinds(seen) == ["contradiction"] and not seen.intact
    seen = verified(files, anchor=Anchor(max(tags) + 1, bytes(32), "the anchor"))
    assert kinds(seen) == ["truncated"] and not seen.complete


def test_an_anchor_of_what_the_ring_let_go_says_nothing(lived, verified):
    files = lived(boots=9)
    assert verified(files).first.index > 5
    seen = verified(files, anchor=Anchor(3, bytes(32), "the anchor"))
    assert seen.intact and seen.complete


def test_an_anchor_is_read_back_and_another_boxs_is_refused(lived, verified, tmp_path):
    seen, path = verified(lived(boots=1)), tmp_path / "anchor"
    write_anchor(path, story.FIRST_KEY, seen.last)
    assert read_anchor(path, story.FIRST_KEY)[:2] == (seen.last.index, seen.last.tag)
    with pytest.raises(InputError, match="another box"):
        read_anchor(path, bytes(32))
    told = json.loads(path.read_text())
    for name, value in (
        ("index", -1), ("index", "6"), ("index", True), ("tag", "00"), ("tag", "zz"), ("tag", 5), ("box", ""),
        ("cellwarden_anchor", 2),
    ):  # fmt: skip
        path.write_text(json.dumps(told | {name: value}))
        with pytest.raises(InputError):
            read_anchor(path, story.FIRST_KEY)
    for text in ("", "[]", "{}", "5", "[" * 5000, "\0"):
        path.write_text(text)
        with pytest.raises(InputError, match="anchor"):
            read_anchor(path, story.FIRST_KEY)
    with pytest.raises(InputError, match="cannot be read"):
        read_anchor(tmp_path / "none", story.FIRST_KEY)


def test_another_boxs_key_is_told_and_no_verdict_is_given(lived, verified):
    with pytest.raises(InputError, match="first key"):
        verified(lived(boots=1), key=bytes(32))


def test_a_folder_without_a_log_is_told(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        Verification(tmp_path / "none", story.FIRST_KEY)
    with pytest.raises(InputError, match="no segment"):
        Verification(tmp_path, story.FIRST_KEY)
    (tmp_path / "00000001.cwb").mkdir()
    with pytest.raises(InputError, match="no segment"):
        Verification(tmp_path, story.FIRST_KEY)


def test_a_single_segment_is_judged_alone(lived, tmp_path):
    files = lived(boots=2, capacity=1 << 20)
    (tmp_path / "00000001.cwb").write_bytes(files["00000001.cwb"])
    seen = Verification(tmp_path / "00000001.cwb", story.FIRST_KEY)
    assert seen.intact and not seen.complete and kinds(seen) == ["tail unproven"]


def test_a_tail_that_a_later_start_saw_cannot_be_exchanged(on, verified, provisioned):
    """The power went with records in the file that no seal covers: the next start seals what stands there."""
    there = disk.Disk(provisioned)
    chain = story.start(on(there))
    story.live(chain, 3)
    chain = story.start(on(there))
    for n in range(3):
        chain.put(F.EVENT_TYPE, n, bytes(30))
        assert n == 2 or chain.seal(n)
    story.live(story.start(on(there)), 3, shutdown=True)
    files = {name: bytes(file.data) for name, file in there.names.items()}
    seen = verified(files)
    assert seen.intact and seen.complete and seen.unsealed_records == 1
    (name, (sealed, size, _)) = next((f"{n:08}.cwb", tail) for n, tail in seen._tails.items())
    assert size == len(files[name])
    tried = 0
    for at in range(sealed, size):
        for bit in range(8):
            changed = bytearray(files[name])
            changed[at] ^= 1 << bit
            seen = verified(files | {name: bytes(changed)})
            assert kinds(seen) == ["altered"] and seen.faults[0][:2] == (name, sealed)
            tried += 1
    for end in range(sealed, size):
        seen = verified(files | {name: files[name][:end]})
        assert not seen.intact and seen.faults[0][:2] == (name, sealed)
    seen = verified(files | {name: files[name] + b"\0"})
    assert kinds(seen) == ["altered"]
    print(f"\n{tried} bits of a stated tail flipped: 0 missed")


def test_an_open_end_is_told_and_never_proven(on, verified, provisioned):
    """What follows the last seal is readable; what someone writes there must at least go on from it."""
    there = disk.Disk(provisioned)
    chain = story.start(on(there))
    story.live(chain, 4)
    chain = story.start(on(there))
    chain.put(F.EVENT_TYPE, 5, b"x")
    files = {name: bytes(file.data) for name, file in there.names.items()}
    seen = verified(files)
    assert seen.intact and seen.complete and seen.unsealed_records == 3  # identity and boot, too
    newest = max(alone(files))
    at = second_reader.u32(files[newest], 8)
    invented = tamper.record(F.EVENT_TYPE, 2, at + 3, b"invented")
    seen = verified(files | {newest: files[newest] + invented})
    assert seen.intact and seen.unsealed_records == 4, "it cannot be told, so it is called unsealed"
    for sequence in (0, at, at + 2, at + 9):
        changed = files | {newest: files[newest] + tamper.record(F.EVENT_TYPE, 2, sequence, b"invented")}
        assert kinds(verified(changed)) == ["altered"]


def test_damage_in_one_segment_hides_nothing_in_the_others(lived, verified):
    files = lived(boots=3, capacity=1 << 20)
    whole = verified(files)
    for name in tamper.segment_names(files):
        seen = verified(files | {name: b"\0" * len(files[name])})
        assert not seen.intact or not seen.complete
        lost = {piece for piece in range(len(whole.tags))} - seen.tags.keys()
        there = sum(piece.name == name for piece in tamper.blocks(files))
        assert len(lost) == there, f"damage in {name} hides blocks of others"
        assert all(seen.tags[index] == whole.tags[index] for index in seen.tags)


def test_a_new_box_that_sealed_nothing_is_not_called_fine(on, verified):
    there = disk.Disk()
    FileKeys(on(there)).provision(story.FIRST_KEY)
    story.start(on(there)).put(F.EVENT_TYPE, 0, b"x")
    seen = verified({name: bytes(file.data) for name, file in there.names.items()})
    assert not seen.intact and not seen.complete and kinds(seen) == ["tail unproven"]
    assert seen.unsealed_records == 3
