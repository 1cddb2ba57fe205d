/*
 * The tree of nested page tables that EPT and AMD's nested paging have in common: four levels of
 * 512 entries. In both bit 0 is set in every entry that is used, bit 7 in a large page, and bits
 * 51:12 are the address; an entry that leads to a table is the address with NESTED_TABLE. What else
 * a leaf has is the vendor's. SDM 3C "The Extended Page Table Mechanism (EPT)", APM vol. 2 "Nested
 * Paging". Pure: table pages come from a callback and are addressed as they are (identity-mapped).
 */
#pragma once

#include "hv/types.h"

/* As enum map_perm has them. */
#define NESTED_READ         1u
#define NESTED_WRITE        2u
#define NESTED_EXECUTE      4u

#define NESTED_ENTRIES      512u
#define NESTED_LEVELS       4u
#define NESTED_PRESENT      (1ull << 0)
#define NESTED_LARGE        (1ull << 7)
/* EPT: read, write, execute; AMD: P, RW, US (a nested walk is a user access). */
#define NESTED_TABLE        7ull
#define NESTED_ADDRESS_MASK 0x000ffffffffff000ull
#define NESTED_GPA_LIMIT    (1ull << 48)

struct nested_mapping {
    uint64_t gpa, hpa, size;
    unsigned perm; /* NESTED_READ ... */
};

struct nested {
    uint64_t *root;
    bool page_1g;              /* 1 GB pages may be used; 2 MB pages always may */
    void *(*alloc)(void *ctx); /* a zeroed page, or NULL */
    void *ctx;
    /* The vendor's: what a leaf has beside its address, what it permits, and the level of the
     * largest page that may be used at `gpa` (NULL: the CPU's largest). `perm`: NESTED_READ ... */
    uint64_t (*bits)(const struct nested *t, unsigned perm, unsigned level);
    unsigned (*perm)(uint64_t leaf);
    unsigned (*top)(const struct nested *t, uint64_t gpa, unsigned perm);
    /* For the isolation audit: the backend itself has mapped this, of memory that was allocated for
     * the guest (MEM_FOR_GUEST). NULL: it maps none. */
    bool (*is_backends)(const struct nested *t, const struct nested_mapping *m);
};

/* Bytes that one entry covers at a level; 1 is the lowest. */
static inline uint64_t nested_span(unsigned level)
{
    return 1ull << (12 + 9 * (level - 1));
}

/* Makes the root; the other members are set. -E_NOMEM. */
int nested_init(struct nested *t) MUST_CHECK;
/* Maps [gpa, gpa + size) with the largest pages that alignment allows. -E_INVAL (not page-aligned,
 * above 48 bits, or without NESTED_READ), -E_EXIST (overlap), -E_NOMEM; after an error part of the
 * range may be mapped. */
int nested_map(struct nested *t, gpa_t gpa, hpa_t hpa, uint64_t size, unsigned perm) MUST_CHECK;
/* Makes the tables, so that later mappings of 2 MB pages there need no memory. -E_NOMEM, -E_EXIST,
 * -E_INVAL. */
int nested_prepare(struct nested *t, gpa_t gpa, uint64_t size) MUST_CHECK;
/* Maps [gpa, gpa + size) with `perm`, which does not contain NESTED_EXECUTE, or removes what is
 * mapped there (`perm` 0): whole 2 MB pages within 1 GB for which nested_prepare() has made the
 * tables. Takes no memory, and 3 instructions a page. -E_INVAL; -E_EXIST: something else is mapped
 * there, and part of the range may be mapped now. */
int nested_place(struct nested *t, gpa_t gpa, hpa_t hpa, uint64_t size, unsigned perm) MUST_CHECK;
/* Removes mappings: exactly whole pages as they were mapped. -E_INVAL if one is missing or lies
 * only partly inside; those before it are then already gone. Tables stay. The caller flushes. */
int nested_unmap(struct nested *t, gpa_t gpa, uint64_t size) MUST_CHECK;
/* The leaf that maps `gpa`, and its level; NULL: nothing does. */
uint64_t *nested_find(const struct nested *t, gpa_t gpa, unsigned *level);
/* The mapping that holds `gpa` (its whole page). False if there is none. */
bool nested_lookup(const struct nested *t, gpa_t gpa, struct nested_mapping *out);
/* Calls visit(ctx, mapping) for each page; stops at the first nonzero result and returns it. */
int nested_walk(const struct nested *t, int (*visit)(void *ctx, const struct nested_mapping *m),
                void *ctx);
