/* The detection core in C, after firmware/cellwarden/core: scan.py, measure.py, judge.py. The same data layout, the same
   algorithm, as one writes it in C.

   A yardstick: what a C compiler makes of the same work on the same processor. It is no second implementation; nobody
   but tests/bench uses it. Names and numbers come from layout.h, which tests/bench/twin.py writes from layout.py. */

#include "twin.h"

static int32_t plus(int32_t a, int32_t b) { return (a + b) & MASK; }

/* --- measure.py ------------------------------------------------------------------------------------------------- */

enum { NOT_QUIET, STEADY, QUIET };

static int32_t quiet_current(int32_t *q, const int32_t *p, int32_t v)
{
    if (v == NA || v > p[P_CALM_MA] || v < -p[P_CALM_MA]) {
        q[QUIET_MS] = 0;
        q[QUIET_LOW_MA] = NA;
        return NOT_QUIET;
    }
    int32_t low = q[QUIET_LOW_MA], high = q[QUIET_HIGH_MA];
    int known = low != NA;
    if (v < low)
        low = v;
    if (v > high)
        high = v;
    if (!known || high - low >= p[P_CALM_STEP_MA]) {
        q[QUIET_MS] = 0;
        q[QUIET_LOW_MA] = q[QUIET_HIGH_MA] = v;
        return STEADY;
    }
    q[QUIET_LOW_MA] = low;
    q[QUIET_HIGH_MA] = high;
    int32_t quiet_ms = q[QUIET_MS] + p[P_SCAN_MS];
    if (quiet_ms >= p[P_CALM_MS]) {
        q[QUIET_MS] = p[P_CALM_MS];
        return QUIET;
    }
    q[QUIET_MS] = quiet_ms;
    return STEADY;
}

static void pack_feature(int32_t *q, int32_t number, int32_t value, int32_t slot, int32_t complete)
{
    int32_t *f = q + FEATURES_AT + number;
    f[VALUE] = value;
    f[SLOT] = slot;
    f[COMPLETE] = complete;
}

/* Charge that still flows in when full: the one value of the pack that needs the cells' extremes. */
static void overcharge(int32_t *q, const int32_t *p)
{
    const int32_t *s = q + SIGNALS_AT, *f = q + FEATURES_AT;
    int32_t current = s[PACK_CURRENT_MA], soc = s[SOC_PERMILLE], sent = p[P_SENT];
    int32_t top = f[F_CELL_MAX_MV], over = NA;
    if (current != NA) {
        if (current > -p[P_INFLOW_MA]) {
            over = 0;
        } else if (top >= p[P_OVERCHARGE_MV] || soc > p[P_OVERCHARGE_PERMILLE]) {
            over = 1;
        } else if (f[F_CELL_MAX_MV + COMPLETE]) {
            int cells_said = top >= 0 || (p[P_CELLS] == 0 && (sent >> CELL_MAX_MV & 1) == 0);
            int soc_said = soc >= 0 || (sent >> SOC_PERMILLE & 1) == 0;
            if (cells_said && soc_said)
                over = 0;
        }
    }
    pack_feature(q, F_OVERCHARGE, over, PACK_CURRENT_MA, 1);
}

