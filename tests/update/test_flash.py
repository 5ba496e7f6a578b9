"""An image comes onto a box over its serial line whole or not at all, however bad the line is."""

import hashlib
import hmac
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from boxes import BOARD, Maker, small_files
from cellwarden.blackbox.form import UPDATE_TYPE
from cellwarden.update.image import Refused
from cellwarden.update.slots import Slots
from cellwarden_tools.blackbox.contents import chain_entries, fields
from cellwarden_tools.blackbox.verify import Verification
from cellwarden_tools.cli import run
from cellwarden_tools.engines.micropython import find_micropython
from cellwarden_tools.errors import InputError
from cellwarden_tools.key_file import read_key
from cellwarden_tools.simulator import DEMO_PROFILE
from cellwarden_tools.simulator.run import simulate
from cellwarden_tools.update import build
from cellwarden_tools.update.flash import Flash
from cellwarden_tools.update.repl import Crashed, Repl
from pty_board import Line, Unplugged


@pytest.fixture
def micropython(found):
    return found(find_micropython)[0]


@pytest.fixture
def maker(tmp_path):
    return Maker(tmp_path)


@pytest.fixture
def folder(tmp_path):
    """Where the box keeps its files."""
    (tmp_path / "box").mkdir()
    return tmp_path / "box"


def files(counter):
    return small_files(counter) | {"main.py": b"print('version %d runs')\n" % counter}


def flash(micropython, maker, folder, path, spoil=lambda data, to_board: data, seconds=5):
    with Line(micropython, folder, spoil) as line, Flash(line.port, str(folder), seconds=seconds) as box:
        return box.put_on(path, maker.key, BOARD)


