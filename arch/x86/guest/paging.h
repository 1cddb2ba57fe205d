/*
 * Walks a guest's page tables, for the few instructions that the root must fetch or whose memory
 * operand it must reach. SDM 3A "Paging". Pure; all tables are hostile.
 */
#pragma once

#include "hv/gmem.h"
#include "hv/types.h"

/* The registers that control paging. PAE's four entries are CPU registers. */
struct paging {
    uint64_t cr0, cr3, cr4, efer;
    uint64_t pdpte[4];
    unsigned cpl;
    bool ac;                 /* RFLAGS.AC: lifts SMAP */
    unsigned physical_width; /* bits; a larger address in a table faults */
};

/* Error code of a page fault. */
#define PF_PRESENT  (1u << 0)
#define PF_WRITE    (1u << 1)
#define PF_USER     (1u << 2)
#define PF_RESERVED (1u << 3)
#define PF_FETCH    (1u << 4)

/* Translates a canonical linear address to a guest-physical one. `access`: 0 for a read, PF_WRITE
 * or PF_FETCH. 0; -E_PERM: page fault with *error; -E_RANGE: a table's entry at *gpa is outside the
 * guest's memory. Sets accessed and dirty bits as the CPU does. */
int paging_translate(const struct paging *p, const struct gmem *m, uint64_t linear, uint32_t access,
                     uint64_t *gpa, uint32_t *error) MUST_CHECK;
