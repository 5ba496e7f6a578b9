"""The MicroPython that behaves as a board does on its serial port, which flash and updates are tried on."""

import time

import pytest
from cellwarden_tools.engines.micropython import find_micropython
from cellwarden_tools.errors import InputError
from cellwarden_tools.hil.console import Console
from cellwarden_tools.update.repl import Repl


@pytest.fixture
def micropython():
    try:
        return find_micropython()
    except InputError as error:
        pytest.skip(str(error))


def hear(port, seconds=20):
    """What a board says until it has said `done`."""
    import serial

    said, end = b"", time.monotonic() + seconds
    with serial.Serial(port, timeout=0.1) as line:
        while b"done" not in said and time.monotonic() < end:
            said += line.read(200)
    return said


def test_a_board_without_files_shows_its_prompt(micropython, tmp_path):
    with Console([micropython], tmp_path) as console, Repl(console.port) as repl:
        repl.enter()
        assert repl.run("print(6 * 7)").strip() == b"42"
        assert console.starts == 1


def test_boot_and_main_run_ctrl_c_gives_the_prompt_and_an_end_is_a_reset(micropython, tmp_path):
    (tmp_path / "boot.py").write_text("print('boot')\n")
    (tmp_path / "main.py").write_text("import time\nprint('main')\nprint('done')\ntime.sleep(60)\n")
    with Console([micropython], tmp_path) as console:
        said = hear(console.port)
        assert said.index(b"boot") < said.index(b"main")
        with Repl(console.port) as repl:
            repl.enter()
            assert console.starts == 1
            (tmp_path / "main.py").write_text("print('again')\nprint('done')\n")
            repl.reset()
        end = time.monotonic() + 20
        assert b"again" in hear(console.port)
        while console.starts < 4 and time.monotonic() < end:
            time.sleep(0.05)
        assert console.starts >= 4, "a main.py that ends is started anew"


def test_what_passes_can_be_spoilt(micropython, tmp_path):
    def spoil(data, to_board):
        return data if to_board else data.replace(b"42", b"17")

    with Console([micropython], tmp_path, spoil) as console, Repl(console.port) as repl:
        repl.enter()
        assert repl.run("print(6 * 7)").strip() == b"17"
