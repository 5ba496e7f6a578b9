"""What a board runs, from the slot that boot.py chose. `board` is its own file (boards/): pins, bus, budget."""

import os
import sys

import board
import micropython
import vfs
from cellwarden import outputs
from cellwarden.app import Box
from cellwarden.blackbox.folder import Folder
from cellwarden.blackbox.keys import has_key
from cellwarden.core import layout as L
from cellwarden.image import ImageError, load_image
from cellwarden.keep import Kept
from cellwarden.update.duty import updates, vehicle_id

if hasattr(micropython, "alloc_emergency_exception_buf"):
    micropython.alloc_emergency_exception_buf(100)  # an exception in an interrupt can be told of


def folder_at(path):
    try:
        os.mkdir(path)
    except OSError:
        pass  # it is there
    return Folder(path, atomic=True)


def main():
    for file_system, path in vfs.mount() if hasattr(vfs, "VfsFat") else ():
        if path == "/" and isinstance(file_system, vfs.VfsFat):
            raise SystemExit("the flash has FAT, which a power cut can destroy: format it with littlefs v2")
    slot = sys.path[0]
    root = slot.rpartition("/")[0]
    try:
        image = load_image(slot + "/vehicle")
    except ImageError as error:
        raise SystemExit("no image can be run: " + str(error)) from None
    said = outputs.Lines(board.write)
    buses = board.buses(image, L.RECORD_DATA + image.params[L.P_DATA_BYTES])
    told = [said, outputs.Lamp(board.lamp())]
    if image.transmit:
        told.append(outputs.AlarmFrames(buses[image.transmit["bus"]], image.transmit["id"]))
    folder, log = folder_at(root + "/data"), folder_at(root + "/data/log")
    recorder = None
    if has_key(log):
        from cellwarden.blackbox.recorder import recorder_in

        recorder = recorder_in(log, vehicle_id(root, image), image)
    box = Box(
        image, buses, recorder, Kept(folder, image.identity), told, said.report, board.watchdog(),
        report_ms=board.REPORT_MS, updates=updates(),
    )  # fmt: skip
    box.self_test(folder)
    box.run()


main()
