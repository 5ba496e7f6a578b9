"""Vehicles that differ in one number only, with frames for them: how the core's cost grows."""

import random

HEAD = """[vehicle]
name = "growth"
chemistry = "nmc"
cells = {cells}
deadline_ms = 10000
[[bus]]
dbc = "{dbc}"
[signals]
cell_voltage = "*.Cell{{n}}"
"""
MESSAGES = (8, 24, 60, 150)
CELLS = (48, 96, 192, 384)
PER_PAGE = 3


def write_vehicle(folder, name, cells, lines):
    """A profile and its DBC. Returns the profile's path."""
    (folder / f"{name}.dbc").write_text("\n".join(['VERSION ""', "NS_ :", "BS_:", "BU_: BMS", *lines, ""]))
    path = folder / f"{name}.toml"
    path.write_text(HEAD.format(cells=cells, dbc=f"{name}.dbc"))
    return path


def by_messages(folder, count):
    """(profile, a frame's id and data by number) of a vehicle with so many messages of one cell."""
    lines = []
    for n in range(count):
        lines += [f"BO_ {256 + n} M{n}: 8 BMS", f' SG_ Cell{n + 1} : 0|16@1+ (0.001,0) [0|5] "V" X']
    profile = write_vehicle(folder, f"messages{count}", count, lines)
    return profile, lambda n: (256 + n % count, (3700 + n % 7).to_bytes(8, "little"))


def by_cells(folder, count):
    """(profile, a frame's id and data by number) of a vehicle with so many cells, three a page of one message."""
    pages = count // PER_PAGE
    lines = ["BO_ 256 Cells: 8 BMS", ' SG_ Page M : 0|8@1+ (1,0) [0|255] "" X']
    for cell in range(count):
        page, place = divmod(cell, PER_PAGE)
        lines.append(f' SG_ Cell{cell + 1} m{page} : {8 + 16 * place}|16@1+ (0.001,0) [0|5] "V" X')
    profile = write_vehicle(folder, f"cells{count}", count, lines)

    def frame(n):
        cells = b"".join((3700 + (n + k) % 7).to_bytes(2, "little") for k in range(PER_PAGE))
        return 256, bytes([n % pages]) + cells + b"\0"

    return profile, frame


def frames(frame, count, kinds):
    """`count` frames (t_us, bus, id, data), every kind as often as another, in an order nobody can predict."""
    chance = random.Random(1)
    order = []
    while len(order) < count:
        some = list(range(kinds))
        chance.shuffle(some)
        order += some
    return [(0, 0, *frame(n)) for n in order[:count]]
