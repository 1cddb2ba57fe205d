/* SOURCES: hv/gmem.c arch/x86/guest/exits.c arch/x86/guest/apic.c arch/x86/guest/cr.c
 * arch/x86/guest/events.c arch/x86/guest/cpuid.c arch/x86/guest/msr.c arch/x86/guest/kvm_clock.c
 * arch/x86/guest/segment.c arch/x86/guest/paging.c arch/x86/guest/linear.c
 * arch/x86/guest/breakpoints.c hv/exit.c @pc hv/fmt.c hv/lib.c */
/* Instructions that exit, checked against the SDM's descriptions. */
#include "hv/arch.h"
#include "test/unit/vcpu_fixture.h"

uint64_t arch_test_clock(void)
{
    return 50000;
}

static void test_cpuid(void **ctx)
{
    (void)ctx;
    v->regs.rax = 0xffffffff00000000ull | CPUID_HYPERVISOR;
    v->regs.rbx = UINT64_MAX;
    assert_int_equal(x86_cpuid(v), EXIT_SKIP);
    assert_memory_equal(&v->regs.rbx, "KVMK\0\0\0\0", 8); /* the upper halves are cleared */
    assert_int_equal(record.detail, 0xffffffff00000000ull | CPUID_HYPERVISOR);
}

static void test_msrs(void **ctx)
{
    (void)ctx;
    v->regs.rcx = 0xffffffff00000000ull | MSR_IA32_BIOS_SIGN_ID;
    v->regs.rax = v->regs.rdx = UINT64_MAX;
    assert_int_equal(x86_rdmsr(v), EXIT_SKIP);
    assert_int_equal(record.detail, MSR_IA32_BIOS_SIGN_ID);
    assert_int_equal(v->regs.rax, 0);
    assert_int_equal(v->regs.rdx, 1);
    v->regs.rcx = MSR_IA32_DEBUGCTL;
    state.debugctl = DEBUGCTL_BTF;
    assert_int_equal(x86_rdmsr(v), EXIT_SKIP);
    assert_int_equal(v->regs.rax, DEBUGCTL_BTF);
    v->regs.rax = DEBUGCTL_LBR;
    v->regs.rdx = 0;
    assert_int_equal(x86_wrmsr(v), EXIT_SKIP);
    assert_int_equal(state.debugctl, DEBUGCTL_LBR);
    v->regs.rcx = 0x10; /* IA32_TIME_STAMP_COUNTER */
    v->regs.rax = 0xffffffff00000007ull;
    v->regs.rdx = 0xffffffff00000002ull;
    assert_int_equal(x86_wrmsr(v), EXIT_DONE);
    assert_int_equal(state.tsc, 0x200000007ull);
    v->regs.rcx = 0xdead;
    v->regs.rax = 3;
    ASSERT_RAISES(x86_rdmsr(v), GP, 0);
    ASSERT_RAISES(x86_wrmsr(v), GP, 0);
    assert_int_equal(v->regs.rax, 3);
    v->regs.rcx = MSR_IA32_MISC_ENABLE;
    v->regs.rax = 1u << 22 | 1u << 11 | 1u << 12; /* SDM 4: limit CPUID's maximum */
    v->regs.rdx = 0;
    assert_int_equal(x86_wrmsr(v), EXIT_SKIP);
    v->regs.rax = 0;
    assert_int_equal(x86_cpuid(v), EXIT_SKIP);
    assert_int_equal(v->regs.rax, 2);
}

