"""What a box must not run it refuses, says why, and goes on running what it ran."""

import io
import itertools
import os
import shutil
import struct

import pytest
from boxes import BOARD, VEHICLE, Maker, small_files
from cellwarden.update import boot, image
from cellwarden.update.image import HEAD_BYTES, Refused
from cellwarden.update.slots import Slots
from cellwarden_tools.errors import InputError
from cellwarden_tools.update import build, signing
from hypothesis import given
from hypothesis import strategies as st
from vectors import foreign

WHOLE = os.environ.get("CELLWARDEN_CUTS") == "whole"  # make cuts
FILES = {"main.py": b"print(1)\n", "vehicle/x.bin": bytes(range(100)), "z.py": b""}


@pytest.fixture
def maker(tmp_path):
    return Maker(tmp_path)


class OneBox:
    """A box in a folder. install(): takes an image, given as its file or bytes; starts(): what a start runs."""

    def __init__(self, folder, box):
        self.root, self.box = str(folder), box
        os.mkdir(folder)

    @property
    def slots(self):
        return Slots(self.root, self.box)

    def install(self, data, permit=None, busy=None):
        source = io.BytesIO(data if isinstance(data, bytes) else data.read_bytes())
        return self.slots.install(source, open(permit, "rb") if permit else None, lambda: busy)

    def update(self, path, **other):
        """Install, start, confirm."""
        self.install(path, **other)
        self.starts()
        self.slots.confirm()

    def starts(self):
        """The counter of the image that a start runs, or None."""
        slot = boot.choose(self.root)
        return None if slot is None else self.slots.manifest_of(slot).counter

    def refuses(self, data, reason, **other):
        before = self.starts()
        with pytest.raises(Refused) as caught:
            self.install(data, **other)
        assert caught.value.reason == reason, caught.value
        assert image.REASONS[reason] in str(caught.value)
        assert self.starts() == before, "a refused image changed what runs"


@pytest.fixture
def a_box(tmp_path, maker):
    """A box that runs image 1."""
    box = OneBox(tmp_path / "box", maker.box)
    box.install(maker.image(1, FILES))
    assert box.starts() == 1
    return box


def test_what_is_sound_is_taken_tried_and_confirmed(a_box, maker):
    a_box.install(maker.image(2, FILES))
    assert boot.read_record(a_box.root).state == boot.TRIAL
    assert a_box.starts() == 2
    slots = a_box.slots
    assert [slots.scanned_well() for _ in range(600)] == [False] * 599 + [True]
    assert [a_box.starts() for _ in range(5)] == [2] * 5


def test_any_bit_flipped_in_an_image_is_refused(a_box, maker):
    whole = maker.image(2, FILES).read_bytes()
    slots = a_box.slots
    record = vars(slots.record).copy()
    reasons = set()
    size, signed = struct.unpack("<II", whole[4:12])
    signature = range(12 + size, 12 + size + signed)
    for bit in range(8 * len(whole)):
        if not WHOLE and bit >> 3 in signature and bit % 8 != (bit >> 3) % 8:
            continue  # of the signature one bit of each byte; `make cuts` flips all
        changed = bytearray(whole)
        changed[bit >> 3] ^= 1 << (bit & 7)
        with pytest.raises(Refused) as caught:
            slots.install(io.BytesIO(changed))
        reasons.add(caught.value.reason)
    assert reasons == {"form", "signature", "file"}
    assert vars(boot.read_record(a_box.root)) == record and a_box.starts() == 1
    a_box.install(whole)


def test_an_image_cut_anywhere_is_refused(a_box, maker):
    whole = maker.image(2, FILES).read_bytes()
    slots = a_box.slots
    for size in range(len(whole)):
        with pytest.raises(Refused) as caught:
            slots.install(io.BytesIO(whole[:size]))
        assert caught.value.reason in ("form", "file")
    a_box.refuses(whole + b"\0", "form")
    a_box.install(whole)


def test_files_exchanged_for_each_other_are_refused(a_box, maker):
    files = {"a.py": b"first\n", "b.py": b"other\n"}
    whole = maker.image(2, files).read_bytes()
    a_box.refuses(whole.replace(b"first\nother\n", b"other\nfirst\n"), "file")


def test_an_image_for_another_board_vehicle_or_micropython_is_refused(a_box, maker):
    for n, (name, reason) in enumerate((("board", "board"), ("vehicle", "vehicle"), ("built_for", "runs")), 2):
        a_box.refuses(maker.image(n, FILES, **{name: "another"}), reason)


def test_an_image_signed_with_another_key_is_refused(a_box, tmp_path):
    (tmp_path / "stranger").mkdir()
    a_box.refuses(Maker(tmp_path / "stranger").image(2, FILES), "signature")


