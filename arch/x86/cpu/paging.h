/*
 * The root's page tables: virtual addresses equal physical ones. RAM and firmware ranges are
 * read-write and never executable; the kernel's text is executable and read-only; guard pages and
 * page 0 are not mapped.
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

#define PROT_RW      (PAGE_WRITE | PAGE_NX)
#define PROT_R       PAGE_NX
#define PROT_RX      0ull
#define PROT_NONE    UINT64_MAX

/* Builds the tables from the memory map (from which it takes pages) and switches to them. Boot
 * core, once. */
void paging_init(struct mem_map *m);
/* The tables' address, for other cores. Below 4 GB. */
uint64_t paging_root(void);
/* Changes whole pages that are already mapped. Start-up only (no other core's TLB is flushed). */
void paging_protect(uint64_t base, uint64_t size, uint64_t prot);
/* Unmaps the guard pages of a core's block. */
struct core_block;
void paging_guard(struct core_block *b);
/* True if every byte is readable. */
bool paging_is_mapped(uint64_t base, uint64_t size);
/* Like arch_map_mmio(), but MTRRs may make it write-combining: for framebuffers. */
void *paging_map_framebuffer(hpa_t base, size_t length) MUST_CHECK;
