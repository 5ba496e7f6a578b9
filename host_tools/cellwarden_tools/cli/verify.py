"""`cellwarden verify`: what of a box's log is proven."""

from pathlib import Path
from typing import Annotated

import typer


def verify(
    log: Annotated[Path, typer.Argument(metavar="LOG", help="A box's log: a folder of segments.")],
    key: Annotated[Path, typer.Option(metavar="FILE", help="The box's first key: 32 bytes, or 64 hexadecimal digits.")],
    anchor: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What was seen of the log later, as --anchor-out wrote it.")
    ] = None,
    profile: Annotated[
        Path | None,
        typer.Option("-p", "--profile", metavar="IMAGE", help="Replay the frames: the image (or profile) the box had."),
    ] = None,
    engine: Annotated[str, typer.Option(help="What replays: auto, fast (Numba) or python.")] = "auto",
    salvage: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Export all that can be read, proven and unproven apart, into a new folder."),
    ] = None,
    anchor_out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write what was seen of the log now.")] = None,
    json: Annotated[bool, typer.Option("--json", help="JSON lines on stdout: each fault, then the verdicts.")] = False,
):
    """Say whether a box's log is intact (seals, chain, order) and complete (nothing missing, the end included).

    With -p also whether it is consistent: whether its frames, replayed from each snapshot, give the events and states
    that are recorded. Where no frames were kept nothing can be checked, and that is said.
    """
    from . import show

    image = None
    if profile:
        from ..vehicle import Vehicle

        vehicle = Vehicle(profile)
        show.warnings(vehicle.warnings)
        image = vehicle.image()
    found, replayed, verdict, first_key = judged(log, key, anchor, image, engine, show)
    if json:
        for line in verdict:
            show.json_line(line)
    else:
        _tell(log, found, show)
        if replayed:
            _tell_replayed(replayed, show)
    if salvage:
        from ..blackbox.salvage import write_salvage

        with show.busy("reading all that can be read"):
            told = write_salvage(salvage, found, image)
        show.message(
            f"{salvage}: {told['proven_records']} proven records, {told['unproven_records']} that nothing proves, "
            f"{told['damaged_bytes']} bytes that are none"
        )
    if anchor_out and found.last:
        from ..blackbox.anchor import write_anchor

        write_anchor(anchor_out, first_key, found.last)
    if not (found.intact and found.complete and (replayed is None or replayed.verdict)):
        raise typer.Exit(1)


ENGINES = ("auto", "fast", "python")


def judged(log, key, anchor, image, engine, show):
    """(verify.Verification, consistent.Consistency or None, the JSON lines of both, the first key) of a log.

    Without a key (unsealed.Unsealed, None, what is to be said of that, None). Raises InputError.
    """
    from functools import partial

    from ..blackbox.anchor import read_anchor
    from ..engines import open_engine
    from ..errors import InputError
    from ..key_file import read_key

    if engine not in ENGINES:
        raise InputError("--engine", f"`{engine}` replays no box's log", ", ".join(ENGINES))
    if key is None:
        from ..blackbox.unsealed import Unsealed

        if anchor:
            raise InputError("--anchor", "proves nothing without the key", "--key FILE")
        return Unsealed(log), None, [{"event": "end", "intact": "no key was given: nothing is proven"}], None
    from ..blackbox.verify import Verification

    first_key = read_key(key)
    seen = read_anchor(anchor, first_key) if anchor else None
    with show.busy("checking the seals"):
        found = Verification(log, first_key, seen)
    replayed = None
    if image:
        from ..blackbox.consistent import Consistency

        with show.busy("replaying the frames"):
            replayed = Consistency(found, image, partial(open_engine, engine))
    lines = [{"event": "fault", **fault._asdict()} for fault in [*found.faults, *(replayed.faults if replayed else ())]]
    lines += [{"event": "stretch", **stretch._asdict()} for stretch in (replayed.stretches if replayed else ())]
    return found, replayed, [*lines, _end(found) | (_end_of(replayed) if replayed else {})], first_key


