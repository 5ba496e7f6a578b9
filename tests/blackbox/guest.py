"""Runs on MicroPython as runner.py of a port: a box lives on recorded frames; the heap is locked while they are judged.

    micropython runner.py FOLDER/image

FOLDER holds image/ (the vehicle image, frames.bin: records of the core's ring, plan.bin: int32 counts of records, 0 or
less: -ms of silence) and box/ (the log, where there is one). Printed: `F name size` and `D name digits` of each file it
leaves; `E` and numbers for each event; `L` frames lost.
"""

import binascii
import sys
from array import array

FEW_BYTES = 3000


def run(image, stream=None, locked=True):
    base = image[: -len("/image")]
    sys.path[:] = [base, image, ".frozen"]
    import micropython
    import story
    from cellwarden.blackbox.chain import Chain
    from cellwarden.blackbox.folder import Folder
    from cellwarden.blackbox.keys import FileKeys
    from cellwarden.blackbox.recorder import Recorder
    from cellwarden.blackbox.unpack import last_snapshot
    from cellwarden.engine import Engine
    from decoder import drain

    class Image:
        params = array("i", _read(image + "/params.bin"))

    Image.drain = staticmethod(drain)
    engine = Engine(Image)
    folder = Folder(base + "/box")
    if not folder.names():
        FileKeys(folder).provision(story.FIRST_KEY)
    state = last_snapshot(folder, story.IMAGE, len(engine.state))
    if state:
        engine.restore(state)
    chain = Chain(folder, FileKeys(folder), story.VEHICLE, story.IMAGE, 0, 1 << 20, 1 << 16)
    recorder = Recorder(engine, chain, folder, on_event=lambda event: print("E", *event))
    while recorder.work(0):
        pass
    size = engine.record_bytes
    ring = engine.ring(64)
    now = first = None
    with open(image + "/frames.bin", "rb") as frames:
        for count in array("i", _read(image + "/plan.bin")):
            if count > 0:
                ring[0][: count * size] = frames.read(count * size)
                now = ring[1][0]
                first = now if first is None else first
            micropython.heap_lock()
            try:
                if count > 0:
                    recorder.drain(ring, count)
                else:
                    now -= count
                    recorder.advance(now)
            finally:
                micropython.heap_unlock()
            for _ in range(1000):
                if not recorder.work(now - first):
                    break
    recorder._until_ms = 1 << 29  # so that the annexes stay
    recorder._raised()
    if not recorder.shutdown(now - first):
        raise RuntimeError("not shut down")
    print("L", recorder.lost_frames)
    for name in folder.names():
        data = folder.read(name)
        print("F", name, len(data))
        for at in range(0, len(data), FEW_BYTES):
            print("D", name, binascii.hexlify(data[at : at + FEW_BYTES]).decode())


def _read(path):
    with open(path, "rb") as file:
        return file.read()


if __name__ == "__main__":
    run(sys.argv[1])
