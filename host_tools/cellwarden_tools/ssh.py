"""Another machine, by way of OpenSSH's client: its configuration, keys and known hosts are the user's own."""

import shlex


def over_ssh(host, words, terminal=False):
    """The words of a command that runs `words` on USER@HOST; terminal: with a pseudo terminal there."""
    kind = ["-tt", "-e", "none"] if terminal else ["-T"]
    return ["ssh", *kind, "-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "--", host, shlex.join(words)]
