/* SOURCES: @svm hv/gmem.c hv/exit.c @pc hv/fmt.c hv/lib.c */
/* Each exit of AMD-V, from the VMCB to what the guest finds: APM vol. 2 "Instruction Intercepts",
 * "Exception Intercepts". Everything runs twice: with the next RIP reported, and without. */
#include "test/unit/svm_fixture.h"

#define MSR_TSC  0x10u
#define IN_AL    (0x21u << 16 | 1u << 4 | IOIO_IN)
#define OUT_EAX  (0xf4u << 16 | 4u << 4)
#define CR0_BASE (CR0_PE | CR0_ET)

bool exit_core_is_wanted(const struct vcpu *who)
{
    (void)who;
    return true;
}

/* ---- control registers ---- */

static uint16_t word_at(uint32_t address)
{
    uint16_t value;

    memcpy(&value, guest.mem.base + address, sizeof(value));
    return value;
}

static void mov_cr(void **ctx)
{
    (void)ctx;
    v->regs.rax = CR0_BASE | CR0_CD | CR0_TS;
    ASSERT_DONE(EXECUTE(SVM_EXIT_WRITE_CR0, "\x0f\x22\xc0", 0, 0), "\x0f\x22\xc0");
    assert_int_equal(vmcb.save.cr0, CR0_BASE | CR0_NE | CR0_TS); /* caches stay on */
    assert_true(vmcb.control.intercept_cr_read & 1);             /* what is shown differs */
    v->regs.rbx = ~0ull;
    ASSERT_DONE(EXECUTE(SVM_EXIT_READ_CR0, "\x0f\x20\xc3", 0, 0), "\x0f\x20\xc3");
    assert_int_equal(v->regs.rbx, CR0_BASE | CR0_CD | CR0_TS);
    v->regs.rax = 5;
    ASSERT_DONE(EXECUTE(SVM_EXIT_WRITE_CR0 + 8, "\xf0\x0f\x22\xc0", 0, 0), "\xf0\x0f\x22\xc0");
    ASSERT_DONE(EXECUTE(SVM_EXIT_READ_CR0, "\xf0\x0f\x20\xc1", 0, 0), "\xf0\x0f\x20\xc1");
    assert_int_equal(v->regs.rcx, 5);
    vmcb.save.cr2 = 0x1234;
    ASSERT_DONE(EXECUTE(SVM_EXIT_READ_CR0, "\x0f\x20\xd2", 0, 0), "\x0f\x20\xd2");
    assert_int_equal(v->regs.rdx, 0x1234);
    v->regs.rax = CR0_PG;
    ASSERT_RAISES(EXECUTE(SVM_EXIT_WRITE_CR0, "\x0f\x22\xc0", 0, 0), GP);
}

/* QEMU 10 lets bit 0 decide for every register, so it is set where QEMU may be. */
static void who_reads_cr4(void **ctx)
{
    (void)ctx;
    for (unsigned below = 0; below < 2; below++) {
        caps.abi.hypervisor = below;
        vcpu_show_cr0(v, CR0_BASE | CR0_NE);
        vcpu_set_cr0(v, CR0_BASE | CR0_NE);
        vcpu_show_cr4(v, 0);
        vcpu_set_cr4(v, CR4_MCE);
        assert_int_equal(vmcb.control.intercept_cr_read, 1u << 4 | below);
        ASSERT_DONE(
            EXECUTE(below ? SVM_EXIT_READ_CR0 : SVM_EXIT_READ_CR0 + 4, "\x0f\x20\xe3", 0, 0),
            "\x0f\x20\xe3");
        assert_int_equal(v->regs.rbx, 0);
        vcpu_show_cr4(v, CR4_MCE);
        assert_int_equal(vmcb.control.intercept_cr_read, below);
    }
    caps.abi.hypervisor = false;
}

static void clts_and_lmsw(void **ctx)
{
    (void)ctx;
    vcpu_show_cr0(v, CR0_BASE | CR0_CD);
    v->regs.rcx = 0xfffffffe;
    ASSERT_DONE(EXECUTE(SVM_EXIT_WRITE_CR0, "\x0f\x01\xf1", 0, 0), "\x0f\x01\xf1");
    assert_int_equal(svm_read_cr0(v), CR0_BASE | CR0_CD | CR0_TS | CR0_EM | CR0_MP);
    ASSERT_DONE(EXECUTE(SVM_EXIT_WRITE_CR0, "\x0f\x06", 0, 0), "\x0f\x06");
    assert_int_equal(svm_read_cr0(v), CR0_BASE | CR0_CD | CR0_EM | CR0_MP);
    /* [EBX + ECX * 2 - 2] */
    memcpy(guest.mem.base + 0x2006, "\xf8\xff", 2);
    v->regs.rbx = 0x2000;
    v->regs.rcx = 4;
    ASSERT_DONE(EXECUTE(SVM_EXIT_WRITE_CR0, "\x0f\x01\x74\x4b\xfe", 0, 0), "\x0f\x01\x74\x4b\xfe");
    assert_int_equal(svm_read_cr0(v), CR0_BASE | CR0_CD | CR0_TS);
}

