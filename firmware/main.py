"""What a board runs. `board` is its own file (boards/): pins, bus, budget, and what differs from what is usual here."""

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


def of_board(name, usual):
    """What the board's file says, or what is usual."""
    return getattr(board, name, usual)


def watchdog():
    from machine import WDT

    return WDT(timeout=8000)


def sleep(ms):
    from machine import lightsleep

    lightsleep(ms)


IMAGES = of_board("IMAGES", ("/image", "/image_good"))
DATA, LOG = of_board("DATA", "/data"), of_board("LOG", "/log")
VEHICLE = of_board("VEHICLE", b"")  # its unique id; empty: the image's name
REPORT_MS = of_board("REPORT_MS", 10_000)
DEEP_SLEEP = of_board("DEEP_SLEEP", False)  # in which the memory is gone: each wake is a start
write = of_board("write", sys.stdout.buffer.write)


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
    said = outputs.Lines(write)
    try:
        image, refused = first_good(IMAGES)
    except ImageError as error:
        write(b"# no image can be run: " + str(error).encode() + b"\r\n")
        sys.exit(1)
    buses = board.buses(image, L.RECORD_DATA + image.params[L.P_DATA_BYTES])
    told = [said, outputs.Lamp(board.lamp())]
    if image.transmit:
        told.append(outputs.AlarmFrames(buses[image.transmit["bus"]], image.transmit["id"]))
    folder, log = folder_at(DATA), folder_at(LOG)
    recorder = None
    if has_key(log):
        from cellwarden.blackbox.recorder import recorder_in

        recorder = recorder_in(log, VEHICLE or image.vehicle.encode()[:17], image)
    box = Box(
        image, buses, recorder, Kept(folder, image.identity), told, said.report, of_board("watchdog", watchdog)(),
        report_ms=REPORT_MS, sleep=of_board("sleep", sleep), deep=DEEP_SLEEP,
    )  # fmt: skip
    if refused:
        box.hazards.failed(hazards.IMAGE, box.now_ms(), refused)
    box.self_test(folder)
    box.run()
    if box.rest_ms:
        from machine import deepsleep

        deepsleep(box.rest_ms)


main()
