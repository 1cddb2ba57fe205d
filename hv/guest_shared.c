/*
 * Memory that guests share. A region exists as long as any guest has it: the first one's deployment
 * takes its memory, and the last one's deletion scrubs and frees it. It keeps its contents while
 * its guests start and end.
 */
#include "hv/core.h"
#include "hv/guest_life.h"
#include "hv/hostmem.h"
#include "hv/job.h"
#include "hv/lib.h"
#include "hv/panic.h"
#include "hv/pc/platform.h"
#include "hv/spinlock.h"

_Static_assert(CONFIG_GUEST_SHARED_MAX == IVSHMEM_MAX, "each is a device");

#define REGIONS  (2u * CONFIG_SHARED_MAX) /* as many again may just be scrubbed */
#define WINDOW   PAGE_SIZE_1G             /* where PCI devices' memory can be */
#define IS_CLEAR UINT32_MAX

struct shared_region {
    struct config_shared config;
    uint8_t *memory;   /* NULL: this is not in use */
    unsigned members;  /* bits: numbers of the guests that have it; under `lock` */
    bool going;        /* no guest joins any more; under `lock` */
    uint32_t clearing; /* 0: not cleared; the number, plus 1, of the guest that does; IS_CLEAR.
                          Atomic */
    struct spinlock bells;
    struct {
        struct guest *guest; /* NULL: nobody would hear it; under `bells` */
        uint32_t rung;       /* bits: vectors. Atomic */
    } peers[CONFIG_PEERS_MAX];
};

static struct shared_region regions[REGIONS];
static struct spinlock lock; /* which regions exist, and who has them */

/* ---- taken when a guest is deployed, and left when it is deleted ---- */

static bool is_same(const struct config_shared *a, const struct config_shared *b)
{
    bool same =
        strcmp(a->name, b->name) == 0 && a->size == b->size && a->peer_count == b->peer_count;

    for (unsigned i = 0; same && i < a->peer_count; i++)
        same = strcmp(a->peers[i], b->peers[i]) == 0;
    return same;
}

/* With the lock held. Of a region that exists all is fixed, its peers too. */
static void join(struct shared_region *r, unsigned guest)
{
    r->members |= 1u << guest;
    hostmem_set_owners(r->memory, r->config.size, r->members);
}

static struct shared_region *find(const char *name)
{
    for (unsigned i = 0; i < REGIONS; i++)
        if (regions[i].memory && !regions[i].going && strcmp(regions[i].config.name, name) == 0)
            return &regions[i];
    return NULL;
}

/* -E_NOENT: no such region exists. */
static int join_existing(struct guest *g, unsigned n)
{
    const struct config_shared *s = &g->config.shared[n];
    struct shared_region *r;
    bool same;

    spin_lock(&lock);
    r = find(s->name);
    same = r && is_same(&r->config, s);
    if (same)
        join(r, g->number);
    spin_unlock(&lock);
    if (same)
        g->shared[n] = r;
    return same ? 0 : r ? -E_INVAL : -E_NOENT;
}

/* Only the management guest's core makes regions. */
static int make(struct guest *g, unsigned n)
{
    const struct config_shared *s = &g->config.shared[n];
    struct shared_region *r = NULL;
    uint8_t *memory;

    for (unsigned i = 0; !r && i < REGIONS; i++)
        if (!__atomic_load_n(&regions[i].memory, __ATOMIC_ACQUIRE))
            r = &regions[i];
    job_rest();
    memory = r ? hostmem_alloc(s->size, PAGE_SIZE_2M, MEM_REGION, 0) : NULL;
    job_rest();
    if (!memory)
        return -E_NOMEM;
    *r = (struct shared_region){.config = *s, .memory = memory};
    spin_lock(&lock);
    join(r, g->number);
    spin_unlock(&lock);
    g->shared[n] = r;
    return 0;
}

int guest_take_shared(struct guest *g)
{
    for (unsigned i = 0; i < g->config.shared_count; i++) {
        int rc = join_existing(g, i);

        job_rest();
        if (rc == -E_NOENT)
            rc = make(g, i);
        job_rest();
        if (rc) {
            guest_leave_shared(g);
            return rc;
        }
    }
    return 0;
}

/* True: it was the last one. Only one that leaves finds this, however many do at once. */
static bool leave(struct shared_region *r, unsigned guest)
{
    uint32_t mine = guest + 1;
    bool last;

    (void)__atomic_compare_exchange_n(&r->clearing, &mine, 0, false, __ATOMIC_RELEASE,
                                      __ATOMIC_RELAXED);
    spin_lock(&lock);
    r->members &= ~(1u << guest);
    last = r->going = r->members == 0;
    hostmem_set_owners(r->memory, r->config.size, r->members);
    spin_unlock(&lock);
    return last;
}

