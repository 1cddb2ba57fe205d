/*
 * Nested page tables: those of long mode, four levels. APM vol. 2 "Nested Paging". Pure: table
 * pages come from a callback and are addressed as they are (identity-mapped).
 */
#pragma once

#include "hv/types.h"

/* As enum map_perm has them. */
#define NPT_READ    1u
#define NPT_WRITE   2u
#define NPT_EXECUTE 4u

struct npt {
    uint64_t *root;
    bool page_1g;              /* 1 GB pages may be used; 2 MB pages always may */
    void *(*alloc)(void *ctx); /* a zeroed page, or NULL */
    void *ctx;
};

struct npt_mapping {
    uint64_t gpa, hpa, size;
    unsigned perm; /* NPT_* */
};

/* -E_NOMEM. */
int npt_init(struct npt *t, bool page_1g, void *(*alloc)(void *ctx), void *ctx) MUST_CHECK;
/* Maps [gpa, gpa + size) with the largest pages that alignment allows. Its memory type is
 * write-back together with a guest PAT that has nothing else. -E_INVAL (not page-aligned, above 48
 * bits, or without NPT_READ), -E_EXIST (overlap), -E_NOMEM; after an error part of the range may be
 * mapped. */
int npt_map(struct npt *t, gpa_t gpa, hpa_t hpa, uint64_t size, unsigned perm) MUST_CHECK;
/* Removes mappings: exactly whole pages as they were mapped. -E_INVAL if one is missing or lies
 * only partly inside; those before it are then already gone. Tables stay. The caller flushes. */
int npt_unmap(struct npt *t, gpa_t gpa, uint64_t size) MUST_CHECK;
/* Makes the tables, so that later mappings of 2 MB pages there need no memory. -E_NOMEM, -E_EXIST,
 * -E_INVAL. */
int npt_prepare(struct npt *t, gpa_t gpa, uint64_t size) MUST_CHECK;
/* Maps [gpa, gpa + size) with `perm`, which does not contain NPT_EXECUTE, or removes what is mapped
 * there (`perm` 0): whole 2 MB pages within 1 GB for which npt_prepare() has made the tables. Takes
 * no memory, and 3 instructions a page. -E_INVAL; -E_EXIST: something else is mapped there, and
 * part of the range may be mapped now. */
int npt_place(struct npt *t, gpa_t gpa, hpa_t hpa, uint64_t size, unsigned perm) MUST_CHECK;
/* The mapping that holds `gpa` (its whole page). False if there is none. */
bool npt_lookup(const struct npt *t, gpa_t gpa, struct npt_mapping *out);
/* Calls visit(ctx, mapping) for each page; stops at the first nonzero result and returns it. */
int npt_walk(const struct npt *t, int (*visit)(void *ctx, const struct npt_mapping *m), void *ctx);
