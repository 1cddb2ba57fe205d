/* SOURCES: hv/gmem.c arch/x86/guest/exits.c arch/x86/guest/apic.c arch/x86/guest/cr.c
 * arch/x86/guest/events.c arch/x86/guest/cpuid.c arch/x86/guest/msr.c arch/x86/guest/kvm_clock.c
 * arch/x86/guest/segment.c arch/x86/guest/paging.c arch/x86/guest/linear.c
 * arch/x86/guest/breakpoints.c hv/exit.c @pc hv/fmt.c hv/lib.c */
/* Events on their way into a guest: never request what a VM entry would refuse (SDM 3C "Checks on
 * VM-Entry Control Fields", "Checks on Guest Non-Register State"). */
#include "test/unit/vcpu_fixture.h"

static uint32_t seed;

static unsigned some(unsigned n)
{
    seed = seed * 1103515245u + 12345u;
    return (seed >> 16) % n;
}

static void test_exception(void **ctx)
{
    (void)ctx;
    state.shadow = v->halted = state.in_halt = true;
    x86_inject_exception(v, VECTOR_GP, true, 0x18);
    assert_int_equal(state.event, GP);
    assert_int_equal(state.error, 0x18);
    assert_false(state.shadow || v->halted || state.in_halt);
    assert_int_equal(v->woke_at, record.tsc);
    state.cr0 &= ~CR0_PE; /* real mode pushes no error code */
    x86_inject_exception(v, VECTOR_GP, true, 0x18);
    assert_int_equal(state.event, EVENT_VALID | EVENT_EXCEPTION | VECTOR_GP);
}

/* SDM 3B "Debug Registers", SDM 3A "Double Fault Exception". */
static void test_reflected(void **ctx)
{
    (void)ctx;
    state.dr[6] = DR6_RESET | 1;
    state.dr7 = DR7_RESET | DR7_GD;
    state.debugctl = DEBUGCTL_LBR | DEBUGCTL_BTF;
    x86_note_vectoring(v, EVENT_VALID | EVENT_EXTERNAL | 0x55, 0, 0);
    assert_int_equal(x86_reflect_exception(v, DB, 0, DR6_BS | 2), EXIT_RESUME);
    assert_int_equal(state.event, DB);
    assert_int_equal(state.dr[6], DR6_RESET | DR6_BS | 2);
    assert_int_equal(state.dr7, DR7_RESET);
    assert_int_equal(state.debugctl, 0);
    assert_int_equal(state.x86.reinject & EVENT_VECTOR, 0x55); /* it would not be repeated */
    x86_note_vectoring(v, EVENT_VALID | EVENT_SOFT_INTERRUPT | 0x80, 0, 2);
    state.dr[6] = DR6_RESET;
    (void)x86_reflect_exception(v, EVENT_VALID | EVENT_EXCEPTION | EVENT_ERROR_CODE | VECTOR_AC, 0,
                                DR6_BS);
    assert_int_equal(state.event & EVENT_VECTOR, VECTOR_AC);
    assert_int_equal(state.dr[6], DR6_RESET);
    assert_int_equal(state.x86.reinject, 0); /* INT will be executed again */
}

static void test_again(void **ctx)
{
    (void)ctx;
    x86_note_vectoring(v, EVENT_EXCEPTION | VECTOR_PF, 7, 1); /* not valid */
    assert_int_equal(state.x86.reinject, 0);
    /* Bit 12 as reported at an exit has another meaning for an entry. */
    x86_note_vectoring(v, EVENT_VALID | EVENT_EXCEPTION | EVENT_ERROR_CODE | 1u << 12 | VECTOR_PF,
                       7, 3);
    assert_true(x86_events_pending(v));
    v->halted = state.in_halt = true;
    x86_prepare_events(v, 5000);
    assert_int_equal(state.event, EVENT_VALID | EVENT_EXCEPTION | EVENT_ERROR_CODE | VECTOR_PF);
    assert_int_equal(state.error, 7);
    assert_int_equal(state.length, 3);
    assert_false(v->halted || state.in_halt);
    assert_false(x86_events_pending(v));
    /* An NMI blocks others from the moment its delivery begins. */
    state.event = 0;
    state.nmi_blocked = true;
    x86_note_vectoring(v, EVENT_VALID | EVENT_NMI | VECTOR_NMI, 0, 0);
    x86_prepare_events(v, 5000);
    assert_int_equal(state.event, EVENT_VALID | EVENT_NMI | VECTOR_NMI);
    assert_false(state.nmi_blocked);
}

