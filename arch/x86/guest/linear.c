#include "arch/x86/guest/linear.h"

#include "arch/x86/cpu/msr.h"

/* An access that may cross into a second page. */
struct span {
    uint8_t *at[2];
    size_t length[2];
};

static enum linear_result find(const struct paging *p, const struct gmem *m, uint64_t linear,
                               size_t size, bool write, uint8_t **at, struct guest_fault *f)
{
    uint64_t address;
    uint32_t error;
    int rc = paging_translate(p, m, linear, write ? PF_WRITE : 0, &address, &error);

    if (rc == -E_PERM) {
        *f = (struct guest_fault){.vector = VECTOR_PF, .error = error, .address = linear};
        return LINEAR_FAULT;
    }
    *at = rc ? NULL : gmem_ptr(m, gpa(address), size);
    if (*at)
        return LINEAR_DONE;
    *f = (struct guest_fault){.address = address};
    return LINEAR_OUTSIDE;
}

static enum linear_result reach(const struct paging *p, const struct gmem *m, uint64_t linear,
                                size_t size, bool write, struct span *s, struct guest_fault *f)
{
    enum linear_result r;
    uint64_t next;

    s->length[0] = (size_t)min_u64(size, PAGE_SIZE - linear % PAGE_SIZE);
    s->length[1] = size - s->length[0];
    r = find(p, m, linear, s->length[0], write, &s->at[0], f);
    if (r != LINEAR_DONE || s->length[1] == 0)
        return r;
    next = linear + s->length[0];
    return find(p, m, p->efer & EFER_LMA ? next : (uint32_t)next, s->length[1], write, &s->at[1],
                f);
}

enum linear_result linear_read(const struct paging *p, const struct gmem *m, uint64_t linear,
                               void *to, size_t size, struct guest_fault *f)
{
    struct span s;
    enum linear_result r = reach(p, m, linear, size, false, &s, f);

    if (r != LINEAR_DONE)
        return r;
    memcpy(to, s.at[0], s.length[0]);
    if (s.length[1])
        memcpy((uint8_t *)to + s.length[0], s.at[1], s.length[1]);
    return r;
}

enum linear_result linear_write(const struct paging *p, const struct gmem *m, uint64_t linear,
                                const void *from, size_t size, struct guest_fault *f)
{
    struct span s;
    enum linear_result r = reach(p, m, linear, size, true, &s, f);

    if (r != LINEAR_DONE)
        return r;
    memcpy(s.at[0], from, s.length[0]);
    if (s.length[1])
        memcpy(s.at[1], (const uint8_t *)from + s.length[0], s.length[1]);
    return r;
}

enum linear_result linear_can_write(const struct paging *p, const struct gmem *m, uint64_t linear,
                                    size_t size, struct guest_fault *f)
{
    struct span s;

    return reach(p, m, linear, size, true, &s, f);
}
