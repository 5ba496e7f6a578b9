"""`cellwarden compile`: profile and DBC in, vehicle image out."""

from pathlib import Path
from typing import Annotated

import typer


def compile(
    profile: Annotated[Path, typer.Argument(metavar="PROFILE", help="The vehicle profile (TOML).")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The image to write.")] = None,
    decoder: Annotated[bool, typer.Option("--decoder", help="Print the generated decoder and stop.")] = False,
    table: Annotated[
        bool, typer.Option("--table", help="For recorded tables, of a profile that has a [[bus]] too.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="JSON lines on stdout.")] = False,
):
    """Build the image of a vehicle: decoder, params, filters, names.

    Prints the coverage table (each rule, active or what it lacks) and the worst scaling error of each signal.
    """
    from ..compiler.image import compile_profile
    from ..errors import InputError
    from . import show

    made = compile_profile(profile, table or None)
    show.warnings(made.warnings)
    if decoder:
        typer.echo(made.image.parts["decoder.py"].decode(), nl=False)
        return
    if output is None:
        raise InputError("compile", "no -o IMAGE", "the file to write", "say -o vehicle.cwi")
    made.image.save(output)
    if json:
        _json(made, output, show)
    else:
        _tables(made, output, show)


def _signals(made):
    """One row a quantity: its signals, unit, and the worst scaling error over its raw values."""
    rows = {}
    for binding, scaling in made.scalings:
        row = rows.setdefault(binding.quantity.name, [binding, 0, scaling.error])
        row[1] += 1
        row[2] = max(row[2], scaling.error)
    return rows


def _json(made, output, show):
    for binding, scaling in made.scalings:
        show.json_line({
            "event": "signal", "quantity": binding.quantity.name, "index": binding.index, "unit": binding.quantity.unit,
            "signal": f"{binding.message.name}.{binding.signal.name}", "worst_error": float(scaling.error),
        })  # fmt: skip
    for rule in made.rules:
        show.json_line(
            {
                "event": "rule",
                "rule": rule.name,
                "active": rule.active,
                "lacks": list(rule.lacks),
                "source": rule.source,
            }
        )
    show.json_line({
        "event": "end", "image": str(output), "sha256": made.image.sha256, "vehicle": made.profile.name,
        "signals": len(made.scalings), "messages": len(made.plan.messages),
        "active": sum(rule.active for rule in made.rules), "rules": len(made.rules),
    })  # fmt: skip


def _tables(made, output, show):
    from ..compiler.rule_table import PHYSICAL, physical

    console = show.console()
    table = show.table("quantity", ("signals", "right"), "from", "unit", ("worst error", "right"))
    for name, (binding, count, error) in _signals(made).items():
        source = f"{binding.message.name}.{binding.signal.name}" + (" …" if count > 1 else "")
        shown = "0" if error == 0 else f"{float(error):.3g}"
        table.add_row(name, str(count), source, binding.quantity.unit, shown)
    console.print(table)
    table = show.table("rule", "", ("level 1", "right"), ("level 2", "right"), ("level 3", "right"), "unit", "lacks")
    for rule in made.rules:
        limits = ["" if x is None else f"{physical(x, rule.unit)[0]:g}" for x in rule.limits]
        state = "active" if rule.active else "inactive"
        table.add_row(rule.name, state, *limits, PHYSICAL[rule.unit][1], ", ".join(rule.lacks))
    console.print(table)
    active = sum(rule.active for rule in made.rules)
    console.print(
        f"{output}: {made.profile.name}, {active} of {len(made.rules)} rules active, sha256 {made.image.sha256[:16]}…"
    )
