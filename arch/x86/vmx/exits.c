/* What each VM exit means. SDM 3C "VM Exits", "Exit Qualification for ..." */
#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/regs.h"
#include "arch/x86/cpu/trap.h"
#include "arch/x86/vmx/names.h"
#include "arch/x86/vmx/vcpu.h"
#include "arch/x86/vmx/vmcs.h"

#define VECTOR_DB         1u
#define VECTOR_UD         6u
#define VECTOR_GP         13u
#define VECTOR_AC         17u
#define VECTOR_MC         18u

#define IO_SIZE_MASK      7u
#define IO_IN             (1u << 3)
#define IO_STRING         (1u << 4)
#define IO_PORT_SHIFT     16

#define CR_NUMBER_MASK    0xfu
#define CR_TYPE_SHIFT     4
#define CR_TYPE_MASK      3u
#define CR_REGISTER_SHIFT 8
#define CR_MOV_TO         0u

#define DPL3              3u
#define LONG_MODE_PDPTES  4u

static enum exit_action crash(struct vmx_vcpu *x, const char *what)
{
    vcpu_stop(x->vcpu, ABI_GUEST_CRASHED, "%s at RIP 0x%lx", what, vmread(VMCS_GUEST_RIP));
    return EXIT_STOP;
}

static enum exit_action raise_ud(struct vmx_vcpu *x)
{
    (void)x;
    vmx_inject_exception(VECTOR_UD, false, 0);
    return EXIT_RESUME;
}

static enum exit_action raise_gp(struct vmx_vcpu *x)
{
    (void)x;
    vmx_inject_exception(VECTOR_GP, true, 0);
    return EXIT_RESUME;
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

static unsigned privilege(void)
{
    return (unsigned)(vmread(VMCS_GUEST_SS_ACCESS_RIGHTS) >> AR_DPL_SHIFT & DPL3);
}

static enum exit_action on_exception(struct vmx_vcpu *x)
{
    uint32_t info = (uint32_t)vmread(VMCS_VM_EXIT_INTERRUPTION_INFO);
    uint8_t vector = info & INTR_INFO_VECTOR_MASK;
    uint64_t dr6;

    if ((info & INTR_INFO_TYPE_MASK) == INTR_INFO_NMI) {
        trap_host_nmi();
        return EXIT_RESUME;
    }
    if (vector == VECTOR_MC)
        __asm__ volatile("int $18" ::: "memory");
    vmx_note_vectoring(x);
    if (x->reinject)
        return crash(x, "an exception while another event was being delivered");
    if (vector == VECTOR_DB) {
        /* The exit leaves DR6 alone; what it would have been told is in the qualification. */
        __asm__ volatile("mov %%dr6, %0" : "=r"(dr6));
        dr6 |= vmread(VMCS_EXIT_QUALIFICATION) & 0x600full;
        __asm__ volatile("mov %0, %%dr6" ::"r"(dr6));
    }
    vmx_inject_exception(
        vector, info & INTR_INFO_ERROR_CODE,
        info & INTR_INFO_ERROR_CODE ? (uint32_t)vmread(VMCS_VM_EXIT_INTERRUPTION_ERROR_CODE) : 0);
    return EXIT_RESUME;
}

static enum exit_action on_triple_fault(struct vmx_vcpu *x)
{
    return crash(x, "triple fault");
}

static enum exit_action on_cpuid(struct vmx_vcpu *x)
{
    struct vcpu_gprs *r = &x->vcpu->regs;
    const struct cpuid_regs *c = cpuid_policy_lookup(&x->cpuid, (uint32_t)r->rax, (uint32_t)r->rcx);

    r->rax = c->eax;
    r->rbx = c->ebx;
    r->rcx = c->ecx;
    r->rdx = c->edx;
    return EXIT_SKIP;
}

static enum exit_action on_hlt(struct vmx_vcpu *x)
{
    if (!(vmread(VMCS_GUEST_RFLAGS) & RFLAGS_IF)) {
        vcpu_stop(x->vcpu, ABI_GUEST_STOPPED, "halted with interrupts off at RIP 0x%lx",
                  vmread(VMCS_GUEST_RIP));
        return EXIT_STOP;
    }
    return platform_irq_pending(x->vcpu->platform) ? EXIT_SKIP : EXIT_HALT;
}

static enum exit_action on_vmcall(struct vmx_vcpu *x)
{
    if (privilege() != 0)
        return raise_ud(x);
    x->vcpu->regs.rax = (uint64_t)control_call(x->vcpu);
    return EXIT_SKIP;
}

static enum exit_action on_io(struct vmx_vcpu *x)
{
    struct platform *p = x->vcpu->platform;
    uint32_t q = (uint32_t)vmread(VMCS_EXIT_QUALIFICATION);
    uint16_t port = (uint16_t)(q >> IO_PORT_SHIFT);
    unsigned size = (q & IO_SIZE_MASK) + 1;
    uint64_t *rax = &x->vcpu->regs.rax;

