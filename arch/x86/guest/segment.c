#include "arch/x86/guest/segment.h"

static bool type_allows(const struct segment *s, bool write)
{
    if (s->rights & SEGMENT_RIGHTS_NULL)
        return false;
    if (s->rights & SEGMENT_TYPE_CODE)
        return !write && (s->rights & SEGMENT_TYPE_WRITE);
    return !write || (s->rights & SEGMENT_TYPE_WRITE);
}

/* An access that wraps around 32-bit offsets is also beyond the limit; CPUs may do either. */
static bool within_limit(const struct segment *s, uint64_t offset, unsigned size)
{
    uint64_t last = offset + size - 1;
    bool down = (s->rights & (SEGMENT_TYPE_CODE | SEGMENT_TYPE_DOWN)) == SEGMENT_TYPE_DOWN;

    if (down)
        return offset > s->limit && last <= (s->rights & SEGMENT_RIGHTS_DB ? UINT32_MAX : 0xffff);
    return last <= s->limit;
}

bool segment_reach(const struct segment *s, enum segment_id id, enum segment_mode mode,
                   uint64_t offset, unsigned size, bool write, uint64_t *linear,
                   struct guest_fault *f)
{
    bool good;

    if (mode == SEGMENT_LONG) {
        *linear = offset + (id == SEGMENT_FS || id == SEGMENT_GS ? s->base : 0);
        good = address_is_canonical(*linear) && address_is_canonical(*linear + size - 1);
    } else {
        *linear = (uint32_t)(s->base + offset);
        good = within_limit(s, offset, size) && (mode == SEGMENT_REAL || type_allows(s, write));
    }
    if (!good)
        *f = (struct guest_fault){.vector = id == SEGMENT_SS && mode != SEGMENT_LONG ? VECTOR_SS
                                                                                     : VECTOR_GP};
    return good;
}
