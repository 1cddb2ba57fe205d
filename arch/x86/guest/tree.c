#include "arch/x86/guest/tree.h"

#include "hv/exit.h"
#include "hv/fmt.h"
#include "hv/hostmem.h"

void *x86_alloc_table(void *ctx)
{
    return guest_alloc_page(ctx);
}

void x86_guest_free(struct guest *g)
{
    g->backend = NULL;
}

int x86_map(struct guest *g, gpa_t gpa, hpa_t hpa, uint64_t size, enum map_perm perm)
{
    return nested_map(g->backend, gpa, hpa, size, (unsigned)perm);
}

int x86_unmap(struct guest *g, gpa_t gpa, uint64_t size)
{
    return nested_unmap(g->backend, gpa, size);
}

int x86_prepare(struct guest *g, gpa_t gpa, uint64_t size)
{
    return nested_prepare(g->backend, gpa, size);
}

int x86_place(struct guest *g, gpa_t gpa, hpa_t hpa, uint64_t size, bool mapped)
{
    return nested_place(g->backend, gpa, hpa, size, mapped ? NESTED_READ | NESTED_WRITE : 0);
}

/* ---- the audit ---- */

struct audit {
    const struct guest *guest;
    char *text;
    size_t size;
};

/* May the guest have `m`, which is in `r`? */
static bool may_map(const struct audit *a, const struct mem_range *r,
                    const struct nested_mapping *m)
{
    const struct guest *g = a->guest;
    const struct nested *t = g->backend;

    switch (r->kind) {
    case MEM_GUEST:
        return r->guest == g->number;
    case MEM_FOR_GUEST:
        return r->guest == g->number && t->is_backends && t->is_backends(t, m);
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

int x86_audit(const struct guest *g, char *text, size_t text_size)
{
    struct audit a = {g, text, text_size};

    return nested_walk(g->backend, audit_page, &a);
}
