/*
 * The registers of a vCPU that no vendor's structure holds. The root does not use them: they stay
 * in the core until another vCPU runs there. SDM 1 "Managing State Using the XSAVE Feature Set".
 */
#pragma once

#include "hv/types.h"

struct x86_lazy {
    uint8_t *area; /* one page: XSAVE or FXSAVE area; NULL: nobody's state, it is not saved */
    uint64_t xcr0; /* the guest's; used with XSAVE alone */
    uint64_t tsc_aux, dr[4];
};

/* The components of the extended state that guests may use: those that this CPU has and whose state
 * fits a page; 0 without XSAVE. AVX-512's three come together or not at all. */
uint64_t x86_xcr0_allowed(void);
/* Saves the core's state to `held`, and loads `l`. */
void x86_lazy_exchange(struct x86_lazy *held, const struct x86_lazy *l);
/* The state after reset; l->area is set. */
void x86_lazy_reset(struct x86_lazy *l);
