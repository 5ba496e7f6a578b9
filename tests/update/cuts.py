"""Runs on MicroPython: updates on littlefs over a simulated NOR flash whose power goes at any write or erase.

    micropython cuts.py FOLDER ERASE_BLOCK BLOCKS EVERY STRIDE

FOLDER holds key.pub and the images 1.cwu, 2.cwu and 3.cwu. A box runs 2 and has 1 to fall back to; it takes 3, tries
it, and confirms it or falls back. From the flash as every EVERY-th operation left it, whole or half done, it starts
again: what runs then must be 2 or 3 to the last byte, and the update must go on from there to its end. Where STRIDE is
not 0 the power goes once more, at every STRIDE-th operation of that. Printed: a line of counts for each part.
"""

import os
import sys

import vfs
from cellwarden.update import boot, image, slots
from nor import Nor, cut_flashes

FOLDER = sys.argv[1]
ERASE_BLOCK, BLOCKS, EVERY, STRIDE = [int(word) for word in sys.argv[2:]]
ROOT = "/flash"
OLD, NEW = 2, 3


def contents(version):
    """{path: bytes} of an image, read from its file by hand."""
    with open(FOLDER + "/%d.cwu" % version, "rb") as file:  # noqa: UP031
        data = file.read()
    size, signed = (int.from_bytes(data[at : at + 4], "little") for at in (4, 8))
    at, found = (
        12 + size + signed,
        {"manifest": data[12 : 12 + size], "signature": data[12 + size : 12 + size + signed]},
    )
    for line in data[12 : 12 + size].split(b"\n"):
        if line.startswith(b"file "):
            words = line.split(b" ")
            found[words[3].decode()] = data[at : at + int(words[1])]
            at += int(words[1])
    return found


EXPECTED = {version: contents(version) for version in (1, OLD, NEW)}
with open(FOLDER + "/key.pub", "rb") as file:
    RUNS = slots.what_runs(getattr(sys.implementation, "_mpy", 0))
    BOX = slots.Box("demo-board", "demo-96s", RUNS, file.read())


def on(flash, work):
    vfs.mount(vfs.VfsLfs2(flash, readsize=32, progsize=32, lookahead=32), ROOT)
    try:
        return work()
    finally:
        vfs.umount(ROOT)


def install(version):
    with open(FOLDER + "/%d.cwu" % version, "rb") as file:  # noqa: UP031
        slots.Slots(ROOT, BOX).install(file)


def confirm():
    assert slots.Slots(ROOT, BOX).confirm()


def files(folder, below=""):
    found = {}
    for name, kind, *_ in os.ilistdir(folder):
        path = folder + "/" + name
        if kind == 0x4000:
            found.update(files(path, below + name + "/"))
        else:
            with open(path, "rb") as file:
                found[below + name] = file.read()
    return found


def started():
    """Start the box: the version that runs. It must be one of the story's, to the last byte."""
    slot = boot.choose(ROOT)
    assert slot is not None, "no slot runs"
    held = files(ROOT + "/" + boot.SLOTS[slot])
    for version in (OLD, NEW):
        if held == EXPECTED[version]:
            return version
    raise AssertionError("what runs is no version that was signed")


def goes_on():
    """Whatever the cut left: start, install again where that is needed, confirm; 3 must run in the end."""
    if started() == OLD:
        install(NEW)
        assert started() == NEW
    if boot.read_record(ROOT).state == boot.TRIAL:
        confirm()
    ends_with(NEW)


def falls_back():
    """Nobody confirms: after the starts it has 3 gives up, and 2 runs."""
    for _ in range(boot.TRIES + 1):
        started()
    record = boot.read_record(ROOT)
    assert record.why == boot.NOT_CONFIRMED
    ends_with(OLD)


def ends_with(version):
    record = boot.read_record(ROOT)
    assert record.state == boot.STEADY and record.counter == version
    assert started() == started() == version
    try:
        install(1)
    except image.Refused as error:
        assert error.reason in ("leaf", "counter")
    else:
        raise AssertionError("an older image was taken")


def story(name, before, work, after, every=1, stride=0):
    """Cut `work` at every so many of its operations, and `after`, which must hold from there, at so many of its own."""
    flash = Nor(ERASE_BLOCK, before)
    on(flash, work)
    operations, cuts, twice, seen = len(flash.journal), 0, 0, {OLD: 0, NEW: 0}
    for n, cut in cut_flashes(ERASE_BLOCK, before, flash.journal, every):
        image_then = bytes(cut.image)
        seen[on(Nor(ERASE_BLOCK, image_then), started)] += 1
        cuts += 1
        on(cut, after)
        if stride:
            for _, again in cut_flashes(ERASE_BLOCK, image_then, cut.journal, stride, n % stride):
                on(again, after)
                twice += 1
    print(name, operations, cuts, twice, seen[OLD], seen[NEW])
    return bytes(flash.image)


def prepared():
    flash = Nor(ERASE_BLOCK, blocks=BLOCKS)
    vfs.VfsLfs2.mkfs(flash, readsize=32, progsize=32, lookahead=32)

    def work():
        install(1)
        assert boot.choose(ROOT) == 0
        install(OLD)
        boot.choose(ROOT)
        confirm()

    on(flash, work)
    return bytes(flash.image)


def give_up():
    for _ in range(boot.TRIES + 1):
        started()


installed = story("install", prepared(), lambda: install(NEW), goes_on, EVERY, STRIDE)
tried = story("start", installed, started, goes_on)
story("confirm", tried, confirm, goes_on)
story("fall back", installed, give_up, falls_back, 1, 1 if STRIDE else 0)
