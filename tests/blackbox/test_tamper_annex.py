"""A whole box's log, annexes included: what is done to it is detected, and a power cut at any moment forges nothing."""

import itertools
import os
import random
import struct

import disk
import pytest
import tamper
from cellwarden.blackbox import form as F
from cellwarden.blackbox.annex import annex_number
from cellwarden.blackbox.keys import FileKeys
from cellwarden_tools.blackbox.anchor import Anchor
from cellwarden_tools.blackbox.read import opened, pieces
from cellwarden_tools.blackbox.verify import KINDS
from cellwarden_tools.compiler.image import compile_profile
from cellwarden_tools.simulator import DEMO_PROFILE
from cellwarden_tools.simulator.run import simulate
from recorded import Box
from story import FIRST_KEY

WHOLE = os.environ.get("CELLWARDEN_CUTS") == "whole"  # make cuts


@pytest.fixture(scope="module")
def image():
    return compile_profile(DEMO_PROFILE).image


@pytest.fixture(scope="module")
def frames():
    """Half a minute; after a third of it most messages stay away, which is an alarm."""
    all_of_them = ((t_us, 0, can_id, data) for t_us, _, can_id, data in simulate("demo", DEMO_PROFILE, 1, 1))
    some = itertools.takewhile(lambda frame: frame[0] < 30_000_000, all_of_them)
    return [frame for frame in some if frame[0] < 5_000_000 or frame[2] % 5 == 0]


def annexes_of(files):
    return sorted(name for name in files if annex_number(name) is not None)


def lived(on, image, frames, files=(), boots=2, cut=None, failing=()):
    """(the disk, its files) after a box lived on it; its power may go, its storage fail."""
    there = disk.Disk(files, cut, failing)
    try:
        if not files:
            FileKeys(on(there)).provision(FIRST_KEY)
        for _ in range(boots):
            box = Box("", image, on(there))
            box.feed(frames)
            assert box.shutdown() or failing
    except disk.PowerCut:
        pass
    return there, {name: bytes(file.data) for name, file in there.names.items()}


@pytest.fixture
def log(on, image, frames):
    """Two boots, each with its segment and annexes."""
    _, files = lived(on, image, frames)
    assert len(annexes_of(files)) >= 2 and len(tamper.segment_names(files)) >= 2
    return files


@pytest.fixture
def detects(verified, log):
    seen = verified(log)
    assert seen.intact and seen.complete and not seen.faults and len(seen.annexes.proven) == len(annexes_of(log))

    def look(files, what, name=None):
        seen = verified(files)
        assert seen.faults and not (seen.intact and seen.complete), f"{what} is not seen"
        for fault in seen.faults:
            assert not (seen.intact if KINDS[fault.kind] == "intact" else seen.complete), f"{what}: {fault}"
        if name:
            assert name in {fault.file for fault in seen.faults}, f"{what} is located at {seen.faults[:2]}"

    return look


