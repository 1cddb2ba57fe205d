/* The physical NIC as the switch's uplink. One driver per file; nic_find() tries each. */
#pragma once

#include "hv/types.h"
#include "net/switch.h"

struct nic_info {
    char name[32]; /* "82540EM" */
    uint8_t mac[6];
    uint64_t rx_frames, tx_frames, rx_dropped, tx_dropped;
};

/* Finds the first supported NIC on the PCI bus and reads its address; it is quiet then. Boot core,
 * start-up. -E_NOENT: there is none; other errors have been logged. */
int nic_find(void) MUST_CHECK;
/* Its address, or NULL. */
const uint8_t *nic_address(void);
/* Brings up the NIC that was found, attaches it to the switch, and routes its interrupt to `core`.
 * `alloc` returns zeroed, page-aligned, physically contiguous host memory below 4 GB
 * (identity-mapped) or NULL. `frames`: NET_DROPS counters of what happened to received frames,
 * written on `core`. Boot core, start-up. -E_NOENT if none was found. */
int nic_start(struct vswitch *s, uint64_t *frames, unsigned core,
              void *(*alloc)(size_t bytes)) MUST_CHECK;
/* Moves received frames to the switch; bounded (2 frames per call; returns true if more wait). Only
 * on the `core` of nic_start(), from the run loop and never from the interrupt handler (which only
 * sets a flag: see nic_pending()). */
bool nic_poll(void);
/* True if the interrupt handler saw the NIC's interrupt. One load, any core. */
bool nic_pending(void);
/* NULL if there is none. */
const struct nic_info *nic_info(void);