/* Through the MSRs, and as of the guest's TSC. */
static void test_kvm_clock(void **ctx)
{
    struct kvm_system_time t;

    (void)ctx;
    guest.platform.power_on.tsc = 700;
    guest.platform.power_on.epoch = 42;
    state.tsc_offset = 50;
    v->regs.rcx = MSR_KVM_SYSTEM_TIME;
    v->regs.rax = 0x1000 | 1;
    v->regs.rdx = 0;
    assert_int_equal(x86_wrmsr(v), EXIT_SKIP);
    memcpy(&t, guest.mem.base + 0x1000, sizeof(t));
    assert_int_equal(t.tsc, 750);
    assert_int_equal(t.time, 0);
    v->regs.rax = 0;
    assert_int_equal(x86_rdmsr(v), EXIT_SKIP);
    assert_int_equal(v->regs.rax, 0x1001);
    v->regs.rax = MEMORY | 1;
    ASSERT_RAISES(x86_wrmsr(v), GP, 0);
    /* A pause that its TSC does not see: nothing has to be written. */
    platform_shift(&guest.platform, 1000);
    state.tsc_offset -= 1000;
    v->regs.rax = 0x1040 | 1;
    assert_int_equal(x86_wrmsr(v), EXIT_SKIP);
    memcpy(&t, guest.mem.base + 0x1040, sizeof(t));
    assert_int_equal(t.tsc, 750);
    state.tsc_offset = 0; /* the guest writes its TSC */
    v->regs.rcx = 0x10;
    assert_int_equal(x86_wrmsr(v), EXIT_DONE);
    memcpy(&t, guest.mem.base + 0x1040, sizeof(t));
    assert_int_equal(t.tsc, 1700);
    v->regs.rcx = MSR_KVM_WALL_CLOCK;
    v->regs.rax = 0x1080;
    assert_int_equal(x86_wrmsr(v), EXIT_SKIP);
    assert_int_equal(guest.mem.base[0x1084], 42);
}

static uint64_t rdmsr_of(uint32_t msr)
{
    v->regs.rcx = msr;
    assert_int_equal(x86_rdmsr(v), EXIT_SKIP);
    return v->regs.rdx << 32 | v->regs.rax;
}

static enum exit_action wrmsr_of(uint32_t msr, uint64_t value)
{
    v->regs.rcx = msr;
    v->regs.rax = (uint32_t)value;
    v->regs.rdx = value >> 32;
    return x86_wrmsr(v);
}

