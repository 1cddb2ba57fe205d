/* Decodes each VM exit and calls the function that emulates it. SDM 3C "VM Exits", "Exit
 * Qualification for ..." */
#include "arch/x86/cpu/trap.h"
#include "arch/x86/guest/task_switch.h"
#include "arch/x86/guest/vcpu_state.h"
#include "arch/x86/inspect/names.h"
#include "hv/arch.h"

/* SDM 3C "Exit Qualification for APIC-Access VM Exits from Linear Accesses and Guest-Physical
 * Accesses" */
#define APIC_OFFSET     0xfffu
#define APIC_TYPE_SHIFT 12
#define APIC_TYPE_MASK  0xfu
enum { APIC_READ, APIC_WRITE, APIC_FETCH };

/* SDM 3C "Exit Qualification for EPT Violations" */
#define EPT_WRITE            (1ull << 1)
#define EPT_EXECUTE          (1ull << 2)
#define EPT_MAPPED           (7ull << 3) /* readable, writable or executable by its entry */
#define EPT_LINEAR_VALID     (1ull << 7)
#define EPT_TRANSLATED       (1ull << 8) /* the access itself, not a walk of page tables */
#define EPT_NMI_UNBLOCKING   (1ull << 12)

/* Exit qualification for control-register accesses. */
#define CR_NUMBER_MASK       0xfu
#define CR_TYPE_SHIFT        4
#define CR_TYPE_MASK         3u
#define CR_REGISTER_SHIFT    8
#define CR_MOV_TO            0u
#define CR_MOV_FROM          1u

#define DR_NUMBER_MASK       7u /* exit qualification for MOV DR */
#define DR_READ              (1u << 4)
#define DR_REGISTER_SHIFT    8

#define TASK_SOURCE_SHIFT    30 /* exit qualification for task switches */
#define TASK_SOURCE_MASK     3u

#define INFO_REGISTER_SHIFT  3 /* instruction information for RDRAND and RDSEED */
#define INFO_SIZE_SHIFT      11
#define INFO_REGISTER2_SHIFT 28 /* for INVPCID */
#define INFO_ADDRESS_SHIFT   7  /* for INS and OUTS: 0 16-bit, 1 32-bit, 2 64-bit */
#define INFO_ADDRESS_MASK    3u
#define INFO_SEGMENT_SHIFT   15 /* of OUTS, as in enum segment_id */
#define INFO_SEGMENT_MASK    7u
#define INFO_SCALE_MASK      3u /* for INVPCID, from here */
#define INFO_INDEX_SHIFT     18
#define INFO_NO_INDEX        (1u << 22)
#define INFO_BASE_SHIFT      23
#define INFO_NO_BASE         (1u << 27)

/* INT1 (0xf1) is not a fault, so the instruction does not run again: the event's return address is
 * after it. It leaves the debug registers alone. */
static enum exit_action deliver_int1(struct vcpu *v)
{
    x86_inject_exception(v, VECTOR_DB, false, 0);
    vcpu_inject(v, EVENT_VALID | EVENT_PRIVILEGED_SOFT | VECTOR_DB);
    vcpu_inject_length(v, (uint32_t)vmread(VMCS_VM_EXIT_INSTRUCTION_LENGTH));
    return EXIT_RESUME;
}

/* Machine checks are the host's: its handler reports the banks and stops the machine. A guest has
 * no machine-check architecture. */
static enum exit_action on_machine_check(struct vcpu *v)
{
    (void)v;
    trap_host_machine_check();
    return EXIT_RESUME;
}

static void note_vectoring(struct vcpu *v)
{
    uint32_t event = (uint32_t)vmread(VMCS_IDT_VECTORING_INFO);

    if (event & EVENT_VALID)
        x86_note_vectoring(v, event, (uint32_t)vmread(VMCS_IDT_VECTORING_ERROR_CODE),
                           (uint32_t)vmread(VMCS_VM_EXIT_INSTRUCTION_LENGTH));
}

/* #DB and #AC exit only to prevent endless delivery loops in the CPU: they go back to the guest. */
static enum exit_action on_exception(struct vcpu *v)
{
    uint32_t info = (uint32_t)vmread(VMCS_VM_EXIT_INTERRUPTION_INFO), error = 0;

