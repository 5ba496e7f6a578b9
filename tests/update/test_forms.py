"""The bytes of images, permits and boot records are those of docs/update.md, and its commands do what it says."""

import hashlib
import io
import re
import shlex
import struct
import zlib
from pathlib import Path

import pytest
from boxes import BOARD, VEHICLE
from cellwarden.update import boot, image, lms, slots
from cellwarden_tools.cli import run
from cellwarden_tools.simulator import DEMO_PROFILE
from vectors import foreign

PAGE = (Path(__file__).parents[2] / "docs" / "update.md").read_text()
HASHES = [bytes([n]) * 32 for n in (1, 2, 3)]
# byte, form, name and a value of each field, as the table of the page has them
RECORD = [
    (0, "4s", None, b"CWB1"), (4, "I", "sequence", 7), (8, "B", "active", 1), (9, "B", "state", 1),
    (10, "B", "tries", 2), (11, "B", "why", 2), (12, "I", "counter", 70000),
    (16, "I", "tree", 5), (20, "I", "leaf", 1000),
    (24, "32s", "signed", HASHES[0]), (56, "32s", None, HASHES[1]), (88, "32s", None, HASHES[2]),
]  # fmt: skip


def record_by_hand():
    data = bytearray(120)
    for at, form, _, value in RECORD:
        struct.pack_into("<" + form, data, at, value)
    return bytes(data) + struct.pack("<I", zlib.crc32(data))


def test_a_boot_record_is_read_and_written_as_the_page_says(tmp_path):
    (tmp_path / "boot.b").write_bytes(record_by_hand())
    record = boot.read_record(str(tmp_path))
    for _, _, name, value in RECORD:
        assert name is None or getattr(record, name) == value
    assert record.slots == HASHES[1:]
    record.sequence -= 1
    (tmp_path / "boot.b").unlink()
    assert record.write(str(tmp_path))
    assert (tmp_path / "boot.b").read_bytes() == record_by_hand()
    for at in sorted({at for at, *_ in RECORD}):
        assert f"\n| {at} |" in PAGE or at in (20, 88), "the page's table has not this byte"


@pytest.mark.parametrize("bit", [0, 31, 32, 100, 500, 8 * 124 - 1])
def test_a_boot_record_with_a_bit_flipped_is_none(tmp_path, bit):
    data = bytearray(record_by_hand())
    data[bit >> 3] ^= 1 << (bit & 7)
    (tmp_path / "boot.b").write_bytes(data)
    assert boot.read_record(str(tmp_path)) is None


def test_of_two_boot_records_the_newer_counts_and_the_older_is_overwritten(tmp_path):
    record, root = boot.Record(), str(tmp_path)
    for n in range(1, 6):
        record.counter = n
        record.write(root)
        assert boot.read_record(root).counter == n
        assert {name: struct.unpack_from("<I", (tmp_path / name).read_bytes(), 4)[0] for name in ("boot.a", "boot.b")
                if (tmp_path / name).exists()} == {("boot.a", "boot.b")[k & 1]: k for k in (n - 1, n) if k}  # fmt: skip


def image_by_hand(private, lines, files):
    manifest = "".join(line + "\n" for line in lines).encode()
    signature = private.sign(manifest)
    return b"CWU1" + struct.pack("<II", len(manifest), len(signature)) + manifest + signature + b"".join(files)


def test_an_image_made_by_hand_from_the_page_and_signed_by_pyhsslms_is_taken(tmp_path):
    private = foreign(2, 5, 4)
    box = slots.Box(BOARD, VEHICLE, "mpy 6.3 armv7emsp", private.publicKey().serialize())
    files = [b"first", b"print(2)\n"]
    lines = ["cellwarden update 1", "board demo-board", "vehicle demo-96s", "version 1.0.0", "from 0.0.0", "counter 1",
             "runs mpy 6.3 armv7emsp", f"file 5 {hashlib.sha256(files[0]).hexdigest()} a/b.bin",
             f"file 9 {hashlib.sha256(files[1]).hexdigest()} main.py"]  # fmt: skip
    for line in lines[:1] + [line.partition(" ")[0] for line in lines[1:7]]:
        assert f"\n{line}" in PAGE
    found = slots.Slots(str(tmp_path), box).install(io.BytesIO(image_by_hand(private, lines, files)))
    assert (found.version, found.from_version, found.counter, found.leaves) == ((1, 0, 0), (0, 0, 0), 1, (0, 0))
    assert [(tmp_path / "a" / name).read_bytes() for name in ("a/b.bin", "main.py")] == files
    assert boot.choose(str(tmp_path)) == 0


