"""What a board runs. `board` is its own file (boards/): pins, bus, budget; the rest is the same everywhere."""

import os
import sys

import board
from cellwarden import hazards, outputs
from cellwarden.app import Box
from cellwarden.blackbox.folder import Folder
from cellwarden.blackbox.keys import has_key
from cellwarden.core import layout as L
from cellwarden.image import ImageError, load_image
from cellwarden.keep import Kept


def first_good(paths):
    """(Image, why those before it were refused). Raises ImageError where none is good."""
    refused = ""
    for path in paths:
        try:
            return load_image(path), refused
        except ImageError as error:
            refused = refused + str(error) + "; "
    raise ImageError(refused)


def folder_at(path):
    if path.strip("/") not in os.listdir("/"):
        os.mkdir(path)
    return Folder(path, atomic=True)


def main():
    said = outputs.Lines(board.write)
    try:
        image, refused = first_good(board.IMAGES)
    except ImageError as error:
        board.write(b"# no image can be run: " + str(error).encode() + b"\r\n")
        sys.exit(1)
    buses = board.buses(image, L.RECORD_DATA + image.params[L.P_DATA_BYTES])
    told = [said, outputs.Lamp(board.lamp())]
    if image.transmit:
        told.append(outputs.AlarmFrames(buses[image.transmit["bus"]], image.transmit["id"]))
    folder, log = folder_at(board.DATA), folder_at(board.LOG)
    recorder = None
    if has_key(log):
        from cellwarden.blackbox.recorder import recorder_in

        recorder = recorder_in(log, board.VEHICLE or image.vehicle.encode()[:17], image)
    box = Box(
        image, buses, recorder, Kept(folder, image.identity), told, said.report, board.watchdog(),
        report_ms=board.REPORT_MS,
    )  # fmt: skip
    if refused:
        box.hazards.failed(hazards.IMAGE, box.now_ms(), refused)
    box.self_test(folder)
    box.run()


main()
