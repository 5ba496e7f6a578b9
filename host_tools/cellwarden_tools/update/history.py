"""What was built and put on which box, a JSON line each: the host's half of the records of GB 44496 and UN R156."""

import datetime
import json
import os

from ..errors import InputError

NAME = "updates.jsonl"  # beside the image


def append(path, what, manifest, **facts):
    """Add a line. what: built, flashed or refused; manifest: the image's image.Manifest; facts: more of the line."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    told = {"t": now, "what": what, "board": manifest.board, "vehicle": manifest.vehicle,
            "version": ".".join(map(str, manifest.version)), "counter": manifest.counter,
            "sha256": manifest.sha256.hex()} | facts  # fmt: skip
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(told) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise InputError(path, f"cannot be written ({error.strerror})", "a file of histories: --history") from None
