"""Runs on every MicroPython: checks signatures; on the Cortex-M3 it also counts instructions and the RAM in need.

What is checked: a file of any number of (public key, message, signature), each an int32 length and so many bytes.
"""

import gc
import io
import sys

from cellwarden.update.lms import verify


def cases(data):
    at, taken = 0, []
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "little")
        taken.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    return [taken[i : i + 3] for i in range(0, len(taken), 3)]


def told(data, timed=None):
    """Print the leaves of each, and None for the same with a bit of the message flipped."""
    for key, message, signature in cases(data):
        gc.collect()
        if timed:
            print(timed(lambda: verify(key, io.BytesIO(signature), (message,))))  # noqa: B023
            continue
        print(verify(key, io.BytesIO(signature), (message,)))
        print(verify(key, io.BytesIO(signature), (bytes((message[0] ^ 1,)), message[1:])))


def enough(key, message, signature, free):
    """Whether a heap with so many bytes free, in one piece, is enough to check this."""
    gc.collect()
    file = io.BytesIO(signature)
    ballast, n, size = [None] * 200, 0, 1 << 22
    room = bytearray(free)
    while size >= 16:
        try:
            ballast[n] = bytearray(size)
            n += 1
        except MemoryError:
            size >>= 1
    del room
    gc.collect()
    try:
        return verify(key, file, (message,)) is not None
    except MemoryError:
        return False
    finally:
        del ballast


def run(folder, stream=None, locked=False):
    with open(folder + "/cases", "rb") as file:
        told(file.read())


if sys.platform == "linux":
    run(sys.argv[1])
