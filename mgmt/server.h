/* HTTP over lwIP's altcp API, so over TCP or TLS: up to SERVER_CONNECTIONS at once, keep-alive,
 * pipelining, time limits. */
#pragma once

#include "lwip/altcp.h"
#include "mgmt/api.h"

#define SERVER_CONNECTIONS 16u

/* Listens on port 80, unless the configuration says "http": "off". */
void server_start(const struct api_view *v);
/* lwIP had no buffer for a frame: cuts off the connection that holds most. From the main loop. */
void server_starved(void);
/* Continues answers that wait for a snapshot. From the main loop. */
void server_poll(void);
/* Serves this connection from now on, with its own callbacks. False: all are taken. */
bool server_adopt(struct altcp_pcb *pcb, bool tls);
/* Answers that all connections are taken; the caller closes. */
void server_refuse(struct altcp_pcb *pcb);
