"""NUCLEO-H563ZI: STM32H563, 640 kB RAM, 2 MB flash; FDCAN1 on PD0 and PD1 behind a transceiver."""

NAME, ARCHITECTURE, DRIVERS = "nucleo_h563zi", "armv7emsp", ("machine_can",)
FLASH_BYTES, HEAP_BYTES = 200_000, 256 << 10  # budgets
BITRATE = 500_000


def buses(image, record_bytes):
    from cellwarden.canbus.machine_can import MachineCan

    return [MachineCan(1, BITRATE, record_bytes, 0, image.filters[0], bool(image.transmit))]


def lamp():
    from machine import Pin

    return Pin("LED_GREEN", Pin.OUT)