def _end(found):
    return {
        "event": "end", "intact": found.intact, "complete": found.complete, "tail": found.tail or "unproven",
        "vehicle": found.vehicle, "image_sha256": found.image_sha256,
        "blocks": len(found.tags), "records": found.records,
        "unsealed_records": found.unsealed_records,
        "boots": len(found.boots), "lost": [lost._asdict() for lost in found.lost],
        "faults": len(found.faults) + found.unlisted,
        "first_index": found.first.index if found.first else None,
        "last_index": found.last.index if found.last else None,
    }  # fmt: skip


def _tell(log, found, show):
    console = show.console()
    if found.faults:
        table = show.table("file", ("byte", "right"), "what", "")
        for fault in found.faults:
            table.add_row(fault.file, str(fault.offset), fault.kind, fault.reason)
        console.print(table)
    if found.unlisted:
        console.print(f"and {found.unlisted} more of the same", style="red")
    if found.first:
        held = f"blocks {found.first.index} to {found.last.index}, {found.records} records of {len(found.boots)} boots"
        console.print(f"{log}: vehicle {found.vehicle}, {held} are proven", soft_wrap=True)
    if found.unsealed_records:
        console.print(
            f"{found.unsealed_records} records are readable and not sealed: nothing proves them", style="yellow"
        )
    for lost in found.lost:
        console.print(f"the box says: {lost}", style="yellow", soft_wrap=True)
    console.print(f"intact: {_yes(found.intact)}", style="green" if found.intact else "bold red")
    tail = f", the end by {found.tail}" if found.tail else ", its end unproven"
    console.print(
        f"complete: {_yes(found.complete)}{tail}", style="green" if found.complete else "bold red", soft_wrap=True
    )


def _end_of(replayed):
    return {
        "consistent": {True: True, False: False, None: "not checkable"}[replayed.verdict],
        "frames": replayed.frames, "unknown_frames": replayed.unknown_frames, "events": replayed.events,
        "snapshots": replayed.snapshots, "features": replayed.features, "events_not_checkable": replayed.not_checkable,
        "events_late": replayed.late, "replayed_ms": replayed.replayed_ms, "not_checkable_ms": replayed.other_ms,
    }  # fmt: skip


def _tell_replayed(replayed, show):
    console = show.console()
    if replayed.faults:
        table = show.table("file", ("byte", "right"), "what", "")
        for fault in replayed.faults:
            table.add_row(fault.file, str(fault.offset), fault.kind, fault.reason)
        console.print(table)
    for boot, first_ms, last_ms, _, _, why in replayed.stretches:
        if why:
            text = f"boot {boot}, {first_ms / 1000:.1f} to {last_ms / 1000:.1f} s: not checkable: {why}"
            console.print(text, style="yellow", soft_wrap=True)
    verdict = {True: "yes", False: "no", None: "not checkable, nothing could be replayed"}[replayed.verdict]
    told = f"{replayed.frames} frames of {replayed.replayed_ms / 1000:.1f} s gave {replayed.events} events and "
    told += f"{replayed.snapshots} states and {replayed.features} rows of features as they are recorded "
    told += f"({replayed.engine.name})"
    style = "green" if replayed.verdict else "bold red"
    console.print(f"consistent: {verdict}; {told}", style=style, soft_wrap=True)
    if replayed.other_ms or replayed.not_checkable:
        text = f"not checkable, for no frames were kept: {replayed.other_ms / 1000:.1f} s of the box's time, "
        console.print(text + f"{replayed.not_checkable} recorded events", style="yellow", soft_wrap=True)
    if replayed.late:
        text = f"{replayed.late} events came out of the last moments before the power went and are not recorded"
        console.print(text, style="yellow", soft_wrap=True)


def _yes(verdict):
    return "yes" if verdict else "no"
