"""A log's files, taken apart: every byte is either in a record or named as damage."""

import contextlib
import mmap
import re
from pathlib import Path
from typing import NamedTuple

from cellwarden.blackbox import form as F
from cellwarden.blackbox.chain import END_BYTES, END_NAME, segment_name, segment_number
from cellwarden.blackbox.keys import SLOT_NAMES, unpack_slot

from ..errors import InputError


class Found(NamedTuple):
    """Bytes at..end of a segment: a form.Record, or None where they are none."""

    at: int
    end: int
    record: F.Record | None


def segments(log):
    """{number: path} of a folder's segments or of one file; ascending. Raises InputError where there is none."""
    log = Path(log)
    try:
        paths = sorted(log.iterdir()) if log.is_dir() else [log]
    except OSError as error:
        raise InputError(log, f"cannot be read ({error.strerror})", "a box's log") from None
    found = {segment_number(path.name): path for path in paths if path.is_file()}
    found.pop(None, None)
    if not found:
        wanted = f"a folder with segments such as {segment_name(1)}"
        raise InputError(log, "holds no segment of a box's log" if log.exists() else "does not exist", wanted)
    return found


def slots(log):
    """The key slots that lie beside the segments, newest first, as in a whole copy of a box's storage."""
    log = Path(log)
    found = []
    for name in SLOT_NAMES if log.is_dir() else ():
        with contextlib.suppress(OSError):
            with open(log / name, "rb") as file:
                found.append(unpack_slot(file.read(1024)))
    return sorted((slot for slot in found if slot), key=lambda slot: -slot.index)


def end_mark(log):
    """(index of the block that would be next, its proof) of the end mark beside the segments, or None."""
    try:
        with open(Path(log) / END_NAME, "rb") as file:
            record, size = F.next_record(file), file.seek(0, 2)
    except OSError:
        return None
    if record is None or record.type != F.END_TYPE or size != END_BYTES:
        return None
    return F.unpack(F.END, record.body)


@contextlib.contextmanager
def opened(path):
    """The bytes of a segment without reading them all: a mmap, or b"" of an empty file. Raises InputError."""
    try:
        with open(path, "rb") as file:
            if not path.stat().st_size:
                yield b""
                return
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                yield data
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", "a segment of a box's log") from None


_HEAD = re.compile(b"%c[%c-%c].[%c-%c]" % (F.MARK, 1, len(F.TYPES) - 1, 0, F.MOST_BODY >> 8), re.DOTALL)


def pieces(data):
    """Each Found of a segment's bytes, in order and without gaps."""
    at = damage = 0
    while at < len(data):
        data.seek(at)
        record = F.next_record(data)
        if record is None:
            head = _HEAD.search(data, at + 1)
            at = head.start() if head else len(data)
            continue
        if damage < at:
            yield Found(damage, at, None)
        damage = at + len(record.raw)
        yield Found(at, damage, record)
        at = damage
    if damage < at:
        yield Found(damage, at, None)
