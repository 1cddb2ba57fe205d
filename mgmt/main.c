/* The management guest: serves the control ABI's facts over HTTP. */
#include "lwip/dhcp.h"
#include "lwip/etharp.h"
#include "lwip/init.h"
#include "lwip/timeouts.h"
#include "mgmt/acd.h"
#include "mgmt/actors.h"
#include "mgmt/boot.h"
#include "mgmt/explain.h"
#include "mgmt/history.h"
#include "mgmt/isn.h"
#include "mgmt/listen.h"
#include "mgmt/names.h"
#include "mgmt/netif.h"
#include "mgmt/port.h"
#include "mgmt/server.h"
#include "mgmt/syslog_udp.h"
#include "mgmt/tls.h"
#include "mgmt/tls_handshakes.h"
#include "mgmt/tls_port.h"

static struct netif netif;
static struct clock wall;

static const struct abi_guest *guest(unsigned number)
{
    return number < ABI_GUESTS_MAX ? (const struct abi_guest *)ABI_GUEST_GPA(number) : NULL;
}

static const struct abi_vcpu *vcpu(struct api_vcpu id)
{
    return (const struct abi_vcpu *)ABI_VCPU_GPA(id.guest, id.vcpu);
}

static const struct abi_snapshot *snapshot(struct api_vcpu id, unsigned slot)
{
    return (const struct abi_snapshot *)ABI_SNAPSHOT_GPA(id.guest, id.vcpu) + slot;
}

static const struct abi_exit *exits(struct api_vcpu id)
{
    return (const struct abi_exit *)ABI_EXITS_GPA(id.guest, id.vcpu);
}

static const uint8_t *bitmaps(unsigned number)
{
    return guest(number) ? (const uint8_t *)ABI_BITMAPS_GPA(number) : NULL;
}

static const struct abi_ring *console(unsigned number)
{
    return guest(number) ? (const struct abi_ring *)ABI_CONSOLE_GPA(number) : NULL;
}

static int64_t take_snapshot(struct api_vcpu id, bool keep)
{
    return abi_call(ABI_CALL_SNAPSHOT, id.guest, id.vcpu, keep);
}

static int64_t probe(unsigned row)
{
    return abi_call(ABI_CALL_PROBE, row, 0, 0);
}

static int64_t controls(struct api_vcpu id, const struct abi_controls *c)
{
    return abi_call(ABI_CALL_CONTROLS, id.guest, id.vcpu, (uintptr_t)c);
}

static int64_t type(unsigned number, const uint8_t *bytes, size_t n)
{
    return abi_call(ABI_CALL_CONSOLE_INPUT, number, (uintptr_t)bytes, n);
}

/* Our own reset waits for its answer to go out. */
#define OWN_RESET_MS 100u

static bool own_reset_waits;

static void reset_own(void *ctx)
{
    own_reset_waits = false; /* if it is refused, another one may be asked */
    (void)abi_call(ABI_CALL_ACTION, (uintptr_t)ctx, ABI_ACTION_RESET, 0);
}

static int64_t act(unsigned number, unsigned action)
{
    if (action != ABI_ACTION_RESET || !(guest(number)->flags & ABI_GUEST_MANAGEMENT))
        return abi_call(ABI_CALL_ACTION, number, action, 0);
    if (!own_reset_waits)
        sys_timeout(OWN_RESET_MS, reset_own, (void *)(uintptr_t)number);
    own_reset_waits = true;
    return 0;
}

static int64_t memory(unsigned number, uint64_t address, uint8_t *bytes)
{
    return abi_call(ABI_CALL_MEMORY, number, address, (uintptr_t)bytes);
}

static int64_t host_act(unsigned action)
{
    return abi_call(ABI_CALL_HOST_ACTION, action, 0, 0);
}

static int64_t image_begin(const struct abi_image_request *r)
{
    return abi_call(ABI_CALL_IMAGE_BEGIN, (uintptr_t)r, 0, 0);
}

static int64_t image_extend(unsigned slot)
{
    return abi_call(ABI_CALL_IMAGE_EXTEND, slot, 0, 0);
}

static int64_t image_commit(unsigned slot, const uint8_t sha256[32])
{
    return abi_call(ABI_CALL_IMAGE_COMMIT, slot, (uintptr_t)sha256, 0);
}

static int64_t image_drop(unsigned slot)
{
    return abi_call(ABI_CALL_IMAGE_DROP, slot, 0, 0);
}

static uint8_t *image_bytes(unsigned slot)
{
    return (uint8_t *)ABI_IMAGE_GPA((uintptr_t)slot);
}

static int64_t create(struct abi_create *r)
{
    return abi_call(ABI_CALL_CREATE, (uintptr_t)r, 0, 0);
}

static const uint8_t *module_bytes(const struct abi_boot_module *m)
{
    return (const uint8_t *)(uintptr_t)m->address;
}

static int64_t configured(void)
{
    return abi_call(ABI_CALL_CONFIGURED, 0, 0, 0);
}

static int64_t remove_guest(unsigned number)
{
    return abi_call(ABI_CALL_DELETE, number, 0, 0);
}

static void note(const char *text)
{
    port_log("%s", text);
}

static struct api_view view;
static struct unpack unpack;
static struct auth_table auth;
static struct audit audit;
static struct api_answered answered[API_STATUSES_MAX];
static struct api_tls tls_counters;
static struct explain explain;
static struct actors actors;
static struct history history;

static bool address_changed;

