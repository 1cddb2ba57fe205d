/* What each VM exit means. SDM 3C "VM Exits", "Exit Qualification for ..." */
#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/regs.h"
#include "arch/x86/cpu/trap.h"
#include "arch/x86/inspect/names.h"
#include "arch/x86/vmx/vcpu.h"
#include "arch/x86/vmx/vmcs.h"
#include "hv/arch.h"

#define DPL3               3u
#define DR6_REPORTED       (DR6_BS | DR6_BD | DR6_B) /* by a #DB exit's qualification */
#define DEBUGCTL_CLEARS    (DEBUGCTL_LBR | DEBUGCTL_BTF)
/* SDM 3C "Exit Qualification for EPT Violations" */
#define EPT_NMI_UNBLOCKING (1ull << 12)

enum exit_action vmx_crash(struct vmx_vcpu *x, const char *what)
{
    vcpu_stop(x->vcpu, ABI_GUEST_CRASHED, "%s at RIP 0x%lx", what, x->vcpu->exit->rip);
    return EXIT_STOP;
}

enum exit_action vmx_raise_ud(struct vmx_vcpu *x)
{
    vmx_inject_exception(x, VECTOR_UD, false, 0);
    return EXIT_RESUME;
}

enum exit_action vmx_raise_gp(struct vmx_vcpu *x)
{
    vmx_inject_exception(x, VECTOR_GP, true, 0);
    return EXIT_RESUME;
}

unsigned vmx_cpl(void)
{
    return (unsigned)(vmread(VMCS_GUEST_SS_ACCESS_RIGHTS) >> AR_DPL_SHIFT & DPL3);
}

void vmx_flush_tlb(const struct vmx_vcpu *x)
{
    uint64_t type = vmx_caps_common()->ept_vpid & EPT_CAP_INVVPID_SINGLE ? INVVPID_SINGLE_CONTEXT
                                                                         : INVVPID_ALL_CONTEXT;

    invvpid(type, vmx_vpid(x->vcpu));
}

static enum exit_action resume(struct vmx_vcpu *x)
{
    (void)x;
    return EXIT_RESUME;
}

static enum exit_action skip(struct vmx_vcpu *x)
{
    (void)x;
    return EXIT_SKIP;
}

/* What a debug exception does to the debug registers before its delivery: SDM 3B "Debug Registers".
 */
static void note_debug_exception(uint64_t conditions)
{
    /* Each new one clears B3..B0, and leaves the rest to the guest. */
    write_dr6((read_dr6() & ~DR6_B) | (conditions & DR6_REPORTED));
    vmwrite(VMCS_GUEST_DR7, vmread(VMCS_GUEST_DR7) & ~DR7_GD);
    vmwrite(VMCS_GUEST_IA32_DEBUGCTL, vmread(VMCS_GUEST_IA32_DEBUGCTL) & ~DEBUGCTL_CLEARS);
}

enum exit_action vmx_raise_db(struct vmx_vcpu *x, uint64_t conditions)
{
    note_debug_exception(conditions);
    vmx_inject_exception(x, VECTOR_DB, false, 0);
    return EXIT_RESUME;
}

/* INT1 (0xf1) is no exception of an instruction that will be executed again: delivery has to go on
 * behind it. It leaves the debug registers alone. */
static enum exit_action deliver_int1(struct vmx_vcpu *x)
{
    vmx_inject_exception(x, VECTOR_DB, false, 0);
    vmwrite(VMCS_VM_ENTRY_INTERRUPTION_INFO,
            INTR_INFO_VALID | INTR_INFO_PRIVILEGED_SOFT | VECTOR_DB);
    vmwrite(VMCS_VM_ENTRY_INSTRUCTION_LENGTH, vmread(VMCS_VM_EXIT_INSTRUCTION_LENGTH));
    return EXIT_RESUME;
}

/* It is the host's: its handler ends all with what the banks hold. A guest has no machine-check
 * architecture. */
static enum exit_action on_machine_check(struct vmx_vcpu *x)
{
    (void)x;
    trap_host_machine_check();
    return EXIT_RESUME;
}

/* #DB and #AC exit only so that their delivery can never loop inside the CPU: they go back to the
 * guest. Both are benign, so an event that they interrupted is delivered after them if nobody would
 * repeat it (SDM 3A "Double Fault Exception": "handle exceptions serially"). */
