/*
 * The machine's memory while guests come and go: hv/mem.h's map behind a lock. Any core.
 */
#pragma once

#include "hv/abi/control.h"
#include "hv/mem.h"

/* `map` stays the caller's memory, but from then on only these functions touch it. Boot core. */
void hostmem_init(struct mem_map *map);
/* Whole pages, below 4 GB if possible. The memory is not cleared. NULL: none left. */
void *hostmem_alloc(uint64_t size, uint64_t align, enum mem_owner_kind kind, unsigned guest);
/* The same within these addresses. */
void *hostmem_alloc_in(uint64_t size, uint64_t align, uint64_t from, uint64_t limit,
                       enum mem_owner_kind kind, unsigned guest);
/* From now on these guests, a bit each, may map an allocation of MEM_REGION. */
void hostmem_set_owners(void *p, uint64_t size, unsigned guests);
/* Start-up only: clearing takes long. */
void *hostmem_alloc_zeroed(uint64_t size, enum mem_owner_kind kind);
/* Frees a whole allocation. NULL is ignored. */
void hostmem_free(void *p, uint64_t size);
uint64_t hostmem_free_bytes(void);
/* The longest free range for a guest's RAM, in bytes. Another core may take it meanwhile. */
uint64_t hostmem_largest(void);
/* Counts bytes by owner. */
void hostmem_account(struct abi_memory *m);
/* Finds the owner of this address. False: the map does not know it. */
bool hostmem_find(hpa_t a, struct mem_range *out);
