"""Runs on the board, in its raw REPL: files in pieces, each with its checksum, and what the board is.

Every call prints one line of JSON. ROOT, the folder of the slots, is set before this text.
"""

import hashlib
import json
import os
import sys
from binascii import a2b_base64, b2a_base64, crc32, hexlify


def feed():
    """The watchdog that a box which was interrupted has left behind."""
    if "cellwarden.app" in sys.modules:
        try:
            from machine import WDT

            WDT(timeout=8000).feed()
        except ImportError:
            pass


def facts():
    """What this MicroPython is, and what keeps its files."""
    place, system = "", "VfsPosix" if sys.implementation.name == "cpython" else ""
    try:
        import vfs

        for mounted, path in vfs.mount():
            if (ROOT + "/").startswith(path) and len(path) > len(place):  # noqa: F821
                place, system = path, type(mounted).__name__
    except (AttributeError, TypeError, ImportError):
        pass
    room = os.statvfs(ROOT or "/") if hasattr(os, "statvfs") else None  # noqa: F821
    print(
        json.dumps(
            {
                "mpy": getattr(sys.implementation, "_mpy", 0),
                "machine": getattr(sys.implementation, "_machine", sys.platform),
                "version": list(sys.implementation.version)[:3],
                "files": system,
                "folder": os.getcwd().rstrip("/"),
                "free": room[0] * room[3] if room else 0,
            }
        )
    )


def have(path):
    """Bytes of a file, -1 where there is none, and their SHA-256."""
    feed()
    size, digest = 0, hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while True:
                data = file.read(512)
                if not data:
                    break
                digest.update(data)
                size += len(data)
    except OSError:
        size = -1
    print(json.dumps([size, hexlify(digest.digest()).decode()]))


def get(path):
    """A small file in base64, and its CRC-32; nothing where there is no such file."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        data = b""
    print(json.dumps([b2a_base64(data).decode(), crc32(data)]))


def count(path):
    """How many files a folder and those below it have."""

    def below(path):
        paths = [path + "/" + name for name in os.listdir(path)]
        return sum(below(path) if os.stat(path)[0] & 0x4000 else 1 for path in paths)

    print(json.dumps(below(path)))


def put(path, at, text, checksum):
    """Write a piece at its place; nothing where it, its place or its file's name is not as it was sent."""
    feed()
    try:
        data = a2b_base64(text)
    except ValueError:
        data = b""
    right = bool(data) and crc32(data, crc32(("%s %d" % (path, at)).encode())) == checksum  # noqa: UP031
    if right:
        names = path.split("/")
        for i in range(1 + len(ROOT.split("/")), len(names)):  # noqa: F821
            try:
                os.mkdir("/".join(names[:i]))
            except OSError:
                pass
        with open(path, "r+b" if at else "wb") as file:
            file.seek(at)
            file.write(data)
    print(json.dumps(right))


def settle(path):
    """Give a file that was sent as `path`.new its name, where that is not done yet; then as have()."""
    try:
        os.rename(path + ".new", path)
    except OSError:
        pass
    have(path)


def format(place):
    """Give the board's flash littlefs v2, mounted where it was; all that is on it goes."""
    import vfs

    try:
        import pyb

        device = pyb.Flash(start=0)
    except ImportError:
        try:
            import rp2

            device = rp2.Flash()
        except ImportError:
            from esp32 import Partition

            names, kind = ("vfs", "ffat"), Partition.TYPE_DATA
            device = next(part for name in names for part in Partition.find(kind, label=name))
    vfs.umount(place)
    vfs.VfsLfs2.mkfs(device)
    vfs.mount(vfs.VfsLfs2(device), place)
    os.chdir(place)
    print("true")


def clear(path):
    """Remove a folder and all in it."""
    try:
        for name in os.listdir(path):
            below = path + "/" + name
            if os.stat(below)[0] & 0x4000:
                clear(below)
            else:
                os.remove(below)
        os.rmdir(path)
    except OSError:
        pass
