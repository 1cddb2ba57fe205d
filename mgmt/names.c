#include "mgmt/names.h"

#include "hv/fmt.h"
#include "mgmt/config/config.h"
#include "hv/lib.h"
#include "lwip/apps/mdns.h"
#include "lwip/apps/sntp.h"
#include "mgmt/address.h"
#include "mgmt/boot.h"
#include "mgmt/port.h"
#include "mgmt/tls.h"

#define HTTP_PORT  80u
#define HTTPS_PORT 443u
#define NTP_PORT   123u
#define SECOND_US  1000000u

static struct netif *netif;
static struct clock *wall;
static char ntp_server[sizeof(((struct service_config *)NULL)->ntp)];
static uint16_t ntp_port = NTP_PORT;
static s8_t https_service = -1;
static bool has_ipv6;
static ip6_addr_t told[LWIP_IPV6_NUM_ADDRESSES];

uint16_t names_ntp_port(void)
{
    return ntp_port;
}

void names_get_time(uint32_t *seconds, uint32_t *us)
{
    uint64_t now = clock_us(wall, abi_host(), port_tsc());

    *seconds = (uint32_t)(now / SECOND_US);
    *us = (uint32_t)(now % SECOND_US);
}

void names_set_time(uint32_t seconds, uint32_t us)
{
    char text[CLOCK_TEXT];
    uint64_t now = (uint64_t)seconds * SECOND_US + us;
    bool first = !wall->synchronised;

    clock_set(wall, abi_host(), port_tsc(), now);
    clock_text(text, now);
    if (first)
        port_log("the time is %s", text);
}

static void take_ntp_server(void)
{
    if (!config_split_server(boot_config.management.service.ntp, ntp_server, sizeof(ntp_server),
                             &ntp_port))
        ntp_server[0] = 0;
}

/* Logs a second name for the browser. A port that only redirects does not count. */
static void say_also(const char *host)
{
    bool https = tls_works();
    bool http = boot_config.management.service.http == PORT80_PLAIN && !tls_refusal();

    if (https || http)
        port_log("also %s%s%s%s%s%s", https ? "https://" : "", https ? host : "",
                 https && http ? "/ and " : "", http ? "http://" : "", http ? host : "", "/");
}

/* The result of asking whether another host has the name. `slot`: 0 for the host's name, otherwise
 * a service's. lwIP asks again for each new address. */
static void on_name(struct netif *n, u8_t result, s8_t slot)
{
    const char *name = boot_config.management.service.hostname;
    char host[sizeof(boot_config.management.service.hostname) + sizeof(".local")];
    static bool ours;
    bool before = ours;

    (void)n;
    (void)fmt(host, sizeof(host), "%s.local", name);
    ours = result == MDNS_PROBING_SUCCESSFUL;
    if (ours && before)
        return;
    if (ours)
        say_also(host);
    else if (slot == 0)
        port_log("warning: another host is called %s", host);
    else
        port_log("warning: another host has a service called %s", name);
}

static void start_mdns(void)
{
    const char *name = boot_config.management.service.hostname;

    mdns_resp_register_name_result_cb(on_name);
    if (mdns_resp_add_netif(netif, name) != ERR_OK) {
        port_log("warning: multicast DNS does not start");
        return;
    }
    if (boot_config.management.service.http != PORT80_OFF)
        (void)mdns_resp_add_service(netif, name, "_http", DNSSD_PROTO_TCP, HTTP_PORT, NULL, NULL);
    if (tls_works())
        https_service =
            mdns_resp_add_service(netif, name, "_https", DNSSD_PROTO_TCP, HTTPS_PORT, NULL, NULL);
    mdns_resp_announce(netif);
}

void names_start(struct netif *n, struct clock *c)
{
    netif = n;
    wall = c;
    take_ntp_server();
    if (ntp_server[0])
        sntp_setservername(0, ntp_server);
    else
        sntp_servermode_dhcp(1);
    mdns_resp_init();
}

void names_up(void)
{
    netif_create_ip6_linklocal_address(netif, 1);
    netif_set_ip6_autoconfig_enabled(netif, 1);
    start_mdns();
}

void names_have_address(void)
{
    if (!sntp_enabled())
        sntp_init();
}

void names_without_https(void)
{
    if (https_service >= 0)
        (void)mdns_resp_del_service(netif, (u8_t)https_service);
    https_service = -1;
}

bool names_have_ipv6(void)
{
    return has_ipv6;
}

void names_poll(void)
{
    for (unsigned i = 0; i < LWIP_IPV6_NUM_ADDRESSES; i++) {
        const ip6_addr_t *a = netif_ip6_addr(netif, i);
        char text[ADDRESS_TEXT + 2];

        if (!ip6_addr_ispreferred(netif_ip6_addr_state(netif, i)) || ip6_addr_cmp(a, &told[i]))
            continue;
        ip6_addr_copy(told[i], *a);
        has_ipv6 = true;
        names_have_address();
        text[0] = '[';
        /* lwIP's own text has capital letters; RFC 5952 asks for small ones. */
        address_ipv6(text + 1, (const uint8_t *)a->addr);
        (void)fmt(text + strlen(text), 2, "]");
        say_also(text);
    }
}
