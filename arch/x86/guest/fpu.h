/*
 * A vCPU's x87, SSE and AVX state. The root does not use it: it stays in the core until another
 * vCPU runs there. SDM 1 "Managing State Using the XSAVE Feature Set".
 */
#pragma once

#include "hv/types.h"

struct fpu_state {
    uint8_t *area; /* one page: XSAVE or FXSAVE area */
    uint64_t xcr0; /* the guest's; used with XSAVE alone */
};

/* Those of the components `offered` that this CPU has and whose state fits a page; 0 without XSAVE.
 * AVX-512's three come together or not at all. */
uint64_t fpu_components(uint64_t offered);
/* Saves the core's state to `held`, which has no area if the state has no owner, and loads `l`.
 * `all` is what guests may use: fpu_components(). */
void fpu_exchange(struct fpu_state *held, const struct fpu_state *l, uint64_t all);
/* The state after reset; f->area is set. */
void fpu_reset(struct fpu_state *f);
