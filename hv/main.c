#include "hv/main.h"

#include "hv/arch.h"
#include "hv/core.h"
#include "hv/fmt.h"
#include "hv/guest_files.h"
#include "hv/guest_life.h"
#include "hv/hostmem.h"
#include "hv/image.h"
#include "hv/lib.h"
#include "hv/log.h"
#include "hv/net.h"
#include "hv/panic.h"
#include "hv/virt.h"
#include "version.h"

#define CONFIG_MODULE       CONFIG_OWN_FILES "configuration"
#define MGMT_MODULE         CONFIG_OWN_FILES "management"
#define CONFIG_FILE         "guests.json" /* what people know it as */
#define CONFIG_SCRATCH_SIZE (1u << 20)
#define MGMT_NUMBER         0u
#define TOKEN_CHARS         32u /* of 5 bits: 160 */
#define BELOW_4G            (4ull << 30)

static const struct virt_ops *backend;
static struct mem_map *memory;
static bool nx_large;

const struct virt_ops *virt_backend(void)
{
    return backend;
}

static _Noreturn void halt(void)
{
    static const uint32_t never;

    for (;;)
        arch_idle(NEVER, &never);
}

static void report(unsigned core, const char *text)
{
    (void)core;
    log_warn("%s", text);
}

static _Noreturn void refuse(const char *why)
{
    log_warn("Bulkhead cannot run on this machine: %s", why);
    log_info("halted; reset or power off the machine");
    halt();
}

static void report_config(void *ctx, const struct config_error *e)
{
    (void)ctx;
    log_warn("%s:%u:%u: %s%s%s", CONFIG_FILE, e->line, e->column, e->field, e->field[0] ? ": " : "",
             e->text);
}

static const struct arch_module *find_module(const char *name)
{
    for (unsigned i = 0; i < arch_module_count(); i++)
        if (strcmp(arch_module(i)->name, name) == 0)
            return arch_module(i);
    return NULL;
}

/* How many errors there were. */
static int read_config(struct config *c)
{
    const struct arch_module *m = find_module(CONFIG_MODULE);
    hpa_t scratch;
    int errors;

    config_default(c);
    if (!m) {
        log_warn("no boot module \"%s\": no guests but the management guest", CONFIG_MODULE);
        return 0;
    }
    if (mem_alloc(memory, CONFIG_SCRATCH_SIZE, PAGE_SIZE, BELOW_4G, MEM_HOST, 0, &scratch)) {
        log_warn("no memory to read %s", CONFIG_FILE);
        return 1;
    }
    errors = config_parse((const char *)m->data, m->size, arch_ptr(scratch), CONFIG_SCRATCH_SIZE, c,
                          report_config, NULL);
    if (mem_free(memory, scratch, CONFIG_SCRATCH_SIZE))
        panic("the configuration's scratch memory is not there any more");
    return errors;
}

/* The core a guest asked for; a machine may have fewer than its configuration was made for. */
static struct guest_config fit_core(const struct guest_config *c)
{
    struct guest_config fitted = *c;
    int count = (int)arch_core_count();

    if (c->core >= count) {
        fitted.core = c->core % count;
        log_warn("guest %s: there is no core %d, it goes on core %d", c->name, c->core,
                 fitted.core);
    }
    return fitted;
}

static void management_guest_config(const struct management_config *m, struct guest_config *c)
{
    *c = (struct guest_config){
        .memory = m->memory,
        .core = m->core,
        .weight = m->weight,
        .slice_us = m->slice_us,
        .budget_us = m->budget_us,
        .period_us = m->period_us,
        .restart = RESTART_ALWAYS,
        .devices = DEV_DEFAULT | DEV_NET,
    };
    if (c->core < 0)
        c->core = (int)arch_core_count() - 1;
    (void)str_copy(c->name, sizeof(c->name), "mgmt");
    (void)str_copy(c->image, sizeof(c->image), MGMT_MODULE);
}

static void place(unsigned number, const struct guest_config *wanted, bool management)
{
    static struct guest_config c;
    char why[ABI_TEXT_MAX];
    struct guest *g;
    unsigned core;
    int rc;

    c = fit_core(wanted);
    rc = guest_admit(&c, &core, why, sizeof(why));
    if (rc && c.core < 0)
        core = 0; /* it will not run there: it is told why */
    g = guest_create(number, &c, core, management);
    if (!g)
        panic("guest number %u is taken", number);
    if (rc) {
        g->complete = false;
        guest_fail(g, why);
    }
    core_bind(g);
}

static void describe_host(const struct boot_info *b, const struct config *c)
{
    struct abi_host *h = guest_host_page();
    const struct management_config *m = &c->management;

    h->magic = ABI_MAGIC;
    h->abi_version = ABI_VERSION;
    h->core_count = arch_core_count();
    h->tsc_hz = arch_tsc_hz();
    h->boot_tsc = b->entry_tsc;
    h->boot_epoch = arch_boot_epoch();
    (void)str_copy(h->version, sizeof(h->version), BULKHEAD_VERSION);
    (void)str_copy(h->build_id, sizeof(h->build_id), BULKHEAD_BUILD_ID);
    h->static_ip = m->static_ip;
    memcpy(h->ip, m->ip, sizeof(h->ip));
    memcpy(h->netmask, m->netmask, sizeof(h->netmask));
    memcpy(h->gateway, m->gateway, sizeof(h->gateway));
    h->nx_large = nx_large;
    h->nx_large_off = c->nx_large == NX_LARGE_OFF;
    h->panic_reboot_s = c->panic_reboot_s;
    h->requests_us = c->management.requests_us;
    h->management = m->service;
    net_address(MGMT_NUMBER, h->mac);
    memcpy(h->mac_prefix, c->mac_prefix, sizeof(h->mac_prefix));
    backend->describe(h);
}

