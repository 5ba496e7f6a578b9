"""The logs the bench reads: one drive of the demonstration pack, made long, in every format.

A simulated drive of twenty minutes is repeated with stamps that go on rising, from 2025 on. All formats hold the same
frames. SHORT frames of each are beside them (start-up is measured on those), and heads of the candump log, by which
growth is measured. Nothing is made again that is there already: index.json says of what it was made.
"""

import hashlib
import importlib.metadata
import itertools
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

START_S = 1_750_000_000  # ten digits, as in every log of our days
SHORT = 1000
FORMATS = {"candump": "log", "savvycan": "csv", "asc": "asc", "blf": "blf", "mf4": "mf4", "parquet": "parquet"}
HEADS = (0.1, 0.2, 0.4, 0.8)  # of the candump log: growth is measured on these
SLOW = 50_000  # frames, for the slow engines
BLF_CONTAINER = 128 * 1024  # as python-can fills them


class Drive:
    """One round of the drive: its frames, and the whole seconds by which the next round is later."""

    def __init__(self, minutes=20):
        from cellwarden_tools.simulator import DEMO_PROFILE
        from cellwarden_tools.simulator.run import simulate

        rows = simulate("demo", DEMO_PROFILE, minutes=minutes)
        self.frames = [(START_S * 1_000_000 + t, c, i, d) for t, c, i, d in rows]
        self.round_s = int(minutes * 60)
        assert self.frames[-1][0] < (START_S + self.round_s) * 1_000_000

    def key(self):
        told = hashlib.sha256(Path(__file__).read_bytes())
        for frame in self.frames[:: len(self.frames) // 1000]:
            told.update(repr(frame).encode())
        for package in ("python-can", "asammdf"):
            told.update(importlib.metadata.version(package).encode())
        return told.hexdigest()

    def parts(self, frames):
        """(seconds later, frames of the round) until there are enough."""
        for at in range(0, frames, len(self.frames)):
            yield at // len(self.frames) * self.round_s, min(len(self.frames), frames - at)


def write_text(drive, path, frames, stamp_at, stop_bytes=None):
    """A text log whose lines hold a stamp of fixed width: only its ten digits of seconds change from round to round.

    stamp_at: where they begin in a line. Returns the number of frames written.
    """
    import numpy
    from cellwarden_tools.writers import open_writer

    base = path.with_name(f"base-{path.name}")
    with open_writer(base) as log:
        for frame in drive.frames[:frames]:
            log.write(*frame)
    text = base.read_bytes()
    base.unlink()
    head = 0 if path.suffix == ".log" else text.index(b"\n") + 1
    body = numpy.frombuffer(text, "u1")[head:].copy()
    ends = numpy.flatnonzero(body == ord("\n")) + 1
    starts = numpy.concatenate(([0], ends[:-1]))
    digits = (starts + stamp_at)[:, None] + numpy.arange(10)
    seconds = numpy.array([frame[0] // 1_000_000 for frame in drive.frames[:frames]])
    written = size = 0
    with open(path, "wb") as out:
        size += out.write(text[:head])
        for later, count in drive.parts(frames):
            body[digits] = (seconds + later)[:, None] // 10 ** numpy.arange(9, -1, -1) % 10 + ord("0")
            size += out.write(body[: ends[count - 1]].data)
            written += count
            if stop_bytes and size >= stop_bytes:
                break
    return written


def write_asc(drive, path, frames):
    """As python-can writes it, whose stamps count from the first frame."""
    from cellwarden_tools.writers import open_writer

    base = path.with_name(f"base-{path.name}")
    with open_writer(base) as log:
        for frame in drive.frames[:frames]:
            log.write(*frame)
    lines = base.read_text().splitlines(keepends=True)
    base.unlink()
    first = len(lines) - 1 - len(drive.frames[:frames])
    tails = [line.lstrip().partition(" ")[2] for line in lines[first:-1]]
    start = drive.frames[0][0]
    with open(path, "w") as out:
        out.writelines(lines[:first])
        for later, count in drive.parts(frames):
            times = ((t - start) / 1e6 + later for t, *_ in drive.frames[:count])
            out.writelines([f"{t: 9.6f} {tail}" for t, tail in zip(times, tails, strict=False)])
        out.write(lines[-1])


def columns(drive, frames):
    """t_us, id, extended, length, data (n, 8) of that many frames."""
    import numpy
    from cellwarden_tools.readers import EXT

    times, _, ids, datas = zip(*drive.frames, strict=True)
    ids = numpy.array(ids)
    lengths = numpy.array([len(data) for data in datas], "u1")
    data = numpy.frombuffer(b"".join(data.ljust(8, b"\0") for data in datas), "u1").reshape(-1, 8)
    parts = list(drive.parts(frames))
    t_us = numpy.concatenate([numpy.array(times)[:count] + later * 1_000_000 for later, count in parts])
    again = numpy.concatenate([numpy.arange(count) for _, count in parts])
    return t_us, (ids & ~EXT)[again], (ids & EXT != 0)[again], lengths[again], data[again]


def write_blf(drive, path, frames):
    """python-can's writer, handed whole containers: frame by frame it takes a minute for 5 million."""
    import can.io
    import numpy

    t_us, ids, extended, lengths, data = columns(drive, frames)
    kind = numpy.dtype(
        [
            ("signature", "S4"), ("header", "<u2"), ("version", "<u2"), ("size", "<u4"), ("type", "<u4"),
            ("flags", "<u4"), ("client", "<u2"), ("object", "<u2"), ("t_ns", "<u8"),
            ("channel", "<u2"), ("direction", "u1"), ("dlc", "u1"), ("id", "<u4"), ("data", "u1", 8),
        ]
    )  # fmt: skip
    rows = numpy.zeros(frames, kind)
    rows["signature"], rows["header"], rows["version"], rows["size"], rows["type"] = b"LOBJ", 32, 1, kind.itemsize, 1
    start_us = t_us[0] // 1000 * 1000
    rows["flags"], rows["t_ns"] = 2, (t_us - start_us) * 1000
    rows["channel"], rows["dlc"], rows["data"] = 1, lengths, data
    rows["id"] = ids | extended.astype("u4") << 31
    raw = rows.tobytes()
    writer = can.io.BLFWriter(path)
    writer.start_timestamp, writer.stop_timestamp, writer.object_count = start_us / 1e6, t_us[-1] / 1e6, frames
    for at in range(0, len(raw), BLF_CONTAINER):
        block = raw[at : at + BLF_CONTAINER]
        writer._buffer, writer._buffer_size = [block], len(block)
        writer._flush()
    writer.stop()


def write_mf4(drive, path, frames):
    """Bus logging as python-can lays it out and compresses it, with 8 bytes a frame as loggers of classic CAN have."""
    import asammdf
    import numpy
    from asammdf.blocks.v4_blocks import SourceInformation
    from asammdf.blocks.v4_constants import BUS_TYPE_CAN, SOURCE_BUS

    t_us, ids, extended, lengths, data = columns(drive, frames)
    name = "CAN_DataFrame"
    fields = (
        ("BusChannel", "<u1", 0), ("ID", "<u4", ids), ("IDE", "<u1", extended), ("DLC", "<u1", lengths),
        ("DataLength", "<u1", lengths), ("DataBytes", "(8,)u1", data), ("Dir", "<u1", 0), ("EDL", "<u1", 0),
        ("BRS", "<u1", 0), ("ESI", "<u1", 0),
    )  # fmt: skip
    rows = numpy.zeros(frames, [(f"{name}.{field}", kind) for field, kind, _ in fields])
    for field, _, values in fields:
        rows[f"{name}.{field}"] = values
    with asammdf.MDF(version="4.10") as mdf:
        mdf.header.start_time = datetime.fromtimestamp(START_S, UTC)
        times = (t_us - START_S * 1_000_000) / 1e6
        source = SourceInformation(source_type=SOURCE_BUS, bus_type=BUS_TYPE_CAN)
        mdf.append(asammdf.Signal(name=name, samples=rows, timestamps=times, source=source))
        mdf.save(path, compression=2, overwrite=True)


def write(drive, format, path, frames):
    """One log. Returns False where the format cannot be written yet."""
    if format == "candump":
        write_text(drive, path, frames, stamp_at=1)
    elif format == "savvycan":
        write_text(drive, path, frames, stamp_at=0)
    elif format == "parquet":
        import subprocess

        command = Path(sys.executable).with_name("cellwarden")
        words = [str(command), "convert", str(path.with_suffix(".log")), "-o", str(path)]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            print(f"workload: no Parquet ({(done.stderr.strip().splitlines() or ['it gave no reason'])[-1]})")
            return False
    else:
        {"asc": write_asc, "blf": write_blf, "mf4": write_mf4}[format](drive, path, frames)
    return True


def write_heads(path, frames, sizes):
    """The first `sizes` lines of a candump log of that many, each in a file. Returns {lines: path}."""
    made = {}
    for lines in sizes:
        head = path.with_name(f"head-{lines}.log")
        with open(path, "rb") as whole, open(head, "wb") as out:
            out.writelines(itertools.islice(whole, lines))
        made[lines] = head
    return made


def make(drive, folder, frames, big_bytes=0):
    """Make what is missing in `folder`. Returns the index: {"frames", "logs", "short", "heads", "big"}."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / "index.json"
    wanted = {"key": drive.key(), "frames": frames}
    index = json.loads(place.read_text()) if place.exists() else {}
    if any(index.get(key) != value for key, value in wanted.items()):
        for path in folder.iterdir():
            path.unlink()
        index = wanted | {"logs": {}, "short": {}, "heads": {}, "big": None}
    for format, suffix in FORMATS.items():
        for kind, count in (("short", SHORT), ("logs", frames)):
            path = folder / f"{kind}.{suffix}"
            # Ours is made anew each time: its layout may have changed.
            if format == "parquet" or format not in index[kind]:
                print(f"workload: {count} frames of {format}", flush=True)
                index[kind].pop(format, None)
                if write(drive, format, path, count):
                    index[kind][format] = {"path": str(path), "bytes": path.stat().st_size}
                place.write_text(json.dumps(index))
    if not index["heads"]:
        sizes = [SLOW, *(int(frames * part) for part in HEADS)]
        made = write_heads(Path(index["logs"]["candump"]["path"]), frames, sizes)
        index["heads"] = {str(lines): str(path) for lines, path in made.items()}
    if big_bytes and not index["big"]:
        path = folder / "big.log"
        print(f"workload: {big_bytes / 1e9:g} GB of candump", flush=True)
        written = write_text(drive, path, 1 << 40, stamp_at=1, stop_bytes=big_bytes)
        index["big"] = {"path": str(path), "bytes": path.stat().st_size, "frames": written}
    place.write_text(json.dumps(index))
    return index
