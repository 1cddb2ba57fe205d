/*
 * Reaches the bytes of a guest's memory operand: segment, page tables, alignment. They may cross a
 * page boundary, and lie in the guest's RAM or outside. Pure.
 */
#pragma once

#include "arch/x86/guest/paging.h"
#include "arch/x86/guest/segment.h"
#include "hv/gmem.h"
#include "hv/types.h"

/* What all accesses of one instruction depend on. */
struct operand_space {
    struct paging paging;
    enum segment_mode mode;
    const struct gmem *mem;
};

/* A translation that is known: of the last access, or from the CPU. May be used again like a TLB
 * entry: a guest that changes a translation in between has not flushed its TLB. */
struct operand_page {
    bool known, writable;
    uint64_t linear, gpa; /* of the page */
};

struct operand {
    uint64_t linear;
    unsigned size;
    struct operand_part {
        unsigned bytes; /* 0: there is no second part */
        uint8_t *at;    /* host address; NULL: outside of the guest's RAM */
        uint64_t gpa;
    } part[2];
};

enum operand_result {
    OPERAND_REACHED,
    OPERAND_FAULT, /* *f is the guest's */
    OPERAND_TABLE  /* f->address is that of a page-table entry outside of the guest's RAM */
};

/* Finds all `size` bytes (1 to 8) at `offset` before any is touched. */
enum operand_result operand_reach(struct operand *o, const struct operand_space *s,
                                  const struct segment *segment, enum segment_id id,
                                  uint64_t offset, unsigned size, bool write,
                                  struct operand_page *page, struct guest_fault *f) MUST_CHECK;
/* The same in few steps, for a flat segment and a page that is known. False: see operand_reach().
 */
static inline bool operand_reach_known(struct operand *o, const struct operand_space *s,
                                       uint64_t linear, unsigned size, bool write,
                                       const struct operand_page *page)
{
    uint64_t offset = linear - page->linear;

    if (s->mode != SEGMENT_LONG || !page->known || offset > PAGE_SIZE - size ||
        (write && !page->writable) || s->paging.cpl == 3)
        return false;
    *o = (struct operand){linear, size, {{.bytes = size, .gpa = page->gpa + offset}}};
    o->part[0].at = gmem_ptr(s->mem, gpa(o->part[0].gpa), size);
    return true;
}
/* The same for instruction bytes at a linear address, in one page. */
enum operand_result operand_fetch(const struct operand_space *s, uint64_t linear,
                                  struct operand_part *part, struct guest_fault *f) MUST_CHECK;
