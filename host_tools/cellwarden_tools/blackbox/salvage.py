"""All that can be read of a log, damaged or not, with what is proven and what is not kept apart."""

from cellwarden.blackbox import content as C
from cellwarden.blackbox import form as F
from cellwarden.blackbox import unpack as U

from .contents import annex_entries, chain_entries, fields, word_names
from .exhibit import new_exhibit
from .export import Clock, FrameLog, above_zero, word_or_none

WARNING = """This folder was salvaged from a box's log. `verify` says what of the log is proven; the rest may have been
damaged, changed or invented by anybody, and each line and file here says which of both it is:
"proven": true / false, and file names that end in _proven or _unproven.
"""


def write_salvage(path, found, image=None):
    """Export a verify.Verification's log into a new folder; image: that the box judged with, for names, or None.

    Returns what the manifest says. Raises InputError where the folder is there or cannot be written.
    """
    counts = {"proven_records": 0, "unproven_records": 0, "damaged_bytes": 0}
    with new_exhibit(path) as out:
        out.text("README.txt", "what this folder is", WARNING)
        out.lines(
            "records.jsonl", "every record that can be read, in the order of the files", _records(found, counts, image)
        )
        out.lines("damage.jsonl", "bytes that are no record", _damage(found))
        out.lines("faults.jsonl", "what `verify` found", (fault._asdict() for fault in found.faults))
        for number in sorted(found.annexes.paths):
            for proven in (True, False):
                _frames(out, found, number, proven, image)
        out.told = {"salvaged": True, "intact": getattr(found, "intact", None), **counts}
    return counts


def _every(found):
    yield from chain_entries(found)
    for number in sorted(found.annexes.paths):
        yield from annex_entries(found, number)


def _damage(found):
    for entry in _every(found):
        if entry.record is None:
            yield {"file": entry.file, "at": entry.at, "end": entry.end, "bytes": entry.end - entry.at}


def _records(found, counts, image):
    names = word_names(image and image.params)
    file = None
    for entry in _every(found):
        if entry.record is None:
            counts["damaged_bytes"] += entry.end - entry.at
            continue
        if entry.file != file:
            file, words, parts = entry.file, U.FeatureWords(), U.SnapshotParts()
        counts["proven_records" if entry.proven else "unproven_records"] += 1
        record = entry.record
        told = {
            "file": entry.file, "at": entry.at, "end": entry.end, "proven": entry.proven, "type": F.TYPES[record.type],
            "boot": record.boot, "sequence": record.sequence, "t_ms": record.t_ms,
        }  # fmt: skip
        yield {**told, "says": _content(entry, words, parts, names)}


def _content(entry, words, parts, names):
    record = entry.record
    if record.type == F.FRAMES_TYPE:
        return {"bytes": len(record.body)}
    said = fields(entry)
    if said is not None:
        return said
    try:
        if record.type == F.FEATURES_TYPE:
            return {names.get(at, f"word_{at}"): word_or_none(v) for at, v in words.unpack(record.body).items()}
        if record.type == F.SNAPSHOT_TYPE:
            digest = U.digest_of(record.body)
            if digest:
                return {"state_sha256": digest.hex()}
            state = parts.unpack(record.body)
            return {"state": state and state.hex()}
    except ValueError as error:
        return {"unreadable": str(error), "body": record.body.hex()}
    return {"body": record.body.hex()}


def _frames(out, found, number, proven, image):
    """The frames of an annex that are proven, or those that are not, as a candump log."""
    lowest = Clock()
    for item in _items(found, number, proven):
        lowest.unwrapped(item[1])
    if lowest.now is None:
        return
    kind = "proven" if proven else "unproven"
    name = f"frames_{number:08x}_{kind}.log"
    what = "frames that are proven" if proven else "frames that nothing proves"
    shift = above_zero(lowest)
    buses = image.names["buses"] if image else []
    with FrameLog(buses, shift, Clock(), out.file(name, f"{what}; stamps are the box's own clock")) as log:
        for item in _items(found, number, proven):
            log.put(*item)


def _items(found, number, proven):
    """The items of an annex's bodies that can be read. A body whose predecessor is missing cannot."""
    items = U.FrameItems()
    for entry in annex_entries(found, number):
        if entry.record is None or entry.record.type != F.FRAMES_TYPE:
            continue
        try:
            for item in items.unpack(entry.record.body):
                if entry.proven == proven and item[0] not in (C.GAP, C.NOTED):
                    yield item
        except ValueError:
            continue