/* SDM 3A "x2APIC Register Address Space", "TSC-Deadline Mode". */
static void test_apic(void **ctx)
{
    struct lapic *l = &guest.platform.lapic[0];

    (void)ctx;
    assert_int_equal(rdmsr_of(MSR_IA32_APIC_BASE), 0xfee00900);
    ASSERT_RAISES(wrmsr_of(MSR_IA32_APIC_BASE, 0xfee00500), GP, 0);
    ASSERT_RAISES(wrmsr_of(0x808, 0), GP, 0);
    assert_int_equal(wrmsr_of(MSR_IA32_APIC_BASE, 0xfee00d00), EXIT_SKIP);
    assert_int_equal(wrmsr_of(0x80f, 0x1ff), EXIT_SKIP);
    ASSERT_RAISES(wrmsr_of(0x80b, 1), GP, 0);
    v->regs.rcx = 0x80b;
    ASSERT_RAISES(x86_rdmsr(v), GP, 0);
    assert_int_equal(wrmsr_of(0x83f, 0x55), EXIT_DONE); /* to itself: there is work */
    assert_int_equal(rdmsr_of(0x808), 0);
    assert_int_equal(x86_write_cr(v, 8, 5), EXIT_SKIP);
    assert_int_equal(rdmsr_of(0x808), 0x50);
    assert_int_equal(x86_write_cr(v, 8, 4), EXIT_DONE);
    assert_int_equal(x86_read_cr(v, 8, 3), EXIT_SKIP);
    assert_int_equal(v->regs.rbx, 4);
    assert_int_equal(irqchip_ack(&guest.platform, 0), 0x55);
    assert_int_equal(wrmsr_of(0x80b, 0), EXIT_SKIP);
    /* The guest's TSC is 1000; host time does not matter. */
    state.tsc = 1000;
    record.tsc = arch_tsc();
    state.tsc_offset = state.tsc - record.tsc;
    v->until = record.tsc + 10000;
    assert_int_equal(wrmsr_of(MSR_IA32_TSC_DEADLINE, 5000), EXIT_SKIP); /* another mode */
    assert_int_equal(rdmsr_of(MSR_IA32_TSC_DEADLINE), 0);
    assert_int_equal(wrmsr_of(0x832, 0x40061), EXIT_SKIP);
    assert_int_equal(wrmsr_of(MSR_IA32_TSC_DEADLINE, 5000), EXIT_SKIP);
    assert_int_equal(rdmsr_of(MSR_IA32_TSC_DEADLINE), 5000);
    assert_int_equal(l->deadline, arch_tsc() + 4000);
    assert_int_equal(state.deadline, l->deadline); /* the next entry's */
    assert_int_equal(state.deadline_set, record.tsc);
    assert_int_equal(wrmsr_of(0x10, 2000), EXIT_DONE); /* the TSC itself */
    assert_int_equal(l->deadline, arch_tsc() + 3000);
    record.tsc = l->deadline;
    v->regs.rcx = MSR_IA32_TSC_DEADLINE;
    assert_int_equal(x86_rdmsr(v), EXIT_SKIP); /* over */
    assert_int_equal(v->regs.rax, 0);
    assert_int_equal(irqchip_ack(&guest.platform, 0), 0x61);
    assert_int_equal(wrmsr_of(0x80b, 0), EXIT_SKIP);
    assert_int_equal(wrmsr_of(MSR_IA32_TSC_DEADLINE, UINT64_MAX), EXIT_SKIP);
    assert_true(l->deadline == NEVER - 1);
    assert_int_equal(state.deadline, v->until); /* its run ends before */
    assert_int_equal(wrmsr_of(MSR_IA32_TSC_DEADLINE, 0), EXIT_SKIP);
    assert_true(l->deadline == NEVER);
    assert_int_equal(wrmsr_of(MSR_IA32_TSC_DEADLINE, 1), EXIT_DONE); /* long past */
    assert_int_equal(l->deadline, record.tsc);
    v->until = record.tsc; /* the run is over */
    assert_int_equal(wrmsr_of(MSR_IA32_TSC_DEADLINE, UINT64_MAX - 1), EXIT_DONE);
    assert_true(l->deadline == NEVER - 1);
    /* Off: CPUID says so. */
    assert_int_equal(wrmsr_of(MSR_IA32_APIC_BASE, 0xfee00100), EXIT_DONE);
    v->regs.rax = 1;
    assert_int_equal(x86_cpuid(v), EXIT_SKIP);
    assert_false(v->regs.rdx >> 9 & 1);
}

/* A guest without: CPUID shows none, and some look for the boot processor's flag anyway. */
static void test_no_apic(void **ctx)
{
    (void)ctx;
    guest.platform.devices &= ~(uint32_t)DEV_APIC;
    assert_int_equal(rdmsr_of(MSR_IA32_APIC_BASE), 0xfee00100);
    assert_int_equal(wrmsr_of(MSR_IA32_APIC_BASE, 0xfee00100), EXIT_SKIP);
    for (unsigned bit = 0; bit < 64; bit++)
        ASSERT_RAISES(wrmsr_of(MSR_IA32_APIC_BASE, 0xfee00100 ^ 1ull << bit), GP, 0);
    ASSERT_RAISES(wrmsr_of(MSR_IA32_TSC_DEADLINE, 0), GP, 0);
    ASSERT_RAISES(wrmsr_of(0x808, 0), GP, 0);
    assert_int_equal(x86_write_cr(v, 8, 7), EXIT_SKIP);
    assert_int_equal(x86_read_cr(v, 8, 3), EXIT_SKIP);
    assert_int_equal(v->regs.rbx, 7);
}

