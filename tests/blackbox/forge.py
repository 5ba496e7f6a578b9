"""Someone who has the first key and writes a log as if it were the box's: changed, and sealed as it should be.

Written from docs/blackbox.md alone, as second_reader.py is.
"""

import struct

import tamper
from second_reader import SEAL, records_of, sha256

IDENTITY, FRAMES, FEATURES, EVENT, SNAPSHOT, ANNEX = 1, 6, 7, 8, 9, 18


class Record:
    """A record that can be changed. body: None to leave it out."""

    def __init__(self, kind, boot, t_ms, body, end):
        self.kind, self.boot, self.t_ms, self.body, self.end = kind, boot, t_ms, body, end


class Forgery:
    """A log {name: bytes} to be changed. chain: {segment: [Record]}; annexes: {name: [Record]}"""

    def __init__(self, files, first_key):
        self.files, self.key = files, first_key
        self.chain = {
            name: _records(files[name]) for name in sorted(files) if name.endswith(".cwb") and name != "end.cwb"
        }
        self.annexes = {name: _records(data) for name, data in files.items() if name.endswith(".cwf")}

    def all(self, kind):
        return [record for records in self.chain.values() for record in records if record.kind == kind]

    def annexed(self, kind):
        return [record for records in self.annexes.values() for record in records if record.kind == kind]

    def place(self, record):
        """(the list it stands in, its number there)"""
        for records in (*self.chain.values(), *self.annexes.values()):
            for number, other in enumerate(records):
                if other is record:
                    return records, number
        raise AssertionError("it is nowhere")

    def sealed(self):
        """The files with every seal as the box would have made it. The end mark still fits, the key slots do not."""
        made = {name: data for name, data in self.files.items() if name == "end.cwb"}
        ends, raw = {}, {}
        for name, records in self.annexes.items():
            data, sequence, ends[name] = b"", 0, {0: 0}
            for record in records:
                if record.body is not None:
                    data += tamper.record(record.kind, record.boot, sequence, record.body, record.t_ms)
                    sequence += 1
                if record.end is not None:
                    ends[name][record.end] = len(data)
            made[name] = raw[name] = data
        sequence, index, key, tag = 0, 0, self.key, bytes(32)
        for name, records in self.chain.items():
            data, parts = b"", []
            for record in records:
                body = record.body
                if body is None:
                    continue
                if record.kind == SEAL:
                    block, tag = tamper.sealed(parts, sha256(b"cellwarden seal key 1", key), index, record.boot, tag)
                    data, parts, key = data + block, [], sha256(b"cellwarden next key 1", key)
                    sequence, index = sequence + 1, index + 1
                    # tamper.sealed() gives its seal no time of its own
                    continue
                if record.kind == ANNEX:
                    number, first, end = struct.unpack_from("<III", body)
                    annex = f"{number:08x}.cwf"
                    if annex in ends:
                        first, end = ends[annex][first], ends[annex][end]
                        body = struct.pack("<III", number, first, end) + sha256(raw[annex][first:end])[:16]
                parts.append(tamper.record(record.kind, record.boot, sequence, body, record.t_ms))
                sequence += 1
            made[name] = data
        return made


def _records(data):
    return [
        Record(kind, boot, t_ms, body, at + len(whole)) for at, (kind, boot, _, t_ms, body, whole) in records_of(data)
    ]
