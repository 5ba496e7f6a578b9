"""`cellwarden keys seal`: a box's first key is made once, shown to nobody, and known again."""

import hashlib
import json
import os
import stat

import pytest
from cellwarden.blackbox.chain import segment_name
from cellwarden.blackbox.folder import Folder
from cellwarden.blackbox.keys import FileKeys
from cellwarden_tools.cli import run


@pytest.fixture
def say(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def command(*words):
        status = run(["keys", "seal", *words])
        return status, *capsys.readouterr()

    return command


def test_a_key_is_made_once_and_only_its_commitment_is_shown(say, tmp_path):
    status, out, err = say("a.key")
    assert status == 0
    text = (tmp_path / "a.key").read_text()
    key = bytes.fromhex(text)
    assert len(key) == 32 and text == key.hex() + "\n"
    assert out == hashlib.sha256(b"cellwarden first key 1" + key).hexdigest() + "\n"
    assert key.hex() not in out + err
    again = say("a.key")
    assert again[:2] == (0, out) and "is kept" in again[2]
    assert (tmp_path / "a.key").read_text() == text, "a key that a box has was written over"
    assert say("b.key")[1] != out


def test_nobody_else_can_read_a_key(say, tmp_path):
    before = os.umask(0)
    try:
        say("a.key")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.key").stat().st_mode) == 0o600
    assert "warning" not in say("a.key")[2]
    (tmp_path / "a.key").chmod(0o644)
    assert "can be read by its group and everyone; say chmod 600 a.key" in say("a.key")[2]


def test_a_box_gets_its_key_once(say, tmp_path):
    (tmp_path / "box").mkdir()
    status, out, _ = say("a.key", "--box", "box", "--json")
    told = json.loads(out)
    key = bytes.fromhex((tmp_path / "a.key").read_text())
    assert status == 0 and told == {
        "key": "a.key", "made": True, "commitment": hashlib.sha256(b"cellwarden first key 1" + key).hexdigest(),
        "box": "box",
    }  # fmt: skip
    slot = FileKeys(Folder(str(tmp_path / "box"))).load()
    assert (slot.index, slot.key, slot.commitment.hex()) == (0, key, told["commitment"])
    status, out, err = say("b.key", "--box", "box")
    assert (status, out) == (2, "") and err.count("\n") == 1 and "has a key already" in err
    assert not (tmp_path / "b.key").exists(), "a key that no box has is left"


def test_a_log_without_its_key_is_no_new_box(say, tmp_path):
    (tmp_path / "box").mkdir()
    (tmp_path / "box" / segment_name(1)).write_bytes(b"")
    status, _, err = say("a.key", "--box", "box")
    assert status == 2 and "holds the log of a box whose key is not there" in err
    assert list((tmp_path / "box").iterdir()) == [tmp_path / "box" / segment_name(1)]


@pytest.mark.parametrize(
    "words, said",
    [
        (["none/a.key"], "none/a.key: cannot be written"),
        (["a.key", "--box", "none"], "none: cannot be read"),
        (["short.key"], "short.key: holds a key of 3 bytes"),
        (["."], ".: cannot be"),
    ],
)
def test_what_cannot_be_done_is_one_line(say, tmp_path, words, said):
    (tmp_path / "short.key").write_text("010203")
    status, out, err = say(*words)
    assert (status, out) == (2, "") and err.startswith(f"cellwarden: {said}") and err.count("\n") == 1
    assert (tmp_path / "short.key").read_text() == "010203" and not (tmp_path / "a.key").exists()