static void test_interrupt(void **ctx)
{
    (void)ctx;
    raise_irq();
    assert_true(x86_events_pending(v));
    state.shadow = true;
    x86_prepare_events(v, 7000);
    assert_int_equal(state.event, 0);
    assert_true(state.irq_window);
    state.shadow = false;
    v->halted = true;
    x86_prepare_events(v, 7000);
    assert_int_equal(state.event, EVENT_VALID | EVENT_EXTERNAL | VECTOR_IRQ0);
    assert_int_equal(stats.irqs, 1);
    assert_int_equal(v->woke_at, 7000);
    assert_false(v->halted || x86_events_pending(v));
}

static void test_nmi_first(void **ctx)
{
    (void)ctx;
    raise_irq();
    v->nmi = true;
    x86_prepare_events(v, 0);
    assert_int_equal(state.event, EVENT_VALID | EVENT_NMI | VECTOR_NMI);
    assert_false(v->nmi || state.nmi_window);
    assert_true(state.irq_window);
}

/* SDM 3C "Event Injection" and the rest, on arbitrary states: injected events are allowed, none is
 * lost, and each that waits has its window open. */
static void test_any_state(void **ctx)
{
    static const uint32_t under_way[] = {
        0, EVENT_VALID | EVENT_EXTERNAL | 0x33, EVENT_VALID | EVENT_NMI | VECTOR_NMI,
        EVENT_VALID | EVENT_EXCEPTION | EVENT_ERROR_CODE | VECTOR_PF,
        EVENT_VALID | EVENT_SOFT_INTERRUPT | 0x80};

    for (seed = 1; seed < 4000; seed += 2) {
        uint32_t before, again, start = seed;
        bool irq, nmi;

        (void)fixture_end(ctx);
        (void)fixture_vcpu(ctx);
        if (some(2))
            raise_irq();
        irq = irqchip_pending(v->platform, 0);
        v->nmi = nmi = some(2);
        state.rflags = RFLAGS_FIXED | (some(2) ? RFLAGS_IF : 0);
        state.shadow = some(3) == 0;
        state.nmi_blocked = some(3) == 0;
        state.trap_due = some(4) == 0;
        state.event = before = some(4) == 0 ? GP : 0;
        state.x86.reinject = again = under_way[some(ARRAY_LEN(under_way))];
        v->halted = state.in_halt = !state.shadow && some(3) == 0;
        x86_prepare_events(v, 1);
        if (before)
            assert_int_equal(state.event, before);
        switch (state.event & (EVENT_VALID | EVENT_TYPE)) {
        case EVENT_VALID | EVENT_EXTERNAL:
            assert_true((state.rflags & RFLAGS_IF) && !state.shadow);
            break;
        case EVENT_VALID | EVENT_NMI:
            assert_true(again || !state.shadow);
            assert_false(state.nmi_blocked);
            break;
        default:
            break;
        }
        if (state.trap_due && !before && !again)
            assert_int_equal(state.event, 0);
        if (again)
            assert_true(state.event == again || state.x86.reinject == again);
        if (irq)
            assert_true(state.event == (EVENT_VALID | EVENT_EXTERNAL | VECTOR_IRQ0) ||
                        (irqchip_pending(v->platform, 0) && state.irq_window));
        if (nmi)
            assert_true(state.event == (EVENT_VALID | EVENT_NMI | VECTOR_NMI) || state.nmi_window);
        if (state.event && !before)
            assert_false(v->halted);
        seed = start;
    }
}

/* SDM 3B "Single-Step Exception Condition", "Resume Flag". */
static void test_end_of_instruction(void **ctx)
{
    (void)ctx;
    state.rflags |= RFLAGS_RF | RFLAGS_TF;
    state.shadow = true;
    x86_end_of_instruction(v);
    assert_false((state.rflags & RFLAGS_RF) || state.shadow);
    assert_true(state.trap_due);
    assert_int_equal(state.trap_due, DR6_BS);
    state.trap_due = 0;
    state.debugctl = DEBUGCTL_BTF; /* only branches trap */
    x86_end_of_instruction(v);
    assert_false(state.trap_due);
}

/* R/W and length fields of breakpoint n in DR7, and its L bit. */
#define WATCH(n, on, length)                                                                       \
    (1ull << (2 * (n)) | ((on) | (uint64_t)(length) << 2) << (16 + 4 * (n)))

