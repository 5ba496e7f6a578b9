"""An anchor: what somebody outside saw of a box's log, so that its end cannot be cut off unseen."""

import json
from pathlib import Path
from typing import NamedTuple

from cellwarden.blackbox.form import TAG_BYTES
from cellwarden.blackbox.keys import commitment

from ..errors import InputError
from ..files import whole_file

FORM = 1


class Anchor(NamedTuple):
    """index: of a block; tag: its seal's; what: who saw it, for people."""

    index: int
    tag: bytes
    what: str


def write_anchor(path, first_key, block):
    """Write what was seen of a log's last block. Raises InputError where the file cannot be written."""
    told = {
        "cellwarden_anchor": FORM,
        "box": commitment(first_key).hex(),
        "index": block.index,
        "tag": block.tag.hex(),
    }
    with whole_file(path, "w") as file:
        file.write(json.dumps(told) + "\n")


def read_anchor(path, first_key):
    """The Anchor in a file. Raises InputError for one that is missing, damaged, or another box's."""
    wanted = "a file that `verify --anchor-out` wrote"
    try:
        with open(path, "rb") as file:
            told = json.loads(file.read(4096))
        form, box, index, tag = (told[name] for name in ("cellwarden_anchor", "box", "index", "tag"))
        tag = bytes.fromhex(tag)
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", wanted) from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(path, "is no anchor", wanted) from None
    if form != FORM or type(index) is not int or index < 0 or len(tag) != TAG_BYTES:
        raise InputError(path, "is no anchor of this form", wanted)
    if box != commitment(first_key).hex():
        raise InputError(path, "is another box's anchor", "one of the box whose key was given")
    return Anchor(index, tag, f"the anchor {Path(path).name}")
