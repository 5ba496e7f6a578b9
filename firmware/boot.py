"""Runs first on a board: refuses a file system that loses files when the power goes, and leaves room for exceptions."""

import micropython
import vfs

micropython.alloc_emergency_exception_buf(100)  # an exception in an interrupt can be told of

for file_system, path in vfs.mount() if hasattr(vfs, "VfsFat") else ():
    if path == "/" and isinstance(file_system, vfs.VfsFat):
        raise SystemExit("boot: the flash has FAT, which a power cut can destroy: format it with littlefs v2")
