/* The physical network cards as the switch's uplink (nic.c). */
#pragma once

#include "hv/abi/net.h"
#include "hv/types.h"
#include "net/switch.h"

/* Finds the first card on the PCI buses that a driver knows and reads its address; it is quiet
 * then. Boot core, start-up. -E_NOENT: there is none; other errors have been logged. */
int uplink_find(void) MUST_CHECK;
/* Its address, or NULL. */
const uint8_t *uplink_address(void);
/* Brings up the card that was found, attaches it to the switch, and has its interrupt come to
 * `core`. `alloc` returns zeroed, page-aligned, physically contiguous host memory below 4 GB
 * (identity-mapped) or NULL. `frames`: NET_DROPS counters of what happened to received frames,
 * written on `core`; `shown` is kept up to date. `address` gives the Ethernet addresses of
 * management and guests, by number. Boot core, start-up. -E_NOENT if none was found. */
int uplink_start(struct vswitch *s, uint64_t *frames, struct abi_nic *shown, unsigned core,
                 void *(*alloc)(size_t bytes),
                 void (*address)(unsigned number, uint8_t mac[6])) MUST_CHECK;
/* Moves received frames to the switch, two in a call. Only on the `core` of uplink_start(), from
 * the run loop and never from the interrupt handler, which only sets flags. Returns when it must be
 * called again: `now` if more frames wait, NEVER if uplink_pending() tells. */
uint64_t uplink_poll(uint64_t now);
/* True if uplink_poll() may have work. Any core. */
bool uplink_pending(void);
/* The card's name, or "". */
const char *uplink_name(void);
