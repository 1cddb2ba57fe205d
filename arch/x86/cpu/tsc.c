#include "arch/x86/cpu/tsc.h"

#include "arch/x86/cpu/calibrate.h"
#include "arch/x86/cpu/cpuid.h"
#include "arch/x86/cpu/io.h"
#include "hv/arch.h"
#include "hv/fmt.h"
#include "hv/log.h"
#include "hv/panic.h"

/* Intel 8254 "Programmable Interval Timer"; channel 2's gate and output are in port 0x61. */
#define PIT_CHANNEL2      0x42u
#define PIT_COMMAND       0x43u
#define PIT_MODE0         0xb0u /* channel 2, both bytes, mode 0 */
#define PORT_SPEAKER      0x61u
#define SPEAKER_GATE      0x01u
#define SPEAKER_DATA      0x02u
#define SPEAKER_OUTPUT    0x20u

#define COUNT             23864u /* 20 ms */
#define RUN_PER_SECOND    50u    /* the same */
#define TRIES             5000000u
#define PIT_TRIES         250000u /* no PC reads that port as often in 20 ms */

/* IA-PC HPET specification 1.0a "Memory Map": in units of 8 bytes. The counter may have 32 bits;
 * only these are used. */
#define HPET_SIZE         1024u
#define HPET_CAPABILITIES 0u
#define HPET_CONFIG       2u
#define HPET_ENABLE       1ull
#define HPET_COUNTER      30u
#define HPET_BITS         32u
#define PM_TIMER_BITS     24u /* or 32, of which only these are used */

static uint64_t hz;
static uint16_t pm_port;
static volatile uint64_t *hpet;
static uint64_t clock_hz[CALIBRATE_CLOCKS] = {[CALIBRATE_PIT] = CALIBRATE_PIT_HZ};
static bool pit_counts = true;

uint64_t arch_tsc_hz(void)
{
    return hz;
}

/* Some chipsets change it while it is read: three values in a row must be in order (Intel's errata
 * for the PIIX4 and ICH4). */
static uint32_t read_pm_timer(void)
{
    uint32_t a = inl(pm_port), b = inl(pm_port), c = inl(pm_port);

    for (unsigned i = 0; i < 10 && (a > b || b > c); i++) {
        a = b;
        b = c;
        c = inl(pm_port);
    }
    return b;
}

static uint64_t read_clock(enum calibrate_clock c)
{
    if (c == CALIBRATE_PM_TIMER)
        return read_pm_timer();
    return *(const volatile uint32_t *)(const volatile void *)&hpet[HPET_COUNTER];
}

static uint64_t elapsed(enum calibrate_clock c, uint64_t from)
{
    return calibrate_elapsed(from, read_clock(c),
                             c == CALIBRATE_PM_TIMER ? PM_TIMER_BITS : HPET_BITS);
}

/* True if each other clock that counts has counted this long. False if none counts. */
static bool others_counted(const uint64_t *from, unsigned runs)
{
    bool some = false;

    for (unsigned i = CALIBRATE_PM_TIMER; i < CALIBRATE_CLOCKS; i++) {
        uint64_t n = clock_hz[i] ? elapsed((enum calibrate_clock)i, from[i]) : 0;

        if (n && n < clock_hz[i] / RUN_PER_SECOND * runs)
            return false;
        some |= n != 0;
    }
    return some;
}

/* Waits for the PIT's end or, if that never comes (many boards stop its clock, and some have none),
 * until the others have counted. True: the PIT ended. */
static bool wait(const uint64_t *from)
{
    for (unsigned i = 0; i < TRIES; i++) {
        if (pit_counts && (inb(PORT_SPEAKER) & SPEAKER_OUTPUT))
            return true;
        if (!pit_counts ? others_counted(from, 1)
                        : i > PIT_TRIES && i % 256 == 0 && others_counted(from, 5))
            return false;
    }
    return false;
}

/* False: its output does not even go low. */
static bool start_pit(void)
{
    uint8_t control = (uint8_t)((inb(PORT_SPEAKER) & ~SPEAKER_DATA) | SPEAKER_GATE);

    outb(PORT_SPEAKER, control);
    outb(PIT_COMMAND, PIT_MODE0);
    outb(PIT_CHANNEL2, COUNT & 0xff);
    outb(PIT_CHANNEL2, COUNT >> 8);
    return !(inb(PORT_SPEAKER) & SPEAKER_OUTPUT);
}

