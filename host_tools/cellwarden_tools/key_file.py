"""A key in a file: 32 bytes, or 64 hexadecimal digits."""

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
