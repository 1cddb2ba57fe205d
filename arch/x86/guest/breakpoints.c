/* Breakpoints on accesses that the root makes in place of the CPU: SDM 3B "Debug Control Register
 * (DR7)", "Data Memory and I/O Breakpoint Exception Conditions". */
#include "arch/x86/guest/vcpu_state.h"

#define ON_WRITE  1u /* R/W field */
#define ON_IO     2u /* with CR4.DE */
#define ON_ACCESS 3u

/* The length field, in bytes. */
static unsigned length_of(uint64_t dr7, unsigned n)
{
    static const uint8_t bytes[4] = {1, 2, 8, 4};

    return bytes[dr7 >> (18 + 4 * n) & 3];
}

static bool kind_matches(uint64_t dr7, unsigned n, unsigned kind)
{
    unsigned on = dr7 >> (16 + 4 * n) & 3;

    return on == kind || (on == ON_ACCESS && kind == ON_WRITE);
}

/* A breakpoint that is off reports its condition too, but causes no trap. */
static void match(struct vcpu *v, uint64_t address, unsigned size, unsigned kind)
{
    uint64_t dr7 = vcpu_get_dr7(v), conditions = 0;
    bool enabled = false;

    for (unsigned n = 0; n < 4; n++) {
        unsigned length = length_of(dr7, n);
        uint64_t at = vcpu_get_dr(v, n) & ~(uint64_t)(length - 1);

        if (!kind_matches(dr7, n, kind) || address >= at + length || at >= address + size)
            continue;
        conditions |= DR6_B0 << n;
        enabled = enabled || (dr7 >> (2 * n) & 3);
    }
    if (enabled)
        vcpu_set_trap_due(v, conditions);
}

void x86_watch_memory(struct vcpu *v, uint64_t linear, unsigned size, bool write)
{
    match(v, linear, size, write ? ON_WRITE : ON_ACCESS);
}

void x86_watch_port(struct vcpu *v, uint16_t port, unsigned size)
{
    if (vcpu_get_cr4(v) & CR4_DE)
        match(v, port, size, ON_IO);
}
