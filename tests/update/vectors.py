"""Public keys, messages and signatures: those of RFC 8554 and what pyhsslms signs."""

from pathlib import Path

import pyhsslms
from pyhsslms import HssPrivateKey

HEIGHTS = {5: pyhsslms.lms_sha256_m32_h5, 10: pyhsslms.lms_sha256_m32_h10}
WIDTHS = {
    1: pyhsslms.lmots_sha256_n32_w1,
    2: pyhsslms.lmots_sha256_n32_w2,
    4: pyhsslms.lmots_sha256_n32_w4,
    8: pyhsslms.lmots_sha256_n32_w8,
}
# What RFC 8554, appendix F, prints as `q` of each level
RFC_LEAVES = {1: (5, 10), 2: (3, 4)}


def rfc_8554(case):
    """(public key, message, signature) of a test case of appendix F."""
    parts, name = {}, None
    for line in (Path(__file__).with_name("rfc8554.txt")).read_text().splitlines():
        if " " in line:
            name = line
        elif line:
            parts[name] = parts.get(name, "") + line
    return tuple(bytes.fromhex(parts[f"{case} {part}"]) for part in ("key", "message", "signature"))


def foreign(levels, height, width):
    """A private key of pyhsslms."""
    return HssPrivateKey(levels=levels, lms_type=HEIGHTS[height], lmots_type=WIDTHS[width])


def signed(levels, height, width, message):
    """(public key, message, signature) by pyhsslms."""
    private = foreign(levels, height, width)
    return private.publicKey().serialize(), message, private.sign(message)
