"""What an operator asks a box that runs, and what it answers: lines on its console or a socket (docs/device.md).

    !7 alarms 0 CRC                              number, verb, words; CRC-32 of all before the last space
    !7 {"rows": [...], "next": null} CRC         the answer

Reading needs no key. `do` changes the box, with a tag under the operator's key and a nonce that is good for one
command; what was done, or tried with a wrong tag, stands in the black box. One step a round: a question, or a piece of
one that takes longer; after a step the box minds its other duties for nine times as long.
"""

import hashlib
import json
import os
import sys
from binascii import b2a_base64, crc32, hexlify, unhexlify

from cellwarden import clock as real_clock
from cellwarden import hazards as H
from cellwarden.acknowledge import same
from cellwarden.blackbox.annex import annex_number
from cellwarden.blackbox.chain import END_NAME, segment_number
from cellwarden.core import catalogue
from cellwarden.core import layout as L
from cellwarden.operator_key import covered, tag_of
from cellwarden.update import boot

FORM = 1
LONGEST = 192  # characters of a question
MARK = 33  # !
READ_BYTES = 64  # of input, in one round
CONSOLE_BYTES = 192  # of data in an answer; others wait for the console meanwhile
HASH_BYTES = 2048  # of a file, in one round
MOST_BYTES = 1 << 30  # of a file
REST = 9  # times as long as a step took
NONCE_MS = 60_000  # a nonce is good for
WAIT_MS, MOST_WAIT_MS = 1000, 64_000  # after a wrong tag; twice as long after the next
END_MS = 500  # from its answer to the end


class Refused(Exception):
    """A question that has another answer than the one that was asked for, in words."""


class Port:
    """A line to operators. readinto: puts bytes that have come into a view and returns how many; never waits

    write: called with a whole answer; most: bytes of data in one
    """

    def __init__(self, readinto, write, most=CONSOLE_BYTES):
        self._readinto, self.write, self.most = readinto, write, most
        self._chunk, self._line = bytearray(READ_BYTES), bytearray(LONGEST)
        self._at = self._end = self.guests = 0  # of the chunk; who was at the other end so far
        self.forget()

    def forget(self):
        """Somebody else is at the other end."""
        self.guests += 1
        self._count = 0  # characters of the line so far, one more than LONGEST where it is too long
        self.nonce, self.nonce_ms = None, 0
        self.done, self.answer = None, None  # the last `do`, for the case that its answer was lost

    def say(self, answer):
        """Write an answer, or leave it where nobody reads: who asked asks again."""
        try:
            self.write(answer)
        except OSError:
            pass

    def line(self):
        """The next line that may be a question, or None."""
        if self._at == self._end:
            self._at, self._end = 0, self._readinto(self._chunk) or 0
        while self._at < self._end:
            byte = self._chunk[self._at]
            self._at += 1
            if byte == 13 or byte == 10:
                count, self._count = self._count, 0
                if 0 < count <= LONGEST and self._line[0] == MARK:
                    return bytes(self._line[:count])
            elif self._count < LONGEST:
                self._line[self._count] = byte
                self._count += 1
            else:
                self._count = LONGEST + 1
        return None


def console():
    """The readinto of a Port at MicroPython's own console, whose own would wait until the view is full."""
    import select

    poll, one = select.poll(), bytearray(1)
    poll.register(sys.stdin, select.POLLIN)

    def readinto(view):
        count = 0
        while count < len(view) and any(poll.ipoll(0)):
            if not sys.stdin.buffer.readinto(one):
                break
            view[count] = one[0]
            count += 1
        return count

    return readinto


class Tap(Port):
    """A console that somebody else reads (canbus.slcan), who gives the lines that begin with `!`."""

    def __init__(self, write):
        self._given = None
        super().__init__(None, write)

    def give(self, line):
        self._given = line

    def line(self):
        line, self._given = self._given, None
        return line


