#include "arch/x86/cpu/tsc.h"

#include "arch/x86/cpu/io.h"
#include "hv/arch.h"
#include "hv/panic.h"

/* Intel 8254 "Programmable Interval Timer"; channel 2's gate and output are in port 0x61. */
#define PIT_HZ         1193182ull
#define PIT_CHANNEL2   0x42u
#define PIT_COMMAND    0x43u
#define PIT_MODE0      0xb0u /* channel 2, both bytes, mode 0 */
#define PORT_SPEAKER   0x61u
#define SPEAKER_GATE   0x01u
#define SPEAKER_DATA   0x02u
#define SPEAKER_OUTPUT 0x20u

#define COUNT          23864u /* 20 ms */
#define RUNS           3u
#define TRIES          50000000u

static uint64_t hz;

uint64_t arch_tsc_hz(void)
{
    return hz;
}

/* TSC ticks while the PIT counts COUNT down, or 0 if it never ends. */
static uint64_t measure(void)
{
    uint8_t control = (uint8_t)((inb(PORT_SPEAKER) & ~SPEAKER_DATA) | SPEAKER_GATE);
    uint64_t from;

    outb(PORT_SPEAKER, control);
    outb(PIT_COMMAND, PIT_MODE0);
    outb(PIT_CHANNEL2, COUNT & 0xff);
    outb(PIT_CHANNEL2, COUNT >> 8);
    from = arch_tsc();
    for (unsigned i = 0; i < TRIES; i++)
        if (inb(PORT_SPEAKER) & SPEAKER_OUTPUT)
            return arch_tsc() - from;
    return 0;
}

void tsc_calibrate(void)
{
    uint64_t best = UINT64_MAX;

    /* A measurement can only come out too long (an SMI, a busy emulator): the shortest is right. */
    for (unsigned i = 0; i < RUNS; i++) {
        uint64_t t = measure();

        if (t == 0)
            panic("the PIT's channel 2 does not count: no way to measure time");
        best = min_u64(best, t);
    }
    hz = best * PIT_HZ / COUNT;
}

void tsc_wait_us(uint64_t us)
{
    uint64_t from = arch_tsc(), ticks = hz / 1000 * us / 1000 + 1;

    while (arch_tsc() - from < ticks)
        __builtin_ia32_pause();
}
