"""Whatever is done to a log is detected, located and classified; each test prints how often, and misses nothing."""

import itertools

import disk
import pytest
import story
import tamper
from cellwarden.blackbox import form as F
from cellwarden_tools.blackbox.anchor import Anchor
from cellwarden_tools.blackbox.verify import KINDS

WITNESSES = ("slot", "mark", "anchor", "nothing")


@pytest.fixture
def log(on, provisioned):
    """A small log, {name: bytes}: two boots, each with two segments, and shut down."""
    there = disk.Disk(provisioned)
    for boot in range(2):
        chain = story.start(on(there), boot, 1 << 20, 390)
        for n in range(3):
            chain.put(F.EVENT_TYPE, n, bytes([boot, n]))
            if n == 2:
                chain.put(F.SHUTDOWN_TYPE, n, b"")
            assert chain.seal(n)
        chain.close()
    files = {name: bytes(file.data) for name, file in there.names.items()}
    assert [len(data) for name, data in sorted(files.items()) if name[:-4].isdigit()] == [392, 277, 392, 277]
    return files


class Judge:
    """How the log looks after something was done to it, with one witness of its end."""

    def __init__(self, verified, files, witness):
        self._verified, self._witness = verified, witness
        self.counts = {}
        seen = verified(files)
        assert seen.intact and seen.complete and not seen.faults
        self._anchor = Anchor(seen.last.index, seen.last.tag, "the anchor")

    def see(self, files):
        without = {"slot": ("end.cwb",), "mark": ("key.a", "key.b")}.get(self._witness, ("end.cwb", "key.a", "key.b"))
        files = {name: data for name, data in files.items() if name not in without}
        return self._verified(files, anchor=self._anchor if self._witness == "anchor" else None)

    def detects(self, files, what, name=None, first=0, last=1 << 40):
        """The change is told: at its file and at a byte of first..last, where they are given."""
        seen = self.see(files)
        assert seen.faults and not (seen.intact and seen.complete), f"{what} is not seen"
        told = seen.faults[0]
        if name:
            assert told.file == name and first <= told.offset <= last, f"{what} is located at {seen.faults[:2]}"
        for fault in seen.faults:
            assert fault.kind in KINDS and fault.reason
            verdict = seen.intact if KINDS[fault.kind] == "intact" else seen.complete
            assert not verdict, f"{what} is classified wrong: {fault}"
        self.counts[told.kind] = self.counts.get(told.kind, 0) + 1
        return seen

    def tell(self, what):
        print(f"\n{sum(self.counts.values())} {what}: all detected, located and classified; {self.counts}; 0 missed")


@pytest.fixture(params=WITNESSES)
def judge(request, verified, log):
    """Judge of each witness; with none of them the log's end is unproven from the start."""
    made = Judge(verified, log, request.param)
    if request.param == "nothing":
        assert [fault.kind for fault in made.see(log).faults] == ["tail unproven"]
    else:
        assert not made.see(log).faults
    return made


@pytest.fixture
def by_slot(verified, log):
    return Judge(verified, log, "slot")


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_every_bit_flipped(by_slot, log, number):
    name = f"{number:08}.cwb"
    for piece in (piece for piece in tamper.records(log) if piece.name == name):
        for at, bit in itertools.product(range(piece.at, piece.end), range(8)):
            changed = bytearray(log[name])
            changed[at] ^= 1 << bit
            by_slot.detects(log | {name: bytes(changed)}, f"bit {bit} of byte {at}", name, piece.block[0], at)
    by_slot.tell(f"bits of {name} flipped")


def test_every_bit_of_the_end_mark_flipped(verified, log):
    judge = Judge(verified, log, "mark")
    for at, bit in itertools.product(range(len(log["end.cwb"])), range(8)):
        changed = bytearray(log["end.cwb"])
        changed[at] ^= 1 << bit
        judge.detects(log | {"end.cwb": bytes(changed)}, f"bit {bit} of byte {at}")
    judge.tell("bits of the end mark flipped")


@pytest.mark.parametrize("pieces", [tamper.records, tamper.blocks], ids=["record", "block"])
def test_every_one_removed(judge, log, pieces):
    for piece in pieces(log):
        judge.detects(tamper.replaced(log, (piece, b"")), f"{piece} removed", None)
    judge.tell("removed")


@pytest.mark.parametrize("pieces", [tamper.records, tamper.blocks], ids=["record", "block"])
def test_every_one_there_twice(by_slot, log, pieces):
    for piece in pieces(log):
        twice = 2 * tamper.bytes_of(log, piece)
        by_slot.detects(tamper.replaced(log, (piece, twice)), f"{piece} twice", piece.name, piece.block[0], piece.end)
        for other in tamper.blocks(log):
            behind = tamper.bytes_of(log, other) + tamper.bytes_of(log, piece)
            by_slot.detects(tamper.replaced(log, (other, behind)), f"{piece} again behind {other}")
    by_slot.tell("put there twice")


@pytest.mark.parametrize("pieces", [tamper.records, tamper.blocks], ids=["record", "block"])
def test_every_two_swapped(by_slot, log, pieces):
    for one, other in itertools.combinations(pieces(log), 2):
        a, b = tamper.bytes_of(log, one), tamper.bytes_of(log, other)
        changed = tamper.replaced(log, (one, b), (other, a))
        by_slot.detects(changed, f"{one} and {other} swapped", one.name, one.block[0], len(changed[one.name]))
    by_slot.tell("pairs swapped")


def test_every_prefix(judge, log):
    for name, at, left in tamper.prefixes(log):
        if left != log:
            judge.detects(left, f"the log up to byte {at} of {name}")
    judge.tell("prefixes")


def test_every_suffix(by_slot, log):
    for name in tamper.segment_names(log):
        left = {other: data for other, data in log.items() if other >= name}
        for at in range(name == "00000001.cwb", len(log[name])):
            by_slot.detects(left | {name: log[name][at:]}, f"the log from byte {at} of {name}")
    by_slot.tell("suffixes")


def test_every_segment_removed_renamed_and_swapped(judge, log):
    names = tamper.segment_names(log)
    for name in names:
        judge.detects({other: data for other, data in log.items() if other != name}, f"{name} removed")
        for number in range(9):
            other = f"{number:08}.cwb"
            moved = {n: data for n, data in log.items() if n != name} | {other: log[name]}
            if other != name:
                judge.detects(moved, f"{name} renamed to {other}")
                judge.detects(log | {other: log[name]}, f"{name} copied to {other}")
        judge.detects(log | {name: b""}, f"{name} emptied")
    for a, b in itertools.combinations(names, 2):
        judge.detects(log | {a: log[b], b: log[a]}, f"{a} and {b} swapped")
    for order in itertools.permutations(names):
        if list(order) != names:
            judge.detects(log | dict(zip(names, (log[name] for name in order), strict=True)), f"{order}")
    judge.tell("segments removed, renamed, copied, emptied and put in another order")


def test_bytes_put_anywhere(by_slot, log):
    for name, data in ((name, log[name]) for name in tamper.segment_names(log)):
        for at in range(0, len(data) + 1):
            for put in (b"\0", b"\xcb", b"\xcb\x08\1\0" + bytes(40)):
                if at < len(data) or name != tamper.segment_names(log)[-1]:
                    by_slot.detects(log | {name: data[:at] + put + data[at:]}, f"bytes put at {at}", name)
    by_slot.tell("times bytes put in")
