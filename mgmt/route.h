/*
 * The API's table of resources: which function answers, and which role that needs. Pure.
 */
#pragma once

#include "mgmt/api_call.h"
#include "mgmt/auth.h"

/* Why a client may not, or who it is. */
struct route_guard {
    struct auth_identity who;
    unsigned status; /* 401, 403, 429 or 503 */
    unsigned retry_s;
    char why[128];
};

/* May the client of this request do what needs `role`? The log is told of whoever may not. */
bool route_admit(const struct api_view *v, const struct http_request *r, uint32_t role,
                 struct route_guard *g);
/* The time that tokens and audit lines are judged by; it begins anywhere. */
uint64_t route_ms(const struct api_view *v);
/* A line in the log about 401, 403 or 429. route_admit() leaves one by itself. */
void route_note_refusal(const struct api_view *v, const struct http_request *r,
                        const struct auth_identity *who, unsigned status);
/* A line in the log about who changed something, or opened a terminal; `what`: what the path does
 * not say, or "". route_call() leaves one of what it answers by itself, but for an upgrade. */
void route_note_change(const struct api_view *v, const struct http_request *r,
                       const struct auth_identity *who, const char *what, unsigned status);
/* Answers the call, whose path and query are set. */
void route_call(struct call *c);
