"""Runs on MicroPython: what the recorder costs. Prints one JSON object.

    micropython guest_figures.py loop FOLDER SECONDS none|pack|record     time of the loop on a full bus
    micropython guest_figures.py flash FOLDER SECONDS ERASE_MS           wear and lateness on a flash of 16 MiB

FOLDER holds image/ with frames.bin (records of the core's ring, in order) and is where the log of `loop` goes.
A simulated flash takes READ_US and a tenth of a microsecond a byte to read, PROG_US a page of 256 bytes, ERASE_MS a block of 4096.
"""

import gc
import json
import os
import sys
import time
from array import array

READ_US, PROG_US = 20, 600
LOT = 45  # records: 10 ms of a full bus
PAGE, BLOCK, BLOCKS = 256, 4096, 4096
SCAN_MS = 100


def _read(path):
    with open(path, "rb") as file:
        return file.read()


class Image:
    def __init__(self, folder):
        self.params = array("i", _read(folder + "/params.bin"))
        sys.path.insert(0, folder)
        from decoder import drain

        self.drain = drain


def made(folder, image, engine, atomic, **options):
    """(Recorder, bytes it takes with its chain)"""
    import story
    from cellwarden.blackbox.chain import Chain
    from cellwarden.blackbox.folder import Folder
    from cellwarden.blackbox.keys import FileKeys
    from cellwarden.blackbox.recorder import Recorder

    there = Folder(folder, atomic)
    FileKeys(there).provision(story.FIRST_KEY)
    gc.collect()
    before = gc.mem_alloc()
    chain = Chain(there, FileKeys(there), story.VEHICLE, story.IMAGE, 0, 13 << 20)
    recorder = Recorder(engine, chain, there, **options)
    gc.collect()
    return recorder, gc.mem_alloc() - before


def loop(folder, seconds, mode):
    from cellwarden.core import layout as L
    from cellwarden.engine import Engine, byte_view

    image = Image(folder + "/image")
    engine = Engine(image)
    recorder, memory = made(folder + "/box", image, engine, False)
    while recorder.work(0):
        pass
    ring = engine.ring(LOT)
    size = engine.record_bytes
    source = memoryview(_read(folder + "/image/frames.bin"))
    lots = len(source) // (LOT * size)
    event = array("i", bytes(4 * L.EVENT_SIZE))
    now = spent = most = 0
    target = recorder if mode != "none" else engine
    if mode == "pack":  # what is packed goes nowhere
        recorder._written = recorder._boundary = -1
    lot = 0
    while now < seconds * 1000:
        at = lot % lots * LOT * size
        ring[0][:] = source[at : at + LOT * size]
        for row in range(LOT):
            ring[1][row * size // 4] = now + row * 10 // LOT
        lot += 1
        now += 10
        start = time.ticks_us()
        target.drain(ring, LOT)
        if mode == "record":
            while recorder.work(now):
                pass
        else:
            if mode == "pack":
                for i in range(len(recorder._lengths)):
                    recorder._lengths[i] = 0
                recorder._blind = False
            while engine.take(event):
                pass
        took = time.ticks_diff(time.ticks_us(), start)
        spent += took
        most = max(most, took)
    size = sum(os.stat(folder + "/box/" + name)[6] for name in os.listdir(folder + "/box"))
    return {
        "mode": mode, "bus_s": seconds, "frames": lot * LOT, "cpu_ms_per_bus_s": spent / 1000 / seconds,
        "ns_per_frame": 1000 * spent / (lot * LOT), "lost": recorder.lost_frames, "writer_bytes": memory,
    }


class Flash:
    """A NOR flash of 16 MiB in memory, whose operations take time of a simulated clock."""

    def __init__(self, erase_us):
        self.image = bytearray(b"\xff" * (BLOCK * BLOCKS))
        self.erase_us = erase_us
        self.us = self.erases = self.programs = self.written = 0
        self.worn = array("H", bytes(2 * BLOCKS))

    def readblocks(self, block, data, offset=0):
        at = block * BLOCK + offset
        data[:] = memoryview(self.image)[at : at + len(data)]
        self.us += READ_US + len(data) // 10

    def writeblocks(self, block, data, offset=0):
        at = block * BLOCK + offset
        self.image[at : at + len(data)] = data
        self.programs += len(data) // PAGE
        self.written += len(data)
        self.us += PROG_US * (len(data) // PAGE)

    def ioctl(self, request, block):
        if request == 4:
            return BLOCKS
        if request == 5:
            return BLOCK
        if request == 6:
            self.image[block * BLOCK : (block + 1) * BLOCK] = b"\xff" * BLOCK
            self.erases += 1
            self.worn[block] += 1
            self.us += self.erase_us
        return 0


def flash(folder, seconds, erase_ms):
    """Scans are due each 100 ms. Work begins where the longest step so far fits before the next, and right after a scan."""
    import vfs
    from cellwarden.engine import Engine, byte_view

    image = Image(folder + "/image")
    engine = Engine(image)
    chip = Flash(erase_ms * 1000)
    options = {"readsize": PAGE, "progsize": PAGE, "lookahead": 512}
    vfs.VfsLfs2.mkfs(chip, **options)
    vfs.mount(vfs.VfsLfs2(chip, **options), "/flash")
    recorder, memory = made("/flash", image, engine, True)
    while recorder.work(0):
        pass
    begun = chip.erases, chip.written
    size = engine.record_bytes
    source = memoryview(_read(folder + "/image/frames.bin"))
    heads = array("i", [0, 0])
    head8 = byte_view(heads)
    ring = engine.ring(256)
    at, now_us, steps, late, most_late, worst, over = 0, 0, 0, 0, 0, 0, 0
    chip.us = 0
    scans = 0
    levels = 0
    while scans * SCAN_MS < seconds * 1000:
        due_us = (scans + 1) * SCAN_MS * 1000
        if now_us < due_us:
            now_us = due_us
        most_late = max(most_late, now_us - due_us)
        late += now_us - due_us > 2000
        # what came meanwhile, and the scan
        while at < len(source):
            n = 0
            while n < 256 and at < len(source):
                head8[:] = source[at : at + 8]
                if heads[0] * 1000 > now_us:
                    break
                ring[0][n * size : (n + 1) * size] = source[at : at + size]
                at += size
                n += 1
            if not n:
                break
            recorder.drain(ring, n)
        scans += 1
        levels = max(levels, engine.state[12])
        next_us = due_us + SCAN_MS * 1000
        first = True
        while first or now_us + LONGEST_US <= next_us:
            first = False
            before = chip.us
            more = recorder.work(now_us // 1000)
            took = chip.us - before
            now_us += took
            worst = max(worst, took)
            over += took > LONGEST_US
            steps += 1
            if not more:
                break
    return {
        "seconds": seconds, "erase_ms": erase_ms, "level": levels, "steps": steps, "worst_step_ms": worst / 1000,
        "steps_over_longest": over, "scans": scans, "late_over_2ms": late, "most_late_ms": most_late / 1000,
        "erases": chip.erases - begun[0], "erases_a_day": (chip.erases - begun[0]) * 86400 // seconds,
        "most_of_a_block": max(chip.worn), "written_bytes": chip.written - begun[1], "busy_share": chip.us / seconds / 1e6,
        "lost": recorder.lost_frames, "writer_bytes": memory, "hazards": list(recorder.hazards),
    }


LONGEST_US = 60000

if __name__ == "__main__":
    if sys.argv[1] == "loop":
        print(json.dumps(loop(sys.argv[2], int(sys.argv[3]), sys.argv[4])))
    else:
        print(json.dumps(flash(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