/* SDM 2A "HLT". */
static void test_hlt(void **ctx)
{
    (void)ctx;
    assert_int_equal(x86_hlt(v), EXIT_HALT);
    state.rflags |= RFLAGS_TF; /* the trap is due after it */
    assert_int_equal(x86_hlt(v), EXIT_SKIP);
    state.debugctl = DEBUGCTL_BTF; /* HLT is no branch */
    assert_int_equal(x86_hlt(v), EXIT_HALT);
    state.trap_due = true;
    assert_int_equal(x86_hlt(v), EXIT_SKIP);
    state.trap_due = false;
    state.x86.reinject = EVENT_VALID;
    assert_int_equal(x86_hlt(v), EXIT_SKIP);
    state.x86.reinject = 0;
    v->nmi = true;
    assert_int_equal(x86_hlt(v), EXIT_SKIP);
    state.nmi_blocked = true; /* in the handler of another one */
    assert_int_equal(x86_hlt(v), EXIT_HALT);
    v->nmi = false;
    raise_irq();
    assert_int_equal(x86_hlt(v), EXIT_SKIP);
    state.rflags = RFLAGS_FIXED;
    assert_int_equal(x86_hlt(v), EXIT_STOP);
    assert_string_equal(stopped, "halted with interrupts off at RIP 0x1234");
    /* With other vCPUs that go on it waits for an NMI or INIT. */
    v->stop = false;
    others_go_on = true;
    assert_int_equal(x86_hlt(v), EXIT_HALT);
    assert_true(v->deaf);
    others_go_on = false;
    v->deaf = false;
}

static void test_hypercall(void **ctx)
{
    (void)ctx;
    v->regs.rax = 41;
    assert_int_equal(x86_hypercall(v), EXIT_SKIP);
    assert_int_equal(v->regs.rax, 42);
    assert_int_equal(record.detail, 41);
    state.cpl = 3;
    ASSERT_RAISES(x86_hypercall(v), UD, 0);
    assert_int_equal(v->regs.rax, 42);
}

static void test_tsc(void **ctx)
{
    (void)ctx;
    state.tsc = 0x500000006ull;
    state.tsc_aux = 0xffffffff00000009ull;
    assert_int_equal(x86_rdtscp(v), EXIT_SKIP);
    assert_int_equal(v->regs.rax, 6);
    assert_int_equal(v->regs.rdx, 5);
    assert_int_equal(v->regs.rcx, 9);
}

/* SDM 2D "XSETBV". */
static void test_xsetbv(void **ctx)
{
    (void)ctx;
    v->regs.rax = 7;
    ASSERT_RAISES(x86_xsetbv(v), UD, 0); /* CR4.OSXSAVE is clear */
    state.shown_cr4 = CR4_OSXSAVE;
    assert_int_equal(x86_xsetbv(v), EXIT_SKIP);
    assert_int_equal(state.xcr0, 7);
    v->regs.rax = 4; /* AVX without SSE and x87 */
    ASSERT_RAISES(x86_xsetbv(v), GP, 0);
    v->regs.rax = 7;
    v->regs.rcx = 1;
    ASSERT_RAISES(x86_xsetbv(v), GP, 0);
    v->regs.rcx = 0;
    state.cpl = 3;
    ASSERT_RAISES(x86_xsetbv(v), GP, 0);
    state.cpl = 0;
    xcr0_allowed = 0;
    ASSERT_RAISES(x86_xsetbv(v), UD, 0);
}

static void test_registers_by_number(void **ctx)
{
    uint64_t *const regs[16] = {&v->regs.rax, &v->regs.rcx, &v->regs.rdx, &v->regs.rbx,
                                &state.rsp,   &v->regs.rbp, &v->regs.rsi, &v->regs.rdi,
                                &v->regs.r8,  &v->regs.r9,  &v->regs.r10, &v->regs.r11,
                                &v->regs.r12, &v->regs.r13, &v->regs.r14, &v->regs.r15};

    (void)ctx;
    for (unsigned i = 0; i < 16; i++) {
        x86_write_gpr(v, i, 100 + i);
        assert_int_equal(*regs[i], 100 + i);
        assert_int_equal(x86_read_gpr(v, i), 100 + i);
    }
}

