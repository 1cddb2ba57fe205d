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
    bool page_1g;              /* 1 GB pages may be used; 2 MB pages always may */
    void *(*alloc)(void *ctx); /* a zeroed page, or NULL */
    void *ctx;
    uint64_t *split_tables; /* one for each 2 MB of RAM; NULL: large pages are not split */
    uint64_t split_limit;   /* bytes of RAM */
};

struct ept_mapping {
    uint64_t gpa, hpa, size;
    unsigned perm; /* EPT_* */
};

/* -E_NOMEM. */
int ept_init(struct ept *e, bool page_1g, void *(*alloc)(void *ctx), void *ctx) MUST_CHECK;
/* Maps [gpa, gpa + size) write-back, whatever the guest's PAT says, with the largest pages that
 * alignment allows. For RAM only: device registers would have to be uncacheable. -E_INVAL (not
 * page-aligned, above 48 bits, or without EPT_READ), -E_EXIST (overlap), -E_NOMEM; after an error
 * part of the range may be mapped. */
int ept_map(struct ept *e, gpa_t gpa, hpa_t hpa, uint64_t size, unsigned perm) MUST_CHECK;
/* Removes mappings (not those that may be split): exactly whole pages as they were mapped. -E_INVAL
 * if one is missing or lies only partly inside; those before it are then already gone. Tables stay.
 * The caller invalidates. */
int ept_unmap(struct ept *e, gpa_t gpa, uint64_t size) MUST_CHECK;
/* Makes the tables, so that later mappings of 2 MB pages there need no memory. -E_NOMEM, -E_EXIST,
 * -E_INVAL. */
int ept_prepare(struct ept *e, gpa_t gpa, uint64_t size) MUST_CHECK;
/* Maps [gpa, gpa + size) with `perm`, which does not contain EPT_EXECUTE, or removes what is mapped
 * there (`perm` 0): whole 2 MB pages within 1 GB for which ept_prepare() has made the tables. Takes
 * no memory, and 3 instructions a page. -E_INVAL; -E_EXIST: something else is mapped there, and
 * part of the range may be mapped now. */
int ept_place(struct ept *e, gpa_t gpa, hpa_t hpa, uint64_t size, unsigned perm) MUST_CHECK;
/*
 * Large pages that guests execute only after a split.
 *
 * On CPUs without IA32_ARCH_CAPABILITIES.PSCHANGE_MC_NO (SDM 4) a guest that fetches an instruction
 * from a page while it changes the page's size in its own tables can bring about a machine check
 * ("iTLB multihit", CVE-2018-12207). It cannot if the instruction TLB never holds a large
 * translation: so large pages are mapped without EPT_EXECUTE, and the first fetch splits them into
 * 512 small ones that have it. The memory for that is allocated in advance: the split itself writes
 * one entry.
 */

/* Bytes of tables for `size` bytes of guest memory. */
static inline uint64_t ept_split_size(uint64_t size)
{
    return size / PAGE_SIZE_2M * PAGE_SIZE;
}
/* From now on maps executable pages in the first `size` bytes of RAM (a multiple of 2 MB,
 * hv/abi/memory.h) like this: `tables` has ept_split_size(size) bytes, page-aligned, and stays the
 * caller's. Elsewhere they are small from the start. Before anything is mapped. */
void ept_reserve_splits(struct ept *e, void *tables, uint64_t size);
/* Fills the table for the 2 MB around `gpa`. 512 stores; none if no page waits for its first fetch.
 * Before the guest runs. */
void ept_prepare_split(struct ept *e, gpa_t gpa);
/* For the isolation audit: if the page around `gpa` waits for its first fetch, true if its table
 * maps the same memory as the page and nothing else. Also true if it does not wait. Checks the half
 * of the table that covers `gpa`: 1 MB. */
bool ept_split_is_good(const struct ept *e, gpa_t gpa);
/* A fetch at `gpa` was refused. True: it is allowed now, in 4 KB pages; the caller invalidates.
 * False: it never will be. A few instructions. */
bool ept_split(struct ept *e, gpa_t gpa);

/* The mapping that holds `gpa` (its whole page). False if there is none. */
bool ept_lookup(const struct ept *e, gpa_t gpa, struct ept_mapping *out);
/* Calls visit(ctx, mapping) for each page; stops at the first nonzero result and returns it. */
int ept_walk(const struct ept *e, int (*visit)(void *ctx, const struct ept_mapping *m), void *ctx);
/* The EPT pointer for a VMCS: write-back, four levels. */
uint64_t ept_pointer(const struct ept *e);
