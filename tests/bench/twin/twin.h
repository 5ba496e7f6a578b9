/* What core.c, the generated decoder.c and main.c share. */

#include <stdint.h>
#include "layout.h"

#define BINS 64
#define MIDDLE 32
#define FAR 0x10000000
#define CLASS_B_MV 60000
#define REBASE_MS 1000

/* What the core is given. */
typedef struct {
    int32_t *state;
    const int32_t *params;
    int32_t *events, *scratch;
} Box;

int32_t scan(const Box *x);
int32_t advance(const Box *x, int32_t t_ms);
int32_t drain(const Box *x, const uint8_t *ring, int32_t count);
