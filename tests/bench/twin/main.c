/* Runs jobs that lie in the board's PSRAM, prints ticks of the timer and states over the serial port, ends QEMU. */

#include "twin.h"

#define STACK_TOP 0x00400000

typedef struct {
    uint32_t kind;  /* 0: nothing, 1: drain records in batches, 2: scan once, 3: advance to the next scan */
    const int32_t *state;  /* to begin with; 0: all zero */
    const uint8_t *records;
    int32_t count, batch;
    uint32_t show;  /* 1: print the state and the events afterwards */
} Job;

typedef struct {
    int32_t params_words, state_words, jobs;
    int32_t *params;
    const Job *job;
} Head;

#define HEAD ((const Head *)0x21000000)
#define TIMER ((volatile uint32_t *)0x40000000)
#define UART ((volatile uint32_t *)0x40004000)

static int32_t state[1 << 16], events[E_FIRST + 4096 * EVENT_SIZE], scratch[SCRATCH_SIZE];
static Box box = {state, 0, events, scratch};

static void put(char letter)
{
    while (UART[1] & 1)
        ;
    UART[0] = (uint32_t)letter;
}

static void put_hex(uint32_t n, int digits)
{
    while (digits--)
        put("0123456789abcdef"[n >> 4 * digits & 15]);
}

static void put_bytes(const int32_t *words, int32_t count)
{
    put(' ');
    for (int32_t i = 0; i < count; i++)
        put_hex(__builtin_bswap32((uint32_t)words[i]), 8);
}

static void put_words(const char *text)
{
    while (*text)
        put(*text++);
}

static void start_from(const int32_t *from)
{
    for (int32_t i = 0; i < HEAD->state_words; i++)
        state[i] = from ? from[i] : 0;
    events[E_HEAD] = events[E_TAIL] = events[E_LOST] = 0;
    events[E_CAPACITY] = 4096;
}

static uint32_t run(const Job *job)
{
    uint32_t before = TIMER[1];
    switch (job->kind) {
    case 1:
        for (int32_t n = 0; n + job->batch <= job->count; n += job->batch)
            drain(&box, job->records + n * RECORD_BYTES, job->batch);
        break;
    case 2:
        scan(&box);
        break;
    case 3:
        advance(&box, state[DUE_MS]);
        break;
    }
    return before - TIMER[1];
}

void start(void)
{
    UART[4] = 16;
    UART[2] = 1;
    TIMER[2] = TIMER[1] = 0xffffffff;
    TIMER[0] = 1;
    box.params = HEAD->params;
    for (int32_t n = 0; n < HEAD->jobs; n++) {
        const Job *job = HEAD->job + n;
        start_from(job->state);
        if (job->kind == 2)
            state[NOW_MS] = state[DUE_MS];
        uint32_t ticks = run(job);
        put_words("C ");
        put_hex(ticks, 8);
        if (job->show) {
            put_bytes(state, HEAD->state_words);
            put_bytes(events + E_FIRST, events[E_HEAD] * EVENT_SIZE);
        }
        put('\n');
    }
    register uint32_t r0 __asm__("r0") = 0x18, r1 __asm__("r1") = 0x20026;  /* semihosting: the program has ended */
    __asm__ volatile("bkpt 0xab" : : "r"(r0), "r"(r1));
    for (;;)
        ;
}

__attribute__((section(".vectors"), used)) static const uintptr_t vectors[] = {STACK_TOP, (uintptr_t)start};
