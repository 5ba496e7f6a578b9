"""`cellwarden keys`: make the first sealing key of a box, and know it again."""

from pathlib import Path
from typing import Annotated

import typer


def keys(
    key: Annotated[Path, typer.Argument(metavar="FILE", help="The key's file. It is made where it is not there.")],
    box: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Give the key to a new box: the folder where it will keep its log."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
):
    """Make the first sealing key of a box and print its commitment, which may be shown; a key that is there is kept.

    The file is readable by its owner alone and is never written over. Who has it can prove or forge this box's log:
    keep it away from the box, and where it cannot be lost.
    """
    from cellwarden.blackbox.keys import commitment

    from ..key_file import make_key, new_box
    from . import show

    slots = new_box(box) if box else None  # before a key is made that nobody would use
    secret, made, open_to = make_key(key)
    if open_to:
        show.message(f"warning: {key} can be read by {open_to}; say chmod 600 {key}")
    told = commitment(secret).hex()
    if slots:
        slots.provision(secret)
    if json:
        show.json_line({"key": str(key), "made": made, "commitment": told, "box": str(box) if box else None})
        return
    typer.echo(told)
    show.message(f"{key}: {'a new key' if made else 'was there already and is kept'}; above is its commitment")
    if box:
        show.message(f"{box}: its first key; from here on the box moves it forward with each seal")
