"""The box as a Linux service, `cellwarden-box`: under CPython, or as `micropython -m cellwarden.linux`."""

import os
import socket
import struct
import sys

from cellwarden import clock, hazards, outputs
from cellwarden.app import Box
from cellwarden.blackbox.folder import Folder
from cellwarden.blackbox.keys import keys_in
from cellwarden.console import Console, standard_output
from cellwarden.core import layout as L
from cellwarden.image import ImageError, load_image
from cellwarden.keep import Kept
from cellwarden.update import duty

USAGE = """\
usage: cellwarden-box [IMAGE] -b BUS [-b BUS ...] [--data FOLDER] [--lines PATH] [--timed] [--report S]
                      [--on-event PROGRAM] [--control -] [--sleep COMMAND] [--update ADDRESS]

  IMAGE             what `cellwarden compile` wrote; not for a box that `cellwarden flash` put here: its slot has one,
                    and its data are beside the slots
  -b BUS            the profile's [[bus]] in their order: can0 | slcan:PORT[@KBIT] | replay:LOG; PORT may be -
  --data FOLDER     where the state and the last good image are kept, and the log where FOLDER/log has a key
                    (`cellwarden keys seal KEY --box FOLDER/log`); without it nothing is
  --vehicle ID      the vehicle's unique id in the log, such as its VIN (the image's name)
  --lines PATH      events and status as lines there (- standard output, which is the default)
  --timed           SLCAN: the adapter's stamps are the clock
  --report S        seconds between two lines of status (1)
  --control -       operators are heard on standard input, too, besides the socket FOLDER/control
  --on-event PROGRAM  run PROGRAM with an event's JSON as its only word (CPython only)
  --update ADDRESS  where images of updates are looked for, http:// or https://, in a box that runs from a slot
  --sleep COMMAND   while the vehicle is parked and need not be watched: COMMAND is run with a number of seconds
                    behind it and returns when they are over, as in "rtcwake -m mem -s" (without it never)

It only listens, unless the image's profile has [transmit]. Stops at SIGINT (under CPython at SIGTERM, too), or where a
log ends.
"""
GOOD = "good.cwi"
_ON_MICROPYTHON = sys.implementation.name == "micropython"
_HOOKS = 4  # programs of --on-event at once
_STOPS = (2, 15)  # SIGINT, SIGTERM


class UsageError(Exception):
    pass


def options_of(words):
    """{"image", "buses", "data", "lines", "timed", "report_ms", "on_event"}. Raises UsageError."""
    found = {
        "image": None,
        "buses": [],
        "data": None,
        "lines": "-",
        "timed": False,
        "report_ms": 1000,
        "on_event": None,
        "vehicle": None,
        "sleep": None,
        "update": "",
        "control": None,
    }
    words = list(words)
    while words:
        word = words.pop(0)
        if word == "--timed":
            found["timed"] = True
        elif word in (
            "-b",
            "--data",
            "--lines",
            "--report",
            "--on-event",
            "--vehicle",
            "--sleep",
            "--control",
            "--update",
        ):
            if not words:
                raise UsageError(word + " wants a word behind it")
            value = words.pop(0)
            if word == "-b":
                found["buses"].append(value)
            elif word == "--report":
                try:
                    found["report_ms"] = int(1000 * float(value))
                except ValueError:
                    raise UsageError("--report: " + value + " is no number") from None
            else:
                found[word[2:].replace("-", "_")] = value
        elif word[:1] == "-" or found["image"]:
            raise UsageError("unknown word " + word)
        else:
            found["image"] = word
    from_slot = duty.running()
    if from_slot and not found["image"]:
        found["image"] = sys.path[0] + "/vehicle"
        found["data"] = found["data"] or _made(from_slot[0] + "/data")
    if found["control"] not in (None, "-"):
        raise UsageError("--control: " + found["control"] + " is not -")
    if not found["image"] or not found["buses"]:
        raise UsageError("an IMAGE and at least one -b BUS")
    return found


