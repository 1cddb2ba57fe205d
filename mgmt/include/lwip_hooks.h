/* What lwIP asks us; read by its files. */
#pragma once

#include "lwip/ip_addr.h"
#include "lwip/prot/tcp.h"
#include "mgmt/isn.h"

struct tcp_pcb;

/* mgmt/listen.c: may this segment be looked at? Options: the first `first_len` bytes of `len`
 * behind the header, the others at `rest`. */
err_t listen_check(const struct tcp_pcb *pcb, const struct tcp_hdr *h, u16_t len, u16_t first_len,
                   const u8_t *rest);

#define LWIP_HOOK_TCP_INPACKET_PCB(pcb, hdr, optlen, opt1len, opt2, p)                             \
    listen_check(pcb, hdr, optlen, opt1len, opt2)
#define LWIP_HOOK_TCP_ISN(local, local_port, remote, remote_port)                                  \
    isn_make(local, local_port, remote, remote_port)
