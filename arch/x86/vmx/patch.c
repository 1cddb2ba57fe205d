/*
 * Changing control words of a vCPU that runs. What the isolation of guests rests on cannot be
 * changed, nor what would need structures that are not there; the rest is the guest's own affair.
 */
#include "arch/x86/inspect/entry_check.h"
#include "arch/x86/vmx/vcpu.h"
#include "arch/x86/vmx/vmcs.h"
#include "hv/fmt.h"
#include "hv/guest_life.h"
#include "hv/lib.h"

/* All that may be changed. Every exit that these bits can cause has its handler. */
#define CHANGEABLE_CPU1                                                                            \
    (CPU1_HLT_EXITING | CPU1_INVLPG_EXITING | CPU1_RDTSC_EXITING | CPU1_CR3_LOAD_EXITING |         \
     CPU1_CR3_STORE_EXITING | CPU1_MOV_DR_EXITING | CPU1_UNCONDITIONAL_IO_EXITING |                \
     CPU1_PAUSE_EXITING | CPU1_USE_TSC_OFFSETTING | CPU1_MONITOR_TRAP_FLAG)
#define CHANGEABLE_CPU2                                                                            \
    (CPU2_ENABLE_RDTSCP | CPU2_RDRAND_EXITING | CPU2_RDSEED_EXITING | CPU2_ENABLE_INVPCID)

static const uint32_t changeable[ABI_CONTROLS] = {
    [ABI_CONTROL_CPU1] = CHANGEABLE_CPU1,
    [ABI_CONTROL_CPU2] = CHANGEABLE_CPU2,
};

/* Why the most asked for of the others are not; the first that shares a bit counts. */
static const struct reason {
    uint8_t control;
    uint32_t bits;
    const char *text;
} reasons[] = {
    {ABI_CONTROL_PIN, PIN_EXTERNAL_INTERRUPT_EXITING,
     "the root's interrupts would be delivered to the guest"},
    {ABI_CONTROL_PIN, PIN_NMI_EXITING | PIN_VIRTUAL_NMIS,
     "the root's NMIs would be delivered to the guest"},
    {ABI_CONTROL_PIN, PIN_PREEMPTION_TIMER, "nothing else ends the guest's slice"},
    {ABI_CONTROL_CPU1, CPU1_USE_IO_BITMAPS, "ports belong to the root"},
    {ABI_CONTROL_CPU1, CPU1_USE_MSR_BITMAPS, "the bitmap divides MSRs between guest and root"},
    {ABI_CONTROL_CPU1, CPU1_MWAIT_EXITING | CPU1_MONITOR_EXITING,
     "MWAIT could put the core to sleep deeper than its preemption timer"},
    {ABI_CONTROL_CPU1, CPU1_RDPMC_EXITING, "the performance counters show the neighbours"},
    {ABI_CONTROL_CPU1, CPU1_CR8_LOAD_EXITING | CPU1_CR8_STORE_EXITING | CPU1_USE_TPR_SHADOW,
     "CR8 is the TPR of the core's own APIC"},
    {ABI_CONTROL_CPU1, CPU1_INTERRUPT_WINDOW_EXITING | CPU1_NMI_WINDOW_EXITING,
     "the root sets it when an event waits"},
    {ABI_CONTROL_CPU1, CPU1_ACTIVATE_SECONDARY_CONTROLS, "EPT is a secondary control"},
    {ABI_CONTROL_CPU2, CPU2_ENABLE_EPT | CPU2_UNRESTRICTED_GUEST,
     "EPT divides the memory between the guests"},
    {ABI_CONTROL_CPU2, CPU2_ENABLE_VPID, "translations of this guest are invalidated by VPID"},
    {ABI_CONTROL_CPU2, CPU2_WBINVD_EXITING, "caches are shared with the neighbours"},
};

static void refuse(struct abi_controls_result *r, int result, unsigned control, uint32_t bits,
                   const char *text)
{
    r->result = result;
    r->control = control;
    r->bits = bits;
    (void)str_copy(r->text, sizeof(r->text), text);
}

