"""The update image: one file with all that a box runs, and who signed it (docs/update.md).

    CWU1, int32 bytes of the manifest, int32 bytes of the signature, manifest, signature, the files one after another

The manifest is text, a fact a line, and holds the SHA-256 of each file; the signature is of the manifest. A permit,
which lets a box do what it else refuses, has the same form and no files.
"""

import hashlib
import io
import struct
from binascii import hexlify, unhexlify

from . import boot, lms

MARK = b"CWU1"
HEAD_BYTES = 12
MOST_MANIFEST_BYTES = 1 << 15
MOST_FILES = 300
MOST_FILE_BYTES = 1 << 24
MOST_PATH = 80
MOST_COUNTER = (1 << 30) - 1
TREES = 2  # levels of the key: a root that signs trees, and trees that sign images
ALLOWED = ("older", "busy")
_IMAGE = (b"board", b"vehicle", b"version", b"from", b"counter", b"runs")
_PERMIT = (b"board", b"vehicle", b"image", b"allow")
_SLASH = 47


class Refused(Exception):
    """An update is not taken. reason: a word of REASONS; text: for people, a line."""

    def __init__(self, reason, text):
        super().__init__("%s (%s)" % (REASONS[reason], text))  # noqa: UP031
        self.reason, self.text = reason, text


REASONS = {
    "form": "this is no update image that this box understands",
    "signature": "it is not signed with the key this box trusts",
    "board": "it is for another board",
    "vehicle": "it is for another vehicle",
    "runs": "it is built for another MicroPython",
    "version": "it needs a newer version to start from",
    "counter": "it is older than what this box has run",
    "leaf": "its signature reuses a leaf of the key, or is older than one accepted before",
    "source": "it could not be read to its end",
    "file": "a file in it is not the one that was signed",
    "storage": "the box could not store it",
    "busy": "the box must not be updated now",
    "trial": "an update is on trial already",
    "permit": "the permit is for something else",
}


class Manifest:
    """What the signed manifest of an image says.

    data: its bytes; sha256: of them; leaves: of the key, from the root's, that signed it; board, vehicle, runs: texts;
    version, from_version: three ints; counter: int; files: [(path, size, SHA-256)]
    """

    def __init__(self, data, leaves):
        """Raises Refused for bytes that are no manifest."""
        self.data, self.leaves, self.sha256 = data, leaves, hashlib.sha256(data).digest()
        (self.board, self.vehicle, now, least, counter, self.runs), lines = _facts(data, b"cellwarden update 1", _IMAGE)
        try:
            self.version, self.from_version, self.counter = version(now), version(least), int(counter)
            if not 0 < self.counter <= MOST_COUNTER or str(self.counter) != counter:
                raise ValueError
            self.files = _files(lines, data)
        except ValueError:
            raise Refused("form", "a line of its manifest is not as expected")  # noqa: B904


class Permit:
    """Lets a box do what it else refuses. image: SHA-256 of the manifest it is for; allow: of ALLOWED."""

    def __init__(self, data, leaves):
        """Raises Refused for bytes that are no permit."""
        self.data, self.leaves, self.sha256 = data, leaves, hashlib.sha256(data).digest()
        (self.board, self.vehicle, image, allow), lines = _facts(data, b"cellwarden permit 1", _PERMIT)
        self.allow = tuple(allow.split(" "))
        try:
            self.image = unhexlify(image)
        except ValueError:
            self.image = b""
        if lines or len(self.image) != 32 or [word for word in self.allow if word not in ALLOWED]:
            raise Refused("form", "a line of the permit is not as expected")


def _facts(data, first, names):
    """(values of the named lines, lines behind them). Raises Refused."""
    lines = data.split(b"\n")
    values = []
    if lines[0] == first and lines[-1] == b"" and len(lines) > len(names) + 1:
        for i in range(len(names)):
            name, _, value = lines[i + 1].partition(b" ")
            if name == names[i] and value and not [c for c in value if not 32 <= c < 127]:
                values.append(value.decode())
    if len(values) != len(names):
        raise Refused("form", "its first lines are not as expected")
    return values, lines[len(names) + 1 : -1]


def version(text):
    """ "1.2.3" -> (1, 2, 3). Raises ValueError."""
    numbers = tuple([int(part) for part in text.split(".")])
    if len(numbers) != 3 or min(numbers) < 0 or ".".join([str(number) for number in numbers]) != text:
        raise ValueError
    return numbers


def _files(lines, data):
    """[(path, size, SHA-256)]. Raises ValueError for lines, paths or sizes that are not as they should be."""
    files = list(boot.listed(data))
    if not 0 < len(files) == len(lines) <= MOST_FILES:
        raise ValueError
    before = ""
    for i in range(len(files)):
        path, size, digest = files[i]
        if lines[i] != file_line(path, size, digest) or not path > before:
            raise ValueError
        if not 0 <= size <= MOST_FILE_BYTES or len(digest) != 32 or not good_path(path):
            raise ValueError
        before = path
    return files


def file_line(path, size, digest):
    """The line of a file in a manifest."""
    return b" ".join((b"file", str(size).encode(), hexlify(digest), path.encode()))


def good_path(path):
    """Whether a file of a slot may be called so: names of ASCII letters, digits, `_`, `-` and `.`, with / between."""
    if len(path) > MOST_PATH or path in ("manifest", "signature"):
        return False
    before = _SLASH
    for c in path.encode():
        if not (97 <= c <= 122 or 45 <= c <= 57 or 65 <= c <= 90 or c == 95):  # a-z, - . / 0-9, A-Z, _
            return False
        if before == _SLASH and c <= _SLASH:  # no empty name, and none that begins with `.` or `-`
            return False
        before = c
    return before != _SLASH


def read_signed(source, key, form=Manifest):
    """The Manifest (or Permit) of which `key`, 60 bytes, signed every byte. source: a file at its beginning.

    Raises Refused. The result also has signature: its bytes; files_at: where in `source` the files begin.
    """
    head = _take(source, HEAD_BYTES)
    if head[:4] != MARK:
        raise Refused("form", "it does not begin with CWU1")
    size, signed = struct.unpack("<II", head[4:])
    if not 0 < size <= MOST_MANIFEST_BYTES:
        raise Refused("form", "its manifest would have %d bytes" % size)  # noqa: UP031
    if not 0 < signed <= MOST_MANIFEST_BYTES:
        raise Refused("form", "its signature would have %d bytes" % signed)  # noqa: UP031
    data = _take(source, size)
    signature = _take(source, signed)
    leaves = lms.verify(key, io.BytesIO(signature), (data,))
    if leaves is None or len(leaves) != TREES:
        raise Refused("signature", "checked with HSS/LMS")
    found = form(data, leaves)
    found.signature, found.files_at = signature, HEAD_BYTES + size + signed
    return found


def piece(source, count, at=None):
    """Up to `count` bytes of a file, from its byte `at` on where that is given; none at its end. Raises Refused."""
    try:
        if at is not None:
            source.seek(at)
        return source.read(count)
    except OSError as error:
        raise Refused("source", "error %s" % error)  # noqa: B904, UP031


def _take(source, count):
    data = b""
    while len(data) < count:
        more = piece(source, count - len(data))
        if not more:
            raise Refused("form", "it ends %d bytes too early" % (count - len(data)))  # noqa: UP031
        data += more
    return data
