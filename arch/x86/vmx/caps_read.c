#include "arch/x86/cpu/cpuid.h"
#include "arch/x86/cpu/msr.h"
#include "arch/x86/vmx/caps.h"
#include "hv/lib.h"

/* The value, or 0 if the MSR does not exist. */
static uint64_t read_or_zero(uint32_t msr)
{
    uint64_t v;

    return msr_read_safe(msr, &v) ? 0 : v;
}

static void read_controls(struct abi_caps *c)
{
    bool all = c->basic & VMX_BASIC_TRUE_CONTROLS;

    c->pin = rdmsr(all ? MSR_IA32_VMX_TRUE_PINBASED_CTLS : MSR_IA32_VMX_PINBASED_CTLS);
    c->cpu1 = rdmsr(all ? MSR_IA32_VMX_TRUE_PROCBASED_CTLS : MSR_IA32_VMX_PROCBASED_CTLS);
    c->exit = rdmsr(all ? MSR_IA32_VMX_TRUE_EXIT_CTLS : MSR_IA32_VMX_EXIT_CTLS);
    c->entry = rdmsr(all ? MSR_IA32_VMX_TRUE_ENTRY_CTLS : MSR_IA32_VMX_ENTRY_CTLS);
    /* Each further word exists only if a bit of an earlier one may be set. */
    if (vmx_can_set(c->cpu1, CPU1_ACTIVATE_SECONDARY_CONTROLS)) {
        c->cpu2 = rdmsr(MSR_IA32_VMX_PROCBASED_CTLS2);
        if (vmx_can_set(c->cpu2, CPU2_ENABLE_EPT) || vmx_can_set(c->cpu2, CPU2_ENABLE_VPID))
            c->ept_vpid = rdmsr(MSR_IA32_VMX_EPT_VPID_CAP);
        if (vmx_can_set(c->cpu2, CPU2_ENABLE_VM_FUNCTIONS))
            c->vmfunc = read_or_zero(MSR_IA32_VMX_VMFUNC);
    }
    if (vmx_can_set(c->cpu1, CPU1_ACTIVATE_TERTIARY_CONTROLS))
        c->cpu3 = read_or_zero(MSR_IA32_VMX_PROCBASED_CTLS3);
    if (vmx_can_set(c->exit, EXITC_ACTIVATE_SECONDARY))
        c->exit2 = read_or_zero(MSR_IA32_VMX_EXIT_CTLS2);
}

void vmx_caps_read(struct abi_caps *c)
{
    uint32_t ecx = cpuid(1, 0).ecx;

    *c = (struct abi_caps){
        .present = (ecx & CPUID_1_ECX_VMX) != 0,
        .hypervisor = (ecx & CPUID_1_ECX_HYPERVISOR) != 0,
        .address_widths = cpuid_extended(CPUID_EXTENDED + 8).eax,
    };
    if (!c->present)
        return;
    c->feature_control = read_or_zero(MSR_IA32_FEATURE_CONTROL);
    c->basic = rdmsr(MSR_IA32_VMX_BASIC);
    c->misc = rdmsr(MSR_IA32_VMX_MISC);
    c->vmcs_enum = rdmsr(MSR_IA32_VMX_VMCS_ENUM);
    c->cr0_fixed0 = rdmsr(MSR_IA32_VMX_CR0_FIXED0);
    c->cr0_fixed1 = rdmsr(MSR_IA32_VMX_CR0_FIXED1);
    c->cr4_fixed0 = rdmsr(MSR_IA32_VMX_CR4_FIXED0);
    c->cr4_fixed1 = rdmsr(MSR_IA32_VMX_CR4_FIXED1);
    read_controls(c);
}

static struct abi_caps common;
static bool common_known;

const struct abi_caps *vmx_caps_common(void)
{
    return &common;
}

int vmx_caps_probe(unsigned core)
{
    struct abi_caps c;
    int rc;

    vmx_caps_read(&c);
    rc = vmx_caps_check(&c, core);
    if (rc)
        return rc;
    if (core == 0 && !common_known) {
        common = c;
        common_known = true;
        return 0;
    }
    return vmx_caps_same(&common, &c, core) ? 0 : -E_NOTSUP;
}
