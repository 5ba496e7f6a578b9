"""Write a log. candump and SavvyCAN text come from here, to the microsecond; the rest from python-can.

    with open_writer("drive.log.xz") as log:
        log.write(t_us, "can0", can_id, data)

The same frames give the same bytes in candump and CSV; the other formats put today's date or a path into their header.
python-can's ASC, TRC and (before 1990) BLF writers count time from the first frame and never let it run backwards.
"""

import contextlib
import re
import tempfile
from pathlib import Path, PurePath

from .errors import InputError
from .files import whole_file
from .readers import EXT
from .readers.source import PACKED

BYTES = 1 << 16  # of text gathered before it is written
TEXT = (".log", ".csv")
FOREIGN = (".asc", ".blf", ".trc", ".mf4")


@contextlib.contextmanager
def open_writer(path):
    """A log being written; its suffix says the format: .log, .csv, .asc, .trc (each also .gz, .xz, .zst), .blf, .mf4.

    `.write(t_us, channel, can_id, data, fd=False)` takes microseconds >= 0, a channel's name, an identifier with EXT
    set for 29 bits, and 0..8 bytes, or 0..64 with `fd`. The file appears when the block ends well, or not at all.
    Raises InputError for another suffix, a folder that cannot be written, and a frame the format cannot hold.
    """
    suffixes = [suffix.lower() for suffix in PurePath(path).suffixes]
    packed = PACKED.get(suffixes[-1]) if suffixes else None
    suffix = (suffixes[:-1] if packed else suffixes)[-1:]
    suffix = suffix[0] if suffix else ""
    if suffix not in TEXT + FOREIGN or (packed and suffix in (".blf", ".mf4")):
        expected = f"{', '.join(TEXT + FOREIGN)}, or text with {', '.join(PACKED)}"
        raise InputError(path, "no log can be written under this suffix", expected)
    with whole_file(path) as file, _packer(path, file, packed) as out:
        if suffix in TEXT:
            writer = (_Candump if suffix == ".log" else _SavvyCan)(path, out)
            yield writer
            writer.flush()
        else:
            with tempfile.TemporaryDirectory(prefix="cellwarden-") as folder:
                beside = Path(folder) / f"log{suffix}"
                writer = _Foreign(path, beside, suffix)
                try:
                    yield writer
                finally:
                    writer.log.stop()
                with open(beside, "rb") as made:
                    while block := made.read(BYTES):
                        out.write(block)


@contextlib.contextmanager
def _packer(path, file, packed):
    """`file`, or what compresses into it. Neither day nor name goes in: the same frames give the same bytes."""
    if packed is None:
        yield file
        return
    try:
        if packed == "gzip":
            import gzip

            out = gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0)
        elif packed == "xz":
            import lzma

            out = lzma.LZMAFile(file, "wb")
        else:
            import zstandard

            out = zstandard.ZstdCompressor().stream_writer(file, closefd=False)
    except ImportError:
        raise InputError(path, f"the library for {packed} is missing", mend="write it without compression") from None
    with out:
        yield out


class _Text:
    """Lines gathered and written in blocks."""

    def __init__(self, path, out):
        self.path, self.out, self.lines = path, out, []

    def put(self, line):
        self.lines.append(line)
        if len(self.lines) >= 1024:
            self.flush()

    def flush(self):
        self.out.write("".join(self.lines).encode())
        self.lines.clear()


class _Candump(_Text):
    def write(self, t_us, channel, can_id, data, fd=False):
        _check(self.path, t_us, can_id, data, fd)
        if not re.fullmatch("[!-~]+", channel):
            raise InputError(self.path, f"channel {channel!r} cannot stand in a candump log", "a name without blanks")
        name = f"{can_id - EXT:08X}" if can_id & EXT else f"{can_id:03X}"
        seconds, us = divmod(t_us, 1_000_000)
        self.put(f"({seconds:06}.{us:06}) {channel} {name}#{'#0' if fd else ''}{data.hex().upper()}\n")


class _SavvyCan(_Text):
    """Buses are numbers there: the one a channel's name ends in, else 0."""

    def __init__(self, path, out):
        super().__init__(path, out)
        self.put("Time Stamp,ID,Extended,Dir,Bus,LEN,D1,D2,D3,D4,D5,D6,D7,D8\n")

    def write(self, t_us, channel, can_id, data, fd=False):
        _check(self.path, t_us, can_id, data, fd)
        bus = re.search(r"\d*$", channel)[0] or "0"
        extended = "true" if can_id & EXT else "false"
        cells = data.ljust(8, b"\0").hex(",").upper()
        self.put(f"{t_us},{can_id & ~EXT:08X},{extended},Rx,{bus},{len(data)},{cells},\n")


class _Foreign:
    def __init__(self, path, beside, suffix):
        import can.io

        if suffix == ".mf4":
            try:
                import asammdf  # noqa: F401
            except ImportError:
                raise InputError(path, "MF4 logs need asammdf", mend="pip install cellwarden[mf4]") from None
        kinds = {".asc": can.io.ASCWriter, ".blf": can.io.BLFWriter, ".trc": can.io.TRCWriter, ".mf4": can.io.MF4Writer}
        self.path, self.suffix, self.message = path, suffix, can.Message
        self.log = kinds[suffix](beside)
        if suffix == ".trc":
            self.log.filepath = PurePath(path).name  # its header would name the temporary file
        self.shift = 0 if suffix == ".mf4" else 1  # the others count channels from 1, python-can from 0

    def write(self, t_us, channel, can_id, data, fd=False):
        _check(self.path, t_us, can_id, data, fd)
        if fd and self.suffix == ".trc":
            raise InputError(self.path, "CAN FD frames cannot be written to a PCAN trace", "another format")
        self.log.on_message_received(
            self.message(
                timestamp=t_us / 1e6,
                arbitration_id=can_id & ~EXT,
                is_extended_id=bool(can_id & EXT),
                channel=int(channel) - self.shift if channel.isdecimal() else channel,
                data=data,
                is_fd=fd,
            )
        )


def _check(path, t_us, can_id, data, fd):
    if t_us < 0 or not 0 <= can_id < 2 * EXT or (can_id < EXT and can_id > 0x7FF) or len(data) > (64 if fd else 8):
        what = f"a frame that no bus carries (time {t_us} us, identifier {can_id:#x}, {len(data)} bytes)"
        raise InputError(path, what, "time from 0, 11 or 29 bits, 8 bytes or 64 in CAN FD")
