"""No leaf of a signing key ever signs twice: not after a crash, not by two at once, not from a copy."""

import io
import os
import shutil
import subprocess
import sys

import pytest
from cellwarden.update import lms
from cellwarden_tools.errors import InputError
from cellwarden_tools.update import signing
from pyhsslms.pyhsslms import HssPublicKey, LmsPrivateKey

HEIGHT = 5


class PowerCut(BaseException):
    pass


@pytest.fixture
def root(tmp_path):
    return signing.make_root(tmp_path / "root", HEIGHT)


@pytest.fixture
def tree(tmp_path, root):
    return signing.make_tree(tmp_path / "office", root, HEIGHT)


def leaf_of(tree, message, signature):
    """The leaf that signed, as pyhsslms's own verifier and ours agree."""
    assert HssPublicKey.deserialize(tree.root).verify(message, signature)
    trees = lms.verify(tree.root, io.BytesIO(signature), (message,))
    return trees[-1]


def signed(tree, message=b"an image"):
    return leaf_of(tree, message, signing.sign(tree, message))


def leaves_file(tree):
    return tree.path.with_suffix(".leaves")


def test_each_signature_takes_the_next_leaf_and_another_verifier_takes_it(tree):
    again = signing.read_key(tree.path)
    assert [signed(tree), signed(again), signed(tree)] == [0, 1, 2]
    assert signing.count_used(tree) == (3, 32)


def test_each_tree_takes_the_next_leaf_of_the_root(tmp_path, root):
    for n in range(3):
        tree = signing.make_tree(tmp_path / f"tree{n}", root, HEIGHT)
        assert lms.verify(tree.root, io.BytesIO(signing.sign(tree, b"x")), (b"x",)) == (n, 0)


def test_a_root_signs_no_image_and_a_tree_no_tree(tmp_path, root, tree):
    with pytest.raises(InputError, match="signs trees only"):
        signing.sign(root, b"x")
    with pytest.raises(InputError, match="only a root signs trees"):
        signing.make_tree(tmp_path / "below", tree)


def test_a_key_that_is_used_up_signs_no_more(tree):
    for n in range(32):
        assert signing.reserve(tree, "00") == n
    with pytest.raises(InputError, match="all 32 leaves are used"):
        signing.sign(tree, b"x")


def test_a_crash_in_signing_costs_the_leaf(tree, monkeypatch):
    def crash(*_):
        raise PowerCut

    with monkeypatch.context() as broken:
        broken.setattr(LmsPrivateKey, "sign", crash)
        with pytest.raises(PowerCut):
            signing.sign(tree, b"first")
    assert signed(tree, b"second") == 1


def test_the_leaf_is_on_the_disk_before_anything_is_signed(tree, monkeypatch):
    order = []
    sync, sign = os.fsync, LmsPrivateKey.sign
    monkeypatch.setattr(
        os, "fsync", lambda number: order.append((os.readlink(f"/proc/self/fd/{number}"), sync(number)))
    )
    monkeypatch.setattr(LmsPrivateKey, "sign", lambda *words: order.append(("signed", None)) or sign(*words))
    signing.sign(tree, b"x")
    names = [name for name, _ in order]
    assert names.index(str(leaves_file(tree))) < names.index("signed")


def test_where_the_disk_does_not_take_the_leaf_nothing_is_signed(tree, monkeypatch):
    def fail(_):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fail)
        with pytest.raises(InputError, match="nothing is signed"):
            signing.sign(tree, b"x")
    assert signed(tree) == 1


def test_a_line_cut_anywhere_by_the_power_never_leads_to_a_leaf_that_signed(tree):
    assert [signed(tree), signed(tree)] == [0, 1]
    before = leaves_file(tree).read_bytes()
    signing.reserve(tree, "ab" * 32)
    after = leaves_file(tree).read_bytes()
    witness = signing._witness_path(tree)
    for size in range(len(before), len(after) + 1):
        with open(leaves_file(tree), "r+b") as file:
            file.truncate(0)
            file.write(after[:size])
        witness.write_text("2\n")
        assert signing.reserve(tree, "cd" * 32) == (2 if size == len(before) else 3)
        assert signing.reserve(tree, "ef" * 32) == (3 if size == len(before) else 4)


