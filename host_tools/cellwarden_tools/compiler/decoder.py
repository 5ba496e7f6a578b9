"""Writes the decoder of one vehicle: a loop over frame records, an if-tree over identifiers, one line a signal.

The text is integer-only Python that runs on MicroPython (bytecode and viper) and on CPython; the loop around it keeps
the clock and calls the core's `advance` when a scan is due.
"""

from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

from cellwarden.core import catalogue
from cellwarden.core import layout as L

from ..errors import InputError
from .checksums import KINDS
from .profile import DEFAULT_DEADLINE_MS, MessageTrust
from .quantities import LEVEL, NUMBER
from .scaling import Scaling, plan, wide


@dataclass(frozen=True)
class Group:
    """Signals that arrive together: a message, or one page of a multiplexed message.

    message: index into Plan.messages; pages: ((multiplexer name, ids), …), () when always there; deadline_ms: age from
    which its signals are invalid; assumed: nobody said how often it comes.
    """

    message: int
    pages: tuple
    bindings: tuple
    deadline_ms: int
    assumed: bool


@dataclass(frozen=True)
class Plan:
    """What the decoder of a vehicle does, before it is text."""

    profile: object
    messages: tuple  # (Bus, Message, MessageTrust)
    groups: tuple[Group, ...]
    data_bytes: int
    crc_kinds: tuple[str, ...]

    @property
    def signals(self):
        """Number of signals decoded."""
        return sum(len(group.bindings) for group in self.groups)


def slot_of(binding, cells):
    """Index into the signals section of a binding's value."""
    if binding.quantity.slot is not None:
        return binding.quantity.slot
    base = L.SCALARS if binding.quantity.name == "cell_voltage" else L.SCALARS + cells
    return base + binding.index - 1


def make_plan(profile):
    """Sort the bindings into messages and groups, with their deadlines."""
    by_message = defaultdict(list)
    for binding in profile.bindings:
        by_message[binding.bus.number, binding.message.can_id].append(binding)
    messages, groups = [], []
    for _, bindings in sorted(by_message.items()):
        bus, message = bindings[0].bus, bindings[0].message
        trust = profile.trust.get((bus.number, message.name), MessageTrust())
        index = len(messages)
        messages.append((bus, message, trust))
        pages = defaultdict(list)
        for binding in bindings:
            pages[binding.signal.mux].append(binding)
        all_pages = {signal.mux for signal in message.signals if signal.mux}
        period = trust.period_ms or message.cycle_ms
        for chain, members in sorted(pages.items(), key=lambda item: [(n, sorted(ids)) for n, ids in item[0]]):
            if trust.deadline_ms:
                deadline = trust.deadline_ms
            elif period:
                deadline = max(3 * period * (len(all_pages) if chain else 1), 500)
            else:
                deadline = profile.vehicle.get("deadline_ms", DEFAULT_DEADLINE_MS)
            assumed = not (trust.deadline_ms or period or profile.vehicle.get("deadline_ms"))
            members.sort(key=lambda b: slot_of(b, profile.cells))
            groups.append(Group(index, chain, tuple(members), deadline, assumed))
    longest = max(message.length for _, message, _ in messages)
    kinds = sorted(
        {t.checksum_kind for _, _, t in messages if t.checksum_kind and KINDS[t.checksum_kind][0] is not None}
    )
    return Plan(profile, tuple(messages), tuple(groups), 8 if longest <= 8 else 64, tuple(kinds))


# --- bits -------------------------------------------------------------------------------------------------------------


def _chunks(signal):
    """The signal's bits as (byte, lowest bit in it, width, shift in the raw value), highest first.

    DBC bit numbers: an Intel signal starts at its least significant bit and grows upward through the bytes, a Motorola
    signal starts at its most significant bit and grows downward, byte after byte.
    """
    chunks, done = [], 0
    if signal.big_endian:
        byte, bit = divmod(signal.start, 8)
        while done < signal.length:
            width = min(bit + 1, signal.length - done)
            done += width
            chunks.append((byte, bit - width + 1, width, signal.length - done))
            byte, bit = byte + 1, 7
        return chunks
    byte, bit = divmod(signal.start, 8)
    while done < signal.length:
        width = min(8 - bit, signal.length - done)
        chunks.append((byte, bit, width, done))
        done += width
        byte, bit = byte + 1, 0
    return chunks[::-1]