/* SDM 3B "Debug Control Register (DR7)". */
static void test_watch_memory(void **ctx)
{
    static const struct {
        uint64_t at;
        unsigned size;
        bool write;
        uint64_t conditions;
    } rows[] = {
        {0x1003, 1, true, 1},  {0x1004, 4, true, 0},      {0x0fff, 2, true, 1},
        {0x1000, 4, false, 0}, {0x2001, 1, false, 2},     {0x2000, 8, true, 2},
        {0x2002, 1, false, 0}, {0x1fff, 1, false, 0},     {0x0ffe, 0x1010, true, 3},
        {0x3004, 1, true, 4},  {0x3004, 1, false, 4},     {0x2ff9, 16, false, 4},
        {0x2ff8, 8, false, 0}, {UINT64_MAX, 1, false, 0},
    };

    (void)ctx;
    state.dr7 = WATCH(0, 1, 3) | WATCH(1, 3, 1) | WATCH(2, 3, 2) | WATCH(3, 0, 0);
    state.dr[0] = 0x1002; /* four bytes: the low bits do not count */
    state.dr[1] = 0x2000;
    state.dr[2] = 0x3000;
    state.dr[3] = 0x1003; /* execution */
    assert_true(x86_watches(v));
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        state.trap_due = 0;
        x86_watch_memory(v, rows[i].at, rows[i].size, rows[i].write);
        assert_int_equal(state.trap_due, rows[i].conditions);
    }
    /* One that is off reports its condition beside another's trap, and causes none. */
    state.trap_due = 0;
    state.dr7 &= ~1ull;
    x86_watch_memory(v, 0x1000, 4, true);
    assert_int_equal(state.trap_due, 0);
    x86_watch_memory(v, 0x1000, 0x1004, true);
    assert_int_equal(state.trap_due, 3);
}

/* With CR4.DE the R/W field 2 means ports. */
static void test_watch_port(void **ctx)
{
    (void)ctx;
    state.dr7 = WATCH(1, 2, 1);
    state.dr[1] = 0x3f8;
    state.port = 0x3f9;
    state.port_size = 1;
    state.last_was_port = true;
    x86_end_of_instruction(v);
    assert_int_equal(state.trap_due, 0);
    state.cr4 |= CR4_DE;
    x86_end_of_instruction(v);
    assert_int_equal(state.trap_due, 2);
    state.trap_due = 0;
    state.port = 0x3f6;
    state.port_size = 2;
    x86_end_of_instruction(v);
    assert_int_equal(state.trap_due, 0);
    state.port_size = 4;
    x86_end_of_instruction(v);
    assert_int_equal(state.trap_due, 2);
    state.trap_due = 0;
    state.last_was_port = false; /* CPUID, say */
    x86_end_of_instruction(v);
    assert_int_equal(state.trap_due, 0);
}

/* With APIC virtualization the CPU delivers the local APIC's interrupts; it is told of changes, and
 * what waits in HLT becomes active. */
static void test_by_cpu(void **ctx)
{
    struct lapic *l = &guest.platform.lapic[0];

    (void)ctx;
    l->apicv = true;
    lapic_mmio_write(l, LAPIC_SVR, 4, 0x1ff, 0);
    assert_true(x86_events_pending(v));
    x86_prepare_events(v, 3000);
    assert_true(l->by_cpu);
    assert_false(x86_events_pending(v));
    assert_int_equal(irqchip_msi(&guest.platform, LAPIC_BASE, 0x55), 0);
    state.rflags = RFLAGS_FIXED; /* the CPU recognizes it in the window, see wait_for_window() */
    x86_prepare_events(v, 3000);
    assert_true(state.irq_window);
    assert_int_equal(state.event, 0);
    assert_int_equal(state.rvi, 0x55);
    assert_int_equal(stats.irqs, 1);
    state.rflags |= RFLAGS_IF;
    x86_prepare_events(v, 3000);
    assert_false(state.irq_window || x86_events_pending(v));
    assert_int_equal(state.event, 0);
    /* HLT: what the CPU could not deliver in STI's shadow keeps it from starting. */
    state.rflags = RFLAGS_FIXED | RFLAGS_IF;
    assert_int_equal(x86_hlt(v), EXIT_SKIP);
    lapic_set_tpr(l, 0xff);
    assert_int_equal(x86_hlt(v), EXIT_HALT);
    v->halted = state.in_halt = true;
    x86_prepare_events(v, 4000);
    assert_true(v->halted && state.in_halt);
    lapic_set_tpr(l, 0);
    x86_prepare_events(v, 5000);
    assert_false(v->halted || state.in_halt);
    assert_int_equal(v->woke_at, 5000);
    assert_int_equal(state.event, 0);
    /* The 8259s' interrupts are injected as before. */
    raise_irq();
    x86_prepare_events(v, 6000);
    assert_int_equal(state.event, EVENT_VALID | EVENT_EXTERNAL | VECTOR_IRQ0);
    state.event = 0;
    /* Disabled by software: the root delivers what is pending. */
    lapic_mmio_write(l, LAPIC_SVR, 4, 0xff, 0);
    x86_prepare_events(v, 7000);
    assert_false(l->by_cpu);
    assert_int_equal(state.event, EVENT_VALID | EVENT_EXTERNAL | 0x55);
}

