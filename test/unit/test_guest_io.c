/* SOURCES: hv/gmem.c arch/x86/guest/exits.c arch/x86/guest/apic.c arch/x86/guest/cr.c
 * arch/x86/guest/events.c arch/x86/guest/io.c arch/x86/guest/access.c arch/x86/guest/operand.c
 * arch/x86/guest/cpuid.c arch/x86/guest/msr.c arch/x86/guest/kvm_clock.c arch/x86/guest/segment.c
 * arch/x86/guest/paging.c arch/x86/guest/linear.c arch/x86/guest/breakpoints.c
 * arch/x86/guest/string_io.c hv/exit.c @pc hv/fmt.c hv/lib.c */
/* A guest's IN, OUT, INS and OUTS, with the devices of its PC. */
#include "test/unit/vcpu_fixture.h"

#include "arch/x86/guest/paging.h"

#define UART 0x3f8u
#define NONE 0x300u /* an unclaimed port */

static void test_in(void **ctx)
{
    (void)ctx;
    v->regs.rax = UINT64_MAX;
    assert_int_equal(x86_port_in(v, UART + 5, 1), EXIT_SKIP);
    assert_true(v->regs.rax == 0xffffffffffffff60ull); /* empty */
    assert_int_equal(guest.platform.clock.now, record.tsc);
    v->regs.rax = 0x1122334455667788ull;
    assert_int_equal(x86_port_in(v, NONE, 2), EXIT_SKIP);
    assert_true(v->regs.rax == 0x112233445566ffffull);
    assert_int_equal(x86_port_in(v, NONE, 4), EXIT_SKIP);
    assert_int_equal(v->regs.rax, 0xffffffff); /* the upper half is cleared */
    raise_irq();
    assert_int_equal(x86_port_in(v, NONE, 1), EXIT_DONE);
}

static void test_out(void **ctx)
{
    (void)ctx;
    v->regs.rax = 0x4142;
    assert_int_equal(x86_port_out(v, UART, 1), EXIT_SKIP);
    assert_int_equal(written, 1);
    assert_int_equal(console[0], 0x42);
    /* A deadline that was not there; an interrupt. */
    assert_int_equal(x86_port_out(v, PIT_PORT, 1), EXIT_SKIP);
    assert_int_equal(x86_port_out(v, PIT_PORT, 1), EXIT_DONE);
    assert_true(guest.platform.next_event != NEVER);
    assert_int_equal(x86_port_out(v, PIT_PORT, 1), EXIT_SKIP);
    raise_irq();
    assert_int_equal(x86_port_out(v, UART, 1), EXIT_DONE);
    v->regs.rax = 0x500000003ull;
    assert_int_equal(x86_port_out(v, 0xf4, 4), EXIT_STOP);
    assert_string_equal(stopped, "exit 3");
}

/* The PIT's interrupt has come due: OUT delivers it, except shortly before the end of a run. */
static void test_out_at_the_end(void **ctx)
{
    (void)ctx;
    (void)x86_port_out(v, PIT_PORT, 1);
    (void)x86_port_out(v, PIT_PORT, 1);
    record.tsc = v->closes = guest.platform.next_event + 1;
    assert_int_equal(x86_port_out(v, UART, 1), EXIT_SKIP);
    assert_int_equal(written, 1);
    assert_true(guest.platform.next_event <= record.tsc);
    assert_false(irqchip_pending(v->platform, 0));
    v->closes++;
    (void)x86_port_out(v, UART, 1);
    assert_int_equal(written, 2);
    assert_true(guest.platform.next_event > record.tsc);
}

static struct string_access outs(bool rep)
{
    return (struct string_access){
        .port = UART, .size = 1, .rep = rep, .address_bytes = 4, .segment = SEGMENT_DS};
}

static void test_outs(void **ctx)
{
    struct string_access a = outs(true);

    (void)ctx;
    memcpy(guest.mem.base + 0x100, "hello", 5);
    v->regs.rsi = 0x100;
    v->regs.rcx = 5;
    assert_int_equal(x86_string_io(v, &a, NEVER), EXIT_DONE);
    assert_memory_equal(console, "hello", 5);
    assert_int_equal(v->regs.rcx, 0);
    assert_int_equal(v->regs.rsi, 0x105);
    state.rflags |= RFLAGS_DF;
    v->regs.rcx = 2;
    v->regs.rsi = 0x104;
    assert_int_equal(x86_string_io(v, &a, NEVER), EXIT_DONE);
    assert_memory_equal(console + 5, "ol", 2);
}

/* Shortly before the end of a run none begins: the guest repeats it in its next run. */
static void test_outs_at_the_end(void **ctx)
{
    struct string_access a = outs(true);

    (void)ctx;
    v->regs.rcx = 2;
    v->closes = record.tsc;
    assert_int_equal(x86_string_io(v, &a, NEVER), EXIT_RESUME);
    assert_int_equal(v->regs.rcx, 2);
    assert_int_equal(written, 0);
    v->closes++;
    assert_int_equal(x86_string_io(v, &a, NEVER), EXIT_DONE);
    assert_int_equal(written, 2);
}

