/*
 * What hv/ asks of the network (net/net.c implements it): the virtual switch and its uplink. hv/
 * knows nothing else of net/.
 */
#pragma once

#include "hv/types.h"

/* An empty switch. Boot core, before all else here. */
void net_init(void);
/* A guest's port: `deliver` gets a frame (any core) and copies it. The port's number, or -E_NOSPC.
 * Any core. */
int net_attach(void (*deliver)(void *ctx, const uint8_t *frame, size_t len), void *ctx) MUST_CHECK;
/* Takes the port away; returns when no frame is on its way to `deliver` any more. Any core. */
void net_detach(unsigned port);
/* The one address behind a guest's port: what comes from another is dropped, and nobody else can
 * send from this one. Without it the port is trusted. -E_EXIST, -E_INVAL, -E_RANGE. */
int net_set_address(unsigned port, const uint8_t mac[6]) MUST_CHECK;
/* A frame from a guest. Any core. */
void net_send(unsigned port, const uint8_t *frame, size_t len, uint64_t now);
/* Finds a network card and makes it the switch's uplink, its interrupt on `core`. `alloc` gives
 * zeroed, page-aligned host memory below 4 GB or NULL. Boot core. -E_NOENT when there is none. */
int net_start_uplink(unsigned core, void *(*alloc)(size_t bytes)) MUST_CHECK;
/* The card's name, or "". */
const char *net_uplink_name(void);
/* Work for net_poll()? One load. */
bool net_pending(void);
/* Moves a bounded number of frames from the card to the switch; true when more wait. The uplink's
 * core only. */
bool net_poll(void);
