"""python-can reads a log, cantools decodes the messages in use. No rules, no counters, no checksums.

python with_python_can.py LOG FRAMES [--read-only]
"""

import itertools
import json
import sys
import time

import can
import cantools
from vehicle import EXT, used_dbc


def main(log, frames, read_only=False):
    database = cantools.database.load_string(used_dbc())
    messages = {m.frame_id | (EXT if m.is_extended_frame else 0): m for m in database.messages}
    read = signals = 0
    physical_sum = 0.0
    start = time.perf_counter()
    # LogReader takes the reader that the suffix says: CanutilsLogReader, ASCReader, BLFReader or MF4Reader.
    with can.LogReader(log) as reader:
        for frame in itertools.islice(reader, frames):
            read += 1
            if read_only:
                continue
            message = messages.get(frame.arbitration_id | EXT if frame.is_extended_id else frame.arbitration_id)
            if message is not None:
                values = message.decode(frame.data, decode_choices=False)
                signals += len(values)
                physical_sum += sum(values.values())
    seconds = time.perf_counter() - start
    print(json.dumps({"frames": read, "signals": signals, "physical_sum": physical_sum, "seconds": seconds}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), "--read-only" in sys.argv)
