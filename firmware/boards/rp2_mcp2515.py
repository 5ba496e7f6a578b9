"""Raspberry Pi Pico (RP2040, 264 kB RAM) with an MCP2515 module of 8 MHz: SPI0 on GP16 to GP19, INT on GP20."""

NAME, ARCHITECTURE, DRIVERS = "rp2_mcp2515", "armv6m", ("mcp2515",)
FLASH_BYTES, HEAP_BYTES = 200_000, 192 << 10  # budgets
BITRATE, CRYSTAL_HZ, FROZEN = 500_000, 8_000_000, True  # FROZEN: its heap has no room for code from a slot


def buses(image, record_bytes):
    from cellwarden.canbus.mcp2515 import Mcp2515
    from machine import SPI, Pin

    spi = SPI(0, 10_000_000, sck=Pin(18), mosi=Pin(19), miso=Pin(16))
    select, interrupt = Pin(17, Pin.OUT, value=1), Pin(20, Pin.IN, Pin.PULL_UP)
    transmit = bool(image.transmit)
    return [Mcp2515(spi, select, BITRATE, record_bytes, 0, image.filters[0], transmit, CRYSTAL_HZ, interrupt=interrupt)]


def lamp():
    from machine import Pin

    return Pin("LED", Pin.OUT)