static int32_t measure_arrays(int32_t *q, const int32_t *p, int32_t *bins, int32_t quiet)
{
    int32_t absent = 0;
    const int32_t *signals = q + SIGNALS_AT, *start = signals + SCALARS;
    int32_t *memory = q + p[P_MEMORY_AT];
    for (int32_t side = 0; side < 2; side++) {
        int32_t n = p[P_CELLS + side];
        const int32_t *end = start + n, *s = start;
        while (s < end && *s == NA)
            s++;
        int32_t low = 0, total = 0, gone = n;
        const int32_t *low_at = s, *high_at = s;
        uint32_t span = 0;
        int32_t *before = memory + n + p[P_PROBES];
        if (s < end || quiet) {
            gone = 0;
            if (s < end)
                low = *s;
            s = start;
        }
        for (; s < end; s++, before++) {
            int32_t v = *s;
            uint32_t over = (uint32_t)(v - low);
            if (over > span) { /* higher than the highest, lower than the lowest, or NA */
                if (over < FAR) {
                    span = over;
                    high_at = s;
                } else if (v != NA) {
                    span += (uint32_t)(low - v);
                    low = v;
                    low_at = s;
                } else {
                    gone++;
                    if (quiet)
                        *before = 0;
                    continue;
                }
            }
            total += v;
            if (quiet) {
                int32_t was = *before, step = v - was + MIDDLE;
                *before = v;
                if ((uint32_t)step >= BINS)
                    step = !was ? BINS : step < 0 ? 0 : BINS - 1;
                bins[step]++;
            }
        }

        int32_t lost = 0, seen = q[CELLS_SEEN + side];
        if (gone == n) {
            lost = seen;
        } else if (gone || seen < n) {
            int32_t *m = memory;
            for (s = start; s < end; s++, m++) {
                if (*s != NA) {
                    if (!*m) {
                        *m = 1;
                        seen++;
                    }
                } else if (*m) {
                    lost++;
                }
            }
            q[CELLS_SEEN + side] = seen;
        }

        int32_t valid = n - gone, high = low + (int32_t)span, spread = (int32_t)span;
        const int32_t *spread_at = 2 * total < valid * (high + low) ? high_at : low_at;
        if (valid < 2) {
            spread = NA;
            if (valid == 0) {
                low = high = NA;
                low_at = high_at = spread_at = start;
            }
        }
        if (n == 0) {
            high_at = spread_at = signals + CELL_MAX_MV + 2 * side;
            low_at = high_at + 1;
            high = *high_at;
            low = *low_at;
            if (high != NA && low != NA)
                spread = high - low;
        }
        int32_t *f = q + FEATURES_AT + F_CELL_MAX_MV + 3 * side;
        f[0] = high;
        f[1] = low;
        f[2] = spread;
        f[COMPLETE] = f[COMPLETE + 1] = f[COMPLETE + 2] = !lost;
        f[SLOT] = high_at - signals;
        f[SLOT + 1] = low_at - signals;
        f[SLOT + 2] = spread_at - signals;
        if (n) {
            f[WHERE] = high_at - start + 1;
            f[WHERE + 1] = low_at - start + 1;
            f[WHERE + 2] = spread_at - start + 1;
        }
        f = q + FEATURES_AT + F_CELLS_VALID + 2 * side;
        f[0] = valid;
        f[1] = lost;
        absent += n - seen;
        memory += n;
        start = end;
        quiet = 0;
    }
    overcharge(q, p);
    return absent;
}

static int32_t agree(const int32_t *bins, int32_t steps, int32_t limit_mv)
{
    int32_t half = (steps + 1) / 2, median = 0, count = bins[0];
    while (count < half)
        count += bins[++median];
    if (median == 0 || median == BINS - 1)
        return 0;
    int32_t last = median + limit_mv, first = median + 1 - limit_mv;
    if (last > BINS)
        last = BINS;
    if (first < 0)
        first = 0;
    count = 0;
    while (first < last)
        count += bins[first++];
    return count * 2 > steps;
}

static int32_t measure_pack(int32_t *q, const int32_t *p)
{
    const int32_t *s = q + SIGNALS_AT;
    int32_t *f = q + FEATURES_AT;
    int32_t voltage = s[PACK_VOLTAGE_MV], current = s[PACK_CURRENT_MA], soc = s[SOC_PERMILLE];
    int32_t sent = p[P_SENT];
    pack_feature(q, F_PACK_VOLTAGE_MV, voltage, PACK_VOLTAGE_MV, 1);

    int32_t flow = current;
    for (int32_t side = 0; side < 2; side++) {
        int32_t limit = p[P_MAX_DISCHARGE_MA + side], certain = limit, permille = NA;
        int missing = 0;
        if (sent >> (MAX_DISCHARGE_MA + side) & 1) {
            int32_t own = s[MAX_DISCHARGE_MA + side];
            if (own < 0)
                missing = 1;
            else if (limit == 0 || own < limit)
                limit = own;
        }
        if (limit < p[P_LIMIT_FLOOR_MA])
            limit = p[P_LIMIT_FLOOR_MA];
        if (current != NA) {
            if (flow <= 0)
                permille = 0;
            else if (!missing || (certain && flow > limit))
                permille = flow * 100 / (limit / 10);
        }
        pack_feature(q, F_DISCHARGE_PERMILLE + side, permille, PACK_CURRENT_MA, 1);
        flow = -current;
    }

    int32_t ohm = s[INSULATION_OHM], quotient = NA;
    if (ohm >= 0 && ((sent >> INSULATION_VALID & 1) == 0 || s[INSULATION_VALID] == 1)) {
        int32_t by = voltage < CLASS_B_MV ? p[P_NOMINAL_MV] : voltage;
        quotient = ohm * 10 / (by / 100);
    }
    pack_feature(q, F_INSULATION_OHM_PER_V, quotient, INSULATION_OHM, 1);
    pack_feature(q, F_SOC_PERMILLE, soc, SOC_PERMILLE, 1);

    int32_t closed = s[HVIL_OK];
    pack_feature(q, F_HVIL_OPEN, closed >> 1 ? NA : 1 - closed, HVIL_OK, 1);

    int32_t level = s[BMS_LEVEL], slot = BMS_LEVEL;
    int level_sent = sent >> BMS_LEVEL & 1;
    int complete = !(level_sent && level == NA);
    if (sent >> BMS_FLAG_9) {
        for (int32_t i = BMS_FLAG_9; i < SCALARS; i++) {
            int32_t flag = s[i];
            if (flag == 1) {
                if (level < 1) {
                    level = 1;
                    slot = i;
                }
            } else if (flag == 0) {
                if (level == NA && !level_sent) {
                    level = 0;
                    slot = i;
                }
            } else if (sent >> i & 1) {
                complete = 0;
            }
        }
    }
    pack_feature(q, F_BMS_LEVEL, level, slot, complete);
    f[F_CHARGING] = s[CHARGING];
    f[F_CONTACTORS] = s[CONTACTORS];
    f[F_VEHICLE_ON] = s[VEHICLE_ON];
    return quiet_current(q, p, current);
}

