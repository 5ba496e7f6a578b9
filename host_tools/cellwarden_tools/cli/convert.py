"""`cellwarden convert`: a log in another format."""

from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError


def convert(
    log: Annotated[str, typer.Argument(metavar="LOG", help="A recorded log; - is standard input.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The new log; the suffix says its format. .parquet is our own."),
    ] = None,
    format: Annotated[str | None, typer.Option(help="The log's format, where its name does not tell.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One object on stdout.")] = False,
):
    """Write a log in another format; in .parquet nothing is lost, and candump text comes back byte for byte."""
    from . import show

    if output is None:
        raise InputError("convert", "no new log is named", mend="add -o FILE, such as -o drive.parquet")
    try:
        from ..convert import Conversion
    except ImportError:
        raise InputError("convert", "numpy and pyarrow are missing", mend="pip install cellwarden[parquet]") from None
    run = Conversion(log, output, format)
    with show.progress(run) as update:
        run.tick = update
        run.run()
    if json:
        show.json_line(told(run))
        return
    show.message(
        f"{output}: {run.frames} frames of {log}"
        + (f", {run.sent} of them sent by the tester" if run.sent else "")
        + (f"; left out: {_listed(run.left_out)}" if run.left_out else "")
        + ("; every byte of its text is kept" if run.exact else "")
    )
    other = {name: new for name, new in run.channels.items() if name != new}
    if other:
        names = ", ".join(f"`{name}` is `{new}`" for name, new in other.items())
        show.message(f"{output}: channels are called otherwise: {names}")
    if run.zero_us:
        show.message(f"{output}: time counts from the first frame, {run.zero_us / 1e6:.6f} s in {log}")
    if run.account.cut:
        show.message(f"{log}: the log is cut: {run.account.cut}")


def told(run):
    """What became of the log, for programs."""
    account = run.account
    return {
        "log": run.path, "format": run.format, "output": str(run.output), "frames": run.frames, "sent": run.sent,
        "total": account.total, "skipped": dict(account.skipped), "rejected": dict(account.rejected),
        "cut": account.cut, "left_out": dict(run.left_out), "exact": run.exact,
        "zero": run.zero_us / 1e6,
        "channels": {name: new for name, new in run.channels.items() if name != new},
    }  # fmt: skip


def _listed(counts):
    return ", ".join(f"{n} {reason}" for reason, n in counts.items())
