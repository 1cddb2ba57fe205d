/* Writes a whole VMCS: controls, host state, guest state. SDM 3C "Virtual Machine Control
 * Structures". */
#include "arch/x86/cpu/desc.h"
#include "arch/x86/cpu/leaks.h"
#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/regs.h"
#include "arch/x86/guest/start.h"
#include "arch/x86/guest/vcpu_state.h"
#include "arch/x86/vmx/exit_profile.h"
#include "arch/x86/vmx/vmcs.h"
#include "hv/arch.h"

#define EXCEPTIONS                                                                                 \
    ((1u << 1) | (1u << 17) | (1u << 18)) /* #DB, #AC: endless delivery loops; #MC: the host's */
/* A loop of PAUSEs no further apart than this exits after this long: ticks. SDM 3C "Controls for
 * PAUSE-Loop Exiting"; most locks are free again sooner. */
#define PLE_GAP    128u
#define PLE_WINDOW 4096u

/* The bits that the hypervisor wants in each control word; a guest's exit profile changes some, and
 * the capability MSRs may force more. */
static const uint32_t wanted[ABI_CONTROLS] = {
    [ABI_CONTROL_PIN] =
        PIN_EXTERNAL_INTERRUPT_EXITING | PIN_NMI_EXITING | PIN_VIRTUAL_NMIS | PIN_PREEMPTION_TIMER,
    [ABI_CONTROL_CPU1] = CPU1_USE_TSC_OFFSETTING | CPU1_HLT_EXITING | CPU1_MWAIT_EXITING |
                         CPU1_MONITOR_EXITING | CPU1_RDPMC_EXITING | CPU1_CR8_LOAD_EXITING |
                         CPU1_CR8_STORE_EXITING | CPU1_USE_IO_BITMAPS | CPU1_USE_MSR_BITMAPS |
                         CPU1_ACTIVATE_SECONDARY_CONTROLS,
    [ABI_CONTROL_CPU2] = CPU2_ENABLE_EPT | CPU2_ENABLE_VPID | CPU2_UNRESTRICTED_GUEST |
                         CPU2_ENABLE_RDTSCP | CPU2_WBINVD_EXITING | CPU2_ENABLE_INVPCID |
                         CPU2_ENABLE_ENCLS_EXITING | CPU2_ENABLE_ENCLV_EXITING,
    [ABI_CONTROL_EXIT] = EXITC_HOST_ADDRESS_SPACE_SIZE | EXITC_SAVE_IA32_PAT | EXITC_LOAD_IA32_PAT |
                         EXITC_SAVE_IA32_EFER | EXITC_LOAD_IA32_EFER | EXITC_SAVE_DEBUG_CONTROLS,
    [ABI_CONTROL_ENTRY] = ENTRY_LOAD_IA32_PAT | ENTRY_LOAD_IA32_EFER | ENTRY_LOAD_DEBUG_CONTROLS,
};
/* The bits of it that are required. */
static const uint32_t required[ABI_CONTROLS] = {
    [ABI_CONTROL_PIN] = PIN_EXTERNAL_INTERRUPT_EXITING | PIN_NMI_EXITING | PIN_VIRTUAL_NMIS,
    [ABI_CONTROL_CPU1] = CPU1_HLT_EXITING | CPU1_CR8_LOAD_EXITING | CPU1_CR8_STORE_EXITING |
                         CPU1_ACTIVATE_SECONDARY_CONTROLS,
    [ABI_CONTROL_CPU2] = CPU2_ENABLE_EPT | CPU2_ENABLE_VPID | CPU2_UNRESTRICTED_GUEST,
    [ABI_CONTROL_EXIT] = EXITC_HOST_ADDRESS_SPACE_SIZE,
};
const uint16_t vmx_control_fields[ABI_CONTROLS] = {
    VMCS_PIN_BASED_CONTROLS,
    VMCS_PRIMARY_PROCESSOR_CONTROLS,
    VMCS_SECONDARY_PROCESSOR_CONTROLS,
    VMCS_PRIMARY_VM_EXIT_CONTROLS,
    VMCS_VM_ENTRY_CONTROLS,
};

