"""A serial port, by pyserial."""

import os

from .errors import InputError


def open_port(port, verb, expected, mend="", **settings):
    """pyserial's port. verb: that wants it; expected, mend: as of InputError; settings: baudrate, timeout …

    Raises InputError where it cannot be opened, or pyserial is missing.
    """
    try:
        import serial
    except ImportError:
        raise InputError(verb, "no pyserial on this machine", "", "pip install cellwarden[flash]") from None
    try:
        return serial.serial_for_url(port, **settings)
    except (OSError, ValueError) as error:
        reason = os.strerror(error.errno) if getattr(error, "errno", None) else str(error)
        raise InputError(port, f"cannot be opened ({reason})", expected, mend) from None
