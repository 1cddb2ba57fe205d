/*
 * The network as hv/ uses it: the virtual switch (net/net.c) and its uplinks (net/nic.c). hv/
 * knows nothing else about net/.
 */
#pragma once

#include "hv/abi/net.h"
#include "hv/offload.h"
#include "hv/types.h"

/* What the configuration says about the whole network. */
struct net_setup {
    uint64_t tsc_hz;
    bool guests_reach_management;
    uint8_t mac_prefix[5]; /* all 0: from the first card's address */
    uint8_t guarded[3][4]; /* IPv4 addresses that no guest with the uplink may have; 0: none */
    struct net_card_name uplinks[ABI_NIC_ROLES]; /* management's, the guests' */
    struct abi_nic *nics;                        /* ABI_NICS_MAX of them, kept up to date */
};

/* Makes an empty switch. Boot core, before any other call here. */
void net_init(const struct net_setup *s);
/* Looks for network cards and reads their addresses. Boot core, after net_init() and before guests
 * have addresses. -E_NOENT when there is none, -E_IO when none answers. */
int net_find_cards(void) MUST_CHECK;
/* The Ethernet address of guest number `number`. */
void net_address(unsigned number, uint8_t mac[6]);
/* True for the known addresses of management, gateways and name servers. Any core. */
bool net_is_guarded(const struct net_address *a);
/* Makes a port for a guest, with its net_address(). `config` is required except for the management
 * guest. Returns the port's number, or -E_NOSPC, -E_EXIST. Any core. */
int net_attach(unsigned number, bool management, const struct net_config *config,
               net_deliver *deliver, void *ctx) MUST_CHECK;
/* Takes the port away; returns when no frame is on its way to `deliver` any more. Any core. */
void net_detach(unsigned port);
/* From now on the port also takes unfinished frames. Once. Any core. */
void net_set_offloads(unsigned port, const struct net_offloads *ops);
/* A frame from a guest: NET_PASSED, or why it was dropped. If t->state is not 0 afterwards, it
 * is on its way: the same call must be made again, with the frame as it is now. Any core. */
enum net_drop net_send(unsigned port, uint8_t *frame, size_t len, const struct net_offload *o,
                       uint64_t now, struct net_transfer *t);
/* Forgets a frame that is on its way. Any core. */
void net_cancel(struct net_transfer *t);
/* Makes the cards from net_find_cards() that `uplinks` names the switch's uplinks, with their
 * interrupts on `core`. `alloc` returns zeroed, page-aligned host memory below 4 GB or NULL. Boot
 * core. -E_NOENT when management has none. */
int net_start_uplinks(unsigned core, void *(*alloc)(size_t bytes)) MUST_CHECK;
/* The name of management's card, or "". */
const char *net_uplink_name(void);
/* True if net_poll() has work. A few loads. */
bool net_pending(void);
/* Moves received frames of one card to the switch, two in a call; the cards take turns. Returns
 * when it must be called again: `now` if more wait, NEVER if net_pending() tells. Only on the
 * uplinks' core, from the run loop and never from the interrupt handler, which only sets flags. */
uint64_t net_poll(uint64_t now);
