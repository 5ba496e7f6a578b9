/* What core.c, the generated decoder.c and main.c share. */

#include <stdint.h>
#include "layout.h"

#define HIGH 0x10000
#define BINS 64
#define MIDDLE 32
#define CLASS_B_MV 60000
#define REBASE_MS 1000

/* The box: the sections of state and params, in the core's order. */
typedef struct {
    int32_t *clock, *messages, *groups, *signals, *memory, *features, *rules;
    const int32_t *header, *group_table, *members, *owners, *rule_table, *crc;
    int32_t *events, *scratch;
} Box;

int32_t expire(const Box *x);
int32_t scan(const Box *x);
int32_t advance(const Box *x, int32_t t_ms);
int32_t measure(const Box *x);
int32_t measure_cells(const Box *x, int32_t quiet);
int32_t measure_probes(const Box *x);
int32_t measure_extremes(const Box *x, int32_t first, int32_t slot);
int32_t measure_pack(const Box *x);
int32_t quiet_current(const Box *x);
int32_t judge(const Box *x);
int32_t emit(const Box *x, int32_t rule, int32_t before, int32_t level, int32_t where, int32_t value);
int32_t drain(const Box *x, const uint8_t *ring, int32_t count);
