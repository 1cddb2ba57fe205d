#include "mgmt/controls.h"

#include "arch/x86/svm/exit_profile.h"
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
} vmx_reasons[] = {
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

/* From VMRUN to SKINIT. */
#define SVM_INSTRUCTIONS                                                                           \
    (INTERCEPT_VMRUN | INTERCEPT_VMMCALL | INTERCEPT_VMLOAD | INTERCEPT_VMSAVE | INTERCEPT_STGI |  \
     INTERCEPT_CLGI | INTERCEPT_SKINIT)

/* SVM's. */
static const struct reason svm_reasons[] = {
    {ABI_SVM_INTERCEPT_CR, UINT32_MAX, "the root has to see some of these registers' values"},
    {ABI_SVM_INTERCEPT_MISC1, INTERCEPT_INTR,
     "the root's interrupts would be delivered to the guest"},
    {ABI_SVM_INTERCEPT_MISC1, INTERCEPT_NMI, "the root's NMIs would be delivered to the guest"},
    {ABI_SVM_INTERCEPT_MISC1, INTERCEPT_SMI | INTERCEPT_INIT | INTERCEPT_SHUTDOWN,
     "they would reach or end the whole machine"},
    {ABI_SVM_INTERCEPT_MISC1, INTERCEPT_VINTR, "the root sets it when an event waits"},
    {ABI_SVM_INTERCEPT_MISC1, INTERCEPT_RDPMC, "the performance counters show the neighbours"},
    {ABI_SVM_INTERCEPT_MISC1, INTERCEPT_INVD, "caches are shared with the neighbours"},
    {ABI_SVM_INTERCEPT_MISC1, INTERCEPT_HLT,
     "a virtual interrupt may not wake a guest from a HLT that does not exit"},
    {ABI_SVM_INTERCEPT_MISC1, INTERCEPT_INVLPGA, "it would flush translations of other guests"},
    {ABI_SVM_INTERCEPT_MISC1, INTERCEPT_IOIO_PROT, "ports belong to the root"},
    {ABI_SVM_INTERCEPT_MISC1, INTERCEPT_MSR_PROT, "the map divides MSRs between guest and root"},
    {ABI_SVM_INTERCEPT_MISC2, SVM_INSTRUCTIONS, "SVM belongs to the root"},
    {ABI_SVM_INTERCEPT_MISC2, INTERCEPT_WBINVD, "caches are shared with the neighbours"},
    {ABI_SVM_INTERCEPT_MISC2, INTERCEPT_MONITOR | INTERCEPT_MWAIT | INTERCEPT_MWAIT_ARMED,
     "MWAIT could put the core to sleep deeper than a timer wakes it"},
};

/* What differs between the kinds of state. */
struct kind {
    const struct reason *reasons;
    size_t reason_count;
    int (*apply)(const uint32_t *old, const struct abi_controls *c, const struct abi_caps *caps,
                 uint32_t *words, struct abi_controls_result *r);
    struct abi_controls (*profile)(enum abi_exit_profile p);
    /* The bits of a word that the CPU leaves open. */
    uint32_t (*open)(const struct abi_caps *caps, unsigned control);
};

static int vmx_apply(const uint32_t *old, const struct abi_controls *c, const struct abi_caps *caps,
                     uint32_t *words, struct abi_controls_result *r)
{
    const uint64_t allowed[ABI_CONTROLS] = {caps->pin, caps->cpu1, caps->cpu2, caps->exit,
                                            caps->entry};

    return controls_apply(old, c, allowed, words, r);
}

static uint32_t vmx_open(const struct abi_caps *caps, unsigned control)
{
    const uint64_t allowed[ABI_CONTROLS] = {caps->pin, caps->cpu1, caps->cpu2, caps->exit,
                                            caps->entry};

    return (uint32_t)((allowed[control] >> 32) & ~allowed[control]); /* may be 1, and may be 0 */
}

static int svm_apply(const uint32_t *old, const struct abi_controls *c, const struct abi_caps *caps,
                     uint32_t *words, struct abi_controls_result *r)
{
    (void)caps;
    return intercepts_apply(old, c, words, r);
}

static uint32_t svm_open(const struct abi_caps *caps, unsigned control)
{
    (void)caps;
    (void)control;
    return UINT32_MAX;
}

static const struct kind *kind_of(const struct state_table *t)
{
    static const struct kind vmx = {vmx_reasons, ARRAY_LEN(vmx_reasons), vmx_apply, exit_profile,
                                    vmx_open};
    static const struct kind svm = {svm_reasons, ARRAY_LEN(svm_reasons), svm_apply,
                                    intercepts_profile, svm_open};

    return t->kind == ABI_STATE_SVM ? &svm : &vmx;
}

static const char *why_kept(const struct state_table *t, uint32_t control, uint32_t bits)
{
    const struct kind *k = kind_of(t);

    for (size_t i = 0; i < k->reason_count; i++)
        if (k->reasons[i].control == control && (k->reasons[i].bits & bits))
            return k->reasons[i].text;
    if (t->kind == ABI_STATE_SVM)
        return "the root does not handle this exit";
    return control == ABI_CONTROL_EXIT || control == ABI_CONTROL_ENTRY
               ? "it decides how root and guest are kept apart"
               : "it needs a structure that the root does not set up";
}

const char *controls_why(const struct state_table *t, const struct abi_controls_result *r)
{
    switch (r->result) {
    case -E_PERM:
        return why_kept(t, r->control, r->bits);
    case -E_INVAL:
        return "this CPU does not allow it (capability MSR)";
    default:
        return "the guest is not running";
    }
}

struct abi_controls controls_of_profile(const struct state_table *t, enum abi_exit_profile p)
{
    return kind_of(t)->profile(p);
}

static bool is_profile(const struct state_table *t, const struct abi_vmcs *v,
                       const struct abi_caps *caps, const struct abi_controls *k)
{
    for (unsigned i = 0; i < t->controls; i++)
        if ((v->value[t->control_row(i)] ^ k->value[i]) & k->mask[i] & kind_of(t)->open(caps, i))
            return false;
    return true;
}

int controls_profile(const struct state_table *t, const struct abi_vmcs *v,
                     const struct abi_caps *caps)
{
    for (int n = 0; n < ABI_EXIT_PROFILES; n++) {
        const struct abi_controls k = controls_of_profile(t, (enum abi_exit_profile)n);

        if (is_profile(t, v, caps, &k))
            return n;
    }
    return -1;
}

int controls_judge(const struct state_table *t, const struct abi_vmcs *v,
                   const struct abi_caps *caps, const struct abi_controls *c,
                   struct abi_controls_result *r, char *why, size_t size)
{
    static struct abi_vmcs candidate; /* large; one request at a time */
    uint32_t old[ABI_CONTROL_WORDS] = {0}, words[ABI_CONTROL_WORDS];

    for (unsigned i = 0; i < t->controls; i++)
        old[i] = (uint32_t)v->value[t->control_row(i)];
    r->result = kind_of(t)->apply(old, c, caps, words, r);
    if (r->result) {
        (void)str_copy(why, size, controls_why(t, r));
        return r->result;
    }
    candidate = *v;
    for (unsigned i = 0; i < t->controls; i++)
        candidate.value[t->control_row(i)] = words[i];
    r->result = report_first_failure(t, &candidate, caps, why, size) ? -E_INVAL : 0;
    return r->result;
}
