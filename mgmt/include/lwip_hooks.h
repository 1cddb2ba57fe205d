/* Hooks that lwIP calls; read by its files. */
#pragma once

#include "lwip/ip_addr.h"
#include "lwip/prot/tcp.h"
#include "mgmt/isn.h"

struct dhcp;
struct dhcp_msg;
struct tcp_pcb;

/* mgmt/listen.c: may lwIP look at this segment? Options: the first `first_len` bytes of `len`
 * follow the header, the others are at `rest`. It has `data` bytes of data. */
err_t listen_check(const struct tcp_pcb *pcb, const struct tcp_hdr *h, u16_t len, u16_t first_len,
                   const u8_t *rest, u16_t data);

/* mgmt/acd.c: says in a DHCPDECLINE whose offer is declined, as RFC 2131 (table 5) demands. lwIP
 * does not, and servers ignore a DHCPDECLINE without it. */
void acd_append_options(const struct dhcp *dhcp, struct dhcp_msg *msg, u8_t type, u16_t *len);

#define LWIP_HOOK_DHCP_APPEND_OPTIONS(netif, dhcp, state, msg, type, len)                          \
    acd_append_options(dhcp, msg, type, len)
#define LWIP_HOOK_TCP_INPACKET_PCB(pcb, hdr, optlen, opt1len, opt2, p)                             \
    listen_check(pcb, hdr, optlen, opt1len, opt2, (p)->tot_len)
#define LWIP_HOOK_TCP_ISN(local, local_port, remote, remote_port)                                  \
    isn_make(local, local_port, remote, remote_port)