def test_two_at_once_never_get_the_same_leaf(tree):
    script = (
        "import sys\nfrom cellwarden_tools.errors import InputError\nfrom cellwarden_tools.update import signing\n"
        "key, got = signing.read_key(sys.argv[1]), []\n"
        "while len(got) < 10:\n    try:\n        got.append(signing.reserve(key, '00'))\n"
        "    except InputError as error:\n        assert 'is in use by another signing' in str(error), error\n"
        "print(*got)\n"
    )
    words = [sys.executable, "-c", script, str(tree.path)]
    running = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    got = [int(word) for process in running for word in process.communicate()[0].split()]
    assert sorted(got) == list(range(30))


def test_a_copy_is_refused(tree, tmp_path):
    signed(tree)
    for suffix in (".key", ".leaves"):
        shutil.copy(tree.path.with_suffix(suffix), tmp_path / f"copy{suffix}")
    with pytest.raises(InputError, match="is a copy"):
        signing.sign(signing.read_key(tmp_path / "copy.key"), b"x")
    assert signed(tree) == 1


def test_a_backup_put_back_over_the_file_is_refused(tree):
    signed(tree)
    old = leaves_file(tree).read_bytes()
    signed(tree)
    with open(leaves_file(tree), "r+b") as file:  # the same inode
        file.truncate(0)
        file.write(old)
    with pytest.raises(InputError, match="knows of 1 leaves, and 2 are used"):
        signing.sign(tree, b"x")


def test_a_key_on_another_machine_is_refused(tree, monkeypatch, tmp_path):
    signed(tree)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another home"))
    machine = tmp_path / "machine-id"
    machine.write_text("another\n")
    real = signing.Path
    monkeypatch.setattr(signing, "Path", lambda path: machine if path == "/etc/machine-id" else real(path))
    with pytest.raises(InputError, match="is a copy"):
        signing.sign(tree, b"x")


def test_a_released_key_lives_where_it_signs_first_and_nowhere_else(tree, tmp_path):
    signed(tree)
    signing.release(tree)
    for suffix in (".key", ".leaves"):
        shutil.copy(tree.path.with_suffix(suffix), tmp_path / f"moved{suffix}")
    with pytest.raises(InputError, match="are used or given away"):
        signing.sign(tree, b"x")
    witness = signing._witness_path(tree)
    witness.unlink()  # the new place remembers nothing
    moved = signing.read_key(tmp_path / "moved.key")
    assert [signed(moved), signed(moved)] == [2, 3]
    with pytest.raises(InputError):
        signing.sign(tree, b"x")


def test_without_the_file_of_leaves_a_key_signs_nothing(tree):
    leaves_file(tree).unlink()
    with pytest.raises(InputError, match="a key without it must never sign"):
        signing.sign(tree, b"x")


@pytest.mark.parametrize(
    "line", ["leaf 0 ab 2026-01-01T00:00:00Z", "leaf 2 ab 2026-01-01T00:00:00Z", "home 1 2", "", "?"]
)
def test_a_file_of_leaves_that_was_tampered_with_is_refused(tree, line):
    signed(tree)
    with open(leaves_file(tree), "a") as file:
        file.write(line + "\n")
    with pytest.raises(InputError, match=r"leaves:4: is no line of a leaf"):
        signing.sign(tree, b"x")


def test_the_leaves_of_another_key_are_refused(tree, root):
    shutil.copy(root.path.with_suffix(".leaves"), leaves_file(tree))
    with pytest.raises(InputError, match="does not belong to this key"):
        signing.sign(tree, b"x")


def test_a_secret_is_for_its_owner_alone_and_never_written_over(tree, root, tmp_path):
    for key in (tree, root):
        assert key.path.stat().st_mode & 0o777 == 0o600
        assert leaves_file(key).stat().st_mode & 0o777 == 0o600
    for make in (lambda: signing.make_root(tmp_path / "root"), lambda: signing.make_tree(tmp_path / "office", root)):
        with pytest.raises(InputError, match="is there already"):
            make()


def test_a_key_damaged_in_any_byte_signs_nothing_and_uses_no_leaf(tree):
    sound = tree.path.read_bytes()
    for at in range(0, len(sound), 11):
        tree.path.write_bytes(sound[:at] + bytes((sound[at] ^ 1,)) + sound[at + 1 :])
        with pytest.raises(InputError):
            signing.sign(signing.read_key(tree.path), b"x")
    tree.path.write_bytes(sound)
    assert signed(signing.read_key(tree.path)) == 0


def test_two_keys_have_nothing_in_common(tmp_path, root):
    other = signing.make_root(tmp_path / "other", HEIGHT)
    assert not {root.seed, root.i, root.public, root.name} & {other.seed, other.i, other.public, other.name}
