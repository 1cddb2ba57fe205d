/* Decodes each exit and calls the function that emulates it. APM vol. 2 "Instruction Intercepts",
 * "Exception Intercepts", appendix C "SVM Intercept Exit Codes". */
#include "arch/x86/cpu/machine_check.h"
#include "arch/x86/cpu/trap.h"
#include "arch/x86/guest/linear.h"
#include "arch/x86/guest/task_switch.h"
#include "arch/x86/guest/vcpu_state.h"
#include "arch/x86/svm/instruction.h"
#include "arch/x86/svm/svm.h"
#include "hv/arch.h"
#include "hv/panic.h"

#define VECTOR_BP         3u
#define VECTOR_OF         4u
#define VECTOR_AC_CODE    17u
#define DR6_CONDITIONS    (DR6_BT | DR6_BS | DR6_BD | DR6_B)
#define MSR_IA32_TSC      0x010u
#define EFER_KNOWN        (EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE)
#define RFLAGS_IOPL_SHIFT 12
#define TSS_IO_MAP_BASE   0x66u
#define CPUID_XSAVE       0xdu
#define OP_INT            0xcdu
#define OP_INT1           0xf1u

/* ---- events ---- */

/* The guest executes again what raised a software interrupt or exception. */
static bool repeats_by_itself(uint32_t event)
{
    uint32_t type = event & EVENT_TYPE, vector = event & EVENT_VECTOR;

    return type == EVENT_SOFT_INTERRUPT ||
           (type == EVENT_EXCEPTION && (vector == VECTOR_BP || vector == VECTOR_OF));
}

/* Nothing was executed since the entry injected an event. */
static bool delivers_injected(const struct vcpu *v)
{
    const struct svm_vcpu *x = svm_of(v);

    return x->injected_entry + 1 == v->stats->entries && x->injected_rip == v->exit->rip;
}

/* While Bochs (2.7, 3.0) delivers INT n or INT1, EXITINTINFO has the event before it. Interrupts
 * and NMIs are always injected. Exceptions may come by themselves: faults have RF in the image that
 * is saved, as EXITINFO2 of a task switch shows it, and the others an error code. */
static bool is_stale(const struct vcpu *v, uint32_t event, uint64_t image)
{
    return !delivers_injected(v) &&
           ((event & EVENT_TYPE) != EVENT_EXCEPTION || !(image & (TASK_RF | TASK_HAS_ERROR)));
}

static void note_vectoring(struct vcpu *v)
{
    uint64_t info = svm_control(v)->exitintinfo;
    uint32_t event = (uint32_t)info;

    if ((event & EVENT_VALID) && !repeats_by_itself(event) && !is_stale(v, event, 0))
        x86_note_vectoring(v, event, (uint32_t)(info >> EVENT_ERROR_SHIFT), 0);
}

/* #DB exits only to prevent an endless delivery loop: it goes back to the guest. What it reports is
 * in DR6 already, but on Bochs not BS. */
static enum exit_action on_debug(struct vcpu *v)
{
    uint64_t conditions = vcpu_get_dr(v, 6) & DR6_CONDITIONS;

    if (conditions == 0 && (vcpu_get_rflags(v) & RFLAGS_TF))
        conditions = DR6_BS;
    v->exit->qualification = conditions;
    note_vectoring(v);
    return x86_reflect_exception(v, EVENT_VALID | EVENT_EXCEPTION | VECTOR_DB, 0, conditions);
}

static enum exit_action on_alignment(struct vcpu *v)
{
    note_vectoring(v);
    return x86_reflect_exception(v,
                                 EVENT_VALID | EVENT_EXCEPTION | EVENT_ERROR_CODE | VECTOR_AC_CODE,
                                 (uint32_t)svm_control(v)->exitinfo1, 0);
}

/* Guests call by VMCALL, too, which is no instruction here. */
static enum exit_action on_undefined(struct vcpu *v)
{
    enum exit_action a = svm_fetch(v);

