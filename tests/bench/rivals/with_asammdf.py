"""asammdf decodes the messages in use out of an MF4 bus log: `MDF.extract_bus_logging`. No rules.

    python with_asammdf.py LOG FOLDER

FOLDER takes a DBC made for it.
"""

import json
import sys
import time
from pathlib import Path

import asammdf
from vehicle import used_dbc


def main(log, folder):
    dbc = Path(folder) / "used.dbc"
    dbc.write_text(used_dbc())
    start = time.perf_counter()
    with asammdf.MDF(log) as mdf:
        frames = sum(group.channel_group.cycles_nr for group in mdf.groups)
        with mdf.extract_bus_logging({"CAN": [(dbc, 0)]}) as made:
            seconds = time.perf_counter() - start
            signals = sum(group.channel_group.cycles_nr * (len(group.channels) - 1) for group in made.groups)
    print(json.dumps({"frames": frames, "signals": signals, "seconds": seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])