static void measure(struct calibrate_run *r)
{
    uint64_t from[CALIBRATE_CLOCKS] = {0}, tsc[CALIBRATE_CLOCKS] = {0};
    bool end;

    *r = (struct calibrate_run){.tsc = {0}};
    pit_counts = pit_counts && start_pit();
    tsc[CALIBRATE_PIT] = arch_tsc();
    for (unsigned i = CALIBRATE_PM_TIMER; i < CALIBRATE_CLOCKS; i++)
        if (clock_hz[i]) {
            from[i] = read_clock((enum calibrate_clock)i);
            tsc[i] = arch_tsc();
        }
    end = wait(from);
    if (end) {
        r->tsc[CALIBRATE_PIT] = arch_tsc() - tsc[CALIBRATE_PIT];
        r->count[CALIBRATE_PIT] = COUNT;
    }
    pit_counts = end;
    for (unsigned i = CALIBRATE_PM_TIMER; i < CALIBRATE_CLOCKS; i++)
        if (clock_hz[i]) {
            r->count[i] = elapsed((enum calibrate_clock)i, from[i]);
            r->tsc[i] = arch_tsc() - tsc[i];
        }
}

static struct calibration measure_all(void)
{
    struct calibrate_run runs[CALIBRATE_RUNS];

    for (unsigned i = 0; i < CALIBRATE_RUNS; i++)
        measure(&runs[i]);
    return calibrate_judge(runs, clock_hz);
}

static uint64_t cpuid_hz(void)
{
    uint32_t highest = cpuid(0, 0).eax, leaf15[3] = {0};

    if (highest >= 0x15) {
        struct cpuid_regs r = cpuid(0x15, 0);

        leaf15[0] = r.eax;
        leaf15[1] = r.ebx;
        leaf15[2] = r.ecx;
    }
    return calibrate_cpuid_hz(leaf15, highest >= 0x16 ? cpuid(0x16, 0).eax & 0xffff : 0);
}

static void say(const struct calibration *c)
{
    static const char *const names[] = {"PIT", "PM timer", "HPET"};
    char by[96] = "";
    uint64_t promised = cpuid_hz();
    size_t n = 0;

    for (unsigned i = 0; i < CALIBRATE_CLOCKS; i++)
        if (c->tsc_hz[i])
            n += fmt(by + n, sizeof(by) - n, "%s%s %lu", n ? ", " : "", names[i],
                     c->tsc_hz[i] / 1000);
    if (c->verdict == CALIBRATE_OUTVOTED)
        log_warn("the clocks disagree on the TSC, in kHz: %s; using the value that two share", by);
    else if (c->verdict == CALIBRATE_DISPUTED)
        log_warn("the clocks disagree on the TSC, in kHz: %s; using the %s's, unchecked", by,
                 names[c->taken]);
    else
        log_info("TSC in kHz by %s%s", by,
                 c->verdict == CALIBRATE_ALONE ? "; no second clock to check it" : "");
    if (promised)
        log_info("CPUID gives %lu kHz for the TSC: not used", promised / 1000);
}

void tsc_calibrate(const struct acpi_info *a)
{
    struct calibration c;
    uint64_t config = HPET_ENABLE;

    pm_port = a->pm_timer_port;
    clock_hz[CALIBRATE_PM_TIMER] = pm_port ? CALIBRATE_PM_TIMER_HZ : 0;
    hpet = a->hpet_address ? arch_map_mmio(hpa(a->hpet_address), HPET_SIZE) : NULL;
    if (hpet) {
        clock_hz[CALIBRATE_HPET] = calibrate_hpet_hz(hpet[HPET_CAPABILITIES]);
        config = hpet[HPET_CONFIG];
        hpet[HPET_CONFIG] = config | HPET_ENABLE;
    }
    c = measure_all();
    if (c.verdict == CALIBRATE_OUTVOTED || c.verdict == CALIBRATE_DISPUTED)
        c = measure_all();
    if (hpet && !(config & HPET_ENABLE))
        hpet[HPET_CONFIG] = config;
    if (c.verdict == CALIBRATE_NONE)
        panic("neither PIT nor ACPI PM timer nor HPET counts: no way to measure time");
    hz = c.hz;
    say(&c);
}

void tsc_wait_us(uint64_t us)
{
    uint64_t from = arch_tsc(), ticks = hz / 1000 * us / 1000 + 1;

    while (arch_tsc() - from < ticks)
        __builtin_ia32_pause();
}
