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

/* What the translation of a fetch rests on. */
struct paging_trail {
    struct paging p;
    unsigned levels;       /* of the tables; 0: no paging */
    const uint64_t *at[4]; /* host addresses of the entries */
    uint64_t entry[4];     /* what they were */
};

/* Finds the trail of the translation of a fetch that has just succeeded. False: there is none,
 * since the tables have other than four levels, or have changed since. */
bool paging_trace(const struct paging *p, const struct gmem *m, uint64_t linear,
                  struct paging_trail *t) MUST_CHECK;

/* The same translation still has the same result: a walk would read the same entries. While the
 * guest's RAM stays where it is. */
static inline bool paging_holds(const struct paging_trail *t, const struct paging *p)
{
    if (p->cr3 != t->p.cr3 || p->cr0 != t->p.cr0 || p->cr4 != t->p.cr4 || p->efer != t->p.efer ||
        p->cpl != t->p.cpl)
        return false;
    for (unsigned i = 0; i < t->levels; i++)
        if (__atomic_load_n(t->at[i], __ATOMIC_RELAXED) != t->entry[i])
            return false;
    return true;
}
