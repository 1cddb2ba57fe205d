/* Emulates instructions that exit, as the CPU would execute them. */
#include "arch/x86/guest/linear.h"
#include "arch/x86/guest/vcpu_state.h"

#define REGISTER_RSP     4u
#define DR6_WRITABLE     (DR6_BT | DR6_BS | DR6_BD | DR6_B)
#define DR7_WRITABLE     0xffff2bffull
#define INVPCID_ADDRESS  0u
#define INVPCID_CONTEXT  1u
#define INVPCID_TYPE_MAX 3u
#define INVPCID_PCID     0xfffull
#define ARITHMETIC_FLAGS (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

void x86_reset(struct x86_vcpu *x, const struct cpuid_env *env)
{
    x->clock = (struct kvm_clock){0, 0};
    msr_policy_reset(&x->msr);
    cpuid_policy_make(&x->cpuid, env);
    x->cr8 = 0;
    x->reinject = 0;
    x->decoded.at = NULL;
}

enum exit_action x86_crash(struct vcpu *v, const char *what)
{
    vcpu_stop(v, ABI_GUEST_CRASHED, "%s at RIP 0x%lx", what, v->exit->rip);
    return EXIT_STOP;
}

enum exit_action x86_outside(struct vcpu *v, const char *what, uint64_t address)
{
    v->exit->detail = address;
    vcpu_stop(v, ABI_GUEST_CRASHED,
              "%s guest-physical address 0x%lx, outside of its memory, at RIP 0x%lx", what, address,
              v->exit->rip);
    return EXIT_STOP;
}

enum exit_action x86_resume(struct vcpu *v)
{
    (void)v;
    return EXIT_RESUME;
}

enum exit_action x86_skip(struct vcpu *v)
{
    (void)v;
    return EXIT_SKIP;
}

static uint64_t *gpr(const struct vcpu *v, unsigned number)
{
#define PLACE(name) offsetof(struct vcpu_gprs, name)
    static const uint8_t places[16] = {PLACE(rax), PLACE(rcx), PLACE(rdx), PLACE(rbx),
                                       0,          PLACE(rbp), PLACE(rsi), PLACE(rdi),
                                       PLACE(r8),  PLACE(r9),  PLACE(r10), PLACE(r11),
                                       PLACE(r12), PLACE(r13), PLACE(r14), PLACE(r15)};

    return (uint64_t *)(void *)((char *)&v->regs + places[number & 15]);
}

uint64_t x86_read_gpr(const struct vcpu *v, unsigned number)
{
    return number == REGISTER_RSP ? vcpu_get_rsp(v) : *gpr(v, number);
}

void x86_write_gpr(struct vcpu *v, unsigned number, uint64_t value)
{
    if (number == REGISTER_RSP)
        vcpu_set_rsp(v, value);
    else
        *gpr(v, number) = value;
}

uint64_t x86_read_operand(const struct vcpu *v, unsigned number)
{
    uint64_t value = x86_read_gpr(v, number);

    return x86_in_64bit_mode(v) ? value : (uint32_t)value;
}

enum exit_action x86_spins(struct vcpu *v)
{
    v->spins = true;
    return EXIT_KICK;
}

enum exit_action x86_cpuid(struct vcpu *v)
{
    struct vcpu_gprs *r = &v->regs;
    const struct cpuid_regs *c =
        cpuid_policy_lookup(&vcpu_x86(v)->cpuid, (uint32_t)r->rax, (uint32_t)r->rcx);

    v->exit->detail = r->rax;
    r->rax = c->eax;
    r->rbx = c->ebx;
    r->rcx = c->ecx;
    r->rdx = c->edx;
    return EXIT_SKIP;
}

/* An MSR whose value is not the policy's. Takes its number from the vCPU, so that x86_rdmsr() need
 * not keep it. */
static __attribute__((noinline)) enum exit_action read_other(struct vcpu *v, enum msr_result result)
{
    uint32_t msr = (uint32_t)v->regs.rcx;
    uint64_t value;

    if (result == MSR_DEBUGCTL)
        value = vcpu_get_debugctl(v);
    else if (result == MSR_CLOCK)
        value = kvm_clock_read(&vcpu_x86(v)->clock, msr);
    else if (result != MSR_APIC || !x86_apic_read(v, msr, &value))
        return x86_raise_gp(v);
    v->regs.rax = (uint32_t)value;
    v->regs.rdx = value >> 32;
    return EXIT_SKIP;
}

enum exit_action x86_rdmsr(struct vcpu *v)
{
    struct vcpu_gprs *r = &v->regs;
    struct msr_read m;

    v->exit->detail = (uint32_t)r->rcx;
    m = msr_policy_read(&vcpu_x86(v)->msr, (uint32_t)r->rcx);
    if (__builtin_expect(m.result != MSR_DONE, 0))
        return read_other(v, m.result);
    r->rax = (uint32_t)m.value;
    r->rdx = m.value >> 32;
    return EXIT_SKIP;
}

