// What the firmware for the emulated MPS2-AN385 has in place of the port's own file: a console that hears Ctrl-C, and
// clocks. The emulator's UART takes a byte at a time; a box's console is a pair of rings in memory instead, as a UART
// with DMA fills them. Where no heap is told from outside, the UART is used, and nothing interrupts.

#include "py/mphal.h"
#include "py/runtime.h"
#include "py/stream.h"
#include "uart.h"

#define WORD(address) (*(volatile uint32_t *)(address))
#define HEAP_BYTES WORD(0x20000000) // of a box; 0: the core alone is to be run
#define CONSOLE ((line_t *)0x217E0000) // hil/cortex_m3.py has the other end
#define RING (16384)
#define FPGAIO_COUNTER WORD(0x40028018)
#define FPGAIO_PRESCALE WORD(0x4002801C)
#define FPGAIO_HZ (20000000)
#define SYSTICK_CTRL WORD(0xE000E010)
#define SYSTICK_LOAD WORD(0xE000E014)
#define SYSTICK_ON (7) // the processor's clock, with interrupts
#define CPU_HZ (25000000)
#define VTOR WORD(0xE000ED08)
#define AIRCR WORD(0xE000ED0C)
#define RESET (0x05FA0004)
#define SYS_TIME (0x11)
#define UNREAD_MS (1000) // what nobody reads for so long is lost

// As canbus/shared_line.py has it.
typedef struct {
    volatile uint32_t put, taken; // to the board
    volatile uint32_t said, heard; // by the board
    volatile uint8_t to[RING], from[RING];
} line_t;

enum { SYSTICK = 15, VECTORS = 16 };

extern const uint32_t isr_vector[];
static uint32_t vectors[VECTORS] __attribute__((aligned(128)));
static volatile uint32_t looked; // for Ctrl-C, up to here; what was not looked at is not given to a reader

// Each millisecond: ends a wait, and hears Ctrl-C, for which all before it is given up.
static void on_tick(void) {
    while (looked != CONSOLE->put) {
        int c = CONSOLE->to[looked];
        looked = (looked + 1) % RING;
        if (c == mp_interrupt_char) {
            CONSOLE->taken = looked;
            mp_sched_keyboard_interrupt();
        }
    }
}

size_t board_heap_bytes(size_t otherwise) {
    return HEAP_BYTES ? HEAP_BYTES : otherwise;
}

void board_init(void) {
    if (!HEAP_BYTES) {
        return;
    }
    looked = CONSOLE->taken;
    FPGAIO_PRESCALE = FPGAIO_HZ / 1000 - 1;
    for (int i = 0; i < SYSTICK; i++) {
        vectors[i] = isr_vector[i];
    }
    vectors[SYSTICK] = (uint32_t)on_tick;
    VTOR = (uint32_t)vectors;
    SYSTICK_LOAD = CPU_HZ / 1000 - 1;
    SYSTICK_CTRL = SYSTICK_ON;
}

// Returns where the emulator is to end instead.
void board_reset(void) {
    if (HEAP_BYTES) {
        AIRCR = RESET;
        for (;;) {
        }
    }
}

static void wait(void) {
    mp_handle_pending(true);
    __asm volatile ("wfi");
}

int mp_hal_stdin_rx_chr(void) {
    for (;;) {
        mp_uint_t state = MICROPY_BEGIN_ATOMIC_SECTION(); // on_tick() moves it, too
        uint32_t at = CONSOLE->taken;
        int there = at != looked;
        int c = CONSOLE->to[at];
        if (there) {
            CONSOLE->taken = (at + 1) % RING;
        }
        MICROPY_END_ATOMIC_SECTION(state);
        if (there) {
            return c;
        }
        wait();
    }
}

static int is_full(void) {
    return (CONSOLE->said + 1) % RING == CONSOLE->heard;
}

uintptr_t mp_hal_stdio_poll(uintptr_t flags) {
    return flags & ((is_full() ? 0 : MP_STREAM_POLL_WR) | (CONSOLE->taken == looked ? 0 : MP_STREAM_POLL_RD));
}

mp_uint_t mp_hal_stdout_tx_strn(const char *text, size_t length) {
    if (!HEAP_BYTES) {
        uart_tx_strn(text, length);
        return length;
    }
    mp_uint_t began = FPGAIO_COUNTER;
    for (size_t i = 0; i < length; i++) {
        while (is_full()) {
            if (FPGAIO_COUNTER - began > UNREAD_MS) {
                return i;
            }
        }
        CONSOLE->from[CONSOLE->said] = text[i];
        CONSOLE->said = (CONSOLE->said + 1) % RING;
    }
    return length;
}

mp_uint_t mp_hal_ticks_ms(void) {
    return FPGAIO_COUNTER;
}

mp_uint_t mp_hal_ticks_us(void) {
    return 1000 * FPGAIO_COUNTER;
}

mp_uint_t mp_hal_ticks_cpu(void) {
    return FPGAIO_COUNTER;
}

void mp_hal_delay_ms(mp_uint_t ms) {
    mp_uint_t began = FPGAIO_COUNTER;
    while (FPGAIO_COUNTER - began < ms) {
        wait();
    }
}

void mp_hal_delay_us(mp_uint_t us) {
    mp_hal_delay_ms((us + 999) / 1000);
}

// The board has no clock of the time of day; the emulator's stands for one.
uint64_t mp_hal_time_ns(void) {
    register uint32_t seconds __asm__ ("r0") = SYS_TIME;
    register uint32_t nothing __asm__ ("r1") = 0;
    __asm volatile ("bkpt 0xAB" : "+r" (seconds) : "r" (nothing) : "memory");
    return 1000000000ULL * seconds;
}