static void smsw(void **ctx)
{
    (void)ctx;
    vcpu_show_cr0(v, CR0_BASE | CR0_CD | 0xff00); /* no CPU has these bits: they show the width */
    vmcb.save.cr0 |= 0xff00;
    v->regs.rcx = ~0ull;
    ASSERT_DONE(EXECUTE(SVM_EXIT_READ_CR0, "\x0f\x01\xe1", 0, 0), "\x0f\x01\xe1");
    assert_int_equal(v->regs.rcx, CR0_BASE | CR0_CD | 0xff00);
    v->regs.rcx = 0x5555666677778888;
    ASSERT_DONE(EXECUTE(SVM_EXIT_READ_CR0, "\x66\x0f\x01\xe1", 0, 0), "\x66\x0f\x01\xe1");
    assert_int_equal(v->regs.rcx, 0x555566667777ff11);
    memset(guest.mem.base + 0x2000, 0xaa, 8);
    v->regs.rbx = 0x2002;
    assert_int_equal(EXECUTE(SVM_EXIT_READ_CR0, "\x0f\x01\x23", 0, 0), EXIT_DONE);
    assert_int_equal(vmcb.save.rip, RIP + 3);
    assert_int_equal(word_at(0x2000), 0xaaaa);
    assert_int_equal(word_at(0x2002), 0xff11);
    assert_int_equal(word_at(0x2004), 0xaaaa);
}

/* Neither ends a guest whose operand faults, and nothing changes. */
static void msw_in_memory_faults(void **ctx)
{
    uint64_t shown = CR0_BASE | CR0_CD;

    (void)ctx;
    vcpu_show_cr0(v, shown);
    vmcb.save.ds.limit = 0x2000;
    v->regs.rbx = 0x2000;
    ASSERT_RAISES(EXECUTE(SVM_EXIT_READ_CR0, "\x0f\x01\x23", 0, 0), GP);
    ASSERT_RAISES(EXECUTE(SVM_EXIT_WRITE_CR0, "\x0f\x01\x33", 0, 0), GP);
    enter_long_mode();
    vcpu_show_cr0(v, shown | CR0_PG);
    v->regs.rbx = 0x40000000;
    ASSERT_RAISES(EXECUTE(SVM_EXIT_READ_CR0, "\x0f\x01\x23", 0, 0), PF);
    assert_int_equal(svm_core_model.cr2, 0x40000000);
    assert_int_equal(vmcb.save.cr2, 0x40000000);
    assert_int_equal(vmcb.control.eventinj >> EVENT_ERROR_SHIFT, PF_WRITE);
    ASSERT_RAISES(EXECUTE(SVM_EXIT_WRITE_CR0, "\x0f\x01\x33", 0, 0), PF);
    assert_int_equal(vmcb.control.eventinj >> EVENT_ERROR_SHIFT, 0);
    v->regs.rbx = 1ull << 63;
    ASSERT_RAISES(EXECUTE(SVM_EXIT_READ_CR0, "\x0f\x01\x23", 0, 0), GP);
    assert_int_equal(svm_read_cr0(v), shown | CR0_PG);
    assert_false(v->stop);
    /* Relative to RIP, where its own bytes are. */
    assert_int_equal(EXECUTE(SVM_EXIT_READ_CR0, "\x0f\x01\x25\x09\x00\x00\x00", 0, 0), EXIT_DONE);
    assert_int_equal(word_at(RIP + 16), CR0_BASE);
}

/* Another thread of the program puts a MOV where SMSW was, between the exit and the fetch. */
static void a_program_reads_no_control_register(void **ctx)
{
    (void)ctx;
    vmcb.save.cpl = 3;
    vmcb.save.cr3 = 0x5000;
    for (unsigned modrm = 0xc0; modrm < 0xe8; modrm += 8) {
        const uint8_t code[] = {0x0f, 0x20, (uint8_t)modrm};

        put_code(code, sizeof(code));
        ASSERT_RAISES(exits(SVM_EXIT_READ_CR0, 0, 0, sizeof(code)), GP);
        assert_int_equal(v->regs.rax, 0);
    }
}

static void debug_registers(void **ctx)
{
    (void)ctx;
    v->regs.rbx = 0x123456789a;
    ASSERT_DONE(EXECUTE(SVM_EXIT_WRITE_DR0 + 2, "\x0f\x23\xd3", 0, 0), "\x0f\x23\xd3");
    assert_int_equal(svm_core_model.dr[2], 0x3456789a);
    ASSERT_DONE(EXECUTE(SVM_EXIT_READ_DR0 + 2, "\x0f\x21\xd1", 0, 0), "\x0f\x21\xd1");
    assert_int_equal(v->regs.rcx, 0x3456789a);
    vmcb.save.cpl = 3;
    ASSERT_RAISES(EXECUTE(SVM_EXIT_READ_DR0 + 7, "\x0f\x21\xf9", 0, 0), GP);
}

/* ---- MSRs, time, hypercalls ---- */