def last_byte(signal):
    """Number of bytes a frame must have for the signal to be in it."""
    return max(byte for byte, *_ in _chunks(signal)) + 1


def _byte(number):
    """Text of a byte of the frame's data. The first ones have pointers of their own: with viper an index costs less."""
    return f"d{number}[b]" if number < L.RECORD_VIEWS - 1 else f"d0[b + {number}]"


def raw_expression(signal, low=0, high=None, byte_text=_byte):
    """Python text of the signal's raw bits low..high-1, unsigned. byte_text: the text of a byte of the frame."""
    high = signal.length if high is None else high
    terms = []
    for byte, bit, width, shift in _chunks(signal):
        if shift + width <= low or shift >= high:
            continue
        cut = max(low - shift, 0)
        bit, width, shift = bit + cut, width - cut, shift + cut
        width -= max(shift + width - high, 0)
        text = byte_text(byte)
        if bit:
            text += f" >> {bit}"
        if bit + width < 8:
            text += f" & {(1 << width) - 1}"
        if shift > low:
            text = f"({text}) << {shift - low}" if "]" != text[-1] else f"{text} << {shift - low}"
        terms.append(text)
    return " | ".join(terms)


# --- one signal -------------------------------------------------------------------------------------------------------


def signal_lines(binding, slot):
    """(lines of the decoder, Scaling) for one binding. Raises InputError where it cannot be computed in 30 bits."""
    signal = binding.signal
    target = f"s[{L.SIGNALS_AT + slot}]"
    raw = raw_expression(signal)
    if binding.quantity.kind != NUMBER:
        return _meaning(binding, raw, target), Scaling("", Fraction(0))
    shift = 1 << signal.length - 1 if signal.signed else 0
    top = (1 << signal.length) - 1
    offset = binding.offset - binding.factor * shift
    if signal.length > 30:
        return _wide_lines(binding, target)
    try:
        first, last = _valid_range(binding.factor, offset, binding.low, binding.high, top)
        # Out of range never reaches the arithmetic, where that would not bear it.
        scaling = plan(binding.factor, offset, last, "v")
    except OverflowError:
        return _wide_lines(binding, target)
    try:
        bears_all = signal.length <= 29 and plan(binding.factor, offset, top, "v").text == scaling.text
    except OverflowError:
        bears_all = False
    good, bad = _conditions(first, last, top, {raw + shift for raw in binding.invalid})
    if shift:
        raw = f"({raw}) ^ {shift}" if "|" in raw else f"{raw} ^ {shift}"
    if not bad and scaling.text.count("v") == 1:
        return [f"{target} = {scaling.text.replace('v', f'({raw})' if scaling.text != 'v' else raw)}"], scaling
    if not bad:
        return [f"v = {raw}", f"{target} = {scaling.text}"], scaling
    if bears_all:
        return [f"v = {raw}", f"{target} = {scaling.text}", f"if {bad}:", f"    {target} = NA"], scaling
    return [f"v = {raw}", f"{target} = {scaling.text} if {good} else NA"], scaling


def _valid_range(factor, offset, low, high, top):
    """First and last raw value in 0..top whose rounded canonical value lies in low..high."""
    ends = ((low - Fraction(1, 2) - offset) / factor, (high + Fraction(1, 2) - offset) / factor)
    if factor > 0:
        first, last = ceil(ends[0]), ceil(ends[1]) - 1
    else:
        first, last = floor(ends[1]) + 1, floor(ends[0])
    first, last = max(first, 0), min(last, top)
    if first > last:
        raise OverflowError
    return first, last


def _conditions(first, last, top, invalid):
    """Texts of the tests that v is a measurement and that it is none, or two empty ones."""
    while last in invalid:
        invalid, last = invalid - {last}, last - 1
    while first in invalid:
        invalid, first = invalid - {first}, first + 1
    good, bad = [], []
    if first > 0 and last < top:
        good, bad = [f"{first} <= v <= {last}"], [f"(v - {first}) & {top} > {last - first}"]
    elif first > 0:
        good, bad = [f"v >= {first}"], [f"v < {first}"]
    elif last < top:
        good, bad = [f"v <= {last}"], [f"v > {last}"]
    between = sorted(raw for raw in invalid if first <= raw <= last)
    good += [f"v != {raw}" for raw in between]
    bad += [f"v == {raw}" for raw in between]
    return " and ".join(good), " or ".join(bad)


