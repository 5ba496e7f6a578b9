"""Recorded tables (CSV, Parquet: one row a sample): `[table]` of a profile as messages of a bus that is made for it.

Each row becomes one frame of each of these messages, so a table runs through the same generated decoder and the same
core as a log. A signal is its quantity's canonical integer less a base, or all ones where the table gives no value.
"""

import hashlib
import zoneinfo
from datetime import UTC, datetime
from fractions import Fraction

from ..errors import did_you_mean
from ..readers.table import FORMATS, WIDTHS, no_value, spelling, zone_of
from . import dbc
from .profile import Binding, Bus, MessageTrust
from .quantities import LEVEL, NUMBER, QUANTITIES, STATE, unit_factor, unit_names

SETTINGS = {"time", "timezone", "period_s", "deadline_s"}
UNITS = {"mV": "V", "mA": "A", "ddegC": "degC", "permille": "%"}  # taken where none is given
MESSAGE_BYTES = 64
PERIOD_S = 30  # what GB/T 32960.3 asks of a terminal at least
_NUMBER = {"column", "unit", "scale", "offset", "sign", "invalid", "min", "max"}
_STATE = {"column", "invalid"}


class TableLoader:
    """Reads `[table]` for profile._Loader.

    bindings, trust, bus: as those of a [[bus]]; mapping: what the reader of tables needs, as JSON can say it;
    probe_numbers: the table's own number of each probe; period_ms: from row to row
    """

    def __init__(self, loader, cells, probes):
        self.loader, self.fail = loader, loader.fail
        self.counts = {"cell_voltage": cells, "temperature": probes}
        entries = loader.table("table", SETTINGS | set(QUANTITIES))
        self.probe_numbers = list(range(1, probes + 1))
        self.period_ms = period_ms = self.milliseconds(entries, "period_s", PERIOD_S)
        deadline_ms = self.milliseconds(entries, "deadline_s", None) or max(3 * period_ms, 5000)
        if deadline_ms < period_ms:
            self.fail("table", f"deadline_s = {entries['deadline_s']!r}", f"at least period_s = {period_ms / 1000:g}")
        self.mapping = {"period_ms": period_ms, "deadline_ms": deadline_ms, **self.time(entries)}
        self.kinds, self.columns = [], []  # how values are read; (quantity, index, name of the column, kind)
        for name in entries:
            if name in QUANTITIES:
                self.quantity(QUANTITIES[name], entries[name])
        if not self.columns:
            self.fail("table", "maps nothing", f"at least one of {', '.join(QUANTITIES)}")
        self.database(MessageTrust(period_ms, deadline_ms))

    def milliseconds(self, entries, key, default):
        value = self.loader.number("table", entries, key, default, low=0.01, high=86_400, whole=False)
        return None if value is None else round(Fraction(str(value)) * 1000)

    def time(self, entries):
        """The settings of the clock."""
        given = entries.get("time")
        if isinstance(given, str):
            given = {"column": given}
        if given is None:
            self.fail("table", "no `time`", 'time = "the column with the time stamps"')
        self.loader.table("table.time", {"column", "format"}, given)
        column, form = given.get("column"), given.get("format", "iso")
        self.name("table.time", column)
        if not isinstance(form, str) or not (form in FORMATS or "%" in form):
            hint = did_you_mean(str(form), FORMATS)
            expected = f"{', '.join(FORMATS)}, or a pattern such as %Y%m%d%H%M%S"
            self.fail("table.time", f"format = {form!r}{hint}", expected)
        try:
            moment = datetime(2021, 5, 5, 9, 10, tzinfo=UTC)
            form in FORMATS or datetime.strptime(moment.strftime(form), form)
        except ValueError as error:
            self.fail("table.time", f"format = {form!r} ({error})", "a pattern such as %Y%m%d%H%M%S")
        zone = entries.get("timezone")
        if zone is None and form not in ("s", "ms", "us"):
            self.loader.warnings.append(
                f"{self.loader.path}: [table]: no timezone: times that name none are taken for UTC"
            )
        try:
            zone_of("UTC" if zone is None else zone)
        except (ValueError, TypeError, AttributeError):
            hint = did_you_mean(str(zone), zoneinfo.available_timezones())
            self.fail(
                "table",
                f"timezone = {zone!r}{hint}",
                'a zone such as "Asia/Shanghai" or "+08:00"',
                "pip install tzdata if this computer has no zones" if not zoneinfo.available_timezones() else "",
            )
        return {"time": column, "format": form, "timezone": zone or "UTC"}

    def name(self, key, name):
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            self.fail(key, f"column = {name!r}", "the name of a column")

    def quantity(self, quantity, entry):
        """Note the columns of one quantity."""
        key = f"table.{quantity.name}"
        if isinstance(entry, (str, list)):
            entry = {"column": entry}
        known = (_NUMBER if quantity.kind == NUMBER else _STATE) | set(quantity.states)
        if quantity.name == "temperature":
            known |= {"unfitted"}
        self.loader.table(key, known, entry)
        if "column" not in entry:
            self.fail(key, "no `column`", 'column = "the name of a column"')
        self.kinds.append(
            self.number(key, quantity, entry) if quantity.kind == NUMBER else self.state(key, quantity, entry)
        )
        for index, column in self.names(key, quantity, entry):
            self.columns.append((quantity, index, column, len(self.kinds) - 1))

    def names(self, key, quantity, entry):
        """[(index, column)]: of a scalar index 0, else from 1 through all cells or probes."""
        column, count = entry["column"], self.counts.get(quantity.name)
        if count is None:
            self.name(key, column)
            return [(0, column)]
        if not count:
            self.fail(key, "[vehicle] has no `probes`", "the number of probes that are fitted")
        unfitted = entry.get("unfitted", [])
        if not isinstance(unfitted, list) or not all(type(n) is int and 1 <= n <= 1000 for n in unfitted):
            self.fail(key, f"unfitted = {unfitted!r}", "numbers of probes, such as [8, 9]")
        numbers = [n for n in range(1, count + len(set(unfitted)) + 1) if n not in unfitted][:count]
        if beyond := [n for n in unfitted if n > count + len(set(unfitted))]:
            self.fail(
                key,
                f"unfitted probe {beyond[0]}, of {count} with {len(set(unfitted))} unfitted between",
                "numbers among the table's own",
            )
        if isinstance(column, list):
            for name in column:
                self.name(key, name)
            if len(column) < numbers[-1] or len(column) > count + len(set(unfitted)):
                self.fail(key, f"{len(column)} columns for {count} and {len(set(unfitted))} unfitted", "one for each")
            found = [column[n - 1] for n in numbers]
        else:
            self.name(key, column)
            if "{n}" not in column:
                self.fail(key, f"column = {column!r}", "a name with {n}, such as V_{n}, or a list of names")
            found = [column.replace("{n}", str(n)) for n in numbers]
        if len(set(found)) != len(found):
            self.fail(key, "one column stands twice", "each column once")
        if quantity.name == "temperature":
            self.probe_numbers = numbers
        return list(enumerate(found, 1))

    def fraction(self, key, entry, name, default):
        value = entry.get(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e9:
            self.fail(key, f"{name} = {value!r}", "a number")
        return Fraction(str(value))

    def number(self, key, quantity, entry):
        """How the values of a number are read: canonical = factor * value + offset, from low to high."""
        unit = entry.get("unit", UNITS.get(quantity.unit, ""))
        per = unit_factor(quantity.unit, unit) if isinstance(unit, str) else None
        if per is None:
            what = f"unit = {unit!r}" if unit else "no unit, and ohm and kohm are easily mistaken"
            self.fail(key, what, f"one of {unit_names(quantity.unit)}")
        sign, scale = entry.get("sign", 1), self.fraction(key, entry, "scale", 1)
        if type(sign) is not int or sign not in (1, -1):
            self.fail(key, f"sign = {sign!r}", "1 or -1")
        if not scale:
            self.fail(key, "scale = 0", "a number that tells values apart")
        low, high = quantity.low, quantity.high
        if "min" in entry:
            low = round(self.fraction(key, entry, "min", 0) * per)
        if "max" in entry:
            high = round(self.fraction(key, entry, "max", 0) * per)
        if not quantity.low <= low < high <= quantity.high:
            self.fail(key, f"range {low} to {high} {quantity.unit}", f"one inside {quantity.low} to {quantity.high}")
        base = min(quantity.low, 0)
        size = next((n for n in (2, 4) if quantity.high - base < no_value(n)), None)
        assert size, f"{quantity.name} has too wide a range for a table's signal"
        return {
            "quantity": quantity.name, "bytes": size, "base": base, "low": low, "high": high,
            "factor": str(scale * per * sign), "offset": str(self.fraction(key, entry, "offset", 0) * per * sign),
            "invalid": self.values(key, "invalid", entry.get("invalid", []), empty=True),
        }  # fmt: skip

    def state(self, key, quantity, entry):
        """How the values of a state or level are read: each known one's code."""
        for state in quantity.states:
            if state not in entry and state != "off":
                self.fail(key, f"no `{state}`", f"the values that mean it, such as {state} = [1]")
        if quantity.kind == STATE:
            given = [entry[state] for state in quantity.states if state in entry]
            codes = [
                (value, 1 - at)
                for at, values in enumerate(given)
                for value in self.values(key, quantity.states[at], values)
            ]
            other = 0 if len(given) == 1 else None  # what any other value means
        else:
            levels = entry["levels"]
            if not isinstance(levels, list) or not 2 <= len(levels) <= 4:
                self.fail(key, f"levels = {levels!r}", "the values of levels 0, 1, 2, 3, such as [0, 1, 2, 3]")
            codes = [(value, level) for level, given in enumerate(levels)
                     for value in self.values(key, "levels", given)]  # fmt: skip
            other = None
        invalid = self.values(key, "invalid", entry.get("invalid", []), empty=True)
        told = [value for value, _ in codes] + invalid
        if len(set(told)) != len(told):
            twice = next(value for value in told if told.count(value) > 1)
            self.fail(key, f"value {twice} stands twice", "each value once")
        return {"quantity": quantity.name, "bytes": 1, "codes": codes, "other": other, "invalid": invalid}

    def values(self, key, name, values, empty=False):
        """Values as they stand in the table, in the spelling that the reader compares."""
        values = values if isinstance(values, list) else [values]
        if not (values or empty) or not all(isinstance(value, (int, float, str)) for value in values):
            self.fail(key, f"{name} = {values!r}", "values of the column, such as [1]")
        return [spelling(str(value)) for value in values]

    def database(self, trust):
        """Lay the columns out in messages."""
        cells = [row for row in self.columns if row[0].name == "cell_voltage"]
        probes = [row for row in self.columns if row[0].name == "temperature"]
        others = [row for row in self.columns if row[0].name not in self.counts]
        messages, self.bindings = [], []
        order = []
        for name, rows in (("Pack", others), ("Cells", cells), ("Probes", probes)):
            while rows:
                room, some = MESSAGE_BYTES, []
                while rows and self.size(rows[0]) <= room:
                    room -= self.size(rows[0])
                    some.append(rows[0])
                    rows = rows[1:]
                first, last = (self.number_in_table(row) for row in (some[0], some[-1]))
                title = name + (f"_{first}_{last}" if first else "" if not messages else f"_{len(messages) + 1}")
                message = dbc.Message(title, len(messages) + 1, False, MESSAGE_BYTES - room, fd=True)
                messages.append(message)
                order += some
        data = hashlib.sha256(self.loader.path.read_bytes()).hexdigest()
        self.bus = Bus(0, None, dbc.Database(self.loader.path, data, messages, [], {}, None))
        rows = iter(order)
        for message in messages:
            at = 0
            while at < message.length:
                quantity, index, column, number = next(rows)
                kind = self.kinds[number]
                signal = dbc.Signal(column, 8 * at, WIDTHS[kind["bytes"]], unit=quantity.unit)
                at += kind["bytes"]
                message.signals.append(signal)
                self.bindings.append(self.bind(quantity, index, message, signal, kind))
        self.trust = {(0, message.name): trust for message in messages}
        self.mapping |= {
            "kinds": self.kinds,
            "columns": [[column, kind] for _, _, column, kind in order],
            "messages": [[message.can_id, len(message.signals)] for message in messages],
        }  # fmt: skip

    def number_in_table(self, row):
        return self.probe_numbers[row[1] - 1] if row[0].name == "temperature" else row[1]

    def size(self, row):
        return self.kinds[row[3]]["bytes"]

    def bind(self, quantity, index, message, signal, kind):
        none = frozenset({no_value(kind["bytes"])})
        if quantity.kind == NUMBER:
            signal.offset = Fraction(kind["base"])
            return Binding(quantity, index, self.bus, message, signal, Fraction(1), signal.offset, kind["low"],
                           kind["high"], (), none)  # fmt: skip
        codes = (0, 1, 2, 3) if quantity.kind == LEVEL else (1, 0)
        codes = tuple(frozenset({code}) for code in codes)
        return Binding(quantity, index, self.bus, message, signal, Fraction(0), Fraction(0), quantity.low,
                       quantity.high, codes, none)  # fmt: skip
