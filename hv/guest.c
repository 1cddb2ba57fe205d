/* Guests come and go. */
#include "hv/guest.h"

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

#define MANAGEMENT_NUMBER 0u
#define POOL_SIZE         (16u * PAGE_SIZE)
#define RX_RING_SIZE      (VIRTIO_NET_RX_RING * sizeof(struct virtio_net_frame))

/* Never freed: another core may still read a guest that has just gone. */
static struct guest *pool;
_Static_assert(ABI_GUESTS_MAX <= ARCH_STACKS, "each guest can have a job");

int guest_setup(void)
{
    pool = hostmem_alloc_zeroed(ABI_GUESTS_MAX * sizeof(*pool), MEM_HOST);
    return pool ? guest_pages_setup() : -E_NOMEM;
}

/* ---- pages for a guest's tables ---- */

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
        guest_free_page(g, p + i * PAGE_SIZE);
    return true;
}

/* Pages come from small pools, so that a guest's tables lie together and the owner map stays short.
 */
void *guest_alloc_page(struct guest *g)
{
    void *page;

    job_rest();
    if (!g->free_pages && !add_pool(g))
        return NULL;
    page = g->free_pages;
    memcpy(&g->free_pages, page, sizeof(void *));
    memset(page, 0, PAGE_SIZE);
    return page;
}

void guest_free_page(struct guest *g, void *page)
{
    memcpy(page, &g->free_pages, sizeof(void *));
    g->free_pages = page;
}

/* ---- coming ---- */

static void give_back(struct guest *g)
{
    hostmem_free(g->mem.base, g->mem.size);
    job_rest();
    hostmem_free(g->rx_ring, RX_RING_SIZE);
    job_rest();
    hostmem_free(g->split_tables, g->split_size);
    for (unsigned i = 0; i < g->pool_count; i++) {
        job_rest();
        hostmem_free(g->pools[i], POOL_SIZE);
    }
    job_rest();
    g->mem.base = NULL;
    g->rx_ring = NULL;
    g->split_tables = NULL;
    g->split_size = 0;
    g->pool_count = 0;
}

/* Takes all the memory that the guest will ever have, so that it cannot run out later. */
static int take_memory(struct guest *g)
{
    const struct guest_config *c = &g->config;

    if (c->memory >= PAGE_SIZE_1G)
        g->mem.base = hostmem_alloc(c->memory, PAGE_SIZE_1G, MEM_GUEST, g->number);
    if (!g->mem.base)
        g->mem.base = hostmem_alloc(c->memory, PAGE_SIZE_2M, MEM_GUEST, g->number);
    if (!g->mem.base)
        return -E_NOMEM;
    job_rest();
    g->mem.size = c->memory;
    g->split_size = virt_backend()->split_size(c->memory);
    if (c->devices & DEV_NET)
        g->rx_ring = hostmem_alloc(RX_RING_SIZE, PAGE_SIZE, MEM_FOR_GUEST, g->number);
    job_rest();
    if (g->split_size)
        g->split_tables = hostmem_alloc(g->split_size, PAGE_SIZE, MEM_FOR_GUEST, g->number);
    job_rest();
    if (!add_pool(g) || ((c->devices & DEV_NET) && !g->rx_ring) ||
        (g->split_size && !g->split_tables)) {
        give_back(g);
        return -E_NOMEM;
    }
    return 0;
}

/* Puts the life and the first vCPU on `core`, further vCPUs on the cores after it. */
static void place(struct guest *g, unsigned core)
{
    g->vcpu_count = g->config.vcpus ? g->config.vcpus : 1;
    g->life.entity = (struct entity){.guest = g, .core = core};
    FOR_EACH_VCPU (v, g) {
        v->guest = g;
        v->number = (unsigned)(v - g->vcpus);
        v->entity =
            (struct entity){.guest = g, .vcpu = v, .core = (core + v->number) % arch_core_count()};
        v->platform = &g->platform;
        if (!g->life.partner && v->entity.core == core)
            g->life.partner = v;
    }
}

static struct guest *take_number(unsigned number, const struct guest_config *c, unsigned core)
{
    struct guest *g = &pool[number];

    job_clear(g, sizeof(*g));
    g->number = number;
    g->config = *c;
    job_rest();
    g->switch_port = -1;
    place(g, core);
    g->life.phase = GUEST_BUILDING;
    guest_pages_take(g);
    job_rest();
    return g;
}

static void register_guest(struct guest *g)
{
    guest_enlist(g->number, g);
    guest_pages_show(g, true);
    log_source_open(g->number, g->config.name, g->console);
    job_rest();
    guest_account_memory();
}

/* A husk, which can never be started, takes nothing from its core. */
static bool has_share(const struct guest *g)
{
    return g->complete || g->life.phase != GUEST_IDLE;
}

