/*
 * Page tables that map addresses to themselves. Pure: builds them in memory that a callback gives;
 * paging.c has the root's. SDM 3A "4-Level Paging".
 */
#pragma once

#include "hv/mem.h"
#include "hv/types.h"

#define PAGE_PRESENT 0x1ull
#define PAGE_WRITE   0x2ull
#define PAGE_PWT     0x8ull
#define PAGE_PCD     0x10ull
#define PAGE_ACCESS  0x60ull /* accessed and dirty: never changes, so the CPU need not write it */
#define PAGE_LARGE   0x80ull
#define PAGE_NX      (1ull << 63)

/* Memory types by IA32_PAT's entries 0 to 3, as cpu_setup() sets them: write-back (what the MTRRs
 * say), write-combining and uncached (whatever they say). */
#define PAGE_WC      PAGE_PWT
#define PAGE_UC      (PAGE_PCD | PAGE_PWT)

#define PROT_RW      (PAGE_WRITE | PAGE_NX)
#define PROT_R       PAGE_NX
#define PROT_RX      0ull
#define PROT_NONE    UINT64_MAX

struct page_table {
    uint64_t *root;
    uint64_t limit;               /* of addresses that can be mapped */
    bool have_1g;                 /* the CPU has pages of 1 GB */
    uint64_t *(*new_table)(void); /* a zeroed page; does not fail */
};

/* Maps whole pages, large ones where they fit. Never replaces a table by a large page. */
void page_table_map(struct page_table *t, uint64_t base, uint64_t end, uint64_t prot);
/* Maps all RAM, and not a byte that is not RAM: the CPU may read ahead from whatever is mapped
 * write-back. new_table() may take pages from the map meanwhile. */
void page_table_map_ram(struct page_table *t, const struct mem_map *m);
/* Changes pages of 4 KB, splitting larger ones. PROT_NONE unmaps. */
void page_table_set(struct page_table *t, uint64_t base, uint64_t end, uint64_t prot);
/* The entry that maps an address, or 0. *size: of its page, or of the hole. */
uint64_t page_table_find(const struct page_table *t, uint64_t at, uint64_t *size);
