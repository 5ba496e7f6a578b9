"""A vehicle whose decoder is too long for one function of MicroPython's bytecode: a thousand cells."""

import random

import pytest
from cellwarden_tools.compiler.image import compile_profile

MESSAGES, PAGES = 140, 146  # four cells a message, three a page of one more


@pytest.fixture(scope="module")
def thousand(tmp_path_factory):
    folder = tmp_path_factory.mktemp("thousand")
    numbers = iter(range(1, 2000))
    lines = ['VERSION ""', "NS_ :", "BS_:", "BU_: BMS"]
    for message in range(MESSAGES):
        lines.append(f"BO_ {256 + message} Cells{message}: 8 BMS")
        lines += [f' SG_ Cell{next(numbers)} : {16 * k}|16@1+ (0.001,0) [0|5] "V" X' for k in range(4)]
    lines += ["BO_ 1000 Paged: 8 BMS", ' SG_ Page M : 0|8@1+ (1,0) [0|255] "" X']
    for page in range(PAGES):
        lines += [
            f' SG_ Cell{next(numbers)} m{page} : {8 + 16 * k}|16@1+ (0.001,0) [0|5] "V" X'
            for k in range(3 if page < PAGES - 1 else 2)
        ]
    cells = next(numbers) - 1
    (folder / "long.dbc").write_text("\n".join(lines) + "\n")
    (folder / "long.toml").write_text(
        f'[vehicle]\nname = "long"\nchemistry = "nmc"\ncells = {cells}\ndeadline_ms = 5000\n'
        '[[bus]]\ndbc = "long.dbc"\n[signals]\ncell_voltage = "*.Cell{n}"\n'
    )
    return compile_profile(folder / "long.toml").image


def test_a_thousand_cells_are_judged_alike_on_every_port(port, cpython, thousand):
    chance = random.Random(7)
    frames = []
    for t_ms in range(0, 3000, 2):
        frames.append((t_ms * 1000, 0, 256 + chance.randrange(MESSAGES), bytes(chance.choices(range(8, 18), k=8))))
        page = bytes([chance.randrange(PAGES)])
        frames.append((t_ms * 1000, 0, 1000, page + bytes(chance.choices(range(8, 18), k=7))))
    wanted = cpython.judge(thousand, frames)
    assert wanted[0], "the cells of random bytes raised nothing: the test would prove nothing"
    assert port.judge(thousand, frames, heap=8 << 20) == wanted
