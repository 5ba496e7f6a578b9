"""ESP32 with an MCP2515 module of 8 MHz: HSPI on 14, 13 and 12, CS on 15, INT on 4."""

NAME, ARCHITECTURE, DRIVERS = "esp32_mcp2515", "xtensawin", ("mcp2515",)
FLASH_BYTES, HEAP_BYTES = 200_000, 160 << 10  # budgets
BITRATE, CRYSTAL_HZ, FROZEN = 500_000, 8_000_000, True  # FROZEN: its heap has no room for code from a slot


def buses(image, record_bytes):
    from cellwarden.canbus.mcp2515 import Mcp2515
    from machine import SPI, Pin

    spi = SPI(1, 10_000_000, sck=Pin(14), mosi=Pin(13), miso=Pin(12))
    select, interrupt = Pin(15, Pin.OUT, value=1), Pin(4, Pin.IN, Pin.PULL_UP)
    # Its pins have no hard interrupts: the handler is scheduled, and what the chip loses meanwhile is counted.
    return [
        Mcp2515(
            spi, select, BITRATE, record_bytes, 0, image.filters[0], bool(image.transmit), CRYSTAL_HZ, interrupt, False
        )
    ]


def lamp():
    from machine import Pin

    return Pin(2, Pin.OUT)
