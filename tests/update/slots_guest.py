"""Runs on every MicroPython and on CPython: a box's life with updates, told line by line.

The folder holds key.pub and the images 1.cwu to 4.cwu, where 4 has a bit flipped, and 2.permit, which lets 2 come back.
"""

import os
import sys

from cellwarden.update import boot, image, slots


def life(folder):
    root = folder + "/box"
    os.mkdir(root)
    with open(folder + "/key.pub", "rb") as file:
        box = slots.Box("demo-board", "demo-96s", "py", file.read())
    with open(root + "/" + slots.IDENTITY, "wb") as file:
        file.write(slots.identity(box))
    pauses = [0]

    def pause():
        pauses[0] += 1

    def told(what):
        record = boot.read_record(root)
        numbers = [getattr(record, name) for name in boot._NUMBERS] if record else None
        print(what, boot.choose(root), numbers)

    def install(name, **other):
        try:
            with open(folder + "/" + name, "rb") as file:
                print(name, slots.Slots(root, slots.read_box(root), pause).install(file, **other).version)
        except image.Refused as error:
            print(name, error.reason)
        told("then")

    told("bare")
    install("1.cwu")
    install("2.cwu", busy=lambda: "it drives")
    install("2.cwu")
    print(slots.Slots(root, box).confirm())
    install("4.cwu")
    install("3.cwu")
    told("tried")
    told("tried")
    told("given up")
    install("3.cwu")
    print(slots.Slots(root, box).confirm(), slots.Slots(root, box).confirm())
    install("2.cwu")
    with open(folder + "/2.permit", "rb") as permit:
        install("2.cwu", permit=permit)
    print(slots.Slots(root, box).confirm())
    install("1.cwu")
    print(pauses[0])


def run(folder, stream=None, locked=False):
    life(folder)


if sys.platform == "linux":
    run(sys.argv[1])