static struct kvm_clock_env clock_env(const struct vcpu *v)
{
    const struct platform *p = v->platform;

    return (struct kvm_clock_env){
        .tsc_hz = p->clock.tsc_hz,
        .power_on = p->power_on.tsc + vcpu_get_tsc_offset(v),
        .epoch = p->power_on.epoch,
    };
}

static __attribute__((noinline)) enum exit_action write_other(struct vcpu *v, uint64_t value)
{
    uint32_t msr = (uint32_t)v->regs.rcx;
    struct x86_vcpu *x = vcpu_x86(v);
    struct kvm_clock_env env;
    enum exit_action action;

    if (msr - MSR_IA32_X2APIC_BASE < X2APIC_MSRS) /* the most frequent ones */
        return x86_apic_write(v, msr, value, &action) ? action : x86_raise_gp(v);
    switch (msr_policy_write(&x->msr, msr, value)) {
    case MSR_DONE:
        break;
    case MSR_TSC:
        x86_set_tsc(v, value);
        env = clock_env(v);
        kvm_clock_update(&x->clock, &v->guest->mem, &env);
        return EXIT_DONE; /* the timer may be due earlier */
    case MSR_CLOCK:
        env = clock_env(v);
        if (!kvm_clock_write(&x->clock, &v->guest->mem, msr, value, &env))
            return x86_raise_gp(v);
        break;
    case MSR_APIC:
        return x86_apic_write(v, msr, value, &action) ? action : x86_raise_gp(v);
    case MSR_DEBUGCTL:
        vcpu_set_debugctl(v, value);
        break;
    case MSR_CPUID:
        cpuid_policy_limit(&x->cpuid, x->msr.misc_enable & MISC_ENABLE_LIMIT_CPUID,
                           x->msr.misc_enable & MISC_ENABLE_NO_XD);
        break;
    case MSR_FAULT:
        return x86_raise_gp(v);
    }
    return EXIT_SKIP;
}

enum exit_action x86_wrmsr(struct vcpu *v)
{
    const struct vcpu_gprs *r = &v->regs;
    uint64_t value = (r->rdx & UINT32_MAX) << 32 | (r->rax & UINT32_MAX);

    v->exit->detail = (uint32_t)r->rcx;
    if ((uint32_t)r->rcx == MSR_IA32_TSC_DEADLINE && irqchip_lapic(v->platform, v->number))
        return x86_write_tsc_deadline(v, value);
    return write_other(v, value);
}

/* SDM 2A "HLT": a debug exception ends it as interrupts do, and one already due after the
 * instruction keeps it from starting. */
enum exit_action x86_hlt(struct vcpu *v)
{
    uint64_t flags = vcpu_get_rflags(v);

    v->nmi_blocked = vcpu_nmi_blocked(v);
    if (x86_steps(v, flags) || vcpu_trap_is_due(v) || vcpu_x86(v)->reinject || vcpu_takes_nmi(v))
        return EXIT_SKIP;
    if (!(flags & RFLAGS_IF)) {
        /* Only an NMI or INIT could wake it; a guest whose vCPUs all halt like this has ended. */
        if (vcpu_halt_deaf(v))
            return EXIT_HALT;
        vcpu_stop(v, ABI_GUEST_STOPPED, "halted with interrupts off at RIP 0x%lx", v->exit->rip);
        return EXIT_STOP;
    }
    if (v->platform->lapic[v->number].by_cpu) /* it has an interrupt in STI's shadow? */
        (void)lapic_update(&v->platform->lapic[v->number]);
    return irqchip_pending(v->platform, v->number) ? EXIT_SKIP : EXIT_HALT;
}

enum exit_action x86_hypercall(struct vcpu *v)
{
    if (vcpu_get_cpl(v) != 0)
        return x86_raise_ud(v);
    v->exit->detail = v->regs.rax;
    return exit_hypercall(v);
}

enum exit_action x86_rdtsc(struct vcpu *v)
{
    uint64_t now = vcpu_get_tsc(v);

    v->regs.rax = (uint32_t)now;
    v->regs.rdx = now >> 32;
    return EXIT_SKIP;
}

enum exit_action x86_rdtscp(struct vcpu *v)
{
    v->regs.rcx = (uint32_t)vcpu_get_tsc_aux(v);
    return x86_rdtsc(v);
}

enum exit_action x86_xsetbv(struct vcpu *v)
{
    const struct vcpu_gprs *r = &v->regs;
    uint64_t value = (r->rdx & UINT32_MAX) << 32 | (r->rax & UINT32_MAX);
    uint64_t allowed = x86_xcr0_allowed();

