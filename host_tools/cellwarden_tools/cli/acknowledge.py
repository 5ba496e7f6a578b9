"""`cellwarden acknowledge`: release a latched alarm in a saved state, with a key."""

from pathlib import Path
from typing import Annotated

import typer


def acknowledge(
    state: Annotated[Path, typer.Argument(metavar="STATE", help="A state that `replay --state-out` saved.")],
    profile: Annotated[
        Path, typer.Option("-p", "--profile", help="The vehicle profile (TOML) or image it was saved with.")
    ],
    rule: Annotated[str, typer.Option(help="The rule whose alarm was looked at.")],
    key: Annotated[Path, typer.Option(metavar="FILE", help="The key: 32 bytes, or 64 hexadecimal digits.")],
    tag: Annotated[str | None, typer.Option(metavar="HEX", help="The tag that releases the alarm.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The state with the alarm released.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
):
    """Make the tag that releases an alarm in a saved state; with a tag, check it and save the state released."""
    import cellwarden.engine
    from cellwarden.acknowledge import acknowledge, challenge, hmac_sha256
    from cellwarden.core import layout as L

    from ..errors import InputError
    from ..key_file import read_key
    from ..snapshot import Snapshot, read_snapshot, write_snapshot
    from ..vehicle import Vehicle
    from . import show

    if (tag is None) != (output is None):
        wanted = "--tag and --output, to release the alarm, or neither, to make the tag"
        raise InputError("--output" if tag is None else "--tag", "stands alone", wanted)
    vehicle = Vehicle(profile)
    show.warnings(vehicle.warnings)
    image = vehicle.image()
    snapshot = read_snapshot(state, image)
    engine = cellwarden.engine.Engine(image)
    engine.restore(snapshot.state)
    number = _number(rule, image)
    if not engine.section("rules")[number * L.RULE_SIZE + L.LEVEL_NOW]:
        raise InputError(state, f"no alarm of {rule} is raised in it", "the state in which it was")
    secret, identity = read_key(key), bytes.fromhex(image.sha256)
    ask = challenge(engine, number, identity)
    told = {"rule": rule, "challenge": ask.hex()}
    if tag is None:
        told["tag"] = hmac_sha256(secret, ask).hex()
        show.json_line(told) if json else typer.echo(told["tag"])
        return
    released = acknowledge(engine, secret, number, _tag(tag), snapshot.t_us // 1000 & L.MASK, identity)
    if released:
        write_snapshot(output, image, Snapshot(engine.snapshot(), snapshot.t_us))
    if json:
        show.json_line(told | {"released": released})
    if not released:
        show.message(f"{state}: the tag is not that of this key for {rule} as it stands here; nothing is released")
        raise typer.Exit(1)
    if not json:
        show.message(f"{output}: {rule} is released; it is raised anew where its cause still holds")


def _number(name, image):
    from ..errors import InputError, did_you_mean

    names = [rule["name"] for rule in image.names["rules"]]
    if name not in names:
        raise InputError("--rule", f"no rule `{name}`{did_you_mean(name, names)}", "a rule of the catalogue")
    return names.index(name)


def _tag(text):
    from ..errors import InputError

    try:
        return bytes.fromhex(text)
    except ValueError:
        raise InputError("--tag", "is not hexadecimal", "what `cellwarden acknowledge` prints") from None
