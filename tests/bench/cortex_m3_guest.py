"""Runs on the emulated Cortex-M3: what tests/bench/cortex_m3.py times. Jobs follow as generated text.

Every `time_` function returns ticks of the board's timer; `overhead` and `loop` say what reading it costs.
"""

# ruff: noqa: F821 (the assembler's words)

from array import array

import micropython
import uctypes
from cellwarden.core import layout as L
from cellwarden.core.scan import advance, scan
from cellwarden.engine import Engine, record_views
from decoder import drain

START = 0x21000000  # engines/cortex_m3.py: size of the ROM image, the image, the data
DATA = START + 4 + int.from_bytes(uctypes.bytearray_at(START, 4), "little")


class Image:
    pass


with open("/rom/params.bin", "rb") as file:
    Image.params = array("i", file.read())
Image.drain = drain
engine = Engine(Image)
box = engine.box
pristine = bytes(engine.state)
STATE_BYTES = len(pristine)


@micropython.viper
def start_timer():
    t = ptr32(0x40000000)
    t[2] = -1
    t[1] = -1
    t[0] = 1


@micropython.asm_thumb
def known_loop(r0):
    label(LOOP)
    sub(r0, r0, 1)
    cmp(r0, 0)
    bne(LOOP)


@micropython.viper
def copy(target, source: int, count: int):
    a = ptr8(target)
    b = ptr8(source)
    for i in range(count):
        a[i] = b[i]


@micropython.viper
def time_known(n) -> int:
    t = ptr32(0x40000004)
    before = t[0]
    known_loop(n)
    return before - t[0]


@micropython.viper
def time_nothing() -> int:
    t = ptr32(0x40000004)
    before = t[0]
    return before - t[0]


@micropython.viper
def time_drains(call, rings, n, count: int) -> int:
    t = ptr32(0x40000004)
    before = t[0]
    for i in range(count):
        call(rings[i], n)
    return before - t[0]


@micropython.viper
def time_advance(call, where, due) -> int:
    t = ptr32(0x40000004)
    before = t[0]
    call(where, due)
    return before - t[0]


@micropython.viper
def time_scan(call, where) -> int:
    t = ptr32(0x40000004)
    before = t[0]
    call(where)
    return before - t[0]


def state_from(address):
    """The state that lies at `address`; 0: as after the start. The event ring is emptied."""
    if address:
        copy(engine.state, address, STATE_BYTES)
    else:
        engine.state[:] = array("i", pristine)
    e = engine.events
    e[L.E_HEAD] = e[L.E_TAIL] = e[L.E_LOST] = 0


def rings_of(address, records, batch):
    size = engine.record_bytes * batch
    out = []
    for n in range(records // batch):
        memory = uctypes.bytearray_at(address + n * size, size)
        out.append((memory, memory, record_views(memoryview(memory))))
    return out


def drains(name, state, address, records, batch):
    """Feed records in batches, as an application does."""
    rings = rings_of(address, records, batch)
    state_from(state)
    ticks = time_drains(engine.drain, rings, batch, len(rings))
    print("C", name, ticks, len(rings) * batch, engine.events[L.E_HEAD], engine.state[L.SCANS])


def steps(name, address, count):
    """advance() over one due scan, from each of `count` states."""
    for n in range(-1, count):  # the first one twice: only after that every name has been looked up once
        state_from(address + max(n, 0) * STATE_BYTES)
        ticks = time_advance(advance, box, engine.state[L.DUE_MS])
        if n >= 0:
            print("C", name, ticks, n, engine.events[L.E_HEAD])


def scans(name, address, count):
    """scan() from each of `count` states, the clock set to the scan's time."""
    for n in range(-1, count):
        state_from(address + max(n, 0) * STATE_BYTES)
        engine.state[L.NOW_MS] = engine.state[L.DUE_MS]
        ticks = time_scan(scan, box)
        if n >= 0:
            print("C", name, ticks, n, engine.events[L.E_HEAD])


start_timer()
time_known(1)
time_drains(engine.drain, (), 0, 0)
print("C overhead", time_nothing())
print("C loop", time_drains(engine.drain, (), 0, 0))
print("C known1000", time_known(1000))
print("C known2000", time_known(2000))
