"""`cellwarden decode`: a log's signals as a table."""

import typer


def decode():
    """Write a log's signals as CSV, JSON lines or Parquet."""
    raise typer.Exit(2)
