/* The detection core in C, line by line after firmware/cellwarden/core: scan.py, measure.py, judge.py.

   A yardstick: what a C compiler makes of the same work on the same processor. It is no second implementation; nobody
   but tests/bench uses it. Names and numbers come from layout.h, which tests/bench/twin.py writes from layout.py. */

#include "twin.h"

static int32_t plus(int32_t a, int32_t b) { return (a + b) & MASK; }

/* --- scan.py ---------------------------------------------------------------------------------------------------- */

int32_t expire(const Box *x)
{
    int32_t *g = x->groups, *s = x->signals;
    const int32_t *wrong = x->messages, *p = x->group_table, *m = x->members;
    int32_t now = x->clock[NOW_MS];
    int32_t fresh = 0, waiting = 0, lost = 0;
    for (int32_t n = x->header[P_GROUPS]; n > 0; n--) {
        int32_t status = g[STATUS];
        if (status == FRESH) {
            int late = ((now - g[STAMP_MS]) & MASK) > p[P_DEADLINE_MS];
            if (late || wrong[p[P_MESSAGE] * MESSAGE_SIZE + WRONG] >= WRONG_LIMIT) {
                g[STATUS] = STALE;
                int32_t first = p[P_FIRST_MEMBER];
                for (int32_t i = first; i < first + p[P_MEMBER_COUNT]; i++)
                    s[m[i]] = NA;
                lost++;
            } else {
                fresh++;
            }
        } else if (status == NEVER) {
            waiting++;
        } else {
            lost++;
        }
        g += GROUP_SIZE;
        p += GROUP_TABLE_SIZE;
    }
    x->clock[WAITING] = waiting;
    x->clock[LOST] = lost;
    return fresh;
}

int32_t scan(const Box *x)
{
    int32_t *c = x->clock;
    const int32_t *p = x->header;
    c[SCANS] = plus(c[SCANS], 1);
    int32_t busy = expire(x);
    int32_t absent = measure(x);
    if (!c[KNOWN]) {
        int32_t waited = c[AGE_MS] + p[P_SCAN_MS];
        if (c[WAITING] == 0 && (absent == 0 || waited >= p[P_START_MS]))
            c[KNOWN] = 1;
        if (waited <= p[P_START_MS]) {
            c[AGE_MS] = waited;
            busy++;
        }
    }
    return busy + judge(x);
}

int32_t advance(const Box *x, int32_t t_ms)
{
    int32_t *c = x->clock;
    int32_t scan_ms = x->header[P_SCAN_MS];
    if (!c[STARTED]) {
        c[STARTED] = 1;
        c[NOW_MS] = t_ms;
        c[DUE_MS] = plus(t_ms / scan_ms * scan_ms, scan_ms);
        return 0;
    }
    int32_t ahead = (t_ms - c[NOW_MS]) & MASK;
    if (ahead >= HALF) {
        c[TIME_BACKWARD] = plus(c[TIME_BACKWARD], 1);
        int32_t back = (c[NOW_MS] - t_ms) & MASK;
        if (back >= REBASE_MS)
            c[OFFSET_MS] = plus(c[OFFSET_MS], back);
        return 0;
    }
    int32_t done = 0;
    int32_t left = (c[DUE_MS] - c[NOW_MS]) & MASK;
    while (left <= ahead) {
        int32_t due = c[DUE_MS];
        ahead -= left;
        c[NOW_MS] = due;
        c[DUE_MS] = plus(due, scan_ms);
        left = scan_ms;
        done++;
        if (!scan(x)) {
            int32_t skip = ahead / scan_ms;
            ahead -= skip * scan_ms;
            done += skip;
            c[SCANS] = plus(c[SCANS], skip);
            c[NOW_MS] = plus(c[NOW_MS], skip * scan_ms);
            c[DUE_MS] = plus(c[DUE_MS], skip * scan_ms);
        }
    }
    c[NOW_MS] = t_ms;
    return done;
}

/* --- measure.py ------------------------------------------------------------------------------------------------- */

static void feature(int32_t *f, int32_t number, int32_t value, int32_t where, int32_t slot, int32_t complete)
{
    f += number * FEATURE_SIZE;
    f[VALUE] = value;
    f[WHERE] = where;
    f[SLOT] = slot;
    f[COMPLETE] = complete;
}