class Control:
    """Answers the questions of some ports.

    image: image.Image; vehicle: its unique id, bytes; operator: operator_key.OperatorKey; log: folder.Folder, or None
    version: of the software, text, where no slot says it; clock: as the module `clock`
    """

    def __init__(self, image, vehicle, ports, operator=None, log=None, version="", clock=real_clock):
        self.ports = ports
        self._image, self._vehicle, self._operator, self._log = image, vehicle, operator, log
        self._version, self._clock = version, clock
        self._next = 0  # port to be asked first
        self._hashing = None  # [port, its guest, number, name, size, digest, at]
        self._rested_ms, self._rest_ms = 0, 0
        self._wrong_ms, self._wait_ms = 0, 0
        self._ends, self._ends_ms = "", 0  # start, stop: what the box does soon

    def turn(self, box):
        """One step, if there is anything to do and the time for it. Returns whether there was."""
        began_ms = self._clock.now_ms()
        if self._ends and (began_ms - self._ends_ms) & L.MASK >= END_MS:
            box.starts_anew = self._ends == "start"
            box.stop()
        if self._rest_ms and (began_ms - self._rested_ms) & L.MASK < self._rest_ms:
            return False
        if self._hashing:
            asked = self._hash_on()
        else:
            port, line = self._heard()
            if not line:
                return False
            asked = self._answer(box, port, line)
        self._rested_ms = self._clock.now_ms()
        self._rest_ms = REST * ((self._rested_ms - began_ms) & L.MASK)
        return asked

    def _heard(self):
        for _ in self.ports:
            port = self.ports[self._next]
            self._next = (self._next + 1) % len(self.ports)
            line = port.line()
            if line:
                return port, line
        return None, None

    def _answer(self, box, port, line):
        """Answer a line. Returns whether it was a question."""
        at = line.rfind(b" ")
        if at < 0 or b"%08x" % crc32(line[:at]) != line[at + 1 :]:
            return False  # noise, or damaged: who asked asks again
        if line == port.done:
            port.say(port.answer)
            return True
        words = line[1:at].decode().split(" ")
        try:
            if len(words) < 2:
                raise ValueError
            told = self._told(box, port, words)
        except Refused as error:
            told = {"error": error.args[0]}
        except (ValueError, IndexError):
            told = {"error": "no such question"}
        except OSError as error:
            told = {"error": "the storage fails: error %s" % error}  # noqa: UP031
        if told is not None:
            port.answer = _line(words[0], told)
            port.done = line if words[1] == "do" else None
            port.say(port.answer)
        return True

    def _told(self, box, port, words):
        """The answer to a question; None where it comes later."""
        verb, rest = words[1], words[2:]
        if verb == "read":
            return self._read(rest[0], int(rest[1]), min(int(rest[2]), port.most))
        if verb == "hash":
            self._hashing = [
                port, port.guests, words[0], _of_log(rest[0]), _size(int(rest[1])), hashlib.sha256(), 0,
            ]  # fmt: skip
            return None
        if verb == "nonce":
            return self._nonce(port)
        if verb == "do":
            return self._do(box, port, unhexlify(rest[0]), rest[1:])
        return _page(self._rows(box, verb), int(rest[0]), port.most)

    # --- reading ------------------------------------------------------------------------------------------------------

    def _rows(self, box, verb):
        if verb == "identity":
            return self._identity(box)
        if verb == "status":
            return sorted(box.status().items())
        if verb == "alarms":
            return _alarms(box)
        if verb == "log":
            return _log(box)
        if verb == "files":
            log = self._the_log()
            return [[name, log.size(name)] for name in log.names() if _is_of_log(name)]
        if verb == "slots":
            return _slots(box)
        raise Refused("no such question")

    def _identity(self, box):
        image, operator = self._image, self._operator
        python = sys.implementation.name + " " + ".".join([str(n) for n in sys.implementation.version[:3]])
        return [
            ["form", FORM],
            ["box", operator.name if operator and operator.key else None],
            ["generation", operator.generation if operator and operator.key else None],
            ["vehicle", self._vehicle.decode()],
            ["image", image.vehicle],
            ["image_sha256", hexlify(image.identity).decode()],
            ["version", self._version],
            ["python", python],
            ["time_s", self._clock.wall_s()],
            ["boot", box.recorder.chain.boot if box.recorder else None],
        ]

    def _the_log(self):
        if not self._log:
            raise Refused("the box keeps no log")
        return self._log

    def _read(self, name, at, count):
        log = self._the_log()
        _of_log(name)
        try:
            with log.open(name) as file:  # anew each time: the box may have gone on writing it
                file.seek(_size(at))
                data = file.read(max(count, 0))
        except OSError:
            if name in log.names():
                raise
            raise Refused("gone") from None
        return {"data": b2a_base64(data).decode().rstrip()}

    def _hash_on(self):
        """A piece of the file that is being hashed, and the answer with the last one. True."""
        port, guest, number, name, size, digest, at = self._hashing
        try:
            log = self._the_log()
            with log.open(name) as file:
                file.seek(at)
                data = file.read(min(HASH_BYTES, size - at))
        except (OSError, Refused):
            data = b""
        digest.update(data)
        self._hashing[6] = at = at + len(data)
        if data and at < size:
            return True
        self._hashing = None
        told = {"sha256": hexlify(digest.digest()).decode()} if at == size else {"error": "gone"}
        if guest == port.guests:
            port.say(_line(number, told))
        return True

    # --- changing -----------------------------------------------------------------------------------------------------

    def _nonce(self, port):
        operator = self._operator
        if not operator or not operator.key:
            raise Refused("the box was given no operator's key: it can be read, and not changed")
        self._may_try()
        if not hasattr(os, "urandom"):
            raise Refused("this board makes no random numbers: it can be read, and not changed")
        port.nonce, port.nonce_ms = hexlify(os.urandom(16)).decode(), self._clock.now_ms()
        return {"nonce": port.nonce, "box": operator.name, "generation": operator.generation}

    def _may_try(self):
        left_ms = self._wait_ms - ((self._clock.now_ms() - self._wrong_ms) & L.MASK)
        if left_ms > 0:
            raise Refused("after a wrong key it hears no other for %d s" % (left_ms // 1000 + 1))  # noqa: UP031

    def _do(self, box, port, tag, words):
        operator = self._operator
        self._may_try()
        nonce, port.nonce = port.nonce, None
        if not nonce or (self._clock.now_ms() - port.nonce_ms) & L.MASK >= NONCE_MS:
            raise Refused("no nonce was asked for, or too long ago")
        text = " ".join(words)
        if not same(tag_of(operator.key, operator.name, nonce, text), tag):
            self._wrong_ms = self._clock.now_ms()
            self._wait_ms = min(2 * self._wait_ms or WAIT_MS, MOST_WAIT_MS)
            self._refused(box, words, tag)
            raise Refused("wrong key")
        self._wait_ms = 0
        verb = words[0]
        if not box.recorder and verb not in ("start", "stop"):  # which may mend it
            raise Refused("no log takes the record of it")
        if verb == "acknowledge":
            self._acknowledge(box, words[1], int(words[2]), tag)
        elif verb == "clock":
            self._set_clock(box, int(words[1]))
        elif verb == "rotate":
            self._rotate(int(words[1]), covered(operator.key, nonce, unhexlify(words[2])))
        elif verb == "look":
            self._look(box)
        elif verb in ("start", "stop"):
            self._ends, self._ends_ms = verb, self._clock.now_ms()
        else:
            raise Refused("no such command")
        box.secure("remote command taken", " ".join(words[:2]))
        return {"done": verb}

    def _refused(self, box, words, tag):
        rule = catalogue.RULES.index(words[1]) if words[:1] == ["acknowledge"] and words[1] in catalogue.RULES else None
        if rule is None:
            box.secure("remote command refused", " ".join(words[:2]))
            return
        box.secure("acknowledgement refused", words[1])
        if box.recorder:
            box.recorder.acknowledgement(rule, False, tag[:32] + bytes(32 - len(tag[:32])))

    def _acknowledge(self, box, name, events, tag):
        """Give up a latched alarm as it was seen: not one that came, or changed, since."""
        state, params = box.engine.state, box.engine.params
        if name not in catalogue.RULES:
            raise Refused("no such alarm")
        rule = catalogue.RULES.index(name)
        if not state[params[L.P_RULES_AT] + rule * L.RULE_SIZE + L.LEVEL_NOW]:
            raise Refused("this alarm does not stand")
        if not _is_latched(params, rule):
            raise Refused("this alarm is not latched: it goes when its cause does")
        if state[L.EVENTS] != events:
            raise Refused("something has happened since: look at the alarms again")
        box.acknowledge(rule)
        box.recorder.acknowledgement(rule, True, tag)

    def _set_clock(self, box, seconds):
        before = self._clock.wall_s()
        try:
            box.set_clock(seconds)
        except (OSError, ValueError, OverflowError):
            raise Refused("the clock is not the box's to set (on Linux: NTP's)") from None
        if before and seconds < before:
            box.secure("clock set back", "by %d s" % (before - seconds))  # noqa: UP031

    def _rotate(self, generation, key):
        operator = self._operator
        if generation != operator.generation + 1:
            raise Refused("the next key is the %dth" % (operator.generation + 1))  # noqa: UP031
        operator.store(operator.name, generation, key)

    def _look(self, box):
        if not box.updates or not box.updates.address:
            raise Refused("the box was told no address of updates")
        box.updates.look()


def _line(number, told):
    text = ("!" + number + " " + json.dumps(told)).encode()
    return text + b" %08x\r\n" % crc32(text)


def _page(rows, first, most):
    """As many rows from the first on as have room, one at least."""
    taken, size, at = [], 0, first
    while 0 <= at < len(rows):
        size += len(json.dumps(rows[at]))
        if taken and size > most:
            break
        taken.append(rows[at])
        at += 1
    return {"rows": taken, "next": at if 0 <= at < len(rows) else None}


def _alarms(box):
    """[name, level, where, value, latched, events] of each alarm that stands.

    where, value: of its feature now, value None: not known; events: what an acknowledgement names
    """
    state, params, rows = box.engine.state, box.engine.params, []
    for rule in range(len(catalogue.RULES)):
        level = state[params[L.P_RULES_AT] + rule * L.RULE_SIZE + L.LEVEL_NOW]
        if level:
            feature = params[L.HEADER_SIZE + rule * L.RULE_TABLE_SIZE + L.P_FEATURE]
            value = None if state[feature] == L.NA else state[feature]
            latched = _is_latched(params, rule)
            rows.append([catalogue.RULES[rule], level, state[feature + L.WHERE], value, latched, state[L.EVENTS]])
    for row in range(len(H.ROWS)):
        if box.hazards.mask >> row & 1:
            rows.append([H.ROWS[row][0], H.ROWS[row][1], 0, box.hazards.counts[row], False, None])
    return rows


def _slots(box):
    """[slot, version, counter, whether it is the confirmed one] of both; version None: nothing in it may run."""
    if not box.updates:
        raise Refused("the box has no slots")
    rows, slots = [], box.updates.slots
    for number in range(len(boot.SLOTS)):
        manifest = slots.manifest_of(number)
        version = ".".join([str(n) for n in manifest.version]) if manifest else None
        confirmed = number == slots.record.active
        rows.append([boot.SLOTS[number], version, manifest.counter if manifest else None, confirmed])
    return rows


def _is_latched(params, rule):
    return bool(params[L.HEADER_SIZE + rule * L.RULE_TABLE_SIZE + L.P_LATCHED])


def _log(box):
    """What of the log is sealed and stored: what a copy of it has to hold."""
    if not box.recorder:
        raise Refused("the box keeps no log")
    chain = box.recorder.chain
    index, tag, segment, size = chain.stands
    return [
        ["boot", chain.boot], ["commitment", hexlify(chain.commitment).decode()], ["index", index],
        ["tag", hexlify(tag).decode()], ["segment", segment], ["bytes", size],
    ]  # fmt: skip


def _is_of_log(name):
    return name == END_NAME or segment_number(name) is not None or annex_number(name) is not None


def _of_log(name):
    if not _is_of_log(name):
        raise Refused("no file of the log")
    return name


def _size(number):
    if not 0 <= number <= MOST_BYTES:
        raise ValueError
    return number