def _wide_lines(binding, target):
    signal = binding.signal
    full = f"{binding.message.name}.{signal.name}"
    if signal.length <= 16:
        raise _unfit(binding, full)
    try:
        first, last, scaling = wide(
            binding.factor, binding.offset, binding.low, binding.high, signal.length, signal.signed
        )
    except OverflowError:
        raise _unfit(binding, full) from None
    if scaling.error > 1:
        raise _unfit(binding, full)
    bits = signal.length - 16
    half = 1 << bits - 1 if signal.signed else 0
    high = raw_expression(signal, 16)
    if half:
        high = f"({high}) ^ {half}" if "|" in high else f"{high} ^ {half}"
    high = f"({high}) - {first + half}" if first + half else high
    lines = [f"h = {high}", f"l = {raw_expression(signal, 0, 16)}"]
    lines.append(f"v = {scaling.text} if 0 <= h <= {last - first} else NA")
    tests = [f"{binding.low} <= v <= {binding.high}"]
    for raw in sorted(binding.invalid):
        h, low = (raw >> 16) - first, raw & 65535
        tests.append(f"(h != {h} or l != {low})")
    return [*lines, f"{target} = v if {' and '.join(tests)} else NA"], scaling


def _unfit(binding, full):
    unit = binding.quantity.unit
    low, high = sorted(binding.factor * raw + binding.offset for raw in binding.signal.raw_range)
    what = f"`{full}` cannot be scaled to {unit} in 30 bits (factor {_decimal(binding.signal.scale)})"
    if high < binding.low or low > binding.high:
        what = f"`{full}` cannot be scaled to {unit}: it reads only {_decimal(low)} to {_decimal(high)} {unit}"
    return InputError(
        f"{binding.bus.database.path}:{binding.signal.line or binding.message.line}",
        what,
        f"a factor that reaches {binding.low} to {binding.high} {unit}",
        "mend the factor, the offset or the unit",
    )


def _meaning(binding, raw, target):
    """Lines for a state or a level: the canonical code of the raw value."""
    signal = binding.signal
    mask = (1 << signal.length) - 1
    codes = binding.codes
    if binding.quantity.kind != LEVEL:
        codes = (codes[1] if len(codes) == 2 else set(range(mask + 1)) - codes[0] if mask < 2 else None, codes[0])
    # The raw values are the codes themselves: nothing to look up.
    if None not in codes and not binding.invalid and mask < len(codes):
        if all({raw & mask for raw in codes[i]} == {i} for i in range(mask + 1)):
            return [f"{target} = {raw}"]

    def test(codes):
        return " or ".join(f"v == {code & mask}" for code in sorted(codes))

    invalid = test(binding.invalid)
    if binding.quantity.kind == LEVEL:
        if all(codes == {i} for i, codes in enumerate(binding.codes)):
            text = f"v if v <= {len(binding.codes) - 1} else NA"
        else:
            text = " else ".join(f"{i} if {test(codes)}" for i, codes in enumerate(binding.codes)) + " else NA"
    elif len(binding.codes) == 2:
        text = f"1 if {test(binding.codes[0])} else 0 if {test(binding.codes[1])} else NA"
    else:
        text = f"1 if {test(binding.codes[0])} else 0"
    return [f"v = {raw}", f"{target} = NA if {invalid} else {text}" if invalid else f"{target} = {text}"]


# --- the loop ---------------------------------------------------------------------------------------------------------