def _made(path):
    try:
        os.mkdir(path)
    except OSError:
        pass  # it is there
    return path


def choose_image(path, data):
    """(Image, why the one at `path` was refused, or ""). Falls back on the last good one. Raises ImageError."""
    good = data + "/" + GOOD if data else None
    try:
        return load_image(path), ""
    except ImageError as error:
        if good is None:
            raise
        try:
            return load_image(good), str(error)
        except ImageError:
            raise error from None


def keep_image(path, data, identity):
    """Copy an image file that is right to be the last good one. Raises OSError."""
    if os.stat(path)[0] & 0x4000:
        return  # a folder, which is a board's
    good = data + "/" + GOOD
    try:
        if load_image(good).identity == identity:
            return
    except ImageError:
        pass
    with open(path, "rb") as source, open(good + ".new", "wb") as target:
        some = source.read(4096)
        while some:
            target.write(some)
            some = source.read(4096)
    os.rename(good + ".new", good)


def open_bus(text, number, image, timed):
    """The Bus that a word such as `can0` names. Raises UsageError, OSError."""
    kind, _, rest = text.partition(":")
    filters = image.filters[number]
    transmit = bool(image.transmit) and image.transmit["bus"] == number
    if kind == "slcan" and rest:
        from cellwarden.canbus.slcan import Slcan
        from cellwarden.canbus.tty import Tty

        port, _, kbit = rest.partition("@")
        if kbit and not kbit.isdigit():
            raise UsageError(text + ": its bit rate is no number of kbit/s")
        try:
            return Slcan(Tty(port), number, int(kbit or 500), transmit, timed)
        except ValueError as error:
            raise UsageError(text + ": " + str(error)) from None
    if kind == "replay" and rest:
        from cellwarden.canbus.replay import ReplayBus

        names = {name: n for n, name in enumerate(image.buses)}
        return ReplayBus(rest, None if None in names else names)
    if rest or not kind:
        raise UsageError(text + " is no bus")
    from cellwarden.canbus.socketcan import SocketCan

    fd = not _ON_MICROPYTHON and image.params[L.P_DATA_BYTES] > 8
    return SocketCan(kind, number, filters, transmit, fd)


def control_of(box, found, vehicle, said):
    """What hears operators: on a socket in the data folder, and on the console where it is read."""
    from cellwarden import control

    ports, operator, log = [], None, None
    for text, bus in zip(found["buses"], box.buses):  # noqa: B905  (MicroPython has no `strict`)
        if text.partition("@")[0] == "slcan:-":
            bus.control = control.Tap(said.write)
            ports.append(bus.control)
    if found["control"]:
        from cellwarden.canbus.tty import Tty

        ports.append(control.Port(Tty("-").readinto, said.write))
    if found["data"]:
        from cellwarden.control_socket import NAME, Socket
        from cellwarden.operator_key import OperatorKey

        log = Folder(found["data"] + "/log")
        try:
            operator = OperatorKey(Folder(found["data"]))
            ports.append(Socket(found["data"] + "/" + NAME))
        except OSError as error:
            box.hazards.failed(hazards.OUTPUT, box.now_ms(), error)
    return control.Control(box.image, vehicle, ports, operator, log, version())


def version():
    """Of the software that runs, where it is an installed package; else empty."""
    try:
        from importlib import metadata

        return metadata.version("cellwarden")
    except (ImportError, AttributeError):  # metadata.PackageNotFoundError is an ImportError
        return ""


class Systemd:
    """Tells systemd that the box is ready and alive (sd_notify); does nothing where nobody asked for it."""

    def __init__(self, path):
        self._socket = None
        if not path:
            return
        address = "\0" + path[1:] if path[0] == "@" else path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        if _ON_MICROPYTHON:
            address = struct.pack("H", socket.AF_UNIX) + address.encode() + b"\0"
        self._socket.connect(address)

    def tell(self, text):
        if self._socket:
            self._socket.send(text)

    def feed(self):
        self.tell(b"WATCHDOG=1")