static void discard(struct shared_region *r)
{
    if (__atomic_load_n(&r->clearing, __ATOMIC_ACQUIRE)) /* otherwise no guest has ever seen it */
        job_clear(r->memory, r->config.size);
    hostmem_free(r->memory, r->config.size);
    job_rest();
    __atomic_store_n(&r->memory, NULL, __ATOMIC_RELEASE);
}

/* From now on nobody rings for it. */
static void disconnect(struct shared_region *r, const struct guest *g)
{
    spin_lock(&r->bells);
    for (unsigned i = 0; i < CONFIG_PEERS_MAX; i++)
        if (r->peers[i].guest == g)
            r->peers[i].guest = NULL;
    spin_unlock(&r->bells);
}

void guest_leave_shared(struct guest *g)
{
    for (unsigned i = 0; i < CONFIG_GUEST_SHARED_MAX; i++) {
        struct shared_region *r = g->shared[i];

        g->shared[i] = NULL;
        job_rest();
        if (!r)
            continue;
        disconnect(r, g);
        if (leave(r, g->number))
            discard(r);
    }
}

/* ---- calls from its devices ---- */

static void place(struct guest *g, unsigned n, uint64_t at, bool mapped)
{
    const struct shared_region *r = g->shared[n];

    if (virt_backend()->place(g, gpa(at), arch_hpa(r->memory), r->config.size, mapped))
        panic("region %s of guest %s cannot be at 0x%lx", r->config.name, g->config.name, at);
}

/* Other cores may use the old place until they have been kicked: it is the same memory. */
static void on_place(void *ctx, unsigned n, uint64_t from, uint64_t to)
{
    struct guest *g = ctx;

    if (from) {
        place(g, n, from, false);
        (void)guest_flush(g);
    }
    if (to)
        place(g, n, to, true);
}

/* A bit that is already set needs no more: its guest looks, or will look when it is live. */
static void on_ring(void *ctx, unsigned n, unsigned peer, unsigned vector)
{
    const struct guest *g = ctx;
    struct shared_region *r = g->shared[n];
    struct guest *to;

    if (peer >= r->config.peer_count)
        return;
    spin_lock(&r->bells);
    to = r->peers[peer].guest;
    if (to &&
        !(__atomic_fetch_or(&r->peers[peer].rung, 1u << vector, __ATOMIC_ACQ_REL) >> vector & 1))
        guest_tell(to, GUEST_REQ_RING);
    spin_unlock(&r->bells);
}

/* ---- being made: a job of the guest's ---- */

/* Its first guest clears it; others wait. A guest that is deleted meanwhile leaves that to them. */
static void wait_until_clear(struct shared_region *r, const struct guest *g)
{
    uint32_t who;

    while ((who = __atomic_load_n(&r->clearing, __ATOMIC_ACQUIRE)) != IS_CLEAR) {
        if (who == 0 && __atomic_compare_exchange_n(&r->clearing, &who, g->number + 1, false,
                                                    __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
            job_clear(r->memory, r->config.size);
            __atomic_store_n(&r->clearing, IS_CLEAR, __ATOMIC_RELEASE);
        }
        job_rest();
        __builtin_ia32_pause();
    }
}

/* Largest first, so that each is at a multiple of its size. */
static uint64_t home_of(const struct guest_config *c, unsigned n)
{
    uint64_t at = PCI_MEMORY;

    for (unsigned i = 0; i < c->shared_count; i++)
        if (c->shared[i].size > c->shared[n].size ||
            (i < n && c->shared[i].size == c->shared[n].size))
            at += c->shared[i].size;
    return at;
}

static void make_device(struct guest *g, unsigned n)
{
    struct shared_region *r = g->shared[n];
    unsigned id = (unsigned)config_shared_id(&r->config, g->config.name);
    const struct ivshmem_setup setup = {.number = n,
                                        .id = id,
                                        .memory = r->memory,
                                        .size = (uint32_t)r->config.size,
                                        .home = home_of(&g->config, n),
                                        .rung = &r->peers[id].rung,
                                        .ctx = g,
                                        .place = on_place,
                                        .ring = on_ring};

    ivshmem_init(&g->platform.shared[n], &setup);
    place(g, n, setup.home, true);
    spin_lock(&r->bells);
    r->peers[id].guest = g;
    spin_unlock(&r->bells);
}

const char *guest_make_shared(struct guest *g)
{
    if (g->config.shared_count && virt_backend()->prepare(g, gpa(PCI_MEMORY), WINDOW))
        return "out of host memory for translation tables";
    for (unsigned i = 0; i < g->config.shared_count; i++) {
        wait_until_clear(g->shared[i], g);
        make_device(g, i);
        job_rest();
    }
    return NULL;
}