static enum exit_action on_exception(struct vmx_vcpu *x)
{
    uint32_t info = (uint32_t)vmread(VMCS_VM_EXIT_INTERRUPTION_INFO), type, error = 0;
    uint8_t vector = info & INTR_INFO_VECTOR_MASK;

    if ((info & INTR_INFO_TYPE_MASK) == INTR_INFO_NMI) {
        trap_host_nmi();
        return EXIT_RESUME;
    }
    if (vmx_is_machine_check(VMX_EXIT_EXCEPTION_OR_NMI, info))
        return on_machine_check(x);
    if ((info & INTR_INFO_TYPE_MASK) == INTR_INFO_PRIVILEGED_SOFT)
        return deliver_int1(x);
    vmx_note_vectoring(x);
    /* An IRET that faults has unblocked NMIs too early. SDM 3C "Information for VM Exits Due to
     * Vectored Events". */
    if ((info & INTR_INFO_NMI_UNBLOCKING) && !x->reinject)
        vmwrite(VMCS_GUEST_INTERRUPTIBILITY_STATE,
                vmread(VMCS_GUEST_INTERRUPTIBILITY_STATE) | BLOCKING_BY_NMI);
    type = x->reinject & INTR_INFO_TYPE_MASK;
    if (x->reinject && type != INTR_INFO_EXTERNAL && type != INTR_INFO_NMI)
        x->reinject = 0; /* the instruction that caused it will do so again */
    if (vector == VECTOR_DB) {
        /* The exit leaves DR6 alone; what the exception would have written there is in the
         * qualification: SDM 3C "Exit Qualification for Debug Exceptions". */
        x->vcpu->exit->qualification = vmread(VMCS_EXIT_QUALIFICATION);
        note_debug_exception(x->vcpu->exit->qualification);
    }
    if (info & INTR_INFO_ERROR_CODE)
        error = (uint32_t)vmread(VMCS_VM_EXIT_INTERRUPTION_ERROR_CODE);
    vmx_inject_exception(x, vector, info & INTR_INFO_ERROR_CODE, error);
    return EXIT_RESUME;
}

static enum exit_action on_external_interrupt(struct vmx_vcpu *x)
{
    (void)x;
    arch_irq_window();
    return EXIT_KICK;
}

static enum exit_action on_triple_fault(struct vmx_vcpu *x)
{
    return vmx_crash(x, "triple fault");
}

/* Leaves that enter.asm does not answer. */
static enum exit_action on_cpuid(struct vmx_vcpu *x)
{
    struct vcpu_gprs *r = &x->vcpu->regs;
    const struct cpuid_regs *c = cpuid_policy_lookup(&x->cpuid, (uint32_t)r->rax, (uint32_t)r->rcx);

    x->vcpu->exit->detail = r->rax;
    r->rax = c->eax;
    r->rbx = c->ebx;
    r->rcx = c->ecx;
    r->rdx = c->edx;
    return EXIT_SKIP;
}

/* SDM 2A "HLT": a debug exception ends it as interrupts do, and one that is due behind it lets it
 * not even begin. */
static enum exit_action on_hlt(struct vmx_vcpu *x)
{
    struct vcpu *v = x->vcpu;
    uint64_t flags = vmread(VMCS_GUEST_RFLAGS);

    v->nmi_blocked = vmread(VMCS_GUEST_INTERRUPTIBILITY_STATE) & BLOCKING_BY_NMI;
    if (vmx_steps(flags) || vmx_trap_is_due() || x->reinject || vcpu_takes_nmi(v))
        return EXIT_SKIP;
    if (!(flags & RFLAGS_IF)) {
        /* Only an NMI could wake it; who halts like this has come to its end. */
        vcpu_stop(v, ABI_GUEST_STOPPED, "halted with interrupts off at RIP 0x%lx", v->exit->rip);
        return EXIT_STOP;
    }
    return platform_irq_pending(v->platform) ? EXIT_SKIP : EXIT_HALT;
}

static enum exit_action on_vmcall(struct vmx_vcpu *x)
{
    int64_t result;

    if (vmx_cpl() != 0)
        return vmx_raise_ud(x);
    x->vcpu->exit->detail = x->vcpu->regs.rax;
    result = control_call(x->vcpu);
    if (__builtin_expect(result == CONTROL_LATER, 0))
        return EXIT_RESUME;
    x->vcpu->regs.rax = (uint64_t)result;
    return x->vcpu->stop ? EXIT_STOP : EXIT_SKIP;
}

