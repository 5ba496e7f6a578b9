"""`cellwarden device`: what a box is, and what an operator has to say to one that runs (docs/device.md)."""

import time
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup


class _Verbs(TyperGroup):
    """Without a verb, options may stand behind PORT; a verb's help needs no PORT."""

    def parse_args(self, ctx, args):
        if args[:1] and args[0] in self.commands and set(args[1:]) & set(ctx.help_option_names):
            args = ["PORT", *args]
        ctx.allow_interspersed_args = not any(word in self.commands for word in args)
        return super().parse_args(ctx, args)


device = typer.Typer(
    cls=_Verbs, help="Ask a box what it is and sees, fetch its log, change it with the operator's key."
)
Json = Annotated[bool, typer.Option("--json", help="JSON lines on stdout.")]
Key = Annotated[
    Path, typer.Option("-k", "--key", metavar="FILE", help="The operators' master key: `keys operator` made it.")
]


@device.callback(invoke_without_command=True)
def _port(
    context: typer.Context,
    port: Annotated[
        str,
        typer.Argument(
            metavar="PORT",
            help="A serial port, a gateway's folder of data or slots, its socket, or ssh:USER@HOST:/FOLDER.",
        ),
    ],
    folder: Annotated[str, typer.Option(help="Where on a stopped board the slots are; its root if not said.")] = "",
    json: Json = False,
):
    """Without a verb: what the box is. A box that runs says who it is and what it counts, and goes on running.

    One that does not run is asked for its slots, over MicroPython's REPL or in its folder. Exit status 1: a slot that
    may run is damaged.
    """
    context.obj = port
    if context.invoked_subcommand is None:
        from ..device.line import open_running

        box = open_running(port)
        if box is None:
            _slots_of_stopped(context, folder, json)
            return
        with box:
            _tell_facts(box, ("identity", "status"), json)


def _running(context):
    """The box that runs at the port of this command. Raises InputError."""
    from ..device.line import open_running

    box = open_running(context.obj)
    if box is None:
        raise _none_runs(context.obj)
    return box


def _none_runs(port):
    from ..errors import InputError

    return InputError(port, "no running box answers here", "its console, its socket or its folder")


@device.command()
def identity(context: typer.Context, json: Json = False):
    """Who a running box is: its name, vehicle, image and software."""
    with _running(context) as box:
        _tell_facts(box, ("identity",), json)


@device.command()
def counters(context: typer.Context, json: Json = False):
    """What a running box counts: frames, scans, losses, faults."""
    with _running(context) as box:
        _tell_facts(box, ("status",), json)


@device.command()
def slots(context: typer.Context, json: Json = False):
    """What the slots of a running box hold."""
    from . import show

    with _running(context) as box:
        rows = box.rows("slots")
    for slot, version, counter, confirmed in rows:
        if json:
            show.json_line({"slot": slot, "version": version, "counter": counter, "confirmed": confirmed})
        else:
            held = f"{version} (counter {counter})" if version else "holds nothing that may run"
            typer.echo(f"slot {slot}: {held}{', confirmed' if confirmed else ''}")


@device.command()
def alarms(context: typer.Context, json: Json = False):
    """The alarms that stand, the box's own too. Exit status 1 where there is one of level 2 or 3."""
    from . import show

    with _running(context) as box:
        found = _alarms(box)
    units = _units()
    if json:
        for alarm in found:
            show.json_line(alarm | {"unit": units.get(alarm["rule"])})
    elif found:
        table = show.table("alarm", ("level", "right"), ("where", "right"), ("value now", "right"), "")
        for alarm in found:
            value = "" if alarm["value"] is None else f"{alarm['value']} {units.get(alarm['rule'], '')}"
            latched = "latched" if alarm["latched"] else ""
            table.add_row(alarm["rule"], str(alarm["level"]), str(alarm["where"] or ""), value, latched)
        show.console().print(table)
    else:
        typer.echo("no alarm stands")
    if any(alarm["level"] >= 2 for alarm in found):
        raise typer.Exit(1)


@device.command()
def acknowledge(
    context: typer.Context,
    rule: Annotated[str, typer.Argument(metavar="ALARM", help="A latched alarm, such as thermal_runaway.")],
    key: Key,
    json: Json = False,
):
    """Give up a latched alarm as it stands now; where its cause still holds it is raised anew."""
    from ..errors import InputError

    with _running(context) as box:
        found = next((alarm for alarm in _alarms(box) if alarm["rule"] == rule), None)
        if found is None:
            raise InputError(context.obj, f"no alarm `{rule}` stands", "one that `device PORT alarms` lists")
        _do(box, key, ("acknowledge", rule, found["events"]), f"{rule} is given up", json)


@device.command()
def clock(context: typer.Context, key: Key, json: Json = False):
    """Set the box's time of day to this machine's."""
    with _running(context) as box:
        seconds = int(time.time())
        _do(box, key, ("clock", seconds), f"the time of day is {_utc(seconds)}", json)


