#include "arch/x86/guest/audit.h"

#include "hv/fmt.h"
#include "hv/hostmem.h"

struct audit {
    const struct guest *guest;
    bool (*is_backends)(const struct guest *g, const struct nested_mapping *m);
    char *text;
    size_t size;
};

/* May the guest have `m`, which is in `r`? */
static bool may_map(const struct audit *a, const struct mem_range *r,
                    const struct nested_mapping *m)
{
    const struct guest *g = a->guest;

    switch (r->kind) {
    case MEM_GUEST:
        return r->guest == g->number;
    case MEM_FOR_GUEST:
        return r->guest == g->number && a->is_backends && a->is_backends(g, m);
    case MEM_SHARED:
    case MEM_MODULE:
        return g->management && m->perm == NESTED_READ;
    case MEM_REGION:
        return mem_is_owner(r, g->number) && !(m->perm & NESTED_EXECUTE);
    case MEM_IMAGE:
        return g->management && !(m->perm & NESTED_EXECUTE);
    default:
        return false;
    }
}

/* A page may span several ranges of the owner map: all are checked. */
static int audit_page(void *ctx, const struct nested_mapping *m)
{
    const struct audit *a = ctx;
    uint64_t at = m->hpa, end = m->hpa + m->size;

    while (at < end) {
        struct mem_range r = {0};

        if (!hostmem_find(hpa(at), &r) || !may_map(a, &r, m)) {
            (void)fmt(a->text, a->size, "0x%lx maps to host 0x%lx, which is not the guest's",
                      m->gpa, at);
            return -E_PERM;
        }
        at = r.base + r.size;
    }
    return 0;
}

int audit_nested(const struct guest *g, const struct nested *t,
                 bool (*is_backends)(const struct guest *g, const struct nested_mapping *m),
                 char *text, size_t text_size)
{
    struct audit a = {g, is_backends, text, text_size};

    return nested_walk(t, audit_page, &a);
}
