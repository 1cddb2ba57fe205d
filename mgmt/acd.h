/* DHCP's address, and another machine that has it already. */
#pragma once

#include "lwip/netif.h"

/* From the main loop: says in the log that an offered address was declined because another machine
 * answers for it; and ends the watch over an address once it is ours. */
void acd_poll(struct netif *n);
