#include "arch/x86/inspect/fields.h"
#include "arch/x86/vmx/caps.h"
#include "arch/x86/vmx/vmx.h"
#include "hv/lib.h"

#define SAME(encoding)    ((encoding) >> 10 & 3)
#define CONTROL(encoding) VMCS_GROUP_CONTROL
#define GUEST(encoding)   VMCS_GROUP_GUEST
#define HOST(encoding)    VMCS_GROUP_HOST

static const struct vmcs_field table[] = {
#define VMCS_FIELD(encoding, name, exists, group, volatility, reason)                              \
    {encoding, VMCS_IF_##exists, group(encoding), VMCS_VOLATILITY_##volatility, #name, reason},
#include "arch/x86/inspect/fields.def"
#undef VMCS_FIELD
};

static const char *const missing[] = {
#define VMCS_CONDITION(name, text) [VMCS_IF_##name] = text,
#include "arch/x86/inspect/fields.def"
#undef VMCS_CONDITION
};

unsigned vmcs_field_count(void)
{
    return ARRAY_LEN(table);
}

const struct vmcs_field *vmcs_field(unsigned row)
{
    return row < ARRAY_LEN(table) ? &table[row] : NULL;
}

const struct vmcs_field *vmcs_field_by_name(const char *name)
{
    for (unsigned i = 0; i < ARRAY_LEN(table); i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

const struct vmcs_field *vmcs_field_by_encoding(uint32_t encoding)
{
    unsigned low = 0, high = ARRAY_LEN(table);

    while (low < high) {
        unsigned mid = (low + high) / 2;

        if (table[mid].encoding == encoding)
            return &table[mid];
        if (table[mid].encoding < encoding)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

const char *vmcs_group_name(enum vmcs_group group)
{
    static const char *const names[] = {"control", "read-only", "guest", "host"};

    return names[(unsigned)group & 3];
}

const char *vmcs_width_name(enum vmcs_width width)
{
    static const char *const names[] = {"16", "64", "32", "natural"};

    return names[(unsigned)width & 3];
}

const char *vmcs_volatility_name(enum vmcs_volatility volatility)
{
    static const char *const names[] = {"setup", "entry", "exit", "run"};

    return names[(unsigned)volatility & 3];
}

static bool entry_or_exit(const struct abi_caps *c, uint32_t entry, uint32_t exit)
{
    return vmx_can_set(c->entry, entry) || vmx_can_set(c->exit, exit);
}

static bool guest_switch_exists(enum vmcs_condition condition, const struct abi_caps *c)
{
    switch (condition) {
    case VMCS_IF_PAT:
        return entry_or_exit(c, ENTRY_LOAD_IA32_PAT, EXITC_SAVE_IA32_PAT);
    case VMCS_IF_EFER:
        return entry_or_exit(c, ENTRY_LOAD_IA32_EFER, EXITC_SAVE_IA32_EFER);
    case VMCS_IF_PERF:
        return vmx_can_set(c->entry, ENTRY_LOAD_PERF_GLOBAL_CTRL);
    case VMCS_IF_BNDCFGS:
        return entry_or_exit(c, ENTRY_LOAD_IA32_BNDCFGS, EXITC_CLEAR_IA32_BNDCFGS);
    case VMCS_IF_RTIT:
        return entry_or_exit(c, ENTRY_LOAD_IA32_RTIT_CTL, EXITC_CLEAR_IA32_RTIT_CTL);
    case VMCS_IF_LBR:
        return entry_or_exit(c, ENTRY_LOAD_IA32_LBR_CTL, EXITC_CLEAR_IA32_LBR_CTL);
    case VMCS_IF_PKRS:
        return vmx_can_set(c->entry, ENTRY_LOAD_PKRS);
    case VMCS_IF_UINV:
        return entry_or_exit(c, ENTRY_LOAD_UINV, EXITC_CLEAR_UINV);
    case VMCS_IF_CET:
        return vmx_can_set(c->entry, ENTRY_LOAD_CET_STATE);
    case VMCS_IF_FRED:
        return vmx_can_set(c->entry, ENTRY_LOAD_IA32_FRED);
    case VMCS_IF_HOST_PAT:
        return vmx_can_set(c->exit, EXITC_LOAD_IA32_PAT);
    case VMCS_IF_HOST_EFER:
        return vmx_can_set(c->exit, EXITC_LOAD_IA32_EFER);
    case VMCS_IF_HOST_PERF:
        return vmx_can_set(c->exit, EXITC_LOAD_PERF_GLOBAL_CTRL);
    case VMCS_IF_HOST_PKRS:
        return vmx_can_set(c->exit, EXITC_LOAD_PKRS);
    case VMCS_IF_HOST_CET:
        return vmx_can_set(c->exit, EXITC_LOAD_CET_STATE);
    case VMCS_IF_HOST_FRED:
        return (c->exit2 & EXITC2_LOAD_IA32_FRED) != 0;
    default:
        return false;
    }
}

/* Conditions that are one bit of the secondary controls. */
static uint32_t secondary_bit(enum vmcs_condition condition)
{
    switch (condition) {
    case VMCS_IF_CPU2_APIC:
        return CPU2_VIRTUALIZE_APIC_ACCESSES;
    case VMCS_IF_CPU2_EPT:
        return CPU2_ENABLE_EPT;
    case VMCS_IF_CPU2_VPID:
        return CPU2_ENABLE_VPID;
    case VMCS_IF_CPU2_VID:
        return CPU2_VIRTUAL_INTERRUPT_DELIVERY;
    case VMCS_IF_CPU2_PLE:
        return CPU2_PAUSE_LOOP_EXITING;
    case VMCS_IF_CPU2_VMFUNC:
        return CPU2_ENABLE_VM_FUNCTIONS;
    case VMCS_IF_CPU2_SHADOWING:
        return CPU2_VMCS_SHADOWING;
    case VMCS_IF_CPU2_ENCLS:
        return CPU2_ENABLE_ENCLS_EXITING;
    case VMCS_IF_CPU2_PML:
        return CPU2_ENABLE_PML;
    case VMCS_IF_CPU2_VE:
        return CPU2_EPT_VIOLATION_VE;
    case VMCS_IF_CPU2_XSAVES:
        return CPU2_ENABLE_XSAVES;
    case VMCS_IF_CPU2_PASID:
        return CPU2_PASID_TRANSLATION;
    case VMCS_IF_CPU2_SPP:
        return CPU2_SUB_PAGE_WRITE_PERMISSIONS;
    case VMCS_IF_CPU2_TSC_SCALING:
        return CPU2_USE_TSC_SCALING;
    case VMCS_IF_CPU2_PCONFIG:
        return CPU2_ENABLE_PCONFIG;
    case VMCS_IF_CPU2_ENCLV:
        return CPU2_ENABLE_ENCLV_EXITING;
    case VMCS_IF_CPU2_TIMEOUT:
        return CPU2_INSTRUCTION_TIMEOUT;
    default:
        return 0;
    }
}

bool vmcs_field_exists(const struct vmcs_field *f, const struct abi_caps *c)
{
    enum vmcs_condition condition = (enum vmcs_condition)f->condition;

    switch (condition) {
    case VMCS_IF_ALWAYS:
        return true;
    case VMCS_IF_PIN_TIMER:
        return vmx_can_set(c->pin, PIN_PREEMPTION_TIMER);
    case VMCS_IF_PIN_POSTED:
        return vmx_can_set(c->pin, PIN_POSTED_INTERRUPTS);
    case VMCS_IF_CPU1_TPR_SHADOW:
        return vmx_can_set(c->cpu1, CPU1_USE_TPR_SHADOW);
    case VMCS_IF_CPU1_MSR_BITMAPS:
        return vmx_can_set(c->cpu1, CPU1_USE_MSR_BITMAPS);
    case VMCS_IF_CPU1_SECONDARY:
        return vmx_can_set(c->cpu1, CPU1_ACTIVATE_SECONDARY_CONTROLS);
    case VMCS_IF_CPU1_TERTIARY:
        return vmx_can_set(c->cpu1, CPU1_ACTIVATE_TERTIARY_CONTROLS);
    case VMCS_IF_VMFUNC_EPTP:
        return (c->vmfunc & VMFUNC_EPTP_SWITCHING) != 0;
    case VMCS_IF_CPU3_HLAT:
        return (c->cpu3 & CPU3_ENABLE_HLAT) != 0;
    case VMCS_IF_CPU3_IPI:
        return (c->cpu3 & CPU3_IPI_VIRTUALIZATION) != 0;
    case VMCS_IF_CPU3_SPEC_CTRL:
        return (c->cpu3 & CPU3_VIRTUALIZE_IA32_SPEC_CTRL) != 0;
    case VMCS_IF_EXIT_SECONDARY:
        return vmx_can_set(c->exit, EXITC_ACTIVATE_SECONDARY);
    case VMCS_IF_CR3_TARGETS:
        return vmcs_encoded_index(f->encoding) - vmcs_encoded_index(VMCS_CR3_TARGET_VALUE_0) <
               vmx_cr3_targets(c);
    default:
        break;
    }
    if (secondary_bit(condition))
        return vmx_can_set(c->cpu2, secondary_bit(condition));
    return guest_switch_exists(condition, c);
}

const char *vmcs_field_absence(const struct vmcs_field *f)
{
    return f->condition < ARRAY_LEN(missing) ? missing[f->condition] : "";
}
