#include "mgmt/deploy.h"

#include "mgmt/admission.h"
#include "hv/fmt.h"
#include "hv/lib.h"
#include "mgmt/offer.h"

static int refuse(struct deploy_refusal *f, unsigned status, const char *pointer)
{
    f->status = status;
    (void)str_copy(f->pointer, sizeof(f->pointer), pointer);
    return -1;
}

/* ---- its files ---- */

int deploy_find_upload(const struct abi_images *images, const char *name)
{
    for (unsigned i = 0; i < ABI_IMAGES; i++)
        if (__atomic_load_n(&images->images[i].state, __ATOMIC_ACQUIRE) == ABI_IMAGE_READY &&
            strcmp(images->images[i].name, name) == 0)
            return (int)i;
    return -1;
}

const struct abi_boot_module *deploy_find_module(const struct abi_images *images, const char *name)
{
    for (unsigned i = 0; i < images->module_count && i < ABI_BOOT_MODULES_MAX; i++)
        if (strcmp(images->modules[i].name, name) == 0)
            return &images->modules[i];
    return NULL;
}

/* At boot people look into grub.cfg for the file, later into the list of images. */
static void say_missing(const struct api_view *v, const char *name, bool own,
                        struct deploy_refusal *f)
{
    if (v->host->configured)
        (void)fmt(f->text, sizeof(f->text), "no image \"%s\" exists; GET /v1/images lists them",
                  name);
    else
        (void)fmt(f->text, sizeof(f->text), "\"%s\" is %s", name,
                  own ? "one of the appliance's own files" : "not among the boot modules");
}

static bool find_file(const struct api_view *v, const struct guest_config *g, const char *name,
                      struct load_blob *blob, struct deploy_refusal *f)
{
    enum offer o = offer_of(v->config, v->config_whole, name);
    const struct abi_boot_module *m = o == OFFER_NONE ? NULL : deploy_find_module(v->images, name);
    int slot = deploy_find_upload(v->images, name);

    if (m && o == OFFER_KEPT && !offer_is_same_guest(v->config, g)) {
        (void)fmt(f->text, sizeof(f->text),
                  "\"%s\" is a module or disk of another guest: upload a copy under another name",
                  name);
        f->status = 409;
        return false;
    }
    if (m) {
        blob->data = v->module_bytes(m);
        blob->size = m->size;
        return true;
    }
    if (slot >= 0) {
        blob->data = v->image_bytes((unsigned)slot);
        blob->size = v->images->images[slot].size;
        return true;
    }
    say_missing(v, name, o == OFFER_NONE, f);
    f->status = 400;
    return false;
}

bool deploy_find_files(const struct api_view *v, const struct guest_config *g,
                       struct load_request *r, struct deploy_refusal *f)
{
    *r = (struct load_request){
        .module_count = g->module_count,
        .kind = g->kind,
        .tsc_hz = v->host->tsc_hz,
        .memory = g->memory,
        .devices = g->devices,
        .mmio_slots = load_mmio_slots(g),
        .vcpus = g->vcpus,
        .name = g->name,
    };
    (void)str_copy(f->pointer, sizeof(f->pointer), "/image");
    if (!find_file(v, g, g->image, &r->image, f))
        return false;
    r->image.args = g->cmdline;
    r->image.name = g->argv0 ? g->image : NULL;
    for (unsigned i = 0; i < g->module_count; i++) {
        (void)fmt(f->pointer, sizeof(f->pointer), "/modules/%u/file", i);
        if (!find_file(v, g, g->modules[i].file, &r->modules[i], f))
            return false;
        r->modules[i].args = g->modules[i].args;
        r->modules[i].name = g->argv0 ? g->modules[i].file : NULL;
    }
    for (unsigned i = 0; i < g->disk_count; i++) {
        struct load_blob found; /* the root looks it up by its name */

        (void)fmt(f->pointer, sizeof(f->pointer), "/disks/%u/file", i);
        if (!find_file(v, g, g->disks[i].file, &found, f))
            return false;
    }
    return true;
}

/* ---- what other guests have ---- */

static bool is_there(const struct api_view *v, unsigned number)
{
    return v->guest(number) &&
           __atomic_load_n(&v->guest(number)->state, __ATOMIC_ACQUIRE) != ABI_GUEST_EMPTY;
}

static const struct abi_guest *find_name(const struct api_view *v, const char *name)
{
    for (unsigned i = 0; i < ABI_GUESTS_MAX; i++)
        if (is_there(v, i) && strcmp(v->guest(i)->config.name, name) == 0)
            return v->guest(i);
    return NULL;
}

