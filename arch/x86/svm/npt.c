#include "arch/x86/svm/npt.h"

#define PTE_RW (1ull << 1)
#define PTE_US (1ull << 2) /* a nested walk is a user access */
#define PTE_NX (1ull << 63)

static uint64_t bits_of(const struct nested *t, unsigned perm, unsigned level)
{
    (void)t;
    return NESTED_PRESENT | PTE_US | (perm & NESTED_WRITE ? PTE_RW : 0) |
           (perm & NESTED_EXECUTE ? 0 : PTE_NX) | (level > 1 ? NESTED_LARGE : 0);
}

static unsigned perm_of(uint64_t leaf)
{
    return NESTED_READ | (leaf & PTE_RW ? NESTED_WRITE : 0) | (leaf & PTE_NX ? 0 : NESTED_EXECUTE);
}

int npt_init(struct nested *t, bool page_1g, void *(*alloc)(void *ctx), void *ctx)
{
    *t = (struct nested){
        .page_1g = page_1g, .alloc = alloc, .ctx = ctx, .bits = bits_of, .perm = perm_of};
    return nested_init(t);
}
