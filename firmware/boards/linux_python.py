"""A Linux gateway under CPython, on any processor: the slot holds source text."""

NAME, ARCHITECTURE, DRIVERS = "linux_python", None, ("socketcan", "slcan", "tty", "replay")
FLASH_BYTES, HEAP_BYTES = 1_000_000, 1 << 20  # budgets
