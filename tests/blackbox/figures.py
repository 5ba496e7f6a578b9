"""Prints what the recorder costs (docs/blackbox.md, "Figures"); takes five minutes.

python tests/blackbox/figures.py [FOLDER]      FOLDER: of a file system in memory, such as /dev/shm
"""

import collections
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from array import array
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from cellwarden.blackbox import form as F  # noqa: E402
from cellwarden.blackbox import unpack as U  # noqa: E402
from cellwarden_tools.compiler.image import compile_profile  # noqa: E402
from cellwarden_tools.engines.device_files import write_device_files, write_image_files  # noqa: E402
from cellwarden_tools.engines.micropython import find_micropython  # noqa: E402
from cellwarden_tools.simulator import DEMO_PROFILE  # noqa: E402
from cellwarden_tools.simulator.run import simulate  # noqa: E402
from recorded import Box, chain_records, verified  # noqa: E402

WEEK_S = 604_800
EARLY_S = 300  # as guest_figures.py


def device(folder, image, scenario, minutes):
    """A folder for guest_figures.py."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_device_files(folder)
    write_image_files(image, folder / "image")
    shutil.copy(HERE / "story.py", folder)
    records = bytearray()
    for t_us, _, can_id, data in simulate(scenario, DEMO_PROFILE, 1, minutes):
        records += array("i", [t_us // 1000, can_id]).tobytes() + bytes([0, len(data), 0, 0]) + data.ljust(8, b"\0")
    (folder / "image" / "frames.bin").write_bytes(records)
    return folder


def guest(folder, what, *words):
    shutil.rmtree(folder / "box", ignore_errors=True)
    (folder / "box").mkdir()
    command = [find_micropython(), "-X", "heapsize=128m", HERE / "guest_figures.py", what, folder, *map(str, words)]
    done = subprocess.run(
        command, env={**os.environ, "MICROPYPATH": str(folder)}, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def loop(folder):
    """CPU of the loop on a full bus in turns: without a recorder, packing alone, recording, and sealing it."""
    modes = ("none", "pack", "unsealed", "record")
    runs = {mode: [] for mode in modes}
    for _ in range(5):
        for mode in modes:
            runs[mode].append(guest(folder, "loop", 60, mode)["cpu_ms_per_bus_s"])
    for mode in modes:
        print(f"loop, full bus, {mode:9}: {statistics.median(runs[mode]):.2f} ms of each second")


def flash(folder, name, seconds):
    told = guest(folder, "flash", seconds, 45)
    print(f"flash, {name}: {json.dumps(told)}")
    grown = told["segments_bytes"] - told["segments_bytes_early"]  # without what a start costs
    print(f"  segments: {grown * WEEK_S // (seconds - EARLY_S)} bytes in 7 days at this rate")


def overhead(image, folder):
    """Bytes round an alarm: of all that is written for the frames' sake, over the frames'."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    box = Box(folder, image)
    box.feed([(t_us, 0, can_id, data) for t_us, _, can_id, data in simulate("demo", DEMO_PROFILE, 1, 9)])
    box.shutdown()
    found = verified(folder)
    sizes, frames, data = collections.Counter(), 0, 0
    first = last = None
    for number in sorted(found.annexes.proven):
        items = U.FrameItems()
        for record in found.annexes.records(number):
            sizes["annex, " + F.TYPES[record.type]] += len(record.raw)
            first, last = first if first is not None else record.t_ms, record.t_ms
            if record.type == F.FRAMES_TYPE:
                for item in items.unpack(record.body):
                    frames, data = frames + (item[0] == 0), data + len(item[4])
    for record in chain_records(found):
        if first <= record.t_ms <= last:
            sizes["chain, " + F.TYPES[record.type]] += len(record.raw)
    total = sum(sizes.values())
    print(
        f"round an alarm, {(last - first) / 1000:.0f} s: {frames} frames, {data} bytes of data, {total} bytes written"
    )
    for name, size in sizes.items():
        print(f"  {name}: {size} bytes, {size / frames:.2f} a frame")


def main():
    base = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()) / "cellwarden-figures"
    image = compile_profile(DEMO_PROFILE).image
    overhead(image, base / "log")
    loop(device(base / "drive", image, "healthy_drive", 10))
    flash(device(base / "hour", image, "healthy_drive", 60), "an hour's drive", 3590)
    flash(device(base / "alarm", image, "demo", 10), "ten minutes with an alarm", 590)
    shutil.rmtree(base)


if __name__ == "__main__":
    main()