static void on_status(struct netif *n)
{
    static ip4_addr_t told;
    const ip4_addr_t *ip = netif_ip4_addr(n);

    /* lwIP also calls this for IPv6 addresses. */
    if (ip4_addr_isany(ip) || ip4_addr_cmp(ip, &told))
        return;
    ip4_addr_copy(told, *ip);
    address_changed = true;
    names_have_address();
}

/* Our own certificate names the IPv4 address: this is how long we wait for one. */
#define IPV4_MS 5000u

static uint32_t started_ms;

/* HTTPS starts with the first address at which it can be reached. */
static void take_first_address(uint32_t ip)
{
    static bool listening;

    if (listening || !(ip || (names_have_ipv6() && port_ms() - started_ms > IPV4_MS)))
        return;
    listening = true;
    tls_listen(ip ? (const uint8_t *)&ip : NULL);
    if (!tls_works())
        names_without_https();
}

/* Logs where the service is reached, once it can be reached. */
static void take_address(void)
{
    uint32_t ip = netif_ip4_addr(&netif)->addr;

    take_first_address(ip);
    if (!address_changed)
        return;
    address_changed = false;
    (void)abi_call(ABI_CALL_ADDRESS, ip, netif_ip4_netmask(&netif)->addr,
                   (tls_works() ? ABI_SERVES_HTTPS : 0) |
                       (boot_config.management.service.http == PORT80_PLAIN ? ABI_SERVES_HTTP : 0));
}

static void start_network(void)
{
    const struct management_config *m = &boot_config.management;
    ip4_addr_t ip = {0}, mask = {0}, gateway = {0};

    started_ms = port_ms();
    lwip_init();
    if (m->static_ip) {
        IP4_ADDR(&ip, m->ip[0], m->ip[1], m->ip[2], m->ip[3]);
        IP4_ADDR(&mask, m->netmask[0], m->netmask[1], m->netmask[2], m->netmask[3]);
        IP4_ADDR(&gateway, m->gateway[0], m->gateway[1], m->gateway[2], m->gateway[3]);
    }
    if (!netif_add(&netif, &ip, &mask, &gateway, NULL, vnet_init, netif_input))
        mgmt_die("the network interface does not start");
    netif_set_default(&netif);
    netif_set_status_callback(&netif, on_status);
    names_start(&netif, &wall);
    netif_set_up(&netif);
    names_up();
    if (m->static_ip) {
        /* With conflict detection lwIP leaves announcements to it, but only DHCP uses it. */
        (void)etharp_gratuitous(&netif);
        on_status(&netif);
    } else if (dhcp_start(&netif) != ERR_OK)
        mgmt_die("DHCP does not start");
}

/* Before everything slow: guests do not wait for a certificate. */
static void start_guests(void)
{
    static struct abi_create request; /* large */
    size_t size;
    void *scratch = tls_port_lend(&size);

    port_work_long();
    view.config_whole = boot_read(&view, scratch, size);
    boot_guests(&view, &request);
    port_work_done();
}

void guest_run(const uint8_t *info)
{
    (void)info;
    if (abi_vmcall(ABI_CALL_VERSION, 0, 0, 0) != ABI_VERSION || abi_host()->magic != ABI_MAGIC)
        mgmt_die("the control ABI has another version");
    view = (struct api_view){
        .answered = answered,
        .auth = &auth,
        .audit = &audit,
        .note = note,
        .random_token = (const char *)ABI_TOKEN_GPA,
        .host = abi_host(),
        .clock = &wall,
        .log = (const struct abi_ring *)ABI_LOG_GPA,
        .guest = guest,
        .vcpu = vcpu,
        .snapshot = snapshot,
        .exits = exits,
        .bitmaps = bitmaps,
        .events = (const struct abi_events *)ABI_EVENTS_GPA,
        .caps = (const struct abi_caps *)ABI_CAPS_GPA,
        .threads = (const struct abi_thread *)ABI_THREADS_GPA,
        .console = console,
        .take_snapshot = take_snapshot,
        .probe = probe,
        .controls = controls,
        .type = type,
        .act = act,
        .host_act = host_act,
        .memory = memory,
        .images = (const struct abi_images *)ABI_IMAGES_PAGE_GPA,
        .image_begin = image_begin,
        .image_extend = image_extend,
        .image_commit = image_commit,
        .image_drop = image_drop,
        .image_bytes = image_bytes,
        .module_bytes = module_bytes,
        .config = &boot_config,
        .unpack = &unpack,
        .create = create,
        .remove = remove_guest,
        .configured = configured,
        .tsc = port_tsc,
        .tls = &tls_counters,
        .explain = &explain,
        .actors = &actors,
        .history = &history,
    };
    clock_init(&wall, abi_host());
    port_start();
    start_guests();
    tls_start(&tls_counters);
    isn_start();
    start_network();
    server_start(&view);
    syslog_start(&view);
    for (;;) {
        bool more;

        port_work_done();
        port_beat();
        /* One round of frames at a time, so that heartbeat and timers run even in a flood. */
        more = vnet_poll(&netif);
        if (vnet_starved())
            server_starved();
        listen_before_timers();
        sys_check_timeouts();
        acd_poll(&netif);
        take_address();
        names_poll();
        explain_poll(&view);
        actors_poll(&view);
        history_poll(&view);
        syslog_poll();
        server_poll();
        more = tls_handshakes_poll() || more;
        more = unpack_poll(&view) || more;
        if (!more)
            port_sleep();
    }
}
