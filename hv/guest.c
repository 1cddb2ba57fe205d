/* What a guest has: memory, tables, a port of the switch. Taken, built, scrubbed, given back. */
#include "hv/guest.h"

#include "hv/abi/memory.h"
#include "hv/arch.h"
#include "hv/core.h"
#include "hv/exit.h"
#include "hv/guest_life.h"
#include "hv/guest_pages.h"
#include "hv/hostmem.h"
#include "hv/image.h"
#include "hv/job.h"
#include "hv/lib.h"
#include "hv/log.h"
#include "hv/net.h"

#define POOL_SIZE     (16u * PAGE_SIZE)
#define SEGMENTS_SIZE ((1 + VIRTIO_NET_SEGMENTS) * VIRTIO_NET_SEGMENT)

/* ---- pages for a guest's tables ---- */

static void put_page(struct guest *g, void *page)
{
    memcpy(page, &g->free_pages, sizeof(void *));
    g->free_pages = page;
}

/* With the lock held, or before another core knows the guest. */
static bool add_pool(struct guest *g)
{
    uint8_t *p;

    if (g->pool_count == GUEST_POOLS_MAX)
        return false;
    p = hostmem_alloc(POOL_SIZE, PAGE_SIZE, MEM_FOR_GUEST, g->number);
    if (!p)
        return false;
    g->pools[g->pool_count++] = p;
    for (unsigned i = 0; i < POOL_SIZE / PAGE_SIZE; i++)
        put_page(g, p + i * PAGE_SIZE);
    return true;
}

/* Pages come from small pools, so that a guest's tables lie together and the owner map stays short.
 */
void *guest_alloc_page(struct guest *g)
{
    void *page;

    job_rest();
    spin_lock(&g->pages_lock);
    page = g->free_pages || add_pool(g) ? g->free_pages : NULL;
    if (page)
        memcpy(&g->free_pages, page, sizeof(void *));
    spin_unlock(&g->pages_lock);
    if (!page)
        return NULL;
    job_rest(); /* a new pool takes as long as clearing a page */
    memset(page, 0, PAGE_SIZE);
    return page;
}

/* ---- memory ---- */

/* Queues of its network card: as many pairs as vCPUs; management has one of each. */
static unsigned net_pairs(const struct guest *g)
{
    return (unsigned)min_u64(g->vcpu_count, VIRTIO_NET_PAIRS);
}

static size_t rx_ring_size(const struct guest *g)
{
    return virtio_net_ring(net_pairs(g)) * sizeof(struct virtio_net_frame);
}

void guest_give_back(struct guest *g)
{
    for (unsigned i = 0; i < gmem_range_count(&g->mem); i++) {
        const struct gmem_range r = gmem_range(&g->mem, i);

        hostmem_free(r.base, r.size);
        job_rest();
    }
    hostmem_free(g->rx_ring, rx_ring_size(g));
    job_rest();
    hostmem_free(g->segments, SEGMENTS_SIZE);
    job_rest();
    hostmem_free(g->split_tables, g->split_size);
    for (unsigned i = 0; i < g->pool_count; i++) {
        job_rest();
        hostmem_free(g->pools[i], POOL_SIZE);
    }
    job_rest();
    g->mem = (struct gmem){0};
    g->rx_ring = NULL;
    g->segments = NULL;
    g->split_tables = NULL;
    g->split_size = 0;
    g->pool_count = 0;
}

/* On the node of the core that makes and mostly runs the guest. NULL: it does not fit there, or all
 * memory is of one node. */
static void *alloc_near(const struct guest *g, uint64_t size, uint64_t align)
{
    unsigned node = arch_core_node(g->life.entity.core);
    const struct abi_near *n;
    void *p = NULL;

    for (unsigned i = 0; !p && (n = arch_near_memory(i)); i++) {
        if (n->node == node)
            p = hostmem_alloc_in(size, align, n->base, n->base + n->size, MEM_GUEST, g->number);
        job_rest();
    }
    return p;
}

