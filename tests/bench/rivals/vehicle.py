"""What the rivals decode: the messages of the demonstration's DBC that its profile uses, no more."""

import re
from pathlib import Path

from cellwarden_tools.compiler.profile import load_profile
from cellwarden_tools.readers import EXT

PROFILE = Path(__file__).parents[3] / "dbc" / "demo_pack.toml"


def used(profile=PROFILE):
    """(path of the DBC, {identifier with EXT: message name}) of a profile with one bus."""
    loaded = load_profile(profile)
    (bus,) = loaded.buses
    return Path(bus.database.path), {binding.message.can_id: binding.message.name for binding in loaded.bindings}


def used_dbc(profile=PROFILE, one_page=False):
    """The DBC's text with only those messages in it; one_page: and of a multiplexed one only what is on page 0."""
    path, ids = used(profile)
    numbers = {str(can_id & ~EXT | (1 << 31 if can_id & EXT else 0)) for can_id in ids}
    out, inside = [], True
    for line in path.read_text().splitlines(keepends=True):
        if found := re.match(r"BO_ (\d+)", line):
            inside = found[1] in numbers
        elif line.startswith(" SG_"):
            if inside and not (one_page and re.match(r" SG_ \w+ m[1-9]", line)):
                out.append(line)
            continue
        elif found := re.match(r'(?:(?:CM_|BA_ "\w+") (?:BO_|SG_)|VAL_|SG_MUL_VAL_) (\d+)', line):
            inside = found[1] in numbers
        else:
            inside = True
        if inside:
            out.append(line)
    return "".join(out)
