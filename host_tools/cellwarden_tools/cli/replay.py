"""`cellwarden replay`: logs through the detection core."""

from pathlib import Path
from typing import Annotated

import typer


def replay(
    logs: Annotated[list[str], typer.Argument(metavar="LOG", help="Recorded logs; - is standard input.")],
    profile: Annotated[
        Path, typer.Option("-p", "--profile", help="A vehicle profile (TOML), or an image made of one.")
    ],
    engine: Annotated[
        str,
        typer.Option(
            help="auto, fast, python, micropython, micropython32 or cortex-m3: the same verdicts, byte for byte."
        ),
    ] = "auto",
    fail_on: Annotated[int | None, typer.Option(min=1, max=3, help="Exit with 1 when this level was reached.")] = None,
    format: Annotated[str | None, typer.Option(help="The log's format, where its name does not tell.")] = None,
    channel: Annotated[
        list[str] | None, typer.Option(help="LOG=PROFILE: a channel that the log names otherwise.")
    ] = None,
    include_tx: Annotated[
        bool, typer.Option("--include-tx", help="Take frames too that the log marks as sent by the tester.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="JSON lines on stdout.")] = False,
    state_in: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Go on from a saved state, as if nothing had stopped.")
    ] = None,
    state_out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Save the state at the end of the log.")
    ] = None,
):
    """Run each log through the core, from the start, and show the alarms as they rise, change and clear."""
    from ..errors import InputError
    from ..snapshot import read_snapshot, write_snapshot
    from ..vehicle import Vehicle
    from . import show

    if len(logs) > 1 and (state_in or state_out):
        raise InputError(
            "--state-in" if state_in else "--state-out", f"with {len(logs)} logs", "one log", "run it for each"
        )
    vehicle = Vehicle(profile)
    show.warnings(vehicle.warnings)
    channels = _channels(channel or [], vehicle.image())
    worst = 0
    for path in logs:
        told = len(vehicle.warnings)
        image, log = vehicle.open(path, format, include_tx)
        show.warnings(vehicle.warnings[told:])
        before = read_snapshot(state_in, image) if state_in else None
        run = _one(image, log, path, engine, channels, json, len(logs) > 1, before, bool(state_out))
        worst = max(worst, run.end["max_level"])
        if state_out:
            write_snapshot(state_out, image, run.after)
    if fail_on is not None and worst >= fail_on:
        show.message(f"level {worst} was reached (--fail-on {fail_on})")
        raise typer.Exit(1)


def _channels(pairs, image):
    from ..errors import InputError, did_you_mean

    channels = {}
    for pair in pairs:
        name, found, target = pair.rpartition("=")
        if not found or target not in image.names["buses"]:
            known = [bus for bus in image.names["buses"] if bus]
            hint = did_you_mean(target, known) if found else ""
            raise InputError(
                "--channel",
                f"{pair!r}{hint}",
                f"LOG=PROFILE with a channel of the profile ({', '.join(known) or 'it names none'})",
            )
        channels[name] = target
    return channels


def _one(image, log, path, engine_name, channels, as_json, several, before, goes_on):
    from ..engines import open_engine
    from ..replay import Replay
    from . import show

    rows = []
    with show.busy("making machine code of the core, once for each vehicle"):
        opened = open_engine(engine_name, image, log.frames_about)
    with opened as engine, show.progress(log) as update:
        run = Replay(image, log, engine, channels, tick=update, before=before, goes_on=goes_on)
        for event in run:
            if as_json:
                show.json_line({"log": str(path)} | event if several else event)
            else:
                rows.append(event)
    end = run.end
    if as_json:
        show.json_line({"log": str(path)} | end if several else end)
    else:
        _table(image, path, rows, end, show)
    return run


def _table(image, path, rows, end, show):
    console = show.console()
    if rows:
        table = show.table(
            ("time s", "right"), "", "rule", ("level", "right"), ("where", "right"), ("value", "right"), "unit"
        )
        styles = {1: "yellow", 2: "dark_orange", 3: "bold red", 0: "green"}
        for row in rows:
            value = "-" if row["value"] is None else f"{row['value']:g}"
            level = f"{row['before']} > {row['level']}"
            where = str(row["where"]) if row["where"] else ""
            table.add_row(
                f"{row['t'] - end['first']:.1f}", row["event"], row["rule"], level, where, value, row["unit"],
                style=styles[row["level"]],
            )  # fmt: skip
        console.print(table)
    lasted = end["last"] - end["first"]
    held = f"{end['frames']} frames, {end['known_frames']} of them {image.names['vehicle']}'s,"
    if "rows" in end:
        held = f"{end['rows']} rows"
        if end["gaps"]:
            longest = image.names["table"]["deadline_ms"] / 1000
            held += f" with {end['gaps']} gaps of over {longest:g} s"
    console.print(f"{path}: {held} in {lasted:.1f} s; {end['scans']} scans ({end['engine']})", soft_wrap=True)
    left_out = [f"{n} {reason}" for reason, n in (end["skipped"] | end["rejected"]).items()]
    if left_out:
        console.print(f"not replayed: {', '.join(left_out)}", soft_wrap=True)
    if 2 * end.get("gaps", 0) > end["frames"]:
        console.print("most rows come too late to be called fresh: see the table's period_s", style="yellow")
    if end.get("unread"):
        unread = ", ".join(f"{n} of {quantity}" for quantity, n in end["unread"].items())
        console.print(f"texts that are no numbers, taken for no value: {unread}", style="yellow", soft_wrap=True)
    if end["cut"]:
        console.print(f"the log is cut: {end['cut']}", style="yellow", soft_wrap=True)
    for key, text in _COUNTS.items():
        if end[key]:
            console.print(f"{end[key]} {text}", style="yellow")
    rules = image.names["rules"]
    inactive = [f"{rule['name']} (lacks {', '.join(rule['lacks'])})" for rule in rules if not rule["active"]]
    active = [rule["name"] for rule in rules if rule["active"]]
    console.print(f"rules active ({len(active)} of {len(rules)}): {', '.join(active) or 'none'}")
    if inactive:
        console.print(f"inactive: {', '.join(inactive)}")
    if end["never_received"]:
        console.print(f"never received: {', '.join(end['never_received'])}", style="yellow", soft_wrap=True)
    if end["lost"]:
        console.print(f"no longer received at the end: {', '.join(end['lost'])}", style="yellow", soft_wrap=True)
    style = {0: "green", 1: "yellow", 2: "dark_orange", 3: "bold red"}[end["max_level"]]
    verdict = (
        end["verdict"]
        if end["max_level"] == end["level"]
        else f"{end['verdict']} at the end, level {end['max_level']} at worst"
    )
    console.print(f"verdict: {verdict}", style="yellow" if style == "green" and end["verdict"] != "fine" else style)
    console.print(f"state sha256 {end['state_sha256']}", style="dim", soft_wrap=True)


_COUNTS = {
    "notices": "notices that frames were lost, or that a bus went off or came back",
    "malformed": "frames too short for their DBC",
    "checksum_errors": "frames with a wrong checksum",
    "counter_errors": "frames with a wrong counter",
    "time_backward": "steps back in time",
}