static uint64_t overlap(const struct gmem_range *r, const struct abi_near *n)
{
    uint64_t base = arch_hpa(r->base).v, from = max_u64(base, n->base);
    uint64_t to = min_u64(base + r->size, n->base + n->size);

    return to > from ? to - from : 0;
}

/* Says so if the guest has not got all its RAM on its core's node. */
static void count_near(const struct guest *g)
{
    unsigned node = arch_core_node(g->life.entity.core);
    uint64_t near = arch_near_memory(0) ? 0 : g->config.memory;
    const struct abi_near *n;

    for (unsigned i = 0; (n = arch_near_memory(i)); i++) {
        for (unsigned k = 0; n->node == node && k < gmem_range_count(&g->mem); k++) {
            const struct gmem_range r = gmem_range(&g->mem, k);

            near += overlap(&r, n);
        }
        job_rest();
    }
    g->status->near_memory = near;
    if (near < g->config.memory)
        log_guest_warn(g, "%lu of its %lu KiB are on node %u, its core's; the rest is elsewhere",
                       near >> 10, g->config.memory >> 10, node);
}

static void *alloc_ram(const struct guest *g, uint64_t size)
{
    void *p = NULL;

    if (size >= PAGE_SIZE_1G)
        p = alloc_near(g, size, PAGE_SIZE_1G);
    if (!p)
        p = alloc_near(g, size, PAGE_SIZE_2M);
    if (p)
        return p;
    if (size >= PAGE_SIZE_1G)
        p = hostmem_alloc(size, PAGE_SIZE_1G, MEM_GUEST, g->number);
    job_rest();
    return p ? p : hostmem_alloc(size, PAGE_SIZE_2M, MEM_GUEST, g->number);
}

/* Takes a range for the RAM at `at`: `size` bytes, or less if host memory is in pieces. Returns its
 * size; 0: there is no memory, or the guest has too many ranges. The management guest has one. */
static uint64_t take_range(struct guest *g, uint64_t at, uint64_t size)
{
    struct gmem *m = &g->mem;
    void *p;

    if (m->more_count == GMEM_MORE_MAX)
        return 0;
    p = alloc_ram(g, size);
    if (!p && !g->management) {
        size = min_u64(size, align_down(hostmem_largest(), PAGE_SIZE_2M));
        p = size ? alloc_ram(g, size) : NULL;
    }
    if (!p)
        return 0;
    if (m->base)
        m->more[m->more_count++] = (struct gmem_range){at, size, p};
    else
        *m = (struct gmem){.base = p, .size = size};
    return size;
}

static int take_ram(struct guest *g)
{
    uint64_t at = 0, left = g->config.memory;

    if (left > hostmem_free_bytes())
        return -E_NOMEM;
    while (left) {
        uint64_t n = take_range(g, at, at < MEMORY_HOLE ? min_u64(left, MEMORY_HOLE - at) : left);

        if (n == 0)
            return -E_NOMEM;
        left -= n;
        at = at + n == MEMORY_HOLE ? MEMORY_ABOVE : at + n;
        job_rest();
    }
    count_near(g);
    return 0;
}

static bool take_frames(struct guest *g)
{
    if (!(g->config.devices & DEV_NET))
        return true;
    g->rx_ring = hostmem_alloc(rx_ring_size(g), PAGE_SIZE, MEM_FOR_GUEST, g->number);
    job_rest();
    if (!g->management)
        g->segments = hostmem_alloc(SEGMENTS_SIZE, PAGE_SIZE, MEM_FOR_GUEST, g->number);
    return g->rx_ring && (g->management || g->segments);
}

