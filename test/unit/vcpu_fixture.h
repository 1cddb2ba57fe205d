/* A vCPU of a guest with memory and all devices, over test/unit/vcpu_state.h. */
#pragma once

#include "test/unit/guest_fixture.h"

#define RIP 0x1234u

static struct fake_state state;
static char console[16];
static unsigned written;

static uint64_t xcr0_allowed;
uint64_t x86_xcr0_allowed(void)
{
    return xcr0_allowed;
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

/* Flat 32-bit protected mode at CPL 0, interrupts on. */
static int fixture_vcpu(void **ctx)
{
    struct platform_host host = pc_host;

    (void)ctx;
    host.console = on_console;
    host.reset = host.power_off = on_reset;
    host.exit = on_exit_port;
    memset(&state, 0, sizeof(state));
    written = 0;
    fixture_guest(&host, DEV_PIC | DEV_PIT | DEV_RTC | DEV_UART | DEV_RESET | DEV_EXIT | DEV_APIC,
                  &state, &state.x86);
    record.rip = RIP;
    record.tsc = 2000;
    xcr0_allowed = 7;
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