/* One that comes between the moment when the CPU is told and the entry is injected, and the CPU
 * knows that it is in service: otherwise the guest's EOI would not end it. */
static void test_late_by_cpu(void **ctx)
{
    struct lapic *l = &guest.platform.lapic[0];

    (void)ctx;
    l->apicv = true;
    lapic_mmio_write(l, LAPIC_SVR, 4, 0x1ff, 0);
    state.late_vector = 0x57;
    x86_prepare_events(v, 3000);
    assert_int_equal(state.event, EVENT_VALID | EVENT_EXTERNAL | 0x57);
    assert_int_equal(state.svi, 0x57);
    assert_int_equal(state.rvi, -1);
    assert_false(x86_events_pending(v));
}

/* Of several interrupts the root injects the first; no other comes before its handler has
 * interrupts on, even after its EOI. */
static void test_several_by_cpu(void **ctx)
{
    struct lapic *l = &guest.platform.lapic[0];

    (void)ctx;
    l->apicv = true;
    lapic_mmio_write(l, LAPIC_SVR, 4, 0x1ff, 0);
    assert_int_equal(irqchip_msi(&guest.platform, LAPIC_BASE, 0x55), 0);
    assert_int_equal(irqchip_msi(&guest.platform, LAPIC_BASE, 0x56), 0);
    assert_int_equal(irqchip_msi(&guest.platform, LAPIC_BASE, 0x93), 0);
    v->halted = state.in_halt = true;
    x86_prepare_events(v, 3000);
    assert_int_equal(state.event, EVENT_VALID | EVENT_EXTERNAL | 0x93);
    assert_false(v->halted || state.in_halt);
    assert_int_equal(state.svi, 0x93);
    assert_int_equal(state.rvi, 0x56);
    assert_true(state.irq_window);
    /* In the handler, with interrupts off; then after IRET. */
    state.event = 0;
    state.rflags = RFLAGS_FIXED;
    x86_prepare_events(v, 3100);
    assert_true(state.event == 0 && state.irq_window);
    lapic_mmio_write(l, LAPIC_EOI, 4, 0, 0);
    x86_prepare_events(v, 3200);
    assert_true(state.event == 0 && state.irq_window);
    state.rflags |= RFLAGS_IF;
    x86_prepare_events(v, 3300);
    assert_int_equal(state.event, EVENT_VALID | EVENT_EXTERNAL | 0x56);
    /* An exception on its way goes first. */
    state.event = GP;
    assert_int_equal(irqchip_msi(&guest.platform, LAPIC_BASE, 0xa1), 0);
    x86_prepare_events(v, 3400);
    assert_int_equal(state.event, GP);
    assert_int_equal(state.rvi, 0xa1);
    assert_true(state.irq_window);
}

/* ---- a timer that expires while the CPU works on the local APIC ---- */

#define DUE 5000u

static void set_timer(struct lapic *l, uint32_t entry)
{
    lapic_mmio_write(l, LAPIC_SVR, 4, 0x1ff, 0);
    lapic_mmio_write(l, LAPIC_LVT_TIMER, 4, entry, 0);
    lapic_mmio_write(l, LAPIC_DIVIDE, 4, 0xb, 0);
    lapic_mmio_write(l, LAPIC_INITIAL_COUNT, 4, DUE, 0);
    lapic_set_tsc_deadline(l, DUE, DUE);
    x86_prepare_events(v, 0);
}

/* What it would be like by the usual way. */
static void take_usual_way(uint64_t now)
{
    exit_timers(v, now);
    x86_prepare_events(v, now);
}