int guest_take_memory(struct guest *g)
{
    bool frames;

    if (take_ram(g))
        goto fail;
    g->split_size = virt_backend()->split_size(g->config.memory);
    frames = take_frames(g);
    job_rest();
    if (g->split_size)
        g->split_tables = hostmem_alloc(g->split_size, PAGE_SIZE, MEM_FOR_GUEST, g->number);
    job_rest();
    if (add_pool(g) && frames && (!g->split_size || g->split_tables))
        return 0;
fail:
    guest_give_back(g);
    return -E_NOMEM;
}

/* ---- calls from virtio-net and the switch ---- */

bool guest_on_transmit(void *ctx, uint8_t *frame, size_t len, const struct net_offload *o)
{
    struct guest *g = ctx;
    enum net_drop why = net_send((unsigned)g->switch_port, frame, len, o, arch_tsc(), &g->transfer);

    if (g->transfer.state)
        return true;
    g->status->frames_sent++;
    g->status->frames_refused[why]++;
    return false;
}

static bool is_quiet(const struct guest *g)
{
    return arch_tsc() < __atomic_load_n(&g->quiet_until, __ATOMIC_RELAXED);
}

/* If this core stood still between its look at the clock and the request (firmware, a starved
 * virtual machine), the other has already looked again, in vain. */
void guest_tell(struct guest *g, enum guest_request request)
{
    if (!is_quiet(g)) {
        core_request(&g->life.entity, request);
        return;
    }
    core_leave(&g->life.entity, request);
    if (!is_quiet(g))
        core_wake(g->life.entity.core);
}

static void on_cancel(void *ctx)
{
    net_cancel(&((struct guest *)ctx)->transfer);
}

static void on_paired(void *ctx, unsigned pairs)
{
    ((struct guest *)ctx)->status->queue_pairs_used = pairs;
}

/* As x86_run() asks between two steps. The PC of several vCPUs is left in between, see exit.c. */
static bool has_time(void *ctx)
{
    const struct guest *g = ctx;
    const struct vcpu *v = g->vcpus;

    return !platform_is_shared(&g->platform) && arch_tsc() < v->closes &&
           !(__atomic_load_n(&v->entity.requests, __ATOMIC_RELAXED) & ~(uint32_t)VCPU_REQ_UNTIL);
}

/* The ring of the guest has a frame more, or dropped it. Any core, like the next. */
static void note_frame(struct guest *g, bool taken)
{
    if (!taken) {
        __atomic_fetch_add(&g->status->frames_dropped, 1, __ATOMIC_RELAXED);
        return;
    }
    __atomic_fetch_add(&g->status->frames_received, 1, __ATOMIC_RELAXED);
    guest_tell(g, GUEST_REQ_NET);
}

/* This core owns its PC, and its driver may be using the card. */
static bool is_at_hand(const struct guest *g)
{
    return g->life.entity.core == arch_core_self() && !platform_is_shared(&g->platform) &&
           g->life.phase == GUEST_LIVE;
}

/* From the switch, on any core. A frame to a group goes to many, by the shorter way. */
void guest_on_frame(void *ctx, const uint8_t *frame, size_t len, const struct net_offload *o)
{
    struct guest *g = ctx;
    struct virtio_net *d = &g->platform.net;

    if (!virtio_net_wants(d, frame))
        return;
    note_frame(g, (!(frame[0] & 1) && is_at_hand(g) && virtio_net_rx_put(d, frame, len, o)) ||
                      virtio_net_rx_push(d, frame, len, o));
}

static uint32_t takes(void *ctx)
{
    return virtio_net_takes(&((struct guest *)ctx)->platform.net);
}

static uint8_t *lend(void *ctx)
{
    return virtio_net_rx_borrow(&((struct guest *)ctx)->platform.net);
}

static void take_back(void *ctx, uint8_t *segment, size_t len, const struct net_offload *o)
{
    struct guest *g = ctx;
    bool taken = virtio_net_rx_give(&g->platform.net, segment, len, o);

    if (len)
        note_frame(g, taken);
}

/* ---- being made: a job on the owning core, or at start-up ---- */

