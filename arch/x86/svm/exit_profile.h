/*
 * The intercepts of a guest that may change, and exit profiles: from the fewest exits that
 * isolation allows to the most. What vmx/exit_profile.h is for VT-x. Pure.
 */
#pragma once

#include "arch/x86/svm/svm.h"
#include "arch/x86/svm/vmcb.h"
#include "hv/abi/control.h"
#include "hv/lib.h"

/* The isolation mask: the bits that may change while a guest runs. Isolation depends on none of
 * them, and every exit that they can cause has a handler. HLT is not among them: a virtual
 * interrupt may not wake a guest from a HLT that does not exit. */
#define CHANGEABLE_CR    (1u << 3 | 1u << 19) /* CR3, read and written */
#define CHANGEABLE_DR    UINT32_MAX
#define CHANGEABLE_MISC1 (INTERCEPT_RDTSC | INTERCEPT_PAUSE | INTERCEPT_INVLPG)
#define CHANGEABLE_MISC2 INTERCEPT_RDTSCP

static inline uint32_t intercepts_changeable(unsigned control)
{
    return control == ABI_SVM_INTERCEPT_CR      ? CHANGEABLE_CR
           : control == ABI_SVM_INTERCEPT_DR    ? CHANGEABLE_DR
           : control == ABI_SVM_INTERCEPT_MISC1 ? CHANGEABLE_MISC1
           : control == ABI_SVM_INTERCEPT_MISC2 ? CHANGEABLE_MISC2
                                                : 0;
}

/* The intercept vectors are the first that a VMCB has. */
static inline void intercepts_read(const struct vmcb *vmcb, uint32_t words[ABI_CONTROL_WORDS])
{
    memcpy(words, vmcb, ABI_SVM_CONTROLS * sizeof(words[0]));
}

static inline void intercepts_write(struct vmcb *vmcb, const uint32_t words[ABI_CONTROL_WORDS])
{
    memcpy(vmcb, words, ABI_SVM_CONTROLS * sizeof(words[0]));
}

/* Applies a change to the intercept vectors. 0; -E_PERM: it changes protected bits, which
 * r->control and r->bits then say. */
static inline int intercepts_apply(const uint32_t old[ABI_CONTROL_WORDS],
                                   const struct abi_controls *c, uint32_t words[ABI_CONTROL_WORDS],
                                   struct abi_controls_result *r)
{
    r->control = r->bits = 0;
    for (unsigned i = 0; i < ABI_SVM_CONTROLS; i++) {
        uint32_t kept;

        words[i] = (old[i] & ~c->mask[i]) | (c->value[i] & c->mask[i]);
        kept = (words[i] ^ old[i]) & ~intercepts_changeable(i);
        if (!kept)
            continue;
        r->control = i;
        r->bits = kept;
        return -E_PERM;
    }
    return 0;
}

/* The profile as a change of the intercept vectors. */
static inline struct abi_controls intercepts_profile(enum abi_exit_profile p)
{
    struct abi_controls k = {0};

    for (unsigned i = 0; i < ABI_SVM_CONTROLS; i++) {
        k.mask[i] = intercepts_changeable(i);
        k.value[i] = p == ABI_EXITS_MOST ? k.mask[i] : 0;
    }
    return k;
}
