#include "hv/guest_pages.h"

#include "hv/arch.h"
#include "hv/core.h"
#include "hv/fmt.h"
#include "hv/guest_life.h"
#include "hv/hostmem.h"
#include "hv/job.h"
#include "hv/lib.h"
#include "hv/log.h"

static struct guest_pages shared;
static struct {
    struct spinlock status_lock, events_lock, memory_lock;
    struct number_pages {
        struct abi_guest *status;
        uint8_t *bitmaps;
        struct abi_ring *console;
        struct vcpu_pages {
            struct abi_vcpu *stats;
            struct abi_exit *exits;
            struct abi_snapshot *snapshots;
        } vcpus[ABI_VCPUS_MAX];
        unsigned vcpu_count; /* the first ones, which exist and are mapped */
    } numbers[ABI_GUESTS_MAX];
} pages;

const struct guest_pages *guest_pages(void)
{
    return &shared;
}

/* Cleared memory, unless *p exists already. */
static int take_shared(void *p, uint64_t size, uint64_t align)
{
    void *page;

    memcpy(&page, p, sizeof(page));
    if (page)
        return 0;
    page = hostmem_alloc(size, align, MEM_SHARED, 0);
    if (!page)
        return -E_NOMEM;
    job_clear(page, size);
    memcpy(p, &page, sizeof(page));
    return 0;
}

static int set_up_vcpu(struct vcpu_pages *v)
{
    int rc = take_shared(&v->stats, ABI_VCPU_SIZE, PAGE_SIZE);

    if (rc == 0)
        rc = take_shared(&v->snapshots, VCPU_SNAPSHOTS_SIZE, PAGE_SIZE);
    /* enter.asm finds the ring's end by its alignment. */
    return rc ? rc : take_shared(&v->exits, VCPU_EXITS_SIZE, 2 * VCPU_EXITS_SIZE);
}

/* What a number has besides its status page, for a guest with this vCPU. */
static int set_up_pages(struct number_pages *n, unsigned vcpu)
{
    int rc = take_shared(&n->bitmaps, virt_backend()->bitmaps_size, PAGE_SIZE);

    if (rc == 0)
        rc = take_shared(&n->console, GUEST_CONSOLE_SIZE, PAGE_SIZE);
    return rc ? rc : set_up_vcpu(&n->vcpus[vcpu]);
}

static void list_boot_modules(void)
{
    struct abi_images *p = shared.images;

    for (unsigned i = 0; i < arch_module_count() && i < ABI_BOOT_MODULES_MAX; i++) {
        (void)str_copy(p->modules[i].name, sizeof(p->modules[i].name), arch_module(i)->name);
        p->modules[i].address = ABI_MODULES_GPA + arch_hpa(arch_module(i)->data).v;
        p->modules[i].size = arch_module(i)->size;
        p->module_count++;
    }
}

/* As much of it as the machine needs. */
static uint64_t caps_size(void)
{
    return align_up(arch_core_count() * sizeof(struct abi_caps), PAGE_SIZE);
}

static uint64_t threads_size(void)
{
    return align_up(arch_thread_count() * sizeof(struct abi_thread), PAGE_SIZE);
}

int guest_pages_setup(void)
{
    int rc = 0;

    shared.host = hostmem_alloc_zeroed(ABI_HOST_SIZE, MEM_SHARED);
    shared.token = hostmem_alloc_zeroed(ABI_TOKEN_SIZE, MEM_SHARED);
    shared.keep = hostmem_alloc_zeroed(ABI_KEEP_SIZE, MEM_SHARED);
    shared.caps = hostmem_alloc_zeroed(caps_size(), MEM_SHARED);
    shared.threads = hostmem_alloc_zeroed(threads_size(), MEM_SHARED);
    shared.images = hostmem_alloc_zeroed(ABI_IMAGES_SIZE, MEM_SHARED);
    shared.events = hostmem_alloc_zeroed(ABI_EVENTS_SIZE, MEM_SHARED);
    if (!shared.host || !shared.token || !shared.keep || !shared.caps || !shared.threads ||
        !shared.images || !shared.events)
        return -E_NOMEM;
    list_boot_modules();
    for (unsigned i = 0; rc == 0 && i < ABI_GUESTS_MAX; i++)
        rc = take_shared(&pages.numbers[i].status, ABI_GUEST_SIZE, PAGE_SIZE);
    return rc;
}

static int map_shared(struct guest *m, const struct virt_ops *ops, uint64_t at, const void *p,
                      uint64_t size)
{
    return ops->map(m, gpa(at), arch_hpa(p), align_up(size, PAGE_SIZE), MAP_R);
}

