/* Ethernet addresses of the guests' cards. Pure. */
#pragma once

#include "hv/types.h"

#define MAC_SIZE        6u
#define MAC_PREFIX_SIZE 5u
#define MAC_NUMBERS     16u

/*
 * Guest `number`'s (below MAC_NUMBERS) address on the machine whose network card has `card`: the
 * same at each boot, another one on each machine, and another one for each guest. Locally
 * administered, in the quadrant that IEEE 802c ("Structured Local Address Plan") leaves to whoever
 * administers the network. From the left, in digits: one of the card's manufacturer, 2; two of the
 * manufacturer; one of the manufacturer, the number; the card's last six.
 */
void mac_derive(const uint8_t card[MAC_SIZE], unsigned number, uint8_t out[MAC_SIZE]);
/* The same where the first five bytes are configured. */
void mac_from_prefix(const uint8_t prefix[MAC_PREFIX_SIZE], unsigned number, uint8_t out[MAC_SIZE]);
