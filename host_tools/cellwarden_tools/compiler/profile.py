"""The vehicle profile (TOML): which signal of which DBC is which quantity, and what makes a message trustworthy.

`load_profile` checks everything that can be checked against the DBC files and returns plain data; every error names the
file, the key and the nearest valid name.
"""

import math
import os
import re
import tomllib
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from fractions import Fraction
from pathlib import Path

from cellwarden.blackbox.recorder import FRAMES
from cellwarden.core import catalogue

from ..errors import InputError, did_you_mean
from . import dbc as dbc_files
from .checksums import KINDS
from .quantities import ARRAYS, LEVEL, NUMBER, QUANTITIES, SENTINEL, STATE, Quantity, unit_factor, unit_names

_VEHICLE = {
    "name", "chemistry", "cells", "probes", "nominal_v", "capacity_ah", "max_discharge_a", "max_charge_a",
    "scan_ms", "deadline_ms", "sleep_s",
}  # fmt: skip
_BUS = {"channel", "dbc", "strict"}
_SIGNAL = {"signal", "sign", "unit", "min", "max", "bus"}
_MESSAGE = {"period_ms", "deadline_ms", "counter", "checksum"}
_LIMIT = {"levels", "assert_s", "clear_s", "clear_at", "enabled", "latched"}
_TOP = {"vehicle", "bus", "signals", "invalid", "messages", "limits", "parked", "blackbox", "table"}
_BLACKBOX = {"frames", "before_s", "after_s", "annexes_kib"}
DEFAULT_DEADLINE_MS = 5000


@dataclass(frozen=True)
class Bus:
    """One [[bus]]: its number, the channel's name in a log (None = every channel), and its DBC."""

    number: int
    channel: str | None
    database: dbc_files.Database


@dataclass(frozen=True)
class Binding:
    """One signal in use. index: 0 for a scalar, else the number of the cell or probe, from 1.

    factor, offset: canonical = factor * raw + offset (NUMBER). codes: the profile's raw values, one set per meaning
    (STATE: 1, then 0 where listed; LEVEL: 0..3). invalid: raw sentinels. low..high: canonical range that counts.
    """

    quantity: Quantity
    index: int
    bus: Bus
    message: dbc_files.Message
    signal: dbc_files.Signal
    factor: Fraction
    offset: Fraction
    low: int
    high: int
    codes: tuple[frozenset[int], ...] = ()
    invalid: frozenset[int] = frozenset()


@dataclass(frozen=True)
class MessageTrust:
    """What makes one message trustworthy. period_ms: between two frames; deadline_ms: None = from the period."""

    period_ms: int | None = None
    deadline_ms: int | None = None
    counter: dbc_files.Signal | None = None
    checksum: dbc_files.Signal | None = None
    checksum_kind: str | None = None


@dataclass
class Profile:
    path: Path
    name: str
    chemistry: str
    cells: int
    probes: int
    vehicle: dict
    buses: list[Bus]
    bindings: list[Binding]
    trust: dict[tuple[int, str], MessageTrust]  # (bus number, message name)
    limits: dict[str, dict]
    warnings: list[str] = field(default_factory=list)
    is_table: bool = False  # for rows of a recorded table: there are no messages that could be lost
    table: dict | None = None  # what the reader of tables needs (compiler.table), where there is a [table]
    has_bus: bool = True  # whether there is a [[bus]]
    sleep_ms: int = catalogue.SLEEP_MS  # a longer silence is sleep
    parked: dict = field(
        default_factory=dict
    )  # how long a box watches and sleeps, minutes, where it is not the catalogue's
    probe_numbers: tuple[int, ...] = ()  # the table's own number of each probe
    blackbox: dict = field(default_factory=dict)  # options of the recorder, where they are not its own

    @property
    def quantities(self):
        """Names of the quantities this vehicle sends."""
        return {binding.quantity.name for binding in self.bindings}


