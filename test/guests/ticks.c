/* Counts the PIT's ticks at 1 kHz for a second by its TSC, busy or asleep in between, and powers
 * itself off: "busy", "asleep". A guest that sleeps begins when its ticks are regular: while others
 * are made on its core some come late, and are owed. */
#include "test/guests/lib/guest.h"

#define COUNT   1193u /* PIT ticks */
#define REGULAR 20u   /* ticks in a row */
#define PM1_CNT 0x604u
#define SLP_EN  0x2000u

static volatile uint32_t ticks;

static void on_tick(void)
{
    ticks++;
}

static void wait_until_regular(uint64_t period)
{
    uint64_t last = tsc(), now;

    for (unsigned regular = 0; regular < REGULAR; last = now) {
        sleep_until_irq();
        now = tsc();
        regular = now - last > period / 2 && now - last < period + period / 2 ? regular + 1 : 0;
    }
}

void guest_main(const char *cmdline)
{
    bool busy = strcmp(cmdline, "busy") == 0;
    uint64_t hz = tsc_hz(), start, end;

    irq_handle(IRQ_PIT, on_tick);
    pit_periodic(COUNT);
    sleep_until_irq();
    if (!busy)
        wait_until_regular(hz * COUNT / PIT_HZ);
    ticks = 0;
    start = tsc();
    do {
        if (busy) {
            __asm__ volatile("sti" ::: "memory");
            for (volatile uint32_t i = 0; i < 100; i++)
                ;
            __asm__ volatile("cli" ::: "memory");
        } else {
            sleep_until_irq();
        }
        end = tsc();
    } while (end < start + hz);
    say("ticks: %s, %u of %lu\n", cmdline, ticks, (end - start) * PIT_HZ / hz / COUNT);
    outw(PM1_CNT, SLP_EN);
}
