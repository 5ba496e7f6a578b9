"""What someone can do to a log: its bytes, records and blocks moved about; and a thief with all that the box holds."""

import hmac
import struct
import zlib
from typing import NamedTuple

import second_reader
from second_reader import SEAL, records_of, sha256


class Piece(NamedTuple):
    """A record, or a block of them: bytes at..end of a segment. block: (at, end) of the block around it."""

    name: str
    at: int
    end: int
    block: tuple[int, int]


def segment_names(files):
    return sorted(name for name in files if name[:-4].isdigit())


def records(files):
    """Every record as a Piece, in order."""
    found = []
    for name in segment_names(files):
        start, open_records = 0, []
        for at, record in records_of(files[name]):
            end = at + len(record[5])
            open_records.append((at, end))
            if record[0] == SEAL:
                found += [Piece(name, *where, (start, end)) for where in open_records]
                start, open_records = end, []
        assert not open_records
    return found


def blocks(files):
    """Every block as a Piece, in order."""
    return sorted({Piece(name, *block, block) for name, _, _, block in records(files)})


def bytes_of(files, piece):
    return files[piece.name][piece.at : piece.end]


def replaced(files, *changes):
    """The files with other bytes for some Pieces: (piece, bytes); later ones of a file first."""
    files = dict(files)
    for piece, data in sorted(changes, reverse=True):
        files[piece.name] = files[piece.name][: piece.at] + data + files[piece.name][piece.end :]
    return files


def prefixes(files, step=1):
    """The log as it was after each byte that was appended: (name, byte, files)."""
    for number, name in enumerate(segment_names(files)):
        gone = segment_names(files)[number + 1 :]
        left = {other: data for other, data in files.items() if other not in gone}
        for at in range(0, len(files[name]), step):
            yield name, at, left | {name: files[name][:at]}
        yield name, len(files[name]), left


# --- a thief ---


class Loot(NamedTuple):
    """What the key slot of a box at rest holds, and nothing more."""

    index: int  # of the next block
    boot: int
    sequence: int
    seal_key: bytes  # M(index)
    after: bytes  # C(index + 1)
    tag: bytes

    def key_of(self, index):
        """M(index), where the thief can make it: from now on."""
        assert index >= self.index
        if index == self.index:
            return self.seal_key
        return sha256(b"cellwarden seal key 1", second_reader.chain_key(self.after, index - self.index - 1))


def loot(files):
    slot = files["key.a"]
    index, boot, sequence, _, _, stored = struct.unpack_from("<6I", slot, 4)
    assert slot == files["key.b"] and stored == 1 and index
    return Loot(index, boot, sequence, slot[28:60], slot[60:92], slot[92:124])


def record(kind, boot, sequence, body, t_ms=0):
    data = struct.pack("<BBHIII", 0xCB, kind, len(body), boot, sequence, t_ms) + body
    return data + struct.pack("<I", zlib.crc32(data))


def renumbered(whole, boot, sequence):
    """A record's bytes with another boot and sequence, its CRC right."""
    return record(whole[1], boot, sequence, whole[16:-4], struct.unpack_from("<I", whole, 12)[0])


def sealed(parts, key, index, boot, before):
    """(bytes of a block of these records, its tag); the seal's sequence follows that of the last."""
    first = struct.unpack_from("<I", parts[0], 8)[0]
    body = struct.pack("<II", index, first) + before
    seal = record(SEAL, boot, first + len(parts), body + bytes(32))[:-36]
    tag = hmac.new(key, b"".join(parts) + seal, "sha256").digest()
    return b"".join(parts) + record(SEAL, boot, first + len(parts), body + tag), tag