    if (__builtin_expect(q & IO_STRING, 0))
        return crash(x, "string I/O, which is not emulated,");
    if (q & IO_IN) {
        uint32_t v = io_in(&p->bus, port, size);

        if (size == 1)
            *rax = (*rax & ~0xffull) | (v & 0xffu);
        else if (size == 2)
            *rax = (*rax & ~0xffffull) | (v & 0xffffu);
        else
            *rax = v;
        return EXIT_SKIP;
    }
    io_out(&p->bus, port, size,
           size == 1   ? *rax & 0xff
           : size == 2 ? *rax & 0xffff
                       : (uint32_t)*rax);
    p->next_event = min_u64(pit_deadline(&p->pit), rtc_deadline(&p->rtc));
    return EXIT_SKIP;
}

static enum exit_action on_rdmsr(struct vmx_vcpu *x)
{
    struct vcpu_gprs *r = &x->vcpu->regs;
    uint64_t v;

    switch ((uint32_t)r->rcx) {
    case MSR_IA32_APIC_BASE:
        v = APIC_BASE_BSP; /* no local APIC */
        break;
    case MSR_IA32_BIOS_SIGN_ID:
    case MSR_IA32_PLATFORM_ID:
    case MSR_IA32_MISC_ENABLE:
        v = 0;
        break;
    default:
        return raise_gp(x);
    }
    r->rax = (uint32_t)v;
    r->rdx = v >> 32;
    return EXIT_SKIP;
}

static enum exit_action on_wrmsr(struct vmx_vcpu *x)
{
    switch ((uint32_t)x->vcpu->regs.rcx) {
    case MSR_IA32_BIOS_SIGN_ID: /* software clears it before CPUID to learn the microcode's revision
                                 */
    case MSR_IA32_MISC_ENABLE:
        return EXIT_SKIP;
    default:
        return raise_gp(x);
    }
}

/* SDM 3A "PAE Paging": the four entries are loaded when CR0.PG goes up. False when they cannot be.
 */
static bool load_pdptes(const struct vmx_vcpu *x)
{
    uint64_t entries[LONG_MODE_PDPTES];
    uint64_t at = vmread(VMCS_GUEST_CR3) & 0xffffffe0ull;

    if (gmem_read(&x->vcpu->guest->mem, gpa(at), entries, sizeof(entries)))
        return false;
    for (unsigned i = 0; i < LONG_MODE_PDPTES; i++)
        vmwrite(VMCS_GUEST_PDPTE0 + 2 * i, entries[i]);
    return true;
}

/* Only a write that changes CD, NW or NE comes here; it may change paging as well. */
static enum exit_action write_guest_cr0(struct vmx_vcpu *x, uint64_t v)
{
    uint64_t old = vmread(VMCS_GUEST_CR0), efer = vmread(VMCS_GUEST_IA32_EFER);
    uint64_t entry = vmread(VMCS_VM_ENTRY_CONTROLS);
    bool pg = v & CR0_PG;

    if ((v >> 32) || (pg && !(v & CR0_PE)) || ((v & CR0_NW) && !(v & CR0_CD)))
        return raise_gp(x);
    if (pg && !(old & CR0_PG)) {
        if (efer & EFER_LME) {
            if (!(vmread(VMCS_GUEST_CR4) & CR4_PAE))
                return raise_gp(x);
            vmwrite(VMCS_GUEST_IA32_EFER, efer | EFER_LMA);
            vmwrite(VMCS_VM_ENTRY_CONTROLS, entry | ENTRY_IA32E_MODE_GUEST);
        } else if ((vmread(VMCS_GUEST_CR4) & CR4_PAE) && !load_pdptes(x)) {
            return raise_gp(x);
        }
    } else if (!pg && (old & CR0_PG) && (efer & EFER_LMA)) {
        vmwrite(VMCS_GUEST_IA32_EFER, efer & ~EFER_LMA);
        vmwrite(VMCS_VM_ENTRY_CONTROLS, entry & ~(uint64_t)ENTRY_IA32E_MODE_GUEST);
    }
    vmwrite(VMCS_CR0_READ_SHADOW, v);
    vmwrite(VMCS_GUEST_CR0, (v & ~(CR0_CD | CR0_NW)) | CR0_NE | CR0_ET);
    return EXIT_SKIP;
}

static uint64_t gpr(const struct vmx_vcpu *x, unsigned number)
{
    const struct vcpu_gprs *r = &x->vcpu->regs;
    const uint64_t values[16] = {r->rax, r->rcx, r->rdx, r->rbx, 0,      r->rbp, r->rsi, r->rdi,
                                 r->r8,  r->r9,  r->r10, r->r11, r->r12, r->r13, r->r14, r->r15};

    return number == 4 ? vmread(VMCS_GUEST_RSP) : values[number & 15];
}

static enum exit_action on_cr_access(struct vmx_vcpu *x)
{
    uint64_t q = vmread(VMCS_EXIT_QUALIFICATION);
    unsigned cr = q & CR_NUMBER_MASK, type = q >> CR_TYPE_SHIFT & CR_TYPE_MASK;

