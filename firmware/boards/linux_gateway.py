"""A Linux gateway under MicroPython's unix port (x86-64)."""

NAME, ARCHITECTURE, DRIVERS = "linux_gateway", "x64", ("socketcan", "slcan", "tty", "replay")
FLASH_BYTES, HEAP_BYTES = 250_000, 1 << 20  # budgets; its decoder is compiled there
