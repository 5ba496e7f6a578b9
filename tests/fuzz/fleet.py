"""The vehicles that are fuzzed, each hard in its own way: name -> compiled."""

import re
import tempfile
from functools import cache
from pathlib import Path

from cellwarden_tools.compiler.image import compile_profile
from vehicles import DECODERS, dbc, message, profile

CHECKOUT = Path(__file__).parents[2]
DEMO = CHECKOUT / "dbc" / "demo_pack.toml"

SIGNALS = """
pack_voltage = "Pack.U"
pack_current = "Pack.I"
soc = "Pack.Soc"
insulation = "Slow.R"
insulation_valid = { signal = "State.Valid", true = [1] }
vehicle_state = { signal = "State.On", on = [1], off = [0] }
charging = { signal = "State.Charge", true = [1] }
contactors = { signal = "State.Closed", true = [1] }
hvil = { signal = "State.Hvil", ok = [1] }
bms_level = { signal = "State.Level", levels = [0, 1, 2, 3] }
max_discharge_current = "Limits.D"
max_charge_current = "Limits.C"
cell_count = "Slow.Cells"
probe_count = "Slow.Probes"
cell_voltage = "Cells.C{n}"
temperature = "Temps.T{n}"
"""


def everything(name, cells, probes, scan_ms, period_ms, capacity_ah=150):
    """(profile, {file: DBC}) of a vehicle of so many cells and probes that sends every quantity every `period_ms`."""
    counted = 'K : 52|4@1+ (1,0) [0|15] ""', 'X : 56|8@1+ (1,0) [0|255] ""'
    states = ("On", "Charge", "Closed", "Hvil", "Valid")
    text = dbc(
        message(
            1, 8, 'U : 0|24@1+ (0.001,0) [0|0] "V"', 'I : 24|24@1- (0.001,0) [0|0] "A"',
            'Soc : 48|11@1+ (0.1,0) [0|0] "%"', name="Pack",
        ),
        message(
            2, 8, *(f'{s} : {2 * i}|2@1+ (1,0) [0|3] ""' for i, s in enumerate(states)),
            'Level : 10|3@1+ (1,0) [0|7] ""',
            *(f'F{i} : {16 + 2 * i}|2@1+ (1,0) [0|3] ""' for i in range(6)), *counted, name="State",
        ),
        message(
            3, 8, 'R : 0|32@1+ (1,0) [0|0] "ohm"', 'Cells : 32|12@1+ (1,0) [0|0] ""',
            'Probes : 44|10@1+ (1,0) [0|0] ""', name="Slow",
        ),
        message(4, 6, 'D : 0|24@1+ (0.001,0) [0|0] "A"', 'C : 24|24@1+ (0.001,0) [0|0] "A"', name="Limits"),
        message(
            256, 8, 'Page M : 0|8@1+ (1,0) [0|255] ""',
            *(f'C{n + 1} m{n // 3} : {8 + n % 3 * 16}|16@1+ (0.001,0) [0|5] "V"' for n in range(cells)), name="Cells",
        ),
        message(
            512, 8, 'Page M : 0|8@1+ (1,0) [0|255] ""',
            *(f'T{n + 1} m{n // 4} : {8 + n % 4 * 12}|12@1+ (0.1,-60) [0|0] "degC"' for n in range(probes)),
            'X : 56|8@1+ (1,0) [0|255] ""', name="Temps",
        ),
    )  # fmt: skip
    flags = "".join(
        f'bms_flag_{n} = {{ signal = "State.F{i}", true = [1] }}\n' for i, n in enumerate((9, 12, 13, 14, 15, 17))
    )
    more = '[invalid]\n"State.*" = [3]\n"Cells.C*" = [65535]\n"Temps.T*" = [4095]\n"Slow.R" = [4294967295]\n'
    for told in ("Pack", "State", "Slow", "Limits", "Cells", "Temps"):
        # A page comes once in as many periods as there are pages; the deadline is that of a page.
        pages = {"Cells": -(-cells // 3), "Temps": -(-probes // 4)}.get(told, 1)
        more += f'[messages."{told}"]\nperiod_ms = {max(period_ms // pages, 1)}\n'
        if told == "State":
            more += 'counter = "K"\n'
        if told in ("State", "Temps"):
            more += f'checksum = {{ signal = "X", kind = "{"crc8-j1850" if told == "State" else "sum8"}" }}\n'
    text_of = profile(name, SIGNALS + flags, cells, probes, more=more)
    return text_of.replace("[[bus]]", f"capacity_ah = {capacity_ah}\nscan_ms = {scan_ms}\n[[bus]]", 1), {"a.dbc": text}


TEXTS = {
    **{name: told for name, told in DECODERS.items() if told},
    "big": everything("big", 200, 64, 100, 1000),
    "one cell": everything("one-cell", 1, 1, 10, 100, capacity_ah=1),
    "slow": everything("slow", 6, 5, 1000, 10_000),
    "odd": everything("odd", 13, 9, 330, 3000),
}
NAMES = ("demo", "gateway", "trusting", "awkward", *TEXTS)


@cache
def compiled(name):
    """compiler.image.Compiled of a vehicle of NAMES."""
    if name in ("demo", "gateway", "awkward"):
        files = {
            "demo": DEMO,
            "gateway": DEMO.with_name("demo_gateway.toml"),
            "awkward": CHECKOUT / "tests" / "device" / "awkward.toml",
        }
        return compile_profile(files[name])
    with tempfile.TemporaryDirectory(prefix="cellwarden-") as folder:
        folder = Path(folder)
        if name == "trusting":
            # The demonstration pack without counters and checksums: a frame of random bytes is believed.
            text = re.sub(r"^(counter|checksum) .*\n", "", DEMO.read_text("utf-8"), flags=re.MULTILINE)
            files = {"demo_pack.dbc": DEMO.with_suffix(".dbc").read_text("utf-8")}
        else:
            text, files = TEXTS[name]
        for file, content in files.items():
            (folder / file).write_text(content, "utf-8")
        (folder / "vehicle.toml").write_text(text, "utf-8")
        return compile_profile(folder / "vehicle.toml")
