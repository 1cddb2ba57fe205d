/* SOURCES: hv/gmem.c arch/x86/guest/exits.c arch/x86/guest/apic.c arch/x86/guest/cr.c
 * arch/x86/guest/events.c arch/x86/guest/cpuid.c arch/x86/guest/msr.c arch/x86/guest/kvm_clock.c
 * arch/x86/guest/segment.c arch/x86/guest/paging.c arch/x86/guest/linear.c
 * arch/x86/guest/breakpoints.c hv/exit.c @pc hv/fmt.c hv/lib.c */
/* The state in which a vCPU begins, and after INIT and SIPI: SDM 3A "IA-32 and Intel 64 Processor
 * States Following Power-up, Reset, or INIT". */
#include "test/unit/vcpu_fixture.h"

static uint64_t root_cr4;
#define read_cr4() root_cr4
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow" /* of the fixture's vCPU */
#include "arch/x86/guest/start.c"
#pragma GCC diagnostic pop

uint64_t arch_tsc_hz(void)
{
    return 1000000000;
}

#define MACHINE_CHECKS (CR4_MCE | CR4_VMXE)

static int fixture(void **ctx)
{
    int rc = fixture_vcpu(ctx);

    root_cr4 = CR4_PAE | CR4_MCE | CR4_VMXE | CR4_SMEP | CR4_OSXSAVE;
    return rc;
}

/* As busy as a vCPU can be. */
static void dirty(void)
{
    state.event = EVENT_VALID | EVENT_NMI | VECTOR_NMI;
    state.shadow = state.nmi_blocked = state.in_halt = true;
    state.irq_window = state.nmi_window = true;
    state.trap_due = DR6_BS;
    state.x86.reinject = EVENT_VALID | EVENT_EXTERNAL | 0x40;
    state.x86.cr8 = 7;
    cpuid_policy_osxsave(&state.x86.cpuid, true);
    state.rip = state.rsp = state.cr3 = state.cr2 = state.dr7 = UINT32_MAX;
    state.rflags = RFLAGS_FIXED | RFLAGS_IF | RFLAGS_TF;
    state.efer = EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE;
    state.cr0 = CR0_PG | CR0_PE | CR0_NE | CR0_ET | CR0_WP;
    state.shown_cr0 = state.cr0 | CR0_CD | CR0_NW;
    state.cr4 = state.shown_cr4 = UINT32_MAX;
    for (unsigned i = 0; i < 7; i++)
        state.dr[i] = 0x1111;
    memset(&v->regs, 0xee, sizeof(v->regs));
    memset(state.segment, 0xee, sizeof(state.segment));
    state.cpl = 3;
}

static void assert_segment(enum segment_id id, uint16_t selector, uint64_t base, uint32_t limit,
                           uint32_t rights)
{
    const struct segment *s = &state.segment[id];

    assert_int_equal(state.selector[id], selector);
    assert_true(s->base == base && s->limit == limit);
    assert_int_equal(s->rights, rights);
}

static void assert_nothing_is_left(void)
{
    assert_int_equal(state.event, 0);
    assert_false(state.shadow || state.nmi_blocked || state.in_halt);
    assert_false(state.irq_window || state.nmi_window || state.trap_due);
    assert_int_equal(state.rflags, RFLAGS_FIXED);
    assert_true(state.efer == 0 && state.cr3 == 0 && state.cpl == 0);
    assert_int_equal(state.dr7, DR7_RESET);
    assert_int_equal(state.dr[6], DR6_RESET);
    assert_int_equal(state.shown_cr4, 0);
    assert_int_equal(state.cr4, MACHINE_CHECKS);
}

static void assert_is_reset(uint64_t caches)
{
    const struct vcpu_gprs reset = {.rdx = state.x86.cpuid.basic[1].eax};

    assert_nothing_is_left();
    assert_memory_equal(&v->regs, &reset, sizeof(reset));
    assert_true(state.rip == 0xfff0 && state.rsp == 0 && state.cr2 == 0);
    assert_int_equal(state.cr0, CR0_ET | CR0_NE);
    assert_int_equal(state.shown_cr0, CR0_ET | caches);
    assert_segment(SEGMENT_CS, 0xf000, 0xffff0000, 0xffff, 0x9b);
    assert_segment(SEGMENT_DS, 0, 0, 0xffff, 0x93);
    assert_segment(SEGMENT_SS, 0, 0, 0xffff, 0x93);
    assert_segment(SEGMENT_LDTR, 0, 0, 0xffff, 0x82);
    assert_segment(SEGMENT_TR, 0, 0, 0xffff, 0x8b);
    assert_true(state.gdtr.base == 0 && state.gdtr.limit == 0xffff);
    assert_true(state.idtr.base == 0 && state.idtr.limit == 0xffff);
    for (unsigned n = 0; n < 4; n++)
        assert_int_equal(state.dr[n], 0);
    assert_true(state.x86.reinject == 0 && state.x86.cr8 == 0);
    assert_int_equal(state.x86.cpuid.basic[1].ecx & (1u << 27), 0); /* OSXSAVE */
    assert_int_equal(state.flushes, 1);
}