def runs(micropython, folder):
    """What the box says when it starts, in its own MicroPython."""
    script = f"import sys\nsys.path.insert(0, {str(folder)!r})\nimport boot\nboot.start({str(folder)!r})\nimport main\n"
    done = subprocess.run([micropython, "-c", script], capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else None


def test_a_bare_board_becomes_a_running_box_and_then_takes_an_update(micropython, maker, folder):
    flash(micropython, maker, folder, maker.image(1, files(1)))
    assert runs(micropython, folder) == "version 1 runs\n"
    flash(micropython, maker, folder, maker.image(2, files(2)))
    assert [runs(micropython, folder) for _ in range(4)] == ["version 2 runs\n"] * 3 + ["version 1 runs\n"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "a",
        "b",
        "boot.a",
        "boot.b",
        "boot.py",
        "box.id",
        "main.py",
    ]


def drive(path, minutes=5):
    """A candump log of the demonstration pack."""
    with open(path, "w") as file:
        for t, _, i, data in simulate("healthy_drive", DEMO_PROFILE, 1, minutes):
            file.write(f"({t / 1e6:.6f}) can0 {i & 0x1FFFFFFF:0{8 if i >> 29 else 3}X}#{data.hex()}\n")


def last_status(python, folder, log):
    """The last status of a gateway's box that has run from its slot over a log."""
    words = ["-b", f"replay:{log}", "--report", "600"]
    done = subprocess.run([*python, folder / "main.py", *words], capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-600:]
    return json.loads(done.stdout.splitlines()[-1].removeprefix("# "))


@pytest.mark.long(but=["linux_python"])
@pytest.mark.parametrize("board", ["linux_gateway", "linux_python"])
def test_the_demonstration_from_the_profile_to_a_confirmed_update(found, board, tmp_path, monkeypatch, capsys):
    micropython = found(find_micropython)[0]
    python = [micropython, "-X", "heapsize=2m"] if board == "linux_gateway" else [sys.executable]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(Path(micropython).parent), prepend=":")
    folder = tmp_path / "box"
    folder.mkdir()
    drive(tmp_path / "drive.log")
    assert run(["keys", "root", "company", "--height", "5"]) == 0
    assert run(["keys", "tree", "office", "--root", "company.key", "--height", "5"]) == 0
    flash = ["flash", str(folder), "-i", "box.cwu", "--board", board, "--key", "company.pub"]
    flash += ["--vehicle-id", "LSVTEST0000000001", "--box-key", "box.key", "--history", "history.jsonl"]
    assert run(["keys", "operator", "operators.key"]) == 0
    flash += ["--operator-key", "operators.key"]
    for n, why in ((1, "first installed"), (2, "confirmed by its own good scans")):
        build = ["update", "build", str(DEMO_PROFILE), "--board", board, "--version", f"1.{n}.0", "--counter", str(n)]
        build += ["--key", "office.key", "--history", "history.jsonl", "-o", "box.cwu"]
        assert run(build) == 0, capsys.readouterr().err
        before = sorted(folder.rglob("*"))
        assert run([*flash, "--dry-run"]) == 0, capsys.readouterr().err
        assert sorted(folder.rglob("*")) == before
        assert run(flash) == 0, capsys.readouterr().err
        assert "is whole on the box" in capsys.readouterr().out
        assert run(flash) == 0, "the same once more is no fault"
        status = last_status(python, folder, tmp_path / "drive.log")
        assert (status["update"]["version"], status["update"]["why"]) == (f"1.{n}.0", why)
        assert status["log"]["lost_records"] == 0 and status["scans"] > 600
        assert last_status(python, folder, tmp_path / "drive.log")["update"]["version"] == f"1.{n}.0", "and once more"
    capsys.readouterr()
    assert run(["device", str(folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["slots"] == [
        {"slot": "a", "version": "1.1.0", "counter": 1, "whole": True},
        {"slot": "b", "version": "1.2.0", "counter": 2, "whole": True},
    ]
    assert (told["board"], told["vehicle"], told["confirmed"], told["state"]) == (board, "demo-96s", "b", "steady")
    history = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [(line["what"], line["counter"]) for line in history] == [
        ("built", 1), ("flashed", 1), ("flashed", 1), ("built", 2), ("flashed", 2), ("flashed", 2),
    ]  # fmt: skip
    software = [hashlib.sha256((folder / slot / "manifest").read_bytes()).hexdigest() for slot in "ab"]
    assert {line["counter"]: line["sha256"] for line in history} == dict(zip((1, 2), software, strict=True))
    log = Verification(folder / "data" / "log", read_key(tmp_path / "box.key"))
    assert log.intact and log.complete
    told = [fields(entry) for entry in chain_entries(log) if entry.record and entry.record.type == UPDATE_TYPE]
    assert [(row["why"], row["minor"], row["counter"], row["manifest"]) for row in told] == [
        ("first installed", 1, 1, software[0]),
        ("first installed", 1, 1, software[0]),
        ("on trial", 2, 2, software[1]),
        ("confirmed by its own good scans", 2, 2, software[1]),
        ("confirmed by its own good scans", 2, 2, software[1]),
    ]
    given, master = (folder / "data" / "operator.a").read_bytes(), bytes.fromhex(Path("operators.key").read_text())
    own = hmac.new(master, b"cellwarden operator key 1\nLSVTEST0000000001\n1", "sha256").digest()
    assert given[8:40].rstrip(b"\0") == b"LSVTEST0000000001" and given[40:72] == own
    assert given == (folder / "data" / "operator.b").read_bytes()
    (folder / "b" / "one.more").touch()
    capsys.readouterr()
    assert run(["device", str(folder), "--json"]) == 1
    slots = json.loads(capsys.readouterr().out)["slots"]
    assert [slot["whole"] for slot in slots] == [True, False], "a file more, and it does not run"
    (folder / "b" / "manifest").write_bytes(b"rotten")
    assert run(["device", str(folder)]) == 1 and run(["device", str(tmp_path)]) == 2
    assert "no Cellwarden on it" in capsys.readouterr().err


def test_the_plug_is_pulled_anywhere_and_the_same_command_goes_on(micropython, maker, folder):
    flash(micropython, maker, folder, maker.image(1, files(1)))
    path = maker.image(2, files(2))
    passed = [0]

    def counted(data, to_board):
        passed[0] += len(data)
        if passed[0] > unplugged_at:
            raise Unplugged
        return data

    chance, times = random.Random(7), 0
    for _ in range(100):
        unplugged_at, passed[0] = chance.randrange(100, 30000), 0
        try:
            flash(micropython, maker, folder, path, counted)
            break
        except InputError as error:
            times += 1
            assert "the conversation fails" in str(error)
            if (said := runs(micropython, folder)) == "version 2 runs\n":
                break  # what was lost is the answer to the last call
            assert said == "version 1 runs\n"
    assert times > 5
    assert runs(micropython, folder) == "version 2 runs\n"


@pytest.mark.long(but=["0", "1"])
@pytest.mark.parametrize("seed", range(4))
def test_noise_lost_and_doubled_bytes_never_make_a_file_other_than_it_was_signed(micropython, maker, folder, seed):
    flash(micropython, maker, folder, maker.image(1, files(1)))
    path = maker.image(2, files(2))
    chance, spoiled = random.Random(seed), [0]

    def noise(data, to_board):
        out = bytearray()
        for byte in data:
            fault = chance.randrange(6000)
            spoiled[0] += fault < 3
            out += (
                (bytes((byte ^ 1 << chance.randrange(8),)), b"", bytes((byte, byte)))[fault]
                if fault < 3
                else bytes((byte,))
            )
        return bytes(out)

    try:
        flash(micropython, maker, folder, path, noise, seconds=0.3)
        may_run = ("version 2 runs\n",)
    except (InputError, Refused):  # the line was too bad, before the last call or for its answer
        may_run = ("version 1 runs\n", "version 2 runs\n")
    assert spoiled[0] > 5
    assert runs(micropython, folder) in may_run
    flash(micropython, maker, folder, path)
    assert runs(micropython, folder) == "version 2 runs\n"


def test_what_the_box_refuses_is_said_and_what_ran_still_runs(micropython, maker, folder):
    never, older = maker.image(1, files(1), "never"), maker.image(1, files(1))
    flash(micropython, maker, folder, older)
    flash(micropython, maker, folder, maker.image(2, files(2)))
    assert Slots(str(folder), maker.box).confirm()
    for path in (never, older):
        with pytest.raises(Refused) as caught:
            flash(micropython, maker, folder, path)
        assert caught.value.reason == "leaf"
        assert runs(micropython, folder) == "version 2 runs\n"


def test_a_box_of_which_both_slots_rotted_takes_its_image_again(micropython, maker, folder):
    path = maker.image(1, files(1))
    flash(micropython, maker, folder, path)
    (folder / "a" / "main.py").unlink()
    assert runs(micropython, folder) is None
    flash(micropython, maker, folder, path)
    assert runs(micropython, folder) == "version 1 runs\n"


def test_a_board_of_another_kind_or_name_or_key_is_left_alone(micropython, maker, folder, tmp_path):
    with pytest.raises(InputError, match="is for the board another"):
        flash(micropython, maker, folder, maker.image(1, files(1), board="another"))
    with pytest.raises(InputError, match=r"is built for mpy 6.3 armv6m; expected what this box runs, mpy 6.3 x64"):
        flash(micropython, maker, folder, maker.image(2, files(2), built_for=build.runs("armv6m")))
    assert list(folder.iterdir()) == []
    flash(micropython, maker, folder, maker.image(3, files(3)))
    (tmp_path / "stranger").mkdir()
    stranger = Maker(tmp_path / "stranger")
    with pytest.raises(InputError, match=r"box/box.id: is of another kind already"):
        flash(micropython, stranger, folder, stranger.image(4, files(4)))
    assert runs(micropython, folder) == "version 3 runs\n"


def test_a_gateways_folder_takes_an_image_and_runs_it_with_cpython(maker, folder, capsys):
    (folder.parent / "key.pub").write_bytes(maker.key)

    def put(path, board=BOARD):
        return run(["flash", str(folder), "-i", str(path), "--board", board, "--key", str(folder.parent / "key.pub")])

    first = maker.image(1, files(1))
    assert put(first) == 0
    assert runs(sys.executable, folder) == "version 1 runs\n"
    assert put(maker.image(2, files(2))) == 0
    assert runs(sys.executable, folder) == "version 2 runs\n"
    assert Slots(str(folder), maker.box).confirm()
    assert put(first) == 1
    assert "its signature reuses a leaf of the key, or is older" in capsys.readouterr().err
    assert put(maker.image(3, files(3)), "another") == 2
    assert "is for the board demo-board" in capsys.readouterr().err


ON_LITTLEFS = """
import vfs


class Ram:
    def __init__(self, blocks):
        self.data = bytearray(blocks * 4096)

    def readblocks(self, block, buffer, offset=0):
        at = block * 4096 + offset
        buffer[:] = self.data[at : at + len(buffer)]

    def writeblocks(self, block, buffer, offset=0):
        at = block * 4096 + offset
        self.data[at : at + len(buffer)] = buffer

    def ioctl(self, request, block):
        return {4: len(self.data) // 4096, 5: 4096}.get(request, 0)


ram = Ram(64)
vfs.%s.mkfs(ram)
vfs.mount(vfs.%s(ram), "/flash")
print("there")
"""


def prepared(line, system):
    with Repl(line.port) as repl:
        repl.enter()
        assert b"there" in repl.run(ON_LITTLEFS % (system, system))


def test_a_board_with_littlefs_takes_an_image(micropython, maker, folder):
    with Line(micropython, folder) as line:
        prepared(line, "VfsLfs2")
        for n in (1, 2):
            with Flash(line.port, "/flash") as box:
                assert box.facts["files"] == "VfsLfs2" and box.facts["free"] > 10000
                box.put_on(maker.image(n, files(n)), maker.key, BOARD)
        with Repl(line.port) as repl:
            repl.enter()
            said = repl.run("import sys\nsys.path.insert(0, '/flash')\nimport boot\nboot.start('/flash')\nimport main")
            assert said == b"version 2 runs\r\n"
            with pytest.raises(Crashed, match="ImportError"):
                repl.run("import no_such_module")
    assert list(folder.iterdir()) == []


def test_a_board_with_fat_is_refused(micropython, maker, folder):
    with Line(micropython, folder) as line:
        prepared(line, "VfsFat")
        with (
            Flash(line.port, "/flash") as box,
            pytest.raises(InputError, match="keeps its files on VfsFat; expected littlefs"),
        ):
            box.put_on(maker.image(1, files(1)), maker.key, BOARD)
        with Repl(line.port) as repl:
            repl.enter()
            assert repl.run("import os\nprint(os.listdir('/flash'))") == b"[]\r\n"


# A board's own block device, as a port names it; unplugged parts of the RAM above.
OWN_DEVICE = """
import sys

class Module:
    @staticmethod
    def Flash():
        return ram

sys.modules["rp2"] = Module
print("there")
"""


def test_fat_is_made_littlefs_where_that_was_asked_for_and_nothing_else_is_formatted(micropython, maker, folder):
    with Line(micropython, folder) as line:
        prepared(line, "VfsFat")
        with Repl(line.port) as repl:
            repl.enter()
            assert b"there" in repl.run(OWN_DEVICE)
            repl.run("with open('/flash/old.txt', 'w') as file:\n    file.write('gone')")
        with Flash(line.port, "/flash") as box:
            box.format()
            assert box.facts["files"] == "VfsLfs2"
            box.put_on(maker.image(1, files(1)), maker.key, BOARD)
            box.format()  # it is no FAT any more: all stays
        with Repl(line.port) as repl:
            repl.enter()
            said = repl.run("import sys\nsys.path.insert(0, '/flash')\nimport boot\nboot.start('/flash')\nimport main")
            assert said == b"version 1 runs\r\n"
            assert b"old.txt" not in repl.run("import os\nprint(os.listdir('/flash'))")


def test_a_full_board_keeps_what_ran(micropython, maker, folder):
    with Line(micropython, folder) as line:
        prepared(line, "VfsLfs2")
        with Flash(line.port, "/flash") as box:
            box.put_on(maker.image(1, files(1)), maker.key, BOARD)
        large = files(2) | {"large.bin": bytes(250_000)}
        with Flash(line.port, "/flash") as box, pytest.raises(InputError, match="has no room for it"):
            box.put_on(maker.image(2, large), maker.key, BOARD)
        with Repl(line.port) as repl:
            repl.enter()
            said = repl.run("import sys\nsys.path.insert(0, '/flash')\nimport boot\nboot.start('/flash')\nimport main")
            assert said == b"version 1 runs\r\n"


def fake_ssh(folder, monkeypatch, words):
    (folder / "bin").mkdir()
    (folder / "bin" / "ssh").write_text(f"#!/bin/sh\nfor word; do last=$word; done\n{words}\n")
    (folder / "bin" / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder / "bin"), prepend=os.pathsep)


def over_ssh(maker, folder, path, gateway="box@gateway"):
    (folder.parent / "key.pub").write_bytes(maker.key)
    words = ["-i", str(path), "--board", BOARD, "--key", str(folder.parent / "key.pub"), "--python", sys.executable]
    return run(["flash", f"ssh:{gateway}:{folder}", *words])


def test_a_gateway_behind_ssh_takes_an_image_as_one_here_does(maker, folder, gateway, capsys):
    first = maker.image(1, files(1))
    assert over_ssh(maker, folder, first, gateway) == 0, capsys.readouterr().err
    assert runs(sys.executable, folder) == "version 1 runs\n"
    assert over_ssh(maker, folder, maker.image(2, files(2)), gateway) == 0
    assert runs(sys.executable, folder) == "version 2 runs\n"
    assert Slots(str(folder), maker.box).confirm()
    assert over_ssh(maker, folder, first, gateway) == 1
    assert "its signature reuses a leaf of the key, or is older" in capsys.readouterr().err


def test_a_link_to_a_gateway_that_breaks_off_is_made_anew(maker, folder, tmp_path, monkeypatch, capsys):
    """Each connection dies after some kilobytes of what it is sent."""
    fake_ssh(tmp_path, monkeypatch, 'stdbuf -o0 head -c 100000 | sh -c "$last"')
    large = files(1) | {"large.bin": bytes(range(256)) * 600}
    assert over_ssh(maker, folder, maker.image(1, large)) == 0, capsys.readouterr().err
    assert runs(sys.executable, folder) == "version 1 runs\n"
    assert (folder / "a" / "large.bin").read_bytes() == large["large.bin"]


def test_a_gateway_that_cannot_be_reached_is_said_in_ssh_s_words(maker, folder, tmp_path, monkeypatch, capsys):
    fake_ssh(tmp_path, monkeypatch, 'echo "ssh: connect to host gateway port 22: No route to host" >&2; exit 255')
    assert over_ssh(maker, folder, maker.image(1, files(1))) == 2
    assert "No route to host" in capsys.readouterr().err
    for port in ("ssh:gateway", "ssh:a@b:relative", "ssh:-oProxyCommand=x:/y"):
        words = ["-i", str(maker.image(2, files(2))), "--board", BOARD, "--key", str(tmp_path / "key.pub")]
        assert run(["flash", port, *words]) == 2
        assert "names no gateway; expected ssh:USER@HOST:/FOLDER" in capsys.readouterr().err