/* What set_up_pages() has made. Continues where an earlier call ran out of memory. */
static int map_pages(struct guest *m, const struct virt_ops *ops, unsigned i, unsigned k)
{
    const struct number_pages *n = &pages.numbers[i];
    const struct vcpu_pages *v = &n->vcpus[k];
    const struct {
        uint64_t at;
        const void *page;
        uint64_t size;
    } parts[] = {
        {ABI_BITMAPS_GPA(i), n->bitmaps, ops->bitmaps_size},
        {ABI_CONSOLE_GPA(i), n->console, GUEST_CONSOLE_SIZE},
        {ABI_VCPU_GPA(i, k), v->stats, ABI_VCPU_SIZE},
        {ABI_EXITS_GPA(i, k), v->exits, VCPU_EXITS_SIZE},
        {ABI_SNAPSHOT_GPA(i, k), v->snapshots, VCPU_SNAPSHOTS_SIZE},
    };
    int rc = 0;

    for (unsigned p = 0; rc == 0 && p < ARRAY_LEN(parts); p++)
        for (uint64_t at = 0; rc == 0 && at < parts[p].size; at += PAGE_SIZE) {
            rc = map_shared(m, ops, parts[p].at + at, (const uint8_t *)parts[p].page + at,
                            PAGE_SIZE);
            if (rc == -E_EXIST)
                rc = 0;
        }
    return rc;
}

/* In whole pages; the last one holds nothing else. */
static int map_module(struct guest *m, const struct virt_ops *ops, const struct arch_module *k)
{
    if (k->size == 0)
        return 0;
    return map_shared(m, ops, ABI_MODULES_GPA + arch_hpa(k->data).v, k->data, k->size);
}

int guest_pages_map(struct guest *m, const struct virt_ops *ops)
{
    const struct {
        uint64_t at;
        const void *page;
        uint64_t size;
    } common[] = {
        {ABI_HOST_GPA, shared.host, ABI_HOST_SIZE},
        {ABI_TOKEN_GPA, shared.token, ABI_TOKEN_SIZE},
        {ABI_KEEP_GPA, shared.keep, ABI_KEEP_SIZE},
        {ABI_CAPS_GPA, shared.caps, caps_size()},
        {ABI_THREADS_GPA, shared.threads, threads_size()},
        {ABI_EVENTS_GPA, shared.events, ABI_EVENTS_SIZE},
        {ABI_IMAGES_PAGE_GPA, shared.images, ABI_IMAGES_SIZE},
        {ABI_LOG_GPA, log_ring(), sizeof(struct abi_ring) + ABI_LOG_RING_SIZE},
    };
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < ARRAY_LEN(common); i++)
        rc = map_shared(m, ops, common[i].at, common[i].page, common[i].size);
    for (unsigned i = 0; rc == 0 && i < ABI_GUESTS_MAX; i++)
        rc = map_shared(m, ops, ABI_GUEST_GPA(i), pages.numbers[i].status, ABI_GUEST_SIZE);
    if (rc == 0)
        rc = map_pages(m, ops, m->number, 0);
    for (unsigned i = 0; rc == 0 && i < arch_module_count(); i++)
        rc = map_module(m, ops, arch_module(i));
    return rc;
}

int guest_pages_make(unsigned number, unsigned vcpus)
{
    struct number_pages *n = &pages.numbers[number];
    struct guest *m = guest_management();
    int rc = 0;

    for (; rc == 0 && n->vcpu_count < vcpus; n->vcpu_count += rc == 0) {
        rc = set_up_pages(n, n->vcpu_count);
        if (rc == 0 && m) /* management's own are mapped when it is made */
            rc = map_pages(m, virt_backend(), number, n->vcpu_count);
    }
    return rc;
}

/* The cores of a guest's vCPUs write its status page, too; readers copy until the sequence is even
 * and unchanged. */
static void status_begin(struct guest *g)
{
    spin_lock(&pages.status_lock);
    __atomic_fetch_add(&g->status->sequence, 1, __ATOMIC_ACQ_REL);
}

static void status_end(struct guest *g)
{
    __atomic_fetch_add(&g->status->sequence, 1, __ATOMIC_RELEASE);
    spin_unlock(&pages.status_lock);
}

static void fill_status(struct guest *g)
{
    struct abi_guest *s = g->status;

    s->state = ABI_GUEST_STARTING;
    s->number = g->number;
    s->core = g->life.entity.core;
    s->vcpu_count = g->vcpu_count;
    s->config = g->config;
}

static void take_vcpu(struct vcpu *v, const struct vcpu_pages *p)
{
    uint32_t guest = v->guest->number;

    v->stats = p->stats;
    v->exits = p->exits;
    v->snapshots = p->snapshots;
    v->exit = &v->exits[ABI_EXITS - 1];
    v->stats->guest = guest;
    v->stats->vcpu = v->number;
    v->stats->core = v->entity.core;
    for (unsigned i = 0; i < ABI_EXITS; i++) {
        if (i % 32 == 0) /* 32 take about 200 ticks */
            job_rest();
        v->exits[i].guest = guest;
        v->exits[i].vcpu = v->number;
    }
    for (unsigned i = 0; i < ABI_SNAPSHOTS; i++) {
        v->snapshots[i].guest = guest;
        v->snapshots[i].vcpu = v->number;
    }
}