static uint64_t msr(uint32_t number, bool write, uint64_t value, enum exit_action expected)
{
    v->regs.rcx = number;
    v->regs.rax = (uint32_t)value;
    v->regs.rdx = value >> 32;
    assert_int_equal(write ? EXECUTE(SVM_EXIT_MSR, "\x0f\x30", 1, 0)
                           : EXECUTE(SVM_EXIT_MSR, "\x0f\x32", 0, 0),
                     expected);
    assert_int_equal(record.qualification, write);
    if (expected == EXIT_RESUME)
        assert_int_equal((uint32_t)vmcb.control.eventinj, GP);
    else
        assert_int_equal(vmcb.save.rip, RIP + 2);
    return v->regs.rdx << 32 | (uint32_t)v->regs.rax;
}

static void msrs(void **ctx)
{
    (void)ctx;
    assert_int_equal(msr(MSR_IA32_EFER, false, 0, EXIT_SKIP), 0); /* SVME is the root's */
    (void)msr(MSR_IA32_EFER, true, EFER_SVME, EXIT_RESUME);
    (void)msr(MSR_IA32_EFER, true, EFER_LME | EFER_NXE, EXIT_SKIP);
    assert_int_equal(vmcb.save.efer, EFER_LME | EFER_NXE | EFER_SVME);
    (void)msr(MSR_IA32_PAT, true, 0x0007010600070106, EXIT_SKIP);
    assert_int_equal(vmcb.save.g_pat, 0);
    assert_int_equal(msr(MSR_IA32_PAT, false, 0, EXIT_SKIP), 0x0007010600070106);
    for (unsigned i = 0; i < 8; i++) {
        (void)msr(MSR_IA32_PAT, true, 2ull << 8 * i, EXIT_RESUME);
        (void)msr(MSR_IA32_PAT, true, 0x26ull << 8 * i, EXIT_RESUME);
    }
    enter_long_mode();
    (void)msr(MSR_IA32_EFER, true, 0, EXIT_RESUME); /* LME does not change with paging on */
    (void)msr(MSR_IA32_EFER, true, EFER_LME | EFER_SCE, EXIT_SKIP);
    assert_true(vmcb.save.efer & EFER_LMA);
    (void)msr(0xc0010117, false, 0, EXIT_RESUME); /* VM_HSAVE_PA */
    vmcb.control.tsc_offset = 0 - arch_tsc();
    assert_true(msr(MSR_TSC, false, 0, EXIT_SKIP) < 1ull << 48);
}

/* The core's timer follows, as the guest goes on without leaving enter.asm. */
static void tsc_deadline(void **ctx)
{
    struct lapic *l = &guest.platform.lapic[0];

    (void)ctx;
    lapic_mmio_write(l, LAPIC_SVR, 4, 0x1ff, 0);
    lapic_mmio_write(l, LAPIC_LVT_TIMER, 4, 0x40061, 0);
    vmcb.control.tsc_offset = 1000;
    v->until = 9000;
    (void)msr(MSR_IA32_TSC_DEADLINE, true, 6000, EXIT_SKIP);
    assert_int_equal(l->deadline, 5000);
    assert_int_equal(armed, 5000);
    assert_int_equal(backend.deadline, 5000);
    (void)msr(MSR_IA32_TSC_DEADLINE, true, 0, EXIT_SKIP);
    assert_int_equal(armed, 9000);
    (void)msr(MSR_IA32_TSC_DEADLINE, true, 2000, EXIT_DONE);
    assert_int_equal(armed, 9000);
}

/* What kernels for AMD's CPUs read without asking: there, and out of the guest's reach. */
static void msrs_of_every_amd_cpu(void **ctx)
{
    static const struct {
        uint32_t msr;
        uint64_t value;
    } rows[] = {{0xc0010010, 0}, {0xc0010015, 1 << 24}, {0xc001001f, 0}};

    (void)ctx;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(msr(rows[i].msr, false, 0, EXIT_SKIP), rows[i].value);
        (void)msr(rows[i].msr, true, UINT64_MAX, EXIT_SKIP);
        assert_int_equal(msr(rows[i].msr, false, 0, EXIT_SKIP), rows[i].value);
        (void)msr(rows[i].msr + 1, false, 0, EXIT_RESUME);
        (void)msr(rows[i].msr + 1, true, 0, EXIT_RESUME);
    }
}

/* Where XSETBV does not exit, CPUID counts with the XCR0 that the guest has set. */
static void xsave_area_of_the_real_xcr0(void **ctx)
{
    (void)ctx;
    vcpu_x86(v)->cpuid.xsave[2] = (struct cpuid_regs){256, 576, 0, 0};
    for (unsigned avx = 0; avx < 2; avx++) {
        svm_core_model.xcr0 = avx ? 7 : 3;
        v->regs.rax = 0xd;
        v->regs.rcx = 0;
        ASSERT_DONE(EXECUTE(SVM_EXIT_CPUID, "\x0f\xa2", 0, 0), "\x0f\xa2");
        assert_int_equal(v->regs.rbx, avx ? 832 : 576);
    }
}

