"""A vehicle of two cells and what its bus carries, for tests that record much and often."""

import runpy
from pathlib import Path

from cellwarden_tools.compiler.image import compile_profile

COMMAND = runpy.run_path(str(Path(__file__).parents[1] / "host" / "test_cli.py"))
STRANGE = 0x555


def vehicle(folder, **changes):
    """The image of the profile, written into a folder with changes {text: other text}; its path is small.toml."""
    text = COMMAND["PROFILE"]
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "small.dbc").write_text(COMMAND["DBC"])
    (folder / "small.toml").write_text(text)
    return compile_profile(folder / "small.toml").image


def frames(seconds, start_ms=0, interlock=(), empty=()):
    """Frames (t_us, bus, identifier, data) for `recorded.Box`: both messages each 100 ms, and one that nobody knows.

    interlock: (from, to) seconds in which it is open; empty: in which the battery is at 4 %
    """
    for tenth in range(round(10 * seconds)):
        second = tenth / 10
        locked = not any(first <= second < last for first, last in interlock)
        soc = 8 if any(first <= second < last for first, last in empty) else 100
        current = (tenth * 7 % 50).to_bytes(2, "little")
        pack = (74).to_bytes(2, "little") + current + bytes([soc, locked])
        cell = (3700 + tenth % 3).to_bytes(2, "little") + (3700 + tenth % 2).to_bytes(2, "little")
        t_us = 1000 * (start_ms + 100 * tenth)
        yield t_us, 0, 0x100, pack
        yield t_us + 1000, 0, 0x101, cell
        if tenth % 4 == 0:
            yield t_us + 2000, 0, STRANGE, bytes([tenth & 255]) * (tenth % 9)
