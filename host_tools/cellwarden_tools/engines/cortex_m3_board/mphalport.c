// What the firmware for the emulated MPS2-AN385 has in place of the port's own file: a console that hears Ctrl-C, and
// clocks. Where no heap is told from outside, nothing interrupts.

#include "py/mphal.h"
#include "py/runtime.h"
#include "py/stream.h"
#include "uart.h"

#define WORD(address) (*(volatile uint32_t *)(address))
#define HEAP_BYTES WORD(0x20000000) // of a box; 0: the core alone is to be run
#define RECEIVED (4096) // bytes that wait to be read, less one
#define FPGAIO_COUNTER WORD(0x40028018)
#define FPGAIO_PRESCALE WORD(0x4002801C)
#define FPGAIO_HZ (20000000)
#define SYSTICK_CTRL WORD(0xE000E010)
#define SYSTICK_LOAD WORD(0xE000E014)
#define SYSTICK_ON (7) // the processor's clock, with interrupts
#define CPU_HZ (25000000)
#define NVIC_ENABLE WORD(0xE000E100)
#define VTOR WORD(0xE000ED08)
#define AIRCR WORD(0xE000ED0C)
#define RESET (0x05FA0004)
#define SYS_TIME (0x11)
#define TX_FULL (1 << 0) // of state
#define RX_FULL (1 << 1) // of state and interrupts
#define ON (0xB) // of control: transmitter, receiver, its interrupts
#define DEAF (0x3)

typedef struct {
    volatile uint32_t data, state, control, interrupts, divider;
} uart_t;

#define UART0 ((uart_t *)0x40004000)

enum { SYSTICK = 15, UART0_RX = 16, VECTORS = 17 };

extern const uint32_t isr_vector[];
static uint32_t vectors[VECTORS] __attribute__((aligned(128)));
static volatile uint32_t put, taken; // the interrupt writes the one, the reader the other
static volatile uint8_t received[RECEIVED];

// What there is no room for stays at the other side of the line.
static void on_received(void) {
    uint32_t after = (put + 1) % RECEIVED;
    if (after == taken) {
        UART0->control = DEAF;
        return;
    }
    UART0->interrupts = RX_FULL;
    int c = UART0->data & 0xFF;
    if (c == mp_interrupt_char) {
        mp_sched_keyboard_interrupt();
    } else {
        received[put] = c;
        put = after;
    }
}

// Only ends a wait.
static void on_tick(void) {
}

size_t board_heap_bytes(size_t otherwise) {
    return HEAP_BYTES ? HEAP_BYTES : otherwise;
}

void board_init(void) {
    if (!HEAP_BYTES) {
        return;
    }
    FPGAIO_PRESCALE = FPGAIO_HZ / 1000 - 1;
    for (int i = 0; i < SYSTICK; i++) {
        vectors[i] = isr_vector[i];
    }
    vectors[SYSTICK] = (uint32_t)on_tick;
    vectors[UART0_RX] = (uint32_t)on_received;
    VTOR = (uint32_t)vectors;
    SYSTICK_LOAD = CPU_HZ / 1000 - 1;
    SYSTICK_CTRL = SYSTICK_ON;
    NVIC_ENABLE = 1 << (UART0_RX - 16);
    UART0->control = ON;
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
    while (taken == put) {
        UART0->control = ON;
        wait();
    }
    int c = received[taken];
    taken = (taken + 1) % RECEIVED;
    return c;
}

uintptr_t mp_hal_stdio_poll(uintptr_t flags) {
    return flags & ((UART0->state & TX_FULL ? 0 : MP_STREAM_POLL_WR) | (taken == put ? 0 : MP_STREAM_POLL_RD));
}

mp_uint_t mp_hal_stdout_tx_strn(const char *text, size_t length) {
    uart_tx_strn(text, length);
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
