"""What goes wrong inside the pack, or in its sensors: the [[fault]] tables of a scenario (scenarios/__init__.py).

A fault has `apply(t_s)`, run before each step, where it changes the pack itself, or a `slot` and `bend(t_s, healthy)`,
where it leads a value away. Raises InputError where the scenario asks for what cannot be.
"""

from itertools import pairwise

from ..errors import InputError, did_you_mean
from .scenarios import is_number
from .values import ARRAYS, BENDABLE, SCALARS, SLOT

NONE = "none"  # in a path: no value at all, the DBC's sentinel
FOREVER = float("inf")


def faults_of(pack, told, where):
    """(faults that change the pack, faults that bend what it says) of a scenario's [[fault]] tables."""
    changes, bends = [], []
    for fault in told:
        kind = fault.get("kind", "path")
        if kind in ("path", "noise"):
            keys = {"kind", "quantity", "where", "starts_s", "ends_s", "sensor"}
            name = fault.get("quantity")
            if name not in BENDABLE:
                near = did_you_mean(str(name), BENDABLE)
                raise InputError(where, f"no fault can bend `{name}`{near}", ", ".join(BENDABLE))
            unit = ARRAYS.get(name) or SCALARS[name]
            keys |= {f"sigma_{unit}"} if kind == "noise" else {f"path_{unit}", f"add_{unit}"}
            _known(fault, keys, where)
            for slot in _slots(pack, name, fault, where):
                bends.append((Noise if kind == "noise" else Bend)(fault, name, unit, slot, pack, where))
        elif kind == "line":
            _known(fault, {"kind", "where", "starts_s", "ends_s", "path_mv"}, where)
            lower = _cells(pack, fault, where, 1, pack.cells - 1)[0]
            for n, sign in ((lower, 1), (lower + 1, -1)):
                points = [[p[0], sign * p[1]] if _is_point(p) else p for p in _list(fault, "path_mv", where)]
                away = {key: fault[key] for key in ("starts_s", "ends_s") if key in fault}
                away |= {"add_mv": points, "sensor": True}
                bends.append(Bend(away, "cell_voltage", "mv", pack.cell0 + n, pack, where))
        elif kind in INSIDE:
            path, pulsed, _ = INSIDE[kind]
            times = {"starts_s", "ends_s"} | ({"at_s", "for_s"} if pulsed else set())
            _known(fault, {"kind", "where", path, path.removeprefix("path_")} | times, where)
            changes += [Inside(kind, fault, n, pack, where) for n in _cells(pack, fault, where, 1, pack.cells)]
        elif kind not in WIRE:
            kinds = ("path", "noise", "line", *INSIDE, *WIRE)
            raise InputError(where, f"no kind of fault `{kind}`{did_you_mean(str(kind), kinds)}", ", ".join(kinds))
    return changes, bends


WIRE = {  # bus.py: what each needs besides messages, share, starts_s, ends_s
    "drop": ("told",),
    "off": (),
    "short": ("bytes",),
    "counter": (),
    "checksum": (),
    "freeze": (),
    "clock": ("back_s",),
}
# Of a cell: kind: (its path, whether it can come in pulses, what of Troubled it sets)
INSIDE = {
    "inner_short": ("path_ohm", True, "ohm"),
    "joint": ("path_mohm", False, "joint_mohm"),
}


class Bend:
    """One quantity led away from its healthy value and back.

    The scenario says starts_s, then a path of absolute values or of offsets to add, as [second, value] with straight
    lines between, then ends_s where it is healthy again (without: never). States and levels step instead, and so does
    what goes to "none" or comes from there.
    """

    def __init__(self, fault, name, unit, slot, pack, where):
        self.name, self.slot = name, slot
        keys = (f"path_{unit}", f"add_{unit}")
        if sum(key in fault for key in keys) != 1:
            raise InputError(where, f"the fault of {name} has no path", f"one of {' and '.join(keys)}")
        self.adds = keys[1] in fault
        self.whole = unit in ("state", "level", "count")
        self.sensor = bool(fault.get("sensor"))
        self.points = path_of(fault, keys[self.adds], name, where)
        if any(point[1] == NONE for point in self.points):
            self.sensor = True

    def bend(self, t_s, healthy):
        """The value at `t_s` where the pack's own would be `healthy`."""
        if t_s < self.points[0][0] or healthy is None:
            return healthy
        value = along(self.points, t_s, 0 if self.adds else healthy, self.whole)
        if value == NONE:
            return None
        return healthy + value if self.adds else value


class Noise:
    """A sensor that is not steady: uniform noise of this standard deviation is added."""

    def __init__(self, fault, name, unit, slot, pack, where):
        self.name, self.slot, self.sensor, self.rng = name, slot, True, pack.rng
        self.first_s, self.end_s = window(fault, name, where)
        self.reach = 1.7320508 * number(fault, f"sigma_{unit}", where)

    def bend(self, t_s, healthy):
        if healthy is None or not self.first_s <= t_s < self.end_s:
            return healthy
        return healthy + self.reach * (2 * self.rng.random() - 1)


