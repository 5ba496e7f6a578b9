"""The console of the emulated Cortex-M3: rings in memory, read by a program while each millisecond hears Ctrl-C."""

import pytest
from cellwarden_tools.errors import InputError
from cellwarden_tools.hil.cortex_m3 import FLASHED_HEAP_BYTES, PROMPT, Console, Machine

READS = b"""\x05
import sys, select
there = select.poll(); there.register(sys.stdin, select.POLLIN)
print("reads", "it"); _ = 0
while True:
    if there.poll(0): _ = sys.stdin.buffer.read(1)
\x04"""


@pytest.fixture
def console():
    try:
        machine = Machine(FLASHED_HEAP_BYTES, box=False)
    except InputError as error:
        pytest.skip(str(error))
    machine.rom({})
    machine.on()
    opened = Console(machine.console)
    yield opened
    opened.close()
    machine.close()


def test_ctrl_c_ends_a_program_that_reads_the_console(console):
    console.type(b"\r")
    for _ in range(20):
        assert console.shows(PROMPT, 10)
        console.heard.clear()
        console.type(READS)
        assert console.shows(b"reads it", 10)
        console.type(b"\x03")
        assert console.shows(b"KeyboardInterrupt", 10), bytes(console.heard[-200:])
