"""How results are shown: tables and progress for people on a terminal, JSON lines for programs."""

import contextlib
import json
import os
import sys


def json_line(value):
    """One object a line on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, separators=(", ", ": ")) + "\n")


def message(text):
    """One line on stderr, for people."""
    print(f"cellwarden: {text}", file=sys.stderr)


def warnings(texts):
    """Each of some warnings as a line on stderr."""
    for text in texts:
        message(f"warning: {text}")


def console():
    """A rich console on stdout; as wide as the text needs where stdout is no terminal."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else 160)


def table(*columns):
    """A plain table; a column is a name, or (name, justify)."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        name, justify = column if isinstance(column, tuple) else (column, "left")
        made.add_column(name, justify=justify, overflow="fold")
    return made


@contextlib.contextmanager
def busy(text):
    """Show that something takes its time, on a terminal only."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield


@contextlib.contextmanager
def progress(log, quiet=False):
    """Show how far a reader's log has been read, on a terminal only. Yields a function to call now and then."""
    size = 0
    with contextlib.suppress(OSError):
        size = os.path.getsize(log.path)
    if quiet or not sys.stderr.isatty() or not size:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[done]} records"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(os.path.basename(str(log.path)), total=size, done=0)

        def update():
            bar.update(task, completed=log.position, done=log.account.total)

        yield update


@contextlib.contextmanager
def bar(text):
    """Show how far something is, on a terminal only. Yields a function to call with (what, done, in all)."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(text, total=None)
        yield lambda what, done, total: shown.update(task, completed=done, total=total or None)
