"""`cellwarden lint`: what is wrong or missing in a DBC."""

from pathlib import Path
from typing import Annotated

import typer


def lint(
    dbc: Annotated[Path, typer.Argument(metavar="DBC", help="The DBC to judge.")],
    profile: Annotated[Path | None, typer.Option("-p", "--profile", help="Weigh what this profile needs.")] = None,
    json: Annotated[bool, typer.Option("--json", help="JSON lines on stdout.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 on warnings too.")] = False,
):
    """Say what is wrong or missing in a DBC for watching a battery with it.

    Exits with 1 when errors were found, or with --strict warnings.
    """
    from dataclasses import asdict

    from ..compiler.dbc import load
    from ..compiler.dbc_lint import SEVERITIES, check
    from . import show

    issues = check(load(dbc), _needed(profile, dbc) if profile else None)
    count = {f"{severity}s": sum(issue.severity == severity for issue in issues) for severity in SEVERITIES}
    if json:
        for issue in issues:
            show.json_line({"event": "issue"} | asdict(issue))
        show.json_line({"event": "end"} | count)
    else:
        for severity in SEVERITIES:
            _table(severity, [issue for issue in issues if issue.severity == severity], show)
        words = ", ".join(f"{number} {name[:-1] if number == 1 else name}" for name, number in count.items())
        show.message(f"{dbc}: {words}")
    if count["errors"] or (strict and count["warnings"]):
        raise typer.Exit(1)


def _needed(profile, dbc):
    """Names of the messages of `dbc` that `profile` reads. Raises InputError where the profile does not use `dbc`."""
    from ..compiler.profile import needed_messages
    from ..errors import InputError

    needed = {Path(path).resolve(): names for path, names in needed_messages(profile).items()}
    if dbc.resolve() not in needed and dbc.exists():
        raise InputError(profile, f"reads nothing from {dbc}", ", ".join(sorted(path.name for path in needed)))
    return needed.get(dbc.resolve())


def _table(severity, issues, show):
    from rich.text import Text

    if not issues:
        return
    table = show.table(severity, "code", "what is wrong, and how to mend it")
    for issue in issues:
        # Text, for the ranges in brackets would be read as markup.
        where = Text(f"{Path(issue.file).name}:{issue.line}")
        table.add_row(where, Text(issue.code), Text(f"{issue.text}\n  {issue.mend}"))
    show.console().print(table)