    if (type != CR_MOV_TO)
        return crash(x, "an access to a control register that is not emulated");
    if (cr == 0)
        return write_guest_cr0(x, gpr(x, q >> CR_REGISTER_SHIFT & 0xf));
    /* CR4: a bit that the guest's CPU does not have (CPUID says so). */
    return raise_gp(x);
}

static enum exit_action on_ept(struct vmx_vcpu *x)
{
    struct abi_exit *e = &x->vcpu->stats->last_exit;
    uint64_t q = vmread(VMCS_EXIT_QUALIFICATION);

    e->guest_physical = vmread(VMCS_GUEST_PHYSICAL_ADDRESS);
    e->qualification = q;
    vcpu_stop(x->vcpu, ABI_GUEST_CRASHED,
              "%s guest-physical address 0x%lx, outside of its memory, at RIP 0x%lx",
              q & EPT_WRITE     ? "wrote to"
              : q & EPT_EXECUTE ? "executed"
                                : "read from",
              e->guest_physical, e->rip);
    return EXIT_STOP;
}

static enum exit_action on_bad_entry(struct vmx_vcpu *x)
{
    vcpu_stop(x->vcpu, ABI_GUEST_CRASHED, "VM entry refused: %s (qualification %lu)",
              vmx_exit_reason_name(x->vcpu->stats->last_exit.reason & VMX_EXIT_BASIC_MASK),
              vmread(VMCS_EXIT_QUALIFICATION));
    return EXIT_STOP;
}

static enum exit_action on_task_switch(struct vmx_vcpu *x)
{
    return crash(x, "a hardware task switch, which is not emulated,");
}

static enum exit_action on_unknown(struct vmx_vcpu *x)
{
    vcpu_stop(x->vcpu, ABI_GUEST_CRASHED, "VM exit that is not handled: %s at RIP 0x%lx",
              vmx_exit_reason_name(x->vcpu->stats->last_exit.reason), vmread(VMCS_GUEST_RIP));
    return EXIT_STOP;
}

static enum exit_action (*const handlers[])(struct vmx_vcpu *x) = {
    [VMX_EXIT_EXCEPTION_OR_NMI] = on_exception,
    [VMX_EXIT_EXTERNAL_INTERRUPT] = resume,
    [VMX_EXIT_TRIPLE_FAULT] = on_triple_fault,
    [VMX_EXIT_INTERRUPT_WINDOW] = resume,
    [VMX_EXIT_NMI_WINDOW] = resume,
    [VMX_EXIT_TASK_SWITCH] = on_task_switch,
    [VMX_EXIT_CPUID] = on_cpuid,
    [VMX_EXIT_GETSEC] = raise_ud,
    [VMX_EXIT_HLT] = on_hlt,
    [VMX_EXIT_INVD] = skip,
    [VMX_EXIT_RDPMC] = raise_gp,
    [VMX_EXIT_VMCALL] = on_vmcall,
    [VMX_EXIT_VMCLEAR] = raise_ud,
    [VMX_EXIT_VMLAUNCH] = raise_ud,
    [VMX_EXIT_VMPTRLD] = raise_ud,
    [VMX_EXIT_VMPTRST] = raise_ud,
    [VMX_EXIT_VMREAD] = raise_ud,
    [VMX_EXIT_VMRESUME] = raise_ud,
    [VMX_EXIT_VMWRITE] = raise_ud,
    [VMX_EXIT_VMXOFF] = raise_ud,
    [VMX_EXIT_VMXON] = raise_ud,
    [VMX_EXIT_CONTROL_REGISTER_ACCESS] = on_cr_access,
    [VMX_EXIT_IO_INSTRUCTION] = on_io,
    [VMX_EXIT_RDMSR] = on_rdmsr,
    [VMX_EXIT_WRMSR] = on_wrmsr,
    [VMX_EXIT_MWAIT] = raise_ud,
    [VMX_EXIT_MONITOR] = raise_ud,
    [VMX_EXIT_EPT_VIOLATION] = on_ept,
    [VMX_EXIT_EPT_MISCONFIGURATION] = on_ept,
    [VMX_EXIT_INVEPT] = raise_ud,
    [VMX_EXIT_PREEMPTION_TIMER] = resume,
    [VMX_EXIT_INVVPID] = raise_ud,
    [VMX_EXIT_WBINVD] = skip,
    [VMX_EXIT_XSETBV] = raise_ud,
    [VMX_EXIT_INVPCID] = raise_ud,
    [VMX_EXIT_VMFUNC] = raise_ud,
};

enum exit_action vmx_handle_exit(struct vmx_vcpu *x, uint32_t reason)
{
    if (__builtin_expect(reason & VMX_EXIT_ENTRY_FAILURE, 0))
        return on_bad_entry(x);
    if (__builtin_expect(reason >= ARRAY_LEN(handlers) || !handlers[reason], 0))
        return on_unknown(x);
    return handlers[reason](x);
}