int32_t measure_cells(const Box *x, int32_t quiet)
{
    const int32_t *p = x->header, *s = x->signals + SCALARS;
    int32_t *m = x->memory, *f = x->features, *bins = x->scratch;
    int32_t n = p[P_CELLS];
    int32_t high = 0, high_at = 0, low = HIGH, low_at = 0;
    int32_t total = 0, valid = 0, lost = 0, steps = 0;
    if (quiet)
        for (int32_t i = 0; i < BINS; i++)
            bins[i] = 0;
    for (int32_t i = 0; i < n; i++) {
        int32_t v = s[i];
        if (0 < v && v < HIGH) {
            valid++;
            total += v;
            if (v > high) {
                high = v;
                high_at = i;
            }
            if (v < low) {
                low = v;
                low_at = i;
            }
            if (quiet) {
                int32_t before = m[PREVIOUS];
                if (before) {
                    int32_t step = v - before + MIDDLE;
                    if (step < 0)
                        step = 0;
                    if (step >= BINS)
                        step = BINS - 1;
                    bins[step]++;
                    steps++;
                }
            }
            m[SEEN] = 1;
            m[PREVIOUS] = v;
        } else {
            m[PREVIOUS] = 0;
            if (m[SEEN])
                lost++;
        }
        m += MEMORY_SIZE;
    }
    int32_t complete = lost ? 0 : 1;
    int32_t spread_at = low_at;
    if (valid * high - total > total - valid * low)
        spread_at = high_at;
    if (valid == 0)
        high = low = NA;
    feature(f, F_CELL_MAX_MV, high, high_at + 1, SCALARS + high_at, complete);
    feature(f, F_CELL_MIN_MV, low, low_at + 1, SCALARS + low_at, complete);
    feature(f, F_CELL_SPREAD_MV, valid > 1 ? high - low : NA, spread_at + 1, SCALARS + spread_at, complete);
    f[F_CELLS_VALID * FEATURE_SIZE] = valid;
    f[F_CELLS_LOST * FEATURE_SIZE] = lost;

    int32_t calm = quiet;
    if (quiet && n) {
        int32_t half = (steps + 1) / 2, median = 0, count = bins[0];
        while (count < half)
            count += bins[++median];
        int32_t first = median - p[P_CALM_MAD_MV] + 1, last = median + p[P_CALM_MAD_MV] - 1;
        if (first < 0)
            first = 0;
        if (last >= BINS)
            last = BINS - 1;
        count = 0;
        for (int32_t i = first; i <= last; i++)
            count += bins[i];
        calm = count * 2 > steps && 0 < median && median < BINS - 1;
    }
    f[F_CALM * FEATURE_SIZE] = calm;
    return n - valid - lost;
}

int32_t measure_probes(const Box *x)
{
    const int32_t *p = x->header;
    int32_t n = p[P_PROBES], base = SCALARS + p[P_CELLS];
    const int32_t *s = x->signals + base;
    int32_t *m = x->memory + p[P_CELLS] * MEMORY_SIZE, *f = x->features;
    int32_t high = NA, high_at = 0, low = MASK, low_at = 0;
    int32_t total = 0, valid = 0, lost = 0;
    for (int32_t i = 0; i < n; i++) {
        int32_t v = s[i];
        if (v != NA) {
            valid++;
            total += v;
            if (v > high) {
                high = v;
                high_at = i;
            }
            if (v < low) {
                low = v;
                low_at = i;
            }
            m[SEEN] = 1;
        } else if (m[SEEN]) {
            lost++;
        }
        m += MEMORY_SIZE;
    }
    int32_t complete = lost ? 0 : 1;
    int32_t spread = NA, spread_at = low_at;
    if (valid > 1) {
        spread = high - low;
        if (valid * high - total > total - valid * low)
            spread_at = high_at;
    }
    if (valid == 0)
        low = NA;
    feature(f, F_PROBE_MAX_DDEGC, high, high_at + 1, base + high_at, complete);
    feature(f, F_PROBE_MIN_DDEGC, low, low_at + 1, base + low_at, complete);
    feature(f, F_PROBE_SPREAD_DDEGC, spread, spread_at + 1, base + spread_at, complete);
    f[F_PROBES_VALID * FEATURE_SIZE] = valid;
    f[F_PROBES_LOST * FEATURE_SIZE] = lost;
    return n - valid - lost;
}

