"""Frozen into the firmware that build_cortex_m3.py makes, and run first.

A box (its heap is told at HEAP) gets its flash, which is the upper half of the PSRAM, beside the ROM image in the lower
half, if any; its boot.py and main.py follow. Without, `main.py` of the ROM image is all that is run.
"""

import os
import sys

import machine
import uctypes
import vfs

HEAP = 0x20000000  # int32, bytes; 0: no box
START = 0x21000000  # 16 MB of PSRAM on the MPS2-AN385: int32 size of the ROM image, the image, then what main.py reads
FLASH, FLASH_BYTES = START + (8 << 20), 8 << 20
BLOCK_BYTES, PAGE_BYTES = 4096, 256


class Flash:
    """A block device with the extended interface of MicroPython, on memory that outlives the machine."""

    def _piece(self, number, at, count):  # alone: a slice of the whole would be copied with all that follows it
        return uctypes.bytearray_at(FLASH + number * BLOCK_BYTES + at, count)

    def readblocks(self, number, data, at=0):
        data[:] = self._piece(number, at, len(data))

    def writeblocks(self, number, data, at=0):
        self._piece(number, at, len(data))[:] = data

    def ioctl(self, what, value):
        if what == 4:
            return FLASH_BYTES // BLOCK_BYTES
        if what == 5:
            return BLOCK_BYTES
        return 0


def number_at(address):
    return int.from_bytes(uctypes.bytearray_at(address, 4), "little")


def mount_rom():
    vfs.mount(vfs.VfsRom(uctypes.bytearray_at(START + 4, number_at(START))), "/rom")


def mount_flash():
    flash = Flash()
    try:
        system = vfs.VfsLfs2(flash, progsize=PAGE_BYTES)
    except OSError:  # new
        vfs.VfsLfs2.mkfs(flash, progsize=PAGE_BYTES)
        system = vfs.VfsLfs2(flash, progsize=PAGE_BYTES)
    vfs.mount(system, "/")


try:
    sys.path[:] = ["", ".frozen"]
    if number_at(HEAP):
        mount_flash()
    if number_at(START):
        mount_rom()
        if {"main.mpy", "vehicle"} & set(os.listdir("/rom")):  # what runs from there
            sys.path[0] = "/rom"
    if not number_at(HEAP):
        import main  # noqa: F401
except BaseException as error:
    sys.print_exception(error)
if not number_at(HEAP):
    machine.reset()  # ends QEMU
