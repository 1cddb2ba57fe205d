/* The virtio-net driver (hv/pc/virtio.h has the registers) as lwIP's network interface. */
#pragma once

#include "hv/types.h"
#include "lwip/netif.h"

/* For netif_add(). */
err_t vnet_init(struct netif *n);
/* Hands received frames to lwIP. True if there were any. */
bool vnet_poll(struct netif *n);
/* Lowers the device's interrupt. In its handler. */
void vnet_quiet(void);
/* Has there been a frame without an lwIP buffer for it since the last call? */
bool vnet_starved(void);
