"""A Linux gateway: `cellwarden-box` under MicroPython's unix port (x86-64) or, on arm64 too, under CPython."""

NAME, ARCHITECTURE, DRIVERS = "linux_gateway", "x64", ("socketcan", "slcan", "tty", "replay")
FLASH_BYTES, HEAP_BYTES = 250_000, 1 << 20  # budgets; its decoder is compiled there
