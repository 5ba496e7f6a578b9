"""An operator as the page docs/device.md describes one, with nothing of Cellwarden's: zlib, hmac, hashlib, json."""

import hmac
import json
import zlib

MASTER = bytes(range(64, 96))
NAME = "BOX-7"


def key_of(master=MASTER, name=NAME, generation=1):
    text = f"cellwarden operator key 1\n{name}\n{generation}"
    return hmac.new(master, text.encode(), "sha256").digest()


def tag_of(key, nonce, text, name=NAME):
    return hmac.new(key, f"cellwarden operator 1\n{name}\n{nonce}\n{text}".encode(), "sha256").digest()


def line(text):
    return b"\r%s %08x\r" % (text.encode(), zlib.crc32(text.encode()))


def answers(data):
    """[(number, dict)] of all answers in what a box has written. Raises AssertionError for one that is damaged."""
    found = []
    for raw in data.split(b"\r\n"):
        if not raw.startswith(b"!"):
            continue
        text, _, checksum = raw.rpartition(b" ")
        assert checksum == b"%08x" % zlib.crc32(text), raw
        number, _, told = text[1:].partition(b" ")
        found.append((number.decode(), json.loads(told)))
    return found
