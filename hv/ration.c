#include "hv/ration.h"

void ration_init(struct ration *r, uint32_t share, uint32_t whole)
{
    r->cost = ((uint64_t)whole << 32) / share;
    r->next = 0;
}

void ration_charge(struct ration *r, uint64_t start, uint64_t now)
{
    uint64_t pause = (uint64_t)(((unsigned __int128)(now - start) * r->cost) >> 32);

    __atomic_store_n(&r->next, start + pause, __ATOMIC_SEQ_CST);
}
