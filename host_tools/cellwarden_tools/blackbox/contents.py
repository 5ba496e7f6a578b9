"""What stands in a log: every record that can be read, in order, and whether it is proven."""

import struct
from array import array
from typing import NamedTuple

from cellwarden.blackbox import content as C
from cellwarden.blackbox import form as F
from cellwarden.blackbox.annex import annex_name
from cellwarden.blackbox.chain import segment_name
from cellwarden.core import layout as L
from cellwarden.update.slots import WHY

from .read import opened, pieces


class Entry(NamedTuple):
    """Bytes at..end of a file: a form.Record, or None where they are none. proven: sealed, and the seal holds."""

    file: str
    at: int
    end: int
    record: F.Record | None
    proven: bool


def chain_entries(found):
    """Each Entry of the segments of a verify.Verification."""
    for number, path in found.paths.items():
        yield from _entries(segment_name(number), path, found.proven.get(number, []))


def annex_entries(found, number):
    """Each Entry of an annex of a verify.Verification."""
    proven = found.annexes.proven.get(number)
    yield from _entries(annex_name(number), found.annexes.paths[number], [proven[1:]] if proven else [])


def _entries(name, path, proven):
    ranges = iter(proven)
    first, end = next(ranges, (0, -1))
    with opened(path) as data:
        for found in pieces(data):
            while found.at >= end >= 0:
                first, end = next(ranges, (0, -1))
            yield Entry(name, *found, found.record is not None and first <= found.at and found.end <= end)


# {type: (names of its fields, form)} of the bodies that are a few numbers
SMALL = {
    F.IDENTITY_TYPE: (
        "form segment oldest_segment first_index index vehicle image_sha256 commitment capacity segment_bytes "
        "annexes_bytes annex_bytes before_ms after_ms",
        F.IDENTITY,
    ),
    F.BOOT_TYPE: ("cause", F.BOOT),
    F.MISSING_TYPE: ("since_index proof", F.MISSING),
    F.TAIL_TYPE: ("segment sealed size sha256", F.TAIL),
    F.CLOCK_TYPE: ("seconds ms source", F.CLOCK),
    F.EVENT_TYPE: ("clock_ms rule before level where value", C.EVENT),
    F.LOST_TYPE: ("frames events records", F.LOST),
    F.ACKNOWLEDGEMENT_TYPE: ("rule taken tag", C.ACKNOWLEDGEMENT),
    F.UPDATE_TYPE: ("why major minor patch counter manifest", C.UPDATE),
    F.UPLOAD_TYPE: ("index", C.UPLOAD),
    F.SHUTDOWN_TYPE: ("", "<"),
    F.SEAL_TYPE: ("index first_sequence before tag", F.SEAL + "32s"),
    F.DROPPED_TYPE: ("annex", C.DROPPED),
    F.HAZARD_TYPE: ("hazard begins value", C.HAZARD),
}
ANNEX_HEAD_FIELDS = "annex segment near"
ANNEX_FIELDS = "annex first end sha256_begins"


def fields(entry):
    """What a record says as {name: number or text}, or None where its body is of another form or is told elsewhere.

    Frames, features and snapshots need those before them: frames.Records, content.FeatureWords and SnapshotParts.
    """
    record = entry.record
    if record.type == F.SECURITY_TYPE:
        return _security(record.body)
    if record.type == F.ANNEX_TYPE:
        in_annex = entry.file.endswith(C.ANNEX_SUFFIX)
        names, form = (ANNEX_HEAD_FIELDS, C.ANNEX_HEAD) if in_annex else (ANNEX_FIELDS, C.ANNEX)
    elif record.type in SMALL:
        names, form = SMALL[record.type]
    else:
        return None
    values = F.unpack(form, record.body)
    if values is None:
        return None
    told = dict(zip(names.split(), values, strict=True))
    if record.type == F.HAZARD_TYPE:
        told["hazard"] = _row(C.HAZARDS, told["hazard"])
    if record.type == F.UPDATE_TYPE and told["why"] < len(WHY):
        told["why"] = WHY[told["why"]]
    return {name: _plain(name, value) for name, value in told.items()}


def _security(body):
    size = struct.calcsize(C.SECURITY)
    if len(body) < size:
        return None
    seconds, vehicle, kind = struct.unpack(C.SECURITY, body[:size])
    return {
        "seconds": seconds or None,
        "vehicle": _plain("vehicle", vehicle),
        "event": _row(C.SECURITY_EVENTS, kind),
        "detail": body[size:].decode("utf-8", "backslashreplace"),
    }


def _row(table, number):
    return table[number] if 0 < number < len(table) else number


def _plain(name, value):
    if not isinstance(value, bytes):
        return value
    return value.rstrip(b"\0").decode("ascii", "backslashreplace") if name == "vehicle" else value.hex()


def word_names(params=None):
    """The names of a state's words up to its signals' end, {index: name}; cells and probes need an image's params."""
    names = {}
    of = vars(L)
    columns = {L.VALUE: "", L.WHERE: "_where", L.SLOT: "_signal", L.COMPLETE: "_complete"}
    for name, value in of.items():
        if name.startswith("F_"):
            for column, ending in columns.items():
                names[L.FEATURES_AT + column + value] = name[2:].lower() + ending
    every = list(of)
    for name in every[every.index("PACK_VOLTAGE_MV") : every.index("SCALARS")]:
        names[L.SIGNALS_AT + of[name]] = name.lower()
    if params is not None:
        first = L.SIGNALS_AT + L.SCALARS
        for n in range(params[L.P_CELLS]):
            names[first + n] = f"cell_{n + 1}_mv"
        for n in range(params[L.P_PROBES]):
            names[first + params[L.P_CELLS] + n] = f"probe_{n + 1}_ddegc"
    return names


def state_of(snapshot):
    """A snapshot's bytes as an array of int32."""
    return array("i", snapshot)