static void pack_feature(int32_t *f, int32_t number, int32_t value, int32_t slot, int32_t complete)
{
    f += number * FEATURE_SIZE;
    f[VALUE] = value;
    f[SLOT] = slot;
    f[COMPLETE] = complete;
}

int32_t measure_extremes(const Box *x, int32_t first, int32_t slot)
{
    int32_t high = x->signals[slot], low = x->signals[slot + 1];
    pack_feature(x->features, first, high, slot, 1);
    pack_feature(x->features, first + 1, low, slot + 1, 1);
    pack_feature(x->features, first + 2, high != NA && low != NA ? high - low : NA, slot, 1);
    return 0;
}

int32_t measure_pack(const Box *x)
{
    const int32_t *p = x->header, *s = x->signals;
    int32_t *f = x->features;
    int32_t voltage = s[PACK_VOLTAGE_MV], current = s[PACK_CURRENT_MA], soc = s[SOC_PERMILLE];
    int32_t sent = p[P_SENT];
    pack_feature(f, F_PACK_VOLTAGE_MV, voltage, PACK_VOLTAGE_MV, 1);

    for (int32_t side = 0; side < 2; side++) {
        int32_t limit = p[P_MAX_DISCHARGE_MA + side];
        int certain = limit > 0, missing = 0;
        if (sent >> (MAX_DISCHARGE_MA + side) & 1) {
            int32_t own = s[MAX_DISCHARGE_MA + side];
            if (own == NA)
                missing = 1;
            else if (limit == 0 || own < limit)
                limit = own;
        }
        if (limit < p[P_LIMIT_FLOOR_MA])
            limit = p[P_LIMIT_FLOOR_MA];
        int32_t permille = NA;
        if (current != NA) {
            int32_t flow = side == 0 ? current : -current;
            if (flow <= 0)
                permille = 0;
            else if (!missing || (certain && flow > limit))
                permille = flow * 100 / (limit / 10);
        }
        pack_feature(f, F_DISCHARGE_PERMILLE + side, permille, PACK_CURRENT_MA, 1);
    }

    int32_t ohm = s[INSULATION_OHM], ohm_per_v = NA;
    if (ohm != NA && ((sent >> INSULATION_VALID & 1) == 0 || s[INSULATION_VALID] == 1)) {
        int32_t by = voltage < CLASS_B_MV ? p[P_NOMINAL_MV] : voltage;
        ohm_per_v = ohm * 10 / (by / 100);
    }
    pack_feature(f, F_INSULATION_OHM_PER_V, ohm_per_v, INSULATION_OHM, 1);
    pack_feature(f, F_SOC_PERMILLE, soc, SOC_PERMILLE, 1);

    int32_t top = f[F_CELL_MAX_MV * FEATURE_SIZE + VALUE], overcharge = NA;
    int full = top >= p[P_OVERCHARGE_MV] || soc > p[P_OVERCHARGE_PERMILLE];
    if (current != NA) {
        if (current > -p[P_INFLOW_MA]) {
            overcharge = 0;
        } else if (full) {
            overcharge = 1;
        } else if (f[F_CELL_MAX_MV * FEATURE_SIZE + COMPLETE]) {
            int cells_said = top != NA || (p[P_CELLS] == 0 && (sent >> CELL_MAX_MV & 1) == 0);
            int soc_said = soc != NA || (sent >> SOC_PERMILLE & 1) == 0;
            if (cells_said && soc_said)
                overcharge = 0;
        }
    }
    pack_feature(f, F_OVERCHARGE, overcharge, PACK_CURRENT_MA, 1);

    int32_t closed = s[HVIL_OK];
    pack_feature(f, F_HVIL_OPEN, 0 <= closed && closed <= 1 ? 1 - closed : NA, HVIL_OK, 1);

    int32_t level = s[BMS_LEVEL], slot = BMS_LEVEL;
    int level_sent = sent >> BMS_LEVEL & 1;
    int32_t complete = level_sent && level == NA ? 0 : 1;
    for (int32_t i = BMS_FLAG_9; i < SCALARS; i++) {
        int32_t flag = s[i];
        if (flag == 1 && level < 1) {
            level = 1;
            slot = i;
        } else if (flag == 0 && level == NA && !level_sent) {
            level = 0;
            slot = i;
        }
        if (sent >> i & 1 && flag != 0 && flag != 1)
            complete = 0;
    }
    pack_feature(f, F_BMS_LEVEL, level, slot, complete);
    f[F_CHARGING * FEATURE_SIZE] = s[CHARGING];
    f[F_CONTACTORS * FEATURE_SIZE] = s[CONTACTORS];
    f[F_VEHICLE_ON * FEATURE_SIZE] = s[VEHICLE_ON];
    return 0;
}

