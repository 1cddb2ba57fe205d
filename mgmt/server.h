/* HTTP over lwIP's raw TCP API: up to SERVER_CONNECTIONS at once, keep-alive, pipelining, time
 * limits. */
#pragma once

#include "mgmt/api.h"

#define SERVER_CONNECTIONS 16u

void server_start(const struct api_view *v);
/* Goes on with answers that wait for a snapshot. From the main loop. */
void server_poll(void);
