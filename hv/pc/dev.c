#include "hv/pc/dev.h"

#include "hv/lib.h"

int io_claim(struct io_bus *b, uint16_t first, uint16_t last, const struct io_ops *ops, void *dev)
{
    if (first > last || last >= IO_DIRECT)
        return -E_RANGE;
    if (b->count >= IO_REGIONS_MAX)
        return -E_NOSPC;
    for (unsigned p = first; p <= last; p++)
        if (b->index[p])
            return -E_EXIST;
    b->regions[b->count] = (struct io_region){ops, dev, first, last};
    b->count++;
    memset(&b->index[first], (int)b->count, last - first + 1u);
    return 0;
}