static int check_addresses(const struct api_view *v, const struct guest_config *g,
                           struct deploy_refusal *f)
{
    char text[CONFIG_ADDRESS_TEXT];
    struct net_address a;

    for (unsigned i = 0; (g->devices & DEV_NET) && i < ABI_GUESTS_MAX; i++) {
        const struct abi_guest *other = v->guest(i);

        if (!is_there(v, i) || (other->flags & ABI_GUEST_MANAGEMENT) ||
            !config_net_clashes(&g->net, &other->config.net, &a))
            continue;
        config_net_address_text(&a, text);
        (void)fmt(f->text, sizeof(f->text), "%s is the address of guest \"%s\"", text,
                  other->config.name);
        return refuse(f, 409, "/net/addresses");
    }
    return 0;
}

/* At boot management is not counted among its core's guests: they come first. */
static void sum_up(const struct api_view *v, struct admission_core *cores)
{
    for (uint32_t i = 0; i < v->host->topology.threads && i < ABI_THREADS_MAX; i++)
        if (v->threads[i].state == ABI_THREAD_RUNS)
            cores[v->threads[i].number % ABI_CORES_MAX].node = v->threads[i].node;
    for (unsigned i = 0; i < ABI_GUESTS_MAX; i++) {
        const struct abi_guest *g = v->guest(i);

        if (!is_there(v, i) || (g->flags & ABI_GUEST_HUSK) ||
            ((g->flags & ABI_GUEST_MANAGEMENT) && !v->host->configured))
            continue;
        for (unsigned n = 0; n < g->vcpu_count && n < ABI_VCPUS_MAX; n++) {
            struct admission_core *k =
                &cores[v->vcpu((struct api_vcpu){i, n})->core % ABI_CORES_MAX];

            k->vcpus++;
            k->guaranteed += config_share(&g->config);
        }
    }
}

/* The thread that a core is, or NULL. */
static const struct abi_thread *thread_of(const struct api_view *v, uint32_t core)
{
    for (uint32_t i = 0; i < v->host->topology.threads && i < ABI_THREADS_MAX; i++)
        if (v->threads[i].state == ABI_THREAD_RUNS && v->threads[i].number == core)
            return &v->threads[i];
    return NULL;
}

/* Marks the cores that are threads beside `core`. */
static void mark_beside(const struct api_view *v, struct admission_core *cores, uint32_t core,
                        const char *name)
{
    const struct abi_thread *own = thread_of(v, core);

    for (uint32_t i = 0; own && i < v->host->topology.threads && i < ABI_THREADS_MAX; i++) {
        const struct abi_thread *t = &v->threads[i];

        if (t != own && t->state == ABI_THREAD_RUNS && t->package == own->package &&
            t->core == own->core)
            cores[t->number % ABI_CORES_MAX].stranger = name;
    }
}

static void find_strangers(const struct api_view *v, const struct guest_config *c,
                           struct admission_core *cores)
{
    for (unsigned i = 0; i < ABI_GUESTS_MAX; i++) {
        const struct abi_guest *g = v->guest(i);

        if (!is_there(v, i) || (g->flags & ABI_GUEST_HUSK) || config_of_one_network(c, &g->config))
            continue;
        for (unsigned n = 0; n < g->vcpu_count && n < ABI_VCPUS_MAX; n++)
            mark_beside(v, cores, v->vcpu((struct api_vcpu){i, n})->core, g->config.name);
    }
}

static int choose_cores(const struct api_view *v, struct guest_config *g, struct deploy_refusal *f)
{
    struct admission_core cores[ABI_CORES_MAX] = {{0}};

    sum_up(v, cores);
    if (v->host->options.smt == SMT_ONE_NETWORK)
        find_strangers(v, g, cores);
    switch (admission_choose(cores, v->host->core_count, g, f->text, sizeof(f->text))) {
    case 0:
        return 0;
    case -E_BUSY:
        return refuse(f, 409, "/guaranteed_us");
    case -E_NOSPC:
        return refuse(f, 409, "/vcpus");
    default:
        return refuse(f, 409, g->core_count ? "/cores" : "/core");
    }
}

/* ---- the root's answer ---- */

/* Rounded up: what is asked. What is free is rounded down. */
static uint64_t mib(uint64_t bytes)
{
    return (bytes + (1u << 20) - 1) >> 20;
}

