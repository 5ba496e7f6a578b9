"""What a bus and a clock can do to frames between the BMS and the core."""

import numpy as np
from cellwarden.core import layout as L

HOUR = 3_600_000
FORWARD_MS = (
    999, 1000, 1001, 5000, 9_900, 10_100, 31_000, 61_000, 600_000, HOUR, 2 * HOUR, 7 * HOUR, 13 * HOUR, 72 * HOUR,
    L.HALF - 1,
)  # fmt: skip
BACKWARD_MS = (-1, -50, -100, -999, -1000, -1001, -60_000, -HOUR, -L.HALF, -L.HALF + 1)
SHARES = (0, 0.002, 0.03, 0.3, 1)  # of the frames that are spoilt


def spoil(life, rows, of_message, noise=False, counted=False):
    """The records as they reach the core. noise: random bytes for all; counted: counters and sums are in them."""
    rng, wire = life.rng, life.vehicle.wire
    share = 1 if noise else rng.choice(SHARES, p=(0.5, 0.2, 0.18, 0.07, 0.05))
    if life.theme != "wild":
        share = rng.choice((0, 0.0005), p=(0.9, 0.1))
    believed = rng.random() < 0.6  # the BMS itself says nonsense; else what it says is spoilt on its way
    bad = rng.random(len(rows)) < share
    if believed:
        payloads(rng, rows, bad, of_message)
    if not counted:
        wire.count(rows, of_message)
    elif believed:
        wire.count(rows, of_message, bad)
    if not believed:
        payloads(rng, rows, bad, of_message)
    if share:
        rows = broken_frames(rng, rows, rng.random(len(rows)) < share / 4)
        rows = silences(rng, rows)
    rows = notices(life, rows)
    return stamps(life, rows)


def payloads(rng, rows, bad, of_message):
    """Random bytes, single bits, bytes that are extremes; and a message that is sent again and again as it was."""
    count, size = int(bad.sum()), rows["data"].shape[1]
    data = rows["data"][bad]
    kind = rng.integers(0, 4, count)
    random = rng.integers(0, 256, (count, size), "u1")
    bit = np.zeros((count, size), "u1")
    bit[np.arange(count), rng.integers(0, min(size, 8), count)] = 1 << rng.integers(0, 8, count)
    fill = rng.choice(np.array((0, 0x55, 0x7F, 0x80, 0xFE, 0xFF), "u1"), (count, 1))
    one = np.where(bit > 0, random, data)
    rows["data"][bad] = np.choose(kind[:, None], (random, data ^ bit, np.broadcast_to(fill, data.shape), one))
    if count and rng.random() < 0.3:
        stuck = np.flatnonzero(of_message == rng.choice(of_message))
        first = rng.integers(0, len(stuck))
        rows["data"][stuck[first : first + 200]] = rows["data"][stuck[first]]


def broken_frames(rng, rows, bad):
    """Too short or too long, of another identifier or bus, twice, changed places, lost."""
    count = int(bad.sum())
    if not count:
        return rows
    places = np.flatnonzero(bad)
    kind = rng.integers(0, 8, count)
    size = rows["data"].shape[1]
    short = places[kind <= 2]
    rows["length"][short] = rng.integers(0, size + 1, len(short))
    foreign = places[kind == 3]
    rows["can_id"][foreign] = rng.integers(0, 1 << 30, len(foreign))
    near = places[kind == 4]
    rows["can_id"][near] ^= rng.choice(np.array((1, 0x400, L.EXT), "i4"), len(near))
    rows["bus"][places[kind == 5]] ^= rng.choice(np.array((1, 2, 255), "u1"))
    times = np.ones(len(rows), "i8")
    times[places[kind == 6]] = 2
    times[places[kind == 7]] = 0
    return np.repeat(rows, times)


def silences(rng, rows):
    """One identifier, or all, fall silent for a while."""
    for _ in range(rng.choice((0, 0, 1, 3))):
        if not len(rows):
            break
        first = rng.choice(rows["t_ms"])
        inside = (rows["t_ms"] >= first) & (rows["t_ms"] < first + rng.choice((700, 4000, 12_000, 70_000)))
        if rng.random() < 0.6:
            inside &= rows["can_id"] == rng.choice(rows["can_id"])
        rows = rows[~inside]
    return rows


def notices(life, rows):
    """Records that are no frames: lost frames, buses off and on, acknowledgements, sleep, and kinds there are not."""
    rng = life.rng
    count = rng.choice((0, 0, 1, 5, 40)) if life.theme == "wild" else 0
    if not count or not len(rows):
        return rows
    at = np.sort(rng.integers(0, len(rows), count))
    told = np.zeros(count, rows.dtype)
    told["t_ms"] = rows["t_ms"][at]
    kinds = (L.NOTICE_DROPPED, L.NOTICE_BUS_OFF, L.NOTICE_ACK, L.NOTICE_SLEEP, 0, 5, 255)
    told["can_id"] = L.NOTICE | rng.choice(kinds, count, p=(0.25, 0.25, 0.35, 0.06, 0.03, 0.03, 0.03))
    told["length"] = 1
    told["bus"] = rng.integers(0, 256, count)
    told["data"][:, 0] = rng.choice(
        (0, 1, rng.integers(0, 256), rng.integers(0, life.vehicle.params[L.P_RULES])), count
    )
    return np.insert(rows, at, told)


def stamps(life, rows):
    """Stamps on the 30-bit clock: gaps, steps back, stamps that stand still; the life's clock goes on behind them."""
    rng = life.rng
    t = rows["t_ms"].astype("i8")
    if not len(t):
        return rows
    steps = np.zeros(len(t), "i8")
    if life.theme == "wild" and rng.random() < 0.6:
        for _ in range(rng.choice((1, 1, 2, 6, 30))):
            steps[rng.integers(0, len(t))] = rng.choice(FORWARD_MS if rng.random() < 0.7 else BACKWARD_MS)
    t += np.cumsum(steps)
    if rng.random() < 0.1 and life.theme == "wild":
        t += rng.choice((0, 0, 0, -30, 40, -1200), len(t))  # a writer that mixes up its stamps
    rows["t_ms"] = life.t_ms + t & L.MASK
    life.t_ms = int(life.t_ms + t[-1] + 10 & L.MASK)
    return rows
