#include "arch/x86/guest/kvm_clock.h"

#define NS         1000000000ull
#define SPARE_BITS 2u                                /* NS has 30 bits */
#define RESERVED   2ull                              /* the address is a multiple of 4 */
#define BARRIER()  __asm__ volatile("" ::: "memory") /* stores stay in order on x86 */

/* A multiplier of 32 bits: for a frequency between NS and twice that. */
static void set_scale(struct kvm_system_time *t, uint64_t hz)
{
    unsigned halved = 0, spare = 0;

    t->shift = 0;
    for (; hz <= NS; hz <<= 1)
        t->shift++;
    while (hz >> halved > 2 * NS)
        halved++;
    t->shift = (int8_t)(t->shift - (int)halved);
    /* Up to 8 GHz no bit of the frequency is lost. */
    spare = halved < SPARE_BITS ? halved : SPARE_BITS;
    t->multiplier = (uint32_t)((NS << (32 + spare)) / (hz >> (halved - spare)));
}

/* Other vCPUs may be reading: `version` is odd meanwhile. All structures begin with it. */
static int publish(const struct gmem *m, uint64_t at, uint32_t *s, size_t size)
{
    uint32_t version;
    int rc = gmem_read(m, gpa(at), s, sizeof(*s));

    if (rc || !gmem_has(m, gpa(at), size))
        return -E_RANGE;
    version = (*s | 1) + 2;
    *s = version;
    rc = gmem_write(m, gpa(at), s, sizeof(*s));
    BARRIER();
    rc = rc ? rc : gmem_write(m, gpa(at + sizeof(*s)), s + 1, size - sizeof(*s));
    BARRIER();
    *s = version + 1;
    return rc ? rc : gmem_write(m, gpa(at), s, sizeof(*s));
}

static int publish_time(const struct gmem *m, uint64_t msr, const struct kvm_clock_env *env)
{
    struct kvm_system_time t = {.tsc = env->power_on, .flags = KVM_CLOCK_SAME};

    set_scale(&t, env->tsc_hz);
    return publish(m, msr & ~KVM_TIME_ENABLE, &t.version, sizeof(t));
}

static int publish_wall(const struct gmem *m, uint64_t at, const struct kvm_clock_env *env)
{
    struct kvm_wall_clock w = {.seconds = (uint32_t)env->epoch};

    return publish(m, at, &w.version, sizeof(w));
}

bool kvm_clock_write(struct kvm_clock *c, const struct gmem *m, uint32_t msr, uint64_t value,
                     const struct kvm_clock_env *env)
{
    if (value & RESERVED)
        return false;
    if (msr == MSR_KVM_WALL_CLOCK) {
        if ((value & 1) || publish_wall(m, value, env))
            return false;
        c->wall = value;
        return true;
    }
    if ((value & KVM_TIME_ENABLE) && publish_time(m, value, env))
        return false;
    c->time = value;
    return true;
}

uint64_t kvm_clock_read(const struct kvm_clock *c, uint32_t msr)
{
    return msr == MSR_KVM_WALL_CLOCK ? c->wall : c->time;
}

void kvm_clock_update(const struct kvm_clock *c, const struct gmem *m,
                      const struct kvm_clock_env *env)
{
    if (c->time & KVM_TIME_ENABLE)
        (void)!publish_time(m, c->time, env); /* it was there before */
}
