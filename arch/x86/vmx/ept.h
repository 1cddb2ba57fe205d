/*
 * Extended page tables, four levels. SDM 3C "The Extended Page Table Mechanism (EPT)". Pure: table
 * pages come from a callback and are addressed as they are (identity-mapped).
 */
#pragma once

#include "hv/types.h"

#define EPT_READ    1u
#define EPT_WRITE   2u
#define EPT_EXECUTE 4u

struct ept {
    uint64_t *root;
    bool page_1g;              /* may 1 GB pages be used? 2 MB pages always may */
    void *(*alloc)(void *ctx); /* a zeroed page, or NULL */
    void *ctx;
};

struct ept_mapping {
    uint64_t gpa, hpa, size;
    unsigned perm; /* EPT_* */
};

/* -E_NOMEM. */
int ept_init(struct ept *e, bool page_1g, void *(*alloc)(void *ctx), void *ctx) MUST_CHECK;
/* Maps [gpa, gpa + size) write-back, whatever the guest's PAT says, with the largest pages that
 * alignment allows. For RAM alone: device registers would have to be uncacheable. -E_INVAL (not
 * page-aligned, above 48 bits, or without EPT_READ), -E_EXIST (overlap), -E_NOMEM; after an error
 * part of the range may be mapped. */
int ept_map(struct ept *e, gpa_t gpa, hpa_t hpa, uint64_t size, unsigned perm) MUST_CHECK;
/* Takes mappings away again: exactly whole pages as they were mapped. -E_INVAL when there is none
 * or one lies only partly inside; what comes before it is gone then. Tables stay. The caller
 * invalidates. */
int ept_unmap(struct ept *e, gpa_t gpa, uint64_t size) MUST_CHECK;
/* Makes the tables with which 2 MB pages can be mapped there later without memory. -E_NOMEM,
 * -E_EXIST, -E_INVAL. */
int ept_prepare(struct ept *e, gpa_t gpa, uint64_t size) MUST_CHECK;
/* The mapping that holds `gpa` (its whole page). False if there is none. */
bool ept_lookup(const struct ept *e, gpa_t gpa, struct ept_mapping *out);
/* Calls visit(ctx, mapping) for each page; stops at the first nonzero result and returns it. */
int ept_walk(const struct ept *e, int (*visit)(void *ctx, const struct ept_mapping *m), void *ctx);
/* The EPT pointer for a VMCS: write-back, four levels. */
uint64_t ept_pointer(const struct ept *e);