/* --- judge.py --------------------------------------------------------------------------------------------------- */

static void emit(const Box *x, int32_t rule, int32_t before, int32_t level, int32_t where, int32_t value)
{
    int32_t *q = x->state, *e = x->events;
    q[EVENTS] = plus(q[EVENTS], 1);
    int32_t head = e[E_HEAD];
    if (((head - e[E_TAIL]) & MASK) >= e[E_CAPACITY]) {
        e[E_LOST] = plus(e[E_LOST], 1);
        return;
    }
    int32_t *into = e + E_FIRST + (head & (e[E_CAPACITY] - 1)) * EVENT_SIZE;
    into[EVENT_T_MS] = (q[NOW_MS] - q[OFFSET_MS]) & MASK;
    into[EVENT_RULE] = rule;
    into[EVENT_BEFORE] = before;
    into[EVENT_LEVEL] = level;
    into[EVENT_WHERE] = where;
    into[EVENT_VALUE] = value;
    e[E_HEAD] = plus(head, 1);
}

/* Bit k: `value` is at or beyond the limit of level k + 1. */
static inline int32_t past(int32_t value, const int32_t *limits, int32_t side)
{
    return ((value - limits[0]) * side >= 0) | ((value - limits[1]) * side >= 0) << 1
           | ((value - limits[2]) * side >= 0) << 2;
}

