/*
 * The root's page tables: virtual addresses equal physical ones. RAM is read-write and never
 * executable; the kernel's text is executable and read-only; guard pages and page 0 are not mapped.
 * Nothing else is mapped but what is asked for: devices' registers, uncached, and tables of the
 * firmware.
 */
#pragma once

#include "arch/x86/cpu/page_table.h"
#include "hv/mem.h"
#include "hv/types.h"

/* Builds the tables from the memory map (from which it takes pages) and switches to them. Boot
 * core, once. */
void paging_init(struct mem_map *m);
/* The tables' address, for other cores. Below 4 GB. */
uint64_t paging_root(void);
/* Changes whole pages. Start-up only (no other core's TLB is flushed). */
void paging_protect(uint64_t base, uint64_t size, uint64_t prot);
/* Unmaps the guard pages of a core's block. */
struct core_block;
void paging_guard(struct core_block *b);
/* Makes every byte readable that is not yet, wherever it is. False: there is no such address.
 * Start-up only. */
bool paging_map_firmware(uint64_t base, uint64_t size) MUST_CHECK;
/* Like arch_map_mmio(), but write-combining: for framebuffers. */
void *paging_map_framebuffer(hpa_t base, size_t length) MUST_CHECK;