static enum exit_action on_rdmsr(struct vmx_vcpu *x)
{
    struct vcpu_gprs *r = &x->vcpu->regs;
    uint64_t value = 0;

    x->vcpu->exit->detail = (uint32_t)r->rcx;
    switch (msr_policy_read(&x->msr, (uint32_t)r->rcx, &value)) {
    case MSR_DONE:
        break;
    case MSR_DEBUGCTL:
        value = vmread(VMCS_GUEST_IA32_DEBUGCTL);
        break;
    case MSR_TSC:
    case MSR_FAULT:
        return vmx_raise_gp(x);
    }
    r->rax = (uint32_t)value;
    r->rdx = value >> 32;
    return EXIT_SKIP;
}

static enum exit_action on_wrmsr(struct vmx_vcpu *x)
{
    const struct vcpu_gprs *r = &x->vcpu->regs;
    uint64_t value = (r->rdx & UINT32_MAX) << 32 | (r->rax & UINT32_MAX);

    x->vcpu->exit->detail = (uint32_t)r->rcx;
    switch (msr_policy_write(&x->msr, (uint32_t)r->rcx, value)) {
    case MSR_DONE:
        break;
    case MSR_TSC:
        vmwrite(VMCS_TSC_OFFSET, value - arch_tsc());
        break;
    case MSR_DEBUGCTL:
        vmwrite(VMCS_GUEST_IA32_DEBUGCTL, value);
        break;
    case MSR_FAULT:
        return vmx_raise_gp(x);
    }
    return EXIT_SKIP;
}

/* The fetch that was refused will be made again; what it interrupted must not be lost. */
static enum exit_action fetch_again(struct vmx_vcpu *x, uint64_t q)
{
    vmx_note_vectoring(x);
    if ((q & EPT_NMI_UNBLOCKING) && !x->reinject)
        vmwrite(VMCS_GUEST_INTERRUPTIBILITY_STATE,
                vmread(VMCS_GUEST_INTERRUPTIBILITY_STATE) | BLOCKING_BY_NMI);
    return EXIT_RESUME;
}

/* Memory of the guest is mapped before it runs: whatever is missing does not exist. Only large
 * pages wait for their first fetch. */
enum exit_action vmx_outside(struct vmx_vcpu *x, const char *what, uint64_t address)
{
    struct abi_exit *e = x->vcpu->exit;

    e->detail = address;
    vcpu_stop(x->vcpu, ABI_GUEST_CRASHED,
              "%s guest-physical address 0x%lx, outside of its memory, at RIP 0x%lx", what, address,
              e->rip);
    return EXIT_STOP;
}

static enum exit_action on_ept(struct vmx_vcpu *x)
{
    uint64_t q = vmread(VMCS_EXIT_QUALIFICATION);
    uint64_t at = vmread(VMCS_GUEST_PHYSICAL_ADDRESS);

    x->vcpu->exit->qualification = q;
    x->vcpu->exit->detail = at;
    if ((q & EPT_EXECUTE) && vmx_split(x, at))
        return fetch_again(x, q);
    return vmx_outside(x,
                       q & EPT_WRITE     ? "wrote to"
                       : q & EPT_EXECUTE ? "executed"
                                         : "read from",
                       at);
}

/* The tables are the root's own: nothing a guest does makes an entry that the CPU cannot read. */
static enum exit_action on_ept_misconfiguration(struct vmx_vcpu *x)
{
    panic("EPT misconfiguration at guest-physical 0x%lx of guest %u",
          vmread(VMCS_GUEST_PHYSICAL_ADDRESS), x->vcpu->guest->number);
}

static enum exit_action on_bad_entry(struct vmx_vcpu *x)
{
    struct abi_exit *e = x->vcpu->exit;

    e->qualification = vmread(VMCS_EXIT_QUALIFICATION);
    vcpu_stop(x->vcpu, ABI_GUEST_CRASHED, ABI_WHY_ENTRY_FAILED ": %s (qualification %lu)",
              vmx_exit_reason_name(e->reason), e->qualification);
    return EXIT_STOP;
}

static enum exit_action on_task_switch(struct vmx_vcpu *x)
{
    x->vcpu->exit->qualification = vmread(VMCS_EXIT_QUALIFICATION);
    return vmx_crash(x, "a hardware task switch, which is not emulated,");
}

