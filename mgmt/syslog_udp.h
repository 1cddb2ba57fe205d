/* Sends the log and the consoles to the configured syslog server, over UDP (RFC 5426). */
#pragma once

#include "mgmt/api.h"

/* Keeps `v`. Does nothing if no server is configured. */
void syslog_start(const struct api_view *v);
/* Sends a bounded part of what is new. */
void syslog_poll(void);
