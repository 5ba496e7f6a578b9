"""The storage fails, or is full: the box goes on, says what it lost, and what it said was durable is there."""

import errno

import disk
import pytest
import story
from cellwarden.blackbox import form as F
from cellwarden.blackbox.chain import RETRY_MS
from cellwarden_tools.blackbox.read import opened, pieces

ROOM = 12_000


def life(on, there, seals=8, t_ms=0, sealed=None, retry=True, **ring):
    """One start on a disk that may fail; (the Chain or None, blocks that were said to be durable)."""
    sealed = {} if sealed is None else sealed
    try:
        chain = story.start(on(there), **ring)
    except OSError:
        return None, sealed
    for n in range(seals):
        for i in range(n % 3 + 1):
            chain.put(F.EVENT_TYPE, t_ms, bytes([n, i]) * (20 + 40 * i))
        if n == seals - 1:
            chain.put(F.SHUTDOWN_TYPE, t_ms, b"")
        index = chain.index
        if chain.seal(t_ms) and chain.index > index:
            sealed[index] = chain.before
        t_ms += RETRY_MS
    chain.close()
    return chain, sealed


def holds(seen, sealed):
    assert seen.intact and seen.complete, (seen.faults[:3], seen.lost)
    for index, tag in sealed.items():
        if index >= seen.first.index:
            assert seen.tags.get(index) == tag, f"block {index} was said to be durable and is gone"


def contents(there):
    return {name: bytes(file.data) for name, file in there.names.items()}


@pytest.mark.parametrize("length", [1, 2, 25])
def test_the_storage_fails_at_any_operation(on, verified, provisioned, length):
    """For one operation or for many in a row; then the power goes, or it does not."""
    whole = disk.Disk(provisioned)
    life(on, whole)
    tried = given_up = lost = 0
    for first in range(whole.operations):
        there = disk.Disk(provisioned, failing=range(first, first + length))
        chain, sealed = life(on, there)
        for fate in (None, 0, 1, 2, 3):
            files = contents(there) if fate is None else there.after_cut(fate)
            again = disk.Disk(files)
            _, later = life(on, again, seals=3)
            seen = verified(again.after_cut(0))
            holds(seen, sealed | later)
            tried += 1
            lost += sum(gone.last - gone.first + 1 for gone in seen.lost)
        given_up += bool(chain and chain.lost_records)
    print(f"\n{tried} times: {given_up} lives that gave records up, {lost} blocks shown as lost")
    assert given_up and lost


def test_what_is_given_up_is_counted(on, verified, provisioned):
    """Every record that a box was given is proven, or counted by it."""
    whole = disk.Disk(provisioned)
    chain, _ = life(on, whole)
    given = sum(n % 3 + 1 for n in range(8)) + 1
    for first in range(whole.operations):
        there = disk.Disk(provisioned, failing=range(first, first + 3))
        chain, _ = life(on, there)
        if chain is None:
            continue
        seen, content = verified(contents(there)), 0
        for path in seen.paths.values():
            with opened(path) as data:
                content += sum(
                    p.record is not None and p.record.type in (F.EVENT_TYPE, F.SHUTDOWN_TYPE) for p in pieces(data)
                )
        assert content + chain.lost_records >= given, f"operation {first}: records vanished uncounted"


def test_a_disk_that_fails_for_good_never_stops_the_box(on, provisioned):
    there = disk.Disk(provisioned, failing=range(40, 10_000))
    chain, sealed = life(on, there, seals=50)
    assert chain.lost_records > 80 and len(sealed) < 8
    tried = there.operations
    for t_ms in range(50 * RETRY_MS, 50 * RETRY_MS + 900, 100):  # it is left alone for a while
        assert not chain.put(F.EVENT_TYPE, t_ms, b"x")
    assert there.operations <= tried + 4


@pytest.mark.parametrize("room", [5_000, 6_000, ROOM])
def test_a_full_disk_keeps_the_newest_and_says_what_went(on, verified, provisioned, room):
    """The ring may have more than the disk has room for: the oldest goes, and that reads as missing."""
    there, sealed = disk.Disk(provisioned, room=room), {}
    for _ in range(6):
        life(on, there, seals=12, sealed=sealed, capacity=1 << 20)
    seen = verified(contents(there))
    newest = max(sealed)
    assert seen.last.index == newest and seen.tags[newest] == sealed[newest], "the newest is not there"
    assert seen.intact and not seen.complete
    assert {fault.kind for fault in seen.faults} <= {"removed", "tail unproven"} and seen.first.index > 0
    assert len(seen.tags) >= 4


def test_a_full_disk_and_the_power_goes(on, verified, provisioned):
    """Whatever the moment, what is said of it is that blocks are missing at the beginning, and never another thing."""

    def lives(cut=None):
        there = disk.Disk(provisioned, cut, room=4_000)
        try:
            for _ in range(3):
                life(on, there, seals=9, capacity=1 << 20)
        except disk.PowerCut:
            pass
        return there

    points = 0
    for cut in range(100, lives().operations, 3):
        for fate in (0, 1, 2):
            again = disk.Disk(lives(cut).after_cut(fate), room=4_000)
            life(on, again, seals=4, capacity=1 << 20)
            seen = verified(contents(again))
            assert {fault.kind for fault in seen.faults} <= {"removed", "tail unproven"}, seen.faults
            assert seen.intact
            points += 1
    print(f"\n{points} cuts on a full disk")


def test_a_box_that_stops_without_a_power_cut_says_what_its_storage_will_keep(on, verified, provisioned):
    """What it finds at its start need not be durable yet; it makes it so before it says what it is."""
    whole = disk.Disk(provisioned)

    def lives(there):
        chain = story.start(on(there))
        story.live(chain, 4)
        story.start(on(there))  # stops at once
        chain = story.start(on(there))
        chain.put(F.EVENT_TYPE, 0, bytes(100))
        chain.seal(0)
        for _ in range(3):
            chain.put(F.EVENT_TYPE, 0, bytes(100))
        life(on, there, seals=2)  # the one before was killed: its file is as it was, and nothing is synced

    lives(whole)
    points = 0
    for cut in range(whole.operations + 1):
        there = disk.Disk(provisioned, cut)
        try:
            lives(there)
        except disk.PowerCut:
            pass
        for fate in range(5):
            again = disk.Disk(there.after_cut(fate))
            life(on, again, seals=2)
            holds(verified(contents(again)), {})
            points += 1
    print(f"\n{points} cuts in lives that followed upon each other")


def test_a_write_that_is_short_is_a_full_disk(on, provisioned, monkeypatch):
    there = disk.Disk(provisioned)
    chain = story.start(on(there))
    monkeypatch.setattr(disk._Writer, "write", lambda self, data: len(data) - 1)
    assert not chain.put(F.EVENT_TYPE, 0, b"x")
    assert errno.ENOSPC == 28 and chain.lost_records == 1