    if ((info & INTR_INFO_TYPE_MASK) == INTR_INFO_NMI) {
        trap_host_nmi();
        return EXIT_RESUME;
    }
    if (vmx_is_machine_check(VMX_EXIT_EXCEPTION_OR_NMI, info))
        return on_machine_check(v);
    if ((info & INTR_INFO_TYPE_MASK) == INTR_INFO_PRIVILEGED_SOFT)
        return deliver_int1(v);
    note_vectoring(v);
    /* A faulting IRET has unblocked NMIs too early. SDM 3C "Information for VM Exits Due to
     * Vectored Events". */
    if ((info & INTR_INFO_NMI_UNBLOCKING) && !vcpu_x86(v)->reinject)
        vcpu_block_nmi(v, true);
    /* The exit leaves DR6 alone; what the exception would have written there is in the
     * qualification: SDM 3C "Exit Qualification for Debug Exceptions". */
    if ((info & INTR_INFO_VECTOR_MASK) == VECTOR_DB)
        v->exit->qualification = vmread(VMCS_EXIT_QUALIFICATION);
    if (info & INTR_INFO_ERROR_CODE)
        error = (uint32_t)vmread(VMCS_VM_EXIT_INTERRUPTION_ERROR_CODE);
    return x86_reflect_exception(v, info, error, v->exit->qualification);
}

static enum exit_action on_external_interrupt(struct vcpu *v)
{
    const struct vmx_guest *b = v->guest->backend;

    if (b->posts) /* the exit has acknowledged it */
        trap_interrupt(vmread(VMCS_VM_EXIT_INTERRUPTION_INFO) & INTR_INFO_VECTOR_MASK);
    else
        arch_irq_window();
    return EXIT_KICK;
}

static enum exit_action on_triple_fault(struct vcpu *v)
{
    return x86_crash(v, "triple fault");
}

static enum exit_action on_cr_access(struct vcpu *v)
{
    uint64_t q = vmread(VMCS_EXIT_QUALIFICATION);
    unsigned cr = q & CR_NUMBER_MASK, type = q >> CR_TYPE_SHIFT & CR_TYPE_MASK;
    unsigned reg = q >> CR_REGISTER_SHIFT & 0xf;

    v->exit->qualification = q;
    if (type == CR_MOV_TO && (cr == 0 || cr == 3 || cr == 4 || cr == 8))
        return x86_write_cr(v, cr, x86_read_operand(v, reg));
    if (type == CR_MOV_FROM && (cr == 3 || cr == 8))
        return x86_read_cr(v, cr, reg);
    return x86_crash(v, "unsupported access to a control register");
}

static enum exit_action on_mov_dr(struct vcpu *v)
{
    uint64_t q = vmread(VMCS_EXIT_QUALIFICATION);

    v->exit->qualification = q;
    return x86_mov_dr(v, q & DR_NUMBER_MASK, q & DR_READ, q >> DR_REGISTER_SHIFT & 0xf);
}

static enum exit_action on_invlpg(struct vcpu *v)
{
    v->exit->qualification = vmread(VMCS_EXIT_QUALIFICATION);
    return x86_invlpg(v);
}

/* The offset in its segment. SDM 3C "VM-Exit Instruction-Information Field as Used for ...
 * INVPCID": base, index and scale; the exit qualification has the displacement, and the next RIP if
 * that is the base. */
static uint64_t memory_operand(struct vcpu *v, uint32_t info)
{
    uint64_t offset = vmread(VMCS_EXIT_QUALIFICATION);
    unsigned size = info >> INFO_ADDRESS_SHIFT & INFO_ADDRESS_MASK;

    v->exit->qualification = offset;
    if (!(info & INFO_NO_BASE))
        offset += x86_read_gpr(v, info >> INFO_BASE_SHIFT & 0xf);
    if (!(info & INFO_NO_INDEX))
        offset += x86_read_gpr(v, info >> INFO_INDEX_SHIFT & 0xf) << (info & INFO_SCALE_MASK);
    return size == 2 ? offset : size == 1 ? (uint32_t)offset : (uint16_t)offset;
}

/* With PAUSE exiting every PAUSE exits, else only a loop of them. */
static enum exit_action on_pause(struct vcpu *v)
{
    const struct vmx_vcpu *x = v->backend;

    return x->cpu1 & CPU1_PAUSE_EXITING ? x86_skip(v) : x86_spins(v);
}

/* Exits with INVLPG exiting. */
static enum exit_action on_invpcid(struct vcpu *v)
{
    uint32_t info = (uint32_t)vmread(VMCS_VM_EXIT_INSTRUCTION_INFO);

    return x86_invpcid(v, info >> INFO_REGISTER2_SHIFT & 0xf,
                       (enum segment_id)(info >> INFO_SEGMENT_SHIFT & INFO_SEGMENT_MASK),
                       memory_operand(v, info));
}

