/* The log and the consoles to the syslog server of the configuration, over UDP (RFC 5426). */
#pragma once

#include "mgmt/api.h"

/* `v` is kept. Does nothing when no server is configured. */
void syslog_start(const struct api_view *v);
/* Sends what is new, a bounded part of it. */
void syslog_poll(void);