def test_a_box_is_known_by_its_identity(tmp_path):
    key = bytes(range(60))
    (tmp_path / "box.id").write_bytes(slots.identity(slots.Box("a board", "b", "", key)))
    assert slots.read_box(str(tmp_path)) == slots.Box("a board", "b", "py", key)
    for text in ("", "cellwarden box 1\n", "cellwarden box 1\nboard a\nvehicle b\nkey zz\n"):
        (tmp_path / "box.id").write_text(text)
        with pytest.raises(ValueError):
            slots.read_box(str(tmp_path))


# What MicroPython says of itself (py/persistentcode.h): version in bits 0-7, sub-version in 8-9, architecture in 10-13
@pytest.mark.parametrize(
    "mpy, runs", [(2822, "mpy 6.3 x64"), (0x1F06, "mpy 6.3 armv7emsp"), (0x2B06, "mpy 6.3 xtensawin"), (0, "py")]
)
def test_what_a_micropython_takes(mpy, runs):
    assert slots.what_runs(mpy) == runs


@pytest.mark.parametrize("module, most", [(boot, 150), (lms, 200)])
def test_what_must_be_read_through_is_short_and_as_long_as_the_page_says(module, most):
    lines = len(Path(module.__file__).read_text(encoding="utf-8").splitlines())
    assert lines < most
    told = re.search(r"^\| `boot.py`, `lms.py` \| (\d+) and (\d+) lines \|$", PAGE, re.MULTILINE)
    assert lines == int(told[1 if module is boot else 2])


def test_the_page_has_every_reason_and_every_why():
    refused = PAGE.split("## What a box refuses")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in refused.splitlines() if line.startswith("| `")]
    assert sorted(word for row in rows for word in re.findall("`(.*?)`", row)) == sorted(image.REASONS)
    whys = re.search(r"why what runs runs: (.*?) \|", PAGE)[1]
    assert [int(number) for number in re.findall(r"\b(\d) ", whys)] == list(range(len(slots.WHY)))


def test_the_commands_of_the_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "box").mkdir()
    block = PAGE.split("```sh\n")[1].split("```")[0] + PAGE.split("```sh\n")[2].split("```")[0]
    commands = [shlex.split(line, comments=True) for line in block.replace("\\\n", "").splitlines()]
    commands = [words[1:] for words in commands if words and words[0] == "cellwarden"]
    assert [words[:2] for words in commands[:4]] == [
        ["keys", "root"],
        ["keys", "tree"],
        ["update", "build"],
        ["update", "check"],
    ]
    for words in commands:
        if words[0] == "keys":
            words += ["--height", "5"]
        words = [str(DEMO_PROFILE) if word == "demo_pack.toml" else word for word in words]
        expected = 0
        if words[0] == "flash":
            words = [{"/dev/ttyACM0": "no-such-port", "/opt/box": "box"}.get(word, word) for word in words]
            expected = 2 if "no-such-port" in words else 0
        assert run(words) == expected, capsys.readouterr().err
    assert "cannot be opened (No such file or directory)" in capsys.readouterr().err
    assert (tmp_path / "box" / "a" / "main.py").is_file()
    image = tmp_path / "demo-1.cwu"
    image.write_bytes(image.read_bytes()[:-1])
    assert run(["update", "check", "demo-1.cwu", "--key", "company.pub", "--json"]) == 1
    assert '"good": false, "reason": "file"' in capsys.readouterr().out
    assert run(["update", "permit", "demo-1.cwu", "--older", "--key", "office.key", "-o", "x"]) == 2
    assert run(["keys", "release", "office.key"]) == 0
    assert run(["keys", "leaves", "office.key"]) == 2
    assert run(["keys", "leaves", "company.key", "--json"]) == 0
    assert '"kind": "root"' in (said := capsys.readouterr().out) and '"used": 1, "leaves": 32' in said