def test_an_image_signed_with_a_tree_that_the_root_did_not_sign_is_refused(a_box, maker, tmp_path):
    (tmp_path / "stranger").mkdir()
    stranger = Maker(tmp_path / "stranger")
    path = stranger.image(2, FILES)
    data = path.read_bytes()
    size = int.from_bytes(data[4:8], "little")
    at = HEAD_BYTES + size + 4  # of the root's signature of the tree
    ours = maker.tree.signed
    a_box.refuses(data[:at] + ours + data[at + len(ours) :], "signature")


def test_an_older_image_is_refused(a_box, maker):
    older, same, newer = maker.image(2, FILES), maker.image(3, FILES, "same"), maker.image(3, FILES | {"n.py": b"3"})
    a_box.update(newer)
    a_box.refuses(older, "leaf")
    a_box.refuses(same, "leaf")
    a_box.refuses(maker.image(2, FILES, "signed later"), "counter")
    a_box.refuses(maker.image(3, FILES | {"m.py": b"3"}, "same counter"), "counter")


def test_a_leaf_that_signed_something_else_is_refused(a_box, maker, tmp_path):
    """Somebody restored a backup of the key, and with it the leaves that had signed since."""
    kept = {
        path: path.read_bytes() for path in (maker.tree.path.with_suffix(".leaves"), signing._witness_path(maker.tree))
    }
    first = maker.image(2, FILES, "first")
    for path, data in kept.items():
        with open(path, "r+b") as file:
            file.truncate(0)
            file.write(data)
    second = maker.image(3, FILES, "second")
    a_box.update(first)
    a_box.refuses(second, "leaf")


def test_a_tree_that_was_given_up_is_refused_once_a_newer_one_has_signed(a_box, maker, tmp_path):
    newer = signing.make_tree(tmp_path / "newer", maker.root, 5)
    a_box.update(maker.image(2, FILES, tree=newer))
    a_box.refuses(maker.image(3, FILES), "leaf")
    a_box.update(maker.image(4, FILES, tree=newer))


def test_an_image_that_needs_a_newer_version_is_refused(a_box, maker):
    a_box.refuses(maker.image(3, FILES, least="0.2.0"), "version")
    a_box.update(maker.image(4, FILES, version="0.2.0"))
    a_box.update(maker.image(5, FILES, least="0.2.0"))


def test_no_update_while_the_vehicle_is_in_use_or_one_is_on_trial(a_box, maker):
    path = maker.image(2, FILES)
    a_box.refuses(path, "busy", busy="the vehicle drives")
    a_box.install(path)
    a_box.refuses(maker.image(3, FILES), "trial")


def permit(maker, path, allow, **other):
    manifest = build.check(path, maker.key)
    for name, value in other.items():
        setattr(manifest, name, value)
    target = maker.folder / f"{len(os.listdir(maker.folder))}.permit"
    build.write_signed(target, build.permit_of(manifest, allow), maker.tree)
    return target


def test_a_permit_lets_an_older_image_back_and_no_other(a_box, maker):
    second, third = maker.image(2, FILES), maker.image(3, FILES)
    a_box.update(second)
    a_box.update(third)
    back = permit(maker, second, ["older"])
    a_box.refuses(maker.image(2, FILES | {"m.py": b"2"}, "other"), "permit", permit=back)
    a_box.refuses(second, "busy", permit=back, busy="the vehicle drives")
    a_box.update(second, permit=back)
    assert a_box.starts() == 2
    a_box.refuses(third, "leaf")
    a_box.refuses(maker.image(3, FILES, "signed later"), "counter")
    a_box.update(maker.image(4, FILES))


def test_a_permit_lets_an_update_through_while_the_vehicle_is_in_use(a_box, maker):
    path = maker.image(2, FILES)
    a_box.install(path, permit=permit(maker, path, ["busy"]), busy="the vehicle drives")
    assert a_box.starts() == 2


def test_a_permit_for_another_box_or_key_or_of_an_older_leaf_is_refused(a_box, maker, tmp_path):
    path = maker.image(2, FILES)
    a_box.refuses(path, "board", permit=permit(maker, path, ["busy"], board="another"))
    a_box.refuses(path, "vehicle", permit=permit(maker, path, ["busy"], vehicle="another"))
    (tmp_path / "stranger").mkdir()
    stranger = Maker(tmp_path / "stranger")
    a_box.refuses(path, "signature", permit=permit(stranger, stranger.image(2, FILES), ["busy"]))
    old = permit(maker, path, ["older"])
    a_box.update(maker.image(3, FILES))
    a_box.refuses(path, "leaf", permit=old)


