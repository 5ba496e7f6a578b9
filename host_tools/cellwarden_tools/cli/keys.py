"""`cellwarden keys`: the sealing key of a box, the operators' key, and the keys that sign updates.

docs/blackbox.md, docs/device.md, docs/update.md
"""

from pathlib import Path
from typing import Annotated

import typer

keys = typer.Typer(help="Make and keep sealing, signing and operators' keys.")
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
Height = Annotated[int, typer.Option(help="Of the tree: it signs 2^HEIGHT times; 5 or 10.")]
Name = Annotated[Path, typer.Argument(metavar="NAME", help="The key: NAME.key and NAME.leaves beside it.")]


@keys.command()
def seal(
    key: Annotated[Path, typer.Argument(metavar="FILE", help="The key's file. It is made where it is not there.")],
    box: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Give the key to a new box: the folder where it will keep its log."),
    ] = None,
    json: Json = False,
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


@keys.command()
def operator(
    key: Annotated[
        Path, typer.Argument(metavar="FILE", help="The master key's file. It is made where it is not there.")
    ],
    box: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Give a new box its own key: the folder of its data."),
    ] = None,
    name: Annotated[str, typer.Option("--id", help="The box's own name, such as its serial number.")] = "",
    json: Json = False,
):
    """Make the operators' master key; a key that is there is kept. With --box and --id give a new box a key of its own.

    Who has the master can change every box that was given a key by it (docs/device.md); who has one box's key, that
    box alone.
    """
    from cellwarden.blackbox.folder import Folder
    from cellwarden.operator_key import NAMES, OperatorKey, box_key

    from ..errors import InputError
    from ..key_file import make_key
    from . import show

    if (box is None) == bool(name):
        raise InputError("--box" if name else "--id", "is missing", "both of them, or neither")
    try:
        given = OperatorKey(Folder(str(box))) if box else None
    except OSError as error:
        raise InputError(box, f"cannot be read ({error.strerror})", "the folder of a new box's data") from None
    if given and given.key:
        raise InputError(box, f"has an operator's key already ({given.name})", "a new box", "`device PORT rotate`")
    secret, made, open_to = make_key(key)
    if open_to:
        show.message(f"warning: {key} can be read by {open_to}; say chmod 600 {key}")
    if given:
        try:
            given.provision(name, box_key(secret, name, 1))
        except ValueError as error:
            raise InputError("--id", str(error)) from None
        for file in NAMES:
            (box / file).chmod(0o600)
    if json:
        show.json_line({"key": str(key), "made": made, "box": str(box) if box else None, "id": name or None})
        return
    show.message(f"{key}: {'a new key' if made else 'was there already and is kept'}")
    if box:
        show.message(f"{box}: the operator's key of {name}, made from it")


@keys.command()
def root(name: Name, height: Height = 10, json: Json = False):
    """Make a root: the key that signs the trees that sign updates. Boxes get its public half, NAME.pub."""
    from ..update import signing

    _told(signing.make_root(name, height), json)


@keys.command()
def tree(
    name: Name,
    by: Annotated[Path, typer.Option("--root", metavar="FILE", help="The root that signs it: ROOT.key.")],
    height: Height = 10,
    json: Json = False,
):
    """Make a tree that signs updates, and use up a leaf of the root for it. It needs no backup: make another."""
    from ..update import signing

    _told(signing.make_tree(name, signing.read_key(by), height), json)


@keys.command()
def leaves(
    key: Annotated[Path, typer.Argument(metavar="FILE", help="A signing key, NAME.key.")],
    json: Json = False,
):
    """Say how many leaves of a signing key are used, or why it may not sign."""
    from ..update import signing

    _told(signing.read_key(key), json)


@keys.command()
def release(
    key: Annotated[Path, typer.Argument(metavar="FILE", help="A signing key, NAME.key.")],
):
    """Let a signing key be carried elsewhere: it signs no more here, and there it lives where it signs first."""
    from ..update import signing
    from . import show

    found = signing.read_key(key)
    signing.release(found)
    show.message(f"{found.path}: released; carry .key and .leaves over, then destroy them here")


def _told(key, json):
    from ..update import signing
    from . import show

    used, most = signing.count_used(key)
    if json:
        show.json_line({"key": str(key.path), "kind": key.kind, "name": key.name, "used": used, "leaves": most})
    else:
        typer.echo(f"{key.path}: {key.kind} {key.name}, {used} of {most} leaves used")