def test_bits_flipped_all_over_a_whole_log(detects, log):
    """One bit of each so many bytes, another bit each time."""
    flipped = 0
    for name in [*annexes_of(log), *tamper.segment_names(log)]:
        for n, at in enumerate(range(0, len(log[name]), max(1, len(log[name]) // 250))):
            changed = bytearray(log[name])
            changed[at] ^= 1 << n % 8
            detects(log | {name: bytes(changed)}, f"bit {n % 8} of byte {at} of {name}", name)
            flipped += 1
    print(f"\n{flipped} bits flipped: 0 missed")


def test_annexes_removed_cut_and_exchanged(detects, log, on, image, frames):
    other = lived(on, image, frames[70:])[1]
    tried = 0
    for name in annexes_of(log):
        data = log[name]
        detects({n: d for n, d in log.items() if n != name}, f"{name} removed")
        for end in {0, 1, len(data) // 3, len(data) // 2, len(data) - 1}:
            detects(log | {name: data[:end]}, f"{name} cut to {end} bytes")
            detects(log | {name: data[end + 1 :]}, f"{name} without its first bytes")
        detects(log | {name: b"\0" + data}, f"bytes put before {name}")
        for another in annexes_of(log):
            if another != name:
                detects(log | {name: log[another]}, f"{name} is {another}")
                detects(log | {name: log[another], another: data}, f"{name} and {another} swapped")
        if other.get(name, data) != data:
            detects(log | {name: other[name]}, f"{name} of another life of this box")
        tried += 12
    detects({n: d for n, d in log.items() if annex_number(n) is None}, "all annexes removed")
    print(f"\nsome {tried} times an annex was removed, cut or exchanged: 0 missed")


def test_annexes_that_the_box_never_told_of(detects, log, verified):
    """Bytes behind what the chain tells of are no part of the proof; another file is said to be none."""
    name = annexes_of(log)[0]
    detects(log | {"00010777.cwf": log[name]}, "an annex invented", "00010777.cwf")
    detects(log | {"00090001.cwf": log[name]}, "an annex of a boot there was not", "00090001.cwf")
    seen = verified(log | {name: log[name] + b"more"})
    assert seen.faults or seen.annexes.unsealed_bytes == 4


def test_a_thief_cannot_say_that_the_frames_of_an_alarm_had_to_make_room(verified, log):
    """He holds the current key: he seals a block that lets them go, and removes the file."""
    loot, names = tamper.loot(log), tamper.segment_names(log)
    raised = 0
    for name in annexes_of(log):
        parts = [
            log[names[-1]][:143],  # an identity, which he changes
            tamper.record(F.BOOT_TYPE, 0, 0, b"\0"),
            tamper.record(F.DROPPED_TYPE, 0, 0, struct.pack("<I", annex_number(name))),
            tamper.record(F.SHUTDOWN_TYPE, 0, 0, b""),
        ]
        identity = bytearray(parts[0][16:-4])
        identity[2:6] = struct.pack("<I", len(names) + 1)
        identity[14:18] = struct.pack("<I", loot.index)
        for limits in (bytes(identity[-16:]), struct.pack("<IIII", 100, 10, 0, 0)):
            identity[-16:] = limits
            parts[0] = tamper.record(F.IDENTITY_TYPE, 0, 0, bytes(identity))
            made = [tamper.renumbered(part, loot.boot + 1, loot.sequence + n) for n, part in enumerate(parts)]
            block, tag = tamper.sealed(made, loot.seal_key, loot.index, loot.boot + 1, loot.tag)
            left = {n: data for n, data in log.items() if n != name and n[:3] not in ("key", "end")}
            anchor = Anchor(loot.index, tag, "the anchor")
            seen = verified(left | {f"{len(names) + 1:08}.cwb": block}, anchor=anchor)
            assert seen.intact and not seen.complete, f"{name} is gone and nobody says so"
            assert [fault.kind for fault in seen.faults] == ["removed"], seen.faults
            raised += 1
    print(f"\n{raised} times the frames of an alarm were let go by a thief: 0 missed")


def test_what_a_box_lets_go_is_let_go(on, verified, image, frames):
    """A shelf so small that annexes of alarms have to go: that is no fault."""
    there, gone = disk.Disk(), 0
    FileKeys(on(there)).provision(FIRST_KEY)
    for _ in range(6):
        box = Box("", image, on(there), annexes_bytes=60_000, annex_bytes=20_000)
        box.feed(frames)
        assert box.shutdown()
        seen = verified({name: bytes(file.data) for name, file in there.names.items()})
        assert seen.intact and seen.complete, seen.faults[:3]
        gone = len(seen.annexes.dropped)
    print(f"\n{gone} annexes let go: no fault")
    assert gone >= 5


def test_the_power_goes_while_a_box_records(on, verified, image, frames):
    """At any operation of its storage: what is found, and what the next start makes of it, is never called forged."""
    short = frames[len(frames) // 3 :]
    whole, _ = lived(on, image, short, boots=1)
    chance, points, lost = random.Random(7), 0, 0
    for cut in range(3, whole.operations, 1 if WHOLE else whole.operations // 12):
        there, _ = lived(on, image, short, boots=1, cut=cut)
        for fate in (0, 1, 2 + chance.randrange(50)):
            found = there.after_cut(fate)
            if not any(name.startswith("key") for name in found):
                continue
            if tamper.segment_names(found):
                seen = verified(found)
                assert {fault.kind for fault in seen.faults} <= {"tail unproven"}, (cut, fate, seen.faults[:3])
            again, _ = lived(on, image, short[:300], found, boots=1)
            seen = verified(again.after_cut(0))
            assert seen.intact and seen.complete, (cut, fate, seen.faults[:3])
            lost += len(seen.lost)
            points += 1
    print(f"\n{points} cuts at {whole.operations} operations of a recording box, {lost} blocks lost")
    assert points > 20


@pytest.mark.parametrize("length", [1, 40])
def test_the_storage_fails_while_a_box_records(on, verified, image, frames, length):
    """It goes on, and so does its next start; what was lost is shown as lost, and nothing looks forged."""
    short = frames[len(frames) // 3 :]
    start = dict(lived(on, image, short[:200], boots=1)[1])
    whole, _ = lived(on, image, short, start, boots=1)
    points = hazards = lost = 0
    for first in range(8, whole.operations, 1 if WHOLE else whole.operations // 12):
        broken = range(first, first + length)
        there, files = lived(on, image, short, start, boots=1, failing=broken)
        for fate in (None, 0, 2):
            _, after = lived(on, image, short[:300], files if fate is None else there.after_cut(fate), boots=1)
            seen = verified(after)
            assert seen.intact and seen.complete, (first, fate, seen.faults[:3])
            lost += len(seen.lost)
            hazards += any(F.HAZARD_TYPE == record.type for record in records_of(seen))
            points += 1
    print(f"\n{points} times the storage failed: {hazards} logs tell of it, {lost} blocks lost")
    assert points > 20 and hazards


def records_of(seen):
    for path in seen.paths.values():
        with opened(path) as data:
            yield from [piece.record for piece in pieces(data) if piece.record is not None]
