"""opendbc's CANParser decodes the messages in use, from frames in memory, handed over every 10 ms as openpilot does.

    python with_opendbc.py LOG FRAMES FOLDER

FOLDER takes a DBC made for it. The parser knows no multiplexing: it would take all 96 cells out of each frame of
`Cells`. So its DBC has one page of each multiplexed message, and it decodes as many signals a frame as the others do.
"""

import itertools
import json
import sys
import time
from pathlib import Path

from cellwarden_tools.readers import open_log
from opendbc.can import CANParser
from vehicle import EXT, used, used_dbc

EVERY_US = 10_000


def main(log, frames, folder):
    dbc = Path(folder) / "one_page.dbc"
    dbc.write_text(used_dbc(one_page=True))
    _, names = used()
    parser = CANParser(str(dbc), [(name, 0) for name in names.values()], 0)
    given, read = [], 0
    for t, some in itertools.groupby(itertools.islice(open_log(log), frames), lambda frame: frame[0] // EVERY_US):
        some = [(can_id & ~EXT | (1 << 31 if can_id & EXT else 0), data, 0) for _, _, can_id, data in some]
        read += len(some)
        given.append((t * EVERY_US * 1000, some))
    updated = 0
    start = time.perf_counter()
    for entry in given:
        updated += len(parser.update([entry]))
    seconds = time.perf_counter() - start
    print(json.dumps({"frames": read, "updated": updated, "seconds": seconds}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
