"""A recorded log through the core of one vehicle image."""

import hashlib
from array import array
from collections import Counter

from cellwarden.core import catalogue
from cellwarden.core import layout as L

from .compiler.rule_table import physical
from .errors import InputError
from .snapshot import Snapshot

# Rules whose events name a probe; of all others with a place it is a cell.
_NEEDS = catalogue.COLUMNS.index("needs")
OF_PROBES = {
    row[0] for row in catalogue.ROWS if "temperature" in "".join(row[_NEEDS]) and "cell" not in "".join(row[_NEEDS])
}
SAMPLE = 4096  # frames whose identifiers are remembered, to tell what the log holds


class Replay:
    """Feed one log to one engine; iterate for events as dicts, then read `end`.

    image: Image; log: a reader's Log; channels: {name in the log: name in the profile}, where they differ
    before: snapshot.Snapshot to go on from; `after` is the one at the end, from where to go on if `goes_on`
    """

    def __init__(self, image, log, engine, channels=None, tick=None, before=None, goes_on=False):
        self.image, self.log, self.engine = image, log, engine
        self.buses = image.names["buses"]
        self.channels = channels or {}
        self.tick = tick or (lambda: None)
        self.fed = 0  # frames
        self.notices = 0  # and what the recorder knew of its buses
        self.first_us = self.last_us = None
        self.seen_ids = Counter()  # of the first SAMPLE frames
        self.other_channels = Counter()  # frames on channels that the profile does not watch
        self.end = None
        self.before, self.after, self.goes_on = before, None, goes_on
        self.of_rows = "table" in image.names  # each of them so many frames
        self.probe_numbers = image.names.get("probe_numbers")

    def _bus_numbers(self):
        """Channel name -> bus number, or None for a channel the profile does not watch; looked up once a name."""
        known = {}

        def number(channel):
            if channel not in known:
                name = self.channels.get(channel, channel)
                if name in self.buses:
                    known[channel] = self.buses.index(name)
                else:
                    known[channel] = self.buses.index(None) if None in self.buses else None
            return known[channel]

        return number

    def __iter__(self):
        if self.before:
            self.engine.resume(*self.before)
        steps = self._by_block() if hasattr(self.engine, "feed_block") else self._by_frame()
        for _ in steps:
            yield from self._events()
        if self.fed == 0:
            raise self._nothing()
        # The last row stands until the next one would be due; without a scan it would not be judged.
        if self.of_rows and not self.goes_on:
            self.engine.wait(self.last_us + 1000 * self.image.names["table"]["period_ms"])
        state = self.engine.finish()
        yield from self._events()
        self.end = self._end(state)
        self.after = Snapshot(state, self.last_us)

    def _by_frame(self):
        """Feed frame by frame; a step is where events may have come."""
        engine, number = self.engine, self._bus_numbers()
        feed, events = engine.feed, engine.events
        channel = bus = None
        for t_us, name, can_id, data in self.log:
            if name != channel or bus is None:
                channel, bus = name, number(name)
                if bus is None:
                    self._other(name)
                    continue
            if self.first_us is None:
                self.first_us = t_us
            if can_id >> 30:
                self.notices += 1
            else:
                if self.fed < SAMPLE:
                    self.seen_ids[can_id] += 1
                self.fed += 1
            self.last_us = t_us
            feed(t_us, bus, can_id, data)
            if events:
                yield
            if not self.fed & 0x3FFF:
                self.tick()

    def _by_block(self):
        """Feed block by block, the same frames in the same order."""
        import numpy

        number = self._bus_numbers()
        for block in self.log.blocks():
            if not len(block):
                continue
            numbers = [number(name) for name in block.channels]
            bus = numpy.array([-1 if bus is None else bus for bus in numbers], "i2")[block.channel]
            t_us, channel, can_id, length, data, _ = block
            if bus.min() < 0:
                for other, count in enumerate(numpy.bincount(channel[bus < 0]).tolist()):
                    if count:
                        self._other(block.channels[other], count)
                watched = bus >= 0
                t_us, bus, can_id, length, data = (column[watched] for column in (t_us, bus, can_id, length, data))
            if len(t_us):
                if self.first_us is None:
                    self.first_us = int(t_us[0])
                frames = can_id >> 30 == 0
                if self.fed < SAMPLE:
                    self.seen_ids.update(can_id[frames][: SAMPLE - self.fed].tolist())
                count = int(frames.sum())
                self.fed += count
                self.notices += len(t_us) - count
                self.last_us = int(t_us[-1])
                self.engine.feed_block(t_us, bus, can_id, length, data)
                yield
            self.tick()

    def _other(self, channel, count=1):
        """Account for frames of a channel that the profile does not watch."""
        self.other_channels[channel] += count

    def _events(self):
        rules = self.image.names["rules"]
        for event in self.engine.events:
            rule = rules[event.rule]
            value, unit = physical(event.value, rule["unit"])
            kind = "clear" if event.level == 0 else "raise" if event.before == 0 else "change"
            yield {
                "t": event.t_ms / 1000, "event": kind, "rule": rule["name"],
                "level": event.level, "before": event.before, "where": self._where(rule, event.where),
                "value": value, "unit": unit, "gb_bit": rule["gb_bit"],
            }  # fmt: skip
        self.engine.events.clear()

    def _where(self, rule, number):
        """The number of a cell or probe as the source counts them: a table may have columns of probes not fitted."""
        if self.probe_numbers and number and rule["name"] in OF_PROBES:
            return self.probe_numbers[number - 1]
        return number

    def _nothing(self):
        account = self.log.account
        channels = ", ".join(f"`{c}`" for c in self.other_channels)
        if self.other_channels:
            wanted = ", ".join(f"`{c}`" for c in self.buses)
            return InputError(
                self.log.path, f"no frame on channel {wanted}; the log has {channels}", "the channels of the profile",
                f"say --channel {next(iter(self.other_channels))}={self.buses[0]}",
            )  # fmt: skip
        left_out = ", ".join(f"{n} {reason}" for reason, n in (account.skipped + account.rejected).items())
        return InputError(self.log.path, f"no frame to replay ({left_out or 'nothing in it'})", "received data frames")

    def _end(self, state_bytes):
        state = array("i", state_bytes)
        before = array("i", self.before.state if self.before else bytes(len(state_bytes)))

        def count(index):
            return (state[index] - before[index]) & L.MASK

        if count(L.FRAMES) == 0:
            ids = ", ".join(_id(i) for i, _ in self.seen_ids.most_common(3))
            wanted = ", ".join(_id(i) for _, _, i in self.image.names["messages"][:3])
            raise InputError(
                self.log.path,
                f"is a log of another vehicle: none of its {self.fed} frames (such as {ids}) "
                f"is one that {self.image.names['vehicle']} sends",
                f"identifiers such as {wanted}",
                "choose the profile of the vehicle that was logged",
            )
        account = self.log.account
        header = self.image.params
        section = {name: state[first:end] for name, (first, end) in L.state_sections(header).items()}
        groups = list(zip(self.image.names["groups"], section["groups"][L.STATUS :: L.GROUP_SIZE], strict=True))
        features = section["features"]
        missing = {
            "cells": (header[L.P_CELLS] - features[L.F_CELLS_VALID], header[L.P_CELLS]),
            "probes": (header[L.P_PROBES] - features[L.F_PROBES_VALID], header[L.P_PROBES]),
        }
        bms_level = section["rules"][catalogue.RULES.index(catalogue.BMS) * L.RULE_SIZE + L.LEVEL_NOW]
        skipped = dict(account.skipped)
        if self.other_channels:
            skipped["other channel"] = self.other_channels.total()
        frames, known = self.fed, count(L.FRAMES)
        table = {}
        if self.of_rows:
            frames = known = account.frames
            table = {"rows": account.frames, "gaps": account.gaps, "unread": account.unread}
        return {
            "event": "end", "frames": frames, "notices": self.notices,
            "rejected": dict(account.rejected), "skipped": skipped,
            "total": account.total, "cut": account.cut, "known_frames": known, "scans": count(L.SCANS),
            "first": self.first_us / 1e6, "last": self.last_us / 1e6,
            "level": state[L.LEVEL], "max_level": state[L.MAX_LEVEL],
            "bms_level": bms_level,
            "verdict": _verdict(state, bms_level, missing), "gb_flags": state[L.FLAGS],
            "never_received": [name for name, status in groups if status == L.NEVER],
            "lost": [name for name, status in groups if status == L.STALE],
            "active": [rule["name"] for rule in self.image.names["rules"] if rule["active"]],
            "malformed": count(L.MALFORMED), "checksum_errors": count(L.CHECKSUM_ERRORS),
            "counter_errors": count(L.COUNTER_ERRORS), "time_backward": count(L.TIME_BACKWARD),
            "cells_valid": features[L.F_CELLS_VALID], "cells_lost": features[L.F_CELLS_LOST],
            "probes_valid": features[L.F_PROBES_VALID], "probes_lost": features[L.F_PROBES_LOST],
            "engine": self.engine.name, "image_sha256": self.image.sha256,
            "state_sha256": hashlib.sha256(state_bytes).hexdigest(), **table,
        }  # fmt: skip


def _verdict(state, bms_level, missing):
    """The last scan's verdict; "fine" only where everything needed has been seen and still comes."""
    if state[L.LEVEL]:
        return f"level {state[L.LEVEL]}"
    if bms_level:
        return f"nothing of our own, the BMS reports level {bms_level}"
    if not state[L.KNOWN]:
        return "not yet known"
    if state[L.LOST]:
        return "unknown, messages are lost"
    gone = " and ".join(f"{count} of {of} {what}" for what, (count, of) in missing.items() if count)
    return f"unknown, without a valid value: {gone}" if gone else "fine"


def _id(can_id):
    return f"0x{can_id & ~L.EXT:08X}" if can_id & L.EXT else f"0x{can_id:03X}"
