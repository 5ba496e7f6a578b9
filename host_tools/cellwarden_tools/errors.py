"""What goes wrong for a user, as one line."""

import difflib


class InputError(Exception):
    """Bad input or usage. `str()` is the one line the user sees; the command exits with status 2.

    where:    file, or file:line, or file:byte N
    what:     what is wrong there
    expected: what was expected instead (optional)
    mend:     how to mend it (optional)
    """

    def __init__(self, where, what, expected="", mend=""):
        text = f"{where}: {what}"
        if expected:
            text += f"; expected {expected}"
        if mend:
            text += f"; {mend}"
        super().__init__(text.replace("\n", " "))
        self.where, self.what, self.expected, self.mend = str(where), what, expected, mend


def did_you_mean(name, names):
    """`; did you mean `X`?` for the nearest of `names`, or an empty string."""
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"; did you mean `{near[0]}`?" if near else ""
