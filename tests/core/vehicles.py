"""Vehicles that do not exist, one for each thing a DBC can do to a decoder: name -> (profile, {file: DBC text})."""

HEAD = """
[vehicle]
name = "{name}"
chemistry = "nmc"
cells = {cells}
probes = {probes}
{buses}
[signals]
"""
BUS = '[[bus]]\nchannel = "{channel}"\ndbc = "{dbc}"\n'


def profile(name, signals, cells=2, probes=1, buses=(("can0", "a.dbc"),), more=""):
    head = HEAD.format(
        name=name, cells=cells, probes=probes, buses="".join(BUS.format(channel=c, dbc=d) for c, d in buses)
    )
    return head + signals + more


def message(can_id, length, *signals, name="M"):
    lines = [f" SG_ {text}  TBOX" for text in signals]
    return f"BO_ {can_id} {name}: {length} BMS\n" + "\n".join(lines) + "\n\n"


def dbc(*messages, tail=""):
    return 'VERSION ""\n\nNS_ :\n\nBS_:\n\nBU_: BMS TBOX\n\n' + "".join(messages) + tail


EXTENDED_MUX = (
    profile(
        "extended-mux",
        'cell_voltage = "M.C{n}"\nsoc = "M.Soc"\ntemperature = "M.T{n}"\n',
        cells=6,
        more='[messages."M"]\nperiod_ms = 100\n',
    ),
    {
        "a.dbc": dbc(
            message(
                256, 8,
                'Outer M : 0|8@1+ (1,0) [0|255] ""',
                'Inner m1M : 8|8@1+ (1,0) [0|255] ""',
                'C1 m0 : 16|16@1+ (0.001,0) [0|5] "V"',
                'C2 m0 : 32|16@1+ (0.001,0) [0|5] "V"',
                'C3 m0 : 16|16@1+ (0.001,0) [0|5] "V"',
                'C4 m1 : 32|16@1+ (0.001,0) [0|5] "V"',
                'C5 m3 : 16|16@1+ (0.001,0) [0|5] "V"',
                'C6 m9 : 48|16@1+ (0.001,0) [0|5] "V"',
                'T1 m2 : 16|8@1+ (1,-40) [-40|210] "degC"',
                'Soc m7 : 24|8@1+ (0.5,0) [0|100] "%"',
            ),
            tail=(
                "SG_MUL_VAL_ 256 Inner Outer 1-1;\n"
                "SG_MUL_VAL_ 256 C1 Outer 0-0;\nSG_MUL_VAL_ 256 C2 Outer 0-0;\n"
                "SG_MUL_VAL_ 256 C3 Inner 0-0;\nSG_MUL_VAL_ 256 C4 Inner 1-3, 5-5, 9-12;\n"
                "SG_MUL_VAL_ 256 C5 Outer 3-3;\nSG_MUL_VAL_ 256 C6 Outer 9-9;\n"
                "SG_MUL_VAL_ 256 T1 Outer 2-2;\nSG_MUL_VAL_ 256 Soc Outer 7-7;\n"
            ),
        )
    },
)  # fmt: skip

TWO_BUSES = (
    profile(
        "two-buses",
        'cell_voltage = ["A.C{n}", "B.C{n}"]\nsoc = { signal = "B.Soc", bus = "can1" }\n',
        buses=(("can0", "a.dbc"), ("can1", "b.dbc")),
        probes=0,
    ),
    {
        "a.dbc": dbc(message(256, 8, 'C1 : 0|16@1+ (0.001,0) [0|5] "V"', name="A")),
        "b.dbc": dbc(
            message(256, 8, 'C2 : 7|16@0+ (0.001,0) [0|5] "V"', 'Soc : 16|8@1+ (0.5,0) [0|100] "%"', name="B")
        ),
    },
)

