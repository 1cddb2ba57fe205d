#include "hv/main.h"

#include "hv/arch.h"
#include "hv/core.h"
#include "hv/fmt.h"
#include "hv/guest_life.h"
#include "hv/hostmem.h"
#include "hv/lib.h"
#include "hv/log.h"
#include "hv/net.h"
#include "hv/panic.h"
#include "hv/virt.h"
#include "version.h"

#define TOKEN_CHARS 32u /* of 5 bits: 160 */
#define BELOW_4G    (4ull << 30)

static const struct virt_ops *backend;
static struct boot_options preset; /* the defaults */
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

static _Noreturn void refuse(const char *why)
{
    log_warn("Bulkhead cannot run on this machine: %s", why);
    log_info("halted; reset or power off the machine");
    log_flush();
    halt();
}

static const char *plural(uint32_t n)
{
    return n == 1 ? "" : "s";
}

/* What was found is said before anything can refuse the machine. */
static void choose_cores(const struct boot_options *o)
{
    static const char *const words[] = {
        [SMT_OFF] = "off", [SMT_ON] = "on", [SMT_ONE_NETWORK] = "guests of one network"};
    struct abi_topology t;

    arch_cores_choose(o->smt != SMT_OFF);
    t = arch_topology();
    log_info("%u package%s, %u physical core%s, %u thread%s, %u NUMA node%s", t.packages,
             plural(t.packages), t.cores, plural(t.cores), t.threads, plural(t.threads), t.nodes,
             plural(t.nodes));
    if (t.running < t.threads || o->smt == SMT_ONE_NETWORK)
        log_info("guests run on %u thread%s (smt %s); parked, or without an answer: %u", t.running,
                 plural(t.running), words[o->smt], t.threads - t.running);
    if (t.running == ARCH_CORES_MAX && t.running < (o->smt ? t.threads : t.cores))
        log_warn("guests run on at most %d cores: the others are parked", ARCH_CORES_MAX);
}

/* For management. */
static void list_threads(void)
{
    struct abi_thread *out = guest_pages()->threads;
    const struct abi_thread *t;

    for (unsigned i = 0; (t = arch_thread(i)); i++)
        out[i] = *t;
    guest_pages()->host->topology = arch_topology();
}

static void report_option(const char *text)
{
    log_warn("%s", text);
}

/* Management's core: the machine may have fewer cores than the ISO was made for. */
static unsigned choose_core(const struct boot_options *o)
{
    int32_t count = (int32_t)arch_core_count();

    if (o->core >= count)
        log_warn("command line: no core %d exists: management runs on core %d", o->core,
                 o->core % count);
    return (unsigned)(o->core < 0 ? count - 1 : o->core % count);
}

static struct guest_config management_config(const struct boot_options *o)
{
    struct guest_config c = {
        .core = (int)choose_core(o),
        .vcpus = 1,
        .memory = (uint64_t)o->memory_mb << 20,
        .weight = (uint32_t)o->weight,
        .slice_us = (uint32_t)o->slice_us,
        .budget_us = (uint32_t)o->budget_us,
        .period_us = (uint32_t)o->period_us,
        .restart = RESTART_ALWAYS,
        .strict_memory = true,
        .devices = (DEV_DEFAULT & ~(uint32_t)DEV_APIC) | DEV_NET,
    };

    (void)str_copy(c.name, sizeof(c.name), CONFIG_MANAGEMENT_NAME);
    (void)str_copy(c.image, sizeof(c.image), CONFIG_MANAGEMENT_MODULE);
    return c;
}

static struct guest *create_management(const struct boot_options *o)
{
    struct guest_config c = management_config(o);
    struct guest *m = guest_create_management(&c);

    if (!m && o->memory_mb != preset.memory_mb) {
        log_warn("command line: no memory for a management guest of %d MiB: it gets %d MiB",
                 o->memory_mb, preset.memory_mb);
        c.memory = (uint64_t)preset.memory_mb << 20;
        m = guest_create_management(&c);
    }
    if (!m)
        refuse("it has no memory for the management guest");
    if (!m->complete)
        refuse("the management guest cannot be made, or is not isolated: see above");
    core_bind(m);
    guest_make_ready(m);
    return m;
}

static void describe_host(const struct boot_info *b, const struct boot_options *o)
{
    struct abi_host *h = guest_pages()->host;

    h->magic = ABI_MAGIC;
    h->abi_version = ABI_VERSION;
    h->core_count = arch_core_count();
    h->tsc_hz = arch_tsc_hz();
    (void)str_copy(h->tsc_verdict, sizeof(h->tsc_verdict), arch_tsc_verdict());
    arch_tsc_sources(h->tsc_sources);
    list_threads();
    h->boot_tsc = b->entry_tsc;
    h->boot_epoch = arch_boot_epoch();
    (void)str_copy(h->version, sizeof(h->version), BULKHEAD_VERSION);
    (void)str_copy(h->build_id, sizeof(h->build_id), BULKHEAD_BUILD_ID);
    (void)str_copy(h->serial, sizeof(h->serial), arch_serial_name());
    h->nx_large = nx_large;
    h->options = *o;
    net_address(h->self, h->mac);
    backend->describe(h);
}