static int map_ram(struct guest *g, const struct virt_ops *ops)
{
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < gmem_range_count(&g->mem); i++) {
        const struct gmem_range r = gmem_range(&g->mem, i);

        rc = ops->map(g, gpa(r.gpa), arch_hpa(r.base), r.size, MAP_RWX);
    }
    return rc;
}

static const char *map_memory(struct guest *g)
{
    const struct virt_ops *ops = virt_backend();

    if (ops->guest_init(g) || map_ram(g, ops))
        return "out of host memory for translation tables";
    if (!g->management)
        return NULL;
    if (guest_pages_map(g, ops) ||
        ops->prepare(g, gpa(ABI_IMAGES_GPA), ABI_IMAGES * ABI_IMAGE_SIZE_MAX))
        return "the control pages cannot be mapped";
    return NULL;
}

/* A page of registers for the local APIC of each vCPU. */
static const char *make_apics(struct guest *g)
{
    struct platform *p = &g->platform;

    p->vcpus = g->vcpu_count;
    for (unsigned i = 0; (g->config.devices & DEV_APIC) && i < g->vcpu_count; i++) {
        p->lapic[i].regs = guest_alloc_page(g);
        if (!p->lapic[i].regs)
            return "out of host memory for local APICs";
    }
    return NULL;
}

static const char *attach_net(struct guest *g)
{
    static const struct net_offloads offloads = {takes, lend, take_back};
    const struct virtio_net_host host = {.ctx = g,
                                         .transmit = guest_on_transmit,
                                         .cancel = on_cancel,
                                         .paired = on_paired,
                                         .has_time = has_time};
    const struct virtio_net_memory memory = {
        .rx_ring = g->rx_ring, .segments = g->segments, .pairs = net_pairs(g)};
    uint8_t mac[6];

    if (!(g->config.devices & DEV_NET))
        return NULL;
    net_address(g->number, mac);
    memcpy(g->status->mac, mac, sizeof(mac));
    g->status->queue_pairs = memory.pairs;
    if (g->segments) /* behind the frame that is being sent */
        g->transfer.scratch = g->segments + VIRTIO_NET_SEGMENT - VIRTIO_NET_FRAME;
    virtio_net_init(&g->platform.net, &g->mem, mac, &memory, &host);
    job_rest();
    g->switch_port = net_attach(g->number, g->management, &g->config.net, guest_on_frame, g);
    if (g->switch_port < 0)
        return "no free port on the virtual switch";
    if (g->segments)
        net_set_offloads((unsigned)g->switch_port, &offloads);
    return NULL;
}

static void make_rng(struct guest *g)
{
    uint8_t probe[8];

    if (!(g->config.devices & DEV_RNG))
        return;
    if (arch_random_key(probe, sizeof(probe)))
        log_guest_warn(g, "it gets no random numbers: this CPU has neither RDSEED nor RDRAND");
    else
        virtio_rng_init(&g->platform.rng, &g->mem, arch_random_key);
    memzero_explicit(probe, sizeof(probe));
    job_rest();
}

static void make_console(struct guest *g)
{
    if (g->config.devices & DEV_CONSOLE)
        virtio_console_init(&g->platform.console, &g->mem);
    job_rest();
}

static bool passes_audit(const struct guest *g)
{
    char text[ABI_TEXT_MAX];

    if (virt_backend()->audit(g, text, sizeof(text)) == 0)
        return true;
    log_guest_warn(g, "isolation audit failed: %s", text);
    return false;
}

/* The tables for each 2 MB of a range, and the isolation audit of mappings that take effect only
 * after a split. */
static bool prepare_range(struct guest *g, const struct gmem_range *r)
{
    for (uint64_t at = 0; at < r->size; at += PAGE_SIZE_2M) {
        virt_backend()->prepare_split(g, gpa(r->gpa + at));
        job_rest();
    }
    for (uint64_t at = 0; at < r->size; at += PAGE_SIZE_2M / 2) {
        if (!virt_backend()->audit_split(g, gpa(r->gpa + at)))
            return false;
        job_rest();
    }
    return true;
}

