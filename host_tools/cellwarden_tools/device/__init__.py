"""Talking to a box that runs (docs/device.md).

line.py     questions and answers, over a socket or a serial port
pull.py     a copy of its log, resumed and verified
"""