static void test_invalidations(void **ctx)
{
    (void)ctx;
    assert_int_equal(x86_invlpg(v), EXIT_SKIP);
    assert_int_equal(state.flushes, 1);
    assert_int_equal(x86_skip(v), EXIT_SKIP);
    assert_int_equal(x86_resume(v), EXIT_RESUME);
}

static enum exit_action invpcid(uint64_t type, uint64_t pcid, uint64_t linear)
{
    memcpy(guest.mem.base + 0x500, &pcid, sizeof(pcid));
    memcpy(guest.mem.base + 0x508, &linear, sizeof(linear));
    v->regs.rbx = type;
    return x86_invpcid(v, 3, SEGMENT_DS, 0x500);
}

/* SDM 2A "INVPCID": its table of exceptions. */
static void test_invpcid(void **ctx)
{
    const uint64_t bad = 1ull << 47;

    (void)ctx;
    for (uint64_t type = 0; type <= 3; type++)
        assert_int_equal(invpcid(type, 0, 0x1000), EXIT_SKIP);
    assert_int_equal(state.flushes, 4);
    ASSERT_RAISES(invpcid(4, 0, 0), GP, 0);
    ASSERT_RAISES(invpcid(2, 1ull << 12, 0), GP, 0); /* reserved, whatever the type */
    ASSERT_RAISES(invpcid(3, 1ull << 63, 0), GP, 0);
    ASSERT_RAISES(invpcid(0, 0, bad), GP, 0);
    assert_int_equal(invpcid(1, 0, bad), EXIT_SKIP); /* no address is used */
    ASSERT_RAISES(invpcid(0, 5, 0), GP, 0);          /* CR4.PCIDE is clear */
    ASSERT_RAISES(invpcid(1, 5, 0), GP, 0);
    assert_int_equal(invpcid(2, 5, 0), EXIT_SKIP); /* all of them */
    state.cr4 |= CR4_PCIDE;
    assert_int_equal(invpcid(0, 0xfff, ~0ull), EXIT_SKIP);
    assert_int_equal(invpcid(1, 5, 0), EXIT_SKIP);
    /* Outside of 64-bit mode the register has 32 bits. */
    assert_int_equal(invpcid(1ull << 40 | 1, 0, 0), EXIT_SKIP);
    state.efer = EFER_LMA;
    state.segment[SEGMENT_CS].rights |= SEGMENT_RIGHTS_L;
    ASSERT_RAISES(invpcid(1ull << 40 | 1, 0, 0), GP, 0);
    state.efer = 0;
    /* Its descriptor is an operand like others. */
    memset(guest.mem.base + 0xff8, 0, 8);
    memset(guest.mem.base + 0x1000, 0xff, 8); /* the address is in the next page */
    v->regs.rbx = 0;
    assert_int_equal(x86_invpcid(v, 3, SEGMENT_DS, 0xff8), EXIT_SKIP);
    memset(guest.mem.base + 0x1000, 0x7f, 8);
    ASSERT_RAISES(x86_invpcid(v, 3, SEGMENT_DS, 0xff8), GP, 0);
    state.segment[SEGMENT_DS].limit = 0x50e;
    ASSERT_RAISES(invpcid(2, 0, 0), GP, 0);
    state.segment[SEGMENT_DS].limit = UINT32_MAX;
    state.cr0 |= CR0_PG;
    ASSERT_RAISES(invpcid(2, 0, 0), EVENT_VALID | EVENT_EXCEPTION | EVENT_ERROR_CODE | VECTOR_PF,
                  0);
    assert_int_equal(state.cr2, 0x500);
    state.cr0 &= ~CR0_PG;
    v->regs.rbx = 2;
    assert_int_equal(x86_invpcid(v, 3, SEGMENT_DS, MEMORY - 8), EXIT_STOP);
}

