/*
 * Initial sequence numbers of TCP by RFC 6528: whoever cannot see a connection's segments cannot
 * guess where they are.
 */
#pragma once

#include "lwip/ip_addr.h"

/* Draws the key. Before the first connection. */
void isn_start(void);
/* For lwIP, see mgmt/include/lwip_hooks.h: a clock of 4 us, from a place that differs for each pair
 * of ends. */
u32_t isn_make(const ip_addr_t *local, u16_t local_port, const ip_addr_t *remote,
               u16_t remote_port);
