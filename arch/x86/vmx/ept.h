/*
 * Extended page tables: a struct nested with EPT's leaves, write-back, whatever the guest's PAT
 * says: for RAM only, device registers would have to be uncacheable. SDM 3C "The Extended Page
 * Table Mechanism (EPT)".
 */
#pragma once

#include "arch/x86/guest/nested.h"

struct ept {
    struct nested tree; /* the first member. nested_map(): no page that may be split is unmapped */
    uint64_t *split_tables; /* one for each 2 MB of RAM; NULL: large pages are not split */
    uint64_t split_limit;   /* bytes of RAM */
};

/* -E_NOMEM. */
int ept_init(struct ept *e, bool page_1g, void *(*alloc)(void *ctx), void *ctx) MUST_CHECK;
/*
 * Large pages that guests execute only after a split.
 *
 * On CPUs without IA32_ARCH_CAPABILITIES.PSCHANGE_MC_NO (SDM 4) a guest that fetches an instruction
 * from a page while it changes the page's size in its own tables can bring about a machine check
 * ("iTLB multihit", CVE-2018-12207). It cannot if the instruction TLB never holds a large
 * translation: so large pages are mapped without NESTED_EXECUTE, and the first fetch splits them
 * into 512 small ones that have it. The memory for that is allocated in advance: the split itself
 * writes one entry.
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

/* The EPT pointer for a VMCS: write-back, four levels. */
uint64_t ept_pointer(const struct ept *e);