void guest_pages_take(struct guest *g)
{
    const struct number_pages *n = &pages.numbers[g->number];

    g->status = n->status;
    g->bitmaps = n->bitmaps;
    g->console = n->console;
    g->console->size = ABI_CONSOLE_RING_SIZE;
    FOR_EACH_VCPU (v, g) {
        take_vcpu(v, &n->vcpus[v->number]);
        job_rest();
    }
    status_begin(g);
    fill_status(g);
    status_end(g);
}

void guest_pages_leave(struct guest *g)
{
    struct abi_guest *s = g->status;

    status_begin(g);
    memset((uint8_t *)s + sizeof(s->sequence), 0, sizeof(*s) - sizeof(s->sequence));
    status_end(g);
    FOR_EACH_VCPU (v, g)
        memset(v->stats, 0, sizeof(*v->stats));
}

void guest_pages_show(const struct guest *g, bool in_use)
{
    if (in_use)
        __atomic_fetch_or(&shared.host->guests, 1u << g->number, __ATOMIC_RELEASE);
    else
        __atomic_fetch_and(&shared.host->guests, ~(1u << g->number), __ATOMIC_RELEASE);
}

void guest_tell_management(const struct guest *g)
{
    struct guest *m = guest_management();

    if (m && m != g)
        core_request(&m->life.entity, GUEST_REQ_EVENT);
}

static void note_event(const struct guest *g, const char *why)
{
    struct abi_event *e;
    uint64_t n;

    if (g->life.deleted && g->status->state != ABI_GUEST_EMPTY) {
        guest_tell_management(g);
        return;
    }
    spin_lock(&pages.events_lock);
    n = shared.events->newest + 1;
    e = &shared.events->ring[(n - 1) % ABI_EVENTS];
    __atomic_store_n(&e->sequence, 0, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    e->tsc = arch_tsc();
    e->guest = g->number;
    e->state = g->status->state;
    e->restarts = g->status->restarts;
    (void)str_copy(e->name, sizeof(e->name), g->config.name);
    (void)str_copy(e->why, sizeof(e->why), why);
    __atomic_store_n(&e->sequence, n, __ATOMIC_RELEASE);
    __atomic_store_n(&shared.events->newest, n, __ATOMIC_RELEASE);
    spin_unlock(&pages.events_lock);
    guest_tell_management(g);
}

/* A guest that is restarted or deleted has ended before that. */
static uint32_t ended_by(const struct guest *g, enum abi_guest_state state)
{
    switch (state) {
    case ABI_GUEST_STOPPED:
    case ABI_GUEST_CRASHED:
        return g->life.end_requested ? ABI_END_REQUEST : ABI_END_ITSELF;
    case ABI_GUEST_RESTARTING:
    case ABI_GUEST_DELETING:
        return g->status->ended_by;
    default:
        return ABI_END_NONE;
    }
}

void guest_set_state(struct guest *g, enum abi_guest_state state, const char *why)
{
    status_begin(g);
    g->status->ended_by = ended_by(g, state);
    __atomic_store_n(&g->status->state, state, __ATOMIC_RELEASE);
    (void)str_copy(g->status->why, sizeof(g->status->why), why);
    g->status->stuck[0] = 0;
    if (state == ABI_GUEST_RUNNING)
        g->status->started_tsc = arch_tsc();
    else if (state == ABI_GUEST_STOPPED || state == ABI_GUEST_CRASHED)
        g->status->stopped_tsc = arch_tsc();
    status_end(g);
    note_event(g, g->status->why);
}

void guest_set_stuck(struct vcpu *v, const char *how)
{
    struct guest *g = v->guest;
    char text[ABI_TEXT_MAX], of[16] = "";
    bool runs;

    if (g->vcpu_count > 1)
        (void)fmt(of, sizeof(of), "vCPU %u ", v->number);
    (void)fmt(text, sizeof(text), "%s%s", of, how[0] ? how : "moves on");
    status_begin(g);
    runs = g->status->state == ABI_GUEST_RUNNING;
    if (runs && (how[0] || g->stuck_vcpu == v->number))
        (void)str_copy(g->status->stuck, sizeof(g->status->stuck), how[0] ? text : "");
    if (how[0])
        g->stuck_vcpu = v->number;
    status_end(g);
    if (!runs)
        return; /* it has just ended */
    log_guest(g, "%s", text);
    note_event(g, text);
}

void guest_set_paused(struct guest *g, bool paused)
{
    status_begin(g);
    __atomic_store_n(&g->status->state, paused ? ABI_GUEST_PAUSED : ABI_GUEST_RUNNING,
                     __ATOMIC_RELEASE);
    status_end(g);
    log_guest(g, "%s", paused ? "paused" : "resumed");
    note_event(g, g->status->why);
}

void guest_set_image_kind(struct guest *g, const char *kind)
{
    status_begin(g);
    (void)str_copy(g->status->image_kind, sizeof(g->status->image_kind), kind);
    status_end(g);
}

void guest_account_memory(void)
{
    spin_lock(&pages.memory_lock);
    hostmem_account(&shared.host->memory);
    spin_unlock(&pages.memory_lock);
}
