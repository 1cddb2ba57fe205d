/* Guests come: what is requested is checked, then taken. */
#include "hv/arch.h"
#include "hv/core.h"
#include "hv/guest_life.h"
#include "hv/guest_pages.h"
#include "hv/hostmem.h"
#include "hv/image.h"
#include "hv/job.h"
#include "hv/lib.h"
#include "hv/log.h"
#include "hv/net.h"

#define MANAGEMENT_NUMBER 0u

/* Made when a number is first used, and never freed: another core may still read a guest that has
 * just gone. */
static struct guest *pool[ABI_GUESTS_MAX];
_Static_assert(ABI_GUESTS_MAX <= ARCH_STACKS, "each guest can have a job");

/* Puts the life on the core of vCPU 0, its partner. */
static void place(struct guest *g)
{
    g->vcpu_count = g->config.vcpus;
    g->life.partner = &g->vcpus[0];
    FOR_EACH_VCPU (v, g) {
        v->guest = g;
        v->number = (unsigned)(v - g->vcpus);
        /* Only a husk can name a core that the machine does not have. */
        v->entity = (struct entity){
            .guest = g, .vcpu = v, .core = config_core(&g->config, v->number) % arch_core_count()};
        v->platform = &g->platform;
    }
    g->life.entity = (struct entity){.guest = g, .core = g->vcpus[0].entity.core};
}

/* NULL: no memory for its pages. */
static struct guest *take_number(unsigned number, const struct guest_config *c)
{
    struct guest *g = pool[number];

    if (guest_pages_make(number, c->vcpus))
        return NULL;
    if (!g)
        g = hostmem_alloc(sizeof(*g), PAGE_SIZE, MEM_HOST, 0);
    if (!g)
        return NULL;
    pool[number] = g;
    job_clear(g, sizeof(*g));
    g->number = number;
    g->config = *c;
    job_rest();
    g->switch_port = -1;
    place(g);
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
    return __atomic_load_n(&g->complete, __ATOMIC_RELAXED) ||
           __atomic_load_n(&g->life.phase, __ATOMIC_RELAXED) != GUEST_IDLE;
}

/* True if the core can keep the guarantees of those of its vCPUs that would be on it, too. */
static bool admits(unsigned core, const struct guest_config *c)
{
    uint64_t guaranteed = 0;

    for (unsigned i = 0; i < c->vcpus; i++)
        if (config_core(c, i) == core)
            guaranteed += config_share(c);

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

/* True if a thread beside the core runs a guest of another network, or of none. */
static bool has_stranger_beside(unsigned core, const struct guest_config *c)
{
    for (unsigned i = 0; i < ABI_GUESTS_MAX; i++) {
        const struct guest *g = guest_get(i);

        job_rest();
        if (!g || !has_share(g) || config_of_one_network(c, &g->config))
            continue;
        FOR_EACH_VCPU (v, g)
            if (v->entity.core != core &&
                arch_core_physical(v->entity.core) == arch_core_physical(core))
                return true;
    }
    return false;
}

static int check_cores(const struct guest_config *c)
{
    bool one_network = guest_pages()->host->options.smt == SMT_ONE_NETWORK;

    for (unsigned i = 0; i < c->vcpus; i++) {
        unsigned core = config_core(c, i);

        if (core >= arch_core_count() || !core_get(core)->vmx_root)
            return -E_NOENT;
        if (!admits(core, c))
            return -E_BUSY;
        if (one_network && has_stranger_beside(core, c))
            return -E_STATE;
    }
    return 0;
}

struct guest *guest_create_management(const struct guest_config *c)
{
    struct guest *g = take_number(MANAGEMENT_NUMBER, c);

    if (!g)
        return NULL;
    g->management = true;
    if (guest_take_memory(g)) {
        guest_pages_leave(g);
        return NULL;
    }
    g->status->flags |= ABI_GUEST_MANAGEMENT;
    guest_pages()->host->self = g->number;
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

static int take_files(struct guest *g, const struct load_plan *plan)
{
    int rc = take_images(g, plan);

    if (rc)
        return rc;
    rc = guest_take_disks(g);
    if (rc)
        image_release(g);
    return rc;
}

static int take_all(struct guest *g, const struct load_plan *plan)
{
    int rc = guest_take_memory(g);

    job_rest();
    if (rc == 0) {
        rc = guest_take_shared(g);
        if (rc == 0) {
            rc = take_files(g, plan);
            if (rc)
                guest_leave_shared(g);
        }
        if (rc)
            guest_give_back(g);
    }
    if (rc)
        guest_pages_leave(g);
    job_rest();
    return rc;
}

/* Checks everything possible before the guest takes anything. Returns its future number, or an
 * error. */
static int check_request(struct abi_create *r)
{
    const struct guest_config *c = &r->config;
    const char *field;
    int rc = 0;

    if (config_check_guest(c, &field) || r->why[sizeof(r->why) - 1])
        return -E_INVAL;
    if (c->core < 0 || (unsigned)c->core >= arch_core_count())
        return -E_NOENT;
    job_rest();
    if (name_is_taken(c->name))
        return -E_EXIST;
    if (!r->why[0])
        rc = check_addresses(c, &r->address);
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

int guest_deploy(struct abi_create *r)
{
    int rc, number;
    struct guest *g;

    if (core_ready_count() < arch_core_count())
        return -E_AGAIN;
    number = check_request(r);
    if (number < 0)
        return number;
    job_rest();
    g = take_number((unsigned)number, &r->config);
    if (!g)
        return -E_NOMEM;
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