    if (a != EXIT_SKIP)
        return a;
    if (!svm_is_group7(svm_instruction(v), 0, 1))
        return x86_raise_ud(v);
    return svm_decoded(x86_hypercall(v));
}

/* Machine checks are the host's: its handler reports the banks and stops the machine, unless only
 * the guest is lost. A guest has no machine-check architecture. */
static enum exit_action on_machine_check(struct vcpu *v)
{
    if (machine_check_is_guests())
        return x86_crash(v, "a page in use changed its size: machine check (AMD's erratum 383)");
    trap_host_machine_check();
    return EXIT_RESUME;
}

/* It is still pending. */
static enum exit_action on_interrupt(struct vcpu *v)
{
    (void)v;
    arch_irq_window();
    return EXIT_KICK;
}

/* The root took it at STGI. */
static enum exit_action on_nmi(struct vcpu *v)
{
    (void)v;
    return EXIT_KICK;
}

/* The handler of an NMI ends: when the IRET is done another NMI can come. */
static enum exit_action on_iret(struct vcpu *v)
{
    struct svm_vcpu *x = svm_of(v);

    x->vmcb->control.intercept_misc1 &= ~INTERCEPT_IRET;
    x->nmi_returns = true;
    x->nmi_iret = v->exit->rip;
    return EXIT_RESUME;
}

static enum exit_action on_shutdown(struct vcpu *v)
{
    return x86_crash(v, "triple fault");
}

/* ---- registers ---- */

static enum exit_action on_mov_dr(struct vcpu *v)
{
    const struct instruction *in = svm_instruction(v);
    enum exit_action a = svm_fetch(v);

    if (a != EXIT_SKIP)
        return a;
    return svm_decoded(x86_mov_dr(v, in->reg & 7, v->exit->reason < SVM_EXIT_WRITE_DR0, in->rm));
}

/* APM vol. 2 "Extended Feature Enable Register". LMA follows LME and CR0.PG. */
static enum exit_action write_efer(struct vcpu *v, uint64_t value)
{
    uint64_t old = vcpu_get_efer(v);

    if ((value & ~EFER_KNOWN) || (((value ^ old) & EFER_LME) && (vcpu_get_cr0(v) & CR0_PG)))
        return x86_raise_gp(v);
    vcpu_set_efer(v, (value & ~EFER_LMA) | (old & EFER_LMA));
    vcpu_flush_tlb(v);
    return EXIT_SKIP;
}

/* SDM 3A "IA32_PAT MSR": types 0, 1, 4 to 7. */
static enum exit_action write_pat(struct vcpu *v, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++)
        if (!(0xf3u >> (value >> 8 * i & 0xff & 0x1f) & 1) || (value >> 8 * i & 0xe0))
            return x86_raise_gp(v);
    svm_of(v)->pat = value;
    return EXIT_SKIP;
}

static enum exit_action write_msr(struct vcpu *v)
{
    const struct vcpu_gprs *r = &v->regs;
    uint64_t value = (r->rdx & UINT32_MAX) << 32 | (r->rax & UINT32_MAX);

    v->exit->detail = (uint32_t)r->rcx;
    switch ((uint32_t)r->rcx) {
    case MSR_IA32_EFER:
        return write_efer(v, value);
    case MSR_IA32_PAT:
        return write_pat(v, value);
    case MSR_AMD_SYSCFG:
    case MSR_AMD_HWCR:
    case MSR_AMD_NB_CFG:
        return EXIT_SKIP; /* what they would change is not the guest's */
    default:
        return x86_wrmsr(v);
    }
}

static enum exit_action on_msr(struct vcpu *v)
{
    struct vcpu_gprs *r = &v->regs;
    uint64_t value;

