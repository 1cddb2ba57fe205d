/*
 * How the management service is found: IPv6 addresses, HOSTNAME.local and its services by multicast
 * DNS; and how it finds the time (SNTP). All by lwIP's own parts.
 */
#pragma once

#include "lwip/netif.h"
#include "mgmt/clock.h"

/* Before the interface is up. `n` and `c` are kept. */
void names_start(struct netif *n, struct clock *c);
/* The interface is up: link-local address, names. */
void names_up(void);
/* There is an address: servers can be asked. */
void names_have_address(void);
/* An IPv6 address can be used. */
bool names_have_ipv6(void);
/* HTTPS is not served after all. */
void names_without_https(void);
/* Tells new addresses in the log. */
void names_poll(void);