_HEAD = '''"""{title}

Generated by `cellwarden compile` from {sources}. Do not edit: change the profile or the DBC.
"""

import micropython
from micropython import const

from cellwarden.core.scan import advance, notice

NA = const({na})
WRAP = const(-0x3FFFFFFF - 1)
STEP = const(-0x3FFFFFFF)  # (a + STEP) & mask is one more than a and never leaves 30 bits

{functions}
@micropython.viper
def drain(b: int, s: ptr32, views, ring32, box, count: int) -> int:
    """Feed `count` frame records to the core. Returns how many carried an identifier known here.

    b: where the first record begins in the ring, in bytes; s: the state; views: the ring as bytes, from the length on
    and from each of the first bytes of data on; ring32: the ring as int32. Viper keeps b and s in registers.
    """
    r = ptr32(ring32)
{pointers}
    now = s[{now}]
    left = (s[{due}] - now) & {mask}
    shift = s[{offset}] + WRAP
    known = count
    ignored = 0
    end = b + count * {stride}
    last = -1  # the stamp of the record before: frames often share one
    while b ^ end:
        raw = r[b >> 2]
        if raw ^ last:
            last = raw
            t = (raw + shift) & {mask}
            ahead = (t - now) & {mask}
            if ahead < left:
                now = t
                left -= ahead
            else:
                s[{now}] = now
                advance(box, t)
                now = s[{now}]
                left = (s[{due}] - now) & {mask}
                shift = s[{offset}] + WRAP
                last = -1  # every record that steps back is counted
        i = r[(b >> 2) + 1]
'''

# A record that is no frame: layout.NOTICE.
_NOTICE = (
    "if i >> 30:",
    f"    s[{L.NOW_MS}] = now",
    "    notice(box, i & 0xFF, d0[b], r[(b >> 2) + 2] & 0xFF)",
    "    ignored += 1",
)

# A part of a decoder that is too long for one function.
_PART = """
@micropython.viper
def {name}(b: int, s: ptr32, views, box, now: int):
    \"\"\"{caption}\"\"\"
{pointers}
{body}
"""
# MicroPython's bytecode has room for about this many signals in a function; native code has no such limit.
BYTECODE_SIGNALS = 200

_TAIL = """\
        b += {stride}
    s[{now}] = now
    known -= ignored
    s[{frames}] = (s[{frames}] + WRAP + known) & {mask}
    s[{ignored}] = (s[{ignored}] + WRAP + ignored) & {mask}
    return known
"""


def write_decoder(plan_, most_signals=None):
    """The decoder's source text, and {binding: Scaling}. most_signals: in one function; None = no limit."""
    profile = plan_.profile
    stride = L.RECORD_DATA + plan_.data_bytes
    values = {
        "title": f"Decoder of {profile.name}.",
        "sources": ", ".join(dict.fromkeys([profile.path.name, *(b.database.path.name for b in profile.buses)])),
        "na": hex(L.NA), "mask": hex(L.MASK), "now": L.NOW_MS, "due": L.DUE_MS, "offset": L.OFFSET_MS,
        "frames": L.FRAMES, "ignored": L.IGNORED, "stride": stride,
        "pointers": _pointers(plan_),
    }  # fmt: skip
    writer = _Writer(plan_, values["pointers"], most_signals)
    out = []
    buses = defaultdict(dict)
    for index, (bus, message, _) in enumerate(plan_.messages):
        buses[bus.number][message.can_id] = index
    if len(buses) > 1 or len(profile.buses) > 1:
        out.append(f"        bus = r[(b >> 2) + {L.RECORD_CHANNEL >> 2}] & 255")
        out += [f"        {line}" for line in _NOTICE]
        for number, ids in sorted(buses.items()):
            channel = profile.buses[number].channel or "every other channel"
            out.append(f"        elif bus == {number}:  # {channel}")
            _tree(out, 3, "i", ids, writer.message, "ignored += 1", hex)
        out.append("        else:")
        out.append("            ignored += 1")
    else:
        (ids,) = buses.values()
        # An identifier of 11 bits is asked this question only.
        out.append("        if i >> 29:")
        out += [f"            {line}" for line in _NOTICE]
        _told_by_upper_bits(out, 3, "elif", {i: ids[i] for i in ids if i & L.EXT}, writer.message)
        out.append("        else:")
        _told_by_upper_bits(out, 3, "if", {i: ids[i] for i in ids if not i & L.EXT}, writer.message)
    head = _HEAD.format(functions="".join(writer.parts), **values).rstrip("\n")
    return "\n".join([head, *out, _TAIL.format(**values)]), writer.scalings


def _count(column):
    return f"s[{column}] = (s[{column}] + STEP) & {hex(L.MASK)}"