WIDE = (
    profile(
        "wide",
        'cell_voltage = "M.C{n}"\npack_voltage = "N.U"\npack_current = "N.I"\ninsulation = "N.R"\n',
        probes=0,
        more='[invalid]\n"N.R" = [4294967295, 100000]\n"N.I" = [-2147483648, -5]\n',
    ),
    {
        "a.dbc": dbc(
            message(2566869221, 48, 'C1 : 300|13@1+ (0.001,0) [0|5] "V"', 'C2 : 327|13@0+ (0.0005,1) [0|5] "V"'),
            message(
                3, 12, 'U : 0|32@1+ (0.001,0) [0|0] "V"', 'I : 39|32@0- (0.001,0) [0|0] "A"',
                'R : 64|32@1+ (0.25,0) [0|0] "ohm"', name="N",
            ),
        )
    },
)  # fmt: skip

SUMS = (
    profile(
        "sums",
        'soc = "A.Soc"\npack_voltage = "B.U"\npack_current = "C.I"\nhvil = { signal = "A.H", ok = [1, 2] }\n'
        'bms_level = { signal = "B.L", levels = [[0, 7], [1, 2], 3] }\n'
        'vehicle_state = { signal = "C.V", on = [-1], off = [0, 1] }\n'
        'temperature_max = "D.T"\n',
        probes=0,
        more="".join(
            f'[messages."{name}"]\nperiod_ms = 100\nchecksum = {{ signal = "X", kind = "{kind}" }}\n'
            for name, kind in zip("ABCDE", ("xor8", "sum8", "crc8", "crc8-autosar", "crc8-j1850"), strict=True)
        )
        + '[messages."F"]\ncounter = "K"\n',
    ).replace("soc = ", 'cell_voltage_max = "E.H"\ncell_voltage_min = "E.Lo"\ntemperature_min = "F.T"\nsoc = '),
    {
        "a.dbc": dbc(
            message(
                1,
                3,
                'X : 0|8@1+ (1,0) [0|0] ""',
                'Soc : 8|8@1+ (0.5,0) [0|100] "%"',
                'H : 16|2@1+ (1,0) [0|3] ""',
                name="A",
            ),
            message(
                2,
                4,
                'X : 15|8@0+ (1,0) [0|0] ""',
                'U : 16|16@1+ (0.1,0) [0|600] "V"',
                'L : 0|3@1+ (1,0) [0|7] ""',
                name="B",
            ),
            message(
                3,
                4,
                'X : 24|8@1+ (1,0) [0|0] ""',
                'I : 7|16@0- (0.1,0) [0|0] "A"',
                'V : 16|2@1- (1,0) [0|0] ""',
                name="C",
            ),
            message(4, 2, 'T : 0|8@1+ (1,-40) [0|0] "degC"', 'X : 8|8@1+ (1,0) [0|0] ""', name="D"),
            message(
                5,
                5,
                'H : 0|16@1+ (1,0) [0|0] "mV"',
                'Lo : 16|16@1+ (1,0) [0|0] "mV"',
                'X : 32|8@1+ (1,0) [0|0] ""',
                name="E",
            ),
            message(6, 3, 'T : 0|8@1+ (1,-40) [0|0] "degC"', 'K : 8|16@1+ (1,0) [0|0] ""', name="F"),
        )
    },
)

LONG = (
    profile("long", 'cell_voltage = "M.C{n}"\n', cells=300, probes=0),
    {
        "a.dbc": dbc(
            message(
                256,
                8,
                'Page M : 0|8@1+ (1,0) [0|255] ""',
                *(f'C{n + 1} m{n // 3} : {16 + n % 3 * 16}|16@1+ (0.001,0) [0|5] "V"' for n in range(300)),
            )
        )
    },
)

DECODERS = {
    "demo": None,
    "extended mux": EXTENDED_MUX,
    "two buses": TWO_BUSES,
    "wide": WIDE,
    "sums": SUMS,
    "long": LONG,
}
