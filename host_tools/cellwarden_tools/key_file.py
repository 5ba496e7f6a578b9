"""A key in a file: 32 bytes, or 64 hexadecimal digits."""

import contextlib
import os
import secrets
import stat

from .errors import InputError

KEY_BYTES = 32


def read_key(path):
    """The key in a file. Raises InputError for one of another length; it never shows what is in it."""
    try:
        with open(path, "rb") as file:
            data = file.read(4 * KEY_BYTES)
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", "a key") from None
    wanted = f"{KEY_BYTES} bytes, or {2 * KEY_BYTES} hexadecimal digits"
    try:
        data = bytes.fromhex(data.decode("ascii"))
    except ValueError:
        if len(data) != KEY_BYTES:
            raise InputError(path, "is no key", wanted) from None
    if len(data) != KEY_BYTES:
        raise InputError(path, f"holds a key of {len(data)} bytes", wanted)
    return data


def make_key(path):
    """(key, whether it was made now, who but its owner can read the file) of a file that is never written over.

    Raises InputError where it can be neither read nor made.
    """
    key = secrets.token_bytes(KEY_BYTES)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return read_key(path), False, _readers(path)
    except OSError as error:
        raise InputError(path, f"cannot be written ({error.strerror})", "a folder that can be written") from None
    try:
        with open(handle, "w", encoding="ascii") as file:
            file.write(key.hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
    except BaseException as error:  # half a key is none, and would stand in the way of the next
        with contextlib.suppress(OSError):
            os.unlink(path)
        if isinstance(error, OSError):
            raise InputError(path, f"cannot be written ({error.strerror})", "room on the disk") from None
        raise
    return key, True, ""


def _readers(path):
    mode = os.stat(path).st_mode
    who = [name for name, bit in (("its group", stat.S_IRGRP), ("everyone", stat.S_IROTH)) if mode & bit]
    return " and ".join(who) if os.name == "posix" else ""


def new_box(folder):
    """keys.FileKeys of a box that has no key yet. Raises InputError where the folder is none of a new box."""
    from cellwarden.blackbox.chain import segment_number
    from cellwarden.blackbox.folder import Folder
    from cellwarden.blackbox.keys import SLOT_NAMES, FileKeys

    there = Folder(str(folder))
    try:
        names = there.names()
    except OSError as error:
        raise InputError(folder, f"cannot be read ({error.strerror})", "the folder of a new box's log") from None
    if any(name in SLOT_NAMES for name in names):
        raise InputError(folder, "has a key already", "the folder of a new box")
    if any(segment_number(name) is not None for name in names):
        raise InputError(folder, "holds the log of a box whose key is not there", "the folder of a new box")
    return FileKeys(there)
