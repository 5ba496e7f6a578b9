"""Judging takes nothing from the heap; and the check that says so can fail."""

import pytest
from cellwarden_tools.compiler.image import Image
from cellwarden_tools.engines import device_files
from cellwarden_tools.errors import InputError
from cellwarden_tools.simulator import DEMO_PROFILE
from cellwarden_tools.simulator.run import simulate

LOCKED = r"stopped before its end \(MemoryError"


@pytest.fixture(scope="module")
def frames():
    return [(t_us, 0, can_id, data) for t_us, _, can_id, data in simulate("healthy_drive", DEMO_PROFILE, 1, 0.1)]


def poisoned(image, line):
    """The image with one more line in the decoder's loop."""
    mark = b"    while b ^ end:\n"
    decoder = image.parts["decoder.py"]
    assert decoder.count(mark) == 1
    decoder = decoder.replace(mark, mark + f"        {line}\n".encode())
    return Image(image.parts | {"decoder.py": decoder}, image.manifest)


def test_nothing_is_allocated_while_frames_are_judged(port, demo, awkward, frames):
    port.judge(demo, frames, locked=True)
    ids = [(bus, can_id) for bus, _, can_id in awkward.names["messages"]]
    port.judge(awkward, [(9000 * n, *ids[n % len(ids)], bytes([n & 255]) * 64) for n in range(2000)], locked=True)


def test_nothing_is_allocated_on_a_silent_bus(port, demo, frames):
    with port.open(demo, locked=True) as engine:
        for frame in frames:
            engine.feed(*frame)
        engine.flush()
        engine._advance(500_000)
        engine.finish()


def test_a_decoder_that_makes_a_list_is_caught(port, demo, frames):
    with pytest.raises(InputError, match=LOCKED):
        port.judge(poisoned(demo, "waste = [count]"), frames, locked=True)


def test_a_core_that_makes_a_list_is_caught(port, demo, frames, monkeypatch):
    mark = "    fresh = int(expire("
    text = device_files.device_text

    def poison(source, native):
        return text(source.replace(mark, "    waste = [1]\n" + mark), native)

    monkeypatch.setattr(device_files, "device_text", poison)
    with pytest.raises(InputError, match=LOCKED):
        port.judge(demo, frames, locked=True)


def test_an_integer_of_31_bits_is_caught_where_integers_have_31_bits(wasm32, demo, frames):
    wasm32.judge(poisoned(demo, "waste = count + 0x3fffff7f"), frames, locked=True)
    with pytest.raises(InputError, match=LOCKED):
        wasm32.judge(poisoned(demo, "waste = count + 0x3fffffff"), frames, locked=True)


def test_the_same_integer_passes_on_64_bits_so_that_port_alone_would_prove_nothing(unix, demo, frames):
    unix.judge(poisoned(demo, "waste = count + 0x3fffffff"), frames, locked=True)
