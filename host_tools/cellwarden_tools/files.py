"""Output files that are either whole or absent."""

import contextlib
import os
import secrets
from pathlib import Path

from .errors import InputError


@contextlib.contextmanager
def whole_file(path, mode="wb", **kwargs):
    """Open a file beside `path`, renamed over it when the block ends well and removed otherwise (Ctrl-C included).

    A text mode defaults to UTF-8. A device or pipe (/dev/stdout) is written as it is; of a link, the file it points to.
    Raises InputError where the folder cannot be written.
    """
    path = Path(path)
    if "b" not in mode:
        kwargs.setdefault("encoding", "utf-8")
    if path.is_dir():
        raise InputError(path, "is a folder", "a file name")
    if path.is_symlink():
        path = path.resolve()
    if path.exists() and not path.is_file():
        with _direct(path, mode, kwargs) as file:
            yield file
        return
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:  # the name is known before the file is there: whenever Ctrl-C comes, it is removed
        try:
            opened = open(beside, mode, opener=_new, **kwargs)
        except OSError as error:
            expected = "a folder that exists and can be written"
            raise InputError(path, f"cannot be written ({error.strerror})", expected) from None
        with opened as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(beside, 0o666 & ~mask)
        os.replace(beside, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            raise _unwritable(path, error) from None
        raise


def _new(path, flags):
    return os.open(path, flags | os.O_EXCL, 0o600)


@contextlib.contextmanager
def _direct(path, mode, kwargs):
    try:
        with open(path, mode, **kwargs) as file:
            yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path, error):
    return InputError(path, f"cannot be written ({error.strerror or error})", "room on the disk and the right to write")
