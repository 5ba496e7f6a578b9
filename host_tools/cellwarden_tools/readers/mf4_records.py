"""The records of a group in an MF4 log, in bounded memory.

asammdf reads them, and a usual data block of usual records is taken apart here: a transposed one holds the fields side
by side already, which asammdf would turn into records and back.
"""

import bisect
import contextlib
import logging
import sys
from dataclasses import dataclass

import numpy

from .inflate import decompress
from .mf4 import FRAME, LATEST

RECORDS = 1 << 14  # looked at together
READ = 1 << 22  # bytes of records that asammdf is asked for at a time, which is most recorders' data block
HELD = 1 << 26  # bytes read ahead in all groups together
ANY = 1 << 40
LARGEST = 1 << 24  # bytes of a data block that is read in one go

FIELDS = ("BusChannel", "ID", "IDE", "DataLength", "DLC", "Dir", "RTR")
BYTES = "DataBytes"

# numbers of MDF 4
PLAIN, DEFLATED, TRANSPOSED = 0, 1, 2  # data blocks
VALUE, MASTER = 0, 2  # channels
UNSIGNED, REAL, BYTE_ARRAY = 0, 4, 10  # their values, little endian
USUAL = {name: (VALUE, (UNSIGNED,)) for name in FIELDS} | {
    BYTES: (VALUE, (BYTE_ARRAY,)),
    "": (MASTER, (UNSIGNED, REAL)),
}


@dataclass(slots=True)
class Part:
    """Some records of a group, in its order; a row each.

    number:  int, of records before the first of these
    t_us:    int64 (n,), LATEST where the stamp is none
    fields:  {name of FIELDS: (n,)}, those that there are
    data:    uint8 (n, as many as there is room for)
    invalid: bool (n,), the recorder's own mark, or None
    """

    number: int
    t_us: numpy.ndarray
    fields: dict
    data: numpy.ndarray
    invalid: numpy.ndarray | None

    def __len__(self):
        return len(self.t_us)

    def rows(self, which, before=0):
        """The part with some of its rows; `before`: rows left out in front."""
        fields = {name: column[which] for name, column in self.fields.items()}
        invalid = None if self.invalid is None else self.invalid[which]
        return Part(self.number + before, self.t_us[which], fields, self.data[which], invalid)