int32_t quiet_current(const Box *x)
{
    int32_t *c = x->clock;
    const int32_t *p = x->header;
    int32_t v = x->signals[PACK_CURRENT_MA];
    if (v == NA || v > p[P_CALM_MA] || v < -p[P_CALM_MA]) {
        c[QUIET_MS] = 0;
        c[QUIET_LOW_MA] = NA;
        return 0;
    }
    int32_t low = c[QUIET_LOW_MA], high = c[QUIET_HIGH_MA];
    int known = low != NA;
    if (v < low)
        low = v;
    if (v > high)
        high = v;
    if (!known || high - low >= p[P_CALM_STEP_MA]) {
        c[QUIET_MS] = 0;
        c[QUIET_LOW_MA] = c[QUIET_HIGH_MA] = v;
        return 0;
    }
    c[QUIET_LOW_MA] = low;
    c[QUIET_HIGH_MA] = high;
    int32_t quiet_ms = c[QUIET_MS] + p[P_SCAN_MS];
    if (quiet_ms >= p[P_CALM_MS]) {
        c[QUIET_MS] = p[P_CALM_MS];
        return 1;
    }
    c[QUIET_MS] = quiet_ms;
    return 0;
}

int32_t measure(const Box *x)
{
    int32_t absent = measure_cells(x, quiet_current(x));
    absent += measure_probes(x);
    if (x->header[P_CELLS] == 0)
        measure_extremes(x, F_CELL_MAX_MV, CELL_MAX_MV);
    if (x->header[P_PROBES] == 0)
        measure_extremes(x, F_PROBE_MAX_DDEGC, PROBE_MAX_DDEGC);
    measure_pack(x);
    return absent;
}

/* --- judge.py --------------------------------------------------------------------------------------------------- */

int32_t emit(const Box *x, int32_t rule, int32_t before, int32_t level, int32_t where, int32_t value)
{
    int32_t *c = x->clock, *e = x->events;
    c[EVENTS] = plus(c[EVENTS], 1);
    int32_t head = e[E_HEAD];
    if (((head - e[E_TAIL]) & MASK) >= e[E_CAPACITY]) {
        e[E_LOST] = plus(e[E_LOST], 1);
        return 0;
    }
    int32_t *at = e + E_FIRST + head % e[E_CAPACITY] * EVENT_SIZE;
    at[EVENT_T_MS] = (c[NOW_MS] - c[OFFSET_MS]) & MASK;
    at[EVENT_RULE] = rule;
    at[EVENT_BEFORE] = before;
    at[EVENT_LEVEL] = level;
    at[EVENT_WHERE] = where;
    at[EVENT_VALUE] = value;
    e[E_HEAD] = plus(head, 1);
    return 1;
}

