"""A box's sealed log on the host (docs/blackbox.md).

read.py    segments taken apart into records and into what is none
verify.py  what of them is proven, what is missing, and who says so
"""
