"""`make test` leaves the long tests out, `make test-long` runs them alone; without a word all run."""

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time

import pytest

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # boxes have it not, and what Python writes must not harm them


def pytest_addoption(parser):
    words = {"choices": ["all", "no", "only"], "default": "all", "help": "the tests that are marked `long`"}
    parser.addoption("--long", **words)


def pytest_collection_modifyitems(config, items):
    wanted = config.getoption("long")
    if wanted == "all":
        return
    _look_for_what_is_named(items)
    left = [item for item in items if is_long(item) == (wanted == "no")]
    items[:] = [item for item in items if is_long(item) == (wanted == "only")]
    config.hook.pytest_deselected(items=left)


def is_long(item):
    mark = item.get_closest_marker("long")
    return mark is not None and _parameters(item) not in mark.kwargs.get("but", ())


def _parameters(item):
    return item.callspec.id if hasattr(item, "callspec") else None


def _look_for_what_is_named(items):
    """A mark that excepts what is not there would leave a test out of `make test` unnoticed."""
    there = {(item.parent.nodeid, item.originalname, _parameters(item)) for item in items}
    for item in items:
        mark = item.get_closest_marker("long")
        for name in mark.kwargs.get("but", ()) if mark else ():
            if (item.parent.nodeid, item.originalname, name) not in there:
                raise pytest.UsageError(f"{item.nodeid}: its mark `long` excepts [{name}], which there is not")


SSHD = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PidFile none
SetEnv PATH={path}
"""
SSH = """
Host gateway
HostName 127.0.0.1
Port {port}
IdentityFile {folder}/user
IdentitiesOnly yes
UserKnownHostsFile {folder}/known
HostKeyAlias gateway
StrictHostKeyChecking yes
"""


@pytest.fixture(params=["OpenSSH", "stand-in"])
def gateway(request, tmp_path, monkeypatch):
    """USER@HOST of this machine, by way of a server of OpenSSH, or of a program that runs in a shell what `ssh` would.

    What pip has put beside this Python is found there by its name.
    """
    monkeypatch.setenv("PATH", os.path.dirname(sys.executable), prepend=os.pathsep)
    folder = tmp_path / "ssh"
    (folder / "bin").mkdir(parents=True)
    if request.param == "stand-in":
        _program(folder / "bin", 'for word; do last=$word; done\nexec sh -c "$last"', monkeypatch)
        yield "box@gateway"
        return
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
    sshd, ssh, keygen = (shutil.which(name, path=path) for name in ("sshd", "ssh", "ssh-keygen"))
    if not (sshd and ssh and keygen):
        pytest.skip("no server of OpenSSH: apt-get install openssh-server")
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)  # where systemd makes it no sooner than the server starts
    for name in ("host", "user"):
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "known").write_text("gateway " + (folder / "host.pub").read_text())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for name, text in (("sshd", SSHD), ("client", SSH)):
        (folder / name).write_text(text.format(port=port, folder=folder, path=os.environ["PATH"]))
    _program(folder / "bin", f'exec {ssh} -F {folder}/client "$@"', monkeypatch)
    server = subprocess.Popen([sshd, "-D", "-e", "-f", folder / "sshd"], stderr=(folder / "told").open("wb"))
    try:
        for _ in range(100):
            if server.poll() is not None or b"listening on" in (folder / "told").read_bytes():
                break
            time.sleep(0.1)
        words = [folder / "bin" / "ssh", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20", "gateway", "true"]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            why = done.stderr or (folder / "told").read_text()
            pytest.skip(f"this machine's server of OpenSSH lets nobody in: {why}")
        yield f"{getpass.getuser()}@gateway"
    finally:
        server.terminate()
        server.wait()


def _program(folder, words, monkeypatch):
    (folder / "ssh").write_text(f"#!/bin/sh\n{words}\n")
    (folder / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