static void hypercalls(void **ctx)
{
    (void)ctx;
    ASSERT_DONE(EXECUTE(SVM_EXIT_VMMCALL, "\x0f\x01\xd9", 0, 0), "\x0f\x01\xd9");
    assert_int_equal(v->regs.rax, 0x7777);
    v->regs.rax = 0;
    ASSERT_DONE(EXECUTE(SVM_EXIT_EXCP0 + VECTOR_UD, "\x0f\x01\xc1", 0, 0), "\x0f\x01\xc1");
    assert_int_equal(v->regs.rax, 0x7777);
    ASSERT_RAISES(EXECUTE(SVM_EXIT_EXCP0 + VECTOR_UD, "\x0f\x0b", 0, 0), UD);
    vmcb.save.cpl = 3;
    ASSERT_RAISES(EXECUTE(SVM_EXIT_VMMCALL, "\x0f\x01\xd9", 0, 0), UD);
    ASSERT_RAISES(EXECUTE(SVM_EXIT_EXCP0 + VECTOR_UD, "\x0f\x01\xc1", 0, 0), UD);
}

static void instructions_without_operands(void **ctx)
{
    (void)ctx;
    v->regs.rax = 0x80000008;
    ASSERT_DONE(EXECUTE(SVM_EXIT_CPUID, "\x0f\xa2", 0, 0), "\x0f\xa2");
    assert_int_equal(v->regs.rax & 0xff, 40);
    ASSERT_DONE(EXECUTE(SVM_EXIT_INVD, "\x0f\x08", 0, 0), "\x0f\x08");
    ASSERT_DONE(EXECUTE(SVM_EXIT_WBINVD, "\x0f\x09", 0, 0), "\x0f\x09");
    ASSERT_DONE(EXECUTE(SVM_EXIT_PAUSE, "\xf3\x90", 0, 0), "\xf3\x90");
    backend.asid.id = 3;
    ASSERT_DONE(EXECUTE(SVM_EXIT_INVLPG, "\x0f\x01\x3b", 0, 0), "\x0f\x01\x3b");
    svm_core_model.tsc_aux = 0x42;
    ASSERT_DONE(EXECUTE(SVM_EXIT_RDTSC, "\x0f\x31", 0, 0), "\x0f\x31");
    assert_int_equal(v->regs.rcx, 0);
    ASSERT_DONE(EXECUTE(SVM_EXIT_RDTSCP, "\x0f\x01\xf9", 0, 0), "\x0f\x01\xf9");
    assert_int_equal(v->regs.rcx, 0x42);
    vcpu_show_cr4(v, CR4_OSXSAVE);
    v->regs.rax = 7;
    v->regs.rcx = v->regs.rdx = 0;
    ASSERT_DONE(EXECUTE(SVM_EXIT_XSETBV, "\x0f\x01\xd1", 0, 0), "\x0f\x01\xd1");
    assert_int_equal(svm_core_model.xcr0, 7);
    assert_int_equal(EXECUTE(SVM_EXIT_HLT, "\xf4", 0, 0), EXIT_HALT);
    assert_int_equal(vmcb.save.rip, RIP + 1);
}

/* Without the next RIP, RDTSCP may be reported as RDTSC. */
static void rdtscp_as_rdtsc(void **ctx)
{
    (void)ctx;
    backend.nrips = 0;
    svm_core_model.tsc_aux = 0x42;
    ASSERT_DONE(EXECUTE(SVM_EXIT_RDTSC, "\x0f\x01\xf9", 0, 0), "\x0f\x01\xf9");
    assert_int_equal(v->regs.rcx, 0x42);
}

static void what_guests_do_not_have(void **ctx)
{
    static const uint32_t undefined[] = {
        SVM_EXIT_INVLPGA, SVM_EXIT_VMRUN, SVM_EXIT_VMLOAD,           SVM_EXIT_VMSAVE,
        SVM_EXIT_STGI,    SVM_EXIT_CLGI,  SVM_EXIT_SKINIT,           SVM_EXIT_RDPRU,
        SVM_EXIT_MONITOR, SVM_EXIT_MWAIT, SVM_EXIT_MWAIT_CONDITIONAL};

    (void)ctx;
    for (unsigned i = 0; i < ARRAY_LEN(undefined); i++)
        ASSERT_RAISES(EXECUTE(undefined[i], "\x0f\x01\xd8", 0, 0), UD);
    ASSERT_RAISES(EXECUTE(SVM_EXIT_RDPMC, "\x0f\x33", 0, 0), GP);
}

/* ---- ports and memory ---- */

static void ports(void **ctx)
{
    (void)ctx;
    v->regs.rax = ~0ull;
    io_out(&guest.platform.bus, 0x21, 1, 0x5a);
    ASSERT_DONE(EXECUTE(SVM_EXIT_IOIO, "\xe4\x21", IN_AL, RIP + 2), "\xe4\x21");
    assert_int_equal(v->regs.rax, 0xffffffffffffff5a);
    /* Above CPL 0 what the TSS allows; here there is none. */
    vmcb.save.cpl = 3;
    ASSERT_RAISES(EXECUTE(SVM_EXIT_IOIO, "\xe4\x21", IN_AL, RIP + 2), GP);
    vmcb.save.rflags |= 3u << 12;
    ASSERT_DONE(EXECUTE(SVM_EXIT_IOIO, "\xe4\x21", IN_AL, RIP + 2), "\xe4\x21");
    vmcb.save.rflags &= ~(3ull << 12);
    vmcb.save.tr = (struct vmcb_segment){0x20, 0x8b, 0x6d, 0x3000};
    guest.mem.base[0x3066] = 0x68;
    guest.mem.base[0x306c] = 0xfd; /* port 0x21 */
    ASSERT_DONE(EXECUTE(SVM_EXIT_IOIO, "\xe4\x21", IN_AL, RIP + 2), "\xe4\x21");
    guest.mem.base[0x306c] = 0xff;
    ASSERT_RAISES(EXECUTE(SVM_EXIT_IOIO, "\xe4\x21", IN_AL, RIP + 2), GP);
}

