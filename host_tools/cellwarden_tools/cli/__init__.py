"""The `cellwarden` command: one file a verb, each with a function of the verb's name.

A verb's file imports what it needs when it is called, so that `cellwarden --help` is quick.
"""

import importlib
import os
import sys

import typer

from .. import __version__
from ..errors import InputError

_INTERRUPTED = 130
VERBS = (
    "compile", "lint", "decode", "replay", "acknowledge", "keys", "verify", "incident", "update", "flash", "device",
    "convert", "simulate",
)  # fmt: skip

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _verb in VERBS:
    _does = getattr(importlib.import_module(f".{_verb}", __name__), _verb)
    if isinstance(_does, typer.Typer):  # a verb with verbs of its own
        app.add_typer(_does, name=_verb)
    else:
        app.command(_verb)(_does)

# Typer brings click under changing names; this is the base of all its usage errors.
_UsageError = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


def _version(wanted: bool):
    if wanted:
        typer.echo(f"cellwarden {__version__}")
        raise typer.Exit


@app.callback(
    help="Battery-safety firmware for electric vehicles: compile, replay, convert, decode, lint and simulate."
)
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
):
    pass


def main():
    """Run the command with the words of this process."""
    _mend_streams()
    status = run(sys.argv[1:])
    try:
        sys.__stdout__.flush()
    except OSError as error:
        # Where the reader of our output went away (`| head`), that is no error of ours; Python would report it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())
        if status == 0 and not isinstance(error, BrokenPipeError):
            status = _unwritable(error)
    sys.exit(status)


def _mend_streams():
    """Closed streams (`>&-`) become empty ones; a terminal that lacks a character shows its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
        elif mode == "w":
            getattr(sys, name).reconfigure(errors="backslashreplace")


def run(arguments):
    """Exit status: 0 fine, 1 a negative verdict, 2 bad input or usage, 130 interrupted.

    Messages go to stderr, a line each.
    """
    try:
        status = app(arguments or ["--help"], prog_name="cellwarden", standalone_mode=False)
        if status == _INTERRUPTED:  # what typer makes of Ctrl-C
            raise KeyboardInterrupt
        return status if isinstance(status, int) else 0
    except InputError as error:
        return _say(f"cellwarden: {error}", 2)
    except typer.Exit as error:
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return _say("cellwarden: interrupted; nothing half written is left", _INTERRUPTED)
    except _UsageError as error:
        context = getattr(error, "ctx", None)
        where = context.command_path if context else "cellwarden"
        return _say(f"{where}: {error.format_message().rstrip('.')}; see `{where} --help`", 2)
    except (BrokenPipeError, SystemExit):
        return 0  # `| head`: typer and rich make an exit of it
    except OSError as error:
        return _unwritable(error)
    except MemoryError:
        return _say("cellwarden: not enough memory", 2)


def _unwritable(error):
    text = f"{error.filename or 'standard output'}: cannot be used ({error.strerror or error})"
    return _say(f"cellwarden: {text}; expected room on the disk and the right to write", 2)


def _say(text, status):
    print(text, file=sys.stderr)
    return status
