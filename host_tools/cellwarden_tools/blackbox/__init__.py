"""A box's sealed log on the host (docs/blackbox.md).

read.py        segments taken apart into records and into what is none
annex.py       what of the annexes the chain proves
verify.py      what of it all is proven, what is missing, and who says so
contents.py    every record in order, what it says, and whether it is proven
frames.py      frames back as the core's ring had them; frames_kernel.py and words_kernel.py: the same quickly
consistent.py  the frames through the very core: do events and states follow from them? harmless.py guards the core
incident.py    what an investigator needs of an alarm; salvage.py all that can be read, unsealed.py without a key;
               exhibit.py and export.py: their files
"""
