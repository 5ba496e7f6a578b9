"""Runs on CPython and MicroPython: reads what stands at an address to its end, or says why not.

fetch_guest.py ADDRESS [DER]
"""

import hashlib
import sys
from binascii import hexlify

from cellwarden.update.fetch import Source

ca = None
if len(sys.argv) > 2:
    with open(sys.argv[2], "rb") as file:
        ca = file.read()
pauses = [0]


def pause():
    pauses[0] += 1


source = Source(sys.argv[1], ca, pause, 1 << 30)
digest, size = hashlib.sha256(), 0
try:
    data = source.read(512)
    while data:
        digest.update(data)
        size += len(data)
        data = source.read(512)
    source.seek(100)
    digest.update(source.read(7))
    print(size, hexlify(digest.digest()).decode(), pauses[0] > 0)
except (OSError, ValueError) as error:
    print("no:", error)
