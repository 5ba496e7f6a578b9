"""`cellwarden device`: what a box is and which image it runs."""

from pathlib import Path
from typing import Annotated

import typer


def device(
    port: Annotated[str, typer.Argument(metavar="PORT", help="The board's serial port, or a gateway's folder.")],
    folder: Annotated[str, typer.Option(help="Where on the board the slots are; its root if not said.")] = "",
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
):
    """Say what a box is, what its slots hold, which one runs and why. Exit status 1: a slot that may run is damaged."""
    from ..update.flash import Flash
    from ..update.status import FolderBox, status
    from . import show

    if Path(port).is_dir():
        found = status(FolderBox(port), port)
    else:
        with Flash(port, folder.rstrip("/")) as box:
            found = status(box, port)
    damaged = any(slot["version"] and not slot["whole"] for slot in found["slots"])
    if json:
        show.json_line(found)
    else:
        _show(found, show)
    if damaged:
        raise typer.Exit(1)


def _show(found, show):
    console = show.console()
    console.print(f"{found['vehicle']} on {found['board']}, root key {found['key'][24:40]}…")
    table = show.table("slot", "version", ("counter", "right"), "files", "")
    for slot in found["slots"]:
        confirmed = slot["slot"] == found["confirmed"]
        trial = "" if found["state"] == "steady" else f"on trial, {found['starts_left']} starts left"
        held = ("whole" if slot["whole"] else "damaged") if slot["version"] else "none that may run"
        table.add_row(
            slot["slot"], slot["version"] or "", str(slot["counter"] or ""), held, "confirmed" if confirmed else trial
        )
    console.print(table)
    console.print(f"{found['why']}; highest counter {found['counter']}, leaf {found['leaf']} of tree {found['tree']}")