/* True if the core can keep one more guarantee. */
static bool admits(unsigned core, const struct guest_config *c)
{
    uint64_t guaranteed = config_share(c);

    for (unsigned i = 0; i < ABI_GUESTS_MAX; i++) {
        const struct guest *g = guest_get(i);

        job_rest();
        if (!g || !has_share(g))
            continue;
        FOR_EACH_VCPU (v, g)
            if (v->entity.core == core)
                guaranteed += config_share(&g->config);
    }
    return guaranteed <= CONFIG_GUARANTEED_MOST;
}

/* The cores of its vCPUs, see place(). */
static int check_cores(const struct guest_config *c)
{
    for (unsigned i = 0; i < max_u64(c->vcpus, 1); i++) {
        unsigned core = ((unsigned)c->core + i) % arch_core_count();

        if (!core_get(core)->vmx_root)
            return -E_NOENT;
        if (!admits(core, c))
            return -E_BUSY;
    }
    return 0;
}

struct guest *guest_create_management(const struct guest_config *c, unsigned core)
{
    struct guest *g = take_number(MANAGEMENT_NUMBER, c, core);

    g->management = true;
    if (take_memory(g)) {
        guest_pages_leave(g);
        return NULL;
    }
    g->status->flags |= ABI_GUEST_MANAGEMENT;
    guest_host_page()->self = g->number;
    register_guest(g);
    guest_build(g);
    return g;
}

static bool name_is_taken(const char *name)
{
    for (unsigned i = 0; i < ABI_GUESTS_MAX; i++) {
        const struct guest *g = guest_get(i);

        if (g && strcmp(g->config.name, name) == 0)
            return true;
        job_rest();
    }
    return false;
}

/* Checks that no other guest has its addresses. *which: the first that another has. */
static int check_addresses(const struct guest_config *c, uint32_t *which)
{
    struct net_address a;

    if (!(c->devices & DEV_NET))
        return 0;
    for (unsigned i = 0; c->net.uplink && i < c->net.address_count; i++) {
        job_rest();
        *which = i;
        if (net_is_guarded(&c->net.addresses[i]))
            return -E_PERM;
    }
    *which = 0;
    for (unsigned i = 0; i < ABI_GUESTS_MAX; i++) {
        const struct guest *g = guest_get(i);

        job_rest();
        if (g && !g->management && config_net_clashes(&c->net, &g->config.net, &a))
            return -E_PERM;
    }
    return 0;
}

static int free_number(void)
{
    for (unsigned i = 1; i <= CONFIG_GUESTS_MAX; i++)
        if (!guest_get(i))
            return (int)i;
    return -E_NOSPC;
}

/* The size of each source of the plan. */
static void measure(const struct guest *g, struct load_sizes *sizes)
{
    for (unsigned i = 0; i < ARRAY_LEN(sizes->size); i++)
        sizes->size[i] = g->sources[i].size;
}
_Static_assert(LOAD_FROM_IMAGE == 0 && LOAD_FROM_MODULE == 1, "sources are numbered as in plans");

static int take_images(struct guest *g, const struct load_plan *plan)
{
    struct load_sizes sizes;
    const char *what;
    int rc = image_take(g);

    if (rc)
        return rc;
    measure(g, &sizes);
    if (load_plan_check(plan, &sizes, g->config.memory, &what)) {
        image_release(g);
        return -E_INVAL;
    }
    job_copy(&g->plan, plan, sizeof(g->plan));
    g->planned = true;
    return 0;
}

static int take_all(struct guest *g, const struct load_plan *plan)
{
    int rc = take_memory(g);

    job_rest();
    if (rc == 0) {
        rc = take_images(g, plan);
        if (rc)
            give_back(g);
    }
    if (rc)
        guest_pages_leave(g);
    job_rest();
    return rc;
}

/* Checks everything possible before the guest takes anything. Returns its future number, or an
 * error. */
static int check_request(const struct abi_create *r, uint32_t *address)
{
    const struct guest_config *c = &r->config;
    const char *field;
    int rc;

    if (config_check_guest(c, &field) || r->why[sizeof(r->why) - 1])
        return -E_INVAL;
    if (c->core < 0 || (unsigned)c->core >= arch_core_count())
        return -E_NOENT;
    job_rest();
    if (name_is_taken(c->name))
        return -E_EXIST;
    rc = r->why[0] ? 0 : check_addresses(c, address);
    if (rc == 0 && !r->why[0])
        rc = check_cores(c);
    return rc ? rc : free_number();
}