/* Another vCPU of the guest waits while this one spins. */
static bool shares_core(const struct vcpu *v)
{
    FOR_EACH_VCPU (other, v->guest)
        if (other != v && other->entity.core == v->entity.core)
            return true;
    return false;
}

/* SDM 3C "VM-Exit Controls for MSRs". CPUs without enhanced IBRS want it set after each VM exit;
 * guests are slow with it. */
static void set_ibrs(void)
{
    static const struct {
        uint64_t msr, value;
    } on __attribute__((aligned(16))) = {MSR_IA32_SPEC_CTRL, SPEC_CTRL_IBRS},
         off __attribute__((aligned(16))) = {MSR_IA32_SPEC_CTRL, 0};
    uint64_t count = cpu_faults.measures & ABI_MEASURE_IBRS_EXITS ? 1 : 0;

    vmwrite(VMCS_VM_EXIT_MSR_LOAD_ADDRESS, (uintptr_t)&on);
    vmwrite(VMCS_VM_EXIT_MSR_LOAD_COUNT, count);
    vmwrite(VMCS_VM_ENTRY_MSR_LOAD_ADDRESS, (uintptr_t)&off);
    vmwrite(VMCS_VM_ENTRY_MSR_LOAD_COUNT, count);
}

int vmx_setup_controls(struct vmx_vcpu *x)
{
    const struct abi_caps *c = vmx_caps_common();
    const uint64_t caps[ABI_CONTROLS] = {c->pin, c->cpu1, c->cpu2, c->exit, c->entry};
    const struct vmx_guest *g = x->vcpu->guest->backend;
    const struct abi_controls p = exit_profile(x->vcpu->guest->config.exit_profile);
    uint32_t value[ABI_CONTROLS];
    uint32_t cpu2;

    for (unsigned i = 0; i < ABI_CONTROLS; i++) {
        uint32_t more = i == ABI_CONTROL_CPU2 && shares_core(x->vcpu) ? CPU2_PAUSE_LOOP_EXITING : 0;
        uint32_t want = ((wanted[i] | more) & ~p.mask[i]) | p.value[i];
        int rc = vmx_adjust(want, required[i] & (want | ~p.mask[i]), caps[i], &value[i]);

        if (rc)
            return rc;
        vmwrite(vmx_control_fields[i], value[i]);
        x->vcpu->stats->wanted[i] = want;
    }
    x->cpu1 = value[ABI_CONTROL_CPU1];
    vcpu_watch_ends(x->vcpu, false);
    cpu2 = value[ABI_CONTROL_CPU2];
    vmwrite(VMCS_EXCEPTION_BITMAP, EXCEPTIONS);
    vmwrite(VMCS_PAGE_FAULT_ERROR_CODE_MASK, 0);
    vmwrite(VMCS_PAGE_FAULT_ERROR_CODE_MATCH, 0);
    vmwrite(VMCS_CR3_TARGET_COUNT, 0);
    vmwrite(VMCS_VM_EXIT_MSR_STORE_COUNT, 0);
    set_ibrs();
    vmwrite(VMCS_VMCS_LINK_POINTER, UINT64_MAX);
    vmwrite(VMCS_IO_BITMAP_A, (uintptr_t)vmx_io_bitmap(x->vcpu->guest, 0));
    vmwrite(VMCS_IO_BITMAP_B, (uintptr_t)vmx_io_bitmap(x->vcpu->guest, 1));
    vmwrite(VMCS_MSR_BITMAP, (uintptr_t)vmx_msr_bitmap(x->vcpu->guest));
    vmwrite(VMCS_TSC_OFFSET, 0);
    vmwrite(VMCS_EPT_POINTER, ept_pointer(&g->ept));
    vmwrite(VMCS_VPID, vmx_vpid(x->vcpu));
    vmwrite(VMCS_CR0_GUEST_HOST_MASK, X86_CR0_OWNED);
    vmwrite(VMCS_CR4_GUEST_HOST_MASK, ~X86_CR4_GUESTS | c->cr4_fixed0);
    if (cpu2 & CPU2_PAUSE_LOOP_EXITING) {
        vmwrite(VMCS_PLE_GAP, PLE_GAP);
        vmwrite(VMCS_PLE_WINDOW, PLE_WINDOW);
    }
    if (cpu2 & CPU2_ENABLE_ENCLS_EXITING)
        vmwrite(VMCS_ENCLS_EXITING_BITMAP, UINT64_MAX);
    if (cpu2 & CPU2_ENABLE_ENCLV_EXITING)
        vmwrite(VMCS_ENCLV_EXITING_BITMAP, UINT64_MAX);
    vmx_apicv_init(x);
    return 0;
}