static void string_ports(void **ctx)
{
    (void)ctx;
    io_out(&guest.platform.bus, 0x21, 1, 0x5a);
    v->regs.rdi = 0x2000;
    v->regs.rcx = 3;
    assert_int_equal(EXECUTE(SVM_EXIT_IOIO, "\xf3\x6c", IN_AL | IOIO_STR | IOIO_REP, RIP + 2),
                     EXIT_DONE);
    assert_int_equal(vmcb.save.rip, RIP + 2);
    assert_memory_equal(guest.mem.base + 0x2000, "\x5a\x5a\x5a\x00", 4);
    assert_int_equal(v->regs.rcx, 0);
    /* OUTS has a segment. */
    vmcb.save.fs.limit = 0xfff;
    v->regs.rsi = 0x1000;
    ASSERT_RAISES(EXECUTE(SVM_EXIT_IOIO, "\x64\x6e", (0x21u << 16 | 1u << 4 | IOIO_STR), RIP + 2),
                  GP);
}

static void nested_page_faults(void **ctx)
{
    (void)ctx;
    enter_long_mode();
    v->regs.rbx = 0x1f0000; /* mapped, outside of the guest's memory: nobody claims it */
    ASSERT_DONE(EXECUTE(ABI_SVM_NPF, "\x8b\x03", NPF_FINAL | NPF_USER, 0x1f0000), "\x8b\x03");
    assert_int_equal(v->regs.rax, 0xffffffff);
    assert_int_equal(record.detail, 0x1f0000);
    assert_int_equal(EXECUTE(ABI_SVM_NPF, "\x8b\x03", NPF_FINAL | NPF_FETCH, 0x1f0000), EXIT_STOP);
    assert_non_null(strstr(stopped, "executed guest-physical address 0x1f0000"));
    assert_int_equal(EXECUTE(ABI_SVM_NPF, "\x8b\x03", NPF_WALK | NPF_WRITE, 0x1f0000), EXIT_STOP);
    assert_non_null(strstr(stopped, "wrote to"));
    vmcb.control.exitintinfo = EVENT_VALID | 0x20; /* a push of an event's delivery */
    assert_int_equal(EXECUTE(ABI_SVM_NPF, "\x8b\x03", NPF_FINAL, 0x1f0000), EXIT_STOP);
    assert_non_null(strstr(stopped, "read from"));
    vmcb.control.exitintinfo = 0;
    if (setjmp(panicked) == 0) {
        (void)EXECUTE(ABI_SVM_NPF, "\x8b\x03", NPF_RESERVED | NPF_WALK, 0x1000);
        fail();
    }
}

/* ---- events ---- */

static void interrupts(void **ctx)
{
    (void)ctx;
    assert_int_equal(exits(SVM_EXIT_INTR, 0, 0, 0), EXIT_KICK);
    assert_int_equal(svm_core_model.irq_windows, 1);
    assert_int_equal(exits(SVM_EXIT_NMI, 0, 0, 0), EXIT_KICK);
    assert_int_equal(svm_core_model.irq_windows, 1);
    assert_int_equal(exits(SVM_EXIT_VINTR, 0, 0, 0), EXIT_RESUME);
    assert_int_equal(exits(SVM_EXIT_INIT, 0, 0, 0), EXIT_RESUME);
    assert_int_equal(exits(SVM_EXIT_EXCP0 + 18, 0, 0, 0), EXIT_RESUME);
    assert_int_equal(svm_core_model.machine_checks, 1);
    assert_int_equal(vmcb.save.rip, RIP);
}

/* AMD's erratum 383: the guest ends, and the host goes on. */
static void own_machine_check(void **ctx)
{
    (void)ctx;
    svm_core_model.machine_check_is_guests = true;
    assert_int_equal(exits(SVM_EXIT_EXCP0 + 18, 0, 0, 0), EXIT_STOP);
    assert_int_equal(svm_core_model.machine_checks, 0);
    assert_non_null(strstr(stopped, "erratum 383"));
}

/* NMIs are blocked until the IRET is done. */
static void iret(void **ctx)
{
    (void)ctx;
    vcpu_inject(v, EVENT_VALID | EVENT_NMI | VECTOR_NMI);
    assert_true(vcpu_nmi_blocked(v));
    assert_int_equal(vmcb.control.intercept_misc1, INTERCEPT_IRET);
    assert_int_equal(EXECUTE(SVM_EXIT_IRET, "\xcf", 0, 0), EXIT_RESUME);
    assert_int_equal(vmcb.control.intercept_misc1, 0);
    assert_true(vcpu_nmi_blocked(v));
    vmcb.save.rip = 0x4000;
    assert_false(vcpu_nmi_blocked(v));
}

