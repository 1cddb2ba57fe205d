/*
 * The API's table of resources: which function answers, and which role it needs. Pure.
 */
#pragma once

#include "mgmt/api_call.h"
#include "mgmt/auth.h"

/* Why a client is refused, or who it is. */
struct route_guard {
    struct auth_identity who;
    unsigned status; /* 401, 403, 429 or 503 */
    unsigned retry_s;
    char why[128];
};

/* May the client of this request do what needs `role`? Refusals are logged. */
bool route_admit(const struct api_view *v, const struct http_request *r, uint32_t role,
                 struct route_guard *g);
/* The time by which tokens and audit lines are judged; its zero is arbitrary. */
uint64_t route_ms(const struct api_view *v);
/* Logs a 401, 403 or 429. route_admit() does so itself. */
void route_note_refusal(const struct api_view *v, const struct http_request *r,
                        const struct auth_identity *who, unsigned status);
/* Logs who changed something or opened a terminal. `what`: what the path does not say, or "".
 * route_call() does so itself for its answers, except for an upgrade; if an answer has to wait,
 * twice.
 */
void route_note_change(const struct api_view *v, const struct http_request *r,
                       const struct auth_identity *who, const char *what, unsigned status);
/* Logs that the client of an answer that waits has left; nothing if that was no change. */
void route_note_left(const struct api_view *v, const struct http_request *r,
                     const struct api_response *out);
/* Answers the call; its path and query must be set. */
void route_call(struct call *c);