static enum exit_action on_random(struct vcpu *v)
{
    uint32_t info = (uint32_t)vmread(VMCS_VM_EXIT_INSTRUCTION_INFO);

    return x86_random(v, v->exit->reason == VMX_EXIT_RDSEED, info >> INFO_REGISTER_SHIFT & 0xf,
                      2u << (info >> INFO_SIZE_SHIFT & 3));
}

/* A CPU without instruction information (IA32_VMX_BASIC bit 54) does not report prefixes. */
static __attribute__((noinline)) enum exit_action string_io(struct vcpu *v, uint32_t q)
{
    const struct vmx_vcpu *x = v->backend;
    struct string_access a = {
        .port = (uint16_t)(q >> IO_PORT_SHIFT),
        .size = (q & IO_SIZE_MASK) + 1,
        .in = q & IO_IN,
        .rep = q & IO_REP,
    };

    if (vmx_caps_common()->basic & VMX_BASIC_INS_OUTS_INFO) {
        uint64_t info = vmread(VMCS_VM_EXIT_INSTRUCTION_INFO);

        a.address_bytes = 2u << (info >> INFO_ADDRESS_SHIFT & INFO_ADDRESS_MASK);
        a.segment = (enum segment_id)(info >> INFO_SEGMENT_SHIFT & INFO_SEGMENT_MASK);
    } else {
        a.linear = vmread(VMCS_GUEST_LINEAR_ADDRESS);
    }
    return x86_string_io(v, &a, x->deadline);
}

/* enter.asm has read the qualification, and handles unclaimed ports itself. */
static enum exit_action on_io(struct vcpu *v)
{
    uint32_t q = (uint32_t)v->exit->qualification;

    if (q & IO_STRING)
        return string_io(v, q);
    if (q & IO_IN)
        return x86_port_in(v, (uint16_t)(q >> IO_PORT_SHIFT), (q & IO_SIZE_MASK) + 1);
    return x86_port_out(v, (uint16_t)(q >> IO_PORT_SHIFT), (q & IO_SIZE_MASK) + 1);
}

/* The guest will repeat the refused fetch; the event that it interrupted must not be lost. */
static enum exit_action fetch_again(struct vcpu *v, uint64_t q)
{
    note_vectoring(v);
    if ((q & EPT_NMI_UNBLOCKING) && !vcpu_x86(v)->reinject)
        vcpu_block_nmi(v, true);
    return EXIT_RESUME;
}

/* True if an instruction's own operand is where nothing is mapped. Not: the access rights of a
 * mapping, the guest's page tables, the delivery of an event. */
static bool is_operand(uint64_t q)
{
    return (q & (EPT_EXECUTE | EPT_MAPPED | EPT_LINEAR_VALID | EPT_TRANSLATED)) ==
               (EPT_LINEAR_VALID | EPT_TRANSLATED) &&
           !(vmread(VMCS_IDT_VECTORING_INFO) & EVENT_VALID);
}

/* All guest memory is mapped before the guest runs: at an unmapped address there are device
 * registers, or nothing. Only large pages wait for their first fetch. */
static enum exit_action on_ept(struct vcpu *v)
{
    uint64_t q = vmread(VMCS_EXIT_QUALIFICATION);
    uint64_t at = vmread(VMCS_GUEST_PHYSICAL_ADDRESS);
    struct abi_exit *record = v->exit;

    record->qualification = q;
    record->detail = at;
    if (is_operand(q)) {
        const struct vmx_vcpu *x = v->backend;
        struct memory_access m = {at, vmread(VMCS_GUEST_LINEAR_ADDRESS), true, q & EPT_WRITE};

        return x86_mmio(v, &m, x->deadline);
    }
    if ((q & EPT_EXECUTE) && vmx_split(v->backend, at))
        return fetch_again(v, q);
    return x86_outside(v,
                       q & EPT_WRITE     ? "wrote to"
                       : q & EPT_EXECUTE ? "executed"
                                         : "read from",
                       at);
}

/* An access to the registers of the local APIC that the CPU does not do by itself. */
static enum exit_action on_apic_access(struct vcpu *v)
{
    uint64_t q = vmread(VMCS_EXIT_QUALIFICATION), at = LAPIC_BASE + (q & APIC_OFFSET);
    unsigned type = q >> APIC_TYPE_SHIFT & APIC_TYPE_MASK;
    const struct vmx_vcpu *x = v->backend;
    struct memory_access m = {.gpa = at, .write = type == APIC_WRITE};

