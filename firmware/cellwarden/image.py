"""A vehicle image on the box: every part checked against its hash, then ready to run.

It is the file that `cellwarden compile` writes (a ZIP of stored parts), or a folder of the same parts. A folder may
hold the decoder compiled for its board, compiled.mpy, and board.json with its SHA-256 and the image it is of.
"""

import hashlib
import json
import os
import sys
from array import array
from binascii import hexlify

from cellwarden.core import layout as L

NEEDED = ("decoder.py", "params.bin", "names.json", "filters.json")
BLACKBOX = "blackbox.json"
MANIFEST, BOARD = "manifest.json", "board.json"
COMPILED = "compiled.mpy"  # not decoder.mpy: MicroPython would rather import decoder.py
MOST = 1 << 20  # bytes of a part
_DECORATOR = "@micropython.viper\n"


class ImageError(Exception):
    """An image that must not be run; `str()` is one line that says why."""


class Image:
    """params, drain: for Engine; filters: of each bus, (id, mask, extended) each; buses: names of their channels
    identity: SHA-256 of the manifest; vehicle: its name; transmit: None, or {"bus": number, "id": of the alarm frame}
    blackbox: options of the recorder
    """


def load_image(path):
    """Read, check and prepare an image. Raises ImageError."""
    try:
        parts = _Folder(path) if os.stat(path)[0] & 0x4000 else _File(path)
        return _checked(parts)
    except OSError as error:
        raise ImageError("%s: cannot be read (error %s)" % (path, error.args[0])) from None  # noqa: UP031
    except (ValueError, KeyError, IndexError, TypeError, SyntaxError) as error:
        raise ImageError("%s: is no vehicle image (%s)" % (path, error)) from None  # noqa: UP031


def _checked(parts):
    text = parts.read(MANIFEST)
    manifest = json.loads(text)
    hashes = manifest["sha256"]
    for name in NEEDED:
        if name not in hashes:
            raise ValueError("no part " + name)
    for name in hashes:
        if parts.sha256(name) != hashes[name]:
            raise ValueError("part " + name + " does not have its hash")
    if manifest["layout"] != L.FORMAT:
        raise ValueError("layout %s, this core reads %d" % (manifest["layout"], L.FORMAT))  # noqa: UP031
    image = Image()
    image.identity = hashlib.sha256(text).digest()
    image.vehicle, image.transmit = manifest["vehicle"], manifest.get("transmit")
    image.params = array("i", parts.read("params.bin"))
    if sys.byteorder == "big":
        raise ValueError("params are little-endian")
    image.filters = json.loads(parts.read("filters.json"))
    image.buses = json.loads(parts.read("names.json"))["buses"]
    image.blackbox = json.loads(parts.read(BLACKBOX)) if BLACKBOX in hashes else {}
    image.drain = _compiled(parts, image) or _from_source(parts, hashes)
    return image


def _compiled(parts, image):
    """The decoder as it was compiled for this board, or None."""
    if not parts.has(COMPILED):
        return None
    board = json.loads(parts.read(BOARD))
    if board["image"] != hexlify(image.identity).decode() or parts.sha256(COMPILED) != board["sha256"]:
        raise ValueError(COMPILED + " is not of this image")
    sys.path.insert(0, parts.path)
    try:
        import compiled
    finally:
        sys.path.pop(0)
    return compiled.drain


def _from_source(parts, hashes):
    try:
        return _executed(parts.read("decoder.py").decode())
    except SyntaxError:  # a port without native code
        name = "decoder_parts.py" if "decoder_parts.py" in hashes else "decoder.py"
        return _executed(parts.read(name).decode().replace(_DECORATOR, ""))


def _executed(text):
    space = {"__name__": "cellwarden_vehicle"}
    exec(text, space)
    return space["drain"]


class _Parts:
    """`_find(name)` gives (file, bytes) with the file at the part's beginning, or raises KeyError."""

    def read(self, name):
        file, size = self._find(name)
        with file:
            data = file.read(size)
        if len(data) != size:
            raise ValueError("part " + name + " is cut off")
        return data

    def sha256(self, name):
        """As hexadecimal digits, without the whole part in memory."""
        file, size = self._find(name)
        digest = hashlib.sha256()
        with file:
            while size > 0:
                some = file.read(min(size, 512))
                if not some:
                    raise ValueError("part " + name + " is cut off")
                digest.update(some)
                size -= len(some)
        return hexlify(digest.digest()).decode()


class _Folder(_Parts):
    def __init__(self, path):
        self.path = path

    def has(self, name):
        return name in os.listdir(self.path)

    def _find(self, name):
        if not self.has(name):
            raise KeyError("no part " + name)
        name = self.path + "/" + name
        size = os.stat(name)[6]
        if size > MOST:
            raise ValueError("a part of %d bytes" % size)  # noqa: UP031
        return open(name, "rb"), size


class _File(_Parts):
    def __init__(self, path):
        self.path, self._at = path, {}
        with open(path, "rb") as file:
            at = 0
            head = file.read(30)
            while head[:4] == b"PK\3\4" and len(head) == 30:
                size, name = _number(head, 18, 4), file.read(_number(head, 26, 2)).decode()
                if _number(head, 8, 2) or _number(head, 6, 2) & 8 or size > MOST:
                    raise ValueError("its parts are not stored plainly")
                at += 30 + _number(head, 26, 2) + _number(head, 28, 2)
                self._at[name] = (at, size)
                at += size
                file.seek(at)
                head = file.read(30)
        if MANIFEST not in self._at:
            raise ValueError("it has no " + MANIFEST)

    def has(self, name):
        return name in self._at

    def _find(self, name):
        if name not in self._at:
            raise KeyError("no part " + name)
        at, size = self._at[name]
        file = open(self.path, "rb")
        file.seek(at)
        return file, size


def _number(data, at, count):
    number = 0
    for i in range(count):
        number |= data[at + i] << 8 * i
    return number