static void test_timer_by_cpu(void **ctx)
{
    static const uint32_t entries[] = {0x00061, 0x20061, 0x40061}; /* each mode */
    struct lapic *l = &guest.platform.lapic[0];

    for (unsigned i = 0; i < ARRAY_LEN(entries); i++) {
        (void)fixture_end(ctx);
        (void)fixture_vcpu(ctx);
        l->apicv = true;
        set_timer(l, entries[i]);
        assert_int_equal(l->deadline, DUE);
        assert_true(x86_timer_by_cpu(v, DUE));
        assert_int_equal(state.rvi, 0x61);
        assert_int_equal(lapic_highest(l, LAPIC_IRR), 0x61);
        assert_int_equal(stats.irqs, 1);
        assert_true(l->deadline == (i == 1 ? 2 * DUE : NEVER));
        assert_false(x86_events_pending(v) || vcpu_injects(v));
        /* The guest has not taken it: the next one is none of its own. */
        l->deadline = 2 * DUE;
        assert_false(x86_timer_by_cpu(v, 2 * DUE));
        assert_int_equal(l->deadline, 2 * DUE);
    }
}

static void make_any_state(struct lapic *l)
{
    static const uint32_t entries[] = {0x00061, 0x20061, 0x40061, 0x40005, 0x10061, 0x40021};

    l->apicv = some(8) != 0;
    set_timer(l, entries[some(ARRAY_LEN(entries))]);
    l->deadline = DUE;
    if (some(4) == 0)
        lapic_set_tpr(l, 0x20);
    if (some(4) == 0) {
        assert_int_equal(irqchip_msi(&guest.platform, LAPIC_BASE, 0x31), 0);
        l->regs[(LAPIC_TMR + 0x30) / 4] = some(2) << 1; /* as the timer's vector was used before */
        x86_prepare_events(v, 0);
    }
    if (some(4) == 0)
        (void)lapic_ack(l);
    x86_prepare_events(v, 0);
    state.event = some(8) == 0 ? GP : 0;
    state.rflags = RFLAGS_FIXED | (some(4) ? RFLAGS_IF : 0);
    state.shadow = some(6) == 0;
    state.trap_due = some(6) == 0;
    state.x86.reinject = some(8) == 0 ? EVENT_VALID | EVENT_EXTERNAL | 0x33 : 0;
    v->nmi = some(8) == 0;
    v->halted = state.in_halt = !state.shadow && some(8) == 0;
    if (some(8) == 0)
        raise_irq();
    if (some(8) == 0)
        lapic_mmio_write(l, LAPIC_SVR, 4, 0xff, 0);
    if (some(8) == 0)
        platform_set_event(&guest.platform, 0);
}

/* Whenever it does it, the usual way would have led to the same. Otherwise nothing has changed. */
static void test_timer_ways(void **ctx)
{
    static struct guest before, usual;
    static uint32_t page_before[LAPIC_PAGE / 4], page[LAPIC_PAGE / 4];
    struct lapic *l = &guest.platform.lapic[0];
    struct fake_state state_before, state_usual;
    struct abi_vcpu stats_usual;
    unsigned done = 0, left = 0;

    for (seed = 1; seed < 8000; seed += 2) {
        uint32_t start = seed;

        (void)fixture_end(ctx);
        (void)fixture_vcpu(ctx);
        memset(apic_registers, 0, sizeof(apic_registers));
        irqchip_reset(&guest.platform, 0);
        make_any_state(l);
        before = guest;
        state_before = state;
        memcpy(page_before, apic_registers, sizeof(page));
        stats.irqs = 0;
        take_usual_way(DUE);
        usual = guest;
        state_usual = state;
        memcpy(page, apic_registers, sizeof(page));
        stats_usual = stats;
        guest = before;
        state = state_before;
        memcpy(apic_registers, page_before, sizeof(page));
        stats.irqs = 0;
        if (x86_timer_by_cpu(v, DUE)) {
            assert_int_equal(state.irq_window, !(state.rflags & RFLAGS_IF) || state.shadow);
            guest.platform.clock.now = DUE; /* no device has looked at it */
            assert_memory_equal(&guest, &usual, sizeof(guest));
            assert_memory_equal(&state, &state_usual, sizeof(state));
            assert_memory_equal(apic_registers, page, sizeof(page));
            assert_int_equal(stats.irqs, stats_usual.irqs);
            done++;
        } else {
            assert_memory_equal(&guest, &before, sizeof(guest));
            assert_memory_equal(&state, &state_before, sizeof(state));
            assert_memory_equal(apic_registers, page_before, sizeof(page));
            left++;
        }
        seed = start;
    }
    assert_true(done > 100 && left > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_exception, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_reflected, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_again, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_interrupt, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_by_cpu, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_several_by_cpu, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_late_by_cpu, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_timer_by_cpu, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_timer_ways, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_nmi_first, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_any_state, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_end_of_instruction, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_watch_memory, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_watch_port, fixture_vcpu, fixture_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
