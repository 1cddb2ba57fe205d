/* Answers complete requests, including answers without end. */
#pragma once

#include "mgmt/connection.h"

/* The request is complete, or its wait is over: what it waited for has arrived or has timed out. */
void answer(struct connection *c, bool waited, bool timed_out);
/* Continues an answer without end once everything so far is acknowledged: sends what is new, or
 * ends it. Returns ERR_ABRT like places_finish(). */
err_t answer_go_on(struct connection *c);
/* Handles what a terminal's client has sent. */
void answer_feed_terminal(struct connection *c);
