"""What a detector remembers, in a file: `replay` goes on from it as if it had never stopped.

The file is a line with the version of this form, a line of JSON (docs/decisions.md), the bytes of the state, and the
SHA-256 of all that stands before it.
"""

import hashlib
import json
from typing import NamedTuple

from cellwarden.core import layout as L

from .errors import InputError
from .files import whole_file

MAGIC = b"cellwarden state "
VERSION = 1
MOST = 1 << 24  # bytes in a file; a state of 200 cells has some 12 kB
SUM = 32  # bytes of SHA-256


class Snapshot(NamedTuple):
    """state: bytes (layout, STATE_SECTIONS); t_us: time of its last record, microseconds on the log's own clock."""

    state: bytes
    t_us: int


def write_snapshot(path, image, snapshot):
    """Write the snapshot of a detector on this image. Raises InputError where the file cannot be written."""
    told = {
        "image_sha256": image.sha256,
        "layout": L.FORMAT,
        "t_us": snapshot.t_us,
        "vehicle": image.names["vehicle"],
    }
    text = MAGIC + b"%d\n" % VERSION + json.dumps(told, sort_keys=True).encode() + b"\n" + snapshot.state
    with whole_file(path) as file:
        file.write(text + hashlib.sha256(text).digest())


def read_snapshot(path, image):
    """The snapshot of a detector on this image.

    Raises InputError for a file that is missing, damaged, of another form, or of another image.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MOST + 1)
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", "a saved state") from None
    wanted = "a file that `replay --state-out` wrote"
    if not data.startswith(MAGIC):
        raise InputError(path, "is no saved state", wanted)
    text, digest = data[:-SUM], data[-SUM:]
    if len(data) > MOST or hashlib.sha256(text).digest() != digest:
        raise _damaged(path)
    version, _, rest = text[len(MAGIC) :].partition(b"\n")
    if version != b"%d" % VERSION:
        what = f"is a saved state of form {version[:20].decode('latin-1')}"
        raise InputError(path, what, f"form {VERSION}", "update cellwarden, or save it again")
    told, _, state = rest.partition(b"\n")
    try:
        told = json.loads(told)
        layout, identity, vehicle, t_us = (told[key] for key in ("layout", "image_sha256", "vehicle", "t_us"))
    except (ValueError, KeyError, TypeError):
        raise _damaged(path) from None
    if layout != L.FORMAT:
        what, mend = f"is a saved state in layout {layout}", "save it again with this version"
        raise InputError(path, what, f"layout {L.FORMAT}", mend)
    if identity != image.sha256:
        what = f"is a saved state of another image ({vehicle}, {identity[:12]})"
        ours = f"{image.names['vehicle']}, {image.sha256[:12]}"
        raise InputError(path, what, ours, "name the profile or image it was saved with")
    if len(state) != 4 * max(end for _, end in L.state_sections(image.params).values()) or type(t_us) is not int:
        raise _damaged(path)
    return Snapshot(state, t_us)


def _damaged(path):
    what = "is a saved state that is cut off or damaged"
    return InputError(path, what, "a whole file", "copy it again or save it again")