    v->exit->qualification = q;
    v->exit->detail = at;
    if (type > APIC_WRITE)
        return x86_outside(v, type == APIC_FETCH ? "executed" : "wrote to", at);
    return x86_mmio(v, &m, x->deadline);
}

/* The guest has written a register. */
static enum exit_action on_apic_write(struct vcpu *v)
{
    uint64_t q = vmread(VMCS_EXIT_QUALIFICATION);

    v->exit->qualification = q;
    lapic_written(irqchip_lapic(v->platform, v->number), q & APIC_OFFSET, v->exit->tsc);
    return v->stop ? EXIT_STOP : EXIT_RESUME;
}

/* The guest has ended an interrupt that the IOAPIC waits for. */
static enum exit_action on_virtualized_eoi(struct vcpu *v)
{
    uint64_t q = vmread(VMCS_EXIT_QUALIFICATION);

    v->exit->qualification = q;
    lapic_note_eoi(irqchip_lapic(v->platform, v->number), (uint8_t)q);
    return EXIT_RESUME;
}

/* The tables are the root's own: no guest can cause an invalid entry. */
static enum exit_action on_ept_misconfiguration(struct vcpu *v)
{
    panic("EPT misconfiguration at guest-physical 0x%lx of guest %u",
          vmread(VMCS_GUEST_PHYSICAL_ADDRESS), v->guest->number);
}

/* enter.asm adds an instruction's length to RIP whatever the code's width. Outside of 64-bit mode
 * EIP goes on at 0, and VM entry requires that: the entry that fails is cheaper than a comparison
 * at each exit. Nothing of the guest has changed. */
static bool rip_wraps(const struct vcpu *v)
{
    return (v->exit->reason & VMX_EXIT_BASIC_MASK) == VMX_EXIT_ENTRY_FAILURE_GUEST_STATE &&
           vcpu_get_rip(v) >> 32 && !x86_in_64bit_mode(v);
}

static enum exit_action on_bad_entry(struct vcpu *v)
{
    struct abi_exit *e = v->exit;

    if (rip_wraps(v)) {
        vcpu_set_rip(v, (uint32_t)vcpu_get_rip(v));
        return EXIT_RESUME;
    }
    e->qualification = vmread(VMCS_EXIT_QUALIFICATION);
    vcpu_stop(v, ABI_GUEST_CRASHED, ABI_WHY_ENTRY_FAILED ": %s (qualification %lu)",
              vmx_exit_reason_name(e->reason), e->qualification);
    return EXIT_STOP;
}

static enum exit_action on_task_switch(struct vcpu *v)
{
    uint64_t q = vmread(VMCS_EXIT_QUALIFICATION);
    struct task_switch t = {
        .by = (enum task_source)(q >> TASK_SOURCE_SHIFT & TASK_SOURCE_MASK),
        .selector = (uint16_t)q,
    };
    uint32_t type;

    v->exit->qualification = q;
    if (t.by == TASK_GATE)
        t.event = (uint32_t)vmread(VMCS_IDT_VECTORING_INFO);
    type = t.event & EVENT_TYPE;
    if (t.event & EVENT_ERROR_CODE)
        t.error = (uint32_t)vmread(VMCS_IDT_VECTORING_ERROR_CODE);
    /* An event that no instruction caused returns to where it came. */
    if (t.by != TASK_GATE ||
        (type != EVENT_EXTERNAL && type != EVENT_NMI && type != EVENT_EXCEPTION))
        t.length = (uint32_t)vmread(VMCS_VM_EXIT_INSTRUCTION_LENGTH);
    return x86_task_switch(v, &t);
}

static enum exit_action on_unknown(struct vcpu *v)
{
    vcpu_stop(v, ABI_GUEST_CRASHED, "unhandled VM exit: %s at RIP 0x%lx",
              vmx_exit_reason_name(v->exit->reason), v->exit->rip);
    return EXIT_STOP;
}

