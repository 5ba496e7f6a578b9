"""Checks hash-based signatures: HSS over LMS with SHA-256 and 32-byte hashes (RFC 8554, NIST SP 800-208).

Nothing but SHA-256 is needed to check one, and a quantum computer does not help to forge one. All heights and widths of
the two documents are known; a hash of the signature is read when its turn comes, so it is never in memory as a whole.
"""

import hashlib

N = 32  # bytes of a hash
KEY_BYTES = 60  # of a public key: levels, LMS type, LM-OTS type, I (16), root of the tree (32)
MOST_LEVELS = 8
_LMS_KEY_BYTES = KEY_BYTES - 4

# LM-OTS type: bits of a digit, digits, left shift of the checksum (RFC 8554, table 1)
_OTS = {1: (1, 265, 7), 2: (2, 133, 6), 3: (4, 67, 4), 4: (8, 34, 0)}
# LMS type: height of the tree (table 2)
_HEIGHTS = {5: 5, 6: 10, 7: 15, 8: 20, 9: 25}

_PUBLIC, _MESSAGE, _LEAF, _NODE = b"\x80\x80", b"\x81\x81", b"\x82\x82", b"\x83\x83"


def verify(public_key, signature, message):
    """The leaves that made an HSS signature, from the root's down; None where it is not this key's of this message.

    public_key: 60 bytes; signature: a file to seek in and read from; message: its bytes in chunks of any size
    """
    levels = _number(public_key, 0)
    if len(public_key) != KEY_BYTES or not 1 <= levels <= MOST_LEVELS:
        return None
    size = signature.seek(0, 2)
    if _number(_read(signature, 0, 4), 0) != levels - 1:
        return None
    key, at, leaves = public_key[4:], 4, []
    while True:
        length = signature_bytes(key)
        last = len(leaves) == levels - 1
        end = at + length + (0 if last else _LMS_KEY_BYTES)
        if not length or (end != size if last else end > size):
            return None
        below = None if last else _read(signature, at + length, _LMS_KEY_BYTES)
        leaf = _verify_lms(key, signature, at, message if last else (below,))
        if leaf is None:
            return None
        leaves.append(leaf)
        if last:
            return tuple(leaves)
        key, at = below, end


def signature_bytes(key):
    """Length of the LMS signatures that an LMS public key (56 bytes) asks for; 0 for types that are not known."""
    height, ots = _HEIGHTS.get(_number(key, 0)), _OTS.get(_number(key, 4))
    return 12 + N * (1 + ots[1] + height) if height and ots else 0


def _verify_lms(key, file, at, message):
    """Leaf number of a good LMS signature (algorithm 6), else None. key: 56 bytes; at: where in the file it begins."""
    height = _HEIGHTS[_number(key, 0)]
    width, digits, shift = _OTS[_number(key, 4)]
    head = _read(file, at, 8 + N)  # leaf, LM-OTS type, C
    leaf = _number(head, 0)
    at += 8 + N
    path = at + N * digits
    if leaf >> height or head[4:8] != key[4:8] or _read(file, path, 4) != key[:4]:
        return None
    name = key[8:24] + head[:4]  # I and leaf
    digest = hashlib.sha256(name + _MESSAGE + head[8:])
    for chunk in message:
        digest.update(chunk)
    node = _candidate(name, digest.digest(), file, at, width, digits, shift)

    number = (1 << height) + leaf
    node = _sha256(key[8:24], number.to_bytes(4, "big"), _LEAF, node)
    file.seek(path + 4)
    for _ in range(height):
        sibling = file.read(N)
        left, right = (sibling, node) if number & 1 else (node, sibling)
        number >>= 1
        node = _sha256(key[8:24], number.to_bytes(4, "big"), _NODE, left, right)
    return leaf if node == key[24:] else None


def _candidate(name, digest, file, at, width, digits, shift):
    """The LM-OTS public key that this digest and signature lead to (algorithm 4b)."""
    top = (1 << width) - 1
    mask_after = 8 - width
    total = 0
    for i in range(N * 8 // width):
        bit = i * width
        total += top - (digest[bit >> 3] >> (mask_after - (bit & 7)) & top)
    digest += (total << shift).to_bytes(2, "big")

    public = hashlib.sha256(name + _PUBLIC)
    link = bytearray(name + bytes(3 + N))  # I, leaf, digit number (2), step (1), hash: one block of SHA-256
    view = memoryview(link)
    file.seek(at)
    for i in range(digits):
        bit = i * width
        link[20], link[21] = i >> 8, i & 255
        file.readinto(view[23:])
        for step in range(digest[bit >> 3] >> (mask_after - (bit & 7)) & top, top):
            link[22] = step
            link[23:] = hashlib.sha256(link).digest()
        public.update(view[23:])
    return public.digest()


def _sha256(*parts):
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()


def _read(file, at, count):
    file.seek(at)
    return file.read(count)


def _number(data, at):
    return int.from_bytes(data[at : at + 4], "big")