/* But not what the guest debugs: its traps would come once more. */
static void test_debugged_outs_at_the_end(void **ctx)
{
    struct string_access a = outs(true);

    (void)ctx;
    v->closes = record.tsc;
    v->regs.rcx = 2;
    state.dr7 = DR7_RESET | 1;
    assert_int_equal(x86_string_io(v, &a, NEVER), EXIT_DONE);
    assert_int_equal(written, 2);
    state.dr7 = DR7_RESET;
    state.rflags |= RFLAGS_TF;
    v->regs.rcx = 2;
    assert_int_equal(x86_string_io(v, &a, NEVER), EXIT_RESUME);
    assert_int_equal(v->regs.rcx, 1);
    assert_int_equal(state.trap_due, DR6_BS);
}

/* A string instruction that exceeds its time is interrupted, and resumes from its registers. */
static void test_outs_is_left(void **ctx)
{
    struct string_access a = outs(true);

    (void)ctx;
    v->regs.rsi = 0;
    v->regs.rcx = 100;
    assert_int_equal(x86_string_io(v, &a, 0), EXIT_RESUME);
    assert_int_equal(v->regs.rcx, 99);
    assert_int_equal(x86_string_io(v, &a, NEVER), EXIT_RESUME);
    assert_int_equal(v->regs.rcx, 99 - 64);
    assert_int_equal(x86_string_io(v, &a, NEVER), EXIT_DONE);
    assert_int_equal(written, 100);
}

/* SDM 3B "Single-Step Exception Condition", SDM 2B "REP": a trap behind each iteration, with RF set
 * in its image as long as another one follows (SDM 3A "Resume Flag"). */
static void test_outs_in_single_steps(void **ctx)
{
    struct string_access a = outs(true);

    (void)ctx;
    state.rflags |= RFLAGS_TF;
    state.shadow = true;
    v->regs.rcx = 2;
    assert_int_equal(x86_string_io(v, &a, NEVER), EXIT_RESUME);
    assert_int_equal(v->regs.rcx, 1);
    assert_int_equal(state.trap_due, DR6_BS);
    assert_true((state.rflags & RFLAGS_RF) && !state.shadow);
    state.trap_due = 0;
    state.rflags &= ~RFLAGS_RF;
    assert_int_equal(x86_string_io(v, &a, NEVER), EXIT_DONE); /* x86_end_of_instruction() follows */
    assert_false(state.rflags & RFLAGS_RF);
    assert_int_equal(written, 2);
    state.debugctl = DEBUGCTL_BTF;
    v->regs.rcx = 4;
    assert_int_equal(x86_string_io(v, &a, NEVER), EXIT_DONE);
    assert_int_equal(state.trap_due, 0);
}

/* An interrupt or NMI comes between two iterations. */
static void test_outs_is_interrupted(void **ctx)
{
    struct string_access a = outs(true);

    (void)ctx;
    raise_irq();
    v->regs.rcx = 10;
    assert_int_equal(x86_string_io(v, &a, NEVER), EXIT_RESUME);
    assert_int_equal(v->regs.rcx, 9);
    assert_true(state.rflags & RFLAGS_RF);
    state.rflags = RFLAGS_FIXED;
    v->nmi = true;
    assert_int_equal(x86_string_io(v, &a, NEVER), EXIT_RESUME);
    assert_int_equal(v->regs.rcx, 8);
    state.nmi_blocked = true; /* neither can be taken */
    assert_int_equal(x86_string_io(v, &a, NEVER), EXIT_DONE);
    assert_int_equal(v->regs.rcx, 0);
}

/* SDM 3B "Data Memory and I/O Breakpoint Exception Conditions". */
static void test_outs_is_watched(void **ctx)
{
    struct string_access a = outs(true);

    (void)ctx;
    v->regs.rsi = 0x100;
    v->regs.rcx = 4;
    state.dr7 = 1 | 3ull << 16; /* one byte at 0x102 */
    state.dr[0] = 0x102;
    assert_int_equal(x86_string_io(v, &a, NEVER), EXIT_RESUME);
    assert_int_equal(v->regs.rcx, 1);
    assert_int_equal(state.trap_due, DR6_B0);
    assert_true(state.rflags & RFLAGS_RF);
    state.trap_due = 0;
    assert_int_equal(x86_string_io(v, &a, NEVER), EXIT_DONE);
    assert_int_equal(state.trap_due, 0);
    state.cr4 |= CR4_DE;
    state.dr7 = 1 | 2ull << 16;
    state.dr[0] = UART;
    v->regs.rcx = 0; /* no iteration, no access */
    assert_int_equal(x86_string_io(v, &a, NEVER), EXIT_DONE);
    assert_int_equal(state.trap_due, 0);
    v->regs.rcx = 2;
    assert_int_equal(x86_string_io(v, &a, NEVER), EXIT_RESUME);
    assert_int_equal(state.trap_due, DR6_B0);
    assert_int_equal(v->regs.rcx, 1);
}