/* Every row must be filled: enter.asm calls what it finds. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
enum exit_action (*const vmx_exit_handlers[ABI_EXIT_REASONS])(struct vcpu *v) = {
    [0 ... ABI_EXIT_REASONS - 1] = on_unknown,
    [VMX_EXIT_EXCEPTION_OR_NMI] = on_exception,
    [VMX_EXIT_EXTERNAL_INTERRUPT] = on_external_interrupt,
    [VMX_EXIT_TRIPLE_FAULT] = on_triple_fault,
    [VMX_EXIT_INIT_SIGNAL] = x86_resume, /* the host's: it is gone */
    [VMX_EXIT_INTERRUPT_WINDOW] = x86_resume,
    [VMX_EXIT_NMI_WINDOW] = x86_resume,
    [VMX_EXIT_TASK_SWITCH] = on_task_switch,
    [VMX_EXIT_CPUID] = x86_cpuid,
    [VMX_EXIT_GETSEC] = x86_raise_ud,
    [VMX_EXIT_HLT] = x86_hlt,
    [VMX_EXIT_INVLPG] = on_invlpg,
    [VMX_EXIT_RDTSC] = x86_rdtsc,
    [VMX_EXIT_RDTSCP] = x86_rdtscp,
    [VMX_EXIT_MOV_DR] = on_mov_dr,
    [VMX_EXIT_MONITOR_TRAP_FLAG] = x86_resume,
    [VMX_EXIT_PAUSE] = on_pause,
    [VMX_EXIT_RDRAND] = on_random,
    [VMX_EXIT_RDSEED] = on_random,
    [VMX_EXIT_INVD] = x86_skip, /* dirty lines must not be dropped, so do nothing */
    [VMX_EXIT_RDPMC] = x86_raise_gp,
    [VMX_EXIT_VMCALL] = x86_hypercall,
    [VMX_EXIT_VMCLEAR] = x86_raise_ud,
    [VMX_EXIT_VMLAUNCH] = x86_raise_ud,
    [VMX_EXIT_VMPTRLD] = x86_raise_ud,
    [VMX_EXIT_VMPTRST] = x86_raise_ud,
    [VMX_EXIT_VMREAD] = x86_raise_ud,
    [VMX_EXIT_VMRESUME] = x86_raise_ud,
    [VMX_EXIT_VMWRITE] = x86_raise_ud,
    [VMX_EXIT_VMXOFF] = x86_raise_ud,
    [VMX_EXIT_VMXON] = x86_raise_ud,
    [VMX_EXIT_CONTROL_REGISTER_ACCESS] = on_cr_access,
    [VMX_EXIT_IO_INSTRUCTION] = on_io,
    [VMX_EXIT_RDMSR] = x86_rdmsr,
    [VMX_EXIT_WRMSR] = x86_wrmsr,
    [VMX_EXIT_MWAIT] = x86_raise_ud,
    [VMX_EXIT_MONITOR] = x86_raise_ud,
    [VMX_EXIT_EPT_VIOLATION] = on_ept,
    [VMX_EXIT_APIC_ACCESS] = on_apic_access,
    [VMX_EXIT_VIRTUALIZED_EOI] = on_virtualized_eoi,
    [VMX_EXIT_APIC_WRITE] = on_apic_write,
    [VMX_EXIT_EPT_MISCONFIGURATION] = on_ept_misconfiguration,
    [VMX_EXIT_INVEPT] = x86_raise_ud,
    [VMX_EXIT_INVVPID] = x86_raise_ud,
    [VMX_EXIT_WBINVD] = x86_skip, /* memory is always write-back: the caches are coherent */
    [VMX_EXIT_XSETBV] = x86_xsetbv,
    [VMX_EXIT_INVPCID] = on_invpcid,
    [VMX_EXIT_VMFUNC] = x86_raise_ud,
    [VMX_EXIT_ENCLS] = x86_raise_ud,
    [VMX_EXIT_ENCLV] = x86_raise_ud,
    [VMX_EXIT_SEAMCALL] = x86_raise_ud,
    [VMX_EXIT_TDCALL] = x86_raise_ud,
};
#pragma GCC diagnostic pop

enum exit_action vmx_on_unusual(struct vcpu *v, uint32_t how)
{
    uint32_t error, reason = v->exit->reason;
    enum exit_action action;

    if (how == VMX_ENTER_FAILED) {
        error = (uint32_t)vmread(VMCS_VM_INSTRUCTION_ERROR);
        vcpu_stop(v, ABI_GUEST_CRASHED, ABI_WHY_ENTRY_FAILED ": %s (error %u)",
                  vmx_instruction_error_name(error), error);
        return EXIT_STOP;
    }
    if (!(reason & VMX_EXIT_ENTRY_FAILURE))
        action = on_unknown(v);
    else
        action = vmx_is_machine_check(reason, 0) ? on_machine_check(v) : on_bad_entry(v);
    v->exit->outcome = action;
    return action;
}

void vmx_broken(void)
{
    panic("VMREAD or VMWRITE failed between VM exit and entry");
}
