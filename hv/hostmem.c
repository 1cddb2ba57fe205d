#include "hv/hostmem.h"

#include "hv/arch.h"
#include "hv/lib.h"
#include "hv/panic.h"
#include "hv/spinlock.h"

#define BELOW_4G (4ull << 30)

static struct mem_map *map;
static struct spinlock lock;

void hostmem_init(struct mem_map *m)
{
    map = m;
}

void *hostmem_alloc(uint64_t size, uint64_t align, enum mem_owner_kind kind, unsigned guest)
{
    void *p = hostmem_alloc_in(size, align, 0, BELOW_4G, kind, guest);

    return p ? p : hostmem_alloc_in(size, align, 0, NEVER, kind, guest);
}

void *hostmem_alloc_in(uint64_t size, uint64_t align, uint64_t from, uint64_t limit,
                       enum mem_owner_kind kind, unsigned guest)
{
    hpa_t a;
    int rc;

    spin_lock(&lock);
    rc = mem_alloc_in(map, align_up(size, PAGE_SIZE), align, from, limit, kind, guest, &a);
    spin_unlock(&lock);
    return rc ? NULL : arch_ptr(a);
}

void *hostmem_alloc_zeroed(uint64_t size, enum mem_owner_kind kind)
{
    void *p = hostmem_alloc(size, PAGE_SIZE, kind, 0);

    if (p)
        memset(p, 0, align_up(size, PAGE_SIZE));
    return p;
}

void hostmem_free(void *p, uint64_t size)
{
    int rc;

    if (!p)
        return;
    spin_lock(&lock);
    rc = mem_free(map, arch_hpa(p), align_up(size, PAGE_SIZE));
    spin_unlock(&lock);
    if (rc)
        panic("memory at %p is given back but was not allocated", p);
}

void hostmem_set_owners(void *p, uint64_t size, unsigned guests)
{
    int rc;

    spin_lock(&lock);
    rc = mem_set_owners(map, arch_hpa(p), size, guests);
    spin_unlock(&lock);
    if (rc)
        panic("memory at %p is not a region that guests share", p);
}

uint64_t hostmem_free_bytes(void)
{
    uint64_t n;

    spin_lock(&lock);
    n = map->bytes[MEM_FREE];
    spin_unlock(&lock);
    return n;
}

uint64_t hostmem_largest(void)
{
    uint64_t n;

    spin_lock(&lock);
    n = mem_largest(map, PAGE_SIZE_2M);
    spin_unlock(&lock);
    return n;
}

void hostmem_account(struct abi_memory *m)
{
    uint64_t bytes[MEM_KINDS];

    spin_lock(&lock);
    memcpy(bytes, map->bytes, sizeof(bytes));
    spin_unlock(&lock);
    m->largest_free = hostmem_largest(); /* by itself: others may wait for the lock */
    m->free = bytes[MEM_FREE];
    m->host = bytes[MEM_HOST];
    m->modules = bytes[MEM_MODULE];
    m->shared = bytes[MEM_SHARED];
    m->guests = bytes[MEM_GUEST];
    m->tables = bytes[MEM_FOR_GUEST];
    m->images = bytes[MEM_IMAGE];
    m->regions = bytes[MEM_REGION];
    m->reserved = bytes[MEM_RESERVED];
    m->total =
        m->free + m->host + m->modules + m->shared + m->guests + m->tables + m->images + m->regions;
}

bool hostmem_find(hpa_t a, struct mem_range *out)
{
    const struct mem_range *r;

    spin_lock(&lock);
    r = mem_find(map, a);
    if (r)
        *out = *r;
    spin_unlock(&lock);
    return r;
}
