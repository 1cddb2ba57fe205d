#include "hv/gmem.h"

/* The host address of `a`, and in *left how many bytes its range has from there; NULL: not RAM. */
static uint8_t *find(const struct gmem *m, uint64_t a, uint64_t *left)
{
    for (unsigned i = 0; i < gmem_range_count(m); i++) {
        const struct gmem_range r = gmem_range(m, i);

        if (a >= r.gpa && a - r.gpa < r.size) {
            *left = r.size - (a - r.gpa);
            return r.base + (a - r.gpa);
        }
    }
    return NULL;
}

void *gmem_ptr_in_more(const struct gmem *m, gpa_t a, uint64_t len)
{
    uint64_t left = 0;
    uint8_t *p = find(m, a.v, &left);

    return p && len <= left ? p : NULL;
}

bool gmem_has(const struct gmem *m, gpa_t a, uint64_t len)
{
    if (gmem_ptr(m, a, len))
        return true;
    /* At most one step for each range. */
    while (len) {
        uint64_t left = 0;

        if (!find(m, a.v, &left))
            return false;
        left = min_u64(left, len);
        a.v += left;
        len -= left;
    }
    return m->more_count;
}

/* Copies to or from guest memory, range by range. */
static int move_pieces(const struct gmem *m, gpa_t a, uint8_t *to, const uint8_t *from, size_t len)
{
    if (!gmem_has(m, a, len))
        return -E_RANGE;
    for (size_t done = 0; done < len;) {
        uint64_t n = 0;
        uint8_t *p = find(m, a.v + done, &n);

        n = min_u64(n, len - done);
        memcpy(to ? to + done : p, to ? p : from + done, n);
        done += n;
    }
    return 0;
}

int gmem_read_pieces(const struct gmem *m, gpa_t a, void *dst, size_t len)
{
    return move_pieces(m, a, dst, NULL, len);
}

int gmem_write_pieces(const struct gmem *m, gpa_t a, const void *src, size_t len)
{
    return move_pieces(m, a, NULL, src, len);
}
