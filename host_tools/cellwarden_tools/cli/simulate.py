"""`cellwarden simulate`: a pack that misbehaves on request."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError


def simulate(
    scenario: Annotated[str | None, typer.Argument(help="Its name (see --list), or a TOML file of your own.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The log; the suffix says its format.")] = None,
    profile: Annotated[Path | None, typer.Option("-p", "--profile", help="Default: the demonstration pack.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same log.")] = 1,
    minutes: Annotated[float | None, typer.Option(help="Instead of the scenario's own.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="Say what there is to choose from.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One object a line on stdout.")] = False,
):
    """Write the log of a simulated pack, healthy or with a fault."""
    from ..simulator import scenarios

    if list_:
        return _say([scenarios.load(name) for name in scenarios.names()], as_json)
    if scenario is None:
        raise InputError("simulate", "no scenario is named", ", ".join(scenarios.names()))
    if output is None:
        raise InputError("simulate", "no log is named", mend="add -o LOG, such as -o drive.log")

    from ..simulator import DEMO_PROFILE
    from ..simulator.run import simulate as frames_of
    from ..writers import open_writer

    told = scenarios.load(scenario)
    frames = frames_of(scenario, profile or DEMO_PROFILE, seed, minutes)
    count = t_us = 0
    with _progress(told["minutes"] if minutes is None else minutes) as progress, open_writer(output) as writer:
        for count, (t_us, channel, can_id, data) in enumerate(frames, 1):
            writer.write(t_us, channel, can_id, data, fd=len(data) > 8)
            if not count & 0xFFF:
                progress(t_us)
    if as_json:
        done = {"scenario": told["name"], "seed": seed, "log": str(output), "frames": count, "last": t_us / 1e6}
        print(json.dumps(done))
    else:
        print(f"{output}: {count} frames, {t_us / 1e6:.1f} s of {told['name']}, seed {seed}", file=sys.stderr)


def _say(known, as_json):
    if as_json:
        for told in known:
            keys = ("name", "title", "mode", "minutes", "expect", "may")
            print(json.dumps({key: told[key] for key in keys}))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("scenario", "minutes", "what happens", "what must be raised", box=None)
    for told in known:
        raised = ", ".join(f"{expect['rule']} {expect['level']}" for expect in told["expect"])
        table.add_row(told["name"], str(told["minutes"]), told["title"], raised or "nothing")
    Console().print(table)


class _progress:
    """A bar on a terminal, nothing in a pipe; called with the time reached, in us."""

    def __init__(self, minutes):
        self.total_us, self.bar = minutes * 60_000_000, None

    def __enter__(self):
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress

            self.bar = Progress(console=Console(stderr=True), transient=True)
            self.bar.start()
            self.task = self.bar.add_task("simulating", total=self.total_us)
        return self

    def __call__(self, t_us):
        if self.bar:
            self.bar.update(self.task, completed=t_us)

    def __exit__(self, *error):
        if self.bar:
            self.bar.stop()
