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
    board: Annotated[str, typer.Option(help="The board's name, as `flash` gives it to a box.")],
    main: Annotated[Path, typer.Option(metavar="FILE", help="What the box does: becomes main of the slot.")],
    version: Annotated[str, typer.Option(help="Of the image, such as 1.2.3.")],
    counter: Annotated[int, typer.Option(help="Higher than that of every image before: no box goes back.")],
    key: Key,
    output: Annotated[Path, typer.Option("-o", "--output", help="The image to write.")],
    arch: Annotated[str | None, typer.Option(help="What MicroPython compiles for, such as armv7emsp.")] = None,
    add: Annotated[
        list[str], typer.Option(metavar="FILE[=PATH]", help="One more file of the slot, as PATH; .py is compiled.")
    ] = [],  # noqa: B006 (typer's)
    least: Annotated[str, typer.Option("--from", help="Boxes with an older version than this refuse it.")] = "0.0.0",
    json: Json = False,
):
    """Build an update image: code, vehicle image and manifest, signed with the next leaf of a tree.

    Without --arch it holds source text, which every MicroPython takes.
    """
    from cellwarden.update.slots import ARCHITECTURES

    from ..compiler.image import open_image
    from ..errors import InputError, did_you_mean
    from ..update import build, signing
    from . import show

    if arch is not None and arch not in ARCHITECTURES:
        names = [name for name in ARCHITECTURES if name]
        raise InputError("--arch", f"no architecture `{arch}`{did_you_mean(arch, names)}", ", ".join(names))
    signer = signing.read_key(key)
    own = {"main.py": _read(main)}
    for word in add:
        name, _, path = word.partition("=")
        own[path or Path(name).name] = _read(name)
    vehicle, warnings = open_image(profile)
    show.warnings(warnings)
    files = build.slot_files(vehicle, own, arch)
    data = build.manifest_of(files, board, vehicle.manifest["vehicle"], version, counter, build.runs(arch), least)
    with show.busy("signing"):
        build.write_signed(output, data, signer, files)
    _told(output, build.check(output, signer.root), json, show)


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


def _read(path):
    from ..errors import InputError

    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", "a file of the image") from None


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
