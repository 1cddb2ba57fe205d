/*
 * Host physical memory: who owns which range. Pure: works on a table that the caller fills from the
 * firmware's map. Every allocation has an owner, and the EPT audit checks every mapping against it.
 * Start-up and guest creation only; the caller holds mem_lock where more than one core can call.
 */
#pragma once

#include "hv/types.h"

#define MEM_RANGES_MAX 512
#define MEM_SPARE      4 /* ranges: for what is given back at start-up although it counts as kept */

enum mem_owner_kind {
    MEM_FREE,      /* RAM nobody owns */
    MEM_RESERVED,  /* firmware, ACPI, devices, holes with a type */
    MEM_HOST,      /* kernel image, stacks, tables */
    MEM_MODULE,    /* boot modules as GRUB left them */
    MEM_SHARED,    /* host pages that the management guest may read (control ABI) */
    MEM_GUEST,     /* RAM of guest number `guest` */
    MEM_IMAGE,     /* uploaded images: the management guest has them mapped */
    MEM_FOR_GUEST, /* what the root has for guest number `guest`: tables, control structures, frames
                    */
    MEM_KINDS
};

struct mem_range {
    uint64_t base, size; /* bytes, page-aligned */
    enum mem_owner_kind kind;
    unsigned guest; /* with MEM_GUEST and MEM_FOR_GUEST */
};

/* Sorted by base, no overlaps; addresses in no range do not exist. */
struct mem_map {
    struct mem_range ranges[MEM_RANGES_MAX];
    unsigned count;
    unsigned loose; /* pieces of MEM_GUEST, MEM_FOR_GUEST and MEM_IMAGE that mem_alloc gave */
};

/* Adds a range of the firmware's map (later calls override the overlapped part of earlier ones: add
 * free RAM first, then what is reserved). Free ranges are rounded inwards to pages, all others
 * outwards. -E_NOSPC when the table is full. */
int mem_add(struct mem_map *m, uint64_t base, uint64_t size, enum mem_owner_kind kind,
            unsigned guest) MUST_CHECK;

/* First fit, from the top of memory down, never below 1 MB and never at or above `limit`. `size`
 * and `align` are multiples of PAGE_SIZE, align a power of two. The memory is not cleared.
 * -E_NOMEM; -E_NOSPC: the table could not hold it together with all that may be given back. */
int mem_alloc(struct mem_map *m, uint64_t size, uint64_t align, uint64_t limit,
              enum mem_owner_kind kind, unsigned guest, hpa_t *out) MUST_CHECK;

/* Gives back what mem_alloc gave, whole. Never fails for want of room. -E_INVAL, the caller's fault
 * alone: [base, base + size) is not one owner's. */
int mem_free(struct mem_map *m, hpa_t base, uint64_t size) MUST_CHECK;

/* The range that holds `a`, or NULL. */
const struct mem_range *mem_find(const struct mem_map *m, hpa_t a);

/* Bytes owned by a kind (all guests together). */
uint64_t mem_total(const struct mem_map *m, enum mem_owner_kind kind);

/* The same of every kind, by its number. */
void mem_totals(const struct mem_map *m, uint64_t bytes[MEM_KINDS]);

/* Largest free run that mem_alloc could give with this alignment, in bytes. */
uint64_t mem_largest(const struct mem_map *m, uint64_t align);