    v->exit->qualification = svm_control(v)->exitinfo1;
    if (v->exit->qualification & 1)
        return write_msr(v);
    switch ((uint32_t)r->rcx) {
    case MSR_IA32_EFER:
        value = vcpu_get_efer(v);
        break;
    case MSR_IA32_PAT:
        value = svm_of(v)->pat;
        break;
    case MSR_IA32_TSC:
        value = vcpu_get_tsc(v);
        break;
    /* Every AMD CPU has these, so Xen and Linux read them without asking. */
    case MSR_AMD_SYSCFG:
    case MSR_AMD_NB_CFG:
        value = 0;
        break;
    case MSR_AMD_HWCR:
        value = HWCR_TSC_FREQ_SEL;
        break;
    default:
        return x86_rdmsr(v);
    }
    v->exit->detail = (uint32_t)r->rcx;
    r->rax = (uint32_t)value;
    r->rdx = value >> 32;
    return EXIT_SKIP;
}

/* XCR0 as it is: QEMU intercepts no XSETBV. */
static enum exit_action on_cpuid(struct vcpu *v)
{
    if ((uint32_t)v->regs.rax == CPUID_XSAVE && x86_xcr0_allowed())
        cpuid_policy_xcr0(&vcpu_x86(v)->cpuid, read_xcr0());
    return x86_cpuid(v);
}

/* QEMU reports RDTSCP like this, too. */
static enum exit_action on_rdtsc(struct vcpu *v)
{
    return !svm_of(v)->nrips && svm_is_group7(svm_instruction(v), 7, 1) ? x86_rdtscp(v)
                                                                        : x86_rdtsc(v);
}

/* ---- ports and memory ---- */

/* SDM 1 "I/O Permission Bit Map", for CPUs that exit before they look at it. */
static bool port_is_allowed(struct vcpu *v, uint16_t port, unsigned size)
{
    uint64_t rflags = vcpu_get_rflags(v);
    const struct vmcb_segment *tr = &svm_save(v)->tr;
    uint32_t at;
    struct guest_fault f;
    struct paging p;
    uint16_t base, bits;

    if (!(vcpu_get_cr0(v) & CR0_PE) ||
        (!(rflags & RFLAGS_VM) && vcpu_get_cpl(v) <= (rflags >> RFLAGS_IOPL_SHIFT & 3)))
        return true;
    x86_read_paging(v, rflags, &p);
    p.cpl = 0;
    if (tr->limit < TSS_IO_MAP_BASE + 1 ||
        linear_read(&p, &v->guest->mem, tr->base + TSS_IO_MAP_BASE, &base, sizeof(base), &f))
        return false;
    at = base + port / 8u;
    if (at + 1 > tr->limit ||
        linear_read(&p, &v->guest->mem, tr->base + at, &bits, sizeof(bits), &f))
        return false;
    return !((uint32_t)bits >> port % 8 & ((1u << size) - 1));
}

static enum exit_action string_io(struct vcpu *v, uint32_t q, struct string_access *a)
{
    const struct instruction *in = svm_instruction(v);
    enum exit_action action = svm_fetch(v);

    if (action != EXIT_SKIP)
        return action;
    a->in = q & IOIO_IN;
    a->rep = q & IOIO_REP;
    a->address_bytes = in->address_bytes;
    a->segment = in->segment;
    return x86_string_io(v, a, svm_of(v)->deadline);
}

/* enter.asm has read the qualification, and handles unclaimed ports itself. */
static enum exit_action on_io(struct vcpu *v)
{
    uint32_t q = (uint32_t)v->exit->qualification;
    struct string_access a = {.port = (uint16_t)(q >> IOIO_PORT_SHIFT),
                              .size = q >> IOIO_SIZE_SHIFT & IOIO_SIZE_MASK};

    if (vcpu_get_cpl(v) && !port_is_allowed(v, a.port, a.size))
        return x86_raise_gp(v);
    if (q & IOIO_STR)
        return string_io(v, q, &a);
    return q & IOIO_IN ? x86_port_in(v, a.port, a.size) : x86_port_out(v, a.port, a.size);
}

/* All guest memory is mapped before the guest runs: at an unmapped address there are device
 * registers, or nothing. */
