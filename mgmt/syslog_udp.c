#include "mgmt/syslog_udp.h"

#include "hv/lib.h"
#include "lwip/etharp.h"
#include "lwip/udp.h"
#include "mgmt/port.h"
#include "mgmt/syslog.h"

/* Messages per turn of the main loop, which has a hundred turns a second: HTTP must not wait. */
#define BUDGET 8u
#define ARP_MS 1000u

static const struct api_view *view;
static struct udp_pcb *pcb;
static ip_addr_t server;
static struct syslog_follower log_at, console_at[ABI_GUESTS_MAX];
static char guest_name[ABI_GUESTS_MAX][sizeof(((struct abi_guest *)NULL)->config.name)];

static bool send(void *ctx, const char *message, size_t len)
{
    struct pbuf *p = pbuf_alloc(PBUF_TRANSPORT, (u16_t)len, PBUF_RAM);
    err_t err;

    (void)ctx;
    if (!p)
        return false;
    pbuf_take(p, message, (u16_t)len);
    err = udp_sendto(pcb, p, &server, view->config->management.service.syslog_port);
    pbuf_free(p);
    return err == ERR_OK;
}

void syslog_start(const struct api_view *v)
{
    const uint8_t *a = v->config->management.service.syslog_server;

    view = v;
    IP_ADDR4(&server, a[0], a[1], a[2], a[3]);
    if (ip_addr_isany(&server))
        return;
    pcb = udp_new();
    if (!pcb)
        mgmt_die("no UDP port for syslog");
}

/* lwIP keeps only a few packets for a neighbour whose address it does not know yet, and silently
 * drops the rest. So messages wait in their rings until the address is known. */
static bool way_is_known(void)
{
    static uint32_t asked;
    struct netif *n = netif_default;
    const ip4_addr_t *hop = ip_2_ip4(&server), *found;
    struct eth_addr *mac;

    if (!n || ip4_addr_isany(netif_ip4_addr(n)))
        return false;
    if (!ip4_addr_netcmp(hop, netif_ip4_addr(n), netif_ip4_netmask(n)))
        hop = netif_ip4_gw(n);
    if (etharp_find_addr(n, hop, &mac, &found) >= 0)
        return true;
    if (asked == 0 || port_ms() - asked >= ARP_MS) {
        asked = port_ms() | 1;
        (void)etharp_request(n, hop);
    }
    return false;
}

/* The next guest with this number has another console. */
static void follow_console(unsigned number, const struct syslog_sink *sink)
{
    const struct abi_guest *g = view->guest(number);

    if (!g || number == view->host->self)
        return;
    if (g->vcpu_count == 0) { /* nobody's, and without pages if it never was anybody's */
        guest_name[number][0] = 0;
        return;
    }
    if (strcmp(guest_name[number], g->config.name) != 0) {
        (void)str_copy(guest_name[number], sizeof(guest_name[number]), g->config.name);
        console_at[number] = (struct syslog_follower){0};
    }
    (void)syslog_follow(&console_at[number], view->console(number), guest_name[number], sink,
                        BUDGET);
}

void syslog_poll(void)
{
    const struct abi_host *h = view->host;
    const struct service_config *m = &view->config->management.service;
    struct syslog_sink sink = {.hostname = m->hostname, .send = send};

    if (!pcb || !way_is_known())
        return;
    sink.now_us = clock_us(view->clock, h, view->tsc());
    sink.zero_us = clock_us(view->clock, h, 0);
    (void)syslog_follow(&log_at, view->log, NULL, &sink, BUDGET);
    for (unsigned i = 0; m->syslog_consoles && i < ABI_GUESTS_MAX; i++)
        follow_console(i, &sink);
}