/* Without configured tokens the API is open to whoever can read the console. It is shown there
 * before queueing begins, so that nothing of it stays in a queue. */
static void make_token(const struct abi_management *m)
{
    static const char base32[] = "abcdefghijklmnopqrstuvwxyz234567";
    uint8_t key[TOKEN_CHARS];
    char *token = guest_token_page(), line[96];

    if (m->auth != ABI_AUTH_RANDOM)
        return;
    if (arch_random_key(key, sizeof(key))) {
        log_warn(
            "this CPU has neither RDSEED nor RDRAND for a token: the management API is closed; "
            "configure tokens (management, auth) in %s",
            CONFIG_FILE);
        return;
    }
    for (unsigned i = 0; i < TOKEN_CHARS; i++)
        token[i] = base32[key[i] % 32];
    (void)fmt(line, sizeof(line), "admin token of this boot: %s", token);
    log_secret(line);
    memzero_explicit(line, sizeof(line));
    memzero_explicit(key, sizeof(key));
}

static void prepare_network(const struct config *c)
{
    const struct management_config *m = &c->management;
    struct net_setup setup = {.tsc_hz = arch_tsc_hz(),
                              .guests_reach_management = m->service.reachable_from_guests,
                              .uplink_frames = guest_host_page()->uplink_frames};

    memcpy(setup.mac_prefix, c->mac_prefix, sizeof(setup.mac_prefix));
    if (m->static_ip)
        memcpy(setup.guarded[0], m->ip, sizeof(m->ip));
    memcpy(setup.guarded[1], m->gateway, sizeof(m->gateway));
    memcpy(setup.guarded[2], m->service.syslog_server, sizeof(m->service.syslog_server));
    net_init(&setup);
    (void)!net_find_card(); /* without one, start_network() says so */
}

static void *alloc_for_nic(size_t bytes)
{
    uint64_t size = align_up(bytes, PAGE_SIZE);
    hpa_t a;

    if (mem_alloc(memory, size, PAGE_SIZE, BELOW_4G, MEM_HOST, 0, &a))
        return NULL;
    memset(arch_ptr(a), 0, size);
    return arch_ptr(a);
}

static void start_network(unsigned core)
{
    struct abi_host *h = guest_host_page();
    int rc = net_start_uplink(core, alloc_for_nic);

    if (rc) {
        log_warn("no network card that Bulkhead can drive (error %d): management is not reachable",
                 -rc);
        return;
    }
    h->net_up = 1;
    (void)str_copy(h->nic, sizeof(h->nic), net_uplink_name());
    log_info("network card %s", net_uplink_name());
}

/* What the management guest proves itself with, where the configuration names it. */
static void share_certificate(const struct abi_management *m)
{
    int rc = guest_files_setup();

    if (rc == 0 && m->certificate[0])
        rc = guest_files_share(ABI_CERTIFICATE_GPA, ABI_CERTIFICATE_SIZE, m->certificate);
    if (rc == 0 && m->certificate[0])
        rc = guest_files_share_secret(ABI_KEY_GPA, ABI_KEY_SIZE, m->key);
    if (rc)
        panic("no memory for the certificate");
}

static void create_guests(const struct config *c)
{
    static struct guest_config mgmt;

    for (unsigned i = 0; i < c->guest_count; i++)
        place(i + 1, &c->guests[i], false);
    share_certificate(&c->management.service);
    management_guest_config(&c->management, &mgmt);
    place(MGMT_NUMBER, &mgmt, true);
}

_Noreturn void hv_main(const struct boot_info *b)
{
    static struct config config;
    const struct guest *m;
    int errors;

    memory = b->memory;
    log_info("Bulkhead %s (%s)", BULKHEAD_VERSION, BULKHEAD_BUILD_ID);
    log_info("%u cores, TSC %lu kHz, %lu MiB of memory free", arch_core_count(),
             arch_tsc_hz() / 1000, mem_total(memory, MEM_FREE) >> 20);
    backend = virt_select(report);
    if (!backend)
        refuse("no virtualisation extension that it can use");
    if (backend->core_probe(0, report))
        refuse("its boot processor lacks what is named above");
    errors = read_config(&config);
    arch_panic_reboot(config.panic_reboot_s);
    nx_large = backend->set_nx_large(config.nx_large == NX_LARGE_AUTO);
    hostmem_init(memory);
    guest_life_init(arch_boot_epoch(), b->entry_tsc);
    /* The log ring lies in the kernel's own image; its pages become shared ones. */
    if (guest_setup() || mem_add(memory, arch_hpa(log_ring()).v,
                                 sizeof(struct abi_ring) + ABI_LOG_RING_SIZE, MEM_SHARED, 0))
        panic("no memory for the shared pages");
    prepare_network(&config);
    image_offer(&config, errors == 0);
    create_guests(&config);
    core_ration_requests(config.management.requests_us);
    m = guest_management();
    if (!m)
        panic("the management guest cannot be created");
    start_network(m->life.entity.core);
    if (guest_audit_all())
        refuse("the isolation audit found a mapping that must not be");
    describe_host(b, &config);
    make_token(&config.management.service);
    if (log_start(guest_host_page()->console_lost))
        panic("no memory for the log");
    guest_account_memory();
    log_info("host memory %lu KiB, management guest %lu KiB, isolation audit passed",
             (guest_host_page()->memory.host + guest_host_page()->memory.shared +
              guest_host_page()->memory.tables) >>
                 10,
             m->mem.size >> 10);
    arch_cores_start(core_run);
    core_run(0);
}
