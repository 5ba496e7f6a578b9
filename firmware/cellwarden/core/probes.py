"""What single probes do: how steeply they rise, and which of them cannot be believed.

A probe that is left out reads as missing (NA) while the features are measured, so no other file needs to know.
Numbers are read and compared as in measure.py; how a probe's memories are packed stands in layout.py, "memory".
"""

import micropython
from micropython import const

_NA = const(-0x20000000)
_WRAP = const(-0x3FFFFFFF - 1)
_MASK = const(0x3FFFFFFF)
_NOW_MS = const(0)
_PROBES_SEEN = const(23)
_PROBES_AGE_MS = const(84)
_RING = const(85)
_RING_MS = const(86)
_FAULTY = const(90)
_STEEP = const(91)
_SIGN_MS = const(127)
_SIGN_FELL = const(0)
_SIGN_HOT = const(1)
_SIGN_STEEP = const(2)
_FEATURES_AT = const(145)
_WHERE = const(48)
_SLOT = const(96)
_F_CELL_MIN_MV = const(1)
_F_RISE_MK_PER_S = const(22)
_F_CELLS_DEAD = const(46)
_SIGNALS_AT = const(337)
_ALWAYS = const(24)
_SCALARS = const(25)
_GROUP_SIZE = const(3)
_USED = const(3)
_SEEN = const(24)
_FAULT = const(26)
_PROBE_BIAS = const(501)
_P_GROUPS = const(3)
_P_CELLS = const(4)
_P_PROBES = const(5)
_P_MEMORY_AT = const(22)
_P_GROUPS_AT = const(23)
_P_GROUP_TABLE_AT = const(26)
_P_OWNERS_AT = const(28)
_P_RINGS_AT = const(33)
_P_HOT_DDEGC = const(37)
_P_CELL_FLOOR_MV = const(38)
_P_CARRIES = const(4)
_GROUP_TABLE_SIZE = const(5)

_APART_MS = const(60000)
_MOST = const(0x1FFFFFFF)
_WINDOW_MS = const(4000)  # at 1 K resolution a shorter window takes a flicker for a fire
_JUMP_DDEGC = const(200)  # more than heat can do to one probe, with 2 K/s beside it
_MOVED_DDEGC = const(30)
_HEATS_DDEGC_PER_S = const(3)  # level 1 of temperature_rise
_NEAR_DDEGC = const(100)
_COLDEST_DDEGC = const(-300)  # batteries are not run below
_BACK_S = const(60)
_FLICKER_DDEGC = const(20)  # of a healthy probe at 1 K resolution
_RATE = const(100000)  # 0.1 K a ms -> mK/s
_RUNAWAY_MK_PER_S = const(1000)  # GB 38031 C.5.3.7 c)


