"""Another machine, by way of OpenSSH's client: its configuration, keys and known hosts are the user's own."""

import shlex

from .errors import InputError


def gateway_at(port):
    """(USER@HOST, folder without a slash at its end) of ssh:USER@HOST:/FOLDER. Raises InputError."""
    host, _, folder = port.removeprefix("ssh:").partition(":")
    if not host or host.startswith("-") or not folder.startswith("/"):
        raise InputError(port, "names no gateway", "ssh:USER@HOST:/FOLDER")
    return host, folder.rstrip("/")


def over_ssh(host, words, terminal=False):
    """The words of a command that runs `words` on USER@HOST; terminal: with a pseudo terminal there."""
    kind = ["-tt", "-e", "none"] if terminal else ["-T"]
    return ["ssh", *kind, "-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "--", host, shlex.join(words)]
