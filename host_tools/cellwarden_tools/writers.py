"""Write a log. candump, SavvyCAN and Parquet come from here, to the microsecond; the rest from python-can.

    with open_writer("drive.log.xz") as log:
        log.write(t_us, "can0", can_id, data)

The same frames give the same bytes in candump, CSV and Parquet; the other formats put today's date or a path into their
header. python-can's ASC and TRC count time from the first frame, its BLF too where that is before 1990, and none of the
three can hold a frame from before the first.
"""

import contextlib
import re
import tempfile
from pathlib import Path, PurePath

from cellwarden.core.layout import NOTICE

from .errors import InputError
from .files import whole_file
from .readers import EXT, candump
from .readers.account import KINDS
from .readers.source import PACKED

BYTES = 1 << 16  # of text gathered before it is written
TEXT = (".log", ".csv")
FOREIGN = (".asc", ".blf", ".trc", ".mf4")
COLUMNAR = ".parquet"
NO_NOTICE = "notices of a kind that this format has no record for"
YEAR_1990 = 631_152_000_000_000  # us; python-can takes what is before for no time of day


@contextlib.contextmanager
def open_writer(path):
    """A log being written; its suffix says the format: .log, .csv, .asc, .trc (each also .gz, .xz, .zst), .blf, .mf4,
    .parquet.

    `.write(t_us, channel, can_id, data, fd=False, sent=False)` takes microseconds >= 0, a channel's name, an identifier
    with EXT set for 29 bits, and 0..8 bytes, or 0..64 with `fd`; `sent` marks a frame that the tester sent. A notice
    (readers) is written as the kernel's error frame in candump, as it is in Parquet, and refused by the others.
    `.name(channel)` is what will stand there for a channel, `.zero_us` the time that is zero there. The file appears
    when the block ends well, or not at all.
    Raises InputError for another suffix, a folder that cannot be written, and a frame the format cannot hold.
    """
    suffixes = [suffix.lower() for suffix in PurePath(path).suffixes]
    packed = PACKED.get(suffixes[-1]) if suffixes else None
    suffix = (suffixes[:-1] if packed else suffixes)[-1:]
    suffix = suffix[0] if suffix else ""
    if suffix not in (*TEXT, *FOREIGN, COLUMNAR) or (packed and suffix in (".blf", ".mf4", COLUMNAR)):
        expected = f"{', '.join((*TEXT, *FOREIGN, COLUMNAR))}, or text with {', '.join(PACKED)}"
        raise InputError(path, "no log can be written under this suffix", expected)
    with whole_file(path) as file, _packer(path, file, packed) as out:
        if suffix in TEXT:
            writer = (_Candump if suffix == ".log" else _SavvyCan)(path, out)
            yield writer
            writer.flush()
        elif suffix == COLUMNAR:
            yield from _columnar(path, out)
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


def _columnar(path, out):
    try:
        from pyarrow.parquet import ParquetWriter

        from .parquet_writer import ParquetLog
    except ImportError:
        raise InputError(path, "Parquet needs pyarrow", mend="pip install cellwarden[parquet]") from None
    if not hasattr(ParquetWriter, "add_key_value_metadata"):
        raise InputError(path, "a log in Parquet needs pyarrow 17 or newer", mend="pip install -U pyarrow")
    writer = ParquetLog(out)
    try:
        yield writer
        if not writer.finished:
            writer.finish()
    finally:
        writer.close()


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

    zero_us = 0

    def __init__(self, path, out):
        self.path, self.out, self.lines = path, out, []

    def raw(self, text):
        """Bytes as they are."""
        self.flush()
        self.out.write(text)

    def put(self, line):
        self.lines.append(line)
        if len(self.lines) >= 1024:
            self.flush()

    def flush(self):
        self.out.write("".join(self.lines).encode())
        self.lines.clear()


