/* Frames on their way from the device to lwIP. */
#pragma once

#include "hv/types.h"
#include "lwip/pbuf.h"

/* IEEE 802.3 "Minimum frame size", without the check sequence: devices pad shorter frames. */
#define FRAMES_LEAST 60u

/* A copy for lwIP, in a buffer of its pool; NULL: the pool is empty. A frame below the minimum is
 * padded with zeros, because lwIP takes the minimum for granted in places. */
struct pbuf *frames_take(const uint8_t *frame, size_t len);