static const char *prepare_splits(struct guest *g)
{
    for (unsigned i = 0; g->split_size && i < gmem_range_count(&g->mem); i++) {
        const struct gmem_range r = gmem_range(&g->mem, i);

        if (!prepare_range(g, &r))
            return "the tables to split its pages with are wrong";
    }
    return NULL;
}

void guest_build(void *guest)
{
    struct guest *g = guest;
    const char *why;

    if (g->rx_ring)
        job_clear(g->rx_ring, rx_ring_size(g));
    if (g->segments)
        job_clear(g->segments, SEGMENTS_SIZE);
    guest_make_disks(g);
    make_rng(g);
    make_console(g);
    why = map_memory(g);
    job_rest();
    if (!why)
        why = prepare_splits(g);
    if (!why)
        why = guest_make_shared(g);
    if (!why)
        why = make_apics(g);
    if (!why)
        why = attach_net(g);
    job_rest();
    if (!why && !passes_audit(g))
        why = "its memory is not its own: see the log";
    __atomic_store_n(&g->complete, !why, __ATOMIC_RELAXED);
    if (why)
        guest_fail(g, why);
}

/* ---- going ---- */

/* Zeroes everything that held the guest's data: memory, registers, frames, dumps, console. Its
 * vCPUs have ended, so no core writes there any more. The console comes last, so that its output
 * can still be shown. */
static void scrub(void *guest)
{
    struct guest *g = guest;

    if (g->switch_port >= 0)
        net_detach((unsigned)g->switch_port);
    g->switch_port = -1;
    job_rest();
    if (g->backend)
        virt_backend()->guest_free(g);
    job_clear(g->bitmaps, virt_backend()->bitmaps_size);
    FOR_EACH_VCPU (v, g) {
        job_clear(v->exits, VCPU_EXITS_SIZE);
        job_clear(v->snapshots, VCPU_SNAPSHOTS_SIZE);
    }
    for (unsigned i = 0; i < g->pool_count; i++)
        job_clear(g->pools[i], POOL_SIZE);
    if (g->split_tables)
        job_clear(g->split_tables, g->split_size);
    if (g->rx_ring)
        job_clear(g->rx_ring, rx_ring_size(g));
    if (g->segments)
        job_clear(g->segments, SEGMENTS_SIZE);
    guest_scrub_disks(g);
    guest_leave_shared(g);
    for (unsigned i = 0; i < gmem_range_count(&g->mem); i++)
        job_clear(gmem_range(&g->mem, i).base, gmem_range(&g->mem, i).size);
    log_source_close(g->number);
    job_clear(g->console, GUEST_CONSOLE_SIZE);
    image_release(g);
    guest_give_back(g);
    guest_give_back_disks(g);
    job_rest();
    guest_account_memory();
    job_rest();
    guest_set_state(g, ABI_GUEST_EMPTY, "deleted by request");
    job_rest();
    log_guest(g, "deleted, its memory is scrubbed and free");
    guest_set_phase(g, GUEST_GONE);
}

void guest_begin_scrub(struct guest *g)
{
    guest_set_state(g, ABI_GUEST_DELETING, "deleted by request");
    __atomic_store_n(&g->complete, false, __ATOMIC_RELAXED);
    guest_set_phase(g, GUEST_SCRUBBING);
    g->life.put_off = 0;                          /* nothing of this life waits any more */
    job_begin(&g->life.job, g->number, scrub, g); /* an earlier job is not needed any more */
}

void guest_destroy(struct guest *g)
{
    guest_pages_leave(g);
    guest_pages_show(g, false);
    guest_tell_management(g);
    /* From here on the number, and with it *g, may be another guest's. */
    guest_enlist(g->number, NULL);
}
