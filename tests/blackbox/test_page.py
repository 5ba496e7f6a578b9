"""docs/blackbox.md says what is so: its example, computed with Python's library alone, and its tables."""

import re
import struct
from pathlib import Path

import disk
from cellwarden.blackbox import form as F
from cellwarden.blackbox import keys as K
from cellwarden.blackbox.chain import Chain
from cellwarden_tools.blackbox.verify import KINDS

PAGE = (Path(__file__).parents[2] / "docs" / "blackbox.md").read_text(encoding="utf-8")
EXAMPLE = PAGE[PAGE.index("## A worked example") :]


def dump(text):
    """The bytes of a hex dump: of each line the pairs before any word."""
    data = b""
    for line in text.strip("\n").splitlines():
        pairs = re.match(r"((?:[0-9a-f]{2}(?: +|$))+)", line.strip())
        data += bytes.fromhex(pairs[1])
    return data


def dumps():
    blocks = re.findall(r"\n\n((?:    [^\n]*\n)+)", EXAMPLE)
    return [dump(block) for block in blocks if block.startswith("    cb ")]


def test_the_worked_example_holds_by_the_library_alone():
    segment, end = dumps()
    (lines,) = re.findall(r"```python\n(.*?)```", EXAMPLE, re.DOTALL)
    assert lines.count("assert") >= 6
    exec(lines, {"segment": segment, "end": end})


def test_a_box_writes_the_worked_example(on):
    there = disk.Disk()
    K.FileKeys(on(there)).provision(bytes(range(32)))
    chain = Chain(on(there), K.FileKeys(on(there)), b"LCWDEM0000000001", bytes(32), 1)
    chain.put(F.EVENT_TYPE, 1000, bytes(24))
    assert chain.seal(2000)
    chain.put(F.SHUTDOWN_TYPE, 3000, b"")
    assert chain.seal(3000)
    assert [bytes(there.names[name].data) for name in ("00000001.cwb", "end.cwb")] == dumps()


def test_the_worked_example_verifies(verified):
    segment, end = dumps()
    seen = verified({"00000001.cwb": segment, "end.cwb": end}, key=bytes(range(32)))
    assert seen.intact and seen.complete and seen.vehicle == "LCWDEM0000000001" and seen.records == 6


def test_every_type_and_every_fault_is_on_the_page():
    types = {name: int(number) for number, name in re.findall(r"^\| (\d+) \| (\w+) \| .*\|$", PAGE, re.MULTILINE)}
    assert {name: number for name, number in types.items() if name in F.TYPES} == {
        name: number for number, name in enumerate(F.TYPES) if name
    }
    faults = dict(re.findall(r"^\| ([a-z ]+) \| (intact|complete) \|", PAGE, re.MULTILINE))
    assert faults == KINDS


def test_the_sizes_on_the_page_are_so():
    for name, form, size in (
        ("identity", F.IDENTITY, 123), ("tail", F.TAIL, 44), ("seal", F.SEAL + "32s", 72),
    ):  # fmt: skip
        assert f"**{name}**, {size} bytes" in PAGE and struct.calcsize(form) == size
    assert f"**The slot**, {K.SLOT_BYTES} bytes" in PAGE
    assert f"{F.MOST_BODY} at most" in PAGE
