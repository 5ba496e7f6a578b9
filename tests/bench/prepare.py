"""Make all that the bench reads: logs, images, rings, the C program. Prints nothing but what it makes.

    python prepare.py FOLDER FRAMES BIG_BYTES SIZES

SIZES is how many of growth.py's sizes of vehicle are wanted. Writes FOLDER/index.json. It runs in a process of its own,
so that the bench itself stays small (measure.py).
"""

import json
import sys
from pathlib import Path

import growth
import rings
import workload
from cellwarden_tools.compiler.image import open_image
from cellwarden_tools.engines.device_files import write_device_files, write_image_files
from cellwarden_tools.simulator import DEMO_PROFILE

sys.path.insert(0, str(Path(__file__).parent / "rivals"))
import with_c


def image_of(profile, path):
    image, _ = open_image(profile)
    image.save(path)
    return image


def demo(folder, drive):
    """Images and rings of the demonstration."""
    image = image_of(DEMO_PROFILE, folder / "demo.cwi")
    for name, native in (("bytecode", False), ("viper", True)):
        write_device_files(folder / name, native)
        write_image_files(image, folder / name / "image", native)
    made = {}
    for name, (what, ring, ring_ms) in rings.demo_rings(image, drive.frames).items():
        path = folder / f"{name}.ring"
        path.write_bytes(ring)
        made[name] = {"what": what, "path": str(path), "ms": ring_ms}
    return {"image": str(folder / "demo.cwi"), "profile": str(DEMO_PROFILE), "rings": made}


def grown(folder, sizes):
    """[{of, count, image, rings}]: vehicles of growth.py, each with a ring on a full bus and one on a tenth of it."""
    made = []
    for of, counts, vehicle in (
        ("messages", growth.MESSAGES, growth.by_messages),
        ("cells", growth.CELLS, growth.by_cells),
    ):
        for count in counts[:sizes]:
            profile, frame = vehicle(folder, count)
            image_of(profile, folder / f"{of}{count}.cwi")
            kinds = count if of == "messages" else count // growth.PER_PAGE
            some = growth.frames(frame, rings.RECORDS // 2, kinds)
            both = []
            for rate in (rings.FULL_BUS, rings.FULL_BUS // 10):
                ring, ring_ms = rings.pack(some, 8, rate)
                path = folder / f"{of}{count}-{rate}.ring"
                path.write_bytes(ring)
                both.append({"rate": rate, "path": str(path), "ms": ring_ms})
            made.append({"of": of, "count": count, "image": str(folder / f"{of}{count}.cwi"), "rings": both})
    return made


def limit(folder):
    try:
        return {"program": str(with_c.build(folder)), "compiler": " ".join(with_c.compiler())}
    except OSError as error:
        return {"fault": str(error)}


def main(folder, frames, big_bytes, sizes):
    folder = Path(folder)
    vehicles = folder / "vehicles"
    vehicles.mkdir(parents=True, exist_ok=True)
    drive = workload.Drive()
    index = {
        "workload": workload.make(drive, folder / f"logs{frames}", frames, big_bytes),
        "slow": workload.SLOW,
        "demo": demo(vehicles, drive),
        "growth": grown(vehicles, sizes),
        "limit": limit(folder / "limit"),
    }
    (folder / "index.json").write_text(json.dumps(index, indent=1))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
