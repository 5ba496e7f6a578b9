"""Frozen into the firmware that build_cortex_m3.py makes: runs `main.py` of the ROM image that lies in the PSRAM."""

import sys

import machine
import uctypes
import vfs

START = 0x21000000  # 16 MB of PSRAM on the MPS2-AN385: int32 size of the image, the image, then what main.py reads

try:
    size = int.from_bytes(uctypes.bytearray_at(START, 4), "little")
    vfs.mount(vfs.VfsRom(uctypes.bytearray_at(START + 4, size)), "/rom")
    sys.path[:] = ["/rom", ".frozen"]
    import main  # noqa: F401
except BaseException as error:
    sys.print_exception(error)
machine.reset()  # ends QEMU