static void exceptions(void **ctx)
{
    const uint32_t db = EVENT_VALID | EVENT_EXCEPTION | VECTOR_DB;

    (void)ctx;
    vmcb.save.dr6 = DR6_RESET | 1;
    assert_int_equal(exits(SVM_EXIT_EXCP0 + VECTOR_DB, 0, 0, 0), EXIT_RESUME);
    assert_int_equal((uint32_t)vmcb.control.eventinj, db);
    assert_int_equal(record.qualification, 1);
    vmcb.save.dr6 = DR6_RESET;
    vmcb.save.rflags |= RFLAGS_TF;
    assert_int_equal(exits(SVM_EXIT_EXCP0 + VECTOR_DB, 0, 0, 0), EXIT_RESUME);
    assert_int_equal(vmcb.save.dr6, DR6_RESET | DR6_BS);
    assert_int_equal(exits(SVM_EXIT_EXCP0 + VECTOR_AC, 0, 0, 0), EXIT_RESUME);
    assert_int_equal((uint32_t)vmcb.control.eventinj,
                     EVENT_VALID | EVENT_EXCEPTION | EVENT_ERROR_CODE | VECTOR_AC);
    assert_int_equal(exits(SVM_EXIT_SHUTDOWN, 0, 0, 0), EXIT_STOP);
    assert_non_null(strstr(stopped, "triple fault"));
}

/* What the exit interrupted comes again, but for what the guest executes again by itself and what
 * was not injected at this entry: Bochs still reports that. */
static void interrupted_deliveries(void **ctx)
{
    static const struct {
        uint64_t event;
        bool again;
    } events[] = {{EVENT_VALID | 0x31, true},
                  {EVENT_VALID | EVENT_NMI | VECTOR_NMI, true},
                  {EVENT_VALID | EVENT_SOFT_INTERRUPT | 0x80, false},
                  {EVENT_VALID | EVENT_EXCEPTION | 3, false},
                  {EVENT_VALID | EVENT_EXCEPTION | 4, false},
                  {0x31, false}};

    (void)ctx;
    for (unsigned i = 0; i < ARRAY_LEN(events); i++) {
        backend.x86.reinject = 0;
        vmcb.control.exitintinfo = events[i].event;
        vcpu_inject(v, (uint32_t)events[i].event);
        assert_int_equal(exits(SVM_EXIT_EXCP0 + VECTOR_DB, 0, 0, 0), EXIT_RESUME);
        assert_int_equal(backend.x86.reinject, events[i].again ? events[i].event : 0);
        backend.x86.reinject = 0;
        backend.injected_entry--;
        stats.entries++;
        assert_int_equal(exits(SVM_EXIT_EXCP0 + VECTOR_DB, 0, 0, 0), EXIT_RESUME);
        assert_int_equal(backend.x86.reinject, 0);
    }
}

static void task_switches(void **ctx)
{
    (void)ctx;
    assert_int_equal(EXECUTE(SVM_EXIT_TASK_SWITCH, "\xcf", 0x18, TASK_BY_IRET), EXIT_RESUME);
    assert_true(switched.by == TASK_IRET && switched.selector == 0x18 && switched.length == 1);
    assert_int_equal(
        EXECUTE(SVM_EXIT_TASK_SWITCH, "\xea\x00\x00\x00\x00\x18\x00", 0x18, TASK_BY_JUMP),
        EXIT_RESUME);
    assert_true(switched.by == TASK_JMP && switched.length == 7);
    assert_int_equal(EXECUTE(SVM_EXIT_TASK_SWITCH, "\x9a\x00\x00\x00\x00\x18\x00", 0x18, 0),
                     EXIT_RESUME);
    assert_true(switched.by == TASK_CALL && switched.length == 7);
}

/* The event that is delivered through a task gate. */
static void task_gate(const char *bytes, size_t size, uint64_t reported, uint64_t info2)
{
    vmcb.control.exitintinfo = reported;
    put_code(bytes, size);
    assert_int_equal(exits(SVM_EXIT_TASK_SWITCH, 0x18, info2, (unsigned)size), EXIT_RESUME);
    assert_true(switched.by == TASK_GATE && switched.selector == 0x18);
}
#define TASK_GATE_AT(bytes, reported, info2) task_gate(bytes, sizeof(bytes) - 1, reported, info2)
#define ASSERT_SWITCHED(by_event, bytes)                                                           \
    do {                                                                                           \
        assert_int_equal(switched.event, by_event);                                                \
        assert_int_equal(switched.length, bytes);                                                  \
    } while (0)

static void task_gates(void **ctx)
{
    const uint32_t bp = EVENT_VALID | EVENT_EXCEPTION | 3;

    (void)ctx;
    TASK_GATE_AT("\xcd\x80", EVENT_VALID | EVENT_SOFT_INTERRUPT | 0x80, 0);
    ASSERT_SWITCHED(EVENT_VALID | EVENT_SOFT_INTERRUPT | 0x80, 2);
    TASK_GATE_AT("\xcc", bp, 0);
    ASSERT_SWITCHED(bp, 1);
    TASK_GATE_AT("\x90", GP, TASK_HAS_ERROR | 0x123);
    ASSERT_SWITCHED(GP, 0);
    assert_int_equal(switched.error, 0x123);
    TASK_GATE_AT("\x90", UD, TASK_RF);
    ASSERT_SWITCHED(UD, 0);
}

