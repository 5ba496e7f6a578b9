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
    anchor_out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write what was seen of the log now.")] = None,
    json: Annotated[bool, typer.Option("--json", help="JSON lines on stdout: each fault, then the verdicts.")] = False,
):
    """Say whether a box's log is intact (seals, chain, order) and complete (nothing missing, the end included)."""
    from ..blackbox.anchor import read_anchor, write_anchor
    from ..blackbox.verify import Verification
    from ..key_file import read_key
    from . import show

    first_key = read_key(key)
    seen = read_anchor(anchor, first_key) if anchor else None
    with show.busy("checking the seals"):
        found = Verification(log, first_key, seen)
    if json:
        for fault in found.faults:
            show.json_line({"event": "fault", **fault._asdict()})
        show.json_line(_end(found))
    else:
        _tell(log, found, show)
    if anchor_out and found.last:
        write_anchor(anchor_out, first_key, found.last)
    if not (found.intact and found.complete):
        raise typer.Exit(1)


def _end(found):
    return {
        "event": "end", "intact": found.intact, "complete": found.complete, "tail": found.tail or "unproven",
        "vehicle": found.vehicle, "image_sha256": found.image_sha256,
        "blocks": len(found.tags), "records": found.records,
        "unsealed_records": found.unsealed_records,
        "boots": len(found.boots), "lost": [lost._asdict() for lost in found.lost], "faults": len(found.faults),
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


def _yes(verdict):
    return "yes" if verdict else "no"
