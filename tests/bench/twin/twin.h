/* What main.c and the written core.c and decoder.c share. */

#include <stdint.h>
#include "layout.h"

/* What the core is given. */
typedef struct {
    int32_t *state, *params, *events, *scratch;
} Box;

/* Python's // and %: towards minus infinity. */
static inline int32_t floor_div(int32_t a, int32_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }
static inline int32_t floor_mod(int32_t a, int32_t b) { return a % b + (a % b != 0 && (a < 0) != (b < 0)) * b; }

int32_t scan(const Box *x);
int32_t advance(const Box *x, int32_t t_ms);
int32_t notice(const Box *x, int32_t kind, int32_t value, int32_t channel);
int32_t drain(const Box *x, const uint8_t *ring, int32_t count);
