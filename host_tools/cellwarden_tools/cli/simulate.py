"""`cellwarden simulate`: a pack that misbehaves on request."""

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError


def simulate(
    scenario: Annotated[
        str | None, typer.Argument(metavar="SCENARIO", help="Its name (see --list), or a TOML file of your own.")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The log; the suffix says its format.")] = None,
    profile: Annotated[
        Path | None, typer.Option("-p", "--profile", help="Default: the vehicle that the scenario names.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same log.")] = 1,
    minutes: Annotated[
        float | None, typer.Option(min=0.01, max=1_000_000, help="Instead of the scenario's own.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Say what there is to choose from.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One object a line on stdout.")] = False,
):
    """Write the log of a simulated pack, healthy or with a fault."""
    from ..simulator import scenarios
    from . import show

    if list_:
        return _list([scenarios.load(name) for name in scenarios.names()], as_json)
    if scenario is None:
        raise InputError("simulate", "no scenario is named", ", ".join(scenarios.names()))
    if output is None:
        raise InputError("simulate", "no log is named", mend="add -o LOG, such as -o drive.log")

    from ..simulator.run import simulate as frames_of
    from ..writers import open_writer

    told = scenarios.load(scenario)
    frames = frames_of(scenario, profile, seed, minutes)
    count = t_us = 0
    with _progress(told["minutes"] if minutes is None else minutes) as update, open_writer(output) as log:
        for count, (t_us, channel, can_id, data) in enumerate(frames, 1):
            log.write(t_us, channel, can_id, data, fd=len(data) > 8)
            if not count & 0xFFF:
                update(t_us)
    if as_json:
        show.json_line(
            {"scenario": told["name"], "seed": seed, "log": str(output), "frames": count, "last": t_us / 1_000_000}
        )
    else:
        show.message(f"{output}: {count} frames, {t_us / 1_000_000:.1f} s of {told['name']}, seed {seed}")


def _list(known, as_json):
    from ..simulator.scenarios import SECTIONS
    from . import show

    if as_json:
        keys = ("name", "title", "section", "twin_of", "mode", "minutes", "pack", "expect", "may")
        for told in known:
            show.json_line({key: told[key] for key in keys})
        return
    table = show.table("scenario", ("minutes", "right"), "what happens", "what must be raised")
    for section in SECTIONS:
        table.add_section()
        # Faults, then those that only look like one.
        for told in sorted(
            (told for told in known if told["section"] == section),
            key=lambda told: (bool(told["twin_of"]), told["name"]),
        ):
            raised = ", ".join(f"{expect['rule']} {expect['level']}" for expect in told["expect"]) or "nothing"
            innocent = f", above all no {told['twin_of']}" if told["twin_of"] else ""
            table.add_row(told["name"], f"{told['minutes']:g}", told["title"], raised + innocent)
    show.console().print(table)


@contextlib.contextmanager
def _progress(minutes):
    """Show how far the simulated time is, on a terminal only. Yields a function to call with t_us now and then."""
    if not sys.stderr.isatty():
        yield lambda t_us: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("simulating", total=minutes * 60_000_000)
        yield lambda t_us: bar.update(task, completed=t_us)