void deploy_say_no_memory(const struct abi_memory *m, uint64_t asked, char *text, size_t size)
{
    (void)fmt(text, size,
              "not enough memory: %lu MiB asked, largest free piece %lu MiB of %lu MiB free",
              mib(asked), m->largest_free >> 20, m->free >> 20);
}

static int say_no_memory(const struct api_view *v, uint64_t asked, struct deploy_refusal *f)
{
    const struct abi_memory *m = &v->host->memory;

    if (asked > m->free)
        deploy_say_no_memory(m, asked, f->text, sizeof(f->text));
    else
        (void)fmt(f->text, sizeof(f->text),
                  "not enough memory for translation tables, network buffers, what is written to "
                  "disks and what it shares, besides the guest's %lu MiB, or in too many pieces: "
                  "%lu MiB free, largest piece %lu MiB",
                  mib(asked), m->free >> 20, m->largest_free >> 20);
    return refuse(f, 409, "/memory");
}

static int say_guarded(const struct net_address *a, struct deploy_refusal *f)
{
    char text[CONFIG_ADDRESS_TEXT];

    config_net_address_text(a, text);
    (void)fmt(f->text, sizeof(f->text), "%s is management's, a gateway's or a name server's", text);
    return refuse(f, 409, "/net/addresses");
}

static int say_why(const struct api_view *v, const struct abi_create *r, int64_t rc,
                   struct deploy_refusal *f)
{
    switch (rc) {
    case -E_NOMEM:
        return say_no_memory(v, r->config.memory, f);
    case -E_PERM:
        return say_guarded(&r->config.net.addresses[r->address % NET_ADDRESSES_MAX], f);
    case -E_NOSPC:
        (void)fmt(f->text, sizeof(f->text), "there are %u guests: no more fit", CONFIG_GUESTS_MAX);
        return refuse(f, 409, "");
    case -E_NOENT:
        if (r->config.vcpus == 1)
            (void)fmt(f->text, sizeof(f->text), "core %d is not in VMX root operation",
                      r->config.core);
        else
            (void)fmt(f->text, sizeof(f->text), "one of its cores is not in VMX root operation");
        return refuse(f, 409, r->config.vcpus == 1 ? "/core" : "/cores");
    case -E_STATE:
        (void)fmt(f->text, sizeof(f->text),
                  "a guest of another network runs on a thread beside one of its cores");
        return refuse(f, 409, r->config.vcpus == 1 ? "/core" : "/cores");
    case -E_BUSY:
        (void)fmt(f->text, sizeof(f->text), "not enough core time on one of its cores");
        return refuse(f, 409, "/guaranteed_us");
    default:
        (void)fmt(f->text, sizeof(f->text), "the hypervisor refuses it (error %d)", (int)-rc);
        return refuse(f, 409, "");
    }
}

/* The machine's cores start at the same time as management. */
static int64_t create(const struct api_view *v, struct abi_create *r)
{
    int64_t rc;

    do
        rc = v->create(r);
    while (rc == -E_AGAIN);
    return rc;
}

int deploy_guest(const struct api_view *v, struct abi_create *r, const struct load_request *l,
                 struct deploy_refusal *f)
{
    struct load_error e;
    int64_t rc;

    if (find_name(v, r->config.name)) {
        (void)fmt(f->text, sizeof(f->text), "a guest with the name \"%s\" exists already",
                  r->config.name);
        return refuse(f, 409, "/name");
    }
    if (check_addresses(v, &r->config, f) || choose_cores(v, &r->config, f))
        return -1;
    if (load_guest(l, &r->plan, &e)) {
        (void)str_copy(f->text, sizeof(f->text), e.text);
        return refuse(f, 400, "/image");
    }
    r->why[0] = 0;
    rc = create(v, r);
    return rc < 0 ? say_why(v, r, rc, f) : (int)rc;
}

/* A husk takes nothing from its cores, but must name one for each vCPU. */
static void name_cores(struct guest_config *g)
{
    if (g->core < 0)
        g->core = 0;
    for (; g->core_count < g->vcpus; g->core_count++)
        g->cores[g->core_count] = (uint8_t)g->core;
}

int deploy_husk(const struct api_view *v, struct abi_create *r, const char *why)
{
    name_cores(&r->config);
    memset(r->why, 0, sizeof(r->why));
    (void)str_copy(r->why, sizeof(r->why), why);
    return create(v, r) < 0 ? -1 : 0;
}