def _told_by_upper_bits(out, pad, word, ids, write):
    """The tree over identifiers; first, most of what other units send is told from all of ours by its upper bits."""
    tab = "    " * pad
    if not ids:
        out.append(f"{tab}else:" if word == "elif" else f"{tab}ignored += 1")
        if word == "elif":
            out.append(f"{tab}    ignored += 1")
        return
    low = min(ids)
    bits = (max(ids) ^ low).bit_length()
    out.append(f"{tab}{word} i >> {bits} ^ {low >> bits}:")
    out.append(f"{tab}    ignored += 1")
    first = len(out)
    _tree(out, pad, "i", ids, write, "ignored += 1", hex)
    out[first] = out[first].replace("if", "elif", 1)


def _tree(out, pad, variable, leaves, write, otherwise, text=str):
    """A binary if-tree over `leaves` {number: thing}; `otherwise` is the statement for any other number, or None."""
    tab = "    " * pad
    keys = sorted(leaves)
    if len(keys) > 3:
        middle = len(keys) // 2
        out.append(f"{tab}if {variable} < {text(keys[middle])}:")
        _tree(out, pad + 1, variable, {k: leaves[k] for k in keys[:middle]}, write, otherwise, text)
        out.append(f"{tab}else:")
        _tree(out, pad + 1, variable, {k: leaves[k] for k in keys[middle:]}, write, otherwise, text)
        return
    word = "if"
    for key in keys:
        out.append(f"{tab}{word} {variable} == {text(key)}:")
        write(out, pad + 1, leaves[key])
        word = "elif"
    if otherwise:
        out.append(f"{tab}else:")
        out.append(f"{tab}    {otherwise}")


def _pointers(plan_):
    """Lines that make pointers of what the decoder is given."""
    names = ["n", *(f"d{i}" for i in range(L.RECORD_VIEWS - 1))]
    lines = ["    " + ", ".join(f"v{name}" for name in names) + " = views"]
    lines += [f"    {name} = ptr8(v{name})" for name in names]
    if plan_.crc_kinds:
        lines.append("    p = ptr32(box[1])")
    return "\n".join(lines)


def _places(plan_):
    """Sections of the vehicle's state, and where its checksum tables begin in params."""
    header = {
        L.P_CELLS: plan_.profile.cells, L.P_PROBES: plan_.profile.probes, L.P_RULES: len(catalogue.RULES),
        L.P_GROUPS: len(plan_.groups), L.P_MESSAGES: len(plan_.messages),
        L.P_MEMBERS: plan_.signals,
    }  # fmt: skip
    return L.state_sections(header), crc_tables_at(L.params_sections(header, 0)["crc"][0])