static void after_init(void **ctx)
{
    (void)ctx;
    dirty();
    x86_vcpu_reset(v);
    assert_int_equal(state.loads, 1);
    assert_is_reset(CR0_CD | CR0_NW);
}

static void after_sipi(void **ctx)
{
    (void)ctx;
    x86_vcpu_reset(v);
    x86_vcpu_start(v, 0x9a);
    assert_segment(SEGMENT_CS, 0x9a00, 0x9a000, 0xffff, 0x9b);
    assert_int_equal(state.rip, 0);
}

/* What an earlier life left in the backend's structure counts for nothing. */
static void another_vcpu_begins_after_init(void **ctx)
{
    static const struct load_result s = {.mode = LOAD_PROT32, .rip = 0x100000};

    (void)ctx;
    dirty();
    v->number = 1;
    x86_begin(v, &s);
    assert_is_reset(0);
    v->number = 0;
}

static void the_first_begins_as_it_was_loaded(void **ctx)
{
    const struct load_result s = {.mode = LOAD_PROT32,
                                  .cs = 0x10,
                                  .ds = 0x18,
                                  .rip = 0x100000,
                                  .rsp = 0x9000,
                                  .rax = 1,
                                  .rbx = 2,
                                  .rcx = 3,
                                  .rdx = 4,
                                  .rsi = 5,
                                  .rdi = 6,
                                  .rbp = 7,
                                  .gdt_base = 0x8000,
                                  .gdt_limit = 31};
    const struct vcpu_gprs regs = {
        .rax = 1, .rbx = 2, .rcx = 3, .rdx = 4, .rsi = 5, .rdi = 6, .rbp = 7};

    (void)ctx;
    dirty();
    x86_begin(v, &s);
    assert_nothing_is_left();
    assert_memory_equal(&v->regs, &regs, sizeof(regs));
    assert_true(state.rip == 0x100000 && state.rsp == 0x9000);
    assert_int_equal(state.cr0, CR0_PE | CR0_ET | CR0_NE);
    assert_int_equal(state.shown_cr0, CR0_PE | CR0_ET);
    assert_segment(SEGMENT_CS, 0x10, 0, UINT32_MAX, 0xc09b);
    assert_segment(SEGMENT_GS, 0x18, 0, UINT32_MAX, 0xc093);
    assert_true(state.gdtr.base == 0x8000 && state.gdtr.limit == 31 && state.idtr.limit == 0);
}

/* What CPUID says is this computer's, but for what the guest has. */
static void policies(void **ctx)
{
    const struct cpuid_policy *p = &state.x86.cpuid;

    (void)ctx;
    guest.vcpu_count = 4;
    dirty();
    x86_reset_policies(v, false, false);
    assert_int_equal(p->basic[1].ebx >> 16, 4);
    assert_int_equal(p->basic[7].ebx & (1u << 10), 0);    /* INVPCID */
    assert_int_equal(p->extended[1].edx & (1u << 27), 0); /* RDTSCP */
    assert_int_equal(p->hypervisor[CPUID_HYPERVISOR_MAX].eax, 1000000);
    assert_true(state.x86.reinject == 0 && state.x86.cr8 == 0);
}

static void or_in_real_mode(void **ctx)
{
    static const struct load_result s = {.mode = LOAD_REAL16, .rip = 0x7c00, .rsp = 0x6000};

    (void)ctx;
    x86_begin(v, &s);
    assert_int_equal(state.shown_cr0, CR0_ET);
    assert_segment(SEGMENT_CS, 0, 0, 0xffff, 0x9b);
    assert_segment(SEGMENT_ES, 0, 0, 0xffff, 0x93);
    assert_int_equal(state.idtr.limit, 0x3ff);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture, fixture_end)
    const struct CMUnitTest tests[] = {
        TEST(after_init),
        TEST(after_sipi),
        TEST(another_vcpu_begins_after_init),
        TEST(the_first_begins_as_it_was_loaded),
        TEST(or_in_real_mode),
        TEST(policies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
