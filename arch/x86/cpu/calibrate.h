/*
 * Determines the TSC's frequency from measurements against clocks of known frequency, and which of
 * those to believe. Pure; tsc.c measures.
 */
#pragma once

#include "hv/types.h"

/* In order of preference. */
enum calibrate_clock { CALIBRATE_PIT, CALIBRATE_PM_TIMER, CALIBRATE_HPET, CALIBRATE_CLOCKS };

#define CALIBRATE_PIT_HZ      1193182ull /* Intel 8254 */
#define CALIBRATE_PM_TIMER_HZ 3579545ull /* ACPI "Power Management Timer" */
#define CALIBRATE_RUNS        3u

/* One measurement by all clocks at the same time: ticks of the TSC, and of each clock, in the same
 * time. `count` 0: the clock does not exist, or does not count. */
struct calibrate_run {
    uint64_t tsc[CALIBRATE_CLOCKS], count[CALIBRATE_CLOCKS];
};

enum calibrate_verdict {
    CALIBRATE_NONE,     /* no clock counts */
    CALIBRATE_ALONE,    /* one clock counts: nothing to check it against */
    CALIBRATE_AGREED,   /* all that count agree within 5 % */
    CALIBRATE_OUTVOTED, /* two agree, and another does not: measure again, then believe the two */
    CALIBRATE_DISPUTED, /* two or three, and none agrees with another: measure again */
};

struct calibration {
    enum calibrate_verdict verdict;
    uint64_t hz; /* the result: the middle one if three agree; 0 with CALIBRATE_NONE */
    enum calibrate_clock taken;        /* the clock that gave it */
    uint64_t tsc_hz[CALIBRATE_CLOCKS]; /* the TSC's frequency by each clock; 0: the clock does not
                                          count */
};

/* `clock_hz`: the clocks' own frequencies. */
struct calibration calibrate_judge(const struct calibrate_run runs[CALIBRATE_RUNS],
                                   const uint64_t clock_hz[CALIBRATE_CLOCKS]);

/* How far a counter of `bits` bits got. */
static inline uint64_t calibrate_elapsed(uint64_t from, uint64_t to, unsigned bits)
{
    return (to - from) & (UINT64_MAX >> (64 - bits));
}

/* The counter frequency of an HPET with these capabilities; 0 if they are impossible. IA-PC HPET
 * specification 1.0a "General Capabilities and ID Register": femtoseconds in bits 63:32. */
uint64_t calibrate_hpet_hz(uint64_t capabilities);

/* The TSC's frequency according to CPUID; 0: none given. leaf15: EAX, EBX, ECX (denominator,
 * numerator, crystal in Hz); leaf16_eax: base frequency in MHz; zeros if there is no such leaf. SDM
 * 2A "CPUID". For the log only: emulators report arbitrary values. */
uint64_t calibrate_cpuid_hz(const uint32_t leaf15[3], uint32_t leaf16_eax);
