"""The emulated Cortex-M3 of QEMU (MPS2-AN385), as cellwarden_tools.hil runs it: a box whose CAN is an SLCAN adapter.

Its console and the line to the adapter are rings in memory, whose other ends hil/cortex_m3.py has.
"""

import json
from time import sleep_ms

import micropython
from cellwarden.canbus.shared_line import SharedLine

NAME, ARCHITECTURE, DRIVERS = "mps2_an385", "armv7em", ("slcan", "shared_line")  # as its MicroPython says
FLASH_BYTES, HEAP_BYTES = 200_000, 128 << 10  # budgets

try:
    with open("/rom/options.json") as file:
        options = json.load(file)
except OSError:
    options = {}
REPORT_MS = options.get("report_ms", 1000)
line = SharedLine(0x217F0000)


def buses(image, record_bytes):
    from cellwarden.canbus.slcan import Slcan

    return [Slcan(line, 0, 500, bool(image.transmit), options.get("timed", False))]


def sleep(ms):
    while ms > 0 and not line.any():
        sleep_ms(10)
        ms -= 10


@micropython.viper
def led(lit: int):
    ptr32(0x40028000)[0] = lit  # the board's first


def lamp():
    return led


class Watchdog:
    """The board's own: restarts it where it was not fed for 16 s."""

    def __init__(self):
        self.feed()

    @micropython.viper
    def feed(self):
        watchdog = ptr32(0x40008000)
        watchdog[0] = 200_000_000  # LOAD: 8 s at 25 MHz; their first end interrupts, the second restarts
        watchdog[2] = 3  # CONTROL: both


def watchdog():
    return None if options.get("timed") else Watchdog()  # the tester's stamps are the clock, and may stand still
