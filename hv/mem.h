/*
 * Host physical memory: who owns which range. Pure: works on a table that the caller fills from the
 * firmware's map. Every allocation has an owner, and the EPT audit checks every mapping against it.
 * hostmem.c's lock protects it once more than one core can call.
 */
#pragma once

#include "hv/types.h"

#define MEM_RANGES_MAX 512
#define MEM_SPARE      4 /* ranges: for what start-up frees although it counts as kept */

enum mem_owner_kind {
    MEM_FREE,      /* RAM without an owner */
    MEM_RESERVED,  /* firmware, ACPI, devices, holes with a type */
    MEM_HOST,      /* kernel image, stacks, tables */
    MEM_MODULE,    /* boot modules as GRUB left them */
    MEM_SHARED,    /* host pages that the management guest may read (control ABI) */
    MEM_GUEST,     /* RAM of guest number `guest` */
    MEM_IMAGE,     /* uploaded images: the management guest has them mapped */
    MEM_REGION,    /* memory that guests share: `guest` has a bit for each that may map it */
    MEM_FOR_GUEST, /* the root's memory for guest number `guest`: tables, control structures, frames
                    */
    MEM_KINDS
};

struct mem_range {
    uint64_t base, size; /* bytes, page-aligned */
    enum mem_owner_kind kind;
    unsigned guest; /* with MEM_GUEST and MEM_FOR_GUEST: its number; with MEM_REGION: bits */
};

/* Sorted by base, no overlaps; addresses in no range do not exist. */
struct mem_map {
    struct mem_range ranges[MEM_RANGES_MAX];
    unsigned count;
    unsigned loose; /* allocations of MEM_GUEST, MEM_FOR_GUEST, MEM_REGION and MEM_IMAGE */
    uint64_t bytes[MEM_KINDS]; /* of each kind, all guests together */
};

/* Adds a range of the firmware's map (later calls override the overlapped part of earlier ones: add
 * free RAM first, then what is reserved). Free ranges are rounded inwards to pages, all others
 * outwards. -E_NOSPC when the table is full. */
int mem_add(struct mem_map *m, uint64_t base, uint64_t size, enum mem_owner_kind kind,
            unsigned guest) MUST_CHECK;

/* First fit, from the top of [from, limit) down, never below 1 MB. `size` and `align` are multiples
 * of PAGE_SIZE, align a power of two. The memory is not cleared.
 * -E_NOMEM; -E_NOSPC: the table could not hold it and everything that may still be freed. */
int mem_alloc_in(struct mem_map *m, uint64_t size, uint64_t align, uint64_t from, uint64_t limit,
                 enum mem_owner_kind kind, unsigned guest, hpa_t *out) MUST_CHECK;
/* The same from 0 on. */
int mem_alloc(struct mem_map *m, uint64_t size, uint64_t align, uint64_t limit,
              enum mem_owner_kind kind, unsigned guest, hpa_t *out) MUST_CHECK;

/* Frees a whole allocation. Never fails for lack of room. -E_INVAL, only by the caller's fault:
 * [base, base + size) is not one owner's. */
int mem_free(struct mem_map *m, hpa_t base, uint64_t size) MUST_CHECK;

/* From now on these guests, a bit each, may map an allocation of MEM_REGION. -E_INVAL, only by the
 * caller's fault: it is none. */
int mem_set_owners(struct mem_map *m, hpa_t base, uint64_t size, unsigned guests) MUST_CHECK;
/* True if the guest may map this range of MEM_REGION. */
static inline bool mem_is_owner(const struct mem_range *r, unsigned guest)
{
    return r->guest >> guest & 1;
}

/* The range that holds `a`, or NULL. */
const struct mem_range *mem_find(const struct mem_map *m, hpa_t a);

/* Largest free run that mem_alloc could give with this alignment, in bytes. */
uint64_t mem_largest(const struct mem_map *m, uint64_t align);
