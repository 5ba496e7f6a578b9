"""Checksum kinds a message can carry: a table of 256 values and how it is used.

next = table[(value ^ byte) & 255] for a CRC; the sums need no table. All run over every data byte but the checksum's
own.
"""


def crc8_table(polynomial):
    """The 256 remainders of an 8-bit CRC, most significant bit first."""
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte << 1 ^ polynomial if byte & 0x80 else byte << 1) & 0xFF
        table.append(byte)
    return tuple(table)


# kind: (polynomial or None, initial value, final xor)
KINDS = {
    "crc8-j1850": (0x1D, 0xFF, 0xFF),  # SAE J1850; check value of "123456789" is 0x4B
    "crc8-autosar": (0x2F, 0xFF, 0xFF),  # AUTOSAR CRC8H2F; check value 0xDF
    "crc8": (0x07, 0x00, 0x00),  # CRC-8/SMBUS; check value 0xF4
    "xor8": (None, 0x00, 0x00),
    "sum8": (None, 0x00, 0x00),
}