/* SDM 2B "MOV - Move to/from Control Registers": operands have 32 bits outside of 64-bit mode. */
static void test_operands(void **ctx)
{
    const uint64_t value = 0xdeadbeef00000011ull;

    (void)ctx;
    v->regs.rax = value;
    assert_int_equal(x86_read_operand(v, 0), 0x11);
    assert_int_equal(x86_mov_dr(v, 7, false, 0), EXIT_SKIP);
    assert_int_equal(state.dr7, 0x411);
    state.efer = EFER_LMA;
    assert_int_equal(x86_read_operand(v, 0), 0x11); /* compatibility mode */
    state.segment[SEGMENT_CS].rights |= SEGMENT_RIGHTS_L;
    assert_true(x86_read_operand(v, 0) == value);
    ASSERT_RAISES(x86_mov_dr(v, 7, false, 0), GP, 0);
}

/* SDM 3A "Resume Flag": 1 in the image of a fault, whose instruction will be executed again. */
static void test_faults_set_rf(void **ctx)
{
    (void)ctx;
    ASSERT_RAISES(x86_raise_ud(v), UD, 0);
    assert_true(state.rflags & RFLAGS_RF);
    state.rflags &= ~RFLAGS_RF;
    state.dr7 |= DR7_GD;
    ASSERT_RAISES(x86_mov_dr(v, 0, true, 0), DB, 0);
    assert_true(state.rflags & RFLAGS_RF);
    /* One that the CPU delivered to the root has its RF already. */
    state.rflags &= ~RFLAGS_RF;
    (void)x86_reflect_exception(v, DB, 0, 1);
    assert_false(state.rflags & RFLAGS_RF);
}

/* SDM 2B "MOV - Move to/from Debug Registers", SDM 3B "Debug Registers". */
static void test_debug_registers(void **ctx)
{
    (void)ctx;
    v->regs.rax = 0x12345678;
    for (unsigned n = 0; n < 4; n++) {
        assert_int_equal(x86_mov_dr(v, n, false, 0), EXIT_SKIP);
        assert_int_equal(state.dr[n], 0x12345678);
        assert_int_equal(x86_mov_dr(v, n, true, 1), EXIT_SKIP);
        assert_int_equal(v->regs.rcx, 0x12345678);
    }
    v->regs.rax = 0xffffffff;
    assert_int_equal(x86_mov_dr(v, 6, false, 0), EXIT_SKIP);
    assert_int_equal(state.dr[6], 0xffffeffful | 0); /* bit 12 is reserved */
    v->regs.rax = 0xffffffff & ~DR7_GD;
    assert_int_equal(x86_mov_dr(v, 7, false, 0), EXIT_SKIP);
    assert_int_equal(state.dr7, 0xffff0fff);
    assert_int_equal(x86_mov_dr(v, 5, true, 1), EXIT_SKIP); /* the same without CR4.DE */
    assert_int_equal(v->regs.rcx, 0xffff0fff);
    state.efer = EFER_LMA;
    state.segment[SEGMENT_CS].rights |= SEGMENT_RIGHTS_L;
    v->regs.rax = 1ull << 32;
    ASSERT_RAISES(x86_mov_dr(v, 4, false, 0), GP, 0);
    ASSERT_RAISES(x86_mov_dr(v, 7, false, 0), GP, 0);
    state.cr4 |= CR4_DE;
    ASSERT_RAISES(x86_mov_dr(v, 4, true, 0), UD, 0);
    state.dr7 |= DR7_GD;
    state.dr[6] = DR6_RESET | DR6_B;
    ASSERT_RAISES(x86_mov_dr(v, 0, true, 0), DB, 0);
    assert_int_equal(state.dr[6], DR6_RESET | DR6_BD);
    assert_false(state.dr7 & DR7_GD); /* its handler may */
    state.cpl = 3;
    ASSERT_RAISES(x86_mov_dr(v, 0, true, 0), GP, 0);
    ASSERT_RAISES(x86_mov_dr(v, 4, true, 0), UD, 0); /* decoding comes first */
}