/* Shows a guest that could not be made. `why` is untrusted text. */
static void show_husk(struct guest *g, const char *why)
{
    char text[ABI_TEXT_MAX];

    text[log_plain(why, strlen(why), text, sizeof(text) - 1)] = 0;
    register_guest(g);
    job_rest();
    guest_fail(g, text);
    job_rest();
}

int guest_deploy(const struct abi_create *r, uint32_t *address)
{
    int rc, number;
    struct guest *g;

    if (core_ready_count() < arch_core_count())
        return -E_AGAIN;
    number = check_request(r, address);
    if (number < 0)
        return number;
    job_rest();
    g = take_number((unsigned)number, &r->config, (unsigned)r->config.core);
    if (r->why[0]) {
        show_husk(g, r->why);
    } else {
        rc = take_all(g, &r->plan);
        if (rc)
            return rc;
        register_guest(g);
    }
    core_adopt(g);
    return number;
}

/* ---- being made: a job on the owning core, or at start-up ---- */

static const char *map_memory(struct guest *g)
{
    const struct virt_ops *ops = virt_backend();

    if (ops->guest_init(g) || ops->map(g, gpa(0), arch_hpa(g->mem.base), g->mem.size, MAP_RWX))
        return "out of host memory for translation tables";
    if (!g->management)
        return NULL;
    if (guest_pages_map(g, ops) ||
        ops->prepare(g, gpa(ABI_IMAGES_GPA), ABI_IMAGES * ABI_IMAGE_SIZE_MAX))
        return "the control pages cannot be mapped";
    return NULL;
}

static const char *attach_net(struct guest *g)
{
    const struct virtio_net_host host = {.ctx = g, .transmit = guest_on_transmit};
    uint8_t mac[6];

    if (!(g->config.devices & DEV_NET))
        return NULL;
    net_address(g->number, mac);
    memcpy(g->status->mac, mac, sizeof(mac));
    virtio_net_init(&g->platform.net, &g->mem, mac, g->rx_ring, &host);
    job_rest();
    g->switch_port = net_attach(g->number, g->management, &g->config.net, guest_on_frame, g);
    return g->switch_port < 0 ? "no free port on the virtual switch" : NULL;
}

static bool passes_audit(const struct guest *g)
{
    char text[ABI_TEXT_MAX];

    if (virt_backend()->audit(g, text, sizeof(text)) == 0)
        return true;
    log_guest_warn(g, "isolation audit failed: %s", text);
    return false;
}

/* The tables for each 2 MB of RAM, and the isolation audit of mappings that take effect only after
 * a split. */
static const char *prepare_splits(struct guest *g)
{
    for (uint64_t at = 0; g->split_size && at < g->mem.size; at += PAGE_SIZE_2M) {
        virt_backend()->prepare_split(g, gpa(at));
        job_rest();
    }
    for (uint64_t at = 0; g->split_size && at < g->mem.size; at += PAGE_SIZE_2M / 2) {
        if (!virt_backend()->audit_split(g, gpa(at)))
            return "the tables to split its pages with are wrong";
        job_rest();
    }
    return NULL;
}

void guest_build(void *guest)
{
    struct guest *g = guest;
    const char *why;

    if (g->rx_ring)
        job_clear(g->rx_ring, RX_RING_SIZE);
    why = map_memory(g);
    job_rest();
    if (!why)
        why = prepare_splits(g);
    if (!why)
        why = attach_net(g);
    job_rest();
    if (!why && !passes_audit(g))
        why = "its memory is not its own: see the log";
    g->complete = !why;
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
    job_clear(g->bitmaps, ABI_BITMAPS_SIZE);
    FOR_EACH_VCPU (v, g) {
        job_clear(v->exits, VCPU_EXITS_SIZE);
        job_clear(v->snapshots, VCPU_SNAPSHOTS_SIZE);
    }
    for (unsigned i = 0; i < g->pool_count; i++)
        job_clear(g->pools[i], POOL_SIZE);
    if (g->split_tables)
        job_clear(g->split_tables, g->split_size);
    if (g->rx_ring)
        job_clear(g->rx_ring, RX_RING_SIZE);
    if (g->mem.base)
        job_clear(g->mem.base, g->mem.size);
    log_source_close(g->number);
    job_clear(g->console, GUEST_CONSOLE_SIZE);
    image_release(g);
    give_back(g);
    job_rest();
    guest_account_memory();
    job_rest();
    guest_set_state(g, ABI_GUEST_EMPTY, "deleted by request");
    job_rest();
    log_guest(g, "deleted, its memory is scrubbed and free");
    g->life.phase = GUEST_GONE;
}

void guest_begin_scrub(struct guest *g)
{
    guest_set_state(g, ABI_GUEST_DELETING, "deleted by request");
    g->complete = false;
    g->life.phase = GUEST_SCRUBBING;
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
