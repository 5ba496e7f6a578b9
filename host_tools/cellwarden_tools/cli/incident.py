"""`cellwarden incident`: what an investigator needs of a box's alarms."""

from pathlib import Path
from typing import Annotated

import typer


def incident(
    log: Annotated[Path, typer.Argument(metavar="LOG", help="A box's log: a folder of segments and annexes.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="A new folder for all that is made.")],
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The box's first key; without it nothing is proven.")
    ] = None,
    anchor: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What was seen of the log later, as `verify` wrote it.")
    ] = None,
    profile: Annotated[
        Path | None,
        typer.Option(
            "-p", "--profile", metavar="IMAGE", help="The image (or profile) the box had: for names and a replay."
        ),
    ] = None,
    alarm: Annotated[
        list[int] | None, typer.Option(metavar="N", help="Of these alarms alone, counted from 1; else of all.")
    ] = None,
    before: Annotated[float, typer.Option(min=0, max=86400, help="Seconds before an alarm.")] = 60,
    after: Annotated[float, typer.Option(min=0, max=86400, help="Seconds after it.")] = 120,
    engine: Annotated[str, typer.Option(help="What replays: auto, fast (Numba) or python.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="One object for each incident, then the verdicts.")] = False,
):
    """Export frames, features and events around a box's alarms, with the proof, into a folder that is always the same.

    Exit status 1 where a key was given and the log is not intact, not complete or, with -p, not consistent: the folder
    is made all the same, and proof/verdict.json says so.
    """
    from ..blackbox.exhibit import parquet
    from ..blackbox.incident import Incident
    from ..vehicle import Vehicle
    from . import show
    from .verify import judged

    parquet()
    image = None
    if profile:
        vehicle = Vehicle(profile)
        show.warnings(vehicle.warnings)
        image = vehicle.image()
    found, replayed, verdict, first_key = judged(log, key, anchor, image, engine, show)
    made = Incident(found, image, alarm, round(1000 * before), round(1000 * after))
    with show.busy("writing what belongs to the alarms"):
        told = made.write(output, verdict, first_key)
    if json:
        for number, one in enumerate(told["incidents"], 1):
            show.json_line({"event": "incident", "incident": number, **one})
        show.json_line(verdict[-1])
    else:
        _tell(told, show)
    if not key:
        show.message(f"warning: nothing in {output} is proven: no key was given")
    elif not (found.intact and found.complete and (replayed is None or replayed.verdict)):
        show.message(f"{output}: made, but the log does not hold: see {output / 'proof' / 'verdict.json'}")
        raise typer.Exit(1)


def _tell(told, show):
    table = show.table("incident", ("boot", "right"), ("box s", "right"), "utc", "alarms", "frames")
    for number, one in enumerate(told["incidents"], 1):
        alarms = ", ".join(f"{alarm['alarm']}: {alarm['rule']} {alarm['level']}" for alarm in one["alarms"])
        frames = one["frames"] if isinstance(one["frames"], str) else str(sum(log["frames"] for log in one["frames"]))
        table.add_row(
            str(number), str(one["boot"]), f"{one['alarms'][0]['box_ms'] / 1000:.1f}", one["utc"] or "", alarms, frames
        )
    show.console().print(table)