/* SDM 2B "RDRAND", "RDSEED": CF tells; the other arithmetic flags are cleared. */
static void test_random(void **ctx)
{
    const uint64_t flags = RFLAGS_FIXED | RFLAGS_IF;

    (void)ctx;
    state.random = 0x1122334455667788ull;
    state.random_there = true;
    state.rflags = flags | RFLAGS_ZF | RFLAGS_OF;
    v->regs.rdx = UINT64_MAX;
    assert_int_equal(x86_random(v, true, 2, 2), EXIT_SKIP);
    assert_true(state.random_seed);
    assert_true(v->regs.rdx == 0xffffffffffff7788ull);
    assert_int_equal(state.rflags, flags | RFLAGS_CF);
    assert_int_equal(x86_random(v, false, 2, 4), EXIT_SKIP);
    assert_false(state.random_seed);
    assert_int_equal(v->regs.rdx, 0x55667788);
    assert_int_equal(x86_random(v, false, 2, 8), EXIT_SKIP);
    assert_int_equal(v->regs.rdx, 0x1122334455667788);
    state.random_there = false;
    assert_int_equal(x86_random(v, false, 2, 8), EXIT_SKIP);
    assert_int_equal(v->regs.rdx, 0);
    assert_int_equal(state.rflags, flags);
}

static void test_ends(void **ctx)
{
    (void)ctx;
    assert_int_equal(x86_crash(v, "triple fault"), EXIT_STOP);
    assert_string_equal(stopped, "triple fault at RIP 0x1234");
    assert_int_equal(x86_outside(v, "wrote to", 0x99000), EXIT_STOP);
    assert_string_equal(
        stopped, "wrote to guest-physical address 0x99000, outside of its memory, at RIP 0x1234");
    assert_int_equal(record.detail, 0x99000);
}

static struct pci_function busy;
static unsigned left, kicks;

static void work_some(void *dev)
{
    (void)dev;
    busy.due = --left ? 0 : NEVER;
}

static void on_kick(void *ctx, unsigned vcpu)
{
    (void)ctx;
    assert_int_equal(vcpu, 0);
    kicks++;
}

/* vCPU `number` gives a device that much work; what is left of it. */
static unsigned after_access(unsigned number, unsigned work)
{
    left = work;
    kicks = 0;
    v->number = number;
    guest.platform.next_event = NEVER;
    pci_work_now(&busy);
    (void)exit_port_out(v, 0x80, 1, 0);
    return left;
}

/* It is done on the core of the vCPU that gives it, unless there is too much or the core is wanted:
 * the rest is vCPU 0's. */
static void test_work_goes_on(void **ctx)
{
    static uint32_t registers[LAPIC_PAGE / 4];

    (void)ctx;
    busy = (struct pci_function){.dev = &busy, .work = work_some};
    guest.platform.lapic[1].regs = registers;
    guest.platform.vcpus = 2;
    guest.platform.host.kick = on_kick;
    pci_join(&guest.platform.pci, &busy, 9);
    core_is_wanted = false;
    assert_true(after_access(1, 17) == 0 && kicks == 0);
    assert_true(after_access(1, 40) == 23 && kicks == 1);
    assert_true(after_access(0, 40) == 39 && kicks == 0);
    core_is_wanted = true;
    assert_true(after_access(1, 40) == 39 && kicks == 1);
    core_is_wanted = false;
    v->entity.requests = VCPU_REQ_EVENT;
    assert_true(after_access(1, 40) == 39 && kicks == 1);
    v->entity.requests = 0;
    v->closes = 50000; /* now, but later than the exit */
    assert_true(after_access(1, 40) == 39 && kicks == 1);
    v->closes = 0;
    assert_true(after_access(1, 40) == 40 && kicks == 1);
    core_is_wanted = true;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_cpuid, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_work_goes_on, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_msrs, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_kvm_clock, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_apic, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_no_apic, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_hlt, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_hypercall, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_tsc, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_xsetbv, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_registers_by_number, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_invalidations, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_invpcid, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_operands, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_faults_set_rf, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_debug_registers, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_random, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_ends, fixture_vcpu, fixture_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
