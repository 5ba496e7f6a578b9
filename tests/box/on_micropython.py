"""Runs on MicroPython: each driver's own code with the heap locked, on the models of the controllers. Prints records.

micropython on_micropython.py PARAMS TTY: `PARAMS` is the image's params.bin, `TTY` a pseudo terminal with an adapter.
"""

import sys
from array import array
from binascii import hexlify

import micropython


class Module:
    pass


def show(name, batch):
    print(name, hexlify(bytes(batch.bytes[: batch.n * batch.size])).decode())


def run(params_path, tty_path):
    import can_controller
    import mcp2515_chip

    machine = Module()
    machine.CAN = can_controller.CAN
    sys.modules["machine"] = machine
    from cellwarden.canbus.frames import Frames
    from cellwarden.canbus.machine_can import MachineCan
    from cellwarden.canbus.mcp2515 import Mcp2515
    from cellwarden.canbus.slcan import Slcan
    from cellwarden.canbus.tty import Tty
    from cellwarden.clock import sleep_ms
    from cellwarden.engine import Engine

    class Image:
        drain = None

    with open(params_path, "rb") as file:
        Image.params = array("i", file.read())
    engine = Engine(Image)
    batch = Frames(engine, 64)
    frames = [(0x100 + n, bytes(range(n)), n & 1) for n in range(9)] * 3

    can = MachineCan(1, 500000, engine.record_bytes)
    for can_id, data, extended in frames:
        can_controller.CAN.made.arrive(can_id, data, 2 * extended)
    locked(can, batch)
    show("machine_can", batch)

    batch.n = 0
    chip = mcp2515_chip.Chip()
    spi = Mcp2515(chip, chip.select, 500000, engine.record_bytes, interrupt=chip.interrupt)
    for can_id, data, extended in frames:
        chip.arrive(can_id, data, bool(extended))
    spi.recv(batch, 5000)  # the model itself takes memory
    show("mcp2515", batch)

    batch.n = 0
    line = Slcan(Tty(tty_path), ask=False)
    print("open")
    for _ in range(2000):
        locked(line, batch)
        if batch.n >= len(frames):
            break
        sleep_ms(1)
    show("slcan", batch)


def locked(bus, batch):
    bus.recv(batch, 5000)
    micropython.heap_lock()
    try:
        bus.recv(batch, 5000)
    finally:
        micropython.heap_unlock()


if __name__ == "__main__":
    run(*sys.argv[1:])