@device.command()
def rotate(
    context: typer.Context,
    key: Key,
    new: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Another master key to change to; the same if not said.")
    ] = None,
    json: Json = False,
):
    """Give the box the operator's next key; the one before opens nothing any more."""
    from cellwarden.operator_key import box_key, covered

    from ..key_file import read_key

    with _running(context) as box:
        name = dict(box.rows("identity"))["box"]
        after = read_key(new or key)

        def words(now, nonce, generation):
            fresh = box_key(after, name, generation + 1)
            return "rotate", generation + 1, covered(now, nonce, fresh).hex()

        _do(box, key, words, "the box has the operator's next key", json)


@device.command()
def look(context: typer.Context, key: Key, json: Json = False):
    """Let the box look for an update at its address soon. `counters` tells what came of it."""
    with _running(context) as box:
        _do(box, key, ("look",), "the box looks at its address when the vehicle is not in use", json)


@device.command()
def start(context: typer.Context, key: Key, json: Json = False):
    """Let the box shut its log and start anew."""
    with _running(context) as box:
        _do(box, key, ("start",), "the box starts anew", json)


@device.command()
def stop(context: typer.Context, key: Key, json: Json = False):
    """Let the box shut its log and stop: nobody watches the vehicle then. A board is at its REPL, for `flash`."""
    with _running(context) as box:
        _do(box, key, ("stop",), "the box stops", json)


@device.command()
def log(
    context: typer.Context,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder of the copy; it is made.")],
    key: Annotated[
        Path | None, typer.Option("-k", "--key", metavar="FILE", help="The box's first key: verify the copy with it.")
    ] = None,
    anchor_out: Annotated[Path | None, typer.Option(metavar="FILE", help="With --key: write what was seen.")] = None,
    json: Json = False,
):
    """Copy the log of a running box, resumed where it was broken off; every file has the SHA-256 that the box says.

    With its first key the copy is verified as well: exit status 1 where it is not intact and complete.
    """
    from ..device.pull import pull
    from ..errors import InputError
    from . import show

    if anchor_out and not key:
        raise InputError("--anchor-out", "is made with the box's first key", "--key FILE")
    with _running(context) as box, show.bar("log") as moved:
        found = pull(box, output, moved)
    told = {"folder": str(output), "files": found.files, "bytes": found.bytes, "fetched": found.fetched}
    if found.missing:
        told["missing"] = found.missing
        show.message(f"{output}: the box let go of {', '.join(found.missing)} before they could be copied; try again")
    verified = _verified(output, found, key, anchor_out) if key else None
    if json:
        show.json_line(told | ({"intact": verified.intact, "complete": verified.complete} if key else {}))
    else:
        proven = f"; intact: {_yes(verified.intact)}, complete: {_yes(verified.complete)}" if key else ""
        typer.echo(f"{output}: {found.files} files, {found.bytes} bytes as the box says, {found.fetched} new{proven}")
    if verified:
        for fault in verified.faults:
            show.message(f"{fault.file}, byte {fault.offset}: {fault.kind}: {fault.reason}")
    if found.missing or (verified and not (verified.intact and verified.complete)):
        raise typer.Exit(1)


def _verified(folder, found, key, anchor_out):
    """verify.Verification of the copy up to the block that the box named."""
    from cellwarden.blackbox.keys import commitment

    from ..blackbox.anchor import write_anchor
    from ..blackbox.verify import Verification
    from ..errors import InputError
    from ..key_file import read_key

    first_key = read_key(key)
    if commitment(first_key) != found.commitment:
        raise InputError(key, "is not the first key of this box", "the key made with it")
    verified = Verification(folder, first_key, found.anchor)
    if anchor_out and verified.last:
        write_anchor(anchor_out, first_key, verified.last)
    return verified


def _alarms(box):
    names = ("rule", "level", "where", "value", "latched", "events")
    return [dict(zip(names, row, strict=True)) for row in box.rows("alarms")]


def _units():
    from cellwarden.core import catalogue

    at = catalogue.COLUMNS.index("unit")
    return {row[0]: row[at] for row in catalogue.ROWS}


def _do(box, key, words, done, json):
    from ..key_file import read_key
    from . import show

    box.do(read_key(key), words)
    if json:
        show.json_line({"done": done})
    else:
        typer.echo(f"{box.name}: {done}; the box's log says so")


def _tell_facts(box, verbs, json):
    from . import show

    facts = {name: value for verb in verbs for name, value in box.rows(verb)}
    if json:
        show.json_line(facts)
        return
    table = show.table("", "")
    for name, value in facts.items():
        if name == "time_s" and value:
            value = _utc(value)
        table.add_row(name, "" if value is None else str(value))
    show.console().print(table)


def _utc(seconds):
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def _yes(verdict):
    return "yes" if verdict else "no"


# --- a box that does not run ------------------------------------------------------------------------------------------


def _slots_of_stopped(context, folder, json):
    from ..update.flash import Flash
    from ..update.status import FolderBox, status
    from . import show

    port = context.obj
    if Path(port).is_socket():
        raise _none_runs(port)
    if Path(port).is_dir():
        found = status(FolderBox(port), port)
    else:
        with Flash(port, folder.rstrip("/")) as box:
            found = status(box, port)
    needed = [slot for slot in found["slots"] if slot["version"] or slot["slot"] == found["confirmed"]]
    if json:
        show.json_line(found)
    else:
        _show(found, show)
    if not all(slot["whole"] for slot in needed):
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
