"""CRC-8 of SAE J1850: polynomial 1D, begins with FF, ends inverted; of "123456789" it is 4B."""


def _row(byte):
    for _ in range(8):
        byte = byte << 1 ^ 0x11D if byte & 128 else byte << 1
    return byte


_TABLE = bytes([_row(byte) for byte in range(256)])


def crc8(data):
    crc = 255
    for byte in data:
        crc = _TABLE[crc ^ byte]
    return crc ^ 255
