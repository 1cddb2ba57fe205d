#include "arch/x86/cpu/cpuid.h"
#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/regs.h"
#include "arch/x86/svm/caps.h"

#define CPUID_1_ECX_PCID        (1u << 17)
#define CPUID_7_EBX_FSGSBASE    (1u << 0)
#define CPUID_MEMORY_ENCRYPTION 0x8000001fu
#define CPUID_PERFORMANCE       0x80000022u

/* Those that guests may set, if the CPU has them. */
static uint64_t known_cr4(void)
{
    uint64_t cr4 = CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE |
                   CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT;
    uint32_t one = cpuid(1, 0).ecx;
    struct cpuid_regs seven = {0};

    if (cpuid(0, 0).eax >= 7)
        seven = cpuid(7, 0);
    return cr4 | (one & CPUID_1_ECX_PCID ? CR4_PCIDE : 0) |
           (one & CPUID_1_ECX_XSAVE ? CR4_OSXSAVE : 0) |
           (seven.ebx & CPUID_7_EBX_FSGSBASE ? CR4_FSGSBASE : 0) |
           (seven.ebx & CPUID_7_EBX_SMEP ? CR4_SMEP : 0) |
           (seven.ebx & CPUID_7_EBX_SMAP ? CR4_SMAP : 0) |
           (seven.ecx & CPUID_7_ECX_UMIP ? CR4_UMIP : 0);
}

void svm_caps_read(struct svm_caps *c)
{
    struct cpuid_regs one = cpuid_extended(CPUID_EXTENDED + 1), svm = cpuid_extended(CPUID_SVM);
    uint64_t vm_cr;

    *c = (struct svm_caps){.page_1g = one.edx & CPUID_81_EDX_PAGE_1G, .cr4 = known_cr4()};
    c->abi.hypervisor = (cpuid(1, 0).ecx & CPUID_1_ECX_HYPERVISOR) != 0;
    c->abi.address_widths = cpuid_extended(CPUID_EXTENDED + 8).eax;
    c->abi.svm_memory = cpuid_extended(CPUID_MEMORY_ENCRYPTION).eax;
    c->abi.svm_branches = cpuid_extended(CPUID_PERFORMANCE).eax;
    if (!(one.ecx & CPUID_EXT1_ECX_SVM))
        return;
    c->abi.present = 1;
    c->abi.svm_revision = svm.eax & 0xff;
    c->abi.svm_asids = svm.ebx;
    c->abi.svm_features = svm.edx;
    /* CPUs without SVM Lock may lack the MSR, too. */
    c->abi.svm_vm_cr = msr_read_safe(MSR_VM_CR, &vm_cr) ? 0 : vm_cr;
}

static struct svm_caps common;
static bool common_known;

const struct svm_caps *svm_caps_common(void)
{
    return &common;
}

int svm_caps_probe(unsigned core)
{
    struct svm_caps c;
    int rc;

    svm_caps_read(&c);
    rc = svm_caps_check(&c, core);
    if (rc)
        return rc;
    if (core == 0 && !common_known) {
        common = c;
        common_known = true;
        return 0;
    }
    return svm_caps_same(&common, &c, core) ? 0 : -E_NOTSUP;
}
