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
):
    """Run each log through the core, from the start, and show the alarms as they rise, change and clear."""
    from ..compiler.image import open_image
    from . import show

    image, warnings = open_image(profile)
    for warning in warnings:
        show.message(f"warning: {warning}")
    channels = _channels(channel or [], image)
    worst = 0
    for path in logs:
        end = _one(image, path, engine, format, channels, include_tx, json, len(logs) > 1)
        worst = max(worst, end["max_level"])
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


def _one(image, path, engine_name, format, channels, include_tx, as_json, several):
    from ..engines import open_engine
    from ..readers import open_log
    from ..replay import Replay
    from . import show

    log = open_log(path, format=format, include_tx=include_tx)
    rows = []
    with show.busy("making machine code of the core, once for each vehicle"):
        opened = open_engine(engine_name, image, log.frames_about)
    with opened as engine, show.progress(log) as update:
        run = Replay(image, log, engine, channels, tick=update)
        for event in run:
            if as_json:
                show.json_line({"log": str(path)} | event if several else event)
            else:
                rows.append(event)
    end = run.end
    if as_json:
        show.json_line({"log": str(path)} | end if several else end)
        return end
    _table(image, path, rows, end, show)
    return end


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
    console.print(
        f"{path}: {end['frames']} frames, {end['known_frames']} of them {image.names['vehicle']}'s, in {lasted:.1f} s; "
        f"{end['scans']} scans ({end['engine']})", soft_wrap=True,
    )  # fmt: skip
    left_out = [f"{n} {reason}" for reason, n in (end["skipped"] | end["rejected"]).items()]
    if left_out:
        console.print(f"not replayed: {', '.join(left_out)}", soft_wrap=True)
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
