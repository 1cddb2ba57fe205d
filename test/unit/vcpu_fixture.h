/* A vCPU of a guest with memory and all devices, over test/unit/vcpu_state.h. */
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
#define RIP    0x1234u

static struct guest guest;
static struct vcpu *const v = &guest.vcpus[0];
static struct fake_state state;
static struct abi_exit record;
static uint32_t apic_registers[LAPIC_PAGE / 4];
static struct abi_vcpu stats;
static char stopped[ABI_TEXT_MAX];
static char console[16];
static unsigned written;

void vcpu_stop(struct vcpu *who, enum abi_guest_state as, const char *format, ...)
{
    va_list ap;

    assert_true(as == ABI_GUEST_STOPPED || as == ABI_GUEST_CRASHED);
    va_start(ap, format);
    (void)fmt_v(stopped, sizeof(stopped), format, ap);
    va_end(ap);
    who->stop = true;
}

static bool others_go_on; /* the other vCPUs of the guest */
bool vcpu_halt_deaf(struct vcpu *who)
{
    who->deaf = true;
    return others_go_on;
}

static bool core_is_wanted = true;
bool exit_core_is_wanted(const struct vcpu *who)
{
    (void)who;
    return core_is_wanted;
}

enum exit_action exit_hypercall(struct vcpu *who)
{
    who->regs.rax++;
    return EXIT_SKIP;
}

static void on_console(void *ctx, uint8_t byte)
{
    (void)ctx;
    console[written++ % sizeof(console)] = (char)byte;
}

static void on_reset(void *ctx, const char *how)
{
    (void)ctx;
    vcpu_stop(v, ABI_GUEST_STOPPED, "%s", how);
}

static void on_exit_port(void *ctx, uint32_t code)
{
    (void)ctx;
    vcpu_stop(v, ABI_GUEST_STOPPED, "exit %u", code);
}

static struct cpuid_regs host_cpuid(uint32_t leaf, uint32_t subleaf)
{
    (void)subleaf;
    return leaf == CPUID_EXTENDED + 8 ? (struct cpuid_regs){.eax = 40 | 48 << 8}
                                      : (struct cpuid_regs){leaf, ~0u, ~0u, ~0u};
}

/* Flat 32-bit protected mode at CPL 0, interrupts on. */
static int fixture_vcpu(void **ctx)
{
    struct platform_host host = pc_host;
    static const struct cpuid_env env = {
        .host = host_cpuid, .tsc_hz = TSC_HZ, .xcr0 = 7, .apic = true, .vcpus = 1};

    (void)ctx;
    host.console = on_console;
    host.reset = host.power_off = on_reset;
    host.exit = on_exit_port;
    memset(&guest, 0, sizeof(guest));
    memset(&state, 0, sizeof(state));
    memset(&record, 0, sizeof(record));
    memset(&stats, 0, sizeof(stats));
    stopped[0] = 0;
    written = 0;
    /* Exactly as large as the guest, so that the sanitizer sees an access beyond it. */
    guest.mem = (struct gmem){.base = aligned_alloc(4096, MEMORY), .size = MEMORY};
    memset(guest.mem.base, 0, MEMORY);
    guest.platform.vcpus = 1;
    guest.platform.lapic[0].regs = apic_registers;
    assert_int_equal(
        platform_init(&guest.platform,
                      DEV_PIC | DEV_PIT | DEV_RTC | DEV_UART | DEV_RESET | DEV_EXIT | DEV_APIC,
                      1000, TSC_HZ, 0, MEMORY, &host),
        0);
    v->guest = &guest;
    v->platform = &guest.platform;
    v->backend = &state;
    v->exit = &record;
    v->closes = NEVER;
    v->stats = &stats;
    record.rip = RIP;
    record.tsc = 2000;
    x86_reset(&state.x86, &env);
    state.xcr0_allowed = 7;
    state.rflags = RFLAGS_FIXED | RFLAGS_IF;
    state.cr0 = CR0_PE | CR0_NE | CR0_ET;
    state.shown_cr0 = CR0_PE | CR0_ET;
    state.known_cr4 = CR4_VMXE | 0x7fffff;
    state.owned_cr4 = CR4_VMXE | CR4_MCE | CR4_OSXSAVE | CR4_DE;
    state.cr4 = CR4_VMXE | CR4_MCE;
    state.dr[6] = DR6_RESET;
    state.dr7 = DR7_RESET;
    for (unsigned i = 0; i <= SEGMENT_GS; i++)
        state.segment[i] = (struct segment){0, UINT32_MAX, 0x93 | SEGMENT_RIGHTS_DB};
    state.segment[SEGMENT_CS].rights = 0x9b | SEGMENT_RIGHTS_DB;
    return 0;
}

static int fixture_end(void **ctx)
{
    (void)ctx;
    free(guest.mem.base);
    return 0;
}

/* The PIT's interrupt waits at the PIC, at vector 0x20. */
static inline void raise_irq(void)
{
    static const uint16_t port[] = {0x20, 0x21, 0x21, 0x21, 0x21};
    static const uint8_t value[] = {0x11, 0x20, 4, 1, 0};

    for (unsigned i = 0; i < ARRAY_LEN(port); i++)
        io_out(&guest.platform.bus, port[i], 1, value[i]);
    irqchip_pulse(&guest.platform, 0);
    assert_true(irqchip_pending(&guest.platform, 0));
}
#define VECTOR_IRQ0 0x20u

/* The exception waits for the next entry; nothing else has changed. */
#define ASSERT_RAISES(call, expected, code)                                                        \
    do {                                                                                           \
        state.event = state.error = 0;                                                             \
        assert_int_equal(call, EXIT_RESUME);                                                       \
        assert_int_equal(state.event, (expected));                                                 \
        assert_int_equal(state.error, (code));                                                     \
        state.event = 0;                                                                           \
    } while (0)
#define UD (EVENT_VALID | EVENT_EXCEPTION | VECTOR_UD)
#define GP (EVENT_VALID | EVENT_EXCEPTION | EVENT_ERROR_CODE | VECTOR_GP)
#define DB (EVENT_VALID | EVENT_EXCEPTION | VECTOR_DB)