def test_an_image_is_no_permit_and_a_permit_no_image(a_box, maker):
    path = maker.image(2, FILES)
    a_box.refuses(path, "form", permit=path)
    a_box.refuses(permit(maker, path, ["busy"]), "form")


def test_one_that_does_not_confirm_itself_gives_way_to_the_one_before(a_box, maker):
    path = maker.image(2, FILES)
    a_box.install(path)
    assert [a_box.starts() for _ in range(5)] == [2, 2, 2, 1, 1]
    assert boot.read_record(a_box.root).why == boot.NOT_CONFIRMED
    a_box.update(path)  # it may be tried again
    assert a_box.starts() == 2


@pytest.mark.parametrize("confirmed", [False, True])
def test_a_byte_that_rots_in_the_slot_that_runs_brings_the_other_back(a_box, maker, confirmed):
    a_box.install(maker.image(2, FILES))
    assert a_box.starts() == 2
    if confirmed:
        a_box.slots.confirm()
    with open(os.path.join(a_box.root, "b", "vehicle", "x.bin"), "r+b") as file:
        file.write(b"?")
    assert a_box.starts() == a_box.starts() == 1
    assert boot.read_record(a_box.root).why == (boot.OTHER_DAMAGED if confirmed else boot.DAMAGED)


class BadLink(io.BytesIO):
    """A source that gives a few bytes at a time and is lost after so many."""

    def __init__(self, data, lost_after):
        super().__init__(data)
        self.left, self.given = lost_after, 0

    def read(self, count):
        if self.left <= 0:
            raise OSError(104, "connection reset")
        data = super().read(min(count, 7, self.left))
        self.left -= len(data)
        self.given += len(data)
        return data


def test_a_link_that_is_lost_again_and_again_brings_the_image_in_the_end(a_box, maker):
    whole = maker.image(2, small_files(2)).read_bytes()
    head = len(whole) - sum(map(len, small_files(2).values()))
    given, losses = 0, 0
    while True:
        link = BadLink(whole, head + 1200 + 400 * losses)
        try:
            a_box.slots.install(link)
            break
        except Refused as error:
            assert error.reason == "source" and a_box.starts() == 1
            losses += 1
        finally:
            given += link.given
    assert losses > 1 and a_box.starts() == 2
    assert link.given < len(whole), "what was stored already was read again"


def test_a_box_without_memory_for_it_refuses(a_box, maker):
    class Tight(io.BytesIO):
        def read(self, count):
            raise MemoryError("memory allocation failed")

    with pytest.raises(Refused) as caught:
        a_box.slots.install(Tight())
    assert caught.value.reason == "storage"


def test_a_byte_that_rots_while_the_rest_is_stored_is_noticed(a_box, maker):
    path = os.path.join(a_box.root, "b", "main.py")

    def rot():
        if os.path.exists(path) and os.path.getsize(path) == len(FILES["main.py"]):
            with open(path, "r+b") as file:
                file.write(b"?")

    with pytest.raises(Refused) as caught:
        Slots(a_box.root, a_box.box, rot).install(open(maker.image(2, FILES), "rb"))
    assert caught.value.reason == "storage"
    assert a_box.starts() == 1


def test_a_file_that_nobody_signed_is_never_beside_those_that_run(a_box, maker):
    a_box.install(maker.image(2, FILES))
    with open(os.path.join(a_box.root, "b", "extra.py"), "w") as file:
        file.write("print('mine')\n")
    assert a_box.starts() == 1


def test_where_both_slots_are_damaged_nothing_runs(a_box, maker):
    a_box.update(maker.image(2, FILES))
    for slot in "ab":
        os.remove(os.path.join(a_box.root, slot, "z.py"))
    assert a_box.starts() is None


@pytest.mark.parametrize("name", boot.RECORDS)
def test_one_damaged_boot_record_takes_nothing_back(a_box, maker, name):
    a_box.update(maker.image(2, FILES))
    damage(a_box, name)
    assert [a_box.starts() for _ in range(5)] == [2] * 5


def test_with_both_boot_records_damaged_nothing_runs(a_box, maker):
    a_box.update(maker.image(2, FILES))
    damage(a_box, *boot.RECORDS)
    assert a_box.starts() is None


def damage(box, *names):
    for name in names:
        with open(os.path.join(box.root, name), "r+b") as file:
            file.seek(20)
            file.write(b"\xaa\x55")


def test_a_manifest_that_was_changed_with_its_file_does_not_run(a_box, maker):
    a_box.install(maker.image(2, FILES))
    folder = os.path.join(a_box.root, "b")
    mine = b"print('mine')\n"
    manifest = build.manifest_of(FILES | {"main.py": mine}, BOARD, VEHICLE, "0.2.0", 2, "py")
    for name, data in (("main.py", mine), ("manifest", manifest)):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(data)
    assert a_box.starts() == 1


