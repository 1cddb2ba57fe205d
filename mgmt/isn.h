/*
 * TCP's initial sequence numbers by RFC 6528: a host that cannot see a connection's segments cannot
 * guess its sequence numbers.
 */
#pragma once

#include "lwip/ip_addr.h"

/* Draws the key. Call it before the first connection. */
void isn_start(void);
/* For lwIP, see mgmt/include/lwip_hooks.h: a 4 us clock with an offset that differs for each pair
 * of ends. */
u32_t isn_make(const ip_addr_t *local, u16_t local_port, const ip_addr_t *remote,
               u16_t remote_port);
