#include "mgmt/controls.h"

#include "arch/x86/inspect/fields.h"
#include "arch/x86/vmx/exit_profile.h"
#include "hv/fmt.h"
#include "hv/lib.h"
#include "mgmt/report.h"

/* Why the bits that are requested most are kept as they are; the first entry that shares a bit
 * counts. */
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

static const uint16_t rows[ABI_CONTROLS] = {
    [ABI_CONTROL_PIN] = VMCS_ROW_PIN_BASED_CONTROLS,
    [ABI_CONTROL_CPU1] = VMCS_ROW_PRIMARY_PROCESSOR_CONTROLS,
    [ABI_CONTROL_CPU2] = VMCS_ROW_SECONDARY_PROCESSOR_CONTROLS,
    [ABI_CONTROL_EXIT] = VMCS_ROW_PRIMARY_VM_EXIT_CONTROLS,
    [ABI_CONTROL_ENTRY] = VMCS_ROW_VM_ENTRY_CONTROLS,
};

static const char *why_kept(uint32_t control, uint32_t bits)
{
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (reasons[i].control == control && (reasons[i].bits & bits))
            return reasons[i].text;
    return control == ABI_CONTROL_EXIT || control == ABI_CONTROL_ENTRY
               ? "it decides how root and guest are kept apart"
               : "it needs a structure that the root does not set up";
}

const char *controls_why(const struct abi_controls_result *r)
{
    switch (r->result) {
    case -E_PERM:
        return why_kept(r->control, r->bits);
    case -E_INVAL:
        return "this CPU does not allow it (capability MSR)";
    default:
        return "the guest is not running";
    }
}

static bool is_profile(const struct abi_vmcs *v, const struct abi_caps *caps,
                       const struct abi_controls *k)
{
    const uint64_t allowed[ABI_CONTROLS] = {caps->pin, caps->cpu1, caps->cpu2, caps->exit,
                                            caps->entry};

    for (unsigned i = 0; i < ABI_CONTROLS; i++) {
        uint64_t open = (allowed[i] >> 32) & ~allowed[i]; /* may be 1, and may be 0 */

        if ((v->value[rows[i]] ^ k->value[i]) & k->mask[i] & open)
            return false;
    }
    return true;
}

int controls_profile(const struct abi_vmcs *v, const struct abi_caps *caps)
{
    for (int n = 0; n < ABI_EXIT_PROFILES; n++) {
        const struct abi_controls k = exit_profile((enum abi_exit_profile)n);

        if (is_profile(v, caps, &k))
            return n;
    }
    return -1;
}

int controls_judge(const struct abi_vmcs *v, const struct abi_caps *caps,
                   const struct abi_controls *c, struct abi_controls_result *r, char *why,
                   size_t size)
{
    static struct abi_vmcs candidate; /* large; one request at a time */
    const uint64_t allowed[ABI_CONTROLS] = {caps->pin, caps->cpu1, caps->cpu2, caps->exit,
                                            caps->entry};
    uint32_t old[ABI_CONTROLS], words[ABI_CONTROLS];

    for (unsigned i = 0; i < ABI_CONTROLS; i++)
        old[i] = (uint32_t)v->value[rows[i]];
    r->result = controls_apply(old, c, allowed, words, r);
    if (r->result) {
        (void)str_copy(why, size, controls_why(r));
        return r->result;
    }
    candidate = *v;
    for (unsigned i = 0; i < ABI_CONTROLS; i++)
        candidate.value[rows[i]] = words[i];
    r->result = report_first_failure(&candidate, caps, why, size) ? -E_INVAL : 0;
    return r->result;
}
