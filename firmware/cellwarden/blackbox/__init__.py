"""The black box: what the box saw, sealed (docs/blackbox.md).

form.py      the bytes: records and seals, written and read
keys.py      the key that moves forward one-way, and where it lives
folder.py    files that survive a power cut, on littlefs and on POSIX
chain.py     the chain of sealed blocks over a ring of segments; what a start makes of what it finds
content.py   what stands in the bodies of records: frames, features, snapshots, packed here and read by everyone
annex.py     files beside the segments, for what is much and mostly not needed for long
recorder.py  what the engine is fed goes through it, and what is to be kept goes to the chain and its annexes
"""
