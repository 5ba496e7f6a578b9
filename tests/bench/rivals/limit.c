/* The limit: how fast a C program reads a candump log and decodes the signals in use with cantools' generated source.
 *
 *     limit LOG [FRAMES]
 *
 * It decodes only: no checksums, no counters, no ages, no rules. `decode.h` is made by limit.py: a switch over the
 * identifiers in use. It prints one JSON object: frames, lines it would not take, seconds of reading and decoding, and
 * two sums over all decoded signals, of raw and of physical values, so that no compiler may leave the work out.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vehicle.h"

static int64_t raw_sum;
static double physical_sum;
static uint64_t signals;

#define TAKE(raw, physical)                                                                                            \
    do {                                                                                                               \
        raw_sum += (int64_t)(raw);                                                                                     \
        physical_sum += (physical);                                                                                    \
        signals += 1;                                                                                                  \
    } while (0)

#include "decode.h" /* static int decode(uint32_t id, int extended, const uint8_t *data, size_t length) */

enum { BLOCK = 1 << 20, LINE = 4096 };

static int8_t hex[256];

static void make_hex(void)
{
    memset(hex, -1, sizeof hex);
    for (int i = 0; i < 10; i++)
        hex['0' + i] = (int8_t)i;
    for (int i = 0; i < 6; i++)
        hex['A' + i] = hex['a' + i] = (int8_t)(10 + i);
}

/* One line `(seconds.micros) channel ID#DATA`. Returns 1, or 0 where it is not that. */
static int take(const unsigned char *at, const unsigned char *end, uint64_t *t_us)
{
    uint64_t seconds = 0, micros = 0;
    uint32_t id = 0;
    uint8_t data[8];
    size_t length = 0;
    int digits = 0;

    if (at == end || *at++ != '(')
        return 0;
    for (; at < end && (unsigned)(*at - '0') < 10; at++)
        seconds = seconds * 10 + (*at - '0');
    if (at == end || *at++ != '.')
        return 0;
    for (; at < end && (unsigned)(*at - '0') < 10; at++, digits++)
        micros = micros * 10 + (*at - '0');
    if (digits != 6 || end - at < 3 || at[0] != ')' || at[1] != ' ')
        return 0;
    for (at += 2; at < end && *at != ' '; at++)
        ;
    if (at++ == end)
        return 0;
    for (digits = 0; at < end && hex[*at] >= 0; at++, digits++)
        id = id << 4 | (uint32_t)hex[*at];
    if ((digits != 3 && digits != 8) || at == end || *at++ != '#')
        return 0;
    for (; end - at >= 2 && length < 8; at += 2) {
        int high = hex[at[0]], low = hex[at[1]];
        if ((high | low) < 0)
            return 0;
        data[length++] = (uint8_t)(high << 4 | low);
    }
    if (at != end)
        return 0;
    *t_us = seconds * 1000000 + micros;
    decode(id, digits == 8, data, length);
    return 1;
}

int main(int count, char **words)
{
    static unsigned char buffer[BLOCK + LINE];
    uint64_t frames = 0, refused = 0, backward = 0, last = 0, t_us = 0;
    uint64_t most = count > 2 ? strtoull(words[2], NULL, 10) : UINT64_MAX;
    size_t rest = 0, got;
    struct timespec start, stop;
    FILE *log = count > 1 ? fopen(words[1], "rb") : NULL;

    if (!log) {
        fprintf(stderr, "limit: expected a candump log that can be read\n");
        return 2;
    }
    setvbuf(log, NULL, _IONBF, 0);
    make_hex();
    clock_gettime(CLOCK_MONOTONIC, &start);
    while (frames < most && (got = fread(buffer + rest, 1, BLOCK, log)) > 0) {
        unsigned char *at = buffer, *end = buffer + rest + got, *line_end;
        while (frames < most && (line_end = memchr(at, '\n', (size_t)(end - at)))) {
            if (take(at, line_end, &t_us)) {
                frames++;
                backward += t_us < last;
                last = t_us;
            } else {
                refused++;
            }
            at = line_end + 1;
        }
        rest = (size_t)(end - at);
        if (rest > LINE)
            rest = 0;
        memmove(buffer, at, rest);
    }
    clock_gettime(CLOCK_MONOTONIC, &stop);
    printf("{\"frames\": %llu, \"refused\": %llu, \"backward\": %llu, \"signals\": %llu, \"raw_sum\": %lld, "
           "\"physical_sum\": %.6f, \"seconds\": %.6f}\n",
           (unsigned long long)frames, (unsigned long long)refused, (unsigned long long)backward,
           (unsigned long long)signals, (long long)raw_sum, physical_sum,
           (double)(stop.tv_sec - start.tv_sec) + (double)(stop.tv_nsec - start.tv_nsec) / 1e9);
    return 0;
}