    if (!allowed || !(vcpu_shown_cr4(v) & CR4_OSXSAVE))
        return x86_raise_ud(v);
    if (vcpu_get_cpl(v) != 0 || (uint32_t)r->rcx != 0 || !xcr0_valid(value, allowed))
        return x86_raise_gp(v);
    vcpu_set_xcr0(v, value);
    cpuid_policy_xcr0(&vcpu_x86(v)->cpuid, value);
    return EXIT_SKIP;
}

/* Flushes more than requested, which is always allowed. */
enum exit_action x86_invlpg(struct vcpu *v)
{
    vcpu_flush_tlb(v);
    return EXIT_SKIP;
}

/* The descriptor: a PCID, then a linear address. SDM 2A "INVPCID". */
static bool invpcid_accepts(const struct vcpu *v, uint64_t type, const uint64_t d[2])
{
    bool names_pcid = type == INVPCID_ADDRESS || type == INVPCID_CONTEXT;

    if ((d[0] & ~INVPCID_PCID) || (type == INVPCID_ADDRESS && !address_is_canonical(d[1])))
        return false;
    return !names_pcid || d[0] == 0 || (vcpu_get_cr4(v) & CR4_PCIDE);
}

/* Invalidating everything is always allowed. */
enum exit_action x86_invpcid(struct vcpu *v, unsigned type_register, enum segment_id segment,
                             uint64_t offset)
{
    uint64_t type = x86_read_operand(v, type_register), linear, descriptor[2];
    const struct segment s = vcpu_get_segment(v, segment);
    struct guest_fault f;
    uint64_t rflags = vcpu_get_rflags(v);
    struct paging p;

    if (type > INVPCID_TYPE_MAX)
        return x86_raise_gp(v);
    x86_read_paging(v, rflags, &p);
    if (!segment_reach(&s, segment, segment_mode_of(p.cr0, p.efer, rflags, vcpu_get_cs_rights(v)),
                       offset, sizeof(descriptor), false, &linear, &f))
        return x86_raise_fault(v, &f);
    switch (linear_read(&p, &v->guest->mem, linear, descriptor, sizeof(descriptor), &f)) {
    case LINEAR_FAULT:
        return x86_raise_fault(v, &f);
    case LINEAR_OUTSIDE:
        return x86_outside(v, "read from", f.address);
    case LINEAR_DONE:
        break;
    }
    if (!invpcid_accepts(v, type, descriptor))
        return x86_raise_gp(v);
    if (x86_watches(v))
        x86_watch_memory(v, linear, sizeof(descriptor), false);
    return x86_invlpg(v);
}

/* The exit comes before the privilege check and before #UD for DR4 and DR5 (SDM 3C "Relative
 * Priority of Faults and VM Exits"). */
enum exit_action x86_mov_dr(struct vcpu *v, unsigned number, bool read, unsigned reg)
{
    unsigned n = number == 4 ? 6 : number == 5 ? 7 : number;
    uint64_t value;

    if (n != number && (vcpu_get_cr4(v) & CR4_DE))
        return x86_raise_ud(v);
    if (vcpu_get_cpl(v) != 0)
        return x86_raise_gp(v);
    if (vcpu_get_dr7(v) & DR7_GD)
        return x86_raise_db(v, DR6_BD);
    if (read) {
        x86_write_gpr(v, reg, n == 7 ? vcpu_get_dr7(v) : vcpu_get_dr(v, n));
        return EXIT_SKIP;
    }
    value = x86_read_operand(v, reg);
    if (n >= 6 && value >> 32)
        return x86_raise_gp(v);
    if (n == 7)
        vcpu_set_dr7(v, (value & DR7_WRITABLE) | DR7_RESET);
    else
        vcpu_set_dr(v, n, n == 6 ? (value & DR6_WRITABLE) | DR6_RESET : value);
    return EXIT_SKIP;
}

enum exit_action x86_random(struct vcpu *v, bool seed, unsigned reg, unsigned size)
{
    uint64_t value = 0, flags = vcpu_get_rflags(v) & ~(uint64_t)ARITHMETIC_FLAGS;
    bool there = vcpu_random(v, seed, &value);

    if (!there)
        value = 0;
    if (size == 2)
        value = (x86_read_gpr(v, reg) & ~0xffffull) | (uint16_t)value;
    else if (size == 4)
        value = (uint32_t)value;
    x86_write_gpr(v, reg, value);
    vcpu_set_rflags(v, flags | (there ? RFLAGS_CF : 0));
    return EXIT_SKIP;
}

/* Not inlined: the frame they need would cost all exits that might raise one. */
__attribute__((noinline)) enum exit_action x86_raise_ud(struct vcpu *v)
{
    return x86_raise_fault(v, &(struct guest_fault){.vector = VECTOR_UD});
}

__attribute__((noinline)) enum exit_action x86_raise_gp(struct vcpu *v)
{
    return x86_raise_fault(v, &(struct guest_fault){.vector = VECTOR_GP});
}
