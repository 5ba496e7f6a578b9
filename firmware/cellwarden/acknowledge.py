"""A latched alarm is released by an acknowledgement only, and that by somebody who holds the key.

    ask = challenge(engine, rule, image_sha256)             on the box, shown to whoever looked at the vehicle
    tag = hmac_sha256(key, ask)                             where the key is
    acknowledge(engine, key, rule, tag, t_ms, image_sha256) on the box: True, and the alarm is given up

The challenge holds the number of events and acknowledgements so far, so a tag releases what was seen when it was asked
for, once, and no alarm that comes later. Where the condition still holds, the alarm begins anew.
"""

import hashlib

from cellwarden.core import layout as L

LABEL = b"cellwarden acknowledge 1"  # no other use of a key makes a message that begins so; 1: this form
TAG_BYTES = 32
_BLOCK = 64  # bytes that SHA-256 takes at a time


def challenge(engine, rule, image_sha256=b""):
    """The bytes an acknowledgement must sign: label, vehicle image, rule, events and acknowledgements so far.

    rule: row of the catalogue; image_sha256: identity of the vehicle image, 32 bytes, or empty where a box has none
    Raises ValueError for a rule the catalogue does not have, and for an identity of another length.
    """
    if not 0 <= rule < engine.params[L.P_RULES]:
        raise ValueError("the catalogue has no rule %d" % rule)  # noqa: UP031
    if len(image_sha256) not in (0, TAG_BYTES):
        raise ValueError("an identity of %d bytes" % len(image_sha256))  # noqa: UP031
    return (
        LABEL
        + bytes((len(image_sha256),))
        + bytes(image_sha256)
        + rule.to_bytes(2, "big")
        + engine.state[L.EVENTS].to_bytes(4, "big")
    )


def acknowledge(engine, key, rule, tag, t_ms, image_sha256=b""):
    """Release a rule's alarm where `tag` is the challenge's under `key`: True; else False, and nothing changes.

    key, tag: bytes; t_ms: 30-bit ms, when it came; rule, image_sha256: as for challenge()
    Raises ValueError for an empty key, and as challenge() does.
    """
    if not same(hmac_sha256(key, challenge(engine, rule, image_sha256)), tag):
        return False
    engine.notice(t_ms, L.NOTICE_ACK, rule)
    return True


def hmac_sha256(key, message):
    """HMAC (RFC 2104) with SHA-256, 32 bytes. Raises ValueError for an empty key."""
    if not key:
        raise ValueError("an empty key")
    if len(key) > _BLOCK:
        key = hashlib.sha256(key).digest()
    inner, outer = bytearray(b"\x36" * _BLOCK), bytearray(b"\x5c" * _BLOCK)
    for i in range(len(key)):
        inner[i] ^= key[i]
        outer[i] ^= key[i]
    digest = hashlib.sha256(inner)
    digest.update(message)
    whole = hashlib.sha256(outer)
    whole.update(digest.digest())
    return whole.digest()


def same(digest, other):
    """Whether two strings of bytes are equal, in a time that does not depend on where they differ."""
    if len(digest) != len(other):
        return False
    wrong = 0
    for i in range(len(digest)):
        wrong |= digest[i] ^ other[i]
    return wrong == 0