/* Without configured tokens the API is open to anyone who can read the console. The token is shown
 * there before queueing begins, so that no queue keeps it. */
static void make_token(const struct boot_options *o)
{
    static const char base32[] = "abcdefghijklmnopqrstuvwxyz234567";
    uint8_t key[TOKEN_CHARS];
    char *token = guest_pages()->token, line[96];

    if (!o->token)
        return;
    if (arch_random_key(key, sizeof(key))) {
        log_warn(
            "this CPU has neither RDSEED nor RDRAND for a token: the management API is closed; "
            "configure tokens (management, auth) in guests.json");
        return;
    }
    for (unsigned i = 0; i < TOKEN_CHARS; i++)
        token[i] = base32[key[i] % 32];
    (void)fmt(line, sizeof(line), "admin token of this boot: %s", token);
    log_secret(line);
    memzero_explicit(line, sizeof(line));
    memzero_explicit(key, sizeof(key));
}

static void prepare_network(const struct boot_options *o)
{
    struct net_setup setup = {.tsc_hz = arch_tsc_hz(),
                              .guests_reach_management = o->reachable_from_guests,
                              .nics = guest_pages()->host->nics};

    memcpy(setup.mac_prefix, o->mac_prefix, sizeof(setup.mac_prefix));
    memcpy(setup.guarded, o->guarded, sizeof(setup.guarded));
    memcpy(setup.uplinks, o->uplinks, sizeof(setup.uplinks));
    net_init(&setup);
    (void)!net_find_cards(); /* without one, start_network() says so */
}

static void *alloc_for_nic(size_t bytes)
{
    void *p = hostmem_alloc_in(bytes, PAGE_SIZE, 0, BELOW_4G, MEM_HOST, 0);

    if (p)
        memset(p, 0, bytes);
    return p;
}

static void start_network(unsigned core)
{
    struct abi_host *h = guest_pages()->host;

    if (net_start_uplinks(core, alloc_for_nic)) {
        log_warn("management has no network card that works: it is not reachable. mgmt/MANUAL.md, "
                 "\"On real hardware\", lists the cards");
        return;
    }
    (void)str_copy(h->nic, sizeof(h->nic), net_uplink_name());
}

/* The log's ring lies in the kernel's own image; its pages become shared ones. */
static void start_memory(struct mem_map *map)
{
    if (mem_add(map, arch_hpa(log_ring()).v, sizeof(struct abi_ring) + ABI_LOG_RING_SIZE,
                MEM_SHARED, 0))
        panic("the map of the memory is full");
    hostmem_init(map);
}

/* From here on no core waits for the serial line. */
static void start_pages_and_log(const struct boot_options *o)
{
    if (guest_pages_setup())
        panic("no memory for the shared pages");
    make_token(o);
    if (log_start(guest_pages()->host->console_lost))
        panic("no memory for the log");
}

static void say_memory(const struct guest *m)
{
    const struct abi_memory *k = &guest_pages()->host->memory;

    guest_account_memory();
    log_info("host memory %lu KiB, management guest %lu KiB, isolation audit passed",
             (k->host + k->shared + k->tables) >> 10, m->mem.size >> 10);
}

_Noreturn void hv_main(const struct boot_info *b)
{
    const struct guest *m;
    struct boot_options o;

    log_info("Bulkhead %s (%s)", BULKHEAD_VERSION, BULKHEAD_BUILD_ID);
    options_default(&preset);
    options_read(b->cmdline, &o, report_option);
    choose_cores(&o);
    backend = virt_select();
    if (!backend)
        refuse("no virtualisation extension that it can use");
    if (backend->core_probe(0))
        refuse("its boot processor lacks what is named above");
    arch_panic_reboot((uint32_t)o.panic_reboot_s);
    start_memory(b->memory);
    if (core_make())
        panic("no memory for the cores");
    guest_life_init(arch_boot_epoch(), b->entry_tsc);
    start_pages_and_log(&o);
    log_info("%u cores, TSC %lu kHz, %lu MiB of memory free", arch_core_count(),
             arch_tsc_hz() / 1000, hostmem_free_bytes() >> 20);
    nx_large = backend->set_nx_large(o.nx_large);
    prepare_network(&o);
    core_ration_requests((uint32_t)o.requests_us);
    m = create_management(&o);
    describe_host(b, &o);
    say_memory(m);
    arch_cores_start(core_run);
    /* A core that cannot run management gives it to this one. */
    while (core_ready_count() + 1 < arch_core_count())
        __builtin_ia32_pause();
    /* Management has begun by now, unless it shares this core. */
    start_network(m->life.entity.core);
    core_run(0);
}
