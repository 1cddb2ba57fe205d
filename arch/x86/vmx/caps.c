#include "arch/x86/vmx/caps.h"
#include "hv/log.h"

int vmx_adjust(uint32_t wanted, uint32_t required, uint64_t cap, uint32_t *out)
{
    uint32_t must = (uint32_t)cap, may = (uint32_t)(cap >> 32);

    if ((required & may) != required)
        return -E_NOTSUP;
    *out = ((wanted | required) & may) | must;
    return 0;
}

int vmx_feature_control(const struct abi_caps *c, uint64_t *value)
{
    if (c->feature_control & FEATURE_CONTROL_LOCKED)
        return c->feature_control & FEATURE_CONTROL_VMX ? 0 : -E_PERM;
    *value = c->feature_control | FEATURE_CONTROL_LOCKED | FEATURE_CONTROL_VMX;
    return 1;
}

/* A capability that the hypervisor requires. */
struct requirement {
    size_t cap; /* offset in struct abi_caps */
    uint64_t bit;
    const char *name, *where;
};

#define NEED_CONTROL(cap_, bit_, number, name_, where_)                                            \
    {                                                                                              \
        offsetof(struct abi_caps, cap_), (uint64_t)(bit_) << 32, name_, where_ " bit " #number     \
    }
#define NEED_BIT(cap_, bit_, number, name_, where_)                                                \
    {                                                                                              \
        offsetof(struct abi_caps, cap_), bit_, name_, where_ " bit " #number                       \
    }

static const struct requirement requirements[] = {
    NEED_CONTROL(pin, PIN_EXTERNAL_INTERRUPT_EXITING, 0, "external-interrupt exiting",
                 "pin-based controls"),
    NEED_CONTROL(pin, PIN_NMI_EXITING, 3, "NMI exiting", "pin-based controls"),
    NEED_CONTROL(pin, PIN_VIRTUAL_NMIS, 5, "virtual NMIs", "pin-based controls"),
    NEED_CONTROL(pin, PIN_PREEMPTION_TIMER, 6, "VMX-preemption timer", "pin-based controls"),
    NEED_CONTROL(cpu1, CPU1_INTERRUPT_WINDOW_EXITING, 2, "interrupt-window exiting",
                 "primary controls"),
    NEED_CONTROL(cpu1, CPU1_USE_TSC_OFFSETTING, 3, "TSC offsetting", "primary controls"),
    NEED_CONTROL(cpu1, CPU1_HLT_EXITING, 7, "HLT exiting", "primary controls"),
    NEED_CONTROL(cpu1, CPU1_USE_IO_BITMAPS, 25, "I/O bitmaps", "primary controls"),
    NEED_CONTROL(cpu1, CPU1_USE_MSR_BITMAPS, 28, "MSR bitmaps", "primary controls"),
    NEED_CONTROL(cpu1, CPU1_ACTIVATE_SECONDARY_CONTROLS, 31, "secondary controls",
                 "primary controls"),
    NEED_CONTROL(cpu2, CPU2_ENABLE_EPT, 1, "EPT", "secondary controls"),
    NEED_CONTROL(cpu2, CPU2_ENABLE_VPID, 5, "VPID", "secondary controls"),
    NEED_CONTROL(cpu2, CPU2_UNRESTRICTED_GUEST, 7, "unrestricted guest", "secondary controls"),
    NEED_CONTROL(exit, EXITC_HOST_ADDRESS_SPACE_SIZE, 9, "64-bit host", "VM-exit controls"),
    NEED_CONTROL(exit, EXITC_SAVE_IA32_PAT, 18, "save of IA32_PAT", "VM-exit controls"),
    NEED_CONTROL(exit, EXITC_LOAD_IA32_PAT, 19, "load of IA32_PAT", "VM-exit controls"),
    NEED_CONTROL(exit, EXITC_SAVE_IA32_EFER, 20, "save of IA32_EFER", "VM-exit controls"),
    NEED_CONTROL(exit, EXITC_LOAD_IA32_EFER, 21, "load of IA32_EFER", "VM-exit controls"),
    NEED_CONTROL(entry, ENTRY_IA32E_MODE_GUEST, 9, "IA-32e mode guest", "VM-entry controls"),
    NEED_CONTROL(entry, ENTRY_LOAD_IA32_PAT, 14, "load of IA32_PAT", "VM-entry controls"),
    NEED_CONTROL(entry, ENTRY_LOAD_IA32_EFER, 15, "load of IA32_EFER", "VM-entry controls"),
    NEED_BIT(ept_vpid, EPT_CAP_WALK_4, 6, "4-level EPT", "IA32_VMX_EPT_VPID_CAP"),
    NEED_BIT(ept_vpid, EPT_CAP_MEMORY_TYPE_WB, 14, "write-back EPT structures",
             "IA32_VMX_EPT_VPID_CAP"),
    NEED_BIT(ept_vpid, EPT_CAP_PAGE_2M, 16, "2 MiB EPT pages", "IA32_VMX_EPT_VPID_CAP"),
    NEED_BIT(ept_vpid, EPT_CAP_INVEPT, 20, "INVEPT", "IA32_VMX_EPT_VPID_CAP"),
    NEED_BIT(ept_vpid, EPT_CAP_INVVPID, 32, "INVVPID", "IA32_VMX_EPT_VPID_CAP"),
};

