#include "arch/x86/cpu/tsc.h"

#include "arch/x86/cpu/calibrate.h"
#include "arch/x86/cpu/clocks.h"
#include "arch/x86/cpu/io.h"
#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/told.h"
#include "hv/arch.h"
#include "hv/fmt.h"
#include "hv/lib.h"
#include "hv/log.h"
#include "hv/panic.h"

static uint64_t source_hz[CALIBRATE_SOURCES];
static struct calibration result;
static volatile uint8_t *hpet;

uint64_t arch_tsc_hz(void)
{
    return result.hz;
}

const char *arch_tsc_verdict(void)
{
    return calibrate_verdict_name(result.verdict);
}

void arch_tsc_sources(struct abi_tsc_source out[ABI_TSC_SOURCES_MAX])
{
    for (unsigned i = 0; i < CALIBRATE_SOURCES; i++) {
        enum calibrate_source s = (enum calibrate_source)i;

        (void)str_copy(out[i].name, sizeof(out[i].name), calibrate_source_name(s));
        out[i].hz = source_hz[i];
        out[i].flags = (s < CALIBRATE_TOLD ? ABI_TSC_MEASURED : 0) |
                       (s == result.taken ? ABI_TSC_TAKEN : 0) |
                       (calibrate_agrees(&result, source_hz, s) ? ABI_TSC_AGREES : 0);
    }
}
_Static_assert(CALIBRATE_SOURCES <= ABI_TSC_SOURCES_MAX, "arch_tsc_sources()");

static uint64_t read_tsc(void *ctx)
{
    (void)ctx;
    return arch_tsc();
}

static uint8_t read_port(void *ctx, uint16_t port)
{
    (void)ctx;
    return inb(port);
}

static void write_port(void *ctx, uint16_t port, uint8_t v)
{
    (void)ctx;
    outb(port, v);
}

static uint32_t read_port32(void *ctx, uint16_t port)
{
    (void)ctx;
    return inl(port);
}

static uint32_t hpet_read(void *ctx, uint32_t offset)
{
    (void)ctx;
    return *(volatile uint32_t *)(volatile void *)(hpet + offset);
}

static void hpet_write(void *ctx, uint32_t offset, uint32_t v)
{
    (void)ctx;
    *(volatile uint32_t *)(volatile void *)(hpet + offset) = v;
}

static struct cpuid_regs read_cpuid(void *ctx, uint32_t leaf)
{
    (void)ctx;
    return cpuid(leaf, 0);
}

static int read_msr(void *ctx, uint32_t msr, uint64_t *v)
{
    (void)ctx;
    return msr_read_safe(msr, v);
}

/* The sources [from, end) that say something: "PIT 20000, HPET 20001". */
static void list(char *text, size_t size, unsigned from, unsigned end, bool only_wrong)
{
    size_t n = 0;

    text[0] = 0;
    for (; from < end; from++) {
        enum calibrate_source s = (enum calibrate_source)from;

        if (source_hz[from] && !(only_wrong && calibrate_agrees(&result, source_hz, s)))
            n += fmt(text + n, size - n, "%s%s %lu", n ? ", " : "", calibrate_source_name(s),
                     source_hz[from] / 1000);
    }
}

static void say(void)
{
    const char *taken = calibrate_source_name(result.taken);
    bool measured = result.taken < CALIBRATE_TOLD;
    char by[160], wrong[160];

    list(by, sizeof(by), measured ? 0 : CALIBRATE_TOLD,
         measured ? CALIBRATE_TOLD : CALIBRATE_SOURCES, false);
    list(wrong, sizeof(wrong), measured ? CALIBRATE_TOLD : CALIBRATE_SOURCES, CALIBRATE_SOURCES,
         true);
    if (!measured)
        log_warn("no clock counts: the TSC's frequency is what the CPU tells, unmeasured");
    if (result.verdict == CALIBRATE_OUTVOTED)
        log_warn("the clocks disagree on the TSC, in kHz: %s; using the %s's, which another shares",
                 by, taken);
    else if (result.verdict == CALIBRATE_DISPUTED)
        log_warn("the clocks disagree on the TSC, in kHz: %s; using the %s's, unchecked", by,
                 taken);
    else
        log_info("TSC in kHz by %s; using the %s's%s", by, taken,
                 result.verdict == CALIBRATE_ALONE ? ", which nothing confirms" : "");
    if (wrong[0])
        log_info("told otherwise, in kHz: %s; measurements win", wrong);
}

/* One second for a machine without anything better. */
static void try_rtc(const struct clocks *c)
{
    if (result.verdict == CALIBRATE_NONE || result.taken >= CALIBRATE_TOLD)
        source_hz[CALIBRATE_RTC] = clocks_measure_rtc(c);
    result = calibrate_judge(source_hz);
}

void tsc_calibrate(const struct acpi_info *a)
{
    static const struct clocks_ops ops = {.tsc = read_tsc,
                                          .in8 = read_port,
                                          .out8 = write_port,
                                          .in32 = read_port32,
                                          .hpet_read = hpet_read,
                                          .hpet_write = hpet_write};
    static const struct told_ops told = {.cpuid = read_cpuid, .rdmsr = read_msr};
    struct clocks c = {.ops = &ops, .pm_port = a->pm_timer_port};

    hpet = a->hpet_address ? arch_map_mmio(hpa(a->hpet_address), CLOCKS_HPET_SIZE) : NULL;
    c.hpet = hpet != NULL;
    told_tsc_hz(&told, source_hz);
    clocks_begin(&c);
    clocks_measure(&c, source_hz);
    result = calibrate_judge(source_hz);
    if (result.verdict == CALIBRATE_OUTVOTED || result.verdict == CALIBRATE_DISPUTED) {
        clocks_measure(&c, source_hz);
        result = calibrate_judge(source_hz);
    }
    clocks_end(&c);
    try_rtc(&c);
    if (result.verdict == CALIBRATE_NONE)
        panic(
            "neither PIT nor ACPI PM timer nor HPET nor RTC counts, and the CPU does not tell its "
            "TSC's frequency: no way to measure time");
    say();
}

void tsc_wait_us(uint64_t us)
{
    uint64_t from = arch_tsc(), ticks = result.hz / 1000 * us / 1000 + 1;

    while (arch_tsc() - from < ticks)
        __builtin_ia32_pause();
}
