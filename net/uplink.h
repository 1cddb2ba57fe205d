/* The physical network cards as the switch's uplinks: nic.c, which also has what hv/net.h says of
 * them. */
#pragma once

#include "hv/abi/net.h"
#include "hv/types.h"
#include "net/switch.h"

/* Finds the cards on the PCI buses that a driver knows, the first ABI_NICS_MAX, and reads their
 * addresses; they are quiet then. `names`: management's uplink and the guests', which may be the
 * same card; a name that fits none is logged, and nobody gets another card instead. Boot core,
 * start-up. -E_NOENT: there is none; other errors have been logged. */
int uplink_find(const struct net_card_name names[ABI_NIC_ROLES]) MUST_CHECK;
/* The first card's address, or NULL. */
const uint8_t *uplink_address(void);
/* Brings up the cards that were chosen, attaches them to the switch, and has their interrupts come
 * to `core`. `alloc` returns zeroed, page-aligned, physically contiguous host memory below 4 GB
 * (identity-mapped) or NULL. `shown`: all cards that were found, kept up to date on `core`.
 * `address` gives the Ethernet addresses of management and guests, by number. Boot core, start-up.
 * -E_NOENT: management has none; other errors are those of its card. */
int uplink_start(struct vswitch *s, struct abi_nic shown[ABI_NICS_MAX], unsigned core,
                 void *(*alloc)(size_t bytes),
                 void (*address)(unsigned number, uint8_t mac[6])) MUST_CHECK;
