/* The address that DHCP offers, when another machine already has it. */
#pragma once

#include "lwip/netif.h"

/* From the main loop: logs that an offered address was declined because another machine answers for
 * it, and ends the watch over an address once it is ours. */
void acd_poll(struct netif *n);
