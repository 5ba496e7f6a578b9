"""The black box: what the box saw, sealed (docs/blackbox.md).

form.py    the bytes: records and seals, written and read
keys.py    the key that moves forward one-way, and where it lives
folder.py  files that survive a power cut, on littlefs and on POSIX
chain.py   the chain of sealed blocks over a ring of segments; what a start makes of what it finds
"""
