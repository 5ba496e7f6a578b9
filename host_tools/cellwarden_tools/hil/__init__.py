"""Hardware in the loop: acceptance tests on a running box, as a pytest plugin (docs/box.md).

plugin.py   the options --cw-device and --cw-bus, the fixtures `device` and `image`
devices.py  the boxes that can be run: MicroPython or CPython here on a pseudo terminal, a board on a serial port
tester.py   the other side of a box's serial port: an SLCAN adapter that plays frames and hears what the box says
"""
