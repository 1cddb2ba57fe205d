/* Events on their way into the guest. SDM 3C "Event Injection", "Information for VM Exits That
 * Occur During Event Delivery". */
#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/regs.h"
#include "arch/x86/vmx/vcpu.h"
#include "arch/x86/vmx/vmcs.h"

#define VECTOR_NMI   2u
#define SHADOW       ((uint64_t)(BLOCKING_BY_STI | BLOCKING_BY_MOV_SS))
#define CPU1_WINDOWS (CPU1_INTERRUPT_WINDOW_EXITING | CPU1_NMI_WINDOW_EXITING)

void vmx_set_cpu1(struct vmx_vcpu *x, uint32_t set, uint32_t clear)
{
    uint32_t v = (x->cpu1 | set) & ~clear;

    if (v == x->cpu1)
        return;
    x->cpu1 = v;
    vmwrite(VMCS_PRIMARY_PROCESSOR_CONTROLS, v);
}

/* An interrupt ends HLT: VM entry itself makes the vCPU active when it injects one. */
static inline void leave_halt(struct vcpu *v, uint64_t now)
{
    if (!v->halted)
        return;
    v->halted = false;
    v->woke_at = now;
}

/* Any other event ends it too, but few of them may be injected into activity state HLT: SDM 3C
 * "Checks on Guest Non-Register State". Whoever runs is not halted: v->halted must never stay. */
static void leave_halt_active(struct vcpu *v)
{
    if (!v->halted)
        return;
    leave_halt(v, v->exit->tsc);
    vmwrite(VMCS_GUEST_ACTIVITY_STATE, ACTIVITY_ACTIVE);
}

void vmx_inject_exception(struct vmx_vcpu *x, uint8_t vector, bool has_error, uint32_t error)
{
    uint32_t info = INTR_INFO_VALID | INTR_INFO_HARD_EXCEPTION | vector;
    uint64_t blocking = vmread(VMCS_GUEST_INTERRUPTIBILITY_STATE);

    leave_halt_active(x->vcpu);
    /* In real-address mode exceptions push no error code, and VM entry insists on that. */
    if (has_error && (vmread(VMCS_GUEST_CR0) & CR0_PE)) {
        info |= INTR_INFO_ERROR_CODE;
        vmwrite(VMCS_VM_ENTRY_EXCEPTION_ERROR_CODE, error);
    }
    /* The instruction's shadow ends with its fault; with TF set, VM entry would refuse it. */
    if (blocking & SHADOW)
        vmwrite(VMCS_GUEST_INTERRUPTIBILITY_STATE, blocking & ~SHADOW);
    vmwrite(VMCS_VM_ENTRY_INTERRUPTION_INFO, info);
}

void vmx_note_vectoring(struct vmx_vcpu *x)
{
    uint32_t info = (uint32_t)vmread(VMCS_IDT_VECTORING_INFO);

    if (!(info & INTR_INFO_VALID))
        return;
    x->reinject = info & ~INTR_INFO_NMI_UNBLOCKING;
    if (info & INTR_INFO_ERROR_CODE)
        x->reinject_error = (uint32_t)vmread(VMCS_IDT_VECTORING_ERROR_CODE);
    x->reinject_length = (uint32_t)vmread(VMCS_VM_EXIT_INSTRUCTION_LENGTH);
}

static bool can_take_irq(void)
{
    return (vmread(VMCS_GUEST_RFLAGS) & RFLAGS_IF) &&
           !(vmread(VMCS_GUEST_INTERRUPTIBILITY_STATE) & SHADOW);
}

static bool can_take_nmi(void)
{
    return !(vmread(VMCS_GUEST_INTERRUPTIBILITY_STATE) & (SHADOW | BLOCKING_BY_NMI));
}

/* The event that an exit interrupted must not be lost: it is delivered before anything new. */
static bool inject_again(struct vmx_vcpu *x)
{
    if ((x->reinject & INTR_INFO_TYPE_MASK) == INTR_INFO_EXTERNAL && !can_take_irq())
        return false;
    leave_halt_active(x->vcpu);
    /* Its first attempt blocked NMIs already; with virtual NMIs, VM entry would refuse it. */
    if ((x->reinject & INTR_INFO_TYPE_MASK) == INTR_INFO_NMI)
        vmwrite(VMCS_GUEST_INTERRUPTIBILITY_STATE,
                vmread(VMCS_GUEST_INTERRUPTIBILITY_STATE) & ~(uint64_t)BLOCKING_BY_NMI);
    if (x->reinject & INTR_INFO_ERROR_CODE)
        vmwrite(VMCS_VM_ENTRY_EXCEPTION_ERROR_CODE, x->reinject_error);
    vmwrite(VMCS_VM_ENTRY_INSTRUCTION_LENGTH, x->reinject_length);
    vmwrite(VMCS_VM_ENTRY_INTERRUPTION_INFO, x->reinject);
    x->reinject = 0;
    return true;
}

void vmx_prepare_events(struct vmx_vcpu *x, uint64_t now)
{
    struct platform *p = x->vcpu->platform;
    uint32_t cpu1 = x->cpu1 & ~CPU1_WINDOWS;
    /* One event an entry: an exception that a handler has queued goes first. */
    bool busy = vmread(VMCS_VM_ENTRY_INTERRUPTION_INFO) & INTR_INFO_VALID;

    if (__builtin_expect(x->reinject != 0, 0) && !busy)
        busy = inject_again(x);
    /* The trap of the last instruction comes before NMIs and interrupts (SDM 3A "Priority Among
     * Concurrent Events"), and an entry that injects one of these would lose it (SDM 3C "Delivery
     * of Pending Debug Exceptions after VM Entry"): they wait for their window. */
    busy = busy || vmx_trap_is_due();
    if (__builtin_expect(x->vcpu->nmi, 0) && !busy && !x->reinject && can_take_nmi()) {
        vmwrite(VMCS_VM_ENTRY_INTERRUPTION_INFO, INTR_INFO_VALID | INTR_INFO_NMI | VECTOR_NMI);
        x->vcpu->nmi = false;
        leave_halt(x->vcpu, now);
        busy = true;
    }
    if (platform_irq_pending(p) && !busy && !x->reinject && can_take_irq()) {
        vmwrite(VMCS_VM_ENTRY_INTERRUPTION_INFO,
                INTR_INFO_VALID | INTR_INFO_EXTERNAL | platform_irq_ack(p));
        x->vcpu->stats->irqs++;
        leave_halt(x->vcpu, now);
    }
    if (platform_irq_pending(p) || x->reinject)
        cpu1 |= CPU1_INTERRUPT_WINDOW_EXITING;
    if (__builtin_expect(x->vcpu->nmi, 0))
        cpu1 |= CPU1_NMI_WINDOW_EXITING;
    vmx_set_cpu1(x, cpu1, ~cpu1);
}