class Command:
    """Sleeps by a command; how long it took is seen by the clocks. A signal that ends it is meant for the box, which
    does not hear SIGINT meanwhile (system(3)).
    """

    def __init__(self, words):
        self._words = words

    def __call__(self, ms):
        status = os.system("%s %d" % (self._words, (ms + 999) // 1000))  # noqa: UP031
        if status & 127 in _STOPS or (status >> 8) - 128 in _STOPS:
            raise KeyboardInterrupt
        if status:
            raise OSError(5, "the command to sleep ends with %d" % status)  # noqa: UP031


class Programs:
    """Starts a program with each event; no more than a few at once, and never waits for one."""

    def __init__(self, program):
        import json
        import subprocess

        self._start = lambda event: subprocess.Popen(
            [program, json.dumps(event)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        self._running = []

    def __call__(self, event):
        self._running = [process for process in self._running if process.poll() is None]
        if len(self._running) >= _HOOKS:
            raise OSError(11, "too many programs still run")
        self._running.append(self._start(event))


def lines_to(path):
    """A function that writes bytes there and never waits (Console.write)."""
    if path == "-":
        return standard_output().write
    file = open(path, "ab") if _ON_MICROPYTHON else open(path, "ab", buffering=0)
    return Console(file, file.write).write


def run(words, environment=os.getenv):
    """Exit status: 0 stopped, 2 bad usage or an image that must not be run."""
    try:
        found = options_of(words)
        image, refused = choose_image(found["image"], found["data"])
        if len(found["buses"]) != len(image.filters):
            raise UsageError("the image has %d buses, %d were named" % (len(image.filters), len(found["buses"])))  # noqa: UP031
        buses = [open_bus(text, n, image, found["timed"]) for n, text in enumerate(found["buses"])]
        said = outputs.Lines(lines_to(found["lines"]))
        systemd = Systemd(environment("NOTIFY_SOCKET"))
    except UsageError as error:
        return _say(str(error) + "\n" + USAGE)
    except ImageError as error:
        return _say(str(error))
    except OSError as error:
        return _say("cannot start: error %s" % error)  # noqa: UP031
    told = [said]
    if found["on_event"]:
        told.append(outputs.Hook(Programs(found["on_event"])))
    if image.transmit:
        told.append(outputs.AlarmFrames(buses[image.transmit["bus"]], image.transmit["id"]))
    folder = Folder(found["data"]) if found["data"] else None
    log = Folder(found["data"] + "/log") if folder else None
    keys = keys_in(log) if folder else None
    kept, recorder, failed = None, None, None
    try:
        kept = Kept(folder, image.identity, keys) if folder else None
    except (OSError, ValueError) as error:
        failed = error
    updates = duty.updates(found["update"])
    vehicle = (found["vehicle"] or "").encode()[:17] or duty.vehicle_id(updates.root if updates else None, image)
    if keys:
        from cellwarden.blackbox.recorder import recorder_in

        recorder = recorder_in(log, vehicle, image)
    sleep = Command(found["sleep"]) if found["sleep"] else None
    box = Box(
        image, buses, recorder, kept, told, said.report, systemd, clock, found["report_ms"], sleep, nap_ms=L.HALF,
        updates=updates,
    )  # fmt: skip
    if failed:
        box.hazards.failed(hazards.KEEP, box.now_ms(), failed)
    if refused:
        box.image_refused(refused)
    if box.self_test(folder) and folder and not refused:
        try:
            keep_image(found["image"], found["data"], image.identity)
        except OSError as error:
            box.hazards.failed(hazards.KEEP, box.now_ms(), error)
    box.control = control_of(box, found, vehicle, said)
    systemd.tell(b"READY=1")
    if not _ON_MICROPYTHON:
        import signal

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: box.stop())
    box.run(idle_ms=1)
    systemd.tell(b"STOPPING=1")
    return 0


def _say(text):
    sys.stderr.write("cellwarden-box: " + text + "\n")
    return 2


def main():
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
