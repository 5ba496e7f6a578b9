"""`cellwarden flash`: put a signed image on a box, and see it run."""

from pathlib import Path
from typing import Annotated

import typer


def flash(
    port: Annotated[
        str, typer.Argument(metavar="PORT", help="A board's serial port; a gateway's folder, or ssh:USER@HOST:/FOLDER.")
    ],
    image: Annotated[Path, typer.Option("-i", "--image", metavar="IMAGE", help="What `update build` made.")],
    board: Annotated[str, typer.Option(help="The board's name; a bare board gets it.")],
    key: Annotated[Path, typer.Option("-k", "--key", metavar="FILE", help="The root's public key: NAME.pub.")],
    folder: Annotated[str, typer.Option(help="Where on a board the slots are, if not where it has its files.")] = "",
    vehicle_id: Annotated[str, typer.Option(help="The vehicle's unique id, such as its VIN; a bare box gets it.")] = "",
    box_key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="First key of the box's log, as of `keys seal`; made where not there."),
    ] = None,
    operator_key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The operators' master key, as of `keys operator`; a bare box gets its own."),
    ] = None,
    format: Annotated[bool, typer.Option("--format", help="Format a board's FAT as littlefs: all on it goes.")] = False,
    start: Annotated[bool, typer.Option(help="Start a board afterwards, and wait for the box's self-test.")] = True,
    python: Annotated[str | None, typer.Option(help="A gateway's Python (python3, or micropython for .mpy).")] = None,
    history: Annotated[Path | None, typer.Option(help="File to add a line to; updates.jsonl beside the image.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check all, ask the board, and change nothing.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
):
    """Put a signed image on a box: into the slot that does not run, verified on the box, resumed where it broke off.

    Pull the plug at any byte: what ran before runs, and the same command goes on. Exit status 1: the box refuses it, or
    does not come up with it.
    """
    from cellwarden.update.image import Refused

    from ..device.line import stop_running
    from ..errors import InputError
    from ..key_file import make_key, read_key
    from ..update import build
    from ..update import history as kept
    from ..update.flash import Flash, gateway
    from . import show

    if len(vehicle_id) > 17 or not vehicle_id.isascii() or not vehicle_id.isprintable():
        raise InputError("--vehicle-id", repr(vehicle_id), "up to 17 characters of ASCII")
    if operator_key and (not vehicle_id or " " in vehicle_id):
        raise InputError("--operator-key", "makes a key for each id", "--vehicle-id, without a space")
    master = read_key(operator_key) if operator_key else None
    history = history or image.with_name(kept.NAME)
    public = build.read_public(key)
    found = status = None
    said = []
    try:
        found = build.check(image, public)  # before the port is opened
        wire, root = gateway(port, found.runs, python) or (port, folder.rstrip("/"))
        if wire is port:
            stop_running(port, master)
        with show.bar("flash") as moved, Flash(wire, root, say=moved) as box:
            if format and not dry_run:
                box.format()
            box.check(image, public, board)
            if not dry_run:
                box.put_on(image, public, board)
                box.give(vehicle_id.encode(), make_key(box_key)[0] if box_key else None, master)
            version = "{}.{}.{}".format(*box.facts["version"])
            machine = f"{box.facts['machine']} {version}"
            started = start and wire is port and not dry_run
            if started:
                moved("the box starts", 0, 0)
                status, said = box.start()
    except Refused as error:
        if found:
            kept.append(history, "refused", found, port=port, reason=error.reason, text=error.text)
        if json:
            show.json_line({"image": str(image), "good": False, "reason": error.reason, "text": error.text})
        show.message(f"{image}: {error}")
        raise typer.Exit(1) from None
    version = ".".join(map(str, found.version))
    good = not started or _is_up(status, version)
    if not dry_run:
        kept.append(history, "flashed", found, port=port, machine=machine, id=vehicle_id, started=started, good=good)
    if json:
        told = {"version": version, "counter": found.counter, "machine": machine, "written": not dry_run}
        show.json_line({"image": str(image), "good": good} | told | {"status": status})
    else:
        done = "could be put on" if dry_run else "is whole on the box, and its next start runs it"
        typer.echo(f"{image}: {version} (counter {found.counter}) {done}; {machine}")
        if started and status:
            _show(status)
    if not good:
        errors = [line for line in said if "Error" in line][-1:] or said[-3:] or ["nothing"]
        show.message(f"{port}: the box does not come up with {version}{_fault(status)}; it says: {' / '.join(errors)}")
        raise typer.Exit(1)


WELL = ("first installed", "on trial", "confirmed by its own good scans")  # why what was flashed may run


def _is_up(status, version):
    return bool(status) and not _fault(status) and (status["update"] or {}).get("version") == version


def _fault(status):
    """What a status says against the box, or nothing."""
    if not status:
        return ""
    if "box_core" in status["box_hazards"] or "box_image" in status["box_hazards"]:
        return "".join(f", {name}: {why}" for name, (_, why) in status["box_faults"].items())
    runs = status["update"]
    if not runs:
        return ", and runs from no slot"
    return "" if runs["why"] in WELL else f", and runs {runs['version']}, for {runs['why']}"


def _show(status):
    update, log = status["update"] or {}, status["log"]
    faults = ", ".join(status["box_hazards"]) or "no fault of its own"
    sealed = f"log sealed, start {log['boot']}" if log else "no log: it was given no key"
    runs = f"it runs {update.get('version')} from slot {update.get('slot')} ({update.get('why')})"
    typer.echo(f"{runs}; {faults}; {sealed}")
