"""`cellwarden update`: make, check and permit update images (docs/update.md)."""

from pathlib import Path
from typing import Annotated

import typer

update = typer.Typer(help="Make and check signed update images, and permits.")
Key = Annotated[Path, typer.Option("-k", "--key", metavar="FILE", help="The tree that signs: NAME.key.")]
Public = Annotated[Path, typer.Option("-k", "--key", metavar="FILE", help="The root's public key: NAME.pub.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


@update.command()
def build(
    profile: Annotated[Path, typer.Argument(metavar="PROFILE", help="The vehicle profile (TOML) or image.")],
    board: Annotated[str, typer.Option(help="A board of firmware/boards, or the file of one of your own.")],
    version: Annotated[str, typer.Option(help="Of the image, such as 1.2.3.")],
    counter: Annotated[int, typer.Option(help="Higher than that of every image before: no box goes back.")],
    key: Key,
    output: Annotated[Path, typer.Option("-o", "--output", help="The image to write.")],
    least: Annotated[str, typer.Option("--from", help="Boxes with an older version than this refuse it.")] = "0.0.0",
    history: Annotated[Path | None, typer.Option(help="File to add a line to; updates.jsonl beside the image.")] = None,
    json: Json = False,
):
    """Build an update image: a board's code, vehicle image and manifest, signed with the next leaf of a tree."""
    from .. import boards
    from ..compiler.image import open_image
    from ..update import build, signing
    from ..update import history as kept
    from . import show

    known = boards.facts(board)
    signer = signing.read_key(key)
    vehicle, warnings = open_image(profile)
    show.warnings(warnings)
    files = boards.slot_files(board, vehicle)
    runs = build.runs(known["ARCHITECTURE"])
    data = build.manifest_of(files, known["NAME"], vehicle.manifest["vehicle"], version, counter, runs, least)
    with show.busy("signing"):
        build.write_signed(output, data, signer, files)
    found = build.check(output, signer.root)
    kept.append(history or output.with_name(kept.NAME), "built", found, image=str(output), files=len(files))
    _told(output, found, json, show)


@update.command()
def check(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="An update image.")],
    key: Public,
    json: Json = False,
):
    """Check every byte of an update image against the root's public key. Exit status 1: a box would refuse it."""
    from cellwarden.update.image import Refused

    from ..update import build
    from . import show

    try:
        found = build.check(image, build.read_public(key))
    except Refused as error:
        if json:
            show.json_line({"image": str(image), "good": False, "reason": error.reason, "text": error.text})
        show.message(f"{image}: {error}")
        raise typer.Exit(1) from None
    _told(image, found, json, show)


@update.command()
def permit(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="The update image that is let through.")],
    key: Key,
    output: Annotated[Path, typer.Option("-o", "--output", help="The permit to write.")],
    older: Annotated[bool, typer.Option("--older", help="Boxes that have run a newer one may go back to it.")] = False,
    busy: Annotated[bool, typer.Option("--busy", help="Boxes may take it while the vehicle is in use.")] = False,
):
    """Sign a permit, with which a box takes one image that it would else refuse."""
    from cellwarden.update.image import Refused

    from ..errors import InputError
    from ..update import build, signing
    from . import show

    signer = signing.read_key(key)
    allow = [word for word, wanted in (("older", older), ("busy", busy)) if wanted]
    if not allow:
        raise InputError("permit", "permits nothing", "--older or --busy")
    try:
        found = build.check(image, signer.root)
    except Refused as error:
        raise InputError(image, f"is not sound: {error}", "an image signed under the same root") from None
    build.write_signed(output, build.permit_of(found, allow), signer)
    show.message(f"{output}: permits {' and '.join(allow)} for {image}")


def _told(path, found, json, show):
    version = ".".join(map(str, found.version))
    facts = {"board": found.board, "vehicle": found.vehicle, "version": version, "counter": found.counter,
             "runs": found.runs, "files": len(found.files), "tree": found.leaves[0], "leaf": found.leaves[1],
             "sha256": found.sha256.hex()}  # fmt: skip
    if json:
        show.json_line({"image": str(path), "good": True} | facts)
        return
    typer.echo(
        f"{path}: {version} (counter {found.counter}) for {found.vehicle} on {found.board}, {found.runs}, "
        f"{len(found.files)} files, leaf {found.leaves[1]} of tree {found.leaves[0]}, sha256 {found.sha256.hex()[:16]}…"
    )