static void test_ins(void **ctx)
{
    struct string_access a = {
        .port = NONE, .size = 2, .in = true, .address_bytes = 4, .segment = SEGMENT_FS};

    (void)ctx;
    state.segment[SEGMENT_ES].base = 0x40;
    v->regs.rdi = 0x200;
    assert_int_equal(x86_string_io(v, &a, NEVER), EXIT_DONE);
    assert_memory_equal(guest.mem.base + 0x240, "\xff\xff", 3);
    assert_int_equal(v->regs.rdi, 0x202);
}

static void test_faults(void **ctx)
{
    struct string_access a = outs(false);

    (void)ctx;
    state.segment[SEGMENT_DS].limit = 0xfff;
    v->regs.rsi = 0x1000;
    ASSERT_RAISES(x86_string_io(v, &a, NEVER), GP, 0);
    state.segment[SEGMENT_DS].limit = UINT32_MAX;
    state.cr0 |= CR0_PG; /* all of its tables are zero */
    state.cpl = 3;
    ASSERT_RAISES(x86_string_io(v, &a, NEVER),
                  EVENT_VALID | EVENT_EXCEPTION | EVENT_ERROR_CODE | VECTOR_PF, PF_USER);
    assert_int_equal(state.cr2, 0x1000);
    state.cr0 &= ~CR0_PG;
    v->regs.rsi = MEMORY + 5;
    guest.config.strict_memory = true;
    assert_int_equal(x86_string_io(v, &a, NEVER), EXIT_STOP);
    assert_string_equal(
        stopped, "read from guest-physical address 0x10005, outside of its memory, at RIP 0x1234");
}

/* Where there is no RAM, in whole or in part. */
static void test_outside(void **ctx)
{
    struct string_access a = outs(true);

    (void)ctx;
    memcpy(guest.mem.base + MEMORY - 2, "AB", 2);
    v->regs.rsi = MEMORY - 2;
    v->regs.rcx = 4;
    assert_int_equal(x86_string_io(v, &a, NEVER), EXIT_DONE);
    assert_memory_equal(console, "AB\xff\xff", 4);
    assert_true(v->regs.rsi == MEMORY + 2 && v->regs.rcx == 0);
    assert_int_equal(stats.unclaimed_reads, 2);
    a = (struct string_access){.port = NONE, .size = 4, .in = true, .address_bytes = 4};
    v->regs.rdi = MEMORY - 1;
    guest.mem.base[MEMORY - 1] = 0;
    assert_int_equal(x86_string_io(v, &a, NEVER), EXIT_DONE);
    assert_int_equal(guest.mem.base[MEMORY - 1], 0xff);
    assert_int_equal(stats.unclaimed_writes, 3);
    assert_true(v->regs.rdi == MEMORY + 3);
    /* Page tables outside of it end any guest. */
    state.cr0 |= CR0_PG;
    state.cr3 = MEMORY;
    assert_int_equal(x86_string_io(v, &a, NEVER), EXIT_STOP);
    assert_string_equal(
        stopped, "wrote to guest-physical address 0x10000, outside of its memory, at RIP 0x1234");
}

static void test_ends_the_guest(void **ctx)
{
    struct string_access a = outs(true);

    (void)ctx;
    a.port = 0xf4;
    v->regs.rcx = 3;
    assert_int_equal(x86_string_io(v, &a, NEVER), EXIT_STOP);
    assert_int_equal(v->regs.rcx, 2);
    v->stop = false;
    a.rep = false;
    assert_int_equal(x86_string_io(v, &a, NEVER), EXIT_STOP);
}

/* A CPU that reports neither segment nor size: the size is the code segment's, and the segment is
 * the one whose base fits. */
static void test_without_instruction_information(void **ctx)
{
    struct string_access a = {.port = UART, .size = 1};

    (void)ctx;
    state.segment[SEGMENT_CS].rights &= ~SEGMENT_RIGHTS_DB; /* 16-bit code */
    state.segment[SEGMENT_GS].base = 0x3000;
    guest.mem.base[0x3010] = 'G';
    v->regs.rsi = 0x70010;
    a.linear = 0x3010;
    assert_int_equal(x86_string_io(v, &a, NEVER), EXIT_DONE);
    assert_int_equal(console[0], 'G');
    assert_int_equal(v->regs.rsi, 0x70011);
    /* 64-bit code: flat. */
    state.efer = EFER_LME | EFER_LMA;
    state.segment[SEGMENT_CS].rights |= SEGMENT_RIGHTS_L;
    v->regs.rsi = a.linear = 0x3010;
    assert_int_equal(x86_string_io(v, &a, NEVER), EXIT_DONE);
    assert_int_equal(v->regs.rsi, 0x3011);
    a.in = true;
    v->regs.rdi = 0x500;
    assert_int_equal(x86_string_io(v, &a, NEVER), EXIT_DONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_in, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_out, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_out_at_the_end, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_outs, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_outs_at_the_end, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_debugged_outs_at_the_end, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_outs_is_left, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_outs_in_single_steps, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_outs_is_interrupted, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_outs_is_watched, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_ins, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_faults, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_outside, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_ends_the_guest, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_without_instruction_information, fixture_vcpu,
                                        fixture_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
