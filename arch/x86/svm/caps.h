/* What a core's AMD-V can do, and what Bulkhead needs of it. APM vol. 2 "Enabling SVM", vol. 3
 * "CPUID Fn8000_000A". Pure, except for what it logs and svm_caps_read(). */
#pragma once

#include "arch/x86/svm/svm.h"
#include "hv/abi/control.h"
#include "hv/types.h"

struct svm_caps {
    struct abi_caps abi; /* present: CPUID Fn8000_0001 ECX bit 2 */
    bool page_1g;
    uint64_t cr4; /* the bits that this CPU has */
};

void svm_caps_read(struct svm_caps *c);
/* Logs what is missing, then what the user can do about it. 0, or -E_NOTSUP. */
int svm_caps_check(const struct svm_caps *c, unsigned core);
/* Logs in what `c` differs from the boot core's. True when they agree. */
bool svm_caps_same(const struct svm_caps *boot, const struct svm_caps *c, unsigned core);

/* caps_read.c: what all cores have, as of the boot core's probe. */
const struct svm_caps *svm_caps_common(void);
int svm_caps_probe(unsigned core);
