/*
 * Address space identifiers: which ASID a vCPU enters with, and which translations that entry
 * flushes. APM vol. 2 "TLB Management", "TLB Control". Pure: a core has a pool, each vCPU of the
 * core takes its ASID from that.
 */
#pragma once

#include "arch/x86/svm/svm.h"
#include "hv/types.h"

struct asid_pool {
    uint64_t generation; /* counts the flushes of all ASIDs */
    uint32_t next;       /* the next one that nobody has used in this generation */
    uint32_t count;      /* ASIDs of the CPU, with the root's own, 0 */
    bool by_asid;        /* the CPU can flush a single one */
};

struct asid {
    uint64_t generation; /* of the pool when it was taken; 0: none is taken */
    uint32_t id;
    bool stale; /* the CPU may have translations that are no longer true */
};

static inline void asid_pool_init(struct asid_pool *p, uint32_t count, bool by_asid)
{
    /* The first one flushes what was there before. */
    *p = (struct asid_pool){.generation = 1, .next = count, .count = count, .by_asid = by_asid};
}

/* After a change that the TLB does not reflect. */
static inline void asid_flush(struct asid *a)
{
    a->stale = true;
}

/* True if the vCPU can enter with its ASID as it is. */
static inline bool asid_is_current(const struct asid_pool *p, const struct asid *a)
{
    return a->generation == p->generation && !a->stale;
}

/* Before an entry: gives the vCPU an ASID without stale translations. Returns the TLB_CONTROL of
 * that entry, and of no later one. */
static inline uint8_t asid_take(struct asid_pool *p, struct asid *a)
{
    uint8_t control = TLB_DO_NOTHING;

    if (asid_is_current(p, a))
        return control;
    if (a->generation == p->generation && p->by_asid) {
        control = TLB_FLUSH_ASID;
    } else {
        if (p->next >= p->count) {
            p->generation++;
            p->next = 1;
            control = TLB_FLUSH_ALL;
        }
        a->id = p->next++;
        a->generation = p->generation;
    }
    a->stale = false;
    return control;
}