static const char *why_not(unsigned control, uint32_t bits)
{
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (reasons[i].control == control && (reasons[i].bits & bits))
            return reasons[i].text;
    return control == ABI_CONTROL_EXIT || control == ABI_CONTROL_ENTRY
               ? "it decides how the root and the guest are told apart"
               : "it needs a structure that the root does not set up";
}

/* The new words, if every changed bit may and can be changed. */
static bool judge(const uint32_t old[ABI_CONTROLS], const struct abi_controls *c,
                  uint32_t new[ABI_CONTROLS], struct abi_controls_result *r)
{
    const struct vmx_caps *k = vmx_caps_common();
    const uint64_t caps[ABI_CONTROLS] = {k->pin, k->cpu1, k->cpu2, k->exit, k->entry};

    for (unsigned i = 0; i < ABI_CONTROLS; i++) {
        uint32_t changed, cannot;

        new[i] = (old[i] & ~c->mask[i]) | (c->value[i] & c->mask[i]);
        changed = new[i] ^ old[i];
        if (changed & ~changeable[i]) {
            cannot = changed & ~changeable[i];
            refuse(r, -E_PERM, i, cannot, why_not(i, cannot));
            return false;
        }
        cannot = changed & ((new[i] & ~(uint32_t)(caps[i] >> 32)) | (~new[i] & (uint32_t)caps[i]));
        if (cannot) {
            refuse(r, -E_INVAL, i, cannot, "this CPU does not allow it (capability MSR)");
            return false;
        }
    }
    return true;
}

static void note_failure(void *arg, const struct entry_rule_failure *f)
{
    struct abi_controls_result *r = arg;

    if (r->result)
        return;
    r->result = -E_INVAL;
    (void)fmt(r->text, sizeof(r->text), "VM entry would fail: %s (%s)", f->rule->name, f->allowed);
}

/* The VMCS as it would be: nothing is changed before all checks are done. */
static void make_candidate(struct vmx_vcpu *x, const uint32_t new[ABI_CONTROLS])
{
    static const uint16_t rows[ABI_CONTROLS] = {
        VMCS_ROW_PIN_BASED_CONTROLS, VMCS_ROW_PRIMARY_PROCESSOR_CONTROLS,
        VMCS_ROW_SECONDARY_PROCESSOR_CONTROLS, VMCS_ROW_PRIMARY_VM_EXIT_CONTROLS,
        VMCS_ROW_VM_ENTRY_CONTROLS};

    vmx_read_fields(x->candidate);
    for (unsigned i = 0; i < ABI_CONTROLS; i++)
        x->candidate->value[rows[i]] = new[i];
}

static void check_part(struct vmx_vcpu *x, unsigned part, struct abi_controls_result *r)
{
    const struct entry_cpu cpu = vmx_entry_cpu(x);

    (void)vmcs_entry_check_part(part, x->candidate, vmx_caps_common(), &cpu, note_failure, r);
}

/* Steps: the candidate, each part of the checks, the change. The guest may run between them: of
 * what it changes only the interrupt windows are in these words. */
bool vmx_change_controls(struct vcpu *v, const struct abi_controls *c,
                         struct abi_controls_result *r)
{
    struct vmx_vcpu *x = v->backend;
    uint32_t old[ABI_CONTROLS], new[ABI_CONTROLS];
    unsigned step = x->checked++;

    vmx_load(x);
    if (step == 0) {
        r->result = 0;
        r->control = r->bits = 0;
        r->text[0] = 0;
    }
    for (unsigned i = 0; i < ABI_CONTROLS; i++)
        old[i] = (uint32_t)vmread(vmx_control_fields[i]);
    if (judge(old, c, new, r) && step <= ENTRY_PARTS) {
        if (step == 0)
            make_candidate(x, new);
        else
            check_part(x, step - 1, r);
        if (r->result == 0)
            return false;
    }
    x->checked = 0;
    if (r->result)
        return true;
    for (unsigned i = 0; i < ABI_CONTROLS; i++)
        if (new[i] != old[i])
            vmwrite(vmx_control_fields[i], new[i]);
    x->cpu1 = new[ABI_CONTROL_CPU1];
    return true;
}
