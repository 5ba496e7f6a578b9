"""What a board runs, from the slot that boot.py chose. `board` is its own file (boards/): pins, bus, budget, and what
differs from what is usual here.
"""

import gc
import os
import sys

import board
import cellwarden
import micropython
import vfs
from cellwarden import control, hazards, outputs
from cellwarden.app import Box, core_fault
from cellwarden.blackbox.folder import Folder
from cellwarden.blackbox.keys import keys_in
from cellwarden.console import standard_output
from cellwarden.core import layout as L
from cellwarden.image import ImageError, load_image
from cellwarden.keep import Kept
from cellwarden.operator_key import OperatorKey
from cellwarden.update.duty import updates, vehicle_id

if hasattr(micropython, "alloc_emergency_exception_buf"):
    micropython.alloc_emergency_exception_buf(100)  # an exception in an interrupt can be told of


def of_board(name, usual):
    """What the board's file says, or what is usual."""
    return getattr(board, name, usual)


def watchdog():
    from machine import WDT

    return WDT(timeout=8000)


def sleep(ms):
    from machine import lightsleep

    lightsleep(ms)


def operators(buses):
    """The control.Port that hears them: the console. A board that reads a bus from it says otherwise."""
    return control.Port(control.console(), write)


THRESHOLD = 4096  # bytes of garbage while it starts: so what stays in memory stands close together
SLOT = sys.path[0]
ROOT = SLOT.rpartition("/")[0]
REPORT_MS = of_board("REPORT_MS", 10_000)
DEEP_SLEEP = of_board("DEEP_SLEEP", False)  # in which the memory is gone: each wake is a start
write = of_board("write", standard_output().write)


def folder_at(path):
    try:
        os.mkdir(path)
    except OSError:
        pass  # it is there
    return Folder(path, atomic=True)


def main():
    for file_system, path in vfs.mount() if hasattr(vfs, "VfsFat") else ():
        if isinstance(file_system, vfs.VfsFat) and (ROOT + "/").startswith(path):
            raise SystemExit("the flash has FAT, which a power cut can destroy: format it with littlefs v2")
    gc.threshold(THRESHOLD)
    fault = core_fault()
    for name in ("known_answer", "known_vehicle"):  # 6 kB that are not needed any more
        sys.modules.pop("cellwarden." + name)
        delattr(cellwarden, name)
    try:
        image = load_image(SLOT + "/vehicle")
    except ImageError as error:
        raise SystemExit("no image can be run: " + str(error)) from None
    said = outputs.Lines(write)
    buses = board.buses(image, L.RECORD_DATA + image.params[L.P_DATA_BYTES])
    told = [said, outputs.Lamp(board.lamp())]
    if image.transmit:
        told.append(outputs.AlarmFrames(buses[image.transmit["bus"]], image.transmit["id"]))
    folder, log = folder_at(ROOT + "/data"), folder_at(ROOT + "/data/log")
    vehicle = vehicle_id(ROOT, image)
    keys = keys_in(log)
    recorder = kept = operator = failed = None
    if keys:
        from cellwarden.blackbox.recorder import recorder_in

        recorder = recorder_in(log, vehicle, image)
    try:
        kept = Kept(folder, image.identity, keys)
    except (OSError, ValueError) as error:
        failed = error
    own = updates(of_board("UPDATE", ""))
    box = Box(
        image, buses, recorder, kept, told, said.report, of_board("watchdog", watchdog)(),
        report_ms=REPORT_MS, sleep=of_board("sleep", sleep), deep=DEEP_SLEEP and not (own and own.on_trial),
        updates=own,
    )  # fmt: skip
    if failed:
        box.hazards.failed(hazards.KEEP, box.now_ms(), failed)
    box.self_test(folder, fault)
    try:
        operator = OperatorKey(folder)
    except OSError as error:
        box.hazards.failed(hazards.OUTPUT, box.now_ms(), error)
    if operator and operator.key:
        micropython.kbd_intr(-1)  # no byte on the console stops the box, but an operator's word does
    port = of_board("operators", operators)(buses)
    box.control = control.Control(image, vehicle, (port,), operator, log)
    gc.threshold(-1)  # from here on the box collects garbage when it has the time
    box.run()
    if operator and operator.key:
        micropython.kbd_intr(3)
    if box.starts_anew:
        from machine import reset

        reset()
    if box.rest_ms:
        from machine import deepsleep

        deepsleep(box.rest_ms)


main()