/* Bochs does not report INT n and INT1, but what was delivered before them. */
static void task_gates_of_stale_events(void **ctx)
{
    static const uint32_t injected[] = {
        EVENT_VALID | EVENT_EXTERNAL | 0x20,
        EVENT_VALID | EVENT_NMI | VECTOR_NMI,
        EVENT_VALID | EVENT_EXCEPTION | VECTOR_DB,
    };
    const uint32_t soft = EVENT_VALID | EVENT_SOFT_INTERRUPT;

    (void)ctx;
    TASK_GATE_AT("\xcd\x80", EVENT_VALID, 0); /* nothing was delivered yet */
    ASSERT_SWITCHED(soft | 0x80, 2);
    for (unsigned i = 0; i < ARRAY_LEN(injected); i++) {
        put_code("\xcd\x30", 2);
        vcpu_inject(v, injected[i]);
        TASK_GATE_AT("\xcd\x30", injected[i], 0); /* before the instruction */
        ASSERT_SWITCHED(injected[i], 0);
        TASK_GATE_AT("\xcd\x30", injected[i], 0);
        ASSERT_SWITCHED(soft | 0x30, 2);
        vcpu_inject(v, injected[i]);
        backend.injected_rip = 0x4000; /* its handler has executed the instruction */
        TASK_GATE_AT("\x66\xcd\x30", injected[i], 0);
        ASSERT_SWITCHED(soft | 0x30, 3);
        TASK_GATE_AT("\x90", injected[i], 0); /* another vCPU has changed it */
        ASSERT_SWITCHED(injected[i], 0);
    }
    TASK_GATE_AT("\xcd\x30", GP, 0); /* it came by itself */
    ASSERT_SWITCHED(soft | 0x30, 2);
    TASK_GATE_AT("\xcd\x30", GP, TASK_HAS_ERROR | TASK_RF | 0x182); /* of this INT n */
    ASSERT_SWITCHED(GP, 0);
    TASK_GATE_AT("\xcd\x30", EVENT_VALID | EVENT_EXCEPTION | 3, 0);
    ASSERT_SWITCHED(soft | 0x30, 2);
    TASK_GATE_AT("\xf1", EVENT_VALID | 0x20, 0);
    ASSERT_SWITCHED(EVENT_VALID | EVENT_EXCEPTION | VECTOR_DB, 1);
}

/* ---- all others ---- */

static void every_row_is_filled(void **ctx)
{
    (void)ctx;
    for (unsigned i = 0; i < ABI_EXIT_REASONS; i++)
        assert_true(svm_exit_handlers[i] && svm_decoding_handlers[i]);
    assert_int_equal(exits(SVM_EXIT_SMI, 0, 0, 0), EXIT_STOP);
    assert_string_equal(stopped, "unhandled exit 0x62 at RIP 0x1230");
    assert_int_equal(exits(SVM_EXIT_AVIC_NOACCEL, 0, 0, 0), EXIT_STOP);
    assert_true(v->stop);
}

/* Bochs and QEMU save the host's registers. */
static void overwrite(void)
{
    memset(&vmcb.save, 0x55, offsetof(struct vmcb_save, dbgctl));
    vmcb.control.eventinj = 0;
    vmcb.control.tlb_control = 0;
    v->regs.rax = vmcb.save.rax; /* enter.asm */
}

static void refused(void **ctx)
{
    struct vmcb before;

    (void)ctx;
    vcpu_set_cr4(v, 1ull << 40);
    assert_true(backend.changed);
    vmcb.control.eventinj = EVENT_VALID | EVENT_EXCEPTION | 99;
    v->regs.rax = 0x1234;
    svm_keep_entered(v);
    assert_false(backend.changed);
    assert_int_equal(vmcb.control.tlb_control, TLB_FLUSH_ALL); /* the first of this core */
    before = vmcb;
    assert_int_equal(before.save.rax, 0x1234);
    overwrite();
    assert_int_equal(exits(UINT64_MAX, 0, 0, 0), EXIT_STOP);
    assert_string_equal(stopped, "VM entry failed: the VMCB is refused (VMEXIT_INVALID)");
    vmcb.control.exitcode = before.control.exitcode;
    assert_memory_equal(&vmcb, &before, sizeof(vmcb));
    assert_int_equal(v->regs.rax, 0x1234);
    assert_int_equal(v->exit->rip, RIP);
}

/* An entry in which nothing was new is not kept, and what an earlier one had is not taken for it.
 */
static void refused_unexpectedly(void **ctx)
{
    (void)ctx;
    svm_keep_entered(v);
    v->stats->entries++;
    overwrite();
    assert_int_equal(exits(UINT64_MAX, 0, 0, 0), EXIT_STOP);
    assert_non_null(strstr(stopped, "VMEXIT_INVALID), and its registers may be lost"));
    assert_int_equal(vmcb.save.cr0, 0x5555555555555555ull);
}

/* enter.asm enters again at once after an instruction that is done, by svm_keep_entered() if
 * anything has changed: that entry must flush. APM vol. 2 "TLB Flush": what MOV to CR0 or CR4 would
 * flush the root must, if it intercepts them. */
