/*
 * The machine's memory while guests come and go: hv/mem.h's map behind a lock. Any core.
 */
#pragma once

#include "hv/abi/control.h"
#include "hv/mem.h"

/* `map` stays the caller's, and is only touched through here from then on. Boot core. */
void hostmem_init(struct mem_map *map);
/* Whole pages, below 4 GB if possible. The memory is not cleared. NULL when there is none. */
void *hostmem_alloc(uint64_t size, uint64_t align, enum mem_owner_kind kind, unsigned guest);
/* Start-up only: clearing takes its time. */
void *hostmem_alloc_zeroed(uint64_t size, enum mem_owner_kind kind);
/* Gives back what one of these gave, whole. NULL is ignored. */
void hostmem_free(void *p, uint64_t size);
/* The longest free piece with this alignment, and all that is free. */
uint64_t hostmem_largest(uint64_t align);
uint64_t hostmem_free_bytes(void);
/* Counts bytes by owner. */
void hostmem_account(struct abi_memory *m);
/* What owns this address. False: nothing that the map knows. */
bool hostmem_find(hpa_t a, struct mem_range *out);
