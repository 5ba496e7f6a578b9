// Behind the port's own settings: what a box needs beside them.
#undef MICROPY_PY_TIME
#define MICROPY_PY_TIME (1)
#define MICROPY_PY_TIME_GMTIME_LOCALTIME_MKTIME (1)
#define MICROPY_PY_TIME_TIME_TIME_NS (1)
#define MICROPY_PY_TIME_INCLUDEFILE "ports/qemu/modtime.c"
#define MICROPY_EPOCH_IS_1970 (1)
#undef MICROPY_PY_SELECT
#define MICROPY_PY_SELECT (1)
#undef MICROPY_PY_SYS_STDIO_BUFFER
#define MICROPY_PY_SYS_STDIO_BUFFER (1)
#define MICROPY_PY_OS_SYNC (1)

// The port has no interrupts, and so no such sections; the board's tick makes them necessary.
#define MICROPY_BEGIN_ATOMIC_SECTION() board_hold_interrupts()
#define MICROPY_END_ATOMIC_SECTION(state) board_release_interrupts(state)

static inline unsigned board_hold_interrupts(void) {
    unsigned state;
    __asm volatile ("mrs %0, primask\n\tcpsid i" : "=r" (state) : : "memory");
    return state;
}

static inline void board_release_interrupts(unsigned state) {
    __asm volatile ("msr primask, %0" : : "r" (state) : "memory");
}
