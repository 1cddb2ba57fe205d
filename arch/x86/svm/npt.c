#include "arch/x86/svm/npt.h"

#include "hv/job.h"

#define PTE_RW (1ull << 1)
#define PTE_US (1ull << 2) /* a nested walk is a user access */
#define PTE_NX (1ull << 63)

/* What a leaf has beside its address. */
static uint64_t leaf_bits(unsigned perm, unsigned level)
{
    return NESTED_PRESENT | PTE_US | (perm & NESTED_WRITE ? PTE_RW : 0) |
           (perm & NESTED_EXECUTE ? 0 : PTE_NX) | (level > 1 ? NESTED_LARGE : 0);
}

static unsigned perm_of(uint64_t leaf)
{
    return NESTED_READ | (leaf & PTE_RW ? NESTED_WRITE : 0) | (leaf & PTE_NX ? 0 : NESTED_EXECUTE);
}

int npt_init(struct nested *t, bool page_1g, void *(*alloc)(void *ctx), void *ctx)
{
    *t = (struct nested){.page_1g = page_1g, .alloc = alloc, .ctx = ctx, .perm = perm_of};
    return nested_init(t);
}

int npt_map(struct nested *t, gpa_t gpa, hpa_t hpa, uint64_t size, unsigned perm)
{
    uint64_t g = gpa.v, h = hpa.v;

    if (!nested_is_valid(gpa, hpa, size, perm))
        return -E_INVAL;
    while (size > 0) {
        unsigned level = nested_best_level(t->page_1g ? 3 : 2, g, h, size);
        int rc = nested_set(t, g, level, h | leaf_bits(perm, level));

        if (rc)
            return rc;
        g += nested_span(level);
        h += nested_span(level);
        size -= nested_span(level);
        job_rest();
    }
    return 0;
}

int npt_place(struct nested *t, gpa_t gpa, hpa_t hpa, uint64_t size, unsigned perm)
{
    if (perm >= NESTED_EXECUTE || (perm && !(perm & NESTED_READ)))
        return -E_INVAL;
    return nested_place(t, gpa, hpa, size, perm ? leaf_bits(perm, 2) : 0);
}
