"""The operator's key: who has it may change a box that runs (docs/device.md).

Each box has its own, made from one master that no box has: the key of one box opens no other.

    key = H(master, "cellwarden operator key 1" name generation)     H: HMAC-SHA256
    tag = H(key, "cellwarden operator 1" name nonce text)            of one command
"""

import struct
from binascii import crc32

from cellwarden.acknowledge import hmac_sha256

NAMES = ("operator.a", "operator.b")
MARK = b"CWO1"
_FORM = "<4sI32s32s"  # mark, generation, name (filled with 0), key; then the CRC-32 of these
KEY_BYTES = 32
MOST_NAME = 32
_KEY, _TAG, _COVER = b"cellwarden operator key 1\n", b"cellwarden operator 1\n", b"cellwarden operator rotate 1\n"


def box_key(master, name, generation):
    """The key of a box, 32 bytes. name: its own, text; generation: from 1, one more with each rotation."""
    return hmac_sha256(master, _KEY + name.encode() + b"\n%d" % generation)


def tag_of(key, name, nonce, text):
    """What shows that the key's owner wants this command done now, 32 bytes. name, nonce, text: str."""
    return hmac_sha256(key, _TAG + (name + "\n" + nonce + "\n" + text).encode())


def covered(key, nonce, other):
    """A new key (32 bytes) as it goes over the line, under the one that it replaces; covered twice it is itself."""
    cover = hmac_sha256(key, _COVER + nonce.encode())
    return bytes([cover[i] ^ other[i] for i in range(KEY_BYTES)])


class OperatorKey:
    """A box's key, in two files of a folder.Folder, of which the newest whole one counts.

    name, generation, key: as box_key() has them; key is None where the box was given none
    Raises OSError where the folder cannot be read.
    """

    def __init__(self, folder):
        self._folder = folder
        self.name, self.generation, self.key = "", 0, None
        found = [folder.read(name) for name in NAMES]
        for data in found:
            told = _unpack(data)
            if told and told[0] > self.generation:
                self.generation, self.name, self.key = told
        if self.key and found[0] != found[1]:  # the power went while a new one was stored
            self.store(self.name, self.generation, self.key)

    def provision(self, name, key):
        """Give a new box its first key. Raises ValueError where it has one, and for a name or key that is none."""
        if self.key:
            raise ValueError("the box has an operator's key already")
        if not 0 < len(name) <= MOST_NAME or any([not "!" <= c <= "~" for c in name]):
            raise ValueError("a box's name has up to %d letters, digits and signs" % MOST_NAME)  # noqa: UP031
        if len(key) != KEY_BYTES:
            raise ValueError("a key of %d bytes" % len(key))  # noqa: UP031
        self.store(name, 1, key)

    def store(self, name, generation, key):
        """Make this the key: when it returns, the one before is in neither file. Raises OSError."""
        data = struct.pack(_FORM, MARK, generation, name.encode(), key)
        data += struct.pack("<I", crc32(data))
        for file in NAMES:
            self._folder.write(file, data)
        self.name, self.generation, self.key = name, generation, key


def _unpack(data):
    """(generation, name, key), or None for bytes that are none."""
    size = struct.calcsize(_FORM)
    if len(data) != size + 4 or data[:4] != MARK or struct.pack("<I", crc32(data[:size])) != data[size:]:
        return None
    _, generation, name, key = struct.unpack(_FORM, data[:size])
    return generation, name.rstrip(b"\0").decode(), key
