"""`cellwarden lint`: what is wrong or missing in a DBC."""

from pathlib import Path
from typing import Annotated

import typer


def lint(
    dbc: Annotated[Path, typer.Argument(metavar="DBC", help="The DBC file to judge.", show_default=False)],
    profile: Annotated[
        Path | None, typer.Option("--profile", "-p", help="Weigh what this vehicle profile needs.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 on warnings too.")] = False,
):
    """What is wrong or missing in a DBC for watching a battery with it.

    Exits with 0 when it has no error, 1 when it has (with --strict: or a warning), 2 when it cannot be read.
    """
    from ..compiler.dbc import load
    from ..compiler.dbc_lint import SEVERITIES, check

    needed = _needed(profile, dbc) if profile else None
    issues = check(load(dbc), needed)
    count = {severity: sum(issue.severity == severity for issue in issues) for severity in SEVERITIES}
    if as_json:
        _print_json(issues, count)
    else:
        _print_table(issues)
        words = [f"{number} {name}{'s' * (number != 1)}" for name, number in count.items()]
        typer.echo(f"{dbc}: {', '.join(words)}", err=True)
    if count["error"] or (strict and count["warning"]):
        raise typer.Exit(1)


def _needed(profile, dbc):
    """Names of the messages of `dbc` that `profile` reads. Raises InputError where the profile does not use `dbc`."""
    from ..compiler.profile import needed_messages
    from ..errors import InputError

    needed = {Path(path).resolve(): names for path, names in needed_messages(profile).items()}
    if dbc.resolve() not in needed and dbc.exists():
        names = ", ".join(sorted(path.name for path in needed))
        raise InputError(profile, f"reads nothing from {dbc}", names or "a [[bus]] with a `dbc`")
    return needed.get(dbc.resolve(), set())


def _print_json(issues, count):
    import json
    from dataclasses import asdict

    for issue in issues:
        typer.echo(json.dumps({"event": "issue"} | asdict(issue), ensure_ascii=False))
    typer.echo(json.dumps({"event": "end"} | {f"{severity}s": number for severity, number in count.items()}))


def _print_table(issues):
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ..compiler.dbc_lint import SEVERITIES

    console = Console()
    colours = {"error": "red", "warning": "yellow", "info": "cyan"}
    for severity in SEVERITIES:
        some = [issue for issue in issues if issue.severity == severity]
        if not some:
            continue
        table = Table(title=f"{severity} ({len(some)})", title_style=colours[severity], box=None, pad_edge=False)
        table.title_justify = "left"
        for column in ("where", "code", "what is wrong, and how to mend it"):
            table.add_column(column, overflow="fold", no_wrap=column == "code")
        for issue in some:
            where = f"{Path(issue.file).name}:{issue.line}"
            # Text, for the ranges in brackets would be read as markup.
            table.add_row(Text(where), Text(issue.code), Text(f"{issue.text}\n  {issue.mend}"))
        console.print(table)
        console.print()
