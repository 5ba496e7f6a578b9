"""Runs on MicroPython: what the recorder costs. Prints one JSON object.

    micropython guest_figures.py loop FOLDER SECONDS none|pack|unsealed|record     time of the loop on a full bus
    micropython guest_figures.py flash FOLDER SECONDS ERASE_MS           wear and lateness on a flash of 16 MiB

FOLDER holds image/ with frames.bin (records of the core's ring, in order) and is where the log of `loop` goes.
The simulated flash takes 10 us and 0.1 us a byte to read, 30 us and 2.5 us a byte to write, ERASE_MS for an erase of
4096 bytes.
"""

import gc
import json
import os
import sys
import time
from array import array

LOT = 45  # records: 10 ms of a full bus
BLOCK, BLOCKS = 4096, 4096
KEY_BLOCKS = 4
EARLY_S = 300
LOG = "/flash/log"  # not the root: where much is written to that littlefs looks through all files
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


def made(folder, image, engine, atomic, keys=None, **options):
    """(Recorder, bytes it takes with its chain)"""
    import story
    from cellwarden.blackbox.chain import Chain
    from cellwarden.blackbox.folder import Folder
    from cellwarden.blackbox.keys import FileKeys
    from cellwarden.blackbox.recorder import SEGMENTS_BYTES, Recorder

    there = Folder(folder, atomic)
    keys = keys or FileKeys(there)
    keys.provision(story.FIRST_KEY)
    gc.collect()
    before = gc.mem_alloc()
    chain = Chain(there, keys, story.VEHICLE, story.IMAGE, 0, SEGMENTS_BYTES)
    recorder = Recorder(engine, chain, there, **options)
    gc.collect()
    return recorder, gc.mem_alloc() - before


def loop(folder, seconds, mode):
    from cellwarden.core import layout as L
    from cellwarden.engine import Engine

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
    if mode == "unsealed":
        unseal(recorder)
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
        if mode in ("record", "unsealed"):
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
        "mode": mode,
        "bus_s": seconds,
        "frames": lot * LOT,
        "cpu_ms_per_bus_s": spent / 1000 / seconds,
        "ns_per_frame": 1000 * spent / (lot * LOT),
        "lost": recorder.lost_frames,
        "writer_bytes": memory,
    }


class NoHash:
    """Stands for SHA-256 where nothing is sealed."""

    def __init__(self, data=b""):
        pass

    def update(self, data):
        pass

    def digest(self):
        return bytes(32)


def unseal(recorder):
    """The same recorder without seals: no hash, no seal record, no key."""
    from cellwarden.blackbox import annex

    class Hashes:
        sha256 = NoHash

    class Mac:
        update = NoHash.update

    def sealing(t_ms):
        recorder.chain._folder.sync(recorder.chain._file)
        recorder.chain._first = recorder.chain.sequence
        yield True

    annex.hashlib = Hashes
    recorder._annex._digest = NoHash()
    recorder.chain._mac = Mac()
    recorder.chain.sealing = sealing


class Flash:
    """A NOR flash in memory, whose operations take time of a simulated clock."""

    def __init__(self, blocks, erase_us, clock):
        self.blocks, self.erase_us, self.clock = blocks, erase_us, clock
        self.image = bytearray(b"\xff" * (BLOCK * blocks))
        self.erases = self.written = 0
        self.worn = array("H", bytes(2 * blocks))

    def readblocks(self, block, data, offset=0):
        at = block * BLOCK + offset
        data[:] = memoryview(self.image)[at : at + len(data)]
        self.clock[0] += 10 + len(data) // 10

    def writeblocks(self, block, data, offset=0):
        at = block * BLOCK + offset
        self.image[at : at + len(data)] = data
        self.written += len(data)
        self.clock[0] += 30 + len(data) * 5 // 2

    def ioctl(self, request, block):
        if request == 4:
            return self.blocks
        if request == 5:
            return BLOCK
        if request == 6:
            self.image[block * BLOCK : (block + 1) * BLOCK] = b"\xff" * BLOCK
            self.erases += 1
            self.worn[block] += 1
            self.clock[0] += self.erase_us
        return 0


def segments_bytes():
    return sum(os.stat(LOG + "/" + name)[6] for name in os.listdir(LOG) if name.endswith(".cwb"))


def flash(folder, seconds, erase_ms):
    """Scans are due each 100 ms. A step begins right after a scan, and where LONGEST_US fits before the next."""
    import vfs
    from cellwarden.blackbox.keys import FlashKeys
    from cellwarden.engine import Engine, byte_view

    image = Image(folder + "/image")
    engine = Engine(image)
    clock = [0]
    chip, keys = Flash(BLOCKS - KEY_BLOCKS, erase_ms * 1000, clock), Flash(KEY_BLOCKS, erase_ms * 1000, clock)
    options = {"readsize": 128, "progsize": 128, "lookahead": 512}
    vfs.VfsLfs2.mkfs(chip, **options)
    vfs.mount(vfs.VfsLfs2(chip, **options), "/flash")
    os.mkdir(LOG)
    recorder, memory = made(LOG, image, engine, True, FlashKeys(keys))
    while recorder.work(0):
        pass
    begun = chip.erases + keys.erases, chip.written
    size = engine.record_bytes
    source = memoryview(_read(folder + "/image/frames.bin"))
    heads = array("i", [0, 0])
    head8 = byte_view(heads)
    ring = engine.ring(256)
    at, now_us, steps, late, most_late, worst, over = 0, 0, 0, 0, 0, 0, 0
    clock[0] = 0
    scans = 0
    levels = 0
    early = sealed_us = 0
    since = []  # between two seals
    while scans * SCAN_MS < seconds * 1000:
        if scans == EARLY_S * 1000 // SCAN_MS:
            early = segments_bytes()
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
            before = clock[0]
            index = recorder.chain.index
            more = recorder.work(now_us // 1000)
            took = clock[0] - before
            now_us += took
            worst = max(worst, took)
            if recorder.chain.index != index:
                since.append(now_us - sealed_us)
                sealed_us = now_us
            over += took > LONGEST_US
            steps += 1
            if not more:
                break
    erases = chip.erases + keys.erases - begun[0]
    return {
        "seconds": seconds,
        "erase_ms": erase_ms,
        "level": levels,
        "steps": steps,
        "worst_step_ms": worst / 1000,
        "steps_over_longest": over,
        "scans": scans,
        "late_over_2ms": late,
        "most_late_ms": most_late / 1000,
        "erases": erases,
        "erases_a_day": erases * 86400 // seconds,
        "of_the_keys": keys.erases,
        "most_of_a_block": max(chip.worn),
        "written_bytes": chip.written - begun[1],
        "busy_share": clock[0] / seconds / 1e6,
        "lost": recorder.lost_frames,
        "writer_bytes": memory,
        "hazards": list(recorder.hazards),
        "seals": len(since),
        "seals_2_to_9_s_apart": sum(2e6 < us < 9e6 for us in since),
        "segments_bytes": segments_bytes(),
        "segments_bytes_early": early,
    }


LONGEST_US = 85000

if __name__ == "__main__":
    if sys.argv[1] == "loop":
        print(json.dumps(loop(sys.argv[2], int(sys.argv[3]), sys.argv[4])))
    else:
        print(json.dumps(flash(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
