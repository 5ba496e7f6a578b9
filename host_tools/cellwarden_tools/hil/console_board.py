"""MicroPython on a pseudo terminal as a board: CAN comes over its console as SLCAN, whose stamps are its clock."""

import sys

NAME, ARCHITECTURE, DRIVERS = "console", "x64", ("slcan", "tty")
FLASH_BYTES, HEAP_BYTES = 250_000, 1 << 20
REPORT_MS = 500

write = sys.stdout.buffer.write


def buses(image, record_bytes):
    from cellwarden.canbus.slcan import Slcan
    from cellwarden.canbus.tty import Tty

    return [Slcan(Tty("-"), 0, 500, bool(image.transmit), True)]


def operators(buses):
    from cellwarden.control import Tap

    buses[0].control = Tap(write)
    return buses[0].control


def lamp():
    return lambda lit: None


def watchdog():
    return None