def crc_tables_at(first):
    """Where in params the checksum tables begin, whose section begins at `first`."""
    return -(-first // 256) * 256


def _page_tree(out, pad, variable, leaves, write, end, start=0):
    """A tree over `leaves` {number: thing} that tests a bit a level; the variable lies in start..end-1."""
    tab = "    " * pad
    keys = sorted(leaves)
    if len(keys) == 1:
        if end - start > 1:
            out.append(f"{tab}if {variable} == {keys[0]}:")
            pad += 1
        write(out, pad, leaves[keys[0]])
        return
    half = (end - start) >> 1
    low, high = ({k: leaves[k] for k in keys if (k < start + half) == side} for side in (True, False))
    if high:
        out.append(f"{tab}if {variable} & {half}:")
        _page_tree(out, pad + 1, variable, high, write, end, start + half)
    if low:
        out.append(f"{tab}else:" if high else f"{tab}if not {variable} & {half}:")
        _page_tree(out, pad + 1, variable, low, write, start + half, start)


class _Writer:
    """Writes the branches of a decoder. scalings: {binding: Scaling}; parts: functions beside the loop."""

    def __init__(self, plan_, pointers, most_signals):
        self.plan, self.pointers = plan_, pointers
        self.most = most_signals or plan_.signals
        self.state, self.crc_at = _places(plan_)
        self.scalings, self.parts = {}, []
        self.inline = plan_.signals <= self.most

    def message(self, out, pad, index):
        """The branch of one message, in the loop or as a function that the loop calls."""
        _, message, trust = self.plan.messages[index]
        period = trust.period_ms or message.cycle_ms
        caption = message.name + (f", every {period} ms" if period else "")
        out[-1] += f"  # {caption}"
        if self.inline:
            self.judge(out, pad, index)
        else:
            body = []
            self.judge(body, 1, index)
            self.call(out, pad, f"message_{index}", caption, body)

    def call(self, out, pad, name, caption, body):
        """Put `body` into a function of its own and call it."""
        text = "\n".join(body)
        self.parts.append(_PART.format(name=name, caption=f"{caption}.", pointers=self.pointers, body=text))
        out.append("    " * pad + f"{name}(b, s, views, box, now)")

    def judge(self, out, pad, index):
        """Length, checksum and counter of a message, then its groups."""
        _, message, trust = self.plan.messages[index]
        groups = [(number, group) for number, group in enumerate(self.plan.groups) if group.message == index]
        tab = "    " * pad
        always = [s for s in (trust.counter,) if s]
        always += [b.signal for _, g in groups if not g.pages for b in g.bindings]
        always += [_named(message, name) for _, g in groups for name, _ in g.pages[:1]]
        need = max([last_byte(s) for s in always] + ([message.length] if trust.checksum else []) + [0])
        # What every page needs is asked for once.
        need = max(need, min(max(last_byte(b.signal) for b in g.bindings) for _, g in groups))
        # A record keeps 8 or 64 bytes whatever the frame's length, so the sum may run before the length is judged.
        right = _checksum(out, tab, self.plan, message, trust, self.crc_at) if trust.checksum else None
        out.append(f"{tab}if {self.shorter(need)}:")
        out.append(f"{tab}    {_count(L.MALFORMED)}")
        row = self.state["messages"][0] + index * L.MESSAGE_SIZE
        wrong = f"s[{row + L.CHECKSUM_WRONG}]"
        if right:
            out.append(f"{tab}elif {right}:")
            out.append(f"{tab}    {_count(L.CHECKSUM_ERRORS)}")
            out.append(f"{tab}    if {wrong} < {L.WRONG_LIMIT}:")
            out.append(f"{tab}        {wrong} = {wrong} + 1")
        out.append(f"{tab}else:")
        pad += 1
        tab = "    " * pad
        if right:
            out.append(f"{tab}if {wrong}:")
            out.append(f"{tab}    {wrong} = {wrong} - 1")
        if trust.counter:
            _counter(out, tab, trust, row)
            out.append(f"{tab}if s[{row + L.WRONG}] ^ {L.WRONG_LIMIT}:")
            pad += 1
        chunks = _chunks_of(groups, self.most)
        if len(chunks) == 1:
            self.pages(out, pad, message, groups, 0, need)
            return
        for number, chunk in enumerate(chunks):
            body = []
            self.pages(body, 1, message, chunk, 0, need)
            self.call(out, pad, f"message_{index}_{number}", f"{message.name}, part {number + 1}", body)

    def shorter(self, need):
        """Text of the test that a frame has fewer bytes; no record keeps more than `data_bytes`."""
        return f"n[b] ^ {need}" if need == self.plan.data_bytes else f"n[b] < {need}"

    def pages(self, out, pad, message, groups, depth, have):
        """Groups whose multiplexers up to `depth` are decided: write those that end here, branch for the others."""
        tab = "    " * pad
        for number, group in groups:
            if len(group.pages) == depth:
                self.group(out, pad, number, group, have)
        for name, sets in by_page(groups, depth).items():
            multiplexer = _named(message, name)
            variable = "xyz"[depth] if depth < 3 else f"x{depth}"
            out.append(f"{tab}{variable} = {raw_expression(multiplexer)}  # {name}")
            need = max(have, last_byte(multiplexer))

            def write(out, pad, members, need=need):
                self.pages(out, pad, message, members, depth + 1, need)

            if all(len(ids) == 1 for ids in sets):
                pages = {next(iter(ids)): members for ids, members in sets.items()}
                _page_tree(out, pad, variable, pages, write, 1 << multiplexer.length)
            else:
                for ids, members in sorted(sets.items(), key=lambda item: sorted(item[0])):
                    out.append(f"{tab}if {_in_ranges(variable, ids)}:")
                    write(out, pad + 1, members)

    def group(self, out, pad, number, group, have):
        """Stamp the group and decode its signals, a line each."""
        tab = "    " * pad
        need = max(last_byte(binding.signal) for binding in group.bindings)
        if need > have:
            out.append(f"{tab}if {self.shorter(need)}:")
            out.append(f"{tab}    {_count(L.MALFORMED)}")
            out.append(f"{tab}else:")
            tab += "    "
        row = self.state["groups"][0] + number * L.GROUP_SIZE
        out.append(f"{tab}s[{row + L.STAMP_MS}] = now")
        out.append(f"{tab}s[{row + L.STATUS}] = {L.FRESH}")
        out.append(f"{tab}{_count(row + L.ARRIVALS)}")
        for binding in group.bindings:
            lines, scaling = signal_lines(binding, slot_of(binding, self.plan.profile.cells))
            self.scalings[binding] = scaling
            out.append(f"{tab}{lines[0]}  # {_caption(binding)}")
            out += [tab + line for line in lines[1:]]


def by_page(groups, depth):
    """{multiplexer name: {its ids: [(number, Group), …]}} of the groups on pages deeper than `depth` multiplexers."""
    deeper = defaultdict(lambda: defaultdict(list))
    for number, group in groups:
        if len(group.pages) > depth:
            name, ids = group.pages[depth]
            deeper[name][ids].append((number, group))
    return deeper


def _chunks_of(groups, most):
    """Groups in lists of at most `most` signals."""
    chunks, room = [], 0
    for group in groups:
        size = len(group[1].bindings)
        if size > room:
            chunks.append([])
            room = most
        chunks[-1].append(group)
        room -= size
    return chunks


def _checksum(out, tab, plan_, message, trust, crc_at):
    """Write the sum into k; returns the text of the test that it is right."""
    polynomial, initial, final = KINDS[trust.checksum_kind]
    byte = trust.checksum.start // 8
    step = {"xor8": "k ^ {}", "sum8": "(k + {}) & 255"}.get(trust.checksum_kind)
    base = 0
    if polynomial is not None:
        # The table begins at a multiple of 256 and its numbers have that added, so k is an index as it is.
        base = crc_at + 256 * plan_.crc_kinds.index(trust.checksum_kind)
        step = "p[k ^ {}]"
    out.append(f"{tab}k = {base + initial}  # {trust.checksum_kind}")
    if message.length <= 8:
        out += [f"{tab}k = {step.format(_byte(j))}" for j in range(message.length) if j != byte]
    else:
        for first, end in ((0, byte), (byte + 1, message.length)):
            if first < end:
                out.append(f"{tab}for j in range(b + {first}, b + {end}):")
                out.append(f"{tab}    k = {step.format('d0[j]')}")
    return f"k ^ {_byte(byte)} ^ {base + final}" if base + final else f"k ^ {_byte(byte)}"


def _counter(out, tab, trust, row):
    last, wrong = row + L.LAST_COUNTER, row + L.WRONG
    modulo = 1 << trust.counter.length
    out += [
        f"{tab}k = {raw_expression(trust.counter)}  # {trust.counter.name}",
        f"{tab}if (k ^ s[{last}]) & {modulo - 1} and s[{last}]:",
        f"{tab}    {_count(L.COUNTER_ERRORS)}",
        f"{tab}    if s[{wrong}] ^ {L.WRONG_LIMIT}:",
        f"{tab}        s[{wrong}] += 1",
        f"{tab}        s[{L.DOUBT}] = 1",
        f"{tab}elif s[{wrong}]:",
        f"{tab}    s[{wrong}] -= 1",
        f"{tab}s[{last}] = k + {modulo + 1}",
    ]


def _named(message, name):
    return next(signal for signal in message.signals if signal.name == name)


def _in_ranges(variable, ids):
    """Text of the test that a multiplexer has one of `ids`, as ranges."""
    ranges = []
    for number in sorted(ids):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return " or ".join(f"{variable} == {a}" if a == b else f"{a} <= {variable} <= {b}" for a, b in ranges)


def _caption(binding):
    quantity, signal = binding.quantity, binding.signal
    name = quantity.name + (f" {binding.index}" if binding.index else "")
    unit = f", {quantity.unit}" if quantity.kind == NUMBER else ""
    source = f"{binding.message.name}.{signal.name}"
    if quantity.kind != NUMBER:
        return f"{name}: {source}"
    return f"{name}{unit}: {source}, {_decimal(signal.scale)} {signal.unit}".rstrip()


def _decimal(value):
    return f"{float(value):.10g}"