static enum exit_action on_unknown(struct vmx_vcpu *x)
{
    vcpu_stop(x->vcpu, ABI_GUEST_CRASHED, "VM exit that is not handled: %s at RIP 0x%lx",
              vmx_exit_reason_name(x->vcpu->exit->reason), x->vcpu->exit->rip);
    return EXIT_STOP;
}

/* Every row is there: enter.asm calls what it finds. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
enum exit_action (*const vmx_exit_handlers[ABI_EXIT_REASONS])(struct vmx_vcpu *x) = {
    [0 ... ABI_EXIT_REASONS - 1] = on_unknown,
    [VMX_EXIT_EXCEPTION_OR_NMI] = on_exception,
    [VMX_EXIT_EXTERNAL_INTERRUPT] = on_external_interrupt,
    [VMX_EXIT_TRIPLE_FAULT] = on_triple_fault,
    [VMX_EXIT_INTERRUPT_WINDOW] = resume,
    [VMX_EXIT_NMI_WINDOW] = resume,
    [VMX_EXIT_TASK_SWITCH] = on_task_switch,
    [VMX_EXIT_CPUID] = on_cpuid,
    [VMX_EXIT_GETSEC] = vmx_raise_ud,
    [VMX_EXIT_HLT] = on_hlt,
    [VMX_EXIT_INVLPG] = vmx_on_invlpg,
    [VMX_EXIT_RDTSC] = vmx_on_rdtsc,
    [VMX_EXIT_RDTSCP] = vmx_on_rdtscp,
    [VMX_EXIT_MOV_DR] = vmx_on_mov_dr,
    [VMX_EXIT_MONITOR_TRAP_FLAG] = resume,
    [VMX_EXIT_PAUSE] = skip,
    [VMX_EXIT_RDRAND] = vmx_on_random,
    [VMX_EXIT_RDSEED] = vmx_on_random,
    [VMX_EXIT_INVD] = skip, /* dirty lines must not be dropped, and nothing else is asked */
    [VMX_EXIT_RDPMC] = vmx_raise_gp,
    [VMX_EXIT_VMCALL] = on_vmcall,
    [VMX_EXIT_VMCLEAR] = vmx_raise_ud,
    [VMX_EXIT_VMLAUNCH] = vmx_raise_ud,
    [VMX_EXIT_VMPTRLD] = vmx_raise_ud,
    [VMX_EXIT_VMPTRST] = vmx_raise_ud,
    [VMX_EXIT_VMREAD] = vmx_raise_ud,
    [VMX_EXIT_VMRESUME] = vmx_raise_ud,
    [VMX_EXIT_VMWRITE] = vmx_raise_ud,
    [VMX_EXIT_VMXOFF] = vmx_raise_ud,
    [VMX_EXIT_VMXON] = vmx_raise_ud,
    [VMX_EXIT_CONTROL_REGISTER_ACCESS] = vmx_on_cr_access,
    [VMX_EXIT_IO_INSTRUCTION] = vmx_on_io,
    [VMX_EXIT_RDMSR] = on_rdmsr,
    [VMX_EXIT_WRMSR] = on_wrmsr,
    [VMX_EXIT_MWAIT] = vmx_raise_ud,
    [VMX_EXIT_MONITOR] = vmx_raise_ud,
    [VMX_EXIT_EPT_VIOLATION] = on_ept,
    [VMX_EXIT_EPT_MISCONFIGURATION] = on_ept_misconfiguration,
    [VMX_EXIT_INVEPT] = vmx_raise_ud,
    [VMX_EXIT_INVVPID] = vmx_raise_ud,
    [VMX_EXIT_WBINVD] = skip, /* memory is always write-back: the caches are never out of date */
    [VMX_EXIT_XSETBV] = vmx_on_xsetbv,
    [VMX_EXIT_INVPCID] = vmx_on_invpcid,
    [VMX_EXIT_VMFUNC] = vmx_raise_ud,
    [VMX_EXIT_ENCLS] = vmx_raise_ud,
    [VMX_EXIT_ENCLV] = vmx_raise_ud,
};
#pragma GCC diagnostic pop

enum exit_action vmx_on_unusual_exit(struct vmx_vcpu *x)
{
    uint32_t reason = x->vcpu->exit->reason;

    if (!(reason & VMX_EXIT_ENTRY_FAILURE))
        return on_unknown(x);
    return vmx_is_machine_check(reason, 0) ? on_machine_check(x) : on_bad_entry(x);
}
