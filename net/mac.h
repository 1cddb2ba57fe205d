/* Ethernet addresses of the guests' cards. Pure. */
#pragma once

#include "hv/types.h"

#define MAC_SIZE        6u
#define MAC_PREFIX_SIZE 5u
#define MAC_NUMBERS     16u

/*
 * The address of guest `number` (below MAC_NUMBERS) on the machine whose network card has `card`:
 * the same at each boot, but different on each machine and for each guest. Locally administered, in
 * the quadrant that IEEE 802c ("Structured Local Address Plan") leaves to the network's
 * administrator. From the left, in digits: one of the card's manufacturer, 2; two of the
 * manufacturer; one of the manufacturer, the number; the card's last six.
 */
void mac_derive(const uint8_t card[MAC_SIZE], unsigned number, uint8_t out[MAC_SIZE]);
/* The same with the first five bytes configured. */
void mac_from_prefix(const uint8_t prefix[MAC_PREFIX_SIZE], unsigned number, uint8_t out[MAC_SIZE]);
