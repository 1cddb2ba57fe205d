#include "arch/x86/guest/operand.h"

#include "arch/x86/cpu/regs.h"

static enum operand_result translate(const struct operand_space *s, uint64_t linear,
                                     uint32_t access, uint64_t *gpa, struct guest_fault *f)
{
    uint32_t error;
    int rc = paging_translate(&s->paging, s->mem, linear, access, gpa, &error);

    if (rc == 0)
        return OPERAND_REACHED;
    if (rc == -E_PERM) {
        *f = (struct guest_fault){.vector = VECTOR_PF, .error = error, .address = linear};
        return OPERAND_FAULT;
    }
    *f = (struct guest_fault){.address = *gpa};
    return OPERAND_TABLE;
}

static enum operand_result find(const struct operand_space *s, uint64_t linear, bool write,
                                struct operand_page *page, struct operand_part *part,
                                struct guest_fault *f)
{
    uint64_t offset = linear % PAGE_SIZE;

    if (!page->known || page->linear != linear - offset || (write && !page->writable)) {
        enum operand_result r = translate(s, linear, write ? PF_WRITE : 0, &part->gpa, f);

        if (r != OPERAND_REACHED)
            return r;
        *page = (struct operand_page){true, write, linear - offset, part->gpa - offset};
    }
    part->gpa = page->gpa + offset;
    part->at = gmem_ptr(s->mem, gpa(part->gpa), part->bytes);
    return OPERAND_REACHED;
}

/* SDM 3A "Alignment Check Exception". */
static bool misaligned(const struct operand_space *s, uint64_t linear, unsigned size)
{
    return s->paging.cpl == 3 && (s->paging.cr0 & CR0_AM) && s->paging.ac && (linear & (size - 1));
}

enum operand_result operand_reach(struct operand *o, const struct operand_space *s,
                                  const struct segment *segment, enum segment_id id,
                                  uint64_t offset, unsigned size, bool write,
                                  struct operand_page *page, struct guest_fault *f)
{
    enum operand_result r = OPERAND_REACHED;
    uint64_t linear, left;

    if (!segment_reach(segment, id, s->mode, offset, size, write, &linear, f))
        return OPERAND_FAULT;
    left = PAGE_SIZE - linear % PAGE_SIZE;
    o->linear = linear;
    o->size = size;
    o->part[0].bytes = (unsigned)min_u64(size, left);
    o->part[1].bytes = size - o->part[0].bytes;
    for (unsigned i = 0; i < 2 && o->part[i].bytes && r == OPERAND_REACHED; i++) {
        r = find(s, linear, write, page, &o->part[i], f);
        linear = s->mode == SEGMENT_LONG ? linear + left : (uint32_t)(linear + left);
    }
    if (r == OPERAND_REACHED && __builtin_expect(misaligned(s, o->linear, size), 0)) {
        *f = (struct guest_fault){.vector = VECTOR_AC};
        r = OPERAND_FAULT;
    }
    return r;
}

enum operand_result operand_fetch(const struct operand_space *s, uint64_t linear,
                                  struct operand_part *part, struct guest_fault *f)
{
    enum operand_result r = translate(s, linear, PF_FETCH, &part->gpa, f);

    part->bytes = (unsigned)(PAGE_SIZE - linear % PAGE_SIZE);
    part->at = r == OPERAND_REACHED ? gmem_ptr(s->mem, gpa(part->gpa), part->bytes) : NULL;
    return r;
}