static uintptr_t exit_point(void)
{
    return (uintptr_t)(cpu_faults.measures & ABI_MEASURE_RETURNS  ? vmx_exit_point_returns
                       : cpu_faults.measures & ABI_MEASURE_RETURN ? vmx_exit_point_return
                                                                  : vmx_exit_point);
}

void vmx_write_host(void)
{
    struct cpu_desc d;

    cpu_desc_get(arch_core_self(), &d);
    vmwrite(VMCS_HOST_CR0, read_cr0());
    vmwrite(VMCS_HOST_CR3, read_cr3());
    vmwrite(VMCS_HOST_CR4, read_cr4());
    vmwrite(VMCS_HOST_CS_SELECTOR, d.cs);
    vmwrite(VMCS_HOST_SS_SELECTOR, d.ss);
    vmwrite(VMCS_HOST_DS_SELECTOR, d.ss);
    vmwrite(VMCS_HOST_ES_SELECTOR, d.ss);
    vmwrite(VMCS_HOST_FS_SELECTOR, 0);
    vmwrite(VMCS_HOST_GS_SELECTOR, 0);
    vmwrite(VMCS_HOST_TR_SELECTOR, d.tr);
    vmwrite(VMCS_HOST_FS_BASE, 0);
    vmwrite(VMCS_HOST_GS_BASE, d.gs_base);
    vmwrite(VMCS_HOST_TR_BASE, d.tss_base);
    vmwrite(VMCS_HOST_GDTR_BASE, d.gdt_base);
    vmwrite(VMCS_HOST_IDTR_BASE, d.idt_base);
    vmwrite(VMCS_HOST_IA32_SYSENTER_CS, 0);
    vmwrite(VMCS_HOST_IA32_SYSENTER_ESP, 0);
    vmwrite(VMCS_HOST_IA32_SYSENTER_EIP, 0);
    vmwrite(VMCS_HOST_IA32_PAT, rdmsr(MSR_IA32_PAT));
    vmwrite(VMCS_HOST_IA32_EFER, rdmsr(MSR_IA32_EFER));
    vmwrite(VMCS_HOST_RIP, exit_point());
}

/* What INIT leaves alone. */
static void write_msrs(void)
{
    vmwrite(VMCS_GUEST_IA32_SYSENTER_CS, 0);
    vmwrite(VMCS_GUEST_IA32_SYSENTER_ESP, 0);
    vmwrite(VMCS_GUEST_IA32_SYSENTER_EIP, 0);
    vmwrite(VMCS_GUEST_IA32_DEBUGCTL, 0);
    vmwrite(VMCS_GUEST_IA32_PAT, PAT_RESET_VALUE);
}

void vmx_setup_state(struct vmx_vcpu *x, const struct load_result *start)
{
    vmx_write_host();
    write_msrs();
    x86_begin(x->vcpu, start);
}