static void advise(const struct abi_caps *c, bool locked)
{
    if (locked)
        log_warn("Switch on \"Intel Virtualization Technology\" (VT-x, VMX) in the firmware's "
                 "setup, then switch the machine off and on.");
    if (c->hypervisor)
        log_warn("This is a virtual machine: QEMU/KVM needs -accel kvm -cpu host, and its host "
                 "kvm_intel nested=1. Without KVM, -cpu EPYC has AMD-V.");
    else if (!locked)
        log_warn("Bulkhead needs an Intel CPU of the Westmere generation (2010) or later with "
                 "VT-x, EPT and unrestricted guest, or AMD-V with nested paging; see also the "
                 "firmware's setup.");
}

int vmx_caps_check(const struct abi_caps *c, unsigned core)
{
    uint64_t value;
    unsigned found = 0;
    bool locked = false;

    if (!c->present) {
        log_warn("CPU %u: no VMX (CPUID.1:ECX bit 5), and no SVM", core);
        advise(c, false);
        return -E_NOTSUP;
    }
    if (vmx_feature_control(c, &value) < 0) {
        log_warn("CPU %u: VMX is locked off by the firmware (IA32_FEATURE_CONTROL bit 2)", core);
        locked = true;
        found++;
    }
    for (unsigned i = 0; i < ARRAY_LEN(requirements); i++) {
        const struct requirement *r = &requirements[i];
        uint64_t have = *(const uint64_t *)(const void *)((const char *)c + r->cap);

        if (have & r->bit)
            continue;
        log_warn("CPU %u: no %s (%s)", core, r->name, r->where);
        found++;
    }
    if (found == 0)
        return 0;
    advise(c, locked);
    return -E_NOTSUP;
}

bool vmx_caps_same(const struct abi_caps *boot, const struct abi_caps *c, unsigned core)
{
    static const struct {
        size_t offset;
        const char *name;
    } values[] = {
        {offsetof(struct abi_caps, basic), "IA32_VMX_BASIC"},
        {offsetof(struct abi_caps, misc), "IA32_VMX_MISC"},
        {offsetof(struct abi_caps, ept_vpid), "IA32_VMX_EPT_VPID_CAP"},
        {offsetof(struct abi_caps, vmfunc), "IA32_VMX_VMFUNC"},
        {offsetof(struct abi_caps, pin), "pin-based controls"},
        {offsetof(struct abi_caps, cpu1), "primary controls"},
        {offsetof(struct abi_caps, cpu2), "secondary controls"},
        {offsetof(struct abi_caps, cpu3), "tertiary controls"},
        {offsetof(struct abi_caps, exit), "VM-exit controls"},
        {offsetof(struct abi_caps, exit2), "secondary VM-exit controls"},
        {offsetof(struct abi_caps, entry), "VM-entry controls"},
        {offsetof(struct abi_caps, cr0_fixed0), "IA32_VMX_CR0_FIXED0"},
        {offsetof(struct abi_caps, cr0_fixed1), "IA32_VMX_CR0_FIXED1"},
        {offsetof(struct abi_caps, cr4_fixed0), "IA32_VMX_CR4_FIXED0"},
        {offsetof(struct abi_caps, cr4_fixed1), "IA32_VMX_CR4_FIXED1"},
    };

    for (unsigned i = 0; i < ARRAY_LEN(values); i++) {
        uint64_t a = *(const uint64_t *)(const void *)((const char *)boot + values[i].offset);
        uint64_t b = *(const uint64_t *)(const void *)((const char *)c + values[i].offset);

        if (a == b)
            continue;
        log_warn("CPU %u: %s differ from the boot core's: 0x%llx, not 0x%llx", core, values[i].name,
                 (unsigned long long)b, (unsigned long long)a);
        return false;
    }
    return true;
}