static enum exit_action on_npf(struct vcpu *v)
{
    const struct vmcb_control *c = svm_control(v);
    const uint64_t kind = NPF_FINAL | NPF_PRESENT | NPF_RESERVED | NPF_FETCH;
    uint64_t q = c->exitinfo1, at = c->exitinfo2;

    v->exit->qualification = q;
    v->exit->detail = at;
    if ((q & kind) == NPF_FINAL && !(c->exitintinfo & EVENT_VALID)) {
        struct memory_access m = {.gpa = at, .write = q & NPF_WRITE};

        return x86_mmio(v, &m, svm_of(v)->deadline);
    }
    if (q & NPF_RESERVED) /* the tables are the root's own */
        panic("nested page fault 0x%lx at guest-physical 0x%lx of guest %u", q, at,
              v->guest->number);
    return x86_outside(v,
                       q & NPF_FETCH   ? "executed"
                       : q & NPF_WRITE ? "wrote to"
                                       : "read from",
                       at);
}

/* ---- others ---- */

/* What a software interrupt is, if EXITINTINFO need not be right. */
static void correct_gate(struct task_switch *t, const struct instruction *in)
{
    bool one_byte = in->map == DECODE_ONE_BYTE;

    if (one_byte && in->opcode == OP_INT)
        t->event = EVENT_VALID | EVENT_SOFT_INTERRUPT | (uint8_t)in->immediate;
    else if (one_byte && in->opcode == OP_INT1)
        t->event = EVENT_VALID | EVENT_EXCEPTION | VECTOR_DB;
    else if (!repeats_by_itself(t->event))
        t->length = 0;
}

static enum exit_action on_task_switch(struct vcpu *v)
{
    const struct vmcb_control *c = svm_control(v);
    struct task_switch t = {.by = TASK_CALL, .selector = (uint16_t)c->exitinfo1};
    uint32_t event = (uint32_t)c->exitintinfo;

    v->exit->qualification = c->exitinfo2;
    if (c->exitinfo2 & TASK_BY_IRET)
        t.by = TASK_IRET;
    else if (c->exitinfo2 & TASK_BY_JUMP)
        t.by = TASK_JMP;
    else if (event & EVENT_VALID)
        t.by = TASK_GATE;
    if (t.by == TASK_GATE) {
        t.event = event;
        t.error = (uint32_t)c->exitinfo2;
    }
    /* An event that no instruction caused returns to where it came. */
    if (t.by != TASK_GATE || repeats_by_itself(event) || is_stale(v, event, c->exitinfo2)) {
        enum exit_action a = svm_fetch(v);

        if (a != EXIT_SKIP)
            return a;
        t.length = (uint32_t)v->exit->instruction_length;
        if (t.by == TASK_GATE)
            correct_gate(&t, svm_instruction(v));
    }
    return x86_task_switch(v, &t);
}

static enum exit_action on_other(struct vcpu *v)
{
    if (v->exit->reason == SVM_EXIT_INVALID)
        vcpu_stop(v, ABI_GUEST_CRASHED,
                  ABI_WHY_ENTRY_FAILED ": the VMCB is refused (VMEXIT_INVALID)%s",
                  svm_restore_entered(v) ? "" : ", and its registers may be lost");
    else
        vcpu_stop(v, ABI_GUEST_CRASHED, "unhandled exit 0x%x at RIP 0x%lx", v->exit->reason,
                  v->exit->rip);
    return EXIT_STOP;
}

/* ---- the tables ---- */

/* The rows that both tables have: those without a length, or whose handlers know it. Every row must
 * be filled: enter.asm calls what it finds. */