int32_t judge(const Box *x)
{
    int32_t *c = x->clock, *r = x->rules;
    const int32_t *g = x->groups, *s = x->signals, *o = x->owners, *p = x->rule_table;
    int32_t scan_ms = x->header[P_SCAN_MS], n_cells = x->header[P_CELLS], n_rules = x->header[P_RULES];
    int calm = x->features[F_CALM * FEATURE_SIZE] == 1;
    int32_t moved = 0, top = 0, flags = 0;
    for (int32_t rule = 0; rule < n_rules; rule++, p += RULE_TABLE_SIZE, r += RULE_SIZE) {
        if (!p[P_ACTIVE])
            continue;
        const int32_t *f = x->features + p[P_FEATURE] * FEATURE_SIZE;
        int32_t value = f[VALUE], gate = 1;
        if (p[P_GATE]) {
            gate = x->features[(p[P_GATE] - 1) * FEATURE_SIZE];
            if (gate != 0 && gate != 1)
                gate = -1;
        }
        int known = value != NA && gate >= 0;
        int32_t first = p[P_FIRST_LIMIT];
        int above = p[P_ABOVE];
        int reached = known && gate == 1 && (above ? value >= first : value <= first);
        if (reached || r[ASSERTED] || r[ASSERTING]) {
            int32_t complete = f[COMPLETE], slot = f[SLOT], where = f[WHERE], shown = value;
            int32_t asserted = r[ASSERTED], asserting = r[ASSERTING], clearing = r[CLEARING];
            for (int32_t k = 0; k < 3; k++) {
                int32_t bit = 1 << k, limit = p[P_LIMIT + k];
                if (limit == NA)
                    continue;
                int hit = 0;
                if (reached) {
                    hit = above ? value >= limit : value <= limit;
                    if (p[P_CALM_LEVELS] & bit && !calm)
                        hit = 0;
                }
                if (!(asserted & bit)) {
                    int32_t *timer = r + ASSERT_MS + k, needed_ms = p[P_ASSERT_MS + k];
                    if (hit && !(asserting & bit)) {
                        asserting |= bit;
                        *timer = 0;
                        r[FIRST_SLOT + k] = slot;
                        r[FIRST_ARRIVAL + k] = g[o[slot] * GROUP_SIZE + ARRIVALS];
                        moved++;
                    } else if (asserting & bit) {
                        if (hit || (gate != 0 && (!known || s[r[FIRST_SLOT + k]] == NA))) {
                            if (*timer < needed_ms) {
                                *timer += scan_ms;
                                moved++;
                            }
                        } else {
                            asserting ^= bit;
                        }
                    }
                    if (asserting & bit && *timer >= needed_ms) {
                        int32_t started_by = r[FIRST_SLOT + k];
                        int32_t arrived = g[o[started_by] * GROUP_SIZE + ARRIVALS] - r[FIRST_ARRIVAL + k];
                        if (arrived || p[P_SAMPLES] < 2) {
                            asserted |= bit;
                            asserting ^= bit;
                            clearing &= 7 - bit;
                            if (!hit) {
                                shown = NA;
                                where = started_by - SCALARS + 1;
                                if (where < 1)
                                    where = 0;
                                else if (where > n_cells)
                                    where -= n_cells;
                            }
                        }
                    }
                } else if (known && !p[P_LATCHED]) {
                    int32_t margin = p[P_CLEAR_AT + k], *timer = r + CLEAR_MS + k;
                    if (gate == 0 || (above ? value <= margin : value >= margin)) {
                        if (complete || gate == 0) {
                            if (clearing & bit) {
                                *timer += scan_ms;
                            } else {
                                clearing |= bit;
                                *timer = 0;
                            }
                            moved++;
                            if (*timer >= p[P_CLEAR_MS]) {
                                asserted ^= bit;
                                clearing ^= bit;
                            }
                        }
                    } else {
                        clearing &= 7 - bit;
                    }
                }
            }
            r[ASSERTED] = asserted;
            r[ASSERTING] = asserting;
            r[CLEARING] = clearing;
            int32_t level = asserted & 4 ? 3 : asserted & 2 ? 2 : asserted & 1;
            if (level != r[LEVEL_NOW]) {
                emit(x, rule, r[LEVEL_NOW], level, where, shown);
                r[LEVEL_NOW] = level;
            }
        }
        int32_t level = r[LEVEL_NOW];
        if (level) {
            flags |= p[P_FLAG];
            if (level > top && p[P_OWN])
                top = level;
        }
    }
    if (s[BMS_FLAG_9] == 1)
        flags |= 1 << 9;
    for (int32_t i = 0; i < 4; i++)
        if (s[BMS_FLAG_12 + i] == 1)
            flags |= 1 << (12 + i);
    if (s[BMS_FLAG_12 + 4] == 1)
        flags |= 1 << 17;
    c[FLAGS] = flags;
    c[LEVEL] = top;
    if (top > c[MAX_LEVEL])
        c[MAX_LEVEL] = top;
    return moved;
}