static int32_t judge(const Box *x)
{
    int32_t *q = x->state;
    const int32_t *p = x->params;
    const int32_t *signals = q + SIGNALS_AT, *groups = q + p[P_GROUPS_AT], *owners = p + p[P_OWNERS_AT];
    int32_t scan_ms = p[P_SCAN_MS];
    int32_t moved = 0, top = 0, flags = 0;
    const int32_t *a = p + HEADER_SIZE;
    int32_t *r = q + p[P_RULES_AT], *end = r + p[P_RULES] * RULE_SIZE;
    for (; r < end; r += RULE_SIZE, a += RULE_TABLE_SIZE) {
        const int32_t *feature = q + a[P_FEATURE];
        int32_t value = *feature, side = a[P_SIDE], busy = r[BUSY], gate = 1, level;
        int good = (value - a[P_FIRST_LIMIT]) * side < 0;
        if (good && !busy)
            continue;
        int known = value != NA;
        if (a[P_GATE]) {
            gate = q[a[P_GATE]];
            if (gate >> 1)
                known = 0;
        }
        if (!known && !busy)
            continue;
        int32_t asserted = busy & 7, asserting = busy >> 3 & 7, clearing = busy >> 6;
        int32_t reached = 0, beyond = 0;
        if (known && gate && !good) {
            reached = past(value, a + P_LIMIT, side);
            if (!q[FEATURES_AT + F_CALM])
                reached &= ~a[P_CALM_LEVELS];
        }
        if (asserted & ~reached && known && !a[P_LATCHED])
            beyond = gate ? past(value, a + P_CLEAR_AT, -side) & asserted : asserted;

        int32_t pending = (reached | asserting) & ~asserted;
        if (pending || beyond || (known && clearing)) {
            int32_t lost_slot = 0;
            if (known) {
                int32_t stopped = clearing & ~beyond;
                clearing ^= stopped;
                for (int32_t *timer = r + CLEAR_MS; stopped; stopped >>= 1, timer++)
                    if (stopped & 1)
                        *timer = 0;
                if (beyond && (feature[COMPLETE] || !gate)) {
                    clearing |= beyond;
                    moved++;
                    for (int32_t k = 0, bit = 1; beyond; k++, bit <<= 1) {
                        if (!(beyond & bit))
                            continue;
                        beyond ^= bit;
                        int32_t held_ms = r[CLEAR_MS + k];
                        if (held_ms >= a[P_CLEAR_MS]) {
                            asserted ^= bit;
                            clearing ^= bit;
                            r[CLEAR_MS + k] = 0;
                        } else {
                            r[CLEAR_MS + k] = held_ms + scan_ms;
                        }
                    }
                }
            }
            if (pending) {
                int32_t starting = pending & ~asserting, slot = 0, arrivals = 0;
                if (starting) {
                    asserting |= starting;
                    slot = feature[SLOT];
                    arrivals = groups[owners[slot] * GROUP_SIZE + ARRIVALS];
                }
                for (int32_t k = 0, bit = 1; pending; k++, bit <<= 1) {
                    if (!(pending & bit))
                        continue;
                    pending ^= bit;
                    int32_t held_ms = r[ASSERT_MS + k];
                    if (starting & bit) {
                        r[FIRST_SLOT + k] = slot;
                        r[FIRST_ARRIVAL + k] = arrivals;
                    } else if (!(reached & bit) && (!gate || (known && signals[r[FIRST_SLOT + k]] != NA))) {
                        asserting ^= bit;
                        r[ASSERT_MS + k] = 0;
                        continue;
                    }
                    if (held_ms < a[P_ASSERT_MS + k]) {
                        r[ASSERT_MS + k] = held_ms + scan_ms;
                        moved++;
                        continue;
                    }
                    int32_t first_slot = r[FIRST_SLOT + k];
                    if (a[P_SAMPLES] < 2
                        || groups[owners[first_slot] * GROUP_SIZE + ARRIVALS] != r[FIRST_ARRIVAL + k]) {
                        asserted |= bit;
                        asserting ^= bit;
                        r[ASSERT_MS + k] = 0;
                        lost_slot = reached & bit ? 0 : first_slot + 1;
                    }
                }
            }

            r[BUSY] = clearing << 6 | asserting << 3 | asserted;
            level = asserted & 4 ? 3 : asserted & 2 ? 2 : asserted;
            if (level != r[LEVEL_NOW]) {
                int32_t where = feature[WHERE];
                if (lost_slot) {
                    value = NA;
                    where = lost_slot - SCALARS;
                    if (where < 1)
                        where = 0;
                    else if (where > p[P_CELLS])
                        where -= p[P_CELLS];
                }
                emit(x, a[P_NUMBER], r[LEVEL_NOW], level, where, value);
                r[LEVEL_NOW] = level;
            }
        } else {
            level = r[LEVEL_NOW];
        }
        if (level) {
            flags |= a[P_FLAG];
            if (level > top && a[P_OWN])
                top = level;
        }
    }
    if (signals[BMS_FLAG_9] == 1)
        flags |= 1 << 9;
    for (int32_t i = 0; i < 4; i++)
        if (signals[BMS_FLAG_12 + i] == 1)
            flags |= 1 << (12 + i);
    if (signals[BMS_FLAG_12 + 4] == 1)
        flags |= 1 << 17;
    q[FLAGS] = flags;
    q[LEVEL] = top;
    if (top > q[MAX_LEVEL])
        q[MAX_LEVEL] = top;
    return moved;
}

/* --- scan.py ---------------------------------------------------------------------------------------------------- */