def test_what_did_not_confirm_itself_runs_rather_than_nothing(a_box, maker):
    a_box.install(maker.image(2, FILES))
    assert [a_box.starts() for _ in range(4)] == [2, 2, 2, 1]
    os.remove(os.path.join(a_box.root, "a", "z.py"))
    assert [a_box.starts() for _ in range(5)] == [2] * 5


def test_a_signature_of_another_number_of_levels_is_refused(tmp_path, maker):
    data = build.manifest_of(FILES, BOARD, VEHICLE, "1.0.0", 1, "py")
    for levels in (1, 2, 3):
        private = foreign(levels, 5, 4)
        box = OneBox(tmp_path / f"box{levels}", maker.box._replace(key=private.publicKey().serialize()))
        signature = private.sign(data)
        whole = b"CWU1" + struct.pack("<II", len(data), len(signature)) + data + signature
        whole += b"".join(FILES[name] for name in sorted(FILES))
        if levels == 2:
            box.install(whole)
        else:
            box.refuses(whole, "signature")


def test_a_slot_written_by_hand_does_not_run(tmp_path, maker):
    box = OneBox(tmp_path / "box", maker.box)
    for slot in "ab":
        shutil.copytree(tmp_path, os.path.join(box.root, slot), ignore=lambda *_: ["box"])
    assert box.starts() is None


@pytest.mark.parametrize(
    "path",
    [
        "/a.py",
        "../a.py",
        "a/../b.py",
        ".hidden",
        "a//b",
        "a/",
        "manifest",
        "signature",
        "a b",
        "ä.py",
        "a" * 81,
        "",
        "-a",
        "a/-b",
        "a\\b",
        "a:b",
        "a[b",
        "a`b",
        "a{b",
        "a@b",
        "a,b",
    ],
)
def test_a_path_that_leads_elsewhere_cannot_be_in_an_image(path):
    with pytest.raises((InputError, UnicodeError)):
        build.manifest_of({path: b""}, BOARD, VEHICLE, "1.0.0", 1, "py")


@pytest.mark.parametrize(
    "changed",
    [{"version": "1.2"}, {"version": "1.2.03"}, {"least": "-1.0.0"}, {"counter": 0}, {"counter": 1 << 30},
     {"board": ""}, {"vehicle": "a\nboard b"}, {"files": {}}],
)  # fmt: skip
def test_facts_that_are_none_cannot_be_in_an_image(changed):
    words = {"files": FILES, "board": BOARD, "vehicle": VEHICLE, "version": "1.0.0", "counter": 1, "built_for": "py"}
    build.manifest_of(**words)
    with pytest.raises(InputError):
        build.manifest_of(**words | changed)


SOUND = build.manifest_of(small_files(1), BOARD, VEHICLE, "1.0.0", 1, "py").split(b"\n")
LINES = st.sampled_from([*SOUND, b"", b"file", b"file 1", b"file x y z", b"file -1 00 a", b"counter 1e3", b"\xff"])


@given(st.lists(LINES, max_size=20), st.integers(0, len(SOUND)), st.integers(0, len(SOUND)))
def test_whatever_a_manifest_says_it_is_understood_or_refused(lines, start, end):
    try:
        found = image.Manifest(b"\n".join(SOUND[:start] + lines + SOUND[end:]), ())
    except Refused as error:
        assert error.reason == "form"
    else:
        assert len({path for path, *_ in found.files}) == len(found.files)
        assert all(0 <= size <= image.MOST_FILE_BYTES for _, size, _ in found.files)


FILE_LINES = slice(7, -1)


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[:7] + lines[FILE_LINES][::-1] + lines[-1:],
        lambda lines: lines[:8] + lines[7:],
        lambda lines: [*lines[:7], lines[7].upper().replace(b"FILE", b"file"), *lines[8:]],
        lambda lines: [*lines[:7], lines[7].replace(b"file ", b"file +"), *lines[8:]],
        lambda lines: [*lines[:7], lines[7].replace(b"file ", b"file 0"), *lines[8:]],
        lambda lines: [*lines[:7], *lines[8:], b"file"],
        lambda lines: [lines[1], lines[0], *lines[2:]],
    ],
)
def test_a_manifest_has_one_spelling(change):
    image.Manifest(b"\n".join(SOUND), ())
    with pytest.raises(Refused) as caught:
        image.Manifest(b"\n".join(change(SOUND)), ())
    assert caught.value.reason == "form"


def test_words_for_every_reason():
    assert all(text == text.lower() or "MicroPython" in text for text in image.REASONS.values())
    assert len(set(image.REASONS.values())) == len(image.REASONS)
    assert not set(itertools.chain(*image.REASONS.values())) & set("\n()")
