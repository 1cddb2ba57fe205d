/* Counts the PIT's ticks at 1 kHz for a second by its TSC, busy or asleep in between, and powers
 * itself off: "busy", "asleep". */
#include "test/guests/lib/guest.h"

#define COUNT   1193u /* PIT ticks */
#define PM1_CNT 0x604u
#define SLP_EN  0x2000u

static volatile uint32_t ticks;

static void on_tick(void)
{
    ticks++;
}

void guest_main(const char *cmdline)
{
    bool busy = strcmp(cmdline, "busy") == 0;
    uint64_t hz = tsc_hz(), start, end;

    irq_handle(IRQ_PIT, on_tick);
    pit_periodic(COUNT);
    sleep_until_irq();
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
