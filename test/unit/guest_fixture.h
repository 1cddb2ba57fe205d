/* What a test of exit handlers has, whichever backend its vCPU is over: a guest with one vCPU,
 * memory and devices. VCPU_STATE is defined by now. */
#pragma once

#include "arch/x86/guest/vcpu_state.h"
#include "hv/exit.h"
#include "hv/fmt.h"
#include "hv/lib.h"
#include "test/unit/pc_host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MEMORY 0x10000u
#define TSC_HZ 1000000000ull

static struct guest guest;
static struct vcpu *const v = &guest.vcpus[0];
static struct abi_exit record;
static uint32_t apic_registers[LAPIC_PAGE / 4];
static struct abi_vcpu stats;
static char stopped[ABI_TEXT_MAX];

void vcpu_stop(struct vcpu *who, enum abi_guest_state as, const char *format, ...)
{
    va_list ap;

    assert_true(as == ABI_GUEST_STOPPED || as == ABI_GUEST_CRASHED);
    va_start(ap, format);
    (void)fmt_v(stopped, sizeof(stopped), format, ap);
    va_end(ap);
    who->stop = true;
}

static struct cpuid_regs host_cpuid(uint32_t leaf, uint32_t subleaf)
{
    (void)subleaf;
    if (leaf == 0 || leaf == CPUID_EXTENDED) /* the highest one */
        return (struct cpuid_regs){leaf + 0x20, ~0u, ~0u, ~0u};
    return leaf == CPUID_EXTENDED + 8 ? (struct cpuid_regs){.eax = 40 | 48 << 8}
                                      : (struct cpuid_regs){leaf, ~0u, ~0u, ~0u};
}

/* `x86` belongs to `backend`, which is all zero. */
static void fixture_guest(const struct platform_host *host, uint32_t devices, void *backend,
                          struct x86_vcpu *x86)
{
    static const struct cpuid_env env = {
        .host = host_cpuid, .tsc_hz = TSC_HZ, .xcr0 = 7, .apic = true, .vcpus = 1};

    memset(&guest, 0, sizeof(guest));
    memset(&record, 0, sizeof(record));
    memset(&stats, 0, sizeof(stats));
    stopped[0] = 0;
    /* Exactly as large as the guest, so that the sanitizer sees an access beyond it. */
    guest.mem = (struct gmem){.base = aligned_alloc(4096, MEMORY), .size = MEMORY};
    memset(guest.mem.base, 0, MEMORY);
    guest.platform.vcpus = 1;
    guest.platform.lapic[0].regs = apic_registers;
    assert_int_equal(platform_init(&guest.platform, devices, 1000, TSC_HZ, 0, MEMORY, host), 0);
    v->guest = &guest;
    v->platform = &guest.platform;
    v->backend = backend;
    v->exit = &record;
    v->closes = NEVER;
    v->stats = &stats;
    x86_reset(x86, &env);
}

static int fixture_end(void **ctx)
{
    (void)ctx;
    free(guest.mem.base);
    return 0;
}
