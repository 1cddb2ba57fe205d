#include "arch/x86/cpu/calibrate.h"

#define FEMTOSECONDS      1000000000000000ull
#define HPET_PERIOD_MAX   100000000ull /* the specification's limit: 100 ns */
#define HPET_PERIOD_SHIFT 32
#define TOLERANCE         20u /* one part in 20: 5 % */

static uint64_t tsc_hz(const struct calibrate_run *r, enum calibrate_clock c, uint64_t clock_hz)
{
    return r->count[c] ? r->tsc[c] * clock_hz / r->count[c] : 0;
}

static uint64_t middle(uint64_t a, uint64_t b, uint64_t c)
{
    return max_u64(min_u64(a, b), min_u64(max_u64(a, b), c));
}
_Static_assert(CALIBRATE_RUNS == 3, "middle()");

/* A disturbance (an SMI, a busy emulator) can only delay the PIT's end: the shortest run is right.
 * Counters that are read err in both directions: the middle one is right. */
static uint64_t best(const struct calibrate_run *r, enum calibrate_clock c, uint64_t clock_hz)
{
    const uint64_t v[] = {tsc_hz(&r[0], c, clock_hz), tsc_hz(&r[1], c, clock_hz),
                          tsc_hz(&r[2], c, clock_hz)};

    if (!v[0] || !v[1] || !v[2])
        return 0; /* it stood still */
    return c == CALIBRATE_PIT ? min_u64(v[0], min_u64(v[1], v[2])) : middle(v[0], v[1], v[2]);
}

static bool agree(uint64_t a, uint64_t b)
{
    uint64_t low = min_u64(a, b), high = max_u64(a, b);

    return high - low <= low / TOLERANCE;
}

/* The first clock that agrees with a later one, or the first that counts at all. *friends: how many
 * agree with it, including itself. */
static enum calibrate_clock choose(const uint64_t *hz, unsigned *friends)
{
    enum calibrate_clock first = CALIBRATE_CLOCKS;

    for (unsigned i = 0; i < CALIBRATE_CLOCKS; i++) {
        *friends = 0;
        for (unsigned k = 0; hz[i] && k < CALIBRATE_CLOCKS; k++)
            *friends += hz[k] && agree(hz[i], hz[k]);
        if (*friends > 1)
            return (enum calibrate_clock)i;
        if (*friends == 1 && first == CALIBRATE_CLOCKS)
            first = (enum calibrate_clock)i;
    }
    *friends = 1;
    return first;
}

static enum calibrate_clock middle_clock(const uint64_t *hz)
{
    uint64_t m = middle(hz[CALIBRATE_PIT], hz[CALIBRATE_PM_TIMER], hz[CALIBRATE_HPET]);

    return m == hz[CALIBRATE_PIT]        ? CALIBRATE_PIT
           : m == hz[CALIBRATE_PM_TIMER] ? CALIBRATE_PM_TIMER
                                         : CALIBRATE_HPET;
}

struct calibration calibrate_judge(const struct calibrate_run runs[CALIBRATE_RUNS],
                                   const uint64_t clock_hz[CALIBRATE_CLOCKS])
{
    struct calibration r = {.verdict = CALIBRATE_NONE};
    unsigned alive = 0, friends;

    for (unsigned i = 0; i < CALIBRATE_CLOCKS; i++) {
        r.tsc_hz[i] = best(runs, (enum calibrate_clock)i, clock_hz[i]);
        alive += r.tsc_hz[i] != 0;
    }
    if (alive == 0)
        return r;
    r.taken = choose(r.tsc_hz, &friends);
    if (friends == CALIBRATE_CLOCKS)
        r.taken = middle_clock(r.tsc_hz);
    r.hz = r.tsc_hz[r.taken];
    r.verdict = alive == 1         ? CALIBRATE_ALONE
                : friends == alive ? CALIBRATE_AGREED
                : friends > 1      ? CALIBRATE_OUTVOTED
                                   : CALIBRATE_DISPUTED;
    return r;
}

uint64_t calibrate_hpet_hz(uint64_t capabilities)
{
    uint64_t period = capabilities >> HPET_PERIOD_SHIFT;

    return period && period <= HPET_PERIOD_MAX ? FEMTOSECONDS / period : 0;
}

uint64_t calibrate_cpuid_hz(const uint32_t leaf15[3], uint32_t leaf16_eax)
{
    if (leaf15[0] && leaf15[1] && leaf15[2])
        return (uint64_t)leaf15[2] * leaf15[1] / leaf15[0];
    return (uint64_t)leaf16_eax * 1000000;
}
