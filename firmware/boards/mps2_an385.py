"""The emulated Cortex-M3 of QEMU (MPS2-AN385): for sizes and the core's own tests; it has no clock and no flash."""

NAME, ARCHITECTURE, DRIVERS = "mps2_an385", "armv7m", ("slcan",)
FLASH_BYTES, HEAP_BYTES = 200_000, 128 << 10  # budgets
