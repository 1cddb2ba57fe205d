/*
 * lwIP's address conflict detection (RFC 5227) with other times: with the RFC's own constants an
 * address would take 5 to 9 seconds. Here three probes and an announcement take 0.7.
 */
#include "lwip/acd.h"

/* lwIP multiplies its constants by the number of ticks in a second. Here that number is one instead
 * of ten, so they are in ticks of 100 ms, the interval at which timeouts.c calls acd_tmr() anyway.
 */
#undef ACD_TMR_INTERVAL
#undef PROBE_WAIT
#undef PROBE_MIN
#undef PROBE_MAX
#undef ANNOUNCE_WAIT
#undef ANNOUNCE_NUM
#undef RATE_LIMIT_INTERVAL
#define ACD_TMR_INTERVAL    1000
#define PROBE_WAIT          1 /* the first probe at the next tick */
#define PROBE_MIN           2
#define PROBE_MAX           3 /* exclusive: so always PROBE_MIN */
#define ANNOUNCE_WAIT       2
#define ANNOUNCE_NUM        1
#define RATE_LIMIT_INTERVAL 600

#include "core/ipv4/acd.c"

#include "lwip/dhcp.h"
#include "lwip/prot/dhcp.h"
#include "mgmt/acd.h"
#include "mgmt/include/lwip_hooks.h"
#include "mgmt/port.h"

void acd_append_options(const struct dhcp *dhcp, struct dhcp_msg *msg, u8_t type, u16_t *len)
{
    const ip4_addr_t *server = ip_2_ip4(&dhcp->server_ip_addr);

    if (type != DHCP_DECLINE)
        return;
    msg->options[(*len)++] = DHCP_OPTION_SERVER_ID;
    msg->options[(*len)++] = sizeof(server->addr);
    memcpy(&msg->options[*len], &server->addr, sizeof(server->addr));
    *len = (u16_t)(*len + sizeof(server->addr));
}

static void say_declined(const ip4_addr_t *ip)
{
    port_log("warning: the address %u.%u.%u.%u that DHCP offers is in use by another machine: "
             "declined, and asked again in 10 seconds",
             ip4_addr1(ip), ip4_addr2(ip), ip4_addr3(ip), ip4_addr4(ip));
}

void acd_poll(struct netif *n)
{
    static bool told;
    struct dhcp *dhcp = netif_dhcp_data(n);

    if (!dhcp)
        return;
    if (dhcp->state != DHCP_STATE_BACKING_OFF)
        told = false;
    else if (!told) {
        told = true;
        say_declined(&dhcp->offered_ip_addr);
    }
    /* lwIP would give up an address, and with it all connections, after two ARP packets from any
     * machine that claims to have it. */
    if (dhcp->state == DHCP_STATE_BOUND && dhcp->acd.state != ACD_STATE_OFF)
        acd_stop(&dhcp->acd);
}
