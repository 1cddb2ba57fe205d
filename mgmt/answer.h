/* Complete requests and what becomes of them: answers, and those that have no end. */
#pragma once

#include "mgmt/connection.h"

/* The request is complete; or what its answer waited for is there, or is not in time. */
void answer(struct connection *c, bool waited, bool timed_out);
/* Of an answer without end, when all until now is acknowledged: sends what is new, or ends it.
 * ERR_ABRT as of places_finish(). */
err_t answer_go_on(struct connection *c);
/* What a terminal's client has sent. */
void answer_feed_terminal(struct connection *c);