def load_profile(path, table=None):
    """Read and check a profile with its DBC files. Raises InputError.

    table: True for recorded tables, False for logs of a bus, None for what the profile has, of both a bus
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", "a vehicle profile (TOML)") from None
    try:
        data = tomllib.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(path, f"is not text (byte {error.start})", "a vehicle profile (TOML in UTF-8)") from None
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        where = f"{path}:{at[1]}:{at[2]}" if at else path
        raise InputError(where, re.sub(r"\s*\(at .*\)", "", str(error)), "TOML") from None
    return _Loader(path, data).profile(table)


def needed_messages(path):
    """{DBC path: names of the messages that the profile's quantities come from}, for `cellwarden lint -p`."""
    needed = {}
    for binding in load_profile(path).bindings:
        needed.setdefault(Path(binding.bus.database.path), set()).add(binding.message.name)
    return needed


def find_dbc(name, profile_path):
    """A DBC named in a profile: beside the profile, in $CELLWARDEN_DBC_PATH, or in the corpus."""
    corpus = os.environ.get("CELLWARDEN_CORPUS")
    folders = [profile_path.parent]
    folders += [Path(p) for p in os.environ.get("CELLWARDEN_DBC_PATH", "").split(os.pathsep) if p]
    folders += [Path(corpus)] if corpus else []
    # A checkout has the corpus beside it: <checkout>/../shared/data.
    folders += [parent / "shared" / "data" for parent in profile_path.resolve().parents]
    for folder in folders:
        # A profile may name the corpus's folders; a user's own copy lies where it lies.
        for path in (folder / name, folder / Path(name).name):
            if path.is_file():
                return path
    raise InputError(
        profile_path,
        f"[[bus]] dbc: no file `{name}`",
        "it beside the profile, or in a folder of $CELLWARDEN_DBC_PATH",
    )


class _Loader:
    def __init__(self, path, data):
        self.path, self.data = path, data
        self.warnings = []

    def fail(self, key, what, expected="", mend=""):
        raise InputError(f"{self.path}: [{key}]" if key else self.path, what, expected, mend)

    def table(self, key, known, data=None, default=None):
        """A sub-table with only known keys."""
        table = self.data.get(key, {} if default is None else default) if data is None else data
        if not isinstance(table, dict):
            self.fail(key, "is not a table", f"[{key}] with keys under it")
        for name in table:
            if known is not None and name not in known:
                self.fail(key, f"no key `{name}`{did_you_mean(name, known)}", ", ".join(sorted(known)))
        return table

    def number(self, key, table, name, default=None, low=0, high=10**9, whole=True):
        value = table.get(name, default)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not low <= value <= high:
            self.fail(key, f"{name} = {value!r}", f"{'a whole' if whole else 'a'} number from {low} to {high}")
        return value

    def profile(self, is_table=None):
        self.table("", _TOP, self.data)
        has_bus = any(key in self.data for key in ("bus", "signals", "messages", "invalid")) or "table" not in self.data
        is_table = not has_bus if is_table is None else is_table
        if is_table and "table" not in self.data:
            self.fail("", "no [table]", "a [table] that says what the columns of a recorded table are")
        vehicle = self.table("vehicle", _VEHICLE)
        name = vehicle.get("name")
        if not isinstance(name, str) or not re.fullmatch(r"[\w.-]{1,64}", name):
            self.fail("vehicle", f"name = {name!r}", "a name of letters, digits, `-`, `_` or `.`")
        chemistry = vehicle.get("chemistry")
        if chemistry not in tuple(catalogue.CHEMISTRIES):
            hint = did_you_mean(str(chemistry), catalogue.CHEMISTRIES)
            self.fail("vehicle", f"chemistry = {chemistry!r}{hint}", ", ".join(catalogue.CHEMISTRIES))
        cells = self.number("vehicle", vehicle, "cells", low=1, high=1000)
        if cells is None:
            self.fail("vehicle", "cells is missing", "the number of cells in series")
        probes = self.number("vehicle", vehicle, "probes", 0, high=500)
        for key, low in (("nominal_v", 10), ("capacity_ah", 1), ("max_discharge_a", 0), ("max_charge_a", 0)):
            self.number("vehicle", vehicle, key, low=low, high=5000, whole=False)
        for key, high in (("scan_ms", 1000), ("deadline_ms", 3_600_000)):
            self.number("vehicle", vehicle, key, low=10, high=high)
        self.number("vehicle", vehicle, "sleep_s", low=1, high=3600, whole=False)
        table = None
        if "table" in self.data:
            from .table import TableLoader

            table = TableLoader(self, cells, probes)
        sleep_ms, numbers = round(1000 * vehicle.get("sleep_s", catalogue.SLEEP_MS / 1000)), ()
        if is_table:
            buses, bindings, trust = [table.bus], table.bindings, table.trust
            sleep_ms, numbers = max(3 * table.period_ms, sleep_ms), tuple(table.probe_numbers)
        else:
            self.buses = buses = self.read_buses()
            self.invalid = self.read_invalid()
            bindings = self.read_signals(cells, probes)
            trust = self.read_messages()
            if not bindings:
                self.fail("signals", "maps nothing", f"at least one of {', '.join(QUANTITIES)}")
        parked = self.table("parked", tuple(catalogue.PARKED_MIN))
        for key in parked:
            self.number("parked", parked, key, low=1, high=1440)
        blackbox = self.read_blackbox()
        mapped = {b.quantity.name for b in bindings}
        limits = self.read_limits()
        return Profile(
            self.path, name, chemistry,
            cells if "cell_voltage" in mapped else 0, probes if "temperature" in mapped else 0,
            vehicle | {"cells": cells, "probes": probes}, buses, bindings, trust, limits, self.warnings,
            is_table, table and table.mapping, has_bus, sleep_ms, parked, numbers, blackbox,
        )  # fmt: skip

    def read_blackbox(self):
        """What [blackbox] says as options of cellwarden.blackbox.recorder.Recorder."""
        told, options = self.table("blackbox", _BLACKBOX), {}
        if "frames" in told:
            options["frames"] = told["frames"]
            if told["frames"] not in FRAMES:
                wanted = ", ".join(f'"{word}"' for word in FRAMES)
                self.fail("blackbox", f"frames = {told['frames']!r}", f"one of {wanted}")
        for key, option, factor, low, high in (
            ("before_s", "before_ms", 1000, 0, 600),
            ("after_s", "after_ms", 1000, 0, 3600),
            ("annexes_kib", "annexes_bytes", 1024, 1024, 1 << 20),
        ):
            if key in told:
                options[option] = factor * self.number("blackbox", told, key, low=low, high=high)
        return options

    def read_buses(self):
        entries = self.data.get("bus")
        if not isinstance(entries, list) or not entries:
            self.fail("", "no [[bus]]", "a [[bus]] table with a `dbc`")
        if len(entries) > 8:
            self.fail("bus", f"{len(entries)} buses", "at most 8")
        buses = []
        for number, entry in enumerate(entries):
            self.table("bus", _BUS, entry)
            channel, name = entry.get("channel"), entry.get("dbc")
            if not isinstance(name, str):
                self.fail("bus", f"dbc = {name!r}", "the name of a DBC file")
            if channel is not None and not isinstance(channel, str):
                self.fail("bus", f"channel = {channel!r}", 'a text such as "can0"')
            if channel in [bus.channel for bus in buses]:
                self.fail("bus", f"channel {channel!r} stands twice", "each channel once")
            if not isinstance(entry.get("strict", False), bool):
                self.fail("bus", f"strict = {entry['strict']!r}", "true or false")
            database = dbc_files.load(find_dbc(name, self.path))
            if entry.get("strict"):
                for finding in database.findings:
                    if finding.code in ("overlap", "overrun"):
                        raise InputError(
                            f"{database.path}:{finding.line}", finding.text, "none, as strict = true in the profile"
                        )
            buses.append(Bus(number, channel, database))
        return buses

    def read_invalid(self):
        table = self.table("invalid", None)
        for pattern, values in table.items():
            if not isinstance(values, list) or not all(isinstance(v, int) and not isinstance(v, bool) for v in values):
                self.fail("invalid", f'"{pattern}" = {values!r}', "a list of raw values, such as [255]")
            if not any(self.match(pattern)):
                self.fail("invalid", f'"{pattern}" fits no signal{self.near(pattern)}', "Message.Signal, * allowed")
        return table

    def match(self, pattern, number_mode=False, bus_name=None):
        """(bus, message, signal, {n} or None) for all signals that fit `Message.Signal` with *, ? and {n}."""
        if pattern.count(".") != 1:
            self.fail("", f"`{pattern}` is no name of a signal", "Message.Signal")
        message_part, signal_part = pattern.split(".")
        expression = None
        if number_mode:
            text = re.escape(signal_part).replace(r"\{n\}", "(?P<n>[0-9]+)").replace(r"\*", ".*").replace(r"\?", ".")
            expression = re.compile(text)
        for bus in self.buses:
            if bus_name is not None and bus.channel != bus_name:
                continue
            for message in bus.database.messages:
                if not fnmatchcase(message.name, message_part):
                    continue
                for signal in message.signals:
                    if expression:
                        found = expression.fullmatch(signal.name)
                        if found:
                            yield bus, message, signal, int(found["n"])
                    elif fnmatchcase(signal.name, signal_part):
                        yield bus, message, signal, None

    def near(self, name):
        """`; did you mean …` for a Message.Signal that does not exist, or why it was dropped from the DBC."""
        for bus in self.buses:
            dropped = getattr(bus.database, "dropped", {})
            for known in (name, name.split(".")[0]):
                if known in dropped:
                    return f" ({bus.database.path}:{dropped[known].line}: {dropped[known].text})"
        message, _, signal = name.partition(".")
        messages = {m.name: m for bus in self.buses for m in bus.database.messages}
        if message in messages and signal:
            hint = did_you_mean(signal, [s.name for s in messages[message].signals])
            return hint
        if messages and signal:
            hint = did_you_mean(message, messages)
            if hint:
                return hint
        return did_you_mean(name, [f"{m.name}.{s.name}" for m in messages.values() for s in m.signals])

    def read_signals(self, cells, probes):
        table = self.table("signals", set(QUANTITIES))
        bindings = []
        for name, entry in table.items():
            quantity = QUANTITIES[name]
            options = self.options(quantity, entry)
            count = {"cell_voltage": cells, "temperature": probes}.get(name)
            if name in ARRAYS:
                found = self.array(quantity, options["signal"], count, options.get("bus"))
            else:
                found = [(0, self.one(quantity, options["signal"], options.get("bus")))]
            for index, (bus, message, signal) in found:
                bindings.append(self.bind(quantity, index, bus, message, signal, options))
        first = {}
        for binding in bindings:
            message = binding.message
            other = first.setdefault((binding.bus.number, message.can_id), message)
            if other is not message:
                self.fail(
                    f"signals.{binding.quantity.name}",
                    f"`{message.name}` and `{other.name}` have one identifier in {binding.bus.database.path.name}",
                    "signals of one of them",
                    "map only the one that this vehicle sends",
                )
        return bindings

    def options(self, quantity, entry):
        """The entry of a quantity as a table with a `signal`."""
        key = f"signals.{quantity.name}"
        if isinstance(entry, (str, list)):
            entry = {"signal": entry}
        known = _SIGNAL | set(quantity.states)
        self.table(key, known, entry)
        if "signal" not in entry:
            self.fail(key, "no `signal`", 'signal = "Message.Signal"')
        patterns = entry["signal"]
        if isinstance(patterns, str):
            patterns = [patterns]
        if not isinstance(patterns, list) or not patterns or not all(isinstance(p, str) for p in patterns):
            self.fail(key, f"signal = {entry['signal']!r}", '"Message.Signal" or a list of them')
        for state in quantity.states:
            if state not in entry and state != "off":
                self.fail(key, f"no `{state}`", f"the raw values that mean it, such as {state} = [1]")
        if type(entry.get("sign", 1)) is not int or entry.get("sign", 1) not in (1, -1):
            self.fail(key, f"sign = {entry['sign']!r}", "1 or -1")
        bus = entry.get("bus")
        if bus is not None and bus not in [b.channel for b in self.buses]:
            self.fail(
                key,
                f"bus = {bus!r}{did_you_mean(str(bus), [b.channel or '' for b in self.buses])}",
                "a [[bus]] channel",
            )
        return entry | {"signal": patterns}

    def one(self, quantity, patterns, bus):
        key = f"signals.{quantity.name}"
        if len(patterns) != 1:
            self.fail(key, f"{len(patterns)} signals", "one signal")
        if "{n}" in patterns[0]:
            self.fail(key, f"`{patterns[0]}`", "one signal; {n} belongs to cell_voltage and temperature")
        found = list(self.match(patterns[0], bus_name=bus))
        if not found:
            self.fail(key, f"no signal `{patterns[0]}`{self.near(patterns[0])}")
        if len(found) > 1:
            where = ", ".join(f"{m.name}.{s.name} on {b.channel or 'every channel'}" for b, m, s, _ in found[:3])
            self.fail(key, f"`{patterns[0]}` fits {len(found)} signals ({where})", 'one; name the bus with bus = "…"')
        return found[0][:3]

    def array(self, quantity, patterns, count, bus):
        """[(number from 1, (bus, message, signal))] for all cells or probes."""
        key = f"signals.{quantity.name}"
        by_number = ["{n}" in p for p in patterns]
        if any(by_number) and not all(by_number):
            self.fail(key, "mixes patterns with and without {n}", "one kind")
        found = {}
        for pattern in patterns:
            hits = list(self.match(pattern, by_number[0], bus))
            if not hits:
                self.fail(key, f"no signal fits `{pattern}`{self.near(pattern)}")
            for *signal, number in hits:
                number = len(found) + 1 if number is None else number
                if number in found:
                    name = "cell" if quantity.name == "cell_voltage" else "probe"
                    two = f"{found[number][1].name}.{found[number][2].name} and {signal[1].name}.{signal[2].name}"
                    self.fail(key, f"two signals for {name} {number}: {two}", "one; narrow the pattern")
                found[number] = tuple(signal)
        extra = sorted(n for n in found if not 1 <= n <= count)
        missing = [n for n in range(1, count + 1) if n not in found]
        what = "cells" if quantity.name == "cell_voltage" else "probes"
        if missing or (extra and not any(by_number)):
            self.fail(
                key,
                f"{len(found)} signals for {count} {what}" + (f", number {missing[0]} is missing" if missing else ""),
                f"one for each of 1 to {count}; mend the pattern or [vehicle] {what}",
            )
        if extra:
            self.warnings.append(
                f"{self.path}: [{key}]: the DBC has signals up to number {extra[-1]}, the vehicle {count} {what}"
            )
        return [(n, found[n]) for n in range(1, count + 1)]

    def bind(self, quantity, index, bus, message, signal, options):
        key = f"signals.{quantity.name}"
        full = f"{message.name}.{signal.name}"
        if signal.defect:
            raise InputError(
                f"{bus.database.path}:{signal.line or message.line}",
                f"`{full}` cannot be decoded safely: {signal.defect}",
                "an integer of up to 32 bits inside its message",
                f"mend the DBC or map {quantity.name} to another signal in {self.path.name}",
            )
        for used in (signal, *(message.signal(name) for name, _ in signal.mux)):
            if used.overlaps:
                others = ", ".join(f"`{other}`" for other in used.overlaps[:3])
                what = f"`{message.name}.{used.name}` shares bits with {others}; check which of them is right"
                self.warnings.append(f"{bus.database.path}:{used.line or message.line}: {what}")
        invalid = set()
        for pattern, values in self.invalid.items():
            message_part, signal_part = pattern.split(".")
            if fnmatchcase(message.name, message_part) and fnmatchcase(signal.name, signal_part):
                invalid.update(values)
        bottom = -(1 << signal.length - 1) if signal.signed else 0
        top = bottom + (1 << signal.length) - 1
        codes = ()
        factor = offset = Fraction(0)
        low, high = quantity.low, quantity.high
        if quantity.kind == NUMBER:
            invalid.update(raw for raw, text in signal.choices.items() if SENTINEL.search(str(text)))
            unit = options.get("unit", signal.unit)
            if not isinstance(unit, str):
                self.fail(key, f"unit = {unit!r}", f"one of {unit_names(quantity.unit)}")
            per = unit_factor(quantity.unit, unit)
            if per is None:
                what = f"unit {unit!r} of `{full}` is not understood" if unit else f"`{full}` has no unit in the DBC"
                self.fail(key, what, f'one of {unit_names(quantity.unit)}: {{ signal = "{full}", unit = "…" }}')
            sign = options.get("sign", 1)
            factor, offset = signal.scale * per * sign, signal.offset * per * sign
            if factor == 0:
                self.fail(key, f"`{full}` has a factor of 0", "a factor that tells values apart")
            for bound in ("min", "max"):
                given = options.get(bound)
                if given is None:
                    continue
                if isinstance(given, bool) or not isinstance(given, (int, float)) or not math.isfinite(given):
                    self.fail(key, f"{bound} = {given!r}", "a number in the signal's unit")
                value = round(Fraction(str(given)) * per)
                low, high = (value, high) if bound == "min" else (low, value)
            if not quantity.low <= low < high <= quantity.high:
                self.fail(
                    key, f"range {low} to {high} {quantity.unit}", f"one inside {quantity.low} to {quantity.high}"
                )
        else:
            codes = tuple(
                self.codes(key, state, options[state], quantity) for state in quantity.states if state in options
            )
            if quantity.kind == LEVEL:
                codes = codes[0]
            for code in frozenset().union(*codes):
                if not bottom <= code <= top:
                    self.fail(key, f"raw value {code} never occurs in `{full}`", f"raw values from {bottom} to {top}")
            if quantity.kind == STATE and len(codes) == 2 and codes[0] & codes[1]:
                self.fail(key, f"raw value {min(codes[0] & codes[1])} means both", "each raw value once")
        return Binding(
            quantity, index, bus, message, signal, factor, offset, low, high, codes,
            frozenset(v for v in invalid if bottom <= v <= top),
        )  # fmt: skip

    def codes(self, key, state, values, quantity):
        """Raw values of a state as a frozenset, or for levels one frozenset a level."""

        def whole(values):
            values = values if isinstance(values, list) else [values]
            if not values or not all(isinstance(v, int) and not isinstance(v, bool) for v in values):
                self.fail(key, f"{state} = {values!r}", "raw values, such as [1]")
            return frozenset(values)

        if quantity.kind == STATE:
            return whole(values)
        if not isinstance(values, list) or not 2 <= len(values) <= 4:
            self.fail(
                key, f"{state} = {values!r}", "the raw values of levels 0, 1, 2, 3 in order, such as [0, 1, 2, 3]"
            )
        levels = tuple(whole(v) for v in values)
        if sum(map(len, levels)) != len(frozenset().union(*levels)):
            self.fail(key, f"{state} = {values!r}", "each raw value once")
        return levels

    def read_messages(self):
        trust = {}
        for name, entry in self.table("messages", None).items():
            key = f'messages."{name}"'
            self.table(key, _MESSAGE, entry)
            hits = [(b, m) for b in self.buses for m in b.database.messages if m.name == name]
            if not hits:
                names = [m.name for b in self.buses for m in b.database.messages]
                self.fail(key, f"no message `{name}`{did_you_mean(name, names)}")
            period = self.number(key, entry, "period_ms", low=1, high=3_600_000)
            deadline = self.number(key, entry, "deadline_ms", low=1, high=86_400_000)
            for bus, message in hits:
                counter = self.part(key, message, entry["counter"]) if "counter" in entry else None
                checksum = kind = None
                if "checksum" in entry:
                    given = entry["checksum"]
                    if not isinstance(given, dict) or set(given) != {"signal", "kind"}:
                        self.fail(key, f"checksum = {given!r}", '{ signal = "…", kind = "crc8-j1850" }')
                    checksum, kind = self.part(key, message, given["signal"]), given["kind"]
                    if kind not in tuple(KINDS):
                        self.fail(key, f"checksum kind {kind!r}{did_you_mean(str(kind), KINDS)}", ", ".join(KINDS))
                    if checksum.length != 8 or (checksum.start % 8 != (7 if checksum.big_endian else 0)):
                        self.fail(
                            key,
                            f"checksum `{checksum.name}` is not a whole byte",
                            f"8 bits on a byte's border for {kind}",
                        )
                trust[bus.number, name] = MessageTrust(period, deadline, counter, checksum, kind)
        return trust

    def part(self, key, message, name):
        """A signal of `message` that a counter or checksum names; it must be there in every frame."""
        for signal in message.signals:
            if signal.name == name:
                if signal.defect or signal.mux or signal.length > 16:
                    why = signal.defect or ("it is multiplexed" if signal.mux else f"{signal.length} bits")
                    self.fail(key, f"`{message.name}.{name}` cannot be a counter or checksum: {why}")
                return signal
        self.fail(
            key, f"no signal `{name}` in `{message.name}`{did_you_mean(str(name), [s.name for s in message.signals])}"
        )

    def read_limits(self):
        limits = self.table("limits", set(catalogue.RULES))
        for rule, entry in limits.items():
            self.table(f"limits.{rule}", _LIMIT, entry)
            for key in ("enabled", "latched"):
                if not isinstance(entry.get(key, True), bool):
                    self.fail(f"limits.{rule}", f"{key} = {entry[key]!r}", "true or false")
        return limits