#define SAME_ROWS                                                                                  \
    [0 ... ABI_EXIT_REASONS -                                                                      \
        1] = on_other,                                                                             \
        [SVM_EXIT_READ_CR0... SVM_EXIT_READ_CR0 + 15] = svm_on_cr_read,                            \
        [SVM_EXIT_WRITE_CR0... SVM_EXIT_WRITE_CR0 + 15] = svm_on_cr_write,                         \
        [SVM_EXIT_READ_DR0... SVM_EXIT_READ_DR0 + 15] = on_mov_dr,                                 \
        [SVM_EXIT_WRITE_DR0... SVM_EXIT_WRITE_DR0 + 15] = on_mov_dr,                               \
        [SVM_EXIT_EXCP0 + VECTOR_DB] = on_debug, [SVM_EXIT_EXCP0 + VECTOR_UD] = on_undefined,      \
        [SVM_EXIT_EXCP0 + VECTOR_AC_CODE] = on_alignment,                                          \
        [SVM_EXIT_EXCP0 + TRAP_MACHINE_CHECK] = on_machine_check, [SVM_EXIT_INTR] = on_interrupt,  \
        [SVM_EXIT_NMI] = on_nmi, [SVM_EXIT_INIT] = x86_resume, [SVM_EXIT_VINTR] = x86_resume,      \
        [SVM_EXIT_RDPMC] = x86_raise_gp, [SVM_EXIT_IRET] = on_iret,                                \
        [SVM_EXIT_INVLPGA] = x86_raise_ud, [SVM_EXIT_TASK_SWITCH] = on_task_switch,                \
        [SVM_EXIT_SHUTDOWN] = on_shutdown, [SVM_EXIT_VMRUN] = x86_raise_ud,                        \
        [SVM_EXIT_VMLOAD... SVM_EXIT_SKINIT] = x86_raise_ud,                                       \
        [SVM_EXIT_MONITOR... SVM_EXIT_MWAIT_CONDITIONAL] = x86_raise_ud,                           \
        [SVM_EXIT_RDPRU] = x86_raise_ud, [ABI_SVM_EXIT_NPF] = on_npf

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
svm_handler *const svm_exit_handlers[ABI_EXIT_REASONS] = {
    SAME_ROWS,
    [SVM_EXIT_RDTSC] = on_rdtsc,
    [SVM_EXIT_CPUID] = on_cpuid,
    [SVM_EXIT_INVD] = x86_skip, /* dirty lines must not be dropped, so do nothing */
    [SVM_EXIT_PAUSE] = x86_skip,
    [SVM_EXIT_HLT] = x86_hlt,
    [SVM_EXIT_INVLPG] = x86_invlpg,
    [SVM_EXIT_IOIO] = on_io,
    [SVM_EXIT_MSR] = on_msr,
    [SVM_EXIT_VMMCALL] = x86_hypercall,
    [SVM_EXIT_RDTSCP] = x86_rdtscp,
    [SVM_EXIT_WBINVD] = x86_skip, /* memory is always write-back: the caches are coherent */
    [SVM_EXIT_XSETBV] = x86_xsetbv,
};

/* Before what it does is done: that may change how its bytes are found. */
static enum exit_action decode_first(struct vcpu *v)
{
    enum exit_action a = svm_fetch(v);

    if (a != EXIT_SKIP)
        return a;
    return svm_decoded(svm_exit_handlers[abi_svm_exit(v->exit->reason)](v));
}

/* The next RIP of these alone is always reported. */
static enum exit_action io_decoded(struct vcpu *v)
{
    enum exit_action a = on_io(v);

    v->exit->instruction_length = svm_control(v)->exitinfo2 - v->exit->rip;
    return svm_decoded(a);
}

svm_handler *const svm_decoding_handlers[ABI_EXIT_REASONS] = {
    SAME_ROWS,
    [SVM_EXIT_RDTSC] = decode_first,
    [SVM_EXIT_CPUID] = decode_first,
    [SVM_EXIT_INVD... SVM_EXIT_INVLPG] = decode_first,
    [SVM_EXIT_IOIO] = io_decoded,
    [SVM_EXIT_MSR] = decode_first,
    [SVM_EXIT_VMMCALL] = decode_first,
    [SVM_EXIT_RDTSCP] = decode_first,
    [SVM_EXIT_WBINVD] = decode_first,
    [SVM_EXIT_XSETBV] = decode_first,
};
#pragma GCC diagnostic pop
