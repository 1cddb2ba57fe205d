#include "arch/x86/svm/caps.h"

#include "hv/log.h"

/* ASID 0 is the root's own. */
#define ASIDS_MIN 2u

static void advise(const struct svm_caps *c, bool locked)
{
    if (locked)
        log_warn("Switch on \"SVM Mode\" (AMD-V) in the firmware's setup, then switch the "
                 "machine off and on.");
    else if (c->abi.hypervisor)
        log_warn("This is a virtual machine: QEMU's default CPU has no nested paging, -cpu EPYC "
                 "has; QEMU/KVM needs -cpu host, and its host kvm_amd nested=1.");
    else
        log_warn("Bulkhead needs an AMD CPU with nested paging: of the year 2007 or later.");
}

int svm_caps_check(const struct svm_caps *c, unsigned core)
{
    bool locked = c->abi.svm_vm_cr & VM_CR_SVMDIS;

    if (!c->abi.present)
        log_warn("CPU %u: no SVM (CPUID Fn8000_0001 ECX bit 2)", core);
    else if (!(c->abi.svm_features & CPUID_SVM_NP))
        log_warn("CPU %u: no nested paging (CPUID Fn8000_000A EDX bit 0)", core);
    else if (locked)
        log_warn("CPU %u: SVM is %s by the firmware (VM_CR.SVMDIS)", core,
                 c->abi.svm_vm_cr & VM_CR_LOCK ? "locked off" : "switched off");
    else if (c->abi.svm_asids < ASIDS_MIN)
        log_warn("CPU %u: no ASID for guests (CPUID Fn8000_000A EBX)", core);
    else
        return 0;
    advise(c, c->abi.present && (c->abi.svm_features & CPUID_SVM_NP) && locked);
    return -E_NOTSUP;
}

bool svm_caps_same(const struct svm_caps *boot, const struct svm_caps *c, unsigned core)
{
    if (c->abi.svm_features == boot->abi.svm_features && c->abi.svm_asids == boot->abi.svm_asids &&
        c->cr4 == boot->cr4 && c->page_1g == boot->page_1g)
        return true;
    log_warn("CPU %u: CPUID differs from the boot core's: SVM features 0x%lx, not 0x%lx; %lu "
             "ASIDs, not %lu",
             core, c->abi.svm_features, boot->abi.svm_features, c->abi.svm_asids,
             boot->abi.svm_asids);
    return false;
}
