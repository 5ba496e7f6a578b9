"""Runs on MicroPython: operators' ports take no memory while nobody asks anything, whatever comes.

micropython control_guest.py SOCKET: noise and lines that are too long come on standard input, then a question.
"""

import sys
import time

import micropython
from cellwarden.control import Control, Port, console
from cellwarden.control_socket import Socket


class Box:
    """Nothing that is asked here is about it."""

    hazards = None


def main(path):
    said = []
    port = Port(console(), said.append)
    control = Control(None, b"", [port, Socket(path)])
    box = Box()
    print("ready")
    control.turn(box)  # a poll takes memory once
    noise = port._end
    turns = 1
    while not said:
        micropython.heap_lock()
        try:
            quiet = not control.turn(box)
            noise += port._end
        except MemoryError:
            quiet = False
        finally:
            micropython.heap_unlock()
        if not quiet:
            break
        turns += 1
        if turns % 100 == 0:
            time.sleep_ms(1)
    port.forget()
    for _ in range(1000):  # what was asked, once more, with the heap open
        control.turn(box)
        time.sleep_ms(1)
        if said:
            break
    print(turns, noise, said[0].decode().strip())


main(sys.argv[1])
