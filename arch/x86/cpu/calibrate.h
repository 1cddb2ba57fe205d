/*
 * Determines the TSC's frequency from measurements against clocks of known frequency and from what
 * the CPU tells, and which of those to believe. Pure; clocks.c measures, told.c asks.
 */
#pragma once

#include "hv/types.h"

/* In order of preference: what was measured, then what was told. */
enum calibrate_source {
    CALIBRATE_PIT,
    CALIBRATE_PM_TIMER,
    CALIBRATE_HPET,
    CALIBRATE_CLOCKS, /* these are measured at the same time */
    CALIBRATE_RTC = CALIBRATE_CLOCKS,
    CALIBRATE_TOLD, /* from here on */
    CALIBRATE_HYPERVISOR = CALIBRATE_TOLD,
    CALIBRATE_CPUID_15,
    CALIBRATE_PLATFORM_INFO,
    CALIBRATE_PSTATE,
    CALIBRATE_CPUID_16,
    CALIBRATE_SOURCES
};

#define CALIBRATE_PIT_HZ      1193182ull /* Intel 8254 */
#define CALIBRATE_PM_TIMER_HZ 3579545ull /* ACPI "Power Management Timer" */
#define CALIBRATE_RUNS        3u

/* One measurement by all clocks at the same time: ticks of the TSC, and of each clock, in the same
 * time. `count` 0: the clock does not exist, or does not count. */
struct calibrate_run {
    uint64_t tsc[CALIBRATE_CLOCKS], count[CALIBRATE_CLOCKS];
};

/* The TSC's frequency by each clock, from several measurements; 0: the clock does not count.
 * `clock_hz`: the clocks' own frequencies. */
void calibrate_by_clocks(const struct calibrate_run runs[CALIBRATE_RUNS],
                         const uint64_t clock_hz[CALIBRATE_CLOCKS], uint64_t hz[CALIBRATE_CLOCKS]);

enum calibrate_verdict {
    CALIBRATE_NONE,     /* no source says anything */
    CALIBRATE_ALONE,    /* one source: nothing to check it against */
    CALIBRATE_AGREED,   /* all that count agree, or the only one that counts agrees with the CPU */
    CALIBRATE_OUTVOTED, /* two agree, and another does not: measure again, then believe the two */
    CALIBRATE_DISPUTED, /* no two agree: measure again, then believe the first */
};

struct calibration {
    enum calibrate_verdict verdict;
    enum calibrate_source taken;
    uint64_t hz; /* by the source taken; 0 with CALIBRATE_NONE */
};

/*
 * `hz`: the TSC's frequency by each source; 0: none. The rule:
 * - What was measured beats what was told: firmware, hypervisors and emulators tell a CPU's nominal
 *   value, whatever its TSC does.
 * - Two that agree beat one that does not. If no two measurements agree, one with which the CPU
 *   agrees is believed; if nothing counts, two of what was told.
 * - Of those that agree the first is taken; of PIT, PM timer and HPET the middle one.
 * - Measurements may differ by 5 %, from each other and from what was told; what was told by 1 %.
 * A told value that differs from measurements that agree does not change the verdict.
 */
struct calibration calibrate_judge(const uint64_t hz[CALIBRATE_SOURCES]);
/* True if that source says the same as the one taken. */
bool calibrate_agrees(const struct calibration *c, const uint64_t hz[CALIBRATE_SOURCES],
                      enum calibrate_source s);
/* Short names, for the log and the API. */
const char *calibrate_source_name(enum calibrate_source s);
const char *calibrate_verdict_name(enum calibrate_verdict v);

/* How far a counter of `bits` bits got. */
static inline uint64_t calibrate_elapsed(uint64_t from, uint64_t to, unsigned bits)
{
    return (to - from) & (UINT64_MAX >> (64 - bits));
}

/* The counter frequency of an HPET with these capabilities; 0 if they are impossible. IA-PC HPET
 * specification 1.0a "General Capabilities and ID Register": femtoseconds in bits 63:32. */
uint64_t calibrate_hpet_hz(uint64_t capabilities);
