/* The physical NIC as the switch's uplink. One driver a file; nic_find() tries each. */
#pragma once

#include "hv/types.h"
#include "net/switch.h"

struct nic_info {
    char name[32]; /* "82540EM" */
    uint8_t mac[6];
    uint64_t rx_frames, tx_frames, rx_dropped, tx_dropped;
};

/* Finds the first supported NIC by PCI and reads its address; it is quiet then. Boot core,
 * start-up. -E_NOENT when there is none, or what is wrong with it: that was logged. */
int nic_find(void) MUST_CHECK;
/* Its address, or NULL. */
const uint8_t *nic_address(void);
/* Brings the NIC that was found up, attaches it to the switch, and routes its interrupt to `core`.
 * `alloc` gives zeroed, page-aligned, physically contiguous host memory below 4 GB
 * (identity-mapped) or NULL. `frames`: NET_DROPS counters, of what became of received frames;
 * written on `core`. Boot core, start-up. -E_NOENT when none was found. */
int nic_start(struct vswitch *s, uint64_t *frames, unsigned core,
              void *(*alloc)(size_t bytes)) MUST_CHECK;
/* Moves received frames to the switch; bounded (4 frames a call, returns true when more wait).
 * Only on `core` of nic_start, from the run loop and never from the interrupt handler (that only
 * sets a flag: see nic_pending). */
bool nic_poll(void);
/* True when the interrupt handler saw the NIC asking. One load, any core. */
bool nic_pending(void);
/* NULL when there is none. */
const struct nic_info *nic_info(void);