static void entered_with_old_translations(void)
{
    svm_keep_entered(v);
    vmcb.control.tlb_control = 0; /* enter.asm, after each exit */
    assert_false(backend.changed);
}

static void assert_flushes(void)
{
    assert_true(backend.changed);
    svm_keep_entered(v);
    assert_int_equal(vmcb.control.tlb_control, TLB_FLUSH_ASID);
    vmcb.control.tlb_control = 0;
    vcpu_set_cr3(v, vcpu_get_cr3(v)); /* another change, of no translation */
    svm_keep_entered(v);
    assert_int_equal(vmcb.control.tlb_control, TLB_DO_NOTHING);
}

static void flushes(void **ctx)
{
    (void)ctx;
    entered_with_old_translations();
    v->regs.rax = CR4_PGE;
    ASSERT_DONE(EXECUTE(SVM_EXIT_WRITE_CR0 + 4, "\x0f\x22\xe0", 0, 0), "\x0f\x22\xe0");
    assert_flushes();
    v->regs.rax = 0;
    ASSERT_DONE(EXECUTE(SVM_EXIT_WRITE_CR0 + 4, "\x0f\x22\xe0", 0, 0), "\x0f\x22\xe0");
    assert_flushes();
    v->regs.rax = CR0_PE | CR0_ET | CR0_WP;
    ASSERT_DONE(EXECUTE(SVM_EXIT_WRITE_CR0, "\x0f\x22\xc0", 0, 0), "\x0f\x22\xc0");
    assert_flushes();
    v->regs.rcx = MSR_IA32_EFER;
    v->regs.rax = EFER_NXE;
    ASSERT_DONE(EXECUTE(SVM_EXIT_MSR, "\x0f\x30", 1, 0), "\x0f\x30");
    assert_flushes();
    ASSERT_DONE(EXECUTE(SVM_EXIT_INVLPG, "\x0f\x01\x38", 0, 0), "\x0f\x01\x38");
    assert_flushes();
}

#define CHANGES(expected, change)                                                                  \
    do {                                                                                           \
        backend.changed = 0;                                                                       \
        change;                                                                                    \
        assert_int_equal(backend.changed, expected);                                               \
    } while (0)

static void what_is_kept(void **ctx)
{
    const struct segment flat = {.limit = UINT32_MAX, .rights = 0xc09b};

    (void)ctx;
    CHANGES(1, vcpu_set_cr0(v, 0));
    CHANGES(1, vcpu_show_cr4(v, 0));
    CHANGES(1, vcpu_set_cr3(v, 0));
    CHANGES(1, vcpu_set_efer(v, 0));
    CHANGES(1, vcpu_set_dr7(v, 0));
    CHANGES(1, vcpu_set_dr(v, 6, 0));
    CHANGES(1, vcpu_set_segment(v, SEGMENT_CS, 8, &flat));
    CHANGES(1, vcpu_inject(v, EVENT_VALID | EVENT_EXCEPTION | VECTOR_NMI));
    CHANGES(1, vcpu_inject(v, EVENT_VALID | EVENT_EXCEPTION | 32));
    CHANGES(1, vcpu_inject(v, EVENT_VALID | EVENT_SOFT_INTERRUPT | 3));
    CHANGES(1, vcpu_inject(v, EVENT_VALID | 1u << 8));
    /* On the way of every exit and interrupt. */
    CHANGES(0, vcpu_set_rip(v, 0));
    CHANGES(0, vcpu_set_rflags(v, RFLAGS_FIXED));
    CHANGES(0, vcpu_inject(v, EVENT_VALID | EVENT_EXTERNAL | 0xff));
    CHANGES(0, vcpu_inject(v, GP));
    CHANGES(0, vcpu_inject(v, EVENT_VALID | EVENT_NMI | VECTOR_NMI));
}

static int fixture_nrip(void **ctx)
{
    int rc = fixture(ctx);

    backend.nrips = 1;
    return rc;
}

#define BOTH(test)                                                                                 \
    cmocka_unit_test_setup_teardown(test, fixture_nrip, fixture_end),                              \
        cmocka_unit_test_setup_teardown(test, fixture, fixture_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(mov_cr),
        BOTH(who_reads_cr4),
        BOTH(clts_and_lmsw),
        BOTH(smsw),
        BOTH(msw_in_memory_faults),
        BOTH(a_program_reads_no_control_register),
        BOTH(debug_registers),
        BOTH(msrs),
        BOTH(tsc_deadline),
        BOTH(msrs_of_every_amd_cpu),
        BOTH(xsave_area_of_the_real_xcr0),
        BOTH(hypercalls),
        BOTH(instructions_without_operands),
        BOTH(rdtscp_as_rdtsc),
        BOTH(what_guests_do_not_have),
        BOTH(ports),
        BOTH(string_ports),
        BOTH(nested_page_faults),
        BOTH(interrupts),
        BOTH(own_machine_check),
        BOTH(iret),
        BOTH(exceptions),
        BOTH(interrupted_deliveries),
        BOTH(task_switches),
        BOTH(task_gates),
        BOTH(task_gates_of_stale_events),
        BOTH(every_row_is_filled),
        BOTH(refused),
        BOTH(refused_unexpectedly),
        BOTH(flushes),
        BOTH(what_is_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