@micropython.viper
def probes(i: int, v: int, state, params, due: int) -> int:
    """Judge each probe against its own last samples and against the others; where `due` also take a sample.

    Returns 1 where a probe was left out or taken back. i, v: 0; viper keeps the first two parameters in registers.
    """
    q = ptr32(state)
    p = ptr32(params)
    start = _SIGNALS_AT + _SCALARS + p[_P_CELLS]
    marks = p[_P_MEMORY_AT] + p[_P_CELLS]
    rings = p[_P_RINGS_AT]
    n = p[_P_PROBES]
    now = q[_NOW_MS]
    ring = q[_RING]
    age_ms = (now - q[_RING_MS]) & _MASK
    if age_ms > _APART_MS:
        ring = 0
    dt_s = (age_ms + 999) // 1000

    # Distress of the cells: then no probe is called a liar, for a fire must not be taken for a broken sensor.
    distress = q[_FEATURES_AT + _F_CELLS_DEAD] + q[_SIGN_MS + _SIGN_FELL]
    distress += q[_SIGN_MS + _SIGN_HOT] + q[_SIGN_MS + _SIGN_STEEP]
    lowest = q[_FEATURES_AT + _F_CELL_MIN_MV]
    if not lowest >> 30 & 1 and lowest <= p[_P_CELL_FLOOR_MV]:
        distress = 1

    # Who jumped, who only moved or heats up, and the range of all others.
    jumped = 0
    jump_to = 0
    alike = 1
    moved = 0
    heats = 0
    low = _MOST
    high = -_MOST
    jump = _JUMP_DDEGC + 20 * dt_s
    i = 0
    while i ^ n:
        v = q[start + i]
        if (v - _NA) & _MASK:
            mark = q[marks + i]
            if not mark >> _FAULT & 1:
                v = (v & _MASK) + (v >> 30 & 1) * _WRAP
                was = mark & 4095
                step = v - was + _PROBE_BIAS
                if step * step >= _MOVED_DDEGC * _MOVED_DDEGC and ring and was:
                    if step > jump or step < -_JUMP_DDEGC:
                        if jumped and jump_to != v:
                            alike = 0
                        jump_to = v
                        jumped += 1
                        i += 1
                        continue
                    moved += 1
                    if step >= _HEATS_DDEGC_PER_S * dt_s:
                        heats += 1
                if v < low:
                    low = v
                if v > high:
                    high = v
        i += 1
    blame = 1 if jumped and alike and not moved and not distress else 0
    if high < low:  # a board that has gone dark: without others, what the vehicle may be run at
        low = _COLDEST_DDEGC + _NEAR_DDEGC
        high = p[_P_HOT_DDEGC] - 1 - _NEAR_DDEGC
    changed = 0
    faulty = 0
    rise = 0
    rise_at = 0
    steep = 0
    window_ms = 0
    at = 0  # the newest sample of the ring that is a window old
    if ring and due:
        while at < ring and ((now - q[_RING_MS + at]) & _MASK) < _WINDOW_MS:
            at += 1
        if at < ring:
            window_ms = (now - q[_RING_MS + at]) & _MASK
            if window_ms > _APART_MS:
                window_ms = 0
    runaway = window_ms * _RUNAWAY_MK_PER_S
    i = 0
    while i ^ n:
        v = q[start + i]
        mark = q[marks + i]
        older = q[rings + i]
        if (v - _NA) & _MASK:
            v = (v & _MASK) + (v >> 30 & 1) * _WRAP
            if mark >> _FAULT & 1:
                # Believed again when it has read like the others for a minute, or when cells or others show distress.
                back_s = older >> 24
                if distress or heats:
                    back_s = _BACK_S
                elif low - _NEAR_DDEGC <= v <= high + _NEAR_DDEGC:
                    if due:
                        back_s += dt_s if ring else 1
                else:
                    back_s = 0
                if back_s >= _BACK_S:
                    mark ^= 1 << _FAULT
                    back_s = 0
                    changed = 1
                older = (older & 0xFFFFFF) | back_s << 24
                q[rings + i] = older
            elif blame and mark & 4095:
                step = v - (mark & 4095) + _PROBE_BIAS
                if step > jump or step < -_JUMP_DDEGC:
                    mark |= 1 << _FAULT
                    changed = 1
            if mark >> _FAULT & 1:
                q[start + i] = _NA
                faulty += 1
                if not mark >> _SEEN & 1:  # left out since before a sleep
                    mark |= 1 << _SEEN
                    q[_PROBES_SEEN] = q[_PROBES_SEEN] + 1
            elif window_ms:
                then = mark >> 12 & 4095 if at else mark & 4095
                if at > 1:
                    then = older & 4095 if at == 2 else older >> 12 & 4095
                if then:
                    step = v - then + _PROBE_BIAS
                    if step > rise or step * _RATE >= runaway:
                        # In both halves of the window: heat goes on, a broken sensor jumps once, and so does a flicker.
                        between = mark >> 12 & 4095 if at > 1 else mark & 4095
                        goes_on = 1
                        if at:
                            first = between - then
                            if first * 4 < step or (step - first) * 4 < step:  # or there was none between
                                goes_on = 0
                        if goes_on and step * _RATE >= runaway:
                            steep = 1
                        if step > rise and (goes_on or step > _FLICKER_DDEGC):
                            rise = step
                            rise_at = i + 1
            v += _PROBE_BIAS
        else:
            v = 0
            # One that has died is not believed at once when it is back.
            if due and mark >> _SEEN & 1:
                group = p[_P_GROUPS_AT] + p[p[_P_OWNERS_AT] + start - _SIGNALS_AT + i] * _GROUP_SIZE
                if q[group] & 1:
                    mark |= 1 << _FAULT
                    older &= 0xFFFFFF
            faulty += mark >> _FAULT & 1
        if due:
            q[rings + i] = (older & 0x3F000000) | (mark >> 12 & 4095) | (older & 4095) << 12
            mark = (mark >> 24 << 24) | (mark & 4095) << 12 | v
        elif mark >> _FAULT & 1:
            mark = (mark >> 12 << 12) | v  # what it reads, for unmask()
        q[marks + i] = mark
        i += 1
    q[_FAULTY] = faulty

    if due:
        q[_STEEP] = steep
        i = _FEATURES_AT + _F_RISE_MK_PER_S
        q[i] = rise * _RATE // window_ms if window_ms else _NA
        q[i + _WHERE] = rise_at
        q[i + _SLOT] = start - _SIGNALS_AT + rise_at - 1 if rise_at else _ALWAYS
        q[_PROBES_AGE_MS] = 0
        i = 3
        while i:
            q[_RING_MS + i] = q[_RING_MS + i - 1]
            i -= 1
        q[_RING_MS] = now
        q[_RING] = ring + 1 if ring < 4 else 4
        i = p[_P_GROUPS_AT]
        v = p[_P_GROUP_TABLE_AT] + _P_CARRIES
        end = i + p[_P_GROUPS] * _GROUP_SIZE
        while i < end:
            if p[v] & 2 and q[i] & 1:
                q[i] = _USED
            i += _GROUP_SIZE
            v += _GROUP_TABLE_SIZE
    return changed


@micropython.viper
def unmask(i: int, v: int, state, params) -> int:
    """Give the probes that are left out their readings back: the next scan judges them again.

    i, v: 0; viper keeps the first two parameters in registers.
    """
    q = ptr32(state)
    p = ptr32(params)
    start = _SIGNALS_AT + _SCALARS + p[_P_CELLS]
    marks = p[_P_MEMORY_AT] + p[_P_CELLS]
    i = 0
    while i < p[_P_PROBES]:
        v = q[marks + i]
        if v >> _FAULT & 1 and v & 4095:
            q[start + i] = (v & 4095) - _PROBE_BIAS
        i += 1
    return 0
