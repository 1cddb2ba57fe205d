/* Frames on their way from the device to lwIP. */
#pragma once

#include "hv/types.h"
#include "lwip/pbuf.h"

/* IEEE 802.3 "Minimum frame size", without the check sequence: devices fill shorter ones up. */
#define FRAMES_LEAST 60u

/* A copy for lwIP, in a buffer of its pool; NULL: it has none left. A frame that is shorter than
 * any on a wire is filled up with zeros: lwIP takes its length for granted in places. */
struct pbuf *frames_take(const uint8_t *frame, size_t len);