static int32_t expire(int32_t *q, const int32_t *p)
{
    int32_t now = q[NOW_MS], doubt = q[DOUBT], waiting = 0, lost = 0;
    const int32_t *messages = q + p[P_MESSAGES_AT], *members = p + p[P_MEMBERS_AT], *a = p + p[P_GROUP_TABLE_AT];
    int32_t *g = q + p[P_GROUPS_AT], *end = g + p[P_GROUPS] * GROUP_SIZE;
    for (; g < end; g += GROUP_SIZE, a += GROUP_TABLE_SIZE) {
        int late = ((now - g[STAMP_MS]) & MASK) > a[P_DEADLINE_MS];
        if (!late && !doubt)
            continue;
        if (g[STATUS] == FRESH) {
            if (!late && messages[a[P_MESSAGE] * MESSAGE_SIZE + WRONG] < WRONG_LIMIT)
                continue;
            g[STATUS] = STALE;
            const int32_t *member = members + a[P_FIRST_MEMBER];
            for (const int32_t *last = member + a[P_MEMBER_COUNT]; member < last; member++)
                q[SIGNALS_AT + *member] = NA;
        }
        /* What is not fresh keeps a stamp that is late at every time until the next scan. */
        g[STAMP_MS] = plus(now, HALF);
        if (g[STATUS] == NEVER)
            waiting++;
        else
            lost++;
    }
    q[DOUBT] = 0;
    q[WAITING] = waiting;
    q[LOST] = lost;
    return p[P_GROUPS] - waiting - lost;
}

static void unstamp(int32_t *q, const int32_t *p)
{
    int32_t *g = q + p[P_GROUPS_AT], stamp = plus(q[NOW_MS], HALF);
    for (int32_t n = p[P_GROUPS]; n > 0; n--, g += GROUP_SIZE)
        g[STAMP_MS] = stamp;
}

int32_t scan(const Box *x)
{
    int32_t *q = x->state, *bins = x->scratch;
    const int32_t *p = x->params;
    q[SCANS] = plus(q[SCANS], 1);
    int32_t busy = expire(q, p);
    int32_t quiet = measure_pack(q, p);
    if (quiet)
        for (int32_t i = 0; i <= BINS; i++)
            bins[i] = 0;
    int32_t absent = measure_arrays(q, p, bins, quiet);
    int32_t calm = quiet == QUIET;
    if (calm && p[P_CELLS]) {
        const int32_t *middle = bins + MIDDLE;
        int32_t steps = q[FEATURES_AT + F_CELLS_VALID] - bins[BINS];
        int32_t near = middle[-2] + middle[-1] + middle[0] + middle[1] + middle[2];
        if (near * 2 <= steps || p[P_CALM_MAD_MV] < 5)
            calm = agree(bins, steps, p[P_CALM_MAD_MV]);
    }
    q[FEATURES_AT + F_CALM] = calm;
    if (!q[KNOWN]) {
        int32_t waited = q[AGE_MS] + p[P_SCAN_MS];
        if (q[WAITING] == 0 && (absent == 0 || waited >= p[P_START_MS]))
            q[KNOWN] = 1;
        if (waited <= p[P_START_MS]) {
            q[AGE_MS] = waited;
            busy++;
        }
    }
    return busy + judge(x);
}

int32_t advance(const Box *x, int32_t t_ms)
{
    int32_t *q = x->state;
    int32_t scan_ms = x->params[P_SCAN_MS];
    if (!q[STARTED]) {
        q[STARTED] = 1;
        q[NOW_MS] = t_ms;
        q[DUE_MS] = plus(t_ms / scan_ms * scan_ms, scan_ms);
        unstamp(q, x->params);
        return 0;
    }
    int32_t ahead = (t_ms - q[NOW_MS]) & MASK;
    if (ahead >= HALF) {
        q[TIME_BACKWARD] = plus(q[TIME_BACKWARD], 1);
        int32_t back = (q[NOW_MS] - t_ms) & MASK;
        if (back >= REBASE_MS)
            q[OFFSET_MS] = plus(q[OFFSET_MS], back);
        return 0;
    }
    int32_t done = 0;
    int32_t left = (q[DUE_MS] - q[NOW_MS]) & MASK;
    while (left <= ahead) {
        int32_t due = q[DUE_MS];
        ahead -= left;
        q[NOW_MS] = due;
        q[DUE_MS] = plus(due, scan_ms);
        left = scan_ms;
        done++;
        if (!scan(x)) {
            int32_t skip = ahead / scan_ms;
            ahead -= skip * scan_ms;
            done += skip;
            q[SCANS] = plus(q[SCANS], skip);
            q[NOW_MS] = plus(q[NOW_MS], skip * scan_ms);
            q[DUE_MS] = plus(q[DUE_MS], skip * scan_ms);
            unstamp(q, x->params);
        }
    }
    q[NOW_MS] = t_ms;
    return done;
}