class Inside:
    """A short inside a cell, in ohms, or a joint that has grown by some milliohms.

    With at_s (a list) and for_s a short comes in pulses: a micro-short.
    """

    def __init__(self, kind, fault, n, pack, where):
        path, _, self.sets = INSIDE[kind]
        self.pack, self.n = pack, n
        single = path.removeprefix("path_")
        if (path in fault) == (single in fault):
            raise InputError(where, f"the {kind} has no size", f"one of {single} and {path}")
        if "at_s" in fault:
            at, for_s = _list(fault, "at_s", where), number(fault, "for_s", where)
            if not all(is_number(t) for t in at) or at != sorted(at):
                raise InputError(where, f"at_s = {at!r}", "seconds in rising order")
            self.windows = [(t, t + for_s) for t in at]
        else:
            self.windows = [window(fault, kind, where)]
        start = self.windows[0][0] if self.windows else 0
        told = {"starts_s": start} | ({path: fault[path]} if path in fault else {path: [[start, fault[single]]]})
        self.points = path_of(told, path, kind, where)
        if any(value is not None and (value == NONE or value < 0) for _, value in self.points):
            raise InputError(where, f"the {kind} is below nothing", "numbers from 0")
        self.next, self.on = 0, False

    def apply(self, t_s):
        while self.next < len(self.windows) and t_s >= self.windows[self.next][1]:
            self.next += 1
        on = self.next < len(self.windows) and t_s >= self.windows[self.next][0]
        if on:
            first = self.points[1][1]
            setattr(self.pack.trouble(self.n), self.sets, along(self.points, t_s, first, False))
        elif self.on:
            setattr(self.pack.trouble(self.n), self.sets, None)
        self.on = on


def along(points, t_s, healthy, whole):
    """Where a path is at `t_s`, not before its start. A point of None is healthy."""
    t1, v1 = t2, v2 = points[-1]
    for before, after in pairwise(points):
        if t_s < after[0]:
            (t1, v1), (t2, v2) = before, after
            break
    a, b = healthy if v1 is None else v1, healthy if v2 is None else v2
    if whole or NONE in (a, b):
        return a if t_s < t2 else b
    return a + (b - a) * (t_s - t1) / (t2 - t1) if t2 > t1 else b


def path_of(fault, key, name, where):
    """[(second, value)], None standing for healthy at both ends. Raises InputError."""
    path = _list(fault, key, where)
    if not path or not all(_is_point(point) for point in path):
        raise InputError(where, f"the path of {name} is {path!r}", "[[second, value], ...]")
    ends = [fault["ends_s"]] if "ends_s" in fault else []
    seconds = [fault.get("starts_s"), *(point[0] for point in path), *ends]
    if not all(is_number(t) for t in (seconds[0], seconds[-1])) or seconds != sorted(seconds):
        raise InputError(where, f"the times of the fault of {name} are {seconds}", "numbers in rising order")
    values = [None, *(point[1] for point in path), None]
    return list(zip(seconds, values, strict=False))


def window(fault, name, where):
    """(starts_s, ends_s). Raises InputError."""
    starts, ends = fault.get("starts_s"), fault.get("ends_s", FOREVER)
    if not is_number(starts) or not (ends is FOREVER or is_number(ends)) or ends <= starts:
        raise InputError(where, f"the fault of {name} lasts from {starts} to {ends}", "starts_s, then ends_s")
    return starts, ends


def number(fault, key, where):
    """A number from 0. Raises InputError."""
    value = fault.get(key)
    if not is_number(value) or value < 0:
        raise InputError(where, f"{key} = {value!r} in a fault", "a number from 0")
    return value


def _slots(pack, name, fault, where):
    if name not in ARRAYS:
        return [SLOT[name]]
    count, first = (pack.cells, pack.cell0) if name == "cell_voltage" else (pack.probes, pack.probe0)
    return [first + n for n in _cells(pack, fault, where, 1, count, name)]


def _cells(pack, fault, where, low, high, name=None):
    """Indices, from 0, of where = 7, [7, 9] or "7-12"."""
    told = fault.get("where")
    first, dash, last = told.partition("-") if isinstance(told, str) else ("", "", "")
    if dash and first.isdecimal() and last.isdecimal():
        told = list(range(int(first), int(last) + 1))
    told = told if isinstance(told, list) else [told]
    if not told or not all(type(n) is int and low <= n <= high for n in told):
        what = name or fault.get("kind")
        raise InputError(where, f"the fault of {what} is at {fault.get('where')}", f"{low} to {high}")
    return [n - 1 for n in told]


def _known(fault, keys, where):
    for key in fault:
        if key not in keys:
            raise InputError(where, f"no key `{key}` in this fault{did_you_mean(key, keys)}", ", ".join(sorted(keys)))


def _list(fault, key, where):
    value = fault.get(key)
    if not isinstance(value, list):
        raise InputError(where, f"{key} = {value!r} in a fault", "a list")
    return value


def _is_point(point):
    """Whether it is [second, value], the value a number or "none"."""
    return (
        isinstance(point, list)
        and len(point) == 2
        and is_number(point[0])
        and (is_number(point[1]) or point[1] == NONE)
    )
