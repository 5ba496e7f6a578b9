"""From a bare board to a running box, and what becomes of its updates, by the commands that people give."""

import json
from pathlib import Path

import pytest
from cellwarden_tools import boards
from cellwarden_tools.cli import run
from cellwarden_tools.errors import InputError
from cellwarden_tools.simulator import DEMO_PROFILE

from .conftest import drive


@pytest.fixture
def bare(device, tmp_path, monkeypatch):
    """(device, its port, a function that builds an image and flashes it: its exit status and what it told)."""
    try:
        port = device.bare()
    except InputError as error:
        pytest.skip(str(error))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert run(["keys", "root", "company", "--height", "5"]) == 0
    assert run(["keys", "tree", "office", "--root", "company.key", "--height", "5"]) == 0
    return device, port


def flash(capsys, port, board, n):
    """Exit status of `flash` of version n, the object it told, and its last message."""
    words = ["update", "build", str(DEMO_PROFILE), "--board", str(board), "--version", f"1.{n}.0", "--counter", str(n)]
    assert run([*words, "--key", "office.key", "-o", "box.cwu"]) == 0, capsys.readouterr().err
    capsys.readouterr()
    words = ["flash", port, "-i", "box.cwu", "--board", boards.facts(str(board))["NAME"], "--json"]
    status = run([*words, "--key", "company.pub", "--box-key", "box.key", "--vehicle-id", "LSVTEST0000000001"])
    said = capsys.readouterr()
    return status, json.loads(said.out.splitlines()[-1]), said.err


def test_a_bare_board_runs_then_takes_an_update_and_gives_up_one_that_does_not_work(bare, tmp_path, capsys):
    device, port = bare
    status, told, said = flash(capsys, port, device.board, 1)
    assert status == 0, said
    first = told["status"]
    assert (first["update"]["version"], first["update"]["why"]) == ("1.1.0", "first installed")
    assert not first["box_hazards"] and first["log"]["boot"] == 1, "its self-test, and a log with the key it was given"

    status, told, said = flash(capsys, port, device.board, 2)
    assert status == 0, said
    trial = told["status"]["update"]
    assert (trial["version"], trial["why"], trial["starts_left"], trial["slot"]) == ("1.2.0", "on trial", 2, "b")
    tester = device.listen(port)
    tester.play(drive("healthy_drive", 0, minutes=2), speed=4)

    def confirmed():
        return tester.statuses and tester.statuses[-1]["update"]["why"] == "confirmed by its own good scans"

    assert tester.wait(confirmed, 120), tester.statuses[-1:]
    device.hang_up()

    sound = Path(boards.facts(device.board)["path"]).read_text(encoding="utf-8")
    assert "    return [Slcan(" in sound
    (tmp_path / "broken.py").write_text(
        sound.replace("    return [Slcan(", "    raise OSError(19)\n    return [Slcan(")
    )
    status, told, said = flash(capsys, port, tmp_path / "broken.py", 3)
    assert status == 1 and "does not come up with 1.3.0" in said and "OSError: [Errno 19]" in said
    assert "the slot on trial did not confirm itself" in said
    last = told["status"]["update"]
    assert (last["version"], last["slot"], last["starts_left"]) == ("1.2.0", "b", None), "what ran before runs"
    history = [json.loads(line) for line in (tmp_path / "updates.jsonl").read_text().splitlines()]
    assert [(line["what"], line["version"], line.get("good")) for line in history] == [
        ("built", "1.1.0", None), ("flashed", "1.1.0", True), ("built", "1.2.0", None), ("flashed", "1.2.0", True),
        ("built", "1.3.0", None), ("flashed", "1.3.0", False),
    ]  # fmt: skip