class Group:
    """The records of one group.

    file:  the MDF file as a binary file that can be sought
    ahead: bytes of records to read at a time
    """

    def __init__(self, mdf, at, start_us, ahead, file, path, account):
        self._mdf, self._at, self._start_us, self._file = mdf, at, start_us, file
        self._group = mdf.groups[at]
        size = self._group.channel_group.samples_byte_nr + self._group.channel_group.invalidation_bytes_nr
        self._size, self._most = max(size, 1), max(ahead // max(size, 1), 1)
        self._path, self._account = path, account
        self._cap = ANY  # records asked for at a time; falls where asammdf fails and rises again

    def place(self, number):
        """Where record `number` stands, the first being 0."""
        return f"{self._path}:group {self._at} record {number + 1}"

    def parts(self):
        """Yield every Part, then say what could not be read."""
        count, number = self._group.channel_group.cycles_nr, 0
        for part in self._reads(count):
            for start in range(0, len(part), RECORDS):
                yield part.rows(slice(start, start + RECORDS), start)
            number += len(part)
        if number < count:
            self._account.rejected["cut off"] += count - number
            self._account.end(f"group {self._at} counts {count} records, {number} could be read")

    def _reads(self, count):
        """Records block by block until one cannot be read."""
        blocks = self._blocks()
        ends = [end for _, end, _ in blocks]
        layout = self._layout()
        if layout and not self._proven(layout, blocks, count):
            layout = None
        first = 0
        while first < count:
            near = bisect.bisect(ends, first)
            part = self._taken_apart(layout, blocks, near, first, count) if layout else None
            if not part:
                wanted = self._most
                if near < len(ends):  # whole data blocks: asammdf unpacks all of one at each read
                    far = bisect.bisect(ends, first + wanted) - 1
                    wanted = ends[max(near, far)] - first
                part = self._asked(first, min(wanted, count - first))
            if not part:
                return
            yield part
            first += len(part)

    def _blocks(self):
        """(first record, the one behind the last, asammdf's DataBlockInfo) of each data block that is whole records."""
        blocks, end = [], 0
        with contextlib.suppress(Exception):  # a list cut off: the rest is read without
            for block in self._group.get_data_blocks():
                start, end = end, end + block.original_size
                if block.original_size > LARGEST or start % self._size or end % self._size or start == end:
                    break
                blocks.append((start // self._size, end // self._size, block))
        return blocks

    def _asked(self, first, wanted):
        """Records from asammdf, or None; what fails is tried again by halves, down to one record."""
        wanted = min(wanted, self._cap)
        while wanted:
            try:
                with quiet():
                    records = self._mdf.get(
                        FRAME,
                        group=self._at,
                        record_offset=first,
                        record_count=wanted,
                        raw=True,
                        ignore_invalidation_bits=True,
                    )
                samples, stamps = records.samples, records.timestamps
                if len(samples) != len(stamps):
                    raise ValueError
            except Exception:  # the last block of a cut file: some of its records may still be whole
                wanted //= 2
                self._cap = max(wanted, 1)
                continue
            self._cap = min(self._cap * 2, ANY)
            if not len(samples):
                return None
            found = {name.removeprefix(f"{FRAME}."): samples[name] for name in samples.dtype.names or ()}
            fields = {name: found[name] for name in FIELDS if name in found}
            data = _bytes(found.get(BYTES), len(samples))
            return Part(first, self._micros(stamps), fields, data, records.invalidation_bits)
        return None

    def _micros(self, stamps):
        """Seconds from the start -> microseconds."""
        t_us = (stamps * 1e6).round()
        with numpy.errstate(invalid="ignore"):
            return numpy.where(abs(t_us) < LATEST / 2, t_us.astype("i8") + self._start_us, LATEST)

    def _layout(self):
        """{field, or "" for the stamp: (first byte, dtype)} of a record whose fields are whole bytes, else None."""
        group, layout = self._group, {}
        try:
            if not self._file or group.uses_ld or group.data_location or group.channel_group.invalidation_bytes_nr:
                return None
            master = self._mdf.masters_db[self._at]
            for at, channel in enumerate(group.channels):
                name = "" if at == master else channel.name.removeprefix(f"{FRAME}.")
                if name not in USUAL:
                    continue
                kind, types = USUAL[name]
                dtype = numpy.dtype(channel.dtype_fmt)
                usual = channel.channel_type == kind and channel.data_type in types and not channel.bit_offset
                usual = usual and channel.bit_count == dtype.itemsize * 8 and name not in layout
                if not usual or channel.byte_offset + dtype.itemsize > self._size:
                    return None
                layout[name] = channel.byte_offset, dtype
            self._conversion = group.channels[master].conversion
        except Exception:  # a group without stamps, another asammdf
            return None
        return layout if BYTES in layout else None

    def _proven(self, layout, blocks, count):
        """Whether the first records, taken apart here, are what asammdf makes of them."""
        ours, theirs = self._taken_apart(layout, blocks, 0, 0, count), self._asked(0, min(count, 64))
        if not ours or not theirs or (theirs.invalid is not None and theirs.invalid.any()):
            return False
        ours = ours.rows(slice(len(theirs)))
        return ours.fields.keys() == theirs.fields.keys() and all(
            numpy.array_equal(mine, their) and mine.dtype == their.dtype
            for mine, their in (
                (ours.t_us, theirs.t_us),
                (ours.data, theirs.data),
                *((column, theirs.fields[name]) for name, column in ours.fields.items()),
            )
        )

    def _taken_apart(self, layout, blocks, at, first, count):
        """Records of usual data blocks from blocks[at] on, or None."""
        pieces, end = [], first
        while at < len(blocks) and end - first < RECORDS:
            start, behind, block = blocks[at]
            piece = self._block(layout, block, behind - start) if start == end and behind <= count else None
            if not piece:
                break
            pieces.append(piece)
            at, end = at + 1, behind
        if not pieces:
            return None
        columns = pieces[0]
        if len(pieces) > 1:
            columns = {name: numpy.concatenate([piece[name] for piece in pieces]) for name in layout}
        stamps, data = columns.pop(""), columns.pop(BYTES)
        if self._conversion:
            stamps = self._conversion.convert(stamps)
        return Part(first, self._micros(stamps.astype("f8")), columns, data, None)

    def _block(self, layout, block, count):
        """{name: column} of a data block of `count` records, or None where it is unusual or damaged."""
        size = self._size
        if block.block_limit is not None or block.block_type not in (PLAIN, DEFLATED, TRANSPOSED):
            return None
        if block.block_type == TRANSPOSED and block.param != size:
            return None
        try:
            self._file.seek(block.address)
            plain = self._file.read(block.compressed_size)
            if block.block_type != PLAIN:
                plain = decompress(plain)
        except Exception:  # as asammdf will find
            return None
        if len(plain) != count * size:
            return None
        if block.block_type == TRANSPOSED:
            rows = numpy.frombuffer(plain, "u1").reshape(size, count).T
        else:
            rows = numpy.frombuffer(plain, "u1").reshape(count, size)
        columns = {}
        for name, (start, dtype) in layout.items():
            column = rows[:, start : start + dtype.itemsize]
            if name != BYTES and dtype.itemsize == 1:
                column = column[:, 0]
            elif name != BYTES and block.block_type == TRANSPOSED:
                column = numpy.ascontiguousarray(column).view(dtype)[:, 0]
            elif name != BYTES:
                column = numpy.ndarray(count, dtype, plain, start, size)
            columns[name] = column
        return columns


def _bytes(data, count):
    """uint8 (n, width) of the data bytes as asammdf has them."""
    if data is None or data.dtype.hasobject:
        return numpy.empty((count, 0), "u1")
    if data.dtype != "u1":
        data = numpy.ascontiguousarray(data).view("u1")
    return data.reshape(count, -1)


@contextlib.contextmanager
def quiet():
    """Keep asammdf's own tracebacks from the user: it prints them, logs them, and fails once more in its destructor."""
    log, hook = logging.getLogger("asammdf"), sys.unraisablehook
    before, log.disabled, sys.unraisablehook = log.disabled, True, lambda unraisable: None
    try:
        with contextlib.redirect_stdout(None):
            yield
    finally:
        log.disabled, sys.unraisablehook = before, hook