class _Candump(_Text):
    format = "candump"

    def write(self, t_us, channel, can_id, data, fd=False, sent=False):
        told = can_id >> 30 and candump.error_frame(can_id, data)
        _check(self.path, t_us, 0 if told else can_id, data, fd)
        if not re.fullmatch("[!-~]+", channel):
            raise InputError(self.path, f"channel {channel!r} cannot stand in a candump log", "a name without blanks")
        name, data = candump.written(can_id, data)
        seconds, us = divmod(t_us, 1_000_000)
        way = " T" if sent else ""
        self.put(f"({seconds:06}.{us:06}) {channel} {name}#{'#0' if fd else ''}{data.hex().upper()}{way}\n")

    @staticmethod
    def name(channel):
        return re.sub("[^!-~]", "_", channel) or "can0"


class _SavvyCan(_Text):
    """Buses are numbers there: the one a channel's name ends in, else 0."""

    format = "savvycan"

    def __init__(self, path, out):
        super().__init__(path, out)
        self.put("Time Stamp,ID,Extended,Dir,Bus,LEN,D1,D2,D3,D4,D5,D6,D7,D8\n")

    @staticmethod
    def name(channel):
        return re.search(r"[0-9]{0,3}$", channel)[0] or "0"

    def write(self, t_us, channel, can_id, data, fd=False, sent=False):
        _check(self.path, t_us, can_id, data, fd)
        bus = self.name(channel)
        extended = "true" if can_id & EXT else "false"
        cells = data.ljust(8, b"\0").hex(",").upper()
        self.put(f"{t_us},{can_id & ~EXT:08X},{extended},{'Tx' if sent else 'Rx'},{bus},{len(data)},{cells},\n")


class _Foreign:
    def __init__(self, path, beside, suffix):
        import can.io

        if suffix == ".mf4":
            try:
                import asammdf  # noqa: F401
            except ImportError:
                raise InputError(path, "MF4 logs need asammdf", mend="pip install cellwarden[mf4]") from None
        kinds = {".asc": can.io.ASCWriter, ".blf": can.io.BLFWriter, ".trc": can.io.TRCWriter, ".mf4": can.io.MF4Writer}
        self.path, self.suffix, self.message, self.format = path, suffix, can.Message, suffix[1:]
        self.log = kinds[suffix](beside)
        if suffix == ".trc":
            self.log.filepath = PurePath(path).name  # its header would name the temporary file
        self.shift = 0 if suffix == ".mf4" else 1  # the others count channels from 1, python-can from 0
        self.first_us, self.zero_us = None, 0

    def name(self, channel):
        """The number in its name; python-can calls channels without one 1, and the first of can0, can1, ... too."""
        digits = re.search(r"[0-9]{0,9}$", channel)[0]
        number = int(digits) + (self.shift if digits != channel else 0) if digits else self.shift
        return str(number if number < 256 else self.shift)

    def write(self, t_us, channel, can_id, data, fd=False, sent=False):
        _check(self.path, t_us, can_id, data, fd)
        if fd and self.suffix == ".trc":
            raise InputError(self.path, "CAN FD frames cannot be written to a PCAN trace", "another format")
        if self.first_us is None:
            self.first_us = t_us
            if self.suffix in (".asc", ".trc"):
                self.zero_us = t_us
            elif self.suffix == ".blf" and t_us < YEAR_1990:
                self.zero_us = t_us // 1000 * 1000
        elif t_us < self.first_us and self.suffix != ".mf4":
            raise InputError(
                self.path, f"a frame from before the first cannot be written to {self.suffix}", "another format"
            )
        self.log.on_message_received(
            self.message(
                timestamp=t_us / 1e6,
                arbitration_id=can_id & ~EXT,
                is_extended_id=bool(can_id & EXT),
                channel=int(self.name(channel)) - self.shift,
                data=data,
                is_fd=fd,
                is_rx=not sent,
            )
        )


def _check(path, t_us, can_id, data, fd):
    if can_id & KINDS == NOTICE != can_id:
        raise InputError(path, NO_NOTICE, "candump for error frames, Parquet for any notice")
    if t_us < 0 or not 0 <= can_id < 2 * EXT or (can_id < EXT and can_id > 0x7FF) or len(data) > (64 if fd else 8):
        what = f"a frame that no bus carries (time {t_us} us, identifier {can_id:#x}, {len(data)} bytes)"
        raise InputError(path, what, "time from 0, 11 or 29 bits, 8 bytes or 64 in CAN FD")
