"""The power goes at any operation of a POSIX file system that keeps only what was synced: nothing sealed is lost."""

import mmap
import os

import disk
import pytest
import story
from cellwarden.blackbox import form as F
from cellwarden_tools.blackbox.read import pieces

SEALS = 26
WHOLE = os.environ.get("CELLWARDEN_CUTS") == "whole"  # make cuts
FATES = range(5)  # of what was not synced


def run(on, files, cut=None, seals=SEALS, shutdown=False):
    """(the disk, {index: tag} of the blocks that were said to be durable)."""
    there, sealed = disk.Disk(files, cut), {}
    try:
        if shutdown:
            story.live(story.start(on(there)), seals, shutdown=True, told=sealed.__setitem__)
        else:
            story.two_lives(on(there), seals, sealed.__setitem__)
    except disk.PowerCut:
        pass
    return there, sealed


def seals_of(files):
    """Every whole seal in these files, sealed into the log or not: {(index, tag)}."""
    found = set()
    for name, data in files.items():
        if name.endswith(".cwb") and data:
            with mmap.mmap(-1, len(data)) as there:
                there.write(data)
                found |= {F.seal_of(p.record)[::3] for p in pieces(there) if p.record and F.seal_of(p.record)}
    return found


def looks_honest(verified, files):
    """However the power left it: what is found is never called forged, at most its end is not proven."""
    for left in (files, {name: data for name, data in files.items() if name.endswith(".cwb")}):
        if any(name[:-4].isdigit() for name in left):
            seen = verified(left)
            assert {fault.kind for fault in seen.faults} <= {"tail unproven"}, seen.faults


def holds(verified, files, sealed, cuts):
    """What must be so after a cut, a start and a clean shutdown."""
    found = verified(files)
    assert found.intact and found.complete, (found.faults[:3], found.lost)
    assert sum(lost.last - lost.first + 1 for lost in found.lost) <= cuts, "more than one block a cut"
    there = dict(seals_of(files))
    kept = range(found.first.index, found.last.index + 1)
    assert {index: tag for index, tag in sealed.items() if index in kept} == {
        index: there.get(index) for index in sealed if index in kept
    }, "a block that was said to be durable is gone or another"
    return found


def test_the_power_goes_at_any_operation(on, verified, provisioned):
    whole, sealed = run(on, provisioned)
    assert len(sealed) == SEALS + 3
    points = lost = torn = 0
    for cut in range(0, whole.operations, 1 if WHOLE else 7):
        there, sealed = run(on, provisioned, cut)
        assert there.operations == cut
        for fate in FATES:
            files = there.after_cut(fate)
            looks_honest(verified, files)
            again, later = run(on, files, seals=4, shutdown=True)
            after = again.after_cut(0)
            found = holds(verified, after, sealed | later, 1)
            before = seals_of(files)
            assert len({index for index, _ in before | seals_of(after)}) == len(before | seals_of(after)), (
                "two blocks were sealed with one key"
            )
            points, lost, torn = points + 1, lost + len(found.lost), torn + bool(found._told_tails)
    print(f"{points} cuts at {whole.operations} operations: {lost} lost the block being stored, {torn} left a torn end")
    assert lost and torn


@pytest.mark.long
@pytest.mark.parametrize("fate", FATES)
def test_two_cuts_in_a_row(on, verified, provisioned, fate):
    whole, _ = run(on, provisioned, seals=9)
    points = 0
    for cut in range(fate, whole.operations, 1 if WHOLE else 23):
        there, sealed = run(on, provisioned, cut, seals=9)
        files = there.after_cut(fate)
        second, _ = run(on, files, seals=3)
        for cut_again in range(cut % 7, second.operations, 7):
            there, later = run(on, files, cut_again, seals=3)
            looks_honest(verified, there.after_cut(fate + 10))
            again, last = run(on, there.after_cut(fate + 10), seals=3, shutdown=True)
            holds(verified, again.after_cut(0), sealed | later | last, 2)
            points += 1
    print(f"{points} pairs of cuts")


def test_the_disk_forgets_what_was_not_synced(on, provisioned, monkeypatch, verified):
    """A black box that does not sync is caught by the very test above."""
    monkeypatch.setattr(disk.Disk, "fsync", lambda self, number: self._operation())
    there, sealed = run(on, provisioned, 300)
    files = there.after_cut(0)
    assert len(sealed) > 5 and not seals_of(files)
