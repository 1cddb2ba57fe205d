/*
 * How clients find the management service (IPv6 addresses, HOSTNAME.local and its services by
 * multicast DNS), and how it finds the time (SNTP). All with lwIP's own parts.
 */
#pragma once

#include "lwip/netif.h"
#include "mgmt/clock.h"

/* Before the interface is up. `n` and `c` are kept. */
void names_start(struct netif *n, struct clock *c);
/* The interface is up: link-local address, names. */
void names_up(void);
/* We have an address: servers can be asked. */
void names_have_address(void);
/* An IPv6 address can be used. */
bool names_have_ipv6(void);
/* HTTPS turned out not to be served. */
void names_without_https(void);
/* Logs new addresses. */
void names_poll(void);
