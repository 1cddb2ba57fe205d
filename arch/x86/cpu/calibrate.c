#include "arch/x86/cpu/calibrate.h"

#define FEMTOSECONDS      1000000000000000ull
#define HPET_PERIOD_MAX   100000000ull /* the specification's limit: 100 ns */
#define HPET_PERIOD_SHIFT 32
#define TOLERANCE         20u  /* one part in 20: 5 % */
#define TOLERANCE_TOLD    100u /* CPUID leaf 0x16 is rounded: 2600 MHz instead of 2592 */

static uint64_t tsc_hz(const struct calibrate_run *r, unsigned c, uint64_t clock_hz)
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
static uint64_t best(const struct calibrate_run *r, unsigned c, uint64_t clock_hz)
{
    const uint64_t v[] = {tsc_hz(&r[0], c, clock_hz), tsc_hz(&r[1], c, clock_hz),
                          tsc_hz(&r[2], c, clock_hz)};

    if (!v[0] || !v[1] || !v[2])
        return 0; /* it stood still */
    return c == CALIBRATE_PIT ? min_u64(v[0], min_u64(v[1], v[2])) : middle(v[0], v[1], v[2]);
}

void calibrate_by_clocks(const struct calibrate_run runs[CALIBRATE_RUNS],
                         const uint64_t clock_hz[CALIBRATE_CLOCKS], uint64_t hz[CALIBRATE_CLOCKS])
{
    for (unsigned i = 0; i < CALIBRATE_CLOCKS; i++)
        hz[i] = best(runs, i, clock_hz[i]);
}

static bool agree(const uint64_t *hz, unsigned a, unsigned b)
{
    uint64_t low = min_u64(hz[a], hz[b]), high = max_u64(hz[a], hz[b]);
    bool told = a >= CALIBRATE_TOLD && b >= CALIBRATE_TOLD;

    return low && high - low <= low / (told ? TOLERANCE_TOLD : TOLERANCE);
}

/* How many of the sources [from, end) agree with a, not counting itself. */
static unsigned friends(const uint64_t *hz, unsigned a, unsigned from, unsigned end)
{
    unsigned n = 0;

    for (unsigned i = from; i < end; i++)
        n += i != a && agree(hz, a, i);
    return n;
}

/* The first of the sources [from, end) with a friend in [friends_from, friends_end), or the end. */
static unsigned first_with_friends(const uint64_t *hz, unsigned from, unsigned end,
                                   unsigned friends_from, unsigned friends_end)
{
    while (from < end && friends(hz, from, friends_from, friends_end) == 0)
        from++;
    return from;
}

static unsigned count(const uint64_t *hz, unsigned from, unsigned end)
{
    unsigned n = 0;

    for (; from < end; from++)
        n += hz[from] != 0;
    return n;
}

static unsigned middle_clock(const uint64_t *hz)
{
    uint64_t m = middle(hz[CALIBRATE_PIT], hz[CALIBRATE_PM_TIMER], hz[CALIBRATE_HPET]);

    return m == hz[CALIBRATE_PIT]        ? CALIBRATE_PIT
           : m == hz[CALIBRATE_PM_TIMER] ? CALIBRATE_PM_TIMER
                                         : CALIBRATE_HPET;
}

static struct calibration verdict(const uint64_t *hz, unsigned taken, enum calibrate_verdict v)
{
    return (struct calibration){v, (enum calibrate_source)taken, hz[taken]};
}

/* Sources of one kind, [from, end), of which `alive` say something; `others_end`: the end of those
 * that may decide between them. */
static struct calibration judge(const uint64_t *hz, unsigned from, unsigned end,
                                unsigned others_end)
{
    unsigned alive = count(hz, from, end), i = first_with_friends(hz, from, end, from, end);

    if (i < end) {
        bool all = friends(hz, i, from, end) == alive - 1;

        if (all && i == CALIBRATE_PIT && friends(hz, i, from, CALIBRATE_CLOCKS) == 2)
            i = middle_clock(hz);
        return verdict(hz, i, all ? CALIBRATE_AGREED : CALIBRATE_OUTVOTED);
    }
    i = first_with_friends(hz, from, end, end, others_end);
    if (i < end)
        return verdict(hz, i, alive == 1 ? CALIBRATE_AGREED : CALIBRATE_OUTVOTED);
    for (i = from; !hz[i];)
        i++;
    return verdict(hz, i,
                   alive + count(hz, end, others_end) == 1 ? CALIBRATE_ALONE : CALIBRATE_DISPUTED);
}

struct calibration calibrate_judge(const uint64_t hz[CALIBRATE_SOURCES])
{
    if (count(hz, 0, CALIBRATE_TOLD))
        return judge(hz, 0, CALIBRATE_TOLD, CALIBRATE_SOURCES);
    if (count(hz, CALIBRATE_TOLD, CALIBRATE_SOURCES))
        return judge(hz, CALIBRATE_TOLD, CALIBRATE_SOURCES, CALIBRATE_SOURCES);
    return (struct calibration){.verdict = CALIBRATE_NONE};
}

bool calibrate_agrees(const struct calibration *c, const uint64_t hz[CALIBRATE_SOURCES],
                      enum calibrate_source s)
{
    return c->hz && agree(hz, c->taken, s);
}

const char *calibrate_source_name(enum calibrate_source s)
{
    static const char *const names[CALIBRATE_SOURCES] = {
        [CALIBRATE_PIT] = "PIT",
        [CALIBRATE_PM_TIMER] = "PM timer",
        [CALIBRATE_HPET] = "HPET",
        [CALIBRATE_RTC] = "RTC",
        [CALIBRATE_HYPERVISOR] = "CPUID 0x40000010",
        [CALIBRATE_CPUID_15] = "CPUID 0x15",
        [CALIBRATE_PLATFORM_INFO] = "MSR_PLATFORM_INFO",
        [CALIBRATE_PSTATE] = "PStateDef0",
        [CALIBRATE_CPUID_16] = "CPUID 0x16",
    };

    return names[s];
}

const char *calibrate_verdict_name(enum calibrate_verdict v)
{
    static const char *const names[] = {
        [CALIBRATE_NONE] = "none",         [CALIBRATE_ALONE] = "alone",
        [CALIBRATE_AGREED] = "agreed",     [CALIBRATE_OUTVOTED] = "outvoted",
        [CALIBRATE_DISPUTED] = "disputed",
    };

    return names[v];
}

uint64_t calibrate_hpet_hz(uint64_t capabilities)
{
    uint64_t period = capabilities >> HPET_PERIOD_SHIFT;

    return period && period <= HPET_PERIOD_MAX ? FEMTOSECONDS / period : 0;
}
