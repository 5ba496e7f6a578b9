"""zlib's `decompress`, or isal's, which is twice as fast and comes with asammdf. Both hold the checksum."""

try:
    from isal.isal_zlib import decompress
except ImportError:
    from zlib import decompress

__all__ = ["decompress"]
