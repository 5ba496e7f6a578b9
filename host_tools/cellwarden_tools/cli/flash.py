"""`cellwarden flash`: put a signed image on a box over its serial port."""

from pathlib import Path
from typing import Annotated

import typer


def flash(
    port: Annotated[str, typer.Argument(metavar="PORT", help="The board's serial port, or a gateway's folder.")],
    image: Annotated[Path, typer.Option("-i", "--image", metavar="IMAGE", help="What `update build` made.")],
    board: Annotated[str, typer.Option(help="The board's name; a bare board gets it.")],
    key: Annotated[Path, typer.Option("-k", "--key", metavar="FILE", help="The root's public key: NAME.pub.")],
    folder: Annotated[str, typer.Option(help="Where on the board the slots are; its root if not said.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check all, ask the board, and change nothing.")] = False,
    start: Annotated[bool, typer.Option("--start", help="Let the board start anew afterwards.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
):
    """Put a signed image on a box: into the slot that does not run, verified on the box, resumed where it broke off.

    Pull the plug at any byte: what ran before runs, and the same command goes on. Exit status 1: the box refuses it.
    """
    from cellwarden.update.image import Refused

    from ..update import build
    from ..update.flash import Flash, put_in_folder
    from . import show

    public = build.read_public(key)
    try:
        build.check(image, public)  # before the port is opened
        if Path(port).is_dir():
            found, machine = build.check(image, public), port
            if not dry_run:
                put_in_folder(port, image, public, board)
        else:
            with show.bar("flash") as moved, Flash(port, folder.rstrip("/"), say=moved) as box:
                found = box.check(image, public, board) if dry_run else box.put_on(image, public, board)
                machine = box.facts["machine"]
                if start and not dry_run:
                    box.start()
    except Refused as error:
        if json:
            show.json_line({"image": str(image), "good": False, "reason": error.reason, "text": error.text})
        show.message(f"{image}: {error}")
        raise typer.Exit(1) from None
    version = ".".join(map(str, found.version))
    if json:
        told = {"version": version, "counter": found.counter, "machine": machine, "written": not dry_run}
        show.json_line({"image": str(image), "good": True} | told)
        return
    done = "could be put on" if dry_run else "is whole on the box, and its next start runs it"
    typer.echo(f"{image}: {version} (counter {found.counter}) {done}; {machine}")
