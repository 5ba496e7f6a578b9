"""`cellwarden decode`: a log's signals as a table."""

from pathlib import Path
from typing import Annotated

import typer


def decode(
    log: Annotated[str, typer.Argument(metavar="LOG", help="A recorded log; - is standard input.")],
    dbc: Annotated[list[str] | None, typer.Option(help="A DBC, or CHANNEL=DBC for one bus; may be repeated.")] = None,
    profile: Annotated[
        Path | None, typer.Option("-p", "--profile", help="A vehicle profile: canonical quantities.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help=".csv, .jsonl or .parquet; default: stdout.")
    ] = None,
    format: Annotated[str | None, typer.Option(help="The log's format, where its name does not tell.")] = None,
    include_tx: Annotated[
        bool, typer.Option("--include-tx", help="Take frames too that the log marks as sent by the tester.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="JSON lines instead of CSV.")] = False,
):
    """Write a log's signals as CSV, JSON lines or Parquet: one row a signal."""
    from itertools import chain, islice

    from ..decode import DbcRows, ProfileRows, nothing_known
    from ..errors import InputError
    from ..readers import open_log
    from ..table_writers import open_table
    from . import show

    if bool(dbc) == bool(profile):
        raise InputError("decode", "give either --dbc or -p", "--dbc FILE.dbc or -p PROFILE.toml")
    if profile:
        from ..vehicle import Vehicle

        vehicle = Vehicle(profile)
        if not vehicle.made:
            raise InputError(profile, "is an image", "the profile it was made of")
        image, reader = vehicle.open(log, format, include_tx)
        show.warnings(vehicle.warnings)
        compiled = vehicle.made["table" in image.names]
        rows, what = ProfileRows(reader, compiled), compiled.profile.name
    else:
        databases = _databases(dbc)
        what = ", ".join(database.path.name for database in databases.values())
        reader = open_log(log, format=format, include_tx=include_tx)
        rows = DbcRows(reader, databases)
    # Nothing is written before the log is known to fit.
    values = iter(rows)
    first = list(islice(values, 1))
    if not rows.known:
        raise nothing_known(rows, log, what)
    count = 0
    with show.progress(reader, quiet=output is None) as update, open_table(output, rows.columns, json) as table:
        for count, row in enumerate(chain(first, values), 1):
            table.write(row)
            if not count & 0x3FFF:
                update()
    account = reader.account
    decoded = f"{rows.known} of {account.frames - account.notices} frames"
    if reader.format == "table":
        decoded = f"{account.frames} rows"
    show.message(
        f"{log}: {decoded} decoded, {count} values"
        + "".join(f", {n} {reason}" for reason, n in (account.skipped + account.rejected).items())
    )
    if account.cut:
        show.message(f"{log}: the log is cut: {account.cut}")


def _databases(texts):
    """{channel or None: Database} of `FILE` and `CHANNEL=FILE`."""
    from ..compiler.dbc import load
    from . import show

    databases = {}
    for text in texts:
        channel, found, path = text.partition("=")
        database = load(path if found else text)
        for finding in database.findings:
            if finding.code not in ("overlap", "overrun"):
                show.message(f"warning: {database.path}:{finding.line}: {finding.text}")
        databases[channel if found else None] = database
    return databases
